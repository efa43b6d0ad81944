//! Rules of the older iptables, which nf_tables does not show: `iptables-legacy-save` prints them, and they are followed as
//! the others are. Only those of one kind are told apart by what they are called: a rule of these has no handle.

use std::{fs, io, process::Command};

use super::{
    Chain, Origin, Rule,
    expressions::{Effect, Expression, Set, Verdict, meta},
    read::{IPV4, IPV6},
};

/// Each family with what the kernel lists its tables in, and what prints their rules.
const FAMILIES: [(u8, &str, &str); 2] =
    [(IPV4, "ip_tables_names", "iptables-legacy-save"), (IPV6, "ip6_tables_names", "ip6tables-legacy-save")];

/// The chains of the caller's network namespace, and what is there but can't be read.
pub(super) fn chains() -> (Vec<Chain>, Vec<String>) {
    let (mut chains, mut unread) = (Vec::new(), Vec::new());
    for (family, list, program) in FAMILIES {
        // Without the file the kernel has no such tables.
        let tables = fs::read_to_string(format!("/proc/thread-self/net/{list}")).unwrap_or_default();
        let tables = tables.split_ascii_whitespace().collect::<Vec<_>>().join(", ");
        if tables.is_empty() {
            continue;
        }
        match save(program) {
            Ok(text) => chains.extend(parse(&text, family)),
            Err(error) => unread.push(format!("there are rules of iptables (tables {tables}), and {program}: {error}")),
        }
    }
    (chains, unread)
}

/// What the program prints; it need not be in `PATH`.
fn save(program: &str) -> io::Result<String> {
    let run = |program: &str| Command::new(program).output();
    let output = match run(program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => run(&format!("/usr/sbin/{program}"))?,
        result => result?,
    };
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// The chains in the format of `iptables-save`.
pub(super) fn parse(text: &str, family: u8) -> Vec<Chain> {
    let (mut chains, mut table) = (Vec::<Chain>::new(), "");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_ascii_whitespace();
            let Some(name) = words.next() else { continue };
            chains.push(Chain {
                origin: Origin::Legacy,
                family,
                table: table.to_owned(),
                name: name.to_owned(),
                hook: hook(name).map(|hook| (hook, priority(table))),
                drops_by_policy: words.next() == Some("DROP"),
                rules: Vec::new(),
            });
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (name, conditions) = rule.split_once(' ').unwrap_or((rule, ""));
            if let Some(chain) = chains.iter_mut().find(|chain| chain.table == table && chain.name == name) {
                let expressions = expressions(&words(conditions), family == IPV4);
                chain.rules.push(Rule { name: super::RuleName::Words(rule.to_owned()), expressions });
            }
        }
    }
    chains
}

/// The kernel's number of the station that a chain is called after.
fn hook(chain: &str) -> Option<u32> {
    ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]
        .iter()
        .position(|known| *known == chain)
        .map(|position| position as u32)
}

/// `enum nf_ip_hook_priorities`; which of two tables comes first decides only what is named.
fn priority(table: &str) -> i32 {
    match table {
        "raw" => -300,
        "mangle" => -150,
        "nat" => -100,
        "security" => 50,
        _ => 0,
    }
}

/// The words of a rule; what stands in quotation marks is one.
fn words(rule: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = rule.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' if quoted => word.extend(characters.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn expressions(words: &[String], v4: bool) -> Vec<Expression> {
    let mut expressions = Vec::new();
    let mut words = words.iter().map(String::as_str).peekable();
    let mut inverted = false;
    while let Some(word) = words.next() {
        if word == "!" {
            inverted = true;
            continue;
        }
        if matches!(word, "-j" | "-g") {
            // What follows the target says how it does its work.
            expressions.push(target(words.next().unwrap_or_default(), word == "-j"));
            return expressions;
        }
        let values: Vec<&str> =
            std::iter::from_fn(|| words.next_if(|word| !word.starts_with('-') && *word != "!")).collect();
        match condition(word, values.first().copied().unwrap_or_default(), inverted, v4) {
            Some(condition) => expressions.extend(condition),
            None => expressions.push(Expression::Unknown),
        }
        inverted = false;
    }
    expressions
}

/// What one option with its value demands; `None` for one that is not understood.
fn condition(option: &str, value: &str, inverted: bool, v4: bool) -> Option<Vec<Expression>> {
    let payload = |base, offset, length| Expression::Payload { into: 1, base, offset, length };
    let equals = |value: Vec<u8>| Expression::Compare { from: 1, operator: u32::from(inverted), value };
    Some(match option {
        // Its options follow.
        "-m" => vec![],
        "--comment" => vec![],
        "-p" => {
            let number = match value {
                "tcp" => 6,
                "udp" => 17,
                other => other.parse().ok().or_else(|| ["icmp", "sctp", "udplite"].contains(&other).then_some(0))?,
            };
            vec![Expression::Meta { into: 1, key: meta::L4PROTO }, equals(vec![number])]
        }
        "-s" | "-d" => {
            let (offset, length) = match (option, v4) {
                ("-s", true) => (12, 4),
                ("-s", false) => (8, 16),
                (_, true) => (16, 4),
                (_, false) => (24, 16),
            };
            let (address, mask) = network(value, v4)?;
            let xor = vec![0; length];
            vec![payload(1, offset, length), Expression::Bitwise { from: 1, into: 1, mask, xor }, equals(address)]
        }
        "-i" | "-o" => {
            let key = if option == "-i" { meta::IIFNAME } else { meta::OIFNAME };
            // Of `eth+` only what comes before the plus counts.
            let name = value.strip_suffix('+').map_or_else(|| [value.as_bytes(), &[0]].concat(), Into::into);
            vec![Expression::Meta { into: 1, key }, equals(name)]
        }
        "--dport" | "--dports" => {
            vec![payload(2, 2, 2), Expression::Lookup { from: 1, inverted, set: Some(ports(value)?) }]
        }
        "--ctstate" | "--state" => {
            // `NF_CT_STATE_BIT(IP_CT_NEW)`: the packet that is followed is the first of its connection.
            let is_new = value.split(',').any(|state| state == "NEW");
            let never = Expression::Compare { from: 1, operator: 0, value: vec![u8::MAX] };
            let load = Expression::Meta { into: 1, key: meta::L4PROTO };
            if is_new == inverted { vec![load, never] } else { vec![] }
        }
        _ => return None,
    })
}

/// Bytes of a network's address and of its mask, from `10.0.0.0/8` or `10.0.0.0/255.0.0.0`.
fn network(text: &str, v4: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let bytes = |address: &str| -> Option<Vec<u8>> {
        Some(if v4 {
            address.parse::<std::net::Ipv4Addr>().ok()?.octets().to_vec()
        } else {
            address.parse::<std::net::Ipv6Addr>().ok()?.octets().to_vec()
        })
    };
    let (address, mask) = text.split_once('/').unwrap_or((text, if v4 { "32" } else { "128" }));
    let address = bytes(address)?;
    let mask = match mask.parse::<usize>() {
        Ok(length) => {
            let bits = |index: usize| length.saturating_sub(8 * index).min(8) as u32;
            (0..address.len()).map(|index| 0xff_u8.checked_shl(8 - bits(index)).unwrap_or(0)).collect()
        }
        Err(_) => bytes(mask)?,
    };
    Some((address, mask))
}

/// Ports as `80`, `80:90` and lists of these, as the borders of intervals.
fn ports(text: &str) -> Option<Set> {
    let mut elements = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        elements.push((first.to_be_bytes().to_vec(), false));
        // The last interval may have no end: the set is told as one of intervals by a border before all ports then.
        elements.push((last.checked_add(1).map_or(vec![], |end| end.to_be_bytes().to_vec()), true));
    }
    Some(Set { elements })
}

fn target(name: &str, comes_back: bool) -> Expression {
    match name {
        "ACCEPT" => Expression::Decide(Effect::Verdict(Verdict::Accept)),
        "RETURN" => Expression::Decide(Effect::Verdict(Verdict::Return)),
        "DROP" => Expression::Decide(Effect::Stop { rejects: false }),
        "REJECT" => Expression::Decide(Effect::Stop { rejects: true }),
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "CT" | "TCPMSS" => Expression::Nothing,
        // Extensions are in capitals, chains of users hardly ever; one that is no chain is passed without a word.
        name if name.bytes().all(|byte| byte.is_ascii_uppercase()) => Expression::Unknown,
        name => Expression::Decide(Effect::Verdict(Verdict::Call { chain: name.to_owned(), comes_back })),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fate, Packet, Ruleset, Way};
    use super::*;
    use crate::Transport;

    const RULES: &str = r#"
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-input - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j DROP
-A INPUT -p tcp -m tcp --dport 7000 -m comment --comment "not \"this\" one" -j DROP
-A INPUT -p udp -m udp --dport 7001 -j DROP
-A INPUT -p tcp -m multiport --dports 7002,7010:7019,65535 -j REJECT --reject-with tcp-reset
-A INPUT ! -s 127.0.0.0/8 -p tcp -m tcp --dport 7003 -j DROP
-A INPUT ! -i lo -p tcp -m tcp --dport 7004 -j DROP
-A INPUT -d 127.0.0.1/32 -i l+ -p tcp -m tcp ! --dport 7000:7999 -j ufw-input
-A INPUT -p tcp -m tcp --dport 7005 -m recent --rcheck -j DROP
-A ufw-input -p tcp -m tcp --dport 8001 -j RETURN
-A ufw-input -m state --state NEW -p tcp -m tcp --dport 8000:8002 -j DROP
COMMIT
"#;

    fn fate(port: u16) -> Fate {
        let rules = Ruleset { chains: parse(RULES, IPV4), unread: Vec::new() };
        let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
        let way = Way::Local;
        rules.fate(&Packet { transport: Transport::Tcp, source: Some(loopback), destination: loopback, port, way })
    }

    fn stopped_by(port: u16) -> String {
        match fate(port) {
            Fate::Stopped(stop) => stop.to_string(),
            other => panic!("{port}: {other:?}"),
        }
    }

    #[test]
    fn rules_are_followed_as_they_are_saved() {
        for passes in [80, 7001, 7003, 7004, 7009, 7020, 8001, 8003] {
            assert_eq!(fate(passes), Fate::Passes, "{passes}");
        }
        assert_eq!(
            stopped_by(7000),
            r#"rule "INPUT -p tcp -m tcp --dport 7000 -m comment --comment "not \"this\" one" -j DROP" of iptables table filter"#
        );
        for port in [7002, 7010, 7019, 65535] {
            assert!(stopped_by(port).contains("multiport"), "{port}");
        }
        assert!(stopped_by(8000).contains("ufw-input"));
        assert!(matches!(fate(7005), Fate::Perhaps(_)), "what is not understood is neither true nor false");
    }

    #[test]
    fn a_policy_is_followed_and_families_are_apart() {
        let text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -s fd00::/8 -j ACCEPT\nCOMMIT\n";
        let rules = Ruleset { chains: parse(text, IPV6), unread: Vec::new() };
        let packet = |source: &str, destination: &str| {
            let (source, destination) = (source.parse().ok(), destination.parse().unwrap());
            rules.fate(&Packet { transport: Transport::Tcp, source, destination, port: 80, way: Way::In })
        };
        assert_eq!(packet("fd00::1", "::1"), Fate::Passes);
        assert_eq!(packet("127.0.0.1", "127.0.0.1"), Fate::Passes);
        let Fate::Stopped(stop) = packet("2001:db8::1", "::1") else { panic!("passes") };
        assert_eq!(stop.to_string(), "the policy of chain INPUT of ip6tables table filter");
    }
}
