//! Known answers that a device must give before it gets any work.

use crate::primitives::rfc6962::{LEAF, published as rfc6962};
use crate::primitives::{Grove, Hash256, HashFunction, Header, Leaf, Messages, Trees};

use super::tree_shape::TreeShape;
use super::{Device, DeviceError, Work, cpu, groves};
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

/// Messages and their digests: FIPS 180-2, appendix B.1 and B.2.
const SHA256: [(&str, &str); 2] = [
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
];

/// The same for SHA-256d: the example of the Bitcoin wiki's protocol documentation.
const SHA256D: [(&str, &str); 1] =
    [("hello", "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50")];

/// Every length up to this goes through the device: the padding of a message takes part of its last
/// block or one more, at the end of the first, the second and the third block, and there are more
/// messages than threads of a workgroup.
const MESSAGE_BYTES: usize = 130;

/// Runs every kernel on published work and on variations of it.
///
/// # Errors
/// If the device fails or gives a wrong answer.
pub fn self_test(device: &mut dyn Device) -> Result<(), SelfTestFailure> {
    let header = published_header();
    headers_are_right(device, header)?;
    merkle_roots_are_right(device, header)?;
    digests_are_right(device, HashFunction::Sha256, &SHA256, "SHA-256 digests")?;
    digests_are_right(device, HashFunction::Sha256d, &SHA256D, "SHA-256d digests")?;
    rfc6962_roots_are_right(device, header)?;
    groves_are_right(device, HashFunction::Sha256d, TreeShape::Bitcoin, "groves of blocks")?;
    groves_are_right(device, HashFunction::Sha256, TreeShape::Rfc6962, "groves of ledgers")?;
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
    device.hash(&Work::Headers(&headers.iter().collect::<Vec<_>>()), &mut ids)?;
    all_are_right(&ids, &[published(ID)], headers.iter().map(Header::id), "header ids")
}

fn merkle_roots_are_right(device: &mut dyn Device, header: Header) -> Result<(), SelfTestFailure> {
    let mut trees = Trees::new();
    trees.push(&TRANSACTION_IDS.map(published));
    // Odd levels at every height, and a tree that is its only leaf.
    push_trees(&mut trees, header, [1, 3, 5, 7, 11, 257]);
    let roots = [header.merkle_root()];
    roots_are_right(device, TreeShape::Bitcoin, &trees, &roots, "Merkle roots")
}

fn rfc6962_roots_are_right(device: &mut dyn Device, header: Header) -> Result<(), SelfTestFailure> {
    let mut trees = Trees::new();
    let counts = 1..=rfc6962::LEAVES.len();
    counts.clone().for_each(|count| trees.push(&rfc6962::leaf_hashes(count)));
    let roots: Vec<_> = counts.map(rfc6962::root).collect();
    // Nodes that rise from the leaves, from higher levels, and through several of them.
    push_trees(&mut trees, header, [9, 13, 22, 200]);
    roots_are_right(device, TreeShape::Rfc6962, &trees, &roots, "RFC 6962 roots")
}

/// Adds trees of these sizes, each over other leaves.
fn push_trees<const N: usize>(trees: &mut Trees, header: Header, sizes: [u32; N]) {
    let mut nonces = 0..;
    for size in sizes {
        let leaves = nonces.by_ref().take(size as usize);
        trees.push(&leaves.map(|nonce| header.with_nonce(nonce).id()).collect::<Vec<_>>());
    }
}

/// Holds that the first roots are those published, and the others the host's.
fn roots_are_right(
    device: &mut dyn Device,
    shape: TreeShape,
    trees: &Trees,
    published: &[Hash256],
    what: &'static str,
) -> Result<(), SelfTestFailure> {
    let mut roots = vec![Hash256::ZERO; trees.len()];
    device.hash(&Work::Trees(shape, &trees.iter().collect::<Vec<_>>()), &mut roots)?;
    let host = trees.iter().map(|leaves| shape.root(leaves));
    all_are_right(&roots, published, host, what)
}

fn digests_are_right(
    device: &mut dyn Device,
    function: HashFunction,
    published: &[(&str, &str)],
    what: &'static str,
) -> Result<(), SelfTestFailure> {
    let mut messages = Messages::new();
    for (message, _) in published {
        messages.push(&[message.as_bytes()]);
    }
    for length in 0..=MESSAGE_BYTES {
        messages.push(&[&filler(function, length)]);
    }
    messages.push(&[&filler(function, 1000)]);
    let mut digests = vec![Hash256::ZERO; messages.len()];
    let work = messages.iter().collect::<Vec<_>>();
    device.hash(&Work::Messages(function, &work), &mut digests)?;
    let published: Vec<_> = published.iter().map(|(_, digest)| digest_of_hex(digest)).collect();
    let host = messages.iter().map(|message| cpu::hash_message(function, message));
    all_are_right(&digests, &published, host, what)
}

/// Messages with trees over them; the first of them are published.
fn groves_are_right(
    device: &mut dyn Device,
    function: HashFunction,
    shape: TreeShape,
    what: &'static str,
) -> Result<(), SelfTestFailure> {
    let leaves = rfc6962::LEAVES.map(|leaf| hex::decode(leaf).expect("hex digits"));
    let filler = filler(function, MESSAGE_BYTES + 1);
    let mut first = Grove::default();
    let published = match shape {
        TreeShape::Bitcoin => {
            let [(message, digest)] = SHA256D;
            first.push(&[message.as_bytes()]);
            first.push_tree([Leaf::Digest(0)].into_iter());
            vec![digest_of_hex(digest)]
        }
        TreeShape::Rfc6962 => {
            leaves.iter().for_each(|leaf| first.push(&[&LEAF, leaf]));
            (1..=8).for_each(|count| first.push_tree((0..count).map(Leaf::Digest)));
            (1..=leaves.len()).map(rfc6962::root).collect()
        }
    };
    let mut all = vec![first];
    // Of one message, of none, of odd numbers of them, and with a second tree that has other leaves.
    for messages in [1, 0, 3, 13, 40] {
        let mut grove = Grove::default();
        for message in 0..messages {
            let (before, after) = filler.split_at(message as usize);
            match message % 2 {
                0 => grove.push(&[after]),
                _ => grove.push(&[after, b"", before]),
            }
        }
        if messages > 0 {
            grove.push_tree((0..messages).map(Leaf::Digest));
        }
        if messages > 1 {
            grove.push_tree([Leaf::Digest(1)].into_iter());
            let given = Leaf::Given(cpu::hash_message(function, &filler));
            grove.push_tree([given, Leaf::Digest(messages - 1), Leaf::Digest(1)].into_iter());
        }
        all.push(grove);
    }
    let all: Vec<_> = all.iter().collect();
    let work = Work::Groves(function, shape, &all);
    let mut results = vec![Hash256::ZERO; work.len()];
    device.hash(&work, &mut results)?;
    let host = all.iter().flat_map(|grove| groves::roots(function, shape, grove));
    all_are_right(&results, &published, host, what)
}

/// A message without two equal words, another one for each function.
fn filler(function: HashFunction, length: usize) -> Vec<u8> {
    let first = if function == HashFunction::Sha256 { 0u32 } else { 1 << 31 };
    let words = (first..).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes());
    words.take(length).collect()
}

/// A digest in the order in which SHA-256 produces its bytes.
fn digest_of_hex(text: &str) -> Hash256 {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).expect("64 hex digits");
    Hash256::from_bytes(bytes)
}

/// Holds that the first answers are those published, and all of them the host's.
fn all_are_right(
    answers: &[Hash256],
    published: &[Hash256],
    host: impl Iterator<Item = Hash256>,
    what: &'static str,
) -> Result<(), SelfTestFailure> {
    if answers.starts_with(published) && host.eq(answers.iter().copied()) {
        Ok(())
    } else {
        Err(SelfTestFailure::Wrong { what })
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
        assert_eq!(cpu::merkle_root(&leaves), header.merkle_root());
        for (function, published) in
            [(HashFunction::Sha256, &SHA256[..]), (HashFunction::Sha256d, &SHA256D)]
        {
            for (message, digest) in published {
                let found = cpu::hash_message(function, message.as_bytes());
                assert_eq!(found, digest_of_hex(digest), "{message}");
            }
        }
    }
}
