//! One vocabulary of operations on a port table, read from bytes. The property test, the fuzz target and the
//! comparison with the kernel all speak it.
#![allow(dead_code, reason = "no user uses all of it")]

pub(crate) mod naive;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minato_ports::{BindAddress, BindRequest, Port, PortTable, Reservation, ReserveError, SocketState, Transport};

/// What a socket is made with before it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) transport: Transport,
    /// May be IPv4-mapped; then `v6only` is off, as the kernel wants it.
    pub(crate) address: IpAddr,
    pub(crate) v6only: bool,
    pub(crate) port: Port,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) uid: u32,
}

/// An operation. Numbers choose among the sockets that there are, modulo their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Bind(Socket),
    Listen(usize),
    Unlisten(usize),
    /// A client connects to a listener. `true`: by IPv4 where the listener takes both.
    Accept(usize, bool),
    /// A bound socket connects. `true`: by IPv4 where it can do both.
    Connect(usize, bool),
    TimeWait(usize),
    Release(usize),
}

/// Bytes that make an operation.
pub(crate) const OP_BYTES: usize = 5;

const FIRST_PORT: u16 = 1000;
const PORTS: u8 = 2;

const ADDRESSES: [IpAddr; 8] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
    IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()),
    IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
];

impl Socket {
    fn decode([options, address, port, ..]: [u8; OP_BYTES]) -> Socket {
        let transport = if options & 1 == 0 { Transport::Tcp } else { Transport::Udp };
        // The wildcards come up more often than the rest.
        let address = ADDRESSES[usize::from(if address < 64 { address % 2 * 3 } else { address % 8 })];
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        Socket {
            transport,
            address,
            v6only: options & 2 != 0 && address.is_ipv6() && !mapped,
            port: Port::new(FIRST_PORT + u16::from(port % PORTS)).expect("not 0"),
            reuse_address: options & 4 != 0,
            reuse_port: options & 8 != 0,
            uid: if options & 0x30 == 0 { 1000 } else { 0 },
        }
    }

    pub(crate) fn request(&self) -> BindRequest {
        BindRequest::new(self.transport, self.address, self.port)
            .v6only(self.v6only)
            .reuse_address(self.reuse_address)
            .reuse_port(self.reuse_port)
            .uid(self.uid)
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} port {} uid {}", self.transport, self.address, self.port, self.uid)?;
        for (set, name) in [(self.v6only, "V6ONLY"), (self.reuse_address, "REUSEADDR"), (self.reuse_port, "REUSEPORT")]
        {
            if set {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

impl Op {
    pub(crate) fn decode(bytes: [u8; OP_BYTES]) -> Op {
        let [kind, options, address, port, more] = bytes;
        let which = usize::from(options);
        let by_v4 = address & 1 == 0;
        match kind % 32 {
            0..=11 => Op::Bind(Socket::decode([options, address, port, more, 0])),
            12..=17 => Op::Listen(which),
            18..=20 => Op::Unlisten(which),
            21..=23 => Op::Accept(which, by_v4),
            24..=26 => Op::Connect(which, by_v4),
            27 => Op::TimeWait(which),
            _ => Op::Release(which),
        }
    }

    /// Reads as many operations as there are bytes for.
    pub(crate) fn decode_all(bytes: &[u8]) -> Vec<Op> {
        bytes.as_chunks::<OP_BYTES>().0.iter().map(|chunk| Op::decode(*chunk)).collect()
    }

    /// Whether the operation is legal for a socket of that transport in that state; see [`SocketState`].
    pub(crate) fn is_legal(&self, transport: Transport, state: SocketState) -> bool {
        let tcp = transport == Transport::Tcp;
        match self {
            Op::Bind(_) => true,
            Op::Listen(_) => tcp && matches!(state, SocketState::Bound | SocketState::Listening),
            Op::Unlisten(_) | Op::Accept(..) => state == SocketState::Listening,
            Op::Connect(..) => state == SocketState::Bound,
            Op::TimeWait(_) => tcp && state == SocketState::Connected,
            Op::Release(_) => true,
        }
    }

    /// The socket that it is about.
    pub(crate) fn target(&self, sockets: usize) -> Option<usize> {
        match self {
            Op::Bind(_) => None,
            Op::Listen(which) | Op::Unlisten(which) | Op::TimeWait(which) | Op::Release(which) => {
                which.checked_rem(sockets)
            }
            Op::Accept(which, _) | Op::Connect(which, _) => which.checked_rem(sockets),
        }
    }
}

/// The local address that a connection of a socket bound to `address` has, without a kernel to ask.
pub(crate) fn local_address(address: BindAddress, by_v4: bool) -> IpAddr {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => v4,
        IpAddr::V6(_) if address.is_dual_stack() && by_v4 => v4,
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// Applies operations to a table, without a kernel, and compares every verdict with the naive model's.
pub(crate) fn check_against_naive(ops: &[Op]) {
    let mut table: PortTable<u32> = PortTable::new();
    let mut model = naive::Model::default();
    let mut tokens: Vec<Reservation> = Vec::new();
    for (number, op) in (0..).zip(ops) {
        step(&mut table, &mut model, &mut tokens, op, number);
        model.compare(&table, &tokens);
    }
    for token in tokens {
        table.release(token);
    }
    assert!(table.is_empty() && table.iter().next().is_none());
}

fn step(table: &mut PortTable<u32>, model: &mut naive::Model, tokens: &mut Vec<Reservation>, op: &Op, number: u32) {
    if let Op::Bind(socket) = op {
        let verdict = table.reserve(socket.request(), number);
        model.agree(&socket.request(), None, verdict.as_ref().err());
        if let Ok(token) = verdict {
            tokens.push(token);
            model.insert(socket.request(), SocketState::Bound, number);
        }
        return;
    }
    let Some(which) = op.target(tokens.len()) else { return };
    let (request, state) = model.state(which);
    if !op.is_legal(request.binding.transport, state) {
        return;
    }
    let token = &tokens[which];
    match *op {
        Op::Bind(_) => {}
        Op::Listen(_) => {
            let verdict: Result<(), ReserveError<u32>> = table.listen(token);
            if state == SocketState::Bound {
                model.agree(&request, Some(which), verdict.as_ref().err());
            }
            if verdict.is_ok() {
                model.set_state(which, SocketState::Listening);
            }
        }
        Op::Unlisten(_) => {
            table.unlisten(token);
            model.set_state(which, SocketState::Bound);
        }
        Op::Accept(_, by_v4) => {
            let local = local_address(request.binding.address, by_v4);
            let accepted = table.accept(token, local, number);
            tokens.push(accepted);
            model.insert(naive::at(request, local), SocketState::Connected, number);
        }
        Op::Connect(_, by_v4) => {
            let local = local_address(request.binding.address, by_v4);
            table.connect(token, local);
            model.connect(which, local);
        }
        Op::TimeWait(_) => {
            table.time_wait(token);
            model.set_state(which, SocketState::TimeWait);
        }
        Op::Release(_) => {
            let owner = table.release(tokens.swap_remove(which));
            assert_eq!(owner, model.swap_remove(which));
        }
    }
}
