//! Known answers that a device must give before it gets any work.

use crate::primitives::{Hash256, Header, Trees};

use super::{Device, DeviceError};
#[cfg(feature = "mine")]
use super::{SEARCH_GROUP, SearchDispatch};

/// Why a device is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestFailure {
    /// It did not answer.
    #[error("self-test: {0}")]
    Device(#[from] DeviceError),
    /// It gave a wrong answer.
    #[error("self-test failed: wrong {what}")]
    Wrong {
        /// What it computed.
        what: &'static str,
    },
}

/// Block 100000 of Bitcoin's main network: its header, its id and its four transaction ids.
const HEADER: &str = "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a9252aacd5c0b2940996ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710";
const ID: &str = "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506";
const TRANSACTION_IDS: [&str; 4] = [
    "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
    "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
    "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
    "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
];

/// How many copies of the header, each with another nonce, go through the device: more than a
/// workgroup, and not a multiple of one.
const HEADERS: u32 = 1031;

/// Runs every kernel on a published block and on variations of it.
///
/// # Errors
/// If the device fails or gives a wrong answer.
pub fn self_test(device: &mut dyn Device) -> Result<(), SelfTestFailure> {
    let header = published_header();
    headers_are_right(device, header)?;
    merkle_roots_are_right(device, header)?;
    #[cfg(feature = "mine")]
    search_is_right(device, header)?;
    Ok(())
}

pub(crate) fn published_header() -> Header {
    let mut bytes = [0; Header::LEN];
    hex::decode_to_slice(HEADER, &mut bytes).expect("160 hex digits");
    Header::from_bytes(bytes)
}

fn published(id: &str) -> Hash256 {
    id.parse().expect("64 hex digits")
}

/// The target that compact bits name.
#[cfg(feature = "mine")]
fn target_of(bits: u32) -> crate::primitives::Target {
    crate::primitives::CompactTarget::from_bits(bits).decode().expect("published bits")
}

fn headers_are_right(device: &mut dyn Device, header: Header) -> Result<(), SelfTestFailure> {
    let nonce = header.nonce();
    let headers: Vec<_> = (0..HEADERS).map(|n| header.with_nonce(nonce.wrapping_add(n))).collect();
    let mut ids = vec![Hash256::ZERO; headers.len()];
    device.header_ids(&headers, &mut ids)?;
    let rest_is_right = headers.iter().zip(&ids).all(|(header, id)| header.id() == *id);
    if ids[0] == published(ID) && rest_is_right {
        Ok(())
    } else {
        Err(SelfTestFailure::Wrong { what: "header ids" })
    }
}

fn merkle_roots_are_right(device: &mut dyn Device, header: Header) -> Result<(), SelfTestFailure> {
    let leaves = TRANSACTION_IDS.map(published);
    let mut trees = Trees::new();
    trees.push(&leaves);
    // Odd levels at every height, and a tree that is its only leaf.
    let mut many: Vec<Hash256> = Vec::new();
    for size in [1, 3, 5, 7, 11, 257] {
        many.resize_with(size, || header.with_nonce(u32::try_from(size).unwrap_or(0)).id());
        trees.push(&many);
    }
    let mut roots = vec![Hash256::ZERO; trees.len()];
    device.merkle_roots(&trees, &mut roots)?;
    let right = |(leaves, root): (&[Hash256], &Hash256)| super::cpu::merkle_root(leaves) == *root;
    if roots[0] == header.merkle_root() && trees.iter().zip(&roots).all(right) {
        Ok(())
    } else {
        Err(SelfTestFailure::Wrong { what: "Merkle roots" })
    }
}

#[cfg(feature = "mine")]
fn search_is_right(device: &mut dyn Device, header: Header) -> Result<(), SelfTestFailure> {
    let target = target_of(header.bits().to_bits());
    let easy = target_of(0x207f_ffff); // regtest: every second nonce is a hit
    let dispatch = SearchDispatch {
        header,
        target,
        first: header.nonce() - 700,
        count: 1000,
        decoy: header.with_nonce(0),
        decoy_target: easy,
        decoy_first: u32::MAX - (SEARCH_GROUP - 1),
        decoy_group: 2,
    };
    let result = device.search(&dispatch, &mut |bytes| bytes.fill(0xa5))?;
    let mut decoy = result.decoy.nonces.clone();
    decoy.sort_unstable();
    // All but the exact compare, which is the host's.
    let expected: Vec<_> = (dispatch.decoy_first..=u32::MAX)
        .filter(|&nonce| easy.is_met_by(&header.with_nonce(nonce).id()))
        .collect();
    let header_right = result.header.nonces == [header.nonce()]
        && result.header.count == 1
        && result.header.lowest == header.nonce();
    let decoy_right = decoy == expected
        && result.decoy.count as usize == expected.len()
        && Some(&result.decoy.lowest) == expected.first();
    if header_right && decoy_right {
        Ok(())
    } else {
        Err(SelfTestFailure::Wrong { what: "search hits" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answers_are_right_on_the_cpu() {
        let header = published_header();
        assert_eq!(header.id().to_string(), ID);
        let leaves = TRANSACTION_IDS.map(published);
        assert_eq!(super::super::cpu::merkle_root(&leaves), header.merkle_root());
    }
}
