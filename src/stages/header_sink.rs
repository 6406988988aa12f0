//! The way of headers into a chain file: the file follows the best branch in large steps, each of which a thread
//! of its own appends while the next headers are judged.

use std::collections::HashMap;
use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

use crate::bitcoin::{HeaderRules, HeaderStore, LoadedHeaders, NextHeaders, Params};
use crate::chain::HeaderTree;
use crate::chain::file::ChainFileError;
use crate::error::Error;
use crate::primitives::{Hash256, Header};

use super::target::{AppendHeaders, AppendTo, Commits};
use super::{Busy, Stored};

/// How far the best branch is ahead of the file before the file follows.
const AHEAD_MAX: u32 = 100_000;

/// The way of headers into a chain file.
pub(super) struct HeaderSink<'a> {
    /// The file, unless a step is under way.
    store: Option<HeaderStore>,
    /// What appends a step; without it this thread does.
    appender: Option<Appender>,
    commits: Commits<'a>,
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
        let appender = overlap.then(Appender::new).transpose().map_err(failed)?;
        let sink = Self {
            tip: store.tip(),
            store: Some(store),
            appender,
            commits,
            kept: Kept::default(),
            detained: Duration::ZERO,
            appending: Duration::ZERO,
        };
        Ok((sink, tree))
    }

    /// Learns of headers that got numbers in the tree, one after the other; they come without gaps.
    pub(super) fn took(&mut self, first: u32, headers: &[Header]) {
        self.kept.push(first, headers);
    }

    /// By how many headers the best branch can grow before the file follows.
    pub(super) fn room(&self, tree: &HeaderTree<HeaderRules>) -> u32 {
        let ahead = tree.best_height().saturating_sub(tree.block(self.tip).height());
        AHEAD_MAX.saturating_sub(ahead)
    }

    /// Brings the file to the best branch if that is far ahead, and tells of what is safe.
    pub(super) fn keep_up(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), Error> {
        if self.room(tree) > 0 {
            return self.tell(false);
        }
        let start = Instant::now();
        let followed = self.follow(tree);
        self.detained += start.elapsed();
        followed
    }

    /// Waits until what was begun is safe.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        self.tell(true)
    }

    /// Brings the file to the best branch, commits, and waits until all of it is safe.
    pub(super) fn finish(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), Error> {
        let followed = self.follow(tree);
        let settled = self.settle();
        followed.and(settled)
    }

    /// Begins to bring the file to the best branch, and to commit that, when the step before is done.
    fn follow(&mut self, tree: &HeaderTree<HeaderRules>) -> Result<(), Error> {
        let (tip, best) = (self.tip, tree.best());
        let is_better = tree.block(best).work() > tree.block(tip).work();
        let (back, forth) = if is_better { tree.route(tip, best) } else { Default::default() };
        let begun = self.come_back(true).unwrap_or(Ok(()));
        let store = self.store.as_mut().expect(HERE);
        self.commits.acknowledge(store.branch_mut(), begun, false)?;
        if forth.is_empty() && !store.file().is_dirty() {
            return Ok(());
        }
        let start = Instant::now();
        if let Some(last) = back.last() {
            let fork = tree.parent(*last).expect("genesis is never taken back");
            let count = tree.block(tip).height() - tree.block(fork).height();
            let taken_back = store.take_back(count, fork);
            taken_back.map_err(|source| self.commits.error(source))?;
        }
        let fork = tree.block(store.tip());
        store.branch_mut().know_ids(fork);
        let (parent_height, parent_time) = (fork.height(), fork.time());
        let headers = self.kept.take(&forth, |number| store.header(number, tree.block(number)));
        let headers = headers.map_err(|source| self.commits.error(source))?;
        self.tip = forth.last().copied().unwrap_or(self.tip);
        let tip = tree.block(self.tip);
        let step = Step {
            next: NextHeaders { parent_height, parent_time, numbers: forth, headers },
            height: tip.height(),
            id: tip.id(),
        };
        self.appending += start.elapsed();
        self.hand_over(step)
    }

    fn hand_over(&mut self, step: Step) -> Result<(), Error> {
        let store = self.store.take().expect(HERE);
        match &mut self.appender {
            Some(appender) => {
                appender.begin(store, step);
                Ok(())
            }
            None => {
                let begun = self.take_back(step.carry_out(store));
                let store = self.store.as_mut().expect(HERE);
                self.commits.acknowledge(store.branch_mut(), begun, false)
            }
        }
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
        Some(self.take_back(done))
    }

    fn take_back(&mut self, done: Done) -> Result<(), ChainFileError> {
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
    /// Those since the last step, in the order of their numbers.
    latest: Vec<Header>,
    /// Older ones, which are on other branches than the file.
    others: HashMap<u32, Header, RandomState>,
    /// Memory for the latest.
    spare: Vec<Header>,
}

impl Kept {
    fn push(&mut self, first: u32, headers: &[Header]) {
        if self.latest.is_empty() {
            self.first = first;
        }
        debug_assert_eq!((first - self.first) as usize, self.latest.len());
        self.latest.extend_from_slice(headers);
    }

    /// Takes the headers of these numbers, those that are not here from the file.
    fn take(
        &mut self,
        numbers: &[u32],
        mut of_file: impl FnMut(u32) -> Result<Header, ChainFileError>,
    ) -> Result<Vec<Header>, ChainFileError> {
        let latest = std::mem::replace(&mut self.latest, std::mem::take(&mut self.spare));
        // As nearly always.
        if numbers.len() == latest.len() && (self.first..).zip(numbers).all(|(a, b)| a == *b) {
            return Ok(latest);
        }
        let mut is_taken = vec![false; latest.len()];
        let mut headers = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let place = number.checked_sub(self.first).map(|place| place as usize);
            let header = match place.filter(|&place| place < latest.len()) {
                Some(place) => {
                    is_taken[place] = true;
                    latest[place]
                }
                None => match self.others.remove(&number) {
                    Some(header) => header,
                    None => of_file(number)?,
                },
            };
            headers.push(header);
        }
        let left = (self.first..).zip(latest).zip(is_taken).filter(|(_, is_taken)| !is_taken);
        self.others.extend(left.map(|(header, _)| header));
        Ok(headers)
    }

    fn reuse(&mut self, mut headers: Vec<Header>) {
        headers.clear();
        self.spare = headers;
    }
}

/// Headers that the file takes at once, and then commits.
struct Step {
    next: NextHeaders,
    /// The height and the id of its tip then.
    height: u32,
    id: Hash256,
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
        store.branch_mut().begin_commit_at(self.height, self.id)
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
mod tests {
    use super::*;
    use crate::bitcoin::Network;

    fn header(number: u32) -> Header {
        let genesis = Params::of(Network::Regtest).genesis;
        Header::from_fields(1, Hash256::ZERO, Hash256::ZERO, number, genesis.bits(), number)
    }

    fn headers(numbers: impl IntoIterator<Item = u32>) -> Vec<Header> {
        numbers.into_iter().map(header).collect()
    }

    #[test]
    fn headers_are_kept_until_the_file_has_them() {
        let nowhere = |number| panic!("{number} is in no file");
        let mut kept = Kept::default();
        kept.push(10, &headers(10..14));
        kept.push(14, &headers(14..16));
        // All of them, as nearly always.
        let taken = kept.take(&[10, 11, 12, 13, 14, 15], nowhere).expect("no file fails");
        assert_eq!(taken, headers(10..16));
        kept.reuse(taken);
        // Not in their order, and some that the file has.
        kept.push(16, &headers(16..22));
        let of_file = |number| Ok(header(100 + number));
        let taken = kept.take(&[3, 18, 17, 12], of_file).expect("no file fails");
        assert_eq!(taken, headers([103, 18, 17, 112]));
        kept.reuse(taken);
        assert_eq!(kept.others.len(), 4);
        // Those that were left behind, and as many others.
        kept.push(22, &headers(22..24));
        let taken = kept.take(&[16, 19], nowhere).expect("no file fails");
        assert_eq!(taken, headers([16, 19]));
        let taken = kept.take(&[20, 21, 22, 23], nowhere).expect("no file fails");
        assert_eq!(taken, headers(20..24));
        assert!(kept.others.is_empty());
    }
}
