//! Datagrams.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recvfrom, sendto, socket_with,
    },
};

use super::{Failure, Transfer, stream::socket_address};
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

/// Receives one datagram and its sender; the rest of one that is longer than `buffer` is lost. `None`: none waits.
///
/// # Errors
/// An earlier datagram of a connected socket failed.
pub fn receive_from(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<(usize, SocketAddr)>, Failure> {
    match rustix::io::retry_on_intr(|| recvfrom(socket, &mut *buffer, RecvFlags::empty())) {
        Ok((length, _, Some(sender))) => {
            let sender = socket_address(&sender).map_err(|error| Failure::of(&error))?;
            Ok(Some((length, sender)))
        }
        Ok((_, _, None)) | Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
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
