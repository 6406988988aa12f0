//! Devices to distrust: [`Simulated`] is honest and computes on the CPU; [`Faulty`] wraps a device
//! and, once armed, fails or lies in one chosen way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use blockmill::compute::{
    Backend, Cpu, CrossCheck, Device, DeviceError, DeviceInfo, DeviceType, DispatchLimits, Guarded,
    HASHES_AT_ONCE, Noise, Tested, TreeShape, Work,
};
#[cfg(feature = "mine")]
use blockmill::compute::{
    HIT_LIST_CAPACITY, Hits, SEARCH_GROUP, SEARCHES_AT_ONCE, SearchDispatch, SearchResult,
};
use blockmill::primitives::{Grove, Hash256, HashFunction};
#[cfg(feature = "mine")]
use blockmill::primitives::{Header, Target};

#[cfg(feature = "mine")]
use super::search_faults::SearchFault;
use super::trees::Shape;

/// The jobs with known answers that the guard adds to each dispatch of digests.
pub const KNOWN: usize = 8;

/// The calls of a self-test: one for each kernel, another for the other function of messages, and two for
/// groves.
pub const SELF_TEST_CALLS: usize = if cfg!(feature = "mine") { 8 } else { 7 };

/// The smallest dispatches that hold the self-test, and blocks of the ledger fixture, so that little work
/// needs several of them.
pub const LIMITS: DispatchLimits = DispatchLimits {
    headers: 1031,
    leaves: 288,
    messages: 134,
    message_bytes: 40_000,
    longest_message: 1000,
    nonces: 1024,
};

/// The bytes of messages that one dispatch takes beside the known answers, which may all be long.
pub const MESSAGE_ROOM: usize = LIMITS.message_bytes - KNOWN * LIMITS.longest_message;

/// The results of searches that are under way, oldest first.
#[cfg(feature = "mine")]
type UnderWay = VecDeque<Result<SearchResult, DeviceError>>;

/// The digests of work that is under way, oldest first, or what came of it.
type Hashing = VecDeque<Result<Vec<Hash256>, DeviceError>>;

fn finish(hashing: &mut Hashing, digests: &mut [Hash256]) -> Result<(), DeviceError> {
    let none = || Err(DeviceError::Refused("nothing is hashed".into()));
    digests.copy_from_slice(&hashing.pop_front().unwrap_or_else(none)?);
    Ok(())
}

/// An honest device on the CPU.
pub struct Simulated {
    info: DeviceInfo,
    hashing: Hashing,
    #[cfg(feature = "mine")]
    under_way: UnderWay,
}

impl Simulated {
    pub fn new() -> Self {
        let info = DeviceInfo {
            id: "simulated:0".into(),
            name: "Simulated".into(),
            api: "none".into(),
            kind: DeviceType::Other,
            driver: String::new(),
            pci: None,
        };
        Self {
            info,
            hashing: Hashing::new(),
            #[cfg(feature = "mine")]
            under_way: UnderWay::new(),
        }
    }
}

/// The digests by the oracle, if the work is within the limits.
fn honest(work: &Work<'_>) -> Result<Vec<Hash256>, DeviceError> {
    Ok(match work {
        Work::Headers(headers) => {
            at_most(headers.len(), LIMITS.headers)?;
            headers.iter().map(|header| header.id()).collect()
        }
        Work::Trees(shape, trees) => {
            at_most(trees.iter().map(|leaves| leaves.len()).sum(), LIMITS.leaves)?;
            let shape = Shape::of(*shape);
            trees.iter().map(|leaves| shape.root(leaves)).collect()
        }
        Work::Messages(function, messages) => {
            at_most(messages.len(), LIMITS.messages)?;
            at_most(messages.iter().map(|one| one.len()).sum(), LIMITS.message_bytes)?;
            messages.iter().try_for_each(|one| at_most(one.len(), LIMITS.longest_message))?;
            messages.iter().map(|one| super::oracle::digest(*function, one)).collect()
        }
        Work::Groves(function, shape, groves) => {
            let each = || groves.iter().copied();
            at_most(each().map(Grove::message_count).sum(), LIMITS.messages)?;
            at_most(each().map(Grove::leaf_count).sum(), LIMITS.leaves)?;
            at_most(each().map(Grove::message_bytes).sum(), LIMITS.message_bytes)?;
            for message in groves.iter().flat_map(|grove| grove.messages()) {
                at_most(message.concat().len(), LIMITS.longest_message)?;
            }
            let shape = Shape::of(*shape);
            groves.iter().flat_map(|grove| super::groves::roots(*function, shape, grove)).collect()
        }
    })
}

fn at_most(count: usize, most: usize) -> Result<(), DeviceError> {
    if count <= most { Ok(()) } else { Err(DeviceError::Refused(format!("{count} of {most}"))) }
}

impl Device for Simulated {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn limits(&self) -> DispatchLimits {
        LIMITS
    }

    fn start_hashing(&mut self, work: &Work<'_>, _: &Noise) -> Result<(), DeviceError> {
        at_most(self.hashing.len() + 1, HASHES_AT_ONCE)?;
        self.hashing.push_back(Ok(honest(work)?));
        Ok(())
    }

    fn finish_hashing(&mut self, digests: &mut [Hash256]) -> Result<(), DeviceError> {
        finish(&mut self.hashing, digests)
    }

    #[cfg(feature = "mine")]
    fn start_search(
        &mut self,
        dispatch: &SearchDispatch,
        noise: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), DeviceError> {
        at_most(self.under_way.len() + 1, SEARCHES_AT_ONCE)?;
        at_most(dispatch.count as usize, LIMITS.nonces as usize)?;
        noise(&mut [0; 64]);
        let SearchDispatch { header, target, first, count, .. } = *dispatch;
        self.under_way.push_back(Ok(SearchResult {
            header: hits(&header, target, first, count),
            decoy: hits(&dispatch.decoy, dispatch.decoy_target, dispatch.decoy_first, SEARCH_GROUP),
        }));
        Ok(())
    }

    #[cfg(feature = "mine")]
    fn finish_search(&mut self) -> Result<SearchResult, DeviceError> {
        oldest(&mut self.under_way)
    }

    fn rebuild(&mut self) -> Result<(), DeviceError> {
        self.hashing.clear();
        #[cfg(feature = "mine")]
        self.under_way.clear();
        Ok(())
    }
}

#[cfg(feature = "mine")]
fn oldest(under_way: &mut UnderWay) -> Result<SearchResult, DeviceError> {
    let none = || Err(DeviceError::Refused("no search is under way".into()));
    under_way.pop_front().unwrap_or_else(none)
}

/// What the kernel lists: in no order that helps, and in a full list the lowest hit is missing.
#[cfg(feature = "mine")]
fn hits(header: &Header, target: Target, first: u32, count: u32) -> Hits {
    let nonces = (0..count).map(|offset| first + offset);
    let mut nonces: Vec<_> = nonces.filter(|&nonce| is_candidate(header, target, nonce)).collect();
    let lowest = nonces.first().copied().unwrap_or(u32::MAX);
    let count = u32::try_from(nonces.len()).expect("no more than there are nonces");
    nonces.reverse();
    nonces.truncate(HIT_LIST_CAPACITY);
    Hits { count, lowest, nonces }
}

/// Whether a device lists `nonce`: it compares no more than the most significant word.
#[cfg(feature = "mine")]
pub fn is_candidate(header: &Header, target: Target, nonce: u32) -> bool {
    super::oracle::top_word(&header.with_nonce(nonce).id()) <= target.top_word()
}

/// One way to be wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Honest: what else the wrapper does must change nothing.
    None,
    /// One bit of every output word is flipped.
    FlipEveryWord,
    /// One bit of one output word is flipped; nothing is where there is no such word.
    FlipWord { word: usize, bit: usize },
    /// Everything is zero.
    Zeros,
    /// The kernel did not run: the result buffer comes back as it was.
    Nothing,
    /// The last answers that were right come back again.
    Stale,
    /// Each result stands one place too late.
    Shifted,
    /// Each result is the beginning of its input.
    Echo,
    /// Each id is what the next header names as its parent, which costs no hash.
    EchoParent,
    /// One input, known by its bytes, gets this digest.
    Answer { job: Vec<u8>, digest: Hash256 },
    /// Something about the hits of a search is wrong; digests are right.
    #[cfg(feature = "mine")]
    Search(SearchFault),
    /// Some calls fail, having scribbled over the results; `at` picks them by number, from zero.
    Fails { error: DeviceError, at: fn(usize) -> bool, comes_back: bool },
    /// One call fails, and what comes back after that computes zeros.
    ComesBackWrong,
}

impl Fault {
    /// The faults that make every result wrong, or nearly so, whatever the job.
    pub const WHOLESALE: [Self; 7] = [
        Self::FlipEveryWord,
        Self::Zeros,
        Self::Nothing,
        Self::Stale,
        Self::Shifted,
        Self::Echo,
        Self::EchoParent,
    ];
}

/// A call that reached an armed device.
pub struct Dispatch {
    /// The bytes of each header, of each tree's leaves or of each message, one for each result; of both
    /// headers of a search.
    pub jobs: Vec<Vec<u8>>,
    /// What was in the result buffer beforehand.
    pub noise: Vec<u8>,
    /// The workgroup of the decoy.
    pub decoy_group: Option<u32>,
}

/// The switch of a [`Faulty`] device, and what it lived through since it was armed.
#[derive(Default)]
pub struct Log {
    armed: AtomicBool,
    dispatches: Mutex<Vec<Dispatch>>,
    lies: AtomicUsize,
    rebuilds: AtomicUsize,
}

impl Log {
    pub fn arm(&self) {
        self.armed.store(true, SeqCst);
    }

    /// The calls that reached the device, those of a self-test after a rebuild included.
    pub fn calls(&self) -> usize {
        self.dispatches.lock().expect("no test panics while it holds the log").len()
    }

    /// Keeps a call and returns its number.
    fn note(&self, dispatch: Dispatch) -> usize {
        let mut dispatches = self.dispatches.lock().expect("as above");
        dispatches.push(dispatch);
        dispatches.len() - 1
    }

    pub fn take_dispatches(&self) -> Vec<Dispatch> {
        std::mem::take(&mut *self.dispatches.lock().expect("as above"))
    }

    /// The calls whose answers were wrong.
    pub fn lies(&self) -> usize {
        self.lies.load(SeqCst)
    }

    pub fn rebuilds(&self) -> usize {
        self.rebuilds.load(SeqCst)
    }
}

/// The kinds of jobs that have digests as results.
#[derive(Clone, Copy)]
enum Kind {
    Header,
    Bitcoin,
    Rfc6962,
    Sha256,
    Sha256d,
    BitcoinGrove,
    Rfc6962Grove,
}

/// The kind of work, and the bytes of each job.
fn kind_and_jobs(work: &Work<'_>) -> (Kind, Vec<Vec<u8>>) {
    match work {
        Work::Headers(headers) => {
            (Kind::Header, headers.iter().map(|header| header.as_bytes().to_vec()).collect())
        }
        Work::Trees(shape, trees) => {
            let kind = match shape {
                TreeShape::Bitcoin => Kind::Bitcoin,
                TreeShape::Rfc6962 => Kind::Rfc6962,
            };
            (kind, trees.iter().map(|leaves| bytes_of(leaves)).collect())
        }
        Work::Messages(function, messages) => {
            let kind = match function {
                HashFunction::Sha256 => Kind::Sha256,
                HashFunction::Sha256d => Kind::Sha256d,
            };
            (kind, messages.iter().map(|message| message.to_vec()).collect())
        }
        Work::Groves(function, shape, groves) => {
            let kind = match shape {
                TreeShape::Bitcoin => Kind::BitcoinGrove,
                TreeShape::Rfc6962 => Kind::Rfc6962Grove,
            };
            let trees = groves.iter().flat_map(|grove| super::groves::trees(*function, grove));
            let jobs = trees.map(|leaves| bytes_of(&leaves));
            (kind, jobs.collect())
        }
    }
}

/// A device that behaves until it is armed.
pub struct Faulty {
    inner: Box<dyn Device>,
    fault: Fault,
    log: Arc<Log>,
    /// The last right digests of each [`Kind`].
    last: [Vec<Hash256>; 7],
    hashing: Hashing,
    #[cfg(feature = "mine")]
    last_result: SearchResult,
    #[cfg(feature = "mine")]
    under_way: UnderWay,
}

impl Faulty {
    pub fn new(inner: Box<dyn Device>, fault: Fault) -> (Self, Arc<Log>) {
        let log = Arc::new(Log::default());
        let device = Self {
            inner,
            fault,
            log: Arc::clone(&log),
            last: Default::default(),
            hashing: Hashing::new(),
            #[cfg(feature = "mine")]
            last_result: SearchResult::default(),
            #[cfg(feature = "mine")]
            under_way: UnderWay::new(),
        };
        (device, log)
    }

    fn armed(&self) -> bool {
        self.log.armed.load(SeqCst)
    }

    /// Notes a call, and fails it if that is the fault.
    fn enter(&self, dispatch: Dispatch) -> Result<(), DeviceError> {
        if !self.armed() {
            return Ok(());
        }
        let call = self.log.note(dispatch);
        match &self.fault {
            Fault::Fails { error, at, .. } if at(call) => Err(error.clone()),
            Fault::ComesBackWrong if call == 0 => Err(DeviceError::Lost("for a moment".into())),
            _ => Ok(()),
        }
    }

    fn lied(&self, wrong: bool) {
        self.log.lies.fetch_add(usize::from(wrong), SeqCst);
    }

    /// Digests that the device inside computes, and what becomes of them.
    fn digests(
        &mut self,
        work: &Work<'_>,
        noise: &Noise,
    ) -> Result<Result<Vec<Hash256>, DeviceError>, DeviceError> {
        let (kind, jobs) = kind_and_jobs(work);
        let mut bytes = vec![0; 32 * work.len()];
        noise.fill(0, &mut bytes);
        let mut digests: Vec<_> = bytes.chunks(32).map(|bytes| hash_at(bytes, 0)).collect();
        let entered = self.enter(Dispatch { jobs: jobs.clone(), noise: bytes, decoy_group: None });
        if let Err(error) = entered {
            // Some failures show at once, and some when the result is waited for.
            return if self.log.calls().is_multiple_of(2) { Err(error) } else { Ok(Err(error)) };
        }
        let mut right = digests.clone();
        self.inner.hash(work, &mut right)?;
        if self.armed() {
            self.spoil(&right, &self.last[kind as usize], &jobs, &mut digests);
        } else {
            digests.copy_from_slice(&right);
        }
        self.last[kind as usize] = right;
        Ok(Ok(digests))
    }

    /// What becomes of right digests.
    fn spoil(
        &self,
        right: &[Hash256],
        last: &[Hash256],
        jobs: &[Vec<u8>],
        digests: &mut [Hash256],
    ) {
        let noise = digests.to_vec();
        digests.copy_from_slice(right);
        match &self.fault {
            Fault::FlipEveryWord => {
                for word in 0..8 * digests.len() {
                    flip(&mut digests[word / 8], word % 8, word * 7 % 32);
                }
            }
            Fault::FlipWord { word, bit } => {
                if let Some(digest) = digests.get_mut(word / 8) {
                    flip(digest, word % 8, *bit);
                }
            }
            Fault::Zeros | Fault::ComesBackWrong => digests.fill(Hash256::ZERO),
            Fault::Nothing => digests.copy_from_slice(&noise),
            Fault::Stale => {
                for (digest, last) in digests.iter_mut().zip(last.iter().cycle()) {
                    *digest = *last;
                }
            }
            Fault::Shifted => digests.rotate_right(1),
            Fault::Echo => {
                for (digest, job) in digests.iter_mut().zip(jobs) {
                    *digest = hash_at(job, 0);
                }
            }
            Fault::EchoParent => {
                for (digest, next) in digests.iter_mut().zip(&jobs[1..]) {
                    *digest = hash_at(next, PARENT_AT);
                }
            }
            Fault::Answer { job, digest: wrong } => {
                for (digest, _) in digests.iter_mut().zip(jobs).filter(|(_, asked)| *asked == job) {
                    *digest = *wrong;
                }
            }
            _ => {}
        }
        self.lied(digests != right);
    }
}

/// Where a header names its parent.
const PARENT_AT: usize = 4;

/// The 32 bytes from `at` on, or zeros where there are fewer.
fn hash_at(bytes: &[u8], at: usize) -> Hash256 {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(bytes.iter().skip(at)) {
        *to = *from;
    }
    Hash256::from_bytes(hash)
}

/// Flips a bit of a 32-bit word of a digest.
pub fn flip(digest: &mut Hash256, word: usize, bit: usize) {
    let mut bytes = *digest.as_bytes();
    bytes[4 * word + bit / 8] ^= 1 << (bit % 8);
    *digest = Hash256::from_bytes(bytes);
}

fn bytes_of(hashes: &[Hash256]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

impl Device for Faulty {
    fn info(&self) -> &DeviceInfo {
        self.inner.info()
    }

    fn limits(&self) -> DispatchLimits {
        self.inner.limits()
    }

    fn start_hashing(&mut self, work: &Work<'_>, noise: &Noise) -> Result<(), DeviceError> {
        at_most(self.hashing.len() + 1, HASHES_AT_ONCE)?;
        let digests = self.digests(work, noise)?;
        self.hashing.push_back(digests);
        Ok(())
    }

    fn finish_hashing(&mut self, digests: &mut [Hash256]) -> Result<(), DeviceError> {
        finish(&mut self.hashing, digests)
    }

    #[cfg(feature = "mine")]
    fn start_search(
        &mut self,
        dispatch: &SearchDispatch,
        noise: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), DeviceError> {
        at_most(self.under_way.len() + 1, SEARCHES_AT_ONCE)?;
        let jobs = [dispatch.header, dispatch.decoy].map(|header| header.as_bytes().to_vec());
        let decoy_group = Some(dispatch.decoy_group);
        let mut filled = Vec::new();
        let result = self.inner.search(dispatch, &mut |bytes| {
            noise(bytes);
            filled.extend_from_slice(bytes);
        });
        let entered = Dispatch { jobs: jobs.into(), noise: filled.clone(), decoy_group };
        if let Err(error) = self.enter(entered) {
            // Some failures show at once, and some when the result is waited for.
            if self.log.calls().is_multiple_of(2) {
                return Err(error);
            }
            self.under_way.push_back(Err(error));
            return Ok(());
        }
        let right = result?;
        if !self.armed() {
            self.last_result = right.clone();
            self.under_way.push_back(Ok(right));
            return Ok(());
        }
        let last = std::mem::replace(&mut self.last_result, right.clone());
        let spoilt = self.fault.spoil_search(dispatch, right.clone(), last, &filled);
        self.lied(spoilt != right);
        self.under_way.push_back(Ok(spoilt));
        Ok(())
    }

    #[cfg(feature = "mine")]
    fn finish_search(&mut self) -> Result<SearchResult, DeviceError> {
        oldest(&mut self.under_way)
    }

    fn rebuild(&mut self) -> Result<(), DeviceError> {
        self.log.rebuilds.fetch_add(1, SeqCst);
        self.hashing.clear();
        #[cfg(feature = "mine")]
        self.under_way.clear();
        if let Fault::Fails { comes_back: false, .. } = self.fault {
            return Err(DeviceError::Unavailable("it does not come back".into()));
        }
        self.inner.rebuild()
    }
}

/// A guard over a simulated device with this fault, which is not armed yet.
pub fn guarded(fault: Fault, cross_check: CrossCheck) -> (Guarded, Arc<Log>) {
    guarded_over(Box::new(Simulated::new()), fault, cross_check)
}

pub fn guarded_over(
    device: Box<dyn Device>,
    fault: Fault,
    cross_check: CrossCheck,
) -> (Guarded, Arc<Log>) {
    let (device, log) = Faulty::new(device, fault);
    let tested = Tested::new(Box::new(device)).expect("a device behaves until it is armed");
    let cpu = Cpu::new(1).expect("one thread");
    (Guarded::new(tested, cpu, cross_check), log)
}

/// Holds that a device that lied in its first armed dispatch was found out there and then, with no more
/// dispatches than were under way by that time.
pub fn assert_caught(backend: &Guarded, log: &Log, what: &str) {
    let tally = backend.tally();
    assert_eq!(tally.mismatches, 1, "{what}: {tally:?}");
    assert!((1..=HASHES_AT_ONCE).contains(&log.calls()), "{what}: {} calls", log.calls());
    assert!(log.lies() >= 1, "{what}: it did not lie");
    assert!(tally.fallbacks > 0 && tally.off.is_some(), "{what}: {tally:?}");
}
