//! How long small exchanges take.

use minato_sim::{Medium, Step};

use super::scenario::*;

/// Seconds that each of a hundred exchanges takes over a clean path of 20 ms.
fn seconds_per_exchange(ask: &[Step], answer: &[Step], nagle: bool) -> f64 {
    let hosts = hosts(Medium::IP).map(|mut config| {
        config.tcp.options.nagle = nagle;
        config
    });
    let end = [Step::Shutdown, Step::ReceiveEnd];
    let [client, server_script] = [ask, answer].map(|steps| [&steps.repeat(100)[..], &end].concat());
    let (report, _, _) = play(7001, hosts, &decent(), server(), &client, &server_script);
    report.flows[0].duration().as_secs_f64() / 100.0
}

#[test]
fn a_request_takes_a_round_trip() {
    for (request, response) in [(1, 1), (200, 3_000), (5_000, 100), (1_448, 1_449)] {
        let ask = [Step::Send(request), Step::Receive(response)];
        let answer = [Step::Receive(request), Step::Send(response)];
        // Every byte takes 0.4 µs; headers and the handshake come on top.
        let least = 0.020 + (request + response) as f64 * 0.4e-6;
        let seconds = seconds_per_exchange(&ask, &answer, false);
        assert!((least..least * 1.05).contains(&seconds), "{request} and {response}: {seconds} s");
        // With Nagle's algorithm the last part waits for the acknowledgement of what is before it, which may be delayed.
        let seconds = seconds_per_exchange(&ask, &answer, true);
        assert!((least..least * 1.05 + 0.060).contains(&seconds), "{request} and {response}, Nagle: {seconds} s");
    }
}

#[test]
fn two_writes_do_not_wait_without_nagle() {
    let parts = [Step::Send(100), Step::Send(100), Step::Receive(100)];
    let answer = [Step::Receive(200), Step::Send(100)];
    let seconds = seconds_per_exchange(&parts, &answer, false);
    assert!(seconds < 0.0225, "{seconds} s");
}
