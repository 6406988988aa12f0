//! The document that `bench --format json` writes, and that `--compare` and `--results` read again.
//!
//! README.md says what each key means. Keys that early documents lack are empty when they are read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::output::{ErrorReport, grouped};
use crate::error::{Error, Place};

use super::compare::Comparison;

/// The version of the document. Keys may be added within it, none renamed.
pub(super) const SCHEMA: u32 = 1;

/// The largest file that is read as such a document.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The results of one run, and where they come from.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) schema: u32,
    #[serde(default)]
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) date: Option<String>,
    #[serde(default)]
    pub(super) command: Option<String>,
    #[serde(default)]
    pub(super) quick: Option<bool>,
    #[serde(default)]
    pub(super) note: Option<String>,
    #[serde(default)]
    pub(super) machine: Option<Machine>,
    pub(super) suites: Vec<SuiteEntry>,
    #[serde(skip_deserializing)]
    pub(super) comparison: Option<Comparison>,
    #[serde(skip_deserializing)]
    pub(super) error: Option<ErrorReport>,
}

/// What the figures were measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) threads: usize,
    pub(super) sha: String,
    pub(super) os: String,
    pub(super) arch: String,
}

/// One suite, variant and batch size.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SuiteEntry {
    pub(super) name: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
    pub(super) unit: String,
    pub(super) batch: u64,
    /// Whether no device ever does this work.
    #[serde(default)]
    pub(super) cpu_only: bool,
    pub(super) results: Vec<ResultEntry>,
    /// Why a backend has no figure.
    #[serde(default)]
    pub(super) disagreed: Vec<String>,
}

/// What one backend does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResultEntry {
    pub(super) backend: String,
    pub(super) device: String,
    /// Whether the device is a software adapter, whose rates are not a GPU's.
    #[serde(default)]
    pub(super) software: bool,
    #[serde(default)]
    pub(super) threads: Option<usize>,
    pub(super) rate: f64,
    #[serde(default)]
    pub(super) rate_slowest: Option<f64>,
    #[serde(default)]
    pub(super) rate_fastest: Option<f64>,
    #[serde(default)]
    pub(super) runs: Option<usize>,
    #[serde(default)]
    pub(super) speedup_vs_cpu: Option<f64>,
    /// The highest rate that the device's units allow, where they are known.
    #[serde(default)]
    pub(super) ceiling: Option<f64>,
    #[serde(default)]
    pub(super) busy_s: Option<BusyEntry>,
    #[serde(default)]
    pub(super) device_s: Option<DeviceEntry>,
}

/// How long the parts of a device's work took in the last run, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct DeviceEntry {
    pub(super) upload: f64,
    pub(super) kernel: f64,
    pub(super) read_back: f64,
    /// What the host did besides, and waited for.
    pub(super) host: f64,
}

/// How long each stage was busy in the last run, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct BusyEntry {
    pub(super) read: f64,
    pub(super) hash: f64,
    pub(super) bodies: f64,
    pub(super) connect: f64,
}

impl Document {
    /// Without any results.
    pub(super) const fn empty() -> Self {
        Self {
            schema: SCHEMA,
            version: None,
            date: None,
            command: None,
            quick: None,
            note: None,
            machine: None,
            suites: Vec::new(),
            comparison: None,
            error: None,
        }
    }

    /// Reads a document that another run has written.
    ///
    /// # Errors
    /// If there is no such file, or it is no such document, with the reason.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let usage = |why: String| Error::Usage {
            message: format!("{} is no document of bench --format json: {why}", path.display()),
            place: Some(Place { path: path.into(), offset: 0 }),
        };
        let unreadable = |error: std::io::Error| {
            Error::usage(format!("cannot read {}: {error}", path.display()))
        };
        let len = std::fs::metadata(path).map_err(unreadable)?.len();
        if len > FILE_BYTES_MAX {
            return Err(usage(format!("it has {len} bytes")));
        }
        let text = std::fs::read(path).map_err(unreadable)?;
        let document: Self =
            serde_json::from_slice(&text).map_err(|error| usage(error.to_string()))?;
        document.check().map_err(usage)?;
        Ok(document)
    }

    /// What is wrong with a document whose keys are all there.
    fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("its schema is {}, and this program knows {SCHEMA}", self.schema));
        }
        if self.results().next().is_none() {
            return Err("it holds no results".into());
        }
        let mut keys = std::collections::HashSet::new();
        for (suite, result) in self.results() {
            let place = format!("{}, {}", suite.title(), result.title());
            if !(result.rate.is_finite() && result.rate > 0.0) {
                return Err(format!("{place}: the rate {} is none", result.rate));
            }
            if !keys.insert(key(suite, result)) {
                return Err(format!("{place} is there twice"));
            }
        }
        Ok(())
    }

    /// Every figure, with its suite.
    pub(super) fn results(&self) -> impl Iterator<Item = (&SuiteEntry, &ResultEntry)> {
        self.suites.iter().flat_map(|suite| suite.results.iter().map(move |result| (suite, result)))
    }

    /// Whether a backend has no figure because it was wrong.
    pub(super) fn has_disagreements(&self) -> bool {
        self.suites.iter().any(|suite| !suite.disagreed.is_empty())
    }
}

/// What tells a figure from all others of a document.
pub(super) type Key<'a> = (&'a str, Option<&'a str>, u64, &'a str, &'a str);

/// The key of a figure.
pub(super) fn key<'a>(suite: &'a SuiteEntry, result: &'a ResultEntry) -> Key<'a> {
    (&suite.name, suite.variant.as_deref(), suite.batch, &result.backend, &result.device)
}

impl SuiteEntry {
    /// The kind of work, for people: `hash 64-bytes`.
    pub(super) fn job(&self) -> String {
        let variant = self.variant.as_deref();
        variant.map_or_else(|| self.name.clone(), |variant| format!("{} {variant}", self.name))
    }

    /// The kind of work and its batch size, for people.
    pub(super) fn title(&self) -> String {
        format!("{}, batches of {}", self.job(), grouped(self.batch))
    }
}

impl ResultEntry {
    /// Who it was, for people.
    pub(super) fn title(&self) -> String {
        let mark = if self.software { "; no GPU" } else { "" };
        format!("{}: {}{mark}", self.backend, self.device)
    }
}
