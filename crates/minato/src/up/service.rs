//! One program of a host: started, listened to, started again where the file says so, and ended.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use minato_host::parent::Orphan;
use minato_inspect::Enter;
use rustix::process::Signal;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::context::Context;
use super::group::Group;
use super::logs::{Line, author};
use super::output::Output;
use super::presence::ServiceStatus;
use crate::client::Binds;
use crate::failure::{Failure, code};
use crate::file::{Restart, ServicePlan};
use crate::flags::Name;
use crate::program;

/// The pause before a program is started again: this, twice as long each time, at most so long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Having run for so long, the next pause is the first again.
const GOOD_RUN: Duration = Duration::from_secs(10);
/// How often a program may fail before its host, and everything, was ever ready.
const EARLY_FAILURES: u32 = 5;

/// How far everybody is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// Nobody is to stop.
    #[default]
    No,
    /// This host is to end, for others to come in its place: its programs are asked to end.
    Leave,
    /// Everything is to end, in order: programs are asked to.
    Orderly,
    /// Programs are killed.
    AtOnce,
}

/// Where a program runs, and with whom it has to do.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) context: Arc<Context>,
    pub(super) host: Name,
    pub(super) enter: Enter,
    /// Where the binds of the host's programs go.
    pub(super) binds: Binds,
    pub(super) stop_timeout: Duration,
    pub(super) stop: watch::Receiver<Stop>,
    /// Whether the host waits for ports or a command to be ready.
    pub(super) waits: bool,
    /// Whether the host was ready.
    pub(super) ready: watch::Receiver<bool>,
    /// How many of its programs have ended, so that it is not ready, and are to be started again.
    pub(super) pausing: watch::Sender<usize>,
}

impl Place {
    /// Whether the host and everything was ready once: nobody waits for that any more, and what fails is tried for ever.
    pub(super) fn is_settled(&self) -> bool {
        self.was_ready() && self.context.was_all_ready()
    }

    fn was_ready(&self) -> bool {
        *self.ready.borrow()
    }
}

/// How the time of a program ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was to end.
    Stopped,
    /// It has ended by itself, with this code, and nobody wants it to be started again.
    Ended(u8, Failure),
    /// It can't be started again, or has failed too often.
    GivenUp(Failure),
}

/// A program with what is added to its environment.
pub(super) struct Service {
    pub(super) plan: ServicePlan,
    pub(super) variables: Vec<(String, String)>,
    pub(super) place: Place,
    pub(super) status: ServiceStatus,
    /// How often it has failed, or could not be started again.
    failures: u32,
    /// Whether its host is not ready because of it.
    pausing: bool,
    group: Group,
}

impl Service {
    pub(super) fn new(plan: ServicePlan, variables: Vec<(String, String)>, place: Place) -> Result<Service, Failure> {
        let group = Group::new().map_err(|error| Failure::caused("a program gets no process group", error))?;
        let (host, service) = (place.host.to_string(), plan.name.as_ref().map(Name::to_string));
        let status = ServiceStatus { host, service, pid: None, exit_code: None, restarts: 0 };
        Ok(Service { plan, variables, place, status, failures: 0, pausing: false, group })
    }

    /// Attends to it, once started, until it has ended for good.
    pub(super) async fn run(mut self, (mut child, mut output): Started) -> End {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let code = tokio::select! {
                status = child.wait() => status.map_or(code::FAILED, program::exit_code),
                () = stopped(&mut self.place.stop) => {
                    self.stop(&mut child).await;
                    output.finish().await;
                    self.note(None, None);
                    return End::Stopped;
                }
            };
            // What it has started ends with it: the next start shall find its ports free.
            self.group.signal(Signal::KILL);
            self.note(None, Some(code));
            let last = output.finish().await;
            if !self.starts_again(code) {
                if self.place.context.was_all_ready() {
                    // Before, a failure says so, or that a host has ended.
                    self.say(&format!("ended with {}", shown(code)));
                }
                return End::Ended(code, self.failure(code, &last));
            }
            // A job of a host that waits for nothing may end well and begin again: that is what it is for.
            if code != 0 || self.place.waits {
                if self.fails_too_often() {
                    return End::GivenUp(self.failure(code, &last));
                }
                self.pausing(true);
            }
            if started.elapsed() >= GOOD_RUN {
                pause = FIRST_PAUSE;
            }
            self.say(&format!("ended with {}; starts again in {pause:?}", shown(code)));
            tokio::select! {
                () = sleep(pause) => {}
                () = stopped(&mut self.place.stop) => return End::Stopped,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
            self.status.restarts += 1;
            (child, output) = match self.start_again(&mut pause).await {
                Ok(Some(started)) => started,
                Ok(None) => return End::Stopped,
                Err(failure) => return End::GivenUp(failure),
            };
            self.pausing(false);
        }
    }

    /// Starts it again, and tries that anew where its host was ready: its file may be just being built. `None` when it is to
    /// stop.
    async fn start_again(&mut self, pause: &mut Duration) -> Result<Option<Started>, Failure> {
        loop {
            let failure = match self.start().await {
                Ok(started) => return Ok(Some(started)),
                Err(failure) if !self.place.was_ready() || self.fails_too_often() => return Err(failure),
                Err(failure) => failure,
            };
            self.pausing(true);
            self.say(&format!("could not be started: {}; tried again in {pause:?}", failure.title));
            tokio::select! {
                () = sleep(*pause) => {}
                () = stopped(&mut self.place.stop) => return Ok(None),
            }
            *pause = LONGEST_PAUSE.min(*pause * 2);
        }
    }

    fn starts_again(&self, code: u8) -> bool {
        match self.plan.restart {
            Restart::No => false,
            Restart::OnFailure => code != 0,
            Restart::Always => true,
        }
    }

    /// Counts a failure; tells if it was the last that it may have. Whoever waits until everything is ready shall not wait
    /// for ever.
    fn fails_too_often(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures >= EARLY_FAILURES && !self.place.is_settled()
    }

    /// Notes whether its host is not ready because of it.
    fn pausing(&mut self, pausing: bool) {
        if self.pausing != pausing {
            self.pausing = pausing;
            self.place.pausing.send_modify(|count| *count = if pausing { *count + 1 } else { *count - 1 });
        }
    }

    /// Starts it.
    pub(super) async fn start(&mut self) -> Result<Started, Failure> {
        let failed = |error: std::io::Error| Failure::caused("no pipe for a program is to be had", error);
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let mut command = std::process::Command::new(&self.plan.command[0]);
        command.args(&self.plan.command[1..]).current_dir(&self.plan.directory);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // One pipe, so that its lines keep their order.
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        // The terminal's Ctrl-C is for us, who end everything in order.
        command.process_group(self.group.number());
        let Place { host, enter, binds, .. } = &self.place;
        let told = self.plan.bind_watch.then(|| binds.for_program(self.plan.direct));
        let (identity, told) = (self.plan.identity(), told.as_ref());
        // Without us its host ends, and before that it gets the time to end by itself.
        let child = program::spawn_watched(command, identity, host.as_str(), enter, told, Orphan::Asked)
            .await
            .map_err(|failure| failure.detail(format!("it is the program of {}", self.author())))?;
        self.note(child.id(), self.status.exit_code);
        let reader = pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?;
        let (context, host, name) = (Arc::clone(&self.place.context), self.place.host.clone(), self.plan.name.clone());
        let hear = move |text| context.line(&Line::now(&host, name.as_ref(), text));
        Ok((child, Output::of(reader, hear)))
    }

    /// Asks it to end, and kills it when it does not in time, or at once.
    async fn stop(&mut self, child: &mut Child) {
        if *self.place.stop.borrow() < Stop::AtOnce {
            self.group.signal(Signal::TERM);
            // It may have left the group.
            program::send(child, Signal::TERM);
            let mut stop = self.place.stop.clone();
            tokio::select! {
                ended = timeout(self.place.stop_timeout, child.wait()) => {
                    if ended.is_err() {
                        let seconds = self.place.stop_timeout.as_secs();
                        self.say(&format!("has not ended within {seconds} s, and is killed"));
                    }
                }
                _ = stop.wait_for(|stop| *stop == Stop::AtOnce) => {}
            }
        }
        self.group.signal(Signal::KILL);
        // It ends now, or has before.
        let _ = child.kill().await;
    }

    fn note(&mut self, pid: Option<u32>, exit_code: Option<u8>) {
        self.status.pid = pid;
        self.status.exit_code = exit_code;
        self.place.context.service(&self.place.host, self.plan.name.as_ref(), self.status.clone());
    }

    fn say(&self, what: &str) {
        self.place.context.say(&format!("{} {what}", self.author()));
    }

    fn author(&self) -> String {
        author(&self.place.host, self.plan.name.as_ref())
    }

    fn failure(&self, code: u8, last: &[String]) -> Failure {
        let who = if self.place.was_ready() { "everything" } else { "it" };
        let title = format!("{} ended with {} before {who} was ready", self.author(), shown(code));
        let failure = Failure::new(code::FAILED, title).detail(format!("command: {}", self.plan.command.join(" ")));
        let failure = match last {
            [] => failure.detail("it has said nothing"),
            _ => failure.detail("its last words:"),
        };
        last.iter().fold(failure, |failure, line| failure.detail(format!("  {}", crate::render::printable(line))))
    }
}

/// Returns when somebody wants everything to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_err() {
        // Who could want it is gone, and with it everything else soon.
        std::future::pending::<()>().await;
    }
}

/// An exit code as people read it.
pub(super) fn shown(code: u8) -> String {
    match code {
        129..=192 => {
            let signal = Signal::from_named_raw(i32::from(code) - 128).map(|signal| format!("{signal:?}"));
            // `"Signal::KILL"`, with the quotes.
            let name = signal.as_deref().and_then(|signal| signal.trim_matches('"').strip_prefix("Signal::"));
            let name = name.map(|name| format!("SIG{name}"));
            name.unwrap_or_else(|| format!("signal {}", code - 128))
        }
        code => format!("exit code {code}"),
    }
}

/// A program that runs.
pub(super) type Started = (Child, Output);
