//! The arithmetic of the curve with AVX2: points decoded eight at a time, sums of many multiples.
//!
//! Everything here is vartime: there are no secrets in verifying. What it computes is compared with
//! curve25519-dalek by the tests of this module, element by element and point by point.
//!
//! The functions below need AVX2 and are safe to call where the compiler knows it is there. The only
//! way in from elsewhere is an [`Avx2`], which exists only where it is.
#![allow(unsafe_code, reason = "code for an instruction set, and assembly for products of limbs")]

mod decode;
mod field;
mod msm;
mod point;
mod product;
mod sha512;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use super::curve::{BASE, Long, Root, Short};
use super::engine::Message;
use super::unit::{self, Unit};
pub(super) use point::Niels;

/// Proof that this processor has AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Unit for Avx2 {
    type Niels = Niels;

    fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    fn base(self) -> &'static Niels {
        static BASE_POINT: OnceLock<Niels> = OnceLock::new();
        BASE_POINT.get_or_init(|| self.decode(&[BASE])[0].1)
    }

    fn decode(self, encodings: &[[u8; 32]]) -> Vec<(Root, Niels)> {
        // SAFETY: `self` is there, and so is AVX2.
        unit::decode(encodings, |encodings| unsafe { decode::decode(encodings) })
    }

    fn niels(self, points: &[(Root, [u8; 32])]) -> Vec<Niels> {
        // SAFETY: As above.
        unit::niels(points, |points| unsafe { decode::niels(points) })
    }

    fn sha512(self, messages: &[Message<'_>]) -> Vec<[u8; 64]> {
        // SAFETY: As above.
        unit::sha512(messages, |messages| unsafe { sha512::hash(messages) })
    }

    fn sum_is_small(self, long: &[Long<'_, Niels>], short: &[Short<'_, Niels>]) -> bool {
        let windows = msm::Windows::for_terms(&msm::ALL, long.len(), short.len());
        // SAFETY: As above.
        unsafe { msm::sum_is_small(windows, long, short) }
    }
}
