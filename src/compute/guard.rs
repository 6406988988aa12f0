//! The distrust between the pipeline and a device.
//!
//! A device returns digests and candidates; nothing of what it says is believed as such:
//! - Before a dispatch its result buffer is filled with fresh random bytes, and random jobs whose
//!   answers the CPU knows are mixed in at random places. A device that computes nothing, or stale
//!   or shifted things, misses them.
//! - An id is taken as it is only if the next header names it as its parent and it meets its own
//!   target. Every other id, such as that of a branch tip or one that would cause a rejection, is
//!   computed again by the CPU.
//! - Roots and digests of messages that would cause a rejection are computed again by the caller, who
//!   says so if they were wrong.
//! - A search carries, in one workgroup drawn anew each time, a second header whose hits the CPU
//!   knows; a device that drops hits misses these as well. Every hit is hashed again.
//! - A fixed share of all results is computed again on request (`--cross-check`).
//!
//! A device that is caught is off from then on, and the CPU redoes the whole batch. One that fails
//! is opened anew once. So the answers are the CPU's in every case; what remains is a device that
//! recognises which of the headers it hashes stand next to each other in a dump and lies only where
//! a lie goes with the next header's parent field: that is, one that was built to lie.

#[cfg(feature = "mine")]
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::make_rng;
use rand::rngs::StdRng;

use crate::primitives::{Collected, GroveSink, Groves, Hash256, HashFunction, Header, Leaf, Trees};

#[cfg(feature = "mine")]
use super::SearchJob;
use super::crossover::{Crossovers, JobKind};
use super::groves::{in_two_steps, length_of, without_long_messages};
use super::guarded_digests::{GroveRoots, HeaderIds, MessageDigests, Roots};
#[cfg(feature = "mine")]
use super::guarded_search::NONCES_AT_FIRST;
use super::tree_shape::TreeShape;
use super::{
    Backend, Cpu, Device, DeviceError, DeviceInfo, DeviceTimes, DispatchLimits, SelfTestFailure,
    Tally, self_test,
};

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
    pub(super) fn sample_size(self, count: usize) -> usize {
        ((count as f64 * self.share).ceil() as usize).min(count)
    }
}

/// A backend over a device that is not believed, with the CPU behind it.
pub struct Guarded {
    info: DeviceInfo,
    limits: DispatchLimits,
    cross_check: CrossCheck,
    /// `None` if the device does everything, faster or not.
    crossovers: Option<Crossovers>,
    cpu: Cpu,
    #[cfg(feature = "mine")]
    nonces_per_dispatch: AtomicU32,
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
            crossovers: None,
            cpu,
            #[cfg(feature = "mine")]
            nonces_per_dispatch: NONCES_AT_FIRST.min(device.limits().nonces).into(),
            state: Mutex::new(State {
                device: Some(device),
                rebuilt: false,
                rng: make_rng(),
                tally: Tally::default(),
            }),
        }
    }

    /// The same device, which leaves to the CPU what that does faster.
    #[must_use]
    pub fn obeying(self, crossovers: Crossovers, cross_check: CrossCheck) -> Self {
        Self { crossovers: Some(crossovers), cross_check, ..self }
    }

    /// Whether a batch of this size is for the device.
    fn takes(&self, job: JobKind, size: usize) -> bool {
        self.crossovers.as_ref().is_none_or(|crossovers| crossovers.wins(job, size))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is never left half-changed: a panic elsewhere says nothing about it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the CPU does a batch which is the device's, if that is known to be off; gives whether it
    /// is. A device that is at work is not waited for.
    fn falls_back_at_once(&self) -> bool {
        let Ok(mut state) = self.state.try_lock() else { return false };
        let is_off = state.device.is_none();
        state.tally.fallbacks += u64::from(is_off);
        is_off
    }

    /// One batch, on the device if it can be trusted with it; otherwise the CPU has to do it.
    pub(super) fn on_device<T>(
        &self,
        mut work: impl FnMut(&mut dyn Device, &mut StdRng, &mut Tally) -> Result<T, Fault>,
    ) -> Option<T> {
        let mut state = self.state();
        let answer = state.on_device(&mut work);
        state.tally.fallbacks += u64::from(answer.is_none());
        answer
    }

    pub(super) const fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    pub(super) const fn limits(&self) -> DispatchLimits {
        self.limits
    }

    #[cfg(feature = "mine")]
    pub(super) fn nonces_per_dispatch(&self) -> u32 {
        self.nonces_per_dispatch.load(Relaxed)
    }

    #[cfg(feature = "mine")]
    pub(super) fn set_nonces_per_dispatch(&self, nonces: u32) {
        self.nonces_per_dispatch.store(nonces, Relaxed);
    }

    pub(super) const fn cross_check(&self) -> CrossCheck {
        self.cross_check
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
        if !self.takes(JobKind::Headers, headers.len()) {
            return self.cpu.header_ids(headers, ids);
        }
        if !self.digests(&HeaderIds, &headers.iter().collect::<Vec<_>>(), ids) {
            self.cpu.header_ids(headers, ids);
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
        if !self.takes(JobKind::BitcoinTrees, trees.leaf_count()) {
            return self.cpu.merkle_roots(trees, roots);
        }
        let kind = Roots(TreeShape::Bitcoin);
        if !self.digests(&kind, &trees.iter().collect::<Vec<_>>(), roots) {
            self.cpu.merkle_roots(trees, roots);
        }
    }

    fn confirm_merkle_root(&self, leaves: &[Hash256], root: Hash256) -> Hash256 {
        let right = self.cpu.each(&[leaves], |leaves| TreeShape::Bitcoin.root(leaves))[0];
        if right != root {
            self.was_wrong(format!("a Merkle root was {root}, right is {right}"));
        }
        right
    }

    fn hash_messages(&self, function: HashFunction, messages: &[&[u8]], digests: &mut [Hash256]) {
        assert_eq!(messages.len(), digests.len(), "one digest per message");
        if !self.takes(JobKind::Messages, messages.len()) {
            return self.cpu.hash_messages(function, messages, digests);
        }
        let kind = MessageDigests(function);
        if !self.digests(&kind, messages, digests) {
            self.cpu.hash_messages(function, messages, digests);
        }
    }

    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        assert_eq!(trees.len(), roots.len(), "one root per tree");
        if !self.takes(JobKind::Rfc6962Trees, trees.leaf_count()) {
            return self.cpu.rfc6962_roots(trees, roots);
        }
        let kind = Roots(TreeShape::Rfc6962);
        if !self.digests(&kind, &trees.iter().collect::<Vec<_>>(), roots) {
            self.cpu.rfc6962_roots(trees, roots);
        }
    }

    fn hash_groves(
        &self,
        function: HashFunction,
        shape: TreeShape,
        groves: &dyn Groves<'_>,
        roots: &mut [Hash256],
    ) {
        let trees = match shape {
            TreeShape::Bitcoin => JobKind::BitcoinTrees,
            TreeShape::Rfc6962 => JobKind::Rfc6962Trees,
        };
        let ever = |kind| self.takes(kind, usize::MAX);
        if !ever(JobKind::Messages) || !ever(trees) {
            let digests = in_two_steps(self, function, shape, groves, roots);
            // Roots alone are the device's then.
            if !ever(JobKind::Messages) {
                groves.learn(&digests);
            }
            return;
        }
        let mut size = Size::default();
        groves.tell(&mut size);
        assert_eq!(roots.len(), size.trees, "one root per tree");
        if !self.takes(JobKind::Messages, size.messages) || !self.takes(trees, size.leaves) {
            in_two_steps(self, function, shape, groves, roots);
            return;
        }
        if self.falls_back_at_once() {
            return self.cpu.hash_groves(function, shape, groves, roots);
        }
        let longest = self.limits.longest_message;
        let groves = if size.longest <= longest {
            let mut collected = Collected::default();
            groves.tell(&mut collected);
            collected.groves
        } else {
            without_long_messages(&self.cpu, function, longest, groves)
        };
        let groves = &groves[..];
        let noise = GroveRoots::noise(&mut self.state().rng, groves);
        let kind = GroveRoots::new(function, shape, self.limits, &noise);
        if !self.digests(&kind, &groves.iter().collect::<Vec<_>>(), roots) {
            self.cpu.hash_groves(function, shape, &groves, roots);
        }
    }

    fn was_wrong(&self, what: String) {
        self.state().switch_off(what);
    }

    #[cfg(feature = "mine")]
    fn search(&self, job: &SearchJob) -> Option<u32> {
        let (_, nonce) = self.search_in_dispatches(&mut std::iter::once(*job))?;
        Some(nonce)
    }

    #[cfg(feature = "mine")]
    fn search_in_turn(
        &self,
        jobs: &mut dyn Iterator<Item = SearchJob>,
    ) -> Option<(SearchJob, u32)> {
        self.search_in_dispatches(jobs)
    }

    #[cfg(feature = "mine")]
    fn search_span(&self) -> u32 {
        self.nonces_per_dispatch()
    }

    fn take_device_times(&self) -> Option<DeviceTimes> {
        self.state().device.as_deref_mut()?.take_times()
    }

    fn tally(&self) -> Tally {
        self.state().tally.clone()
    }
}

/// How much is told of groves.
#[derive(Default)]
struct Size {
    messages: usize,
    /// The bytes of the longest of them.
    longest: usize,
    leaves: usize,
    trees: usize,
}

impl<'a> GroveSink<'a> for Size {
    fn message(&mut self, parts: &[&'a [u8]]) {
        self.messages += 1;
        self.longest = self.longest.max(length_of(parts));
    }

    fn leaf(&mut self, _: Leaf) {
        self.leaves += 1;
    }

    fn end_tree(&mut self) {
        self.trees += 1;
    }

    fn end_grove(&mut self) {}
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
