//! Hosts: their services, their loopback, their gateway, and what is beyond.

use super::*;

#[test]
fn hosts_and_the_world_are_explained_too() {
    let host = || World::new(Subject::Host("web".into(), None));
    let elsewhere = || World::new(Subject::Elsewhere(vec!["192.0.2.9".parse().unwrap()]));
    let at_v6 = World::new(Subject::Host("web".into(), Some("fd77::2".parse().unwrap()))).from("db");
    let texts = [
        host().service("web", "0.0.0.0", 80).tried("10.77.0.2:80", Outcome::Connected).explain("web:80"),
        at_v6.clone().service("web", "0.0.0.0", 80).explain("[fd77::2]:80"),
        at_v6.service("web", "0.0.0.0", 80).service("web", "fd77::2", 80).relay("127.0.0.1:80").explain("[fd77::2]:80"),
        host().service("web", "0.0.0.0", 80).service("web", "fd77::2", 80).relay("127.0.0.1:80").explain("web:80"),
        host().service("web", "0.0.0.0", 80).own_forward("127.77.0.2:80", "web").explain("web:80"),
        host().service("web", "127.0.0.1", 80).explain("web:80"),
        host().service("web", "0.0.0.0", 3000).explain("web:80"),
        host().service("db", "0.0.0.0", 80).explain("web:80"),
        World::new(Subject::Host("nobody".into(), None)).explain("nobody:80"),
        World::new(Subject::Unresolved("no such name".into())).explain("nobody:80"),
        elsewhere().tried("192.0.2.9:80", Outcome::Refused).explain("192.0.2.9:80"),
        elsewhere().tried("192.0.2.9:80", Outcome::TimedOut).explain("192.0.2.9:80"),
        elsewhere().tried("192.0.2.9:80", Outcome::Unreachable("no route".into())).explain("192.0.2.9:80"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn the_loopback_of_a_host_is_its_own() {
    let within = |address: &str| World::new(Subject::Within("web".into(), vec![address.parse().unwrap()])).from("web");
    let texts = [
        within("127.0.0.1").service("web", "127.0.0.1", 80).tried("127.0.0.1:80", Outcome::Connected).explain("80"),
        within("::1").service("web", "127.0.0.1", 80).explain("[::1]:80"),
        within("127.0.0.1").service("web", "10.77.0.2", 80).explain("127.0.0.1:80"),
        within("127.0.0.1").service("db", "0.0.0.0", 80).held("0.0.0.0", 80).explain("127.0.0.1:80"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn what_only_hosts_have_a_way_to_is_not_reached_from_the_machine() {
    let web =
        || World::new(Subject::Host("web".into(), Some("10.77.0.2".parse().unwrap()))).service("web", "0.0.0.0", 80);
    let gateway = || World::new(Subject::Gateway(vec!["10.77.0.1".parse().unwrap()]));
    let tried = |world: World, port: u16, outcome| world.from("web").tried(&format!("10.77.0.1:{port}"), outcome);
    let texts = [
        web().tried("10.77.0.2:80", Outcome::Connected).explain("10.77.0.2:80"),
        web().forward("0.0.0.0:8080", "web", 80).explain("http://10.77.0.2/"),
        web().service("web", "0.0.0.0", 8080).own_forward("127.77.0.2:8080", "web").explain("10.77.0.2:8080"),
        web().from("db").explain("10.77.0.2:80"),
        gateway().explain("10.77.0.1:8080"),
        tried(gateway().held("127.0.0.1", 8080), 8080, Outcome::Refused).explain("gateway:8080"),
        tried(gateway().held("127.0.0.1", 8080), 8080, Outcome::Connected).explain("gateway:8080"),
        tried(gateway(), 8080, Outcome::Refused).explain("gateway:8080"),
        tried(gateway(), 53, Outcome::Connected).explain("gateway:53"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn what_listens_instead_is_told_and_what_a_user_may_bind() {
    let web = || World::new(Subject::Host("web".into(), None)).service("web", "127.0.0.1", 3000);
    let texts = [
        web().explain("web:99"),
        web().service("web", "0.0.0.0", 80).forward("127.0.0.1:8080", "web", 80).explain("web:99"),
        World::machine().explain("22"),
        World::machine().explain("53/udp"),
    ];
    insta::assert_snapshot!(texts.concat());
}
