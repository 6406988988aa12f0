//! The way of headers into a chain file: the file follows the best branch in large steps, each of which a thread
//! of its own appends while the next headers are judged.

use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::bitcoin::{HeaderRules, HeaderStore, LoadedHeaders, NextHeaders, Params};
use crate::chain::file::ChainFileError;
use crate::chain::{HeaderRules as _, HeaderTree};
use crate::error::Error;
use crate::primitives::{Hash256, Header};

use super::target::{AppendHeaders, AppendTo, Commits};
use super::{Busy, Stored};

/// How far the best branch is ahead of the file before the file follows.
const AHEAD_MAX: u32 = 100_000;

/// The most headers in a step, but for those that follow each other in the tree as well: a multiple of what a
/// frame holds.
const STEP_MAX: usize = 24 * HeaderStore::RUN_MAX;

/// The way of headers into a chain file.
pub(super) struct HeaderSink<'a> {
    /// The file, unless a step is under way.
    store: Option<HeaderStore>,
    /// What appends a step; without it this thread does.
    appender: Option<Appender>,
    commits: Commits<'a>,
    /// See [`AHEAD_MAX`].
    ahead_max: u32,
    /// The number in the tree of what is the file's tip after the step under way.
    tip: u32,
    kept: Kept,
    /// How long this thread was busy with the file or waited for it, before the end.
    detained: Duration,
    /// How long steps took.
    appending: Duration,
}

impl<'a> HeaderSink<'a> {
    /// Opens the file of `append_to`, and gives it with the tree of what it holds.
    pub(super) fn open(
        append_to: AppendHeaders<'a>,
        params: &Params,
        overlap: bool,
    ) -> Result<(Self, HeaderTree<HeaderRules>), Error> {
        let AppendTo { path, mut open, committed } = append_to;
        let LoadedHeaders { store, tree } = open(params)?;
        let found = LoadedHeaders::file_head(store.params());
        if let Some(why) = found.difference(&LoadedHeaders::file_head(params)) {
            return Err(Error::usage(format!("{}: {why}", path.display())));
        }
        let commits = Commits::new(path, committed);
        let failed = |error: io::Error| commits.error(error.into());
        let store = if overlap { store.write_behind().map_err(failed)? } else { store };
        let sink = Self {
            tip: store.tip(),
            store: Some(store),
            // Without a thread the work is done all the same.
            appender: overlap.then(Appender::new).and_then(Result::ok),
            commits,
            ahead_max: AHEAD_MAX,
            kept: Kept::default(),
            detained: Duration::ZERO,
            appending: Duration::ZERO,
        };
        Ok((sink, tree))
    }

    /// Learns of headers that got numbers in the tree, one after the other; they come without gaps.
    pub(super) fn took(&mut self, tree: &HeaderTree<HeaderRules>, first: u32, headers: &[Header]) {
        self.kept.push(first, headers);
        if self.kept.latest.len() > 2 * self.ahead_max as usize {
            self.kept.set_aside(|number| !tree.is_rejected(number));
        }
    }

    /// By how many headers the best branch can grow before the file follows.
    pub(super) fn room(&self, tree: &HeaderTree<HeaderRules>) -> u32 {
        let ahead = tree.best_height().saturating_sub(tree.block(self.tip).height());
        self.ahead_max.saturating_sub(ahead)
    }

    /// Brings the file to the best branch if that is far ahead, and tells of what is safe.
    pub(super) fn keep_up(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), Error> {
        if self.room(tree) > 0 {
            return self.tell(false);
        }
        let start = Instant::now();
        let followed = self.follow(tree).map(|forth| self.kept.forget(tree, forth));
        self.detained += start.elapsed();
        followed
    }

    /// Waits until what was begun is safe.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.tell(true)
    }

    /// Brings the file to the best branch, commits, and waits until all of it is safe.
    pub(super) fn finish(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), Error> {
        let followed = self.follow(tree).map(drop);
        let settled = self.settle();
        followed.and(settled)
    }

    /// Begins to bring the file to the best branch, and to commit that, when the step before is done. Gives the
    /// numbers of the headers that it appends.
    fn follow(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<Vec<u32>, Error> {
        let (tip, best) = (self.tip, tree.best());
        let is_better = tree.work(best) > tree.work(tip);
        let (back, forth) = if is_better { tree.route(tip, best) } else { Default::default() };
        self.tell_of_step()?;
        let start = Instant::now();
        let store = self.store.as_mut().expect(HERE);
        if forth.is_empty() && !store.file().is_dirty() {
            return Ok(forth);
        }
        if let Some(last) = back.last() {
            let fork = tree.parent(*last).expect("genesis is never taken back");
            let count = tree.block(tip).height() - tree.block(fork).height();
            self.tip = fork;
            store.take_back(count, fork).map_err(|source| self.commits.error(source))?;
        }
        store.branch_mut().know_ids(tree.block(self.tip));
        self.appending += start.elapsed();
        if let Some(headers) = self.kept.take_all(&forth) {
            self.hand_over(tree, forth.clone(), headers, true)?;
            return Ok(forth);
        }
        let steps = forth.len().div_ceil(STEP_MAX).max(1);
        for step in 0..steps {
            let from = step * STEP_MAX;
            let numbers = &forth[from..forth.len().min(from + STEP_MAX)];
            let start = Instant::now();
            let (mut headers, missing) = self.kept.headers(tree, numbers);
            self.appending += start.elapsed();
            // Meanwhile the step before may go on.
            self.tell_of_step()?;
            let store = self.store.as_mut().expect(HERE);
            for place in missing {
                let number = numbers[place];
                let header = store.header(number, tree.block(number));
                headers[place] = header.map_err(|source| self.commits.error(source))?;
            }
            self.hand_over(tree, numbers.to_vec(), headers, step + 1 == steps)?;
        }
        Ok(forth)
    }

    /// Has headers appended, which have these numbers in the tree, and with `commits` committed.
    fn hand_over(
        &mut self,
        tree: &HeaderTree<HeaderRules>,
        numbers: Vec<u32>,
        headers: Vec<Header>,
        commits: bool,
    ) -> Result<(), Error> {
        let parent = tree.block(self.tip);
        self.tip = numbers.last().copied().unwrap_or(self.tip);
        let tip = tree.block(self.tip);
        let (parent_height, parent_time) = (parent.height(), parent.time());
        let step = Step {
            next: NextHeaders { parent_height, parent_time, numbers, headers },
            commit: commits.then(|| (tip.height(), tip.id())),
        };
        let store = self.store.take().expect(HERE);
        match &mut self.appender {
            Some(appender) => {
                appender.begin(store, step);
                Ok(())
            }
            None => {
                let begun = self.receive(step.carry_out(store));
                let store = self.store.as_mut().expect(HERE);
                self.commits.acknowledge(store.branch_mut(), begun, false)
            }
        }
    }

    /// Waits for the step under way, if there is one, and tells of the commits that are safe by then.
    fn tell_of_step(&mut self) -> Result<(), Error> {
        let begun = self.come_back(true).unwrap_or(Ok(()));
        let store = self.store.as_mut().expect(HERE);
        self.commits.acknowledge(store.branch_mut(), begun, false)
    }

    /// Tells of the commits that are safe by now; with `wait`, when all that were begun are.
    fn tell(&mut self, wait: bool) -> Result<(), Error> {
        let begun = self.come_back(wait).unwrap_or(Ok(()));
        // While a step is under way, nobody knows.
        let Some(store) = &mut self.store else { return Ok(()) };
        self.commits.acknowledge(store.branch_mut(), begun, wait)
    }

    /// Takes the file back when the step under way is done, and says how that went; with `wait` it waits.
    fn come_back(&mut self, wait: bool) -> Option<Result<(), ChainFileError>> {
        let appender = self.appender.as_mut().filter(|_| self.store.is_none())?;
        let done = if wait { Some(appender.wait()) } else { appender.done() }?;
        Some(self.receive(done))
    }

    /// Takes over what comes of a step.
    fn receive(&mut self, done: Done) -> Result<(), ChainFileError> {
        let Done { store, headers, took, result } = done;
        self.store = Some(store);
        self.kept.reuse(headers);
        self.appending += took;
        result
    }

    pub(super) fn stored(&self) -> Stored {
        self.commits.stored(self.store.as_ref().expect(HERE).file())
    }

    /// Adds how long it took; what took place while headers were connected was counted as that.
    pub(super) fn add_to(&self, busy: &mut Busy) {
        let behind = self.store.as_ref().expect(HERE).file().busy_behind();
        busy.append += self.appending + behind;
        busy.connect = busy.connect.saturating_sub(self.detained);
    }
}

const HERE: &str = "no step is under way";

/// Headers that the file does not hold: the tree keeps neither Merkle roots nor nonces.
#[derive(Default)]
struct Kept {
    /// The number of the first of the latest, if there are any.
    first: u32,
    /// The latest, in the order of their numbers.
    latest: Vec<Header>,
    /// Of older ones, which may be on the best branch later, what the tree does not keep; in the same order.
    others: Vec<(u32, Seal)>,
    /// Memory for the latest.
    spare: Vec<Header>,
}

/// What the tree does not keep of a header.
#[derive(Clone, Copy)]
struct Seal {
    merkle_root: Hash256,
    nonce: u32,
}

impl Kept {
    fn push(&mut self, first: u32, headers: &[Header]) {
        if self.latest.is_empty() {
            self.first = first;
        }
        assert_eq!((first - self.first) as usize, self.latest.len(), "headers come without gaps");
        self.latest.extend_from_slice(headers);
    }

    /// All of the latest, if their numbers are these, as nearly always.
    fn take_all(&mut self, numbers: &[u32]) -> Option<Vec<Header>> {
        let is_straight = numbers.len() == self.latest.len()
            && (self.first..).zip(numbers).all(|(latest, number)| latest == *number);
        is_straight.then(|| std::mem::replace(&mut self.latest, std::mem::take(&mut self.spare)))
    }

    /// The headers of these numbers, and the places of those that are not here, where others stand for them.
    fn headers(
        &mut self,
        tree: &HeaderTree<HeaderRules>,
        numbers: &[u32],
    ) -> (Vec<Header>, Vec<usize>) {
        let (mut headers, mut missing) = (std::mem::take(&mut self.spare), Vec::new());
        headers.reserve(numbers.len());
        for (place, number) in numbers.iter().enumerate() {
            let header = self.header(tree, *number).unwrap_or_else(|| {
                missing.push(place);
                *tree.rules().genesis()
            });
            headers.push(header);
        }
        (headers, missing)
    }

    fn header(&self, tree: &HeaderTree<HeaderRules>, number: u32) -> Option<Header> {
        let place = number.checked_sub(self.first).map(|place| place as usize);
        if let Some(header) = place.and_then(|place| self.latest.get(place)) {
            return Some(*header);
        }
        let Seal { merkle_root, nonce } = *self.seal(number)?;
        let block = tree.block(number);
        let (version, time, bits) = (block.version(), block.time(), block.bits());
        Some(Header::from_fields(version, block.parent()?.id(), merkle_root, time, bits, nonce))
    }

    fn seal(&self, number: u32) -> Option<&Seal> {
        let (first, _) = self.others.first()?;
        // Where none is missing, as of headers in no order at all.
        let place = number.checked_sub(*first)? as usize;
        if let Some((_, seal)) = self.others.get(place).filter(|(other, _)| *other == number) {
            return Some(seal);
        }
        let place = self.others.binary_search_by_key(&number, |(other, _)| *other).ok()?;
        Some(&self.others[place].1)
    }

    /// Forgets headers that the file has now. Of the latest, the others become older ones.
    fn forget(&mut self, tree: &HeaderTree<HeaderRules>, mut numbers: Vec<u32>) {
        // All of them were taken.
        if self.latest.is_empty() && self.others.is_empty() {
            return;
        }
        numbers.sort_unstable();
        let is_left = |number: &u32| numbers.binary_search(number).is_err();
        if self.others.last().is_some_and(|(last, _)| numbers.first() <= Some(last)) {
            self.others.retain(|(number, _)| is_left(number));
        }
        self.set_aside(|number| is_left(&number) && !tree.is_rejected(number));
    }

    /// Makes older ones of those of the latest that may be on the best branch later.
    fn set_aside(&mut self, may_be: impl Fn(u32) -> bool) {
        let latest = (self.first..).zip(self.latest.drain(..));
        let left = latest.filter(|(number, _)| may_be(*number));
        let seal =
            |header: Header| Seal { merkle_root: header.merkle_root(), nonce: header.nonce() };
        self.others.extend(left.map(|(number, header)| (number, seal(header))));
    }

    fn reuse(&mut self, mut headers: Vec<Header>) {
        headers.clear();
        self.spare = headers;
    }
}

/// Headers that the file takes at once.
struct Step {
    next: NextHeaders,
    /// The height and the id of its tip then, if that is to be committed.
    commit: Option<(u32, Hash256)>,
}

/// What comes of a step.
struct Done {
    store: HeaderStore,
    /// Memory for other headers.
    headers: Vec<Header>,
    took: Duration,
    result: Result<(), ChainFileError>,
}

impl Step {
    fn carry_out(self, mut store: HeaderStore) -> Done {
        let start = Instant::now();
        let result = self.append_to(&mut store);
        Done { store, headers: self.next.headers, took: start.elapsed(), result }
    }

    fn append_to(&self, store: &mut HeaderStore) -> Result<(), ChainFileError> {
        if !self.next.headers.is_empty() {
            store.append(&self.next)?;
        }
        self.commit.map_or(Ok(()), |(height, id)| store.branch_mut().begin_commit_at(height, id))
    }
}

/// A thread that carries out steps. The file goes to it with each, and comes back.
struct Appender {
    /// `None` once it is to end.
    steps: Option<Sender<(HeaderStore, Step)>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Appender {
    fn new() -> io::Result<Self> {
        let (steps, taken) = channel::<(HeaderStore, Step)>();
        let (give_back, done) = channel();
        let work = move || {
            for (store, step) in taken {
                // Nobody who is gone needs the file.
                let _ = give_back.send(step.carry_out(store));
            }
        };
        let thread = thread::Builder::new().name("chain-headers".into()).spawn(work)?;
        Ok(Self { steps: Some(steps), done, thread: Some(thread) })
    }

    fn begin(&mut self, store: HeaderStore, step: Step) {
        let steps = self.steps.as_ref().expect("it ends with its owner");
        if steps.send((store, step)).is_err() {
            self.has_panicked();
        }
    }

    /// The step under way, when it is done.
    fn wait(&mut self) -> Done {
        match self.done.recv() {
            Ok(done) => done,
            Err(_) => self.has_panicked(),
        }
    }

    /// The step under way, if it is done.
    fn done(&mut self) -> Option<Done> {
        match self.done.try_recv() {
            Ok(done) => Some(done),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.has_panicked(),
        }
    }

    fn has_panicked(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => unreachable!("the thread ends with its owner, or by a panic"),
        }
    }
}

impl Drop for Appender {
    /// Waits until the step under way is done: the file is nobody else's before.
    fn drop(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            // A panic was passed on to whoever waited for the step.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "header_sink_tests.rs"]
mod tests;
