//! Datagrams of a socket that is bound to every address of the machine: which of them a datagram came to, so that the
//! answer can leave from there. A client that is connected takes answers from nowhere else.

use std::{
    io,
    mem::{MaybeUninit, zeroed},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::io::Errno;

use super::{Failure, Transfer};
use crate::sys;

/// Room for the control message with an address: a header and `struct in6_pktinfo`, the larger of the two.
const CONTROL: usize = 64;

/// A control message, aligned as its header has to be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

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
}

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes of the buffer.
    pub length: usize,
    /// Where it comes from.
    pub sender: SocketAddr,
    /// Where it came to, if the socket tells (those of [`super::udp_bind`] do when several addresses are possible) and it
    /// was sent to one machine only.
    pub local: Option<Local>,
}

/// Makes a socket tell where its datagrams came to.
pub(super) fn tell_local(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, name) = if v6 { (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::SOL_IP, libc::IP_PKTINFO) };
    sys::set_option(socket, level, name, 1)
}

/// Receives one datagram; the rest of one that is longer than `buffer` is lost. `None`: none waits.
///
/// # Errors
/// The kernel is short of memory, or an earlier datagram of a connected socket failed.
pub fn receive_addressed(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<Arrived>, Failure> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut control = Control([0; CONTROL]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is valid: integers and null pointers.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    // SAFETY: each pointer of `message` comes with the size of what it points to, all of which outlives the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let Ok(length) = usize::try_from(length) else {
        return match Errno::from_io_error(&io::Error::last_os_error()) {
            Some(Errno::AGAIN | Errno::INTR) | None => Ok(None),
            Some(errno) => Err(errno.into()),
        };
    };
    // SAFETY: it was zeroed, and the kernel wrote an address into it.
    let Some(sender) = sender(unsafe { name.assume_init_ref() }) else { return Ok(None) };
    Ok(Some(Arrived { length, sender, local: local(&message) }))
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
    let (name, name_length) = socket_name(remote);
    let mut control = Control([0; CONTROL]);
    let mut vector = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: an all-zero msghdr is valid: integers and null pointers.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = (&raw const name).cast_mut().cast();
    message.msg_namelen = name_length;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    message.msg_controllen = write_local(&message, local) as _;
    // SAFETY: each pointer of `message` comes with the size of what it points to, all of which outlives the call, which
    // only reads it.
    let length = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    match usize::try_from(length) {
        Ok(length) => Ok(Transfer::Moved(length)),
        Err(_) => match Errno::from_io_error(&io::Error::last_os_error()) {
            Some(Errno::AGAIN | Errno::INTR) | None => Ok(Transfer::WouldBlock),
            Some(errno) => Err(errno.into()),
        },
    }
}

fn sender(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let pointer = &raw const *name;
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: a sockaddr_storage is as large and as aligned as every address; its family says which one it is.
            let v4 = unsafe { &*pointer.cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*pointer.cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn socket_name(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: an all-zero sockaddr_storage is valid: it consists of integers.
    let mut name: libc::sockaddr_storage = unsafe { zeroed() };
    let pointer = &raw mut name;
    let length = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: a sockaddr_storage is as large and as aligned as every address.
            let to = unsafe { &mut *pointer.cast::<libc::sockaddr_in>() };
            to.sin_family = libc::AF_INET as libc::sa_family_t;
            to.sin_port = v4.port().to_be();
            to.sin_addr.s_addr = v4.ip().to_bits().to_be();
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let to = unsafe { &mut *pointer.cast::<libc::sockaddr_in6>() };
            to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            to.sin6_port = v6.port().to_be();
            to.sin6_addr.s6_addr = v6.ip().octets();
            to.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (name, length as libc::socklen_t)
}

/// The address in a control message that the kernel wrote.
fn local(message: &libc::msghdr) -> Option<Local> {
    // SAFETY: the kernel has set the length of the control buffer that `message` points to.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    // SAFETY: a header that is there has its data behind it.
    let data = unsafe { libc::CMSG_DATA(header) };
    match (header.cmsg_level, header.cmsg_type) {
        (libc::SOL_IP, libc::IP_PKTINFO) => {
            // SAFETY: the data of this type is a struct in_pktinfo, at an address that need not be aligned for it.
            let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
            // Not the destination as sent, which may be a broadcast address, but the own address that it stands for.
            let address = Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr));
            (!address.is_unspecified()).then_some(Local { address: address.into(), interface: 0 })
        }
        (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
            // SAFETY: as above, a struct in6_pktinfo.
            let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // RFC 4007 §6: a link-local address is one only on its link.
            let interface = if address.is_unicast_link_local() { info.ipi6_ifindex as u32 } else { 0 };
            (!address.is_multicast()).then_some(Local { address: address.into(), interface })
        }
        _ => None,
    }
}

/// Writes the control message that sets a datagram's source; its length.
fn write_local(message: &libc::msghdr, local: Local) -> usize {
    // SAFETY: the control buffer has room for a header and either structure (see CONTROL), and is zeroed.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        let data = libc::CMSG_DATA(header);
        let size = match local.address {
            IpAddr::V4(v4) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = v4.to_bits().to_be();
                ((*header).cmsg_level, (*header).cmsg_type) = (libc::SOL_IP, libc::IP_PKTINFO);
                data.cast::<libc::in_pktinfo>().write_unaligned(info);
                size_of::<libc::in_pktinfo>()
            }
            IpAddr::V6(v6) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = v6.octets();
                info.ipi6_ifindex = local.interface as _;
                ((*header).cmsg_level, (*header).cmsg_type) = (libc::SOL_IPV6, libc::IPV6_PKTINFO);
                data.cast::<libc::in6_pktinfo>().write_unaligned(info);
                size_of::<libc::in6_pktinfo>()
            }
        };
        (*header).cmsg_len = libc::CMSG_LEN(size as u32) as _;
        libc::CMSG_SPACE(size as u32) as usize
    }
}
