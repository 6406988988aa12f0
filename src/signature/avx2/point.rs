//! Points of the curve, four at a time.
//!
//! The curve and the formulas are those of [`curve`].

use std::arch::x86_64::{__m256i, _mm256_movemask_epi8};

use super::super::curve;
use super::field::{Fe4, ONE, Words, ZERO, words_of};

/// 2 d.
const TWICE_D: Words = words_of(&curve::TWICE_D);

/// A point of which only additions are wanted: y + x, y - x and 2 d x y, in 120 bytes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Niels {
    pub(super) sum: Words,
    pub(super) difference: Words,
    pub(super) product: Words,
}

/// Four of them. The sum and the difference are loose, the product is reduced or what is left of 2p
/// without it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Niels4 {
    pub(super) sum: Fe4,
    pub(super) difference: Fe4,
    pub(super) product: Fe4,
}

impl Niels4 {
    /// From reduced coordinates.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn new(x: Fe4, y: Fe4) -> Self {
        let product = x.mul(y).mul(Fe4::splat(&TWICE_D));
        Self { sum: y.add(x), difference: y.sub(x), product }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn to_lanes(self) -> [Niels; 4] {
        let (sums, differences) = (self.sum.to_lanes(), self.difference.to_lanes());
        let products = self.product.to_lanes();
        std::array::from_fn(|lane| Niels {
            sum: sums[lane],
            difference: differences[lane],
            product: products[lane],
        })
    }

    /// The point in each lane, but its negative where the bits of `negate` are set.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn splat(point: &Niels, negate: __m256i) -> Self {
        let (sum, difference) = (Fe4::splat(&point.sum), Fe4::splat(&point.difference));
        let product = Fe4::splat(&point.product);
        Self {
            sum: Fe4::select(sum, difference, negate),
            difference: Fe4::select(difference, sum, negate),
            product: Fe4::select(product, Fe4::splat(&ZERO).sub(product), negate),
        }
    }
}

/// Four points in extended coordinates, all reduced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point4 {
    pub(super) x: Fe4,
    pub(super) y: Fe4,
    pub(super) z: Fe4,
    pub(super) t: Fe4,
}

impl Point4 {
    /// The identity, (0, 1), four times.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn identity() -> Self {
        let (zero, one) = (Fe4::splat(&ZERO), Fe4::splat(&ONE));
        Self { x: zero, y: one, z: one, t: zero }
    }

    /// Adds a point: seven products.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(super) fn add_niels(&mut self, other: &Niels4) {
        let a = self.y.sub(self.x).mul(other.difference);
        let b = self.y.add(self.x).mul(other.sum);
        let c = self.t.mul(other.product);
        self.set_sum(a, b, c, self.z.add(self.z));
    }

    /// Adds a point: nine products.
    #[target_feature(enable = "avx2")]
    pub(super) fn add(&mut self, other: &Self) {
        let a = self.y.sub(self.x).mul(other.y.sub(other.x));
        let b = self.y.add(self.x).mul(other.y.add(other.x));
        let c = self.t.mul(Fe4::splat(&TWICE_D)).mul(other.t);
        let d = self.z.mul(other.z);
        self.set_sum(a, b, c, d.add(d));
    }

    /// The second half of an addition. `d` is twice a reduced element, the others are reduced.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn set_sum(&mut self, a: Fe4, b: Fe4, c: Fe4, d: Fe4) {
        // e, g and h are loose, f is wide.
        let (e, f) = (b.sub(a), d.sub(c));
        let (g, h) = (d.add(c), b.add(a));
        let e = e.factor();
        self.x = f.times(&e);
        self.t = h.times(&e);
        let g = g.factor();
        self.y = h.times(&g);
        self.z = f.times(&g);
    }

    /// This point, two times: four squares and four products.
    #[cfg(test)]
    #[target_feature(enable = "avx2")]
    pub(super) fn double(&mut self) {
        let twice = *self;
        self.add(&twice);
    }

    /// Whether the point in each lane is the identity.
    #[target_feature(enable = "avx2")]
    pub(super) fn is_identity(&self) -> [bool; 4] {
        let (x, same) = (self.x.is_zero(), self.y.sub(self.z).carry().is_zero());
        let (x, same) = (_mm256_movemask_epi8(x), _mm256_movemask_epi8(same));
        std::array::from_fn(|lane| (x & same) >> (8 * lane) & 1 == 1)
    }

    /// The point of one lane.
    #[target_feature(enable = "avx2")]
    pub(super) fn lane(&self, lane: usize) -> Point {
        let word = |of: Fe4| of.to_lanes()[lane];
        let lanes = [word(self.x), word(self.y), word(self.z), word(self.t)];
        Point(Fe4::from_lanes(lanes.each_ref()))
    }
}

/// One point in extended coordinates: X, Y, Z and T are the four lanes. Reduced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point(Fe4);

impl Point {
    /// The point, in each of four lanes.
    #[target_feature(enable = "avx2")]
    pub(super) fn splat(&self) -> Point4 {
        let Self(xyzt) = self;
        Point4 {
            x: xyzt.lanes::<0b00_00_00_00>(),
            y: xyzt.lanes::<0b01_01_01_01>(),
            z: xyzt.lanes::<0b10_10_10_10>(),
            t: xyzt.lanes::<0b11_11_11_11>(),
        }
    }

    /// This point, two times, by four squares and four products, the four at once.
    ///
    /// With A = X^2, B = Y^2, C = Z^2 and S = (X + Y)^2, and e = A + B - S, f = 2 C + A - B, g = A - B
    /// and h = A + B, the negatives of what the paper calls E, F, G and H, the coordinates are e f, g h,
    /// f g and e h: products of two negatives.
    #[target_feature(enable = "avx2")]
    pub(super) fn double(&mut self) {
        let Self(xyzt) = *self;
        // In the order of lanes: X, Y, Z, X + Y.
        let y = xyzt.lanes::<0b01_00_00_00>().only::<0b11_00_00_00>();
        let abcs = xyzt.lanes::<0b00_10_01_00>().add(y).square();
        let a = abcs.lanes::<0b00_00_00_00>();
        let b = abcs.lanes::<0b01_01_01_01>();
        let c = abcs.lanes::<0b10_10_10_10>();
        let c = c.add(c);
        // e, g, f, e; and f, h, g, h. Both are carried, as the lanes of f are too large.
        let minus = abcs.lanes::<0b11_01_01_11>();
        let egfe = a.add(b.only::<0b11_00_00_11>()).add(c.only::<0b00_11_00_00>()).sub(minus);
        let plus = a.add(b.only::<0b11_00_11_00>()).add(c.only::<0b00_00_00_11>());
        let fhgh = plus.sub(b.only::<0b00_11_00_11>());
        self.0 = egfe.carry().mul(fhgh.carry());
    }
}
