//! SHA-256 with the SHA-2 instructions of ARMv8, two messages at a time.
//!
//! As on x86, one message alone waits for the latency of its own rounds; a second one fills the gaps.

#![allow(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vdupq_n_u8, vextq_u8, vld1q_u8, vld1q_u32, vreinterpretq_u8_u32,
    vreinterpretq_u32_u8, vrev32q_u8, vsha256h2q_u32, vsha256hq_u32, vsha256su0q_u32,
    vsha256su1q_u32, vst1q_u8, vst1q_u32,
};

use crate::compute::reference::{IV, K};

use super::Kernels;
#[cfg(feature = "mine")]
use super::block::Midstate;
use super::block::{BLOCK, DIGEST_BITS, END, HEADER_BITS, NODE_BITS, PAIR_PADDING, State};
use super::streams::Jobs;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArmV8(());

impl ArmV8 {
    /// The instructions, if this processor has them.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("sha2").then_some(Self(()))
    }
}

impl Kernels for ArmV8 {
    fn hash_headers(&self, headers: &[[u8; 80]], ids: &mut [[u8; 32]]) {
        // SAFETY: `self` is the proof that the instructions are there.
        unsafe { in_twos(headers, ids, |two| hash_headers(two), |one| hash_headers(one)) }
    }

    fn hash_pairs(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        unsafe { in_twos(pairs, parents, |two| hash_pairs(two), |one| hash_pairs(one)) }
    }

    fn hash_nodes(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        unsafe { in_twos(pairs, parents, |two| hash_nodes(two), |one| hash_nodes(one)) }
    }

    fn hash_messages(&self, jobs: Jobs<'_>) {
        jobs.hash::<2>(
            // SAFETY: as above.
            |states, runs| unsafe { compress_runs(states, runs) },
            // SAFETY: as above.
            |state, run| unsafe { compress_runs(std::array::from_mut(state), [run]) },
        );
    }

    #[cfg(feature = "mine")]
    fn search(&self, midstate: &Midstate, top: u32, first: u32, count: u64) -> Option<u32> {
        // SAFETY: as above.
        unsafe { search(midstate, top, first, count) }
    }
}

/// The state as the instructions want it: words A B C D and E F G H.
type Lane = [uint32x4_t; 2];

#[target_feature(enable = "sha2")]
fn in_twos<M>(
    messages: &[M],
    digests: &mut [[u8; 32]],
    two: impl Fn([&M; 2]) -> [[u8; 32]; 2],
    one: impl Fn([&M; 1]) -> [[u8; 32]; 1],
) {
    let (pairs, last) = messages.as_chunks::<2>();
    let (pair_digests, last_digest) = digests.as_chunks_mut::<2>();
    for ([a, b], digests) in pairs.iter().zip(pair_digests) {
        *digests = two([a, b]);
    }
    if let ([message], [digest]) = (last, last_digest) {
        [*digest] = one([message]);
    }
}

#[inline]
#[target_feature(enable = "sha2")]
fn words(words: [u32; 4]) -> uint32x4_t {
    // SAFETY: four words are there to read.
    unsafe { vld1q_u32(words.as_ptr()) }
}

/// Four big-endian words.
#[inline]
#[target_feature(enable = "sha2")]
fn load(bytes: &[u8; 16]) -> uint32x4_t {
    // SAFETY: 16 bytes are there to read.
    vreinterpretq_u32_u8(vrev32q_u8(unsafe { vld1q_u8(bytes.as_ptr()) }))
}

#[inline]
#[target_feature(enable = "sha2")]
fn block(bytes: &[u8; BLOCK]) -> [uint32x4_t; 4] {
    let quarters = bytes.as_chunks::<16>().0;
    [load(&quarters[0]), load(&quarters[1]), load(&quarters[2]), load(&quarters[3])]
}

#[inline]
#[target_feature(enable = "sha2")]
fn load_state(state: &State) -> Lane {
    let halves = state.as_chunks::<4>().0;
    [words(halves[0]), words(halves[1])]
}

#[inline]
#[target_feature(enable = "sha2")]
fn store_state(lane: Lane) -> State {
    let mut state = [0; 8];
    let (low, high) = state.split_at_mut(4);
    // SAFETY: each half has room for four words.
    unsafe {
        vst1q_u32(low.as_mut_ptr(), lane[0]);
        vst1q_u32(high.as_mut_ptr(), lane[1]);
    }
    state
}

#[inline]
#[target_feature(enable = "sha2")]
fn store_digest(lane: Lane) -> [u8; 32] {
    let mut digest = [0; 32];
    let (low, high) = digest.split_at_mut(16);
    let bytes = lane.map(|words| vrev32q_u8(vreinterpretq_u8_u32(words)));
    // SAFETY: each half has room for 16 bytes.
    unsafe {
        vst1q_u8(low.as_mut_ptr(), bytes[0]);
        vst1q_u8(high.as_mut_ptr(), bytes[1]);
    }
    digest
}

#[inline]
#[target_feature(enable = "sha2")]
fn k(group: usize) -> uint32x4_t {
    words(K.as_chunks::<4>().0[group])
}

/// Four rounds of each lane; `wk` holds message words and round constants, added up.
#[inline]
#[target_feature(enable = "sha2")]
fn four_rounds<const N: usize>(lanes: &mut [Lane; N], wk: [uint32x4_t; N]) {
    for (lane, wk) in lanes.iter_mut().zip(wk) {
        let [abcd, efgh] = *lane;
        *lane = [vsha256hq_u32(abcd, efgh, wk), vsha256h2q_u32(efgh, abcd, wk)];
    }
}

#[inline]
#[target_feature(enable = "sha2")]
fn add<const N: usize>(w: [uint32x4_t; N], k: uint32x4_t) -> [uint32x4_t; N] {
    w.map(|w| vaddq_u32(w, k))
}

/// Rounds from `group`, a multiple of four, to the end; `w` holds the sixteen words from there on.
#[inline]
#[target_feature(enable = "sha2")]
fn rounds_from<const N: usize>(group: usize, lanes: &mut [Lane; N], w: &mut [[uint32x4_t; 4]; N]) {
    for group in group..16 {
        let at = group % 4;
        four_rounds(lanes, add(w.map(|w| w[at]), k(group)));
        if group < 12 {
            for w in &mut *w {
                let early = vsha256su0q_u32(w[at], w[(at + 1) % 4]);
                w[at] = vsha256su1q_u32(early, w[(at + 2) % 4], w[(at + 3) % 4]);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "sha2")]
fn add_lanes<const N: usize>(lanes: &mut [Lane; N], before: [Lane; N]) {
    for (lane, before) in lanes.iter_mut().zip(before) {
        *lane = [vaddq_u32(lane[0], before[0]), vaddq_u32(lane[1], before[1])];
    }
}

/// Hashes a block of each lane.
#[inline]
#[target_feature(enable = "sha2")]
fn compress<const N: usize>(lanes: &mut [Lane; N], mut w: [[uint32x4_t; 4]; N]) {
    let before = *lanes;
    rounds_from(0, lanes, &mut w);
    add_lanes(lanes, before);
}

/// Hashes the digest that each lane holds once more.
#[inline]
#[target_feature(enable = "sha2")]
fn hash_digest<const N: usize>(lanes: &mut [Lane; N]) {
    let end = [words([END, 0, 0, 0]), words([0, 0, 0, DIGEST_BITS])];
    let blocks = lanes.map(|[low, high]| [low, high, end[0], end[1]]);
    *lanes = [load_state(&IV); N];
    compress(lanes, blocks);
}

/// Hashes a last block of four words of the message at most: `w0`, then the word `end`, zeros, and the
/// length in bits.
#[inline]
#[target_feature(enable = "sha2")]
fn compress_tail<const N: usize>(lanes: &mut [Lane; N], w0: [uint32x4_t; N], end: u32, bits: u32) {
    let zero = words([0; 4]);
    let padding = [words([end, 0, 0, 0]), words([0, 0, 0, bits])];
    compress(lanes, w0.map(|w0| [w0, padding[0], zero, padding[1]]));
}

#[inline]
#[target_feature(enable = "sha2")]
fn hash_headers<const N: usize>(headers: [&[u8; 80]; N]) -> [[u8; 32]; N] {
    let mut lanes = [load_state(&IV); N];
    compress(&mut lanes, headers.map(|header| block(header.first_chunk().expect("64 of 80"))));
    let tails = headers.map(|header| load(header.last_chunk().expect("16 of 80")));
    compress_tail(&mut lanes, tails, END, HEADER_BITS);
    hash_digest(&mut lanes);
    lanes.map(|lane| store_digest(lane))
}

#[inline]
#[target_feature(enable = "sha2")]
fn hash_pairs<const N: usize>(pairs: [&[u8; 64]; N]) -> [[u8; 32]; N] {
    let mut lanes = [load_state(&IV); N];
    compress(&mut lanes, pairs.map(|pair| block(pair)));
    let before = lanes;
    for wk in PAIR_PADDING.as_chunks::<4>().0 {
        four_rounds(&mut lanes, [words(*wk); N]);
    }
    add_lanes(&mut lanes, before);
    hash_digest(&mut lanes);
    lanes.map(|lane| store_digest(lane))
}

#[inline]
#[target_feature(enable = "sha2")]
fn hash_nodes<const N: usize>(pairs: [&[u8; 64]; N]) -> [[u8; 32]; N] {
    let mut lanes = [load_state(&IV); N];
    let blocks = pairs.map(|pair| {
        // One byte further on: each vector begins with the last byte of the one before.
        let mut before = vdupq_n_u8(1);
        let mut shifted = [words([0; 4]); 4];
        for (shifted, quarter) in shifted.iter_mut().zip(pair.as_chunks::<16>().0) {
            // SAFETY: 16 bytes are there to read.
            let bytes = unsafe { vld1q_u8(quarter.as_ptr()) };
            *shifted = vreinterpretq_u32_u8(vrev32q_u8(vextq_u8::<15>(before, bytes)));
            before = bytes;
        }
        shifted
    });
    compress(&mut lanes, blocks);
    // The last byte, and the one bit behind it.
    let tails = pairs.map(|pair| words([u32::from(pair[63]) << 24 | END >> 8, 0, 0, 0]));
    compress_tail(&mut lanes, tails, 0, NODE_BITS);
    lanes.map(|lane| store_digest(lane))
}

#[target_feature(enable = "sha2")]
fn compress_runs<const N: usize>(states: &mut [State; N], runs: [&[[u8; BLOCK]]; N]) {
    let mut lanes = states.each_ref().map(|state| load_state(state));
    for at in 0..runs[0].len() {
        compress(&mut lanes, runs.map(|run| block(&run[at])));
    }
    *states = lanes.map(|lane| store_state(lane));
}

/// The most significant word of the id with each nonce.
#[cfg(feature = "mine")]
#[inline]
#[target_feature(enable = "sha2")]
fn top_words<const N: usize>(midstate: &Midstate, nonces: [u32; N]) -> [u32; N] {
    let [w0, w1, w2] = midstate.tail;
    let mut lanes = [load_state(&midstate.state); N];
    let tails = nonces.map(|nonce| words([w0, w1, w2, nonce.swap_bytes()]));
    compress_tail(&mut lanes, tails, END, HEADER_BITS);
    hash_digest(&mut lanes);
    lanes.map(|lane| store_state(lane)[7].swap_bytes())
}

#[cfg(feature = "mine")]
#[target_feature(enable = "sha2")]
fn search(midstate: &Midstate, top: u32, first: u32, count: u64) -> Option<u32> {
    let mut nonce = first;
    for _ in 0..count / 2 {
        let next = nonce.wrapping_add(1);
        let tops = top_words(midstate, [nonce, next]);
        if tops[0] <= top || tops[1] <= top {
            return Some(if tops[0] <= top { nonce } else { next });
        }
        nonce = nonce.wrapping_add(2);
    }
    let is_left = count % 2 == 1 && top_words(midstate, [nonce])[0] <= top;
    is_left.then_some(nonce)
}
