//! Chains of whole Bitcoin blocks, mined on the spot on regtest, and chain files that hold them.
//!
//! Bodies have what blocks of every age have: bare and hashed keys, witnesses, data, and spends of the same
//! block. Signatures and keys are no more than bytes: level `blocks` looks at neither.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockmill::Error;
use blockmill::bitcoin::{Block, LoadedBlocks, Network, Params, genesis_block, put_block_record};
use blockmill::chain::file::{ChainFileError, MemoryStorage, Storage};
use blockmill::compute::{Backend, Cpu};
use blockmill::dump::{Inputs, Progress};
use blockmill::primitives::{Hash256, Header, merkle_root, sha256d};
use blockmill::stages::{AppendTo, BlockOptions, Validation, validate_blocks};
use blockmill::wire::put_compact_size;

use super::chain_file::{Ack, Shared};
use super::judge::options;

/// Bytes that look like keys and digests: the same ones for the same numbers.
fn noise(salt: u64, index: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in 0..=len as u64 / 32 {
        let seed = [salt.to_le_bytes(), index.to_le_bytes(), part.to_le_bytes()].concat();
        out.extend_from_slice(sha256d(&seed).as_bytes());
    }
    out.truncate(len);
    out
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_compact_size(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What a script pushes to say a height.  (BIP34.)
fn height_push(height: u32) -> Vec<u8> {
    if height <= 16 {
        return vec![0x50 + u8::try_from(height).expect("small")];
    }
    let mut bytes = height.to_le_bytes().to_vec();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.last().is_some_and(|last| last & 0x80 != 0) {
        bytes.push(0);
    }
    [vec![u8::try_from(bytes.len()).expect("four bytes")], bytes].concat()
}

/// Transaction id and output, script, sequence, witness.
pub type DraftInput = (Vec<u8>, Vec<u8>, u32, Vec<Vec<u8>>);

/// The fields of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub version: i32,
    pub inputs: Vec<DraftInput>,
    /// Value, script.
    pub outputs: Vec<(u64, Vec<u8>)>,
    pub lock_time: u32,
}

impl Draft {
    /// The transaction; with marker and flag if an input has a witness.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_le_bytes().to_vec();
        let has_witness = self.inputs.iter().any(|(.., witness)| !witness.is_empty());
        if has_witness {
            out.extend([0, 1]);
        }
        put_compact_size(&mut out, self.inputs.len() as u64);
        for (prevout, script, sequence, _) in &self.inputs {
            out.extend(prevout);
            put_bytes(&mut out, script);
            out.extend(sequence.to_le_bytes());
        }
        put_compact_size(&mut out, self.outputs.len() as u64);
        for (value, script) in &self.outputs {
            out.extend(value.to_le_bytes());
            put_bytes(&mut out, script);
        }
        for (.., witness) in self.inputs.iter().filter(|_| has_witness) {
            put_compact_size(&mut out, witness.len() as u64);
            witness.iter().for_each(|item| put_bytes(&mut out, item));
        }
        out.extend(self.lock_time.to_le_bytes());
        out
    }
}

/// What a signature looks like.
fn signature(salt: u64, index: u64) -> Vec<u8> {
    let parts = [&[0x30, 0x44, 2, 32][..], &noise(salt, index, 32), &[2, 32]];
    [&parts.concat()[..], &noise(salt, index + 1, 32), &[1]].concat()
}

fn key(salt: u64, index: u64) -> Vec<u8> {
    [vec![2], noise(salt, index, 32)].concat()
}

/// A transaction of one of seven kinds. `before` is the id of the one before it in its block.
fn spend(kind: u64, salt: u64, before: &Hash256) -> Draft {
    let hashed = |index| [&[0x76, 0xa9, 20][..], &noise(salt, index, 20), &[0x88, 0xac]].concat();
    let script = |index| [&[0xa9, 20][..], &noise(salt, index, 20), &[0x87]].concat();
    let witness_key = |index| [&[0, 20][..], &noise(salt, index, 20)].concat();
    let push = |bytes: Vec<u8>| {
        let len = u8::try_from(bytes.len()).expect("short");
        [vec![len], bytes].concat()
    };
    let elsewhere =
        |index| [noise(salt, index, 32), vec![index.to_le_bytes()[0], 0, 0, 0]].concat();
    let here = [before.as_bytes().to_vec(), vec![0; 4]].concat();
    let spent = [push(signature(salt, 1)), push(key(salt, 3))].concat();
    let witness = vec![signature(salt, 4), key(salt, 6)];
    let (inputs, outputs) = match kind % 7 {
        0 => {
            (vec![(elsewhere(7), spent, !0, vec![])], vec![(5_000_000, hashed(8)), (7, hashed(9))])
        }
        1 => (vec![(here, spent, !1, vec![])], vec![(1_234_567, script(8))]),
        2 => (vec![(elsewhere(7), vec![], !2, witness)], vec![(99, witness_key(8))]),
        3 => {
            let nested = push(witness_key(10));
            let inputs = vec![(here, spent, 0, vec![]), (elsewhere(11), nested, !0, witness)];
            (inputs, vec![(2_100_000, [vec![0x51, 32], noise(salt, 12, 32)].concat())])
        }
        4 => {
            let taproot = vec![noise(salt, 13, 64)];
            let data = [&[0x6a, 12][..], b"some of data"].concat();
            (vec![(elsewhere(14), vec![], !2, taproot)], vec![(0, data), (500, witness_key(15))])
        }
        5 => {
            let long = vec![vec![], noise(salt, 16, 300), [0x51; 80].to_vec(), vec![1]];
            let bare = [push(noise(salt, 17, 65)), vec![0xac]].concat();
            (vec![(elsewhere(18), vec![], !0, long)], vec![(5_000_000_000, bare)])
        }
        // Scripts that are none of the usual ones.
        _ => {
            let inputs = vec![(elsewhere(19), vec![0x4c], 77, vec![])];
            (inputs, vec![(1, vec![]), (2, noise(salt, 20, 260)), (3, vec![0x76, 0xa9, 20, 1])])
        }
    };
    let lock_time = if kind % 7 == 6 { 3 } else { 0 };
    Draft { version: [1, 2][(kind % 2) as usize], inputs, outputs, lock_time }
}

/// The bytes of a block with these transactions behind its coinbase, mined after `parent`.
pub fn block_of(parent: &Header, height: u32, salt: u64, rest: &[Vec<u8>]) -> Vec<u8> {
    let script = [height_push(height), vec![8], salt.to_le_bytes().to_vec()].concat();
    let null = [vec![0; 32], vec![0xff; 4]].concat();
    let mut coinbase = Draft {
        version: 1,
        inputs: vec![(null, script, !0, vec![])],
        outputs: vec![(5_000_000_000, [vec![33], key(salt, 0), vec![0xac]].concat())],
        lock_time: 0,
    };
    let id_of = |bytes: &[u8]| blockmill::bitcoin::Transaction::parse(bytes).expect("one").id();
    if rest.iter().any(|bytes| bytes[4..6] == [0, 1]) {
        let witness_ids: Vec<_> = rest.iter().map(|bytes| sha256d(bytes)).collect();
        let root = merkle_root(&[vec![Hash256::ZERO], witness_ids].concat());
        let commitment = sha256d(&[&root.as_bytes()[..], &[0; 32]].concat());
        let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], commitment.as_bytes()].concat();
        coinbase.outputs.push((0, script));
        coinbase.inputs[0].3 = vec![vec![0; 32]];
    }
    let transactions = [vec![coinbase.encode()], rest.to_vec()].concat();
    let ids: Vec<_> = transactions.iter().map(|bytes| id_of(bytes)).collect();
    let (time, bits) = (parent.time() + 600, parent.bits());
    let draft = Header::from_fields(0x2000_0000, parent.id(), merkle_root(&ids), time, bits, 0);
    let header = (0..)
        .map(|nonce| draft.with_nonce(nonce))
        .find(|header| header.is_solved_by(&header.id()))
        .expect("an easy target");
    let mut block = header.as_bytes().to_vec();
    put_compact_size(&mut block, transactions.len() as u64);
    transactions.iter().for_each(|bytes| block.extend(bytes));
    block
}

/// Transactions of every kind.
pub fn spends(salt: u64, count: u64) -> Vec<Vec<u8>> {
    let mut before = sha256d(b"elsewhere");
    let mut all = Vec::new();
    for index in 0..count {
        let bytes = spend(salt + index, salt << 8 | index, &before).encode();
        before = blockmill::bitcoin::Transaction::parse(&bytes).expect("one").id();
        all.push(bytes);
    }
    all
}

pub fn header_of(block: &[u8]) -> Header {
    Header::from_bytes(*block.first_chunk().expect("a header"))
}

/// `length` sound blocks after `parent`, which is at `height`. Those of another `salt` differ.
pub fn extend(parent: &[u8], height: u32, length: u32, salt: u64) -> Vec<Vec<u8>> {
    let mut last = header_of(parent);
    let mut blocks = Vec::new();
    for height in height + 1..=height + length {
        let salt = salt << 32 | u64::from(height);
        let rest = spends(salt, salt % 9);
        let block = block_of(&last, height, salt, &rest);
        last = header_of(&block);
        blocks.push(block);
    }
    blocks
}

/// Genesis and `length` sound blocks after it.
pub fn from_genesis(length: u32) -> Vec<Vec<u8>> {
    let genesis = genesis_block(Network::Regtest);
    let blocks = extend(&genesis, 0, length, 0);
    [vec![genesis], blocks].concat()
}

/// The bytes of a block file.
pub fn dump(blocks: &[impl AsRef<[u8]>]) -> Vec<u8> {
    dump_of(Network::Regtest, blocks)
}

/// The same of any network.
pub fn dump_of(network: Network, blocks: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    blocks.iter().for_each(|block| put_block_record(&mut out, network.magic(), block.as_ref()));
    out
}

/// How a test validates blocks into a chain file.
#[derive(Clone, Copy)]
pub struct How {
    pub threads: usize,
    pub batch: usize,
    pub overlap: bool,
    pub commit_bytes: u64,
}

impl How {
    pub const PLAIN: Self =
        Self { threads: 1, batch: 1000, overlap: false, commit_bytes: 64 << 20 };
}

/// Validates block files into a chain file.
pub fn append_blocks(
    dumps: &[PathBuf],
    how: How,
    file: &Shared,
) -> (Result<Validation, Error>, Vec<Ack>) {
    append_blocks_on(&Cpu::new(how.threads).expect("threads"), dumps, how, file)
}

/// The same, on a backend of one's own.
pub fn append_blocks_on(
    backend: &dyn Backend,
    dumps: &[PathBuf],
    how: How,
    file: &Shared,
) -> (Result<Validation, Error>, Vec<Ack>) {
    let mut acks = Vec::new();
    let failed = |source: ChainFileError| Error::ChainFile { path: "memory".into(), source };
    let append_to = AppendTo {
        path: "memory".into(),
        open: Box::new(|params: &Params| {
            if file.is_empty().expect("memory") {
                file.clone().write_at(0, &LoadedBlocks::empty_file(params)).expect("memory");
            }
            LoadedBlocks::open(file.boxed(), |_| Ok(())).map_err(failed)
        }),
        committed: Box::new(|height, id| {
            acks.push((height, id.to_string()));
            Ok(())
        }),
    };
    let mut headers = options(None);
    (headers.batch, headers.overlap, headers.threads) = (how.batch, how.overlap, how.threads);
    let options = BlockOptions { headers, commit_bytes: how.commit_bytes };
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(dumps, None, Arc::clone(&progress)).expect("a dump");
    let validation = validate_blocks(inputs, backend, &options, &progress, Some(append_to));
    (validation, acks)
}

/// A chain file of regtest's blocks, one run for each of `dumps`.
pub fn block_file(dumps: &[Vec<Vec<u8>>]) -> Shared {
    block_file_how(dumps, How::PLAIN)
}

pub fn block_file_how(dumps: &[Vec<Vec<u8>>], how: How) -> Shared {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Shared::default();
    for blocks in dumps {
        let path = write(folder.path(), "blk00000.dat", &dump(blocks));
        append_blocks(&[path], how, &file).0.expect("a judgement");
    }
    file
}

pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// Opens a chain file of blocks.
pub fn open(bytes: &[u8]) -> Result<LoadedBlocks, ChainFileError> {
    LoadedBlocks::open(Box::new(MemoryStorage { bytes: bytes.to_vec() }), |_| Ok(()))
}

/// All blocks of the best branch of a file, genesis first, as it gives them back.
pub fn best_branch(bytes: &[u8]) -> Vec<Vec<u8>> {
    let LoadedBlocks { mut store, tree } = open(bytes).expect("a chain file");
    let mut numbers: Vec<_> =
        std::iter::successors(Some(store.tip()), |number| tree.parent(*number)).collect();
    numbers.reverse();
    let body = |number| store.body(number, tree.block(number)).expect("a body");
    numbers.into_iter().map(body).collect()
}

/// The blocks of a sound block file, framed by the lengths alone.
pub fn blocks_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut blocks) = (bytes, Vec::new());
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let len = u32::from_le_bytes(*head.last_chunk().expect("four bytes"));
        let (block, behind) = behind.split_at(len as usize);
        assert!(Block::parse(block).is_ok());
        blocks.push(block.to_vec());
        rest = behind;
    }
    blocks
}
