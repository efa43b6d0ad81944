//! What the kernel is to leave out of a capture, as a classic BPF program.

use crate::Transport;

/// Which packets are wanted, and how much of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// At most so many bytes of each.
    pub snap_length: u32,
    /// Only packets of which one port is among these.
    pub ports: Option<PortFilter>,
}

/// Packets from or to some ports. What names no port is left out: ICMP, ARP, later fragments, and IPv6 packets with
/// extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFilter {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Only TCP or only UDP.
    pub transport: Option<Transport>,
}

/// Where the fields are in an Ethernet frame.
mod offset {
    pub(super) const ETHERTYPE: u32 = 12;
    pub(super) const IP: u32 = 14;
    pub(super) const V4_FRAGMENT: u32 = IP + 6;
    pub(super) const V4_PROTOCOL: u32 = IP + 9;
    pub(super) const V6_NEXT_HEADER: u32 = IP + 6;
    pub(super) const V6_PAYLOAD: u32 = IP + 40;
    /// Fields that the kernel knows of a packet besides its bytes.
    pub(super) const KIND: u32 = libc::SKF_AD_OFF as u32 + libc::SKF_AD_PKTTYPE as u32;
    pub(super) const HARDWARE: u32 = libc::SKF_AD_OFF as u32 + libc::SKF_AD_HATYPE as u32;
}

const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;

impl Filter {
    /// The program. Its result is how many bytes are kept; 0 drops the packet.
    pub(super) fn program(&self) -> Vec<libc::sock_filter> {
        let mut program = Program::default();
        // A packet on loopback is seen as it leaves and as it arrives: once is enough.
        program.add(LOAD_WORD, offset::HARDWARE);
        let loopback = program.test(libc::BPF_JEQ, libc::ARPHRD_LOOPBACK.into());
        program.add(LOAD_WORD, offset::KIND);
        let leaving = program.test(libc::BPF_JEQ, libc::PACKET_OUTGOING.into());
        program.finish(0);
        program.land_unless(loopback);
        program.land_unless(leaving);
        if let Some(ports) = self.ports {
            ports.add_to(&mut program);
        }
        program.finish(self.snap_length);
        program.0
    }
}

impl PortFilter {
    /// Finishes with 0 what is not wanted, and falls through with what is.
    fn add_to(self, program: &mut Program) {
        let protocols: Vec<u32> = [(Transport::Tcp, libc::IPPROTO_TCP), (Transport::Udp, libc::IPPROTO_UDP)]
            .into_iter()
            .filter(|(transport, _)| self.transport.is_none_or(|wanted| wanted == *transport))
            .map(|(_, protocol)| protocol as u32)
            .collect();
        program.add(LOAD_HALF, offset::ETHERTYPE);
        let v4 = program.test(libc::BPF_JEQ, libc::ETH_P_IP as u32);
        program.add(LOAD_BYTE, offset::V4_PROTOCOL);
        program.require_one_of(&protocols);
        program.add(LOAD_HALF, offset::V4_FRAGMENT);
        // RFC 791 §3.1: the lower 13 bits are the offset; only the first fragment has ports.
        let later_fragment = program.test(libc::BPF_JSET, 0x1fff);
        program.finish(0);
        program.land_unless(later_fragment);
        program.add(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, offset::IP);
        let from_v4 = self.match_port(program, libc::BPF_LD | libc::BPF_H | libc::BPF_IND, offset::IP);
        let to_v4 = self.match_port(program, libc::BPF_LD | libc::BPF_H | libc::BPF_IND, offset::IP + 2);
        program.finish(0);
        program.land_unless(v4);
        program.add(LOAD_HALF, offset::ETHERTYPE);
        program.require_one_of(&[libc::ETH_P_IPV6 as u32]);
        program.add(LOAD_BYTE, offset::V6_NEXT_HEADER);
        program.require_one_of(&protocols);
        let from_v6 = self.match_port(program, LOAD_HALF, offset::V6_PAYLOAD);
        let to_v6 = self.match_port(program, LOAD_HALF, offset::V6_PAYLOAD + 2);
        program.finish(0);
        for wanted in [from_v4, to_v4, from_v6, to_v6] {
            program.land(wanted);
        }
    }

    /// Loads a port and, if it is wanted, jumps to where the result [lands](Program::land).
    fn match_port(self, program: &mut Program, load: u32, place: u32) -> Jump {
        program.add(load, place);
        let high_enough = program.test(libc::BPF_JGE, self.first.into());
        let too_high = program.test(libc::BPF_JGT, self.last.into());
        let wanted = program.test(libc::BPF_JA, 0);
        program.land_unless(high_enough);
        program.land_if(too_high);
        wanted
    }
}

/// A program under construction.
#[derive(Default)]
struct Program(Vec<libc::sock_filter>);

/// The place of a statement whose target is not known yet.
#[must_use]
struct Jump(usize);

impl Program {
    fn add(&mut self, code: u32, k: u32) {
        self.0.push(libc::sock_filter { code: code as u16, jt: 0, jf: 0, k });
    }

    fn finish(&mut self, kept: u32) {
        self.add(libc::BPF_RET | libc::BPF_K, kept);
    }

    /// Compares what was loaded. Goes on in either case, until one of them [lands](Program::land_if) elsewhere.
    fn test(&mut self, comparison: u32, k: u32) -> Jump {
        self.add(libc::BPF_JMP | comparison | libc::BPF_K, k);
        Jump(self.0.len() - 1)
    }

    /// Drops the packet unless what was loaded is one of these.
    fn require_one_of(&mut self, values: &[u32]) {
        let found: Vec<Jump> = values.iter().map(|value| self.test(libc::BPF_JEQ, *value)).collect();
        self.finish(0);
        found.into_iter().for_each(|jump| self.land_if(jump));
    }

    /// A comparison that holds continues here.
    fn land_if(&mut self, Jump(from): Jump) {
        self.0[from].jt = self.distance(from) as u8;
    }

    /// A comparison that does not hold continues here.
    fn land_unless(&mut self, Jump(from): Jump) {
        self.0[from].jf = self.distance(from) as u8;
    }

    /// An unconditional jump continues here.
    fn land(&mut self, Jump(from): Jump) {
        self.0[from].k = self.distance(from);
    }

    /// No program of ours is longer than what eight bits can say.
    fn distance(&self, from: usize) -> u32 {
        (self.0.len() - from - 1) as u32
    }
}

#[cfg(test)]
mod tests;
