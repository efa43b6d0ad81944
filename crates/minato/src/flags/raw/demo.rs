//! Arguments of `minato demo`.

use clap::{Args, ValueEnum};

/// `minato demo`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Demo {
    /// Show what is lost without port numbers: one service for each address.
    #[arg(long)]
    pub(crate) without_ports: bool,
    /// End after the story instead of staying up until Ctrl-C.
    #[arg(long)]
    pub(crate) once: bool,
    /// A service on port N is forwarded from port BASE + N of this machine.
    #[arg(long, value_name = "BASE", default_value_t = 8000, value_parser = clap::value_parser!(u16).range(1..=65000))]
    pub(crate) port_base: u16,
}

/// One program of the demo.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct DemoPart {
    /// Which one.
    pub(crate) role: DemoRole,
    /// The port to bind, or the address and port to talk to.
    pub(crate) place: String,
    /// Of a client: how many connections at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) parallel: usize,
    /// Of a client: what kind of server it expects.
    #[arg(long)]
    pub(crate) speaks: Option<DemoRole>,
    /// Of a client: send everything from this port instead of one that the kernel chooses.
    #[arg(long)]
    pub(crate) source_port: Option<u16>,
}

/// What a program of the demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoRole {
    /// A web server.
    Web,
    /// A mail server that greets.
    Mail,
    /// A file server that greets.
    Files,
    /// A client.
    Client,
}

impl DemoRole {
    /// The role as the command line spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            DemoRole::Web => "web",
            DemoRole::Mail => "mail",
            DemoRole::Files => "files",
            DemoRole::Client => "client",
        }
    }
}
