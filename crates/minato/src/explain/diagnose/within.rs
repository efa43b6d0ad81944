//! The loopback of the host that a connection is tried from: what is reached there is its own services, and nobody else's.

use std::net::{IpAddr, SocketAddr};

use super::{Diagnosis, covers, who};
use crate::explain::HopState;
use crate::failure::code;
use crate::render;

impl Diagnosis<'_> {
    pub(super) fn within(&mut self, host: &str, addresses: &[IpAddr]) {
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        self.result.hop(HopState::Good, "host", format!("{list}: {host} itself, as seen from inside"));
        let at = |address: &IpAddr| {
            let row = self.listening(host).find(|row| row.port == self.port && covers(&row.addresses, *address));
            Some((*address, row?))
        };
        if let Some((address, row)) = addresses.iter().find_map(at) {
            self.result.hop(HopState::Good, "service", format!("{} is bound to {}", who(row), render::bind(row)));
            self.host_rivals(host, self.port, Some(address));
            return self.readiness(row);
        }
        if let Some(row) = self.service(host, self.port, None) {
            self.result.hop(HopState::Broken, "service", format!("{} is bound to {}", who(row), render::bind(row)));
            let why = format!("{} is not bound to {list}, but to {}", who(row), render::bind(row));
            let known = self.network.hosts.iter().find(|known| known.name == host);
            let fix = known.and_then(|known| self.relay_inside(known, row, addresses.first().copied()));
            return self.result.because(code::WRONG_ADDRESS, why, fix);
        }
        self.result.hop(
            HopState::Broken,
            "service",
            format!("nothing in {host} listens on {}", self.number(self.port)),
        );
        self.machines_own(host);
        self.service_missing(host, self.port, None);
    }

    /// That the machine has the port is what may have been meant: the loopback of each is its own.
    fn machines_own(&mut self, host: &str) {
        let port = self.port;
        let loopback = |address: &IpAddr| address.is_loopback() || address.is_unspecified();
        let row = self.machine_rows().iter().find(|row| self.serves(row) && row.addresses.iter().any(loopback));
        if let Some(row) = row {
            let seen = format!(
                "{} has {} on this machine, which is not {host}: from inside it is gateway:{port}, if --host-port {port} \
                 opens it",
                self.holder_name(row),
                self.number(port)
            );
            self.result.hop(HopState::Odd, "machine", seen);
        }
    }

    /// A host's address from this machine: only hosts have a way there. What leads to the service
    /// instead is named: a forward that was asked for, or else the host's own loopback address.
    pub(super) fn not_from_machine(&mut self, host: &str, address: IpAddr, row: &minato_inspect::PortRow) {
        let own = self.network.own_forward(row);
        let asked = row.forwarded_from.iter().find(|forward| !forward.automatic);
        let flag = &self.facts.network_flag;
        let suffix = self.suffix();
        self.result.hop(HopState::Broken, "machine", format!("it has no way to {address}: only hosts have"));
        let why = "a host's address is reached from hosts, not from this machine";
        let places: Vec<SocketAddr> = own.into_iter().chain(asked).map(super::entrance).collect();
        let Some(place) = places.last() else {
            let (at, port) = (self.facts.bindable(self.port), self.port);
            let why = format!("{why}, and no port of it leads there");
            let fix = format!("minato{flag} forward add -p {at}:{port}{suffix} {host}");
            return self.result.because(code::FORWARD_MISSING, why, [fix]);
        };
        let fixes: Vec<String> = places.iter().map(|place| format!("minato{flag} explain {place}{suffix}")).collect();
        self.result.because(code::WRONG_ADDRESS, format!("{why}, which reaches {host} at {place}"), fixes);
    }
}
