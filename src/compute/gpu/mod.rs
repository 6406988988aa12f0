//! The GPU device: kernels in WGSL, reached through wgpu on Vulkan, Metal or DirectX 12.
//!
//! - [`adapters`] lists what the drivers offer; an [`Adapter`] opens into a [`Gpu`].
//! - A [`Gpu`] is a [`Device`]: it hashes and lists candidates, and nobody believes it. Checking
//!   is the guard's work; what this module promises is to come back. Every wait has an end, every
//!   failure is a [`DeviceError`], and an overwritten result buffer shows a kernel that did not run.
//! - After an error of the driver the device is shut until [`Device::rebuild`] opens it anew.
//!   Work that exceeds [`Device::limits`] is refused before it reaches the driver.
//!
//! Kernel texts lie in `shaders/`; `emit` writes the unrolled forms, and [`Kernels::Readable`]
//! selects the forms written by hand, to which tests hold the others.

mod adapter;
mod emit;
mod groves;
mod headers;
mod kernels;
mod link;
mod merkle;
mod messages;
#[cfg(feature = "mine")]
mod search;
mod slot;
mod stamps;

use std::collections::VecDeque;

use crate::primitives::{Grove, Hash256, Header};

use super::{
    Device, DeviceError, DeviceInfo, DeviceTimes, DeviceType, DispatchLimits, HASHES_AT_ONCE,
    Noise, TreeShape, Work,
};
#[cfg(feature = "mine")]
use super::{SEARCH_GROUP, SearchDispatch, SearchResult};

pub use adapter::{Adapter, AdapterLimits, adapters};
pub use kernels::Kernels;

use groves::{GroveKernels, Layout};
use headers::HeaderKernel;
use kernels::HASH_GROUP;
use link::{Link, Submitted};
use merkle::{MerkleKernel, NODE_BYTES_PER_LEAF};
use messages::{MessageKernel, PACKING_BYTES_MAX, Place};
#[cfg(feature = "mine")]
use search::SearchKernel;
use slot::Slot;

/// The most headers of one dispatch.
const HEADERS_MAX: usize = 1 << 16;

/// The most leaves of one batch of trees.
const LEAVES_MAX: usize = 1 << 16;

/// The most messages of one dispatch.
const MESSAGES_MAX: usize = 1 << 16;

/// The most bytes of all messages of one dispatch.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The longest message, in bytes; longer ones are the CPU's. One thread runs 129 compressions for it, one
/// after the other, by estimate a million cycles: about as long as all others of a dispatch take together.
/// For a message of many megabytes it would run for seconds, and a watchdog would reset the device.
const LONGEST_MESSAGE: usize = 8 << 10;

// The kernel counts the bits of a message in a word.
const _: () = assert!(LONGEST_MESSAGE < 1 << 29);

/// The most host-visible memory for uploads and downloads, in bytes.
const STAGING_BYTES_MAX: usize = 64 << 20;

// Staging buffers double, so the size of the largest batch is rounded up: a header goes up with the
// noise for its id, a leaf with at most the noise for a root and two pairs of indices, a message with
// the noise for its digest and its place.
const _: () = {
    let id = size_of::<Hash256>();
    let headers_up = (HEADERS_MAX * (Header::LEN + id)).next_power_of_two();
    let leaves_up = (LEAVES_MAX * (2 * id + 2 * 12)).next_power_of_two();
    assert!(HASHES_AT_ONCE * (headers_up + HEADERS_MAX * id) <= STAGING_BYTES_MAX);
    assert!(HASHES_AT_ONCE * (leaves_up + LEAVES_MAX * id) <= STAGING_BYTES_MAX);
    let message_up = id + size_of::<Place>() + PACKING_BYTES_MAX;
    // What the messages share, and gaps between the uploads.
    let once = 64;
    let messages_up = (once + MESSAGES_MAX * message_up + MESSAGE_BYTES_MAX).next_power_of_two();
    assert!(HASHES_AT_ONCE * (messages_up + MESSAGES_MAX * id) <= STAGING_BYTES_MAX);
    // Of groves, the messages and the levels go up together, with leaves that are given.
    let levels_up = LEAVES_MAX * (id + id / 2 + 2 * 12);
    let groves_up = once + MESSAGES_MAX * message_up + MESSAGE_BYTES_MAX + levels_up;
    let results = MESSAGES_MAX * id + LEAVES_MAX * id / 2;
    assert!(HASHES_AT_ONCE * (groves_up.next_power_of_two() + results) <= STAGING_BYTES_MAX);
};

/// The most nonces of one dispatch: what the fastest devices of a kind can be expected to try in
/// 50 ms, after which desktops become sluggish. How many a dispatch really has is measured.
const fn nonces_max(kind: DeviceType) -> u32 {
    match kind {
        DeviceType::Discrete => 1 << 29,
        DeviceType::Integrated | DeviceType::Virtual | DeviceType::Other => 1 << 26,
        DeviceType::Software => 1 << 19,
    }
}

/// An open graphics device.
pub struct Gpu {
    adapter: Adapter,
    kernels: Kernels,
    limits: DispatchLimits,
    /// `None` after an error, until rebuilt.
    session: Option<Session>,
}

/// What lives as long as the driver's device. Kernels are compiled when they are first needed.
struct Session {
    link: Link,
    headers: Option<HeaderKernel>,
    merkle: Option<MerkleKernel>,
    rfc6962: Option<MerkleKernel>,
    messages: Option<MessageKernel>,
    #[cfg(feature = "mine")]
    search: Option<SearchKernel>,
    /// The slots that no work uses.
    free: Vec<Slot>,
    /// First what began first.
    under_way: VecDeque<UnderWay>,
}

/// Hashing that is under way.
struct UnderWay {
    slot: Slot,
    /// `None` if the device has nothing to do for it.
    submitted: Option<Submitted>,
    /// The number of digests.
    count: usize,
    /// Digests that are known without hashing, each with its place: the root of a single leaf is the leaf.
    known: Vec<(usize, Hash256)>,
    /// Where the results of groves lie in what comes back.
    layout: Option<Layout>,
}

impl Session {
    fn open(adapter: &Adapter) -> Result<Self, DeviceError> {
        Ok(Self {
            link: link::contain(|| Link::open(adapter))?,
            headers: None,
            merkle: None,
            rfc6962: None,
            messages: None,
            #[cfg(feature = "mine")]
            search: None,
            free: (0..HASHES_AT_ONCE).map(|_| Slot::new()).collect(),
            under_way: VecDeque::new(),
        })
    }

    fn start(
        &mut self,
        kernels: Kernels,
        work: &Work<'_>,
        noise: &Noise,
    ) -> Result<(), DeviceError> {
        let Some(mut slot) = self.free.pop() else {
            let why = format!("{HASHES_AT_ONCE} pieces of work are under way already");
            return Err(DeviceError::Refused(why));
        };
        let (link, place) = (&self.link, &mut slot);
        let (mut known, mut layout) = (Vec::new(), None);
        let submitted = match *work {
            _ if work.is_empty() => None,
            Work::Headers(headers) => {
                let kernel = ready(&mut self.headers, || HeaderKernel::new(link, kernels))?;
                Some(kernel.start(link, place, headers, noise)?)
            }
            Work::Trees(shape, trees) => {
                let kernel = match shape {
                    TreeShape::Bitcoin => &mut self.merkle,
                    TreeShape::Rfc6962 => &mut self.rfc6962,
                };
                let kernel = ready(kernel, || MerkleKernel::new(link, kernels, shape))?;
                let single = |(index, leaves): (usize, &&[Hash256])| match leaves {
                    [leaf] => Some((index, *leaf)),
                    _ => None,
                };
                known = trees.iter().enumerate().filter_map(single).collect();
                kernel.start(link, place, trees, noise)?
            }
            Work::Messages(function, messages) => {
                let kernel = ready(&mut self.messages, || MessageKernel::new(link, kernels))?;
                Some(kernel.start(link, place, function, messages, noise)?)
            }
            Work::Groves(function, shape, groves) => {
                let merkle = match shape {
                    TreeShape::Bitcoin => &mut self.merkle,
                    TreeShape::Rfc6962 => &mut self.rfc6962,
                };
                let messages = ready(&mut self.messages, || MessageKernel::new(link, kernels))?;
                let merkle = ready(merkle, || MerkleKernel::new(link, kernels, shape))?;
                let both = GroveKernels { messages, merkle };
                let started = both.start(link, place, (function, shape), groves, noise)?;
                layout = Some(started.1);
                started.0
            }
        };
        let count = work.len();
        self.under_way.push_back(UnderWay { slot, submitted, count, known, layout });
        Ok(())
    }

    fn finish(&mut self, digests: &mut [Hash256]) -> Result<(), DeviceError> {
        let Some(under_way) = self.under_way.pop_front() else {
            return Err(DeviceError::Refused("nothing is hashed".into()));
        };
        let UnderWay { mut slot, submitted, count, known, layout } = under_way;
        if digests.len() != count {
            return Err(DeviceError::Refused("not one place for each digest".into()));
        }
        let collect = |to: &mut [Hash256]| match submitted {
            None => Ok(()),
            Some(submitted) => {
                let bytes = bytemuck::cast_slice_mut(to);
                self.link.collect(&mut slot.staging, submitted, bytes)
            }
        };
        match layout {
            None => collect(digests)?,
            Some(layout) => {
                let mut fetched = vec![Hash256::ZERO; layout.fetched_count()];
                collect(&mut fetched)?;
                layout.place(&fetched, digests);
            }
        }
        for (place, digest) in known {
            digests[place] = digest;
        }
        self.free.push(slot);
        Ok(())
    }

    /// Drops what the driver holds, unless the driver might not let go: dropping waits for all
    /// work, for ever if the device hangs.
    fn shut(self, why: Option<&DeviceError>) {
        match why {
            Some(DeviceError::Lost(_) | DeviceError::TimedOut { .. }) => std::mem::forget(self),
            _ => {
                // A failure while leaving changes nothing.
                let _ = link::contain(|| {
                    drop(self);
                    Ok(())
                });
            }
        }
    }
}

impl Gpu {
    fn new(adapter: Adapter, kernels: Kernels) -> Result<Self, DeviceError> {
        let limits = dispatch_limits(&adapter)?;
        let session = Session::open(&adapter)?;
        Ok(Self { adapter, kernels, limits, session: Some(session) })
    }

    /// The form of the kernels that the device runs.
    #[must_use]
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Whether the work is within the limits.
    fn takes(&self, work: &Work<'_>) -> Result<(), DeviceError> {
        match work {
            Work::Headers(headers) => at_most("headers", headers.len(), self.limits.headers),
            Work::Trees(_, trees) => {
                let leaves = trees.iter().map(|leaves| leaves.len());
                if leaves.clone().any(|count| count == 0) {
                    return Err(DeviceError::Refused("a tree without leaves".into()));
                }
                at_most("leaves", leaves.sum(), self.limits.leaves)
            }
            Work::Messages(_, messages) => {
                let lens = messages.iter().map(|message| message.len());
                at_most("messages", messages.len(), self.limits.messages)?;
                at_most("bytes", lens.clone().sum(), self.limits.message_bytes)?;
                let longest = lens.max().unwrap_or(0);
                at_most("bytes of one message", longest, self.limits.longest_message)
            }
            Work::Groves(_, _, groves) => {
                let messages = groves.iter().flat_map(|grove| grove.messages());
                let lens = messages.map(|parts| parts.iter().map(|part| part.len()).sum());
                let longest = lens.max().unwrap_or(0);
                let groves = || groves.iter().copied();
                let messages = groves().map(Grove::message_count).sum();
                if messages == 0 && !work.is_empty() {
                    return Err(DeviceError::Refused("trees over no messages".into()));
                }
                at_most("messages", messages, self.limits.messages)?;
                at_most("leaves", groves().map(Grove::leaf_count).sum(), self.limits.leaves)?;
                let bytes = groves().map(Grove::message_bytes).sum();
                at_most("bytes", bytes, self.limits.message_bytes)?;
                at_most("bytes of one message", longest, self.limits.longest_message)
            }
        }
    }

    /// Runs `work` on the open device, and shuts the device if it fails.
    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Session) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let Some(mut session) = self.session.take() else {
            return Err(DeviceError::Lost("shut after an error and not rebuilt".into()));
        };
        match link::contain(|| work(&mut session)) {
            Ok(value) => {
                self.session = Some(session);
                Ok(value)
            }
            Err(error) => {
                session.shut(Some(&error));
                Err(error)
            }
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.shut(None);
        }
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        self.adapter.info()
    }

    fn limits(&self) -> DispatchLimits {
        self.limits
    }

    fn start_hashing(&mut self, work: &Work<'_>, noise: &Noise) -> Result<(), DeviceError> {
        self.takes(work)?;
        let kernels = self.kernels;
        self.attempt(|session| session.start(kernels, work, noise))
    }

    fn finish_hashing(&mut self, digests: &mut [Hash256]) -> Result<(), DeviceError> {
        self.attempt(|session| session.finish(digests))
    }

    #[cfg(feature = "mine")]
    fn start_search(
        &mut self,
        dispatch: &SearchDispatch,
        noise: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), DeviceError> {
        let nonces_end = u64::from(dispatch.first) + u64::from(dispatch.count);
        let decoy_end = u64::from(dispatch.decoy_first) + u64::from(SEARCH_GROUP);
        if dispatch.count > self.limits.nonces
            || dispatch.decoy_group > dispatch.work_groups()
            || nonces_end.max(decoy_end) > 1 << u32::BITS
        {
            return Err(DeviceError::Refused(format!("no such dispatch: {dispatch:?}")));
        }
        let kernels = self.kernels;
        self.attempt(|session| {
            let link = &session.link;
            let kernel = ready(&mut session.search, || SearchKernel::new(link, kernels))?;
            kernel.start(link, dispatch, noise)
        })
    }

    #[cfg(feature = "mine")]
    fn finish_search(&mut self) -> Result<SearchResult, DeviceError> {
        self.attempt(|session| match &mut session.search {
            Some(kernel) => kernel.finish(&session.link),
            None => Err(DeviceError::Refused("no search is under way".into())),
        })
    }

    fn take_times(&mut self) -> Option<DeviceTimes> {
        self.session.as_mut()?.link.take_times()
    }

    fn rebuild(&mut self) -> Result<(), DeviceError> {
        if let Some(session) = self.session.take() {
            session.shut(None);
        }
        let id = &self.adapter.info().id;
        let found = adapters().into_iter().find(|adapter| adapter.info().id == *id);
        let adapter = found
            .ok_or_else(|| DeviceError::Unavailable(format!("device {id} is no longer there")))?;
        *self = Self::new(adapter, self.kernels)?;
        Ok(())
    }
}

/// The kernel in `place`, made first if need be.
fn ready<K>(
    place: &mut Option<K>,
    make: impl FnOnce() -> Result<K, DeviceError>,
) -> Result<&mut K, DeviceError> {
    let kernel = match place.take() {
        Some(kernel) => kernel,
        None => make()?,
    };
    Ok(place.insert(kernel))
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), DeviceError> {
    if count > most {
        return Err(DeviceError::Refused(format!("{count} {what} in one call, at most {most}")));
    }
    Ok(())
}

/// How much of each job fits into the adapter's buffers and grids.
fn dispatch_limits(adapter: &Adapter) -> Result<DispatchLimits, DeviceError> {
    let limits = adapter.limits();
    #[cfg(feature = "mine")]
    let group_max = HASH_GROUP.max(SEARCH_GROUP);
    #[cfg(not(feature = "mine"))]
    let group_max = HASH_GROUP;
    if limits.threads_per_group_max < group_max {
        let most = limits.threads_per_group_max;
        let why = format!("workgroups of {most} threads, the kernels need {group_max}");
        return Err(DeviceError::Unavailable(why));
    }

    let buffer = limits.storage_binding_bytes_max.min(limits.buffer_bytes_max);
    // Buffers double, so only half of the largest one is sure to be there.
    let buffer = usize::try_from(buffer / 2).unwrap_or(usize::MAX);
    let threads = u64::from(limits.groups_per_dimension_max) * u64::from(HASH_GROUP);
    let threads = usize::try_from(threads).unwrap_or(usize::MAX);
    // The nodes of groves take one half of the largest buffer at most for messages, and one for leaves: one
    // that is given counts as itself there.
    let messages = MESSAGES_MAX.min(buffer / size_of::<Hash256>()).min(threads);
    let message_bytes = MESSAGE_BYTES_MAX.min(buffer - messages * PACKING_BYTES_MAX);
    Ok(DispatchLimits {
        headers: HEADERS_MAX.min(buffer / Header::LEN).min(threads),
        leaves: LEAVES_MAX.min(buffer / NODE_BYTES_PER_LEAF).min(threads),
        messages,
        message_bytes,
        longest_message: LONGEST_MESSAGE.min(message_bytes),
        nonces: nonces_max(adapter.info().kind),
    })
}

/// The text of the specialised search.
#[cfg(all(test, feature = "mine"))]
pub(crate) fn search_text() -> String {
    search::text(Kernels::MultiplyAdd)
}

/// A count as kernels take it.
fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("dispatch limits are far below 2^32")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Shuts a software device by `harm`, and holds that it stays shut until it is rebuilt.
    fn survives(harm: impl FnOnce(&mut Link), expected: impl FnOnce(&DeviceError) -> bool) {
        let software = |adapter: &Adapter| adapter.info().kind == DeviceType::Software;
        let Some(adapter) = adapters().into_iter().find(software) else {
            let required = std::env::var_os("BLOCKMILL_REQUIRE_GPU").is_some_and(|v| v == "1");
            assert!(!required, "no software adapter, and BLOCKMILL_REQUIRE_GPU=1");
            eprintln!("SKIPPED: no adapter of a software driver, such as Mesa's lavapipe");
            return;
        };
        let mut gpu = adapter.open().expect("the software adapter opens");
        let header = Header::from_bytes([7; Header::LEN]);
        let headers = vec![&header; gpu.limits().headers];
        let work = Work::Headers(&headers);
        let mut ids = vec![Hash256::ZERO; headers.len()];
        gpu.hash(&work, &mut ids).expect("the device works");

        harm(&mut gpu.session.as_mut().expect("open").link);
        let error = gpu.hash(&work, &mut ids).expect_err("the device is harmed");
        assert!(expected(&error), "{error:?}");
        let error = gpu.hash(&work, &mut ids).expect_err("the device is shut");
        assert!(matches!(error, DeviceError::Lost(_)), "{error:?}");

        gpu.rebuild().expect("the adapter is still there");
        ids.fill(Hash256::ZERO);
        gpu.hash(&work, &mut ids).expect("the device works again");
        assert!(ids.iter().all(|id| *id == header.id()));
    }

    #[test]
    fn a_late_device_is_shut() {
        survives(
            |link| link.patience = Duration::ZERO,
            |error| *error == DeviceError::TimedOut { seconds: 0 },
        );
    }

    #[test]
    fn a_lost_device_is_shut() {
        survives(|link| link.device.destroy(), |error| matches!(error, DeviceError::Lost(_)));
    }

    #[test]
    fn a_refused_command_shuts_the_device() {
        let too_large = |link: &mut Link| {
            let mut buffer = link::Grown::new("too large", wgpu::BufferUsages::STORAGE);
            // The error waits for the next check, as one that comes late would.
            buffer.reserve(&link.device, 1 << 50);
        };
        survives(too_large, |error| {
            matches!(error, DeviceError::Refused(_) | DeviceError::OutOfMemory)
        });
    }
}
