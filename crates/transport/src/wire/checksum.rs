//! The Internet checksum (RFC 1071) over pseudo-headers and data.

use std::net::IpAddr;

use smoltcp::wire::IpProtocol;

/// A sum of bytes that may come in parts, as wide as it takes to fold it once, at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    wide: u128,
    /// An odd number of bytes is in it.
    odd: bool,
}

impl Sum {
    /// The pseudo-header of a message of so many bytes.
    pub(crate) fn of_pseudo_header(source: IpAddr, destination: IpAddr, protocol: IpProtocol, length: usize) -> Sum {
        let address = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from_ne_bytes(address.octets())),
            IpAddr::V6(address) => {
                let octets = address.octets();
                let (words, _) = octets.as_chunks::<8>();
                wide(words[0]) + wide(words[1])
            }
        };
        // RFC 9293 §3.1, RFC 8200 §8.1: where the length has 32 bits, its upper half is another word.
        let rest = u32::from_ne_bytes((length as u32).to_be_bytes());
        let protocol = u16::from_ne_bytes([0, protocol.into()]);
        let wide = address(source) + address(destination) + u128::from(rest) + u128::from(protocol);
        Sum { wide, odd: false }
    }

    /// With these bytes behind. Those at an odd place have their positions swapped, which is one byte further (RFC 1071 §2 B).
    pub(crate) fn and(self, bytes: &[u8]) -> Sum {
        let own = add_up(bytes);
        Sum { wide: self.wide + if self.odd { own << 8 } else { own }, odd: self.odd ^ (bytes.len() % 2 == 1) }
    }

    /// The sum in 16 bits of the wire's byte order, not complemented.
    pub(crate) fn fold(self) -> u16 {
        fold(self.wide)
    }
}

/// Sum of the bytes as 16-bit words, not complemented (RFC 1071).
pub(crate) fn data(bytes: &[u8]) -> u16 {
    fold(add_up(bytes))
}

/// Words are added eight bytes at a time: one's complement addition may be done in any width and byte order, and folded at the
/// end (RFC 1071 §2).
fn add_up(bytes: &[u8]) -> u128 {
    // Wide sums have no carry to bring back; two of them, so that neither waits for the other.
    let (mut even, mut odd) = (0_u128, 0_u128);
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let words = block.as_chunks::<8>().0;
        even += wide(words[0]);
        odd += wide(words[1]);
        even += wide(words[2]);
        odd += wide(words[3]);
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        even += wide(*word);
    }
    let mut last = rest;
    if let Some((word, rest)) = last.split_first_chunk::<4>() {
        odd += u128::from(u32::from_ne_bytes(*word));
        last = rest;
    }
    if let Some((word, rest)) = last.split_first_chunk::<2>() {
        odd += u128::from(u16::from_ne_bytes(*word));
        last = rest;
    }
    if let [byte] = last {
        odd += u128::from(u16::from_ne_bytes([*byte, 0]));
    }
    even + odd
}

fn wide(word: [u8; 8]) -> u128 {
    u128::from(u64::from_ne_bytes(word))
}

/// From a wide sum in the machine's byte order to the 16 bits of the wire's.
fn fold(sum: u128) -> u16 {
    let (low, carry) = (sum as u64).overflowing_add((sum >> 64) as u64);
    let sum = low + u64::from(carry);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16 & 0xffff) + (sum & 0xffff) + (sum >> 32);
    let sum = (sum >> 16) + (sum & 0xffff);
    u16::from_be_bytes((sum as u16).to_ne_bytes())
}

/// Sum of the pseudo-header, not complemented: what a partial checksum field starts with.
pub(crate) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: IpProtocol, length: usize) -> u16 {
    Sum::of_pseudo_header(source, destination, protocol, length).fold()
}

/// Whether a whole TCP, UDP or ICMPv6 message has the right checksum in it.
pub(crate) fn verify(source: IpAddr, destination: IpAddr, protocol: IpProtocol, message: &[u8]) -> bool {
    Sum::of_pseudo_header(source, destination, protocol, message.len()).and(message).fold() == u16::MAX
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

    #[test]
    fn parts_add_up_to_the_whole() {
        let bytes: Vec<u8> = (0..200_u32).map(|at| (at * 7919 % 251) as u8).collect();
        for first in 0..70 {
            for second in first..140 {
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let sum = parts.into_iter().fold(super::Sum::default(), super::Sum::and);
                assert_eq!(sum.fold(), super::data(&bytes), "{first} {second}");
            }
        }
        let high = [[0xff; 33].as_slice(); 5].into_iter().fold(super::Sum::default(), super::Sum::and);
        assert_eq!(high.fold(), super::data(&[0xff; 165]));
    }

    #[test]
    fn pseudo_headers_of_both_families_are_right() {
        use smoltcp::wire::{IpProtocol, checksum};
        for (source, destination) in [("10.1.2.3", "255.254.253.252"), ("fd00::ffff:1", "2001:db8:ffff:ffff::fffe")] {
            let (source, destination): (std::net::IpAddr, std::net::IpAddr) =
                (source.parse().expect("ok"), destination.parse().expect("ok"));
            for length in [0, 20, 65_535] {
                let ours = super::pseudo_header(source, destination, IpProtocol::Tcp, length);
                let plain =
                    checksum::pseudo_header(&source.into(), &destination.into(), IpProtocol::Tcp, length as u32);
                assert_eq!(ours % 0xffff, plain % 0xffff, "{source} {length}");
            }
        }
    }
}
