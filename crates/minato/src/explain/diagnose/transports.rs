//! The number is bound, but for the other transport: TCP and UDP have 65,536 ports each.

use minato_inspect::{Forward, PortRow, Transport};

use super::{Diagnosis, entrance, serves, who};
use crate::failure::code;
use crate::render;

impl Diagnosis<'_> {
    /// What serves this machine's port in the other transport is a host's, or a program's here. `false` if nothing does.
    pub(super) fn only_other_transport(&mut self) -> bool {
        let (port, other, services) = (self.port, self.other(), &self.network.services);
        let serves = |row: &&PortRow| serves(row, other);
        let leads = |forward: &&Forward| forward.host_port == port && forward.transport == other && !forward.automatic;
        let behind = self.network.forwards.iter().filter(leads).find_map(|forward| {
            let is_at = |row: &&PortRow| row.port == forward.service_port && row.host.as_ref() == Some(&forward.host);
            services.iter().filter(serves).find(is_at)
        });
        if let Some(row) = behind {
            self.is_another_port(row, format!("minato explain {port}/{}", render::transport(other)));
            return true;
        }
        if let Some(row) = self.machine_rows().iter().find(|row| row.transport == other) {
            self.is_another_port(row, format!("minato explain {port}/{}", render::transport(other)));
            return true;
        }
        let unforwarded = services.iter().filter(serves).find(|row| row.port == port);
        let Some((row, host)) = unforwarded.and_then(|row| Some((row, row.host.clone()?))) else { return false };
        let flag = &self.facts.network_flag;
        let suffix = if other == Transport::Udp { "/udp" } else { "" };
        let at = self.facts.bindable(port);
        self.is_another_port(row, format!("minato{flag} forward add -p {at}:{port}{suffix} {host}"));
        true
    }

    /// A host's service has the number that the target, or a forward to it, leads to.
    pub(super) fn other_transport(&mut self, row: &PortRow, forward: Option<&Forward>) {
        let flag = &self.facts.network_flag;
        let fix = match forward {
            Some(forward) => {
                let pair = self.spelled_address(forward);
                let wanted = Forward { transport: row.transport, ..forward.clone() };
                let is_there = |other: &&Forward| {
                    (other.address, other.host_port, other.transport)
                        == (wanted.address, wanted.host_port, wanted.transport)
                };
                if self.network.forwards.iter().any(|other| is_there(&other)) {
                    let place = pair.map(|_| entrance(&wanted).to_string());
                    let place = place.unwrap_or_else(|| wanted.host_port.to_string());
                    format!("minato explain {place}/{}", render::transport(wanted.transport))
                } else {
                    let spelled = render::spelled(&wanted, pair, wanted.service_port);
                    format!("minato{flag} forward add -p {spelled} {}", wanted.host)
                }
            }
            None => {
                let place = row.host.as_ref().map(|host| format!("{host}:")).unwrap_or_default();
                let from = self.inside_flag();
                format!("minato{flag} explain {place}{}/{}{from}", row.port, render::transport(row.transport))
            }
        };
        self.is_another_port(row, fix);
    }

    fn is_another_port(&mut self, row: &PortRow, fix: String) {
        let inside = row.host.as_ref().map(|host| format!(" in {host}")).unwrap_or_default();
        let bound = format!("{}/{}", row.port, render::transport(row.transport));
        let why = format!("{}{inside} is bound to {bound}; {} is another port", who(row), self.number(row.port));
        self.result.because(code::WRONG_ADDRESS, why, [fix]);
    }

    fn other(&self) -> Transport {
        match self.transport {
            Transport::Tcp => Transport::Udp,
            Transport::Udp => Transport::Tcp,
        }
    }
}
