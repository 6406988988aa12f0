//! Branches of ledgers: reorganisations, bodies that fail at any place, mutated copies, and random
//! trees held against a model that shares nothing with the engine.

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use blockmill::chain::BlockCounts;
use blockmill::ledger::{self, AccountState, State};
use blockmill::primitives::Work;
use blockmill::stages::Validation;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use common::ledger::{
    ALLOCATION, Block, Draft, KEYS, Leaf, Ledger, MINER, RECORD_HEAD_LEN, Record, Reward, Transfer,
    Unsigned, Way, account, faults, judge_files, sign_bytes, summary, tip,
};

/// Counts in the order of the report.
fn counts(validation: &Validation) -> BlockCounts {
    validation.outcome.as_ref().expect("an outcome").blocks
}

/// A transfer of key 1 by its nonce.
fn transfer(nonce: u64, amount: u64) -> Transfer {
    Transfer { amount, fee: 3, nonce, ..Transfer::default() }
}

/// A sound child of `parent` that holds a transfer of key 1, as all blocks since genesis do; `rewarded`
/// tells branches apart.
fn paying(ledger: &Ledger, parent: &Block, rewarded: u8) -> Draft {
    let amount = u64::from(rewarded);
    let mut draft = ledger.draft(parent, &[ledger.sign(&transfer(parent.height.into(), amount))]);
    draft.reward.to = account(rewarded);
    draft
}

/// A branch of such blocks.
fn branch(ledger: &Ledger, parent: &Block, length: usize, rewarded: u8) -> Vec<Block> {
    let mut blocks = vec![parent.clone()];
    for _ in 0..length {
        blocks.push(paying(ledger, &blocks[blocks.len() - 1], rewarded).mine());
    }
    blocks.split_off(1)
}

// --- the state ---

/// The accounts in order.
fn accounts(state: &State) -> BTreeMap<[u8; 32], (u64, u64)> {
    let of = |(account, AccountState { balance, nonce }): (&ledger::Account, AccountState)| {
        (*account.key(), (balance, nonce))
    };
    state.accounts().map(of).collect()
}

/// Applies a block; afterwards the supply is the sum of all balances.
fn apply(state: &mut State, block: &Block) {
    let decoded = ledger::Block::decode(&block.bytes).expect("an encoding");
    state.apply(decoded.effects()).expect("a sound block");
    supply_is_the_sum(state);
}

fn undo(state: &mut State, block: &Block) {
    state.undo(ledger::Block::decode(&block.bytes).expect("an encoding").effects());
    supply_is_the_sum(state);
}

fn supply_is_the_sum(state: &State) {
    assert_eq!(state.accounts().map(|(_, held)| held.balance).sum::<u64>(), state.supply());
    assert_eq!(state.accounts().count(), state.len());
}

/// A child of `parent` that does many things at once; other salts do them otherwise.
fn eventful(ledger: &Ledger, parent: &Block, salt: u64, nonces: &mut [u64; 4]) -> Block {
    let mut rest = Vec::new();
    let mut next = |key: u8| {
        let nonce = &mut nonces[usize::from(key) - 1];
        *nonce += 1;
        *nonce - 1
    };
    let salted = u8::try_from(salt % 7).expect("below seven");
    let mut pay = |from: u8, to: u8, amount, fee| {
        let to = account(to);
        let memo = salt.to_le_bytes().to_vec();
        let nonce = next(from);
        rest.push(ledger.sign(&Transfer { from, to, amount, fee, nonce, memo }));
    };
    pay(1, 2, 100 + salt, 2);
    pay(2, 2, 50, 1); // to itself
    pay(3, 50 + salted, 7, 0); // to somebody new, perhaps
    pay(2, 1, 40, salt % 5);
    let payload = salt.to_le_bytes().to_vec();
    let writer = 60 + salted + 7 * u8::try_from(parent.height % 20).expect("below twenty");
    rest.push(ledger.sign(&Record {
        from: 4,
        fee: 9,
        nonce: next(4),
        payload,
        ..Record::default()
    }));
    rest.push(ledger.sign(&Transfer {
        from: 4,
        to: account(writer),
        amount: 1,
        fee: 0,
        nonce: next(4),
        memo: Vec::new(),
    }));
    let mut draft = ledger.draft(parent, &rest);
    draft.reward.amount -= salt % 3; // burnt
    draft.reward.to = account(if salt.is_multiple_of(2) { MINER } else { 1 });
    draft.mine()
}

#[test]
fn a_state_forgets_the_branches_it_left() {
    let ledger = Ledger::new();
    const DEPTH: usize = 100;
    let chain = |from: &Block, length, salt, mut nonces: [u64; 4]| {
        let mut blocks = vec![from.clone()];
        for number in 0..length as u64 {
            let parent = &blocks[blocks.len() - 1];
            blocks.push(eventful(&ledger, parent, salt + number, &mut nonces));
        }
        blocks.split_off(1)
    };
    let [left, taken] = [11, 1000].map(|salt| chain(&ledger.genesis(), DEPTH, salt, [0; 4]));
    let mut at_genesis = State::genesis(&ledger.params);
    let genesis = accounts(&at_genesis);
    // The states along the branch that is taken, of a ledger that never saw another.
    let mut state = at_genesis.clone();
    let straight: Vec<_> = taken
        .iter()
        .map(|block| {
            apply(&mut state, block);
            (accounts(&state), state.supply())
        })
        .collect();
    for depth in 1..=DEPTH {
        left[..depth].iter().for_each(|block| apply(&mut at_genesis, block));
        left[..depth].iter().rev().for_each(|block| undo(&mut at_genesis, block));
        assert_eq!(accounts(&at_genesis), genesis, "{depth}");
        let mut state = at_genesis.clone();
        taken[..depth].iter().for_each(|block| apply(&mut state, block));
        assert_eq!((accounts(&state), state.supply()), straight[depth - 1], "{depth}");
    }
}

/// A block that fails at its last transaction leaves no trace.
#[test]
fn a_state_is_as_it_was_after_a_block_that_fails() {
    let ledger = Ledger::new();
    let mut state = State::genesis(&ledger.params);
    let first = eventful(&ledger, &ledger.genesis(), 5, &mut [0; 4]);
    apply(&mut state, &first);
    let before = (accounts(&state), state.supply());
    let mut rest = ledger::Block::decode(&eventful(&ledger, &first, 6, &mut [1, 2, 1, 2]).bytes)
        .map(|block| block.leaves()[1..].iter().map(|leaf| leaf.to_vec()).collect::<Vec<Leaf>>());
    let rest = rest.as_mut().expect("an encoding");
    rest.push(ledger.sign(&Record { from: 90, fee: 1, ..Record::default() }));
    let block = ledger.block(&first, rest);
    let decoded = ledger::Block::decode(&block.bytes).expect("an encoding");
    let violation = state.apply(decoded.effects()).expect_err("more than the writer has");
    assert_eq!(violation.transaction(), u32::try_from(rest.len()).ok());
    assert_eq!((accounts(&state), state.supply()), before);
    supply_is_the_sum(&state);
}

/// The engine takes back 1 to 100 blocks, and then holds what it would have held without them.
#[test]
fn reorganisations_of_every_depth() {
    const LENGTH: usize = 100;
    let ledger = Ledger::new();
    let mut taken = vec![ledger.genesis()];
    taken.extend(branch(&ledger, &taken[0], LENGTH - 1, 2));
    // At last key 1 spends all it has; in any other state it could not, or would have more.
    let all = ALLOCATION - (LENGTH as u64 - 1) * (2 + 3);
    let last = |amount| {
        let last = Transfer { fee: 0, ..transfer(LENGTH as u64 - 1, amount) };
        ledger.block(&taken[LENGTH - 1], &[ledger.sign(&last)])
    };
    let (all, more) = (last(all), last(all + 1));
    let plain = ledger.judge(taken[1..].iter().chain([&all])).ledger.expect("a ledger");
    for depth in 1..=LENGTH {
        // As long, and then a block that fails: with the most work of all it is tried first.
        let mut left = branch(&ledger, &taken[LENGTH - depth], depth, 3);
        let end = left[depth - 1].clone();
        left.push(ledger.block(&end, &[ledger.sign(&transfer(LENGTH as u64, u64::MAX - 3))]));
        let height = u32::try_from(LENGTH).expect("a height");
        let fails = ("bad-tx-balance", Some(height + 1), Some(1));
        let validation = ledger.judge(taken[1..].iter().chain([&all]).chain(&left));
        assert_eq!(faults(&validation), [fails], "{depth}");
        assert_eq!(tip(&validation), (height, all.id()), "{depth}");
        assert_eq!(counts(&validation).side, depth as u64);
        let held = validation.ledger.expect("a ledger");
        assert_eq!(
            (held.supply, held.accounts, held.transactions),
            (plain.supply, plain.accounts, plain.transactions),
            "{depth}"
        );
        if depth % 20 == 0 {
            // One coin more and the way goes back to where it came from.
            let validation = ledger.judge(taken[1..].iter().chain([&more]).chain(&left));
            let more = ("bad-tx-balance", Some(height), Some(1));
            assert_eq!(faults(&validation), [more, fails], "{depth}");
            assert_eq!(tip(&validation), (height, end.id()), "{depth}");
        }
    }
}

// --- the best branch fails ---

/// Ways in which a body fails, as copies of its block.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Shape,
    Signature,
    State,
    Mutated,
}

impl Failure {
    const ALL: [Self; 4] = [Self::Shape, Self::Signature, Self::State, Self::Mutated];

    /// The block, and what is reported of it.
    fn of(self, ledger: &Ledger, mut draft: Draft) -> (Block, &'static str, Option<u32>) {
        let end = draft.rest.len() + 1;
        let record = Record { from: 50, fee: 0, ..Record::default() };
        match self {
            Self::Shape => {
                draft.reward.amount += 1;
                (draft.mine(), "bad-cb-amount", Some(0))
            }
            Self::Signature => {
                draft.rest.push(ledger.sign_by(&record.transaction(), |_| sign_bytes(1, b"")));
                (draft.mine(), "bad-tx-signature", u32::try_from(end).ok())
            }
            Self::State => {
                draft.rest.push(ledger.sign(&Record { nonce: 1, ..record }));
                (draft.mine(), "bad-tx-nonce", u32::try_from(end).ok())
            }
            Self::Mutated => (draft.mine().undecodable(), "bad-encoding", None),
        }
    }
}

/// A branch of six fails at each place in each way; there are others of four and of two.
#[test]
fn where_a_body_fails_the_next_best_branch_is_taken() {
    let ledger = Ledger::new();
    let trunk = branch(&ledger, &ledger.genesis(), 3, 2);
    let (four, two) = (branch(&ledger, &trunk[2], 4, 4), branch(&ledger, &trunk[2], 2, 5));
    for failure in Failure::ALL {
        for sound in 0..6 {
            let mut six = branch(&ledger, &trunk[2], sound, 3);
            let parent = six.last().unwrap_or(&trunk[2]);
            let (bad, rule, tx) = failure.of(&ledger, paying(&ledger, parent, 3));
            six.push(bad);
            six.extend(branch(&ledger, &six[sound], 5 - sound, 3));
            for six_first in [true, false] {
                let mut dump = vec![&four[..], &two];
                dump.insert(if six_first { 0 } else { 2 }, &six);
                let dump = trunk.iter().chain(dump.into_iter().flatten());
                let validation = ledger.judge_each_way(dump);
                let what = format!("{failure:?} after {sound}, first: {six_first}");
                let six_wins = sound > 4 || (sound == 4 && six_first);
                let end = if six_wins { &six[sound - 1] } else { &four[3] };
                assert_eq!(tip(&validation), (end.height, end.id()), "{what}");
                let height = |at: usize| u32::try_from(4 + at).ok();
                let mut expected = vec![(rule, height(sound), tx)];
                let (rest, is_mutated) = (5 - sound, failure == Failure::Mutated);
                if !is_mutated {
                    expected
                        .extend((0..rest).map(|at| ("bad-prevblk", height(sound + 1 + at), None)));
                }
                assert_eq!(faults(&validation), expected, "{what}");
                let counts = counts(&validation);
                let best = u64::from(end.height);
                assert_eq!(
                    (counts.best_branch, counts.side, counts.unconnected),
                    (best, 9 + sound as u64 - best, if is_mutated { rest as u64 } else { 0 }),
                    "{what}"
                );
            }
        }
    }
}

/// The header that came first wins, whatever became of its first body.
#[test]
fn ties_go_to_the_header_that_came_first() {
    let ledger = Ledger::new();
    let genesis = ledger.genesis();
    let [a, b] = [2, 3].map(|rewarded| branch(&ledger, &genesis, 3, rewarded));
    let winner = |dump: &[&[Block]]| tip(&ledger.judge_each_way(dump.iter().copied().flatten())).1;
    assert_eq!(winner(&[&a, &b]), a[2].id());
    assert_eq!(winner(&[&b, &a]), b[2].id());
    // The ends decide, not where branches begin.
    assert_eq!(winner(&[&a[..2], &b, &a[2..]]), b[2].id());
    assert_eq!(winner(&[&b[2..], &a, &b[..2]]), b[2].id());
    let mutated = [a[2].exchanged()];
    assert_eq!(winner(&[&mutated, &b, &a]), a[2].id());
    assert_eq!(winner(&[&b, &mutated, &a]), b[2].id());
}

#[test]
fn mutated_copies_come_first_or_last_or_alone() {
    let ledger = Ledger::new();
    let chain = branch(&ledger, &ledger.genesis(), 5, 2);
    let (undecodable, exchanged) = (chain[2].undecodable(), chain[2].exchanged());
    let faults_of = |rules: &[&'static str]| -> Vec<_> {
        rules.iter().map(|rule| (*rule, Some(3), None)).collect()
    };
    let both = ["bad-encoding", "bad-txnmrklroot"];
    let end = (5, chain[4].id());
    for (copies, rules, expected_tip, unconnected, duplicates) in [
        (vec![&undecodable, &exchanged, &chain[2]], &both[..], end, 0, 0),
        (vec![&chain[2], &undecodable, &exchanged], &both, end, 0, 0),
        (vec![&undecodable, &chain[2], &exchanged, &chain[2]], &both, end, 0, 1),
        (vec![&undecodable, &exchanged], &both, (2, chain[1].id()), 2, 0),
        (vec![&exchanged], &both[1..], (2, chain[1].id()), 2, 0),
        (vec![&chain[2], &chain[2], &chain[2]], &[], end, 0, 2),
    ] {
        for copies_at in [0, 2, 5] {
            let mut dump: Vec<_> = [&chain[..2], &chain[3..]].concat();
            let at = copies_at.min(dump.len());
            dump.splice(at..at, copies.iter().copied().cloned());
            let validation = ledger.judge_each_way(&dump);
            let counts = counts(&validation);
            assert_eq!(faults(&validation), faults_of(rules), "{copies_at}");
            assert_eq!(tip(&validation), expected_tip, "{copies_at}");
            assert_eq!((counts.unconnected, counts.duplicates), (unconnected, duplicates));
        }
    }
}

/// Copies cost no work, so there may be any number of them; each is looked at once.
#[test]
fn very_many_mutated_copies() {
    const COPIES: usize = 50_000;
    let ledger = Ledger::new();
    let chain = branch(&ledger, &ledger.genesis(), 2, 2);
    let mutated = [chain[0].with_body(&[0])];
    let copies = || mutated.iter().cycle().take(COPIES);
    for (dump, height) in [
        (copies().chain(&chain).collect::<Vec<_>>(), 2),
        (chain.iter().chain(copies()).collect(), 2),
        (copies().chain(&chain[1..]).collect(), 0),
    ] {
        let validation = ledger.judge(dump);
        assert_eq!((tip(&validation).0, counts(&validation).rejected), (height, COPIES as u64));
    }
}

/// Every copy of a bad block is rejected, by its own fault or by that of the block.
#[test]
fn copies_of_a_bad_block() {
    let ledger = Ledger::new();
    let chain = branch(&ledger, &ledger.genesis(), 2, 2);
    for failure in [Failure::Shape, Failure::Signature, Failure::State] {
        let (bad, rule, tx) = failure.of(&ledger, paying(&ledger, &chain[1], 2));
        let child = ledger.block(&bad, &[]);
        let (own, of_block) = (("bad-txnmrklroot", Some(3), None), (rule, Some(3), tx));
        let below = ("bad-prevblk", Some(4), None);
        let mutated = bad.exchanged();
        for (copies, expected) in [
            ([&bad, &mutated, &bad], [of_block, own, of_block]),
            ([&mutated, &bad, &bad], [own, of_block, of_block]),
            ([&bad, &bad, &mutated], [of_block, of_block, own]),
        ] {
            // Descendants of a bad block are rejected with whatever body.
            let child_copies = [child.exchanged(), child.clone(), child.undecodable()];
            let validation = ledger.judge_each_way(chain.iter().chain(copies).chain(&child_copies));
            assert_eq!(faults(&validation), [&expected[..], &[below; 3]].concat());
            assert_eq!(counts(&validation).rejected, 6);
        }
    }
}

/// Long branches under a block without a body, or with a bad one, in bounded time.
#[test]
fn a_deep_branch_without_its_first_body() {
    let ledger = Ledger::new();
    let deep = ledger.extend(&ledger.genesis(), 3000, 0);
    let short = branch(&ledger, &ledger.genesis(), 3, 2);
    let mut bodyless = deep.clone();
    bodyless[0] = deep[0].undecodable();
    let validation = ledger.judge(bodyless.iter().chain(&short));
    assert_eq!(faults(&validation), [("bad-encoding", Some(1), None)]);
    assert_eq!(tip(&validation), (3, short[2].id()));
    assert_eq!(counts(&validation).unconnected, 2999);
    // Bodies under it are judged all the same.
    let mut draft = ledger.draft(&deep[1499], &[]);
    draft.reward.height = 0;
    let bad = draft.mine();
    let below = ledger.extend(&bad, 10, 1);
    let validation = ledger.judge(bodyless.iter().chain(&short).chain(&[bad]).chain(&below));
    let found = faults(&validation);
    assert_eq!(found[1], ("bad-cb-height", Some(1501), Some(0)));
    assert_eq!(
        found[2..],
        (1502..1512).map(|height| ("bad-prevblk", Some(height), None)).collect::<Vec<_>>()
    );
    // At the end of the dump the body comes after all.
    let validation = ledger.judge(bodyless.iter().chain(&deep[..1]));
    assert_eq!(tip(&validation), (3000, deep[2999].id()));
}

/// What hangs on nothing is judged by its own bytes, but for what needs the height.
#[test]
fn orphans_are_judged_by_their_own_bytes() {
    let ledger = Ledger::new();
    let chain = branch(&ledger, &ledger.genesis(), 6, 2);
    let connected = &chain[..2];
    let child = |failure: Failure| failure.of(&ledger, paying(&ledger, &chain[4], 3)).0;
    for (orphan, rule, below) in [
        (child(Failure::Shape), None, None), // a reward too large for its height
        (child(Failure::State), None, None),
        (
            child(Failure::Signature),
            Some(("bad-tx-signature", None, Some(2))),
            Some(("bad-prevblk", None, None)),
        ),
        (child(Failure::Mutated), Some(("bad-encoding", None, None)), None),
    ] {
        let descendant = ledger.block(&orphan, &[]);
        // Below comes first.
        let validation = ledger.judge_each_way(connected.iter().chain([&descendant, &orphan]));
        let expected: Vec<_> = below.into_iter().chain(rule).collect();
        assert_eq!(faults(&validation), expected);
        assert_eq!((tip(&validation).0, validation.error.is_none()), (2, true));
        assert_eq!(counts(&validation).orphans, 2 - expected.len() as u64);
    }
    // With the blocks before them all is known.
    let bad = child(Failure::State);
    let validation = ledger.judge_each_way([&bad].into_iter().chain(&chain[..5]));
    assert_eq!(faults(&validation), [("bad-tx-nonce", Some(6), Some(2))]);
    // Alone they show nothing.
    let validation = ledger.judge_each_way(&chain[3..]);
    assert_eq!((tip(&validation).0, counts(&validation).orphans), (0, 3));
    assert_eq!(validation.error.expect("nothing connects").kind(), "nothing-connects");
}

#[test]
fn genesis_may_stand_in_the_dump() {
    let ledger = Ledger::new();
    let genesis = ledger.genesis();
    let mut chain = branch(&ledger, &genesis, 2, 2);
    chain.extend(branch(&ledger, &genesis, 1, 3));
    let reward = Reward { height: 0, to: account(1), amount: 1, extranonce: 0 };
    let greedy = genesis.with_body(&common::ledger::body_of(&[reward.leaf()]));
    let (undecodable, root) = (("bad-encoding", Some(0), None), ("bad-txnmrklroot", Some(0), None));
    for (copies, expected, best, duplicates) in [
        (vec![], vec![], 2, 0),
        (vec![&genesis], vec![], 3, 0),
        (vec![&genesis, &genesis], vec![], 3, 1),
        (vec![&greedy], vec![root], 2, 0),
        (vec![&greedy, &genesis], vec![root], 3, 0),
        (vec![&genesis, &greedy], vec![root], 3, 0),
    ] {
        for dump in [[copies.clone(), chain.iter().collect()], [chain.iter().collect(), copies]] {
            let validation = ledger.judge_each_way(dump.concat());
            assert_eq!(faults(&validation), expected);
            let counts = counts(&validation);
            assert_eq!((counts.best_branch, counts.duplicates), (best, duplicates));
            assert_eq!(counts.side, 1);
            assert_eq!(tip(&validation), (2, chain[1].id()));
        }
    }
    let validation = ledger.judge_each_way([&genesis.undecodable()]);
    assert_eq!((faults(&validation), tip(&validation).0), (vec![undecodable], 0));
    // Nothing at all is a ledger that has just begun.
    let validation = ledger.judge_each_way([]);
    assert_eq!((tip(&validation).1, validation.error.is_none()), (genesis.id(), true));
}

// --- a model ---

/// What is wrong with a block of a random tree.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Unmined,
    Bits,
    Version,
    /// A transaction stands there twice: no body fits the header.
    Twice,
    SecondReward,
    RewardHeight,
    Signature,
    Nonce,
}

/// A copy of a block in the dump.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Copy {
    Honest,
    Undecodable,
    Exchanged,
}

#[derive(Clone, Debug)]
struct Spend {
    from: u8,
    to: u8,
    amount: u64,
    fee: u64,
    nonce: u64,
}

/// A block of a random tree as the model sees it.
#[derive(Clone, Debug)]
struct Planned {
    /// Its number among the blocks; `None` for genesis.
    parent: Option<usize>,
    fault: Fault,
    spends: Vec<Spend>,
    rewarded: u8,
    reward: u64,
    copies: Vec<Copy>,
    block: Block,
}

type Verdict = (&'static str, Option<u32>);

/// The model: recursive, quadratic, and without a line of the engine's.
struct Model<'a> {
    ledger: &'a Ledger,
    blocks: &'a [Planned],
    /// The numbers of blocks, `None` for genesis, with the copy, in the order of the dump.
    arrivals: &'a [(Option<usize>, Copy)],
    condemned: HashMap<usize, Verdict>,
    bodyless: HashSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ByHeader {
    Orphan,
    Connected,
    Rejected(&'static str),
}

impl Model<'_> {
    fn is_there(&self, number: usize) -> bool {
        !self.blocks[number].copies.is_empty()
    }

    fn by_header(&self, number: usize) -> ByHeader {
        let Planned { fault, parent, .. } = self.blocks[number];
        let of_parent = match parent {
            None => ByHeader::Connected,
            Some(parent) if self.is_there(parent) => self.by_header(parent),
            Some(_) => ByHeader::Orphan,
        };
        match (fault, of_parent) {
            (Fault::Unmined, _) => ByHeader::Rejected("high-hash"),
            (_, ByHeader::Rejected(_)) => ByHeader::Rejected("bad-prevblk"),
            (_, ByHeader::Orphan) => ByHeader::Orphan,
            (Fault::Bits, _) => ByHeader::Rejected("bad-diffbits"),
            (Fault::Version, _) => ByHeader::Rejected("bad-version"),
            _ => ByHeader::Connected,
        }
    }

    fn height(&self, number: usize) -> Option<u32> {
        match self.blocks[number].parent {
            None => Some(1),
            Some(parent) if self.is_there(parent) => Some(self.height(parent)? + 1),
            Some(_) => None,
        }
    }

    /// What is wrong with a copy, whatever the block is.
    fn of_copy(&self, number: usize, copy: Copy) -> Option<Verdict> {
        let block = &self.blocks[number];
        match copy {
            Copy::Undecodable => Some(("bad-encoding", None)),
            Copy::Exchanged => Some(("bad-txnmrklroot", None)),
            Copy::Honest if block.fault == Fault::Twice => {
                Some(("bad-txns-duplicate", u32::try_from(block.spends.len() + 2).ok()))
            }
            Copy::Honest => None,
        }
    }

    fn has_body(&self, number: usize) -> bool {
        let copies = &self.blocks[number].copies;
        copies.iter().any(|copy| self.of_copy(number, *copy).is_none())
    }

    /// What the bytes of the right body say.
    fn of_body(&self, number: usize) -> Option<Verdict> {
        let block = &self.blocks[number];
        let last = u32::try_from(block.spends.len() + 1).ok();
        match block.fault {
            Fault::SecondReward => Some(("bad-cb-multiple", last)),
            Fault::RewardHeight if self.by_header(number) == ByHeader::Connected => {
                Some(("bad-cb-height", Some(0)))
            }
            Fault::Signature => Some(("bad-tx-signature", last)),
            _ => None,
        }
    }

    /// The branch that ends with a block, from the first block on.
    fn path(&self, end: Option<usize>) -> Vec<usize> {
        let Some(number) = end else { return Vec::new() };
        [self.path(self.blocks[number].parent), vec![number]].concat()
    }

    fn work(&self, number: usize) -> Work {
        let of = |number: &usize| {
            self.blocks[*number].block.header.bits().decode().expect("bits").work()
        };
        self.path(Some(number)).iter().map(of).fold(Work::ZERO, Work::saturating_add)
    }

    fn first_place(&self, number: usize) -> usize {
        let is_it = |(of, _): &(Option<usize>, Copy)| *of == Some(number);
        self.arrivals.iter().position(is_it).expect("it is there")
    }

    /// The balances and nonces after these blocks, or the first that fails.
    fn replay(&self, path: &[usize]) -> Result<BTreeMap<u8, (u64, u64)>, (usize, Verdict)> {
        let mut held: BTreeMap<u8, (u64, u64)> =
            (1..=KEYS).map(|key| (key, (ALLOCATION, 0))).collect();
        for &number in path {
            let block = &self.blocks[number];
            for (tx, spend) in (1..).zip(&block.spends) {
                let from = held.entry(spend.from).or_default();
                let needed = spend.amount + spend.fee;
                if spend.nonce != from.1 {
                    return Err((number, ("bad-tx-nonce", Some(tx))));
                }
                if needed > from.0 {
                    return Err((number, ("bad-tx-balance", Some(tx))));
                }
                *from = (from.0 - needed, from.1 + 1);
                held.entry(spend.to).or_default().0 += spend.amount;
            }
            held.entry(block.rewarded).or_default().0 += block.reward;
        }
        held.retain(|_, held| *held != (0, 0));
        Ok(held)
    }

    /// Why a block on a branch fails, with the blocks before it sound.
    fn fails(&self, path: &[usize]) -> Option<Option<Verdict>> {
        let number = *path.last()?;
        if !self.has_body(number) {
            return Some(None);
        }
        let by_state = || self.replay(path).err().map(|(_, verdict)| verdict);
        self.of_body(number).or_else(by_state).map(Some)
    }

    /// The tip: tries the best branch without a known fault, until one passes.
    fn follow(&mut self) -> Option<usize> {
        loop {
            let is_open = |number: &usize| {
                self.is_there(*number)
                    && self.by_header(*number) == ByHeader::Connected
                    && self
                        .path(Some(*number))
                        .iter()
                        .all(|at| !self.condemned.contains_key(at) && !self.bodyless.contains(at))
            };
            let open = (0..self.blocks.len()).filter(is_open);
            let best = open.max_by(|a, b| {
                let by_place = || self.first_place(*b).cmp(&self.first_place(*a));
                self.work(*a).cmp(&self.work(*b)).then_with(by_place)
            });
            let path = self.path(best);
            let failed =
                (1..=path.len()).find_map(|end| Some((path[end - 1], self.fails(&path[..end])?)));
            match failed {
                None => return best,
                Some((number, Some(verdict))) => drop(self.condemned.insert(number, verdict)),
                Some((number, None)) => drop(self.bodyless.insert(number)),
            }
        }
    }

    fn judge_the_rest(&mut self) {
        for number in 0..self.blocks.len() {
            if !self.is_there(number) {
                continue;
            }
            if !self.has_body(number) {
                self.bodyless.insert(number);
            } else if let Some(verdict) = self.of_body(number) {
                self.condemned.entry(number).or_insert(verdict);
            }
        }
    }

    fn is_rejected(&self, number: usize) -> bool {
        matches!(self.by_header(number), ByHeader::Rejected(_))
            || self.condemned.contains_key(&number)
            || self.is_below_rejected(number)
    }

    fn is_below_rejected(&self, number: usize) -> bool {
        let parent = self.blocks[number].parent;
        parent.is_some_and(|parent| self.is_there(parent) && self.is_rejected(parent))
    }

    fn is_bodyless(&self, number: usize) -> bool {
        let parent = self.blocks[number].parent;
        self.bodyless.contains(&number) || parent.is_some_and(|parent| self.is_bodyless(parent))
    }

    /// Why an arrival is rejected, if it is.
    fn verdict(&self, number: Option<usize>, copy: Copy) -> Option<Verdict> {
        let Some(number) = number else {
            return match copy {
                Copy::Honest => None,
                Copy::Undecodable => Some(("bad-encoding", None)),
                Copy::Exchanged => Some(("bad-txnmrklroot", None)),
            };
        };
        match self.by_header(number) {
            ByHeader::Rejected("high-hash") => return Some(("high-hash", None)),
            _ if self.is_below_rejected(number) => return Some(("bad-prevblk", None)),
            ByHeader::Rejected(rule) => return Some((rule, None)),
            _ => {}
        }
        let of_block = || self.condemned.get(&number).copied();
        self.of_copy(number, copy).or_else(of_block)
    }

    /// The counts, and every rejection with the place of its arrival.
    fn sums(&self, tip: Option<usize>) -> (BlockCounts, Vec<(usize, Verdict, Option<u32>)>) {
        let best = self.path(tip);
        let mut counts = BlockCounts::default();
        let mut rejections = Vec::new();
        let mut counted = HashSet::new();
        for (place, (number, copy)) in self.arrivals.iter().enumerate() {
            counts.seen += 1;
            if let Some(verdict) = self.verdict(*number, *copy) {
                counts.rejected += 1;
                let height = number.map_or(Some(0), |number| self.height(number));
                rejections.push((place, verdict, height));
                continue;
            }
            let is_first = counted.insert(*number);
            *match number {
                _ if !is_first => &mut counts.duplicates,
                None => &mut counts.best_branch,
                Some(number) if best.contains(number) => &mut counts.best_branch,
                Some(number) if self.by_header(*number) == ByHeader::Orphan => &mut counts.orphans,
                Some(number) if self.is_bodyless(*number) => &mut counts.unconnected,
                Some(_) => &mut counts.side,
            } += 1;
        }
        (counts, rejections)
    }
}

/// Draws the blocks of a tree.
fn plan(ledger: &Ledger, random: &mut StdRng) -> Vec<Planned> {
    let mut blocks: Vec<Planned> = Vec::new();
    let genesis = ledger.genesis();
    for salt in 0..random.random_range(1..28u64) {
        // Mostly long branches: the parent is one of the last four.
        let back = random.random_range(1..=4);
        let parent = blocks.len().checked_sub(back);
        let parent_block = parent.map_or(&genesis, |parent| &blocks[parent].block).clone();
        let fault = match random.random_range(0..48) {
            0 => Fault::Unmined,
            1 => Fault::Bits,
            2 => Fault::Version,
            3 => Fault::Twice,
            4 => Fault::SecondReward,
            5 => Fault::RewardHeight,
            6 => Fault::Signature,
            7 => Fault::Nonce,
            _ => Fault::None,
        };
        let copies = match random.random_range(0..24) {
            0 => vec![],
            1 => vec![Copy::Honest; 2],
            2 => vec![Copy::Undecodable],
            3 => vec![Copy::Exchanged, Copy::Honest],
            4 => vec![Copy::Honest, Copy::Undecodable, Copy::Honest],
            5 => vec![Copy::Undecodable, Copy::Exchanged],
            _ => vec![Copy::Honest],
        };
        let mut nonces: BTreeMap<u8, u64> = BTreeMap::new();
        let mut at = parent;
        while let Some(number) = at {
            blocks[number]
                .spends
                .iter()
                .for_each(|spend| *nonces.entry(spend.from).or_default() += 1);
            at = blocks[number].parent;
        }
        let mut spends = Vec::new();
        for _ in 0..random.random_range(0..3) {
            let from = random.random_range(1..=2);
            let nonce = nonces.entry(from).or_default();
            let slip = u64::from(fault == Fault::Nonce);
            spends.push(Spend {
                from,
                to: random.random_range(1..=4),
                amount: random.random_range(1..ALLOCATION * 2 / 3),
                fee: random.random_range(0..100),
                nonce: *nonce + slip,
            });
            *nonce += 1;
        }
        let signed = spends.iter().map(|spend| {
            let Spend { from, to, amount, fee, nonce } = *spend;
            let to = account(to);
            ledger.sign(&Transfer {
                from,
                to,
                amount,
                fee,
                nonce,
                memo: salt.to_le_bytes().to_vec(),
            })
        });
        let signed: Vec<_> = signed.collect();
        let after = [1, 600, 600, 1200][random.random_range(0..4)];
        let mut draft = ledger.draft_at(&parent_block, parent_block.header.time() + after, &signed);
        let rewarded = random.random_range(1..=3);
        draft.reward.to = account(rewarded);
        draft.reward.extranonce = salt;
        let free = Record { from: 99, fee: 0, ..Record::default() };
        match fault {
            Fault::Unmined => draft.wins = false,
            Fault::Bits => {
                draft.bits = blockmill::primitives::CompactTarget::from_bits(0x207e_eeee)
            }
            Fault::Version => draft.version = 2,
            Fault::Twice => draft.rest.extend(vec![ledger.sign(&free); 2]),
            Fault::SecondReward => {
                draft.rest.push(Reward { extranonce: u64::MAX, ..draft.reward }.leaf());
            }
            Fault::RewardHeight => draft.reward.height += 1,
            Fault::Signature => {
                draft.rest.push(ledger.sign_by(&free.transaction(), |_| sign_bytes(1, b"")));
            }
            Fault::Nonce | Fault::None => {}
        }
        let reward = draft.reward.amount;
        blocks.push(Planned {
            parent,
            fault,
            spends,
            rewarded,
            reward,
            copies,
            block: draft.mine(),
        });
    }
    blocks
}

/// The copies in the order of the dump.
fn arrivals(blocks: &[Planned], random: &mut StdRng) -> Vec<(Option<usize>, Copy)> {
    let copies = |(number, block): (usize, &Planned)| {
        block.copies.iter().map(move |copy| (Some(number), *copy)).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = blocks.iter().enumerate().flat_map(copies).collect();
    if random.random_range(0..4) == 0 {
        all.insert(0, (None, Copy::Honest));
        all.push((None, [Copy::Honest, Copy::Undecodable][random.random_range(0..2)]));
    }
    if random.random_range(0..2) == 0 {
        all.shuffle(random);
    }
    all
}

/// Writes a dump as up to three files, and says where each arrival stands.
fn write(
    ledger: &Ledger,
    blocks: &[Planned],
    arrivals: &[(Option<usize>, Copy)],
    files: &[PathBuf],
) -> Vec<(PathBuf, u64)> {
    let genesis = ledger.genesis();
    let mut places = Vec::new();
    let each = arrivals.len() / files.len() + 1;
    for (number, file) in files.iter().enumerate() {
        let mut bytes = ledger.head(1);
        for (block, copy) in arrivals.iter().skip(number * each).take(each) {
            let block = block.map_or(&genesis, |number| &blocks[number].block);
            let copy = match copy {
                Copy::Honest => block.clone(),
                Copy::Undecodable => block.undecodable(),
                Copy::Exchanged => block.exchanged(),
            };
            places.push((file.clone(), (bytes.len() + RECORD_HEAD_LEN) as u64));
            bytes.extend(copy.record());
        }
        std::fs::write(file, bytes).expect("a file");
    }
    places
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for batch in [1, 7, 100_000] {
        for threads in [1, 2, 5] {
            for overlap in [false, true] {
                ways.push(Way { reference: threads == 1, batch, threads, overlap });
            }
        }
    }
    ways
}

#[test]
fn random_trees_are_judged_as_the_model_says() {
    let ledger = Ledger::with(&[("half_life_s", "600"), ("target_spacing_s", "600")]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut rules_seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut reorganised = 0;
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let blocks = plan(&ledger, &mut random);
        let arrivals = arrivals(&blocks, &mut random);
        let names = ["a", "b", "c"].map(|name| folder.path().join(name));
        let files = &names[..random.random_range(1..=3)];
        let places = write(&ledger, &blocks, &arrivals, files);

        let mut model = Model {
            ledger: &ledger,
            blocks: &blocks,
            arrivals: &arrivals,
            condemned: HashMap::new(),
            bodyless: HashSet::new(),
        };
        let end = model.follow();
        reorganised += usize::from(!model.condemned.is_empty());
        model.judge_the_rest();
        let (expected_counts, rejections) = model.sums(end);
        let held = model.replay(&model.path(end)).expect("the best branch passes");
        let end_block = end.map_or_else(|| model.ledger.genesis(), |end| blocks[end].block.clone());

        let mut first: Option<String> = None;
        for way in ways() {
            let validation = judge_files(files, &way).expect("a judgement");
            let text = summary(&validation);
            let first = first.get_or_insert_with(|| text.clone());
            assert_eq!(*first, text, "seed {seed}, {way:?}");
            let outcome = validation.outcome.as_ref().expect("an outcome");
            assert_eq!(outcome.blocks, expected_counts, "seed {seed}");
            assert_eq!(tip(&validation), (end_block.height, end_block.id()), "seed {seed}");
            let found: Vec<_> = outcome
                .rejections
                .iter()
                .map(|each| {
                    let place = validation.files.place(each.position).expect("a place");
                    let rule = each.violation.rule().id();
                    ((place.path, place.offset), (rule, each.violation.transaction()), each.height)
                })
                .collect();
            let expected: Vec<_> = rejections
                .iter()
                .map(|(place, verdict, height)| (places[*place].clone(), *verdict, *height))
                .collect();
            assert_eq!(found, expected, "seed {seed}");
            let summary = validation.ledger.expect("a ledger");
            let supply = held.values().map(|(balance, _)| balance).sum::<u64>();
            assert_eq!(
                (summary.supply, summary.accounts),
                (supply, held.len() as u64),
                "seed {seed}"
            );
        }
        for (_, (rule, _), _) in rejections {
            *rules_seen.entry(rule).or_default() += 1;
        }
    }
    // The trees are varied enough to mean something.
    assert!(rules_seen.len() == 12 && rules_seen.values().all(|&seen| seen >= 5), "{rules_seen:?}");
    assert!(reorganised > 40, "{reorganised}");
}
