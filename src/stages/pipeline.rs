//! Three stages, one after the other or at the same time.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How stages run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    /// Whether each stage has a thread of its own.
    pub(super) overlap: bool,
    /// How many results wait between two stages.
    pub(super) queue: usize,
}

/// Runs `read`, `work` and `take` until one of them ends: `read` by giving nothing, `take` by saying
/// that nothing more is needed, or by failing. `busy` counts the time of each.
///
/// `take` runs on this thread and sees the results in the order in which they were read.
pub(super) fn run<A: Send, B: Send>(
    how: Overlap,
    busy: [&mut Duration; 3],
    mut read: impl FnMut() -> Option<A> + Send,
    mut work: impl FnMut(A) -> B + Send,
    mut take: impl FnMut(B) -> Result<bool, Error>,
) -> Result<(), Error> {
    let [busy_read, busy_work, busy_take] = busy;
    if !how.overlap {
        while let Some(given) = timed(busy_read, &mut read) {
            let worked = timed(busy_work, || work(given));
            if !timed(busy_take, || take(worked))? {
                break;
            }
        }
        return Ok(());
    }
    thread::scope(|scope| {
        let (given_in, given) = sync_channel(how.queue);
        let (worked_in, worked) = sync_channel(how.queue);
        scope.spawn(move || read_all(read, &given_in, busy_read));
        scope.spawn(move || work_all(&given, work, &worked_in, busy_work));
        // Dropping `worked` on an early end makes both threads end at their next send.
        for result in worked {
            if !timed(busy_take, || take(result))? {
                break;
            }
        }
        Ok(())
    })
}

fn read_all<A>(mut read: impl FnMut() -> Option<A>, to: &SyncSender<A>, busy: &mut Duration) {
    while let Some(given) = timed(busy, &mut read) {
        if to.send(given).is_err() {
            return;
        }
    }
}

fn work_all<A, B>(
    from: &Receiver<A>,
    mut work: impl FnMut(A) -> B,
    to: &SyncSender<B>,
    busy: &mut Duration,
) {
    while let Ok(given) = from.recv() {
        let worked = timed(busy, || work(given));
        if to.send(worked).is_err() {
            return;
        }
    }
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
