//! Does what other threads ask of the packet loop.

use minato_relay::{Network, Rules};

use super::Plane;
use super::command::Command;
use crate::convert;

impl Plane {
    pub(super) fn take_commands(&mut self) {
        self.commands.quiet();
        while let Some(command) = self.commands.next() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Renumber(network, done) => {
                self.renumber(network);
                let _ = done.send(());
            }
            Command::AddHost(setup, done) => {
                self.add_host(*setup);
                let _ = done.send(());
            }
            Command::CloseHost(serial, done) => {
                let _ = done.send(self.close_host(serial));
            }
            Command::DrainHost(serial, done) => self.drain_host(serial, done),
            Command::EndIdleHost(serial, done) => {
                let _ = done.send(self.end_idle_host(serial));
            }
            Command::RemoveHost(serial, done) => {
                self.remove_host(serial);
                let _ = done.send(());
            }
            Command::EndFlows(addresses, done) => {
                self.end_flows_from(&addresses);
                let _ = done.send(());
            }
            Command::AddForwards(host, held, done) => {
                self.add_forwards(host, held);
                let _ = done.send(());
            }
            Command::RemoveForwards(ids, done) => {
                let _ = done.send(self.remove_forwards(&ids));
            }
            Command::ReleaseForwards(ids, done) => {
                let _ = done.send(self.release_forwards(&ids));
            }
            Command::Forwards(answer) => {
                // A look that was asked for before may change the answer.
                self.look_at_hosts();
                drop(answer.send(self.forward_statuses()));
            }
            Command::Flows(answer) => drop(answer.send(self.flow_snapshots())),
            Command::Refuse(key) => self.told_of_refusal(key),
            Command::Judge(serial, place, port, answer) => drop(answer.send(self.judge(serial, &place, port))),
            Command::Admits(source, destination, answer) => drop(answer.send(self.admits(source, destination))),
            Command::Supply(supply) => self.take_supply(supply),
            Command::AddGuest(guest) => self.add_guest(guest),
            Command::SetOffers(serial, offers) => {
                if let Some(guest) = self.guests.get_mut(&serial) {
                    guest.offers = offers;
                }
            }
            Command::RemoveGuest(serial, done) => {
                self.remove_guest(serial);
                let _ = done.send(());
            }
            Command::SetJoined(serial, zones) => self.resolver.zone.set_joined(serial, zones),
            Command::Look(serial) => self.look_if_changed(serial),
            Command::Begins(serial, listener, done) => {
                self.begins(serial, listener);
                let _ = done.send(());
            }
            Command::Listening(serial, sought, answer) => self.tell_listening(serial, sought, answer),
            Command::Dial(dialed) => self.dial(dialed),
            Command::RelayHeld => self.relay_held(),
            Command::ConnectAgain(client) => self.connect_again(client),
            Command::Stop => self.stopping = true,
        }
    }

    /// Gives a network without hosts other addresses.
    fn renumber(&mut self, network: Network) {
        self.stack.set_addresses(convert::gateway(&network));
        self.rules = Rules::new(network);
        self.resolver.zone.renumber(network);
    }
}
