//! Signals that come to us in the place of a program.

use std::collections::BTreeSet;

use minato_host::signals::{self, Signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Child;

use super::send;
use crate::failure::Failure;

/// Signals that come to this process while a program runs.
#[derive(Debug)]
pub(crate) struct Signals {
    records: pipe::Receiver,
}

/// Those that are a matter between the user and the program.
const FORWARDED: [rustix::process::Signal; 6] = {
    use rustix::process::Signal;
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2]
};
/// Those that tell whoever stands for one program that it has stopped, and is to go on.
const OF_JOBS: [rustix::process::Signal; 2] = [rustix::process::Signal::CHILD, rustix::process::Signal::CONT];

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> Result<Signals, Failure> {
        Signals::caught(&FORWARDED)
    }

    /// The same, with those of a shell's jobs.
    pub(crate) fn catch_as_job() -> Result<Signals, Failure> {
        Signals::caught(&[&FORWARDED[..], &OF_JOBS].concat())
    }

    fn caught(signals: &[rustix::process::Signal]) -> Result<Signals, Failure> {
        let numbers: Vec<i32> = signals.iter().map(|signal| signal.as_raw()).collect();
        let records = signals::catch(&numbers).and_then(pipe::Receiver::from_owned_fd);
        let records = records.map_err(|error| Failure::caused("cannot catch signals", error))?;
        Ok(Signals { records })
    }

    /// Takes those that have come already.
    pub(crate) fn pending(&mut self) -> Vec<Signal> {
        let mut pending = Vec::new();
        let mut record = [0; signals::RECORD];
        // A record is written as a whole.
        while rustix::io::read(&self.records, &mut record) == Ok(signals::RECORD) {
            pending.push(Signal::decode(record));
        }
        pending
    }

    /// Passes those on that came while the program was not there yet, the terminal's too.
    pub(crate) fn pass_on_early(&mut self, child: &Child) {
        let early: BTreeSet<i32> = self.pending().iter().map(|signal| signal.number).collect();
        for signal in FORWARDED.into_iter().filter(|signal| early.contains(&signal.as_raw())) {
            send(child, signal);
        }
    }

    /// Waits for the next one. May be cancelled and called again.
    pub(crate) async fn next(&mut self) -> Signal {
        let mut record = [0; signals::RECORD];
        match self.records.read_exact(&mut record).await {
            Ok(_) => Signal::decode(record),
            // The writing ends live as long as this process.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Passes a signal on to the program, unless the terminal's keys have sent it to both of us.
pub(crate) fn pass_on(signal: Signal, child: &Child) {
    use rustix::process::Signal;
    let Some(named) = Signal::from_named_raw(signal.number) else { return };
    // The terminal's end (HUP and CONT) comes to us alone where we lead its session, or the program has a group of its own.
    // Where it comes to both of us, the program is told twice, which harms nothing.
    let by_key = signal.from_kernel && matches!(named, Signal::INT | Signal::QUIT);
    if !by_key {
        send(child, named);
    }
}

/// The exit code that a shell gives to who has ended by a signal, if it is one of those that mean that everything is to end.
pub(crate) fn ends(signal: Signal) -> Option<u8> {
    use rustix::process::Signal;
    let ends = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].iter().any(|end| end.as_raw() == signal.number);
    u8::try_from(signal.number).ok().filter(|_| ends).map(|number| 128 + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a process of its own, as every test here.
    #[tokio::test]
    async fn those_that_came_before_are_taken_at_once_and_later_ones_are_waited_for() {
        use rustix::process::{Signal, getpid, kill_process};
        let mut signals = Signals::catch().expect("caught");
        let raise = |signal| kill_process(getpid(), signal).expect("sent");
        raise(Signal::USR1);
        raise(Signal::TERM);
        let numbers = |signals: Vec<super::Signal>| signals.iter().map(|signal| signal.number).collect::<BTreeSet<_>>();
        let expected = BTreeSet::from([Signal::USR1, Signal::TERM].map(Signal::as_raw));
        assert_eq!(numbers(signals.pending()), expected);
        assert!(signals.pending().is_empty());
        raise(Signal::HUP);
        assert_eq!(ends(signals.next().await), Some(129));
    }

    #[tokio::test]
    async fn a_program_gets_what_came_before_it_was_there() {
        use std::os::unix::process::ExitStatusExt;
        let mut signals = Signals::catch().expect("caught");
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT).expect("sent");
        let mut child = tokio::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        signals.pass_on_early(&child);
        assert_eq!(child.wait().await.expect("its end").signal(), Some(rustix::process::Signal::INT.as_raw()));
    }
}
