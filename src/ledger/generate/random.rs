//! The random numbers of a generated dump, as the module above specifies them.

use std::ops::RangeInclusive;

use sha2::{Digest, Sha256};

const MAGIC: &[u8; 6] = b"bmgen1";

/// What a stream is drawn for. The numbers are part of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Domain {
    /// The salt of the parameters.
    Salt = 0,
    /// The secret key of an account.
    Secret = 1,
    /// What a block's transactions have in common.
    Block = 2,
    /// One transaction.
    Transaction = 3,
    /// The shape of a side branch.
    Fork = 4,
}

/// An endless stream of random numbers.
pub(super) struct Random {
    key: [u8; 32],
    counter: u64,
    digest: [u8; 32],
    /// The numbers of `digest` that were taken, of four.
    taken: usize,
}

impl Random {
    /// The stream of `seed` for `domain` at `place`.
    pub(super) fn new(seed: &[u8], domain: Domain, place: &[u64]) -> Self {
        let mut hash = Sha256::new().chain_update(MAGIC).chain_update([domain as u8]);
        let len = u8::try_from(place.len()).expect("a place is a few numbers");
        hash.update([len]);
        for number in place {
            hash.update(number.to_le_bytes());
        }
        let key = hash.chain_update(seed).finalize().into();
        Self { key, counter: 0, digest: [0; 32], taken: 4 }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        if self.taken == 4 {
            let hash = Sha256::new().chain_update(self.key);
            self.digest = hash.chain_update(self.counter.to_le_bytes()).finalize().into();
            self.counter += 1;
            self.taken = 0;
        }
        let number = self.digest.as_chunks::<8>().0[self.taken];
        self.taken += 1;
        u64::from_le_bytes(number)
    }

    /// A number below `bound`, which is not zero, each as likely as the others.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The highest numbers, 2^64 mod `bound` of them, would favour small remainders.
        let favouring = (u64::MAX % bound + 1) % bound;
        loop {
            let number = self.next();
            if number <= u64::MAX - favouring {
                return number % bound;
            }
        }
    }

    /// A number of the range, which is neither empty nor all of `u64`.
    pub(super) fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// An index below `len`, which is not zero.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// `len` bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed from the specification with Python's `hashlib`.
    #[test]
    fn numbers_are_those_of_the_specification() {
        let mut random = Random::new(b"seed", Domain::Transaction, &[1, 2, 3]);
        let numbers: Vec<_> = (0..6).map(|_| random.next()).collect();
        assert_eq!(numbers, PUBLISHED);
        let mut random = Random::new(b"seed", Domain::Transaction, &[1, 2, 3]);
        let mut bytes: Vec<_> = PUBLISHED.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.truncate(21);
        assert_eq!(random.bytes(21), bytes);
        // Three numbers were taken, the last of them not whole.
        assert_eq!(random.next(), PUBLISHED[3]);
    }

    const PUBLISHED: [u64; 6] = [
        0xa372_9632_e799_8827,
        0xb349_2245_9ee5_4c67,
        0xd52b_d795_bfca_d2d9,
        0x8a7d_cac3_05cc_f1a1,
        0x0c68_8f64_d081_2f18,
        0x219a_88f7_3c24_c769,
    ];

    #[test]
    fn streams_differ_in_seed_domain_and_place() {
        let first = |seed: &[u8], domain, place: &[u64]| Random::new(seed, domain, place).next();
        let numbers = [
            first(b"a", Domain::Block, &[1, 2]),
            first(b"b", Domain::Block, &[1, 2]),
            first(b"a", Domain::Transaction, &[1, 2]),
            first(b"a", Domain::Block, &[2, 1]),
            first(b"a", Domain::Block, &[1]),
            // Bytes of a seed never pass for a place.
            first(b"\x02\0\0\0\0\0\0\0a", Domain::Block, &[1]),
        ];
        for (index, number) in numbers.iter().enumerate() {
            assert!(!numbers[..index].contains(number), "{index}");
        }
    }

    #[test]
    fn draws_keep_to_their_bounds_and_reach_them() {
        let mut random = Random::new(b"", Domain::Block, &[]);
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[random.index(7)] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
        let drawn: Vec<_> = (0..100).map(|_| random.within(&(5..=6))).collect();
        assert!(
            drawn.contains(&5) && drawn.contains(&6) && drawn.iter().all(|n| (5..=6).contains(n))
        );
        assert_eq!(random.within(&(9..=9)), 9);
        // Of the numbers below 2^64, almost half are no fair draw for this bound.
        let bound = (1 << 63) + 1;
        let mut raw = Random::new(b"", Domain::Fork, &[]);
        let mut fair = Random::new(b"", Domain::Fork, &[]);
        let raw: Vec<_> = (0..100).map(|_| raw.next()).filter(|&number| number < bound).collect();
        assert!((30..70).contains(&raw.len()));
        assert!(raw.iter().all(|&number| fair.below(bound) == number));
    }
}
