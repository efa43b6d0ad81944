//! Several programs on one port: which of them answers.

use std::cmp::Ordering;
use std::net::IpAddr;

use minato_inspect::{PortRow, Process};

use super::relays::leads_to;
use super::{Diagnosis, covers, who};
use crate::explain::HopState;
use crate::failure::code;

impl<'a> Diagnosis<'a> {
    /// The programs that get what is sent to a host, or to one address of it, if they are several.
    pub(super) fn host_rivals(&mut self, host: &str, port: u16, address: Option<IpAddr>) {
        let known = self.network.hosts.iter().find(|known| known.name == host);
        let own = known.map(|host| host.addresses().collect());
        let addresses = address.map(|address| vec![address]).or(own);
        let mut found: Vec<&'a PortRow> = Vec::new();
        for address in addresses.into_iter().flatten() {
            let rows = self.listening(host).filter(|row| row.port == port);
            for row in claimants(rows, address) {
                if !found.iter().any(|known| std::ptr::eq(*known, row)) {
                    found.push(row);
                }
            }
        }
        self.rivals(&found, &format!("{host}:{port}"));
    }

    /// Names all programs that claim a place, when they are not the same one started several times. Relays are none: where
    /// they lead is the service.
    pub(super) fn rivals(&mut self, rows: &[&'a PortRow], place: &str) {
        let rows: Vec<&PortRow> = rows.iter().copied().filter(|row| leads_to(row).is_none()).collect();
        let [first, others @ ..] = rows.as_slice() else { return };
        if others.is_empty() {
            return;
        }
        let names = rows.iter().map(|row| who(row)).collect::<Vec<_>>().join(" and ");
        if others.iter().all(|other| is_same_program(first, other)) {
            let seen = format!("{} processes of one program share {place}: {names}", rows.len());
            return self.result.hop(HopState::Odd, "rivals", seen);
        }
        self.result.hop(HopState::Broken, "rivals", format!("{place} is claimed by {names}"));
        let why = format!("several programs share the number: any of {names} may get a connection");
        let mut processes: Vec<&Process> = rows.iter().flat_map(|row| &row.processes).collect();
        processes.sort_by(|one, other| older_first(one, other));
        let end = |process: &Process| format!("kill {}    # unless {} is the one you want", process.pid, process.name);
        // The youngest came last, and is the most likely to be unwanted.
        self.result.because(code::CONFLICT, why, processes.into_iter().map(end));
    }
}

/// Which of these sockets get what is sent to `address`: those that are bound to it alone go before the others.
pub(super) fn claimants<'a>(rows: impl Iterator<Item = &'a PortRow>, address: IpAddr) -> Vec<&'a PortRow> {
    let all: Vec<&PortRow> = rows.filter(|row| row.listening && covers(&row.addresses, address)).collect();
    let exact: Vec<&PortRow> = all.iter().copied().filter(|row| row.addresses.contains(&address)).collect();
    if exact.is_empty() { all } else { exact }
}

/// Which of two processes came first. The kernel keeps hundredths of a second; within one, numbers mostly go up.
pub(super) fn older_first(one: &Process, other: &Process) -> Ordering {
    other.age_seconds.total_cmp(&one.age_seconds).then(one.pid.cmp(&other.pid))
}

/// Whether two sockets belong to one program that was started several times, or has made itself several processes.
fn is_same_program(one: &PortRow, other: &PortRow) -> bool {
    let (Some(one), Some(other)) = (one.processes.first(), other.processes.first()) else { return false };
    let is_child = one.parent == other.pid || other.parent == one.pid;
    one.name == other.name && (is_child || one.command == other.command)
}
