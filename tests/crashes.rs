//! What was acknowledged survives: processes that are killed, and disks that lose what was not synced.

mod common;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use blockmill::chain::file::{
    ChainFile, ChainFileError, Commit, FileHead, FileLevel, Frame, FrameType, Storage, TipRecord,
    leading_count,
};
use blockmill::primitives::{Hash256, sha256d};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// `BLOCKMILL_SEED` repeats a run that failed.
fn seeded() -> StdRng {
    let seed = std::env::var("BLOCKMILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("BLOCKMILL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// What a disk may keep or lose of its own accord.
const SECTOR: usize = 512;

/// A disk whose power fails after so many operations.
#[derive(Clone)]
struct Disk(Arc<Mutex<State>>);

struct State {
    /// What is there whatever happens.
    durable: Vec<u8>,
    /// What a process sees: with everything that was written since the last sync.
    seen: Vec<u8>,
    /// The stretches that were written since.
    written: Vec<(usize, usize)>,
    /// The least length that the file was cut to since.
    cut: Option<usize>,
    operations_left: usize,
}

impl Disk {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State {
            durable: bytes.clone(),
            seen: bytes,
            written: Vec::new(),
            cut: None,
            operations_left: usize::MAX,
        })))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is left after a loss of power: of what was not synced, any sectors.
    fn after_crash(&self, rng: &mut StdRng) -> Self {
        Self::new(self.with(|state| {
            let mut left = state.durable.clone();
            left.truncate(state.cut.filter(|_| rng.random()).unwrap_or(left.len()));
            for &(start, end) in &state.written {
                let mut at = start;
                while at < end {
                    let sector_end = end.min((at / SECTOR + 1) * SECTOR);
                    if rng.random_bool(0.5) {
                        left.resize(left.len().max(sector_end), 0);
                        left[at..sector_end].copy_from_slice(&state.seen[at..sector_end]);
                    }
                    at = sector_end;
                }
            }
            left
        }))
    }
}

impl State {
    fn operate(&mut self) -> io::Result<()> {
        match self.operations_left.checked_sub(1) {
            Some(left) => self.operations_left = left,
            None => return Err(io::Error::other("the power is gone")),
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|state| state.seen.len()) as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.with(|state| {
            let start = usize::try_from(offset).expect("a small file").min(state.seen.len());
            let count = bytes.len().min(state.seen.len() - start);
            bytes[..count].copy_from_slice(&state.seen[start..start + count]);
            Ok(count)
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let start = usize::try_from(offset).expect("a small file");
            let end = start + bytes.len();
            state.seen.resize(state.seen.len().max(end), 0);
            state.seen[start..end].copy_from_slice(bytes);
            state.written.push((start, end));
            // The power may go while the write is under way: some of it may be there.
            state.operate()
        })
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.with(|state| {
            state.operate()?;
            let len = usize::try_from(len).expect("a small file");
            state.seen.truncate(len);
            state.cut = Some(state.cut.map_or(len, |cut| cut.min(len)));
            state.written.iter_mut().for_each(|(start, end)| {
                (*start, *end) = ((*start).min(len), (*end).min(len));
            });
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|state| {
            state.operate()?;
            state.durable = state.seen.clone();
            state.written.clear();
            state.cut = None;
            Ok(())
        })
    }
}

fn head() -> FileHead {
    FileHead {
        is_ledger: true,
        level: FileLevel::Full,
        chain_id: sha256d(b"crashes"),
        params: b"none".to_vec(),
    }
}

/// A frame that was appended, or found.
#[derive(Clone, PartialEq, Eq)]
enum Appended {
    Block(Vec<u8>),
    TakeBack(u32),
}

/// How high the chain is after these frames.
fn height_after(frames: &[Appended]) -> u32 {
    frames.iter().fold(0, |height, frame| match frame {
        Appended::Block(_) => height + 1,
        Appended::TakeBack(blocks) => height - blocks,
    })
}

/// Opens the file, and gives its frames.
fn open(disk: &Disk) -> Result<(ChainFile<Disk>, Vec<Appended>), ChainFileError> {
    let mut frames = Vec::new();
    let take = |_: &Disk, _: &FileHead, _: u64, frame: &Frame<'_>| {
        frames.push(match frame.kind {
            FrameType::Block => Appended::Block(frame.payload.to_vec()),
            FrameType::TakeBack => Appended::TakeBack(leading_count(frame)),
            kind => panic!("{kind:?}"),
        });
        Ok(())
    };
    let mut file = ChainFile::open(disk.clone(), take)?;
    file.mend_with(tip(&frames));
    Ok((file, frames))
}

/// The tip after these frames.
fn tip(frames: &[Appended]) -> TipRecord {
    let height = height_after(frames);
    TipRecord { height, id: sha256d(&height.to_le_bytes()), tree_root: Hash256::ZERO }
}

/// What was done until the power failed.
struct Work {
    /// All frames that were appended, and those that were there before.
    frames: Vec<Appended>,
    /// How many of them were acknowledged.
    acknowledged: usize,
    /// Those that belong together: what was taken back, and what came instead.
    reorganisations: Vec<Range<usize>>,
}

impl Work {
    fn new(frames: Vec<Appended>, acknowledged: usize) -> Self {
        Self { frames, acknowledged, reorganisations: Vec::new() }
    }

    fn append_block(&mut self, file: &mut ChainFile<Disk>, rng: &mut StdRng) -> Option<()> {
        let len = rng.random_range(0..3 * SECTOR);
        let payload: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        file.append_block(&payload).ok()?;
        self.frames.push(Appended::Block(payload));
        Some(())
    }

    /// Has other blocks, and one more, take the place of some at the end.
    fn reorganise(&mut self, file: &mut ChainFile<Disk>, rng: &mut StdRng) -> Option<()> {
        let blocks = rng.random_range(1..=height_after(&self.frames).min(3));
        let start = self.frames.len();
        self.reorganisations.push(start..start + 2 + blocks as usize);
        file.append_take_back(blocks).ok()?;
        self.frames.push(Appended::TakeBack(blocks));
        (0..=blocks).try_for_each(|_| self.append_block(file, rng))
    }

    fn acknowledge(&mut self, settled: &[Commit], begun: &mut Vec<usize>) {
        if let Some(last) = begun.drain(..settled.len()).next_back() {
            self.acknowledged = last;
        }
    }
}

/// Appends and commits until the power fails.
fn work_until_the_power_fails(mut file: ChainFile<Disk>, found: Work, rng: &mut StdRng) -> Work {
    let mut work = found;
    loop {
        // Now and then a reorganisation is the first of all.
        if height_after(&work.frames) > 0
            && rng.random_bool(0.2)
            && work.reorganise(&mut file, rng).is_none()
        {
            return work;
        }
        for _ in 0..rng.random_range(1..5) {
            if work.append_block(&mut file, rng).is_none() {
                return work;
            }
        }
        if file.commit(tip(&work.frames)).is_err() {
            return work;
        }
        work.acknowledged = work.frames.len();
    }
}

/// The same with a thread that writes: commits follow each other, and are acknowledged when they are safe.
fn work_behind_until_the_power_fails(file: ChainFile<Disk>, found: Work, rng: &mut StdRng) -> Work {
    let mut file = file.write_behind().expect("a thread");
    let mut work = found;
    // How many frames there were with each commit that was begun; the first may be what mends a slot.
    let mut begun = Vec::from_iter(file.is_dirty().then_some(work.frames.len()));
    loop {
        let reorganise = height_after(&work.frames) > 0 && rng.random_bool(0.2);
        let appended = match reorganise {
            true => work.reorganise(&mut file, rng),
            false => work.append_block(&mut file, rng),
        };
        if appended.is_none() {
            break;
        }
        // A commit holds the whole of a reorganisation.
        if reorganise || rng.random() {
            if file.begin_commit(tip(&work.frames)).is_err() {
                break;
            }
            begun.push(work.frames.len());
        }
        match file.settled(rng.random_bool(0.1)) {
            Ok(settled) => work.acknowledge(&settled, &mut begun),
            Err(_) => break,
        }
    }
    // Those before the one that failed.
    let settled = file.settled(false).expect("no more than is known");
    work.acknowledge(&settled, &mut begun);
    // The disk is looked at when nobody writes to it.
    drop(file);
    work
}

#[test]
fn no_loss_of_power_takes_what_was_acknowledged() {
    let mut rng = seeded();
    let (mut in_flight_kept, mut in_flight_lost) = (0, 0);
    for _ in 0..60 {
        let mut disk = Disk::new(ChainFile::<Disk>::empty(&head()));
        let mut safe: Vec<Appended> = Vec::new();
        // What processes did since the last loss of power.
        let mut lives: Vec<Work> = Vec::new();
        for _ in 0..40 {
            let (file, found) = open(&disk).expect("what was acknowledged can be read");
            assert!(found.starts_with(&safe), "what was acknowledged is there, in order");
            // What was being committed may be there too, but nothing else.
            match found.len() - safe.len() {
                0 => in_flight_lost += 1,
                _ => in_flight_kept += 1,
            }
            disk.with(|state| state.operations_left = rng.random_range(0..25));
            let found = Work::new(found, safe.len());
            let work = match rng.random() {
                true => work_until_the_power_fails(file, found, &mut rng),
                // How far that comes is another each time; what follows is not.
                false => {
                    let mut rng = StdRng::seed_from_u64(rng.random());
                    work_behind_until_the_power_fails(file, found, &mut rng)
                }
            };
            // Now and then it was the process alone that failed: all that it has written is seen, synced or not.
            let power_failed = rng.random_bool(0.7);
            if power_failed {
                disk = disk.after_crash(&mut rng);
            } else {
                disk.with(|state| state.operations_left = usize::MAX);
            }
            safe = work.frames[..work.acknowledged].to_vec();
            lives.push(work);
            // The next opening finds at least these, and at most all that were appended: by the last process, or
            // by one before it, of which nothing was acknowledged that is not there.
            let (_, found) = open(&disk).expect("what was acknowledged can be read");
            assert!(found.starts_with(&safe));
            let life = lives.iter().rfind(|life| life.frames.starts_with(&found));
            // A reorganisation is there whole or not at all: what it takes back may have been acknowledged.
            for frames in &life.expect("frames that somebody appended").reorganisations {
                assert!(found.len() <= frames.start || found.len() >= frames.end);
            }
            if power_failed {
                lives.clear();
            }
        }
    }
    assert!(in_flight_kept > 20 && in_flight_lost > 20, "both ways out were taken");
}

#[cfg(all(unix, feature = "mine"))]
mod killed {
    use std::collections::HashMap;
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    use blockmill::bitcoin::LoadedBlocks;
    use blockmill::chain::file::FileStorage;
    use blockmill::ledger::generate::{Options, Progress, generate};
    use blockmill::ledger::{Account, LoadedLedger};

    use super::common::mined;
    use super::common::program::{blockmill, run};
    use super::*;

    /// How often each command is killed.
    const KILLS: usize = 50;

    /// Starts a command and kills it after a moment, unless it ended before. Whether it was killed.
    fn kill_after(command: &mut Command, moment: Duration) -> bool {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program runs");
        sleep(moment);
        let ended = child.try_wait().expect("a child");
        // SIGKILL: nothing of the program runs after it.
        let _ = child.kill();
        child.wait().expect("a child");
        ended.is_none()
    }

    /// The ids of the best branch of a chain file, by height.
    fn best_branch(file: &Path) -> HashMap<u64, String> {
        let storage = FileStorage::open_for_reading(file).expect("the file is there");
        let loaded = LoadedLedger::open(Box::new(storage), |_, _| Ok(())).expect("a sound file");
        let tip = loaded.tree.block(loaded.store.tip());
        tip.lineage().map(|block| (block.height().into(), block.id().to_string())).collect()
    }

    /// The same of a chain file of Bitcoin's blocks.
    fn best_blocks(file: &Path) -> HashMap<u64, String> {
        let storage = FileStorage::open_for_reading(file).expect("the file is there");
        let loaded = LoadedBlocks::open(Box::new(storage), |_| Ok(())).expect("a sound file");
        let tip = loaded.tree.block(loaded.store.tip());
        tip.lineage().map(|block| (block.height().into(), block.id().to_string())).collect()
    }

    /// Whether every acknowledged block is on the best branch of the file. How many there were.
    fn all_are_there(acks: &Path, file: &Path) -> usize {
        all_are_on(acks, || best_branch(file))
    }

    fn all_are_on(acks: &Path, branch: impl FnOnce() -> HashMap<u64, String>) -> usize {
        let acks = fs::read_to_string(acks).unwrap_or_default();
        // A kill in the middle of a write leaves a part of a line, which acknowledges nothing.
        let acks = acks.rfind('\n').map_or("", |end| &acks[..end]);
        if acks.is_empty() {
            return 0;
        }
        let branch = branch();
        for line in acks.lines() {
            let ack: serde_json::Value = serde_json::from_str(line).expect("a whole line");
            let height = ack["height"].as_u64().expect("a height");
            assert_eq!(branch.get(&height).map(String::as_str), ack["hash"].as_str(), "{line}");
        }
        acks.lines().count()
    }

    #[test]
    fn a_killed_miner_loses_nothing_that_it_acknowledged() {
        let mut rng = seeded();
        let folder = tempfile::tempdir().expect("a folder");
        let params = "format = 1\nname = \"crash\"\ntime = 1577836800\nsalt = \"SALT\"\n\
                      target_spacing_s = 60\nhalf_life_s = 172800\npow_limit = \"207fffff\"\n\
                      subsidy = 50\nhalving_blocks = 1000000\nblock_bytes_max = 100000\n";
        let params = params.replace("SALT", &"07".repeat(32));
        fs::write(folder.path().join("p.toml"), params).expect("a file");
        let reward_to = Account::from_key([9; 32]).to_string();
        let (mut kills, mut seen) = (0, 0);
        while kills < KILLS {
            let mut mine = blockmill(folder.path());
            mine.args(["mine", "--chain", "c", "--params", "p.toml", "--acks", "acks"]);
            mine.args(["--backend", "cpu", "--threads", "1", "--blocks", "100000"]);
            mine.args(["--reward-to", &reward_to]);
            let moment = Duration::from_micros(rng.random_range(1_000..60_000));
            kills += usize::from(kill_after(&mut mine, moment));
            seen = all_are_there(&folder.path().join("acks"), &folder.path().join("c"));
        }
        assert!(seen > KILLS, "there was something to lose: {seen} blocks");
    }

    #[test]
    fn a_killed_validation_goes_on_where_it_stopped() {
        let mut rng = seeded();
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            seed: "crash".into(),
            blocks: 300,
            transactions: 4,
            accounts: 20,
            payload_bytes: (10, 50),
            memo_bytes: (0, 0),
            records_percent: 10,
            forks: 20,
        };
        let mut dump = fs::File::create(folder.path().join("dump")).expect("a file");
        let made = generate(&options, 2, &Progress::default(), &mut dump).expect("a dump");
        let command = || {
            let mut validate = blockmill(folder.path());
            validate.args(["validate", "dump", "--to", "c", "--acks", "acks", "--backend", "cpu"]);
            // Many commits, so that many moments are between two of them.
            validate.args(["--commit-bytes", "2000", "--batch", "5"]);
            validate
        };
        let (file, acks) = (folder.path().join("c"), folder.path().join("acks"));
        let (mut kills, mut finished) = (0, 0);
        while kills < KILLS {
            let moment = Duration::from_micros(rng.random_range(1_000..80_000));
            kills += usize::from(kill_after(&mut command(), moment));
            all_are_there(&acks, &file);
            if file.exists() && best_branch(&file).len() > 300 {
                finished += 1;
                fs::remove_file(&file).expect("a file");
                let _ = fs::remove_file(&acks);
            }
        }
        println!("the whole dump went in {finished} times");
        let ran = run(&mut command(), b"");
        assert_eq!(ran.code, 0, "{ran:?}");
        all_are_there(&acks, &file);
        assert_eq!(best_branch(&file).get(&300), Some(&made.tip.to_string()));
        // Again, and nothing changes.
        let before = fs::read(&file).expect("a file");
        assert_eq!(run(&mut command(), b"").code, 0);
        assert!(fs::read(&file).expect("a file") == before);
    }

    #[test]
    fn a_killed_validation_of_bitcoin_s_blocks_goes_on_where_it_stopped() {
        let mut rng = seeded();
        let folder = tempfile::tempdir().expect("a folder");
        let chain = mined::from_genesis(400);
        let side = mined::extend(&chain[100], 100, 40, 1);
        let mut mixed = [chain.clone(), side].concat();
        // As a node downloads them: not quite in order.
        mixed[1..].chunks_mut(9).for_each(<[_]>::reverse);
        fs::write(folder.path().join("blk00000.dat"), mined::dump(&mixed)).expect("a file");
        let command = || {
            let mut validate = blockmill(folder.path());
            validate.args(["validate", "blk00000.dat", "--to", "c", "--acks", "acks"]);
            validate.args(["--backend", "cpu", "--commit-bytes", "2000", "--batch", "5"]);
            validate
        };
        let (file, acks) = (folder.path().join("c"), folder.path().join("acks"));
        let (mut kills, mut most) = (0, 0);
        while kills < KILLS / 2 {
            let moment = Duration::from_micros(rng.random_range(1_000..80_000));
            kills += usize::from(kill_after(&mut command(), moment));
            most = most.max(all_are_on(&acks, || best_blocks(&file)));
            if file.exists() && best_blocks(&file).len() > 400 {
                fs::remove_file(&file).expect("a file");
                let _ = fs::remove_file(&acks);
            }
        }
        println!("at most {most} acknowledgements before the end");
        let ran = run(&mut command(), b"");
        assert_eq!(ran.code, 0, "{ran:?}");
        all_are_on(&acks, || best_blocks(&file));
        assert!(mined::best_branch(&fs::read(&file).expect("a file")) == chain);
        let before = fs::read(&file).expect("a file");
        assert_eq!(run(&mut command(), b"").code, 0);
        assert!(fs::read(&file).expect("a file") == before);
    }
}
