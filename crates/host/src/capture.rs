//! Packets as a host's kernel sees them: a packet socket (`AF_PACKET`) of the host's network namespace, which the agent
//! makes and anybody may use who has got its descriptor.

mod filter;

use std::{
    ffi::c_void,
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

pub use self::filter::{Filter, PortFilter};
use crate::sys;

/// Makes a socket that sees nothing until [`PacketSocket::start`]. Needs `CAP_NET_RAW`.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    // Room for a burst of large segments; only who may administer the network gets that much.
    if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    }
    Ok(socket)
}

const BUFFER: usize = 32 << 20;

/// A packet socket.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

/// What the kernel tells about a packet besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    /// When it was seen, since the Unix epoch.
    pub time: Duration,
    /// Index of the interface.
    pub interface: u32,
    /// What its first bytes are.
    pub link: LinkType,
    /// Which way it goes.
    pub direction: Direction,
    /// How many bytes of it were kept.
    pub captured: usize,
    /// How many bytes it has. More than the interface's MTU where the kernel leaves cutting to whoever comes later
    /// (segmentation offload).
    pub length: usize,
}

/// What a packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// An Ethernet header; loopback has one too, of zeros.
    Ethernet,
    /// An IP header.
    Ip,
    /// Something else.
    Other,
}

/// Which way a packet goes, as the host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It arrives.
    In,
    /// It leaves.
    Out,
}

impl PacketSocket {
    /// Begins to see the packets that `filter` lets through, on every interface.
    ///
    /// # Errors
    /// The descriptor is no packet socket.
    pub fn start(socket: OwnedFd, filter: &Filter) -> io::Result<Self> {
        sys::attach_filter(socket.as_fd(), &filter.program())?;
        sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        sys::set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        // SAFETY: all bytes zero is a value of this structure of integers.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the pointer and the length describe `address`, which lives until the call returns.
        let result = unsafe {
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
        };
        if result == 0 { Ok(Self(socket)) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes the next packet, of which as much as fits goes to `buffer`.
    ///
    /// # Errors
    /// `WouldBlock`: there is none. `NetworkDown`: an interface went away.
    pub fn next(&self, buffer: &mut [u8]) -> io::Result<PacketInfo> {
        // SAFETY: all bytes zero is a value of these structures of integers and pointers.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut control = Control([0; CONTROL]);
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: as above.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        // SAFETY: every pointer in `message` is to something that lives until the call returns, with its true length.
        let received = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        let captured = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let mut info = PacketInfo {
            time: Duration::ZERO,
            interface: address.sll_ifindex.cast_unsigned(),
            link: link_type(address.sll_hatype),
            direction: if address.sll_pkttype == libc::PACKET_OUTGOING { Direction::Out } else { Direction::In },
            captured,
            length: captured,
        };
        for_each_control(&message, |level, kind, data| match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                if let Some(time) = read::<libc::timespec>(data) {
                    info.time =
                        Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0));
                }
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                if let Some(data) = read::<libc::tpacket_auxdata>(data) {
                    info.length = (data.tp_len as usize).max(captured);
                }
            }
            _ => {}
        });
        Ok(info)
    }

    /// Packets that were dropped since the last call because nobody took them in time.
    ///
    /// # Errors
    /// None that is expected.
    pub fn dropped(&self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the pointers are to `statistics`, whose length is `length`, and to `length` itself.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(statistics.tp_drops.into()) } else { Err(io::Error::last_os_error()) }
    }

    /// The name of an interface of the host; `None` if it is gone.
    pub fn interface_name(&self, index: u32) -> Option<String> {
        rustix::net::netdevice::index_to_name(&self.0, index).ok()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn link_type(hardware: u16) -> LinkType {
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => LinkType::Ethernet,
        libc::ARPHRD_NONE => LinkType::Ip,
        _ => LinkType::Other,
    }
}

/// Room for a time and an auxiliary record, with their headers.
const CONTROL: usize = 128;

/// Aligned as the kernel's headers need it.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Calls `each` for every control message, with level, type and data.
fn for_each_control(message: &libc::msghdr, mut each: impl FnMut(i32, i32, &[u8])) {
    // SAFETY: the kernel has filled the control buffer, and set its length to what it wrote there.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: not null, so it points to a whole header in the control buffer, which is aligned for it.
        let header = unsafe { &*next };
        // SAFETY: the data follow the header, and the kernel has set the length of both to what it wrote.
        let data = unsafe {
            let begin = libc::CMSG_DATA(next);
            let length = (header.cmsg_len as usize).saturating_sub(begin.offset_from(next.cast()).unsigned_abs());
            std::slice::from_raw_parts(begin, length)
        };
        each(header.cmsg_level, header.cmsg_type, data);
        // SAFETY: `next` is a header of this message.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
}

/// A structure of the kernel's, made of integers only; `None` if there are too few bytes.
fn read<T: Copy>(data: &[u8]) -> Option<T> {
    // SAFETY: long enough, copied without regard to alignment, and both callers' structures may have any bytes.
    (data.len() >= size_of::<T>()).then(|| unsafe { ptr::read_unaligned(data.as_ptr().cast::<c_void>().cast()) })
}
