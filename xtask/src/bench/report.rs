//! The table, in Markdown.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use super::measurement::{Measurement, Summary};
use super::scheduling;

/// Ratios to veth, then absolute figures, then what failed and under what conditions all was measured.
pub(crate) fn render(names: &[&str], measurements: &[Measurement], rounds: u32, milliseconds: u32) -> String {
    let mut text = String::from("# Benchmark: ratio to a plain veth in the same run\n\n");
    text += &conditions(rounds, milliseconds);
    if measurements.is_empty() {
        return text;
    }
    text += "\n![The same as a chart](latest.svg)\n";
    let mut failures = String::new();
    let _ = writeln!(text, "\n| row | veth | {} |", names[1..].join(" | "));
    let _ = writeln!(text, "|---|---|{}", "---|".repeat(names.len() - 1));
    for measurement in measurements {
        let summaries: Vec<Summary> =
            measurement.results.iter().map(|results| Summary::of(results, &measurement.results[0])).collect();
        let (title, row) = (measurement.title(), measurement.row());
        let absolute = |value: f64| format!("{:.1} {}", value * row.scale, row.unit);
        let veth =
            summaries[0].median.map_or_else(|| "failed".to_owned(), |value| absolute(value) + &spread(&summaries[0]));
        let cells = summaries[1..].iter().map(|summary| cell(summary, row.scale));
        let _ = writeln!(text, "| {title} | {veth} | {} |", cells.collect::<Vec<_>>().join(" | "));
        for (name, summary) in names.iter().zip(&summaries) {
            if let Some(reason) = summary.failures.first() {
                let _ = writeln!(
                    failures,
                    "- {title}, {name}: {} of {rounds} runs failed: {reason}",
                    summary.failures.len()
                );
            }
        }
    }
    if !failures.is_empty() {
        let _ = writeln!(text, "\nFailed runs:\n{failures}");
    }
    text
}

fn cell(summary: &Summary, scale: f64) -> String {
    match (summary.median, summary.ratio) {
        _ if !summary.offered => "–".to_owned(),
        (Some(median), Some(ratio)) => {
            let failed = if summary.failures.is_empty() {
                String::new()
            } else {
                format!(", {} failed", summary.failures.len())
            };
            format!("**{ratio:.2}** ({:.1}{}{failed})", median * scale, spread(summary))
        }
        _ => "failed".to_owned(),
    }
}

fn spread(summary: &Summary) -> String {
    format!(" ±{:.0} %", summary.spread * 50.0)
}

fn conditions(rounds: u32, milliseconds: u32) -> String {
    format!(
        "Median of {rounds} rounds, in each of which all contenders run in turn for {:.1} s; the ratio is the median of the \
         rounds' ratios, ± is half the spread of the absolute figure. cubic at both ends, an ordinary \
         user's guest, the other end a socket on the machine's own outer address; MTU 1500 unless the column says otherwise. \
         In brackets: the absolute figure. All servers poll before they accept. With minato --direct the guest's programs \
         hold sockets of the machine, so that nothing relays their TCP. {}. {}.\n",
        f64::from(milliseconds) / 1e3,
        scheduling::condition(),
        machine(&["passt", "slirp4netns", "rootlesskit"]),
    )
}

/// What it was measured on, and the versions of these packages.
pub(super) fn machine(packages: &[&str]) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let versions = packages.iter().map(|package| format!("{package} {}", version(package))).collect::<Vec<_>>();
    format!(
        "{cores} cores ({}), Linux {}, load average at the end {}; {}",
        model.trim_start_matches([':', '\t', ' ']),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
        versions.join(", "),
    )
}

fn version(package: &str) -> String {
    let output = Command::new("dpkg-query").args(["--show", "--showformat=${Version}", package]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::measurement::{Direction, Failure, ROWS};
    use super::*;

    #[test]
    fn failed_runs_and_missing_paths_are_shown_as_such() {
        let failed = || Err(Failure::Failed("stalled".to_owned()));
        let results = vec![
            vec![Ok(20.0), Ok(20.0), Ok(20.0)],
            vec![Ok(10.0), failed(), Ok(10.0)],
            vec![failed(), failed(), failed()],
            vec![Err(Failure::NotOffered), Err(Failure::NotOffered), Err(Failure::NotOffered)],
        ];
        let measurement = Measurement { row: ROWS[0].name.to_owned(), direction: Direction::Out, results };
        let text = render(&["veth", "half", "broken", "inward only"], &[measurement], 3, 2000);
        assert!(
            text.contains(
                "| bulk TCP, 1 stream out | 20.0 Gbit/s ±0 % | **0.50** (10.0 ±0 %, 1 failed) | failed | – |"
            ),
            "{text}"
        );
        assert!(text.contains("- bulk TCP, 1 stream out, broken: 3 of 3 runs failed: stalled"), "{text}");
    }
}
