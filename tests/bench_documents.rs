//! `bench` and its documents: what is printed, what is compared with what, and the page of charts.
//!
//! Nothing here depends on how fast anything is: the documents are made by hand, but for the one whose
//! keys are checked.

mod common;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use common::program::{Ran, blockmill, run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with the documents of these runs, `0.json` and so on.
fn written(documents: &[&Value]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |(index, document): (usize, &&Value)| {
        let path = folder.path().join(format!("{index}.json"));
        std::fs::write(&path, document.to_string()).expect("a file");
        path
    };
    let paths = documents.iter().enumerate().map(write).collect();
    (folder, paths)
}

fn bench(folder: &TempDir, arguments: &[&str]) -> Ran {
    run(blockmill(folder.path()).arg("bench").args(arguments), b"")
}

/// Compares a new run with an old one.
fn compare(old: &Value, new: &Value, arguments: &[&str]) -> Ran {
    let (folder, _) = written(&[old, new]);
    let all = [&["--results", "1.json", "--compare", "0.json"], arguments].concat();
    bench(&folder, &all)
}

fn result(backend: &str, device: &str, rate: f64) -> Value {
    json!({"backend": backend, "device": device, "rate": rate, "speedup_vs_cpu": 1.0})
}

fn suite(name: &str, batch: u64, results: &[Value]) -> Value {
    json!({"name": name, "unit": "things/s", "batch": batch, "results": results})
}

fn document(suites: &[Value]) -> Value {
    let machine =
        json!({"processor": "P", "threads": 2, "sha": "SHA-NI", "os": "linux", "arch": "x"});
    json!({"schema": 1, "date": "2026-01-02T03:04:05Z", "version": "0.1.0", "machine": machine,
        "suites": suites})
}

/// One figure.
fn single(rate: f64) -> Value {
    document(&[suite("headers", 1024, &[result("cpu", "2 threads", rate)])])
}

/// With a GPU that overtakes the CPU, a software adapter, and stages.
fn full() -> Value {
    let rows = |cpu: f64, gpu: f64| {
        let mut software = result("gpu", "llvmpipe (vulkan:x, software)", 10.0);
        software["software"] = true.into();
        [
            result("cpu", "2 threads", cpu),
            result("cpu", "1 thread", cpu / 2.0),
            result("gpu", "Card <one> (vulkan:1, discrete)", gpu),
            software,
        ]
    };
    let mut validate = suite("validate", 4, &rows(5e6, 6e6));
    validate["variant"] = "bitcoin".into();
    validate["results"][0]["busy_s"] =
        json!({"read": 0.1, "hash": 0.2, "bodies": 0.6, "connect": 0.1});
    let mut document = document(&[
        suite("headers", 1024, &rows(100.0, 50.0)),
        suite("headers", 16_384, &rows(100.0, 200.0)),
        validate,
    ]);
    document["note"] = "other <b>work</b> was running".into();
    document
}

#[test]
fn a_figure_is_slower_below_the_threshold_and_not_at_it() {
    for (rate, arguments, code) in [
        (100.0, &[][..], 0),
        (80.0, &[], 0),
        (79.9, &[], 1),
        (250.0, &[], 0),
        (94.0, &["--threshold", "5"], 1),
        (96.0, &["--threshold", "5%"], 0),
        (99.0, &["--threshold", "0"], 1),
    ] {
        let ran = compare(&single(100.0), &single(rate), arguments);
        assert_eq!((ran.code, &*ran.stderr), (code, ""), "{rate} {arguments:?}");
        assert_eq!(ran.stdout.contains("SLOWER"), code == 1);
        let ratio = format!("100 {:>8} {:>6.2}  2 threads", rate_text(rate), rate / 100.0);
        assert!(ran.stdout.contains(&ratio), "{ratio}\n{}", ran.stdout);
    }
}

fn rate_text(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

#[test]
fn one_slow_figure_among_many_is_enough_and_is_named_in_json() {
    let mut new = full();
    new["suites"][1]["results"][1]["rate"] = 1.0.into();
    let ran = compare(&full(), &new, &["--format", "json"]);
    assert_eq!(ran.code, 1);
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let comparison = &document["comparison"];
    assert_eq!(comparison["threshold_percent"], 20.0);
    assert_eq!(comparison["old_date"], "2026-01-02T03:04:05Z");
    assert_eq!(comparison["notes"], json!([]));
    let entries = comparison["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 12);
    let slower: Vec<_> = entries.iter().filter(|entry| entry["slower"] == true).collect();
    assert_eq!(
        slower,
        [&json!({"name": "headers", "variant": null, "batch": 16_384, "backend": "cpu",
            "device": "1 thread", "unit": "things/s", "old_rate": 50.0, "new_rate": 1.0,
            "ratio": 0.02, "slower": true})]
    );
}

#[test]
fn what_only_one_run_has_is_noted_and_never_compared() {
    let cpu = result("cpu", "2 threads", 100.0);
    let mut variant = suite("hash", 64, &[result("cpu", "2 threads", 900.0)]);
    variant["variant"] = "64-bytes".into();
    let mut other_variant = suite("hash", 64, &[result("cpu", "2 threads", 1.0)]);
    other_variant["variant"] = "250-bytes".into();
    let old = document(&[suite("headers", 1024, std::slice::from_ref(&cpu)), variant]);
    let new = document(&[
        suite("headers", 1024, &[cpu, result("gpu", "card", 1.0)]),
        suite("headers", 2048, &[result("cpu", "2 threads", 1.0)]),
        other_variant,
    ]);
    let ran = compare(&old, &new, &[]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    for note in [
        "note: only in the new run: headers, batches of 1,024, gpu: card",
        "note: only in the new run: headers, batches of 2,048, cpu: 2 threads",
        "note: only in the new run: hash 250-bytes, batches of 64, cpu: 2 threads",
        "note: only in the old run: hash 64-bytes, batches of 64, cpu: 2 threads",
        "0 of 1 figures are more than 20 % below the old ones",
    ] {
        assert!(ran.stdout.contains(note), "{note}\n{}", ran.stdout);
    }
}

#[test]
fn another_machine_unit_or_pace_is_noted() {
    let mut new = single(100.0);
    new["machine"]["processor"] = "Q".into();
    let ran = compare(&single(100.0), &new, &[]);
    assert!(ran.stdout.contains("note: another machine: old P, 2 threads"), "{}", ran.stdout);
    new.as_object_mut().expect("an object").remove("machine");
    let ran = compare(&single(100.0), &new, &[]);
    assert!(ran.stdout.contains("note: it is not known whether both runs are of one machine"));

    let (mut old, mut new) = (single(100.0), single(100.0));
    (old["quick"], new["quick"]) = (true.into(), false.into());
    let ran = compare(&old, &new, &[]);
    assert!(ran.stdout.contains("the old run was a --quick one"), "{}", ran.stdout);

    let more = suite("merkle", 2, &[result("cpu", "2 threads", 5.0)]);
    let mut other_unit = more.clone();
    (other_unit["unit"], other_unit["results"][0]["rate"]) = ("bytes/s".into(), 1.0.into());
    let with = |last| document(&[single(100.0)["suites"][0].clone(), last]);
    let ran = compare(&with(more), &with(other_unit), &[]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("not compared, as the old run counts things/s"), "{}", ran.stdout);
}

#[test]
fn runs_without_a_common_figure_cannot_be_compared() {
    let other = document(&[suite("headers", 99, &[result("cpu", "2 threads", 1.0)])]);
    let ran = compare(&single(100.0), &other, &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no figure in common"), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_no_such_document_is_named_with_the_reason() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document = single(100.0);
        change(&mut document);
        document
    };
    let mut twice = single(100.0);
    let suite = twice["suites"][0].clone();
    twice["suites"].as_array_mut().expect("suites").push(suite);
    for (document, why) in [
        (json!([1]), "invalid length"),
        (json!("schema"), "invalid type"),
        (json!({"schema": 1}), "missing field `suites`"),
        (with(&|one| one["schema"] = 2.into()), "its schema is 2, and this program knows 1"),
        (with(&|one| one["suites"] = json!([])), "it holds no results"),
        (with(&|one| one["suites"][0]["results"][0]["rate"] = 0.0.into()), "the rate 0 is none"),
        (with(&|one| one["suites"][0]["results"][0]["rate"] = (-1.5).into()), "the rate -1.5"),
        (with(&|one| one["suites"][0]["batch"] = "many".into()), "invalid type"),
        (twice, "is there twice"),
    ] {
        let (folder, _) = written(&[&document]);
        for option in ["--compare", "--results"] {
            let ran = bench(&folder, &[option, "0.json"]);
            assert_eq!((ran.code, &*ran.stdout), (2, ""), "{document}");
            let start = "error: 0.json is no document of bench --format json: ";
            assert!(ran.stderr.starts_with(start) && ran.stderr.contains(why), "{}", ran.stderr);
        }
    }
    let (folder, _) = written(&[]);
    let ran = bench(&folder, &["--compare", "0.json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("error: cannot read 0.json: "), "{}", ran.stderr);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let (folder, _) = written(&[&single(1.0)]);
    for arguments in [
        &["--results", "0.json", "--threshold", "5"][..],
        &["--results", "0.json", "--compare", "0.json", "--threshold", "100"],
        &["--results", "0.json", "--compare", "0.json", "--threshold", "-1"],
        &["--results", "0.json", "--compare", "0.json", "--threshold", "nan"],
        &["--results", "0.json", "--quick"],
        &["--results", "0.json", "--force"],
        &["--results", "0.json", "--html", "-"],
    ] {
        let ran = bench(&folder, arguments);
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn the_page_needs_nothing_else_and_shows_every_chart() {
    let (folder, _) = written(&[&full()]);
    let ran = bench(&folder, &["--results", "0.json", "--html", "page.html"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let page = std::fs::read_to_string(folder.path().join("page.html")).expect("a page");
    for shown in [
        "CPU against GPU, job by job",
        "Rate over batch size",
        "GPU faster from about 4.10 k",
        "Where the time goes",
        "<title>judge bodies: 60 %</title>",
        "prefers-color-scheme: dark",
        "A software adapter is no GPU",
        ">no GPU: llvmpipe<",
        "Card &lt;one&gt;",
        "other &lt;b&gt;work&lt;/b&gt; was running",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    for foreign in ["<script", "http", "url(", "@import", " src=", " href=", "No GPU was measured"]
    {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(page.matches("<svg").count() >= 4);
}

#[test]
fn a_page_without_a_gpu_says_so_and_marks_no_crossover() {
    let mut document = full();
    for suite in document["suites"].as_array_mut().expect("suites") {
        let results = suite["results"].as_array_mut().expect("results");
        results.retain(|result| result["device"] != "Card <one> (vulkan:1, discrete)");
        // Faster than the CPU from some size on, and still no GPU.
        let batch = suite["batch"].as_f64().expect("a number");
        suite["results"][2]["rate"] = (batch / 20.0).into();
    }
    let (folder, _) = written(&[&document]);
    bench(&folder, &["--results", "0.json", "--html", "page.html"]);
    let page = std::fs::read_to_string(folder.path().join("page.html")).expect("a page");
    assert!(page.contains("No GPU was measured") && !page.contains("GPU faster from"));
}

#[test]
fn a_page_is_never_overwritten_unasked() {
    let (folder, _) = written(&[&single(1.0)]);
    let page = folder.path().join("page.html");
    std::fs::write(&page, "mine").expect("a file");
    let ran = bench(&folder, &["--results", "0.json", "--html", "page.html"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--force replaces it"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&page).expect("a file"), "mine");
    let ran = bench(&folder, &["--results", "0.json", "--html", "page.html", "--force"]);
    assert_eq!(ran.code, 0);
    assert!(std::fs::read_to_string(&page).expect("a file").starts_with("<!DOCTYPE html>"));
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        2,
        "nothing else is left"
    );
}

#[test]
fn a_run_that_had_a_wrong_backend_still_ends_with_its_code() {
    let mut wrong = single(1.0);
    wrong["suites"][0]["disagreed"] = json!(["gpu x disagrees with the reference"]);
    let ran = compare(&single(100.0), &wrong, &[]);
    assert_eq!(ran.code, 4, "before 1");
}

/// The type of a value, for the table of keys.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Checks that `value` has these keys and no others, of these types (`a|b`).
fn has_keys(value: &Value, keys: &[(&str, &str)]) {
    let found: HashSet<_> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(found, keys.iter().map(|(key, _)| *key).collect());
    for (key, types) in keys {
        let is = type_of(&value[*key]);
        assert!(types.split('|').any(|one| one == is), "{key} is {is}, not {types}");
    }
    let readme = include_str!("../README.md");
    for (key, _) in keys {
        assert!(readme.contains(&format!("| `{key}` |")), "the README says nothing of {key}");
    }
}

/// Checks every key of a document that was measured; the suites are as wished.
fn check_schema(document: &Value) {
    has_keys(
        document,
        &[
            ("schema", "number"),
            ("version", "string"),
            ("date", "string"),
            ("command", "string"),
            ("quick", "boolean"),
            ("note", "string|null"),
            ("machine", "object"),
            ("suites", "list"),
            ("comparison", "null"),
            ("error", "null"),
        ],
    );
    has_keys(
        &document["machine"],
        &[
            ("processor", "string"),
            ("threads", "number"),
            ("sha", "string"),
            ("os", "string"),
            ("arch", "string"),
        ],
    );
    let mut places = HashSet::new();
    for suite in document["suites"].as_array().expect("suites") {
        has_keys(
            suite,
            &[
                ("name", "string"),
                ("variant", "string|null"),
                ("unit", "string"),
                ("batch", "number"),
                ("cpu_only", "boolean"),
                ("results", "list"),
                ("disagreed", "list"),
            ],
        );
        let place = [&suite["name"], &suite["variant"], &suite["batch"]].map(Value::to_string);
        assert!(places.insert(place), "one entry for each suite, variant and batch size");
        assert_eq!(suite["disagreed"], json!([]));
        for result in suite["results"].as_array().expect("results") {
            check_result(suite, result);
        }
    }
}

fn check_result(suite: &Value, result: &Value) {
    let is_timed = match (&result["backend"], &result["software"]) {
        // Mesa's driver can tell where its time goes; not every other can.
        (backend, software) if backend == "gpu" && *software == true => true,
        _ => result["device_s"].is_object(),
    };
    assert!(!is_timed || result["backend"] == "gpu", "{result}");
    has_keys(
        result,
        &[
            ("backend", "string"),
            ("device", "string"),
            ("software", "boolean"),
            ("threads", "number"),
            ("rate", "number"),
            ("rate_slowest", "number"),
            ("rate_fastest", "number"),
            ("runs", "number"),
            ("speedup_vs_cpu", "number"),
            // No software adapter has one.
            ("ceiling", "null"),
            ("busy_s", if suite["name"] == "validate" { "object" } else { "null" }),
            ("device_s", if is_timed { "object" } else { "null" }),
        ],
    );
    if suite["name"] == "validate" {
        let stages = ["read", "hash", "bodies", "connect"].map(|stage| (stage, "number"));
        has_keys(&result["busy_s"], &stages);
    }
    if is_timed {
        let parts = ["upload", "kernel", "read_back", "host"];
        has_keys(&result["device_s"], &parts.map(|part| (part, "number")));
        let part = |name: &str| result["device_s"][name].as_f64().expect("a number");
        assert!(parts.iter().all(|name| part(name) >= 0.0) && part("kernel") > 0.0, "{result}");
    }
    let number = |key: &str| result[key].as_f64().expect("a number");
    assert!(number("rate_slowest") > 0.0 && number("rate_slowest") <= number("rate"));
    assert!(number("rate") <= number("rate_fastest") && number("runs") >= 1.0);
}

#[test]
fn every_suite_is_measured_and_documented_key_by_key() {
    let (folder, _) = written(&[]);
    let ran =
        bench(&folder, &["--quick", "--threads", "2", "--format", "json", "--note", "a test"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    check_schema(&document);
    assert_eq!((&document["quick"], &document["note"]), (&true.into(), &"a test".into()));
    let command = "blockmill bench --quick --threads 2 --format json --note 'a test'";
    assert_eq!(document["command"], command);
    let suites = document["suites"].as_array().expect("suites");
    let job = |suite: &Value| (suite["name"].clone(), suite["variant"].clone());
    let mut jobs = vec![
        ("headers", json!(null)),
        ("merkle", json!(null)),
        ("hash", json!("64-bytes")),
        ("hash", json!("250-bytes")),
        ("hash", json!("1024-bytes")),
        ("signatures", json!("distinct-keys")),
        ("signatures", json!("known-keys")),
        ("signatures", json!("1000-accounts")),
        ("validate", json!("bitcoin")),
        ("append", json!(null)),
    ];
    if cfg!(feature = "mine") {
        jobs.insert(0, ("search", json!(null)));
        jobs.insert(10, ("validate", json!("ledger")));
    }
    let jobs: Vec<_> = jobs.into_iter().map(|(name, variant)| (json!(name), variant)).collect();
    assert_eq!(suites.iter().map(job).collect::<Vec<_>>(), jobs);
    for suite in suites {
        let of = |result: &Value| {
            (result["backend"].as_str().expect("one").to_owned(), result["threads"].as_u64())
        };
        let found: Vec<_> = suite["results"].as_array().expect("results").iter().map(of).collect();
        let wanted = match suite["name"].as_str() {
            Some("append") => vec![("cpu".to_owned(), Some(1)), ("plain".to_owned(), Some(1))],
            _ => [("cpu", 2), ("cpu", 1), ("reference", 1)]
                .map(|(backend, threads)| (backend.to_owned(), Some(threads)))
                .to_vec(),
        };
        assert!(found.starts_with(&wanted), "{found:?}");
        let is_alone = ["signatures", "append"].map(Value::from).contains(&suite["name"]);
        assert_eq!(suite["cpu_only"], is_alone);
        assert!(!is_alone || found == wanted, "the CPU alone does this");
    }
    // What was measured can be read again, and is as fast as itself.
    std::fs::write(folder.path().join("0.json"), ran.stdout).expect("a file");
    let ran = bench(&folder, &["--results", "0.json", "--compare", "0.json", "--threshold", "0"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
}

#[test]
fn suites_can_be_chosen_and_come_in_their_usual_order() {
    let (folder, _) = written(&[]);
    let here = folder.path().to_str().expect("a name");
    let wished = ["--suite", "append", "--suite", "headers", "--suite", "append"];
    let arguments = [&["--quick", "--threads", "1", "--folder", here][..], &wished].concat();
    let ran = bench(&folder, &arguments);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let heads: Vec<_> = ran.stdout.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        heads,
        [
            "headers, batches of 16,384, headers/s:",
            "append, batches of 4, bytes/s (the CPU alone):",
        ]
    );
    assert_eq!(ran.stdout.matches("  cpu ").count(), 2, "one thread is measured once");
    assert!(is_empty(folder.path()), "nothing is left behind");
    let ran = bench(&folder, &["--quick", "--suite", "append", "--folder", "nowhere"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("a folder").next().is_none()
}

#[test]
fn a_device_says_where_its_time_goes() {
    if !common::software_adapter_is_there() {
        return;
    }
    let (folder, _) = written(&[]);
    let ran = bench(
        &folder,
        &["--quick", "--suite", "headers", "--device", "software", "--format", "json"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    check_schema(&document);
    let results = document["suites"][0]["results"].as_array().expect("results");
    let device = results.iter().find(|result| result["backend"] == "gpu").expect("the device");
    let parts = ["upload", "kernel", "read_back", "host"];
    let sum: f64 = parts.iter().filter_map(|part| device["device_s"][part].as_f64()).sum();
    // They are those of one run, neither of none nor of several.
    let run = |rate: &str| 16_384.0 / device[rate].as_f64().expect("a rate");
    assert!(sum > 0.9 * run("rate_fastest") && sum < 1.1 * run("rate_slowest"), "{device}");
    std::fs::write(folder.path().join("0.json"), ran.stdout).expect("a file");
    let ran = bench(&folder, &["--results", "0.json", "--html", "0.html"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("kernel") && ran.stdout.contains("read-back"), "{}", ran.stdout);
    let page = std::fs::read_to_string(folder.path().join("0.html")).expect("a page");
    assert!(page.contains("<li class='bodies'>kernel</li>"));
}
