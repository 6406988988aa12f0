//! The rules on Bitcoin's bodies that depend on the block's place, by mined blocks: lock times, the height in
//! the coinbase, witnesses. And what becomes of a block's descendants when its body fails.

mod common;

use bitcoin::absolute::LockTime;
use bitcoin::script::Builder;
use bitcoin::{ScriptBuf, Sequence, Transaction};
use blockmill::bitcoin::Network;
use blockmill::verdict::{BlockViolation, Rule, ScriptStart, Violation};

use common::blocks::{
    Block, COMMITMENT_START, Commitment, Draft, HEIGHT, Stage, Tx, block_file, body_of, commitment,
    input, judge_files, options, output, spend, spend_with_witness, written,
};
use common::ledger::{Way, faults, summary, tip};

// --- lock times ---

/// A transaction that is locked until `lock_time`, unless its sequence numbers are all final.
fn locked(lock_time: u32, sequences: &[u32]) -> Transaction {
    let mut transaction = spend(1);
    transaction.lock_time = LockTime::from_consensus(lock_time);
    transaction.input = (0..).map(input).take(sequences.len()).collect();
    for (input, sequence) in transaction.input.iter_mut().zip(sequences) {
        input.sequence = Sequence(*sequence);
    }
    transaction
}

const FINAL: u32 = u32::MAX;

/// Judges a lock time in a block: it must be final, or the report must say what it is held against.
fn is_final(stage: &Stage, lock_time: u32, sequences: &[u32], reached: Option<(u32, bool)>) {
    let draft = stage.draft().with([spend(90), locked(lock_time, sequences)]);
    let what = format!("{lock_time}, {sequences:?}");
    let Some((reached, is_time)) = reached else { return stage.accepts(&what, &draft.mine()) };
    let evidence = stage.rejects(&what, &draft.mine(), Rule::BadTxnsNonfinal, Some(2));
    let expected = BlockViolation::NotFinal { transaction: 2, lock_time, reached, is_time };
    assert_eq!(evidence, Violation::Block(expected), "{what}");
}

#[test]
fn lock_times_that_are_heights() {
    let stage = Stage::new();
    let at_height = Some((HEIGHT, false));
    for sequence in [0, 1, FINAL - 1] {
        is_final(&stage, 0, &[sequence], None);
        is_final(&stage, 1, &[sequence], None);
        is_final(&stage, HEIGHT - 1, &[sequence], None);
        is_final(&stage, HEIGHT, &[sequence], at_height);
        is_final(&stage, HEIGHT + 1, &[sequence], at_height);
        is_final(&stage, 499_999_999, &[sequence], at_height);
        is_final(&stage, HEIGHT, &[FINAL, sequence], at_height);
        is_final(&stage, HEIGHT, &[sequence, FINAL], at_height);
    }
    is_final(&stage, HEIGHT, &[FINAL], None);
    is_final(&stage, 499_999_999, &[FINAL, FINAL], None);
    // The coinbase may be locked as well.
    let mut draft = stage.draft();
    draft.coinbase.lock_time = LockTime::from_consensus(HEIGHT - 1);
    draft.coinbase.input[0].sequence = Sequence::ZERO;
    stage.accepts("coinbase", &draft.mine());
    draft.coinbase.lock_time = LockTime::from_consensus(HEIGHT);
    stage.rejects("coinbase", &draft.mine(), Rule::BadTxnsNonfinal, Some(0));
}

#[test]
fn lock_times_that_are_times() {
    // BIP113 by default; from this block on; and from the next one on.
    for (activation, is_median) in
        [(&[][..], true), (&[("csv", HEIGHT)], true), (&[("csv", HEIGHT + 1)], false)]
    {
        let stage = Stage::with(activation);
        let median = stage.trunk[stage.trunk.len() - 6].header.time();
        let time = stage.draft().time;
        assert!(median < stage.parent().header.time() && median < time);
        let reached = if is_median { median } else { time };
        for sequence in [0, FINAL - 1] {
            is_final(&stage, 500_000_000, &[sequence], None);
            is_final(&stage, reached - 1, &[sequence], None);
            for late in [reached, reached + 1, FINAL] {
                is_final(&stage, late, &[sequence], Some((reached, true)));
            }
        }
        is_final(&stage, median, &[0], is_median.then_some((median, true)));
        is_final(&stage, FINAL, &[FINAL, FINAL], None);
        is_final(&stage, HEIGHT, &[0], Some((HEIGHT, false)));
    }
}

/// The median is that of as many blocks as there are, down to the genesis alone.
#[test]
fn the_median_of_the_first_blocks() {
    let stage = Stage::new();
    let mut times = vec![Block::genesis().header.time()];
    let mut parent = Block::genesis();
    for block in &stage.trunk {
        let mut known = times[times.len().saturating_sub(11)..].to_vec();
        known.sort_unstable();
        let median = known[known.len() / 2];
        for (lock_time, rejected) in [(median - 1, 0), (median, 1)] {
            let sibling = Draft::after(&parent).with([locked(lock_time, &[0])]).mine();
            let validation = stage.judge([&sibling]);
            let expected = [("bad-txns-nonfinal", Some(block.height), Some(1))];
            assert_eq!(faults(&validation), expected[..rejected], "{}", block.height);
        }
        times.push(block.header.time());
        parent = block.clone();
    }
}

/// A start that is taken on trust hides the median of the first blocks: no lock time that is a time is held
/// against what is not known.
#[test]
fn behind_a_trusted_start() {
    let stage = Stage::new();
    let trial = |first: usize, lock_time: u32| {
        let block = stage.draft().with([locked(lock_time, &[0])]).mine();
        let (_folder, paths) = written(&[block_file(stage.trunk[first..].iter().chain([&block]))]);
        let mut options = stage.options(&Way::PLAIN);
        options.headers.start_height = Some(stage.trunk[first].height);
        faults(&judge_files(&paths, &options, &Way::PLAIN))
    };
    let median = stage.trunk[stage.trunk.len() - 6].header.time();
    let expected = [("bad-txns-nonfinal", Some(HEIGHT), Some(1))];
    // The eleven blocks before height 13 begin at height 2, and the one before a start is the trusted one.
    assert_eq!(trial(1, median), expected);
    assert_eq!(trial(1, median - 1), []);
    assert_eq!(trial(2, median), []);
    assert_eq!(trial(2, FINAL), []);
    assert_eq!(trial(2, HEIGHT), expected);
    assert_eq!(trial(11, HEIGHT), expected);
}

// --- the height in the coinbase ---

fn with_script(mut draft: Draft, script: &[u8]) -> Block {
    draft.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script.into());
    draft.mine()
}

fn pushed(height: i64) -> Vec<u8> {
    Builder::new().push_int(height).into_bytes()
}

/// A long chain, with blocks beside it where the height's push changes its form.
#[test]
fn a_coinbase_begins_with_its_height() {
    let edges = [1u32, 2, 15, 16, 17, 127, 128, 129, 255, 256, 257, 32_767, 32_768, 32_769];
    let mut chain = vec![Block::genesis()];
    let mut blocks = Vec::new();
    let mut wrong = 0;
    for height in 1..=32_769u32 {
        let parent = chain.last().expect("a genesis").clone();
        chain.push(parent.child());
        blocks.push(chain[chain.len() - 1].clone());
        if !edges.contains(&height) {
            continue;
        }
        let beside = |script: &[u8]| with_script(Draft::after(&parent), script);
        // What follows the push is free.
        let right = pushed(height.into());
        blocks.push(beside(&[&right[..], b"and more"].concat()));
        let bytes = height.to_le_bytes();
        let shortest = bytes.len() - height.leading_zeros() as usize / 8;
        let number = &bytes[..shortest];
        let len = u8::try_from(number.len()).expect("four at most");
        let bad = [
            pushed(i64::from(height) + 1),
            pushed(i64::from(height) - 1),
            pushed(-i64::from(height)),
            // Longer forms: another byte, and another opcode.
            [&[len + 1], number, &[0]].concat(),
            [&[len + 2], number, &[0, 0]].concat(),
            [&[0x4c, len], number].concat(),
            [&[0x4d, len, 0], number].concat(),
            // Without the free bit for the sign, or bytes where an opcode says it.
            [&[len], number].concat(),
            right[..right.len() - 1].to_vec(),
            number.to_vec(),
            vec![0],
            // Not at the start.
            [&[0x61], &right[..]].concat(),
        ];
        for script in bad.iter().filter(|script| !script.starts_with(&right)) {
            blocks.push(beside(&[&script[..], &[0xee, 0xee]].concat()));
            wrong += 1;
        }
    }
    let (_folder, paths) = written(&[block_file(&blocks)]);
    let validation = judge_files(&paths, &Stage::new().options(&Way::PLAIN), &Way::PLAIN);
    let outcome = validation.outcome.expect("an outcome");
    assert_eq!(outcome.tip.id, chain[chain.len() - 1].id());
    assert_eq!(outcome.rejections.len(), wrong);
    for rejection in outcome.rejections {
        let block = blocks.iter().find(|block| block.id() == rejection.id).expect("one of them");
        let script_at = 80 + 1 + 4 + 1 + 36 + 1;
        let found = ScriptStart::of(&block.bytes[script_at..][..6]);
        match rejection.violation {
            Violation::Block(BlockViolation::CoinbaseHeight { height, found: start, .. }) => {
                assert_eq!(height, block.height);
                let len = usize::from(block.bytes[script_at - 1]).min(6);
                let right = ScriptStart::of(&block.bytes[script_at..][..len]);
                assert_eq!(start, if len == 6 { found } else { right });
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(wrong > 130, "{wrong}");
}

#[test]
fn heights_are_asked_for_from_their_activation_on() {
    let script = [0x60, 0x60, 0x60];
    let before = Stage::with(&[("bip34", HEIGHT + 1)]);
    before.accepts("before", &with_script(before.draft(), &script));
    let from = Stage::with(&[("bip34", HEIGHT)]);
    from.rejects("from", &with_script(from.draft(), &script), Rule::BadCbHeight, Some(0));
    // Genesis is what the network says it is, wherever the soft forks begin.
    for at in [0, 1] {
        let stage = Stage::with(&[("bip34", at), ("csv", at), ("segwit", at)]);
        let genesis = Block::genesis();
        let validation = stage.judge_each_way([&genesis]);
        assert_eq!(faults(&validation), []);
        assert_eq!(tip(&validation).0, HEIGHT - 1);
    }
    // A wrong body of genesis is another matter.
    let genesis = Block::genesis().with_body(&NO_BLOCK);
    let validation = Stage::new().judge([&genesis]);
    assert_eq!(faults(&validation), [("bad-txnmrklroot", Some(0), None)]);
    assert_eq!(tip(&validation).0, HEIGHT - 1);
}

/// A body that parses, of no block in particular: one transaction without inputs and outputs.
const NO_BLOCK: [u8; 11] = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];

// --- witnesses ---

/// Two transactions with witnesses, one without.
fn three() -> [Transaction; 3] {
    [spend_with_witness(1, b"one"), spend(2), spend_with_witness(3, &[5; 300])]
}

#[test]
fn the_nonce_is_one_item_of_32_bytes() {
    let stage = Stage::new();
    let draft = stage.draft().with(three()).committed();
    stage.accepts("sound", &draft.mine());
    let nonces: [&[&[u8]]; 8] = [
        &[],
        &[&[]],
        &[&[7; 31]],
        &[&[7; 33]],
        &[&[7; 32], &[7; 32]],
        &[&[7; 32], &[]],
        &[&[], &[7; 32]],
        &[&[7; 64]],
    ];
    for nonce in nonces {
        let nonce: Vec<_> = nonce.iter().map(|item| item.to_vec()).collect();
        let (items, len) = (nonce.len() as u64, nonce.first().map_or(0, Vec::len) as u64);
        let bad = Draft { nonce, ..draft.clone() }.mine();
        let evidence = stage.rejects("nonce", &bad, Rule::BadWitnessNonceSize, Some(0));
        let expected = BlockViolation::WitnessNonce { items, len };
        assert_eq!(evidence, Violation::Block(expected));
    }
    // Any 32 bytes will do.
    let nonce = vec![(0..32).collect()];
    stage.accepts("another", &Draft { nonce, ..draft }.mine());
}

#[test]
fn a_commitment_is_to_all_witnesses() {
    let stage = Stage::new();
    for rest in [vec![], vec![spend(2)], three().to_vec(), (1..9).map(spend).collect()] {
        let draft = stage.draft().with(rest).committed();
        stage.accepts("right", &draft.mine());
        let wrong = Draft { commitment: Commitment::Wrong, ..draft.clone() };
        let evidence = stage.rejects("wrong", &wrong.mine(), Rule::BadWitnessMerkleMatch, Some(0));
        let computed = commitment(&wrong.rest, &wrong.nonce);
        let mut found = computed;
        found[9] ^= 4;
        let [computed, found] = [computed, found].map(blockmill::primitives::Hash256::from_bytes);
        let expected = BlockViolation::WitnessCommitment { computed, found };
        assert_eq!(evidence, Violation::Block(expected));
    }
}

/// A body with the honest ids and other witnesses.
fn with_witnesses(honest: &Block, draft: &Draft, change: impl FnOnce(&mut Draft)) -> Block {
    // The commitment stands in the coinbase as it was.
    let transactions = draft.transactions();
    let Tx::Usual(coinbase) = &transactions[0] else { panic!("a coinbase") };
    let mut changed =
        Draft { commitment: Commitment::Nothing, coinbase: coinbase.clone(), ..draft.clone() };
    change(&mut changed);
    honest.with_body(&changed.body())
}

fn witness_of(draft: &mut Draft, index: usize) -> &mut bitcoin::Witness {
    let Tx::Usual(transaction) = &mut draft.rest[index] else { panic!("a transaction") };
    &mut transaction.input[0].witness
}

/// What is wrong with the witnesses of a body never condemns the header.
#[test]
fn a_body_with_other_witnesses_is_refused_alone() {
    let stage = Stage::new();
    let draft = stage.draft().with(three()).committed();
    let honest = draft.mine();
    let child = honest.child();
    let mutated = |change: fn(&mut Draft)| with_witnesses(&honest, &draft, change);
    let mismatch = Rule::BadWitnessMerkleMatch;
    let cases = [
        (mutated(|draft| draft.nonce[0][31] ^= 1), mismatch),
        (mutated(|draft| draft.nonce.clear()), Rule::BadWitnessNonceSize),
        (mutated(|draft| draft.nonce.push(vec![])), Rule::BadWitnessNonceSize),
        (mutated(|draft| witness_of(draft, 0).push([])), mismatch),
        (mutated(|draft| witness_of(draft, 0).clear()), mismatch),
        (mutated(|draft| witness_of(draft, 1).push([1])), mismatch),
        (mutated(|draft| *witness_of(draft, 2) = [vec![5; 299]][..].into()), mismatch),
    ];
    for (mutated, rule) in &cases {
        assert_eq!(mutated.header, honest.header);
        assert_ne!(mutated.bytes, honest.bytes);
        stage.rejects("alone", mutated, *rule, Some(0));
        for copies in [[mutated, &honest], [&honest, mutated]] {
            let validation = stage.judge_each_way(copies.into_iter().chain([&child]));
            assert_eq!(faults(&validation), [(rule.id(), Some(HEIGHT), Some(0))]);
            assert_eq!(tip(&validation), (HEIGHT + 1, child.id()));
        }
    }
    // All of them before, around, and behind the honest one.
    for at in 0..=cases.len() {
        let mut bodies: Vec<_> = cases.iter().map(|(mutated, _)| mutated).collect();
        bodies.insert(at, &honest);
        let validation = stage.judge_each_way(bodies.into_iter().chain([&child]));
        assert_eq!(faults(&validation).len(), cases.len());
        assert_eq!(tip(&validation), (HEIGHT + 1, child.id()));
    }
}

#[test]
fn no_witness_without_a_commitment() {
    let stage = Stage::new();
    let unexpected = |what: &str, draft: &Draft, transaction| {
        let rule = Rule::UnexpectedWitness;
        let evidence = stage.rejects(what, &draft.mine(), rule, Some(transaction));
        let expected = BlockViolation::UnexpectedWitness { transaction, is_active: true };
        assert_eq!(evidence, Violation::Block(expected));
    };
    stage.accepts("none at all", &stage.draft().with([spend(1)]).mine());
    unexpected("the second", &stage.draft().with([spend(2), three()[0].clone()]), 2);
    unexpected("both", &stage.draft().with(three()), 1);
    let nonce = vec![vec![7; 32]];
    unexpected("the coinbase", &Draft { nonce, ..stage.draft().with([spend(1)]) }, 0);
    // A commitment asks for the nonce even where no other witness is.
    let committed = stage.draft().with([spend(1)]).committed();
    stage.accepts("a commitment to nothing", &committed.mine());
    let without = Draft { nonce: Vec::new(), ..committed };
    stage.rejects("no nonce", &without.mine(), Rule::BadWitnessNonceSize, Some(0));
}

#[test]
fn before_segwit_a_commitment_is_any_output() {
    for (at, active) in [(HEIGHT + 1, false), (HEIGHT, true)] {
        let stage = Stage::with(&[("segwit", at)]);
        let plain = stage.draft().with([spend(1)]);
        let committed = plain.clone().committed();
        let without_nonce = Draft { nonce: Vec::new(), ..committed.clone() };
        let wrong = Draft { commitment: Commitment::Wrong, ..without_nonce.clone() };
        let with_witness = stage.draft().with(three()).committed();
        stage.accepts("no witness", &plain.mine());
        if active {
            stage.accepts("a nonce", &committed.mine());
            stage.accepts("witnesses", &with_witness.mine());
            let rule = Rule::BadWitnessNonceSize;
            stage.rejects("a commitment alone", &without_nonce.mine(), rule, Some(0));
            stage.rejects("a wrong one alone", &wrong.mine(), rule, Some(0));
        } else {
            stage.accepts("a commitment alone", &without_nonce.mine());
            stage.accepts("a wrong one alone", &wrong.mine());
            let rule = Rule::UnexpectedWitness;
            let evidence = stage.rejects("a nonce", &committed.mine(), rule, Some(0));
            assert_eq!(evidence.expected(), "no witness before segwit");
            stage.rejects("witnesses", &with_witness.mine(), rule, Some(0));
            let bare = Draft { nonce: Vec::new(), ..with_witness };
            stage.rejects("witnesses alone", &bare.mine(), rule, Some(1));
        }
    }
}

/// A witness that anyone can add to a block without a commitment never condemns it, nor does one before
/// segwit.
#[test]
fn a_body_with_a_witness_added_is_refused_alone() {
    for activation in [&[][..], &[("segwit", HEIGHT + 2)]] {
        let stage = Stage::with(activation);
        let draft = stage.draft().with([spend(1), spend(2)]);
        let honest = draft.mine();
        let child = honest.child();
        let added = with_witnesses(&honest, &draft, |draft| witness_of(draft, 1).push([1]));
        let nonce = with_witnesses(&honest, &draft, |draft| draft.nonce = vec![vec![7; 32]]);
        for (mutated, tx) in [(added, 2), (nonce, 0)] {
            let fault = ("unexpected-witness", Some(HEIGHT), Some(tx));
            for copies in [[&mutated, &honest], [&honest, &mutated]] {
                let validation = stage.judge_each_way(copies.into_iter().chain([&child]));
                assert_eq!(faults(&validation), [fault]);
                assert_eq!(tip(&validation), (HEIGHT + 1, child.id()));
            }
            let validation = stage.judge_each_way([&mutated, &child]);
            assert_eq!(faults(&validation), [fault]);
            assert_eq!(validation.outcome.expect("an outcome").blocks.unconnected, 1);
        }
    }
}

/// A witness is one, whichever input has it.
#[test]
fn witnesses_of_several_inputs() {
    let stage = Stage::new();
    for having in [&[0][..], &[1], &[2], &[0, 2], &[0, 1, 2]] {
        let mut transaction = spend(1);
        transaction.input = (1..4).map(input).collect();
        for &index in having {
            transaction.input[index].witness.push([9; 20]);
        }
        let draft = stage.draft().with([transaction.clone()]).committed();
        stage.accepts("committed to", &draft.mine());
        let without = stage.draft().with([transaction]);
        stage.rejects("not", &without.mine(), Rule::UnexpectedWitness, Some(1));
        // Each of them is committed to.
        let honest = draft.mine();
        for &index in having {
            let mutated = with_witnesses(&honest, &draft, |draft| {
                let Tx::Usual(transaction) = &mut draft.rest[0] else { panic!("a transaction") };
                transaction.input[index].witness.push([]);
            });
            stage.rejects("another", &mutated, Rule::BadWitnessMerkleMatch, Some(0));
        }
    }
}

#[test]
fn what_counts_as_a_commitment() {
    let stage = Stage::new();
    let draft = Draft {
        nonce: vec![vec![7; 32]],
        ..stage.draft().with([spend_with_witness(1, b"x"), spend(2)])
    };
    let right = commitment(&draft.rest, &draft.nonce);
    let script = |hash: &[u8]| [&COMMITMENT_START[..], hash].concat();
    let with = |scripts: &[Vec<u8>]| {
        let mut draft = draft.clone();
        // Values do not matter, nor do outputs that are none.
        draft.coinbase.output.extend(scripts.iter().map(|script| output(5, script)));
        draft.mine()
    };
    let (mut wrong, longer) = (right, [&right[..], b"more"].concat());
    wrong[31] ^= 0x80;
    let short = script(&right[..31]);
    stage.accepts("38 bytes", &with(&[script(&right)]));
    stage.accepts("more bytes", &with(&[script(&longer)]));
    let unexpected =
        |what, block: &Block| stage.rejects(what, block, Rule::UnexpectedWitness, Some(0));
    unexpected("37 bytes", &with(std::slice::from_ref(&short)));
    unexpected("6 bytes", &with(&[script(&[])]));
    for place in 0..6 {
        let mut other = script(&right);
        other[place] ^= 1;
        unexpected("another start", &with(&[other]));
    }
    // Of several, the last counts; and one that is too short is none of them.
    stage.accepts("the last", &with(&[script(&wrong), script(&right)]));
    stage.accepts("the last but a short one", &with(&[script(&right), short.clone()]));
    stage.accepts("the last but others", &with(&[script(&right), vec![0x51], vec![]]));
    let mismatch = |what, block: &Block| {
        stage.rejects(what, block, Rule::BadWitnessMerkleMatch, Some(0));
    };
    mismatch("the first", &with(&[script(&right), script(&wrong)]));
    mismatch("the second", &with(&[script(&wrong), script(&right), script(&wrong)]));
    // That of another transaction is none.
    let mut elsewhere = draft.clone();
    let Tx::Usual(second) = &mut elsewhere.rest[1] else { panic!("a transaction") };
    second.output.push(output(0, &script(&right)));
    unexpected("elsewhere", &elsewhere.mine());
}

// --- what a fault does to the blocks behind it ---

/// A fault of the block itself condemns its header: no other body helps, and descendants are rejected.
#[test]
fn a_fault_that_is_no_mutation_condemns_the_header() {
    let stage = Stage::new();
    let bad = with_script(stage.draft(), b"not a height");
    let children = [bad.child(), bad.child().child()];
    // Its own bytes again; and bytes that do not fit it.
    let other = bad.with_body(&body_of(&[spend(1).into()]));
    let late = ("bad-prevblk", Some(HEIGHT + 1), None);
    let later = ("bad-prevblk", Some(HEIGHT + 2), None);
    let own = ("bad-cb-height", Some(HEIGHT), Some(0));
    let mutated = ("bad-txnmrklroot", Some(HEIGHT), None);
    for (bodies, expected) in [
        (vec![&bad, &bad], vec![own, own]),
        (vec![&bad, &other], vec![own, mutated]),
        (vec![&other, &bad], vec![mutated, own]),
    ] {
        let validation = stage.judge_each_way(bodies.into_iter().chain(&children));
        let all: Vec<_> = expected.into_iter().chain([late, later]).collect();
        assert_eq!(faults(&validation), all);
        assert_eq!(tip(&validation), (HEIGHT - 1, stage.parent().id()));
        let outcome = validation.outcome.expect("an outcome");
        assert_eq!(outcome.blocks.unconnected, 0);
    }
    // A shorter branch beside it wins then.
    let sound = stage.draft().with([spend(1)]).mine();
    let validation = stage.judge_each_way([&bad, &children[0], &children[1], &sound]);
    assert_eq!(faults(&validation), [own, late, later]);
    assert_eq!(tip(&validation), (HEIGHT, sound.id()));
}

/// The descendants of a block whose body never comes are no worse than late, but for their own faults.
#[test]
fn behind_a_mutated_body_blocks_are_unconnected() {
    let stage = Stage::new();
    let honest = stage.draft().with([spend(1)]).mine();
    let mutated = honest.with_body(&body_of(&[spend(1).into()]));
    let child = honest.child();
    let bad = with_script(Draft::after(&child), b"not a height");
    let last = child.child();
    let blocks = [&mutated, &child, &last, &bad];
    let validation = stage.judge_each_way(blocks);
    let own = ("bad-txnmrklroot", Some(HEIGHT), None);
    let (rules, tip_of) = (faults(&validation), tip(&validation));
    // Its height is known from the headers, and so is its fault.
    assert_eq!(rules, [own, ("bad-cb-height", Some(HEIGHT + 2), Some(0))]);
    assert_eq!(tip_of, (HEIGHT - 1, stage.parent().id()));
    let outcome = validation.outcome.expect("an outcome");
    assert_eq!(outcome.blocks.unconnected, 2);
    // The honest body changes everything, wherever it comes.
    for at in 0..=blocks.len() {
        let mut blocks = blocks.to_vec();
        blocks.insert(at, &honest);
        let validation = stage.judge_each_way(blocks);
        assert_eq!(faults(&validation).len(), 2);
        assert_eq!(tip(&validation), (HEIGHT + 2, last.id()));
    }
}

/// A block that connects to nothing is judged by what needs no height.
#[test]
fn orphans_are_judged_by_their_own_bytes() {
    let stage = Stage::new();
    let parent = stage.draft().mine();
    let draft = Draft::after(&parent);
    let sound = draft.clone().with(three()).committed().mine();
    let no_height = with_script(draft.clone(), b"no height");
    let locked = draft.clone().with([locked(FINAL, &[0])]).mine();
    let unexpected = draft.clone().with(three()).mine();
    let mut bad = draft;
    bad.coinbase.output.clear();
    let bad = bad.mine();
    let validation = stage.judge_each_way([&sound, &no_height, &locked, &unexpected, &bad]);
    assert_eq!(faults(&validation), [("bad-txns-vout-empty", None, Some(0))]);
    assert_eq!(validation.outcome.expect("an outcome").blocks.orphans, 4);
}

/// Hundreds of blocks in one batch, some of them bad: each is judged as it would be alone.
#[test]
fn blocks_of_one_batch_do_not_disturb_each_other() {
    let stage = Stage::new();
    let mut blocks = Vec::new();
    let mut expected = Vec::new();
    for seed in 0..60 {
        // All at one height, so that none is another's ancestor.
        let mut draft = stage.draft().with([spend(seed), spend_with_witness(1000 + seed, b"x")]);
        if seed % 3 != 0 {
            draft = draft.committed();
        }
        draft.rest.extend((0..seed % 7).map(|more| Tx::from(spend(2000 + more))));
        let at = Some(HEIGHT);
        match seed % 12 {
            3 | 9 => expected.push(("unexpected-witness", at, Some(2))),
            0 | 6 => {
                draft.rest.remove(1);
                draft.nonce.clear();
            }
            1 => {
                draft.commitment = Commitment::Wrong;
                expected.push(("bad-witness-merkle-match", at, Some(0)));
            }
            5 => {
                draft.repeats = true;
                let last = u32::try_from(draft.transactions().len() - 1).expect("few");
                expected.push(("bad-txns-duplicate", at, Some(last)));
            }
            7 => {
                draft.root = Some(blockmill::primitives::Hash256::ZERO);
                expected.push(("bad-txnmrklroot", at, None));
            }
            _ => {}
        }
        blocks.push(draft.mine());
    }
    let validation = stage.judge_each_way(&blocks);
    assert_eq!(faults(&validation), expected);
}

/// The network is recognised, and forks are moved, as the command line does it.
#[test]
fn forks_move_where_the_magic_shows_the_network() {
    let stage = Stage::new();
    let bad = with_script(stage.draft(), b"no height");
    let (_folder, paths) = written(&[block_file(stage.trunk.iter().chain([&bad]))]);
    for (network, at, rejected) in [
        (None, HEIGHT, 1),
        (None, HEIGHT + 1, 0),
        (Some(Network::Regtest), HEIGHT, 1),
        (Some(Network::Regtest), HEIGHT + 1, 0),
    ] {
        let mut options = options(network, &Way::PLAIN);
        options.headers.activation_heights = vec![("bip34".into(), at)];
        let validation = judge_files(&paths, &options, &Way::PLAIN);
        assert_eq!(faults(&validation).len(), rejected, "{}", summary(&validation));
    }
}
