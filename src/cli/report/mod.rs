//! The report of `validate`: one document for programs, the same facts as text for people.

mod text;

use std::time::Duration;

use serde::Serialize;

use crate::chain::{BlockCounts, Outcome};
use crate::compute::Backend;
use crate::dump::{FileEntry, FileTable, Kind};
use crate::error::Error;
use crate::stages::{Family, Level, Trusted, Validation};
use crate::verdict::Rejection;

use crate::cli::output::ErrorReport;

/// The version of the JSON document. Keys may be added to it, none renamed.
const SCHEMA: u32 = 1;

/// The document, in the order in which it is written.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report {
    schema: u32,
    verdict: &'static str,
    family: Option<&'static str>,
    network: Option<String>,
    chain_id: Option<String>,
    /// Where a ledger's parameters came from.
    parameters: Option<&'static str>,
    level: &'static str,
    tip: Option<TipReport>,
    ledger: Option<LedgerReport>,
    chain_file: Option<ChainFileReport>,
    blocks: BlockReport,
    side_branches: Vec<SideBranchReport>,
    side_branches_omitted: u64,
    orphans_by_parent: Vec<OrphanReport>,
    orphans_by_parent_omitted: u64,
    rejections: Vec<RejectionReport>,
    rejections_omitted: u64,
    not_checked: Vec<&'static str>,
    trusted: Option<TrustReport>,
    files: Vec<FileReport>,
    backend: Option<BackendReport>,
    timing: TimingReport,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct TipReport {
    height: u32,
    hash: String,
    chainwork: String,
}

/// The chain file that took what passed.
#[derive(Debug, Serialize)]
struct ChainFileReport {
    path: String,
    height: u32,
    hash: String,
    bytes: u64,
}

/// What a ledger holds at its tip.
#[derive(Debug, Serialize)]
struct LedgerReport {
    transactions: u64,
    accounts: u64,
    supply: String,
}

#[derive(Debug, Default, Serialize)]
struct BlockReport {
    seen: u64,
    best_branch: u64,
    side: u64,
    orphans: u64,
    unconnected: u64,
    duplicates: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct SideBranchReport {
    height: u32,
    hash: String,
    chainwork: String,
    fork_height: u32,
}

#[derive(Debug, Serialize)]
struct OrphanReport {
    parent: String,
    blocks: u64,
    file: Option<String>,
    offset: Option<u64>,
}

#[derive(Debug, Serialize)]
struct RejectionReport {
    rule: &'static str,
    height: Option<u32>,
    hash: String,
    tx: Option<u32>,
    file: Option<String>,
    offset: Option<u64>,
    expected: String,
    found: String,
}

#[derive(Debug, Serialize)]
struct TrustReport {
    start_height: u32,
    parent: String,
    median_time_checked_from: u32,
    retarget_checked_from: Option<u32>,
}

#[derive(Debug, Serialize)]
struct FileReport {
    path: String,
    kind: &'static str,
    bytes: u64,
    blocks: u64,
    skipped: Vec<SkippedReport>,
    skipped_more_bytes: u64,
    torn: Option<TornReport>,
    /// Whether it could not be read to its end, or not at all.
    #[serde(skip)]
    is_unread: bool,
}

#[derive(Debug, Serialize)]
struct SkippedReport {
    offset: u64,
    bytes: u64,
    why: String,
}

#[derive(Debug, Serialize)]
struct TornReport {
    offset: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct BackendReport {
    name: &'static str,
    device: String,
    fallbacks: u64,
    cross_checked: u64,
    mismatches: u64,
    off: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct TimingReport {
    elapsed_s: f64,
    busy_s: BusyReport,
}

#[derive(Debug, Default, Serialize)]
struct BusyReport {
    read: f64,
    hash: f64,
    bodies: f64,
    connect: f64,
    append: f64,
}

/// What levels leave unchecked, by stable id and in words.
const LEVEL_NOT_CHECKED: [(&str, &str); 3] = [
    ("bodies", "transactions, Merkle roots and witness commitments"),
    ("inputs", "inputs: spent outputs, amounts, and rules that need them"),
    ("scripts", "scripts and signatures"),
];

/// What a level of Bitcoin leaves unchecked.
fn level_not_checked(level: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let has_bodies = level != Level::Headers.name();
    LEVEL_NOT_CHECKED.into_iter().filter(move |(id, _)| !(has_bodies && *id == "bodies"))
}

/// What a start on trust leaves unchecked.
const TRUST_NOT_CHECKED: [(&str, &str); 5] = [
    ("ancestry-of-start", "that the first block descends from genesis at this height"),
    ("difficulty-at-start", "the difficulty of the first block, and what is derived from it"),
    ("median-time-at-start", "the median time past of the first eleven blocks, but in part"),
    ("first-retarget", "a retarget whose period began before the dump, but for its range"),
    ("lock-times-at-start", "lock times that are times, in the first eleven blocks (BIP113)"),
];

impl Report {
    /// The report of a validation.
    pub(in crate::cli) fn of(validation: &Validation) -> Self {
        let outcome = validation.outcome.as_ref();
        let table = &validation.files;
        let ledger = validation.ledger.as_ref();
        let level = validation.level.name();
        let family = match validation.family {
            Family::Bitcoin => "bitcoin",
            Family::Ledger => "ledger",
        };
        let mut not_checked: Vec<_> = match validation.family {
            Family::Bitcoin => level_not_checked(level).map(|(id, _)| id).collect(),
            Family::Ledger => Vec::new(),
        };
        if let Some(trusted) = &validation.trusted {
            let ids = TRUST_NOT_CHECKED.iter().map(|(id, _)| *id);
            let applies = |id: &&str| match *id {
                "first-retarget" => trusted.first_retarget_in_part,
                "lock-times-at-start" => validation.level == Level::Blocks,
                _ => true,
            };
            not_checked.extend(ids.filter(applies));
        }
        let mut report = Self {
            family: Some(family),
            level,
            network: network_name(validation),
            chain_id: ledger.map(|ledger| ledger.params.chain_id().to_string()),
            parameters: ledger
                .map(|ledger| if ledger.params_from_dump { "from dump" } else { "given" }),
            ledger: ledger.map(|ledger| LedgerReport {
                transactions: ledger.transactions,
                accounts: ledger.accounts,
                supply: ledger.supply.to_string(),
            }),
            tip: outcome.map(|outcome| TipReport {
                height: outcome.tip.height,
                hash: outcome.tip.id.to_string(),
                chainwork: outcome.tip.work.to_string(),
            }),
            chain_file: validation.stored.as_ref().map(|stored| ChainFileReport {
                path: stored.path.display().to_string(),
                height: stored.height,
                hash: stored.id.to_string(),
                bytes: stored.bytes,
            }),
            blocks: outcome.map(|outcome| block_report(&outcome.blocks)).unwrap_or_default(),
            side_branches: outcome.map(side_branches).unwrap_or_default(),
            side_branches_omitted: outcome.map_or(0, |outcome| outcome.side_branches_omitted),
            orphans_by_parent_omitted: outcome.map_or(0, |outcome| outcome.orphan_groups_omitted),
            orphans_by_parent: outcome.map(|outcome| orphans(outcome, table)).unwrap_or_default(),
            rejections: outcome.map(|outcome| rejections(outcome, table)).unwrap_or_default(),
            rejections_omitted: outcome.map_or(0, |outcome| outcome.rejections_omitted),
            not_checked,
            trusted: validation.trusted.as_ref().map(trust_report),
            files: table.entries().iter().map(file_report).collect(),
            timing: TimingReport {
                elapsed_s: 0.0,
                busy_s: BusyReport {
                    read: validation.busy.read.as_secs_f64(),
                    hash: validation.busy.hash.as_secs_f64(),
                    bodies: validation.busy.bodies.as_secs_f64(),
                    connect: validation.busy.connect.as_secs_f64(),
                    append: validation.busy.append.as_secs_f64(),
                },
            },
            error: validation.error.as_ref().map(ErrorReport::of),
            ..Self::empty()
        };
        let whole = table.entries().iter().all(FileEntry::is_whole);
        report.verdict = if report.blocks.rejected > 0 {
            "rejected"
        } else if report.error.is_some() || !whole || (report.blocks.seen == 0 && ledger.is_none())
        {
            "incomplete"
        } else {
            "valid"
        };
        report
    }

    /// The report of a run that ended before anything was judged.
    pub(in crate::cli) fn failed(error: &Error) -> Self {
        Self { error: Some(ErrorReport::of(error)), ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            schema: SCHEMA,
            verdict: "incomplete",
            family: None,
            network: None,
            chain_id: None,
            parameters: None,
            level: "headers",
            tip: None,
            ledger: None,
            chain_file: None,
            blocks: BlockReport::default(),
            side_branches: Vec::new(),
            side_branches_omitted: 0,
            orphans_by_parent: Vec::new(),
            orphans_by_parent_omitted: 0,
            rejections: Vec::new(),
            rejections_omitted: 0,
            not_checked: Vec::new(),
            trusted: None,
            files: Vec::new(),
            backend: None,
            timing: TimingReport::default(),
            error: None,
        }
    }

    pub(in crate::cli) fn elapsed(&mut self, elapsed: Duration) {
        self.timing.elapsed_s = elapsed.as_secs_f64();
    }

    pub(in crate::cli) fn computed_by(&mut self, backend: &dyn Backend) {
        let tally = backend.tally();
        self.backend = Some(BackendReport {
            name: backend.name(),
            device: backend.device(),
            fallbacks: tally.fallbacks,
            cross_checked: tally.cross_checked,
            mismatches: tally.mismatches,
            off: tally.off,
        });
    }

    /// What people should hear of the device on stderr, whatever the format.
    pub(in crate::cli) fn warning(&self) -> Option<String> {
        let backend = self.backend.as_ref()?;
        let why = backend.off.as_ref()?;
        Some(format!(
            "{} was switched off and the CPU took over ({} batches): {why}",
            backend.device, backend.fallbacks
        ))
    }

    /// The first that holds of 5, 4, 1, 3, 0.
    pub(in crate::cli) fn exit_code(&self) -> u8 {
        let error = self.error.as_ref().map(|error| error.exit_code);
        let disagreed = self.backend.as_ref().is_some_and(|backend| backend.mismatches > 0);
        match (error, disagreed, self.verdict) {
            (Some(5), ..) => 5,
            (_, true, _) => 4,
            (.., "rejected") => 1,
            (.., "incomplete") => 3,
            _ => 0,
        }
    }
}

fn network_name(validation: &Validation) -> Option<String> {
    let ledger = validation.ledger.as_ref().map(|ledger| ledger.params.name().to_owned());
    ledger.or_else(|| validation.params.as_ref().map(|params| params.name.clone()))
}

fn block_report(counts: &BlockCounts) -> BlockReport {
    BlockReport {
        seen: counts.seen,
        best_branch: counts.best_branch,
        side: counts.side,
        orphans: counts.orphans,
        unconnected: counts.unconnected,
        duplicates: counts.duplicates,
        rejected: counts.rejected,
    }
}

fn side_branches(outcome: &Outcome) -> Vec<SideBranchReport> {
    let branches = outcome.side_branches.iter();
    branches
        .map(|branch| SideBranchReport {
            height: branch.tip.height,
            hash: branch.tip.id.to_string(),
            chainwork: branch.tip.work.to_string(),
            fork_height: branch.fork_height,
        })
        .collect()
}

fn orphans(outcome: &Outcome, table: &FileTable) -> Vec<OrphanReport> {
    let groups = outcome.orphan_groups.iter();
    groups
        .map(|group| {
            let place = table.place(group.position);
            OrphanReport {
                parent: group.parent.to_string(),
                blocks: group.blocks,
                file: place.as_ref().map(|place| place.path.display().to_string()),
                offset: place.map(|place| place.offset),
            }
        })
        .collect()
}

fn rejections(outcome: &Outcome, table: &FileTable) -> Vec<RejectionReport> {
    outcome.rejections.iter().map(|rejection| rejection_report(rejection, table)).collect()
}

fn rejection_report(rejection: &Rejection, table: &FileTable) -> RejectionReport {
    let place = table.place(rejection.position);
    RejectionReport {
        rule: rejection.violation.rule().id(),
        height: rejection.height,
        hash: rejection.id.to_string(),
        tx: rejection.violation.transaction(),
        file: place.as_ref().map(|place| place.path.display().to_string()),
        offset: place.map(|place| place.offset),
        expected: rejection.violation.expected(),
        found: rejection.violation.found(),
    }
}

fn trust_report(trusted: &Trusted) -> TrustReport {
    TrustReport {
        start_height: trusted.height,
        parent: trusted.parent.to_string(),
        median_time_checked_from: trusted.median_from,
        retarget_checked_from: trusted.retarget_from,
    }
}

fn file_report(entry: &FileEntry) -> FileReport {
    let skipped = entry.skipped.iter().map(|skipped| SkippedReport {
        offset: skipped.offset,
        bytes: skipped.bytes,
        why: skipped.why.clone(),
    });
    FileReport {
        path: entry.path.display().to_string(),
        kind: Kind::name(entry.kind),
        bytes: entry.bytes,
        blocks: entry.blocks,
        skipped: skipped.collect(),
        skipped_more_bytes: entry.skipped_more_bytes,
        torn: entry.torn.map(|torn| TornReport { offset: torn.offset, bytes: torn.bytes }),
        is_unread: entry.is_unread,
    }
}
