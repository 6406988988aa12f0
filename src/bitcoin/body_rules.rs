//! Every rule on a body that needs no other transaction's outputs, as a checklist in Bitcoin Core's order.
//!
//! 1. [`BodyRules::parse`]: the bytes are a block.
//! 2. [`BodyRules::check_merkle`]: the header means these transactions.  (`CheckMerkleRoot`)
//! 3. [`BodyRules::check_block`]: what they say by themselves.  (`CheckBlock`, `CheckTransaction`)
//! 4. [`BodyRules::check_in_context`]: what they say at their height.  (`ContextualCheckBlock`)
//! 5. [`BodyRules::check_witnesses`] and [`BodyRules::check_weight`]: the witnesses, which the header means
//!    by way of the coinbase.  (`CheckWitnessMalleation`, `ContextualCheckBlock`)

use crate::primitives::{Hash256, first_equal_siblings, sha256d};
use crate::verdict::{BlockViolation, ScriptStart, Violation};

use crate::chain::{Ancestor, MEDIAN_BLOCKS};

use super::sigops::legacy_sigops;
use super::{Block, Params, Transaction};

/// The largest weight of a block.  (BIP141; Core: `MAX_BLOCK_WEIGHT`.)
pub const BLOCK_WEIGHT_MAX: u64 = 4_000_000;

/// How much more a byte weighs that is no witness.  (BIP141; Core: `WITNESS_SCALE_FACTOR`.)
pub const WITNESS_SCALE: u64 = 4;

/// What a block's signature operations may cost.  (BIP141; Core: `MAX_BLOCK_SIGOPS_COST`.)
pub const SIGOPS_COST_MAX: u64 = 80_000;

/// All bitcoin there will ever be, in satoshi.  (Core: `MAX_MONEY`.)
pub const MONEY_MAX: i64 = 21_000_000 * 100_000_000;

/// Lock times below this are heights, others times.  (Core: `LOCKTIME_THRESHOLD`.)
pub const LOCK_TIME_THRESHOLD: u32 = 500_000_000;

/// The sequence number that lifts the lock time.  (Core: `CTxIn::SEQUENCE_FINAL`.)
const SEQUENCE_FINAL: u32 = u32::MAX;

/// How the output script with the witness commitment begins: return, 36 bytes, and BIP141's four.
const COMMITMENT_START: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// The code that pushes the number 1; those of 2 to 16 follow.
const OP_1: u8 = 0x51;

/// The first version of a header whose coinbase names the height.  (BIP34.)
const BIP34_VERSION: i32 = 2;

/// No chain is higher: 150 years at ten minutes a block.
const PLAUSIBLE_HEIGHT_MAX: u32 = (1 << 23) - 1;

/// More inputs than this are compared by sorting.
const INPUTS_COMPARED_MAX: usize = 12;

/// What the rules on a body must know of the blocks before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockContext {
    /// The block's height; `None` if it connects to nothing.
    pub height: Option<u32>,
    /// The median time of the eleven blocks before it; `None` if not all that there are of them are
    /// known.
    pub median_time_past: Option<u32>,
}

impl BlockContext {
    /// Of a block that connects.
    #[must_use]
    pub fn of(block: Ancestor<'_>) -> Self {
        let before = block.parent();
        let lineage = || before.into_iter().flat_map(Ancestor::lineage).take(MEDIAN_BLOCKS);
        // A start that is taken on trust hides its own time, and the blocks before it.
        let is_known = lineage().all(|block| !block.is_trusted());
        let median_time_past = before.filter(|_| is_known).map(Ancestor::median_time_past);
        Self { height: Some(block.height()), median_time_past }
    }
}

/// The body rules of one network.
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

    /// Parses a block.
    ///
    /// # Errors
    /// [`Violation::BadEncoding`].
    pub fn parse<'b>(&self, bytes: &'b [u8]) -> Result<Block<'b>, Violation> {
        Block::parse(bytes).map_err(|error| Violation::BadEncoding {
            transaction: error.transaction,
            malformed: error.malformed,
        })
    }

    /// Judges the root that the header names; `root` is that of the tree of ids. No transactions are repeated
    /// so that it stays the same (CVE-2012-2459).
    ///
    /// # Errors
    /// [`BlockViolation::MerkleRoot`], [`BlockViolation::RepeatedTransactions`].
    pub fn check_merkle(&self, block: &Block<'_>, root: Hash256) -> Result<(), BlockViolation> {
        let found = block.header.merkle_root();
        if root != found {
            return Err(BlockViolation::MerkleRoot { computed: root, found });
        }
        let transactions = block.transactions();
        let have_one_id = |a: usize, b: usize| transactions[a].has_id_of(&transactions[b]);
        match first_equal_siblings(transactions.len(), have_one_id) {
            None => Ok(()),
            Some((earlier, count)) => Err(BlockViolation::RepeatedTransactions {
                transaction: number(earlier + count),
                earlier: number(earlier),
                count: number(count),
            }),
        }
    }

    /// Judges what a block says by itself.  (Core: `CheckBlock` behind the Merkle root.)
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_block(&self, block: &Block<'_>) -> Result<(), Violation> {
        let transactions = block.transactions();
        let Some((first, rest)) = transactions.split_first() else {
            return Err(Violation::EmptyBlock);
        };
        let (most, found) = (BLOCK_WEIGHT_MAX / WITNESS_SCALE, block.stripped_len() as u64);
        if found > most {
            return Err(Violation::Block(BlockViolation::StrippedLength { most, found }));
        }
        if !first.is_coinbase() {
            return Err(Violation::Block(BlockViolation::NoCoinbase));
        }
        if let Some(index) = rest.iter().position(Transaction::is_coinbase) {
            let transaction = number(index + 1);
            return Err(Violation::Block(BlockViolation::SecondCoinbase { transaction }));
        }
        for (index, transaction) in transactions.iter().enumerate() {
            check_transaction(number(index), transaction).map_err(Violation::Block)?;
        }
        let cost = transactions.iter().map(legacy_sigops_of).sum::<u64>() * WITNESS_SCALE;
        if cost > SIGOPS_COST_MAX {
            let (most, found) = (SIGOPS_COST_MAX, cost);
            return Err(Violation::Block(BlockViolation::SignatureOperations { most, found }));
        }
        Ok(())
    }

    /// Judges what a block says at its height, but for witnesses.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_in_context(
        &self,
        block: &Block<'_>,
        context: BlockContext,
    ) -> Result<(), BlockViolation> {
        let Some(height) = context.height else { return Ok(()) };
        // BIP113: lock times are held against the median, which no miner can move ahead alone.
        let time = if height >= self.params.heights.csv {
            context.median_time_past
        } else {
            Some(block.header.time())
        };
        for (index, transaction) in block.transactions().iter().enumerate() {
            check_final(number(index), transaction, height, time)?;
        }
        // Genesis is what the network says it is.
        if height >= self.params.heights.bip34.max(1) {
            check_height(block, height)?;
        }
        Ok(())
    }

    /// Where a block at this height must commit to its witnesses: the commitment in its coinbase, if it
    /// has one.  (Core: `GetWitnessCommitmentIndex`.)
    #[must_use]
    pub fn commitment(&self, block: &Block<'_>, height: u32) -> Option<Hash256> {
        if height < self.params.heights.segwit {
            return None;
        }
        let outputs = block.transactions().first()?.outputs();
        let commitments = outputs.filter_map(|output| {
            let rest = output.script.strip_prefix(&COMMITMENT_START)?;
            rest.first_chunk::<32>().map(|bytes| Hash256::from_bytes(*bytes))
        });
        commitments.last()
    }

    /// Judges the witnesses of a block at a height that is known. `root` is the root of the tree of
    /// witness ids, with zero for the coinbase; it is asked for where the block commits to it.
    /// (Core: `CheckWitnessMalleation`.)
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check_witnesses(
        &self,
        block: &Block<'_>,
        height: u32,
        root: impl FnOnce() -> Hash256,
    ) -> Result<(), BlockViolation> {
        let Some(found) = self.commitment(block, height) else {
            let with_witness = block.transactions().iter().position(Transaction::has_witness);
            return with_witness.map_or(Ok(()), |index| {
                let is_active = height >= self.params.heights.segwit;
                Err(BlockViolation::UnexpectedWitness { transaction: number(index), is_active })
            });
        };
        let mut witness = block.transactions()[0].first_witness();
        let items = witness.len() as u64;
        let nonce = witness.next().unwrap_or_default();
        if items != 1 || nonce.len() != 32 {
            let len = nonce.len() as u64;
            return Err(BlockViolation::WitnessNonce { items, len });
        }
        let computed = sha256d(&[root().as_bytes(), nonce].concat());
        if computed != found {
            return Err(BlockViolation::WitnessCommitment { computed, found });
        }
        Ok(())
    }

    /// Judges the weight of a block.  (BIP141; Core: `ContextualCheckBlock`.)
    ///
    /// # Errors
    /// [`BlockViolation::Weight`].
    pub fn check_weight(&self, block: &Block<'_>) -> Result<(), BlockViolation> {
        let stripped = block.stripped_len() as u64;
        let found = stripped * (WITNESS_SCALE - 1) + block.encoded_len() as u64;
        if found > BLOCK_WEIGHT_MAX {
            return Err(BlockViolation::Weight { most: BLOCK_WEIGHT_MAX, found });
        }
        Ok(())
    }
}

/// Counts and indices of one block fit 32 bits, as its length does.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Judges a transaction by itself.  (Core: `CheckTransaction`.)
///
/// # Errors
/// The first rule that is broken. `index` is for the evidence.
pub fn check_transaction(index: u32, transaction: &Transaction<'_>) -> Result<(), BlockViolation> {
    let input_count = transaction.inputs().len();
    if input_count == 0 {
        return Err(BlockViolation::NoInputs { transaction: index });
    }
    if transaction.outputs().len() == 0 {
        return Err(BlockViolation::NoOutputs { transaction: index });
    }
    let (most, found) = (BLOCK_WEIGHT_MAX / WITNESS_SCALE, transaction.stripped_len() as u64);
    if found > most {
        return Err(BlockViolation::TransactionLength { transaction: index, most, found });
    }
    check_values(index, transaction)?;
    if input_count > 1 {
        check_repeated_inputs(index, transaction)?;
    }
    if transaction.is_coinbase() {
        let found = transaction.inputs().map(|input| input.script.len() as u64).sum();
        if !(2..=100).contains(&found) {
            return Err(BlockViolation::CoinbaseScriptLength { found });
        }
    } else if let Some(input) = transaction.inputs().position(|input| input.is_null()) {
        let input = number(input);
        return Err(BlockViolation::NullPrevout { transaction: index, input });
    }
    Ok(())
}

fn check_values(transaction: u32, of: &Transaction<'_>) -> Result<(), BlockViolation> {
    let mut total = 0i64;
    for (output, value) in of.outputs().map(|output| output.value).enumerate() {
        let output = number(output);
        if value < 0 {
            return Err(BlockViolation::NegativeValue { transaction, output, value });
        }
        if value > MONEY_MAX {
            return Err(BlockViolation::ValueTooLarge { transaction, output, value });
        }
        // Both are at most 21 million bitcoin.
        total += value;
        if total > MONEY_MAX {
            return Err(BlockViolation::TotalTooLarge { transaction, output, total });
        }
    }
    Ok(())
}

fn check_repeated_inputs(transaction: u32, of: &Transaction<'_>) -> Result<(), BlockViolation> {
    let repeated = |input: usize, earlier: usize| BlockViolation::RepeatedInput {
        transaction,
        input: number(input),
        earlier: number(earlier),
    };
    let prevouts = || of.inputs().map(|input| input.prevout);
    if prevouts().len() <= INPUTS_COMPARED_MAX {
        for (at, prevout) in prevouts().enumerate().skip(1) {
            if let Some(earlier) = prevouts().take(at).position(|other| other == prevout) {
                return Err(repeated(at, earlier));
            }
        }
        return Ok(());
    }
    let mut sorted: Vec<_> = prevouts().zip(0usize..).collect();
    sorted.sort_unstable();
    // Neighbours alone: of three equal ones, the first two are the lowest.
    let equal = sorted.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let first = equal.map(|pair| (pair[1].1, pair[0].1)).min();
    first.map_or(Ok(()), |(input, earlier)| Err(repeated(input, earlier)))
}

fn legacy_sigops_of(transaction: &Transaction<'_>) -> u64 {
    let inputs = transaction.inputs().map(|input| legacy_sigops(input.script));
    let outputs = transaction.outputs().map(|output| legacy_sigops(output.script));
    inputs.chain(outputs).sum()
}

/// Whether a transaction may stand in a block at this height. `time` is what lock times that are times are
/// held against, if it is known.  (Core: `IsFinalTx`.)
fn check_final(
    transaction: u32,
    of: &Transaction<'_>,
    height: u32,
    time: Option<u32>,
) -> Result<(), BlockViolation> {
    let lock_time = of.lock_time();
    let is_time = lock_time >= LOCK_TIME_THRESHOLD;
    let Some(reached) = (if is_time { time } else { Some(height) }) else { return Ok(()) };
    if lock_time == 0
        || lock_time < reached
        || of.inputs().all(|input| input.sequence == SEQUENCE_FINAL)
    {
        return Ok(());
    }
    Err(BlockViolation::NotFinal { transaction, lock_time, reached, is_time })
}

/// BIP34: the coinbase's script begins with the height, pushed in the shortest way.
fn check_height(block: &Block<'_>, height: u32) -> Result<(), BlockViolation> {
    let script = block.transactions()[0].inputs().next().map_or(&[][..], |input| input.script);
    let (push, len) = height_push(height);
    if script.starts_with(&push[..len]) {
        return Ok(());
    }
    let named = claimed_height(block);
    Err(BlockViolation::CoinbaseHeight { height, found: ScriptStart::of(script), named })
}

/// The script that pushes a height, and its length.  (Core: `CScript::operator<<(int64_t)`.)
fn height_push(height: u32) -> ([u8; 6], usize) {
    let mut push = [0; 6];
    match height {
        0 => return (push, 1),
        1..=16 => {
            push[0] = OP_1 + (height.to_le_bytes()[0] - 1);
            return (push, 1);
        }
        _ => {}
    }
    // Little-endian, the top bit of the last byte free for a sign.
    let len = (u32::BITS - height.leading_zeros()) as usize / 8 + 1;
    push[0] = u8::try_from(len).expect("five at most");
    push[1..5].copy_from_slice(&height.to_le_bytes());
    (push, 1 + len)
}

/// The height that a coinbase names, if it begins with one in the way of BIP34. For hints alone: before
/// BIP34 a script may begin with anything, and most of them began with the bits of the header.
#[must_use]
pub fn claimed_height(block: &Block<'_>) -> Option<u32> {
    if block.header.version() < BIP34_VERSION {
        return None;
    }
    let script = block.transactions().first()?.inputs().next()?.script;
    named_height(script).filter(|height| *height <= PLAUSIBLE_HEIGHT_MAX)
}

/// The height that a script begins with, if it pushes one in the way of BIP34.
fn named_height(script: &[u8]) -> Option<u32> {
    let (&first, rest) = script.split_first()?;
    let mut height = [0; 4];
    match first {
        1..=4 => {
            let bytes = rest.get(..usize::from(first))?;
            height[..bytes.len()].copy_from_slice(bytes);
        }
        // The numbers from 1 to 16 have codes of their own.
        _ => height[0] = first.checked_sub(OP_1 - 1)?,
    }
    let height = u32::from_le_bytes(height);
    let (push, len) = height_push(height);
    script.starts_with(&push[..len]).then_some(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against rust-bitcoin's script builder.
    #[test]
    fn heights_are_pushed_as_scripts_push_numbers() {
        let edges = (0..32).flat_map(|bit| [(1u32 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for height in edges.chain([16, 17, 227_931, u32::MAX]) {
            let script = ::bitcoin::script::Builder::new().push_int(i64::from(height));
            let (push, len) = height_push(height);
            assert_eq!(&push[..len], script.as_bytes(), "{height}");
            // A number of five bytes is no height.
            let named = (1..1 << 31).contains(&height).then_some(height);
            assert_eq!(named_height(script.as_bytes()), named, "{height}");
        }
        assert_eq!([named_height(&[]), named_height(&[2, 7]), named_height(&[1, 7])], [None; 3]);
    }
}
