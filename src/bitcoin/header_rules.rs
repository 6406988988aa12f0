//! Every rule that a header must obey, as a checklist.
//! (Bitcoin Core: `CheckBlockHeader`, `ContextualCheckBlockHeader`.)

use crate::chain::{self, Ancestor, Candidate, Steady, time_is_after_median};
use crate::primitives::{CompactTarget, Header, Target};
use crate::verdict::Violation;

use super::Params;
use super::difficulty::{Required, Schedule, required_bits, steady_bits};

/// How far a block may lie after the clock, in seconds.  (Core: `MAX_FUTURE_BLOCK_TIME`.)
pub const FUTURE_MAX_S: u64 = 2 * 60 * 60;

/// How far the first block of a period may lie before its parent, in seconds.
/// (BIP94; Core: `MAX_TIMEWARP`.)
pub const TIMEWARP_MAX_S: u32 = 600;

/// Bitcoin's header rules for one network and one reading of the clock.
#[derive(Clone, Debug)]
pub struct HeaderRules {
    params: Params,
    schedule: Schedule,
    now: u64,
}

impl HeaderRules {
    /// The rules of `params`, judged at `now` seconds since 1970-01-01.
    #[must_use]
    pub fn new(params: Params, now: u64) -> Self {
        Self { schedule: Schedule::of(&params), params, now }
    }

    /// The network's parameters.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// The latest time that a block may have.
    const fn time_max(&self) -> u64 {
        self.now.saturating_add(FUTURE_MAX_S)
    }

    /// What the difficulty rule says of the bits of a block of this time on `parent`.
    pub(super) fn required_bits(&self, time: u32, parent: Ancestor<'_>) -> Required {
        required_bits(&self.params, self.schedule, time, parent)
    }
}

impl chain::HeaderRules for HeaderRules {
    fn genesis(&self) -> &Header {
        &self.params.genesis
    }

    fn pow_limit(&self) -> Target {
        self.params.pow_limit
    }

    // The order is Core's; it decides which fault is reported.
    #[inline(always)]
    fn check_in_context(&self, block: &Candidate, parent: Ancestor<'_>) -> Result<(), Violation> {
        difficulty_is_valid(&self.params, self.schedule, block, parent)?;
        time_is_after_median(block, parent)?;
        time_is_not_warped(&self.params, block, parent)?;
        time_is_not_ahead(self.time_max(), block)?;
        version_is_current(&self.params, block, parent.height() + 1)
    }

    fn steady(&self, parent: Ancestor<'_>) -> Option<Steady> {
        let bits = steady_bits(&self.params, self.schedule, parent)?;
        let height = parent.height().checked_add(1)?;
        // Difficulty and time warp are matters of the first block of a period, versions of soft forks.
        let next_period = height.checked_next_multiple_of(self.schedule.interval);
        let heights = &self.params.heights;
        let forks = [heights.bip34, heights.dersig, heights.cltv];
        let next_fork = forks.into_iter().filter(|&fork| fork > height).min();
        Some(Steady {
            end: next_period.into_iter().chain(next_fork).min().unwrap_or(u32::MAX),
            bits,
            version_min: version_min(&self.params, height),
            time_max: u32::try_from(self.time_max()).unwrap_or(u32::MAX),
        })
    }
}

#[inline(always)]
fn difficulty_is_valid(
    params: &Params,
    schedule: Schedule,
    block: &Candidate,
    parent: Ancestor<'_>,
) -> Result<(), Violation> {
    let found = block.bits;
    match required_bits(params, schedule, block.time, parent) {
        Required::Exactly(required) if found != required => {
            Err(Violation::BadDiffBits { required, found })
        }
        Required::Between { hardest, easiest } => {
            let target = |bits: CompactTarget| bits.decode().ok();
            if (target(hardest)..=target(easiest)).contains(&target(found)) {
                Ok(())
            } else {
                Err(Violation::BadDiffBitsStep { hardest, easiest, found })
            }
        }
        Required::Exactly(_) | Required::Unknown => Ok(()),
    }
}

/// BIP94: the first block of a period is at most 600 s before its parent.
#[inline]
fn time_is_not_warped(
    params: &Params,
    block: &Candidate,
    parent: Ancestor<'_>,
) -> Result<(), Violation> {
    if !params.enforce_bip94 || parent.is_trusted() {
        return Ok(());
    }
    if !(parent.height() + 1).is_multiple_of(params.retarget_interval()) {
        return Ok(());
    }
    let earliest = parent.time().saturating_sub(TIMEWARP_MAX_S);
    if block.time < earliest {
        return Err(Violation::TimeTimewarpAttack { earliest, found: block.time });
    }
    Ok(())
}

#[inline]
fn time_is_not_ahead(latest: u64, block: &Candidate) -> Result<(), Violation> {
    if u64::from(block.time) > latest {
        return Err(Violation::TimeTooNew { latest, found: block.time });
    }
    Ok(())
}

#[inline]
fn version_is_current(params: &Params, block: &Candidate, height: u32) -> Result<(), Violation> {
    let lowest = version_min(params, height);
    if block.version < lowest {
        return Err(Violation::BadVersion { lowest, found: block.version });
    }
    Ok(())
}

/// The lowest version that a block of this height may have: BIP34, BIP66 and BIP65 each outdated one from some
/// height on.
#[inline]
fn version_min(params: &Params, height: u32) -> i32 {
    let heights = &params.heights;
    let lowest = [(4, heights.cltv), (3, heights.dersig), (2, heights.bip34)]
        .into_iter()
        .find_map(|(version, from)| (height >= from).then_some(version));
    lowest.unwrap_or(i32::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bitcoin::{ActivationHeights, Network};
    use crate::chain::{HeaderTree, Start};
    use crate::primitives::{Hash256, Work};
    use crate::verdict::Position;

    /// What is done to a header that would be sound.
    #[derive(Clone, Copy, Debug)]
    enum Twist {
        Nothing,
        /// Its time is so far from the latest that it may have.
        NearLatest(i8),
        /// Its time is so far from the median that it must exceed.
        NearMedian(i8),
        Version(i32),
        Bits(u32),
        /// Its bits are those of its parent.
        OldBits,
        HighId,
        /// Its parent is the one so many before the last.
        Parent(u8),
        Orphan,
        /// The one so many before the last comes again.
        Again(u8),
    }

    fn twist() -> impl Strategy<Value = Twist> {
        prop_oneof![
            300 => Just(Twist::Nothing),
            5 => (-2..=2i8).prop_map(Twist::NearLatest),
            5 => (-2..=2i8).prop_map(Twist::NearMedian),
            5 => (-1..6i32).prop_map(Twist::Version),
            5 => (0x1c00_ffff..=0x1e00_ffffu32).prop_map(Twist::Bits),
            20 => Just(Twist::OldBits),
            5 => Just(Twist::HighId),
            5 => (0..20u8).prop_map(Twist::Parent),
            // As long as its parent does not come, headers are taken one by one.
            1 => Just(Twist::Orphan),
            5 => (0..20u8).prop_map(Twist::Again),
        ]
    }

    fn params() -> impl Strategy<Value = Params> {
        let network = prop_oneof![Just(Network::Main), Just(Network::Regtest)];
        let heights = proptest::array::uniform3(1..120u32);
        let retargeting = (proptest::bool::weighted(0.2), any::<bool>(), any::<bool>());
        (network, 2..60u32, heights, retargeting).prop_map(
            |(network, interval, [bip34, dersig, cltv], retargeting)| {
                let (allow_min_difficulty, no_retargeting, enforce_bip94) = retargeting;
                let params = Params::of(network);
                Params {
                    target_timespan_s: interval * params.target_spacing_s,
                    allow_min_difficulty,
                    no_retargeting,
                    enforce_bip94,
                    heights: ActivationHeights { bip34, dersig, cltv, ..params.heights },
                    ..params
                }
            },
        )
    }

    /// An id that meets any target, or none.
    fn id(number: usize, meets: bool) -> Hash256 {
        let mut bytes = [if meets { 0 } else { 0xff }; 32];
        bytes[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        Hash256::from_bytes(bytes)
    }

    type Block = (Header, Hash256);

    /// Headers of which most are children of the one before, and most sound, as `tree` tells.
    fn grow(
        tree: &mut HeaderTree<HeaderRules>,
        version: i32,
        steps: &[(i16, Twist)],
    ) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for (number, (step, twist)) in steps.iter().enumerate() {
            let last = blocks.last().and_then(|(_, id)| tree.number_of(id));
            let tip = tree.block(last.unwrap_or(tree.best()));
            let (from, by) = match *twist {
                Twist::NearLatest(by) => (u32::try_from(tree.rules().time_max()), i32::from(by)),
                Twist::NearMedian(by) => (Ok(tip.median_time_past()), by.into()),
                _ => (Ok(tip.time()), (*step).into()),
            };
            let time = from.expect("a time").saturating_add_signed(by);
            let (mut version, mut parent, mut meets) = (version, tip.id(), true);
            let mut bits = match tree.rules().required_bits(time, tip) {
                Required::Exactly(bits) => bits,
                _ => tree.rules().params().genesis.bits(),
            };
            match *twist {
                Twist::Version(other) => version = other,
                Twist::Bits(other) => bits = CompactTarget::from_bits(other),
                Twist::OldBits => bits = tip.bits(),
                Twist::HighId => meets = false,
                Twist::Orphan => parent = id(1_000_000, true),
                Twist::Parent(back) => {
                    parent = tip.lineage().nth(back.into()).map_or(parent, |block| block.id());
                }
                _ => {}
            }
            let header = Header::from_fields(version, parent, Hash256::ZERO, time, bits, 0);
            let mut block = (header, id(number, meets));
            if let Twist::Again(back) = *twist {
                block = blocks.iter().rev().nth(back.into()).copied().unwrap_or(block);
            }
            tree.insert(&block.0, block.1, position(number));
            blocks.push(block);
        }
        blocks
    }

    fn position(number: usize) -> Position {
        Position(80 * number as u64)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_048))]

        /// Headers that come in a row are judged by what the rules come to for all of them; alone each is judged
        /// by the rules.
        #[test]
        fn headers_in_a_row_are_judged_as_one_by_one(
            params in params(),
            is_trusted in any::<bool>(),
            steps in proptest::collection::vec((-700..1_500i16, twist()), 0..300),
            version in prop_oneof![1 => 1..4i32, 3 => Just(4)],
            swaps in proptest::collection::vec((any::<usize>(), any::<usize>()), 0..3),
            cut in 12..300usize,
        ) {
            let start = match is_trusted {
                true => Start::Trusted { id: params.genesis.id(), height: 7 },
                false => Start::Genesis,
            };
            let now = u64::from(params.genesis.time()) + 100_000;
            let new = || HeaderTree::new(HeaderRules::new(params.clone(), now), start, usize::MAX);
            let (mut tree, mut singly) = (new(), new());
            let mut blocks = grow(&mut new(), version, &steps);
            let len = blocks.len();
            for (a, b) in swaps.into_iter().filter(|_| len > 0) {
                blocks.swap(a % len, b % len);
            }
            let (headers, ids): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
            let positions: Vec<_> = (0..headers.len()).map(position).collect();
            for ((header, id), position) in headers.iter().zip(&ids).zip(&positions) {
                singly.insert(header, *id, *position);
            }
            for at in (0..headers.len()).step_by(cut) {
                let end = headers.len().min(at + cut);
                let mut at = at;
                while at < end {
                    let taken =
                        tree.insert_run(&headers[at..end], &ids[at..end], &positions[at..end]);
                    at += taken;
                    if taken == 0 {
                        tree.insert(&headers[at], ids[at], positions[at]);
                        at += 1;
                    }
                }
            }
            for id in &ids {
                let facts = |tree: &HeaderTree<HeaderRules>| {
                    tree.number_of(id).map(|number| {
                        let block = tree.block(number);
                        let parent = block.parent().map(|parent| parent.id());
                        let (height, work) = (block.height(), tree.work(number));
                        let by_each = block.lineage().filter(|block| !block.is_trusted());
                        let by_each = by_each.map(|block| block.bits().decode().expect("bits"));
                        let sum = by_each.map(Target::work).fold(Work::ZERO, Work::saturating_add);
                        assert_eq!(work, sum);
                        (parent, height, block.version(), block.time(), block.bits())
                    })
                };
                prop_assert_eq!(facts(&tree), facts(&singly));
            }
            prop_assert_eq!(tree.best(), singly.best());
            let outcome = |tree: HeaderTree<HeaderRules>| format!("{:?}", tree.finish());
            prop_assert_eq!(outcome(tree), outcome(singly));
        }
    }
}
