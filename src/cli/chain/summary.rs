//! What a chain file holds, in short.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::bitcoin;
use crate::bitcoin::{LoadedBlocks, LoadedHeaders};
use crate::chain::file::{AnyStorage, ChainFile, FileHead};
use crate::chain::{HeaderRules, HeaderTree, Tip};
use crate::cli::output::grouped;
use crate::ledger::{self, LoadedLedger};

/// What a chain file holds; as much of it as is known.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) file: String,
    pub(super) family: Option<&'static str>,
    /// The name of the network or of the ledger.
    pub(super) name: Option<String>,
    pub(super) chain_id: Option<String>,
    pub(super) level: Option<&'static str>,
    pub(super) tip: Option<TipSummary>,
    /// Committed bytes.
    pub(super) bytes: Option<u64>,
    /// The number of the last commit.
    pub(super) commit: Option<u64>,
    /// How often blocks were taken back.
    pub(super) reorganisations: Option<u64>,
    /// Blocks on the best branch, genesis included.
    pub(super) blocks: Option<u64>,
    /// Of a ledger: transactions on the best branch, rewards included.
    pub(super) transactions: Option<u64>,
    pub(super) accounts: Option<u64>,
    pub(super) supply: Option<String>,
    pub(super) bytes_per_transaction: Option<f64>,
    pub(super) bytes_per_header: Option<f64>,
    pub(super) bytes_per_block: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct TipSummary {
    height: u32,
    hash: String,
    /// Unless the headers were not read.
    chainwork: Option<String>,
}

impl Summary {
    /// Of a file of which nothing is known.
    pub(super) fn new(path: &Path) -> Self {
        Self { file: path.display().to_string(), ..Self::default() }
    }

    /// Learns what the head says.
    pub(super) fn read_head(&mut self, head: &FileHead) {
        self.family = Some(if head.is_ledger { "ledger" } else { "bitcoin" });
        self.chain_id = Some(head.chain_id.to_string());
        self.level = Some(head.level.name());
        self.name = if head.is_ledger {
            ledger::params_of_head(head).ok().map(|params| params.name().to_owned())
        } else {
            bitcoin::params_of_head(head).ok().map(|params| params.name)
        };
    }

    /// Learns what the last commit says.
    pub(super) fn read_commit(&mut self, file: &ChainFile<AnyStorage>) {
        let commit = file.commit_record();
        self.tip = Some(TipSummary {
            height: commit.tip.height,
            hash: commit.tip.id.to_string(),
            chainwork: None,
        });
        self.bytes = Some(file.len());
        self.commit = Some(commit.sequence);
        self.reorganisations = Some(file.reorganisations());
    }

    /// Learns what a ledger holds.
    pub(super) fn read_ledger(&mut self, loaded: &LoadedLedger) {
        let file = loaded.store.file();
        self.read_commit(file);
        self.read_tip(loaded.tree.tip(loaded.store.tip()));
        self.transactions = Some(loaded.transactions);
        self.accounts = Some(loaded.state.len() as u64);
        self.supply = Some(loaded.state.supply().to_string());
        self.bytes_per_transaction = ratio(file.len(), loaded.transactions);
    }

    /// Learns what a chain of headers holds.
    pub(super) fn read_headers(&mut self, loaded: &LoadedHeaders) {
        let file = loaded.store.file();
        let tip = loaded.tree.tip(loaded.store.tip());
        self.read_commit(file);
        self.read_tip(tip);
        self.bytes_per_header = ratio(file.len(), tip.height.into());
    }

    /// Learns what a chain of blocks holds.
    pub(super) fn read_blocks(&mut self, loaded: &LoadedBlocks) {
        let file = loaded.store.file();
        let tip = loaded.tree.tip(loaded.store.tip());
        self.read_commit(file);
        self.read_tip(tip);
        self.bytes_per_block = ratio(file.len(), tip.height.into());
    }

    /// The tip as it was read, which frames behind a slot that does not hold may have moved.
    fn read_tip(&mut self, tip: Tip) {
        self.tip = Some(TipSummary {
            height: tip.height,
            hash: tip.id.to_string(),
            chainwork: Some(tip.work.to_string()),
        });
        self.blocks = Some(u64::from(tip.height) + 1);
    }

    /// The lines for people.
    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "file       {}", self.file)?;
        let word = if self.family == Some("ledger") { "ledger" } else { "network" };
        if let Some(name) = &self.name {
            writeln!(out, "{word:<10} {name}")?;
        }
        if let Some(chain_id) = &self.chain_id {
            writeln!(out, "chain id   {chain_id}")?;
        }
        if let Some(level) = self.level {
            writeln!(out, "level      {level}")?;
        }
        if let Some(tip) = &self.tip {
            writeln!(out, "tip        height {}, {}", grouped(tip.height.into()), tip.hash)?;
            if let Some(work) = &tip.chainwork {
                writeln!(out, "chainwork  {work}")?;
            }
        }
        if let (Some(transactions), Some(accounts), Some(supply)) =
            (self.transactions, self.accounts, &self.supply)
        {
            writeln!(
                out,
                "holds      {} transactions, {} accounts, a supply of {supply}",
                grouped(transactions),
                grouped(accounts)
            )?;
        }
        if let (Some(bytes), Some(commit), Some(back)) =
            (self.bytes, self.commit, self.reorganisations)
        {
            write!(out, "size       {} bytes", grouped(bytes))?;
            let per = [
                (self.bytes_per_transaction, "transaction"),
                (self.bytes_per_header, "header"),
                (self.bytes_per_block, "block"),
            ];
            for (ratio, what) in per {
                if let Some(ratio) = ratio {
                    write!(out, ", {ratio:.1} a {what}")?;
                }
            }
            let (commit, back) = (grouped(commit), grouped(back));
            writeln!(out, "\nhistory    commit {commit}, reorganisations: {back}")?;
        }
        Ok(())
    }
}

fn ratio(bytes: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| bytes as f64 / count as f64)
}

/// The numbers of the best branch of a tree that ends at `tip`, genesis first.
pub(super) fn branch_to<R: HeaderRules>(tree: &HeaderTree<R>, tip: u32) -> Vec<u32> {
    let mut branch: Vec<_> =
        std::iter::successors(Some(tip), |number| tree.parent(*number)).collect();
    branch.reverse();
    branch
}
