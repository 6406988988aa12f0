//! Three stages, one after the other or at the same time.
//!
//! Where they overlap, the middle one may have several workers. Each takes the next of what was read when it
//! is free, and the last stage puts what comes from them in the order in which it was read.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How stages run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    /// Whether each stage has a thread of its own.
    pub(super) overlap: bool,
    /// How many things the middle stage works on at the same time: at least one.
    pub(super) workers: usize,
    /// How many things more may be between the first stage and the end of the last.
    pub(super) waiting: usize,
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
    take: impl FnMut(B) -> Result<bool, Error>,
) -> Result<(), Error> {
    let [busy_read, busy_work, busy_take] = busy;
    if !how.overlap {
        let mut take = take;
        while let Some(given) = timed(busy_read, &mut read) {
            let worked = timed(busy_work, || work(0, given));
            if !timed(busy_take, || take(worked))? {
                break;
            }
        }
        return Ok(());
    }
    thread::scope(|scope| {
        let (room_in, room) = channel();
        for _ in 0..how.workers + how.waiting {
            let _ = room_in.send(());
        }
        let (given_in, given) = channel();
        let (worked_in, worked) = channel();
        // The workers alone hold it: when they have ended, what nobody works on any more goes.
        let given = Arc::new(Mutex::new(given));
        let mut workers = Vec::new();
        for worker in 0..how.workers {
            let (given, worked_in, work) = (Arc::clone(&given), worked_in.clone(), &work);
            let work = move |given| work(worker, given);
            workers.push(scope.spawn(move || work_all(&given, work, &worked_in)));
        }
        drop((given, worked_in));
        scope.spawn(move || read_all(read, &room, &given_in, busy_read));
        let taken = take_all(worked, room_in, take, busy_take);
        for worker in workers {
            match worker.join() {
                Ok(busy) => *busy_work += busy,
                Err(panic) => resume_unwind(panic),
            }
        }
        taken.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Reads whenever there is room, and numbers what it reads.
fn read_all<A>(
    mut read: impl FnMut() -> Option<A>,
    room: &Receiver<()>,
    to: &Sender<(u64, A)>,
    busy: &mut Duration,
) {
    for number in 0.. {
        if room.recv().is_err() {
            return;
        }
        let Some(given) = timed(busy, &mut read) else { return };
        if to.send((number, given)).is_err() {
            return;
        }
    }
}

type Panic = Box<dyn Any + Send>;

/// Works until there is nothing more, and says how long that took.
fn work_all<A, B>(
    from: &Mutex<Receiver<(u64, A)>>,
    work: impl Fn(A) -> B,
    to: &Sender<Result<(u64, B), Panic>>,
) -> Duration {
    let mut busy = Duration::ZERO;
    loop {
        let next = from.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, given)) = next else { return busy };
        // The last stage would wait for ever for the result of one that panics.
        let worked = catch_unwind(AssertUnwindSafe(|| timed(&mut busy, || work(given))));
        let is_last = worked.is_err();
        if to.send(worked.map(|worked| (number, worked))).is_err() || is_last {
            return busy;
        }
    }
}

/// Takes results in the order of their numbers, and makes room for as many. All channels are closed when it
/// returns, so that all threads end.
#[expect(clippy::needless_pass_by_value, reason = "it is the end of the channels")]
fn take_all<B>(
    from: Receiver<Result<(u64, B), Panic>>,
    room: Sender<()>,
    mut take: impl FnMut(B) -> Result<bool, Error>,
    busy: &mut Duration,
) -> Result<Result<(), Error>, Panic> {
    let mut early = BTreeMap::new();
    for next in 0.. {
        let result = loop {
            if let Some(result) = early.remove(&next) {
                break result;
            }
            // What has no sender any more is behind the last.
            let Ok(worked) = from.recv() else { return Ok(Ok(())) };
            let (number, result) = worked?;
            early.insert(number, result);
        };
        match timed(busy, || take(result)) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
        // Nobody needs it once all was read.
        let _ = room.send(());
    }
    Ok(Ok(()))
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::super::budget::{Budget, Share};
    use super::*;

    const HOW: Overlap = Overlap { overlap: true, workers: 3, waiting: 2 };

    /// Runs over `count` numbers, of which `work` makes what is taken until `take` has enough.
    fn run_over(
        how: Overlap,
        count: usize,
        work: impl Fn(usize) -> usize + Sync,
        take: impl FnMut(usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut busy = [Duration::ZERO; 3];
        let mut numbers = 0..count;
        run(how, busy.each_mut(), || numbers.next(), |_, number| work(number), take)
    }

    #[test]
    fn results_come_in_order_whoever_is_first() {
        // Every third takes long.
        let work = |number: usize| {
            thread::sleep(Duration::from_millis(if number.is_multiple_of(3) { 8 } else { 1 }));
            number
        };
        for how in [HOW, Overlap { overlap: false, ..HOW }, Overlap { workers: 1, ..HOW }] {
            for count in [0, 1, 2, 30] {
                let mut taken = Vec::new();
                run_over(how, count, work, |number| {
                    taken.push(number);
                    Ok(true)
                })
                .expect("nothing fails");
                assert!(taken.into_iter().eq(0..count), "{how:?}, {count}");
            }
        }
    }

    #[test]
    fn no_more_is_under_way_than_there_is_room_for() {
        let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |number: usize| {
            most.fetch_max(under_way.fetch_add(1, SeqCst) + 1, SeqCst);
            // The others wait for the first, which waits until there are as many as may be, and looks whether
            // there is one more.
            while number == 0 && under_way.load(SeqCst) < HOW.workers + HOW.waiting {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(if number == 0 { 50 } else { 0 }));
            number
        };
        run_over(HOW, 100, work, |_| {
            under_way.fetch_sub(1, SeqCst);
            Ok(true)
        })
        .expect("nothing fails");
        assert_eq!(most.into_inner(), HOW.workers + HOW.waiting);
    }

    #[test]
    fn whoever_has_enough_ends_it() {
        for how in [HOW, Overlap { overlap: false, ..HOW }] {
            let worked = AtomicUsize::new(0);
            let work = |number| {
                worked.fetch_add(1, SeqCst);
                number
            };
            run_over(how, usize::MAX, work, |number| Ok(number < 10)).expect("nothing fails");
            assert!((11..=11 + HOW.workers + HOW.waiting).contains(&worked.into_inner()));
            let failed = run_over(
                how,
                usize::MAX,
                |number| number,
                |number| match number {
                    10 => Err(Error::Interrupted),
                    _ => Ok(true),
                },
            );
            assert!(matches!(failed, Err(Error::Interrupted)), "{failed:?}");
        }
    }

    /// Whoever reads may wait for what the results hold: it goes with them.
    #[test]
    fn an_early_end_sets_free_whoever_waits_for_memory() {
        let budget = Budget::new();
        let share = || Some(budget.take(Budget::BYTES / 3));
        for panics in [false, true] {
            let work = |_, share| {
                assert!(!panics, "as it must");
                share
            };
            let mut busy = [Duration::ZERO; 3];
            let enough = |share: Share<'_>| Ok(share.bytes() == 0);
            let ended = AssertUnwindSafe(|| run(HOW, busy.each_mut(), share, work, enough));
            assert_eq!(catch_unwind(ended).is_err(), panics);
            assert_eq!(budget.take(usize::MAX).bytes(), Budget::BYTES, "all of it is back");
        }
    }

    #[test]
    fn a_panic_is_passed_on() {
        let work = |number| if number == 5 { panic!("as it must") } else { number };
        let run = || run_over(HOW, usize::MAX, work, |_| Ok(true));
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
        assert_eq!(panic.downcast_ref(), Some(&"as it must"));
    }
}
