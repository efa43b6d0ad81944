//! What can be asked for.

use crate::explain::target::{Place, Target};

#[test]
fn targets_are_ports_places_and_urls() {
    let parse = |text: &str| text.parse::<Target>().map(|target| (target.place, target.port, target.transport.name()));
    let name = |name: &str| Place::Name(name.into());
    let address = |text: &str| Place::Address(text.parse().unwrap());
    assert_eq!(parse("8080"), Ok((Place::Machine, 8080, "tcp")));
    assert_eq!(parse("53/udp"), Ok((Place::Machine, 53, "udp")));
    assert_eq!(parse(":8080"), Ok((Place::Machine, 8080, "tcp")));
    assert_eq!(parse("localhost:8080"), Ok((Place::Machine, 8080, "tcp")));
    assert_eq!(parse("web:80/udp"), Ok((name("web"), 80, "udp")));
    assert_eq!(parse("10.77.0.2:80"), Ok((address("10.77.0.2"), 80, "tcp")));
    assert_eq!(parse("[::1]:80"), Ok((address("::1"), 80, "tcp")));
    assert_eq!(parse("https://example.org/a?b"), Ok((name("example.org"), 443, "tcp")));
    assert_eq!(parse("http://me@[fd77::2]:81/"), Ok((address("fd77::2"), 81, "tcp")));
    for url in ["postgresql://db", "postgres://u:p@db/name", "postgresql+asyncpg://u@db/name", "db:postgresql"] {
        assert_eq!(parse(url), Ok((name("db"), 5432, "tcp")), "{url}");
    }
    assert_eq!(parse("wss://web/socket"), Ok((name("web"), 443, "tcp")));
    assert_eq!(parse("ns:domain/udp"), Ok((name("ns"), 53, "udp")));
    for wrong in
        ["", "0", "65536", "web", "web:", "web:x", "80/sctp", "[::1", "nonsense://x/", "http:///", "git+ssh://x/"]
    {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn names_are_as_hosts_have_them() {
    let parse = |text: &str| text.parse::<Target>().expect("a target");
    assert_eq!(parse("WEB:80").place, Place::Name("web".into()));
    assert_eq!(parse("LocalHost:80").place, Place::Machine);
    let internal = |text: &str| {
        let (host, network) = parse(text).internal()?;
        Some((host.to_string(), network.to_string()))
    };
    for text in ["web.shop.internal:80", "Web.SHOP.internal.:80", "http://web.shop.internal/"] {
        assert_eq!(internal(text), Some(("web".into(), "shop".into())), "{text}");
    }
    for text in ["web:80", "web.internal:80", "a.web.shop.internal:80", "web.shop.example:80"] {
        assert_eq!(internal(text), None, "{text}");
    }
    assert_eq!(parse("8025.web.shop.localhost:7080").network().map(|name| name.to_string()), Some("shop".into()));
}
