//! The TAP device at which packets leave and enter the network.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Bytes of the virtio-net header (`struct virtio_net_hdr`) before each frame.
pub const VIRTIO_HEADER_LENGTH: usize = 10;

/// A buffer of this size holds every frame that [`Tap::recv`] can give: header, Ethernet header and a 64 KiB segment.
pub const MAX_FRAME: usize = VIRTIO_HEADER_LENGTH + 14 + 4 + 65_536;

/// The engine's end of the TAP device: non-blocking; one read or write is one frame behind a 10-byte virtio-net header.
/// Checksum and TCP segmentation offload (TSO4, TSO6) are on in both directions.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
}

impl Tap {
    /// Reads one frame. `Ok(None)`: nothing to read now.
    ///
    /// # Errors
    /// The device is gone (`EBADFD`), or is down.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let _ = buffer;
        unimplemented!()
    }

    /// Writes one frame, in pieces. `Ok(false)`: the device takes nothing now, and the frame is as good as lost.
    ///
    /// # Errors
    /// The frame or its virtio header is malformed (`EINVAL`), or the device is gone.
    pub fn send(&self, frame: &[IoSlice<'_>]) -> io::Result<bool> {
        let _ = frame;
        unimplemented!()
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
