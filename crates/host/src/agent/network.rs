//! Network namespaces: the fabric with its bridge and TAP device, and the hosts at its ports.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsFd, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};

use netlink_packet_route::RouteNetlinkMessage;
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt},
    thread::UnshareFlags,
};

use super::{
    FabricError, HostConfig, InsideSocket, Step, Subnet, host_mac, links,
    namespaces::{inode, join_network, open_own},
    neighbours::Neighbours,
    sysctl,
};
use crate::{Family, netlink::Netlink, sockets, sys, tap};

/// Most ports that wait to be unplugged.
const MAX_VACANT: usize = 64;

/// The fabric namespace, in which the calling thread is between requests.
pub(super) struct Fabric {
    netlink: Netlink,
    subnet: Subnet,
    gateway_mac: [u8; 6],
    mtu: u16,
    pub(super) ipv6: bool,
    /// What the hosts' routes ask for, if not the machine's default.
    pub(super) congestion: Option<&'static str>,
    next_port: u32,
    neighbours: Neighbours,
    /// Ports of hosts that are gone, for [`unplug`](Self::unplug).
    vacant: Vec<u32>,
}

/// A host's network namespace.
pub(super) struct HostNetwork {
    pub(super) namespace: OwnedFd,
    pub(super) inode: u64,
    port: u32,
}

impl Fabric {
    /// Furnishes the calling thread's network namespace: bridge and TAP device.
    pub(super) fn create(subnet: Subnet, gateway_mac: [u8; 6], mtu: u16) -> Result<(Self, OwnedFd), FabricError> {
        let ipv6 = sysctl::has_ipv6();
        sysctl::prepare_fabric(ipv6)?;
        let tap = tap::create(links::TAP_INDEX)?;
        let mut netlink = Netlink::open(None).map_err(Step::Bridge.failed())?;
        let requests = vec![links::bridge(mtu), links::tap_into_bridge(mtu), links::gateway_behind_tap(gateway_mac)];
        netlink.requests(requests).map_err(|(index, source)| FabricError {
            step: Step::Bridge,
            detail: Some(["bridge", "TAP device", "forwarding entry"][index.min(2)].to_owned()),
            source,
        })?;
        for index in [links::TAP_INDEX, links::BRIDGE_INDEX] {
            wait_until_operational(&mut netlink, index).map_err(Step::Bridge.failed())?;
        }
        let congestion = sysctl::congestion_control();
        let (next_port, neighbours) = (links::FIRST_PORT_INDEX, Neighbours::new(ipv6));
        let fabric =
            Self { netlink, subnet, gateway_mac, mtu, ipv6, congestion, next_port, neighbours, vacant: Vec::new() };
        Ok((fabric, tap))
    }

    /// Makes a host's namespace and plugs it in. Of a host that can't be made nothing is left: its namespace goes with
    /// its last descriptor, and the pair of interfaces with its namespace.
    pub(super) fn add_host(&mut self, config: &HostConfig, fabric: &OwnedFd) -> Result<HostNetwork, FabricError> {
        sys::unshare(UnshareFlags::NEWNET).map_err(Step::NetworkNamespace.failed())?;
        let prepared = self.prepare(config);
        join_network(fabric).expect("the agent owns the fabric namespace");
        let (namespace, mut inside) = prepared?;
        let inode = inode(&namespace).map_err(Step::NetworkNamespace.failed())?;
        let port = self.next_port;
        self.next_port += 1;
        self.netlink
            .requests(vec![links::veth(port, host_mac(config.address_v4), self.mtu, namespace.as_fd())])
            .map_err(|(_, source)| Step::Veth.failed()(source))?;
        let (names, requests): (Vec<_>, Vec<_>) = self.configuration(config).into_iter().unzip();
        let host = HostNetwork { namespace, inode, port };
        let configured = inside.requests(requests).map_err(|(index, source)| {
            let detail = names.get(index).map(|name| (*name).to_owned());
            FabricError { step: Step::Addresses, detail, source }
        });
        let result = configured.and_then(|()| {
            wait_until_operational(&mut inside, links::HOST_INDEX).map_err(Step::Veth.failed())?;
            if self.ipv6 {
                wait_until_local(&mut inside, config.address_v6).map_err(Step::Addresses.failed())?;
            }
            wait_until_operational(&mut self.netlink, port).map_err(Step::Veth.failed())
        });
        if let Err(error) = result {
            self.remove_host(&host);
            return Err(error);
        }
        self.neighbours.introduce(port, config, inside);
        Ok(host)
    }

    /// Forgets a host. Its namespace, and with it the pair of interfaces, ends with its last descriptor and process.
    pub(super) fn remove_host(&mut self, host: &HostNetwork) {
        self.neighbours.forget(host.port);
        self.vacant.push(host.port);
        if self.vacant.len() > MAX_VACANT {
            self.unplug();
        }
    }

    /// Whether there is something to unplug.
    pub(super) fn has_vacant(&self) -> bool {
        !self.vacant.is_empty()
    }

    /// Removes the ports of hosts that are gone, also of one whose namespace somebody still holds. The kernel takes some
    /// 15 ms for each that is still there, in which nobody should wait for an answer.
    pub(super) fn unplug(&mut self) {
        for port in self.vacant.drain(..) {
            // The only failure is that it is gone already.
            let _ = self.netlink.requests(vec![links::remove_port(port)]);
        }
    }

    /// In the new namespace: sysctls, and what is to be opened there.
    fn prepare(&self, config: &HostConfig) -> Result<(OwnedFd, Netlink), FabricError> {
        let namespace = open_own("net").map_err(Step::NetworkNamespace.failed())?;
        sysctl::prepare_host(config.ephemeral_range, self.ipv6)?;
        let netlink = Netlink::open(None).map_err(Step::Addresses.failed())?;
        Ok((namespace, netlink))
    }

    /// Everything that a host's interfaces get, each with a name for error messages.
    fn configuration(&self, config: &HostConfig) -> Vec<(&'static str, RouteNetlinkMessage)> {
        let Subnet { gateway_v4, prefix_v4, gateway_v6, prefix_v6 } = self.subnet;
        let (gateway_v4, gateway_v6) = (IpAddr::V4(gateway_v4), IpAddr::V6(gateway_v6));
        let congestion = self.congestion;
        let mut requests = vec![
            ("loopback", links::loopback_up()),
            ("interface", links::host_up()),
            ("IPv4 address", links::address(config.address_v4.into(), prefix_v4)),
            ("IPv4 neighbour", links::neighbour(gateway_v4, self.gateway_mac)),
            ("IPv4 default route", links::default_route(gateway_v4, congestion)),
            ("IPv4 rule", links::transparent_rule(false)),
            ("IPv4 local route", links::transparent_route(false, congestion)),
        ];
        if self.ipv6 {
            requests.extend([
                ("IPv6 address", links::address(config.address_v6.into(), prefix_v6)),
                ("IPv6 neighbour", links::neighbour(gateway_v6, self.gateway_mac)),
                ("IPv6 default route", links::default_route(gateway_v6, congestion)),
                ("IPv6 rule", links::transparent_rule(true)),
                ("IPv6 local route", links::transparent_route(true, congestion)),
            ]);
        }
        requests
    }
}

/// Waits until an interface that was brought up carries packets. Without this a host's first packets are lost, and its
/// first connection takes a second longer.
fn wait_until_operational(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    wait_until(netlink, || links::get(index), links::is_operational)
}

/// Waits until a new IPv6 address is the host's own. The kernel leaves that to a worker, even without duplicate address
/// detection, and meanwhile asks the neighbours for it.
fn wait_until_local(netlink: &mut Netlink, address: Ipv6Addr) -> io::Result<()> {
    wait_until(netlink, || links::get_route(address), links::is_local)
}

fn wait_until(
    netlink: &mut Netlink,
    question: impl Fn() -> RouteNetlinkMessage,
    is_so: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let start = Instant::now();
    while !is_so(&netlink.get(question())?) {
        if start.elapsed() > Duration::from_secs(5) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// Makes a socket in the calling thread's network namespace, with everything set that whoever uses it would have to set.
pub(super) fn inside_socket(kind: InsideSocket, family: Family, congestion: Option<&str>) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let (of_type, protocol) = match kind {
        InsideSocket::Datagram => (SocketType::DGRAM, ipproto::UDP),
        InsideSocket::Stream | InsideSocket::TransparentStream => (SocketType::STREAM, ipproto::TCP),
    };
    let socket = socket_with(domain, of_type, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))?;
    if kind != InsideSocket::Datagram {
        sockets::prepare(socket.as_fd())?;
        sockets::widen(socket.as_fd());
        if let Some(name) = congestion {
            sockopt::set_tcp_congestion(&socket, name)?;
        }
    }
    if kind == InsideSocket::TransparentStream {
        let (level, name) = match family {
            Family::V4 => (libc::SOL_IP, libc::IP_TRANSPARENT),
            Family::V6 => (libc::SOL_IPV6, libc::IPV6_TRANSPARENT),
        };
        sys::set_option(socket.as_fd(), level, name, 1)?;
        sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, links::MARK as i32)?;
        // One client may have the same port in connections to two services of this host.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    Ok(socket)
}
