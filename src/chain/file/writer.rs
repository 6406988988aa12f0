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
    /// At once. What it gives back is done.
    Here(S),
    /// By a thread of its own, so that nobody waits for the disk but for whoever wants to.
    Behind(Behind),
}

impl<S: Storage> Writer<S> {
    /// The same with a thread of its own.
    pub(super) fn behind(self) -> io::Result<Self>
    where
        S: 'static,
    {
        match self {
            Self::Here(storage) => Behind::new(storage).map(Self::Behind),
            Self::Behind(_) => Ok(self),
        }
    }

    /// Writes `bytes`, which are empty afterwards, with room for the next.
    pub(super) fn write(&mut self, offset: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Here(storage) => {
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
            Self::Here(storage) => storage.truncate(len),
            Self::Behind(behind) => behind.order(Order::Truncate(len)),
        }
    }

    /// The payload of the frame at `offset`, which was written before.
    pub(super) fn payload(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Here(storage) => frame::payload(storage, offset),
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
            Self::Here(storage) => put_commit(storage, offset, &slot),
            Self::Behind(behind) => {
                behind.make_room(slot.len())?;
                behind.order(Order::Commit(offset, slot))
            }
        }
    }

    /// How long a thread behind has written, and waited for the disk.
    pub(super) fn busy(&self) -> Duration {
        match self {
            Self::Here(_) => Duration::ZERO,
            Self::Behind(behind) => Duration::from_nanos(behind.busy_ns.load(Relaxed)),
        }
    }

    /// How many of the commits that were asked for, and not told of so far, have survived; with `wait` when
    /// `under_way`, all there are, have.
    pub(super) fn settled(&mut self, under_way: usize, wait: bool) -> io::Result<usize> {
        match self {
            Self::Here(_) => Ok(under_way),
            Self::Behind(behind) => behind.settled(under_way, wait),
        }
    }
}

/// Something that the thread behind is to do.
enum Order {
    Write(u64, Vec<u8>),
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
    fn new(mut storage: impl Storage + 'static) -> io::Result<Self> {
        let (orders, taken) = channel();
        let (result, results) = channel();
        let (give_back, written) = channel();
        let busy_ns = Arc::new(AtomicU64::new(0));
        let busy = Arc::clone(&busy_ns);
        let work = move || {
            for order in taken {
                let start = Instant::now();
                let is_commit = matches!(order, Order::Commit(..));
                let carried_out = carry_out(&mut storage, order, &give_back);
                let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                busy.fetch_add(took, Relaxed);
                let is_last = carried_out.is_err();
                if is_commit || is_last {
                    // Nobody who is gone needs to know.
                    let _ = result.send(carried_out);
                }
                if is_last {
                    return;
                }
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

fn carry_out(
    storage: &mut impl Storage,
    order: Order,
    written: &Sender<Vec<u8>>,
) -> io::Result<()> {
    match order {
        Order::Write(offset, bytes) => {
            storage.write_at(offset, &bytes)?;
            let _ = written.send(bytes);
        }
        Order::Truncate(len) => storage.truncate(len)?,
        Order::Payload(offset, reply) => {
            let _ = reply.send(frame::payload(storage, offset));
        }
        Order::Commit(offset, slot) => {
            put_commit(storage, offset, &slot)?;
            let _ = written.send(slot);
        }
    }
    Ok(())
}

/// What was written comes first, and the slot that says so second.
fn put_commit(storage: &mut impl Storage, offset: u64, slot: &[u8]) -> io::Result<()> {
    storage.sync()?;
    storage.write_at(offset, slot)?;
    storage.sync()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Mutex, PoisonError};

    use super::super::MemoryStorage;
    use super::*;

    /// A disk that does nothing before it is let.
    struct Gated(Arc<Mutex<()>>, MemoryStorage);

    impl Storage for Gated {
        fn len(&self) -> io::Result<u64> {
            self.1.len()
        }
        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
            self.1.read_at(offset, bytes)
        }
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            drop(self.0.lock().unwrap_or_else(PoisonError::into_inner));
            self.1.write_at(offset, bytes)
        }
        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.1.truncate(len)
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_writes_faster_than_the_disk_waits() {
        const PIECE: usize = 1 << 20;
        let (gate, written) = (Arc::new(Mutex::new(())), AtomicUsize::new(0));
        let storage = Gated(Arc::clone(&gate), MemoryStorage::default());
        let mut writer = Writer::Here(storage).behind().expect("a thread");
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
