//! The network's addresses: who gets which, and when the network gets others.
//!
//! They stay while there is a host. When the machine comes to have a route to them, or an address of them, a network without
//! hosts is given others at once, and one with hosts when the last of them has ended.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use minato_host::routes;
use minato_inspect::{Collision, Happening, Network, Problem, ProblemKind, SessionEvent};

use super::{Control, State, blocking};
use crate::FixedSubnet;
use crate::engine::MTU;
use crate::plane::Command;
use crate::problem::{ending, problem, with_fix};
use crate::startup::subnet::{self, Addresses, has_ipv6, relay_network, without_ipv6};

/// What is numbered, and how.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    /// As it is shown, without collisions.
    pub(crate) network: Network,
    pub(crate) addresses: minato_relay::Network,
    /// Whether somebody wants it to have this subnet, and no other.
    pub(crate) fixed: bool,
}

impl Control {
    pub(crate) fn network(&self) -> Network {
        let state = self.state();
        Network { collisions: state.collisions.clone(), ..state.numbers.network.clone() }
    }

    /// Refuses whoever wants the network to have another subnet than it has. Where all that it has is just ending, the next
    /// network is worth waiting for.
    pub(super) async fn check_subnet(&self, wanted: Option<&str>) -> Result<(), Problem> {
        let Some(text) = wanted else { return Ok(()) };
        let subnet: FixedSubnet =
            text.parse().map_err(|error| problem(ProblemKind::Usage, format!("{text:?} is no subnet: {error}")))?;
        let _turn = self.numbering.lock().await;
        let mut state = self.state();
        let own = &state.numbers.network.subnet_v4;
        if subnet.to_string() == *own {
            state.numbers.fixed = true;
            return Ok(());
        }
        if state.is_ending() {
            return Err(ending());
        }
        let title = format!("network {} has the subnet {own}, not {subnet}", self.name);
        let fix = "end its hosts, and the next one can begin with another subnet; or use another --network";
        Err(with_fix(problem(ProblemKind::Conflict, title), fix))
    }

    /// Addresses that neither a host nor a guest has.
    pub(super) fn free_addresses(&self, state: &State) -> Result<(Ipv4Addr, Option<Ipv6Addr>), Problem> {
        let guests = state.guests.values().map(|guest| guest.address_v4);
        let used: Vec<Ipv4Addr> = state.hosts.values().map(|host| host.address_v4).chain(guests).collect();
        let numbers = host_numbers(state.numbers.addresses.prefix_v4);
        let free = numbers.clone().map(|number| state.numbers.host(number)).find(|(v4, _)| !used.contains(v4));
        free.ok_or_else(|| {
            let title = format!("all {} addresses of network {} are in use", numbers.len(), self.name);
            with_fix(problem(ProblemKind::Exhausted, title), "end a host, or use another --network")
        })
    }

    /// Gives the network another subnet because of these collisions, and tells that. `false` if it keeps its own: it has
    /// hosts, somebody wants this one, no other is free, or it fails, which is logged.
    pub(super) async fn renumber(self: &Arc<Self>, because: &[Collision]) -> bool {
        self.try_renumber(because).await.unwrap_or_else(|problem| {
            tracing::warn!(problem.title, "can't give the network another subnet");
            false
        })
    }

    async fn try_renumber(self: &Arc<Self>, because: &[Collision]) -> Result<bool, Problem> {
        let _turn = self.numbering.lock().await;
        let before: Ipv4Addr = {
            let state = self.state();
            let in_use = !state.hosts.is_empty() || !state.guests.is_empty();
            if in_use || state.numbers.fixed || state.stopping.is_some() {
                return Ok(false);
            }
            state.numbers.network.gateway_v4
        };
        let directory = self.directory.clone();
        let chosen = blocking(move || subnet::choose_again(&directory)).await??;
        let Some(Addresses { subnet, loopback }) = chosen.filter(|chosen| chosen.subnet.gateway_v4 != before) else {
            return Ok(false);
        };
        let control = Arc::clone(self);
        blocking(move || control.fabric.renumber(subnet)).await?.map_err(super::hosts::agent_problem)?;
        let addresses = relay_network(&subnet);
        let addresses = if self.fabric.has_ipv6() { addresses } else { without_ipv6(addresses) };
        self.plane.ask(|done| Command::Renumber(addresses, done)).await.map_err(|_| ending())?;
        self.direct.renumber(addresses);
        let now = Numbers::new(&self.name, addresses, loopback, false);
        self.tell_renumbered(&now, because);
        let mut state = self.state();
        state.numbers = now;
        // Those were about the old addresses, and end without what the machine has.
        state.collisions.clear();
        Ok(true)
    }

    /// Lets the first of new hosts begin with addresses that it can keep.
    pub(super) async fn avoid_collisions(self: &Arc<Self>) {
        let collisions = {
            let state = self.state();
            if state.hosts.is_empty() { state.collisions.clone() } else { Vec::new() }
        };
        if collisions.is_empty() {
            return;
        }
        self.renumber(&collisions).await;
    }

    fn tell_renumbered(&self, now: &Numbers, because: &[Collision]) {
        let Network { subnet_v4, subnet_v6, .. } = &now.network;
        let what: Vec<&str> = because.iter().map(|collision| collision.what.as_str()).collect();
        let what = what.join(" and ");
        let message = format!("the machine has {what}: network {:?} has the subnet {subnet_v4} from now on", self.name);
        tracing::info!("{message}");
        self.events.tell(|| Happening::SubnetChanged { subnet_v4: subnet_v4.clone(), subnet_v6: subnet_v6.clone() });
        for session in self.state().stays.values() {
            let _ = session.send(SessionEvent::Warning { message: message.clone() });
        }
    }
}

impl Numbers {
    /// What follows from the addresses of a network.
    pub(crate) fn new(name: &str, addresses: minato_relay::Network, loopback_v4: Ipv4Addr, fixed: bool) -> Numbers {
        let minato_relay::Network { gateway_v4, prefix_v4, gateway_v6, prefix_v6 } = addresses;
        let cidr = |gateway: IpAddr, prefix: u8| format!("{}/{prefix}", routes::network(gateway, prefix));
        let ipv6 = has_ipv6(&addresses);
        let network = Network {
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine_pid: std::process::id(),
            subnet_v4: cidr(gateway_v4.into(), prefix_v4),
            gateway_v4,
            subnet_v6: ipv6.then(|| cidr(gateway_v6.into(), prefix_v6)),
            gateway_v6: ipv6.then_some(gateway_v6),
            loopback_v4,
            collisions: Vec::new(),
            mtu: MTU,
        };
        Numbers { network, addresses, fixed }
    }

    /// The addresses of the host with this number: that of the gateway, the first one, is 1.
    fn host(&self, number: u8) -> (Ipv4Addr, Option<Ipv6Addr>) {
        let v4 = Ipv4Addr::from_bits(self.network.gateway_v4.to_bits() - 1 + u32::from(number));
        // 10.77.0.12 and fd77::12: the same digits are easier on people, so the decimal ones are read as hexadecimal.
        let last = v4.octets()[3];
        let last = u16::from_str_radix(&last.to_string(), 16).unwrap_or(u16::from(last));
        let v6 = self.network.gateway_v6.map(|gateway| {
            let [first @ .., _] = gateway.segments();
            let [a, b, c, d, e, f, g] = first;
            Ipv6Addr::new(a, b, c, d, e, f, g, last)
        });
        (v4, v6)
    }
}

/// The numbers that hosts of a subnet have, at most as many as differ in the last byte of the address: 0 is the subnet's own,
/// 1 the gateway's, and the last one is for broadcasts.
fn host_numbers(prefix: u8) -> std::ops::RangeInclusive<u8> {
    let last = u32::MAX.checked_shr(prefix.into()).unwrap_or(0).saturating_sub(1).min(254);
    2..=u8::try_from(last).unwrap_or(254)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_room_for_what_its_size_allows() {
        assert_eq!(host_numbers(24), 2..=254);
        assert_eq!(host_numbers(16), 2..=254, "no more, for the sake of the last byte");
        assert_eq!(host_numbers(26), 2..=62);
        assert_eq!(host_numbers(29), 2..=6);
    }
}
