//! `blockmill bench`: the same work on every backend, side by side.

use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

use crate::bench::{Case, Measurement, Pace, Suite, measure};
use crate::compute::select::{Job, Wish, gpu_ids, select};
use crate::compute::{Backend, CrossCheck, Reference};
use crate::error::Error;

use super::args::{BenchArgs, SuiteName};
use super::interrupt::on_interrupt;
use super::output::{self, ErrorReport, Format, grouped, scaled};

const SCHEMA: u32 = 1;

#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    suites: Vec<SuiteReport>,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct SuiteReport {
    name: &'static str,
    unit: &'static str,
    batch: usize,
    results: Vec<ResultReport>,
    /// Why a backend has no figure.
    disagreed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ResultReport {
    backend: &'static str,
    device: String,
    rate: f64,
    rate_slowest: f64,
    rate_fastest: f64,
    runs: usize,
    speedup_vs_cpu: f64,
}

pub(super) fn run(args: &BenchArgs) -> Result<u8, Error> {
    on_interrupt(|| (), Arc::new(|| "interrupted".into()));
    let backends = match contestants(args) {
        Ok(backends) => backends,
        Err(error) if args.format == Format::Json && error.exit_code() != 2 => {
            output::error(&error.to_string());
            let report =
                Report { schema: SCHEMA, suites: Vec::new(), error: Some(ErrorReport::of(&error)) };
            output::print_json(&report)?;
            return Ok(error.exit_code());
        }
        Err(error) => return Err(error),
    };
    let pace = if args.quick { Pace::QUICK } else { Pace::THOROUGH };
    let mut report = Report { schema: SCHEMA, suites: Vec::new(), error: None };
    let mut disagreed = false;
    for suite in suites(args) {
        for &batch in suite.batches(args.quick) {
            let case = suite.case(batch);
            let (results, wrong) = compare_and_time(&case, &backends, pace);
            disagreed |= !wrong.is_empty();
            let suite = SuiteReport {
                name: suite.name(),
                unit: suite.unit(),
                batch,
                results,
                disagreed: wrong,
            };
            if args.format == Format::Human {
                output::print(&suite.to_text())?;
            }
            report.suites.push(suite);
        }
    }
    if args.format == Format::Json {
        output::print_json(&report)?;
    } else if backends.iter().any(|backend| backend.device().contains("software")) {
        output::print("A software adapter runs on the CPU: its rates are not a GPU's.\n")?;
    }
    Ok(if disagreed { 4 } else { 0 })
}

fn suites(args: &BenchArgs) -> Vec<Suite> {
    if args.suite.is_empty() {
        return Suite::ALL.to_vec();
    }
    args.suite
        .iter()
        .map(|name| match name {
            #[cfg(feature = "mine")]
            SuiteName::Search => Suite::Search,
            SuiteName::Headers => Suite::Headers,
            SuiteName::Merkle => Suite::Merkle,
        })
        .collect()
}

/// The CPU with all threads first, against which the others are measured.
fn contestants(args: &BenchArgs) -> Result<Vec<Box<dyn Backend>>, Error> {
    let threads = usize::from(args.threads.unwrap_or(0));
    let open = |wish: &Wish, threads| {
        let selected =
            select(wish, Job::Search { hashes: f64::INFINITY }, threads, CrossCheck::OFF)?;
        Ok::<_, Error>(selected.backend)
    };
    let all = open(&Wish::Cpu, threads)?;
    let one = open(&Wish::Cpu, 1)?;
    let mut backends = Vec::new();
    let alone = all.device() == one.device();
    backends.push(all);
    if !alone {
        backends.push(one);
    }
    backends.push(open(&Wish::Reference, 1)?);
    for id in gpu_ids() {
        // A card that fails its self-test is left out, and said to be.
        match open(&Wish::Device(id), threads) {
            Ok(backend) => backends.push(backend),
            Err(error) => output::warning(&error.to_string()),
        }
    }
    for id in &args.device {
        let backend = open(&Wish::Device(id.clone()), threads)?;
        if backends.iter().all(|other| other.device() != backend.device()) {
            backends.push(backend);
        }
    }
    Ok(backends)
}

/// The results of the backends that agree with the reference, and why the others have none.
fn compare_and_time(
    case: &Case,
    backends: &[Box<dyn Backend>],
    pace: Pace,
) -> (Vec<ResultReport>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut cpu_rate = None;
    let mut results = Vec::new();
    for backend in backends {
        let agreed = case.compare(&**backend, &Reference);
        let time = agreed.map(|()| {
            measure(pace, || {
                std::hint::black_box(case.run(&**backend));
            })
        });
        match (time, backend.tally().off) {
            (Ok(time), None) => {
                results.push(result(&**backend, case.units() as f64, time, &mut cpu_rate));
            }
            (Ok(_), Some(why)) => wrong.push(format!("{}: switched off: {why}", backend.device())),
            (Err(difference), _) => wrong.push(difference.to_string()),
        }
    }
    for what in &wrong {
        output::error(&format!("{what}: no figure"));
    }
    (results, wrong)
}

fn result(
    backend: &dyn Backend,
    units: f64,
    time: Measurement,
    cpu_rate: &mut Option<f64>,
) -> ResultReport {
    let rate = units / time.median_s;
    ResultReport {
        backend: backend.name(),
        device: backend.device(),
        rate,
        rate_slowest: units / time.slowest_s,
        rate_fastest: units / time.fastest_s,
        runs: time.runs,
        speedup_vs_cpu: rate / *cpu_rate.get_or_insert(rate),
    }
}

impl SuiteReport {
    fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes any text");
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}, batches of {}, {}:", self.name, grouped(self.batch as u64), self.unit)?;
        for result in &self.results {
            writeln!(
                out,
                "  {:<10} {:>8}  ({:>7} to {:>7}, {} runs)  {:>6.2} x CPU  {}",
                result.backend,
                scaled(result.rate),
                scaled(result.rate_slowest),
                scaled(result.rate_fastest),
                result.runs,
                result.speedup_vs_cpu,
                result.device,
            )?;
        }
        Ok(())
    }
}
