//! `blockmill chain export`: the best branch as a dump.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::bitcoin::{LoadedBlocks, LoadedHeaders, magic_of, put_block_record};
use crate::chain::file::{AnyStorage, ChainFileError, FileLevel};
use crate::cli::args::ExportArgs;
use crate::cli::interrupt::on_interrupt;
use crate::cli::output::{self, grouped};
use crate::cli::output_file::OutputFile;
use crate::error::Error;
use crate::ledger::{DumpHead, Event, LoadedLedger, put_record};
use crate::primitives::Hash256;

use super::summary::branch_to;
use super::{failed, open, tell_of_opening};

/// Runs the command.
pub(super) fn run(args: &ExportArgs) -> Result<u8, Error> {
    let (storage, head) = open(&args.file)?;
    let mut out = OutputFile::create(&args.out, args.force)?;
    end_on_interrupt(&out);
    let (blocks, tip) = if head.is_ledger {
        let best = best_branch(&args.file, storage)?;
        write_ledger(&args.file, &best, &mut out)?
    } else if head.level == FileLevel::Blocks {
        write_blocks(&args.file, storage, &mut out)?
    } else {
        write_headers(&args.file, storage, &mut out)?
    };
    out.complete()?;
    let (blocks, out) = (grouped(blocks), args.out.display());
    let line = format!("written    {out}: {blocks} blocks\ntip        {tip}");
    if args.out == Path::new("-") {
        output::note(&line);
    } else {
        output::print(&format!("{line}\n"))?;
    }
    Ok(0)
}

/// What is incomplete goes, also when the work does not end in time.
fn end_on_interrupt(out: &OutputFile) {
    let part = out.part_path();
    let last_words = move || {
        if let Some(part) = &part {
            // Nothing better can be done with an error here.
            let _ = fs::remove_file(part);
        }
        "interrupted; what was written is incomplete".into()
    };
    on_interrupt(|| {}, Arc::new(last_words));
}

/// The first reading: the ids of the best branch, genesis first.
fn best_branch(path: &Path, storage: AnyStorage) -> Result<Vec<Hash256>, Error> {
    let loaded = LoadedLedger::open(storage, |_, _| Ok(())).map_err(failed(path))?;
    tell_of_opening(path, loaded.store.file().opening());
    let branch = branch_to(&loaded.tree, loaded.store.tip());
    Ok(branch.into_iter().map(|number| loaded.tree.block(number).id()).collect())
}

/// The second reading. A block of the best branch may come more than once, where it was taken back in
/// between; its parent has come before it in any case.
fn write_ledger(
    path: &Path,
    best: &[Hash256],
    out: &mut OutputFile,
) -> Result<(u64, Hash256), Error> {
    let (storage, head) = open(path)?;
    let params = crate::ledger::params_of_head(&head).map_err(failed(path))?;
    let head = DumpHead { params, first_height: 1 };
    let written = out.writer().write_all(&head.encode());
    written.map_err(|source| out.error(source))?;
    let mut next = 1;
    let mut record = Vec::new();
    let mut unwritten = None;
    let read = LoadedLedger::open(storage, |_, event| {
        if let Event::Block(block) = event
            && block.height as usize == next
            && best.get(next) == Some(&block.id)
        {
            record.clear();
            put_record(&mut record, block.bytes);
            out.writer().write_all(&record).map_err(|source| {
                unwritten = Some(source);
                // Ends the reading; what is reported is the other one.
                ChainFileError::Poisoned
            })?;
            next += 1;
        }
        Ok(())
    });
    if let Some(source) = unwritten {
        return Err(out.error(source));
    }
    let loaded = read.map_err(failed(path))?;
    if next != best.len() {
        let what = "the file changed while it was read".into();
        let offset = loaded.store.file().len();
        let height = u32::try_from(next - 1).unwrap_or(u32::MAX);
        return Err(failed(path)(ChainFileError::Damaged { offset, height, what }));
    }
    Ok((next as u64 - 1, best[next - 1]))
}

fn write_headers(
    path: &Path,
    storage: AnyStorage,
    out: &mut OutputFile,
) -> Result<(u64, Hash256), Error> {
    let LoadedHeaders { mut store, tree } = LoadedHeaders::open(storage).map_err(failed(path))?;
    tell_of_opening(path, store.file().opening());
    let branch = branch_to(&tree, store.tip());
    for &number in &branch {
        let header = store.header(number, tree.block(number)).map_err(failed(path))?;
        let written = out.writer().write_all(header.as_bytes());
        written.map_err(|source| out.error(source))?;
    }
    Ok((branch.len() as u64, tree.block(store.tip()).id()))
}

/// Genesis, which the file does not hold, and every block of the best branch as it came.
fn write_blocks(
    path: &Path,
    storage: AnyStorage,
    out: &mut OutputFile,
) -> Result<(u64, Hash256), Error> {
    let loaded = LoadedBlocks::open(storage, |_| Ok(())).map_err(failed(path))?;
    let LoadedBlocks { mut store, tree } = loaded;
    tell_of_opening(path, store.file().opening());
    let branch = branch_to(&tree, store.tip());
    let magic = magic_of(store.params());
    let mut record = Vec::new();
    for &number in &branch {
        let bytes = store.body(number, tree.block(number)).map_err(failed(path))?;
        record.clear();
        put_block_record(&mut record, magic, &bytes);
        out.writer().write_all(&record).map_err(|source| out.error(source))?;
    }
    Ok((branch.len() as u64, tree.block(store.tip()).id()))
}
