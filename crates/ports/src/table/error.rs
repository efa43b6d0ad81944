use std::fmt;

use super::{BindRequest, Binding, ReservationId, SocketState};

/// What a reservation holds and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<O> {
    /// Its name.
    pub id: ReservationId,
    /// Binding, options and user. The address of a wildcard becomes a specific one with the connection.
    pub request: BindRequest,
    /// What the socket does.
    pub state: SocketState,
    /// Whose it is, in the caller's terms.
    pub owner: O,
}

/// Why a binding was refused (`EADDRINUSE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReserveError<O = ()> {
    /// What was asked for.
    pub requested: Binding,
    /// The reservation in conflict. If there are several, any of them.
    pub holder: Holder<O>,
}

impl<O: fmt::Debug> std::error::Error for ReserveError<O> {}

impl<O> fmt::Display for ReserveError<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in use: {} stands in the way", self.requested, self.holder)
    }
}

impl<O> fmt::Display for Holder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            SocketState::Bound => "bound",
            SocketState::Listening => "listening",
            SocketState::Connected => "connected",
            SocketState::TimeWait => "in TIME-WAIT",
        };
        write!(f, "{} ({state}, uid {})", self.request.binding, self.request.uid)
    }
}
