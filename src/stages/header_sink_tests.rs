//! Headers on their way into a chain file, on disks that fail as well.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice::from_ref;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::*;
use crate::bitcoin::Network;
use crate::chain::file::{MemoryStorage, Storage};
use crate::verdict::Position;

/// A disk, one of whose syncs fails.
#[derive(Clone)]
struct Disk {
    memory: Arc<Mutex<MemoryStorage>>,
    /// How many syncs succeed.
    good_syncs: Arc<AtomicUsize>,
}

impl Disk {
    fn new(good_syncs: usize) -> Self {
        let bytes = LoadedHeaders::empty_file(&Params::of(Network::Regtest));
        let memory = Arc::new(Mutex::new(MemoryStorage { bytes }));
        Self { memory, good_syncs: Arc::new(AtomicUsize::new(good_syncs)) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut MemoryStorage) -> T) -> T {
        work(&mut self.memory.lock().expect("nobody panics with it"))
    }

    fn bytes(&self) -> Vec<u8> {
        self.with(|memory| memory.bytes.clone())
    }
}

impl Storage for Disk {
    fn len(&self) -> io::Result<u64> {
        self.with(|memory| memory.len())
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.with(|memory| memory.read_at(offset, bytes))
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|memory| memory.write_at(offset, bytes))
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.with(|memory| memory.truncate(len))
    }
    fn sync(&mut self) -> io::Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        let is_good = self.good_syncs.fetch_update(SeqCst, SeqCst, one_less).is_ok();
        if is_good { Ok(()) } else { Err(io::Error::other("the disk is gone")) }
    }
}

fn extend(parent: &Header, count: usize, salt: u8) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::with_capacity(count);
    for _ in 0..count {
        let parent = headers.last().unwrap_or(parent);
        let (root, time) = (Hash256::from_bytes([salt; 32]), parent.time() + 600);
        let with =
            |nonce| Header::from_fields(0x2000_0000, parent.id(), root, time, parent.bits(), nonce);
        let mut tries = (0..).map(with);
        headers.extend(tries.find(|header| header.is_solved_by(&header.id())));
    }
    headers
}

/// A chain of 45 headers, another branch from the header at 18 on that is the best for a while, and both
/// in an order in which the file follows now one and now the other.
fn two_branches() -> (Vec<Header>, Vec<Header>) {
    let chain = extend(&Params::of(Network::Regtest).genesis, 45, 0);
    let branch = extend(&chain[17], 15, 1);
    let order = [&chain[..22], &branch, &chain[22..]].concat();
    (chain, order)
}

/// Has a file follow headers in steps of ten, and gives the heights of the commits that it was told of.
fn follow(headers: &[Header], disk: &Disk, overlap: bool) -> (Vec<u32>, Result<Stored, Error>) {
    let params = Params::of(Network::Regtest);
    let told = RefCell::new(Vec::new());
    let append_to = AppendTo {
        path: "memory".into(),
        open: Box::new(|_| Ok(LoadedHeaders::open(Box::new(disk.clone())).expect("a file"))),
        committed: Box::new(|height, _| {
            told.borrow_mut().push(height);
            Ok(())
        }),
    };
    let (mut sink, mut tree) = HeaderSink::open(append_to, &params, overlap).expect("a file");
    sink.ahead_max = 10;
    let mut take = |(index, header): (u64, &Header)| {
        let number = tree.insert(header, header.id(), Position(index));
        if let Some(number) = number {
            sink.took(&tree, number, from_ref(header));
        }
        sink.keep_up(&tree)
    };
    let took = (0..).zip(headers).try_for_each(&mut take);
    let finished = sink.finish(&tree);
    let stored = took.and(finished).map(|()| sink.stored());
    drop(sink);
    (told.into_inner(), stored)
}

#[test]
fn the_file_does_not_depend_on_who_appends() {
    let (chain, order) = two_branches();
    let mut before = None;
    for overlap in [false, true] {
        let disk = Disk::new(usize::MAX);
        let (told, stored) = follow(&order, &disk, overlap);
        assert_eq!((stored.expect("a file").height, told), (45, vec![10, 20, 30, 40, 45]));
        let bytes = disk.bytes();
        let storage = Box::new(MemoryStorage { bytes: bytes.clone() });
        let LoadedHeaders { mut store, tree } = LoadedHeaders::open(storage).expect("a file");
        assert_eq!(store.file().reorganisations(), 2);
        for header in &chain {
            let number = tree.number_of(&header.id()).expect("a header of the file");
            assert_eq!(store.header(number, tree.block(number)).expect("a header"), *header);
        }
        assert!(*before.get_or_insert_with(|| bytes.clone()) == bytes, "{overlap}");
    }
}

#[test]
fn what_was_safe_when_the_disk_failed_is_told_of_and_nothing_else() {
    let (_, order) = two_branches();
    let all = [10, 20, 30, 40, 45];
    for good_syncs in 0..2 * all.len() {
        for overlap in [false, true] {
            let disk = Disk::new(good_syncs);
            let (told, stored) = follow(&order, &disk, overlap);
            match stored {
                Err(error) => assert!(error.to_string().contains("the disk is gone"), "{error}"),
                // Commits that wait for the disk share syncs, so that there may be fewer.
                Ok(_) => assert!(overlap && told == all, "{good_syncs}"),
            }
            assert!(all.starts_with(&told), "{good_syncs}, {overlap}: {told:?}");
            let two_each = good_syncs / 2;
            assert!(
                told.len() == two_each || overlap && told.len() > two_each,
                "{good_syncs}: {told:?}"
            );
            let storage = Box::new(MemoryStorage { bytes: disk.bytes() });
            let LoadedHeaders { store, tree } = LoadedHeaders::open(storage).expect("a file");
            let height = tree.block(store.tip()).height();
            assert!(height >= told.last().copied().unwrap_or(0), "{good_syncs}, {overlap}");
        }
    }
}

#[test]
fn headers_that_wait_are_those_that_may_be_needed() {
    let (chain, _) = two_branches();
    let rules = HeaderRules::new(Params::of(Network::Regtest), u64::MAX);
    let mut tree = HeaderTree::new(rules, crate::chain::Start::Genesis, 10);
    // Not solved by far, and the clock of nobody.
    let bad = Header::from_fields(4, chain[9].id(), Hash256::ZERO, 0, chain[9].bits(), 0);
    let branch = extend(&chain[4], 3, 1);
    let order = [&chain[..10], &[bad], &branch].concat();
    let mut kept = Kept::default();
    let mut numbers = Vec::new();
    for (index, header) in (0..).zip(&order) {
        let number = tree.insert(header, header.id(), Position(index)).expect("a new one");
        kept.push(number, from_ref(header));
        numbers.push(number);
    }
    assert!(tree.is_rejected(numbers[10]));
    assert!(kept.take_all(&numbers[..10]).is_none());
    // As many, but others.
    let backwards: Vec<_> = numbers.iter().rev().copied().collect();
    assert!(kept.take_all(&backwards).is_none());
    assert_eq!(kept.header(&tree, numbers[3]), Some(chain[3]));
    kept.forget(&tree, numbers[..10].to_vec());
    let others: Vec<_> = kept.others.iter().map(|(number, _)| *number).collect();
    assert_eq!((others, kept.latest.len()), (numbers[11..].to_vec(), 0));
    let wanted = [numbers[12], numbers[3], numbers[11]];
    let (headers, missing) = kept.headers(&tree, &wanted);
    assert_eq!((headers[0], missing, headers[2]), (branch[1], vec![1], branch[0]));
    // Those that the file has in the end are forgotten as well.
    kept.forget(&tree, vec![numbers[12]]);
    assert_eq!(kept.header(&tree, numbers[13]), Some(branch[2]));
    assert_eq!(kept.header(&tree, numbers[12]), None);
    assert_eq!(kept.others.len(), 2);
}

#[test]
fn a_panic_is_passed_on() {
    let store = LoadedHeaders::open(Box::new(Disk::new(0))).expect("a file").store;
    let next = NextHeaders {
        parent_height: 0,
        parent_time: 0,
        numbers: Vec::new(),
        headers: extend(&Params::of(Network::Regtest).genesis, 1, 0),
    };
    let mut appender = Appender::new().expect("a thread");
    appender.begin(store, Step { next, commit: None });
    let panic = catch_unwind(AssertUnwindSafe(|| appender.wait())).err().expect("a panic");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("a number for each header"), "{message}");
}
