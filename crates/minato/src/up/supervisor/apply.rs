//! What is different in a new plan is done: hosts end and start, forwards of those that stay change.

use minato_inspect::{ForwardRequest, ForwardSpec};

use super::Supervisor;
use super::retry::Retry;
use crate::client::RequestError;
use crate::failure::Failure;
use crate::file::{HostPlan, Plan};
use crate::flags::Name;
use crate::up::board::State;
use crate::up::changes::difference;
use crate::up::service::Stop;

/// A host that stays, with the forwards that go, and those that come.
type Change = (Name, Vec<ForwardSpec>, Vec<ForwardSpec>);

impl Supervisor {
    /// Does what is different in a new plan.
    pub(super) async fn apply(&mut self, plan: Plan) {
        if plan.network != self.plan.network {
            let message = format!("the network is called '{}' now; that has no effect until the next up", plan.network);
            self.context.say(&message);
        }
        if plan.subnet != self.plan.subnet {
            self.context.say("the network's subnet is another one now; that has no effect until the next up");
        }
        self.plan.subnet = plan.subnet;
        self.retries.clear();
        let difference = difference(&self.plan.hosts, &plan.hosts);
        self.context.hosts(&plan.hosts);
        let before = std::mem::replace(&mut self.plan.hosts, plan.hosts);
        self.change_forwards(difference.forwards, &before).await;
        for name in difference.end {
            self.leave(name);
        }
        self.stop(&self.leaving, Stop::Leave);
        // Those that are there start anew when they have ended, and those that have ended for another reason at once.
        difference.start.into_iter().for_each(|host| self.start_unless_running(host));
    }

    /// A host has ended because the file has changed: those that it needed may follow, and its successor comes.
    pub(super) fn left(&mut self, name: &Name) {
        self.leaving.retain(|other| other != name);
        self.stop(&self.leaving, Stop::Leave);
        self.context.forget(name);
        if let Some(host) = self.plan.hosts.iter().find(|host| host.name == *name).cloned() {
            self.start(host);
        }
    }

    /// A host is to end, if it has not ended before for another reason.
    fn leave(&mut self, name: Name) {
        if !self.running.contains_key(&name) {
            self.context.forget(&name);
        } else if !self.leaving.contains(&name) {
            self.context.say(&format!("{name} ends: the file has changed"));
            self.context.state(&name, State::Stopping);
            self.leaving.push(name);
        }
    }

    fn start_unless_running(&mut self, host: HostPlan) {
        if !self.running.contains_key(&host.name) {
            self.start(host);
        }
    }

    /// Changes the forwards of hosts that run on. One that has ended, or is only starting, gets a new start with them.
    async fn change_forwards(&mut self, changes: Vec<Change>, before: &[HostPlan]) {
        let mut removed = Vec::new();
        // All go before any comes: one host may get what was another's.
        for (name, gone, come) in changes {
            let runs = self.context.board.state(&name) == Some(State::Ready);
            if runs && self.remove_forwards(&name, &gone).await.is_ok() {
                removed.push((name, gone, come));
            } else if self.running.contains_key(&name) {
                self.leave(name);
            } else if let Some(host) = self.plan.hosts.iter().find(|host| host.name == name).cloned() {
                self.start(host);
            }
        }
        for (name, gone, come) in removed {
            match self.add_forwards(&name, &come).await {
                Ok(()) => self.context.say(&format!("the forwards of {name} are changed")),
                Err(error) => {
                    let failure = error.into_failure(&self.context.client);
                    self.restore_forwards(name, gone, come, before, failure).await;
                }
            }
        }
    }

    /// Gives a host back what it had: the next change of the file begins with that. What it was to get is tried again.
    async fn restore_forwards(
        &mut self,
        name: Name,
        gone: Vec<ForwardSpec>,
        come: Vec<ForwardSpec>,
        before: &[HostPlan],
        failure: Failure,
    ) {
        let failure = failure.detail(format!("it is for host '{name}', whose forwards have changed"));
        if self.add_forwards(&name, &gone).await.is_err() {
            // Somebody else has them by now.
            self.context.report(&failure);
            return self.leave(name);
        }
        self.context.report(
            &failure.fix(format!("mend the file, or free the port; until then {name} keeps the forwards that it has")),
        );
        let had = before.iter().find(|host| host.name == name);
        if let (Some(had), Some(host)) = (had, self.plan.hosts.iter_mut().find(|host| host.name == name)) {
            let wanted = std::mem::replace(&mut host.forwards, had.forwards.clone());
            self.retries.push(Retry::new(name, gone, come, wanted));
        }
    }

    pub(super) async fn add_forwards(&self, name: &Name, forwards: &[ForwardSpec]) -> Result<(), RequestError> {
        if forwards.is_empty() {
            return Ok(());
        }
        self.context.client.add_forwards(&request(name, forwards)).await.map(drop)
    }

    pub(super) async fn remove_forwards(&self, name: &Name, forwards: &[ForwardSpec]) -> Result<(), RequestError> {
        if forwards.is_empty() {
            return Ok(());
        }
        self.context.client.remove_forwards(&request(name, forwards)).await.map(drop)
    }
}

fn request(name: &Name, forwards: &[ForwardSpec]) -> ForwardRequest {
    ForwardRequest { host: name.to_string(), forwards: forwards.to_vec() }
}
