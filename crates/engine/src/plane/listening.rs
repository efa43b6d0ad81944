//! What listens in the hosts, and the forwards that follow it.
//!
//! That a service ends is an event of the kernel. That one begins, whoever asked for it tells, where programs are asked; and it is
//! found by looking at the listeners, whenever the kernel's counts of the host's sockets have changed. The counts are read
//! often after a change, rarely after a while without.

use std::time::{Duration, Instant};

use minato_host::Family;
use minato_host::agent::InsideSocket;
use minato_host::sock_diag::{EventsError, Query, SocketInfo, States};
use minato_inspect::Happening;
use minato_ports::Transport;
use minato_relay::{Listener, Services};
use tokio::sync::oneshot;

use super::Plane;
use super::command::ServicesChanged;
use super::hosts::PlaneHost;
use crate::convert;

/// Between two glances at the counts while something changes.
pub(super) const EAGER: Duration = Duration::from_millis(20);
/// How long that lasts after a change.
pub(super) const EAGER_FOR: Duration = Duration::from_secs(10);
/// Between two glances after that.
const PATIENT: Duration = Duration::from_millis(200);
/// Glances that are due soon are made at once, so that many hosts don't wake the loop one by one.
const TOGETHER: Duration = Duration::from_millis(10);
/// A host that has sockets is looked at after so long, whatever the counts say: one socket may have ended and another
/// one begun.
const ANYWAY: Duration = Duration::from_secs(2);
/// A look is followed by so many times what it took without another one: a host with thousands of listeners does not keep the
/// loop from its other work. At most as long as between looks that nothing has asked for: the loop may have been stopped within one.
const REST: u32 = 8;

impl PlaneHost {
    /// What listens in the host now.
    fn look(&mut self, now: Instant) -> std::io::Result<Services> {
        let begun = Instant::now();
        self.looked = now;
        self.in_use = self.sockets.in_use();
        let mut listeners = Vec::new();
        let wanted =
            [(minato_host::Transport::Tcp, States::LISTEN), (minato_host::Transport::Udp, States::UNCONNECTED)];
        for (transport, states) in wanted {
            for family in [Family::V4, Family::V6] {
                let query = Query::new(family, transport, states);
                self.sockets.dump(query, |socket| listeners.extend(listener(socket)))?;
            }
        }
        let services = Services::new(listeners);
        let end = Instant::now();
        self.rests_until = end + ((end - begun) * REST).min(ANYWAY);
        Ok(services)
    }

    fn plan_glance(&mut self, now: Instant) {
        self.look_at = now + if now < self.eager_until { EAGER } else { PATIENT };
    }

    /// When to glance at it next, if nothing happens before.
    fn next_look(&self) -> Instant {
        self.look_at.max(self.rests_until)
    }

    /// When to look for something that may be there by now; `None`: a look would show nothing that is not known.
    fn due_look(&self, now: Instant, is_missed: bool) -> Option<Instant> {
        (is_missed || self.may_have_changed(now)).then(|| self.rests_until.max(now))
    }

    /// The TCP ports on which its services are known to listen.
    fn listening(&self) -> Vec<u16> {
        let tcp = |(transport, port)| (transport == Transport::Tcp).then_some(port);
        self.services.reachable(&self.addresses).filter_map(tcp).collect()
    }

    /// Tells whoever waits for a look what it has shown.
    pub(super) fn answer_seekers(&mut self) {
        let listening = if self.seekers.is_empty() { return } else { self.listening() };
        self.seekers.drain(..).for_each(|seeker| drop(seeker.send(listening.clone())));
    }

    /// Whether a look could show something new.
    fn may_have_changed(&self, now: Instant) -> bool {
        let known = self.in_use.filter(|known| self.sockets.in_use() == Some(*known));
        known.is_none_or(|known| !known.is_empty() && now.saturating_duration_since(self.looked) >= ANYWAY)
    }
}

/// A socket that takes connections or datagrams from anybody.
fn listener(socket: &SocketInfo) -> Option<Listener> {
    let unconnected = socket.remote.port() == 0 && socket.local.port() != 0;
    unconnected.then(|| Listener {
        transport: convert::from_host(socket.transport),
        address: socket.local.ip(),
        port: socket.local.port(),
        v6_only: socket.v6only,
    })
}

impl Plane {
    /// Looks at the host's listeners in this turn, or as soon as the last look is long enough ago.
    pub(super) fn look_soon(&mut self, serial: u32) {
        if let Some(host) = self.hosts.get_mut(&serial) {
            host.look_at = self.now;
            host.in_use = None;
            self.next_look = Some(self.now);
        }
    }

    /// As [`Plane::look_soon`], and often for a while.
    pub(super) fn look_eagerly(&mut self, serial: u32) {
        if let Some(host) = self.hosts.get_mut(&serial) {
            host.eager_until = self.now + EAGER_FOR;
        }
        self.look_soon(serial);
    }

    /// A host's time comes at `at`, perhaps before that of all others.
    pub(super) fn plan_look(&mut self, at: Instant) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }

    /// Looks at those hosts whose time has come, if their counts have changed.
    pub(super) fn look_at_hosts(&mut self) {
        let now = self.now;
        if self.next_look.is_none_or(|at| at > now) {
            return;
        }
        let mut changed = Vec::new();
        let is_due = |host: &PlaneHost| host.look_at <= now + TOGETHER && host.rests_until <= now;
        for (serial, host) in self.hosts.iter_mut().filter(|(_, host)| is_due(host)) {
            if host.may_have_changed(now) {
                changed.push(*serial);
            }
            host.plan_glance(now);
        }
        changed.into_iter().for_each(|serial| self.look(serial));
        self.next_look = self.hosts.values().map(PlaneHost::next_look).min();
    }

    /// Tells the TCP ports on which services of a host listen, after a look if one could show more, and be it to find `sought`.
    /// The answer waits for as long as the host is left alone after the last one.
    pub(super) fn tell_listening(&mut self, serial: u32, sought: Option<u16>, answer: oneshot::Sender<Vec<u16>>) {
        // Without the host nobody waits.
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        let known = host.listening();
        let is_missed = sought.map_or(known.is_empty(), |port| !known.contains(&port));
        let Some(at) = host.due_look(self.now, is_missed) else { return drop(answer.send(known)) };
        host.seekers.push(answer);
        self.look_at(serial, at);
    }

    /// Looks at what listens in a host, unless that is known; so soon after the last look, it comes as any other.
    pub(super) fn look_if_changed(&mut self, serial: u32) {
        if let Some(at) = self.hosts.get(&serial).and_then(|host| host.due_look(self.now, false)) {
            self.look_at(serial, at);
        }
    }

    /// Looks at once, or at this time.
    fn look_at(&mut self, serial: u32, at: Instant) {
        if at <= self.now {
            self.look(serial);
        } else if let Some(host) = self.hosts.get_mut(&serial) {
            host.look_at = self.now;
            host.in_use = None;
            self.plan_look(at);
        }
    }

    /// Looks at what listens in a host now, and opens and closes forwards accordingly.
    pub(super) fn look(&mut self, serial: u32) {
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        match host.look(self.now) {
            Ok(services) if services != host.services || host.untold => {
                host.services = services;
                host.untold = false;
                host.eager_until = self.now + EAGER_FOR;
                let ports = host.services.reachable(&host.addresses).collect();
                let services = host.services.clone();
                self.follow_services(serial);
                // It fails when the engine is just ending.
                let _ = self.services.send(ServicesChanged { host: serial, ports, services });
            }
            // One that could not follow its service is tried again.
            Ok(_)
                if host.forwards.iter().any(|place| self.forwards.get(*place).is_some_and(|forward| forward.stuck)) =>
            {
                self.follow_services(serial);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, host = host.name, "can't read the host's socket table"),
        }
        if let Some(host) = self.hosts.get_mut(&serial) {
            host.answer_seekers();
        }
    }

    /// A socket listens now. Its forwards are open when this returns; a look tells the others.
    pub(super) fn begins(&mut self, serial: u32, listener: Listener) {
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        if !host.services.add(listener) {
            return;
        }
        host.untold = true;
        // It may have ended already, of which the kernel told when nobody knew of it.
        host.in_use = None;
        host.eager_until = self.now + EAGER_FOR;
        host.look_at = host.look_at.min(self.now + EAGER);
        let next = host.next_look();
        let port = |place: &usize| self.forwards[*place].service_port;
        let begin = host.forwards.partition_point(|place| port(place) < listener.port);
        let concerned = host.forwards[begin..].iter().copied().take_while(|place| port(place) == listener.port);
        let concerned: Vec<usize> = concerned.collect();
        self.plan_look(next);
        self.follow(serial, &concerned);
    }

    /// Opens and closes the host's forwards as its services demand.
    pub(super) fn follow_services(&mut self, serial: u32) {
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        let forwards = std::mem::take(&mut host.forwards);
        self.follow(serial, &forwards);
        if let Some(host) = self.hosts.get_mut(&serial) {
            host.forwards = forwards;
        }
    }

    /// The same for some of them.
    fn follow(&mut self, serial: u32, places: &[usize]) {
        let Some(host) = self.hosts.get(&serial) else { return };
        let mut families = [false; 2];
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        for place in places {
            let Some(forward) = self.forwards.get_mut(*place) else { continue };
            let was_open = forward.service.is_some();
            forward.follow(*place, &host.services, &host.addresses, &self.poller);
            match (was_open, forward.service.is_some()) {
                (false, true) => opened.push(*place),
                (true, false) => closed.push(*place),
                _ => {}
            }
            if let Some(service) = forward.service.filter(|_| forward.socket.transport() == Transport::Tcp) {
                families[usize::from(service.is_ipv6())] = true;
            }
        }
        for (family, wanted) in [Family::V4, Family::V6].into_iter().zip(families) {
            if wanted {
                self.order(serial, InsideSocket::TransparentStream, family);
            }
        }
        self.tell_of_forwards(serial, &opened, Happening::ForwardsOpened);
        self.tell_of_forwards(serial, &closed, Happening::ForwardsClosed);
    }

    /// Takes the announcements of sockets that have ended in a host.
    pub(super) fn host_events(&mut self, serial: u32) {
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        let PlaneHost { sockets, services, .. } = host;
        let mut ended = false;
        let result = sockets.events(|socket| ended |= listener(socket).is_some_and(|end| services.includes(&end)));
        if let Err(EventsError::Io(error)) = &result {
            tracing::warn!(%error, host = host.name, "can't read the events of the host's sockets");
        }
        // Another socket may be bound alike, or have taken the place already; and lost events may have told of any.
        if ended || result.is_err() {
            self.look_soon(serial);
        }
    }
}

#[cfg(test)]
mod tests;
