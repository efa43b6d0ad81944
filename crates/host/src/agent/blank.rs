//! Namespaces without a name: all that hosts have in common, made before anybody asks for one.
//!
//! Making a network namespace and plugging it in takes ten times as long as giving it an address. So the agent has one
//! ready while it has nothing else to do. It goes with the agent like every other, has no process, and sends no packet:
//! its interface is up, but has no address, not even a link-local one.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsFd, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};

use netlink_packet_route::RouteNetlinkMessage;
use rustix::thread::UnshareFlags;

use super::{
    FabricError, HostConfig, Interface, Step, Subnet, host_mac, links,
    namespaces::{inode, join_network, open_own},
    network::HostNetwork,
    sysctl,
};
use crate::{netlink::Netlink, sock_diag, sys};

/// What every host of a fabric is made with.
pub(super) struct Common {
    pub(super) subnet: Subnet,
    pub(super) gateway_mac: [u8; 6],
    pub(super) mtu: u16,
    pub(super) ipv6: bool,
    /// What routes ask for, if not the machine's default.
    pub(super) congestion: Option<&'static str>,
}

/// A host's namespace, plugged in, that is no host's yet.
pub(super) struct Blank {
    network: HostNetwork,
    ephemeral_range: (u16, u16),
    /// Inside.
    netlink: Netlink,
    handles: Vec<OwnedFd>,
}

/// Requests, each with a name for error messages.
type Named = Vec<(&'static str, RouteNetlinkMessage)>;

impl Blank {
    /// Makes one and plugs it into the bridge that `bridge` is a socket beside. Of one that can't be made nothing is
    /// left: the namespace goes with its last descriptor, and the pair of interfaces with its namespace.
    pub(super) fn make(
        common: &Common,
        port: u32,
        ephemeral_range: (u16, u16),
        fabric: &OwnedFd,
        bridge: &mut Netlink,
    ) -> Result<Self, FabricError> {
        sys::unshare(UnshareFlags::NEWNET).map_err(Step::NetworkNamespace.failed())?;
        let prepared = prepare(ephemeral_range, common.ipv6);
        join_network(fabric).expect("the agent owns the fabric namespace");
        let Inside { namespace, mut netlink, handles } = prepared?;
        let inode = inode(&namespace).map_err(Step::NetworkNamespace.failed())?;
        let plug = links::veth(port, common.mtu, namespace.as_fd(), 0);
        bridge.requests(vec![plug]).map_err(|(_, source)| Step::Veth.failed()(source))?;
        if common.ipv6 {
            join_network(&namespace)?;
            let left = sysctl::leave_without_address(0);
            join_network(fabric).expect("the agent owns the fabric namespace");
            left?;
        }
        request(&mut netlink, furniture(common))?;
        for (netlink, index) in [(&mut netlink, links::HOST_INDEX), (bridge, port)] {
            wait_until_operational(netlink, index).map_err(Step::Veth.failed())?;
        }
        Ok(Self { network: HostNetwork { namespace, inode, port }, ephemeral_range, netlink, handles })
    }

    /// Its port at the bridge.
    pub(super) fn port(&self) -> u32 {
        self.network.port
    }

    /// Makes it this host's; what was opened inside comes with it.
    pub(super) fn become_host(
        mut self,
        config: &HostConfig,
        common: &Common,
        fabric: &OwnedFd,
    ) -> Result<(HostNetwork, Netlink, Vec<OwnedFd>), FabricError> {
        if self.ephemeral_range != config.ephemeral_range {
            join_network(&self.network.namespace)?;
            let set = sysctl::set_ephemeral_range(config.ephemeral_range);
            join_network(fabric).expect("the agent owns the fabric namespace");
            set?;
        }
        request(&mut self.netlink, identity(config, common))?;
        if let Some(address) = config.address_v6.filter(|_| common.ipv6) {
            wait_until_local(&mut self.netlink, address).map_err(Step::Addresses.failed())?;
        }
        Ok((self.network, self.netlink, self.handles))
    }
}

/// What is opened in a new namespace.
struct Inside {
    namespace: OwnedFd,
    netlink: Netlink,
    /// For the engine: the setting for privileged ports, and two handles on the socket table, one for dumps alone, and
    /// behind it a whole one.
    handles: Vec<OwnedFd>,
}

/// In the new namespace: sysctls, and what is to be opened there.
fn prepare(ephemeral_range: (u16, u16), ipv6: bool) -> Result<Inside, FabricError> {
    let namespace = open_own("net").map_err(Step::NetworkNamespace.failed())?;
    sysctl::prepare_host(ephemeral_range, ipv6)?;
    let netlink = Netlink::open(None).map_err(Step::Addresses.failed())?;
    let setting = sysctl::open_unprivileged_start()?;
    let open_tables = || Ok([setting, sock_diag::open_dumps()?].into_iter().chain(sock_diag::open_table()?).collect());
    let handles = open_tables().map_err(Step::SockDiag.failed())?;
    Ok(Inside { namespace, netlink, handles })
}

fn request(netlink: &mut Netlink, requests: Named) -> Result<(), FabricError> {
    let (names, requests): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    netlink.requests(requests).map_err(|(index, source)| {
        let detail = names.get(index).map(|name| (*name).to_owned());
        FabricError { step: Step::Addresses, detail, source }
    })
}

/// What all hosts have alike. Routes through the gateway need no address yet.
fn furniture(common: &Common) -> Named {
    let (subnet, congestion) = (common.subnet, common.congestion);
    let mut requests = vec![
        ("loopback", links::loopback_up()),
        ("interface", links::host_up(links::HOST_INDEX)),
        ("IPv4 default route", links::default_route(subnet.gateway_v4.into(), congestion)),
        ("IPv4 rule", links::transparent_rule(false)),
        ("IPv4 local route", links::transparent_route(false, congestion)),
    ];
    if common.ipv6 {
        requests.extend([
            ("IPv6 default route", links::default_route(subnet.gateway_v6.into(), congestion)),
            ("IPv6 rule", links::transparent_rule(true)),
            ("IPv6 local route", links::transparent_route(true, congestion)),
        ]);
    }
    requests
}

/// What makes a host this one.
fn identity(config: &HostConfig, common: &Common) -> Named {
    let Common { subnet, gateway_mac, .. } = *common;
    let (address_v4, address_v6) = (config.address_v4, config.address_v6);
    addresses(&Interface { number: 0, address_v4, address_v6, subnet, gateway_mac }, common.ipv6)
}

/// The addresses of an interface, and its gateway's. The kernel forgets an interface's neighbours when its Ethernet address
/// changes, so they come after that.
fn addresses(interface: &Interface, ipv6: bool) -> Named {
    let Subnet { gateway_v4, prefix_v4, gateway_v6, prefix_v6 } = interface.subnet;
    let index = links::HOST_INDEX + interface.number;
    let neighbour = |gateway: IpAddr| links::neighbour(index, gateway, interface.gateway_mac);
    let mac = host_mac(interface.address_v4);
    let mut requests = vec![
        ("Ethernet address", links::host_address(index, mac)),
        ("IPv4 address", links::address(index, interface.address_v4.into(), prefix_v4)),
        ("IPv4 neighbour", neighbour(gateway_v4.into())),
    ];
    if let Some(address) = interface.address_v6.filter(|_| ipv6) {
        requests.extend([
            ("IPv6 link-local address", links::address(index, link_local(mac).into(), 64)),
            ("IPv6 address", links::address(index, address.into(), prefix_v6)),
            ("IPv6 neighbour", neighbour(gateway_v6.into())),
        ]);
    }
    requests
}

/// Gives an interface of the calling thread's network namespace, which leads to another network, what it needs.
pub(super) fn furnish(interface: &Interface, ipv6: bool) -> Result<(), FabricError> {
    sysctl::prepare_second_interface()?;
    if ipv6 {
        sysctl::leave_without_address(interface.number)?;
    }
    let index = links::HOST_INDEX + interface.number;
    let mut netlink = Netlink::open(None).map_err(Step::Addresses.failed())?;
    request(&mut netlink, vec![("interface", links::host_up(index))])?;
    request(&mut netlink, addresses(interface, ipv6))?;
    wait_until_operational(&mut netlink, index).map_err(Step::Veth.failed())?;
    if let Some(address) = interface.address_v6.filter(|_| ipv6) {
        wait_until_local(&mut netlink, address).map_err(Step::Addresses.failed())?;
    }
    Ok(())
}

/// The link-local address of an Ethernet address (RFC 4291, appendix A).
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Waits until an interface that was brought up carries packets. Without this a host's first packets are lost, and its
/// first connection takes a second longer.
pub(super) fn wait_until_operational(netlink: &mut Netlink, index: u32) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_the_kernels() {
        assert_eq!(link_local([0x02, 0x4d, 10, 77, 0, 3]), "fe80::4d:aff:fe4d:3".parse::<Ipv6Addr>().unwrap());
    }
}
