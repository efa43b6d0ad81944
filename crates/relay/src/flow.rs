//! The table of flows: who talks to whom, since when, how much, and where each conversation stands.

use std::net::SocketAddr;
use std::time::Instant;

use minato_ports::Transport;
use slab::Slab;
use thiserror::Error;

use crate::lifecycle::{IllegalOperation, Lifecycle, Operation};

/// Names a flow. An ID is not given out again after its flow was removed (until 2³² more flows were made), so a late
/// event about a removed flow finds nothing instead of another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

impl FlowId {
    /// The ID as one number, for event queues that carry 64 bits.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The ID that [`FlowId::to_bits`] made this number of.
    pub fn from_bits(bits: u64) -> FlowId {
        FlowId { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// What passed through a flow, in bytes of payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the initiating to the target side.
    pub to_target: u64,
    /// From the target to the initiating side.
    pub to_initiating: u64,
}

/// One conversation. `sides` is what the caller needs to serve it: its sockets.
#[derive(Debug)]
pub struct Flow<S> {
    /// TCP or UDP.
    pub transport: Transport,
    /// The initiating side's address, as the target side sees it.
    pub client: SocketAddr,
    /// The address that the initiating side asked for.
    pub server: SocketAddr,
    /// The forward that it came through, if it came from outside.
    pub forward: Option<u64>,
    /// When it began.
    pub started: Instant,
    /// When something passed last.
    pub last_used: Instant,
    /// What passed so far.
    pub counters: Counters,
    /// The sockets, or whatever else serves the flow.
    pub sides: S,
    lifecycle: Lifecycle,
    generation: u32,
}

impl<S> Flow<S> {
    /// Where the flow stands.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Moves the flow on, if that is legal.
    pub fn apply(&mut self, operation: Operation) -> Result<(), IllegalOperation> {
        self.lifecycle = self.lifecycle.after(operation)?;
        Ok(())
    }
}

/// No flow can be added: the table is at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the flow table is full: {limit} flows")]
pub struct TableFull {
    /// The limit.
    pub limit: usize,
}

/// All flows of a network, found by ID in constant time.
#[derive(Debug)]
pub struct FlowTable<S> {
    flows: Slab<Flow<S>>,
    limit: usize,
    /// Of the next flow; counts up and wraps.
    generation: u32,
}

impl<S> FlowTable<S> {
    /// An empty table for at most `limit` flows.
    pub fn new(limit: usize) -> FlowTable<S> {
        FlowTable { flows: Slab::new(), limit, generation: 0 }
    }

    /// Adds a flow in the state [`Lifecycle::New`].
    pub fn insert(
        &mut self,
        now: Instant,
        transport: Transport,
        client: SocketAddr,
        server: SocketAddr,
        sides: S,
    ) -> Result<FlowId, TableFull> {
        if self.flows.len() >= self.limit {
            return Err(TableFull { limit: self.limit });
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.flows.insert(Flow {
            transport,
            client,
            server,
            forward: None,
            started: now,
            last_used: now,
            counters: Counters::default(),
            sides,
            lifecycle: Lifecycle::New,
            generation,
        });
        Ok(FlowId { index: index as u32, generation })
    }

    /// The flow of this ID, if it is still there.
    pub fn find(&self, id: FlowId) -> Option<&Flow<S>> {
        self.flows.get(id.index as usize).filter(|flow| flow.generation == id.generation)
    }

    /// The flow of this ID, if it is still there, to be changed.
    pub fn find_mut(&mut self, id: FlowId) -> Option<&mut Flow<S>> {
        self.flows.get_mut(id.index as usize).filter(|flow| flow.generation == id.generation)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow<S>> {
        self.find(id)?;
        Some(self.flows.remove(id.index as usize))
    }

    /// Every flow, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow<S>)> {
        self.flows.iter().map(|(index, flow)| {
            let id = FlowId { index: index as u32, generation: flow.generation };
            (id, flow)
        })
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether [`FlowTable::insert`] would fail.
    pub fn is_full(&self) -> bool {
        self.flows.len() >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn insert(table: &mut FlowTable<u8>, sides: u8) -> Result<FlowId, TableFull> {
        let (client, server) = ("10.77.0.2:50000".parse().unwrap(), "192.0.2.1:80".parse().unwrap());
        table.insert(start(), Transport::Tcp, client, server, sides)
    }

    #[allow(clippy::disallowed_methods, reason = "an arbitrary point in time; std offers no other way to make one")]
    fn start() -> Instant {
        Instant::now()
    }

    proptest! {
        /// The table behaves as a map that never uses an ID twice, and refuses exactly at its limit.
        #[test]
        fn behaves_as_a_map(operations in proptest::collection::vec((any::<bool>(), any::<u8>()), 0..200)) {
            let mut table = FlowTable::new(10);
            let mut model: HashMap<FlowId, u8> = HashMap::new();
            let mut removed = Vec::new();
            for (add, value) in operations {
                if add {
                    match insert(&mut table, value) {
                        Ok(id) => prop_assert!(model.insert(id, value).is_none() && !removed.contains(&id)),
                        Err(full) => prop_assert_eq!((full.limit, model.len()), (10, 10)),
                    }
                } else if let Some(id) = model.keys().nth(usize::from(value) % model.len().max(1)).copied() {
                    prop_assert_eq!(table.remove(id).map(|flow| flow.sides), model.remove(&id));
                    removed.push(id);
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert!(removed.iter().all(|id| table.find(*id).is_none()));
                prop_assert!(table.iter().all(|(id, flow)| model.get(&id) == Some(&flow.sides)));
            }
        }

        #[test]
        fn ids_survive_the_event_queue(index: u32, generation: u32) {
            let id = FlowId { index, generation };
            prop_assert_eq!(FlowId::from_bits(id.to_bits()), id);
        }
    }

    #[test]
    fn a_refused_operation_leaves_the_flow_as_it_was() {
        let mut table = FlowTable::new(1);
        let id = insert(&mut table, 0).unwrap();
        let flow = table.find_mut(id).unwrap();
        flow.apply(Operation::Connect).unwrap();
        assert!(flow.apply(Operation::Connect).is_err());
        assert_eq!(flow.lifecycle(), Lifecycle::Connecting);
    }
}
