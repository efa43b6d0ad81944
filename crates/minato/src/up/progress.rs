//! How far hosts are: as lines that are drawn anew, and as sentences.

use serde::{Deserialize, Serialize};

use super::board::State;
use crate::render::age;

/// One host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) host: String,
    pub(super) state: State,
    /// Seconds since the host's turn came, until now or until it was ready.
    pub(super) seconds: f64,
}

/// What has changed between two looks, where that is worth a sentence.
pub(super) fn news(before: &[Row], now: &[Row]) -> Vec<String> {
    let old = |host: &str| before.iter().find(|row| row.host == host).map(|row| &row.state);
    let changed = now.iter().filter(|row| old(&row.host) != Some(&row.state));
    changed.filter_map(sentence).collect()
}

fn sentence(row: &Row) -> Option<String> {
    let host = &row.host;
    match &row.state {
        State::Ready => Some(format!("{host} is ready after {}", age(row.seconds))),
        State::Ended { well: true } => Some(format!("{host} has ended")),
        State::Ended { well: false } => Some(format!("{host} has ended, not all of it well")),
        State::Waiting { .. } | State::Starting | State::Stopping | State::Failed => None,
    }
}

/// Most hosts that are shown: what is drawn anew must fit on a terminal.
const MOST: usize = 12;

/// A line for each host that is not ready, cut to the terminal's width, and one that sums up.
pub(super) fn lines(rows: &[Row], width: Option<usize>) -> Vec<String> {
    let done = rows.iter().filter(|row| row.state == State::Ready).count();
    if rows.is_empty() || done == rows.len() {
        return Vec::new();
    }
    let longest = rows.iter().map(|row| row.host.len()).max().unwrap_or(0);
    let line = |row: &Row| format!("  {:longest$}  {}", row.host, state(&row.state, row.seconds));
    let waiting = rows.iter().filter(|row| row.state != State::Ready);
    let more = (rows.len() - done).saturating_sub(MOST);
    let more = (more > 0).then(|| format!("  and {more} more"));
    let sum = format!("{done} of {} hosts are ready", rows.len());
    let lines = std::iter::once(sum).chain(waiting.take(MOST).map(line)).chain(more);
    let cut = |line: String| line.chars().take(width.unwrap_or(usize::MAX).saturating_sub(1)).collect::<String>();
    lines.map(|line| cut(line) + "\n").collect()
}

/// A state in words.
pub(super) fn state(state: &State, seconds: f64) -> String {
    match state {
        State::Waiting { hosts } => format!("waits for {}", hosts.join(", ")),
        State::Starting => format!("starting, {}", age(seconds)),
        State::Ready => "ready".into(),
        State::Stopping => "ending".into(),
        State::Failed => "failed".into(),
        State::Ended { well: true } => "ended".into(),
        State::Ended { well: false } => "ended with a failure".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: &str, state: State) -> Row {
        Row { host: host.into(), state, seconds: 2.0 }
    }

    #[test]
    fn what_is_ready_leaves_the_view() {
        let waits = State::Waiting { hosts: vec!["db".into()] };
        let rows = [row("cache", State::Ready), row("db", State::Starting), row("web", waits)];
        let shown = lines(&rows, Some(30)).concat();
        assert_eq!(shown, "1 of 3 hosts are ready\n  db     starting, 2s\n  web    waits for db\n");
        assert!(lines(&rows, Some(10)).iter().all(|line| line.len() <= 10));
        assert!(lines(&rows[..1], None).is_empty());
        let many: Vec<Row> = (0..100).map(|number| row(&format!("h{number}"), State::Starting)).collect();
        assert_eq!(lines(&many, None).last().map(String::as_str), Some("  and 88 more\n"));
    }

    #[test]
    fn elsewhere_only_what_has_changed_is_said() {
        let before = [row("db", State::Starting), row("web", State::Ready)];
        let now = [row("db", State::Ready), row("web", State::Ready)];
        assert_eq!(news(&before, &now), ["db is ready after 2s"]);
        assert!(news(&now, &now).is_empty());
    }
}
