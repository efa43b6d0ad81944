//! A connection as the result of a program's `accept(2)`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::OFlags,
    io::Errno,
    net::{SocketAddrAny, SocketFlags},
};

use crate::{binds::seccomp::Notification, sys};

/// Where a program wants an address, and how many bytes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    address: u64,
    length_at: u64,
    length: usize,
}

/// Why a program did not get a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failed {
    /// The kernel's own call would have failed like this, and left the connection in the queue.
    Before(Errno),
    /// The kernel's own call would have failed like this, and closed the connection.
    Behind(Errno),
    /// The program may not be given this socket. It still waits for an answer.
    Refused(Errno),
    /// It was killed.
    Gone,
}

/// Makes a socket the result of the call. If that fails, nothing waits in calls on it.
pub(super) fn give(
    call: &Notification,
    listener: BorrowedFd<'_>,
    socket: &OwnedFd,
    peer: &SocketAddrAny,
    flags: SocketFlags,
    wants: Option<Wants>,
) -> Result<(), Failed> {
    let gone_or = |failed: Failed| if call.is_valid(listener) { failed } else { Failed::Gone };
    if !wants.is_none_or(|wants| wants.write(call, sys::address_bytes(peer))) {
        return Err(gone_or(Failed::Behind(Errno::FAULT)));
    }
    let blocks = !flags.contains(SocketFlags::NONBLOCK);
    set_blocking(socket, blocks).map_err(Failed::Before)?;
    call.give(listener, socket.as_fd(), flags.contains(SocketFlags::CLOEXEC)).map_err(|error| {
        // It may go back to the packet loop, which waits for nobody.
        let _ = set_blocking(socket, false);
        match Errno::from_io_error(&error).unwrap_or(Errno::IO) {
            errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Failed::Before(errno),
            errno => gone_or(Failed::Refused(errno)),
        }
    })
}

fn set_blocking(socket: &OwnedFd, blocks: bool) -> Result<(), Errno> {
    let status = if blocks { OFlags::empty() } else { OFlags::NONBLOCK };
    rustix::fs::fcntl_setfl(socket, OFlags::RDWR | status)
}

impl Wants {
    /// `None` where the kernel would fail.
    pub(super) fn of(call: &Notification) -> Option<Self> {
        let (address, length_at) = (call.argument(1), call.argument(2));
        let length = call.memory(length_at, size_of::<libc::socklen_t>())?;
        let length = i32::from_ne_bytes(length.try_into().ok()?);
        Some(Self { address, length_at, length: usize::try_from(length).ok()? })
    }

    /// Writes an address as `accept(2)` does: as much of it as there is room for, and how long it is.
    fn write(self, call: &Notification, address: &[u8]) -> bool {
        let length = address.len() as libc::socklen_t;
        let part = &address[..address.len().min(self.length)];
        call.set_memory([(self.address, part), (self.length_at, &length.to_ne_bytes())])
    }
}
