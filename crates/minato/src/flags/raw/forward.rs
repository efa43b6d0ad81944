//! `minato forward` as it is written.

use clap::{Args, Subcommand};

use super::Watch;
use crate::flags::Name;

/// `minato forward`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Forward {
    /// Add forwards to a host: all of them or, when one is impossible, none.
    Add(ForwardChange),
    /// Remove forwards from a host: all of them or, when one is not there, none.
    #[command(after_help = "Exit code 12: there is no such forward.")]
    Rm(ForwardChange),
    /// Show forwards with their counters.
    Ls {
        /// Only forwards to this host.
        #[arg(value_name = "HOST")]
        host: Option<Name>,
        /// How often to look.
        #[command(flatten)]
        watch: Watch,
    },
}

/// Forwards of a host.
#[derive(Clone, Debug, Args)]
pub(crate) struct ForwardChange {
    /// The forward, spelled as for `run`. May be repeated. `all` alone: to add, the same number for each port on which
    /// the host listens and that has no forward; to remove, every forward of the host.
    #[arg(short, long, required = true, value_name = "[IP:]HOSTPORT:PORT[/udp]|all")]
    pub(crate) publish: Vec<String>,
    /// The host.
    #[arg(value_name = "HOST")]
    pub(crate) host: Name,
}
