//! Arguments of `minato run` and `minato exec`.

use std::ffi::OsString;

use clap::{Args, ValueHint};
use minato_engine::FixedSubnet;

use crate::flags::Name;

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  minato run -- bash
      a shell with an IP address of its own
  minato run --name web -p 8080:80 -- nginx -g 'daemon off;'
      http://127.0.0.1:8080 leads to its port 80
  minato run -p 5353:53/udp -p 8000-8010:8000-8010 -- PROGRAM
      UDP, and a range
  minato run -p 0.0.0.0:8080:80 -- PROGRAM
      reachable from other machines too
  minato run --direct -- rclone copy data remote:data
      connections from and to the outside at the machine's own speed

Exit code: the program's own; 127 when there is no such program, 126 when it can't be executed.";

pub(super) const EXEC_EXAMPLES: &str = "\
Examples:
  minato exec web -- curl http://127.0.0.1/
  minato exec web -- bash

Exit code: the program's own; 127 when there is no such program, 126 when it can't be executed.";

/// `minato run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// Name of the host [default: the program's name].
    #[arg(long, value_name = "HOST")]
    pub(crate) name: Option<Name>,
    /// The subnet of the network, which begins with this host unless it has it already [default: a free one].
    #[arg(long, value_name = "SUBNET")]
    pub(crate) subnet: Option<FixedSubnet>,
    /// Another network that the host joins: it has an address there too, and reaches its hosts by name. May be repeated.
    #[arg(long, value_name = "NET")]
    pub(crate) join: Vec<Name>,
    /// Forward a port of this machine, or a range, to one of the host. Without IP: 127.0.0.1 and ::1. May be repeated.
    #[arg(short, long, value_name = "[IP:]HOSTPORT:PORT[/udp]")]
    pub(crate) publish: Vec<String>,
    /// Ports that the host's kernel chooses from for outgoing connections [default: 49152-65535].
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) ephemeral_range: Option<String>,
    /// Let the host reach this port of the machine's own loopback, at the gateway address. May be repeated.
    #[arg(long, value_name = "PORT")]
    pub(crate) host_port: Vec<String>,
    /// Let the host reach only what such rules name, beyond its network: 'example.com', '*.example.com:443', '10.0.0.0/8:5432',
    /// '[2001:db8::]/32', '192.0.2.1:1-1024/udp', or 'dns' (any name may be asked for). May be repeated.
    #[arg(long, value_name = "RULE")]
    pub(crate) allow: Vec<String>,
    /// Keep the host from these addresses, whatever else it may reach; 'all' from everything that is not allowed. May be
    /// repeated.
    #[arg(long, value_name = "RULE|all")]
    pub(crate) deny: Vec<String>,
    /// Give the host no address of its own on this machine's loopback (127.77.N.H, where its services are reached under
    /// their own numbers).
    #[arg(long)]
    pub(crate) no_loopback: bool,
    /// Connect to the outside at the machine's own speed: a TCP socket that is being connected there becomes one of the
    /// machine's, whose addresses the program then sees. Policies hold; `minato capture` does not show such connections.
    #[arg(long, conflicts_with = "no_bind_watch")]
    pub(crate) direct: bool,
    /// What runs in it.
    #[command(flatten)]
    pub(crate) program: Program,
}

/// `minato exec`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Exec {
    /// The host to join.
    #[arg(value_name = "HOST")]
    pub(crate) host: Name,
    /// Let the program administrate the host's network: addresses, routes, firewall rules, as `tc` and `nft` do.
    #[arg(long, conflicts_with = "map_root")]
    pub(crate) net_admin: bool,
    /// What runs in it.
    #[command(flatten)]
    pub(crate) program: Program,
}

/// A program, and how it runs in its host.
#[derive(Clone, Debug, Args)]
pub(crate) struct Program {
    /// Let the program see itself as root (it has no more rights than you).
    #[arg(long)]
    pub(crate) map_root: bool,
    /// Don't watch for binds that fail: for programs that bring a seccomp listener of their own, as container runtimes do.
    #[arg(long)]
    pub(crate) no_bind_watch: bool,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}
