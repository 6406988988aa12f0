//! The reference's SHA-256 against NIST's vectors (CAVS): every backend is held to the reference,
//! and the reference to these.

mod common;

use blockmill::compute::Reference;

/// The values of the lines `name = value`, in order.
fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (found, value) = line.split_once(" = ")?;
        (found == name).then_some(value.trim())
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("the vectors are in hex")
}

fn text(relative: &str) -> Option<String> {
    common::read_data(relative).map(|bytes| String::from_utf8(bytes).expect("the vectors are text"))
}

#[test]
fn short_messages() {
    let Some(text) = text("sha256/SHA256ShortMsg.rsp") else { return };
    let lengths = values(&text, "Len").map(|bits| bits.parse::<usize>().expect("a number"));
    let messages = values(&text, "Msg").map(bytes);
    let mut checked = 0;
    for ((bits, message), digest) in lengths.zip(messages).zip(values(&text, "MD")) {
        // The empty message is written as one zero byte.
        let digest_found = Reference::sha256(&message[..bits / 8]);
        assert_eq!(hex::encode(digest_found), digest, "{bits} bits");
        checked += 1;
    }
    // Every length from none to the 64 bytes of a block.
    assert_eq!(checked, 65);
}

/// The Monte Carlo test of NIST's Secure Hash Algorithm Validation System: each checkpoint is the
/// end of a thousand hashes, each over the three digests before it.
#[test]
fn monte_carlo() {
    let Some(text) = text("sha256/SHA256Monte.rsp") else { return };
    let mut seed: [u8; 32] = values(&text, "Seed")
        .map(|seed| bytes(seed).try_into().expect("a seed is 32 bytes"))
        .next()
        .expect("the file begins with its seed");
    let mut checked = 0;
    for checkpoint in values(&text, "MD") {
        let mut last = [seed; 3];
        for _ in 3..=1002 {
            let next = Reference::sha256(last.as_flattened());
            last = [last[1], last[2], next];
        }
        seed = last[2];
        assert_eq!(hex::encode(seed), checkpoint, "checkpoint {checked}");
        checked += 1;
    }
    assert_eq!(checked, 100);
}
