//! SHA-512 of eight messages at a time (FIPS 180-4, sections 4 to 6), one in each lane.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_mask_blend_epi64, _mm512_ror_epi64, _mm512_set1_epi64,
    _mm512_srli_epi64, _mm512_ternarylogic_epi64,
};

use super::super::engine::Message;
use super::super::sha512::{Blocks, INITIAL, ROUND};
use super::field::LANES;

/// The digests of eight messages. It takes as long as the longest of them.
#[target_feature(enable = "avx512f")]
pub(super) fn hash(messages: &[Message<'_>; LANES]) -> [[u8; 64]; LANES] {
    let blocks = Blocks::new(messages);
    let mut state = INITIAL.map(|word| _mm512_set1_epi64(word.cast_signed()));
    for number in 0..blocks.most() {
        let next = compress(&state, blocks.words(number).map(bytemuck::cast));
        // Messages that have ended keep what they have.
        let goes_on =
            (0..LANES).fold(0, |lanes, lane| lanes | u8::from(blocks.has(lane, number)) << lane);
        for (old, new) in state.iter_mut().zip(next) {
            *old = _mm512_mask_blend_epi64(goes_on, *old, new);
        }
    }
    let words: [[u64; LANES]; 8] = bytemuck::cast(state);
    std::array::from_fn(|lane| {
        let mut digest = [0; 64];
        for (place, word) in digest.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word[lane].to_be_bytes();
        }
        digest
    })
}

/// One block (section 6.4.2).
#[target_feature(enable = "avx512f")]
#[inline]
fn compress(state: &[__m512i; 8], mut w: [__m512i; 16]) -> [__m512i; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (sixteen, constants) in ROUND.as_chunks::<16>().0.iter().enumerate() {
        for i in 0..16 {
            if sixteen > 0 {
                let schedule = add(w[(i + 9) % 16], small_sigma_0(w[(i + 1) % 16]));
                w[i] = add(w[i], add(schedule, small_sigma_1(w[(i + 14) % 16])));
            }
            let input = add(w[i], _mm512_set1_epi64(constants[i].cast_signed()));
            let choice = _mm512_ternarylogic_epi64::<CHOICE>(e, f, g);
            let first = add(add(h, input), add(choice, sigma_1(e)));
            let majority = _mm512_ternarylogic_epi64::<MAJORITY>(a, b, c);
            let second = add(sigma_0(a), majority);
            (h, g, f, e) = (g, f, e, add(d, first));
            (d, c, b, a) = (c, b, a, add(first, second));
        }
    }
    let mixed = [a, b, c, d, e, f, g, h];
    std::array::from_fn(|i| add(state[i], mixed[i]))
}

/// Functions of three bits, by the table of their values: bit 4a + 2b + c is that of a, b and c.
const CHOICE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;
const XOR: i32 = 0b1001_0110;

#[target_feature(enable = "avx512f")]
#[inline]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(a, b)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn xor(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<XOR>(a, b, c)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn rotate<const BY: i32>(x: __m512i) -> __m512i {
    _mm512_ror_epi64::<BY>(x)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn sigma_0(x: __m512i) -> __m512i {
    xor(rotate::<28>(x), rotate::<34>(x), rotate::<39>(x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn sigma_1(x: __m512i) -> __m512i {
    xor(rotate::<14>(x), rotate::<18>(x), rotate::<41>(x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn small_sigma_0(x: __m512i) -> __m512i {
    xor(rotate::<1>(x), rotate::<8>(x), _mm512_srli_epi64::<7>(x))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn small_sigma_1(x: __m512i) -> __m512i {
    xor(rotate::<19>(x), rotate::<61>(x), _mm512_srli_epi64::<6>(x))
}
