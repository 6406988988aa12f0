//! Running the program, and making the files it is given.

use std::io::Write;
use std::path::Path;
use std::process::Command;

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
