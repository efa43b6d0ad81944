//! Getting a program into a host: what a forked child does between `fork` and `exec`.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use rustix::{
    fs::{Mode, OFlags},
    thread::{
        CapabilitySet, LinkNameSpaceType, UnshareFlags, capabilities, configure_capability_in_ambient_set,
        move_into_link_name_space, set_capabilities,
    },
};
use serde::{Deserialize, Serialize};

use crate::sys;

/// Paths of a host's namespaces, in the order in which they are joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// User namespace; `None` when the network was made by real root, without one.
    pub user: Option<String>,
    /// Network namespace.
    pub network: String,
    /// Mount namespace.
    pub mount: String,
    /// Time namespace, by which a host's processes are known; `None` where the kernel has none.
    pub time: Option<String>,
}

/// As whom the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// As the caller.
    #[default]
    Own,
    /// As root inside a nested user namespace that maps 0 to the caller. The same as `Own` for real root.
    MapRoot,
    /// As the caller, and able to administrate the host's network: addresses, routes, rules of the firewall.
    NetAdmin,
}

/// A host's namespaces, opened: ready to be joined by a child, also when the agent is gone meanwhile.
#[derive(Debug)]
pub struct Enter {
    user: Option<OwnedFd>,
    network: OwnedFd,
    mount: OwnedFd,
    time: Option<OwnedFd>,
    net_admin: bool,
    /// Lines for the nested user namespace's `uid_map` and `gid_map`.
    map_root: Option<(String, String)>,
}

impl Enter {
    /// Opens the namespaces.
    ///
    /// # Errors
    /// The agent is gone, or belongs to another user.
    pub fn open(namespaces: &Namespaces, identity: Identity) -> Result<Self, EnterError> {
        let open = |path: &String| match File::open(path) {
            Ok(file) => Ok(OwnedFd::from(file)),
            Err(source) => Err(EnterError { path: path.clone(), source }),
        };
        let user = namespaces.user.as_ref().map(open).transpose()?;
        let time = namespaces.time.as_ref().map(open).transpose()?;
        let map_root = (identity == Identity::MapRoot && user.is_some()).then(|| {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            (format!("0 {uid} 1"), format!("0 {gid} 1"))
        });
        let net_admin = identity == Identity::NetAdmin && user.is_some();
        let (network, mount) = (open(&namespaces.network)?, open(&namespaces.mount)?);
        Ok(Self { user, network, mount, time, net_admin, map_root })
    }

    /// Makes `command` join them in its child before it executes the program. Working directory, environment,
    /// terminal and signals stay as they are.
    ///
    /// A failure in the child comes out of `Command::spawn` as its `io::Error`.
    pub fn apply(self, command: &mut Command) {
        // SAFETY: `join` runs in the child of a possibly threaded process: it makes system calls only, and neither
        // allocates nor takes a lock.
        unsafe { command.pre_exec(move || self.join()) };
    }

    /// Joins the namespaces. Async-signal-safe.
    fn join(&self) -> io::Result<()> {
        // Joining a mount namespace moves to its root: remember the way back.
        let directory = rustix::fs::open(c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut buffer = [0u8; libc::PATH_MAX as usize];
        let path = current_directory(&mut buffer);
        if let Some(user) = &self.user {
            move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
        }
        move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
        move_into_link_name_space(self.mount.as_fd(), Some(LinkNameSpaceType::Mount))?;
        if let Some(time) = &self.time {
            move_into_link_name_space(time.as_fd(), Some(LinkNameSpaceType::Time))?;
        }
        return_to(&directory, path)?;
        if self.net_admin {
            keep_net_admin()?;
        }
        if let Some((uid_map, gid_map)) = &self.map_root {
            sys::unshare(UnshareFlags::NEWUSER)?;
            write(c"/proc/self/setgroups", "deny")?;
            write(c"/proc/self/uid_map", uid_map)?;
            write(c"/proc/self/gid_map", gid_map)?;
        }
        Ok(())
    }
}

/// Who owns a user namespace can do everything in it, but only until the next `exec`: capabilities(7) has it that what is in
/// the ambient set stays.
fn keep_net_admin() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.inheritable |= CapabilitySet::NET_ADMIN;
    set_capabilities(None, sets)?;
    Ok(configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true)?)
}

/// Why a host can't be entered.
#[derive(Debug, thiserror::Error)]
#[error("can't open the namespace {path}: {source}")]
pub struct EnterError {
    /// Path of the namespace.
    pub path: String,
    /// The kernel's reason.
    pub source: io::Error,
}

/// Goes to the directory by its path, as only so it has one in this mount namespace too; or to the very directory, when
/// there is no such path: it was removed, or the caller has mounts of its own.
fn return_to(directory: &OwnedFd, path: Option<&CStr>) -> io::Result<()> {
    let wanted = rustix::fs::fstat(directory)?;
    if path.is_some_and(|path| rustix::process::chdir(path).is_ok()) {
        let reached = rustix::fs::stat(c".")?;
        if (reached.st_dev, reached.st_ino) == (wanted.st_dev, wanted.st_ino) {
            return Ok(());
        }
    }
    Ok(rustix::process::fchdir(directory)?)
}

/// The path of the working directory, without allocation; `None` if it has none.
fn current_directory(buffer: &mut [u8]) -> Option<&CStr> {
    // SAFETY: the pointer and the length describe `buffer`.
    let result = unsafe { libc::getcwd(buffer.as_mut_ptr().cast(), buffer.len()) };
    let path = if result.is_null() { None } else { CStr::from_bytes_until_nul(buffer).ok() };
    path.filter(|path| path.to_bytes().starts_with(b"/"))
}

/// Writes a file in `/proc`, without allocation.
fn write(path: &CStr, text: &str) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}
