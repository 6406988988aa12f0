//! The CPU backend: every core through rayon, every instruction that `sha2` finds at run time.

use rayon::prelude::*;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

use crate::primitives::{Hash256, HashFunction, Header, Messages, Trees, rfc6962};

use super::Backend;
#[cfg(feature = "mine")]
use super::SearchJob;
use super::reference::IV;

/// Headers a task takes at once: long enough to hide the cost of handing it over.
const HEADERS_PER_TASK: usize = 512;

/// Messages a task takes at once.
const MESSAGES_PER_TASK: usize = 128;

/// Trees of fewer leaves than this are hashed by one thread; larger ones level by level by all.
const TREE_LEAVES_PER_TASK: usize = 1024;

/// The rayon backend.
#[derive(Debug)]
pub struct Cpu {
    pool: rayon::ThreadPool,
}

impl Cpu {
    /// A backend on `threads` threads; zero means one for each core.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("cpu-{index}"))
            .build()?;
        Ok(Self { pool })
    }

    /// The digest of each job, in order.
    pub(super) fn each<J: ?Sized + Sync>(
        &self,
        jobs: &[&J],
        digest: impl Fn(&J) -> Hash256 + Sync,
    ) -> Vec<Hash256> {
        self.pool.install(|| jobs.par_iter().map(|job| digest(job)).collect())
    }

    /// The number of threads that hash.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self) -> String {
        let threads = self.threads();
        let plural = if threads == 1 { "" } else { "s" };
        format!("{threads} thread{plural}, {}", sha_instructions())
    }

    fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        assert_eq!(headers.len(), ids.len(), "one id per header");
        // Handing a small batch to another thread costs more than hashing it.
        if self.threads() == 1 || headers.len() <= HEADERS_PER_TASK {
            return hash_headers(headers, ids);
        }
        self.pool.install(|| {
            headers
                .par_chunks(HEADERS_PER_TASK)
                .zip(ids.par_chunks_mut(HEADERS_PER_TASK))
                .for_each(|(headers, ids)| hash_headers(headers, ids));
        });
    }

    fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        assert_eq!(trees.len(), roots.len(), "one root per tree");
        self.pool.install(|| {
            roots
                .par_iter_mut()
                .enumerate()
                .for_each(|(index, root)| *root = merkle_root(trees.get(index)));
        });
    }

    fn hash_messages(&self, function: HashFunction, messages: &Messages, digests: &mut [Hash256]) {
        assert_eq!(messages.len(), digests.len(), "one digest per message");
        self.pool.install(|| {
            digests
                .par_iter_mut()
                .with_min_len(MESSAGES_PER_TASK)
                .enumerate()
                .for_each(|(index, digest)| *digest = hash_message(function, messages.get(index)));
        });
    }

    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        assert_eq!(trees.len(), roots.len(), "one root per tree");
        self.pool.install(|| {
            roots
                .par_iter_mut()
                .enumerate()
                .for_each(|(index, root)| *root = rfc6962::root(trees.get(index)));
        });
    }

    #[cfg(feature = "mine")]
    fn search(&self, job: &SearchJob) -> Option<u32> {
        let midstate = Midstate::of(&job.header);
        // `find_first`, not `find_any`: the lowest nonce wins whatever the thread count.
        self.pool.install(|| {
            (u64::from(job.first)..u64::from(job.first) + job.count())
                .into_par_iter()
                .map(|nonce| u32::try_from(nonce).expect("the range ends at u32::MAX"))
                .find_first(|&nonce| job.target.is_met_by(&midstate.id(nonce)))
        })
    }

    #[cfg(feature = "mine")]
    fn search_span(&self) -> u32 {
        const NONCES_PER_THREAD: usize = 1 << 18;
        u32::try_from(self.threads() * NONCES_PER_THREAD).unwrap_or(u32::MAX)
    }
}

/// The SHA-256 instructions that this process uses, as `devices` names them.
#[must_use]
pub fn sha_instructions() -> &'static str {
    // The same question that `sha2` asks at run time.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if std::is_x86_feature_detected!("sha") && std::is_x86_feature_detected!("sse4.1") {
        return "SHA-NI";
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("sha2") {
        return "ARMv8 SHA-2";
    }
    "no SHA instructions"
}

/// The second block of an 80-byte message: its last 16 bytes, then the padding.
fn second_block(header: &Header) -> [u8; 64] {
    let mut block = [0; 64];
    block[..16].copy_from_slice(&header.as_bytes()[64..]);
    block[16] = 0x80;
    block[56..].copy_from_slice(&(8 * Header::LEN as u64).to_be_bytes());
    block
}

/// The hash of a 32-byte digest given as state words.
fn hash_digest(state: [u32; 8]) -> Hash256 {
    let mut block = [0; 64];
    put_state(&state, &mut block);
    block[32] = 0x80;
    block[56..].copy_from_slice(&256u64.to_be_bytes());
    let mut outer = IV;
    compress256(&mut outer, &[block]);
    let mut digest = [0; 32];
    put_state(&outer, &mut digest);
    Hash256::from_bytes(digest)
}

fn put_state(state: &[u32; 8], bytes: &mut [u8]) {
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
}

fn hash_headers(headers: &[Header], ids: &mut [Hash256]) {
    for (header, id) in headers.iter().zip(ids) {
        let mut first = [0; 64];
        first.copy_from_slice(&header.as_bytes()[..64]);
        let mut state = IV;
        compress256(&mut state, &[first, second_block(header)]);
        *id = hash_digest(state);
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

/// SHA-256d of two concatenated nodes.
fn hash_pair(left: &Hash256, right: &Hash256) -> Hash256 {
    /// The padding of a 64-byte message, a block of its own.
    const PADDING: [u8; 64] = {
        let mut block = [0; 64];
        block[0] = 0x80;
        block[62] = 0x02; // 512 bits
        block
    };
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left.as_bytes());
    pair[32..].copy_from_slice(right.as_bytes());
    let mut state = IV;
    compress256(&mut state, &[pair, PADDING]);
    hash_digest(state)
}

pub(super) fn merkle_root(leaves: &[Hash256]) -> Hash256 {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = if level.len() >= TREE_LEAVES_PER_TASK {
            level.par_chunks(2).with_min_len(TREE_LEAVES_PER_TASK / 4).map(hash_chunk).collect()
        } else {
            level.chunks(2).map(hash_chunk).collect()
        };
    }
    level[0]
}

/// The parent of one node, which is then its own sibling, or of two.
fn hash_chunk(pair: &[Hash256]) -> Hash256 {
    hash_pair(&pair[0], pair.last().expect("chunks are never empty"))
}

/// The state after the 64 bytes of a header that the nonce does not touch.
#[cfg(feature = "mine")]
#[derive(Clone, Copy)]
struct Midstate {
    state: [u32; 8],
    block: [u8; 64],
}

#[cfg(feature = "mine")]
impl Midstate {
    fn of(header: &Header) -> Self {
        let mut first = [0; 64];
        first.copy_from_slice(&header.as_bytes()[..64]);
        let mut state = IV;
        compress256(&mut state, &[first]);
        Self { state, block: second_block(header) }
    }

    fn id(&self, nonce: u32) -> Hash256 {
        let mut block = self.block;
        block[12..16].copy_from_slice(&nonce.to_le_bytes());
        let mut state = self.state;
        compress256(&mut state, &[block]);
        hash_digest(state)
    }
}
