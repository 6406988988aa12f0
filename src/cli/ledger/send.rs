//! `blockmill ledger send`: signs a transaction and appends it to those that wait for a miner.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::cli::args::SendArgs;
use crate::cli::chain_file::read_ledger;
use crate::cli::key::unlock;
use crate::cli::output;
use crate::cli::validate::read_params;
use crate::error::Error;
use crate::ledger::pending::{Pending, Queue};
use crate::ledger::{
    Account, BodyRules, PAYLOAD_LEN_MAX, SIGNATURE_LEN, Signature, State, Transaction,
};
use crate::primitives::Hash256;

/// What is known about the sender.
struct View {
    /// The ledger.
    chain_id: Hash256,
    /// What the account holds, unless that is not known.
    balance: Option<u64>,
    /// How many transactions it made.
    nonce: u64,
}

/// The ledger as the arguments name it, seen by `account`.
fn view(args: &SendArgs, account: &Account) -> Result<(View, State), Error> {
    if let Some(path) = &args.chain {
        let ledger = read_ledger(path)?;
        let state = ledger.state.account(account);
        let chain_id = ledger.store.params().chain_id();
        let view = View { chain_id, balance: Some(state.balance), nonce: state.nonce };
        return Ok((view, ledger.state));
    }
    let path = args.params.as_ref().ok_or_else(|| Error::usage("--params is missing"))?;
    let params = read_params(path)?;
    let state = State::genesis(&params);
    let at_start = state.account(account);
    // Whoever gives a nonce knows of a chain that moved on.
    let balance = args.nonce.is_none().then_some(at_start.balance);
    Ok((View { chain_id: params.chain_id(), balance, nonce: at_start.nonce }, state))
}

/// Runs the command.
pub(super) fn run(args: &SendArgs) -> Result<u8, Error> {
    let draft = Draft::of(args)?;
    // Before anybody types a passphrase.
    draft.check()?;
    let key = unlock(&args.key, &args.passphrase)?;
    let from = key.account();
    let (view, state) = view(args, &from)?;

    let mut queue = Queue::open(&args.pending, &view.chain_id)?;
    let before = Waiting::of(queue.waiting(), &from, &view, Some(&state));
    let nonce = match args.nonce {
        Some(nonce) => nonce,
        None => before.next(&view)?,
    };
    before.check(&view, nonce, draft.spent())?;
    let unsigned = draft.transaction(from, nonce, [0; SIGNATURE_LEN]);
    let mut message = Vec::new();
    unsigned.encode_signed_bytes(&view.chain_id, &mut message);
    let signed = draft.transaction(from, nonce, key.sign(&message));
    let pending = Pending::new(&signed, &view.chain_id)
        .map_err(|error| Error::Device(format!("the signature just made is wrong: {error}")))?;
    let id = *pending.id();
    if queue.waiting().iter().any(|other| *other.id() == id) {
        return Err(Error::usage(format!("{id} already waits in {}", args.pending.display())));
    }
    queue.append(pending)?;
    let waiting = queue.waiting().len();
    // The lock is not held while a pipe is full.
    drop(queue);

    output::print(&format!("{id}\n"))?;
    output::note(&format!(
        "{}, fee {}, nonce {nonce}; {} waiting in {}",
        draft.what(),
        draft.fee,
        output::grouped(waiting as u64),
        args.pending.display()
    ));
    before.warn(nonce);
    Ok(0)
}

/// What is to be signed, before its sender and nonce are known.
struct Draft {
    fee: u64,
    kind: Kind,
}

enum Kind {
    Transfer { to: Account, amount: u64, memo: Vec<u8> },
    Record { tag: String, payload: Vec<u8> },
}

impl Draft {
    fn of(args: &SendArgs) -> Result<Self, Error> {
        let kind = match (&args.to, args.amount, &args.record) {
            (Some(to), Some(amount), None) => Kind::Transfer { to: *to, amount, memo: memo(args)? },
            (None, None, Some(tag)) => Kind::Record { tag: tag.clone(), payload: payload(args)? },
            _ => return Err(Error::usage("either --to and --amount, or --record")),
        };
        Ok(Self { fee: args.fee, kind })
    }

    fn transaction(&self, from: Account, nonce: u64, signature: Signature) -> Transaction<'_> {
        let fee = self.fee;
        match &self.kind {
            Kind::Transfer { to, amount, memo } => Transaction::Transfer {
                from,
                to: *to,
                amount: *amount,
                fee,
                nonce,
                memo,
                signature,
            },
            Kind::Record { tag, payload } => {
                Transaction::Record { from, fee, nonce, tag: tag.as_bytes(), payload, signature }
            }
        }
    }

    /// Judges it by the rules that need neither sender nor nonce.
    fn check(&self) -> Result<(), Error> {
        BodyRules::check_transaction(0, &self.of_anybody()).map_err(|broken| {
            let (rule, expected, found) = (broken.rule(), broken.expected(), broken.found());
            Error::usage(format!("no block could take it, by {rule}: {expected}, not {found}"))
        })
    }

    fn spent(&self) -> u64 {
        self.of_anybody().spent()
    }

    fn of_anybody(&self) -> Transaction<'_> {
        self.transaction(Account::from_key([0; 32]), 0, [0; SIGNATURE_LEN])
    }

    fn what(&self) -> String {
        match &self.kind {
            Kind::Transfer { to, amount, .. } => format!("transfer of {amount} to {to}"),
            Kind::Record { tag, payload } => {
                format!("record {tag:?} of {} bytes", output::grouped(payload.len() as u64))
            }
        }
    }
}

fn memo(args: &SendArgs) -> Result<Vec<u8>, Error> {
    match (&args.memo, &args.memo_hex) {
        (Some(text), _) => Ok(text.clone().into_bytes()),
        (None, Some(digits)) => {
            hex::decode(digits).map_err(|error| Error::usage(format!("--memo-hex: {error}")))
        }
        (None, None) => Ok(Vec::new()),
    }
}

fn payload(args: &SendArgs) -> Result<Vec<u8>, Error> {
    let Some(path) = &args.payload_file else {
        return Ok(args.payload.clone().unwrap_or_default().into_bytes());
    };
    let is_stdin = path == Path::new("-");
    if is_stdin && args.passphrase.passphrase_file.as_ref() == Some(path) {
        return Err(Error::usage("payload and passphrase cannot both come from standard input"));
    }
    let source: io::Result<Box<dyn Read>> = match is_stdin {
        true => Ok(Box::new(io::stdin())),
        false => File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    // One byte more than there may be shows that there is more.
    let mut payload = Vec::new();
    let read =
        source.and_then(|from| from.take(PAYLOAD_LEN_MAX as u64 + 1).read_to_end(&mut payload));
    read.map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
    if payload.len() > PAYLOAD_LEN_MAX {
        let path = path.display();
        return Err(Error::usage(format!("{path} is longer than {PAYLOAD_LEN_MAX} bytes")));
    }
    Ok(payload)
}

/// What waits of one sender and is not on the chain yet: by nonce, what it takes from the account at
/// least. (Two may wait with the same nonce; one of them will fail.)
struct Waiting {
    /// By nonce, the least that a transaction of the account takes from it.
    takes: BTreeMap<u64, u64>,
    /// What others send to the account and is not on the chain yet.
    incoming: u128,
}

impl Waiting {
    fn of(all: &[Pending], from: &Account, view: &View, state: Option<&State>) -> Self {
        let mut taken = BTreeMap::new();
        let mut incoming = 0;
        for pending in all {
            let transaction = pending.transaction();
            if let Transaction::Transfer { from: sender, to, amount, .. } = transaction
                && to == *from
                && sender != *from
                && state
                    .is_some_and(|state| transaction.nonce() >= Some(state.account(&sender).nonce))
            {
                incoming += u128::from(amount);
            }
            let (Some(sender), Some(nonce)) = (transaction.sender(), transaction.nonce()) else {
                continue;
            };
            if sender != from || nonce < view.nonce {
                continue;
            }
            // What an account sends to itself stays there.
            let takes = match transaction {
                Transaction::Transfer { to, fee, .. } if to == *from => fee,
                _ => transaction.spent(),
            };
            taken
                .entry(nonce)
                .and_modify(|least: &mut u64| *least = takes.min(*least))
                .or_insert(takes);
        }
        Self { takes: taken, incoming }
    }

    /// The first nonce from the chain's on that nothing waits with.
    fn next(&self, view: &View) -> Result<u64, Error> {
        (view.nonce..=u64::MAX)
            .find(|nonce| !self.takes.contains_key(nonce))
            .ok_or_else(|| Error::usage("the account has no nonce left"))
    }

    /// Refuses what cannot be on the chain, as far as the chain and what waits can tell.
    fn check(&self, view: &View, nonce: u64, spent: u64) -> Result<(), Error> {
        if nonce < view.nonce {
            let next = view.nonce;
            return Err(Error::usage(format!("--nonce {nonce} is used up; the next is {next}")));
        }
        let Some(balance) = view.balance else { return Ok(()) };
        let before: u128 = self.takes.range(..nonce).map(|(_, takes)| u128::from(*takes)).sum();
        let left = u128::from(balance).saturating_sub(before);
        let spent = u128::from(spent);
        if spent <= left {
            return Ok(());
        }
        if spent <= left.saturating_add(self.incoming) {
            output::warning(&format!(
                "it takes {spent}, and the account has {left}: it needs some of the {} that wait for it",
                self.incoming
            ));
            return Ok(());
        }
        Err(Error::usage(format!(
            "it takes {spent}, and the account has {left}: {balance}, and {before} of that is spent by \
             what waits"
        )))
    }

    /// Says what else must happen, or must not, for it to be on the chain.
    fn warn(&self, nonce: u64) {
        if self.takes.contains_key(&nonce) {
            output::warning(&format!(
                "another with nonce {nonce} waits, and only one of them can be on the chain"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::keys::SecretKey;

    use super::*;

    fn waiting(chain_id: &Hash256, nonce: u64, amount: u64) -> Pending {
        let key = SecretKey::from_bytes(&[1; 32]);
        let to = Account::from_key([9; 32]);
        let draft = Draft { fee: 1, kind: Kind::Transfer { to, amount, memo: Vec::new() } };
        let mut message = Vec::new();
        let unsigned = draft.transaction(key.account(), nonce, [0; SIGNATURE_LEN]);
        unsigned.encode_signed_bytes(chain_id, &mut message);
        let signed = draft.transaction(key.account(), nonce, key.sign(&message));
        Pending::new(&signed, chain_id).expect("signed")
    }

    /// A file that still holds what is on the chain already.
    #[test]
    fn what_is_on_the_chain_neither_takes_a_nonce_nor_the_balance() {
        let chain_id = Hash256::from_bytes([3; 32]);
        let all = [(1, 500), (2, 500), (3, 40), (4, 30), (4, 20), (6, 5)]
            .map(|(nonce, amount)| waiting(&chain_id, nonce, amount));
        let from = SecretKey::from_bytes(&[1; 32]).account();
        let view = View { chain_id, balance: Some(100), nonce: 3 };
        let before = Waiting::of(&all, &from, &view, None);
        assert_eq!(before.next(&view).expect("a nonce"), 5);
        assert!(before.check(&view, 2, 1).is_err());
        // 41 and 21 are spent before nonce 5, and what has a later nonce comes later.
        assert!(before.check(&view, 5, 38).is_ok());
        assert!(before.check(&view, 5, 39).is_err());
        assert!(before.check(&view, 3, 100).is_ok());
        assert!(before.check(&View { balance: None, ..view }, 5, u64::MAX).is_ok());
        let other = Account::from_key([9; 32]);
        let view = View { chain_id, balance: Some(0), nonce: 7 };
        assert_eq!(Waiting::of(&all, &other, &view, None).next(&view).expect("a nonce"), 7);
    }

    #[test]
    fn nonces_end() {
        let chain_id = Hash256::from_bytes([3; 32]);
        let from = SecretKey::from_bytes(&[1; 32]).account();
        let view = View { chain_id, balance: None, nonce: u64::MAX };
        let all = [waiting(&chain_id, u64::MAX, 1)];
        assert!(Waiting::of(&all, &from, &view, None).next(&view).is_err());
    }
}
