//! Comparing backends: the same work for each, answers compared before anything is timed.

mod measure;
mod suites;

pub use measure::{Measurement, Pace, measure};
pub use suites::{Case, Difference, Suite, header_chain};
