//! The agent's own namespaces, and the mount namespaces of hosts.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::{CapabilitySet, LinkNameSpaceType, UnshareFlags, capabilities, move_into_link_name_space},
};

use super::{FabricError, Step, overlay};
use crate::sys;

/// The namespaces that the agent lives in between requests.
pub(super) struct Base {
    /// The user namespace; `None` for real root (decision D1).
    pub(super) user: Option<OwnedFd>,
    network: OwnedFd,
    mount: OwnedFd,
}

impl Base {
    /// Leaves the caller's namespaces. The process must have one thread.
    pub(super) fn unshare() -> Result<Self, FabricError> {
        let user = if is_privileged() { None } else { Some(user_namespace()?) };
        sys::unshare(UnshareFlags::NEWNS).map_err(Step::MountNamespace.failed())?;
        // Mounts that the machine makes later still appear in hosts, and nothing that a host mounts appears outside.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", slave).map_err(io::Error::from).map_err(Step::MountNamespace.failed())?;
        sys::unshare(UnshareFlags::NEWNET).map_err(Step::NetworkNamespace.failed())?;
        let network = open_own("net").map_err(Step::NetworkNamespace.failed())?;
        let mount = open_own("mnt").map_err(Step::MountNamespace.failed())?;
        Ok(Self { user, network, mount })
    }

    /// The fabric's network namespace.
    pub(super) fn network(&self) -> &OwnedFd {
        &self.network
    }

    /// Goes back to the fabric's network namespace. An agent that can't do that must not go on.
    pub(super) fn return_to_fabric(&self) {
        join_network(&self.network).expect("the agent owns the fabric namespace");
    }

    /// Makes a mount namespace in which `resolv_conf` stands at `/etc/resolv.conf`.
    pub(super) fn mount_namespace(&self, resolv_conf: &Path) -> Result<OwnedFd, FabricError> {
        sys::unshare(UnshareFlags::NEWNS).map_err(Step::MountNamespace.failed())?;
        let result = mount_resolv_conf(resolv_conf)
            .and_then(|()| cover_name_services())
            .map_err(|source| FabricError {
                step: Step::ResolvConf,
                detail: Some(resolv_conf.display().to_string()),
                source,
            })
            .and_then(|()| open_own("mnt").map_err(Step::MountNamespace.failed()));
        move_into_link_name_space(self.mount.as_fd(), Some(LinkNameSpaceType::Mount))
            .expect("the agent owns its mount namespace");
        result
    }
}

/// Makes the calling thread join a network namespace.
pub(super) fn join_network(namespace: &OwnedFd) -> Result<(), FabricError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(io::Error::from)
        .map_err(Step::EnterNamespace.failed())
}

/// Opens one of the calling thread's namespaces.
pub(super) fn open_own(kind: &str) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/thread-self/ns/{kind}"))?.into())
}

/// The inode number of a namespace.
pub(super) fn inode(namespace: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(namespace)?.st_ino)
}

/// Real root, as far as namespaces are concerned (decision D1).
pub(crate) fn is_privileged() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

/// Makes a user namespace in which the caller is itself.
fn user_namespace() -> Result<OwnedFd, FabricError> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER).map_err(Step::UserNamespace.failed())?;
    let map = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|source| FabricError {
            step: Step::IdMap,
            detail: Some(file.to_owned()),
            source,
        })
    };
    map("setgroups", "deny".into())?;
    map("uid_map", format!("{user} {user} 1"))?;
    map("gid_map", format!("{group} {group} 1"))?;
    open_own("user").map_err(Step::UserNamespace.failed())
}

/// Where programs have services of the machine resolve names for them, past the servers of resolv.conf: nss-resolve, and
/// glibc's cache.
const NAME_SERVICES: [&str; 2] = ["/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket"];

/// Covers the sockets of these services, if there are any: nobody can connect to the null device, and then programs ask the
/// servers of resolv.conf.
fn cover_name_services() -> io::Result<()> {
    use rustix::io::Errno;
    NAME_SERVICES.into_iter().try_for_each(|path| match mount_bind("/dev/null", path) {
        // What can't be found or looked into from here can't be from the host either.
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(()),
        Err(error) => Err(error.into()),
    })
}

/// Covers `/etc/resolv.conf`, following a symbolic link; where the file (or the link's target) is missing, covers
/// `/etc` with itself and the file, as nothing may be created in the machine's own.
fn mount_resolv_conf(source: &Path) -> io::Result<()> {
    match mount_bind(source, "/etc/resolv.conf") {
        Err(rustix::io::Errno::NOENT) if source.exists() => overlay::add_resolv_conf(source),
        result => Ok(result?),
    }
}
