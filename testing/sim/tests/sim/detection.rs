//! The simulator notices what it is there to notice.

use std::time::Duration;

use minato_sim::{Bounds, LinkConfig, Loss, Medium, Opening, Step, World};

use super::scenario::*;

fn run(client: &[Step], answer: &[Step], bounds: Bounds) {
    let (mut world, [one, two], _) = World::pair(77, hosts(Medium::IP), &decent());
    world.set_bounds(bounds);
    world.listen(two, server(), answer);
    world.open(Duration::ZERO, one, Opening::new(server(), client));
    world.run();
}

#[test]
#[should_panic(expected = "stuck: no frame is under way and no timer is armed")]
fn ends_that_wait_for_each_other() {
    run(&[Step::Receive(1)], &[Step::Receive(1)], Bounds::default());
}

#[test]
#[should_panic(expected = "of the run of seed 77")]
fn an_end_that_comes_too_early() {
    run(&upload(1_000), &[Step::Receive(1_001)], Bounds::default());
}

#[test]
#[should_panic(expected = "makes no progress")]
fn a_path_that_is_gone() {
    let (mut world, [one, two], links) = World::pair(77, hosts(Medium::IP), &decent());
    for link in links {
        world.change_link(SECOND, link, LinkConfig { loss: Loss::Independent(1.0), ..decent() });
    }
    world.listen(two, server(), &sink());
    world.open(Duration::ZERO, one, Opening::new(server(), &upload(100_000_000)));
    world.run();
}

#[test]
#[should_panic(expected = "more virtual time")]
fn a_run_that_takes_too_long() {
    run(&upload(100_000_000), &sink(), Bounds { time: SECOND, ..Bounds::default() });
}

#[test]
#[should_panic(expected = "more happens")]
fn a_run_in_which_too_much_happens() {
    run(&upload(100_000_000), &sink(), Bounds { events: 1_000, ..Bounds::default() });
}
