//! Branches, orphans, repetitions, and headers in any order: the outcome depends on the dump alone,
//! not on how it was cut into batches or who hashed it.

mod common;

use std::collections::HashMap;

use blockmill::bitcoin::{Network, Params};
use blockmill::chain::{BlockCounts, Outcome};
use blockmill::compute::{Backend, Cpu, Reference};
use blockmill::primitives::{Hash256, Header};
use blockmill::stages::Options;
use proptest::prelude::*;

use common::chain::{Draft, dump, extend, from_genesis};
use common::judge::{judge, judge_files_on, options, rejections};

fn regtest() -> Params {
    Params::of(Network::Regtest)
}

fn outcome(headers: &[Header]) -> Outcome {
    judge(headers, &options(Some(regtest()))).outcome.expect("an outcome")
}

#[test]
fn most_work_wins_and_first_seen_wins_ties() {
    let trunk = from_genesis(&regtest(), 5);
    let a = extend(&trunk[5], 2, 1);
    let b = extend(&trunk[5], 2, 2);
    let c = extend(&b[1], 1, 3);
    let joined = |parts: &[&[Header]]| parts.concat();

    let tie = outcome(&joined(&[&trunk, &a, &b]));
    assert_eq!(tie.tip.id, a[1].id());
    assert_eq!((tie.blocks.best_branch, tie.blocks.side), (8, 2));
    assert_eq!((tie.side_branches[0].fork_height, tie.side_branches[0].tip.height), (5, 7));
    assert_eq!(outcome(&joined(&[&trunk, &b, &a])).tip.id, b[1].id());
    // The tip that stands first in the input, not the branch that began first.
    let late = joined(&[&trunk, &a[..1], &b, &a[1..]]);
    assert_eq!(outcome(&late).tip.id, b[1].id());
    // Also when its parents come after it.
    let early = joined(&[&a[1..], &trunk, &b, &a[..1]]);
    assert_eq!(outcome(&early).tip.id, a[1].id());

    let longer = outcome(&joined(&[&trunk, &a, &b, &c]));
    assert_eq!((longer.tip.id, longer.tip.height), (c[0].id(), 8));
}

/// Fewer blocks with more work win against more blocks.
#[test]
fn work_counts_not_length() {
    let params = Params {
        name: "retargeting".into(),
        target_timespan_s: 3000,
        allow_min_difficulty: false,
        no_retargeting: false,
        ..regtest()
    };
    // Five blocks at once, so the sixth and later ones are four times as hard.
    let branch = |spacing: u32, blocks: usize, salt| {
        let mut chain = vec![params.genesis];
        for height in 1..=blocks {
            let last = chain[chain.len() - 1];
            let mut draft = Draft { salt, ..Draft::after(&last) };
            draft.time = last.time() + spacing;
            if height % 5 == 0 {
                let first = chain[height - 5].time();
                draft.bits = blockmill::bitcoin::retarget(&params, last.bits(), first, last.time());
            }
            chain.push(draft.mine());
        }
        chain
    };
    let easy = branch(600, 9, 1);
    let hard = branch(1, 6, 2);
    let headers = [&easy[..], &hard[1..]].concat();
    let outcome = judge(&headers, &options(Some(params))).outcome.expect("an outcome");
    assert_eq!(outcome.blocks.rejected, 0);
    assert_eq!((outcome.tip.height, outcome.tip.id), (6, hard[6].id()));
    assert_eq!(outcome.side_branches[0].tip.height, 9);
}

#[test]
fn genesis_is_known_and_counted_only_where_it_stands() {
    let chain = from_genesis(&regtest(), 3);
    let without = outcome(&chain[1..]);
    assert_eq!((without.tip.height, without.blocks.seen, without.blocks.best_branch), (3, 3, 3));
    let with = outcome(&chain);
    assert_eq!((with.tip.height, with.blocks.seen, with.blocks.best_branch), (3, 4, 4));
    let twice = outcome(&[&chain[..], &chain[..1]].concat());
    assert_eq!((twice.blocks.best_branch, twice.blocks.duplicates), (4, 1));
    let last = outcome(&[&chain[1..], &chain[..1]].concat());
    assert_eq!((last.blocks.best_branch, last.blocks.duplicates), (4, 0));
}

#[test]
fn repetitions_are_duplicates_unless_they_are_rejected_again() {
    let chain = from_genesis(&regtest(), 3);
    let bad = Draft { version: 1, ..Draft::after(&chain[3]) }.mine();
    let headers = [&chain[..], &[bad, chain[2], bad], &chain[3..], &[bad]].concat();
    let found = outcome(&headers);
    assert_eq!((found.blocks.duplicates, found.blocks.rejected), (2, 3));
    let positions: Vec<_> = found.rejections.iter().map(|rejection| rejection.position.0).collect();
    assert_eq!(positions, [4 * 80, 6 * 80, 8 * 80]);
    // The same where the copies come before the parent.
    let early = [&[bad, bad], &chain[..], &[bad]].concat();
    let found = outcome(&early);
    assert_eq!((found.blocks.duplicates, found.blocks.rejected), (0, 3));
    assert_eq!(found.rejections.iter().map(|rejection| rejection.height).max(), Some(Some(4)));
}

/// A chain in order is known by its ids once somebody asks: repetitions, a fork, and orphans that are
/// still missing their parent while the chain goes on.
#[test]
fn headers_taken_in_a_row_are_found_again() {
    let chain = from_genesis(&regtest(), 40);
    let fork = extend(&chain[20], 3, 1);
    let headers = [&fork[1..2], &chain[..31], &chain[5..8], &fork[..1], &chain[29..], &fork];
    let found = outcome(&headers.concat());
    assert_eq!((found.tip.height, found.tip.id), (40, chain[40].id()));
    assert_eq!((found.blocks.best_branch, found.blocks.side), (41, 3));
    assert_eq!((found.blocks.duplicates, found.blocks.orphans), (3 + 2 + 2, 0));
    // An orphan whose parent comes in the middle of a row: its own children follow it.
    let headers = [&chain[..10], &chain[15..18], &chain[10..15], &chain[16..]].concat();
    let found = outcome(&headers);
    assert_eq!((found.tip.height, found.tip.id), (40, chain[40].id()));
    assert_eq!((found.blocks.best_branch, found.blocks.duplicates), (41, 2));
}

/// A block that came before its parent is known once the parent has come, although it is a child of the
/// header taken last.
#[test]
fn a_child_that_came_before_its_parent_is_not_new_after_it() {
    let chain = from_genesis(&regtest(), 3);
    let headers = [chain[0], chain[2], chain[1], chain[2], chain[3], chain[1]];
    let found = outcome(&headers);
    assert_eq!((found.tip.height, found.tip.id), (3, chain[3].id()));
    assert_eq!((found.blocks.best_branch, found.blocks.duplicates), (4, 2));
    assert_eq!((found.blocks.side, found.blocks.seen), (0, 6));
}

#[test]
fn heights_of_rejected_blocks_are_found_in_any_order() {
    let chain = from_genesis(&regtest(), 3);
    let unmined = Draft::after(&chain[3]).unmined();
    let child = Draft::after(&unmined).mine();
    let grandchild = Draft::after(&child).mine();
    let expected = [("bad-prevblk", Some(6)), ("bad-prevblk", Some(5)), ("high-hash", Some(4))];
    let mut headers = vec![grandchild, child, unmined];
    headers.extend(&chain);
    assert_eq!(rejections(&judge(&headers, &options(Some(regtest())))), expected);
    // Without the chain below them nobody knows.
    let nowhere = judge(&headers[..4], &options(Some(regtest())));
    assert!(rejections(&nowhere).iter().all(|(_, height)| height.is_none()));
}

#[test]
fn the_list_of_rejections_is_bounded_and_keeps_the_first() {
    let genesis = regtest().genesis;
    let bad = |salt| Draft { version: 1, salt, ..Draft::after(&genesis) }.mine();
    let mut headers: Vec<_> = (0..50).map(bad).collect();
    // And some that are rejected late, because their parent stands at the end.
    let parent = Draft { salt: 99, ..Draft::after(&genesis) }.mine();
    headers.insert(3, Draft { version: 1, ..Draft::after(&parent) }.mine());
    headers.push(parent);
    let few = Options { rejections_max: 5, ..options(Some(regtest())) };
    let found = judge(&headers, &few).outcome.expect("an outcome");
    let positions: Vec<_> = found.rejections.iter().map(|r| r.position.0 / 80).collect();
    assert_eq!(positions, [0, 1, 2, 3, 4]);
    assert_eq!((found.blocks.rejected, found.rejections_omitted), (51, 46));
}

#[test]
fn orphans_are_listed_by_their_missing_parent() {
    let chain = from_genesis(&regtest(), 9);
    let fork = extend(&chain[5], 2, 1);
    // Blocks 3 and 7 are missing; 4 to 6 and the fork hang on one, 8 and 9 on the other.
    let dump = [&chain[8..], &fork, &chain[4..7], &chain[..3]].concat();
    let found = outcome(&dump);
    assert_eq!((found.blocks.best_branch, found.blocks.orphans), (3, 7));
    let groups: Vec<_> = found
        .orphan_groups
        .iter()
        .map(|group| (group.parent, group.blocks, group.position.0 / 80))
        .collect();
    assert_eq!(groups, [(chain[7].id(), 2, 0), (chain[3].id(), 5, 2)]);
    // One of them brings its group home.
    let found = outcome(&[&dump[..], &chain[3..4]].concat());
    assert_eq!((found.blocks.best_branch, found.blocks.side, found.blocks.orphans), (8, 1, 2));
}

/// What is wrong with a block of a random tree.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Unmined,
    OldVersion,
    /// It is not in the dump.
    Missing,
    /// It is in the dump twice.
    Twice,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        12 => Just(Fault::None),
        1 => Just(Fault::Unmined),
        1 => Just(Fault::OldVersion),
        1 => Just(Fault::Missing),
        1 => Just(Fault::Twice),
    ]
}

/// A tree of blocks: the parent of each, as an index among those before it, and its fault.
fn tree() -> impl Strategy<Value = Vec<(prop::sample::Index, Fault)>> {
    prop::collection::vec((any::<prop::sample::Index>(), fault()), 1..40)
}

/// The counts and the tip, found by passing over the dump again and again.
fn model(dump: &[Header], faults: &HashMap<Hash256, Fault>) -> (BlockCounts, Hash256) {
    let genesis = regtest().genesis;
    let mut heights = HashMap::from([(genesis.id(), 0u32)]);
    let mut rejected: HashMap<Hash256, ()> = HashMap::new();
    loop {
        let before = (heights.len(), rejected.len());
        for header in dump {
            let (id, fault) = (header.id(), faults[&header.id()]);
            if fault == Fault::Unmined || rejected.contains_key(&header.parent()) {
                rejected.insert(id, ());
            } else if let Some(height) = heights.get(&header.parent()).copied() {
                if fault == Fault::OldVersion {
                    rejected.insert(id, ());
                } else {
                    heights.insert(id, height + 1);
                }
            }
        }
        if before == (heights.len(), rejected.len()) {
            break;
        }
    }
    let mut counts = BlockCounts { seen: dump.len() as u64, ..BlockCounts::default() };
    let mut tip = (0, genesis.id());
    let mut first: HashMap<Hash256, ()> = HashMap::new();
    for header in dump {
        let id = header.id();
        if rejected.contains_key(&id) {
            counts.rejected += 1;
        } else if first.insert(id, ()).is_some() {
            counts.duplicates += 1;
        } else if let Some(height) = heights.get(&id) {
            counts.side += 1; // those of the best branch are moved below
            if *height > tip.0 {
                tip = (*height, id);
            }
        } else {
            counts.orphans += 1;
        }
    }
    counts.best_branch = u64::from(tip.0);
    counts.side -= counts.best_branch;
    (counts, tip.1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_and_any_batches_give_the_models_answer(
        tree in tree(),
        order in any::<prop::sample::Index>(),
        shuffle in prop::collection::vec(any::<u32>(), 80),
    ) {
        let mut blocks = vec![regtest().genesis];
        let mut faults = HashMap::new();
        let mut headers = Vec::new();
        for (salt, (parent, fault)) in (0..).zip(&tree) {
            // Mostly long branches: the parent is one of the last three.
            let parent = blocks[blocks.len() - 1 - parent.index(blocks.len().min(3))];
            let draft = Draft { salt, ..Draft::after(&parent) };
            let block = match fault {
                Fault::Unmined => draft.unmined(),
                Fault::OldVersion => Draft { version: 1, ..draft }.mine(),
                _ => draft.mine(),
            };
            blocks.push(block);
            faults.insert(block.id(), *fault);
            let copies = match fault { Fault::Missing => 0, Fault::Twice => 2, _ => 1 };
            headers.extend(std::iter::repeat_n(block, copies));
        }
        // Half of the cases in order, the others shuffled.
        if order.index(2) == 1 {
            let mut keyed: Vec<_> = headers.iter().zip(&shuffle).collect();
            keyed.sort_by_key(|(_, key)| **key);
            headers = keyed.into_iter().map(|(header, _)| *header).collect();
        }
        let (counts, tip) = model(&headers, &faults);

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dump");
        std::fs::write(&file, dump(&headers)).expect("a file");
        // An unmined first header would hide what the file is.
        let path = if headers.first().is_some_and(|first| faults[&first.id()] == Fault::Unmined) || headers.is_empty() {
            return Ok(());
        } else {
            [file]
        };
        let mut outcomes = Vec::new();
        for (batch, overlap) in [(1, false), (7, true), (1_000_000, true), (1_000_000, false)] {
            let options = Options { batch, overlap, ..options(Some(regtest())) };
            let two = Cpu::new(2).expect("threads");
            let backend: &dyn Backend = if overlap { &two } else { &Reference };
            let validation = judge_files_on(backend, &path, &options).expect("a judgement");
            let outcome = validation.outcome.expect("an outcome");
            prop_assert_eq!(outcome.blocks, counts);
            prop_assert_eq!(outcome.tip.id, tip);
            outcomes.push(format!("{outcome:?}"));
        }
        outcomes.dedup();
        prop_assert_eq!(outcomes.len(), 1);
    }
}
