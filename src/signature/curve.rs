//! What the vector units have in common: the curve, its constants, and how its points are decoded.
//!
//! The curve is -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo p = 2^255 - 19. The formulas are
//! those of Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited" (2008), in extended
//! coordinates: x = X / Z, y = Y / Z, X Y = Z T. -1 is a square modulo p and d is not, so that the
//! addition is complete: it holds for all pairs of points, equal ones, the identity and those of small
//! order included.

/// An element of the field in memory that all units share, least significant byte first.
pub(super) type Bytes = [u8; 32];

/// d = -121665 / 121666.
pub(super) const D: Bytes = [
    0xa3, 0x78, 0x59, 0x13, 0xca, 0x4d, 0xeb, 0x75, 0xab, 0xd8, 0x41, 0x41, 0x4d, 0x0a, 0x70, 0x00,
    0x98, 0xe8, 0x79, 0x77, 0x79, 0x40, 0xc7, 0x8c, 0x73, 0xfe, 0x6f, 0x2b, 0xee, 0x6c, 0x03, 0x52,
];

/// 2 d.
pub(super) const TWICE_D: Bytes = [
    0x59, 0xf1, 0xb2, 0x26, 0x94, 0x9b, 0xd6, 0xeb, 0x56, 0xb1, 0x83, 0x82, 0x9a, 0x14, 0xe0, 0x00,
    0x30, 0xd1, 0xf3, 0xee, 0xf2, 0x80, 0x8e, 0x19, 0xe7, 0xfc, 0xdf, 0x56, 0xdc, 0xd9, 0x06, 0x24,
];

/// The square root of -1 that is 2^((p - 1) / 4).
pub(super) const ROOT_OF_MINUS_ONE: Bytes = [
    0xb0, 0xa0, 0x0e, 0x4a, 0x27, 0x1b, 0xee, 0xc4, 0x78, 0xe4, 0x2f, 0xad, 0x06, 0x18, 0x43, 0x2f,
    0xa7, 0xd7, 0xfb, 0x3d, 0x99, 0x00, 0x4d, 0x2b, 0x0b, 0xdf, 0xc1, 0x4f, 0x80, 0x24, 0x83, 0x2b,
];

/// The encoding of the generator B, whose y is 4 / 5.
pub(super) const BASE: Bytes = {
    let mut bytes = [0x66; 32];
    bytes[0] = 0x58;
    bytes
};

/// The x of a point, canonical: what decoding it finds out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root(pub(super) Bytes);

/// A point and what it is multiplied with, a scalar below L in 32 bytes, least significant first.
pub(super) type Long<'a, Niels> = ([u8; 32], &'a Niels);

/// A point and what it is multiplied with, once `SHORT_OFFSET` is taken away.
pub(super) type Short<'a, Niels> = (u128, &'a Niels);

/// z to the power (p - 5) / 8 = 2^252 - 3, of several elements at a time. `e_n` stands for z to the
/// power 2^n - 1, and `e_(m + n) = e_m^(2^n) e_n`.
#[cfg(target_arch = "x86_64")]
macro_rules! power {
    ($z:ident, $square_times:path, $each:path) => {{
        let z2 = $square_times($z, 1);
        let z9 = $each($square_times(z2, 2), $z);
        let z11 = $each(z9, z2);
        let e5 = $each($square_times(z11, 1), z9);
        let e10 = $each($square_times(e5, 5), e5);
        let e20 = $each($square_times(e10, 10), e10);
        let e40 = $each($square_times(e20, 20), e20);
        let e50 = $each($square_times(e40, 10), e10);
        let e100 = $each($square_times(e50, 50), e50);
        let e200 = $each($square_times(e100, 100), e100);
        let e250 = $each($square_times(e200, 50), e50);
        $each($square_times(e250, 2), $z)
    }};
}
#[cfg(target_arch = "x86_64")]
pub(super) use power;
