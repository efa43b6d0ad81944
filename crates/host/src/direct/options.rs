//! What a program has set on a socket, carried over to another one.

use std::{io, os::fd::BorrowedFd};

use libc::{IPPROTO_TCP, SOL_IP, SOL_IPV6, SOL_SOCKET, c_int};

use crate::{Family, sys};

/// An option: its level, its name, and how many bytes its value has.
type Name = (c_int, c_int, usize);

/// Options of every TCP socket that are carried over, and that programs set often: asking about each time would cost more
/// than to read them.
const OFTEN: &[Name] = &[
    (SOL_SOCKET, libc::SO_REUSEADDR, 4),
    (SOL_SOCKET, libc::SO_KEEPALIVE, 4),
    (SOL_SOCKET, libc::SO_LINGER, 8),
    (SOL_SOCKET, libc::SO_RCVTIMEO, 16),
    (SOL_SOCKET, libc::SO_SNDTIMEO, 16),
    (IPPROTO_TCP, libc::TCP_NODELAY, 4),
    (IPPROTO_TCP, libc::TCP_CORK, 4),
    (IPPROTO_TCP, libc::TCP_KEEPIDLE, 4),
    (IPPROTO_TCP, libc::TCP_KEEPINTVL, 4),
    (IPPROTO_TCP, libc::TCP_KEEPCNT, 4),
    (IPPROTO_TCP, libc::TCP_CONGESTION, 16),
    (IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 4),
];

/// And of those of IPv6.
const OFTEN_V6: &[Name] = &[(SOL_IPV6, libc::IPV6_V6ONLY, 4)];

/// The kernel doubles what these are set to. Set often too.
const DOUBLED: &[Name] = &[(SOL_SOCKET, libc::SO_SNDBUF, 4), (SOL_SOCKET, libc::SO_RCVBUF, 4)];

/// What is carried over as well, but seldom set. The filter asks when it is, and only from then on these are looked at.
const SELDOM: &[Name] = &[
    (SOL_SOCKET, libc::SO_REUSEPORT, 4),
    (SOL_SOCKET, libc::SO_OOBINLINE, 4),
    (SOL_SOCKET, libc::SO_DONTROUTE, 4),
    (SOL_SOCKET, libc::SO_RCVLOWAT, 4),
    (SOL_SOCKET, libc::SO_ZEROCOPY, 4),
    (SOL_SOCKET, SO_MAX_PACING_RATE, 8),
    (SOL_IP, libc::IP_TOS, 4),
    // Behind the type of service, which sets it.
    (SOL_SOCKET, libc::SO_PRIORITY, 4),
    (SOL_IP, libc::IP_TTL, 4),
    (SOL_IP, libc::IP_MINTTL, 4),
    (SOL_IP, libc::IP_MTU_DISCOVER, 4),
    (SOL_IP, libc::IP_RECVERR, 4),
    (SOL_IP, IP_LOCAL_PORT_RANGE, 4),
    (IPPROTO_TCP, libc::TCP_MAXSEG, 4),
    (IPPROTO_TCP, libc::TCP_SYNCNT, 4),
    (IPPROTO_TCP, libc::TCP_LINGER2, 4),
    (IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, 4),
    (IPPROTO_TCP, libc::TCP_THIN_LINEAR_TIMEOUTS, 4),
    (IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 4),
    (IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 4),
    (IPPROTO_TCP, libc::TCP_INQ, 4),
];

/// And of those of IPv6.
const SELDOM_V6: &[Name] = &[
    (SOL_IPV6, libc::IPV6_UNICAST_HOPS, 4),
    (SOL_IPV6, libc::IPV6_TCLASS, 4),
    (SOL_IPV6, libc::IPV6_MTU_DISCOVER, 4),
    (SOL_IPV6, libc::IPV6_RECVERR, 4),
    (SOL_IPV6, libc::IPV6_AUTOFLOWLABEL, 4),
    (SOL_IPV6, libc::IPV6_ADDR_PREFERENCES, 4),
];

/// What means something within one network only, or can't be read again once set. Asked about too.
const PECULIAR: &[Name] = &[
    (SOL_SOCKET, libc::SO_MARK, 4),
    (SOL_SOCKET, libc::SO_BINDTOIFINDEX, 4),
    FILTER,
    (SOL_IP, libc::IP_OPTIONS, 16),
    (SOL_IP, libc::IP_TRANSPARENT, 4),
    (IPPROTO_TCP, libc::TCP_REPAIR, 4),
    (IPPROTO_TCP, libc::TCP_ULP, 16),
];

/// Other names under which those are set.
const SYNONYMS: &[(c_int, c_int)] =
    &[(SOL_SOCKET, libc::SO_BINDTODEVICE), (SOL_SOCKET, libc::SO_ATTACH_BPF), (SOL_IPV6, libc::IPV6_TRANSPARENT)];

/// Level and name of each option that the filter is to ask about, level by level.
pub(crate) fn asked_about() -> Vec<(c_int, c_int)> {
    let names = [SELDOM, SELDOM_V6, PECULIAR].concat().into_iter().map(|(level, name, _)| (level, name));
    // A socket without a connection has no upper layer protocol, and TLS in the kernel is one for each connection.
    let names = names.filter(|name| *name != (IPPROTO_TCP, libc::TCP_ULP));
    let mut names: Vec<_> = names.chain(SYNONYMS.iter().copied()).collect();
    names.sort_unstable();
    names
}

/// What a connection, and the lock, change by themselves.
const UNSTEADY: &[Name] = &[FILTER, (IPPROTO_TCP, libc::TCP_MAXSEG, 4), (IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, 4)];
/// How many statements a filter has: `SO_GET_FILTER`, which has the same number.
const FILTER: Name = (SOL_SOCKET, libc::SO_ATTACH_FILTER, 0);
/// `asm-generic/socket.h`, as on all processors that there is a filter for.
const SO_MAX_PACING_RATE: c_int = 47;
/// Linux 6.3.
const IP_LOCAL_PORT_RANGE: c_int = 51;

/// The value of an option with its length; `None` where there is no such option.
type Value = Option<([u8; 16], usize)>;

/// The options of a socket of which nothing was set.
#[derive(Debug)]
pub(super) struct Options {
    family: Family,
    values: Vec<Value>,
    /// Whether sockets that are compared have been connected, or it was tried.
    used: bool,
}

impl Options {
    pub(super) fn of(socket: BorrowedFd<'_>, family: Family) -> Self {
        Self { family, values: all(family).map(|(name, _)| value(socket, name)).collect(), used: false }
    }

    /// The same, for sockets of ours that have been connected, or it was tried.
    pub(super) fn but_used(self) -> Self {
        Self { used: true, ..self }
    }

    /// Sets on `to` what is set on `from`, which was like this one, and tells how many options that were.
    ///
    /// # Errors
    /// Something is set that can't be carried over, or not by us. `to` is as it was.
    pub(super) fn carry_over(&self, extent: Extent, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<usize> {
        let wanted = self.set_on(from, extent)?;
        let mut changed = Vec::new();
        for option in &wanted {
            let before = value(to, option.name);
            // Some can't be set any more on a connection, which may have them from where it was accepted.
            if before == Some(option.value) {
                continue;
            }
            if let Err(error) = option.put(to) {
                changed.iter().rev().for_each(|before: &Set| drop(before.put(to)));
                return Err(error);
            }
            changed.extend(before.map(|value| Set { value, ..*option }));
        }
        Ok(wanted.len())
    }

    /// What is set on a socket.
    fn set_on(&self, socket: BorrowedFd<'_>, extent: Extent) -> io::Result<Vec<Set>> {
        let mut set = Vec::new();
        let count = match extent {
            Extent::Often => often(self.family).count(),
            Extent::All => self.values.len(),
        };
        for ((name, how), before) in all(self.family).zip(&self.values).take(count) {
            let now = value(socket, name);
            if now == *before || self.used && UNSTEADY.contains(&name) {
                continue;
            }
            let (Some(value), true) = (now, how != How::Peculiar) else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            set.push(Set { name, how, value });
        }
        Ok(set)
    }
}

/// An option with a value.
#[derive(Clone, Copy, Debug)]
struct Set {
    name: Name,
    how: How,
    value: ([u8; 16], usize),
}

impl Set {
    fn put(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let Self { name: (level, name, _), how, value: (bytes, length) } = self;
        if *how == How::Halved {
            let [a, b, c, d, ..] = *bytes;
            return sys::set_option(socket, *level, *name, c_int::from_ne_bytes([a, b, c, d]) / 2);
        }
        sys::set_bytes(socket, *level, *name, &bytes[..*length])
    }
}

/// Which options may have been set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// None of those that the filter asks about.
    Often,
    All,
}

/// What becomes of an option that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Alike,
    Halved,
    Peculiar,
}

/// All options, those first that are often set.
fn all(family: Family) -> impl Iterator<Item = (Name, How)> {
    let v6 = if family == Family::V6 { SELDOM_V6 } else { &[] };
    let alike = SELDOM.iter().chain(v6).map(|name| (*name, How::Alike));
    often(family).chain(alike).chain(PECULIAR.iter().map(|name| (*name, How::Peculiar)))
}

fn often(family: Family) -> impl Iterator<Item = (Name, How)> {
    let v6 = if family == Family::V6 { OFTEN_V6 } else { &[] };
    let alike = OFTEN.iter().chain(v6).map(|name| (*name, How::Alike));
    alike.chain(DOUBLED.iter().map(|name| (*name, How::Halved)))
}

fn value(socket: BorrowedFd<'_>, (level, name, size): Name) -> Value {
    let mut bytes = [0; 16];
    let length = sys::get_option(socket, level, name, &mut bytes[..size]).ok()?;
    Some((bytes, length))
}

#[cfg(test)]
mod tests;
