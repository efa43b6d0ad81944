//! What every part of a supervisor works with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use minato_host::sync::lock;

use super::board::{Board, State};
use super::display::Display;
use super::listening::Listening;
use super::logs::{Line, Logs, author};
use super::presence::{Presence, ServiceStatus};
use crate::client::Client;
use crate::failure::Failure;
use crate::file::HostPlan;
use crate::flags::Name;

/// For how long the same warning is the same.
const REPEATS: Duration = Duration::from_secs(1);

/// Shared by the tasks of a supervisor.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) network: Name,
    pub(super) board: Board,
    pub(super) listening: Listening,
    pub(super) display: Arc<Display>,
    presence: Presence,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The hosts in the order in which they are shown.
    order: Vec<Name>,
    logs: Logs,
    services: BTreeMap<(Name, Option<Name>), ServiceStatus>,
    /// Warnings of the last moment, and when each was said.
    warned: BTreeMap<String, Instant>,
    /// Whether all was ready once.
    all_ready: bool,
}

impl Context {
    pub(super) fn new(
        client: Client,
        network: Name,
        presence: Presence,
        display: Arc<Display>,
    ) -> Result<Arc<Context>, Failure> {
        let logs = Logs::create(client.directory())?;
        let listening = Listening::new(client.clone());
        let inner = Mutex::new(Inner {
            order: Vec::new(),
            logs,
            services: BTreeMap::new(),
            warned: BTreeMap::new(),
            all_ready: false,
        });
        let context = Context { client, network, board: Board::new(), listening, display, presence, inner };
        Ok(Arc::new(context))
    }

    /// A line of a program, or of the supervisor itself: shown and written down.
    pub(super) fn line(&self, line: &Line) {
        self.display.line(line);
        self.inner().logs.write(line);
    }

    /// Something that the user should know.
    pub(super) fn say(&self, message: &str) {
        self.display.say(message);
        self.inner().logs.write(&Line::of_supervisor(message.to_owned()));
    }

    /// What the engine warns of: it tells every host's session, all of which are ours, so the same is said once.
    pub(super) fn warn(&self, message: &str) {
        let is_new = {
            let mut inner = self.inner();
            inner.warned.retain(|_, said| said.elapsed() < REPEATS);
            !inner.warned.contains_key(message) && inner.warned.insert(message.to_owned(), Instant::now()).is_none()
        };
        if is_new {
            self.say(message);
        }
    }

    /// A failure that does not end everything.
    pub(super) fn report(&self, failure: &Failure) {
        self.display.report(failure);
        let mut inner = self.inner();
        for line in failure.lines() {
            inner.logs.write(&Line::of_supervisor(line));
        }
    }

    /// Notes a host's state, and shows it.
    pub(super) fn state(&self, host: &Name, state: State) {
        self.board.set(host, state);
        self.show();
    }

    /// Notes what a program does.
    pub(super) fn service(&self, host: &Name, service: Option<&Name>, status: ServiceStatus) {
        self.inner().services.insert((host.clone(), service.cloned()), status);
        self.write_status();
    }

    /// What the first program of a host finds in its environment, for others that come to it.
    pub(super) fn environment(&self, host: &Name, variables: &[(String, String)]) {
        self.presence.write_environment(host, variables);
    }

    /// These are the hosts, in the order in which they are shown.
    pub(super) fn hosts(&self, hosts: &[HostPlan]) {
        let services = |host: &HostPlan| {
            let name = host.name.clone();
            host.services.iter().map(move |service| author(&name, service.name.as_ref())).collect::<Vec<_>>()
        };
        self.display.expect(hosts.iter().flat_map(services).collect());
        self.inner().order = hosts.iter().map(|host| host.name.clone()).collect();
    }

    /// Forgets a host.
    pub(super) fn forget(&self, host: &Name) {
        self.board.remove(host);
        self.inner().services.retain(|(of, _), _| of != host);
        self.show();
    }

    /// Everything that the file names is ready.
    pub(super) fn all_ready(&self, lines: &[String]) {
        self.inner().all_ready = true;
        self.display.all_ready(lines);
    }

    /// Keeps what was said last, and why all has ended, for whoever looks later. Nobody is told a reason that has none.
    pub(super) fn keep_logs(&self, why: Option<&Failure>) {
        let mut inner = self.inner();
        for line in why.into_iter().flat_map(Failure::lines) {
            inner.logs.write(&Line::of_supervisor(line));
        }
        inner.logs.keep(&self.network);
    }

    /// Whether a host that fails takes everything with it.
    pub(super) fn was_all_ready(&self) -> bool {
        self.inner().all_ready
    }

    /// Redraws what is in progress.
    pub(super) fn show(&self) {
        self.display.progress(self.board.rows(&self.inner().order));
        self.write_status();
    }

    fn write_status(&self) {
        let inner = self.inner();
        self.presence.write(&self.board.states(), &inner.services);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}
