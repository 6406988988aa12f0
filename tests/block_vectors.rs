//! What others published about Bitcoin's blocks: real blocks, Bitcoin Core's own test of blocks as it was
//! recorded, and vectors of transactions. What is expected comes from where the data comes from.

mod common;

use std::collections::{HashMap, HashSet};

use bitcoin::consensus::encode::deserialize;
use blockmill::bitcoin::{
    BlockContext, BodyRules, FUTURE_MAX_S, Network, Params, Transaction, check_transaction,
};
use blockmill::compute::{Backend, Reference};
use blockmill::primitives::{Header, merkle_root};
use blockmill::stages::{BlockOptions, judge_blocks};
use blockmill::verdict::{Rule, Violation};
use serde_json::Value;

use common::blocks::{judge_files, judge_files_on, options, written};
use common::ledger::{Way, faults, summary, tip};
use common::{data, read_data};

// --- Bitcoin Core's test of blocks ---

/// Reasons that need the outputs which a transaction spends.
const NEED_INPUTS: [&str; 7] = [
    "bad-cb-amount",
    "bad-txns-in-belowout",
    "bad-txns-inputs-missingorspent",
    "bad-txns-premature-spend-of-coinbase",
    "block-script-verify-flag-failed",
    // As the recording names a script that fails.
    "disabled",
    "mandatory-script-verify-flag-failed",
];

/// The one block whose signature operations stand in the scripts of pay-to-script-hash, which only inputs show.
const NEEDS_INPUTS_FOR_SIGOPS: &str = "40";

/// The clock of the recording.
const RECORDED_AT: u64 = 1_795_445_005;

/// A block that was sent.
struct Sent {
    offset: u64,
    label: String,
    height: u32,
    id: String,
    parent: String,
    /// The reject reason, if it needs no inputs.
    reason: Option<String>,
}

fn sent(manifest: &[u8]) -> Vec<Sent> {
    let manifest = std::str::from_utf8(manifest).expect("text");
    let parse = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line");
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let label = text("label").expect("a label");
        // An id ends at the first comma, space or parenthesis.
        let id =
            |reason: String| reason.split([',', ' ', '(']).next().expect("a first part").to_owned();
        let reason = text("reject_reason").map(id).filter(|id| {
            let sigops = id == "bad-blk-sigops" && label == NEEDS_INPUTS_FOR_SIGOPS;
            !NEED_INPUTS.contains(&id.as_str()) && !sigops
        });
        Sent {
            offset: line["offset"].as_u64().expect("an offset"),
            height: u32::try_from(line["height"].as_u64().expect("a height")).expect("small"),
            id: text("hash").expect("an id"),
            parent: text("prev").expect("an id"),
            label,
            reason,
        }
    };
    manifest.lines().map(parse).collect()
}

/// What the recording implies for a clock that stands still: rule and height by offset.
fn expected(sent: &[Sent]) -> Vec<(u64, String, Option<u32>)> {
    let is_mutation = |id: &str| Rule::ALL.iter().any(|rule| rule.id() == id && rule.is_mutation());
    let mut condemned: HashMap<&str, String> = HashMap::new();
    for block in sent {
        if let Some(reason) = block.reason.as_deref().filter(|reason| !is_mutation(reason)) {
            condemned.insert(&block.id, reason.to_owned());
        }
    }
    // Parents were sent before their children.
    for block in sent {
        if condemned.contains_key(block.parent.as_str()) {
            condemned.insert(&block.id, "bad-prevblk".into());
        }
    }
    sent.iter()
        .filter_map(|block| {
            let rule = condemned.get(block.id.as_str()).or(block.reason.as_ref())?;
            Some((block.offset, rule.clone(), Some(block.height)))
        })
        .collect()
}

fn core_options(way: &Way) -> BlockOptions {
    let mut options = options(Some(Network::Regtest), way);
    options.headers.now = RECORDED_AT;
    options.headers.activation_heights = vec![("bip34".into(), 2)];
    options
}

#[test]
fn cores_test_of_blocks() {
    let name = "bitcoin-vectors/core_feature_block_part1";
    let Some(path) = data(&format!("{name}.blk.dat.bz2")) else { return };
    let Some(manifest) = read_data(&format!("{name}.manifest.jsonl")) else { return };
    let sent = sent(&manifest);
    let expected = expected(&sent);
    // What the derivation must have found.
    let labels = |rule: &str| {
        let of_rule = expected.iter().filter(|(_, found, _)| found == rule);
        let label = |offset| sent.iter().find(|each| each.offset == offset).map(|each| &each.label);
        of_rule.filter_map(|(offset, ..)| label(*offset)).map(String::as_str).collect::<Vec<_>>()
    };
    assert_eq!(labels("bad-prevblk"), ["25", "27", "29", "48p"]);
    assert_eq!(labels("time-too-new"), ["48", "48"]);
    let rules: HashSet<_> = expected.iter().map(|(_, rule, _)| rule.as_str()).collect();
    assert!(rules.len() > 15, "{rules:?}");
    let paths = [path];
    let mut first = None;
    for way in Way::EACH {
        let validation = judge_files(&paths, &core_options(&way), &way);
        let outcome = validation.outcome.as_ref().expect("an outcome");
        let found: Vec<_> = outcome
            .rejections
            .iter()
            .map(|each| (each.position.0, each.violation.rule().id().to_owned(), each.height))
            .collect();
        assert_eq!(found, expected, "{way:?}");
        assert_eq!(outcome.blocks.seen, sent.len() as u64 + 1, "genesis too");
        assert_eq!((outcome.blocks.orphans, outcome.blocks.unconnected), (0, 0));
        let summary = summary(&validation);
        assert_eq!(*first.get_or_insert_with(|| summary.clone()), summary, "{way:?}");
    }
    if let Some(gpu) = common::test_gpu() {
        let way = Way::EACH[4];
        let validation = judge_files_on(&gpu, &paths, &core_options(&way)).expect("a judgement");
        assert_eq!(Some(summary(&validation)), first);
        assert_eq!(gpu.tally().mismatches, 0);
    }
}

// --- real blocks ---

/// The files of one validation, the network, and the height that it must be told.
type RealBlocks = (&'static [&'static str], Network, Option<u32>, u64);

/// Real blocks, with how many there are.
const REAL: [RealBlocks; 21] = [
    (&["mainnet_0-4312.blk.dat"], Network::Main, None, 4313),
    (
        &[
            "btcd_blk_0_to_4.dat.bz2",
            "btcd_blk_3A.dat.bz2",
            "btcd_blk_4A.dat.bz2",
            "btcd_blk_5A.dat.bz2",
        ],
        Network::Main,
        None,
        8,
    ),
    (&["mainnet_1-255.blk.bz2"], Network::Main, None, 255),
    (&["mainnet_277647.blk.bz2"], Network::Main, Some(277_647), 1),
    (&["mainnet_831328-831331.blk.dat"], Network::Main, Some(831_328), 4),
    (&["mainnet_866342.raw"], Network::Main, Some(866_342), 1),
    (&["mainnet_702861.raw"], Network::Main, Some(702_861), 1),
    (&["testnet3_924634.raw"], Network::Testnet3, Some(924_634), 1),
    (&["mainnet_413567.raw"], Network::Main, Some(413_567), 1),
    (&["testnet3_3802508-3802509.blk.dat"], Network::Testnet3, Some(3_802_508), 2),
    (&["bitcoinj_block169482.raw"], Network::Main, Some(169_482), 1),
    (&["bitcoinj_block227835.raw"], Network::Main, Some(227_835), 1),
    (&["bitcoinj_block227835.raw", "bitcoinj_block227836.raw"], Network::Main, Some(227_835), 2),
    (&["bitcoinj_block363703.raw"], Network::Main, Some(363_703), 1),
    (&["bitcoinj_block481815.raw"], Network::Main, Some(481_815), 1),
    (&["bitcoinj_block_testnet21066.raw"], Network::Testnet3, Some(21_066), 1),
    (&["bitcoinj_block_testnet700000.raw"], Network::Testnet3, Some(700_000), 1),
    (&["testnet3_928848-928849.blk.dat"], Network::Testnet3, Some(928_848), 2),
    (&["testnet3_928816.raw"], Network::Testnet3, Some(928_816), 1),
    (&["mainnet_300025.raw"], Network::Main, Some(300_025), 1),
    (&["regtest_0-150.blk.dat"], Network::Regtest, None, 151),
];

#[test]
fn real_blocks_are_valid() {
    for (names, network, start, count) in REAL {
        let paths: Option<Vec<_>> =
            names.iter().map(|name| data(&format!("bitcoin-blocks/{name}"))).collect();
        let Some(paths) = paths else { continue };
        // One way: all ways together judge Core's blocks, and the reference is slow on megabytes.
        let way = Way { threads: 2, overlap: true, ..Way::PLAIN };
        let mut options = options(Some(network), &way);
        options.headers.start_height = start;
        let validation = judge_files(&paths, &options, &way);
        assert_eq!(faults(&validation), [], "{names:?}");
        assert!(validation.error.is_none(), "{names:?}: {:?}", validation.error);
        let outcome = validation.outcome.expect("an outcome");
        let blocks = outcome.blocks;
        assert_eq!((blocks.seen, blocks.best_branch + blocks.side), (count, count), "{names:?}");
        if names.len() == 4 {
            // btcd's branch of three wins over two.
            assert_eq!((blocks.side, outcome.side_branches.len()), (2, 1));
        }
    }
}

/// Real blocks are those of their heights.
#[test]
fn real_blocks_at_wrong_heights() {
    let judge = |name: &str, start: u32| {
        let path = data(&format!("bitcoin-blocks/{name}"))?;
        let mut options = options(Some(Network::Main), &Way::PLAIN);
        options.headers.start_height = Some(start);
        Some(faults(&judge_files(&[path], &options, &Way::PLAIN)))
    };
    // A commitment without any witness, nine blocks before it had to have one. The height comes first.
    let expected = [("bad-cb-height", Some(481_824), Some(0))];
    if let Some(found) = judge("bitcoinj_block481815.raw", 481_824) {
        assert_eq!(found, expected);
    }
    // Witnesses before segwit, where BIP34 was not asked for either; and a wallet locks what it spends to the
    // height at which it does.
    if let Some(found) = judge("mainnet_702861.raw", 200_000) {
        assert_eq!(found, [("bad-txns-nonfinal", Some(200_000), Some(1))]);
    }
    if let Some(found) = judge("mainnet_702861.raw", 702_862) {
        assert_eq!(found, [("bad-cb-height", Some(702_862), Some(0))]);
    }
}

/// BIP158's vectors hold whole blocks of testnet3.
#[test]
fn blocks_of_the_filter_vectors_are_valid() {
    let Some(vectors) = vectors("core_blockfilters.json") else { return };
    let mut judged = 0;
    for vector in vectors {
        let Some(height) = vector[0].as_u64() else { continue };
        let height = u32::try_from(height).expect("small");
        let block = hex::decode(vector[2].as_str().expect("hex")).expect("hex");
        let (_folder, paths) = written(&[block]);
        let mut options = options(Some(Network::Testnet3), &Way::PLAIN);
        options.headers.start_height = (height > 0).then_some(height);
        let validation = judge_files(&paths, &options, &Way::PLAIN);
        assert_eq!(faults(&validation), [], "{height}");
        let (found, id) = tip(&validation);
        assert_eq!((found, id.to_string().as_str()), (height, vector[1].as_str().expect("an id")));
        judged += 1;
    }
    assert_eq!(judged, 10);
}

// --- vectors of blocks ---

/// A vector of btclib.
struct CheckBlock {
    comment: String,
    proof_of_work: bool,
    clock: u64,
    block: Vec<u8>,
}

fn check_blocks(name: &str) -> Option<Vec<CheckBlock>> {
    let vectors = vectors(&format!("btclib_checkblock_{name}.json"))?;
    let vector = |vector: &Value| {
        // Comments stand alone.
        let [comment, _, proof_of_work, clock, block] = &vector.as_array()?[..] else {
            return None;
        };
        Some(CheckBlock {
            comment: comment.as_str()?.into(),
            proof_of_work: proof_of_work.as_bool()?,
            clock: clock.as_u64()?,
            block: hex::decode(block.as_str()?).ok()?,
        })
    };
    Some(vectors.iter().filter_map(vector).collect())
}

/// The list that a file of vectors is.
fn vectors(name: &str) -> Option<Vec<Value>> {
    let bytes = read_data(&format!("bitcoin-vectors/{name}"))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Array(list)) => Some(list),
        other => panic!("{name} is no list: {other:?}"),
    }
}

/// What the rules say that need no blocks before; the proof of work among them if it counts.
fn check(block: &[u8], proof_of_work: bool, clock: u64) -> Result<(), Violation> {
    let params = Params::of(Network::Main);
    let header = Header::from_bytes(*block.first_chunk().expect("a header"));
    if u64::from(header.time()) > clock + FUTURE_MAX_S && clock > 0 {
        // Genesis, which is never held against the clock here.
        return Err(Violation::TimeTooNew { latest: clock + FUTURE_MAX_S, found: header.time() });
    }
    if proof_of_work {
        let verdicts = judge_blocks(&[(block, BlockContext::default())], &params, &Reference);
        return verdicts.into_iter().next().expect("one verdict");
    }
    let rules = BodyRules::new(&params);
    let parsed = rules.parse(block)?;
    let ids: Vec<_> = parsed.transactions().iter().map(Transaction::id).collect();
    if !ids.is_empty() {
        rules.check_merkle(&parsed, merkle_root(&ids)).map_err(Violation::Block)?;
    }
    rules.check_block(&parsed)
}

#[test]
fn btclibs_vectors_of_blocks() {
    let Some(valid) = check_blocks("valid") else { return };
    assert_eq!(valid.len(), 4);
    for CheckBlock { comment, proof_of_work, clock, block } in valid {
        assert_eq!(check(&block, proof_of_work, clock), Ok(()), "{comment}");
    }
    let Some(invalid) = check_blocks("invalid") else { return };
    let rules = [
        ("two hours + 1 second behind", Rule::TimeTooNew),
        ("one byte changed", Rule::HighHash),
        ("Empty vtx", Rule::BadBlkLength),
        ("not a coinbase", Rule::BadCbMissing),
        ("More than one coinbase", Rule::BadCbMultiple),
        // Block 170 with its second transaction twice, which makes another root: that comes first.
        ("Duplicate transaction", Rule::BadTxnMrklRoot),
        ("Merkle root mismatch", Rule::BadTxnMrklRoot),
    ];
    assert_eq!(invalid.len(), rules.len());
    for CheckBlock { comment, proof_of_work, clock, block } in invalid {
        let (_, rule) = rules.iter().find(|(part, _)| comment.contains(part)).expect(&comment);
        let verdict = check(&block, proof_of_work, clock);
        assert_eq!(verdict.map_err(|violation| violation.rule()), Err(*rule), "{comment}");
    }
}

// --- vectors of transactions ---

/// The transactions of Bitcoin Core's vectors, and the flags that they come with.
fn transactions(name: &str) -> Option<Vec<(Vec<u8>, String)>> {
    let vectors = vectors(&format!("core_tx_{name}.json"))?;
    let vector = |vector: &Value| {
        let [_, transaction, flags] = &vector.as_array()?[..] else { return None };
        Some((hex::decode(transaction.as_str()?).ok()?, flags.as_str()?.to_owned()))
    };
    Some(vectors.iter().filter_map(vector).collect())
}

/// What the rules say of a transaction; `None` if it is none.
fn check_alone(bytes: &[u8]) -> Option<Result<(), Rule>> {
    let transaction = Transaction::parse(bytes).ok()?;
    let theirs: bitcoin::Transaction = deserialize(bytes).expect("rust-bitcoin reads it");
    assert_eq!(transaction.id().to_string(), theirs.compute_txid().to_string());
    assert_eq!(transaction.encoded_len(), theirs.total_size());
    assert_eq!(transaction.stripped_len(), theirs.base_size());
    assert_eq!(transaction.is_coinbase(), theirs.is_coinbase());
    Some(check_transaction(0, &transaction).map_err(|violation| violation.rule()))
}

#[test]
fn cores_vectors_of_transactions() {
    let Some(valid) = transactions("valid") else { return };
    assert!(valid.len() > 100);
    for (bytes, _) in valid {
        assert_eq!(check_alone(&bytes), Some(Ok(())), "{}", hex::encode(bytes));
    }
    let Some(invalid) = transactions("invalid") else { return };
    assert!(invalid.len() > 90);
    let mut bad = Vec::new();
    for (bytes, flags) in invalid {
        let verdict = check_alone(&bytes);
        if flags.split(',').any(|flag| flag == "BADTX") {
            bad.push(verdict.map_or(Rule::BadEncoding, |verdict| verdict.expect_err("a bad one")));
        } else {
            assert_eq!(verdict, Some(Ok(())), "{}", hex::encode(bytes));
        }
    }
    assert_eq!(
        bad,
        [
            Rule::BadTxnsVoutEmpty,
            Rule::BadTxnsVoutNegative,
            Rule::BadTxnsVoutToolarge,
            Rule::BadTxnsTxouttotalToolarge,
            Rule::BadTxnsInputsDuplicate,
            Rule::BadCbLength,
            Rule::BadCbLength,
            Rule::BadTxnsPrevoutNull,
            Rule::BadTxnsPrevoutNull,
        ]
    );
}

#[test]
fn a_real_block_is_judged_alike_alone_and_in_company() {
    let names = ["mainnet_300025", "bitcoinj_block169482", "bitcoinj_block227835"];
    let blocks: Option<Vec<_>> =
        names.iter().map(|name| read_data(&format!("bitcoin-blocks/{name}.raw"))).collect();
    let Some(blocks) = blocks else { return };
    let heights = [300_025, 169_482, 227_835];
    let params = Params::of(Network::Main);
    let context = |height| BlockContext { height: Some(height), median_time_past: None };
    let mut batch: Vec<_> = blocks.iter().map(Vec::as_slice).zip(heights.map(context)).collect();
    // Without its last byte; with one behind it; too short for a header; nothing.
    let (cut, tail) = (&blocks[1][..blocks[1].len() - 1], [&blocks[1][..], &[0]].concat());
    batch.extend([cut, &tail, &blocks[1][..79], &[]].map(|bytes| (bytes, context(169_482))));
    let cpu = blockmill::compute::Cpu::new(2).expect("threads");
    for backend in [&cpu as &dyn Backend, &Reference] {
        let together = judge_blocks(&batch, &params, backend);
        let rules: Vec<_> =
            together.iter().map(|verdict| verdict.map_err(|violation| violation.rule())).collect();
        let bad = Err(Rule::BadEncoding);
        assert_eq!(rules, [Ok(()), Ok(()), Ok(()), bad, bad, bad, bad]);
        for (one, verdict) in batch.iter().zip(&together) {
            assert_eq!(judge_blocks(&[*one], &params, backend), [*verdict]);
        }
    }
}
