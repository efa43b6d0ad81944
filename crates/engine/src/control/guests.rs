//! Hosts of other networks that have joined this one. Each is asked for by its own network's engine, and stays as long as the
//! connection does on which it was asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Instant;

use minato_inspect::{GuestEvent, GuestRequest, Happening, Host, Joined, Named, Offers, Policy, Problem, ProblemKind};
use minato_ports::Transport;
use minato_relay::Services;
use tokio::sync::mpsc;

use super::hosts::{agent_problem, name_taken};
use super::{Control, MAX_JOINED, Phase, State, blocking, name};
use crate::plane::{Command, Guest};
use crate::problem::{ending, internal, problem};

/// A host of another network.
pub(super) struct GuestRecord {
    serial: u32,
    home: String,
    pub(super) address_v4: Ipv4Addr,
    address_v6: Option<Ipv6Addr>,
    ephemeral_range: (u16, u16),
    created: Instant,
    /// As its own engine tells it.
    offers: Offers,
    /// Once it is plugged in.
    place: Option<Place>,
    /// Who is told; gone when the engine ends.
    events: Option<mpsc::UnboundedSender<GuestEvent>>,
}

/// Where a guest is plugged in.
#[derive(Clone, Copy)]
struct Place {
    port: u32,
    network_inode: u64,
}

/// A guest's place; it is given up when this is dropped.
pub(crate) struct GuestSession {
    pub(crate) events: mpsc::UnboundedReceiver<GuestEvent>,
    control: Arc<Control>,
    name: String,
    serial: u32,
}

impl Drop for GuestSession {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (control, name, serial) = (Arc::clone(&self.control), std::mem::take(&mut self.name), self.serial);
        runtime.spawn(async move { control.remove_guest(&name, serial).await });
    }
}

impl Control {
    /// Gives a host of another network a place here. Nothing is left of one that can't be plugged in.
    pub(crate) async fn add_guest(self: &Arc<Self>, request: GuestRequest) -> Result<GuestSession, Problem> {
        check(&request)?;
        let (sender, events) = mpsc::unbounded_channel();
        let (serial, joined) = {
            let _turn = self.numbering.lock().await;
            self.reserve_guest(&request, sender.clone())?
        };
        // From here on dropping it takes everything back.
        let session = GuestSession { events, control: Arc::clone(self), name: request.name.clone(), serial };
        let control = Arc::clone(self);
        let number = request.interface;
        let place = blocking(move || {
            let namespace = File::open(&request.namespace).map_err(internal)?;
            let network_inode = namespace.metadata().map_err(internal)?.ino();
            let port = control.fabric.plug(namespace.as_fd(), number).map_err(agent_problem)?;
            Ok(Place { port, network_inode })
        })
        .await??;
        let guest = Guest {
            serial,
            name: session.name.clone(),
            addresses: joined.addresses().collect(),
            offers: Offers::default(),
        };
        self.plane.send(Command::AddGuest(guest));
        if let Some(record) = self.state().guests.get_mut(&session.name) {
            record.place = Some(place);
        }
        let network = Box::new(self.network());
        let _ = sender.send(GuestEvent::Joined { joined: joined.clone(), network });
        self.tell_names(sender.downgrade());
        self.names.send_modify(|()| ());
        let (host, home) = (session.name.clone(), request.home);
        self.events.tell(|| Happening::HostJoined { host, home, joined });
        Ok(session)
    }

    fn reserve_guest(
        &self,
        request: &GuestRequest,
        events: mpsc::UnboundedSender<GuestEvent>,
    ) -> Result<(u32, Joined), Problem> {
        let mut state = self.state();
        if state.stopping.is_some() {
            return Err(ending());
        }
        if state.is_named(&request.name) {
            let title = format!("network {:?} has a host named {:?} already", self.name, request.name);
            return Err(Problem { title, ..name_taken(&request.name) });
        }
        let (address_v4, address_v6) = self.free_addresses(&state)?;
        let serial = state.next_serial;
        state.next_serial += 1;
        let record = GuestRecord {
            serial,
            home: request.home.clone(),
            address_v4,
            address_v6,
            ephemeral_range: request.ephemeral_range,
            created: Instant::now(),
            offers: Offers::default(),
            place: None,
            events: Some(events),
        };
        state.guests.insert(request.name.clone(), record);
        Ok((serial, Joined { network: self.name.clone(), address_v4, address_v6 }))
    }

    /// Tells a guest the names of this network, now and whenever they change, as long as it listens.
    fn tell_names(self: &Arc<Self>, guest: mpsc::WeakUnboundedSender<GuestEvent>) {
        let mut changes = self.names.subscribe();
        let control = Arc::clone(self);
        tokio::spawn(async move {
            changes.mark_changed();
            while changes.changed().await.is_ok() {
                let hosts = control.state().names();
                let told = guest.upgrade().map(|guest| guest.send(GuestEvent::Names { hosts }));
                if !matches!(told, Some(Ok(()))) {
                    return;
                }
            }
        });
    }

    /// Takes note of what a guest offers.
    pub(crate) fn set_offers(&self, name: &str, offers: &Offers) -> Result<(), Problem> {
        let mut state = self.state();
        let Some(guest) = state.guests.get_mut(name) else {
            return Err(problem(ProblemKind::NotFound, format!("there is no guest named {name:?}")));
        };
        guest.offers = offers.clone();
        self.plane.send(Command::SetOffers(guest.serial, offers.clone()));
        drop(state);
        self.names.send_modify(|()| ());
        Ok(())
    }

    /// Takes a guest's place back.
    async fn remove_guest(self: &Arc<Self>, name: &str, serial: u32) {
        let place = {
            let state = self.state();
            let Some(guest) = state.guests.get(name).filter(|guest| guest.serial == serial) else { return };
            guest.place
        };
        if let Some(Place { port, .. }) = place {
            let _ = self.plane.ask(|done| Command::RemoveGuest(serial, done)).await;
            let control = Arc::clone(self);
            let unplugged = blocking(move || control.fabric.unplug(port)).await;
            if let Ok(Err(error)) = unplugged {
                tracing::debug!(%error, guest = name, "the agent could not unplug a guest");
            }
        }
        let Some(guest) = self.state().guests.remove(name) else { return };
        if place.is_some() {
            self.names.send_modify(|()| ());
            let (host, network) = (name.to_owned(), self.name.clone());
            self.events.tell(|| Happening::HostLeft { host, home: guest.home, network });
        }
        self.stop_if_empty();
        self.emptied.notify_one();
    }
}

impl State {
    /// Whether a host or a guest has this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.hosts.contains_key(name) || self.guests.contains_key(name)
    }

    /// What every name leads to.
    fn names(&self) -> BTreeMap<String, Named> {
        let hosts = self.hosts.iter().filter(|(_, host)| host.phase == Phase::Running);
        let hosts = hosts.map(|(name, host)| {
            let addresses = host.addresses();
            let offers = offers(&host.services, &addresses);
            (name.clone(), Named { addresses, offers })
        });
        let guests = self
            .guests
            .iter()
            .map(|(name, guest)| (name.clone(), Named { addresses: guest.addresses(), offers: guest.offers.clone() }));
        hosts.chain(guests).collect()
    }

    /// Guests as they are shown, with the inodes of their network namespaces.
    pub(super) fn show_guests(&self) -> Vec<(Host, u64)> {
        let guests = self.guests.iter().filter_map(|(name, guest)| Some((name, guest, guest.place?)));
        guests.map(|(name, guest, place)| (guest.show(name), place.network_inode)).collect()
    }

    /// Ends the streams of all guests.
    pub(super) fn dismiss_guests(&mut self) {
        self.guests.values_mut().for_each(|guest| guest.events = None);
    }
}

impl GuestRecord {
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        std::iter::once(self.address_v4.into()).chain(self.address_v6.map(IpAddr::V6)).collect()
    }

    fn show(&self, name: &str) -> Host {
        Host {
            name: name.to_owned(),
            address_v4: self.address_v4,
            address_v6: self.address_v6,
            loopback_v4: None,
            networks: Vec::new(),
            home: Some(self.home.clone()),
            ephemeral_range: self.ephemeral_range,
            // Its own network's engine sees to what leaves.
            policy: Policy::default(),
            direct: false,
            age_seconds: self.created.elapsed().as_secs_f64(),
            forwards: Vec::new(),
            processes: Vec::new(),
        }
    }
}

/// What a host with these services offers at these addresses.
pub(super) fn offers(services: &Services, addresses: &[IpAddr]) -> Offers {
    let offered = |transport| services.offered(transport, addresses);
    Offers { tcp: offered(Transport::Tcp), udp: offered(Transport::Udp) }
}

/// Refuses what no engine of ours would ask for.
fn check(request: &GuestRequest) -> Result<(), Problem> {
    name::check_host(&request.name)?;
    name::check("network", &request.home)?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = request.namespace.split('/').collect();
    let is_descriptor =
        matches!(parts[..], ["", "proc", process, "fd", descriptor] if number(process) && number(descriptor));
    if !is_descriptor {
        let title = format!("{:?} is no network namespace of a host", request.namespace);
        return Err(problem(ProblemKind::Usage, title));
    }
    if !(1..=MAX_JOINED as u32).contains(&request.interface) {
        return Err(problem(ProblemKind::Usage, format!("interface {} is none of a guest's", request.interface)));
    }
    Ok(())
}
