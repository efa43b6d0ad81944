//! Packets as a host's kernel sees them: a packet socket (`AF_PACKET`) of the host's network namespace, which the agent
//! makes and anybody may use who has got its descriptor.

mod filter;

use std::{
    ffi::c_void,
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
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
pub struct PacketSocket {
    socket: OwnedFd,
    /// Whether a [`VirtioHeader`] comes before each packet.
    tells_offload: AtomicBool,
    /// Packets that were lost otherwise than for want of room.
    lost: AtomicU64,
}

/// `PACKET_VNET_HDR`: before each packet comes what is left to do with it.
const PACKET_VNET_HDR: libc::c_int = 15;

/// The beginning of `struct virtio_net_hdr`, in this machine's order of bytes.
type VirtioHeader = [u8; 10];

/// `VIRTIO_NET_HDR_GSO_UDP_L4`: datagrams that are to be cut apart.
const DATAGRAMS: u8 = 5;

/// The payload of each datagram, if there are several.
fn datagram(header: VirtioHeader) -> Option<u16> {
    // `gso_type`, `hdr_len` and `gso_size` follow the flags.
    let [_, kind, _, _, low, high, ..] = header;
    Some(u16::from_ne_bytes([low, high])).filter(|size| kind == DATAGRAMS && *size > 0)
}

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
    /// Of datagrams that the kernel carries as one, the payload of each but the last.
    pub datagram: Option<u16>,
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
        sys::set_option(socket.as_fd(), libc::SOL_PACKET, PACKET_VNET_HDR, 1)?;
        // SAFETY: all bytes zero is a value of this structure of integers.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the pointer and the length describe `address`, which lives until the call returns.
        let result = unsafe {
            libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket, tells_offload: AtomicBool::new(true), lost: AtomicU64::new(0) })
    }

    /// Takes the next packet, of which as much as fits goes to `buffer`.
    ///
    /// # Errors
    /// `WouldBlock`: there is none. `NetworkDown`: an interface went away. `Interrupted`: the next one is to be asked for.
    pub fn next(&self, buffer: &mut [u8]) -> io::Result<PacketInfo> {
        // SAFETY: all bytes zero is a value of these structures of integers and pointers.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut control = Control([0; CONTROL]);
        let mut header = VirtioHeader::default();
        let tells_offload = self.tells_offload.load(Ordering::Relaxed);
        let header_length = if tells_offload { header.len() } else { 0 };
        let mut parts = [
            libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header_length },
            libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() },
        ];
        // SAFETY: as above.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        // SAFETY: every pointer in `message` is to something that lives until the call returns, with its true length.
        let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        let Ok(received) = usize::try_from(received) else { return Err(self.failed(tells_offload)) };
        let captured = received.saturating_sub(header_length);
        let mut info = PacketInfo {
            time: Duration::ZERO,
            interface: address.sll_ifindex.cast_unsigned(),
            link: link_type(address.sll_hatype),
            direction: if address.sll_pkttype == libc::PACKET_OUTGOING { Direction::Out } else { Direction::In },
            captured,
            length: captured,
            datagram: datagram(header),
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

    /// Why there is no packet. A kernel that has no word for what is left to do drops the packet (before Linux 6.2, if it
    /// is datagrams): then it is asked no more.
    fn failed(&self, tells_offload: bool) -> io::Error {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) || !tells_offload {
            return error;
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.tells_offload.store(false, Ordering::Relaxed);
        match sys::set_option(self.socket.as_fd(), libc::SOL_PACKET, PACKET_VNET_HDR, 0) {
            Ok(()) => io::ErrorKind::Interrupted.into(),
            Err(error) => error,
        }
    }

    /// Packets that were dropped since the last call, because nobody took them in time or the kernel could not tell what
    /// they are.
    ///
    /// # Errors
    /// None that is expected.
    pub fn dropped(&self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the pointers are to `statistics`, whose length is `length`, and to `length` itself.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if result == 0 { Ok(u64::from(statistics.tp_drops) + lost) } else { Err(io::Error::last_os_error()) }
    }

    /// The name of an interface of the host; `None` if it is gone.
    pub fn interface_name(&self, index: u32) -> Option<String> {
        rustix::net::netdevice::index_to_name(&self.socket, index).ok()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
