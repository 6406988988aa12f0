//! The race of a device and the CPU over batches of every kind.

use std::time::{Duration, Instant};

#[cfg(feature = "mine")]
use crate::compute::SearchJob;
use crate::compute::{Backend, Cpu};
#[cfg(feature = "mine")]
use crate::primitives::Target;
use crate::primitives::{Hash256, HashFunction, Header, Messages, Trees};

use super::{Crossover, Crossovers, JobKind};

/// The timed runs of each batch, of which the fastest counts: whatever else the machine does makes
/// runs slower, never faster.
const RUNS: usize = 3;

/// When no further run of a batch begins.
const RUNS_TIME_MAX: Duration = Duration::from_millis(50);

/// How much faster the device has to be. What differs by less is as likely to be chance.
const MARGIN: f64 = 1.1;

/// Each size that is tried after the largest is this part of the one before.
const STEP: usize = 4;

/// The smallest batch that is tried, as a part of the largest.
const SMALLEST: usize = 256;

/// When no further size of a kind is tried.
const TIME_MAX: Duration = Duration::from_millis(250);

/// The leaves of each tree, and the bytes of each message: a block's transactions.
const TREE_LEAVES: usize = 512;
const MESSAGE_BYTES: usize = 250;

/// Races `device` against `cpu`, in less than two seconds where a device is one that computes on the
/// processor, and in far less on others.
///
/// A device that was corrected meanwhile wins nothing.
#[must_use]
pub fn measure(device: &dyn Backend, cpu: &Cpu) -> Crossovers {
    let measured = JobKind::ALL.iter().map(|&job| crossover(job, device, cpu));
    let mut crossovers: Crossovers = measured.collect();
    let tally = device.tally();
    if tally.off.is_some() || tally.mismatches + tally.fallbacks > 0 {
        crossovers.0.iter_mut().for_each(|crossover| crossover.from = None);
    }
    crossovers
}

/// From the largest batch down, as long as the device wins.
fn crossover(job: JobKind, device: &dyn Backend, cpu: &Cpu) -> Crossover {
    let begin = Instant::now();
    let batch = largest(job);
    let race = |size| {
        let work = Work::new(job, size);
        let (of_device, device_s) = work.race(device);
        let (of_cpu, cpu_s) = work.race(cpu);
        let [device_rate, cpu_rate] = [device_s, cpu_s].map(|seconds| size as f64 / seconds);
        Race { device_rate, cpu_rate, agree: of_device == of_cpu }
    };
    let of_largest = race(batch);
    let (mut from, mut size) = (None, batch);
    let mut won = of_largest.is_won();
    while won {
        from = Some(size);
        size /= STEP;
        won = size >= batch / SMALLEST && begin.elapsed() < TIME_MAX && race(size).is_won();
    }
    let Race { device_rate, cpu_rate, .. } = of_largest;
    Crossover { job, from, batch, device_rate, cpu_rate }
}

/// How a batch went.
struct Race {
    device_rate: f64,
    cpu_rate: f64,
    /// Whether both gave the same answers.
    agree: bool,
}

impl Race {
    fn is_won(&self) -> bool {
        self.agree && self.device_rate >= MARGIN * self.cpu_rate
    }
}

/// The largest batch: what validation hands over at once, about.
const fn largest(job: JobKind) -> usize {
    match job {
        JobKind::Headers | JobKind::BitcoinTrees | JobKind::Rfc6962Trees => 1 << 17,
        JobKind::Messages => 1 << 15,
        #[cfg(feature = "mine")]
        JobKind::Search => 1 << 20,
    }
}

/// A batch of one kind.
enum Work {
    Headers(Vec<Header>),
    BitcoinTrees(Trees),
    Rfc6962Trees(Trees),
    Messages(Messages),
    #[cfg(feature = "mine")]
    Search(SearchJob),
}

impl Work {
    fn new(job: JobKind, size: usize) -> Self {
        match job {
            JobKind::Headers => Self::Headers(headers(size)),
            JobKind::BitcoinTrees => Self::BitcoinTrees(trees(size)),
            JobKind::Rfc6962Trees => Self::Rfc6962Trees(trees(size)),
            JobKind::Messages => {
                let mut messages = Messages::new();
                let mut message = [0x5a; MESSAGE_BYTES];
                for index in 0..size {
                    message[..8].copy_from_slice(&(index as u64).to_le_bytes());
                    messages.push(&[&message]);
                }
                Self::Messages(messages)
            }
            #[cfg(feature = "mine")]
            JobKind::Search => {
                // No id is below this target, so every nonce is tried.
                let target = Target::from_be_bytes([0; 32]);
                let last = u32::try_from(size - 1).unwrap_or(u32::MAX);
                let header = Header::from_bytes([0x5a; Header::LEN]);
                Self::Search(SearchJob { header, target, first: 0, last })
            }
        }
    }

    fn run(&self, backend: &dyn Backend) -> Vec<Hash256> {
        let mut digests = vec![Hash256::ZERO; self.results()];
        match self {
            Self::Headers(headers) => backend.header_ids(headers, &mut digests),
            Self::BitcoinTrees(trees) => backend.merkle_roots(trees, &mut digests),
            Self::Rfc6962Trees(trees) => backend.rfc6962_roots(trees, &mut digests),
            Self::Messages(messages) => {
                backend.hash_messages(HashFunction::Sha256d, &messages.slices(), &mut digests);
            }
            #[cfg(feature = "mine")]
            Self::Search(job) => {
                digests.extend(backend.search(job).map(|nonce| job.header.with_nonce(nonce).id()));
            }
        }
        digests
    }

    /// The number of digests.
    fn results(&self) -> usize {
        match self {
            Self::Headers(headers) => headers.len(),
            Self::BitcoinTrees(trees) | Self::Rfc6962Trees(trees) => trees.len(),
            Self::Messages(messages) => messages.len(),
            #[cfg(feature = "mine")]
            Self::Search(_) => 0,
        }
    }

    /// The answers, and the time of the fastest run after the one that gave them, in seconds.
    fn race(&self, backend: &dyn Backend) -> (Vec<Hash256>, f64) {
        let answers = self.run(backend);
        let begin = Instant::now();
        let mut fastest = Duration::MAX;
        for run in 0..RUNS {
            if run > 0 && begin.elapsed() > RUNS_TIME_MAX {
                break;
            }
            let start = Instant::now();
            std::hint::black_box(self.run(backend));
            fastest = fastest.min(start.elapsed());
        }
        (answers, fastest.as_secs_f64().max(1e-9))
    }
}

/// Headers that each name the one before as their parent and are solved, as in a dump: the ids of
/// others are the CPU's to compute, whatever a device says.
fn headers(count: usize) -> Vec<Header> {
    let mut parent = Hash256::ZERO;
    let easiest = crate::primitives::CompactTarget::from_bits(0x207f_ffff);
    let target = easiest.decode().expect("regtest's target");
    let header = |_| {
        let unsolved = Header::from_fields(1, parent, Hash256::ZERO, 0, easiest, 0);
        let solve = |nonce| {
            let header = unsolved.with_nonce(nonce);
            let id = header.id();
            target.is_met_by(&id).then_some((header, id))
        };
        let (header, id) = (0..=u32::MAX).find_map(solve).expect("every second nonce wins");
        parent = id;
        header
    };
    (0..count).map(header).collect()
}

fn trees(leaves: usize) -> Trees {
    let mut trees = Trees::new();
    let leaves: Vec<_> = (0..leaves)
        .map(|index| {
            let mut bytes = [0x5a; 32];
            bytes[..8].copy_from_slice(&(index as u64).to_le_bytes());
            Hash256::from_bytes(bytes)
        })
        .collect();
    leaves.chunks(TREE_LEAVES).for_each(|tree| trees.push(tree));
    trees
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Reference;

    #[test]
    fn every_kind_is_measured_and_the_reference_never_wins() {
        let cpu = Cpu::new(1).expect("a thread");
        let crossovers = measure(&Reference, &cpu);
        assert!(crossovers.is_complete());
        for crossover in crossovers.iter() {
            assert_eq!(crossover.from, None, "{crossover:?}");
            assert!(crossover.cpu_rate > crossover.device_rate, "{crossover:?}");
        }
    }

    #[test]
    fn what_is_much_faster_wins_if_it_is_right() {
        // Answers without work, and right ones.
        struct Oracle(std::sync::Mutex<Vec<Hash256>>);
        impl Backend for Oracle {
            fn name(&self) -> &'static str {
                "oracle"
            }
            fn device(&self) -> String {
                String::new()
            }
            fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
                let mut known = self.0.lock().expect("one thread");
                if known.len() != ids.len() {
                    *known = headers.iter().map(Header::id).collect();
                }
                ids.copy_from_slice(&known);
            }
            fn merkle_roots(&self, _: &Trees, _: &mut [Hash256]) {}
            fn hash_messages(&self, _: HashFunction, _: &[&[u8]], _: &mut [Hash256]) {}
            fn rfc6962_roots(&self, _: &Trees, _: &mut [Hash256]) {}
            #[cfg(feature = "mine")]
            fn search(&self, _: &SearchJob) -> Option<u32> {
                Some(7)
            }
            #[cfg(feature = "mine")]
            fn search_span(&self) -> u32 {
                1
            }
        }
        let cpu = Cpu::new(1).expect("a thread");
        let crossovers = measure(&Oracle(std::sync::Mutex::default()), &cpu);
        for crossover in crossovers.iter() {
            // As fast as can be, and wrong: what disagrees does not win.
            let right = crossover.job == JobKind::Headers;
            assert_eq!(crossover.from.is_some(), right, "{crossover:?}");
            assert!(crossover.device_rate > crossover.cpu_rate, "{crossover:?}");
        }
        assert!(crossovers.wins(JobKind::Headers, largest(JobKind::Headers)));
    }
}
