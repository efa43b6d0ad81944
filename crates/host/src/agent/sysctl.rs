//! The network settings of a host's namespace.

use std::{fs, io, path::Path};

use super::FabricError;
use super::Step;

const NET: &str = "/proc/sys/net";

/// Whether the kernel has IPv6.
pub(super) fn has_ipv6() -> bool {
    Path::new(NET).join("ipv6").exists()
}

/// Sets up the network namespace of the calling thread, before it has any interface but `lo`.
pub(super) fn prepare_host(ephemeral: (u16, u16), ipv6: bool) -> Result<(), FabricError> {
    // IPv4 settings of a new namespace are copies of the machine's, so what matters is written, never assumed.
    // `ip_forward` comes first: it resets others.
    write("ipv4/ip_forward", "0")?;
    write("ipv4/ip_unprivileged_port_start", "0")?;
    write("ipv4/ip_local_port_range", &format!("{} {}", ephemeral.0, ephemeral.1))?;
    allow_ping()?;
    // Mechanism 3: an accepted connection takes over the mark of its SYN, and so do a RST and an ICMP error that
    // answer a marked packet. Without the second a refusal would leave by the gateway, and the relay would wait.
    write("ipv4/tcp_fwmark_accept", "1")?;
    write("ipv4/fwmark_reflect", "1")?;
    // A client may come again from the port of a connection that ended a moment ago (RFC 6191: timestamps tell them
    // apart); the relay's end of that one is in TIME-WAIT here. The delay of a second is a setting since Linux 6.14.
    write("ipv4/tcp_tw_reuse", "1")?;
    let _ = write("ipv4/tcp_tw_reuse_delay", "1");
    // The client's address is on another interface than where its packets come from.
    for interface in ["all", "default", "lo"] {
        write(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
    }
    if ipv6 {
        write("ipv6/fwmark_reflect", "1")?;
        for interface in ["all", "default", "lo"] {
            write(&format!("ipv6/conf/{interface}/disable_ipv6"), "0")?;
        }
        // Nobody advertises routers or addresses here, and nobody else has ours.
        for setting in ["accept_ra", "autoconf", "router_solicitations", "accept_dad", "accept_redirects"] {
            write(&format!("ipv6/conf/default/{setting}"), "0")?;
        }
    }
    Ok(())
}

/// The fabric namespace only bridges: it needs no address of its own, and no router or neighbour chatter.
pub(super) fn prepare_fabric(ipv6: bool) -> Result<(), FabricError> {
    if ipv6 {
        write("ipv6/conf/default/disable_ipv6", "1")?;
    }
    Ok(())
}

/// Lets everybody open ping sockets. In a user namespace that knows only the caller's group (ours, or one that we were
/// started in), that group is everybody.
fn allow_ping() -> Result<(), FabricError> {
    let group = rustix::process::getegid().as_raw();
    write("ipv4/ping_group_range", "0 2147483647")
        .or_else(|_| write("ipv4/ping_group_range", &format!("{group} {group}")))
}

fn write(name: &str, value: &str) -> Result<(), FabricError> {
    let attempt = || -> io::Result<()> {
        // Not `fs::write`: nothing is to be created or truncated.
        let mut file = fs::OpenOptions::new().write(true).open(Path::new(NET).join(name))?;
        io::Write::write_all(&mut file, value.as_bytes())
    };
    attempt().map_err(|source| FabricError {
        step: Step::Sysctl,
        detail: Some(format!("net.{} = {value}", name.replace('/', "."))),
        source,
    })
}
