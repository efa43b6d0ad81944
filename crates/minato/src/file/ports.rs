//! `ports = { 80 = 8080 }`: service port = host port, and what else can stand on either side.

use std::net::IpAddr;

use minato_inspect::{ForwardSpec, Transport};
use minato_ports::PortArgument;

use super::plan::{Forward, HostPorts, ReadyPort};
use crate::flags::argument;

/// What stands left: one port or a range of a service, with its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortKey {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) transport: Transport,
}

/// What stands right: where on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortLine {
    /// At these ports, and this address if one is named.
    At(Box<ForwardSpec>),
    /// At free ports, and this address if one is named.
    Any(Option<IpAddr>),
}

impl PortKey {
    /// Reads `80`, `"53/udp"`, `"8000-8010"` or a registered name such as `"http"`.
    pub(super) fn parse(text: &str) -> Result<PortKey, String> {
        let argument: PortArgument = text.parse().map_err(|error: minato_ports::ParseError| error.to_string())?;
        let transport = argument.transport.map_or(Transport::Tcp, argument::transport);
        let (first, last) = argument::bounds(argument.ports);
        if first == 0 {
            return Err("no service listens on port 0".into());
        }
        Ok(PortKey { first, last, transport })
    }

    /// Each single port.
    pub(super) fn each(self) -> impl Iterator<Item = ReadyPort> {
        (self.first..=self.last).map(move |port| ReadyPort { port, transport: self.transport })
    }

    /// As it is written.
    pub(super) fn shown(self) -> String {
        let ports =
            if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) };
        match self.transport {
            Transport::Tcp => ports,
            Transport::Udp => format!("{ports}/udp"),
        }
    }
}

impl PortLine {
    /// Reads `"8080"`, `"127.0.0.2:8080"`, `"[::1]:8000-8010"`, `"auto"` or `"0.0.0.0:auto"`.
    pub(super) fn parse(text: &str, key: PortKey) -> Result<PortLine, String> {
        const AUTO: &str = "auto";
        match text.strip_suffix(AUTO) {
            Some("") => return Ok(PortLine::Any(None)),
            Some(address) if address.ends_with(':') => {
                // Any port does to have the address read.
                let read = PortLine::parse(&format!("{address}{}", key.first), PortKey { last: key.first, ..key })?;
                let PortLine::At(forward) = read else { return Err(format!("'{text}' names no address")) };
                return Ok(PortLine::Any(forward.address));
            }
            _ => {}
        }
        let forward = argument::forward_between(text, &key.shown()).map_err(|error| error.to_string())?;
        Ok(PortLine::At(Box::new(forward)))
    }

    /// The forward to a service's ports.
    pub(super) fn forward(&self, key: PortKey) -> Forward {
        let (address, host_ports) = match self {
            PortLine::At(spec) => (spec.address, HostPorts::Fixed(spec.host_ports.0, spec.host_ports.1)),
            PortLine::Any(address) => (*address, HostPorts::Any),
        };
        Forward { service_ports: (key.first, key.last), transport: key.transport, address, host_ports }
    }
}
