//! The states of a flow and which operation is legal in which of them.
//!
//! | state | legal operations |
//! |---|---|
//! | `New` | `Connect`, `Establish` |
//! | `Connecting` | `Establish` |
//! | `Established` | `End(either side)` |
//! | `HalfClosed(side)` | `End(the other side)` |
//! | `Closing` | – |
//!
//! A flow may be removed from its table (reset, refused, timed out, finished) in every state.

use thiserror::Error;

/// One of the two sides of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that began: the client.
    Initiating,
    /// The side that was addressed: the server.
    Target,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::Initiating => Side::Target,
            Side::Target => Side::Initiating,
        }
    }
}

/// Where a flow stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// The initiating side asked; nothing was done yet.
    #[default]
    New,
    /// The target side is being connected; the initiating side has no answer yet.
    Connecting,
    /// Data passes both ways.
    Established,
    /// The named side has sent its end (FIN); the other one may still send.
    HalfClosed(Side),
    /// Both sides have sent their end; what is in flight is being delivered.
    Closing,
}

/// What can happen to a flow, apart from its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The connection to the target side is begun.
    Connect,
    /// Both sides are connected.
    Establish,
    /// A side sent its end.
    End(Side),
}

/// The operation is not legal in the flow's state; the flow is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{operation:?} is not legal for a flow that is {state:?}")]
pub struct IllegalOperation {
    /// The flow's state.
    pub state: Lifecycle,
    /// What was asked for.
    pub operation: Operation,
}

impl Lifecycle {
    /// The state after `operation`; see the module's table.
    pub fn after(self, operation: Operation) -> Result<Lifecycle, IllegalOperation> {
        match (self, operation) {
            (Lifecycle::New, Operation::Connect) => Ok(Lifecycle::Connecting),
            (Lifecycle::New | Lifecycle::Connecting, Operation::Establish) => Ok(Lifecycle::Established),
            (Lifecycle::Established, Operation::End(side)) => Ok(Lifecycle::HalfClosed(side)),
            (Lifecycle::HalfClosed(ended), Operation::End(side)) if side != ended => Ok(Lifecycle::Closing),
            (state, operation) => Err(IllegalOperation { state, operation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [Lifecycle; 6] = [
        Lifecycle::New,
        Lifecycle::Connecting,
        Lifecycle::Established,
        Lifecycle::HalfClosed(Side::Initiating),
        Lifecycle::HalfClosed(Side::Target),
        Lifecycle::Closing,
    ];
    const OPERATIONS: [Operation; 4] =
        [Operation::Connect, Operation::Establish, Operation::End(Side::Initiating), Operation::End(Side::Target)];

    #[test]
    fn legal_operations_are_exactly_the_documented_ones() {
        let legal: Vec<(Lifecycle, Operation)> = STATES
            .iter()
            .flat_map(|state| OPERATIONS.iter().map(move |operation| (*state, *operation)))
            .filter(|(state, operation)| state.after(*operation).is_ok())
            .collect();
        assert_eq!(
            legal,
            [
                (Lifecycle::New, Operation::Connect),
                (Lifecycle::New, Operation::Establish),
                (Lifecycle::Connecting, Operation::Establish),
                (Lifecycle::Established, Operation::End(Side::Initiating)),
                (Lifecycle::Established, Operation::End(Side::Target)),
                (Lifecycle::HalfClosed(Side::Initiating), Operation::End(Side::Target)),
                (Lifecycle::HalfClosed(Side::Target), Operation::End(Side::Initiating)),
            ]
        );
    }

    #[test]
    fn both_orders_of_ending_close() {
        for first in [Side::Initiating, Side::Target] {
            let half = Lifecycle::Established.after(Operation::End(first)).unwrap();
            assert_eq!(half, Lifecycle::HalfClosed(first));
            assert_eq!(half.after(Operation::End(first.other())), Ok(Lifecycle::Closing));
        }
    }
}
