//! `bench --html`: one page with charts, which needs no network, no script and no other file.

use std::fmt::Write;

use crate::cli::output::{grouped, scaled};

use super::charts::{Bar, Line, Part, bars, crossover, escaped, lines, share, stacked};
use super::compare::Comparison;
use super::document::{Document, ResultEntry, SuiteEntry};

const STYLE: &str = include_str!("page.css");

/// The longest label that stands beside a rate on a narrow page.
const LABEL_CHARS: usize = 32;

/// The page.
pub(super) fn page(document: &Document) -> String {
    let mut out = String::new();
    write_page(&mut out, document).expect("a string takes any text");
    out
}

fn write_page(out: &mut String, document: &Document) -> std::fmt::Result {
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\
         <meta name='color-scheme' content='light dark'>\
         <title>blockmill bench</title><style>\n{STYLE}</style></head><body>"
    )?;
    write_head(out, document)?;
    write_jobs(out, document)?;
    write_ceilings(out, document)?;
    write_batches(out, document)?;
    write_stages(out, document)?;
    write_device_parts(out, document)?;
    if let Some(comparison) = &document.comparison {
        write_comparison(out, comparison)?;
    }
    write_table(out, document)?;
    writeln!(out, "</body></html>")
}

/// Where the figures come from, and what to beware of.
fn write_head(out: &mut String, document: &Document) -> std::fmt::Result {
    writeln!(out, "<h1>blockmill bench</h1><dl>")?;
    let machine = document.machine.as_ref().map(|machine| machine.title());
    for (name, value) in [
        ("machine", &machine),
        ("date", &document.date),
        ("version", &document.version),
        ("command", &document.command),
        ("note", &document.note),
    ] {
        if let Some(value) = value {
            writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escaped(value))?;
        }
    }
    writeln!(out, "</dl>")?;
    for suite in &document.suites {
        for what in &suite.disagreed {
            let (job, what) = (escaped(&suite.title()), escaped(what));
            writeln!(out, "<p class='warning'>No figure: {job}: {what}</p>")?;
        }
    }
    let has = |is: fn(&ResultEntry) -> bool| document.results().any(|(_, result)| is(result));
    if has(|result| result.software) {
        writeln!(
            out,
            "<p class='warning'>A software adapter is no GPU: it runs on the CPU, and its rates say \
             nothing about one.</p>"
        )?;
    }
    if !has(|result| result.backend == "gpu" && !result.software) {
        writeln!(out, "<p class='warning'>No GPU was measured.</p>")?;
    }
    Ok(())
}

/// Each kind of work, in its largest batches.
fn write_jobs(out: &mut String, document: &Document) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>CPU against GPU, job by job</h2><p>Median rates of the largest batches, and how they \
         compare with the CPU on all its threads. Longer is faster.</p><div class='cards'>"
    )?;
    for group in groups(document) {
        let largest = largest(&group);
        let Some(suite) = largest.iter().map(|(suite, _)| *suite).max_by_key(|one| one.batch)
        else {
            continue;
        };
        let rows: Vec<_> = largest.iter().map(|(suite, result)| bar(suite, result)).collect();
        let alone = if suite.cpu_only { " · the CPU alone does this" } else { "" };
        writeln!(
            out,
            "<figure><figcaption><b>{}</b> <span>{}, batches of up to {}{alone}</span></figcaption>{}</figure>",
            escaped(&suite.job()),
            escaped(&suite.unit),
            grouped(suite.batch),
            bars(&suite.title(), &rows)
        )?;
    }
    writeln!(out, "</div>")
}

/// Of each backend the result of its largest batch, in the order of the first batch.
fn largest<'d>(group: &[&'d SuiteEntry]) -> Vec<(&'d SuiteEntry, &'d ResultEntry)> {
    let mut largest: Vec<(&SuiteEntry, &ResultEntry)> = Vec::new();
    for suite in group {
        for result in &suite.results {
            let known = largest.iter_mut().find(|(_, one)| one.device == result.device);
            match known {
                Some(known) if known.0.batch < suite.batch => *known = (suite, result),
                Some(_) => {}
                None => largest.push((suite, result)),
            }
        }
    }
    largest
}

/// How near devices come to what their units allow, where that is known.
fn write_ceilings(out: &mut String, document: &Document) -> std::fmt::Result {
    let groups = groups(document);
    let all = groups.iter().flat_map(|group| largest(group));
    let known: Vec<_> =
        all.filter_map(|(suite, result)| Some((suite, result, result.ceiling?))).collect();
    if known.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<h2>Share of the ceiling</h2><p>The rate of the largest batch, of the highest that the device's \
         units allow by their number and clock.</p><div class='cards'>"
    )?;
    for (suite, result, ceiling) in known {
        writeln!(
            out,
            "<figure><figcaption><b>{}</b> <span>{}, ceiling {} {}</span></figcaption>{}</figure>",
            escaped(&suite.job()),
            escaped(&short(result)),
            scaled(ceiling),
            escaped(&suite.unit),
            share(
                &format!("share of the ceiling, {}", suite.title()),
                "gpu",
                result.rate / ceiling
            )
        )?;
    }
    writeln!(out, "</div>")
}

fn bar(suite: &SuiteEntry, result: &ResultEntry) -> Bar {
    let speedup = result.speedup_vs_cpu.map_or(String::new(), |ratio| format!(" · {ratio:.2} ×"));
    Bar {
        label: short(result),
        title: result.title(),
        class: class(suite, result),
        value: result.rate,
        text: format!("{}{speedup}", scaled(result.rate)),
    }
}

/// Rates over batch sizes, for work that was measured in several.
fn write_batches(out: &mut String, document: &Document) -> std::fmt::Result {
    let groups = groups(document);
    let mut several = groups.iter().filter(|group| group.len() > 1).peekable();
    if several.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "<h2>Rate over batch size</h2><div class='cards'>")?;
    for group in several {
        let mut sizes = group.clone();
        sizes.sort_by_key(|suite| suite.batch);
        let lines_of = lines_of(&sizes);
        if lines_of.is_empty() {
            continue;
        }
        let points = |class| {
            let line = lines_of.iter().find(move |line: &&Line| line.class == class);
            line.map_or(&[][..], |line| &line.points)
        };
        let crossover = crossover(points("cpu"), points("gpu"));
        writeln!(
            out,
            "<figure><figcaption><b>{}</b> <span>{}</span></figcaption>{}<ul class='legend'>",
            escaped(&sizes[0].job()),
            escaped(&sizes[0].unit),
            lines(&format!("{} over batch size", sizes[0].job()), &lines_of, crossover)
        )?;
        for line in &lines_of {
            writeln!(out, "<li class='{}'>{}</li>", line.class, escaped(&line.title))?;
        }
        writeln!(out, "</ul></figure>")?;
    }
    writeln!(out, "</div>")
}

/// The rates of each backend, over the sizes at which it was measured.
fn lines_of(sizes: &[&SuiteEntry]) -> Vec<Line> {
    let mut lines: Vec<(&str, Line)> = Vec::new();
    for suite in sizes {
        for result in &suite.results {
            let point = (suite.batch, result.rate);
            let known = lines.iter_mut().find(|(device, _)| *device == result.device);
            match known {
                Some((_, line)) => line.points.push(point),
                None => {
                    let class = class(suite, result);
                    let line = Line { title: short(result), class, points: vec![point] };
                    lines.push((&result.device, line));
                }
            }
        }
    }
    lines.into_iter().map(|(_, line)| line).filter(|line| line.points.len() > 1).collect()
}

/// Where the time goes, for work that has several stages.
fn write_stages(out: &mut String, document: &Document) -> std::fmt::Result {
    let stages = |result: &ResultEntry| {
        let busy = result.busy_s?;
        let part = |class, name, value| Part { class, name, value };
        Some(vec![
            part("read", "read", busy.read),
            part("hash", "hash headers", busy.hash),
            part("bodies", "judge bodies", busy.bodies),
            part("connect", "connect", busy.connect),
        ])
    };
    write_parts(
        out,
        document,
        "How long each stage of a validation was busy, as shares of the sum; with several threads stages \
         overlap.",
        stages,
    )
}

/// Where the time of devices goes.
fn write_device_parts(out: &mut String, document: &Document) -> std::fmt::Result {
    let parts = |result: &ResultEntry| {
        let times = result.device_s?;
        let part = |class, name, value| Part { class, name, value };
        Some(vec![
            part("read", "upload", times.upload),
            part("bodies", "kernel", times.kernel),
            part("connect", "read back", times.read_back),
            part("hash", "host", times.host),
        ])
    };
    write_parts(
        out,
        document,
        "How long each part of a device's work took; the host mixes in work whose answers it knows, \
         compares, and waits.",
        parts,
    )
}

/// A bar for each result that has parts.
fn write_parts(
    out: &mut String,
    document: &Document,
    what: &str,
    parts: impl Fn(&ResultEntry) -> Option<Vec<Part>>,
) -> std::fmt::Result {
    let bars =
        document.results().filter_map(|(suite, result)| Some((suite, result, parts(result)?)));
    let bars: Vec<_> = bars.collect();
    let Some((_, _, first)) = bars.first() else { return Ok(()) };
    writeln!(out, "<h2>Where the time goes</h2><p>{what}</p><ul class='legend'>")?;
    for Part { class, name, .. } in first {
        writeln!(out, "<li class='{class}'>{name}</li>")?;
    }
    writeln!(out, "</ul><div class='cards'>")?;
    for (suite, result, parts) in &bars {
        writeln!(
            out,
            "<figure><figcaption><b>{}</b> <span>{}</span></figcaption>{}</figure>",
            escaped(&suite.title()),
            escaped(&short(result)),
            stacked(&format!("parts of {}, {}", suite.title(), result.title()), parts)
        )?;
    }
    writeln!(out, "</div>")
}

fn write_comparison(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let text = comparison.to_text();
    writeln!(out, "<h2>Compared with an older run</h2><pre>{}</pre>", escaped(&text))
}

/// All figures.
fn write_table(out: &mut String, document: &Document) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>All figures</h2><p>Medians after a warm-up; answers were compared with the reference \
         first.</p><div class='wide'><table><thead><tr><th>job<th>batch<th>unit<th>backend<th>median\
         <th>slowest<th>fastest<th>runs<th>× CPU</tr></thead><tbody>"
    )?;
    for (suite, result) in document.results() {
        let optional = |rate: Option<f64>| rate.map_or_else(String::new, scaled);
        writeln!(
            out,
            "<tr><td>{}<td class='n'>{}<td>{}<td>{}<td class='n'>{}<td class='n'>{}<td class='n'>{}\
             <td class='n'>{}<td class='n'>{}</tr>",
            escaped(&suite.job()),
            grouped(suite.batch),
            escaped(&suite.unit),
            escaped(&result.title()),
            scaled(result.rate),
            optional(result.rate_slowest),
            optional(result.rate_fastest),
            result.runs.map_or_else(String::new, |runs| runs.to_string()),
            result.speedup_vs_cpu.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        )?;
    }
    writeln!(out, "</tbody></table></div>")
}

/// The suites by kind of work, in the order of the document.
fn groups(document: &Document) -> Vec<Vec<&SuiteEntry>> {
    let mut groups: Vec<Vec<&SuiteEntry>> = Vec::new();
    for suite in &document.suites {
        match groups.iter_mut().find(|group| group[0].job() == suite.job()) {
            Some(group) => group.push(suite),
            None => groups.push(vec![suite]),
        }
    }
    groups
}

/// The class of a result's colour.
fn class(suite: &SuiteEntry, result: &ResultEntry) -> &'static str {
    match &*result.backend {
        "gpu" if result.software => "soft",
        "gpu" => "gpu",
        // The CPU with all threads comes first.
        "cpu" if std::ptr::eq(result, &raw const suite.results[0]) => "cpu",
        "cpu" => "one",
        _ => "other",
    }
}

/// A name that fits beside a rate.
fn short(result: &ResultEntry) -> String {
    // What stands in parentheses is an id and a type; behind a comma there are details.
    let device = result.device.split(" (").next().unwrap_or_default();
    let device = device.split(',').next().unwrap_or_default();
    let name = format!("{}: {device}", result.backend);
    let name = if result.software { format!("no GPU: {device}") } else { name };
    if name.chars().count() <= LABEL_CHARS {
        return name;
    }
    name.chars().take(LABEL_CHARS - 1).chain(['…']).collect()
}
