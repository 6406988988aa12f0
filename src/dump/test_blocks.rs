//! Blocks and block files for the tests of framing: mined at regtest's limit, two hashes a block.

use crate::bitcoin::{Network, Params};
use crate::primitives::{Header, sha256d};
use crate::wire::put_compact_size;

/// A block whose header proves work, and with one transaction that makes it `len` bytes long (141 or
/// more). Blocks of different salts differ.
pub(super) fn block(salt: u32, len: usize) -> Vec<u8> {
    let genesis = Params::of(Network::Regtest).genesis;
    let root = sha256d(&salt.to_le_bytes());
    let draft = Header::from_fields(4, genesis.id(), root, genesis.time() + 600, genesis.bits(), 0);
    let proves_work = |header: &Header| header.is_solved_by(&header.id());
    let header = (0..).map(|nonce| draft.with_nonce(nonce)).find(proves_work).expect("easy");
    let mut block = header.as_bytes().to_vec();
    // One transaction: an input that spends nothing, and an output whose script fills the block.
    block.extend_from_slice(&[1, 1, 0, 0, 0, 1]);
    block.extend_from_slice(&[0; 32]);
    block.extend_from_slice(&[0xff; 4]);
    block.extend_from_slice(&[0; 5]);
    block.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0]);
    // The length of the script, in its shortest form, and behind it the lock time.
    let script = match len - block.len() - 4 {
        room @ 0..254 => room - 1,
        room @ 254..0x1_0000 => room - 3,
        room => room - 5,
    };
    put_compact_size(&mut block, script as u64);
    block.resize(len, 0x51);
    block
}

/// A record that says of its block that it is `claimed` long.
pub(super) fn record_of(block: &[u8], claimed: usize) -> Vec<u8> {
    let claimed = u32::try_from(claimed).expect("a length");
    [&Network::Regtest.magic()[..], &claimed.to_le_bytes(), block].concat()
}

/// A record.
pub(super) fn record(block: &[u8]) -> Vec<u8> {
    record_of(block, block.len())
}
