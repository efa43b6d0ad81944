//! `minato doctor`: what minato needs from this machine.

use minato_host::check::{self, Check, CheckState};

use minato_inspect::Collision;

use super::DONE;
use crate::client::Client;
use crate::failure::code;
use crate::render;
use crate::runtime_dir::RuntimeDir;
use crate::terminal::Terminal;

/// Checks everything and shows it.
pub(super) async fn doctor(terminal: &Terminal) -> u8 {
    let mut checks = check::all();
    checks.extend(subnets().await);
    let json: Vec<_> = checks.iter().map(check_as_json).collect();
    terminal.view("checks", &json, |look| render::checks(&checks, look));
    if checks.iter().any(|check| check.state == CheckState::Fail) { code::UNSUPPORTED } else { DONE }
}

/// Whether the subnets of the networks that run hide something of this machine from their hosts. `None`: none runs.
async fn subnets() -> Option<Check> {
    let (mut fine, mut hiding) = (Vec::new(), Vec::new());
    for directory in RuntimeDir::all() {
        let Ok(client) = Client::new(directory) else { continue };
        let Ok(network) = client.network().await else { continue };
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
