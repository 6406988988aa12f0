//! The contract between the pipeline and whatever does the hashing.

use crate::primitives::{Groves, Hash256, HashFunction, Header, Trees};

#[cfg(feature = "mine")]
use super::SearchJob;
use super::{TreeShape, groves};

/// Computes digests and searches nonces, in batches.
///
/// Every implementation gives the same answers as [`super::Reference`], bit for bit, on every
/// input. A call cannot fail: a backend over fallible hardware falls back to the CPU and says so in
/// its [`Tally`].
pub trait Backend: Send + Sync {
    /// `reference`, `cpu` or `gpu`.
    fn name(&self) -> &'static str;

    /// What does the work, for people: a processor or a graphics card.
    fn device(&self) -> String;

    /// Whether the host computes all that it gives.
    fn is_host(&self) -> bool {
        false
    }

    /// The id of each header, in order.
    ///
    /// # Panics
    /// If the slices differ in length.
    fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]);

    /// Makes the ids of headers right, where no id may be taken on a device's word.
    ///
    /// A backend that can be wrong computes them again on the CPU, and draws its conclusions if one
    /// was not it.
    fn confirm_header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        let _ = (headers, ids);
    }

    /// The root of each of Bitcoin's Merkle trees, in order: pairs are hashed with SHA-256d, an odd
    /// last node is paired with itself.  (Bitcoin Core: `ComputeMerkleRoot`.)
    ///
    /// # Panics
    /// If `roots` does not hold one place per tree.
    fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]);

    /// The right root of one tree, where a device's answer would cause a rejection.
    ///
    /// A backend that can be wrong computes it again on the CPU, and draws its conclusions if
    /// `root` was not it.
    fn confirm_merkle_root(&self, leaves: &[Hash256], root: Hash256) -> Hash256 {
        let _ = leaves;
        root
    }

    /// The digest of each message, in order.
    ///
    /// # Panics
    /// If `digests` does not hold one place per message.
    fn hash_messages(&self, function: HashFunction, messages: &[&[u8]], digests: &mut [Hash256]);

    /// How many bytes of messages that were put together one call of [`Backend::hash_messages`] takes well,
    /// about.
    fn message_bytes_at_once(&self) -> usize {
        4 << 20
    }

    /// How many bytes of blocks it pays to judge at once, about.
    fn block_bytes_at_once(&self) -> usize {
        usize::MAX
    }

    /// The root of each of RFC 6962's Merkle trees over leaf *hashes*, in order.
    ///
    /// # Panics
    /// If `roots` does not hold one place per tree.
    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]);

    /// The root of each tree of each grove, in turn.
    ///
    /// # Panics
    /// If `roots` does not hold one place per tree.
    fn hash_groves(
        &self,
        function: HashFunction,
        shape: TreeShape,
        groves: &dyn Groves<'_>,
        roots: &mut [Hash256],
    ) {
        let digests = groves::in_two_steps(self, function, shape, groves, roots);
        if self.is_host() {
            groves.learn(&digests);
        }
    }

    /// Learns that it gave a wrong answer, which its caller found out by computing it on the host.
    fn was_wrong(&self, what: String) {
        let _ = what;
    }

    /// The lowest nonce of the job's range that meets its target, if one does.
    #[cfg(feature = "mine")]
    fn search(&self, job: &SearchJob) -> Option<u32>;

    /// The lowest winning nonce of the first of these jobs that has one.
    ///
    /// The jobs are searched in turn. Each is asked for while hardware may still be at the one before, so
    /// that it never waits between two of them.
    #[cfg(feature = "mine")]
    fn search_in_turn(
        &self,
        jobs: &mut dyn Iterator<Item = SearchJob>,
    ) -> Option<(SearchJob, u32)> {
        for job in jobs {
            if let Some(nonce) = self.search(&job) {
                return Some((job, nonce));
            }
        }
        None
    }

    /// How many nonces a job of [`Backend::search_in_turn`] has well: enough to keep the hardware
    /// busy, few enough to be done within a fraction of a second.
    #[cfg(feature = "mine")]
    fn search_span(&self) -> u32;

    /// As [`super::Device::take_times`], of the device behind it; `None` if there is none.
    fn take_device_times(&self) -> Option<super::DeviceTimes> {
        None
    }

    /// What happened so far that a report should mention.
    fn tally(&self) -> Tally {
        Tally::default()
    }
}

/// What a backend over fallible hardware lived through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Batches that the CPU computed in the device's place.
    pub fallbacks: u64,
    /// Results of the device that the CPU computed again because of `--cross-check`.
    pub cross_checked: u64,
    /// Batches in which the device was caught with a wrong answer.
    pub mismatches: u64,
    /// Why the device is off, if it is.
    pub off: Option<String>,
}
