//! The life of connections within the stack: driving one, telling its events, waking it, ending it.

use super::Stack;
use crate::demux::Owner;
use crate::event::{Event, ResetReason};
use crate::id::ConnectionId;
use crate::tcp::{Connection, Context, Disposition, Ended, Notices, State, TimeWait};
use crate::time::Time;
use crate::types::Unreachable;

impl Stack {
    /// Lets `act` do something to a connection; then its events and its wish to send are noted.
    pub(super) fn drive<R>(
        &mut self,
        now: Time,
        index: u32,
        act: impl FnOnce(&mut Connection, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let connection = self.connections.get_mut(index)?;
        let mut ctx = Context::new(now, &self.config.tcp, &mut self.pool);
        let result = act(connection, &mut ctx);
        self.settle(index);
        Some(result)
    }

    /// Puts a new connection into the tables.
    pub(super) fn add_connection(&mut self, connection: Connection) -> ConnectionId {
        let tuple = connection.tuple;
        let (index, generation) = self.connections.insert(Box::new(connection));
        self.demux.insert(tuple, Owner::Connection(index));
        self.settle(index);
        ConnectionId { index, generation }
    }

    /// The connection's index, if the caller's handle is still good.
    pub(super) fn index(&self, id: ConnectionId) -> Option<u32> {
        let current = self.connections.is_current(id.index, id.generation);
        (current && self.connections.get(id.index).is_some_and(|connection| !connection.orphan)).then_some(id.index)
    }

    /// Tells what happened, and queues the connection for `poll_transmit` if it may have something to send.
    pub(super) fn settle(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if !connection.queued && connection.has_more() {
            connection.queued = true;
            self.ready.push_back(index);
        }
        let waits = connection.queued;
        let notices = std::mem::take(&mut connection.notices);
        if notices != Notices::default() && !connection.orphan {
            self.announce(index, notices);
        }
        if !waits {
            self.arm(index);
        }
    }

    /// Queues a connection for `poll_transmit` that was held up there.
    fn queue(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index).filter(|connection| !connection.queued) {
            connection.queued = true;
            self.ready.push_back(index);
        }
    }

    fn announce(&mut self, index: u32, notices: Notices) {
        let generation = self.connections.generation(index);
        let Some(connection) = self.connections.get_mut(index) else { return };
        if let Some(listener) = connection.listener {
            if notices.connected {
                self.ready_to_accept(listener, ConnectionId { index, generation });
            }
            return;
        }
        let id = ConnectionId { index, generation };
        let announced = &mut connection.announced;
        let mut tell = |happened: bool, waits: &mut bool, event: Event| {
            if happened && !*waits {
                *waits = true;
                self.events.push_back(event);
            }
        };
        tell(notices.connected, &mut announced.connected, Event::Connected(id));
        tell(notices.readable, &mut announced.readable, Event::Readable(id));
        tell(notices.writable, &mut announced.writable, Event::Writable(id));
        tell(notices.peer_closed, &mut announced.peer_closed, Event::PeerClosed(id));
        tell(notices.closed, &mut announced.closed, Event::Closed(id));
    }

    /// Events of dead handles are swallowed; those that may come again are taken off the list of waiting ones.
    pub(super) fn is_still_true(&mut self, event: &Event) -> bool {
        let id = match event {
            Event::Readable(id) | Event::Writable(id) => *id,
            Event::Connected(id) | Event::PeerClosed(id) | Event::Closed(id) => *id,
            Event::DatagramReadable(id) => {
                let socket = self.socket_mut(*id);
                return socket.map(|socket| socket.announced = false).is_some();
            }
            Event::Incoming(incoming) => return self.held.is_current(incoming.id.index, incoming.id.generation),
            _ => return true,
        };
        if self.index(id).is_none() {
            return false;
        }
        if let Some(connection) = self.connections.get_mut(id.index) {
            match event {
                Event::Readable(_) => connection.announced.readable = false,
                Event::Writable(_) => connection.announced.writable = false,
                _ => {}
            }
        }
        true
    }

    /// Acts on what a segment or a timer led to.
    pub(super) fn conclude(&mut self, now: Time, index: u32, ended: Ended) {
        match ended {
            Ended::TimeWait => self.enter_time_wait(now, index),
            Ended::Closed => self.detach(index),
            Ended::Reset(reason) => {
                if reason == ResetReason::TimedOut {
                    self.reset_peer(now, index);
                }
                self.report_reset(index, reason);
                self.remove_connection(index);
            }
            Ended::NobodyReads => {
                self.reset_peer(now, index);
                self.remove_connection(index);
            }
            Ended::BackToListen => {
                // A caller that accepted the request hears that its client is gone.
                self.report_reset(index, ResetReason::ByPeer);
                self.remove_connection(index);
            }
            Ended::Forgotten => self.remove_connection(index),
        }
    }

    fn report_reset(&mut self, index: u32, reason: ResetReason) {
        let generation = self.connections.generation(index);
        if let Some(connection) = self.connections.get(index)
            && !connection.orphan
            && connection.listener.is_none()
        {
            self.events.push_back(Event::Reset(ConnectionId { index, generation }, reason));
        }
    }

    /// RFC 9293 §3.6.1: the ends are remembered apart, the connection stays only for a caller that may still read.
    fn enter_time_wait(&mut self, now: Time, index: u32) {
        let duration = self.config.tcp.time_wait.into();
        let last = self.drive(now, index, |connection, ctx| {
            (connection.final_acknowledgement(ctx), TimeWait::new(connection, ctx.now, duration))
        });
        let Some((acknowledgement, time_wait)) = last else { return };
        let tuple = time_wait.tuple;
        if let Some(header) = acknowledgement {
            self.send_header(now, &tuple, &header, time_wait.service);
        }
        self.detach(index);
        self.leases.time_wait(&time_wait.lease);
        let (place, forgotten) = self.time_waits.insert(time_wait, self.config.limits.time_wait);
        if let Some((index, oldest)) = forgotten {
            self.forget_time_wait(index, oldest);
        }
        self.demux.insert(tuple, Owner::TimeWait(place));
    }

    /// TIME-WAIT is over: flow and port are free.
    pub(super) fn forget_time_wait(&mut self, index: u32, time_wait: TimeWait) {
        let tuple = time_wait.tuple;
        self.demux.remove(&tuple, Owner::TimeWait(index));
        self.leases.release(time_wait.lease, tuple.local(), tuple.remote());
    }

    /// The flow is no longer the connection's; without a caller there is nothing left of it.
    fn detach(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        let (tuple, orphan) = (connection.tuple, connection.orphan);
        self.demux.remove(&tuple, Owner::Connection(index));
        if orphan {
            self.remove_connection(index);
        } else {
            self.settle(index);
        }
    }

    pub(super) fn remove_connection(&mut self, index: u32) {
        let Some(mut connection) = self.connections.remove(index) else { return };
        connection.clear(&mut self.pool);
        let tuple = connection.tuple;
        self.demux.remove(&tuple, Owner::Connection(index));
        self.leases.release(std::mem::take(&mut connection.lease), tuple.local(), tuple.remote());
        if let Some(listener) = connection.listener {
            self.left_backlog(listener, connection.state());
        }
        self.lent.take_if(|(lent, _)| *lent == index);
        // Its place in the ready queue is found empty, or does for the next tenant.
    }

    /// Sends RST for a connection whose peer knows of it.
    pub(super) fn reset_peer(&mut self, now: Time, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        // RFC 9293 §3.10.5: in SYN-SENT the peer knows of nothing that could be reset.
        if connection.is_over() || connection.state() == State::SynSent {
            return;
        }
        let (tuple, header, service) = (connection.tuple, connection.reset(), connection.options().service());
        self.send_header(now, &tuple, &header, service);
    }

    /// Enters the connection's deadline, unless an earlier entry will find it.
    pub(super) fn arm(&mut self, index: u32) {
        let generation = self.connections.generation(index);
        let Some(connection) = self.connections.get_mut(index) else { return };
        if let Some(at) = connection.deadline()
            && connection.armed.is_none_or(|armed| at < armed)
        {
            connection.armed = Some(at);
            self.timers.push((at, index, generation));
            self.drop_stale_timers();
        }
    }

    /// A deadline that moved nearer leaves its later entry in the heap. Once such entries are the larger part of it, they go.
    fn drop_stale_timers(&mut self) {
        if self.timers.len() <= 2 * self.connections.len() + 64 {
            return;
        }
        let connections = &self.connections;
        self.timers.retain(|(at, index, generation)| {
            let armed = connections.get(*index).and_then(|connection| connection.armed);
            armed == Some(*at) && connections.is_current(*index, *generation)
        });
    }

    pub(super) fn connection_due(&mut self, now: Time, at: Time, index: u32, generation: u32) {
        if !self.connections.is_current(index, generation) {
            return;
        }
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.armed != Some(at) {
            return;
        }
        connection.armed = None;
        if connection.deadline().is_none() {
            // A last look at a connection that has been idle for a while.
            connection.shrink(&mut self.pool);
        }
        if connection.deadline().is_some_and(|due| due <= now)
            && let Some(Disposition::Ended(ended)) = self.drive(now, index, Connection::on_time)
        {
            self.conclude(now, index, ended);
        }
        self.arm(index);
    }

    /// Connections that waited for a neighbour go on, or hear that it is not there.
    pub(super) fn wake_for_neighbors(&mut self, now: Time) {
        let neighbors = &mut self.output.neighbors;
        if neighbors.found.is_empty() && neighbors.absent.is_empty() && neighbors.undeliverable.is_empty() {
            return;
        }
        let undeliverable = std::mem::take(&mut neighbors.undeliverable);
        undeliverable.iter().for_each(|frame| self.report_undeliverable(frame));
        for (index, generation) in std::mem::take(&mut self.output.neighbors.found) {
            if self.connections.is_current(index, generation) {
                self.queue(index);
            }
        }
        for (index, generation) in std::mem::take(&mut self.output.neighbors.absent) {
            if self.connections.is_current(index, generation) {
                self.not_reachable(now, index, Unreachable::Host);
            }
        }
    }

    /// RFC 1122 §4.2.3.9, RFC 5461 §4 and RFC 5927 §4: an ICMP error ends a connection that is being opened; for any other,
    /// one whose SYN we answered included, it is only a hint, and retransmission goes on.
    pub(super) fn not_reachable(&mut self, now: Time, index: u32, reason: Unreachable) {
        if self.connections.get(index).is_some_and(|connection| connection.state() == State::SynSent) {
            self.conclude(now, index, Ended::Reset(ResetReason::Unreachable(reason)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use crate::config::{Config, Link};
    use crate::stack::Stack;
    use crate::time::{Interval, Time};

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_far_deadline_behind_many_near_ones_is_in_the_heap_once() {
        let (start, now) = (Instant::now(), Time::START);
        let mut stack = Stack::new(start, Config::new(Link::Ip { mtu: 1500, virtio: false }, [3; 16]));
        let end = |port| SocketAddr::from(([10, 0, 0, 1], port));
        let id = stack.connect(start, Some(end(1)), end(2), 0).expect("free");
        assert!(stack.poll_transmit(start).is_some());
        assert!(stack.poll_transmit(start).is_none());
        for round in 0..10_000 {
            // What a timer that moves nearer and runs out leaves behind: first far, then near, then far again.
            let Some(connection) = stack.connections.get_mut(id.index) else { panic!("it is opening") };
            connection.armed = None;
            stack.arm(id.index);
            stack.timers.push((now + Interval::from_secs(round), id.index, 7));
            stack.drop_stale_timers();
            assert!(stack.timers.len() <= 67, "{}", stack.timers.len());
        }
        assert_eq!(stack.timers.next(), Some(now + Interval::from_secs(1)));
    }
}
