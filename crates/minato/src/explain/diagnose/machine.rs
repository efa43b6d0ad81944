//! The way through a port of this machine: who holds it in each family, and where that leads.

use std::net::{IpAddr, SocketAddr};

use minato_inspect::{Forward, PortRow};

use super::relays::leads_to;
use super::rivals::{claimants, older_first};
use super::{Diagnosis, covers, who};
use crate::explain::facts::{Network, is_held_for};
use crate::explain::{HopState, UNKNOWN};
use crate::failure::code;
use crate::render;

/// Who holds an address and port of this machine.
#[derive(Clone, Copy)]
enum Holder<'a> {
    Forward(&'a Forward),
    Program(&'a PortRow),
}

impl<'a> Diagnosis<'a> {
    pub(super) fn machine(&mut self, addresses: &[IpAddr]) {
        let holders: Vec<(IpAddr, Option<Holder<'a>>)> =
            addresses.iter().map(|address| (*address, self.holder(*address))).collect();
        for (address, holder) in &holders {
            self.holder_hop(*address, *holder);
        }
        let mut followed: Vec<(&str, u16)> = Vec::new();
        for (_, holder) in &holders {
            if let Some(Holder::Forward(forward)) = holder
                && !followed.contains(&(forward.host.as_str(), forward.service_port))
            {
                followed.push((&forward.host, forward.service_port));
                self.forward(forward);
            }
        }
        if holders.iter().all(|(_, holder)| holder.is_none()) {
            self.nothing_on_machine(addresses);
        } else {
            self.programs(&holders);
            let program = |(_, holder): &(IpAddr, Option<Holder<'a>>)| match holder {
                Some(Holder::Program(row)) => Some(*row),
                _ => None,
            };
            let is_forwarded = !followed.is_empty();
            if let Some(held) = holders.iter().find_map(program).filter(|_| !is_forwarded) {
                self.held_instead(held, addresses);
            }
            self.families_differ(&holders);
        }
    }

    fn holder(&self, address: IpAddr) -> Option<Holder<'a>> {
        let leads = |forward: &&Forward| {
            forward.host_port == self.port && forward.transport == self.transport && covers(&[forward.address], address)
        };
        let holds = |row: &&PortRow| row.transport == self.transport && covers(&row.addresses, address);
        let forward = self.network.forwards.iter().find(leads).map(Holder::Forward);
        let claimant = || self.claimants(address).into_iter().next();
        let program = || claimant().or_else(|| self.machine_rows().iter().find(holds)).map(Holder::Program);
        forward.or_else(program)
    }

    fn claimants(&self, address: IpAddr) -> Vec<&'a PortRow> {
        claimants(self.machine_rows().iter().filter(|row| row.transport == self.transport), address)
    }

    /// Whether the programs that hold the port are alone there, and take what comes.
    fn programs(&mut self, holders: &[(IpAddr, Option<Holder<'a>>)]) {
        let mut seen: Vec<&PortRow> = Vec::new();
        for (address, holder) in holders {
            let Some(Holder::Program(row)) = holder else { continue };
            if seen.iter().any(|known| std::ptr::eq(*known, *row)) {
                continue;
            }
            seen.push(row);
            self.rivals(&self.claimants(*address), &SocketAddr::new(*address, self.port).to_string());
            self.readiness(row);
        }
    }

    pub(super) fn machine_rows(&self) -> &'a [PortRow] {
        self.facts.machine.as_deref().unwrap_or_default()
    }

    fn holder_hop(&mut self, address: IpAddr, holder: Option<Holder<'_>>) {
        let place = SocketAddr::new(address, self.port);
        match holder {
            Some(Holder::Forward(forward)) => {
                self.result.hop(
                    HopState::Good,
                    "host",
                    format!("{place} is held by minato, for {}{}", forward.host, self.of_network()),
                );
            }
            Some(Holder::Program(row)) if row.listening => {
                let onward = leads_to(row).map(|to| format!(", and passes on to {to}")).unwrap_or_default();
                self.result.hop(
                    HopState::Good,
                    "host",
                    format!("{place} is held by {}{onward}", self.holder_name(row)),
                );
            }
            Some(Holder::Program(row)) => {
                self.result.hop(
                    HopState::Broken,
                    "host",
                    format!("{place} is held by {}, which does not listen", who(row)),
                );
                self.result.because(code::NOTHING, format!("{} holds the port, but does not listen", who(row)), []);
            }
            None => match &self.facts.machine {
                Ok(_) => self.result.hop(HopState::Broken, "host", format!("nothing is on {place}")),
                Err(error) => {
                    self.result.hop(HopState::Unknown, "host", format!("{place} can't be looked at: {error}"));
                }
            },
        }
    }

    /// No address of the machine has the port: somewhere else on it, in some host, or nowhere.
    fn nothing_on_machine(&mut self, addresses: &[IpAddr]) {
        if self.facts.machine.is_err() {
            return self.result.because(UNKNOWN, "unknown: this machine's sockets can't be looked at", []);
        }
        let leads = |forward: &&Forward| {
            !forward.automatic && (forward.host_port, forward.transport) == (self.port, self.transport)
        };
        if let Some(forward) = self.network.forwards.iter().find(leads) {
            return self.forwarded_elsewhere(forward, addresses);
        }
        let here = self.machine_rows().iter().find(|row| row.transport == self.transport);
        if let Some(row) = here {
            let why = format!("{} is bound to {} and nowhere else", who(row), render::bind(row));
            return self.result.because(code::WRONG_ADDRESS, why, self.relay_here(row, addresses));
        }
        let candidates = self.candidates(addresses);
        if !candidates.is_empty() {
            return self.not_forwarded(&candidates, addresses);
        }
        if let Some(host) = self.own_address_of(addresses) {
            let seen =
                format!("nothing in {}, whose own address it is, listens on {}", host.name, self.number(self.port));
            self.result.hop(HopState::Broken, "service", seen);
            return self.service_missing(&host.name, self.port, None);
        }
        if self.only_other_transport() {
            return;
        }
        let (port, suffix, flag) = (self.port, self.suffix(), &self.facts.network_flag);
        if let Some(seen) = self.not_running() {
            self.result.hop(HopState::Odd, "network", seen);
        }
        let why = format!("no program has {}, neither on this machine nor in a minato host", self.number(port));
        let at = self.facts.bindable(port);
        let run = |at: u16| format!("minato{flag} run -p {at}:{port}{suffix} -- PROGRAM");
        let lowered = (at != port).then(|| format!("{} && {}", lower(port), run(port)));
        self.result.because(code::NOTHING, why, lowered.into_iter().chain([run(at)]));
    }

    /// A forward has the port at another address only.
    fn forwarded_elsewhere(&mut self, forward: &Forward, addresses: &[IpAddr]) {
        let at = match addresses {
            [only] => Some(*only),
            _ => None,
        };
        let fix = render::spelled(forward, at, forward.service_port);
        let place = forward.place();
        let why = format!("the forward to {}:{} is at {place} and nowhere else", forward.host, forward.service_port);
        let fix = format!("minato{} forward add -p {fix} {}", self.facts.network_flag, forward.host);
        self.result.because(code::WRONG_ADDRESS, why, [fix]);
    }

    /// Who has a port of this machine: a program, or one of the user's other networks for a host of its own.
    pub(super) fn holder_name(&self, row: &PortRow) -> String {
        let leads = |other: &'a Network| {
            let forward = other.forwards.iter().find(|forward| is_held_for(row, forward))?;
            Some(format!("network {} (for {}:{})", other.name, forward.host, forward.service_port))
        };
        self.facts.others.iter().find_map(leads).unwrap_or_else(|| who(row))
    }

    /// A client that uses a name tries both families: both should lead to the same program.
    fn families_differ(&mut self, holders: &[(IpAddr, Option<Holder<'a>>)]) {
        let [(first, one), (second, other)] = holders else { return };
        match (one, other) {
            (Some(one), Some(other)) if identity(self.behind(*one)) != identity(self.behind(*other)) => {
                let why = format!(
                    "two programs share the number: which one answers depends on the address ({first} or {second})"
                );
                let (first, second) = (SocketAddr::new(*first, self.port), SocketAddr::new(*second, self.port));
                let one_of = self.end_one(*one, second, *other).or_else(|| self.end_one(*other, first, *one));
                let fixes = one_of.map_or_else(|| Vec::from_iter(self.end_younger(*one, *other)), Vec::from);
                self.result.because(code::CONFLICT, why, fixes);
            }
            (Some(holder), None) => self.address_missing(*holder, *first, *second),
            (None, Some(holder)) => self.address_missing(*holder, *second, *first),
            _ => {}
        }
    }

    /// What a relay leads to, if that is on this machine too; otherwise the same.
    fn behind(&self, holder: Holder<'a>) -> Holder<'a> {
        let Holder::Program(row) = holder else { return holder };
        let to = leads_to(row).filter(|to| to.port() == self.port);
        to.and_then(|to| self.holder(to.ip())).unwrap_or(holder)
    }

    /// The commands of which one leaves the port to the program that has a forward's other address, and one puts the forward
    /// in its place.
    fn end_one(&self, forward: Holder<'_>, at: SocketAddr, stranger: Holder<'_>) -> Option<[String; 2]> {
        let (Holder::Forward(forward), Holder::Program(row)) = (forward, stranger) else { return None };
        let [process] = row.processes.as_slice() else { return None };
        let flag = &self.facts.network_flag;
        let add =
            format!("minato{flag} forward add -p {at}:{}{} {}", forward.service_port, self.suffix(), forward.host);
        let spelled = render::spelled(forward, Some(forward.address), forward.service_port);
        let remove =
            format!("minato{flag} forward rm -p {spelled} {}    # if {} is the one", forward.host, process.name);
        Some([remove, format!("kill {} && sleep 1 && {add}    # if {} is", process.pid, forward.host)])
    }

    /// The command that ends the one of two programs that came later, and gives its address to the other one.
    fn end_younger(&self, one: Holder<'_>, other: Holder<'_>) -> Option<String> {
        let (Holder::Program(one), Holder::Program(other)) = (one, other) else { return None };
        let ([first], [second]) = (one.processes.as_slice(), other.processes.as_slice()) else { return None };
        let is_older = older_first(first, second).is_lt();
        let (stays, goes, process) = if is_older { (one, other, second) } else { (other, one, first) };
        let relay = self.relay_here(stays, &goes.addresses)?;
        Some(format!("kill {} && sleep 1 && {relay}    # unless {} is the one you want", process.pid, process.name))
    }

    /// One of the two addresses of a name leads nowhere; mostly they are of different families.
    fn address_missing(&mut self, holder: Holder<'_>, held: IpAddr, missing: IpAddr) {
        let (missing_one, held_one) = match (held, missing) {
            (IpAddr::V4(_), IpAddr::V6(_)) => ("IPv6".to_owned(), "IPv4".to_owned()),
            (IpAddr::V6(_), IpAddr::V4(_)) => ("IPv4".to_owned(), "IPv6".to_owned()),
            _ => (missing.to_string(), format!("at {held}")),
        };
        let (what, fix) = match holder {
            Holder::Forward(forward) => {
                let place = SocketAddr::new(missing, forward.host_port);
                let fix = format!(
                    "minato{} forward add -p {place}:{}{} {}",
                    self.facts.network_flag,
                    forward.service_port,
                    self.suffix(),
                    forward.host
                );
                ("the forward".to_owned(), Some(fix))
            }
            Holder::Program(row) => (who(row), self.relay_here(row, &[missing])),
        };
        let why = format!("a client that tries {missing_one} first finds nothing: {what} is {held_one} only");
        self.result.because(code::WRONG_ADDRESS, why, fix);
    }
}

/// The command that lets users bind a port.
pub(super) fn lower(port: u16) -> String {
    format!("sudo sysctl -w net.ipv4.ip_unprivileged_port_start={port}")
}

/// What a client gets to: a service behind a forward, or a socket's processes.
fn identity(holder: Holder<'_>) -> (Option<(&str, u16)>, Vec<u32>) {
    match holder {
        Holder::Forward(forward) => (Some((&forward.host, forward.service_port)), Vec::new()),
        Holder::Program(row) => (None, row.processes.iter().map(|process| process.pid).collect()),
    }
}
