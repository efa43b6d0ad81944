//! What the machine has of the addresses that a network has, too.

use std::io;
use std::net::IpAddr;

use minato_host::routes::{self, InterfaceAddress, Route};
use minato_inspect::Collision;
use minato_relay::Network;

/// The machine's own addresses and routes.
#[derive(Default)]
pub(crate) struct Machine {
    addresses: Vec<InterfaceAddress>,
    routes: Vec<Route>,
}

impl Machine {
    /// What the machine has at present.
    ///
    /// # Errors
    /// It can't be read now: out of descriptors, or it does not stop changing.
    pub(crate) fn look() -> io::Result<Machine> {
        Ok(Machine { addresses: routes::addresses()?, routes: routes::routes()? })
    }

    /// What collides with a network: addresses of the machine, then ways to others.
    pub(crate) fn collisions(&self, network: Network) -> impl Iterator<Item = Collision> {
        let own = self.addresses.iter().filter(move |own| network.contains(own.address));
        let own = own.map(|own| {
            let what = format!("the address {}/{}{}", own.address, own.prefix, by(Some(own.interface)));
            let all_bits = if own.address.is_ipv4() { 32 } else { 128 };
            Collision { hidden: format!("{}/{all_bits}", own.address), what }
        });
        let ways = self.routes.iter().filter_map(move |route| {
            let hidden = common(route, network.gateway_v4.into(), network.prefix_v4)
                .or_else(|| common(route, network.gateway_v6.into(), network.prefix_v6))?;
            let what = format!("a route to {}/{}{}", route.destination, route.prefix, by(route.interface));
            Some(Collision { hidden, what })
        });
        own.chain(ways)
    }
}

/// The name of an interface, as it follows an address.
fn by(interface: Option<u32>) -> String {
    interface.and_then(routes::interface_name).map_or_else(String::new, |name| format!(" ({name})"))
}

/// What a route and a network both have: the smaller one of them.
fn common(route: &Route, gateway: IpAddr, prefix: u8) -> Option<String> {
    route.overlaps(gateway, prefix).then(|| {
        if route.prefix >= prefix {
            format!("{}/{}", route.destination, route.prefix)
        } else {
            format!("{}/{prefix}", routes::network(gateway, prefix))
        }
    })
}
