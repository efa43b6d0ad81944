//! The ways in which connections begin and end.

use std::time::Duration;

use minato_sim::{Bounds, LinkConfig, Loss, Medium, Opening, Outcome, Step, World, seed};
use minato_transport::ResetReason;

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
