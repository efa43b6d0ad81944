//! Connections to a host's services from clients that come through the API, such as the proxy's.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use minato_inspect::{Problem, ProblemKind};
use minato_ports::{Transport, registry};

use super::{Control, no_such_host};
use crate::plane::{Command, Dialed};
use crate::problem::{problem, with_fix};

/// Ports that are a web server's, whatever else listens; in order of preference.
const WEB: [u16; 10] = [80, 8080, 8000, 3000, 5173, 5000, 4200, 8888, 9000, 8081];
/// Ports of HTTP over TLS, which a client without TLS can't speak to.
const TLS: [u16; 2] = [443, 8443];

/// A service that takes connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    host: u32,
    port: u16,
}

impl Control {
    /// The service at `port`, or, without one, at the port that is most likely a web server's.
    pub(crate) async fn destination(self: &Arc<Self>, host: &str, port: Option<u16>) -> Result<Destination, Problem> {
        let serial = self.state().running(host)?.0.serial;
        let asked = self.plane.ask(|answer| Command::Listening(serial, port, answer)).await;
        let mut listening = asked.map_err(|_| no_such_host(host))?;
        listening.sort_unstable();
        let found = match port {
            Some(port) => listening.contains(&port).then_some(port),
            None => web_port(&listening),
        };
        found.map(|port| Destination { host: serial, port }).ok_or_else(|| nothing_listens(host, port, &listening))
    }

    /// Joins a stream to a service. The service sees the gateway, as with every client of this machine; what is shown is
    /// `client`. A stream that can't be joined any more is closed.
    pub(crate) fn dial(&self, to: Destination, socket: OwnedFd, client: SocketAddr) {
        let Destination { host, port } = to;
        self.plane.send(Command::Dial(Dialed { host, port, socket, client }));
    }
}

/// The port that is most likely a web server's.
pub fn web_port(listening: &[u16]) -> Option<u16> {
    let is_web =
        |port: &&u16| registry::lookup(**port, Transport::Tcp).is_some_and(|service| service.name().contains("http"));
    let plain = || listening.iter().filter(|port| !TLS.contains(port));
    let known = WEB.into_iter().find(|port| listening.contains(port));
    known.or_else(|| plain().find(is_web).copied()).or_else(|| plain().next().copied())
}

fn nothing_listens(host: &str, port: Option<u16>, listening: &[u16]) -> Problem {
    let what = match port {
        Some(port) => format!("no program in host {host:?} listens on port {port}/tcp"),
        None => format!("no program in host {host:?} listens on a TCP port that could be a web server's"),
    };
    let ports = listening.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let found = if ports.is_empty() { "none listens on any".to_owned() } else { format!("these do listen: {ports}") };
    with_fix(problem(ProblemKind::NotFound, format!("{what}; {found}")), format!("minato ports --of {host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_web_port_is_taken() {
        for (listening, expected) in [
            (&[][..], None),
            (&[443], None),
            (&[25, 80, 8080], Some(80)),
            (&[22, 3000], Some(3000)),
            (&[22, 443, 8008], Some(8008)),
            (&[4567, 6000], Some(4567)),
        ] {
            assert_eq!(web_port(listening), expected, "{listening:?}");
        }
    }

    #[test]
    fn who_finds_nothing_is_told_what_there_is() {
        let title = nothing_listens("web", Some(81), &[22, 80]).title;
        assert!(title.contains("81/tcp") && title.contains("22, 80"), "{title}");
    }
}
