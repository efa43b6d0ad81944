//! The network settings of a host's namespace.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::Path,
};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::FabricError;
use super::Step;

const NET: &str = "/proc/sys/net";

/// Whether the kernel has IPv6: it was built with it, and not told on its command line to leave it.
pub(super) fn has_ipv6() -> bool {
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    Path::new(NET).join("ipv6").exists() && !matches!(socket, Err(Errno::AFNOSUPPORT))
}

/// Sets up the network namespace of the calling thread, before it has any interface but `lo`.
pub(super) fn prepare_host(ephemeral: (u16, u16), ipv6: bool) -> Result<(), FabricError> {
    // IPv4 settings of a new namespace are copies of the machine's, so what matters is written, never assumed.
    // `ip_forward` comes first: it resets others.
    write("ipv4/ip_forward", "0")?;
    write("ipv4/ip_unprivileged_port_start", "0")?;
    set_ephemeral_range(ephemeral)?;
    allow_ping()?;
    for buffers in ["ipv4/tcp_rmem", "ipv4/tcp_wmem"] {
        limit_buffers(buffers)?;
    }
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

/// Opens the first port of the calling thread's network namespace that everybody may bind. Whoever has the descriptor reads
/// the setting of that namespace, wherever he is himself, and does not keep it alive.
pub(super) fn open_unprivileged_start() -> Result<OwnedFd, FabricError> {
    let name = "ipv4/ip_unprivileged_port_start";
    let failed = |source| FabricError { step: Step::Sysctl, detail: Some(name.to_owned()), source };
    Ok(File::open(Path::new(NET).join(name)).map_err(failed)?.into())
}

/// Leaves an interface of the calling thread's network namespace, before it is up, without a link-local address of the
/// kernel's: it gets one with its other addresses. Interfaces that programs make are none of ours.
pub(super) fn leave_without_address(interface: u32) -> Result<(), FabricError> {
    write(&format!("ipv6/conf/eth{interface}/addr_gen_mode"), "1")
}

/// Sets the ephemeral range in the network namespace of the calling thread.
pub(super) fn set_ephemeral_range((first, last): (u16, u16)) -> Result<(), FabricError> {
    write("ipv4/ip_local_port_range", &format!("{first} {last}"))
}

/// A host in two networks keeps them apart: it forwards nothing (see [`prepare_host`]), and does not tell one network
/// that it has an address in the other.
pub(super) fn prepare_second_interface() -> Result<(), FabricError> {
    write("ipv4/conf/all/arp_ignore", "1")?;
    write("ipv4/conf/all/arp_announce", "2")
}

/// The fabric namespace only bridges: it needs no address of its own, and no router or neighbour chatter.
pub(super) fn prepare_fabric(ipv6: bool) -> Result<(), FabricError> {
    if ipv6 {
        write("ipv6/conf/default/disable_ipv6", "1")?;
    }
    // Where the machine has loaded br_netfilter, every frame would pass the (empty) rules of IP as well.
    for family in ["ip", "ip6", "arp"] {
        let _ = write(&format!("bridge/bridge-nf-call-{family}tables"), "0");
    }
    Ok(())
}

/// The congestion control for connections between a host and its gateway; `None` if the machine's default will do. That
/// link loses nothing and has no bottleneck to find: BBR would find nothing, and has a timer fire for every few segments
/// to pace them. What it is good for is the way beyond the machine, where the relay's own sockets follow the default.
pub(super) fn congestion_control() -> Option<&'static str> {
    let read = |name: &str| fs::read_to_string(Path::new(NET).join("ipv4").join(name)).unwrap_or_default();
    let paced = read("tcp_congestion_control").trim().starts_with("bbr");
    let available = read("tcp_available_congestion_control");
    // The kernel always has Reno.
    let other = if available.split_whitespace().any(|name| name == "cubic") { "cubic" } else { "reno" };
    paced.then_some(other)
}

/// Lets everybody open ping sockets. In a user namespace that knows only the caller's group (ours, or one that we were
/// started in), that group is everybody.
fn allow_ping() -> Result<(), FabricError> {
    let group = rustix::process::getegid().as_raw();
    write("ipv4/ping_group_range", "0 2147483647")
        .or_else(|_| write("ipv4/ping_group_range", &format!("{group} {group}")))
}

/// Largest buffer that the kernel gives a connection by itself, in bytes. Everybody whom a host's connections reach is on
/// this machine (the gateway speaks for all others), a tenth of a millisecond away: more would not be faster, but would
/// leave the processor's cache before it is read.
const BUFFER_MAX: u64 = 1 << 20;

/// Takes the last of the three numbers of a buffer setting down to [`BUFFER_MAX`].
fn limit_buffers(name: &str) -> Result<(), FabricError> {
    let machine = fs::read_to_string(Path::new(NET).join(name)).unwrap_or_default();
    let sizes: Vec<u64> = machine.split_whitespace().filter_map(|size| size.parse().ok()).collect();
    match sizes[..] {
        [least, first, most] if most > BUFFER_MAX && first <= BUFFER_MAX => {
            write(name, &format!("{least} {first} {BUFFER_MAX}"))
        }
        _ => Ok(()),
    }
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
