//! The rtnetlink requests that make the fabric and a host.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_core::Parseable;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State},
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
        RouteType,
    },
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

/// Interface indices are chosen, not looked up: the namespaces are ours, and fallback tunnels (`sit0`, …) that some
/// kernels put into every namespace take the low ones.
pub(super) const BRIDGE_INDEX: u32 = 1001;
pub(super) const TAP_INDEX: u32 = 1002;
pub(super) const FIRST_PORT_INDEX: u32 = 2001;
pub(super) const HOST_INDEX: u32 = 1001;
const LOOPBACK_INDEX: u32 = 1;

/// Mark and routing table of mechanism 3: what belongs to a transparent socket is delivered locally.
pub(super) const MARK: u32 = 1;
const TRANSPARENT_TABLE: u8 = 100;

/// The bridge, up, without spanning tree (ports forward at once) and without multicast snooping.
pub(super) fn bridge(mtu: u16) -> RouteNetlinkMessage {
    let data = vec![InfoBridge::ForwardDelay(0), InfoBridge::MulticastSnooping(false)];
    let mut link = up(BRIDGE_INDEX);
    link.attributes = vec![
        LinkAttribute::IfName("bridge".into()),
        LinkAttribute::Mtu(mtu.into()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(data))]),
    ];
    RouteNetlinkMessage::NewLink(link)
}

/// Puts the TAP device into the bridge, and up.
pub(super) fn tap_into_bridge(mtu: u16) -> RouteNetlinkMessage {
    let mut link = up(TAP_INDEX);
    link.attributes = vec![LinkAttribute::Mtu(mtu.into()), LinkAttribute::Controller(BRIDGE_INDEX)];
    RouteNetlinkMessage::SetLink(link)
}

/// Tells the bridge that the gateway is behind the TAP device, so that its frames are never flooded.
pub(super) fn gateway_behind_tap(gateway: [u8; 6]) -> RouteNetlinkMessage {
    let mut entry = NeighbourMessage::default();
    entry.header.family = AddressFamily::Bridge;
    entry.header.ifindex = TAP_INDEX;
    // `Permanent` would mean the bridge itself.
    entry.header.state = NeighbourState::Noarp;
    entry.header.flags = NeighbourFlags::Controller;
    entry.attributes = vec![NeighbourAttribute::LinkLayerAddress(gateway.to_vec())];
    RouteNetlinkMessage::NewNeighbour(entry)
}

/// A veth pair: one end in the bridge and up, the other as `eth0`, or the one with another number, in the host's namespace.
/// The latter can't come up before the pair is complete: see [`host_up`].
pub(super) fn veth(port_index: u32, mtu: u16, host: BorrowedFd<'_>, number: u32) -> RouteNetlinkMessage {
    let mut inside = LinkMessage::default();
    inside.header.index = HOST_INDEX + number;
    inside.attributes = vec![
        LinkAttribute::IfName(format!("eth{number}")),
        LinkAttribute::Mtu(mtu.into()),
        LinkAttribute::NetNsFd(host.as_raw_fd()),
    ];
    let mut link = up(port_index);
    link.attributes = vec![
        LinkAttribute::IfName(format!("port{port_index}")),
        LinkAttribute::Mtu(mtu.into()),
        LinkAttribute::Controller(BRIDGE_INDEX),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside))),
        ]),
    ];
    RouteNetlinkMessage::NewLink(link)
}

/// Asks for an interface. The kernel carries out what a change of its carrier has left to do before it answers (since
/// 6.8; before that a moment later): only then are its packets not dropped.
pub(super) fn get(index: u32) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    RouteNetlinkMessage::GetLink(link)
}

/// Whether an answer to [`get`] shows an interface that carries packets.
pub(super) fn is_operational(answer: &[u8]) -> bool {
    LinkMessage::parse(answer).is_ok_and(|link| {
        let up = LinkAttribute::OperState(State::Up);
        // Some drivers never tell.
        link.attributes.contains(&up) || link.attributes.contains(&LinkAttribute::OperState(State::Unknown))
    })
}

/// Asks for the route to an IPv6 address.
pub(super) fn get_route(address: Ipv6Addr) -> RouteNetlinkMessage {
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet6;
    request.header.destination_prefix_length = 128;
    request.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet6(address))];
    RouteNetlinkMessage::GetRoute(request)
}

/// Whether an answer to [`get_route`] shows an address of this namespace.
pub(super) fn is_local(answer: &[u8]) -> bool {
    RouteMessage::parse(answer).is_ok_and(|route| route.header.kind == RouteType::Local)
}

/// Removes a veth pair by its bridge end.
pub(super) fn remove_port(port_index: u32) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = port_index;
    RouteNetlinkMessage::DelLink(link)
}

/// The loopback interface, up.
pub(super) fn loopback_up() -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(up(LOOPBACK_INDEX))
}

/// A host's interface, up.
pub(super) fn host_up(interface: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(up(interface))
}

/// The Ethernet address of a host's interface.
pub(super) fn host_address(interface: u32, mac: [u8; 6]) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = interface;
    link.attributes = vec![LinkAttribute::Address(mac.to_vec())];
    RouteNetlinkMessage::SetLink(link)
}

/// An address of a host's interface; an IPv6 one without duplicate address detection, so that it works at once.
pub(super) fn address(interface: u32, address: IpAddr, prefix: u8) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = interface;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    match address {
        IpAddr::V4(v4) => {
            let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            message.attributes.push(AddressAttribute::Broadcast(Ipv4Addr::from_bits(v4.to_bits() | host_bits)));
        }
        IpAddr::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    RouteNetlinkMessage::NewAddress(message)
}

/// A neighbour that never has to be asked for. The kernel does not count it among those that it may forget: its table has
/// room for 1024 others, of all namespaces together.
pub(super) fn neighbour(interface: u32, address: IpAddr, mac: [u8; 6]) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = interface;
    message.header.state = NeighbourState::Permanent;
    message.attributes =
        vec![NeighbourAttribute::Destination(address.into()), NeighbourAttribute::LinkLayerAddress(mac.to_vec())];
    RouteNetlinkMessage::NewNeighbour(message)
}

/// Forgets a neighbour.
pub(super) fn forget_neighbour(address: IpAddr) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = HOST_INDEX;
    message.attributes = vec![NeighbourAttribute::Destination(address.into())];
    RouteNetlinkMessage::DelNeighbour(message)
}

/// The default route. `ONLINK`: it needs no look at the gateway's own route, which IPv6 adds a moment later.
pub(super) fn default_route(gateway: IpAddr, congestion: Option<&str>) -> RouteNetlinkMessage {
    let mut message = route(gateway, RouteHeader::RT_TABLE_MAIN, RouteType::Unicast, RouteScope::Universe);
    message.attributes.extend(congestion.map(congestion_control));
    message.header.flags = RouteFlags::Onlink;
    message.attributes.push(RouteAttribute::Gateway(match gateway {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }));
    message.attributes.push(RouteAttribute::Oif(HOST_INDEX));
    RouteNetlinkMessage::NewRoute(message)
}

/// Mechanism 3: what carries our mark is looked up in a table of its own …
pub(super) fn transparent_rule(v6: bool) -> RouteNetlinkMessage {
    let mut message = RuleMessage::default();
    message.header.family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.table = TRANSPARENT_TABLE;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![RuleAttribute::FwMark(MARK), RuleAttribute::Priority(TRANSPARENT_TABLE.into())];
    RouteNetlinkMessage::NewRule(message)
}

/// … in which every address is the host's own.
pub(super) fn transparent_route(v6: bool, congestion: Option<&str>) -> RouteNetlinkMessage {
    let any = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let mut message = route(any, TRANSPARENT_TABLE, RouteType::Local, RouteScope::Host);
    message.attributes.push(RouteAttribute::Oif(LOOPBACK_INDEX));
    message.attributes.extend(congestion.map(congestion_control));
    RouteNetlinkMessage::NewRoute(message)
}

/// The congestion control of connections that take a route.
fn congestion_control(name: &str) -> RouteAttribute {
    RouteAttribute::Metrics(vec![RouteMetric::CcAlgo(name.to_owned())])
}

fn route(of_family: IpAddr, table: u8, kind: RouteType, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of_family);
    message.header.table = table;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = scope;
    message.header.kind = kind;
    message
}

fn up(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
