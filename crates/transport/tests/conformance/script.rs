//! The script language of the conformance tests: explicit time, "send this, expect exactly that, then nothing".
//!
//! A segment is written `FLAGS FROM[:TO] [ack N] [win N] [<option,…>]` as tcpdump would. Flags: `S F R P E W` and `.` for
//! ACK. Sequence numbers count from each side's SYN, which is 0. Options: `mss=N ws=N sackOK ts=VALUE/ECHO sack=A-B`.
//! What the peer (the script) sends has a window of 65535 unless it says otherwise. In an expectation flags, numbers and
//! selective acknowledgements are always compared, window and other options where they are written.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use minato_transport::{Config, ConnectionId, Event, IpCidr, Link, ListenerId, Stack};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket, TcpSeqNumber};

use super::line::{Line, parse_option};

pub const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 1), 80);
pub const PEER: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 9), 4000);
/// Where the peer's sequence numbers begin: before the wrap, so that every script crosses it.
pub const PEER_INITIAL: u32 = u32::MAX - 10;

/// One connection between the stack and a scripted peer.
pub struct Script {
    pub stack: Stack,
    pub now: Instant,
    pub listener: ListenerId,
    pub connection: Option<ConnectionId>,
    pub events: Vec<Event>,
    /// The stack's initial sequence number, once seen.
    pub initial: Option<u32>,
    sent: VecDeque<Vec<u8>>,
}

#[allow(clippy::disallowed_methods, reason = "where the virtual clock starts does not matter")]
fn start() -> Instant {
    Instant::now()
}

impl Script {
    pub fn new(change: impl FnOnce(&mut Config)) -> Script {
        let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [9; 16]);
        config.addresses = vec![IpCidr::new(LOCAL.0.into(), 24).expect("a prefix")];
        // Most scripts are about one thing only.
        config.tcp.timestamps = false;
        config.tcp.ecn = false;
        config.tcp.sack = false;
        change(&mut config);
        let now = start();
        let mut stack = Stack::new(now, config);
        let listener = stack.listen(SocketAddr::from(LOCAL), 10).expect("free");
        Script { stack, now, listener, connection: None, events: Vec::new(), initial: None, sent: VecDeque::new() }
    }

    /// A listener whose peer connected with the given options on its SYN; 1,000-byte segments.
    pub fn established(options: &str, change: impl FnOnce(&mut Config)) -> Script {
        let mut script = Script::new(change);
        script.send(&format!("S 0 <mss=1000{options}>"));
        script.take("S.");
        // With window scaling 65535 would be far more.
        script.send(&if options.contains("ts=") { ". 1 ack 1 <ts=100/0>".to_owned() } else { ". 1 ack 1".to_owned() });
        script.accept();
        script.nothing();
        script
    }

    pub fn accept(&mut self) -> ConnectionId {
        self.poll();
        let id = self.stack.accept(self.listener).expect("a connection waits");
        self.connection = Some(id);
        id
    }

    pub fn id(&self) -> ConnectionId {
        self.connection.expect("accepted or connected")
    }

    /// Opens a connection from the stack to the peer.
    pub fn connect(&mut self) -> ConnectionId {
        let local = SocketAddr::from((LOCAL.0, 5000));
        let id = self.stack.connect(self.now, Some(local), SocketAddr::from(PEER), 0).expect("free");
        self.connection = Some(id);
        id
    }

    pub fn write(&mut self, length: usize) {
        let id = self.id();
        let data: Vec<u8> = (0..length).map(|at| at as u8).collect();
        assert_eq!(self.stack.send(self.now, id, &data), length);
    }

    /// Reads all that is there; its length.
    pub fn read(&mut self) -> usize {
        let id = self.id();
        let mut buffer = vec![0; 1 << 20];
        self.stack.receive_into(self.now, id, &mut buffer).unwrap_or(0)
    }

    pub fn poll(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            self.events.push(event);
        }
        while let Some(transmit) = self.stack.poll_transmit(self.now) {
            self.sent.push_back(transmit.to_vec());
        }
    }

    /// The peer sends a segment.
    pub fn send(&mut self, line: &str) {
        self.send_marked(line, 0);
    }

    /// As `send`, from another port of the peer.
    pub fn send_from(&mut self, port: u16, line: &str) {
        let mut packet = self.packet(&Line::parse(line));
        let mut tcp = TcpPacket::new_unchecked(&mut packet[20..]);
        tcp.set_src_port(port);
        tcp.fill_checksum(&PEER.0.into(), &LOCAL.0.into());
        self.stack.receive(self.now, &mut packet);
    }

    /// As `send`, with these ECN bits in the IP header.
    pub fn send_marked(&mut self, line: &str, ecn: u8) {
        let mut packet = self.packet(&Line::parse(line));
        let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
        ip.set_ecn(ecn);
        ip.fill_checksum();
        self.stack.receive(self.now, &mut packet);
    }

    fn local_port(&self) -> u16 {
        self.connection.and_then(|id| self.stack.status(id)).map_or(LOCAL.1, |status| status.local.port())
    }

    /// The peer's segment as an IP packet.
    fn packet(&self, line: &Line) -> Vec<u8> {
        let mut options = [0; 40];
        let mut rest = &mut options[..];
        for option in &line.options {
            if option == "unknown" {
                rest[..4].copy_from_slice(&[77, 4, 1, 2]);
                rest = &mut rest[4..];
                continue;
            }
            rest = parse_option(option, self.initial).emit(rest);
        }
        let used = (40 - rest.len()).next_multiple_of(4);
        let length = 20 + used + line.length as usize - line.flags.matches(['S', 'F']).count();
        let ip = Ipv4Repr {
            src_addr: PEER.0,
            dst_addr: LOCAL.0,
            next_header: IpProtocol::Tcp,
            payload_len: length,
            hop_limit: 64,
        };
        let mut packet = vec![0; 20 + length];
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &ChecksumCapabilities::default());
        let local_port = self.local_port();
        let mut tcp = TcpPacket::new_unchecked(&mut packet[20..]);
        tcp.set_src_port(PEER.1);
        tcp.set_dst_port(local_port);
        tcp.set_seq_number(TcpSeqNumber(PEER_INITIAL.wrapping_add(line.from) as i32));
        let ack = self.initial.unwrap_or(0).wrapping_add(line.ack.unwrap_or(0));
        tcp.set_ack_number(TcpSeqNumber(ack as i32));
        tcp.clear_flags();
        tcp.set_header_len((20 + used) as u8);
        for flag in line.flags.chars() {
            match flag {
                'S' => tcp.set_syn(true),
                'F' => tcp.set_fin(true),
                'R' => tcp.set_rst(true),
                'P' => tcp.set_psh(true),
                'E' => tcp.set_ece(true),
                'W' => tcp.set_cwr(true),
                'U' => tcp.set_urg(true),
                '.' => tcp.set_ack(true),
                other => panic!("no flag {other}"),
            }
        }
        tcp.set_window_len(line.window.unwrap_or(65_535));
        tcp.options_mut().copy_from_slice(&options[..used]);
        for (at, byte) in tcp.payload_mut().iter_mut().enumerate() {
            *byte = (line.from as usize + at) as u8;
        }
        tcp.fill_checksum(&PEER.0.into(), &LOCAL.0.into());
        packet
    }

    /// The next packet that the stack sent, as it is.
    pub fn next_packet(&mut self) -> Option<Vec<u8>> {
        self.poll();
        self.sent.pop_front()
    }

    /// Takes the stack's initial sequence number from its SYN.
    pub fn read_initial(&mut self, packet: &[u8]) {
        self.initial = Some(TcpPacket::new_unchecked(&packet[20..]).seq_number().0 as u32);
    }

    /// The next packet that the stack sent, as a segment.
    fn next(&mut self) -> Option<Line> {
        let packet = self.next_packet()?;
        let ip = Ipv4Packet::new_checked(&packet[..]).expect("an IPv4 packet");
        assert!(ip.verify_checksum());
        let tcp = TcpPacket::new_checked(ip.payload()).expect("a segment");
        assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
        assert!(!tcp.urg(), "RFC 6093: nothing of ours is urgent");
        if tcp.syn() {
            self.initial = Some(tcp.seq_number().0 as u32);
        }
        Some(Line::of(&tcp, self.initial.unwrap_or(0)))
    }

    /// The stack has sent exactly this next.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        let expected = Line::parse(line);
        match self.next() {
            Some(sent) => assert!(sent.fits(&expected), "expected {line}\n    sent {sent:?}"),
            None => panic!("expected {line}, but nothing was sent"),
        }
    }

    /// Takes the next segment, whatever its numbers, if it has these flags.
    #[track_caller]
    pub fn take(&mut self, flags: &str) {
        let sent = self.next().expect("a segment");
        assert_eq!(sent.flags, flags, "{sent:?}");
    }

    /// The stack has sent nothing more.
    #[track_caller]
    pub fn nothing(&mut self) {
        if let Some(sent) = self.next() {
            panic!("expected nothing, but sent {sent:?}");
        }
    }

    /// Nothing is sent for this long.
    #[track_caller]
    pub fn quiet(&mut self, milliseconds: u64) {
        self.nothing();
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.stack.handle_timeout(self.now);
            self.nothing();
        }
        self.now = end;
    }

    /// The next thing that the stack sends leaves after exactly this long, and is this.
    #[track_caller]
    pub fn expect_after(&mut self, milliseconds: u64, line: &str) {
        let begin = self.now;
        self.nothing();
        while self.sent.is_empty() {
            let at = self.stack.poll_timeout().unwrap_or_else(|| panic!("expected {line}, but no timer runs"));
            self.now = at.max(self.now);
            self.stack.handle_timeout(self.now);
            self.poll();
            assert!(self.now - begin < Duration::from_secs(100_000), "expected {line}, but nothing is ever sent");
        }
        assert_eq!((self.now - begin).as_millis() as u64, milliseconds, "the time of {line}");
        self.expect(line);
    }

    /// Time passes; what is sent meanwhile is dropped.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.stack.handle_timeout(self.now);
            self.poll();
        }
        self.now = end;
        self.sent.clear();
    }

    #[track_caller]
    pub fn expect_event(&mut self, event: &Event) {
        self.poll();
        assert!(self.events.contains(event), "{event:?} is not among {:?}", self.events);
    }

    pub fn state(&self) -> Option<minato_transport::tcp::State> {
        self.connection.and_then(|id| self.stack.status(id)).map(|status| status.state)
    }

    /// An ICMP error about the stack's segment with this sequence number.
    pub fn send_icmp(&mut self, kind: u8, code: u8, mtu: u16, seq: u32) {
        let mut quoted = vec![0; 28];
        let ip = Ipv4Repr {
            src_addr: LOCAL.0,
            dst_addr: PEER.0,
            next_header: IpProtocol::Tcp,
            payload_len: 8,
            hop_limit: 9,
        };
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut quoted), &ChecksumCapabilities::default());
        let local_port = self.local_port();
        quoted[20..22].copy_from_slice(&local_port.to_be_bytes());
        quoted[22..24].copy_from_slice(&PEER.1.to_be_bytes());
        let seq = self.initial.unwrap_or(0).wrapping_add(seq);
        quoted[24..28].copy_from_slice(&seq.to_be_bytes());
        let router = Ipv4Addr::new(10, 0, 0, 254);
        let ip = Ipv4Repr {
            src_addr: router,
            dst_addr: LOCAL.0,
            next_header: IpProtocol::Icmp,
            payload_len: 36,
            hop_limit: 64,
        };
        let mut packet = vec![0; 56];
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &ChecksumCapabilities::default());
        packet[20] = kind;
        packet[21] = code;
        packet[26..28].copy_from_slice(&mtu.to_be_bytes());
        packet[28..].copy_from_slice(&quoted);
        let sum = !smoltcp::wire::checksum::data(&packet[20..]);
        packet[22..24].copy_from_slice(&sum.to_be_bytes());
        self.stack.receive(self.now, &mut packet);
    }
}
