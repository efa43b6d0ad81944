//! `minato run` and `minato exec`: a program in a host, from the session's opening to the host's end.

use std::process::ExitStatus;

use minato_inspect::{ExecRequest, HostRequest, Process, SessionEnd};
use tokio::process::Child;

use crate::client::{self, Client, Ending, News, RequestError, Session};
use crate::failure::{Failure, code};
use crate::flags::{Exec, Name, Program, Run};
use crate::program::{self, Signals};
use crate::render;
use crate::runtime_dir::RuntimeDir;
use crate::terminal::Terminal;
use crate::up;

/// Makes a host and runs a program in it.
pub(super) async fn run(run: Run, client: Client, terminal: &Terminal) -> Result<u8, Failure> {
    let request = HostRequest {
        name: run.name.map(|name| name.to_string()),
        subnet: run.subnet.map(|subnet| subnet.to_string()),
        networks: run.join.iter().map(Name::to_string).collect(),
        forwards: run.forwards,
        ephemeral_range: run.ephemeral_range.map(|range| (range.first().value(), range.last().value())),
        host_ports: run.host_ports,
        no_loopback: run.no_loopback,
        direct: run.direct,
        policy: run.policy,
        grace_seconds: None,
        command: run.program.display(),
    };
    let session = client::open_host(&client, &request).await?;
    attend(&run.program, &[], session, client.directory(), terminal).await
}

/// Runs a program in a host that is there.
pub(super) async fn exec(exec: Exec, client: Client, terminal: &Terminal) -> Result<u8, Failure> {
    let request = ExecRequest { command: exec.program.display() };
    let session = client::open_session(&client, exec.host.as_str(), &request).await?;
    let variables = up::environment_of(client.directory(), exec.host.as_str());
    attend(&exec.program, &variables, session, client.directory(), terminal).await
}

/// Runs the program and ends the session with it.
async fn attend(
    program: &Program,
    variables: &[(String, String)],
    mut session: Session,
    directory: &RuntimeDir,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    let mut signals = Signals::catch_as_job()?;
    let mut child = match program::spawn(program, variables, &session, directory.network()).await {
        Ok(child) => child,
        Err(failure) => {
            // What matters is why the program did not start; an engine that fails now as well is found by the next command.
            let host = session.host.name.clone();
            let _ = unless_left(session.end(), &host, &mut signals, terminal).await;
            return Err(failure);
        }
    };
    signals.pass_on_early(&child);
    match supervise(&mut child, &mut session, &mut signals, terminal).await {
        Outcome::Ended(status) => {
            let host = session.host.name.clone();
            // Those from before were for the program, too.
            signals.pending();
            let ended = unless_left(session.end_with_news(), &host, &mut signals, terminal);
            let (ending, rest) = ended.await?;
            rest.iter().for_each(|news| tell(news, terminal));
            conclude(status, &host, ending, directory, terminal)
        }
        Outcome::EngineEnded(reason) => {
            program::terminate(&mut child).await;
            Err(engine_ended(&reason, directory))
        }
        Outcome::Lost(error) => Err(Failure::caused("cannot wait for the program", error)),
    }
}

/// Waits for the end of a session, as long as the engine takes for it, unless somebody insists on leaving: a signal tells what
/// is waited for, and the next one ends the wait.
async fn unless_left<T>(
    ended: impl Future<Output = T>,
    host: &str,
    signals: &mut Signals,
    terminal: &Terminal,
) -> Result<T, Failure> {
    tokio::pin!(ended);
    let mut warned = false;
    loop {
        let signal = tokio::select! {
            ended = &mut ended => return Ok(ended),
            signal = signals.next() => signal,
        };
        let Some(code) = program::ends(signal) else { continue };
        if warned {
            let title = format!("host '{host}' may not be gone: its end was not waited for");
            return Err(Failure::new(code, title).fix("minato ps    # what is there"));
        }
        terminal.warn(&format!("host '{host}' has not ended yet; once more leaves it to its engine"));
        warned = true;
    }
}

/// How the time of a program ended.
enum Outcome {
    Ended(ExitStatus),
    EngineEnded(String),
    Lost(std::io::Error),
}

/// Something has become of the program.
const CHILD: i32 = rustix::process::Signal::CHILD.as_raw();

/// Waits for the program, and meanwhile passes on signals and what the engine has to say.
async fn supervise(child: &mut Child, session: &mut Session, signals: &mut Signals, terminal: &Terminal) -> Outcome {
    loop {
        tokio::select! {
            status = child.wait() => return status.map_or_else(Outcome::Lost, Outcome::Ended),
            news = session.news() => match news {
                News::EngineEnded(reason) => return Outcome::EngineEnded(reason),
                news => tell(&news, terminal),
            },
            signal = signals.next() => match signal.number {
                CHILD => program::stop_along(child).await,
                _ => program::pass_on(signal, child),
            },
        }
    }
}

/// Shows what the user should read.
fn tell(news: &News, terminal: &Terminal) {
    match news {
        News::Warning(message) => terminal.warn(message),
        News::BindFailed(failure) => terminal.report(failure),
        News::EngineEnded(_) => {}
    }
}

/// The exit code of a program that has ended, after its session has.
fn conclude(
    status: ExitStatus,
    host: &str,
    ending: Ending,
    directory: &RuntimeDir,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    match ending {
        Ok(end) => tell_who_was_ended(host, &end, terminal),
        // Nobody but the agent of a dead engine kills a program just before its engine is found dead.
        Err(RequestError::Gone(reason)) if killed(status) => return Err(engine_ended(&reason, directory)),
        Err(RequestError::NotRunning) if killed(status) => return Err(engine_ended("it is gone", directory)),
        Err(error) => terminal.warn(&format!("host '{host}' may not be gone: {}", error.reason())),
    }
    Ok(program::exit_code(status))
}

fn killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(rustix::process::Signal::KILL.as_raw())
}

fn engine_ended(reason: &str, directory: &RuntimeDir) -> Failure {
    let title = format!("the engine of network '{}' ended, and the program with it", directory.network());
    Failure::new(code::FAILED, title).detail(reason).last_words(&directory.log())
}

/// Programs that went to the background end with their host; whoever started them should know.
fn tell_who_was_ended(host: &str, end: &SessionEnd, terminal: &Terminal) {
    if end.ended.is_empty() {
        return;
    }
    let name = |process: &Process| format!("{} (pid {})", render::printable(&process.name), process.pid);
    let names = end.ended.iter().map(name).collect::<Vec<_>>().join(", ");
    terminal
        .warn(&format!("host '{host}' ended with its program; these were still running in it and were ended: {names}"));
}

#[cfg(test)]
mod tests;
