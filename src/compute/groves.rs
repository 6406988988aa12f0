//! Groves in two steps: all digests, then all roots.

use crate::primitives::{Grove, Hash256, HashFunction, Leaf, Messages, Trees};

use super::{Backend, TreeShape, cpu};

/// [`Backend::hash_groves`] by the other functions of a backend.
pub(super) fn in_two_steps<B: Backend + ?Sized>(
    backend: &B,
    function: HashFunction,
    shape: TreeShape,
    groves: &[Grove<'_>],
    roots: &mut [Hash256],
) {
    let mut digests = vec![Hash256::ZERO; groves.iter().map(Grove::message_count).sum()];
    hash_messages(backend, function, groves, &mut digests);
    let mut trees = Trees::with_capacity(groves.iter().map(Grove::leaf_count).sum());
    let mut rest = &digests[..];
    for grove in groves {
        for leaves in grove.trees() {
            trees.extend_leaves(leaves.iter().map(|leaf| hash_of(*leaf, rest)));
            trees.close(leaves.len());
        }
        rest = &rest[grove.message_count()..];
    }
    match shape {
        TreeShape::Bitcoin => backend.merkle_roots(&trees, roots),
        TreeShape::Rfc6962 => backend.rfc6962_roots(&trees, roots),
    }
}

/// The digests of all messages, a stretch of them at a time, so that their copies stay small.
fn hash_messages<B: Backend + ?Sized>(
    backend: &B,
    function: HashFunction,
    groves: &[Grove<'_>],
    mut digests: &mut [Hash256],
) {
    let bytes_at_once = backend.message_bytes_at_once();
    let mut messages = Messages::new();
    let mut hash = |messages: &mut Messages| {
        let (these, rest) = std::mem::take(&mut digests).split_at_mut(messages.len());
        backend.hash_messages(function, messages, these);
        messages.clear();
        digests = rest;
    };
    for parts in groves.iter().flat_map(Grove::messages) {
        messages.push(parts);
        if messages.bytes().len() >= bytes_at_once {
            hash(&mut messages);
        }
    }
    hash(&mut messages);
}

/// The hash that a leaf stands for, by the digests of its grove.
fn hash_of(leaf: Leaf, digests: &[Hash256]) -> Hash256 {
    match leaf {
        Leaf::Digest(message) => digests[message as usize],
        Leaf::Zero => Hash256::ZERO,
    }
}

/// The roots of one grove, which the host computes.
pub(super) fn roots(
    function: HashFunction,
    shape: TreeShape,
    grove: &Grove<'_>,
) -> impl Iterator<Item = Hash256> {
    let digests = grove.messages().map(|parts| cpu::hash_message(function, &parts.concat()));
    let digests: Vec<_> = digests.collect();
    grove.trees().map(move |leaves| {
        let leaves: Vec<_> = leaves.iter().map(|leaf| hash_of(*leaf, &digests)).collect();
        shape.root(&leaves)
    })
}
