//! The charts of `bench --html`, as SVG.
//!
//! They are written by hand because their colours are those of the page, light or dark, which takes
//! classes instead of fixed colours; the plotting crates write fixed ones.

use std::fmt::Write;

use crate::cli::output::{grouped, scaled};

/// A bar with its label and what it stands for.
pub(super) struct Bar {
    pub(super) label: String,
    /// All there is to say, for who points at it.
    pub(super) title: String,
    /// The class of its colour.
    pub(super) class: &'static str,
    pub(super) value: f64,
    pub(super) text: String,
}

/// The height of a bar with its label.
const ROW: usize = 40;

/// Bars below each other, the longest as wide as the page allows.
pub(super) fn bars(name: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = open_wide(name, ROW * bars.len());
    for (index, bar) in bars.iter().enumerate() {
        let top = ROW * index;
        put(
            &mut svg,
            format_args!(
                "<g><title>{}</title><text x='0' y='{}'>{}</text>\
                 <text class='value' x='100%' y='{}'>{}</text>\
                 <rect class='track' x='0' y='{}' width='100%' height='12' rx='2'/>\
                 <rect class='{}' x='0' y='{}' width='{:.2}%' height='12' rx='2'/></g>",
                escaped(&bar.title),
                top + 14,
                escaped(&bar.label),
                top + 14,
                escaped(&bar.text),
                top + 20,
                bar.class,
                top + 20,
                100.0 * bar.value / longest
            ),
        );
    }
    svg + "</svg>"
}

/// How much of what is possible is reached.
pub(super) fn share(name: &str, class: &str, share: f64) -> String {
    let mut svg = open_wide(name, 22);
    let percent = 100.0 * share.clamp(0.0, 1.0);
    put(
        &mut svg,
        format_args!(
            "<g><title>{percent:.0} %</title>\
             <rect class='track' x='0' y='0' width='100%' height='22' rx='2'/>\
             <rect class='{class}' x='0' y='0' width='{percent:.2}%' height='22' rx='2'/>\
             <text class='inside' x='{:.2}%' y='15'>{percent:.0} %</text></g>",
            percent / 2.0
        ),
    );
    svg + "</svg>"
}

/// A part of a whole.
pub(super) struct Part {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    pub(super) value: f64,
}

/// One bar of several parts, each with its share where there is room for it.
pub(super) fn stacked(name: &str, parts: &[Part]) -> String {
    let whole: f64 = parts.iter().map(|part| part.value).sum();
    let mut svg = open_wide(name, 22);
    let mut left = 0.0;
    for part in parts {
        let share = 100.0 * part.value / whole.max(f64::MIN_POSITIVE);
        put(
            &mut svg,
            format_args!(
                "<g><title>{}: {share:.0} %</title>\
                 <rect class='{}' x='{left:.2}%' y='0' width='{share:.2}%' height='22'/>",
                part.name, part.class
            ),
        );
        if share >= 12.0 {
            let middle = left + share / 2.0;
            put(
                &mut svg,
                format_args!("<text class='inside' x='{middle:.2}%' y='15'>{share:.0} %</text>"),
            );
        }
        svg.push_str("</g>");
        left += share;
    }
    svg + "</svg>"
}

/// The rates of one backend over batch sizes, ascending.
pub(super) struct Line {
    pub(super) title: String,
    pub(super) class: &'static str,
    pub(super) points: Vec<(u64, f64)>,
}

/// The size of a chart of lines, and the margins around its lines.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 334.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 172.0;

/// The width of a character below the axis.
const TICK_CHAR_WIDTH: f64 = 6.5;

/// Rates over batch sizes, which are set apart by their logarithms; `crossover` is a batch size to mark.
pub(super) fn lines(name: &str, lines: &[Line], crossover: Option<f64>) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let highest = points().map(|(_, rate)| *rate).fold(f64::MIN_POSITIVE, f64::max);
    let top_rate = round_up(highest);
    let mut batches: Vec<_> = points().map(|(batch, _)| *batch).collect();
    batches.sort_unstable();
    batches.dedup();
    let (first, last) = (log(batches[0] as f64), log(batches[batches.len() - 1] as f64));
    let x = |batch: f64| LEFT + (RIGHT - LEFT) * (log(batch) - first) / (last - first).max(1e-9);
    let y = |rate: f64| BOTTOM - (BOTTOM - TOP) * rate / top_rate;

    let mut svg = format!(
        "<svg class='lines' role='img' aria-label='{}' viewBox='0 0 {WIDTH} {HEIGHT}'>",
        escaped(name)
    );
    for rate in [0.0, top_rate / 2.0, top_rate] {
        let (at, text) = (y(rate), if rate > 0.0 { scaled(rate) } else { "0".into() });
        put(
            &mut svg,
            format_args!(
                "<path class='grid' d='M{LEFT} {at:.1}H{RIGHT}'/>\
                 <text class='value' x='{:.1}' y='{:.1}'>{text}</text>",
                LEFT - 6.0,
                at + 4.0
            ),
        );
    }
    // From the largest down, and none that would stand on another.
    let mut free_to = WIDTH;
    for batch in batches.into_iter().rev() {
        let at = x(batch as f64);
        let text = if last.exp2() < 1e7 { grouped(batch) } else { scaled(batch as f64) };
        let half = TICK_CHAR_WIDTH * text.len() as f64 / 2.0;
        if at + half <= free_to {
            put(&mut svg, format_args!("<text class='tick' x='{at:.1}' y='190'>{text}</text>"));
            free_to = at - half - TICK_CHAR_WIDTH;
        }
    }
    for line in lines {
        let places: Vec<_> =
            line.points.iter().map(|(batch, rate)| (x(*batch as f64), y(*rate))).collect();
        let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        put(
            &mut svg,
            format_args!(
                "<g class='{}'><title>{}</title><polyline points='{}'/>",
                line.class,
                escaped(&line.title),
                path.join(" ")
            ),
        );
        for (x, y) in places {
            put(&mut svg, format_args!("<circle cx='{x:.1}' cy='{y:.1}' r='3.5'/>"));
        }
        svg.push_str("</g>");
    }
    if let Some(batch) = crossover {
        let at = x(batch);
        // The words stand on the side with more room.
        let (anchor, words) =
            if at > (LEFT + RIGHT) / 2.0 { ("end", at - 5.0) } else { ("start", at + 5.0) };
        put(
            &mut svg,
            format_args!(
                "<path class='crossover' d='M{at:.1} {TOP}V{BOTTOM}'/>\
                 <text x='{words:.1}' y='12' text-anchor='{anchor}'>GPU faster from about {}</text>",
                scaled(batch)
            ),
        );
    }
    svg + "</svg>"
}

/// The batch size from which on `gpu` is faster than `cpu`, between two that were measured: `None` if it
/// is so from the first on, or not at the last.
pub(super) fn crossover(cpu: &[(u64, f64)], gpu: &[(u64, f64)]) -> Option<f64> {
    let leads: Vec<_> = cpu
        .iter()
        .filter_map(|(batch, rate)| {
            let (_, of_gpu) = gpu.iter().find(|(other, _)| other == batch)?;
            Some((log(*batch as f64), log(of_gpu / rate)))
        })
        .collect();
    // The last time that the lead changes, so that the GPU keeps it.
    let change = leads.windows(2).rfind(|pair| pair[0].1 < 0.0 && pair[1].1 >= 0.0)?;
    if leads.last().is_some_and(|last| last.1 < 0.0) {
        return None;
    }
    let [(before, behind), (after, ahead)] = [change[0], change[1]];
    Some((before + (after - before) * behind / (behind - ahead)).exp2())
}

fn log(number: f64) -> f64 {
    number.log2()
}

/// The next number with one digit that is not zero, and not 7 or 9: its half is easy to read too.
fn round_up(number: f64) -> f64 {
    let unit = 10f64.powf(number.log10().floor());
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]
        .into_iter()
        .map(|step| step * unit)
        .find(|&n| n >= number)
        .unwrap_or(10.0 * unit)
}

/// A picture as wide as the page allows, of a fixed height, so that its letters keep their size.
fn open_wide(name: &str, height: usize) -> String {
    format!("<svg role='img' aria-label='{}' width='100%' height='{height}'>", escaped(name))
}

/// Appends to a string, which does not fail.
fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes any text");
}

/// Text that stands for itself in HTML, in attributes too.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossover_lies_where_the_lead_changes_for_good() {
        let flat =
            |rates: [f64; 3]| [(1 << 10, rates[0]), (1 << 14, rates[1]), (1 << 18, rates[2])];
        let cpu = flat([100.0; 3]);
        // From a half to the double: in the middle, on both scales.
        let crossed = crossover(&cpu, &flat([50.0, 200.0, 400.0])).expect("one");
        assert!((crossed - 4096.0).abs() < 1.0, "{crossed}");
        let crossed = crossover(&cpu, &flat([200.0, 50.0, 200.0])).expect("one");
        assert!((crossed - 65_536.0).abs() < 1.0, "{crossed}");
        assert_eq!(crossover(&cpu, &flat([150.0, 200.0, 300.0])), None, "from the first on");
        assert_eq!(crossover(&cpu, &flat([50.0, 60.0, 70.0])), None, "never");
        assert_eq!(crossover(&cpu, &flat([50.0, 200.0, 70.0])), None, "not for good");
        assert_eq!(crossover(&cpu, &[(7, 1.0), (9, 1000.0)]), None, "other sizes");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (highest, end) in [(1.0, 1.0), (9.81e6, 1e7), (3.2, 4.0), (2.5, 3.0), (41.0, 50.0)] {
            assert!((round_up(highest) / end - 1.0).abs() < 1e-9, "{highest}");
        }
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
    }
}
