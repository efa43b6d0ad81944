//! What a run showed.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use minato_transport::ResetReason;
use minato_transport::tcp::Status;

use crate::world::NodeId;

/// How a connection ended, seen from one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not end.
    Running,
    /// The script was played to its end.
    Done,
    /// The script reset it.
    Aborted,
    /// The stack gave it up.
    Reset(ResetReason),
}

/// One end of a connection, from open to close.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Whose end it is.
    pub host: NodeId,
    /// Its own address and port.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
    /// When it was opened or accepted.
    pub opened: Duration,
    /// When the handshake was complete.
    pub connected: Option<Duration>,
    /// When the script was over.
    pub finished: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes handed to the stack.
    pub sent: u64,
    /// Bytes read from the stack, each compared with what the other end sent.
    pub received: u64,
    /// Segments sent again, when last looked at.
    pub retransmits: u64,
    /// Payload of a full segment, when last looked at.
    pub segment_size: usize,
    /// Bytes received at times at least `SAMPLE_INTERVAL` apart.
    samples: Vec<(Duration, u64)>,
}

impl Flow {
    pub(crate) fn new(now: Duration, host: NodeId, local: SocketAddr, remote: SocketAddr) -> Flow {
        Flow {
            host,
            local,
            remote,
            opened: now,
            connected: None,
            finished: None,
            outcome: Outcome::Running,
            sent: 0,
            received: 0,
            retransmits: 0,
            segment_size: 0,
            samples: Vec::new(),
        }
    }

    /// From open to the end of the script; zero if it did not end.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.finished.map_or(Duration::ZERO, |finished| finished - self.opened)
    }

    /// Bytes received until `time`, as of the last sample before it.
    #[must_use]
    pub fn received_until(&self, time: Duration) -> u64 {
        let next = self.samples.partition_point(|(at, _)| *at <= time);
        next.checked_sub(1).map_or(0, |last| self.samples[last].1)
    }

    /// Received bits per second between two times.
    #[must_use]
    pub fn rate(&self, from: Duration, until: Duration) -> f64 {
        let bytes = self.received_until(until) - self.received_until(from);
        bytes as f64 * 8.0 / (until - from).as_secs_f64()
    }

    pub(crate) fn receive(&mut self, now: Duration, count: u64) {
        self.received += count;
        match self.samples.last_mut() {
            Some(last) if last.0 == now => last.1 = self.received,
            Some(last) if now - last.0 < SAMPLE_INTERVAL => {}
            _ => self.samples.push((now, self.received)),
        }
    }

    pub(crate) fn observe(&mut self, status: Option<&Status>) {
        if let Some(status) = status {
            self.retransmits = status.retransmits;
            self.segment_size = status.segment_size;
        }
    }
}

const SAMPLE_INTERVAL: Duration = Duration::from_millis(1);

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// What replays it.
    pub seed: u64,
    /// Virtual time at its end.
    pub time: Duration,
    /// Every end of every connection, by host and then by time.
    pub flows: Vec<Flow>,
}

impl Report {
    /// The ends at one host.
    pub fn of_host(&self, host: NodeId) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.host == host)
    }

    /// Says that every connection has two ends, that both ended in order, and that each received what the other sent.
    ///
    /// # Panics
    /// If not, with the seed.
    pub fn assert_complete(&self) {
        assert!(!self.flows.is_empty(), "nothing happened in this run");
        let mut ends: Vec<&Flow> = self.flows.iter().collect();
        // The two ends of a connection come to stand beside each other; a pair of ports that was used again, in order.
        ends.sort_by_key(|flow| (flow.local.min(flow.remote), flow.local.max(flow.remote), flow.opened));
        for pair in ends.chunks(2) {
            let [one, other] = pair else { panic!("only one end of {self}") };
            assert_eq!((one.outcome, other.outcome), (Outcome::Done, Outcome::Done), "{self}");
            assert_eq!((one.local, one.remote), (other.remote, other.local), "{self}");
            assert_eq!((one.sent, one.received), (other.received, other.sent), "{self}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "run of seed {} until {:?}", self.seed, self.time)?;
        for flow in &self.flows {
            writeln!(
                f,
                "  {} > {} {:?} sent {} received {} in {:?}, {} retransmits",
                flow.local,
                flow.remote,
                flow.outcome,
                flow.sent,
                flow.received,
                flow.duration(),
                flow.retransmits
            )?;
        }
        Ok(())
    }
}

/// Jain's fairness index: 1 if all rates are equal, one divided by their number if one has everything.
#[must_use]
pub fn jain(rates: &[f64]) -> f64 {
    let sum: f64 = rates.iter().sum();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (rates.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_for_equals_and_a_share_for_the_greedy() {
        assert!((jain(&[3.0, 3.0, 3.0]) - 1.0).abs() < 1e-9);
        assert!((jain(&[1.0, 0.0]) - 0.5).abs() < 1e-9);
        assert!((jain(&[]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn rates_come_from_samples() {
        let [local, remote] = ["10.0.0.1:1", "10.0.0.2:2"].map(|end| end.parse().unwrap());
        let mut flow = Flow::new(Duration::ZERO, NodeId(0), local, remote);
        for second in 1..=10 {
            flow.receive(Duration::from_secs(second), 1000);
        }
        assert_eq!(flow.received_until(Duration::from_millis(3_500)), 3000);
        assert!((flow.rate(Duration::from_secs(2), Duration::from_secs(4)) - 8000.0).abs() < 1e-9);
    }
}
