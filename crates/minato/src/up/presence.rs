//! How a supervisor is found, and kept from having a rival: files in the network's directory.
//!
//! `up.lock` is locked for the supervisor's life and says who it is; `up.json` says what it knows about its hosts. Both
//! go with the network's directory when the engine ends, also after `kill -9`.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::board::State;
use super::logs;
use crate::failure::{Failure, code, describe};
use crate::file::Plan;
use crate::flags::Name;
use crate::runtime_dir::RuntimeDir;

const LOCK: &str = "up.lock";
const STATUS: &str = "up.json";
/// A directory with a file for each host: what its first program finds in its environment.
const ENVIRONMENT: &str = "environment";

/// Who supervises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Supervisor {
    pub(crate) pid: u32,
    /// The files, absolute.
    pub(crate) files: Vec<PathBuf>,
    /// How many seconds its programs may take to end, all of them one after the other.
    pub(crate) seconds_to_end: u64,
}

/// What a supervisor knows, as `minato ps` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Hosts and their states, by name.
    pub(crate) hosts: BTreeMap<Name, State>,
    /// Their programs.
    pub(crate) services: Vec<ServiceStatus>,
}

/// What a program does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServiceStatus {
    /// Its host.
    pub(crate) host: String,
    /// Its name, where the host has several.
    pub(crate) service: Option<String>,
    /// While it runs.
    pub(crate) pid: Option<u32>,
    /// How it ended the last time, as a shell says it.
    pub(crate) exit_code: Option<u8>,
    /// How often it was started again.
    pub(crate) restarts: u32,
}

/// This process as the network's only supervisor.
#[derive(Debug)]
pub(super) struct Presence {
    lock: File,
    directory: PathBuf,
}

impl Presence {
    /// Becomes the supervisor, in a directory that somebody keeps there.
    pub(super) fn claim(directory: &RuntimeDir, plan: &Plan) -> Result<Presence, Failure> {
        let failed = |error: io::Error| Failure::caused(format!("cannot use {}", directory.path().display()), error);
        let path = directory.path().join(LOCK);
        let mut attempts = 100;
        let mut lock = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = file.map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                // Whoever looks whether there is one has it locked for a moment.
                Err(rustix::io::Errno::WOULDBLOCK) if find(directory).is_none() && attempts > 0 => {
                    attempts -= 1;
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    continue;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(refused(directory)),
                Err(error) => return Err(failed(error.into())),
            }
            // One that was just ending may have removed the file.
            let current = fs::metadata(&path).map(|metadata| metadata.ino());
            if current.is_ok_and(|current| file.metadata().is_ok_and(|own| own.ino() == current)) {
                break file;
            }
        };
        let seconds_to_end = plan.hosts.iter().map(|host| host.stop_timeout.as_secs()).fold(0, u64::saturating_add);
        let own = Supervisor { pid: std::process::id(), files: plan.files.clone(), seconds_to_end };
        let text = serde_json::to_vec(&own).map_err(|error| failed(error.into()))?;
        lock.set_len(0).and_then(|()| lock.write_all(&text)).map_err(failed)?;
        Ok(Presence { lock, directory: directory.path() })
    }

    /// Writes down what is known. When that fails, as on a full disk, `ps` shows the state before.
    pub(super) fn write(
        &self,
        hosts: &BTreeMap<Name, State>,
        services: &BTreeMap<(Name, Option<Name>), ServiceStatus>,
    ) {
        let status = Status { hosts: hosts.clone(), services: services.values().cloned().collect() };
        let new = self.directory.join("up.json.new");
        let write = || -> io::Result<()> {
            fs::write(&new, serde_json::to_vec(&status)?)?;
            fs::rename(&new, self.directory.join(STATUS))
        };
        let _ = write();
    }

    /// Writes down what the first program of a host finds in its environment. When that fails, `exec` goes without.
    pub(super) fn write_environment(&self, host: &Name, variables: &[(String, String)]) {
        let directory = self.directory.join(ENVIRONMENT);
        let write = || -> io::Result<()> {
            DirBuilder::new().mode(0o700).recursive(true).create(&directory)?;
            let new = directory.join("new");
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(variables)?)?;
            fs::rename(&new, directory.join(environment_file(host.as_str())))
        };
        let _ = write();
    }
}

impl Drop for Presence {
    /// The network may go on with hosts of others.
    fn drop(&mut self) {
        let is_own = |metadata: fs::Metadata| self.lock.metadata().is_ok_and(|own| own.ino() == metadata.ino());
        if !fs::metadata(self.directory.join(LOCK)).is_ok_and(is_own) {
            return;
        }
        remove_all(&self.directory);
    }
}

fn remove_all(directory: &Path) {
    let _ = fs::remove_file(directory.join(STATUS));
    let _ = fs::remove_dir_all(directory.join(logs::DIRECTORY));
    let _ = fs::remove_dir_all(directory.join(ENVIRONMENT));
    let _ = fs::remove_file(directory.join(LOCK));
}

/// The supervisor of a network, with a handle that means this very process; `None` if there is none.
pub(super) fn find(directory: &RuntimeDir) -> Option<(Supervisor, rustix::fd::OwnedFd)> {
    let mut file = File::open(directory.path().join(LOCK)).ok()?;
    let is_locked = |file: &File| flock(file, FlockOperation::NonBlockingLockShared).is_err();
    if !is_locked(&file) {
        return None;
    }
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    let supervisor: Supervisor = serde_json::from_str(&text).ok()?;
    let pid = Pid::from_raw(i32::try_from(supervisor.pid).ok()?)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The number may have passed to another process before, but not if the first one still holds the lock.
    is_locked(&file).then_some((supervisor, handle))
}

/// Whether a network has a supervisor.
pub(super) fn is_up(directory: &RuntimeDir) -> bool {
    File::open(directory.path().join(LOCK))
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// What the supervisor of a network knows; `None` if it has none.
pub(crate) fn status(directory: &RuntimeDir) -> Option<Status> {
    let status = || serde_json::from_slice(&fs::read(directory.path().join(STATUS)).ok()?).ok();
    is_up(directory).then(status)?
}

/// What the first program of a host finds in its environment, if the network's supervisor runs that host.
pub(crate) fn environment(directory: &RuntimeDir, host: &str) -> Vec<(String, String)> {
    let file = directory.path().join(ENVIRONMENT).join(environment_file(host));
    let read = || serde_json::from_slice(&fs::read(file).ok()?).ok();
    is_up(directory).then(read).flatten().unwrap_or_default()
}

/// A name of its own also for a host that is called "new".
fn environment_file(host: &str) -> String {
    format!("{host}.json")
}

/// Whether this host is one of the supervisor's, or was.
pub(super) fn knows(directory: &RuntimeDir, host: &str) -> bool {
    status(directory).is_none_or(|status| status.hosts.keys().any(|name| name.as_str() == host))
}

/// Removes what a supervisor that was killed has left in a network that goes on.
pub(super) fn clear(directory: &RuntimeDir) {
    if !is_up(directory) {
        remove_all(&directory.path());
    }
}

/// Another one supervises.
fn refused(directory: &RuntimeDir) -> Failure {
    let network = directory.network();
    let failure = Failure::new(code::CONFLICT, format!("network '{network}' is up already"));
    let failure = match find(directory) {
        Some((supervisor, _)) => {
            let files = supervisor.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            let process = minato_host::process::describe(supervisor.pid).map(crate::machine::process);
            let who = process.map_or_else(|| format!("pid {}", supervisor.pid), |process| describe(&process));
            failure.detail(format!("by {who}")).detail(format!("from {files}"))
        }
        None => failure,
    };
    failure
        .fix("minato up --instance NAME    # a second one beside it")
        .fix(format!("minato down --network {network}    # ends it"))
}

#[cfg(test)]
mod tests;
