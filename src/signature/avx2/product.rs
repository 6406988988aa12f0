//! Products of limbs: the sums of 100 products that are a field multiplication, and of 55 that are a
//! squaring.
//!
//! In assembly, because compilers move the ten sums between registers and memory, which takes a third
//! more time. Here the sums stay in registers throughout, and one factor of each product comes from
//! memory, which is free.
//!
//! Write z for x y, without carries: limb k of z is the sum, over all i and j with i + j = k modulo 10,
//! of `x_i y_j`, doubled if i and j are odd (then the limbs' weights make 2^(25.5 (i + j) + 1)), and
//! times 19 if i + j is above 9 (for 2^255 = 19 modulo p). Row i of the product is all that has x_i.
//! With `19 y_1 .. 19 y_9, y_0 .. y_9` in memory, one after the other, what x_i is multiplied with
//! for limbs 0 to 9 is a stretch of ten that begins at place 9 - i.

use std::arch::asm;
use std::arch::x86_64::{__m256i, _mm256_mul_epu32, _mm256_set1_epi64x, _mm256_setzero_si256};

/// Ten limbs of four elements, one in the lower half of each 64-bit lane. Upper halves are ignored.
pub(super) type Limbs = [__m256i; 10];

/// `19 y_1 .. 19 y_9, y_0 .. y_9`.
pub(super) struct Multiples([__m256i; 19]);

impl Multiples {
    /// Those of limbs that stay within 32 bits when they are multiplied by 19.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn of(limbs: &Limbs) -> Self {
        let times_19 = |limb| _mm256_mul_epu32(limb, _mm256_set1_epi64x(19));
        let [a, b, c, d, e, f, g, h, i, j] = *limbs;
        // Written out, as filling in an array becomes a call that copies memory.
        Self([
            times_19(b),
            times_19(c),
            times_19(d),
            times_19(e),
            times_19(f),
            times_19(g),
            times_19(h),
            times_19(i),
            times_19(j),
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
        ])
    }
}

/// Adds to limb `k` what row `i` has for it: the factor in register `x` by a multiple of y.
macro_rules! term {
    ($i:literal, $k:literal, $x:literal, $t:literal) => {
        concat!(
            "vpmuludq {",
            $t,
            "}, {",
            $x,
            "}, ymmword ptr [{y} + 32 * (9 + ",
            $k,
            " - ",
            $i,
            ")]\n",
            "vpaddq {z",
            $k,
            "}, {z",
            $k,
            "}, {",
            $t,
            "}\n",
        )
    };
}

/// The same for row 0, which has nothing to add to.
macro_rules! first {
    ($k:literal, $x:literal) => {
        concat!("vpmuludq {z", $k, "}, {", $x, "}, ymmword ptr [{y} + 32 * (9 + ", $k, ")]\n")
    };
}

/// Row `i` of a product.
macro_rules! row {
    ($i:literal, even) => {
        concat!("vmovdqa {a}, ymmword ptr [{x} + 32 * ", $i, "]\n", row!($i, "a", "a"),)
    };
    ($i:literal, odd) => {
        concat!(
            "vmovdqa {a}, ymmword ptr [{x} + 32 * ",
            $i,
            "]\n",
            "vpaddq {b}, {a}, {a}\n",
            row!($i, "b", "a"),
        )
    };
    // The factor for even limbs, and that for odd limbs.
    ($i:literal, $e:literal, $o:literal) => {
        concat!(
            term!($i, "0", $e, "t"),
            term!($i, "1", $o, "u"),
            term!($i, "2", $e, "v"),
            term!($i, "3", $o, "t"),
            term!($i, "4", $e, "u"),
            term!($i, "5", $o, "v"),
            term!($i, "6", $e, "t"),
            term!($i, "7", $o, "u"),
            term!($i, "8", $e, "v"),
            term!($i, "9", $o, "t"),
        )
    };
}

/// The ten sums that make x y, not carried. Upper halves of x may hold anything.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn products(x: &Limbs, y: &Multiples) -> Limbs {
    let mut z = [_mm256_setzero_si256(); 10];
    let [z0, z1, z2, z3, z4, z5, z6, z7, z8, z9] = &mut z;
    // SAFETY: AVX2 is there. It reads the ten vectors of x and the nineteen of y, as
    // 0 <= 9 + k - i <= 18 for k and i in 0..10, and both are aligned as vectors are; it writes
    // registers that are declared, and nothing else.
    unsafe {
        asm!(
            "vmovdqa {a}, ymmword ptr [{x}]",
            concat!(
                first!("0", "a"), first!("1", "a"), first!("2", "a"), first!("3", "a"),
                first!("4", "a"), first!("5", "a"), first!("6", "a"), first!("7", "a"),
                first!("8", "a"), first!("9", "a"),
            ),
            row!("1", odd),
            row!("2", even),
            row!("3", odd),
            row!("4", even),
            row!("5", odd),
            row!("6", even),
            row!("7", odd),
            row!("8", even),
            row!("9", odd),
            x = in(reg) x.as_ptr(),
            y = in(reg) y.0.as_ptr(),
            a = out(ymm_reg) _,
            b = out(ymm_reg) _,
            t = out(ymm_reg) _,
            u = out(ymm_reg) _,
            v = out(ymm_reg) _,
            z0 = out(ymm_reg) *z0,
            z1 = out(ymm_reg) *z1,
            z2 = out(ymm_reg) *z2,
            z3 = out(ymm_reg) *z3,
            z4 = out(ymm_reg) *z4,
            z5 = out(ymm_reg) *z5,
            z6 = out(ymm_reg) *z6,
            z7 = out(ymm_reg) *z7,
            z8 = out(ymm_reg) *z8,
            z9 = out(ymm_reg) *z9,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    z
}

/// Row `i` of a square, of which only the terms with j >= i are left: those with j > i stand for two.
/// The factor of the term with j = i is in `d`, that of the others in `e` for an even limb and in `o`
/// for an odd one.
macro_rules! square_row {
    ($i:literal, $d:literal, $square:literal, $($x:literal $k:literal),*) => {
        concat!(term!($i, $square, $d, "t"), $(term!($i, $k, $x, "u"),)*)
    };
}

/// Loads the factors of an even row: `a` is x_i, `b` twice that.
macro_rules! even_factors {
    ($i:literal) => {
        concat!("vmovdqa {a}, ymmword ptr [{y} + 32 * (9 + ", $i, ")]\n", "vpaddq {b}, {a}, {a}\n",)
    };
}

/// Loads the factors of an odd row: `b` is twice x_i, `a` four times.
macro_rules! odd_factors {
    ($i:literal) => {
        concat!(
            "vmovdqa {a}, ymmword ptr [{y} + 32 * (9 + ",
            $i,
            ")]\n",
            "vpaddq {b}, {a}, {a}\n",
            "vpaddq {a}, {b}, {b}\n",
        )
    };
}

/// The ten sums that make the square of y, not carried.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn squares(y: &Multiples) -> Limbs {
    let mut z = [_mm256_setzero_si256(); 10];
    let [z0, z1, z2, z3, z4, z5, z6, z7, z8, z9] = &mut z;
    // SAFETY: As for `products`, of which these are half the terms; there is no x to read.
    unsafe {
        asm!(
            even_factors!("0"),
            concat!(
                first!("0", "a"), first!("1", "b"), first!("2", "b"), first!("3", "b"),
                first!("4", "b"), first!("5", "b"), first!("6", "b"), first!("7", "b"),
                first!("8", "b"), first!("9", "b"),
            ),
            // j = 1: even limbs k have odd j = k - 1.
            odd_factors!("1"),
            square_row!("1", "b", "2", "b" "3", "a" "4", "b" "5", "a" "6", "b" "7", "a" "8", "b" "9", "a" "0"),
            even_factors!("2"),
            square_row!("2", "a", "4", "b" "5", "b" "6", "b" "7", "b" "8", "b" "9", "b" "0", "b" "1"),
            odd_factors!("3"),
            square_row!("3", "b", "6", "b" "7", "a" "8", "b" "9", "a" "0", "b" "1", "a" "2"),
            even_factors!("4"),
            square_row!("4", "a", "8", "b" "9", "b" "0", "b" "1", "b" "2", "b" "3"),
            odd_factors!("5"),
            square_row!("5", "b", "0", "b" "1", "a" "2", "b" "3", "a" "4"),
            even_factors!("6"),
            square_row!("6", "a", "2", "b" "3", "b" "4", "b" "5"),
            odd_factors!("7"),
            square_row!("7", "b", "4", "b" "5", "a" "6"),
            even_factors!("8"),
            square_row!("8", "a", "6", "b" "7"),
            odd_factors!("9"),
            square_row!("9", "b", "8",),
            y = in(reg) y.0.as_ptr(),
            a = out(ymm_reg) _,
            b = out(ymm_reg) _,
            t = out(ymm_reg) _,
            u = out(ymm_reg) _,
            z0 = out(ymm_reg) *z0,
            z1 = out(ymm_reg) *z1,
            z2 = out(ymm_reg) *z2,
            z3 = out(ymm_reg) *z3,
            z4 = out(ymm_reg) *z4,
            z5 = out(ymm_reg) *z5,
            z6 = out(ymm_reg) *z6,
            z7 = out(ymm_reg) *z7,
            z8 = out(ymm_reg) *z8,
            z9 = out(ymm_reg) *z9,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    z
}
