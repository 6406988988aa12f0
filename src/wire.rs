//! Reading and writing bytes: a cursor that never runs past its end, and knows where it is.
//!
//! Integers whose size varies are LEB128: seven bits a byte, least significant first, the top bit set
//! on every byte but the last. There is one encoding for each number: the last byte of more than one
//! is not zero, and ten bytes are enough for 64 bits. Signed ones come as zigzag: 0, -1, 1, -2, ... are
//! 0, 1, 2, 3, ...

/// The largest of Bitcoin's numbers of varying size that counts or lengths may have.
/// (Bitcoin Core: `MAX_SIZE`.)
pub const COMPACT_SIZE_MAX: usize = 0x0200_0000;

/// Bytes that are no encoding of what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {fault}")]
pub struct Malformed {
    /// The offset of the first byte that is wrong, from the start of what was decoded.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It ends too early.
    #[error("the bytes end too early")]
    Truncated,
    /// It goes on after its end.
    #[error("bytes follow the end")]
    Trailing,
    /// A number is not in its shortest form, or does not fit 64 bits.
    #[error("a number is not in its shortest form")]
    NotMinimal,
    /// A count or a length is above its limit, or above what the remaining bytes can hold.
    #[error("a count or length is too large")]
    TooLarge,
    /// A kind or version that these rules do not know.
    #[error("an unknown kind or version")]
    Unknown,
    /// A value that is not allowed here.
    #[error("{0}")]
    NotAllowed(&'static str),
}

/// Bytes that are no encoding of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction {transaction:?}: {malformed}")]
pub struct MalformedBlock {
    /// The transaction at fault, counted from 0; `None` if it is the block around them.
    pub transaction: Option<u32>,
    /// What is wrong; the offset counts from the block's first byte.
    pub malformed: Malformed,
}

impl From<Malformed> for MalformedBlock {
    fn from(malformed: Malformed) -> Self {
        Self { transaction: None, malformed }
    }
}

/// A cursor over bytes.
///
/// What takes it by reference is inlined where much is read: a cursor whose place somebody knows lies in memory,
/// and to move it takes loads that wait for the stores before them.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes remain.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// A fault at `offset`.
    #[must_use]
    pub const fn fault_at(offset: usize, fault: Fault) -> Malformed {
        Malformed { offset, fault }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`] if there are fewer; the offset is where they end.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(Self::fault_at(self.bytes.len(), Fault::Truncated))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// As for [`Reader::take`].
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next byte.
    ///
    /// # Errors
    /// As for [`Reader::take`].
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// The next four bytes as a little-endian number.
    ///
    /// # Errors
    /// As for [`Reader::take`].
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A number of varying size.
    ///
    /// # Errors
    /// [`Fault::Truncated`], or [`Fault::NotMinimal`] at the number's first byte.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some(word) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk)
            && let Some((value, len)) = varint_of_word(u64::from_le_bytes(*word))
        {
            self.at += len;
            return Ok(value);
        }
        let (value, rest) = self.clone().varint_by_bytes()?;
        *self = rest;
        Ok(value)
    }

    /// Those near the end of the bytes, those of more than eight, and those that are at fault. By value: the
    /// cursor of whoever reads stays in registers.
    #[cold]
    fn varint_by_bytes(mut self) -> Result<(u64, Self), Malformed> {
        let start = self.at;
        let not_minimal = Self::fault_at(start, Fault::NotMinimal);
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let digit = u64::from(byte & 0x7f);
            if digit << shift >> shift != digit {
                return Err(not_minimal);
            }
            value |= digit << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(not_minimal) } else { Ok((value, self)) };
            }
        }
        Err(not_minimal)
    }

    /// One of Bitcoin's numbers of varying size: one byte up to 252, else 253, 254 or 255 and two, four
    /// or eight bytes, little-endian.  (Bitcoin Core: `ReadCompactSize`.)
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::NotMinimal`] if a shorter form would do, or [`Fault::TooLarge`]
    /// above [`COMPACT_SIZE_MAX`]; both at the number's first byte.
    #[inline(always)]
    pub fn compact_size(&mut self) -> Result<usize, Malformed> {
        if let Some(&first) = self.bytes.get(self.at)
            && first < 253
        {
            self.at += 1;
            return Ok(first.into());
        }
        let (value, rest) = self.clone().compact_size_by_bytes()?;
        *self = rest;
        Ok(value)
    }

    /// Those of more than one byte, and those that are at fault; by value as others.
    #[inline(never)]
    fn compact_size_by_bytes(mut self) -> Result<(usize, Self), Malformed> {
        let start = self.at;
        let (value, least) = match self.u8()? {
            253 => (u64::from(u16::from_le_bytes(self.array()?)), 253),
            254 => (u64::from(u32::from_le_bytes(self.array()?)), 1 << 16),
            _ => (u64::from_le_bytes(self.array()?), 1 << 32),
        };
        if value < least {
            return Err(Self::fault_at(start, Fault::NotMinimal));
        }
        let value = usize::try_from(value).ok().filter(|&value| value <= COMPACT_SIZE_MAX);
        value.map(|value| (value, self)).ok_or(Self::fault_at(start, Fault::TooLarge))
    }

    /// A signed number of varying size.
    ///
    /// # Errors
    /// As for [`Reader::varint`].
    pub fn zigzag(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// A count of items of at least `item_len_min` bytes each, checked against the bytes that remain
    /// before anybody makes room for them.
    ///
    /// # Errors
    /// As for [`Reader::varint`], and [`Fault::TooLarge`] at the count's first byte.
    pub fn count(&mut self, item_len_min: usize) -> Result<usize, Malformed> {
        let start = self.at;
        let count = self.varint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| {
                count.checked_mul(item_len_min).is_some_and(|needed| needed <= self.remaining())
            })
            .ok_or(Self::fault_at(start, Fault::TooLarge))
    }

    /// A length of at most `len_max`, and as many bytes.
    ///
    /// # Errors
    /// As for [`Reader::varint`] and [`Reader::take`], and [`Fault::TooLarge`] at the length's first
    /// byte.
    #[inline(always)]
    pub fn prefixed(&mut self, len_max: usize) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        let len = usize::try_from(self.varint()?).ok().filter(|&len| len <= len_max);
        let len = len.ok_or(Self::fault_at(start, Fault::TooLarge))?;
        self.take(len)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Fault::Trailing`] if bytes remain.
    #[inline]
    pub const fn finish(self) -> Result<(), Malformed> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        Err(Self::fault_at(self.at, Fault::Trailing))
    }
}

/// The number of varying size with which eight bytes begin, and its length, if they hold all of it and it
/// is in its shortest form.
#[inline(always)]
const fn varint_of_word(word: u64) -> Option<(u64, usize)> {
    let ends = !word & 0x8080_8080_8080_8080;
    if ends == 0 {
        return None;
    }
    let bits = ends.trailing_zeros() + 1;
    let digits = word & (u64::MAX >> (u64::BITS - bits)) & 0x7f7f_7f7f_7f7f_7f7f;
    if bits > 8 && digits >> (bits - 8) == 0 {
        return None;
    }
    // Digits move together, then pairs of them, then fours.
    let twos = digits & 0x007f_007f_007f_007f | (digits & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = twos & 0x0000_3fff_0000_3fff | (twos & 0x3fff_0000_3fff_0000) >> 2;
    let value = fours & 0x0fff_ffff | (fours & 0x0fff_ffff_0000_0000) >> 4;
    Some((value, bits as usize / 8))
}

/// Appends a number of varying size.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let digit = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(digit);
        }
        out.push(digit | 0x80);
    }
}

/// Appends one of Bitcoin's numbers of varying size.  (Bitcoin Core: `WriteCompactSize`.)
pub fn put_compact_size(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=252 => out.push(bytes[0]),
        253..=0xffff => {
            out.push(253);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(254);
            out.extend_from_slice(&bytes[..4]);
        }
        _ => {
            out.push(255);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends a signed number of varying size.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// The bytes that [`put_varint`] takes for a number.
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    // One for each seven bits, and one for zero.
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends a length and the bytes.
pub fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<u64, Malformed> {
        let mut reader = Reader::new(bytes);
        let value = reader.varint()?;
        reader.finish().map(|()| value)
    }

    #[test]
    fn numbers_have_one_encoding() {
        let fault = |offset, fault| Err(Reader::fault_at(offset, fault));
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[0x7f]), Ok(127));
        assert_eq!(read(&[0x80, 1]), Ok(128));
        assert_eq!(read(&[0x80, 0]), fault(0, Fault::NotMinimal));
        assert_eq!(read(&[0xff, 0]), fault(0, Fault::NotMinimal));
        assert_eq!(read(&[0x80]), fault(1, Fault::Truncated));
        assert_eq!(read(&[]), fault(0, Fault::Truncated));
        assert_eq!(read(&[0, 0]), fault(1, Fault::Trailing));
        let mut most = vec![0xff; 9];
        most.push(1);
        assert_eq!(read(&most), Ok(u64::MAX));
        most[9] = 2; // 65 bits
        assert_eq!(read(&most), fault(0, Fault::NotMinimal));
        most[9] = 0x81; // an eleventh byte
        most.push(0);
        assert_eq!(read(&most), fault(0, Fault::NotMinimal));
    }

    /// Eight bytes at a time give what byte by byte gives, whatever follows.
    #[test]
    fn words_hold_the_same_numbers() {
        let both = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            let found = reader.varint().map(|value| (value, reader.at));
            let slowly = Reader::new(bytes).varint_by_bytes();
            assert_eq!(found, slowly.map(|(value, rest)| (value, rest.at)), "{bytes:?}");
        };
        // Every length, with every pattern of zeros and ones in its digits, and anything behind it.
        for len in 1..=11 {
            for ones in 0..1 << len {
                for follows in [0, 0x7f, 0x80, 0xff] {
                    let digit = |at| if ones >> at & 1 == 1 { 0xff } else { 0x80 };
                    let mut bytes: Vec<u8> = (0..len).map(digit).collect();
                    bytes[len - 1] &= 0x7f;
                    both(&bytes);
                    bytes.extend([follows; 9]);
                    both(&bytes);
                }
            }
        }
        for shift in 0..64 {
            for value in [1 << shift, u64::MAX >> shift, 0x0123_4567_89ab_cdef >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                bytes.extend([0xff; 8]);
                assert_eq!(Reader::new(&bytes).varint(), Ok(value));
            }
        }
    }

    #[test]
    fn compact_sizes_have_one_encoding() {
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            let value = reader.compact_size()?;
            reader.finish().map(|()| value)
        };
        for value in [0, 1, 252, 253, 254, 255, 256, 0xffff, 0x1_0000, COMPACT_SIZE_MAX] {
            let mut bytes = Vec::new();
            put_compact_size(&mut bytes, value as u64);
            assert_eq!(read(&bytes), Ok(value));
            let length = if value < 253 {
                1
            } else if value < 0x1_0000 {
                3
            } else {
                5
            };
            assert_eq!(bytes.len(), length, "{value}");
            let cut = Err(Reader::fault_at(length - 1, Fault::Truncated));
            assert_eq!(read(&bytes[..length - 1]), cut, "{value}");
        }
        let fault = |fault| Err(Reader::fault_at(0, fault));
        assert_eq!(read(&[253, 252, 0]), fault(Fault::NotMinimal));
        assert_eq!(read(&[254, 0xff, 0xff, 0, 0]), fault(Fault::NotMinimal));
        assert_eq!(read(&[255, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), fault(Fault::NotMinimal));
        assert_eq!(read(&[254, 1, 0, 0, 2]), fault(Fault::TooLarge));
        let mut most = Vec::new();
        put_compact_size(&mut most, u64::MAX);
        assert_eq!(read(&most), fault(Fault::TooLarge));
    }

    #[test]
    fn signed_numbers_come_back_and_small_ones_are_short() {
        let encoded = |value| {
            let mut bytes = Vec::new();
            put_zigzag(&mut bytes, value);
            assert_eq!(Reader::new(&bytes).zigzag(), Ok(value));
            bytes
        };
        for (value, code) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (63, 126), (-64, 127)] {
            assert_eq!(encoded(value), [code]);
        }
        for value in [600, -600, 8191, -8192] {
            assert_eq!(encoded(value).len(), 2);
        }
        for value in [i64::MIN, i64::MAX, i64::from(u32::MAX)] {
            encoded(value);
        }
    }

    #[test]
    fn counts_are_held_against_the_bytes_that_remain() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 3);
        bytes.extend([0; 9]);
        assert_eq!(Reader::new(&bytes).count(3), Ok(3));
        assert_eq!(Reader::new(&bytes).count(4), Err(Reader::fault_at(0, Fault::TooLarge)));
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::MAX);
        for item_len_min in [1, 2, usize::MAX] {
            let too_large = Err(Reader::fault_at(0, Fault::TooLarge));
            assert_eq!(Reader::new(&bytes).count(item_len_min), too_large);
        }
    }

    #[test]
    fn lengths_are_limited() {
        let bytes = [3, 1, 2, 3];
        assert_eq!(Reader::new(&bytes).prefixed(3), Ok(&bytes[1..]));
        assert_eq!(Reader::new(&bytes).prefixed(2), Err(Reader::fault_at(0, Fault::TooLarge)));
        assert_eq!(
            Reader::new(&bytes[..3]).prefixed(3),
            Err(Reader::fault_at(3, Fault::Truncated))
        );
    }

    proptest! {
        #[test]
        fn numbers_come_back(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(read(&bytes), Ok(value));
        }

        /// Whatever decodes, encodes to the same bytes.
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(value) = read(&bytes) {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
