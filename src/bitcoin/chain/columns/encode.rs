//! From transactions to columns.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use zstd::bulk::Compressor;

use crate::bitcoin::{Block, Input, Transaction};
use crate::primitives::Hash256;
use crate::wire::{Reader, put_varint, put_zigzag};

use super::Column::{
    Counts, Ids, Indices, Items, Kinds, Lengths, Other, Sequences, Shapes, Signatures, Sources,
    Values,
};
use super::decode::put_together;
use super::{
    AS_BEFORE, BY_ID, COLUMN_COUNT, COLUMNS, Column, DER, HAS_WITNESS, IS_LOCKED, ITEMS, NO_LIST,
    NOTHING, PACKED_ROWS, ROWS, SCRIPTS, SEQUENCES, SIGHASH_ALL, VALUE_MAX,
};

/// Fields of transactions, sorted into columns.
#[derive(Default)]
struct Columns {
    bytes: [Vec<u8>; COLUMN_COUNT],
    in_rows: bool,
}

/// The transactions of a block that came so far, by their ids.
pub(super) struct Earlier<'b> {
    ids: &'b [Hash256],
    /// The number of each, by the first eight bytes of its id: of those that share them, the last.
    numbers: HashMap<u64, usize, RandomState>,
}

impl<'b> Earlier<'b> {
    pub(super) fn new(ids: &'b [Hash256]) -> Self {
        let numbers = HashMap::with_capacity_and_hasher(ids.len(), RandomState::default());
        Self { ids, numbers }
    }

    /// Adds the transaction `number`.
    pub(super) fn add(&mut self, number: usize) {
        self.numbers.insert(first_word(self.ids[number].as_bytes()), number);
    }

    /// The number of the transaction that has this id, if there is one.
    pub(super) fn find(&self, id: &[u8; 32]) -> Option<usize> {
        let number = *self.numbers.get(&first_word(id))?;
        (self.ids[number].as_bytes() == id).then_some(number)
    }
}

fn first_word(id: &[u8; 32]) -> u64 {
    u64::from_le_bytes(*id.first_chunk().expect("eight of 32 bytes"))
}

impl Columns {
    /// Puts the transactions of a block, which have these ids, in place of what was there; `None` if one of them
    /// is unusual.
    fn fill(&mut self, block: &Block<'_>, ids: &[Hash256], in_rows: bool) -> Option<()> {
        self.bytes.iter_mut().for_each(Vec::clear);
        self.in_rows = in_rows;
        let transactions = block.transactions();
        put_varint(self.at(Counts), transactions.len() as u64);
        let mut earlier = Earlier::new(ids);
        let (mut lock_time, mut items) = (0, Vec::new());
        for (number, transaction) in transactions.iter().enumerate() {
            self.put_transaction(number, transaction, &earlier, &mut lock_time, &mut items)?;
            earlier.add(number);
        }
        Some(())
    }

    fn at(&mut self, column: Column) -> &mut Vec<u8> {
        &mut self.bytes[if self.in_rows { 0 } else { column as usize }]
    }

    fn put(&mut self, column: Column, bytes: &[u8]) {
        self.at(column).extend_from_slice(bytes);
    }

    /// `items` is memory for the items of a script.
    fn put_transaction<'b>(
        &mut self,
        number: usize,
        transaction: &Transaction<'b>,
        earlier: &Earlier<'_>,
        last_lock_time: &mut u32,
        items: &mut Vec<&'b [u8]>,
    ) -> Option<()> {
        let version = i32::from_le_bytes(*transaction.bytes().first_chunk()?);
        let (inputs, outputs) = (transaction.inputs(), transaction.outputs());
        let small =
            |count: usize| u8::try_from(count).ok().filter(|&count| count <= 3).unwrap_or(0);
        let few = u8::try_from(version).ok().filter(|&version| version <= 3).unwrap_or(0);
        let (ins, outs) = (small(inputs.len()), small(outputs.len()));
        let lock_time = transaction.lock_time();
        let mut shape = few | ins << 4 | outs << 6;
        shape |= if lock_time == 0 { 0 } else { IS_LOCKED };
        shape |= if transaction.has_witness() { HAS_WITNESS } else { 0 };
        self.at(Shapes).push(shape);
        if few == 0 {
            put_zigzag(self.at(Counts), version.into());
        }
        for (small, count) in [(ins, inputs.len()), (outs, outputs.len())] {
            if small == 0 {
                put_varint(self.at(Counts), count as u64);
            }
        }
        if lock_time != 0 {
            put_zigzag(self.at(Counts), i64::from(lock_time) - i64::from(*last_lock_time));
            *last_lock_time = lock_time;
        }
        let mut before = None;
        for input in inputs {
            self.put_input(number, &input, before, earlier, items);
            before = input.prevout.first_chunk::<32>();
        }
        for output in outputs {
            self.put_value(u64::try_from(output.value).ok()?)?;
            self.put_script(output.script);
        }
        transaction.each_witness(|witness| self.put_list(witness));
        Some(())
    }

    fn put_input<'b>(
        &mut self,
        number: usize,
        input: &Input<'b>,
        before: Option<&[u8; 32]>,
        earlier: &Earlier<'_>,
        items: &mut Vec<&'b [u8]>,
    ) {
        let (id, index) = input.prevout.split_at(32);
        let id: &[u8; 32] = id.first_chunk().expect("32 bytes");
        let source = if input.is_null() {
            NOTHING
        } else if before == Some(id) {
            AS_BEFORE
        } else if let Some(place) = earlier.find(id) {
            AS_BEFORE + (number - place) as u64
        } else {
            BY_ID
        };
        put_varint(self.at(Sources), source);
        if source == BY_ID {
            self.put(Ids, id);
        }
        if source != NOTHING {
            let index = u32::from_le_bytes(*index.first_chunk().expect("4 bytes"));
            put_varint(self.at(Indices), index.into());
        }
        let code = SEQUENCES.iter().position(|&sequence| sequence == input.sequence);
        let code = code.and_then(|code| u8::try_from(code + 1).ok()).unwrap_or(0);
        self.at(Sequences).push(code);
        if code == 0 {
            self.put(Other, &input.sequence.to_le_bytes());
        }
        if find_pushes(input.script, items).is_some() {
            self.put_list(items);
        } else {
            self.at(Items).push(NO_LIST);
            self.put_other(input.script);
        }
    }

    fn put_value(&mut self, value: u64) -> Option<()> {
        let (mut mantissa, mut exponent) = (value, 0);
        if value > VALUE_MAX {
            return None;
        }
        while mantissa != 0 && mantissa.is_multiple_of(10) && exponent < 9 {
            mantissa /= 10;
            exponent += 1;
        }
        let coded = if value == 0 { 0 } else { 1 + 10 * mantissa + exponent };
        put_varint(self.at(Values), coded);
        Some(())
    }

    fn put_script(&mut self, script: &[u8]) {
        for (code, (head, len, tail, column)) in (1..).zip(SCRIPTS) {
            if script.len() == head.len() + len + tail.len()
                && script.starts_with(head)
                && script.ends_with(tail)
            {
                self.at(Kinds).push(code);
                return self.put(column, &script[head.len()..][..len]);
            }
        }
        self.at(Kinds).push(0);
        self.put_other(script);
    }

    fn put_other(&mut self, bytes: &[u8]) {
        put_varint(self.at(Lengths), bytes.len() as u64);
        self.put(Other, bytes);
    }

    fn put_list(&mut self, items: &[&[u8]]) {
        let count = u8::try_from(items.len()).unwrap_or(NO_LIST);
        self.at(Items).push(count);
        if count == NO_LIST {
            put_varint(self.at(Counts), items.len() as u64);
        }
        items.iter().for_each(|item| self.put_item(item));
    }

    fn put_item(&mut self, item: &[u8]) {
        if let Some((zeros, first, second, kind)) = split_der(item) {
            let is_rare = kind != SIGHASH_ALL;
            self.at(Items).push(DER + zeros + if is_rare { 4 } else { 0 });
            self.put(Signatures, first);
            self.put(Signatures, second);
            if is_rare {
                self.at(Other).push(kind);
            }
            return;
        }
        for (code, (head, len, column)) in (1..).zip(ITEMS) {
            if item.len() == head.len() + len && item.starts_with(head) {
                self.at(Items).push(code);
                return self.put(column, &item[head.len()..]);
            }
        }
        self.at(Items).push(0);
        self.put_other(item);
    }
}

/// Finds what a script pushes, if it does nothing else, each in the shortest way that has a length.
fn find_pushes<'b>(script: &'b [u8], items: &mut Vec<&'b [u8]>) -> Option<()> {
    items.clear();
    let mut reader = Reader::new(script);
    while reader.remaining() > 0 {
        let len = match reader.u8().ok()? {
            len @ 0..=75 => usize::from(len),
            76 => Some(reader.u8().ok()?.into()).filter(|&len| len > 75)?,
            77 => Some(u16::from_le_bytes(reader.array().ok()?).into()).filter(|&len| len > 255)?,
            _ => return None,
        };
        items.push(reader.take(len).ok()?);
    }
    (items.len() < NO_LIST.into()).then_some(())
}

/// The parts of a signature in DER: which of its numbers have a zero before them (bit 0: the first, bit 1: the
/// second), the numbers, and the hash type.
fn split_der(item: &[u8]) -> Option<(u8, &[u8], &[u8], u8)> {
    let (&hash_type, der) = item.split_last()?;
    if !(70..=72).contains(&der.len()) || der[0] != 0x30 || usize::from(der[1]) + 2 != der.len() {
        return None;
    }
    let number = |at: usize| {
        let len = usize::from(*der.get(at + 1)?);
        let is_usual = der[at] == 2 && (len == 32 || len == 33 && *der.get(at + 2)? == 0);
        let end = at + 2 + len;
        is_usual.then(|| der.get(end - 32..end)).flatten().map(|number| (number, end, len == 33))
    };
    let (first, end, first_has_zero) = number(2)?;
    let (second, end, second_has_zero) = number(end)?;
    let zeros = u8::from(first_has_zero) | u8::from(second_has_zero) << 1;
    (end == der.len()).then_some((zeros, first, second, hash_type))
}

/// How hard zstd tries: its own default.
const LEVEL: i32 = 3;

/// Below so many bytes of transactions, columns are too short to be worth their lengths.
const ROWS_BELOW: usize = 2048;

/// Columns of fewer bytes stay as they are.
const PACKED_FROM: usize = 48;

/// And rows: without many transactions hardly anything in them comes twice.
const ROWS_PACKED_FROM: usize = 256;

/// Packs transactions, one block after the other: what that needs is made once.
pub(in super::super) struct Packer {
    columns: Columns,
    zstd: Zstd,
    restored: Vec<u8>,
}

impl Packer {
    pub(in super::super) fn new() -> Self {
        let zstd = Compressor::new(LEVEL).expect("a level that zstd has");
        Self { columns: Columns::default(), zstd: Zstd(zstd), restored: Vec::new() }
    }

    /// The columns of a block's transactions, which have these ids; `None` if one of them is unusual.
    pub(in super::super) fn columns(
        &mut self,
        block: &Block<'_>,
        ids: &[Hash256],
    ) -> Option<Vec<u8>> {
        let Self { columns, zstd, .. } = self;
        let in_rows = block.encoded_len() < ROWS_BELOW;
        columns.fill(block, ids, in_rows)?;
        if in_rows {
            let [rows, ..] = &columns.bytes;
            return Some(match zstd.packed(rows, ROWS_PACKED_FROM) {
                Some(packed) => {
                    let mut out = vec![PACKED_ROWS];
                    put_varint(&mut out, rows.len() as u64);
                    [out, packed].concat()
                }
                None => [&[ROWS][..], rows].concat(),
            });
        }
        let mut out = Vec::with_capacity(block.encoded_len());
        out.push(COLUMNS);
        for (index, bytes) in columns.bytes.iter().enumerate() {
            put_varint(&mut out, bytes.len() as u64);
            // Signatures never shrink.
            let packed =
                if index == Signatures as usize { None } else { zstd.packed(bytes, PACKED_FROM) };
            put_varint(&mut out, packed.as_ref().map_or(0, |packed| packed.len() as u64));
            out.extend_from_slice(packed.as_ref().unwrap_or(bytes));
        }
        Some(out)
    }

    /// Whether the columns that were made last lead back to `transactions`, which have these ids: by themselves, as
    /// zstd is trusted with what it packs, and whoever computed the ids with these. They always do, and nothing is
    /// lost to a mistake in them if they do not.
    pub(in super::super) fn lead_back(&mut self, ids: &[Hash256], transactions: &[u8]) -> bool {
        let columns = &self.columns.bytes[..if self.columns.in_rows { 1 } else { COLUMN_COUNT }];
        let columns = columns.iter().map(|bytes| Reader::new(bytes)).collect();
        self.restored.clear();
        let restored = put_together(columns, transactions.len(), Some(ids), &mut self.restored);
        debug_assert_eq!(restored, Ok(()));
        debug_assert!(self.restored == transactions);
        restored.is_ok() && self.restored == transactions
    }

    /// The memory that it keeps for the next block, but for that of zstd.
    pub(in super::super) fn bytes(&self) -> usize {
        self.restored.capacity() + self.columns.bytes.iter().map(Vec::capacity).sum::<usize>()
    }

    /// A zstd frame, however long it is.
    pub(in super::super) fn plain(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.zstd.frame(bytes)
    }
}

struct Zstd(Compressor<'static>);

impl Zstd {
    /// The bytes as zstd packs them, if there are at least `from` and that makes them shorter.
    fn packed(&mut self, bytes: &[u8], from: usize) -> Option<Vec<u8>> {
        if bytes.len() < from {
            return None;
        }
        Some(self.frame(bytes)).filter(|packed| packed.len() + 4 < bytes.len())
    }

    fn frame(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.compress(bytes).expect("memory takes any block")
    }
}
