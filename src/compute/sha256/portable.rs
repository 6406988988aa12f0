//! SHA-256 through the `sha2` crate, one message at a time: for every processor.

use sha2::block_api::compress256;

use crate::compute::reference::IV;

use super::Kernels;
#[cfg(feature = "mine")]
use super::block::Midstate;
use super::block::{BLOCK, HEADER_BITS, NODE_BITS, PAIR_BITS, State, block_of_digest, digest_of};
use super::streams::Jobs;

/// The code that runs everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portable;

impl Kernels for Portable {
    fn hash_headers(&self, headers: &[[u8; 80]], ids: &mut [[u8; 32]]) {
        for (header, id) in headers.iter().zip(ids) {
            let mut state = IV;
            compress256(&mut state, &blocks(header, HEADER_BITS));
            *id = hash_digest(&state);
        }
    }

    fn hash_pairs(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        for (pair, parent) in pairs.iter().zip(parents) {
            let mut state = IV;
            compress256(&mut state, &blocks(pair, PAIR_BITS));
            *parent = hash_digest(&state);
        }
    }

    fn hash_nodes(&self, pairs: &[[u8; 64]], parents: &mut [[u8; 32]]) {
        for (pair, parent) in pairs.iter().zip(parents) {
            let mut node = [1; 65];
            node[1..].copy_from_slice(pair);
            let mut state = IV;
            compress256(&mut state, &blocks(&node, NODE_BITS));
            *parent = digest_of(&state);
        }
    }

    fn hash_messages(&self, jobs: Jobs<'_>) {
        jobs.hash::<1>(|[state], [run]| compress256(state, run), compress256);
    }

    #[cfg(feature = "mine")]
    fn search(&self, midstate: &Midstate, top: u32, first: u32, count: u64) -> Option<u32> {
        let mut block = [0; BLOCK];
        for (bytes, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(midstate.tail) {
            *bytes = word.to_be_bytes();
        }
        block[16] = 0x80;
        block[60..].copy_from_slice(&HEADER_BITS.to_be_bytes());
        let last = u64::from(first) + count;
        (u64::from(first)..last).map(|nonce| nonce.to_le_bytes()).find_map(|bytes| {
            let nonce = [bytes[0], bytes[1], bytes[2], bytes[3]];
            block[12..16].copy_from_slice(&nonce);
            let mut state = midstate.state;
            compress256(&mut state, &[block]);
            let mut outer = IV;
            compress256(&mut outer, &[block_of_digest(&state)]);
            (outer[7].swap_bytes() <= top).then_some(u32::from_le_bytes(nonce))
        })
    }
}

/// The two blocks of a message of 56 to 119 bytes.
fn blocks<const BYTES: usize>(message: &[u8; BYTES], bits: u32) -> [[u8; BLOCK]; 2] {
    let mut blocks = [[0; BLOCK]; 2];
    let bytes = blocks.as_flattened_mut();
    bytes[..BYTES].copy_from_slice(message);
    bytes[BYTES] = 0x80;
    bytes[124..].copy_from_slice(&bits.to_be_bytes());
    blocks
}

fn hash_digest(state: &State) -> [u8; 32] {
    let mut outer = IV;
    compress256(&mut outer, &[block_of_digest(state)]);
    digest_of(&outer)
}
