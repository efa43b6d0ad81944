//! A screen on a thread of its own: whoever takes slowly what is shown, or not at all, holds up nobody but himself.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use minato_host::sync::lock;
use tokio::sync::Notify;

use super::logs::Line;
use super::progress::Row;
use super::screen::Screen;
use crate::failure::Failure;

/// How many bytes may wait to be shown; lines beyond are left out.
const MOST: usize = 4 << 20;
/// How long nothing may be taken before, at the end, the rest is left out.
const PATIENCE: Duration = Duration::from_secs(1);

/// Something to be shown.
#[derive(Debug)]
enum Show {
    Expect(Vec<String>),
    Line(Line),
    Say(String),
    Report(Failure),
    Progress(Vec<Row>),
    AllReady(Vec<String>),
    EndOfProgress,
    Failed(Failure),
}

/// The way to the screen.
#[derive(Debug)]
pub(super) struct Display(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Show>,
    bytes: usize,
    /// Lines that were left out and are still to be told about.
    left_out: usize,
    /// What was taken to be shown so far, and whether the last of it is being shown.
    taken: u64,
    busy: bool,
    /// Nothing comes any more.
    over: bool,
}

impl Display {
    /// Gives a screen its thread.
    pub(super) fn start(mut screen: Screen) -> Result<Display, Failure> {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let show = move || {
            while let Some(next) = its.next() {
                next.on(&mut screen);
                if screen.is_closed() {
                    its.closed.notify_one();
                }
            }
        };
        let thread = thread::Builder::new().name("screen".into()).spawn(show);
        thread.map_err(|error| Failure::caused("there is no thread for what is shown", error))?;
        Ok(Display(shared))
    }

    /// Who will write lines.
    pub(super) fn expect(&self, authors: Vec<String>) {
        self.0.push(Show::Expect(authors));
    }

    /// A line of a program.
    pub(super) fn line(&self, line: &Line) {
        self.0.push(Show::Line(line.clone()));
    }

    /// A sentence for the user.
    pub(super) fn say(&self, message: &str) {
        self.0.push(Show::Say(message.to_owned()));
    }

    /// A failure that does not end everything.
    pub(super) fn report(&self, failure: &Failure) {
        self.0.push(Show::Report(failure.clone()));
    }

    /// How far everything is.
    pub(super) fn progress(&self, rows: Vec<Row>) {
        self.0.push(Show::Progress(rows));
    }

    /// Everything is ready for the first time.
    pub(super) fn all_ready(&self, lines: &[String]) {
        self.0.push(Show::AllReady(lines.to_vec()));
    }

    /// Ends the progress view.
    pub(super) fn end_of_progress(&self) {
        self.0.push(Show::EndOfProgress);
    }

    /// The last word to whoever waits for a supervisor in the background.
    pub(super) fn failed(&self, failure: &Failure) {
        self.0.push(Show::Failed(failure.clone()));
    }

    /// Returns when nobody reads standard output any more.
    pub(super) async fn closed(&self) {
        self.0.closed.notified().await;
    }

    /// Waits until everything is shown, as long as it is taken.
    pub(super) fn finish(&self) {
        let mut queue = self.0.queue();
        while queue.busy || !queue.waiting.is_empty() {
            let before = queue.taken;
            let stuck = |queue: &mut Queue| queue.taken == before && (queue.busy || !queue.waiting.is_empty());
            let waited = self.0.changed.wait_timeout_while(queue, PATIENCE, stuck);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return;
            }
            queue = now;
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.0.queue().over = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn push(&self, show: Show) {
        self.queue().push(show);
        self.changed.notify_all();
    }

    /// Waits for the next thing to be shown; `None` after the last.
    fn next(&self) -> Option<Show> {
        let mut queue = self.queue();
        queue.busy = false;
        self.changed.notify_all();
        let empty = |queue: &mut Queue| queue.waiting.is_empty() && !queue.over;
        let mut queue = self.changed.wait_while(queue, empty).unwrap_or_else(PoisonError::into_inner);
        let next = queue.waiting.pop_front()?;
        queue.bytes -= next.size();
        queue.taken += 1;
        queue.busy = true;
        Some(next)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

impl Queue {
    fn push(&mut self, show: Show) {
        if self.bytes + show.size() > show.limit() {
            self.left_out += usize::from(!matches!(show, Show::Progress(_)));
            return;
        }
        if self.left_out > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            let message =
                format!("{left_out} lines were not taken in time and are not shown; minato logs has the last");
            self.add(Show::Say(message));
        }
        self.add(show);
    }

    fn add(&mut self, show: Show) {
        self.bytes += show.size();
        self.waiting.push_back(show);
    }
}

impl Show {
    /// About how many bytes it keeps.
    fn size(&self) -> usize {
        const EACH: usize = 64;
        EACH + match self {
            Show::Line(line) => line.host.len() + line.text.len(),
            Show::Say(message) => message.len(),
            Show::Report(failure) | Show::Failed(failure) => failure.lines().iter().map(String::len).sum(),
            Show::Progress(rows) => rows.len() * EACH,
            Show::Expect(lines) | Show::AllReady(lines) => lines.iter().map(String::len).sum(),
            Show::EndOfProgress => 0,
        }
    }

    /// How much may wait with it: what programs say leaves room for what we do, and what happens once is never left out.
    fn limit(&self) -> usize {
        match self {
            Show::Line(_) | Show::Progress(_) => MOST,
            Show::Say(_) | Show::Report(_) => 2 * MOST,
            Show::Expect(_) | Show::AllReady(_) | Show::EndOfProgress | Show::Failed(_) => usize::MAX,
        }
    }

    fn on(self, screen: &mut Screen) {
        match self {
            Show::Expect(authors) => screen.expect(&authors),
            Show::Line(line) => screen.line(&line),
            Show::Say(message) => screen.say(&message),
            Show::Report(failure) => screen.report(&failure),
            Show::Progress(rows) => screen.progress(rows),
            Show::AllReady(lines) => screen.all_ready(&lines),
            Show::EndOfProgress => screen.end_of_progress(),
            Show::Failed(failure) => screen.failed(&failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_takes_is_counted_and_what_happens_once_is_kept() {
        let line = |text: String| Show::Line(Line::of_supervisor(text));
        let mut queue = Queue::default();
        (0..2000).for_each(|_| queue.push(line("x".repeat(4096))));
        let kept = queue.waiting.len();
        assert!(queue.bytes <= MOST && kept > 900, "{kept} lines, {} bytes", queue.bytes);
        queue.push(Show::AllReady(vec!["ready".into()]));
        let said = queue.waiting.iter().find_map(|show| match show {
            Show::Say(message) => Some(message.clone()),
            _ => None,
        });
        let expected = format!("{} lines were not taken in time", 2000 - kept);
        assert!(said.is_some_and(|said| said.starts_with(&expected)));
        assert!(matches!(queue.waiting.back(), Some(Show::AllReady(_))));
    }
}
