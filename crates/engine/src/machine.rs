//! What the machine has of the addresses that a network has, too.

use std::fmt;
use std::io;
use std::net::IpAddr;

use minato_host::routes::{self, InterfaceAddress, Route};
use minato_relay::Network;

/// The machine's own addresses and routes.
pub(crate) struct Machine {
    addresses: Vec<InterfaceAddress>,
    routes: Vec<Route>,
}

/// Something of the machine's that lies in a network, or has it in itself: the network's hosts can't reach that part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Collision {
    /// An address of the machine.
    Address(InterfaceAddress),
    /// A way to others.
    Route(Route),
}

impl Machine {
    /// What the machine has at present, as far as it can be read.
    pub(crate) fn look() -> Machine {
        let warn = |error: &io::Error| tracing::warn!(%error, "can't read the machine's addresses and routes");
        Machine {
            addresses: routes::addresses().inspect_err(warn).unwrap_or_default(),
            routes: routes::routes().inspect_err(warn).unwrap_or_default(),
        }
    }

    /// What collides with a network; its own addresses before ways to others.
    pub(crate) fn collisions(&self, network: Network) -> impl Iterator<Item = Collision> {
        let own = self.addresses.iter().filter(move |own| network.contains(own.address));
        let overlaps = move |route: &&Route| {
            route.overlaps(network.gateway_v4.into(), network.prefix_v4)
                || route.overlaps(network.gateway_v6.into(), network.prefix_v6)
        };
        let ways = self.routes.iter().filter(overlaps);
        own.copied().map(Collision::Address).chain(ways.copied().map(Collision::Route))
    }
}

impl Collision {
    /// Where it is.
    pub(crate) fn address(&self) -> IpAddr {
        match self {
            Collision::Address(own) => own.address,
            Collision::Route(route) => route.destination,
        }
    }
}

/// As part of a sentence: "the machine has …".
impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = match self {
            Collision::Address(own) => {
                write!(f, "the address {}/{}", own.address, own.prefix)?;
                Some(own.interface)
            }
            Collision::Route(route) => {
                write!(f, "a route to {}/{}", route.destination, route.prefix)?;
                route.interface
            }
        };
        interface.and_then(routes::interface_name).map_or(Ok(()), |name| write!(f, " ({name})"))
    }
}
