//! Comparing backends: the same work for each, answers compared before anything is timed.
//!
//! A [`Suite`] is a kind of work and a [`Case`] one batch of it, the same in every process. A
//! [`Contestant`] is a backend with its threads. [`Append`] is about the disk, and has its own two
//! contestants.

mod append;
mod ceiling;
mod measure;
mod signatures;
mod suites;
mod synthetic_blocks;
mod validate;

pub use append::{Append, AppendFault};
pub use ceiling::search_ceiling;
pub use measure::{Measurement, Pace, TimedWork, measure, measure_in_turn};
pub use signatures::{Keys, Signatures};
pub use suites::{Case, Contestant, Difference, Suite, header_chain};
pub use synthetic_blocks::SyntheticChain;
pub use validate::Validated;
