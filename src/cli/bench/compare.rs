//! `bench --compare`: the figures of two documents side by side, and which became slower.

use std::collections::HashMap;
use std::fmt::Write;

use serde::Serialize;

use crate::cli::output::{grouped, scaled};
use crate::error::Error;

use super::document::{Document, Key, Machine, ResultEntry, SuiteEntry, key};

/// Two runs, figure by figure.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// Of the older run.
    old_version: Option<String>,
    old_date: Option<String>,
    threshold_percent: f64,
    entries: Vec<Entry>,
    /// What is good to know about the two.
    notes: Vec<String>,
}

/// A figure that both runs have.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    variant: Option<String>,
    batch: u64,
    backend: String,
    device: String,
    unit: String,
    old_rate: f64,
    new_rate: f64,
    /// New by old.
    ratio: f64,
    /// Whether that is below what the threshold allows.
    slower: bool,
}

impl Comparison {
    /// Compares two runs; a figure more than `threshold_percent` below the old one is slower.
    ///
    /// # Errors
    /// If the two have no figure in common.
    pub(super) fn new(
        old: &Document,
        new: &Document,
        threshold_percent: f64,
    ) -> Result<Self, Error> {
        let mut notes = Vec::new();
        notes.extend(other_machine(old.machine.as_ref(), new.machine.as_ref()));
        if let (Some(old), Some(new)) = (old.quick, new.quick)
            && old != new
        {
            let (quick, thorough) = if old { ("old", "new") } else { ("new", "old") };
            notes.push(format!("the {quick} run was a --quick one, the {thorough} one was not"));
        }
        let mut left: HashMap<Key<'_>, (&SuiteEntry, &ResultEntry)> =
            old.results().map(|(suite, result)| (key(suite, result), (suite, result))).collect();
        let mut entries = Vec::new();
        for (suite, result) in new.results() {
            let title = || format!("{}, {}", suite.title(), result.title());
            match left.remove(&key(suite, result)) {
                None => notes.push(format!("only in the new run: {}", title())),
                Some((before, _)) if before.unit != suite.unit => notes.push(format!(
                    "not compared, as the old run counts {}: {}",
                    before.unit,
                    title()
                )),
                Some((_, before)) => {
                    entries.push(Entry::new(suite, before, result, threshold_percent))
                }
            }
        }
        // In the order of the document, which the map does not keep.
        for (suite, result) in
            old.results().filter(|(suite, result)| left.contains_key(&key(suite, result)))
        {
            notes.push(format!("only in the old run: {}, {}", suite.title(), result.title()));
        }
        if entries.is_empty() {
            return Err(Error::usage(format!(
                "the two runs have no figure in common, so nothing can be compared; {}",
                notes.first().map_or("", String::as_str)
            )));
        }
        let (old_version, old_date) = (old.version.clone(), old.date.clone());
        Ok(Self { old_version, old_date, threshold_percent, entries, notes })
    }

    /// Whether a figure became slower than the threshold allows.
    pub(super) fn is_slower(&self) -> bool {
        self.entries.iter().any(|entry| entry.slower)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes any text");
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let unknown = "unknown";
        writeln!(
            out,
            "compared with the run of {} (version {}); old rate, new rate, new by old:",
            self.old_date.as_deref().unwrap_or(unknown),
            self.old_version.as_deref().unwrap_or(unknown),
        )?;
        let mut last = None;
        for entry in &self.entries {
            let job = (&entry.name, &entry.variant, entry.batch);
            if last.replace(job) != Some(job) {
                let variant = entry.variant.as_ref().map_or(String::new(), |one| format!(" {one}"));
                writeln!(
                    out,
                    "{}{variant}, batches of {}, {}:",
                    entry.name,
                    grouped(entry.batch),
                    entry.unit
                )?;
            }
            writeln!(
                out,
                "  {:<10} {:>8} {:>8} {:>6.2}  {}{}",
                entry.backend,
                scaled(entry.old_rate),
                scaled(entry.new_rate),
                entry.ratio,
                entry.device,
                if entry.slower { "  SLOWER" } else { "" },
            )?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        let slower = self.entries.iter().filter(|entry| entry.slower).count();
        writeln!(
            out,
            "{slower} of {} figures are more than {} % below the old ones",
            self.entries.len(),
            self.threshold_percent
        )
    }
}

impl Entry {
    fn new(suite: &SuiteEntry, old: &ResultEntry, new: &ResultEntry, threshold: f64) -> Self {
        Self {
            name: suite.name.clone(),
            variant: suite.variant.clone(),
            batch: suite.batch,
            backend: new.backend.clone(),
            device: new.device.clone(),
            unit: suite.unit.clone(),
            old_rate: old.rate,
            new_rate: new.rate,
            ratio: new.rate / old.rate,
            slower: new.rate < old.rate * (1.0 - threshold / 100.0),
        }
    }
}

/// A remark where the two runs are not known to be of one machine.
fn other_machine(old: Option<&Machine>, new: Option<&Machine>) -> Option<String> {
    match (old, new) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!(
            "another machine: old {}, new {}; the ratios say little about the program",
            old.title(),
            new.title()
        )),
        _ => Some("it is not known whether both runs are of one machine".into()),
    }
}

impl Machine {
    /// For people.
    pub(super) fn title(&self) -> String {
        let Self { processor, threads, sha, os, arch } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        format!("{processor}, {threads} thread{plural}, {sha}, {os} {arch}")
    }
}
