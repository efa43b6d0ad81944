//! Two smoltcp interfaces, joined in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use super::{PIECE, is_all};

type Air = Rc<RefCell<(VecDeque<Vec<u8>>, Vec<Vec<u8>>)>>;

/// One end of the wire: frames in, frames out, buffers to use again.
struct Port {
    incoming: Air,
    outgoing: Air,
    offload: bool,
}

struct Receive(Vec<u8>, Air);
struct Send(Air);

impl RxToken for Receive {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.0);
        self.1.borrow_mut().1.push(self.0);
        result
    }
}

impl TxToken for Send {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = self.0.borrow_mut().1.pop().unwrap_or_default();
        frame.resize(length, 0);
        let result = f(&mut frame);
        self.0.borrow_mut().0.push_back(frame);
        result
    }
}

impl Device for Port {
    type RxToken<'a> = Receive;
    type TxToken<'a> = Send;

    fn receive(&mut self, _: Instant) -> Option<(Receive, Send)> {
        let frame = self.incoming.borrow_mut().0.pop_front()?;
        Some((Receive(frame, Rc::clone(&self.incoming)), Send(Rc::clone(&self.outgoing))))
    }

    fn transmit(&mut self, _: Instant) -> Option<Send> {
        Some(Send(Rc::clone(&self.outgoing)))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        if self.offload {
            capabilities.checksum = ChecksumCapabilities::ignored();
            capabilities.checksum.ipv4 = Checksum::Both;
        }
        capabilities
    }
}

/// Both interfaces with their sockets.
pub struct Theirs {
    interfaces: [Interface; 2],
    ports: [Port; 2],
    sockets: [SocketSet<'static>; 2],
    now: Instant,
    buffer: usize,
    next_port: u16,
}

impl Theirs {
    pub fn new(offload: bool, buffer: usize) -> Theirs {
        let air: [Air; 2] = [Air::default(), Air::default()];
        let port = |incoming: &Air, outgoing: &Air| Port {
            incoming: Rc::clone(incoming),
            outgoing: Rc::clone(outgoing),
            offload,
        };
        let mut ports = [port(&air[0], &air[1]), port(&air[1], &air[0])];
        let now = Instant::from_micros(1);
        let interfaces = [0, 1].map(|number| {
            let mut config = Config::new(HardwareAddress::Ip);
            config.random_seed = number as u64;
            let mut interface = Interface::new(config, &mut ports[number], now);
            interface.update_ip_addrs(|addresses| {
                let address = IpAddress::v4(10, 0, 0, number as u8 + 1);
                addresses.push(IpCidr::new(address, 24)).expect("room");
            });
            interface
        });
        let sockets = [SocketSet::new(Vec::new()), SocketSet::new(Vec::new())];
        Theirs { interfaces, ports, sockets, now, buffer, next_port: 1024 }
    }

    fn poll(&mut self) {
        for side in 0..2 {
            self.interfaces[side].poll(self.now, &mut self.ports[side], &mut self.sockets[side]);
        }
        self.now += Duration::from_micros(10);
    }

    pub fn connect(&mut self) -> (SocketHandle, SocketHandle) {
        let buffer = || tcp::SocketBuffer::new(vec![0; self.buffer]);
        let make = || {
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket.set_nagle_enabled(false);
            socket.set_ack_delay(None);
            socket
        };
        let (mut client, mut server) = (make(), make());
        self.next_port = 1024 + (self.next_port - 1023) % 60_000;
        server.listen(80).expect("listens");
        let remote = (IpAddress::v4(10, 0, 0, 2), 80);
        client.connect(self.interfaces[0].context(), remote, self.next_port).expect("connects");
        let pair = (self.sockets[0].add(client), self.sockets[1].add(server));
        while !self.sockets[1].get::<tcp::Socket<'_>>(pair.1).may_send() {
            self.poll();
        }
        pair
    }

    fn client(&mut self, pair: (SocketHandle, SocketHandle)) -> &mut tcp::Socket<'static> {
        self.sockets[0].get_mut(pair.0)
    }

    fn server(&mut self, pair: (SocketHandle, SocketHandle)) -> &mut tcp::Socket<'static> {
        self.sockets[1].get_mut(pair.1)
    }

    /// Moves so many bytes, all of this value: written by one side and looked at by the other, both within the buffers.
    pub fn bulk(&mut self, pair: (SocketHandle, SocketHandle), bytes: usize, value: u8) {
        let (mut sent, mut got) = (0, 0);
        while got < bytes {
            loop {
                let left = bytes - sent;
                let write = |space: &mut [u8]| {
                    let count = space.len().min(left).min(PIECE);
                    space[..count].fill(value);
                    (count, count)
                };
                let count = self.client(pair).send(write).expect("open");
                sent += count;
                if count == 0 {
                    break;
                }
            }
            self.poll();
            loop {
                let read = |chunk: &mut [u8]| {
                    assert!(is_all(chunk, value));
                    (chunk.len(), chunk.len())
                };
                let count = self.server(pair).recv(read).expect("open");
                got += count;
                if count == 0 {
                    break;
                }
            }
        }
    }

    pub fn message(&mut self, pair: (SocketHandle, SocketHandle)) {
        let mut buffer = [0; 64];
        self.client(pair).send_slice(&buffer).expect("open");
        self.poll();
        while !self.server(pair).can_recv() {
            self.poll();
        }
        assert_eq!(self.server(pair).recv_slice(&mut buffer).expect("open"), 64);
        self.server(pair).send_slice(&buffer).expect("open");
        while !self.client(pair).can_recv() {
            self.poll();
        }
        assert_eq!(self.client(pair).recv_slice(&mut buffer).expect("open"), 64);
    }

    /// Opens, sends a message each way, and closes (without waiting out TIME-WAIT).
    pub fn short(&mut self) {
        let pair = self.connect();
        self.message(pair);
        self.client(pair).close();
        while self.server(pair).may_recv() {
            self.poll();
        }
        self.server(pair).close();
        while self.server(pair).is_open() {
            self.poll();
        }
        self.sockets[0].remove(pair.0);
        self.sockets[1].remove(pair.1);
    }
}
