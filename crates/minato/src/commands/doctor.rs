//! `minato doctor`: what minato needs from this machine.

use std::time::Duration;

use minato_host::check::{self, Check, CheckState};
use minato_inspect::{Collision, Network};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::DONE;
use crate::client::{Client, RequestError};
use crate::failure::code;
use crate::flags::Name;
use crate::render;
use crate::runtime_dir::RuntimeDir;
use crate::terminal::Terminal;

/// How long a network's engine may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks everything and shows it.
pub(super) async fn doctor(terminal: &Terminal) -> u8 {
    let mut checks = check::all();
    checks.extend(networks().await);
    let json: Vec<_> = checks.iter().map(check_as_json).collect();
    terminal.view("checks", &json, |look| render::checks(&checks, look));
    if checks.iter().any(|check| check.state == CheckState::Fail) { code::UNSUPPORTED } else { DONE }
}

/// What can be said of the networks that run: whether their engines answer, and whether their subnets hide something of this
/// machine from their hosts. Nothing where none runs.
async fn networks() -> Vec<Check> {
    let mut asked = JoinSet::new();
    for directory in RuntimeDir::all() {
        let name = directory.network().clone();
        let Ok(client) = Client::new(directory) else { continue };
        asked.spawn(async move {
            let answer = timeout(PATIENCE, client.network()).await.unwrap_or(Err(RequestError::Silent));
            (name, answer)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (mut running, mut silent) = (Vec::new(), Vec::new());
    for (name, answer) in answers {
        match answer {
            Ok(network) => running.push(network),
            Err(RequestError::NotRunning) => {}
            Err(error) => silent.push((name, error)),
        }
    }
    subnets(&running).into_iter().chain(engines(&silent)).collect()
}

/// Engines that don't answer. `None`: all that run do.
fn engines(silent: &[(Name, RequestError)]) -> Option<Check> {
    let words = |(name, error): &(Name, RequestError)| format!("network '{name}': {}", error.reason());
    let fix = silent.iter().find_map(|(name, error)| match error {
        RequestError::Stopped(pid) => Some(format!("kill -CONT {pid}    # network '{name}'")),
        _ => None,
    });
    let evidence = silent.iter().map(words).collect::<Vec<_>>().join("; ");
    (!silent.is_empty()).then_some(Check { name: "engines", state: CheckState::Warn, evidence, fix })
}

/// Whether networks hide something. `None`: none runs.
fn subnets(running: &[Network]) -> Option<Check> {
    let (mut fine, mut hiding) = (Vec::new(), Vec::new());
    for network in running {
        match network.collisions.as_slice() {
            [] => fine.push(format!("{} {}", network.name, network.subnet_v4)),
            all => hiding.extend(all.iter().map(|Collision { hidden, what }| {
                format!("network '{}' hides {hidden} of this machine's from its hosts: {what}", network.name)
            })),
        }
    }
    let check = |state, evidence, fix| Some(Check { name: "subnets", state, evidence, fix });
    if !hiding.is_empty() {
        let fix = "end the network's hosts and start them again: it gets another subnet then, unless it is fixed";
        return check(CheckState::Warn, hiding.join("; "), Some(fix.into()));
    }
    if fine.is_empty() {
        None
    } else {
        check(CheckState::Ok, format!("nothing is hidden by {}", fine.join(", ")), None)
    }
}

/// A check as views have it.
pub(crate) fn check_as_json(check: &Check) -> serde_json::Value {
    let state = match check.state {
        CheckState::Ok => "ok",
        CheckState::Warn => "warn",
        CheckState::Fail => "fail",
    };
    serde_json::json!({ "name": check.name, "state": state, "evidence": check.evidence, "fix": check.fix })
}
