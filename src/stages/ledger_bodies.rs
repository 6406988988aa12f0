//! The stage that judges bodies by their own bytes: encoding, Merkle root, shape and signatures.
//!
//! Many blocks at a time: all leaves and trees of a batch go to the backend together, and all
//! signatures into few equations. The verdict on a block is that of the block alone.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rayon::prelude::*;

use crate::compute::{Backend, TreeShape};
use crate::ledger::{Block, BodyRules, Effects, MAGIC, Params, Signature, Transaction};
use crate::primitives::{GroveSink, Groves, Hash256, HashFunction, Leaf, rfc6962, sha256d};
use crate::signature::{InvalidSignature, KeptItem, PublicKey, verify_batch_kept};
use crate::verdict::Violation;

use super::family::{JudgeBodies, JudgedBody, Known, ReadBody, Task, groups};

/// The most signatures in one call, and the fewest after one that failed.
const SIGNATURES_MAX: usize = 1 << 14;
const SIGNATURES_MIN: usize = 1 << 6;

/// The most keys that are kept, in 75 MB: as many as a hash map with 2^18 places takes.
const KEYS_MAX: usize = 7 << 15;

/// The keys that one thread decodes at a time.
const KEYS_TOGETHER: usize = 1 << 8;

/// Judges bodies, batch by batch.
pub(super) struct BodyJudge<'a> {
    params: &'a Params,
    chain_id: Hash256,
    backend: &'a dyn Backend,
    keys: Keys,
    /// Salted, so that nobody can prepare transactions whose hashes are equal.
    hasher: RandomState,
}

impl<'a> BodyJudge<'a> {
    pub(super) fn new(params: &'a Params, backend: &'a dyn Backend) -> Self {
        let (keys, hasher) = (Keys::default(), RandomState::default());
        Self { params, chain_id: params.chain_id(), backend, keys, hasher }
    }
}

impl JudgeBodies<()> for BodyJudge<'_> {
    type Prepared = Effects;

    /// Signatures of many blocks are verified together.
    fn bytes_at_once(&self) -> usize {
        usize::MAX
    }

    fn judge(&self, bodies: Vec<ReadBody<()>>) -> Vec<JudgedBody<Effects>> {
        let mut verdicts = vec![Ok(()); bodies.len()];
        let mut open = Vec::new();
        let lengths = bodies.iter().map(|body| body.bytes.len());
        for group in groups(lengths, self.backend.message_bytes_at_once(), 1) {
            open.extend(self.judge_but_signatures(&bodies, group, &mut verdicts));
        }
        self.judge_signatures(&open, &mut verdicts);
        let mut prepared: Vec<_> = bodies.iter().map(|_| None).collect();
        for Open { index, block, .. } in open {
            prepared[index] = Some(block.into_effects());
        }
        let judged = bodies.into_iter().zip(prepared).zip(verdicts);
        judged
            .map(|((ReadBody { task, bytes }, prepared), verdict)| JudgedBody {
                body: task.body,
                bytes,
                prepared: prepared.filter(|_| verdict.is_ok()),
                verdict,
            })
            .collect()
    }
}

impl BodyJudge<'_> {
    /// Judges everything but signatures, of some of the bodies. Those that come back are good so far.
    fn judge_but_signatures<'b>(
        &self,
        bodies: &'b [ReadBody<()>],
        group: Range<usize>,
        verdicts: &mut [Result<(), Violation>],
    ) -> Vec<Open<'b>> {
        let rules = BodyRules::new(self.params);
        let decoded: Vec<_> = bodies[group.clone()]
            .par_iter()
            .map(|body| (body.task.known != Known::Sound).then(|| rules.decode(&body.bytes)))
            .collect();
        let mut open = Vec::new();
        for (index, decoded) in group.zip(decoded) {
            match decoded {
                None => {}
                Some(Err(violation)) => verdicts[index] = Err(violation),
                // Genesis is what the parameters say, whatever a body says.
                Some(Ok(block)) if bodies[index].task.id == self.chain_id => {
                    verdicts[index] = self.judge_genesis(&block);
                }
                Some(Ok(block)) => open.push(Open { index, task: bodies[index].task, block }),
            }
        }
        self.judge_trees(&mut open, verdicts);
        open.retain(|open| {
            open.task.known == Known::Nothing
                && keep(
                    rules.check_shape(&open.block, open.task.body.height),
                    &mut verdicts[open.index],
                )
        });
        open
    }

    /// Genesis has no transactions; its root is that of the parameters.
    fn judge_genesis(&self, block: &Block<'_>) -> Result<(), Violation> {
        if block.count() == 0 {
            return Ok(());
        }
        let found = block.header.merkle_root();
        Err(Violation::BadTxnMrklRoot { computed: block.merkle_root(), found })
    }

    /// Merkle roots and repeated ids.
    fn judge_trees(&self, open: &mut Vec<Open<'_>>, verdicts: &mut [Result<(), Violation>]) {
        let (first, repeated): (Vec<_>, Vec<_>) =
            open.drain(..).partition(|open| !open.task.body.is_repeated());
        let roots = self.roots(&first);
        let right = first.par_iter().zip(roots).map(|(open, root)| self.confirm(open, root));
        let right: Vec<_> = right.collect();
        let was_wrong = right.iter().any(|(_, was_wrong)| *was_wrong);
        let checked: Vec<_> = if was_wrong {
            // One wrong digest makes all of the batch doubtful.
            self.backend.was_wrong("a Merkle root of a body was wrong".into());
            first.par_iter().map(|open| self.check_on_host(open)).collect()
        } else {
            right.into_iter().map(|(verdict, _)| verdict).collect()
        };
        // A device has seen what a header names by the time another body of it comes.
        let checked_repeated: Vec<_> =
            repeated.par_iter().map(|open| self.check_on_host(open)).collect();
        let all = first.into_iter().zip(checked).chain(repeated.into_iter().zip(checked_repeated));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(open, _)| open.index);
        open.extend(all.into_iter().filter_map(|(open, verdict)| {
            keep(verdict, &mut verdicts[open.index]).then_some(open)
        }));
    }

    /// What the backend's root says of a block. No block is rejected on a device's word alone: then the
    /// host computes the root again, and says whether the device was wrong.
    fn confirm(&self, open: &Open<'_>, root: Hash256) -> (Result<(), Violation>, bool) {
        if root == open.block.header.merkle_root() {
            return (self.check_tree(open, root), false);
        }
        let right = open.block.merkle_root();
        (self.check_tree(open, right), right != root)
    }

    fn check_tree(&self, open: &Open<'_>, root: Hash256) -> Result<(), Violation> {
        BodyRules::new(self.params).check_merkle_root(&open.block, root)?;
        self.check_repeated_ids(&open.block)
    }

    /// What the host's own root says of a block.
    fn check_on_host(&self, open: &Open<'_>) -> Result<(), Violation> {
        self.check_tree(open, open.block.merkle_root())
    }

    /// No two transactions of a block have one id.
    fn check_repeated_ids(&self, block: &Block<'_>) -> Result<(), Violation> {
        if !block.effects().may_repeat() {
            return Ok(());
        }
        let unsigned: Vec<_> = block.leaves().iter().copied().map(unsigned).collect();
        let Some((transaction, earlier)) = first_repeated(&unsigned, &self.hasher) else {
            return Ok(());
        };
        let id = sha256d(&[&self.domain(), unsigned[transaction as usize]].concat());
        Err(Violation::BadTxnsDuplicate { transaction, earlier, id })
    }

    /// Roots of many blocks, from the backend.
    fn roots(&self, open: &[Open<'_>]) -> Vec<Hash256> {
        let has_tree = |open: &Open<'_>| open.block.count() > 0;
        let mut roots = vec![Hash256::ZERO; open.iter().filter(|open| has_tree(open)).count()];
        let (function, shape) = (HashFunction::Sha256, TreeShape::Rfc6962);
        self.backend.hash_groves(function, shape, &Leaves(open), &mut roots);
        let mut roots = roots.into_iter();
        let roots = open.iter().map(|open| match has_tree(open) {
            false => rfc6962::root(&[]),
            true => roots.next().expect("one root per tree"),
        });
        roots.collect()
    }

    /// What stands before a transaction in its signed bytes.
    fn domain(&self) -> Vec<u8> {
        [&MAGIC[..], self.chain_id.as_bytes()].concat()
    }

    /// The first bad signature of each block.
    fn judge_signatures(&self, open: &[Open<'_>], verdicts: &mut [Result<(), Violation>]) {
        let signed = open.iter().enumerate().flat_map(|(block, open)| {
            // Sound so far, so the reward comes first and all others are signed: none is passed over.
            let (leaves, effects) = (open.block.leaves(), open.block.effects());
            assert_eq!(leaves.len(), effects.transactions(), "every transaction has effects");
            let transactions = (1..).zip(&leaves[1..]).zip(effects.senders());
            transactions.map(move |((index, leaf), sender)| {
                let parts = Transaction::signed_parts(leaf);
                let (key, unsigned, signature) = parts.expect("whoever sends, signs");
                Signed { block, index, sender, key, unsigned, signature }
            })
        });
        let mut signed = signed.fuse();
        let mut len = SIGNATURES_MAX;
        let mut refused = None;
        loop {
            let more = signed.by_ref().filter(|signed| Some(signed.block) != refused);
            let chunk: Vec<_> = more.take(SIGNATURES_MAX).collect();
            let mut at = 0;
            while at < chunk.len() {
                let end = chunk.len().min(at + len);
                let Some((bad, fault)) = self.first_bad(open, &chunk[at..end]) else {
                    at = end;
                    len = (2 * len).min(SIGNATURES_MAX);
                    continue;
                };
                let Signed { block, index, .. } = chunk[at + bad];
                verdicts[open[block].index] =
                    Err(Violation::BadTxSignature { transaction: index, fault });
                // The rest of its block changes nothing; the blocks after it are judged.
                at += bad;
                at += chunk[at..].iter().take_while(|signed| signed.block == block).count();
                refused = Some(block);
                // Whoever prepares many bad blocks makes this slow, but no slower than one by one.
                len = SIGNATURES_MIN;
            }
            if chunk.len() < SIGNATURES_MAX {
                return;
            }
        }
    }

    /// The first bad one of some signatures, which come block by block.
    fn first_bad(
        &self,
        open: &[Open<'_>],
        signed: &[Signed<'_>],
    ) -> Option<(usize, InvalidSignature)> {
        let mut numbers = HashMap::<_, _, RandomState>::default();
        let mut keys = Vec::new();
        // A key is looked up once for each block: there its account has a number already.
        let (mut in_block, mut of_accounts) = (usize::MAX, Vec::new());
        let number = signed.iter().map(|signed| {
            if signed.block != in_block {
                in_block = signed.block;
                of_accounts.clear();
                of_accounts.resize(open[in_block].block.effects().accounts().len(), None);
            }
            *of_accounts[signed.sender as usize].get_or_insert_with(|| {
                *numbers.entry(signed.key).or_insert_with(|| {
                    keys.push(signed.key);
                    keys.len() - 1
                })
            })
        });
        let number: Vec<_> = number.collect();
        let keys = self.keys.decode(&keys);
        let domain = self.domain();
        let (mut items, mut bad_key) = (Vec::with_capacity(signed.len()), None);
        for (at, (signed, number)) in signed.iter().zip(number).enumerate() {
            match &keys[number] {
                Ok(key) => items.push(KeptItem {
                    key,
                    domain: &domain,
                    message: signed.unsigned,
                    signature: signed.signature,
                }),
                Err(fault) => {
                    bad_key = Some((at, *fault));
                    break;
                }
            }
        }
        match verify_batch_kept(&items) {
            Err(bad) => Some((bad.index, bad.fault)),
            Ok(()) => bad_key,
        }
    }
}

/// A decoded body of the batch.
struct Open<'a> {
    /// Its place in the batch.
    index: usize,
    task: Task<()>,
    block: Block<'a>,
}

/// What is hashed of bodies: their leaves, and the tree over them if there are any.
struct Leaves<'o, 'a>(&'o [Open<'a>]);

impl<'a> Groves<'a> for Leaves<'_, 'a> {
    fn tell(&self, sink: &mut dyn GroveSink<'a>) {
        for Open { block, .. } in self.0 {
            block.leaves().iter().for_each(|leaf| sink.message(&[&rfc6962::LEAF, leaf]));
            if block.count() > 0 {
                (0..block.count()).for_each(|number| sink.leaf(Leaf::Digest(number)));
                sink.end_tree();
            }
            sink.end_grove();
        }
    }
}

/// A signature to judge.
struct Signed<'a> {
    /// The number of its block among the open ones.
    block: usize,
    /// The transaction's index in the block.
    index: u32,
    /// The sender's number in the block.
    sender: u32,
    key: &'a [u8; 32],
    unsigned: &'a [u8],
    signature: &'a Signature,
}

/// The bytes of a transaction without its signature.
fn unsigned(leaf: &[u8]) -> &[u8] {
    Transaction::unsigned_part(leaf)
}

/// Notes a verdict; whether the body goes on.
fn keep(verdict: Result<(), Violation>, place: &mut Result<(), Violation>) -> bool {
    *place = verdict;
    verdict.is_ok()
}

/// The first of some byte strings that equals an earlier one, and which one.
///
/// Two transactions have one id if all but their signatures are equal, so there is no need to hash them
/// as ids are hashed.
fn first_repeated<H: BuildHasher>(strings: &[&[u8]], hasher: &H) -> Option<(u32, u32)> {
    let mut seen = HashTable::with_capacity(strings.len());
    for (string, index) in strings.iter().zip(0u32..) {
        let hashed = hasher.hash_one(string);
        let is_same = |&(other, earlier): &(u64, u32)| {
            other == hashed && strings[earlier as usize] == *string
        };
        match seen.entry(hashed, is_same, |(hashed, _)| *hashed) {
            Entry::Vacant(place) => drop(place.insert((hashed, index))),
            Entry::Occupied(earlier) => return Some((index, earlier.get().1)),
        }
    }
    None
}

/// Keys of accounts, decoded once and kept, as many as memory allows. All batches share them.
#[derive(Default)]
struct Keys {
    known: RwLock<KnownKeys>,
}

type DecodedKey = Result<PublicKey, InvalidSignature>;
type KnownKeys = HashMap<[u8; 32], DecodedKey, RandomState>;

impl Keys {
    /// Some keys, all different, in order.
    fn decode(&self, keys: &[&[u8; 32]]) -> Vec<DecodedKey> {
        self.learn(keys);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // Another batch may have needed the room meanwhile.
        let decode = |key| known.get(key).copied().unwrap_or_else(|| PublicKey::from_bytes(key));
        keys.iter().copied().map(decode).collect()
    }

    /// Decodes those that are not known. The lock is held for as long as it takes to look, and to add.
    fn learn(&self, keys: &[&[u8; 32]]) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let new = keys.iter().filter(|key| !known.contains_key(**key)).map(|key| **key);
        let new: Vec<_> = new.collect();
        drop(known);
        if new.is_empty() {
            return;
        }
        let decoded = new
            .par_chunks(KEYS_TOGETHER)
            .flat_map_iter(|keys| keys.iter().copied().zip(PublicKey::from_many(keys)));
        let decoded: Vec<_> = decoded.collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() + new.len() > KEYS_MAX {
            // Those in use come back at once; which ones these are is not worth keeping track of.
            known.clear();
        }
        known.extend(decoded);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};

    use super::*;

    #[test]
    fn the_first_repetition_is_found() {
        /// For which all strings are equal.
        #[derive(Default)]
        struct Blind;
        impl Hasher for Blind {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, _: &[u8]) {}
        }
        let first = |strings: &[&str]| {
            let strings: Vec<_> = strings.iter().map(|string| string.as_bytes()).collect();
            let found = first_repeated(&strings, &RandomState::default());
            let blind = BuildHasherDefault::default();
            assert_eq!(found, first_repeated::<BuildHasherDefault<Blind>>(&strings, &blind));
            found
        };
        assert_eq!(first(&[]), None);
        assert_eq!(first(&["a", "b", "", "c"]), None);
        assert_eq!(first(&["a", "b", "a"]), Some((2, 0)));
        assert_eq!(first(&["a", "b", "c", "c", "b", "a"]), Some((3, 2)));
        assert_eq!(first(&["a", "b", "b", "b", "a", "a"]), Some((2, 1)));
        assert_eq!(first(&["b", "a", "x", "b", "a", "x"]), Some((3, 0)));
    }
}
