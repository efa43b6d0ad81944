//! The TAP device at which packets leave and enter the network.

use std::{
    fs::OpenOptions,
    io::{self, IoSlice},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use rustix::io::Errno;

use crate::agent::{FabricError, Step};

/// Bytes of the virtio-net header (`struct virtio_net_hdr`) before each frame.
pub const VIRTIO_HEADER_LENGTH: usize = 10;

/// A buffer of this size holds every frame that [`Tap::recv`] can give: header, Ethernet header and a 64 KiB segment.
pub const MAX_FRAME: usize = VIRTIO_HEADER_LENGTH + 14 + 4 + 65_536;

/// What every kernel leaves to us.
const OFFLOADS: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;

/// The engine's end of the TAP device: non-blocking; one read or write is one frame behind a 10-byte virtio-net header.
/// Checksum and TCP segmentation offload (TSO4, TSO6) are on in both directions.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    segments_datagrams: bool,
}

impl Tap {
    /// Whether UDP segmentation offload is on as well (USO4, USO6: Linux 6.2).
    pub fn segments_datagrams(&self) -> bool {
        self.segments_datagrams
    }

    /// Reads one frame. `Ok(None)`: nothing to read now.
    ///
    /// # Errors
    /// The device is gone (`EBADFD`).
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut *buffer)) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes one frame, in pieces. `Ok(false)`: the device takes nothing until it says so, and the frame is as good as
    /// lost.
    ///
    /// # Errors
    /// The frame or its virtio header is malformed (`EINVAL`), the device is down (`EIO`) or gone (`EBADFD`).
    pub fn send(&self, frame: &[IoSlice<'_>]) -> io::Result<bool> {
        match rustix::io::retry_on_intr(|| rustix::io::writev(&self.fd, frame)) {
            // Short of memory, it loses the frame, but never tells that it takes more.
            Ok(_) | Err(Errno::NOBUFS) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A descriptor that the agent made.
impl From<OwnedFd> for Tap {
    fn from(fd: OwnedFd) -> Self {
        let segments_datagrams = offload(fd.as_fd(), OFFLOADS | libc::TUN_F_USO4 | libc::TUN_F_USO6).is_ok();
        Self { fd, segments_datagrams }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes the device `tap` in the calling thread's network namespace, with this interface index.
pub(crate) fn create(index: u32) -> Result<OwnedFd, FabricError> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(Step::OpenTun.failed())?;
    configure(device.as_fd(), index).map_err(Step::CreateTap.failed())?;
    Ok(device.into())
}

fn configure(device: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: an all-zero ifreq is valid: it consists of integers, and of a union of integers and null pointers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tap") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: TUNSETIFINDEX reads an unsigned int behind its argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFINDEX, &raw const index) })?;
    // SAFETY: TUNSETIFF reads and writes a struct ifreq behind its argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    offload(device, OFFLOADS)
}

/// Says what may be left to us.
fn offload(device: BorrowedFd<'_>, offloads: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(offloads)) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
