//! What the policy of a host refuses, and hosts that go another way out.

use super::*;

#[test]
fn what_a_policy_refuses_is_explained_by_it() {
    let elsewhere = || World::new(Subject::Elsewhere(vec!["192.0.2.7".parse().unwrap()]));
    let name = |world: World| world.policy(true, "the policy of web allows *.test:443", None);
    let texts = [
        elsewhere().policy(false, "no rule of web allows 192.0.2.7:80", Some("192.0.2.7:80")).explain("192.0.2.7:80"),
        name(elsewhere()).policy(false, "the policy of web denies 192.0.2.0/24", None).explain("a.test:443"),
        World::new(Subject::Unresolved("no such name".into()))
            .policy(false, "no rule of web allows the name b.test", Some("b.test"))
            .explain("b.test:443"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn a_policys_sentence_is_said_once() {
    let all = "the policy of web allows all";
    let world = World::new(Subject::Elsewhere(vec!["192.0.2.7".parse().unwrap()]));
    let text = world.policy(true, all, None).policy(true, all, None).explain("a.test:80");
    assert_eq!(text.matches(all).count(), 1, "{text}");
}

#[test]
fn a_direct_host_is_said_to_go_another_way_than_the_trial() {
    let world = |direct: bool| {
        let mut world = World::new(Subject::Elsewhere(vec!["192.0.2.7".parse().unwrap()]));
        world.0.from = Some("web".into());
        world.network().hosts[0].direct = direct;
        assert_eq!(world.network().hosts[0].name, "web");
        world
    };
    let told = |world: World, target: &str| world.explain(target).contains("programs of web connect over sockets");
    assert!(told(world(true), "192.0.2.7:80"));
    assert!(!told(world(true), "192.0.2.7:80/udp"));
    assert!(!told(world(false), "192.0.2.7:80"));
}
