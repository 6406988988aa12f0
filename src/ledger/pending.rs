//! Pending transactions: the file in which they wait for a miner.
//!
//! # Format
//!
//! JSON lines: UTF-8, one object a line, each line ended by a line feed. A line has at most
//! [`LINE_LEN_MAX`] bytes, its end included, and a file at most [`FILE_LEN_MAX`].
//!
//! | key | value |
//! |---|---|
//! | `chain_id` | the ledger, as it is printed |
//! | `id` | the transaction id, as it is printed |
//! | `kind` | `transfer` or `record` |
//! | `from` | the sender |
//! | `to` | the recipient; of a transfer alone |
//! | `amount` | a decimal string; of a transfer alone |
//! | `fee` | a decimal string |
//! | `nonce` | a number |
//! | `raw` | the canonical encoding with signature, in hex |
//!
//! `raw` is what counts. The other keys are for people, so that they can see what they hand on; each
//! must be there and say what `raw` says, and there are no others. `chain_id` is not in `raw`, but the
//! signature covers it.
//!
//! A line that is not so is an error, and so is a signature that breaks rule E1 (see
//! [`crate::signature`]). Whether a block could take the transaction is not judged here: that depends
//! on the chain.
//!
//! # Writing
//!
//! The file only grows, by one write for each line. Whoever appends holds the exclusive lock of the
//! file from before reading which nonces are taken until the line is on the disk, so that two senders
//! never take the same one; whoever reads holds the shared lock. A last line without its end is what a
//! crash left of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Place};
use crate::new_file::sync_folder_of;
use crate::primitives::Hash256;
use crate::signature::{self, InvalidSignature, Item, verify_batch};

use super::{Account, MEMO_LEN_MAX, PAYLOAD_LEN_MAX, SIGNATURE_LEN, TAG_LEN_MAX, Transaction};

/// The longest line.
pub const LINE_LEN_MAX: usize = 16 << 10;

/// The longest file: some 300,000 transfers.
pub const FILE_LEN_MAX: u64 = 256 << 20;

/// The longest transaction that the rules allow, in hex, and a kilobyte for everything else.
const _: () = {
    let variable = if MEMO_LEN_MAX > TAG_LEN_MAX + PAYLOAD_LEN_MAX {
        MEMO_LEN_MAX
    } else {
        TAG_LEN_MAX + PAYLOAD_LEN_MAX
    };
    let encoded = variable + 2 * Account::LEN + SIGNATURE_LEN + 64;
    assert!(2 * encoded + 1024 <= LINE_LEN_MAX);
};

/// Signatures checked together: enough to share work, and a few megabytes.
const BATCH: usize = 4096;

/// A transfer or a record with a good signature for some chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    id: Hash256,
    encoding: Vec<u8>,
}

/// Why a transaction cannot wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPending {
    /// Miners write rewards themselves.
    #[error("a reward never waits")]
    Reward,
    /// The signature is not the sender's, for this chain.
    #[error("bad-tx-signature: {0}")]
    Signature(#[from] InvalidSignature),
}

impl Pending {
    /// Takes a transaction for the chain `chain_id`.
    ///
    /// # Errors
    /// If it is a reward, or its signature breaks rule E1.
    pub fn new(transaction: &Transaction<'_>, chain_id: &Hash256) -> Result<Self, NotPending> {
        let claim = Claim::new(transaction, chain_id)?;
        let Item { key, message, signature } = claim.item();
        signature::verify(key, message, signature)?;
        Ok(claim.pending)
    }

    /// The transaction id.
    #[must_use]
    pub const fn id(&self) -> &Hash256 {
        &self.id
    }

    /// The canonical encoding with signature.
    #[must_use]
    pub fn encoding(&self) -> &[u8] {
        &self.encoding
    }

    /// The transaction; never a reward.
    #[must_use]
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction::decode(&self.encoding).expect("it was encoded from a transaction")
    }
}

/// A transaction whose signature was not judged yet.
struct Claim {
    pending: Pending,
    sender: Account,
    message: Vec<u8>,
    signature: [u8; SIGNATURE_LEN],
}

impl Claim {
    fn new(transaction: &Transaction<'_>, chain_id: &Hash256) -> Result<Self, NotPending> {
        let (Some(sender), Some(signature)) = (transaction.sender(), transaction.signature())
        else {
            return Err(NotPending::Reward);
        };
        let (mut message, mut encoding) = (Vec::new(), Vec::new());
        transaction.encode_signed_bytes(chain_id, &mut message);
        transaction.encode(&mut encoding);
        let pending = Pending { id: transaction.id(chain_id), encoding };
        Ok(Self { pending, sender: *sender, message, signature: *signature })
    }

    fn item(&self) -> Item<'_> {
        Item { key: self.sender.key(), message: &self.message, signature: &self.signature }
    }
}

/// A line, its keys in the order in which they are written.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    chain_id: String,
    id: String,
    kind: String,
    from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    fee: String,
    nonce: u64,
    raw: String,
}

impl Line {
    fn of(pending: &Pending, chain_id: &Hash256) -> Self {
        let transaction = pending.transaction();
        let (kind, to, amount) = match &transaction {
            Transaction::Transfer { to, amount, .. } => {
                ("transfer", Some(to.to_string()), Some(amount.to_string()))
            }
            Transaction::Record { .. } => ("record", None, None),
            Transaction::Reward { .. } => unreachable!("a reward never waits"),
        };
        Self {
            chain_id: chain_id.to_string(),
            id: pending.id.to_string(),
            kind: kind.into(),
            from: transaction.sender().expect("no reward").to_string(),
            to,
            amount,
            fee: transaction.fee().to_string(),
            nonce: transaction.nonce().expect("no reward"),
            raw: hex::encode(&pending.encoding),
        }
    }

    /// The first key that says something else than it should.
    fn differs_from(&self, right: &Self) -> Option<&'static str> {
        [
            ("id", self.id == right.id),
            ("kind", self.kind == right.kind),
            ("from", self.from == right.from),
            ("to", self.to == right.to),
            ("amount", self.amount == right.amount),
            ("fee", self.fee == right.fee),
            ("nonce", self.nonce == right.nonce),
        ]
        .into_iter()
        .find_map(|(key, is_right)| (!is_right).then_some(key))
    }
}

/// Reads the transactions that wait in a file for the chain `chain_id`, in their order.
///
/// # Errors
/// If the file cannot be read, or a line is none: the error names file, line and offset. If a line is
/// for another chain, that is [`Error::Usage`].
pub fn read(path: &Path, chain_id: &Hash256) -> Result<Vec<Pending>, Error> {
    let unreadable = unreadable(path, 0);
    check_kind(path)?;
    let file = File::open(path).map_err(&unreadable)?;
    file.lock_shared().map_err(&unreadable)?;
    read_lines(&file, path, chain_id)
}

/// A file that is being appended to. Nobody else reads or appends until it is dropped.
#[derive(Debug)]
pub struct Queue {
    path: PathBuf,
    file: File,
    chain_id: Hash256,
    waiting: Vec<Pending>,
}

impl Queue {
    /// Opens or begins a file, waits for its lock, and reads what waits in it.
    ///
    /// # Errors
    /// As for [`read`], and [`Error::Unwritable`].
    pub fn open(path: &Path, chain_id: &Hash256) -> Result<Self, Error> {
        check_kind(path)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(unwritable(path))?;
        file.lock().map_err(unwritable(path))?;
        let waiting = read_lines(&file, path, chain_id)?;
        Ok(Self { path: path.into(), file, chain_id: *chain_id, waiting })
    }

    /// What waits, in the order of the file.
    #[must_use]
    pub fn waiting(&self) -> &[Pending] {
        &self.waiting
    }

    /// Appends a transaction, and returns when it is on the disk. If it cannot be written whole, the
    /// file stays as it was.
    ///
    /// # Errors
    /// [`Error::Unwritable`].
    pub fn append(&mut self, pending: Pending) -> Result<(), Error> {
        let line = serde_json::to_string(&Line::of(&pending, &self.chain_id));
        line.map_err(io::Error::other)
            .and_then(|line| self.append_line(&(line + "\n")))
            .map_err(unwritable(&self.path))?;
        self.waiting.push(pending);
        Ok(())
    }

    fn append_line(&mut self, line: &str) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        if len + line.len() as u64 > FILE_LEN_MAX {
            return Err(io::Error::other("there is no room: it would be longer than is ever read"));
        }
        let written = match self.file.write(line.as_bytes()) {
            Ok(written) if written == line.len() => self.file.sync_all(),
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            // Should this fail too, the next reader finds the torn line and says so.
            let _ = self.file.set_len(len).and_then(|()| self.file.sync_all());
            return Err(error);
        }
        if len == 0 {
            sync_folder_of(&self.path);
        }
        Ok(())
    }
}

/// That it is a regular file, or nothing yet: a pipe would keep its reader waiting for ever.
fn check_kind(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(unreadable(path, 0)(io::Error::other("pending transactions are kept in a file")))
        }
        Ok(metadata) if metadata.len() > FILE_LEN_MAX => {
            let why = format!("longer than {FILE_LEN_MAX} bytes, and so no pending transactions");
            Err(Error::NotRecognised { place: place(path, FILE_LEN_MAX), why })
        }
        _ => Ok(()),
    }
}

fn read_lines(file: &File, path: &Path, chain_id: &Hash256) -> Result<Vec<Pending>, Error> {
    let mut reader = BufReader::new(file);
    let mut waiting = Vec::new();
    let mut batch = Batch::default();
    let mut line = Vec::new();
    let mut offset = 0;
    for number in 1.. {
        line.clear();
        let mut limited = (&mut reader).take(LINE_LEN_MAX as u64);
        let len = limited.read_until(b'\n', &mut line).map_err(unreadable(path, offset))?;
        if len == 0 {
            break;
        }
        let at = LineAt { path, number, offset };
        batch.push(at, claim(&line, chain_id, at)?);
        offset += len as u64;
        if batch.claims.len() == BATCH {
            batch.judge(&mut waiting)?;
        }
    }
    batch.judge(&mut waiting)?;
    Ok(waiting)
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct LineAt<'p> {
    path: &'p Path,
    number: u64,
    offset: u64,
}

impl LineAt<'_> {
    fn error(self, why: impl std::fmt::Display) -> Error {
        let why = format!("line {}: {why}", self.number);
        Error::NotRecognised { place: place(self.path, self.offset), why }
    }
}

/// Lines whose signatures are judged together.
#[derive(Default)]
struct Batch<'p> {
    lines: Vec<LineAt<'p>>,
    claims: Vec<Claim>,
}

impl<'p> Batch<'p> {
    fn push(&mut self, at: LineAt<'p>, claim: Claim) {
        self.lines.push(at);
        self.claims.push(claim);
    }

    /// Judges all signatures, and moves the transactions to `waiting`.
    fn judge(&mut self, waiting: &mut Vec<Pending>) -> Result<(), Error> {
        let items: Vec<_> = self.claims.iter().map(Claim::item).collect();
        verify_batch(&items)
            .map_err(|bad| self.lines[bad.index].error(NotPending::Signature(bad.fault)))?;
        self.lines.clear();
        waiting.extend(self.claims.drain(..).map(|claim| claim.pending));
        Ok(())
    }
}

/// Reads one line, but for its signature.
fn claim(line: &[u8], chain_id: &Hash256, at: LineAt<'_>) -> Result<Claim, Error> {
    let Some((b'\n', text)) = line.split_last() else {
        return Err(if line.len() < LINE_LEN_MAX {
            at.error("it has no end, so it was cut off while it was written; remove it")
        } else {
            at.error(format_args!("longer than {LINE_LEN_MAX} bytes"))
        });
    };
    let found: Line = serde_json::from_slice(text).map_err(|error| {
        // Every line is the first to the parser; and its keys may hold anything, but not for terminals.
        let text = error.to_string().replace(char::is_control, "?");
        let what = text.split(" at line ").next().unwrap_or(&text);
        at.error(format_args!("no pending transaction: {what}"))
    })?;
    if found.chain_id != chain_id.to_string() {
        let message = format!(
            "{}, line {}: it is for the chain {:?}, and this is {chain_id}; each ledger has a pending \
             file of its own",
            at.path.display(),
            at.number,
            found.chain_id
        );
        return Err(Error::Usage { message, place: Some(place(at.path, at.offset)) });
    }
    let encoding = hex::decode(&found.raw)
        .map_err(|error| at.error(format_args!("\"raw\" is no hex: {error}")))?;
    let transaction = Transaction::decode(&encoding)
        .map_err(|error| at.error(format_args!("\"raw\" is no transaction: {error}")))?;
    let claim = Claim::new(&transaction, chain_id).map_err(|error| at.error(error))?;
    match found.differs_from(&Line::of(&claim.pending, chain_id)) {
        None => Ok(claim),
        Some(key) => Err(at.error(format_args!("\"{key}\" is not what \"raw\" says"))),
    }
}

fn place(path: &Path, offset: u64) -> Place {
    Place { path: path.into(), offset }
}

fn unreadable(path: &Path, offset: u64) -> impl Fn(io::Error) -> Error {
    move |source| Error::Unreadable { place: place(path, offset), source }
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Unwritable { path: path.into(), source }
}
