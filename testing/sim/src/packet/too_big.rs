//! A router's answer to a packet that the next link can't carry.

use std::net::{Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
};

use super::Ip;

/// "Fragmentation needed" (RFC 1191 §4) or "packet too big" (RFC 4443 §3.2) from a router with these addresses. `None` if the
/// packet may be fragmented (our router does not), or has no answer because it is an ICMP message itself.
pub(crate) fn too_big(router: (Ipv4Addr, Ipv6Addr), packet: &[u8], mtu: usize) -> Option<Vec<u8>> {
    match Ip::parse(packet)? {
        Ip::V4(header) if header.dont_frag() && header.next_header() != IpProtocol::Icmp => {
            Some(fragmentation_needed(router.0, header.src_addr(), packet, mtu))
        }
        Ip::V6(header) if header.next_header() != IpProtocol::Icmpv6 => {
            Some(packet_too_big(router.1, header.src_addr(), packet, mtu))
        }
        _ => None,
    }
}

fn fragmentation_needed(router: Ipv4Addr, sender: Ipv4Addr, packet: &[u8], mtu: usize) -> Vec<u8> {
    let quote = &packet[..packet.len().min(QUOTE_V4)];
    let repr = Ipv4Repr {
        src_addr: router,
        dst_addr: sender,
        next_header: IpProtocol::Icmp,
        payload_len: ICMP_HEADER + quote.len(),
        hop_limit: HOP_LIMIT,
    };
    let mut bytes = vec![0; repr.buffer_len() + repr.payload_len];
    repr.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &ChecksumCapabilities::default());
    let body = &mut bytes[repr.buffer_len()..];
    body[ICMP_HEADER..].copy_from_slice(quote);
    body[6..8].copy_from_slice(&u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes());
    let mut message = Icmpv4Packet::new_unchecked(body);
    message.set_msg_type(Icmpv4Message::DstUnreachable);
    message.set_msg_code(FRAGMENTATION_NEEDED);
    message.fill_checksum();
    bytes
}

fn packet_too_big(router: Ipv6Addr, sender: Ipv6Addr, packet: &[u8], mtu: usize) -> Vec<u8> {
    let quote = &packet[..packet.len().min(QUOTE_V6)];
    let repr = Ipv6Repr {
        src_addr: router,
        dst_addr: sender,
        next_header: IpProtocol::Icmpv6,
        payload_len: ICMP_HEADER + quote.len(),
        hop_limit: HOP_LIMIT,
    };
    let mut bytes = vec![0; repr.buffer_len() + repr.payload_len];
    repr.emit(&mut Ipv6Packet::new_unchecked(&mut bytes[..]));
    let body = &mut bytes[repr.buffer_len()..];
    body[ICMP_HEADER..].copy_from_slice(quote);
    let mut message = Icmpv6Packet::new_unchecked(body);
    message.set_msg_type(Icmpv6Message::PktTooBig);
    message.set_msg_code(0);
    message.set_pkt_too_big_mtu(mtu as u32);
    message.fill_checksum(&router, &sender);
    bytes
}

/// Addresses that a router answers from.
pub(crate) fn router_addresses(index: usize) -> (Ipv4Addr, Ipv6Addr) {
    let last = index as u16;
    (Ipv4Addr::new(10, 255, (last >> 8) as u8, last as u8), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xff, last))
}

const ICMP_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;
const FRAGMENTATION_NEEDED: u8 = 4;
/// RFC 1812 §4.3.2.3: the whole message is at most 576 bytes long.
const QUOTE_V4: usize = 576 - 20 - ICMP_HEADER;
/// RFC 4443 §2.4 (c): the whole message is at most 1,280 bytes long.
const QUOTE_V6: usize = 1280 - 40 - ICMP_HEADER;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;

    #[test]
    fn answers_carry_the_size_and_a_quote() {
        let router = router_addresses(3);
        let mut large = packet(false, 1500, 0);
        Ipv4Packet::new_unchecked(&mut large[..]).set_dont_frag(false);
        assert_eq!(too_big(router, &large, 1200), None, "may be fragmented");
        Ipv4Packet::new_unchecked(&mut large[..]).set_dont_frag(true);
        let answer = too_big(router, &large, 1200).unwrap();
        let header = Ipv4Packet::new_checked(&answer[..]).unwrap();
        assert!(header.verify_checksum());
        assert_eq!((header.src_addr(), header.total_len()), (router.0, 576));
        let message = Icmpv4Packet::new_checked(header.payload()).unwrap();
        assert!(message.verify_checksum());
        assert_eq!(header.payload()[6..8], 1200_u16.to_be_bytes());
        assert_eq!(too_big(router, &answer, 500), None, "no error about an ICMP message");

        let large = packet(true, 1500, 0);
        let answer = too_big(router, &large, 1300).unwrap();
        let header = Ipv6Packet::new_checked(&answer[..]).unwrap();
        let message = Icmpv6Packet::new_checked(header.payload()).unwrap();
        assert!(message.verify_checksum(&header.src_addr(), &header.dst_addr()));
        assert_eq!((message.pkt_too_big_mtu(), answer.len()), (1300, 1280));
        assert_eq!(header.dst_addr(), "fd00::1".parse::<Ipv6Addr>().unwrap());
    }
}
