//! The stage that judges the bodies of Bitcoin's blocks: encoding, Merkle root, shape, context, witnesses.
//!
//! Many blocks at a time: the transactions of a batch go to the backend together, with and without witnesses,
//! and so do the trees over their ids; roots come back. The verdict on a block is that of the block alone. What is
//! sound is packed here for the chain file, if there is one: many blocks at a time as well.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::slice;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::bitcoin::{Block, BlockContext, BodyRules, HeaderRules, Packer, Params, Transaction};
use crate::chain::{Candidate, HeaderRules as _, proof_of_work_is_valid};
use crate::compute::{Backend, TreeShape};
use crate::primitives::{
    GroveSink, Groves, Hash256, HashFunction, Header, Leaf, merkle_root, sha256d,
};
use crate::verdict::Violation;

use super::family::{JudgeBodies, JudgedBody, Known, ReadBody, groups};

/// The memory that a block takes while it is judged, beside its bytes: where it stands in several lists.
pub(super) const BLOCK_COST: usize = 512;

/// A packer that has more memory than this, which few blocks need, is not kept: each thread may have one.
const PACKER_BYTES_MAX: usize = 8 << 20;

/// Judges bodies, batch by batch.
pub(super) struct BodyJudge<'a> {
    params: &'a Params,
    backend: &'a dyn Backend,
    /// Packers that nobody uses right now, if sound bodies are packed for the chain file.
    packers: Option<Mutex<Vec<Packer>>>,
}

impl<'a> BodyJudge<'a> {
    /// With `packs`, sound bodies are packed for the chain file.
    pub(super) fn new(params: &'a Params, backend: &'a dyn Backend, packs: bool) -> Self {
        Self { params, backend, packers: packs.then(Mutex::default) }
    }
}

impl JudgeBodies<BlockContext> for BodyJudge<'_> {
    type Prepared = Option<Vec<u8>>;

    fn bytes_at_once(&self) -> usize {
        self.backend.block_bytes_at_once()
    }

    fn judge(&self, bodies: Vec<ReadBody<BlockContext>>) -> Vec<JudgedBody<Option<Vec<u8>>>> {
        let mut verdicts = Vec::with_capacity(bodies.len());
        let mut ids = Vec::with_capacity(bodies.len());
        let lengths = bodies.iter().map(|body| body.bytes.len());
        for group in groups_of(lengths, self.backend) {
            ids.extend(self.judge_some(&bodies[group], of_input, &mut verdicts));
        }
        let judged = bodies.into_par_iter().zip(verdicts).zip(ids);
        let judged = judged.map_init(
            || self.packers.as_ref().map(Lent::of),
            |lent, ((ReadBody { task, bytes }, verdict), ids)| {
                let pack = || lent.as_mut().map(|lent| lent.pack(&bytes, ids));
                let prepared = verdict.is_ok().then(pack);
                JudgedBody { body: task.body, bytes, prepared, verdict }
            },
        );
        judged.collect()
    }
}

/// A packer that goes back to the others afterwards, as the next batch needs its memory again.
struct Lent<'p> {
    packer: Option<Packer>,
    to: &'p Mutex<Vec<Packer>>,
}

impl<'p> Lent<'p> {
    fn of(packers: &'p Mutex<Vec<Packer>>) -> Self {
        let packer = packers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { packer, to: packers }
    }

    fn pack(&mut self, block: &[u8], ids: Option<Vec<Hash256>>) -> Vec<u8> {
        self.packer.get_or_insert_with(Packer::new).pack(block, ids)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let packer = self.packer.take().filter(|packer| packer.bytes() <= PACKER_BYTES_MAX);
        self.to.lock().unwrap_or_else(PoisonError::into_inner).extend(packer);
    }
}

/// Judges blocks by their own proof of work, and by every rule of level `blocks` on their bodies, on the
/// threads of the current rayon pool. Each comes with what is known of the blocks before it.
#[must_use]
pub fn judge_blocks(
    blocks: &[(&[u8], BlockContext)],
    params: &Params,
    backend: &dyn Backend,
) -> Vec<Result<(), Violation>> {
    // Without an overflow of the clock: nothing here looks at it.
    let rules = HeaderRules::new(params.clone(), u64::MAX);
    let judge = BodyJudge::new(params, backend, false);
    let mut verdicts = Vec::with_capacity(blocks.len());
    for group in groups_of(blocks.iter().map(|(bytes, _)| bytes.len()), backend) {
        judge_some(&blocks[group], &rules, &judge, &mut verdicts);
    }
    verdicts
}

/// Blocks of these lengths that are judged together.
fn groups_of(lengths: impl Iterator<Item = usize>, backend: &dyn Backend) -> Vec<Range<usize>> {
    let lengths = lengths.map(|len| BLOCK_COST + len);
    groups(lengths, backend.block_bytes_at_once(), rayon::current_num_threads())
}

/// Appends the verdict on each of `blocks`.
fn judge_some(
    blocks: &[(&[u8], BlockContext)],
    rules: &HeaderRules,
    judge: &BodyJudge<'_>,
    verdicts: &mut Vec<Result<(), Violation>>,
) {
    let header = |bytes: &[u8]| bytes.first_chunk().map(|bytes| Header::from_bytes(*bytes));
    // What is too short for a header has no encoding, and nobody asks for its id.
    let any = Header::from_bytes([0; Header::LEN]);
    let headers: Vec<_> = blocks.iter().map(|(bytes, _)| header(bytes).unwrap_or(any)).collect();
    let mut ids = vec![Hash256::ZERO; headers.len()];
    judge.backend.header_ids(&headers, &mut ids);
    judge.backend.confirm_header_ids(&headers, &mut ids);
    let first = verdicts.len();
    judge.judge_some(blocks, alone, verdicts);
    let verdicts = verdicts[first..].iter_mut().zip(blocks).zip(headers.iter().zip(ids));
    let mut last = None;
    for ((verdict, (bytes, _)), (header, id)) in verdicts {
        // Bits are read once for blocks in a row.
        let target = match last {
            Some((bits, target)) if bits == header.bits() => target,
            _ => header.bits().decode_within(rules.pow_limit()).ok(),
        };
        last = Some((header.bits(), target));
        if target.is_some_and(|target| target.is_met_by(&id)) {
            continue;
        }
        // The header comes first.
        if bytes.len() >= Header::LEN
            && let Err(violation) =
                proof_of_work_is_valid(rules.pow_limit(), &Candidate::of(header, id))
        {
            *verdict = Err(violation);
        }
    }
}

/// A body as it is given to the judge.
struct Given<'a> {
    bytes: &'a [u8],
    context: BlockContext,
    /// Whether its verdict is known.
    is_sound: bool,
    /// Whether no device may hash it.
    on_host: bool,
}

/// A body of the input.
fn of_input(body: &ReadBody<BlockContext>) -> Given<'_> {
    Given {
        bytes: &body.bytes,
        context: body.task.context,
        is_sound: body.task.known == Known::Sound,
        // A device has seen what a header names by the time another body of it comes.
        on_host: body.task.body.is_repeated(),
    }
}

/// A block that stands alone.
const fn alone<'b>((bytes, context): &'b (&[u8], BlockContext)) -> Given<'b> {
    Given { bytes, context: *context, is_sound: false, on_host: false }
}

impl BodyJudge<'_> {
    /// Appends the verdict on each body. Gives the ids of its transactions, where packers want them and the host
    /// has computed them.
    fn judge_some<T: Sync>(
        &self,
        bodies: &[T],
        given: fn(&T) -> Given<'_>,
        verdicts: &mut Vec<Result<(), Violation>>,
    ) -> Vec<Option<Vec<Hash256>>> {
        let rules = BodyRules::new(self.params);
        let parse = |(index, body)| {
            let given = given(body);
            let parsed = (!given.is_sound).then(|| rules.parse(given.bytes))?;
            Some(parsed.map(|block| self.open(index, &given, block)))
        };
        let parsed: Vec<_> = bodies.par_iter().enumerate().map(parse).collect();
        let first = verdicts.len();
        verdicts.resize(first + bodies.len(), Ok(()));
        let verdicts = &mut verdicts[first..];
        let mut open = Vec::with_capacity(bodies.len());
        for (verdict, parsed) in verdicts.iter_mut().zip(&parsed) {
            match parsed {
                None => {}
                Some(Ok(block)) => open.push(block),
                Some(Err(violation)) => *verdict = Err(*violation),
            }
        }
        let mut ids = vec![None; bodies.len()];
        for (index, known) in self.judge_open(&open, verdicts) {
            ids[index] = Some(known);
        }
        ids
    }
}

impl BodyJudge<'_> {
    fn open<'b>(&self, index: usize, given: &Given<'b>, block: Block<'b>) -> Open<'b> {
        let (rules, context, on_host) = (BodyRules::new(self.params), given.context, given.on_host);
        let commits =
            context.height.is_some_and(|height| rules.commitment(&block, height).is_some());
        Open { index, context, block, commits, on_host }
    }

    /// Puts the verdict on each open body that is not sound to its place in the batch.
    fn judge_open(&self, open: &[&Open<'_>], verdicts: &mut [Result<(), Violation>]) -> KnownIds {
        let (roots, ids) = self.roots(open.iter().copied().filter(|open| !open.on_host));
        let mut roots = roots.iter();
        let hashed = open.iter().map(|open| {
            (!open.on_host).then(|| Roots {
                root: open.has_root().then(|| next_of(&mut roots)),
                witness_root: open.commits.then(|| next_of(&mut roots)),
            })
        });
        let hashed: Vec<_> = hashed.collect();
        // Nearly all are sound, so only what is not is written down.
        let judged: Vec<_> = open
            .par_iter()
            .zip(&hashed)
            .filter_map(|(open, hashed)| {
                let (verdict, was_wrong) = match hashed {
                    Some(roots) => self.confirm(open, *roots),
                    None => (self.check_on_host(open), false),
                };
                (verdict.is_err() || was_wrong).then_some((open.index, verdict, was_wrong))
            })
            .collect();
        let was_wrong = judged.iter().any(|(_, _, was_wrong)| *was_wrong);
        for (index, verdict, _) in judged {
            verdicts[index] = verdict;
        }
        if !was_wrong {
            return ids;
        }
        // One wrong digest makes all of the batch doubtful.
        self.backend.was_wrong("a Merkle root of a block was wrong".into());
        let right: Vec<_> = open.par_iter().map(|open| self.check_on_host(open)).collect();
        for (open, verdict) in open.iter().zip(right) {
            verdicts[open.index] = verdict;
        }
        KnownIds::new()
    }

    /// What the backend's roots say of a block. No block is rejected on a device's word alone: then
    /// the host computes them again, and says whether the device was wrong.
    fn confirm(&self, open: &Open<'_>, roots: Roots<'_>) -> (Result<(), Violation>, bool) {
        let by_roots = Cell::new(false);
        let verdict = self.check(open, roots, &by_roots);
        if verdict.is_ok() || !by_roots.get() {
            return (verdict, false);
        }
        let right = open.host_roots();
        let right = Roots::of(&right);
        (self.check(open, right, &by_roots), right != roots)
    }

    /// What the host's own roots say of a block.
    fn check_on_host(&self, open: &Open<'_>) -> Result<(), Violation> {
        self.check(open, Roots::of(&open.host_roots()), &Cell::new(false))
    }

    /// Every rule, in Bitcoin Core's order. `by_roots` is set if what fails depends on roots.
    fn check(
        &self,
        open: &Open<'_>,
        roots: Roots<'_>,
        by_roots: &Cell<bool>,
    ) -> Result<(), Violation> {
        let (rules, block) = (BodyRules::new(self.params), &open.block);
        by_roots.set(true);
        let root = roots.root.copied().unwrap_or(Hash256::ZERO);
        rules.check_merkle(block, root).map_err(Violation::Block)?;
        by_roots.set(false);
        rules.check_block(block)?;
        rules.check_in_context(block, open.context).map_err(Violation::Block)?;
        if let Some(height) = open.context.height {
            by_roots.set(true);
            let root = || roots.witness_root.copied().unwrap_or(Hash256::ZERO);
            rules.check_witnesses(block, height, root).map_err(Violation::Block)?;
            by_roots.set(false);
        }
        rules.check_weight(block).map_err(Violation::Block)
    }

    /// The roots of many blocks, from the backend: of each those that it has, the tree of ids first.
    fn roots<'o, 'b: 'o>(
        &self,
        open: impl Iterator<Item = &'o Open<'b>> + Clone,
    ) -> (Vec<Hash256>, KnownIds) {
        let trees =
            open.clone().map(|open| usize::from(open.has_root()) + usize::from(open.commits));
        let mut roots = vec![Hash256::ZERO; trees.sum()];
        let (function, shape) = (HashFunction::Sha256d, TreeShape::Bitcoin);
        let ids = self.packers.is_some().then(RefCell::default);
        let transactions = Transactions { open, ids };
        self.backend.hash_groves(function, shape, &transactions, &mut roots);
        (roots, transactions.ids.map(RefCell::into_inner).unwrap_or_default())
    }
}

fn next_of<'r>(roots: &mut slice::Iter<'r, Hash256>) -> &'r Hash256 {
    roots.next().expect("one root per tree")
}

/// A parsed body of the batch.
struct Open<'a> {
    /// Its place in the batch.
    index: usize,
    context: BlockContext,
    block: Block<'a>,
    /// Whether the block must commit to its witnesses, and does.
    commits: bool,
    /// Whether no device may hash it.
    on_host: bool,
}

/// The ids of a body's transactions, by its place in the batch: where packers want them, and the host has computed
/// them.
type KnownIds = Vec<(usize, Vec<Hash256>)>;

/// What is hashed of bodies.
struct Transactions<I> {
    open: I,
    /// If they are wanted.
    ids: Option<RefCell<KnownIds>>,
}

impl<'o, 'a: 'o, I: Iterator<Item = &'o Open<'a>> + Clone> Groves<'a> for Transactions<I> {
    fn tell(&self, sink: &mut dyn GroveSink<'a>) {
        self.open.clone().for_each(|open| open.tell(sink));
    }

    fn learn(&self, digests: &[Hash256]) {
        let Some(ids) = &self.ids else { return };
        let mut left = digests;
        let of = |open: &Open<'_>| {
            let (own, rest) = left.split_at(open.block.transactions().len());
            left = &rest[open.witness_messages().count()..];
            (open.index, own.to_vec())
        };
        ids.borrow_mut().extend(self.open.clone().map(of));
        assert!(left.is_empty(), "there are more digests than messages");
    }
}

impl<'a> Open<'a> {
    /// Whether there is a tree of ids.
    fn has_root(&self) -> bool {
        !self.block.transactions().is_empty()
    }

    /// The roots of the two trees, without a device.
    fn host_roots(&self) -> [Option<Hash256>; 2] {
        let transactions = self.block.transactions();
        let ids = || transactions.par_iter().map(Transaction::id).collect::<Vec<_>>();
        let witness_root = self.commits.then(|| {
            let witness_ids =
                transactions.par_iter().enumerate().map(|(index, each)| match index {
                    0 => Hash256::ZERO,
                    _ => sha256d(each.bytes()),
                });
            merkle_root(&witness_ids.collect::<Vec<_>>())
        });
        [self.has_root().then(|| merkle_root(&ids())), witness_root]
    }

    /// What witness ids are hashed from, where the block commits to them: those of transactions whose id is another
    /// hash, but for the coinbase.
    fn witness_messages(&self) -> impl Iterator<Item = &'a [u8]> {
        let transactions = self.block.transactions().iter().skip(1).filter(|_| self.commits);
        transactions.filter(|each| each.has_witness()).map(Transaction::bytes)
    }

    /// The ids of all transactions, then the witness ids of those that have other ones, where the block
    /// commits to them; and a tree over each, where there are any.
    fn tell(&self, sink: &mut dyn GroveSink<'a>) {
        let transactions = self.block.transactions();
        for transaction in transactions {
            if transaction.has_witness() {
                sink.message(&transaction.stripped());
            } else {
                sink.message(&[transaction.bytes()]);
            }
        }
        let count = u32::try_from(transactions.len()).expect("fewer than bytes of a block");
        if count > 0 {
            (0..count).for_each(|id| sink.leaf(Leaf::Digest(id)));
            sink.end_tree();
        }
        self.witness_messages().for_each(|message| sink.message(&[message]));
        if self.commits {
            // The coinbase holds the commitment, so it cannot be in it.  (BIP141.)
            sink.leaf(Leaf::Given(Hash256::ZERO));
            let mut witness_ids = count..;
            for (transaction, id) in transactions.iter().zip(0..).skip(1) {
                let other = transaction.has_witness().then(|| witness_ids.next()).flatten();
                sink.leaf(Leaf::Digest(other.unwrap_or(id)));
            }
            sink.end_tree();
        }
        sink.end_grove();
    }
}

/// The roots of a body's trees.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Roots<'r> {
    /// Of the tree of ids; `None` without transactions.
    root: Option<&'r Hash256>,
    /// Of the tree of witness ids, where the block commits to it.
    witness_root: Option<&'r Hash256>,
}

impl<'r> Roots<'r> {
    const fn of([root, witness_root]: &'r [Option<Hash256>; 2]) -> Self {
        Self { root: root.as_ref(), witness_root: witness_root.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitcoin::{Network, genesis_block};

    #[test]
    fn packers_with_much_memory_are_not_kept() {
        let genesis = genesis_block(Network::Main);
        // A coinbase with an output script of almost four million bytes.
        let (rest, lock_time) = genesis.split_at(genesis.len() - 4);
        let rest = &rest[..rest.len() - 68];
        let script = vec![0x6a; 3_999_000];
        let len = u32::try_from(script.len()).expect("it is shorter").to_le_bytes();
        let large = [rest, &[0xfe], &len, &script, lock_time].concat();
        let packers: Mutex<Vec<Packer>> = Mutex::default();
        let kept = || packers.lock().expect("nobody panics").len();
        Lent::of(&packers).pack(&genesis, None);
        assert_eq!(kept(), 1);
        {
            let mut lent = [Lent::of(&packers), Lent::of(&packers)];
            assert_eq!(kept(), 0);
            assert!(lent[0].pack(&large, None).len() < script.len());
            lent[1].pack(&genesis, None);
        }
        assert_eq!(kept(), 1);
        assert!(packers.lock().expect("nobody panics")[0].bytes() < 1 << 20);
    }
}
