//! The hosts that serve a number which leads to none of them on this machine: any of them may be meant, so all are named.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minato_inspect::{Forward, Host, PortRow};

use super::machine::lower;
use super::{Diagnosis, is_loopback_only, serves, who};
use crate::explain::HopState;
use crate::explain::facts::Network;
use crate::failure::code;
use crate::render;

/// A service that a port of this machine could lead to.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    network: &'a Network,
    /// Whether it is of the network that is asked.
    is_asked: bool,
    host: &'a str,
    row: &'a PortRow,
}

impl Candidate<'_> {
    fn label(&self) -> String {
        format!("{}{}", self.host, self.of_network())
    }

    /// Its host and port.
    fn target(&self) -> String {
        format!("{}:{}{}", self.host, self.row.port, self.of_network())
    }

    fn of_network(&self) -> String {
        if self.is_asked { String::new() } else { format!(" of network {}", self.network.name) }
    }

    /// What a command about it needs; `asked`: in the network that is asked.
    fn network_flag(&self, asked: &str) -> String {
        if self.is_asked { asked.to_owned() } else { format!(" --network {}", self.network.name) }
    }

    /// Where else on this machine it is reached.
    fn elsewhere(&self) -> Option<&Forward> {
        self.row.forwarded_from.first().or_else(|| self.network.own_forward(self.row))
    }
}

impl<'a> Diagnosis<'a> {
    /// One service of each host that has the number; at a host's own address only that host's. The network that is asked
    /// comes first.
    pub(super) fn candidates(&self, addresses: &[IpAddr]) -> Vec<Candidate<'a>> {
        let only = self.own_address_of(addresses);
        let of = |network: &'a Network, is_asked: bool| {
            let mut seen = HashSet::new();
            let mut rows: Vec<&PortRow> = network.services.iter().filter(|row| row.port == self.port).collect();
            rows.retain(|row| serves(row, self.transport));
            rows.sort_by_key(|row| is_loopback_only(row));
            let candidate = |row: &'a PortRow| Some(Candidate { network, is_asked, host: row.host.as_deref()?, row });
            let found = rows.into_iter().filter_map(candidate).filter(|found| seen.insert(found.host));
            found.filter(|found| only.is_none_or(|host| is_asked && host.name == found.host)).collect::<Vec<_>>()
        };
        let others = self.facts.others.iter().flat_map(|other| of(other, false));
        of(self.network, true).into_iter().chain(others).collect()
    }

    /// The host whose own address on this machine it is.
    pub(super) fn own_address_of(&self, addresses: &[IpAddr]) -> Option<&'a Host> {
        let [only] = addresses else { return None };
        self.network.hosts.iter().find(|host| host.loopback_v4.map(IpAddr::V4) == Some(*only))
    }

    /// Whether it is an address like those that hosts have on this machine, but no host's of these networks.
    fn is_nobodys(&self, addresses: &[IpAddr]) -> bool {
        addresses.iter().all(|address| address.is_loopback() && !is_localhost(*address))
            && self.own_address_of(addresses).is_none()
    }

    /// No port of this machine leads to what may be meant.
    pub(super) fn not_forwarded(&mut self, candidates: &[Candidate<'_>], addresses: &[IpAddr]) {
        for candidate in candidates {
            let (label, row) = (candidate.label(), candidate.row);
            let elsewhere = candidate.elsewhere().filter(|_| candidates.len() > 1);
            let elsewhere = elsewhere.map(|forward| format!(": {} leads there", forward.place())).unwrap_or_default();
            self.result.hop(HopState::Broken, "forward", format!("none to {}{elsewhere}", candidate.target()));
            self.result.hop(
                HopState::Good,
                "service",
                format!("{} in {label} is bound to {}", who(row), render::bind(row)),
            );
        }
        let (code, why) = match candidates {
            [only] => self.only_one(only),
            _ => self.several(candidates),
        };
        // What is asked comes last, as the most likely.
        let fixes: Vec<String> =
            candidates.iter().rev().map(|candidate| self.add_forward(candidate, addresses)).collect();
        self.result.because(code, why, fixes);
    }

    fn only_one(&self, candidate: &Candidate<'_>) -> (u8, String) {
        let (host, port) = (candidate.label(), self.port);
        if let Some(forward) = candidate.row.forwarded_from.first() {
            let why = format!("{host}:{port} is forwarded from {}, not from port {port}", forward.place());
            return (code::FORWARD_MISSING, why);
        }
        if let Some(setting) = self.privileged() {
            let why = format!("{host} serves the port, but on this machine you may not bind it ({setting})");
            return (code::PRIVILEGED, why);
        }
        let why = match candidate.network.own_forward(candidate.row) {
            Some(own) => format!(
                "{host} serves the port, and of this machine only {host}'s own address {} leads there",
                own.address
            ),
            None => format!("{host} serves the port, but no port of this machine leads there"),
        };
        (code::FORWARD_MISSING, why)
    }

    fn several(&self, candidates: &[Candidate<'_>]) -> (u8, String) {
        let names = candidates.iter().map(Candidate::label).collect::<Vec<_>>().join(" and ");
        let why =
            format!("{names} serve the port, and {} of this machine leads to none of them", self.number(self.port));
        match self.privileged() {
            Some(setting) => (code::PRIVILEGED, format!("{why}; you may not bind it ({setting})")),
            None => (code::FORWARD_MISSING, format!("{why}: it can lead to one")),
        }
    }

    /// The setting that keeps the user from the port.
    fn privileged(&self) -> Option<String> {
        let first = self.facts.first_bindable;
        (self.port < first).then(|| format!("net.ipv4.ip_unprivileged_port_start = {first}"))
    }

    /// The command that forwards the port, or the one that can be had instead, to a candidate.
    fn add_forward(&self, candidate: &Candidate<'_>, addresses: &[IpAddr]) -> String {
        let at = match addresses {
            [only] if !is_localhost(*only) => SocketAddr::new(*only, 0).to_string().trim_end_matches('0').to_owned(),
            _ => String::new(),
        };
        let (flag, suffix, host) = (candidate.network_flag(&self.facts.network_flag), self.suffix(), candidate.host);
        let add = |port: u16| format!("minato{flag} forward add -p {at}{port}:{}{suffix} {host}", self.port);
        if self.port < self.facts.first_bindable && !candidate.row.forwarded_from.is_empty() {
            // Another number it has already.
            return format!("{} && {}", lower(self.port), add(self.port));
        }
        add(self.facts.bindable(self.port))
    }

    /// Hosts serve the port, but a program of this machine has the number here.
    pub(super) fn held_instead(&mut self, held: &PortRow, addresses: &[IpAddr]) {
        if self.is_nobodys(addresses) {
            return;
        }
        let unforwarded = |candidate: &Candidate<'_>| candidate.row.forwarded_from.is_empty();
        let candidates: Vec<Candidate<'_>> = self.candidates(addresses).into_iter().filter(unforwarded).collect();
        for candidate in &candidates {
            let state = if candidate.is_asked { HopState::Broken } else { HopState::Odd };
            let seen = format!("none to {}, where {} listens", candidate.target(), who(candidate.row));
            self.result.hop(state, "forward", seen);
        }
        // The other networks' are worth a word, but it is not them that were asked for.
        if !candidates.iter().any(|candidate| candidate.is_asked) {
            return;
        }
        let names = candidates.iter().map(Candidate::label).collect::<Vec<_>>().join(" or ");
        let (number, holder) = (self.number(self.port), self.holder_name(held));
        let own = self.own_address_of(addresses).and_then(|host| host.loopback_v4.zip(Some(&host.name)));
        let why = match own {
            Some((address, host)) => format!(
                "{address} is the own address of {host}, but {holder} has {number} there: what is sent there does not get \
                 to {host}"
            ),
            None => format!("{holder} has {number} on this machine, so no forward to {names} can"),
        };
        let add = |candidate: &Candidate<'_>| {
            let (flag, suffix, port) = (candidate.network_flag(&self.facts.network_flag), self.suffix(), self.port);
            let free = self.facts.next_free?;
            Some(format!("minato{flag} forward add -p {free}:{port}{suffix} {}", candidate.host))
        };
        let fixes: Vec<String> = candidates.iter().rev().filter_map(add).collect();
        self.result.because(code::CONFLICT, why, fixes);
    }
}

fn is_localhost(address: IpAddr) -> bool {
    [Ipv4Addr::LOCALHOST.into(), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&address)
}
