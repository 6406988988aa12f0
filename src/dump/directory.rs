//! The files of a directory, not of its subdirectories: Bitcoin's block files if there are any, else
//! every file that is recognised, by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Place};

use super::inputs::unreadable;
use super::obfuscation::KEY_FILE;
use super::{Input, Kind, Progress};

/// Where a node keeps its block files, in its data directory.
const BLOCKS: &str = "blocks";

/// Opens a directory.
///
/// # Errors
/// If it cannot be read, or holds no dump.
pub(super) fn open_directory(
    path: &Path,
    forced: Option<Kind>,
    progress: &Arc<Progress>,
) -> Result<Vec<Input>, Error> {
    let files = files_of(path).map_err(|source| unreadable(path, source))?;
    let has_block_files = files.iter().any(|file| is_block_file(file));
    if !has_block_files {
        is_no_data_directory(path)?;
    }
    let inputs: Vec<_> = files
        .into_iter()
        .map(|file| match reason_to_pass(&file) {
            Some(why) if has_block_files => Input::passed_over(file, why.into()),
            _ => open_file(file, has_block_files, forced, progress),
        })
        .collect();
    if inputs.iter().all(|input| input.passed_over.is_some()) {
        let why = match inputs.first() {
            None => "the directory is empty".into(),
            Some(first) => format!(
                "no dump in this directory; its first file, {}: {}",
                first.path.display(),
                first.passed_over.as_deref().unwrap_or_default()
            ),
        };
        return Err(Error::NotRecognised { place: Place { path: path.into(), offset: 0 }, why });
    }
    Ok(inputs)
}

/// Whether a file has the name of a block file, perhaps a compressed one.
pub(super) fn is_block_file(path: &Path) -> bool {
    number_of(path).is_some()
}

/// The digits in the name of a block file, without zeros before them.
/// (Bitcoin Core: `FlatFileSeq::FileName`.)
fn number_of(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let endings = [".gz", ".bz2", ".xz", ".zst"];
    let name = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let digits = name.strip_prefix("blk")?.strip_suffix(".dat")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.trim_start_matches('0'))
}

/// The files by name, block files by number.
fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        // Follows links; a name that leads nowhere is opened later, and reported.
        if !file.is_dir() {
            files.push(file);
        }
    }
    // Numbers of any length: the longer is the larger.
    files.sort_unstable_by(|a, b| {
        let key = |number: &str| (number.len(), number.to_owned());
        (number_of(a).map(key), a).cmp(&(number_of(b).map(key), b))
    });
    Ok(files)
}

/// Why a file beside block files is none of them.
fn reason_to_pass(path: &Path) -> Option<&'static str> {
    if is_block_file(path) {
        return None;
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Some(if name == KEY_FILE {
        "the key of the block files"
    } else if name.starts_with("rev") && name.ends_with(".dat") {
        "undo data, not needed"
    } else {
        "not a block file; blk*.dat are read"
    })
}

/// What a directory merely contains is passed over; what cannot be read, or has the name of a block
/// file, might be a part of the dump.
fn open_file(
    path: PathBuf,
    is_block_file: bool,
    forced: Option<Kind>,
    progress: &Arc<Progress>,
) -> Input {
    match fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => {
            Input::passed_over(path, "not a regular file".into())
        }
        Ok(metadata) if is_block_file && metadata.len() == 0 => {
            Input::passed_over(path, "empty: nothing was written to it yet".into())
        }
        Ok(_) => match Input::from_file(&path, forced, progress) {
            Ok(input) => input,
            Err(Error::NotRecognised { why, .. }) if !is_block_file => {
                Input::passed_over(path, why)
            }
            Err(error) => Input::failed(path, error),
        },
        Err(source) => {
            let error = unreadable(&path, source);
            Input::failed(path, error)
        }
    }
}

/// The block files of a node are one directory further down.
fn is_no_data_directory(path: &Path) -> Result<(), Error> {
    let blocks = path.join(BLOCKS);
    let has_block_files = blocks.is_dir()
        && files_of(&blocks).is_ok_and(|files| files.iter().any(|file| is_block_file(file)));
    if !has_block_files {
        return Ok(());
    }
    let why = format!(
        "a node's data directory, which holds its block files one directory further down: name {}",
        blocks.display()
    );
    Err(Error::NotRecognised { place: Place { path: path.into(), offset: 0 }, why })
}
