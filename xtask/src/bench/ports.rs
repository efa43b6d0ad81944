//! `cargo xtask bench --ports`: what it costs to see ports and to forward them, beside the tools that do the same.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::contender::{self, Program};
use super::forwards;

/// Sockets in two processes: the hard limit of open files of one may be 20,000.
const SOCKETS: usize = 20_000;
/// All tables, as medians of so many rounds in which all take turns.
pub(crate) fn measure(rounds: usize) -> Result<String> {
    Ok(listings(rounds)? + &forwards::measure(rounds)?)
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

pub(super) fn wait_until(what: &str, mut probe: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !probe() {
        if start.elapsed() > Duration::from_secs(20) {
            bail!("waited in vain for {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
