//! The parameters of a ledger, from which its genesis block and its chain id follow.
//!
//! People write them as TOML, of integers and strings only; unknown keys are errors. An amount may be
//! an integer or a decimal string, because TOML's integers end at 2^63 - 1.
//!
//! ```toml
//! format = 1
//! name = "example"
//! time = 1767225600              # of genesis, seconds since 1970-01-01
//! salt = "00…00"                 # 64 hex digits, so that no two ledgers share a chain id
//! target_spacing_s = 600
//! half_life_s = 172800           # of the difficulty, see `asert`
//! pow_limit = "207fffff"         # the easiest target, in compact form
//! subsidy = 5000000000           # new coins in a block, halved every
//! halving_blocks = 210000
//! future_max_s = 7200            # how far a block may lie after the clock; may be left out
//! block_bytes_max = 4000000      # the size of a block, header included
//!
//! [[allocation]]                 # balances before the first block
//! account = "bm1…"
//! amount = "1000000"
//! ```
//!
//! # Encoding
//!
//! Numbers marked *v* are of varying size (see [`crate::wire`]), the others little-endian.
//!
//! | field | bytes |
//! |---|---|
//! | format | v; 1 |
//! | name | v length (1 to 64), UTF-8 without control characters |
//! | time | 4 |
//! | salt | 32 |
//! | target_spacing_s, half_life_s | v, v |
//! | pow_limit | 4; compact form as in a header |
//! | subsidy, halving_blocks, future_max_s, block_bytes_max | v, v, v, v |
//! | allocations | v count, then for each: account (33), amount (v); accounts strictly ascending |
//!
//! # Genesis
//!
//! Version 1, parent zero, Merkle root the RFC 6962 leaf hash of the encoding (SHA-256 of a zero byte
//! and the encoding), time and salt as above, bits the limit, nonce 0. Its id is the chain id. It has
//! no transactions, and is exempt from proof of work and from the reward rule.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::primitives::{CompactTarget, Hash256, Header, Target, rfc6962};
use crate::wire::{Fault, Malformed, Reader, put_prefixed, put_varint};

use super::Account;

/// The only format of parameters so far.
const FORMAT: u64 = 1;

/// The version of the rules, and of every header.
pub const RULES_VERSION: i32 = 1;

const NAME_LEN_MAX: usize = 64;

/// The largest `future_max_s`; a larger tolerance makes the difficulty cheap to game.
const FUTURE_MAX_S: u64 = 7200;

/// Limits of `block_bytes_max`: room for a reward and a record, and what a batch can hold.
const BLOCK_BYTES_MIN: u64 = 8 << 10;
const BLOCK_BYTES_MAX: u64 = 32 << 20;

/// The longest encoding: what dumps and chain files have room for in their heads.
const ENCODED_LEN_MAX: usize = 32 << 20;

/// The parameters of a ledger. Every value has passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    name: String,
    time: u32,
    salt: [u8; 32],
    target_spacing_s: u64,
    half_life_s: u64,
    pow_limit: CompactTarget,
    subsidy: u64,
    halving_blocks: u64,
    future_max_s: u64,
    block_bytes_max: u64,
    allocations: BTreeMap<Account, u64>,
}

/// Parameters that make no ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParams {
    /// The text is not such a TOML file.
    #[error("{0}")]
    Toml(String),
    /// The bytes are no encoding of parameters.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A value is out of range.
    #[error("{field}: {why}")]
    Value {
        /// The key.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The TOML file as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u64,
    name: String,
    time: u32,
    salt: String,
    target_spacing_s: u64,
    half_life_s: u64,
    pow_limit: String,
    subsidy: Amount,
    halving_blocks: u64,
    future_max_s: Option<u64>,
    block_bytes_max: u64,
    #[serde(default)]
    allocation: Vec<Allocation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allocation {
    account: String,
    amount: Amount,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Integer(u64),
    Decimal(String),
}

impl Amount {
    fn value(&self, field: &'static str) -> Result<u64, InvalidParams> {
        match self {
            Self::Integer(value) => Ok(*value),
            Self::Decimal(text) => {
                let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
                let value = text.parse().ok().filter(|_| is_plain);
                value.ok_or(InvalidParams::Value { field, why: "not a decimal number below 2^64" })
            }
        }
    }
}

const fn invalid<T>(field: &'static str, why: &'static str) -> Result<T, InvalidParams> {
    Err(InvalidParams::Value { field, why })
}

impl Params {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// If it is no such file, or its values make no ledger.
    pub fn from_toml(text: &str) -> Result<Self, InvalidParams> {
        let file: File =
            toml::from_str(text).map_err(|error| InvalidParams::Toml(error.to_string()))?;
        if file.format != FORMAT {
            return invalid("format", "only 1 is known");
        }
        let mut salt = [0; 32];
        if hex::decode_to_slice(&file.salt, &mut salt).is_err() {
            return invalid("salt", "not 64 hex digits");
        }
        let mut bits = [0; 4];
        if hex::decode_to_slice(&file.pow_limit, &mut bits).is_err() {
            return invalid("pow_limit", "not 8 hex digits");
        }
        let mut allocations = BTreeMap::new();
        for allocation in &file.allocation {
            let account: Account = allocation
                .account
                .parse()
                .map_err(|error| InvalidParams::Toml(format!("allocation: {error}")))?;
            if allocations.insert(account, allocation.amount.value("allocation")?).is_some() {
                return invalid("allocation", "an account stands there twice");
            }
        }
        Self {
            name: file.name,
            time: file.time,
            salt,
            target_spacing_s: file.target_spacing_s,
            half_life_s: file.half_life_s,
            pow_limit: CompactTarget::from_bits(u32::from_be_bytes(bits)),
            subsidy: file.subsidy.value("subsidy")?,
            halving_blocks: file.halving_blocks,
            future_max_s: file.future_max_s.unwrap_or_else(|| future_max_of(file.half_life_s)),
            block_bytes_max: file.block_bytes_max,
            allocations,
        }
        .checked()
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// If the bytes are no encoding, or their values make no ledger.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidParams> {
        let mut reader = Reader::new(bytes);
        if reader.varint()? != FORMAT {
            return Err(Reader::fault_at(0, Fault::Unknown).into());
        }
        let name_at = reader.offset();
        let name = std::str::from_utf8(reader.prefixed(NAME_LEN_MAX)?)
            .map_err(|_| Reader::fault_at(name_at, Fault::NotAllowed("the name is no UTF-8")))?;
        let params = Self {
            name: name.into(),
            time: reader.u32()?,
            salt: reader.array()?,
            target_spacing_s: reader.varint()?,
            half_life_s: reader.varint()?,
            pow_limit: CompactTarget::from_bits(reader.u32()?),
            subsidy: reader.varint()?,
            halving_blocks: reader.varint()?,
            future_max_s: reader.varint()?,
            block_bytes_max: reader.varint()?,
            allocations: decode_allocations(&mut reader)?,
        };
        reader.finish()?;
        params.checked()
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, FORMAT);
        put_prefixed(&mut out, self.name.as_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.salt);
        put_varint(&mut out, self.target_spacing_s);
        put_varint(&mut out, self.half_life_s);
        out.extend_from_slice(&self.pow_limit.to_bits().to_le_bytes());
        put_varint(&mut out, self.subsidy);
        put_varint(&mut out, self.halving_blocks);
        put_varint(&mut out, self.future_max_s);
        put_varint(&mut out, self.block_bytes_max);
        put_varint(&mut out, self.allocations.len() as u64);
        for (account, amount) in &self.allocations {
            account.encode(&mut out);
            put_varint(&mut out, *amount);
        }
        out
    }

    /// The same parameters with these balances before the first block, and so another chain id.
    ///
    /// # Errors
    /// If one of them is zero, or all subsidies and allocations together do not fit 64 bits.
    pub fn with_allocations(
        self,
        allocations: BTreeMap<Account, u64>,
    ) -> Result<Self, InvalidParams> {
        Self { allocations, ..self }.checked()
    }

    fn checked(self) -> Result<Self, InvalidParams> {
        let name = &self.name;
        if name.is_empty() || name.len() > NAME_LEN_MAX || name.chars().any(char::is_control) {
            return invalid("name", "1 to 64 bytes of UTF-8 without control characters");
        }
        // Times are 32 bits, so nothing longer than all of them makes sense.
        if !(1..=u64::from(u32::MAX)).contains(&self.target_spacing_s) {
            return invalid("target_spacing_s", "at least 1 and below 2^32");
        }
        if !(1..=u64::from(u32::MAX)).contains(&self.half_life_s) {
            return invalid("half_life_s", "at least 1 and below 2^32");
        }
        let limit = self.pow_limit.decode();
        if limit.map(Target::to_compact) != Ok(self.pow_limit) {
            return invalid("pow_limit", "not the compact form of a target");
        }
        if self.halving_blocks == 0 {
            return invalid("halving_blocks", "at least 1");
        }
        if self.future_max_s > future_max_of(self.half_life_s) {
            return invalid("future_max_s", "at most 7200 and a 24th of the half-life");
        }
        if !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&self.block_bytes_max) {
            return invalid("block_bytes_max", "8 KiB to 32 MiB");
        }
        if self.allocations.values().any(|&amount| amount == 0) {
            return invalid("allocation", "an amount is zero");
        }
        if self.encode().len() > ENCODED_LEN_MAX {
            return invalid("allocation", "too many: all parameters together exceed 32 MiB");
        }
        if self.supply_max() > u128::from(u64::MAX) {
            return invalid("subsidy", "all subsidies and allocations together exceed 2^64 - 1");
        }
        Ok(self)
    }

    /// All allocations, and all subsidies there can ever be.
    fn supply_max(&self) -> u128 {
        let allocated: u128 = self.allocations.values().map(|&amount| u128::from(amount)).sum();
        let eras = (0..u64::BITS).map(|era| u128::from(self.subsidy >> era));
        eras.fold(allocated, |sum, subsidy| {
            sum.saturating_add(subsidy.saturating_mul(u128::from(self.halving_blocks)))
        })
    }

    /// The name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wanted distance between blocks, in seconds.
    #[must_use]
    pub const fn target_spacing_s(&self) -> u64 {
        self.target_spacing_s
    }

    /// The half-life of the difficulty, in seconds.
    #[must_use]
    pub const fn half_life_s(&self) -> u64 {
        self.half_life_s
    }

    /// The easiest target, in compact form.
    #[must_use]
    pub const fn pow_limit(&self) -> CompactTarget {
        self.pow_limit
    }

    /// The easiest target.
    ///
    /// # Panics
    /// Never: the parameters were checked.
    #[must_use]
    pub fn pow_limit_target(&self) -> Target {
        self.pow_limit.decode().expect("checked with the parameters")
    }

    /// How far a block may lie after the clock, in seconds.
    #[must_use]
    pub const fn future_max_s(&self) -> u64 {
        self.future_max_s
    }

    /// The largest block, header included, in bytes.
    #[must_use]
    pub const fn block_bytes_max(&self) -> u64 {
        self.block_bytes_max
    }

    /// The balances before the first block, by account in ascending order.
    pub fn allocations(&self) -> impl ExactSizeIterator<Item = (&Account, u64)> {
        self.allocations.iter().map(|(account, amount)| (account, *amount))
    }

    /// The new coins that the block at `height` may create.
    #[must_use]
    pub fn subsidy(&self, height: u64) -> u64 {
        let halvings = u32::try_from(height / self.halving_blocks).unwrap_or(u32::MAX);
        self.subsidy.checked_shr(halvings).unwrap_or(0)
    }

    /// The genesis header.
    #[must_use]
    pub fn genesis(&self) -> Header {
        let root = rfc6962::leaf_hash(&self.encode());
        Header::from_fields(RULES_VERSION, Hash256::ZERO, root, self.time, self.pow_limit, 0)
    }

    /// The chain id: the id of genesis.
    #[must_use]
    pub fn chain_id(&self) -> Hash256 {
        self.genesis().id()
    }
}

/// The largest and the default tolerance of a clock.
pub(crate) fn future_max_of(half_life_s: u64) -> u64 {
    FUTURE_MAX_S.min(half_life_s / 24)
}

fn decode_allocations(reader: &mut Reader<'_>) -> Result<BTreeMap<Account, u64>, Malformed> {
    let count = reader.count(Account::LEN + 1)?;
    let mut allocations = BTreeMap::new();
    for _ in 0..count {
        let at = reader.offset();
        let account = Account::decode(reader)?;
        if allocations.last_key_value().is_some_and(|(last, _)| *last >= account) {
            return Err(Reader::fault_at(at, Fault::NotAllowed("accounts are not ascending")));
        }
        allocations.insert(account, reader.varint()?);
    }
    Ok(allocations)
}
