//! Bitcoin's blocks in chain files: they come back byte by byte, whatever way they went in.

mod common;

use std::path::{Path, PathBuf};

use blockmill::bitcoin::{LoadedBlocks, Network};
use blockmill::chain::file::FileStorage;
use serde_json::Value;

use common::chain_file::dissect;
use common::mined::{
    How, best_branch, block_file, block_file_how, block_of, blocks_of, dump, dump_of, extend,
    from_genesis, header_of, open, write,
};
use common::program::{blockmill, run, validate};
use common::{data, read_data};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        write(self.0.path(), name, bytes)
    }

    /// Validates into the file `c`: the report and the exit code.
    fn append(&self, dumps: &[&Path], more: &[&str]) -> (Value, i32) {
        let chain = self.path("c");
        validate(&[&["--to", chain.to_str().expect("text")], more].concat(), dumps)
    }

    fn chain(&self) -> Vec<u8> {
        std::fs::read(self.path("c")).expect("a chain file")
    }

    fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let mut command = blockmill(self.0.path());
        let ran = run(command.arg("chain").args(arguments).args(["--format", "json"]), b"");
        (serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}")), ran.code)
    }

    /// What `chain export` gives.
    fn export(&self) -> Vec<u8> {
        let mut command = blockmill(self.0.path());
        let ran = run(command.args(["chain", "export", "--force", "c", "exported"]), b"");
        assert_eq!(ran.code, 0, "{ran:?}");
        std::fs::read(self.path("exported")).expect("a dump")
    }

    /// The whole way: what was validated is exported, checked and shown as it was.
    fn comes_back(&self, report: &Value) {
        self.export();
        let (again, code) = validate(&[], &[&self.path("exported")]);
        assert_eq!((code, &again["verdict"]), (0, &"valid".into()), "{again}");
        assert_eq!(again["tip"], report["tip"]);
        for arguments in [&["check", "c"][..], &["check", "--quick", "c"], &["show", "c"]] {
            let (shown, code) = self.json(arguments);
            assert_eq!(code, 0, "{shown}");
            assert_eq!(shown["tip"]["hash"], report["tip"]["hash"]);
            assert_eq!(shown["tip"]["height"], report["tip"]["height"]);
            assert_eq!((&shown["family"], &shown["level"]), (&"bitcoin".into(), &"blocks".into()));
        }
    }
}

fn height(report: &Value) -> u64 {
    report["tip"]["height"].as_u64().expect("a height")
}

#[test]
fn the_first_blocks_of_the_main_network_come_back() {
    let Some(path) = data("bitcoin-blocks/mainnet_0-4312.blk.dat") else { return };
    let folder = Folder::new();
    let (report, code) = folder.append(&[&path], &[]);
    assert_eq!((code, height(&report)), (0, 4312), "{report}");
    assert_eq!(report["chain_file"]["height"], 4312);
    folder.comes_back(&report);
    assert!(folder.export() == std::fs::read(&path).expect("a dump"));
    let (shown, _) = folder.json(&["show", "c", "--block", "170"]);
    let block = &shown["block"];
    assert_eq!(block["height"], 170);
    assert_eq!(block["transaction_ids"].as_array().expect("ids").len(), 2);
    let id = "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16";
    assert_eq!(block["transaction_ids"][1], id);
}

#[test]
fn the_recorded_block_test_comes_back() {
    let Some(path) = data("bitcoin-vectors/core_feature_block_part1.blk.dat.bz2") else { return };
    let folder = Folder::new();
    let more = ["--activation-height", "bip34@2"];
    let (_, code) = folder.append(&[&path], &more);
    let (report, again) = folder.append(&[&path], &more);
    assert_eq!((code, again), (1, 1), "some blocks are meant to be rejected");
    let before = folder.chain();
    let (shown, _) = folder.json(&["show", "c"]);
    assert_eq!(shown["tip"]["hash"], report["tip"]["hash"]);
    let (checked, code) = folder.json(&["check", "c"]);
    assert_eq!((code, &checked["verdict"]), (0, &"valid".into()), "{checked}");
    // Every block of the dump that is on the best branch is there as it was.
    let exported = folder.path("exported");
    let branch = blocks_of(&folder.export());
    assert_eq!(branch.len() as u64, height(&report) + 1);
    let (again, code) = validate(&more, &[&exported]);
    assert_eq!((code, &again["tip"]), (0, &report["tip"]), "{again}");
    assert_eq!(folder.append(&[&exported], &more).1, 0);
    assert!(folder.chain() == before);
    // The same blocks under other rules.
    let refused = folder.append(&[&exported], &["--activation-height", "bip34@3"]);
    assert_eq!(refused.1, 2);
    assert!(folder.chain() == before);
}

#[test]
fn blocks_of_every_kind_come_back_and_are_shown() {
    let folder = Folder::new();
    let blocks = from_genesis(40);
    let path = folder.file("blk00000.dat", &dump(&blocks));
    let (report, code) = folder.append(&[&path], &[]);
    assert_eq!((code, height(&report)), (0, 40), "{report}");
    folder.comes_back(&report);
    assert!(folder.export() == dump(&blocks));
    for (height, bytes) in blocks.iter().enumerate() {
        let id = header_of(bytes).id().to_string();
        let (by_height, _) = folder.json(&["show", "c", "--block", &height.to_string()]);
        let (by_id, code) = folder.json(&["show", "c", "--block", &id]);
        assert_eq!((code, &by_id["block"]), (0, &by_height["block"]));
        let block = &by_id["block"];
        assert_eq!((&block["hash"], &block["bytes"]), (&id.into(), &bytes.len().into()));
        assert_eq!(block["best_branch"], true);
        let parsed = blockmill::bitcoin::Block::parse(bytes).expect("a block");
        let ids: Vec<_> = parsed.transactions().iter().map(|each| each.id().to_string()).collect();
        assert_eq!(block["transaction_ids"], serde_json::json!(ids));
        assert_eq!(block["previous"], header_of(bytes).parent().to_string());
    }
    let (shown, code) = folder.json(&["show", "c", "--block", "41"]);
    assert_eq!((code, &shown["error"]["kind"]), (1, &"not-found".into()));
    let (shown, _) = folder.json(&["show", "c"]);
    assert_eq!((&shown["blocks"], &shown["name"]), (&41.into(), &"regtest".into()));
    let each = shown["bytes_per_block"].as_f64().expect("a number");
    assert!((each - folder.chain().len() as f64 / 40.0).abs() < 0.001);
}

/// The blocks in another order, the same one every time.
fn shuffled(blocks: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut blocks = blocks.to_vec();
    blocks.sort_by_key(|block| header_of(block).id().as_bytes()[..4].to_vec());
    blocks
}

#[test]
fn a_node_s_files_may_grow_between_runs() {
    let main = read_data("bitcoin-blocks/mainnet_0-4312.blk.dat");
    let main = main.map(|bytes| (Network::Main, blocks_of(&bytes)[..600].to_vec()));
    let blocks = from_genesis(60);
    let side = extend(&blocks[20], 20, 5, 3);
    let regtest = (Network::Regtest, [blocks.clone(), side].concat());
    for (network, blocks) in main.into_iter().chain([regtest]) {
        let whole = Folder::new();
        let path = whole.file("blk00000.dat", &dump_of(network, &blocks));
        let (direct, _) = whole.append(&[&path], &[]);
        for parts in [2, 7] {
            let folder = Folder::new();
            std::fs::create_dir(folder.path("blocks")).expect("a folder");
            // Genesis first, as the network is taken from it or from the magic.
            let mixed = [blocks[..1].to_vec(), shuffled(&blocks[1..])].concat();
            let each = mixed.len().div_ceil(parts);
            let mut report = Value::Null;
            for (index, part) in mixed.chunks(each).enumerate() {
                // A file grows in two steps.
                for len in [part.len() / 2, part.len()] {
                    let name = format!("blocks/blk{index:05}.dat");
                    folder.file(&name, &dump_of(network, &part[..len]));
                    report = folder.append(&[&folder.path("blocks")], &[]).0;
                }
            }
            assert_eq!(report["tip"], direct["tip"], "in {parts} parts");
            assert!(folder.export() == whole.export());
            let before = folder.chain();
            let (report, code) = folder.append(&[&folder.path("blocks")], &[]);
            assert_eq!((code, &report["tip"]), (0, &direct["tip"]));
            assert!(folder.chain() == before);
            assert_eq!(folder.json(&["check", "c"]).1, 0);
        }
    }
}

#[test]
fn a_dump_goes_on_where_the_file_ends() {
    let folder = Folder::new();
    let blocks = from_genesis(12);
    let first = folder.file("first", &dump(&blocks[..8]));
    assert_eq!(folder.append(&[&first], &[]).1, 0);
    // A single block as it is: nothing in it tells its network.
    for block in &blocks[8..] {
        let raw = folder.file("raw", block);
        let (report, code) = folder.append(&[&raw], &[]);
        assert_eq!((code, &report["network"]), (0, &"regtest".into()), "{report}");
    }
    assert!(best_branch(&folder.chain()) == blocks);
}

#[test]
fn what_comes_before_a_bad_block_is_kept_and_the_same_command_goes_on() {
    let folder = Folder::new();
    let blocks = from_genesis(12);
    let mut damaged = blocks.clone();
    *damaged[7].last_mut().expect("a byte") ^= 1;
    let path = folder.file("blk00000.dat", &dump(&damaged));
    let offset: usize = damaged[..7].iter().map(|block| block.len() + 8).sum::<usize>() + 8;
    for _ in 0..2 {
        let (report, code) = folder.append(&[&path], &[]);
        assert_eq!((code, height(&report)), (1, 6), "{report}");
        let rejection = &report["rejections"][0];
        assert_eq!(rejection["rule"], "bad-txnmrklroot");
        assert_eq!((&rejection["height"], &rejection["offset"]), (&7.into(), &offset.into()));
        assert_eq!(rejection["file"], path.to_str().expect("text"));
        assert_eq!(report["chain_file"]["height"], 6);
        assert!(best_branch(&folder.chain()) == blocks[..7]);
    }
    // A node downloads the block again, and puts it behind the others.
    damaged.push(blocks[7].clone());
    folder.file("blk00000.dat", &dump(&damaged));
    let (report, code) = folder.append(&[&path], &[]);
    assert_eq!((code, height(&report)), (1, 12), "{report}");
    assert!(best_branch(&folder.chain()) == blocks);
    assert_eq!(report["rejections"][0]["offset"], offset);
}

#[test]
fn a_block_that_breaks_a_rule_is_not_appended() {
    let folder = Folder::new();
    let mut blocks = from_genesis(5);
    // A height that is not that of the block.
    blocks.push(block_of(&header_of(&blocks[5]), 9, 1, &[]));
    blocks.extend(extend(&blocks[6], 6, 2, 0));
    let path = folder.file("blk00000.dat", &dump(&blocks));
    let (report, code) = folder.append(&[&path], &[]);
    assert_eq!((code, height(&report)), (1, 5), "{report}");
    assert_eq!(report["rejections"][0]["rule"], "bad-cb-height");
    assert_eq!(best_branch(&folder.chain()).len(), 6);
}

#[test]
fn a_published_branch_reorganises_the_file() {
    let read = |name: &str| data(&format!("bitcoin-blocks/btcd_blk_{name}.dat.bz2"));
    let (Some(start), Some(a3), Some(a4), Some(a5)) =
        (read("0_to_4"), read("3A"), read("4A"), read("5A"))
    else {
        return;
    };
    let folder = Folder::new();
    let (before, _) = folder.append(&[&start], &[]);
    assert_eq!(height(&before), 4);
    // A shorter branch, then a tie: the file stays where it is, to the byte.
    let bytes = folder.chain();
    for dumps in [&[&start, &a3][..], &[&start, &a3, &a4]] {
        let dumps: Vec<&Path> = dumps.iter().map(|path| path.as_path()).collect();
        let (report, _) = folder.append(&dumps, &[]);
        assert_eq!(report["tip"], before["tip"]);
        assert!(folder.chain() == bytes);
    }
    // The branch needs no block that the file has.
    let (report, _) = folder.append(&[&a3, &a4, &a5], &[]);
    assert_eq!(height(&report), 5);
    assert!(folder.chain().starts_with(&bytes[..4096]), "the file only grows");
    assert!(folder.chain()[3 * 4096..].starts_with(&bytes[3 * 4096..]));
    let id = "00000000195f85184e77c18914bd0febd11278d950f5e4731a38f71ed79f044e";
    assert_eq!(report["tip"]["hash"], id);
    let (shown, _) = folder.json(&["show", "c"]);
    assert_eq!(shown["reorganisations"], 1);
    folder.comes_back(&report);
    // What was taken back is still there.
    let old = before["tip"]["hash"].as_str().expect("an id");
    let (shown, code) = folder.json(&["show", "c", "--block", old]);
    assert_eq!((code, &shown["block"]["best_branch"]), (0, &false.into()));
}

#[test]
fn there_and_back_again_every_byte_survives() {
    let first = from_genesis(14);
    let second = [first[..6].to_vec(), extend(&first[5], 5, 11, 1)].concat();
    let more = extend(&first[14], 14, 4, 2);
    let and_back = extend(&second[16], 16, 5, 3);
    // The later dumps bring no body that the file has: it reads its own again.
    let file = block_file(&[first.clone(), second[6..].to_vec(), more.clone()]);
    let longer = [first.clone(), more].concat();
    assert!(best_branch(&file.bytes()) == longer);
    let kinds =
        |bytes: &[u8]| dissect(bytes).frames.iter().filter(|(_, kind, _)| *kind == 3).count();
    assert_eq!(kinds(&file.bytes()), 2);
    let folder = Folder::new();
    std::fs::write(folder.path("c"), file.bytes()).expect("a file");
    let path = folder.file("blk00000.dat", &dump(&and_back));
    let (report, code) = folder.append(&[&path], &[]);
    assert_eq!((code, height(&report)), (0, 21), "{report}");
    assert!(best_branch(&folder.chain()) == [second, and_back].concat());
    assert_eq!(open(&folder.chain()).expect("a file").store.file().reorganisations(), 3);
    let (checked, code) = folder.json(&["check", "c"]);
    assert_eq!((code, &checked["verdict"]), (0, &"valid".into()));
    folder.comes_back(&report);
}

#[test]
fn neither_threads_nor_batches_change_a_byte() {
    let blocks = from_genesis(70);
    let branch = [blocks[40..41].to_vec(), extend(&blocks[40], 40, 33, 5)].concat();
    let dumps = [blocks, branch];
    let plain = block_file_how(&dumps, How::PLAIN).bytes();
    for threads in [1, 2, 5] {
        for batch in [1, 3, 1000] {
            for overlap in [false, true] {
                let how = How { threads, batch, overlap, ..How::PLAIN };
                assert!(
                    block_file_how(&dumps, how).bytes() == plain,
                    "{threads} {batch} {overlap}"
                );
            }
        }
    }
    // Commits in between change the slots, and nothing behind them.
    let how = How { commit_bytes: 700, ..How::PLAIN };
    let often = block_file_how(&dumps, how).bytes();
    assert!(often[3 * 4096..] == plain[3 * 4096..]);
    assert!(dissect(&often).slots[0].sequence > 10);
}

#[test]
fn another_chain_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let blocks = from_genesis(6);
    let path = folder.file("blk00000.dat", &dump(&blocks));
    let main = folder.file("main.dat", &dump_of(Network::Main, &blocks_of_main()));
    let ledger = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo.dump");
    let headers: Vec<u8> = blocks.iter().flat_map(|block| block[..80].to_vec()).collect();
    let headers = folder.file("headers.hdr", &headers);
    let refused = |dump: &Path, more: &[&str], why: &str| {
        let before = folder.chain();
        let (report, code) = folder.append(&[dump], more);
        assert_eq!((code, report), (2, Value::Null), "{why}");
        assert!(folder.chain() == before, "{why}");
    };
    for made_of in [&headers, &ledger, &main] {
        let _ = std::fs::remove_file(folder.path("c"));
        assert_eq!(folder.append(&[made_of], &[]).1, 0, "{}", made_of.display());
        refused(&path, &[], "blocks of regtest into another file");
        refused(&path, &["--level", "blocks"], "the same, named");
    }
    std::fs::remove_file(folder.path("c")).expect("a file");
    assert_eq!(folder.append(&[&path], &[]).1, 0);
    refused(&main, &[], "the main network");
    refused(&ledger, &[], "a ledger");
    refused(&headers, &[], "headers");
    refused(&path, &["--level", "headers"], "the headers of blocks");
    refused(&path, &["--activation-height", "segwit@5"], "other heights of forks");
    let later = folder.file("later.dat", &dump(&blocks[3..]));
    refused(&later, &["--start-height", "3"], "a start on trust");
    // Another writer, who has the file open.
    let lock = FileStorage::open(&folder.path("c")).expect("a file");
    let before = folder.chain();
    let (report, code) = folder.append(&[&path], &[]);
    assert_eq!((code, &report["error"]["kind"]), (5, &"locked".into()), "{report}");
    assert!(folder.chain() == before);
    assert_eq!(folder.json(&["show", "c"]).1, 0, "readers are not kept out");
    drop(lock);
    assert_eq!(folder.append(&[&path], &[]).1, 0);
}

fn blocks_of_main() -> Vec<Vec<u8>> {
    vec![blockmill::bitcoin::genesis_block(Network::Main)]
}

#[test]
fn the_head_says_which_heights_forks_have() {
    let mut params = blockmill::bitcoin::Params::of(Network::Regtest);
    params.heights.segwit = 77;
    let loaded = open(&LoadedBlocks::empty_file(&params)).expect("a file");
    assert_eq!(loaded.store.params(), &params);
    // Blocks with witnesses are not for a file whose segwit comes later.
    let folder = Folder::new();
    let path = folder.file("blk00000.dat", &dump(&from_genesis(10)));
    let (report, code) = folder.append(&[&path], &["--activation-height", "segwit@77"]);
    assert_eq!((code, &report["rejections"][0]["rule"]), (1, &"unexpected-witness".into()));
}
