//! What the accounts hold: balances and nonces, moved by blocks, forward and back.
//!
//! A block can be taken back with nothing but its own bytes: everything that a transaction does has an
//! inverse. So no history is kept, and a reorganisation may be as deep as the chain is long.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::quality::RandomState;

use crate::verdict::Violation;

use super::{Account, Block, Params, Transaction};

/// What an account holds. One that was never heard of holds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// Coins.
    pub balance: u64,
    /// The number of transactions that it made: the nonce of its next.
    pub nonce: u64,
}

/// The accounts after some block.
#[derive(Clone, Debug)]
pub struct State {
    accounts: HashMap<Account, AccountState, RandomState>,
    /// All coins there are, as rewards and fees have it.
    supply: u64,
    /// The sum of all balances, as each change of one has it. Equal to `supply` after every block.
    total: u64,
}

impl State {
    /// The state before the first block.
    #[must_use]
    pub fn genesis(params: &Params) -> Self {
        let mut state = Self { accounts: HashMap::default(), supply: 0, total: 0 };
        for (account, amount) in params.allocations() {
            state.credit(account, amount);
            state.supply += amount;
        }
        state.check_supply();
        state
    }

    /// What an account holds.
    #[must_use]
    pub fn account(&self, account: &Account) -> AccountState {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    /// All coins there are.
    #[must_use]
    pub const fn supply(&self) -> u64 {
        self.supply
    }

    /// How many accounts hold coins or have made a transaction.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether no account holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The accounts that hold coins or have made a transaction, in no order.
    pub fn accounts(&self) -> impl Iterator<Item = (&Account, AccountState)> {
        self.accounts.iter().map(|(account, state)| (account, *state))
    }

    /// Applies a block that has passed [`super::BodyRules`] and whose signatures are right.
    ///
    /// # Errors
    /// The first transaction that the state does not allow; the state is then as it was before.
    ///
    /// # Panics
    /// If the supply is not the sum of all balances, which is a fault of this program.
    pub fn apply(&mut self, block: &Block<'_>) -> Result<(), Violation> {
        let (mut reward, mut fees) = (None, 0);
        for (index, transaction) in block.transactions() {
            if let Err(violation) = self.apply_transaction(index, &transaction) {
                let applied = block.transactions().rev().skip_while(|(at, _)| *at >= index);
                applied.for_each(|(_, transaction)| self.undo_transaction(&transaction));
                return Err(violation);
            }
            // What the state allows fits: no more than all balances.
            fees += transaction.fee();
            if let Transaction::Reward { to, amount, .. } = transaction {
                reward = Some((to, amount));
            }
        }
        // Nobody spends a reward within its own block.
        if let Some((to, amount)) = reward {
            // Fees leave the supply first, as they have left the balances: what the reward does not
            // claim of them is burnt.
            self.supply -= fees;
            self.supply += amount;
            self.credit(&to, amount);
        }
        self.check_supply();
        Ok(())
    }

    /// Takes back the block that was applied last.
    ///
    /// # Panics
    /// As [`State::apply`], and if it was another block.
    pub fn undo(&mut self, block: &Block<'_>) {
        if let Some((_, Transaction::Reward { to, amount, .. })) = block.transactions().next() {
            self.debit(&to, amount);
            self.supply -= amount;
            self.supply += block.transactions().map(|(_, each)| each.fee()).sum::<u64>();
        }
        for (_, transaction) in block.transactions().rev() {
            self.undo_transaction(&transaction);
        }
        self.check_supply();
    }

    fn apply_transaction(
        &mut self,
        index: u32,
        transaction: &Transaction<'_>,
    ) -> Result<(), Violation> {
        let Some((from, nonce)) = transaction.sender().zip(transaction.nonce()) else {
            return Ok(());
        };
        let sender = self.accounts.get_mut(from);
        let AccountState { balance, nonce: required } =
            sender.as_deref().copied().unwrap_or_default();
        // The last nonce is never used, so that a next one can always be named.
        if nonce != required || nonce == u64::MAX {
            return Err(Violation::BadTxNonce { transaction: index, required, found: nonce });
        }
        let needed = transaction.spent();
        if needed > balance {
            return Err(Violation::BadTxBalance { transaction: index, balance, needed });
        }
        let after = AccountState { balance: balance - needed, nonce: nonce + 1 };
        match sender {
            Some(sender) => *sender = after,
            None => drop(self.accounts.insert(*from, after)),
        }
        self.total = self.total.checked_sub(needed).expect("no more than the supply");
        if let Transaction::Transfer { to, amount, .. } = transaction {
            self.credit(to, *amount);
        }
        Ok(())
    }

    fn undo_transaction(&mut self, transaction: &Transaction<'_>) {
        let Some(from) = transaction.sender() else { return };
        if let Transaction::Transfer { to, amount, .. } = transaction {
            self.debit(to, *amount);
        }
        self.accounts.entry(*from).or_default().nonce -= 1;
        self.credit(from, transaction.spent());
        self.forget_if_empty(from);
    }

    fn credit(&mut self, account: &Account, amount: u64) {
        if amount > 0 {
            let state = self.accounts.entry(*account).or_default();
            state.balance = state.balance.checked_add(amount).expect("no more than the supply");
            self.total = self.total.checked_add(amount).expect("no more than the supply");
        }
    }

    fn debit(&mut self, account: &Account, amount: u64) {
        if amount > 0 {
            let state = self.accounts.entry(*account).or_default();
            state.balance = state.balance.checked_sub(amount).expect("checked before");
            self.total = self.total.checked_sub(amount).expect("checked before");
            self.forget_if_empty(account);
        }
    }

    /// An account that holds nothing and has made no transaction is as if it were never heard of, so
    /// that a state is the same whatever was applied and taken back in between.
    fn forget_if_empty(&mut self, account: &Account) {
        if let Entry::Occupied(entry) = self.accounts.entry(*account)
            && *entry.get() == AccountState::default()
        {
            entry.remove();
        }
    }

    fn check_supply(&self) {
        assert_eq!(self.total, self.supply, "the supply is the sum of all balances");
    }
}
