//! The stage of the demo: hosts, and programs in them whose reports are read as they come.

use std::process::Stdio;
use std::time::Duration;

use minato_host::enter::Identity;
use minato_inspect::{ForwardSpec, HostRequest};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::report::Report;
use crate::client::{self, Client, Session};
use crate::failure::{Failure, code};
use crate::flags::raw::DemoRole;
use crate::program;

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A host of the demo.
pub(super) struct Host {
    /// Its session; the host lasts as long.
    pub(super) session: Session,
}

impl Host {
    /// Makes a host.
    pub(super) async fn open(client: &Client, name: &str, forwards: Vec<ForwardSpec>) -> Result<Host, Failure> {
        let command = vec!["minato".into(), "demo".into()];
        let request = HostRequest { name: Some(name.into()), forwards, command, ..HostRequest::default() };
        client::open_host(client, &request).await.map(|session| Host { session })
    }

    /// The host's name.
    pub(super) fn name(&self) -> &str {
        &self.session.host.name
    }

    /// Starts a program of the demo in it. `arguments` follow the role.
    pub(super) fn start(&self, role: DemoRole, arguments: &[&str]) -> Result<Actor, Failure> {
        let mut command = std::process::Command::new("/proc/self/exe");
        command.arg("__demo").arg(role.word()).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = program::spawn_command(command, Identity::Own, &self.session)?;
        let pid = child.id().unwrap_or_default();
        let output =
            child.stdout.take().ok_or_else(|| Failure::new(code::FAILED, "a program of the demo has no output"))?;
        Ok(Actor { pid, child, reports: BufReader::new(output).lines() })
    }

    /// Ends the host and waits until it is gone.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let name = self.name().to_owned();
        let ended = self.session.end().await;
        ended.map(drop).map_err(|error| Failure::caused(format!("host '{name}' may not be gone"), error.reason()))
    }
}

/// A program of the demo.
pub(super) struct Actor {
    /// Its process ID.
    pub(super) pid: u32,
    child: Child,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Actor {
    /// The next thing it tells, within a reasonable time.
    pub(super) async fn expect(&mut self) -> Result<Report, Failure> {
        match tokio::time::timeout(PATIENCE, self.next()).await {
            Ok(Some(report)) => Ok(report),
            Ok(None) => {
                Err(Failure::new(code::FAILED, format!("a program of the demo (pid {}) ended early", self.pid)))
            }
            Err(_) => Err(Failure::new(code::FAILED, format!("a program of the demo (pid {}) is silent", self.pid))),
        }
    }

    /// The next thing it tells; `None` when it has ended. May be cancelled and called again.
    pub(super) async fn next(&mut self) -> Option<Report> {
        let line = self.reports.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }

    /// Ends it.
    pub(super) async fn end(mut self) {
        program::terminate(&mut self.child).await;
    }
}
