//! What a host may reach beyond its network: its rules, and the addresses that it got for names.

mod granted;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use minato_ports::{EgressRule, EgressTarget, Transport};

use granted::Granted;

#[cfg(test)]
mod tests;

/// Where something goes that leaves the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The address.
    pub address: IpAddr,
    /// Transport and port; `None` for what has no ports, which is ICMP echo.
    pub port: Option<(Transport, u16)>,
}

/// Whether a destination may be reached, and what decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may: by this rule, or by default.
    Admitted(Option<EgressRule>),
    /// It may not.
    Refused(EgressRefusal),
}

/// Why a destination may not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressRefusal {
    /// This rule denies it.
    Denied(EgressRule),
    /// No rule allows it. A name that our answers gave it under, if any did.
    NotAllowed(Option<String>),
    /// A rule allows the name that led there, but no name may lead to such an address.
    Unfit(String),
}

/// The policy of one host, and what it has learned. For each destination the first of these that applies decides:
///
/// 1. A rule that denies its address.
/// 2. A rule that allows its address.
/// 3. A rule that allows a name for which this host was given the address ([`Egress::learn`]).
/// 4. The default.
///
/// Each rule counts only for the ports and the transport that it names; ICMP echo has none, so only rules without them count.
#[derive(Debug)]
pub struct Egress {
    open: bool,
    allow: Vec<EgressRule>,
    deny: Vec<EgressRule>,
    granted: Granted,
}

impl Egress {
    /// A policy that admits (`open`) or refuses what no rule names. Rules in `deny` that are not about addresses have no effect.
    pub fn new(open: bool, allow: Vec<EgressRule>, deny: Vec<EgressRule>) -> Egress {
        Egress { open, allow, deny, granted: Granted::default() }
    }

    /// Whether a destination may be reached now.
    pub fn judge(&self, now: Instant, to: Destination) -> Verdict {
        let names = |rule: &&EgressRule| rule.has_address(to.address) && counts(rule, to);
        if let Some(rule) = self.deny.iter().find(names) {
            return Verdict::Refused(EgressRefusal::Denied(rule.clone()));
        }
        if let Some(rule) = self.allow.iter().find(names) {
            return Verdict::Admitted(Some(rule.clone()));
        }
        let known = self.granted.of(now, to.address);
        let granted = known.iter().flat_map(|known| known.rules(now)).filter_map(|rule| self.allow.get(rule));
        match (granted.into_iter().find(|rule| counts(rule, to)), known) {
            (Some(rule), Some(known)) if known.fit => Verdict::Admitted(Some(rule.clone())),
            _ if self.open => Verdict::Admitted(None),
            (Some(_), Some(known)) => Verdict::Refused(EgressRefusal::Unfit(known.name.clone())),
            (_, known) => Verdict::Refused(EgressRefusal::NotAllowed(known.map(|known| known.name.clone()))),
        }
    }

    /// Whether the host may ask what the name with these labels means.
    pub fn may_ask(&self, labels: &[&[u8]]) -> bool {
        let about = |rule: &EgressRule| match &rule.target {
            EgressTarget::Dns => true,
            EgressTarget::Name(pattern) => pattern.matches(labels),
            EgressTarget::Addresses(_) => false,
        };
        self.open || self.allow.iter().any(about)
    }

    /// Whether what a name means may be reached, if it may be named there ([`Rules::may_be_named`](crate::Rules::may_be_named)).
    pub fn judge_name(&self, labels: &[&[u8]], port: Option<(Transport, u16)>) -> Verdict {
        let to = Destination { address: std::net::Ipv4Addr::UNSPECIFIED.into(), port };
        let is_about = |rule: &&EgressRule| matches!(&rule.target, EgressTarget::Name(name) if name.matches(labels));
        match self.allow.iter().filter(is_about).find(|rule| counts(rule, to)) {
            Some(rule) => Verdict::Admitted(Some(rule.clone())),
            None if self.open => Verdict::Admitted(None),
            None => Verdict::Refused(EgressRefusal::NotAllowed(None)),
        }
    }

    /// The host was told that a name leads to an address, which stays so for `lifetime` at least. `fit`: a name may lead
    /// there, see [`Rules::may_be_named`](crate::Rules::may_be_named). Names that no rule is about are not remembered.
    pub fn learn(&mut self, now: Instant, labels: &[&[u8]], address: IpAddr, lifetime: Duration, fit: bool) {
        let is_about = |rule: &EgressRule| matches!(&rule.target, EgressTarget::Name(name) if name.matches(labels));
        let rules = self.allow.iter().enumerate().filter(|(_, rule)| is_about(rule)).map(|(place, _)| place);
        let rules: Vec<usize> = rules.collect();
        if !rules.is_empty() {
            let name = labels.iter().map(|label| String::from_utf8_lossy(label)).collect::<Vec<_>>().join(".");
            self.granted.add(now, address, &rules, name, lifetime, fit);
        }
    }

    /// A flow to this address begins: what admitted it stays as long as it lasts.
    pub fn flow_begins(&mut self, now: Instant, address: IpAddr) {
        self.granted.flow_begins(now, address);
    }

    /// A flow to this address has ended.
    pub fn flow_ends(&mut self, now: Instant, address: IpAddr) {
        self.granted.flow_ends(now, address);
    }
}

/// Whether a rule about a place is about this port there.
fn counts(rule: &EgressRule, to: Destination) -> bool {
    to.port.map_or_else(|| rule.has_everything(), |(transport, port)| rule.has_port(transport, port))
}
