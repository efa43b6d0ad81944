//! Sockets for the next connections to the outside, made while nobody waits for them: with their options they are eight system
//! calls.

use std::os::fd::OwnedFd;

use minato_host::Family;
use minato_host::sockets::{self, Failure};

/// One socket of each family that was asked for.
#[derive(Debug, Default)]
pub(super) struct ReadySockets {
    /// IPv4's and IPv6's.
    places: [Place; 2],
}

#[derive(Debug, Default)]
enum Place {
    /// None was needed since the last refill, which made none.
    #[default]
    Unused,
    Ready(OwnedFd),
    Taken,
}

impl ReadySockets {
    /// A socket for one connection.
    ///
    /// # Errors
    /// As of [`sockets::connecting_socket`].
    pub(super) fn take(&mut self, family: Family) -> Result<OwnedFd, Failure> {
        match std::mem::replace(&mut self.places[place(family)], Place::Taken) {
            Place::Ready(socket) => Ok(socket),
            Place::Unused | Place::Taken => sockets::connecting_socket(family),
        }
    }

    /// Makes those anew that were taken.
    pub(super) fn refill(&mut self) {
        for family in [Family::V4, Family::V6] {
            let place = &mut self.places[place(family)];
            if matches!(place, Place::Taken) {
                // What can't be made now is made when it is needed, or that fails, and says why.
                *place = sockets::connecting_socket(family).map_or(Place::Unused, Place::Ready);
            }
        }
    }
}

fn place(family: Family) -> usize {
    usize::from(family == Family::V6)
}
