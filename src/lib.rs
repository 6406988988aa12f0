//! blockmill
pub mod compute;
pub mod primitives;
