//! What a notification is about: which socket of which process is to be bound to what.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::OnceLock,
};

use rustix::{
    net::{SocketType, getsockname, sockopt},
    process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
    thread::CapabilitySet,
};

use super::{Listening, Place, seccomp::Notification};
use crate::{Transport, process::read_lossy};

/// A socket that a program binds.
pub(crate) struct Target {
    /// Our copy of its descriptor.
    pub(crate) socket: OwnedFd,
    /// What it is to be bound to.
    pub(crate) wanted: Wanted,
    /// Its process.
    pub(crate) pid: u32,
    /// The first port that everybody may bind, if the program may not bind this one.
    pub(crate) first_allowed: Option<u16>,
}

/// An address with a port, as a program asks for it.
pub(crate) struct Wanted {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    /// As the program has spelled it.
    pub(crate) bytes: Vec<u8>,
}

/// `struct sockaddr_storage`; the kernel refuses what is longer.
const LONGEST: usize = 128;

impl Target {
    /// `None` where the kernel is to do it by itself.
    pub(crate) fn of(notification: &Notification, place: &Place) -> Option<Self> {
        let thread = notification.thread();
        let bytes = spelled(notification)?;
        let address = parse(&bytes).filter(|address| address.port() != 0)?;
        let (socket, transport, confinement) = held(notification, place)?;
        if !confinement.is_as(own_confinement()?) {
            return None;
        }
        let first_allowed = place.first_allowed(address.port(), thread, confinement.capabilities).ok()?;
        let wanted = Wanted { address, transport, bytes };
        Some(Self { socket, wanted, pid: confinement.process, first_allowed })
    }
}

/// Our copy of the TCP socket that a `listen(2)` is about, which is bound. `None` where the kernel is to do it by itself.
/// Landlock says where a program may bind, not where it may listen then, so that it is of no account here.
pub(super) fn listener(notification: &Notification, place: &Place) -> Option<(OwnedFd, Listening)> {
    let (socket, transport, confinement) = held(notification, place)?;
    let address = getsockname(&socket).and_then(SocketAddr::try_from).ok()?;
    let may = transport == Transport::Tcp && confinement.label == own_confinement()?.label && address.port() != 0;
    let v6_only = address.is_ipv6() && sockopt::ipv6_v6only(&socket).ok()?;
    may.then_some((socket, Listening { address, v6_only }))
}

/// Our copy of the socket that a call has as its first argument, if it is of the host.
fn held(notification: &Notification, place: &Place) -> Option<(OwnedFd, Transport, Confinement)> {
    let thread = notification.thread();
    if !place.has_thread(thread) {
        return None;
    }
    let confinement = Confinement::of(&thread.to_string())?;
    // The lower half of the register; descriptors are ints.
    let descriptor = notification.argument(0) as i32;
    let socket = take(confinement.process, descriptor)?;
    // A thread may have descriptors of its own.
    let link = fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).ok()?;
    let inode = rustix::fs::fstat(&socket).ok()?.st_ino;
    if link.to_str() != Some(&format!("socket:[{inode}]")) {
        return None;
    }
    let transport = transport(&socket)?;
    place.has_socket(socket.as_fd()).then_some((socket, transport, confinement))
}

/// The address that a call has as its second argument, as the program has spelled it.
pub(crate) fn spelled(notification: &Notification) -> Option<Vec<u8>> {
    let length = usize::try_from(notification.argument(2)).ok().filter(|length| *length <= LONGEST)?;
    notification.memory(notification.argument(1), length)
}

/// Copies a descriptor of another process.
fn take(process: u32, descriptor: i32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(process.try_into().ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, descriptor as ForeignRawFd, PidfdGetfdFlags::empty()).ok()
}

/// TCP or UDP; `None` for another kind of socket.
pub(crate) fn transport(socket: &OwnedFd) -> Option<Transport> {
    use rustix::net::{AddressFamily, ipproto};
    let domain = sockopt::socket_domain(socket).ok()?;
    if domain != AddressFamily::INET && domain != AddressFamily::INET6 {
        return None;
    }
    let protocol = sockopt::socket_protocol(socket).ok()?;
    match (sockopt::socket_type(socket).ok()?, protocol) {
        (SocketType::STREAM, Some(ipproto::TCP)) => Some(Transport::Tcp),
        (SocketType::DGRAM, Some(ipproto::UDP)) => Some(Transport::Udp),
        _ => None,
    }
}

/// Reads `struct sockaddr_in` and `sockaddr_in6`, of which the kernel takes the first 24 bytes too (RFC 2133's).
pub(crate) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET if bytes.len() >= 16 => {
            let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(address).into(), port))
        }
        libc::AF_INET6 => {
            let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(address).into(), port))
        }
        _ => None,
    }
}

/// What keeps a process from things that others of its user may do, of which a bind on its behalf would be free; and what
/// it may do beyond them.
#[derive(Debug, PartialEq, Eq)]
struct Confinement {
    process: u32,
    /// Landlock needs it, unless its user is an administrator.
    no_new_privileges: bool,
    /// The label of AppArmor or SELinux; empty without either.
    label: String,
    /// In effect, in its own user namespace.
    capabilities: CapabilitySet,
}

impl Confinement {
    fn of(thread: &str) -> Option<Self> {
        let status = read_lossy(format!("/proc/{thread}/status"))?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let label = fs::read_to_string(format!("/proc/{thread}/attr/current")).unwrap_or_default();
        let capabilities = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
        Some(Self {
            process: field("Tgid:")?.parse().ok()?,
            no_new_privileges: field("NoNewPrivs:")? == "1",
            label,
            capabilities: CapabilitySet::from_bits_retain(capabilities),
        })
    }

    fn is_as(&self, other: &Self) -> bool {
        (self.no_new_privileges, &self.label) == (other.no_new_privileges, &other.label)
    }
}

/// This process's own, which does not change.
fn own_confinement() -> Option<&'static Confinement> {
    static OWN: OnceLock<Option<Confinement>> = OnceLock::new();
    OWN.get_or_init(|| Confinement::of("self")).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_programs_spell_them() {
        let mut v4 = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        v4.extend([0, 80, 10, 77, 0, 2]);
        assert_eq!(parse(&v4), None, "the kernel wants all 16 bytes");
        v4.resize(16, 0);
        assert_eq!(parse(&v4), Some("10.77.0.2:80".parse().unwrap()));
        let mut v6 = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        v6.extend([0x1f, 0x90, 0, 0, 0, 0]);
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(parse(&v6), Some("[::1]:8080".parse().unwrap()));
        for length in 0..24 {
            assert_eq!(parse(&v6[..length]), None);
        }
        assert_eq!(parse(&[1, 0, b'/', b'x']), None, "a path");
    }

    #[test]
    fn a_process_whose_name_is_no_utf8_is_confined_like_others() {
        let thread = std::thread::spawn(|| {
            let id = rustix::thread::gettid().to_string();
            fs::write(format!("/proc/self/task/{id}/comm"), b"\xff\xfex").unwrap();
            Confinement::of(&id)
        });
        assert!(thread.join().unwrap().unwrap().is_as(own_confinement().unwrap()));
    }

    #[test]
    fn this_process_is_confined_as_itself() {
        assert!(Confinement::of("self").unwrap().is_as(own_confinement().unwrap()));
    }
}
