//! The rules and their ids, a public contract.

use std::fmt;

/// A consensus rule that a block can break, in the order in which rules are judged.
///
/// The ids are Bitcoin Core's reject reasons, up to the first comma, space or parenthesis; those of
/// the ledger that have no counterpart there begin with `bad-tx-`, and `bad-encoding` is our own too.
/// Rules on headers come first; then what the bytes of a body say, signatures, and the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The id does not meet the target, or the bits name no target that the network allows.
    /// (Core: `CheckBlockHeader`, `CheckProofOfWork`.)
    HighHash,
    /// The parent was rejected.  (Core: `AcceptBlockHeader`.)
    BadPrevBlk,
    /// The bits are not those that the difficulty rule requires.
    /// (Core: `ContextualCheckBlockHeader`, `GetNextWorkRequired`.)
    BadDiffBits,
    /// The time is not after the median of the last eleven.  (Core: `ContextualCheckBlockHeader`.)
    TimeTooOld,
    /// BIP94: the first block of a period is more than 600 s before its parent.
    /// (Core: `ContextualCheckBlockHeader`.)
    TimeTimewarpAttack,
    /// The time is more than two hours after the clock.  (Core: `ContextualCheckBlockHeader`.)
    TimeTooNew,
    /// The version is below what BIP34, BIP66 or BIP65 ask for at this height; in a ledger, it is not
    /// the version of its rules.  (Core: `ContextualCheckBlockHeader`.)
    BadVersion,
    /// The bytes of the body are no encoding of a block.
    BadEncoding,
    /// The Merkle root is not that of the transactions.  (Core: `CheckMerkleRoot`.)
    BadTxnMrklRoot,
    /// Two transactions have one id.  (Core: `CheckMerkleRoot`.)
    BadTxnsDuplicate,
    /// The block holds no transaction, or is longer than allowed.  (Core: `CheckBlock`.)
    BadBlkLength,
    /// Ledger: a transaction of a kind or version that these rules do not know.
    BadTxKind,
    /// The first transaction is no reward.  (Core: `CheckBlock`.)
    BadCbMissing,
    /// There is a second reward.  (Core: `CheckBlock`.)
    BadCbMultiple,
    /// The reward names another height.  (Core: `ContextualCheckBlock`.)
    BadCbHeight,
    /// The reward is more than subsidy and fees.  (Core: `ConnectBlock`.)
    BadCbAmount,
    /// Ledger: a memo, tag or payload is longer than allowed, or a tag is empty.
    BadTxPayload,
    /// Ledger: an amount is zero, or amount and fee together exceed 64 bits.
    BadTxAmount,
    /// Ledger: the signature is not the sender's on this transaction.
    BadTxSignature,
    /// Ledger: the nonce is not the number of transactions that the sender made before.
    BadTxNonce,
    /// Ledger: amount and fee exceed the sender's balance.
    BadTxBalance,
}

impl Rule {
    /// Every rule, in the order in which they are judged.
    pub const ALL: [Self; 21] = [
        Self::HighHash,
        Self::BadPrevBlk,
        Self::BadDiffBits,
        Self::TimeTooOld,
        Self::TimeTimewarpAttack,
        Self::TimeTooNew,
        Self::BadVersion,
        Self::BadEncoding,
        Self::BadTxnMrklRoot,
        Self::BadTxnsDuplicate,
        Self::BadBlkLength,
        Self::BadTxKind,
        Self::BadCbMissing,
        Self::BadCbMultiple,
        Self::BadCbHeight,
        Self::BadCbAmount,
        Self::BadTxPayload,
        Self::BadTxAmount,
        Self::BadTxSignature,
        Self::BadTxNonce,
        Self::BadTxBalance,
    ];

    /// The id that reports carry.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::HighHash => "high-hash",
            Self::BadPrevBlk => "bad-prevblk",
            Self::BadDiffBits => "bad-diffbits",
            Self::TimeTooOld => "time-too-old",
            Self::TimeTimewarpAttack => "time-timewarp-attack",
            Self::TimeTooNew => "time-too-new",
            Self::BadVersion => "bad-version",
            Self::BadEncoding => "bad-encoding",
            Self::BadTxnMrklRoot => "bad-txnmrklroot",
            Self::BadTxnsDuplicate => "bad-txns-duplicate",
            Self::BadBlkLength => "bad-blk-length",
            Self::BadTxKind => "bad-tx-kind",
            Self::BadCbMissing => "bad-cb-missing",
            Self::BadCbMultiple => "bad-cb-multiple",
            Self::BadCbHeight => "bad-cb-height",
            Self::BadCbAmount => "bad-cb-amount",
            Self::BadTxPayload => "bad-tx-payload",
            Self::BadTxAmount => "bad-tx-amount",
            Self::BadTxSignature => "bad-tx-signature",
            Self::BadTxNonce => "bad-tx-nonce",
            Self::BadTxBalance => "bad-tx-balance",
        }
    }
}

impl Rule {
    /// Whether the fault is one of the bytes that came, not of the block that the header names:
    /// another body may yet fit the header. (Source: CVE-2012-2459; Core: `BLOCK_MUTATED`.)
    #[must_use]
    pub const fn is_mutation(self) -> bool {
        matches!(self, Self::BadEncoding | Self::BadTxnMrklRoot | Self::BadTxnsDuplicate)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
