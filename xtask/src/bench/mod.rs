//! `cargo xtask bench`: minato and its peers against a plain veth, in one run.
//!
//! Every path joins a guest namespace to the same machine, made of fresh namespaces; the guest and the machine run
//! the same load program. All contenders take turns within each row (A B A B), so that what disturbs the machine
//! disturbs all of them. A run that fails is shown as failed.

mod chart;
mod contender;
mod forwards;
mod measurement;
mod ports;
mod record;
mod report;
mod scheduling;
mod start;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::release::{self, Library};
use crate::{command, packages, tools};
use measurement::{Direction, Measurement, ROWS};
use record::Record;
use scheduling::Grouping;

/// The ordinary user that all contenders run as.
const USER: u32 = 1000;

#[derive(Args)]
pub(crate) struct Options {
    /// One short round instead of three long ones: for finding out whether it works
    #[arg(long)]
    quick: bool,
    /// Write the table and a chart to docs/benchmarks. Together with --rows, rows that were measured of the
    /// same source before are in it as well
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    write: bool,
    /// Only these contenders, beside veth
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only rows whose name and direction, such as "bulk-1 out", contain this; "start" is the time to start a program
    #[arg(long, value_name = "PART")]
    rows: Option<String>,
    /// Instead of paths: what it costs to list ports and to forward them (with --write to docs/benchmarks/ports.md)
    #[arg(long)]
    ports: bool,
    /// Set by the benchmark for its own second run inside of the namespaces
    #[arg(long, hide = true)]
    inside: bool,
}

/// Measures everything and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.inside {
        return measure(options);
    }
    packages::ensure(packages::BENCH)?;
    if !packages::is_root() {
        bail!("the benchmark makes its machine out of namespaces and needs root for that");
    }
    let minato = install(&release::build(Library::Gnu)?)?;
    command::run(&mut command::cargo(["build", "--release", "--locked", "-p", "minato-load"]))?;
    let load = tools::target_directory().join("release/minato-load");
    let grouping = Grouping::make();
    if let Grouping::Apart = grouping {
        eprintln!(
            "xtask: each session is scheduled as a group of its own here, and contenders that leave theirs lose by it"
        );
    }
    let error = Command::new("bash")
        .args(["-c", include_str!("outer.sh"), "outer"])
        .arg(grouping.directory().unwrap_or(Path::new("")))
        .args(["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child=SIGKILL", "--mount-proc"])
        .args(["--propagation", "private", "bash", "-c", include_str!("init.sh"), "init"])
        .arg(USER.to_string())
        .args([minato, load])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .exec();
    Err(error).context("bash")
}

/// Copies the program, as whoever installs it does: what a linker has written lies in the page cache in single pages, and
/// takes longer to be mapped than what was copied.
fn install(program: &Path) -> Result<PathBuf> {
    let directory = tools::target_directory().join("bench");
    fs::create_dir_all(&directory)?;
    let copy = directory.join("minato");
    // Not in place: an earlier copy may be running.
    let _ = fs::remove_file(&copy);
    fs::copy(program, &copy)?;
    Ok(copy)
}

fn measure(options: &Options) -> Result<()> {
    if options.ports {
        return measure_ports(options);
    }
    let _outer = contender::outer_server()?;
    let mut contenders = contender::all()?;
    contenders.retain(|contender| {
        contender.name == "veth"
            || options.only.is_empty()
            || options.only.iter().any(|name| contender.name.contains(name.as_str()))
    });
    let (rounds, milliseconds) = if options.quick { (1, 500) } else { (3, 2000) };
    let mut measurements = Vec::new();
    for (row, direction) in selected_rows(options) {
        eprint!("{:<28}", format!("{} {direction}", row.title));
        let mut results: Vec<_> = contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (contender, results) in contenders.iter_mut().zip(&mut results) {
                results.push(contender.measure(row, direction, milliseconds));
                eprint!(".");
            }
        }
        eprintln!();
        measurements.push(Measurement { row: row.name.to_owned(), direction, results });
    }
    let names: Vec<&'static str> = contenders.iter().map(|contender| contender.title).collect();
    let idle = (!measurements.is_empty()).then(|| start::render_idle(&contenders));
    drop(contenders);
    let starts = starts_selected(options).then(|| start::render_starts(if options.quick { 3 } else { 15 }));
    let mut record = if options.write { Record::load() } else { Record::default() };
    record.add(measurements, idle, starts);
    let report = report::render(&names, &record.measurements, rounds, milliseconds) + &record.idle + &record.starts;
    println!("{report}");
    if options.write {
        record.save()?;
        let directory = crate::workspace_root().join("docs/benchmarks");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("latest.md"), report)?;
        fs::write(directory.join("latest.svg"), chart::render(&names, &record.measurements))?;
        eprintln!("xtask: written to {}", directory.display());
    }
    Ok(())
}

fn measure_ports(options: &Options) -> Result<()> {
    let rounds = if options.quick { 1 } else { 5 };
    let tables = ports::measure(rounds)?;
    let machine = report::machine(&["passt", "iproute2", "lsof"]);
    let report = format!(
        "# Benchmark: seeing ports and forwarding them\n\n`cargo xtask bench --ports`: medians of {rounds} rounds, in which all \
         take turns; each ratio is to the first row. {machine}.\n{tables}"
    );
    println!("{report}");
    if options.write {
        fs::write(crate::workspace_root().join("docs/benchmarks/ports.md"), report)?;
    }
    Ok(())
}

fn starts_selected(options: &Options) -> bool {
    options.rows.as_ref().is_none_or(|part| "start".contains(part.as_str()))
}

fn selected_rows(options: &Options) -> impl Iterator<Item = (&'static measurement::Row, Direction)> {
    let part = options.rows.clone().unwrap_or_default();
    let all = ROWS.iter().flat_map(|row| [(row, Direction::Out), (row, Direction::In)]);
    all.filter(move |(row, direction)| format!("{} {direction}", row.name).contains(&part))
}
