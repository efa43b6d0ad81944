use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn forward(text: &str) -> ForwardArgument {
    text.parse().unwrap_or_else(|error: ParseError| panic!("{text}: {error}"))
}

/// The message and the part that it points at.
fn fault<T: FromStr<Err = ParseError>>(text: &str) -> (ParseErrorKind, String) {
    let Err(error) = text.parse::<T>() else { panic!("{text} was accepted") };
    (error.kind, error.text[error.span.clone()].to_owned())
}

#[test]
fn forwards_print_in_one_way() {
    for (typed, printed) in [
        ("8080:80", "8080:80"),
        ("8080:80/tcp", "8080:80"),
        ("8080:80/UDP", "8080:80/udp"),
        ("8080:http", "8080:80"),
        ("HTTP:8080", "80:8080"),
        ("127.0.0.1:80-90:8080-8090", "127.0.0.1:80-90:8080-8090"),
        ("[::1]:8080:80/udp", "[::1]:8080:80/udp"),
        ("[::ffff:127.0.0.1]:1:2", "[::ffff:127.0.0.1]:1:2"),
        ("0.0.0.0:x11:7000-7063", "0.0.0.0:6000-6063:7000-7063"),
        ("5-5:6", "5:6"),
    ] {
        assert_eq!(forward(typed).to_string(), printed, "{typed}");
    }
}

#[test]
fn a_range_is_forwarded_pairwise() {
    let pairs: Vec<_> =
        forward("8000-8002:80-82").pairs().map(|(host, service)| (host.value(), service.value())).collect();
    assert_eq!(pairs, [(8000, 80), (8001, 81), (8002, 82)]);
}

#[test]
fn a_faulty_forward_is_pointed_at() {
    use ParseErrorKind::*;
    for (text, kind, part) in [
        ("", OnePort, ""),
        ("8080", OnePort, "8080"),
        (":80", Missing, ""),
        ("8080:", Missing, ""),
        ("8080:0", Zero, "0"),
        ("65536:80", TooHigh, "65536"),
        ("8080:99999999999999999999", TooHigh, "99999999999999999999"),
        ("8080:8O", NotAPort, "8O"),
        ("8080:+80", NotAPort, "+80"),
        ("8080: 80", NotAPort, " 80"),
        ("8010-8000:80-90", Reversed, "8010-8000"),
        ("8000-:80", Missing, ""),
        ("8000-8010-8020:80", NotAPort, "8010-8020"),
        ("8000-8010:80", Lengths { host: 11, service: 1 }, "80"),
        ("8080:80/icmp", UnknownTransport, "icmp"),
        ("8080:80/", UnknownTransport, ""),
        ("localhost:8080:80", NotAnAddress, "localhost"),
        ("::1:8080:80", NoBrackets, "::1"),
        ("[::1:8080:80", OpenBracket, "[::1"),
        ("[127.0.0.1]:8080:80", NotAnAddress, "[127.0.0.1]"),
        ("1.2.3:8080:80", NotAnAddress, "1.2.3"),
        (":8080:80", NotAnAddress, ""),
        ("8080:submissions/udp", OtherTransport, "submissions"),
        ("ポート:80", NotAPort, "ポート"),
    ] {
        assert_eq!(fault::<ForwardArgument>(text), (kind, part.to_owned()), "{text}");
    }
}

#[test]
fn a_name_with_several_ports_is_not_guessed() {
    let (kind, part) = fault::<PortArgument>("http-alt");
    assert!(matches!(kind, ParseErrorKind::SeveralPorts(..)), "{kind:?}");
    assert_eq!(part, "http-alt");
}

#[test]
fn a_name_of_one_transport_is_refused_for_the_other() {
    assert_eq!(fault::<PortArgument>("submissions/udp").0, ParseErrorKind::OtherTransport);
    assert_eq!("submissions/tcp".parse::<PortArgument>().unwrap().to_string(), "465/tcp");
}

#[test]
fn the_pointer_stands_below_the_part() {
    let error = "ポ:80-x".parse::<ForwardArgument>().unwrap_err();
    assert_eq!(error.pointer().to_string(), "ポ:80-x\n^");
    let error = "8080:".parse::<ForwardArgument>().unwrap_err();
    assert_eq!(error.pointer().to_string(), "8080:\n     ^");
    assert_eq!(error.to_string(), "a port is missing");
}

#[test]
fn single_types_parse() {
    assert_eq!("80".parse::<Port>().unwrap().value(), 80);
    assert_eq!("80-81".parse::<PortRange>().unwrap().length(), 2);
    assert_eq!("Udp".parse::<Transport>(), Ok(Transport::Udp));
    assert_eq!(fault::<Port>("http").0, ParseErrorKind::NotAPort);
    assert_eq!(fault::<PortRange>("2-1").0, ParseErrorKind::Reversed);
}

fn a_range() -> impl Strategy<Value = (u16, u16)> {
    (1_u16.., 0_u16..50).prop_map(|(first, more)| (first, first.saturating_add(more)))
}

fn an_address() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<u32>().prop_map(|bits| Some(Ipv4Addr::from(bits).into())),
        any::<u128>().prop_map(|bits| Some(Ipv6Addr::from(bits).into())),
    ]
}

proptest! {
    #[test]
    fn forwards_print_as_they_are_parsed(address in an_address(), (first, last) in a_range(), to in 1_u16..65486, udp: bool) {
        let prefix = match address {
            Some(IpAddr::V6(v6)) => format!("[{v6}]:"),
            other => other.map_or(String::new(), |v4| format!("{v4}:")),
        };
        let end = to + (last - first);
        let text = format!("{prefix}{first}-{last}:{to}-{end}{}", if udp { "/udp" } else { "" });
        let parsed = forward(&text);
        prop_assert_eq!((parsed.address(), parsed.host_ports().first().value()), (address, first));
        prop_assert_eq!(forward(&parsed.to_string()), parsed);
    }
}
