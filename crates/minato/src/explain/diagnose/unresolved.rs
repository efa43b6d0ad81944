//! Names that lead nowhere.

use std::net::{IpAddr, Ipv4Addr};

use super::Diagnosis;
use crate::explain::{HopState, Target};
use crate::failure::code;
use crate::flags::Name;

impl Diagnosis<'_> {
    pub(super) fn unresolved(&mut self, target: &Target) {
        let why = if self.facts.network.is_some() {
            "the name is neither a minato host's nor one that can be resolved"
        } else {
            self.result.hop(HopState::Odd, "network", "none is running here");
            "no minato network is running, and the name can't be resolved otherwise"
        };
        let flag = &self.facts.network_flag;
        let list = self.facts.network.is_some().then(|| format!("minato{flag} ps"));
        let name = target.name().unwrap_or_default();
        let fix = match name.parse::<Name>() {
            Ok(name) => format!("minato{flag} run --name {name} -- PROGRAM"),
            // No host can be called so, but this machine's file of hosts knows names with dots.
            Err(_) => self.name_it(name),
        };
        self.result.because(code::NOTHING, why, list.into_iter().chain([fix]));
    }

    /// The command that gives the name to what is most likely meant: the host that its first label names, or what has the
    /// port on this machine.
    fn name_it(&self, name: &str) -> String {
        let label = name.split('.').next().unwrap_or_default();
        let host = self.network.hosts.iter().find(|host| host.name == label);
        let of_host = host.and_then(|host| match self.facts.from {
            Some(_) => Some(host.address_v4),
            None => host.loopback_v4,
        });
        let rows = self.facts.machine.iter().flatten();
        let serves = rows.filter(|row| row.listening && row.transport == self.transport).count() > 0;
        let here = (self.facts.from.is_none() && serves).then_some(Ipv4Addr::LOCALHOST);
        let (address, note) = match (of_host, here) {
            (Some(address), _) => (IpAddr::V4(address).to_string(), format!("    # if it is to be the host {label}")),
            (None, Some(address)) => (address.to_string(), "    # if it is to be this machine".to_owned()),
            (None, None) => ("ADDRESS".to_owned(), "    # the one that it is to have".to_owned()),
        };
        let file = if self.facts.is_root { ">> /etc/hosts" } else { "| sudo tee -a /etc/hosts" };
        // A name with a quote or a blank is none; it would be no command either.
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).collect();
        format!("echo '{address} {name}' {file}{note}")
    }
}
