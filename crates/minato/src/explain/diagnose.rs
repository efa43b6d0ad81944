//! Conclusions from facts: pure, so that every case is a table in a test.

mod candidates;
mod data_ports;
mod firewall;
mod gateway;
mod machine;
mod policy;
mod proxied;
mod readiness;
mod relays;
mod rivals;
mod transports;
mod trials;
mod unresolved;
mod within;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minato_host::routes;
use minato_inspect::{Collision, Forward, ForwardState, PortRow, Transport};

use super::facts::{Facts, Network, Subject, covers};
use super::{Explanation, HopState, Target};
use crate::failure::code;
use crate::flags::{Name, argument};
use crate::render;

/// Explains a target by the facts about it.
pub(super) fn diagnose(target: &Target, facts: &Facts) -> Explanation {
    let transport = argument::transport(target.transport);
    let nothing = Network::default();
    let network = facts.network.as_ref().unwrap_or(&nothing);
    let mut diagnosis = Diagnosis { port: target.port, transport, facts, network, result: Explanation::of(target) };
    diagnosis.policy();
    match &facts.subject {
        Subject::Machine(addresses) => match target.proxied() {
            Some(to) => diagnosis.proxied(&to, addresses, target.secure),
            None => diagnosis.machine(addresses),
        },
        Subject::Host(name, address) => diagnosis.host(name, *address),
        Subject::Within(host, addresses) => diagnosis.within(host, addresses),
        Subject::Gateway(addresses) => diagnosis.gateway(addresses),
        Subject::Elsewhere(addresses) => diagnosis.elsewhere(addresses),
        Subject::Unresolved(reason) => {
            diagnosis.result.hop(HopState::Broken, "name", reason.clone());
            diagnosis.unresolved(target);
        }
    }
    diagnosis.trials();
    diagnosis.result
}

struct Diagnosis<'a> {
    port: u16,
    transport: Transport,
    facts: &'a Facts,
    network: &'a Network,
    result: Explanation,
}

impl<'a> Diagnosis<'a> {
    /// From a forward to its service.
    fn forward(&mut self, forward: &Forward) {
        let service = forward.service_port;
        self.result.hop(HopState::Good, "forward", format!("leads to {}:{service}", forward.host));
        let Some(row) = self.service(&forward.host, service, None) else {
            self.result.hop(
                HopState::Broken,
                "service",
                format!("nothing in {} listens on {}", forward.host, self.number(service)),
            );
            return self.service_missing(&forward.host, service, Some(forward));
        };
        if forward.state == ForwardState::OtherFamily {
            return self.other_family(forward, row);
        }
        if is_loopback_only(row) {
            let seen =
                format!("{} is bound to {} (the forward reaches it; other hosts can't)", who(row), render::bind(row));
            self.result.hop(HopState::Odd, "service", seen);
        } else {
            self.result.hop(HopState::Good, "service", format!("{} is bound to {}", who(row), render::bind(row)));
        }
        self.host_rivals(&forward.host, service, None);
        self.readiness(row);
        self.data_ports(forward);
    }

    /// A forward that is open to the machine's neighbours leads to a service of its own family only.
    fn other_family(&mut self, forward: &Forward, row: &PortRow) {
        let (family, other, any) =
            if forward.address.is_ipv4() { ("IPv4", "IPv6", "0.0.0.0") } else { ("IPv6", "IPv4", "::") };
        let seen = format!("{} is bound to {}, and the forward is {family}", who(row), render::bind(row));
        self.result.hop(HopState::Broken, "service", seen);
        let why = format!(
            "a forward at {} takes {family} clients to {family} services, and {} is {other} only, unless it binds {any} too",
            forward.address,
            who(row)
        );
        let host = self.network.host(&forward.host);
        let address = host.and_then(|host| host.addresses().find(|own| own.is_ipv4() == forward.address.is_ipv4()));
        let fix = host.zip(address).and_then(|(host, address)| self.relay_inside(host, row, Some(address)));
        self.result.because(code::WRONG_ADDRESS, why, fix);
    }

    /// What has a port of a host: if there are several, what is reached at `address`, or from other hosts at all.
    fn service(&self, host: &str, port: u16, address: Option<IpAddr>) -> Option<&'a PortRow> {
        let rows = || self.listening(host).filter(|row| row.port == port);
        let reached = address.and_then(|address| rows().find(|row| covers(&row.addresses, address)));
        reached.or_else(|| rows().find(|row| !is_loopback_only(row))).or_else(|| rows().next())
    }

    /// What listens in a host, of the target's transport.
    fn listening(&self, host: &str) -> impl Iterator<Item = &'a PortRow> + use<'a> {
        let (host, transport) = (host.to_owned(), self.transport);
        let here = move |row: &&PortRow| row.host.as_deref() == Some(host.as_str());
        self.network.services.iter().filter(here).filter(move |row| serves(row, transport))
    }

    /// Nothing listens where it should: the other transport, another port, or not at all.
    fn service_missing(&mut self, host: &str, port: u16, forward: Option<&Forward>) {
        let other = self.network.services.iter().find(|row| {
            row.host.as_deref() == Some(host) && row.port == port && row.listening && row.transport != self.transport
        });
        if let Some(row) = other {
            return self.other_transport(row, forward);
        }
        let unforwarded = self.listening(host).find(|row| row.forwarded_from.is_empty());
        let elsewhere = unforwarded.or_else(|| self.listening(host).next()).map(|row| row.port);
        let flag = self.facts.network_flag.clone();
        match (forward, elsewhere) {
            (Some(forward), Some(actual)) => {
                let address = self.spelled_address(forward);
                let spelled = |service| render::spelled(forward, address, service);
                let why = format!("the forward leads to port {port}, but {host} listens on {actual}");
                let fix = format!(
                    "minato{flag} forward rm -p {} {host} && minato{flag} forward add -p {} {host}",
                    spelled(port),
                    spelled(actual)
                );
                self.result.because(code::FORWARD_MISSING, why, [fix]);
            }
            (None, Some(_)) => self.listens_elsewhere(host, port),
            (_, None) => {
                let why = format!("no program in {host} listens on {}", self.number(port));
                self.result.because(
                    code::NOTHING,
                    why,
                    [format!("minato{} exec {host} -- PROGRAM    # one that listens there", self.flag_inside(host))],
                );
            }
        }
    }

    /// Where a host's programs listen instead, first those that other hosts reach.
    fn listens_elsewhere(&mut self, host: &str, port: u16) {
        const SHOWN: usize = 5;
        let mut others: Vec<(u16, bool)> = self.listening(host).map(|row| (row.port, is_loopback_only(row))).collect();
        others.sort_unstable();
        others.dedup_by_key(|(port, _)| *port);
        others.sort_by_key(|(_, loopback)| *loopback);
        let Some((first, _)) = others.first().copied() else { return };
        let name = |(port, loopback): &(u16, bool)| match loopback {
            true => format!("{port} (loopback only)"),
            false => port.to_string(),
        };
        let more = if others.len() > SHOWN { " and others" } else { "" };
        let list = others.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ");
        let listen = if others.len() == 1 { "one listens" } else { "others listen" };
        let why = format!("no program in {host} listens on {}; {listen} on {list}{more}", self.number(port));
        let (flag, suffix, from) = (&self.facts.network_flag, self.suffix(), self.inside_flag());
        self.result.because(code::NOTHING, why, [format!("minato{flag} explain {host}:{first}{suffix}{from}")]);
    }

    /// The address of a forward as its user has written it: none for a pair on both loopback addresses.
    fn spelled_address(&self, forward: &Forward) -> Option<IpAddr> {
        let twin = |other: &&Forward| {
            other.address.is_loopback()
                && other.address.is_ipv4() != forward.address.is_ipv4()
                && (other.host_port, other.service_port) == (forward.host_port, forward.service_port)
                && (&other.host, other.transport) == (&forward.host, forward.transport)
        };
        let is_pair = forward.address.is_loopback() && self.network.forwards.iter().any(|other| twin(&other));
        (!is_pair).then_some(forward.address)
    }

    fn host(&mut self, name: &str, address: Option<IpAddr>) {
        let Some(host) = self.network.host(name) else {
            return self.no_such_host(name);
        };
        self.result.hop(HopState::Good, "host", format!("{name} has {}", render::addresses(host.addresses())));
        let Some(row) = self.service(name, self.port, address) else {
            self.result.hop(
                HopState::Broken,
                "service",
                format!("nothing in {name} listens on {}", self.number(self.port)),
            );
            return self.service_missing(name, self.port, None);
        };
        if let (Some(address), None) = (address, &self.facts.from) {
            self.not_from_machine(name, address, row);
        }
        let onward = relays::leads_to(row).map(|to| format!(", and passes on to {to}")).unwrap_or_default();
        let seen = format!("{} is bound to {}{onward}", who(row), render::bind(row));
        if is_loopback_only(row) {
            self.result.hop(HopState::Broken, "service", seen);
            let why = format!(
                "{} is bound to the loopback of {name}: other hosts can't reach it (forwards can), unless it binds 0.0.0.0 \
                 and ::",
                who(row)
            );
            self.result.because(code::WRONG_ADDRESS, why, self.relay_inside(host, row, address));
        } else if let Some(address) = address.filter(|address| !covers(&row.addresses, *address)) {
            self.result.hop(HopState::Broken, "service", seen);
            let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
            let why = format!("{} is not bound to {address} (with {any} it would be)", who(row));
            self.result.because(code::WRONG_ADDRESS, why, self.relay_inside(host, row, Some(address)));
        } else {
            self.result.hop(HopState::Good, "service", seen);
            self.host_rivals(name, self.port, address);
            self.readiness(row);
        }
        match row.forwarded_from.first() {
            Some(forward) => {
                let place = forward.place();
                self.result.hop(HopState::Good, "forward", format!("this machine reaches it at {place}"));
            }
            None if self.result.is_explained() => {}
            None => match self.network.own_forward(row) {
                Some(own) => {
                    let seen = format!("this machine reaches it at {}, {name}'s own address", own.place());
                    self.result.hop(HopState::Good, "forward", seen);
                }
                None => self.result.hop(HopState::Odd, "forward", "none: other hosts reach it, this machine does not"),
            },
        }
    }

    fn no_such_host(&mut self, name: &str) {
        self.result.hop(HopState::Broken, "host", format!("there is no host '{name}'"));
        let fix = format!("minato{} run --name {name} -- PROGRAM", self.facts.network_flag);
        self.result.because(code::NOTHING, "the host does not exist", [fix]);
    }

    fn elsewhere(&mut self, addresses: &[IpAddr]) {
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.result.hop(HopState::Good, "address", format!("{list}: neither of this machine nor of a minato host"));
        self.direct();
        let from_host = self.facts.trials.iter().any(|trial| trial.from.is_some());
        let hides = |collision: &&Collision| addresses.iter().any(|address| is_in(*address, &collision.hidden));
        if let Some(Collision { hidden, what }) = self.network.collisions.iter().find(hides).filter(|_| from_host) {
            let why = format!("{hidden} is the network's own subnet, and hides what the machine has there: {what}");
            self.result.hop(HopState::Broken, "subnet", why.clone());
            let later = "end the network's hosts and start them again: it gets another subnet then, unless it is fixed";
            let fix = self.in_another_network();
            self.result.because(code::WRONG_ADDRESS, why, [later.to_owned()].into_iter().chain(fix));
        }
    }

    /// The command that runs a program where the subnet is another one, and which ends nothing.
    fn in_another_network(&self) -> Option<String> {
        let network = &self.facts.network_name;
        let host = self.facts.from.as_ref()?;
        Some(format!(
            "minato --network {network}-2 run --name {host} -- PROGRAM    # a network with a subnet of its own"
        ))
    }

    /// That programs of the host from inside of which go another way than what is tried.
    fn direct(&mut self) {
        let from = self.network.hosts.iter().find(|host| Some(&host.name) == self.facts.from.as_ref());
        if let Some(host) = from.filter(|host| host.direct && self.transport == Transport::Tcp) {
            let what = format!(
                "programs of {} connect over sockets of this machine (--direct), the trial does not: firewalls of this \
                 machine see its own addresses, and no packet passes {}",
                host.name, host.name
            );
            self.result.hop(HopState::Good, "direct", what);
        }
    }

    /// What a command that explains from where the target was explained ends with.
    fn inside_flag(&self) -> String {
        self.facts.from.as_ref().map(|host| format!(" --from {host}")).unwrap_or_default()
    }

    /// What a command inside a host needs: that it is of another network, if it is.
    fn flag_inside(&self, host: &str) -> String {
        let home = self.network.host(host).and_then(|host| host.home.as_ref());
        home.map_or_else(|| self.facts.network_flag.clone(), |home| format!(" --network {home}"))
    }

    /// Which network it is, where that is not the one that is meant when none is named.
    fn of_network(&self) -> String {
        let name = &self.facts.network_name;
        if *name == Name::default() { String::new() } else { format!(" of network {name}") }
    }

    /// What a forward of this transport ends with.
    fn suffix(&self) -> &'static str {
        if self.transport == Transport::Udp { "/udp" } else { "" }
    }

    /// Whether a socket takes what comes in the target's transport.
    fn serves(&self, row: &PortRow) -> bool {
        serves(row, self.transport)
    }

    fn number(&self, port: u16) -> String {
        format!("{port}/{}", render::transport(self.transport))
    }
}

/// Whether an address is in a range in CIDR form.
fn is_in(address: IpAddr, range: &str) -> bool {
    let (first, prefix) = range.split_once('/').unwrap_or((range, "128"));
    let (first, prefix) = (first.parse::<IpAddr>().ok(), prefix.parse().unwrap_or(128));
    first.is_some_and(|first| routes::network(address, prefix) == routes::network(first, prefix))
}

/// Where this machine reaches what a forward leads to.
fn entrance(forward: &Forward) -> SocketAddr {
    let address = match forward.address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, forward.host_port)
}

fn serves(row: &PortRow, transport: Transport) -> bool {
    row.listening && row.transport == transport
}

fn is_loopback_only(row: &PortRow) -> bool {
    row.addresses.iter().all(IpAddr::is_loopback)
}

fn who(row: &PortRow) -> String {
    render::holders(&row.processes, row.process_unknown)
}
