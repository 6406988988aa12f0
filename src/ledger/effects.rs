//! What the transactions of a block do to the accounts, taken out of its bytes once.
//!
//! Accounts are numbered within the block: whoever keeps something for each of them looks every account up
//! once for the block, not for each transaction.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::signature::SIGNATURE_LEN;
use crate::wire::varint_len;

use super::{Account, Transaction};

/// What a block does to the accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    accounts: Vec<Account>,
    pub(super) reward: Option<Reward>,
    pub(super) payments: Vec<Payment>,
    /// Whether two transactions could be equal, signatures aside.
    may_repeat: bool,
}

/// What the first transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reward {
    pub(super) height: u64,
    /// The account's number in the block.
    pub(super) to: u32,
    pub(super) amount: u64,
    pub(super) extranonce: u64,
}

/// What a transfer or a record does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payment {
    /// The sender's number in the block.
    pub(super) from: u32,
    /// The number of the account that gets `amount`; [`NOBODY`] of a record.
    pub(super) to: u32,
    pub(super) amount: u64,
    pub(super) fee: u64,
    pub(super) nonce: u64,
    /// Where in the block's bytes the rest of the transaction is: memo, or tag and payload, each with its
    /// length, and the signature.
    pub(super) rest: Range<usize>,
}

/// Whom a record pays.
pub(super) const NOBODY: u32 = u32::MAX;

impl Payment {
    /// What leaves the sender's account: at most 2^64 - 1.
    pub(super) const fn spent(&self) -> u64 {
        self.amount.saturating_add(self.fee)
    }
}

impl Effects {
    /// Every account that the transactions name, in the order in which they are first named: that of a reward,
    /// sender and receiver of a transfer, the sender of a record.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// How many transactions there are, if they are a reward and such as pay.
    #[must_use]
    pub const fn transactions(&self) -> usize {
        self.payments.len() + self.reward.is_some() as usize
    }

    /// What the miner gets for all transactions of a block that the state allows.
    pub(super) fn fees(&self) -> u64 {
        self.payments.iter().map(|payment| payment.fee).sum()
    }

    /// The senders' numbers among [`Effects::accounts`], of each transaction behind the reward.
    pub(crate) fn senders(&self) -> impl Iterator<Item = u32> {
        self.payments.iter().map(|payment| payment.from)
    }

    /// Whether two transactions could be equal but for their signatures. They cannot where the nonces of each
    /// sender rise, as they do in nearly all blocks.
    pub(crate) const fn may_repeat(&self) -> bool {
        self.may_repeat
    }
}

/// Collects the effects of transactions, in their order.
#[derive(Debug, Default)]
pub(super) struct Collector {
    effects: Effects,
    numbers: HashTable<u32>,
    /// Salted, so that nobody can prepare accounts that share a bucket.
    hasher: RandomState,
    /// Of each account the least nonce that is above all that it has used.
    next_nonces: Vec<u64>,
}

impl Collector {
    /// For so many transactions.
    pub(super) fn with_capacity(transactions: usize) -> Self {
        let effects = Effects { payments: Vec::with_capacity(transactions), ..Effects::default() };
        Self { effects, ..Self::default() }
    }

    /// Takes the next transaction, whose bytes end at `end` of the block.
    #[inline]
    pub(super) fn add(&mut self, transaction: &Transaction<'_>, end: usize) {
        match *transaction {
            Transaction::Reward { height, to, amount, extranonce } => {
                let to = self.number(&to);
                let is_first = self.effects.transactions() == 0;
                self.effects.may_repeat |= !is_first;
                if is_first {
                    self.effects.reward = Some(Reward { height, to, amount, extranonce });
                }
            }
            Transaction::Transfer { ref from, ref to, amount, fee, nonce, memo, .. } => {
                let (from, to) = (self.number(from), self.number(to));
                let rest = rest(&[memo], end);
                self.pay(Payment { from, to, amount, fee, nonce, rest });
            }
            Transaction::Record { ref from, fee, nonce, tag, payload, .. } => {
                let from = self.number(from);
                let rest = rest(&[tag, payload], end);
                self.pay(Payment { from, to: NOBODY, amount: 0, fee, nonce, rest });
            }
        }
    }

    /// Takes a transaction of a kind that is not known.
    pub(super) fn add_unknown(&mut self) {
        self.effects.may_repeat = true;
    }

    pub(super) fn finish(self) -> Effects {
        self.effects
    }

    fn pay(&mut self, payment: Payment) {
        let next = &mut self.next_nonces[payment.from as usize];
        // Nothing is above the last nonce.
        self.effects.may_repeat |= payment.nonce < *next || payment.nonce == u64::MAX;
        *next = payment.nonce.saturating_add(1);
        self.effects.payments.push(payment);
    }

    /// The number of an account, which gets one if it has none.
    #[inline]
    fn number(&mut self, account: &Account) -> u32 {
        let accounts = &mut self.effects.accounts;
        let hash = |account: &Account| self.hasher.hash_one(account);
        let is_same = |&number: &u32| accounts[number as usize] == *account;
        let rehash = |&number: &u32| hash(&accounts[number as usize]);
        match self.numbers.entry(hash(account), is_same, rehash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let number = u32::try_from(accounts.len()).expect("fewer than 2^32 accounts");
                place.insert(number);
                accounts.push(*account);
                self.next_nonces.push(0);
                number
            }
        }
    }
}

/// Where these fields and a signature are, which end at `end` of the block.
fn rest(fields: &[&[u8]], end: usize) -> Range<usize> {
    let fields = fields.iter().map(|field| varint_len(field.len() as u64) + field.len());
    end - SIGNATURE_LEN - fields.sum::<usize>()..end
}
