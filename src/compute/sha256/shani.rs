//! SHA-256 with the SHA extensions of x86 processors, two messages at a time.
//!
//! One message alone is bound by the latency of `sha256rnds2`, so a second one runs in its gaps;
//! more than two do not fit the sixteen registers.
//!
//! The SHA instructions have no VEX form: where the upper halves of the vector registers are in use,
//! each of them waits for those as well, and is ten times as slow. So only SSE is enabled here, lest the
//! compiler put 256-bit code between them, and the upper halves are cleared now and then: other code may
//! have left them in use, and so does the operating system when it resumes a thread.

#![allow(unsafe_code, reason = "instructions that not every processor has")]

#[cfg(feature = "mine")]
mod search;

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_loadu_si128, _mm_set_epi8, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128, _mm_unpackhi_epi64, _mm_unpacklo_epi64,
};

use crate::compute::reference::{IV, K};

use super::Kernels;
#[cfg(feature = "mine")]
use super::block::Midstate;
use super::block::{BLOCK, DIGEST_BITS, END, HEADER_BITS, NODE_BITS, PAIR_PADDING, State};
use super::streams::Jobs;

/// Messages in a row for which the upper halves are cleared once: some microseconds.
const CLEAR_EVERY: usize = 128;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShaNi {
    /// Whether the vector registers have upper halves.
    has_avx: bool,
}

impl ShaNi {
    /// The instructions, if this processor has them.
    pub(super) fn detect() -> Option<Self> {
        let found = std::is_x86_feature_detected!("sha")
            && std::is_x86_feature_detected!("ssse3")
            && std::is_x86_feature_detected!("sse4.1");
        found.then(|| Self { has_avx: std::is_x86_feature_detected!("avx") })
    }

    /// Clears the upper halves of the vector registers.
    #[inline]
    fn clear_uppers(self) {
        if self.has_avx {
            // SAFETY: AVX is there; code without it, as is all of this module, keeps nothing there.
            unsafe { asm!("vzeroupper", options(nomem, nostack, preserves_flags)) }
        }
    }
}

impl Kernels for ShaNi {
    fn hash_headers(&self, headers: &[[u8; 80]], ids: &mut [[u8; 32]]) {
        // SAFETY: `self` is the proof that the instructions are there.
        unsafe { in_twos(*self, headers, ids, |two| hash_headers(two), |one| hash_headers(one)) }
    }

    fn hash_pairs(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        unsafe { in_twos(*self, pairs, parents, |two| hash_pairs(two), |one| hash_pairs(one)) }
    }

    fn hash_nodes(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        unsafe { in_twos(*self, pairs, parents, |two| hash_nodes(two), |one| hash_nodes(one)) }
    }

    fn hash_messages(&self, jobs: Jobs<'_>) {
        jobs.hash::<2>(
            // SAFETY: as above.
            |states, runs| unsafe { compress_runs(*self, states, runs) },
            // SAFETY: as above.
            |state, run| unsafe { compress_runs(*self, std::array::from_mut(state), [run]) },
        );
    }

    #[cfg(feature = "mine")]
    fn search(&self, midstate: &Midstate, top: u32, first: u32, count: u64) -> Option<u32> {
        // SAFETY: as above.
        unsafe { search::search(*self, midstate, top, first, count) }
    }
}

/// The state as the instructions want it: words F E B A and H G D C, from the lowest up.
type Lane = [__m128i; 2];

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn in_twos<M>(
    proof: ShaNi,
    messages: &[M],
    digests: &mut [[u8; 32]],
    two: impl Fn([&M; 2]) -> [[u8; 32]; 2],
    one: impl Fn([&M; 1]) -> [[u8; 32]; 1],
) {
    let (pairs, last) = messages.as_chunks::<2>();
    let (pair_digests, last_digest) = digests.as_chunks_mut::<2>();
    let pairs = pairs.chunks(CLEAR_EVERY / 2).zip(pair_digests.chunks_mut(CLEAR_EVERY / 2));
    for (pairs, pair_digests) in pairs {
        proof.clear_uppers();
        for ([a, b], digests) in pairs.iter().zip(pair_digests) {
            *digests = two([a, b]);
        }
    }
    if let ([message], [digest]) = (last, last_digest) {
        [*digest] = one([message]);
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: 16 bytes are there to read, at any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load_words(words: &[u32; 4]) -> __m128i {
    // SAFETY: as above.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn words(a: u32, b: u32, c: u32, d: u32) -> __m128i {
    _mm_set_epi32(d.cast_signed(), c.cast_signed(), b.cast_signed(), a.cast_signed())
}

/// Big-endian words from bytes, or bytes from words.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn swap(x: __m128i) -> __m128i {
    _mm_shuffle_epi8(x, _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3))
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn block(bytes: &[u8; BLOCK]) -> [__m128i; 4] {
    let quarters = bytes.as_chunks::<16>().0;
    [
        swap(load(&quarters[0])),
        swap(load(&quarters[1])),
        swap(load(&quarters[2])),
        swap(load(&quarters[3])),
    ]
}

/// From eight words in two vectors to a lane.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn lane([abcd, efgh]: [__m128i; 2]) -> Lane {
    let badc = _mm_shuffle_epi32::<0xb1>(abcd);
    let fehg = _mm_shuffle_epi32::<0xb1>(efgh);
    [_mm_unpacklo_epi64(fehg, badc), _mm_unpackhi_epi64(fehg, badc)]
}

/// From a lane to eight words in two vectors.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn unlane([feba, hgdc]: Lane) -> [__m128i; 2] {
    let badc = _mm_unpackhi_epi64(feba, hgdc);
    let fehg = _mm_unpacklo_epi64(feba, hgdc);
    [_mm_shuffle_epi32::<0xb1>(badc), _mm_shuffle_epi32::<0xb1>(fehg)]
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load_state(state: &State) -> Lane {
    let halves = state.as_chunks::<4>().0;
    lane([load_words(&halves[0]), load_words(&halves[1])])
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn store_digest(lane: Lane) -> [u8; 32] {
    let mut digest = [0u8; 32];
    let [abcd, efgh] = unlane(lane);
    // SAFETY: twice 16 bytes are there to write, at any alignment.
    unsafe {
        _mm_storeu_si128(digest.as_mut_ptr().cast(), swap(abcd));
        _mm_storeu_si128(digest.as_mut_ptr().add(16).cast(), swap(efgh));
    }
    digest
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn store_state(lane: Lane, state: &mut State) {
    let [abcd, efgh] = unlane(lane);
    // SAFETY: twice four words are there to write, at any alignment.
    unsafe {
        _mm_storeu_si128(state.as_mut_ptr().cast(), abcd);
        _mm_storeu_si128(state.as_mut_ptr().add(4).cast(), efgh);
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn k(group: usize) -> __m128i {
    load_words(&K.as_chunks::<4>().0[group])
}

/// Makes the compiler bring both lanes to this point before either goes on. Left alone it puts all
/// rounds of one lane before those of the other, too far apart for the processor to overlap them.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn keep_pace<const N: usize>(lanes: &mut [Lane; N]) {
    if let [a, b] = lanes.as_mut_slice() {
        // SAFETY: no instruction at all; the values stay in their registers.
        unsafe {
            asm!("/* {} {} {} {} */",
                inout(xmm_reg) a[0], inout(xmm_reg) a[1], inout(xmm_reg) b[0], inout(xmm_reg) b[1],
                options(pure, nomem, nostack, preserves_flags));
        }
    }
}

/// Four rounds of each lane; `wk` holds message words and round constants, added up.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn four_rounds<const N: usize>(lanes: &mut [Lane; N], wk: [__m128i; N]) {
    for (lane, wk) in lanes.iter_mut().zip(wk) {
        lane[1] = _mm_sha256rnds2_epu32(lane[1], lane[0], wk);
        lane[0] = _mm_sha256rnds2_epu32(lane[0], lane[1], _mm_shuffle_epi32::<0x0e>(wk));
    }
    keep_pace(lanes);
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn add<const N: usize>(w: [__m128i; N], k: __m128i) -> [__m128i; N] {
    w.map(|w| _mm_add_epi32(k, w))
}

/// The next four words of a message schedule.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn next(w: [__m128i; 4]) -> __m128i {
    next_of(_mm_sha256msg1_epu32(w[0], w[1]), w[2], w[3])
}

/// The same where what the first two vectors contribute is known.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn next_of(early: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    _mm_sha256msg2_epu32(_mm_add_epi32(early, _mm_alignr_epi8::<4>(w3, w2)), w3)
}

/// A turn of the schedule's wheel: four rounds with the oldest words, which the next ones replace.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn turn<const N: usize, const OLDEST: usize>(
    lanes: &mut [Lane; N],
    w: &mut [[__m128i; 4]; N],
    k: __m128i,
) {
    for (lane, w) in lanes.iter_mut().zip(w) {
        let wk = _mm_add_epi32(k, w[OLDEST]);
        lane[1] = _mm_sha256rnds2_epu32(lane[1], lane[0], wk);
        lane[0] = _mm_sha256rnds2_epu32(lane[0], lane[1], _mm_shuffle_epi32::<0x0e>(wk));
        w[OLDEST] =
            next([w[OLDEST], w[(OLDEST + 1) % 4], w[(OLDEST + 2) % 4], w[(OLDEST + 3) % 4]]);
    }
}

/// Rounds from four times `group`, a multiple of four, to the end; `w` holds the sixteen words from there
/// on.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn rounds_from<const N: usize>(group: usize, lanes: &mut [Lane; N], w: &mut [[__m128i; 4]; N]) {
    scheduled_rounds(group, lanes, w);
    four_rounds(lanes, add(w.map(|w| w[0]), k(12)));
    four_rounds(lanes, add(w.map(|w| w[1]), k(13)));
    four_rounds(lanes, add(w.map(|w| w[2]), k(14)));
    four_rounds(lanes, add(w.map(|w| w[3]), k(15)));
}

/// The same up to round 47, after which no further words are needed.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn scheduled_rounds<const N: usize>(
    group: usize,
    lanes: &mut [Lane; N],
    w: &mut [[__m128i; 4]; N],
) {
    let mut at = group;
    while at < 12 {
        turn::<N, 0>(lanes, w, k(at));
        turn::<N, 1>(lanes, w, k(at + 1));
        turn::<N, 2>(lanes, w, k(at + 2));
        turn::<N, 3>(lanes, w, k(at + 3));
        at += 4;
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn add_lanes<const N: usize>(lanes: &mut [Lane; N], before: [Lane; N]) {
    for (lane, before) in lanes.iter_mut().zip(before) {
        lane[0] = _mm_add_epi32(lane[0], before[0]);
        lane[1] = _mm_add_epi32(lane[1], before[1]);
    }
}

/// Hashes a block of each lane.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress<const N: usize>(lanes: &mut [Lane; N], mut w: [[__m128i; 4]; N]) {
    let before = *lanes;
    rounds_from(0, lanes, &mut w);
    add_lanes(lanes, before);
}

/// Hashes a last block that holds four words of the message at most: `w0`, then the word `end`,
/// zeros, and the length in bits.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_tail<const N: usize>(lanes: &mut [Lane; N], w0: [__m128i; N], end: u32, bits: u32) {
    let before = *lanes;
    let w1 = words(end, 0, 0, 0);
    let w3 = words(0, 0, 0, bits);
    four_rounds(lanes, add(w0, k(0)));
    four_rounds(lanes, [_mm_add_epi32(w1, k(1)); N]);
    four_rounds(lanes, [k(2); N]);
    four_rounds(lanes, [_mm_add_epi32(w3, k(3)); N]);
    // Words 8 to 14 are zero, and so is the sigma of a zero.
    let mut w = w0.map(|w0| {
        let w4 = _mm_sha256msg2_epu32(_mm_sha256msg1_epu32(w0, w1), w3);
        let w5 = next_of(w1, w3, w4);
        let w6 = _mm_sha256msg2_epu32(_mm_alignr_epi8::<4>(w5, w4), w5);
        [w4, w5, w6, next([w3, w4, w5, w6])]
    });
    rounds_from(4, lanes, &mut w);
    add_lanes(lanes, before);
}

/// Hashes the digest that each lane holds once more.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_digest<const N: usize>(lanes: &mut [Lane; N]) {
    let digests = lanes.map(|lane| unlane(lane));
    let before = [load_state(&IV); N];
    *lanes = before;
    let mut w = rounds_of_digest(lanes, digests);
    rounds_from(4, lanes, &mut w);
    add_lanes(lanes, before);
}

/// The first sixteen rounds over a digest. Gives the next sixteen words.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn rounds_of_digest<const N: usize>(
    lanes: &mut [Lane; N],
    digests: [[__m128i; 2]; N],
) -> [[__m128i; 4]; N] {
    let w2 = words(END, 0, 0, 0);
    let w3 = words(0, 0, 0, DIGEST_BITS);
    four_rounds(lanes, add(digests.map(|w| w[0]), k(0)));
    four_rounds(lanes, add(digests.map(|w| w[1]), k(1)));
    four_rounds(lanes, [_mm_add_epi32(w2, k(2)); N]);
    four_rounds(lanes, [_mm_add_epi32(w3, k(3)); N]);
    digests.map(|[w0, w1]| {
        // Words 9 to 14 are zero, and so is the sigma of a zero.
        let w4 = _mm_sha256msg2_epu32(_mm_sha256msg1_epu32(w0, w1), w3);
        let w5 = next([w1, w2, w3, w4]);
        let w6 = next_of(w2, w4, w5);
        [w4, w5, w6, next([w3, w4, w5, w6])]
    })
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_headers<const N: usize>(headers: [&[u8; 80]; N]) -> [[u8; 32]; N] {
    let mut lanes = [load_state(&IV); N];
    compress(&mut lanes, headers.map(|header| block(header.first_chunk().expect("64 of 80"))));
    let tails = headers.map(|header| swap(load(header.last_chunk().expect("16 of 80"))));
    compress_tail(&mut lanes, tails, END, HEADER_BITS);
    hash_digest(&mut lanes);
    lanes.map(|lane| store_digest(lane))
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_pairs<const N: usize>(pairs: [&[u8; 64]; N]) -> [[u8; 32]; N] {
    let mut lanes = [load_state(&IV); N];
    compress(&mut lanes, pairs.map(|pair| block(pair)));
    let before = lanes;
    let padding = PAIR_PADDING.as_chunks::<4>().0;
    for wk in padding {
        four_rounds(&mut lanes, [load_words(wk); N]);
    }
    add_lanes(&mut lanes, before);
    hash_digest(&mut lanes);
    lanes.map(|lane| store_digest(lane))
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_nodes<const N: usize>(pairs: [&[u8; 64]; N]) -> [[u8; 32]; N] {
    let mut lanes = [load_state(&IV); N];
    let blocks = pairs.map(|pair| {
        // One byte further on: each vector begins with the last byte of the one before.
        let [a, b, c, d] = pair.as_chunks::<16>().0 else { unreachable!("four times 16 bytes") };
        let (a, b, c, d) = (load(a), load(b), load(c), load(d));
        let prefix = _mm_set_epi64x(1 << 56, 0);
        [
            swap(_mm_alignr_epi8::<15>(a, prefix)),
            swap(_mm_alignr_epi8::<15>(b, a)),
            swap(_mm_alignr_epi8::<15>(c, b)),
            swap(_mm_alignr_epi8::<15>(d, c)),
        ]
    });
    compress(&mut lanes, blocks);
    // The last byte, and the one bit behind it.
    let tails = pairs.map(|pair| words(u32::from(pair[63]) << 24 | END >> 8, 0, 0, 0));
    compress_tail(&mut lanes, tails, 0, NODE_BITS);
    lanes.map(|lane| store_digest(lane))
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_runs<const N: usize>(proof: ShaNi, states: &mut [State; N], runs: [&[[u8; BLOCK]]; N]) {
    proof.clear_uppers();
    let mut lanes = std::array::from_fn(|lane| load_state(&states[lane]));
    for at in 0..runs[0].len() {
        compress(&mut lanes, runs.map(|run| block(&run[at])));
    }
    for (state, lane) in states.iter_mut().zip(lanes) {
        store_state(lane, state);
    }
}
