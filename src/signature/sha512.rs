//! What vector units that hash with SHA-512 have in common (FIPS 180-4): constants, and padding.

use super::engine::{HEAD_LEN, Message};

/// The length of a block in bytes.
const BLOCK_LEN: usize = 128;

/// What padding takes at least: a bit, and the length in 16 bytes.
const PADDING_MIN: usize = 17;

/// The fractional parts of the square roots of the first eight primes (section 5.3.5).
#[rustfmt::skip]
pub(super) const INITIAL: [u64; 8] = [
    0x6a09_e667_f3bc_c908, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1, 0x9b05_688c_2b3e_6c1f, 0x1f83_d9ab_fb41_bd6b, 0x5be0_cd19_137e_2179,
];

/// The fractional parts of the cube roots of the first eighty primes (section 4.2.3).
#[rustfmt::skip]
pub(super) const ROUND: [u64; 80] = [
    0x428a_2f98_d728_ae22, 0x7137_4491_23ef_65cd, 0xb5c0_fbcf_ec4d_3b2f, 0xe9b5_dba5_8189_dbbc,
    0x3956_c25b_f348_b538, 0x59f1_11f1_b605_d019, 0x923f_82a4_af19_4f9b, 0xab1c_5ed5_da6d_8118,
    0xd807_aa98_a303_0242, 0x1283_5b01_4570_6fbe, 0x2431_85be_4ee4_b28c, 0x550c_7dc3_d5ff_b4e2,
    0x72be_5d74_f27b_896f, 0x80de_b1fe_3b16_96b1, 0x9bdc_06a7_25c7_1235, 0xc19b_f174_cf69_2694,
    0xe49b_69c1_9ef1_4ad2, 0xefbe_4786_384f_25e3, 0x0fc1_9dc6_8b8c_d5b5, 0x240c_a1cc_77ac_9c65,
    0x2de9_2c6f_592b_0275, 0x4a74_84aa_6ea6_e483, 0x5cb0_a9dc_bd41_fbd4, 0x76f9_88da_8311_53b5,
    0x983e_5152_ee66_dfab, 0xa831_c66d_2db4_3210, 0xb003_27c8_98fb_213f, 0xbf59_7fc7_beef_0ee4,
    0xc6e0_0bf3_3da8_8fc2, 0xd5a7_9147_930a_a725, 0x06ca_6351_e003_826f, 0x1429_2967_0a0e_6e70,
    0x27b7_0a85_46d2_2ffc, 0x2e1b_2138_5c26_c926, 0x4d2c_6dfc_5ac4_2aed, 0x5338_0d13_9d95_b3df,
    0x650a_7354_8baf_63de, 0x766a_0abb_3c77_b2a8, 0x81c2_c92e_47ed_aee6, 0x9272_2c85_1482_353b,
    0xa2bf_e8a1_4cf1_0364, 0xa81a_664b_bc42_3001, 0xc24b_8b70_d0f8_9791, 0xc76c_51a3_0654_be30,
    0xd192_e819_d6ef_5218, 0xd699_0624_5565_a910, 0xf40e_3585_5771_202a, 0x106a_a070_32bb_d1b8,
    0x19a4_c116_b8d2_d0c8, 0x1e37_6c08_5141_ab53, 0x2748_774c_df8e_eb99, 0x34b0_bcb5_e19b_48a8,
    0x391c_0cb3_c5c9_5a63, 0x4ed8_aa4a_e341_8acb, 0x5b9c_ca4f_7763_e373, 0x682e_6ff3_d6b2_b8a3,
    0x748f_82ee_5def_b2fc, 0x78a5_636f_4317_2f60, 0x84c8_7814_a1f0_ab72, 0x8cc7_0208_1a64_39ec,
    0x90be_fffa_2363_1e28, 0xa450_6ceb_de82_bde9, 0xbef9_a3f7_b2c6_7915, 0xc671_78f2_e372_532b,
    0xca27_3ece_ea26_619c, 0xd186_b8c7_21c0_c207, 0xeada_7dd6_cde0_eb1e, 0xf57d_4f7f_ee6e_d178,
    0x06f0_67aa_7217_6fba, 0x0a63_7dc5_a2c8_98a6, 0x113f_9804_bef9_0dae, 0x1b71_0b35_131c_471b,
    0x28db_77f5_2304_7d84, 0x32ca_ab7b_40c7_2493, 0x3c9e_be0a_15c9_bebc, 0x431d_67c4_9c10_0d4c,
    0x4cc5_d4be_cb3e_42b6, 0x597f_299c_fc65_7e2a, 0x5fcb_6fab_3ad6_faec, 0x6c44_198c_4a47_5817,
];

/// How many blocks a message takes.
pub(super) const fn blocks(message: &Message<'_>) -> usize {
    (length(message) + PADDING_MIN).div_ceil(BLOCK_LEN)
}

/// The bytes of a message.
const fn length((_, [domain, rest]): &Message<'_>) -> usize {
    HEAD_LEN + domain.len() + rest.len()
}

/// Blocks of several messages side by side.
///
/// Nearly all messages are short: these are laid out once, with their padding. Of others each block is, when it
/// is needed.
pub(super) struct Blocks<'m, 'a, const N: usize> {
    messages: &'m [Message<'a>; N],
    /// How many blocks each of them has.
    counts: [usize; N],
    short: [[u8; SHORT_LEN]; N],
}

/// The bytes that are laid out at once.
const SHORT_LEN: usize = 4 * BLOCK_LEN;

impl<'m, 'a, const N: usize> Blocks<'m, 'a, N> {
    #[inline]
    pub(super) fn new(messages: &'m [Message<'a>; N]) -> Self {
        let counts = messages.each_ref().map(blocks);
        let mut short = [[0; SHORT_LEN]; N];
        for ((message, count), padded) in messages.iter().zip(counts).zip(&mut short) {
            if let Some(padded) = padded.get_mut(..count * BLOCK_LEN) {
                lay_out(message, padded);
            }
        }
        Self { messages, counts, short }
    }

    /// How many blocks the longest message has.
    pub(super) fn most(&self) -> usize {
        self.counts.into_iter().max().unwrap_or(0)
    }

    /// Whether a message has a block `number`.
    pub(super) const fn has(&self, message: usize, number: usize) -> bool {
        number < self.counts[message]
    }

    /// The words of block `number` of each; whatever they are for a message that has ended.
    #[inline]
    pub(super) fn words(&self, number: usize) -> [[u64; N]; 16] {
        let first = number * BLOCK_LEN;
        let blocks: [[u8; BLOCK_LEN]; N] = std::array::from_fn(|message| {
            let is_short = self.counts[message] * BLOCK_LEN <= SHORT_LEN;
            let short = self.short[message].get(first..).and_then(<[u8]>::first_chunk);
            short
                .filter(|_| is_short)
                .copied()
                .unwrap_or_else(|| block(&self.messages[message], number))
        });
        std::array::from_fn(|i| {
            blocks.each_ref().map(|block| u64::from_be_bytes(block.as_chunks::<8>().0[i]))
        })
    }
}

/// Writes a message with its padding (section 5.1.2) to where there are zeros, as many blocks as it takes.
#[inline]
fn lay_out((head, [domain, rest]): &Message<'_>, padded: &mut [u8]) {
    let (place, behind) = padded.split_at_mut(HEAD_LEN);
    place.copy_from_slice(*head);
    let (place, behind) = behind.split_at_mut(domain.len());
    place.copy_from_slice(domain);
    let (place, behind) = behind.split_at_mut(rest.len());
    place.copy_from_slice(rest);
    behind[0] = 0x80;
    let bits = 8 * (HEAD_LEN + domain.len() + rest.len()) as u64;
    if let Some(length) = behind.last_chunk_mut() {
        *length = bits.to_be_bytes();
    }
}

/// Block `number` of a padded message (section 5.1.2).
#[inline]
fn block(message: &Message<'_>, number: usize) -> [u8; BLOCK_LEN] {
    let (head, [domain, rest]) = message;
    let mut block = [0; BLOCK_LEN];
    let first = number * BLOCK_LEN;
    let mut put = |part: &[u8], at: usize| {
        // What the block and the part have in common.
        let (from, to) = (at.max(first), (at + part.len()).min(first + BLOCK_LEN));
        if from < to {
            block[from - first..to - first].copy_from_slice(&part[from - at..to - at]);
        }
    };
    put(*head, 0);
    put(domain, HEAD_LEN);
    put(rest, HEAD_LEN + domain.len());
    let length = length(message);
    if length / BLOCK_LEN == number {
        block[length % BLOCK_LEN] = 0x80;
    }
    if number + 1 == blocks(message) {
        // Of the 16 bytes, the upper eight are zero: memory is not that large.
        let bits = 8 * length as u64;
        block[BLOCK_LEN - 8..].copy_from_slice(&bits.to_be_bytes());
    }
    block
}
