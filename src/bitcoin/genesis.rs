//! The genesis blocks, whole.  (Bitcoin Core: `CreateGenesisBlock`.)

use crate::wire::put_compact_size;

use super::{Network, Params};

/// The headline in the coinbase of all networks but testnet4.
const HEADLINE: &[u8] = b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks";

/// The key in its output.
const KEY: &str = "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f";

/// The block of the main network in the coinbase of testnet4.
const BIP94_HEADLINE: &[u8] =
    b"03/May/2024 000000000000000000001ebd58c244970b3aa9d783bb001011fbe8ea8e98e00e";

/// The coins of the first block, in satoshi.
const SUBSIDY: u64 = 50 * 100_000_000;

const OP_CHECKSIG: u8 = 0xac;

/// The genesis block of a network, byte by byte.
#[must_use]
pub fn genesis_block(network: Network) -> Vec<u8> {
    let (headline, key) = match network {
        Network::Testnet4 => (BIP94_HEADLINE, vec![0; 33]),
        _ => (HEADLINE, hex::decode(KEY).expect("65 bytes in hex")),
    };
    let mut block = Params::of(network).genesis.as_bytes().to_vec();
    block.push(1);
    block.extend_from_slice(&coinbase(headline, &key));
    block
}

fn coinbase(headline: &[u8], key: &[u8]) -> Vec<u8> {
    // The bits, the number 4, and the headline, each pushed.
    let mut script = vec![4, 0xff, 0xff, 0, 0x1d, 1, 4];
    push(&mut script, headline);
    let mut output = Vec::new();
    push(&mut output, key);
    output.push(OP_CHECKSIG);

    let mut coinbase = 1i32.to_le_bytes().to_vec();
    coinbase.push(1);
    coinbase.extend_from_slice(&[0; 32]);
    coinbase.extend_from_slice(&[0xff; 4]);
    put_script(&mut coinbase, &script);
    coinbase.extend_from_slice(&[0xff; 4]);
    coinbase.push(1);
    coinbase.extend_from_slice(&SUBSIDY.to_le_bytes());
    put_script(&mut coinbase, &output);
    coinbase.extend_from_slice(&[0; 4]);
    coinbase
}

fn put_script(out: &mut Vec<u8>, script: &[u8]) {
    put_compact_size(out, script.len() as u64);
    out.extend_from_slice(script);
}

/// Appends a push of fewer than 256 bytes.
fn push(script: &mut Vec<u8>, bytes: &[u8]) {
    const OP_PUSHDATA1: u8 = 0x4c;
    if bytes.len() >= usize::from(OP_PUSHDATA1) {
        script.push(OP_PUSHDATA1);
    }
    script.push(u8::try_from(bytes.len()).expect("short"));
    script.extend_from_slice(bytes);
}

/// Appends a block as block files hold it: magic, length, block.
///
/// # Panics
/// If the block has 4 GiB or more.
pub fn put_block_record(out: &mut Vec<u8>, magic: [u8; 4], block: &[u8]) {
    out.extend_from_slice(&magic);
    let len = u32::try_from(block.len()).expect("blocks are shorter than 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(block);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitcoin::Block;
    use crate::primitives::merkle_root;

    #[test]
    fn they_are_those_that_their_headers_name() {
        use ::bitcoin::Network as Peer;
        let peers = [Peer::Bitcoin, Peer::Testnet, Peer::Testnet4, Peer::Signet, Peer::Regtest];
        for (network, peer) in Network::ALL.into_iter().zip(peers) {
            let bytes = genesis_block(network);
            let block = Block::parse(&bytes).expect("a block");
            let root = merkle_root(&[block.transactions()[0].id()]);
            assert_eq!(root, block.header.merkle_root(), "{network}");
            let peer = ::bitcoin::constants::genesis_block(peer);
            assert_eq!(bytes, ::bitcoin::consensus::encode::serialize(&peer), "{network}");
        }
    }
}
