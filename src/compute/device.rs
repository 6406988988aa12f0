//! The contract between the guard and hardware that is not believed.
//!
//! A device computes digests and lists candidate nonces. It gives no verdict, it is never sent what
//! the host expects, and whatever it returns is checked by [`super::Guarded`].

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[cfg(feature = "mine")]
use crate::primitives::Target;
use crate::primitives::{Grove, Hash256, HashFunction, Header};

use super::TreeShape;

/// Hardware that hashes, and that may be wrong, late or gone.
pub trait Device: Send {
    /// What the hardware calls itself.
    fn info(&self) -> &DeviceInfo;

    /// The largest dispatches that the device takes.
    fn limits(&self) -> DispatchLimits;

    /// Begins to hash; `noise` fills the result buffer beforehand.
    ///
    /// A kernel that writes nothing then returns noise, not yesterday's right answers. Up to
    /// [`HASHES_AT_ONCE`] pieces of work are under way at a time, so that one is uploaded while another is
    /// hashed and a third is fetched. No search is asked for meanwhile.
    ///
    /// # Errors
    /// If the device was lost, ran out of memory or out of time, or the work exceeds its limits. After an
    /// error nothing is under way any more.
    fn start_hashing(&mut self, work: &Work<'_>, noise: &Noise) -> Result<(), DeviceError>;

    /// Waits for the digests of the work that began first of what is under way.
    ///
    /// # Errors
    /// As for [`Device::start_hashing`], and if nothing is under way; `digests` then means nothing. Also if
    /// there is not one place for each digest.
    fn finish_hashing(&mut self, digests: &mut [Hash256]) -> Result<(), DeviceError>;

    /// Hashes from beginning to end, while nothing else is under way.
    ///
    /// # Errors
    /// As for [`Device::start_hashing`].
    fn hash(&mut self, work: &Work<'_>, digests: &mut [Hash256]) -> Result<(), DeviceError> {
        self.start_hashing(work, &Noise::new(rand::random()))?;
        self.finish_hashing(digests)
    }

    /// Begins to look for candidate nonces of two headers; `noise` fills the result buffer beforehand.
    ///
    /// Up to [`SEARCHES_AT_ONCE`] searches are under way at a time, so that the device goes on with one
    /// while the host looks at the result of another. No other work is asked for meanwhile.
    ///
    /// # Errors
    /// As for [`Device::start_hashing`].
    #[cfg(feature = "mine")]
    fn start_search(
        &mut self,
        dispatch: &SearchDispatch,
        noise: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), DeviceError>;

    /// Waits for the result of the search that began first of those under way.
    ///
    /// # Errors
    /// As for [`Device::start_search`]; and if none is under way.
    #[cfg(feature = "mine")]
    fn finish_search(&mut self) -> Result<SearchResult, DeviceError>;

    /// One search from its beginning to its end, while no other is under way.
    ///
    /// # Errors
    /// As for [`Device::start_search`].
    #[cfg(feature = "mine")]
    fn search(
        &mut self,
        dispatch: &SearchDispatch,
        noise: &mut dyn FnMut(&mut [u8]),
    ) -> Result<SearchResult, DeviceError> {
        self.start_search(dispatch, noise)?;
        self.finish_search()
    }

    /// How long the parts of all work took that was finished since the last call; the first call begins to
    /// note it. `None` if the device cannot tell.
    fn take_times(&mut self) -> Option<DeviceTimes> {
        None
    }

    /// Opens the same device anew after an error.
    ///
    /// # Errors
    /// If it does not come back.
    fn rebuild(&mut self) -> Result<(), DeviceError>;
}

/// Pieces of hashing that are under way at a time: one on its way to the device, one there, and one on its
/// way back.
pub const HASHES_AT_ONCE: usize = 3;

/// What is hashed in one dispatch: each job has one digest, but for groves, which have one for each tree.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// The id of each header.
    Headers(&'a [&'a Header]),
    /// The root of each tree, from its leaves, of which there is at least one.
    Trees(TreeShape, &'a [&'a [Hash256]]),
    /// The digest of each message.
    Messages(HashFunction, &'a [&'a [u8]]),
    /// The root of each tree of each grove, in turn.
    Groves(HashFunction, TreeShape, &'a [&'a Grove<'a>]),
}

impl Work<'_> {
    /// The number of digests.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Headers(headers) => headers.len(),
            Self::Trees(_, trees) => trees.len(),
            Self::Messages(_, messages) => messages.len(),
            Self::Groves(_, _, groves) => groves.iter().map(|grove| grove.tree_count()).sum(),
        }
    }

    /// Whether there is nothing to hash.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Random bytes for a result buffer. They are no secret, but new each time; and pieces of them can be made
/// side by side.
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// What follows from a random number.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        Self(random)
    }

    /// Fills a piece of the buffer, known by its number.
    pub fn fill(&self, piece: usize, bytes: &mut [u8]) {
        SmallRng::seed_from_u64(self.0 ^ (piece as u64).rotate_right(8)).fill_bytes(bytes);
    }
}

/// What kind of hardware a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceType {
    /// A graphics card with memory of its own.
    Discrete,
    /// Graphics that share the processor's memory.
    Integrated,
    /// A device passed through to a virtual machine.
    Virtual,
    /// A driver that computes on the processor.
    Software,
    /// Anything else.
    Other,
}

impl fmt::Display for DeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::Other => "other",
        })
    }
}

/// How a device is named to people and on the command line.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// A stable name for `--device`: the API and the PCI address where there is one.
    pub id: String,
    /// The marketing name.
    pub name: String,
    /// The API it is reached through: `vulkan`, `metal`, `dx12`.
    pub api: String,
    /// What kind of hardware it is.
    pub kind: DeviceType,
    /// Driver name and version.
    pub driver: String,
    /// The PCI address, such as `0000:01:00.0`, if it has one.
    pub pci: Option<String>,
}

/// The largest single dispatches of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchLimits {
    /// Headers in one piece of work.
    pub headers: usize,
    /// Leaves of all trees together in one piece of work.
    pub leaves: usize,
    /// Messages in one piece of work.
    pub messages: usize,
    /// Bytes of all messages together in one piece of work.
    pub message_bytes: usize,
    /// Bytes of one message. One thread hashes it from end to end, so that a dispatch takes as long
    /// as its longest message, however few there are.
    pub longest_message: usize,
    /// Nonces in one call of [`Device::start_search`]; a multiple of the group size.
    pub nonces: u32,
}

/// How long the parts of a device's work took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTimes {
    /// Until the work lay in the device's memory: the host's copy, and the device's.
    pub upload: Duration,
    /// Kernels alone.
    pub kernel: Duration,
    /// Until the result lay in the host's memory, likewise.
    pub read_back: Duration,
}

impl AddAssign for DeviceTimes {
    fn add_assign(&mut self, other: Self) {
        self.upload += other.upload;
        self.kernel += other.kernel;
        self.read_back += other.read_back;
    }
}

/// Why a device did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is no such device, or it cannot be opened.
    #[error("{0}")]
    Unavailable(String),
    /// The driver reset it, or it was unplugged.
    #[error("device lost: {0}")]
    Lost(String),
    /// Its memory does not hold the batch.
    #[error("device out of memory")]
    OutOfMemory,
    /// It did not finish in time.
    #[error("device did not answer within {seconds} s")]
    TimedOut {
        /// How long the host waited.
        seconds: u64,
    },
    /// The driver refused a command or a shader.
    #[error("device refused the work: {0}")]
    Refused(String),
}

/// Nonces that one workgroup of the search kernel tries.
#[cfg(feature = "mine")]
pub const SEARCH_GROUP: u32 = 256;

/// Searches that are under way at a time.
#[cfg(feature = "mine")]
pub const SEARCHES_AT_ONCE: usize = 2;

/// Nonces that a search returns for each header; count and lowest stay exact beyond it.
#[cfg(feature = "mine")]
pub const HIT_LIST_CAPACITY: usize = 255;

/// One dispatch of the search kernel: a stretch of nonces of the header that is mined, and one
/// workgroup, somewhere among the others, that searches a decoy.
///
/// Workgroup `decoy_group` tries the nonces `decoy_first ..` of the decoy. Every other group tries
/// the next [`SEARCH_GROUP`] nonces of the header, from `first` on; nonces from `first + count` on
/// are not reported.
#[cfg(feature = "mine")]
#[derive(Clone, Copy, Debug)]
pub struct SearchDispatch {
    /// The header that is mined; its own nonce is ignored.
    pub header: Header,
    /// A nonce is a candidate if the most significant word of its id is at most this target's.
    pub target: Target,
    /// The first nonce to try.
    pub first: u32,
    /// How many nonces to try: at least one, and `first + count` is at most 2^32.
    pub count: u32,
    /// The header whose answers the host knows.
    pub decoy: Header,
    /// The target of the decoy.
    pub decoy_target: Target,
    /// The first nonce of the decoy to try, at most `2^32 - SEARCH_GROUP`.
    pub decoy_first: u32,
    /// Which workgroup, from zero on, searches the decoy: at most [`SearchDispatch::work_groups`].
    pub decoy_group: u32,
}

#[cfg(feature = "mine")]
impl SearchDispatch {
    /// The number of workgroups that the mined header needs; the decoy takes one more.
    #[must_use]
    pub const fn work_groups(&self) -> u32 {
        self.count.div_ceil(SEARCH_GROUP)
    }
}

/// What one header's search found: candidates, which the host hashes again.
#[cfg(feature = "mine")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// How many candidates there are.
    pub count: u32,
    /// The lowest candidate; `u32::MAX` if there is none.
    pub lowest: u32,
    /// The candidates, in any order; no more than [`HIT_LIST_CAPACITY`] of them.
    pub nonces: Vec<u32>,
}

/// What a search dispatch found.
#[cfg(feature = "mine")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchResult {
    /// Candidates of the header that is mined.
    pub header: Hits,
    /// Candidates of the decoy.
    pub decoy: Hits,
}
