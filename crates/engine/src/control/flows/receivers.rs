//! Who takes datagrams from anybody: a UDP socket that is bound, and not connected, is no end of a pair.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use minato_inspect::Process;

/// The unconnected UDP sockets of all hosts, and whose they are; by host and port. The engine gives the names, so that the
/// default hasher does.
#[derive(Default)]
pub(super) struct Receivers(HashMap<(String, u16), Vec<Receiver>>);

struct Receiver {
    address: IpAddr,
    v6only: bool,
    /// `None` where it could not be told.
    process: Option<Process>,
}

impl Receivers {
    pub(super) fn add(&mut self, host: &str, local: SocketAddr, v6only: bool, process: Option<Process>) {
        let receiver = Receiver { address: local.ip(), v6only, process };
        self.0.entry((host.to_owned(), local.port())).or_default().push(receiver);
    }

    /// Who gets what is sent to a place: whoever is bound to that address goes before those that are bound to any. Where that
    /// may be several, it is nobody that could be named.
    pub(super) fn at(&self, host: &str, place: SocketAddr) -> Option<Process> {
        let bound = self.0.get(&(host.to_owned(), place.port()))?;
        let exact: Vec<&Receiver> = bound.iter().filter(|receiver| receiver.address == place.ip()).collect();
        let any = || bound.iter().filter(|receiver| receiver.takes_any(place.ip())).collect();
        let takers = if exact.is_empty() { any() } else { exact };
        let [first, others @ ..] = takers.as_slice() else { return None };
        let process = first.process.as_ref()?;
        let is_same = |other: &&Receiver| other.process.as_ref().is_some_and(|other| other.pid == process.pid);
        others.iter().all(is_same).then(|| process.clone())
    }
}

impl Receiver {
    fn takes_any(&self, address: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        self.address.is_unspecified() && (same_family || (self.address.is_ipv6() && !self.v6only))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(list: &[(&str, bool, Option<u32>)]) -> Receivers {
        let mut all = Receivers::default();
        for (local, v6only, pid) in list {
            all.add("web", local.parse().unwrap(), *v6only, pid.map(process));
        }
        all
    }

    fn process(pid: u32) -> Process {
        let (name, command, cwd) = ("server".into(), Vec::new(), None);
        Process { pid, parent: 1, name, command, cwd, uid: 1000, age_seconds: 1.0 }
    }

    #[test]
    fn the_most_exact_socket_is_the_one() {
        let all = receivers(&[
            ("0.0.0.0:53", false, Some(1)),
            ("[::]:53", true, Some(2)),
            ("10.77.0.2:53", false, Some(3)),
            ("[::]:54", false, Some(4)),
            ("[::]:55", true, Some(5)),
            ("0.0.0.0:56", false, Some(6)),
            ("0.0.0.0:56", false, Some(7)),
            ("0.0.0.0:57", false, None),
        ]);
        let at = |host: &str, place: &str| all.at(host, place.parse().unwrap()).map(|process| process.pid);
        for (place, pid) in [
            ("10.77.0.2:53", Some(3)),
            ("127.0.0.1:53", Some(1)),
            ("[fd77::2]:53", Some(2)),
            ("10.77.0.2:54", Some(4)),
            ("10.77.0.2:55", None),
            ("10.77.0.2:56", None),
            ("10.77.0.2:57", None),
            ("[fd77::2]:57", None),
            ("10.77.0.2:58", None),
        ] {
            assert_eq!(at("web", place), pid, "{place}");
        }
        assert_eq!(at("db", "10.77.0.2:53"), None);
    }
}
