//! The GPU device against the reference, on the software driver, so that it runs anywhere, or on the
//! device that `BLOCKMILL_TEST_DEVICE` names.
//!
//! The software adapter is opened on purpose: on a machine with a graphics card these tests are
//! still about the kernels, not about that card. Without an adapter each test says so and passes;
//! with `BLOCKMILL_REQUIRE_GPU=1` it fails instead.

#![cfg(feature = "gpu")]

mod common;

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use blockmill::compute::gpu::{Adapter, Gpu, Kernels, adapters};
use blockmill::compute::{
    Backend, Device, DeviceError, HASHES_AT_ONCE, Noise, Reference, TreeShape, Work,
};
use blockmill::primitives::{Grove, Hash256, HashFunction, Header, Leaf, Messages, Trees, sha256d};

use common::groves;
use common::messages::{EDGES, FUNCTIONS, messages, random_lengths};
use common::trees::{Shape, trees};

/// The device that all tests share, because a software driver takes a second to compile a kernel.
fn gpu(kernels: Kernels) -> Option<MutexGuard<'static, Gpu>> {
    static GENERATED: OnceLock<Option<Mutex<Gpu>>> = OnceLock::new();
    static MULTIPLY_ADD: OnceLock<Option<Mutex<Gpu>>> = OnceLock::new();
    static READABLE: OnceLock<Option<Mutex<Gpu>>> = OnceLock::new();
    let place = match kernels {
        Kernels::Generated => &GENERATED,
        Kernels::MultiplyAdd => &MULTIPLY_ADD,
        Kernels::Readable => &READABLE,
    };
    let gpu = place.get_or_init(|| {
        let adapter = common::test_adapter()?;
        Some(Mutex::new(adapter.open_with(kernels).expect("the adapter opens")))
    });
    Some(gpu.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Hashes that differ and look random: the one of each number after `seed`.
fn hashes(seed: u64, count: usize) -> Vec<Hash256> {
    (seed..).take(count).map(|number| sha256d(&number.to_le_bytes())).collect()
}

fn header(seed: u64) -> Header {
    let mut bytes = [0; Header::LEN];
    let random = hashes(seed, 3);
    for (bytes, hash) in bytes.chunks_mut(32).zip(&random) {
        bytes.copy_from_slice(&hash.as_bytes()[..bytes.len()]);
    }
    Header::from_bytes(bytes)
}

fn headers(count: usize) -> Vec<Header> {
    (0..count as u64).map(|index| header(index * 1000)).collect()
}

/// What stands in result slices before a call.
fn noise(count: usize) -> Vec<Hash256> {
    vec![Hash256::from_bytes([0xa5; 32]); count]
}

fn header_ids(gpu: &mut Gpu, headers: &[Header]) -> Vec<Hash256> {
    let mut ids = noise(headers.len());
    hash_headers(gpu, headers, &mut ids).expect("a batch within the limits");
    ids
}

fn hash_headers(gpu: &mut Gpu, headers: &[Header], ids: &mut [Hash256]) -> Result<(), DeviceError> {
    gpu.hash(&Work::Headers(&headers.iter().collect::<Vec<_>>()), ids)
}

fn hash_trees(
    gpu: &mut Gpu,
    shape: TreeShape,
    trees: &Trees,
    roots: &mut [Hash256],
) -> Result<(), DeviceError> {
    gpu.hash(&Work::Trees(shape, &trees.iter().collect::<Vec<_>>()), roots)
}

fn hash_messages(
    gpu: &mut Gpu,
    function: HashFunction,
    messages: &Messages,
    digests: &mut [Hash256],
) -> Result<(), DeviceError> {
    gpu.hash(&Work::Messages(function, &messages.iter().collect::<Vec<_>>()), digests)
}

fn roots(gpu: &mut Gpu, shape: Shape, trees: &Trees) -> Result<Vec<Hash256>, DeviceError> {
    let mut roots = noise(trees.len());
    match shape {
        Shape::Bitcoin => hash_trees(gpu, TreeShape::Bitcoin, trees, &mut roots)?,
        Shape::Rfc6962 => hash_trees(gpu, TreeShape::Rfc6962, trees, &mut roots)?,
    }
    Ok(roots)
}

fn assert_roots(gpu: &mut Gpu, shape: Shape, trees: &Trees) {
    let found = roots(gpu, shape, trees).expect("a batch within the limits");
    assert!(found == shape.roots_by(&Reference, trees), "{} {shape:?} trees", trees.len());
}

fn digests(
    gpu: &mut Gpu,
    function: HashFunction,
    messages: &Messages,
) -> Result<Vec<Hash256>, DeviceError> {
    let mut digests = noise(messages.len());
    hash_messages(gpu, function, messages, &mut digests)?;
    Ok(digests)
}

fn assert_digests(gpu: &mut Gpu, messages: &Messages) {
    for function in FUNCTIONS {
        let found = digests(gpu, function, messages).expect("a batch within the limits");
        // The reference is slow without optimization, and is held to the oracle elsewhere.
        let right = common::messages::digests(function, messages);
        assert!(found == right, "{function:?} of {} messages", messages.len());
    }
}

fn assert_refused<T: Debug>(answer: &Result<T, DeviceError>) {
    assert!(matches!(answer, Err(DeviceError::Refused(_))), "{answer:?}");
}

#[test]
fn adapters_have_ids_of_their_own() {
    let ids: Vec<_> = adapters().iter().map(|adapter| adapter.info().id.clone()).collect();
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[..index].contains(id), "{ids:?}");
        assert!(id.contains(':') && !id.contains(' '), "{id}");
    }
}

/// NVIDIA's driver crashed when several threads asked for adapters, each by an entry of its own.
#[test]
fn several_threads_may_look_for_adapters_and_open_them() {
    let Some(adapter) = common::test_adapter() else { return };
    let header = &headers(1)[0];
    let mut right = [Hash256::ZERO];
    Reference.header_ids(std::slice::from_ref(header), &mut right);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let same = |found: &Adapter| found.info().id == adapter.info().id;
                    let found = adapters().into_iter().find(same).expect("it is still there");
                    let mut gpu = found.open().expect("the adapter opens");
                    let mut id = noise(1);
                    gpu.hash(&Work::Headers(&[header]), &mut id).expect("the device works");
                    assert!(id == right);
                }
            });
        }
    });
}

#[test]
fn headers_equal_the_reference() {
    let Some(mut gpu) = gpu(Kernels::Generated) else { return };
    let most = gpu.limits().headers;
    let headers = headers(most + 1);
    let mut expected = noise(most);
    Reference.header_ids(&headers[..most], &mut expected);

    // Largest first, so that the kept buffers are larger than the later batches.
    for count in [most, 257, 256, 255, 65, 64, 63, 32, 31, 1, 0] {
        assert!(header_ids(&mut gpu, &headers[..count]) == expected[..count], "{count} headers");
    }
    assert_refused(&hash_headers(&mut gpu, &headers, &mut noise(most + 1)));
    assert_refused(&hash_headers(&mut gpu, &headers[..2], &mut noise(1)));
    gpu.rebuild().expect("the adapter is still there");
    // What is refused before it reaches the driver leaves the device open.
    assert!(header_ids(&mut gpu, &headers[..3]) == expected[..3]);
}

#[test]
fn roots_equal_the_reference() {
    let Some(mut gpu) = gpu(Kernels::Generated) else { return };
    let most = gpu.limits().leaves;
    for shape in Shape::ALL {
        for count in [1, 2, 3, 5, 7, 9, 31, 32, 33, 127, 128, 129, 4095, 4096, 4097] {
            assert_roots(&mut gpu, shape, &trees([count]));
        }
        assert_roots(&mut gpu, shape, &trees([]));
        assert_roots(&mut gpu, shape, &trees([1; 100]));
        assert_roots(&mut gpu, shape, &trees((1..=200).chain((1..=200).rev())));

        assert_roots(&mut gpu, shape, &trees([most]));
        // The shape with the most inner nodes for its leaves.
        assert_roots(&mut gpu, shape, &trees(vec![9; most / 9]));
        assert_refused(&roots(&mut gpu, shape, &trees([most, 1])));
        assert_roots(&mut gpu, shape, &trees([6]));
    }
    assert_refused(&hash_trees(&mut gpu, TreeShape::Bitcoin, &trees([2]), &mut []));
    gpu.rebuild().expect("the adapter is still there");
    assert_refused(&hash_trees(&mut gpu, TreeShape::Rfc6962, &trees([2]), &mut []));
    gpu.rebuild().expect("the adapter is still there");
    assert_roots(&mut gpu, Shape::Rfc6962, &trees([6]));
}

#[test]
fn digests_of_messages_are_right() {
    let Some(mut gpu) = gpu(Kernels::Generated) else { return };
    let limits = gpu.limits();
    let (most, longest) = (limits.messages, limits.longest_message);
    // Every limit reached and exceeded by one, largest first.
    assert_digests(&mut gpu, &messages(vec![3; most]));
    assert_refused(&digests(&mut gpu, HashFunction::Sha256, &messages(vec![0; most + 1])));
    let full = vec![longest; limits.message_bytes / longest];
    assert_digests(&mut gpu, &messages(full.iter().copied()));
    let too_full = full.into_iter().chain([limits.message_bytes % longest + 1]);
    assert_refused(&digests(&mut gpu, HashFunction::Sha256, &messages(too_full)));
    assert_refused(&digests(&mut gpu, HashFunction::Sha256, &messages([longest + 1])));
    assert_refused(&hash_messages(&mut gpu, HashFunction::Sha256d, &messages([2]), &mut []));
    gpu.rebuild().expect("the adapter is still there");

    assert_digests(&mut gpu, &messages(0..=200));
    EDGES.iter().for_each(|&length| assert_digests(&mut gpu, &messages([length])));
    [63, 64, 65].iter().for_each(|&count| assert_digests(&mut gpu, &messages(vec![250; count])));
    assert_digests(&mut gpu, &messages(random_lengths(3000, 6 << 10)));
    assert_digests(&mut gpu, &messages([]));
}

#[test]
fn readable_hash_kernels_equal_the_generated_ones() {
    let headers = headers(1000);
    let trees = trees((1..=60).chain([1000]));
    let messages = messages((0..=200).chain(random_lengths(100, 4 << 10)));
    let outputs = [Kernels::Generated, Kernels::Readable].map(|kernels| {
        let mut gpu = gpu(kernels)?;
        assert_eq!(gpu.kernels(), kernels);
        let ids = header_ids(&mut gpu, &headers);
        let roots = Shape::ALL.map(|shape| roots(&mut gpu, shape, &trees).expect("roots"));
        let digests = FUNCTIONS.map(|of| digests(&mut gpu, of, &messages).expect("digests"));
        Some((ids, roots, digests))
    });
    let [generated, readable] = outputs;
    assert!(generated == readable);
}

#[test]
fn groves_are_hashed_in_one_piece() {
    let Some(mut gpu) = gpu(Kernels::Generated) else { return };
    let bytes = groves::bytes(20_000);
    let grove = |messages| groves::grove(&bytes[messages % 50..], messages, 700);
    // One message and no tree, few, and about a workgroup; then all of them together.
    let all: Vec<_> = [1, 2, 3, 0, 7, 63, 64, 65, 200].map(grove).into();
    let together: Vec<_> = all.iter().collect();
    let mut each: Vec<Vec<_>> = together.iter().map(|grove| vec![*grove]).collect();
    each.push(together);
    for (function, shape) in groves::KINDS {
        for groves in &each {
            let work = Work::Groves(function, shape.tree_shape(), groves);
            let mut found = noise(work.len());
            gpu.hash(&work, &mut found).expect("within the limits");
            let right = groves.iter().flat_map(|one| groves::roots(function, shape, one));
            assert!(found == right.collect::<Vec<_>>(), "{shape:?}, {} groves", groves.len());
        }
    }
    // A root that is given is not hashed, nor is anything else here.
    let mut given = Grove::default();
    given.push(&[&bytes[..10]]);
    given.push_tree(std::iter::once(Leaf::Given(Hash256::from_bytes([9; 32]))));
    let mut found = noise(1);
    let work = Work::Groves(HashFunction::Sha256d, TreeShape::Bitcoin, &[&given]);
    gpu.hash(&work, &mut found).expect("within the limits");
    assert_eq!(found, [Hash256::from_bytes([9; 32])]);

    let messages = gpu.limits().messages + 1;
    let too_large = groves::grove(&bytes, messages, 0);
    let work = Work::Groves(HashFunction::Sha256, TreeShape::Rfc6962, &[&too_large]);
    assert_refused(&gpu.hash(&work, &mut noise(work.len())));
}

#[test]
fn several_pieces_of_work_are_under_way_and_end_in_order() {
    let Some(mut gpu) = gpu(Kernels::Generated) else { return };
    let headers = headers(700);
    let headers: Vec<_> = headers.iter().collect();
    let leaves = hashes(5, 900);
    let trees: Vec<_> = leaves.chunks(9).chain([&leaves[..1]]).collect();
    let messages: Vec<_> = leaves.iter().map(|leaf| &leaf.as_bytes()[..7]).collect();
    let bytes = groves::bytes(900);
    let groves = [groves::grove(&bytes, 30, 80), groves::grove(&bytes[5..], 2, 80)];
    let groves: Vec<_> = groves.iter().collect();
    // Of different kinds and sizes, so that later ones could be done first and buffers be mixed up.
    let all = [
        Work::Headers(&headers),
        Work::Trees(TreeShape::Bitcoin, &trees[..3]),
        Work::Headers(&headers[..1]),
        Work::Messages(HashFunction::Sha256d, &messages),
        Work::Groves(HashFunction::Sha256d, TreeShape::Bitcoin, &groves),
        Work::Trees(TreeShape::Rfc6962, &trees),
        Work::Trees(TreeShape::Bitcoin, &trees[100..]),
        Work::Headers(&[]),
        Work::Messages(HashFunction::Sha256, &messages[..100]),
    ];
    let alone: Vec<_> = all
        .iter()
        .map(|work| {
            let mut digests = noise(work.len());
            gpu.hash(work, &mut digests).expect("within the limits");
            digests
        })
        .collect();
    let mut ended = 0;
    for (begun, work) in all.iter().enumerate() {
        if begun - ended == HASHES_AT_ONCE {
            let mut digests = noise(all[ended].len());
            gpu.finish_hashing(&mut digests).expect("it is under way");
            assert!(digests == alone[ended], "{ended}");
            ended += 1;
        }
        gpu.start_hashing(work, &Noise::new(7)).expect("there is room");
    }
    assert_refused(&gpu.start_hashing(&all[0], &Noise::new(7)));
    gpu.rebuild().expect("the adapter is still there");
    assert_refused(&gpu.finish_hashing(&mut noise(1)));
    gpu.rebuild().expect("the adapter is still there");
}

#[test]
fn rebuilding_opens_the_same_device() {
    let Some(mut gpu) = gpu(Kernels::Readable) else { return };
    let id = gpu.info().id.clone();
    let headers = headers(3);
    let before = header_ids(&mut gpu, &headers);
    gpu.rebuild().expect("the adapter is still there");
    assert_eq!(gpu.info().id, id);
    assert_eq!(gpu.kernels(), Kernels::Readable);
    assert_eq!(header_ids(&mut gpu, &headers), before);
}

#[cfg(feature = "mine")]
mod search {
    use super::*;
    use blockmill::compute::{
        HIT_LIST_CAPACITY, Hits, SEARCH_GROUP, SEARCHES_AT_ONCE, SearchDispatch, SearchResult,
    };
    use blockmill::primitives::Target;

    /// A target whose most significant word is `top`.
    fn target(top: u32) -> Target {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&top.to_be_bytes());
        Target::from_be_bytes(bytes)
    }

    /// A target that one in `denominator` hashes meets.
    fn one_in(denominator: u32) -> Target {
        target(u32::MAX / denominator)
    }

    /// The most significant word of an id, which is what the kernel compares.
    fn top_word(id: &Hash256) -> u32 {
        let [.., a, b, c, d] = *id.as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn dispatch(first: u32, count: u32, decoy_group: u32) -> SearchDispatch {
        SearchDispatch {
            header: header(1),
            target: one_in(40),
            first,
            count,
            decoy: header(2),
            decoy_target: one_in(20),
            decoy_first: first.rotate_left(7) & !(SEARCH_GROUP - 1),
            decoy_group,
        }
    }

    /// Every candidate, in order, by the reference.
    fn candidates(header: &Header, target: Target, first: u32, count: u32) -> Vec<u32> {
        let nonces: Vec<u32> = (0..count).map(|offset| first + offset).collect();
        let headers: Vec<_> = nonces.iter().map(|&nonce| header.with_nonce(nonce)).collect();
        let mut ids = noise(headers.len());
        Reference.header_ids(&headers, &mut ids);
        let wins = |&(_, id): &(u32, &Hash256)| top_word(id) <= target.top_word();
        nonces.into_iter().zip(&ids).filter(wins).map(|(nonce, _)| nonce).collect()
    }

    fn assert_hits(hits: &Hits, expected: &[u32]) {
        assert_eq!(hits.count as usize, expected.len());
        assert_eq!(hits.lowest, expected.first().copied().unwrap_or(u32::MAX));
        let mut nonces = hits.nonces.clone();
        nonces.sort_unstable();
        if expected.len() <= HIT_LIST_CAPACITY {
            assert_eq!(nonces, expected);
        } else {
            nonces.dedup();
            assert_eq!(nonces.len(), HIT_LIST_CAPACITY);
            assert!(nonces.iter().all(|nonce| expected.contains(nonce)));
        }
    }

    fn search(gpu: &mut Gpu, dispatch: &SearchDispatch) -> SearchResult {
        let mut calls = 0;
        let mut noise = |bytes: &mut [u8]| {
            calls += 1;
            bytes.fill(0xa5);
        };
        let result = gpu.search(dispatch, &mut noise).expect("a dispatch within the limits");
        assert_eq!(calls, 1);
        result
    }

    fn assert_search(gpu: &mut Gpu, dispatch: &SearchDispatch) {
        let result = search(gpu, dispatch);
        let &SearchDispatch { header, target, first, count, decoy, .. } = dispatch;
        assert_hits(&result.header, &candidates(&header, target, first, count));
        let (decoy_target, decoy_first) = (dispatch.decoy_target, dispatch.decoy_first);
        let expected = candidates(&decoy, decoy_target, decoy_first, SEARCH_GROUP);
        assert_hits(&result.decoy, &expected);
    }

    #[test]
    fn search_equals_the_reference() {
        let Some(mut gpu) = gpu(Kernels::Generated) else { return };
        for count in [0, 1, 31, 32, 255, 256, 257, 1000, 4096] {
            let groups = dispatch(0, count, 0).work_groups();
            for decoy_group in [0, groups / 2, groups] {
                assert_search(&mut gpu, &dispatch(0, count, decoy_group));
                assert_search(&mut gpu, &dispatch(0x1234_5678, count, decoy_group));
                if count > 0 {
                    let last = u32::MAX - (count - 1);
                    assert_search(&mut gpu, &dispatch(last, count, decoy_group));
                }
            }
        }
        let decoy_first = u32::MAX - (SEARCH_GROUP - 1);
        assert_search(&mut gpu, &SearchDispatch { decoy_first, ..dispatch(7, 300, 1) });
        let most = gpu.limits().nonces;
        assert!(most.is_multiple_of(SEARCH_GROUP));
        // Of what a graphics card takes, no more than the reference can try as well.
        let most = most.min(1 << 19);
        let largest = dispatch(0x8000_0001, most, most / SEARCH_GROUP / 3);
        assert_search(&mut gpu, &SearchDispatch { target: one_in(1 << 13), ..largest });
    }

    #[test]
    fn count_and_lowest_survive_a_full_list() {
        let Some(mut gpu) = gpu(Kernels::Generated) else { return };
        let easy = SearchDispatch {
            target: Target::MAX,
            decoy_target: Target::MAX,
            ..dispatch(99, 5000, 4)
        };
        assert_search(&mut gpu, &easy);
        assert_search(&mut gpu, &SearchDispatch { target: one_in(2), ..easy });
        assert_search(&mut gpu, &SearchDispatch { count: 255, decoy_group: 1, ..easy });
        // And no hit at all.
        let hard = target(0);
        assert_search(&mut gpu, &SearchDispatch { target: hard, decoy_target: hard, ..easy });
    }

    #[test]
    fn a_hash_equal_to_the_target_is_a_candidate() {
        for kernels in [Kernels::Generated, Kernels::MultiplyAdd, Kernels::Readable] {
            let Some(mut gpu) = gpu(kernels) else { return };
            for nonce in [0, 77, u32::MAX] {
                let top = top_word(&header(1).with_nonce(nonce).id());
                let alone = dispatch(nonce, 1, 0);
                let met = SearchDispatch { target: target(top), ..alone };
                assert_eq!(search(&mut gpu, &met).header.nonces, [nonce]);
                let missed = SearchDispatch { target: target(top - 1), ..alone };
                assert!(search(&mut gpu, &missed).header.nonces.is_empty());
            }
        }
    }

    #[test]
    fn impossible_dispatches_are_refused() {
        let Some(mut gpu) = gpu(Kernels::Generated) else { return };
        let good = dispatch(0, 1000, 0);
        let most = gpu.limits().nonces;
        let bad = [
            SearchDispatch { count: most + 1, ..good },
            SearchDispatch { first: u32::MAX - 998, ..good },
            SearchDispatch { decoy_group: good.work_groups() + 1, ..good },
            SearchDispatch { decoy_first: u32::MAX - 254, ..good },
        ];
        for dispatch in bad {
            assert_refused(&gpu.search(&dispatch, &mut |_| {}));
        }
        assert_search(&mut gpu, &good);
    }

    #[test]
    fn two_searches_are_under_way_and_end_in_order() {
        let Some(mut gpu) = gpu(Kernels::Generated) else { return };
        let noise = |bytes: &mut [u8]| bytes.fill(0xa5);
        assert_refused(&gpu.finish_search());
        gpu.rebuild().expect("the adapter is still there");

        // Of different lengths, so that the later one could be done first.
        let dispatches: Vec<_> =
            (0..20).map(|i| dispatch(1000 * i, 1 + 3000 * (i % 2), 0)).collect();
        let alone: Vec<_> = dispatches.iter().map(|dispatch| search(&mut gpu, dispatch)).collect();
        assert_ne!(alone[1], alone[3]);
        gpu.start_search(&dispatches[0], &mut { noise }).expect("none is under way");
        for (i, expected) in alone.iter().enumerate() {
            if let Some(next) = dispatches.get(i + 1) {
                gpu.start_search(next, &mut { noise }).expect("one is under way");
            }
            let mut result = gpu.finish_search().expect("one is under way");
            let mut expected = expected.clone();
            for hits in [&mut result, &mut expected] {
                hits.header.nonces.sort_unstable();
                hits.decoy.nonces.sort_unstable();
            }
            assert_eq!(result, expected, "{i}");
        }

        for dispatch in &dispatches[..SEARCHES_AT_ONCE] {
            gpu.start_search(dispatch, &mut { noise }).expect("there is room");
        }
        assert_refused(&gpu.start_search(&dispatches[0], &mut { noise }));
        gpu.rebuild().expect("the adapter is still there");
    }

    #[test]
    fn two_hundred_dispatches_in_a_row() {
        let Some(mut gpu) = gpu(Kernels::Generated) else { return };
        let expected = search(&mut gpu, &dispatch(5, 2000, 3));
        for turn in 0..200 {
            let result = search(&mut gpu, &dispatch(5, 2000, turn % 9));
            assert_eq!(result.header.count, expected.header.count, "{turn}");
            assert_eq!(result.decoy.lowest, expected.decoy.lowest, "{turn}");
        }
    }

    #[test]
    fn the_readable_search_equals_the_generated_ones() {
        let kernels = [Kernels::Generated, Kernels::MultiplyAdd, Kernels::Readable];
        let outputs = kernels.map(|kernels| {
            let mut gpu = gpu(kernels)?;
            let results = (0..20u32).map(|turn| {
                let first = turn.wrapping_mul(0x9e37_79b9) & 0xffff_0000;
                let mut dispatch = dispatch(first, 3000 + turn, turn % 12);
                dispatch.header = header(u64::from(turn) * 50);
                dispatch.decoy = header(u64::from(turn) * 50 + 25);
                let mut result = search(&mut gpu, &dispatch);
                result.header.nonces.sort_unstable();
                result.decoy.nonces.sort_unstable();
                assert!(result.header.count > 0);
                result
            });
            Some(results.collect::<Vec<_>>())
        });
        let [generated, multiply_add, readable] = outputs;
        assert_eq!(multiply_add, readable);
        assert_eq!(generated, readable);
    }
}
