//! The program as a user meets it: arguments, exit codes, reports, pipes, directories, bad input.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use blockmill::bitcoin::{Network, Params};
use blockmill::primitives::Header;
use serde_json::Value;

use common::chain::{Draft, dump, extend, from_genesis};
use common::program::{COMPRESSIONS, validate};
use common::{data, read_data};

fn blockmill() -> Command {
    Command::new(env!("CARGO_BIN_EXE_blockmill"))
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/regtest.hdr")
}

fn regtest(length: usize) -> Vec<Header> {
    from_genesis(&Params::of(Network::Regtest), length)
}

/// A folder of the test's own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }
}

/// A document without what may differ between backends, threads and batch sizes.
fn comparable(mut report: Value) -> Value {
    let map = report.as_object_mut().expect("an object");
    map.remove("backend").expect("a backend");
    map.remove("timing").expect("a timing");
    report
}

#[test]
fn the_report_has_every_documented_key() {
    let (report, code) = validate(&[], &[&fixture()]);
    assert_eq!(code, 0);
    assert_eq!(report["schema"], 1);
    assert_eq!(report["verdict"], "valid");
    assert_eq!(report["family"], "bitcoin");
    assert_eq!(report["network"], "regtest");
    assert_eq!(report["chain_id"], Value::Null);
    assert_eq!(report["level"], "headers");
    assert_eq!(report["tip"]["height"], 2100);
    assert_eq!(report["tip"]["hash"].as_str().map(str::len), Some(64));
    assert_eq!(report["tip"]["chainwork"].as_str().map(str::len), Some(64));
    let blocks: Vec<_> =
        ["seen", "best_branch", "side", "orphans", "unconnected", "duplicates", "rejected"]
            .map(|key| report["blocks"][key].as_u64().expect("a count"))
            .to_vec();
    assert_eq!(blocks, [2104, 2101, 3, 0, 0, 0, 0]);
    assert_eq!(report["side_branches"][0]["fork_height"], 2000);
    assert_eq!(report["rejections"], Value::Array(vec![]));
    assert_eq!(report["rejections_omitted"], 0);
    assert_eq!(report["not_checked"], serde_json::json!(["bodies", "inputs", "scripts"]));
    assert_eq!(report["trusted"], Value::Null);
    let file = &report["files"][0];
    assert_eq!(file["path"], fixture().display().to_string());
    assert_eq!((&file["kind"], &file["bytes"]), (&"headers".into(), &168_320.into()));
    assert_eq!((&file["blocks"], &file["torn"]), (&2104.into(), &Value::Null));
    assert_eq!(file["skipped"], Value::Array(vec![]));
    for key in ["fallbacks", "cross_checked", "mismatches"] {
        assert_eq!(report["backend"][key], 0);
    }
    assert_eq!(report["backend"]["name"], "cpu");
    for key in ["read", "hash", "bodies", "connect", "append"] {
        assert!(report["timing"]["busy_s"][key].is_f64(), "{key}");
    }
    assert!(report["timing"]["elapsed_s"].is_f64());
    assert_eq!(report["error"], Value::Null);
}

#[test]
fn a_rejection_names_rule_height_file_offset_and_evidence() {
    let folder = Folder::new();
    let mut chain = regtest(9);
    let bad = Draft { version: 1, ..Draft::after(&chain[9]) }.mine();
    chain.push(bad);
    let first = folder.file("1.hdr", dump(&chain[..4]));
    let second = folder.file("2.hdr", dump(&chain[4..]));
    let (report, code) = validate(&[], &[&first, &second]);
    assert_eq!((code, &report["verdict"]), (1, &"rejected".into()));
    let expected = serde_json::json!([{
        "rule": "bad-version", "height": 10, "hash": bad.id().to_string(), "tx": null,
        "file": second.display().to_string(), "offset": 6 * 80,
        "expected": "at least 4", "found": "1 (0x00000001)",
    }]);
    assert_eq!(report["rejections"], expected);
    blockmill().args(["validate", "--now", "2000000000"]).args([&first, &second]).ends_with_output(
        1,
        "bad-version: block",
        "",
    );
}

/// Small conveniences over assert_cmd.
trait Check {
    /// Checks the exit code and that stdout and stderr hold these texts.
    fn ends_with_output(&mut self, code: i32, stdout: &str, stderr: &str);
}

impl Check for Command {
    fn ends_with_output(&mut self, code: i32, stdout: &str, stderr: &str) {
        let output = self.output().expect("the program runs");
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
        assert!(out.contains(stdout), "'{stdout}' is not in stdout: {out}");
        assert!(err.contains(stderr), "'{stderr}' is not in stderr: {err}");
    }
}

/// The bytes in every compression, as two members or streams in a row that are cut in the middle of a
/// header.
fn compressed(bytes: &[u8]) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let (head, tail) = bytes.split_at(bytes.len() / 2 + 3);
    COMPRESSIONS
        .iter()
        .map(move |(name, compress)| (*name, [compress(head), compress(tail)].concat()))
}

#[test]
fn every_form_of_input_gives_the_same_verdict() {
    let chain = regtest(300);
    let bytes = dump(&chain);
    let hex: String =
        chain.iter().map(|header| format!("{}\n", hex::encode(header.as_bytes()))).collect();
    let folder = Folder::new();
    let mut files = vec![folder.file("plain", &bytes), folder.file("lines", &hex)];
    let windows = format!("\r\n{}", hex.to_uppercase().replace('\n', " \r\n\r\n"));
    files.push(folder.file("windows", windows.trim_end()));
    for (name, bytes) in compressed(&bytes).chain(compressed(hex.as_bytes())) {
        let name = format!("{}.{name}", files.len());
        files.push(folder.file(&name, bytes));
    }
    assert_eq!(files.len(), 11);
    for file in &files {
        let (report, code) = validate(&[], &[file]);
        assert_eq!((code, &report["blocks"]["best_branch"]), (0, &301.into()), "{report}");
    }
    // From a pipe, by the same recognition.
    for file in &files {
        let output = blockmill()
            .args(["validate", "--format", "json", "-"])
            .write_stdin(fs::read(file).expect("a file"))
            .output()
            .expect("the program runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((output.status.code(), &report["tip"]["height"]), (Some(0), &300.into()));
        assert_eq!(report["files"][0]["path"], "-");
    }
}

#[test]
fn several_files_are_one_chain_and_a_directory_is_read_by_name() {
    let chain = regtest(20);
    let folder = Folder::new();
    folder.file("b.hdr", dump(&chain[10..]));
    folder.file("a.hdr", dump(&chain[..10]));
    folder.file("notes.txt", "not a header");
    fs::create_dir(folder.0.path().join("c")).expect("a folder");
    fs::write(folder.0.path().join("c/more.hdr"), dump(&extend(&chain[20], 1, 1))).expect("a file");
    let (report, code) = validate(&[], &[folder.0.path()]);
    assert_eq!((code, &report["tip"]["height"]), (0, &20.into()));
    let files = report["files"].as_array().expect("files");
    let kinds: Vec<_> = files.iter().map(|file| file["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["headers", "headers", "other"]);
    let why = files[2]["skipped"][0]["why"].as_str().expect("a reason");
    assert!(why.contains("text"), "{why}");
}

#[test]
fn input_that_cannot_be_judged_names_file_and_offset_and_exits_3() {
    let folder = Folder::new();
    let empty_folder = Folder::new();
    let useless = Folder::new();
    useless.file("readme", "hello");
    let cases = [
        (folder.file("empty", ""), "empty"),
        (folder.file("text", "some text\nand more\n"), "text file"),
        (folder.file("blank", "\n\n"), "text file"),
        (folder.file("short", [0; 79]), "too short"),
        (folder.file("zeros", [0; 800]), "not recognised"),
        (folder.0.path().join("missing"), "No such file"),
        (empty_folder.0.path().into(), "empty"),
        (useless.0.path().into(), "no dump"),
        (folder.file("broken.gz", [0x1f, 0x8b, 8, 0, 0, 0]), "offset 0"),
    ];
    for (path, why) in &cases {
        let (report, code) = validate(&["--network", "regtest"], &[path]);
        let error = &report["error"];
        assert_eq!(code, 3, "{report}");
        assert_eq!(report["verdict"], "incomplete");
        assert_eq!(error["file"], path.display().to_string());
        assert_eq!(error["offset"], 0);
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(why), "'{why}' is not in '{message}'");
        // People read the same on stderr.
        blockmill().arg("validate").arg(path).ends_with_output(3, "", why);
    }
}

#[test]
fn a_torn_tail_is_judged_up_to_there() {
    let chain = regtest(5);
    let mut bytes = dump(&chain);
    bytes.truncate(bytes.len() - 7);
    let folder = Folder::new();
    let torn = folder.file("torn", &bytes);
    let (report, code) = validate(&[], &[&torn]);
    assert_eq!((code, &report["tip"]["height"]), (3, &4.into()));
    assert_eq!(report["files"][0]["torn"], serde_json::json!({"offset": 400, "bytes": 73}));
    blockmill().arg("validate").arg(&torn).ends_with_output(3, "offset 400", "");
    // A rejection weighs more than a torn tail.
    let bad = Draft { version: 1, ..Draft::after(&chain[5]) }.mine();
    let both = folder.file("both", [&dump(&chain)[..], bad.as_bytes(), &[1, 2, 3]].concat());
    assert_eq!(validate(&[], &[&both]).1, 1);
}

#[test]
fn a_compressed_file_that_breaks_off_is_judged_up_to_there() {
    let chain = regtest(2000);
    let folder = Folder::new();
    for (name, bytes) in compressed(&dump(&chain)) {
        let cut = folder.file(&format!("cut.{name}"), &bytes[..bytes.len() * 9 / 10]);
        let (report, code) = validate(&[], &[&cut]);
        assert_eq!((code, &report["error"]["kind"]), (3, &"unreadable".into()), "{name}");
        assert!(report["tip"]["height"].as_u64() > Some(0), "{name}: {report}");
        assert!(report["error"]["offset"].as_u64() > Some(0), "{name}");
    }
}

#[test]
fn junk_between_hex_lines_is_reported_and_the_rest_judged() {
    let chain = regtest(3);
    let line = |index: usize| hex::encode(chain[index].as_bytes());
    let long = "f".repeat(5000);
    let text = format!("{}\nfork:{}\n{}\n{long}\n{}", line(0), line(1), line(1), line(2));
    let folder = Folder::new();
    let file = folder.file("lines", text);
    let (report, code) = validate(&[], &[&file]);
    assert_eq!((code, &report["blocks"]["best_branch"]), (3, &3.into()));
    let skipped = report["files"][0]["skipped"].as_array().expect("ranges");
    let ranges: Vec<_> =
        skipped.iter().map(|range| (range["offset"].as_u64(), range["bytes"].as_u64())).collect();
    assert_eq!(ranges, [(Some(161), Some(166)), (Some(488), Some(5001))]);
}

#[test]
fn networks_are_recognised_or_asked_for_and_never_mixed() {
    let folder = Folder::new();
    let genesis = |network| Params::of(network).genesis;
    for network in Network::ALL {
        let file = folder.file(network.name(), genesis(network).as_bytes());
        let (report, code) = validate(&[], &[&file]);
        assert_eq!((code, &report["network"]), (0, &network.name().into()));
    }
    let middle = folder.file("middle", dump(&regtest(9)[5..]));
    blockmill().arg("validate").arg(&middle).ends_with_output(2, "", "--network");
    let (main, test) = (folder.0.path().join("main"), folder.0.path().join("testnet4"));
    blockmill().arg("validate").args([&main, &test]).ends_with_output(2, "", "two networks");
    let wrong = ["validate", "--network", "signet"];
    blockmill().args(wrong).arg(&main).ends_with_output(2, "", "two networks");
    blockmill().args(["validate", "--network", "x"]).arg(&main).ends_with_output(2, "", "testnet4");
}

#[test]
fn a_dump_from_the_middle_says_what_it_takes_on_trust() {
    let folder = Folder::new();
    let middle = folder.file("middle", dump(&regtest(40)[20..]));
    let (report, code) = validate(&["--network", "regtest"], &[&middle]);
    assert_eq!((code, &report["error"]["kind"]), (3, &"nothing-connects".into()));
    assert_eq!((&report["error"]["offset"], &report["blocks"]["orphans"]), (&0.into(), &21.into()));
    let start = ["--network", "regtest", "--start-height", "20"];
    let (report, code) = validate(&start, &[&middle]);
    assert_eq!((code, &report["tip"]["height"]), (0, &40.into()));
    assert_eq!(report["trusted"]["start_height"], 20);
    let not_checked = report["not_checked"].as_array().expect("ids");
    assert!(not_checked.contains(&"difficulty-at-start".into()));
    blockmill().args(["validate"]).args(start).arg(&middle).ends_with_output(0, "trusted", "");
}

#[test]
fn the_document_is_the_same_for_any_backend_threads_and_batch() {
    let folder = Folder::new();
    let mut chain = regtest(600);
    let branch = extend(&chain[400], 50, 3);
    chain.extend(&branch);
    chain.push(Draft { version: 1, ..Draft::after(&branch[9]) }.mine());
    chain.push(Draft::after(&branch[20]).unmined());
    chain.rotate_left(250);
    let file = folder.file("chain", dump(&chain));
    let mut ways = vec![vec!["--backend", "reference"]];
    for threads in ["1", "2"] {
        for batch in ["1", "7", "1000000"] {
            ways.push(vec!["--backend", "cpu", "--threads", threads, "--batch", batch]);
        }
    }
    let device = common::test_device();
    if let Some(device) = &device {
        for batch in ["1", "7", "1000000"] {
            ways.push(vec!["--device", device, "--batch", batch, "--cross-check", "10%"]);
        }
    }
    let mut files = vec![file];
    files.extend(data("bitcoin-headers/mainnet_0-10236.hdr"));
    for file in &files {
        let mut documents = Vec::new();
        for way in &ways {
            // One header at a time is slow on a device; the small file shows it as well.
            let single = way.contains(&"1") && way.contains(&"--device");
            if single && file != &files[0] {
                continue;
            }
            let (report, code) = validate(way, &[file]);
            assert_eq!(report["backend"]["mismatches"], 0);
            if way.contains(&"--device") {
                assert_eq!(report["backend"]["name"], "gpu");
                assert!(report["backend"]["cross_checked"].as_u64() > Some(0));
            }
            documents.push((comparable(report), code));
        }
        assert!(documents.windows(2).all(|pair| pair[0] == pair[1]), "{file:?}");
    }
}

/// The id of each header and the roots of each block, in blocks without witnesses and in some that hold
/// transactions too long for a device.
#[test]
fn a_device_hashes_real_blocks() {
    let Some(device) = common::test_device() else { return };
    for (name, options, results) in [
        ("mainnet_0-4312.blk.dat", &[][..], 2 * 4313),
        ("mainnet_831328-831331.blk.dat", &["--start-height", "831328"], 3 * 4),
    ] {
        let Some(file) = data(&format!("bitcoin-blocks/{name}")) else { continue };
        let of_device = [&["--device", &device, "--cross-check", "100%"], options].concat();
        let (report, code) = validate(&of_device, &[&file]);
        assert_eq!(code, 0, "{name}");
        assert_eq!(report["backend"]["cross_checked"], results, "{name}");
        let (right, _) = validate(&[&["--backend", "cpu"], options].concat(), &[&file]);
        assert_eq!(comparable(report), comparable(right), "{name}");
    }
}

#[test]
fn arguments_that_make_no_sense_exit_2() {
    let file = fixture();
    let file = file.to_str().expect("a path");
    for arguments in [
        &["validate"][..],
        &["validate", "--batch", "0", file],
        &["validate", "--threads", "0", file],
        &["validate", "--cross-check", "101%", file],
        &["validate", "--level", "blocks", file],
        &["validate", "--backend", "cpu", "--device", "software", file],
        &["validate", "--activation-height", "bip34", file],
        &["validate", "--activation-height", "taproot@2", file],
        &["validate", "--start-height", "0", file],
        &["validate", "--input", "nonsense", file],
        &["nonsense"],
        &[],
    ] {
        let output = blockmill().args(arguments).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_why() {
    let file = fixture();
    blockmill().args(["validate", "--device", "nonsense"]).arg(&file).ends_with_output(
        5,
        "",
        if cfg!(feature = "gpu") { "nonsense" } else { "feature `gpu`" },
    );
    let (report, code) = validate(&["--device", "nonsense"], &[&file]);
    assert_eq!((code, &report["error"]["kind"]), (5, &"device".into()));
}

#[test]
fn stderr_is_quiet_when_it_is_no_terminal() {
    let output = blockmill()
        .args(["validate", "--backend", "cpu"])
        .arg(fixture())
        .output()
        .expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn help_teaches_with_examples() {
    blockmill().arg("--help").ends_with_output(0, "Exit codes", "");
    blockmill().args(["validate", "--help"]).ends_with_output(0, "Examples:", "");
    blockmill().args(["bench", "--help"]).ends_with_output(0, "Examples:", "");
}

#[test]
fn devices_names_the_cpu_and_every_adapter() {
    let cache = tempfile::tempdir().expect("a folder");
    let ask = || {
        let mut command = blockmill();
        command.env("XDG_CACHE_HOME", cache.path()).args(["devices", "--format", "json"]);
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let report = ask();
    assert_eq!(report["schema"], 1);
    assert!(report["cpu"]["sha"].is_string() && report["cpu"]["threads"].as_u64() > Some(0));
    if !common::software_adapter_is_there() {
        return;
    }
    let devices = report["devices"].as_array().expect("a list");
    let software = devices.iter().find(|device| device["type"] == "software").expect("one");
    for key in ["id", "name", "driver", "self_test", "why", "backend"] {
        assert!(software[key].is_string(), "{key}");
    }
    assert_eq!((&software["self_test"], &software["auto"]), (&"passed".into(), &false.into()));
    assert!(software["limits"]["storage_binding_bytes"].as_u64() > Some(0));
    let jobs = software["crossovers"].as_array().expect("a list");
    assert_eq!(jobs.len(), if cfg!(feature = "mine") { 5 } else { 4 });
    for job in jobs {
        for key in ["batch", "device_rate", "cpu_rate"] {
            assert!(job[key].as_f64() > Some(0.0), "{job} {key}");
        }
        assert!(job["from"].is_null() || job["from"].as_u64() <= job["batch"].as_u64(), "{job}");
    }
    // Measured once. Where the cache lies is Linux's way of saying it.
    assert_eq!(software["crossovers_kept"], false);
    if cfg!(target_os = "linux") {
        let again = ask();
        let again = again["devices"].as_array().expect("a list").iter();
        let kept = again.clone().find(|device| device["type"] == "software").expect("one");
        assert_eq!(
            (&kept["crossovers_kept"], &kept["crossovers"]),
            (&true.into(), &software["crossovers"])
        );
    }
    let id = software["id"].as_str().expect("an id");
    let (report, code) = validate(&["--device", &id[..id.len() - 2]], &[&fixture()]);
    assert_eq!((code, &report["backend"]["name"]), (0, &"gpu".into()));
}

#[test]
fn bench_measures_the_software_adapter_too_if_it_is_named() {
    if !common::software_adapter_is_there() {
        return;
    }
    let output = blockmill()
        .args(["bench", "--quick", "--format", "json", "--device", "software"])
        .args(["--suite", "headers", "--suite", "signatures"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for suite in report["suites"].as_array().expect("suites") {
        let results = suite["results"].as_array().expect("results");
        assert_eq!(
            (&results[0]["backend"], &results[0]["speedup_vs_cpu"]),
            (&"cpu".into(), &1.0.into())
        );
        let gpus: Vec<_> = results.iter().filter(|result| result["backend"] == "gpu").collect();
        // No device judges signatures.
        assert_eq!(gpus.len(), usize::from(suite["name"] == "headers"));
        assert!(gpus.iter().all(|gpu| gpu["software"] == true));
    }
}

/// The records of a sound block file.
fn records_of(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut records) = (bytes, Vec::new());
    while let Some(head) = rest.first_chunk::<8>() {
        let len = u32::from_le_bytes(*head.last_chunk().expect("four bytes"));
        let (record, behind) = rest.split_at(8 + len as usize);
        records.push(record);
        rest = behind;
    }
    records
}

/// The report of `validate` for people, and what it writes to stderr.
fn for_people(arguments: &[&str], files: &[&Path]) -> (String, String, i32) {
    let mut command = blockmill();
    let output = command.arg("validate").args(arguments).args(files).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("an exit code");
    (text(output.stdout), text(output.stderr), code)
}

/// Each file that cannot be read or recognised is named, with its length and the reason.
#[test]
fn every_file_that_cannot_be_read_is_in_the_report() {
    let Some(bytes) = read_data("bitcoin-blocks/regtest_0-150.blk.dat") else { return };
    let folder = Folder::new();
    folder.file("blk00000.dat", &bytes);
    let hidden: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x91).collect();
    folder.file("blk00001.dat", [0x87; 500]);
    folder.file("blk00002.dat", &hidden);
    let gone = folder.0.path().join("blk00003.dat");
    let mut damaged = common::program::gzip(&bytes);
    let middle = damaged.len() / 2;
    damaged.truncate(middle);
    folder.file("blk00004.dat.gz", &damaged);
    let (report, code) = validate(&[], &[folder.0.path(), &gone]);
    assert_eq!((code, &report["verdict"]), (3, &"incomplete".into()));
    let files = report["files"].as_array().expect("files");
    let found = |name: &str| {
        let is = |file: &&Value| file["path"].as_str().is_some_and(|path| path.ends_with(name));
        let file = files.iter().find(is).unwrap_or_else(|| panic!("{name} is not there"));
        let skipped = file["skipped"].as_array().and_then(|all| all.last()).expect("a range");
        let why = skipped["why"].as_str().expect("a reason").to_owned();
        (file["bytes"].as_u64(), skipped["offset"].as_u64(), skipped["bytes"].as_u64(), why)
    };
    let whole = |len: usize| (Some(len as u64), Some(0), Some(len as u64));
    for (name, len, reason) in [
        ("blk00001.dat", 500, "not recognised"),
        ("blk00002.dat", bytes.len(), "xor.dat, is not beside it"),
        ("blk00003.dat", 0, "os error"),
    ] {
        let (bytes, offset, skipped, why) = found(name);
        assert_eq!((bytes, offset, skipped), whole(len), "{name}");
        assert!(why.contains(reason), "{name}: {why}");
    }
    let (read, offset, skipped, _) = found("blk00004.dat.gz");
    assert_eq!((read, skipped), (offset, Some(0)));
    let (text, stderr, code) = for_people(&[], &[folder.0.path()]);
    assert_eq!(code, 3);
    assert!(stderr.contains("blk00001.dat"), "{stderr}");
    for name in ["blk00001.dat, offset 0, 500 bytes: not", "blk00002.dat, offset 0, "] {
        assert!(text.contains(name), "{text}");
    }
    // Where none can be read, the error names them all.
    let files = ["blk00001.dat", "blk00002.dat"].map(|name| folder.0.path().join(name));
    let (report, code) = validate(&[], &[&files[0], &files[1]]);
    let message = report["error"]["message"].as_str().expect("a message");
    assert_eq!(code, 3);
    assert!(message.contains("blk00001.dat") && message.contains("blk00002.dat"), "{message}");
    // The same reason is told once.
    let (report, _) = validate(&[], &[&files[0], &files[0], &files[1], &files[0]]);
    let message = report["error"]["message"].as_str().expect("a message");
    let same = format!("; the same of 2 more files, up to {}; ", files[0].display());
    assert!(message.contains(&same), "{message}");
    assert_eq!(message.matches("not recognised").count(), 1, "{message}");
}

/// A height is hinted at only where a block can name one.
#[test]
fn hints_of_heights_are_heights() {
    let Some(early) = read_data("bitcoin-blocks/mainnet_0-4312.blk.dat") else { return };
    let Some(late) = read_data("bitcoin-blocks/mainnet_831328-831331.blk.dat") else { return };
    let folder = Folder::new();
    let early = folder.file("early", records_of(&early)[200..220].concat());
    let (report, code) = validate(&[], &[&early]);
    let message = report["error"]["message"].as_str().expect("a message");
    assert_eq!(code, 3);
    assert!(message.contains("--start-height") && !message.contains("says of itself"), "{message}");
    let late = folder.file("late", late);
    let (report, _) = validate(&[], &[&late]);
    let message = report["error"]["message"].as_str().expect("a message");
    assert!(message.contains("says of itself that its height is 831328"), "{message}");
    // A start at a wrong height says which would be right.
    let (report, code) = validate(&["--start-height", "831340"], &[&late]);
    assert_eq!((code, &report["rejections"][0]["rule"]), (1, &"bad-cb-height".into()));
    let found = report["rejections"][0]["found"].as_str().expect("a script");
    assert!(found.ends_with(", which is height 831328"), "{found}");
}

/// What there is one of, nothing of, or only a part of, is called so.
#[test]
fn reports_say_how_many() {
    let Some(bytes) = read_data("bitcoin-blocks/regtest_0-150.blk.dat") else { return };
    let records = records_of(&bytes);
    let folder = Folder::new();
    let path = folder.file("blk00000.dat", [records[0], records[1], b"x", records[1]].concat());
    let orphan = folder.file("orphan", records[9]);
    let (text, _, code) = for_people(&[], &[&path, &orphan]);
    assert_eq!(code, 3);
    assert!(text.contains(", 1 orphan, 1 duplicate\n"), "{text}");
    assert!(text.contains(", 1 byte: bytes that are no block record\n"), "{text}");
    let (text, _, code) = for_people(&[], &[&folder.file("blk00001.dat", [0; 5000])]);
    assert_eq!(code, 3);
    assert!(text.contains("verdict    INCOMPLETE: no block was found\n"), "{text}");
    // The first bytes of a block: it says of itself that it goes on.
    let block = &records[2][8..];
    let cut = folder.file("block", &block[..block.len() - 1]);
    let (text, _, code) = for_people(&[], &[&cut]);
    let torn = format!("torn: {}, offset 0: the last", cut.display());
    assert_eq!(code, 3, "{text}");
    assert!(text.contains(&torn) && text.contains("are no whole block\n"), "{text}");
    // A record that claims more than its block, and zeros in its place.
    let claimed = u32::try_from(block.len() + 9).expect("a length").to_le_bytes();
    let lying = [&records[2][..4], &claimed, block, &[0; 9]].concat();
    let path = folder.file("blk00002.dat", [records[0], records[1], &lying, records[3]].concat());
    let (report, code) = validate(&[], &[&path]);
    assert_eq!((code, &report["blocks"]["best_branch"]), (3, &4.into()));
    let why = &report["files"][0]["skipped"][0]["why"];
    assert_eq!(*why, "bytes behind a block, within its record");
}

/// A chain file that cannot be created is named as it was asked for.
#[test]
fn a_chain_file_that_cannot_be_created_is_named() {
    let folder = Folder::new();
    let chain = folder.0.path().join("nowhere").join("x.chain");
    let chain = chain.to_str().expect("a name");
    let (_, stderr, code) = for_people(&["--to", chain], &[&fixture()]);
    assert_eq!(code, 5);
    assert!(stderr.contains(&format!("{chain}: ")) && !stderr.contains(".new"), "{stderr}");
}
