//! Where a bind counts, and who may bind which ports there.

use std::{
    fs::File,
    io,
    os::{fd::BorrowedFd, unix::fs::FileExt},
    sync::Arc,
};

use rustix::thread::CapabilitySet;

use crate::{process::namespace_of, sys};

/// A network namespace in which programs bind.
#[derive(Clone, Debug)]
pub struct Place {
    inode: u64,
    cookie: u64,
    /// Inode number of the user namespace that it belongs to: a privilege counts here only if one has it there.
    owner: u64,
    /// Its `net.ipv4.ip_unprivileged_port_start`. The kernel gives it 65,535 at most, and takes it for IPv6 and UDP too.
    setting: Arc<File>,
}

impl Place {
    /// The one with this inode number: with a socket and the setting of it, and a process of the user namespace that it
    /// belongs to.
    pub(crate) fn new(inode: u64, socket: BorrowedFd<'_>, owner: u32, setting: File) -> io::Result<Self> {
        let owner = namespace_of(owner, "user").ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { inode, cookie: sys::network_of(socket)?, owner, setting: Arc::new(setting) })
    }

    /// Its inode number, as [`crate::process`] wants it.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether a thread is in it.
    pub(super) fn has_thread(&self, thread: u32) -> bool {
        namespace_of(thread, "net") == Some(self.inode)
    }

    /// Whether a socket is of it.
    pub(super) fn has_socket(&self, socket: BorrowedFd<'_>) -> bool {
        sys::network_of(socket).is_ok_and(|cookie| cookie == self.cookie)
    }

    /// The first port that everybody may bind, if a thread with these capabilities may not bind `port`.
    ///
    /// # Errors
    /// The namespace is gone.
    pub(super) fn first_allowed(&self, port: u16, thread: u32, capabilities: CapabilitySet) -> io::Result<Option<u16>> {
        let first = self.first_unprivileged()?;
        let may = || {
            capabilities.contains(CapabilitySet::NET_BIND_SERVICE) && namespace_of(thread, "user") == Some(self.owner)
        };
        Ok((port < first && !may()).then_some(first))
    }

    fn first_unprivileged(&self) -> io::Result<u16> {
        let mut text = [0; 8];
        let length = self.setting.read_at(&mut text, 0)?;
        let text = std::str::from_utf8(&text[..length]).unwrap_or_default();
        text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    }
}
