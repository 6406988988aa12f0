//! From columns to transactions.

use std::borrow::Cow;

use zstd::bulk::Decompressor;

use crate::primitives::{Hash256, sha256d};
use crate::wire::{Fault, Malformed, Reader, put_compact_size};

use super::Column::{
    Counts, Ids, Indices, Items, Kinds, Lengths, Other, Sequences, Shapes, Signatures, Sources,
    Values,
};
use super::{
    AS_BEFORE, BY_ID, COLUMN_COUNT, COLUMNS, Column, DER, HAS_WITNESS, IS_LOCKED, ITEMS, NO_LIST,
    NOTHING, PACKED_ROWS, ROWS, SCRIPTS, SEQUENCES, SIGHASH_ALL,
};

/// Appends to `out` the transactions, which are `len` bytes, that stand in these columns.
///
/// # Errors
/// What is wrong with the columns.
pub(in super::super) fn decode(
    columns: &[u8],
    len: usize,
    zstd: &mut Decompressor<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let columns = unpack(columns, len, zstd)?;
    let columns = columns.iter().map(|bytes| Reader::new(bytes)).collect();
    put_together(columns, len, None, out)
}

/// Appends to `out` the transactions, which are `len` bytes, that stand in these columns, or in rows if it is one.
/// `ids` are those of the transactions, if the caller knows them: then those that are spent in the same block need
/// not be hashed. If they are others, so are the transactions.
///
/// # Errors
/// What is wrong with the columns.
pub(super) fn put_together(
    columns: Vec<Reader<'_>>,
    len: usize,
    ids: Option<&[Hash256]>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let end = out.len() + len;
    let mut decoder = Decoder { columns, out, end, transactions: Vec::new(), ids, lock_time: 0 };
    decoder.run().map_err(|malformed| malformed.to_string())
}

/// The bytes of each column, or of the rows.
fn unpack<'a>(
    bytes: &'a [u8],
    len: usize,
    zstd: &mut Decompressor<'_>,
) -> Result<Vec<Cow<'a, [u8]>>, String> {
    let text = |malformed: Malformed| malformed.to_string();
    let mut reader = Reader::new(bytes);
    // No field takes more than twice its bytes in the block.
    let mut room = 2 * len + 64;
    let mut unpacked = |bytes: &'a [u8], len: u64| -> Result<Cow<'a, [u8]>, String> {
        let len = usize::try_from(len).ok().filter(|&len| len <= room).ok_or("columns too long")?;
        room -= len;
        let found = zstd.decompress(bytes, len).map_err(|error| error.to_string())?;
        if found.len() == len {
            Ok(Cow::Owned(found))
        } else {
            Err("a column of another length".into())
        }
    };
    let mut columns = Vec::with_capacity(COLUMN_COUNT);
    match reader.u8().map_err(text)? {
        ROWS => columns.push(Cow::Borrowed(reader.take(reader.remaining()).map_err(text)?)),
        PACKED_ROWS => {
            let len = reader.varint().map_err(text)?;
            columns.push(unpacked(reader.take(reader.remaining()).map_err(text)?, len)?);
        }
        COLUMNS => {
            for _ in 0..COLUMN_COUNT {
                let (len, packed) =
                    (reader.varint().map_err(text)?, reader.varint().map_err(text)?);
                let stored = usize::try_from(if packed == 0 { len } else { packed });
                let bytes = reader.take(stored.unwrap_or(usize::MAX)).map_err(text)?;
                columns.push(if packed == 0 {
                    Cow::Borrowed(bytes)
                } else {
                    unpacked(bytes, len)?
                });
            }
        }
        _ => return Err("an unknown arrangement of transactions".into()),
    }
    reader.finish().map_err(text)?;
    Ok(columns)
}

struct Decoder<'a, 'o, 'i> {
    columns: Vec<Reader<'a>>,
    out: &'o mut Vec<u8>,
    /// How long `out` may become.
    end: usize,
    transactions: Vec<Place>,
    ids: Option<&'i [Hash256]>,
    lock_time: u32,
}

/// Where a transaction stands in what was decoded.
struct Place {
    start: usize,
    /// Behind marker and flag.
    inputs: usize,
    witnesses: usize,
    end: usize,
    id: Option<[u8; 32]>,
}

const fn fault(what: &'static str) -> Malformed {
    Reader::fault_at(0, Fault::NotAllowed(what))
}

impl<'a> Decoder<'a, '_, '_> {
    fn run(&mut self) -> Result<(), Malformed> {
        let count = self.at(Counts).varint()?;
        put_compact_size(self.out, count);
        for _ in 0..count {
            self.transaction()?;
        }
        for column in &self.columns {
            column.clone().finish()?;
        }
        if self.out.len() == self.end {
            Ok(())
        } else {
            Err(fault("fewer bytes than the length says"))
        }
    }

    fn at(&mut self, column: Column) -> &mut Reader<'a> {
        let index = if self.columns.len() == 1 { 0 } else { column as usize };
        &mut self.columns[index]
    }

    /// Stops whoever counts too far.
    fn fits(&self) -> Result<(), Malformed> {
        if self.out.len() <= self.end {
            Ok(())
        } else {
            Err(fault("more bytes than the length says"))
        }
    }

    fn transaction(&mut self) -> Result<(), Malformed> {
        let start = self.out.len();
        let shape = self.at(Shapes).u8()?;
        let version = match shape & 3 {
            0 => i32::try_from(self.at(Counts).zigzag()?).map_err(|_| fault("a version"))?,
            few => few.into(),
        };
        self.out.extend_from_slice(&version.to_le_bytes());
        let has_witness = shape & HAS_WITNESS != 0;
        if has_witness {
            self.out.extend_from_slice(&[0, 1]);
        }
        let inputs_at = self.out.len();
        let inputs = self.count(shape >> 4 & 3)?;
        let outputs = self.count(shape >> 6)?;
        let mut lock_time = 0;
        if shape & IS_LOCKED != 0 {
            let last = i64::from(self.lock_time);
            let next = self.at(Counts).zigzag()?.checked_add(last);
            lock_time =
                next.and_then(|next| u32::try_from(next).ok()).ok_or(fault("a lock time"))?;
            self.lock_time = lock_time;
        }
        put_compact_size(self.out, inputs);
        let mut before = None;
        for _ in 0..inputs {
            self.input(&mut before)?;
            self.fits()?;
        }
        put_compact_size(self.out, outputs);
        for _ in 0..outputs {
            self.output()?;
            self.fits()?;
        }
        let witnesses = self.out.len();
        for _ in 0..if has_witness { inputs } else { 0 } {
            let items = match self.at(Items).u8()? {
                NO_LIST => self.at(Counts).varint()?,
                items => items.into(),
            };
            put_compact_size(self.out, items);
            for _ in 0..items {
                self.item(put_compact_size)?;
                self.fits()?;
            }
        }
        self.out.extend_from_slice(&lock_time.to_le_bytes());
        self.fits()?;
        let end = self.out.len();
        self.transactions.push(Place { start, inputs: inputs_at, witnesses, end, id: None });
        Ok(())
    }

    fn count(&mut self, small: u8) -> Result<u64, Malformed> {
        if small == 0 { self.at(Counts).varint() } else { Ok(small.into()) }
    }

    fn input(&mut self, before: &mut Option<[u8; 32]>) -> Result<(), Malformed> {
        let source = self.at(Sources).varint()?;
        let id = match source {
            NOTHING => [0; 32],
            BY_ID => self.at(Ids).array()?,
            AS_BEFORE => before.ok_or(fault("no input before"))?,
            further => self.id_of(further - AS_BEFORE)?,
        };
        *before = Some(id);
        self.out.extend_from_slice(&id);
        let index = match source {
            NOTHING => u32::MAX,
            _ => u32::try_from(self.at(Indices).varint()?).map_err(|_| fault("an index"))?,
        };
        self.out.extend_from_slice(&index.to_le_bytes());
        let code = self.at(Sequences).u8()?;
        let sequence = match code.checked_sub(1) {
            None => self.at(Other).u32()?,
            Some(code) => *SEQUENCES.get(usize::from(code)).ok_or(fault("a sequence"))?,
        };
        self.input_script()?;
        self.out.extend_from_slice(&sequence.to_le_bytes());
        Ok(())
    }

    /// The id of the transaction so many places before this one.
    fn id_of(&mut self, back: u64) -> Result<[u8; 32], Malformed> {
        let back = usize::try_from(back).ok();
        let number = back.and_then(|back| self.transactions.len().checked_sub(back));
        let place = number.and_then(|number| self.transactions.get_mut(number));
        let place = place.ok_or(fault("no transaction before"))?;
        if let Some(id) = place.id {
            return Ok(id);
        }
        let known = self.ids.zip(number).and_then(|(ids, number)| ids.get(number));
        if let Some(id) = known {
            return Ok(*id.as_bytes());
        }
        let out = &self.out;
        let lock_time = place.end - 4;
        let version = &out[place.start..][..4];
        let stripped = [version, &out[place.inputs..place.witnesses], &out[lock_time..place.end]];
        let id = *sha256d(&stripped.concat()).as_bytes();
        place.id = Some(id);
        Ok(id)
    }

    fn input_script(&mut self) -> Result<(), Malformed> {
        let items = self.at(Items).u8()?;
        if items == NO_LIST {
            return self.other(put_compact_size);
        }
        let start = self.out.len();
        self.out.push(0);
        for _ in 0..items {
            self.item(put_push)?;
            self.fits()?;
        }
        let len = self.out.len() - start - 1;
        if let Ok(short @ ..253) = u8::try_from(len) {
            self.out[start] = short;
            return Ok(());
        }
        let mut prefix = Vec::with_capacity(5);
        put_compact_size(&mut prefix, len as u64);
        self.out.splice(start..=start, prefix);
        Ok(())
    }

    fn output(&mut self) -> Result<(), Malformed> {
        let value = match self.at(Values).varint()?.checked_sub(1) {
            None => 0,
            Some(coded) => {
                let times_ten = |value: u64, _| value.checked_mul(10);
                let value = (0..coded % 10).try_fold(coded / 10, times_ten);
                value.ok_or(fault("a value"))?
            }
        };
        self.out.extend_from_slice(&value.to_le_bytes());
        let kind = self.at(Kinds).u8()?;
        let Some(kind) = kind.checked_sub(1) else { return self.other(put_compact_size) };
        let kind = SCRIPTS.get(usize::from(kind)).ok_or(fault("a kind of script"))?;
        let (head, len, tail, column) = *kind;
        put_compact_size(self.out, (head.len() + len + tail.len()) as u64);
        self.out.extend_from_slice(head);
        self.copy(column, len)?;
        self.out.extend_from_slice(tail);
        Ok(())
    }

    fn other(&mut self, prefix: fn(&mut Vec<u8>, u64)) -> Result<(), Malformed> {
        let len = self.at(Lengths).varint()?;
        prefix(self.out, len);
        self.copy(Other, usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn copy(&mut self, column: Column, len: usize) -> Result<(), Malformed> {
        let bytes = self.at(column).take(len)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn item(&mut self, prefix: fn(&mut Vec<u8>, u64)) -> Result<(), Malformed> {
        let code = self.at(Items).u8()?;
        if code == 0 {
            return self.other(prefix);
        }
        if let Some(der) = code.checked_sub(DER) {
            return self.signature(der, prefix);
        }
        let (head, len, column) = ITEMS[usize::from(code) - 1];
        prefix(self.out, (head.len() + len) as u64);
        self.out.extend_from_slice(head);
        self.copy(column, len)
    }

    fn signature(&mut self, code: u8, prefix: fn(&mut Vec<u8>, u64)) -> Result<(), Malformed> {
        if code >= 8 {
            return Err(fault("a kind of item"));
        }
        let (first, second) = (code & 1, code >> 1 & 1);
        let len = 4 + 64 + first + second;
        prefix(self.out, u64::from(len) + 3);
        self.out.extend_from_slice(&[0x30, len]);
        for zero in [first, second] {
            self.out.extend_from_slice(&[2, 32 + zero, 0][..2 + usize::from(zero)]);
            self.copy(Signatures, 32)?;
        }
        let hash_type = if code < 4 { SIGHASH_ALL } else { self.at(Other).u8()? };
        self.out.push(hash_type);
        Ok(())
    }
}

/// How a script begins to push so many bytes, in the shortest way that has a length.
fn put_push(out: &mut Vec<u8>, len: u64) {
    let bytes = len.to_le_bytes();
    match len {
        0..=75 => out.push(bytes[0]),
        76..=255 => out.extend_from_slice(&[76, bytes[0]]),
        _ => out.extend_from_slice(&[77, bytes[0], bytes[1]]),
    }
}
