//! How the body of one of Bitcoin's blocks breaks a rule, with the evidence.

use crate::primitives::Hash256;

use super::Rule;

/// How a body breaks a rule that only Bitcoin has, or has in a form of its own. `transaction`, `input` and
/// `output` are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockViolation {
    /// [`Rule::BadTxnMrklRoot`]: another root than that of the transaction ids.
    MerkleRoot {
        /// The root of the transaction ids.
        computed: Hash256,
        /// The root in the header.
        found: Hash256,
    },
    /// [`Rule::BadTxnsDuplicate`]: two neighbouring stretches of transactions are equal, so that the list
    /// without the second has the same root.
    RepeatedTransactions {
        /// The first of the second stretch.
        transaction: u32,
        /// The first of the first stretch.
        earlier: u32,
        /// How many transactions each of them has.
        count: u32,
    },
    /// [`Rule::BadBlkLength`]: too long without witnesses.
    StrippedLength {
        /// The most bytes.
        most: u64,
        /// The block's bytes.
        found: u64,
    },
    /// [`Rule::BadCbMissing`]: the first transaction is no coinbase.
    NoCoinbase,
    /// [`Rule::BadCbMultiple`]: a coinbase behind the first transaction.
    SecondCoinbase {
        /// The transaction.
        transaction: u32,
    },
    /// [`Rule::BadTxnsVinEmpty`].
    NoInputs {
        /// The transaction.
        transaction: u32,
    },
    /// [`Rule::BadTxnsVoutEmpty`].
    NoOutputs {
        /// The transaction.
        transaction: u32,
    },
    /// [`Rule::BadTxnsOversize`].
    TransactionLength {
        /// The transaction.
        transaction: u32,
        /// The most bytes without witnesses.
        most: u64,
        /// The transaction's bytes without witnesses.
        found: u64,
    },
    /// [`Rule::BadTxnsVoutNegative`].
    NegativeValue {
        /// The transaction.
        transaction: u32,
        /// The output.
        output: u32,
        /// Its value in satoshi.
        value: i64,
    },
    /// [`Rule::BadTxnsVoutToolarge`].
    ValueTooLarge {
        /// The transaction.
        transaction: u32,
        /// The output.
        output: u32,
        /// Its value in satoshi.
        value: i64,
    },
    /// [`Rule::BadTxnsTxouttotalToolarge`].
    TotalTooLarge {
        /// The transaction.
        transaction: u32,
        /// The output with which the total is too large.
        output: u32,
        /// The total in satoshi.
        total: i64,
    },
    /// [`Rule::BadTxnsInputsDuplicate`].
    RepeatedInput {
        /// The transaction.
        transaction: u32,
        /// The later input.
        input: u32,
        /// The earlier one.
        earlier: u32,
    },
    /// [`Rule::BadCbLength`].
    CoinbaseScriptLength {
        /// The bytes of its script.
        found: u64,
    },
    /// [`Rule::BadTxnsPrevoutNull`].
    NullPrevout {
        /// The transaction.
        transaction: u32,
        /// The input.
        input: u32,
    },
    /// [`Rule::BadBlkSigops`].
    SignatureOperations {
        /// The most that a block may cost.
        most: u64,
        /// What those cost that can be counted without inputs.
        found: u64,
    },
    /// [`Rule::BadTxnsNonfinal`].
    NotFinal {
        /// The transaction.
        transaction: u32,
        /// Its lock time.
        lock_time: u32,
        /// The height, or the time, that must be above it.
        reached: u32,
        /// Whether it is a time.
        is_time: bool,
    },
    /// [`Rule::BadCbHeight`]: the coinbase does not begin with the height.
    CoinbaseHeight {
        /// The height of the block.
        height: u32,
        /// How the script begins.
        found: ScriptStart,
        /// The height that it names, if that is one.
        named: Option<u32>,
    },
    /// [`Rule::BadWitnessNonceSize`].
    WitnessNonce {
        /// How many items the coinbase's witness has.
        items: u64,
        /// The bytes of the first.
        len: u64,
    },
    /// [`Rule::BadWitnessMerkleMatch`].
    WitnessCommitment {
        /// The commitment to the witnesses.
        computed: Hash256,
        /// The one in the coinbase.
        found: Hash256,
    },
    /// [`Rule::UnexpectedWitness`].
    UnexpectedWitness {
        /// The first transaction that has one.
        transaction: u32,
        /// Whether segwit is active, so that a commitment would allow it.
        is_active: bool,
    },
    /// [`Rule::BadBlkWeight`].
    Weight {
        /// The largest weight.
        most: u64,
        /// The block's weight.
        found: u64,
    },
}

/// The first bytes of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptStart {
    bytes: [u8; Self::LEN],
    len: u8,
}

impl ScriptStart {
    const LEN: usize = 6;

    /// The first bytes of `script`.
    #[must_use]
    pub fn of(script: &[u8]) -> Self {
        let mut bytes = [0; Self::LEN];
        let len = script.len().min(Self::LEN);
        bytes[..len].copy_from_slice(&script[..len]);
        Self { bytes, len: u8::try_from(len).expect("six at most") }
    }
}

/// A number of things, as text.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl BlockViolation {
    /// The rule that is broken.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        match self {
            Self::MerkleRoot { .. } => Rule::BadTxnMrklRoot,
            Self::RepeatedTransactions { .. } => Rule::BadTxnsDuplicate,
            Self::StrippedLength { .. } => Rule::BadBlkLength,
            Self::NoCoinbase => Rule::BadCbMissing,
            Self::SecondCoinbase { .. } => Rule::BadCbMultiple,
            Self::NoInputs { .. } => Rule::BadTxnsVinEmpty,
            Self::NoOutputs { .. } => Rule::BadTxnsVoutEmpty,
            Self::TransactionLength { .. } => Rule::BadTxnsOversize,
            Self::NegativeValue { .. } => Rule::BadTxnsVoutNegative,
            Self::ValueTooLarge { .. } => Rule::BadTxnsVoutToolarge,
            Self::TotalTooLarge { .. } => Rule::BadTxnsTxouttotalToolarge,
            Self::RepeatedInput { .. } => Rule::BadTxnsInputsDuplicate,
            Self::CoinbaseScriptLength { .. } => Rule::BadCbLength,
            Self::NullPrevout { .. } => Rule::BadTxnsPrevoutNull,
            Self::SignatureOperations { .. } => Rule::BadBlkSigops,
            Self::NotFinal { .. } => Rule::BadTxnsNonfinal,
            Self::CoinbaseHeight { .. } => Rule::BadCbHeight,
            Self::WitnessNonce { .. } => Rule::BadWitnessNonceSize,
            Self::WitnessCommitment { .. } => Rule::BadWitnessMerkleMatch,
            Self::UnexpectedWitness { .. } => Rule::UnexpectedWitness,
            Self::Weight { .. } => Rule::BadBlkWeight,
        }
    }

    /// The index in its block of the transaction at fault, if it is one.
    #[must_use]
    pub const fn transaction(&self) -> Option<u32> {
        match self {
            Self::MerkleRoot { .. }
            | Self::StrippedLength { .. }
            | Self::SignatureOperations { .. }
            | Self::Weight { .. } => None,
            Self::NoCoinbase
            | Self::CoinbaseScriptLength { .. }
            | Self::CoinbaseHeight { .. }
            | Self::WitnessNonce { .. }
            | Self::WitnessCommitment { .. } => Some(0),
            Self::RepeatedTransactions { transaction, .. }
            | Self::SecondCoinbase { transaction }
            | Self::NoInputs { transaction }
            | Self::NoOutputs { transaction }
            | Self::TransactionLength { transaction, .. }
            | Self::NegativeValue { transaction, .. }
            | Self::ValueTooLarge { transaction, .. }
            | Self::TotalTooLarge { transaction, .. }
            | Self::RepeatedInput { transaction, .. }
            | Self::NullPrevout { transaction, .. }
            | Self::NotFinal { transaction, .. }
            | Self::UnexpectedWitness { transaction, .. } => Some(*transaction),
        }
    }

    /// What the rule requires, as text for the report.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::MerkleRoot { computed, .. } | Self::WitnessCommitment { computed, .. } => {
                computed.to_string()
            }
            Self::RepeatedTransactions { .. } => {
                "no two equal stretches of transactions side by side".into()
            }
            Self::StrippedLength { most, .. } | Self::TransactionLength { most, .. } => {
                format!("at most {most} bytes without witnesses")
            }
            Self::NoCoinbase => "a coinbase first".into(),
            Self::SecondCoinbase { .. } => "one coinbase".into(),
            Self::NoInputs { .. } => "at least one input".into(),
            Self::NoOutputs { .. } => "at least one output".into(),
            Self::NegativeValue { .. } => "outputs of at least 0 satoshi".into(),
            Self::ValueTooLarge { .. } => "outputs of at most 21 million bitcoin".into(),
            Self::TotalTooLarge { .. } => "outputs of at most 21 million bitcoin together".into(),
            Self::RepeatedInput { .. } => "inputs that spend different outputs".into(),
            Self::CoinbaseScriptLength { .. } => "a coinbase script of 2 to 100 bytes".into(),
            Self::NullPrevout { .. } => "inputs that spend an output".into(),
            Self::SignatureOperations { most, .. } => {
                format!("signature operations that cost at most {most}")
            }
            Self::NotFinal { reached, is_time, .. } => {
                let what = if *is_time { "time" } else { "height" };
                format!("a lock time before {what} {reached}, or final sequence numbers")
            }
            Self::CoinbaseHeight { height, .. } => {
                format!("height {height} at the start of the coinbase script")
            }
            Self::WitnessNonce { .. } => "one item of 32 bytes as the coinbase's witness".into(),
            Self::UnexpectedWitness { is_active, .. } => {
                let why =
                    if *is_active { "in a block without a commitment" } else { "before segwit" };
                format!("no witness {why}")
            }
            Self::Weight { most, .. } => format!("a weight of at most {most}"),
        }
    }

    /// What stands in the block, as text for the report.
    #[must_use]
    pub fn found(&self) -> String {
        match self {
            Self::MerkleRoot { found, .. } | Self::WitnessCommitment { found, .. } => {
                found.to_string()
            }
            Self::RepeatedTransactions { transaction, earlier, count: 1 } => {
                format!("transaction {earlier} again as {transaction}")
            }
            Self::RepeatedTransactions { transaction, earlier, count } => format!(
                "transactions {earlier} to {} again as {transaction} to {}",
                earlier + (count - 1),
                transaction + (count - 1)
            ),
            Self::StrippedLength { found, .. }
            | Self::TransactionLength { found, .. }
            | Self::CoinbaseScriptLength { found } => counted(*found, "byte"),
            Self::NoCoinbase => "another transaction".into(),
            Self::SecondCoinbase { .. } => "another one".into(),
            Self::NoInputs { .. } | Self::NoOutputs { .. } => "none".into(),
            Self::NegativeValue { output, value, .. }
            | Self::ValueTooLarge { output, value, .. } => {
                format!("{value} satoshi in output {output}")
            }
            Self::TotalTooLarge { output, total, .. } => {
                format!("{total} satoshi up to output {output}")
            }
            Self::RepeatedInput { input, earlier, .. } => {
                format!("input {input} spends what input {earlier} does")
            }
            Self::NullPrevout { input, .. } => format!("input {input} spends none"),
            Self::SignatureOperations { found, .. } => {
                format!("{found}, without those that only inputs show")
            }
            Self::NotFinal { lock_time, .. } => format!("lock time {lock_time}"),
            Self::CoinbaseHeight { found, named, .. } => {
                let script = hex::encode(&found.bytes[..usize::from(found.len)]);
                match named {
                    Some(height) => format!("{script}, which is height {height}"),
                    None => script,
                }
            }
            Self::WitnessNonce { items, len } => match items {
                0 => "no witness".into(),
                1 => format!("one item of {}", counted(*len, "byte")),
                items => format!("{items} items"),
            },
            Self::UnexpectedWitness { .. } => "a witness".into(),
            Self::Weight { found, .. } => found.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_something_is_no_range() {
        let found = |count| {
            let repeated =
                BlockViolation::RepeatedTransactions { transaction: 3, earlier: 2, count };
            repeated.found()
        };
        assert_eq!(found(1), "transaction 2 again as 3");
        assert_eq!(found(2), "transactions 2 to 3 again as 3 to 4");
        let found = |found| BlockViolation::CoinbaseScriptLength { found }.found();
        assert_eq!([found(0), found(1), found(101)], ["0 bytes", "1 byte", "101 bytes"]);
    }
}
