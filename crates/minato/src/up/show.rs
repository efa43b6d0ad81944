//! Programs of a network that is up, as `minato ps` shows them below its hosts.

use super::board::State;
use super::logs::author;
use super::presence::Status;
use super::progress;
use crate::render::Look;
use crate::render::table::{Cell, Column, Table, Tone};

/// The table of programs, and of hosts that have none yet.
pub(crate) fn table(status: &Status, look: &Look) -> String {
    let mut table = Table::new([
        Column::shrinks("SERVICE", 8),
        Column::shrinks("STATE", 12),
        Column::number("PID"),
        Column::number("RESTARTS"),
        Column::number("EXIT CODE"),
    ]);
    for (host, state) in &status.hosts {
        let odd = matches!(state, State::Failed | State::Restarting | State::Ended { well: false });
        let shown = || Cell::new(progress::state(state, None), if odd { Tone::Odd } else { Tone::Plain });
        let mut programs = status.services.iter().filter(|service| service.host == host.as_str()).peekable();
        if programs.peek().is_none() {
            table.row([host.to_string().into(), shown(), "–".into(), "–".into(), "–".into()]);
        }
        for program in programs {
            let name = author(host, program.service.as_ref());
            let number = |number: Option<u32>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
            table.row([
                name.into(),
                shown(),
                number(program.pid).into(),
                program.restarts.to_string().into(),
                number(program.exit_code.map(u32::from)).into(),
            ]);
        }
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::widths::at_widths;
    use crate::up::presence::ServiceStatus;

    #[test]
    fn programs() {
        let service = |host: &str, service: Option<&str>, pid, exit_code, restarts| ServiceStatus {
            host: host.into(),
            service: service.map(str::to_owned),
            pid,
            exit_code,
            restarts,
        };
        let waiting = ["db", "cache", "object-store", "sessions", "search", "accounts", "mail", "queue", "metrics"];
        let hosts = [
            ("db", State::Ready),
            ("web", State::Ended { well: false }),
            ("a-host-with-a-rather-long-name", State::Starting),
            ("crashing", State::Restarting),
            ("last", State::Waiting { hosts: waiting.map(str::to_owned).to_vec() }),
        ];
        let status = Status {
            hosts: hosts.into_iter().map(|(name, state)| (name.parse().expect("a name"), state)).collect(),
            services: vec![
                service("db", None, Some(4190), None, 0),
                service("web", Some("front"), Some(4121), Some(137), 12),
                service("web", Some("a-service-with-a-rather-long-name"), None, Some(3), 5),
                service("a-host-with-a-rather-long-name", None, Some(4_194_303), None, 0),
            ],
        };
        insta::assert_snapshot!(at_widths(|look| table(&status, look)));
    }
}
