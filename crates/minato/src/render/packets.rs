//! `minato capture`: a line for each packet, and the comment that goes with it into a file.

use std::net::IpAddr;

use super::events::clock;
use super::{printable, process, transport};
use crate::capture::{Packet, Party};

/// A line: when (UTC), from whom to whom, and what it says.
pub(crate) fn packet(packet: &Packet) -> String {
    let way = match (&packet.source, &packet.destination) {
        (Some(source), Some(destination)) => format!("{} → {}: ", party(source), party(destination)),
        _ => String::new(),
    };
    // The two ends are named by their hosts, which mostly have an address of each family.
    let family =
        packet.source.as_ref().map_or("", |party| if party.address.is_ipv4() { " over IPv4" } else { " over IPv6" });
    let over = packet.transport.map_or_else(String::new, |kind| format!(" ({}{family})", transport(kind)));
    format!("{}  {way}{}{over}\n", clock(packet.time), printable(&packet.what))
}

/// Whose the packet is; nothing for one that has no ports.
pub(crate) fn packet_comment(packet: &Packet) -> Option<String> {
    packet.transport?;
    Some(format!("{} → {}", party(packet.source.as_ref()?), party(packet.destination.as_ref()?)))
}

/// One end: host, process, port and what the number is for.
fn party(party: &Party) -> String {
    let mut text = match (&party.host, party.address) {
        (Some(host), _) => printable(host),
        (None, IpAddr::V4(address)) => address.to_string(),
        (None, IpAddr::V6(address)) => format!("[{address}]"),
    };
    if let Some(holder) = &party.process {
        text += &format!(" {}", process(holder));
    }
    if let Some(port) = party.port {
        text += &format!(" port {port}");
        match &party.registered {
            _ if party.ephemeral => text += " (ephemeral)",
            Some(name) => text += &format!(" (registered name {})", printable(name)),
            None => {}
        }
    }
    if let Some(client) = party.client {
        text += &format!(" for {client}");
    }
    text
}
