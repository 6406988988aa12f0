//! The search for the lowest bad signature in a batch that fails.

use std::ops::{Range, RangeInclusive};

/// Fewer signatures than this are checked one by one: should the batch fail, the search after it
/// would cost more than it saved. See [`lowest_bad`].
pub(super) const BATCH_MIN: usize = 16;

/// The sizes of ranges that are checked by two equations, of a half each, if the keys are distinct.
///
/// If the left half fails, the right one is spared; if all is good, the second equation costs little
/// as long as curve25519-dalek takes Straus's algorithm, below 190 points (B, and a key and an R for
/// each signature): about 2 % at 64 signatures, and less above. Pippenger's algorithm, which it takes
/// for more points, has a fixed part worth 50 signatures, and two equations would cost a good batch
/// 5 to 15 %.
pub(super) const HALVED: RangeInclusive<usize> = 64..=94;

/// The lowest bad index in `range`, where `all_good` says whether a range holds no bad one, and
/// `halved` whether to ask about the halves of a range in its stead.
///
/// First the whole; then, while a range is known to hold a bad one, its left half. If the left half
/// is good, the right one holds a bad one and need not be asked. So after the whole, n/2 + n/4 + ...
/// < n signatures are looked at, *wherever the bad ones are and however many*, in at most
/// log2(n) + 3 equations.
///
/// Of these the whole is the cheapest for its size and the last ones are the dearest. An equation
/// over m signatures of distinct keys shares its doublings, most of what one alone costs, and takes
/// as long as 1 + m/3 single ones, or 10 + 2m/9 with Pippenger's algorithm (measured). Decoding and
/// hashing are done once either way; for kept keys they take a fifth of a single equation, for
/// others a third.
///
/// Counting each case, as a test does, a failing batch is cheaper than checking one by one from 11
/// signatures on. It takes at most 95 % of that from [`BATCH_MIN`] on, which leaves room for
/// processors with other proportions, and from the least of [`HALVED`] on at most 80 % (77 % with
/// kept keys), falling to 75 % at 160 signatures and 60 % at 4,096. Keys that sign often make
/// it less, but for the ranges that are then no longer halved: those take up to 82 %.
pub(super) fn lowest_bad(
    range: Range<usize>,
    halved: &dyn Fn(&Range<usize>) -> bool,
    all_good: &mut dyn FnMut(Range<usize>) -> bool,
) -> Option<usize> {
    let suspect = if halved(&range) {
        let middle = middle(&range);
        [range.start..middle, middle..range.end].into_iter().find(|half| !all_good(half.clone()))?
    } else if range.is_empty() || all_good(range.clone()) {
        return None;
    } else {
        range
    };
    Some(lowest_of_some(suspect, halved, all_good))
}

/// [`lowest_bad`] in a range that is known to hold a bad one.
fn lowest_of_some(
    mut suspect: Range<usize>,
    halved: &dyn Fn(&Range<usize>) -> bool,
    all_good: &mut dyn FnMut(Range<usize>) -> bool,
) -> usize {
    while suspect.len() > 1 {
        let middle = middle(&suspect);
        if let Some(index) = lowest_bad(suspect.start..middle, halved, all_good) {
            return index;
        }
        suspect.start = middle;
    }
    suspect.start
}

/// Where the right half of `range` starts.
const fn middle(range: &Range<usize>) -> usize {
    range.start + (range.end - range.start) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What decoding and hashing a signature costs, in hundredths of a single equation.
    const DECODING: [usize; 2] = [KEPT, KEPT + 16];
    const KEPT: usize = 18;
    const SINGLE: usize = 100;

    /// What an equation over so many signatures of distinct keys costs, in the same unit.
    fn equation_cost(signatures: usize) -> usize {
        match signatures {
            1 => SINGLE,
            2..95 => 90 + 33 * signatures,
            _ => 1_050 + 22 * signatures,
        }
    }

    /// What a search finds, and the number and cost of its equations.
    fn search(bad: &[bool]) -> (Option<usize>, usize, usize) {
        let (mut equations, mut cost) = (0, 0);
        let mut all_good = |range: Range<usize>| {
            equations += 1;
            cost += equation_cost(range.len());
            !bad[range].contains(&true)
        };
        let halved = |range: &Range<usize>| HALVED.contains(&range.len());
        let found = lowest_bad(0..bad.len(), &halved, &mut all_good);
        (found, equations, cost)
    }

    /// The cost of the dearest search in a batch, in percent of checking it one by one, rounded up.
    fn dearest(len: usize, decoding: usize) -> usize {
        let mut dearest = 0;
        for place in 0..len {
            // The first bad one decides: one bad, and all bad from there on.
            for end in [place + 1, len] {
                let bad: Vec<_> = (0..len).map(|i| (place..end).contains(&i)).collect();
                let (found, equations, cost) = search(&bad);
                assert_eq!(found, Some(place));
                assert!(equations <= 3 + len.ilog2() as usize, "{len} {place}: {equations}");
                dearest = dearest.max(cost);
            }
        }
        (100 * (dearest + len * decoding)).div_ceil(len * (SINGLE + decoding))
    }

    #[test]
    fn a_search_never_costs_more_than_checking_one_by_one() {
        for decoding in DECODING {
            for len in BATCH_MIN..=400 {
                let limit = if len < *HALVED.start() { 95 } else { 80 };
                let percent = dearest(len, decoding);
                assert!(percent <= limit, "{len}: {percent} %");
            }
        }
        for len in [*HALVED.start(), *HALVED.end(), 128, 188, 512, 1_024] {
            let percent = dearest(len, KEPT);
            assert!(percent <= 75, "{len}: {percent} %");
        }
    }

    #[test]
    fn a_search_in_a_large_batch_takes_few_equations() {
        for place in [0, 1, 511, 512, 700, 1_023] {
            let bad: Vec<_> = (0..1_024).map(|i| i == place).collect();
            let (found, equations, _) = search(&bad);
            assert_eq!(found, Some(place));
            // One more where the second half of 64 is asked about.
            assert!((10..=12).contains(&equations), "{place}: {equations}");
        }
    }

    #[test]
    fn good_batches_take_one_equation_or_two() {
        assert_eq!(search(&[]), (None, 0, 0));
        assert_eq!(search(&[false; 63]), (None, 1, equation_cost(63)));
        assert_eq!(search(&[false; 65]), (None, 2, equation_cost(32) + equation_cost(33)));
        assert_eq!(search(&[false; 95]), (None, 1, equation_cost(95)));
    }
}
