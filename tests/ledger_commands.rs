//! `blockmill ledger new` and `blockmill ledger generate` as a user meets them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use blockmill::ledger::{Account, Params};

fn ledger(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blockmill"))
        .arg("ledger")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program runs")
}

/// Checks the exit code and what stands in stdout and in stderr.
fn ends(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    assert!(out.contains(stdout), "'{stdout}' is not in stdout: {out}");
    assert!(err.contains(stderr), "'{stderr}' is not in stderr: {err}");
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn params(path: PathBuf) -> Params {
    Params::from_toml(&fs::read_to_string(path).expect("a file")).expect("parameters")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

#[test]
fn new_parameters_are_read_back_and_no_two_alike() {
    let folder = folder();
    let same_but_salt = ["--name", "twins", "--time", "1767225600"];
    let mut ids = Vec::new();
    for name in ["a.toml", "b.toml"] {
        let output = ledger(&[&["new", name], &same_but_salt[..]].concat(), folder.path());
        let params = params(folder.path().join(name));
        ends(&output, 0, &format!("chain id   {}", params.chain_id()), "");
        assert_eq!((params.name(), params.genesis().time()), ("twins", 1_767_225_600));
        ids.push(params.chain_id());
    }
    assert_ne!(ids[0], ids[1]);
    let text = |name| fs::read_to_string(folder.path().join(name)).expect("a file");
    let (a, b) = (text("a.toml"), text("b.toml"));
    let differing: Vec<_> = a.lines().zip(b.lines()).filter(|(a, b)| a != b).collect();
    assert!(matches!(differing[..], [(line, _)] if line.starts_with("salt = ")), "{differing:?}");
    // Every key has its remark.
    let keys = a.lines().filter(|line| line.contains(" = ") && !line.starts_with("salt"));
    assert!(keys.clone().count() == 10 && keys.clone().all(|line| line.contains(" # ")));
}

#[test]
fn defaults_are_sensible_and_every_option_arrives() {
    let folder = folder();
    ends(&ledger(&["new", "default.toml"], folder.path()), 0, "next", "");
    let default = params(folder.path().join("default.toml"));
    assert_eq!((default.target_spacing_s(), default.half_life_s()), (600, 172_800));
    assert_eq!((default.future_max_s(), default.block_bytes_max()), (7200, 4_000_000));
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let clock = clock.expect("a clock").as_secs();
    assert!(clock.abs_diff(default.genesis().time().into()) < 600);
    let (rich, poor) = (Account::from_key([1; 32]), Account::from_key([2; 32]));
    let (rich_has, poor_has) = (format!("{rich}=9223372036854775808"), format!("{poor}=1"));
    let name = "quoted \" and back\\slash";
    let output = ledger(
        &[
            "new",
            "all.toml",
            "--name",
            name,
            "--time",
            "7",
            "--target-spacing",
            "5",
            "--half-life",
            "4800",
            "--pow-limit",
            "207fffff",
            "--subsidy",
            "11",
            "--halving",
            "13",
            "--block-bytes-max",
            "8192",
            "--future-max",
            "9",
            "--allocate",
            &rich_has,
            "--allocate",
            &poor_has,
        ],
        folder.path(),
    );
    ends(&output, 0, "2 allocations", "");
    let all = params(folder.path().join("all.toml"));
    assert_eq!((all.name(), all.genesis().time()), (name, 7));
    assert_eq!((all.target_spacing_s(), all.half_life_s()), (5, 4800));
    assert_eq!((all.pow_limit().to_bits(), all.future_max_s()), (0x207f_ffff, 9));
    assert_eq!((all.subsidy(12), all.subsidy(13), all.block_bytes_max()), (11, 5, 8192));
    let mut expected = vec![(&rich, 1 << 63), (&poor, 1)];
    expected.sort();
    assert_eq!(all.allocations().collect::<Vec<_>>(), expected);
    // The half-life follows the spacing, and the clock's tolerance the half-life.
    let output = ledger(&["new", "-", "--target-spacing", "5"], folder.path());
    ends(&output, 0, "half_life_s = 1440", "chain id");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(Params::from_toml(&text).expect("parameters").future_max_s(), 60);
}

#[test]
fn parameters_that_cannot_be_are_refused_by_the_name_of_the_option() {
    let folder = folder();
    let account = Account::from_key([1; 32]).to_string();
    let (nothing, twice) = (format!("{account}=0"), format!("{account}=1"));
    let negative = format!("{account}=-1");
    let typo = format!("{}q=5", &account[..account.len() - 1]);
    let cases: [&[&str]; 17] = [
        &["--name", ""],
        &["--name", "bell\u{7}"],
        &["--time", "4294967296"],
        &["--target-spacing", "0"],
        &["--half-life", "0"],
        &["--pow-limit", "1e00fff"],
        &["--pow-limit", "+e00ffff"],
        &["--pow-limit", "00000000"],
        &["--subsidy", "18446744073709551615"],
        &["--subsidy", "x"],
        &["--halving", "0"],
        &["--block-bytes-max", "8191"],
        &["--future-max", "7201"],
        &["--allocate", &nothing],
        &["--allocate", &negative],
        &["--allocate", &typo],
        &["--allocate", &twice, "--allocate", &twice],
    ];
    for case in cases {
        let output = ledger(&[&["new", "x.toml"], case].concat(), folder.path());
        ends(&output, 2, "", case[0]);
        assert_eq!(names(folder.path()), [""; 0], "{case:?}");
    }
}

#[test]
fn parameters_are_never_overwritten() {
    let folder = folder();
    fs::write(folder.path().join("x.toml"), "mine").expect("a file");
    ends(&ledger(&["new", "x.toml"], folder.path()), 2, "", "x.toml exists");
    assert_eq!(fs::read(folder.path().join("x.toml")).expect("a file"), b"mine");
    ends(&ledger(&["new", "missing/x.toml"], folder.path()), 5, "", "cannot write missing");
}

#[cfg(feature = "mine")]
mod generate {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use blockmill::ledger::generate::{Options, Progress, generate};

    use super::*;

    const SMALL: [&str; 6] = ["--blocks", "3", "--transactions", "2", "--accounts", "3"];

    fn generate_small(file: &str, more: &[&str], folder: &Path) -> Output {
        ledger(&[&["generate", file], &SMALL[..], more].concat(), folder)
    }

    #[test]
    fn the_program_writes_what_the_library_does() {
        let folder = folder();
        let options = Options {
            seed: "x y".into(),
            blocks: 3,
            transactions: 2,
            accounts: 3,
            payload_bytes: (7, 9),
            memo_bytes: (5, 5),
            records_percent: 40,
            forks: 1,
        };
        let mut expected = Vec::new();
        let generated = generate(&options, 1, &Progress::default(), &mut expected);
        let generated = generated.expect("a dump");
        let more = [
            "--seed",
            "x y",
            "--payload",
            "7..9",
            "--memo",
            "5",
            "--records",
            "40%",
            "--forks",
            "1",
            "--threads",
            "3",
        ];
        let output = generate_small("x.bmdump", &more, folder.path());
        ends(&output, 0, &format!("chain id   {}", generated.chain_id), "");
        ends(&output, 0, &format!("height 3, {}", generated.tip), "");
        ends(&output, 0, &format!("{} blocks (", generated.blocks), "");
        assert!(fs::read(folder.path().join("x.bmdump")).expect("a dump") == expected);
        // The same through a pipe, with the closing lines on stderr.
        let output = generate_small("-", &more, folder.path());
        ends(&output, 0, "", &format!("height 3, {}", generated.tip));
        assert!(output.stdout == expected);
        assert_eq!(names(folder.path()), ["x.bmdump"]);
    }

    #[test]
    fn existing_files_are_replaced_only_by_force() {
        let folder = folder();
        let file = folder.path().join("x");
        fs::write(&file, "mine").expect("a file");
        // It is seen before any work is done, and so before this is.
        fs::write(folder.path().join("x.part"), "").expect("a file");
        ends(&generate_small("x", &[], folder.path()), 2, "", "x exists; --force");
        assert_eq!(fs::read(&file).expect("a file"), b"mine");
        ends(&generate_small("x", &["--force"], folder.path()), 0, "written", "");
        assert!(fs::read(&file).expect("a file").starts_with(b"\x89bmdump"));
        // What a killed run left, or another one is writing.
        fs::write(folder.path().join("y.part"), "theirs").expect("a file");
        ends(&generate_small("y", &[], folder.path()), 2, "", "y.part exists");
        assert_eq!(fs::read(folder.path().join("y.part")).expect("a file"), b"theirs");
        ends(&generate_small("y", &["--force"], folder.path()), 0, "written", "");
        assert_eq!(names(folder.path()), ["x", "y"]);
        ends(&generate_small(".", &["--force"], folder.path()), 2, "", "is a directory");
        ends(&generate_small("missing/x", &[], folder.path()), 5, "", "cannot write missing");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_left_alone() {
        let folder = folder();
        let child = Command::new(env!("CARGO_BIN_EXE_blockmill"))
            .args(["ledger", "generate", "x", "--transactions", "500"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let start = Instant::now();
        while !folder.path().join("x.part").exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::write(folder.path().join("x"), "mine").expect("a file");
        ends(&child.wait_with_output().expect("it ends"), 2, "", "x exists; --force");
        assert_eq!(fs::read(folder.path().join("x")).expect("a file"), b"mine");
        assert_eq!(names(folder.path()), ["x"]);
    }

    /// By force a link stays a link, and what it points to is replaced.
    #[cfg(unix)]
    #[test]
    fn links_stay_links() {
        let folder = folder();
        fs::write(folder.path().join("target"), "old").expect("a file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("target", &link).expect("a link");
        ends(&generate_small("link", &[], folder.path()), 2, "", "exists");
        ends(&generate_small("link", &["--force"], folder.path()), 0, "written", "");
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert!(fs::read(&link).expect("a dump").starts_with(b"\x89bmdump"));
        assert_eq!(names(folder.path()), ["link", "target"]);
    }

    #[test]
    fn options_that_cannot_be_are_refused_by_name() {
        let folder = folder();
        let cases = [
            ["--blocks", "0"],
            ["--blocks", "3000001"],
            ["--accounts", "0"],
            ["--transactions", "4294967295"],
            ["--records", "101"],
            ["--records", "x"],
            ["--payload", "9..7"],
            ["--payload", "4097"],
            ["--payload", "1.."],
            ["--memo", "257"],
            ["--forks", "100"],
            ["--threads", "0"],
        ];
        for case in cases {
            let output = ledger(&[&["generate", "x"], &case[..]].concat(), folder.path());
            ends(&output, 2, "", case[0]);
            assert_eq!(names(folder.path()), [""; 0], "{case:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_and_a_closed_pipe_are_errors() {
        let folder = folder();
        let output = generate_small("/dev/full", &[], folder.path());
        ends(&output, 5, "", "cannot write /dev/full: No space left");
        let mut child = Command::new(env!("CARGO_BIN_EXE_blockmill"))
            .args(["ledger", "generate", "-"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        drop(child.stdout.take());
        ends(&child.wait_with_output().expect("it ends"), 5, "", "cannot write -");
    }

    /// A file of at most 100 kB, as on a disk that fills up: nothing is left of it.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_does_not_fit_is_removed() {
        let folder = folder();
        let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" ledger generate x --records 0";
        let output = Command::new("bash")
            .args(["-c", script, env!("CARGO_BIN_EXE_blockmill")])
            .current_dir(folder.path())
            .output()
            .expect("a shell");
        ends(&output, 5, "", "cannot write x: File too large");
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn an_interrupted_run_leaves_nothing() {
        let folder = folder();
        let child = Command::new(env!("CARGO_BIN_EXE_blockmill"))
            .args(["ledger", "generate", "x", "--blocks", "100000", "--transactions", "1000"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let part = folder.path().join("x.part");
        let start = Instant::now();
        while fs::metadata(&part).map_or(0, |part| part.len()) == 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
        let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(interrupt.expect("kill runs").success());
        let output = child.wait_with_output().expect("it ends");
        ends(&output, 130, "", "x.part is removed");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
