//! Canonical encodings, and a signature taken apart.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};

use super::{InvalidSignature, KEY_LEN, SIGNATURE_LEN, wide};

/// The bit of an encoding's last byte that holds the sign of x; the other 255 bits are y.
const SIGN: u8 = 0x80;

/// The lowest byte of the field's prime p = 2^255 - 19; 30 bytes of 0xff and one of 0x7f follow.
const PRIME_LOW: u8 = 0xed;

/// The point that `bytes` encode, if they are its canonical encoding.
pub(super) fn decode_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    if is_canonical(bytes) { CompressedEdwardsY(*bytes).decompress() } else { None }
}

/// Whether bytes that decode would encode to themselves again.
///
/// Encoding again would cost a field inversion, half of what decoding costs, and the bytes show it
/// just as well. An encoding is y and the sign of x; encoding writes y below p, and the sign bit
/// that decoding took, except where x = 0, which has no sign. So exactly two things are refused: y
/// not below p, and the sign bit set with x = 0. The curve equation -x^2 + y^2 = 1 + d x^2 y^2 has
/// x = 0 exactly for y = 1 and y = p - 1.
pub(super) fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    let signed = high & SIGN != 0;
    let all = |byte: u8| middle.iter().all(|&b| b == byte);
    match high & !SIGN {
        0x7f if *low >= PRIME_LOW && all(0xff) => false,
        0x7f if *low == PRIME_LOW - 1 && all(0xff) => !signed,
        0x00 if *low == 1 && all(0) => !signed,
        _ => true,
    }
}

/// A signature whose parts are well formed, so that only the equation is left to check.
#[derive(Clone, Copy)]
pub(super) struct Decoded {
    /// R, decoded.
    pub(super) commitment: EdwardsPoint,
    /// s.
    pub(super) response: Scalar,
    /// k = SHA-512(R || A || M) mod L.
    pub(super) challenge: Scalar,
}

impl Decoded {
    /// Takes `signature` apart: rules 3, 4 and 5 of E1, and the hash of rule 6.
    pub(super) fn new(
        key: &[u8; KEY_LEN],
        message: &[u8],
        signature: &[u8],
    ) -> Result<Self, InvalidSignature> {
        let (encoded, response) = parts(signature)?;
        let commitment = decode_point(&encoded).ok_or(InvalidSignature::CommitmentEncoding)?;
        Ok(Self { commitment, response, challenge: challenge(&encoded, key, message) })
    }

    /// Rule 6 of E1, for this signature alone.
    pub(super) fn holds(&self, key: &EdwardsPoint) -> bool {
        let (k, s) = (&self.challenge, &self.response);
        let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(k, &-key, s);
        (expected - self.commitment).mul_by_cofactor().is_identity()
    }
}

/// R, encoded, and s: rules 3 and 4 of E1.
pub(super) fn parts(signature: &[u8]) -> Result<([u8; 32], Scalar), InvalidSignature> {
    let signature: &[u8; SIGNATURE_LEN] =
        signature.try_into().map_err(|_| InvalidSignature::Length)?;
    let (mut commitment, mut response) = ([0; 32], [0; 32]);
    commitment.copy_from_slice(&signature[..32]);
    response.copy_from_slice(&signature[32..]);
    let response = Option::from(Scalar::from_canonical_bytes(response));
    Ok((commitment, response.ok_or(InvalidSignature::ScalarRange)?))
}

/// L, the order of the base point (RFC 8032, 5.1): 64 bits a word, the lowest first.
const ORDER: [u64; 4] =
    [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6, 0x0000_0000_0000_0000, 0x1000_0000_0000_0000];

/// The s of [`parts`] in words, for batches: `None` if there is any fault.
pub(super) fn response(signature: &[u8]) -> Option<[u64; 4]> {
    let signature: &[u8; SIGNATURE_LEN] = signature.try_into().ok()?;
    let response = wide::words(signature.last_chunk::<32>()?);
    response.iter().rev().lt(ORDER.iter().rev()).then_some(response)
}

/// k = SHA-512(R || A || M) mod L.
pub(super) fn challenge(commitment: &[u8; 32], key: &[u8; KEY_LEN], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(commitment).chain_update(key).chain_update(message);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `is_canonical` stands for, taken literally.
    fn survives(bytes: &[u8; 32]) -> bool {
        CompressedEdwardsY(*bytes).decompress().is_some_and(|p| p.compress().as_bytes() == bytes)
    }

    /// Numbers around L, around every multiple of 2^64 near it, and the largest.
    #[test]
    fn responses_are_refused_where_parts_are() {
        let near = |words: [u64; 4], mut step: i64| {
            let mut signature = [7; SIGNATURE_LEN];
            for (place, word) in signature[32..].as_chunks_mut::<8>().0.iter_mut().zip(words) {
                *place = word.wrapping_add_signed(step).to_le_bytes();
                let is_past_its_end = word.checked_add_signed(step).is_none();
                step = if is_past_its_end { step.signum() } else { 0 };
            }
            signature
        };
        let (mut good, mut bad) = (0, 0);
        let [a, b, c, d] = ORDER;
        for centre in [
            [a, b, c, d],
            [0, b, c, d],
            [a, 0, c, d],
            [0, 0, 0, d],
            [a, b, c, d - 1],
            [0; 4],
            [a, b, 0, d + 1],
        ] {
            for step in -40..=40 {
                let signature = near(centre, step);
                let expected = parts(&signature).ok().map(|(_, s)| wide::words(s.as_bytes()));
                assert_eq!(response(&signature), expected, "{centre:x?} {step}");
                if expected.is_some() { good += 1 } else { bad += 1 }
            }
        }
        assert!(good > 200 && bad > 100, "{good} good, {bad} bad");
        assert_eq!(response(&[0; 63]), None);
        assert_eq!(response(&[0; 65]), None);
    }

    /// Every value of y within 40 of 0 and of p, and up to 2^255, with either sign: all the places
    /// where the two could differ.
    #[test]
    fn canonical_by_bytes_is_canonical_by_encoding_again() {
        let mut canonical = 0;
        for low in 0..=255u8 {
            for (fill, high) in [(0x00, 0x00), (0xff, 0x7f), (0x00, 0x7f), (0xff, 0x00)] {
                for sign in [0, SIGN] {
                    let mut bytes = [fill; 32];
                    bytes[0] = low;
                    bytes[31] = high | sign;
                    assert_eq!(decode_point(&bytes).is_some(), survives(&bytes), "{bytes:02x?}");
                    canonical += usize::from(survives(&bytes));
                }
            }
        }
        assert!(canonical > 900, "{canonical} of 2048: about half decode");
    }
}
