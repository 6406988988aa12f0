//! The charts of `bench --html`, as SVG.
//!
//! What has axes is drawn by `plotters`. It writes fixed colours, while those of the page are light or
//! dark: each thing drawn has a colour that stands for a class of the page's style ([`Marks`]), and
//! [`themed`] puts the class in its place.
//!
//! Bars are rows of rectangles with widths in percent, which `plotters` does not write: its pictures have
//! a fixed shape, so that letters would shrink with the page, and bars would share its width with a margin
//! for their labels. The rows take whatever width there is, down to that of a phone, in letters of one size.

use std::fmt::Write;

use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

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

/// Units of a chart of lines in a pixel of its usual size: `plotters` rounds places to whole units.
const PIXEL: u32 = 10;

/// The size of a chart of lines, and what its lines leave free on each side.
const WIDTH: u32 = 360 * PIXEL;
const HEIGHT: u32 = 200 * PIXEL;
const LEFT: u32 = 52 * PIXEL;
const RIGHT: u32 = 26 * PIXEL;
const TOP: u32 = 18 * PIXEL;
const BOTTOM: u32 = 28 * PIXEL;

/// The size of letters, which `plotters` divides by 1.24 to get the `font-size` that it writes.
const LETTERS: f64 = 11.0 * PIXEL as f64 * 1.24;

/// The most intervals between rates on an axis.
const RATE_STEPS_MAX: usize = 5;

/// Rates over batch sizes, which are set apart by their logarithms; `crossover` is a batch size to mark.
pub(super) fn lines(name: &str, lines: &[Line], crossover: Option<f64>) -> String {
    let mut svg = String::new();
    let mut marks = Marks::default();
    let backend = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT));
    draw_lines(backend, &mut marks, lines, crossover).expect("a string takes any drawing");
    // The element that it opens has a fixed size, and no name.
    let drawn = svg.split_once('>').map_or("", |(_, drawn)| drawn);
    format!(
        "<svg class='lines' role='img' aria-label='{}' viewBox='0 0 {WIDTH} {HEIGHT}'>{}",
        escaped(name),
        themed(drawn, &marks)
    )
}

fn draw_lines<DB: DrawingBackend>(
    backend: DB,
    marks: &mut Marks,
    lines: &[Line],
    crossover: Option<f64>,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let highest = points().map(|(_, rate)| *rate).fold(f64::MIN_POSITIVE, f64::max);
    let top_rate = round_up(highest);
    let mut batches: Vec<_> = points().map(|(batch, _)| *batch).collect();
    batches.sort_unstable();
    let at = |place: Option<&u64>| place.map_or(1.0, |batch| *batch as f64);
    let (first, last) = (at(batches.first()), at(batches.last()));
    let range = (first..last).log_scale();

    let root = backend.into_drawing_area();
    let letters = ("sans-serif", LETTERS).into_font().color(&marks.add("label", None));
    let ticks = {
        let axis = LogCoord::from(range.clone());
        let limit = (LEFT.cast_signed(), (WIDTH - RIGHT).cast_signed());
        // From the largest down, and none that would stand on another.
        let mut free_to = WIDTH.cast_signed();
        let mut ticks = Vec::new();
        for batch in batches.into_iter().rev() {
            let text = if last < 1e6 { grouped(batch) } else { scaled(batch as f64) };
            let (width, _) = root.estimate_text_size(&text, &letters)?;
            let (at, half) = (axis.map(&(batch as f64), limit), width.cast_signed() / 2);
            if at + half <= free_to {
                ticks.push((batch as f64, text));
                free_to = at - half - 6 * PIXEL.cast_signed();
            }
        }
        ticks
    };
    let text_of = |batch: f64| {
        let tick = ticks.iter().find(|(at, _)| at.total_cmp(&batch).is_eq());
        tick.map_or_else(String::new, |(_, text)| text.clone())
    };
    let mut chart = ChartBuilder::on(&root)
        .margin_top(TOP)
        .margin_right(RIGHT)
        .x_label_area_size(BOTTOM)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(
            range.with_key_points(ticks.iter().map(|(batch, _)| *batch).collect()),
            0.0..top_rate,
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(marks.add("grid", None).stroke_width(PIXEL))
        .light_line_style(TRANSPARENT)
        .axis_style(TRANSPARENT)
        .set_all_tick_mark_size(3 * PIXEL)
        .set_tick_mark_size(LabelAreaPosition::Bottom, 5 * PIXEL)
        .label_style(letters.clone())
        .x_label_formatter(&|batch| text_of(*batch))
        .y_labels(RATE_STEPS_MAX + 1)
        .y_label_formatter(&|rate| if *rate > 0.0 { scaled(*rate) } else { "0".into() })
        .draw()?;
    for line in lines {
        let places = line.points.iter().map(|(batch, rate)| (*batch as f64, *rate));
        let colour = marks.add(line.class, Some(line.title.clone()));
        chart.draw_series(LineSeries::new(places, colour.stroke_width(PIXEL * 5 / 2)))?;
        for (batch, rate) in &line.points {
            let title = format!("{}: {} at {}", line.title, scaled(*rate), grouped(*batch));
            let colour = marks.add(line.class, Some(title));
            let place = (*batch as f64, *rate);
            let circle = Circle::new(place, PIXEL * 7 / 2, colour.filled());
            chart.draw_series([circle])?;
        }
    }
    if let Some(batch) = crossover {
        let style = marks.add("crossover", None).stroke_width(PIXEL * 3 / 2);
        chart.draw_series([PathElement::new([(batch, 0.0), (batch, top_rate)], style)])?;
        // The words stand on the side with more room.
        let side = 5 * PIXEL.cast_signed();
        let (anchor, side) =
            if batch > (first * last).sqrt() { (HPos::Right, -side) } else { (HPos::Left, side) };
        let words = format!("GPU faster from about {}", scaled(batch));
        let words = Text::new(words, (side, 0), letters.pos(Pos::new(anchor, VPos::Bottom)));
        chart.draw_series([EmptyElement::at((batch, top_rate)) + words])?;
    }
    root.present()
}

/// The next end of an axis at which a round rate stands.
fn round_up(rate: f64) -> f64 {
    // Beyond the largest number there is no axis, and the crate would look for one.
    let rate = rate.min(f64::MAX);
    let round = RangedCoordf64::from(0.0..rate).key_points(RATE_STEPS_MAX);
    let step = round.get(1).copied().unwrap_or(rate);
    ((rate / step).ceil() * step).min(f64::MAX)
}

/// What was drawn, each in a colour that is its number.
#[derive(Default)]
struct Marks(Vec<Mark>);

struct Mark {
    /// The class of what was drawn, which says its colour.
    class: &'static str,
    /// All there is to say, for who points at it.
    title: Option<String>,
}

impl Marks {
    /// The colour in which to draw the next.
    fn add(&mut self, class: &'static str, title: Option<String>) -> RGBColor {
        self.0.push(Mark { class, title });
        // From 1: a colour that was not asked for is most likely black. Documents are too small for more.
        let [.., red, green, blue] = (self.0.len() as u64).to_be_bytes();
        RGBColor(red, green, blue)
    }

    /// What was drawn in a colour, `RRGGBB`.
    fn of(&self, colour: &str) -> Option<&Mark> {
        self.0.get(usize::from_str_radix(colour, 16).ok()?.checked_sub(1)?)
    }
}

/// A drawing in which each colour of `marks` has become a class, and what has a title says it.
///
/// `svg` is as `plotters` writes it: an element has one colour, in quotes, and neither quotes nor angle
/// brackets stand in text, so that no text is taken for a colour.
fn themed(svg: &str, marks: &Marks) -> String {
    let mut out = String::with_capacity(svg.len());
    for tag in svg.split_inclusive('>') {
        let mark = tag.split_once("=\"#").and_then(|(before, after)| {
            let (start, _attribute) = before.rsplit_once(' ')?;
            let (colour, rest) = after.split_once('"')?;
            Some((start, marks.of(colour)?, rest))
        });
        let Some((start, mark, rest)) = mark else {
            out.push_str(tag);
            continue;
        };
        put(&mut out, format_args!("{start} class=\"{}\"", mark.class));
        let element = start.trim_start().trim_start_matches('<').split(' ').next();
        match (&mark.title, rest.strip_suffix("/>"), element) {
            (Some(title), Some(rest), Some(element)) => {
                put(&mut out, format_args!("{rest}><title>{}</title></{element}>", escaped(title)))
            }
            _ => out.push_str(rest),
        }
    }
    out
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
        for (highest, end) in
            [(1.0, 1.0), (9.81e6, 1e7), (3.2, 4.0), (2.6, 3.0), (2.4, 2.5), (41.0, 50.0)]
        {
            assert!((round_up(highest) / end - 1.0).abs() < 1e-9, "{highest}");
        }
    }

    /// A chart of a GPU that overtakes the CPU and a software adapter.
    fn chart(title: &str) -> String {
        let line = |title: &str, class, rates: [f64; 3]| {
            let points = [1 << 10, 1 << 14, 1 << 18].into_iter().zip(rates).collect();
            Line { title: title.into(), class, points }
        };
        let drawn = [
            line("cpu: all threads", "cpu", [100.0, 110.0, 120.0]),
            line(title, "gpu", [50.0, 200.0, 4900.0]),
            line("no GPU: llvmpipe", "soft", [1.0, 2.0, 3.0]),
        ];
        lines("rate <over> 'batch' size", &drawn, Some(4096.0))
    }

    #[test]
    fn charts_of_lines_have_no_colours_but_those_of_the_page() {
        let svg = chart("gpu: card");
        for colour in ["\"#", "rgb", "black", "white"] {
            assert!(!svg.contains(colour), "{colour}\n{svg}");
        }
        for (class, count) in [("cpu", 4), ("gpu", 4), ("soft", 4), ("crossover", 1), ("grid", 6)] {
            assert_eq!(svg.matches(&format!("class=\"{class}\"")).count(), count, "{class}\n{svg}");
        }
        let style = include_str!("page.css");
        for class in ["cpu", "one", "other", "gpu", "soft", "crossover", "grid"] {
            assert!(style.contains(&format!(".lines .{class} {{")), "{class}");
        }
        // Sizes and rates on the axes, and the words at the crossover.
        assert_eq!(svg.matches("class=\"label\"").count(), 3 + 6 + 1, "{svg}");
    }

    #[test]
    fn colours_become_classes_and_text_is_left_alone() {
        let mut marks = Marks::default();
        assert_eq!(marks.add("grid", None), RGBColor(0, 0, 1));
        marks.0.extend((2..0x1ABC).map(|_| Mark { class: "other", title: None }));
        assert_eq!(marks.add("gpu", Some("a<b".into())), RGBColor(0, 0x1A, 0xBC));
        let svg = "<line stroke=\"#000001\" x1=\"1\"/>\n\
            <circle cx=\"1\" fill=\"#001ABC\" stroke=\"none\"/>\n\
            <text y=\"2\" fill=\"#000001\">\n#000001 x=&quot;#000001&quot;\n</text>\n\
            <rect fill=\"#FFFFFF\"/><rect fill=\"#000000\"/>";
        assert_eq!(
            themed(svg, &marks),
            "<line class=\"grid\" x1=\"1\"/>\n\
             <circle cx=\"1\" class=\"gpu\" stroke=\"none\"><title>a&lt;b</title></circle>\n\
             <text y=\"2\" class=\"grid\">\n#000001 x=&quot;#000001&quot;\n</text>\n\
             <rect fill=\"#FFFFFF\"/><rect fill=\"#000000\"/>",
            "a colour that is none of the marks stays"
        );
    }

    #[test]
    fn who_points_at_a_chart_reads_names_and_figures() {
        let svg = chart("<a b='c'>&\"");
        let name = "&lt;a b=&#39;c&#39;&gt;&amp;&quot;";
        assert_eq!(svg.matches(&format!("<title>{name}</title></polyline>")).count(), 1, "{svg}");
        let point = format!("<title>{name}: 4.90 k at 262,144</title></circle>");
        assert_eq!(svg.matches(&point).count(), 1, "{svg}");
        assert!(!svg.contains("<a") && !svg.contains("&amp;lt;"), "escaped once\n{svg}");
        assert!(svg.starts_with(
            "<svg class='lines' role='img' aria-label='rate &lt;over&gt; &#39;batch&#39; size' viewBox='"
        ));
        assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("http"), "{svg}");
        assert_eq!(svg.matches("<svg").count(), 1);
    }

    #[test]
    fn labels_of_sizes_do_not_stand_on_each_other() {
        let chart = |sizes: &[u64]| {
            let points = sizes.iter().map(|size| (*size, 5.0)).collect();
            lines("", &[Line { title: String::new(), class: "cpu", points }], None)
        };
        for (sizes, texts) in [
            ([1 << 10, 999_999], ["1,024", "999,999"]),
            ([1 << 18, 1 << 21], ["262 k", "2.10 M"]),
            ([1 << 18, 1 << 30], ["262 k", "1.07 G"]),
        ] {
            let svg = chart(&sizes);
            assert!(texts.iter().all(|text| svg.contains(&format!("\n{text}\n"))), "{svg}");
        }
        let svg = chart(&(0..40).map(|size| 1 << size).collect::<Vec<_>>());
        let places = svg.lines().filter(|line| line.contains("text-anchor=\"middle\""));
        let places: Vec<i32> = places
            .filter_map(|line| line.split("x=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!((4..10).contains(&places.len()), "{places:?}");
        assert!(places.windows(2).all(|pair| pair[0] - pair[1] > 280), "{places:?}");
    }

    #[test]
    fn every_document_has_a_chart() {
        let smallest = f64::from_bits(1);
        for rates in
            [[smallest; 2], [f64::MAX; 2], [smallest, f64::MAX], [1e-17, 3e-16], [1.0, 1e300]]
        {
            for batches in [[0, 1], [0, 0], [7, 7], [1, u64::MAX], [u64::MAX; 2], [2, 3]] {
                let points: Vec<_> = batches.into_iter().zip(rates).collect();
                let line = Line { title: "t".into(), class: "cpu", points };
                let svg = lines("n", &[line], Some(batches[1] as f64));
                assert_eq!(svg.matches("<circle").count(), 2, "{rates:?} {batches:?}");
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
        assert!(lines("n", &[], None).ends_with("</svg>\n"));
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
    }
}
