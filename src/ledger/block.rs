//! Blocks of a ledger as bytes.
//!
//! # Encoding
//!
//! | field | bytes |
//! |---|---|
//! | header | 80 |
//! | transactions | v count, then for each: v length, encoding (see [`super::Transaction`]) |
//!
//! Numbers marked *v* are of varying size (see [`crate::wire`]). Whether a block may have no transactions,
//! or be as long as it is, are rules of their own: any count decodes that the bytes can hold.

use crate::primitives::{Hash256, Header, rfc6962};
use crate::wire::{Fault, Malformed, MalformedBlock, Reader, put_prefixed, put_varint};

use super::body_rules::Shape;
use super::effects::Collector;
use super::{Account, Effects, Transaction};

/// The shortest transaction, a reward: kind, version, account and three numbers; with its length.
/// Counts are held against it, so none of another kind may be shorter on the average.
const TRANSACTION_LEN_MIN: usize = 1 + 2 + Account::LEN + 3;

/// A block that borrows from the bytes it was decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The header.
    pub header: Header,
    /// The bytes of each transaction, which are the leaves of the Merkle tree.
    leaves: Vec<&'a [u8]>,
    /// The first transaction of an unknown kind or version.
    unknown: Option<(u32, Malformed)>,
    /// What the rules on its shape need to know of its transactions.
    pub(super) shape: Shape,
    effects: Effects,
    len: usize,
}

impl<'a> Block<'a> {
    /// Decodes a block that fills `bytes`.
    ///
    /// A transaction of a kind or version that is not known is no fault here: its bytes are a leaf of
    /// the Merkle tree like any other, and only with the right root do they show what a miner meant.
    ///
    /// # Errors
    /// The first byte that is wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MalformedBlock> {
        let mut reader = Reader::new(bytes);
        let header = Header::from_bytes(reader.array()?);
        let count = reader.count(TRANSACTION_LEN_MIN)?;
        let mut leaves = Vec::with_capacity(count);
        let (mut unknown, mut shape) = (None, Shape::default());
        let mut effects = Collector::with_capacity(count);
        for index in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            let at = |malformed| MalformedBlock { transaction: Some(index), malformed };
            let leaf = reader.prefixed(bytes.len()).map_err(at)?;
            let end = reader.offset();
            match Transaction::decode(leaf) {
                Ok(transaction) => {
                    shape.add(index, &transaction);
                    effects.add(&transaction, end);
                }
                Err(fault) if fault.fault == Fault::Unknown => {
                    unknown.get_or_insert((index, fault));
                    effects.add_unknown();
                }
                Err(fault) => {
                    let offset = end - leaf.len() + fault.offset;
                    return Err(at(Malformed { offset, ..fault }));
                }
            }
            leaves.push(leaf);
        }
        reader.finish()?;
        let effects = effects.finish();
        Ok(Self { header, leaves, unknown, shape, effects, len: bytes.len() })
    }

    /// The number of transactions.
    #[must_use]
    pub fn count(&self) -> u32 {
        // A block of 2^32 transactions would have 160 GB.
        u32::try_from(self.leaves.len()).unwrap_or(u32::MAX)
    }

    /// The length of the encoding in bytes, header included.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.len
    }

    /// The bytes of each transaction, which are the leaves of the Merkle tree.
    #[must_use]
    pub fn leaves(&self) -> &[&'a [u8]] {
        &self.leaves
    }

    /// The first transaction of a kind or version that is not known, and the byte that says so,
    /// counted from the transaction's first.
    #[must_use]
    pub const fn unknown(&self) -> Option<(u32, Malformed)> {
        self.unknown
    }

    /// What its transactions do to the accounts.
    #[must_use]
    pub const fn effects(&self) -> &Effects {
        &self.effects
    }

    /// The same, without the bytes.
    #[must_use]
    pub fn into_effects(self) -> Effects {
        self.effects
    }

    /// The transactions with their indices, but for those of an unknown kind.
    pub fn transactions(
        &self,
    ) -> impl DoubleEndedIterator<Item = (u32, Transaction<'a>)> + use<'a, '_> {
        let decoded = self.leaves.iter().zip(0..self.count());
        decoded.filter_map(|(leaf, index)| Some((index, Transaction::decode(leaf).ok()?)))
    }

    /// Appends the encoding of a block.
    pub fn encode(header: &Header, transactions: &[Transaction<'_>], out: &mut Vec<u8>) {
        out.extend_from_slice(header.as_bytes());
        put_varint(out, transactions.len() as u64);
        let mut leaf = Vec::new();
        for transaction in transactions {
            leaf.clear();
            transaction.encode(&mut leaf);
            put_prefixed(out, &leaf);
        }
    }

    /// Appends the encoding of a block whose transactions are encoded already.
    #[cfg(feature = "mine")]
    pub(super) fn encode_leaves(header: &Header, leaves: &[&[u8]], out: &mut Vec<u8>) {
        out.extend_from_slice(header.as_bytes());
        put_varint(out, leaves.len() as u64);
        for leaf in leaves {
            put_prefixed(out, leaf);
        }
    }

    /// The root that the header must name: RFC 6962 over the transactions' bytes, on the CPU.
    #[must_use]
    pub fn merkle_root(&self) -> Hash256 {
        let mut frontier = rfc6962::Frontier::default();
        self.leaves.iter().for_each(|leaf| frontier.push(rfc6962::leaf_hash(leaf)));
        frontier.root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::SIGNATURE_LEN;

    fn header() -> Header {
        Header::from_bytes([7; Header::LEN])
    }

    fn transactions() -> [Transaction<'static>; 3] {
        let account = Account::from_key([1; 32]);
        [
            Transaction::Reward { height: 5, to: account, amount: 50, extranonce: 0 },
            Transaction::Transfer {
                from: account,
                to: account,
                amount: 300,
                fee: 1,
                nonce: 0,
                memo: b"",
                signature: [2; SIGNATURE_LEN],
            },
            Transaction::Record {
                from: account,
                fee: 1,
                nonce: 1,
                tag: b"review",
                payload: b"good",
                signature: [3; SIGNATURE_LEN],
            },
        ]
    }

    fn encoded(transactions: &[Transaction<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Block::encode(&header(), transactions, &mut bytes);
        bytes
    }

    #[test]
    fn blocks_come_back_with_any_number_of_transactions() {
        for count in 0..=3 {
            let bytes = encoded(&transactions()[..count]);
            let block = Block::decode(&bytes).expect("an encoding");
            let decoded: Vec<_> = block.transactions().map(|(_, each)| each).collect();
            assert_eq!((block.header, &decoded[..]), (header(), &transactions()[..count]));
            assert_eq!((block.encoded_len(), block.unknown()), (bytes.len(), None));
            let expected = transactions();
            let leaves = expected[..count].iter().map(|transaction| {
                let mut leaf = Vec::new();
                transaction.encode(&mut leaf);
                rfc6962::leaf_hash(&leaf)
            });
            assert_eq!(block.merkle_root(), rfc6962::root(&leaves.collect::<Vec<_>>()));
        }
        // The shortest transaction is as short as the count's check assumes.
        let reward = Transaction::Reward {
            height: 0,
            to: Account::from_key([0; 32]),
            amount: 0,
            extranonce: 0,
        };
        assert_eq!(encoded(&[reward]).len(), Header::LEN + 1 + TRANSACTION_LEN_MIN);
    }

    #[test]
    fn faults_name_the_transaction_and_the_byte_of_the_block() {
        let bytes = encoded(&transactions());
        for cut in 0..bytes.len() {
            let error = Block::decode(&bytes[..cut]).expect_err("a cut block");
            assert!(error.malformed.offset <= cut, "{cut}");
        }
        let trailing = Block::decode(&[&bytes[..], &[0]].concat()).expect_err("a longer block");
        let expected = Malformed { offset: bytes.len(), fault: Fault::Trailing };
        assert_eq!(trailing, MalformedBlock::from(expected));
        // In the second transaction: header, count, the reward and two lengths come before it.
        let mut wrong = bytes.clone();
        let reward_len = usize::from(bytes[Header::LEN + 1]);
        let length_at = Header::LEN + 2 + reward_len;
        let length_len = if bytes[length_at] & 0x80 == 0 { 1 } else { 2 };
        let start = length_at + length_len;
        wrong[start + 1] = 9; // its version
        let block = Block::decode(&wrong).expect("a leaf all the same");
        let unknown = Malformed { offset: 1, fault: Fault::Unknown };
        assert_eq!((block.unknown(), block.count()), (Some((1, unknown)), 3));
        assert_eq!(block.transactions().map(|(index, _)| index).collect::<Vec<_>>(), [0, 2]);
        // Its amount, not in its shortest form.
        let mut wrong = bytes.clone();
        let amount_at = start + 2 + 2 * Account::LEN;
        assert_eq!(wrong[amount_at..amount_at + 2], [0xac, 2]); // 300
        wrong[amount_at + 1] = 0;
        let expected = MalformedBlock {
            transaction: Some(1),
            malformed: Malformed { offset: amount_at, fault: Fault::NotMinimal },
        };
        assert_eq!(Block::decode(&wrong), Err(expected));
        // A count that the bytes cannot hold reserves nothing.
        let mut lying = header().as_bytes().to_vec();
        put_varint(&mut lying, u64::MAX);
        let expected = Malformed { offset: Header::LEN, fault: Fault::TooLarge };
        assert_eq!(Block::decode(&lying), Err(expected.into()));
    }

    #[test]
    fn a_changed_byte_is_refused_or_another_block() {
        let bytes = encoded(&transactions());
        let original = Block::decode(&bytes).expect("an encoding");
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                if let Ok(block) = Block::decode(&changed) {
                    assert_ne!(block, original);
                    if block.unknown().is_none() {
                        let decoded: Vec<_> = block.transactions().map(|(_, each)| each).collect();
                        let mut again = Vec::new();
                        Block::encode(&block.header, &decoded, &mut again);
                        assert_eq!(again, changed);
                    }
                }
            }
        }
    }
}
