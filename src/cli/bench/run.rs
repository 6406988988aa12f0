//! Measuring: every suite that was asked for, on everything that can compute here.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::bench::{
    Append, AppendFault, Case, Contestant, Measurement, Pace, Suite, measure, search_ceiling,
};
use crate::cli::args::{BenchArgs, SuiteName};
use crate::cli::output::{self, Format, grouped, scaled};
use crate::compute::select::{Job, Wish, gpu_ids, select};
use crate::compute::{CrossCheck, DeviceTimes, Reference};
use crate::error::Error;
use crate::stages::Busy;

use super::document::{BusyEntry, DeviceEntry, ResultEntry, SuiteEntry};

/// The name of the plain writes beside a chain file.
const PLAIN: &str = "plain";

/// Measures all suites, and prints each for people as soon as it is there.
pub(super) fn suites(args: &BenchArgs) -> Result<Vec<SuiteEntry>, Error> {
    let contestants = contestants(args)?;
    let pace = if args.quick { Pace::QUICK } else { Pace::THOROUGH };
    let mut entries = Vec::new();
    for suite in wished(args) {
        let mut cpu_rate = None;
        for &batch in suite.batches(args.quick) {
            let (results, disagreed) = match suite.case(batch)? {
                Some(case) => {
                    let ceiling = |device: &str| match suite.name() {
                        "search" => search_ceiling(device),
                        _ => None,
                    };
                    let takes = |one: &&Contestant| suite.is_for(one, batch);
                    let contestants: Vec<_> = contestants.iter().filter(takes).collect();
                    if contestants.is_empty() {
                        continue;
                    }
                    let mut found = backends(&case, &contestants, pace, &mut cpu_rate)?;
                    for result in &mut found.0 {
                        result.ceiling = ceiling(&result.device);
                    }
                    found
                }
                None => append(args, batch, pace)?,
            };
            for what in &disagreed {
                output::error(&format!("{what}: no figure"));
            }
            let entry = SuiteEntry {
                name: suite.name().into(),
                variant: suite.variant(),
                unit: suite.unit().into(),
                batch: batch as u64,
                cpu_only: suite.is_cpu_only(),
                results,
                disagreed,
            };
            if args.format == Format::Human {
                output::print(&entry.to_text())?;
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// The suites that were asked for, each once, in the usual order.
fn wished(args: &BenchArgs) -> impl Iterator<Item = Suite> {
    let name = |name: &SuiteName| match name {
        #[cfg(feature = "mine")]
        SuiteName::Search => "search",
        SuiteName::Headers => "headers",
        SuiteName::Merkle => "merkle",
        SuiteName::Hash => "hash",
        SuiteName::Signatures => "signatures",
        SuiteName::Validate => "validate",
        SuiteName::Append => "append",
    };
    let names: Vec<_> = args.suite.iter().map(name).collect();
    let is_wished = move |suite: &Suite| names.is_empty() || names.contains(&suite.name());
    Suite::ALL.iter().copied().filter(is_wished)
}

/// The CPU with all threads first, against which the others are measured.
fn contestants(args: &BenchArgs) -> Result<Vec<Contestant>, Error> {
    let threads = usize::from(args.threads.unwrap_or(0));
    let open = |wish: &Wish, threads| {
        let job = Job::Search { hashes: f64::INFINITY };
        let selected = select(wish, job, threads, CrossCheck::OFF)?;
        Contestant::new(selected.backend, threads)
    };
    let all = open(&Wish::Cpu, threads)?;
    let is_alone = all.threads() == 1;
    let mut contestants = vec![all];
    if !is_alone {
        contestants.push(open(&Wish::Cpu, 1)?);
    }
    contestants.push(open(&Wish::Reference, 1)?);
    for id in gpu_ids() {
        // A card that fails its self-test is left out, and said to be.
        match open(&Wish::Device(id), threads) {
            Ok(contestant) => contestants.push(contestant),
            Err(error) => output::warning(&error.to_string()),
        }
    }
    for id in &args.device {
        let new = open(&Wish::Device(id.clone()), threads)?;
        let device = new.backend().device();
        if contestants.iter().all(|other| other.backend().device() != device) {
            contestants.push(new);
        }
    }
    Ok(contestants)
}

type Results = (Vec<ResultEntry>, Vec<String>);

/// The results of the backends that agree with the reference, and why the others have none. `cpu_rate` is
/// the rate of the CPU with all threads at the largest batch so far.
fn backends(
    case: &Case,
    contestants: &[&Contestant],
    pace: Pace,
    cpu_rate: &mut Option<f64>,
) -> Result<Results, Error> {
    let reference = Contestant::new(Box::new(Reference), 1)?;
    let (mut results, mut disagreed) = (Vec::new(), Vec::new());
    let all_threads = contestants.iter().position(|one| one.backend().name() == "cpu");
    for (index, contestant) in contestants.iter().enumerate() {
        let backend = contestant.backend();
        if all_threads == Some(index) {
            *cpu_rate = None;
        }
        if let Err(difference) = case.compare(contestant, &reference)? {
            disagreed.push(difference.to_string());
            continue;
        }
        let (mut busy, mut parts) = (None, None);
        backend.take_device_times();
        let time = measure(pace, || {
            let start = Instant::now();
            busy = case.run(contestant)?;
            parts =
                backend.take_device_times().map(|times| DeviceEntry::of(times, start.elapsed()));
            Ok::<_, Error>(())
        })?;
        if let Some(why) = backend.tally().off {
            disagreed.push(format!("{}: switched off: {why}", backend.device()));
            continue;
        }
        let units = case.units() as f64;
        if all_threads == Some(index) {
            *cpu_rate = Some(units / time.median_s);
        }
        let result = ResultEntry::new(backend.name(), backend.device(), units, time, *cpu_rate);
        results.push(ResultEntry {
            software: contestant.is_software_adapter(),
            threads: Some(contestant.threads()),
            busy_s: busy.map(BusyEntry::of),
            device_s: parts,
            ..result
        });
    }
    Ok((results, disagreed))
}

/// The chain file, and plain writes beside it.
fn append(args: &BenchArgs, batch: usize, pace: Pace) -> Result<Results, Error> {
    let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let unwritable = |source| Error::Unwritable { path: folder.clone(), source };
    let commits = u32::try_from(batch).unwrap_or(u32::MAX);
    let append = Append::new(commits, &folder).map_err(unwritable)?;
    let [chain, plain] = match append.measure(pace) {
        Ok(measured) => measured,
        Err(fault @ AppendFault::Different) => return Ok((Vec::new(), vec![fault.to_string()])),
        Err(AppendFault::File(source)) => return Err(Error::ChainFile { path: folder, source }),
    };
    let disk = match append.file_system().as_deref() {
        Some("tmpfs" | "ramfs") => "memory, no disk".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "this disk".to_owned(),
    };
    let bytes = append.bytes() as f64;
    let mut results = Vec::new();
    for (backend, what, time) in [
        ("cpu", "chain file, commits of 1 MiB", chain),
        (PLAIN, "writes of the same sizes, two syncs each", plain),
    ] {
        let chain_rate = Some(bytes / chain.median_s);
        let result = ResultEntry::new(backend, format!("{what}, {disk}"), bytes, time, chain_rate);
        results.push(ResultEntry { threads: Some(1), ..result });
    }
    Ok((results, Vec::new()))
}

impl ResultEntry {
    /// The rates of so many units, beside that of the CPU with all threads, if it has one.
    fn new(
        backend: &str,
        device: String,
        units: f64,
        time: Measurement,
        cpu_rate: Option<f64>,
    ) -> Self {
        let rate = units / time.median_s;
        Self {
            software: false,
            backend: backend.into(),
            device,
            threads: None,
            rate,
            rate_slowest: Some(units / time.slowest_s),
            rate_fastest: Some(units / time.fastest_s),
            runs: Some(time.runs),
            speedup_vs_cpu: cpu_rate.map(|cpu_rate| rate / cpu_rate),
            ceiling: None,
            busy_s: None,
            device_s: None,
        }
    }
}

impl BusyEntry {
    fn of(busy: Busy) -> Self {
        Self {
            read: busy.read.as_secs_f64(),
            hash: busy.hash.as_secs_f64(),
            bodies: busy.bodies.as_secs_f64(),
            connect: busy.connect.as_secs_f64(),
        }
    }
}

impl DeviceEntry {
    fn of(times: DeviceTimes, elapsed: Duration) -> Self {
        let DeviceTimes { upload, kernel, read_back } = times;
        Self {
            upload: upload.as_secs_f64(),
            kernel: kernel.as_secs_f64(),
            read_back: read_back.as_secs_f64(),
            host: elapsed.saturating_sub(upload + kernel + read_back).as_secs_f64(),
        }
    }

    /// For people.
    fn to_text(self) -> String {
        let total = self.upload + self.kernel + self.read_back + self.host;
        let share = |part: f64| 100.0 * part / total;
        format!(
            "upload {:.0} %, kernel {:.0} %, read-back {:.0} %, host {:.0} %",
            share(self.upload),
            share(self.kernel),
            share(self.read_back),
            share(self.host)
        )
    }
}

impl SuiteEntry {
    /// For people.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes any text");
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let alone = if self.cpu_only { " (the CPU alone)" } else { "" };
        let (job, batch) = (self.job(), grouped(self.batch));
        writeln!(out, "{job}, batches of {batch}, {}{alone}:", self.unit)?;
        for result in &self.results {
            let optional = |rate: Option<f64>| rate.map_or_else(|| "?".into(), scaled);
            writeln!(
                out,
                "  {:<10} {:>8}  ({:>7} to {:>7}, {} runs)  {:>6.2} x CPU  {}",
                result.backend,
                scaled(result.rate),
                optional(result.rate_slowest),
                optional(result.rate_fastest),
                result.runs.unwrap_or(0),
                result.speedup_vs_cpu.unwrap_or(f64::NAN),
                result.device,
            )?;
            if let Some(parts) = result.device_s {
                writeln!(out, "  {:<10} {}", "", parts.to_text())?;
            }
            if let Some(ceiling) = result.ceiling {
                let share = 100.0 * result.rate / ceiling;
                let ceiling = scaled(ceiling);
                writeln!(out, "  {:<10} {share:.0} % of its ceiling of {ceiling}", "")?;
            }
        }
        Ok(())
    }
}
