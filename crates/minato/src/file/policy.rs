//! Where programs may connect to: `policy`, `allow` and `deny`, of a host or of all that say nothing else.

use minato_inspect::{Policy, PolicyDefault};
use minato_ports::{EgressRule, EgressTarget};

use super::problem::{At, Problem};

/// The keys, as far as they are there.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyDraft {
    pub(super) default: Option<At<PolicyDefault>>,
    pub(super) allow: Option<Vec<At<String>>>,
    pub(super) deny: Option<Vec<At<String>>>,
}

impl PolicyDraft {
    /// The keys of a file laid over those of another.
    pub(super) fn over(self, below: PolicyDraft) -> PolicyDraft {
        PolicyDraft {
            default: self.default.or(below.default),
            allow: self.allow.or(below.allow),
            deny: self.deny.or(below.deny),
        }
    }

    /// A host's policy: what it says itself or, when it says nothing, what is said for all. Rules that allow something mean
    /// that nothing else is allowed, unless that is said.
    pub(super) fn resolve(&self, everywhere: &PolicyDraft, problems: &mut Vec<Problem>) -> Policy {
        let says_nothing = self.default.is_none() && self.allow.is_none() && self.deny.is_none();
        let PolicyDraft { default, allow, deny } = if says_nothing { everywhere } else { self };
        let first = allow.iter().flatten().next();
        if let (Some(open), Some(rule)) = (default.as_ref().filter(|said| said.value == PolicyDefault::Open), first) {
            let what = format!("'{}' allows what everything is allowed to", rule.value);
            let problem = Problem::new(what, rule.place, "this rule").and(open.place, "everything is allowed here");
            problems.push(problem.help("policy = \"deny\""));
        }
        let implied = if first.is_some() { PolicyDefault::Deny } else { PolicyDefault::Open };
        Policy {
            default: default.as_ref().map_or(implied, |said| said.value),
            allow: rules(allow.iter().flatten(), "NAME, *.NAME or dns; ADDRESS", |_| Ok(()), problems),
            deny: rules(deny.iter().flatten(), "ADDRESS", deniable, problems),
        }
    }
}

/// Rules that can be read.
fn rules<'r>(
    rules: impl Iterator<Item = &'r At<String>>,
    targets: &str,
    check: impl Fn(&EgressRule) -> Result<(), String>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut good = Vec::new();
    for At { value, place } in rules {
        let rule = value.parse::<EgressRule>().map_err(|error| error.to_string());
        match rule.and_then(|rule| check(&rule)) {
            Ok(()) => good.push(value.clone()),
            // What is said of a host is said once, what is said of all would be for each.
            Err(_) if problems.iter().any(|other| other.is_at(*place)) => {}
            Err(why) => {
                let problem = Problem::new(format!("'{value}' is no rule for this"), *place, why);
                let help = "ADDRESS/PREFIX or [IPV6], each with :PORTS and /tcp or /udp";
                problems.push(problem.help(format!("{targets}, {help}")));
            }
        }
    }
    good
}

/// Who may not reach a name would reach it by its address.
fn deniable(rule: &EgressRule) -> Result<(), String> {
    match rule.target {
        EgressTarget::Addresses(_) => Ok(()),
        _ => Err("only addresses can be denied: whoever knows its address needs no name".to_owned()),
    }
}
