//! Which ports a key had: one file a key in `$XDG_STATE_HOME/minato/leases`, which also settles who does what.
//!
//! `KEY` is locked by whoever reads or changes it, for moments. `KEY.keeper` says what is held, and is locked by the keeper
//! for its life. A keeper ends, or is ended, only with `KEY` locked, and only if that was not written meanwhile: so a command
//! that finds a keeper alive can rely on it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;
use crate::state_dir;

/// The entry of a key, locked until dropped.
#[derive(Debug)]
pub(super) struct Entry {
    file: File,
    keeper: PathBuf,
}

impl Entry {
    /// Opens and locks it.
    pub(super) fn open(key: &str) -> Result<Entry, Failure> {
        let directory = state_dir::path("leases")?;
        let failed = |error| Failure::caused(format!("cannot use {}", directory.display()), error);
        state_dir::create(&directory).map_err(failed)?;
        let file = open(&directory.join(key)).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        Ok(Entry { file, keeper: directory.join(format!("{key}.keeper")) })
    }

    /// The ports that the key had.
    pub(super) fn ports(&self) -> Result<Vec<u16>, Failure> {
        read(&self.file)
    }

    /// Writes its ports down; its keeper counts its time anew.
    pub(super) fn write(&self, ports: &[u16]) -> Result<(), Failure> {
        write(&self.file, ports)?;
        // The kernel's own time of it is some milliseconds coarse, and could be the same for two commands.
        self.file.set_modified(SystemTime::now()).map_err(not_written)
    }

    /// What its keeper holds, if it has one.
    pub(super) fn kept(&self) -> Result<Option<Vec<u16>>, Failure> {
        let file = open(&self.keeper).map_err(|error| Failure::caused("cannot look for the key's keeper", error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(None);
        }
        read(&file).map(Some)
    }

    /// Becomes its keeper, of these ports: the lock lasts as long as what is returned.
    pub(super) fn keeper_of(key: &str, ports: &[u16]) -> Result<File, Failure> {
        let failed = |error: std::io::Error| Failure::caused("cannot become the keeper of the key", error);
        let file = open(&state_dir::path("leases")?.join(format!("{key}.keeper"))).map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| failed(errno.into()))?;
        write(&file, ports)?;
        Ok(file)
    }

    /// When it was written last.
    pub(super) fn written(&self) -> Option<SystemTime> {
        self.file.metadata().and_then(|metadata| metadata.modified()).ok()
    }
}

fn read(mut file: &File) -> Result<Vec<u16>, Failure> {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    read.map_err(|error| Failure::caused("cannot read the ports of the key", error))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn write(mut file: &File, ports: &[u16]) -> Result<(), Failure> {
    let text: String = ports.iter().map(|port| format!("{port}\n")).collect();
    let written = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(text.as_bytes()));
    written.map_err(not_written)
}

fn not_written(error: std::io::Error) -> Failure {
    Failure::caused("cannot write the ports of the key down", error)
}

fn open(path: &std::path::Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
