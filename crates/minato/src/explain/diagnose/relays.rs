//! What makes a service reachable at an address that it is not bound to, without starting it anew.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use minato_inspect::{Host, PortRow};

use super::{Diagnosis, covers};
use crate::explain::probe::Outcome;
use crate::explain::{Place, Target};

/// Where a program passes on what comes to it, if it is `minato relay`: then it is no service of its own.
pub(super) fn leads_to(row: &PortRow) -> Option<SocketAddr> {
    let [process] = row.processes.as_slice() else { return None };
    let (program, arguments) = process.command.split_first()?;
    let is_relay = program.rsplit('/').next() == Some("minato") && arguments.iter().any(|word| word == "relay");
    let mut words = arguments.iter().skip_while(|word| !word.starts_with("--to")).flat_map(|word| word.split('='));
    let to = words.nth(1).filter(|_| is_relay)?.parse::<Target>().ok()?;
    let Place::Address(address) = to.place else { return None };
    Some(SocketAddr::new(address, to.port))
}

impl Diagnosis<'_> {
    /// The command that passes on what comes to a host's addresses, or to one of them.
    pub(super) fn relay_inside(&self, host: &Host, row: &PortRow, address: Option<IpAddr>) -> Option<String> {
        let (flag, name) = (self.flag_inside(&host.name), &host.name);
        // A machine without IPv6 gives its hosts none.
        let refused = |address: &IpAddr| {
            let mut trials = self.facts.trials.iter().filter(|trial| trial.destination.ip() == *address);
            trials.any(|trial| trial.outcome == Outcome::Refused)
        };
        let all = match address {
            Some(address) => vec![address],
            None => host.addresses().collect(),
        };
        let mut missing: Vec<IpAddr> = all.into_iter().filter(|address| !covers(&row.addresses, *address)).collect();
        if missing.iter().any(refused) {
            missing.retain(refused);
        }
        let relay = self.relay(row, &missing.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        Some(format!("minato{flag} exec {name} -- {relay}"))
    }

    /// The same for a program of this machine.
    pub(super) fn relay_here(&self, row: &PortRow, addresses: &[IpAddr]) -> Option<String> {
        let both = addresses.len() > 1 && addresses.iter().all(IpAddr::is_loopback);
        let places: Vec<String> =
            if both { vec![String::new()] } else { addresses.iter().map(ToString::to_string).collect() };
        let relay = self.relay(row, &places)?;
        Some(if self.port < self.facts.first_bindable { format!("sudo {relay}") } else { relay })
    }

    fn relay(&self, row: &PortRow, places: &[String]) -> Option<String> {
        // What it is bound to, at an address that can be connected to.
        let to = match row.addresses.first()? {
            IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) if address.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            address => *address,
        };
        let (to, port) = (SocketAddr::new(to, row.port), row.port);
        let place = |place: &String| match place.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, port).to_string(),
            Err(_) => port.to_string(),
        };
        let places = places.iter().map(place).collect::<Vec<_>>().join(" ");
        Some(format!("minato relay --to {to}{} {places}", self.suffix()))
    }
}
