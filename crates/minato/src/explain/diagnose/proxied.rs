//! The names below `localhost`, which lead through `minato proxy` to hosts' web servers.

use std::net::IpAddr;

use minato_inspect::{PortRow, Unknown};

use super::{Diagnosis, who};
use crate::explain::{HopState, UNKNOWN};
use crate::failure::code;
use crate::proxy::{self, Destination};
use crate::render;

impl<'a> Diagnosis<'a> {
    /// A name that is a service's, if the proxy has the port.
    pub(super) fn proxied(&mut self, to: &Destination, addresses: &[IpAddr], secure: bool) {
        let rows = || self.machine_rows().iter().filter(|row| self.serves(row));
        let proxy = |row: &'a PortRow| {
            let process = row.processes.iter().find(|process| process.name == proxy::PROCESS)?;
            Some((row, process.uid))
        };
        let Some((row, owner)) = rows().find_map(proxy) else { return self.no_proxy(addresses) };
        if owner != self.facts.user {
            return self.proxy_of_another(row, &format!("user {owner}"), code::CONFLICT);
        }
        self.result.hop(HopState::Good, "proxy", format!("{} has port {}", who(row), self.port));
        if secure {
            self.tls();
        }
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

    /// It leads to that user's networks, and not to these.
    fn proxy_of_another(&mut self, row: &PortRow, whose: &str, code: u8) {
        let (port, who) = (self.port, who(row));
        let state = if code == UNKNOWN { HopState::Unknown } else { HopState::Broken };
        self.result.hop(state, "proxy", format!("{who} has port {port}"));
        let why = match code {
            UNKNOWN => format!(
                "unknown: what has port {port} can't be seen; it may be the proxy of {whose}, which leads to nobody else's \
                 networks"
            ),
            _ => format!("port {port} is held by the proxy of {whose}, which leads to nobody else's networks"),
        };
        let own = self.facts.next_free.map(|free| format!("MINATO_PROXY_PORT={free} minato proxy"));
        self.result.because(code, why, own);
    }

    /// Whether the proxy speaks TLS for the name.
    fn tls(&mut self) {
        match self.facts.tls {
            Some(true) => self.result.hop(HopState::Good, "tls", "it has a certificate for the name"),
            Some(false) => {
                self.result.hop(HopState::Broken, "tls", "it has no certificate for the name, and speaks http only");
                let why = "the proxy speaks https once you have a certificate authority of your own";
                self.result.because(code::FAILED, why, ["minato trust".to_owned()]);
            }
            None => self.result.hop(HopState::Unknown, "tls", "no answer"),
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
        let hidden = |row: &&PortRow| self.serves(row) && row.process_unknown == Some(Unknown::NoPermission);
        if let Some(row) = self.machine_rows().iter().find(hidden) {
            return self.proxy_of_another(row, "another user", UNKNOWN);
        }
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
