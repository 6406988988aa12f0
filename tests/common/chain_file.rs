//! Chain files in memory, which fail when told to, and what a test must know of their bytes.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use blockmill::Error;
use blockmill::bitcoin::{self, LoadedHeaders};
use blockmill::chain::file::{AnyStorage, ChainFileError, Storage};
use blockmill::compute::{Backend, Cpu};
use blockmill::dump::{Inputs, Progress};
use blockmill::ledger::{self, LoadedLedger};
use blockmill::primitives::Header;
use blockmill::stages::{
    AppendTo, LedgerOptions, Options, Validation, validate_headers, validate_ledger,
};
use sha2::{Digest, Sha256};

use super::judge::{NOW, options};

/// The length of a page, as the specification has it.
pub const PAGE: usize = 4096;

/// Bytes that outlive whoever opened them.
#[derive(Clone, Default)]
pub struct Shared {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Syncs until one fails; none does at zero.
    fails_in: Arc<AtomicUsize>,
    /// Changes so far.
    writes: Arc<AtomicUsize>,
}

impl Shared {
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)), ..Self::default() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.with(|bytes| bytes.clone())
    }

    pub fn boxed(&self) -> AnyStorage {
        Box::new(self.clone())
    }

    /// Makes the sync fail that comes after so many others.
    pub fn fail_after(&self, syncs: usize) {
        self.fails_in.store(syncs + 1, Relaxed);
    }

    pub fn writes(&self) -> usize {
        self.writes.load(Relaxed)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for Shared {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|bytes| {
            let start = usize::try_from(offset).expect("a small file").min(bytes.len());
            let count = into.len().min(bytes.len() - start);
            into[..count].copy_from_slice(&bytes[start..start + count]);
            Ok(count)
        })
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.writes.fetch_add(1, Relaxed);
        self.with(|bytes| {
            let start = usize::try_from(offset).expect("a small file");
            bytes.resize(bytes.len().max(start + from.len()), 0);
            bytes[start..start + from.len()].copy_from_slice(from);
            Ok(())
        })
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.writes.fetch_add(1, Relaxed);
        self.with(|bytes| bytes.truncate(usize::try_from(len).expect("a small file")));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.fails_in.load(Relaxed) {
            0 => Ok(()),
            left => {
                self.fails_in.store(left - 1, Relaxed);
                if left == 1 { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
            }
        }
    }
}

/// A commit that was acknowledged: height and id.
pub type Ack = (u32, String);

fn failed(source: ChainFileError) -> Error {
    Error::ChainFile { path: "memory".into(), source }
}

/// Validates headers of a regtest dump into a chain file.
pub fn append_headers(
    dump: &Path,
    options: &Options,
    file: &Shared,
) -> (Result<Validation, Error>, Vec<Ack>) {
    append_headers_on(&Cpu::new(1).expect("a thread"), dump, options, file, false)
}

/// Validates headers into a chain file, on a backend of one's own. With `stop`, the first commit
/// interrupts the work.
pub fn append_headers_on(
    backend: &dyn Backend,
    dump: &Path,
    options: &Options,
    file: &Shared,
    stop: bool,
) -> (Result<Validation, Error>, Vec<Ack>) {
    let mut acks = Vec::new();
    let progress = Arc::new(Progress::default());
    let append_to = AppendTo {
        path: "memory".into(),
        open: Box::new(|params: &bitcoin::Params| {
            if file.is_empty().expect("memory") {
                file.clone().write_at(0, &LoadedHeaders::empty_file(params)).expect("memory");
            }
            LoadedHeaders::open(file.boxed()).map_err(failed)
        }),
        committed: Box::new(|height, id| {
            acks.push((height, id.to_string()));
            progress.stop.store(stop, Relaxed);
            Ok(())
        }),
    };
    let inputs = Inputs::open(&[dump.to_owned()], None, Arc::clone(&progress)).expect("a dump");
    let validation = validate_headers(inputs, backend, options, &progress, Some(append_to));
    (validation, acks)
}

/// Validates the dump of a ledger into a chain file, on one thread.
pub fn append_ledger(dump: &Path, file: &Shared) -> (Result<Validation, Error>, Vec<Ack>) {
    append_ledger_with(dump, file, 1, LedgerOptions::COMMIT_BYTES)
}

/// The same on `threads`, the file's own besides if there are several.
pub fn append_ledger_with(
    dump: &Path,
    file: &Shared,
    threads: usize,
    commit_bytes: u64,
) -> (Result<Validation, Error>, Vec<Ack>) {
    let mut acks = Vec::new();
    let append_to = AppendTo {
        path: "memory".into(),
        open: Box::new(|params: &ledger::Params| {
            if file.is_empty().expect("memory") {
                file.clone().write_at(0, &LoadedLedger::empty_file(params)).expect("memory");
            }
            LoadedLedger::open(file.boxed(), |_, _| Ok(())).map_err(failed)
        }),
        committed: Box::new(|height, id| {
            acks.push((height, id.to_string()));
            Ok(())
        }),
    };
    let options = LedgerOptions {
        params: None,
        now: NOW,
        batch: 1000,
        threads,
        overlap: threads > 1,
        rejections_max: 10,
        commit_bytes,
    };
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(&[dump.to_owned()], None, Arc::clone(&progress)).expect("a dump");
    let cpu = Cpu::new(1).expect("a thread");
    let validation = validate_ledger(inputs, &cpu, &options, &progress, Some(append_to));
    (validation, acks)
}

/// A chain file of headers, one commit for each of `dumps`.
pub fn header_file(dumps: &[Vec<Header>]) -> Shared {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Shared::default();
    for headers in dumps {
        let dump = folder.path().join("dump.hdr");
        std::fs::write(&dump, super::chain::dump(headers)).expect("a file");
        let regtest = bitcoin::Params::of(bitcoin::Network::Regtest);
        append_headers(&dump, &options(Some(regtest)), &file).0.expect("a judgement");
    }
    file
}

/// A slot as the specification draws it.
#[derive(Clone, Debug)]
pub struct Slot {
    pub sequence: u64,
    pub len: u64,
    /// Height and tip.
    pub tip: Vec<u8>,
    pub digest: [u8; 32],
    /// Tree size and root.
    pub tree: Vec<u8>,
}

impl Slot {
    fn read(page: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().expect("eight"));
        Self {
            sequence: number(0),
            len: number(8),
            tip: page[16..52].to_vec(),
            digest: page[52..84].try_into().expect("32 bytes"),
            tree: page[84..124].to_vec(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut page = self.sequence.to_le_bytes().to_vec();
        page.extend(self.len.to_le_bytes());
        page.extend(&self.tip);
        page.extend(self.digest);
        page.extend(&self.tree);
        page.resize(PAGE - 4, 0);
        let checksum = crc32c::crc32c(&page);
        page.extend(checksum.to_le_bytes());
        page
    }
}

/// The parts of a chain file whose head is one page long.
pub struct Anatomy {
    /// The slots A and B.
    pub slots: [Slot; 2],
    /// Offset, type and payload of each frame.
    pub frames: Vec<(usize, u8, Vec<u8>)>,
}

pub const SLOTS: [usize; 2] = [PAGE, 2 * PAGE];
pub const FRAMES: usize = 3 * PAGE;

pub fn dissect(bytes: &[u8]) -> Anatomy {
    let slots = SLOTS.map(|at| Slot::read(&bytes[at..at + PAGE]));
    let mut frames = Vec::new();
    let mut at = FRAMES;
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 1..at + 5].try_into().expect("four bytes"));
        let end = at + 9 + len as usize;
        frames.push((at, bytes[at], bytes[at + 9..end].to_vec()));
        at = end;
    }
    Anatomy { slots, frames }
}

/// The file with one more frame, committed with the same tip: what another writer may have written.
pub fn with_frame(bytes: &[u8], kind: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b] = dissect(bytes).slots;
    let last = if a.sequence > b.sequence { a } else { b };
    let mut frame = vec![kind];
    frame.extend(u32::try_from(payload.len()).expect("short").to_le_bytes());
    let covered = [&last.digest[..], &frame, payload].concat();
    frame.extend(crc32c::crc32c(&covered).to_le_bytes());
    frame.extend(payload);
    let digest = Sha256::digest([&last.digest[..], &frame].concat()).into();
    let mut out = [bytes, &frame].concat();
    let slot = Slot { sequence: last.sequence + 1, len: out.len() as u64, digest, ..last };
    let at = SLOTS[(slot.sequence % 2) as usize];
    out[at..at + PAGE].copy_from_slice(&slot.encode());
    out
}

/// The file with another payload in the place of a frame's, all checksums and digests made right: what a
/// writer may have written who means harm. The tip is the one that was committed.
pub fn with_payload(bytes: &[u8], index: usize, payload: &[u8]) -> Vec<u8> {
    let Anatomy { slots: [a, b], frames } = dissect(bytes);
    let last = if a.sequence > b.sequence { a } else { b };
    let mut out = bytes[..FRAMES].to_vec();
    let mut digest: [u8; 32] = Sha256::digest(&bytes[..PAGE]).into();
    for (at, (_, kind, found)) in frames.iter().enumerate() {
        let payload = if at == index { payload } else { found };
        let mut frame = vec![*kind];
        frame.extend(u32::try_from(payload.len()).expect("short").to_le_bytes());
        let covered = [&digest[..], &frame, payload].concat();
        frame.extend(crc32c::crc32c(&covered).to_le_bytes());
        frame.extend(payload);
        digest = Sha256::digest([&digest[..], &frame].concat()).into();
        out.extend(frame);
    }
    for more in 1..=2 {
        let len = out.len() as u64;
        let slot = Slot { sequence: last.sequence + more, len, digest, ..last.clone() };
        let at = SLOTS[(slot.sequence % 2) as usize];
        out[at..at + PAGE].copy_from_slice(&slot.encode());
    }
    out
}

/// A generated ledger as its dump.
#[cfg(feature = "mine")]
pub fn generated(options: &ledger::generate::Options) -> Vec<u8> {
    let mut dump = Vec::new();
    let progress = ledger::generate::Progress::default();
    ledger::generate::generate(options, 1, &progress, &mut dump).expect("a ledger");
    dump
}

/// A small ledger with everything in it: transfers with and without memos, records, a side branch.
#[cfg(feature = "mine")]
pub fn small_ledger() -> Vec<u8> {
    generated(&ledger::generate::Options {
        seed: "golden".into(),
        blocks: 6,
        transactions: 6,
        accounts: 4,
        payload_bytes: (0, 20),
        memo_bytes: (0, 3),
        records_percent: 40,
        forks: 1,
    })
}

/// The head of a ledger's dump, and its blocks in order.
pub fn parts_of(dump: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (_, head_len) = ledger::DumpHead::read(&mut &dump[..]).expect("a head");
    let (head, mut rest) = dump.split_at(usize::try_from(head_len).expect("a short head"));
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        blocks.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    (head.to_vec(), blocks)
}

/// Of a dump with one side branch: a dump that ends with that branch, which is then the best.
pub fn up_to_the_side_branch(dump: &[u8]) -> Vec<u8> {
    let (mut out, blocks) = parts_of(dump);
    let header = |block: &[u8]| Header::from_bytes(*block.first_chunk().expect("a header"));
    let find = |id| blocks.iter().find(|block| header(block).id() == id);
    let branch_to = |end: &Vec<u8>| {
        let mut branch = vec![end.clone()];
        while let Some(parent) = find(header(&branch[branch.len() - 1]).parent()) {
            branch.push(parent.clone());
        }
        branch.reverse();
        branch
    };
    let has_child = |block: &Vec<u8>| {
        let id = header(block).id();
        blocks.iter().any(|other| header(other).parent() == id)
    };
    let mut ends: Vec<_> = blocks.iter().filter(|block| !has_child(block)).map(branch_to).collect();
    ends.sort_by_key(Vec::len);
    assert_eq!(ends.len(), 2, "one side branch");
    for block in &ends[0] {
        ledger::put_record(&mut out, block);
    }
    out
}

/// A chain file of a ledger, one commit for each of `dumps`.
pub fn ledger_file(dumps: &[Vec<u8>]) -> Shared {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Shared::default();
    for dump in dumps {
        let path = folder.path().join("ledger.bmdump");
        std::fs::write(&path, dump).expect("a file");
        append_ledger(&path, &file).0.expect("a judgement");
    }
    file
}
