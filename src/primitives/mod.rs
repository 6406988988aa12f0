//! The values every stage shares: hashes, headers, difficulty and work.
//!
//! Nothing here knows a network, a file or a device.

mod grove;
mod hash;
mod header;
mod merkle;
mod messages;
pub mod rfc6962;
mod target;
mod work;

pub use grove::{Collected, Grove, GroveSink, Groves, Leaf};
pub use hash::{Hash256, ParseHashError, sha256d};
pub use header::Header;
pub use merkle::{Trees, first_equal_siblings, merkle_root};
pub use messages::{HashFunction, Messages};
pub use target::{CompactTarget, InvalidBits, Target};
pub use work::Work;
