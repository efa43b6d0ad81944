//! Forwards: those at other addresses, those of file transfer, and those of the user's other networks.

use super::*;

#[test]
fn forwards_elsewhere_are_told_with_what_mends_them() {
    let other_family = |from: &str, bound: &str| {
        let mut world = World::machine().service("web", bound, 80).forward(from, "web", 80);
        world.network().forwards[0].state = ForwardState::OtherFamily;
        world
    };
    let web = || World::machine().service("web", "0.0.0.0 ::", 80);
    let at = |address: &str| World::new(Subject::Machine(vec![address.parse().unwrap()]));
    let own = at("127.77.0.2").service("web", "0.0.0.0", 8080);
    let texts = [
        other_family("[::]:8086", "0.0.0.0").explain("8086"),
        other_family("0.0.0.0:9104", "::").explain("9104"),
        at("127.0.0.1")
            .service("web", "0.0.0.0", 80)
            .forward("[::1]:8085", "web", 80)
            .held("::1", 8085)
            .explain("127.0.0.1:8085"),
        web().forward("192.0.2.7:8085", "web", 80).held("192.0.2.7", 8085).explain("8085"),
        own.explain("127.77.0.2:8080"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn other_networks_of_the_user_are_named() {
    let held = || World::machine().held("127.0.0.1 ::1", 8080).beside("shop", "127.0.0.1:8080");
    let unresolved = || World::new(Subject::Unresolved("no such name".into()));
    let texts = [
        held().explain("8080"),
        held().service("db", "0.0.0.0", 8080).explain("8080"),
        unresolved().beside("shop", "127.0.0.1:8080").explain("web:80"),
        unresolved().beside("shop", "127.0.0.1:8080").explain("db:80"),
        World::machine().beside("shop", "127.0.0.1:8080").explain("9090"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn file_transfer_needs_more_than_one_port() {
    let ftp = || World::machine().service("web", "0.0.0.0 ::", 21);
    let told = |world: World, target: &str| {
        let text = world.explain(target);
        let line = text.lines().find(|line| line.contains("opens another port for each file"));
        line.map(|line| line.rsplit(" and ").next().unwrap_or_default().to_owned())
    };
    let pair = |world: World, host_port: u16, port: u16| {
        let forward = |world: World, address: &str| world.forward(&format!("{address}:{host_port}"), "web", port);
        forward(forward(world, "127.0.0.1"), "[::1]")
    };
    let add = |at: &str| Some(format!("minato forward add -p {at}30000-30009:30000-30009 web"));
    assert_eq!(told(pair(ftp(), 2121, 21), "2121"), add(""));
    assert_eq!(told(ftp().forward("127.0.0.1:2121", "web", 21), "127.0.0.1:2121"), add("127.0.0.1:"));
    // Another number is of no use to the client; the own one is.
    assert_eq!(told(pair(pair(ftp(), 2121, 21), 8080, 80), "2121"), add(""));
    assert_eq!(told(pair(pair(ftp(), 2121, 21), 30000, 30000), "2121"), None);
    assert_eq!(told(pair(World::machine().service("web", "0.0.0.0 ::", 80), 8080, 80), "8080"), None);
}
