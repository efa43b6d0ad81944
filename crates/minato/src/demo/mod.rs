//! `minato demo`: what port numbers are for, told while it happens.
//!
//! Every fact that is printed comes from the programs' own sockets or from the engine; nothing is known beforehand.
//! The programs are this command itself in hidden roles, each a process of its own, so that it runs on a bare machine.

mod part;
mod report;
mod stage;
mod story;
mod without;

use minato_inspect::{ForwardSpec, Transport};

use crate::client::Client;
use crate::failure::Failure;
use crate::flags::Demo;
use crate::flags::raw::DemoRole;
use crate::terminal::Terminal;

pub(crate) use part::part;

/// Tells the story that was asked for.
pub(crate) async fn demo(demo: Demo, client: Client, terminal: &Terminal) -> Result<u8, Failure> {
    if demo.without_ports { without::tell(&client, terminal).await } else { story::tell(demo, &client, terminal).await }
}

/// Name of the host that serves.
const SERVER: &str = "demo";
/// Name of the host that asks.
const CLIENT: &str = "demo-client";

/// A service of the demo.
#[derive(Clone, Copy, Debug)]
struct Service {
    role: DemoRole,
    title: &'static str,
    port: u16,
}

/// The three services, with the ports that IANA has registered for them.
const SERVICES: [Service; 3] = [
    Service { role: DemoRole::Web, title: "web server", port: 80 },
    Service { role: DemoRole::Mail, title: "mail server", port: 25 },
    Service { role: DemoRole::Files, title: "file server", port: 21 },
];

impl Service {
    /// The port of this machine that leads to it.
    fn host_port(self, base: u16) -> u16 {
        base.saturating_add(self.port)
    }

    /// The forward that does so.
    fn forward(self, base: u16) -> ForwardSpec {
        let host_port = self.host_port(base);
        ForwardSpec {
            address: None,
            host_ports: (host_port, host_port),
            service_ports: (self.port, self.port),
            transport: Transport::Tcp,
        }
    }

    /// How to try it by hand.
    fn trial(self, base: u16) -> String {
        let port = self.host_port(base);
        match self.role {
            DemoRole::Web => format!("curl http://127.0.0.1:{port}/"),
            _ => format!("nc 127.0.0.1 {port}"),
        }
    }
}

#[cfg(test)]
mod tests;
