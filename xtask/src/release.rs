//! A release of the program, as it is installed: static where that is possible. A program that is loaded with its libraries
//! takes half a millisecond longer at each start.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{command, tools};

/// The C library that a static program has in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// The machine's own.
    Gnu,
    /// musl where its target can be had, which resolves names without plugins of the machine's; else the machine's own.
    Musl,
}

/// Builds a release, and says where it is.
pub(crate) fn build(library: Library) -> Result<PathBuf> {
    let musl = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut arguments = vec!["rustc", "--release", "--locked", "--package", "minato", "--bin", "minato"];
    let mut place = tools::target_directory();
    if library == Library::Musl && has_musl(&musl) {
        arguments.extend(["--target", &musl]);
        place.push(&musl);
    } else if has_static_library() {
        // For this program only: what runs while others are compiled can't be static.
        arguments.extend(["--", "-C", "target-feature=+crt-static"]);
    } else {
        eprintln!("xtask: no static program: the C library is not there as an archive (libc.a)");
    }
    command::run(&mut command::cargo(arguments))?;
    Ok(place.join("release/minato"))
}

fn has_musl(target: &str) -> bool {
    if !has_target(target) {
        eprintln!("xtask: without musl: the target {target} is not installed (rustup target add {target})");
        return false;
    }
    let has_compiler = command::succeeds(Command::new("musl-gcc").arg("--version"));
    if !has_compiler {
        eprintln!("xtask: without musl: its C compiler is not installed (apt-get install musl-tools)");
    }
    has_compiler
}

/// Whether the compiler has the standard library of a target.
fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut query = Command::new(rustc);
    query.args(["--print", "target-libdir", "--target", target]);
    command::output(&mut query).is_ok_and(|directory| Path::new(directory.trim()).exists())
}

/// Whether the C compiler knows where the archive is: it answers with a path then.
fn has_static_library() -> bool {
    let answer = command::output(Command::new("cc").arg("-print-file-name=libc.a"));
    answer.is_ok_and(|path| Path::new(path.trim()).is_absolute())
}
