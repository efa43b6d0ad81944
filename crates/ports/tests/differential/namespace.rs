//! Fresh network namespaces with a loopback interface that is up.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, Result};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, connect, recv, sendto, socket};
use rustix::process::{getgid, getuid};
use rustix::thread::UnshareFlags;

/// Whether sockets can be given to other users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Users {
    /// Real root: any user.
    Any,
    /// A user namespace of one user.
    One,
}

/// Makes namespaces possible for this process: in a user namespace of its own unless it is root already. Must be called
/// while there is one thread only.
pub(crate) fn prepare() -> Result<Users> {
    if unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(Users::Any);
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))?;
    Ok(Users::One)
}

/// Puts the calling thread into a fresh network namespace.
pub(crate) fn enter() -> Result<()> {
    unshare(UnshareFlags::NEWNET)?;
    let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    request(&netlink, RTM_NEWADDR, &second_address())?;
    request(&netlink, RTM_NEWLINK, &loopback_up())?;
    wait_for_addresses()
}

/// The kernel adds the routes of IPv6 addresses a little later.
fn wait_for_addresses() -> Result<()> {
    let reachable = |address: &str| {
        let probe = socket(AddressFamily::INET6, SocketType::DGRAM, None)?;
        connect(&probe, &SocketAddr::new(address.parse().expect("an address"), 9))
    };
    for _ in 0..500 {
        if reachable("::1").is_ok() && reachable("fd00::2").is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(Errno::TIMEDOUT)
}

#[expect(deprecated, reason = "its successor is unsafe because of CLONE_FILES, which is not used here")]
fn unshare(flags: UnshareFlags) -> Result<()> {
    rustix::thread::unshare(flags)
}

// rtnetlink(7), netlink(7).
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const HEADER: usize = 16;
const LOOPBACK: u32 = 1;

/// struct ifinfomsg: index 1, IFF_UP set and nothing else changed.
fn loopback_up() -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message
}

/// struct ifaddrmsg with IFA_LOCAL: fd00::2/128 on the loopback, without duplicate address detection.
fn second_address() -> Vec<u8> {
    const AF_INET6: u8 = 10;
    const IFA_F_NODAD: u8 = 2;
    const IFA_LOCAL: u16 = 2;
    let mut message = vec![AF_INET6, 128, IFA_F_NODAD, 0];
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(20_u16.to_ne_bytes());
    message.extend(IFA_LOCAL.to_ne_bytes());
    message.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    message
}

/// Sends one request and waits for its acknowledgement.
fn request(netlink: &OwnedFd, kind: u16, body: &[u8]) -> Result<()> {
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    sendto(netlink.as_fd(), &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 1024];
    recv(netlink.as_fd(), &mut answer[..], RecvFlags::empty())?;
    match i32::from_ne_bytes(answer[HEADER..HEADER + 4].try_into().expect("4 bytes")) {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(-error)),
    }
}
