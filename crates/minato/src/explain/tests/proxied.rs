//! Names at the proxy.

use minato_inspect::Unknown;

use super::*;

#[test]
fn names_at_the_proxy_are_those_of_hosts() {
    let proxy = || {
        let mut world = World::machine().held("127.0.0.1 ::1", 7080);
        world.0.machine.as_mut().unwrap()[0].processes[0].name = "minato-proxy".into();
        world
    };
    let secure = |tls: Option<bool>| {
        let mut world = proxy().service("web", "0.0.0.0", 80);
        world.0.tls = tls;
        world.explain("https://web.default.localhost:7080/")
    };
    let of_another = |unknown: bool| {
        let mut world = proxy().service("web", "0.0.0.0", 80);
        world.0.user = 1001;
        let row = &mut world.0.machine.as_mut().unwrap()[0];
        if unknown {
            row.processes.clear();
            row.process_unknown = Some(Unknown::NoPermission);
        }
        world.explain("http://web.default.localhost:7080/")
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
        secure(Some(true)),
        secure(Some(false)),
        secure(None),
        of_another(false),
        of_another(true),
    ];
    insta::assert_snapshot!(texts.concat());
}
