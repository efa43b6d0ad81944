//! `minato up -d`: a supervisor in the background, and the `up` that waits until everything is ready.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::Up;
use super::display::Display;
use super::screen::{Notice, Screen};
use crate::background;
use crate::commands::DONE;
use crate::failure::{Failure, code};
use crate::file::Plan;
use crate::program::{self, Signals};
use crate::terminal::Terminal;

/// Starts the supervisor, shows what it tells, and returns when everything is ready, or it has failed.
pub(super) async fn start(up: &Up, plan: &Plan, terminal: &Terminal) -> Result<u8, Failure> {
    let failed = |error: io::Error| Failure::caused("cannot start the supervisor", error);
    let mut signals = Signals::catch()?;
    let mut supervisor = command(up, plan).spawn().map_err(failed)?;
    let output = supervisor.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    let mut notices = BufReader::new(output).lines();
    let mut screen = Screen::new(terminal);
    let mut ended_by = None;
    loop {
        let line = tokio::select! {
            line = notices.next_line() => line.map_err(failed)?,
            signal = signals.next() => {
                if let Some(code) = program::ends(signal) {
                    // Once more is at once, as in the foreground.
                    program::send(&supervisor, rustix::process::Signal::TERM);
                    ended_by = Some(code);
                }
                continue;
            }
        };
        let Some(line) = line else {
            let status = supervisor.wait().await.map_err(failed)?;
            screen.end_of_progress();
            let failure = Failure::new(code::FAILED, "the supervisor ended before everything was ready");
            return Err(with_signal(failure.detail(status.to_string()), ended_by));
        };
        match serde_json::from_str(&line) {
            Ok(Notice::Say(message)) => screen.say(&message),
            Ok(Notice::Report(failure)) => screen.report(&failure),
            Ok(Notice::Progress(rows)) => screen.progress(rows),
            Ok(Notice::AllReady(lines)) => {
                screen.all_ready(&lines);
                return Ok(DONE);
            }
            Ok(Notice::Failed(failure)) => {
                screen.end_of_progress();
                // Everything of it is gone when it is.
                let _ = supervisor.wait().await;
                return Err(with_signal(failure, ended_by));
            }
            Err(error) => return Err(Failure::caused("the supervisor tells what makes no sense", error)),
        }
    }
}

/// A failure of what somebody has ended with a signal has the exit code that a shell gives it.
fn with_signal(failure: Failure, code: Option<u8>) -> Failure {
    Failure { code: code.unwrap_or(failure.code), ..failure }
}

/// The supervisor as it is started: the same file, network and instance.
fn command(up: &Up, plan: &Plan) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("__up").args(["--network", choice_network(up, plan).as_str()]);
    for file in &up.choice.files {
        command.arg("--file").arg(file);
    }
    if let Some(instance) = &up.choice.instance {
        command.args(["--instance", instance.as_str()]);
    }
    if let Some(subnet) = up.choice.subnet {
        command.args(["--subnet", &subnet.to_string()]);
    }
    if up.watch {
        command.arg("--watch");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The network's name without the instance, whatever the file will say by then.
fn choice_network(up: &Up, plan: &Plan) -> String {
    let name = plan.network.to_string();
    match &up.choice.instance {
        Some(instance) => name.strip_suffix(&format!("-{instance}")).unwrap_or(&name).to_owned(),
        None => name,
    }
}

/// `minato __up`: the supervisor in the background. Standard output is the pipe to the `up -d` that waits.
pub(crate) async fn supervise(up: Up, terminal: &Terminal) -> Result<u8, Failure> {
    program::rename("minato-up");
    let pipe =
        background::take_pipe().map_err(|error| Failure::caused("the supervisor cannot leave its starter", error))?;
    let display = Arc::new(Display::start(Screen::for_starter(terminal, pipe))?);
    let result = async {
        let plan = up.choice.plan().map_err(crate::file::Problems::into_failure)?;
        super::run(&up, plan, Arc::clone(&display)).await
    };
    let result = result.await;
    if let Err(failure) = &result {
        // Nobody hears it after everything was ready.
        display.failed(failure);
    }
    display.finish();
    result
}
