//! SHA-256 with AVX2, eight messages at a time: for x86 processors without SHA instructions.
//!
//! A vector holds the same word of eight messages, so that plain 32-bit arithmetic hashes all of
//! them. The compiler clears the upper halves of the registers at the end of each call.

#![allow(unsafe_code, reason = "instructions that not every processor has")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256,
    _mm256_loadu_si256, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_epi8,
    _mm256_set_m128i, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};
use std::array::from_fn;

use sha2::block_api::compress256;

use crate::compute::reference::{IV, K};

use super::Kernels;
#[cfg(feature = "mine")]
use super::block::Midstate;
use super::block::{
    BLOCK, DIGEST_BITS, END, HEADER_BITS, NODE_BITS, PAIR_PADDING, State, digest_of,
};
use super::portable::Portable;
use super::streams::Jobs;

const LANES: usize = 8;

/// What each lane adds to the first nonce of eight.
#[cfg(feature = "mine")]
const NONCES: [u32; LANES] = [0, 1, 2, 3, 4, 5, 6, 7];

/// Messages left over that are hashed sooner one by one than with most lanes idle.
const FEW: usize = 2;

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The instructions, if this processor has them.
    pub(super) fn detect() -> Option<Self> {
        std::is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl Kernels for Avx2 {
    fn hash_headers(&self, headers: &[[u8; 80]], ids: &mut [[u8; 32]]) {
        // SAFETY: `self` is the proof that the instructions are there.
        let eight = |headers: [&[u8; 80]; LANES]| unsafe { hash_headers(headers) };
        in_eights(headers, ids, eight, |headers, ids| Portable.hash_headers(headers, ids));
    }

    fn hash_pairs(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        let eight = |pairs: [&[u8; 64]; LANES]| unsafe { hash_pairs(pairs) };
        in_eights(pairs, parents, eight, |pairs, parents| Portable.hash_pairs(pairs, parents));
    }

    fn hash_nodes(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        // SAFETY: as above.
        let eight = |pairs: [&[u8; 64]; LANES]| unsafe { hash_nodes(pairs) };
        in_eights(pairs, parents, eight, |pairs, parents| Portable.hash_nodes(pairs, parents));
    }

    fn hash_messages(&self, jobs: Jobs<'_>) {
        // SAFETY: as above.
        jobs.hash_by_length::<LANES>(
            |states, runs| unsafe { compress_runs(states, runs) },
            compress256,
        );
    }

    #[cfg(feature = "mine")]
    fn search(&self, midstate: &Midstate, top: u32, first: u32, count: u64) -> Option<u32> {
        let mut nonce = first;
        for _ in 0..count / LANES as u64 {
            // SAFETY: as above.
            let tops = unsafe { top_words(midstate, nonce) };
            if let Some(lane) = tops.iter().position(|found| *found <= top) {
                return Some(nonce + NONCES[lane]);
            }
            nonce = nonce.wrapping_add(NONCES[LANES - 1]).wrapping_add(1);
        }
        Portable.search(midstate, top, nonce, count % LANES as u64)
    }
}

/// Hashes eight messages at a time, then those left over: a few by `few`, more with idle lanes.
fn in_eights<M>(
    messages: &[M],
    digests: &mut [[u8; 32]],
    eight: impl Fn([&M; LANES]) -> [[u8; 32]; LANES],
    few: impl Fn(&[M], &mut [[u8; 32]]),
) {
    let (eights, rest) = messages.as_chunks::<LANES>();
    let (eight_digests, rest_digests) = digests.as_chunks_mut::<LANES>();
    for (messages, digests) in eights.iter().zip(eight_digests) {
        *digests = eight(messages.each_ref());
    }
    if rest.len() <= FEW {
        return few(rest, rest_digests);
    }
    let padded = eight(from_fn(|lane| &rest[lane.min(rest.len() - 1)]));
    rest_digests.copy_from_slice(&padded[..rest.len()]);
}

/// One word of each lane.
type Word = __m256i;

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u32) -> Word {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Word, b: Word) -> Word {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: Word, b: Word, c: Word) -> Word {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

/// Rotates right by `BY` bits; `BACK` is what is missing to 32.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const BY: i32, const BACK: i32>(x: Word) -> Word {
    const { assert!(BY + BACK == 32) }
    _mm256_or_si256(_mm256_srli_epi32::<BY>(x), _mm256_slli_epi32::<BACK>(x))
}

/// A round of FIPS 180-4, section 6.2.2, step 3. `wk`: message word and round constant, added up.
#[inline]
#[target_feature(enable = "avx2")]
fn round(state: &mut [Word; 8], wk: Word) {
    let [a, b, c, d, e, f, g, h] = *state;
    let sum1 = xor(rotate::<6, 26>(e), rotate::<11, 21>(e), rotate::<25, 7>(e));
    let choice = _mm256_xor_si256(_mm256_and_si256(e, f), _mm256_andnot_si256(e, g));
    let t1 = add(add(h, wk), add(sum1, choice));
    let sum0 = xor(rotate::<2, 30>(a), rotate::<13, 19>(a), rotate::<22, 10>(a));
    // Where two of three agree: equal to FIPS 180-4's majority, with one operation less.
    let majority =
        _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)));
    *state = [add(t1, add(sum0, majority)), a, b, c, add(d, t1), e, f, g];
}

/// The word that follows sixteen others, of which `w` holds number t at t modulo 16.
#[inline]
#[target_feature(enable = "avx2")]
fn next(w: &[Word; 16], t: usize) -> Word {
    let (w15, w2) = (w[(t + 1) % 16], w[(t + 14) % 16]);
    let sigma0 = xor(rotate::<7, 25>(w15), rotate::<18, 14>(w15), _mm256_srli_epi32::<3>(w15));
    let sigma1 = xor(rotate::<17, 15>(w2), rotate::<19, 13>(w2), _mm256_srli_epi32::<10>(w2));
    add(add(w[t % 16], sigma0), add(w[(t + 9) % 16], sigma1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_states(state: &mut [Word; 8], before: &[Word; 8]) {
    for (word, before) in state.iter_mut().zip(before) {
        *word = add(*word, *before);
    }
}

/// Hashes a block of each lane.
#[target_feature(enable = "avx2")]
fn compress(state: &mut [Word; 8], mut w: [Word; 16]) {
    let before = *state;
    for t in 0..16 {
        round(state, add(w[t], splat(K[t])));
    }
    for t in 16..64 {
        w[t % 16] = next(&w, t);
        round(state, add(w[t % 16], splat(K[t])));
    }
    add_states(state, &before);
}

/// Hashes a block that is the same for all lanes, of which everything is known.
#[target_feature(enable = "avx2")]
fn compress_known(state: &mut [Word; 8], schedule: &[u32; 64]) {
    let before = *state;
    for wk in schedule {
        round(state, splat(*wk));
    }
    add_states(state, &before);
}

/// Eight words of eight lanes, from the lanes' words in a row to a vector for each word; or back.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [Word; 8]) -> [Word; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Pairs of rows, then fours, then all.
    let twos = [(a, b), (c, d), (e, f), (g, h)]
        .map(|(a, b)| [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)]);
    let fours = [(twos[0], twos[1]), (twos[2], twos[3])].map(|(a, b)| {
        [
            _mm256_unpacklo_epi64(a[0], b[0]),
            _mm256_unpackhi_epi64(a[0], b[0]),
            _mm256_unpacklo_epi64(a[1], b[1]),
            _mm256_unpackhi_epi64(a[1], b[1]),
        ]
    });
    let low = |word: usize| _mm256_permute2x128_si256::<0x20>(fours[0][word], fours[1][word]);
    let high = |word: usize| _mm256_permute2x128_si256::<0x31>(fours[0][word], fours[1][word]);
    [low(0), low(1), low(2), low(3), high(0), high(1), high(2), high(3)]
}

/// Big-endian words from bytes, or bytes from words.
#[inline]
#[target_feature(enable = "avx2")]
fn swap(x: Word) -> Word {
    let order = _mm256_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, //
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    );
    _mm256_shuffle_epi8(x, order)
}

/// Eight words of each lane, from its bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: [&[u8; 32]; LANES]) -> [Word; 8] {
    // SAFETY: 32 bytes of each lane are there to read, at any alignment.
    transpose(lanes.map(|lane| unsafe { _mm256_loadu_si256(lane.as_ptr().cast()) }))
        .map(|w| swap(w))
}

/// Four words of each lane, from its bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn load_half(lanes: [&[u8; 16]; LANES]) -> [Word; 4] {
    // SAFETY: 16 bytes of each lane are there to read, at any alignment.
    let rows = lanes.map(|lane| -> __m128i { unsafe { _mm_loadu_si128(lane.as_ptr().cast()) } });
    // Each row holds two lanes, so that what unpacks within halves puts all where it belongs.
    let [a, b, c, d] = from_fn(|row| _mm256_set_m128i(rows[row + 4], rows[row]));
    let ab = [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)];
    let cd = [_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d)];
    [
        swap(_mm256_unpacklo_epi64(ab[0], cd[0])),
        swap(_mm256_unpackhi_epi64(ab[0], cd[0])),
        swap(_mm256_unpacklo_epi64(ab[1], cd[1])),
        swap(_mm256_unpackhi_epi64(ab[1], cd[1])),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_block(blocks: [&[u8; BLOCK]; LANES]) -> [Word; 16] {
    let low = load(blocks.map(|block| block.first_chunk().expect("32 of 64 bytes")));
    let high = load(blocks.map(|block| block.last_chunk().expect("32 of 64 bytes")));
    from_fn(|word| if word < 8 { low[word] } else { high[word - 8] })
}

/// A block of words that are known for each lane, then one that ends the message, then zeros, and the
/// length.
#[inline]
#[target_feature(enable = "avx2")]
fn padded<const N: usize>(words: [Word; N], end: u32, bits: u32) -> [Word; 16] {
    let mut block = [_mm256_setzero_si256(); 16];
    block[..N].copy_from_slice(&words);
    block[N] = splat(end);
    block[15] = splat(bits);
    block
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(words: Word) -> [u32; 8] {
    let mut stored = [0; 8];
    // SAFETY: 32 bytes are there to write, at any alignment.
    unsafe { _mm256_storeu_si256(stored.as_mut_ptr().cast(), words) };
    stored
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_digests(state: [Word; 8]) -> [[u8; 32]; LANES] {
    transpose(state).map(|lane| digest_of(&store(lane)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn hash_again(state: [Word; 8]) -> [Word; 8] {
    let mut outer = IV.map(|word| splat(word));
    compress(&mut outer, padded(state, END, DIGEST_BITS));
    outer
}

#[target_feature(enable = "avx2")]
fn hash_headers(headers: [&[u8; 80]; LANES]) -> [[u8; 32]; LANES] {
    let mut state = IV.map(|word| splat(word));
    let blocks = headers.map(|header| header.first_chunk().expect("64 of 80 bytes"));
    compress(&mut state, load_block(blocks));
    let tails = headers.map(|header| header.last_chunk().expect("16 of 80 bytes"));
    compress(&mut state, padded(load_half(tails), END, HEADER_BITS));
    store_digests(hash_again(state))
}

#[target_feature(enable = "avx2")]
fn hash_pairs(pairs: [&[u8; 64]; LANES]) -> [[u8; 32]; LANES] {
    let mut state = IV.map(|word| splat(word));
    compress(&mut state, load_block(pairs));
    compress_known(&mut state, &PAIR_PADDING);
    store_digests(hash_again(state))
}

#[target_feature(enable = "avx2")]
fn hash_nodes(pairs: [&[u8; 64]; LANES]) -> [[u8; 32]; LANES] {
    let mut state = IV.map(|word| splat(word));
    let words = load_block(pairs);
    // Behind the one byte every word begins with the last byte of the one before.
    let shifted = from_fn(|word| {
        let before = if word == 0 { splat(1) } else { words[word - 1] };
        _mm256_or_si256(_mm256_slli_epi32::<24>(before), _mm256_srli_epi32::<8>(words[word]))
    });
    compress(&mut state, shifted);
    let last = _mm256_or_si256(_mm256_slli_epi32::<24>(words[15]), splat(END >> 8));
    compress(&mut state, padded([last], 0, NODE_BITS));
    store_digests(state)
}

#[target_feature(enable = "avx2")]
fn compress_runs(states: &mut [State; LANES], runs: [&[[u8; BLOCK]]; LANES]) {
    // SAFETY: a state is eight words, read at any alignment.
    let rows = states.each_ref().map(|state| unsafe { _mm256_loadu_si256(state.as_ptr().cast()) });
    let mut state = transpose(rows);
    for at in 0..runs[0].len() {
        compress(&mut state, load_block(runs.map(|run| &run[at])));
    }
    for (state, lane) in states.iter_mut().zip(transpose(state)) {
        *state = store(lane);
    }
}

/// The most significant words of the ids with this nonce and the seven after it.
#[cfg(feature = "mine")]
#[target_feature(enable = "avx2")]
fn top_words(midstate: &Midstate, nonce: u32) -> [u32; LANES] {
    let nonces = NONCES.map(|lane| nonce.wrapping_add(lane).swap_bytes());
    // SAFETY: eight nonces, read at any alignment.
    let nonces = unsafe { _mm256_loadu_si256(nonces.as_ptr().cast()) };
    let [w0, w1, w2] = midstate.tail;
    let mut state = midstate.state.map(|word| splat(word));
    compress(&mut state, padded([splat(w0), splat(w1), splat(w2), nonces], END, HEADER_BITS));
    store(swap(hash_again(state)[7]))
}
