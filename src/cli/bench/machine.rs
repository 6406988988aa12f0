//! What a document says about where, when and how its figures were measured.

use crate::cli::devices::processor_name;
use crate::compute::sha256::Platform;

use super::document::Machine;

/// This machine.
pub(super) fn this_machine() -> Machine {
    Machine {
        processor: processor_name(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        sha: Platform::detect().name().into(),
        os: std::env::consts::OS.into(),
        arch: std::env::consts::ARCH.into(),
    }
}

/// The command line, without the folder of the program, and without names of files: a document may be
/// published, and where somebody keeps files is nobody's business.
pub(super) fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["blockmill".to_owned()];
    let mut is_file = false;
    for argument in arguments.skip(1) {
        let option = argument.split('=').next().unwrap_or_default();
        let names_file = ["--html", "--compare", "--results", "--folder"].contains(&option);
        if std::mem::replace(&mut is_file, names_file && option == argument) {
            words.push("FILE".into());
        } else if names_file && option != argument {
            words.push(format!("{option}=FILE"));
        } else if argument.contains(' ') {
            words.push(format!("'{argument}'"));
        } else {
            words.push(argument);
        }
    }
    words.join(" ")
}

/// A time in seconds since 1970, as ISO 8601 writes it, in UTC.
pub(super) fn iso_time(seconds: u64) -> String {
    const DAY_S: u64 = 86_400;
    let (mut days, second) = (seconds / DAY_S, seconds % DAY_S);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(iso_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_time(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(iso_time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso_time(1_577_836_799), "2019-12-31T23:59:59Z");
        assert_eq!(iso_time(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn the_command_names_no_files() {
        let line = |words: &[&str]| command_line(words.iter().map(ToString::to_string));
        assert_eq!(line(&["/opt/blockmill", "bench", "--quick"]), "blockmill bench --quick");
        assert_eq!(
            line(&["x", "bench", "--html", "/home/a/b", "--compare=/home/c", "--note", "a b"]),
            "blockmill bench --html FILE --compare=FILE --note 'a b'"
        );
    }
}
