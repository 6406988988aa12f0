//! The texts of the kernels: constants from Rust, the shared SHA-256, a body from `shaders/`.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::compute::reference::{IV, K};
use crate::compute::tree_shape::TreeShape;
use crate::primitives::Hash256;

use super::emit;

const SHA256: &str = include_str!("../../../shaders/sha256.wgsl");
const COMPRESS: &str = include_str!("../../../shaders/compress.wgsl");
const HEADERS: &str = include_str!("../../../shaders/headers.wgsl");
const MERKLE: &str = include_str!("../../../shaders/merkle.wgsl");
const MERKLE_BITCOIN: &str = include_str!("../../../shaders/merkle_bitcoin.wgsl");
const MERKLE_RFC6962: &str = include_str!("../../../shaders/merkle_rfc6962.wgsl");
const MESSAGES: &str = include_str!("../../../shaders/messages.wgsl");

/// Threads of a workgroup that hashes batches: small, so that a few thousand hashes reach every
/// multiprocessor of a large card.
pub(super) const HASH_GROUP: u32 = 64;

/// Which form of the kernels a device runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Unrolled and specialised by a generator: what production uses.
    #[default]
    Generated,
    /// The same, but that the search adds with multiply-and-add instructions.
    MultiplyAdd,
    /// Written by hand to be read: slow, the specification of the generated form.
    Readable,
}

impl Kernels {
    /// The kernel that hashes headers.
    pub(super) fn headers(self) -> String {
        [&self.prelude(HASH_GROUP), HEADERS].concat()
    }

    /// The kernel that hashes one level of Merkle trees.
    pub(super) fn merkle(self, shape: TreeShape) -> String {
        let parent_of = match shape {
            TreeShape::Bitcoin => MERKLE_BITCOIN,
            TreeShape::Rfc6962 => MERKLE_RFC6962,
        };
        [&self.prelude(HASH_GROUP), MERKLE, parent_of].concat()
    }

    /// The kernel that hashes messages.
    pub(super) fn messages(self) -> String {
        [&self.prelude(HASH_GROUP), MESSAGES].concat()
    }

    /// A digest of the texts of all kernels, which changes when one of them does.
    #[must_use]
    pub fn digest(self) -> Hash256 {
        let mut texts = self.headers() + &self.messages();
        for shape in [TreeShape::Bitcoin, TreeShape::Rfc6962] {
            texts += &self.merkle(shape);
        }
        #[cfg(feature = "mine")]
        {
            texts += &super::search::text(self);
        }
        Hash256::from_bytes(Sha256::digest(texts).into())
    }

    /// What every kernel begins with: its constants and SHA-256.
    pub(super) fn prelude(self, group: u32) -> String {
        let mut text = constant("GROUP", group);
        text += &constant_array("IV", &IV);
        match self {
            Self::Generated | Self::MultiplyAdd => text += &emit::compress(),
            Self::Readable => {
                text += &constant_array("K", &K);
                text += COMPRESS;
            }
        }
        text + SHA256
    }
}

/// A WGSL constant.
pub(super) fn constant(name: &str, value: u32) -> String {
    format!("const {name}: u32 = {value}u;\n")
}

fn constant_array(name: &str, values: &[u32]) -> String {
    let mut text = format!("const {name} = array<u32, {}>(", values.len());
    for value in values {
        write!(text, "{value:#x}u, ").expect("strings take all text");
    }
    text + ");\n"
}
