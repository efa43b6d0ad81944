use std::net::{IpAddr, Ipv4Addr};

use rustix::process::{Resource, getrlimit};

use super::{Check, sysctl};
use crate::sockets::PingSocket;

/// Below this a busy network soon runs out: a spliced connection takes two to six descriptors.
const WANTED_FILES: u64 = 16_384;

pub(super) fn open_files() -> Check {
    judge_open_files(getrlimit(Resource::Nofile).maximum)
}

pub(super) fn judge_open_files(hard_limit: Option<u64>) -> Check {
    const NAME: &str = "open files";
    match hard_limit {
        Some(limit) if limit < WANTED_FILES => {
            let evidence = format!("hard limit {limit}: some {} connections or forwards at a time", limit / 2);
            let fix = "echo '* hard nofile 1048576' | sudo tee /etc/security/limits.d/minato.conf, then log in again";
            Check::warn(NAME, evidence, fix)
        }
        Some(limit) => Check::ok(NAME, format!("hard limit {limit}")),
        None => Check::ok(NAME, "no limit"),
    }
}

pub(super) fn ping() -> Check {
    const NAME: &str = "ping";
    match PingSocket::open(IpAddr::V4(Ipv4Addr::LOCALHOST), 0) {
        Ok(_) => Check::ok(NAME, "echo requests can be sent"),
        Err(failure) => {
            let range = sysctl("net/ipv4/ping_group_range").unwrap_or_default();
            let evidence = format!(
                "hosts can't ping the outside: {failure} (net.ipv4.ping_group_range = \"{range}\" leaves this group out)"
            );
            Check::warn(NAME, evidence, "sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'")
        }
    }
}

pub(super) fn low_ports() -> Check {
    const NAME: &str = "ports below 1024";
    let first: u16 = sysctl("net/ipv4/ip_unprivileged_port_start").and_then(|first| first.parse().ok()).unwrap_or(1024);
    let privileged = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::NET_BIND_SERVICE));
    if first == 0 || privileged {
        return Check::ok(NAME, "every port of this machine can be forwarded");
    }
    let evidence = format!(
        "net.ipv4.ip_unprivileged_port_start = {first}: lower ports of this machine can't be forwarded (inside hosts \
         every port can be bound)"
    );
    Check::warn(NAME, evidence, "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80")
}
