//! The work of the suite `validate`: whole chains from a file, judged by every rule that there is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::bitcoin::{Network, Params};
use crate::dump::{Inputs, Progress};
use crate::error::Error;
use crate::primitives::Hash256;
use crate::stages::{
    BlockOptions, Busy, Family, LedgerOptions, Options, Validation, validate_blocks,
    validate_ledger,
};

use super::suites::Contestant;
use super::synthetic_blocks::SyntheticChain;

/// A clock at which every generated chain lies in the past: 2033-05-18.
const NOW: u64 = 2_000_000_000;

/// The most headers or bodies in a batch.
const BATCH: usize = 1 << 14;

/// A ledger's transactions in each block, and its accounts.
#[cfg(feature = "mine")]
const TRANSACTIONS: u32 = 2000;
#[cfg(feature = "mine")]
const ACCOUNTS: u32 = 1000;

/// A chain in a file, and the same chain with one byte changed.
pub struct Validated {
    family: Family,
    bytes: u64,
    tip: Hash256,
    sound: PathBuf,
    damaged: PathBuf,
    _folder: TempDir,
}

impl Validated {
    /// A chain of `blocks` synthetic blocks of Bitcoin's regtest, of about a megabyte each.
    ///
    /// # Errors
    /// If there is no room for temporary files.
    pub fn bitcoin(blocks: u32) -> Result<Self, Error> {
        let SyntheticChain { file, tip, .. } = SyntheticChain::new(blocks);
        Self::written(Family::Bitcoin, file, tip)
    }

    /// A generated ledger of `blocks` blocks, of 2,000 signed transactions of 1,000 accounts each.
    ///
    /// # Errors
    /// If there is no room for temporary files, or there are no threads.
    #[cfg(feature = "mine")]
    pub fn ledger(blocks: u32) -> Result<Self, Error> {
        use crate::ledger::generate;

        let options = generate::Options {
            seed: "bench".into(),
            blocks,
            transactions: TRANSACTIONS,
            accounts: ACCOUNTS,
            payload_bytes: (32, 256),
            memo_bytes: (0, 32),
            records_percent: 25,
            forks: 0,
        };
        let mut dump = Vec::new();
        let generated = generate::generate(&options, 0, &generate::Progress::default(), &mut dump);
        let generated = generated.map_err(|error| Error::Device(error.to_string()))?;
        Self::written(Family::Ledger, dump, generated.tip)
    }

    fn written(family: Family, mut file: Vec<u8>, tip: Hash256) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::Spool)?;
        let [sound, damaged] = ["sound", "damaged"].map(|name| folder.path().join(name));
        std::fs::write(&sound, &file).map_err(Error::Spool)?;
        // In the last transaction of the last block, before the end of its frame.
        let at = file.len() - 20;
        file[at] ^= 1;
        std::fs::write(&damaged, &file).map_err(Error::Spool)?;
        let bytes = file.len() as u64;
        Ok(Self { family, bytes, tip, sound, damaged, _folder: folder })
    }

    /// The bytes of the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Judges the chain.
    pub(super) fn run(&self, contestant: &Contestant) -> Result<Busy, Error> {
        Ok(self.judge(&self.sound, contestant)?.busy)
    }

    /// Whether a contestant finds the chain sound up to its tip, and finds in both chains what
    /// `reference` finds.
    pub(super) fn agrees(
        &self,
        contestant: &Contestant,
        reference: &Contestant,
    ) -> Result<bool, Error> {
        let sound = self.judge(&self.sound, contestant);
        let is_whole = sound.as_ref().is_ok_and(|sound| {
            let outcome = sound.outcome.as_ref().filter(|_| sound.error.is_none());
            outcome.is_some_and(|one| one.tip.id == self.tip && one.blocks.rejected == 0)
        });
        let found = [findings(sound)?, findings(self.judge(&self.damaged, contestant))?];
        let right = [
            findings(self.judge(&self.sound, reference))?,
            findings(self.judge(&self.damaged, reference))?,
        ];
        Ok(is_whole && found == right && right[0] != right[1])
    }

    fn judge(&self, path: &Path, contestant: &Contestant) -> Result<Validation, Error> {
        let progress = Arc::new(Progress::default());
        let inputs = Inputs::open(&[path.into()], None, Arc::clone(&progress))?;
        let (threads, overlap) = (contestant.threads(), contestant.threads() != 1);
        let (batch, rejections_max, now) = (BATCH, 10, NOW);
        let backend = contestant.backend();
        if self.family == Family::Ledger {
            let commit_bytes = LedgerOptions::COMMIT_BYTES;
            let options = LedgerOptions {
                params: None,
                now,
                batch,
                threads,
                overlap,
                rejections_max,
                commit_bytes,
            };
            return validate_ledger(inputs, backend, &options, &progress, None);
        }
        let headers = Options {
            network: Some(Params::of(Network::Regtest)),
            activation_heights: Vec::new(),
            start_height: None,
            now,
            batch,
            overlap,
            threads,
            rejections_max,
        };
        let options = BlockOptions { headers, commit_bytes: LedgerOptions::COMMIT_BYTES };
        validate_blocks(inputs, backend, &options, &progress, None)
    }
}

/// Everything that must not depend on who computes.
fn findings(judged: Result<Validation, Error>) -> Result<String, Error> {
    let Validation { outcome, ledger, error, .. } = match judged {
        Ok(validation) => validation,
        // Bodies that hash to something else at the second reading look like a file that changed.
        Err(error @ Error::Unreadable { .. }) => return Ok(error.to_string()),
        Err(error) => return Err(error),
    };
    let ledger = ledger.map(|one| (one.transactions, one.accounts, one.supply));
    Ok(format!("{outcome:?} {ledger:?} {:?}", error.as_ref().map(Error::to_string)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Cpu, Reference};

    fn agrees(chain: &Validated) -> bool {
        let cpu = Contestant::new(Box::new(Cpu::new(1).expect("a thread")), 1).expect("a thread");
        let reference = Contestant::new(Box::new(Reference), 1).expect("a thread");
        chain.agrees(&cpu, &reference).expect("files")
    }

    #[test]
    fn agreeing_is_not_enough_where_it_is_not_the_chain_that_was_made() {
        let mut chain = Validated::bitcoin(1).expect("temporary files");
        assert!(agrees(&chain));
        let tip = std::mem::replace(&mut chain.tip, Hash256::ZERO);
        assert!(!agrees(&chain), "another tip");
        chain.tip = tip;
        std::fs::copy(&chain.sound, &chain.damaged).expect("files");
        assert!(!agrees(&chain), "damage that nobody finds");
    }
}
