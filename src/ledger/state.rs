//! What the accounts hold: balances and nonces, moved by blocks, forward and back.
//!
//! A block can be taken back with nothing but its own bytes: everything that a transaction does has an
//! inverse. So no history is kept, and a reorganisation may be as deep as the chain is long.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use crate::verdict::Violation;

use super::effects::{NOBODY, Reward};
use super::{Account, Effects, Params};

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
            // Each stands there once, with coins, and all of them fit.
            state.accounts.insert(*account, AccountState { balance: amount, nonce: 0 });
            state.total += amount;
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

    /// Applies a block that has passed [`super::BodyRules`], so that its reward comes first and each of the
    /// others pays, and whose signatures are right.
    ///
    /// # Errors
    /// The first transaction that the state does not allow; the state is then as it was before.
    ///
    /// # Panics
    /// If the supply is not the sum of all balances, which is a fault of this program.
    pub fn apply(&mut self, effects: &Effects) -> Result<(), Violation> {
        let mut held = Held::of(self, effects);
        let mut fees = 0;
        for (payment, transaction) in effects.payments.iter().zip(1..) {
            let sender = &mut held.accounts[payment.from as usize];
            let AccountState { balance, nonce: required } = *sender;
            // The last nonce is never used, so that a next one can always be named.
            if payment.nonce != required || required == u64::MAX {
                return Err(Violation::BadTxNonce { transaction, required, found: payment.nonce });
            }
            let needed = payment.spent();
            if needed > balance {
                return Err(Violation::BadTxBalance { transaction, balance, needed });
            }
            *sender = AccountState { balance: balance - needed, nonce: required + 1 };
            held.credit(payment.to, payment.amount);
            // What the state allows fits: no more than all balances.
            fees += payment.fee;
        }
        // Nobody spends a reward within its own block.
        if let Some(Reward { to, amount, .. }) = effects.reward {
            // Fees leave the supply first, as they have left the balances: what the reward does not
            // claim of them is burnt.
            self.supply -= fees;
            self.supply += amount;
            held.credit(to, amount);
        }
        self.put_back(effects, held);
        Ok(())
    }

    /// Takes back the block that was applied last.
    ///
    /// # Panics
    /// As [`State::apply`], and if it was another block.
    pub fn undo(&mut self, effects: &Effects) {
        let mut held = Held::of(self, effects);
        if let Some(Reward { to, amount, .. }) = effects.reward {
            held.debit(to, amount);
            self.supply -= amount;
            self.supply += effects.fees();
        }
        for payment in effects.payments.iter().rev() {
            held.debit(payment.to, payment.amount);
            held.accounts[payment.from as usize].nonce -= 1;
            held.credit(payment.from, payment.spent());
        }
        self.put_back(effects, held);
    }

    /// Takes what the accounts of a block hold now.
    fn put_back(&mut self, effects: &Effects, held: Held) {
        let before = self.total.checked_sub(held.before).expect("a part of all balances");
        let mut after = held.accounts.iter().map(|state| state.balance);
        let after = after.try_fold(before, u64::checked_add);
        self.total = after.expect("no more than the supply");
        for (account, state) in effects.accounts().iter().zip(held.accounts) {
            // An account that holds nothing and has made no transaction is as if it were never heard of, so
            // that a state is the same whatever was applied and taken back in between.
            if state == AccountState::default() {
                self.accounts.remove(account);
            } else {
                self.accounts.insert(*account, state);
            }
        }
        self.check_supply();
    }

    fn check_supply(&self) {
        assert_eq!(self.total, self.supply, "the supply is the sum of all balances");
    }
}

/// What the accounts of a block hold, by their numbers in it.
struct Held {
    accounts: Vec<AccountState>,
    /// All that they held before.
    before: u64,
}

impl Held {
    fn of(state: &State, effects: &Effects) -> Self {
        let accounts = effects.accounts().iter().map(|account| state.account(account));
        let accounts: Vec<_> = accounts.collect();
        // A part of all balances.
        let before = accounts.iter().map(|state| state.balance).sum();
        Self { accounts, before }
    }

    /// Gives to an account; nothing to nobody.
    fn credit(&mut self, number: u32, amount: u64) {
        if number != NOBODY {
            let balance = &mut self.accounts[number as usize].balance;
            *balance = balance.checked_add(amount).expect("no more than the supply");
        }
    }

    /// Takes from an account what it was given.
    fn debit(&mut self, number: u32, amount: u64) {
        if number != NOBODY {
            let balance = &mut self.accounts[number as usize].balance;
            *balance = balance.checked_sub(amount).expect("it was given before");
        }
    }
}
