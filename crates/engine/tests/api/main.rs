//! The control API over its Unix socket, against an engine that runs in this process.
//!
//! This program is also the engine's agent (`__agent`). It moves into a network namespace of its own before it does
//! anything, so that it holds no port of the machine; for that it needs root.
#![allow(clippy::disallowed_methods)]

mod client;
mod contract;
mod dial;
mod engine;
mod events;
mod forwards;
mod refusals;
mod sessions;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

/// Set inside the namespace.
const INSIDE: &str = "MINATO_ENGINE_TEST_NAMESPACE";

/// Every test, by name.
const TESTS: &[(&str, fn())] = &[
    ("the_socket_is_private", refusals::the_socket_is_private),
    ("what_does_not_exist_is_a_problem", refusals::what_does_not_exist_is_a_problem),
    ("nonsense_is_refused_and_changes_nothing", refusals::nonsense_is_refused_and_changes_nothing),
    ("every_operation_answers_as_documented", contract::every_operation_answers_as_documented),
    ("bad_requests_get_a_documented_problem_and_change_nothing", contract::bad_requests_change_nothing),
    ("a_second_engine_is_refused", refusals::a_second_engine_is_refused),
    ("a_session_opens_a_host", sessions::a_session_opens_a_host),
    ("a_host_lasts_as_long_as_its_last_session", sessions::a_host_lasts_as_long_as_its_last_session),
    ("a_lost_connection_ends_the_session", sessions::a_lost_connection_ends_the_session),
    ("a_network_stays_while_somebody_wants_it", sessions::a_network_stays_while_somebody_wants_it),
    ("names_are_derived_and_unique", sessions::names_are_derived_and_unique),
    ("ports_are_free_while_programs_have_their_grace", sessions::ports_are_free_while_programs_have_their_grace),
    ("a_name_is_free_again_at_once", sessions::a_name_is_free_again_at_once),
    ("forwards_follow_their_service", forwards::forwards_follow_their_service),
    ("forwards_are_held_all_or_none", forwards::forwards_are_held_all_or_none),
    ("forwards_come_and_go", forwards::forwards_come_and_go),
    ("bulk_passes_whole_and_in_order", forwards::bulk_passes_whole_and_in_order),
    ("a_service_is_found_from_its_first_moment_on", dial::a_service_is_found_from_its_first_moment_on),
    ("a_service_sees_the_gateway", dial::a_service_sees_the_gateway),
    ("everything_that_happens_is_told", events::everything_that_happens_is_told),
    ("who_comes_later_is_told_what_happens_from_then_on", events::who_comes_later_is_told_what_happens_from_then_on),
    ("who_does_not_read_hurts_nobody", events::who_does_not_read_hurts_nobody),
    ("forwards_added_while_the_host_ends_are_given_back", forwards::forwards_added_while_the_host_ends_are_given_back),
    ("fifteen_thousand_forwards", forwards::fifteen_thousand_forwards),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "__agent") {
        return minato_host::agent::main();
    }
    let parsed = Arguments::from_args();
    if parsed.list || std::env::var_os(INSIDE).is_some() {
        let trial = |(name, body): &(&'static str, fn())| {
            let body = *body;
            Trial::test(*name, move || {
                body();
                Ok(())
            })
        };
        return libtest_mimic::run(&parsed, TESTS.iter().map(trial).collect()).exit_code();
    }
    if let Some(reason) = cannot_run() {
        eprintln!("SKIPPED: the API's tests: {reason}");
        return if std::env::var_os("CI").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let program = std::env::current_exe().expect("the path of this program");
    let error = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(program)
        .args(arguments)
        .env(INSIDE, "1")
        .exec();
    panic!("can't make a network namespace: {error}");
}

fn cannot_run() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("a network namespace of their own needs root");
    }
    (!Path::new("/dev/net/tun").exists()).then_some("there is no /dev/net/tun (try: modprobe tun)")
}
