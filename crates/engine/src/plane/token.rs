//! What an event of the poller is about, packed into its 64 bits.

use minato_relay::{FlowId, Side};

/// Who is told when a descriptor becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Token {
    /// The TAP device.
    Tap,
    /// The queue of commands.
    Commands,
    /// The agent's process has ended.
    Agent,
    /// The socket events of the host with this serial number.
    Host(u32),
    /// The held port of a forward: its place and the low bits of its ID.
    Forward(usize, u32),
    /// The socket of one side of a flow.
    Flow(FlowId, Side),
    /// An echo socket, by its place. A late event about another one in that place does no harm.
    Echo(usize),
    /// A question to a resolver, by its place; as above.
    Query(usize),
}

/// Places are below this: 8 bits of the lower word tell the kind.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// The most flows that a plane may have, so that their places fit.
pub(super) const MAX_FLOWS: usize = 1 << PLACE_BITS;

impl Token {
    pub(super) fn to_bits(self) -> u64 {
        let (kind, rest) = match self {
            Token::Tap => (0, 0),
            Token::Commands => (1, 0),
            Token::Agent => (8, 0),
            Token::Host(serial) => (2, u64::from(serial) << 32),
            Token::Forward(place, serial) => (3, u64::from(serial) << 32 | place as u64),
            Token::Flow(id, Side::Initiating) => (4, id.to_bits()),
            Token::Flow(id, Side::Target) => (5, id.to_bits()),
            Token::Echo(place) => (6, place as u64),
            Token::Query(place) => (7, place as u64),
        };
        debug_assert!(rest & (0xff << PLACE_BITS) == 0);
        rest | kind << PLACE_BITS
    }

    pub(super) fn from_bits(bits: u64) -> Option<Token> {
        let place = (bits & PLACE_MASK) as usize;
        let serial = (bits >> 32) as u32;
        let flow = FlowId::from_bits(bits & !(0xff << PLACE_BITS));
        Some(match bits >> PLACE_BITS & 0xff {
            0 => Token::Tap,
            1 => Token::Commands,
            2 => Token::Host(serial),
            3 => Token::Forward(place, serial),
            4 => Token::Flow(flow, Side::Initiating),
            5 => Token::Flow(flow, Side::Target),
            6 => Token::Echo(place),
            7 => Token::Query(place),
            8 => Token::Agent,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_event_queue() {
        let flow = FlowId::from_bits(0xffff_fffe_00ab_cdef);
        for token in [
            Token::Tap,
            Token::Commands,
            Token::Agent,
            Token::Host(u32::MAX),
            Token::Forward(MAX_FLOWS - 1, 7),
            Token::Flow(flow, Side::Initiating),
            Token::Flow(flow, Side::Target),
            Token::Echo(3),
            Token::Query(4),
        ] {
            assert_eq!(Token::from_bits(token.to_bits()), Some(token));
        }
    }
}
