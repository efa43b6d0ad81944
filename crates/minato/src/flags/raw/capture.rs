//! Arguments of `minato capture`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::flags::Name;

pub(super) const CAPTURE_HELP: &str = "\
Examples:
  minato capture web
  minato capture web 80
  minato capture web 53/udp -c 10
  minato capture web -w web.pcapng
  minato capture web -w - | wireshark -k -i -

What passes the host's own loopback is among them: forwards lead there. Programs send segments
larger than the MTU, which the kernel cuts later or never (segmentation offload): they are shown
as they are. UDP datagrams that travel together are cut apart, and shown as their receiver gets
them. TCP connections from and to the outside of a host that is --direct are not among them
(minato flows shows them). A port leaves out what has none, as ICMP. Ends with Ctrl-C, or with the
host.";

/// `minato capture`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Capture {
    /// The host.
    #[arg(value_name = "HOST")]
    pub(crate) host: Name,
    /// Only from or to this port, range, or registered name.
    #[arg(value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Write them to a new file as pcapng, with the processes as comments; - is standard output.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "json")]
    pub(crate) write: Option<PathBuf>,
    /// End after so many packets.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Keep so many bytes of each packet; of datagrams that travel together, so many of all.
    #[arg(long, value_name = "BYTES", requires = "write", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(64..=262_144))]
    pub(crate) snap_length: u32,
}
