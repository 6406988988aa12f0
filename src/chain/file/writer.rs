//! Where a chain file writes: on the thread that asks, or on one behind it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Commit, FileHead, Storage, frame};

/// Bytes that may wait for the thread behind, unless one piece has more. With half as many whoever appends blocks
/// waits for the disk now and then; with twice as many, what waits is no longer in the cache when it is written.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Writes in the order in which it is asked to.
pub(super) enum Writer<S> {
    /// At once. What it gives back is done. With the slot of the last commit.
    Here(S, LastSlot),
    /// By a thread of its own, so that nobody waits for the disk but for whoever wants to.
    Behind(Behind),
}

/// The slot of the last commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastSlot {
    /// It was found when the file was opened. Whoever wrote it may have been killed before it was synced.
    Found,
    /// It was written, and whoever waits for the commit is told when it is synced.
    Written,
    /// It survives whatever happens.
    Safe,
}

impl<S: Storage> Writer<S> {
    /// One that writes at once, to a file that was found.
    pub(super) const fn new(storage: S) -> Self {
        Self::Here(storage, LastSlot::Found)
    }

    /// The same with a thread of its own.
    pub(super) fn behind(self) -> io::Result<Self>
    where
        S: 'static,
    {
        match self {
            Self::Here(storage, slot) => Behind::new(storage, slot).map(Self::Behind),
            Self::Behind(_) => Ok(self),
        }
    }

    /// Writes `bytes`, which are empty afterwards, with room for the next.
    pub(super) fn write(&mut self, offset: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Here(storage, _) => {
                storage.write_at(offset, bytes)?;
                bytes.clear();
                Ok(())
            }
            Self::Behind(behind) => {
                behind.make_room(bytes.len())?;
                let spare = std::mem::take(&mut behind.spare);
                behind.order(Order::Write(offset, std::mem::replace(bytes, spare)))
            }
        }
    }

    pub(super) fn truncate(&mut self, len: u64) -> io::Result<()> {
        match self {
            Self::Here(storage, _) => storage.truncate(len),
            Self::Behind(behind) => behind.order(Order::Truncate(len)),
        }
    }

    /// Has nothing more written before the last commit is sure to survive.
    pub(super) fn sync_slot(&mut self) -> io::Result<()> {
        match self {
            Self::Here(_, LastSlot::Safe) => Ok(()),
            Self::Here(storage, last) => {
                storage.sync()?;
                *last = LastSlot::Safe;
                Ok(())
            }
            Self::Behind(behind) => behind.order(Order::SyncSlot),
        }
    }

    /// The payload of the frame at `offset`, which was written before.
    pub(super) fn payload(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Here(storage, _) => frame::payload(storage, offset),
            Self::Behind(behind) => {
                let (reply, payload) = channel();
                behind.order(Order::Payload(offset, reply))?;
                payload.recv().unwrap_or_else(|_| Err(behind.failure()))
            }
        }
    }

    /// Makes what was written survive, and then the slot of a commit.
    pub(super) fn commit(&mut self, head: &FileHead, commit: &Commit) -> io::Result<()> {
        let (offset, slot) = (commit.offset(head), commit.encode());
        match self {
            Self::Here(storage, last) => {
                // What was written comes first, and the slot that says so second.
                storage.sync()?;
                storage.write_at(offset, &slot)?;
                storage.sync()?;
                *last = LastSlot::Safe;
                Ok(())
            }
            Self::Behind(behind) => {
                behind.make_room(slot.len())?;
                behind.order(Order::Commit(offset, slot))
            }
        }
    }

    /// How long a thread behind has written, and waited for the disk.
    pub(super) fn busy(&self) -> Duration {
        match self {
            Self::Here(..) => Duration::ZERO,
            Self::Behind(behind) => Duration::from_nanos(behind.busy_ns.load(Relaxed)),
        }
    }

    /// How many of the commits that were asked for, and not told of so far, have survived; with `wait` when
    /// `under_way`, all there are, have.
    pub(super) fn settled(&mut self, under_way: usize, wait: bool) -> io::Result<usize> {
        match self {
            Self::Here(..) => Ok(under_way),
            Self::Behind(behind) => behind.settled(under_way, wait),
        }
    }
}

/// Something that the thread behind is to do.
enum Order {
    Write(u64, Vec<u8>),
    /// The last commit is to survive before anything else is written.
    SyncSlot,
    Truncate(u64),
    Payload(u64, Sender<io::Result<Vec<u8>>>),
    Commit(u64, Vec<u8>),
}

/// A thread that writes. It ends at the first error.
pub(super) struct Behind {
    /// `None` once it is to end.
    orders: Option<Sender<Order>>,
    /// One for each commit, when it has survived, or what the thread has ended with.
    results: Receiver<io::Result<()>>,
    /// What was written: memory for what is written next.
    written: Receiver<Vec<u8>>,
    spare: Vec<u8>,
    /// Bytes that wait.
    waiting: usize,
    thread: Option<JoinHandle<()>>,
    busy_ns: Arc<AtomicU64>,
    /// Commits that have survived and were seen while something else was looked for.
    seen: usize,
    /// What the thread has ended with, once that is known: whoever asks is told.
    failure: Option<(io::ErrorKind, String)>,
}

impl Behind {
    fn new(storage: impl Storage + 'static, last_slot: LastSlot) -> io::Result<Self> {
        let (orders, taken) = channel();
        let (result, results) = channel();
        let (give_back, written) = channel();
        let busy_ns = Arc::new(AtomicU64::new(0));
        let busy = Arc::clone(&busy_ns);
        let mut disk =
            Disk { storage, last_slot, busy_ns: busy, results: result, written: give_back };
        let work = move || {
            if let Err(error) = disk.carry_out_all(&taken) {
                // Nobody who is gone needs to know.
                let _ = disk.results.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name("chain-file".into()).spawn(work)?;
        let (orders, thread) = (Some(orders), Some(thread));
        let (spare, waiting, seen, failure) = (Vec::new(), 0, 0, None);
        Ok(Self { orders, results, written, spare, waiting, thread, busy_ns, seen, failure })
    }

    /// Waits until so many bytes more may wait.
    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        loop {
            let is_full = self.waiting > 0 && self.waiting + bytes > WAITING_BYTES_MAX;
            let written = match is_full {
                true => self.written.recv().map_err(|_| self.failure())?,
                false => match self.written.try_recv() {
                    Ok(written) => written,
                    Err(_) => break,
                },
            };
            self.waiting -= written.len();
            self.keep(written);
        }
        self.waiting += bytes;
        Ok(())
    }

    /// Keeps memory for the next bytes, but for what is short, and more than one piece.
    fn keep(&mut self, mut written: Vec<u8>) {
        if self.spare.capacity() < written.capacity() {
            written.clear();
            self.spare = written;
        }
    }

    fn order(&mut self, order: Order) -> io::Result<()> {
        match &self.orders {
            Some(orders) if orders.send(order).is_ok() => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// What a thread that takes no more orders has ended with.
    fn failure(&mut self) -> io::Error {
        for result in &self.results {
            match result {
                Ok(()) => self.seen += 1,
                Err(error) => self.failure = Some((error.kind(), error.to_string())),
            }
        }
        let ended = || (io::ErrorKind::Other, "the thread that writes has panicked".into());
        let (kind, what) = self.failure.clone().unwrap_or_else(ended);
        io::Error::new(kind, what)
    }

    fn settled(&mut self, under_way: usize, wait: bool) -> io::Result<usize> {
        let mut settled = std::mem::take(&mut self.seen);
        while settled < under_way {
            let result = if wait { self.results.recv().ok() } else { self.results.try_recv().ok() };
            match result {
                Some(Ok(())) => settled += 1,
                None if !wait => break,
                ended => {
                    if let Some(Err(error)) = ended {
                        self.failure = Some((error.kind(), error.to_string()));
                    }
                    self.seen = settled;
                    return Err(self.failure());
                }
            }
        }
        Ok(settled)
    }
}

impl Drop for Behind {
    /// Waits until all orders are carried out: the file is nobody else's before.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told to whoever asked for something.
            let _ = thread.join();
        }
    }
}

/// What the thread behind works with.
struct Disk<S> {
    storage: S,
    last_slot: LastSlot,
    busy_ns: Arc<AtomicU64>,
    /// See [`Behind::results`].
    results: Sender<io::Result<()>>,
    /// See [`Behind::written`].
    written: Sender<Vec<u8>>,
}

impl<S: Storage> Disk<S> {
    /// Carries out orders until there can be no more, or one fails. As long as others wait, the slot of a commit
    /// is synced together with the frames of the next one, which halves the syncs; otherwise at once.
    fn carry_out_all(&mut self, orders: &Receiver<Order>) -> io::Result<()> {
        loop {
            let order = match orders.try_recv() {
                Ok(order) => order,
                Err(_) => {
                    if self.last_slot == LastSlot::Written {
                        self.timed(Self::sync)?;
                    }
                    let Ok(order) = orders.recv() else { return Ok(()) };
                    order
                }
            };
            self.timed(|disk| disk.carry_out(order))?;
        }
    }

    fn timed(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let start = Instant::now();
        let result = work(self);
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.fetch_add(took, Relaxed);
        result
    }

    fn carry_out(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Write(offset, bytes) => {
                if let Err(error) = self.storage.write_at(offset, &bytes) {
                    // A disk that is full of these can still keep the commit before.
                    let _ = self.sync_slot();
                    return Err(error);
                }
                let _ = self.written.send(bytes);
            }
            Order::SyncSlot => self.sync_slot()?,
            Order::Truncate(len) => self.storage.truncate(len)?,
            Order::Payload(offset, reply) => {
                let _ = reply.send(frame::payload(&self.storage, offset));
            }
            Order::Commit(offset, slot) => {
                self.sync()?;
                self.storage.write_at(offset, &slot)?;
                self.last_slot = LastSlot::Written;
                let _ = self.written.send(slot);
            }
        }
        Ok(())
    }

    /// Makes the last commit survive, if it may not yet.
    fn sync_slot(&mut self) -> io::Result<()> {
        if self.last_slot == LastSlot::Safe { Ok(()) } else { self.sync() }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.sync()?;
        if std::mem::replace(&mut self.last_slot, LastSlot::Safe) == LastSlot::Written {
            let _ = self.results.send(Ok(()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Mutex, PoisonError};

    use super::super::{FileLevel, MemoryStorage, TipRecord};
    use super::*;
    use crate::primitives::Hash256;

    /// What was asked of a disk.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Did {
        Write(u64),
        Sync,
    }

    /// A disk that does nothing before it is let, and fails at one of the things that it is asked for.
    struct Gated {
        gate: Arc<Mutex<()>>,
        memory: MemoryStorage,
        did: Arc<Mutex<Vec<Did>>>,
        fails: Fails,
    }

    /// Whether a disk fails at something, by what it did before.
    type Fails = Box<dyn Fn(&[Did], &Did) -> bool + Send + Sync>;

    impl Gated {
        fn new(fails: Fails) -> Self {
            let (gate, did) = Default::default();
            Self { gate, memory: MemoryStorage::default(), did, fails }
        }

        fn does(&self, what: Did) -> io::Result<()> {
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            let mut did = self.did.lock().unwrap_or_else(PoisonError::into_inner);
            let fails = (self.fails)(&did, &what);
            did.push(what);
            if fails { Err(io::Error::other("as it must")) } else { Ok(()) }
        }
    }

    impl Storage for Gated {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }
        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
            self.memory.read_at(offset, bytes)
        }
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.does(Did::Write(offset))?;
            self.memory.write_at(offset, bytes)
        }
        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.memory.truncate(len)
        }
        fn sync(&mut self) -> io::Result<()> {
            self.does(Did::Sync)
        }
    }

    fn commit(sequence: u64) -> Commit {
        let tip = TipRecord { height: 0, id: Hash256::ZERO, tree_root: Hash256::ZERO };
        Commit { sequence, len: 0, tip, digest: Hash256::ZERO }
    }

    fn head() -> FileHead {
        let level = FileLevel::Blocks;
        FileHead { is_ledger: false, level, chain_id: Hash256::ZERO, params: Vec::new() }
    }

    /// Three commits that wait for a disk; `take_back`: the second one has the slot before it synced first. Gives
    /// what the disk did, and how many commits were told of.
    fn three_commits(fails: Fails, take_back: bool) -> (Vec<Did>, usize) {
        let storage = Gated::new(fails);
        let (gate, did) = (Arc::clone(&storage.gate), Arc::clone(&storage.did));
        let mut writer = Writer::new(storage).behind().expect("a thread");
        let shut = gate.lock().expect("nobody panics");
        for number in 1..=3 {
            if number == 2 && take_back {
                writer.sync_slot().expect("it waits");
            }
            writer.write(number << 20, &mut vec![1; 9]).expect("it waits");
            writer.commit(&head(), &commit(number)).expect("it waits");
        }
        drop(shut);
        let safe = match writer.settled(3, true) {
            Ok(settled) => settled,
            Err(_) => writer.settled(3, false).unwrap_or(0),
        };
        drop(writer);
        (Arc::into_inner(did).expect("the thread is gone").into_inner().expect("no panic"), safe)
    }

    #[test]
    fn a_sync_is_for_the_frames_of_a_commit_and_the_slot_of_the_one_before() {
        use Did::{Sync, Write};
        let [even, odd] = [0, 1].map(|sequence| Write(commit(sequence).offset(&head())));
        let (did, safe) = three_commits(Box::new(|_, _| false), false);
        let all = [Write(1 << 20), Sync, odd, Write(2 << 20), Sync, even, Write(3 << 20), Sync];
        assert_eq!((&did[..8], did.len(), safe), (&all[..], 10, 3));
        let [.., slot, last] = &did[..] else { panic!("ten") };
        assert!(matches!((slot, last), (Write(_), Sync)), "{did:?}");
        // Nothing that takes back is written while a slot is not safe.
        let (did, safe) = three_commits(Box::new(|_, _| false), true);
        assert_eq!((&did[2..5], safe), (&[all[2], Sync, Write(2 << 20)][..], 3));
    }

    #[test]
    fn what_was_told_of_was_synced() {
        // A disk that is gone from some moment on, and one that takes no more frames, but syncs.
        for (fails_at, told) in
            [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (6, 1), (7, 1), (8, 2), (9, 2)]
        {
            let fails = move |did: &[Did], _: &Did| did.len() >= fails_at;
            assert_eq!(three_commits(Box::new(fails), false).1, told, "{fails_at}");
        }
        for (has_room_for, told) in [(1, 1), (2, 2)] {
            let is_full = move |_: &[Did], what: &Did| match what {
                Did::Write(offset) => *offset > has_room_for << 20,
                Did::Sync => false,
            };
            assert_eq!(three_commits(Box::new(is_full), false).1, told, "room for {has_room_for}");
        }
    }

    #[test]
    fn whoever_writes_faster_than_the_disk_waits() {
        const PIECE: usize = 1 << 20;
        let storage = Gated::new(Box::new(|_, _| false));
        let (gate, written) = (Arc::clone(&storage.gate), AtomicUsize::new(0));
        let mut writer = Writer::new(storage).behind().expect("a thread");
        let shut = gate.lock().expect("nobody panics");
        thread::scope(|scope| {
            scope.spawn(|| {
                for piece in 0..3 * WAITING_BYTES_MAX / PIECE {
                    let mut bytes = vec![1; PIECE];
                    writer.write((piece * PIECE) as u64, &mut bytes).expect("memory");
                    assert!(bytes.is_empty());
                    written.fetch_add(1, SeqCst);
                }
            });
            while written.load(SeqCst) < WAITING_BYTES_MAX / PIECE {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(50));
            assert_eq!(written.load(SeqCst), WAITING_BYTES_MAX / PIECE);
            drop(shut);
        });
        assert_eq!(written.load(SeqCst), 3 * WAITING_BYTES_MAX / PIECE);
        // A piece that is longer than all that may wait is written all the same.
        let mut long = vec![2; 2 * WAITING_BYTES_MAX];
        writer.write(0, &mut long).expect("memory");
    }
}
