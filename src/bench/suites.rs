//! The suites: what each backend is asked to do, and how its answers are compared.

use crate::bitcoin::{Network, Params};
use crate::compute::Backend;
#[cfg(feature = "mine")]
use crate::compute::SearchJob;
use crate::primitives::{Hash256, Header, Trees, sha256d};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Nonces tried for a header that none of them solves.
    #[cfg(feature = "mine")]
    Search,
    /// Ids of the headers of a chain.
    Headers,
    /// Nodes of Bitcoin's Merkle trees of 2,048 leaves each.
    Merkle,
}

/// The leaves of each tree of the Merkle suite: a full block's transactions.
const TREE_LEAVES: usize = 2048;

impl Suite {
    /// Every suite.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "mine")]
        Self::Search,
        Self::Headers,
        Self::Merkle,
    ];

    /// The name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "mine")]
            Self::Search => "search",
            Self::Headers => "headers",
            Self::Merkle => "merkle",
        }
    }

    /// What a rate counts.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            #[cfg(feature = "mine")]
            Self::Search => "nonces/s",
            Self::Headers => "headers/s",
            Self::Merkle => "nodes/s",
        }
    }

    /// The batch sizes, in headers, nonces or leaves.
    #[must_use]
    pub const fn batches(self, quick: bool) -> &'static [usize] {
        match (self, quick) {
            #[cfg(feature = "mine")]
            (Self::Search, true) => &[1 << 18],
            #[cfg(feature = "mine")]
            (Self::Search, false) => &[1 << 18, 1 << 21],
            (Self::Headers, true) => &[1 << 14],
            (Self::Headers, false) => &[1 << 10, 1 << 14, 1 << 17],
            (Self::Merkle, true) => &[1 << 14],
            (Self::Merkle, false) => &[1 << 11, 1 << 14, 1 << 17],
        }
    }

    /// The work of one batch, the same in every process.
    ///
    /// # Panics
    /// If `batch` is not one of [`Suite::batches`].
    #[must_use]
    pub fn case(self, batch: usize) -> Case {
        match self {
            #[cfg(feature = "mine")]
            Self::Search => Case::Search(unsolved(batch)),
            Self::Headers => Case::Headers(header_chain(batch)),
            Self::Merkle => {
                let leaf = |index: usize| sha256d(&index.to_le_bytes());
                let mut trees = Trees::new();
                for first in (0..batch).step_by(TREE_LEAVES) {
                    let leaves: Vec<_> = (first..first + TREE_LEAVES).map(leaf).collect();
                    trees.push(&leaves);
                }
                Case::Merkle(trees)
            }
        }
    }
}

/// The work of one batch.
pub enum Case {
    /// A range without a winner.
    #[cfg(feature = "mine")]
    Search(SearchJob),
    /// Headers that name each other as parents, and meet regtest's target.
    Headers(Vec<Header>),
    /// Trees of 2,048 leaves.
    Merkle(Trees),
}

/// A backend that gave another answer than the reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{backend} disagrees with the reference")]
pub struct Difference {
    /// The backend.
    pub backend: String,
}

impl Case {
    /// How many units one run of the work is.
    #[must_use]
    pub fn units(&self) -> u64 {
        match self {
            #[cfg(feature = "mine")]
            Self::Search(job) => job.count(),
            Self::Headers(headers) => headers.len() as u64,
            // A tree of n leaves, n a power of two, has n - 1 other nodes.
            Self::Merkle(trees) => (trees.leaf_count() - trees.len()) as u64,
        }
    }

    /// Does the work once and gives its answers.
    #[must_use]
    pub fn run(&self, backend: &dyn Backend) -> Vec<Hash256> {
        match self {
            #[cfg(feature = "mine")]
            Self::Search(job) => {
                let found = backend.search(job);
                found.map(|nonce| job.header.with_nonce(nonce).id()).into_iter().collect()
            }
            Self::Headers(headers) => {
                let mut ids = vec![Hash256::ZERO; headers.len()];
                backend.header_ids(headers, &mut ids);
                ids
            }
            Self::Merkle(trees) => {
                let mut roots = vec![Hash256::ZERO; trees.len()];
                backend.merkle_roots(trees, &mut roots);
                roots
            }
        }
    }

    /// Compares a backend's answers with those of `reference`.
    ///
    /// # Errors
    /// If one differs, or the backend had to be corrected on the way.
    pub fn compare(
        &self,
        backend: &dyn Backend,
        reference: &dyn Backend,
    ) -> Result<(), Difference> {
        let difference =
            || Difference { backend: format!("{} {}", backend.name(), backend.device()) };
        #[cfg(feature = "mine")]
        if let Self::Search(job) = self {
            // A range without a winner says little: the hits of an easy target are compared too.
            for (shift, count) in [(0, 1000), (1, 3), (1000, 257)] {
                let easy = easy_job(job, shift, count);
                if backend.search(&easy) != reference.search(&easy) {
                    return Err(difference());
                }
            }
        }
        let right = self.run(backend) == self.run(reference);
        if right && backend.tally().mismatches == 0 { Ok(()) } else { Err(difference()) }
    }
}

/// A chain of headers on regtest's genesis, each with the lowest nonce that solves it.
#[must_use]
pub fn header_chain(length: usize) -> Vec<Header> {
    let genesis = Params::of(Network::Regtest).genesis;
    let target = genesis.bits().decode().expect("regtest's bits");
    let mut parent = (genesis.id(), genesis.time());
    let mut chain = Vec::with_capacity(length);
    while chain.len() < length {
        let time = parent.1.wrapping_add(600);
        let root = sha256d(&chain.len().to_le_bytes());
        let header = Header::from_fields(0x2000_0000, parent.0, root, time, genesis.bits(), 0);
        let solved = (0..=u32::MAX)
            .map(|nonce| header.with_nonce(nonce))
            .find(|header| target.is_met_by(&header.id()));
        let solved = solved.expect("every second nonce wins");
        parent = (solved.id(), time);
        chain.push(solved);
    }
    chain
}

/// Block 100000 of the main network, from the nonce after its own on: nobody will find another.
#[cfg(feature = "mine")]
fn unsolved(count: usize) -> SearchJob {
    let header = crate::compute::published_header();
    let target = header.bits().decode().expect("a published header");
    let first = header.nonce() + 1;
    let last = first + u32::try_from(count - 1).expect("batches are small");
    SearchJob { header, target, first, last }
}

#[cfg(feature = "mine")]
fn easy_job(job: &SearchJob, shift: u32, count: u32) -> SearchJob {
    let first = job.first + shift;
    let bits = crate::primitives::CompactTarget::from_bits(0x1f00_ffff); // 1 in 65,536
    let target = bits.decode().expect("valid bits");
    SearchJob { target, first, last: first + count * 100, ..*job }
}
