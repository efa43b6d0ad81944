//! The agent's own namespaces, and the mount namespaces of hosts.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    thread::{CapabilitySet, LinkNameSpaceType, UnshareFlags, capabilities, move_into_link_name_space},
};

use super::{FabricError, Step, covers};
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
        let result = covers::cover(resolv_conf)
            .map_err(covers_failed(resolv_conf))
            .and_then(|()| open_own("mnt").map_err(Step::MountNamespace.failed()));
        self.return_to_mounts();
        result
    }

    /// Covers again in a host's mount namespace what is no longer covered there.
    pub(super) fn cover_names(&self, mount: &OwnedFd, resolv_conf: &Path) -> Result<(), FabricError> {
        let text = fs::read(resolv_conf).map_err(covers_failed(resolv_conf))?;
        move_into_link_name_space(mount.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(io::Error::from)
            .map_err(Step::EnterNamespace.failed())?;
        let result = covers::cover_again(resolv_conf, &text).map_err(covers_failed(resolv_conf));
        self.return_to_mounts();
        result
    }

    fn return_to_mounts(&self) {
        move_into_link_name_space(self.mount.as_fd(), Some(LinkNameSpaceType::Mount))
            .expect("the agent owns its mount namespace");
    }
}

fn covers_failed(resolv_conf: &Path) -> impl Fn(io::Error) -> FabricError {
    move |source| FabricError { step: Step::ResolvConf, detail: Some(resolv_conf.display().to_string()), source }
}

/// Makes a time namespace, in which nothing is different, for programs to be known by. Whoever makes it stays outside.
/// `None` where the kernel has none (`CONFIG_TIME_NS`), or the user has as many as are allowed.
///
/// The calling process's children are in it from now on. Before Linux 6.0 such a process can't share its memory with a child
/// (`CLONE_VM`), not even in a thread or a `vfork`: the agent must start neither threads nor programs.
pub(super) fn time_namespace() -> Option<OwnedFd> {
    sys::unshare(UnshareFlags::NEWTIME).ok()?;
    open_own("time_for_children").ok()
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
