//! What it costs to start something, and to have it standing by.

use std::fmt::Write;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::contender::{self, Contender};

/// Time from command to end of `COMMAND -- true`, for each way to start a program in a network namespace.
struct Start {
    title: &'static str,
    command: &'static [&'static str],
    /// Something that runs meanwhile.
    beside: &'static [&'static str],
}

const STARTS: &[Start] = &[
    Start { title: "unshare -Urn", command: &["unshare", "-Urn", "true"], beside: &[] },
    Start {
        title: "minato, engine running",
        command: &["/run/bin/minato", "run", "--", "true"],
        beside: &["/run/bin/minato", "run", "--name", "beside", "--", "sleep", "60"],
    },
    Start { title: "minato, cold", command: &["/run/bin/minato", "run", "--", "true"], beside: &[] },
    Start { title: "pasta", command: &["pasta", "--quiet", "--ipv4-only", "--config-net", "--", "true"], beside: &[] },
    Start {
        title: "rootlesskit with slirp4netns",
        command: &[
            "rootlesskit",
            "--net=slirp4netns",
            "--mtu=1500",
            "--disable-host-loopback",
            "--subid-source=static",
            "true",
        ],
        beside: &[],
    },
];

/// A table of start times; the ratio is to `unshare`.
pub(crate) fn render_starts(rounds: u32) -> String {
    let mut text = String::from("\n## Start of `true`\n\n| how | ms | ratio |\n|---|---|---|\n");
    let mut baseline = None;
    for start in STARTS {
        let cell = match start.median(rounds) {
            Some(milliseconds) => {
                let ratio = milliseconds / *baseline.get_or_insert(milliseconds);
                format!("{milliseconds:.1} | {ratio:.1}")
            }
            None => "failed | –".to_owned(),
        };
        let _ = writeln!(text, "| {} | {cell} |", start.title);
    }
    text
}

/// A table of what the contenders that still run hold in memory, without the program in the guest.
pub(crate) fn render_idle(contenders: &[Contender]) -> String {
    let mut text = String::from("\n## Resident memory after the load\n\n| what | MiB |\n|---|---|\n");
    for contender in contenders.iter().filter(|contender| contender.name != "veth") {
        let kib: u64 = contender.helper_processes().into_iter().map(resident_kib).sum();
        let cell = if kib == 0 { "does not run".to_owned() } else { format!("{:.1}", kib as f64 / 1024.0) };
        let _ = writeln!(text, "| {} | {cell} |", contender.title);
    }
    text
}

impl Start {
    fn median(&self, rounds: u32) -> Option<f64> {
        let beside = self.beside.split_first().map(|(program, arguments)| {
            let mut command = contender::as_user(program);
            contender::start("beside", command.args(arguments))
        });
        if beside.is_some() {
            std::thread::sleep(Duration::from_millis(500));
        }
        let mut times: Vec<f64> = (0..rounds).map(|_| self.once()).collect::<Option<_>>()?;
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }

    fn once(&self) -> Option<f64> {
        let mut command = contender::as_user(self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status().ok()?;
        let elapsed = start.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            eprintln!("{}: {status}", self.title);
        }
        // So that the next start is a cold one, where it should be.
        std::thread::sleep(Duration::from_millis(100));
        status.success().then_some(elapsed)
    }
}

pub(super) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
