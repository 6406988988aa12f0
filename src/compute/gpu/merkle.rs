//! The host side of `merkle.wgsl`: which nodes make which, level by level.

use wgpu::BufferUsages;

use crate::compute::DeviceError;
use crate::primitives::{Hash256, Trees};

use super::kernels::{HASH_GROUP, Kernels};
use super::link::{Download, Grown, Link, Pass, Upload, part};

/// The largest alignment that an adapter may ask of a binding's offset.
const BINDING_ALIGNMENT: usize = 256;

/// The most inner nodes per leaf, times eight: nine leaves have 5 + 3 + 2 + 1, no tree has more.
const INNER_NODES_PER_8_LEAVES: usize = 10;

/// The bytes of device memory that each leaf of a batch can need in one buffer: itself, the inner
/// nodes above it, and a root.
pub(super) const NODE_BYTES_PER_LEAF: usize =
    size_of::<Hash256>() * (8 + INNER_NODES_PER_8_LEAVES + 8) / 8;

/// The indices of two nodes and of their parent, as `merkle.wgsl` has them.
type Pair = [u32; 3];

/// The kernel that hashes a level of Merkle trees, and its buffers.
pub(super) struct MerkleKernel {
    pipeline: wgpu::ComputePipeline,
    pairs: Grown,
    nodes: Grown,
}

impl MerkleKernel {
    pub(super) fn new(link: &Link, kernels: Kernels) -> Result<Self, DeviceError> {
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        Ok(Self {
            pipeline: link.pipeline("merkle", &kernels.merkle())?,
            pairs: Grown::new("pairs", storage),
            nodes: Grown::new("nodes", storage | BufferUsages::COPY_SRC),
        })
    }

    pub(super) fn run(
        &mut self,
        link: &mut Link,
        trees: &Trees,
        roots: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        let plan = Plan::new(trees);
        if !plan.levels.is_empty() {
            self.run_levels(link, &plan, trees, roots)?;
        }
        // The root of a single leaf is the leaf; nothing is hashed.
        for (leaves, root) in trees.iter().zip(roots) {
            if let [leaf] = leaves {
                *root = *leaf;
            }
        }
        Ok(())
    }

    fn run_levels(
        &mut self,
        link: &mut Link,
        plan: &Plan,
        trees: &Trees,
        roots: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        let leaves: Vec<Hash256> = trees.iter().flatten().copied().collect();
        let noise = roots.to_vec();
        let (pairs, ranges) = plan.pairs();
        let pair_bytes: &[u8] = bytemuck::cast_slice(&pairs);
        let node_bytes = plan.nodes * size_of::<Hash256>();
        let pairs_buffer = link.reserve(&mut self.pairs, pair_bytes.len())?;
        let nodes_buffer = link.reserve(&mut self.nodes, node_bytes)?;

        let pass = |range: &std::ops::Range<usize>| {
            let pairs = part(pairs_buffer, range.start, range.len());
            let nodes = part(nodes_buffer, 0, node_bytes);
            let count = super::count_u32(range.len() / size_of::<Pair>());
            Pass {
                pipeline: &self.pipeline,
                bindings: link.bind(&self.pipeline, [pairs, nodes]),
                groups: [count.div_ceil(HASH_GROUP), 1],
            }
        };
        let passes: Vec<_> = ranges.iter().map(pass).collect();
        let roots_at = size_of_val(&leaves[..]) as u64;
        let uploads = [
            Upload { buffer: nodes_buffer, offset: 0, bytes: bytemuck::cast_slice(&leaves) },
            Upload { buffer: nodes_buffer, offset: roots_at, bytes: bytemuck::cast_slice(&noise) },
            Upload { buffer: pairs_buffer, offset: 0, bytes: pair_bytes },
        ];
        let bytes = bytemuck::cast_slice_mut(roots);
        link.run(&uploads, &passes, Download { buffer: nodes_buffer, offset: roots_at, bytes })
    }
}

/// Which nodes each level hashes. Nodes lie in one array: all leaves, then all roots, then the
/// other inner nodes.
struct Plan {
    /// From the leaves up; level `k` of every tree is hashed in one dispatch.
    levels: Vec<Vec<Pair>>,
    /// The number of nodes.
    nodes: usize,
}

impl Plan {
    fn new(trees: &Trees) -> Self {
        let roots_at = trees.leaf_count();
        let mut plan = Self { levels: Vec::new(), nodes: roots_at + trees.len() };
        let mut leaf = 0;
        for (index, leaves) in trees.iter().enumerate() {
            plan.add(leaf, leaves.len(), roots_at + index);
            leaf += leaves.len();
        }
        plan
    }

    /// Adds the tree over `count` leaves from node `first` on.
    fn add(&mut self, mut first: usize, mut count: usize, root: usize) {
        let mut level = 0;
        while count > 1 {
            let parents = count.div_ceil(2);
            let target = if parents == 1 { root } else { self.nodes };
            if parents > 1 {
                self.nodes += parents;
            }
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].extend((0..parents).map(|parent| {
                let left = first + 2 * parent;
                // An odd last node is its own sibling.
                let right = (left + 1).min(first + count - 1);
                [left, right, target + parent].map(super::count_u32)
            }));
            (first, count, level) = (target, parents, level + 1);
        }
    }

    /// All pairs as words, and the bytes at which each level lies: aligned, so that a kernel can be
    /// bound to one level and take the number of pairs from the binding's size.
    fn pairs(&self) -> (Vec<u32>, Vec<std::ops::Range<usize>>) {
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

    #[test]
    fn no_tree_needs_more_memory_than_the_limit_allows_for() {
        for count in 1..5000 {
            let mut trees = Trees::new();
            trees.push(&vec![Hash256::ZERO; count]);
            let plan = Plan::new(&trees);
            assert!(plan.nodes * size_of::<Hash256>() <= count * NODE_BYTES_PER_LEAF, "{count}");
        }
    }

    #[test]
    fn odd_nodes_are_their_own_siblings() {
        let mut trees = Trees::new();
        trees.push(&[Hash256::ZERO; 1]);
        trees.push(&[Hash256::ZERO; 3]);
        let plan = Plan::new(&trees);
        // Leaves 0 and 1..=3, roots 4 and 5, inner nodes 6 and 7.
        assert_eq!(plan.levels, [vec![[1, 2, 6], [3, 3, 7]], vec![[6, 7, 5]]]);
        assert_eq!(plan.nodes, 8);
    }
}
