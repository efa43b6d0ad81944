//! `cargo xtask dist`: the program as others install it, in `target/dist`.

mod package;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::release::{self, Library};
use crate::{command, tools};
use package::Package;

/// Builds the program, static where that is possible, and a Debian package with its completions and manual pages.
pub(crate) fn run() -> Result<()> {
    let directory = tools::target_directory().join("dist");
    fs::create_dir_all(&directory)?;
    let built = release::build(Library::Musl)?;
    let program = directory.join("minato");
    strip(&built, &program)?;
    let package = Package::of(&program)?.build(&directory)?;
    for made in [program, package] {
        let size = fs::metadata(&made)?.len() as f64 / 1e6;
        println!("{} ({size:.1} MB)", made.display());
    }
    Ok(())
}

/// Copies a program without what only a debugger needs.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    command::run(strip.arg("-o").arg(to).arg(from)).context("the package binutils has strip")
}

#[cfg(test)]
mod tests;
