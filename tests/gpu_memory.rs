//! The GPU device keeps no memory of past dispatches. A process of its own, so that its memory is that
//! of this test alone.

#![cfg(all(feature = "gpu", feature = "mine", target_os = "linux"))]

mod common;

use blockmill::compute::{Backend, SearchJob};
use blockmill::primitives::{Header, Target};

/// The memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

#[test]
fn a_thousand_dispatches_leave_nothing_behind() {
    let Some(backend) = common::test_gpu() else { return };
    // A call of few nonces is one dispatch; no id is zero.
    let header = Header::from_bytes([7; Header::LEN]);
    let search = |first| {
        let target = Target::from_be_bytes([0; 32]);
        let job = SearchJob { header, target, first, last: first + 999 };
        assert_eq!(backend.search(&job), None);
    };
    // Buffers reach their size, and the driver's pools too.
    (0..200).for_each(|turn| search(1000 * turn));
    let before = resident();
    (200..1200).for_each(|turn| search(1000 * turn));
    let grown = resident().saturating_sub(before);
    // Two kilobytes a dispatch, less than its smallest buffer.
    assert!(grown < 2 << 20, "{grown} bytes more after 1,000 dispatches");
    let tally = backend.tally();
    assert_eq!((tally.fallbacks, tally.mismatches, tally.off), (0, 0, None));
}
