//! The network's gateway: a resolver for its hosts, and the way to those of the machine's own ports that are opened to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Diagnosis, covers};
use crate::explain::probe::Outcome;
use crate::explain::{HopState, UNKNOWN};
use crate::failure::code;

/// Where the gateway answers questions for names (RFC 1035 §4.2).
const DOMAIN: u16 = 53;

impl Diagnosis<'_> {
    pub(super) fn gateway(&mut self, addresses: &[IpAddr]) {
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        self.result.hop(HopState::Good, "gateway", format!("{list}: the network's gateway"));
        let (port, flag) = (self.port, self.facts.network_flag.clone());
        let Some(host) = self.facts.from.clone() else {
            self.result.hop(HopState::Broken, "machine", "it has no way to a network's gateway: only hosts have");
            let why = "the gateway is reached from hosts; what it leads to is this machine's own loopback";
            let host = self.network.hosts.first().map_or("HOST", |host| host.name.as_str());
            let inside = format!("minato{flag} explain gateway:{port}{} --from {host}", self.suffix());
            let here = format!("minato explain {port}{}", self.suffix());
            return self.result.because(code::WRONG_ADDRESS, why, [inside, here]);
        };
        if port == DOMAIN {
            return self.result.hop(HopState::Good, "service", "it answers questions for names");
        }
        let v6_only = addresses.iter().all(IpAddr::is_ipv6);
        let loopback: IpAddr = if v6_only { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let place = SocketAddr::new(loopback, port);
        let row = self.machine_rows().iter().find(|row| self.serves(row) && covers(&row.addresses, loopback));
        let held = self.network.forwards.iter().any(|forward| {
            (forward.host_port, forward.transport) == (port, self.transport) && covers(&[forward.address], loopback)
        });
        match row {
            Some(row) => {
                self.result.hop(
                    HopState::Good,
                    "service",
                    format!("{} has {place} on this machine", self.holder_name(row)),
                );
            }
            None if held => {
                self.result.hop(HopState::Good, "service", format!("a forward has {place} on this machine"));
            }
            None => self.result.hop(HopState::Broken, "service", format!("nothing is on {place} of this machine")),
        }
        if self.facts.trials.iter().any(|trial| trial.outcome.came_through()) {
            return self.result.hop(HopState::Good, "opened", format!("--host-port {port} leads to {place}"));
        }
        if row.is_none() && !held && self.facts.machine.is_ok() {
            let why = format!(
                "nothing is on {place}, to which the gateway leads those hosts that --host-port {port} opens it to"
            );
            return self.result.because(code::NOTHING, why, [format!("minato explain {place}{}", self.suffix())]);
        }
        if self.facts.trials.iter().any(|trial| trial.outcome == Outcome::Silent) {
            let seen = format!(
                "no answer, but no refusal either, as of a port that is not opened: --host-port {port} may lead there"
            );
            return self.result.hop(HopState::Unknown, "opened", seen);
        }
        let code = if self.facts.machine.is_ok() { code::FORWARD_MISSING } else { UNKNOWN };
        let why = format!(
            "the gateway leads to this machine's port {port} only those hosts that --host-port {port} opens it to"
        );
        let fix = format!(
            "minato{flag} run --name {host} --host-port {port} -- PROGRAM    # once {host} has ended: it keeps what is opened to it"
        );
        self.result.hop(HopState::Broken, "opened", format!("{port} does not seem to be opened to {host}"));
        self.result.because(code, why, [fix]);
    }
}
