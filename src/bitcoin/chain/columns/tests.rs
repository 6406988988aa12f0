//! Columns that nobody makes who means well. What comes back from those that are sound is tested with whole blocks.

use zstd::bulk::Decompressor;

use crate::primitives::Hash256;

use super::encode::Earlier;
use super::{PACKED_ROWS, ROWS, decode};

/// A count of one, and a transaction of version 1 with one input that spends nothing and one output.
const SOUND: [u8; 8] = [1, 0x51, 0, 1, 0, 0, 0, 0];

/// How long it is: a count, version, input, output, lock time.
const LEN: usize = 1 + 4 + 1 + 41 + 1 + 9 + 4;

fn unpack(bytes: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let mut out = vec![7; 80];
    let mut zstd = Decompressor::new().map_err(|error| error.to_string())?;
    decode(bytes, len, &mut zstd, &mut out)?;
    assert_eq!(out[..80], [7; 80], "only appended to");
    Ok(out.split_off(80))
}

fn rows(rows: &[u8], len: usize) -> Result<Vec<u8>, String> {
    unpack(&[&[ROWS], rows].concat(), len)
}

/// The sound rows with others from a place on.
fn with(at: usize, behind: &[u8]) -> Result<Vec<u8>, String> {
    rows(&[&SOUND[..at], behind].concat(), LEN)
}

#[test]
fn rows_are_what_the_specification_says() {
    let found = rows(&SOUND, LEN).expect("a transaction");
    assert_eq!((found.len(), &found[..6]), (LEN, &[1, 1, 0, 0, 0, 1][..]));
    assert_eq!(
        (&found[6..38], &found[38..47]),
        (&[0; 32][..], &[255, 255, 255, 255, 0, 255, 255, 255, 255][..])
    );
    assert_eq!(found[47..], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // 3 * 10^2 satoshi to a hash, a lock time.
    let more = [&[0x55, 6, 0, 1, 0, 33, 2][..], &[9; 20]].concat();
    let found = rows(&[&[1], &more[..]].concat(), LEN + 23).expect("a transaction");
    assert_eq!(found[48..56], 300u64.to_le_bytes());
    assert_eq!((&found[56..59], &found[79..]), (&[23, 0xa9, 20][..], &[0x87, 3, 0, 0, 0][..]));
}

#[test]
fn what_no_column_may_say_is_refused() {
    let refused = |found: Result<Vec<u8>, String>, why: &str| {
        let error = found.expect_err(why);
        assert!(error.contains(why), "{error}, not {why}");
    };
    refused(with(2, &[2, 0, 1, 0, 0, 0, 0]), "no input before");
    refused(with(2, &[3, 0, 1, 0, 0, 0, 0]), "no transaction before");
    refused(with(3, &[5, 0, 0, 0, 0]), "a sequence");
    refused(with(6, &[9]), "a kind of script");
    for code in [16, 255] {
        refused(with(4, &[[1, code].as_slice(), &[0; 80]].concat()), "a kind of item");
    }
    let id = [[1].as_slice(), &[0; 32], &[0xff, 0xff, 0xff, 0xff, 0x10, 1, 0, 0, 0, 0]].concat();
    refused(with(2, &id), "an index");
    refused(with(1, &[0x50, 0x80, 0x80, 0x80, 0x80, 0x20]), "a version");
    refused(with(1, &[0x55, 1, 0, 1, 0, 0, 0, 0]), "a lock time");
    let value = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0];
    refused(with(5, &value), "a value");
    refused(with(8, &[0]), "follow");
    refused(rows(&SOUND, LEN + 1), "fewer bytes");
    refused(rows(&SOUND, LEN - 1), "more bytes");
    refused(unpack(&[3], LEN), "arrangement");
    refused(unpack(&[], LEN), "too early");
}

/// Counts and lengths that nobody has the bytes for end at once, and nobody makes room for them.
#[test]
fn lies_about_counts_and_lengths_end_at_once() {
    let many = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let lies = [
        many.to_vec(),
        [&[1, 0x41][..], &many, &[0; 4000]].concat(),
        [&[1, 0x11][..], &many, &[0; 4000]].concat(),
        [&SOUND[..7], &many].concat(),
        [&[1, 0x59, 0, 1, 0, 0, 0, 0, 255][..], &many, &[1; 4000]].concat(),
    ];
    for lie in lies {
        assert!(rows(&lie, LEN).is_err());
    }
    let packed = zstd::bulk::compress(&SOUND, 3).expect("memory");
    let with_len = |len: &[u8]| unpack(&[&[PACKED_ROWS], len, &packed].concat(), LEN);
    assert!(with_len(&[8]).is_ok());
    for len in [&[7][..], &[9], &[0], &many] {
        assert!(with_len(len).is_err(), "{len:?}");
    }
}

/// Ids can be made that begin alike.
#[test]
fn a_transaction_is_found_by_its_whole_id() {
    let id = |last: u8| {
        let mut id = [7; 32];
        id[31] = last;
        id
    };
    let ids = [id(0), id(1), [9; 32]].map(Hash256::from_bytes);
    let mut earlier = Earlier::new(&ids);
    assert_eq!(earlier.find(&id(0)), None);
    earlier.add(0);
    assert_eq!((earlier.find(&id(0)), earlier.find(&id(1))), (Some(0), None));
    earlier.add(1);
    earlier.add(2);
    assert_eq!((earlier.find(&id(0)), earlier.find(&id(1))), (None, Some(1)));
    assert_eq!(earlier.find(&[9; 32]), Some(2));
}
