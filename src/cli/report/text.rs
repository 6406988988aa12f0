//! The report of `validate` as text, for people.

use std::fmt::Write;

use crate::cli::output::{counted, duration, grouped, scaled};

use super::{FileReport, Report, SkippedReport, TRUST_NOT_CHECKED, level_not_checked};

impl Report {
    /// The report for people.
    pub(in crate::cli) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes any text");
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        self.write_rejections(out)?;
        self.write_files(out)?;
        writeln!(out, "verdict    {}", self.verdict_in_words())?;
        if let Some(network) = &self.network {
            writeln!(out, "{:<10} {network}", if self.is_ledger() { "ledger" } else { "network" })?;
        }
        if let (Some(chain_id), Some(parameters)) = (&self.chain_id, self.parameters) {
            writeln!(out, "chain id   {chain_id}, parameters {parameters}")?;
        }
        let level = match self.level {
            "full" => "full: headers, bodies, signatures, balances",
            "blocks" => {
                "blocks: headers, and every rule on a block that needs no other block's outputs"
            }
            _ => "headers: proof of work, links, difficulty, times, versions",
        };
        writeln!(out, "level      {level}")?;
        if let Some(tip) = &self.tip {
            writeln!(out, "tip        height {}, {}", grouped(tip.height.into()), tip.hash)?;
            writeln!(out, "chainwork  {}", tip.chainwork)?;
        }
        self.write_blocks(out)?;
        self.write_orphans(out)?;
        self.write_trust(out)?;
        if let Some(ledger) = &self.ledger {
            writeln!(
                out,
                "holds      {}, {}, a supply of {}",
                counted(ledger.transactions, "transaction"),
                counted(ledger.accounts, "account"),
                ledger.supply
            )?;
        }
        if let Some(file) = &self.chain_file {
            writeln!(
                out,
                "chain file {}: height {}, {}, {}",
                file.path,
                grouped(file.height.into()),
                file.hash,
                counted(file.bytes, "byte")
            )?;
        }
        if !self.is_ledger() {
            let words = level_not_checked(self.level).map(|(_, words)| words);
            writeln!(out, "unchecked  {}", words.collect::<Vec<_>>().join("; "))?;
        }
        self.write_cost(out)
    }

    fn is_ledger(&self) -> bool {
        self.family == Some("ledger")
    }

    fn verdict_in_words(&self) -> String {
        match self.verdict {
            "rejected" => format!("REJECTED: {}", blocks(self.blocks.rejected)),
            "incomplete" if self.blocks.seen == 0 && self.error.is_none() => {
                "INCOMPLETE: no block was found".into()
            }
            "incomplete" => "INCOMPLETE: the input could not be judged whole".into(),
            _ if self.blocks.orphans > 0 => format!(
                "valid as far as it connects; {} could not be judged in context",
                blocks(self.blocks.orphans)
            ),
            _ => "valid: every byte accounted for, no block rejected".into(),
        }
    }

    fn write_rejections(&self, out: &mut String) -> std::fmt::Result {
        for rejection in &self.rejections {
            let height = rejection.height.map_or("unknown".into(), |h| grouped(h.into()));
            write!(out, "{}: block {} at height {height}", rejection.rule, rejection.hash)?;
            match rejection.tx {
                Some(index) => writeln!(out, ", transaction {index}")?,
                None => writeln!(out)?,
            }
            if let (Some(file), Some(offset)) = (&rejection.file, rejection.offset) {
                writeln!(out, "    in {file}, offset {offset}")?;
            }
            writeln!(out, "    expected {}", rejection.expected)?;
            writeln!(out, "    found    {}", rejection.found)?;
        }
        if self.rejections_omitted > 0 {
            writeln!(out, "... and {} more", blocks(self.rejections_omitted))?;
        }
        Ok(())
    }

    fn write_files(&self, out: &mut String) -> std::fmt::Result {
        self.write_passed_over(out)?;
        for file in self.files.iter().filter(|file| !is_passed_over(file)) {
            for skipped in file.skipped.iter().filter(|skipped| !is_preallocated(skipped)) {
                writeln!(
                    out,
                    "skipped: {}, offset {}, {}: {}",
                    file.path,
                    skipped.offset,
                    bytes(skipped.bytes),
                    skipped.why
                )?;
            }
            if file.skipped_more_bytes > 0 {
                writeln!(out, "skipped: {}, {} more", file.path, bytes(file.skipped_more_bytes))?;
            }
            if let Some(torn) = &file.torn {
                let what = match file.kind {
                    "ledger" | "blk" => "record",
                    "block" => "block",
                    _ => "header",
                };
                let last = match torn.bytes {
                    1 => "the last byte is".into(),
                    more => format!("the last {more} bytes are"),
                };
                writeln!(
                    out,
                    "torn: {}, offset {}: {last} no whole {what}",
                    file.path, torn.offset
                )?;
            }
        }
        self.write_preallocated(out)
    }

    /// The files of a directory that are no part of the dump: a node has thousands of them.
    fn write_passed_over(&self, out: &mut String) -> std::fmt::Result {
        let passed = self.files.iter().filter(|file| is_passed_over(file));
        let mut passed: Vec<_> = passed.map(|file| (file, &file.skipped[0].why)).collect();
        passed.sort_by_key(|(_, why)| *why);
        for group in passed.chunk_by(|(_, a), (_, b)| a == b) {
            let (first, why) = group[0];
            match group {
                [_] => writeln!(out, "passed over: {}: {why}", first.path)?,
                [.., (last, _)] => {
                    let count = grouped(group.len() as u64);
                    let (first, last) = (&first.path, &last.path);
                    writeln!(out, "passed over: {count} files, {first} to {last}: {why}")?;
                }
                [] => {}
            }
        }
        Ok(())
    }

    fn write_preallocated(&self, out: &mut String) -> std::fmt::Result {
        let zeros = |file: &FileReport| {
            let ranges = file.skipped.iter().filter(|skipped| is_preallocated(skipped));
            ranges.map(|skipped| skipped.bytes).sum::<u64>()
        };
        let all = self.files.iter().filter(|file| !is_passed_over(file)).map(zeros);
        let (bytes, files) = all
            .filter(|bytes| *bytes > 0)
            .fold((0, 0), |(bytes, files), more| (bytes + more, files + 1));
        if files == 0 {
            return Ok(());
        }
        writeln!(out, "reserved: {} in {}", counted(bytes, "zero"), counted(files, "file"))
    }

    fn write_blocks(&self, out: &mut String) -> std::fmt::Result {
        let counts = &self.blocks;
        let others = [
            (counts.side, "on side branches"),
            (counts.orphans, if counts.orphans == 1 { "orphan" } else { "orphans" }),
            (counts.unconnected, "unconnected"),
            (counts.duplicates, if counts.duplicates == 1 { "duplicate" } else { "duplicates" }),
            (counts.rejected, "rejected"),
        ];
        write!(
            out,
            "blocks     {} seen, {} on the best branch",
            grouped(counts.seen),
            grouped(counts.best_branch)
        )?;
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            write!(out, ", {} {what}", grouped(count))?;
        }
        writeln!(out)?;
        for branch in &self.side_branches {
            writeln!(
                out,
                "branch     forks after height {}, ends at height {}, {}",
                grouped(branch.fork_height.into()),
                grouped(branch.height.into()),
                branch.hash
            )?;
        }
        if self.side_branches_omitted > 0 {
            writeln!(out, "branch     ... and {} more", grouped(self.side_branches_omitted))?;
        }
        Ok(())
    }

    fn write_orphans(&self, out: &mut String) -> std::fmt::Result {
        for group in &self.orphans_by_parent {
            write!(out, "orphans    {} after {}, ", blocks(group.blocks), group.parent)?;
            let file = group.file.as_deref().unwrap_or("?");
            writeln!(
                out,
                "which is missing; first in {file}, offset {}",
                group.offset.unwrap_or(0)
            )?;
        }
        if self.orphans_by_parent_omitted > 0 {
            let more = counted(self.orphans_by_parent_omitted, "more missing block");
            writeln!(out, "orphans    ... after {more}")?;
        }
        Ok(())
    }

    fn write_trust(&self, out: &mut String) -> std::fmt::Result {
        let Some(trusted) = &self.trusted else { return Ok(()) };
        writeln!(
            out,
            "trusted    the parent {} of height {}, its time and the difficulty after it",
            trusted.parent,
            grouped((trusted.start_height - 1).into())
        )?;
        for (id, words) in TRUST_NOT_CHECKED {
            if self.not_checked.contains(&id) {
                writeln!(out, "           not checked: {words}")?;
            }
        }
        Ok(())
    }

    fn write_cost(&self, out: &mut String) -> std::fmt::Result {
        if let Some(backend) = &self.backend {
            write!(out, "backend    {}, {}", backend.name, backend.device)?;
            if backend.cross_checked > 0 {
                write!(out, ", {} results cross-checked", grouped(backend.cross_checked))?;
            }
            if backend.mismatches > 0 {
                write!(out, ", {} BATCHES WITH WRONG ANSWERS", grouped(backend.mismatches))?;
            }
            writeln!(out)?;
        }
        let elapsed = self.timing.elapsed_s;
        let (count, what) = match &self.ledger {
            Some(ledger) => (ledger.transactions, "transactions"),
            None if self.level == "blocks" => (self.blocks.seen, "blocks"),
            None => (self.blocks.seen, "headers"),
        };
        let rate = count as f64 / elapsed.max(1e-9);
        writeln!(out, "time       {}, {} {what}/s", duration(elapsed), scaled(rate))
    }
}

fn blocks(count: u64) -> String {
    counted(count, "block")
}

/// Offsets and lengths of ranges are for programs that cut files: without marks between thousands.
fn bytes(count: u64) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}

/// Whether a directory merely contains the file.
fn is_passed_over(file: &FileReport) -> bool {
    file.kind == "other" && !file.is_unread && !file.skipped.is_empty()
}

/// Whether a range is room that a node has reserved, and not yet used.
fn is_preallocated(skipped: &SkippedReport) -> bool {
    skipped.why == crate::dump::PREALLOCATED
}
