//! `minato check`: what a file says, and what is wrong with it, without running anything.

use serde::Serialize;

use super::DONE;
use crate::failure::{Failure, code};
use crate::file::{Choice, Finding, Plan, Problems};
use crate::terminal::Terminal;

/// What was found, as `--json` shows it.
#[derive(Serialize)]
struct Checked {
    ok: bool,
    network: Option<String>,
    /// In the order in which they start.
    hosts: Vec<String>,
    problems: Vec<Finding>,
}

/// Reads the files and says what they mean, or what is wrong with them.
pub(super) fn check(choice: &Choice, terminal: &Terminal) -> Result<u8, Failure> {
    match choice.plan() {
        Ok(plan) => {
            terminal.view("check", &Checked::from(&plan), |_| sentence(&plan));
            Ok(DONE)
        }
        Err(problems) if terminal.json && problems.is_in_file() => {
            terminal.view("check", &Checked::from(&problems), |_| String::new());
            Ok(code::USAGE)
        }
        Err(problems) => Err(problems.into_failure()),
    }
}

fn sentence(plan: &Plan) -> String {
    let names = plan.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
    let hosts = if plan.hosts.len() == 1 { "host" } else { "hosts" };
    format!("fine: network {}, {} {hosts}, in this order: {names}\n", plan.network, plan.hosts.len())
}

impl From<&Plan> for Checked {
    fn from(plan: &Plan) -> Checked {
        let hosts = plan.hosts.iter().map(|host| host.name.to_string()).collect();
        Checked { ok: true, network: Some(plan.network.to_string()), hosts, problems: Vec::new() }
    }
}

impl From<&Problems> for Checked {
    fn from(problems: &Problems) -> Checked {
        Checked { ok: false, network: None, hosts: Vec::new(), problems: problems.findings() }
    }
}
