//! Where hashing happens: one trait, several backends, one answer.
//!
//! - [`Backend`] is what the pipeline sees: batch-sized calls that always succeed and are right.
//! - [`Reference`] is the definition of right, [`Cpu`] the fast path on every core.
//! - A [`Device`] is hardware that may lie or fail. Only [`Guarded`] talks to one: it plants
//!   known answers, checks what comes back, and lets the CPU redo what cannot be trusted.
//! - What is hashed of blocks, transactions and the trees over them, is one job:
//!   [`Backend::hash_groves`]. A device gives the roots alone.
//! - [`sha256`] hashes in bulk with the instructions that the processor has, for [`Cpu`].
//! - [`select`] alone turns a wish into a backend.

mod backend;
mod cpu;
pub mod crossover;
mod device;
#[cfg(feature = "gpu")]
pub mod gpu;
mod groves;
mod guard;
mod guarded_digests;
#[cfg(feature = "mine")]
mod guarded_search;
mod levels;
mod reference;
#[cfg(feature = "mine")]
mod search;
pub mod select;
mod selftest;
pub mod sha256;
mod tree_shape;

pub use backend::{Backend, Tally};
pub use cpu::Cpu;
pub use device::{
    Device, DeviceError, DeviceInfo, DeviceTimes, DeviceType, DispatchLimits, HASHES_AT_ONCE,
    Noise, Work,
};
#[cfg(feature = "mine")]
pub use device::{
    HIT_LIST_CAPACITY, Hits, SEARCH_GROUP, SEARCHES_AT_ONCE, SearchDispatch, SearchResult,
};
pub use guard::{CrossCheck, Guarded, Tested};
pub use reference::Reference;
#[cfg(feature = "mine")]
pub use search::SearchJob;
#[cfg(all(test, feature = "mine"))]
pub(crate) use selftest::published_header;
pub use selftest::{SelfTestFailure, self_test};
pub use tree_shape::TreeShape;
