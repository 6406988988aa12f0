//! What a faulty device does to the hits of a search.

use blockmill::compute::{HIT_LIST_CAPACITY, Hits, SearchDispatch, SearchResult};
use blockmill::primitives::Header;

use super::faulty::{Fault, is_candidate};

/// A wrong statement about hits. But for the last four it is about the header that is mined, and
/// nothing but the hits themselves shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchFault {
    /// One hit more than there is, and than is listed.
    CountTooHigh,
    /// One hit less than is listed.
    CountTooLow,
    /// More hits than there are nonces, in a list as long as any.
    CountBeyondRange,
    /// The largest listed hit is called the lowest.
    LowestTooHigh,
    /// The nonce before the lowest hit is called the lowest.
    LowestTooLow,
    /// The lowest hit is called so, and neither counted nor listed.
    LowestNotListed,
    /// A hit is listed that is not counted.
    ListTooLong,
    /// A hit is counted and not listed.
    ListTooShort,
    /// One hit stands twice, in another's place.
    Duplicate,
    /// A hit below the range, counted, listed and called the lowest.
    BelowRange,
    /// A hit above the range, counted and listed.
    AboveRange,
    /// A nonce of the range that is no hit, counted and listed.
    NoHit,
    /// No hits at all, of either header.
    DropAll,
    /// No hits of the decoy.
    DropDecoy,
    /// One hit of the decoy is neither counted nor listed.
    DropOneOfDecoy,
    /// A nonce that is no hit is counted and listed for the decoy.
    NoHitOfDecoy,
    /// The decoy's hits are listed, and another nonce is called the lowest.
    LowestOfDecoy,
}

impl SearchFault {
    pub const ALL: [Self; 17] = [
        Self::CountTooHigh,
        Self::CountTooLow,
        Self::CountBeyondRange,
        Self::LowestTooHigh,
        Self::LowestTooLow,
        Self::LowestNotListed,
        Self::ListTooLong,
        Self::ListTooShort,
        Self::Duplicate,
        Self::BelowRange,
        Self::AboveRange,
        Self::NoHit,
        Self::DropAll,
        Self::DropDecoy,
        Self::DropOneOfDecoy,
        Self::NoHitOfDecoy,
        Self::LowestOfDecoy,
    ];

    fn spoil(self, dispatch: &SearchDispatch, result: &mut SearchResult) {
        let SearchDispatch { header, target, first, count, .. } = *dispatch;
        let is_hit = |nonce: &u32| is_candidate(&header, target, *nonce);
        let SearchResult { header: hits, decoy } = result;
        let largest = hits.nonces.iter().copied().max();
        match self {
            Self::CountTooHigh => hits.count += 1,
            Self::CountTooLow => hits.count = hits.count.saturating_sub(1),
            Self::CountBeyondRange => {
                hits.count = count + 1;
                hits.nonces.resize(HIT_LIST_CAPACITY.min(hits.count as usize), first);
            }
            Self::LowestTooHigh => hits.lowest = largest.unwrap_or(hits.lowest),
            Self::LowestTooLow => hits.lowest = hits.lowest.wrapping_sub(1),
            Self::LowestNotListed => {
                let lowest = hits.lowest;
                hits.nonces.retain(|&nonce| nonce != lowest);
                hits.count = u32::try_from(hits.nonces.len()).expect("a short list");
            }
            Self::ListTooLong => hits.nonces.push(first),
            Self::ListTooShort => drop(hits.nonces.pop()),
            Self::Duplicate => {
                let again = largest.unwrap_or(first);
                if let Some(other) = hits.nonces.iter_mut().find(|nonce| **nonce != again) {
                    *other = again;
                }
                hits.lowest = hits.nonces.iter().copied().min().unwrap_or(u32::MAX);
            }
            Self::BelowRange => {
                let below = (0..first).rev().find(is_hit).expect("room below the range");
                add(hits, below);
                hits.lowest = below;
            }
            Self::AboveRange => {
                let above = (first + count..).find(is_hit).expect("room above the range");
                add(hits, above);
            }
            Self::NoHit => {
                let none = (first..first + count).rev().find(|nonce| !is_hit(nonce));
                add(hits, none.unwrap_or(first));
            }
            Self::DropAll => *result = SearchResult { header: none(), decoy: none() },
            Self::DropDecoy => *decoy = none(),
            Self::DropOneOfDecoy => {
                let dropped = decoy.nonces.pop();
                decoy.count -= 1;
                if dropped == Some(decoy.lowest) {
                    decoy.lowest = decoy.nonces.iter().copied().min().unwrap_or(u32::MAX);
                }
            }
            Self::NoHitOfDecoy => {
                let mut nonces = dispatch.decoy_first..;
                let is_hit = |nonce| is_candidate(&dispatch.decoy, dispatch.decoy_target, nonce);
                add(decoy, nonces.find(|&nonce| !is_hit(nonce)).expect("most are none"));
                decoy.lowest = decoy.nonces.iter().copied().min().unwrap_or(u32::MAX);
            }
            Self::LowestOfDecoy => decoy.lowest ^= 1,
        }
    }
}

/// Counts and lists one hit more; in a full list it takes the place of another.
fn add(hits: &mut Hits, nonce: u32) {
    hits.count += 1;
    hits.nonces.truncate(HIT_LIST_CAPACITY - 1);
    hits.nonces.push(nonce);
}

fn none() -> Hits {
    Hits { count: 0, lowest: u32::MAX, nonces: Vec::new() }
}

impl Fault {
    /// What becomes of the right result of a search.
    pub fn spoil_search(
        &self,
        dispatch: &SearchDispatch,
        right: SearchResult,
        last: SearchResult,
        noise: &[u8],
    ) -> SearchResult {
        let mut result = right;
        let words = |result: &mut SearchResult, spoil: &mut dyn FnMut(usize, &mut u32)| {
            let SearchResult { header, decoy } = result;
            let all = [header, decoy].into_iter().flat_map(|Hits { count, lowest, nonces }| {
                [count, lowest].into_iter().chain(nonces.iter_mut())
            });
            all.enumerate().for_each(|(index, word)| spoil(index, word));
        };
        match self {
            Self::FlipEveryWord => {
                words(&mut result, &mut |index, word| *word ^= 1 << (index * 7 % 32));
            }
            Self::FlipWord { word: wanted, bit } => {
                words(&mut result, &mut |index, word| {
                    *word ^= u32::from(index == *wanted) << bit;
                });
            }
            Self::Zeros | Self::ComesBackWrong => result = SearchResult::default(),
            Self::Nothing => {
                // What a host makes of a buffer of noise.
                let mut noise = noise.as_chunks::<4>().0.iter().cycle();
                let mut word = || u32::from_le_bytes(*noise.next().expect("the buffer was filled"));
                let mut random = || {
                    let (count, lowest) = (word(), word());
                    let listed = HIT_LIST_CAPACITY.min(count as usize);
                    Hits { count, lowest, nonces: (0..listed).map(|_| word()).collect() }
                };
                result = SearchResult { header: random(), decoy: random() };
            }
            Self::Stale => result = last,
            Self::Shifted => std::mem::swap(&mut result.header, &mut result.decoy),
            Self::Echo => {
                let own = |header: &Header| {
                    let nonce = header.nonce();
                    Hits { count: 1, lowest: nonce, nonces: vec![nonce] }
                };
                result =
                    SearchResult { header: own(&dispatch.header), decoy: own(&dispatch.decoy) };
            }
            Self::Search(fault) => fault.spoil(dispatch, &mut result),
            _ => {}
        }
        result
    }
}
