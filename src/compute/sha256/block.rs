//! What all instruction sets know of SHA-256: its constants, its padding, and what of the message
//! schedule can be computed beforehand.

#[cfg(feature = "mine")]
use crate::compute::reference;
use crate::compute::reference::K;

/// Eight state words, or a digest as words.
pub(super) type State = [u32; 8];

/// The bytes that a block has.
pub(super) const BLOCK: usize = 64;

/// The first padding word: a one bit right behind the message (FIPS 180-4, 5.1.1).
pub(super) const END: u32 = 0x8000_0000;

/// The lengths in bits that fixed-length messages end with.
pub(super) const HEADER_BITS: u32 = 8 * 80;
pub(super) const PAIR_BITS: u32 = 8 * 64;
pub(super) const NODE_BITS: u32 = 8 * 65;
pub(super) const DIGEST_BITS: u32 = 8 * 32;

/// `W[t] + K[t]` of a block that is known beforehand.
pub(super) const fn known_schedule(block: [u32; 16]) -> [u32; 64] {
    let mut w = [0u32; 64];
    let mut t = 0;
    while t < 64 {
        w[t] = if t < 16 {
            block[t]
        } else {
            let sum = w[t - 16].wrapping_add(w[t - 7]);
            sum.wrapping_add(sigma0(w[t - 15])).wrapping_add(sigma1(w[t - 2]))
        };
        t += 1;
    }
    t = 0;
    while t < 64 {
        w[t] = w[t].wrapping_add(K[t]);
        t += 1;
    }
    w
}

/// The second block of every message of 64 bytes: padding alone.
pub(super) const PAIR_PADDING: [u32; 64] = {
    let mut block = [0; 16];
    block[0] = END;
    block[15] = PAIR_BITS;
    known_schedule(block)
};

/// FIPS 180-4, equation 4.6.
pub(super) const fn sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3)
}

/// FIPS 180-4, equation 4.7.
pub(super) const fn sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10)
}

/// The digest that state words stand for.
pub(super) fn digest_of(state: &State) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

/// The block that hashes a digest once more.
pub(super) fn block_of_digest(state: &State) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..32].copy_from_slice(&digest_of(state));
    block[32] = 0x80;
    block[60..].copy_from_slice(&DIGEST_BITS.to_be_bytes());
    block
}

/// A header whose nonce is sought, as far as it is the same for all nonces.
#[cfg(feature = "mine")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Midstate {
    /// The state after the first 64 bytes.
    pub(super) state: State,
    /// The three words of the second block before the nonce.
    pub(super) tail: [u32; 3],
}

#[cfg(feature = "mine")]
impl Midstate {
    pub(super) fn of(header: &[u8; 80]) -> Self {
        let (first, rest) = header.split_first_chunk().expect("64 of 80 bytes");
        let mut state = reference::IV;
        reference::compress(&mut state, first);
        let words = rest.as_chunks::<4>().0;
        Self { state, tail: std::array::from_fn(|index| u32::from_be_bytes(words[index])) }
    }

    /// Words 16 and 17 of the second block's schedule, which the nonce does not reach.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn early_words(&self) -> [u32; 2] {
        let [w0, w1, w2] = self.tail;
        [w0.wrapping_add(sigma0(w1)), w1.wrapping_add(sigma0(w2)).wrapping_add(sigma1(HEADER_BITS))]
    }
}
