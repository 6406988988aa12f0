//! Every rule that a body must obey whatever the state, as a checklist.
//!
//! In the order in which they are judged: encoding, Merkle root, repeated ids, then the shape. Within the
//! shape the block as a whole comes first, then the transactions from the first on, and for each of
//! them the rules in the order of their enum. Signatures come after all of this, see
//! [`crate::signature`], and the state comes last, see [`super::State`].

use crate::primitives::Hash256;
use crate::verdict::Violation;

use super::transaction::{MEMO_LEN_MAX, PAYLOAD_LEN_MAX, TAG_LEN_MAX};
use super::{Block, Params, Transaction};

/// What the transactions of a block say, as far as the rules on its shape need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Height and amount of the first transaction, if it is a reward.
    reward: Option<(u64, u64)>,
    /// What all of them pay.
    fees: u128,
    /// The first that breaks a rule, the reward aside.
    fault: Option<(u32, Violation)>,
}

impl Shape {
    /// Takes the next transaction, which has this index.
    #[inline]
    pub(super) fn add(&mut self, index: u32, transaction: &Transaction<'_>) {
        self.fees += u128::from(transaction.fee());
        match transaction {
            Transaction::Reward { height, amount, .. } if index == 0 => {
                self.reward = Some((*height, *amount));
            }
            _ if self.fault.is_none() => {
                let violation = BodyRules::check_transaction(index, transaction).err();
                self.fault = violation.map(|violation| (index, violation));
            }
            _ => {}
        }
    }
}

/// The body rules of one ledger.
#[derive(Clone, Copy, Debug)]
pub struct BodyRules<'a> {
    params: &'a Params,
}

impl<'a> BodyRules<'a> {
    /// The rules of `params`.
    #[must_use]
    pub const fn new(params: &'a Params) -> Self {
        Self { params }
    }

    /// Decodes a block.
    ///
    /// # Errors
    /// [`Violation::BadEncoding`].
    pub fn decode<'b>(&self, bytes: &'b [u8]) -> Result<Block<'b>, Violation> {
        Block::decode(bytes).map_err(|error| Violation::BadEncoding {
            transaction: error.transaction,
            malformed: error.malformed,
        })
    }

    /// Judges the root that the header names; `computed` is that of the transactions.
    ///
    /// # Errors
    /// [`Violation::BadTxnMrklRoot`].
    pub fn check_merkle_root(&self, block: &Block<'_>, computed: Hash256) -> Result<(), Violation> {
        let found = block.header.merkle_root();
        if computed == found { Ok(()) } else { Err(Violation::BadTxnMrklRoot { computed, found }) }
    }

    /// Judges what the transactions say, but for signatures and the state. `height` is that of the
    /// block, unless it is not known.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_shape(&self, block: &Block<'_>, height: Option<u32>) -> Result<(), Violation> {
        let most = self.params.block_bytes_max();
        let found = block.encoded_len() as u64;
        if found > most {
            return Err(Violation::BadBlkLength { most, found });
        }
        if block.count() == 0 {
            return Err(Violation::EmptyBlock);
        }
        let unknown = block.unknown().map(|(transaction, malformed)| {
            (transaction, Violation::BadTxKind { transaction, malformed })
        });
        if let Some((0, violation)) = unknown {
            return Err(violation);
        }
        let Shape { reward, fees, fault } = block.shape;
        // What a transaction of an unknown kind pays is not known.
        let fees = unknown.is_none().then_some(fees);
        self.check_reward(reward, height, fees)?;
        let first = fault.into_iter().chain(unknown).min_by_key(|(index, _)| *index);
        first.map_or(Ok(()), |(_, violation)| Err(violation))
    }

    /// The first transaction is the reward, and pays no more than it may. `reward` is what it says of
    /// height and amount, and `fees` are those of all others, if they are known.
    fn check_reward(
        &self,
        reward: Option<(u64, u64)>,
        height: Option<u32>,
        fees: Option<u128>,
    ) -> Result<(), Violation> {
        let (claimed, amount) = reward.ok_or(Violation::BadCbMissing)?;
        let Some(height) = height.map(u64::from) else { return Ok(()) };
        if claimed != height {
            return Err(Violation::BadCbHeight { required: height, found: claimed });
        }
        let Some(fees) = fees else { return Ok(()) };
        let most = u128::from(self.params.subsidy(height)) + fees;
        if u128::from(amount) > most {
            return Err(Violation::BadCbAmount { most, found: amount });
        }
        Ok(())
    }

    /// Judges a transaction behind the first, at `index` of its block.
    ///
    /// # Errors
    /// The first rule that is broken.
    #[inline]
    pub fn check_transaction(index: u32, transaction: &Transaction<'_>) -> Result<(), Violation> {
        match *transaction {
            Transaction::Reward { .. } => Err(Violation::BadCbMultiple { transaction: index }),
            Transaction::Transfer { amount, fee, memo, .. } => {
                check_length(index, "memo", memo, 0..=MEMO_LEN_MAX)?;
                if amount == 0 || amount.checked_add(fee).is_none() {
                    return Err(Violation::BadTxAmount { transaction: index, amount, fee });
                }
                Ok(())
            }
            Transaction::Record { tag, payload, .. } => {
                check_length(index, "tag", tag, 1..=TAG_LEN_MAX)?;
                check_length(index, "payload", payload, 0..=PAYLOAD_LEN_MAX)
            }
        }
    }
}

fn check_length(
    transaction: u32,
    field: &'static str,
    bytes: &[u8],
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<(), Violation> {
    let found = bytes.len();
    if allowed.contains(&found) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    Err(Violation::BadTxPayload { transaction, field, least, most, found })
}
