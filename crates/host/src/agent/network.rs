//! Network namespaces: the fabric with its bridge and TAP device, and the hosts at its ports.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::net::{SocketFlags, SocketType, ipproto, socket_with, sockopt};

use super::{
    FabricError, HostConfig, InsideSocket, Step, Subnet,
    blank::{Blank, Common, wait_until_operational},
    links,
    neighbours::Neighbours,
    sysctl,
};
use crate::{Family, netlink::Netlink, sockets, sys, tap};

/// The ephemeral range of a host that does not ask for another one.
const DYNAMIC: (u16, u16) = (49152, 65535);
/// Most ports that wait to be unplugged.
const MAX_VACANT: usize = 64;

/// The fabric namespace, in which the calling thread is between requests.
pub(super) struct Fabric {
    netlink: Netlink,
    pub(super) common: Common,
    next_port: u32,
    neighbours: Neighbours,
    /// Ready for the next host.
    blank: Option<Blank>,
    /// What hosts were last made with, and so what the next one is likely to ask for.
    ephemeral_range: (u16, u16),
    /// Ports of hosts that are gone, for [`unplug`](Self::unplug).
    vacant: Vec<u32>,
}

/// A host's network namespace.
pub(super) struct HostNetwork {
    pub(super) namespace: OwnedFd,
    pub(super) inode: u64,
    pub(super) port: u32,
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
        let fabric = Self {
            netlink,
            common: Common { subnet, gateway_mac, mtu, ipv6, congestion: sysctl::congestion_control() },
            next_port: links::FIRST_PORT_INDEX,
            neighbours: Neighbours::new(ipv6),
            blank: None,
            ephemeral_range: DYNAMIC,
            vacant: Vec::new(),
        };
        Ok((fabric, tap))
    }

    /// Makes a host's namespace, out of the one that is ready if there is one, and plugs it in.
    /// What the engine gets of it is beside.
    pub(super) fn add_host(
        &mut self,
        config: &HostConfig,
        fabric: &OwnedFd,
    ) -> Result<(HostNetwork, Vec<OwnedFd>), FabricError> {
        self.ephemeral_range = config.ephemeral_range;
        let blank = match self.blank.take() {
            Some(blank) => blank,
            None => self.make_blank(fabric)?,
        };
        let port = blank.port();
        match blank.become_host(config, &self.common, fabric) {
            Ok((host, netlink, handles)) => {
                self.neighbours.introduce(port, config, netlink);
                Ok((host, handles))
            }
            Err(error) => {
                self.vacate(port);
                Err(error)
            }
        }
    }

    /// Has hosts made with other addresses from now on.
    pub(super) fn renumber(&mut self, subnet: Subnet) {
        self.common.subnet = subnet;
        // It has a route through the gateway that was.
        if let Some(blank) = self.blank.take() {
            self.vacate(blank.port());
        }
    }

    /// Whether no namespace is ready for the next host.
    pub(super) fn lacks_blank(&self) -> bool {
        self.blank.is_none()
    }

    /// Makes a namespace ready for the next host.
    pub(super) fn stock_up(&mut self, fabric: &OwnedFd) {
        // Whoever asks for a host tries again, and is told why it fails.
        self.blank = self.make_blank(fabric).ok();
    }

    fn make_blank(&mut self, fabric: &OwnedFd) -> Result<Blank, FabricError> {
        let port = self.take_port();
        let made = Blank::make(&self.common, port, self.ephemeral_range, fabric, &mut self.netlink);
        made.inspect_err(|_| self.vacate(port))
    }

    /// Forgets a host. Its namespace, and with it the pair of interfaces, ends with its last descriptor and process.
    pub(super) fn remove_host(&mut self, host: &HostNetwork) {
        self.neighbours.forget(host.port);
        self.vacate(host.port);
    }

    /// The number of a port for a host of another fabric, and the socket with which it is made: this fabric has no rights in
    /// the other one's user namespace.
    pub(super) fn plug(&mut self) -> Result<(u32, OwnedFd), FabricError> {
        let netlink = Netlink::open(None).map_err(Step::Veth.failed())?;
        Ok((self.take_port(), netlink.into()))
    }

    fn take_port(&mut self) -> u32 {
        let port = self.next_port;
        self.next_port += 1;
        port
    }

    /// Has a port unplugged when there is time, also one of a host of another fabric.
    pub(super) fn vacate(&mut self, port: u32) {
        self.vacant.push(port);
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
}

/// Makes a socket in the calling thread's network namespace, with everything set that whoever uses it would have to set.
pub(super) fn inside_socket(kind: InsideSocket, family: Family, congestion: Option<&str>) -> io::Result<OwnedFd> {
    let domain = family.domain();
    let (of_type, protocol) = match kind {
        InsideSocket::Datagram => (SocketType::DGRAM, ipproto::UDP),
        InsideSocket::Stream | InsideSocket::TransparentStream | InsideSocket::Plain => {
            (SocketType::STREAM, ipproto::TCP)
        }
    };
    if kind == InsideSocket::Plain {
        return Ok(socket_with(domain, of_type, SocketFlags::CLOEXEC, Some(protocol))?);
    }
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
