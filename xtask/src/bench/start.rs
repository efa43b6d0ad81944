//! What it costs to start something, and to have it standing by.

use std::fmt::Write;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::contender::{self, Contender, Program};

/// Time from command to end of `COMMAND -- true`, for each way to start a program in a network namespace.
struct Start {
    title: &'static str,
    command: &'static [&'static str],
    /// Whether it is only what it is called while [`BESIDE`] runs.
    needs_engine: bool,
}

/// What runs all the while: its engine is the one that is running.
const BESIDE: [&str; 6] = ["run", "--name", "beside", "--", "sleep", "600"];

const STARTS: &[Start] = &[
    start("unshare -Urn", &["unshare", "-Urn", "true"]),
    Start { title: "minato, engine running", command: &["/run/bin/minato", "run", "--", "true"], needs_engine: true },
    start("minato, cold", &["/run/bin/minato", "run", "--network", "cold", "--", "true"]),
    start("pasta", &["pasta", "--quiet", "--ipv4-only", "--config-net", "--", "true"]),
    start(
        "rootlesskit with slirp4netns",
        &["rootlesskit", "--net=slirp4netns", "--mtu=1500", "--disable-host-loopback", "--subid-source=static", "true"],
    ),
];

const fn start(title: &'static str, command: &'static [&'static str]) -> Start {
    Start { title, command, needs_engine: false }
}

/// A table of start times: medians of rounds in each of which all take turns. The ratio is to `unshare` in the same round.
pub(crate) fn render_starts(rounds: u32) -> String {
    let mut text = String::from("\n## Start of `true`\n\n| how | ms | ratio |\n|---|---|---|\n");
    let mut beside = contender::start("beside", contender::as_user("/run/bin/minato").args(BESIDE));
    std::thread::sleep(PAUSE);
    let mut round = || -> Vec<Option<f64>> {
        let mut once = |start: &Start| match still_runs(&mut beside) {
            Err(reason) if start.needs_engine => {
                eprintln!("{}: {reason}", start.title);
                None
            }
            _ => start.once(),
        };
        STARTS.iter().map(&mut once).collect()
    };
    let rounds: Vec<Vec<Option<f64>>> = (0..rounds).map(|_| round()).collect();
    for (place, start) in STARTS.iter().enumerate() {
        let times = rounds.iter().map(|round| round[place]).collect();
        let ratios = rounds.iter().map(|round| Some(round[place]? / round[0]?)).collect();
        let cell = match (median(times), median(ratios)) {
            (Some(milliseconds), Some(ratio)) => format!("{milliseconds:.1} | {ratio:.1}"),
            _ => "failed | –".to_owned(),
        };
        let _ = writeln!(text, "| {} | {cell} |", start.title);
    }
    text
}

/// Why what should run beside does not.
fn still_runs(beside: &mut Result<Program>) -> Result<(), String> {
    match beside.as_mut().map(Program::ended) {
        Ok(None) => Ok(()),
        Ok(Some(status)) => Err(format!("what should run beside has ended: {status}")),
        Err(error) => Err(format!("what should run beside does not: {error:#}")),
    }
}

/// The median, if none is missing.
fn median(values: Vec<Option<f64>>) -> Option<f64> {
    let mut values = values.into_iter().collect::<Option<Vec<f64>>>()?;
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A table of what the contenders that still run hold in memory, process by process, without the program in the guest.
pub(crate) fn render_idle(contenders: &[Contender]) -> String {
    let mut text = String::from(
        "\n## Resident memory in MiB\n\nminato: the engine and its agent.\n\n| what | idle | after the load |\n|---|---|---|\n",
    );
    for contender in contenders.iter().filter(|contender| contender.name != "veth") {
        let now = mebibytes(&contender.resident_kib());
        let _ = writeln!(text, "| {} | {} | {now} |", contender.title, mebibytes(&contender.idle_kib));
    }
    text
}

/// Of one process or more.
fn mebibytes(kib: &[u64]) -> String {
    let each: Vec<String> = kib.iter().map(|kib| format!("{:.1}", *kib as f64 / 1024.0)).collect();
    if each.is_empty() { "does not run".to_owned() } else { each.join(" + ") }
}

/// After each start, so that the next one is a cold one, where it should be.
const PAUSE: Duration = Duration::from_millis(100);

impl Start {
    fn once(&self) -> Option<f64> {
        let mut command = contender::as_user(self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status().ok()?;
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            eprintln!("{}: {status}", self.title);
        }
        std::thread::sleep(PAUSE);
        status.success().then_some(elapsed)
    }
}

pub(super) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_process_by_process() {
        assert_eq!(mebibytes(&[10_752, 5120]), "10.5 + 5.0");
        assert_eq!(mebibytes(&[]), "does not run");
    }
}
