//! Datagrams that the kernel carries as one packet, cut apart as whoever receives them will have it: what is shown are the
//! datagrams that were sent.

use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{Ethernet2HeaderSlice, Ipv4HeaderSlice, Ipv6HeaderSlice, UdpHeader, ip_number};
use minato_host::capture::{LinkType, PacketInfo};

use super::packets::Seen;

/// The datagrams of a packet; the packet itself if it is one, or nothing that can be cut.
pub(super) fn apart(seen: Seen) -> Vec<Seen> {
    let Some(train) = seen.info.datagram.and_then(|size| Train::of(&seen, size.into())) else { return vec![seen] };
    train.datagrams()
}

/// Several datagrams behind one header.
struct Train<'a> {
    info: PacketInfo,
    /// All headers, and where the network's begins.
    headers: &'a [u8],
    network: usize,
    is_v4: bool,
    /// As much of the payload as was kept, how long all of it is, and each datagram's part.
    payload: &'a [u8],
    length: usize,
    size: usize,
}

impl<'a> Train<'a> {
    /// `None` if it is no UDP right behind IP.
    fn of(seen: &'a Seen, size: usize) -> Option<Train<'a>> {
        let (info, bytes) = (seen.info, seen.bytes.as_slice());
        let network = match info.link {
            LinkType::Ethernet => Ethernet2HeaderSlice::from_slice(bytes).ok()?.slice().len(),
            LinkType::Ip => 0,
            LinkType::Other => return None,
        };
        let packet = &bytes[network..];
        let is_v4 = packet.first()? >> 4 == 4;
        let (header, protocol) = if is_v4 {
            let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
            (header.slice().len(), header.protocol())
        } else {
            let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
            (header.slice().len(), header.next_header())
        };
        let transport = network + header;
        let begin = transport + UdpHeader::LEN;
        let length = info.length.checked_sub(begin).filter(|length| *length > size)?;
        let (headers, payload) = bytes.split_at_checked(begin)?;
        (protocol == ip_number::UDP).then_some(Train { info, headers, network, is_v4, payload, length, size })
    }

    fn datagrams(&self) -> Vec<Seen> {
        let starts = (0..self.length).step_by(self.size);
        iter::zip(0.., starts).map(|(number, start)| self.datagram(number, start)).collect()
    }

    fn datagram(&self, number: u16, start: usize) -> Seen {
        let length = self.size.min(self.length - start);
        let kept = self.payload.get(start..).unwrap_or_default();
        let kept = &kept[..kept.len().min(length)];
        let mut bytes = [self.headers, kept].concat();
        let whole = (kept.len() == length).then_some(kept);
        self.complete(&mut bytes[self.network..self.headers.len()], number, length, whole);
        let info =
            PacketInfo { captured: bytes.len(), length: self.headers.len() + length, datagram: None, ..self.info };
        Seen { info, bytes }
    }

    /// Makes the headers those of one datagram, as the kernel would. Of one that was not kept whole the sum can't be known.
    fn complete(&self, headers: &mut [u8], number: u16, length: usize, payload: Option<&[u8]>) {
        let udp_length = (UdpHeader::LEN + length) as u16;
        let transport = headers.len() - UdpHeader::LEN;
        let mut udp = UdpHeader {
            source_port: field(headers, transport),
            destination_port: field(headers, transport + 2),
            length: udp_length,
            checksum: 0,
        };
        let sum = if self.is_v4 {
            set(headers, 2, transport as u16 + udp_length);
            // RFC 791 §3.2: each has a number of its own.
            set(headers, 4, field(headers, 4).wrapping_add(number));
            let [source, destination] =
                [12, 16].map(|at| Ipv4Addr::new(headers[at], headers[at + 1], headers[at + 2], headers[at + 3]));
            if let Ok(header) = Ipv4HeaderSlice::from_slice(headers) {
                let sum = header.to_header().calc_header_checksum();
                set(headers, 10, sum);
            }
            payload.and_then(|payload| udp.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload).ok())
        } else {
            set(headers, 4, udp_length);
            let address = |at: usize| <[u8; 16]>::try_from(&headers[at..at + 16]).map(Ipv6Addr::from);
            let (Ok(source), Ok(destination)) = (address(8), address(24)) else { return };
            payload.and_then(|payload| udp.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload).ok())
        };
        // RFC 8200 §8.1: over IPv6 it is never 0.
        let unknown = if self.is_v4 { 0 } else { field(headers, transport + 6).max(1) };
        udp.checksum = sum.unwrap_or(unknown);
        headers[transport..].copy_from_slice(&udp.to_bytes());
    }
}

fn field(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn set(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use minato_host::capture::Direction;

    use super::*;

    fn seen(bytes: Vec<u8>, length: usize, size: u16, link: LinkType) -> Seen {
        let captured = bytes.len();
        let (time, direction) = (Duration::from_secs(1), Direction::In);
        Seen { info: PacketInfo { time, interface: 2, link, direction, captured, length, datagram: Some(size) }, bytes }
    }

    /// 2,500 bytes that differ.
    fn payload() -> Vec<u8> {
        (0..2500u32).map(|place| (place * 7 % 251) as u8).collect()
    }

    fn packet(v4: bool) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut bytes = Vec::new();
        if v4 {
            builder.ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64).udp(53, 5000).write(&mut bytes, &payload()).unwrap();
        } else {
            builder.ipv6([1; 16], [2; 16], 64).udp(53, 5000).write(&mut bytes, &payload()).unwrap();
        }
        bytes
    }

    #[test]
    fn every_datagram_is_as_if_it_had_been_sent_alone() {
        for (v4, link) in
            [(true, LinkType::Ethernet), (false, LinkType::Ethernet), (true, LinkType::Ip), (false, LinkType::Ip)]
        {
            let mut bytes = packet(v4);
            let length = bytes.len();
            if link == LinkType::Ip {
                bytes.drain(..14);
            }
            let link_length = length - bytes.len();
            let all = apart(seen(bytes, length - link_length, 1000, link));
            assert_eq!(all.len(), 3);
            let mut parts = Vec::new();
            for (number, one) in all.iter().enumerate() {
                assert_eq!(
                    (one.info.captured, one.info.length, one.info.datagram),
                    (one.bytes.len(), one.bytes.len(), None)
                );
                let read = match link {
                    LinkType::Ethernet => SlicedPacket::from_ethernet(&one.bytes),
                    _ => SlicedPacket::from_ip(&one.bytes),
                };
                let read = read.unwrap_or_else(|error| panic!("{number}: {error}"));
                let Some(TransportSlice::Udp(udp)) = read.transport else { panic!("no UDP") };
                let mut header = udp.to_header();
                let own = std::mem::take(&mut header.checksum);
                let sum = match read.net.expect("a network") {
                    etherparse::NetSlice::Ipv4(v4) => {
                        assert_eq!(v4.header().to_header().calc_header_checksum(), v4.header().header_checksum());
                        assert_eq!(usize::from(v4.header().identification()), number);
                        header.calc_checksum_ipv4(&v4.header().to_header(), udp.payload())
                    }
                    etherparse::NetSlice::Ipv6(v6) => {
                        header.calc_checksum_ipv6(&v6.header().to_header(), udp.payload())
                    }
                    etherparse::NetSlice::Arp(_) => panic!("no IP"),
                };
                assert_eq!(sum.unwrap(), own);
                parts.push(udp.payload().to_vec());
            }
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
            assert_eq!(parts.concat(), payload());
        }
    }

    #[test]
    fn what_was_not_kept_still_counts() {
        let bytes = packet(true);
        let length = bytes.len();
        // The first datagram and a half of the second.
        let all = apart(seen(bytes[..42 + 1500].to_vec(), length, 1000, LinkType::Ethernet));
        let sizes: Vec<_> = all.iter().map(|one| (one.info.captured - 42, one.info.length - 42)).collect();
        assert_eq!(sizes, [(1000, 1000), (500, 1000), (0, 500)]);
    }

    #[test]
    fn what_is_no_train_stays_whole() {
        let bytes = packet(true);
        let one = apart(seen(bytes.clone(), bytes.len(), 2500, LinkType::Ethernet));
        assert_eq!((one.len(), &one[0].bytes), (1, &bytes));
        for length in 0..42 {
            assert_eq!(
                apart(seen(bytes[..length].to_vec(), bytes.len(), 1000, LinkType::Ethernet)).len(),
                1,
                "{length}"
            );
        }
        assert_eq!(apart(seen(vec![0; 100], 100, 10, LinkType::Ethernet)).len(), 1);
    }
}
