//! Arguments of the commands that work with a `minato.toml`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use minato_engine::FixedSubnet;

use crate::flags::Name;

pub(super) const UP_HELP: &str = "\
Examples:
  minato up
      minato.toml of this directory; Ctrl-C ends everything in order, a second Ctrl-C at once
  minato up -d && curl http://127.0.0.1:8080/ && minato down
      returns when every host is ready
  minato up -d --instance $(git branch --show-current)
      a network of its own for each branch, with the same file and the same ports inside

Exit codes: 0 everything has ended well, or was ended; 1 a program has not, or can't be started,
or the engine ended; 2 the file is wrong; 13 a port of this machine is privileged; 14 ports or
addresses are used up; 15 this machine can't; 16 it is up already, or a port of this machine is
taken; 128 + N signal N has ended up -d before everything was ready.";

/// `minato up`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Up {
    /// Which file.
    #[command(flatten)]
    pub(crate) files: Files,
    /// The subnet of the network, whatever the file says [default: a free one].
    #[arg(long, value_name = "SUBNET")]
    pub(crate) subnet: Option<FixedSubnet>,
    /// Go on in the background once everything is ready.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Apply changes of the file while it runs.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Which `minato.toml`, and which network of it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// The file; a further one is laid over those before it [default: minato.toml, and minato.override.toml over it].
    #[arg(short, long = "file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Vec<PathBuf>,
    /// Which of several networks from one file: a branch, a ticket, any word. Each has names and addresses of its own.
    #[arg(long, value_name = "NAME", value_parser = instance)]
    pub(crate) instance: Option<Name>,
}

/// Whatever can be made a label, such as `feature/login`.
pub(super) fn instance(text: &str) -> Result<Name, String> {
    crate::file::instance_label(text).ok_or_else(|| "an instance is named with letters or digits".into())
}
