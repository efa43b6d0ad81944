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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::widths::whole;

    #[test]
    fn what_is_fine_and_what_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().display().to_string();
        let check = |text: &str| {
            let file = directory.path().join("minato.toml");
            std::fs::write(&file, text).expect("a file");
            Choice { files: vec![file], network: None, instance: None, subnet: None }.plan()
        };
        let fine = check(
            "network = \"shop\"\n[host.web]\ncommand = \"x\"\ndepends-on = [\"db\"]\n[host.db]\ncommand = \"x\"\n",
        );
        let fine = fine.expect("a plan");
        insta::assert_snapshot!("fine", whole(|_| sentence(&fine)));
        let wrong = "network = \"shop\"\n[host.web]\ncomand = \"x\"\nports = { 70000 = 1, 81 = \"8081:x\" }\n";
        let failure = check(wrong).expect_err("it is wrong").into_failure();
        let lines = failure.lines().join("\n").replace(&place, "DIR");
        insta::assert_snapshot!("wrong", whole(|_| lines.clone()));
    }
}
