//! The same thing in the vocabularies of `ports`, `host` and `inspect`.

use minato_inspect as inspect;
use minato_ports::PortClass;
use minato_ports::Transport;
use minato_transport::IpCidr;

use crate::startup::subnet::has_ipv6;

pub(crate) fn to_inspect(transport: Transport) -> inspect::Transport {
    match transport {
        Transport::Tcp => inspect::Transport::Tcp,
        Transport::Udp => inspect::Transport::Udp,
    }
}

pub(crate) fn from_inspect(transport: inspect::Transport) -> Transport {
    match transport {
        inspect::Transport::Tcp => Transport::Tcp,
        inspect::Transport::Udp => Transport::Udp,
    }
}

pub(crate) fn from_host(transport: minato_host::Transport) -> Transport {
    match transport {
        minato_host::Transport::Tcp => Transport::Tcp,
        minato_host::Transport::Udp => Transport::Udp,
    }
}

pub(crate) fn to_host(transport: Transport) -> minato_host::Transport {
    match transport {
        Transport::Tcp => minato_host::Transport::Tcp,
        Transport::Udp => minato_host::Transport::Udp,
    }
}

/// The gateway's addresses, as the stack has them.
pub(crate) fn gateway(network: &minato_relay::Network) -> Vec<IpCidr> {
    let v4 = IpCidr::new(network.gateway_v4.into(), network.prefix_v4);
    let v6 = has_ipv6(network).then(|| IpCidr::new(network.gateway_v6.into(), network.prefix_v6));
    [v4, v6.flatten()].into_iter().flatten().collect()
}

pub(crate) fn class(port: u16) -> inspect::PortClass {
    match PortClass::of(port) {
        PortClass::WellKnown => inspect::PortClass::WellKnown,
        PortClass::Registered => inspect::PortClass::Registered,
        PortClass::Dynamic => inspect::PortClass::Dynamic,
    }
}

pub(crate) fn process(process: minato_host::process::Process) -> inspect::Process {
    inspect::Process {
        pid: process.pid,
        parent: process.parent,
        name: process.name,
        command: process.command,
        cwd: process.cwd,
        uid: process.uid,
        age_seconds: process.age.as_secs_f64(),
    }
}
