//! Sums of products of scalars that are reduced modulo L once, at the end.

use curve25519_dalek::scalar::Scalar;

/// 704 bits: room for 2^64 products of 128 bits and a hash of 512.
const WORDS: usize = 11;

/// The words that a reduction takes as they are; those above them are folded into them first.
const LOW_WORDS: usize = 7;

/// 2^448 modulo L.
const FOLD: [u64; 4] =
    [0x79da_f520_a00a_cb65, 0xe24b_abbe_38d1_d7a9, 0xb399_411b_7c30_9a3d, 0x0ed9_ce5a_30a2_c131];

/// A sum of products with signs, not reduced: those that are added and those that are taken away apart,
/// as turning the sign of a scalar costs more than adding it.
#[derive(Clone, Copy, Default)]
pub(super) struct Signed {
    plus: Wide,
    minus: Wide,
}

impl Signed {
    /// Adds `by * number`, or takes it away. The number has 64 bits a word, the lowest first, and need not
    /// be reduced: a hash is added up as it is.
    pub(super) fn add<const N: usize>(&mut self, is_negative: bool, by: u128, number: &[u64; N]) {
        let sum = if is_negative { &mut self.minus } else { &mut self.plus };
        sum.add(by, number);
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

/// The words of a number.
pub(super) fn words<const BYTES: usize, const N: usize>(bytes: &[u8; BYTES]) -> [u64; N] {
    const { assert!(BYTES == 8 * N, "eight bytes a word") };
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

/// A sum of products, not reduced.
#[derive(Clone, Copy, Default)]
struct Wide([u64; WORDS]);

impl Wide {
    /// Adds `by * number`. A batch has fewer than 2^64 of them, so nothing overflows.
    fn add<const N: usize>(&mut self, by: u128, number: &[u64; N]) {
        add_times(&mut self.0, by, number);
    }

    fn is_zero(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// The sum modulo L.
    fn reduced(&self) -> Scalar {
        // 2^448 times what is above becomes FOLD times that, below 2^509; all of it then has 512 bits.
        let (low, [a, b, c, d]) = (&self.0[..LOW_WORDS], &self.0[LOW_WORDS..]) else {
            unreachable!("four words are left")
        };
        let mut sum = [0; 8];
        sum[..LOW_WORDS].copy_from_slice(low);
        add_times(&mut sum, wide(*a, *b), &FOLD);
        add_times(&mut sum[2..], wide(*c, *d), &FOLD);
        let mut bytes = [0; 64];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(sum) {
            *place = word.to_le_bytes();
        }
        Scalar::from_bytes_mod_order_wide(&bytes)
    }
}

/// Adds `by * number` to a sum that has room for it.
fn add_times<const N: usize>(sum: &mut [u64], by: u128, number: &[u64; N]) {
    for (at, factor) in [low(by), low(by >> 64)].into_iter().enumerate() {
        let (beside, above) = sum[at..].split_at_mut(N);
        let mut carry = 0;
        for (sum, word) in beside.iter_mut().zip(number) {
            let total = u128::from(factor) * u128::from(*word) + u128::from(*sum) + carry;
            (*sum, carry) = (low(total), total >> 64);
        }
        for sum in above {
            if carry == 0 {
                break;
            }
            let total = u128::from(*sum) + carry;
            (*sum, carry) = (low(total), total >> 64);
        }
        debug_assert_eq!(carry, 0, "there is room");
    }
}

const fn wide(low: u64, high: u64) -> u128 {
    (high as u128) << 64 | low as u128
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
const fn low(number: u128) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(words: &[u64; 8]) -> Scalar {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Scalar::from_bytes_mod_order_wide(bytes[..].try_into().expect("64 bytes"))
    }

    #[test]
    fn folding_takes_what_is_above_along() {
        let mut two_448 = [0; 8];
        two_448[LOW_WORDS] = 1;
        assert_eq!(words(scalar(&two_448).as_bytes()), FOLD);
    }

    #[test]
    fn sums_are_those_of_scalars() {
        let factors = [0, 1, u128::from(u64::MAX), 1 << 64, u128::MAX - 1, u128::MAX];
        let top = [0, 0, 0, 0, 0, 0, 0, u64::MAX];
        let numbers = [[0; 8], [u64::MAX; 8], top, [1, 2, 3, 4, 5, 6, 7, 8]];
        let (mut sum, mut slow) = (Wide::default(), Scalar::ZERO);
        let (mut signed, mut slow_signed) = (Signed::default(), Scalar::ZERO);
        assert_eq!(signed.reduced(), Scalar::ZERO);
        for round in 0..50u64 {
            for by in factors {
                for number in &numbers {
                    let number = number.map(|word| word.wrapping_sub(round));
                    let (short, _) = number.split_first_chunk::<4>().expect("eight");
                    sum.add(by, &number);
                    slow += Scalar::from(by) * scalar(&number);
                    assert_eq!(sum.reduced(), slow);
                    sum.add(by, short);
                    let mut padded = [0; 8];
                    padded[..4].copy_from_slice(short);
                    slow += Scalar::from(by) * scalar(&padded);
                    assert_eq!(sum.reduced(), slow);
                    let is_negative = (round.wrapping_add(low(by))).is_multiple_of(3);
                    signed.add(is_negative, by, &number);
                    let product = Scalar::from(by) * scalar(&number);
                    slow_signed += if is_negative { -product } else { product };
                    assert_eq!(signed.reduced(), slow_signed);
                }
            }
        }
        assert!(sum.0[10] != 0, "products reach the last word");
    }

    #[test]
    fn the_largest_sum_is_reduced() {
        let largest = Wide([u64::MAX; WORDS]);
        let (low, high) =
            (scalar(&[u64::MAX; 8]), scalar(&[u64::MAX, u64::MAX, u64::MAX, 0, 0, 0, 0, 0]));
        let two_512 = scalar(&[0, 0, 0, 0, 1, 0, 0, 0]) * scalar(&[0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(largest.reduced(), low + high * two_512);
    }
}
