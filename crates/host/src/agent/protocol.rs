//! What the engine and the agent say to each other: one JSON message a packet, with file descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{HostConfig, InsideSocket, MAX_SOCKETS, Step, Subnet};
use crate::Family;

/// Largest message. It fits the default send buffer many times.
const MAX_MESSAGE: usize = 32 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// The first one: makes the fabric. With a directory comes the descriptor of the lock in it.
    Create {
        subnet: Subnet,
        gateway_mac: [u8; 6],
        mtu: u16,
        directory: Option<PathBuf>,
    },
    AddHost(HostConfig),
    RemoveHost {
        name: String,
    },
    Sockets {
        host: String,
        kind: InsideSocket,
        family: Family,
        count: usize,
    },
    SockDiag {
        host: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// One descriptor: the TAP device.
    Created {
        privileged: bool,
        ipv6: bool,
    },
    /// Numbers of the agent's descriptors.
    HostAdded {
        user: Option<i32>,
        network: i32,
        mount: i32,
        network_inode: u64,
        mount_inode: u64,
    },
    HostRemoved,
    /// The descriptors asked for.
    Sockets,
    /// Two descriptors, for dumps and for events, and up to two with counters.
    SockDiag,
    UnknownHost,
    HostExists,
    Failed {
        step: Step,
        detail: Option<String>,
        errno: i32,
    },
}

/// Sends `message` with `descriptors`.
pub(super) fn send(socket: BorrowedFd<'_>, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives a message and its descriptors. `None`: the other end is gone.
pub(super) fn receive<M: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got =
        match rustix::io::retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)) {
            Ok(got) => got,
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        // CTRUNC: this process is out of descriptors.
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    Ok(Some((serde_json::from_slice(&bytes[..got.bytes])?, descriptors)))
}

/// Borrows every descriptor of a list.
pub(super) fn borrow(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}
