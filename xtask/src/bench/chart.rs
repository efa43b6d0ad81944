//! The table as a picture: for each row a bar for each path, as long as its ratio to veth.

use std::fmt::Write;

use super::measurement::{Measurement, Summary};

const WIDTH: f64 = 860.0;
/// Where the bars begin, and how long a bar of ratio 1 is.
const LEFT: f64 = 230.0;
const UNIT: f64 = 330.0;
/// No bar is longer.
const MOST: f64 = 1.75;
const BAR: f64 = 13.0;
const GROUP: f64 = 30.0;
const TOP: f64 = 52.0;

/// An SVG image; the first name is the baseline's, the second one ours.
pub(crate) fn render(names: &[&str], measurements: &[Measurement]) -> String {
    let groups: Vec<_> = measurements.iter().map(|measurement| group(names, measurement)).collect();
    let height = groups.iter().fold(TOP, |height, (_, bars)| height + GROUP + BAR * bars.len() as f64) + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\" fill=\"#333\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\" font-weight=\"bold\">Throughput, as a ratio to a plain veth in the same \
         run</text>\n"
    );
    let _ = writeln!(svg, "<text x=\"{}\" y=\"44\" text-anchor=\"middle\">veth = 1</text>", LEFT + UNIT);
    let mut y = TOP;
    for (title, bars) in &groups {
        let _ = writeln!(svg, "<text x=\"16\" y=\"{:.0}\" font-weight=\"bold\">{}</text>", y + 18.0, escape(title));
        y += GROUP - 6.0;
        for bar in bars {
            bar.draw(&mut svg, y);
            y += BAR;
        }
        y += 6.0;
    }
    let x = LEFT + UNIT;
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{:.0}\" stroke=\"#999\" stroke-dasharray=\"3 3\"/>\n</svg>",
        height - 12.0
    );
    svg
}

struct Bar<'a> {
    name: &'a str,
    /// `None`: every run failed.
    ratio: Option<f64>,
    ours: bool,
}

impl Bar<'_> {
    fn draw(&self, svg: &mut String, y: f64) {
        let length = self.ratio.unwrap_or(0.0).clamp(0.0, MOST) * UNIT;
        let color = if self.ours { "#0a7d5a" } else { "#b9c3cc" };
        let weight = if self.ours { "bold" } else { "normal" };
        let text = self.ratio.map_or_else(|| "failed".to_owned(), |ratio| format!("{ratio:.2}"));
        let (base, end) = (y + BAR - 3.0, LEFT + length + 5.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\" font-weight=\"{weight}\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{length:.1}\" height=\"{:.0}\" fill=\"{color}\"/>\
             <text x=\"{end:.1}\" y=\"{base:.0}\" font-weight=\"{weight}\">{text}</text>",
            LEFT - 8.0,
            escape(self.name),
            y + 1.0,
            BAR - 2.0
        );
    }
}

/// A row's title, and a bar for each path that is offered.
fn group<'a>(names: &[&'a str], measurement: &Measurement) -> (String, Vec<Bar<'a>>) {
    let baseline = &measurement.results[0];
    let paths = names.iter().zip(&measurement.results).enumerate().skip(1);
    let bars = paths.filter_map(|(place, (name, results))| {
        let summary = Summary::of(results, baseline);
        summary.offered.then_some(Bar { name, ratio: summary.ratio, ours: place == 1 })
    });
    (measurement.title(), bars.collect())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::measurement::{Direction, Failure, ROWS};
    use super::*;

    #[test]
    fn bars_are_as_long_as_ratios_and_failures_are_named() {
        let results = vec![
            vec![Ok(10.0)],
            vec![Ok(5.0)],
            vec![Ok(900.0)],
            vec![Err(Failure::Failed("stalled".to_owned()))],
            vec![Err(Failure::NotOffered)],
        ];
        let measurement = Measurement { row: ROWS[0].name.to_owned(), direction: Direction::Out, results };
        let svg = render(&["veth", "ours", "far & off", "broken", "inward only"], &[measurement]);
        assert!(svg.contains(&format!("width=\"{:.1}\"", UNIT / 2.0)), "{svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\"", UNIT * MOST)), "it stays inside: {svg}");
        assert!(svg.contains("far &amp; off") && svg.contains(">90.00<") && svg.contains(">failed<"));
        assert!(!svg.contains("inward only"));
        assert_eq!(svg.matches("<rect").count(), 1 + 3);
    }
}
