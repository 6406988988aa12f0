//! A broken rule together with its evidence: what was required, what was found.

use crate::primitives::{CompactTarget, Hash256, InvalidBits, Target};
use crate::signature::InvalidSignature;
use crate::wire::Malformed;

use super::block_violation::counted;
use super::{BlockViolation, Rule};

/// How a block breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// [`Rule::HighHash`]: the id is above the target that the header names.
    HighHash {
        /// The header's own target.
        target: Target,
        /// The id.
        id: Hash256,
    },
    /// [`Rule::HighHash`]: the bits name no target that the network allows.
    InvalidBits {
        /// What is wrong with them.
        why: InvalidBits,
        /// The bits of the header.
        bits: CompactTarget,
        /// The network's easiest target.
        limit: Target,
    },
    /// [`Rule::BadPrevBlk`]: the parent was rejected.
    BadPrevBlk {
        /// The parent's id.
        parent: Hash256,
    },
    /// [`Rule::BadDiffBits`]: other bits are required here.
    BadDiffBits {
        /// The bits that the difficulty rule gives.
        required: CompactTarget,
        /// The bits of the header.
        found: CompactTarget,
    },
    /// [`Rule::BadDiffBits`]: the required bits follow from blocks before a trusted start, but no
    /// such blocks could lead to these.
    BadDiffBitsStep {
        /// The hardest bits one retarget can reach from the parent's.
        hardest: CompactTarget,
        /// The easiest.
        easiest: CompactTarget,
        /// The bits of the header.
        found: CompactTarget,
    },
    /// [`Rule::TimeTooOld`]: the time is not after the median.
    TimeTooOld {
        /// The median time past: of the parent and the ten blocks before it, or `None` where a
        /// trusted start hides some of them and the rest already forbid this time.
        median: Option<u32>,
        /// The time of the header.
        found: u32,
    },
    /// [`Rule::TimeTimewarpAttack`]: too far before the parent at the start of a period.
    TimeTimewarpAttack {
        /// The earliest time allowed.
        earliest: u32,
        /// The time of the header.
        found: u32,
    },
    /// [`Rule::TimeTooNew`]: too far after the clock.
    TimeTooNew {
        /// The latest time allowed.
        latest: u64,
        /// The time of the header.
        found: u32,
    },
    /// [`Rule::BadVersion`]: an outdated version.
    BadVersion {
        /// The lowest version allowed at this height.
        lowest: i32,
        /// The version of the header.
        found: i32,
    },
    /// [`Rule::BadVersion`]: a version that these rules do not know.
    UnknownVersion {
        /// The only version that is known.
        known: i32,
        /// The version of the header.
        found: i32,
    },
    /// [`Rule::BadEncoding`]: not the canonical encoding of a block.
    BadEncoding {
        /// The transaction at fault; `None` if it is the block around them.
        transaction: Option<u32>,
        /// What is wrong; the offset counts from the block's first byte.
        malformed: Malformed,
    },
    /// A rule on the bodies of Bitcoin's blocks.
    Block(BlockViolation),
    /// [`Rule::BadTxnMrklRoot`]: another root than that of a ledger's transactions.
    BadTxnMrklRoot {
        /// The root of the transactions.
        computed: Hash256,
        /// The root in the header.
        found: Hash256,
    },
    /// [`Rule::BadTxnsDuplicate`]: a transaction that stands in the block before.
    BadTxnsDuplicate {
        /// The later one.
        transaction: u32,
        /// The earlier one.
        earlier: u32,
        /// Their id.
        id: Hash256,
    },
    /// [`Rule::BadBlkLength`]: no transactions.
    EmptyBlock,
    /// [`Rule::BadBlkLength`]: too long.
    BadBlkLength {
        /// The most bytes.
        most: u64,
        /// The block's bytes.
        found: u64,
    },
    /// [`Rule::BadTxKind`]: a kind or version that these rules do not know.
    BadTxKind {
        /// The transaction.
        transaction: u32,
        /// Where it says so; the offset counts from the transaction's first byte.
        malformed: Malformed,
    },
    /// [`Rule::BadCbMissing`]: the first transaction of a ledger's block is no reward.
    BadCbMissing,
    /// [`Rule::BadCbMultiple`]: a reward behind the first transaction of a ledger's block.
    BadCbMultiple {
        /// The transaction.
        transaction: u32,
    },
    /// [`Rule::BadCbHeight`]: the reward of another height.
    BadCbHeight {
        /// The height of the block.
        required: u64,
        /// The height in the reward.
        found: u64,
    },
    /// [`Rule::BadCbAmount`]: more than subsidy and fees.
    BadCbAmount {
        /// Subsidy and fees.
        most: u128,
        /// The reward.
        found: u64,
    },
    /// [`Rule::BadTxPayload`]: a memo, tag or payload of a length that is not allowed.
    BadTxPayload {
        /// The transaction.
        transaction: u32,
        /// Which field.
        field: &'static str,
        /// The fewest bytes.
        least: usize,
        /// The most bytes.
        most: usize,
        /// Its bytes.
        found: usize,
    },
    /// [`Rule::BadTxAmount`]: the amount is zero, or too large together with the fee.
    BadTxAmount {
        /// The transaction.
        transaction: u32,
        /// The amount.
        amount: u64,
        /// The fee.
        fee: u64,
    },
    /// [`Rule::BadTxSignature`]: not the sender's signature.
    BadTxSignature {
        /// The transaction.
        transaction: u32,
        /// What is wrong with it.
        fault: InvalidSignature,
    },
    /// [`Rule::BadTxNonce`]: a nonce that is not the sender's next.
    BadTxNonce {
        /// The transaction.
        transaction: u32,
        /// The sender's next nonce.
        required: u64,
        /// The nonce of the transaction.
        found: u64,
    },
    /// [`Rule::BadTxBalance`]: more than the sender has.
    BadTxBalance {
        /// The transaction.
        transaction: u32,
        /// The sender's balance.
        balance: u64,
        /// Amount and fee.
        needed: u64,
    },
}

impl Violation {
    /// The rule that is broken.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        match self {
            Self::HighHash { .. } | Self::InvalidBits { .. } => Rule::HighHash,
            Self::BadPrevBlk { .. } => Rule::BadPrevBlk,
            Self::BadDiffBits { .. } | Self::BadDiffBitsStep { .. } => Rule::BadDiffBits,
            Self::TimeTooOld { .. } => Rule::TimeTooOld,
            Self::TimeTimewarpAttack { .. } => Rule::TimeTimewarpAttack,
            Self::TimeTooNew { .. } => Rule::TimeTooNew,
            Self::BadVersion { .. } | Self::UnknownVersion { .. } => Rule::BadVersion,
            Self::BadEncoding { .. } => Rule::BadEncoding,
            Self::Block(violation) => violation.rule(),
            Self::BadTxnMrklRoot { .. } => Rule::BadTxnMrklRoot,
            Self::BadTxnsDuplicate { .. } => Rule::BadTxnsDuplicate,
            Self::EmptyBlock | Self::BadBlkLength { .. } => Rule::BadBlkLength,
            Self::BadTxKind { .. } => Rule::BadTxKind,
            Self::BadCbMissing => Rule::BadCbMissing,
            Self::BadCbMultiple { .. } => Rule::BadCbMultiple,
            Self::BadCbHeight { .. } => Rule::BadCbHeight,
            Self::BadCbAmount { .. } => Rule::BadCbAmount,
            Self::BadTxPayload { .. } => Rule::BadTxPayload,
            Self::BadTxAmount { .. } => Rule::BadTxAmount,
            Self::BadTxSignature { .. } => Rule::BadTxSignature,
            Self::BadTxNonce { .. } => Rule::BadTxNonce,
            Self::BadTxBalance { .. } => Rule::BadTxBalance,
        }
    }

    /// The index in its block of the transaction at fault, if it is one.
    #[must_use]
    pub const fn transaction(&self) -> Option<u32> {
        match self {
            Self::Block(violation) => violation.transaction(),
            Self::BadEncoding { transaction, .. } => *transaction,
            Self::BadCbMissing | Self::BadCbHeight { .. } | Self::BadCbAmount { .. } => Some(0),
            Self::BadTxnsDuplicate { transaction, .. }
            | Self::BadTxKind { transaction, .. }
            | Self::BadCbMultiple { transaction }
            | Self::BadTxPayload { transaction, .. }
            | Self::BadTxAmount { transaction, .. }
            | Self::BadTxSignature { transaction, .. }
            | Self::BadTxNonce { transaction, .. }
            | Self::BadTxBalance { transaction, .. } => Some(*transaction),
            _ => None,
        }
    }

    /// What the rule requires, as text for the report.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::HighHash { target, .. } => format!("at most {target}"),
            Self::InvalidBits { limit, .. } => {
                format!("bits of a positive target of at most {}", limit.to_compact())
            }
            Self::BadPrevBlk { .. } => "a parent that was not rejected".into(),
            Self::BadDiffBits { required, .. } => required.to_string(),
            Self::BadDiffBitsStep { hardest, easiest, .. } => format!("{hardest} to {easiest}"),
            Self::TimeTooOld { median: Some(median), .. } => format!("after {median}"),
            Self::TimeTooOld { median: None, .. } => {
                "after the median of the last eleven, most of which are not before this".into()
            }
            Self::TimeTimewarpAttack { earliest, .. } => format!("at least {earliest}"),
            Self::TimeTooNew { latest, .. } => format!("at most {latest}"),
            Self::BadVersion { lowest, .. } => format!("at least {lowest}"),
            Self::UnknownVersion { known, .. } => known.to_string(),
            Self::BadEncoding { .. } => "the encoding of a block".into(),
            Self::Block(violation) => violation.expected(),
            Self::BadTxnMrklRoot { computed, .. } => hex::encode(computed.as_bytes()),
            Self::BadTxnsDuplicate { .. } => "transactions with ids of their own".into(),
            Self::EmptyBlock => "at least one transaction".into(),
            Self::BadBlkLength { most, .. } => format!("at most {most} bytes"),
            Self::BadTxKind { .. } => "a kind and a version that these rules know".into(),
            Self::BadCbMissing => "a reward first".into(),
            Self::BadCbMultiple { .. } => "one reward".into(),
            Self::BadCbHeight { required, .. } => required.to_string(),
            Self::BadCbAmount { most, .. } => format!("at most {most}"),
            Self::BadTxPayload { field, least, most, .. } => {
                format!("a {field} of {least} to {most} bytes")
            }
            Self::BadTxAmount { .. } => {
                "an amount above zero that does not exceed 64 bits together with the fee".into()
            }
            Self::BadTxSignature { .. } => "the sender's signature".into(),
            Self::BadTxNonce { required, .. } => required.to_string(),
            Self::BadTxBalance { balance, .. } => format!("at most {balance}"),
        }
    }

    /// What stands in the block, as text for the report.
    #[must_use]
    pub fn found(&self) -> String {
        match self {
            Self::HighHash { id, .. } => id.to_string(),
            Self::InvalidBits { why, bits, .. } => format!("{bits} ({why})"),
            Self::BadPrevBlk { parent } => parent.to_string(),
            Self::BadDiffBits { found, .. } | Self::BadDiffBitsStep { found, .. } => {
                found.to_string()
            }
            Self::TimeTooOld { found, .. }
            | Self::TimeTimewarpAttack { found, .. }
            | Self::TimeTooNew { found, .. } => found.to_string(),
            Self::BadVersion { found, .. } | Self::UnknownVersion { found, .. } => {
                format!("{found} (0x{found:08x})")
            }
            Self::BadEncoding { malformed, .. } | Self::BadTxKind { malformed, .. } => {
                malformed.to_string()
            }
            Self::Block(violation) => violation.found(),
            Self::BadTxnMrklRoot { found, .. } => hex::encode(found.as_bytes()),
            Self::BadTxnsDuplicate { earlier, id, .. } => {
                format!("{id}, as transaction {earlier}")
            }
            Self::EmptyBlock => "none".into(),
            Self::BadBlkLength { found, .. } => counted(*found, "byte"),
            Self::BadCbMissing => "another transaction".into(),
            Self::BadCbMultiple { .. } => "another one".into(),
            Self::BadCbHeight { found, .. } | Self::BadTxNonce { found, .. } => found.to_string(),
            Self::BadCbAmount { found, .. } => found.to_string(),
            Self::BadTxPayload { found, .. } => counted(*found as u64, "byte"),
            Self::BadTxAmount { amount, fee, .. } => format!("amount {amount}, fee {fee}"),
            Self::BadTxSignature { fault, .. } => fault.to_string(),
            Self::BadTxBalance { needed, .. } => needed.to_string(),
        }
    }
}
