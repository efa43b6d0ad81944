//! How far hosts are: as lines that are drawn anew, and as sentences.

use serde::{Deserialize, Serialize};

use super::board::State;
use super::forwards::place;
use crate::file::Plan;
use crate::render::table::cut;
use crate::render::{age, range};

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
        State::Waiting { .. } | State::Starting | State::Restarting | State::Stopping | State::Failed => None,
    }
}

/// That everything is ready, and where clients of this machine find it.
pub(super) fn all_ready(plan: &Plan) -> Vec<String> {
    let mut lines = vec![format!("network '{}' is ready", plan.network)];
    for host in &plan.hosts {
        let forwards = host.fixed_forwards();
        let places: Vec<String> =
            forwards.iter().map(|spec| format!("{} at {}", range(spec.service_ports), place(spec))).collect();
        if !places.is_empty() {
            lines.push(format!("{}: {}", host.name, places.join(", ")));
        }
    }
    lines
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
    let line = |row: &Row| format!("  {:longest$}  {}", row.host, state(&row.state, Some(row.seconds)));
    let waiting = rows.iter().filter(|row| row.state != State::Ready);
    let more = (rows.len() - done).saturating_sub(MOST);
    let more = (more > 0).then(|| format!("  and {more} more"));
    let sum = format!("{done} of {} hosts are ready", rows.len());
    let lines = std::iter::once(sum).chain(waiting.take(MOST).map(line)).chain(more);
    // One less: a terminal may begin a line anew when its last column is full.
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(1));
    lines.map(|line| cut(&line, room) + "\n").collect()
}

/// A state in words, and how long a start has taken so far where that is known.
pub(super) fn state(state: &State, seconds: Option<f64>) -> String {
    match state {
        State::Waiting { hosts } => format!("waits for {}", hosts.join(", ")),
        State::Starting => match seconds {
            Some(seconds) => format!("starting, {}", age(seconds)),
            None => "starting".into(),
        },
        State::Ready => "ready".into(),
        State::Restarting => match seconds {
            Some(seconds) => format!("restarting, {}", age(seconds)),
            None => "restarting".into(),
        },
        State::Stopping => "ending".into(),
        State::Failed => "failed".into(),
        State::Ended { well: true } => "ended".into(),
        State::Ended { well: false } => "ended with a failure".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Choice;
    use crate::render::widths::{at_widths, whole};

    fn row(host: &str, state: State) -> Row {
        Row { host: host.into(), state, seconds: 2.0 }
    }

    #[test]
    fn what_is_ready_leaves_the_view() {
        let waits = State::Waiting { hosts: vec!["db".into()] };
        let rows = [row("cache", State::Ready), row("db", State::Starting), row("web", waits)];
        let shown = lines(&rows, Some(30)).concat();
        assert_eq!(shown, "1 of 3 hosts are ready\n  db     starting, 2s\n  web    waits for db\n");
        let narrow = lines(&rows, Some(20)).concat();
        assert_eq!(narrow, "1 of 3 hosts are r…\n  db     starting,…\n  web    waits for…\n");
        assert!(lines(&rows[..1], None).is_empty());
        let many: Vec<Row> = (0..100).map(|number| row(&format!("h{number}"), State::Starting)).collect();
        assert_eq!(lines(&many, None).last().map(String::as_str), Some("  and 88 more\n"));
    }

    #[test]
    fn hosts_on_their_way_fit_the_terminal() {
        let hosts = ["accounts", "a-host-with-a-rather-long-name", "db", "mail", "object-store", "search", "sessions"];
        let waits = State::Waiting { hosts: hosts.map(str::to_owned).to_vec() };
        let mut rows = vec![row("cache", State::Ready), row("a-host-with-a-rather-long-name", State::Starting)];
        rows.extend([row("db", State::Stopping), row("mail", State::Failed), row("web", waits)]);
        rows.extend([true, false].map(|well| row(if well { "job" } else { "search" }, State::Ended { well })));
        insta::assert_snapshot!(at_widths(|look| lines(&rows, look.width).concat()));
    }

    #[test]
    fn all_is_ready_and_there_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("minato.toml");
        let ports = r#"{ 80 = 8080, 443 = "0.0.0.0:8443", "53/udp" = "[::1]:5353", 8000 = [8000, "auto"], "9000-9009" = "9100-9109" }"#;
        let db = "[host.db]\ncommand = 'x'\n";
        let text = format!("network = 'shop'\n{db}[host.web]\ncommand = 'x'\nports = {ports}\n");
        std::fs::write(&file, text).expect("a file");
        let choice = Choice { files: vec![file], network: None, instance: None, subnet: None };
        let lines = all_ready(&choice.plan().expect("a plan"));
        insta::assert_snapshot!(whole(|_| lines.iter().map(|line| format!("{line}\n")).collect()));
    }

    #[test]
    fn elsewhere_only_what_has_changed_is_said() {
        let before = [row("db", State::Starting), row("web", State::Ready)];
        let now = [row("db", State::Ready), row("web", State::Ready)];
        assert_eq!(news(&before, &now), ["db is ready after 2s"]);
        assert!(news(&now, &now).is_empty());
    }
}
