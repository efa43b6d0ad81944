//! Writes pcapng (draft-ietf-opsawg-pcapng): blocks of 32-bit words in this machine's byte order.

use std::io::{self, Write};
use std::time::Duration;

use minato_host::capture::{Direction, LinkType, PacketInfo};

/// A stream of blocks.
#[derive(Debug)]
pub(super) struct Writer {
    /// Whole blocks that are not written yet.
    buffer: Vec<u8>,
    snap_length: u32,
    /// Index of each interface by the kernel's number; pcapng numbers them as they come.
    interfaces: Vec<(u32, LinkType)>,
}

/// Block types (§4).
mod block {
    pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
    pub(super) const INTERFACE_STATISTICS: u32 = 5;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Options (§3.5 and those of each block).
mod option {
    pub(super) const COMMENT: u16 = 1;
    pub(super) const SECTION_OS: u16 = 3;
    pub(super) const SECTION_APPLICATION: u16 = 4;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const INTERFACE_RESOLUTION: u16 = 9;
    pub(super) const PACKET_FLAGS: u16 = 2;
    pub(super) const STATISTICS_DROPPED: u16 = 5;
}

/// The magic number that tells the byte order (§4.1).
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Times are in units of 10⁻⁹ seconds.
const NANOSECONDS: u8 = 9;

impl Writer {
    /// Begins a section with a comment on all of it.
    pub(super) fn begin(snap_length: u32, comment: &str) -> Writer {
        let mut writer = Writer { buffer: Vec::new(), snap_length, interfaces: Vec::new() };
        let mut body = Body::default();
        body.word(BYTE_ORDER);
        // Version 1.0, and a section whose length nobody knows yet.
        body.half(1);
        body.half(0);
        body.bytes(&[0xff; 8]);
        body.option(option::COMMENT, comment.as_bytes());
        body.option(option::SECTION_OS, b"Linux");
        body.option(option::SECTION_APPLICATION, concat!("minato ", env!("CARGO_PKG_VERSION")).as_bytes());
        body.end_of_options();
        writer.block(block::SECTION_HEADER, &body);
        writer
    }

    /// Writes a packet. `name` is asked for the name of an interface that was not there before.
    pub(super) fn packet(
        &mut self,
        info: &PacketInfo,
        bytes: &[u8],
        comment: Option<&str>,
        name: impl FnOnce() -> String,
    ) {
        let interface = self.interface(info, name);
        let time = nanoseconds(info.time);
        let mut body = Body::default();
        body.word(interface);
        body.word((time >> 32) as u32);
        body.word(time as u32);
        body.word(bytes.len() as u32);
        body.word(info.length as u32);
        body.bytes(bytes);
        let direction: u32 = match info.direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        body.option(option::PACKET_FLAGS, &direction.to_ne_bytes());
        if let Some(comment) = comment {
            body.option(option::COMMENT, comment.as_bytes());
        }
        body.end_of_options();
        self.block(block::ENHANCED_PACKET, &body);
    }

    /// Ends the section with how many packets were dropped, which the kernel counts for all interfaces together.
    pub(super) fn end(&mut self, now: Duration, dropped: u64) {
        if self.interfaces.is_empty() {
            return;
        }
        let time = nanoseconds(now);
        let mut body = Body::default();
        body.word(0);
        body.word((time >> 32) as u32);
        body.word(time as u32);
        body.option(option::STATISTICS_DROPPED, &dropped.to_ne_bytes());
        body.option(option::COMMENT, "dropped: of all interfaces together".as_bytes());
        body.end_of_options();
        self.block(block::INTERFACE_STATISTICS, &body);
    }

    /// How many bytes are to be written.
    pub(super) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Writes what has come together. When that fails, it is given up.
    pub(super) fn flush(&mut self, mut output: impl Write) -> io::Result<()> {
        let written = output.write_all(&self.buffer).and_then(|()| output.flush());
        self.buffer.clear();
        written
    }

    fn interface(&mut self, info: &PacketInfo, name: impl FnOnce() -> String) -> u32 {
        let key = (info.interface, info.link);
        if let Some(index) = self.interfaces.iter().position(|known| *known == key) {
            return index as u32;
        }
        let mut body = Body::default();
        body.half(link_type(info.link));
        body.half(0);
        body.word(self.snap_length);
        body.option(option::INTERFACE_NAME, name().as_bytes());
        body.option(option::INTERFACE_RESOLUTION, &[NANOSECONDS]);
        body.end_of_options();
        self.block(block::INTERFACE_DESCRIPTION, &body);
        self.interfaces.push(key);
        self.interfaces.len() as u32 - 1
    }

    fn block(&mut self, kind: u32, Body(body): &Body) {
        let length = (body.len() + 12) as u32;
        self.buffer.extend(kind.to_ne_bytes());
        self.buffer.extend(length.to_ne_bytes());
        self.buffer.extend(body);
        self.buffer.extend(length.to_ne_bytes());
    }
}

/// LINKTYPE_ETHERNET, LINKTYPE_RAW, and one that Wireshark shows as plain bytes (LINKTYPE_USER0).
fn link_type(link: LinkType) -> u16 {
    match link {
        LinkType::Ethernet => 1,
        LinkType::Ip => 101,
        LinkType::Other => 147,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What stands between the two lengths of a block.
#[derive(Debug, Default)]
struct Body(Vec<u8>);

impl Body {
    fn half(&mut self, value: u16) {
        self.0.extend(value.to_ne_bytes());
    }

    fn word(&mut self, value: u32) {
        self.0.extend(value.to_ne_bytes());
    }

    /// Padded to whole words.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// A value that is too long for its length is cut; text may lose part of a character then.
    fn option(&mut self, code: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.half(code);
        self.half(length);
        self.bytes(&value[..usize::from(length)]);
    }

    fn end_of_options(&mut self) {
        self.word(0);
    }
}
