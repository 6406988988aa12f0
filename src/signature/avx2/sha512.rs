//! SHA-512 of four messages at a time (FIPS 180-4, sections 4 to 6), one in each lane.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_epi8, _mm256_or_si256,
    _mm256_set1_epi64x, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
};

use super::super::engine::Message;
use super::super::sha512::{Blocks, INITIAL, ROUND};

/// The digests of four messages. It takes as long as the longest of them.
#[target_feature(enable = "avx2")]
pub(super) fn hash(messages: &[Message<'_>; 4]) -> [[u8; 64]; 4] {
    let blocks = Blocks::new(messages);
    let mut state = INITIAL.map(|word| _mm256_set1_epi64x(word.cast_signed()));
    for number in 0..blocks.most() {
        let next = compress(&state, blocks.words(number).map(bytemuck::cast));
        // Messages that have ended keep what they have.
        let goes_on: [u64; 4] =
            std::array::from_fn(|lane| if blocks.has(lane, number) { u64::MAX } else { 0 });
        let goes_on = bytemuck::cast(goes_on);
        for (old, new) in state.iter_mut().zip(next) {
            *old = _mm256_blendv_epi8(*old, new, goes_on);
        }
    }
    let words: [[u64; 4]; 8] = bytemuck::cast(state);
    std::array::from_fn(|lane| {
        let mut digest = [0; 64];
        for (place, word) in digest.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word[lane].to_be_bytes();
        }
        digest
    })
}

/// One block (section 6.4.2).
#[target_feature(enable = "avx2")]
#[inline]
fn compress(state: &[__m256i; 8], mut w: [__m256i; 16]) -> [__m256i; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (sixteen, constants) in ROUND.as_chunks::<16>().0.iter().enumerate() {
        for i in 0..16 {
            if sixteen > 0 {
                let schedule = add(w[(i + 9) % 16], small_sigma_0(w[(i + 1) % 16]));
                w[i] = add(w[i], add(schedule, small_sigma_1(w[(i + 14) % 16])));
            }
            let input = add(w[i], _mm256_set1_epi64x(constants[i].cast_signed()));
            let choice = _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)));
            let first = add(add(h, input), add(choice, sigma_1(e)));
            let either = _mm256_and_si256(c, _mm256_or_si256(a, b));
            let majority = _mm256_or_si256(_mm256_and_si256(a, b), either);
            let second = add(sigma_0(a), majority);
            (h, g, f, e) = (g, f, e, add(d, first));
            (d, c, b, a) = (c, b, a, add(first, second));
        }
    }
    let mixed = [a, b, c, d, e, f, g, h];
    std::array::from_fn(|i| add(state[i], mixed[i]))
}

#[target_feature(enable = "avx2")]
#[inline]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi64(a, b)
}

/// Bits moved down by `BY`, and those that fall out, back in at the top: `UP` is 64 less `BY`.
#[target_feature(enable = "avx2")]
#[inline]
fn rotate<const BY: i32, const UP: i32>(x: __m256i) -> __m256i {
    const { assert!(BY + UP == 64) };
    _mm256_or_si256(_mm256_srli_epi64::<BY>(x), _mm256_slli_epi64::<UP>(x))
}

#[target_feature(enable = "avx2")]
#[inline]
fn xor(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(a, b), c)
}

#[target_feature(enable = "avx2")]
#[inline]
fn sigma_0(x: __m256i) -> __m256i {
    xor(rotate::<28, 36>(x), rotate::<34, 30>(x), rotate::<39, 25>(x))
}

#[target_feature(enable = "avx2")]
#[inline]
fn sigma_1(x: __m256i) -> __m256i {
    xor(rotate::<14, 50>(x), rotate::<18, 46>(x), rotate::<41, 23>(x))
}

#[target_feature(enable = "avx2")]
#[inline]
fn small_sigma_0(x: __m256i) -> __m256i {
    xor(rotate::<1, 63>(x), rotate::<8, 56>(x), _mm256_srli_epi64::<7>(x))
}

#[target_feature(enable = "avx2")]
#[inline]
fn small_sigma_1(x: __m256i) -> __m256i {
    xor(rotate::<19, 45>(x), rotate::<61, 3>(x), _mm256_srli_epi64::<6>(x))
}
