//! One host, from the wait for those it depends on to its end.

use std::sync::Arc;
use std::time::Duration;

use minato_inspect::{ForwardSpec, HostRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::board::State;
use super::context::Context;
use super::readiness::readiness;
use super::service::{End, Place, Service, Stop, stopped};
use super::{environment, forwards};
use crate::client::{self, News, Session};
use crate::failure::Failure;
use crate::file::HostPlan;
use crate::flags::Name;

/// For so long the programs of a host without ports must have run for it to be ready again.
const STEADY: Duration = Duration::from_secs(1);

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
        let about = |failure: Failure| forwards::as_in_file(failure).detail(format!("it is for host '{}'", plan.name));
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
        // Its programs stop with everybody's, or before: when one of them has failed.
        let (ending, stop) = watch::channel(*self.stop.borrow_and_update());
        let place = Place {
            context: Arc::clone(&self.context),
            host: self.plan.name.clone(),
            enter: session.enter.clone(),
            binds: session.binds(),
            stop_timeout: self.plan.stop_timeout,
            stop,
            waits: self.waits(),
            ready,
            pausing: watch::channel(0).0,
        };
        let variables =
            environment::variables(&self.context.network, &self.plan.name, &self.plan.services[0], forwards);
        self.context.environment(&self.plan.name, &variables);
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
                    self.end_services(&mut services, &ending).await;
                    self.end(session).await;
                    return Outcome::Failed(failure);
                }
            }
        }
        let pausing = place.pausing.subscribe();
        let (context, plan) = (Arc::clone(&self.context), self.plan.clone());
        let readiness = move |after: Duration| {
            let ready = readiness(Arc::clone(&context), plan.clone(), place.clone(), variables.clone());
            async move {
                tokio::time::sleep(after).await;
                ready.await
            }
        };
        let outcome = self.watch(&mut session, &mut services, (&ending, &is_ready), (readiness, pausing)).await;
        if !matches!(outcome, Outcome::EngineEnded(_)) {
            self.context.state(&self.plan.name, State::Stopping);
            self.end_services(&mut services, &ending).await;
        }
        // Without its engine nothing of the host is left to them.
        services.shutdown().await;
        self.end(session).await;
        outcome
    }

    /// Waits for whatever happens to a host, until it is to end.
    async fn watch<F>(
        &mut self,
        session: &mut Session,
        services: &mut JoinSet<End>,
        (ending, is_ready): (&watch::Sender<Stop>, &watch::Sender<bool>),
        (readiness, mut pausing): (impl Fn(Duration) -> F, watch::Receiver<usize>),
    ) -> Outcome
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let context = Arc::clone(&self.context);
        let name = self.plan.name.clone();
        let steady = if self.waits() { Duration::ZERO } else { STEADY };
        let mut becoming_ready = Box::pin(readiness(Duration::ZERO));
        let mut waits = true;
        let mut trouble = None;
        loop {
            tokio::select! {
                ready = &mut becoming_ready, if waits => {
                    if let Err(failure) = ready {
                        return Outcome::Failed(failure);
                    }
                    waits = false;
                    is_ready.send_replace(true);
                    context.state(&name, State::Ready);
                }
                Ok(()) = pausing.changed() => {
                    waits = *pausing.borrow_and_update() == 0;
                    if !waits && *is_ready.borrow() {
                        context.state(&name, State::Restarting);
                    }
                    becoming_ready = Box::pin(readiness(steady));
                }
                Ok(()) = self.stop.changed() => raise(ending, *self.stop.borrow_and_update()),
                ended = services.join_next() => match ended {
                    None if *self.stop.borrow() != Stop::No => return Outcome::Stopped,
                    None => return Outcome::Ended { trouble },
                    Some(Ok(End::Stopped)) => {}
                    Some(Ok(End::GivenUp(failure))) => return Outcome::Failed(failure),
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

    /// Asks the programs that are left to end, and waits for that, as long as each of them may take.
    async fn end_services(&mut self, services: &mut JoinSet<End>, ending: &watch::Sender<Stop>) {
        raise(ending, Stop::Orderly);
        loop {
            tokio::select! {
                ended = services.join_next() => if ended.is_none() {
                    return;
                },
                Ok(()) = self.stop.changed() => raise(ending, *self.stop.borrow_and_update()),
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

/// Has programs go as far as they are to, and never back.
fn raise(stop: &watch::Sender<Stop>, to: Stop) {
    stop.send_if_modified(|stop| {
        let further = *stop < to;
        *stop = to.max(*stop);
        further
    });
}
