//! Which pending transactions the next block takes, and in which order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::ledger::{Account, AccountState, BodyRules, Params, State, Transaction};
use crate::primitives::Header;
use crate::verdict::Violation;

/// The most bytes that header, count and reward take: a count of five bytes, and a reward whose
/// numbers have ten each, with its length.
const FRAME_LEN: usize = Header::LEN + 5 + 1 + 2 + Account::LEN + 3 * 10;

/// What a block will hold besides its reward.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Indices of the candidates that are taken, in the order of the block.
    pub taken: Vec<usize>,
    /// Their fees.
    pub fees: u64,
    /// Indices of the others, each with the rule that it would break now.
    pub left_out: Vec<(usize, Violation)>,
}

impl Template {
    /// Fills a block from `candidates`: sound transactions with good signatures, whose encodings have
    /// these lengths.
    ///
    /// The best fee for its bytes comes first, as far as the state allows: a sender's transactions in the
    /// order of their nonces, and one that needs coins from another after that. Of equal ones the
    /// first candidate wins.
    #[must_use]
    pub fn fill(params: &Params, state: &State, candidates: &[(Transaction<'_>, usize)]) -> Self {
        let mut filling = Filling::new(params, state, candidates);
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
    candidates: &'a [(Transaction<'a>, usize)],
    state: &'a State,
    /// Accounts that the block has touched so far.
    touched: HashMap<Account, AccountState>,
    /// Each sender's candidates, last nonce first.
    waiting: HashMap<Account, Vec<usize>>,
    ready: BTreeSet<Ready>,
    /// Candidates whose senders lack coins, by sender.
    poor: HashMap<Account, Vec<usize>>,
    room: usize,
    template: Template,
}

impl<'a> Filling<'a> {
    fn new(params: &Params, state: &'a State, candidates: &'a [(Transaction<'a>, usize)]) -> Self {
        let room = usize::try_from(params.block_bytes_max()).unwrap_or(usize::MAX);
        let mut filling = Self {
            candidates,
            state,
            touched: HashMap::new(),
            waiting: HashMap::new(),
            ready: BTreeSet::new(),
            poor: HashMap::new(),
            room: room.saturating_sub(FRAME_LEN),
            template: Template::default(),
        };
        for (index, (transaction, _)) in candidates.iter().enumerate() {
            match (BodyRules::check_transaction(0, transaction), transaction.sender()) {
                (Ok(()), Some(sender)) => {
                    filling.waiting.entry(*sender).or_default().push(index);
                }
                (Ok(()), None) => {
                    filling.leave_out(index, Violation::BadCbMultiple { transaction: 0 })
                }
                (Err(violation), _) => filling.leave_out(index, violation),
            }
        }
        let senders: Vec<_> = filling.waiting.keys().copied().collect();
        for sender in senders {
            if let Some(waiting) = filling.waiting.get_mut(&sender) {
                waiting.sort_by_key(|&index| {
                    let (transaction, _) = &candidates[index];
                    // Last first; of one nonce the best fee is popped first.
                    (Reverse(transaction.nonce()), transaction.fee(), Reverse(index))
                });
            }
            filling.next_of(&sender);
        }
        filling
    }

    fn leave_out(&mut self, index: usize, violation: Violation) {
        self.template.left_out.push((index, violation));
    }

    fn account(&self, account: &Account) -> AccountState {
        self.touched.get(account).copied().unwrap_or_else(|| self.state.account(account))
    }

    /// Makes the candidates of a sender ready that have its next nonce.
    fn next_of(&mut self, sender: &Account) {
        let required = self.account(sender).nonce;
        while let Some(index) = self.waiting.get_mut(sender).and_then(Vec::pop) {
            let (transaction, len) = &self.candidates[index];
            let found = transaction.nonce().unwrap_or(0);
            if found < required {
                self.leave_out(index, Violation::BadTxNonce { transaction: 0, required, found });
                continue;
            }
            if found > required {
                // Not yet: a gap before it.
                self.waiting.entry(*sender).or_default().push(index);
                return;
            }
            let value = Reverse((u128::from(transaction.fee()) << 32) / (*len).max(1) as u128);
            self.ready.insert(Ready { value, index });
        }
    }

    fn try_take(&mut self, Ready { index, .. }: Ready) {
        let (transaction, len) = &self.candidates[index];
        let Some((sender, found)) = transaction.sender().zip(transaction.nonce()) else { return };
        let AccountState { balance, nonce: required } = self.account(sender);
        if found != required {
            // Another one of the same nonce was better.
            return self
                .leave_out(index, Violation::BadTxNonce { transaction: 0, required, found });
        }
        if transaction.spent() > balance {
            return self.poor.entry(*sender).or_default().push(index);
        }
        // Its own length stands before it.
        let needed = len + 5;
        if needed > self.room {
            let (most, found) = (self.room as u64, needed as u64);
            return self.leave_out(index, Violation::BadBlkLength { most, found });
        }
        self.room -= needed;
        self.template.taken.push(index);
        self.template.fees += transaction.fee();
        let paid = AccountState { balance: balance - transaction.spent(), nonce: required + 1 };
        self.touched.insert(*sender, paid);
        if let Transaction::Transfer { to, amount, .. } = transaction {
            let mut credited = self.account(to);
            credited.balance += amount;
            self.touched.insert(*to, credited);
            self.no_longer_poor(to);
        }
        // Those of the same nonce have lost their chance, and are left out when their turn comes.
        self.no_longer_poor(sender);
        self.next_of(sender);
    }

    /// Gives the candidates of an account another chance.
    fn no_longer_poor(&mut self, account: &Account) {
        for index in self.poor.remove(account).unwrap_or_default() {
            let (transaction, len) = &self.candidates[index];
            let value = Reverse((u128::from(transaction.fee()) << 32) / (*len).max(1) as u128);
            self.ready.insert(Ready { value, index });
        }
    }

    fn finish(mut self) -> Template {
        for (sender, indices) in std::mem::take(&mut self.poor) {
            let balance = self.account(&sender).balance;
            for index in indices {
                let needed = self.candidates[index].0.spent();
                self.leave_out(index, Violation::BadTxBalance { transaction: 0, balance, needed });
            }
        }
        for (sender, indices) in std::mem::take(&mut self.waiting) {
            let required = self.account(&sender).nonce;
            for index in indices {
                let found = self.candidates[index].0.nonce().unwrap_or(0);
                self.leave_out(index, Violation::BadTxNonce { transaction: 0, required, found });
            }
        }
        self.template.left_out.sort_by_key(|(index, _)| *index);
        self.template
    }
}
