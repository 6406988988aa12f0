//! Blocks of a ledger as the chain file holds them: without what follows from the rest.
//!
//! Height, version, parent, Merkle root and bits of a header are not there, nor the nonces of senders:
//! they follow from the blocks before and from the transactions. Accounts are numbered in the order
//! in which the file first names them, those with an allocation first; a reorganisation takes no number back.
//!
//! # Encoding
//!
//! Numbers marked *v* are of varying size (see [`crate::wire`]).
//!
//! | field | bytes |
//! |---|---|
//! | time | v; difference to the parent's, zigzag |
//! | nonce | 4 |
//! | reward | to (account), extranonce v, what it leaves of subsidy and fees v |
//! | transactions | v count, then each |
//!
//! | transaction | fields after the code (1) |
//! |---|---|
//! | 1 transfer without memo | from, to (accounts), amount v, fee v, signature (64) |
//! | 2 record | from (account), fee v, tag (v length, bytes), payload (v length, bytes), signature (64) |
//! | 3 transfer with memo | from, to (accounts), amount v, fee v, memo (v length, bytes), signature (64) |
//!
//! An account is a number v: its own, counted from one; or zero, and then follows the account (33 bytes), which gets
//! the next number.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use crate::primitives::{CompactTarget, Hash256, Header, rfc6962};
use crate::wire::{Fault, Malformed, Reader, put_varint, put_zigzag};

use super::effects::{NOBODY, Payment};
use super::{Account, Block, Effects, Params, RULES_VERSION, SIGNATURE_LEN, Transaction};

const TRANSFER: u8 = 1;
const RECORD: u8 = 2;
const TRANSFER_WITH_MEMO: u8 = 3;

/// The shortest transaction: code, two accounts, two numbers, signature.
const TRANSACTION_LEN_MIN: usize = 1 + 2 + 1 + SIGNATURE_LEN;

/// The numbers of accounts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    accounts: Vec<Account>,
    numbers: HashMap<Account, u32, RandomState>,
}

impl Accounts {
    /// The accounts that the parameters name.
    pub(crate) fn of(params: &Params) -> Self {
        let mut accounts = Self::default();
        for (account, _) in params.allocations() {
            // Each stands there once.
            accounts.add(*account);
        }
        accounts
    }

    /// Gives the next number to an account that has none.
    fn add(&mut self, account: Account) -> u32 {
        let number = u32::try_from(self.accounts.len()).expect("fewer than 2^32 accounts");
        self.numbers.insert(account, number);
        self.accounts.push(account);
        number
    }

    /// The numbers of the accounts that a block names, in the order in which it does. Those that are new get
    /// the next ones.
    fn of_block<'a>(&mut self, accounts: &'a [Account]) -> NumberedAccounts<'a> {
        let known = self.accounts.len();
        let numbers = accounts.iter().map(|account| match self.numbers.get(account) {
            Some(number) => *number,
            None => self.add(*account),
        });
        NumberedAccounts { accounts, numbers: numbers.collect(), known }
    }

    /// Reads an account. One that is new has a number already if the block was read before.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<Account, Malformed> {
        let at = reader.offset();
        let number = reader.varint()?;
        let Some(index) = number.checked_sub(1) else {
            let account = Account::decode(reader)?;
            if !self.numbers.contains_key(&account) {
                self.add(account);
            }
            return Ok(account);
        };
        let account = usize::try_from(index).ok().and_then(|index| self.accounts.get(index));
        account.copied().ok_or(Reader::fault_at(at, Fault::NotAllowed("no account of this number")))
    }
}

/// What a block follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent {
    pub(crate) id: Hash256,
    pub(crate) height: u32,
    pub(crate) time: u32,
    /// The bits that are required of a block after it.
    pub(crate) next_bits: CompactTarget,
}

/// Which nonces are known while a block is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nonces {
    /// Those before the block.
    Before,
    /// Those after the block.
    After,
}

/// Accounts of a block with their numbers in the file.
struct NumberedAccounts<'a> {
    accounts: &'a [Account],
    numbers: Vec<u32>,
    /// How many the file has named so far: those with higher numbers stand in full once.
    known: usize,
}

impl NumberedAccounts<'_> {
    /// Appends the account that has this number in the block.
    #[inline]
    fn put(&mut self, out: &mut Vec<u8>, account: u32) {
        let number = self.numbers[account as usize];
        // New ones are numbered in the order in which they come.
        if number as usize == self.known {
            put_varint(out, 0);
            self.accounts[account as usize].encode(out);
            self.known += 1;
        } else {
            put_varint(out, u64::from(number) + 1);
        }
    }
}

/// Appends the encoding of a sound block of these bytes and effects.
pub(crate) fn encode(
    bytes: &[u8],
    effects: &Effects,
    params: &Params,
    parent_time: u32,
    accounts: &mut Accounts,
    out: &mut Vec<u8>,
) {
    let header = bytes.first_chunk().map(|bytes| Header::from_bytes(*bytes));
    let (Some(header), Some(reward)) = (header, effects.reward) else {
        unreachable!("a sound block has a header, and begins with its reward")
    };
    let ends = effects.payments.last().map(|payment| payment.rest.end);
    debug_assert!(ends.is_none_or(|end| end == bytes.len()), "the effects of another block");
    let mut accounts = accounts.of_block(effects.accounts());
    let step = i64::from(header.time()) - i64::from(parent_time);
    put_zigzag(out, step);
    out.extend_from_slice(&header.nonce().to_le_bytes());
    accounts.put(out, reward.to);
    put_varint(out, reward.extranonce);
    put_varint(out, params.subsidy(reward.height) + effects.fees() - reward.amount);
    put_varint(out, effects.payments.len() as u64);
    for payment in &effects.payments {
        encode_payment(payment, &bytes[payment.rest.clone()], &mut accounts, out);
    }
}

/// Appends a transaction, of which `rest` is what stands in the file as it is.
#[inline]
fn encode_payment(
    payment: &Payment,
    rest: &[u8],
    accounts: &mut NumberedAccounts<'_>,
    out: &mut Vec<u8>,
) {
    let Payment { from, to, amount, fee, .. } = *payment;
    if to == NOBODY {
        out.push(RECORD);
        accounts.put(out, from);
        put_varint(out, fee);
        out.extend_from_slice(rest);
        return;
    }
    // The length of an empty memo is not there.
    let (code, rest) = match rest.split_first() {
        Some((0, signature)) => (TRANSFER, signature),
        _ => (TRANSFER_WITH_MEMO, rest),
    };
    out.push(code);
    accounts.put(out, from);
    accounts.put(out, to);
    put_varint(out, amount);
    put_varint(out, fee);
    out.extend_from_slice(rest);
}

/// Gives back the canonical encoding of a block. `nonce` says what the state holds, before or after
/// the block as `nonces` has it.
///
/// # Errors
/// If the bytes are no such encoding.
pub(crate) fn decode(
    bytes: &[u8],
    params: &Params,
    parent: &Parent,
    accounts: &mut Accounts,
    nonces: Nonces,
    nonce: impl Fn(&Account) -> u64,
) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(bytes);
    let time_at = reader.offset();
    let time = i64::from(parent.time).checked_add(reader.zigzag()?);
    let time = time.and_then(|time| u32::try_from(time).ok());
    let time = time.ok_or(Reader::fault_at(time_at, Fault::NotAllowed("a time out of range")))?;
    let header_nonce = reader.u32()?;
    let to = accounts.read(&mut reader)?;
    let extranonce = reader.varint()?;
    let left_at = reader.offset();
    let left = reader.varint()?;
    let count = reader.count(TRANSACTION_LEN_MIN)?;
    let mut transactions = Vec::with_capacity(count + 1);
    let height = u64::from(parent.height) + 1;
    transactions.push(Transaction::Reward { height, to, amount: 0, extranonce });
    for _ in 0..count {
        transactions.push(decode_transaction(&mut reader, accounts)?);
    }
    reader.finish()?;
    let fees = transactions.iter().try_fold(0u64, |sum, each| sum.checked_add(each.fee()));
    let most = fees.and_then(|fees| params.subsidy(height).checked_add(fees));
    let amount = most.and_then(|most| most.checked_sub(left));
    let too_much = Reader::fault_at(left_at, Fault::NotAllowed("more than subsidy and fees"));
    if let Transaction::Reward { amount: place, .. } = &mut transactions[0] {
        *place = amount.ok_or(too_much)?;
    }
    fill_nonces(&mut transactions, nonces, nonce)
        .ok_or(Reader::fault_at(0, Fault::NotAllowed("more transactions than a sender made")))?;
    Ok(assemble(parent, time, header_nonce, &transactions))
}

fn decode_transaction<'a>(
    reader: &mut Reader<'a>,
    accounts: &mut Accounts,
) -> Result<Transaction<'a>, Malformed> {
    let at = reader.offset();
    let code = reader.u8()?;
    match code {
        TRANSFER | TRANSFER_WITH_MEMO => Ok(Transaction::Transfer {
            from: accounts.read(reader)?,
            to: accounts.read(reader)?,
            amount: reader.varint()?,
            fee: reader.varint()?,
            nonce: 0,
            memo: if code == TRANSFER { &[] } else { reader.prefixed(usize::MAX)? },
            signature: reader.array()?,
        }),
        RECORD => Ok(Transaction::Record {
            from: accounts.read(reader)?,
            fee: reader.varint()?,
            nonce: 0,
            tag: reader.prefixed(usize::MAX)?,
            payload: reader.prefixed(usize::MAX)?,
            signature: reader.array()?,
        }),
        _ => Err(Reader::fault_at(at, Fault::Unknown)),
    }
}

/// Gives every transaction the nonce that the state before or after the block leaves for it. `None` if
/// a sender has made fewer transactions than are there.
fn fill_nonces(
    transactions: &mut [Transaction<'_>],
    nonces: Nonces,
    nonce: impl Fn(&Account) -> u64,
) -> Option<()> {
    let mut next: HashMap<Account, u64, RandomState> = HashMap::default();
    if nonces == Nonces::After {
        for sender in transactions.iter().filter_map(Transaction::sender) {
            let place = next.entry(*sender).or_insert_with(|| nonce(sender));
            *place = place.checked_sub(1)?;
        }
    }
    for transaction in transactions {
        if let Transaction::Transfer { from, nonce: place, .. }
        | Transaction::Record { from, nonce: place, .. } = transaction
        {
            let next = next.entry(*from).or_insert_with(|| nonce(from));
            *place = *next;
            *next = next.checked_add(1)?;
        }
    }
    Some(())
}

fn assemble(parent: &Parent, time: u32, nonce: u32, transactions: &[Transaction<'_>]) -> Vec<u8> {
    let mut leaf = Vec::new();
    let hashes: Vec<_> = transactions
        .iter()
        .map(|transaction| {
            leaf.clear();
            transaction.encode(&mut leaf);
            rfc6962::leaf_hash(&leaf)
        })
        .collect();
    let root = rfc6962::root(&hashes);
    let header = Header::from_fields(RULES_VERSION, parent.id, root, time, parent.next_bits, nonce);
    let mut block = Vec::new();
    Block::encode(&header, transactions, &mut block);
    block
}
