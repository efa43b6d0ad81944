//! What hosts, connections and runs are told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use minato_transport::{Config, IpCidr, Link, MacAddress, tcp};

use crate::endpoint::Step;
use crate::packet::Medium;

/// A host: one stack with one port to the network.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its addresses; all hosts' addresses are on one link to it.
    pub addresses: Vec<IpAddr>,
    /// Its Ethernet address, if the medium has them.
    pub mac: MacAddress,
    /// How its frames are laid out.
    pub medium: Medium,
    /// Largest IP packet that it sends.
    pub mtu: u16,
    /// Whether it takes connections to any destination, as the engine does.
    pub any_destination: bool,
    /// TCP's limits and choices.
    pub tcp: tcp::Config,
}

impl HostConfig {
    /// Host 10.0.0.`number` and fd00::`number` with an MTU of 1,500 bytes and the stack's default choices.
    #[must_use]
    pub fn new(number: u8, medium: Medium) -> HostConfig {
        HostConfig {
            addresses: vec![
                Ipv4Addr::new(10, 0, 0, number).into(),
                Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into(),
            ],
            mac: MacAddress([0x02, 0, 0, 0, 0, number]),
            medium,
            mtu: 1500,
            any_destination: false,
            tcp: tcp::Config::default(),
        }
    }

    pub(super) fn stack_config(&self, key: [u8; 16]) -> Config {
        let Medium { ethernet, virtio } = self.medium;
        let link = match ethernet {
            true => Link::Ethernet { address: self.mac, mtu: self.mtu, virtio },
            false => Link::Ip { mtu: self.mtu, virtio },
        };
        let on_link = |address: &IpAddr| IpCidr::new(*address, 8).expect("every address is longer than 8 bits");
        Config {
            addresses: self.addresses.iter().map(on_link).collect(),
            any_destination: self.any_destination,
            tcp: self.tcp.clone(),
            ..Config::new(link, key)
        }
    }
}

/// A connection that a host is going to open.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Own end, if not left to the stack.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub remote: SocketAddr,
    /// What to do over it.
    pub script: Rc<[Step]>,
    /// How many more such connections are opened, each when the one before is over.
    pub repeat: u32,
}

impl Opening {
    /// One connection to `remote` from wherever the stack chooses.
    #[must_use]
    pub fn new(remote: SocketAddr, script: &[Step]) -> Opening {
        Opening { local: None, remote, script: script.into(), repeat: 0 }
    }
}

/// Where a run ends that does not end by itself.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Virtual time.
    pub time: Duration,
    /// Things that happen: arrivals, timers.
    pub events: u64,
    /// How long a connection may make no progress, in virtual time, unless a script pauses.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { time: Duration::from_secs(3600), events: 20_000_000, patience: Duration::from_secs(120) }
    }
}
