//! The search for a nonce: SHA-256d of a header with everything computed beforehand that the nonce does
//! not reach, and nothing computed behind the one word that decides.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_cvtsi128_si32, _mm_set_epi64x,
    _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_unpacklo_epi64,
};

use crate::compute::reference::{IV, K};

use super::super::block::{END, HEADER_BITS, Midstate, sigma0, sigma1};
use super::{
    CLEAR_EVERY, Lane, ShaNi, add, add_lanes, four_rounds, k, load_state, next_of, rounds_from,
    rounds_of_digest, scheduled_rounds, unlane, words,
};

/// What of a search is the same for all nonces.
struct Search {
    midstate: Lane,
    /// The state after the first two rounds.
    begun: Lane,
    /// Rounds 2 and 3 but for the nonce: word and constant, constant.
    wk: [u32; 2],
    /// Words 16 to 19 but for what the nonce adds to the last two.
    w4: [u32; 4],
    /// What is known of words 20 to 23, and of words 28 to 31.
    w5: __m128i,
    w7: __m128i,
}

impl Search {
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn new(midstate: &Midstate) -> Self {
        let [w0, w1, w2] = midstate.tail;
        let [w16, w17] = midstate.early_words();
        let start = load_state(&midstate.state);
        let wk = words(w0.wrapping_add(K[0]), w1.wrapping_add(K[1]), 0, 0);
        let begun = [_mm_sha256rnds2_epu32(start[1], start[0], wk), start[0]];
        Self {
            midstate: start,
            begun,
            wk: [w2.wrapping_add(K[2]), K[3]],
            w4: [w16, w17, sigma1(w16).wrapping_add(w2), sigma1(w17).wrapping_add(sigma0(END))],
            w5: words(END, 0, HEADER_BITS, w16),
            w7: words(0, 0, sigma0(HEADER_BITS), HEADER_BITS.wrapping_add(sigma0(w16))),
        }
    }

    /// The last word of each id, but for the initial state that it is added to.
    #[inline]
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn last_words<const N: usize>(&self, nonces: [u32; N]) -> [u32; N] {
        let mut lanes = [self.begun; N];
        let nonces = nonces.map(u32::swap_bytes);
        // Rounds 2 and 3.
        for (lane, nonce) in lanes.iter_mut().zip(nonces) {
            let wk = pair(self.wk[0], self.wk[1].wrapping_add(nonce));
            *lane = [_mm_sha256rnds2_epu32(lane[1], lane[0], wk), lane[0]];
        }
        four_rounds(&mut lanes, [_mm_add_epi32(words(END, 0, 0, 0), k(1)); N]);
        four_rounds(&mut lanes, [k(2); N]);
        four_rounds(&mut lanes, [_mm_add_epi32(words(0, 0, 0, HEADER_BITS), k(3)); N]);
        let low = pair(self.w4[0], self.w4[1]);
        let mut w = nonces.map(|nonce| {
            let w18 = self.w4[2].wrapping_add(sigma0(nonce));
            let w4 = _mm_unpacklo_epi64(low, pair(w18, self.w4[3].wrapping_add(nonce)));
            let w5 = _mm_sha256msg2_epu32(self.w5, w4);
            let w6 = _mm_sha256msg2_epu32(_mm_alignr_epi8::<4>(w5, w4), w5);
            [w4, w5, w6, next_of(self.w7, w5, w6)]
        });
        rounds_from(4, &mut lanes, &mut w);
        add_lanes(&mut lanes, [self.midstate; N]);
        let digests = lanes.map(|lane| unlane(lane));
        lanes = [load_state(&IV); N];
        let w = rounds_of_digest(&mut lanes, digests);
        last_word(lanes, w)
    }
}

/// Rounds 16 to 61 over a digest. The last word of the state is then where it stays, but for two
/// moves: the word E of round 60.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn last_word<const N: usize>(mut lanes: [Lane; N], mut w: [[__m128i; 4]; N]) -> [u32; N] {
    scheduled_rounds(4, &mut lanes, &mut w);
    four_rounds(&mut lanes, add(w.map(|w| w[0]), k(12)));
    four_rounds(&mut lanes, add(w.map(|w| w[1]), k(13)));
    four_rounds(&mut lanes, add(w.map(|w| w[2]), k(14)));
    let wk = add(w.map(|w| w[3]), k(15));
    std::array::from_fn(|lane| {
        let last = _mm_sha256rnds2_epu32(lanes[lane][1], lanes[lane][0], wk[lane]);
        _mm_cvtsi128_si32(last).cast_unsigned()
    })
}

/// Two words in the lower half of a vector, by way of a general register.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn pair(a: u32, b: u32) -> __m128i {
    _mm_set_epi64x(0, (u64::from(a) | u64::from(b) << 32).cast_signed())
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn search(
    proof: ShaNi,
    midstate: &Midstate,
    top: u32,
    first: u32,
    count: u64,
) -> Option<u32> {
    proof.clear_uppers();
    let search = Search::new(midstate);
    let is_candidate = |last_word: u32| last_word.wrapping_add(IV[7]).swap_bytes() <= top;
    let mut nonce = first;
    for pair in 1..=count / 2 {
        let [a, b] = search.last_words([nonce, nonce.wrapping_add(1)]);
        if is_candidate(a) || is_candidate(b) {
            return Some(if is_candidate(a) { nonce } else { nonce.wrapping_add(1) });
        }
        nonce = nonce.wrapping_add(2);
        if pair.is_multiple_of(CLEAR_EVERY as u64 / 2) {
            proof.clear_uppers();
        }
    }
    let [last] = search.last_words([nonce]);
    (count % 2 == 1 && is_candidate(last)).then_some(nonce)
}
