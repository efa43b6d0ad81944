use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;

fn rules() -> Rules {
    let mut rules = Rules::new(Network {
        gateway_v4: "10.77.0.1".parse().unwrap(),
        prefix_v4: 24,
        gateway_v6: "fd77::1".parse().unwrap(),
        prefix_v6: 64,
    });
    rules.open(address("10.77.0.2"), [5432]);
    rules.open(address("fd77::2"), [5432]);
    rules
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn connect(text: &str) -> Target {
    Target::Connect(socket(text))
}

#[test]
fn precedence() {
    use Refusal::{Closed, Prohibited, Silent, Unreachable};
    let table = [
        // 1: sources
        ("192.0.2.9", "198.51.100.1:80", Target::Refuse(Silent)),
        ("10.77.0.1", "198.51.100.1:80", Target::Refuse(Silent)),
        ("fd78::2", "[2001:db8::1]:80", Target::Refuse(Silent)),
        // 2: destinations that are nobody's
        ("10.77.0.2", "0.0.0.0:80", Target::Refuse(Silent)),
        ("10.77.0.2", "0.1.2.3:80", Target::Refuse(Silent)),
        ("10.77.0.2", "255.255.255.255:67", Target::Refuse(Silent)),
        ("10.77.0.2", "10.77.0.255:137", Target::Refuse(Silent)),
        ("10.77.0.2", "224.0.0.251:5353", Target::Refuse(Silent)),
        ("10.77.0.2", "240.0.0.1:80", Target::Refuse(Silent)),
        ("fd77::2", "[::]:80", Target::Refuse(Silent)),
        ("fd77::2", "[ff02::fb]:5353", Target::Refuse(Silent)),
        ("fd77::2", "[::ffff:127.0.0.1]:5432", Target::Refuse(Silent)),
        ("fd77::2", "[::127.0.0.1]:5432", Target::Refuse(Silent)),
        ("fd77::2", "[64:ff9b::127.0.0.1]:5432", Target::Refuse(Silent)),
        ("fd77::2", "[64:ff9b::192.0.2.1]:80", connect("[64:ff9b::192.0.2.1]:80")),
        ("fd77::2", "[2002:7f00:1::1]:5432", Target::Refuse(Silent)),
        ("fd77::2", "[2002:c000:201::1]:80", connect("[2002:c000:201::1]:80")),
        // 3 to 5: the gateway
        ("10.77.0.2", "10.77.0.1:53", Target::Resolver),
        ("fd77::2", "[fd77::1]:53", Target::Resolver),
        ("10.77.0.2", "10.77.0.1:5432", connect("127.0.0.1:5432")),
        ("fd77::2", "[fd77::1]:5432", connect("[::1]:5432")),
        ("10.77.0.3", "10.77.0.1:5432", Target::Refuse(Closed)),
        ("10.77.0.2", "10.77.0.1:22", Target::Refuse(Closed)),
        // 6: the network's other addresses
        ("10.77.0.2", "10.77.0.9:80", Target::Refuse(Unreachable)),
        ("fd77::2", "[fd77::9]:80", Target::Refuse(Unreachable)),
        // 7: loopback
        ("10.77.0.2", "127.0.0.1:5432", Target::Refuse(Prohibited)),
        ("10.77.0.2", "127.9.9.9:53", Target::Refuse(Prohibited)),
        ("fd77::2", "[::1]:5432", Target::Refuse(Prohibited)),
        // 8: link-local
        ("10.77.0.2", "169.254.169.254:80", Target::Refuse(Unreachable)),
        ("fd77::2", "[fe80::1]:80", Target::Refuse(Unreachable)),
        // 9: everything else
        ("10.77.0.2", "10.78.0.1:80", connect("10.78.0.1:80")),
        ("10.77.0.2", "198.51.100.1:53", connect("198.51.100.1:53")),
        ("fd77::2", "[2001:db8::1]:443", connect("[2001:db8::1]:443")),
    ];
    let rules = rules();
    for (source, destination, expected) in table {
        assert_eq!(rules.target(address(source), socket(destination)), expected, "{source} → {destination}");
    }
}

#[test]
fn echo() {
    let rules = rules();
    let echo = |destination: &str| rules.echo_target(address("10.77.0.2"), address(destination));
    assert_eq!(echo("198.51.100.1"), connect("198.51.100.1:0"));
    assert_eq!(echo("127.0.0.1"), Target::Refuse(Refusal::Prohibited));
    assert_eq!(echo("10.77.0.77"), Target::Refuse(Refusal::Unreachable));
    assert_eq!(echo("10.77.0.255"), Target::Refuse(Refusal::Silent));
}

#[test]
fn closing_takes_back_what_was_opened() {
    let mut rules = rules();
    rules.close(address("10.77.0.2"));
    let target = rules.target(address("10.77.0.2"), socket("10.77.0.1:5432"));
    assert_eq!(target, Target::Refuse(Refusal::Closed));
}

proptest! {
    /// Whatever is asked, the machine's loopback is reached only through an opened port of the gateway.
    #[test]
    fn loopback_only_through_the_gateway(source: IpAddr, destination: IpAddr, port: u16) {
        let rules = rules();
        for source in [source, address("10.77.0.2"), address("fd77::2")] {
            if let Target::Connect(to) = rules.target(source, (destination, port).into()) {
                prop_assert!(!to.ip().to_canonical().is_loopback() && !to.ip().is_unspecified());
            }
        }
    }

    #[test]
    fn prefixes_of_any_length_hold_their_gateway(gateway: Ipv4Addr, prefix in 0u8..=32, other: Ipv4Addr) {
        let network = Network { gateway_v4: gateway, prefix_v4: prefix, gateway_v6: Ipv6Addr::LOCALHOST, prefix_v6: 128 };
        prop_assert!(network.contains(gateway.into()));
        let same = (0..prefix).all(|bit| (gateway.to_bits() ^ other.to_bits()) >> (31 - bit) & 1 == 0);
        prop_assert_eq!(network.contains(other.into()), same);
    }
}

#[test]
fn names_lead_to_the_world_only() {
    let rules = rules();
    for fit in
        ["198.51.100.7", "1.1.1.1", "2001:db8::1", "64:ff9b::101:101", "2002:101:101::1", "172.32.0.1", "198.20.0.1"]
    {
        assert!(rules.may_be_named(address(fit)), "{fit}");
    }
    for unfit in [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "10.77.0.1",
        "10.77.0.3",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "::ffff:192.0.2.1",
        "fe80::1",
        "fec0::1",
        "fd77::3",
        "fc00::1",
        "ff02::1",
        "64:ff9b::a00:5",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:a00:5::1",
    ] {
        assert!(!rules.may_be_named(address(unfit)), "{unfit}");
    }
}
