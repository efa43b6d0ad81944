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
    /// As its sockets tell it; `None` before Linux 5.14, where they don't.
    cookie: Option<u64>,
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
        Ok(Self { inode, cookie: sys::network_of(socket).ok(), owner, setting: Arc::new(setting) })
    }

    /// Its inode number, as [`crate::process`] wants it.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether a thread is in it.
    pub(super) fn has_thread(&self, thread: u32) -> bool {
        namespace_of(thread, "net") == Some(self.inode)
    }

    /// Whether a socket is of it, for certain.
    pub(super) fn has_socket(&self, socket: BorrowedFd<'_>) -> bool {
        self.cookie.is_some() && sys::network_of(socket).ok() == self.cookie
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

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    /// A place of this process, with whatever is asked for its cookie.
    fn place(socket: BorrowedFd<'_>) -> Place {
        let setting = File::open("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("the setting");
        let own = std::process::id();
        Place::new(namespace_of(own, "net").expect("a namespace"), socket, own, setting).expect("a place")
    }

    #[test]
    fn a_kernel_that_tells_no_cookies_has_places_all_the_same() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert!(place(socket.as_fd()).has_socket(socket.as_fd()));
        // What is no socket tells none, as before Linux 5.14.
        let none = File::open("/dev/null").expect("it is there");
        let place = place(none.as_fd());
        assert!(!place.has_socket(socket.as_fd()) && !place.has_socket(none.as_fd()));
        assert!(place.first_unprivileged().is_ok());
    }
}
