//! Timing pieces of work: a warm-up, then repetitions, and their median.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Repetitions go on for at least this long.
    pub time_min: Duration,
    /// And there are at least this many, unless they take more than [`Pace::time_max`].
    pub runs_min: usize,
    /// No repetition starts after this.
    pub time_max: Duration,
}

impl Pace {
    /// For figures to be quoted.
    pub const THOROUGH: Self = Self {
        time_min: Duration::from_millis(600),
        runs_min: 7,
        time_max: Duration::from_secs(4),
    };

    /// For a first impression.
    pub const QUICK: Self = Self {
        time_min: Duration::from_millis(100),
        runs_min: 3,
        time_max: Duration::from_millis(500),
    };

    /// The least there is: the warm-up and one run.
    pub const ONCE: Self = Self { time_min: Duration::ZERO, runs_min: 1, time_max: Duration::ZERO };
}

/// What repetitions of one piece of work took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// The fastest run, in seconds.
    pub fastest_s: f64,
    /// The median run, in seconds.
    pub median_s: f64,
    /// The slowest run, in seconds.
    pub slowest_s: f64,
    /// How many runs there were.
    pub runs: usize,
}

impl Measurement {
    /// Of at least one run, in seconds each.
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_unstable_by(f64::total_cmp);
        Self {
            fastest_s: times[0],
            median_s: times[times.len() / 2],
            slowest_s: times[times.len() - 1],
            runs: times.len(),
        }
    }
}

/// Runs `work` once for nothing and then as often as `pace` asks.
///
/// # Errors
/// The first of the work itself.
pub fn measure<E>(pace: Pace, mut work: impl FnMut() -> Result<(), E>) -> Result<Measurement, E> {
    let mut timed = || {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed())
    };
    let [measurement] = measure_in_turn(pace, [&mut timed])?;
    Ok(measurement)
}

/// Work that says how long the part of it took that counts.
pub type TimedWork<'a, E> = &'a mut dyn FnMut() -> Result<Duration, E>;

/// Runs several pieces of work in turn, so that whatever else happens meanwhile happens to all of
/// them: each once for nothing, and then as often as `pace` asks of all together.
///
/// # Errors
/// The first of the work itself.
pub fn measure_in_turn<E, const N: usize>(
    pace: Pace,
    mut works: [TimedWork<'_, E>; N],
) -> Result<[Measurement; N], E> {
    for work in &mut works {
        work()?;
    }
    let begin = Instant::now();
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    loop {
        for (work, times) in works.iter_mut().zip(&mut times) {
            times.push(work()?.as_secs_f64());
        }
        let elapsed = begin.elapsed();
        let enough = elapsed >= pace.time_min && times[0].len() >= pace.runs_min;
        if enough || elapsed >= pace.time_max {
            return Ok(times.map(Measurement::of));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_runs_in_any_order() {
        let measured = Measurement::of(vec![5.0, 1.0, 9.0, 2.0, 3.0]);
        let right = Measurement { fastest_s: 1.0, median_s: 3.0, slowest_s: 9.0, runs: 5 };
        assert_eq!(measured, right);
    }

    #[test]
    fn work_is_done_in_turn_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let work = |name: char, seconds: u64| {
            let order = &order;
            move || {
                order.borrow_mut().push(name);
                // The warm-up takes an hour longer.
                let is_first = order.borrow().matches(name).count() == 1;
                Ok::<_, ()>(Duration::from_secs(seconds + if is_first { 3600 } else { 0 }))
            }
        };
        let pace = Pace { time_min: Duration::ZERO, runs_min: 3, time_max: Duration::MAX };
        let [a, b] = measure_in_turn(pace, [&mut work('a', 1), &mut work('b', 2)]).expect("works");
        assert_eq!(*order.borrow(), "abababab");
        assert_eq!((a.runs, a.slowest_s, b.fastest_s, b.slowest_s), (3, 1.0, 2.0, 2.0));
    }

    #[test]
    fn an_error_ends_it() {
        let mut count = 0;
        let ended = measure(Pace::THOROUGH, || {
            count += 1;
            if count < 3 { Ok(()) } else { Err("full") }
        });
        assert_eq!((ended, count), (Err("full"), 3));
    }
}
