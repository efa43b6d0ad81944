//! What can't be seen is not concluded from.

use super::*;

#[test]
fn a_silent_port_of_the_gateway_may_be_opened() {
    let gateway = |addresses: &[&str]| {
        World::new(Subject::Gateway(addresses.iter().map(|address| address.parse().unwrap()).collect())).from("web")
    };
    let one = || gateway(&["10.77.0.1"]).held("127.0.0.1", 8080).udp();
    let told = |world: World| world.explain("gateway:8080/udp");

    let silent = told(one().tried("10.77.0.1:8080", Outcome::Silent));
    assert!(silent.contains("--host-port 8080 may lead there") && silent.ends_with("-> 0\n\n"), "{silent}");
    assert!(!silent.contains("does not seem to be opened"), "{silent}");

    let refused = told(one().tried("10.77.0.1:8080", Outcome::Refused));
    assert!(refused.contains("does not seem to be opened to web") && refused.ends_with("-> 12\n\n"), "{refused}");

    // The other family has nobody.
    let both = gateway(&["10.77.0.1", "fd77::1"]).held("127.0.0.1", 8080).udp();
    let both = both.tried("10.77.0.1:8080", Outcome::Silent).tried("[fd77::1]:8080", Outcome::Refused);
    let both = told(both);
    assert!(both.contains("--host-port 8080 may lead there") && both.ends_with("-> 0\n\n"), "{both}");

    // Nothing is there to be led to: silence proves nothing against that.
    let nobody = told(gateway(&["10.77.0.1"]).tried("10.77.0.1:8080", Outcome::Silent));
    assert!(nobody.contains("nothing is on 127.0.0.1:8080"), "{nobody}");
    assert!(!nobody.ends_with("-> 0\n\n"), "{nobody}");
}

#[test]
fn whether_a_proxy_runs_is_unknown_where_sockets_can_not_be_seen() {
    let mut world = World::machine().service("web", "0.0.0.0", 80);
    let seen = world.explain("http://web.default.localhost:7080/");
    assert!(seen.contains("none has port 7080"), "{seen}");
    world.0.machine = Err("Operation not permitted".into());
    let unseen = world.explain("http://web.default.localhost:7080/");
    assert!(!unseen.contains("none has port") && unseen.contains("can't be looked at"), "{unseen}");
}
