//! Points of the curve, eight at a time.
//!
//! The curve and the formulas are those of [`curve`]. A point is kept as Y + X,
//! Y - X, Z and T: these are what additions begin with, and what they end with costs the same, because
//! X and Y are added and subtracted before they are carried.

use std::arch::x86_64::__mmask8;

use super::super::curve;
use super::field::{Fe8, LANES, ONE, Sums, Words, ZERO, words_of};

/// 2 d.
const TWICE_D: Words = words_of(&curve::TWICE_D);

/// A point of which only additions are wanted: y + x, y - x and 2 d x y, in 120 bytes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Niels {
    pub(super) sum: Words,
    pub(super) difference: Words,
    pub(super) product: Words,
}

/// Eight of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Niels8 {
    sum: Fe8,
    difference: Fe8,
    product: Fe8,
}

impl Niels8 {
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn new(x: Fe8, y: Fe8) -> Self {
        let product = x.mul(y).mul(Fe8::splat(&TWICE_D));
        let (x, y) = (x.sums(), y.sums());
        Self { sum: y.add(x).carry(), difference: y.raise().sub(x).carry(), product }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn to_lanes(self) -> [Niels; LANES] {
        let (sums, differences) = (self.sum.to_lanes(), self.difference.to_lanes());
        let products = self.product.to_lanes();
        std::array::from_fn(|lane| Niels {
            sum: sums[lane],
            difference: differences[lane],
            product: products[lane],
        })
    }
}

/// Eight points in extended coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point8 {
    /// Y + X.
    pub(super) sum: Fe8,
    /// Y - X.
    pub(super) difference: Fe8,
    pub(super) z: Fe8,
    pub(super) t: Fe8,
}

impl Point8 {
    /// The identity, (0, 1), eight times.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn identity() -> Self {
        let (zero, one) = (Fe8::splat(&ZERO), Fe8::splat(&ONE));
        Self { sum: one, difference: one, z: one, t: zero }
    }

    /// Adds a point to each, but its negative in the lanes of `negate`: seven products.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub(super) fn add_niels(&mut self, other: &Niels, negate: __mmask8) {
        let (sum, difference) = (Fe8::splat(&other.sum), Fe8::splat(&other.difference));
        let a = self.difference.product(Fe8::select(difference, sum, negate));
        let b = self.sum.product(Fe8::select(sum, difference, negate));
        let c = self.t.product(Fe8::splat(&other.product));
        let d = self.z.sums().add(self.z.sums());
        let (plus, minus) = (d.add(c), d.raise().sub(c));
        let (f, g) = (Sums::select(minus, plus, negate), Sums::select(plus, minus, negate));
        *self = Self::of_products(b.raise().sub(a), f, g, b.add(a));
    }

    /// Adds a point to each: nine products.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn add(&mut self, other: &Self) {
        let a = self.difference.product(other.difference);
        let b = self.sum.product(other.sum);
        let c = self.t.mul(Fe8::splat(&TWICE_D)).product(other.t);
        let d = self.z.product(other.z);
        let d = d.add(d);
        *self = Self::of_products(b.raise().sub(a), d.raise().sub(c), d.add(c), b.add(a));
    }

    /// The point with X = e f, Y = g h, Z = f g and T = e h.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn of_products(e: Sums, f: Sums, g: Sums, h: Sums) -> Self {
        let (e, f, g, h) = (e.carry(), f.carry(), g.carry(), h.carry());
        let (x, y) = (e.product(f), g.product(h));
        Self {
            sum: y.add(x).carry(),
            difference: y.raise().sub(x).carry(),
            z: f.mul(g),
            t: e.mul(h),
        }
    }

    /// The lanes in which the point is the identity: X = 0 and Y = Z.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn is_identity(&self) -> __mmask8 {
        let (sum, difference, z) = (self.sum.sums(), self.difference.sums(), self.z.sums());
        let twice_x = sum.raise().sub(difference).carry();
        let twice_y_less_z = sum.add(difference).raise().sub(z.add(z)).carry();
        twice_x.is_zero() & twice_y_less_z.is_zero()
    }

    /// The eight points, each to be added alone.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn addends(&self) -> [Addend; LANES] {
        let (sums, differences) = (self.sum.to_lanes(), self.difference.to_lanes());
        let (zs, ts) = (self.z.to_lanes(), self.t.mul(Fe8::splat(&TWICE_D)).to_lanes());
        std::array::from_fn(|i| Addend([sums[i], differences[i], zs[i], ts[i]]))
    }
}

/// A point that is added to one point: Y + X, Y - X, Z and 2 d T.
pub(super) struct Addend([Words; 4]);

/// One point in extended coordinates: Y + X, Y - X, Z and T are four lanes, and again the other four.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point(Fe8);

impl Point {
    /// The identity, (0, 1).
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn identity() -> Self {
        Self::new(&[ONE, ONE, ONE, ZERO])
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn new(words: &[Words; 4]) -> Self {
        Self(Fe8::from_lanes(std::array::from_fn(|i| &words[i % 4])))
    }

    /// The point, in each of eight lanes.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn splat(&self) -> Point8 {
        let Self(point) = self;
        Point8 {
            sum: point.lanes::<0b00_00_00_00>(),
            difference: point.lanes::<0b01_01_01_01>(),
            z: point.lanes::<0b10_10_10_10>(),
            t: point.lanes::<0b11_11_11_11>(),
        }
    }

    /// Adds a point, by nine products, in two times four and one that was made before.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn add(&mut self, other: &Addend) {
        let Self(other) = Self::new(&other.0);
        let [b, a, d, c] = in_all_lanes(self.0.product(other));
        let d = d.add(d);
        *self = Self::of_products(b.raise().sub(a), d.raise().sub(c), d.add(c), b.add(a));
    }

    /// This point, two times, by eight products, in two times four.
    ///
    /// With s = Y + X and m = Y - X, e = s^2 - m^2 = 4 X Y, g = 2 s m = 2 (Y^2 - X^2), f = 4 Z^2 - g and
    /// h = s^2 + m^2 = 2 (X^2 + Y^2): twice what the paper calls E and G, and the negatives of twice F
    /// and H. So X, Y, Z and T are all four times their negatives, which is the same point.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn double(&mut self) {
        let Self(point) = *self;
        let of_s = point.lanes::<0b00_10_01_00>();
        let of_m = point.lanes::<0b01_10_01_00>();
        let [ss, mm, zz, sm] = in_all_lanes(of_s.product(of_m));
        let (g, twice_zz) = (sm.add(sm), zz.add(zz));
        let f = twice_zz.add(twice_zz).raise().sub(g);
        *self = Self::of_products(ss.raise().sub(mm), f, g, ss.add(mm));
    }

    /// The point with X = e f, Y = g h, Z = f g and T = e h.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn of_products(e: Sums, f: Sums, g: Sums, h: Sums) -> Self {
        let egfe = Sums::select(Sums::select(e, g, LANE_1), f, LANE_2).carry();
        let fhgh = Sums::select(Sums::select(h, f, LANE_0), g, LANE_2).carry();
        let xyzt = egfe.product(fhgh);
        let x = xyzt.lanes::<0b00_00_00_00>();
        let yyzt = xyzt.lanes::<0b11_10_01_01>();
        let sum = Sums::select(yyzt, yyzt.add(x), LANE_0);
        Self(Sums::select(sum, yyzt.raise().sub(x), LANE_1).carry())
    }
}

/// One lane of each four.
const LANE_0: __mmask8 = 0b0001_0001;
const LANE_1: __mmask8 = 0b0010_0010;
const LANE_2: __mmask8 = 0b0100_0100;

/// What the four lanes hold, each in all lanes.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn in_all_lanes(sums: Sums) -> [Sums; 4] {
    [
        sums.lanes::<0b00_00_00_00>(),
        sums.lanes::<0b01_01_01_01>(),
        sums.lanes::<0b10_10_10_10>(),
        sums.lanes::<0b11_11_11_11>(),
    ]
}
