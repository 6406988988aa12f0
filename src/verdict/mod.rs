//! Verdicts: which rule a block breaks, with the evidence, and where the block stands.
//!
//! A verdict is not a failure: what keeps blockmill from judging is a [`crate::Error`].

mod rejection;
mod rule;
mod violation;

pub use rejection::{Position, Rejection};
pub use rule::Rule;
pub use violation::Violation;
