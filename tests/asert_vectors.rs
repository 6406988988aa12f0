//! The ledger's difficulty against every line of the published aserti3-2d vectors.

mod common;

use std::num::NonZeroU32;

use blockmill::ledger::asert::{Anchor, Asert};
use blockmill::primitives::{CompactTarget, InvalidBits, Target};
use common::read_data;
use proptest::prelude::*;
use ruint::Uint;

const SPACING_S: u32 = 600;
const HALF_LIFE_S: NonZeroU32 = NonZeroU32::new(172_800).expect("two days");
const LIMIT: CompactTarget = CompactTarget::from_bits(0x1d00_ffff);

fn limit() -> Target {
    LIMIT.decode().expect("a target")
}

fn bits(digits: &str) -> CompactTarget {
    let digits = digits.strip_prefix("0x").expect("hex");
    CompactTarget::from_bits(u32::from_str_radix(digits, 16).expect("8 digits"))
}

/// The value of a line `##   name: value` of the head.
fn field<'a>(text: &'a str, names: &[&str]) -> &'a str {
    let values =
        text.lines().filter_map(|line| line.trim_start_matches('#').trim().split_once(": "));
    let mut values = values.filter(|(name, _)| names.contains(name));
    values.next().expect("a head that names it").1
}

/// Checks each line of a run and returns their number.
fn check_run(text: &str) -> usize {
    let anchor = Anchor {
        bits: bits(field(text, &["anchor nBits"])),
        // The oldest files call the parent an ancestor.
        parent_time_s: field(text, &["anchor ancestor time", "anchor parent time"])
            .parse()
            .expect("a time"),
        height: field(text, &["anchor height"]).parse().expect("a height"),
    };
    let asert = Asert::new(SPACING_S, HALF_LIFE_S, limit(), anchor).expect("an anchor");
    let lines: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
    for line in &lines {
        let [_, height, time, required] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}: four columns")
        };
        let (height, time) = (height.parse().expect("a height"), time.parse().expect("a time"));
        assert_eq!(asert.next_bits(height, time), bits(required), "{line}");
    }
    let iterations: usize = field(text, &["iterations"]).parse().expect("a count");
    assert_eq!(lines.len(), iterations);
    lines.len()
}

#[test]
fn every_line_of_every_run() {
    let mut lines = Vec::new();
    for run in 1..=11 {
        let Some(text) = read_data(&format!("asert/run{run:02}")) else { return };
        lines.push(check_run(&String::from_utf8(text).expect("text")));
    }
    assert_eq!(lines, [10, 10, 10, 225, 225, 1_000, 1_000, 500, 10, 10, 1_000]);
}

fn asert(anchor_bits: u32) -> Asert {
    let bits = CompactTarget::from_bits(anchor_bits);
    let anchor = Anchor { bits, parent_time_s: 0, height: 0 };
    Asert::new(SPACING_S, HALF_LIFE_S, limit(), anchor).expect("an anchor")
}

#[test]
fn on_schedule_the_anchors_bits_return() {
    let asert = asert(0x1b04_04cb);
    for height in [0, 1, 7, 100_000] {
        let time = i64::try_from(height + 1).expect("small") * i64::from(SPACING_S);
        assert_eq!(asert.next_bits(height, time).to_bits(), 0x1b04_04cb);
        let half_life = i64::from(HALF_LIFE_S.get());
        assert_eq!(asert.next_bits(height, time + half_life).to_bits(), 0x1b08_0996);
        assert_eq!(asert.next_bits(height, time - half_life).to_bits(), 0x1b02_0265);
    }
}

/// Two seconds ahead of schedule are 0.76 of a unit, and one is 0.38: truncated toward zero, both
/// are none. Rounding down would make them one.
#[test]
fn the_exponent_is_truncated_toward_zero() {
    let asert = asert(0x1b04_04cb);
    for ahead in [-2, -1, 0, 1, 2] {
        assert_eq!(asert.next_bits(0, 600 - ahead).to_bits(), 0x1b04_04cb, "{ahead}");
    }
    let target = |time| asert.next_bits(0, time).decode().expect("a target");
    assert!(target(597) < target(600) && target(600) < target(603));
}

#[test]
fn targets_stay_within_one_and_the_limit() {
    let asert = asert(0x1b04_04cb);
    assert_eq!(asert.next_bits(0, i64::MAX), LIMIT);
    assert_eq!(asert.next_bits(0, i64::MIN).to_bits(), 0x0101_0000);
    assert_eq!(asert.next_bits(u64::MAX, i64::MIN).to_bits(), 0x0101_0000);
    assert_eq!(asert.next_bits(u64::MAX, i64::MAX).to_bits(), 0x0101_0000);
}

#[test]
fn an_anchor_names_a_target_within_the_limit() {
    let with = |bits| {
        let bits = CompactTarget::from_bits(bits);
        let anchor = Anchor { bits, parent_time_s: 0, height: 0 };
        Asert::new(SPACING_S, HALF_LIFE_S, limit(), anchor).map(drop)
    };
    assert_eq!(with(0x1d00_ffff), Ok(()));
    assert_eq!(with(0x1d01_0000), Err(InvalidBits::AboveLimit));
    assert_eq!(with(0), Err(InvalidBits::Zero));
    assert_eq!(with(0x1b84_04cb), Err(InvalidBits::Negative));
    assert_eq!(with(0xff12_3456), Err(InvalidBits::Overflow));
}

/// Wide enough that no shift that matters loses a bit.
type Wide = Uint<2_048, 32>;

fn wide(target: Target) -> Wide {
    Wide::from_be_slice(&target.to_be_bytes())
}

/// The rule with sign and magnitude in 2,048 bits, shifting left once and right once.
fn slowly(params: (u32, u32, Target), anchor: Anchor, height: u64, time: i64) -> CompactTarget {
    let (spacing, half_life, limit) = params;
    let shifted = |value: i64| Wide::from(value.abs_diff(i64::MIN)); // value + 2^63
    let ahead_of = Wide::from(height) + Wide::ONE;
    // behind = (time + spacing * anchor height) - (parent time + spacing * (height + 1))
    let late = shifted(time) + Wide::from(spacing) * Wide::from(anchor.height);
    let early = shifted(anchor.parent_time_s) + Wide::from(spacing) * ahead_of;
    let quotient = |behind: Wide| (behind << 16) / Wide::from(half_life);
    let unit = Wide::from(65_536);
    let (up, down, fraction) = if late >= early {
        let exponent: Wide = quotient(late - early);
        (exponent / unit, Wide::ZERO, exponent % unit)
    } else {
        let exponent: Wide = quotient(early - late);
        let down = exponent.div_ceil(unit);
        (Wide::ZERO, down, down * unit - exponent)
    };
    let cubic = Wide::from(195_766_423_245_049u64) * fraction
        + Wide::from(971_821_376) * fraction.pow(Wide::from(2))
        + Wide::from(5_127) * fraction.pow(Wide::from(3));
    let factor = unit + ((cubic + Wide::from(1u64 << 47)) >> 48);
    let steps = |wide: Wide| wide.min(Wide::from(1_000)).to::<usize>();
    let anchor_target = wide(anchor.bits.decode().expect("a target"));
    let target: Wide = ((anchor_target * factor) << steps(up)) >> (steps(down) + 16);
    let target = target.max(Wide::ONE).min(wide(limit));
    let bytes: [u8; 256] = target.to_be_bytes();
    let low = bytes[224..].try_into().expect("32 bytes");
    Target::from_be_bytes(low).to_compact()
}

/// Any time, or one near the schedule, where targets change.
fn times() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -10_000_000_000..10_000_000_000i64, -400_000..400_000i64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn agrees_with_wide_integers(
        spacing in prop_oneof![any::<u32>(), 0..1_000u32],
        half_life in prop_oneof![1..=u32::MAX, 1..1_000_000u32],
        limit_bits in prop_oneof![Just(0x1d00_ffff), Just(0x207f_ffff), Just(0x2200_00ff)],
        size in 1..=34u32,
        mantissa in 1..=0x7f_ffffu32,
        (parent_time, time) in (times(), times()),
        anchor_height in prop_oneof![any::<u64>(), 0..10_000u64],
        height in prop_oneof![any::<u64>(), 0..10_000u64],
    ) {
        let limit = CompactTarget::from_bits(limit_bits).decode().expect("a target");
        let bits = CompactTarget::from_bits(size << 24 | mantissa);
        let anchor = Anchor { bits, parent_time_s: parent_time, height: anchor_height };
        let half_life_s = NonZeroU32::new(half_life).expect("from 1 up");
        match Asert::new(spacing, half_life_s, limit, anchor) {
            Err(fault) => prop_assert_eq!(bits.decode_within(limit), Err(fault)),
            Ok(asert) => {
                let expected = slowly((spacing, half_life, limit), anchor, height, time);
                prop_assert_eq!(asert.next_bits(height, time), expected);
            }
        }
    }
}
