//! Every header rule by mined headers: one fixture a rule, the edges of each, and their order.
//!
//! Real headers cannot show these: whatever is changed in one breaks its proof of work first.

mod common;

use blockmill::bitcoin::{FUTURE_MAX_S, Network, Params, retarget};
use blockmill::primitives::{CompactTarget, Header};
use blockmill::stages::Options;
use blockmill::verdict::{Rule, Violation};

use common::chain::{Draft, extend, from_genesis};
use common::judge::{NOW, judge, options, rejections};

fn regtest() -> Params {
    Params::of(Network::Regtest)
}

fn judged(params: &Params, headers: &[Header]) -> Vec<(&'static str, Option<u32>)> {
    rejections(&judge(headers, &options(Some(params.clone()))))
}

fn bits(bits: u32) -> CompactTarget {
    CompactTarget::from_bits(bits)
}

/// A network like mainnet with regtest's limit and periods of ten blocks.
fn retargeting() -> Params {
    Params {
        name: "retargeting".into(),
        target_timespan_s: 6000,
        allow_min_difficulty: false,
        no_retargeting: false,
        ..regtest()
    }
}

/// A chain of whole periods, each block `spacing` after the one before, with the bits that the
/// rules ask for.
fn mined(params: &Params, blocks: u32, spacing: u32) -> Vec<Header> {
    mined_on(params, &[params.genesis], blocks, spacing)
}

/// The same, from the first headers of a chain on, up to height `blocks`.
fn mined_on(params: &Params, start: &[Header], blocks: u32, spacing: u32) -> Vec<Header> {
    let interval = params.retarget_interval();
    let mut chain = start.to_vec();
    let first = u32::try_from(start.len()).expect("a height");
    for height in first..=blocks {
        let last = *chain.last().expect("a genesis");
        let mut draft = Draft::after(&last);
        draft.time = last.time() + spacing;
        if height % interval == 0 {
            let first = chain[(height - interval) as usize];
            let base = if params.enforce_bip94 { first.bits() } else { last.bits() };
            draft.bits = retarget(params, base, first.time(), last.time());
        }
        chain.push(draft.mine());
    }
    chain
}

#[test]
fn there_is_a_fixture_for_every_rule() {
    // Each of these breaks one rule at height 5, and the block after it `bad-prevblk`.
    let chain = from_genesis(&regtest(), 4);
    let parent = chain[4];
    let draft = Draft::after(&parent);
    let warped = {
        // Where BIP94 holds, and a period begins at height 5.
        let params = Params {
            name: "warp".into(),
            target_timespan_s: 3000,
            enforce_bip94: true,
            ..retargeting()
        };
        let mut chain = mined(&params, 4, 700);
        let last = chain[4];
        let bits = retarget(&params, chain[0].bits(), chain[0].time(), last.time());
        chain.push(Draft { time: last.time() - 601, bits, ..Draft::after(&last) }.mine());
        (params, chain)
    };
    let with = |header: Header| {
        let mut chain = chain.clone();
        chain.push(header);
        (regtest(), chain)
    };
    let median = chain[2].time(); // of five blocks
    // The last rule on a header; those on bodies follow.
    let last = Rule::ALL.iter().position(|&rule| rule == Rule::BadVersion).expect("a rule");
    for &rule in &Rule::ALL[..=last] {
        let (params, mut chain) = match rule {
            Rule::HighHash => with(draft.unmined()),
            Rule::BadPrevBlk => {
                let bad = Draft { version: 3, ..draft }.mine();
                let (params, mut chain) = with(bad);
                chain.push(Draft::after(&bad).mine());
                (params, chain)
            }
            Rule::BadDiffBits => with(Draft { bits: bits(0x207f_fffe), ..draft }.mine()),
            Rule::TimeTooOld => with(Draft { time: median, ..draft }.mine()),
            Rule::TimeTimewarpAttack => warped.clone(),
            Rule::TimeTooNew => {
                let time = u32::try_from(NOW + FUTURE_MAX_S + 1).expect("a time");
                with(Draft { time, ..draft }.mine())
            }
            Rule::BadVersion => with(Draft { version: 3, ..draft }.mine()),
            _ => unreachable!("a rule on bodies"),
        };
        let bad = *chain.last().expect("a chain");
        let mut child = Draft::after(&bad);
        child.salt = 9;
        chain.push(child.mine());
        let found = judged(&params, &chain);
        let last_two = &found[found.len() - 2..];
        let height = u32::try_from(chain.len() - 2).expect("a height");
        assert_eq!(
            last_two,
            [(rule.id(), Some(height)), ("bad-prevblk", Some(height + 1))],
            "{rule}: {found:?}"
        );
    }
}

#[test]
fn rules_are_judged_in_cores_order() {
    let chain = from_genesis(&regtest(), 12);
    let parent = chain[12];
    let too_new = u32::try_from(NOW + FUTURE_MAX_S + 1).expect("a time");
    let all = Draft { version: 1, time: 1, bits: bits(0x2000_ffff), ..Draft::after(&parent) };
    let easier = |draft: Draft| Draft { bits: parent.bits(), ..draft };
    let expect = |header: Header, rule: &str| {
        let mut chain = chain.clone();
        chain.push(header);
        assert_eq!(judged(&regtest(), &chain), [(rule, Some(13))]);
    };
    expect(all.unmined(), "high-hash");
    expect(all.mine(), "bad-diffbits");
    expect(easier(all).mine(), "time-too-old");
    expect(Draft { time: too_new, ..easier(all) }.mine(), "time-too-new");
    expect(Draft { time: parent.time() + 1, ..easier(all) }.mine(), "bad-version");
    // A rejected parent comes before everything but the header's own proof of work.
    let bad = all.mine();
    let child = Draft { parent: bad.id(), ..all };
    let mut with_bad = chain.clone();
    with_bad.extend([bad, child.mine(), child.unmined()]);
    let expected = [("bad-diffbits", Some(13)), ("bad-prevblk", Some(14)), ("high-hash", Some(14))];
    assert_eq!(judged(&regtest(), &with_bad), expected);
}

#[test]
fn bits_that_name_no_target_are_rejected_before_any_arithmetic() {
    let chain = from_genesis(&regtest(), 1);
    let unusable = [
        0x0000_0000, // zero
        0x2000_0000, // zero mantissa
        0x01fe_dcba, // negative
        0x2080_0001, // negative
        0xff12_3456, // overflow
        0x2300_0001, // overflow
        0x2100_ffff, // above the limit
        0x2080_0000, // zero with the sign set
        0xffff_ffff,
    ];
    for bad in unusable {
        let mut headers = chain.clone();
        headers.push(Draft { bits: bits(bad), ..Draft::after(&chain[1]) }.raw());
        let validation = judge(&headers, &options(Some(regtest())));
        let outcome = validation.outcome.expect("an outcome");
        let [rejection] = outcome.rejections[..] else { panic!("{bad:08x}: one rejection") };
        assert_eq!(rejection.violation.rule(), Rule::HighHash);
        assert!(matches!(rejection.violation, Violation::InvalidBits { .. }), "{bad:08x}");
    }
}

#[test]
fn time_must_be_after_the_median_of_eleven() {
    // Times that are not in order, so that the median is not the sixth block before.
    let genesis = regtest().genesis;
    let mut chain = vec![genesis];
    for ahead in [1, 5000, 1, 3000, 700, 1, 9000, 2, 4000, 1, 800, 6000, 1, 2] {
        let window = &chain[chain.len().saturating_sub(11)..];
        let mut times: Vec<_> = window.iter().map(Header::time).collect();
        times.sort_unstable();
        let time = times[times.len() / 2] + ahead;
        let last = *chain.last().expect("a genesis");
        chain.push(Draft { time, ..Draft::after(&last) }.mine());
    }
    assert!(chain.windows(2).any(|pair| pair[1].time() < pair[0].time()));
    assert_eq!(judged(&regtest(), &chain), []);
    for parent in 0..chain.len() {
        let window = &chain[parent.saturating_sub(10)..=parent];
        let mut times: Vec<_> = window.iter().map(Header::time).collect();
        times.sort_unstable();
        let median = times[times.len() / 2];
        let draft = Draft { salt: 7, ..Draft::after(&chain[parent]) };
        let child = |time| {
            let mut headers = chain[..=parent].to_vec();
            headers.push(Draft { time, ..draft }.mine());
            judged(&regtest(), &headers)
        };
        let height = u32::try_from(parent + 1).expect("a height");
        assert_eq!(child(median), [("time-too-old", Some(height))], "height {height}");
        assert_eq!(child(median + 1), [], "height {height}");
        assert_eq!(child(0), [("time-too-old", Some(height))], "height {height}");
    }
}

#[test]
fn time_may_be_two_hours_ahead() {
    let genesis = regtest().genesis;
    let latest = NOW + 7200;
    for (time, expected) in [(latest, vec![]), (latest + 1, vec![("time-too-new", Some(1))])] {
        let time = u32::try_from(time).expect("a time");
        let child = Draft { time, ..Draft::after(&genesis) }.mine();
        assert_eq!(judged(&regtest(), &[genesis, child]), expected);
    }
    // The last second that a header can name, and a clock beyond it.
    let last = Draft { time: u32::MAX, ..Draft::after(&genesis) }.mine();
    let future = Options { now: u64::MAX, ..options(Some(regtest())) };
    assert_eq!(rejections(&judge(&[genesis, last], &future)), []);
}

#[test]
fn versions_expire_one_after_the_other() {
    let mut params = Params { name: "versions".into(), ..regtest() };
    (params.heights.bip34, params.heights.dersig, params.heights.cltv) = (2, 4, 6);
    let lowest = |height: u32| match height {
        0 | 1 => i32::MIN,
        2 | 3 => 2,
        4 | 5 => 3,
        _ => 4,
    };
    let chain = from_genesis(&params, 8);
    for height in 1..=8u32 {
        let lowest = lowest(height);
        for version in [i32::MIN, -1, 0, 1, 2, 3, 4, i32::MAX] {
            let parent = height as usize - 1;
            let mut headers = chain[..height as usize].to_vec();
            headers.push(Draft { version, ..Draft::after(&chain[parent]) }.mine());
            let expected: &[_] =
                if version < lowest { &[("bad-version", Some(height))] } else { &[] };
            assert_eq!(judged(&params, &headers), expected, "height {height}, version {version}");
        }
    }
}

#[test]
fn activation_heights_move_on_regtest_alone() {
    let genesis = regtest().genesis;
    let child = Draft { version: 1, ..Draft::after(&genesis) }.mine();
    let moved = |network, heights: &[(&str, u32)]| Options {
        activation_heights: heights.iter().map(|(name, at)| ((*name).into(), *at)).collect(),
        ..options(network)
    };
    let later = [("bip34", 2), ("dersig", 2), ("cltv", 2)];
    for network in [None, Some(regtest())] {
        assert_eq!(
            rejections(&judge(&[genesis, child], &moved(network.clone(), &[]))),
            [("bad-version", Some(1))]
        );
        assert_eq!(rejections(&judge(&[genesis, child], &moved(network, &later))), []);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("main.hdr");
    let main = Params::of(Network::Main);
    std::fs::write(&file, main.genesis.as_bytes()).expect("a file");
    for options in
        [moved(None, &later), moved(Some(main), &later), moved(Some(regtest()), &[("taproot", 2)])]
    {
        let error = common::judge::judge_files(std::slice::from_ref(&file), &options);
        assert_eq!(error.expect_err("no such wish").exit_code(), 2);
    }
}

#[test]
fn difficulty_follows_the_time_a_period_took() {
    let params = retargeting();
    let half = params.target_spacing_s / 2;
    // Twice as fast, twice as hard; and a block that keeps the old bits is rejected.
    let chain = mined(&params, 35, half);
    assert_eq!(judged(&params, &chain), []);
    assert!(chain[30].bits().decode().ok() < chain[20].bits().decode().ok());
    let stale = Draft { bits: chain[9].bits(), ..Draft::after(&chain[9]) }.mine();
    let mut headers = chain[..10].to_vec();
    headers.push(stale);
    assert_eq!(judged(&params, &headers), [("bad-diffbits", Some(10))]);
    // Within a period nothing changes.
    let mut headers = chain[..15].to_vec();
    headers.push(Draft { bits: chain[0].bits(), ..Draft::after(&chain[14]) }.mine());
    assert_eq!(judged(&params, &headers), [("bad-diffbits", Some(15))]);
}

/// A branch that leaves another within a period retargets from its own blocks and those before the
/// fork, however the two are mixed in the input.
#[test]
fn a_fork_within_a_period_retargets_from_its_own_blocks() {
    let params = retargeting();
    let trunk = mined(&params, 33, params.target_spacing_s);
    let fork = mined_on(&params, &trunk[..15], 34, params.target_spacing_s / 3);
    assert_ne!(fork[20].bits(), trunk[20].bits());
    let (common, a, b) = (&trunk[..15], &trunk[15..], &fork[15..]);
    let mixed: Vec<_> = a.iter().zip(b).flat_map(|(a, b)| [*a, *b]).collect();
    let end = &fork[34..];
    // In rows, one block of each in turn, and in three rows where the second begins in the middle.
    let orders = [
        [common, a, b, &[]].concat(),
        [common, b, a, &[]].concat(),
        [common, &mixed, end, &[]].concat(),
        [common, &b[..3], a, &b[3..]].concat(),
    ];
    for headers in &orders {
        let found = judge(headers, &options(Some(params.clone())));
        assert_eq!(rejections(&found), []);
        let outcome = found.outcome.expect("an outcome");
        assert_eq!(outcome.tip.id, fork[34].id());
        assert_eq!((outcome.blocks.best_branch, outcome.blocks.side), (35, 19));
    }
    // Bits of the other branch do not do.
    let wrong = Draft { bits: trunk[20].bits(), ..Draft::after(&fork[19]) }.mine();
    for headers in [[common, a, &b[..5]].concat(), [common, &b[..5], a].concat()] {
        let headers = [&headers[..], &[wrong]].concat();
        assert_eq!(judged(&params, &headers), [("bad-diffbits", Some(20))]);
    }
}

#[test]
fn a_retarget_moves_by_four_at_most() {
    let params = retargeting();
    // A period that took no time at all: a quarter of the target, not less.
    let fast = mined(&params, 10, 1);
    assert_eq!(judged(&params, &fast), []);
    let quarter = params.pow_limit.scaled(1, 4, params.pow_limit).to_compact();
    assert_eq!(fast[10].bits(), quarter);
    // Then one that took a hundred times too long: four times the target, which is the limit again.
    let mut chain = fast;
    for height in 11..=20u32 {
        let last = *chain.last().expect("a chain");
        let mut draft = Draft::after(&last);
        draft.time = last.time() + 60_000;
        if height == 20 {
            draft.bits =
                quarter.decode().expect("bits").scaled(4, 1, params.pow_limit).to_compact();
        }
        chain.push(draft.mine());
    }
    assert_eq!(judged(&params, &chain), []);
    let too_easy = Draft { bits: params.pow_limit.to_compact(), ..Draft::after(&chain[19]) }.mine();
    let mut headers = chain[..20].to_vec();
    headers.push(too_easy);
    // Truncated to compact, four times a quarter is a little less than the limit.
    assert_eq!(chain[20].bits().to_bits(), 0x207f_fffc);
    assert_eq!(judged(&params, &headers), [("bad-diffbits", Some(20))]);
}

/// The rule of the test networks: after twenty minutes a block may, and must, have the limit; the
/// next one goes back to the last real difficulty of the period.
#[test]
fn the_twenty_minute_rule_walks_back() {
    let params = Params { name: "twenty".into(), allow_min_difficulty: true, ..retargeting() };
    let mut chain = mined(&params, 12, 300);
    let (limit, real) = (params.pow_limit.to_compact(), chain[12].bits());
    assert_ne!(limit, real);
    let next = |chain: &[Header], seconds: u32, bits: CompactTarget| {
        let last = chain[chain.len() - 1];
        Draft { time: last.time() + seconds, bits, ..Draft::after(&last) }.mine()
    };
    let judged_with = |chain: &[Header], header: Header| {
        let mut headers = chain.to_vec();
        headers.push(header);
        judged(&params, &headers)
    };
    // Twenty minutes are not yet too late, a second more is.
    assert_eq!(judged_with(&chain, next(&chain, 1200, real)), []);
    assert_eq!(judged_with(&chain, next(&chain, 1200, limit)), [("bad-diffbits", Some(13))]);
    assert_eq!(judged_with(&chain, next(&chain, 1201, limit)), []);
    assert_eq!(judged_with(&chain, next(&chain, 1201, real)), [("bad-diffbits", Some(13))]);
    // Two such blocks in a row, then back past both.
    chain.push(next(&chain, 1201, limit));
    chain.push(next(&chain, 1300, limit));
    assert_eq!(judged_with(&chain, next(&chain, 10, limit)), [("bad-diffbits", Some(15))]);
    assert_eq!(judged_with(&chain, next(&chain, 10, real)), []);
    // The walk ends at the start of the period, whatever bits that has.
    let mut chain = mined(&params, 9, 300);
    let retargeted = retarget(&params, chain[9].bits(), chain[0].time(), chain[9].time());
    chain.push(next(&chain, 10, retargeted));
    chain.push(next(&chain, 1201, limit));
    assert_eq!(judged_with(&chain, next(&chain, 10, retargeted)), []);
    assert_eq!(judged_with(&chain, next(&chain, 10, limit)), [("bad-diffbits", Some(12))]);
}

/// Without BIP94 a period that ends in a block at the limit starts the next one from the limit.
#[test]
fn bip94_retargets_from_the_first_block() {
    let old = Params { name: "old".into(), allow_min_difficulty: true, ..retargeting() };
    let new = Params { name: "new".into(), enforce_bip94: true, ..old.clone() };
    let mut chain = mined(&old, 18, 300);
    let (limit, real) = (old.pow_limit.to_compact(), chain[18].bits());
    let last = Draft { time: chain[18].time() + 1201, bits: limit, ..Draft::after(&chain[18]) };
    chain.push(last.mine());
    let span = |base| retarget(&old, base, chain[10].time(), chain[19].time());
    let (from_last, from_first) = (span(limit), span(real));
    assert_ne!(from_last, from_first);
    let with = |bits| {
        let mut headers = chain.clone();
        headers.push(Draft { bits, ..Draft::after(&chain[19]) }.mine());
        headers
    };
    assert_eq!(judged(&old, &with(from_last)), []);
    assert_eq!(judged(&old, &with(from_first)), [("bad-diffbits", Some(20))]);
    assert_eq!(judged(&new, &with(from_first)), []);
    assert_eq!(judged(&new, &with(from_last)), [("bad-diffbits", Some(20))]);
}

#[test]
fn bip94_bounds_the_time_at_the_start_of_a_period_alone() {
    let params = Params { name: "warp".into(), enforce_bip94: true, ..retargeting() };
    let chain = mined(&params, 19, 700);
    for (height, seconds_back, expected) in
        [(10, 600, None), (10, 601, Some("time-timewarp-attack")), (9, 601, None), (11, 601, None)]
    {
        let last = chain[height - 1];
        let draft = Draft { time: last.time() - seconds_back, ..Draft::after(&last) };
        let mut headers = chain[..height].to_vec();
        headers.push(Draft { bits: chain[height].bits(), ..draft }.mine());
        let found = judged(&params, &headers);
        let rule = found.first().map(|(rule, _)| *rule);
        assert_eq!(rule, expected, "height {height}, {seconds_back} s back");
        // Without BIP94 all of them pass.
        assert_eq!(judged(&Params { enforce_bip94: false, ..params.clone() }, &headers), []);
    }
}

#[test]
fn regtest_never_retargets() {
    let chain = {
        let mut chain = from_genesis(&regtest(), 1);
        // Blocks a second apart, over two of its periods.
        for salt in 0..300 {
            let last = chain[chain.len() - 1];
            chain.push(Draft { time: last.time() + 1, salt, ..Draft::after(&last) }.mine());
        }
        chain
    };
    assert_eq!(judged(&regtest(), &chain), []);
}

#[test]
fn a_trusted_start_still_rejects_what_no_ancestor_could_save() {
    let chain = from_genesis(&regtest(), 30);
    let started = Options { start_height: Some(20), ..options(Some(regtest())) };
    assert_eq!(rejections(&judge(&chain[20..], &started)), []);
    // Six known blocks at or after a time are more than half of eleven.
    let parent = chain[25];
    let late = Draft { time: chain[20].time(), ..Draft::after(&parent) }.mine();
    let early = Draft { time: chain[21].time(), ..Draft::after(&parent) }.mine();
    for (child, expected) in [(late, vec![("time-too-old", Some(26))]), (early, vec![])] {
        let mut headers = chain[20..=25].to_vec();
        headers.push(child);
        assert_eq!(rejections(&judge(&headers, &started)), expected);
    }
    // A sibling of the first block is trusted as the first is; versions are still judged.
    let sibling = Draft { salt: 5, ..Draft::after(&chain[19]) };
    let headers = [chain[20], sibling.mine(), Draft { version: 2, ..sibling }.mine()];
    let validation = judge(&headers, &started);
    assert_eq!(rejections(&validation), [("bad-version", Some(20))]);
    assert_eq!(validation.outcome.expect("an outcome").tip.height, 20);
    let more = extend(&chain[20], 3, 1);
    let headers: Vec<_> = [chain[20]].into_iter().chain(more).collect();
    assert_eq!(judge(&headers, &started).outcome.expect("an outcome").tip.height, 23);
}
