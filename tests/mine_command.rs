//! `mine` as people and scripts run it.
#![cfg(all(unix, feature = "mine"))]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use blockmill::chain::file::FileStorage;
use blockmill::ledger::{Account, LoadedLedger};

use common::program::{Ran, blockmill, run};

/// A folder with the parameters of two ledgers, `p.toml` and `other.toml`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for (name, salt) in [("p.toml", "01"), ("other.toml", "02")] {
            let text = format!(
                "format = 1\nname = \"mined\"\ntime = 1577836800\nsalt = \"{}\"\n\
                 target_spacing_s = 60\nhalf_life_s = 172800\npow_limit = \"207fffff\"\n\
                 subsidy = 50\nhalving_blocks = 1000000\nblock_bytes_max = 100000\n",
                salt.repeat(32)
            );
            fs::write(folder.path(name), text).expect("parameters");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mine(&self, arguments: &[&str]) -> Command {
        let mut command = blockmill(self.0.path());
        command.args(["mine", "--chain", "c", "--backend", "cpu", "--threads", "1"]);
        command.args(["--reward-to", &Account::from_key([9; 32]).to_string()]).args(arguments);
        command
    }

    fn mined(&self, arguments: &[&str]) -> Ran {
        run(&mut self.mine(arguments), b"")
    }

    /// The height of the chain file.
    fn height(&self) -> u32 {
        let storage = FileStorage::open_for_reading(&self.path("c")).expect("the file is there");
        let loaded = LoadedLedger::open(Box::new(storage), |_, _| Ok(())).expect("a sound file");
        loaded.tree.block(loaded.store.tip()).height()
    }

    /// Starts a miner that goes on for long, and waits for its first blocks.
    fn start(&self) -> Child {
        let mut command = self.mine(&["--params", "p.toml", "--blocks", "1000000", "--acks", "a"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program runs");
        let start = Instant::now();
        while fs::read(self.path("a")).unwrap_or_default().len() < 200 {
            assert!(start.elapsed() < Duration::from_secs(60), "no block within a minute");
            sleep(Duration::from_millis(5));
        }
        child
    }
}

/// The heights that were acknowledged.
fn acknowledged(acks: &str) -> Vec<u64> {
    let ack = |line: &str| {
        let ack: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        ack["height"].as_u64().expect("a height")
    };
    acks.lines().map(ack).collect()
}

#[test]
fn a_ledger_is_begun_and_gone_on_with() {
    let folder = Folder::new();
    let ran = folder.mined(&["--blocks", "1"]);
    assert!(ran.code == 2 && ran.stderr.contains("--params"), "{ran:?}");
    assert!(!folder.path("c").exists());
    let ran = folder.mined(&["--params", "p.toml", "--blocks", "3", "--acks", "a"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 3), "{ran:?}");
    assert!(ran.stderr.contains("mined 3 blocks"), "{ran:?}");
    let ran = folder.mined(&["--acks", "a"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("height 4  "), "{ran:?}");
    let acks = fs::read_to_string(folder.path("a")).expect("acknowledgements");
    assert_eq!(acknowledged(&acks), [1, 2, 3, 4]);
    let ran = folder.mined(&["--params", "other.toml"]);
    assert!(ran.code == 2 && ran.stderr.contains("it holds the chain"), "{ran:?}");
    assert_eq!(folder.height(), 4);
    // A clock so far behind the chain that no block would be valid; one that is a little behind.
    let ran = folder.mined(&["--now", "1000000"]);
    assert!(ran.code == 2 && ran.stderr.contains("the clock is behind"), "{ran:?}");
    assert_eq!(folder.height(), 4);
}

#[test]
fn acknowledgements_go_to_an_open_descriptor_too() {
    let folder = Folder::new();
    let miner = folder.mine(&["--params", "p.toml", "--blocks", "2", "--acks", "3"]);
    let words: Vec<_> = std::iter::once(miner.get_program()).chain(miner.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_str().expect("text")).collect();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{} 3>a", words.join(" "))]).current_dir(folder.0.path());
    let ran = run(&mut shell, b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let acks = fs::read_to_string(folder.path("a")).expect("acknowledgements");
    assert_eq!(acknowledged(&acks), [1, 2]);
}

#[test]
fn one_process_writes_and_others_read() {
    let folder = Folder::new();
    let mut miner = folder.start();
    let ran = folder.mined(&[]);
    assert!(ran.code == 5 && ran.stderr.contains("another process is writing"), "{ran:?}");
    let mut show = blockmill(folder.0.path());
    let ran = run(show.args(["chain", "show", "c"]), b"");
    assert!(ran.code == 0 && ran.stdout.contains("tip        height"), "{ran:?}");
    miner.kill().expect("it runs");
    miner.wait().expect("a child");
}

#[test]
fn an_interrupted_miner_says_so_and_loses_nothing() {
    let folder = Folder::new();
    let miner = folder.start();
    let mut kill = Command::new("kill");
    assert_eq!(run(kill.args(["-INT", &miner.id().to_string()]), b"").code, 0);
    let ran: Ran = miner.wait_with_output().expect("a child").into();
    assert!(ran.code == 130 && ran.stderr.contains("goes on from there"), "{ran:?}");
    let acks = fs::read_to_string(folder.path("a")).expect("acknowledgements");
    let last = acknowledged(&acks).last().copied().expect("some blocks");
    assert!(u64::from(folder.height()) >= last);
    let ran = folder.mined(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_full_disk_keeps_what_was_acknowledged() {
    let folder = Folder::new();
    let miner = folder.mine(&["--params", "p.toml", "--blocks", "100000"]);
    let words: Vec<_> = std::iter::once(miner.get_program()).chain(miner.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_str().expect("text")).collect();
    // Blocks of 512 or 1,024 bytes, as the shell has it; the signal would end the process unheard.
    let script = format!("trap '' XFSZ; ulimit -f 40; exec {}", words.join(" "));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder.0.path());
    let ran = run(&mut shell, b"");
    assert!(ran.code == 5 && ran.stderr.contains("error: c: "), "{ran:?}");
    // A block is printed once it is safe.
    let last = ran.stdout.lines().last().expect("some blocks");
    let height = last.split_whitespace().nth(1).expect("a height").replace(',', "");
    assert!(folder.height() >= height.parse().expect("a number"), "{last}");
    let ran = folder.mined(&[]);
    assert_eq!(ran.code, 0, "with room again it goes on: {ran:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = Folder::new();
    let closed = folder.path("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("a mode");
    // Root writes to any folder but those of the kernel.
    let is_root = fs::write(closed.join("probe"), b"").is_ok();
    let chain = if is_root { "/proc/c".into() } else { closed.join("c") };
    let mut command = blockmill(folder.0.path());
    command.args(["mine", "--params", "p.toml", "--backend", "cpu", "--chain"]).arg(&chain);
    let ran = run(command.args(["--reward-to", &Account::from_key([9; 32]).to_string()]), b"");
    let path = chain.display().to_string();
    assert!(ran.code == 5 && ran.stderr.contains(&path), "{ran:?}");
}
