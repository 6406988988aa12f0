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
    /// Neighbouring stretches of transactions are equal, so that another list of them has the same root
    /// (CVE-2012-2459); in a ledger, any two have one id.  (Core: `CheckMerkleRoot`.)
    BadTxnsDuplicate,
    /// The block holds no transaction, or is longer than allowed, without witnesses.  (Core: `CheckBlock`.)
    BadBlkLength,
    /// Ledger: a transaction of a kind or version that these rules do not know.
    BadTxKind,
    /// The first transaction is no coinbase; of a ledger, no reward.  (Core: `CheckBlock`.)
    BadCbMissing,
    /// There is a second one.  (Core: `CheckBlock`.)
    BadCbMultiple,
    /// A transaction has no inputs.  (Core: `CheckTransaction`.)
    BadTxnsVinEmpty,
    /// A transaction has no outputs.  (Core: `CheckTransaction`.)
    BadTxnsVoutEmpty,
    /// A transaction is longer than a block may be.  (Core: `CheckTransaction`.)
    BadTxnsOversize,
    /// An output has a negative value.  (Core: `CheckTransaction`.)
    BadTxnsVoutNegative,
    /// An output has more than 21 million bitcoin.  (Core: `CheckTransaction`, `MAX_MONEY`.)
    BadTxnsVoutToolarge,
    /// The outputs of a transaction have more than that together.  (Core: `CheckTransaction`.)
    BadTxnsTxouttotalToolarge,
    /// Two inputs of a transaction spend one output (CVE-2018-17144).  (Core: `CheckTransaction`.)
    BadTxnsInputsDuplicate,
    /// The script of the coinbase is not of 2 to 100 bytes.  (Core: `CheckTransaction`.)
    BadCbLength,
    /// An input of a transaction that is no coinbase spends nothing.  (Core: `CheckTransaction`.)
    BadTxnsPrevoutNull,
    /// The signature operations that can be counted without inputs cost more than 80,000.  (Core:
    /// `CheckBlock`, `GetLegacySigOpCount`.)
    BadBlkSigops,
    /// A transaction is locked beyond this block; from BIP113 on, beyond the median time of the eleven
    /// blocks before.  (Core: `ContextualCheckBlock`, `IsFinalTx`.)
    BadTxnsNonfinal,
    /// BIP34: the coinbase does not begin with the height of its block; of a ledger, the reward names
    /// another height.  (Core: `ContextualCheckBlock`.)
    BadCbHeight,
    /// BIP141: the coinbase of a block with a witness commitment has no witness of one item of 32 bytes.
    /// (Core: `CheckWitnessMalleation`.)
    BadWitnessNonceSize,
    /// BIP141: the witness commitment is not that to the witnesses.  (Core: `CheckWitnessMalleation`.)
    BadWitnessMerkleMatch,
    /// BIP141: a witness where none is committed to, or before segwit.  (Core: `CheckWitnessMalleation`.)
    UnexpectedWitness,
    /// BIP141: a weight above 4,000,000.  (Core: `ContextualCheckBlock`.)
    BadBlkWeight,
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
    pub const ALL: [Self; 36] = [
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
        Self::BadTxnsVinEmpty,
        Self::BadTxnsVoutEmpty,
        Self::BadTxnsOversize,
        Self::BadTxnsVoutNegative,
        Self::BadTxnsVoutToolarge,
        Self::BadTxnsTxouttotalToolarge,
        Self::BadTxnsInputsDuplicate,
        Self::BadCbLength,
        Self::BadTxnsPrevoutNull,
        Self::BadBlkSigops,
        Self::BadTxnsNonfinal,
        Self::BadCbHeight,
        Self::BadWitnessNonceSize,
        Self::BadWitnessMerkleMatch,
        Self::UnexpectedWitness,
        Self::BadBlkWeight,
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
            Self::BadTxnsVinEmpty => "bad-txns-vin-empty",
            Self::BadTxnsVoutEmpty => "bad-txns-vout-empty",
            Self::BadTxnsOversize => "bad-txns-oversize",
            Self::BadTxnsVoutNegative => "bad-txns-vout-negative",
            Self::BadTxnsVoutToolarge => "bad-txns-vout-toolarge",
            Self::BadTxnsTxouttotalToolarge => "bad-txns-txouttotal-toolarge",
            Self::BadTxnsInputsDuplicate => "bad-txns-inputs-duplicate",
            Self::BadCbLength => "bad-cb-length",
            Self::BadTxnsPrevoutNull => "bad-txns-prevout-null",
            Self::BadBlkSigops => "bad-blk-sigops",
            Self::BadTxnsNonfinal => "bad-txns-nonfinal",
            Self::BadCbHeight => "bad-cb-height",
            Self::BadWitnessNonceSize => "bad-witness-nonce-size",
            Self::BadWitnessMerkleMatch => "bad-witness-merkle-match",
            Self::UnexpectedWitness => "unexpected-witness",
            Self::BadBlkWeight => "bad-blk-weight",
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
        matches!(
            self,
            Self::BadEncoding
                | Self::BadTxnMrklRoot
                | Self::BadTxnsDuplicate
                | Self::BadWitnessNonceSize
                | Self::BadWitnessMerkleMatch
                | Self::UnexpectedWitness
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
