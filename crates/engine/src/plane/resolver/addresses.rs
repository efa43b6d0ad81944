//! What an answer says a name leads to.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::{Message, ParsedName, Record, ToName};
use domain::rdata::svcb::SvcParams;
use domain::rdata::svcb::value::{Ipv4Hint, Ipv6Hint};
use domain::rdata::{A, Aaaa, Cname, Https, Svcb};

use super::message::DnsName;

/// Longest chain of aliases that is followed; resolvers give up earlier.
const MAX_ALIASES: usize = 20;

/// The addresses that an answer gives for a name, by itself or by the names that it is an alias of, with the time for which
/// they may be kept. Records about other names say nothing.
pub(super) fn led_to(name: &DnsName, answer: &[u8]) -> Vec<(IpAddr, Duration)> {
    let Ok(answer) = Message::from_octets(answer) else { return Vec::new() };
    let names = names_of(name, &answer);
    let is_named = |owner: &ParsedName<&[u8]>| names.iter().any(|name| name.name_eq(owner));
    let mut found = Vec::new();
    let Ok(section) = answer.answer() else { return found };
    for record in section.limit_to_in::<A>().flatten().filter(|record| is_named(record.owner())) {
        found.push((record.data().addr().into(), lifetime(&record)));
    }
    for record in section.limit_to_in::<Aaaa>().flatten().filter(|record| is_named(record.owner())) {
        found.push((record.data().addr().into(), lifetime(&record)));
    }
    // RFC 9460 §7.3: addresses for whoever does not want to ask for them.
    for record in section.limit_to_in::<Https<_, _>>().flatten().filter(|record| is_named(record.owner())) {
        found.extend(hints(record.data().params()).into_iter().map(|address| (address, lifetime(&record))));
    }
    for record in section.limit_to_in::<Svcb<_, _>>().flatten().filter(|record| is_named(record.owner())) {
        found.extend(hints(record.data().params()).into_iter().map(|address| (address, lifetime(&record))));
    }
    found
}

/// The name, and those that it is an alias of.
fn names_of(name: &DnsName, answer: &Message<&[u8]>) -> Vec<DnsName> {
    let mut names = vec![name.clone()];
    let Ok(section) = answer.answer() else { return names };
    let aliases: Vec<Record<_, Cname<_>>> = section.limit_to_in::<Cname<_>>().flatten().collect();
    while let Some(last) = names.last()
        && names.len() <= MAX_ALIASES
        && let Some(alias) = aliases.iter().find(|alias| last.name_eq(alias.owner()))
    {
        let next: DnsName = alias.data().cname().to_vec();
        if names.contains(&next) {
            break;
        }
        names.push(next);
    }
    names
}

fn hints(parameters: &SvcParams<&[u8]>) -> Vec<IpAddr> {
    let (v4, v6) = (parameters.first::<Ipv4Hint<_>>(), parameters.first::<Ipv6Hint<_>>());
    let v4 = v4.iter().flat_map(Ipv4Hint::iter).map(IpAddr::from);
    v4.chain(v6.iter().flat_map(Ipv6Hint::iter).map(IpAddr::from)).collect()
}

fn lifetime<N, D>(record: &Record<N, D>) -> Duration {
    Duration::from_secs(record.ttl().as_secs().into())
}
