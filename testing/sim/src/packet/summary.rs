//! A packet as one line of a trace.

use std::fmt::Write;

use smoltcp::wire::{IpProtocol, TcpOption, TcpPacket};

use super::{Ip, Medium};

/// What a frame carries, in the manner of tcpdump: flags are S, F, R, P, E, C and `.` for an acknowledgement.
pub(crate) fn summary(medium: Medium, frame: &[u8]) -> String {
    let Some(ip) = Ip::parse(medium.packet(frame)) else {
        return match medium.ethernet_frame(frame) {
            Some(frame) => format!("{} of {} bytes", frame.ethertype(), frame.payload().len()),
            None => format!("malformed, {} bytes", frame.len()),
        };
    };
    let (protocol, ecn, payload) = match &ip {
        Ip::V4(packet) => (packet.next_header(), packet.ecn(), packet.payload()),
        Ip::V6(packet) => (packet.next_header(), packet.traffic_class() & 3, packet.payload()),
    };
    let mark = if ecn == 3 { " CE" } else { "" };
    match protocol {
        IpProtocol::Tcp => tcp(&ip, payload).unwrap_or_else(|| "malformed TCP".to_owned()) + mark,
        _ => format!("{} > {} {protocol} of {} bytes{mark}", ip.source(), ip.destination(), payload.len()),
    }
}

fn tcp(ip: &Ip<&[u8]>, payload: &[u8]) -> Option<String> {
    let segment = TcpPacket::new_checked(payload).ok()?;
    let flags: String = [
        (segment.syn(), 'S'),
        (segment.fin(), 'F'),
        (segment.rst(), 'R'),
        (segment.psh(), 'P'),
        (segment.ece(), 'E'),
        (segment.cwr(), 'C'),
        (segment.ack(), '.'),
    ]
    .into_iter()
    .filter_map(|(set, letter)| set.then_some(letter))
    .collect();
    let mut line = format!(
        "{}:{} > {}:{} {flags} seq {} ack {} win {} len {}",
        ip.source(),
        segment.src_port(),
        ip.destination(),
        segment.dst_port(),
        segment.seq_number().0 as u32,
        segment.ack_number().0 as u32,
        segment.window_len(),
        segment.payload().len(),
    );
    write_options(&mut line, segment.options());
    Some(line)
}

fn write_options(line: &mut String, mut options: &[u8]) {
    while let Ok((rest, option)) = TcpOption::parse(options) {
        match option {
            TcpOption::EndOfList => break,
            TcpOption::MaxSegmentSize(size) => write!(line, " mss {size}"),
            TcpOption::WindowScale(shift) => write!(line, " wscale {shift}"),
            TcpOption::SackRange(ranges) => {
                ranges.iter().flatten().try_for_each(|(left, right)| write!(line, " sack {left}-{right}"))
            }
            _ => Ok(()),
        }
        .expect("a String takes everything");
        if rest.is_empty() {
            break;
        }
        options = rest;
    }
}
