//! `grind`: the genesis headers of all five networks on every backend, ranges without a solution,
//! and Ctrl-C.

#![cfg(feature = "mine")]

mod common;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use blockmill::bitcoin::{Network, Params};
use blockmill::primitives::Header;

fn grind(header: &Header, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blockmill"))
        .arg("grind")
        .args(arguments)
        .arg(hex::encode(header.as_bytes()))
        .output()
        .expect("the program runs")
}

fn backends() -> Vec<Vec<&'static str>> {
    let mut backends = vec![
        vec!["--backend", "reference"],
        vec!["--backend", "cpu", "--threads", "1"],
        vec!["--backend", "cpu", "--threads", "2"],
        vec!["--backend", "auto"],
    ];
    if let Some(device) = common::test_device() {
        backends.push(vec!["--device", device.leak()]);
    }
    backends
}

#[test]
fn genesis_headers_are_solved_from_a_window_around_the_known_nonce() {
    for backend in backends() {
        for network in Network::ALL {
            let genesis = Params::of(network).genesis;
            let target = genesis.bits().decode().expect("genesis bits");
            // The window begins before the known nonce, or with it: on regtest, where every second
            // nonce wins, the published one is not the lowest there is.
            for before in [900, 0] {
                let from = genesis.nonce().saturating_sub(before);
                let lowest = (from..)
                    .map(|nonce| genesis.with_nonce(nonce))
                    .find(|header| target.is_met_by(&header.id()))
                    .expect("the published nonce wins");
                assert!(lowest == genesis || network == Network::Regtest);
                let window = ["--from", &from.to_string(), "--count", "2000"];
                let output = grind(&genesis.with_nonce(77), &[&backend[..], &window[..]].concat());
                assert_eq!(output.status.code(), Some(0), "{network} on {backend:?}");
                let expected = format!("{}\n", hex::encode(lowest.as_bytes()));
                assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{network}");
            }
        }
    }
}

#[test]
fn a_range_without_a_solution_exits_1_and_names_the_range() {
    let genesis = Params::of(Network::Main).genesis;
    for backend in backends() {
        // The window ends right before the solution, or begins right after it, or is the last nonce.
        for (from, count) in [(2_083_236_893 - 500, 500), (2_083_236_894, 500), (u32::MAX, 1)] {
            let (from, count) = (from.to_string(), count.to_string());
            let window = ["--from", &from, "--count", &count];
            let output = grind(&genesis, &[&backend[..], &window[..]].concat());
            assert_eq!(output.status.code(), Some(1), "{backend:?}");
            assert!(output.stdout.is_empty());
            assert!(String::from_utf8_lossy(&output.stderr).contains(&from));
        }
    }
}

#[test]
fn versions_roll_once_the_nonces_are_spent() {
    // One in 65,536 ids meets this target, and bits 13 and 29 of the version are set.
    let mut bytes = *Params::of(Network::Main).genesis.as_bytes();
    bytes[..4].copy_from_slice(&0x2000_2000i32.to_le_bytes());
    bytes[72..76].copy_from_slice(&0x1f00_ffffu32.to_le_bytes());
    let first = Header::from_bytes(bytes);
    let target = first.bits().decode().expect("bits");
    let wins = |header: &Header| target.is_met_by(&header.id());
    let first_nonces = u32::MAX - 499..=u32::MAX;
    assert!(!first_nonces.clone().any(|nonce| wins(&first.with_nonce(nonce))), "none of the first");
    for (option, version) in [
        ("--roll-version", 0x2000_4000),
        ("--roll-version=1fffe000", 0x2000_4000),
        ("--roll-version=10000000", 0x3000_2000),
    ] {
        let of_version = (0..).map(|nonce| first.with_version(version).with_nonce(nonce));
        let right = of_version.into_iter().find(wins).expect("one in 65,536 wins");
        let spent = (500 + u64::from(right.nonce())).to_string();
        for backend in backends() {
            let from = ["--from", "4294966796", option];
            let output = grind(&first, &[&backend[..], &from[..]].concat());
            let expected = format!("{}\n", hex::encode(right.as_bytes()));
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{option} {backend:?}");
            let before = ["--count", &spent[..]];
            let output = grind(&first, &[&backend[..], &from[..], &before[..]].concat());
            assert_eq!(output.status.code(), Some(1), "{option} {backend:?}");
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            let last = format!("versions 20002000 to {version:08x}");
            assert!(words.contains(&last), "{words}");
        }
    }
    // Without it the version stays, and other bits than BIP320's are no miner's choice.
    assert_eq!(grind(&first, &["--from", "4294966796"]).status.code(), Some(1));
    assert_eq!(grind(&first, &["--roll-version=20000000"]).status.code(), Some(2));
}

#[test]
fn what_is_no_header_or_has_no_target_exits_2() {
    let genesis = Params::of(Network::Main).genesis;
    let mut bytes = *genesis.as_bytes();
    bytes[75] = 0xff; // bits that overflow
    assert_eq!(grind(&Header::from_bytes(bytes), &[]).status.code(), Some(2));
    for text in ["", "00", "zz"] {
        let program = env!("CARGO_BIN_EXE_blockmill");
        let output = Command::new(program).args(["grind", text]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_at_once_with_130_and_says_how_far_it_got() {
    // Nobody will solve this one: all versions take hours, though a large card tries one in half a second.
    let header = Params::of(Network::Main).genesis;
    let mut bytes = *header.as_bytes();
    bytes[75] = 0x10;
    let hopeless = hex::encode(bytes);
    for backend in backends() {
        let mut child = Command::new(env!("CARGO_BIN_EXE_blockmill"))
            .args(["grind", "--roll-version"])
            .args(&backend)
            .arg(&hopeless)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        std::thread::sleep(Duration::from_millis(1500));
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill");
        assert!(sent.success());
        // The deadline only keeps a broken program from hanging the tests.
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < deadline, "{backend:?} goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().expect("output");
        assert_eq!(output.status.code(), Some(130), "{backend:?}");
        assert!(output.stdout.is_empty());
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("interrupted") && words.contains("--from"), "{words}");
    }
}
