//! Mining: the search for nonces above the backends.

mod grind;

pub use grind::{Grind, Ground};
