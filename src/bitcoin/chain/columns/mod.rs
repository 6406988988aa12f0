//! The transactions of a block, field by field: what is alike stands together, what follows from the rest is
//! left out, and only what may shrink goes through zstd. Most of a block is digests, keys and signatures, which
//! never shrink: all that can be saved there is what surrounds them, and the time to find out.
//!
//! Numbers marked *v* are of varying size (see [`crate::wire`]), *z* the same with a sign.
//!
//! # Columns
//!
//! A field stands in one of these columns; a number is that of the column.
//!
//! | column | holds |
//! |---|---|
//! | 0 shapes | a byte for each transaction |
//! | 1 counts | v |
//! | 2 sources | v for each input |
//! | 3 indices | v |
//! | 4 sequences | a byte for each input |
//! | 5 kinds | a byte for each output script |
//! | 6 items | a byte for each input script, witness, and item of either |
//! | 7 lengths | v |
//! | 8 values | v |
//! | 9 ids | 32 bytes each |
//! | 10 hashes | 20 or 32 bytes each |
//! | 11 keys | 32 or 64 bytes each |
//! | 12 other | bytes of other scripts and items |
//! | 13 signatures | 64 bytes each |
//!
//! In *rows*, all columns are one: every field follows the one before it. The first byte says which it is:
//!
//! | first byte | what follows |
//! |---|---|
//! | 0 columns | each column: v its length, v that of the zstd frame it stands in or 0 if it is as it is, bytes |
//! | 1 rows | the rows |
//! | 2 packed rows | v their length, a zstd frame with them |
//!
//! # Fields
//!
//! First the number of transactions (v, counts). Then for each transaction:
//!
//! | field | column | |
//! |---|---|---|
//! | shape | shapes | bits 0 and 1: version, 0 for another one. Bit 2: there is a lock time. Bit 3: there are witnesses. Bits 4 and 5: number of inputs, 0 for another one. Bits 6 and 7: the same of outputs |
//! | version | counts | z, if another one |
//! | inputs, outputs | counts | v, each if another one |
//! | lock time | counts | z, if there is one: difference to the last that there was |
//! | each input | | |
//! | each output | | |
//! | each input's witness | | if there are witnesses |
//!
//! | field of an input | column | |
//! |---|---|---|
//! | source | sources | v: 0 spends nothing (id zero, index 2^32 - 1); 1 an id; 2 the id of the input before, 3 and more: the transaction so many places less 2 before this one |
//! | id | ids | if the source is 1 |
//! | index | indices | v, unless the source is 0 |
//! | sequence | sequences | 0 another one, 1 `ffffffff`, 2 `fffffffe`, 3 `fffffffd`, 4 zero |
//! | sequence | other | 4 bytes, if another one |
//! | script | items | 255 another one, else so many items that it pushes in the shortest way |
//! | script | lengths, other | v, bytes; if another one |
//! | items | | |
//!
//! | field of an output | column | |
//! |---|---|---|
//! | value | values | v: zero, or 1 + 10 *m* + *e*, of *m* 10^*e*; *e* at most 9 and as large as can be |
//! | script | kinds | see below |
//!
//! | kind of script | bytes | column |
//! |---|---|---|
//! | 0 another | v, bytes | lengths, other |
//! | 1 `76 a9 14`, hash, `88 ac` | 20 | hashes |
//! | 2 `a9 14`, hash, `87` | 20 | hashes |
//! | 3 `00 14`, hash | 20 | hashes |
//! | 4 `00 20`, hash | 32 | hashes |
//! | 5 `51 20`, key | 32 | hashes |
//! | 6 `21 02`, 7 `21 03`, key, `ac` | 32 | keys |
//! | 8 `41 04`, key, `ac` | 64 | keys |
//!
//! A witness is a byte in items, 255 another number (v, counts) and else the number of its items; then they.
//!
//! | item | bytes | column |
//! |---|---|---|
//! | 0 another | v, bytes | lengths, other |
//! | 1 nothing | | |
//! | 2 `02`, 3 `03`, key | 32 | keys |
//! | 4 `04`, key | 64 | keys |
//! | 5 `00 14`, hash | 20 | hashes |
//! | 6 `00 20`, hash | 32 | hashes |
//! | 7 any 64 bytes | 64 | signatures |
//! | 8 to 11 a signature of two numbers in DER, then `01` | 64 | signatures |
//! | 12 to 15 the same, then another byte | 64, 1 | signatures, other |
//!
//! A signature in DER is `30`, length, `02`, length, number, `02`, length, number. Each number has 32 bytes, or 33
//! with a zero before them: 1 more in the item is a zero before the first, 2 more one before the second.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub(super) use decode::decode;
pub(super) use encode::Packer;

const COLUMN_COUNT: usize = 14;

/// The first byte: how the columns are arranged.
const COLUMNS: u8 = 0;
const ROWS: u8 = 1;
const PACKED_ROWS: u8 = 2;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Shapes,
    Counts,
    Sources,
    Indices,
    Sequences,
    Kinds,
    Items,
    Lengths,
    Values,
    Ids,
    Hashes,
    Keys,
    Other,
    Signatures,
}
use Column::{Hashes, Keys, Other, Signatures};

const IS_LOCKED: u8 = 1 << 2;
const HAS_WITNESS: u8 = 1 << 3;

/// The sources of inputs that are no transaction of the same block.
const NOTHING: u64 = 0;
const BY_ID: u64 = 1;
const AS_BEFORE: u64 = 2;

const SEQUENCES: [u32; 4] = [u32::MAX, u32::MAX - 1, u32::MAX - 2, 0];

/// An input script or a witness that is not a short list of items.
const NO_LIST: u8 = 255;

/// What an output script has before its hash or key, and after it, and how long that is.
const SCRIPTS: [(&[u8], usize, &[u8], Column); 8] = [
    (&[0x76, 0xa9, 20], 20, &[0x88, 0xac], Hashes),
    (&[0xa9, 20], 20, &[0x87], Hashes),
    (&[0, 20], 20, &[], Hashes),
    (&[0, 32], 32, &[], Hashes),
    (&[0x51, 32], 32, &[], Hashes),
    (&[33, 2], 32, &[0xac], Keys),
    (&[33, 3], 32, &[0xac], Keys),
    (&[65, 4], 64, &[0xac], Keys),
];

/// The same of items, but for signatures in DER.
const ITEMS: [(&[u8], usize, Column); 7] = [
    (&[], 0, Other),
    (&[2], 32, Keys),
    (&[3], 32, Keys),
    (&[4], 64, Keys),
    (&[0, 20], 20, Hashes),
    (&[0, 32], 32, Hashes),
    (&[], 64, Signatures),
];

/// The item code of the first signature in DER.
const DER: u8 = 8;

/// The hash type of nearly all signatures.
const SIGHASH_ALL: u8 = 1;

/// Values that are written.
const VALUE_MAX: u64 = 21_000_000 * 100_000_000;
