//! The contract of a backend: one body, which every backend goes through, against an oracle that
//! shares no code with any of them.

mod common;

use blockmill::compute::sha256::Platform;
use blockmill::compute::{Backend, Cpu, DispatchLimits, Reference};
use blockmill::primitives::{Hash256, Trees};

use common::groves;
use common::messages::{self, EDGES, FUNCTIONS, digests, digests_by, random_lengths};
use common::oracle;
use common::trees::Shape;

/// Where backends without a device have no limit, they get the numbers of a software device.
const LIMITS: DispatchLimits = DispatchLimits {
    headers: 1 << 18,
    leaves: 1 << 18,
    messages: 1 << 18,
    message_bytes: 16 << 20,
    longest_message: 64 << 10,
    nonces: 1 << 19,
};

/// The whole contract. `limits` are those of the device, if there is one.
fn conforms(backend: &dyn Backend, limits: DispatchLimits) {
    hashes_headers(backend, limits.headers);
    Shape::ALL.iter().for_each(|&shape| hashes_trees(backend, shape, limits.leaves));
    hashes_messages(backend, limits);
    hashes_groves(backend, limits);
    #[cfg(feature = "mine")]
    search::finds_the_lowest_winner(backend, limits.nonces);
    // Whatever was asked, an honest backend had nothing to report.
    let tally = backend.tally();
    assert_eq!((tally.fallbacks, tally.mismatches, tally.off), (0, 0, None), "{}", backend.name());
}

/// What stands in the results before a call, and must not stand there after it.
fn unwritten(count: usize) -> Vec<Hash256> {
    vec![Hash256::from_bytes([0xa5; 32]); count]
}

fn hashes_headers(backend: &dyn Backend, limit: usize) {
    let headers = oracle::headers(1, limit + 1);
    let expected = oracle::ids(&headers);
    // None and one; a subgroup and a workgroup of a device, full, one short and one over; and the
    // same of a dispatch: eight places of it go to known answers, so that `limit - 8` fills one,
    // and `limit - 7` needs a second one for a single header.
    let edges = [limit - 8, limit - 7, limit, limit + 1];
    for count in [0, 1, 31, 32, 255, 256, 257].into_iter().chain(edges) {
        let mut ids = unwritten(count);
        backend.header_ids(&headers[..count], &mut ids);
        assert!(ids == expected[..count], "{}: {count} headers", backend.name());
    }
}

fn hashes_trees(backend: &dyn Backend, shape: Shape, limit: usize) {
    let leaves = oracle::hashes(7, limit.max(1 << 12) + 1);
    let holds = |sizes: &[usize]| {
        let mut trees = Trees::new();
        // Each tree begins at a leaf of its own, so that no two of one size are alike.
        for (index, &size) in sizes.iter().enumerate() {
            let first = index % (leaves.len() - size + 1);
            trees.push(&leaves[first..first + size]);
        }
        let roots = shape.roots_by(backend, &trees);
        assert!(roots == shape.roots(&trees), "{}: {shape:?} of {sizes:?}", backend.name());
    };
    holds(&[]);
    // A root that is its only leaf, one pair, the two ways for a level to be odd, and all that
    // follow; each alone, and all together.
    let small: Vec<_> = (1..=70).collect();
    small.iter().for_each(|&size| holds(&[size]));
    holds(&small);
    // Around a power of two the height changes, or every level is odd.
    for power in [2, 3, 4, 5, 8, 10, 12] {
        holds(&[(1 << power) - 1, 1 << power, (1 << power) + 1]);
    }
    // As many trees as a batch of blocks has, of every small size.
    let many: Vec<_> = (0..2000).map(|index| 1 + index % 19).collect();
    holds(&many);
    // Two halves with known answers beside them no longer fit one dispatch; a tree larger than any
    // dispatch stands between smaller ones, which must keep their order.
    holds(&[limit / 2, limit / 2, 3]);
    holds(&[2, limit + 1, 3]);
}

fn hashes_messages(backend: &dyn Backend, limits: DispatchLimits) {
    let holds = |lengths: &[usize]| {
        let messages = messages::messages(lengths.iter().copied());
        for function in FUNCTIONS {
            let found = digests_by(backend, function, &messages);
            let (name, count) = (backend.name(), lengths.len());
            assert!(found == digests(function, &messages), "{name}: {function:?} of {count}");
        }
    };
    holds(&[]);
    EDGES.iter().for_each(|&length| holds(&[length]));
    // Every length about the ends of the first blocks, and as many messages as a workgroup takes,
    // one less and one more.
    let short: Vec<_> = (0..=200).collect();
    holds(&short);
    [63, 64, 65, 127, 128, 129].iter().for_each(|&count| holds(&short[..count]));
    // As many as a batch of blocks has, of all lengths up to several KiB.
    holds(&random_lengths(2000, 6 << 10));
    // As long as a device takes, one byte more, and far more, between others.
    let longest = limits.longest_message;
    holds(&[5, longest, longest + 1, 64, (1 << 20) + 7, longest - 1, 0, (3 << 20) + 1]);
    // More bytes than a dispatch takes, and more messages; of the latter eight places go to known
    // answers.
    holds(&vec![longest; limits.message_bytes / longest + 1]);
    [8, 7].iter().for_each(|spare| holds(&vec![9; limits.messages - spare]));
}

fn hashes_groves(backend: &dyn Backend, limits: DispatchLimits) {
    let bytes = groves::bytes(200_000);
    let holds = |sizes: &[(usize, usize)]| {
        let grove = |(index, &(messages, longest)): (usize, &(usize, usize))| {
            groves::grove(&bytes[index % 1000..], messages, longest)
        };
        let all: Vec<_> = sizes.iter().enumerate().map(grove).collect();
        for (function, shape) in groves::KINDS {
            let found = groves::by(backend, function, shape, &all);
            let right = groves::right(function, shape, &all);
            assert!(found == right, "{}: {shape:?} groves of {sizes:?}", backend.name());
            let digests = match backend.name() {
                "gpu" => Vec::new(),
                _ => groves::digests(function, &all),
            };
            let learnt = groves::learnt(backend, function, shape, &all);
            assert!(learnt == digests, "{}: digests of {sizes:?}", backend.name());
        }
    };
    holds(&[]);
    holds(&[(0, 0)]);
    // Every small number of transactions, alone and together.
    let small: Vec<_> = (0..=40).map(|messages| (messages, 300)).collect();
    small.iter().for_each(|&size| holds(&[size]));
    holds(&small);
    // As many blocks as a batch has, and blocks with many transactions between them.
    let many: Vec<_> = (0..400).map(|index| (index * 7 % 23, 500)).collect();
    holds(&many);
    holds(&[(2, 9), (3000, 700), (0, 0), (1, 1), (2000, 30)]);
    // One that no dispatch takes, and one of which some messages are too long for it, between others.
    let longest = limits.longest_message.min(64 << 10);
    holds(&[(5, 60), (limits.messages + 1, 3), (7, 100), (300, 2 * longest), (2, 9)]);
}

#[cfg(feature = "mine")]
mod search {
    use super::*;
    use blockmill::bitcoin::{Network, Params};
    use blockmill::compute::{HIT_LIST_CAPACITY, SearchJob};
    use blockmill::primitives::{Header, Target};
    use common::oracle::top_word;

    pub(super) fn finds_the_lowest_winner(backend: &dyn Backend, limit: u32) {
        empty_and_one_nonce_ranges(backend);
        ends_of_the_nonces(backend);
        several_winners(backend);
        candidates_that_lose(backend);
        genesis_headers(backend);
        crosses_dispatches(backend, limit);
    }

    fn header() -> Header {
        oracle::headers(3, 1)[0]
    }

    /// A target whose most significant word is `top` and whose others are zero.
    fn bare(top: u32) -> Target {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&top.to_be_bytes());
        Target::from_be_bytes(bytes)
    }

    /// The target that `hash` meets exactly.
    fn exactly(hash: Hash256) -> Target {
        Target::from_le_bytes(*hash.as_bytes())
    }

    /// The answer, which is the oracle's.
    fn answer(backend: &dyn Backend, job: &SearchJob) -> Option<u32> {
        let found = backend.search(job);
        assert_eq!(found, oracle::search(job), "{}: {job:?}", backend.name());
        found
    }

    fn empty_and_one_nonce_ranges(backend: &dyn Backend) {
        let header = header();
        // The last of them is what an end before zero looks like.
        for (first, last) in [(1, 0), (u32::MAX, 0), (u32::MAX, u32::MAX - 1), (700, 3)] {
            let job = SearchJob { header, target: Target::MAX, first, last };
            assert_eq!(answer(backend, &job), None);
        }
        // Both ends, and the sign bit. A hash equal to the target wins, one above it does not.
        for nonce in [0, 1, 77, 1 << 31, u32::MAX - 1, u32::MAX] {
            let id = oracle::id(&header.with_nonce(nonce));
            let met = SearchJob { header, target: exactly(id), first: nonce, last: nonce };
            assert_eq!(answer(backend, &met), Some(nonce));
            let mut below = *id.as_bytes();
            let odd = below.iter().position(|&byte| byte > 0).expect("a hash is not zero");
            below[..odd].fill(0xff);
            below[odd] -= 1;
            let missed = SearchJob { target: Target::from_le_bytes(below), ..met };
            assert_eq!(answer(backend, &missed), None);
        }
    }

    fn ends_of_the_nonces(backend: &dyn Backend) {
        let header = header();
        // No multiple of a workgroup, so that the last one is not full.
        for (first, last) in [(0, 299), (u32::MAX - 299, u32::MAX)] {
            for winner in [first, first + 150, last] {
                let target = exactly(oracle::id(&header.with_nonce(winner)));
                let job = SearchJob { header, target, first, last };
                assert!(answer(backend, &job) <= Some(winner));
                let alone = SearchJob { first: winner, ..job };
                assert_eq!(answer(backend, &alone), Some(winner));
            }
            let none = SearchJob { header, target: bare(0), first, last };
            assert_eq!(answer(backend, &none), None);
        }
    }

    fn several_winners(backend: &dyn Backend) {
        let header = header();
        let job = SearchJob { header, target: bare(u32::MAX / 50), first: 1000, last: 1999 };
        // One after the other, so that each of them is once the lowest.
        let (mut first, mut winners) = (job.first, 0);
        while let Some(winner) = answer(backend, &SearchJob { first, ..job }) {
            (first, winners) = (winner + 1, winners + 1);
        }
        assert!(winners > 5 && winners <= HIT_LIST_CAPACITY);
        // Winners so far apart that another thread may well meet a later one first.
        let mut job = SearchJob { target: bare(u32::MAX / 30_000), last: 900_999, ..job };
        for _ in 0..10 {
            let winner = answer(backend, &job).expect("thirty in this range");
            job.first = winner + 1;
        }
        // Every nonce wins: far more hits than a list holds, and then exactly as many, one less
        // and one more.
        let capacity = u32::try_from(HIT_LIST_CAPACITY).expect("a small number");
        for count in [5000, capacity - 1, capacity, capacity + 1] {
            let last = 4_000_000_000 + (count - 1);
            let all = SearchJob { header, target: Target::MAX, first: 4_000_000_000, last };
            assert_eq!(answer(backend, &all), Some(all.first));
        }
    }

    /// A device compares the most significant word alone, so a hash that shares it with the target
    /// is a candidate, and may yet lose.
    fn candidates_that_lose(backend: &dyn Backend) {
        let header = header();
        let top = |nonce| top_word(&oracle::id(&header.with_nonce(nonce)));
        // Alone: the lowest hash of the range, and a target just below it.
        let lowest = (0..2000).min_by_key(|&nonce| top(nonce)).expect("not empty");
        let job = SearchJob { header, target: bare(top(lowest)), first: 0, last: 1999 };
        assert_eq!(answer(backend, &job), None);
        // In a short list, before a winner: a nonce whose hash is above one that comes soon after.
        let early = (0..100).min_by_key(|&nonce| top(nonce)).expect("not empty");
        let second = (0..1000).find(|&nonce| top(nonce) < top(early)).expect("one is lower");
        let job = SearchJob { target: bare(top(early)), last: 999, ..job };
        assert_eq!(answer(backend, &job), Some(second));
        assert!(early < second);
        // In a list that overflows: the first nonce is the lowest candidate and loses.
        let first = (0..).find(|&nonce| top(nonce) > u32::MAX / 2).expect("every other one");
        let target = bare(top(first));
        let job = SearchJob { header, target, first, last: first + 1999 };
        let candidates = job.nonces().filter(|&nonce| top(nonce) <= target.top_word()).count();
        assert!(candidates > HIT_LIST_CAPACITY);
        assert!(answer(backend, &job) > Some(first));
    }

    /// The real thing: the published nonces of five networks, in a window around each.
    fn genesis_headers(backend: &dyn Backend) {
        for network in Network::ALL {
            let genesis = Params::of(network).genesis;
            let target = genesis.bits().decode().expect("published bits");
            let (first, last) = (genesis.nonce().saturating_sub(300), genesis.nonce() + 300);
            let job = SearchJob { header: genesis.with_nonce(0), target, first, last };
            let found = answer(backend, &job).expect("the published nonce wins");
            // On regtest every other nonce wins, elsewhere none beside the published one is near.
            if network == Network::Regtest {
                assert!(found <= genesis.nonce());
            } else {
                assert_eq!(found, genesis.nonce(), "{network}");
            }
        }
    }

    /// The winner is the last nonce of a dispatch, the first of the next one, or just not there.
    fn crosses_dispatches(backend: &dyn Backend, limit: u32) {
        let genesis = Params::of(Network::Main).genesis;
        let target = genesis.bits().decode().expect("published bits");
        let nonce = genesis.nonce();
        let job = SearchJob { header: genesis, target, first: nonce - (limit - 1), last: nonce };
        assert_eq!(backend.search(&job), Some(nonce));
        let next = SearchJob { first: nonce - limit, last: nonce + 1, ..job };
        assert_eq!(backend.search(&next), Some(nonce));
        let none = SearchJob { first: nonce - limit, last: nonce - 1, ..job };
        assert_eq!(backend.search(&none), None);
    }
}

#[test]
fn reference() {
    // The plain code takes its time without optimization, and knows no dispatch: an edge at a
    // sixteenth of a device's limits is as good as any.
    let limits = DispatchLimits {
        headers: LIMITS.headers / 16,
        leaves: LIMITS.leaves / 16,
        messages: LIMITS.messages / 16,
        message_bytes: LIMITS.message_bytes / 16,
        longest_message: LIMITS.longest_message / 16,
        nonces: LIMITS.nonces / 16,
    };
    conforms(&Reference, limits);
}

#[test]
fn cpu_on_one_thread() {
    conforms(&Cpu::new(1).expect("a thread"), LIMITS);
}

#[test]
fn cpu_on_three_threads() {
    let cpu = Cpu::new(3).expect("three threads");
    assert_eq!(cpu.threads(), 3);
    conforms(&cpu, LIMITS);
}

/// The instructions that are not the best ones here, on one thread and on two.
#[test]
fn cpu_with_other_instructions() {
    for platform in Platform::all().skip(1) {
        [1, 2].iter().for_each(|&threads| {
            conforms(&Cpu::on(platform, threads).expect("threads"), LIMITS);
        });
    }
}

/// The guard alone, over an honest device whose dispatches are so small that most jobs need many.
#[test]
fn guarded_simulation() {
    let (guarded, _) =
        common::faulty::guarded(common::faulty::Fault::None, blockmill::compute::CrossCheck::OFF);
    conforms(&guarded, common::faulty::LIMITS);
}

#[cfg(feature = "gpu")]
#[test]
fn guarded_software_gpu() {
    use blockmill::compute::{CrossCheck, Device, Guarded, Tested};

    let Some(adapter) = common::test_adapter() else { return };
    let device = adapter.open().expect("the adapter opens");
    let limits = device.limits();
    let tested = Tested::new(Box::new(device)).expect("the adapter works");
    let cpu = Cpu::new(1).expect("a thread");
    conforms(&Guarded::new(tested, cpu, CrossCheck::OFF), limits);
}
