//! Ten thousand bytes of real blocks changed one at a time: none of these blocks passes, whichever byte it is,
//! and what parses is what rust-bitcoin parses.

mod common;

use bitcoin::consensus::encode::{Error as PeerError, deserialize};
use blockmill::bitcoin::{Block, BlockContext, Network, Params, put_block_record};
use blockmill::compute::Cpu;
use blockmill::primitives::Header;
use blockmill::stages::judge_blocks;
use blockmill::verdict::{Rule, Violation};
use blockmill::wire::Fault;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use common::blocks::{judge_files, options, written};
use common::ledger::Way;
use common::read_data;

/// A real block, where it stands, and how many of its bytes are changed.
const BLOCKS: [(&str, Network, u32, usize); 12] = [
    ("bitcoinj_block_testnet21066", Network::Testnet3, 21_066, 2000),
    ("bitcoinj_block_testnet700000", Network::Testnet3, 700_000, 2000),
    ("testnet3_924634", Network::Testnet3, 924_634, 3200),
    ("bitcoinj_block169482", Network::Main, 169_482, 1200),
    ("bitcoinj_block227836", Network::Main, 227_836, 600),
    ("bitcoinj_block227835", Network::Main, 227_835, 600),
    ("mainnet_300025", Network::Main, 300_025, 200),
    ("bitcoinj_block363703", Network::Main, 363_703, 80),
    ("bitcoinj_block481815", Network::Main, 481_815, 30),
    ("mainnet_702861", Network::Main, 702_861, 30),
    ("mainnet_866342", Network::Main, 866_342, 30),
    ("testnet3_928816", Network::Testnet3, 928_816, 30),
];

/// How many blocks are judged together.
const TOGETHER: usize = 30;

fn read(name: &str) -> Option<Vec<u8>> {
    read_data(&format!("bitcoin-blocks/{name}.raw"))
}

fn mutated(bytes: &[u8], random: &mut StdRng) -> (usize, Vec<u8>) {
    let mut mutated = bytes.to_vec();
    // Every other one near the front, where a small block's numbers stand and a large one's coinbase.
    let place = if random.random_range(0..2) == 0 {
        random.random_range(0..bytes.len().min(400))
    } else {
        random.random_range(0..bytes.len())
    };
    mutated[place] ^= match random.random_range(0..4) {
        0 => 1 << random.random_range(0..8),
        1 => 0xff,
        2 => mutated[place], // to zero
        _ => random.random_range(1..=255),
    };
    if mutated[place] == bytes[place] {
        mutated[place] ^= 1;
    }
    (place, mutated)
}

/// Whether both parse a block, or neither; but for two forms on which Core differs from rust-bitcoin.
fn parses_as_rust_bitcoin_does(what: &str, bytes: &[u8]) -> bool {
    let ours = Block::parse(bytes);
    let theirs = deserialize::<bitcoin::Block>(bytes);
    match (&ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.transactions().len(), theirs.txdata.len(), "{what}");
            let weight = 3 * ours.stripped_len() + ours.encoded_len();
            assert_eq!(weight as u64, theirs.weight().to_wu(), "{what}");
            for (ours, theirs) in ours.transactions().iter().zip(&theirs.txdata) {
                assert_eq!(ours.id().to_string(), theirs.compute_txid().to_string(), "{what}");
            }
        }
        (Err(_), Err(_)) => {}
        // No inputs, and a flag of zero: Core takes the flag for the count of the outputs, and reads a
        // transaction without either; rust-bitcoin knows no such flag.
        (Ok(ours), Err(PeerError::UnsupportedSegwitFlag(0))) => {
            assert!(ours.transactions().iter().any(|each| each.inputs().len() == 0), "{what}");
        }
        // Marker and flag, and no inputs: there is no witness, which Core calls a superfluous record;
        // rust-bitcoin itself writes transactions without inputs in that form, and reads them.
        (Err(error), Ok(theirs)) => {
            assert!(matches!(error.malformed.fault, Fault::NotAllowed(_)), "{what}: {error}");
            assert!(theirs.txdata.iter().any(|each| each.input.is_empty()), "{what}");
        }
        (Ok(_), Err(error)) => panic!("{what}: rust-bitcoin says {error}"),
    }
    ours.is_ok()
}

#[test]
fn no_changed_byte_passes() {
    let cpu = Cpu::new(2).expect("threads");
    let mut random = StdRng::seed_from_u64(2012);
    let (mut tried, mut parsed, mut by_header) = (0, 0, 0);
    for (name, network, height, count) in BLOCKS {
        let Some(honest) = read(name) else { continue };
        let params = Params::of(network);
        let context = BlockContext { height: Some(height), median_time_past: None };
        let verdict = judge_blocks(&[(&honest, context)], &params, &cpu);
        assert_eq!(verdict, [Ok(())], "{name}");
        let mut left = count;
        while left > 0 {
            let changed: Vec<_> =
                (0..left.min(TOGETHER)).map(|_| mutated(&honest, &mut random)).collect();
            left -= changed.len();
            tried += changed.len();
            let batch: Vec<_> = changed.iter().map(|(_, bytes)| (&bytes[..], context)).collect();
            let verdicts = judge_blocks(&batch, &params, &cpu);
            for ((place, bytes), verdict) in changed.iter().zip(verdicts) {
                let what = format!("{name}, byte {place}: {:02x}", bytes[*place]);
                let parses = parses_as_rust_bitcoin_does(&what, bytes);
                let rule = verdict.expect_err(&what).rule();
                parsed += usize::from(parses);
                if *place < Header::LEN {
                    // What the proof of work is for.
                    assert_eq!(rule, Rule::HighHash, "{what}");
                    by_header += 1;
                } else {
                    assert!(rule.is_mutation(), "{what}: {rule}");
                    assert_eq!(parses, rule != Rule::BadEncoding, "{what}: {rule}");
                }
            }
        }
    }
    if tried > 0 {
        assert_eq!(tried, 10_000);
        assert!(parsed > 5000 && by_header > 500, "{parsed}, {by_header}");
    }
}

/// Before segwit nothing commits to a witness, so that no witness may pass, whatever its bytes.
#[test]
fn before_segwit_no_byte_of_a_witness_is_free() {
    let Some(honest) = read("testnet3_924634") else { return };
    let mut params = Params::of(Network::Testnet3);
    params.heights.segwit = 1_000_000;
    let context = BlockContext { height: Some(924_634), median_time_past: None };
    let cpu = Cpu::new(1).expect("a thread");
    let mut random = StdRng::seed_from_u64(141);
    let judge = |bytes: &[u8]| judge_blocks(&[(bytes, context)], &params, &cpu)[0];
    let rule = |verdict: Result<(), Violation>| verdict.expect_err("not before segwit").rule();
    assert_eq!(rule(judge(&honest)), Rule::UnexpectedWitness);
    for _ in 0..500 {
        let (place, bytes) = mutated(&honest, &mut random);
        let found = rule(judge(&bytes));
        assert!(found.is_mutation() || place < Header::LEN, "{place}: {found}");
    }
    // Without its witnesses it is the same block, and passes.
    let mut bare: bitcoin::Block = deserialize(&honest).expect("a block");
    for input in bare.txdata.iter_mut().flat_map(|each| &mut each.input) {
        input.witness.clear();
    }
    let bare = bitcoin::consensus::encode::serialize(&bare);
    assert_eq!(judge(&bare), Ok(()));
    params.heights.segwit = 924_634;
    let active = judge_blocks(&[(&bare, context)], &params, &cpu)[0];
    assert_eq!(rule(active), Rule::BadWitnessNonceSize);
}

/// The same through files, where a change may also move the end of the block.
#[test]
fn no_changed_byte_passes_in_a_file() {
    let (name, network, height, _) = BLOCKS[2];
    let Some(honest) = read(name) else { return };
    let mut random = StdRng::seed_from_u64(34);
    let mut options = options(Some(network), &Way::PLAIN);
    options.headers.start_height = Some(height);
    for _ in 0..60 {
        let mut file = Vec::new();
        put_block_record(&mut file, network.magic(), &honest);
        let mut changed = 0;
        for _ in 0..10 {
            let (place, bytes) = mutated(&honest, &mut random);
            // Another version or parent makes another block, which does not connect.
            if place >= Header::LEN {
                put_block_record(&mut file, network.magic(), &bytes);
                changed += 1;
            }
        }
        put_block_record(&mut file, network.magic(), &honest);
        let (_folder, paths) = written(&[file]);
        let validation = judge_files(&paths, &options, &Way::PLAIN);
        let outcome = validation.outcome.expect("an outcome");
        let blocks = outcome.blocks;
        assert_eq!((blocks.seen, blocks.rejected), (changed + 2, changed));
        assert_eq!((blocks.best_branch, blocks.duplicates), (1, 1));
        assert!(outcome.rejections.iter().all(|each| each.violation.rule().is_mutation()));
    }
}

/// The two forms that rust-bitcoin reads in another way than Core.
#[test]
fn where_rust_bitcoin_differs_from_core() {
    let with = |transaction: &[u8]| {
        let genesis = Params::of(Network::Main).genesis;
        [&genesis.as_bytes()[..], &[1], transaction].concat()
    };
    let nothing = with(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(parses_as_rust_bitcoin_does("no inputs, no outputs", &nothing));
    assert!(deserialize::<bitcoin::Block>(&nothing).is_err());
    let output = [9, 0, 0, 0, 0, 0, 0, 0, 1, 0x51];
    let flagged = with(&[&[2, 0, 0, 0, 0, 1, 0, 1][..], &output, &[0; 4]].concat());
    assert!(!parses_as_rust_bitcoin_does("marker, flag, no inputs", &flagged));
    assert!(deserialize::<bitcoin::Block>(&flagged).is_ok());
}
