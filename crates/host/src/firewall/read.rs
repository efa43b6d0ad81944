//! Reading the rules: nfnetlink dumps of chains, rules and the elements of sets.

use std::{collections::HashMap, io};

use super::{
    Chain, Origin, Rule, RuleName,
    expressions::{Effect, Expression, Set, Verdict},
};
use crate::netlink::Netlink;

/// `NFPROTO_INET`: both families.
pub(super) const INET: u8 = 1;
/// `NFPROTO_IPV4`.
pub(super) const IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub(super) const IPV6: u8 = 10;

const SUBSYSTEM: u16 = 10 << 8;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const GET_RULE: u16 = SUBSYSTEM | 7;
const GET_SET_ELEMENTS: u16 = SUBSYSTEM | 13;
/// Length of `struct nfgenmsg`: family, version, resource.
const HEADER: usize = 4;

type Attributes<'a> = HashMap<u16, &'a [u8]>;

pub(super) fn chains(netlink: &mut Netlink) -> io::Result<Vec<Chain>> {
    let mut chains = Vec::new();
    netlink.dump(GET_CHAIN, &[0; HEADER], |answer| chains.extend(chain(answer)))?;
    let mut rules = Vec::new();
    netlink.dump(GET_RULE, &[0; HEADER], |answer| rules.extend(rule(answer)))?;
    let mut sets: HashMap<(u8, String, String), Option<Set>> = HashMap::new();
    for RawRule { family, table, chain, handle, expressions } in rules {
        let mut parsed = Vec::new();
        for (name, data) in expressions {
            let one = expression(&name, &data);
            parsed.push(match one {
                Parsed::Done(expression) => expression,
                Parsed::Lookup { from, inverted, set } => {
                    let key = (family, table.clone(), set);
                    let known =
                        sets.entry(key).or_insert_with_key(|(_, _, set)| elements(netlink, family, &table, set).ok());
                    Expression::Lookup { from, inverted, set: known.clone() }
                }
            });
        }
        let of = |known: &&mut Chain| (known.family, &known.table, &known.name) == (family, &table, &chain);
        if let Some(chain) = chains.iter_mut().find(of) {
            chain.rules.push(Rule { name: RuleName::Handle(handle), expressions: parsed });
        }
    }
    Ok(chains)
}

fn chain(answer: &[u8]) -> Option<Chain> {
    const NF_DROP: u32 = 0;
    let all = attributes(answer.get(HEADER..)?);
    let hook = all.get(&4).map(|nested| attributes(nested)).and_then(|hook| {
        let priority = number(hook.get(&2)?)?;
        Some((number(hook.get(&1)?)?, priority.cast_signed()))
    });
    Some(Chain {
        origin: Origin::NfTables,
        family: answer[0],
        table: text(all.get(&1)?),
        name: text(all.get(&3)?),
        hook,
        drops_by_policy: all.get(&5).and_then(|policy| number(policy)) == Some(NF_DROP),
        rules: Vec::new(),
    })
}

struct RawRule {
    family: u8,
    table: String,
    chain: String,
    handle: u64,
    expressions: Vec<(String, Vec<u8>)>,
}

fn rule(answer: &[u8]) -> Option<RawRule> {
    let all = attributes(answer.get(HEADER..)?);
    let expression = |(_, bytes): (u16, &[u8])| {
        let one = attributes(bytes);
        Some((text(one.get(&1)?), one.get(&2).map(|data| data.to_vec()).unwrap_or_default()))
    };
    Some(RawRule {
        family: answer[0],
        table: text(all.get(&1)?),
        chain: text(all.get(&2)?),
        handle: u64::from_be_bytes((*all.get(&3)?).try_into().ok()?),
        expressions: list(all.get(&4).copied().unwrap_or_default()).filter_map(expression).collect(),
    })
}

enum Parsed {
    Done(Expression),
    /// A set's elements have to be asked for.
    Lookup {
        from: u32,
        inverted: bool,
        set: String,
    },
}

/// What an expression is; one that is malformed is as unknown as a foreign one.
fn expression(name: &str, data: &[u8]) -> Parsed {
    let all = attributes(data);
    if name == "lookup" {
        // A map (with a register to fill) gives values, or verdicts, which is more than is understood here.
        return match (all.get(&1), all.get(&2).and_then(|from| register(from)), all.contains_key(&3)) {
            (Some(set), Some(from), false) => {
                let inverted = all.get(&5).and_then(|flags| number(flags)).is_some_and(|flags| flags & 1 != 0);
                Parsed::Lookup { from, inverted, set: text(set) }
            }
            _ => Parsed::Done(Expression::Unknown),
        };
    }
    Parsed::Done(simple(name, &all).unwrap_or(Expression::Unknown))
}

fn simple(name: &str, all: &Attributes<'_>) -> Option<Expression> {
    const CT_STATE: u32 = 0;
    let at = |kind: u16| all.get(&kind).copied();
    let size = |kind: u16| at(kind).and_then(number).map(|number| number as usize);
    Some(match name {
        "meta" => Expression::Meta { into: register(at(1)?)?, key: number(at(2)?)? },
        "payload" => {
            Expression::Payload { into: register(at(1)?)?, base: number(at(2)?)?, offset: size(3)?, length: size(4)? }
        }
        "ct" if number(at(2)?)? == CT_STATE => Expression::ConnectionState { into: register(at(1)?)? },
        "bitwise" => Expression::Bitwise {
            from: register(at(1)?)?,
            into: register(at(2)?)?,
            mask: value(at(4)?)?,
            xor: value(at(5)?)?,
        },
        "cmp" => Expression::Compare { from: register(at(1)?)?, operator: number(at(2)?)?, value: value(at(3)?)? },
        "range" => Expression::Range {
            from: register(at(1)?)?,
            inverted: number(at(2)?)? != 0,
            first: value(at(3)?)?,
            last: value(at(4)?)?,
        },
        "immediate" => Expression::Decide(verdict(at(2)?)?),
        "reject" => Expression::Decide(Effect::Stop { rejects: true }),
        "counter" | "log" | "last" | "notrack" => Expression::Nothing,
        _ => return None,
    })
}

/// What an immediate verdict says.
fn verdict(data: &[u8]) -> Option<Effect> {
    const DROP: i32 = 0;
    const ACCEPT: i32 = 1;
    const CONTINUE: i32 = -1;
    const JUMP: i32 = -3;
    const GOTO: i32 = -4;
    const RETURN: i32 = -5;
    let data = attributes(data);
    let verdict = attributes(data.get(&2)?);
    let chain = || verdict.get(&2).map(|name| text(name));
    Some(match number(verdict.get(&1)?)?.cast_signed() {
        DROP => Effect::Stop { rejects: false },
        ACCEPT => Effect::Verdict(Verdict::Accept),
        RETURN => Effect::Verdict(Verdict::Return),
        CONTINUE => Effect::None,
        JUMP => Effect::Verdict(Verdict::Call { chain: chain()?, comes_back: true }),
        GOTO => Effect::Verdict(Verdict::Call { chain: chain()?, comes_back: false }),
        _ => Effect::Unknown,
    })
}

/// The elements of a set.
fn elements(netlink: &mut Netlink, family: u8, table: &str, set: &str) -> io::Result<Set> {
    const ENDS: u32 = 1;
    const KEY_END: u16 = 10;
    let mut request = vec![family, 0, 0, 0];
    for (kind, name) in [(1, table), (2, set)] {
        put_text(&mut request, kind, name);
    }
    let (mut found, mut understood) = (Set::default(), true);
    netlink.dump(GET_SET_ELEMENTS, &request, |answer| {
        let all = attributes(answer.get(HEADER..).unwrap_or_default());
        for (_, element) in list(all.get(&3).copied().unwrap_or_default()) {
            let element = attributes(element);
            understood &= !element.contains_key(&KEY_END);
            let ends = element.get(&3).and_then(|flags| number(flags)).is_some_and(|flags| flags & ENDS != 0);
            match element.get(&1).and_then(|key| value(key)) {
                Some(key) => found.elements.push((key, ends)),
                None => understood = false,
            }
        }
    })?;
    if understood { Ok(found) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn put_text(message: &mut Vec<u8>, kind: u16, text: &str) {
    let length = 4 + text.len() + 1;
    message.extend_from_slice(&(length as u16).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(text.as_bytes());
    message.push(0);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn attributes(bytes: &[u8]) -> Attributes<'_> {
    list(bytes).collect()
}

/// Attributes with their kinds, in their order; what is malformed ends the list.
fn list(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1, ..] = *bytes else { return None };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & KIND, value))
    })
}

/// Numbers of nf_tables are in network byte order.
fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// The four old registers of 16 bytes are the first of the 16 new ones of 4 bytes.
fn register(bytes: &[u8]) -> Option<u32> {
    const FIRST_SMALL: u32 = 8;
    match number(bytes)? {
        0 => None,
        large @ 1..FIRST_SMALL => Some((large - 1) * 4),
        small => Some(small - FIRST_SMALL),
    }
}

fn value(data: &[u8]) -> Option<Vec<u8>> {
    attributes(data).get(&1).map(|bytes| bytes.to_vec())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}
