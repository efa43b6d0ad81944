//! What is answered to messages, without a network.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use domain::base::iana::{Opcode, OptRcode};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::AllRecordData;
use minato_relay::Network;
use proptest::prelude::*;

use super::message::{Fit, fit, labels};
use super::*;

fn zone() -> Zone {
    let network = Network {
        gateway_v4: Ipv4Addr::new(10, 77, 0, 1),
        prefix_v4: 24,
        gateway_v6: "fd77::1".parse().unwrap(),
        prefix_v6: 64,
    };
    let mut zone = Zone::new("shop", network);
    zone.add("web", 1, &address(&["10.77.0.2", "fd77::2"]));
    zone.add("db", 2, &address(&["10.77.0.3", "fd77::3"]));
    zone
}

fn address(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn question(name: &str, kind: &str) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(4711);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((Name::vec_from_str(name).unwrap(), Rtype::from_str(kind).unwrap())).unwrap();
    builder.finish()
}

/// What we say ourselves; `None` for what is relayed or dropped. In every host, `http` is served on 80 and 8080.
fn respond(zone: &Zone, question: &[u8]) -> Option<Vec<u8>> {
    let Read::Question(asked) = message::read(question) else { return None };
    let found = zone.find(&labels(&asked.name))?;
    let is_http = |wanted: &Wanted| wanted.service == "http" && wanted.transport == minato_ports::Transport::Tcp;
    let ports: &[u16] = if found.wants().as_ref().is_some_and(is_http) { &[80, 8080] } else { &[] };
    Some(message::reply(question, &zone.answer(found, asked.kind, ports)))
}

/// The answer in words: code, then the records of each section, each as `OWNER TYPE DATA`.
fn told(name: &str, kind: &str) -> String {
    let question = question(name, kind);
    let Some(answer) = respond(&zone(), &question) else { return "relayed".into() };
    assert!(message::answers(&answer, &question));
    let answer = Message::from_octets(answer).unwrap();
    assert!(answer.header().aa() && answer.header().ra() && answer.header().rd() && !answer.header().tc());
    let mut words = vec![answer.header().rcode().to_string()];
    for (part, section) in [("", answer.answer()), ("+", answer.additional()), ("!", answer.authority())] {
        for record in section.unwrap().limit_to::<AllRecordData<_, _>>() {
            let record = record.unwrap();
            assert_eq!(record.ttl().as_secs(), 0);
            let text = format!("{part}{} {} {}", record.owner(), record.rtype(), record.data());
            words.push(text.replace(".internal.", ".internal"));
        }
    }
    words.join("; ")
}

#[test]
fn hosts_answer_by_both_names_and_addresses() {
    for (name, kind, answer) in [
        ("web.shop.internal", "A", "NOERROR; web.shop.internal A 10.77.0.2"),
        ("web.shop.internal", "AAAA", "NOERROR; web.shop.internal AAAA fd77::2"),
        ("web", "A", "NOERROR; web A 10.77.0.2"),
        ("WeB.Shop.INTERNAL", "A", "NOERROR; WeB.Shop.INTERNAL A 10.77.0.2"),
        ("web", "ANY", "NOERROR; web A 10.77.0.2; web AAAA fd77::2"),
        ("gateway.shop.internal", "A", "NOERROR; gateway.shop.internal A 10.77.0.1"),
        ("2.0.77.10.in-addr.arpa", "PTR", "NOERROR; 2.0.77.10.in-addr.arpa PTR web.shop.internal"),
        ("1.0.77.10.in-addr.arpa", "PTR", "NOERROR; 1.0.77.10.in-addr.arpa PTR gateway.shop.internal"),
        ("shop.internal", "NS", "NOERROR; shop.internal NS gateway.shop.internal"),
    ] {
        assert_eq!(told(name, kind), answer, "{name} {kind}");
    }
    let reverse = format!("3.{}7.7.d.f.ip6.arpa", "0.".repeat(27));
    assert_eq!(told(&reverse, "PTR"), format!("NOERROR; {reverse} PTR db.shop.internal"));
}

#[test]
fn services_are_told_by_their_registered_names() {
    let records = |owner: &str| {
        let target = "db.shop.internal";
        format!(
            "NOERROR; {owner} SRV 0 0 80 {target}; {owner} SRV 0 0 8080 {target}; +{target} A 10.77.0.3; \
             +{target} AAAA fd77::3"
        )
    };
    for owner in ["_http._tcp.db.shop.internal", "_http._tcp.db", "_HTTP._TCP.db"] {
        assert_eq!(told(owner, "SRV"), records(owner));
    }
    assert!(told("_http._tcp.db", "A").starts_with("NOERROR; !db SOA "));
    assert!(told("_tcp.db.shop.internal", "SRV").starts_with("NOERROR; !shop.internal SOA "));
    for missing in ["_smtp._tcp.db", "_http._udp.db", "http._tcp.db.shop.internal", "_http._sctp.db.shop.internal"] {
        assert!(told(missing, "SRV").starts_with("NXDOMAIN; !"), "{missing}: {}", told(missing, "SRV"));
    }
}

#[test]
fn what_is_not_there_is_denied_by_the_zone_that_would_have_it() {
    let start = "gateway.shop.internal hostmaster.shop.internal 3 3600 3600 604800 0";
    for (name, kind, code, zone) in [
        ("mail.shop.internal", "A", "NXDOMAIN", "shop.internal"),
        ("a.web.shop.internal", "A", "NXDOMAIN", "shop.internal"),
        ("web.shop.internal", "MX", "NOERROR", "shop.internal"),
        ("web", "TXT", "NOERROR", "web"),
        ("shop.internal", "A", "NOERROR", "shop.internal"),
        ("9.0.77.10.in-addr.arpa", "PTR", "NXDOMAIN", "0.77.10.in-addr.arpa"),
        ("x.0.77.10.in-addr.arpa", "PTR", "NXDOMAIN", "0.77.10.in-addr.arpa"),
        ("02.0.77.10.in-addr.arpa", "PTR", "NXDOMAIN", "0.77.10.in-addr.arpa"),
        ("0.77.10.in-addr.arpa", "PTR", "NOERROR", "0.77.10.in-addr.arpa"),
        ("2.0.77.10.in-addr.arpa", "A", "NOERROR", "0.77.10.in-addr.arpa"),
    ] {
        assert_eq!(told(name, kind), format!("{code}; !{zone} SOA {start}"), "{name} {kind}");
    }
}

#[test]
fn everything_else_is_relayed() {
    for name in [
        "example.com",
        "mail",
        "internal",
        "web.other.internal",
        "web.example.com",
        "www.web",
        "2.0.78.10.in-addr.arpa",
        "77.10.in-addr.arpa",
        "in-addr.arpa",
        ".",
    ] {
        assert_eq!(told(name, "A"), "relayed", "{name}");
    }
}

#[test]
fn a_host_that_ends_is_gone_at_once_and_leaves_its_successor_alone() {
    let mut zone = zone();
    zone.remove("web", 1);
    assert!(respond(&zone, &question("web", "A")).is_none());
    let answer = respond(&zone, &question("web.shop.internal", "A")).unwrap();
    assert_eq!(Message::from_octets(answer).unwrap().header().rcode(), Rcode::NXDOMAIN);
    zone.add("web", 3, &address(&["10.77.0.2"]));
    zone.remove("web", 1);
    assert!(respond(&zone, &question("web", "A")).is_some());
}

#[test]
fn hosts_of_a_joined_network_have_all_kinds_of_names() {
    let network = Network {
        gateway_v4: Ipv4Addr::new(10, 77, 1, 1),
        prefix_v4: 24,
        gateway_v6: "fd77:0:0:1::1".parse().unwrap(),
        prefix_v6: 64,
    };
    let offers = minato_inspect::Offers { tcp: [5432, 8080].into(), udp: [53].into() };
    let db = minato_inspect::Named { addresses: address(&["10.77.1.2", "fd77:0:0:1::2"]), offers: offers.clone() };
    let mut zone = zone();
    zone.set_joined(1, vec![JoinedZone { label: "back".into(), network, hosts: [("pg".to_owned(), db)].into() }]);
    let find = |host: u32, name: &str| zone.find_joined(host, &labels(&Name::<Vec<u8>>::vec_from_str(name).unwrap()));
    let rcode = |name: &str, kind: &str| {
        let ports: &[u16] = if name.starts_with('_') { &[5432] } else { &[] };
        let answer = zone.answer(find(1, name).expect(name), Rtype::from_str(kind).unwrap(), ports);
        (answer.rcode, answer.records.len())
    };
    for (name, kind, records) in [
        ("pg.back.internal", "A", 1),
        ("pg.back.internal", "AAAA", 1),
        ("pg", "A", 1),
        ("gateway.back.internal", "A", 1),
        ("_postgresql._tcp.pg.back.internal", "SRV", 1),
        ("_postgresql._tcp.pg", "SRV", 1),
        ("_tcp.pg.back.internal", "SRV", 0),
        ("2.1.77.10.in-addr.arpa", "PTR", 1),
    ] {
        assert_eq!(rcode(name, kind), (Rcode::NOERROR, records), "{name} {kind}");
    }
    let wanted = find(1, "_postgresql._tcp.pg.back.internal").unwrap().wants().unwrap();
    assert_eq!((wanted.of, &*wanted.service), (Offerer::Elsewhere(offers), "postgresql"));
    assert_eq!(rcode("other.back.internal", "A").0, Rcode::NXDOMAIN);
    assert_eq!(rcode("x.pg.back.internal", "A").0, Rcode::NXDOMAIN);
    assert!(find(2, "pg.back.internal").is_none(), "who has not joined knows nothing of it");
}

#[test]
fn the_reverse_zone_of_a_prefix_within_a_label_is_the_labels() {
    let network = Network {
        gateway_v4: Ipv4Addr::new(10, 77, 0, 1),
        prefix_v4: 23,
        gateway_v6: "fd77::1".parse().unwrap(),
        prefix_v6: 64,
    };
    let find = |text: &str| reverse::find(&text.split('.').collect::<Vec<_>>(), &network);
    let whole = |text: &str| reverse::Reverse::Address(text.parse().unwrap());
    assert_eq!(
        find("2.1.77.10.in-addr.arpa"),
        Some((whole("10.77.1.2"), zone::domain_name(&["1", "77", "10", "in-addr", "arpa"])))
    );
    assert_eq!(find("2.2.77.10.in-addr.arpa"), None);
    assert_eq!(find("256.1.77.10.in-addr.arpa").unwrap().0, reverse::Reverse::Nothing);
    assert_eq!(find("9.2.1.77.10.in-addr.arpa").unwrap().0, reverse::Reverse::Nothing);
    assert_eq!(find("1.77.10.in-addr.arpa").unwrap().0, reverse::Reverse::Above);
}

fn with_edns(version: u8, room: u16) -> Vec<u8> {
    let asked = Message::from_octets(question("web", "A")).unwrap();
    let mut builder = MessageBuilder::new_vec();
    *builder.header_mut() = asked.header();
    let mut builder = builder.question();
    builder.push(asked.sole_question().unwrap()).unwrap();
    let mut builder = builder.additional();
    let opt = builder.opt(|opt| {
        opt.set_version(version);
        opt.set_udp_payload_size(room);
        Ok(())
    });
    opt.unwrap();
    builder.finish()
}

#[test]
fn extensions_are_answered_in_kind() {
    let opt = |answer: Vec<u8>| {
        Message::from_octets(answer).unwrap().opt().map(|opt| (opt.version(), opt.udp_payload_size()))
    };
    assert_eq!(opt(respond(&zone(), &question("web", "A")).unwrap()), None);
    assert_eq!(opt(respond(&zone(), &with_edns(0, 4096)).unwrap()), Some((0, 1232)));
    let other = Message::from_octets(respond(&zone(), &with_edns(1, 4096)).unwrap()).unwrap();
    assert_eq!((other.opt_rcode(), other.header_counts().ancount()), (OptRcode::BADVERS, 0));
}

#[test]
fn a_long_answer_is_cut_for_a_datagram_and_says_so() {
    let answer = |length: usize| {
        let mut answer = message::failure(&question("web", "A"), Rcode::NOERROR);
        answer.resize(length, 0);
        answer
    };
    assert_eq!(fit(answer(512), &question("web", "A")), (answer(512), Fit::Whole));
    assert_eq!(fit(answer(1232), &with_edns(0, 1232)), (answer(1232), Fit::Whole));
    for (length, question) in [(513, question("web", "A")), (513, with_edns(0, 100)), (1233, with_edns(0, 1232))] {
        let (cut, how) = fit(answer(length), &question);
        assert_eq!(how, Fit::Cut);
        assert!(message::answers(&cut, &question));
        let cut = Message::from_octets(cut).unwrap();
        assert!(cut.header().tc() && cut.header().ra());
        let asked = Message::from_octets(question).unwrap();
        assert_eq!(cut.opt().is_some(), asked.opt().is_some(), "RFC 6891 §6.1.1");
    }
}

#[test]
fn answers_are_told_from_others() {
    let question = question("port.test", "A");
    let answer = message::failure(&question, Rcode::NOERROR);
    assert!(message::answers(&answer, &question));
    assert!(!message::answers(&question, &question), "not an answer");
    assert!(!message::answers(&[], &question));
    for (at, what) in [(0, "another ID"), (13, "another name"), (question.len() - 3, "another type")] {
        let mut other = answer.clone();
        other[at] ^= 7;
        assert!(!message::answers(&other, &question), "{what}");
    }
    let mut shouted = answer.clone();
    shouted[13..17].make_ascii_uppercase();
    assert!(message::answers(&shouted, &question));
    let mut without = answer[..12].to_vec();
    without[4..6].fill(0);
    assert!(message::answers(&without, &question), "some servers leave the question out of an error");
}

#[test]
fn what_is_no_question_is_told_apart() {
    let mut update = question("web", "A");
    update[2] |= Opcode::UPDATE.to_int() << 3;
    assert!(matches!(message::read(&update), Read::Other));
    let mut two = question("web", "A");
    two[5] = 2;
    assert!(matches!(message::read(&two), Read::Malformed));
    let mut loops = question("web", "A");
    loops[12..14].copy_from_slice(&[0xc0, 12]);
    assert!(matches!(message::read(&loops), Read::Malformed));
    assert_eq!(message::failure(&loops, Rcode::FORMERR).len(), 12);
    assert!(matches!(message::read(&message::failure(&two, Rcode::FORMERR)), Read::Nothing));
    assert!(matches!(message::read(&[0; 11]), Read::Nothing));
}

/// Questions of which some bytes are wrong, and some more that are nothing.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just("web"), Just("_http._tcp.web.shop.internal"), Just("2.0.77.10.in-addr.arpa")];
    let good = (name, prop_oneof![Just("A"), Just("SRV"), Just("PTR"), Just("ANY")]);
    let spoilt = (good, prop::collection::vec((0usize..80, any::<u8>()), 0..4), 0usize..90);
    let spoilt = spoilt.prop_map(|((name, kind), changes, length)| {
        let mut message = question(name, kind);
        message.extend(with_edns(0, 1232).split_off(21));
        message[11] = 1;
        for (at, byte) in changes {
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
        }
        message.truncate(length.max(12));
        message
    });
    prop_oneof![spoilt, prop::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn no_message_does_harm(bytes in nearly(), other in nearly()) {
        if let Some(answer) = respond(&zone(), &bytes) {
            prop_assert!(message::answers(&answer, &bytes));
            let (short, _) = fit(answer, &bytes);
            prop_assert!(short.len() <= 1500 && message::answers(&short, &bytes));
        }
        message::answers(&other, &bytes);
        let failure = message::failure(&bytes, Rcode::SERVFAIL);
        prop_assert!(bytes.len() < 12 || message::answers(&failure, &bytes) || matches!(message::read(&bytes), Read::Malformed | Read::Nothing | Read::Other));
        fit(other, &bytes);
    }
}

/// An answer to `good.test` with these records.
fn answer_with(push: impl FnOnce(&mut domain::base::message_builder::AnswerBuilder<Vec<u8>>)) -> Vec<u8> {
    let asked = Message::from_octets(question("good.test", "A")).unwrap();
    let mut builder = MessageBuilder::new_vec().start_error(&asked, Rcode::NOERROR);
    push(&mut builder);
    builder.finish()
}

fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).unwrap()
}

#[test]
fn only_addresses_that_the_name_leads_to_are_learned() {
    use domain::rdata::{A, Aaaa, Cname};
    let answer = answer_with(|answer| {
        // In no order, as no order is promised.
        answer.push((name("b.test"), 60, A::from_octets(192, 0, 2, 1))).unwrap();
        answer.push((name("a.test"), 60, Cname::new(name("B.test")))).unwrap();
        answer.push((name("Good.test"), 60, Cname::new(name("a.test")))).unwrap();
        answer.push((name("b.test"), 30, Aaaa::new("2001:db8::1".parse().unwrap()))).unwrap();
        answer.push((name("other.test"), 60, A::from_octets(192, 0, 2, 66))).unwrap();
        answer.push((name("c.test"), 60, Cname::new(name("good.test")))).unwrap();
    });
    let seconds = Duration::from_secs;
    let found = addresses::led_to(&name("good.test"), &answer);
    let expected: [(IpAddr, Duration); 2] =
        [("192.0.2.1".parse().unwrap(), seconds(60)), ("2001:db8::1".parse().unwrap(), seconds(30))];
    assert_eq!(found, expected);
    let loops = answer_with(|answer| {
        answer.push((name("good.test"), 60, Cname::new(name("a.test")))).unwrap();
        answer.push((name("a.test"), 60, Cname::new(name("good.test")))).unwrap();
        answer.push((name("a.test"), 60, A::from_octets(192, 0, 2, 1))).unwrap();
    });
    assert_eq!(addresses::led_to(&name("good.test"), &loops).len(), 1);
    for length in 0..answer.len() {
        addresses::led_to(&name("good.test"), &answer[..length]);
    }
}

#[test]
fn a_name_that_is_blocked_does_not_exist_and_says_why() {
    use domain::base::opt::ExtendedError;
    let answer = Message::from_octets(message::blocked(&with_edns(0, 1232), "no rule allows it")).unwrap();
    assert_eq!((answer.header().rcode(), answer.header().aa()), (Rcode::NXDOMAIN, false));
    let remark = answer.opt().unwrap().opt().iter::<ExtendedError<_>>().next().unwrap().unwrap();
    assert_eq!(remark.code().to_int(), 15);
    assert_eq!(remark.text().unwrap().unwrap().to_string(), "no rule allows it");
    assert!(Message::from_octets(message::blocked(&question("web", "A"), "no")).unwrap().opt().is_none());
}
