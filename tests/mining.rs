//! Mining a ledger: which transactions a block takes, in which order, and how it comes into the file.

#![cfg(feature = "mine")]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use blockmill::compute::{Backend, Cpu, SearchJob};
use blockmill::ledger::{
    Account, Block, BodyRules, HeaderRules, LoadedLedger, RULES_VERSION, SIGNATURE_LEN, State,
    Transaction,
};
use blockmill::miner::{Effort, Mined, MiningTimes, NotMined, Template, mine_block};
use blockmill::primitives::{Hash256, HashFunction, Header, Trees};
use blockmill::stages::NotAccepted;
use blockmill::verdict::Violation;
use common::chain_file::Shared;
use common::ledger::{
    ALLOCATION, HALVING, KEYS, Leaf, Ledger, MINER, Record, Reward, START_TIME, SUBSIDY, Transfer,
    Unsigned, account,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A key that holds nothing before the first block.
const POOR: u8 = 50;

/// An extranonce as long as the longest that a block has room for.
const LONG_EXTRANONCE: u64 = 1 << 34;

fn candidates(leaves: &[Leaf]) -> Vec<(Transaction<'_>, usize)> {
    let decoded = leaves.iter().map(|leaf| Transaction::decode(leaf).expect("an encoding"));
    decoded.zip(leaves.iter().map(Vec::len)).collect()
}

/// The template of the first block.
fn fill(ledger: &Ledger, leaves: &[Leaf]) -> Template {
    let state = State::genesis(&ledger.params);
    Template::fill(&ledger.params, &state, 1, &candidates(leaves))
}

/// What was left out, with the rules.
fn rules(left_out: &[(usize, Violation)]) -> Vec<(usize, &'static str)> {
    left_out.iter().map(|(index, violation)| (*index, violation.rule().id())).collect()
}

/// Transfers of key 1 and so on, one for each fee.
fn one_each(ledger: &Ledger, fees: &[u64]) -> Vec<Leaf> {
    let sign =
        |(from, fee): (u8, &u64)| ledger.sign(&Transfer { from, fee: *fee, ..Transfer::default() });
    (1..).zip(fees).map(sign).collect()
}

fn record(ledger: &Ledger, from: u8, nonce: u64, fee: u64) -> Leaf {
    ledger.sign(&Record { from, nonce, fee, ..Record::default() })
}

/// A backend that searches as it is told to, and does all else right.
struct Searcher<F> {
    cpu: Cpu,
    span: u32,
    search: F,
    /// What it was told that it got wrong.
    wrong: Mutex<Vec<String>>,
}

impl<F: Fn(&Cpu, &SearchJob) -> Option<u32> + Send + Sync> Searcher<F> {
    fn new(span: u32, search: F) -> Self {
        Self { cpu: cpu(), span, search, wrong: Mutex::default() }
    }
}

impl<F: Fn(&Cpu, &SearchJob) -> Option<u32> + Send + Sync> Backend for Searcher<F> {
    fn name(&self) -> &'static str {
        "cpu"
    }
    fn device(&self) -> String {
        self.cpu.device()
    }
    fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        self.cpu.header_ids(headers, ids);
    }
    fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        self.cpu.merkle_roots(trees, roots);
    }
    fn hash_messages(&self, function: HashFunction, messages: &[&[u8]], digests: &mut [Hash256]) {
        self.cpu.hash_messages(function, messages, digests);
    }
    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        self.cpu.rfc6962_roots(trees, roots);
    }
    fn was_wrong(&self, what: String) {
        self.wrong.lock().expect("no panic").push(what);
    }
    fn search(&self, job: &SearchJob) -> Option<u32> {
        (self.search)(&self.cpu, job)
    }
    fn search_span(&self) -> u32 {
        self.span
    }
}

fn cpu() -> Cpu {
    Cpu::new(1).expect("a thread")
}

/// A ledger in a chain file, and those who mine it.
struct Mine {
    file: Shared,
    loaded: LoadedLedger,
    tried: AtomicU64,
    stop: AtomicBool,
}

impl Mine {
    fn new(ledger: &Ledger) -> Self {
        let file = Shared::of(LoadedLedger::empty_file(&ledger.params));
        let loaded = open(&file);
        Self { file, loaded, tried: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    fn mine_with(
        &mut self,
        leaves: &[Leaf],
        clock: &dyn Fn() -> u64,
        backend: &dyn Backend,
    ) -> Result<Mined, NotMined> {
        let effort =
            Effort { times: &mut MiningTimes::default(), tried: &self.tried, stop: &self.stop };
        let candidates = candidates(leaves);
        mine_block(&mut self.loaded, &candidates, account(MINER), clock, backend, effort)
    }

    /// Mines one spacing after the tip.
    fn mine(&mut self, leaves: &[Leaf]) -> Mined {
        let time = u64::from(self.tip_time()) + self.loaded.store.params().target_spacing_s();
        self.mine_with(leaves, &|| time, &cpu()).expect("a block")
    }

    /// Mines nothing but a reward when the clock says `now`: the time of the block.
    fn mine_at(&mut self, now: u64) -> Result<u32, NotMined> {
        self.mine_with(&[], &|| now, &cpu()).map(|_| self.tip_time())
    }

    fn tip_time(&self) -> u32 {
        self.loaded.tree.block(self.loaded.store.tip()).time()
    }

    /// The block at the tip, as the file holds it.
    fn tip(&mut self) -> Vec<u8> {
        let LoadedLedger { store, tree, state, .. } = &mut self.loaded;
        let rules = HeaderRules::new(store.params(), u64::MAX);
        let tip = store.tip();
        store.body(tip, tree.block(tip), &rules, state, true).expect("a body")
    }

    /// That work ended without a block, and left everything as it was.
    fn assert_untouched(&self, before: &[u8], state: &State) {
        assert_eq!(self.file.bytes(), before);
        assert_eq!(self.loaded.store.tip(), open(&self.file).store.tip());
        assert_eq!(balances(&self.loaded.state), balances(state));
    }
}

fn open(file: &Shared) -> LoadedLedger {
    LoadedLedger::open(file.boxed(), |_, _| Ok(())).expect("a chain file")
}

/// Every account with balance and nonce.
fn balances(state: &State) -> Vec<(Account, u64, u64)> {
    let mut all: Vec<_> =
        state.accounts().map(|(account, each)| (*account, each.balance, each.nonce)).collect();
    all.sort_unstable();
    all
}

fn header_of(block: &[u8]) -> Header {
    Header::from_bytes(*block.first_chunk().expect("a header"))
}

/// Amount and extranonce of a block's reward.
fn reward_of(block: &[u8]) -> (u64, u64) {
    let block = Block::decode(block).expect("a block");
    match block.transactions().next() {
        Some((0, Transaction::Reward { amount, extranonce, .. })) => (amount, extranonce),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_best_fee_for_its_bytes_comes_first() {
    let ledger = Ledger::new();
    let mut leaves = one_each(&ledger, &[10, 30, 20, 10]);
    // Less than 30, for fewer bytes; and more, for many.
    leaves.push(record(&ledger, 5, 0, 25));
    let payload = vec![b'p'; 200];
    leaves.push(ledger.sign(&Record { from: 6, fee: 35, payload, ..Record::default() }));
    let template = fill(&ledger, &leaves);
    // The first and the fourth are equal.
    assert_eq!(template.taken, [4, 1, 2, 5, 0, 3]);
    assert_eq!((template.fees, template.left_out.len()), (130, 0));
    leaves.reverse();
    assert_eq!(fill(&ledger, &leaves).taken, [1, 4, 3, 0, 2, 5]);
    let nothing = fill(&ledger, &[]);
    assert_eq!((nothing.taken.len(), nothing.fees, nothing.left_out.len()), (0, 0, 0));
}

#[test]
fn a_senders_transactions_come_in_the_order_of_their_nonces() {
    let ledger = Ledger::new();
    let leaves = [
        record(&ledger, 1, 2, 100),
        record(&ledger, 2, 0, 10),
        record(&ledger, 1, 0, 1),
        record(&ledger, 3, 0, 0),
        record(&ledger, 1, 1, 50),
        record(&ledger, 2, 1, 0),
    ];
    // Key 1 waits behind its own small fee; once that is paid, its others are the best there are.
    assert_eq!(fill(&ledger, &leaves).taken, [1, 2, 4, 0, 3, 5]);
}

#[test]
fn gaps_used_nonces_and_the_worse_of_two_are_left_out() {
    let ledger = Ledger::new();
    let mut mine = Mine::new(&ledger);
    let used = [record(&ledger, 1, 0, 1), record(&ledger, 1, 1, 1)];
    assert_eq!(mine.mine(&used).taken, [0, 1]);
    let leaves = [
        record(&ledger, 1, 1, 90), // used
        record(&ledger, 1, 2, 5),  // the worse of two
        record(&ledger, 1, 2, 6),
        record(&ledger, 1, 4, 80), // behind a gap
        record(&ledger, 2, 1, 70), // behind a gap
        record(&ledger, 3, 0, 4),
        record(&ledger, 3, 0, 4), // the same once more
        record(&ledger, 1, u64::MAX, 9),
    ];
    let mined = mine.mine(&leaves);
    assert_eq!(mined.taken, [2, 5]);
    let nonce = |required, found| Violation::BadTxNonce { transaction: 0, required, found };
    let left_out = [
        (0, nonce(3, 1)),
        (1, nonce(3, 2)),
        (3, nonce(3, 4)),
        (4, nonce(0, 1)),
        (6, nonce(1, 0)),
        (7, nonce(3, u64::MAX)),
    ];
    assert_eq!(mined.left_out, left_out);
    assert_eq!(open(&mine.file).state.account(&account(1)).nonce, 3);
    // Where the better one of a nonce cannot be paid, the worse one has its chance.
    let whole = Transfer { amount: ALLOCATION, fee: 9, ..Transfer::default() };
    let template = fill(&ledger, &[ledger.sign(&whole), record(&ledger, 1, 0, 1)]);
    assert_eq!((template.taken, rules(&template.left_out)), (vec![1], vec![(0, "bad-tx-nonce")]));
}

#[test]
fn who_needs_coins_comes_after_those_who_give_them() {
    let ledger = Ledger::new();
    let pay = |from, to, amount, fee, nonce| {
        let memo = Vec::new();
        ledger.sign(&Transfer { from, to: account(to), amount, fee, nonce, memo })
    };
    // Whoever comes first on the list has the higher fee, and its coins from who comes last.
    let chain = [
        record(&ledger, POOR + 2, 0, 300),
        pay(POOR + 1, POOR + 2, 300, 200, 0),
        pay(POOR, POOR + 1, 500, 100, 0),
        record(&ledger, 2, 0, 50),
        pay(1, POOR, 600, 1, 0),
    ];
    let template = fill(&ledger, &chain);
    assert_eq!((template.taken, template.fees), (vec![3, 4, 2, 1, 0], 651));
    // Two have to give, and the second gives too late for the better one of a nonce.
    let both = [
        pay(POOR, 3, 100, 20, 0),
        pay(1, POOR, 60, 10, 0),
        pay(2, POOR, 60, 5, 0),
        pay(POOR, 3, 50, 19, 1),
    ];
    let template = fill(&ledger, &both);
    assert_eq!(
        (template.taken, rules(&template.left_out)),
        (vec![1, 2, 0], vec![(3, "bad-tx-balance")])
    );
    // One coin short all along the chain: the first who lacks it stops those behind.
    let mut short = chain;
    short[4] = pay(1, POOR, 599, 1, 0);
    let template = fill(&ledger, &short);
    assert_eq!(template.taken, [3, 4]);
    let balance = |balance, needed| Violation::BadTxBalance { transaction: 0, balance, needed };
    let left_out = [(0, balance(0, 300)), (1, balance(0, 500)), (2, balance(599, 600))];
    assert_eq!(template.left_out, left_out);
    // Nobody lends to himself: the whole amount must be there before it comes back.
    let own =
        [pay(1, 1, ALLOCATION, 1, 0), pay(2, 2, ALLOCATION - 1, 1, 0), record(&ledger, 2, 1, 1)];
    let template = fill(&ledger, &own);
    assert_eq!(
        (template.taken, rules(&template.left_out)),
        (vec![1, 2], vec![(0, "bad-tx-balance")])
    );
}

#[test]
fn what_no_block_may_hold_is_left_out_with_its_rule() {
    let ledger = Ledger::new();
    let transfer = Transfer::default();
    let reward = Reward { height: 1, to: account(1), amount: 1, extranonce: 0 };
    let leaves = [
        ledger.sign(&Transfer { amount: 0, fee: 500, ..transfer.clone() }),
        reward.leaf(),
        ledger.sign(&Transfer { amount: u64::MAX, fee: 1, ..transfer.clone() }),
        ledger.sign(&Transfer { memo: vec![0; 257], ..transfer.clone() }),
        ledger.sign(&Record { tag: Vec::new(), ..Record::default() }),
        ledger.sign(&Transfer { amount: ALLOCATION, fee: 1, ..transfer.clone() }),
        ledger.sign(&Transfer { from: 2, amount: ALLOCATION - 1, fee: 1, ..transfer }),
        // The reward is nobody's within its own block.
        record(&ledger, MINER, 0, 1),
    ];
    let mut mine = Mine::new(&ledger);
    let mined = mine.mine(&leaves);
    assert_eq!(mined.taken, [6]);
    let expected = [
        (0, "bad-tx-amount"),
        (1, "bad-cb-multiple"),
        (2, "bad-tx-amount"),
        (3, "bad-tx-payload"),
        (4, "bad-tx-payload"),
        (5, "bad-tx-balance"),
        (7, "bad-tx-balance"),
    ];
    assert_eq!(rules(&mined.left_out), expected);
    assert_eq!(mine.mine(&leaves[7..]).taken, [0]);
}

/// Records of key 1, the last of them as long as makes the block so many bytes long if the reward has
/// the longest extranonce.
fn filling(
    ledger: &Ledger,
    count: u64,
    payload_len: usize,
    fee: u64,
    block_len: usize,
) -> Vec<Leaf> {
    let sign = |nonce, len| {
        ledger.sign(&Record { nonce, fee, payload: vec![b'p'; len], ..Record::default() })
    };
    let mut leaves: Vec<_> = (0..count).map(|nonce| sign(nonce, payload_len)).collect();
    let mut last_len = payload_len;
    loop {
        let len = long_block(ledger, &leaves).len();
        if len == block_len {
            return leaves;
        }
        last_len = (last_len + block_len).checked_sub(len).expect("room for the others");
        assert!(last_len <= 4096, "a payload of {last_len} bytes");
        leaves.pop();
        leaves.push(sign(count - 1, last_len));
    }
}

/// The first block, with the longest extranonce.
fn long_block(ledger: &Ledger, leaves: &[Leaf]) -> Vec<u8> {
    let mut draft = ledger.draft(&ledger.genesis(), leaves);
    draft.reward.extranonce = LONG_EXTRANONCE;
    draft.mine().bytes
}

#[test]
fn a_block_is_filled_to_its_last_byte_and_no_further() {
    // Among them: 128 transactions with the reward, whose count takes two bytes, and one less; fees
    // that make the reward's amount a byte longer.
    for (most, count, payload_len, fee) in [
        (8192, 2, 4000, 1),
        (8192, 30, 100, 1),
        (16384, 126, 8, 1),
        (16384, 127, 8, 1),
        (8192, 2, 4000, 7692),
    ] {
        let ledger = Ledger::with(&[("block_bytes_max", &most.to_string())]);
        let case = format!("{count} in {most} bytes, fee {fee}");
        let fits = filling(&ledger, count, payload_len, fee, most);
        let mut mine = Mine::new(&ledger);
        let mined = mine.mine(&fits);
        assert_eq!((mined.taken.len(), mined.left_out.len()), (fits.len(), 0), "{case}");
        // The extranonce took one byte of five.
        assert_eq!(mine.tip().len(), most - 4, "{case}");

        let mut too_long = filling(&ledger, count, payload_len, fee, most + 1);
        let last = too_long.len() - 1;
        let mut mine = Mine::new(&ledger);
        let mined = mine.mine(&too_long);
        let (most, found) = (most as u64, most as u64 + 1);
        let violation = Violation::BadBlkLength { most, found };
        assert_eq!(mined.left_out, [(last, violation)], "{case}");
        assert_eq!(mined.taken.len(), last, "{case}");
        // A shorter one with the same nonce takes its place, for a smaller fee.
        too_long.push(record(&ledger, 1, last as u64, 0));
        let template = fill(&ledger, &too_long);
        assert_eq!(template.taken.last(), Some(&(last + 1)), "{case}");
        assert_eq!(rules(&template.left_out), [(last, "bad-tx-nonce")], "{case}");
    }
}

/// Some candidates, of which many cannot be taken.
fn random_candidates(ledger: &Ledger, random: &mut StdRng) -> Vec<Leaf> {
    let keys = [1, 2, 3, POOR, POOR + 1, MINER];
    let count = random.random_range(0..24);
    let mut leaves: Vec<Leaf> = Vec::new();
    for _ in 0..count {
        let from = keys[random.random_range(0..keys.len())];
        let to = account(keys[random.random_range(0..keys.len())]);
        let fee = random.random_range(0..60) * random.random_range(0..2);
        let nonce = random.random_range(0..4);
        let amount = match random.random_range(0..8) {
            0 => 0,
            1 => u64::MAX - random.random_range(0..60),
            2 => ALLOCATION - random.random_range(0..60),
            3 => ALLOCATION / 2,
            _ => random.random_range(1..2000),
        };
        leaves.push(match random.random_range(0..10) {
            0..=5 => ledger.sign(&Transfer { from, to, amount, fee, nonce, memo: Vec::new() }),
            6 if !leaves.is_empty() => leaves[random.random_range(0..leaves.len())].clone(),
            7 if from == 1 => Reward { height: 1, to, amount, extranonce: 0 }.leaf(),
            _ => {
                let len = random.random_range(0..4097) / [1, 40][random.random_range(0..2)];
                let payload = vec![b'p'; len];
                ledger.sign(&Record { from, fee, nonce, payload, ..Record::default() })
            }
        });
    }
    leaves
}

/// The block with one transaction more, and the longest extranonce.
fn appended(block: &[u8], leaf: &Leaf) -> Vec<u8> {
    let block = Block::decode(block).expect("a block");
    let more = Transaction::decode(leaf).expect("an encoding");
    let mut transactions: Vec<_> = block.transactions().map(|(_, each)| each).collect();
    transactions.push(more);
    if let Transaction::Reward { amount, extranonce, .. } = &mut transactions[0] {
        // The sum may be more than there can be, and is then wrong for other reasons.
        *amount = amount.saturating_add(more.fee());
        *extranonce = LONG_EXTRANONCE;
    }
    let mut bytes = Vec::new();
    Block::encode(&block.header, &transactions, &mut bytes);
    bytes
}

/// What the rules say of a block on top of `before`. Lack of room counts only where nothing else is
/// wrong.
fn judge(ledger: &Ledger, block: &Block<'_>, before: &State) -> Result<(), Violation> {
    let length = match BodyRules::new(&ledger.params).check_shape(block, None) {
        Err(length @ Violation::BadBlkLength { .. }) => Err(length),
        shape => shape.map(|()| Ok(()))?,
    };
    let mut transactions = block.transactions().skip(1);
    transactions.try_for_each(|(index, each)| BodyRules::check_transaction(index, &each))?;
    before.clone().apply(block.effects())?;
    length
}

/// A violation, whatever the number of the transaction.
fn evidence(violation: &Violation) -> (&'static str, String, String) {
    (violation.rule().id(), violation.expected(), violation.found())
}

#[test]
fn every_block_is_sound_and_what_it_leaves_out_could_not_follow() {
    let ledger = Ledger::new();
    let mut random = StdRng::seed_from_u64(7);
    let mut seen: Vec<&str> = Vec::new();
    for round in 0..100 {
        let leaves = random_candidates(&ledger, &mut random);
        let mut mine = Mine::new(&ledger);
        // The second time, much of it is used.
        for height in 1..=2 {
            let before = mine.loaded.state.clone();
            let mined = mine.mine(&leaves);
            assert_eq!(mined.height, height, "round {round}");
            let block = mine.tip();
            assert!(block.len() <= 8192, "round {round}: {} bytes", block.len());
            let taken: Vec<_> = mined.taken.iter().map(|&index| leaves[index].as_slice()).collect();
            let decoded = Block::decode(&block).expect("a block");
            assert_eq!(&decoded.leaves()[1..], taken, "round {round}");
            assert_eq!(mined.taken.len() + mined.left_out.len(), leaves.len(), "round {round}");
            for (index, violation) in &mined.left_out {
                let block = appended(&block, &leaves[*index]);
                let block = Block::decode(&block).expect("a block");
                let found = judge(&ledger, &block, &before);
                let found = found.expect_err(&format!("round {round}: {index} could follow"));
                assert_eq!(evidence(violation), evidence(&found), "round {round}: {index}");
                seen.push(violation.rule().id());
            }
        }
        assert_eq!(balances(&open(&mine.file).state), balances(&mine.loaded.state));
    }
    seen.sort_unstable();
    seen.dedup();
    let all =
        ["bad-blk-length", "bad-cb-multiple", "bad-tx-amount", "bad-tx-balance", "bad-tx-nonce"];
    assert_eq!(seen, all);
}

#[test]
fn the_reward_is_subsidy_and_fees() {
    let ledger = Ledger::new();
    let mut mine = Mine::new(&ledger);
    let mut total = 0;
    for height in 1..=HALVING {
        let nonce = u64::from(height - 1);
        let leaves = [record(&ledger, 1, nonce, 3), record(&ledger, 2, nonce, 40)];
        let mined = mine.mine(&leaves);
        let reward = if height < HALVING { SUBSIDY } else { SUBSIDY / 2 } + 43;
        total += reward;
        assert_eq!((mined.height, mined.fees, mined.taken), (height, 43, vec![1, 0]));
        let block = mine.tip();
        assert_eq!(reward_of(&block), (reward, 0));
        let header = header_of(&block);
        assert_eq!((header.id(), header.version()), (mined.id, RULES_VERSION));
        assert!(header.bits().decode().expect("a target").is_met_by(&mined.id));
        assert_eq!(mine.loaded.state.account(&account(MINER)).balance, total);
        // All of it is committed.
        let again = open(&mine.file);
        let tip = again.tree.block(again.store.tip());
        assert_eq!((tip.height(), tip.id()), (height, mined.id));
        assert_eq!(balances(&again.state), balances(&mine.loaded.state));
        assert_eq!(again.transactions, mine.loaded.transactions);
    }
    assert!(mine.tried.load(Relaxed) >= u64::from(HALVING));
    let supply = u64::from(KEYS) * ALLOCATION + 4 * SUBSIDY + SUBSIDY / 2;
    assert_eq!(mine.loaded.state.supply(), supply);
}

#[test]
fn a_block_has_the_clocks_time_but_comes_after_the_median() {
    let start = u64::from(START_TIME);
    let mut mine = Mine::new(&Ledger::new());
    assert_eq!(mine.mine_at(start + 1000).expect("a block"), START_TIME + 1000);
    // Two blocks: the later one is the median. Three: the one between, which is not the tip.
    assert_eq!(mine.mine_at(start).expect("a block"), START_TIME + 1001);
    assert_eq!(mine.mine_at(start + 7).expect("a block"), START_TIME + 1001);

    // As far behind as it may be, and a second more. The tolerance is a 24th of the half-life.
    for (half_life_s, future_max_s) in [("172800", 7200), ("120", 5), ("23", 0)] {
        let ledger = Ledger::with(&[("half_life_s", half_life_s)]);
        assert_eq!(ledger.params.future_max_s(), future_max_s);
        let earliest = start + 1 - future_max_s;
        let mut mine = Mine::new(&ledger);
        let (before, state) = (mine.file.bytes(), mine.loaded.state.clone());
        match mine.mine_at(earliest - 1) {
            Err(NotMined::TooEarly { median: START_TIME, latest }) => assert_eq!(latest, start),
            other => panic!("{other:?}"),
        }
        mine.assert_untouched(&before, &state);
        assert_eq!(mine.mine_at(earliest).expect("a block"), START_TIME + 1);
    }
}

#[test]
fn when_all_nonces_are_spent_the_extranonce_rolls_and_the_time_is_read_anew() {
    let ledger = Ledger::new();
    let leaves = [record(&ledger, 1, 0, 5)];
    let mut mine = Mine::new(&ledger);
    let jobs: Mutex<Vec<SearchJob>> = Mutex::default();
    // Two headers without a winner, by its word: a range of 2^32 takes two searches of this span.
    let backend = Searcher::new(u32::MAX, |cpu, job| {
        let mut jobs = jobs.lock().expect("no panic");
        jobs.push(*job);
        if jobs.len() > 4 { cpu.search(job) } else { None }
    });
    let now = AtomicU64::new(u64::from(START_TIME) + 100);
    let clock = || now.fetch_add(10, Relaxed);
    let mined = mine.mine_with(&leaves, &clock, &backend).expect("a block");
    let block = mine.tip();
    assert_eq!(reward_of(&block), (SUBSIDY + 5, 2));
    assert_eq!(mined.taken, [0]);
    let header = header_of(&block);
    assert_eq!(header.time(), START_TIME + 120);
    let jobs = jobs.lock().expect("no panic");
    let ranges: Vec<_> = jobs.iter().map(|job| (job.first, job.last)).collect();
    let range = [(0, u32::MAX - 1), (u32::MAX, u32::MAX)];
    assert_eq!(ranges, [&range[..], &range[..], &range[..1]].concat());
    let mut roots: Vec<_> = jobs.iter().map(|job| job.header.merkle_root()).collect();
    roots.dedup();
    assert_eq!(roots.len(), 3);
    assert_eq!(mine.tried.load(Relaxed), (2 << 32) + u64::from(header.nonce()) + 1);
}

#[test]
fn a_nonce_that_does_not_win_is_not_believed() {
    type Lie = fn(&SearchJob) -> Option<u32>;
    let loser: Lie = |job| job.nonces().find(|&nonce| !job.is_won_by(nonce));
    // It wins, and is not what was asked for.
    let outside: Lie = |job| (job.last + 1..).find(|&nonce| job.is_won_by(nonce));
    for lie in [loser, outside] {
        for lies in [1, 2, u64::MAX] {
            let told = AtomicU64::new(0);
            let backend = Searcher::new(64, |cpu, job| {
                if told.fetch_add(1, Relaxed) < lies { lie(job) } else { cpu.search(job) }
            });
            let mut mine = Mine::new(&Ledger::new());
            let now = u64::from(START_TIME) + 60;
            mine.mine_with(&[], &|| now, &backend).expect("a block");
            let header = header_of(&mine.tip());
            // It is the block of an honest backend: the lowest winner.
            let mut honest = Mine::new(&Ledger::new());
            honest.mine_with(&[], &|| now, &cpu()).expect("a block");
            assert_eq!(header, header_of(&honest.tip()));
            // Asked again once, and told each time.
            assert_eq!(told.load(Relaxed), 2);
            let wrong = backend.wrong.lock().expect("no panic");
            assert_eq!(wrong.len() as u64, lies.min(2));
            assert!(wrong.iter().all(|what| what.ends_with("does not win")), "{wrong:?}");
        }
    }
}

#[test]
fn it_stops_when_it_is_told_to() {
    let ledger = Ledger::new();
    let leaves = [record(&ledger, 1, 0, 5)];
    let clock = || u64::from(START_TIME) + 60;
    let mut mine = Mine::new(&ledger);
    let (before, state) = (mine.file.bytes(), mine.loaded.state.clone());
    mine.stop.store(true, Relaxed);
    let idle = Searcher::new(64, |_, _| panic!("nothing is searched"));
    assert!(matches!(mine.mine_with(&leaves, &clock, &idle), Err(NotMined::Stopped)));
    mine.assert_untouched(&before, &state);

    // Told so while it searches: within a header, and at the end of one.
    for span in [1 << 20, u32::MAX] {
        let (stop, searches) = (AtomicBool::new(false), AtomicU64::new(0));
        let backend = Searcher::new(span, |_, _| {
            stop.store(searches.fetch_add(1, Relaxed) == 1, Relaxed);
            None
        });
        let candidates = candidates(&leaves);
        let tried = AtomicU64::new(0);
        let effort = Effort { times: &mut MiningTimes::default(), tried: &tried, stop: &stop };
        let mined =
            mine_block(&mut mine.loaded, &candidates, account(MINER), &clock, &backend, effort);
        assert!(matches!(mined, Err(NotMined::Stopped)), "{mined:?}");
        assert_eq!(searches.load(Relaxed), 2);
        assert_eq!(tried.load(Relaxed), (2 * u64::from(span)).min(1 << 32));
        mine.assert_untouched(&before, &state);
    }
    mine.stop.store(false, Relaxed);
    assert_eq!(mine.mine(&leaves).taken, [0]);
}

#[test]
fn a_block_that_breaks_a_rule_does_not_come_into_the_file() {
    let ledger = Ledger::new();
    let record = Record::default();
    let forged = ledger.sign_by(&record.transaction(), |_| [0; SIGNATURE_LEN]);
    let mut mine = Mine::new(&ledger);
    let (before, state) = (mine.file.bytes(), mine.loaded.state.clone());
    let clock = || u64::from(START_TIME) + 60;
    match mine.mine_with(&[forged], &clock, &cpu()) {
        Err(NotMined::NotAccepted(NotAccepted::Rejected(violation))) => {
            assert_eq!(violation.rule().id(), "bad-tx-signature");
        }
        other => panic!("{other:?}"),
    }
    mine.assert_untouched(&before, &state);
    assert_eq!(mine.mine(&[ledger.sign(&record)]).taken, [0]);
}
