//! A socket for one peer: a filter that lets only its segments in, and that can't be taken off again. No handshake with
//! anybody else gets through, whatever becomes of the socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
};

use libc::{BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

use crate::sys;

/// Locks a TCP socket to a peer. A filter sees the TCP header, and the IP header before it at [`NETWORK`].
pub(super) fn to_peer(socket: BorrowedFd<'_>, peer: SocketAddr) -> io::Result<()> {
    sys::attach_filter(socket, &filter(peer))?;
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1)
}

/// `SKF_NET_OFF`.
const NETWORK: u32 = -0x10_0000i32 as u32;

fn filter(peer: SocketAddr) -> Vec<sock_filter> {
    let word = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    // RFC 791 §3.1 and RFC 8200 §3: the version in the upper half of the first byte, and the source. Of IPv6 the lower half of
    // that byte belongs to the traffic class, of IPv4 it is the header's length.
    let (first, second, source) = match peer.ip() {
        IpAddr::V4(address) => (0x40, 12, address.octets().to_vec()),
        IpAddr::V6(address) => (0x60, 8, address.octets().to_vec()),
    };
    let mut checks = vec![(BPF_B, NETWORK, Some(0xf0), first), (BPF_H, 0, None, u32::from(peer.port()))];
    let parts = source.chunks_exact(4).enumerate();
    checks.extend(parts.map(|(index, part)| (BPF_W, NETWORK + second + 4 * index as u32, None, word(part))));
    let mut statements: Vec<sock_filter> = Vec::new();
    for (size, offset, mask, wanted) in checks {
        statements.push(statement(BPF_LD | size | BPF_ABS, offset));
        statements.extend(mask.map(|mask| statement(libc::BPF_ALU | libc::BPF_AND | BPF_K, mask)));
        statements.push(statement(BPF_JMP | BPF_JEQ | BPF_K, wanted));
    }
    statements.push(statement(BPF_RET | BPF_K, u32::MAX));
    statements.push(statement(BPF_RET | BPF_K, 0));
    let last = statements.len() - 1;
    for (index, statement) in statements.iter_mut().enumerate() {
        if u32::from(statement.code) == BPF_JMP | BPF_JEQ | BPF_K {
            statement.jf = (last - index - 1) as u8;
        }
    }
    statements
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::fd::{AsFd, OwnedFd},
        time::Duration,
    };

    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

    use super::*;

    fn locked(listener: &TcpListener, peer: SocketAddr) -> Result<(), rustix::io::Errno> {
        let address = listener.local_addr().unwrap();
        let domain = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket: OwnedFd =
            socket_with(domain, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP)).unwrap();
        to_peer(socket.as_fd(), peer).unwrap();
        assert!(sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0).is_err());
        assert!(sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 0).is_err());
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(Duration::from_millis(300))).unwrap();
        connect(&socket, &address)
    }

    #[test]
    fn only_the_peer_gets_through() {
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(own).unwrap();
            let address = listener.local_addr().unwrap();
            locked(&listener, address).unwrap();
            let other_port = SocketAddr::new(address.ip(), address.port() ^ 1);
            let other_address = match address.ip() {
                IpAddr::V4(_) => SocketAddr::new([127, 0, 0, 2].into(), address.port()),
                IpAddr::V6(_) => SocketAddr::new("::2".parse().unwrap(), address.port()),
            };
            for peer in
                [other_port, other_address, "192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap()]
            {
                assert!(locked(&listener, peer).is_err(), "{peer}");
            }
        }
    }
}
