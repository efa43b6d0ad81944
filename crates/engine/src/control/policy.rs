//! Policies as they come from clients: what is wrong with one is told before anything is made for its host.

use minato_inspect::{Policy, PolicyDefault, Problem, ProblemKind};
use minato_ports::{EgressRule, EgressTarget};

use crate::problem::{problem, with_fix};

/// Most rules of one policy.
const MAX_RULES: usize = 1000;

/// Refuses a policy that can't be meant, and for now every one that is more than the default.
pub(super) fn check(policy: &Policy) -> Result<(), Problem> {
    let Policy { default, allow, deny } = policy;
    if allow.len() + deny.len() > MAX_RULES {
        return Err(problem(ProblemKind::Usage, format!("a policy has at most {MAX_RULES} rules")));
    }
    if let (PolicyDefault::Open, Some(rule)) = (default, allow.first()) {
        let title = format!("'{rule}' allows what everything is allowed to: the policy is open by default");
        return Err(with_fix(problem(ProblemKind::Usage, title), "make the policy 'deny' what no rule allows"));
    }
    allow.iter().try_for_each(|text| rule(text).map(drop))?;
    deny.iter().map(|text| Ok((text, rule(text)?))).try_for_each(|rule| rule.and_then(deniable))?;
    if *policy == Policy::default() {
        return Ok(());
    }
    Err(problem(ProblemKind::Unsupported, "this version does not enforce egress policies yet"))
}

fn rule(text: &str) -> Result<EgressRule, Problem> {
    text.parse().map_err(|error| {
        let title = format!("'{text}' is no rule of a policy: {error}");
        let forms = "write NAME, *.NAME, ADDRESS, ADDRESS/PREFIX or [IPV6], each with :PORTS and /tcp or /udp, or dns";
        with_fix(problem(ProblemKind::Usage, title), forms)
    })
}

/// Who may not reach a name would reach it by its address.
fn deniable((text, rule): (&String, EgressRule)) -> Result<(), Problem> {
    if matches!(rule.target, EgressTarget::Addresses(_)) {
        return Ok(());
    }
    let title = format!("'{text}' can't be denied: only addresses can, since whoever knows its address needs no name");
    Err(with_fix(problem(ProblemKind::Usage, title), "deny its addresses, or deny by default and allow what is needed"))
}
