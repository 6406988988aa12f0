//! Blocks of Bitcoin as bytes, parsed without copying.
//!
//! What is a block and what is not follows Bitcoin Core to the byte (`UnserializeTransaction`,
//! `ReadCompactSize`): an encoding that Core throws away is malformed here, one that it reads is read
//! here, whatever the rules then say of it.
//!
//! | field | bytes |
//! |---|---|
//! | header | 80 |
//! | transactions | compact size, then each |
//!
//! | field of a transaction | bytes |
//! |---|---|
//! | version | 4 |
//! | marker and flag | 2, `00 01`; only with witnesses (BIP144) |
//! | inputs | compact size, then for each: transaction id (32), output (4), script (prefixed), sequence (4) |
//! | outputs | compact size, then for each: value (8), script (prefixed) |
//! | witnesses | only with the flag; for each input: compact size, then items (prefixed) |
//! | lock time | 4 |

use std::slice::from_ref;

use crate::primitives::{Hash256, Header, sha256d};
use crate::wire::{Fault, Malformed, MalformedBlock, Reader};

/// The shortest transaction: version, no inputs, no outputs, lock time. Room is made for no more of
/// them than the bytes can hold.
const TRANSACTION_LEN_MIN: usize = 4 + 1 + 1 + 4;

/// The flag of BIP144.
const WITNESS_FLAG: u8 = 1;

/// A block that borrows from the bytes it was parsed from.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// The header, where it lies.
    pub header: &'a Header,
    transactions: Transactions<'a>,
    len: usize,
}

/// The transactions of a block. Most of the first hundred thousand blocks have one, which needs no list.
#[derive(Clone, Debug)]
enum Transactions<'a> {
    One(Transaction<'a>),
    Many(Vec<Transaction<'a>>),
}

/// A transaction that borrows from the bytes of its block.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    bytes: &'a [u8],
    /// Offsets of the counts of inputs and outputs, and of the end of the outputs.
    inputs_at: u32,
    outputs_at: u32,
    witnesses_at: u32,
    /// Whether it is a coinbase.
    is_coinbase: bool,
    /// The first bytes of what the id is the digest of, behind the version, if there are eight: kept because
    /// transactions are told apart when their bytes are no longer at hand.
    opening: u64,
}

/// An input.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The id of the transaction that is spent, and the number of its output.
    pub prevout: &'a [u8; 36],
    /// The script that unlocks it; of a coinbase, free bytes.
    pub script: &'a [u8],
    /// The sequence number.
    pub sequence: u32,
}

/// An output.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// The amount in satoshi, as it stands there.
    pub value: i64,
    /// The script that locks it.
    pub script: &'a [u8],
}

impl<'a> Block<'a> {
    /// Parses a block that fills `bytes`.
    ///
    /// # Errors
    /// The first byte that is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MalformedBlock> {
        let mut reader = Reader::new(bytes);
        let header = bytemuck::from_bytes(reader.take(Header::LEN)?);
        let mut transactions = Transactions::Many(Vec::new());
        read_transactions(&mut reader, |count, transaction| match &mut transactions {
            Transactions::Many(list) if count > 1 => {
                if list.is_empty() {
                    list.reserve_exact(count.min(bytes.len() / TRANSACTION_LEN_MIN));
                }
                list.push(transaction);
            }
            only => *only = Transactions::One(transaction),
        })?;
        reader.finish()?;
        Ok(Self { header, transactions, len: bytes.len() })
    }

    /// The length of the block that `bytes` begin with, whatever follows it.
    ///
    /// # Errors
    /// The first byte that is wrong; [`Fault::Truncated`] if the block goes on behind the bytes.
    pub fn encoded_len_of(bytes: &[u8]) -> Result<usize, MalformedBlock> {
        BlockEnd::default().find(bytes)
    }

    /// How many transactions a block says that it has, but no more than its bytes can hold; none if it does
    /// not say so.
    #[must_use]
    pub fn claimed_count(bytes: &[u8]) -> usize {
        let Some(body) = bytes.get(Header::LEN..) else { return 0 };
        Reader::new(body).compact_size().unwrap_or(0).min(body.len() / TRANSACTION_LEN_MIN)
    }

    /// The transactions.
    #[must_use]
    pub fn transactions(&self) -> &[Transaction<'a>] {
        match &self.transactions {
            Transactions::One(transaction) => from_ref(transaction),
            Transactions::Many(list) => list,
        }
    }

    /// The length with witnesses.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.len
    }

    /// The length without witnesses.
    #[must_use]
    pub fn stripped_len(&self) -> usize {
        let saved = |each: &Transaction<'_>| each.encoded_len() - each.stripped_len();
        self.len - self.transactions().iter().map(saved).sum::<usize>()
    }
}

/// Where a block ends, for those who have only a part of it at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockEnd {
    /// The bytes that are parsed: header, count and whole transactions.
    parsed: usize,
    /// The number of transactions, and of those that are parsed.
    transactions: Option<(usize, usize)>,
}

impl BlockEnd {
    /// The length of the block that `bytes` begin with, whatever follows it. With more bytes of the same
    /// block it goes on where it came to before.
    ///
    /// # Errors
    /// As [`Block::encoded_len_of`].
    pub fn find(&mut self, bytes: &[u8]) -> Result<usize, MalformedBlock> {
        let mut reader = Reader::new(bytes);
        reader.take(self.parsed)?;
        let (count, first) = match self.transactions {
            Some(known) => known,
            None => {
                reader.take(Header::LEN)?;
                (reader.compact_size()?, 0)
            }
        };
        for index in first..count {
            (self.parsed, self.transactions) = (reader.offset(), Some((count, index)));
            read_transaction(&mut reader, index)?;
        }
        Ok(reader.offset())
    }
}

/// Reads the transactions of a block and gives each to `take`, with how many there are.
fn read_transactions<'a>(
    reader: &mut Reader<'a>,
    mut take: impl FnMut(usize, Transaction<'a>),
) -> Result<(), MalformedBlock> {
    let count = reader.compact_size()?;
    for index in 0..count {
        take(count, read_transaction(reader, index)?);
    }
    Ok(())
}

#[inline(always)]
fn read_transaction<'a>(
    reader: &mut Reader<'a>,
    index: usize,
) -> Result<Transaction<'a>, MalformedBlock> {
    let transaction = u32::try_from(index).ok();
    Transaction::read(reader).map_err(|malformed| MalformedBlock { transaction, malformed })
}

impl<'a> Transaction<'a> {
    /// Parses a transaction that fills `bytes`.
    ///
    /// # Errors
    /// The first byte that is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let transaction = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(transaction)
    }

    /// Reads a transaction.  (Bitcoin Core: `UnserializeTransaction`.)
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let all = reader.clone();
        let start = reader.offset();
        reader.take(4)?;
        let mut inputs_at = reader.offset();
        let mut inputs = reader.compact_size()?;
        let mut flags = 0;
        let flags_at = reader.offset();
        if inputs == 0 {
            // The marker, or a transaction without inputs: then this is the count of its outputs,
            // and Core reads no further number.
            flags = reader.u8()?;
            if flags != 0 {
                inputs_at = reader.offset();
                inputs = reader.compact_size()?;
            }
        }
        let mut is_coinbase = false;
        for _ in 0..inputs {
            let prevout = reader.take(36)?;
            is_coinbase = inputs == 1 && is_null(prevout);
            skip_prefixed(reader)?;
            reader.take(4)?;
        }
        let mut outputs_at = reader.offset();
        if flags == 0 && inputs == 0 {
            outputs_at = flags_at;
        } else {
            for _ in 0..reader.compact_size()? {
                reader.take(8)?;
                skip_prefixed(reader)?;
            }
        }
        let witnesses_at = reader.offset();
        if flags & WITNESS_FLAG != 0 {
            let mut has_witness = false;
            for _ in 0..inputs {
                let items = reader.compact_size()?;
                has_witness |= items > 0;
                for _ in 0..items {
                    skip_prefixed(reader)?;
                }
            }
            if !has_witness {
                let fault = Fault::NotAllowed("a witness record without a witness");
                return Err(Reader::fault_at(witnesses_at, fault));
            }
        }
        if flags & !WITNESS_FLAG != 0 {
            return Err(Reader::fault_at(flags_at, Fault::Unknown));
        }
        reader.take(4)?;
        let bytes = all.clone().take(reader.offset() - start)?;
        let offset = |at: usize| {
            // No block that is read has 2^32 bytes.
            u32::try_from(at - start).map_err(|_| Reader::fault_at(start, Fault::TooLarge))
        };
        let (inputs_at, witnesses_at) = (offset(inputs_at)?, offset(witnesses_at)?);
        let opening = bytes[inputs_at as usize..witnesses_at as usize].first_chunk();
        Ok(Self {
            bytes,
            inputs_at,
            outputs_at: offset(outputs_at)?,
            witnesses_at,
            is_coinbase,
            opening: opening.map_or(0, |bytes| u64::from_le_bytes(*bytes)),
        })
    }

    /// Whether another one has the same id: that is so where all but the witnesses are equal.
    #[must_use]
    pub fn has_id_of(&self, other: &Self) -> bool {
        self.opening == other.opening && self.stripped() == other.stripped()
    }

    /// All bytes, those of witnesses included.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes without marker, flag and witnesses, in three parts: what the transaction id is the
    /// digest of.
    #[must_use]
    pub fn stripped(&self) -> [&'a [u8]; 3] {
        let (inputs_at, witnesses_at) = (self.inputs_at as usize, self.witnesses_at as usize);
        let lock_time_at = self.bytes.len() - 4;
        [&self.bytes[..4], &self.bytes[inputs_at..witnesses_at], &self.bytes[lock_time_at..]]
    }

    /// Whether it comes with marker and flag, which is with witnesses.
    #[must_use]
    pub const fn has_witness(&self) -> bool {
        self.witnesses_at as usize != self.bytes.len() - 4
    }

    /// The length with witnesses.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The length without witnesses.
    #[must_use]
    pub const fn stripped_len(&self) -> usize {
        4 + (self.witnesses_at - self.inputs_at) as usize + 4
    }

    /// The transaction id, computed here.
    #[must_use]
    pub fn id(&self) -> Hash256 {
        if self.has_witness() { sha256d(&self.stripped().concat()) } else { sha256d(self.bytes) }
    }

    /// The lock time.
    #[must_use]
    pub fn lock_time(&self) -> u32 {
        let last = self.bytes.last_chunk().expect("a transaction ends with its lock time");
        u32::from_le_bytes(*last)
    }

    /// The inputs.
    #[inline(always)]
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Input<'a>> + use<'a> {
        let mut reader = self.reader(self.inputs_at);
        let count = reader.compact_size().expect(PARSED);
        (0..count).map(move |_| Input {
            prevout: reader.take(36).ok().and_then(<[u8]>::first_chunk).expect(PARSED),
            script: prefixed(&mut reader),
            sequence: reader.u32().expect(PARSED),
        })
    }

    /// The outputs.
    #[inline(always)]
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Output<'a>> + use<'a> {
        let mut reader = self.reader(self.outputs_at);
        let count = reader.compact_size().expect(PARSED);
        (0..count).map(move |_| Output {
            value: i64::from_le_bytes(reader.array().expect(PARSED)),
            script: prefixed(&mut reader),
        })
    }

    /// The items of the first input's witness.
    pub fn first_witness(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let mut reader = self.reader(self.witnesses_at);
        let count = if self.has_witness() { reader.compact_size().expect(PARSED) } else { 0 };
        (0..count).map(move |_| prefixed(&mut reader))
    }

    /// Gives `take` the items of each input's witness; nothing at all if it comes without witnesses.
    pub fn each_witness(&self, mut take: impl FnMut(&[&'a [u8]])) {
        if !self.has_witness() {
            return;
        }
        let mut reader = self.reader(self.witnesses_at);
        let mut witness = Vec::new();
        for _ in 0..self.inputs().len() {
            let items = reader.compact_size().expect(PARSED);
            witness.clear();
            witness.extend((0..items).map(|_| prefixed(&mut reader)));
            take(&witness);
        }
    }

    /// Whether it is a coinbase: one input that spends nothing.  (Bitcoin Core: `IsCoinBase`.)
    #[must_use]
    pub const fn is_coinbase(&self) -> bool {
        self.is_coinbase
    }

    fn reader(&self, at: u32) -> Reader<'a> {
        Reader::new(&self.bytes[at as usize..])
    }
}

impl Input<'_> {
    /// Whether it spends nothing.  (Bitcoin Core: `COutPoint::IsNull`.)
    #[must_use]
    pub fn is_null(&self) -> bool {
        is_null(self.prevout)
    }
}

fn is_null(prevout: &[u8]) -> bool {
    prevout[..32] == [0; 32] && prevout[32..] == [0xff; 4]
}

/// What was parsed once parses again.
const PARSED: &str = "it was parsed before";

#[inline(always)]
fn skip_prefixed(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let len = reader.compact_size()?;
    reader.take(len).map(drop)
}

#[inline(always)]
fn prefixed<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    let len = reader.compact_size().expect(PARSED);
    reader.take(len).expect(PARSED)
}
