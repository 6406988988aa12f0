//! Writing to people and to programs.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::Error;

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// One JSON document.
    Json,
}

/// The error of a JSON document.
#[derive(Debug, Serialize)]
pub(super) struct ErrorReport {
    kind: &'static str,
    pub(super) message: String,
    file: Option<String>,
    offset: Option<u64>,
    #[serde(skip)]
    pub(super) exit_code: u8,
}

impl ErrorReport {
    /// Something that was asked for is not in a file that is sound.
    pub(super) fn not_found(message: String, file: &Path) -> Self {
        let file = Some(file.display().to_string());
        Self { kind: "not-found", message, file, offset: None, exit_code: 1 }
    }

    pub(super) fn of(error: &Error) -> Self {
        let place = error.place();
        Self {
            kind: error.kind(),
            message: error.to_string(),
            file: place.as_ref().map(|place| place.path.display().to_string()),
            offset: place.as_ref().map(|place| place.offset),
            exit_code: error.exit_code(),
        }
    }
}

/// Writes text to stdout. Whoever closed it early has seen enough; the exit code stays what it is.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Writes one JSON document to stdout.
pub(super) fn print_json(document: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|error| Error::Output(io::Error::other(error)))?;
    text.push('\n');
    print(&text)
}

/// An error, for people; a closed stderr is nobody's problem.
pub(super) fn error(message: &str) {
    let _ = writeln!(io::stderr(), "error: {message}");
}

/// A warning, for people.
pub(super) fn warning(message: &str) {
    let _ = writeln!(io::stderr(), "warning: {message}");
}

/// A remark, for people.
pub(super) fn note(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// A number with its thousands set apart: `32,261`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 header`, `32,261 headers`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number with three significant digits and a prefix, to go before a word: `9.81 M`.
pub(super) fn scaled(rate: f64) -> String {
    let (value, prefix) = match rate {
        r if r >= 1e12 => (r / 1e12, " T"),
        r if r >= 1e9 => (r / 1e9, " G"),
        r if r >= 1e6 => (r / 1e6, " M"),
        r if r >= 1e3 => (r / 1e3, " k"),
        r => (r, ""),
    };
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}{prefix}")
}

/// A duration for people: `12 ms`, `3.2 s`, `4 min 10 s`, `5 h 3 min`, `12 days`, `3 million years`.
pub(super) fn duration(seconds: f64) -> String {
    const YEAR_S: f64 = 365.25 * 86_400.0;
    if seconds < 1.0 {
        format!("{:.0} ms", (seconds * 1e3).ceil())
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    } else if seconds < 172_800.0 {
        format!("{:.0} h {:.0} min", (seconds / 3600.0).floor(), (seconds % 3600.0) / 60.0)
    } else if seconds < YEAR_S {
        format!("{:.0} days", seconds / 86_400.0)
    } else if seconds < 1e6 * YEAR_S {
        format!("{:.0} years", seconds / YEAR_S)
    } else {
        format!("{:.1e} years", seconds / YEAR_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(scaled(9_812_345.0), "9.81 M");
        assert_eq!(scaled(98_123.0), "98.1 k");
        assert_eq!(scaled(7.0), "7.00");
        assert_eq!(duration(0.0112), "12 ms");
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(250.0), "4 min 10 s");
        assert_eq!(duration(18_180.0), "5 h 3 min");
    }
}
