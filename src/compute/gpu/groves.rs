//! Messages and the trees over their digests, in one submission: one upload, `messages.wgsl`, then
//! `merkle.wgsl` level by level, and one read-back.

use std::ops::Range;

use crate::compute::{DeviceError, Noise, TreeShape};
use crate::primitives::{Grove, Hash256, HashFunction, Leaf};

use super::link::{Fetch, Link, Sink, Source, Submitted, Upload, part};
use super::merkle::{MerkleKernel, Plan};
use super::messages::{Input, InputBuffers, MessageKernel, Parts};
use super::slot::Slot;

/// Which hash is which: all messages, in an order in which those that are trees of their own come last,
/// so that their digests lie beside the roots of the other trees and come back with them.
pub(super) struct Layout {
    /// The place of each message's digest among the nodes, grove after grove.
    digests: Vec<usize>,
    /// How many of them come before what comes back.
    digests_before: usize,
    /// The root of each tree.
    roots: Vec<Root>,
    /// The number of trees of two leaves or more.
    trees: usize,
    /// The hashes that are leaves of these as they are, tree after tree.
    given: Vec<Hash256>,
}

/// Where a root is.
enum Root {
    Node(usize),
    /// It is the only leaf of its tree.
    Given(Hash256),
}

impl Layout {
    fn new(groves: &[&Grove<'_>]) -> Self {
        let messages = groves.iter().map(|grove| grove.message_count()).sum();
        let mut is_root = vec![false; messages];
        let trees = || {
            let mut first = 0;
            groves.iter().flat_map(move |grove| {
                let begin = first;
                first += grove.message_count();
                grove.trees().map(move |leaves| (begin, leaves))
            })
        };
        for (first, leaves) in trees() {
            if let [Leaf::Digest(message)] = leaves {
                is_root[first + *message as usize] = true;
            }
        }
        let digests_before = is_root.iter().filter(|is_root| !**is_root).count();
        let (mut inner, mut outer) = (0.., digests_before..);
        let place = |is_root: bool| if is_root { outer.next() } else { inner.next() };
        let digests = is_root.into_iter().map(place).map(|place| place.expect("endless"));
        let digests: Vec<usize> = digests.collect();
        let mut next = messages..;
        let roots = trees().map(|(first, leaves)| match leaves {
            [Leaf::Digest(message)] => Root::Node(digests[first + *message as usize]),
            [Leaf::Given(hash)] => Root::Given(*hash),
            _ => Root::Node(next.next().expect("endless")),
        });
        let roots: Vec<_> = roots.collect();
        let larger = trees().map(|(_, leaves)| leaves).filter(|leaves| leaves.len() > 1);
        let given = larger.flatten().filter_map(|leaf| match leaf {
            Leaf::Given(hash) => Some(*hash),
            Leaf::Digest(_) => None,
        });
        let given = given.collect();
        Self { digests, digests_before, roots, trees: next.start - messages, given }
    }

    /// The first node of those that are given: behind the roots.
    fn first_given(&self) -> usize {
        self.digests.len() + self.trees
    }

    /// The nodes that come back.
    fn fetched(&self) -> Range<usize> {
        self.digests_before..self.first_given()
    }

    /// The number of hashes that come back.
    pub(super) fn fetched_count(&self) -> usize {
        self.fetched().len()
    }

    /// Puts the root of each tree to its place.
    pub(super) fn place(&self, fetched: &[Hash256], roots: &mut [Hash256]) {
        for (place, root) in roots.iter_mut().zip(&self.roots) {
            *place = match root {
                Root::Node(node) => fetched[node - self.digests_before],
                Root::Given(hash) => *hash,
            };
        }
    }
}

/// The two kernels that groves take.
#[derive(Clone, Copy)]
pub(super) struct GroveKernels<'a> {
    pub(super) messages: &'a MessageKernel,
    pub(super) merkle: &'a MerkleKernel,
}

impl GroveKernels<'_> {
    /// `None` if no root has to be hashed.
    pub(super) fn start(
        self,
        link: &Link,
        slot: &mut Slot,
        (function, shape): (HashFunction, TreeShape),
        groves: &[&Grove<'_>],
        noise: &Noise,
    ) -> Result<(Option<Submitted>, Layout), DeviceError> {
        let layout = Layout::new(groves);
        let fetched = layout.fetched();
        if fetched.is_empty() {
            return Ok((None, layout));
        }
        let mut messages: Vec<Parts<'_>> = vec![&[]; layout.digests.len()];
        let each = groves.iter().flat_map(|grove| grove.messages());
        each.zip(&layout.digests).for_each(|(message, place)| messages[*place] = message);
        let plan = plan(shape, groves, &layout);
        let (pairs, levels) = plan.pairs();
        let pair_bytes: &[u8] = bytemuck::cast_slice(&pairs);
        let bytes = |hashes: usize| hashes * size_of::<Hash256>();

        let input = Input::new(function, &messages);
        let write = |which: Range<usize>, sink: &mut Sink<'_>| input.write(which, sink);
        let buffers = InputBuffers {
            function: link.reserve(&mut slot.function, size_of::<u32>())?,
            places: link.reserve(&mut slot.places, size_of_val(&input.places[..]))?,
            words: link.reserve(&mut slot.input, input.bytes)?,
        };
        let pairs_buffer = link.reserve(&mut slot.pairs, pair_bytes.len())?;
        let nodes = link.reserve(&mut slot.output, bytes(plan.nodes))?;
        let digests = part(nodes, 0, bytes(messages.len()));
        let hash_messages = self.messages.pass(link, &input, &buffers, digests);
        let all = (nodes, bytes(plan.nodes));
        let hash_levels = self.merkle.passes(link, (pairs_buffer, &levels), all);
        let passes: Vec<_> = std::iter::once(hash_messages).chain(hash_levels).collect();

        let node = |at: usize, source| Upload { buffer: nodes, offset: bytes(at) as u64, source };
        let mut uploads = Vec::from(input.uploads(&buffers, &write));
        // Noise is what a kernel that writes nothing would leave in place.
        uploads.push(node(fetched.start, Source::Noise(noise, bytes(fetched.len()))));
        if !layout.given.is_empty() {
            let given = Source::Bytes(bytemuck::cast_slice(&layout.given));
            uploads.push(node(layout.first_given(), given));
        }
        if !pair_bytes.is_empty() {
            let source = Source::Bytes(pair_bytes);
            uploads.push(Upload { buffer: pairs_buffer, offset: 0, source });
        }
        let offset = bytes(fetched.start) as u64;
        let fetch = Fetch { buffer: nodes, offset, bytes: bytes(fetched.len()) };
        let submitted = link.submit(&mut slot.staging, &uploads, &passes, &fetch)?;
        Ok((Some(submitted), layout))
    }
}

/// The levels of all trees of two leaves or more.
fn plan(shape: TreeShape, groves: &[&Grove<'_>], layout: &Layout) -> Plan {
    // Their roots lie behind the digests, and the hashes that are given behind them.
    let mut plan = Plan::empty(shape, layout.digests.len(), layout.trees);
    plan.nodes += layout.given.len();
    let (mut first, mut number) = (0, 0);
    let mut given = layout.first_given()..;
    let mut nodes = Vec::new();
    for grove in groves {
        for leaves in grove.trees().filter(|leaves| leaves.len() > 1) {
            nodes.clear();
            nodes.extend(leaves.iter().map(|leaf| match leaf {
                Leaf::Digest(message) => layout.digests[first + *message as usize],
                Leaf::Given(_) => given.next().expect("endless"),
            }));
            plan.add(nodes.len(), |leaf| nodes[leaf], number);
            number += 1;
        }
        first += grove.message_count();
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_over_the_digests_of_their_own_grove() {
        let (mut first, mut second) = (Grove::default(), Grove::default());
        first.push(&[b"a"]);
        first.push_tree([Leaf::Digest(0)].into_iter());
        for _ in 0..3 {
            second.push(&[b"b", b"c"]);
        }
        let hash = |number: u8| Hash256::from_bytes([number; 32]);
        second.push_tree([Leaf::Given(hash(6))].into_iter());
        second.push_tree([Leaf::Digest(0), Leaf::Digest(1), Leaf::Digest(2)].into_iter());
        second.push_tree([Leaf::Given(hash(7)), Leaf::Digest(2), Leaf::Given(hash(8))].into_iter());
        let groves = [&first, &second];
        let layout = Layout::new(&groves);
        // The digests of the second grove, then that of the first, which is a root; roots 4 and 5, given
        // hashes 6 and 7, inner nodes from 8 on.
        assert_eq!(layout.digests, [3, 0, 1, 2]);
        assert_eq!((layout.fetched(), layout.first_given()), (3..6, 6));
        assert_eq!(layout.given, [hash(7), hash(8)]);
        let of_bitcoin = plan(TreeShape::Bitcoin, &groves, &layout);
        let levels =
            [vec![[0, 1, 8], [2, 2, 9], [6, 2, 10], [7, 7, 11]], vec![[8, 9, 4], [10, 11, 5]]];
        assert_eq!(of_bitcoin.levels, levels);
        assert_eq!(of_bitcoin.nodes, 12);
        let of_rfc6962 = plan(TreeShape::Rfc6962, &groves, &layout);
        assert_eq!(of_rfc6962.levels, [vec![[0, 1, 8], [6, 2, 9]], vec![[8, 2, 4], [9, 7, 5]]]);

        let mut roots = [hash(9); 4];
        layout.place(&[hash(3), hash(4), hash(5)], &mut roots);
        assert_eq!(roots, [hash(3), hash(6), hash(4), hash(5)]);
    }
}
