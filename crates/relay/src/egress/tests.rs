#![allow(clippy::disallowed_methods, reason = "an arbitrary point in time; std offers no other way to make one")]

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn rules(texts: &[&str]) -> Vec<EgressRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn shut(allow: &[&str], deny: &[&str]) -> Egress {
    Egress::new(false, rules(allow), rules(deny))
}

fn labels(name: &str) -> Vec<&[u8]> {
    name.split('.').map(str::as_bytes).collect()
}

/// `ADDRESS PORT/TRANSPORT`, or `ADDRESS` for echo.
fn to(text: &str) -> Destination {
    let (address, port) = text.split_once(' ').map_or((text, None), |(address, port)| (address, Some(port)));
    let port = port.map(|port| {
        let (port, transport) = port.split_once('/').unwrap();
        (transport.parse().unwrap(), port.parse().unwrap())
    });
    Destination { address: address.parse().unwrap(), port }
}

fn rule(text: &str) -> Verdict {
    Verdict::Admitted(Some(text.parse().unwrap()))
}

fn denied(text: &str) -> Verdict {
    Verdict::Refused(EgressRefusal::Denied(text.parse().unwrap()))
}

const NOT_ALLOWED: Verdict = Verdict::Refused(EgressRefusal::NotAllowed(None));

#[test]
fn the_deciding_rule_is_named() {
    let allow = ["10.0.0.0/8:5432", "[2001:db8::]/32:443/tcp", "192.0.2.1:1-1024/udp", "203.0.113.7"];
    let egress = shut(&allow, &["10.9.0.0/16", "203.0.113.0/24:25"]);
    for (destination, verdict) in [
        ("10.1.2.3 5432/tcp", rule("10.0.0.0/8:5432")),
        ("10.1.2.3 5432/udp", rule("10.0.0.0/8:5432")),
        ("10.1.2.3 5433/tcp", NOT_ALLOWED),
        ("11.1.2.3 5432/tcp", NOT_ALLOWED),
        ("10.9.2.3 5432/tcp", denied("10.9.0.0/16")),
        ("2001:db8:1::1 443/tcp", rule("[2001:db8::]/32:443/tcp")),
        ("2001:db8:1::1 443/udp", NOT_ALLOWED),
        ("2001:db9::1 443/tcp", NOT_ALLOWED),
        ("192.0.2.1 1024/udp", rule("192.0.2.1:1-1024/udp")),
        ("192.0.2.1 1024/tcp", NOT_ALLOWED),
        ("203.0.113.7 25/tcp", denied("203.0.113.0/24:25")),
        ("203.0.113.7 26/tcp", rule("203.0.113.7")),
        // Echo has no port, so only rules for everything count.
        ("203.0.113.7", rule("203.0.113.7")),
        ("10.1.2.3", NOT_ALLOWED),
        ("10.9.2.3", denied("10.9.0.0/16")),
    ] {
        assert_eq!(egress.judge(Instant::now(), to(destination)), verdict, "{destination}");
    }
    let open = Egress::new(true, Vec::new(), rules(&["169.254.169.254"]));
    assert_eq!(open.judge(Instant::now(), to("192.0.2.1 80/tcp")), Verdict::Admitted(None));
    assert_eq!(open.judge(Instant::now(), to("169.254.169.254 80/tcp")), denied("169.254.169.254"));
    assert!(open.may_ask(&labels("anything.test")));
}

#[test]
fn a_name_admits_the_addresses_that_it_was_answered_with() {
    let mut egress = shut(&["*.example.com:443", "other.test"], &["192.0.2.66"]);
    let now = Instant::now();
    assert_eq!(egress.judge(now, to("192.0.2.1 443/tcp")), NOT_ALLOWED, "not yet");
    egress.learn(now, &labels("www.example.com"), "192.0.2.1".parse().unwrap(), HOUR, true);
    egress.learn(now, &labels("www.example.com"), "2001:db8::1".parse().unwrap(), HOUR, true);
    egress.learn(now, &labels("www.example.com"), "192.0.2.66".parse().unwrap(), HOUR, true);
    egress.learn(now, &labels("unrelated.test"), "192.0.2.3".parse().unwrap(), HOUR, true);
    assert_eq!(egress.judge(now, to("192.0.2.1 443/tcp")), rule("*.example.com:443"));
    assert_eq!(egress.judge(now, to("2001:db8::1 443/udp")), rule("*.example.com:443"));
    assert_eq!(egress.judge(now, to("192.0.2.2 443/tcp")), NOT_ALLOWED, "another address");
    assert_eq!(egress.judge(now, to("192.0.2.3 443/tcp")), NOT_ALLOWED, "a name that no rule is about");
    assert_eq!(egress.judge(now, to("192.0.2.66 443/tcp")), denied("192.0.2.66"), "rebound to what is denied");
    let other_port = Verdict::Refused(EgressRefusal::NotAllowed(Some("www.example.com".into())));
    assert_eq!(egress.judge(now, to("192.0.2.1 80/tcp")), other_port);
    assert_eq!(egress.judge(now, to("192.0.2.1")), other_port, "echo");
    // The same address by another name, with other ports.
    egress.learn(now, &labels("other.test"), "192.0.2.1".parse().unwrap(), HOUR, true);
    assert_eq!(egress.judge(now, to("192.0.2.1 80/tcp")), rule("other.test"));
    assert_eq!(egress.judge(now, to("192.0.2.1 443/tcp")), rule("*.example.com:443"));
}

#[test]
fn a_name_does_not_lead_where_no_name_may() {
    let mut egress = shut(&["rebound.test"], &[]);
    let (now, inner) = (Instant::now(), "10.0.0.5".parse().unwrap());
    egress.learn(now, &labels("rebound.test"), inner, HOUR, false);
    let unfit = Verdict::Refused(EgressRefusal::Unfit("rebound.test".into()));
    assert_eq!(egress.judge(now, to("10.0.0.5 80/tcp")), unfit);
    let mut both = shut(&["rebound.test", "10.0.0.5:80"], &[]);
    both.learn(now, &labels("rebound.test"), inner, HOUR, false);
    assert_eq!(both.judge(now, to("10.0.0.5 80/tcp")), rule("10.0.0.5:80"));
}

#[test]
fn only_names_that_rules_are_about_may_be_asked_for() {
    let egress = shut(&["*.example.com:443", "10.0.0.0/8"], &[]);
    assert!(egress.may_ask(&labels("WWW.example.com")));
    assert!(!egress.may_ask(&labels("example.com")) && !egress.may_ask(&labels("secret.evil.test")));
    assert!(shut(&["dns"], &[]).may_ask(&labels("anything.test")));
    let https = Some((Transport::Tcp, 443));
    assert_eq!(egress.judge_name(&labels("a.example.com"), https), rule("*.example.com:443"));
    assert_eq!(egress.judge_name(&labels("a.example.com"), None), NOT_ALLOWED);
    assert_eq!(egress.judge_name(&labels("example.com"), https), NOT_ALLOWED);
    assert_eq!(Egress::new(true, Vec::new(), Vec::new()).judge_name(&labels("a"), None), Verdict::Admitted(None));
}

#[test]
fn what_was_granted_lasts_as_long_as_it_is_used() {
    let mut egress = shut(&["a.test"], &[]);
    let (start, address) = (Instant::now(), "192.0.2.1".parse().unwrap());
    let admits = |egress: &Egress, at| egress.judge(at, to("192.0.2.1 80/tcp")) == rule("a.test");
    egress.learn(start, &labels("a.test"), address, 3 * HOUR, true);
    assert!(admits(&egress, start + 2 * HOUR) && !admits(&egress, start + 3 * HOUR));
    egress.flow_begins(start, address);
    egress.flow_begins(start, address);
    egress.flow_ends(start, address);
    assert!(admits(&egress, start + 50 * HOUR));
    egress.flow_ends(start + 50 * HOUR, address);
    assert!(admits(&egress, start + 50 * HOUR + HOUR / 2) && !admits(&egress, start + 51 * HOUR));
    // A short life is made longer.
    egress.learn(start, &labels("a.test"), address, Duration::ZERO, true);
    assert!(admits(&egress, start + HOUR / 2));
}

#[test]
fn flows_count_whether_or_not_the_address_was_known_when_they_began() {
    // The address is admitted by its rule, and then a name leads there as well.
    let mut egress = shut(&["192.0.2.1:80/tcp", "a.test"], &[]);
    let (start, address) = (Instant::now(), "192.0.2.1".parse().unwrap());
    egress.flow_begins(start, address);
    egress.learn(start, &labels("a.test"), address, HOUR, true);
    egress.flow_begins(start, address);
    egress.flow_ends(start, address);
    let admits = |egress: &Egress, at| egress.judge(at, to("192.0.2.1 443/tcp")) == rule("a.test");
    assert!(admits(&egress, start + 5 * HOUR), "one of two lasts");
    egress.flow_ends(start + 5 * HOUR, address);
    assert!(!admits(&egress, start + 6 * HOUR));
    // What ends without having begun is nothing.
    egress.flow_ends(start, address);
    egress.flow_begins(start, address);
    egress.learn(start, &labels("a.test"), address, HOUR, true);
    assert!(admits(&egress, start + 5 * HOUR));
}

#[test]
fn each_name_of_an_address_has_its_own_time() {
    let (start, address) = (Instant::now(), "192.0.2.1".parse().unwrap());
    let admits = |egress: &Egress, at, port: u16| {
        matches!(egress.judge(at, to(&format!("192.0.2.1 {port}/tcp"))), Verdict::Admitted(_))
    };
    let mut egress = shut(&["a.test:22", "b.test:443"], &[]);
    egress.learn(start, &labels("a.test"), address, HOUR, true);
    egress.learn(start + HOUR / 2, &labels("b.test"), address, HOUR, true);
    assert!(admits(&egress, start + HOUR / 2, 22) && admits(&egress, start + HOUR / 2, 443));
    assert!(!admits(&egress, start + HOUR, 22) && admits(&egress, start + HOUR, 443));
    // Neither a flow nor an answer brings back what is over.
    egress.flow_begins(start + HOUR, address);
    assert!(!admits(&egress, start + HOUR, 22) && admits(&egress, start + 2 * HOUR, 443));
    egress.flow_ends(start + 2 * HOUR, address);
    assert!(!admits(&egress, start + 2 * HOUR, 22) && admits(&egress, start + 2 * HOUR, 443));
    egress.learn(start + 9 * HOUR, &labels("b.test"), address, HOUR, true);
    assert!(!admits(&egress, start + 9 * HOUR, 22) && admits(&egress, start + 9 * HOUR, 443));
}

#[test]
fn memory_is_bounded_and_what_is_in_use_stays() {
    let mut egress = shut(&["*"], &[]);
    let (start, used) = (Instant::now(), IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000)));
    egress.learn(start, &labels("a.test"), used, HOUR, true);
    egress.flow_begins(start, used);
    for number in 1..10_000u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + number));
        egress.learn(start + Duration::from_millis(number.into()), &labels("a.test"), address, HOUR, true);
    }
    assert_eq!(egress.granted.len(), 4096);
    let last = Destination { address: Ipv4Addr::from_bits(0x0b00_0000 + 9999).into(), port: Some((Transport::Tcp, 1)) };
    for address in [used, last.address] {
        assert_eq!(egress.judge(start, Destination { address, ..last }), rule("*"), "{address}");
    }
}

#[test]
fn what_had_to_go_while_it_was_used_is_used_still_when_it_comes_back() {
    let mut egress = shut(&["*"], &[]);
    let (start, address) = (Instant::now(), |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + number)));
    let admits = |egress: &Egress, at| {
        let to = Destination { address: address(0), port: Some((Transport::Tcp, 1)) };
        egress.judge(at, to) == rule("*")
    };
    // One more than are remembered, and all in use.
    for number in 0..=4096 {
        egress.learn(start + Duration::from_millis(number.into()), &labels("a.test"), address(number), HOUR, true);
        egress.flow_begins(start, address(number));
    }
    assert!(!admits(&egress, start), "it was the first to go");
    egress.learn(start, &labels("a.test"), address(0), HOUR, true);
    assert!(admits(&egress, start + 5 * HOUR));
    egress.flow_ends(start + 5 * HOUR, address(0));
    assert!(!admits(&egress, start + 6 * HOUR));
}

/// What happens to a policy. Addresses by their last byte, times in minutes.
#[derive(Clone, Debug)]
enum Op {
    Learn(usize, u8, bool, u32),
    Judge(u8, u16),
    Wait(u32),
    Begin(u8),
    End(u8),
}

/// What a naive model knows of an address.
#[derive(Default)]
struct Given {
    /// Names, with the ends of their time.
    names: Vec<(usize, Instant)>,
    fit: bool,
    flows: usize,
}

impl Given {
    /// What is over is over for good, but nothing is while there are flows.
    fn pass_time(&mut self, now: Instant) {
        if self.flows == 0 {
            self.names.retain(|(_, end)| *end > now);
        }
    }
}

const NAMES: [&str; 4] = ["a.test", "b.test", "x.a.test", "c.test"];
const ALLOW: [&str; 4] = ["a.test:80", "*.a.test", "b.test:1-79", "192.0.2.0/28:22"];
const DENY: [&str; 1] = ["192.0.2.8/29"];

fn op() -> impl Strategy<Value = Op> {
    let last = || 0u8..32;
    prop_oneof![
        (0..NAMES.len(), last(), any::<bool>(), 0u32..180)
            .prop_map(|(name, last, fit, lifetime)| Op::Learn(name, last, fit, lifetime)),
        (last(), prop_oneof![Just(22u16), Just(80), 1u16..100]).prop_map(|(last, port)| Op::Judge(last, port)),
        (0u32..90).prop_map(Op::Wait),
        last().prop_map(Op::Begin),
        last().prop_map(Op::End),
    ]
}

proptest! {
    /// Against the rules of [`ALLOW`] and [`DENY`], written out.
    #[test]
    fn verdicts_equal_those_of_a_naive_model(ops in prop::collection::vec(op(), 0..200)) {
        let minutes = |count: u32| Duration::from_secs(60) * count;
        let address = |last: u8| IpAddr::V4([192, 0, 2, last].into());
        let mut egress = shut(&ALLOW, &DENY);
        let mut given: HashMap<u8, Given> = HashMap::new();
        let mut now = Instant::now();
        for op in ops {
            given.values_mut().for_each(|given| given.pass_time(now));
            match op {
                Op::Learn(name, last, fit, lifetime) => {
                    egress.learn(now, &labels(NAMES[name]), address(last), minutes(lifetime), fit);
                    if NAMES[name] != "c.test" {
                        let given = given.entry(last).or_default();
                        given.names.retain(|(other, _)| *other != name);
                        given.names.push((name, now + minutes(lifetime.max(60))));
                        given.fit = fit;
                    }
                }
                Op::Wait(count) => now += minutes(count),
                Op::Begin(last) => {
                    egress.flow_begins(now, address(last));
                    given.entry(last).or_default().flows += 1;
                }
                Op::End(last) => {
                    egress.flow_ends(now, address(last));
                    if let Some(given) = given.get_mut(&last).filter(|given| given.flows > 0) {
                        given.flows -= 1;
                        given.names.iter_mut().for_each(|(_, end)| *end = (*end).max(now + HOUR));
                    }
                }
                Op::Judge(last, port) => {
                    let named = |(name, _): &(usize, Instant)| match NAMES[*name] {
                        "a.test" => port == 80,
                        "b.test" => port < 80,
                        _ => true,
                    };
                    let by_name = given.get(&last).is_some_and(|given| given.fit && given.names.iter().any(named));
                    let expected = !(8..16).contains(&last) && ((last < 16 && port == 22) || by_name);
                    let to = Destination { address: address(last), port: Some((Transport::Tcp, port)) };
                    prop_assert_eq!(matches!(egress.judge(now, to), Verdict::Admitted(_)), expected, "{:?}", to);
                }
            }
        }
    }
}
