//! The supervisor: starts a task for each host, hears what becomes of them, and ends everything in order.

mod apply;
mod retry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::board::State;
use super::changes::Watched;
use super::context::Context;
use super::host::{HostTask, Outcome};
use super::progress;
use super::service::Stop;
use crate::client::{News, Stay};
use crate::commands::DONE;
use crate::failure::{Failure, code};
use crate::file::{Choice, HostPlan, Plan};
use crate::flags::Name;
use crate::program::{Signals, ends};
use retry::Retry;

/// How often the progress view is drawn anew.
const TICK: Duration = Duration::from_millis(500);

/// How long an engine may take to answer that it is no longer wanted.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything of one network.
pub(super) struct Supervisor {
    plan: Plan,
    context: Arc<Context>,
    /// What the files say, each time that they have changed, if they are watched.
    watched: Option<mpsc::Receiver<Result<Plan, Failure>>>,
    /// Hosts that end because the file has changed.
    leaving: Vec<Name>,
    /// Forwards of a changed file whose ports somebody else has.
    retries: Vec<Retry>,
    /// The proxy, until it serves or can't.
    proxy: Option<JoinHandle<Result<u16, Failure>>>,
    running: BTreeMap<Name, Running>,
    tasks: JoinSet<(Name, Outcome)>,
    /// Hosts that have failed or have not ended well.
    troubled: bool,
    /// Whether nobody sees what is shown once everything is ready.
    in_background: bool,
}

/// A host with a task.
struct Running {
    depends_on: Vec<Name>,
    stop: watch::Sender<Stop>,
}

/// Why a supervisor ends.
enum Why {
    /// Somebody wants it to.
    Asked,
    /// Nothing runs any more.
    NothingLeft,
    /// A host has failed before everything was ready.
    Failed(Failure),
    /// The engine is no more.
    EngineEnded(Failure),
}

impl Supervisor {
    pub(super) fn new(plan: Plan, context: Arc<Context>, watched: Option<Choice>, in_background: bool) -> Supervisor {
        let watched = watched.map(|choice| Watched::new(choice, &plan).follow());
        let (running, tasks) = (BTreeMap::new(), JoinSet::new());
        Supervisor {
            plan,
            context,
            watched,
            leaving: Vec::new(),
            retries: Vec::new(),
            proxy: None,
            running,
            tasks,
            troubled: false,
            in_background,
        }
    }

    /// Runs everything until all has ended, or somebody ends it.
    pub(super) async fn run(mut self, mut stay: Stay, mut signals: Signals) -> Result<u8, Failure> {
        let context = Arc::clone(&self.context);
        self.proxy = Some(tokio::spawn(crate::proxy::ensure()));
        context.hosts(&self.plan.hosts);
        for host in self.plan.hosts.clone() {
            self.start(host);
        }
        let looking = {
            let context = Arc::clone(&context);
            tokio::spawn(async move { context.listening.look().await })
        };
        let why = self.attend(&mut stay, &mut signals).await;
        context.display.end_of_progress();
        self.end_all(&mut signals).await;
        looking.abort();
        if self.in_background && context.was_all_ready() {
            match &why {
                Why::Asked => {}
                Why::NothingLeft => context.keep_logs(None),
                Why::Failed(failure) | Why::EngineEnded(failure) => context.keep_logs(Some(failure)),
            }
        }
        if !matches!(why, Why::EngineEnded(_))
            && let Some(reason) = let_go(stay).await
        {
            context.say(&format!("network '{}' may not be gone: {reason}", self.plan.network));
        }
        match why {
            Why::Failed(failure) | Why::EngineEnded(failure) => Err(with_own_code(failure)),
            Why::Asked if !context.was_all_ready() => {
                let title = format!("network '{}' was ended before everything was ready", self.plan.network);
                Err(Failure::new(code::FAILED, title))
            }
            Why::NothingLeft if self.troubled => Ok(code::FAILED),
            Why::NothingLeft | Why::Asked => Ok(DONE),
        }
    }

    /// Waits for whatever happens until there is a reason to end.
    async fn attend(&mut self, stay: &mut Stay, signals: &mut Signals) -> Why {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.context.board.changes();
        loop {
            let retry = self.next_retry();
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    let Ok((name, outcome)) = ended else {
                        return Why::Failed(Failure::new(code::FAILED, "a host is not watched any more"));
                    };
                    if let Some(why) = self.ended(&name, outcome) {
                        return why;
                    }
                    if self.running.is_empty() && self.watched.is_none() {
                        self.proxy = None;
                        // It may have been the last one that was not ready.
                        self.note_readiness();
                        return Why::NothingLeft;
                    }
                }
                news = stay.news() => match news {
                    News::BindFailed(failure) => self.context.say(&failure.sentence()),
                    News::Warning(message) => self.context.warn(&message),
                    News::EngineEnded(reason) => return Why::EngineEnded(self.engine_ended(&reason)),
                },
                signal = signals.next() => if ends(signal).is_some() {
                    return Why::Asked;
                },
                () = self.context.display.closed() => return Why::Asked,
                plan = next_plan(&mut self.watched) => match plan {
                    Ok(plan) => self.apply(plan).await,
                    Err(failure) => self.context.report(&failure.fix("mend the file; until then nothing changes")),
                },
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => self.retry().await,
                served = next_served(&mut self.proxy) => {
                    // Without it everything else works.
                    if let Err(failure) = served {
                        self.context.report(&failure);
                    }
                    self.note_readiness();
                }
                () = changes.next() => self.note_readiness(),
                _ = tick.tick(), if !self.context.was_all_ready() => self.context.show(),
            }
        }
    }

    fn start(&mut self, plan: HostPlan) {
        let (stop, stopping) = watch::channel(Stop::No);
        self.running.insert(plan.name.clone(), Running { depends_on: plan.depends_on.clone(), stop });
        let task = HostTask { plan, context: Arc::clone(&self.context), stop: stopping };
        self.tasks.spawn(task.run());
    }

    /// Notes what has become of a host; tells if that is a reason to end.
    fn ended(&mut self, name: &Name, outcome: Outcome) -> Option<Why> {
        self.running.remove(name);
        if self.leaving.contains(name) {
            self.left(name);
            return None;
        }
        match outcome {
            Outcome::Stopped => self.context.forget(name),
            Outcome::Ended { trouble } => {
                self.troubled |= trouble.is_some();
                self.context.state(name, State::Ended { well: trouble.is_none() });
                if let Some(failure) = trouble.filter(|_| !self.context.was_all_ready()) {
                    // Those that depend on it would wait for ever.
                    return Some(Why::Failed(failure));
                }
            }
            Outcome::EngineEnded(reason) => return Some(Why::EngineEnded(self.engine_ended(&reason))),
            Outcome::Failed(failure) => {
                self.context.state(name, State::Failed);
                if !self.context.was_all_ready() {
                    return Some(Why::Failed(failure));
                }
                self.troubled = true;
                self.context.report(&failure);
            }
        }
        None
    }

    /// Tells when everything is ready for the first time, also to be reached by name.
    fn note_readiness(&self) {
        let states = self.context.board.states();
        let is_ready = |host: &HostPlan| states.get(&host.name).is_some_and(State::lets_others_start);
        if self.context.was_all_ready() || self.proxy.is_some() || !self.plan.hosts.iter().all(is_ready) {
            return;
        }
        self.context.all_ready(&progress::all_ready(&self.plan));
    }

    fn engine_ended(&self, reason: &str) -> Failure {
        let title = format!("the engine of network '{}' ended, and everything in it", self.plan.network);
        Failure::new(code::FAILED, title).detail(reason)
    }

    /// Ends all hosts, those first that no other depends on. A second signal ends them at once.
    async fn end_all(&mut self, signals: &mut Signals) {
        let names: Vec<Name> = self.running.keys().cloned().collect();
        let mut how = Stop::Orderly;
        self.leaving.clear();
        while !self.running.is_empty() {
            self.stop(&names, how);
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    Some(Ok((name, outcome))) => drop(self.ended(&name, outcome)),
                    Some(Err(_)) | None => return,
                },
                signal = signals.next() => if ends(signal).is_some() && how < Stop::AtOnce {
                    self.context.say("ending everything at once");
                    how = Stop::AtOnce;
                },
            }
        }
    }

    /// Stops those of these hosts that no other of them depends on; at once, all of them.
    fn stop(&self, names: &[Name], how: Stop) {
        for name in names {
            let Some(host) = self.running.get(name) else { continue };
            let needs =
                |(other, running): (&Name, &Running)| names.contains(other) && running.depends_on.contains(name);
            if how == Stop::AtOnce || !self.running.iter().any(needs) {
                host.stop.send_if_modified(|stop| {
                    let changed = *stop < how;
                    *stop = how.max(*stop);
                    changed
                });
            }
        }
    }
}

/// 126 and 127 say of a command that runs one program what became of that: here they would be anybody's.
fn with_own_code(failure: Failure) -> Failure {
    match failure.code {
        code::NOT_FOUND | code::NOT_EXECUTABLE => Failure { code: code::FAILED, ..failure },
        _ => failure,
    }
}

/// Lets the network end; tells why that may not be so.
async fn let_go(stay: Stay) -> Option<String> {
    match timeout(PATIENCE, stay.end()).await {
        Ok(ended) => ended.err().map(|error| error.reason()),
        Err(_) => Some("the engine does not answer".to_owned()),
    }
}

/// Whether the proxy serves, once that is known; it is told once.
async fn next_served(proxy: &mut Option<JoinHandle<Result<u16, Failure>>>) -> Result<u16, Failure> {
    let Some(starting) = proxy else { return std::future::pending().await };
    let served = starting.await;
    *proxy = None;
    served.unwrap_or_else(|error| Err(Failure::caused("cannot start the proxy", error)))
}

/// The next plan of files that are watched.
async fn next_plan(watched: &mut Option<mpsc::Receiver<Result<Plan, Failure>>>) -> Result<Plan, Failure> {
    let next = async { watched.as_mut()?.recv().await };
    match next.await {
        Some(plan) => plan,
        None => std::future::pending().await,
    }
}
