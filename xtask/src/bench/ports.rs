//! `cargo xtask bench --ports`: what it costs to see ports and to forward them, beside the tools that do the same.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::contender::{self, Program};
use super::start::resident_kib;

/// Sockets in two processes: the hard limit of open files of one may be 20,000.
const SOCKETS: usize = 20_000;
/// What is forwarded.
const RANGE: (u16, u16) = (20_000, 34_999);

/// Both tables, as medians of so many rounds in which all take turns.
pub(crate) fn measure(rounds: usize) -> Result<String> {
    Ok(listings(rounds)? + &forwards(rounds)?)
}

/// Ways to list this machine's ports with their processes; the first is what others are compared with.
const LISTINGS: [(&str, &[&str]); 4] = [
    ("`ss -tulpnH`", &["ss", "-tulpnH"]),
    ("`minato ports --host`", &["/run/bin/minato", "ports", "--host"]),
    ("`minato ports --host --json`", &["/run/bin/minato", "ports", "--host", "--json"]),
    ("`lsof -nP -i`", &["lsof", "-nP", "-i"]),
];

fn listings(rounds: usize) -> Result<String> {
    let holders = [hold("first")?, hold("second")?];
    let mut times = LISTINGS.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((_, command), times) in LISTINGS.iter().zip(&mut times) {
            times.push(list(command)?);
            eprint!(".");
        }
    }
    eprintln!();
    drop(holders);
    let mut text =
        format!("\n## Listing {SOCKETS} sockets in two processes, as root\n\n| how | ms | ratio |\n|---|---|---|\n");
    let mut baseline = None;
    for ((title, _), times) in LISTINGS.iter().zip(times) {
        let time = median(times);
        let _ = writeln!(text, "| {title} | {time:.0} | {:.2} |", time / *baseline.get_or_insert(time));
    }
    Ok(text)
}

/// A process with half of the sockets.
fn hold(name: &str) -> Result<Program> {
    let log = format!("hold-{name}");
    let mut command = Command::new("bash");
    let script = format!("ulimit -n $(ulimit -Hn) && exec /run/bin/minato-load hold {}", SOCKETS / 2);
    let program = contender::start(&log, command.args(["-c", &script]))?;
    let ready = || fs::read_to_string(format!("/run/log/{log}")).is_ok_and(|text| text.contains("ready"));
    wait_until("the sockets", ready)?;
    Ok(program)
}

/// How long a listing takes, in milliseconds. What does not list the sockets is an error.
fn list(command: &[&str]) -> Result<f64> {
    let start = Instant::now();
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let elapsed = start.elapsed();
    let output = output.with_context(|| format!("cannot start {}", command[0]))?;
    let seen = String::from_utf8_lossy(&output.stdout).matches("minato-load").count();
    // lsof cuts names: it is counted by lines.
    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    if seen.max(lines) < SOCKETS {
        bail!("{command:?} shows {} of {SOCKETS} sockets", seen.max(lines));
    }
    Ok(milliseconds(elapsed))
}

/// Forwards of a whole range: the time until they are there, and what each takes in memory.
fn forwards(rounds: usize) -> Result<String> {
    let (mut minato, mut pasta) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        minato.push(minato_forwards()?);
        pasta.push(pasta_forwards()?);
        eprint!(".");
    }
    eprintln!();
    let count = RANGE.1 - RANGE.0 + 1;
    let mut text = format!(
        "\n## {count} forwards of TCP ports, as an ordinary user\n\n| how | ms | ratio | bytes each | ratio |\n|---|---|---|---|---|\n"
    );
    let held = pasta.iter().map(|(_, _, held)| *held).min().unwrap_or(0);
    let (times, sizes): (Vec<f64>, Vec<f64>) = pasta.into_iter().map(|(time, size, _)| (time, size)).unzip();
    let (time, size) = (median(times), median(sizes));
    let (our_times, our_sizes): (Vec<f64>, Vec<f64>) = minato.into_iter().unzip();
    let (our_time, our_size) = (median(our_times), median(our_sizes));
    let _ = writeln!(
        text,
        "| `pasta -t 127.0.0.1/{}-{}`, beyond a start without; holds {held} of them | {time:.0} | 1.00 | {size:.0} | 1.00 |",
        RANGE.0, RANGE.1
    );
    let _ = writeln!(
        text,
        "| `minato forward add` | {our_time:.0} | {:.2} | {our_size:.0} | {:.2} |",
        our_time / time,
        our_size / size
    );
    Ok(text)
}

/// Milliseconds, and bytes of the engine for each.
fn minato_forwards() -> Result<(f64, f64)> {
    let mut run = contender::as_user("/run/bin/minato");
    let _run = contender::start("many", run.args(["run", "--name", "many", "--", "sleep", "100"]))?;
    let engine = || find(&|command| command.contains("\0__engine"));
    let ready = || {
        let mut query = contender::as_user("/run/bin/minato");
        query.args(["ps"]).output().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("many"))
    };
    wait_until("the host", ready)?;
    let engine = engine().context("no engine")?;
    let before = resident_kib(engine);
    let mut add = contender::as_user("/run/bin/minato");
    let forward = format!("127.0.0.1:{0}-{1}:{0}-{1}", RANGE.0, RANGE.1);
    let start = Instant::now();
    let status = add.args(["forward", "add", "-p", &forward, "many"]).stdin(Stdio::null()).status()?;
    let elapsed = milliseconds(start.elapsed());
    if !status.success() {
        bail!("minato forward add: {status}");
    }
    Ok((elapsed, bytes_each(before, resident_kib(engine))))
}

/// The same of pasta, which opens its ports when it starts: what is measured is how much longer that takes, and how much
/// more memory it has, than without.
fn pasta_forwards() -> Result<(f64, f64, usize)> {
    let range = format!("127.0.0.1/{}-{}", RANGE.0, RANGE.1);
    let time = |ports: &str| {
        let start = Instant::now();
        let status = pasta(ports, &["true"]).stdin(Stdio::null()).status()?;
        if !status.success() {
            bail!("pasta -t {ports}: {status}");
        }
        Ok(milliseconds(start.elapsed()))
    };
    let extra = (time(&range)? - time("none")?).max(0.0);
    let memory = |ports: &str| {
        let _pasta = contender::start("pasta-many", &mut pasta(ports, &["sleep", "100"]))?;
        let place = format!("\0{ports}\0");
        let is_it = |command: &str| command.starts_with("pasta\0") && command.contains(&place);
        let sleeps = || find(&|command| command == "sleep\x00100\0").is_some();
        wait_until("pasta", || find(&is_it).is_some() && sleeps())?;
        Ok::<_, anyhow::Error>((resident_kib(find(&is_it).context("no pasta")?), listeners()?))
    };
    let (without, _) = memory("none")?;
    let (with, held) = memory(&range)?;
    Ok((extra, bytes_each(without, with), held))
}

/// How many ports of the range are listened on: pasta goes on without those that it can't have.
fn listeners() -> Result<usize> {
    let table = fs::read_to_string("/proc/net/tcp")?;
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let port = u16::from_str_radix(words.next()?.split_once(':')?.1, 16).ok()?;
        let listens = words.nth(1)? == "0A";
        (listens && (RANGE.0..=RANGE.1).contains(&port)).then_some(port)
    };
    Ok(table.lines().filter_map(port).count())
}

/// pasta in a shell that may open as many files as it can: it needs one for each port.
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

fn bytes_each(before: u64, after: u64) -> f64 {
    (after.saturating_sub(before) * 1024) as f64 / f64::from(RANGE.1 - RANGE.0 + 1)
}

fn wait_until(what: &str, mut probe: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !probe() {
        if start.elapsed() > Duration::from_secs(20) {
            bail!("waited in vain for {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
