//! Bitcoin's block files as people have them, read twice through the library: headers first, then the
//! bodies at the places where they were found. Real files, plain, obfuscated, compressed, cut, damaged.

mod common;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockmill::Error;
use blockmill::bitcoin::Network;
use blockmill::dump::{Bodies, FileTable, HeaderReader, Inputs, Kind};
use blockmill::primitives::{Header, sha256d};
use blockmill::verdict::Position;

use common::program::COMPRESSIONS;
use common::{data, read_data};

const KEY: [u8; 8] = [0x91, 0x0c, 0x5e, 0xa7, 0x33, 0xd8, 0x02, 0x6f];

/// What two readings give.
struct Dump {
    headers: Vec<Header>,
    positions: Vec<Position>,
    networks: Vec<(usize, Network)>,
    files: FileTable,
    error: Option<Error>,
    bodies: Bodies,
}

impl Dump {
    fn read(paths: &[impl AsRef<Path>]) -> Self {
        Self::try_read(paths, None, 100).expect("inputs")
    }

    fn try_read(
        paths: &[impl AsRef<Path>],
        forced: Option<Kind>,
        batch: usize,
    ) -> Result<Self, Error> {
        Self::read_on(1, paths, forced, batch)
    }

    fn read_on(
        threads: usize,
        paths: &[impl AsRef<Path>],
        forced: Option<Kind>,
        batch: usize,
    ) -> Result<Self, Error> {
        let paths: Vec<_> = paths.iter().map(|path| path.as_ref().to_owned()).collect();
        let inputs = Inputs::open(&paths, forced, Arc::default())?;
        let mut reader = HeaderReader::with_bodies(inputs, batch).on_threads(threads);
        let (mut headers, mut positions, mut networks) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(batch) = reader.next_batch()? {
            networks
                .extend(batch.magics.iter().map(|(at, network)| (headers.len() + at, *network)));
            headers.extend(batch.headers);
            positions.extend(batch.positions);
        }
        let (files, error, bodies) = reader.finish_with_bodies();
        Ok(Self { headers, positions, networks, files, error, bodies })
    }

    /// The bodies in order; each begins with its header.
    fn blocks(&self) -> Vec<Vec<u8>> {
        let mut reader = self.bodies.reader();
        let read = |(position, header): (&Position, &Header)| {
            let block = reader.read(*position).expect("it is still there");
            assert_eq!(block[..80], header.as_bytes()[..]);
            block
        };
        self.positions.iter().zip(&self.headers).map(read).collect()
    }

    fn is_whole(&self) -> bool {
        self.error.is_none() && self.files.entries().iter().all(|entry| entry.is_whole())
    }

    /// Ranges that hold no block: offset, length, and what they are.
    fn skipped(&self) -> Vec<(u64, u64, &str)> {
        let ranges = self.files.entries().iter().flat_map(|entry| &entry.skipped);
        ranges.map(|range| (range.offset, range.bytes, range.why.as_str())).collect()
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

/// The error that keeps a file from being read.
fn refused(path: &Path) -> String {
    match Dump::try_read(&[path], None, 100) {
        Err(error) => error.to_string(),
        Ok(dump) => panic!("{} blocks, error {:?}", dump.headers.len(), dump.error),
    }
}

/// The same bytes, XORed with the key.
fn obfuscated(bytes: &[u8], key: [u8; 8]) -> Vec<u8> {
    bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

fn bunzip2(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    bzip2::read::MultiBzDecoder::new(bytes).read_to_end(&mut plain).expect("sound data");
    plain
}

/// The blocks of a sound block file, framed by the lengths alone.
fn blocks_of(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut blocks) = (bytes, Vec::new());
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let len = u32::from_le_bytes(*head.last_chunk().expect("four bytes"));
        let (block, behind) = behind.split_at(len as usize);
        blocks.push(block);
        rest = behind;
    }
    blocks
}

fn regtest() -> Option<Vec<u8>> {
    read_data("bitcoin-blocks/regtest_0-150.blk.dat")
}

/// The files of the public data, decompressed, with the number of blocks in each.
fn block_files() -> Vec<(&'static str, Network, usize, Vec<u8>)> {
    let files = [
        ("mainnet_0-4312.blk.dat", Network::Main, 4313),
        ("btcd_blk_0_to_4.dat.bz2", Network::Main, 5),
        ("btcd_blk_3A.dat.bz2", Network::Main, 1),
        ("btcd_blk_4A.dat.bz2", Network::Main, 1),
        ("btcd_blk_5A.dat.bz2", Network::Main, 1),
        ("mainnet_1-255.blk.bz2", Network::Main, 255),
        ("mainnet_277647.blk.bz2", Network::Main, 1),
        ("mainnet_831328-831331.blk.dat", Network::Main, 4),
        ("testnet3_3802508-3802509.blk.dat", Network::Testnet3, 2),
        ("testnet3_928848-928849.blk.dat", Network::Testnet3, 2),
        ("regtest_0-150.blk.dat", Network::Regtest, 151),
    ];
    let read = |(name, network, count)| {
        let bytes = read_data(&format!("bitcoin-blocks/{name}"))?;
        let plain = if bytes.starts_with(b"BZh") { bunzip2(&bytes) } else { bytes };
        Some((name, network, count, plain))
    };
    files.into_iter().filter_map(read).collect()
}

#[test]
fn every_public_block_file_comes_back_block_by_block() {
    let folder = Folder::new();
    folder.file("obfuscated/xor.dat", KEY);
    for (name, network, count, plain) in block_files() {
        let blocks = blocks_of(&plain);
        assert_eq!(blocks.len(), count, "{name}");
        let mut paths = vec![data(&format!("bitcoin-blocks/{name}")).expect("it was there")];
        let hidden = obfuscated(&plain, KEY);
        paths.push(folder.file(&format!("obfuscated/{name}"), &hidden));
        if plain.len() < 2_000_000 {
            for (ending, compress) in COMPRESSIONS {
                paths.push(folder.file(&format!("{name}.{ending}"), compress(&plain)));
                let name = format!("obfuscated/{name}.{ending}");
                paths.push(folder.file(&name, compress(&hidden)));
            }
        }
        for path in paths {
            let dump = Dump::read(&[&path]);
            assert!(dump.is_whole(), "{}: {:?}", path.display(), dump.skipped());
            assert!(dump.networks.iter().all(|(_, shown)| *shown == network));
            assert_eq!(dump.networks[0].0, 0);
            assert!(dump.blocks() == blocks, "{}", path.display());
        }
    }
}

#[test]
fn raw_blocks_are_read_whole() {
    let folder = Folder::new();
    let names = [
        "mainnet_866342",
        "mainnet_702861",
        "testnet3_924634",
        "mainnet_413567",
        "mainnet_300025",
        "bitcoinj_block169482",
        "bitcoinj_block481815",
        "bitcoinj_block_testnet21066",
        "testnet3_928816",
    ];
    for name in names {
        let Some(bytes) = read_data(&format!("bitcoin-blocks/{name}.raw")) else { continue };
        let path = data(&format!("bitcoin-blocks/{name}.raw")).expect("it was there");
        let packed = folder.file("block.zst", zstd::encode_all(&bytes[..], 1).expect("memory"));
        let behind = folder.file("behind", [&bytes[..], b"some more"].concat());
        for path in [&path, &packed, &behind] {
            let dump = Dump::read(&[path]);
            assert_eq!(dump.files.entries()[0].kind, Kind::Block);
            assert_eq!((dump.positions.len(), dump.networks.len()), (1, 0));
            assert!(dump.blocks() == [&bytes[..]], "{name}");
            assert_eq!(dump.is_whole(), *path != behind);
        }
        // A block that says of itself that it goes on is torn.
        for len in [bytes.len() - 1, bytes.len() / 2, 200] {
            let dump = Dump::read(&[folder.file("cut", &bytes[..len])]);
            let torn = dump.files.entries()[0].torn.map(|torn| (torn.offset, torn.bytes));
            assert_eq!((torn, dump.headers.len()), (Some((0, len as u64)), 0), "{name}");
        }
        // One that does not parse for another reason has all the bytes there are.
        let mut bad = bytes[..bytes.len() / 2].to_vec();
        bad[84..].fill(0xff);
        let path = folder.file("bad", &bad);
        assert!(Dump::try_read(&[path], Some(Kind::Block), 4).expect("inputs").blocks() == [bad]);
    }
}

/// Bitcoin Core's own test of blocks, with blocks that do not parse, lie about lengths or come twice.
#[test]
fn the_recorded_block_test_is_found_to_the_byte() {
    let name = "bitcoin-vectors/core_feature_block_part1.";
    let Some(path) = data(&format!("{name}blk.dat.bz2")) else { return };
    let Some(manifest) = read_data(&format!("{name}manifest.jsonl")) else { return };
    let plain = bunzip2(&std::fs::read(&path).expect("a data file is readable"));
    let folder = Folder::new();
    folder.file("xor.dat", KEY);
    let hidden = folder.file("blk00000.dat", obfuscated(&plain, KEY));
    let manifest = String::from_utf8(manifest).expect("text");
    let expected: Vec<(usize, usize)> = manifest
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line");
            let number = |key: &str| {
                usize::try_from(line[key].as_u64().expect("a number")).expect("it fits")
            };
            (number("offset"), number("size"))
        })
        .collect();
    for path in [&path, &hidden] {
        let dump = Dump::read(&[path]);
        assert!(dump.is_whole(), "{:?}", dump.skipped());
        let blocks = dump.blocks();
        // The genesis comes first, whether or not it is in the list.
        let more = blocks.len() - expected.len();
        assert!(more <= 1);
        for (index, (offset, size)) in expected.iter().enumerate() {
            assert_eq!(dump.positions[index + more].0, *offset as u64, "{index}");
            assert!(blocks[index + more] == plain[*offset..][..*size], "{index}");
        }
    }
}

#[test]
fn a_small_file_may_end_anywhere() {
    let Some(bytes) = regtest() else { return };
    let small = &bytes[..blocks_of(&bytes)[..3].iter().map(|block| block.len() + 8).sum()];
    let blocks = blocks_of(small);
    let folder = Folder::new();
    folder.file("hidden/xor.dat", KEY);
    for cut in 4..small.len() {
        let plain = folder.file("plain", &small[..cut]);
        let hidden = folder.file("hidden/blk00000.dat", obfuscated(&small[..cut], KEY));
        let mut whole = Vec::new();
        let mut end = 0;
        for block in &blocks {
            if end + 8 + block.len() > cut {
                break;
            }
            whole.push(*block);
            end += 8 + block.len();
        }
        for path in [plain, hidden] {
            let dump = Dump::read(&[&path]);
            assert!(dump.blocks() == whole, "{cut} of {}", path.display());
            let entry = &dump.files.entries()[0];
            let torn = entry.torn.map(|torn| (torn.offset, torn.bytes));
            let expected = (end < cut).then_some((end as u64, (cut - end) as u64));
            assert_eq!(torn, expected, "{cut}");
            assert_eq!(entry.is_whole(), end == cut);
        }
    }
}

/// A record that lost some bytes takes the first ones of the next, and may parse with them.
#[test]
fn a_record_that_lost_bytes_is_broken_alone() {
    let names = ["mainnet_831328-831331.blk.dat", "mainnet_0-4312.blk.dat"];
    for name in names {
        let Some(bytes) = read_data(&format!("bitcoin-blocks/{name}")) else { continue };
        let blocks = blocks_of(&bytes);
        let records: Vec<_> = blocks[..4]
            .iter()
            .scan(0, |at, block| {
                let start = *at;
                *at += 8 + block.len();
                Some(&bytes[start..*at])
            })
            .collect();
        let [first, second, rest @ ..] = &records[..] else { unreachable!("four") };
        let folder = Folder::new();
        for lost in [1, 4, 8, 12, 20, 30, 44, 60, 100] {
            for at in [100, second.len() / 2, second.len() - lost] {
                let left = [&second[..at], &second[at + lost..]].concat();
                let path = folder.file("cut", [first, &left[..], rest[0], rest[1]].concat());
                let dump = Dump::read(&[path]);
                let what = format!("{name}: {lost} bytes lost at {at}: {:?}", dump.skipped());
                assert!(dump.blocks() == [blocks[0], blocks[2], blocks[3]], "{what}");
                let [(offset, len, why)] = dump.skipped()[..] else { panic!("{what}") };
                assert_eq!((offset, len), (first.len() as u64, left.len() as u64), "{what}");
                assert!(why.starts_with("a record"), "{what}");
            }
        }
    }
}

/// Whatever byte changes, the records behind it are found, and every byte is accounted for.
#[test]
fn no_byte_of_a_record_hides_another() {
    let Some(bytes) = regtest() else { return };
    let blocks = blocks_of(&bytes);
    let first_two: usize = blocks[..2].iter().map(|block| block.len() + 8).sum();
    let few: usize = blocks[..6].iter().map(|block| block.len() + 8).sum();
    let folder = Folder::new();
    for place in 0..first_two {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes[..few].to_vec();
            damaged[place] ^= flip;
            // The damage may be to how the file begins; that it is a block file is not asked here.
            let path = folder.file("damaged", &damaged);
            let dump = Dump::try_read(&[&path], Some(Kind::Blk), 4).expect("inputs");
            let found = dump.blocks();
            let in_second = place >= blocks[0].len() + 8;
            let sound = if in_second { &[0, 2, 3, 4, 5][..] } else { &[1, 2, 3, 4, 5] };
            for index in sound {
                let there = found.iter().any(|block| block == blocks[*index]);
                assert!(there, "byte {place} flipped by {flip}: block {index} is gone");
            }
            let skipped: u64 = dump.skipped().iter().map(|(_, bytes, _)| bytes).sum();
            // A head that lies is skipped; its block is not.
            let lies = dump.skipped().iter().filter(|(.., why)| why.starts_with("a head")).count();
            let heads = 8 * (found.len() - lies) as u64;
            let covered = found.iter().map(|block| block.len() as u64).sum::<u64>() + heads;
            assert_eq!(covered + skipped, few as u64, "byte {place} flipped by {flip}");
        }
    }
}

#[test]
fn junk_before_between_and_behind() {
    let Some(bytes) = regtest() else { return };
    let blocks = blocks_of(&bytes);
    let (two, rest) = bytes.split_at(blocks[0].len() + blocks[1].len() + 16);
    let folder = Folder::new();
    for junk in [&b"x"[..], &[0x77; 3000], &[0xfa; 100]] {
        let parts = [junk, two, junk, rest, junk];
        let path = folder.file("junk", parts.concat());
        let dump = Dump::read(&[&path]);
        assert!(dump.blocks() == blocks);
        let len = junk.len() as u64;
        let why = "bytes that are no block record";
        let (second, third) = (len + two.len() as u64, 2 * len + bytes.len() as u64);
        let expected = [(0, len, why), (second, len, why), (third, len, why)];
        // A last byte that begins a magic is taken for no record.
        assert_eq!(dump.skipped(), expected);
        assert!(!dump.is_whole());
    }
    // The same block in two files, and files of several kinds in any order.
    let block = folder.file("block", blocks[7]);
    let headers: Vec<u8> = blocks.iter().flat_map(|block| block[..80].to_vec()).collect();
    let headers = folder.file("headers", headers);
    let records = folder.file("records", two);
    let dump = Dump::read(&[&block, &headers, &records, &block, &records]);
    assert!(dump.is_whole());
    assert_eq!(dump.headers.len(), 1 + 151 + 2 + 1 + 2);
    assert_eq!(dump.networks[0], (152, Network::Regtest));
    let mut reader = dump.bodies.reader();
    for (index, block) in [(0, 7), (152, 0), (153, 1), (154, 7), (155, 0), (156, 1)] {
        assert!(reader.read(dump.positions[index]).expect("it is there") == blocks[block]);
    }
}

/// Room that a node reserved hides nothing.
#[test]
fn reserved_room_is_no_fault() {
    let Some(bytes) = regtest() else { return };
    let blocks = blocks_of(&bytes);
    let (two, rest) = bytes.split_at(blocks[0].len() + blocks[1].len() + 16);
    let folder = Folder::new();
    folder.file("hidden/xor.dat", KEY);
    for len in [1, 7, 8, 1000, 1_000_001] {
        let room = vec![0; len];
        let plain = folder.file("plain", [two, &room, rest, &room].concat());
        let mut hidden = obfuscated(&[two, &room, rest, &room].concat(), KEY);
        hidden[two.len()..][..len].fill(0);
        hidden[len + bytes.len()..].fill(0);
        let hidden = folder.file("hidden/blk00003.dat", hidden);
        for path in [plain, hidden] {
            let dump = Dump::read(&[&path]);
            assert!(dump.blocks() == blocks, "{len}");
            assert!(dump.is_whole(), "{:?}", dump.skipped());
            let (len, at) = (len as u64, two.len() as u64);
            let why = "zeros, as preallocated";
            assert_eq!(dump.skipped(), [(at, len, why), (len + bytes.len() as u64, len, why)]);
            assert!(dump.files.entries()[0].skipped.iter().all(|range| range.is_preallocated()));
        }
    }
    // Gigabytes of it, which take no room on disk.
    let path = folder.file("sparse.dat", &bytes);
    let file = std::fs::OpenOptions::new().append(true).open(&path).expect("a file");
    file.set_len(1 << 30).expect("a sparse file");
    let dump = Dump::read(&[&path]);
    assert!(dump.is_whole() && dump.headers.len() == 151);
}

#[test]
fn a_missing_or_wrong_key_is_named() {
    let missing =
        "obfuscated by Bitcoin Core (28 or later), and its key, xor.dat, is not beside it";
    let wrong = "xor.dat is not the key of this file";
    for (name, network, count, plain) in block_files() {
        let folder = Folder::new();
        let hidden = obfuscated(&plain, KEY);
        let path = folder.file("blk00000.dat", &hidden);
        // On regtest an id has no zeros that tell; then the name of the file does.
        let error = refused(&path);
        assert!(error.contains(missing), "{name}: {error}");
        if network != Network::Regtest {
            let other = folder.file("other", &hidden);
            assert!(refused(&other).contains(missing), "{name}");
        }
        for key in [[7; 8], [0; 8], KEY.map(|byte| byte ^ 1)] {
            folder.file("xor.dat", key);
            let error = refused(&path);
            assert!(error.contains(wrong), "{name}: {error}");
        }
        for (key, len) in [(&KEY[..7], "7"), (&[], "0"), (&[7; 9][..], "more than 8")] {
            folder.file("xor.dat", key);
            let expected = format!("xor.dat beside it has {len} bytes, and a key has 8");
            let error = refused(&path);
            assert!(error.contains(&expected), "{name}: {error}");
        }
        std::fs::remove_file(folder.path().join("xor.dat")).expect("it is there");
        folder.file("xor.dat/inside", KEY);
        assert!(refused(&path).contains("xor.dat beside it is no regular file"));
        // A plain file is plain whatever stands beside it.
        let plain = folder.file("blk00001.dat", &plain);
        assert_eq!(Dump::read(&[&plain]).headers.len(), count);
    }
    let Some(bytes) = regtest() else { return };
    let later = obfuscated(&bytes[blocks_of(&bytes)[0].len() + 8..], KEY);
    let folder = Folder::new();
    let path = folder.file("blk00001.dat", later);
    let maybe = "Bitcoin Core (28 or later) may have obfuscated it, and its key, xor.dat, is not";
    assert!(refused(&path).contains(maybe));
    folder.file("xor.dat", [7; 8]);
    assert!(refused(&path).contains(wrong));
    folder.file("xor.dat", KEY);
    assert_eq!(Dump::read(&[&path]).headers.len(), 150);
    // A key that makes another network's file of a plain one.
    let (main, regtest) = (Network::Main.magic(), Network::Regtest.magic());
    let mut crossed = [0; 8];
    for index in 0..4 {
        crossed[index] = main[index] ^ regtest[index];
    }
    folder.file("crossed/xor.dat", crossed);
    let path = folder.file("crossed/blk00000.dat", &bytes);
    let dump = Dump::read(&[&path]);
    assert!(dump.is_whole() && dump.networks == [(0, Network::Regtest), (100, Network::Regtest)]);
    // A key of zeros, beside plain files.
    folder.file("zeros/xor.dat", [0; 8]);
    let path = folder.file("zeros/blk00000.dat", &bytes);
    assert!(Dump::read(&[&path]).is_whole());
}

/// Whatever part of the key is right or zero, no block is judged with a wrong one.
#[test]
fn a_key_that_is_right_in_part_is_named() {
    let missing = "and its key, xor.dat, is not beside it";
    let wrong = "xor.dat is not the key of this file";
    let part = [0x91, 0x0c, 0x5e, 0xa7, 0, 0, 0, 0];
    for key in [KEY, [0, 0, 0, 0, 0x33, 0xd8, 0x02, 0x6f], [0, 0, 0, 0, 0, 0xa3, 0, 0], part] {
        for (name, network, count, plain) in block_files() {
            let folder = Folder::new();
            let path = folder.file("blk00000.dat", obfuscated(&plain, key));
            let error = refused(&path);
            assert!(error.contains(missing), "{name}, {key:x?}: {error}");
            for index in 0..8 {
                let mut other = key;
                other[index] ^= 0x5a;
                folder.file("xor.dat", other);
                let error = refused(&path);
                assert!(error.contains(wrong), "{name}, {key:x?}, byte {index}: {error}");
            }
            let half = [key[0], key[1], key[2], key[3], 9, 9, 9, 9];
            for other in [half, [0; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
                folder.file("xor.dat", other);
                let error = refused(&path);
                assert!(error.contains(wrong), "{name}, {key:x?}, {other:x?}: {error}");
            }
            folder.file("xor.dat", &key[..5]);
            let error = refused(&path);
            assert!(error.contains("xor.dat beside it has 5 bytes"), "{name}, {key:x?}: {error}");
            folder.file("xor.dat", key);
            let dump = Dump::read(&[&path]);
            assert!(dump.is_whole(), "{name}, {key:x?}: {:?}", dump.skipped());
            assert_eq!(dump.headers.len(), count, "{name}, {key:x?}");
            assert!(dump.networks.iter().all(|(_, shown)| *shown == network));
        }
    }
}

/// A block whose header proves no work is for the rules to reject, whether or not it is obfuscated.
#[test]
fn a_header_without_work_hides_no_key() {
    let Some(bytes) = read_data("bitcoin-blocks/mainnet_277647.blk.bz2") else { return };
    let mut bytes = bunzip2(&bytes);
    bytes[8 + 76] ^= 1;
    let folder = Folder::new();
    let plain = folder.file("plain/blk00000.dat", &bytes);
    for key in [KEY, [0, 0, 0, 0, 1, 2, 3, 4]] {
        folder.file("hidden/xor.dat", key);
        let hidden = folder.file("hidden/blk00000.dat", obfuscated(&bytes, key));
        folder.file("plain/xor.dat", key);
        for path in [&plain, &hidden] {
            let dump = Dump::read(&[path]);
            assert!(dump.is_whole() && dump.headers.len() == 1, "{key:x?}: {}", path.display());
        }
    }
}

/// An obfuscated file may begin with any bytes, those of a compressed one included.
#[test]
fn a_key_may_make_a_file_look_like_another() {
    let Some(bytes) = regtest() else { return };
    let magic = Network::Regtest.magic();
    for begin in [*b"\x1f\x8b\x08\0", *b"BZh9", *b"\xfd7zX", *b"\x28\xb5\x2f\xfd", *b"abcd"] {
        let folder = Folder::new();
        let mut key = KEY;
        for index in 0..4 {
            key[index] = begin[index] ^ magic[index];
        }
        folder.file("xor.dat", key);
        let path = folder.file("blk00000.dat", obfuscated(&bytes, key));
        let dump = Dump::read(&[&path]);
        assert_eq!((dump.headers.len(), dump.is_whole()), (151, true), "{begin:x?}");
        assert!(dump.blocks() == blocks_of(&bytes));
    }
}

#[test]
fn a_directory_of_block_files() {
    let Some(bytes) = regtest() else { return };
    let blocks = blocks_of(&bytes);
    let record = |index: usize| {
        let len = u32::try_from(blocks[index].len()).expect("a length").to_le_bytes();
        [&Network::Regtest.magic()[..], &len, blocks[index]].concat()
    };
    let folder = Folder::new();
    let hidden = |name: &str, plain: &[u8]| folder.file(name, obfuscated(plain, KEY));
    folder.file("xor.dat", KEY);
    hidden("blk00002.dat", &record(0));
    hidden("blk10.dat", &record(1));
    folder.file(
        "blk00011.dat.zst",
        zstd::encode_all(&obfuscated(&record(2), KEY)[..], 1).expect("m"),
    );
    hidden("blk100000.dat", &record(3));
    // Reserved, and nothing written yet.
    folder.file("blk100001.dat", [0; 10_000]);
    folder.file("rev00002.dat", b"undo");
    let headers: Vec<u8> = blocks.iter().flat_map(|block| block[..80].to_vec()).collect();
    folder.file("headers", headers);
    folder.file("index/blk00000.dat", b"not read");
    let dump = Dump::read(&[folder.path()]);
    assert!(dump.blocks() == blocks[..4]);
    assert!(dump.is_whole());
    let entries = dump.files.entries();
    let passed: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Other)
        .map(|entry| entry.skipped[0].why.as_str())
        .collect();
    let not = "not a block file; blk*.dat are read";
    assert_eq!(passed, [not, "undo data, not needed", "the key of the block files"]);
    assert_eq!(entries.iter().filter(|entry| entry.kind == Kind::Blk).count(), 5);
    // A part of the chain that cannot be read is an error, and the rest is read.
    folder.file("blk00000.dat", [0x77; 500]);
    let dump = Dump::read(&[folder.path()]);
    assert!(dump.blocks() == blocks[..4]);
    let error = dump.error.expect("a block file cannot be read").to_string();
    assert!(error.contains("blk00000.dat"), "{error}");
}

#[test]
fn a_data_directory_is_one_too_high() {
    let Some(bytes) = regtest() else { return };
    let folder = Folder::new();
    let blocks = folder.file("blocks/blk00000.dat", &bytes);
    folder.file("peers.dat", b"peers");
    let error = refused(folder.path());
    let named = blocks.parent().expect("a folder").display().to_string();
    assert!(error.contains(&format!("name {named}")), "{error}");
    assert_eq!(Dump::read(&[blocks.parent().expect("a folder")]).headers.len(), 151);
}

/// Nothing that is read depends on how much is asked for at a time; the networks stand in each batch.
#[test]
fn batches_of_any_size_give_the_same() {
    let Some(bytes) = regtest() else { return };
    let folder = Folder::new();
    let Some(main) = read_data("bitcoin-blocks/btcd_blk_0_to_4.dat.bz2") else { return };
    let both = [&bytes[..], &bunzip2(&main), b"junk", &bytes].concat();
    let path = folder.file("both", both);
    let all = Dump::try_read(&[&path], None, 1 << 18).expect("inputs");
    let expected = [(0, Network::Regtest), (151, Network::Main), (156, Network::Regtest)];
    assert_eq!(all.networks, expected);
    for batch in [0, 1, 3, 151, 152] {
        let some = Dump::try_read(&[&path], None, batch).expect("inputs");
        assert!(some.headers == all.headers && some.positions == all.positions);
        assert_eq!(some.skipped(), all.skipped());
        let every = batch.max(1);
        assert!(
            (0..307).step_by(every).all(|at| some.networks.iter().any(|(each, _)| *each == at))
        );
    }
}

/// Large files are scanned by several threads, which find what one finds.
#[test]
fn threads_find_what_one_thread_finds() {
    let main = ["mainnet_831328-831331.blk.dat", "mainnet_0-4312.blk.dat"]
        .map(|name| read_data(&format!("bitcoin-blocks/{name}")));
    let [Some(modern), Some(early)] = main else { return };
    let blocks = blocks_of(&modern);
    // A record that says more is its own, one that lost its end, junk, and room that a node reserved.
    let mut longer = modern[..8 + blocks[0].len()].to_vec();
    let claimed = u32::try_from(blocks[0].len() + 1000).expect("a length");
    longer[4..8].copy_from_slice(&claimed.to_le_bytes());
    longer.extend([7; 1000]);
    let lost = &modern[..blocks[0].len() - 5000];
    let reserved = vec![0; 9 << 20];
    let mut bytes = Vec::new();
    let mut hole = 0..0;
    for part in 0..3 {
        let junk = vec![0xf9; 100_000 * part];
        for piece in [&early[..], &modern, &junk, &longer, &early, lost, &modern] {
            bytes.extend_from_slice(piece);
        }
        if part == 1 {
            hole = bytes.len()..bytes.len() + reserved.len();
            bytes.extend_from_slice(&reserved);
        }
    }
    let folder = Folder::new();
    folder.file("obfuscated/xor.dat", KEY);
    let mut hidden = obfuscated(&bytes, KEY);
    assert!(hidden[hole.clone()].iter().any(|byte| *byte != 0));
    hidden[hole].fill(0);
    for path in [folder.file("blk", &bytes), folder.file("obfuscated/blk", hidden)] {
        let one = Dump::try_read(&[&path], None, 1000).expect("inputs");
        assert_eq!(one.headers.len(), 3 * (2 * 4313 + 2 * 4 + 1));
        for threads in [0, 2, 5] {
            let several = Dump::read_on(threads, &[&path], None, 1000).expect("inputs");
            assert!(several.headers == one.headers && several.positions == one.positions);
            assert_eq!(several.networks, one.networks);
            assert_eq!(several.skipped(), one.skipped());
            assert_eq!(several.files.entries()[0].torn, one.files.entries()[0].torn);
            assert!(several.blocks() == one.blocks());
        }
    }
}

/// A file that is not what it was the first time gives no other block.
#[test]
fn a_file_that_changes_between_the_readings() {
    let Some(bytes) = regtest() else { return };
    let folder = Folder::new();
    let path = folder.file("blk", &bytes);
    let last = blocks_of(&bytes)[150].len();
    for changed in [
        bytes[..bytes.len() - 1].to_vec(),
        bytes[..bytes.len() - last].to_vec(),
        bytes[..100].to_vec(),
        [&bytes[..bytes.len() - last - 8], b"no magic", &bytes[bytes.len() - last..]].concat(),
    ] {
        std::fs::write(&path, &bytes).expect("a file");
        let dump = Dump::read(&[&path]);
        std::fs::write(&path, changed).expect("a file");
        let read = dump.bodies.reader().read(dump.positions[150]);
        assert!(matches!(read, Err(Error::Unreadable { .. })), "{read:?}");
    }
}

/// A reader of headers alone keeps nothing to read a second time.
#[test]
fn bodies_are_for_those_who_ask_for_them() {
    let Some(bytes) = regtest() else { return };
    let folder = Folder::new();
    let path = folder.file("blk.zst", zstd::encode_all(&bytes[..], 1).expect("memory"));
    let inputs = Inputs::open(&[path], None, Arc::default()).expect("inputs");
    let mut reader = HeaderReader::new(inputs, 1000);
    let batch = reader.next_batch().expect("nothing fails").expect("blocks");
    assert_eq!(batch.headers.len(), 151);
    let (_, error, bodies) = reader.finish_with_bodies();
    assert!(error.is_none());
    assert!(bodies.reader().read(batch.positions[0]).is_err());
}

/// An end to the work is heeded, however much of the input holds no header.
#[test]
fn reading_can_be_interrupted() {
    let Some(bytes) = regtest() else { return };
    let folder = Folder::new();
    let path = folder.file("blk", &bytes);
    let progress = Arc::<blockmill::dump::Progress>::default();
    let inputs = Inputs::open(&[path], None, Arc::clone(&progress)).expect("inputs");
    let mut reader = HeaderReader::new(inputs, 10);
    assert!(reader.next_batch().is_ok());
    progress.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(reader.next_batch(), Err(Error::Interrupted)));
}

/// One reading needs no copy; two of what cannot be read again do.
#[cfg(unix)]
#[test]
fn a_pipe_is_read_twice() {
    let Some(bytes) = regtest() else { return };
    let folder = Folder::new();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        common::skip("BLOCKMILL_REQUIRE_TOOLS", "there is no program mkfifo");
        return;
    }
    folder.file("xor.dat", KEY);
    let write = |bytes: Vec<u8>| {
        let pipe = pipe.clone();
        std::thread::spawn(move || drop(std::fs::write(pipe, bytes)))
    };
    let writer = write(bytes.clone());
    let dump = Dump::read(&[&pipe]);
    writer.join().expect("it was read");
    assert!(dump.is_whole() && dump.blocks() == blocks_of(&bytes));
    // No key stands beside a pipe.
    let writer = write(obfuscated(&bytes, KEY));
    let error = refused(&pipe);
    writer.join().expect("it was read");
    assert!(error.contains("no key is beside a pipe"), "{error}");
    // The digest of a block is that of its header, whichever way it was read.
    assert_eq!(sha256d(&dump.blocks()[0][..80]), dump.headers[0].id());
}

/// A block file whose beginning is damaged for longer than recognition looks.
#[test]
fn a_block_file_may_begin_with_much_junk() {
    let Some(bytes) = regtest() else { return };
    let blocks = blocks_of(&bytes);
    let folder = Folder::new();
    let junk = b"no block here ".repeat(1000);
    let path = folder.file("blk00000.dat", [&junk[..], &bytes].concat());
    let dump = Dump::read(&[&path]);
    assert!(dump.blocks() == blocks);
    let expected = [(0, junk.len() as u64, "bytes that are no block record")];
    assert_eq!(dump.skipped(), expected);
    // Under another name it is no block file.
    let other = folder.file("notes.txt", [&junk[..], &bytes].concat());
    assert!(Dump::try_read(&[&other], None, 4).is_err());
}
