//! The suites: what each backend is asked to do, and how its answers are compared.

use crate::bitcoin::{Network, Params};
use crate::compute::Backend;
#[cfg(feature = "mine")]
use crate::compute::SearchJob;
use crate::error::Error;
use crate::primitives::{Hash256, HashFunction, Header, Messages, Trees, sha256d};
use crate::signature::BadSignature;
use crate::stages::{Busy, Family};

use super::signatures::{Keys, Signatures};
use super::validate::Validated;

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
    /// SHA-256d of many messages of so many bytes each.
    Hash(usize),
    /// Ed25519 signatures.
    Signatures(Keys),
    /// Whole chains from a file, by every rule.
    Validate(Family),
    /// Commits of a chain file, beside plain writes and syncs. See [`super::Append`].
    Append,
}

/// Block 866,342 of the main network. By its target no other nonce of it wins: the chance is 2^-47.
#[cfg(feature = "mine")]
const SOLVED_HEADER: &str = "0060c02158fae6bd34a25f8f05ac2dbe0c47bbec3749c7de030c02000000000000000000\
                             bf3782471b2e4b5c52b77bdfd01040e508e309b4681cf6cb0c914eb70d678b9f\
                             ba8e1367cd0e0317337f05c6";

/// The most nonces that the reference tries as well.
#[cfg(feature = "mine")]
const NONCES_RECOMPUTED_MAX: usize = 1 << 21;

/// The leaves of each tree of the Merkle suite: a full block's transactions.
const TREE_LEAVES: usize = 2048;

impl Suite {
    /// Every suite, in all its variants.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "mine")]
        Self::Search,
        Self::Headers,
        Self::Merkle,
        Self::Hash(64),
        Self::Hash(250),
        Self::Hash(1024),
        Self::Signatures(Keys::Distinct),
        Self::Signatures(Keys::Known),
        Self::Signatures(Keys::Accounts),
        Self::Validate(Family::Bitcoin),
        #[cfg(feature = "mine")]
        Self::Validate(Family::Ledger),
        Self::Append,
    ];

    /// The name on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "mine")]
            Self::Search => "search",
            Self::Headers => "headers",
            Self::Merkle => "merkle",
            Self::Hash(_) => "hash",
            Self::Signatures(_) => "signatures",
            Self::Validate(_) => "validate",
            Self::Append => "append",
        }
    }

    /// Which of the kinds of work that share a name it is, if several do.
    #[must_use]
    pub fn variant(self) -> Option<String> {
        let variant = match self {
            Self::Hash(bytes) => return Some(format!("{bytes}-bytes")),
            Self::Signatures(Keys::Distinct) => "distinct-keys",
            Self::Signatures(Keys::Known) => "known-keys",
            Self::Signatures(Keys::Accounts) => "1000-accounts",
            Self::Validate(Family::Bitcoin) => "bitcoin",
            Self::Validate(Family::Ledger) => "ledger",
            _ => return None,
        };
        Some(variant.into())
    }

    /// What a rate counts.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            #[cfg(feature = "mine")]
            Self::Search => "nonces/s",
            Self::Headers => "headers/s",
            Self::Merkle => "nodes/s",
            Self::Hash(_) => "messages/s",
            Self::Signatures(_) => "signatures/s",
            Self::Validate(_) | Self::Append => "bytes/s",
        }
    }

    /// Whether no device ever does this work, so that only the CPU is measured.
    #[must_use]
    pub const fn is_cpu_only(self) -> bool {
        matches!(self, Self::Signatures(_) | Self::Append)
    }

    /// The batch sizes: in headers, nonces, leaves, messages or signatures; in blocks of chains, and
    /// in commits of chain files.
    #[must_use]
    pub const fn batches(self, quick: bool) -> &'static [usize] {
        match (self, quick) {
            #[cfg(feature = "mine")]
            (Self::Search, true) => &[1 << 18, 1 << 28],
            #[cfg(feature = "mine")]
            (Self::Search, false) => &[1 << 18, 1 << 21, 1 << 24, 1 << 28, 1 << 30],
            (Self::Headers, true) => &[1 << 14],
            (Self::Headers, false) => &[1 << 10, 1 << 14, 1 << 17],
            (Self::Merkle, true) => &[1 << 14],
            (Self::Merkle, false) => &[1 << 11, 1 << 14, 1 << 17],
            (Self::Hash(_), true) => &[1 << 12],
            (Self::Hash(_), false) => &[1 << 8, 1 << 12, 1 << 15],
            (Self::Signatures(Keys::Accounts), _) => &[1 << 12],
            (Self::Signatures(_), true) => &[1 << 10],
            (Self::Signatures(_), false) => &[1 << 7, 1 << 10, 1 << 13],
            (Self::Validate(Family::Bitcoin), true) => &[4],
            (Self::Validate(Family::Bitcoin), false) => &[4, 32],
            (Self::Validate(Family::Ledger), true) => &[2],
            (Self::Validate(Family::Ledger), false) => &[2, 10],
            (Self::Append, true) => &[4],
            (Self::Append, false) => &[16, 128],
        }
    }

    /// Whether a contestant does a batch of this size: a graphics card needs more nonces than any other
    /// can try within seconds.
    #[must_use]
    #[cfg_attr(
        not(feature = "mine"),
        expect(unused_variables, reason = "searches alone are so large")
    )]
    pub fn is_for(self, contestant: &Contestant, batch: usize) -> bool {
        match self {
            #[cfg(feature = "mine")]
            Self::Search => contestant.is_graphics_card() || batch <= NONCES_RECOMPUTED_MAX,
            _ => !self.is_cpu_only() || contestant.backend().name() != "gpu",
        }
    }

    /// The work of one batch, the same in every process; `None` where backends have no part in it.
    ///
    /// # Errors
    /// If there is no room for temporary files.
    ///
    /// # Panics
    /// If `batch` is not one of [`Suite::batches`].
    pub fn case(self, batch: usize) -> Result<Option<Case>, Error> {
        let blocks = || u32::try_from(batch).expect("batches of blocks are small");
        Ok(Some(match self {
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
            Self::Hash(bytes) => Case::Hash(messages(batch, bytes)),
            Self::Signatures(keys) => Case::Signatures(Signatures::new(keys, batch)),
            Self::Validate(Family::Bitcoin) => Case::Validate(Validated::bitcoin(blocks())?),
            #[cfg(feature = "mine")]
            Self::Validate(Family::Ledger) => Case::Validate(Validated::ledger(blocks())?),
            #[cfg(not(feature = "mine"))]
            Self::Validate(Family::Ledger) => return Ok(None),
            Self::Append => return Ok(None),
        }))
    }
}

/// A backend, and the threads for what backends have no part in.
pub struct Contestant {
    backend: Box<dyn Backend>,
    pool: rayon::ThreadPool,
}

impl Contestant {
    /// On `threads` threads; zero means one for each core.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub fn new(backend: Box<dyn Backend>, threads: usize) -> Result<Self, Error> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Error::Device(format!("no threads: {error}")))?;
        Ok(Self { backend, pool })
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Whether it computes on a device that is no software adapter.
    #[must_use]
    pub fn is_graphics_card(&self) -> bool {
        self.backend.name() == "gpu" && !self.is_software_adapter()
    }

    /// Whether it is a driver that computes on the processor.
    #[must_use]
    pub fn is_software_adapter(&self) -> bool {
        self.backend.name() == "gpu" && self.backend.device().contains("software")
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
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
    /// Messages of one length.
    Hash(Messages),
    /// Signed messages.
    Signatures(Signatures),
    /// A chain in a file.
    Validate(Validated),
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
            Self::Hash(messages) => messages.len() as u64,
            Self::Signatures(signatures) => signatures.len() as u64,
            Self::Validate(chain) => chain.bytes(),
        }
    }

    /// Does the work once. Where it goes through several stages, says how long each was busy.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn run(&self, contestant: &Contestant) -> Result<Option<Busy>, Error> {
        match self {
            Self::Signatures(signatures) => {
                let judged = judge(signatures, contestant);
                std::hint::black_box(judged.is_ok());
            }
            Self::Validate(chain) => return chain.run(contestant).map(Some),
            _ => {
                std::hint::black_box(self.digests(contestant.backend()));
            }
        }
        Ok(None)
    }

    /// What a backend alone computes: nothing for work that has several stages.
    fn digests(&self, backend: &dyn Backend) -> Vec<Hash256> {
        let mut digests = Vec::new();
        match self {
            #[cfg(feature = "mine")]
            Self::Search(job) => {
                let found = backend.search(job);
                digests.extend(found.map(|nonce| job.header.with_nonce(nonce).id()));
            }
            Self::Headers(headers) => {
                digests.resize(headers.len(), Hash256::ZERO);
                backend.header_ids(headers, &mut digests);
            }
            Self::Merkle(trees) => {
                digests.resize(trees.len(), Hash256::ZERO);
                backend.merkle_roots(trees, &mut digests);
            }
            Self::Hash(messages) => {
                digests.resize(messages.len(), Hash256::ZERO);
                backend.hash_messages(HashFunction::Sha256d, &messages.slices(), &mut digests);
            }
            Self::Signatures(_) | Self::Validate(_) => {}
        }
        digests
    }

    /// Compares a contestant's answers with those of `reference`.
    ///
    /// # Errors
    /// If a file cannot be read. The difference is inside: an answer differs, or the backend had to be
    /// corrected on the way.
    pub fn compare(
        &self,
        contestant: &Contestant,
        reference: &Contestant,
    ) -> Result<Result<(), Difference>, Error> {
        let (backend, right) = (contestant.backend(), reference.backend());
        let agrees = match self {
            #[cfg(feature = "mine")]
            Self::Search(job) => {
                // A range without a winner says little: the hits of an easy target are compared too.
                let easy = [(0, 1000), (1, 3), (1000, 257)];
                let mut easy = easy.map(|(shift, count)| easy_job(job, shift, count)).into_iter();
                let agrees = easy.all(|easy| backend.search(&easy) == right.search(&easy));
                if job.count() <= NONCES_RECOMPUTED_MAX as u64 {
                    agrees && self.digests(backend) == self.digests(right)
                } else {
                    // Too many for the reference, which confirms the nonce that is known to win.
                    let (known, winner) = solved_at_the_end(job.count());
                    let last = SearchJob { first: known.last, ..known };
                    agrees
                        && right.search(&last) == Some(winner)
                        && backend.search(&known) == Some(winner)
                        && backend.search(job).is_none()
                }
            }
            Self::Headers(_) | Self::Merkle(_) | Self::Hash(_) => {
                self.digests(backend) == self.digests(right)
            }
            Self::Signatures(signatures) => {
                signatures.agrees(|signatures| judge(signatures, contestant))
            }
            Self::Validate(chain) => chain.agrees(contestant, reference)?,
        };
        if agrees && backend.tally().mismatches == 0 {
            return Ok(Ok(()));
        }
        Ok(Err(Difference { backend: format!("{} {}", backend.name(), backend.device()) }))
    }
}

/// Judges signatures together; the reference is judging them singly.
fn judge(signatures: &Signatures, contestant: &Contestant) -> Result<(), BadSignature> {
    if contestant.backend().name() == "reference" {
        return signatures.verify_singly();
    }
    contestant.pool.install(|| signatures.verify_together())
}

/// Messages of `bytes` bytes each, no two alike.
fn messages(count: usize, bytes: usize) -> Messages {
    let mut messages = Messages::new();
    for index in 0..count {
        let digest = sha256d(&index.to_le_bytes());
        let message: Vec<u8> = digest.as_bytes().iter().copied().cycle().take(bytes).collect();
        messages.push(&[&message]);
    }
    messages
}

/// A header with the lowest nonce that meets its target, which is an easy one.
pub(super) fn solved(header: Header) -> Header {
    let target = header.bits().decode().expect("valid bits");
    let mut nonces = (0..=u32::MAX).map(|nonce| header.with_nonce(nonce));
    nonces.find(|header| target.is_met_by(&header.id())).expect("every second nonce wins")
}

/// A chain of headers on regtest's genesis, each with the lowest nonce that solves it.
#[must_use]
pub fn header_chain(length: usize) -> Vec<Header> {
    let genesis = Params::of(Network::Regtest).genesis;
    let mut parent = (genesis.id(), genesis.time());
    let mut chain = Vec::with_capacity(length);
    while chain.len() < length {
        let time = parent.1.wrapping_add(10);
        let root = sha256d(&chain.len().to_le_bytes());
        let header = Header::from_fields(0x2000_0000, parent.0, root, time, genesis.bits(), 0);
        let solved = solved(header);
        parent = (solved.id(), time);
        chain.push(solved);
    }
    chain
}

/// The header of which the winning nonce is known, and its target.
#[cfg(feature = "mine")]
fn solved_header() -> (Header, crate::primitives::Target) {
    let mut bytes = [0; Header::LEN];
    hex::decode_to_slice(SOLVED_HEADER, &mut bytes).expect("160 hex digits");
    let header = Header::from_bytes(bytes);
    (header, header.bits().decode().expect("a published header"))
}

/// As many of its nonces, all below the one that wins.
#[cfg(feature = "mine")]
fn unsolved(count: usize) -> SearchJob {
    let (header, target) = solved_header();
    let last = u32::try_from(count - 1).expect("batches are small");
    assert!(last < header.nonce(), "no winner");
    SearchJob { header, target, first: 0, last }
}

/// As many of its nonces up to the one that wins, which is the answer.
#[cfg(feature = "mine")]
fn solved_at_the_end(count: u64) -> (SearchJob, u32) {
    let (header, target) = solved_header();
    let last = header.nonce();
    let first = last - u32::try_from(count - 1).expect("batches are small");
    (SearchJob { header, target, first, last }, last)
}

#[cfg(feature = "mine")]
fn easy_job(job: &SearchJob, shift: u32, count: u32) -> SearchJob {
    let first = job.first + shift;
    let bits = crate::primitives::CompactTarget::from_bits(0x1f00_ffff); // 1 in 65,536
    let target = bits.decode().expect("valid bits");
    SearchJob { target, first, last: first + count * 100, ..*job }
}
