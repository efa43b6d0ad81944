//! How a host is ended, with everything of it.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use minato_inspect::{Happening, Process, SessionEnd};
use tokio::sync::oneshot;

use super::hosts::describe;
use super::{Control, Phase, blocking};
use crate::plane::{Command, DRAIN, GivenBack};

/// How long processes may take to end by themselves after SIGTERM.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// The longest that somebody may ask for: whoever wants the host's name next waits for as long.
const LONGEST_GRACE: Duration = Duration::from_secs(10);
/// How long the end of a host may take: the grace, what is to be delivered, and some seconds for us and the agent with
/// processes that even SIGKILL does not end at once.
pub(super) const PATIENCE: Duration = LONGEST_GRACE.saturating_add(Duration::from_secs(5)).saturating_add(DRAIN);

/// Between telling that a host has ended and clearing it away, which keeps a processor busy that whoever was told may need
/// for ending too.
const BREATH: Duration = Duration::from_millis(2);

impl Control {
    /// Takes back the name of a host that could not be made.
    pub(super) fn forget(&self, name: &str) {
        let _ = fs::remove_dir_all(self.host_directory(name));
        let mut state = self.state();
        let record = state.hosts.remove(name);
        // At once: nobody shall find a network without a host that does not end.
        self.stop_in_if_empty(&mut state);
        drop(state);
        self.emptied.notify_one();
        self.names.send_modify(|()| ());
        if let Some(record) = record {
            record.gone.send_replace(true);
        }
    }

    /// Ends a host whose phase is `Ending`, or that can't be brought to run: flows, forwards, processes (which have `grace`),
    /// namespace. `tell` is told when it is gone, with the processes that were still in it; or already when nothing of it runs, listens or sends
    /// for certain, while the kernel needs a moment longer.
    pub(super) async fn end_host(self: &Arc<Self>, name: &str, grace: Duration, tell: oneshot::Sender<SessionEnd>) {
        let (serial, addresses, programs) = {
            let mut state = self.state();
            let Some(host) = state.hosts.get_mut(name) else { return };
            // The other networks forget it now.
            host.memberships.clear();
            (host.serial, host.addresses(), Arc::clone(&host.programs))
        };
        let mut ended = Vec::new();
        let deserted = programs.none_is_left().await;
        let removed = deserted && self.end_idle_host(name, serial).await;
        if !removed {
            // What its programs had sent when they ended is delivered. Then nothing of ours keeps the namespace.
            let drained = self.plane.ask(|done| Command::DrainHost(serial, done));
            if deserted {
                let _ = tokio::join!(self.close_host(name, serial), drained);
            } else {
                ended = self.end_programs(name, serial, grace).await;
                let _ = drained.await;
            }
        }
        if !removed {
            let _ = self.plane.ask(|done| Command::RemoveHost(serial, done)).await;
        }
        if let Some(host) = self.state().hosts.get_mut(name) {
            host.phase = Phase::Deserted;
        }
        let end = SessionEnd { host_gone: true, ended };
        if deserted {
            let _ = tell.send(end);
            tokio::time::sleep(BREATH).await;
            self.remove_host(name, addresses).await;
        } else {
            self.remove_host(name, addresses).await;
            let _ = tell.send(end);
        }
    }

    /// Ends a host without programs in one step, unless it has something to deliver.
    async fn end_idle_host(self: &Arc<Self>, name: &str, serial: u32) -> bool {
        let given_back = self.plane.ask(|done| Command::EndIdleHost(serial, done)).await.ok().flatten();
        let Some(given_back) = given_back else { return false };
        self.free_ports(name, given_back).await;
        true
    }

    /// Frees the ports.
    async fn close_host(self: &Arc<Self>, name: &str, serial: u32) {
        let given_back = self.plane.ask(|done| Command::CloseHost(serial, done)).await;
        self.free_ports(name, given_back.unwrap_or_default()).await;
    }

    /// Leaves the ports of a host to others: the packet loop has given all of them back, and gets no more.
    async fn free_ports(self: &Arc<Self>, name: &str, given_back: GivenBack) {
        if !given_back.is_empty() {
            // Closing thousands of sockets takes a while.
            let _ = blocking(move || drop(given_back)).await;
        }
        let contested = self.state().release_forwards_of(name);
        self.retake(&contested).await;
    }

    /// Ends the processes of a host, who have their grace when its ports are free. Returns which there were.
    async fn end_programs(self: &Arc<Self>, name: &str, serial: u32, grace: Duration) -> Vec<Process> {
        let (control, owned) = (Arc::clone(self), name.to_owned());
        let left = blocking(move || describe(control.fabric.processes(&owned).unwrap_or_default())).await;
        self.close_host(name, serial).await;
        let (control, owned) = (Arc::clone(self), name.to_owned());
        let _ = blocking(move || control.fabric.end_processes(&owned, grace)).await;
        left.unwrap_or_default()
    }

    /// Removes what is left of a host: its namespace, and its name.
    async fn remove_host(self: &Arc<Self>, name: &str, addresses: Vec<IpAddr>) {
        let (control, owned) = (Arc::clone(self), name.to_owned());
        let _ = blocking(move || {
            if let Err(error) = control.fabric.remove_host(&owned) {
                tracing::warn!(%error, host = owned, "the agent could not remove the host");
            }
        })
        .await;
        // What its processes began since then ends before the next host gets the addresses.
        let _ = self.plane.ask(|done| Command::EndFlows(addresses, done)).await;
        self.direct.forget_host(name);
        // What the end of its processes has released is told before its own.
        let control = Arc::clone(self);
        let _ = blocking(move || control.look()).await;
        let had_begun = self.state().hosts.get(name).is_some_and(|host| host.inside.is_some());
        if had_begun {
            self.events.tell(|| Happening::HostEnded { host: name.to_owned() });
        }
        self.forget(name);
    }

    /// Ends every host as with its last session, all at once. Returns when there is none, or after [`PATIENCE`].
    pub(crate) async fn end_all_hosts(self: &Arc<Self>) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            for (name, host) in &mut state.hosts {
                gone.push(host.gone.subscribe());
                if host.phase == Phase::Running {
                    host.phase = Phase::Ending;
                    let (control, name) = (Arc::clone(self), name.clone());
                    tokio::spawn(async move { control.end_host(&name, GRACE, oneshot::channel().0).await });
                }
            }
        }
        let all = async {
            for mut gone in gone {
                let _ = gone.wait_for(|gone| *gone).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not every host has ended in time");
        }
    }
}

/// How long a host's programs may take when its client is gone, as was asked.
pub(super) fn grace(seconds: Option<u32>) -> Duration {
    seconds.map_or(GRACE, |seconds| Duration::from_secs(seconds.into()).min(LONGEST_GRACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_waited_for_without_end() {
        let seconds = Duration::from_secs;
        assert_eq!([None, Some(0), Some(3), Some(u32::MAX)].map(grace), [GRACE, seconds(0), seconds(3), LONGEST_GRACE]);
    }
}
