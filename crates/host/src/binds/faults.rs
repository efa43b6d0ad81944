//! Which fault of a bind the kernel finds first, where it is not ours to try it.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, bind, sockopt},
};

use super::{BindRefusal, target::Wanted};
use crate::{Transport, sys};

/// Why a program may not bind `socket` to a port below `first_allowed`; `None` if it is for a reason that is not told, or
/// can't be known. `inside` makes an IPv4 socket in the same network.
pub(super) fn first_of(
    socket: BorrowedFd<'_>,
    wanted: &Wanted,
    first_allowed: u16,
    inside: impl FnOnce() -> Option<OwnedFd>,
) -> Option<BindRefusal> {
    let privileged = BindRefusal::Privileged { first: first_allowed };
    match (sockopt::socket_domain(socket).ok()?, wanted.address) {
        // IPv4: is the address one of the network's, and only then: may the program have the port?
        (AddressFamily::INET, SocketAddr::V4(_)) => {
            let is_there = has_address(socket, wanted.address, inside)?;
            Some(if is_there { privileged } else { BindRefusal::NotOurs })
        }
        // IPv6: the other way round. No stream has a multicast address, which is seen before either.
        (AddressFamily::INET6, SocketAddr::V6(address)) => {
            let is_invalid = wanted.transport == Transport::Tcp && address.ip().is_multicast();
            (!is_invalid).then_some(privileged)
        }
        // The family is seen first of all.
        _ => None,
    }
}

/// Whether an IPv4 socket could be bound to an address, whatever its port: another one shows it.
fn has_address(socket: BorrowedFd<'_>, address: SocketAddr, inside: impl FnOnce() -> Option<OwnedFd>) -> Option<bool> {
    // Either one lets a socket have addresses that are not there.
    if is_set(socket, libc::IP_FREEBIND)? || is_set(socket, libc::IP_TRANSPARENT)? {
        return Some(true);
    }
    match bind(inside()?.as_fd(), &SocketAddr::new(address.ip(), 0)) {
        Err(Errno::ADDRNOTAVAIL) => Some(false),
        _ => Some(true),
    }
}

fn is_set(socket: BorrowedFd<'_>, option: libc::c_int) -> Option<bool> {
    let mut value = [0; 4];
    sys::get_option(socket, libc::SOL_IP, option, &mut value).ok()?;
    Some(value != [0; 4])
}
