//! The ledger: blockmill's own proof-of-work chain of Ed25519-signed account transactions.
//!
//! - [`Params`]: what a ledger starts from; genesis and chain id follow from them.
//! - [`Transaction`] and [`Block`]: the encodings, and what is signed. [`Account`]: who signs.
//! - [`HeaderRules`], [`BodyRules`] and [`State`]: the rules, in the order in which they are judged:
//!   headers with the difficulty of [`asert`], then what a body's own bytes say, then what depends on
//!   the blocks before. [`Effects`]: what the state needs to know of a body.
//! - [`pending`]: the file in which signed transactions wait for a miner.
//! - [`DumpHead`] and [`put_record`]: the file in which a ledger is handed on. `generate` (feature `mine`)
//!   writes synthetic ones.

mod account;
pub mod asert;
mod block;
mod body_rules;
mod chain;
mod compact;
mod dump;
mod effects;
#[cfg(feature = "mine")]
pub mod generate;
mod header_rules;
mod params;
pub mod pending;
mod state;
mod transaction;

pub use crate::chain::file::AnyStorage;
pub use crate::signature::SIGNATURE_LEN;
pub use account::{Account, ParseAccountError};
pub use block::Block;
pub use body_rules::BodyRules;
pub use chain::{Event, LedgerStore, LoadedLedger, StoredBlock, params_of_head};
pub(crate) use dump::RecordHead;
pub use dump::{DUMP_MAGIC, DumpHead, HeadError, RECORD_BLOCK_LEN_MAX, put_record};
pub use effects::Effects;
pub use header_rules::HeaderRules;
pub(crate) use params::future_max_of;
pub use params::{InvalidParams, Params, RULES_VERSION};
pub use state::{AccountState, State};
pub(crate) use transaction::MAGIC;
pub use transaction::{MEMO_LEN_MAX, PAYLOAD_LEN_MAX, Signature, TAG_LEN_MAX, Transaction};
