//! Bitcoin in a chain file: headers alone, or whole blocks.

mod blocks;
mod body;
mod columns;
mod headers;
mod params;

pub(crate) use body::Packer;

pub use blocks::{BlockEvent, BlockStore, LoadedBlocks, StoredBlock};
pub(crate) use headers::NextHeaders;
pub use headers::{HeaderStore, LoadedHeaders};
pub use params::params_of_head;
