//! Requests and answers of `inet_diag`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{Emitable, NlasIterator, Parseable};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};

use super::{Query, SocketInfo, State, TcpDetails};
use crate::{Family, Transport};

pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Length of `struct inet_diag_msg`; attributes follow.
const HEADER: usize = 72;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_PROTOCOL: u16 = 10;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// The body of a dump request.
pub(crate) fn request(query: Query) -> Vec<u8> {
    let (family, mut socket_id) = match query.family {
        Family::V4 => (libc::AF_INET, SocketId::new_v4()),
        Family::V6 => (libc::AF_INET6, SocketId::new_v6()),
    };
    socket_id.source_port = query.port.unwrap_or(0);
    let request = InetRequest {
        family: family as u8,
        protocol: match query.transport {
            Transport::Tcp => libc::IPPROTO_TCP as u8,
            Transport::Udp => libc::IPPROTO_UDP as u8,
        },
        extensions: if query.details { ExtensionFlags::INFO } else { ExtensionFlags::empty() },
        // The crate does not know TCP_NEW_SYN_RECV and TCP_BOUND_INACTIVE.
        states: StateFlags::from_bits_retain(query.states.0),
        socket_id,
    };
    let mut bytes = vec![0; request.buffer_len()];
    request.emit(&mut bytes);
    bytes
}

/// Reads an answer. `transport` is what was asked for; an event tells it itself.
pub(super) fn parse(payload: &[u8], transport: Option<Transport>) -> io::Result<SocketInfo> {
    let header = InetResponseHeader::parse(payload).map_err(|error| malformed(&error.to_string()))?;
    let id = &header.socket_id;
    let mut socket = SocketInfo {
        family: if i32::from(header.family) == libc::AF_INET { Family::V4 } else { Family::V6 },
        transport: transport.unwrap_or(Transport::Tcp),
        local: address(id.source_address, id.source_port),
        remote: address(id.destination_address, id.destination_port),
        state: state(header.state).ok_or_else(|| malformed("unknown socket state"))?,
        uid: header.uid,
        inode: header.inode.into(),
        v6only: false,
        cookie: u64::from_ne_bytes(id.cookie),
        interface: id.interface_id,
        receive_queue: header.recv_queue,
        send_queue: header.send_queue,
        tcp: None,
    };
    for attribute in NlasIterator::new(&payload[HEADER..]) {
        let attribute = attribute.map_err(|error| malformed(&error.to_string()))?;
        match (attribute.kind(), attribute.value()) {
            (INET_DIAG_SKV6ONLY, [value, ..]) => socket.v6only = *value != 0 && socket.family == Family::V6,
            (INET_DIAG_PROTOCOL, [value, ..]) if i32::from(*value) == libc::IPPROTO_UDP => {
                socket.transport = Transport::Udp;
            }
            (INET_DIAG_INFO, value) => socket.tcp = Some(details(value)),
            _ => {}
        }
    }
    Ok(socket)
}

/// Reads the parts of `struct tcp_info` that we show; what an older kernel does not tell is 0.
fn details(info: &[u8]) -> TcpDetails {
    let word = |offset: usize| info.get(offset..offset + 4).map_or(0, |b| u32::from_ne_bytes(b.try_into().unwrap()));
    let long = |offset: usize| info.get(offset..offset + 8).map_or(0, |b| u64::from_ne_bytes(b.try_into().unwrap()));
    TcpDetails {
        rtt_microseconds: word(68),
        congestion_window: word(80),
        retransmits: word(100),
        bytes_acked: long(120),
        bytes_received: long(128),
    }
}

fn address(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn state(number: u8) -> Option<State> {
    const STATES: [State; 13] = [
        State::Established,
        State::SynSent,
        State::SynReceived,
        State::FinWait1,
        State::FinWait2,
        State::TimeWait,
        State::Close,
        State::CloseWait,
        State::LastAck,
        State::Listen,
        State::Closing,
        State::NewSynReceived,
        State::BoundInactive,
    ];
    STATES.get(usize::from(number).checked_sub(1)?).copied()
}

fn malformed(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
