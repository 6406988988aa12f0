//! Verdicts: which rule a block breaks, with the evidence, and where the block stands.
//!
//! A verdict is not a failure: what keeps blockmill from judging is a [`crate::Error`].

mod block_violation;
mod rejection;
mod rule;
mod violation;

pub use block_violation::{BlockViolation, ScriptStart};
pub use rejection::{Position, Rejection};
pub use rule::Rule;
pub use violation::Violation;
