//! Every rule on the bodies of Bitcoin's blocks by mined blocks: one fixture a rule, the edges of each, and
//! their order.
//!
//! All blocks on trial stand at height 13 of a regtest and have a sound child. Each is judged on both
//! backends, singly and in batches, on one thread and on two.

mod common;

use bitcoin::absolute::LockTime;
use bitcoin::{OutPoint, ScriptBuf, Sequence, Transaction};
use blockmill::bitcoin::{
    BLOCK_WEIGHT_MAX, BlockContext, MONEY_MAX, Network, Params, SIGOPS_COST_MAX, check_transaction,
};
use blockmill::compute::{Backend, Cpu, Reference};
use blockmill::primitives::{CompactTarget, Hash256, Header};
use blockmill::stages::judge_blocks;
use blockmill::verdict::{BlockViolation, Rule, Violation};
use blockmill::wire::Fault;

use common::blocks::{
    Block, Commitment, Draft, HEIGHT, NOW, Stage, Tx, block_file, body_of, input, output, prevout,
    spend, spend_with_witness,
};
use common::ledger::{Way, faults, tip};

/// A transaction without inputs and outputs: the only form in which one without inputs parses.
const NOTHING: [u8; 10] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A sound transaction with marker and flag, whose one input has no witness.
fn superfluous(seed: u32) -> Tx {
    let plain = Tx::from(spend(seed)).bytes();
    let (lock_time, rest) = (&plain[plain.len() - 4..], &plain[4..plain.len() - 4]);
    Tx::Raw([&plain[..4], &[0, 1], rest, &[0], lock_time].concat())
}

/// Breaks one rule of a draft, and says which transaction the report must name.
type Breaker = fn(&Stage, &mut Draft) -> Option<u32>;

/// Appends a transaction, and says its index.
fn push(draft: &mut Draft, transaction: impl Into<Tx>) -> Option<u32> {
    draft.rest.push(transaction.into());
    u32::try_from(draft.rest.len()).ok()
}

fn push_with(draft: &mut Draft, seed: u32, change: fn(&mut Transaction)) -> Option<u32> {
    let mut transaction = spend(seed);
    change(&mut transaction);
    push(draft, transaction)
}

/// One breaker for each rule that a block can break by itself. They leave each other alone.
const BREAKERS: [(Rule, Breaker); 25] = [
    (Rule::HighHash, |_, draft| {
        draft.wins = false;
        None
    }),
    (Rule::BadDiffBits, |_, draft| {
        draft.bits = CompactTarget::from_bits(0x207f_fffe);
        None
    }),
    (Rule::TimeTooOld, |stage, draft| {
        draft.time = median(stage);
        None
    }),
    (Rule::TimeTooNew, |_, draft| {
        draft.time = u32::try_from(NOW + 7201).expect("a time");
        None
    }),
    (Rule::BadVersion, |_, draft| {
        draft.version = 3;
        None
    }),
    (Rule::BadEncoding, |_, draft| push(draft, superfluous(40))),
    (Rule::BadTxnMrklRoot, |_, draft| {
        draft.root = Some(Hash256::ZERO);
        None
    }),
    (Rule::BadTxnsDuplicate, |_, draft| {
        draft.repeats = true;
        None // the last one, whichever that will be
    }),
    (Rule::BadBlkLength, |_, draft| {
        // Two, neither of which is longer than a block may be.
        for seed in [41, 42] {
            push_with(draft, seed, |each| each.output = vec![output(0, &[0; 500_000])]);
        }
        None
    }),
    (Rule::BadCbMissing, |_, draft| {
        draft.coinbase.input[0].previous_output.vout = 0;
        Some(0)
    }),
    (Rule::BadCbMultiple, |_, draft| {
        push_with(draft, 43, |each| {
            each.input[0].previous_output = OutPoint::null();
            each.input[0].script_sig = ScriptBuf::from_bytes(vec![0; 2]);
        })
    }),
    (Rule::BadTxnsVinEmpty, |_, draft| push(draft, Tx::Raw(NOTHING.into()))),
    (Rule::BadTxnsVoutEmpty, |_, draft| push_with(draft, 44, |each| each.output.clear())),
    (Rule::BadTxnsVoutNegative, |_, draft| {
        push_with(draft, 45, |each| each.output = vec![output(u64::MAX, &[])])
    }),
    (Rule::BadTxnsVoutToolarge, |_, draft| {
        push_with(draft, 46, |each| each.output = vec![output(MONEY + 1, &[])])
    }),
    (Rule::BadTxnsTxouttotalToolarge, |_, draft| {
        push_with(draft, 47, |each| each.output = vec![output(MONEY, &[]), output(1, &[])])
    }),
    (Rule::BadTxnsInputsDuplicate, |_, draft| {
        push_with(draft, 48, |each| each.input.push(each.input[0].clone()))
    }),
    (Rule::BadCbLength, |_, draft| {
        let mut script = draft.coinbase.input[0].script_sig.to_bytes();
        script.resize(101, 0);
        draft.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
        Some(0)
    }),
    (Rule::BadTxnsPrevoutNull, |_, draft| {
        push_with(draft, 49, |each| {
            each.input.push(input(50));
            each.input[1].previous_output = OutPoint::null();
        })
    }),
    (Rule::BadBlkSigops, |_, draft| {
        push_with(draft, 51, |each| each.output = vec![output(0, &[CHECKSIG; 20_001])]);
        None
    }),
    (Rule::BadTxnsNonfinal, |_, draft| {
        push_with(draft, 52, |each| {
            each.lock_time = LockTime::from_consensus(HEIGHT);
            each.input[0].sequence = Sequence::ZERO;
        })
    }),
    (Rule::BadCbHeight, |_, draft| {
        let mut script = draft.coinbase.input[0].script_sig.to_bytes();
        script[0] += 1;
        draft.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
        Some(0)
    }),
    (Rule::BadWitnessNonceSize, |_, draft| {
        draft.nonce[0].pop();
        Some(0)
    }),
    (Rule::BadWitnessMerkleMatch, |_, draft| {
        draft.commitment = Commitment::Wrong;
        Some(0)
    }),
    (Rule::BadBlkWeight, |_, draft| {
        // Fewer bytes than a record may have, whatever else the block holds.
        let mut heavy = spend_with_witness(53, &vec![0; 3_850_000]);
        heavy.output = vec![output(0, &[0; 50_000])];
        push(draft, heavy);
        None
    }),
];

/// It excludes those on the commitment, which the others need.
const UNEXPECTED_WITNESS: (Rule, Breaker) = (Rule::UnexpectedWitness, |_, draft| {
    draft.commitment = Commitment::Nothing;
    Some(0)
});

const CHECKSIG: u8 = 0xac;

const MONEY: u64 = MONEY_MAX.unsigned_abs();

/// The median time of the eleven blocks before the one on trial.
fn median(stage: &Stage) -> u32 {
    stage.trunk[stage.trunk.len() - 6].header.time()
}

/// A draft with a witness and its commitment, which each breaker breaks.
fn sound(stage: &Stage) -> Draft {
    stage.draft().with([spend_with_witness(1, b"witness")]).committed()
}

/// What the report names for a repeated transaction is known once the others are there.
fn named(rule: Rule, tx: Option<u32>, draft: &Draft) -> Option<u32> {
    if rule == Rule::BadTxnsDuplicate {
        return u32::try_from(draft.transactions().len() - 1).ok();
    }
    tx
}

/// The rules that no block of Bitcoin breaks, as they are a ledger's alone.
const OF_LEDGERS: [Rule; 7] = [
    Rule::BadTxKind,
    Rule::BadCbAmount,
    Rule::BadTxPayload,
    Rule::BadTxAmount,
    Rule::BadTxSignature,
    Rule::BadTxNonce,
    Rule::BadTxBalance,
];

#[test]
fn there_is_a_fixture_for_every_rule() {
    let stage = Stage::new();
    // Those of the children, of mined headers, and of a transaction without a block.
    let mut seen = vec![Rule::BadPrevBlk, Rule::TimeTimewarpAttack, Rule::BadTxnsOversize];
    stage.accepts("unbroken", &sound(&stage).mine());
    for (rule, breaks) in BREAKERS.into_iter().chain([UNEXPECTED_WITNESS]) {
        let mut draft = sound(&stage);
        let tx = breaks(&stage, &mut draft);
        stage.rejects(rule.id(), &draft.mine(), rule, named(rule, tx, &draft));
        seen.push(rule);
    }
    seen.extend(OF_LEDGERS);
    seen.sort_unstable();
    assert_eq!(seen, Rule::ALL);
}

/// Core's results: `BLOCK_MUTATED`, and bytes that it does not read as a block. All others condemn.
#[test]
fn these_faults_are_of_the_bytes_that_came() {
    let mutations: Vec<_> = Rule::ALL.into_iter().filter(|rule| rule.is_mutation()).collect();
    let expected = [
        Rule::BadEncoding,
        Rule::BadTxnMrklRoot,
        Rule::BadTxnsDuplicate,
        Rule::BadWitnessNonceSize,
        Rule::BadWitnessMerkleMatch,
        Rule::UnexpectedWitness,
    ];
    assert_eq!(mutations, expected);
}

// --- the order ---

/// Where a fault stands in the order of judgement: header, encoding, tree, the block as a whole; then
/// transaction by transaction; then the block in its place.
fn place(rule: Rule, tx: Option<u32>) -> (u8, Option<u32>, Rule) {
    match rule {
        _ if rule <= Rule::BadCbMultiple => (0, None, rule),
        _ if rule <= Rule::BadTxnsPrevoutNull => (1, tx, rule),
        _ => (2, None, rule),
    }
}

/// Blocks that break two rules at once, in both orders of their transactions.
#[test]
fn of_two_faults_the_earlier_is_reported() {
    let stage = Stage::new();
    let is_time = |rule| matches!(rule, Rule::TimeTooOld | Rule::TimeTooNew);
    let is_large = |rule| matches!(rule, Rule::BadBlkLength | Rule::BadBlkWeight);
    let on_witness = |rule| matches!(rule, Rule::BadWitnessNonceSize | Rule::BadWitnessMerkleMatch);
    let breakers = || BREAKERS.into_iter().chain([UNEXPECTED_WITNESS]);
    for (first, breaks_first) in breakers() {
        for (second, breaks_second) in breakers() {
            let unexpected = Rule::UnexpectedWitness;
            if first == second
                || (is_time(first) && is_time(second))
                || (on_witness(first) && second == unexpected)
                || (on_witness(second) && first == unexpected)
                // They take long, and stand in no list of transactions.
                || is_large(first)
            {
                continue;
            }
            let mut draft = sound(&stage);
            let broken = [
                (first, breaks_first(&stage, &mut draft)),
                (second, breaks_second(&stage, &mut draft)),
            ];
            let broken = broken.map(|(rule, tx)| (rule, named(rule, tx, &draft)));
            let (rule, tx) =
                broken.into_iter().min_by_key(|(rule, tx)| place(*rule, *tx)).expect("two");
            let validation = stage.judge([&draft.mine()]);
            let expected = [(rule.id(), Some(HEIGHT), tx)];
            assert_eq!(faults(&validation), expected, "{first} and {second}");
        }
    }
}

/// Both kinds of bad parents: one that its header condemns, and one that its body does.
#[test]
fn a_rejected_parent_comes_before_all_but_the_proof_of_work() {
    let stage = Stage::new();
    let grandparent = &stage.trunk[stage.trunk.len() - 2];
    let mut by_header = Draft::after(grandparent);
    by_header.version = 1;
    let mut by_body = Draft::after(grandparent);
    by_body.coinbase.output[0] = output(MONEY + 1, &[]);
    for (parent, parents_rule) in [(by_header, "bad-version"), (by_body, "bad-txns-vout-toolarge")]
    {
        let parent = parent.mine();
        for (rule, breaks) in BREAKERS.into_iter().chain([UNEXPECTED_WITNESS]) {
            let mut draft = Draft { parent: parent.id(), ..sound(&stage) };
            breaks(&stage, &mut draft);
            let block = draft.mine();
            let expected = if rule == Rule::HighHash { rule.id() } else { "bad-prevblk" };
            let found: Vec<_> = faults(&stage.judge([&block, &parent]))
                .into_iter()
                .map(|(rule, height, _)| (rule, height))
                .collect();
            assert_eq!(
                found,
                [(expected, Some(HEIGHT)), (parents_rule, Some(HEIGHT - 1))],
                "{rule}"
            );
        }
    }
}

/// Within one transaction: all faults at once, mended one after the other.
#[test]
fn a_transaction_is_judged_in_cores_order() {
    let stage = Stage::new();
    let mut bad = spend(1);
    bad.input = vec![input(2), input(2), input(3)];
    bad.input[2].previous_output = OutPoint::null();
    bad.output.clear();
    let expect = |bad: &Transaction, rule| {
        stage.rejects("one of several", &stage.draft().with([bad.clone()]).mine(), rule, Some(1));
    };
    expect(&bad, Rule::BadTxnsVoutEmpty);
    let [too_much, negative] = [output(MONEY + 1, &[]), output(u64::MAX, &[])];
    let half = output(MONEY / 2 + 1, &[]);
    // Values are judged output by output, each before the total up to it.
    bad.output = vec![negative.clone(), too_much.clone(), half.clone(), half.clone()];
    expect(&bad, Rule::BadTxnsVoutNegative);
    bad.output = vec![too_much.clone(), negative.clone()];
    expect(&bad, Rule::BadTxnsVoutToolarge);
    bad.output = vec![half.clone(), half.clone(), negative];
    expect(&bad, Rule::BadTxnsTxouttotalToolarge);
    bad.output = vec![half.clone(), too_much];
    expect(&bad, Rule::BadTxnsVoutToolarge);
    bad.output = vec![half];
    expect(&bad, Rule::BadTxnsInputsDuplicate);
    bad.input.remove(1);
    expect(&bad, Rule::BadTxnsPrevoutNull);
    bad.input.pop();
    stage.accepts("mended", &stage.draft().with([bad]).mine());
    // The coinbase, whose length comes behind its values.
    let mut draft = stage.draft();
    draft.coinbase.input[0].script_sig = ScriptBuf::new();
    draft.coinbase.output = vec![output(MONEY + 1, &[])];
    stage.rejects("coinbase", &draft.mine(), Rule::BadTxnsVoutToolarge, Some(0));
    draft.coinbase.output.clear();
    stage.rejects("coinbase", &draft.mine(), Rule::BadTxnsVoutEmpty, Some(0));
}

// --- encodings ---

/// A body that does not fit its header is rejected alone, whether the honest one comes later, or came
/// before, or never; in one file or in two.
fn is_refused_alone(stage: &Stage, honest: &Block, mutated: &Block, rule: Rule, tx: Option<u32>) {
    let child = honest.child();
    let fault = (rule.id(), Some(HEIGHT), tx);
    let trunk = block_file(&stage.trunk);
    for copies in [[mutated, honest], [honest, mutated]] {
        let [first, second] = copies.map(|copy| block_file([copy]));
        let child = block_file([&child]);
        let one = vec![[&trunk[..], &first, &second, &child].concat()];
        let two = vec![[&trunk[..], &first].concat(), [&second[..], &child].concat()];
        // The headers in the wrong order too: a child before its parent's second body.
        let late = vec![[&trunk[..], &first, &child].concat(), second];
        for files in [one, two, late] {
            let validation = stage.judge_in(&files, &Way::PLAIN);
            assert_eq!(faults(&validation), [fault], "{rule}");
            assert_eq!(tip(&validation).0, HEIGHT + 1, "{rule}");
        }
    }
    stage.rejects("alone", mutated, rule, tx);
}

/// `bytes` with those of `range` replaced.
fn spliced(bytes: &[u8], range: std::ops::Range<usize>, with: &[u8]) -> Vec<u8> {
    [&bytes[..range.start], with, &bytes[range.end..]].concat()
}

#[test]
fn encodings_are_those_that_core_reads() {
    let stage = Stage::new();
    let draft = stage.draft().with([spend(1), spend_with_witness(2, b"x")]).committed();
    let honest = draft.mine();
    stage.accepts("honest", &honest);
    let [first, plain, with_witness] = &draft.transactions()[..] else { panic!("three") };
    let (first, plain, last) = (first.bytes(), plain.bytes(), with_witness.bytes());
    let with = |count: &[u8], plain: &[u8], last: &[u8]| [count, &first, plain, last].concat();
    // Of the second: version, count of inputs, prevout, script, sequence, count of outputs, value,
    // script, lock time. Marker and flag make the third two longer.
    let (inputs, script, outputs, out_script) = (4, 41, 46, 55);
    assert_eq!([inputs, script, outputs, out_script].map(|at| plain[at]), [1, 0, 1, 1]);
    let items = 2 + out_script + 2;
    assert_eq!(last[items..items + 3], [1, 1, b'x']);
    let longest = [0xff; 9];
    let above = [0xfe, 1, 0, 0, 2]; // one more than Core reads
    let in_plain = |at: usize, bytes: &[u8]| with(&[3], &spliced(&plain, at..at + 1, bytes), &last);
    let in_last = |at: usize, bytes: &[u8]| with(&[3], &plain, &spliced(&last, at..at + 1, bytes));
    let body = honest.body();
    let mut cases = vec![
        ("a count in long form", with(&[0xfd, 3, 0], &plain, &last), None),
        ("a count in longer form", with(&[0xfe, 3, 0, 0, 0], &plain, &last), None),
        ("a count in the longest form", with(&[0xff, 3, 0, 0, 0, 0, 0, 0, 0], &plain, &last), None),
        ("a count of 2^64 - 1", with(&longest, &plain, &last), None),
        ("a count above the limit", with(&above, &plain, &last), None),
        ("a count cut short", vec![0xfd, 3], None),
        ("one transaction too few", with(&[4], &plain, &last), Some(3)),
        ("no transaction at all", vec![1], Some(0)),
        ("a byte too few", body[..body.len() - 1].to_vec(), Some(2)),
        ("half of a transaction", body[..body.len() - 30].to_vec(), Some(2)),
        ("a witness that goes on", in_last(items + 1, &[0xfd, 0xff, 0xff]), Some(2)),
        ("more items than there are", in_last(items, &[9]), Some(2)),
        ("more inputs than there are", in_last(2 + inputs, &[9]), Some(2)),
    ];
    for at in [inputs, script, outputs, out_script] {
        let value = plain[at];
        cases.push(("a number in long form", in_plain(at, &[0xfd, value, 0]), Some(1)));
        cases.push(("a number in longer form", in_plain(at, &[0xfe, value, 0, 0, 0]), Some(1)));
        cases.push(("2^64 - 1", in_plain(at, &longest), Some(1)));
        cases.push(("above the limit", in_plain(at, &above), Some(1)));
    }
    for at in [items, items + 1] {
        cases.push(("a number in long form", in_last(at, &[0xfd, 1, 0]), Some(2)));
    }
    for flag in [2, 3, 0x80, 0xff] {
        cases.push(("an unknown flag", in_last(5, &[flag]), Some(2)));
    }
    // Only the flag that is known has a record of witnesses.
    let mut unknown = plain.clone();
    unknown.splice(4..4, [0, 2]);
    let mutated = honest.with_body(&with(&[3], &unknown, &last));
    let violation = stage.rejects("a flag alone", &mutated, Rule::BadEncoding, Some(1));
    let Violation::BadEncoding { malformed, .. } = violation else { panic!("{violation:?}") };
    let at = Header::LEN + 1 + first.len() + 5;
    assert_eq!((malformed.offset, malformed.fault), (at, Fault::Unknown));
    let empty = superfluous(1).bytes();
    cases.push(("a witness record without a witness", with(&[3], &empty, &last), Some(1)));
    let nothing = [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    cases.push(("the same without inputs", with(&[3], &nothing, &last), Some(1)));
    for (what, body, tx) in cases {
        let mutated = honest.with_body(&body);
        let violation = stage.rejects(what, &mutated, Rule::BadEncoding, tx);
        assert!(matches!(violation, Violation::BadEncoding { .. }), "{what}");
    }
    let cut = honest.with_body(&body[..body.len() - 1]);
    is_refused_alone(&stage, &honest, &cut, Rule::BadEncoding, Some(2));
}

/// Core reads a block from its record, and goes on behind the record.
#[test]
fn bytes_behind_a_block_within_its_record_are_no_fault() {
    let stage = Stage::new();
    let honest = stage.draft().with([spend(1)]).mine();
    let child = honest.child();
    for tail in [&[0][..], &[0xfa; 9], &[7; 5000]] {
        let longer = honest.with_body(&[honest.body(), tail].concat());
        let validation = stage.judge_each_way([&longer, &child]);
        assert_eq!(faults(&validation), []);
        assert_eq!(tip(&validation), (HEIGHT + 1, child.id()));
        let skipped = &validation.files.entries()[0].skipped;
        assert_eq!(skipped.iter().map(|range| range.bytes).sum::<u64>(), tail.len() as u64);
    }
}

// --- the tree ---

#[test]
fn the_root_is_that_of_the_transactions() {
    let stage = Stage::new();
    let draft = stage.draft().with((1..5).map(spend));
    let honest = draft.mine();
    let transactions = draft.transactions();
    let mut swapped = transactions.clone();
    swapped.swap(2, 3);
    let mut changed = transactions.clone();
    changed[4] = spend(9).into();
    let mut fewer = transactions.clone();
    fewer.pop();
    // Twice the last of five would be the honest root again; twice the last of four is not.
    let mut twice = transactions.clone();
    twice.truncate(4);
    twice.push(twice[3].clone());
    for other in [swapped, changed, fewer, twice, vec![transactions[0].clone()], vec![]] {
        let mutated = honest.with_body(&body_of(&other));
        is_refused_alone(&stage, &honest, &mutated, Rule::BadTxnMrklRoot, None);
    }
}

/// CVE-2012-2459: what an odd level of the tree pairs with itself, written out.
#[test]
fn a_list_with_the_root_of_a_shorter_one_is_refused() {
    let stage = Stage::new();
    let mut tried = 0;
    for count in [3u32, 5, 6, 7, 9, 11, 13] {
        let draft = stage.draft().with((1..count).map(spend));
        let honest = draft.mine();
        stage.accepts("honest", &honest);
        let mut list = draft.transactions();
        let mut run = 1;
        while run < list.len() {
            if (list.len() / run) % 2 == 1 {
                // The last node of this level has no sibling: it is its own.
                let last = list.len() - run;
                list.extend_from_within(last..);
                assert_eq!(draft.mine_of(&list).header, honest.header, "{count}, {run}");
                let mutated = honest.with_body(&body_of(&list));
                let (earlier, count) = first_pair(&list);
                let (rule, transaction) = (Rule::BadTxnsDuplicate, earlier + count);
                is_refused_alone(&stage, &honest, &mutated, rule, Some(transaction));
                let evidence = stage.rejects("twice", &mutated, rule, Some(transaction));
                let expected = BlockViolation::RepeatedTransactions { transaction, earlier, count };
                assert_eq!(evidence, Violation::Block(expected));
                tried += 1;
            }
            run *= 2;
        }
    }
    assert!(tried > 10, "{tried}");
}

/// The first two equal siblings of the lowest level that has any, counted apart from the code on trial.
fn first_pair(list: &[Tx]) -> (u32, u32) {
    let bytes: Vec<_> = list.iter().map(Tx::bytes).collect();
    for run in [1, 2, 4, 8] {
        for at in (0..).step_by(2 * run).take_while(|at| at + 2 * run <= bytes.len()) {
            if bytes[at..at + run] == bytes[at + run..at + 2 * run] {
                let number = |number: usize| u32::try_from(number).expect("few");
                return (number(at), number(run));
            }
        }
    }
    panic!("no two are equal");
}

/// Equal siblings condemn a body even where no shorter list was meant; other repetitions are not the
/// tree's affair.
#[test]
fn siblings_alone_are_compared() {
    let stage = Stage::new();
    let [a, b, c] = [1, 2, 3].map(spend);
    let siblings = stage.draft().with([b.clone(), a.clone(), a.clone(), c.clone()]);
    stage.rejects("siblings", &siblings.mine(), Rule::BadTxnsDuplicate, Some(3));
    let neighbours = stage.draft().with([a.clone(), a.clone(), b.clone()]);
    stage.accepts("neighbours", &neighbours.mine());
    let pairs = stage.draft().with([c.clone(), a.clone(), b.clone(), a.clone(), b.clone()]);
    stage.accepts("pairs across two nodes", &pairs.mine());
    // (cb c) (a b) | (a b) (a b): the second half is two equal nodes.
    let halves = [c, a.clone(), b.clone(), a.clone(), b.clone(), a, b];
    stage.rejects("nodes", &stage.draft().with(halves).mine(), Rule::BadTxnsDuplicate, Some(6));
}

// --- the block as a whole ---

#[test]
fn a_block_has_a_transaction_and_at_most_a_megabyte() {
    let stage = Stage::new();
    let empty = stage.draft().mine_of(&[]);
    let evidence = stage.rejects("empty", &empty, Rule::BadBlkLength, None);
    assert_eq!(evidence, Violation::EmptyBlock);
    // Witnesses do not count, neither in the length nor in what is left of the weight.
    let draft = |filler: usize| {
        let mut large = spend(1);
        large.output = vec![output(0, &vec![0; filler])];
        stage.draft().with([large])
    };
    let filler = 1_000_000 - draft(500_000).mine().bytes.len() + 500_000;
    let most = draft(filler).mine();
    assert_eq!(most.bytes.len(), 1_000_000);
    stage.accepts("a megabyte", &most);
    let more = draft(filler + 1).mine();
    let evidence = stage.rejects("one more", &more, Rule::BadBlkLength, None);
    let (most, found) = (1_000_000, 1_000_001);
    assert_eq!(evidence, Violation::Block(BlockViolation::StrippedLength { most, found }));
}

#[test]
fn the_weight_is_four_million_at_most() {
    let stage = Stage::new();
    let draft = |witness: usize| {
        let mut large = spend_with_witness(1, &vec![0; witness]);
        large.output = vec![output(0, &[0; 10_000])];
        stage.draft().with([large, spend(2)]).committed()
    };
    let weight = |draft: &Draft| {
        let block: bitcoin::Block =
            bitcoin::consensus::deserialize(&draft.mine().bytes).expect("rust-bitcoin reads it");
        block.weight().to_wu()
    };
    let witness = usize::try_from(BLOCK_WEIGHT_MAX - weight(&draft(3_000_000))).expect("room");
    let most = draft(3_000_000 + witness);
    assert_eq!(weight(&most), 4_000_000);
    stage.accepts("four million", &most.mine());
    let more = draft(3_000_000 + witness + 1);
    let evidence = stage.rejects("one more", &more.mine(), Rule::BadBlkWeight, None);
    let (most, found) = (4_000_000, 4_000_001);
    assert_eq!(evidence, Violation::Block(BlockViolation::Weight { most, found }));
}

#[test]
fn there_is_one_coinbase_and_it_comes_first() {
    let stage = Stage::new();
    let draft = stage.draft().with([spend(1), spend(2)]);
    let transactions = draft.transactions();
    let block = |order: &[usize]| {
        let list: Vec<_> = order.iter().map(|&index| transactions[index].clone()).collect();
        stage.draft().mine_of(&list)
    };
    stage.accepts("first", &block(&[0, 1, 2]));
    let evidence = stage.rejects("none", &block(&[1, 2]), Rule::BadCbMissing, Some(0));
    assert_eq!(evidence.expected(), "a coinbase first");
    stage.rejects("second", &block(&[1, 0, 2]), Rule::BadCbMissing, Some(0));
    let evidence = stage.rejects("two", &block(&[0, 1, 2, 0]), Rule::BadCbMultiple, Some(3));
    assert_eq!(evidence.expected(), "one coinbase");
    stage.rejects("three", &block(&[0, 1, 0, 2, 0]), Rule::BadCbMultiple, Some(2));
    // What is not quite a coinbase is none.
    let with = |change: fn(&mut Transaction)| {
        let mut draft = stage.draft();
        change(&mut draft.coinbase);
        draft.mine()
    };
    let another = with(|coinbase| coinbase.input[0].previous_output.vout = 0);
    stage.rejects("output 0", &another, Rule::BadCbMissing, Some(0));
    let another = with(|coinbase| coinbase.input[0].previous_output.txid = prevout(1).txid);
    stage.rejects("an id", &another, Rule::BadCbMissing, Some(0));
    let another = with(|coinbase| coinbase.input.push(input(1)));
    stage.rejects("two inputs", &another, Rule::BadCbMissing, Some(0));
    let without = stage.draft().mine_of(&[Tx::Raw(NOTHING.into())]);
    stage.rejects("no inputs", &without, Rule::BadCbMissing, Some(0));
}

// --- transactions by themselves ---

fn one(stage: &Stage, transaction: Transaction) -> Block {
    stage.draft().with([spend(99), transaction]).mine()
}

#[test]
fn values_are_money() {
    let stage = Stage::new();
    let with = |values: &[u64]| {
        let mut transaction = spend(1);
        transaction.output = values.iter().map(|&value| output(value, &[])).collect();
        one(&stage, transaction)
    };
    let half = MONEY / 2;
    for values in [&[0][..], &[MONEY], &[MONEY, 0], &[half, half], &[half, 0, half]] {
        stage.accepts("money", &with(values));
    }
    let rejects = |values: &[u64], rule| stage.rejects("values", &with(values), rule, Some(2));
    for (values, output) in [(&[1 << 63][..], 0), (&[5, u64::MAX], 1), (&[0, 0, u64::MAX - 9], 2)] {
        let evidence = rejects(values, Rule::BadTxnsVoutNegative);
        let value = values[output as usize].cast_signed();
        let expected = BlockViolation::NegativeValue { transaction: 2, output, value };
        assert_eq!(evidence, Violation::Block(expected));
    }
    for (values, output) in [(&[MONEY + 1][..], 0), (&[5, (1 << 63) - 1], 1)] {
        let evidence = rejects(values, Rule::BadTxnsVoutToolarge);
        let value = values[output as usize].cast_signed();
        let expected = BlockViolation::ValueTooLarge { transaction: 2, output, value };
        assert_eq!(evidence, Violation::Block(expected));
    }
    for (values, output) in [(&[MONEY, 1][..], 1), (&[half, half, 0, 1], 3)] {
        let evidence = rejects(values, Rule::BadTxnsTxouttotalToolarge);
        let total = MONEY_MAX + 1;
        let expected = BlockViolation::TotalTooLarge { transaction: 2, output, total };
        assert_eq!(evidence, Violation::Block(expected));
    }
    // All of one block together may be more.
    let mut rich = [spend(1), spend(2)];
    for transaction in &mut rich {
        transaction.output = vec![output(MONEY, &[])];
    }
    stage.accepts("each by itself", &stage.draft().with(rich).mine());
}

#[test]
fn there_are_inputs_and_outputs() {
    let stage = Stage::new();
    let nothing = stage.draft().with([spend(1)]);
    let list: Vec<_> =
        nothing.transactions().into_iter().chain([Tx::Raw(NOTHING.into())]).collect();
    let block = stage.draft().mine_of(&list);
    stage.rejects("no inputs", &block, Rule::BadTxnsVinEmpty, Some(2));
    let mut no_outputs = spend(1);
    no_outputs.output.clear();
    stage.rejects("no outputs", &one(&stage, no_outputs), Rule::BadTxnsVoutEmpty, Some(2));
}

/// CVE-2018-17144, on both sides of where comparing gives way to sorting.
#[test]
fn no_output_is_spent_twice_in_one_transaction() {
    let stage = Stage::new();
    for count in [2u32, 3, 11, 12, 13, 14, 300] {
        let mut sound = spend(1);
        // One transaction's outputs, whose numbers differ; and an output that all have.
        sound.input = (0..count).map(|index| input(index / 3)).collect();
        for (index, input) in (0..).zip(&mut sound.input) {
            input.previous_output.vout = index % 3;
        }
        stage.accepts("different outputs", &one(&stage, sound.clone()));
        let last = count - 1;
        for equal in [&[0, 1][..], &[0, last], &[last - 1, last], &[last / 2, last], &[0, 1, last]]
        {
            if equal.windows(2).any(|pair| pair[0] == pair[1]) {
                continue;
            }
            let mut bad = sound.clone();
            for &index in &equal[1..] {
                let same = bad.input[equal[0] as usize].previous_output;
                bad.input[index as usize].previous_output = same;
                // What else an input says makes no difference.
                bad.input[index as usize].sequence = Sequence::ZERO;
            }
            let rule = Rule::BadTxnsInputsDuplicate;
            let evidence = stage.rejects("twice", &one(&stage, bad), rule, Some(2));
            let (earlier, input) = (equal[0], equal[1]);
            let expected = BlockViolation::RepeatedInput { transaction: 2, input, earlier };
            assert_eq!(evidence, Violation::Block(expected), "{count}: {equal:?}");
        }
    }
    // Two pairs: the one that is complete first, however their outputs sort.
    for count in [5u32, 20] {
        for seed in 0..8 {
            let mut bad = spend(1);
            bad.input = (0..count).map(|index| input(100 * seed + index)).collect();
            bad.input[3].previous_output = bad.input[1].previous_output;
            bad.input[4].previous_output = bad.input[0].previous_output;
            let rule = Rule::BadTxnsInputsDuplicate;
            let evidence = stage.rejects("two pairs", &one(&stage, bad), rule, Some(2));
            let expected = BlockViolation::RepeatedInput { transaction: 2, input: 3, earlier: 1 };
            assert_eq!(evidence, Violation::Block(expected), "{count}");
        }
    }
    // Two transactions may spend one output as far as level `blocks` looks.
    let mut again = spend(1);
    again.output.push(output(1, &[]));
    stage.accepts("in two transactions", &stage.draft().with([spend(1), again]).mine());
}

#[test]
fn coinbase_scripts_have_2_to_100_bytes() {
    let stage = Stage::new();
    let with = |len: usize| {
        let mut draft = stage.draft();
        let mut script = draft.coinbase.input[0].script_sig.to_bytes();
        script.resize(len, 0);
        draft.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
        draft.mine()
    };
    for len in [2, 3, 99, 100] {
        stage.accepts("in between", &with(len));
    }
    for len in [0, 1, 101, 300] {
        let evidence = stage.rejects("not in between", &with(len), Rule::BadCbLength, Some(0));
        let found = len as u64;
        assert_eq!(evidence, Violation::Block(BlockViolation::CoinbaseScriptLength { found }));
    }
    // Of other transactions no script is too short or too long.
    let mut long = spend(1);
    long.input[0].script_sig = ScriptBuf::from_bytes(vec![0; 101]);
    stage.accepts("another's script", &one(&stage, long));
}

#[test]
fn inputs_spend_something() {
    let stage = Stage::new();
    let with = |change: fn(&mut OutPoint)| {
        let mut transaction = spend(1);
        transaction.input.push(input(2));
        change(&mut transaction.input[1].previous_output);
        one(&stage, transaction)
    };
    let null = with(|prevout| *prevout = OutPoint::null());
    let evidence = stage.rejects("null", &null, Rule::BadTxnsPrevoutNull, Some(2));
    let expected = BlockViolation::NullPrevout { transaction: 2, input: 1 };
    assert_eq!(evidence, Violation::Block(expected));
    stage.accepts("an id of zeros", &with(|prevout| prevout.txid = OutPoint::null().txid));
    stage.accepts("the last number", &with(|prevout| prevout.vout = u32::MAX));
}

/// In a block its length comes first, so that this rule is that of transactions alone.
#[test]
fn a_transaction_is_no_longer_than_a_block() {
    let transaction = |script: usize, witness: usize| {
        let mut large = spend(1);
        large.output = vec![output(0, &vec![0; script])];
        if witness > 0 {
            large.input[0].witness.push(vec![0; witness]);
        }
        Tx::from(large).bytes()
    };
    let others = transaction(500_000, 0).len() - 500_000;
    let judge = |bytes: &[u8]| {
        let parsed = blockmill::bitcoin::Transaction::parse(bytes).expect("a transaction");
        check_transaction(7, &parsed)
    };
    for (witness, more) in [(0, 0), (100, 0), (0, 1), (100, 1)] {
        let bytes = transaction(1_000_000 - others + more, witness);
        let (most, found) = (1_000_000, 1_000_001);
        let expected = BlockViolation::TransactionLength { transaction: 7, most, found };
        assert_eq!(judge(&bytes), if more == 0 { Ok(()) } else { Err(expected) }, "{witness}");
    }
}

// --- signature operations ---

#[test]
fn signature_operations_cost_at_most_80_000() {
    const VERIFY: u8 = 0xad;
    const MULTISIG: u8 = 0xae;
    const MULTISIG_VERIFY: u8 = 0xaf;
    let stage = Stage::new();
    let with = |scripts: &[Vec<u8>]| {
        let mut transaction = spend(1);
        transaction.output = scripts.iter().map(|script| output(0, script)).collect();
        one(&stage, transaction)
    };
    let most = 20_000;
    let check = |what: &str, count: u64, block: &Block| {
        if count <= most {
            return stage.accepts(what, block);
        }
        let evidence = stage.rejects(what, block, Rule::BadBlkSigops, None);
        let (most, found) = (SIGOPS_COST_MAX, 4 * count);
        let expected = BlockViolation::SignatureOperations { most, found };
        assert_eq!(evidence, Violation::Block(expected), "{what}");
    };
    let checks = |count: u64| vec![CHECKSIG; usize::try_from(count).expect("few")];
    for more in [0, 1] {
        let count = most + more;
        check("outputs", count, &with(&[checks(count)]));
        check("two outputs", count, &with(&[checks(count - 5), vec![VERIFY; 5]]));
        let mut inputs = spend(1);
        inputs.input.push(input(2));
        inputs.input[0].script_sig = ScriptBuf::from_bytes(checks(count - 7));
        inputs.input[1].script_sig = ScriptBuf::from_bytes(checks(7));
        check("inputs", count, &one(&stage, inputs));
        let halves = [1, 2].map(|seed| {
            let mut half = spend(seed);
            half.output = vec![output(0, &checks(10_000 + more * u64::from(seed - 1)))];
            half
        });
        check("two transactions", count, &stage.draft().with(halves).mine());
        // The coinbase counts, its input and its output.
        let mut draft = stage.draft();
        let script = [draft.coinbase.input[0].script_sig.as_bytes(), &checks(90)].concat();
        draft.coinbase.input[0].script_sig = ScriptBuf::from_bytes(script);
        draft.coinbase.output.push(output(0, &checks(count - 90)));
        check("coinbase", count, &draft.mine());
        // Twenty each, whatever number of keys stands before it.
        let multisig = [0x51, MULTISIG, 0x52, MULTISIG_VERIFY].repeat(500);
        check("several signatures", count, &with(&[multisig, checks(more)]));
        // What is pushed does not count, and what follows a push is counted again.
        let hidden = [&[75][..], &[CHECKSIG; 75], &[0x4c, 200], &[CHECKSIG; 200]].concat();
        let hidden = [&hidden[..], &[0x4d, 0, 1], &[MULTISIG; 256]].concat();
        let hidden = [&hidden[..], &[0x4e, 1, 1, 0, 0], &[CHECKSIG; 257], &checks(count)].concat();
        check("behind pushes", count, &with(&[hidden]));
        // A push that the script is too short for ends the count, and keeps what came before.
        for push in [&[5][..], &[0x4c], &[0x4c, 200], &[0x4d, 1], &[0x4e, 0xb1, 0, 0, 1]] {
            let cut = [&checks(count)[..], push, &[CHECKSIG; 4]].concat();
            check("before a cut push", count, &with(&[cut]));
        }
    }
    let more = [0x51, MULTISIG].repeat(1001);
    check("several signatures", 20_020, &with(&[more]));
    // Witnesses are not looked at here.
    let witness = spend_with_witness(1, &[CHECKSIG; 30_000]);
    stage.accepts("a witness", &stage.draft().with([witness]).committed().mine());
}

/// More small blocks than are judged at once, with faults of every stage among them: each verdict stands
/// at its own place, and the header's fault comes before the body's.
#[test]
fn many_blocks_are_judged_each_at_its_place() {
    let draft = Draft::after(&Block::genesis());
    let root = Some(Hash256::ZERO);
    let sound = draft.mine().bytes;
    // An id that the target of the blocks beside it would let pass.
    let bits = CompactTarget::from_bits(0x1d00_ffff);
    let easy = draft.bits.decode().expect("bits");
    let harder = (draft.time..)
        .map(|time| Draft { bits, time, wins: false, ..draft.clone() }.mine())
        .find(|block| easy.is_met_by(&block.id()))
        .expect("every second one does");
    let mut easier = sound.clone();
    easier[72..76].copy_from_slice(&0x2200_ffffu32.to_le_bytes());
    let kinds = [
        (sound.clone(), Ok(())),
        (harder.bytes, Err(Rule::HighHash)),
        (easier, Err(Rule::HighHash)),
        (draft.clone().with((0..4).map(spend)).mine().bytes, Ok(())),
        (Draft { wins: false, ..draft.clone() }.mine().bytes, Err(Rule::HighHash)),
        (Draft { root, ..draft.clone() }.mine().bytes, Err(Rule::BadTxnMrklRoot)),
        (Draft { root, wins: false, ..draft }.mine().bytes, Err(Rule::HighHash)),
        (sound[..sound.len() - 1].to_vec(), Err(Rule::BadEncoding)),
        (sound[..Header::LEN - 1].to_vec(), Err(Rule::BadEncoding)),
    ];
    let context = BlockContext { height: Some(1), median_time_past: None };
    let params = Params::of(Network::Regtest);
    // Nine kinds in turn: no batch of a power of two begins with the same.
    let expected: Vec<_> = kinds.iter().map(|(_, verdict)| *verdict).cycle().take(1300).collect();
    let blocks = kinds.iter().map(|(bytes, _)| (&bytes[..], context));
    let blocks: Vec<_> = blocks.cycle().take(expected.len()).collect();
    let (one, two) = (Cpu::new(1).expect("a thread"), Cpu::new(2).expect("threads"));
    for backend in [&one as &dyn Backend, &two, &Reference] {
        let verdicts = judge_blocks(&blocks, &params, backend).into_iter();
        let found: Vec<_> =
            verdicts.map(|verdict| verdict.map_err(|violation| violation.rule())).collect();
        assert!(found == expected, "{}", backend.device());
    }
}
