//! Datagrams.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send, sendto, socket_with,
    },
};

use super::{Failure, Transfer, take_error};
use crate::sys;

/// A UDP socket that is connected to `remote`, so that only its answers arrive and every error of the path comes back:
/// as `EPOLLERR` and [`super::take_error`].
///
/// # Errors
/// As [`super::connect`].
pub fn udp_connect(remote: SocketAddr) -> Result<OwnedFd, Failure> {
    let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    report_errors(socket.as_fd(), remote.is_ipv6())?;
    connect(&socket, &remote)?;
    Ok(socket)
}

/// Sends a datagram on a connected socket. What the socket's buffer has no room for is lost, as on any link.
///
/// # Errors
/// A failure that is known at once, or of an earlier datagram that nobody answered.
pub fn udp_send(socket: BorrowedFd<'_>, payload: &[u8]) -> Result<(), Failure> {
    let send = || send(socket, payload, SendFlags::NOSIGNAL);
    match send() {
        Err(errno) if !is_lost(errno) => {
            let failure = failure(socket, errno);
            // It may have been the error of an earlier datagram, and this one was not sent: if so, it is sent now.
            if send().is_ok() && failure != Failure::Refused {
                return Ok(());
            }
            Err(failure)
        }
        _ => Ok(()),
    }
}

/// Whether a datagram is lost as on any link: there is no room for it.
pub(super) fn is_lost(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::NOBUFS | Errno::INTR)
}

/// Receives a datagram on a connected socket; `None` when there is none.
///
/// # Errors
/// An earlier datagram failed.
pub fn udp_receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
    match recv(socket, buffer, RecvFlags::empty()) {
        Ok((length, _)) => Ok(Some(length)),
        // What waits only in the error queue (it has no more than that).
        Err(Errno::AGAIN | Errno::INTR) => take_error(socket).map_or(Ok(None), Err),
        Err(errno) => Err(failure(socket, errno)),
    }
}

/// The failure that a call reported, with the socket's error queue emptied.
pub(super) fn failure(socket: BorrowedFd<'_>, errno: Errno) -> Failure {
    let _ = take_error(socket);
    errno.into()
}

/// Sends one datagram. [`Transfer::WouldBlock`]: the socket's buffer is full, and the datagram as good as lost.
///
/// # Errors
/// A failure that is known at once, or of an earlier datagram.
pub fn send_to(socket: BorrowedFd<'_>, remote: SocketAddr, payload: &[u8]) -> Result<Transfer, Failure> {
    match rustix::io::retry_on_intr(|| sendto(socket, payload, SendFlags::empty(), &remote)) {
        Ok(length) => Ok(Transfer::Moved(length)),
        Err(Errno::AGAIN) => Ok(Transfer::WouldBlock),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes every ICMP error an error of the socket. Without it only "port unreachable" is.
pub(super) fn report_errors(socket: BorrowedFd<'_>, v6: bool) -> Result<(), Failure> {
    let (level, name) = if v6 { (libc::SOL_IPV6, libc::IPV6_RECVERR) } else { (libc::SOL_IP, libc::IP_RECVERR) };
    sys::set_option(socket, level, name, 1).map_err(|error| Failure::of(&error))
}
