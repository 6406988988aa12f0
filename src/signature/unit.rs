//! A vector unit: what computes with several elements of the field at a time, one in each lane.

use super::curve::{Long, Root, Short};
use super::engine::{self, Message};
use super::sha512::blocks;

/// Proof that this processor has a vector unit, and what is computed with it.
///
/// Verdicts depend on nothing but what these functions say they return.
pub(super) trait Unit: Copy {
    /// A point of which only additions are wanted.
    type Niels: Copy + 'static;

    /// If the processor has it.
    fn detect() -> Option<Self>;

    /// The generator B, as it is added.
    fn base(self) -> &'static Self::Niels;

    /// The points that canonical encodings stand for, up to the first whose y is that of no point.
    ///
    /// What is not canonical is not refused.
    fn decode(self, encodings: &[[u8; 32]]) -> Vec<(Root, Self::Niels)>;

    /// What decoding finds out, without the points.
    fn roots(self, encodings: &[[u8; 32]]) -> Vec<Root> {
        self.decode(encodings).into_iter().map(|(root, _)| root).collect()
    }

    /// Points as they are added, from what decoding them found and their canonical encodings.
    fn niels(self, points: &[(Root, [u8; 32])]) -> Vec<Self::Niels>;

    /// The SHA-512 digests of messages.
    fn sha512(self, messages: &[Message<'_>]) -> Vec<[u8; 64]>;

    /// Whether the sum of all terms is of small order, that is, whether 8 times it is the identity.
    fn sum_is_small(self, long: &[Long<'_, Self::Niels>], short: &[Short<'_, Self::Niels>])
    -> bool;
}

/// [`Unit::decode`] with what decodes `N` points at a time.
pub(super) fn decode<const N: usize, Niels: Copy>(
    encodings: &[[u8; 32]],
    some: impl Fn(&[[u8; 32]; N]) -> [Option<(Root, Niels)>; N],
) -> Vec<(Root, Niels)> {
    let mut points = Vec::with_capacity(encodings.len());
    for encodings in encodings.chunks(N) {
        let mut padded = [[0; 32]; N];
        padded[..encodings.len()].copy_from_slice(encodings);
        let before = points.len();
        points.extend(some(&padded)[..encodings.len()].iter().map_while(|found| *found));
        if points.len() < before + encodings.len() {
            break;
        }
    }
    points
}

/// [`Unit::niels`] with what makes `N` points at a time.
pub(super) fn niels<const N: usize, Niels: Copy>(
    points: &[(Root, [u8; 32])],
    some: impl Fn([&(Root, [u8; 32]); N]) -> [Niels; N],
) -> Vec<Niels> {
    let mut all = Vec::with_capacity(points.len());
    for points in points.chunks(N) {
        let niels = some(std::array::from_fn(|i| &points[i.min(points.len() - 1)]));
        all.extend_from_slice(&niels[..points.len()]);
    }
    all
}

/// [`Unit::sha512`] with what hashes `N` messages at a time.
pub(super) fn sha512<const N: usize>(
    messages: &[Message<'_>],
    some: impl Fn(&[Message<'_>; N]) -> [[u8; 64]; N],
) -> Vec<[u8; 64]> {
    let mut digests = Vec::with_capacity(messages.len());
    for messages in messages.chunks(N) {
        let counts = messages.iter().map(blocks);
        let most = counts.clone().max().unwrap_or(0);
        if counts.sum::<usize>() < 2 * most {
            // One long message would keep the others waiting: one by one they are done sooner.
            digests.extend(messages.iter().map(engine::sha512));
        } else {
            let padded = std::array::from_fn(|i| messages[i.min(messages.len() - 1)]);
            digests.extend_from_slice(&some(&padded)[..messages.len()]);
        }
    }
    digests
}
