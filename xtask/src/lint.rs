//! `cargo xtask lint`: what must hold before anything lands, apart from the tests.

use std::process::Stdio;

use anyhow::{Context, Result};

use crate::{command, deps_rule, links, tools};

/// Runs every check, the quickest first, and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    command::run(&mut command::cargo(["fmt", "--all", "--check"]))?;
    deps_rule::run()?;
    links::run()?;
    locks_of_fuzz_targets()?;
    licences_and_sources()?;
    command::run(&mut command::cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    let mut doc = command::cargo(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    command::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Workspaces of their own, which nothing else builds: their locks grow stale when a crate that they fuzz gets a dependency.
fn locks_of_fuzz_targets() -> Result<()> {
    for fuzzed in ["ports", "transport"] {
        let manifest = format!("crates/{fuzzed}/fuzz/Cargo.toml");
        let mut metadata =
            command::cargo(["metadata", "--locked", "--format-version", "1", "--manifest-path", &manifest]);
        command::output(&mut metadata)
            .with_context(|| format!("try: cargo update --workspace --manifest-path {manifest}"))?;
    }
    Ok(())
}

/// Licences, bans and sources always; advisories only where the advisory database can be fetched.
fn licences_and_sources() -> Result<()> {
    let root = crate::workspace_root();
    let mut deny = tools::cargo_deny()?;
    command::run(deny.current_dir(&root).args(["--log-level", "error", "check", "licenses", "bans", "sources"]))?;

    let mut fetch = tools::cargo_deny()?;
    fetch.current_dir(&root).args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0").stderr(Stdio::null());
    if !command::succeeds(&mut fetch) {
        eprintln!("xtask: SKIPPED: advisories: the advisory database cannot be fetched from this machine");
        return Ok(());
    }
    let mut advisories = tools::cargo_deny()?;
    command::run(advisories.current_dir(&root).args(["check", "advisories"]))
}
