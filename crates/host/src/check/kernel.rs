use rustix::{fs::StatVfsMountFlags, system::uname};

use super::{Check, sysctl};
use crate::{
    Family, Transport,
    sock_diag::{Query, SockDiag, States},
};

/// `pidfd_open`, with which the agent is watched.
const NEEDED: (u32, u32) = (5, 3);
/// Bound sockets that do not listen are listed.
const WANTED: (u32, u32) = (6, 8);

pub(super) fn version() -> Check {
    let name = uname();
    judge_version(&name.release().to_string_lossy())
}

pub(super) fn judge_version(release: &str) -> Check {
    const NAME: &str = "kernel";
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let evidence = format!("Linux {release}");
    if version < NEEDED {
        let fix = format!("update the kernel to {}.{} or later", NEEDED.0, NEEDED.1);
        return Check::fail(NAME, evidence, Some(fix));
    }
    if version < WANTED {
        let evidence = format!("{evidence}: TCP ports that are bound without listening can't be seen");
        return Check::warn(NAME, evidence, format!("update the kernel to {}.{} or later", WANTED.0, WANTED.1));
    }
    Check::ok(NAME, evidence)
}

pub(super) fn sysctls() -> Check {
    const NAME: &str = "network settings";
    for needed in ["tcp_fwmark_accept", "fwmark_reflect", "ip_unprivileged_port_start", "ping_group_range"] {
        if sysctl(&format!("net/ipv4/{needed}")).is_none() {
            let evidence = format!("the kernel has no net.ipv4.{needed}");
            return Check::fail(NAME, evidence, Some("use a kernel with IPv4 of version 4.11 or later".into()));
        }
    }
    match rustix::fs::statvfs("/proc/sys/net") {
        Ok(mount) if mount.f_flag.contains(StatVfsMountFlags::RDONLY) => {
            let fix = "start the container with --security-opt systempaths=unconfined, or outside of a container: \
                       sudo mount -o remount,rw /proc/sys";
            Check::fail(NAME, "/proc/sys is mounted read-only", Some(fix.into()))
        }
        Ok(_) => Check::ok(NAME, "/proc/sys/net has all that is needed"),
        Err(error) => Check::fail(NAME, format!("/proc/sys/net: {error}"), Some("mount /proc".into())),
    }
}

pub(super) fn socket_table() -> Check {
    const NAME: &str = "socket table";
    let look = || {
        let mut table = SockDiag::open()?;
        let mut count = 0;
        for transport in [Transport::Tcp, Transport::Udp] {
            table.dump(Query::new(Family::V4, transport, States::ALL), |_| count += 1)?;
        }
        Ok::<usize, std::io::Error>(count)
    };
    match look() {
        Ok(_) => Check::ok(NAME, "inet_diag answers for TCP and UDP"),
        Err(error) => {
            let fix = "sudo modprobe -a inet_diag tcp_diag udp_diag";
            Check::fail(NAME, format!("inet_diag: {error}"), Some(fix.into()))
        }
    }
}

pub(super) fn ipv6() -> Check {
    const NAME: &str = "IPv6";
    match sysctl("net/ipv6/conf/lo/disable_ipv6").as_deref() {
        Some("0") => Check::ok(NAME, "on"),
        Some(_) => {
            let fix = "sudo sysctl -w net.ipv6.conf.lo.disable_ipv6=0";
            Check::warn(NAME, "net.ipv6.conf.lo.disable_ipv6 = 1: forwards can't listen on [::1]", fix)
        }
        None => {
            let fix = "remove ipv6.disable=1 from the kernel's command line";
            Check::warn(NAME, "the kernel has none: hosts are made with IPv4 only", fix)
        }
    }
}
