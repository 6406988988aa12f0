//! From ids to nodes.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::primitives::Hash256;

use super::node::Node;

/// The nodes by their ids, which live in the nodes alone.
///
/// It learns of nodes when somebody asks, all new ones at once: a chain in order never asks, and of
/// many look-ups in a row the processor waits for several at a time.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The first nodes, as many as it has entries.
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// The node with this id, among all of them.
    #[inline]
    pub(super) fn find(&mut self, nodes: &Vec<Node>, id: &Hash256) -> Option<u32> {
        self.catch_up(nodes);
        self.find_indexed(nodes, id)
    }

    /// The same without learning of those that are new.
    pub(super) fn find_in(&self, nodes: &[Node], id: &Hash256) -> Option<u32> {
        let first = self.table.len();
        let new = || nodes.iter().enumerate().skip(first);
        let found = self.find_indexed(nodes, id);
        let of_new = || new().find(|(_, node)| node.id == *id).map(|(number, _)| number);
        found.or_else(|| of_new().and_then(|number| u32::try_from(number).ok()))
    }

    #[inline]
    fn find_indexed(&self, nodes: &[Node], id: &Hash256) -> Option<u32> {
        let same = |&node: &u32| nodes[node as usize].id == *id;
        self.table.find(hash(&self.hasher, id), same).copied()
    }

    /// Takes the nodes that are new.
    #[inline]
    fn catch_up(&mut self, nodes: &Vec<Node>) {
        let (table, hasher) = (&mut self.table, &self.hasher);
        let rehash = |&node: &u32| hash(hasher, &nodes[node as usize].id);
        if table.capacity() < nodes.len() {
            table.reserve(nodes.capacity() - table.len(), rehash);
        }
        let first = table.len();
        // Not `skip` on numbers and nodes together, which would count through all of them.
        for (number, node) in nodes.iter().enumerate().skip(first) {
            let number = u32::try_from(number).expect("the tree numbers its nodes so");
            table.insert_unique(hash(hasher, &node.id), number, rehash);
        }
    }
}

/// Salted, so that nobody can prepare ids that share a bucket.
fn hash(hasher: &RandomState, id: &Hash256) -> u64 {
    hasher.hash_one(id.low_u64())
}
