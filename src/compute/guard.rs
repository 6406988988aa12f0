//! The distrust between the pipeline and a device.
//!
//! A device returns digests and candidates; nothing of what it says is believed as such:
//! - Before a dispatch its result buffer is filled with fresh random bytes, and random jobs whose
//!   answers the CPU knows are mixed in at random places. A device that computes nothing, or stale
//!   or shifted things, misses them.
//! - An id is taken as it is only if the next header names it as its parent and it meets its own
//!   target. Every other id, such as that of a branch tip or one that would cause a rejection, is
//!   computed again by the CPU.
//! - A search carries, in one workgroup drawn anew each time, a second header whose hits the CPU
//!   knows; a device that drops hits misses these as well. Every hit is hashed again.
//! - A fixed share of all results is computed again on request (`--cross-check`).
//!
//! A device that is caught is off from then on, and the CPU redoes the whole batch. One that fails
//! is opened anew once. So the answers are the CPU's in every case; what remains is a device that
//! recognises which of the headers it hashes stand next to each other in a dump and lies only where
//! a lie goes with the next header's parent field: that is, one that was built to lie.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, make_rng, seq};

use crate::primitives::{Hash256, HashFunction, Header, Messages, Trees};

#[cfg(feature = "mine")]
use super::SearchJob;
use super::{
    Backend, Cpu, Device, DeviceError, DeviceInfo, DispatchLimits, SelfTestFailure, Tally,
    self_test,
};

/// Jobs with known answers in each dispatch. A device that is wrong in one of a hundred results
/// passes a dispatch of these with a chance of 92 %, one that is wrong in half of them of 0.4 %.
const KNOWN_ANSWERS: usize = 8;

/// The largest tree among the jobs with known answers, in leaves.
const KNOWN_TREE_LEAVES_MAX: usize = 9;

/// The share of a device's results that the CPU computes again.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct CrossCheck {
    share: f64,
}

impl CrossCheck {
    /// No result is computed twice.
    pub const OFF: Self = Self { share: 0.0 };

    /// A share in percent, if it is one.
    #[must_use]
    pub fn percent(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Self { share: percent / 100.0 })
    }

    /// How many of `count` results are computed again, always as many.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is between zero and the count"
    )]
    fn sample_size(self, count: usize) -> usize {
        ((count as f64 * self.share).ceil() as usize).min(count)
    }
}

/// A backend over a device that is not believed, with the CPU behind it.
pub struct Guarded {
    info: DeviceInfo,
    limits: DispatchLimits,
    cross_check: CrossCheck,
    cpu: Cpu,
    state: Mutex<State>,
}

struct State {
    /// `None` once the device is off.
    device: Option<Box<dyn Device>>,
    rebuilt: bool,
    rng: StdRng,
    tally: Tally,
}

/// Why a dispatch gives no answer.
pub(super) enum Fault {
    Failed(DeviceError),
    /// What the device got wrong.
    Wrong(String),
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        Self::Failed(error)
    }
}

/// A device that has passed the self-test.
pub struct Tested(Box<dyn Device>);

impl Tested {
    /// Tests a device.
    ///
    /// # Errors
    /// If it fails: it is then not used at all.
    pub fn new(mut device: Box<dyn Device>) -> Result<Self, SelfTestFailure> {
        self_test(&mut *device)?;
        Ok(Self(device))
    }
}

impl Guarded {
    /// A backend over `device`, with `cpu` behind it.
    #[must_use]
    pub fn new(device: Tested, cpu: Cpu, cross_check: CrossCheck) -> Self {
        let Tested(device) = device;
        Self {
            info: device.info().clone(),
            limits: device.limits(),
            cross_check,
            cpu,
            state: Mutex::new(State {
                device: Some(device),
                rebuilt: false,
                rng: make_rng(),
                tally: Tally::default(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is never left half-changed: a panic elsewhere says nothing about it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One batch: on the device if it can be trusted with it, else on the CPU.
    pub(super) fn batch<T>(
        &self,
        mut on_device: impl FnMut(&mut dyn Device, &mut StdRng, &mut Tally) -> Result<T, Fault>,
        on_cpu: impl FnOnce(&Cpu) -> T,
    ) -> T {
        let mut state = self.state();
        if let Some(answer) = state.on_device(&mut on_device) {
            return answer;
        }
        state.tally.fallbacks += 1;
        drop(state);
        on_cpu(&self.cpu)
    }

    fn headers_on_device(
        &self,
        device: &mut dyn Device,
        rng: &mut StdRng,
        tally: &mut Tally,
        headers: &[Header],
        ids: &mut [Hash256],
    ) -> Result<(), Fault> {
        let places = known_places(rng, headers.len());
        let known = random_headers(rng);
        let jobs = interleave(headers, &known, &places);
        let mut answers = vec![Hash256::default(); jobs.len()];
        rng.fill_bytes(bytemuck::cast_slice_mut(&mut answers));
        device.header_ids(&jobs, &mut answers)?;

        let answers = separate(&answers, &places, ids);
        for (header, answer) in known.iter().zip(answers) {
            expect_id(header, &answer, "a known answer")?;
        }
        for (index, header) in headers.iter().enumerate() {
            let id = &ids[index];
            let named = headers.get(index + 1).is_some_and(|next| next.parent() == *id);
            if !named || !header.is_solved_by(id) {
                expect_id(header, id, "an id that no other header confirms")?;
            }
        }
        let sample = self.cross_check.sample_size(headers.len());
        for index in seq::index::sample(rng, headers.len(), sample) {
            tally.cross_checked += 1;
            expect_id(&headers[index], &ids[index], "a cross-checked id")?;
        }
        Ok(())
    }

    fn trees_on_device(
        &self,
        device: &mut dyn Device,
        rng: &mut StdRng,
        tally: &mut Tally,
        trees: &Trees,
        roots: &mut [Hash256],
    ) -> Result<(), Fault> {
        let places = known_places(rng, trees.len());
        let known = random_trees(rng);
        let jobs = interleave_trees(trees, &known, &places);
        let mut answers = vec![Hash256::default(); jobs.len()];
        rng.fill_bytes(bytemuck::cast_slice_mut(&mut answers));
        device.merkle_roots(&jobs, &mut answers)?;

        let answers = separate(&answers, &places, roots);
        for (leaves, answer) in known.iter().zip(answers) {
            expect_root(leaves, &answer, "a known answer")?;
        }
        let sample = self.cross_check.sample_size(trees.len());
        for index in seq::index::sample(rng, trees.len(), sample) {
            tally.cross_checked += 1;
            expect_root(trees.get(index), &roots[index], "a cross-checked root")?;
        }
        Ok(())
    }

    #[cfg(feature = "mine")]
    pub(super) const fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    #[cfg(feature = "mine")]
    pub(super) const fn limits(&self) -> DispatchLimits {
        self.limits
    }

    /// As many trees from `first` on as one dispatch takes; `None` if the first alone is too large.
    fn trees_of_one_dispatch(&self, trees: &Trees, first: usize) -> Option<Trees> {
        let mut room = self.limits.leaves.saturating_sub(KNOWN_ANSWERS * KNOWN_TREE_LEAVES_MAX);
        let mut part = Trees::new();
        for index in first..trees.len() {
            let leaves = trees.get(index);
            if leaves.len() > room {
                break;
            }
            room -= leaves.len();
            part.push(leaves);
        }
        (!part.is_empty()).then_some(part)
    }
}

impl Backend for Guarded {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn device(&self) -> String {
        format!("{} ({}, {})", self.info.name, self.info.id, self.info.kind)
    }

    fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        assert_eq!(headers.len(), ids.len(), "one id per header");
        let room = self.limits.headers.saturating_sub(KNOWN_ANSWERS).max(1);
        for (headers, ids) in headers.chunks(room).zip(ids.chunks_mut(room)) {
            let answers = self.batch(
                |device, rng, tally| {
                    let mut answers = vec![Hash256::default(); headers.len()];
                    self.headers_on_device(device, rng, tally, headers, &mut answers)?;
                    Ok(answers)
                },
                |cpu| {
                    let mut answers = vec![Hash256::default(); headers.len()];
                    cpu.header_ids(headers, &mut answers);
                    answers
                },
            );
            ids.copy_from_slice(&answers);
        }
    }

    fn confirm_header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        let mut right = vec![Hash256::default(); headers.len()];
        self.cpu.header_ids(headers, &mut right);
        let differ = |(found, right): &(&Hash256, &Hash256)| found != right;
        if let Some((found, right)) = ids.iter().zip(&right).find(differ) {
            self.state().switch_off(format!("the id of a header was {found}, right is {right}"));
        }
        ids.copy_from_slice(&right);
    }

    fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        assert_eq!(trees.len(), roots.len(), "one root per tree");
        let mut first = 0;
        while first < trees.len() {
            let Some(part) = self.trees_of_one_dispatch(trees, first) else {
                // Larger than any dispatch: the CPU's, without a fault of the device.
                let mut tree = Trees::new();
                tree.push(trees.get(first));
                self.cpu.merkle_roots(&tree, &mut roots[first..=first]);
                first += 1;
                continue;
            };
            let answers = self.batch(
                |device, rng, tally| {
                    let mut answers = vec![Hash256::default(); part.len()];
                    self.trees_on_device(device, rng, tally, &part, &mut answers)?;
                    Ok(answers)
                },
                |cpu| {
                    let mut answers = vec![Hash256::default(); part.len()];
                    cpu.merkle_roots(&part, &mut answers);
                    answers
                },
            );
            roots[first..first + part.len()].copy_from_slice(&answers);
            first += part.len();
        }
    }

    fn confirm_merkle_root(&self, leaves: &[Hash256], root: Hash256) -> Hash256 {
        let mut trees = Trees::new();
        trees.push(leaves);
        let mut right = [Hash256::default()];
        self.cpu.merkle_roots(&trees, &mut right);
        if right[0] != root {
            self.state().switch_off(format!("a Merkle root was {root}, right is {}", right[0]));
        }
        right[0]
    }

    fn hash_messages(&self, function: HashFunction, messages: &Messages, digests: &mut [Hash256]) {
        self.cpu.hash_messages(function, messages, digests);
    }

    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        self.cpu.rfc6962_roots(trees, roots);
    }

    fn was_wrong(&self, what: String) {
        self.state().switch_off(what);
    }

    #[cfg(feature = "mine")]
    fn search(&self, job: &SearchJob) -> Option<u32> {
        self.search_in_dispatches(job)
    }

    #[cfg(feature = "mine")]
    fn search_span(&self) -> u32 {
        self.limits.nonces
    }

    fn tally(&self) -> Tally {
        self.state().tally.clone()
    }
}

impl State {
    fn on_device<T>(
        &mut self,
        work: &mut impl FnMut(&mut dyn Device, &mut StdRng, &mut Tally) -> Result<T, Fault>,
    ) -> Option<T> {
        loop {
            let device = self.device.as_deref_mut()?;
            match work(device, &mut self.rng, &mut self.tally) {
                Ok(answer) => return Some(answer),
                Err(Fault::Wrong(what)) => self.switch_off(what),
                Err(Fault::Failed(error)) if self.rebuilt => self.give_up(error.to_string()),
                Err(Fault::Failed(error)) => self.rebuild(&error),
            }
        }
    }

    /// The device gave a wrong answer.
    fn switch_off(&mut self, what: String) {
        self.tally.mismatches += 1;
        self.give_up(what);
    }

    fn give_up(&mut self, why: String) {
        self.device = None;
        self.tally.off.get_or_insert(why);
    }

    /// Opens the device anew, once in its life, and tests it again.
    fn rebuild(&mut self, error: &DeviceError) {
        self.rebuilt = true;
        let Some(device) = self.device.as_deref_mut() else { return };
        let again = device.rebuild().map_err(|again| again.to_string());
        let tested = again.and_then(|()| self_test(device).map_err(|failure| failure.to_string()));
        if let Err(again) = tested {
            self.give_up(format!("{error}; then {again}"));
        }
    }
}

/// The places of the known answers among `count` jobs and them, lowest first.
fn known_places(rng: &mut StdRng, count: usize) -> Vec<usize> {
    let mut places = seq::index::sample(rng, count + KNOWN_ANSWERS, KNOWN_ANSWERS).into_vec();
    places.sort_unstable();
    places
}

fn random_headers(rng: &mut StdRng) -> Vec<Header> {
    let random = |_| {
        let mut bytes = [0; Header::LEN];
        rng.fill_bytes(&mut bytes);
        Header::from_bytes(bytes)
    };
    (0..KNOWN_ANSWERS).map(random).collect()
}

fn random_trees(rng: &mut StdRng) -> Vec<Vec<Hash256>> {
    let random = |_| {
        let mut leaves = vec![Hash256::default(); rng.random_range(2..=KNOWN_TREE_LEAVES_MAX)];
        rng.fill_bytes(bytemuck::cast_slice_mut(&mut leaves));
        leaves
    };
    (0..KNOWN_ANSWERS).map(random).collect()
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

fn interleave_trees(trees: &Trees, known: &[Vec<Hash256>], places: &[usize]) -> Trees {
    let wanted: Vec<&[Hash256]> = trees.iter().collect();
    let known: Vec<&[Hash256]> = known.iter().map(Vec::as_slice).collect();
    let mut all = Trees::new();
    for leaves in interleave(&wanted, &known, places) {
        all.push(leaves);
    }
    all
}

/// Copies what lies between the known places into `wanted` and returns what lies on them.
fn separate(answers: &[Hash256], places: &[usize], wanted: &mut [Hash256]) -> Vec<Hash256> {
    let mut filled = 0;
    let mut from = 0;
    for &place in places.iter().chain([&answers.len()]) {
        let run = &answers[from..place];
        wanted[filled..filled + run.len()].copy_from_slice(run);
        filled += run.len();
        from = place + 1;
    }
    places.iter().map(|&place| answers[place]).collect()
}

fn expect_id(header: &Header, answer: &Hash256, what: &str) -> Result<(), Fault> {
    let right = header.id();
    if *answer == right {
        return Ok(());
    }
    Err(Fault::Wrong(format!("{what} was {answer}, right is {right}")))
}

fn expect_root(leaves: &[Hash256], answer: &Hash256, what: &str) -> Result<(), Fault> {
    let right = super::cpu::merkle_root(leaves);
    if *answer == right {
        return Ok(());
    }
    Err(Fault::Wrong(format!("{what} was {answer}, right is {right}")))
}
