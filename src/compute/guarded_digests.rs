//! The guard's part in jobs whose result is one digest: the known answers among them, and what of
//! the other answers is computed again.

use std::borrow::Borrow;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, seq};

use crate::primitives::{Hash256, HashFunction, Header, Messages, Trees};

use super::guard::Fault;
use super::tree_shape::TreeShape;
use super::{Device, DeviceError, DispatchLimits, Guarded, Tally, cpu};

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

/// A kind of job whose result is one digest.
pub(super) trait Kind: Sync {
    /// What is hashed.
    type Job: ?Sized + Sync;
    /// The same, made up by the guard.
    type Known: Borrow<Self::Job>;

    /// What one dispatch takes beside the known answers.
    fn room(&self, limits: DispatchLimits) -> Room;

    /// How much of [`Room::size`] a job takes.
    fn size(&self, job: &Self::Job) -> usize;

    /// A random job, to stand among those that are wanted, of which there is at least one.
    fn random(&self, rng: &mut StdRng, wanted: &[&Self::Job]) -> Self::Known;

    /// The digests, which a device computes.
    fn digests_on(
        &self,
        device: &mut dyn Device,
        jobs: &[&Self::Job],
        digests: &mut [Hash256],
    ) -> Result<(), DeviceError>;

    /// The digest, which the host computes.
    fn digest(&self, job: &Self::Job) -> Hash256;

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

    fn digests_on(
        &self,
        device: &mut dyn Device,
        jobs: &[&Header],
        digests: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        let headers: Vec<Header> = jobs.iter().copied().copied().collect();
        device.header_ids(&headers, digests)
    }

    fn digest(&self, header: &Header) -> Hash256 {
        header.id()
    }

    fn confirm(&self, headers: &[&Header], ids: &[Hash256]) -> Result<(), Fault> {
        for (index, (header, id)) in headers.iter().zip(ids).enumerate() {
            let named = headers.get(index + 1).is_some_and(|next| next.parent() == *id);
            if !named || !header.is_solved_by(id) {
                expect(self, header, id, "an id that no other header confirms")?;
            }
        }
        Ok(())
    }
}

/// Roots of Merkle trees, from their leaves.
pub(super) struct Roots(pub(super) TreeShape);

impl Kind for Roots {
    type Job = [Hash256];
    type Known = Vec<Hash256>;

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

    fn digests_on(
        &self,
        device: &mut dyn Device,
        jobs: &[&[Hash256]],
        digests: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        let mut trees = Trees::new();
        jobs.iter().for_each(|leaves| trees.push(leaves));
        self.0.roots_on(device, &trees, digests)
    }

    fn digest(&self, leaves: &[Hash256]) -> Hash256 {
        self.0.root(leaves)
    }
}

/// Digests of messages.
pub(super) struct MessageDigests(pub(super) HashFunction);

impl Kind for MessageDigests {
    type Job = [u8];
    type Known = Vec<u8>;

    fn room(&self, limits: DispatchLimits) -> Room {
        let DispatchLimits { messages, message_bytes, longest_message, .. } = limits;
        let room = Room { jobs: messages, size: message_bytes, largest: longest_message };
        room.beside_known(longest_message.max(KNOWN_MESSAGE_BYTES_MAX))
    }

    fn size(&self, message: &[u8]) -> usize {
        message.len()
    }

    fn random(&self, rng: &mut StdRng, wanted: &[&[u8]]) -> Vec<u8> {
        // Half of them are as long as messages that are wanted: no length tells them apart, and a
        // device that fails at some length fails here as well.
        let length = if rng.random() {
            wanted[rng.random_range(..wanted.len())].len().max(KNOWN_MESSAGE_BYTES_MIN)
        } else {
            rng.random_range(KNOWN_MESSAGE_BYTES_MIN..=KNOWN_MESSAGE_BYTES_MAX)
        };
        let mut message = vec![0; length];
        rng.fill_bytes(&mut message);
        message
    }

    fn digests_on(
        &self,
        device: &mut dyn Device,
        jobs: &[&[u8]],
        digests: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        let mut messages = Messages::new();
        jobs.iter().for_each(|message| messages.push(&[message]));
        device.hash_messages(self.0, &messages, digests)
    }

    fn digest(&self, message: &[u8]) -> Hash256 {
        cpu::hash_message(self.0, message)
    }
}

impl Guarded {
    /// Computes a digest of each job, a dispatch at a time; what no dispatch takes is the CPU's,
    /// without a fault of the device.
    pub(super) fn digests<'a, K: Kind>(
        &self,
        kind: &K,
        jobs: impl Iterator<Item = &'a K::Job>,
        digests: &mut [Hash256],
    ) where
        K::Job: 'a,
    {
        let room = kind.room(self.limits());
        let on_cpu = |jobs: &[&K::Job]| self.cpu().each(jobs, |job| kind.digest(job));
        let (fitting, too_large): (Vec<_>, Vec<_>) =
            jobs.zip(digests).partition(|(job, _)| room.takes(kind.size(job)));

        let (jobs, places): (Vec<_>, Vec<_>) = too_large.into_iter().unzip();
        put(on_cpu(&jobs), places);

        let (jobs, places): (Vec<_>, Vec<_>) = fitting.into_iter().unzip();
        let (mut jobs, mut places) = (&jobs[..], places.into_iter());
        while !jobs.is_empty() {
            let (part, rest) = jobs.split_at(room.first_of(jobs.iter().map(|job| kind.size(job))));
            let answers = self.batch(
                |device, rng, tally| self.dispatch(kind, part, device, rng, tally),
                |_| on_cpu(part),
            );
            put(answers, places.by_ref());
            jobs = rest;
        }
    }

    /// One dispatch: what the device answers to the jobs, if nothing shows that it is wrong.
    fn dispatch<K: Kind>(
        &self,
        kind: &K,
        wanted: &[&K::Job],
        device: &mut dyn Device,
        rng: &mut StdRng,
        tally: &mut Tally,
    ) -> Result<Vec<Hash256>, Fault> {
        let known: Vec<_> = (0..KNOWN_ANSWERS).map(|_| kind.random(rng, wanted)).collect();
        let known: Vec<&K::Job> = known.iter().map(Borrow::borrow).collect();
        let places = known_places(rng, wanted.len());
        let jobs = interleave(wanted, &known, &places);
        let mut answers = vec![Hash256::default(); jobs.len()];
        rng.fill_bytes(bytemuck::cast_slice_mut(&mut answers));
        kind.digests_on(device, &jobs, &mut answers)?;

        let (answers, of_known) = separate(&answers, &places);
        for (job, answer) in known.iter().zip(&of_known) {
            expect(kind, job, answer, "a known answer")?;
        }
        kind.confirm(wanted, &answers)?;
        let sample = self.cross_check().sample_size(wanted.len());
        for index in seq::index::sample(rng, wanted.len(), sample) {
            tally.cross_checked += 1;
            expect(kind, wanted[index], &answers[index], "a cross-checked result")?;
        }
        Ok(answers)
    }
}

/// Puts each digest in its place.
fn put<'a>(digests: Vec<Hash256>, places: impl IntoIterator<Item = &'a mut Hash256>) {
    // The digests come first: a `zip` takes an item of its first half before it finds that the
    // second has ended.
    for (digest, place) in digests.into_iter().zip(places) {
        *place = digest;
    }
}

/// The places of the known answers among `count` jobs and them, lowest first.
fn known_places(rng: &mut StdRng, count: usize) -> Vec<usize> {
    let mut places = seq::index::sample(rng, count + KNOWN_ANSWERS, KNOWN_ANSWERS).into_vec();
    places.sort_unstable();
    places
}

/// The jobs, with the known ones at their places.
fn interleave<T: Copy>(jobs: &[T], known: &[T], places: &[usize]) -> Vec<T> {
    let mut all = Vec::with_capacity(jobs.len() + known.len());
    let mut rest = jobs;
    for (job, &place) in known.iter().zip(places) {
        let (before, after) = rest.split_at(place - all.len());
        all.extend_from_slice(before);
        all.push(*job);
        rest = after;
    }
    all.extend_from_slice(rest);
    all
}

/// What lies between the known places, and what lies on them.
fn separate(answers: &[Hash256], places: &[usize]) -> (Vec<Hash256>, Vec<Hash256>) {
    let mut wanted = Vec::with_capacity(answers.len() - places.len());
    let mut from = 0;
    for &place in places.iter().chain([&answers.len()]) {
        wanted.extend_from_slice(&answers[from..place]);
        from = place + 1;
    }
    (wanted, places.iter().map(|&place| answers[place]).collect())
}

/// Holds that the device's answer is the host's.
fn expect<K: Kind>(kind: &K, job: &K::Job, answer: &Hash256, what: &str) -> Result<(), Fault> {
    let right = kind.digest(job);
    if *answer == right {
        return Ok(());
    }
    Err(Fault::Wrong(format!("{what} was {answer}, right is {right}")))
}
