use std::process::Command;

use super::{Fate, Packet, RuleName, Ruleset, Stop, Tool, Way};
use crate::Transport;

/// A namespace with these rules, in a thread of its own; the fate of a SYN to 127.0.0.1 at each of `ports`.
fn fates(rules: &'static str, ports: &'static [u16]) -> Option<Vec<Fate>> {
    let thread = std::thread::spawn(move || {
        crate::sys::unshare(rustix::thread::UnshareFlags::NEWNET).ok()?;
        // The child inherits this thread's namespace.
        let load = Command::new("nft").arg(rules).status();
        if !load.is_ok_and(|status| status.success()) {
            return None;
        }
        let rules = Ruleset::read().expect("the rules");
        Some(ports.iter().map(|port| rules.fate(&local(*port))).collect())
    });
    let fates = thread.join().expect("no panic");
    if fates.is_none() {
        assert!(std::env::var_os("CI").is_none(), "needs root and nft");
        eprintln!("\n!!! SKIPPED: needs root and nft (Debian package nftables)\n");
    }
    fates
}

fn local(port: u16) -> Packet {
    let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
    Packet { transport: Transport::Tcp, source: Some(loopback), destination: loopback, port, way: Way::Local }
}

fn stop(chain: &str, rule: bool, rejects: bool) -> impl Fn(&Fate) -> bool {
    let chain = chain.to_owned();
    move |fate| {
        matches!(fate, Fate::Stopped(Stop { tool: Tool::Nft(family), chain: at, rule: name, rejects: told, .. })
            if family == "inet" && *at == chain && matches!(name, Some(RuleName::Handle(_))) == rule && *told == rejects)
    }
}

#[test]
fn rules_are_followed_as_the_kernel_does() {
    let rules = "table inet t {
        chain other { tcp dport 1003 drop; tcp dport 1004 return; tcp dport 1005 accept; }
        chain input { type filter hook input priority 0;
            tcp dport 1001 counter drop
            tcp dport 1002 reject with tcp reset
            jump other
            tcp dport { 1006, 1008-1010 } drop
            tcp dport 1011-1012 drop
            iif != lo tcp dport 1013 drop
            iifname lo tcp dport 1014 drop
            ip saddr 127.0.0.0/8 tcp dport 1015 drop
            ct state established tcp dport 1016 drop
            udp dport 1017 drop
            tcp dport 1005 drop
            limit rate 1/second tcp dport 1018 drop
            tcp dport 1004 goto last
        }
        chain last { ct state new drop; }
    }";
    const PORTS: &[u16] =
        &[1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1009, 1012, 1013, 1014, 1015, 1016, 1017, 1018];
    let Some(fates) = fates(rules, PORTS) else { return };
    let fate = |port: u16| &fates[PORTS.iter().position(|other| *other == port).expect("a port of the list")];
    for passes in [1000, 1005, 1007, 1013, 1016, 1017] {
        assert_eq!(*fate(passes), Fate::Passes, "{passes}");
    }
    for dropped in [1001, 1006, 1009, 1012, 1014, 1015] {
        assert!(stop("input", true, false)(fate(dropped)), "{dropped}: {:?}", fate(dropped));
    }
    assert!(stop("input", true, true)(fate(1002)), "{:?}", fate(1002));
    assert!(stop("other", true, false)(fate(1003)), "{:?}", fate(1003));
    assert!(stop("last", true, false)(fate(1004)), "{:?}", fate(1004));
    assert!(matches!(fate(1018), Fate::Perhaps(_)), "{:?}", fate(1018));
}

#[test]
fn a_policy_stops_what_no_rule_lets_pass() {
    let rules =
        "table inet t { chain input { type filter hook input priority 0; policy drop; tcp dport 80 accept; }; }";
    let Some(fates) = fates(rules, &[80, 81]) else { return };
    assert_eq!(fates[0], Fate::Passes);
    assert!(stop("input", false, false)(&fates[1]), "{:?}", fates[1]);
}
