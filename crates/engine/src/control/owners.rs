//! Whose the addresses are that are seen in sockets and flows.

use std::collections::HashMap;
use std::net::IpAddr;

use super::State;

/// Whose addresses are.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressOwners {
    /// Those of hosts of this network, also in others that they have joined.
    pub(super) own: HashMap<IpAddr, String>,
    /// Those of hosts whose sockets are seen in another network: guests, and hosts of networks that hosts have joined.
    foreign: HashMap<IpAddr, String>,
}

impl AddressOwners {
    /// The host at an address, also one of another network.
    pub(super) fn name(&self, address: IpAddr) -> Option<String> {
        self.own.get(&address).or_else(|| self.foreign.get(&address)).cloned()
    }
}

impl State {
    /// Whose each address is.
    pub(super) fn owners(&self) -> AddressOwners {
        let mut owners = AddressOwners::default();
        for (name, host) in &self.hosts {
            owners.own.extend(host.addresses().into_iter().map(|address| (address, name.clone())));
            for membership in &host.memberships {
                let network = &membership.joined.network;
                owners.own.extend(membership.joined.addresses().map(|address| (address, name.clone())));
                for (other, named) in &membership.names {
                    let of_network = |address: &IpAddr| (*address, format!("{other}.{network}"));
                    owners.foreign.extend(named.addresses.iter().map(of_network));
                }
            }
        }
        for (name, guest) in &self.guests {
            owners.foreign.extend(guest.addresses().into_iter().map(|address| (address, name.clone())));
        }
        owners
    }
}
