//! What several test files need: the public data, a device, mined chains and ledgers.
//!
//! A test that lacks something says so on stderr, where the harness does not swallow it, and
//! passes; `BLOCKMILL_REQUIRE_DATA=1`, `BLOCKMILL_REQUIRE_GPU=1` and `BLOCKMILL_REQUIRE_TOOLS=1` turn
//! that into a failure.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this module")]

pub mod blocks;
pub mod chain;
pub mod chain_file;
pub mod faulty;
pub mod groves;
pub mod judge;
pub mod ledger;
pub mod messages;
pub mod mined;
pub mod oracle;
pub mod program;
#[cfg(feature = "mine")]
pub mod search_faults;
pub mod signatures;
pub mod trees;

use std::io::Write;
use std::path::{Path, PathBuf};

use blockmill::compute::Guarded;
#[cfg(feature = "gpu")]
use blockmill::compute::{Cpu, CrossCheck, Tested};

/// A file of the public test data, or `None` after a visible skip.
///
/// The data lies in `BLOCKMILL_DATA`, or else beside the checkout in `../shared/data`.
pub fn data(relative: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BLOCKMILL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let file = folder.join(relative);
    if file.exists() {
        return Some(file);
    }
    skip("BLOCKMILL_REQUIRE_DATA", &format!("{} is not there", file.display()));
    None
}

/// The bytes of a file of the public test data.
pub fn read_data(relative: &str) -> Option<Vec<u8>> {
    data(relative).map(|file| std::fs::read(file).expect("a data file is readable"))
}

/// Says that a test is skipped, or fails it if the variable says that it must not be.
pub fn skip(variable: &str, why: &str) {
    let required = std::env::var_os(variable).is_some_and(|value| value == "1");
    assert!(!required, "{why}, and {variable}=1");
    // Not `eprintln!`, which the harness captures; and in one piece, because tests run side by side.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {why}\n").as_bytes());
}

/// Whether a program of the system is there, such as `openssl`.
pub fn tool_is_there(name: &str) -> bool {
    let ran = std::process::Command::new(name).arg("--version").output();
    if ran.is_err() {
        skip("BLOCKMILL_REQUIRE_TOOLS", &format!("there is no program {name}"));
    }
    ran.is_ok()
}

/// The adapter that tests use, or `None` after a visible skip: the software adapter, or the one that
/// `BLOCKMILL_TEST_DEVICE` names by its id, so that the same tests can be run on a graphics card.
#[cfg(feature = "gpu")]
pub fn test_adapter() -> Option<blockmill::compute::gpu::Adapter> {
    use blockmill::compute::{DeviceType, gpu};

    let named = std::env::var("BLOCKMILL_TEST_DEVICE").ok();
    let found = gpu::adapters().into_iter().find(|adapter| match &named {
        Some(id) => adapter.info().id == *id,
        None => adapter.info().kind == DeviceType::Software,
    });
    if found.is_none() {
        let why = match &named {
            Some(id) => format!("no adapter {id}, which BLOCKMILL_TEST_DEVICE names"),
            None => "no software adapter, such as Mesa's lavapipe".to_owned(),
        };
        skip("BLOCKMILL_REQUIRE_GPU", &why);
    }
    found
}

/// What `--device` takes for the same adapter, or `None` after a visible skip.
pub fn test_device() -> Option<String> {
    #[cfg(feature = "gpu")]
    {
        test_adapter().map(|adapter| adapter.info().id.clone())
    }
    #[cfg(not(feature = "gpu"))]
    None
}

/// The guarded backend over that adapter, or `None` after a visible skip.
#[cfg(feature = "gpu")]
pub fn test_gpu() -> Option<Guarded> {
    let device = test_adapter()?.open().expect("the adapter opens");
    let tested = Tested::new(Box::new(device)).expect("the adapter works");
    Some(Guarded::new(tested, Cpu::new(1).expect("a thread"), CrossCheck::OFF))
}

/// Without the feature there is nothing to skip.
#[cfg(not(feature = "gpu"))]
pub fn test_gpu() -> Option<Guarded> {
    None
}

/// Whether the software adapter is there, for tests of how it is named and treated.
pub fn software_adapter_is_there() -> bool {
    #[cfg(feature = "gpu")]
    {
        use blockmill::compute::{DeviceType, gpu};

        let mut adapters = gpu::adapters().into_iter();
        let is_there = adapters.any(|adapter| adapter.info().kind == DeviceType::Software);
        if !is_there {
            skip("BLOCKMILL_REQUIRE_GPU", "no software adapter, such as Mesa's lavapipe");
        }
        is_there
    }
    #[cfg(not(feature = "gpu"))]
    false
}
