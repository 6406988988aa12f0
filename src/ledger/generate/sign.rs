//! The transactions of planned blocks, made and signed on every core.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use ed25519_dalek::{Signer, SigningKey};
use rayon::prelude::*;

use crate::ledger::{Account, Params, SIGNATURE_LEN, Signature, Transaction};
use crate::primitives::{Hash256, Messages, rfc6962};

use super::plan::{Draft, Sender};
use super::random::{Domain, Random};
use super::{AMOUNT_MAX, FEE_MAX, GenerateError, Options, Progress, TAGS};

/// Transactions that one thread signs in a row: about a millisecond of work, which is also how soon an
/// interruption is noticed.
const TRANSACTIONS_PER_TASK: usize = 64;

/// The accounts and what they sign for.
pub(super) struct Signers<'o> {
    options: &'o Options,
    chain_id: Hash256,
    accounts: Vec<Account>,
    keys: Vec<SigningKey>,
}

/// Some of a block's transactions.
pub(super) struct Signed {
    /// Their encodings.
    pub(super) leaves: Messages,
    /// The leaf hash of each.
    pub(super) hashes: Vec<Hash256>,
    /// The sum of their fees.
    pub(super) fees: u64,
}

/// The keys of all accounts.
pub(super) fn derive_keys(
    options: &Options,
    progress: &Progress,
) -> Result<Vec<SigningKey>, GenerateError> {
    let numbers = (0..u64::from(options.accounts)).into_par_iter();
    let keys = numbers.map(|number| {
        go_on(progress)?;
        let mut random = Random::new(options.seed.as_bytes(), Domain::Secret, &[number]);
        let mut secret = [0; 32];
        secret.copy_from_slice(&random.bytes(32));
        Ok(SigningKey::from_bytes(&secret))
    });
    keys.collect()
}

/// The account of a key.
pub(super) fn account_of(key: &SigningKey) -> Account {
    Account::from_key(key.verifying_key().to_bytes())
}

/// An error once the work is to end.
pub(super) fn go_on(progress: &Progress) -> Result<(), GenerateError> {
    if progress.stop.load(Relaxed) { Err(GenerateError::Stopped) } else { Ok(()) }
}

impl<'o> Signers<'o> {
    pub(super) fn new(options: &'o Options, params: &Params, keys: Vec<SigningKey>) -> Self {
        let accounts = keys.iter().map(account_of).collect();
        Self { options, chain_id: params.chain_id(), accounts, keys }
    }

    pub(super) fn account(&self, number: usize) -> Account {
        self.accounts[number]
    }

    /// Signs all transactions of the drafts: for each draft its parts in order.
    pub(super) fn sign(
        &self,
        drafts: &[Draft],
        progress: &Progress,
    ) -> Result<Vec<Vec<Signed>>, GenerateError> {
        let tasks: Vec<(usize, Range<usize>)> = drafts
            .iter()
            .enumerate()
            .flat_map(|(index, draft)| {
                let count = draft.senders.len();
                let starts = (0..count).step_by(TRANSACTIONS_PER_TASK);
                starts.map(move |at| (index, at..count.min(at + TRANSACTIONS_PER_TASK)))
            })
            .collect();
        let signed: Vec<Signed> = tasks
            .par_iter()
            .map(|(draft, range)| {
                go_on(progress)?;
                Ok(self.sign_some(&drafts[*draft], range.clone()))
            })
            .collect::<Result<_, GenerateError>>()?;
        let mut parts: Vec<_> = drafts.iter().map(|_| Vec::new()).collect();
        for ((draft, _), signed) in tasks.into_iter().zip(signed) {
            parts[draft].push(signed);
        }
        Ok(parts)
    }

    fn sign_some(&self, draft: &Draft, range: Range<usize>) -> Signed {
        let mut signed =
            Signed { leaves: Messages::new(), hashes: Vec::with_capacity(range.len()), fees: 0 };
        let mut leaf = Vec::new();
        for index in range {
            leaf.clear();
            signed.fees += self.sign_one(draft, index, &mut leaf);
            signed.hashes.push(rfc6962::leaf_hash(&leaf));
            signed.leaves.push(&[&leaf]);
        }
        signed
    }

    /// Draws and signs one transaction, appends its encoding, and says its fee.
    fn sign_one(&self, draft: &Draft, index: usize, leaf: &mut Vec<u8>) -> u64 {
        let options = self.options;
        let place = [u64::from(draft.branch), u64::from(draft.height), index as u64];
        let mut random = Random::new(options.seed.as_bytes(), Domain::Transaction, &place);
        let Sender { account, nonce } = draft.senders[index];
        let from = self.accounts[account];
        let is_record = random.below(100) < u64::from(options.records_percent);
        let fee = random.within(&(1..=FEE_MAX));
        let unsigned = [0; SIGNATURE_LEN];
        if is_record {
            let tag = TAGS[random.index(TAGS.len())].as_bytes();
            let payload = random_bytes(&mut random, options.payload_bytes);
            let payload = &payload;
            let with =
                |signature| Transaction::Record { from, fee, nonce, tag, payload, signature };
            with(self.signature(account, &with(unsigned))).encode(leaf);
        } else {
            let to = self.accounts[random.index(self.accounts.len())];
            let amount = random.within(&(1..=AMOUNT_MAX));
            let memo = random_bytes(&mut random, options.memo_bytes);
            let memo = &memo;
            let with =
                |signature| Transaction::Transfer { from, to, amount, fee, nonce, memo, signature };
            with(self.signature(account, &with(unsigned))).encode(leaf);
        }
        fee
    }

    fn signature(&self, account: usize, transaction: &Transaction<'_>) -> Signature {
        let mut message = Vec::new();
        transaction.encode_signed_bytes(&self.chain_id, &mut message);
        self.keys[account].sign(&message).to_bytes()
    }
}

/// Bytes of a length from the first to the last of `(first, last)`.
fn random_bytes(random: &mut Random, (first, last): (u16, u16)) -> Vec<u8> {
    let len = random.within(&(u64::from(first)..=u64::from(last)));
    random.bytes(usize::try_from(len).expect("a length of 16 bits"))
}
