//! The work of the suite `signatures`: many signed messages, judged together.

use ed25519_dalek::{Signer, SigningKey};

use crate::primitives::sha256d;
use crate::signature::{
    BadSignature, Item, KEY_LEN, KeptItem, PublicKey, SIGNATURE_LEN, verify, verify_batch,
    verify_batch_kept,
};

/// The bytes of each signed message: about as many as a transfer signs.
const MESSAGE_LEN: usize = 150;

/// The accounts of [`Keys::Accounts`].
const ACCOUNTS: usize = 1000;

/// What is known of the signers beforehand, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Each signature has a key of its own, which is decoded first.
    Distinct,
    /// The same, and all keys were decoded before.
    Known,
    /// 1,000 accounts in turn, all known before, as in a block of a ledger.
    Accounts,
}

/// Signed messages, all of them sound.
pub struct Signatures {
    is_known: bool,
    keys: Vec<[u8; KEY_LEN]>,
    decoded: Vec<PublicKey>,
    /// Each with the number of its key.
    signed: Vec<(usize, Vec<u8>, [u8; SIGNATURE_LEN])>,
}

impl Signatures {
    /// `count` of them, the same in every process.
    #[must_use]
    pub fn new(keys: Keys, count: usize) -> Self {
        let key_count = if keys == Keys::Accounts { ACCOUNTS.min(count) } else { count };
        let secret = |index: usize| {
            SigningKey::from_bytes(
                sha256d(&[&b"key"[..], &index.to_le_bytes()].concat()).as_bytes(),
            )
        };
        let secrets: Vec<_> = (0..key_count).map(secret).collect();
        let signed = (0..count).map(|index| {
            let digest = sha256d(&index.to_le_bytes());
            let message: Vec<u8> =
                digest.as_bytes().iter().copied().cycle().take(MESSAGE_LEN).collect();
            let key = index % key_count;
            let signature = secrets[key].sign(&message).to_bytes();
            (key, message, signature)
        });
        let signed = signed.collect();
        let keys_bytes: Vec<_> =
            secrets.iter().map(|secret| secret.verifying_key().to_bytes()).collect();
        let decode = |bytes| PublicKey::from_bytes(bytes).expect("a key that was just made");
        let decoded = keys_bytes.iter().map(decode).collect();
        Self { is_known: keys != Keys::Distinct, keys: keys_bytes, decoded, signed }
    }

    /// How many signatures there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.signed.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signed.is_empty()
    }

    /// Judges all of them in one call, on the threads of the current rayon pool.
    ///
    /// # Errors
    /// The first bad signature.
    pub fn verify_together(&self) -> Result<(), BadSignature> {
        if self.is_known {
            let items = self.signed.iter().map(|(key, message, signature)| KeptItem {
                key: &self.decoded[*key],
                domain: &[],
                message,
                signature,
            });
            return verify_batch_kept(&items.collect::<Vec<_>>());
        }
        let items = self.signed.iter().map(|(key, message, signature)| Item {
            key: &self.keys[*key],
            message,
            signature,
        });
        verify_batch(&items.collect::<Vec<_>>())
    }

    /// Judges one after the other, as rule E1 is written; what the batches must agree with.
    ///
    /// # Errors
    /// The first bad signature.
    pub fn verify_singly(&self) -> Result<(), BadSignature> {
        for (index, (key, message, signature)) in self.signed.iter().enumerate() {
            let judged = if self.is_known {
                self.decoded[*key].verify(message, signature)
            } else {
                verify(&self.keys[*key], message, signature)
            };
            judged.map_err(|fault| BadSignature { index, fault })?;
        }
        Ok(())
    }

    /// The same messages, with one bit of one signature changed.
    #[must_use]
    pub fn damaged_at(&self, index: usize, byte: usize) -> Self {
        let mut signed = self.signed.clone();
        signed[index].2[byte] ^= 1;
        let (keys, decoded) = (self.keys.clone(), self.decoded.clone());
        Self { is_known: self.is_known, keys, decoded, signed }
    }

    /// Whether `judge` says of these signatures, which are sound, and of others that are not, what
    /// judging them singly says.
    pub(super) fn agrees(&self, judge: impl Fn(&Self) -> Result<(), BadSignature>) -> bool {
        let places = [(0, 0), (self.len() / 2, 40), (self.len() - 1, SIGNATURE_LEN - 1)];
        self.verify_singly() == Ok(())
            && judge(self) == Ok(())
            && places.into_iter().all(|(index, byte)| {
                let damaged = self.damaged_at(index, byte);
                let right = damaged.verify_singly();
                right.is_err() && judge(&damaged) == right
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_sound_and_judged_alike() {
        for keys in [Keys::Distinct, Keys::Known, Keys::Accounts] {
            let signatures = Signatures::new(keys, 40);
            assert_eq!(signatures.len(), 40);
            assert!(signatures.agrees(Signatures::verify_together), "{keys:?}");
        }
        assert_eq!(Signatures::new(Keys::Accounts, 1030).keys.len(), 1000);
    }

    #[test]
    fn a_judge_that_is_wrong_does_not_agree() {
        let signatures = Signatures::new(Keys::Known, 20);
        assert!(!signatures.agrees(|_| Ok(())), "takes all");
        assert!(
            !signatures.agrees(|some| {
                some.verify_together().map_err(|bad| BadSignature { index: bad.index / 2, ..bad })
            }),
            "names another"
        );
        // One that refuses what is sound.
        let damaged = signatures.damaged_at(7, 3);
        assert!(!damaged.agrees(Signatures::verify_together));
    }
}
