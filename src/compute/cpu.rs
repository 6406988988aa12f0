//! The CPU backend: every core through rayon, on each the best instructions that the processor has.

use std::ops::Range;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::primitives::{Hash256, HashFunction, Header, Trees};

#[cfg(feature = "mine")]
use super::SearchJob;
use super::sha256::Platform;
use super::tree_shape::TreeShape;
use super::{Backend, levels};

/// Headers a task takes at once: long enough to hide the cost of handing it over.
const HEADERS_PER_TASK: usize = 512;

/// The bytes of messages that a task takes at least, if there are as many.
const MESSAGE_BYTES_PER_TASK: usize = 16 << 10;

/// Tasks for each thread, where there is more work than that: those that end early take another's.
const TASKS_PER_THREAD: usize = 8;

/// The leaves that a task takes at least.
const TREE_LEAVES_PER_TASK: usize = 1024;

/// The most leaves that stay with the thread that has them: it is done before others are awake.
const TREE_LEAVES_ALONE_MAX: usize = 4096;

/// The pairs of a level from which on all threads share it, for the same reason.
const SHARED_LEVEL_MIN: usize = 8192;

/// Nonces a task takes at once: a fraction of a millisecond.
#[cfg(feature = "mine")]
const NONCES_PER_TASK: u32 = 1 << 14;

/// The rayon backend.
#[derive(Debug)]
pub struct Cpu {
    pool: rayon::ThreadPool,
    platform: Platform,
}

impl Cpu {
    /// A backend on `threads` threads; zero means one for each core.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        Self::on(Platform::detect(), threads)
    }

    /// The same with chosen instructions, for tests and benchmarks.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub fn on(platform: Platform, threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("cpu-{index}"))
            .build()?;
        Ok(Self { pool, platform })
    }

    /// The digest of each job, in order.
    pub(super) fn each<J: ?Sized + Sync>(
        &self,
        jobs: &[&J],
        digest: impl Fn(&J) -> Hash256 + Sync,
    ) -> Vec<Hash256> {
        self.pool.install(|| jobs.par_iter().map(|job| digest(job)).collect())
    }

    /// Does work that may be shared among all threads.
    pub(super) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// The number of threads that hash.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The instructions that hash.
    #[must_use]
    pub const fn platform(&self) -> Platform {
        self.platform
    }

    /// Whether one thread does the work: there is no other, or the others do other work of the same
    /// caller, as when several batches are judged side by side, each on a pool of one thread.
    fn is_alone(&self) -> bool {
        let caller_is_alone =
            || rayon::current_thread_index().is_some() && rayon::current_num_threads() == 1;
        self.threads() == 1 || caller_is_alone()
    }

    fn threads_at_work(&self) -> usize {
        if self.is_alone() { 1 } else { self.threads() }
    }

    fn roots(&self, shape: TreeShape, trees: &Trees, roots: &mut [Hash256]) {
        assert_eq!(trees.len(), roots.len(), "one root per tree");
        let hash = |nodes: &[Hash256], parents: &mut [Hash256]| {
            if self.is_alone() || parents.len() < SHARED_LEVEL_MIN {
                return hash_level(self.platform, shape, nodes, parents);
            }
            nodes
                .par_chunks(TREE_LEAVES_PER_TASK)
                .zip(parents.par_chunks_mut(TREE_LEAVES_PER_TASK / 2))
                .for_each(|(nodes, parents)| hash_level(self.platform, shape, nodes, parents));
        };
        if trees.leaf_count() <= TREE_LEAVES_ALONE_MAX {
            return levels::roots(shape, trees, 0..trees.len(), roots, hash);
        }
        let size = |tree| trees.get(tree).len();
        let tasks = tasks(roots, self.task_size(trees.leaf_count(), TREE_LEAVES_PER_TASK), size);
        self.for_each(tasks, |which, roots| levels::roots(shape, trees, which, roots, hash));
    }

    /// How much of `total` a task takes: `least`, unless that made more tasks than are useful.
    fn task_size(&self, total: usize, least: usize) -> usize {
        // One thread alone gains nothing from tasks, and lanes run dry at the end of each.
        if self.is_alone() {
            return usize::MAX;
        }
        let tasks = self.threads() * TASKS_PER_THREAD;
        least.max(total / tasks)
    }

    /// Does the tasks, on all threads if there are several.
    fn for_each<'a>(
        &self,
        mut tasks: Vec<Task<'a>>,
        work: impl Fn(Range<usize>, &'a mut [Hash256]) + Sync,
    ) {
        // Handing over a single task, or none, costs more than a small one takes.
        if tasks.len() <= 1 && self.is_alone() {
            tasks.drain(..).for_each(|(which, places)| work(which, places));
        } else {
            self.pool.install(|| {
                tasks.into_par_iter().for_each(|(which, places)| work(which, places));
            });
        }
    }
}

/// Some jobs of a batch in a row, and the places for their results.
type Task<'a> = (Range<usize>, &'a mut [Hash256]);

/// Cuts a batch into tasks of at least `least`, as `size` measures its jobs.
fn tasks(mut places: &mut [Hash256], least: usize, size: impl Fn(usize) -> usize) -> Vec<Task<'_>> {
    let jobs = places.len();
    let (mut tasks, mut first, mut sum) = (Vec::new(), 0, 0);
    for job in 0..jobs {
        sum += size(job);
        if sum >= least || job + 1 == jobs {
            let (taken, rest) = places.split_at_mut(job + 1 - first);
            tasks.push((first..job + 1, taken));
            (places, first, sum) = (rest, job + 1, 0);
        }
    }
    tasks
}

fn hash_level(platform: Platform, shape: TreeShape, nodes: &[Hash256], parents: &mut [Hash256]) {
    match shape {
        TreeShape::Bitcoin => platform.merkle_parents(nodes, parents),
        TreeShape::Rfc6962 => platform.rfc6962_parents(nodes, parents),
    }
}

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self) -> String {
        let threads = self.threads();
        let plural = if threads == 1 { "" } else { "s" };
        format!("{threads} thread{plural}, {}", self.platform.name())
    }

    fn is_host(&self) -> bool {
        true
    }

    fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        assert_eq!(headers.len(), ids.len(), "one id per header");
        // Handing a small batch to another thread costs more than hashing it.
        if self.is_alone() || headers.len() <= HEADERS_PER_TASK {
            return self.platform.header_ids(headers, ids);
        }
        self.pool.install(|| {
            headers
                .par_chunks(HEADERS_PER_TASK)
                .zip(ids.par_chunks_mut(HEADERS_PER_TASK))
                .for_each(|(headers, ids)| self.platform.header_ids(headers, ids));
        });
    }

    fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        self.roots(TreeShape::Bitcoin, trees, roots);
    }

    fn hash_messages(&self, function: HashFunction, messages: &[&[u8]], digests: &mut [Hash256]) {
        assert_eq!(messages.len(), digests.len(), "one digest per message");
        let size = |message: usize| messages[message].len();
        let total = messages.iter().map(|message| message.len()).sum();
        let least = self.task_size(total, MESSAGE_BYTES_PER_TASK);
        // An empty message is a block as well.
        let tasks = tasks(digests, least, |message| 64 + size(message));
        self.for_each(tasks, |which, digests| {
            self.platform.hash_messages(function, &messages[which], digests);
        });
    }

    fn message_bytes_at_once(&self) -> usize {
        // Messages that were just put together are still in the cache of a core.
        const BYTES_PER_THREAD: usize = 256 << 10;
        self.threads_at_work() * BYTES_PER_THREAD
    }

    fn block_bytes_at_once(&self) -> usize {
        // Blocks are parsed, hashed and looked at, and are still in the cache of a core each time.
        const BYTES_PER_THREAD: usize = 512 << 10;
        self.threads_at_work() * BYTES_PER_THREAD
    }

    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        self.roots(TreeShape::Rfc6962, trees, roots);
    }

    #[cfg(feature = "mine")]
    fn search(&self, job: &SearchJob) -> Option<u32> {
        let tasks = job.count().div_ceil(NONCES_PER_TASK.into());
        let task = |index: u64| {
            let first = u64::from(job.first) + index * u64::from(NONCES_PER_TASK);
            let first = u32::try_from(first).expect("the range ends at u32::MAX");
            let last = job.last.min(first.saturating_add(NONCES_PER_TASK - 1));
            self.platform.search(&SearchJob { first, last, ..*job })
        };
        // Waking the only thread would cost more than a short search.
        if self.threads() == 1 {
            return (0..tasks).find_map(task);
        }
        // The first of all tasks that find one, so that the lowest nonce wins whatever the thread count.
        self.pool.install(|| (0..tasks).into_par_iter().find_map_first(task))
    }

    #[cfg(feature = "mine")]
    fn search_span(&self) -> u32 {
        const NONCES_PER_THREAD: usize = 1 << 18;
        u32::try_from(self.threads() * NONCES_PER_THREAD).unwrap_or(u32::MAX)
    }
}

/// The digest of a message of any length.
pub(super) fn hash_message(function: HashFunction, message: &[u8]) -> Hash256 {
    let digest = Sha256::digest(message);
    let digest = match function {
        HashFunction::Sha256 => digest,
        HashFunction::Sha256d => Sha256::digest(digest),
    };
    Hash256::from_bytes(digest.into())
}

/// The root of one of Bitcoin's trees.
pub(super) fn merkle_root(leaves: &[Hash256]) -> Hash256 {
    let mut trees = Trees::new();
    trees.push(leaves);
    let mut root = [Hash256::ZERO];
    let platform = Platform::detect();
    levels::roots(TreeShape::Bitcoin, &trees, 0..1, &mut root, |nodes, parents| {
        platform.merkle_parents(nodes, parents);
    });
    root[0]
}
