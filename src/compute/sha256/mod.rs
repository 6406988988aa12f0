//! SHA-256 in bulk, with the best instructions that the processor has.
//!
//! [`Platform`] is the only door: an instruction set, found once and then carried as a value. Each
//! has a file of its own, and all give the same answers. What is called here is always many
//! messages at once, because the gain lies in hashing several of them side by side.

#[cfg(target_arch = "aarch64")]
mod armv8;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod portable;
#[cfg(target_arch = "x86_64")]
mod shani;
mod streams;
#[cfg(test)]
mod tests;

use crate::primitives::{Hash256, HashFunction, Header};

#[cfg(feature = "mine")]
use super::SearchJob;
use portable::Portable;
use streams::Jobs;

/// An instruction set that hashes; that there is a value proves that this processor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    ShaNi(shani::ShaNi),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "aarch64")]
    ArmV8(armv8::ArmV8),
}

/// What an instruction set does. Slices that belong together are of one length.
trait Kernels {
    /// SHA-256d of each header.
    fn hash_headers(&self, headers: &[[u8; 80]], ids: &mut [[u8; 32]]);

    /// SHA-256d of each pair of nodes.
    fn hash_pairs(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]);

    /// SHA-256 of each pair of nodes behind a one byte.
    fn hash_nodes(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]);

    /// Messages of any length.
    fn hash_messages(&self, jobs: Jobs<'_>);

    /// The first of `count` nonces from `first` on whose id has a most significant word of at most
    /// `top`. The range does not go beyond `u32::MAX`.
    #[cfg(feature = "mine")]
    fn search(&self, midstate: &block::Midstate, top: u32, first: u32, count: u64) -> Option<u32>;
}

impl Platform {
    /// The fastest that this processor has.
    #[must_use]
    pub fn detect() -> Self {
        Self::all().next().unwrap_or(Self::portable())
    }

    /// All that this processor has, the fastest first.
    pub fn all() -> impl Iterator<Item = Self> {
        let named = [Self::avx512(), Self::sha_ni(), Self::avx2(), Self::armv8()];
        named.into_iter().chain([Some(Self::portable())]).flatten()
    }

    /// The `sha2` crate, one message at a time: every processor has it.
    #[must_use]
    pub const fn portable() -> Self {
        Self(Kind::Portable(Portable))
    }

    /// Sixteen messages at a time with AVX-512; few with SHA-NI, if that is there as well.
    #[must_use]
    pub fn avx512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return avx512::Avx512::detect().map(|proof| Self(Kind::Avx512(proof)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Two messages at a time with the SHA extensions of x86-64.
    #[must_use]
    pub fn sha_ni() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return shani::ShaNi::detect().map(|proof| Self(Kind::ShaNi(proof)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Eight messages at a time with AVX2.
    #[must_use]
    pub fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return avx2::Avx2::detect().map(|proof| Self(Kind::Avx2(proof)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Two messages at a time with the SHA-2 instructions of ARMv8.
    #[must_use]
    pub fn armv8() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        return armv8::ArmV8::detect().map(|proof| Self(Kind::ArmV8(proof)));
        #[cfg(not(target_arch = "aarch64"))]
        None
    }

    /// The name of the instructions, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable(_) => "no SHA instructions",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Kind::ShaNi(_) => "SHA-NI",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Kind::ArmV8(_) => "ARMv8 SHA-2",
        }
    }

    fn kernels(&self) -> &dyn Kernels {
        match &self.0 {
            Kind::Portable(kernels) => kernels,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(kernels) => kernels,
            #[cfg(target_arch = "x86_64")]
            Kind::ShaNi(kernels) => kernels,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(kernels) => kernels,
            #[cfg(target_arch = "aarch64")]
            Kind::ArmV8(kernels) => kernels,
        }
    }

    /// The id of each header, in order.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn header_ids(self, headers: &[Header], ids: &mut [Hash256]) {
        assert_eq!(headers.len(), ids.len(), "one id per header");
        self.kernels().hash_headers(bytemuck::cast_slice(headers), bytemuck::cast_slice_mut(ids));
    }

    /// The parent of each two neighbours in a Bitcoin Merkle tree: their SHA-256d.
    ///
    /// # Panics
    /// If there are not twice as many nodes as places for parents.
    pub fn merkle_parents(self, nodes: &[Hash256], parents: &mut [Hash256]) {
        assert_eq!(nodes.len(), 2 * parents.len(), "two nodes per parent");
        self.kernels().hash_pairs(bytemuck::cast_slice(nodes), bytemuck::cast_slice_mut(parents));
    }

    /// The parent of each two neighbours in a tree of RFC 6962: SHA-256 of a one byte and the two.
    ///
    /// # Panics
    /// If there are not twice as many nodes as places for parents.
    pub fn rfc6962_parents(self, nodes: &[Hash256], parents: &mut [Hash256]) {
        assert_eq!(nodes.len(), 2 * parents.len(), "two nodes per parent");
        self.kernels().hash_nodes(bytemuck::cast_slice(nodes), bytemuck::cast_slice_mut(parents));
    }

    /// The digest of each message, in order.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn hash_messages(
        self,
        function: HashFunction,
        messages: &[&[u8]],
        digests: &mut [Hash256],
    ) {
        assert_eq!(messages.len(), digests.len(), "one digest per message");
        let digests = bytemuck::cast_slice_mut(digests);
        self.kernels().hash_messages(Jobs { function, messages, digests });
    }

    /// The lowest nonce of the job's range that meets its target, if one does.
    #[cfg(feature = "mine")]
    #[must_use]
    pub fn search(self, job: &SearchJob) -> Option<u32> {
        let midstate = block::Midstate::of(job.header.as_bytes());
        let top = job.target.top_word();
        let mut rest = *job;
        loop {
            let count = rest.count();
            let candidate = self.kernels().search(&midstate, top, rest.first, count)?;
            if job.is_won_by(candidate) {
                return Some(candidate);
            }
            // It shares its most significant word with the target, and is above it.
            if candidate == job.last {
                return None;
            }
            rest.first = candidate + 1;
        }
    }
}
