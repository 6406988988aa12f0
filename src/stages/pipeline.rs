//! Three stages, one after the other or at the same time.
//!
//! Where they overlap, the middle one may have several workers. They take what is read in turn, and the
//! last stage takes from them in turn, so that all comes in the order in which it was read.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How stages run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    /// Whether each stage has a thread of its own.
    pub(super) overlap: bool,
    /// How many results wait between two stages, for each worker of the middle one.
    pub(super) queue: usize,
    /// How many things the middle stage works on at the same time: at least one.
    pub(super) workers: usize,
}

/// Runs `read`, `work` and `take` until one of them ends: `read` by giving nothing, `take` by saying
/// that nothing more is needed, or by failing. `work` is told which worker it is. `busy` counts the
/// time of each, of all workers together.
///
/// `take` runs on this thread and sees the results in the order in which they were read.
pub(super) fn run<A: Send, B: Send>(
    how: Overlap,
    busy: [&mut Duration; 3],
    mut read: impl FnMut() -> Option<A> + Send,
    work: impl Fn(usize, A) -> B + Sync,
    mut take: impl FnMut(B) -> Result<bool, Error>,
) -> Result<(), Error> {
    let [busy_read, busy_work, busy_take] = busy;
    if !how.overlap {
        while let Some(given) = timed(busy_read, &mut read) {
            let worked = timed(busy_work, || work(0, given));
            if !timed(busy_take, || take(worked))? {
                break;
            }
        }
        return Ok(());
    }
    thread::scope(|scope| {
        let (mut to_workers, mut from_workers, mut workers) = (Vec::new(), Vec::new(), Vec::new());
        for worker in 0..how.workers {
            let work = &work;
            let (given_in, given) = sync_channel(how.queue);
            let (worked_in, worked) = sync_channel(how.queue);
            let work = move |given| work(worker, given);
            workers.push(scope.spawn(move || work_all(&given, work, &worked_in)));
            to_workers.push(given_in);
            from_workers.push(worked);
        }
        scope.spawn(move || read_all(read, &to_workers, busy_read));
        let mut taken = Ok(());
        // Whose turn it is and has no more is where the reader ended.
        for worked in from_workers.iter().cycle() {
            let Ok(result) = worked.recv() else { break };
            match timed(busy_take, || take(result)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    taken = Err(error);
                    break;
                }
            }
        }
        // On an early end this makes all threads end at their next send.
        drop(from_workers);
        for worker in workers {
            match worker.join() {
                Ok(busy) => *busy_work += busy,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        taken
    })
}

fn read_all<A>(mut read: impl FnMut() -> Option<A>, to: &[SyncSender<A>], busy: &mut Duration) {
    for worker in to.iter().cycle() {
        let Some(given) = timed(busy, &mut read) else { return };
        if worker.send(given).is_err() {
            return;
        }
    }
}

/// Works until there is nothing more, and says how long that took.
fn work_all<A, B>(from: &Receiver<A>, work: impl Fn(A) -> B, to: &SyncSender<B>) -> Duration {
    let mut busy = Duration::ZERO;
    while let Ok(given) = from.recv() {
        let worked = timed(&mut busy, || work(given));
        if to.send(worked).is_err() {
            break;
        }
    }
    busy
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
