//! Datagrams of a socket that is bound to every address of the machine: which of them a datagram came to, so that the
//! answer can leave from there. A client that is connected takes answers from nowhere else.

use std::{
    io,
    mem::zeroed,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::BorrowedFd,
};

use rustix::io::Errno;

use super::{
    Failure, Transfer,
    message::{self, Control},
};
use crate::sys;

/// An address of the machine, as a datagram came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    address: IpAddr,
    /// The interface, for addresses that mean nothing without it; otherwise 0.
    interface: u32,
}

impl Local {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The address in a control message of this level and kind, if it is one.
    pub(super) fn told(level: libc::c_int, kind: libc::c_int, data: &[u8]) -> Option<Self> {
        match (level, kind) {
            (libc::SOL_IP, libc::IP_PKTINFO) => {
                let info: libc::in_pktinfo = message::read(data)?;
                // Not the destination as sent, which may be a broadcast address, but the own address that it stands for.
                let address = Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr));
                (!address.is_unspecified()).then_some(Self { address: address.into(), interface: 0 })
            }
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                let info: libc::in6_pktinfo = message::read(data)?;
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                // RFC 4007 §6: a link-local address is one only on its link.
                let interface = if address.is_unicast_link_local() { info.ipi6_ifindex as _ } else { 0 };
                (!address.is_multicast()).then_some(Self { address: address.into(), interface })
            }
            _ => None,
        }
    }

    /// Makes a datagram leave from here.
    pub(super) fn tell(&self, control: &mut Control) {
        match self.address {
            IpAddr::V4(v4) => {
                // SAFETY: an all-zero structure of integers is valid.
                let mut info: libc::in_pktinfo = unsafe { zeroed() };
                info.ipi_spec_dst.s_addr = v4.to_bits().to_be();
                control.add(libc::SOL_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(v6) => {
                // SAFETY: as above.
                let mut info: libc::in6_pktinfo = unsafe { zeroed() };
                info.ipi6_addr.s6_addr = v6.octets();
                info.ipi6_ifindex = self.interface as _;
                control.add(libc::SOL_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }
}

/// Makes a socket tell where its datagrams came to.
pub(super) fn tell_local(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, name) = if v6 { (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::SOL_IP, libc::IP_PKTINFO) };
    sys::set_option(socket, level, name, 1)
}

/// Sends one datagram, from `local` if that is given; otherwise from where the kernel would. [`Transfer::WouldBlock`]: the
/// socket's buffer is full, and the datagram as good as lost.
///
/// # Errors
/// A failure that is known at once, or of an earlier datagram.
pub fn send_from(
    socket: BorrowedFd<'_>,
    local: Option<Local>,
    remote: SocketAddr,
    payload: &[u8],
) -> Result<Transfer, Failure> {
    let Some(local) = local else { return super::send_to(socket, remote, payload) };
    let mut control = Control::default();
    local.tell(&mut control);
    match message::send(socket, Some(remote), payload, &control) {
        Ok(length) => Ok(Transfer::Moved(length)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Transfer::WouldBlock),
        Err(errno) => Err(errno.into()),
    }
}
