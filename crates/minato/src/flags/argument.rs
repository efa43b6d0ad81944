//! Arguments that name ports, parsed by the port layer and refused with what is wrong where.

use std::net::SocketAddr;

use minato_inspect::{ForwardSpec, Policy, PolicyDefault, Transport};
use minato_ports::registry::Protocol;
use minato_ports::{EgressRule, EgressTarget, ForwardArgument, ParseError, Port, PortArgument, PortRange};

use super::{PortFilter, ServiceKey, ServiceQuery};
use crate::explain::{Place, Target};
use crate::failure::Failure;
use crate::relay::{Entrance, Relay};

/// `-p`: `[IP:]HOSTPORT:PORT[/udp]`, both ports or both ranges.
pub(crate) fn forward(text: &str) -> Result<ForwardSpec, Failure> {
    let example = "-p [IP:]HOSTPORT:PORT[/udp], as -p 8080:80, -p 0.0.0.0:5353:53/udp, -p [::1]:8000-8010:8000-8010";
    let parsed = text.parse().map(spec);
    parsed.map_err(|error| wrong(&format!("'-p {text}' is no forward"), &error).fix(example))
}

/// The same in two parts, as `minato.toml` has it: `[IP:]HOSTPORT` and `PORT[/udp]`.
pub(crate) fn forward_between(place: &str, service: &str) -> Result<ForwardSpec, ParseError> {
    format!("{place}:{service}").parse().map(spec)
}

fn spec(forward: ForwardArgument) -> ForwardSpec {
    ForwardSpec {
        address: forward.address(),
        host_ports: bounds(forward.host_ports()),
        service_ports: bounds(forward.service_ports()),
        transport: transport(forward.transport()),
    }
}

/// The argument of `minato ports`: a number, range or registered name, with or without transport.
pub(super) fn ports(text: &str) -> Result<PortFilter, Failure> {
    let argument: PortArgument = text.parse().map_err(|error| wrong(&format!("'{text}' names no port"), &error))?;
    Ok(PortFilter { text: text.into(), ports: argument.ports, transport: argument.transport.map(transport) })
}

/// The argument of `minato service`: numbers or a name, with or without protocol.
pub(super) fn service(text: &str) -> Result<ServiceQuery, Failure> {
    let (key, protocol) = match text.split_once('/') {
        Some((key, name)) => (key, Some(protocol(text, name)?)),
        None => (text, None),
    };
    let key = if key.starts_with(|c: char| c.is_ascii_digit()) && key.chars().all(|c| c.is_ascii_digit() || c == '-') {
        ServiceKey::Range(range(key).map_err(|error| wrong(&format!("'{text}' names no port"), &error))?)
    } else {
        ServiceKey::Name(key.into())
    };
    Ok(ServiceQuery { key, protocol })
}

fn protocol(text: &str, name: &str) -> Result<Protocol, Failure> {
    let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Dccp];
    known.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names = known.map(Protocol::name).join(", ");
        Failure::usage(format!(
            "'{text}' names no port: '{name}' is none of the registry's protocols, which are {names}"
        ))
    })
}

/// `minato relay`: addresses, and a transport behind the first.
pub(super) fn relay(to: &str, at: &[String]) -> Result<Relay, Failure> {
    let example = "minato relay --to IP:PORT[/udp] [IP:]PORT…, as --to 127.0.0.1:3000 10.77.0.2:3000 [fd77::2]:3000";
    let wrong = |text: &str, why: &str| Failure::usage(format!("'{text}' can't be relayed: {why}")).fix(example);
    let parse = |text: &str| text.parse::<Target>().map_err(|why| wrong(text, &why));
    let service = parse(to)?;
    let Place::Address(address) = service.place else { return Err(wrong(to, "the service needs an IP address")) };
    let entrance = |text: &String| {
        if text.contains('/') {
            return Err(wrong(text, "the transport stands behind the service: --to IP:PORT/udp"));
        }
        let Target { place, port, .. } = parse(text)?;
        match place {
            Place::Machine => Ok(Entrance::Loopback(port)),
            Place::Address(address) => Ok(Entrance::At(SocketAddr::new(address, port))),
            Place::Name(_) => Err(wrong(text, "names are not looked up here: give an IP address")),
        }
    };
    let to = SocketAddr::new(address, service.port);
    let mut entrances = Vec::new();
    for text in at {
        let entrance = entrance(text)?;
        if entrance.is_reached_by(to) {
            return Err(wrong(text, "it would be its own service"));
        }
        entrances.push(entrance);
    }
    Ok(Relay { to, transport: service.transport, at: entrances })
}

/// `--ephemeral-range`.
pub(super) fn ephemeral_range(text: &str) -> Result<PortRange, Failure> {
    range(text).map_err(|error| wrong(&format!("'--ephemeral-range {text}' is no range of ports"), &error))
}

/// `--host-port`.
pub(super) fn host_port(text: &str) -> Result<u16, Failure> {
    let port: Result<Port, ParseError> = text.parse();
    port.map(Port::value).map_err(|error| wrong(&format!("'--host-port {text}' is no port"), &error))
}

/// `--allow` and `--deny`: what is allowed is all that is, and `--deny all` says so too.
pub(super) fn policy(allow: &[String], deny: &[String]) -> Result<Policy, Failure> {
    let (all, addresses): (Vec<&String>, Vec<&String>) = deny.iter().partition(|text| *text == "all");
    for text in allow {
        egress_rule("--allow", text)?;
    }
    for text in &addresses {
        if !matches!(egress_rule("--deny", text)?.target, EgressTarget::Addresses(_)) {
            let title = format!("'--deny {text}' denies no address: whoever knows its address needs no name");
            return Err(Failure::usage(title).fix("deny its addresses, or --deny all and --allow what is needed"));
        }
    }
    let shut = !allow.is_empty() || !all.is_empty();
    Ok(Policy {
        default: if shut { PolicyDefault::Deny } else { PolicyDefault::Open },
        allow: allow.to_vec(),
        deny: addresses.into_iter().cloned().collect(),
    })
}

fn egress_rule(flag: &str, text: &str) -> Result<EgressRule, Failure> {
    let example = format!("{flag} NAME|ADDRESS[/PREFIX][:PORTS][/tcp|/udp], as 10.0.0.0/8:5432 or [2001:db8::]/32");
    let example = if flag == "--allow" { format!("{example}, example.com, *.example.com:443, dns") } else { example };
    text.parse().map_err(|error| wrong(&format!("'{flag} {text}' is no rule"), &error).fix(example))
}

/// A range of ports.
pub(crate) fn range(text: &str) -> Result<PortRange, ParseError> {
    text.parse()
}

/// What is wrong, with a mark under the part that is.
fn wrong(title: &str, error: &ParseError) -> Failure {
    let failure = Failure::usage(format!("{title}: {error}"));
    error.pointer().to_string().lines().fold(failure, Failure::detail)
}

/// Its ends.
pub(crate) fn bounds(range: PortRange) -> (u16, u16) {
    (range.first().value(), range.last().value())
}

/// As the API names it.
pub(crate) fn transport(transport: minato_ports::Transport) -> Transport {
    match transport {
        minato_ports::Transport::Tcp => Transport::Tcp,
        minato_ports::Transport::Udp => Transport::Udp,
    }
}
