//! Forwards that are in force, as the engine knows them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use minato_inspect::{Forward, ForwardSpec, ForwardState, Problem};
use minato_ports::{Reservation, Transport};

use super::super::State;
use super::super::loopback::{End, contested};
use super::expand::{Wanted, collapse};
use super::refuse;
use crate::convert;
use crate::plane::ForwardStatus;

/// A forward that is in force; its socket is the packet loop's.
#[derive(Debug)]
pub(in super::super) struct ForwardRecord {
    pub(super) host: String,
    pub(super) address: SocketAddr,
    pub(super) service_port: u16,
    pub(super) transport: Transport,
    /// It is one of its host's own, at the host's loopback address.
    pub(super) automatic: bool,
    pub(super) reservation: Reservation,
}

impl State {
    /// The IDs of what these forwards name, which must all exist.
    pub(super) fn find_forwards(&self, host: &str, wanted: &[Wanted]) -> Result<Vec<u64>, Problem> {
        let mut ids = Vec::with_capacity(wanted.len());
        let mut missing_default = HashSet::new();
        let by_end: HashMap<_, _> = self
            .forwards
            .iter()
            .filter(|(_, record)| record.host == host && !record.automatic)
            .map(|(id, record)| ((record.address, record.service_port, record.transport), *id))
            .collect();
        for one in wanted {
            match by_end.get(&(one.address, one.service_port, one.transport)) {
                Some(id) => ids.push(*id),
                // Without IPv6 on the machine a forward has only one of the two loopback addresses.
                None if one.is_default && missing_default.insert((one.port, one.service_port, one.transport)) => {}
                None => return Err(refuse::no_such_forward(host, *one)),
            }
        }
        Ok(ids)
    }

    /// The forward whose port is in the way of this one, as it would be asked for.
    pub(super) fn forward_in_the_way(&self, wanted: Wanted) -> Option<ForwardSpec> {
        let overlaps = |address: IpAddr| {
            let ip = wanted.address.ip();
            address.is_ipv4() == ip.is_ipv4() && (address == ip || address.is_unspecified() || ip.is_unspecified())
        };
        let port = wanted.address.port();
        let same_port = |record: &&ForwardRecord| record.transport == wanted.transport && record.address.port() == port;
        let record = self.forwards.values().filter(same_port).find(|record| overlaps(record.address.ip()))?;
        // With its twin on the other loopback address, if it has one: they were asked for as one.
        let alike = self.forwards.values().filter(same_port).filter(|other| {
            (&other.host, other.service_port) == (&record.host, record.service_port)
                && other.address.ip().is_loopback() == record.address.ip().is_loopback()
        });
        let alike = collapse(alike.map(|other| (other.address, other.service_port, other.transport)).collect());
        alike.into_iter().find(|spec| spec.address.is_none_or(overlaps))
    }

    /// The machine's port that a forward holds.
    pub(in super::super) fn entrance(&self, id: u64) -> Option<SocketAddr> {
        self.forwards.get(&id).map(|record| record.address)
    }

    pub(super) fn show_forward(&self, status: &ForwardStatus) -> Option<Forward> {
        let record = self.forwards.get(&status.id)?;
        Some(Forward {
            id: status.id,
            address: record.address.ip(),
            host_port: record.address.port(),
            host: record.host.clone(),
            service_port: record.service_port,
            transport: convert::to_inspect(record.transport),
            state: match (status.open, status.other_family) {
                (true, _) => ForwardState::Open,
                (false, true) => ForwardState::OtherFamily,
                (false, false) => ForwardState::Held,
            },
            automatic: record.automatic,
            connections: status.connections,
            bytes_in: status.bytes_in,
            bytes_out: status.bytes_out,
        })
    }

    /// Forgets forwards. Returns the ports at which they may have been in the way of hosts' own.
    pub(in super::super) fn release_forwards(&mut self, ids: &[u64]) -> HashSet<End> {
        let mut ends = HashSet::new();
        for record in ids.iter().filter_map(|id| self.forwards.remove(id)) {
            self.table.release(record.reservation);
            let contested = contested(record.transport, record.address).filter(|_| !record.automatic);
            ends.extend(contested);
        }
        ends
    }

    pub(in super::super) fn release_forwards_of(&mut self, host: &str) -> HashSet<End> {
        let of_host = |(id, record): (&u64, &ForwardRecord)| (record.host == host).then_some(*id);
        let ids: Vec<u64> = self.forwards.iter().filter_map(of_host).collect();
        self.release_forwards(&ids)
    }

    /// What is forwarded to a host, as it would be asked for.
    pub(in super::super) fn specs_of(&self, host: &str) -> Vec<ForwardSpec> {
        let of_host = self.forwards.values().filter(|record| record.host == host && !record.automatic);
        collapse(of_host.map(|record| (record.address, record.service_port, record.transport)).collect())
    }
}
