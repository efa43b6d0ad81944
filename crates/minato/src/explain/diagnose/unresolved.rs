//! Names that lead nowhere.

use std::net::{IpAddr, Ipv4Addr};

use super::Diagnosis;
use crate::explain::facts::GATEWAY;
use crate::explain::{HopState, Target};
use crate::failure::code;
use crate::flags::Name;

impl Diagnosis<'_> {
    pub(super) fn unresolved(&mut self, target: &Target) {
        let why = match self.not_running() {
            None => "the name is neither a minato host's nor one that can be resolved".to_owned(),
            Some(seen) if self.facts.others.is_empty() => {
                self.result.hop(HopState::Odd, "network", seen);
                "no minato network is running, and the name can't be resolved otherwise".to_owned()
            }
            Some(seen) => {
                self.result.hop(HopState::Odd, "network", seen.clone());
                format!("{seen}, and the name can't be resolved otherwise")
            }
        };
        if let Some(elsewhere) = self.in_other_network(target) {
            return self.result.because(code::NOTHING, elsewhere.0, [elsewhere.1]);
        }
        let flag = &self.facts.network_flag;
        let list = self.facts.network.is_some().then(|| format!("minato{flag} ps"));
        let name = target.name().unwrap_or_default();
        let host = target.internal().map_or_else(|| name.parse::<Name>(), |(host, _)| Ok(host));
        let fix = match host {
            // Only hosts know it, and it is none of theirs.
            Ok(host) if host.as_str() == GATEWAY => format!("minato{flag} explain {} --from HOST", target.text),
            Ok(name) => format!("minato{flag} run --name {name} -- PROGRAM"),
            // No host can be called so, but this machine's file of hosts knows names with dots.
            Err(_) => self.name_it(name),
        };
        self.result.because(code::NOTHING, why, list.into_iter().chain([fix]));
    }

    /// That the name is a host's of another network, and the command that explains it there.
    fn in_other_network(&self, target: &Target) -> Option<(String, String)> {
        let name = target.name()?;
        let other = self.facts.others.iter().find(|other| other.host(name).is_some())?;
        let why = format!("{name} is a host of network {}, which has to be named", other.name);
        Some((why, format!("minato --network {} explain {}", other.name, shell_words::quote(&target.text))))
    }

    /// That the network is not running, and which are.
    pub(super) fn not_running(&self) -> Option<String> {
        let names = self.facts.others.iter().map(|other| other.name.as_str()).collect::<Vec<_>>().join(", ");
        match (&self.facts.network, names.is_empty()) {
            (Some(_), _) => None,
            (None, true) => Some("none is running here".into()),
            (None, false) => Some(format!("network '{}' is not running ({names}: running)", self.facts.network_name)),
        }
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
        let serves = rows.filter(|row| self.serves(row)).count() > 0;
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
