//! Handles that the caller holds: an index and a generation, so that a stale handle is recognised and never hits its successor.

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            pub(crate) index: u32,
            pub(crate) generation: u32,
        }

        impl $name {
            /// The handle as one number, for use as a key or in a log.
            #[must_use]
            pub fn to_bits(self) -> u64 {
                u64::from(self.generation) << 32 | u64::from(self.index)
            }
        }
    };
}

handle! {
    /// A TCP connection, from `accept_incoming`, `accept` or `connect` until `close`, `abort` or `Event::Reset`.
    ConnectionId
}
handle! {
    /// A connection request that is held unanswered (`Event::Incoming`).
    IncomingId
}
handle! {
    /// A UDP socket of the stack itself.
    SocketId
}
handle! {
    /// A listening socket of the stack itself.
    ListenerId
}
