//! Which pending transactions the next block takes, and in which order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::ledger::{Account, AccountState, BodyRules, Params, State, Transaction};
use crate::primitives::Header;
use crate::verdict::Violation;
use crate::wire::varint_len;

/// Bytes that are kept free for the reward's extranonce: enough for 2^35 of them, with 2^32 nonces each.
const EXTRANONCE_LEN: usize = 5;

/// What a block will hold besides its reward.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Indices of the candidates that are taken, in the order of the block.
    pub taken: Vec<usize>,
    /// Their fees.
    pub fees: u64,
    /// Indices of the others, each with the rule that it would break behind those that are taken.
    pub left_out: Vec<(usize, Violation)>,
}

impl Template {
    /// Fills the block at `height` from `candidates`: transactions with good signatures, whose encodings
    /// have these lengths.
    ///
    /// The best fee for its bytes comes first, as far as the state allows: a sender's transactions in the
    /// order of their nonces, and one that needs coins from another after that. Of equal ones the
    /// first candidate wins.
    #[must_use]
    pub fn fill(
        params: &Params,
        state: &State,
        height: u32,
        candidates: &[(Transaction<'_>, usize)],
    ) -> Self {
        let mut filling = Filling::new(params, state, height, candidates);
        while let Some(next) = filling.ready.pop_first() {
            filling.try_take(next);
        }
        filling.finish()
    }
}

/// A candidate whose nonce is its sender's next. The first in order is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ready {
    /// Fee for 2^32 bytes.
    value: Reverse<u128>,
    index: usize,
}

struct Filling<'a> {
    params: &'a Params,
    height: u64,
    candidates: &'a [(Transaction<'a>, usize)],
    state: &'a State,
    /// Accounts that the block has touched so far.
    touched: HashMap<Account, AccountState>,
    /// Each sender's candidates, last nonce first.
    waiting: HashMap<Account, Vec<usize>>,
    ready: BTreeSet<Ready>,
    /// Candidates whose senders lack coins, by sender; those that need least come first.
    poor: HashMap<Account, BTreeSet<(u64, usize)>>,
    /// The bytes of what is taken, lengths included.
    taken_len: usize,
    template: Template,
}

impl<'a> Filling<'a> {
    fn new(
        params: &'a Params,
        state: &'a State,
        height: u32,
        candidates: &'a [(Transaction<'a>, usize)],
    ) -> Self {
        let mut filling = Self {
            params,
            height: height.into(),
            candidates,
            state,
            touched: HashMap::new(),
            waiting: HashMap::new(),
            ready: BTreeSet::new(),
            poor: HashMap::new(),
            taken_len: 0,
            template: Template::default(),
        };
        for (index, (transaction, _)) in candidates.iter().enumerate() {
            if let (Ok(()), Some(sender)) =
                (BodyRules::check_transaction(0, transaction), transaction.sender())
            {
                filling.waiting.entry(*sender).or_default().push(index);
            }
        }
        let senders: Vec<_> = filling.waiting.keys().copied().collect();
        for sender in senders {
            if let Some(waiting) = filling.waiting.get_mut(&sender) {
                waiting.sort_by_key(|&index| Reverse(candidates[index].0.nonce()));
            }
            filling.next_of(&sender);
        }
        filling
    }

    fn account(&self, account: &Account) -> AccountState {
        self.touched.get(account).copied().unwrap_or_else(|| self.state.account(account))
    }

    /// Makes the candidates of a sender ready that have its next nonce.
    fn next_of(&mut self, sender: &Account) {
        let required = self.account(sender).nonce;
        let Some(waiting) = self.waiting.get_mut(sender) else { return };
        while let Some(index) = waiting.pop_if(|&mut index| {
            // Behind a gap they wait on; below are those that come too late.
            self.candidates[index].0.nonce() <= Some(required)
        }) {
            if self.candidates[index].0.nonce() == Some(required) {
                self.ready.insert(ready(self.candidates, index));
            }
        }
    }

    fn try_take(&mut self, Ready { index, .. }: Ready) {
        let (transaction, len) = &self.candidates[index];
        let Some((sender, nonce)) = transaction.sender().zip(transaction.nonce()) else { return };
        let AccountState { balance, nonce: required } = self.account(sender);
        if nonce != required {
            // Another one of the same nonce was better.
            return;
        }
        let spent = transaction.spent();
        if spent > balance {
            self.poor.entry(*sender).or_default().insert((spent, index));
            return;
        }
        if self.block_len_with(index) > self.params.block_bytes_max() {
            return;
        }
        self.taken_len += varint_len(*len as u64) + len;
        self.template.taken.push(index);
        self.template.fees += transaction.fee();
        let paid = AccountState { balance: balance - spent, nonce: required + 1 };
        self.touched.insert(*sender, paid);
        // Those of the same nonce have lost their chance.
        self.poor.remove(sender);
        if let Transaction::Transfer { to, amount, .. } = transaction {
            let mut credited = self.account(to);
            credited.balance += amount;
            self.touched.insert(*to, credited);
            self.no_longer_poor(to, credited.balance);
        }
        self.next_of(sender);
    }

    /// The length of the block, if it took this one as well.
    fn block_len_with(&self, index: usize) -> u64 {
        let (transaction, len) = &self.candidates[index];
        // Reward and this one come to those that are taken.
        let count = self.template.taken.len() as u64 + 2;
        let most = self
            .params
            .subsidy(self.height)
            .saturating_add(self.template.fees)
            .saturating_add(transaction.fee());
        let reward = 2 + varint_len(self.height) + Account::LEN + varint_len(most) + EXTRANONCE_LEN;
        let transactions = [reward, *len].map(|len| varint_len(len as u64) + len);
        let transactions = transactions.iter().sum::<usize>() + self.taken_len;
        (Header::LEN + varint_len(count) + transactions) as u64
    }

    /// Gives those candidates of an account another chance that its balance is now enough for.
    fn no_longer_poor(&mut self, account: &Account, balance: u64) {
        let Some(poor) = self.poor.get_mut(account) else { return };
        while poor.first().is_some_and(|(spent, _)| *spent <= balance)
            && let Some((_, index)) = poor.pop_first()
        {
            self.ready.insert(ready(self.candidates, index));
        }
    }

    /// What a candidate would break behind those that are taken. All that could be, are.
    fn broken_by(&self, index: usize) -> Violation {
        let transaction = &self.candidates[index].0;
        if let Err(violation) = BodyRules::check_transaction(0, transaction) {
            return violation;
        }
        let (Some(sender), Some(found)) = (transaction.sender(), transaction.nonce()) else {
            return Violation::BadCbMultiple { transaction: 0 };
        };
        let AccountState { balance, nonce: required } = self.account(sender);
        let needed = transaction.spent();
        if found != required {
            Violation::BadTxNonce { transaction: 0, required, found }
        } else if needed > balance {
            Violation::BadTxBalance { transaction: 0, balance, needed }
        } else {
            let (most, found) = (self.params.block_bytes_max(), self.block_len_with(index));
            Violation::BadBlkLength { most, found }
        }
    }

    fn finish(mut self) -> Template {
        let mut is_taken = vec![false; self.candidates.len()];
        self.template.taken.iter().for_each(|&index| is_taken[index] = true);
        let left_out = (0..self.candidates.len()).filter(|&index| !is_taken[index]);
        self.template.left_out = left_out.map(|index| (index, self.broken_by(index))).collect();
        self.template
    }
}

fn ready(candidates: &[(Transaction<'_>, usize)], index: usize) -> Ready {
    let (transaction, len) = &candidates[index];
    let value = (u128::from(transaction.fee()) << 32) / (*len).max(1) as u128;
    Ready { value: Reverse(value), index }
}
