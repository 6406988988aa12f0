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

use super::engine::{self, Message};
use decode::TOGETHER;
pub(super) use decode::{Found, Root};
pub(super) use msm::{Long, Short};
pub(super) use point::Niels;

/// Proof that this processor has AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// If the processor has it.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// The points that canonical encodings stand for, up to the first whose y is that of no point.
    ///
    /// What is not canonical is not refused.
    pub(super) fn decode(self, encodings: &[[u8; 32]]) -> Vec<Found> {
        let mut points = Vec::with_capacity(encodings.len());
        for encodings in encodings.chunks(TOGETHER) {
            let mut eight = [[0; 32]; TOGETHER];
            eight[..encodings.len()].copy_from_slice(encodings);
            // SAFETY: `self` is there, and so is AVX2.
            let found = unsafe { decode::decode(&eight) };
            let before = points.len();
            points.extend(found[..encodings.len()].iter().map_while(|found| *found));
            if points.len() < before + encodings.len() {
                break;
            }
        }
        points
    }

    /// Points as they are added, from what decoding them found and their canonical encodings.
    pub(super) fn niels(self, points: &[(Root, [u8; 32])]) -> Vec<Niels> {
        let mut all = Vec::with_capacity(points.len());
        for points in points.chunks(4) {
            let four = std::array::from_fn(|i| &points[i.min(points.len() - 1)]);
            // SAFETY: `self` is there, and so is AVX2.
            let niels = unsafe { decode::niels(four) };
            all.extend_from_slice(&niels[..points.len()]);
        }
        all
    }

    /// The SHA-512 digests of messages.
    pub(super) fn sha512(self, messages: &[Message<'_>]) -> Vec<[u8; 64]> {
        let mut digests = Vec::with_capacity(messages.len());
        for messages in messages.chunks(4) {
            let four = std::array::from_fn(|i| messages[i.min(messages.len() - 1)]);
            let blocks = four.each_ref().map(sha512::blocks);
            let most = blocks.into_iter().max().unwrap_or(0);
            if blocks[..messages.len()].iter().sum::<usize>() < 2 * most {
                // One long message would keep the others waiting: one by one they are done sooner.
                digests.extend(messages.iter().map(engine::sha512));
            } else {
                // SAFETY: `self` is there, and so is AVX2.
                let four = unsafe { sha512::hash(&four) };
                digests.extend_from_slice(&four[..messages.len()]);
            }
        }
        digests
    }

    /// Whether the sum of all terms is of small order, that is, whether 8 times it is the identity.
    pub(super) fn sum_is_small(self, long: &[Long<'_>], short: &[Short<'_>]) -> bool {
        let windows = msm::Windows::for_terms(long.len(), short.len());
        // SAFETY: `self` is there, and so is AVX2.
        unsafe { msm::sum_is_small(windows, long, short) }
    }
}
