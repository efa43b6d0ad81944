//! UDP out. Equal datagrams of one flow that wait for the link go as one frame, which the link cuts apart again.

use std::net::SocketAddr;

use smoltcp::wire::IpProtocol;

use super::{Dispatched, Framing, Output, SendError};
use crate::time::Time;
use crate::train::Train;
use crate::wire::ip::{IpHeader, Service};
use crate::wire::udp;
use crate::wire::virtio::{Offload, Segmentation, Segmented};

/// What datagrams have in common that may go as one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Both of the same family.
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) service: Service,
}

impl Output {
    /// Queues a datagram, in fragments if it exceeds the link's MTU.
    pub(crate) fn send_datagram(&mut self, now: Time, flow: &Flow, payload: &[u8]) -> Result<(), SendError> {
        let train = Train::new(payload.len());
        let header = datagram_header(flow, train);
        let framing = self.framing;
        // A packet that is cut into fragments can't leave its checksum to the link.
        let whole = header.length() + header.payload_length <= usize::from(framing.mtu());
        let coupled = whole && framing.segments_datagrams();
        if coupled && self.couple(flow, payload)? {
            return Ok(());
        }
        let partial = whole && framing.offloads();
        let offload = if partial { datagram_offload(framing, &header, train) } else { Offload::default() };
        let dispatched = self.send_packet(now, header, offload, |buffer| {
            udp::emit(flow.source, flow.destination, payload, buffer, partial);
        })?;
        if coupled && dispatched == Dispatched::Queued {
            self.queue.begin_train(*flow, train);
        }
        Ok(())
    }

    /// Whether a frame of the flow that waits took the datagram.
    fn couple(&mut self, flow: &Flow, payload: &[u8]) -> Result<bool, SendError> {
        let held = self.neighbors.held_bytes();
        let Some((frame, train)) = self.queue.couple(flow, payload, held)? else { return Ok(false) };
        let (header, headroom) = (datagram_header(flow, train), self.framing.headroom());
        let offload = datagram_offload(self.framing, &header, train);
        self.framing.emit_virtio(frame, &offload);
        header.emit(&mut frame[headroom..]);
        udp::emit_header(flow.source, flow.destination, &mut frame[headroom + header.length()..]);
        Ok(true)
    }
}

fn datagram_header(flow: &Flow, train: Train) -> IpHeader {
    let length = udp::HEADER_LENGTH + train.length();
    IpHeader::new(flow.source.ip(), flow.destination.ip(), IpProtocol::Udp, length).served(flow.service)
}

/// What the link shall finish: the checksum always, and the cutting if there is more than one datagram.
fn datagram_offload(framing: Framing, header: &IpHeader, train: Train) -> Offload {
    let start = framing.ethernet_length() + header.length();
    let segmentation = (train.count() > 1).then(|| Segmentation {
        segmented: Segmented::Udp,
        header_length: (start + udp::HEADER_LENGTH) as u16,
        segment_size: train.size() as u16,
    });
    Offload { checksum: Some((start as u16, udp::CHECKSUM_OFFSET as u16)), segmentation }
}
