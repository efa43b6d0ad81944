//! Policies as they come from clients: what is wrong with one is told before anything is made for its host. And what a host's
//! policy says about a destination.

use std::net::IpAddr;

use minato_inspect::{EgressVerdict, Policy, PolicyDefault, Problem, ProblemKind};
use minato_ports::{EgressRule, EgressTarget, Transport};
use minato_relay::Egress;

use super::Control;
use crate::plane::{Command, Place};
use crate::problem::{ending, problem, with_fix};

/// Most rules of one policy.
const MAX_RULES: usize = 1000;

impl Control {
    /// What the policy of a host says about a place: an address or a name, and a port there (without one, about ICMP echo).
    pub(crate) async fn judge(
        &self,
        host: &str,
        place: &str,
        port: Option<(Transport, u16)>,
    ) -> Result<EgressVerdict, Problem> {
        let serial = self.state().running(host)?.0.serial;
        let address = place.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let place =
            address.map_or_else(|_| Place::Name(place.to_owned()), |address| Place::Address(address.to_canonical()));
        self.plane.ask(|answer| Command::Judge(serial, place, port, answer)).await.map_err(|_| ending())
    }
}

/// What a policy lets through; `None` if that is everything. Refuses one that can't be meant.
pub(super) fn egress(policy: &Policy) -> Result<Option<Egress>, Problem> {
    let Policy { default, allow, deny } = policy;
    if allow.len() + deny.len() > MAX_RULES {
        return Err(problem(ProblemKind::Usage, format!("a policy has at most {MAX_RULES} rules")));
    }
    if let (PolicyDefault::Open, Some(rule)) = (default, allow.first()) {
        let title = format!("'{rule}' allows what everything is allowed to: the policy is open by default");
        return Err(with_fix(problem(ProblemKind::Usage, title), "make the policy 'deny' what no rule allows"));
    }
    let allowed: Vec<EgressRule> = allow.iter().map(|text| rule(text)).collect::<Result<_, _>>()?;
    let denied: Vec<EgressRule> = deny.iter().map(|text| deniable(text, rule(text)?)).collect::<Result<_, _>>()?;
    let is_open = *default == PolicyDefault::Open;
    Ok((!is_open || !denied.is_empty()).then(|| Egress::new(is_open, allowed, denied)))
}

fn rule(text: &str) -> Result<EgressRule, Problem> {
    text.parse().map_err(|error| {
        let title = format!("'{text}' is no rule of a policy: {error}");
        let forms = "write NAME, *.NAME, ADDRESS, ADDRESS/PREFIX or [IPV6], each with :PORTS and /tcp or /udp, or dns";
        with_fix(problem(ProblemKind::Usage, title), forms)
    })
}

/// Who may not reach a name would reach it by its address.
fn deniable(text: &str, rule: EgressRule) -> Result<EgressRule, Problem> {
    if matches!(rule.target, EgressTarget::Addresses(_)) {
        return Ok(rule);
    }
    let title = format!("'{text}' can't be denied: only addresses can, since whoever knows its address needs no name");
    Err(with_fix(problem(ProblemKind::Usage, title), "deny its addresses, or deny by default and allow what is needed"))
}
