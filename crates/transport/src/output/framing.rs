//! What stands before the IP packet in a frame: the virtio-net header and the Ethernet header, if the link has them.

use smoltcp::wire::{ETHERNET_HEADER_LEN, EthernetAddress, EthernetFrame, EthernetProtocol};

use crate::config::{Config, Link};
use crate::types::MacAddress;
use crate::wire::virtio::{self, Offload};

/// The link's frame format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    link: Link,
    datagram_segmentation: bool,
}

impl Framing {
    pub(crate) fn new(config: &Config) -> Framing {
        let Config { link, datagram_segmentation, .. } = *config;
        Framing { link, datagram_segmentation: datagram_segmentation && link.virtio() }
    }

    pub(crate) fn mtu(&self) -> u16 {
        self.link.mtu()
    }

    pub(crate) fn is_ethernet(&self) -> bool {
        matches!(self.link, Link::Ethernet { .. })
    }

    /// Whether the link finishes checksums and cuts segments.
    pub(crate) fn offloads(&self) -> bool {
        self.link.virtio()
    }

    /// Whether the link cuts datagrams too.
    pub(crate) fn segments_datagrams(&self) -> bool {
        self.datagram_segmentation
    }

    /// Our station address.
    pub(crate) fn own_station(&self) -> Option<MacAddress> {
        match self.link {
            Link::Ethernet { address, .. } => Some(address),
            Link::Ip { .. } => None,
        }
    }

    /// Bytes before the IP packet.
    pub(crate) fn headroom(&self) -> usize {
        self.virtio_length() + self.ethernet_length()
    }

    /// Bytes between the virtio-net header and the IP packet.
    pub(crate) fn ethernet_length(&self) -> usize {
        if self.is_ethernet() { ETHERNET_HEADER_LEN } else { 0 }
    }

    fn virtio_length(&self) -> usize {
        if self.offloads() { virtio::LENGTH } else { 0 }
    }

    pub(crate) fn emit_virtio(&self, frame: &mut [u8], offload: &Offload) {
        if self.offloads() {
            virtio::emit(frame, offload);
        }
    }

    pub(crate) fn emit_ethernet(&self, frame: &mut [u8], station: MacAddress, ipv6: bool) {
        self.emit_ethernet_protocol(frame, station, if ipv6 { EthernetProtocol::Ipv6 } else { EthernetProtocol::Ipv4 });
    }

    pub(crate) fn emit_ethernet_protocol(&self, frame: &mut [u8], station: MacAddress, protocol: EthernetProtocol) {
        let Link::Ethernet { address, .. } = self.link else { return };
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame[self.virtio_length()..]);
        ethernet.set_dst_addr(EthernetAddress(station.0));
        ethernet.set_src_addr(EthernetAddress(address.0));
        ethernet.set_ethertype(protocol);
    }
}
