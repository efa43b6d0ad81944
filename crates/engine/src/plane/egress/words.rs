//! Verdicts in words: what is refused, why, and which rule would allow it.

use std::net::IpAddr;

use minato_inspect as inspect;
use minato_ports::{EgressRule, Transport};
use minato_relay::{Destination, EgressRefusal, EgressVerdict};

use crate::convert;

/// A destination that is refused.
pub(super) fn about_destination(host: String, to: Destination, refusal: EgressRefusal) -> inspect::EgressRefusal {
    let port = to.port.map(|(_, port)| port);
    let shown = with_port(&address(to.address), port);
    let echo = if to.port.is_none() { " for ICMP echo" } else { "" };
    let (name, rule, reason, allow) = match refusal {
        EgressRefusal::Denied(rule) => {
            (None, Some(rule.to_string()), format!("the policy of {host} denies {rule}"), None)
        }
        EgressRefusal::NotAllowed(None) => {
            (None, None, format!("no rule of {host} allows {shown}{echo}"), Some(shown.clone()))
        }
        EgressRefusal::NotAllowed(Some(name)) => {
            let named = with_port(&name, port);
            let reason = format!("no rule of {host} allows {named}{echo} ({})", to.address);
            (Some(name), None, reason, Some(named))
        }
        EgressRefusal::Unfit(name) => {
            let reason = format!(
                "{name} leads to {}, an address that is private or this machine's own: only a rule with the address allows it",
                to.address
            );
            (Some(name), None, reason, Some(shown.clone()))
        }
    };
    inspect::EgressRefusal {
        host,
        transport: to.port.map(|(transport, _)| convert::to_inspect(transport)),
        address: Some(to.address),
        port,
        name,
        process: None,
        rule,
        reason,
        allow: allow.filter(|rule| rule.parse::<EgressRule>().is_ok()),
        untold: 0,
    }
}

/// A name that may not be asked for.
pub(super) fn about_name(host: String, labels: &[&[u8]]) -> inspect::EgressRefusal {
    let name = labels.iter().map(|label| label.escape_ascii().to_string()).collect::<Vec<_>>().join(".");
    let name = if name.is_empty() { ".".to_owned() } else { name };
    inspect::EgressRefusal {
        reason: format!("no rule of {host} allows the name {name}"),
        host,
        transport: None,
        address: None,
        port: None,
        process: None,
        rule: None,
        // Not every name can be written in a rule.
        allow: name.parse::<EgressRule>().is_ok().then(|| name.clone()),
        name: Some(name),
        untold: 0,
    }
}

/// The same for a name that may be asked for, and of which a port is refused.
pub(super) fn about_port(
    refusal: inspect::EgressRefusal,
    name: &str,
    port: Option<(Transport, u16)>,
) -> inspect::EgressRefusal {
    let port = port.map(|(_, port)| port);
    let named = with_port(name, port);
    let echo = if port.is_none() { " for ICMP echo" } else { "" };
    inspect::EgressRefusal {
        reason: format!("no rule of {} allows {named}{echo}", refusal.host),
        allow: refusal.allow.map(|name| with_port(&name, port)),
        ..refusal
    }
}

/// A verdict for who has asked for one; `explain` says why in the case of a refusal.
pub(super) fn verdict(
    host: &str,
    verdict: EgressVerdict,
    explain: impl FnOnce(EgressRefusal) -> inspect::EgressRefusal,
) -> inspect::EgressVerdict {
    match verdict {
        EgressVerdict::Admitted(Some(rule)) => inspect::EgressVerdict {
            allowed: true,
            reason: format!("the policy of {host} allows {rule}"),
            rule: Some(rule.to_string()),
            allow: None,
        },
        EgressVerdict::Admitted(None) => inspect::EgressVerdict {
            allowed: true,
            rule: None,
            reason: format!("the policy of {host} is open"),
            allow: None,
        },
        EgressVerdict::Refused(refusal) => {
            let inspect::EgressRefusal { rule, reason, allow, .. } = explain(refusal);
            inspect::EgressVerdict { allowed: false, rule, reason, allow }
        }
    }
}

/// An address that no policy opens.
pub(super) fn unreachable(address: IpAddr) -> inspect::EgressVerdict {
    let reason = format!("{address} can't be reached from any host, whatever its policy says");
    inspect::EgressVerdict { allowed: false, rule: None, reason, allow: None }
}

fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

fn with_port(place: &str, port: Option<u16>) -> String {
    port.map_or_else(|| place.to_owned(), |port| format!("{place}:{port}"))
}
