//! Sums of products of scalars that are reduced modulo L once, at the end.

use curve25519_dalek::scalar::Scalar;

/// 448 bits: room for 2^64 products of 128 bits and a scalar below L < 2^253.
const WORDS: usize = 7;

/// A sum of products with signs, not reduced: those that are added and those that are taken away apart,
/// as turning the sign of a scalar costs more than adding it.
#[derive(Clone, Copy, Default)]
pub(super) struct Signed {
    plus: Wide,
    minus: Wide,
}

impl Signed {
    /// Adds `by * scalar`, or takes it away.
    pub(super) fn add(&mut self, is_negative: bool, by: u128, scalar: &Scalar) {
        let sum = if is_negative { &mut self.minus } else { &mut self.plus };
        sum.add(by, scalar);
    }

    /// The sum modulo L.
    pub(super) fn reduced(&self) -> Scalar {
        // A sum of one product, which a key that signs once has, has one side.
        match (self.plus.is_zero(), self.minus.is_zero()) {
            (_, true) => self.plus.reduced(),
            (true, false) => -self.minus.reduced(),
            (false, false) => self.plus.reduced() - self.minus.reduced(),
        }
    }
}

/// A sum of products, not reduced.
#[derive(Clone, Copy, Default)]
struct Wide([u64; WORDS]);

impl Wide {
    /// Adds `by * scalar`. A batch has fewer than 2^64 of them, so nothing overflows.
    fn add(&mut self, by: u128, scalar: &Scalar) {
        let (words, _) = scalar.as_bytes().as_chunks::<8>();
        let words: [u64; 4] = std::array::from_fn(|i| u64::from_le_bytes(words[i]));
        for (at, factor) in [low(by), low(by >> 64)].into_iter().enumerate() {
            let mut carry = 0;
            for (i, sum) in self.0[at..].iter_mut().enumerate() {
                let word = words.get(i).copied().unwrap_or(0);
                let total = u128::from(factor) * u128::from(word) + u128::from(*sum) + carry;
                (*sum, carry) = (low(total), total >> 64);
            }
            debug_assert_eq!(carry, 0, "fewer than 2^64 products");
        }
    }

    fn is_zero(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// The sum modulo L.
    fn reduced(&self) -> Scalar {
        let mut bytes = [0; 64];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *place = word.to_le_bytes();
        }
        Scalar::from_bytes_mod_order_wide(&bytes)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low(number: u128) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_scalars() {
        let numbers = [0, 1, u128::from(u64::MAX), 1 << 64, u128::MAX - 1, u128::MAX];
        let scalars = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(u128::MAX).invert()];
        let (mut sum, mut slow) = (Wide::default(), Scalar::ZERO);
        let (mut signed, mut slow_signed) = (Signed::default(), Scalar::ZERO);
        assert_eq!(signed.reduced(), Scalar::ZERO);
        for round in 0..50u64 {
            for by in numbers {
                for scalar in &scalars {
                    let scalar = scalar + Scalar::from(round);
                    sum.add(by, &scalar);
                    slow += Scalar::from(by) * scalar;
                    assert_eq!(sum.reduced(), slow);
                    let is_negative = (round.wrapping_add(low(by))).is_multiple_of(3);
                    signed.add(is_negative, by, &scalar);
                    slow_signed += Scalar::from(by) * if is_negative { -scalar } else { scalar };
                    assert_eq!(signed.reduced(), slow_signed);
                }
            }
        }
        assert!(sum.0[5] != 0, "products reach the sixth word");
    }
}
