//! The README's examples, run: what it shows is what the program prints.

use std::path::Path;
use std::process::Command;

/// The text block that follows `command` in the README.
fn shown_after(command: &str) -> Vec<String> {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once(command).expect("the README shows the command");
    let (_, rest) = rest.split_once("```text\n").expect("a block with its output");
    let (block, _) = rest.split_once("\n```").expect("the end of the block");
    block.lines().map(str::to_owned).filter(|line| is_stable(line)).collect()
}

/// Whether a line is the same on every machine.
fn is_stable(line: &str) -> bool {
    !["backend", "time "].iter().any(|start| line.starts_with(start))
}

fn printed(arguments: &[&str], folder: &Path, code: i32) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_blockmill"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(code));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).filter(|line| is_stable(line)).collect()
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_main_job() {
    let printed = printed(&["validate", "fixtures/demo.dump"], checkout(), 0);
    assert_eq!(printed, shown_after("-- validate fixtures/demo.dump"));
}

#[test]
fn the_worked_example() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = std::fs::read(checkout().join("fixtures/regtest.hdr")).expect("a fixture");
    bytes[80_040] = 3;
    std::fs::write(folder.path().join("damaged.hdr"), bytes).expect("a file");
    let arguments = ["validate", "--backend", "cpu", "damaged.hdr"];
    let printed = printed(&arguments, folder.path(), 1);
    assert_eq!(printed, shown_after("blockmill validate --backend cpu damaged.hdr"));
}

#[test]
fn a_chain_file() {
    let printed = printed(&["chain", "show", "fixtures/golden-ledger.bmchain"], checkout(), 0);
    assert_eq!(printed, shown_after("blockmill chain show fixtures/golden-ledger.bmchain"));
}

#[cfg(feature = "mine")]
#[test]
fn the_nonce_of_the_genesis_header() {
    let readme = include_str!("../README.md");
    let command = readme.lines().find(|line| line.starts_with("blockmill grind")).expect("one");
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    assert_eq!(printed(&arguments, checkout(), 0), shown_after(command));
}

#[cfg(feature = "mine")]
#[test]
fn the_generated_dump() {
    let readme = include_str!("../README.md");
    let start = "blockmill ledger generate";
    let command = readme.lines().find(|line| line.starts_with(start)).expect("one");
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(printed(&arguments, folder.path(), 0), shown_after(command));
}

#[test]
fn every_rule_and_exit_code_is_in_the_readme() {
    let readme = include_str!("../README.md");
    for rule in blockmill::verdict::Rule::ALL {
        assert!(readme.contains(&format!("| `{rule}` |")), "{rule}");
    }
    for code in [0, 1, 2, 3, 4, 5, 130] {
        assert!(readme.contains(&format!("\n| {code} | ")), "{code}");
    }
}
