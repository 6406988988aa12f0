//! Dumps of ledgers as files, through the program: damaged, cut, out of order, compressed, piped, in
//! parts, and of another ledger than expected.

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blockmill::ledger::{DumpHead, Params};
use blockmill::primitives::{Hash256, Header};
use serde_json::Value;

use common::ledger::{
    Block, Draft, Ledger, RECORD_HEAD_LEN, Record, START_TIME, Transfer, Way, toml, try_dump,
};
use common::program::{COMPRESSIONS, validate};

/// A chain in which every kind of transaction stands, and the last block is the only one at its height.
fn chain(ledger: &Ledger) -> Vec<Block> {
    let transfer = Transfer { memo: b"memo".to_vec(), ..Transfer::default() };
    let first = ledger.block(&ledger.genesis(), &[ledger.sign(&transfer)]);
    let second = ledger.block(&first, &[ledger.sign(&Record { nonce: 1, ..Record::default() })]);
    let third = ledger.block(&second, &[]);
    vec![first, second, third]
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

/// The report without what differs from run to run and from file to file.
fn essence(mut report: Value) -> Value {
    let map = report.as_object_mut().expect("an object");
    map.remove("timing");
    map.remove("backend");
    map.remove("files");
    for rejection in map["rejections"].as_array_mut().expect("a list") {
        rejection.as_object_mut().expect("an object").remove("file");
    }
    for orphan in map["orphans_by_parent"].as_array_mut().expect("a list") {
        orphan.as_object_mut().expect("an object").remove("file");
    }
    report
}

/// What a reader can see of a judgement: the exit code's cause, or the tip.
#[derive(Debug, PartialEq)]
enum Shown {
    Refused,
    Rejected,
    Incomplete,
    Tip(Hash256),
}

/// Judges a dump in this process, as the program would.
fn shown(dump: &[u8]) -> Shown {
    let Ok(validation) = try_dump(dump, &Way::PLAIN) else { return Shown::Refused };
    let Some(outcome) = &validation.outcome else { return Shown::Refused };
    if outcome.blocks.rejected > 0 {
        return Shown::Rejected;
    }
    let is_whole = validation.files.entries().iter().all(|file| file.is_whole());
    if validation.error.is_some() || !is_whole {
        return Shown::Incomplete;
    }
    Shown::Tip(outcome.tip.id)
}

/// The same by the program itself.
fn shown_by_program(folder: &Folder, dump: &[u8]) -> Shown {
    let (report, code) = validate(&[], &[&folder.file("dump", dump)]);
    let shows_error = !report["error"].is_null();
    match code {
        1 => Shown::Rejected,
        3 if report["tip"].is_null() => {
            assert!(shows_error, "{report}");
            Shown::Refused
        }
        3 => {
            let file = &report["files"][0];
            let skipped = file["skipped"].as_array().is_some_and(|ranges| !ranges.is_empty());
            assert!(shows_error || skipped || !file["torn"].is_null(), "{report}");
            Shown::Incomplete
        }
        0 => Shown::Tip(report["tip"]["hash"].as_str().expect("an id").parse().expect("an id")),
        2 => Shown::Refused,
        other => panic!("exit code {other}: {report}"),
    }
}

/// The parts of a dump: what opens it, and the records.
struct Parts {
    head: Vec<u8>,
    records: Vec<Vec<u8>>,
    tip: Hash256,
}

impl Parts {
    fn new() -> Self {
        let ledger = Ledger::new();
        let chain = chain(&ledger);
        let records = chain.iter().map(Block::record).collect();
        Self { head: ledger.head(1), records, tip: chain[2].id() }
    }

    fn dump(&self) -> Vec<u8> {
        [&self.head[..], &self.records.concat()].concat()
    }
}

// --- damage ---

#[test]
fn no_byte_can_change_unseen() {
    let (parts, folder) = (Parts::new(), Folder::new());
    let dump = parts.dump();
    assert_eq!(shown(&dump), Shown::Tip(parts.tip));
    for place in 0..dump.len() {
        let mut damaged = dump.clone();
        damaged[place] ^= 1 << (place % 8);
        let found = shown(&damaged);
        let in_head = place < parts.head.len();
        let expected = if in_head { Shown::Refused } else { Shown::Incomplete };
        assert_eq!(found, expected, "byte {place}");
        if place % 29 == 0 || place < 12 {
            assert_eq!(shown_by_program(&folder, &damaged), expected, "byte {place}");
        }
    }
}

/// Behind checksums made anew, so that the rules see the change.
#[test]
fn no_byte_can_change_unseen_by_the_rules() {
    let (parts, folder) = (Parts::new(), Folder::new());
    for (number, record) in parts.records.iter().enumerate() {
        let block = &record[RECORD_HEAD_LEN..];
        for place in 0..block.len() {
            let mut changed = block.to_vec();
            changed[place] ^= 1 << (place % 8);
            let mut records = parts.records.clone();
            let header = Header::from_bytes(*changed.first_chunk().expect("a header"));
            let block = Block { header, height: 0, bytes: changed };
            records[number] = block.record();
            let dump = [&parts.head[..], &records.concat()].concat();
            let found = shown(&dump);
            // A change to a header makes another block, perhaps one whose parent is not there; what is
            // changed behind it does not fit it any more.
            let what = format!("block {number}, byte {place}: {found:?}");
            if place >= Header::LEN {
                assert_eq!(found, Shown::Rejected, "{what}");
            }
            assert_ne!(found, Shown::Tip(parts.tip), "{what}");
            if place % 29 == 0 {
                assert_eq!(shown_by_program(&folder, &dump), found, "{what}");
            }
        }
    }
    // The head: other parameters are another ledger, to which nothing connects; what says at which
    // height the dump begins is a hint.
    let hint = parts.head.len() - 12..parts.head.len() - 4;
    for place in 0..hint.start {
        let mut dump = parts.dump();
        dump[place] ^= 1 << (place % 8);
        let checksum = crc32c(&dump[..hint.end]);
        dump[hint.end..parts.head.len()].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(shown(&dump), Shown::Refused, "byte {place}");
    }
}

/// CRC-32C, a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// Parameters whose chain id is made anew as well are another ledger's.
#[test]
fn blocks_of_another_ledger_connect_to_nothing() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let other = Ledger::with(&[("name", "\"other\"")]);
    let of = |blocks: &[Block]| {
        let records: Vec<_> = blocks.iter().flat_map(Block::record).collect();
        folder.file("dump", [other.head(1), records].concat())
    };
    let (report, code) = validate(&[], &[&of(&ledger.extend(&ledger.genesis(), 3, 0))]);
    assert_eq!((code, &report["error"]["kind"]), (3, &"nothing-connects".into()));
    assert_eq!((&report["blocks"]["orphans"], &report["tip"]["height"]), (&3.into(), &0.into()));
    // Signatures are for one chain.
    let (report, code) = validate(&[], &[&of(&chain(&ledger))]);
    let first = &report["rejections"][0];
    assert_eq!((code, &first["rule"]), (1, &"bad-tx-signature".into()));
    assert_eq!((&first["height"], &first["tx"]), (&Value::Null, &1.into()));
    assert_eq!((&report["blocks"]["rejected"], &report["tip"]["height"]), (&3.into(), &0.into()));
}

#[test]
fn a_dump_cut_anywhere_shows_it() {
    let (parts, folder) = (Parts::new(), Folder::new());
    let dump = parts.dump();
    let mut ends = vec![parts.head.len()];
    parts.records.iter().for_each(|record| ends.push(ends[ends.len() - 1] + record.len()));
    for cut in 0..dump.len() {
        let found = shown(&dump[..cut]);
        if cut < ends[0] {
            assert_eq!(found, Shown::Refused, "cut at {cut}");
        } else if ends.contains(&cut) {
            assert!(matches!(found, Shown::Tip(tip) if tip != parts.tip), "cut at {cut}");
        } else {
            assert_eq!(found, Shown::Incomplete, "cut at {cut}");
        }
        if cut % 29 == 0 || ends.contains(&cut) {
            assert_eq!(shown_by_program(&folder, &dump[..cut]), found, "cut at {cut}");
        }
    }
    // The report says where the last record begins, and how much of it there is.
    let (report, code) = validate(&[], &[&folder.file("torn", &dump[..ends[2] + 20])]);
    let torn = serde_json::json!({"offset": ends[2], "bytes": 20});
    assert_eq!((code, &report["files"][0]["torn"]), (3, &torn));
    assert_eq!(report["tip"]["height"], 2);
}

/// Whatever is lost of one record, the others are found.
#[test]
fn bytes_lost_or_added_in_one_record_do_not_hide_another() {
    let (parts, folder) = (Parts::new(), Folder::new());
    let middle = &parts.records[1];
    let longer = [&middle[..100], b"more", &middle[100..]].concat();
    for damaged in [
        [&middle[..100], &middle[110..]].concat(), // ten bytes lost
        middle[..100].to_vec(),                    // a writer that stopped, and began anew
        middle[..3].to_vec(),
        middle[..16].to_vec(),
        longer,
    ] {
        // The record that is damaged stands there again, whole, at the end.
        let dump =
            [&parts.head[..], &parts.records[0], &damaged, &parts.records[2], middle].concat();
        let (report, code) = validate(&[], &[&folder.file("dump", &dump)]);
        assert_eq!((code, &report["tip"]["height"]), (3, &3.into()), "{}", damaged.len());
        let skipped = serde_json::json!(parts.head.len() + parts.records[0].len());
        assert_eq!(report["files"][0]["skipped"][0]["offset"], skipped);
        let lost: u64 = report["files"][0]["skipped"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|range| range["bytes"].as_u64().expect("a length"))
            .sum();
        assert_eq!(lost, damaged.len() as u64);
        assert!(report["files"][0]["torn"].is_null());
    }
}

// --- order ---

#[test]
fn records_in_any_order_and_any_number_and_between_anything() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let chain = chain(&ledger);
    let in_order = validate(&[], &[&folder.file("dump", ledger.dump(&chain))]).0;
    let rotated = [&chain[1..], &chain[..1]].concat();
    for blocks in [chain.iter().rev().cloned().collect(), rotated] {
        let (report, code) = validate(&[], &[&folder.file("dump", ledger.dump(&blocks))]);
        assert_eq!((code, essence(report)), (0, essence(in_order.clone())));
    }
    let twice = ledger.dump(chain.iter().chain(&chain));
    let (report, code) = validate(&[], &[&folder.file("dump", twice)]);
    assert_eq!((code, &report["tip"]), (0, &in_order["tip"]));
    let counts = &report["blocks"];
    assert_eq!((&counts["best_branch"], &counts["duplicates"]), (&3.into(), &3.into()));
    // Zeros that a file system left, a second head, and anything else.
    let records: Vec<_> = chain.iter().map(Block::record).collect();
    for (junk, why) in [
        (vec![0; 1], "zeros"),
        (vec![0; 300_000], "zeros"),
        (b"junk".to_vec(), "no record of a block"),
        (ledger.head(1), "no record of a block"),
        (records[0][..4].to_vec(), "no record of a block"),
        ([&[0xf5; 40][..], &[0; 40]].concat(), "no record of a block"),
    ] {
        let mut dump = ledger.head(1);
        let mut ranges = Vec::new();
        for record in &records {
            let range = serde_json::json!({"offset": dump.len(), "bytes": junk.len(), "why": why});
            ranges.push(range);
            dump.extend([&junk[..], record].concat());
        }
        let (report, code) = validate(&[], &[&folder.file("dump", &dump)]);
        assert_eq!((code, &report["tip"]), (3, &in_order["tip"]), "{}", junk.len());
        assert_eq!(report["files"][0]["skipped"], Value::Array(ranges));
        assert_eq!(report["verdict"], "incomplete");
    }
}

/// The report in full: the place of a fault, and what was expected and found.
#[test]
fn a_rejection_names_the_place_and_the_evidence() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let chain = chain(&ledger);
    let bad = Draft { version: 3, ..ledger.draft(&chain[2], &[]) }.mine();
    let wrong_root = ledger.block(&chain[2], &[]).exchanged();
    let path = folder.file("dump", ledger.dump(chain.iter().chain([&bad, &wrong_root])));
    let (report, code) = validate(&[], &[&path]);
    assert_eq!((code, &report["verdict"]), (1, &"rejected".into()));
    let offset = ledger.dump(&chain).len() + RECORD_HEAD_LEN;
    let expected = serde_json::json!({
        "rule": "bad-version",
        "height": 4,
        "hash": bad.id().to_string(),
        "tx": null,
        "file": path.display().to_string(),
        "offset": offset,
        "expected": "1",
        "found": "3 (0x00000003)",
    });
    assert_eq!(report["rejections"][0], expected);
    // Roots stand in byte order.
    let root = hex::encode(wrong_root.header.merkle_root().as_bytes());
    assert_eq!(report["rejections"][1]["found"], root);
    let head = DumpHead { params: ledger.params.clone(), first_height: 1 };
    assert_eq!(report["chain_id"], head.params.chain_id().to_string());
    assert_eq!(report["level"], "full");
    assert_eq!(report["not_checked"], serde_json::json!([]));
    assert_eq!((&report["family"], &report["network"]), (&"ledger".into(), &"test".into()));
}

// --- the ways in ---

/// Large dumps are scanned by several threads, which find what one finds.
#[test]
fn threads_find_what_one_thread_finds() {
    let ledger = Ledger::new();
    let chain = ledger.extend(&ledger.genesis(), 400, 0);
    let records: Vec<u8> = chain.iter().flat_map(Block::record).collect();
    let mut damaged = records.clone();
    damaged[records.len() / 2] ^= 1;
    let mut dump = ledger.head(0);
    let mut parts = 0;
    while dump.len() < 40 << 20 {
        dump.extend_from_slice(&records);
        dump.extend_from_slice(&damaged);
        dump.extend(vec![0xf5; 3000]);
        dump.extend_from_slice(&records[..records.len() - 50]);
        parts += 1;
    }
    let one = try_dump(&dump, &Way::PLAIN).expect("a dump");
    let outcome = one.outcome.as_ref().expect("a ledger");
    assert_eq!(outcome.tip.height, 400);
    assert_eq!(outcome.blocks.seen, parts * (3 * 400 - 2));
    for threads in [0, 2, 5] {
        let way = Way { threads, overlap: true, ..Way::PLAIN };
        let several = try_dump(&dump, &way).expect("a dump");
        assert_eq!(format!("{:?}", several.outcome), format!("{:?}", one.outcome));
        let [of_several, of_one] = [&several, &one].map(|judged| &judged.files.entries()[0]);
        assert_eq!(of_several.skipped, of_one.skipped);
        assert_eq!(of_several.torn, of_one.torn);
        assert_eq!((of_several.blocks, of_several.bytes), (of_one.blocks, of_one.bytes));
    }
}

/// Runs `validate` with bytes on its standard input.
fn validate_piped(bytes: &[u8]) -> (Value, i32) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_blockmill"))
        .args(["validate", "--format", "json", "--now", "2000000000", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(bytes).expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let code = output.status.code().expect("an exit code");
    (serde_json::from_slice(&output.stdout).expect("a document"), code)
}

/// A dump in which much happens: sides, orphans, rejections, a mutated copy first, and junk.
fn eventful(ledger: &Ledger) -> Vec<u8> {
    let chain = chain(ledger);
    let side = ledger.extend(&chain[0], 1, 9);
    let missing = ledger.block(&chain[2], &[]);
    let orphan = ledger.block(&missing, &[]);
    let bad = Draft { version: 3, ..ledger.draft(&chain[2], &[]) }.mine();
    let mutated = [chain[1].undecodable()];
    let blocks = mutated.iter().chain(&chain).chain(&side).chain([&orphan, &bad]);
    [&ledger.dump(blocks)[..], b"junk", &chain[0].record()].concat()
}

#[test]
fn compressed_and_piped_dumps_are_judged_alike() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let dump = eventful(&ledger);
    let (plain, plain_code) = validate(&[], &[&folder.file("dump", &dump)]);
    assert_eq!((plain_code, &plain["blocks"]["rejected"]), (1, &2.into()));
    let files = |report: &Value| {
        let file = &report["files"][0];
        (file["bytes"].clone(), file["skipped"].clone(), file["torn"].clone())
    };
    let mut judged = vec![validate_piped(&dump)];
    for (name, compress) in COMPRESSIONS {
        let compressed = compress(&dump);
        judged.push(validate(&[], &[&folder.file(&format!("dump.{name}"), &compressed)]));
        judged.push(validate_piped(&compressed));
        // Several members or streams in a row.
        let middle = dump.len() / 2;
        let members = [compress(&dump[..middle]), compress(&dump[middle..])].concat();
        judged.push(validate(&[], &[&folder.file(&format!("members.{name}"), members)]));
    }
    for (report, code) in judged {
        assert_eq!((code, files(&report)), (plain_code, files(&plain)));
        assert_eq!(essence(report), essence(plain.clone()));
    }
}

/// A compressed dump that breaks off is judged as far as it could be read.
#[test]
fn a_cut_compressed_dump_is_unreadable_from_there() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    // More than one block of bzip2.
    let blocks = ledger.extend(&ledger.genesis(), 2000, 0);
    let dump = ledger.dump(&blocks);
    for (name, compress) in COMPRESSIONS {
        let compressed = compress(&dump);
        let path = folder.file(&format!("cut.{name}"), &compressed[..compressed.len() - 20]);
        let (report, code) = validate(&[], &[&path]);
        assert_eq!((code, &report["error"]["kind"]), (3, &"unreadable".into()), "{name}");
        assert!(report["blocks"]["rejected"] == 0 && !report["tip"].is_null(), "{name}");
    }
}

#[test]
fn batches_threads_and_backends_give_one_document() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let path = folder.file("dump", eventful(&ledger));
    let (plain, plain_code) = validate(&[], &[&path]);
    for arguments in [
        &["--batch", "1"][..],
        &["--batch", "3", "--threads", "1"],
        &["--threads", "2"],
        &["--backend", "cpu"],
        &["--backend", "reference"],
        &["--backend", "reference", "--batch", "1", "--threads", "2"],
    ] {
        let (report, code) = validate(arguments, &[&path]);
        assert_eq!((code, &report["files"]), (plain_code, &plain["files"]), "{arguments:?}");
        assert_eq!(essence(report), essence(plain.clone()), "{arguments:?}");
    }
}

#[test]
fn several_files_and_directories_are_one_dump() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let chain = ledger.extend(&ledger.genesis(), 6, 0);
    let part = |blocks: &[Block], first: u64| {
        let records: Vec<_> = blocks.iter().flat_map(Block::record).collect();
        [ledger.head(first), records].concat()
    };
    let first = folder.file("1", part(&chain[..2], 1));
    let second = folder.file("2", part(&chain[2..4], 3));
    let third = folder.file("3.gz", common::program::gzip(&part(&chain[4..], 5)));
    let whole = [&first, &second, &third].map(PathBuf::as_path);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let (report, code) = validate(&[], &order.map(|at: usize| whole[at]));
        assert_eq!((code, &report["tip"]["height"]), (0, &6.into()));
        assert_eq!(report["files"].as_array().map(Vec::len), Some(3));
    }
    let (report, code) = validate(&[], &[folder.0.path()]);
    assert_eq!((code, &report["tip"]["height"]), (0, &6.into()));
    // Parts from the middle alone: the hint names the height at which they begin.
    for (parts, begins) in [
        (&[&*second][..], "height 3"),
        (&[&*third, &*second], "height 3"),
        (&[&*third], "height 5"),
    ] {
        let (report, code) = validate(&[], parts);
        assert_eq!((code, &report["error"]["kind"]), (3, &"nothing-connects".into()));
        let message = report["error"]["message"].as_str().expect("a message");
        assert!(message.contains(begins), "{message}");
        assert_eq!(report["tip"]["height"], 0);
    }
    // A gap: what is behind it is not judged in context, and that is no fault.
    let (report, code) = validate(&[], &[&first, &third]);
    assert_eq!(
        (code, &report["tip"]["height"], &report["blocks"]["orphans"]),
        (0, &2.into(), &2.into())
    );
    // One part that cannot be read does not hide the others.
    let damaged = folder.file("damaged", &part(&chain, 1)[1..]);
    for order in [[&damaged, &first], [&first, &damaged]] {
        let (report, code) = validate(&[], &order.map(PathBuf::as_path));
        assert_eq!((code, &report["tip"]["height"]), (3, &2.into()));
        assert_eq!(report["error"]["kind"], "not-recognised");
    }
    let mut head = part(&chain, 1);
    head[20] ^= 1;
    let bad_head = folder.file("bad-head", head);
    for order in [[&bad_head, &first], [&first, &bad_head]] {
        let (report, code) = validate(&[], &order.map(PathBuf::as_path));
        assert_eq!((code, &report["tip"]["height"]), (3, &2.into()));
        assert_eq!(report["error"]["file"], bad_head.display().to_string());
    }
}

// --- which ledger ---

#[test]
fn parameters_are_those_of_the_dump_or_of_the_user() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let dump = folder.file("dump", ledger.dump(&chain(&ledger)));
    let same = folder.file("same.toml", toml(&[]));
    let network = |path: &Path| ["--network".to_owned(), path.display().to_string()];
    let with = |path: &Path, dumps: &[&Path]| {
        let [option, value] = network(path);
        validate(&[&option, &value], dumps)
    };
    let (plain, code) = validate(&[], &[&dump]);
    assert_eq!((code, &plain["parameters"]), (0, &"from dump".into()));
    let (given, code) = with(&same, &[&dump]);
    assert_eq!((code, &given["parameters"]), (0, &"given".into()));
    assert_eq!((&given["tip"], &given["chain_id"]), (&plain["tip"], &plain["chain_id"]));
    for (key, value) in [
        ("name", "\"other\""),
        ("salt", &format!("\"{}\"", "08".repeat(32))[..]),
        ("time", &(START_TIME + 1).to_string()),
        ("subsidy", "1001"),
        ("future_max_s", "1"),
    ] {
        // Keys that the usual file leaves out come first, before the allocations.
        let text = toml(&[(key, value)]);
        let extra =
            if key == "future_max_s" { format!("{key} = {value}\n") } else { String::new() };
        let other = folder.file("other.toml", extra + &text);
        assert_ne!(
            Params::from_toml(&std::fs::read_to_string(&other).expect("text")),
            Ok(ledger.params.clone())
        );
        assert_eq!(with(&other, &[&dump]).1, 2, "{key}");
    }
    let broken = folder.file("broken.toml", "format = 1\n");
    assert_eq!(with(&broken, &[&dump]).1, 2);
    assert_eq!(validate(&["--network", "regtest"], &[&dump]).1, 2);
    assert_eq!(validate(&["--start-height", "3"], &[&dump]).1, 2);
    assert_eq!(validate(&["--level", "headers"], &[&dump]).1, 2);
    assert_eq!(validate(&["--level", "full"], &[&dump]).1, 0);
}

#[test]
fn two_networks_in_one_run_are_a_wrong_question() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let other = Ledger::with(&[("name", "\"other\"")]);
    let dump = folder.file("dump", ledger.dump(&chain(&ledger)));
    let foreign = folder.file("foreign", other.dump(&chain(&other)));
    let bitcoin = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/regtest.hdr");
    for pair in [[&dump, &foreign], [&foreign, &dump], [&dump, &bitcoin], [&bitcoin, &dump]] {
        assert_eq!(validate(&[], &pair.map(PathBuf::as_path)).1, 2, "{pair:?}");
    }
    let path = folder.file("params.toml", toml(&[])).display().to_string();
    assert_eq!(validate(&["--network", &path], &[&bitcoin]).1, 2);
}

/// A dump without blocks is a ledger that has just begun.
#[test]
fn a_head_alone_is_a_dump() {
    let (ledger, folder) = (Ledger::new(), Folder::new());
    let (report, code) = validate(&[], &[&folder.file("dump", ledger.head(1))]);
    assert_eq!((code, &report["verdict"]), (0, &"valid".into()));
    assert_eq!(report["tip"]["hash"], ledger.params.chain_id().to_string());
    assert_eq!((&report["blocks"]["seen"], &report["ledger"]["accounts"]), (&0.into(), &8.into()));
    assert_eq!(report["ledger"]["supply"], "8000000");
    // The clock decides what is too new.
    let late = ledger.draft_at(&ledger.genesis(), 2_000_000_000 + 7201, &[]).mine();
    let path = folder.file("late", ledger.dump([&late]));
    assert_eq!(validate(&[], &[&path]).0["rejections"][0]["rule"], "time-too-new");
}
