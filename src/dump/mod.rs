//! From files to headers and bodies: which files there are, what they hold, and how they are framed.
//!
//! `files -> decompress -> de-obfuscate -> recognise -> frame -> Batch`. Nothing here judges a header; whatever is
//! no header is reported with its place, and the rest goes on. Bodies are read again, at their places,
//! once all headers are known: see [`Bodies`]. Several threads frame a large file, each a segment of it, and find
//! what one finds: see `segments`.

mod block_head;
mod block_records;
mod bodies;
mod compression;
mod directory;
mod file_table;
mod files;
mod hex_lines;
mod inputs;
mod kind;
mod ledger_reader;
mod obfuscation;
mod progress;
mod reader;
mod records;
mod segments;
#[cfg(test)]
mod test_blocks;
mod window;

pub use bodies::{Bodies, BodyReader};
pub use file_table::{FileEntry, FileTable, PREALLOCATED, Skipped, Torn};
pub use inputs::{Input, Inputs};
pub use kind::Kind;
pub use ledger_reader::LedgerReader;
pub use progress::Progress;
pub use reader::{Batch, HeaderReader};
