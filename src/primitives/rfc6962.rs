//! Merkle trees in the shape of RFC 6962, section 2.1: those of a ledger's blocks.
//!
//! A leaf is hashed behind a zero byte and a node behind a one byte, so that neither can pass for the
//! other, and an odd last node rises as it is: nothing is duplicated, and a root has one list of leaves.

use sha2::{Digest, Sha256};

use super::Hash256;

/// Stands before a leaf where it is hashed (RFC 6962, section 2.1).
pub const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash256 {
    let hash = Sha256::new().chain_update(LEAF).chain_update(leaf).finalize();
    Hash256::from_bytes(hash.into())
}

/// The root over leaf hashes; that of no leaves is the SHA-256 of nothing.
#[must_use]
pub fn root(leaf_hashes: &[Hash256]) -> Hash256 {
    let mut frontier = Frontier::default();
    leaf_hashes.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The tree over a growing list of leaves: it knows the root at any time and keeps no leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots of the largest whole trees, from the left: one for each bit of the size.
    peaks: Vec<Hash256>,
}

impl Frontier {
    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf_hash: Hash256) {
        let mut node = leaf_hash;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for each bit");
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Adds leaves by their hashes, level by level: `parents` makes pairs of neighbours into the nodes above
    /// them, of which there are half as many.
    pub fn extend(
        &mut self,
        leaf_hashes: &[Hash256],
        mut parents: impl FnMut(&[Hash256], &mut [Hash256]),
    ) {
        let mut nodes = leaf_hashes.to_vec();
        // Those without a sibling, the lowest first.
        let mut left_over = Vec::new();
        let mut size = self.size;
        while !nodes.is_empty() {
            if size % 2 == 1 {
                nodes.insert(0, self.peaks.pop().expect("a peak for each bit"));
            }
            if nodes.len() % 2 == 1 {
                left_over.extend(nodes.pop());
            }
            let mut above = vec![Hash256::ZERO; nodes.len() / 2];
            parents(&nodes, &mut above);
            nodes = above;
            size /= 2;
        }
        self.peaks.extend(left_over.into_iter().rev());
        self.size += leaf_hashes.len() as u64;
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash256 {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(last) = peaks.next() else {
            return Hash256::from_bytes(Sha256::digest([]).into());
        };
        peaks.fold(last, |right, left| node_hash(&left, &right))
    }
}

/// The hash of two neighbours.
fn node_hash(left: &Hash256, right: &Hash256) -> Hash256 {
    let node = Sha256::new().chain_update(NODE).chain_update(left.as_bytes());
    Hash256::from_bytes(node.chain_update(right.as_bytes()).finalize().into())
}

/// The test vectors of the Certificate Transparency project's reference tree.
pub(crate) mod published {
    use super::{Hash256, leaf_hash};

    /// The leaves, in hex.
    pub(crate) const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];

    /// The roots over the first leaves: over none, one, and so on.
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// The hashes of the first `count` leaves.
    pub(crate) fn leaf_hashes(count: usize) -> Vec<Hash256> {
        let hash = |leaf: &&str| leaf_hash(&hex::decode(leaf).expect("hex digits"));
        LEAVES[..count].iter().map(hash).collect()
    }

    /// The root over the first `count` leaves.
    pub(crate) fn root(count: usize) -> Hash256 {
        let mut bytes = [0; 32];
        hex::decode_to_slice(ROOTS[count], &mut bytes).expect("64 hex digits");
        Hash256::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_of(leaves: &[Vec<u8>]) -> Hash256 {
        let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        root(&hashes)
    }

    /// The RFC's own definition, word for word.
    fn by_definition(leaves: &[Vec<u8>]) -> Hash256 {
        match leaves {
            [] => Hash256::from_bytes(Sha256::digest([]).into()),
            [leaf] => leaf_hash(leaf),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(split);
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn published_roots() {
        for count in 0..=published::LEAVES.len() {
            assert_eq!(
                root(&published::leaf_hashes(count)),
                published::root(count),
                "{count} leaves"
            );
        }
    }

    #[test]
    fn a_frontier_has_the_root_at_any_time() {
        let mut frontier = Frontier::default();
        let mut hashes = Vec::new();
        for leaf in 0u16..300 {
            assert_eq!((frontier.size(), frontier.root()), (u64::from(leaf), root(&hashes)));
            hashes.push(leaf_hash(&leaf.to_le_bytes()));
            frontier.push(hashes[usize::from(leaf)]);
        }
    }

    /// However many come at a time.
    #[test]
    fn leaves_that_come_together_make_the_same_tree() {
        let leaves: Vec<_> = (0u16..40).map(|leaf| leaf_hash(&leaf.to_le_bytes())).collect();
        let parents = |nodes: &[Hash256], parents: &mut [Hash256]| {
            let (pairs, odd) = nodes.as_chunks::<2>();
            assert!(odd.is_empty() && pairs.len() == parents.len());
            for ([left, right], parent) in pairs.iter().zip(parents) {
                *parent = node_hash(left, right);
            }
        };
        for before in 0..leaves.len() {
            for count in 0..=leaves.len() - before {
                let (mut together, mut singly) = (Frontier::default(), Frontier::default());
                leaves[..before + count].iter().for_each(|leaf| singly.push(*leaf));
                leaves[..before].iter().for_each(|leaf| together.push(*leaf));
                together.extend(&leaves[before..before + count], parents);
                assert_eq!(together, singly, "{count} behind {before}");
            }
        }
    }

    #[test]
    fn the_shape_is_the_rfcs_for_any_number_of_leaves() {
        let leaves: Vec<_> = (0u16..70).map(|leaf| leaf.to_le_bytes().to_vec()).collect();
        for count in 0..=leaves.len() {
            assert_eq!(root_of(&leaves[..count]), by_definition(&leaves[..count]), "{count}");
        }
    }
}
