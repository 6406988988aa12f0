//! Follows the branch with the most work: judges its bodies, brings the state along, and then judges the
//! bodies beside it.
//!
//! All headers are known by now. If a body fails, the state goes back to where the next best branch
//! leaves, and follows that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use crate::chain::file::{AnyStorage, ChainFile, ChainFileError};
use crate::chain::{BlockTree, Body};
use crate::dump::{Bodies, BodyReader, Progress};
use crate::error::Error;
use crate::primitives::{Hash256, sha256d};
use crate::verdict::Violation;

use super::budget::{Budget, Share};
use super::family::{BranchStore, Family, JudgeBodies, JudgedBody, Known, ReadBody, Task};
use super::pipeline::{self, Overlap};
use super::target::Commits;
use super::{Busy, Stored};

/// The most bytes of bodies in a batch, unless one block has more.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;

/// What judging a batch takes at most where threads judge several at a time. No block that a network has
/// ever seen takes as much; one that does is judged by a single thread, always the same: an allocator
/// keeps for each thread what that has needed once.
const SHARED_COST_MAX: usize = 24 << 20;

/// How many blocks of a branch are looked up at a time.
const SEGMENT: usize = 1 << 16;

/// Threads that judge bodies.
#[derive(Clone)]
pub(super) struct Threads {
    /// All of them.
    all: Arc<ThreadPool>,
    /// The one for what takes much memory.
    single: Arc<ThreadPool>,
}

impl Threads {
    /// Of so many threads; zero means one for each core.
    pub(super) fn new(threads: usize) -> Result<Self, Error> {
        let all = Arc::new(thread_pool(threads)?);
        let single = match all.current_num_threads() {
            1 => Arc::clone(&all),
            _ => Arc::new(thread_pool(1)?),
        };
        Ok(Self { all, single })
    }

    /// Those of `pool`, unless judging takes too much memory for that.
    fn of_cost<'t>(&'t self, cost: usize, pool: &'t ThreadPool) -> &'t ThreadPool {
        if cost > SHARED_COST_MAX { &self.single } else { pool }
    }
}

pub(super) fn thread_pool(threads: usize) -> Result<ThreadPool, Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("bodies-{index}"))
        .build()
        .map_err(|error| Error::Device(error.to_string()))
}

/// Judges bodies, and keeps the state that the best branch leads to.
pub(super) struct Follower<'a, 's, F: Family> {
    pub(super) tree: BlockTree<F::Rules>,
    pub(super) family: F,
    /// The block that the state is that of.
    pub(super) at: u32,
    /// The chain file, if there is one.
    pub(super) sink: Option<Sink<'s, F>>,
    pub(super) bodies: &'a Bodies,
    pub(super) threads: Threads,
    /// The most bodies in a batch.
    pub(super) batch: usize,
    /// Whether the stages overlap.
    pub(super) overlap: bool,
    pub(super) progress: &'a Progress,
    pub(super) busy: Busy,
}

impl<F: Family> Follower<'_, '_, F> {
    /// Judges all bodies, and commits what passed to the chain file.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        let judged = self.follow_best().and_then(|()| self.judge_the_rest());
        // What passed stays, whatever came after it. If both fail, the first says why.
        let committed = self.finish();
        if let Some(sink) = &self.sink {
            // What took place while blocks were connected was counted as that.
            self.busy.append += sink.appending + sink.ending + sink.file().busy_behind();
            self.busy.connect = self.busy.connect.saturating_sub(sink.appending);
        }
        judged.and(committed)
    }

    /// Leads the state to the end of the best branch all of whose bodies pass.
    fn follow_best(&mut self) -> Result<(), Error> {
        loop {
            let best = self.tree.best();
            if best == self.at {
                return Ok(());
            }
            let (back, forth) = self.tree.route(self.at, best);
            if !back.is_empty() && !self.is_worth_the_way(&forth)? {
                continue;
            }
            self.take_back(&back)?;
            for segment in forth.chunks(SEGMENT) {
                if !self.connect_all(segment)? {
                    break;
                }
            }
        }
    }

    /// Whether the first block of the way that the state has not taken before passes by its own bytes.
    /// If it does not, the state need not go there to find out: branches whose tips fail by turns would
    /// send it to and fro.
    fn is_worth_the_way(&mut self, forth: &[u32]) -> Result<bool, Error> {
        let Some(&block) = forth.iter().find(|&&block| !self.tree.was_taken(block)) else {
            return Ok(true);
        };
        let mut reader = self.bodies.reader();
        while let Some(judged) = self.other_body(block, &mut reader)? {
            self.tree.judged(&judged.body, judged.verdict);
            if judged.verdict.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes blocks back, the last first.
    fn take_back(&mut self, blocks: &[u32]) -> Result<(), Error> {
        let mut reader = self.bodies.reader();
        for &block in blocks {
            self.at = self.tree.parent(block).expect("the start is never taken back");
            if !F::HAS_STATE {
                continue;
            }
            let bytes = match self.stored_body(block, true)? {
                Some(bytes) => bytes,
                None => {
                    let body = self.tree.body(block).expect("a connected block has a body");
                    read_body(&mut reader, &body, self.tree.id(block))?
                }
            };
            self.family.undo(&bytes);
            self.stopped()?;
        }
        Ok(())
    }

    /// The body of a block that the chain file holds, where the state is that before it, or with
    /// `after` that after it.
    fn stored_body(&mut self, block: u32, after: bool) -> Result<Option<Vec<u8>>, Error> {
        let Some(sink) = self.sink.as_mut().filter(|sink| sink.store.holds(block)) else {
            return Ok(None);
        };
        let (tree, family) = (&self.tree, &self.family);
        let body =
            family.stored_body(&mut sink.store, block, tree.block(block), tree.rules(), after);
        body.map(Some).map_err(|source| sink.error(source))
    }

    /// Connects blocks one after the other; `false` if one of them fails.
    fn connect_all(&mut self, mut blocks: &[u32]) -> Result<bool, Error> {
        // What was known beforehand comes first, as the parent of what is known is known.
        while let [block, rest @ ..] = blocks
            && self.tree.is_known(*block)
        {
            let bytes = self.stored_body(*block, false)?.expect("the file holds what is known");
            self.reconnect(*block, bytes)?;
            blocks = rest;
        }
        let mut bodies = Vec::with_capacity(blocks.len());
        for &block in blocks {
            // A block that lost its only body is not on the best branch.
            let Some(body) = self.tree.body(block) else { break };
            bodies.push(body);
        }
        let mut goes_on = true;
        self.judge_bodies(&bodies, self.sink.is_some(), |judge, judged| {
            goes_on = judge.connect(judged)?;
            Ok(goes_on)
        })?;
        Ok(goes_on)
    }

    fn task(&self, body: &Body, known: Known) -> Task<F::Context> {
        let known = if self.tree.is_sound(body) { Known::Sound } else { known };
        let block = body.height.map(|_| self.tree.block(body.block));
        let context = self.family.context(block);
        Task { body: *body, id: self.tree.id(body.block), known, context }
    }

    /// Judges bodies by their own bytes, and gives each to `take` until it wants no more; with `packs`, as the
    /// chain file will hold it.
    fn judge_bodies(
        &mut self,
        bodies: &[Body],
        packs: bool,
        mut take: impl FnMut(&mut Self, JudgedBody<F::Prepared>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut busy = self.busy;
        let tasks: Vec<_> = bodies
            .iter()
            .map(|body| {
                let known =
                    if self.tree.is_known(body.block) { Known::Block } else { Known::Nothing };
                self.task(body, known)
            })
            .collect();
        let mut reader = self.bodies.reader();
        let mut tasks = tasks.into_iter();
        let body_judge = self.family.judge(packs);
        let (pools, bodies_max) = self.judges(bodies.len())?;
        // Besides those that are judged one is read, and as many wait to be taken, behind one that takes long.
        let (workers, waiting) = (pools.len(), pools.len() + 1);
        let overlap = Overlap { overlap: self.overlap, workers, waiting };
        let threads = self.threads.clone();
        let budget = Budget::new();
        let cost_max = Budget::BYTES / (workers + waiting);
        // Threads that share a batch share its blocks among them.
        let bytes = match pools[0].current_num_threads() {
            1 => pools[0].install(|| body_judge.bytes_at_once()).min(BATCH_BYTES_MAX),
            _ => BATCH_BYTES_MAX,
        };
        let limits =
            Limits { bodies: bodies_max, bytes, cost: cost_max, cost_of: F::cost, workers };
        let result = pipeline::run(
            overlap,
            [&mut busy.read, &mut busy.bodies, &mut busy.connect],
            || {
                let batch = read_batch(&mut reader, &mut tasks, &limits).transpose()?;
                Some(batch.map(|Batch { bodies, cost }| (bodies, budget.take(cost))))
            },
            |worker, batch| {
                batch.map(|(bodies, share): (_, Share<'_>)| {
                    let pool = threads.of_cost(share.bytes(), &pools[worker]);
                    (pool.install(|| body_judge.judge(bodies)), share)
                })
            },
            |judged| {
                // The share goes back when all of them were taken.
                let (judged, _share) = judged?;
                for judged in judged {
                    self.progress.bodies.fetch_add(1, Relaxed);
                    if !take(self, judged)? {
                        return Ok(false);
                    }
                }
                self.stopped()?;
                Ok(true)
            },
        );
        self.busy = busy;
        result
    }

    /// The threads for each batch that is judged at the same time as others, and the most bodies in one.
    fn judges(&self, bodies: usize) -> Result<(Vec<Arc<ThreadPool>>, usize), Error> {
        let threads = self.threads.all.current_num_threads();
        let batch_max = self.batch.max(1);
        if !self.overlap || threads == 1 || bodies < 2 * threads {
            return Ok((vec![Arc::clone(&self.threads.all)], batch_max));
        }
        // A thread that does the whole of a batch never waits for another. For that there must be a
        // batch for each, and another when it ends.
        let pools = (0..threads).map(|_| thread_pool(1).map(Arc::new));
        Ok((pools.collect::<Result<_, _>>()?, batch_max.min(bodies.div_ceil(2 * threads))))
    }

    /// Applies a block to the state; `false` if it fails.
    fn connect(&mut self, judged: JudgedBody<F::Prepared>) -> Result<bool, Error> {
        let block = judged.body.block;
        let mut candidate = Some(judged);
        let mut reader = self.bodies.reader();
        while let Some(JudgedBody { body, bytes, prepared, verdict }) = candidate.take() {
            self.tree.judged(&body, verdict);
            if verdict.is_ok() {
                let prepared = prepared.unwrap_or_else(|| self.family.prepare(&bytes));
                let applied = self.apply(&body, &bytes, &prepared);
                self.bodies.give_back(bytes);
                return applied;
            }
            // A header may have another body that fits it; nearly none has.
            candidate = self.other_body(block, &mut reader)?;
        }
        Ok(false)
    }

    fn apply(&mut self, body: &Body, bytes: &[u8], prepared: &F::Prepared) -> Result<bool, Error> {
        if let Err(violation) = self.apply_to_state(body.block, prepared) {
            self.tree.judged(body, Err(violation));
            return Ok(false);
        }
        self.progress.height.store(u64::from(body.height.unwrap_or(0)), Relaxed);
        let Some(sink) = &mut self.sink else { return Ok(true) };
        sink.connected(body.block, bytes, prepared, &self.family, &self.tree, self.bodies)?;
        Ok(true)
    }

    fn apply_to_state(&mut self, number: u32, prepared: &F::Prepared) -> Result<(), Violation> {
        self.family.apply(prepared)?;
        self.tree.taken(number);
        self.at = number;
        Ok(())
    }

    /// Applies a block of the chain file again, after it was taken back.
    fn reconnect(&mut self, block: u32, bytes: Vec<u8>) -> Result<(), Error> {
        let prepared = self.family.prepare(&bytes);
        let applied = self.apply_to_state(block, &prepared);
        assert_eq!(applied, Ok(()), "it was applied before");
        let Some(sink) = &mut self.sink else { return Ok(()) };
        // A file that kept only the first half of a reorganisation has less work than the branch that
        // it took back.
        sink.connected(block, &bytes, &prepared, &self.family, &self.tree, self.bodies)?;
        if F::HAS_STATE && sink.tip() != block {
            // Read again later on, it would need the state of its place.
            sink.reconnected.insert(block, bytes);
        }
        Ok(())
    }

    /// Commits what the chain file has not committed.
    fn finish(&mut self) -> Result<(), Error> {
        self.sink.as_mut().map_or(Ok(()), |sink| sink.finish(&self.tree))
    }

    /// The next body of a block whose bodies so far do not fit it.
    fn other_body(
        &self,
        block: u32,
        reader: &mut BodyReader<'_>,
    ) -> Result<Option<JudgedBody<F::Prepared>>, Error> {
        let Some(body) = self.tree.body(block).filter(|_| !self.tree.is_condemned(block)) else {
            return Ok(None);
        };
        let task = self.task(&body, Known::Nothing);
        let bytes = read_body(reader, &body, task.id)?;
        let read = ReadBody { task, bytes };
        let body_judge = self.family.judge(false);
        self.stopped()?;
        let pool = self.threads.of_cost(F::cost(&read.bytes), &self.threads.all);
        Ok(pool.install(|| body_judge.judge(vec![read])).pop())
    }

    /// Judges all bodies beside the best branch by their own bytes.
    fn judge_the_rest(&mut self) -> Result<(), Error> {
        let rest = self.tree.unjudged();
        for segment in rest.chunks(SEGMENT) {
            self.judge_bodies(segment, false, |judge, judged| {
                judge.tree.judged(&judged.body, judged.verdict);
                judge.bodies.give_back(judged.bytes);
                Ok(true)
            })?;
        }
        Ok(())
    }

    fn stopped(&self) -> Result<(), Error> {
        if self.progress.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// The way into a chain file.
pub(super) struct Sink<'a, F: Family> {
    store: F::Store,
    commits: Commits<'a>,
    /// Bytes of the file at the last commit.
    committed_len: u64,
    /// By how many bytes it grows until the next.
    commit_bytes: u64,
    /// How long this thread was busy with the file: before the end, and then.
    appending: Duration,
    ending: Duration,
    /// Whether the file is between two branches, and so must not be committed.
    is_between: bool,
    /// Bodies of the file that were applied again on a branch that is not the file's.
    reconnected: HashMap<u32, Vec<u8>>,
}

impl<'a, F: Family> Sink<'a, F> {
    /// A way into `store`, which is written by a thread of its own with `overlap`.
    pub(super) fn new(
        store: F::Store,
        commits: Commits<'a>,
        commit_bytes: u64,
        overlap: bool,
    ) -> Result<Self, Error> {
        let store = if overlap { store.write_behind() } else { Ok(store) };
        let store = store.map_err(|error| commits.error(error.into()))?;
        let committed_len = store.branch().file().len();
        let reconnected = HashMap::new();
        Ok(Self {
            store,
            commits,
            committed_len,
            commit_bytes,
            appending: Duration::ZERO,
            ending: Duration::ZERO,
            is_between: false,
            reconnected,
        })
    }

    pub(super) fn stored(&self) -> Stored {
        self.commits.stored(self.file())
    }

    fn file(&self) -> &ChainFile<AnyStorage> {
        self.store.branch().file()
    }

    fn tip(&self) -> u32 {
        self.store.branch().tip()
    }

    fn error(&self, source: ChainFileError) -> Error {
        self.commits.error(source)
    }

    /// Takes a block that was connected. One on another branch than the file's waits until that branch
    /// has more work: until then a node would stay where it is.
    fn connected(
        &mut self,
        block: u32,
        bytes: &[u8],
        prepared: &F::Prepared,
        family: &F,
        tree: &BlockTree<F::Rules>,
        bodies: &Bodies,
    ) -> Result<(), Error> {
        let start = Instant::now();
        let tip = self.tip();
        if tree.parent(block) == Some(tip) {
            self.append(block, bytes, prepared, family, tree)?;
        } else if tree.work(block) > tree.work(tip) {
            self.reorganise(block, bytes, prepared, family, tree, bodies)?;
        }
        if self.file().len() - self.committed_len >= self.commit_bytes {
            self.commit(tree)?;
        }
        self.commits.acknowledge(self.store.branch_mut(), Ok(()), false)?;
        self.appending += start.elapsed();
        Ok(())
    }

    fn reorganise(
        &mut self,
        block: u32,
        bytes: &[u8],
        prepared: &F::Prepared,
        family: &F,
        tree: &BlockTree<F::Rules>,
        bodies: &Bodies,
    ) -> Result<(), Error> {
        let (back, forth) = tree.route(self.tip(), block);
        // Should a body be gone, what was committed is better than half of the way.
        self.is_between = true;
        if let Some(last) = back.last() {
            let fork = tree.parent(*last).expect("the start is never taken back");
            let count = tree.block(self.tip()).height() - tree.block(fork).height();
            let taken_back = self.store.branch_mut().take_back(count, fork);
            taken_back.map_err(|source| self.error(source))?;
        }
        let mut reader = bodies.reader();
        for number in forth {
            if number == block {
                self.append(number, bytes, prepared, family, tree)?;
            } else if let Some(known) = self.reconnected.remove(&number) {
                self.append(number, &known, &family.prepare(&known), family, tree)?;
            } else if !F::HAS_STATE && self.store.holds(number) {
                let (block, rules) = (tree.block(number), tree.rules());
                let known = family.stored_body(&mut self.store, number, block, rules, false);
                let known = known.map_err(|source| self.error(source))?;
                self.append(number, &known, &family.prepare(&known), family, tree)?;
            } else {
                let body = tree.body(number).expect("a connected block has a body");
                let bytes = read_body(&mut reader, &body, tree.id(number))?;
                self.append(number, &bytes, &family.prepare(&bytes), family, tree)?;
            }
        }
        self.reconnected.clear();
        self.is_between = false;
        Ok(())
    }

    fn append(
        &mut self,
        number: u32,
        bytes: &[u8],
        prepared: &F::Prepared,
        family: &F,
        tree: &BlockTree<F::Rules>,
    ) -> Result<(), Error> {
        let appended = family.append(&mut self.store, number, tree.block(number), bytes, prepared);
        appended.map_err(|source| self.error(source))
    }

    fn commit(&mut self, tree: &BlockTree<F::Rules>) -> Result<(), Error> {
        if !self.file().is_dirty() || self.is_between {
            return Ok(());
        }
        let tip = tree.block(self.tip());
        let begun = self.store.branch_mut().begin_commit(tip);
        self.committed_len = self.file().len();
        self.commits.acknowledge(self.store.branch_mut(), begun, false)
    }

    /// Commits what is left, and waits until all of it is safe.
    fn finish(&mut self, tree: &BlockTree<F::Rules>) -> Result<(), Error> {
        let start = Instant::now();
        let committed = self.commit(tree);
        self.ending += start.elapsed();
        let settled = self.commits.acknowledge(self.store.branch_mut(), Ok(()), true);
        committed.and(settled)
    }
}

/// When a batch is full.
struct Limits {
    bodies: usize,
    /// Their bytes, unless one block has more.
    bytes: usize,
    /// What judging it takes, unless one block takes more.
    cost: usize,
    cost_of: fn(&[u8]) -> usize,
    /// How many batches are judged at the same time: towards the end they become smaller, so that nobody
    /// is busy with a large one while the others have none.
    workers: usize,
}

/// Bodies to judge together.
struct Batch<C> {
    bodies: Vec<ReadBody<C>>,
    /// What judging them takes.
    cost: usize,
}

/// Reads bodies until they fill a batch; `None` if there are none left.
fn read_batch<C>(
    reader: &mut BodyReader<'_>,
    tasks: &mut impl ExactSizeIterator<Item = Task<C>>,
    limits: &Limits,
) -> Result<Option<Batch<C>>, Error> {
    let mut bodies = Vec::new();
    let (mut len, mut cost) = (0, 0);
    let bodies_max = match limits.workers {
        1 => limits.bodies,
        workers => limits.bodies.min(tasks.len().div_ceil(2 * workers)),
    };
    while bodies.len() < bodies_max && len < limits.bytes && cost < limits.cost {
        let Some(task) = tasks.next() else { break };
        let bytes = read_body(reader, &task.body, task.id)?;
        len += bytes.len();
        cost += (limits.cost_of)(&bytes);
        bodies.push(ReadBody { task, bytes });
    }
    Ok((!bodies.is_empty()).then_some(Batch { bodies, cost }))
}

/// Reads a body; its header must still be the one that was read first.
fn read_body(reader: &mut BodyReader<'_>, body: &Body, id: Hash256) -> Result<Vec<u8>, Error> {
    let bytes = reader.read(body.position)?;
    let header = bytes.get(..crate::primitives::Header::LEN);
    if header.map(sha256d) != Some(id) {
        return Err(reader.changed(body.position));
    }
    Ok(bytes)
}
