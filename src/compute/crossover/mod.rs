//! Where a device overtakes the CPU: the batch size from which it is faster, for each kind of job.
//!
//! Moving bytes to a device and back costs more than hashing them on many machines, and nobody can tell
//! on which without trying. So the two are measured against each other once ([`measure()`]), what came
//! out is kept ([`Cache`]), and [`super::Guarded`] leaves to the CPU whatever is below.

mod cache;
mod measure;

use serde::{Deserialize, Serialize};

pub use cache::Cache;
pub use measure::measure;

/// A kind of job that a backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Ids of headers.
    Headers,
    /// Roots of Bitcoin's Merkle trees.
    BitcoinTrees,
    /// Roots of RFC 6962's Merkle trees.
    Rfc6962Trees,
    /// Digests of messages.
    Messages,
    /// The search for a nonce.
    #[cfg(feature = "mine")]
    Search,
}

impl JobKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Headers,
        Self::BitcoinTrees,
        Self::Rfc6962Trees,
        Self::Messages,
        #[cfg(feature = "mine")]
        Self::Search,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::BitcoinTrees => "bitcoin-trees",
            Self::Rfc6962Trees => "rfc6962-trees",
            Self::Messages => "messages",
            #[cfg(feature = "mine")]
            Self::Search => "search",
        }
    }

    /// What the size of a batch counts.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::BitcoinTrees | Self::Rfc6962Trees => "leaves",
            Self::Messages => "messages",
            #[cfg(feature = "mine")]
            Self::Search => "nonces",
        }
    }
}

/// What was measured of one kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crossover {
    /// The kind.
    pub job: JobKind,
    /// The size of batch from which the device is faster, in [`JobKind::unit`]; `None` if it never is.
    pub from: Option<usize>,
    /// The size of the largest batch that was tried.
    pub batch: usize,
    /// What the device did of the largest batch each second.
    pub device_rate: f64,
    /// What the CPU did of the same each second.
    pub cpu_rate: f64,
}

/// A crossover for every kind of job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crossovers(Vec<Crossover>);

impl FromIterator<Crossover> for Crossovers {
    /// Of a kind that is not there the device wins nothing.
    fn from_iter<I: IntoIterator<Item = Crossover>>(crossovers: I) -> Self {
        Self(crossovers.into_iter().collect())
    }
}

impl Crossovers {
    /// What was measured, in the order of [`JobKind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = &Crossover> {
        self.0.iter()
    }

    /// Whether the device is faster with a batch of this kind and size.
    #[must_use]
    pub fn wins(&self, job: JobKind, size: usize) -> bool {
        let from = self.0.iter().find(|crossover| crossover.job == job);
        from.and_then(|crossover| crossover.from).is_some_and(|from| size >= from)
    }

    /// Whether the device is faster with some batch of one of these kinds.
    #[must_use]
    pub fn ever_wins(&self, jobs: &[JobKind]) -> bool {
        jobs.iter().any(|&job| self.wins(job, usize::MAX))
    }

    /// Whether every kind is there, as it is not in what another build of the program kept.
    fn is_complete(&self) -> bool {
        JobKind::ALL.iter().copied().eq(self.0.iter().map(|crossover| crossover.job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossovers(from: Option<usize>) -> Crossovers {
        let rates = |job| Crossover { job, from, batch: 8, device_rate: 2.0, cpu_rate: 1.0 };
        JobKind::ALL.iter().copied().map(rates).collect()
    }

    #[test]
    fn a_device_wins_from_its_crossover_on() {
        let measured = crossovers(Some(100));
        for &job in JobKind::ALL {
            assert_eq!([99, 100, 101].map(|size| measured.wins(job, size)), [false, true, true]);
            assert!(measured.ever_wins(&[job]));
            let never = crossovers(None);
            assert!(!never.wins(job, usize::MAX) && !never.ever_wins(&[job]));
        }
        assert!(!crossovers(Some(0)).ever_wins(&[]));
    }

    #[test]
    fn what_lacks_a_kind_is_incomplete() {
        let mut measured = crossovers(Some(100));
        assert!(measured.is_complete());
        measured.0.pop();
        assert!(!measured.is_complete());
    }
}
