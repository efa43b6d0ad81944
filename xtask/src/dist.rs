//! `cargo xtask dist`: the program as others install it, in `target/dist`.

mod package;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{command, tools};
use package::Package;

/// Builds the program, static where its target can be had, and a Debian package with its completions and manual pages.
pub(crate) fn run() -> Result<()> {
    let directory = tools::target_directory().join("dist");
    fs::create_dir_all(&directory)?;
    let built = build()?;
    let program = directory.join("minato");
    strip(&built, &program)?;
    let package = Package::of(&program)?.build(&directory)?;
    for made in [program, package] {
        let size = fs::metadata(&made)?.len() as f64 / 1e6;
        println!("{} ({size:.1} MB)", made.display());
    }
    Ok(())
}

/// Builds a release, and says where it is. A static program needs the target of musl.
fn build() -> Result<PathBuf> {
    let static_target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut arguments = vec!["build", "--release", "--locked", "--package", "minato"];
    let mut place = tools::target_directory();
    if !has_target(&static_target) {
        eprintln!(
            "xtask: no static program: the target {static_target} is not installed (rustup target add {static_target})"
        );
    } else if !command::succeeds(Command::new("musl-gcc").arg("--version")) {
        eprintln!("xtask: no static program: the C compiler for musl is not installed (apt-get install musl-tools)");
    } else {
        arguments.extend(["--target", &static_target]);
        place.push(&static_target);
    }
    command::run(&mut command::cargo(arguments))?;
    Ok(place.join("release/minato"))
}

/// Whether the compiler has the standard library of a target.
fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut query = Command::new(rustc);
    query.args(["--print", "target-libdir", "--target", target]);
    command::output(&mut query).is_ok_and(|directory| Path::new(directory.trim()).exists())
}

/// Copies a program without what only a debugger needs.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    command::run(strip.arg("-o").arg(to).arg(from)).context("the package binutils has strip")
}

#[cfg(test)]
mod tests;
