//! The host side of `merkle.wgsl`: which nodes make which, level by level.

use std::ops::Range;

use crate::compute::{DeviceError, Noise, TreeShape};
use crate::primitives::Hash256;

use super::kernels::{HASH_GROUP, Kernels};
use super::link::{Fetch, Gathered, Link, Pass, Sink, Source, Submitted, Upload, part};
use super::slot::Slot;

/// The largest alignment that an adapter may ask of a binding's offset.
const BINDING_ALIGNMENT: usize = 256;

/// The most inner nodes per leaf, times eight: nine leaves of Bitcoin's trees have 5 + 3 + 2 + 1, no
/// tree has more.
const INNER_NODES_PER_8_LEAVES: usize = 10;

/// The bytes of device memory that each leaf of a batch can need in one buffer: itself, the inner
/// nodes above it, and a root.
pub(super) const NODE_BYTES_PER_LEAF: usize =
    size_of::<Hash256>() * (8 + INNER_NODES_PER_8_LEAVES + 8) / 8;

/// The indices of two nodes and of their parent, as `merkle.wgsl` has them.
pub(super) type Pair = [u32; 3];

/// The kernel that hashes a level of Merkle trees of one shape.
pub(super) struct MerkleKernel {
    shape: TreeShape,
    pipeline: wgpu::ComputePipeline,
}

impl MerkleKernel {
    pub(super) fn new(
        link: &Link,
        kernels: Kernels,
        shape: TreeShape,
    ) -> Result<Self, DeviceError> {
        Ok(Self { shape, pipeline: link.pipeline("merkle", &kernels.merkle(shape))? })
    }

    /// The passes that hash all levels of a plan, one after the other.
    pub(super) fn passes(
        &self,
        link: &Link,
        (pairs_buffer, levels): (&wgpu::Buffer, &[Range<usize>]),
        (nodes_buffer, node_bytes): (&wgpu::Buffer, usize),
    ) -> Vec<Pass<'_>> {
        let pass = |level: &Range<usize>| {
            let pairs = part(pairs_buffer, level.start, level.len());
            let nodes = part(nodes_buffer, 0, node_bytes);
            let count = super::count_u32(level.len() / size_of::<Pair>());
            Pass {
                pipeline: &self.pipeline,
                bindings: link.bind(&self.pipeline, [pairs, nodes]),
                groups: [count.div_ceil(HASH_GROUP), 1],
            }
        };
        levels.iter().map(pass).collect()
    }

    /// `None` if there is nothing to hash, as all trees are single leaves.
    pub(super) fn start(
        &self,
        link: &Link,
        slot: &mut Slot,
        trees: &[&[Hash256]],
        noise: &Noise,
    ) -> Result<Option<Submitted>, DeviceError> {
        let plan = Plan::new(self.shape, trees);
        if plan.levels.is_empty() {
            return Ok(None);
        }
        let (pairs, levels) = plan.pairs();
        let pair_bytes: &[u8] = bytemuck::cast_slice(&pairs);
        let node_bytes = plan.nodes * size_of::<Hash256>();
        let pairs_buffer = link.reserve(&mut slot.input, pair_bytes.len())?;
        let nodes_buffer = link.reserve(&mut slot.output, node_bytes)?;

        let passes = self.passes(link, (pairs_buffer, &levels), (nodes_buffer, node_bytes));
        let sizes = trees.iter().map(|leaves| size_of_val(*leaves));
        let write = |which: Range<usize>, sink: &mut Sink<'_>| {
            trees[which].iter().for_each(|leaves| sink.put(bytemuck::cast_slice(leaves)));
        };
        let leaves = Gathered::new(sizes, &write);
        let roots_at = (plan.leaves * size_of::<Hash256>()) as u64;
        let bytes = size_of::<Hash256>() * trees.len();
        let uploads = [
            Upload { buffer: nodes_buffer, offset: 0, source: Source::Gathered(leaves) },
            Upload { buffer: nodes_buffer, offset: roots_at, source: Source::Noise(noise, bytes) },
            Upload { buffer: pairs_buffer, offset: 0, source: Source::Bytes(pair_bytes) },
        ];
        let fetch = Fetch { buffer: nodes_buffer, offset: roots_at, bytes };
        link.submit(&mut slot.staging, &uploads, &passes, &fetch).map(Some)
    }
}

/// Which nodes each level hashes. Nodes lie in one array: what leaves are among, then all roots, then the
/// other inner nodes.
pub(super) struct Plan {
    shape: TreeShape,
    /// From the leaves up; level `k` of every tree is hashed in one dispatch.
    pub(super) levels: Vec<Vec<Pair>>,
    /// The number of leaves, and of all nodes.
    pub(super) leaves: usize,
    pub(super) nodes: usize,
}

impl Plan {
    fn new(shape: TreeShape, trees: &[&[Hash256]]) -> Self {
        let leaves = trees.iter().map(|leaves| leaves.len()).sum();
        let mut plan = Self::empty(shape, leaves, trees.len());
        let mut first = 0;
        for (index, leaves) in trees.iter().enumerate() {
            plan.add(leaves.len(), |leaf| first + leaf, index);
            first += leaves.len();
        }
        plan
    }

    /// One without trees, for so many of them. Their leaves are among the first nodes, or behind the roots
    /// where the caller makes room for them.
    pub(super) const fn empty(shape: TreeShape, leaves: usize, trees: usize) -> Self {
        Self { shape, levels: Vec::new(), leaves, nodes: leaves + trees }
    }

    /// Adds the tree with this number over some leaves, whose nodes `leaf` tells.
    pub(super) fn add(&mut self, leaves: usize, leaf: impl Fn(usize) -> usize, tree: usize) {
        let (mut count, mut height) = (leaves, 0);
        // The nodes of a level are neighbours, but for the last, which may have risen from below.
        let (mut first, mut last) = (0, 0);
        while count > 1 {
            let node = |place: usize| match height {
                0 => leaf(place),
                _ if place + 1 == count => last,
                _ => first + place,
            };
            let rises = self.shape == TreeShape::Rfc6962 && !count.is_multiple_of(2);
            let hashed = if rises { count / 2 } else { count.div_ceil(2) };
            let parents = if count == 2 { self.leaves + tree } else { self.nodes };
            let pair = |parent: usize| {
                let left = 2 * parent;
                // One of Bitcoin's odd last nodes is its own sibling.
                let right = (left + 1).min(count - 1);
                [node(left), node(right), parents + parent].map(super::count_u32)
            };
            if self.levels.len() == height {
                self.levels.push(Vec::new());
            }
            self.levels[height].extend((0..hashed).map(pair));
            if count > 2 {
                self.nodes += hashed;
            }
            last = if rises { node(count - 1) } else { parents + hashed - 1 };
            (first, count, height) = (parents, count.div_ceil(2), height + 1);
        }
    }

    /// All pairs as words, and the bytes at which each level lies: aligned, so that a kernel can be
    /// bound to one level and take the number of pairs from the binding's size.
    pub(super) fn pairs(&self) -> (Vec<u32>, Vec<Range<usize>>) {
        let mut words: Vec<u32> = Vec::new();
        let mut ranges = Vec::new();
        for level in &self.levels {
            let start = size_of_val(&words[..]);
            words.extend(level.as_flattened());
            ranges.push(start..size_of_val(&words[..]));
            words.resize(words.len().next_multiple_of(BINDING_ALIGNMENT / size_of::<u32>()), 0);
        }
        (words, ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(shape: TreeShape, leaf_counts: &[usize]) -> Plan {
        let trees: Vec<_> = leaf_counts.iter().map(|&count| vec![Hash256::ZERO; count]).collect();
        Plan::new(shape, &trees.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn no_tree_needs_more_memory_than_the_limit_allows_for() {
        for shape in [TreeShape::Bitcoin, TreeShape::Rfc6962] {
            for count in 1..5000 {
                let nodes = plan(shape, &[count]).nodes;
                assert!(nodes * size_of::<Hash256>() <= count * NODE_BYTES_PER_LEAF, "{count}");
            }
        }
    }

    #[test]
    fn odd_nodes_are_their_own_siblings_in_bitcoin() {
        let plan = plan(TreeShape::Bitcoin, &[1, 3]);
        // Leaves 0 and 1..=3, roots 4 and 5, inner nodes 6 and 7.
        assert_eq!(plan.levels, [vec![[1, 2, 6], [3, 3, 7]], vec![[6, 7, 5]]]);
        assert_eq!(plan.nodes, 8);
    }

    #[test]
    fn odd_nodes_rise_in_rfc6962() {
        let plan = plan(TreeShape::Rfc6962, &[1, 7]);
        // Leaves 0 and 1..=7, roots 8 and 9, inner nodes 10 to 12, then 13 and 14. Leaf 7 rises once.
        let lowest = vec![[1, 2, 10], [3, 4, 11], [5, 6, 12]];
        assert_eq!(plan.levels, [lowest, vec![[10, 11, 13], [12, 7, 14]], vec![[13, 14, 9]]]);
        assert_eq!(plan.nodes, 15);
        // And one that rises through two levels.
        let plan = self::plan(TreeShape::Rfc6962, &[5]);
        assert_eq!(plan.levels, [vec![[0, 1, 6], [2, 3, 7]], vec![[6, 7, 8]], vec![[8, 4, 5]]]);
    }
}
