//! Transactions: what they say, how they are encoded, what is signed.
//!
//! # Encoding
//!
//! Numbers marked *v* are of varying size (see [`crate::wire`]). Every encoding is canonical: what
//! decodes, encodes to the same bytes.
//!
//! | kind | fields after kind (1) and version (1; 1) |
//! |---|---|
//! | 0 `Reward` | height v, to (33), amount v, extranonce v |
//! | 1 `Transfer` | from (33), to (33), amount v, fee v, nonce v, memo (v length, bytes), signature (64) |
//! | 2 `Record` | from (33), fee v, nonce v, tag (v length, bytes), payload (v length, bytes), signature (64) |
//!
//! Accounts are encoded as `account` says. What the encoding can express and the ledger does not allow,
//! such as an amount of zero or a memo above its limit, decodes: there are rules of their own for it.
//!
//! # Signed bytes and id
//!
//! The signed bytes are a domain and the encoding without its signature: magic `bmtx` (4), chain id
//! (32, in the order SHA-256 produces it), then kind, version and all fields but the signature. The
//! transaction id is the SHA-256d of the signed bytes, of a reward likewise. So ids never repeat across
//! chains; the signer can make several signatures for one id, and nobody else can. The leaf of the
//! Merkle tree is the whole encoding, with signature.

use crate::primitives::{Hash256, sha256d};
use crate::signature::SIGNATURE_LEN;
use crate::wire::{Fault, Malformed, Reader, put_prefixed, put_varint};

use super::Account;

/// Opens the signed bytes of every transaction.
pub(crate) const MAGIC: &[u8; 4] = b"bmtx";

const VERSION: u8 = 1;

const REWARD: u8 = 0;
const TRANSFER: u8 = 1;
const RECORD: u8 = 2;

/// The longest memo of a transfer, in bytes.
pub const MEMO_LEN_MAX: usize = 256;

/// The longest application tag of a record, in bytes.
pub const TAG_LEN_MAX: usize = 32;

/// The longest payload of a record, in bytes.
pub const PAYLOAD_LEN_MAX: usize = 4096;

/// An Ed25519 signature as it was received.
pub type Signature = [u8; SIGNATURE_LEN];

/// A transaction that borrows its variable parts from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction<'a> {
    /// The first of every block: creates coins and collects fees.
    Reward {
        /// The height of the block.
        height: u64,
        /// Who is rewarded.
        to: Account,
        /// How much.
        amount: u64,
        /// Room for a miner.
        extranonce: u64,
    },
    /// Moves an amount from one account to another.
    Transfer {
        /// Who pays, and signs.
        from: Account,
        /// Who is paid.
        to: Account,
        /// How much.
        amount: u64,
        /// What the miner gets besides.
        fee: u64,
        /// The number of transactions the sender made before.
        nonce: u64,
        /// A remark.
        memo: &'a [u8],
        /// Over the signed bytes, by `from`.
        signature: Signature,
    },
    /// Writes an application's data to the ledger.
    Record {
        /// Who writes, and signs.
        from: Account,
        /// What the miner gets.
        fee: u64,
        /// The number of transactions the sender made before.
        nonce: u64,
        /// Which application.
        tag: &'a [u8],
        /// Its data.
        payload: &'a [u8],
        /// Over the signed bytes, by `from`.
        signature: Signature,
    },
}

impl<'a> Transaction<'a> {
    /// Decodes one transaction that fills `bytes`.
    ///
    /// # Errors
    /// If the bytes are no canonical encoding; the offset counts from the transaction's first byte.
    #[inline(always)]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let transaction = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(transaction)
    }

    /// Reads one transaction and leaves what follows it.
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind_at = reader.offset();
        let kind = reader.u8()?;
        let version_at = reader.offset();
        if reader.u8()? != VERSION {
            return Err(Reader::fault_at(version_at, Fault::Unknown));
        }
        match kind {
            REWARD => Ok(Self::Reward {
                height: reader.varint()?,
                to: Account::decode(reader)?,
                amount: reader.varint()?,
                extranonce: reader.varint()?,
            }),
            TRANSFER => Ok(Self::Transfer {
                from: Account::decode(reader)?,
                to: Account::decode(reader)?,
                amount: reader.varint()?,
                fee: reader.varint()?,
                nonce: reader.varint()?,
                memo: reader.prefixed(usize::MAX)?,
                signature: reader.array()?,
            }),
            RECORD => Ok(Self::Record {
                from: Account::decode(reader)?,
                fee: reader.varint()?,
                nonce: reader.varint()?,
                tag: reader.prefixed(usize::MAX)?,
                payload: reader.prefixed(usize::MAX)?,
                signature: reader.array()?,
            }),
            _ => Err(Reader::fault_at(kind_at, Fault::Unknown)),
        }
    }

    /// Appends the whole encoding, which is the leaf of the Merkle tree.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_unsigned(out);
        if let Some(signature) = self.signature() {
            out.extend_from_slice(signature);
        }
    }

    /// Appends what is signed, on the chain `chain_id`.
    pub fn encode_signed_bytes(&self, chain_id: &Hash256, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(chain_id.as_bytes());
        self.encode_unsigned(out);
    }

    /// The part of an encoding that is signed: all but the signature. All of it for a kind that has none,
    /// or is not known.
    pub(crate) fn unsigned_part(encoding: &[u8]) -> &[u8] {
        match encoding {
            [TRANSFER | RECORD, VERSION, ..] if encoding.len() >= SIGNATURE_LEN => {
                &encoding[..encoding.len() - SIGNATURE_LEN]
            }
            _ => encoding,
        }
    }

    /// What is to be checked of the signature of an encoding that decodes: the sender's key, what is signed
    /// behind the domain, and the signature. Nothing for one that has none.
    pub(crate) fn signed_parts(encoding: &[u8]) -> Option<(&[u8; 32], &[u8], &Signature)> {
        let [TRANSFER | RECORD, VERSION, Account::ED25519, rest @ ..] = encoding else {
            return None;
        };
        let (unsigned, signature) = encoding.split_last_chunk()?;
        Some((rest.first_chunk()?, unsigned, signature))
    }

    /// The transaction id on the chain `chain_id`.
    #[must_use]
    pub fn id(&self, chain_id: &Hash256) -> Hash256 {
        let mut bytes = Vec::new();
        self.encode_signed_bytes(chain_id, &mut bytes);
        sha256d(&bytes)
    }

    /// Who signs, unless it is a reward.
    #[must_use]
    pub const fn sender(&self) -> Option<&Account> {
        match self {
            Self::Reward { .. } => None,
            Self::Transfer { from, .. } | Self::Record { from, .. } => Some(from),
        }
    }

    /// The number of transactions that the sender made before, unless it is a reward.
    #[must_use]
    pub const fn nonce(&self) -> Option<u64> {
        match self {
            Self::Reward { .. } => None,
            Self::Transfer { nonce, .. } | Self::Record { nonce, .. } => Some(*nonce),
        }
    }

    /// What the miner gets for it; nothing for a reward.
    #[must_use]
    pub const fn fee(&self) -> u64 {
        match self {
            Self::Reward { .. } => 0,
            Self::Transfer { fee, .. } | Self::Record { fee, .. } => *fee,
        }
    }

    /// What leaves the sender's account: amount and fee, at most 2^64 - 1.
    #[must_use]
    pub const fn spent(&self) -> u64 {
        match self {
            Self::Reward { .. } => 0,
            Self::Transfer { amount, fee, .. } => amount.saturating_add(*fee),
            Self::Record { fee, .. } => *fee,
        }
    }

    /// The signature, unless it is a reward.
    #[must_use]
    pub const fn signature(&self) -> Option<&Signature> {
        match self {
            Self::Reward { .. } => None,
            Self::Transfer { signature, .. } | Self::Record { signature, .. } => Some(signature),
        }
    }

    fn encode_unsigned(&self, out: &mut Vec<u8>) {
        match self {
            Self::Reward { height, to, amount, extranonce } => {
                out.extend([REWARD, VERSION]);
                put_varint(out, *height);
                to.encode(out);
                put_varint(out, *amount);
                put_varint(out, *extranonce);
            }
            Self::Transfer { from, to, amount, fee, nonce, memo, .. } => {
                out.extend([TRANSFER, VERSION]);
                from.encode(out);
                to.encode(out);
                put_varint(out, *amount);
                put_varint(out, *fee);
                put_varint(out, *nonce);
                put_prefixed(out, memo);
            }
            Self::Record { from, fee, nonce, tag, payload, .. } => {
                out.extend([RECORD, VERSION]);
                from.encode(out);
                put_varint(out, *fee);
                put_varint(out, *nonce);
                put_prefixed(out, tag);
                put_prefixed(out, payload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account() -> impl Strategy<Value = Account> {
        any::<[u8; 32]>().prop_map(Account::from_key)
    }

    /// Numbers of every size.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
    }

    fn signature() -> impl Strategy<Value = Signature> {
        prop::collection::vec(any::<u8>(), SIGNATURE_LEN)
            .prop_map(|bytes| bytes.try_into().expect("as many bytes"))
    }

    fn bytes(len: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = &'static [u8]> {
        prop::collection::vec(any::<u8>(), len).prop_map(|bytes| &*bytes.leak())
    }

    fn transaction() -> impl Strategy<Value = Transaction<'static>> {
        let reward = (number(), account(), number(), number()).prop_map(
            |(height, to, amount, extranonce)| Transaction::Reward {
                height,
                to,
                amount,
                extranonce,
            },
        );
        let transfer = (
            account(),
            account(),
            number(),
            number(),
            number(),
            bytes(0..=MEMO_LEN_MAX),
            signature(),
        )
            .prop_map(|(from, to, amount, fee, nonce, memo, signature)| {
                Transaction::Transfer { from, to, amount, fee, nonce, memo, signature }
            });
        let record =
            (account(), number(), number(), bytes(1..=TAG_LEN_MAX), bytes(0..=300), signature())
                .prop_map(|(from, fee, nonce, tag, payload, signature)| Transaction::Record {
                    from,
                    fee,
                    nonce,
                    tag,
                    payload,
                    signature,
                });
        prop_oneof![reward, transfer, record]
    }

    fn encoded(transaction: &Transaction<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        transaction.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn transactions_come_back(transaction in transaction()) {
            let bytes = encoded(&transaction);
            prop_assert_eq!(Transaction::decode(&bytes), Ok(transaction));
            let mut unsigned = Vec::new();
            transaction.encode_unsigned(&mut unsigned);
            prop_assert_eq!(Transaction::unsigned_part(&bytes), &unsigned[..]);
            let parts = Transaction::signed_parts(&bytes);
            let expected = transaction.sender().zip(transaction.signature());
            let expected = expected.map(|(from, signature)| (from.key(), &unsigned[..], signature));
            prop_assert_eq!(parts, expected);
        }

        #[test]
        fn what_is_cut_or_goes_on_is_refused(transaction in transaction(), cut in any::<prop::sample::Index>()) {
            let mut bytes = encoded(&transaction);
            let cut = cut.index(bytes.len());
            prop_assert!(Transaction::decode(&bytes[..cut]).is_err());
            bytes.push(0);
            let trailing = Reader::fault_at(bytes.len() - 1, Fault::Trailing);
            prop_assert_eq!(Transaction::decode(&bytes), Err(trailing));
        }

        /// Whatever decodes, encodes to the same bytes: no two encodings of one transaction.
        #[test]
        fn a_changed_byte_is_refused_or_another_transaction(
            transaction in transaction(),
            place in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            let mut bytes = encoded(&transaction);
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            if let Ok(other) = Transaction::decode(&bytes) {
                prop_assert_ne!(other, transaction);
                prop_assert_eq!(encoded(&other), bytes);
            }
        }

        #[test]
        fn ids_differ_between_chains_and_ignore_signatures(transaction in transaction()) {
            let chains = [Hash256::ZERO, Hash256::from_bytes([1; 32])];
            prop_assert_ne!(transaction.id(&chains[0]), transaction.id(&chains[1]));
            let mut resigned = transaction;
            if let Transaction::Transfer { signature, .. } | Transaction::Record { signature, .. } =
                &mut resigned
            {
                signature[0] ^= 1;
                prop_assert_ne!(encoded(&resigned), encoded(&transaction));
            }
            prop_assert_eq!(resigned.id(&chains[0]), transaction.id(&chains[0]));
        }
    }

    #[test]
    fn kinds_and_versions_are_known_and_lengths_are_rules_of_their_own() {
        let account = Account::from_key([3; 32]);
        let payload = [0; PAYLOAD_LEN_MAX + 1];
        let record = Transaction::Record {
            from: account,
            fee: 0,
            nonce: u64::MAX,
            tag: b"",
            payload: &payload,
            signature: [9; SIGNATURE_LEN],
        };
        let bytes = encoded(&record);
        assert_eq!(Transaction::decode(&bytes), Ok(record));
        // Kind, version and the kind of the account.
        for (place, value) in [(0, 3), (0, 255), (1, 0), (1, 2), (2, 1)] {
            let mut unknown = bytes.clone();
            unknown[place] = value;
            let expected = Reader::fault_at(place, Fault::Unknown);
            assert_eq!(Transaction::decode(&unknown), Err(expected), "byte {place} = {value}");
        }
    }
}
