//! Hosts of other networks that have joined this one: they have names and addresses here, but what leaves their network does so
//! by their own gateway, and is held to the policy there.

use std::net::IpAddr;

use minato_relay::Egress;

use super::Plane;
use super::command::Guest;

impl Plane {
    pub(super) fn add_guest(&mut self, guest: Guest) {
        self.resolver.zone.add(&guest.name, guest.serial, &guest.addresses);
        self.policies.add(guest.serial, &guest.addresses, Some(Egress::new(false, Vec::new(), Vec::new())));
        self.guests.insert(guest.serial, guest);
    }

    pub(super) fn remove_guest(&mut self, serial: u32) {
        let Some(Guest { name, addresses, .. }) = self.guests.remove(&serial) else { return };
        self.resolver.zone.remove(&name, serial);
        self.end_flows_from(&addresses);
        self.forget_asker(serial, &addresses);
    }

    /// The host at an address of this network.
    pub(super) fn host_at(&self, address: IpAddr) -> Option<u32> {
        self.policies.serial_at(address).filter(|serial| self.hosts.contains_key(serial))
    }
}
