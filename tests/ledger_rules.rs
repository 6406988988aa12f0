//! Every rule of a ledger by mined blocks: one fixture a rule, the edges of each, and their order.
//!
//! All blocks on trial stand at height 5, where the subsidy halves, and have a sound child. Each is
//! judged on both backends, singly and in batches, on one thread and on two.

mod common;

use blockmill::ledger::{
    Account, MEMO_LEN_MAX, PAYLOAD_LEN_MAX, SIGNATURE_LEN, TAG_LEN_MAX, Transaction,
};
use blockmill::primitives::{CompactTarget, Hash256, Header};
use blockmill::signature::InvalidSignature;
use blockmill::verdict::{Rule, Violation};
use blockmill::wire::put_varint;
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;

use common::ledger::{
    ALLOCATION, Block, Draft, HALVING, Leaf, Ledger, MINER, NOW, Record, Reward, SUBSIDY, Transfer,
    Unsigned, account, body_of, encoded, faults, sign_bytes, tip,
};
use common::signatures::{key_with_torsion, sign_message};

/// A ledger of four blocks, on which a fifth is tried.
struct Stage {
    ledger: Ledger,
    trunk: Vec<Block>,
}

const HEIGHT: u32 = HALVING;

impl Stage {
    fn new() -> Self {
        let ledger = Ledger::new();
        let trunk = ledger.extend(&ledger.genesis(), HEIGHT as usize - 1, 0);
        Self { ledger, trunk }
    }

    fn parent(&self) -> &Block {
        &self.trunk[self.trunk.len() - 1]
    }

    fn draft(&self, rest: &[Leaf]) -> Draft {
        self.ledger.draft(self.parent(), rest)
    }

    fn accepts(&self, what: &str, block: &Block) {
        let child = self.ledger.block(block, &[]);
        let validation = self.ledger.judge_each_way(self.trunk.iter().chain([block, &child]));
        assert_eq!(faults(&validation), [], "{what}");
        assert_eq!(tip(&validation), (HEIGHT + 1, child.id()), "{what}");
    }

    /// Gives the evidence.
    fn rejects(&self, what: &str, block: &Block, rule: Rule, tx: Option<u32>) -> Violation {
        let child = self.ledger.block(block, &[]);
        let validation = self.ledger.judge_each_way(self.trunk.iter().chain([block, &child]));
        let mut expected = vec![(rule.id(), Some(HEIGHT), tx)];
        if !rule.is_mutation() {
            expected.push((Rule::BadPrevBlk.id(), Some(HEIGHT + 1), None));
        }
        assert_eq!(faults(&validation), expected, "{what}");
        assert_eq!(tip(&validation), (HEIGHT - 1, self.parent().id()), "{what}");
        let outcome = validation.outcome.expect("an outcome");
        assert_eq!(outcome.blocks.unconnected, u64::from(rule.is_mutation()), "{what}");
        outcome.rejections[0].violation
    }

    fn sign(&self, unsigned: &impl Unsigned) -> Leaf {
        self.ledger.sign(unsigned)
    }
}

/// A record that costs nothing, so that anyone can make it.
fn free(from: u8) -> Record {
    Record { from, fee: 0, ..Record::default() }
}

/// Breaks one rule of a draft, and says which transaction the report must name.
type Breaker = fn(&Stage, &mut Draft) -> Option<u32>;

/// Appends a transaction, and says its index.
fn push(draft: &mut Draft, leaf: Leaf) -> Option<u32> {
    draft.rest.push(leaf);
    u32::try_from(draft.rest.len()).ok()
}

/// One breaker for each rule that a block can break by itself. They leave each other alone: those that
/// append transactions use keys of their own, and pay no fee.
const BREAKERS: [(Rule, Breaker); 19] = [
    (Rule::HighHash, |_, draft| {
        draft.wins = false;
        None
    }),
    (Rule::BadDiffBits, |_, draft| {
        draft.bits = CompactTarget::from_bits(0x207f_fffe);
        None
    }),
    (Rule::TimeTooOld, |stage, draft| {
        draft.time = stage.trunk[1].header.time(); // the median of five
        None
    }),
    (Rule::TimeTooNew, |stage, draft| {
        draft.time = u32::try_from(NOW + stage.ledger.params.future_max_s() + 1).expect("a time");
        None
    }),
    (Rule::BadVersion, |_, draft| {
        draft.version = 2;
        None
    }),
    (Rule::BadEncoding, |_, draft| {
        draft.tail = vec![0];
        None
    }),
    (Rule::BadTxnMrklRoot, |_, draft| {
        draft.root = Some(Hash256::ZERO);
        None
    }),
    (Rule::BadTxnsDuplicate, |stage, draft| {
        push(draft, stage.sign(&free(40)));
        push(draft, stage.sign(&free(40)))
    }),
    (Rule::BadBlkLength, |stage, draft| {
        for from in [41, 42] {
            let payload = vec![0; PAYLOAD_LEN_MAX];
            push(draft, stage.sign(&Record { payload, ..free(from) }));
        }
        None
    }),
    (Rule::BadTxKind, |_, draft| push(draft, [&[9, 1][..], &[0; 50]].concat())),
    (Rule::BadCbMissing, |stage, draft| {
        draft.first = Some(stage.sign(&free(43)));
        Some(0)
    }),
    (Rule::BadCbMultiple, |_, draft| {
        let second = Reward { extranonce: 1, amount: 0, ..draft.reward };
        push(draft, second.leaf())
    }),
    (Rule::BadCbHeight, |_, draft| {
        draft.reward.height += 1;
        Some(0)
    }),
    (Rule::BadCbAmount, |_, draft| {
        draft.reward.amount += 1;
        Some(0)
    }),
    (Rule::BadTxPayload, |stage, draft| {
        push(draft, stage.sign(&Record { tag: Vec::new(), ..free(44) }))
    }),
    (Rule::BadTxAmount, |stage, draft| {
        push(draft, stage.sign(&Transfer { from: 45, amount: 0, fee: 0, ..Transfer::default() }))
    }),
    (Rule::BadTxSignature, |stage, draft| {
        let record = free(46);
        push(draft, stage.ledger.sign_by(&record.transaction(), |_| [0; SIGNATURE_LEN]))
    }),
    (Rule::BadTxNonce, |stage, draft| push(draft, stage.sign(&Record { nonce: 1, ..free(47) }))),
    (Rule::BadTxBalance, |stage, draft| {
        push(draft, stage.sign(&Transfer { from: 48, amount: 1, fee: 0, ..Transfer::default() }))
    }),
];

/// The rules that no block of a ledger breaks, as they are Bitcoin's alone; they have fixtures in
/// `block_rules.rs`, and that of BIP94 in `header_rules.rs`.
const OF_BITCOIN: [Rule; 16] = [
    Rule::TimeTimewarpAttack,
    Rule::BadTxnsVinEmpty,
    Rule::BadTxnsVoutEmpty,
    Rule::BadTxnsOversize,
    Rule::BadTxnsVoutNegative,
    Rule::BadTxnsVoutToolarge,
    Rule::BadTxnsTxouttotalToolarge,
    Rule::BadTxnsInputsDuplicate,
    Rule::BadCbLength,
    Rule::BadTxnsPrevoutNull,
    Rule::BadBlkSigops,
    Rule::BadTxnsNonfinal,
    Rule::BadWitnessNonceSize,
    Rule::BadWitnessMerkleMatch,
    Rule::UnexpectedWitness,
    Rule::BadBlkWeight,
];

#[test]
fn there_is_a_fixture_for_every_rule() {
    let stage = Stage::new();
    let mut seen = vec![Rule::BadPrevBlk]; // the children
    for (rule, breaks) in BREAKERS {
        let mut draft = stage.draft(&[stage.sign(&Transfer::default())]);
        stage.accepts("unbroken", &draft.mine());
        let tx = breaks(&stage, &mut draft);
        stage.rejects(rule.id(), &draft.mine(), rule, tx);
        seen.push(rule);
    }
    seen.extend(OF_BITCOIN);
    seen.sort_unstable();
    assert_eq!(seen, Rule::ALL);
}

/// Where a fault stands in the order of judgement: header, encoding, tree, the block as a whole; then
/// transaction by transaction; then signatures; then the state.
fn place(rule: Rule, tx: Option<u32>) -> (u8, Option<u32>, Rule) {
    match rule {
        Rule::BadTxSignature => (2, tx, rule),
        Rule::BadTxNonce | Rule::BadTxBalance => (3, tx, rule),
        _ if rule > Rule::BadBlkLength => (1, tx, rule),
        _ => (0, None, rule),
    }
}

/// Blocks that break two rules at once, in both orders of their transactions.
#[test]
fn of_two_faults_the_earlier_is_reported() {
    let stage = Stage::new();
    let is_time = |rule| matches!(rule, Rule::TimeTooOld | Rule::TimeTooNew);
    for (first, breaks_first) in BREAKERS {
        for (second, breaks_second) in BREAKERS {
            if first == second || (is_time(first) && is_time(second)) {
                continue;
            }
            let mut draft = stage.draft(&[stage.sign(&Transfer::default())]);
            let broken = [
                (first, breaks_first(&stage, &mut draft)),
                (second, breaks_second(&stage, &mut draft)),
            ];
            // What a transaction of an unknown kind pays is not known, nor what the reward may be.
            let kind_is_unknown = broken.iter().any(|(rule, _)| *rule == Rule::BadTxKind);
            let judged = |rule| !(kind_is_unknown && rule == Rule::BadCbAmount);
            let broken = broken.into_iter().filter(|(rule, _)| judged(*rule));
            let (rule, tx) = broken.min_by_key(|(rule, tx)| place(*rule, *tx)).expect("a fault");
            let validation = stage.ledger.judge(stage.trunk.iter().chain([&draft.mine()]));
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
    let mut by_header = stage.ledger.draft(grandparent, &[]);
    by_header.version = 7;
    let mut by_body = stage.ledger.draft(grandparent, &[]);
    by_body.reward.amount += 1;
    for (parent, parents_rule) in [(by_header, "bad-version"), (by_body, "bad-cb-amount")] {
        let parent = parent.mine();
        for (rule, breaks) in BREAKERS {
            let mut draft = stage.ledger.draft(&parent, &[]);
            breaks(&stage, &mut draft);
            let block = draft.mine();
            let expected = if rule == Rule::HighHash { rule.id() } else { "bad-prevblk" };
            let dump = stage.trunk.iter().chain([&block, &parent]);
            let found: Vec<_> = faults(&stage.ledger.judge(dump))
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

// --- headers ---

#[test]
fn times_are_held_against_the_median_and_the_clock() {
    let stage = Stage::new();
    let median = stage.trunk[1].header.time();
    let latest = u32::try_from(NOW + stage.ledger.params.future_max_s()).expect("a time");
    let at = |time| Draft { time, ..stage.draft(&[]) }.mine();
    stage.rejects("at the median", &at(median), Rule::TimeTooOld, None);
    stage.accepts("after the median", &at(median + 1));
    stage.rejects("after the clock", &at(latest + 1), Rule::TimeTooNew, None);
    // Its child comes a spacing later.
    let last = at(latest);
    let validation = stage.ledger.judge_each_way(stage.trunk.iter().chain([&last]));
    assert_eq!((faults(&validation), tip(&validation).1), (vec![], last.id()));
}

#[test]
fn bits_are_those_of_the_schedule() {
    let stage = Stage::new();
    for bits in [0x207f_fffe, 0x1f7f_ffff] {
        let bits = CompactTarget::from_bits(bits);
        let evidence = stage.rejects(
            "bits",
            &Draft { bits, ..stage.draft(&[]) }.mine(),
            Rule::BadDiffBits,
            None,
        );
        let required = stage.ledger.params.pow_limit();
        assert_eq!(evidence, Violation::BadDiffBits { required, found: bits });
    }
    let above = CompactTarget::from_bits(0x2100_ffff);
    let easier = Draft { bits: above, ..stage.draft(&[]) }.mine();
    stage.rejects("above the limit", &easier, Rule::HighHash, None);
    // Ahead of its schedule a chain needs harder bits; those of the limit are too easy then.
    let fast = Ledger::with(&[("half_life_s", "600"), ("target_spacing_s", "600")]);
    let genesis = fast.genesis();
    let first = fast.draft_at(&genesis, genesis.header.time() + 1, &[]).mine();
    let mut second = fast.draft(&first, &[]);
    assert_ne!(second.bits, fast.params.pow_limit());
    assert_eq!(faults(&fast.judge([&first, &second.mine()])), []);
    second.bits = fast.params.pow_limit();
    let expected = [("bad-diffbits", Some(2), None)];
    assert_eq!(faults(&fast.judge([&first, &second.mine()])), expected);
}

#[test]
fn versions_are_those_of_the_rules() {
    let stage = Stage::new();
    for version in [0, 2, -1, 0x2000_0000] {
        let block = Draft { version, ..stage.draft(&[]) }.mine();
        let evidence = stage.rejects("version", &block, Rule::BadVersion, None);
        assert_eq!(evidence, Violation::UnknownVersion { known: 1, found: version });
    }
}

#[test]
fn more_blocks_with_less_work_lose() {
    let ledger = Ledger::with(&[("half_life_s", "600"), ("target_spacing_s", "600")]);
    let branch = |length, spacing, salt| {
        let mut blocks = vec![ledger.genesis()];
        for _ in 0..length {
            let parent = &blocks[blocks.len() - 1];
            let mut draft = ledger.draft_at(parent, parent.header.time() + spacing, &[]);
            draft.reward.extranonce = salt;
            blocks.push(draft.mine());
        }
        blocks.split_off(1)
    };
    let (long, short) = (branch(6, 600, 1), branch(4, 1, 2));
    for dump in [[&long[..], &short], [&short, &long]] {
        let validation = ledger.judge_each_way(dump.into_iter().flatten());
        assert_eq!(faults(&validation), []);
        assert_eq!(tip(&validation), (4, short[3].id()));
    }
}

// --- encodings ---

/// A body that does not fit its header is rejected alone, whether the honest one comes later, or came
/// before, or never.
fn is_refused_alone(stage: &Stage, what: &str, honest: &Block, body: &[u8], rule: Rule, tx: Tx) {
    let mutated = honest.with_body(body);
    let child = stage.ledger.block(honest, &[]);
    let fault = (rule.id(), Some(HEIGHT), tx);
    for copies in [[&mutated, honest], [honest, &mutated]] {
        let dump = stage.trunk.iter().chain(copies).chain([&child]);
        let validation = stage.ledger.judge(dump);
        assert_eq!(faults(&validation), [fault], "{what}");
        assert_eq!(tip(&validation), (HEIGHT + 1, child.id()), "{what}");
    }
    stage.rejects(what, &mutated, rule, tx);
}

type Tx = Option<u32>;

/// A sound block of three transactions: lengths and leaves as its body has them.
fn three(stage: &Stage) -> (Block, Vec<Leaf>) {
    let transfer = stage.sign(&Transfer { memo: b"memo".to_vec(), ..Transfer::default() });
    let draft = stage.draft(&[transfer, stage.sign(&Record { nonce: 1, ..Record::default() })]);
    (draft.mine(), draft.leaves())
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

/// The same number with a byte too many.
fn long_form(value: u64) -> Vec<u8> {
    let mut out = varint(value);
    *out.last_mut().expect("a byte") |= 0x80;
    out.push(0);
    out
}

/// 2^64: one bit too many.
const TOO_LARGE: [u8; 10] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2];

/// `bytes` with those of `range` replaced.
fn spliced(bytes: &[u8], range: std::ops::Range<usize>, with: &[u8]) -> Vec<u8> {
    [&bytes[..range.start], with, &bytes[range.end..]].concat()
}

#[test]
fn encodings_of_blocks_are_canonical() {
    let stage = Stage::new();
    let (honest, leaves) = three(&stage);
    stage.accepts("honest", &honest);
    let body = honest.body();
    let with_count = |count: &[u8]| spliced(body, 0..1, count);
    // The second leaf's length has two bytes.
    let second = 1 + 1 + leaves[0].len();
    let len = leaves[1].len() as u64;
    let with_length = |length: &[u8]| spliced(body, second..second + 2, length);
    assert_eq!(body[second..second + 2], varint(len));
    let room = (body.len() as u64 - 1) / 39;
    let cases = [
        ("no count", Vec::new(), None),
        ("a count in long form", with_count(&long_form(3)), None),
        ("a count of 65 bits", with_count(&TOO_LARGE), None),
        ("one transaction too few", with_count(&[4]), Some(3)),
        ("more than could follow", with_count(&varint(room + 1)), None),
        ("as many as could follow", with_count(&varint(room)), Some(3)),
        ("2^64 - 1 transactions", with_count(&varint(u64::MAX)), None),
        ("one transaction too many", with_count(&[2]), None),
        ("a byte behind the block", [body, &[0]].concat(), None),
        ("a length in long form", with_length(&long_form(len)), Some(1)),
        ("a length of 65 bits", with_length(&TOO_LARGE), Some(1)),
        ("a length of 2^64 - 1", with_length(&varint(u64::MAX)), Some(1)),
        ("a length beyond the block", with_length(&varint(body.len() as u64)), Some(1)),
        ("a length one too long", with_length(&varint(len + 1)), Some(1)),
        ("a length one too short", with_length(&varint(len - 1)), Some(1)),
    ];
    for (what, body, tx) in cases {
        is_refused_alone(&stage, what, &honest, &body, Rule::BadEncoding, tx);
    }
    // Cut anywhere: side by side under one header, one of them the whole.
    let cuts: Vec<_> = (0..body.len()).map(|cut| honest.with_body(&body[..cut])).collect();
    let validation = stage.ledger.judge_each_way(stage.trunk.iter().chain(&cuts).chain([&honest]));
    let found = faults(&validation);
    assert_eq!((found.len(), tip(&validation).1), (cuts.len(), honest.id()));
    assert!(found.iter().all(|(rule, ..)| *rule == "bad-encoding"));
}

#[test]
fn encodings_of_transactions_are_canonical() {
    let stage = Stage::new();
    let (honest, leaves) = three(&stage);
    let [reward, transfer, record] = &leaves[..] else { panic!("three") };
    // Places of fields: kind, version, height; kind, version, two accounts, amount 5, fee 1, nonce 0
    // and memo; kind, version, account, fee 1, nonce 1, tag.
    let (height, amount, tag) = (2, 2 + 66, 2 + 33 + 2);
    assert_eq!((reward[height], transfer[amount], record[tag]), (5, 5, 4));
    let payload = tag + 1 + 4;
    let memo = amount + 3;
    let set = |leaf: &Leaf, place: usize, with: &[u8]| spliced(leaf, place..place + 1, with);
    let longer = |leaf: &Leaf| [&leaf[..], &[0]].concat();
    let cases = [
        ("a height in long form", 0, set(reward, height, &long_form(5))),
        ("a height of 65 bits", 0, set(reward, height, &TOO_LARGE)),
        ("an amount in long form", 1, set(transfer, amount, &long_form(5))),
        ("an amount of 65 bits", 1, set(transfer, amount, &TOO_LARGE)),
        ("a fee in long form", 1, set(transfer, amount + 1, &long_form(1))),
        ("a nonce in long form", 1, set(transfer, amount + 2, &long_form(0))),
        ("a memo's length in long form", 1, set(transfer, memo, &long_form(4))),
        ("a memo longer than all", 1, set(transfer, memo, &varint(200))),
        ("a memo of 2^64 - 1 bytes", 1, set(transfer, memo, &varint(u64::MAX))),
        ("a memo one too long", 1, set(transfer, memo, &[5])),
        ("a memo one too short", 1, set(transfer, memo, &[3])),
        ("a tag's length in long form", 2, set(record, tag, &long_form(4))),
        ("a tag of 2^64 - 1 bytes", 2, set(record, tag, &varint(u64::MAX))),
        ("a payload's length in long form", 2, set(record, payload, &long_form(4))),
        ("a payload one too long", 2, set(record, payload, &[5])),
        ("bytes behind a reward", 0, longer(reward)),
        ("bytes behind a transfer", 1, longer(transfer)),
        ("bytes behind a record", 2, longer(record)),
        ("a reward cut short", 0, reward[..reward.len() - 1].to_vec()),
        ("a transfer cut short", 1, transfer[..transfer.len() - 1].to_vec()),
        ("a transaction of a kind alone", 1, vec![1]),
        ("a transaction of no bytes", 1, Vec::new()),
    ];
    for (what, index, leaf) in cases {
        let mut mutated = leaves.clone();
        mutated[index] = leaf;
        let tx = u32::try_from(index).ok();
        is_refused_alone(&stage, what, &honest, &body_of(&mutated), Rule::BadEncoding, tx);
    }
}

// --- Merkle tree ---

#[test]
fn the_root_is_that_of_the_transactions() {
    let stage = Stage::new();
    let (honest, leaves) = three(&stage);
    let swapped: Vec<_> = [0, 2, 1].map(|index: usize| leaves[index].clone()).into();
    let cases = [
        ("one fewer", leaves[..2].to_vec()),
        ("none", Vec::new()),
        ("another order", swapped),
        ("the last once more", [&leaves[..], &leaves[2..]].concat()),
    ];
    for (what, leaves) in cases {
        let body = body_of(&leaves);
        is_refused_alone(&stage, what, &honest, &body, Rule::BadTxnMrklRoot, None);
    }
    for place in 0..32 {
        let mut root = *honest.header.merkle_root().as_bytes();
        root[place] ^= 1 << (place % 8);
        let root = Some(Hash256::from_bytes(root));
        let block = Draft { root, ..stage.draft(&leaves[1..]) }.mine();
        let validation = stage.ledger.judge(stage.trunk.iter().chain([&block]));
        assert_eq!(faults(&validation), [("bad-txnmrklroot", Some(HEIGHT), None)]);
    }
}

/// An id says nothing of signatures: two of them do not make two transactions.
#[test]
fn no_id_stands_twice() {
    let stage = Stage::new();
    let record = free(1);
    let leaf = stage.sign(&record);
    let resigned = stage.ledger.sign_by(&record.transaction(), |_| [7; SIGNATURE_LEN]);
    let other = stage.sign(&free(3));
    for (what, rest, tx) in [
        ("the same", vec![leaf.clone(), leaf.clone()], 2),
        ("with another signature", vec![leaf.clone(), other.clone(), resigned], 3),
        ("the first repetition counts", vec![leaf.clone(), other.clone(), other, leaf], 3),
    ] {
        stage.rejects(what, &stage.draft(&rest).mine(), Rule::BadTxnsDuplicate, Some(tx));
    }
    let reward = stage.draft(&[]).reward.leaf();
    stage.rejects("the reward", &stage.draft(&[reward]).mine(), Rule::BadTxnsDuplicate, Some(1));
}

// --- shape ---

#[test]
fn sizes_are_held_against_the_limit() {
    let stage = Stage::new();
    let most = usize::try_from(stage.ledger.params.block_bytes_max()).expect("a small limit");
    // Two records fill a block to the byte.
    let of_len = |len: usize| {
        let first = Record { payload: vec![1; PAYLOAD_LEN_MAX], ..free(1) };
        let drafts = (0..PAYLOAD_LEN_MAX).rev().map(|bytes| {
            let second = Record { payload: vec![2; bytes], ..free(2) };
            (stage.draft(&[encoded(&first.transaction()), encoded(&second.transaction())]), second)
        });
        let is_right = |draft: &Draft| Header::LEN + body_of(&draft.leaves()).len() == len;
        let (_, second) = { drafts }.find(|(draft, _)| is_right(draft)).expect("a length");
        let block = stage.draft(&[stage.sign(&first), stage.sign(&second)]).mine();
        assert_eq!(block.bytes.len(), len);
        block
    };
    stage.accepts("at the limit", &of_len(most));
    stage.rejects("one above", &of_len(most + 1), Rule::BadBlkLength, None);
    let empty = Draft { is_empty: true, ..stage.draft(&[]) }.mine();
    let evidence = stage.rejects("no transactions", &empty, Rule::BadBlkLength, None);
    assert_eq!(evidence, Violation::EmptyBlock);
}

#[test]
fn there_is_one_reward_and_it_comes_first() {
    let stage = Stage::new();
    let transfer = stage.sign(&Transfer::default());
    let draft = stage.draft(std::slice::from_ref(&transfer));
    let other = Reward { extranonce: 1, ..draft.reward };
    let first = |first: &Leaf, rest: &[Leaf]| {
        Draft { first: Some(first.clone()), rest: rest.to_vec(), ..draft.clone() }.mine()
    };
    stage.rejects("none", &first(&transfer, &[]), Rule::BadCbMissing, Some(0));
    let last = first(&transfer, &[draft.reward.leaf()]);
    stage.rejects("not first", &last, Rule::BadCbMissing, Some(0));
    let two = stage.draft(&[transfer.clone(), other.leaf()]).mine();
    stage.rejects("two", &two, Rule::BadCbMultiple, Some(2));
    // Whatever the second claims.
    let nothing = Reward { amount: 0, height: 0, ..other };
    let two = stage.draft(&[nothing.leaf(), transfer]).mine();
    stage.rejects("a second of nothing", &two, Rule::BadCbMultiple, Some(1));
}

#[test]
fn a_reward_names_its_height() {
    let stage = Stage::new();
    for height in [0, u64::from(HEIGHT) - 1, u64::from(HEIGHT) + 1, 1 << 32 | 5, u64::MAX] {
        let mut draft = stage.draft(&[]);
        draft.reward.height = height;
        let evidence = stage.rejects("height", &draft.mine(), Rule::BadCbHeight, Some(0));
        assert_eq!(evidence, Violation::BadCbHeight { required: 5, found: height });
    }
}

#[test]
fn a_reward_is_at_most_subsidy_and_fees() {
    let stage = Stage::new();
    let fees = [
        stage.sign(&Transfer { fee: 7, ..Transfer::default() }),
        stage.sign(&Record { fee: 30, nonce: 1, ..Record::default() }),
    ];
    let of = |amount, rest: &[Leaf]| {
        let mut draft = stage.draft(rest);
        draft.reward.amount = amount;
        draft.mine()
    };
    let subsidy = SUBSIDY / 2;
    for (most, rest) in [(subsidy, &fees[..0]), (subsidy + 7, &fees[..1]), (subsidy + 37, &fees)] {
        for less in [most, most - 1, 0] {
            stage.accepts("no more than it may", &of(less, rest));
        }
        for more in [most + 1, SUBSIDY + 37, u64::MAX] {
            let evidence = stage.rejects("more", &of(more, rest), Rule::BadCbAmount, Some(0));
            let most = most.into();
            assert_eq!(evidence, Violation::BadCbAmount { most, found: more });
        }
    }
    // The block before has the whole subsidy, and no more.
    let mut before = stage.ledger.draft(&stage.trunk[2], &[]);
    assert_eq!((before.height, before.reward.amount), (HALVING - 1, SUBSIDY));
    assert_eq!(faults(&stage.ledger.judge(stage.trunk[..3].iter().chain([&before.mine()]))), []);
    before.reward.amount += 1;
    let expected = [("bad-cb-amount", Some(HALVING - 1), Some(0))];
    let validation = stage.ledger.judge(stage.trunk[..3].iter().chain([&before.mine()]));
    assert_eq!(faults(&validation), expected);
}

/// After 64 halvings nothing is created, and shifting by 64 bits and more is no surprise.
#[test]
fn subsidies_end() {
    let ledger = Ledger::with(&[("halving_blocks", "1"), ("subsidy", "9000000000000000000")]);
    let blocks = ledger.extend(&ledger.genesis(), 70, 0);
    let validation = ledger.judge_each_way(&blocks);
    assert_eq!((faults(&validation), tip(&validation).0), (vec![], 70));
    for height in [62, 63, 64, 65, 70] {
        let mut draft = ledger.draft(&blocks[height - 2], &[]);
        assert_eq!(draft.reward.amount, if height < 63 { 1 } else { 0 }, "{height}");
        draft.reward.amount += 1;
        let validation = ledger.judge(blocks[..height - 1].iter().chain([&draft.mine()]));
        let height = u32::try_from(height).ok();
        assert_eq!(faults(&validation), [("bad-cb-amount", height, Some(0))]);
    }
}

#[test]
fn unknown_kinds_and_versions_are_opaque_leaves() {
    let stage = Stage::new();
    let transfer = stage.sign(&Transfer::default());
    let record = stage.sign(&Record { nonce: 1, ..Record::default() });
    let reward = stage.draft(&[]).reward.leaf();
    let set = |leaf: &Leaf, place: usize, value: u8| spliced(leaf, place..place + 1, &[value]);
    let cases = [
        ("kind 3", set(&transfer, 0, 3)),
        ("kind 255", set(&record, 0, 255)),
        ("version 0", set(&transfer, 1, 0)),
        ("version 2", set(&record, 1, 2)),
        ("a reward of version 2", set(&reward, 1, 2)),
        ("a sender of kind 1", set(&transfer, 2, 1)),
        ("a recipient of kind 1", set(&transfer, 2 + 33, 1)),
        ("a writer of kind 9", set(&record, 2, 9)),
        ("any bytes behind", [&[200, 0][..], &[0xff; 100]].concat()),
        ("no bytes behind", vec![1, 2]),
    ];
    for (what, leaf) in cases {
        let block = stage.draft(&[transfer.clone(), leaf.clone()]).mine();
        stage.rejects(what, &block, Rule::BadTxKind, Some(2));
        let rest = std::slice::from_ref(&transfer);
        let first = Draft { first: Some(leaf.clone()), ..stage.draft(rest) };
        stage.rejects(what, &first.mine(), Rule::BadTxKind, Some(0));
        // Behind a wrong root they say nothing of the block.
        let honest = stage.draft(std::slice::from_ref(&transfer)).mine();
        let body = body_of(&[reward.clone(), transfer.clone(), leaf]);
        is_refused_alone(&stage, what, &honest, &body, Rule::BadTxnMrklRoot, None);
    }
}

#[test]
fn lengths_of_memos_tags_and_payloads() {
    let stage = Stage::new();
    let memo = |len| stage.sign(&Transfer { memo: vec![7; len], ..Transfer::default() });
    let tag = |len| stage.sign(&Record { tag: vec![7; len], ..Record::default() });
    let payload = |len| stage.sign(&Record { payload: vec![7; len], ..Record::default() });
    type Make<'a> = &'a dyn Fn(usize) -> Leaf;
    let fields: [(&str, Make<'_>, std::ops::RangeInclusive<usize>); 3] = [
        ("memo", &memo, 0..=MEMO_LEN_MAX),
        ("tag", &tag, 1..=TAG_LEN_MAX),
        ("payload", &payload, 0..=PAYLOAD_LEN_MAX),
    ];
    for (name, make, allowed) in fields {
        for len in [0, 1, *allowed.end(), allowed.end() + 1] {
            let block = stage.draft(&[make(len)]).mine();
            if allowed.contains(&len) {
                stage.accepts(name, &block);
                continue;
            }
            let (least, most) = allowed.clone().into_inner();
            let evidence = stage.rejects(name, &block, Rule::BadTxPayload, Some(1));
            let expected =
                Violation::BadTxPayload { transaction: 1, field: name, least, most, found: len };
            assert_eq!(evidence, expected);
        }
    }
}

#[test]
fn amounts_are_above_zero_and_fit_with_the_fee() {
    let stage = Stage::new();
    let of = |amount, fee| {
        let transfer = Transfer { amount, fee, ..Transfer::default() };
        let mut draft = stage.draft(&[stage.sign(&transfer)]);
        draft.reward.amount = 0;
        draft.mine()
    };
    for (amount, fee) in
        [(0, 0), (0, 1), (0, u64::MAX), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)]
    {
        let evidence = stage.rejects("amount", &of(amount, fee), Rule::BadTxAmount, Some(1));
        assert_eq!(evidence, Violation::BadTxAmount { transaction: 1, amount, fee });
    }
    // The largest that fit are for the state to judge.
    for (amount, fee) in [(u64::MAX, 0), (u64::MAX - 1, 1), (1, u64::MAX - 1)] {
        stage.rejects("too much", &of(amount, fee), Rule::BadTxBalance, Some(1));
    }
}

// --- signatures ---

/// The fault that the report names.
fn signature_fault(stage: &Stage, what: &str, leaf: Leaf) -> InvalidSignature {
    let good = stage.sign(&free(3));
    let block = stage.draft(&[good, leaf]).mine();
    match stage.rejects(what, &block, Rule::BadTxSignature, Some(2)) {
        Violation::BadTxSignature { fault, .. } => fault,
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn signatures_of_every_bad_kind() {
    let stage = Stage::new();
    let transfer = Transfer { memo: b"memo".to_vec(), ..Transfer::default() };
    let unsigned = transfer.transaction();
    let by = |signer: &dyn Fn(&[u8]) -> [u8; 64]| stage.ledger.sign_by(&unsigned, signer);
    let changed = |place: usize, with: &dyn Fn(u8) -> u8| {
        by(&|message| {
            let mut message = message.to_vec();
            message[place] = with(message[place]);
            sign_bytes(1, &message)
        })
    };
    let r_is = |r: [u8; 32]| {
        by(&|message| {
            let mut signature = sign_bytes(1, message);
            signature[..32].copy_from_slice(&r);
            signature
        })
    };
    let plus_order = by(&|message| {
        let mut signature = sign_bytes(1, message);
        add_order(&mut signature[32..]);
        signature
    });
    // The identity, whose y is 1, written as p + 1; and a y that is on no point.
    let mut above_p = [0xff; 32];
    (above_p[0], above_p[31]) = (0xee, 0x7f);
    let of_no_point = (0..=u8::MAX)
        .map(|low| std::array::from_fn(|at| if at == 0 { low } else { 0 }))
        .find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none())
        .expect("half of all numbers");
    use InvalidSignature::{CommitmentEncoding, Equation, ScalarRange};
    let cases = [
        ("nothing", by(&|_| [0; 64]), Equation),
        ("another key's", by(&|message| sign_bytes(2, message)), Equation),
        ("of another message", by(&|_| sign_bytes(1, b"message")), Equation),
        ("without the magic", changed(0, &|_| 0), Equation),
        ("for another chain", changed(4, &|byte| byte ^ 1), Equation),
        ("for a chain that ends otherwise", changed(35, &|byte| byte ^ 1), Equation),
        ("for another kind", changed(36, &|_| 2), Equation),
        ("for another version", changed(37, &|_| 2), Equation),
        ("another sender", changed(39, &|byte| byte ^ 1), Equation),
        ("another recipient", changed(39 + 33, &|byte| byte ^ 1), Equation),
        ("another amount", changed(38 + 66, &|_| 6), Equation),
        ("another fee", changed(38 + 67, &|_| 2), Equation),
        ("another nonce", changed(38 + 68, &|_| 1), Equation),
        ("another memo", changed(38 + 70, &|_| b'M'), Equation),
        ("s plus the order", plus_order, ScalarRange),
        ("an R in a second form", r_is(above_p), CommitmentEncoding),
        ("an R that is no point", r_is(of_no_point), CommitmentEncoding),
        ("another R", r_is(EIGHT_TORSION[1].compress().to_bytes()), Equation),
    ];
    for (what, leaf, fault) in cases {
        assert_eq!(signature_fault(&stage, what, leaf), fault, "{what}");
    }
    let from = |key: [u8; 32]| {
        let (fee, nonce, tag, payload) = (0, 0, &b"t"[..], &b""[..]);
        let (from, signature) = (Account::from_key(key), [0; 64]);
        let record = Transaction::Record { from, fee, nonce, tag, payload, signature };
        stage.ledger.sign_by(&record, |message| sign_bytes(1, message))
    };
    use InvalidSignature::{KeyEncoding, KeySmallOrder};
    assert_eq!(signature_fault(&stage, "a key in a second form", from(above_p)), KeyEncoding);
    assert_eq!(signature_fault(&stage, "a key of no point", from(of_no_point)), KeyEncoding);
    for point in EIGHT_TORSION {
        let leaf = from(point.compress().to_bytes());
        assert_eq!(signature_fault(&stage, "a key of small order", leaf), KeySmallOrder);
    }
}

/// A key that does not decode is as bad as a signature: the lower transaction counts.
#[test]
fn of_bad_keys_and_bad_signatures_the_lowest_is_reported() {
    let stage = Stage::new();
    let record = free(3);
    let bad_signature = stage.ledger.sign_by(&record.transaction(), |_| [0; SIGNATURE_LEN]);
    let from = Account::from_key([0xff; 32]);
    let of_bad_key = Transaction::Record {
        from,
        fee: 0,
        nonce: 0,
        tag: b"t",
        payload: b"",
        signature: [0; SIGNATURE_LEN],
    };
    let bad_key = encoded(&of_bad_key);
    use InvalidSignature::{Equation, KeyEncoding};
    for (leaves, fault) in
        [([&bad_signature, &bad_key], Equation), ([&bad_key, &bad_signature], KeyEncoding)]
    {
        let block = stage.draft(&leaves.map(Clone::clone)).mine();
        let evidence = stage.rejects("both", &block, Rule::BadTxSignature, Some(1));
        assert_eq!(evidence, Violation::BadTxSignature { transaction: 1, fault });
    }
}

/// Adds L, least significant byte first.
fn add_order(s: &mut [u8]) {
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    for (digit, add) in s.iter_mut().zip(order.expect("hex")) {
        let sum = u16::from(*digit) + u16::from(add) + carry;
        [*digit, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
}

/// Keys and commitments with a part of small order are fine, in any company.
#[test]
fn points_of_mixed_order_sign() {
    let stage = Stage::new();
    let mut rest = Vec::new();
    for of_key in 0..8 {
        for of_r in [0, 1, 4] {
            let (account, nonce) = (of_key as u64, rest.len() as u64 % 3);
            let record = Transaction::Record {
                from: Account::from_key(key_with_torsion(account, of_key)),
                fee: 0,
                nonce,
                tag: b"t",
                payload: b"",
                signature: [0; 64],
            };
            rest.push(stage.ledger.sign_by(&record, |message| {
                let signed = sign_message(account, message.to_vec(), of_key, of_r);
                signed.signature.try_into().expect("64 bytes")
            }));
        }
    }
    stage.accepts("mixed order", &stage.draft(&rest).mine());
}

/// Each block of a batch gets the verdict that it gets alone: its own lowest bad signature.
#[test]
fn bad_signatures_of_many_blocks_in_one_batch() {
    let stage = Stage::new();
    let bad = |from| {
        let record = free(from);
        stage.ledger.sign_by(&record.transaction(), |message| sign_bytes(1, &message[1..]))
    };
    let good: Vec<_> = (10..50).map(|from| stage.sign(&free(from))).collect();
    // Siblings of forty transactions: the bad ones of each, by index.
    let siblings: [&[u8]; 8] = [&[], &[1], &[40], &[], &[17, 18, 39], &[1, 40], &[], &[24]];
    let block = |(salt, wrong): (u64, &&[u8])| {
        let mut draft = stage.draft(&good);
        draft.reward.extranonce = salt;
        wrong.iter().for_each(|index| draft.rest[usize::from(*index) - 1] = bad(9 + index));
        draft.mine()
    };
    let blocks: Vec<_> = (0..).zip(&siblings).map(block).collect();
    let validation = stage.ledger.judge_each_way(stage.trunk.iter().chain(&blocks));
    let lowest = siblings.iter().filter_map(|wrong| wrong.first().copied()).map(u32::from);
    let expected: Vec<_> = lowest.map(|tx| ("bad-tx-signature", Some(HEIGHT), Some(tx))).collect();
    assert_eq!(faults(&validation), expected);
    assert_eq!(tip(&validation), (HEIGHT, blocks[0].id()));
}

// --- state ---

#[test]
fn nonces_have_no_gaps() {
    let stage = Stage::new();
    let at = |nonce, fee| stage.sign(&Record { nonce, fee, ..Record::default() });
    stage.accepts("three in order", &stage.draft(&[at(0, 1), at(1, 1), at(2, 1)]).mine());
    for (what, nonces, tx, required) in [
        ("reused", vec![0, 0], 2, 1),
        ("reused later", vec![0, 1, 0], 3, 2),
        ("skipped", vec![1], 1, 0),
        ("skipped later", vec![0, 2], 2, 1),
        ("out of order", vec![1, 0], 1, 0),
        ("the last of all", vec![u64::MAX], 1, 0),
    ] {
        let rest: Vec<_> = (1..).zip(&nonces).map(|(fee, nonce)| at(*nonce, fee)).collect();
        let evidence = stage.rejects(what, &stage.draft(&rest).mine(), Rule::BadTxNonce, Some(tx));
        let found = nonces[tx as usize - 1];
        assert_eq!(evidence, Violation::BadTxNonce { transaction: tx, required, found });
    }
    // Across blocks as well, for transfers and records alike.
    let first = stage.draft(&[stage.sign(&Transfer::default())]).mine();
    for (nonce, expected) in [(0, vec![("bad-tx-nonce", Some(HEIGHT + 1), Some(1))]), (1, vec![])] {
        let second = stage.ledger.block(&first, &[at(nonce, 1)]);
        let validation = stage.ledger.judge_each_way(stage.trunk.iter().chain([&first, &second]));
        assert_eq!(faults(&validation), expected);
    }
}

/// A transfer from one key to another.
fn pay(stage: &Stage, from: u8, nonce: u64, to: u8, amount: u64, fee: u64) -> Leaf {
    let to = account(to);
    stage.sign(&Transfer { from, to, amount, fee, nonce, memo: Vec::new() })
}

#[test]
fn nobody_spends_more_than_they_have() {
    let stage = Stage::new();
    let record = |fee| stage.sign(&Record { fee, ..Record::default() });
    stage.accepts("all of it", &stage.draft(&[pay(&stage, 1, 0, 2, ALLOCATION - 9, 9)]).mine());
    stage.accepts("all of it in fees", &stage.draft(&[record(ALLOCATION)]).mine());
    for (what, rest, balance, needed) in [
        ("one more", vec![pay(&stage, 1, 0, 2, ALLOCATION, 1)], ALLOCATION, ALLOCATION + 1),
        ("one more in fees", vec![record(ALLOCATION + 1)], ALLOCATION, ALLOCATION + 1),
        ("from nothing", vec![pay(&stage, 30, 0, 2, 1, 0)], 0, 1),
        ("to oneself", vec![pay(&stage, 1, 0, 1, ALLOCATION, 1)], ALLOCATION, ALLOCATION + 1),
    ] {
        let evidence = stage.rejects(what, &stage.draft(&rest).mine(), Rule::BadTxBalance, Some(1));
        assert_eq!(evidence, Violation::BadTxBalance { transaction: 1, balance, needed });
    }
    // Fees whose sum has 65 bits.
    let greedy = |from| stage.sign(&Record { fee: u64::MAX, ..free(from) });
    let block = stage.draft(&[greedy(1), greedy(2), greedy(3)]).mine();
    stage.rejects("fees of 65 bits", &block, Rule::BadTxBalance, Some(1));
}

#[test]
fn a_transfer_to_oneself_costs_exactly_the_fee() {
    let stage = Stage::new();
    let first = pay(&stage, 1, 0, 1, ALLOCATION - 3, 3);
    let all = pay(&stage, 1, 1, 2, ALLOCATION - 3, 0);
    let more = pay(&stage, 1, 1, 2, ALLOCATION - 2, 0);
    stage.accepts("what is left", &stage.draft(&[first.clone(), all]).mine());
    let block = stage.draft(&[first, more]).mine();
    let evidence = stage.rejects("one more", &block, Rule::BadTxBalance, Some(2));
    let (balance, needed) = (ALLOCATION - 3, ALLOCATION - 2);
    assert_eq!(evidence, Violation::BadTxBalance { transaction: 2, balance, needed });
}

#[test]
fn coins_are_spent_after_they_came() {
    let stage = Stage::new();
    let (funds, spends) = (pay(&stage, 1, 0, 30, 50, 0), pay(&stage, 30, 0, 2, 49, 1));
    let earlier = stage.draft(&[funds.clone(), spends.clone()]).mine();
    stage.accepts("funded earlier", &earlier);
    let later = stage.draft(&[spends, funds]).mine();
    stage.rejects("funded later", &later, Rule::BadTxBalance, Some(1));
    // A reward is credited after the last transaction.
    let mut own = stage.draft(&[pay(&stage, 30, 0, 2, 1, 0)]);
    own.reward.to = account(30);
    stage.rejects("its own reward", &own.mine(), Rule::BadTxBalance, Some(1));
    own.rest.clear();
    let rewarded = own.mine();
    let spends = stage.ledger.block(&rewarded, &[pay(&stage, 30, 0, 2, SUBSIDY / 2, 0)]);
    let validation = stage.ledger.judge_each_way(stage.trunk.iter().chain([&rewarded, &spends]));
    assert_eq!((faults(&validation), tip(&validation).1), (vec![], spends.id()));
}

/// The report says what the ledger holds; what no reward claims is burnt.
#[test]
fn what_a_ledger_holds_at_its_tip() {
    let stage = Stage::new();
    let mut draft = stage.draft(&[pay(&stage, 1, 0, 30, 10, 5), stage.sign(&free(31))]);
    draft.reward.amount -= 3;
    let validation = stage.ledger.judge_each_way(stage.trunk.iter().chain([&draft.mine()]));
    let ledger = validation.ledger.expect("a ledger");
    let subsidies = 4 * SUBSIDY + SUBSIDY / 2;
    assert_eq!(ledger.supply, 8 * ALLOCATION + subsidies - 3);
    // The eight of the beginning, the miner, who was paid and who wrote.
    assert_eq!((ledger.accounts, ledger.transactions), (11, 4 + 3));
    assert_eq!(account(MINER), draft.reward.to);
}
