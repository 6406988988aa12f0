//! What a chain file makes of the bytes of a block, and back: to the byte, for every block that parses.

mod common;

use blockmill::bitcoin::{Block, LoadedBlocks, Network, Params};
use blockmill::primitives::{Header, merkle_root};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use common::chain_file::{Shared, dissect};
use common::mined::{Draft, blocks_of, from_genesis};
use common::read_data;

/// A file that takes one block after the other, whatever is in them.
struct File {
    loaded: LoadedBlocks,
    file: Shared,
    height: u32,
}

impl File {
    fn new() -> Self {
        let params = Params::of(Network::Regtest);
        let file = Shared::of(LoadedBlocks::empty_file(&params));
        let loaded = LoadedBlocks::open(file.boxed(), |_| Ok(())).expect("an empty file");
        Self { loaded, file, height: 0 }
    }

    /// Appends the transactions of `block`, which nobody judges, and reads them back.
    fn takes(&mut self, block: &[u8]) {
        let parsed = Block::parse(block).expect("a block");
        let ids: Vec<_> = parsed.transactions().iter().map(|each| each.id()).collect();
        let LoadedBlocks { store, tree } = &mut self.loaded;
        let parent = tree.block(store.tip());
        let (time, id, bits) = (parent.time(), parent.id(), parent.bits());
        let root = merkle_root(&ids);
        let header = (0..)
            .map(|nonce| Header::from_fields(4, id, root, time + 1, bits, nonce))
            .find(|header| header.is_solved_by(&header.id()))
            .expect("an easy target");
        let bytes = [header.as_bytes(), &block[Header::LEN..]].concat();
        let number = tree.insert_known(&header, header.id()).expect("a sound header");
        store.append(number, &bytes, time).expect("memory");
        self.height += 1;
        let found = store.body(number, tree.block(number)).expect("a body");
        assert!(found == bytes, "block {}", hex::encode(&bytes[..bytes.len().min(2000)]));
    }

    /// Commits, and reads all of it again. Gives the bytes of all payloads.
    fn holds(mut self) -> Vec<Vec<u8>> {
        let LoadedBlocks { store, tree } = &mut self.loaded;
        store.commit(tree.block(store.tip())).expect("memory");
        let again = LoadedBlocks::open(self.file.boxed(), |_| Ok(())).expect("a sound file");
        assert_eq!(again.tree.block(again.store.tip()).height(), self.height);
        dissect(&self.file.bytes()).frames.into_iter().map(|(.., payload)| payload).collect()
    }
}

/// How the transactions of a payload are packed: the byte behind version, time, nonce and length.
fn arrangement(payload: &[u8]) -> u8 {
    let mut at = 4;
    for skip in [4, 0] {
        at += payload[at..].iter().position(|byte| byte & 0x80 == 0).expect("a number") + 1 + skip;
    }
    payload[at]
}

const PLAIN: u8 = 0x28;

/// Real blocks of every age.
fn real() -> Vec<(&'static str, f64, Vec<Vec<u8>>)> {
    let files = [
        ("mainnet_0-4312.blk.dat", 0.62),
        ("bitcoinj_block169482.raw", 0.75),
        ("bitcoinj_block227835.raw", 0.75),
        ("mainnet_300025.raw", 0.72),
        ("bitcoinj_block363703.raw", 0.68),
        ("mainnet_413567.raw", 0.81),
        ("bitcoinj_block481815.raw", 0.78),
        ("mainnet_702861.raw", 0.80),
        ("mainnet_831328-831331.blk.dat", 0.62),
        ("mainnet_866342.raw", 0.56),
        ("testnet3_928848-928849.blk.dat", 0.60),
        ("testnet3_3802508-3802509.blk.dat", 0.60),
    ];
    let read = |(name, most): (&'static str, f64)| {
        let bytes = read_data(&format!("bitcoin-blocks/{name}"))?;
        let blocks = if name.ends_with("raw") { vec![bytes] } else { blocks_of(&bytes) };
        Some((name, most, blocks))
    };
    files.into_iter().filter_map(read).collect()
}

#[test]
fn real_blocks_shrink_and_come_back() {
    for (name, most, blocks) in real() {
        let mut file = File::new();
        blocks.iter().for_each(|block| file.takes(block));
        let payloads = file.holds();
        let bytes: usize = blocks.iter().map(|block| block.len()).sum();
        let packed: usize = payloads.iter().map(Vec::len).sum();
        let ratio = packed as f64 / bytes as f64;
        eprintln!("{name}: {ratio:.3}");
        assert!(ratio <= most, "{name}: {ratio}");
        assert!(payloads.iter().all(|payload| arrangement(payload) != PLAIN), "{name}");
    }
}

/// Every block that the parser takes, however unlikely.
#[test]
fn mutated_blocks_come_back() {
    let seed = std::env::var("BLOCKMILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("BLOCKMILL_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut blocks = from_genesis(30);
    blocks.extend(
        real()
            .into_iter()
            .flat_map(|(.., blocks)| blocks)
            .filter(|block| block.len() < 20_000)
            .take(50),
    );
    let mut file = File::new();
    let mut mutants = 0;
    while mutants < 10_000 {
        let mut block = blocks[rng.random_range(0..blocks.len())].clone();
        for _ in 0..rng.random_range(1..6) {
            let place = rng.random_range(Header::LEN..block.len());
            match rng.random_range(0..8) {
                0 => block[place] = rng.random(),
                1 => {
                    block[place] = *[0, 1, 2, 3, 0x30, 0x4c, 0x4d, 0xff]
                        .get(rng.random_range(0..8usize))
                        .expect("one of eight")
                }
                2 => block[place] ^= 1 << rng.random_range(0..8),
                3 => block.insert(place, rng.random()),
                4 => drop(block.remove(place)),
                _ => block[place] = block[place].wrapping_add(1),
            }
        }
        if Block::parse(&block).is_ok() {
            file.takes(&block);
            mutants += 1;
        }
    }
    let payloads = file.holds();
    let plain = payloads.iter().filter(|payload| arrangement(payload) == PLAIN).count();
    println!("{plain} of {mutants} are plain");
    assert!(plain > 0 && plain < mutants / 2, "{plain}");
}

/// Scripts and items that are one of the known kinds, or nearly.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let kinds: Vec<(Vec<u8>, usize, Vec<u8>)> = vec![
        (vec![0x76, 0xa9, 20], 20, vec![0x88, 0xac]),
        (vec![0xa9, 20], 20, vec![0x87]),
        (vec![0, 20], 20, vec![]),
        (vec![0, 32], 32, vec![]),
        (vec![0x51, 32], 32, vec![]),
        (vec![33, 2], 32, vec![0xac]),
        (vec![65, 4], 64, vec![0xac]),
        (vec![2], 32, vec![]),
        (vec![4], 64, vec![]),
        (vec![], 64, vec![]),
        (vec![0x30, 0x44, 2, 32], 32, vec![2, 32]),
        (vec![33, 3], 32, vec![]),
        (vec![0x4c, 80], 80, vec![]),
        (vec![0x4c, 75], 75, vec![]),
        (vec![0x4d, 0, 1], 256, vec![]),
        (vec![0x4d, 0xff, 0], 255, vec![]),
        (vec![0x4e, 1, 0, 0, 0], 1, vec![]),
        (vec![0x51], 0, vec![]),
        (vec![0], 0, vec![]),
    ];
    let known =
        (proptest::sample::select(kinds), proptest::collection::vec(any::<u8>(), 300), -1..=1i32)
            .prop_map(|((head, len, tail), noise, more)| {
                let len = len.saturating_add_signed(more as isize);
                [head, noise[..len].to_vec(), tail].concat()
            });
    let exact = known.clone();
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..90),
        known,
        proptest::collection::vec(exact, 0..4).prop_map(|parts| parts.concat()),
        der(),
    ]
}

/// Signatures, and what is nearly one.
fn der() -> impl Strategy<Value = Vec<u8>> {
    let number = (31..=34usize, any::<[u8; 34]>(), any::<bool>());
    (number.clone(), number, any::<u8>(), -1..=1i8, any::<bool>()).prop_map(
        |(first, second, hash_type, off, common)| {
            let mut out = Vec::new();
            for (len, mut bytes, zero) in [first, second] {
                bytes[0] = if zero { 0 } else { bytes[0] };
                out.extend([2, u8::try_from(len).expect("short")]);
                out.extend(&bytes[..len]);
            }
            let off = if common { 0 } else { off };
            let len = u8::try_from(out.len()).expect("short").wrapping_add_signed(off);
            let kind = if common { 1 } else { hash_type };
            [vec![0x30, len], out, vec![kind]].concat()
        },
    )
}

fn transaction() -> impl Strategy<Value = Draft> {
    let prevout = prop_oneof![
        proptest::collection::vec(any::<u8>(), 36),
        Just([vec![0; 32], vec![0xff; 4]].concat()),
        Just(vec![0; 36]),
        Just([vec![7; 32], vec![0xff; 4]].concat()),
    ];
    let sequence = prop_oneof![Just(u32::MAX), Just(u32::MAX - 2), Just(0), any::<u32>()];
    let witness = proptest::collection::vec(script(), 0..3);
    let input = (prevout, script(), sequence, witness);
    let value = prop_oneof![
        0..2_100_000_000_000_000u64,
        0..1000u64,
        any::<u64>().prop_map(|value| value >> 10),
        any::<u64>().prop_filter("rare", |value| value % 4 == 0)
    ];
    let version = prop_oneof![Just(1), Just(2), 0..5i32, any::<i32>()];
    let lock_time = prop_oneof![Just(0), 800_000..800_010u32, any::<u32>()];
    let inputs = proptest::collection::vec(input, 1..5);
    let outputs = proptest::collection::vec((value, script()), 0..5);
    (version, inputs, outputs, lock_time).prop_map(|(version, inputs, outputs, lock_time)| Draft {
        version,
        inputs,
        outputs,
        lock_time,
    })
}

#[test]
fn any_transactions_come_back() {
    let mut runner =
        TestRunner::new(Config { cases: 1500, failure_persistence: None, ..Config::default() });
    let block = (proptest::collection::vec(transaction(), 0..30), any::<u64>());
    let result = runner.run(&block, |(mut drafts, links)| {
        // Some spend one of those before, or the same one as the input before.
        let mut ids = Vec::new();
        let mut bytes = vec![0; Header::LEN];
        blockmill::wire::put_compact_size(&mut bytes, drafts.len() as u64);
        for (number, draft) in drafts.iter_mut().enumerate() {
            for (place, input) in draft.inputs.iter_mut().enumerate() {
                let link = links.rotate_left(7 * u32::try_from(number + place).expect("few"));
                if link % 3 == 0 && !ids.is_empty() {
                    let id: &Vec<u8> = &ids[(link / 3) as usize % ids.len()];
                    input.0[..32].copy_from_slice(id);
                }
            }
            let encoded = draft.encode();
            let id = blockmill::bitcoin::Transaction::parse(&encoded).expect("one").id();
            ids.push(id.as_bytes().to_vec());
            bytes.extend(encoded);
        }
        let mut file = File::new();
        file.takes(&bytes);
        file.holds();
        Ok(())
    });
    result.expect("every block comes back");
}

/// Long lists, and counts that take more than one byte.
#[test]
fn long_lists_come_back() {
    let input = (vec![3; 36], vec![0x51], 5, vec![]);
    let counts = [0, 1, 3, 4, 252, 253, 254, 255, 256, 300];
    let mut file = File::new();
    for count in counts {
        // No block is longer than 4 MB.
        let times = count.min(20);
        let items = vec![vec![9]; count];
        let pushes = [1, 9].repeat(count);
        let drafts = [
            Draft { inputs: vec![input.clone(); count.max(1)], ..Draft::default() },
            Draft {
                inputs: vec![input.clone()],
                outputs: vec![(3, vec![0x6a]); count],
                ..Draft::default()
            },
            Draft { inputs: vec![(vec![4; 36], pushes, 0, items)], ..Draft::default() },
        ];
        let mut bytes = vec![0; Header::LEN];
        blockmill::wire::put_compact_size(&mut bytes, 3 * times as u64);
        for draft in drafts {
            bytes.extend(draft.encode().repeat(times));
        }
        file.takes(&bytes);
    }
    file.holds();
}

/// What is nearly a signature, and what columns only make longer.
#[test]
fn what_columns_do_not_suit_comes_back_too() {
    let input = |script: Vec<u8>| (vec![5; 36], script, 0, vec![]);
    let mut near = Vec::new();
    for behind in [0, 1, 2] {
        let numbers =
            [vec![2, 32], vec![8; 32], vec![2, 32], vec![9; 32], vec![7; behind]].concat();
        for len in numbers.len() - 2..numbers.len() + 2 {
            let len = u8::try_from(len).expect("short");
            let item = [vec![0x30, len], numbers.clone(), vec![1]].concat();
            near.push([vec![u8::try_from(item.len()).expect("short")], item].concat());
        }
    }
    let mut file = File::new();
    let mut takes = |scripts: Vec<Vec<u8>>| {
        let inputs = scripts.into_iter().map(input).collect();
        let draft = Draft { inputs, outputs: vec![(1, vec![])], ..Draft::default() };
        file.takes(&[vec![0; Header::LEN], vec![1], draft.encode()].concat());
    };
    takes(near);
    // Pushes of one byte: each has a kind and a length in columns.
    takes(vec![(0..40).flat_map(|byte| [1, byte ^ 0x5a]).collect(); 1]);
    let payloads = file.holds();
    assert_ne!(arrangement(&payloads[0]), PLAIN);
    assert_eq!(arrangement(&payloads[1]), PLAIN);
}
