//! The README's tour, typed as it stands there: every command prints what the README shows.
#![cfg(all(unix, feature = "mine"))]

use std::path::Path;
use std::process::Command;

/// The commands of the tour, each with the lines that follow it.
fn tour() -> Vec<(String, Vec<String>)> {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("\n## Tour").expect("the README has a tour");
    let (tour, _) = rest.split_once("\n## ").expect("and something after it");
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for block in tour.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").expect("a block ends");
        for line in block.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push((command.to_owned(), Vec::new())),
                (None, Some((_, lines))) => lines.push(line.to_owned()),
                (None, None) => panic!("{line}: output without a command"),
            }
        }
    }
    steps
}

/// The line without what differs from run to run: ids, keys, accounts, times and rates.
fn masked(line: &str) -> String {
    for start in ["backend", "mined", "time "] {
        if line.starts_with(start) {
            return start.into();
        }
    }
    // Times of blocks take a byte more or less in a chain file.
    if line.starts_with("size") {
        return "size".into();
    }
    let is_variable = |word: &&str| {
        let word = word.trim_end_matches(',');
        (word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
            || word.starts_with("bm1")
    };
    let words = line.split(' ');
    words.map(|word| if is_variable(&word) { "*" } else { word }).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_step_prints_what_the_readme_shows() {
    let steps = tour();
    assert!(steps.len() >= 11, "{} steps", steps.len());
    let folder = tempfile::tempdir().expect("a folder");
    let program = Path::new(env!("CARGO_BIN_EXE_blockmill"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().expect("a folder").display());
    for (command, shown) in steps {
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(folder.path())
            .env("PATH", &path)
            // Mesa complains without it.
            .env("XDG_RUNTIME_DIR", folder.path())
            .output()
            .expect("a shell");
        let printed = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{command}: {printed}");
        let printed: Vec<_> = printed.lines().map(masked).collect();
        // The numbers of bytes are masked in one more place.
        let without_bytes = |lines: Vec<String>| -> Vec<String> {
            lines
                .into_iter()
                .map(|line| match line.strip_prefix("chain file ") {
                    Some(rest) => rest.split(", ").next().unwrap_or_default().to_owned(),
                    None => line,
                })
                .collect()
        };
        let shown = shown.iter().map(|line| masked(line)).collect();
        assert_eq!(without_bytes(printed), without_bytes(shown), "{command}");
    }
}
