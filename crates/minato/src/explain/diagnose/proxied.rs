//! The names below `localhost`, which lead through `minato proxy` to hosts' web servers.

use std::net::IpAddr;

use minato_inspect::PortRow;

use super::{Diagnosis, who};
use crate::explain::HopState;
use crate::failure::code;
use crate::proxy::{self, Destination};
use crate::render;

impl<'a> Diagnosis<'a> {
    /// A name that is a service's, if the proxy has the port.
    pub(super) fn proxied(&mut self, to: &Destination, addresses: &[IpAddr]) {
        let rows = || self.machine_rows().iter().filter(|row| self.serves(row));
        let is_proxy = |row: &&PortRow| row.processes.iter().any(|process| process.name == proxy::PROCESS);
        let Some(row) = rows().find(is_proxy) else { return self.no_proxy(addresses) };
        self.result.hop(HopState::Good, "proxy", format!("{} has port {}", who(row), self.port));
        let network = &to.network;
        let place = format!("{} in network {network}", to.host);
        if self.facts.network.is_none() {
            self.result.hop(HopState::Broken, "network", format!("{network} is not running"));
            let fix = format!("minato{} run --name {} -- PROGRAM", self.facts.network_flag, to.host);
            return self.result.because(code::NOTHING, format!("no network '{network}' is running"), [fix]);
        }
        let port = to.port.or_else(|| self.web_port(to.host.as_str()));
        match port {
            Some(port) => {
                self.result.hop(HopState::Good, "name", format!("leads to port {port} of {place}"));
                self.of_host(to.host.as_str(), port);
            }
            None => {
                self.result.hop(HopState::Good, "name", format!("leads to the web server of {place}"));
                self.of_host(to.host.as_str(), 80);
            }
        }
    }

    fn of_host(&mut self, host: &str, port: u16) {
        if !self.network.hosts.iter().any(|known| known.name == host) {
            return self.no_such_host(host);
        }
        match self.service(host, port, None) {
            Some(row) => {
                self.result.hop(HopState::Good, "service", format!("{} is bound to {}", who(row), render::bind(row)));
                self.readiness(row);
            }
            None => {
                let seen = format!("nothing in {host} listens on {}", self.number(port));
                self.result.hop(HopState::Broken, "service", seen);
                self.service_missing(host, port, None);
            }
        }
    }

    fn web_port(&self, host: &str) -> Option<u16> {
        let mut listening: Vec<u16> = self.listening(host).map(|row| row.port).collect();
        listening.sort_unstable();
        minato_engine::web_port(&listening)
    }

    fn no_proxy(&mut self, addresses: &[IpAddr]) {
        let port = self.port;
        let is_held = self.machine_rows().iter().any(|row| self.serves(row));
        // Where the sockets can't be seen, the proxy may be among them.
        if is_held || self.facts.machine.is_err() {
            return self.machine(addresses);
        }
        self.result.hop(HopState::Broken, "proxy", format!("none has port {port}"));
        let start = match proxy::port() {
            Ok(own) if own == port => "minato proxy".to_owned(),
            _ => format!("MINATO_PROXY_PORT={port} minato proxy"),
        };
        let why = format!("names below localhost lead to hosts by the proxy, and none serves port {port}");
        self.result.because(code::NOTHING, why, [start]);
    }
}
