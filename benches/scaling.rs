//! What validation costs for each header and each transfer, and how much memory it takes, from small
//! chains to large ones: `cargo bench --bench scaling`, or with `-- --quick` without the largest.
//!
//! Each chain is made, written to a file, and judged by the program itself, in a process of its own with
//! one thread, so that its memory is that of the chain alone.

use std::fs::File;
use std::io::Seek;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blockmill::bench::header_chain;
use blockmill::primitives::Header;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_blockmill");

/// The transfers of each block, where there are as many.
const TRANSFERS_PER_BLOCK: u64 = 5000;

/// Each chain is judged so often, and the median counts.
const RUNS: usize = 3;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain");

    let largest = if quick { 1_000_000 } else { 10_000_000 };
    let mut chain = header_chain(largest);
    for order in ["in order", "last one first"] {
        println!("| headers, {order} | ns a header | peak memory, MB |");
        println!("|---|---|---|");
        for count in sizes(largest) {
            let chain = &mut chain[..count];
            if order != "in order" {
                chain.reverse();
            }
            let bytes: &[u8] = bytemuck::cast_slice::<Header, u8>(chain);
            std::fs::write(&path, bytes).expect("room for the headers");
            if order != "in order" {
                chain.reverse();
            }
            row(count, &path, &["--input", "headers", "--network", "regtest"]);
        }
        println!();
    }
    drop(chain);

    println!("| transfers | ns a transfer | peak memory, MB |");
    println!("|---|---|---|");
    for count in sizes(if quick { 100_000 } else { 1_000_000 }) {
        let count = count as u64;
        let each = TRANSFERS_PER_BLOCK.min(count);
        let generated = Command::new(PROGRAM)
            .args(["ledger", "generate", "--force", "--records", "0", "--accounts", "1000"])
            .args(["--transactions", &each.to_string(), "--blocks", &(count / each).to_string()])
            .arg(&path)
            .stdout(Stdio::null())
            .status()
            .expect("the program runs");
        assert!(generated.success(), "the ledger is generated");
        row(usize::try_from(count / each * each).expect("few"), &path, &[]);
    }
}

/// Powers of ten from a thousand on.
fn sizes(largest: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1000), |size| Some(size * 10))
        .take_while(move |size| *size <= largest)
}

/// One line of the table.
fn row(count: usize, path: &Path, options: &[&str]) {
    // What was just written would be on its way to the disk while its reading is timed.
    File::open(path).and_then(|file| file.sync_all()).expect("room on the disk");
    let mut seconds: Vec<_> = (0..RUNS).map(|_| judge(path, options, |_| ())).collect();
    seconds.sort_by(f64::total_cmp);
    // Looking at a process slows it down, and one that ends soon may be gone before it is looked at.
    let mut peak_kb = 0;
    for _ in 0..RUNS {
        judge(path, options, |child| peak_kb = peak_kb_of(child).unwrap_or(0).max(peak_kb));
    }
    let each = seconds[RUNS / 2] * 1e9 / count as f64;
    println!("| {count} | {each:.0} | {:.0} |", peak_kb as f64 / 1024.0);
}

/// The seconds that the program took by its own word.
fn judge(path: &Path, options: &[&str], mut look: impl FnMut(&Child)) -> f64 {
    let mut report = tempfile::tempfile().expect("a file");
    let mut child = Command::new(PROGRAM)
        .args(["validate", "--backend", "cpu", "--threads", "1", "--format", "json"])
        .args(options)
        .arg(path)
        .stdout(report.try_clone().expect("the same file"))
        .spawn()
        .expect("the program runs");
    while child.try_wait().expect("a child").is_none() {
        look(&child);
        std::thread::sleep(Duration::from_millis(1));
    }
    report.rewind().expect("a file");
    let report: Value = serde_json::from_reader(report).expect("a report");
    assert_eq!(report["verdict"], "valid", "{}", report["rejections"][0]);
    report["timing"]["elapsed_s"].as_f64().expect("seconds")
}

/// The peak memory of a process so far, on Linux.
fn peak_kb_of(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
