//! Messages with control data, as `sendmsg(2)` and `recvmsg(2)` know them.

use std::{
    io,
    mem::zeroed,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::io::Errno;

/// Room for the control data of a datagram: an address (`struct in6_pktinfo`, 20 bytes) and a size, each with its header.
pub(super) const ROOM: usize = 96;

/// Control data, aligned as its headers have to be.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; ROOM],
    length: usize,
}

/// None.
impl Default for Control {
    fn default() -> Self {
        Self { bytes: [0; ROOM], length: 0 }
    }
}

impl Control {
    /// Adds an entry. `T` is what the kernel knows as the data of this kind, an integer or a structure of integers.
    pub(super) fn add<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, data: T) {
        let size = size_of::<T>() as u32;
        // SAFETY: it only computes.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        assert!(self.length + space <= ROOM, "room for all that a datagram has");
        // SAFETY: an all-zero cmsghdr is valid: it consists of integers.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        (header.cmsg_level, header.cmsg_type, header.cmsg_len) = (level, kind, length as _);
        let place = self.bytes[self.length..].as_mut_ptr();
        // SAFETY: there is room for both behind `place`, as was just found; the data's place need not be aligned.
        unsafe {
            place.cast::<libc::cmsghdr>().write_unaligned(header);
            place.add((length - size) as usize).cast::<T>().write_unaligned(data);
        }
        self.length += space;
    }
}

/// Sends one message, to `remote` unless the socket is connected.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    remote: Option<SocketAddr>,
    payload: &[u8],
    control: &Control,
) -> Result<usize, Errno> {
    let name = remote.map(socket_name);
    let mut vector = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: an all-zero msghdr is valid: integers and null pointers.
    let mut message: libc::msghdr = unsafe { zeroed() };
    if let Some((name, length)) = &name {
        message.msg_name = (&raw const *name).cast_mut().cast();
        message.msg_namelen = *length;
    }
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.as_ptr().cast_mut().cast();
    message.msg_controllen = control.length as _;
    // SAFETY: each pointer of `message` comes with the size of what it points to, all of which outlives the call, which
    // only reads it.
    let length = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(length).map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// An address as the kernel writes it.
pub(super) fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
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

/// The control messages that the kernel has written: level, kind, data.
pub(super) fn entries(control: &[u8]) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
    let mut rest = control;
    std::iter::from_fn(move || {
        let header: libc::cmsghdr = read(rest)?;
        let length: usize = header.cmsg_len as _;
        // SAFETY: they only compute.
        let (start, next) = unsafe { (libc::CMSG_LEN(0) as usize, libc::CMSG_SPACE(0) as usize) };
        let data = rest.get(start..length)?;
        // The next header is aligned as a pointer is.
        rest = rest.get(next + data.len().next_multiple_of(size_of::<usize>())..).unwrap_or_default();
        Some((header.cmsg_level, header.cmsg_type, data))
    })
}

/// A value of the kernel's at the beginning of `bytes`. `T` is an integer or a structure of integers.
pub(super) fn read<T: Copy>(bytes: &[u8]) -> Option<T> {
    // SAFETY: so many bytes are there, any bytes are a valid `T`, and it is read as unaligned.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
