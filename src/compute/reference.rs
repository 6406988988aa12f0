//! The definition of right: SHA-256 as FIPS 180-4 writes it, one block after the other.
//!
//! No dependency, no instruction set, no threads. Every other backend is held to this one.

use crate::primitives::{Hash256, HashFunction, Header, Trees};

use super::Backend;
#[cfg(feature = "mine")]
use super::SearchJob;

/// The round constants of FIPS 180-4, section 4.2.2.
pub(crate) const K: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// The initial state of FIPS 180-4, section 5.3.3.
pub(crate) const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Hashes one block of 64 bytes into `state` (FIPS 180-4, section 6.2.2).
pub(crate) fn compress(state: &mut [u32; 8], block: &[u8; 64]) {
    let mut w = [0u32; 64];
    for (word, bytes) in w.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for t in 16..64 {
        let s0 = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ (w[t - 15] >> 3);
        let s1 = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ (w[t - 2] >> 10);
        w[t] = w[t - 16].wrapping_add(s0).wrapping_add(w[t - 7]).wrapping_add(s1);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (k, w) in K.iter().zip(w) {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(*k).wrapping_add(w);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let t2 = s0.wrapping_add(majority);
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(add);
    }
}

/// SHA-256 of a message of any length.
#[must_use]
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    // Padding: a one bit, zeros, the length in bits as 64-bit big-endian (FIPS 180-4, 5.1.1).
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64), 0);
    let end = padded.len();
    padded[end - 8..].copy_from_slice(&(8 * message.len() as u64).to_be_bytes());

    let mut state = IV;
    for block in padded.as_chunks::<64>().0 {
        compress(&mut state, block);
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

fn sha256d(message: &[u8]) -> Hash256 {
    Hash256::from_bytes(sha256(&sha256(message)))
}

/// The root over leaf hashes as RFC 6962, section 2.1, defines it: split at the largest power of two
/// below their number.
fn rfc6962_root(leaves: &[Hash256]) -> Hash256 {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (left, right) = (rfc6962_root(left), rfc6962_root(right));
    Hash256::from_bytes(sha256(&[&[1], &left.as_bytes()[..], right.as_bytes()].concat()))
}

/// The naive backend that defines the answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Reference {
    /// SHA-256 of a message of any length, as FIPS 180-4 defines it.
    #[must_use]
    pub fn sha256(message: &[u8]) -> [u8; 32] {
        sha256(message)
    }
}

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn device(&self) -> String {
        "one thread, plain SHA-256".into()
    }

    fn is_host(&self) -> bool {
        true
    }

    fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        assert_eq!(headers.len(), ids.len(), "one id per header");
        for (header, id) in headers.iter().zip(ids) {
            *id = sha256d(header.as_bytes());
        }
    }

    fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        assert_eq!(trees.len(), roots.len(), "one root per tree");
        for (leaves, root) in trees.iter().zip(roots) {
            let mut level = leaves.to_vec();
            while level.len() > 1 {
                level = level
                    .chunks(2)
                    .map(|pair| {
                        let right = pair.get(1).unwrap_or(&pair[0]);
                        sha256d(&[*pair[0].as_bytes(), *right.as_bytes()].concat())
                    })
                    .collect();
            }
            *root = level[0];
        }
    }

    fn hash_messages(&self, function: HashFunction, messages: &[&[u8]], digests: &mut [Hash256]) {
        assert_eq!(messages.len(), digests.len(), "one digest per message");
        for (message, digest) in messages.iter().zip(digests) {
            *digest = match function {
                HashFunction::Sha256 => Hash256::from_bytes(sha256(message)),
                HashFunction::Sha256d => sha256d(message),
            };
        }
    }

    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        assert_eq!(trees.len(), roots.len(), "one root per tree");
        for (leaves, root) in trees.iter().zip(roots) {
            *root = rfc6962_root(leaves);
        }
    }

    #[cfg(feature = "mine")]
    fn search(&self, job: &SearchJob) -> Option<u32> {
        job.nonces()
            .find(|&nonce| job.target.is_met_by(&sha256d(job.header.with_nonce(nonce).as_bytes())))
    }

    #[cfg(feature = "mine")]
    fn search_span(&self) -> u32 {
        1 << 14
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_one_block_and_two_block_messages() {
        // FIPS 180-2, appendix B.1 and B.2.
        assert_eq!(
            hex::encode(sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex::encode(sha256(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
    }
}
