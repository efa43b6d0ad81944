//! The Internet checksum (RFC 1071) over pseudo-headers and data.

use std::net::IpAddr;

use smoltcp::wire::IpProtocol;
use smoltcp::wire::checksum;

pub(crate) use smoltcp::wire::checksum::{combine, data};

/// Sum of the pseudo-header, not complemented: what a partial checksum field starts with.
pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: IpProtocol, length: usize) -> u16 {
    checksum::pseudo_header(&source.into(), &destination.into(), protocol, length as u32)
}

/// Whether a whole TCP, UDP or ICMPv6 message has the right checksum in it.
pub(crate) fn verify(source: IpAddr, destination: IpAddr, protocol: IpProtocol, message: &[u8]) -> bool {
    combine(&[pseudo_header(source, destination, protocol, message.len()), data(message)]) == u16::MAX
}
