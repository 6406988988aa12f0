//! The ledger: blockmill's own proof-of-work chain of Ed25519-signed account transactions.
//!
//! It is being built. What is here so far: its parameters with genesis and chain id ([`Params`]),
//! accounts, the encodings of transactions ([`Transaction`]) and what is signed, blocks as bytes
//! ([`Block`]), the difficulty ([`asert`]), the head and the records of dumps ([`DumpHead`],
//! [`put_record`]), and synthetic dumps (`generate`, feature `mine`). State, the reading of dumps and
//! the rules that join all of this are still to come.

mod account;
pub mod asert;
mod block;
mod dump;
#[cfg(feature = "mine")]
pub mod generate;
mod params;
mod transaction;

pub use crate::signature::SIGNATURE_LEN;
pub use account::{Account, ParseAccountError};
pub use block::{Block, MalformedBlock};
pub use dump::{DUMP_MAGIC, DumpHead, HeadError, RECORD_BLOCK_LEN_MAX, put_record};
pub(crate) use params::future_max_of;
pub use params::{InvalidParams, Params, RULES_VERSION};
pub use transaction::{MEMO_LEN_MAX, PAYLOAD_LEN_MAX, Signature, TAG_LEN_MAX, Transaction};
