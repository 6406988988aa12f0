//! Difficulty and work against every retarget of the main network's first 413 periods.

mod common;

use blockmill::bitcoin::{Network, Params, retarget};
use blockmill::primitives::{CompactTarget, Header, Target, Work};

use common::read_data;

fn header(text: &str) -> Header {
    let mut bytes = [0; Header::LEN];
    hex::decode_to_slice(text.trim_start_matches("0x"), &mut bytes).expect("160 hex digits");
    Header::from_bytes(bytes)
}

/// The headers at heights 2016 k and 2016 k - 1.
fn retarget_edges() -> Option<Vec<(u32, Header)>> {
    let text = read_data("bitcoin-headers/mainnet_retarget_pairs_0-832608.csv")?;
    let text = String::from_utf8(text).expect("text");
    let rows = text.lines().skip(1).map(|line| {
        let (height, hex) = line.split_once(',').expect("two columns");
        (height.parse().expect("a height"), header(hex))
    });
    Some(rows.collect())
}

#[test]
fn every_retarget_of_the_main_network() {
    let Some(edges) = retarget_edges() else { return };
    assert_eq!(edges.len(), 827);
    let params = Params::of(Network::Main);
    let mut retargets = 0;
    // Start of a period, its end, and the start of the next.
    for triple in edges.windows(3) {
        let [(first_height, first), (last_height, last), (next_height, next)] = triple else {
            unreachable!("windows of three")
        };
        if first_height % 2016 != 0 {
            continue;
        }
        assert_eq!((first_height + 2015, first_height + 2016), (*last_height, *next_height));
        let required = retarget(&params, last.bits(), first.time(), last.time());
        assert_eq!(required, next.bits(), "height {next_height}");
        retargets += 1;
    }
    assert_eq!(retargets, 413);
}

#[test]
fn every_header_at_a_retarget_proves_its_work() {
    let Some(edges) = retarget_edges() else { return };
    let limit = Params::of(Network::Main).pow_limit;
    for (height, header) in edges {
        let target = header.bits().decode_within(limit).expect("mainnet's bits");
        assert!(target.is_met_by(&header.id()), "height {height}");
        assert_eq!(target.to_compact(), header.bits(), "height {height}");
    }
}

#[test]
fn every_value_of_chain_work() {
    let Some(edges) = retarget_edges() else { return };
    let Some(text) = read_data("bitcoin-headers/mainnet_chainwork_0-832608.csv") else { return };
    let text = String::from_utf8(text).expect("text");
    let mut rows = text.lines().skip(1);
    let mut work = Work::ZERO;
    let mut done = 0; // blocks counted so far
    for (height, header) in &edges {
        let one = header.bits().decode().expect("mainnet's bits").work();
        work = work.saturating_add(one.saturating_mul(u64::from(height + 1 - done)));
        done = height + 1;
        let row = rows.next().expect("as many rows");
        assert_eq!(row, format!("{height},{work}"));
    }
    assert_eq!((edges.len(), rows.next()), (827, None));
}

/// Electrum ships the target after each period as an integer: all of them survive the compact form.
#[test]
fn published_targets_are_compact() {
    let mut targets = 0;
    for network in ["mainnet", "testnet", "signet", "testnet4"] {
        let file = format!("bitcoin-headers/electrum_checkpoints_{network}.json");
        let Some(text) = read_data(&file) else { return };
        // The integers exceed what JSON libraries keep, so they are cut out as text.
        let text = String::from_utf8(text).expect("text");
        for digits in text.split(|c: char| !c.is_ascii_digit()).filter(|t| t.len() > 50) {
            if digits.len() == 64 {
                continue; // a hash that happens to hold no letter
            }
            let target = Target::from_be_bytes(from_decimal(digits));
            let back = target.to_compact().decode().expect("a target");
            assert_eq!(back, target, "{digits}");
            targets += 1;
        }
    }
    assert!(targets > 450, "{targets}");
}

fn from_decimal(digits: &str) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 10;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
    }
    bytes
}

#[test]
fn a_published_retarget_with_its_neighbours() {
    let Some(text) = read_data("bitcoin-headers/summa_headersWithRetarget.json") else { return };
    let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let at = |value: &serde_json::Value| header(value["hex"].as_str().expect("hex"));
    let old = at(&json["oldPeriodStart"]);
    let chain: Vec<_> = json["chain"].as_array().expect("a list").iter().collect();
    let boundary = chain
        .iter()
        .position(|block| block["height"].as_u64().expect("a height") % 2016 == 0)
        .expect("a boundary");
    let (last, next) = (at(chain[boundary - 1]), at(chain[boundary]));
    let params = Params::of(Network::Main);
    assert_eq!(retarget(&params, last.bits(), old.time(), last.time()), next.bits());
    assert_ne!(last.bits(), next.bits());
    for pair in chain.windows(2) {
        assert_eq!(at(pair[1]).parent(), at(pair[0]).id());
    }
}

#[test]
fn a_retarget_is_clamped_and_limited() {
    let params = Params::of(Network::Main);
    let bits = CompactTarget::from_bits(0x1c00_ffff);
    let fortnight = 14 * 24 * 60 * 60;
    let after = |seconds: u32| retarget(&params, bits, 1_000_000, 1_000_000 + seconds).to_bits();
    assert_eq!(after(fortnight), 0x1c00_ffff);
    assert_eq!(after(fortnight * 4), after(fortnight * 5));
    assert_eq!(after(fortnight / 4), after(1));
    // Time can run backwards over a period; the difference is signed.
    assert_eq!(retarget(&params, bits, 2_000_000, 1_000_000).to_bits(), after(1));
    let limit = CompactTarget::from_bits(0x1d00_ffff);
    assert_eq!(retarget(&params, limit, 0, fortnight * 2), limit);
}
