//! Timing a piece of work: a warm-up, then repetitions, and their median.

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

/// Runs `work` once for nothing and then as often as `pace` asks.
pub fn measure(pace: Pace, mut work: impl FnMut()) -> Measurement {
    work();
    let begin = Instant::now();
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64());
        let elapsed = begin.elapsed();
        let enough = elapsed >= pace.time_min && times.len() >= pace.runs_min;
        if enough || elapsed >= pace.time_max {
            break;
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    Measurement {
        fastest_s: times[0],
        median_s: times[times.len() / 2],
        slowest_s: times[times.len() - 1],
        runs: times.len(),
    }
}
