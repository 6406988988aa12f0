//! The guard's part in jobs whose results are digests: the known answers among them, and what of the
//! other answers is computed again.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::slice;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, seq};
use rayon::prelude::*;

use crate::primitives::{Grove, Hash256, HashFunction, Header, Leaf};

use super::groves::length_of;
use super::guard::Fault;
use super::tree_shape::TreeShape;
use super::{Device, DispatchLimits, Guarded, HASHES_AT_ONCE, Noise, Tally, Work, cpu, groves};

/// Jobs with known answers in each dispatch. A device that is wrong in one of a hundred results
/// passes a dispatch of these with a chance of 92 %, one that is wrong in half of them of 0.4 %.
const KNOWN_ANSWERS: usize = 8;

/// The largest tree among the jobs with known answers, in leaves.
const KNOWN_TREE_LEAVES_MAX: usize = 9;

/// The shortest message among the jobs with known answers, in bytes: no two are alike.
const KNOWN_MESSAGE_BYTES_MIN: usize = 16;

/// The longest message among the jobs with known answers, in bytes, unless it is as long as one that
/// is wanted.
const KNOWN_MESSAGE_BYTES_MAX: usize = 256;

/// Answers that a thread looks at before it hands some to another.
const ANSWERS_PER_TASK: usize = 512;

/// The messages of a grove with known answers.
const KNOWN_GROVE_MESSAGES: usize = 2;

/// The bytes of the shorter of them.
const KNOWN_GROVE_BYTES: RangeInclusive<usize> = KNOWN_MESSAGE_BYTES_MIN..=64;

/// A kind of job whose results are digests.
pub(super) trait Kind: Sync {
    /// What is hashed.
    type Job: ?Sized + Sync;
    /// The same, made up by the guard.
    type Known: Borrow<Self::Job>;

    /// The least size of a dispatch that hides what handing it over costs.
    const LEAST: usize;

    /// What one dispatch takes beside the known answers.
    fn room(&self, limits: DispatchLimits) -> Room;

    /// How much of [`Room::size`] a job takes.
    fn size(&self, job: &Self::Job) -> usize;

    /// A random job, to stand among those that are wanted, of which there is at least one.
    fn random(&self, rng: &mut StdRng, wanted: &[&Self::Job]) -> Self::Known;

    /// The jobs, as a device takes them.
    fn work<'w>(&self, jobs: &'w [&'w Self::Job]) -> Work<'w>;

    /// The number of results.
    fn count(&self, job: &Self::Job) -> usize {
        let _ = job;
        1
    }

    /// The results, which the host computes.
    fn answer(&self, job: &Self::Job, results: &mut [Hash256]);

    /// Holds that those answers are right which are never taken from a device.
    fn confirm(&self, jobs: &[&Self::Job], answers: &[Hash256]) -> Result<(), Fault> {
        let _ = (jobs, answers);
        Ok(())
    }
}

/// How much a dispatch takes.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// The number of jobs.
    jobs: usize,
    /// The size of all jobs together: in headers, leaves or bytes.
    size: usize,
    /// The size of one job.
    largest: usize,
}

impl Room {
    /// What known answers, each no larger than `largest`, leave of it.
    fn beside_known(self, largest: usize) -> Self {
        let size = self.size.saturating_sub(KNOWN_ANSWERS * largest);
        let jobs = self.jobs.saturating_sub(KNOWN_ANSWERS);
        Self { jobs, size, largest: self.largest.min(size) }
    }

    /// Whether a dispatch takes a job of this size.
    fn takes(self, size: usize) -> bool {
        self.jobs > 0 && size <= self.largest
    }

    /// How many of the jobs of these sizes, the first ones, one dispatch takes.
    fn first_of(self, sizes: impl Iterator<Item = usize>) -> usize {
        let mut left = self.size;
        let fits = |size: &usize| {
            let rest = left.checked_sub(*size);
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        sizes.take(self.jobs).take_while(fits).count()
    }
}

/// Ids of headers.
pub(super) struct HeaderIds;

impl Kind for HeaderIds {
    type Job = Header;
    type Known = Header;

    const LEAST: usize = 1 << 13;

    fn room(&self, limits: DispatchLimits) -> Room {
        Room { jobs: limits.headers, size: limits.headers, largest: 1 }.beside_known(1)
    }

    fn size(&self, _: &Header) -> usize {
        1
    }

    fn random(&self, rng: &mut StdRng, _: &[&Header]) -> Header {
        let mut bytes = [0; Header::LEN];
        rng.fill_bytes(&mut bytes);
        Header::from_bytes(bytes)
    }

    fn work<'w>(&self, jobs: &'w [&'w Header]) -> Work<'w> {
        Work::Headers(jobs)
    }

    fn answer(&self, header: &Header, results: &mut [Hash256]) {
        results.fill(header.id());
    }

    fn confirm(&self, headers: &[&Header], ids: &[Hash256]) -> Result<(), Fault> {
        let each = headers.par_iter().zip(ids).enumerate().with_min_len(ANSWERS_PER_TASK);
        each.try_for_each(|(index, (header, id))| {
            let named = headers.get(index + 1).is_some_and(|next| next.parent() == *id);
            if named && header.is_solved_by(id) {
                return Ok(());
            }
            expect(self, header, slice::from_ref(id), "an id that no other header confirms")
        })
    }
}

/// Roots of Merkle trees, from their leaves.
pub(super) struct Roots(pub(super) TreeShape);

impl Kind for Roots {
    type Job = [Hash256];
    type Known = Vec<Hash256>;

    const LEAST: usize = 1 << 13;

    fn room(&self, DispatchLimits { leaves, .. }: DispatchLimits) -> Room {
        // No tree is without leaves.
        Room { jobs: leaves, size: leaves, largest: leaves }.beside_known(KNOWN_TREE_LEAVES_MAX)
    }

    fn size(&self, leaves: &[Hash256]) -> usize {
        leaves.len()
    }

    fn random(&self, rng: &mut StdRng, _: &[&[Hash256]]) -> Vec<Hash256> {
        // The root of a single leaf is the leaf, which costs no hash.
        let mut leaves = vec![Hash256::default(); rng.random_range(2..=KNOWN_TREE_LEAVES_MAX)];
        rng.fill_bytes(bytemuck::cast_slice_mut(&mut leaves));
        leaves
    }

    fn work<'w>(&self, jobs: &'w [&'w [Hash256]]) -> Work<'w> {
        Work::Trees(self.0, jobs)
    }

    fn answer(&self, leaves: &[Hash256], results: &mut [Hash256]) {
        results.fill(self.0.root(leaves));
    }
}

/// Digests of messages.
pub(super) struct MessageDigests(pub(super) HashFunction);

impl Kind for MessageDigests {
    type Job = [u8];
    type Known = Vec<u8>;

    const LEAST: usize = 1 << 20;

    fn room(&self, limits: DispatchLimits) -> Room {
        let DispatchLimits { messages, message_bytes, longest_message, .. } = limits;
        let room = Room { jobs: messages, size: message_bytes, largest: longest_message };
        room.beside_known(longest_message.max(KNOWN_MESSAGE_BYTES_MAX))
    }

    fn size(&self, message: &[u8]) -> usize {
        message.len()
    }

    fn random(&self, rng: &mut StdRng, wanted: &[&[u8]]) -> Vec<u8> {
        let like = wanted[rng.random_range(..wanted.len())].len();
        let mut message = vec![0; known_length(rng, like)];
        rng.fill_bytes(&mut message);
        message
    }

    fn work<'w>(&self, jobs: &'w [&'w [u8]]) -> Work<'w> {
        Work::Messages(self.0, jobs)
    }

    fn answer(&self, message: &[u8], results: &mut [Hash256]) {
        results.fill(cpu::hash_message(self.0, message));
    }
}

/// The length of a message that is known, beside one of `like` bytes. Half of them are as long as
/// messages that are wanted: no length tells them apart, and a device that fails at some length fails here
/// as well.
fn known_length(rng: &mut StdRng, like: usize) -> usize {
    if rng.random() {
        like.max(KNOWN_MESSAGE_BYTES_MIN)
    } else {
        rng.random_range(KNOWN_MESSAGE_BYTES_MIN..=KNOWN_MESSAGE_BYTES_MAX)
    }
}

/// Roots of trees over digests of messages.
pub(super) struct GroveRoots<'a> {
    function: HashFunction,
    shape: TreeShape,
    limits: DispatchLimits,
    /// What the messages with known answers are cut from: longer than any of them.
    noise: &'a [u8],
}

impl<'a> GroveRoots<'a> {
    pub(super) const fn new(
        function: HashFunction,
        shape: TreeShape,
        limits: DispatchLimits,
        noise: &'a [u8],
    ) -> Self {
        Self { function, shape, limits, noise }
    }

    /// Random bytes for [`GroveRoots::new`], more than the longest message of these groves.
    pub(super) fn noise(rng: &mut StdRng, groves: &[Grove<'_>]) -> Vec<u8> {
        let longest = groves.iter().flat_map(Grove::messages).map(length_of).max();
        let mut noise = vec![0; longest.unwrap_or(0).max(KNOWN_MESSAGE_BYTES_MAX) + 1];
        rng.fill_bytes(&mut noise);
        noise
    }

    /// The size of a grove, in bytes of messages: a message, or a leaf, counts for as many of them at least as
    /// keep a dispatch within its other limits.
    fn weight(&self, bytes: usize, messages: usize, leaves: usize) -> usize {
        let limits = self.limits;
        let of_messages = messages * limits.message_bytes.div_ceil(limits.messages.max(1));
        let of_leaves = leaves * limits.message_bytes.div_ceil(limits.leaves.max(1));
        bytes.max(of_messages).max(of_leaves)
    }

    fn random_slice(&self, rng: &mut StdRng, length: usize) -> &'a [u8] {
        let first = rng.random_range(0..=self.noise.len() - length);
        &self.noise[first..first + length]
    }
}

impl<'a> Kind for GroveRoots<'a> {
    type Job = Grove<'a>;
    type Known = Grove<'a>;

    const LEAST: usize = 1 << 20;

    fn room(&self, limits: DispatchLimits) -> Room {
        let jobs = limits.messages.min(limits.leaves);
        let room = Room { jobs, size: limits.message_bytes, largest: limits.message_bytes };
        let bytes = self.noise.len() + KNOWN_GROVE_BYTES.end();
        room.beside_known(self.weight(bytes, KNOWN_GROVE_MESSAGES, KNOWN_TREE_LEAVES_MAX))
    }

    fn size(&self, grove: &Grove<'a>) -> usize {
        if grove.message_count() == 0 {
            return usize::MAX;
        }
        self.weight(grove.message_bytes(), grove.message_count(), grove.leaf_count())
    }

    fn random(&self, rng: &mut StdRng, wanted: &[&Grove<'a>]) -> Grove<'a> {
        let one = wanted[rng.random_range(..wanted.len())];
        let like = match one.message_count() {
            0 => 0,
            count => {
                let message = one.messages().nth(rng.random_range(..count));
                message.map_or(0, length_of)
            }
        };
        let mut grove = Grove::with_capacity(KNOWN_GROVE_MESSAGES);
        let length = known_length(rng, like);
        grove.push(&[self.random_slice(rng, length)]);
        let length = rng.random_range(KNOWN_GROVE_BYTES);
        let (first, second) = self.random_slice(rng, length).split_at(length / 2);
        grove.push(&[first, second]);
        let leaves = rng.random_range(2..=KNOWN_TREE_LEAVES_MAX);
        let leaf = |_| match rng.random_range(0..10u32) {
            9 => Leaf::Given(Hash256::ZERO),
            8 => Leaf::Given(Hash256::from_bytes(rng.random())),
            number => Leaf::Digest(number % 2),
        };
        grove.push_tree((0..leaves).map(leaf));
        grove
    }

    fn work<'w>(&self, jobs: &'w [&'w Grove<'a>]) -> Work<'w> {
        Work::Groves(self.function, self.shape, jobs)
    }

    fn count(&self, grove: &Grove<'a>) -> usize {
        grove.tree_count()
    }

    fn answer(&self, grove: &Grove<'a>, results: &mut [Hash256]) {
        for (place, root) in results.iter_mut().zip(groves::roots(self.function, self.shape, grove))
        {
            *place = root;
        }
    }
}

impl Guarded {
    /// Computes the results of each job on the device, but on the CPU those of which it is no fault of the
    /// device that no dispatch takes them. Whether it did: otherwise all of them are the CPU's.
    #[must_use]
    pub(super) fn digests<K: Kind>(
        &self,
        kind: &K,
        jobs: &[&K::Job],
        digests: &mut [Hash256],
    ) -> bool {
        let room = kind.room(self.limits());
        let fits = |index: &usize| room.takes(kind.size(jobs[*index]));
        let (fitting, too_large): (Vec<_>, Vec<_>) = (0..jobs.len()).partition(fits);
        if too_large.is_empty() {
            return self.fitting(kind, jobs, digests);
        }
        let some = |which: &[usize]| which.iter().map(|&index| jobs[index]).collect::<Vec<_>>();
        let count = |jobs: &[&K::Job]| jobs.iter().map(|job| kind.count(job)).sum();
        let (small, large) = (some(&fitting), some(&too_large));
        let mut answers = vec![Hash256::default(); count(&small)];
        if !self.fitting(kind, &small, &mut answers) {
            return false;
        }
        let mut others = vec![Hash256::default(); count(&large)];
        self.on_host(kind, &large, &mut others);
        let (mut answers, mut others) = (&answers[..], &others[..]);
        for (job, places) in jobs.iter().zip(places(kind, jobs, digests)) {
            let from = if room.takes(kind.size(job)) { &mut answers } else { &mut others };
            let (these, rest) = from.split_at(places.len());
            places.copy_from_slice(these);
            *from = rest;
        }
        true
    }

    fn on_host<K: Kind>(&self, kind: &K, jobs: &[&K::Job], digests: &mut [Hash256]) {
        let each = jobs.par_iter().zip(places(kind, jobs, digests));
        self.cpu().install(|| each.for_each(|(job, results)| kind.answer(job, results)));
    }

    fn fitting<K: Kind>(&self, kind: &K, jobs: &[&K::Job], digests: &mut [Hash256]) -> bool {
        if jobs.is_empty() {
            return true;
        }
        // What a device that fails has done stays so when it goes on.
        let mut waiting = VecDeque::from(parts(kind, jobs, kind.room(self.limits())));
        let done = self.on_device(|device, rng, tally| {
            // The host's share of it is as much as the device's, and all threads take part.
            self.cpu().install(|| {
                self.dispatches(kind, jobs, &mut waiting, digests, &mut Way { device, rng, tally })
            })
        });
        done.is_some()
    }

    /// Each part in a dispatch of its own, several of them under way; what the device answers to all, if
    /// nothing shows that it is wrong. Parts that are done no longer wait.
    fn dispatches<K: Kind>(
        &self,
        kind: &K,
        jobs: &[&K::Job],
        waiting: &mut VecDeque<Range<usize>>,
        digests: &mut [Hash256],
        way: &mut Way<'_>,
    ) -> Result<(), Fault> {
        let mut under_way = VecDeque::new();
        let ends = ends(kind, jobs);
        let end = |job: usize| job.checked_sub(1).map_or(0, |last| ends[last]);
        loop {
            while under_way.len() < HASHES_AT_ONCE
                && let Some(part) = waiting.get(under_way.len())
            {
                under_way.push_back(Dispatch::start(kind, &jobs[part.clone()], way)?);
            }
            let Some((dispatch, part)) = under_way.pop_front().zip(waiting.front().cloned()) else {
                return Ok(());
            };
            let results = end(part.start)..end(part.end);
            let (jobs, digests) = (&jobs[part], &mut digests[results]);
            dispatch.finish(kind, jobs, digests, way)?;
            let sample = self.cross_check().sample_size(jobs.len());
            let sample = seq::index::sample(way.rng, jobs.len(), sample).into_vec();
            let results = sample.iter().map(|&index| kind.count(jobs[index]) as u64);
            way.tally.cross_checked += results.sum::<u64>();
            let places = places(kind, jobs, digests);
            sample.par_iter().with_min_len(ANSWERS_PER_TASK).try_for_each(|&index| {
                expect(kind, jobs[index], &*places[index], "a cross-checked result")
            })?;
            waiting.pop_front();
        }
    }
}

/// What a batch needs on its way through the device.
struct Way<'a> {
    device: &'a mut dyn Device,
    rng: &'a mut StdRng,
    tally: &'a mut Tally,
}

/// A dispatch that is under way: the jobs with known answers among those that are wanted.
struct Dispatch<K: Kind> {
    known: Vec<K::Known>,
    places: Vec<usize>,
}

impl<K: Kind> Dispatch<K> {
    fn start(kind: &K, wanted: &[&K::Job], way: &mut Way<'_>) -> Result<Self, Fault> {
        let known: Vec<_> = (0..KNOWN_ANSWERS).map(|_| kind.random(way.rng, wanted)).collect();
        let places = known_places(way.rng, wanted.len());
        let jobs = interleave(wanted, known.iter().map(job_of::<K>), &places);
        way.device.start_hashing(&kind.work(&jobs), &Noise::new(way.rng.next_u64()))?;
        Ok(Self { known, places })
    }

    /// Waits for the digests, and checks what can be checked.
    fn finish(
        self,
        kind: &K,
        wanted: &[&K::Job],
        digests: &mut [Hash256],
        way: &mut Way<'_>,
    ) -> Result<(), Fault> {
        let known: Vec<_> = self.known.iter().map(job_of::<K>).collect();
        let all = interleave(wanted, known.iter().copied(), &self.places);
        let ends = ends(kind, &all);
        let mut answers = vec![Hash256::default(); ends.last().copied().unwrap_or(0)];
        way.device.finish_hashing(&mut answers)?;
        let places = self.places.iter().map(|&job| ends[job] - kind.count(all[job])..ends[job]);
        let places: Vec<_> = places.collect();
        separate(&answers, &places, digests);
        for (job, place) in known.into_iter().zip(places) {
            expect(kind, job, &answers[place], "a known answer")?;
        }
        kind.confirm(wanted, digests)
    }
}

fn job_of<K: Kind>(known: &K::Known) -> &K::Job {
    known.borrow()
}

/// Where the results of each job end.
fn ends<K: Kind>(kind: &K, jobs: &[&K::Job]) -> Vec<usize> {
    let end = |sum: &mut usize, job: &&K::Job| {
        *sum += kind.count(job);
        Some(*sum)
    };
    jobs.iter().scan(0, end).collect()
}

/// The places for the results of each job.
fn places<'d, K: Kind>(
    kind: &K,
    jobs: &[&K::Job],
    mut digests: &'d mut [Hash256],
) -> Vec<&'d mut [Hash256]> {
    let place = |job: &&K::Job| {
        let (these, rest) = std::mem::take(&mut digests).split_at_mut(kind.count(job));
        digests = rest;
        these
    };
    jobs.iter().map(place).collect()
}

/// The jobs of each dispatch, in turn: as few as hide what handing one over costs, where there are enough
/// for several that overlap.
fn parts<K: Kind>(kind: &K, jobs: &[&K::Job], room: Room) -> Vec<Range<usize>> {
    let total: usize = jobs.iter().map(|job| kind.size(job)).sum();
    let aim = K::LEAST.max(total / (2 * HASHES_AT_ONCE));
    let room = Room { size: room.size.min(aim), ..room };
    let (mut parts, mut first) = (Vec::new(), 0);
    while first < jobs.len() {
        // One that is larger than that goes alone.
        let count = room.first_of(jobs[first..].iter().map(|job| kind.size(job))).max(1);
        parts.push(first..first + count);
        first += count;
    }
    parts
}

/// The places of the known answers among `count` jobs and them, lowest first.
fn known_places(rng: &mut StdRng, count: usize) -> Vec<usize> {
    let mut places = seq::index::sample(rng, count + KNOWN_ANSWERS, KNOWN_ANSWERS).into_vec();
    places.sort_unstable();
    places
}

/// The jobs, with the known ones at their places.
fn interleave<'j, T: ?Sized>(
    jobs: &[&'j T],
    known: impl Iterator<Item = &'j T>,
    places: &[usize],
) -> Vec<&'j T> {
    let mut all = Vec::with_capacity(jobs.len() + places.len());
    let mut rest = jobs;
    for (job, &place) in known.zip(places) {
        let (before, after) = rest.split_at(place - all.len());
        all.extend_from_slice(before);
        all.push(job);
        rest = after;
    }
    all.extend_from_slice(rest);
    all
}

/// What lies between the known places.
fn separate(answers: &[Hash256], known: &[Range<usize>], mut wanted: &mut [Hash256]) {
    let mut from = 0;
    for place in known.iter().chain([&(answers.len()..answers.len())]) {
        let (these, rest) = wanted.split_at_mut(place.start - from);
        these.copy_from_slice(&answers[from..place.start]);
        (wanted, from) = (rest, place.end);
    }
}

/// Holds that the device's answers are the host's.
fn expect<K: Kind>(kind: &K, job: &K::Job, answers: &[Hash256], what: &str) -> Result<(), Fault> {
    let mut right = vec![Hash256::default(); answers.len()];
    kind.answer(job, &mut right);
    match answers.iter().zip(&right).find(|(answer, right)| answer != right) {
        None => Ok(()),
        Some((answer, right)) => {
            Err(Fault::Wrong(format!("{what} was {answer}, right is {right}")))
        }
    }
}
