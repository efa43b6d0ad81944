//! Names at the proxy.

use super::*;

#[test]
fn names_at_the_proxy_are_those_of_hosts() {
    let proxy = || {
        let mut world = World::machine().held("127.0.0.1 ::1", 7080);
        world.0.machine.as_mut().unwrap()[0].processes[0].name = "minato-proxy".into();
        world
    };
    let texts = [
        proxy().service("web", "0.0.0.0", 80).explain("http://web.default.localhost:7080/"),
        proxy().service("web", "0.0.0.0", 8000).explain("http://web.default.localhost:7080/"),
        proxy().service("web", "0.0.0.0", 8000).explain("http://81.web.default.localhost:7080/"),
        proxy().service("web", "0.0.0.0", 80).explain("http://nobody.default.localhost:7080/"),
        proxy().explain("http://web.default.localhost:7080/"),
        World::machine().service("web", "0.0.0.0", 80).explain("http://web.default.localhost:7080/"),
        World::machine().service("web", "0.0.0.0", 80).explain("http://web.default.localhost:9080/"),
        World::machine().held("127.0.0.1 ::1", 7080).explain("http://web.default.localhost:7080/"),
    ];
    insta::assert_snapshot!(texts.concat());
}
