//! Real chains of headers, whole and damaged.

mod common;

use blockmill::bitcoin::{Network, Params};
use blockmill::primitives::Header;
use blockmill::verdict::Violation;

use common::judge::{judge, judge_files, options, rejections};
use common::{data, read_data};

fn headers(bytes: &[u8]) -> Vec<Header> {
    bytes.as_chunks().0.iter().map(|bytes| Header::from_bytes(*bytes)).collect()
}

#[test]
fn chains_from_genesis_are_valid_to_their_tips() {
    let chains = [
        (
            "mainnet_0-10236.hdr",
            "main",
            10_236,
            "000000004f74d42205b9d7ae1cb5c1591e723894a71358fce73b7e0919628161",
        ),
        (
            "mainnet_0-32260.hdr",
            "main",
            32_260,
            "0000000007bfbe7ec5510ccf80c5a291bf8fc603dd79f5d6a69fae6039f8a35e",
        ),
        (
            "signet_0-2015.hdr",
            "signet",
            2015,
            "000000c0a3841a6ae64c45864ae25314b40fd522bfb299a4b6bd5ef288cae74d",
        ),
    ];
    for (file, network, height, id) in chains {
        let Some(path) = data(&format!("bitcoin-headers/{file}")) else { return };
        let validation = judge_files(&[path], &options(None)).expect("a judgement");
        assert_eq!(validation.params.expect("recognised").name, network);
        let outcome = validation.outcome.expect("an outcome");
        assert_eq!((outcome.tip.height, outcome.tip.id.to_string().as_str()), (height, id));
        assert_eq!(outcome.blocks.best_branch, u64::from(height) + 1);
        assert_eq!(outcome.blocks.seen, outcome.blocks.best_branch, "{file}");
        assert!(validation.error.is_none());
    }
}

#[test]
fn the_retarget_at_32256_is_where_difficulty_first_changed() {
    let Some(bytes) = read_data("bitcoin-headers/mainnet_0-32260.hdr") else { return };
    let chain = headers(&bytes);
    assert_ne!(chain[32_255].bits(), chain[32_256].bits());
    // A node that started its window one block earlier would ask for other bits.
    let params = Params::of(Network::Main);
    let right = blockmill::bitcoin::retarget(
        &params,
        chain[32_255].bits(),
        chain[30_240].time(),
        chain[32_255].time(),
    );
    let wrong = blockmill::bitcoin::retarget(
        &params,
        chain[32_255].bits(),
        chain[30_239].time(),
        chain[32_255].time(),
    );
    assert_eq!(right, chain[32_256].bits());
    assert_ne!(wrong, right);
}

#[test]
fn a_chain_from_the_middle_needs_a_start_and_says_what_it_trusts() {
    let Some(path) = data("bitcoin-headers/mainnet_822528-830592.hdr") else { return };
    let paths = [path];
    let error = judge_files(&paths, &options(None)).expect_err("no genesis in it");
    assert_eq!((error.kind(), error.exit_code()), ("usage", 2));

    let main = options(Some(Params::of(Network::Main)));
    let lost = judge_files(&paths, &main).expect("a judgement");
    assert_eq!(lost.error.expect("nothing connects").exit_code(), 3);
    assert_eq!(lost.outcome.expect("an outcome").blocks.orphans, 8065);

    let started = blockmill::stages::Options { start_height: Some(822_528), ..main.clone() };
    let validation = judge_files(&paths, &started).expect("a judgement");
    let outcome = validation.outcome.expect("an outcome");
    assert_eq!((outcome.tip.height, outcome.blocks.best_branch), (830_592, 8065));
    assert_eq!(
        outcome.tip.id.to_string(),
        "00000000000000000000506183a8b30fa3224b85e82a70416e1d594bdb632fdb"
    );
    // Four real retargets, the first of them with its window whole.
    let trusted = validation.trusted.expect("a start on trust");
    assert_eq!((trusted.retarget_from, trusted.median_from), (Some(824_544), 822_539));
    assert!(validation.error.is_none());
}

#[test]
fn a_start_at_the_wrong_height_is_found_out() {
    let Some(path) = data("bitcoin-headers/mainnet_822528-830592.hdr") else { return };
    // Off by one, the boundaries of the periods are off by one as well.
    for wrong in [822_527, 822_529] {
        let main = options(Some(Params::of(Network::Main)));
        let started = blockmill::stages::Options { start_height: Some(wrong), ..main };
        let validation = judge_files(std::slice::from_ref(&path), &started).expect("a judgement");
        assert!(
            rejections(&validation).contains(&("bad-diffbits", Some(824_544 + wrong - 822_528)))
        );
    }
}

#[test]
fn a_start_within_a_period_checks_the_first_retarget_by_its_range() {
    let Some(bytes) = read_data("bitcoin-headers/mainnet_822528-830592.hdr") else { return };
    let chain = headers(&bytes);
    let main = options(Some(Params::of(Network::Main)));
    let started = blockmill::stages::Options { start_height: Some(823_528), ..main };
    let validation = judge(&chain[1000..], &started);
    assert_eq!(rejections(&validation), []);
    assert_eq!(validation.trusted.expect("a start").retarget_from, Some(826_560));
}

#[test]
fn testnet3_with_its_side_branch() {
    let Some(text) = read_data("bitcoin-headers/testnet3_core_blockheader_testnet3.hex") else {
        return;
    };
    let text = String::from_utf8(text).expect("text").replace("fork:", "");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("testnet3.hex");
    std::fs::write(&file, text).expect("a file");
    let validation = judge_files(&[file], &options(None)).expect("a judgement");
    assert_eq!(validation.params.expect("recognised").name, "testnet3");
    let outcome = validation.outcome.expect("an outcome");
    // The file begins at height 1: genesis is known, but not counted.
    assert_eq!(
        (outcome.tip.height, outcome.blocks.best_branch, outcome.blocks.side),
        (546, 546, 2)
    );
    let [branch] = outcome.side_branches[..] else { panic!("one side branch") };
    assert_eq!((branch.fork_height, branch.tip.height), (0, 2));
    assert_eq!(
        branch.tip.id.to_string(),
        "00000000b0494bd6c3d5ff79c497cfce40831871cbf39b1bc28bd1dac817dc39"
    );
    assert!(outcome.rejections.is_empty());
}

/// Any change to a real header breaks its proof of work, and nothing else can be said of it.
#[test]
fn damaged_headers_are_high_hash_and_their_descendants_bad_prevblk() {
    let Some(bytes) = read_data("bitcoin-headers/mainnet_0-10236.hdr") else { return };
    let chain = headers(&bytes[..300 * Header::LEN]);
    let main = options(Some(Params::of(Network::Main)));
    for place in 0..Header::LEN {
        let at = 7 + 3 * place;
        let mut damaged = chain.clone();
        let mut bytes = *damaged[at].as_bytes();
        bytes[place] ^= 1 << (place % 8);
        damaged[at] = Header::from_bytes(bytes);
        let validation = judge(&damaged, &main);
        let found = rejections(&validation);
        assert_eq!(found.len(), 1, "byte {place}: {found:?}");
        // A damaged parent field leads nowhere, so the height is not known.
        let height = u32::try_from(at).ok().filter(|_| !(4..36).contains(&place));
        assert_eq!(found[0], ("high-hash", height), "byte {place}");
        // Its child names the honest id, which is missing: an orphan, and so are the rest.
        let blocks = validation.outcome.expect("an outcome").blocks;
        assert_eq!(blocks.orphans, (300 - at - 1) as u64);
        assert_eq!(blocks.best_branch, at as u64);
    }
}

/// Real headers of blocks that the network rejected, for reasons that lie outside the header: in
/// the body, or in the times of ancestors that are not known here.
#[test]
fn headers_of_rejected_blocks_pass_alone() {
    let Some(text) = read_data("bitcoin-vectors/mainnet_invalid_headers_sample.jsonl") else {
        return;
    };
    let mut seen = 0;
    for line in String::from_utf8(text).expect("text").lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let mut bytes = [0; Header::LEN];
        hex::decode_to_slice(record["header"].as_str().expect("hex"), &mut bytes).expect("hex");
        let header = Header::from_bytes(bytes);
        assert_eq!(header.id().to_string(), record["hash"].as_str().expect("a hash"));
        let height = record["height"].as_u64().and_then(|height| u32::try_from(height).ok());
        let started = blockmill::stages::Options {
            start_height: height,
            ..options(Some(Params::of(Network::Main)))
        };
        let outcome = judge(&[header], &started).outcome.expect("an outcome");
        assert_eq!((outcome.blocks.rejected, outcome.tip.id), (0, header.id()));
        bytes[40] ^= 1;
        let outcome = judge(&[header, Header::from_bytes(bytes)], &started).outcome;
        let rejected = outcome.expect("an outcome").rejections;
        assert!(matches!(rejected[0].violation, Violation::HighHash { .. }));
        seen += 1;
    }
    assert_eq!(seen, 5);
}
