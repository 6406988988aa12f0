//! From files to headers: which files there are, what they hold, and how they are framed.
//!
//! `files -> decompress -> recognise -> frame -> Batch`. Nothing here judges a header; whatever is
//! no header is reported with its place, and the rest goes on.

mod compression;
mod file_table;
mod hex_lines;
mod inputs;
mod kind;
mod progress;
mod reader;

pub use file_table::{FileEntry, FileTable, Skipped, Torn};
pub use inputs::{Input, Inputs};
pub use kind::Kind;
pub use progress::Progress;
pub use reader::{Batch, HeaderReader};
