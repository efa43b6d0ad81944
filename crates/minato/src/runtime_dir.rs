//! Where an engine's socket is: `$XDG_RUNTIME_DIR/minato/NET/`, or `TMPDIR/minato-UID/NET/` without such a directory.
//!
//! A directory under the temporary one could have been made by somebody else first, so what lies there is only
//! trusted when it is ours and nobody else may enter it.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, code};
use crate::flags::Name;

/// The directory of one network's engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RuntimeDir {
    base: PathBuf,
    network: Name,
}

impl RuntimeDir {
    /// The directory of a network for this user. Nothing is created.
    pub(crate) fn of(network: &Name) -> RuntimeDir {
        RuntimeDir { base: of_user(), network: network.clone() }
    }

    /// The directories of all networks of this user that have one, by name.
    pub(crate) fn all() -> Vec<RuntimeDir> {
        in_base(&of_user())
    }

    /// Those of the user's other networks.
    pub(crate) fn siblings(&self) -> Vec<RuntimeDir> {
        in_base(&self.base).into_iter().filter(|other| other != self).collect()
    }

    /// The directory of a network below a given one.
    #[cfg(test)]
    pub(crate) fn below(base: &Path, network: &Name) -> RuntimeDir {
        RuntimeDir { base: base.to_owned(), network: network.clone() }
    }

    /// The directory of another network of this user.
    pub(crate) fn sibling(&self, network: Name) -> RuntimeDir {
        RuntimeDir { base: self.base.clone(), network }
    }

    /// The network's name.
    pub(crate) fn network(&self) -> &Name {
        &self.network
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.base.join(self.network.as_str())
    }

    /// The engine's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("api.sock")
    }

    /// Where an engine writes what it has to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.path().join("engine.log")
    }

    /// Makes the directory with what leads to it, for this user alone.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        for directory in [self.base.clone(), self.path()] {
            match DirBuilder::new().mode(0o700).recursive(true).create(&directory) {
                // An engine that was ending has just removed it, or it is no directory, which the check tells.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(|error| {
                    Failure::caused(format!("cannot make the directory {}", directory.display()), error)
                })?,
            }
        }
        self.check()
    }

    /// Refuses directories that somebody else could have prepared. Missing ones are fine.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        [self.base.clone(), self.path()].iter().try_for_each(|directory| trusted(directory))
    }
}

fn in_base(base: &Path) -> Vec<RuntimeDir> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let mut networks: Vec<Name> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    networks.sort_unstable();
    networks.into_iter().map(|network| RuntimeDir { base: base.to_owned(), network }).collect()
}

/// Where this user's networks are.
fn of_user() -> PathBuf {
    base(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), std::env::temp_dir())
}

/// A relative path would be another one to each command, and to the engine.
fn base(xdg: Option<PathBuf>, temporary: PathBuf) -> PathBuf {
    if let Some(directory) = xdg.filter(|directory| directory.is_absolute()) {
        return directory.join("minato");
    }
    let temporary = if temporary.is_absolute() { temporary } else { PathBuf::from("/tmp") };
    temporary.join(format!("minato-{}", user()))
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn trusted(directory: &Path) -> Result<(), Failure> {
    match std::fs::symlink_metadata(directory) {
        Ok(metadata) => ours(&metadata).map_err(|why| distrusted(directory, why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::caused(format!("cannot look at {}", directory.display()), error)),
    }
}

fn ours(metadata: &Metadata) -> Result<(), String> {
    if !metadata.is_dir() {
        return Err("it is not a directory".into());
    }
    if metadata.uid() != user() {
        return Err(format!("it belongs to user {}, not to you ({})", metadata.uid(), user()));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("others may use it (mode {:o})", metadata.mode() & 0o777));
    }
    Ok(())
}

fn distrusted(directory: &Path, why: String) -> Failure {
    let directory = directory.display();
    Failure::new(code::FAILED, format!("cannot trust the directory {directory}"))
        .detail(why)
        .fix("export XDG_RUNTIME_DIR=DIR    # a directory of your own, mode 0700")
}

#[cfg(test)]
mod tests;
