//! The Internet checksum (RFC 1071) over pseudo-headers and data.

use std::net::IpAddr;

use smoltcp::wire::IpProtocol;
use smoltcp::wire::checksum;

pub(crate) use smoltcp::wire::checksum::combine;

/// Sum of the bytes as 16-bit words, not complemented (RFC 1071). Words are added eight bytes at a time: one's complement
/// addition may be done in any width and byte order, and folded at the end (RFC 1071 §2).
pub(crate) fn data(bytes: &[u8]) -> u16 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut sums = [0_u64; 4];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = add(*sum, u64::from_ne_bytes(*word));
        }
    }
    let mut sum = add(add(sums[0], sums[1]), add(sums[2], sums[3]));
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        sum = add(sum, u64::from_ne_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum = add(sum, u64::from_ne_bytes(last));
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16 & 0xffff) + (sum & 0xffff) + (sum >> 32);
    let sum = (sum >> 16) + (sum & 0xffff);
    u16::from_be_bytes((sum as u16).to_ne_bytes())
}

/// One's complement addition: the carry comes back at the other end.
fn add(one: u64, other: u64) -> u64 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u64::from(carry)
}

/// Sum of the pseudo-header, not complemented: what a partial checksum field starts with.
pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: IpProtocol, length: usize) -> u16 {
    checksum::pseudo_header(&source.into(), &destination.into(), protocol, length as u32)
}

/// Whether a whole TCP, UDP or ICMPv6 message has the right checksum in it.
pub(crate) fn verify(source: IpAddr, destination: IpAddr, protocol: IpProtocol, message: &[u8]) -> bool {
    combine(&[pseudo_header(source, destination, protocol, message.len()), data(message)]) == u16::MAX
}

#[cfg(test)]
mod tests {
    #[test]
    fn equals_the_plain_sum_at_every_length() {
        let bytes: Vec<u8> =
            (0..500_u32).map(|at| (at * 7919 % 251) as u8 | if at % 3 == 0 { 0xf0 } else { 0 }).collect();
        for length in 0..bytes.len() {
            let (ours, plain) = (super::data(&bytes[..length]), smoltcp::wire::checksum::data(&bytes[..length]));
            assert_eq!(ours % 0xffff, plain % 0xffff, "{length}");
        }
        assert_eq!(super::data(&[0xff; 64]), 0xffff);
    }
}
