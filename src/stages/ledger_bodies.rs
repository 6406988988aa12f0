//! The stage that judges bodies by their own bytes: encoding, Merkle root, shape and signatures.
//!
//! Many blocks at a time: all leaves, ids and trees of a batch go to the backend together, and all
//! signatures into few equations. The verdict on a block is that of the block alone.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use rayon::prelude::*;

use crate::compute::Backend;
use crate::ledger::{Block, BodyRules, MAGIC, Params, Transaction};
use crate::primitives::{Hash256, HashFunction, Messages, Trees, rfc6962, sha256d};
use crate::signature::{InvalidSignature, KeptItem, PublicKey, verify_batch_kept};
use crate::verdict::Violation;

use super::family::{JudgeBodies, JudgedBody, Known, ReadBody, Task};

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
}

impl<'a> BodyJudge<'a> {
    pub(super) fn new(params: &'a Params, backend: &'a dyn Backend) -> Self {
        Self { params, chain_id: params.chain_id(), backend, keys: Keys::default() }
    }
}

impl JudgeBodies<()> for BodyJudge<'_> {
    fn judge(&self, bodies: Vec<ReadBody<()>>) -> Vec<JudgedBody> {
        let mut verdicts = vec![Ok(()); bodies.len()];
        let rules = BodyRules::new(self.params);
        let decoded: Vec<_> = bodies
            .par_iter()
            .map(|body| (body.task.known != Known::Sound).then(|| rules.decode(&body.bytes)))
            .collect();
        let mut open = Vec::new();
        for (index, decoded) in decoded.into_iter().enumerate() {
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
        self.judge_trees(&mut open, &mut verdicts);
        open.retain(|open| open.task.known == Known::Nothing);
        let shapes: Vec<_> = open
            .par_iter()
            .map(|open| rules.check_shape(&open.block, open.task.body.height))
            .collect();
        let mut shapes = shapes.into_iter();
        open.retain(|open| keep(shapes.next().unwrap_or(Ok(())), &mut verdicts[open.index]));
        self.judge_signatures(&open, &mut verdicts);
        let judged = bodies.into_iter().zip(verdicts);
        judged
            .map(|(ReadBody { task, bytes }, verdict)| JudgedBody {
                body: task.body,
                bytes,
                packed: None,
                verdict,
            })
            .collect()
    }
}

impl BodyJudge<'_> {
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
        let digests = self.digests(&first);
        let right =
            first.par_iter().zip(&digests).map(|(open, digests)| self.confirm(open, digests));
        let right: Vec<_> = right.collect();
        let was_wrong = right.iter().any(|(_, was_wrong)| *was_wrong);
        let checked: Vec<_> = if was_wrong {
            // One wrong digest makes all of the batch doubtful.
            self.backend.was_wrong("a Merkle root or a transaction id of a body was wrong".into());
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

    /// What the backend's digests say of a block. No block is rejected on a device's word alone: then
    /// the host computes them again, and says whether the device was wrong.
    fn confirm(&self, open: &Open<'_>, digests: &Digests) -> (Result<(), Violation>, bool) {
        let asked = Cell::new(false);
        let verdict = self.check_tree(open, digests, &asked);
        if verdict.is_ok() && !asked.get() {
            return (verdict, false);
        }
        let right = self.host_digests(open);
        (self.check_tree(open, &right, &asked), right != *digests)
    }

    /// `asked` is set if the digests looked as if two ids were equal, whether or not they are.
    fn check_tree(
        &self,
        open: &Open<'_>,
        digests: &Digests,
        asked: &Cell<bool>,
    ) -> Result<(), Violation> {
        BodyRules::new(self.params).check_merkle_root(&open.block, digests.root)?;
        check_repeated_ids(&digests.ids, |index| {
            asked.set(true);
            self.host_id(open.block.leaves()[index as usize])
        })
    }

    /// What the host's own digests say of a block.
    fn check_on_host(&self, open: &Open<'_>) -> Result<(), Violation> {
        self.check_tree(open, &self.host_digests(open), &Cell::new(false))
    }

    fn host_id(&self, leaf: &[u8]) -> Hash256 {
        let mut message = self.domain();
        message.extend_from_slice(unsigned(leaf));
        sha256d(&message)
    }

    fn host_digests(&self, open: &Open<'_>) -> Digests {
        let ids = open.block.leaves().iter().map(|leaf| self.host_id(leaf).low_u64());
        Digests { root: open.block.merkle_root(), ids: ids.collect() }
    }

    /// Roots and ids of many blocks, from the backend.
    fn digests(&self, open: &[Open<'_>]) -> Vec<Digests> {
        let leaves = || open.iter().flat_map(|open| open.block.leaves().iter().copied());
        let count = leaves().count();
        let domain = self.domain();
        let mut ids = Vec::with_capacity(count);
        self.hash_all(
            HashFunction::Sha256d,
            leaves(),
            |leaf| [&domain, unsigned(leaf)],
            |digests| ids.extend(digests.iter().map(Hash256::low_u64)),
        );
        let mut trees = Trees::with_capacity(count);
        let sizes = open.iter().map(|open| open.block.leaves().len());
        self.hash_all(
            HashFunction::Sha256,
            leaves(),
            |leaf| [&[0], leaf],
            |digests| trees.extend_leaves(digests),
        );
        sizes.clone().filter(|size| *size > 0).for_each(|size| trees.close(size));
        let mut roots = vec![Hash256::ZERO; trees.len()];
        self.backend.rfc6962_roots(&trees, &mut roots);
        drop(trees);
        let (mut roots, mut ids) = (roots.into_iter(), ids.into_iter());
        let digests = sizes.map(|size| match size {
            0 => Digests { root: rfc6962::root(&[]), ids: Vec::new() },
            size => Digests {
                root: roots.next().expect("one root per tree"),
                ids: ids.by_ref().take(size).collect(),
            },
        });
        digests.collect()
    }

    /// The digests of all `parts`, a stretch of them at a time, so that their copies stay small.
    fn hash_all<'b>(
        &self,
        function: HashFunction,
        leaves: impl Iterator<Item = &'b [u8]>,
        parts: impl Fn(&'b [u8]) -> [&'b [u8]; 2],
        mut take: impl FnMut(&[Hash256]),
    ) {
        let bytes_at_once = self.backend.message_bytes_at_once();
        let mut digests = Vec::new();
        let mut messages = Messages::new();
        let mut hash = |messages: &mut Messages| {
            digests.resize(messages.len(), Hash256::ZERO);
            self.backend.hash_messages(function, messages, &mut digests);
            take(&digests);
            messages.clear();
        };
        for leaf in leaves {
            messages.push(&parts(leaf));
            if messages.bytes().len() >= bytes_at_once {
                hash(&mut messages);
            }
        }
        hash(&mut messages);
    }

    /// What stands before a transaction in its signed bytes.
    fn domain(&self) -> Vec<u8> {
        [&MAGIC[..], self.chain_id.as_bytes()].concat()
    }

    /// The first bad signature of each block.
    fn judge_signatures(&self, open: &[Open<'_>], verdicts: &mut [Result<(), Violation>]) {
        let signed = open.iter().enumerate().flat_map(|(block, open)| {
            let transactions = open.block.transactions();
            transactions.filter_map(move |(index, transaction)| {
                let leaf = open.block.leaves()[index as usize];
                Signed::new(block, index, leaf, &transaction)
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
                let Some((bad, fault)) = self.first_bad(&chunk[at..end]) else {
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

    /// The first bad one of some signatures.
    fn first_bad(&self, signed: &[Signed<'_>]) -> Option<(usize, InvalidSignature)> {
        let mut messages = Messages::new();
        let domain = self.domain();
        let mut bad_key = None;
        let mut keys = Vec::with_capacity(signed.len());
        let decoded = self.keys.decode(signed.iter().map(|signed| &signed.key));
        for (at, (signed, key)) in signed.iter().zip(decoded).enumerate() {
            match key {
                Ok(key) => keys.push(key),
                Err(fault) => {
                    bad_key = Some((at, fault));
                    break;
                }
            }
            messages.push(&[&domain, signed.unsigned]);
        }
        let items: Vec<_> = keys
            .iter()
            .zip(signed)
            .enumerate()
            .map(|(at, (key, signed))| KeptItem {
                key,
                message: messages.get(at),
                signature: &signed.signature,
            })
            .collect();
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

/// What is hashed of a body.
#[derive(PartialEq, Eq)]
struct Digests {
    root: Hash256,
    /// A part of each transaction's id: a block can have a million of them.
    ids: Vec<u64>,
}

/// A signature to judge.
struct Signed<'a> {
    /// The number of its block among the open ones.
    block: usize,
    /// The transaction's index in the block.
    index: u32,
    key: [u8; 32],
    unsigned: &'a [u8],
    signature: [u8; 64],
}

impl<'a> Signed<'a> {
    fn new(
        block: usize,
        index: u32,
        leaf: &'a [u8],
        transaction: &Transaction<'a>,
    ) -> Option<Self> {
        let (sender, signature) = transaction.sender().zip(transaction.signature())?;
        let (key, signature) = (*sender.key(), *signature);
        Some(Self { block, index, key, unsigned: unsigned(leaf), signature })
    }
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

/// No two transactions of a block have one id. `low` is a part of each id; `id` gives the whole, right
/// one.
fn check_repeated_ids(low: &[u64], id: impl Fn(u32) -> Hash256) -> Result<(), Violation> {
    // In order, equal ids become neighbours. Few blocks have equal parts by chance.
    let mut sorted: Vec<_> = low.iter().copied().zip(0u32..).collect();
    sorted.sort_unstable();
    let mut first: Option<(u32, u32, Hash256)> = None;
    for run in sorted.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        let mut seen: HashMap<Hash256, u32> = HashMap::new();
        for &(_, index) in run {
            if first.is_some_and(|(lowest, ..)| lowest < index) {
                break;
            }
            let id = id(index);
            match seen.get(&id) {
                Some(&earlier) => first = Some((index, earlier, id)),
                None => {
                    seen.insert(id, index);
                }
            }
        }
    }
    first.map_or(Ok(()), |(transaction, earlier, id)| {
        Err(Violation::BadTxnsDuplicate { transaction, earlier, id })
    })
}

/// Keys of accounts, decoded once and kept, as many as memory allows. All batches share them.
#[derive(Default)]
struct Keys {
    known: RwLock<KnownKeys>,
}

type DecodedKey = Result<PublicKey, InvalidSignature>;
type KnownKeys = HashMap<[u8; 32], DecodedKey, foldhash::quality::RandomState>;

impl Keys {
    /// The keys, in order.
    fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8; 32]> + Clone) -> Vec<DecodedKey> {
        self.learn(keys.clone());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // Another batch may have needed the room meanwhile.
        let decode = |key| known.get(key).copied().unwrap_or_else(|| PublicKey::from_bytes(key));
        keys.map(decode).collect()
    }

    /// Decodes those that are not known. The lock is held for as long as it takes to look, and to add.
    fn learn<'a>(&self, keys: impl Iterator<Item = &'a [u8; 32]>) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<_> = keys.filter(|key| !known.contains_key(*key)).collect();
        drop(known);
        if new.is_empty() {
            return;
        }
        new.sort_unstable();
        new.dedup();
        let decoded = new.par_chunks(KEYS_TOGETHER).flat_map_iter(|keys| {
            let keys: Vec<_> = keys.iter().map(|key| **key).collect();
            let decoded = PublicKey::from_many(&keys);
            keys.into_iter().zip(decoded)
        });
        let decoded: Vec<_> = decoded.collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() + new.len() > KEYS_MAX {
            // Those in use come back at once; which ones these are is not worth keeping track of.
            known.clear();
        }
        known.extend(decoded);
    }
}
