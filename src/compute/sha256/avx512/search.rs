//! The search for a nonce: SHA-256d of a header with everything computed beforehand that the nonce does
//! not reach, and nothing computed behind the one word that decides.

use std::arch::x86_64::{_mm512_cmple_epu32_mask, _mm512_set_epi32, _mm512_setzero_si512};
use std::ops::ControlFlow;

use crate::compute::reference::{IV, K};

use super::super::block::{self, DIGEST_BITS, END, HEADER_BITS, Midstate};
use super::{
    K16, LANES, Word, add, add_states, next, round, sigma0, sigma1, splat, splat_state, swap,
};

/// A nonce for each lane.
const NONCES: u32 = 16;
const _: () = assert!(NONCES as usize == LANES);

/// What of a search is the same for all nonces.
struct Search {
    midstate: [Word; 8],
    /// The state after the first three rounds.
    begun: [Word; 8],
    /// Words 16 to 19 but for what the nonce adds to the last two.
    early: [Word; 4],
    /// What is known of word 31.
    w31: Word,
}

impl Search {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(midstate: &Midstate) -> Self {
        let [w16, w17] = midstate.early_words();
        let w18 = midstate.tail[2].wrapping_add(block::sigma1(w16));
        let w19 = block::sigma0(END).wrapping_add(block::sigma1(w17));
        let start = splat_state(&midstate.state);
        let mut begun = start;
        for (w, k) in midstate.tail.into_iter().zip(K) {
            round(&mut begun, splat(w.wrapping_add(k)));
        }
        Self {
            midstate: start,
            begun,
            early: [splat(w16), splat(w17), splat(w18), splat(w19)],
            w31: splat(HEADER_BITS.wrapping_add(block::sigma0(w16))),
        }
    }

    /// The last words of the ids with these nonces, but for what the initial state adds.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn last_words(&self, nonces: Word) -> Word {
        let nonces = swap(nonces);
        let mut state = self.begun;
        round(&mut state, add(nonces, splat(K[3])));
        sixteen_times!(T => match T {
            0..4 => {}
            4 => round(&mut state, splat(END.wrapping_add(K[4]))),
            15 => round(&mut state, splat(HEADER_BITS.wrapping_add(K[15]))),
            _ => round(&mut state, splat(K[T])),
        });
        let mut w = self.second_words(nonces);
        sixteen_times!(T => round(&mut state, add(w[T], splat(K16[1][T]))));
        sixteen_times!(T => {
            w[T] = next(&w, T);
            round(&mut state, add(w[T], splat(K16[2][T])));
        });
        sixteen_times!(T => {
            w[T] = next(&w, T);
            round(&mut state, add(w[T], splat(K16[3][T])));
        });
        add_states(&mut state, &self.midstate);
        last_word(state)
    }

    /// Words 16 to 31. Of those before, only the first four, the end and the length are not zero.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn second_words(&self, nonces: Word) -> [Word; 16] {
        let mut w = [_mm512_setzero_si512(); 16];
        w[0] = self.early[0];
        w[1] = self.early[1];
        w[2] = add(self.early[2], sigma0(nonces));
        w[3] = add(self.early[3], nonces);
        w[4] = add(sigma1(w[2]), splat(END));
        w[5] = sigma1(w[3]);
        w[6] = add(sigma1(w[4]), splat(HEADER_BITS));
        for t in 7..16 {
            w[t] = add(sigma1(w[t - 2]), w[t - 7]);
        }
        w[14] = add(w[14], splat(block::sigma0(HEADER_BITS)));
        w[15] = add(w[15], self.w31);
        w
    }
}

/// The last word of the state after all rounds over a digest. It is the word E of round 60: what does not
/// reach that, the compiler leaves out, as the rounds are written out.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn last_word(digest: [Word; 8]) -> Word {
    let mut state = splat_state(&IV);
    let mut w = [_mm512_setzero_si512(); 16];
    w[..8].copy_from_slice(&digest);
    w[8] = splat(END);
    w[15] = splat(DIGEST_BITS);
    sixteen_times!(T => round(&mut state, add(w[T], splat(K[T]))));
    sixteen_times!(T => {
        w[T] = next(&w, T);
        round(&mut state, add(w[T], splat(K16[1][T])));
    });
    sixteen_times!(T => {
        w[T] = next(&w, T);
        round(&mut state, add(w[T], splat(K16[2][T])));
    });
    sixteen_times!(T => {
        w[T] = next(&w, T);
        round(&mut state, add(w[T], splat(K16[3][T])));
    });
    state[7]
}

/// Breaks with the first candidate among `sixteens` times sixteen nonces, or goes on behind them.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn search(
    midstate: &Midstate,
    top: u32,
    first: u32,
    sixteens: u64,
) -> ControlFlow<u32, u32> {
    let search = Search::new(midstate);
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let mut nonce = first;
    for _ in 0..sixteens {
        let last_words = search.last_words(add(splat(nonce), lanes));
        let tops = swap(add(last_words, splat(IV[7])));
        let candidates = _mm512_cmple_epu32_mask(tops, splat(top));
        if candidates != 0 {
            return ControlFlow::Break(nonce + candidates.trailing_zeros());
        }
        nonce = nonce.wrapping_add(NONCES);
    }
    ControlFlow::Continue(nonce)
}
