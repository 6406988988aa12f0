//! Validation of a ledger: all headers first, then the bodies along the branch with the most work.
//!
//! ```text
//! first reading    heads, headers -> ids -> header tree
//! second reading   bodies -> own bytes -> state, along the best branch
//! and then         bodies beside it -> own bytes
//! ```
//!
//! If a body fails, the state goes back to where the next best branch leaves, and follows that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rayon::ThreadPool;

use crate::chain::file::ChainFileError;
use crate::chain::{BlockTree, Body, HeaderTree, Outcome, Start};
use crate::compute::Backend;
use crate::dump::{Batch, Bodies, BodyReader, FileTable, Inputs, LedgerReader, Progress};
use crate::error::Error;
use crate::ledger::{Block, HeaderRules, LedgerStore, Params, State};
use crate::primitives::{Hash256, sha256d};
use crate::verdict::{Position, Violation};

use super::bodies::{BodyJudge, JudgedBody, Known, ReadBody, Task};
use super::hash::{self, HashedBatch};
use super::pipeline::{self, Overlap};
use super::target::{AppendLedger, AppendTo, Commits};
use super::{Busy, Family, QUEUE, Stored, Validation};

/// The bytes of bodies in a batch, unless one block has more.
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// The number of genesis.
const START: u32 = BlockTree::<HeaderRules>::START;

/// How many blocks of a branch are looked up at a time.
const SEGMENT: usize = 1 << 16;

/// What to validate, and how.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The parameters that every dump must have; `None` to take those of the dumps.
    pub params: Option<Params>,
    /// The clock, in seconds since 1970-01-01.
    pub now: u64,
    /// The most headers or bodies in a batch.
    pub batch: usize,
    /// Threads that judge bodies; zero means one for each core.
    pub threads: usize,
    /// Whether the stages overlap.
    pub overlap: bool,
    /// How many rejections are listed.
    pub rejections_max: usize,
    /// By how many bytes a chain file grows, about, from one commit to the next.
    pub commit_bytes: u64,
}

impl LedgerOptions {
    /// How far a chain file grows from one commit to the next where nobody says otherwise.
    pub const COMMIT_BYTES: u64 = 4 << 20;
}

/// What a ledger holds at its tip.
#[derive(Clone, Debug)]
pub struct LedgerSummary {
    /// Its parameters.
    pub params: Params,
    /// Whether the dump itself said so, and nobody else.
    pub params_from_dump: bool,
    /// Transactions on the best branch, rewards included.
    pub transactions: u64,
    /// Accounts that hold coins or have made a transaction.
    pub accounts: u64,
    /// All coins there are.
    pub supply: u64,
}

/// Validates dumps of a ledger, whole.
///
/// # Errors
/// If the question cannot be answered as it was put (two ledgers), if a resource is missing, or if
/// `progress` asks to stop. Whatever is wrong with the input itself is in the [`Validation`].
pub fn validate_ledger(
    inputs: Inputs,
    backend: &dyn Backend,
    options: &LedgerOptions,
    progress: &Arc<Progress>,
    append_to: Option<AppendLedger<'_>>,
) -> Result<Validation, Error> {
    let mut busy = Busy::default();
    let mut reader = LedgerReader::new(inputs, options.params.clone(), options.batch);
    let Some(params) = reader.open_first()?.cloned() else {
        let (files, error, _) = reader.finish();
        return Ok(Validation { error, ..Validation::nothing(Family::Ledger, files, busy) });
    };
    let mut tree = HeaderTree::new(HeaderRules::new(&params, options.now), Start::Genesis, 0);
    let mut state = State::genesis(&params);
    let (mut at, mut transactions, mut sink) = (START, 0, None);
    let confirm = append_to.is_some();
    if let Some(AppendTo { path, mut open, committed }) = append_to {
        let loaded = open(&params)?;
        (tree, state, transactions) = (loaded.tree, loaded.state, loaded.transactions);
        tree.set_rules(HeaderRules::new(&params, options.now));
        at = loaded.store.tip();
        let commits = Commits::new(path, committed);
        sink = Some(Sink::new(loaded.store, commits, options.commit_bytes));
    }
    tree = tree.with_bodies();
    let hash = |batch| hash::hash(batch, backend, confirm);
    read_headers(&mut reader, &mut tree, hash, options, progress, &mut busy)?;
    let params_from_dump = reader.is_from_dump();
    let first_height = reader.first_height();
    let (files, unreadable, bodies) = reader.finish();
    let mut judge = Judge {
        tree: tree.into_blocks(options.rejections_max),
        state,
        at,
        transactions,
        sink,
        params: &params,
        backend,
        bodies: &bodies,
        pool: Arc::new(thread_pool(options.threads)?),
        options,
        progress,
        busy,
    };
    let judged = judge.follow_best().and_then(|()| judge.judge_the_rest());
    // What passed stays, whatever came after it. If both fail, the first says why.
    let committed = judge.commit();
    judged.and(committed)?;
    let stored = judge.sink.as_ref().map(Sink::stored);
    let (outcome, state, transactions, busy) = judge.finish();
    let error = unreadable.or_else(|| nothing_connects(&outcome, first_height, &files));
    Ok(Validation {
        outcome: Some(outcome),
        ledger: Some(LedgerSummary {
            params_from_dump,
            transactions,
            accounts: state.len() as u64,
            supply: state.supply(),
            params,
        }),
        error,
        stored,
        ..Validation::nothing(Family::Ledger, files, busy)
    })
}

/// The first reading.
fn read_headers(
    reader: &mut LedgerReader,
    tree: &mut HeaderTree<HeaderRules>,
    hash: impl Fn(Batch) -> HashedBatch + Sync,
    options: &LedgerOptions,
    progress: &Progress,
    busy: &mut Busy,
) -> Result<(), Error> {
    pipeline::run(
        Overlap { overlap: options.overlap, queue: QUEUE },
        [&mut busy.read, &mut busy.hash, &mut busy.connect],
        || reader.next_batch().transpose(),
        |batch| batch.map(&hash),
        |hashed| {
            for (header, id, position) in hashed?.iter() {
                tree.insert(header, *id, position);
            }
            progress.blocks.store(tree.seen(), Relaxed);
            if progress.is_stopped() { Err(Error::Interrupted) } else { Ok(true) }
        },
    )
}

pub(super) fn thread_pool(threads: usize) -> Result<ThreadPool, Error> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("bodies-{index}"))
        .build()
        .map_err(|error| Error::Device(error.to_string()))
}

/// Judges bodies, and keeps the state that the best branch leads to.
struct Judge<'a, 's> {
    tree: BlockTree<HeaderRules>,
    state: State,
    /// The block that the state is that of.
    at: u32,
    /// Transactions on the branch up to there.
    transactions: u64,
    /// The chain file, if there is one.
    sink: Option<Sink<'s>>,
    params: &'a Params,
    backend: &'a dyn Backend,
    bodies: &'a Bodies,
    pool: Arc<ThreadPool>,
    options: &'a LedgerOptions,
    progress: &'a Progress,
    busy: Busy,
}

impl Judge<'_, '_> {
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
            let bytes = match self.stored_body(block, true)? {
                Some(bytes) => bytes,
                None => {
                    let body = self.tree.body(block).expect("a connected block has a body");
                    read_body(&mut reader, &body, self.tree.id(block))?
                }
            };
            self.transactions -= self.undo(&bytes);
            self.at = self.tree.parent(block).expect("the start is never taken back");
            self.stopped()?;
        }
        Ok(())
    }

    /// Undoes a block that was applied, and says how many transactions it has.
    fn undo(&mut self, bytes: &[u8]) -> u64 {
        let block = Block::decode_again(bytes);
        self.state.undo(&block);
        block.count().into()
    }

    /// The body of a block that the chain file holds, where the state is that before it, or with
    /// `after` that after it.
    fn stored_body(&mut self, block: u32, after: bool) -> Result<Option<Vec<u8>>, Error> {
        let Some(sink) = self.sink.as_mut().filter(|sink| sink.store.holds(block)) else {
            return Ok(None);
        };
        let (tree, state) = (&self.tree, &self.state);
        let body = sink.store.body(block, tree.block(block), tree.rules(), state, after);
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
        self.judge_bodies(&bodies, |judge, judged| {
            goes_on = judge.connect(judged)?;
            Ok(goes_on)
        })?;
        Ok(goes_on)
    }

    /// Judges bodies by their own bytes, and gives each to `take` until it wants no more.
    fn judge_bodies(
        &mut self,
        bodies: &[Body],
        mut take: impl FnMut(&mut Self, JudgedBody) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut busy = self.busy;
        let tasks: Vec<_> = bodies
            .iter()
            .map(|body| Task {
                body: *body,
                id: self.tree.id(body.block),
                known: if self.tree.is_sound(body) {
                    Known::Sound
                } else if self.tree.is_known(body.block) {
                    Known::Block
                } else {
                    Known::Nothing
                },
            })
            .collect();
        let mut reader = self.bodies.reader();
        let mut tasks = tasks.into_iter();
        let (batch_max, pool) = (self.options.batch.max(1), Arc::clone(&self.pool));
        let mut body_judge = BodyJudge::new(self.params, self.backend);
        let overlap = Overlap { overlap: self.options.overlap, queue: 0 };
        let result = pipeline::run(
            overlap,
            [&mut busy.read, &mut busy.bodies, &mut busy.connect],
            || read_batch(&mut reader, &mut tasks, batch_max).transpose(),
            |batch| batch.map(|batch| pool.install(|| body_judge.judge(batch))),
            |judged| {
                for judged in judged? {
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

    /// Applies a block to the state; `false` if it fails.
    fn connect(&mut self, judged: JudgedBody) -> Result<bool, Error> {
        let block = judged.body.block;
        let mut candidate = Some(judged);
        let mut reader = self.bodies.reader();
        while let Some(JudgedBody { body, bytes, verdict }) = candidate.take() {
            self.tree.judged(&body, verdict);
            if verdict.is_ok() {
                return self.apply(&body, &bytes);
            }
            // A header may have another body that fits it; nearly none has.
            candidate = self.other_body(block, &mut reader)?;
        }
        Ok(false)
    }

    fn apply(&mut self, body: &Body, bytes: &[u8]) -> Result<bool, Error> {
        if let Err(violation) = self.apply_to_state(body.block, bytes) {
            self.tree.judged(body, Err(violation));
            return Ok(false);
        }
        self.progress.height.store(u64::from(body.height.unwrap_or(0)), Relaxed);
        let Some(sink) = &mut self.sink else { return Ok(true) };
        sink.connected(body.block, bytes, &self.tree, self.bodies)?;
        Ok(true)
    }

    fn apply_to_state(&mut self, number: u32, bytes: &[u8]) -> Result<(), Violation> {
        let block = Block::decode_again(bytes);
        self.state.apply(&block)?;
        self.tree.taken(number);
        self.at = number;
        self.transactions += u64::from(block.count());
        Ok(())
    }

    /// Applies a block of the chain file again, after it was taken back.
    fn reconnect(&mut self, block: u32, bytes: Vec<u8>) -> Result<(), Error> {
        let applied = self.apply_to_state(block, &bytes);
        assert_eq!(applied, Ok(()), "it was applied before");
        let Some(sink) = &mut self.sink else { return Ok(()) };
        // A file that kept only the first half of a reorganisation has less work than the branch that
        // it took back.
        sink.connected(block, &bytes, &self.tree, self.bodies)?;
        if sink.store.tip() != block {
            sink.reconnected.insert(block, bytes);
        }
        Ok(())
    }

    /// Commits what the chain file has not committed.
    fn commit(&mut self) -> Result<(), Error> {
        self.sink.as_mut().map_or(Ok(()), |sink| sink.commit(&self.tree))
    }

    /// The next body of a block whose bodies so far do not fit it.
    fn other_body(
        &self,
        block: u32,
        reader: &mut BodyReader<'_>,
    ) -> Result<Option<JudgedBody>, Error> {
        let Some(body) = self.tree.body(block).filter(|_| !self.tree.is_condemned(block)) else {
            return Ok(None);
        };
        let id = self.tree.id(block);
        let bytes = read_body(reader, &body, id)?;
        let known = if self.tree.is_sound(&body) { Known::Sound } else { Known::Nothing };
        let read = ReadBody { task: Task { body, id, known }, bytes };
        let mut body_judge = BodyJudge::new(self.params, self.backend);
        self.stopped()?;
        Ok(self.pool.install(|| body_judge.judge(vec![read])).pop())
    }

    /// Judges all bodies beside the best branch by their own bytes.
    fn judge_the_rest(&mut self) -> Result<(), Error> {
        let rest = self.tree.unjudged();
        for segment in rest.chunks(SEGMENT) {
            self.judge_bodies(segment, |judge, judged| {
                judge.tree.judged(&judged.body, judged.verdict);
                Ok(true)
            })?;
        }
        Ok(())
    }

    fn stopped(&self) -> Result<(), Error> {
        if self.progress.is_stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn finish(self) -> (Outcome, State, u64, Busy) {
        (self.tree.finish(self.at), self.state, self.transactions, self.busy)
    }
}

/// The way into a chain file.
struct Sink<'a> {
    store: LedgerStore,
    commits: Commits<'a>,
    /// Bytes of the file at the last commit.
    committed_len: u64,
    /// By how many bytes it grows until the next.
    commit_bytes: u64,
    /// Whether the file is between two branches, and so must not be committed.
    is_between: bool,
    /// Bodies of the file that were applied again on a branch that is not the file's.
    reconnected: HashMap<u32, Vec<u8>>,
}

impl<'a> Sink<'a> {
    fn new(store: LedgerStore, commits: Commits<'a>, commit_bytes: u64) -> Self {
        let committed_len = store.file().len();
        let reconnected = HashMap::new();
        Self { store, commits, committed_len, commit_bytes, is_between: false, reconnected }
    }

    fn stored(&self) -> Stored {
        self.commits.stored(self.store.file())
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
        tree: &BlockTree<HeaderRules>,
        bodies: &Bodies,
    ) -> Result<(), Error> {
        let tip = self.store.tip();
        if tree.parent(block) == Some(tip) {
            self.append(block, bytes, tree)?;
        } else if tree.work(block) > tree.work(tip) {
            self.reorganise(block, bytes, tree, bodies)?;
        }
        if self.store.file().len() - self.committed_len >= self.commit_bytes {
            self.commit(tree)?;
        }
        Ok(())
    }

    fn reorganise(
        &mut self,
        block: u32,
        bytes: &[u8],
        tree: &BlockTree<HeaderRules>,
        bodies: &Bodies,
    ) -> Result<(), Error> {
        let (back, forth) = tree.route(self.store.tip(), block);
        // Should a body be gone, what was committed is better than half of the way.
        self.is_between = true;
        if let Some(last) = back.last() {
            let fork = tree.parent(*last).expect("the start is never taken back");
            let count = tree.block(self.store.tip()).height() - tree.block(fork).height();
            self.store.take_back(count, fork).map_err(|source| self.error(source))?;
        }
        let mut reader = bodies.reader();
        for number in forth {
            if number == block {
                self.append(number, bytes, tree)?;
            } else if let Some(known) = self.reconnected.remove(&number) {
                self.append(number, &known, tree)?;
            } else {
                let body = tree.body(number).expect("a connected block has a body");
                let bytes = read_body(&mut reader, &body, tree.id(number))?;
                self.append(number, &bytes, tree)?;
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
        tree: &BlockTree<HeaderRules>,
    ) -> Result<(), Error> {
        let block = Block::decode_again(bytes);
        let parent = tree.block(number).parent().expect("genesis is never appended");
        let appended = self.store.append(number, &block, parent.time());
        appended.map_err(|source| self.error(source))
    }

    fn commit(&mut self, tree: &BlockTree<HeaderRules>) -> Result<(), Error> {
        if !self.store.file().is_dirty() || self.is_between {
            return Ok(());
        }
        let tip = tree.block(self.store.tip());
        let commit = self.store.commit(tip);
        self.committed_len = self.store.file().len();
        self.commits.acknowledge(commit, tip)
    }
}

/// Reads bodies until they fill a batch; `None` if there are none left.
fn read_batch(
    reader: &mut BodyReader<'_>,
    tasks: &mut impl Iterator<Item = Task>,
    batch_max: usize,
) -> Result<Option<Vec<ReadBody>>, Error> {
    let mut batch = Vec::new();
    let mut len = 0;
    while batch.len() < batch_max && len < BATCH_BYTES {
        let Some(task) = tasks.next() else { break };
        let bytes = read_body(reader, &task.body, task.id)?;
        len += bytes.len();
        batch.push(ReadBody { task, bytes });
    }
    Ok((!batch.is_empty()).then_some(batch))
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

/// A dump that begins in the middle says so itself.
fn nothing_connects(outcome: &Outcome, first_height: u64, files: &FileTable) -> Option<Error> {
    let blocks = outcome.blocks;
    let connected = blocks.best_branch + blocks.side + blocks.unconnected;
    if blocks.orphans == 0 || connected > 0 {
        return None;
    }
    let message = format!(
        "nothing connects to genesis: the dump begins at height {first_height}; name the dumps with \
         the blocks before it as well"
    );
    let first = outcome.orphan_groups.first().map_or(Position(0), |group| group.position);
    Some(Error::NothingConnects { message, place: files.place(first) })
}
