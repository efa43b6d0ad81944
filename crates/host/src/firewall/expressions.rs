//! The expressions of a rule, as far as they are understood, and what they say about a packet.

use std::collections::HashMap;

use super::packet::{Hook, Packet, Way};

/// One step of a rule: loads something into a register, or compares what is there, or decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Meta {
        into: u32,
        key: u32,
    },
    Payload {
        into: u32,
        base: u32,
        offset: usize,
        length: usize,
    },
    /// The state of the connection, which is new.
    ConnectionState {
        into: u32,
    },
    Bitwise {
        from: u32,
        into: u32,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Compare {
        from: u32,
        operator: u32,
        value: Vec<u8>,
    },
    Range {
        from: u32,
        inverted: bool,
        first: Vec<u8>,
        last: Vec<u8>,
    },
    Lookup {
        from: u32,
        inverted: bool,
        set: Option<Set>,
    },
    Decide(Effect),
    /// Counts, logs and the like: changes nothing.
    Nothing,
    /// A condition or an action that is not understood.
    Unknown,
}

/// Elements of a set: single keys, or the borders of intervals (`true` where one ends).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) elements: Vec<(Vec<u8>, bool)>,
}

/// What a rule does to what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Stop { rejects: bool },
    Verdict(Verdict),
    Unknown,
}

/// Where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Return,
    Call { chain: String, comes_back: bool },
}

/// Whether a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matched {
    Yes,
    No,
    Perhaps,
}

/// `enum nft_meta_keys`.
pub(super) mod meta {
    pub(in crate::firewall) const PROTOCOL: u32 = 1;
    pub(in crate::firewall) const IIF: u32 = 4;
    pub(in crate::firewall) const OIF: u32 = 5;
    pub(in crate::firewall) const IIFNAME: u32 = 6;
    pub(in crate::firewall) const OIFNAME: u32 = 7;
    pub(in crate::firewall) const NFPROTO: u32 = 15;
    pub(in crate::firewall) const L4PROTO: u32 = 16;
}

/// `enum nft_payload_bases`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// `NF_CT_STATE_BIT(IP_CT_NEW)`.
const NEW: u32 = 8;

/// Whether a rule applies to a packet, and what it does then.
pub(super) fn evaluate(expressions: &[Expression], packet: &Packet, hook: Hook) -> (Matched, Effect) {
    let mut registers: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut matched = Matched::Yes;
    for expression in expressions {
        let condition = match expression {
            Expression::Decide(effect) => return (matched, effect.clone()),
            Expression::Nothing => Some(true),
            Expression::Unknown => None,
            Expression::Compare { from, operator, value } => {
                registers.get(from).and_then(|known| compare(known, *operator, value))
            }
            Expression::Range { from, inverted, first, last } => registers.get(from).map(|known| {
                (known.as_slice() >= first.as_slice() && known.as_slice() <= last.as_slice()) != *inverted
            }),
            Expression::Lookup { from, inverted, set } => {
                set.as_ref().zip(registers.get(from)).map(|(set, known)| set.contains(known) != *inverted)
            }
            load => {
                let (into, value) = loaded(load, &registers, packet, hook);
                match value {
                    Some(value) => registers.insert(into, value),
                    None => registers.remove(&into),
                };
                Some(true)
            }
        };
        match condition {
            Some(true) => {}
            Some(false) => return (Matched::No, Effect::None),
            None => matched = Matched::Perhaps,
        }
    }
    let ends_unknown = expressions.contains(&Expression::Unknown);
    (matched, if ends_unknown { Effect::Unknown } else { Effect::None })
}

/// The register that an expression fills, and with what, if that is known.
fn loaded(load: &Expression, registers: &HashMap<u32, Vec<u8>>, packet: &Packet, hook: Hook) -> (u32, Option<Vec<u8>>) {
    match load {
        Expression::Meta { into, key } => (*into, meta_value(*key, packet, hook)),
        Expression::Payload { into, base: NETWORK_HEADER, offset, length } => (*into, packet.network(*offset, *length)),
        Expression::Payload { into, base: TRANSPORT_HEADER, offset, length } => {
            (*into, packet.transport(*offset, *length))
        }
        Expression::Payload { into, .. } => (*into, None),
        Expression::ConnectionState { into } => (*into, Some(NEW.to_ne_bytes().to_vec())),
        Expression::Bitwise { from, into, mask, xor } => {
            let apply = |known: &Vec<u8>| {
                known.iter().zip(mask).zip(xor).map(|((byte, mask), xor)| (byte & mask) ^ xor).collect::<Vec<u8>>()
            };
            (*into, registers.get(from).map(apply))
        }
        _ => (u32::MAX, None),
    }
}

fn meta_value(key: u32, packet: &Packet, hook: Hook) -> Option<Vec<u8>> {
    let v4 = packet.destination.is_ipv4();
    let incoming = matches!(hook, Hook::Prerouting | Hook::Input);
    // A packet to this machine itself passes `lo`, whose index is always 1.
    let of_loopback = |at_this_end: bool| packet.way == Way::Local && at_this_end;
    let name = || {
        let mut bytes = b"lo".to_vec();
        bytes.resize(16, 0);
        bytes
    };
    match key {
        meta::L4PROTO => Some(vec![packet.protocol()]),
        meta::NFPROTO => Some(vec![if v4 { super::read::IPV4 } else { super::read::IPV6 }]),
        meta::PROTOCOL => Some(if v4 { vec![0x08, 0x00] } else { vec![0x86, 0xdd] }),
        meta::IIF if of_loopback(incoming) => Some(1u32.to_ne_bytes().to_vec()),
        meta::OIF if of_loopback(!incoming) => Some(1u32.to_ne_bytes().to_vec()),
        meta::IIFNAME if of_loopback(incoming) => Some(name()),
        meta::OIFNAME if of_loopback(!incoming) => Some(name()),
        _ => None,
    }
}

/// `enum nft_cmp_ops`, on as many bytes as the rule has.
fn compare(known: &[u8], operator: u32, value: &[u8]) -> Option<bool> {
    let known = known.get(..value.len())?;
    Some(match operator {
        0 => known == value,
        1 => known != value,
        2 => known < value,
        3 => known <= value,
        4 => known > value,
        5 => known >= value,
        _ => return None,
    })
}

impl Set {
    /// In a set of intervals, whether the last border at or below the key begins one.
    fn contains(&self, key: &[u8]) -> bool {
        if !self.elements.iter().any(|(_, ends)| *ends) {
            return self.elements.iter().any(|(element, _)| element == key);
        }
        let below = self.elements.iter().filter(|(border, _)| border.as_slice() <= key);
        // Where one interval ends and the next begins, the beginning counts.
        below.max_by_key(|(border, ends)| (border, !ends)).is_some_and(|(_, ends)| !ends)
    }
}
