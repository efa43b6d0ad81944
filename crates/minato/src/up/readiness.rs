//! When a host does what it is for: its ports listen, and its `ready-command` ends with 0.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, sleep_until};

use super::context::Context;
use super::group::Group;
use super::output::Output;
use super::service::{Place, shown};
use crate::failure::{Failure, code};
use crate::file::{HostPlan, ReadyPort};
use crate::program;
use crate::render;

/// Between two tries of a `ready-command`.
const PAUSE: Duration = Duration::from_millis(200);

/// After so long it is said what a host waits for, and how many ports at most.
const A_WHILE: Duration = Duration::from_secs(10);
const MOST: usize = 5;

/// Returns when a host does what it is for, or it is certain that it never will.
pub(super) async fn readiness(
    context: Arc<Context>,
    plan: HostPlan,
    place: Place,
    variables: Vec<(String, String)>,
) -> Result<(), Failure> {
    let listening = context.listening.wait(plan.name.as_str(), &plan.ready);
    tokio::select! {
        () = listening => {}
        () = say_what_is_missing(&context, &plan) => {}
    }
    let warnings = context.listening.warnings(plan.name.as_str(), &plan.ready).await;
    warnings.iter().for_each(|warning| context.warn(warning));
    let Some(words) = &plan.ready_command else { return Ok(()) };
    let command = ReadyCommand { plan: &plan, place: &place, words, variables };
    command
        .succeeds(&context)
        .await
        .map_err(|failure| failure.detail(format!("it is the ready-command of {}", plan.name)))
}

/// Says once, after a while, for which ports a host is waited.
async fn say_what_is_missing(context: &Context, plan: &HostPlan) {
    sleep(A_WHILE).await;
    let missing = context.listening.missing(plan.name.as_str(), &plan.ready);
    let ports: Vec<String> = missing
        .iter()
        .take(MOST)
        .map(|ReadyPort { port, transport }| format!("{port}/{}", render::transport(*transport)))
        .collect();
    let more = if missing.len() > MOST { ", …" } else { "" };
    context.say(&format!(
        "{} is not ready: nothing listens on {}{more} yet; ready = … in the file says what is waited for",
        plan.name,
        ports.join(", ")
    ));
    std::future::pending::<()>().await;
}

/// A command that is run in a host again and again.
struct ReadyCommand<'h> {
    plan: &'h HostPlan,
    place: &'h Place,
    words: &'h [String],
    variables: Vec<(String, String)>,
}

impl ReadyCommand<'_> {
    /// Returns when it has ended with 0. After a while it is said once why it has not. One that can't be started will not get
    /// better by itself, and the host is not ready without it; but one that could be, when everything was ready, may be just
    /// being replaced, and its host is not ended for that.
    async fn succeeds(&self, context: &Context) -> Result<(), Failure> {
        let late = Instant::now() + A_WHILE;
        let mut why = "has not ended yet".to_owned();
        let mut told = false;
        loop {
            let attempt = self.attempt();
            tokio::pin!(attempt);
            let failed = loop {
                tokio::select! {
                    failed = &mut attempt => break match failed {
                        Err(failure) if self.place.is_settled() => Some(format!("can't be run: {}", failure.title)),
                        failed => failed?,
                    },
                    () = sleep_until(late), if !told => {
                        context.say(&format!("{} is not ready: its ready-command {why}", self.plan.name));
                        told = true;
                    }
                }
            };
            match failed {
                Some(failed) => why = failed,
                None => return Ok(()),
            }
            sleep(PAUSE).await;
        }
    }

    /// Runs it once; tells how it has failed.
    async fn attempt(&self) -> Result<Option<String>, Failure> {
        // What it starts ends with it, and the terminal's signals are not for it.
        let group = Group::new().map_err(|error| Failure::caused("a program gets no process group", error))?;
        let failed = |error: std::io::Error| Failure::caused("no pipe for a program is to be had", error);
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let service = &self.plan.services[0];
        let mut command = std::process::Command::new(&self.words[0]);
        command.args(&self.words[1..]).current_dir(&service.directory).process_group(group.number());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
        let mut child = program::spawn_in(command, service.identity(), self.plan.name.as_str(), &self.place.enter)?;
        let output = Output::of(pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?, drop);
        let code = child.wait().await.map_or(code::FAILED, program::exit_code);
        if code == 0 {
            return Ok(None);
        }
        group.signal(rustix::process::Signal::KILL);
        let said = output.close().await.pop();
        let said = said.map(|line| format!("; its last words: {}", render::printable(&line))).unwrap_or_default();
        Ok(Some(format!("ends with {}{said}", shown(code))))
    }
}
