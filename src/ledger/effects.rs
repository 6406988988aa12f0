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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Block;
    use crate::primitives::Header;

    fn account(number: u8) -> Account {
        Account::from_key([number; 32])
    }

    fn reward(to: u8) -> Transaction<'static> {
        Transaction::Reward { height: 7, to: account(to), amount: 50, extranonce: 9 }
    }

    fn transfer(from: u8, to: u8, nonce: u64, memo: &'static [u8]) -> Transaction<'static> {
        let (from, to) = (account(from), account(to));
        let signature = [0xee; SIGNATURE_LEN];
        Transaction::Transfer { from, to, amount: 5, fee: 2, nonce, memo, signature }
    }

    fn record(from: u8, nonce: u64, payload: &'static [u8]) -> Transaction<'static> {
        let (from, signature) = (account(from), [0xdd; SIGNATURE_LEN]);
        Transaction::Record { from, fee: 3, nonce, tag: b"tag", payload, signature }
    }

    fn block(transactions: &[Transaction<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Block::encode(&Header::from_bytes([7; Header::LEN]), transactions, &mut bytes);
        bytes
    }

    fn effects(transactions: &[Transaction<'_>]) -> Effects {
        Block::decode(&block(transactions)).expect("an encoding").into_effects()
    }

    #[test]
    fn accounts_are_numbered_as_they_come() {
        let payload = &[1; 200];
        let transactions =
            [reward(4), transfer(9, 2, 0, b""), record(2, 7, payload), transfer(2, 2, 8, b"memo")];
        let bytes = block(&transactions);
        let effects = Block::decode(&bytes).expect("an encoding").into_effects();
        assert_eq!(effects.accounts(), [4, 9, 2].map(account));
        assert_eq!(effects.transactions(), 4);
        assert_eq!(effects.fees(), 7);
        assert_eq!(effects.senders().collect::<Vec<_>>(), [1, 2, 2]);
        assert_eq!(effects.reward, Some(Reward { height: 7, to: 0, amount: 50, extranonce: 9 }));
        let paid = |payment: &Payment| {
            let Payment { from, to, amount, fee, nonce, .. } = *payment;
            (from, to, amount, fee, nonce)
        };
        let all: Vec<_> = effects.payments.iter().map(paid).collect();
        assert_eq!(all, [(1, 2, 5, 2, 0), (2, NOBODY, 0, 3, 7), (2, 2, 5, 2, 8)]);
        let rest = |number: usize| bytes[effects.payments[number].rest.clone()].to_vec();
        assert_eq!(rest(0), [&[0][..], &[0xee; 64]].concat());
        assert_eq!(rest(1), [&b"\x03tag"[..], &[200, 1], payload, &[0xdd; 64]].concat());
        assert_eq!(rest(2), [b"\x04memo", &[0xee; 64][..]].concat());
    }

    #[test]
    fn a_repetition_is_never_ruled_out_where_there_is_one() {
        let rising =
            [reward(1), transfer(2, 3, 5, b""), transfer(3, 2, 5, b""), transfer(2, 3, 9, b"")];
        assert!(!effects(&rising).may_repeat());
        assert!(!effects(&rising[1..]).may_repeat(), "without a reward");
        let with = |more: Transaction<'static>| effects(&[&rising[..], &[more]].concat());
        assert!(!with(record(3, 6, b"")).may_repeat());
        // Equal to the one before it, or to one further away; or nothing of the kind.
        for more in [rising[3], rising[1], record(3, 5, b""), record(2, 0, b""), reward(1)] {
            assert!(with(more).may_repeat(), "{more:?}");
        }
        // Nothing is above the last nonce.
        let last = transfer(4, 1, u64::MAX, b"");
        assert!(effects(&[reward(1), last, last]).may_repeat());
        // What cannot be read may be the same.
        let mut bytes = block(&rising);
        let at = Header::LEN + 2;
        assert_eq!(bytes[at..at + 2], [0, 1], "kind and version of the reward");
        bytes[at + 1] = 2;
        assert!(Block::decode(&bytes).expect("leaves").effects().may_repeat());
    }
}
