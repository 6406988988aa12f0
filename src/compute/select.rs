//! Turns what the user wishes for into a backend.

use crate::error::Error;

use super::{Backend, Cpu, CrossCheck, Reference};
#[cfg(feature = "gpu")]
use super::{DeviceInfo, DeviceType, Guarded, SelfTestFailure, Tested, gpu};

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
    Validate,
    /// Searching nonces: moves nothing.
    Search {
        /// How many hashes it will take, about.
        hashes: f64,
    },
}

/// Fewer hashes than this are done on the CPU before a device is even open.
const SEARCH_HASHES_MIN: f64 = 8e6;

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
    let why = match job {
        Job::Validate => Some(
            "no crossover is measured yet, and moving headers to a GPU costs more than hashing them",
        ),
        Job::Search { hashes } if hashes < SEARCH_HASHES_MIN => {
            Some("so little work is done before a GPU is open")
        }
        Job::Search { .. } => None,
    };
    if let Some(why) = why {
        return Selected { backend: Box::new(cpu), note: Some(format!("backend: cpu ({why})")) };
    }
    let threads = cpu.threads();
    match gpu_backend(None, cpu, cross_check) {
        Ok(backend) => {
            let why = "a GPU searches fastest and passed its self-test";
            let note = format!("backend: gpu, {} ({why})", backend.device());
            Selected { backend, note: Some(note) }
        }
        Err(error) => {
            let cpu = Cpu::new(threads).expect("the same threads were there a moment ago");
            let note = format!("backend: cpu ({error})");
            Selected { backend: Box::new(cpu), note: Some(note) }
        }
    }
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
