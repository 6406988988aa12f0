//! Blocks of Bitcoin's regtest made on the spot: transactions, mined blocks, block files, and their judgement.
//!
//! Everything is sound unless a test says otherwise: a [`Draft`] is a sound child of its parent, and each of
//! its fields can be set before it is mined. rust-bitcoin serialises and hashes, so that nothing here is
//! held to its own code; what it cannot express is given as bytes.

use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::{VarInt, serialize};
use bitcoin::hashes::Hash as _;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use blockmill::Error;
use blockmill::bitcoin::{Network, Params, put_block_record};
use blockmill::compute::{Backend, Reference};
use blockmill::dump::{Inputs, Progress};
use blockmill::primitives::{CompactTarget, Hash256, HashFunction, Header};
use blockmill::stages::{BlockOptions, LedgerOptions, Options, Validation, validate_blocks};
use blockmill::verdict::{Rule, Violation};

pub use super::judge::NOW;
use super::ledger::{Way, faults, summary, tip};
use super::oracle;

/// The height of the blocks on trial: high enough for a median of eleven.
pub const HEIGHT: u32 = 13;

/// A transaction, or bytes that claim to be one.
#[derive(Clone, Debug)]
pub enum Tx {
    Usual(Transaction),
    Raw(Vec<u8>),
}

impl Tx {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Usual(transaction) => serialize(transaction),
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    fn id(&self) -> Hash256 {
        match self {
            Self::Usual(transaction) => {
                Hash256::from_bytes(transaction.compute_txid().to_byte_array())
            }
            Self::Raw(bytes) => oracle::digest(HashFunction::Sha256d, bytes),
        }
    }

    fn witness_id(&self) -> Hash256 {
        oracle::digest(HashFunction::Sha256d, &self.bytes())
    }
}

impl From<Transaction> for Tx {
    fn from(transaction: Transaction) -> Self {
        Self::Usual(transaction)
    }
}

/// An output of a transaction that no block holds, which level `blocks` does not look for.
pub fn prevout(seed: u32) -> OutPoint {
    let digest = oracle::digest(HashFunction::Sha256, &seed.to_le_bytes());
    OutPoint { txid: Txid::from_byte_array(*digest.as_bytes()), vout: 0 }
}

pub fn input(seed: u32) -> TxIn {
    TxIn {
        previous_output: prevout(seed),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    }
}

pub fn output(satoshi: u64, script: &[u8]) -> TxOut {
    TxOut { value: Amount::from_sat(satoshi), script_pubkey: ScriptBuf::from_bytes(script.into()) }
}

/// A sound transaction without witness; different seeds spend different outputs.
pub fn spend(seed: u32) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input(seed)],
        output: vec![output(1000, &[0x51])],
    }
}

/// The same with a witness of one item.
pub fn spend_with_witness(seed: u32, item: &[u8]) -> Transaction {
    let mut transaction = spend(seed);
    transaction.input[0].witness.push(item);
    transaction
}

/// The coinbase of a block at this height, without a commitment.
pub fn coinbase(height: u32) -> Transaction {
    let height = Builder::new().push_int(height.into());
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            // A push of nothing, as heights up to 16 take one byte, and a script has at least two.
            script_sig: ScriptBuf::from_bytes([height.as_bytes(), &[0]].concat()),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![output(50 * 100_000_000, &[0x51])],
    }
}

/// The first bytes of the output script with a witness commitment.
pub const COMMITMENT_START: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// What the coinbase says of the witnesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commitment {
    /// Nothing.
    Nothing,
    /// The right commitment in a last output.
    Right,
    /// One bit of it is wrong.
    Wrong,
}

/// A mined block.
#[derive(Clone, Debug)]
pub struct Block {
    pub header: Header,
    pub height: u32,
    pub bytes: Vec<u8>,
}

impl Block {
    pub fn genesis() -> Self {
        let bytes = blockmill::bitcoin::genesis_block(Network::Regtest);
        Self { header: Params::of(Network::Regtest).genesis, height: 0, bytes }
    }

    pub fn id(&self) -> Hash256 {
        self.header.id()
    }

    /// What stands behind the header.
    pub fn body(&self) -> &[u8] {
        &self.bytes[Header::LEN..]
    }

    /// The same header with another body.
    pub fn with_body(&self, body: &[u8]) -> Self {
        Self { bytes: [self.header.as_bytes(), body].concat(), ..self.clone() }
    }

    pub fn child(&self) -> Self {
        Draft::after(self).mine()
    }
}

/// A block to be mined.
#[derive(Clone, Debug)]
pub struct Draft {
    pub version: i32,
    pub parent: Hash256,
    pub time: u32,
    pub bits: CompactTarget,
    pub height: u32,
    /// The first transaction, without commitment and nonce.
    pub coinbase: Transaction,
    pub rest: Vec<Tx>,
    pub commitment: Commitment,
    /// The witness of the coinbase: one item of 32 bytes where there is a commitment.
    pub nonce: Vec<Vec<u8>>,
    /// Instead of the root of the transactions.
    pub root: Option<Hash256>,
    /// Whether the id meets the target.
    pub wins: bool,
    /// Whether another transaction comes last, and twice, so that it is its own sibling.
    pub repeats: bool,
}

impl Draft {
    /// A sound child of `parent`: a coinbase alone, ten minutes later.
    pub fn after(parent: &Block) -> Self {
        let height = parent.height + 1;
        Self {
            version: 0x2000_0000,
            parent: parent.id(),
            time: parent.header.time() + 600,
            bits: parent.header.bits(),
            height,
            coinbase: coinbase(height),
            rest: Vec::new(),
            commitment: Commitment::Nothing,
            nonce: Vec::new(),
            root: None,
            wins: true,
            repeats: false,
        }
    }

    /// The same with these transactions behind the coinbase.
    pub fn with(mut self, rest: impl IntoIterator<Item = Transaction>) -> Self {
        self.rest.extend(rest.into_iter().map(Tx::from));
        self
    }

    /// The same with the right commitment to the witnesses, and a nonce.
    pub fn committed(mut self) -> Self {
        self.commitment = Commitment::Right;
        self.nonce = vec![vec![7; 32]];
        self
    }

    /// All transactions as they will stand in the block.
    pub fn transactions(&self) -> Vec<Tx> {
        let mut rest = self.rest.clone();
        if self.repeats {
            if rest.len().is_multiple_of(2) {
                // With the coinbase an odd number of them: the next one would be a right sibling.
                rest.push(spend(900).into());
            }
            rest.extend([spend(901).into(), spend(901).into()]);
        }
        let mut coinbase = self.coinbase.clone();
        coinbase.input[0].witness = Witness::from_slice(&self.nonce);
        if self.commitment != Commitment::Nothing {
            let mut commitment = commitment(&rest, &self.nonce);
            if self.commitment == Commitment::Wrong {
                commitment[9] ^= 4;
            }
            coinbase.output.push(output(0, &[&COMMITMENT_START[..], &commitment].concat()));
        }
        std::iter::once(Tx::from(coinbase)).chain(rest).collect()
    }

    /// The body, behind the header.
    pub fn body(&self) -> Vec<u8> {
        body_of(&self.transactions())
    }

    pub fn mine(&self) -> Block {
        let transactions = self.transactions();
        let ids: Vec<_> = transactions.iter().map(Tx::id).collect();
        self.mine_with(self.root.unwrap_or_else(|| oracle::merkle_root(&ids)), &transactions)
    }

    /// The block of these transactions instead, whatever the draft holds.
    pub fn mine_of(&self, transactions: &[Tx]) -> Block {
        let ids: Vec<_> = transactions.iter().map(Tx::id).collect();
        let root = if ids.is_empty() { Hash256::ZERO } else { oracle::merkle_root(&ids) };
        self.mine_with(root, transactions)
    }

    fn mine_with(&self, root: Hash256, transactions: &[Tx]) -> Block {
        let Self { version, parent, time, bits, height, .. } = *self;
        let header = Header::from_fields(version, parent, root, time, bits, 0);
        let target = bits.decode().expect("a draft that is mined has valid bits");
        let header = (0..=u32::MAX)
            .map(|nonce| header.with_nonce(nonce))
            .find(|header| target.is_met_by(&header.id()) == self.wins)
            .expect("an easy target");
        let bytes = [&header.as_bytes()[..], &body_of(transactions)].concat();
        Block { header, height, bytes }
    }
}

/// What a coinbase commits to: the tree of the witness ids behind it, and its own witness.
pub fn commitment(rest: &[Tx], nonce: &[Vec<u8>]) -> [u8; 32] {
    let mut ids = vec![Hash256::ZERO];
    ids.extend(rest.iter().map(Tx::witness_id));
    let root = oracle::merkle_root(&ids);
    let nonce = nonce.first().map_or(&[][..], Vec::as_slice);
    *oracle::digest(HashFunction::Sha256d, &[root.as_bytes(), nonce].concat()).as_bytes()
}

/// The count of the transactions, and each.
pub fn body_of(transactions: &[Tx]) -> Vec<u8> {
    let mut body = serialize(&VarInt(transactions.len() as u64));
    transactions.iter().for_each(|transaction| body.extend(transaction.bytes()));
    body
}

/// A block file of regtest.
pub fn block_file<'b>(blocks: impl IntoIterator<Item = &'b Block>) -> Vec<u8> {
    let mut file = Vec::new();
    for block in blocks {
        put_block_record(&mut file, Network::Regtest.magic(), &block.bytes);
    }
    file
}

/// Options that judge blocks of `network`, or of the network that the input shows.
pub fn options(network: Option<Network>, way: &Way) -> BlockOptions {
    BlockOptions {
        headers: Options {
            network: network.map(Params::of),
            activation_heights: Vec::new(),
            start_height: None,
            now: NOW,
            batch: way.batch,
            overlap: way.overlap,
            threads: way.threads,
            rejections_max: 10_000,
        },
        commit_bytes: LedgerOptions::COMMIT_BYTES,
    }
}

/// The judgement on files, on the backend of `way`.
pub fn judge_files(paths: &[PathBuf], options: &BlockOptions, way: &Way) -> Validation {
    let cpu = way.cpu();
    let backend: &dyn Backend = if way.reference { &Reference } else { &cpu };
    judge_files_on(backend, paths, options).expect("a judgement")
}

pub fn judge_files_on(
    backend: &dyn Backend,
    paths: &[PathBuf],
    options: &BlockOptions,
) -> Result<Validation, Error> {
    let progress = Arc::new(Progress::default());
    let inputs = Inputs::open(paths, None, Arc::clone(&progress))?;
    validate_blocks(inputs, backend, options, &progress, None)
}

/// Writes files in this order into a folder of their own.
pub fn written(files: &[impl AsRef<[u8]>]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |(index, bytes): (usize, &_)| {
        let path = folder.path().join(format!("blk{index:05}.dat"));
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let paths = files.iter().enumerate().map(write).collect();
    (folder, paths)
}

/// A chain of blocks, on which another is tried.
pub struct Stage {
    pub trunk: Vec<Block>,
    /// Soft forks that are moved.
    pub activation: Vec<(String, u32)>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With soft forks moved.
    pub fn with(activation: &[(&str, u32)]) -> Self {
        let mut trunk = Vec::new();
        let mut last = Block::genesis();
        for _ in 1..HEIGHT {
            last = last.child();
            trunk.push(last.clone());
        }
        let activation = activation.iter().map(|(name, at)| ((*name).into(), *at)).collect();
        Self { trunk, activation }
    }

    pub fn parent(&self) -> &Block {
        &self.trunk[self.trunk.len() - 1]
    }

    pub fn draft(&self) -> Draft {
        Draft::after(self.parent())
    }

    pub fn options(&self, way: &Way) -> BlockOptions {
        let mut options = options(Some(Network::Regtest), way);
        options.headers.activation_heights.clone_from(&self.activation);
        options
    }

    /// The judgement on the trunk and these blocks, in one file.
    pub fn judge<'b>(&'b self, blocks: impl IntoIterator<Item = &'b Block>) -> Validation {
        let file = block_file(self.trunk.iter().chain(blocks));
        self.judge_in(&[file], &Way::PLAIN)
    }

    /// The judgement on files.
    pub fn judge_in(&self, files: &[impl AsRef<[u8]>], way: &Way) -> Validation {
        let (_folder, paths) = written(files);
        judge_files(&paths, &self.options(way), way)
    }

    /// The same as [`Stage::judge`], after every way of [`Way::EACH`] has led to it. Blocks of a megabyte go one
    /// way alone: what batches and threads do does not depend on their sizes.
    pub fn judge_each_way<'b>(&'b self, blocks: impl IntoIterator<Item = &'b Block>) -> Validation {
        let file = [block_file(self.trunk.iter().chain(blocks))];
        let first = self.judge_in(&file, &Way::PLAIN);
        let ways = if file[0].len() > 200_000 { &[][..] } else { &Way::EACH[1..] };
        for way in ways {
            assert_eq!(summary(&self.judge_in(&file, way)), summary(&first), "{way:?}");
        }
        first
    }

    pub fn accepts(&self, what: &str, block: &Block) {
        let child = block.child();
        let validation = self.judge_each_way([block, &child]);
        assert_eq!(faults(&validation), [], "{what}");
        assert_eq!(tip(&validation), (HEIGHT + 1, child.id()), "{what}");
    }

    /// Gives the evidence.
    pub fn rejects(&self, what: &str, block: &Block, rule: Rule, tx: Option<u32>) -> Violation {
        let child = block.child();
        let validation = self.judge_each_way([block, &child]);
        let mut expected = vec![(rule.id(), Some(HEIGHT), tx)];
        if !rule.is_mutation() {
            expected.push((Rule::BadPrevBlk.id(), Some(HEIGHT + 1), None));
        }
        assert_eq!(faults(&validation), expected, "{what}");
        assert_eq!(tip(&validation), (HEIGHT - 1, self.parent().id()), "{what}");
        let outcome = validation.outcome.expect("an outcome");
        assert_eq!(outcome.blocks.unconnected, u64::from(rule.is_mutation()), "{what}");
        outcome.rejections[0].violation
    }
}
