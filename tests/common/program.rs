//! Running the program, and making the files it is given.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs `validate --format json`: the document, or null where none is printed, and the exit code.
pub fn validate(arguments: &[&str], files: &[&Path]) -> (Value, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_blockmill"))
        .args(["validate", "--format", "json", "--now", "2000000000"])
        .args(arguments)
        .args(files)
        .output()
        .expect("the program runs");
    let code = output.status.code().expect("an exit code");
    if output.stdout.is_empty() {
        return (Value::Null, code);
    }
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (report, code)
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = output.status.code().expect("an exit code");
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs a command with `stdin` on its standard input and no terminal.
pub fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the program runs");
    // It may end without reading.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin);
    child.wait_with_output().expect("the program ends").into()
}

/// The program, to be run in `folder`.
pub fn blockmill(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blockmill"));
    command.current_dir(folder);
    command
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

pub type Compress = fn(&[u8]) -> Vec<u8>;

/// Every compression that is read, by the ending of its files.
pub const COMPRESSIONS: [(&str, Compress); 4] =
    [("gz", gzip), ("bz2", bzip2), ("xz", xz), ("zst", zstd)];
