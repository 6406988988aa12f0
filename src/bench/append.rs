//! The work of the suite `append`: commits of a chain file, and plain writes and syncs of the same
//! sizes to the same disk.
//!
//! A commit is the frames, a sync, a slot, and another sync, which may be that of the next one's frames. Commits are
//! begun with [`ChainFile::begin_commit`], written by a thread of its own as in validation, and all of them waited
//! for in the end. The plain writes have the same lengths and two syncs for each commit, one after the other, and
//! nothing is computed for them; so the ratio says how near appending comes to what the disk does. It may be above 1,
//! as commits that wait share syncs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::bitcoin::{Network, Params};
use crate::chain::file::{ChainFile, ChainFileError, FileHead, FileLevel, FileStorage, TipRecord};
use crate::primitives::{Hash256, sha256d};

use super::measure::{Measurement, Pace, measure_in_turn};

/// The bytes of one commit.
const COMMIT_BYTES: usize = 1 << 20;

/// The bytes of a commit's slot.
const SLOT_BYTES: usize = 4096;

/// What keeps the suite from a figure.
#[derive(Debug, thiserror::Error)]
pub enum AppendFault {
    /// The disk gave up.
    #[error(transparent)]
    File(#[from] ChainFileError),
    /// The chain file does not hold what was appended.
    #[error("the chain file does not hold what was appended")]
    Different,
}

impl From<std::io::Error> for AppendFault {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.into())
    }
}

/// Commits to be made, of one block of a mebibyte each.
pub struct Append {
    folder: TempDir,
    block: Vec<u8>,
    commits: u32,
}

impl Append {
    /// `commits` of them, in a folder of their own within `folder`, which goes with this value.
    ///
    /// # Errors
    /// If there can be no such folder.
    pub fn new(commits: u32, folder: &Path) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("blockmill-bench-").tempdir_in(folder)?;
        let digests = (0..COMMIT_BYTES / 32).map(|index| sha256d(&index.to_le_bytes()));
        let block = digests.flat_map(|digest| *digest.as_bytes()).collect();
        Ok(Self { folder, block, commits })
    }

    /// The bytes of blocks that one run appends.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.commits) * self.block.len() as u64
    }

    /// What kind of file system takes the files, where the operating system says so.
    #[must_use]
    pub fn file_system(&self) -> Option<String> {
        let folder = self.folder.path().canonicalize().ok()?;
        file_system(&folder, &fs::read_to_string("/proc/self/mountinfo").ok()?)
    }

    /// Reads back what a run leaves, and then measures chain file and plain writes in turn.
    ///
    /// # Errors
    /// If the disk gives up, or the chain file does not hold what was appended.
    pub fn measure(&self, pace: Pace) -> Result<[Measurement; 2], AppendFault> {
        let path = self.path("checked");
        self.append(&path)?;
        self.check(&path)?;
        fs::remove_file(path)?;
        let mut chain = || self.removed("chain", |path| self.append(path));
        let mut plain = || self.removed("plain", |path| self.write(path));
        measure_in_turn(pace, [&mut chain, &mut plain])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Does something with a new file that goes afterwards.
    fn removed(
        &self,
        name: &str,
        work: impl FnOnce(&Path) -> Result<Duration, AppendFault>,
    ) -> Result<Duration, AppendFault> {
        let path = self.path(name);
        let time = work(&path)?;
        fs::remove_file(path)?;
        Ok(time)
    }

    /// Makes a chain file with all commits, and says how long these took.
    fn append(&self, path: &Path) -> Result<Duration, AppendFault> {
        let head = FileHead {
            is_ledger: false,
            level: FileLevel::Blocks,
            chain_id: Params::of(Network::Regtest).genesis.id(),
            params: Vec::new(),
        };
        let storage = FileStorage::create(path, &ChainFile::<FileStorage>::empty(&head))?;
        let mut file = ChainFile::open(storage, |_, _, _, _| Ok(()))?.write_behind()?;
        let start = Instant::now();
        for height in 1..=self.commits {
            file.append_block(&self.block)?;
            file.begin_commit(TipRecord { height, id: Hash256::ZERO, tree_root: Hash256::ZERO })?;
        }
        file.settled(true)?;
        Ok(start.elapsed())
    }

    /// Writes as many bytes, with two syncs for each commit.
    fn write(&self, path: &Path) -> Result<Duration, AppendFault> {
        let mut file = fs::File::create_new(path)?;
        file.write_all(&[0; 3 * SLOT_BYTES])?;
        file.sync_all()?;
        let mut end = (3 * SLOT_BYTES) as u64;
        let start = Instant::now();
        for commit in 0..u64::from(self.commits) {
            crate::positioned::write_all(&file, end, &self.block)?;
            file.sync_data()?;
            let slot = (1 + commit % 2) * SLOT_BYTES as u64;
            crate::positioned::write_all(&file, slot, &self.block[..SLOT_BYTES])?;
            file.sync_data()?;
            end += self.block.len() as u64;
        }
        Ok(start.elapsed())
    }

    /// Whether the chain file at `path` opens, and holds the blocks of every commit.
    fn check(&self, path: &Path) -> Result<(), AppendFault> {
        let mut blocks = 0;
        let file = ChainFile::open(FileStorage::open(path)?, |_, _, _, frame| {
            blocks += u32::from(frame.payload == self.block);
            Ok(())
        })?;
        let is_right = blocks == self.commits && file.commit_record().tip.height == self.commits;
        if is_right { Ok(()) } else { Err(AppendFault::Different) }
    }
}

/// The type of the file system that holds `path`, of those that `mountinfo` lists.
fn file_system(path: &Path, mountinfo: &str) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let (point, kind) = (before.split(' ').nth(4)?, after.split(' ').next()?);
        // Of several at one place, the last one covers the others.
        path.starts_with(point).then_some((point.len(), kind))
    });
    mounts.max_by_key(|(len, _)| *len).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append() -> Append {
        Append::new(2, &std::env::temp_dir()).expect("a folder")
    }

    #[test]
    fn it_reads_back_what_it_appends_and_leaves_nothing() {
        let append = append();
        append.measure(Pace::ONCE).expect("a disk");
        assert_eq!(append.bytes(), 2 << 20);
        assert_eq!(fs::read_dir(append.folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_chain_file_with_other_blocks_gets_no_figure() {
        let mut append = append();
        let path = append.path("chain");
        append.append(&path).expect("a disk");
        append.check(&path).expect("the same");
        append.block[700_000] ^= 1;
        assert!(matches!(append.check(&path), Err(AppendFault::Different)));
        append.block[700_000] ^= 1;
        append.commits += 1;
        assert!(matches!(append.check(&path), Err(AppendFault::Different)));
    }

    #[test]
    fn both_files_have_the_same_length_but_for_the_frames_heads() {
        let append = append();
        let [chain, plain] = ["chain", "plain"].map(|name| append.path(name));
        append.append(&chain).expect("a disk");
        append.write(&plain).expect("a disk");
        let [chain, plain] = [chain, plain].map(|path| fs::metadata(path).expect("one").len());
        assert_eq!(chain, plain + 2 * 9);
    }

    #[test]
    fn the_file_system_is_that_of_the_longest_mount() {
        let mounts = "22 1 0:5 / / rw - ext4 /dev/a rw\n\
                      23 22 0:6 / /tmp rw shared:1 - tmpfs tmpfs rw\n\
                      24 22 0:7 / /tmpfoo rw - xfs /dev/b rw\n";
        assert_eq!(file_system(Path::new("/tmp/x"), mounts).as_deref(), Some("tmpfs"));
        assert_eq!(file_system(Path::new("/home/x"), mounts).as_deref(), Some("ext4"));
    }
}
