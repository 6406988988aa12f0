//! Turns what the user wishes for into a backend.

use crate::error::Error;

#[cfg(feature = "gpu")]
use super::crossover::{Cache, Crossovers, JobKind, measure};
use super::{Backend, Cpu, CrossCheck, Reference};
#[cfg(feature = "gpu")]
use super::{DeviceError, DeviceInfo, DeviceType, Guarded, SelfTestFailure, Tested, gpu};

/// Which backend the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Whatever is fastest for the job.
    Auto,
    /// The naive definition.
    Reference,
    /// Every core.
    Cpu,
    /// The best graphics card.
    Gpu,
    /// A device by the id that `devices` prints, a unique prefix of it, or `software`.
    Device(String),
}

/// What the backend is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Job {
    /// Hashing what was read: moves much for little arithmetic.
    Validate {
        /// How many bytes there are to read, if that is known.
        bytes: Option<u64>,
    },
    /// Searching nonces: moves nothing.
    Search {
        /// How many hashes it will take, about.
        hashes: f64,
    },
}

/// Fewer hashes than this are done on the CPU before a device is even open.
const SEARCH_HASHES_MIN: f64 = 8e6;

/// Fewer bytes than this are hashed on the CPU before a device is even open.
const VALIDATE_BYTES_MIN: u64 = 256 << 20;

impl Job {
    /// Why the CPU does it, whatever devices there are.
    fn is_too_little(self) -> Option<&'static str> {
        let little = "so little work is done before a GPU is open";
        match self {
            Self::Validate { bytes: None } => Some("nobody knows how much a pipe holds"),
            Self::Validate { bytes: Some(bytes) } => (bytes < VALIDATE_BYTES_MIN).then_some(little),
            Self::Search { hashes } => (hashes < SEARCH_HASHES_MIN).then_some(little),
        }
    }

    /// The kinds of jobs that it consists of.
    #[cfg(feature = "gpu")]
    fn kinds(self) -> &'static [JobKind] {
        match self {
            Self::Validate { .. } => {
                &[JobKind::Headers, JobKind::BitcoinTrees, JobKind::Rfc6962Trees, JobKind::Messages]
            }
            #[cfg(feature = "mine")]
            Self::Search { .. } => &[JobKind::Search],
            #[cfg(not(feature = "mine"))]
            Self::Search { .. } => &[],
        }
    }
}

/// A backend, and why it was taken if the user left it open.
pub struct Selected {
    /// The backend.
    pub backend: Box<dyn Backend>,
    /// One line that says what `auto` took and why.
    pub note: Option<String>,
}

/// The name by which software adapters are taken.
pub const SOFTWARE: &str = "software";

/// Picks, opens and tests a backend; `threads` is zero for one per core.
///
/// # Errors
/// If the wish cannot be fulfilled, with the reason.
pub fn select(
    wish: &Wish,
    job: Job,
    threads: usize,
    cross_check: CrossCheck,
) -> Result<Selected, Error> {
    let cpu = Cpu::new(threads).map_err(|error| Error::Device(format!("no threads: {error}")))?;
    let given = |backend: Box<dyn Backend>| Ok(Selected { backend, note: None });
    match wish {
        Wish::Reference => given(Box::new(Reference)),
        Wish::Cpu => given(Box::new(cpu)),
        Wish::Gpu => given(gpu_backend(None, cpu, cross_check)?),
        Wish::Device(id) => given(gpu_backend(Some(id), cpu, cross_check)?),
        Wish::Auto => Ok(auto(job, cpu, cross_check)),
    }
}

fn auto(job: Job, cpu: Cpu, cross_check: CrossCheck) -> Selected {
    let threads = cpu.threads();
    let cpu_because = |cpu: Cpu, why: &str| Selected {
        backend: Box::new(cpu),
        note: Some(format!("backend: cpu ({why})")),
    };
    if let Some(why) = job.is_too_little() {
        return cpu_because(cpu, why);
    }
    match faster_gpu(job, cpu, cross_check) {
        Ok(backend) => {
            let why = "it was measured to be faster than the CPU, and passed its self-test";
            let note = format!("backend: gpu, {} ({why})", backend.device());
            Selected { backend, note: Some(note) }
        }
        Err(error) => {
            let cpu = Cpu::new(threads).expect("the same threads were there a moment ago");
            cpu_because(cpu, &error.to_string())
        }
    }
}

#[cfg(not(feature = "gpu"))]
fn faster_gpu(_: Job, cpu: Cpu, cross_check: CrossCheck) -> Result<Box<dyn Backend>, Error> {
    gpu_backend(None, cpu, cross_check)
}

/// The best graphics card that is faster than the CPU at some part of the job, which does those parts.
#[cfg(feature = "gpu")]
fn faster_gpu(job: Job, cpu: Cpu, cross_check: CrossCheck) -> Result<Box<dyn Backend>, Error> {
    let adapters = gpu::adapters();
    let mut reasons = Vec::new();
    for adapter in cards(&adapters)? {
        let id = &adapter.info().id;
        let slower = || format!("{id} was measured, and is slower than the CPU at this");
        let kept = cache(adapter, &cpu).load();
        let loses = |crossovers: &Crossovers| !crossovers.ever_wins(job.kinds());
        // A device that never wins is not even opened.
        if kept.as_ref().is_some_and(loses) {
            reasons.push(slower());
            continue;
        }
        let opened = match opened(adapter, &cpu, kept) {
            Ok(opened) => opened,
            Err(failure) => {
                reasons.push(format!("{id}: {failure}"));
                continue;
            }
        };
        if loses(&opened.crossovers) {
            reasons.push(slower());
            continue;
        }
        return Ok(Box::new(opened.guarded.obeying(opened.crossovers, cross_check)));
    }
    Err(Error::Device(reasons.join("; ")))
}

#[cfg(feature = "gpu")]
struct Opened {
    guarded: Guarded,
    crossovers: Crossovers,
}

/// Tests a device, and measures it against `cpu` unless that was done before.
#[cfg(feature = "gpu")]
fn opened(
    adapter: &gpu::Adapter,
    cpu: &Cpu,
    kept: Option<Crossovers>,
) -> Result<Opened, SelfTestFailure> {
    let device = tested(adapter)?;
    let behind = Cpu::new(cpu.threads())
        .map_err(|error| DeviceError::Unavailable(format!("no threads behind it: {error}")))?;
    let guarded = Guarded::new(device, behind, CrossCheck::OFF);
    let crossovers = kept.unwrap_or_else(|| {
        let measured = measure(&guarded, cpu);
        cache(adapter, cpu).store(&measured);
        measured
    });
    Ok(Opened { guarded, crossovers })
}

#[cfg(feature = "gpu")]
fn cache(adapter: &gpu::Adapter, cpu: &Cpu) -> Cache {
    Cache::new(adapter.info(), adapter.kernels().digest(), cpu)
}

/// What was measured of an adapter against the CPU, now or in an earlier run.
#[derive(Clone, Debug)]
#[cfg(feature = "gpu")]
pub struct Comparison {
    /// The crossovers.
    pub crossovers: Crossovers,
    /// Whether an earlier run measured them.
    pub is_kept: bool,
}

/// Tests an adapter, and measures it against `cpu` unless that was done before.
///
/// # Errors
/// If it fails its self-test.
#[cfg(feature = "gpu")]
pub fn compare(adapter: &gpu::Adapter, cpu: &Cpu) -> Result<Comparison, SelfTestFailure> {
    let kept = cache(adapter, cpu).load();
    let is_kept = kept.is_some();
    let Opened { crossovers, .. } = opened(adapter, cpu, kept)?;
    Ok(Comparison { crossovers, is_kept })
}

#[cfg(not(feature = "gpu"))]
fn gpu_backend(_: Option<&str>, _: Cpu, _: CrossCheck) -> Result<Box<dyn Backend>, Error> {
    Err(Error::Device("this build has no GPU backend (feature `gpu`)".into()))
}

/// The device called `id`, or the best graphics card that passes its self-test.
#[cfg(feature = "gpu")]
fn gpu_backend(
    id: Option<&str>,
    cpu: Cpu,
    cross_check: CrossCheck,
) -> Result<Box<dyn Backend>, Error> {
    let adapters = gpu::adapters();
    let candidates = match id {
        Some(id) => vec![named(&adapters, id)?],
        None => cards(&adapters)?,
    };
    let mut failures = Vec::new();
    for adapter in candidates {
        match tested(adapter) {
            Ok(device) => return Ok(Box::new(Guarded::new(device, cpu, cross_check))),
            Err(failure) => failures.push(format!("{}: {failure}", adapter.info().id)),
        }
    }
    Err(Error::Device(failures.join("; ")))
}

#[cfg(feature = "gpu")]
fn tested(adapter: &gpu::Adapter) -> Result<Tested, SelfTestFailure> {
    Tested::new(Box::new(adapter.open()?))
}

/// The adapter with this id, or whose id alone begins so.
#[cfg(feature = "gpu")]
fn named<'a>(adapters: &'a [gpu::Adapter], id: &str) -> Result<&'a gpu::Adapter, Error> {
    let known = || {
        let ids: Vec<_> = adapters.iter().map(|adapter| adapter.info().id.as_str()).collect();
        if ids.is_empty() {
            "there is none".into()
        } else {
            format!("there are: {}", ids.join(", "))
        }
    };
    if id == SOFTWARE {
        let software = adapters.iter().find(|adapter| adapter.info().kind == DeviceType::Software);
        return software.ok_or_else(|| Error::Device(format!("no software adapter; {}", known())));
    }
    if let Some(exact) = adapters.iter().find(|adapter| adapter.info().id == id) {
        return Ok(exact);
    }
    // A prefix that names no more than the API is too little to name a software adapter.
    let names = |info: &DeviceInfo| {
        let rest = info.id.strip_prefix(&info.api).unwrap_or(&info.id).trim_start_matches(':');
        let named = id.len() > info.id.len() - rest.len();
        info.id.starts_with(id) && (named || info.kind != DeviceType::Software)
    };
    let mut matches = adapters.iter().filter(|adapter| !id.is_empty() && names(adapter.info()));
    match (matches.next(), matches.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Error::Device(format!("no device '{id}'; {}", known()))),
        (Some(_), Some(_)) => {
            Err(Error::Device(format!("'{id}' names several devices; {}", known())))
        }
    }
}

/// The ids of all graphics cards, software adapters left out, best first.
#[must_use]
pub fn gpu_ids() -> Vec<String> {
    #[cfg(feature = "gpu")]
    return by_preference(&gpu::adapters())
        .into_iter()
        .map(gpu::Adapter::info)
        .filter(|info| info.kind != DeviceType::Software)
        .map(|info| info.id.clone())
        .collect();
    #[cfg(not(feature = "gpu"))]
    Vec::new()
}

/// Adapters in the order in which `auto` considers them: cards with memory of their own first.
#[cfg(feature = "gpu")]
pub(crate) fn by_preference(adapters: &[gpu::Adapter]) -> Vec<&gpu::Adapter> {
    let mut ordered: Vec<_> = adapters.iter().collect();
    ordered.sort_by_key(|adapter| match adapter.info().kind {
        DeviceType::Discrete => 0,
        DeviceType::Integrated => 1,
        DeviceType::Virtual => 2,
        DeviceType::Other => 3,
        DeviceType::Software => 4,
    });
    ordered
}

/// Every graphics card, best first; at least one.
#[cfg(feature = "gpu")]
fn cards(adapters: &[gpu::Adapter]) -> Result<Vec<&gpu::Adapter>, Error> {
    let mut cards = by_preference(adapters);
    let software = cards.pop_if(|adapter| adapter.info().kind == DeviceType::Software);
    cards.retain(|adapter| adapter.info().kind != DeviceType::Software);
    match (cards.is_empty(), software) {
        (false, _) => Ok(cards),
        (true, Some(software)) => Err(Error::Device(format!(
            "no GPU; the software adapter {} is used only when named (--device {SOFTWARE})",
            software.info().id
        ))),
        (true, None) => Err(Error::Device("no GPU: no driver offers an adapter".into())),
    }
}
