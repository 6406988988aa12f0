//! Input at its worst: damaged compressed files, files among good ones that cannot be read, versions
//! that look like magics, starts that need no trust. One verdict whatever the batch size, and nothing
//! that can be judged is lost.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blockmill::bitcoin::{Network, Params};
use blockmill::primitives::Header;

use common::chain::{Draft, dump, extend, from_genesis};
use common::program::{COMPRESSIONS, gzip, validate};

fn regtest(length: usize) -> Vec<Header> {
    from_genesis(&Params::of(Network::Regtest), length)
}

fn file(folder: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a file");
    path
}

/// What a decoder makes of damaged bytes must not depend on how it is read.
#[test]
fn damage_in_a_compressed_file_gives_one_verdict_for_any_batch() {
    let plain = dump(&regtest(3000));
    let folder = tempfile::tempdir().expect("a folder");
    let mut incomplete = 0;
    for (name, compress) in COMPRESSIONS {
        let bytes = compress(&plain);
        for case in 0..12 {
            let mut damaged = bytes.clone();
            let place = bytes.len() / 2 + case * 997;
            match case % 3 {
                0 => damaged[place] ^= 0xff,
                1 => damaged[place..place + 2].fill(0x55),
                _ => damaged.truncate(place),
            }
            let path = file(&folder, &format!("{case}.{name}"), damaged);
            let mut answers = Vec::new();
            for batch in ["1", "7", "1000", "100000"] {
                let (mut report, code) = validate(&["--batch", batch], &[&path]);
                incomplete += usize::from(code == 3);
                let map = report.as_object_mut().expect("an object");
                map.remove("timing");
                map.remove("backend");
                answers.push((report, code));
            }
            answers.dedup();
            assert_eq!(answers.len(), 1, "{}", path.display());
        }
    }
    assert!(incomplete > 0);
}

#[test]
fn a_small_damaged_file_is_judged_as_far_as_it_goes() {
    let chain = regtest(40);
    let folder = tempfile::tempdir().expect("a folder");
    let whole = gzip(&dump(&chain));
    let garbage = file(&folder, "garbage.gz", [&whole[..], b"garbage"].concat());
    let (report, code) = validate(&[], &[&garbage]);
    assert_eq!((code, &report["tip"]["height"]), (3, &40.into()));
    assert_eq!(
        (&report["error"]["kind"], &report["error"]["offset"]),
        (&"unreadable".into(), &3280.into())
    );
    // Zeros after the last member are padding, as for gzip itself, also before another member.
    for zeros in [1, 512, 100_000] {
        let padding = vec![0; zeros];
        let padded = file(&folder, "padded.gz", [&whole[..], &padding].concat());
        let (report, code) = validate(&[], &[&padded]);
        assert_eq!((code, &report["tip"]["height"]), (0, &40.into()));
    }
    // The end of the chain alone, cut: what could not be read comes before the question which
    // network this is.
    let cut = gzip(&dump(&chain[20..]));
    let cut = file(&folder, "cut.gz", &cut[..cut.len() - 12]);
    let (report, code) = validate(&[], &[&cut]);
    assert_eq!((code, &report["error"]["kind"]), (3, &"unreadable".into()));
}

#[test]
fn zstd_may_begin_with_a_frame_to_skip() {
    let chain = dump(&regtest(9));
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let frames = [&skippable[..], &zstd::encode_all(&chain[..], 1).expect("memory")].concat();
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "p.zst", frames);
    assert_eq!(validate(&[], &[&path]).0["tip"]["height"], 9);
}

/// The first four bytes of a header are its version, which miners choose.
#[test]
fn a_version_may_look_like_a_magic() {
    let folder = tempfile::tempdir().expect("a folder");
    let parent = regtest(0)[0];
    for magic in [*b"\x1f\x8b\x08\0", *b"BZh9", Network::Regtest.magic(), *b"\x28\xb5\x2f\x7d"] {
        let version = i32::from_le_bytes(magic);
        let first = Draft { version, ..Draft::after(&parent) }.mine();
        let mut chain = vec![first];
        chain.extend(extend(&first, 5, 1));
        let path = file(&folder, "chain.hdr", dump(&chain));
        let (report, code) = validate(&[], &[&path]);
        // Those with the top bit set are negative, and so outdated, but they are headers.
        let expected = if version < 4 { 1 } else { 0 };
        assert_eq!((code, &report["blocks"]["seen"]), (expected, &6.into()), "{magic:x?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_what_the_others_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = regtest(5);
    let bad = Draft { version: 1, ..Draft::after(&chain[5]) }.mine();
    let good = file(&folder, "good.hdr", dump(&chain));
    let both = file(&folder, "both.hdr", dump(&[&chain[..], &[bad]].concat()));
    let missing = folder.path().join("missing.hdr");
    let text = file(&folder, "text", "hello\n");
    for other in [&missing, &text] {
        for order in [[&good, other], [other, &good]] {
            let (report, code) = validate(&[], &order.map(PathBuf::as_path));
            assert_eq!((code, &report["tip"]["height"]), (3, &5.into()));
            assert_eq!(report["error"]["file"], other.display().to_string());
            assert_eq!(report["files"].as_array().map(Vec::len), Some(2));
        }
        assert_eq!(validate(&[], &[other, &both]).1, 1);
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_of_a_directory_might_be_a_part_of_the_dump() {
    let folder = tempfile::tempdir().expect("a folder");
    file(&folder, "a.hdr", dump(&regtest(5)));
    file(&folder, "notes", "text is no dump");
    assert_eq!(validate(&[], &[folder.path()]).1, 0);
    std::os::unix::fs::symlink("nowhere", folder.path().join("b.hdr")).expect("a link");
    let (report, code) = validate(&[], &[folder.path()]);
    assert_eq!((code, &report["tip"]["height"]), (3, &5.into()));
    assert!(report["error"]["file"].as_str().expect("a file").ends_with("b.hdr"));
}

#[test]
fn a_start_on_trust_is_refused_where_genesis_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = regtest(30);
    let start = ["--network", "regtest", "--start-height", "5"];
    for from in [0, 1] {
        let path = file(&folder, "chain.hdr", dump(&chain[from..]));
        assert_eq!(validate(&start, &[&path]).1, 2);
    }
    let later = file(&folder, "later.hdr", dump(&[&chain[5..], &chain[..2]].concat()));
    assert_eq!(validate(&start, &[&later]).1, 2);
}

/// The trusted parent can stand in the dump, after its child.
#[test]
fn a_trusted_parent_is_judged_by_its_own_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = regtest(30);
    let start = ["--network", "regtest", "--start-height", "21"];
    let order =
        |parent: &Header, child: &[Header]| dump(&[&child[..1], &[*parent], &child[1..]].concat());
    let sound = file(&folder, "sound.hdr", order(&chain[20], &chain[21..]));
    let (report, code) = validate(&start, &[&sound]);
    assert_eq!((code, &report["blocks"]["best_branch"]), (0, &11.into()));
    let parent = Draft::after(&chain[19]).unmined();
    let children = extend(&parent, 5, 2);
    let unsound = file(&folder, "unsound.hdr", order(&parent, &children));
    let (report, code) = validate(&start, &[&unsound]);
    assert_eq!((code, &report["rejections"][0]["rule"]), (1, &"high-hash".into()));
    assert_eq!(
        (&report["rejections"][0]["height"], &report["rejections"][0]["offset"]),
        (&20.into(), &80.into())
    );
}

#[test]
fn hex_with_a_byte_order_mark_and_a_cut_last_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = regtest(3);
    let line = |index: usize| hex::encode(chain[index].as_bytes());
    let text = format!("\u{feff}{}\r\n{}\r\n{}", line(0), line(1), &line(2)[..100]);
    let path = file(&folder, "lines", text);
    let (report, code) = validate(&[], &[&path]);
    assert_eq!((code, &report["tip"]["height"]), (3, &1.into()));
    let torn = serde_json::json!({"offset": 3 + 2 * 162, "bytes": 100});
    assert_eq!(report["files"][0]["torn"], torn);
}

#[test]
fn standard_input_is_read_once() {
    assert_eq!(validate(&[], &[Path::new("-"), Path::new("-")]).1, 2);
}

/// `blockmill … | head -1` closes stdout early; the exit code still tells the verdict.
#[cfg(unix)]
#[test]
fn a_closed_stdout_keeps_the_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let genesis = regtest(0)[0];
    let bad = (0..3000).map(|salt| Draft { version: 1, salt, ..Draft::after(&genesis) }.mine());
    let path = file(&folder, "bad.hdr", dump(&bad.collect::<Vec<_>>()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_blockmill"))
        .arg("validate")
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}
