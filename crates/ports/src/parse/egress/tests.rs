use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> EgressRule {
    text.parse().unwrap_or_else(|error: ParseError| panic!("{text}: {error}"))
}

fn pattern(text: &str) -> NamePattern {
    match rule(text).target {
        EgressTarget::Name(pattern) => pattern,
        other => panic!("{text}: {other:?}"),
    }
}

fn labels(name: &str) -> Vec<&[u8]> {
    name.split('.').map(str::as_bytes).collect()
}

#[test]
fn rules_print_in_one_way() {
    for (typed, printed) in [
        ("*.Example.com:443", "*.example.com:443"),
        ("example.com", "example.com"),
        ("example.com.", "example.com"),
        ("example.com:https", "example.com:443"),
        ("example.com/udp", "example.com/udp"),
        ("_sip.example.com:1-1024/TCP", "_sip.example.com:1-1024/tcp"),
        ("*", "*"),
        ("*:443", "*:443"),
        ("DNS", "dns"),
        ("10.0.0.0/8:5432", "10.0.0.0/8:5432"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("192.0.2.1:1-1024/udp", "192.0.2.1:1-1024/udp"),
        ("[2001:db8::]/32:443", "[2001:db8::]/32:443"),
        ("[2001:DB8:0::1]/udp", "[2001:db8::1]/udp"),
        ("[::]/0", "[::]/0"),
        // The last label tells a name from an address.
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("dns.example", "dns.example"),
    ] {
        assert_eq!(rule(typed).to_string(), printed, "{typed}");
    }
}

#[test]
fn a_faulty_rule_is_pointed_at() {
    use ParseErrorKind::*;
    let long = format!("{}.com", "a".repeat(64));
    for (text, kind, part) in [
        ("", NoPlace, ""),
        (":443", NoPlace, ""),
        ("/udp", NoPlace, ""),
        ("dns:53", DnsAlone, ":53"),
        ("dns/udp", DnsAlone, "/udp"),
        ("example.com:", Missing, ""),
        ("example.com:0", Zero, "0"),
        ("example.com:70000", TooHigh, "70000"),
        ("example.com:90-80", Reversed, "90-80"),
        ("example.com:no-such-service", NotAPort, "no-such-service"),
        ("example.com:443/sctp", UnknownTransport, "sctp"),
        ("example.com/24:443", PrefixOfName, "24"),
        ("exa mple.com", NotAName, "exa mple.com"),
        ("a..b", NotAName, "a..b"),
        (".com", NotAName, ".com"),
        (&long, NotAName, &long),
        ("bücher.example:443", NotAscii, "bücher.example"),
        ("w*.example.com", Wildcard, "w*.example.com"),
        ("*example.com", Wildcard, "*example.com"),
        ("*.*.com", Wildcard, "*.*.com"),
        ("10.0.0.0/33", PrefixLength(32), "33"),
        ("[2001:db8::]/129", PrefixLength(128), "129"),
        ("10.1.0.0/8:5432", HostBits("10.0.0.0".parse().unwrap(), 8), "10.1.0.0"),
        ("10.0.0.1.", NotAnAddress, "10.0.0.1."),
        ("10.0.0", NotAnAddress, "10.0.0"),
        ("10.0.0.256:1", NotAnAddress, "10.0.0.256"),
        ("2001:db8::1", NoBrackets, "2001:db8::1"),
        ("2001:db8::/32:443", NoBrackets, "2001:db8::/32:443"),
        ("[2001:db8::", OpenBracket, "[2001:db8::"),
        ("[10.0.0.1]:1", NotAnAddress, "[10.0.0.1]"),
        ("[::ffff:10.0.0.1]", MappedAddress, "[::ffff:10.0.0.1]"),
        ("[2001:db8::1]443", NotPorts, "443"),
        ("https://example.com", Url, "https://example.com"),
    ] {
        let error = text.parse::<EgressRule>().expect_err(text);
        assert_eq!((error.kind, &error.text[error.span.clone()]), (kind, part), "{text}: {error}");
    }
}

#[test]
fn a_wildcard_means_names_below_at_any_depth() {
    let below = pattern("*.example.com");
    for (name, expected) in [
        ("a.example.com", true),
        ("A.EXAMPLE.COM", true),
        ("a.b.example.com", true),
        ("example.com", false),
        ("badexample.com", false),
        ("example.com.evil", false),
        ("com", false),
    ] {
        assert_eq!(below.matches(&labels(name)), expected, "{name}");
    }
    assert!(pattern("example.com").matches(&labels("EXAMPLE.com")));
    assert!(!pattern("example.com").matches(&labels("a.example.com")));
    assert!(pattern("*").matches(&labels("anything")));
    assert!(!pattern("*").matches(&[]), "the root is the name of nothing");
}

#[test]
fn a_dot_within_a_label_does_not_separate() {
    assert!(!pattern("*.example.com").matches(&[b"evil.example", b"com"]));
    assert!(!pattern("example.com").matches(&[b"example.com"]));
}

proptest! {
    #[test]
    fn a_prefix_holds_what_shares_its_bits(bits: u32, other: u32, length in 0u8..=32) {
        let base = leading(IpAddr::V4(bits.into()), length).unwrap();
        let prefix = Prefix::new(base, length).unwrap();
        let shared = (bits ^ other).leading_zeros() >= u32::from(length);
        prop_assert_eq!(prefix.contains(IpAddr::V4(other.into())), shared);
        prop_assert!(!prefix.contains(IpAddr::V6(u128::from(other).into())));
        let printed: EgressRule = format!("{base}/{length}").parse().unwrap();
        prop_assert!(printed.has_address(base));
    }

    #[test]
    fn ports_and_transport_narrow_a_rule(first in 1u16.., length in 0u16..100, port: u16) {
        let last = first.saturating_add(length);
        let both = rule(&format!("example.com:{first}-{last}"));
        let inside = (first..=last).contains(&port);
        for transport in Transport::ALL {
            prop_assert_eq!(both.has_port(transport, port), inside);
        }
        let udp = EgressRule { transport: Some(Transport::Udp), ..both };
        prop_assert!(!udp.has_port(Transport::Tcp, port));
        prop_assert_eq!(udp.has_port(Transport::Udp, port), inside);
    }
}
