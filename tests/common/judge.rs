//! Judging headers through the whole pipeline, without files of the user.

use std::path::PathBuf;
use std::sync::Arc;

use blockmill::Error;
use blockmill::bitcoin::Params;
use blockmill::compute::{Backend, Cpu};
use blockmill::dump::{Inputs, Progress};
use blockmill::primitives::Header;
use blockmill::stages::{Options, Validation, validate_headers};

/// A clock after every block that tests make.
pub const NOW: u64 = 2_000_000_000;

/// Options that judge a dump on `params`.
pub fn options(params: Option<Params>) -> Options {
    Options {
        network: params,
        activation_heights: Vec::new(),
        start_height: None,
        now: NOW,
        batch: 1000,
        overlap: false,
        threads: 1,
        rejections_max: 10_000,
    }
}

/// Validates files on one thread.
pub fn judge_files(paths: &[PathBuf], options: &Options) -> Result<Validation, Error> {
    judge_files_on(&one_thread(), paths, options)
}

fn one_thread() -> Cpu {
    Cpu::new(1).expect("a thread")
}

/// Validates files on `backend`.
pub fn judge_files_on(
    backend: &dyn Backend,
    paths: &[PathBuf],
    options: &Options,
) -> Result<Validation, Error> {
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(paths, None, Arc::clone(&progress))?;
    validate_headers(inputs, backend, options, &progress, None)
}

/// Validates headers as one file.
pub fn judge(headers: &[Header], options: &Options) -> Validation {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chain.hdr");
    std::fs::write(&file, super::chain::dump(headers)).expect("a file");
    judge_files(&[file], options).expect("a judgement")
}

/// Every rejection as rule id and height.
pub fn rejections(validation: &Validation) -> Vec<(&'static str, Option<u32>)> {
    let outcome = validation.outcome.as_ref().expect("an outcome");
    let rejections = outcome.rejections.iter();
    rejections.map(|rejection| (rejection.violation.rule().id(), rejection.height)).collect()
}
