//! `blockmill devices`: what can compute here, and whether it computes right.

use std::fmt::Write;
use std::sync::Arc;

use serde::Serialize;

use crate::compute::Cpu;
use crate::error::Error;

use super::args::DevicesArgs;
use super::interrupt::on_interrupt;
use super::output::{self, Format, grouped};

const SCHEMA: u32 = 1;

#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    cpu: CpuReport,
    devices: Vec<DeviceReport>,
    error: Option<()>,
}

#[derive(Debug, Serialize)]
struct CpuReport {
    name: String,
    threads: usize,
    sha: &'static str,
    auto: bool,
    why: &'static str,
}

#[derive(Debug, Serialize)]
struct DeviceReport {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    backend: String,
    driver: String,
    pci: Option<String>,
    limits: LimitsReport,
    self_test: String,
    /// What was measured of it against the CPU; `None` if it failed its self-test.
    crossovers: Option<Vec<CrossoverReport>>,
    /// Whether an earlier run measured that.
    crossovers_kept: bool,
    /// Whether `--backend auto` takes it for something.
    auto: bool,
    why: String,
    #[serde(skip)]
    wrong: bool,
}

#[derive(Debug, Serialize)]
struct CrossoverReport {
    job: &'static str,
    unit: &'static str,
    /// The smallest batch at which the device is faster; `None` if it never is.
    from: Option<usize>,
    batch: usize,
    device_rate: f64,
    cpu_rate: f64,
}

#[derive(Debug, Serialize)]
struct LimitsReport {
    storage_binding_bytes: u64,
    buffer_bytes: u64,
    groups_per_dimension: u32,
    threads_per_group: u32,
}

pub(super) fn run(args: &DevicesArgs) -> Result<u8, Error> {
    on_interrupt(|| (), Arc::new(|| "interrupted".into()));
    let cpu = Cpu::new(0).map_err(|error| Error::Device(format!("no threads: {error}")))?;
    let report = Report {
        schema: SCHEMA,
        cpu: CpuReport {
            name: processor_name(),
            threads: cpu.threads(),
            sha: cpu.platform().name(),
            auto: true,
            why: "does whatever no GPU is faster at",
        },
        devices: devices(&cpu),
        error: None,
    };
    let wrong = report.devices.iter().any(|device| device.wrong);
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Human => output::print(&report.to_text())?,
    }
    Ok(if wrong { 4 } else { 0 })
}

#[cfg(not(feature = "gpu"))]
fn devices(_: &Cpu) -> Vec<DeviceReport> {
    Vec::new()
}

#[cfg(feature = "gpu")]
fn devices(cpu: &Cpu) -> Vec<DeviceReport> {
    use crate::compute::crossover::JobKind;
    use crate::compute::select::{by_preference, compare};
    use crate::compute::{DeviceType, SelfTestFailure, gpu};

    let adapters = gpu::adapters();
    let mut taken: Option<String> = None;
    let mut reports = Vec::new();
    // In the order of `auto`, so that it is clear which one it takes.
    for adapter in by_preference(&adapters) {
        let info = adapter.info();
        let compared = compare(adapter, cpu);
        let (auto, why) = match (&compared, &taken) {
            (Err(_), _) => (false, "it failed its self-test".to_owned()),
            (Ok(_), _) if info.kind == DeviceType::Software => {
                (false, "a software adapter is used only when named".to_owned())
            }
            (Ok(comparison), _) if !comparison.crossovers.ever_wins(JobKind::ALL) => {
                (false, "the CPU is faster at everything".to_owned())
            }
            (Ok(_), Some(better)) => (false, format!("{better} comes first")),
            (Ok(_), None) => (true, "what it is faster at".to_owned()),
        };
        if auto {
            taken = Some(info.id.clone());
        }
        let limits = adapter.limits();
        let comparison = compared.as_ref().ok();
        let crossovers = comparison.map(|comparison| comparison.crossovers.iter().map(crossover));
        reports.push(DeviceReport {
            id: info.id.clone(),
            name: info.name.clone(),
            kind: info.kind.to_string(),
            backend: info.api.clone(),
            driver: info.driver.clone(),
            pci: info.pci.clone(),
            limits: LimitsReport {
                storage_binding_bytes: limits.storage_binding_bytes_max,
                buffer_bytes: limits.buffer_bytes_max,
                groups_per_dimension: limits.groups_per_dimension_max,
                threads_per_group: limits.threads_per_group_max,
            },
            crossovers: crossovers.map(Iterator::collect),
            crossovers_kept: comparison.is_some_and(|comparison| comparison.is_kept),
            wrong: matches!(compared, Err(SelfTestFailure::Wrong { .. })),
            self_test: compared.map_or_else(|failure| failure.to_string(), |_| "passed".into()),
            auto,
            why,
        });
    }
    reports
}

#[cfg(feature = "gpu")]
fn crossover(measured: &crate::compute::crossover::Crossover) -> CrossoverReport {
    CrossoverReport {
        job: measured.job.name(),
        unit: measured.job.unit(),
        from: measured.from,
        batch: measured.batch,
        device_rate: measured.device_rate,
        cpu_rate: measured.cpu_rate,
    }
}

/// What the processor calls itself, where the operating system says so.
pub(super) fn processor_name() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
    name.filter(|name| !name.is_empty()).unwrap_or(std::env::consts::ARCH).to_owned()
}

impl Report {
    fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes any text");
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let cpu = &self.cpu;
        writeln!(out, "cpu")?;
        writeln!(out, "  {}, {} threads, {}", cpu.name, cpu.threads, cpu.sha)?;
        writeln!(out, "  auto: {}", cpu.why)?;
        for device in &self.devices {
            device.write_text(out)?;
        }
        if self.devices.is_empty() {
            let gpu = if cfg!(feature = "gpu") {
                "no adapter: no driver offers one"
            } else {
                "no adapter: this build has no GPU backend (feature `gpu`)"
            };
            writeln!(out, "{gpu}")?;
        }
        Ok(())
    }
}

impl DeviceReport {
    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let limits = &self.limits;
        writeln!(out, "{}", self.id)?;
        writeln!(out, "  {}, {}, {}", self.name, self.kind, self.backend)?;
        writeln!(out, "  driver: {}", self.driver)?;
        writeln!(out, "  pci: {}", self.pci.as_deref().unwrap_or("none"))?;
        writeln!(
            out,
            "  limits: {} MiB a binding, {} MiB a buffer, {} groups a dimension, {} threads a group",
            limits.storage_binding_bytes >> 20,
            limits.buffer_bytes >> 20,
            limits.groups_per_dimension,
            limits.threads_per_group
        )?;
        writeln!(out, "  self-test: {}", self.self_test)?;
        if let Some(crossovers) = &self.crossovers {
            let when =
                if self.crossovers_kept { "measured by an earlier run" } else { "measured now" };
            writeln!(out, "  faster than the CPU, {when}:")?;
            crossovers.iter().try_for_each(|crossover| crossover.write_text(out))?;
        }
        let auto = if self.auto { "taken for" } else { "not taken:" };
        writeln!(out, "  auto: {auto} {}", self.why)
    }
}

impl CrossoverReport {
    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Self { job, unit, .. } = self;
        match self.from {
            Some(from) => write!(out, "    {job}: from {} {unit} on", grouped(from as u64))?,
            None => write!(out, "    {job}: never")?,
        }
        let share = self.device_rate / self.cpu_rate;
        let batch = grouped(self.batch as u64);
        writeln!(out, " ({share:.2} times the CPU's rate with {batch} {unit})")
    }
}
