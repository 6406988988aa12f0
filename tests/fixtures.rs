//! The files in `fixtures/` are what this project makes, byte for byte.

mod common;

use std::path::Path;

use blockmill::bitcoin::{Network, Params};

use common::chain::{dump, extend, from_genesis};

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

fn assert_is(bytes: &[u8], name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if std::env::var_os("BLOCKMILL_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&file, bytes).expect("a writable checkout");
    }
    let stored = std::fs::read(&file).expect("a fixture");
    // Not `assert_eq!`, which would print them.
    assert!(stored == bytes, "{} differs from what this test makes", file.display());
}
