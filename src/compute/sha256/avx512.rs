//! SHA-256 with AVX-512, sixteen messages at a time.
//!
//! A vector holds the same word of sixteen messages, as with AVX2. Here schedule and state fit the
//! thirty-two registers, and a rotation or a function of three words is one instruction.
//!
//! An Intel Xeon (Emerald Rapids class), which has SHA-NI as well, searches nonces at 2.0 times the rate
//! that it has with SHA-NI on two lanes, and hashes pairs at 1.9, headers and nodes at 1.7, messages at
//! 1.3 (64 bytes and less) to 1.5 (1,024 bytes), those of mixed lengths at 1.4 times. Up to eight messages
//! lose, and are hashed with SHA-NI. An AMD EPYC (Zen 4), where each of these instructions takes the units
//! twice, searches at 1.1 to 1.2 times the rate of two lanes, hashes pairs at 1.0 to 1.1 times, and the rest at
//! much the same. Rounds of both sets by turns, in one stream of instructions, took as long as one after the
//! other there: they share the units.
//!
//! Arrays of vectors are filled by loops, not by `map` or `from_fn`, which the compiler leaves as calls:
//! those are compiled without these instructions, and hand each vector on through memory.

#![allow(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi32,
    _mm512_castsi128_si512, _mm512_castsi256_si512, _mm512_castsi512_si256,
    _mm512_extracti64x4_epi64, _mm512_inserti32x4, _mm512_inserti64x4, _mm512_loadu_si512,
    _mm512_or_si512, _mm512_permutex2var_epi64, _mm512_ror_epi32, _mm512_set_epi64,
    _mm512_set1_epi32, _mm512_set4_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_ternarylogic_epi32,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
#[cfg(feature = "mine")]
use std::ops::ControlFlow;

use sha2::block_api::compress256;

use crate::compute::reference::{IV, K};

use super::Kernels;
#[cfg(feature = "mine")]
use super::block::Midstate;
use super::block::{BLOCK, DIGEST_BITS, END, HEADER_BITS, NODE_BITS, PAIR_PADDING, State};
use super::portable::Portable;
use super::shani::ShaNi;
use super::streams::Jobs;

const LANES: usize = 16;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx512 {
    /// The SHA instructions, if they are there as well.
    sha_ni: Option<ShaNi>,
}

impl Avx512 {
    /// The instructions, if this processor has them.
    pub(super) fn detect() -> Option<Self> {
        let found =
            std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bw");
        found.then(|| Self { sha_ni: ShaNi::detect() })
    }

    /// The same without the SHA instructions, which most processors that tests run on have.
    #[cfg(test)]
    pub(super) fn alone(self) -> Self {
        Self { sha_ni: None }
    }

    /// What hashes few messages.
    fn others(&self) -> &dyn Kernels {
        self.sha_ni.as_ref().map_or(&Portable, |sha_ni| sha_ni)
    }

    /// How many messages the others hash sooner than sixteen lanes of which most are idle.
    const fn few(&self) -> usize {
        if self.sha_ni.is_some() { 8 } else { 1 }
    }

    /// Hashes sixteen messages at a time, then those left over: a few by `few`, more with idle lanes.
    fn in_sixteens<M>(
        &self,
        messages: &[M],
        digests: &mut [[u8; 32]],
        sixteen: impl Fn([&M; LANES]) -> [[u8; 32]; LANES],
        few: impl Fn(&dyn Kernels, &[M], &mut [[u8; 32]]),
    ) {
        let (sixteens, rest) = messages.as_chunks::<LANES>();
        let (sixteen_digests, rest_digests) = digests.as_chunks_mut::<LANES>();
        for (messages, digests) in sixteens.iter().zip(sixteen_digests) {
            *digests = sixteen(messages.each_ref());
        }
        if rest.len() <= self.few() {
            return few(self.others(), rest, rest_digests);
        }
        let padded = sixteen(std::array::from_fn(|lane| &rest[lane.min(rest.len() - 1)]));
        rest_digests.copy_from_slice(&padded[..rest.len()]);
    }
}

impl Kernels for Avx512 {
    fn hash_headers(&self, headers: &[[u8; 80]], ids: &mut [[u8; 32]]) {
        // SAFETY: `self` is the proof that the instructions are there.
        let sixteen = |headers: [&[u8; 80]; LANES]| unsafe { hash_headers(headers) };
        self.in_sixteens(headers, ids, sixteen, |few, headers, ids| few.hash_headers(headers, ids));
    }

    fn hash_pairs(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        let sixteen = |pairs: [&[u8; 64]; LANES]| unsafe { hash_pairs(pairs) };
        self.in_sixteens(pairs, parents, sixteen, |few, pairs, parents| {
            few.hash_pairs(pairs, parents);
        });
    }

    fn hash_nodes(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        let sixteen = |pairs: [&[u8; 64]; LANES]| unsafe { hash_nodes(pairs) };
        self.in_sixteens(pairs, parents, sixteen, |few, pairs, parents| {
            few.hash_nodes(pairs, parents);
        });
    }

    fn hash_messages(&self, jobs: Jobs<'_>) {
        if jobs.digests.len() <= self.few() {
            return self.others().hash_messages(jobs);
        }
        // SAFETY: as above.
        jobs.hash_by_length::<LANES>(
            |states, runs| unsafe { compress_runs(states, runs) },
            compress256,
        );
    }

    #[cfg(feature = "mine")]
    fn search(&self, midstate: &Midstate, top: u32, first: u32, count: u64) -> Option<u32> {
        // SAFETY: as above.
        match unsafe { search::search(midstate, top, first, count / LANES as u64) } {
            ControlFlow::Break(found) => Some(found),
            ControlFlow::Continue(next) => {
                self.others().search(midstate, top, next, count % LANES as u64)
            }
        }
    }
}

/// One word of each lane.
type Word = __m512i;

/// Functions of three bits: bit 4a + 2b + c of the number is the result for a, b and c.
const XOR: i32 = 0b1001_0110;
const CHOICE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(word: u32) -> Word {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat_state(state: &State) -> [Word; 8] {
    let mut words = [_mm512_setzero_si512(); 8];
    for (words, word) in words.iter_mut().zip(state) {
        *words = splat(*word);
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: Word, b: Word) -> Word {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(a: Word, b: Word, c: Word) -> Word {
    _mm512_ternarylogic_epi32::<XOR>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rotate<const BY: i32>(x: Word) -> Word {
    _mm512_ror_epi32::<BY>(x)
}

/// A round of FIPS 180-4, section 6.2.2, step 3. `wk`: message word and round constant, added up.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round(state: &mut [Word; 8], wk: Word) {
    let [a, b, c, d, e, f, g, h] = *state;
    let sum1 = xor(rotate::<6>(e), rotate::<11>(e), rotate::<25>(e));
    let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
    let t1 = add(add(h, wk), add(sum1, choice));
    let sum0 = xor(rotate::<2>(a), rotate::<13>(a), rotate::<22>(a));
    let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
    *state = [add(t1, add(sum0, majority)), a, b, c, add(d, t1), e, f, g];
}

/// FIPS 180-4, equation 4.6.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sigma0(x: Word) -> Word {
    xor(rotate::<7>(x), rotate::<18>(x), _mm512_srli_epi32::<3>(x))
}

/// FIPS 180-4, equation 4.7.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sigma1(x: Word) -> Word {
    xor(rotate::<17>(x), rotate::<19>(x), _mm512_srli_epi32::<10>(x))
}

/// The word that follows sixteen others, of which `w` holds number t at t modulo 16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn next(w: &[Word; 16], t: usize) -> Word {
    let (w15, w2) = (w[(t + 1) % 16], w[(t + 14) % 16]);
    add(add(w[t % 16], sigma0(w15)), add(w[(t + 9) % 16], sigma1(w2)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_states(state: &mut [Word; 8], before: &[Word; 8]) {
    for (word, before) in state.iter_mut().zip(before) {
        *word = add(*word, *before);
    }
}

/// Does something for each `$t` from 0 to 15, written out. The compiler leaves a loop over so many
/// rounds as it is, and then the schedule lies in memory, and the state moves on in each round.
macro_rules! sixteen_times {
    ($t:ident => $body:expr) => {
        sixteen_times!($t => $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($t:ident => $body:expr; $($number:literal)*) => {
        $({
            const $t: usize = $number;
            $body;
        })*
    };
}

#[cfg(feature = "mine")]
mod search;

/// The round constants of sixteen rounds each.
const K16: &[[u32; 16]] = K.as_chunks().0;

/// Hashes a block of each lane.
#[target_feature(enable = "avx512f,avx512bw")]
fn compress(state: &mut [Word; 8], mut w: [Word; 16]) {
    let before = *state;
    sixteen_times!(T => round(state, add(w[T], splat(K[T]))));
    for k in &K16[1..] {
        sixteen_times!(T => {
            w[T] = next(&w, T);
            round(state, add(w[T], splat(k[T])));
        });
    }
    add_states(state, &before);
}

/// Hashes a last block: words that are known for each lane, then one that ends the message, then zeros,
/// and the length. Rounds 16 to 31 stand alone, as what is the same for all lanes reaches no further:
/// the compiler leaves it out of the schedule.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn compress_last<const N: usize>(state: &mut [Word; 8], words: [Word; N], end: u32, bits: u32) {
    let before = *state;
    let mut w = [_mm512_setzero_si512(); 16];
    w[..N].copy_from_slice(&words);
    w[N] = splat(end);
    w[15] = splat(bits);
    sixteen_times!(T => round(state, add(w[T], splat(K[T]))));
    sixteen_times!(T => {
        w[T] = next(&w, T);
        round(state, add(w[T], splat(K16[1][T])));
    });
    for k in &K16[2..] {
        sixteen_times!(T => {
            w[T] = next(&w, T);
            round(state, add(w[T], splat(k[T])));
        });
    }
    add_states(state, &before);
}

/// Hashes a block that is the same for all lanes, of which everything is known.
#[target_feature(enable = "avx512f,avx512bw")]
fn compress_known(state: &mut [Word; 8], schedule: &[u32; 64]) {
    let before = *state;
    for wk in schedule.as_chunks::<16>().0 {
        sixteen_times!(T => round(state, splat(wk[T])));
    }
    add_states(state, &before);
}

/// Turns four words of each lane, as vectors that hold those of lanes 0, 4, 8 and 12, of lanes 1, 5, 9
/// and 13, and so on, into a vector for each word; or back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose_words([a, b, c, d]: [Word; 4]) -> [Word; 4] {
    let ab = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
    let cd = [_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d)];
    [
        _mm512_unpacklo_epi64(ab[0], cd[0]),
        _mm512_unpackhi_epi64(ab[0], cd[0]),
        _mm512_unpacklo_epi64(ab[1], cd[1]),
        _mm512_unpackhi_epi64(ab[1], cd[1]),
    ]
}

/// Turns four rows of four quarters into four columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose_quarters([a, b, c, d]: [Word; 4]) -> [Word; 4] {
    let ab = [_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b)];
    let cd = [_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d)];
    [
        _mm512_shuffle_i32x4::<0x88>(ab[0], cd[0]),
        _mm512_shuffle_i32x4::<0xdd>(ab[0], cd[0]),
        _mm512_shuffle_i32x4::<0x88>(ab[1], cd[1]),
        _mm512_shuffle_i32x4::<0xdd>(ab[1], cd[1]),
    ]
}

/// Big-endian words from bytes, or bytes from words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swap(x: Word) -> Word {
    _mm512_shuffle_epi8(x, _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203))
}

/// Sixteen words of each lane, from its bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_block(blocks: [&[u8; BLOCK]; LANES]) -> [Word; 16] {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: 64 bytes are there to read, at any alignment.
        *row = swap(unsafe { _mm512_loadu_si512(block.as_ptr().cast()) });
    }
    // Within the quarters first: each then holds one word of four lanes in a row.
    for lanes in rows.as_chunks_mut::<4>().0 {
        *lanes = transpose_words(*lanes);
    }
    let mut words = [_mm512_setzero_si512(); 16];
    for word in 0..4 {
        let rows = [rows[word], rows[word + 4], rows[word + 8], rows[word + 12]];
        [words[word], words[word + 4], words[word + 8], words[word + 12]] =
            transpose_quarters(rows);
    }
    words
}

/// Four words of each lane, from its bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_quarter(lanes: [&[u8; 16]; LANES]) -> [Word; 4] {
    let mut rows = [_mm512_setzero_si512(); 4];
    for (lane, row) in rows.iter_mut().enumerate() {
        // SAFETY: 16 bytes are there to read, at any alignment.
        let load = |lane: usize| unsafe { _mm_loadu_si128(lanes[lane].as_ptr().cast()) };
        let one = _mm512_castsi128_si512(load(lane));
        let two = _mm512_inserti32x4::<1>(one, load(lane + 4));
        let three = _mm512_inserti32x4::<2>(two, load(lane + 8));
        *row = swap(_mm512_inserti32x4::<3>(three, load(lane + 12)));
    }
    transpose_words(rows)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_states(states: &[State; LANES]) -> [Word; 8] {
    let mut low = [_mm512_setzero_si512(); 4];
    let mut high = low;
    for (lane, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
        let two = |a: usize, b: usize| {
            let (a, b) = (states[a].as_ptr().cast(), states[b].as_ptr().cast());
            // SAFETY: a state is eight words, read at any alignment.
            let (a, b) = unsafe { (_mm256_loadu_si256(a), _mm256_loadu_si256(b)) };
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b)
        };
        let (first, last) = (two(lane, lane + 4), two(lane + 8, lane + 12));
        *low = _mm512_shuffle_i32x4::<0x88>(first, last);
        *high = _mm512_shuffle_i32x4::<0xdd>(first, last);
    }
    let ([a, b, c, d], [e, f, g, h]) = (transpose_words(low), transpose_words(high));
    [a, b, c, d, e, f, g, h]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_states([a, b, c, d, e, f, g, h]: [Word; 8]) -> [State; LANES] {
    let rows = transpose_words([a, b, c, d]).into_iter().zip(transpose_words([e, f, g, h]));
    // Quarters 0 and 1 of both, or 2 and 3, so that eight words of a lane follow each other.
    let first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    let last = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    let mut states = [[0; 8]; LANES];
    for (row, (low, high)) in rows.enumerate() {
        for (lane, quarters) in [(row, first), (row + 8, last)] {
            let two = _mm512_permutex2var_epi64(low, quarters, high);
            let (a, b) = (_mm512_castsi512_si256(two), _mm512_extracti64x4_epi64::<1>(two));
            // SAFETY: a state is eight words, written at any alignment.
            unsafe {
                _mm256_storeu_si256(states[lane].as_mut_ptr().cast(), a);
                _mm256_storeu_si256(states[lane + 4].as_mut_ptr().cast(), b);
            }
        }
    }
    states
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_digests(mut state: [Word; 8]) -> [[u8; 32]; LANES] {
    for word in &mut state {
        *word = swap(*word);
    }
    bytemuck::cast(store_states(state))
}

#[target_feature(enable = "avx512f,avx512bw")]
fn hash_again(state: [Word; 8]) -> [Word; 8] {
    let mut outer = splat_state(&IV);
    compress_last(&mut outer, state, END, DIGEST_BITS);
    outer
}

fn head(header: &[u8; 80]) -> &[u8; BLOCK] {
    header.first_chunk().expect("64 of 80 bytes")
}

fn tail(header: &[u8; 80]) -> &[u8; 16] {
    header.last_chunk().expect("16 of 80 bytes")
}

#[target_feature(enable = "avx512f,avx512bw")]
fn hash_headers(headers: [&[u8; 80]; LANES]) -> [[u8; 32]; LANES] {
    let mut state = splat_state(&IV);
    compress(&mut state, load_block(headers.map(head)));
    compress_last(&mut state, load_quarter(headers.map(tail)), END, HEADER_BITS);
    store_digests(hash_again(state))
}

#[target_feature(enable = "avx512f,avx512bw")]
fn hash_pairs(pairs: [&[u8; 64]; LANES]) -> [[u8; 32]; LANES] {
    let mut state = splat_state(&IV);
    compress(&mut state, load_block(pairs));
    compress_known(&mut state, &PAIR_PADDING);
    store_digests(hash_again(state))
}

/// What of a word is left, moved on by a byte, behind the last byte of the one before.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn behind(before: Word, word: Word) -> Word {
    _mm512_or_si512(_mm512_slli_epi32::<24>(before), _mm512_srli_epi32::<8>(word))
}

#[target_feature(enable = "avx512f,avx512bw")]
fn hash_nodes(pairs: [&[u8; 64]; LANES]) -> [[u8; 32]; LANES] {
    let mut state = splat_state(&IV);
    let words = load_block(pairs);
    // Behind the one byte.
    let mut shifted = words;
    let mut before = splat(1);
    for (shifted, word) in shifted.iter_mut().zip(words) {
        *shifted = behind(before, word);
        before = word;
    }
    compress(&mut state, shifted);
    compress_last(&mut state, [behind(before, splat(END))], 0, NODE_BITS);
    store_digests(state)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress_runs(states: &mut [State; LANES], runs: [&[[u8; BLOCK]]; LANES]) {
    let mut state = load_states(states);
    for at in 0..runs[0].len() {
        let mut blocks = [&[0; BLOCK]; LANES];
        for (block, run) in blocks.iter_mut().zip(runs) {
            *block = &run[at];
        }
        compress(&mut state, load_block(blocks));
    }
    *states = store_states(state);
}
