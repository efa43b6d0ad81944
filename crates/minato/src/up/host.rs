//! One host, from the wait for those it depends on to its end.

use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::time::Duration;

use minato_inspect::{ForwardSpec, HostRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::board::State;
use super::context::Context;
use super::group::Group;
use super::service::{End, Place, Service, Stop, stopped};
use super::{environment, forwards};
use crate::client::{self, News, Session};
use crate::failure::Failure;
use crate::file::{HostPlan, ReadyPort};
use crate::flags::Name;
use crate::program;
use crate::render;

/// Between two tries of a `ready-command`.
const PAUSE: Duration = Duration::from_millis(200);

/// After so long it is said what a host waits for, and how many ports at most.
const A_WHILE: Duration = Duration::from_secs(10);
const MOST: usize = 5;

/// How long the end of a host may take when everything is to end at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A host that is to be.
pub(super) struct HostTask {
    pub(super) plan: HostPlan,
    pub(super) context: Arc<Context>,
    pub(super) stop: watch::Receiver<Stop>,
}

/// What has become of a host.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was to end.
    Stopped,
    /// All its programs have ended; the first failure if not each of them with 0.
    Ended { trouble: Option<Failure> },
    /// It could not be made, or a program ended before it was ready.
    Failed(Failure),
    /// The engine is no more.
    EngineEnded(String),
}

impl HostTask {
    /// Makes it and keeps it until it ends.
    pub(super) async fn run(mut self) -> (Name, Outcome) {
        let name = self.plan.name.clone();
        let context = Arc::clone(&self.context);
        let waited = {
            let hosts = self.plan.depends_on.iter().map(Name::to_string).collect();
            if !self.plan.depends_on.is_empty() {
                context.state(&name, State::Waiting { hosts });
            }
            tokio::select! {
                () = context.board.wait_for(self.plan.depends_on.clone()) => true,
                () = stopped(&mut self.stop) => false,
            }
        };
        if !waited {
            return (name, Outcome::Stopped);
        }
        context.state(&name, State::Starting);
        let mut stop = self.stop.clone();
        let opened = tokio::select! {
            opened = self.open() => opened,
            // An engine that makes it all the same ends it again: its session is closed. Where only this host leaves, its
            // successor would find the name taken until then.
            Ok(_) = stop.wait_for(|stop| *stop >= Stop::Orderly) => return (name, Outcome::Stopped),
        };
        let outcome = match opened {
            Ok((session, _)) if *self.stop.borrow() != Stop::No => {
                self.end(session).await;
                Outcome::Stopped
            }
            Ok((session, forwards)) => self.attend(session, &forwards).await,
            Err(failure) => Outcome::Failed(failure),
        };
        (name, outcome)
    }

    /// Makes the host with its forwards.
    async fn open(&self) -> Result<(Session, Vec<ForwardSpec>), Failure> {
        let plan = &self.plan;
        let request = HostRequest {
            name: Some(plan.name.to_string()),
            forwards: plan.fixed_forwards(),
            ephemeral_range: plan.ephemeral_range,
            host_ports: plan.host_ports.clone(),
            policy: plan.policy.clone(),
            direct: plan.services.iter().any(|service| service.direct),
            networks: plan.networks.iter().map(Name::to_string).collect(),
            grace_seconds: u32::try_from(plan.stop_timeout.as_secs()).ok(),
            command: plan.services[0].command.clone(),
            ..HostRequest::default()
        };
        let about = |failure: Failure| failure.detail(format!("it is for host '{}'", plan.name));
        let session = client::open_host(&self.context.client, &request).await.map_err(about)?;
        let mut forwards = request.forwards;
        match forwards::add_free(&self.context, &plan.name, &plan.forwards).await {
            Ok(free) => forwards.extend(free),
            Err(failure) => {
                // What matters is why; an engine that fails now as well is found by the next command.
                let _ = session.end().await;
                return Err(failure);
            }
        }
        Ok((session, forwards))
    }

    /// Runs the programs until the last has ended, and then ends the host.
    async fn attend(mut self, mut session: Session, forwards: &[ForwardSpec]) -> Outcome {
        let (is_ready, ready) = watch::channel(false);
        let place = Place {
            context: Arc::clone(&self.context),
            host: self.plan.name.clone(),
            enter: session.enter.clone(),
            binds: session.binds(),
            stop_timeout: self.plan.stop_timeout,
            stop: self.stop.clone(),
            ready,
        };
        let mut services = JoinSet::new();
        for service in &self.plan.services {
            let variables = environment::variables(&self.context.network, &self.plan.name, service, forwards);
            let started = match Service::new(service.clone(), variables, place.clone()) {
                Ok(mut service) => service.start().await.map(|started| (service, started)),
                Err(failure) => Err(failure),
            };
            match started {
                Ok((service, started)) => drop(services.spawn(service.run(started))),
                Err(failure) => {
                    services.shutdown().await;
                    self.end(session).await;
                    return Outcome::Failed(failure);
                }
            }
        }
        let variables =
            environment::variables(&self.context.network, &self.plan.name, &self.plan.services[0], forwards);
        let readiness = readiness(Arc::clone(&self.context), self.plan.clone(), place, variables);
        let outcome = self.watch(&mut session, &mut services, &is_ready, readiness).await;
        if !matches!(outcome, Outcome::EngineEnded(_)) {
            self.context.state(&self.plan.name, State::Stopping);
        }
        // Those that are left end with the host: by its end they have lost nothing that they could keep.
        services.shutdown().await;
        self.end(session).await;
        outcome
    }

    /// Waits for whatever happens to a host, until it is to end.
    async fn watch(
        &mut self,
        session: &mut Session,
        services: &mut JoinSet<End>,
        is_ready: &watch::Sender<bool>,
        readiness: impl Future<Output = ()>,
    ) -> Outcome {
        let context = Arc::clone(&self.context);
        let name = self.plan.name.clone();
        tokio::pin!(readiness);
        let mut trouble = None;
        loop {
            tokio::select! {
                () = &mut readiness, if !*is_ready.borrow() => {
                    is_ready.send_replace(true);
                    context.state(&name, State::Ready);
                }
                ended = services.join_next() => match ended {
                    None if *self.stop.borrow() != Stop::No => return Outcome::Stopped,
                    None => return Outcome::Ended { trouble },
                    Some(Ok(End::Stopped)) => {}
                    Some(Ok(End::Impossible(failure))) => return Outcome::Failed(failure),
                    // A host that waits for no port is ready as soon as its programs have been started.
                    Some(Ok(End::Ended(_, failure))) if !*is_ready.borrow() && self.waits() => {
                        return Outcome::Failed(failure);
                    }
                    Some(Ok(End::Ended(0, _))) => {}
                    Some(Ok(End::Ended(_, failure))) => drop(trouble.get_or_insert(failure)),
                    Some(Err(error)) => {
                        return Outcome::Failed(Failure::caused("a program is not watched any more", error));
                    }
                },
                news = session.news() => match news {
                    News::BindFailed(failure) => context.say(&failure.sentence()),
                    News::Warning(message) => context.warn(&message),
                    News::EngineEnded(reason) => return Outcome::EngineEnded(reason),
                },
            }
        }
    }

    fn waits(&self) -> bool {
        !self.plan.ready.is_empty() || self.plan.ready_command.is_some()
    }

    /// Ends the host and waits until it is gone.
    async fn end(&self, session: Session) {
        let mut stop = self.stop.clone();
        let given_up = async {
            if stop.wait_for(|stop| *stop == Stop::AtOnce).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(PATIENCE).await;
        };
        let ended = tokio::select! {
            ended = session.end() => ended,
            () = given_up => {
                self.context.say(&format!("host '{}' may not be gone: the engine does not answer", self.plan.name));
                return;
            }
        };
        match ended {
            Ok(_) | Err(client::RequestError::Gone(_) | client::RequestError::NotRunning) => {}
            Err(error) => self.context.say(&format!("host '{}' may not be gone: {}", self.plan.name, error.reason())),
        }
    }
}

/// Says once, after a while, for which ports a host is waited.
async fn say_what_is_missing(context: &Context, plan: &HostPlan) {
    tokio::time::sleep(A_WHILE).await;
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

/// Returns when a host does what it is for.
async fn readiness(context: Arc<Context>, plan: HostPlan, place: Place, variables: Vec<(String, String)>) {
    let listening = context.listening.wait(plan.name.as_str(), &plan.ready);
    tokio::select! {
        () = listening => {}
        () = say_what_is_missing(&context, &plan) => {}
    }
    let warnings = context.listening.warnings(plan.name.as_str(), &plan.ready).await;
    warnings.iter().for_each(|warning| context.warn(warning));
    let Some(words) = &plan.ready_command else { return };
    let service = &plan.services[0];
    let failed =
        |failure: Failure| context.report(&failure.detail(format!("it is the ready-command of {}", plan.name)));
    // What it starts ends with it, and the terminal's signals are not for it.
    let group = match Group::new() {
        Ok(group) => group,
        Err(error) => {
            failed(Failure::caused("a program gets no process group", error));
            return std::future::pending().await;
        }
    };
    loop {
        let mut command = std::process::Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&service.directory).process_group(group.number());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        match program::spawn_in(command, service.identity(), plan.name.as_str(), &place.enter) {
            Ok(mut child) => {
                if child.wait().await.is_ok_and(|status| status.success()) {
                    return;
                }
            }
            Err(failure) => {
                failed(failure);
                // It will not get better by itself, and the host is not ready without it.
                return std::future::pending().await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
