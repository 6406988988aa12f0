//! Ledgers made on the spot: keys, signed transactions, mined blocks, dumps, and their judgement.
//!
//! Everything is sound unless a test says otherwise: a [`Draft`] is a sound child of its parent, and
//! each of its fields can be set before it is mined. Blocks come on schedule, so that two hashes mine
//! one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockmill::Error;
use blockmill::compute::{Backend, Cpu, Reference};
use blockmill::dump::{Inputs, Progress};
use blockmill::ledger::{
    Account, DumpHead, HeaderRules, Params, RULES_VERSION, SIGNATURE_LEN, Signature, Transaction,
    put_record,
};
use blockmill::primitives::{CompactTarget, Hash256, Header, rfc6962};
use blockmill::stages::{LedgerOptions, Validation, validate_ledger};
use blockmill::wire::{put_prefixed, put_varint};
use ed25519_dalek::{Signer, SigningKey};

pub use super::judge::NOW;

/// The time of every genesis.
pub const START_TIME: u32 = 1_700_000_000;

/// What the keys 1 to [`KEYS`] hold before the first block.
pub const ALLOCATION: u64 = 1_000_000;
pub const KEYS: u8 = 8;

/// The key that is rewarded; it holds nothing before the first block.
pub const MINER: u8 = 100;

/// New coins in each block up to height [`HALVING`] - 1, and half of it from there on.
pub const SUBSIDY: u64 = 1000;
pub const HALVING: u32 = 5;

/// The encoding of one transaction.
pub type Leaf = Vec<u8>;

/// The account of a key, by its number.
pub fn account(key: u8) -> Account {
    Account::from_key(signing_key(key).verifying_key().to_bytes())
}

fn signing_key(key: u8) -> SigningKey {
    SigningKey::from_bytes(&[key; 32])
}

/// The signature of a key over `message`.
pub fn sign_bytes(key: u8, message: &[u8]) -> Signature {
    signing_key(key).sign(message).to_bytes()
}

/// A transfer to be signed.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub from: u8,
    pub to: Account,
    pub amount: u64,
    pub fee: u64,
    pub nonce: u64,
    pub memo: Vec<u8>,
}

impl Default for Transfer {
    /// The first of key 1.
    fn default() -> Self {
        Self { from: 1, to: account(2), amount: 5, fee: 1, nonce: 0, memo: Vec::new() }
    }
}

/// A record to be signed.
#[derive(Clone, Debug)]
pub struct Record {
    pub from: u8,
    pub fee: u64,
    pub nonce: u64,
    pub tag: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Default for Record {
    /// The first of key 1.
    fn default() -> Self {
        Self { from: 1, fee: 1, nonce: 0, tag: b"test".to_vec(), payload: b"data".to_vec() }
    }
}

/// A transaction that a key signs.
pub trait Unsigned {
    fn key(&self) -> u8;
    /// The transaction with a signature of zeros.
    fn transaction(&self) -> Transaction<'_>;
}

impl Unsigned for Transfer {
    fn key(&self) -> u8 {
        self.from
    }
    fn transaction(&self) -> Transaction<'_> {
        let Self { from, to, amount, fee, nonce, ref memo } = *self;
        let signature = [0; SIGNATURE_LEN];
        Transaction::Transfer { from: account(from), to, amount, fee, nonce, memo, signature }
    }
}

impl Unsigned for Record {
    fn key(&self) -> u8 {
        self.from
    }
    fn transaction(&self) -> Transaction<'_> {
        let Self { from, fee, nonce, ref tag, ref payload } = *self;
        let signature = [0; SIGNATURE_LEN];
        Transaction::Record { from: account(from), fee, nonce, tag, payload, signature }
    }
}

/// The first transaction of a block.
#[derive(Clone, Copy, Debug)]
pub struct Reward {
    pub height: u64,
    pub to: Account,
    pub amount: u64,
    /// Makes blocks differ that agree in everything else.
    pub extranonce: u64,
}

impl Reward {
    pub fn leaf(&self) -> Leaf {
        let Self { height, to, amount, extranonce } = *self;
        encoded(&Transaction::Reward { height, to, amount, extranonce })
    }
}

pub fn encoded(transaction: &Transaction<'_>) -> Leaf {
    let mut leaf = Vec::new();
    transaction.encode(&mut leaf);
    leaf
}

/// A count of transactions, and each of them.
pub fn body_of(leaves: &[Leaf]) -> Vec<u8> {
    let mut body = Vec::new();
    put_varint(&mut body, leaves.len() as u64);
    leaves.iter().for_each(|leaf| put_prefixed(&mut body, leaf));
    body
}

pub fn root_of(leaves: &[Leaf]) -> Hash256 {
    let hashes: Vec<_> = leaves.iter().map(|leaf| rfc6962::leaf_hash(leaf)).collect();
    rfc6962::root(&hashes)
}

/// A block to be mined.
#[derive(Clone, Debug)]
pub struct Draft {
    pub height: u32,
    pub version: i32,
    pub parent: Hash256,
    pub time: u32,
    pub bits: CompactTarget,
    pub reward: Reward,
    /// What stands in the reward's place.
    pub first: Option<Leaf>,
    /// The transactions behind the reward.
    pub rest: Vec<Leaf>,
    /// Whether there are no transactions at all.
    pub is_empty: bool,
    /// The Merkle root, where it is not that of the transactions.
    pub root: Option<Hash256>,
    /// Bytes behind the block.
    pub tail: Vec<u8>,
    /// Whether the id meets the target.
    pub wins: bool,
}

impl Draft {
    pub fn leaves(&self) -> Vec<Leaf> {
        if self.is_empty {
            return Vec::new();
        }
        let first = self.first.clone().unwrap_or_else(|| self.reward.leaf());
        [vec![first], self.rest.clone()].concat()
    }

    /// The block with its lowest winning (or losing) nonce.
    pub fn mine(&self) -> Block {
        let leaves = self.leaves();
        let root = self.root.unwrap_or_else(|| root_of(&leaves));
        let header = Header::from_fields(self.version, self.parent, root, self.time, self.bits, 0);
        let target = self.bits.decode().expect("bits of a target");
        let header = (0..=u32::MAX)
            .map(|nonce| header.with_nonce(nonce))
            .find(|header| target.is_met_by(&header.id()) == self.wins)
            .expect("an easy target");
        let block = Block { header, height: self.height, bytes: Vec::new() };
        block.with_body(&[body_of(&leaves), self.tail.clone()].concat())
    }
}

/// A block with its bytes, which may not be those its header names.
#[derive(Clone, Debug)]
pub struct Block {
    pub header: Header,
    pub height: u32,
    pub bytes: Vec<u8>,
}

impl Block {
    pub fn id(&self) -> Hash256 {
        self.header.id()
    }

    /// The bytes behind the header.
    pub fn body(&self) -> &[u8] {
        &self.bytes[Header::LEN..]
    }

    /// Another body under the same header.
    pub fn with_body(&self, body: &[u8]) -> Self {
        Self { bytes: [self.header.as_bytes(), body].concat(), ..self.clone() }
    }

    /// A copy that cannot be decoded.
    pub fn undecodable(&self) -> Self {
        self.with_body(&[self.body(), &[0]].concat())
    }

    /// A copy with other transactions.
    pub fn exchanged(&self) -> Self {
        let reward = Reward { height: 0, to: account(MINER), amount: 0, extranonce: 77 };
        self.with_body(&body_of(&[reward.leaf()]))
    }

    /// The block as a dump holds it.
    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::new();
        put_record(&mut record, &self.bytes);
        record
    }
}

/// The bytes before a block in its record.
pub const RECORD_HEAD_LEN: usize = 16;

/// A ledger: its parameters and what follows from them.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub params: Params,
    rules: HeaderRules,
}

impl Ledger {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// The ledger with other values for some keys of its parameters.
    pub fn with(values: &[(&str, &str)]) -> Self {
        Self::of(Params::from_toml(&toml(values)).expect("sound parameters"))
    }

    pub fn of(params: Params) -> Self {
        Self { rules: HeaderRules::new(&params, NOW), params }
    }

    pub fn genesis(&self) -> Block {
        let block = Block { header: self.params.genesis(), height: 0, bytes: Vec::new() };
        block.with_body(&[0])
    }

    /// Signs with the sender's key.
    pub fn sign(&self, unsigned: &impl Unsigned) -> Leaf {
        let transaction = unsigned.transaction();
        self.sign_by(&transaction, |message| sign_bytes(unsigned.key(), message))
    }

    /// Signs what `signer` makes of the signed bytes.
    pub fn sign_by(
        &self,
        transaction: &Transaction<'_>,
        signer: impl FnOnce(&[u8]) -> Signature,
    ) -> Leaf {
        let mut message = Vec::new();
        transaction.encode_signed_bytes(&self.params.chain_id(), &mut message);
        let mut leaf = encoded(transaction);
        let signature_at = leaf.len() - SIGNATURE_LEN;
        leaf[signature_at..].copy_from_slice(&signer(&message));
        leaf
    }

    /// A sound child of `parent`, one spacing later, that claims all it may.
    pub fn draft(&self, parent: &Block, rest: &[Leaf]) -> Draft {
        let spacing = u32::try_from(self.params.target_spacing_s()).expect("a short spacing");
        self.draft_at(parent, parent.header.time() + spacing, rest)
    }

    /// A sound child of `parent` at a time of its own.
    pub fn draft_at(&self, parent: &Block, time: u32, rest: &[Leaf]) -> Draft {
        let height = parent.height + 1;
        let fee = |leaf: &Leaf| Transaction::decode(leaf).map_or(0, |decoded| decoded.fee());
        let fees = rest.iter().map(fee).fold(0, u64::saturating_add);
        let amount = self.params.subsidy(height.into()).saturating_add(fees);
        Draft {
            height,
            version: RULES_VERSION,
            parent: parent.id(),
            time,
            bits: self.rules.next_bits(parent.height, parent.header.time()),
            reward: Reward { height: height.into(), to: account(MINER), amount, extranonce: 0 },
            first: None,
            rest: rest.to_vec(),
            is_empty: false,
            root: None,
            tail: Vec::new(),
            wins: true,
        }
    }

    /// A sound child of `parent`.
    pub fn block(&self, parent: &Block, rest: &[Leaf]) -> Block {
        self.draft(parent, rest).mine()
    }

    /// `length` blocks of rewards alone; other salts give other blocks.
    pub fn extend(&self, parent: &Block, length: usize, salt: u64) -> Vec<Block> {
        let mut blocks = vec![parent.clone()];
        for _ in 0..length {
            let mut draft = self.draft(&blocks[blocks.len() - 1], &[]);
            draft.reward.extranonce = salt;
            blocks.push(draft.mine());
        }
        blocks.split_off(1)
    }

    /// What opens a dump of this ledger.
    pub fn head(&self, first_height: u64) -> Vec<u8> {
        DumpHead { params: self.params.clone(), first_height }.encode()
    }

    /// A dump of these blocks in this order.
    pub fn dump<'b>(&self, blocks: impl IntoIterator<Item = &'b Block>) -> Vec<u8> {
        let mut dump = self.head(1);
        blocks.into_iter().for_each(|block| dump.extend(block.record()));
        dump
    }

    /// The judgement on these blocks, as one dump.
    pub fn judge<'b>(&self, blocks: impl IntoIterator<Item = &'b Block>) -> Validation {
        judge_dump(&self.dump(blocks), &Way::PLAIN)
    }

    /// The same, after every way of [`Way::EACH`] has led to it.
    pub fn judge_each_way<'b>(&self, blocks: impl IntoIterator<Item = &'b Block>) -> Validation {
        let dump = self.dump(blocks);
        let mut ways = Way::EACH.iter();
        let judge = |way: &Way| judge_dump(&dump, way);
        let first = ways.next().map(judge).expect("a way");
        for way in ways {
            assert_eq!(summary(&judge(way)), summary(&first), "{way:?}");
        }
        first
    }
}

/// The file of a test ledger's parameters, with other values for some keys.
pub fn toml(values: &[(&str, &str)]) -> String {
    let halving = HALVING.to_string();
    let (time, subsidy, salt) = (START_TIME.to_string(), SUBSIDY.to_string(), "07".repeat(32));
    let salt = format!("\"{salt}\"");
    let usual = [
        ("format", "1"),
        ("name", "\"test\""),
        ("time", &time),
        ("salt", &salt),
        ("target_spacing_s", "60"),
        ("half_life_s", "172800"),
        ("pow_limit", "\"207fffff\""),
        ("subsidy", &subsidy),
        ("halving_blocks", &halving),
        ("block_bytes_max", "8192"),
    ];
    let value =
        |key: &str| values.iter().find(|(changed, _)| *changed == key).map(|(_, value)| *value);
    let lines = usual.map(|(key, usual)| format!("{key} = {}\n", value(key).unwrap_or(usual)));
    let allocation =
        |key| format!("[[allocation]]\naccount = \"{}\"\namount = {ALLOCATION}\n", account(key));
    lines.into_iter().chain((1..=KEYS).map(allocation)).collect()
}

/// A way to judge a dump, which must not matter.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub reference: bool,
    pub batch: usize,
    pub threads: usize,
    pub overlap: bool,
}

impl Way {
    pub const PLAIN: Self = Self { reference: false, batch: 1000, threads: 1, overlap: false };

    /// Both backends, blocks singly and together, one thread and two.
    pub const EACH: [Self; 5] = [
        Self::PLAIN,
        Self { reference: true, ..Self::PLAIN },
        Self { reference: true, batch: 1, threads: 2, overlap: true },
        Self { batch: 1, ..Self::PLAIN },
        Self { threads: 2, overlap: true, ..Self::PLAIN },
    ];

    pub fn cpu(&self) -> Cpu {
        Cpu::new(self.threads).expect("threads")
    }

    pub fn options(&self) -> LedgerOptions {
        LedgerOptions {
            params: None,
            now: NOW,
            batch: self.batch,
            threads: self.threads,
            overlap: self.overlap,
            rejections_max: 10_000,
            commit_bytes: LedgerOptions::COMMIT_BYTES,
        }
    }
}

/// The judgement on the bytes of one dump.
pub fn judge_dump(dump: &[u8], way: &Way) -> Validation {
    try_dump(dump, way).expect("a judgement")
}

pub fn try_dump(dump: &[u8], way: &Way) -> Result<Validation, Error> {
    let (_folder, file) = written(dump);
    judge_files(&[file], way)
}

fn written(dump: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ledger.bmdump");
    std::fs::write(&file, dump).expect("a file");
    (folder, file)
}

/// The judgement on files.
pub fn judge_files(paths: &[PathBuf], way: &Way) -> Result<Validation, Error> {
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(paths, None, Arc::clone(&progress))?;
    let cpu = way.cpu();
    let backend: &dyn Backend = if way.reference { &Reference } else { &cpu };
    validate_ledger(inputs, backend, &way.options(), &progress, None)
}

/// All that a judgement says, as text; files go by their names alone.
pub fn summary(validation: &Validation) -> String {
    let Validation { outcome, ledger, files, error, .. } = validation;
    let files: Vec<_> = files
        .entries()
        .iter()
        .map(|file| {
            let name = file.path.file_name().map(Path::new);
            (name, file.bytes, file.blocks, &file.skipped, &file.torn)
        })
        .collect();
    format!("{outcome:#?} {ledger:#?} {files:#?} {}", error.is_some())
}

/// Every rejection as rule id, height and index of the transaction.
pub fn faults(validation: &Validation) -> Vec<(&'static str, Option<u32>, Option<u32>)> {
    let rejections = validation.outcome.iter().flat_map(|outcome| &outcome.rejections);
    rejections
        .map(|each| (each.violation.rule().id(), each.height, each.violation.transaction()))
        .collect()
}

/// The height and the id of the tip.
pub fn tip(validation: &Validation) -> (u32, Hash256) {
    let tip = validation.outcome.as_ref().expect("an outcome").tip;
    (tip.height, tip.id)
}
