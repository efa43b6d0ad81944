//! Nodes between hosts: a switch for Ethernet frames and a router for bare IP packets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::EthernetAddress;

use crate::packet::{Ip, Medium, pass_hop, too_big};

/// What becomes of a frame in the middle.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Forwarding {
    /// It goes out of this port.
    To(usize),
    /// It goes out of all ports but the one that it came from.
    Flood,
    /// It ends here.
    Dropped(&'static str),
    /// It ends here, and this goes back to its sender.
    Answered(Vec<u8>),
}

/// An Ethernet switch that learns who is where.
#[derive(Debug, Default)]
pub(super) struct Switch {
    learned: BTreeMap<[u8; 6], usize>,
}

impl Switch {
    pub(super) fn forward(&mut self, from: usize, frame: &[u8]) -> Forwarding {
        let Some(frame) = Medium::ETHERNET.ethernet_frame(frame) else {
            return Forwarding::Dropped("malformed");
        };
        let (EthernetAddress(source), destination) = (frame.src_addr(), frame.dst_addr());
        self.learned.insert(source, from);
        match self.learned.get(&destination.0) {
            Some(port) if *port == from => Forwarding::Dropped("already there"),
            Some(port) if destination.is_unicast() => Forwarding::To(*port),
            _ => Forwarding::Flood,
        }
    }
}

/// A router that knows the address of every host beside it, and sends everything else to the next router.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) addresses: (Ipv4Addr, Ipv6Addr),
    pub(super) routes: BTreeMap<IpAddr, usize>,
    pub(super) default_port: Option<usize>,
    /// Whether packets that are too big vanish without an answer, as behind a careless firewall.
    pub(super) silent: bool,
}

impl Router {
    /// `mtu` tells how large a packet may be that leaves through a port.
    pub(super) fn forward(&self, frame: &mut [u8], mtu: impl Fn(usize) -> usize) -> Forwarding {
        let Some(destination) = Ip::parse(&*frame).map(|packet| packet.destination()) else {
            return Forwarding::Dropped("malformed");
        };
        let Some(port) = self.routes.get(&destination).copied().or(self.default_port) else {
            return Forwarding::Dropped("no route");
        };
        if !pass_hop(frame) {
            return Forwarding::Dropped("no hops left");
        }
        let mtu = mtu(port);
        match frame.len() > mtu {
            true if self.silent => Forwarding::Dropped("too big, silently"),
            true => too_big(self.addresses, frame, mtu)
                .map_or(Forwarding::Dropped("too big without answer"), Forwarding::Answered),
            false => Forwarding::To(port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;

    #[test]
    fn a_switch_learns() {
        let frame = |to: u8, from: u8| {
            let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x08, 0x00];
            frame.extend(packet(false, 60, 0));
            frame
        };
        let mut switch = Switch::default();
        assert_eq!(switch.forward(0, &frame(2, 1)), Forwarding::Flood);
        assert_eq!(switch.forward(1, &frame(1, 2)), Forwarding::To(0));
        assert_eq!(switch.forward(0, &frame(2, 1)), Forwarding::To(1));
        assert_eq!(switch.forward(1, &frame(2, 1)), Forwarding::Dropped("already there"));
        assert_eq!(switch.forward(0, &[0; 5]), Forwarding::Dropped("malformed"));
    }

    #[test]
    fn a_router_routes_and_answers() {
        let mut router = Router {
            addresses: crate::packet::router_addresses(0),
            routes: BTreeMap::from([("10.0.0.2".parse().unwrap(), 3)]),
            default_port: None,
            silent: false,
        };
        assert_eq!(router.forward(&mut packet(false, 100, 0), |_| 1500), Forwarding::To(3));
        assert_eq!(router.forward(&mut packet(true, 100, 0), |_| 1500), Forwarding::Dropped("no route"));
        router.default_port = Some(1);
        assert_eq!(router.forward(&mut packet(true, 100, 0), |_| 1500), Forwarding::To(1));
        assert!(matches!(router.forward(&mut packet(true, 100, 0), |_| 99), Forwarding::Answered(_)));
        router.silent = true;
        assert!(matches!(router.forward(&mut packet(true, 100, 0), |_| 99), Forwarding::Dropped(_)));
    }
}
