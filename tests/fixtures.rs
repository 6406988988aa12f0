//! The files in `fixtures/` are what this project makes, byte for byte.

mod common;

use std::path::Path;
use std::process::Command;

use blockmill::bitcoin::{Network, Params};

use common::chain::{dump, extend, from_genesis};
use common::chain_file::header_file;
#[cfg(feature = "mine")]
use common::chain_file::{ledger_file, small_ledger, up_to_the_side_branch};
use common::mined;
use serde_json::Value;

#[test]
fn regtest_chain() {
    let mut chain = from_genesis(&Params::of(Network::Regtest), 2100);
    let branch = extend(&chain[2000], 3, 1);
    chain.extend(branch);
    assert_is(&dump(&chain), "regtest.hdr");
}

/// What the README's main job validates. It holds every encoding of the ledger still: parameters,
/// transactions, blocks and dump.
#[cfg(feature = "mine")]
#[test]
fn demo_ledger() {
    use blockmill::ledger::generate::{Options, Progress, generate};

    let options = Options {
        seed: "demo".into(),
        blocks: 40,
        transactions: 60,
        accounts: 50,
        payload_bytes: (50, 200),
        memo_bytes: (0, 0),
        records_percent: 10,
        forks: 4,
    };
    let mut bytes = Vec::new();
    generate(&options, 1, &Progress::default(), &mut bytes).expect("memory takes it");
    assert_is(&bytes, "demo.dump");
}

/// A chain file of headers with a reorganisation in it.
#[test]
fn chain_file_of_headers() {
    let chain = from_genesis(&Params::of(Network::Regtest), 12);
    let branch = [&chain[..8], &extend(&chain[7], 9, 1)].concat();
    let bytes = header_file(&[chain, branch.clone()]).bytes();
    assert_is(&bytes, "golden-headers.bmchain");
}

/// The blocks of a chain file with a reorganisation in it, in the order in which it took them.
fn golden_blocks() -> [Vec<Vec<u8>>; 2] {
    let chain = mined::from_genesis(9);
    let branch = [chain[..6].to_vec(), mined::extend(&chain[5], 5, 7, 1)].concat();
    [chain, branch]
}

/// A chain file of Bitcoin's blocks, and one from the time when none of them stood in columns.
#[test]
fn chain_file_of_blocks() {
    let dumps = golden_blocks();
    assert_is(&mined::block_file(&dumps).bytes(), "golden-blocks.bmchain");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for name in ["golden-blocks.bmchain", "golden-blocks-plain.bmchain"] {
        let bytes = std::fs::read(folder.join(name)).expect("a fixture");
        assert!(mined::best_branch(&bytes) == dumps[1], "{name}");
    }
}

/// A chain file of a ledger with everything in it, a reorganisation included.
#[cfg(feature = "mine")]
#[test]
fn chain_file_of_a_ledger() {
    let dump = small_ledger();
    let bytes = ledger_file(&[up_to_the_side_branch(&dump), dump]).bytes();
    assert_is(&bytes, "golden-ledger.bmchain");
}

/// Every later version must open these files: they stay as they are.
#[test]
fn golden_chain_files_open_and_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for (name, height, reorganisations) in [
        ("golden-headers.bmchain", 16, 1),
        ("golden-blocks.bmchain", 12, 1),
        ("golden-blocks-plain.bmchain", 12, 1),
        ("golden-ledger.bmchain", 6, 1),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_blockmill"))
            .args(["chain", "check", "--format", "json"])
            .arg(folder.join(name))
            .output()
            .expect("the program runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert_eq!(report["tip"]["height"], height);
        assert_eq!(report["reorganisations"], reorganisations);
    }
}

fn assert_is(bytes: &[u8], name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if std::env::var_os("BLOCKMILL_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&file, bytes).expect("a writable checkout");
    }
    let stored = std::fs::read(&file).expect("a fixture");
    // Not `assert_eq!`, which would print them.
    assert!(stored == bytes, "{} differs from what this test makes", file.display());
}
