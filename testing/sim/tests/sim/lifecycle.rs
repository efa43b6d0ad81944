//! The ways in which connections begin and end.

use std::time::Duration;

use minato_sim::{Bounds, LinkConfig, Loss, Medium, Opening, Outcome, Report, Step, World, seed};
use minato_transport::ResetReason;
use minato_transport::tcp::{KeepAlive, SocketOptions};

use super::scenario::*;

#[test]
fn a_half_closed_connection_still_carries_the_answer() {
    for (seed, link) in seeded_links(1001) {
        let client = [Step::Send(5_000), Step::Shutdown, Step::Pause(SECOND), Step::ReceiveEnd];
        let answer = [Step::ReceiveEnd, Step::Pause(SECOND), Step::Send(300_000), Step::Shutdown];
        play(seed, hosts(Medium::IP), &link, server(), &client, &answer);
    }
}

#[test]
fn two_hosts_that_call_each_other_at_once_get_one_connection() {
    for (seed, link) in seeded_links(1101) {
        let (mut world, [one, two], _) = World::pair(minato_sim::seed(seed), hosts(Medium::IP), &link);
        let ends = ["10.0.0.1:4000", "10.0.0.2:4000"].map(|end| end.parse().unwrap());
        for (host, local, remote) in [(one, ends[0], ends[1]), (two, ends[1], ends[0])] {
            let opening = Opening { local: Some(local), ..Opening::new(remote, &exchange(20_000)) };
            world.open(Duration::ZERO, host, opening);
        }
        world.run().assert_complete();
        world.settle();
    }
}

#[test]
fn nobody_listens() {
    let (mut world, [one, _], _) = World::pair(seed(1201), hosts(Medium::ETHERNET), &decent());
    world.open(Duration::ZERO, one, Opening::new(server(), &upload(1)));
    let report = world.run();
    assert_eq!(report.flows[0].outcome, Outcome::Reset(ResetReason::Refused), "{report}");
    assert!(report.flows[0].duration() < 100 * MILLISECOND, "{report}");
    world.settle();
}

#[test]
fn nobody_answers() {
    let dead = LinkConfig { loss: Loss::Independent(1.0), ..decent() };
    let (mut world, [one, _], _) = World::pair(seed(1202), hosts(Medium::IP), &dead);
    world.set_bounds(Bounds { patience: 600 * SECOND, ..Bounds::default() });
    world.open(Duration::ZERO, one, Opening::new(server(), &upload(1)));
    let report = world.run();
    assert_eq!(report.flows[0].outcome, Outcome::Reset(ResetReason::TimedOut), "{report}");
    world.settle();
}

#[test]
fn a_reset_reaches_the_other_end() {
    let (mut world, [one, two], _) = World::pair(seed(1203), hosts(Medium::IP), &decent());
    world.listen(two, server(), &[Step::AwaitReset]);
    world.open(Duration::ZERO, one, Opening::new(server(), &[Step::Send(10_000), Step::Pause(SECOND), Step::Abort]));
    let report = world.run();
    let outcomes: Vec<_> = report.flows.iter().map(|flow| flow.outcome).collect();
    assert_eq!(outcomes, [Outcome::Aborted, Outcome::Reset(ResetReason::ByPeer)], "{report}");
    world.settle();
}

/// The reader sleeps, the window shuts, and opens again by an update or, if that is lost, by a probe.
#[test]
fn a_shut_window_opens_again() {
    for (seed, link) in seeded_links(1301) {
        let lazy = [Step::Receive(10_000), Step::Pause(10 * SECOND), Step::Receive(10_000), Step::Pause(SECOND)];
        let answer = [&lazy[..], &sink()].concat();
        play(seed, hosts(Medium::IP), &link, server(), &upload(600_000), &answer);
    }
}

#[test]
fn a_connection_outlives_an_outage() {
    let (mut world, [one, two], links) = World::pair(seed(1401), hosts(Medium::IP), &decent());
    world.listen(two, server(), &sink());
    world.open(Duration::ZERO, one, Opening::new(server(), &upload(5_000_000)));
    for link in links {
        world.change_link(SECOND, link, LinkConfig { loss: Loss::Independent(1.0), ..decent() });
        world.change_link(31 * SECOND, link, decent());
    }
    let report = world.run();
    report.assert_complete();
    // The timer doubles from 0.2 s, so that the first retransmission after 30 s comes at most 30 s late.
    assert!(report.time < 65 * SECOND, "{report}");
}

#[test]
fn many_short_connections() {
    for (seed, link) in seeded_links(1501) {
        let (mut world, [one, two], _) = World::pair(minato_sim::seed(seed), hosts(Medium::ETHERNET), &link);
        world.listen(two, server(), &[Step::Receive(100), Step::Send(1_000), Step::Shutdown, Step::ReceiveEnd]);
        let client = [Step::Send(100), Step::Receive(1_000), Step::ReceiveEnd, Step::Shutdown];
        for _ in 0..10 {
            world.open(Duration::ZERO, one, Opening { repeat: 19, ..Opening::new(server(), &client) });
        }
        let report = world.run();
        report.assert_complete();
        assert_eq!(report.flows.len(), 400, "{report}");
        world.settle();
    }
}

/// The server closes first and remembers in TIME-WAIT; the client comes back from the same port (RFC 6191).
#[test]
fn a_port_is_used_again_while_the_server_remembers() {
    for (seed, link) in seeded_links(1601) {
        let (mut world, [one, two], _) = World::pair(minato_sim::seed(seed), hosts(Medium::IP), &link);
        world.listen(two, server(), &[Step::Receive(100), Step::Send(1_000), Step::Shutdown, Step::ReceiveEnd]);
        let client = [Step::Send(100), Step::Receive(1_000), Step::ReceiveEnd, Step::Shutdown, Step::Pause(SECOND)];
        let local = Some("10.0.0.1:5000".parse().unwrap());
        world.open(Duration::ZERO, one, Opening { local, repeat: 9, ..Opening::new(server(), &client) });
        let report = world.run();
        report.assert_complete();
        assert_eq!(report.flows.len(), 20, "{report}");
        world.settle();
    }
}

/// Both ends, whose connection stands when the path dies, and how it ends.
fn outcomes_on_a_dead_path(change: impl Fn(&mut SocketOptions), script: &[Step]) -> Report {
    let hosts = hosts(Medium::IP).map(|mut config| {
        change(&mut config.tcp.options);
        config
    });
    let (mut world, [one, two], links) = World::pair(seed(1701), hosts, &decent());
    for link in links {
        world.change_link(SECOND, link, LinkConfig { loss: Loss::Independent(1.0), ..decent() });
    }
    world.set_bounds(Bounds { patience: 1_000 * SECOND, ..Bounds::default() });
    world.listen(two, server(), &[Step::AwaitReset]);
    world.open(Duration::ZERO, one, Opening::new(server(), script));
    let report = world.run();
    world.settle();
    report
}

#[test]
fn an_idle_connection_notices_a_dead_path_if_asked_to() {
    let report = outcomes_on_a_dead_path(
        |options| options.keep_alive = Some(KeepAlive::after(10 * SECOND)),
        &[Step::AwaitReset],
    );
    assert!(report.flows.iter().all(|flow| flow.outcome == Outcome::Reset(ResetReason::TimedOut)), "{report}");
}

#[test]
fn unacknowledged_data_is_given_up() {
    let send = [Step::Pause(2 * SECOND), Step::Send(1_000), Step::AwaitReset];
    let change = |options: &mut SocketOptions| {
        options.user_timeout = 30 * SECOND;
        options.keep_alive = Some(KeepAlive::after(60 * SECOND));
    };
    let report = outcomes_on_a_dead_path(change, &send);
    let sender = &report.flows[0];
    assert_eq!(sender.outcome, Outcome::Reset(ResetReason::TimedOut), "{report}");
    let late = sender.finished.unwrap() - 2 * SECOND;
    assert!((30 * SECOND..60 * SECOND).contains(&late), "{report}");
}
