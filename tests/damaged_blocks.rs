//! Damage to chain files of Bitcoin's blocks, by accident and on purpose: no panic, and no wrong body.

mod common;

use std::path::Path;

use blockmill::bitcoin::{Block, BlockEvent, LoadedBlocks};
use blockmill::chain::file::ChainFileError;
use blockmill::primitives::Header;

use common::chain_file::{Anatomy, FRAMES, PAGE, dissect, header_file, with_frame, with_payload};
use common::mined::{
    best_branch, block_file, block_of, extend, from_genesis, header_of, open, spends,
};

/// Few blocks of every kind, with a reorganisation.
fn small() -> (Vec<u8>, Vec<Vec<u8>>) {
    let first = from_genesis(5);
    let best = [first[..4].to_vec(), extend(&first[3], 3, 4, 7)].concat();
    (block_file(&[first, best.clone()]).bytes(), best)
}

/// The first byte of the frame at `place`, and the height before it.
fn frame_around(anatomy: &Anatomy, place: usize) -> (u64, u32) {
    let mut height = 0;
    let mut around = (0, 0);
    for (at, kind, payload) in &anatomy.frames {
        if *at <= place {
            around = (*at as u64, height);
        }
        height = if *kind == 3 { height - u32::from(payload[0]) } else { height + 1 };
    }
    around
}

#[test]
fn one_bit_anywhere_is_noticed() {
    let (bytes, best) = small();
    let anatomy = dissect(&bytes);
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        match open(&damaged) {
            // One slot of two may be lost.
            Ok(loaded) => {
                assert!((PAGE..FRAMES).contains(&place), "byte {place} is not noticed");
                assert!(loaded.store.file().opening().bad_slot.is_some());
                assert!(best_branch(&damaged) == best, "byte {place}");
            }
            Err(ChainFileError::Damaged { offset, height, .. }) if place >= FRAMES => {
                assert_eq!((offset, height), frame_around(&anatomy, place), "byte {place}");
            }
            Err(ChainFileError::Damaged { .. } | ChainFileError::NotAChainFile(_)) => {
                assert!(place < PAGE, "byte {place}");
            }
            Err(other) => panic!("byte {place}: {other}"),
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_damaged_there() {
    let (bytes, _) = small();
    let anatomy = dissect(&bytes);
    for cut in 0..bytes.len() {
        match open(&bytes[..cut]) {
            Err(ChainFileError::Damaged { offset, height, .. }) if cut >= FRAMES => {
                assert_eq!(offset, cut as u64);
                assert_eq!(height, frame_around(&anatomy, cut).1, "cut at {cut}");
            }
            Err(ChainFileError::Damaged { .. } | ChainFileError::NotAChainFile(_)) => {
                assert!(cut < FRAMES, "cut at {cut}");
            }
            Err(other) => panic!("cut at {cut}: {other}"),
            Ok(_) => panic!("a file cut at {cut} opens"),
        }
    }
}

/// What is left of a commit that may have come about is whole blocks.
#[test]
fn behind_the_last_slot_that_holds_only_whole_blocks_count() {
    let (bytes, best) = small();
    let [a, b] = dissect(&bytes).slots;
    let later = if a.sequence > b.sequence { PAGE } else { 2 * PAGE };
    let earlier_len = usize::try_from(a.len.min(b.len)).expect("a small file");
    let first = from_genesis(5);
    for cut in earlier_len..=bytes.len() {
        let mut cut = bytes[..cut].to_vec();
        cut[later..later + PAGE].fill(0);
        let branch = best_branch(&cut);
        assert!(first.starts_with(&branch) || best.starts_with(&branch), "{}", cut.len());
    }
}

/// Whoever writes the file can make checksums right. What comes back is the block of the committed id, or
/// nothing at all.
#[test]
fn a_payload_that_lies_gives_no_other_block() {
    let mut blocks = from_genesis(4);
    // One that stands in rows, and one in columns.
    for count in [3, 14] {
        let last = blocks.last().expect("a block");
        let height = u32::try_from(blocks.len()).expect("few");
        blocks.push(block_of(&header_of(last), height, 1, &spends(count, count)));
    }
    let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden-blocks-plain.bmchain");
    let plain = std::fs::read(plain).expect("a fixture");
    let files = [block_file(&[blocks[..6].to_vec()]).bytes(), block_file(&[blocks]).bytes(), plain];
    let mut opened = 0;
    for (file, first) in files.iter().zip([1, 0, 0x28]) {
        let best = best_branch(file);
        let frames = dissect(file).frames;
        let (at, _, payload) = frames.last().expect("a frame");
        let behind_nonce = payload.len() - nonce_and_behind(payload) + 4;
        let len =
            payload[behind_nonce..].iter().position(|byte| byte & 0x80 == 0).expect("a number");
        assert!([first, first + first % 2].contains(&payload[behind_nonce + len + 1]));
        let flipped = (0..payload.len()).map(|at| {
            let mut payload = payload.clone();
            payload[at] ^= [1, 0x80, 0xff, 4][at % 4];
            payload
        });
        let cuts = (0..payload.len()).map(|cut| payload[..cut].to_vec());
        let longer = [0, 1, 0xff].map(|byte| [&payload[..], &[byte]].concat());
        for payload in flipped.chain(cuts).chain(longer) {
            match open(&with_payload(file, frames.len() - 1, &payload)) {
                Err(ChainFileError::Damaged { offset, .. }) => assert!(offset >= *at as u64),
                Err(other) => panic!("{other}"),
                Ok(LoadedBlocks { mut store, tree }) => {
                    // Witnesses are outside of the id; `chain check` judges them.
                    let body = store.body(store.tip(), tree.block(store.tip())).expect("a body");
                    assert_eq!(stripped(&body), stripped(best.last().expect("a block")));
                    opened += 1;
                }
            }
        }
    }
    println!("{opened} opened: witnesses, and the same in other bytes");
}

fn stripped(block: &[u8]) -> Vec<u8> {
    let parsed = Block::parse(block).expect("a block");
    let each = parsed.transactions().iter().flat_map(|each| each.stripped().concat());
    block[..Header::LEN].iter().copied().chain(each).collect()
}

#[test]
fn frames_that_make_no_sense_are_damage_at_their_place() {
    let (bytes, _) = small();
    let behind = bytes.len() as u64;
    let mut sound = dissect(&bytes).frames.last().expect("a frame").2.clone();
    for (kind, payload) in [
        (1, &b""[..]),
        (1, b"no block"),
        (2, &[1, 1, 1, 0, 0, 0]), // headers without bodies
        (3, &[8]),                // below genesis
        (3, &[1, 1]),
        (3, b""),
    ] {
        match open(&with_frame(&bytes, kind, payload)).err() {
            Some(ChainFileError::Damaged { offset, height, .. }) => {
                assert_eq!((offset, height), (behind, 7), "{kind} {payload:?}");
            }
            other => panic!("{kind} {payload:?}: {other:?}"),
        }
    }
    assert!(open(&with_frame(&bytes, 0x81, b"later")).is_ok());
    // A block that is too long: nobody makes room for it.
    sound.truncate(10);
    sound.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    let error = open(&with_frame(&bytes, 1, &sound)).err().expect("a fault");
    assert!(error.to_string().contains("too large"), "{error}");
}

/// Blocks wait to be unpacked together; what is wrong first is what is reported.
#[test]
fn the_first_damage_is_the_one_that_is_named() {
    let (bytes, _) = small();
    let frames = dissect(&bytes).frames;
    for index in [1, 4, 7] {
        let mut payload = frames[index].2.clone();
        *payload.last_mut().expect("a byte") ^= 0x55;
        payload.truncate(payload.len() - 1);
        let mut damaged = with_payload(&bytes, index, &payload);
        let last = dissect(&damaged).frames.last().expect("a frame").0;
        damaged[last + 12] ^= 1;
        let Some(ChainFileError::Damaged { offset, height, .. }) = open(&damaged).err() else {
            panic!("no damage");
        };
        assert_eq!((offset, height), frame_around(&dissect(&bytes), frames[index].0));
    }
}

#[test]
fn times_lengths_and_levels_are_held_against_what_can_be() {
    let blocks = from_genesis(3);
    let bytes = block_file(std::slice::from_ref(&blocks)).bytes();
    let payload = dissect(&bytes).frames[2].2.clone();
    let nonce_at = payload.len() - nonce_and_behind(&payload);
    let fault = |payload: &[u8]| {
        open(&with_payload(&bytes, 2, payload)).err().expect("a fault").to_string()
    };
    for step in [-(1i64 << 40), 1 << 32, i64::MAX, i64::MIN] {
        let mut lying = payload[..4].to_vec();
        blockmill::wire::put_zigzag(&mut lying, step);
        lying.extend(&payload[nonce_at..]);
        let text = fault(&lying);
        assert!(text.contains("a time out of range"), "{text}");
    }
    // The length comes behind the nonce; of these blocks it takes two bytes.
    for off in [1, 0x7f] {
        let mut lying = payload.clone();
        lying[nonce_at + 4] ^= off;
        let text = fault(&lying);
        assert!(text.contains("the transactions: "), "{text}");
    }
    let regtest = blockmill::bitcoin::Params::of(blockmill::bitcoin::Network::Regtest);
    let headers = header_file(&[common::chain::from_genesis(&regtest, 2)]).bytes();
    let error = open(&headers).err().expect("a refusal");
    assert!(matches!(error, ChainFileError::NotAChainFile(_)), "{error}");
    assert!(error.to_string().contains("level headers"), "{error}");
}

#[test]
fn headers_are_held_against_the_rules() {
    // The same transactions with a header that is not solved, and with one of an old version.
    let blocks = from_genesis(3);
    let bytes = block_file(std::slice::from_ref(&blocks)).bytes();
    let frames = dissect(&bytes).frames;
    let last = &frames[2].2;
    let with = |at: usize, field: [u8; 4]| {
        let mut payload = last.clone();
        payload[at..at + 4].copy_from_slice(&field);
        open(&with_payload(&bytes, 2, &payload)).err().map(|error| error.to_string())
    };
    let nonce_at = last.len() - nonce_and_behind(last);
    let mut faults = (0u32..20).filter_map(|nonce| with(nonce_at, nonce.to_le_bytes()));
    assert!(faults.any(|fault| fault.contains("breaks high-hash")));
    // Of some old version some id is low enough.
    let mut faults = (0x0001_0000..0x0014_0000)
        .step_by(0x0001_0000)
        .map(|more| with(0, i32::to_le_bytes(1 - more)));
    assert!(faults.any(|fault| fault.is_some_and(|fault| fault.contains("breaks bad-version"))));
}

/// The bytes of a payload from the nonce on: behind version and time step.
fn nonce_and_behind(payload: &[u8]) -> usize {
    let step = payload[4..].iter().position(|byte| byte & 0x80 == 0).expect("a number");
    payload.len() - 4 - step - 1
}

#[test]
fn a_file_that_changes_while_it_is_open_gives_no_other_block() {
    let blocks = from_genesis(8);
    let file = block_file(std::slice::from_ref(&blocks));
    let LoadedBlocks { mut store, tree } =
        LoadedBlocks::open(file.boxed(), |_| Ok(())).expect("a file");
    let frames = dissect(&file.bytes()).frames;
    let at = |height: usize| {
        let mut number = store.tip();
        while tree.block(number).height() as usize != height {
            number = tree.parent(number).expect("a parent");
        }
        number
    };
    let (six, seven) = (at(6), at(7));
    // The frame of another block in its place, which has just as many bytes of nonce.
    let mut changed = frames[6].2.clone();
    let nonce_at = changed.len() - nonce_and_behind(&changed);
    changed[nonce_at] ^= 1;
    let mut storage = file.boxed();
    storage.write_at(frames[6].0 as u64 + 9, &changed).expect("memory");
    assert!(store.body(six, tree.block(six)).is_ok());
    let error = store.body(seven, tree.block(seven)).expect_err("a fault");
    assert!(error.to_string().contains("not the one that was there"), "{error}");
}

#[test]
fn every_block_that_was_ever_there_is_seen_once() {
    let (bytes, best) = small();
    let (mut seen, mut back) = (Vec::new(), 0);
    let storage = blockmill::chain::file::MemoryStorage { bytes: bytes.clone() };
    LoadedBlocks::open(Box::new(storage), |event| {
        match event {
            BlockEvent::Block(block) => {
                assert_eq!(header_of(block.bytes).id(), block.id);
                let place =
                    dissect(&bytes).frames.iter().any(|(at, ..)| *at as u64 == block.offset);
                assert!(place);
                seen.push((block.height, block.bytes.to_vec()));
            }
            BlockEvent::TakenBack(count) => back += count,
        }
        Ok(())
    })
    .expect("a file");
    assert_eq!((seen.len(), back), (9, 2));
    assert!(seen[5..].iter().map(|(_, bytes)| bytes).eq(&best[4..]));
    assert_eq!(
        seen.iter().map(|(height, _)| *height).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 4, 5, 6, 7]
    );
}
