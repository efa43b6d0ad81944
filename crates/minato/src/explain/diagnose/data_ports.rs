//! What file transfer needs beside the port that it is known by.

use minato_inspect::{Forward, Transport};

use super::Diagnosis;
use crate::explain::HopState;

/// The port at which FTP servers take their clients' commands (RFC 959 §3.2).
const FTP: u16 = 21;
/// As they are proposed to a user: few, and none that a service is known by.
const PROPOSED: &str = "30000-30009";

impl Diagnosis<'_> {
    /// An FTP server opens a port for each file, and the client connects to the same number: one that is forwarded as
    /// itself, at the address of `control`.
    pub(super) fn data_ports(&mut self, control: &Forward) {
        let is_data = |other: &Forward| {
            let leads_there = (&other.host, other.transport) == (&control.host, Transport::Tcp);
            let covers = other.address.is_unspecified() && other.address.is_ipv4() == control.address.is_ipv4();
            leads_there
                && (other.address == control.address || covers)
                && other.host_port == other.service_port
                && other.service_port != FTP
        };
        if (control.service_port, control.transport) != (FTP, Transport::Tcp)
            || self.network.forwards.iter().any(is_data)
        {
            return;
        }
        let at = match self.spelled_address(control) {
            None => String::new(),
            Some(address) if address.is_ipv6() => format!("[{address}]:"),
            Some(address) => format!("{address}:"),
        };
        let (flag, host) = (&self.facts.network_flag, &control.host);
        let needed = format!(
            "an FTP server opens another port for each file, and none is forwarded: have it use {PROPOSED} (vsftpd: \
             pasv_min_port, pasv_max_port), and minato{flag} forward add -p {at}{PROPOSED}:{PROPOSED} {host}"
        );
        self.result.hop(HopState::Odd, "data", needed);
    }
}
