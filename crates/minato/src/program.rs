//! Runs a program inside a host: naturally in the foreground, with this process as a quiet parent.
//!
//! Terminal, standard streams, working directory and environment are the program's as they would be without us. The
//! signals of the terminal's keys reach it because it stays in our process group; all others that come to us are passed on.

mod signals;
mod stop;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use minato_host::binds::{self, Asked};
use minato_host::enter::{Enter, EnterError, Identity, Namespaces};
use minato_host::parent::{self, Orphan};
use tokio::process::{Child, Command};

use crate::client::{Binds, Session};
use crate::failure::{Failure, code};
use crate::flags::{Name, Program};
use crate::here;
use crate::render;
pub(crate) use signals::{Signals, ends, pass_on};
pub(crate) use stop::stop_along;

/// What the program finds its host's name in.
pub(crate) const HOST_VARIABLE: &str = "MINATO_HOST";

/// Starts a program in a session's host. Its session tells which ports it could not bind.
pub(crate) async fn spawn(
    program: &Program,
    variables: &[(String, String)],
    session: &Session,
    network: &Name,
) -> Result<Child, Failure> {
    let mut command = std::process::Command::new(&program.name);
    command
        .args(&program.arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .env(here::VARIABLE, network.as_str());
    let binds = program.bind_watch.then(|| session.binds_of_sole_program());
    // Its host may live on with other programs, and would keep one that ignores being asked.
    let orphan = Orphan::Killed;
    spawn_watched(command, program.identity, &session.host.name, &session.enter, binds.as_ref(), orphan).await
}

/// Starts a prepared command in a host. Where its binds go, which ports it could not bind is told.
pub(crate) async fn spawn_watched(
    mut command: std::process::Command,
    identity: Identity,
    host: &str,
    enter: &minato_inspect::Enter,
    told: Option<&Binds>,
    orphan: Orphan,
) -> Result<Child, Failure> {
    // A place to which the binds go, asked for first of all: without one the program must not ask about them.
    let taker = told.filter(|_| binds::SUPPORTED).map(Binds::taker);
    // The engine answers while the program is prepared.
    tokio::task::yield_now().await;
    let name = entering(&mut command, identity, host, enter, orphan)?;
    let taker = match taker {
        Some(taker) => taker.await.ok().flatten(),
        None => None,
    };
    let (Some(taker), Some(told)) = (taker, told) else { return start(command) };
    let cannot = |error| Failure::caused(format!("cannot watch the ports of '{}'", render::printable(&name)), error);
    let asked = if told.direct { Asked::BindsAndConnections } else { Asked::Binds };
    let pending = binds::ask(&mut command, asked).map_err(cannot)?;
    let child = start(command)?;
    if let Some(listener) = pending.take().map_err(cannot)? {
        // When that fails, the engine has just ended, and the program with it.
        let _ = taker.take(&listener);
    }
    Ok(child)
}

/// Starts a prepared command in a session's host.
pub(crate) fn spawn_command(
    command: std::process::Command,
    identity: Identity,
    session: &Session,
) -> Result<Child, Failure> {
    spawn_in(command, identity, &session.host.name, &session.enter)
}

/// The same, for those who have no session at hand.
pub(crate) fn spawn_in(
    mut command: std::process::Command,
    identity: Identity,
    host: &str,
    enter: &minato_inspect::Enter,
) -> Result<Child, Failure> {
    entering(&mut command, identity, host, enter, Orphan::Killed)?;
    start(command)
}

/// Makes a command enter a host, and gives its program's name.
fn entering(
    command: &mut std::process::Command,
    identity: Identity,
    host: &str,
    enter: &minato_inspect::Enter,
    orphan: Orphan,
) -> Result<String, Failure> {
    let minato_inspect::Enter { user, network, mount, time } = enter.clone();
    let namespaces = Namespaces { user, network, mount, time };
    let cannot = format!("cannot enter host '{host}'");
    let enter = Enter::open(&namespaces, identity).map_err(|error| {
        let inside = std::env::var(HOST_VARIABLE).ok();
        not_entered(&cannot, &error, inside.as_deref())
    })?;
    let name = command.get_program().to_string_lossy().into_owned();
    command.env(HOST_VARIABLE, host);
    enter.apply(command);
    parent::end_with_parent(command, orphan);
    Ok(name)
}

/// Why a host's namespaces can't be opened, for a command that may run `inside` a host itself.
fn not_entered(cannot: &str, error: &EnterError, inside: Option<&str>) -> Failure {
    let failure = Failure::caused(cannot, error);
    let Some(inside) = inside.filter(|_| error.source.kind() == io::ErrorKind::PermissionDenied) else {
        return failure;
    };
    failure
        .detail(format!(
            "this command runs inside host '{}', from where no other host can be entered",
            render::printable(inside)
        ))
        .fix("minato run --network OTHER -- CMD    # a network of its own, which this host's programs may have")
        .fix("leave this host and run the command outside, or run the program in this host without minato")
}

fn start(command: std::process::Command) -> Result<Child, Failure> {
    let mut command = Command::from(command);
    command.spawn().map_err(|error| cannot_execute(command.as_std(), &error))
}

/// Why a program could not be executed, with the exit code that a shell would give.
fn cannot_execute(command: &std::process::Command, error: &io::Error) -> Failure {
    let name = render::printable(&command.get_program().to_string_lossy());
    if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return Failure::new(code::NOT_EXECUTABLE, format!("cannot execute '{name}': {error}"));
    }
    if let Some(directory) = command.get_current_dir().filter(|directory| !directory.is_dir()) {
        let directory = render::printable(&directory.to_string_lossy());
        return Failure::new(code::NOT_FOUND, format!("cannot execute '{name}': its directory {directory} is missing"));
    }
    if is_there(command) {
        Failure::new(code::NOT_FOUND, format!("cannot execute '{name}': what interprets it is missing"))
            .detail("the file is there, but not the interpreter that its '#!' line names, or its loader")
    } else if name.contains('/') {
        Failure::new(code::NOT_FOUND, format!("there is no file '{name}'"))
    } else {
        Failure::new(code::NOT_FOUND, format!("there is no program '{name}' in PATH"))
    }
}

/// Whether there is such a file where it was looked for.
fn is_there(command: &std::process::Command) -> bool {
    let name = Path::new(command.get_program());
    let directory = command.get_current_dir().unwrap_or(Path::new("."));
    if name.as_os_str().as_encoded_bytes().contains(&b'/') {
        return directory.join(name).exists();
    }
    let own = || std::env::var_os("PATH");
    let path = command
        .get_envs()
        .find(|(variable, _)| *variable == "PATH")
        .map_or_else(own, |(_, value)| value.map(Into::into));
    path.is_some_and(|path| std::env::split_paths(&path).any(|place| directory.join(place).join(name).is_file()))
}

/// The exit code that stands for how a program ended: its own, or 128 and the signal.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(code::FAILED)
}

/// Asks a program to end, and ends it when it does not.
pub(crate) async fn terminate(child: &mut Child) {
    send(child, rustix::process::Signal::TERM);
    let patience = Duration::from_millis(500);
    if tokio::time::timeout(patience, child.wait()).await.is_err() {
        // It may have ended meanwhile; either way it is gone afterwards.
        let _ = child.kill().await;
    }
}

/// Signals a program.
pub(crate) fn send(child: &Child, signal: rustix::process::Signal) {
    if let Some(pid) = pid(child) {
        // A program that has ended needs no signal.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn pid(child: &Child) -> Option<rustix::process::Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
}

/// Gives this process a name of its own in process lists: what was started as `/proc/self/exe` is called `exe`.
pub(crate) fn rename(name: &str) {
    // Nothing depends on it.
    let _ = std::fs::write("/proc/self/comm", name);
}

#[cfg(test)]
mod tests;
