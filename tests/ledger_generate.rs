//! Generated dumps: the same bytes for the same options, and valid by every rule of a ledger, which a
//! small model here applies without the generator's help.

#![cfg(feature = "mine")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering::Relaxed;

use blockmill::ledger::asert::{Anchor, Asert};
use blockmill::ledger::generate::{GenerateError, Generated, Options, Progress, TAGS, generate};
use blockmill::ledger::{Account, Block, DumpHead, Params, Transaction};
use blockmill::primitives::{Hash256, Header};
use blockmill::signature::verify;
use sha2::{Digest, Sha256};

/// A dump of everything: transfers with memos, records, side branches.
fn mixed() -> Options {
    Options {
        seed: "mixed".into(),
        blocks: 12,
        transactions: 9,
        accounts: 4,
        payload_bytes: (0, 300),
        memo_bytes: (0, 20),
        records_percent: 30,
        forks: 4,
    }
}

fn generated_on(options: &Options, threads: usize) -> (Vec<u8>, Generated) {
    let mut bytes = Vec::new();
    let generated = generate(options, threads, &Progress::default(), &mut bytes);
    let generated = generated.expect("options that make a dump");
    assert_eq!(generated.bytes, bytes.len() as u64);
    (bytes, generated)
}

fn generated(options: &Options) -> (Vec<u8>, Generated) {
    generated_on(options, 2)
}

/// The blocks of a dump, read as its format is specified.
fn blocks_of(bytes: &[u8]) -> (Params, Vec<&[u8]>) {
    let (head, len) = DumpHead::read(&mut &bytes[..]).expect("a head");
    assert_eq!(head.first_height, 1);
    let mut rest = &bytes[usize::try_from(len).expect("short")..];
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(16);
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
        assert_eq!(&head[..4], b"\xf5bmr");
        assert_eq!(word(12), crc32c::crc32c(&head[..12]));
        let (block, tail) = tail.split_at(word(4) as usize);
        assert_eq!(word(8), crc32c::crc32c(block));
        blocks.push(block);
        rest = tail;
    }
    (head.params, blocks)
}

/// What is known after a block.
#[derive(Clone)]
struct State {
    height: u64,
    time: u32,
    balances: BTreeMap<Account, u128>,
    nonces: BTreeMap<Account, u64>,
}

impl State {
    fn genesis(params: &Params) -> Self {
        let balances = params.allocations().map(|(account, amount)| (*account, amount.into()));
        let (balances, nonces) = (balances.collect(), BTreeMap::new());
        Self { height: 0, time: params.genesis().time(), balances, nonces }
    }

    fn pay(&mut self, from: &Account, amount: u64) {
        let balance = self.balances.get_mut(from).expect("a sender has a balance");
        *balance = balance.checked_sub(amount.into()).expect("no balance is overdrawn");
    }

    fn credit(&mut self, to: &Account, amount: u64) {
        *self.balances.entry(*to).or_default() += u128::from(amount);
    }

    fn count(&mut self, from: &Account, nonce: u64) {
        let next = self.nonces.entry(*from).or_default();
        assert_eq!(nonce, *next, "nonces have no gaps");
        *next += 1;
    }

    /// Applies all but the reward; the sum of the fees.
    fn apply(&mut self, transactions: &[Transaction<'_>]) -> u64 {
        let mut fees = 0;
        for transaction in transactions {
            match transaction {
                Transaction::Transfer { from, to, amount, fee, nonce, .. } => {
                    assert!(*amount > 0);
                    self.count(from, *nonce);
                    self.pay(from, amount + fee);
                    self.credit(to, *amount);
                    fees += fee;
                }
                Transaction::Record { from, fee, nonce, tag, .. } => {
                    assert!(TAGS.iter().any(|known| known.as_bytes() == *tag));
                    self.count(from, *nonce);
                    self.pay(from, *fee);
                    fees += fee;
                }
                Transaction::Reward { .. } => panic!("a second reward"),
            }
        }
        fees
    }
}

/// The signature of a transaction, and that it is one of its own bytes alone.
fn is_signed(transaction: &Transaction<'_>, chain_id: &Hash256) {
    let mut message = Vec::new();
    transaction.encode_signed_bytes(chain_id, &mut message);
    let (key, signature) =
        (transaction.sender().expect("a sender").key(), transaction.signature().expect("signed"));
    assert_eq!(verify(key, &message, signature), Ok(()));
    message.push(0);
    assert!(verify(key, &message, signature).is_err());
}

fn asert_of(params: &Params) -> Asert {
    let genesis = params.genesis();
    let spacing = u32::try_from(params.target_spacing_s()).expect("checked");
    let half_life = u32::try_from(params.half_life_s()).expect("checked");
    let anchor = Anchor {
        bits: genesis.bits(),
        parent_time_s: i64::from(genesis.time()) - i64::from(spacing),
        height: 0,
    };
    let limit = params.pow_limit().decode().expect("checked");
    Asert::new(spacing, NonZeroU32::new(half_life).expect("checked"), limit, anchor).expect("sound")
}

/// Judges every block; the state after each, by id, and the ids in the order of the file.
fn judge(bytes: &[u8]) -> (BTreeMap<Hash256, State>, Vec<Header>) {
    let (params, blocks) = blocks_of(bytes);
    let asert = asert_of(&params);
    let mut states = BTreeMap::from([(params.chain_id(), State::genesis(&params))]);
    let mut headers = Vec::new();
    for bytes in blocks {
        assert!(bytes.len() as u64 <= params.block_bytes_max());
        let block = Block::decode(bytes).expect("a block");
        let header = block.header;
        let mut state = states.get(&header.parent()).expect("parents come first").clone();
        let bits = asert.next_bits(state.height, state.time.into());
        assert_eq!((header.version(), header.bits()), (1, bits));
        assert!(header.is_solved_by(&header.id()));
        assert!(
            header.nonce() == 0 || {
                let before = header.with_nonce(header.nonce() - 1);
                !before.is_solved_by(&before.id())
            }
        );
        assert_eq!(header.merkle_root(), block.merkle_root());
        state.height += 1;
        let scheduled = u64::from(params.genesis().time()) + state.height * 60;
        let delay = u64::from(header.time()).checked_sub(scheduled).expect("not early");
        assert!(delay <= 30 && header.time() > state.time);
        state.time = header.time();
        let transactions: Vec<_> = block.transactions().map(|(_, each)| each).collect();
        let (reward, others) = transactions.split_first().expect("a reward");
        others.iter().for_each(|transaction| is_signed(transaction, &params.chain_id()));
        let fees = state.apply(others);
        let Transaction::Reward { height, to, amount, extranonce } = reward else {
            panic!("a reward is first")
        };
        let allowed = params.subsidy(state.height) + fees;
        assert_eq!((*height, *amount, *extranonce), (state.height, allowed, 0));
        state.credit(to, *amount);
        let is_new = states.insert(header.id(), state).is_none();
        assert!(is_new, "no block stands there twice");
        headers.push(header);
    }
    (states, headers)
}

/// The ids from genesis to `tip`.
fn branch_to(tip: Hash256, headers: &[Header]) -> BTreeSet<Hash256> {
    let parents: BTreeMap<_, _> =
        headers.iter().map(|header| (header.id(), header.parent())).collect();
    let mut branch = BTreeSet::from([tip]);
    let mut id = tip;
    while let Some(parent) = parents.get(&id) {
        branch.insert(*parent);
        id = *parent;
    }
    branch
}

#[test]
fn every_block_is_valid_and_the_totals_are_right() {
    let options = mixed();
    let (bytes, generated) = generated(&options);
    let (states, headers) = judge(&bytes);
    let tip = &states[&generated.tip];
    assert_eq!(tip.height, 12);
    assert_eq!(generated.blocks, headers.len() as u64);
    assert_eq!(generated.blocks, 12 + generated.side_blocks);
    assert_eq!(generated.transactions, 9 * generated.blocks);
    assert!(states.contains_key(&generated.chain_id));
    // Nothing was created but the subsidies.
    let supply = |state: &State| state.balances.values().sum::<u128>();
    let created = supply(tip) - supply(&states[&generated.chain_id]);
    assert_eq!(created, 12 * 5_000_000_000);
    assert_eq!(tip.nonces.values().sum::<u64>(), 12 * 9);
}

/// Both kinds of transactions, with lengths across their ranges.
#[test]
fn shares_and_lengths_are_as_asked_for() {
    let counts = |options: &Options| {
        let (bytes, _) = generated(options);
        let (_, blocks) = blocks_of(&bytes);
        let (mut payloads, mut memos) = (Vec::new(), Vec::new());
        for bytes in blocks {
            for (_, transaction) in Block::decode(bytes).expect("a block").transactions() {
                match transaction {
                    Transaction::Record { payload, .. } => payloads.push(payload.len()),
                    Transaction::Transfer { memo, .. } => memos.push(memo.len()),
                    Transaction::Reward { .. } => {}
                }
            }
        }
        (payloads, memos)
    };
    let few = |records_percent| Options {
        blocks: 2,
        transactions: 200,
        payload_bytes: (3, 6),
        memo_bytes: (1, 2),
        records_percent,
        forks: 0,
        ..mixed()
    };
    let (payloads, memos) = counts(&few(30));
    assert!((90..150).contains(&payloads.len()), "{}", payloads.len());
    assert_eq!(payloads.len() + memos.len(), 400);
    assert_eq!(BTreeSet::from_iter(payloads), BTreeSet::from_iter(3..=6));
    assert_eq!(BTreeSet::from_iter(memos), BTreeSet::from_iter(1..=2));
    assert_eq!(counts(&few(0)).0.len(), 0);
    assert_eq!(counts(&few(100)).1.len(), 0);
}

#[test]
fn side_branches_leave_at_spread_heights_and_lose() {
    for (blocks, forks) in [(12, 4), (2, 1), (8, 7), (100, 9)] {
        let options = Options { blocks, forks, transactions: 2, ..mixed() };
        let (bytes, generated) = generated(&options);
        let (states, headers) = judge(&bytes);
        let main = branch_to(generated.tip, &headers);
        assert_eq!(main.len() as u64, u64::from(blocks) + 1);
        let parents: BTreeSet<_> = headers.iter().map(Header::parent).collect();
        let is_side_tip = |id: &Hash256| !main.contains(id) && !parents.contains(id);
        let mut fork_heights = BTreeSet::new();
        let mut lens = BTreeSet::new();
        for tip in states.keys().filter(|id| is_side_tip(id)) {
            let branch = branch_to(*tip, &headers);
            let fork = branch.intersection(&main).map(|id| states[id].height).max();
            let fork = fork.expect("genesis is on every branch");
            let len = states[tip].height - fork;
            assert!((1..=3).contains(&len) && fork + len < u64::from(blocks));
            lens.insert(len);
            fork_heights.insert(fork);
        }
        let expected: BTreeSet<_> = (0..u64::from(forks))
            .map(|index| (2 * index + 1) * u64::from(blocks - 1) / (2 * u64::from(forks)))
            .collect();
        assert_eq!(fork_heights, expected, "{forks} forks of {blocks}");
        assert!(forks < 9 || lens.len() == 3, "{lens:?}");
        // Each stands next to the main branch's block of its height, and some before it.
        let place = |id: &Hash256| headers.iter().position(|header| header.id() == *id);
        let of_height: BTreeMap<_, _> =
            main.iter().map(|id| (states[id].height, place(id))).collect();
        let sides: Vec<_> = states.keys().filter(|id| !main.contains(*id)).collect();
        let early = sides.iter().filter(|id| place(id) < of_height[&states[*id].height]).count();
        for id in &sides {
            let beside = of_height[&states[*id].height].expect("in the file");
            assert!(place(id).expect("in the file").abs_diff(beside) <= 3);
        }
        assert!(forks < 9 || (1..sides.len()).contains(&early), "{early} of {}", sides.len());
    }
}

#[test]
fn same_options_give_same_bytes_on_any_number_of_threads() {
    let options = Options { blocks: 5, transactions: 300, ..mixed() };
    let (bytes, summary) = generated_on(&options, 1);
    for threads in [1, 2, 3] {
        assert!(generated_on(&options, threads) == (bytes.clone(), summary), "{threads} threads");
    }
}

/// Longer than one batch of blocks, and a block longer than one task.
#[test]
fn batches_leave_no_trace() {
    let options = Options {
        blocks: 7,
        transactions: 1_000,
        payload_bytes: (0, 4096),
        records_percent: 1,
        forks: 3,
        ..mixed()
    };
    let (_, generated) = generated(&options);
    assert_eq!(generated.transactions, 1_000 * generated.blocks);
    let (bytes, _) = generated_on(&options, 3);
    let (states, _) = judge(&bytes);
    assert_eq!(states[&generated.tip].height, 7);
}

/// The generator, its draws, the encodings and the chain, all held still. A program of its own, written
/// in another language from the specification alone, gave the same bytes.
#[test]
fn the_bytes_hold_still() {
    let (bytes, generated) = generated(&mixed());
    let digest = hex::encode(Sha256::digest(&bytes));
    let pinned = (
        GOLDEN_DIGEST,
        GOLDEN_CHAIN_ID.parse().expect("an id"),
        GOLDEN_TIP.parse().expect("an id"),
    );
    assert_eq!((digest.as_str(), generated.chain_id, generated.tip), pinned);
}

const GOLDEN_DIGEST: &str = "5378c9be4712fa7a69f3163b9461ebeb54e7c02d90c9459f7694fbf6bc971b78";
const GOLDEN_CHAIN_ID: &str = "cd87ddfc088d551f399f9ea55914d8914be97b5be3893e088353566bd5b2a71c";
const GOLDEN_TIP: &str = "4ce6be3ed25a0d0d6823dfdb25640decd551707282042c0fe3b05a28035bdaf1";

#[test]
fn any_other_option_gives_another_chain() {
    let base = mixed();
    let others = [
        base.clone(),
        Options { seed: "other".into(), ..base.clone() },
        Options { seed: String::new(), ..base.clone() },
        Options { blocks: 13, ..base.clone() },
        Options { transactions: 10, ..base.clone() },
        Options { accounts: 5, ..base.clone() },
        Options { payload_bytes: (1, 300), ..base.clone() },
        Options { payload_bytes: (0, 301), ..base.clone() },
        Options { memo_bytes: (1, 20), ..base.clone() },
        Options { memo_bytes: (0, 21), ..base.clone() },
        Options { records_percent: 31, ..base.clone() },
        Options { forks: 5, ..base },
    ];
    let ids: BTreeSet<_> = others.iter().map(|options| generated(options).1.chain_id).collect();
    assert_eq!(ids.len(), others.len());
}

#[test]
fn the_smallest_and_the_empty_dumps_are_valid() {
    let least = Options {
        seed: String::new(),
        blocks: 1,
        transactions: 0,
        accounts: 1,
        payload_bytes: (0, 0),
        memo_bytes: (0, 0),
        records_percent: 0,
        forks: 0,
    };
    for options in [
        least.clone(),
        Options { blocks: 4, forks: 3, ..least.clone() },
        Options { blocks: 3, transactions: 3, records_percent: 50, ..least },
    ] {
        let (bytes, generated) = generated(&options);
        let (states, _) = judge(&bytes);
        assert_eq!(states[&generated.tip].height, u64::from(options.blocks));
    }
}

#[test]
fn what_cannot_be_is_named() {
    let base = mixed();
    let cases = [
        ("blocks", Options { blocks: 0, ..base.clone() }),
        ("blocks", Options { blocks: 3_000_001, ..base.clone() }),
        ("accounts", Options { accounts: 0, ..base.clone() }),
        ("accounts", Options { accounts: 1_000_001, ..base.clone() }),
        ("payload", Options { payload_bytes: (2, 1), ..base.clone() }),
        ("payload", Options { payload_bytes: (0, 4097), ..base.clone() }),
        ("memo", Options { memo_bytes: (0, 257), ..base.clone() }),
        ("records", Options { records_percent: 101, ..base.clone() }),
        ("forks", Options { forks: 12, ..base.clone() }),
        ("transactions", Options { transactions: u32::MAX, ..base.clone() }),
        // Allocations that would fit 64 bits, were it not for the subsidies.
        (
            "accounts",
            Options { blocks: 2_609, transactions: 70_000, accounts: 1_000_000, ..base.clone() },
        ),
        // Each is possible alone; together they need more than 2^64 coins.
        (
            "accounts",
            Options {
                blocks: 3_000_000,
                transactions: 10_000,
                accounts: 1_000_000,
                ..base.clone()
            },
        ),
    ];
    // Should one of them pass, it would take hours.
    let stopped = Progress::default();
    stopped.stop.store(true, Relaxed);
    for (option, options) in cases {
        let mut out = Vec::new();
        match generate(&options, 1, &stopped, &mut out) {
            Err(GenerateError::Option(invalid)) => assert_eq!(invalid.option, option, "{invalid}"),
            other => panic!("{option}: {other:?}"),
        }
        assert!(out.is_empty());
    }
}

/// The transactions of a block at the edge of the limit: as many as are said to fit do.
#[test]
fn the_most_transactions_that_fit_are_named() {
    let options = |transactions| Options {
        transactions,
        records_percent: 100,
        payload_bytes: (4096, 4096),
        blocks: 1,
        forks: 0,
        ..mixed()
    };
    let error = options(u32::MAX).check().expect_err("too many").to_string();
    let most = error.split("at most ").nth(1).and_then(|rest| rest.split(' ').next());
    let most: u32 = most.and_then(|most| most.parse().ok()).expect("a number");
    assert!(options(most + 1).check().is_err());
    let (bytes, _) = generated(&options(most));
    let (params, blocks) = blocks_of(&bytes);
    assert!(blocks[0].len() as u64 <= params.block_bytes_max());
    // Not every transaction is as long as it could be: tags, fees and nonces are shorter.
    assert!(blocks[0].len() > (32 << 20) / 100 * 99);
}

#[test]
fn the_work_ends_when_told_to_and_when_the_disk_is_full() {
    let progress = Progress::default();
    progress.stop.store(true, Relaxed);
    let stopped = generate(&mixed(), 1, &progress, &mut Vec::new());
    assert!(matches!(stopped, Err(GenerateError::Stopped)), "{stopped:?}");
    let mut small = [0; 5_000];
    let full = generate(&mixed(), 1, &Progress::default(), &mut &mut small[..]);
    assert!(matches!(full, Err(GenerateError::Write(_))), "{full:?}");
}

/// A disk on which the work is told to stop as soon as something is written.
struct StopsAtOnce<'p>(&'p Progress);

impl Write for StopsAtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.stop.store(true, Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where nothing is signed, too.
#[test]
fn the_work_ends_between_blocks() {
    let progress = Progress::default();
    let options = Options { transactions: 0, ..mixed() };
    let stopped = generate(&options, 1, &progress, &mut StopsAtOnce(&progress));
    assert!(matches!(stopped, Err(GenerateError::Stopped)), "{stopped:?}");
    assert_eq!(progress.blocks.load(Relaxed), 0);
}
