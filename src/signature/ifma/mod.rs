//! The arithmetic of the curve with AVX-512 IFMA: points decoded sixteen at a time, sums of many
//! multiples, digests of eight messages.
//!
//! Everything here is vartime: there are no secrets in verifying. What it computes is compared with
//! curve25519-dalek by the tests of this module, element by element and point by point.
//!
//! The functions below need IFMA, and AVX-512F with it, and are safe to call where the compiler knows
//! they are there. The only way in from elsewhere is an [`Ifma`], which exists only where they are.
#![allow(unsafe_code, reason = "code for an instruction set")]

mod decode;
mod field;
mod msm;
mod point;
mod sha512;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use super::curve::{BASE, Long, Root, Short};
use super::engine::Message;
use super::unit::{self, Unit};
pub(super) use point::Niels;

/// Proof that this processor has AVX-512 IFMA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ifma(());

impl Unit for Ifma {
    type Niels = Niels;

    fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma"))
            .then_some(Self(()))
    }

    fn base(self) -> &'static Niels {
        static BASE_POINT: OnceLock<Niels> = OnceLock::new();
        BASE_POINT.get_or_init(|| self.decode(&[BASE])[0].1)
    }

    fn decode(self, encodings: &[[u8; 32]]) -> Vec<(Root, Niels)> {
        // SAFETY: `self` is there, and so is IFMA.
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
