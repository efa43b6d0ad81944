//! What the rules of a network namespace's firewall do to a new connection.
//!
//! The rules of nftables are read from the kernel, those of the older iptables from what prints them, and all are followed
//! for one packet. A condition that can't be decided (a connection's
//! mark, a limit, a foreign extension) is neither true nor false: what depends on it is told as "perhaps".

mod expressions;
mod legacy;
mod packet;
mod read;

use std::{fmt, io};

use crate::netlink::Netlink;

use expressions::{Effect, Expression, Matched, Verdict};
pub use packet::{Hook, Packet, Way};
use serde::{Deserialize, Serialize};

/// The rules of a network namespace.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    chains: Vec<Chain>,
    unread: Vec<String>,
}

#[derive(Clone, Debug)]
struct Chain {
    origin: Origin,
    family: u8,
    table: String,
    name: String,
    /// Where it begins, if it is a base chain: hook number and priority.
    hook: Option<(u32, i32)>,
    drops_by_policy: bool,
    rules: Vec<Rule>,
}

/// What a chain belongs to: two may have the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    NfTables,
    Legacy,
}

#[derive(Clone, Debug)]
struct Rule {
    name: RuleName,
    expressions: Vec<Expression>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// No rule stops it.
    Passes,
    /// This stops it.
    Stopped(Stop),
    /// This stops it if a condition holds that can't be decided.
    Perhaps(Stop),
}

/// A rule, or a chain's policy, that stops a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What shows and changes it.
    pub tool: Tool,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// `None` for the chain's policy.
    pub rule: Option<RuleName>,
    /// Whether the sender is told (`reject`).
    pub rejects: bool,
}

/// A program that changes rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tool {
    /// `nft`, with the family as it spells it: `ip`, `ip6`, `inet`.
    Nft(String),
    /// `iptables-legacy`.
    Iptables,
    /// `ip6tables-legacy`.
    Ip6tables,
}

/// What a rule is told by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleName {
    /// Its number.
    Handle(u64),
    /// Its chain and all of its words.
    Words(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stop { tool, table, chain, rule, .. } = self;
        match rule {
            Some(RuleName::Handle(handle)) => write!(f, "rule {handle}")?,
            Some(RuleName::Words(words)) => write!(f, "rule \"{words}\"")?,
            None => write!(f, "the policy")?,
        }
        match (tool, rule) {
            (Tool::Nft(family), _) => write!(f, " of chain {family} {table} {chain}"),
            (tool, Some(_)) => write!(f, " of {} table {table}", tool.name()),
            (tool, None) => write!(f, " of chain {chain} of {} table {table}", tool.name()),
        }
    }
}

impl Tool {
    fn name(&self) -> &'static str {
        match self {
            Tool::Nft(_) => "nft",
            Tool::Iptables => "iptables",
            Tool::Ip6tables => "ip6tables",
        }
    }
}

impl Stop {
    /// The command that lets the packets pass: the rule goes; a policy gets an exception for what comes by `lo`.
    pub fn mend(&self) -> String {
        let Stop { tool, table, chain, rule, .. } = self;
        match (tool, rule) {
            (Tool::Nft(family), Some(RuleName::Handle(handle))) => {
                format!("nft delete rule {family} {table} {chain} handle {handle}")
            }
            (Tool::Nft(family), _) => format!("nft insert rule {family} {table} {chain} iif lo accept"),
            (tool, Some(RuleName::Words(words))) => format!("{}-legacy -t {table} -D {words}", tool.name()),
            (tool, _) => format!("{}-legacy -t {table} -I {chain} -i lo -j ACCEPT", tool.name()),
        }
    }
}

impl Ruleset {
    /// Reads the rules of the caller's network namespace.
    ///
    /// # Errors
    /// `PermissionDenied` for everybody but root; another error where the kernel has no nf_tables.
    pub fn read() -> io::Result<Ruleset> {
        let mut netlink = Netlink::open(Some(rustix::net::netlink::NETFILTER))?;
        let mut chains = read::chains(&mut netlink)?;
        let (older, unread) = legacy::chains();
        chains.extend(older);
        Ok(Ruleset { chains, unread })
    }

    /// What there is besides and could not be read, in words.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// What becomes of a packet at its hooks, in their order.
    pub fn fate(&self, packet: &Packet) -> Fate {
        let mut perhaps = None;
        for hook in packet.hooks() {
            let mut bases: Vec<&Chain> = self.bases(*hook, packet).collect();
            bases.sort_by_key(|chain| chain.hook.map(|(_, priority)| priority));
            for chain in bases {
                let mut walk = Walk { ruleset: self, packet, hook: *hook, certain: true, perhaps: None };
                match walk.base(chain) {
                    Some(stop) if walk.certain => return Fate::Stopped(stop),
                    stop => perhaps = perhaps.or(walk.perhaps).or(stop),
                }
            }
        }
        perhaps.map_or(Fate::Passes, Fate::Perhaps)
    }

    fn bases(&self, hook: Hook, packet: &Packet) -> impl Iterator<Item = &Chain> {
        let own = if packet.destination.is_ipv4() { read::IPV4 } else { read::IPV6 };
        self.chains.iter().filter(move |chain| {
            (chain.family == own || chain.family == read::INET) && chain.hook.is_some_and(|(at, _)| at == hook.number())
        })
    }
}

/// A packet on its way through one base chain and those that it calls.
struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Packet,
    hook: Hook,
    /// False once something that could not be decided may have let the packet pass.
    certain: bool,
    perhaps: Option<Stop>,
}

/// What a chain has said.
enum Outcome {
    Accepted,
    Stopped(Stop),
    /// It has no opinion.
    Through,
}

/// A chain that calls itself is refused by the kernel; this only bounds what a changing rule set may look like.
const MAX_DEPTH: usize = 16;

impl Walk<'_> {
    fn base(&mut self, chain: &Chain) -> Option<Stop> {
        match self.chain(chain, 0) {
            Outcome::Stopped(stop) => Some(stop),
            Outcome::Through if chain.drops_by_policy => Some(chain.stop(None, false)),
            Outcome::Accepted | Outcome::Through => None,
        }
    }

    fn chain(&mut self, chain: &Chain, depth: usize) -> Outcome {
        for rule in &chain.rules {
            let (matched, effect) = expressions::evaluate(&rule.expressions, self.packet, self.hook);
            let sure = matched == Matched::Yes;
            if matched == Matched::No {
                continue;
            }
            match effect {
                Effect::None => {}
                Effect::Stop { rejects } => {
                    let stop = chain.stop(Some(rule.name.clone()), rejects);
                    if sure {
                        return Outcome::Stopped(stop);
                    }
                    self.perhaps.get_or_insert(stop);
                }
                Effect::Verdict(Verdict::Accept) if sure => return Outcome::Accepted,
                Effect::Verdict(Verdict::Return) if sure => return Outcome::Through,
                Effect::Verdict(Verdict::Accept | Verdict::Return) | Effect::Unknown => self.certain = false,
                Effect::Verdict(Verdict::Call { chain: name, comes_back }) => {
                    match self.call(chain, &name, sure, depth) {
                        Outcome::Through if comes_back || !sure => {}
                        outcome if sure => return outcome,
                        _ => {}
                    }
                }
            }
        }
        Outcome::Through
    }

    /// Follows a jump. Of one that is not sure only the suspicion is kept.
    fn call(&mut self, from: &Chain, name: &str, sure: bool, depth: usize) -> Outcome {
        let called = self.ruleset.chains.iter().find(|chain| {
            (chain.origin, chain.family, &chain.table) == (from.origin, from.family, &from.table) && chain.name == name
        });
        let Some(called) = called.filter(|_| depth < MAX_DEPTH) else { return Outcome::Through };
        match self.chain(called, depth + 1) {
            Outcome::Stopped(stop) if !sure => {
                self.perhaps.get_or_insert(stop);
                Outcome::Through
            }
            Outcome::Accepted if !sure => {
                self.certain = false;
                Outcome::Through
            }
            outcome => outcome,
        }
    }
}

impl Chain {
    fn stop(&self, rule: Option<RuleName>, rejects: bool) -> Stop {
        let tool = match (self.origin, self.family) {
            (Origin::Legacy, read::IPV6) => Tool::Ip6tables,
            (Origin::Legacy, _) => Tool::Iptables,
            (Origin::NfTables, read::IPV4) => Tool::Nft("ip".into()),
            (Origin::NfTables, read::IPV6) => Tool::Nft("ip6".into()),
            (Origin::NfTables, _) => Tool::Nft("inet".into()),
        };
        Stop { tool, table: self.table.clone(), chain: self.name.clone(), rule, rejects }
    }
}

#[cfg(test)]
mod tests;
