//! What it costs to forward a range of ports, beside pasta and beside what the kernel takes for the sockets alone.

use std::fmt::{self, Write};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::contender;
use super::ports::{median, milliseconds, wait_until};
use super::start::resident_kib;

/// What is forwarded. The open-files limit of our test machines is 20,000: pasta, which has more than one socket for each
/// port, gets all of them for the first range only.
const RANGES: [Range; 2] = [Range(20_000, 23_999), Range(20_000, 34_999)];

/// First and last port.
#[derive(Clone, Copy)]
struct Range(u16, u16);

impl Range {
    fn length(self) -> u16 {
        self.1 - self.0 + 1
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// A table for each range.
pub(super) fn measure(rounds: usize) -> Result<String> {
    RANGES.into_iter().map(|range| forwards(range, rounds)).collect()
}

/// Forwards of a whole range: the time until they are there, and what each takes in memory.
fn forwards(range: Range, rounds: usize) -> Result<String> {
    let (mut minato, mut pasta, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        pasta.push(pasta_forwards(range)?);
        minato.push(minato_forwards(range)?);
        bare.push(bare_binds(range)?);
        eprint!(".");
    }
    eprintln!();
    let held = pasta.iter().map(|(_, held)| held.listening).min().unwrap_or(0);
    let refused = pasta.iter().map(|(_, held)| held.refused).max().unwrap_or(0);
    let pasta: Vec<Forwards> = pasta.into_iter().map(|(run, _)| run).collect();
    let (minato, removals): (Vec<Forwards>, Vec<f64>) = minato.into_iter().unzip();
    let of = |runs: &[Forwards], what: fn(&Forwards) -> f64| median(runs.iter().map(what).collect());
    let (time, size) = (of(&pasta, |run| run.milliseconds), of(&pasta, |run| run.bytes));
    let mut text = format!(
        "\n## {} forwards of TCP ports, as an ordinary user\n\n| how | ms | ratio | bytes each | ratio |\n|---|---|---|---|---|\n",
        range.length()
    );
    let mut row = |how: &str, ms: f64, bytes: Option<f64>| {
        let bytes = bytes.map_or("– | –".to_owned(), |bytes| format!("{bytes:.0} | {:.2}", bytes / size));
        let _ = writeln!(text, "| {how} | {ms:.0} | {:.2} | {bytes} |", ms / time);
    };
    let mut how = format!("`pasta -t 127.0.0.1/{range}`, beyond a start without; it listens on {held} of them");
    if refused > 0 {
        let _ = write!(how, ", and is refused {refused} more sockets at the limit of open files");
    }
    row(&how, time, Some(size));
    row("`minato forward add`", of(&minato, |run| run.milliseconds), Some(of(&minato, |run| run.bytes)));
    row("`minato forward rm` of the same", median(removals), None);
    row("the kernel's part: a bare loop of socket(2) and bind(2)", median(bare), None);
    Ok(text)
}

/// What it takes until they are there, and resident bytes for each.
struct Forwards {
    milliseconds: f64,
    bytes: f64,
}

/// Also the milliseconds until they are gone again.
fn minato_forwards(range: Range) -> Result<(Forwards, f64)> {
    let mut run = contender::as_user("/run/bin/minato");
    let _run = contender::start("many", run.args(["run", "--name", "many", "--", "sleep", "100"]))?;
    let ready = || {
        let mut query = contender::as_user("/run/bin/minato");
        query.args(["ps"]).output().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("many"))
    };
    wait_until("the host", ready)?;
    let engine = find(&|command| command.contains("\0__engine")).context("no engine")?;
    let before = resident_kib(engine);
    let change = |what: &str| {
        let mut command = contender::as_user("/run/bin/minato");
        let forward = format!("127.0.0.1:{range}:{range}");
        let start = Instant::now();
        let status = command.args(["forward", what, "-p", &forward, "many"]).stdin(Stdio::null()).status()?;
        if !status.success() {
            bail!("minato forward {what}: {status}");
        }
        Ok(milliseconds(start.elapsed()))
    };
    let milliseconds = change("add")?;
    let bytes = bytes_each(range, before, resident_kib(engine));
    Ok((Forwards { milliseconds, bytes }, change("rm")?))
}

/// How long the kernel alone takes for sockets of the whole range.
fn bare_binds(range: Range) -> Result<f64> {
    let mut command = contender::as_user("bash");
    let script = "ulimit -n $(ulimit -Hn) && exec /run/bin/minato-load bind \"$@\"";
    command.args(["-c", script, "bash", &range.0.to_string(), &range.1.to_string()]);
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("minato-load bind: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The same of pasta, which opens its ports when it starts: what is measured is how much longer that takes, and how much
/// more memory it has, than without; and how many it really holds.
fn pasta_forwards(range: Range) -> Result<(Forwards, Held)> {
    let ports = format!("127.0.0.1/{range}");
    let time = |ports: &str| {
        let start = Instant::now();
        let status = pasta(ports, &["true"]).stdin(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() {
            bail!("pasta -t {ports}: {status}");
        }
        Ok(milliseconds(start.elapsed()))
    };
    let extra = (time(&ports)? - time("none")?).max(0.0);
    let memory = |ports: &str| {
        let _pasta = contender::start("pasta-many", &mut pasta(ports, &["sleep", "100"]))?;
        let place = format!("\0{ports}\0");
        let is_it = |command: &str| command.starts_with("pasta\0") && command.contains(&place);
        let sleeps = || find(&|command| command == "sleep\x00100\0").is_some();
        wait_until("pasta", || find(&is_it).is_some() && sleeps())?;
        let refusals = fs::read_to_string("/run/log/pasta-many")?.matches("Too many open files").count();
        let held = Held { listening: listeners(range)?, refused: refusals };
        Ok::<_, anyhow::Error>((resident_kib(find(&is_it).context("no pasta")?), held))
    };
    let (without, _) = memory("none")?;
    let (with, held) = memory(&ports)?;
    Ok((Forwards { milliseconds: extra, bytes: bytes_each(range, without, with) }, held))
}

/// What pasta has of a range: it goes on without what it can't have.
struct Held {
    /// Ports that are listened on.
    listening: usize,
    /// Sockets that it did not get.
    refused: usize,
}

/// How many ports of the range are listened on.
fn listeners(range: Range) -> Result<usize> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let port = u16::from_str_radix(words.next()?.split_once(':')?.1, 16).ok()?;
        let listens = words.nth(1)? == "0A";
        (listens && (range.0..=range.1).contains(&port)).then_some(port)
    };
    Ok(table.lines().filter_map(port).count())
}

/// pasta in a shell that may open as many files as it can: it needs several for each port.
fn pasta(ports: &str, program: &[&str]) -> Command {
    let mut command = contender::as_user("bash");
    let script = "ulimit -n $(ulimit -Hn) && exec pasta \"$@\"";
    command.args(["-c", script, "bash", "--quiet", "--ipv4-only", "--config-net", "-t", ports, "--"]).args(program);
    command
}

/// A process whose command line is like this.
fn find(is_it: &dyn Fn(&str) -> bool) -> Option<u32> {
    contender::processes().find(|(_, command)| is_it(command)).map(|(pid, _)| pid)
}

fn bytes_each(range: Range, before: u64, after: u64) -> f64 {
    (after.saturating_sub(before) * 1024) as f64 / f64::from(range.length())
}
