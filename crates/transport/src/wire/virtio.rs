//! The virtio-net header that a TAP puts before each frame (VIRTIO 1.2 §5.1.6, 10 bytes, native byte order).

use std::num::NonZeroU16;

/// Bytes of the header.
pub(crate) const LENGTH: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const SEGMENTED_NONE: u8 = 0;
const SEGMENTED_TCP4: u8 = 1;
const SEGMENTED_TCP6: u8 = 4;
const SEGMENTED_UDP: u8 = 5;
const SEGMENTED_ECN: u8 = 0x80;

/// What a received frame's header says about the packet behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// The transport checksum need not be verified: it was, or it never left this machine.
    pub(crate) checksum_trusted: bool,
    /// The packet stands for several datagrams, whose payloads have this size, except that the last may be shorter.
    pub(crate) datagram_size: Option<NonZeroU16>,
}

/// What the header says, and what follows it. `None` if the frame is too short or is segmented in a way that we never
/// offered: UDP only with `datagrams`.
pub(crate) fn parse(frame: &[u8], datagrams: bool) -> Option<(Received, &[u8])> {
    let (header, rest) = frame.split_first_chunk::<LENGTH>()?;
    let datagram_size = match header[1] & !SEGMENTED_ECN {
        SEGMENTED_NONE | SEGMENTED_TCP4 | SEGMENTED_TCP6 => None,
        SEGMENTED_UDP if datagrams => Some(NonZeroU16::new(u16::from_ne_bytes([header[4], header[5]]))?),
        _ => return None,
    };
    Some((Received { checksum_trusted: header[0] & (NEEDS_CHECKSUM | DATA_VALID) != 0, datagram_size }, rest))
}

/// What the link is asked to finish on a frame that we send. Offsets count from the header's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offload {
    /// Where the transport header starts, and where in it the checksum field is.
    pub(crate) checksum: Option<(u16, u16)>,
    /// Segmentation of the payload, if it is longer than one segment.
    pub(crate) segmentation: Option<Segmentation>,
}

/// What is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segmented {
    Tcp {
        ipv6: bool,
        /// The payload carries CWR, which only the first segment shall have (RFC 3168 §6.1.2).
        cwr: bool,
    },
    /// Each segment becomes a datagram.
    Udp,
}

/// How to cut a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segmentation {
    pub(crate) segmented: Segmented,
    /// Of all headers before the payload.
    pub(crate) header_length: u16,
    pub(crate) segment_size: u16,
}

/// Writes the header to the first bytes of `frame`.
pub(crate) fn emit(frame: &mut [u8], offload: &Offload) {
    let header = &mut frame[..LENGTH];
    header.fill(0);
    if let Some((start, offset)) = offload.checksum {
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
    }
    if let Some(cut) = offload.segmentation {
        header[1] = match cut.segmented {
            Segmented::Tcp { ipv6, cwr } => {
                let kind = if ipv6 { SEGMENTED_TCP6 } else { SEGMENTED_TCP4 };
                if cwr { kind | SEGMENTED_ECN } else { kind }
            }
            Segmented::Udp => SEGMENTED_UDP,
        };
        header[2..4].copy_from_slice(&cut.header_length.to_ne_bytes());
        header[4..6].copy_from_slice(&cut.segment_size.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_cut_only_where_that_was_offered_and_means_something() {
        let header = |kind: u8, size: u16| {
            let mut frame = [0; LENGTH + 4];
            (frame[0], frame[1]) = (NEEDS_CHECKSUM, kind);
            frame[4..6].copy_from_slice(&size.to_ne_bytes());
            frame
        };
        let size = |frame: &[u8], offered| parse(frame, offered).map(|(received, _)| received.datagram_size);
        assert_eq!(size(&header(SEGMENTED_UDP, 1400), true), Some(NonZeroU16::new(1400)));
        assert_eq!(size(&header(SEGMENTED_UDP, 1400), false), None, "not offered");
        assert_eq!(size(&header(SEGMENTED_UDP, 0), true), None, "into nothing");
        assert_eq!(size(&header(SEGMENTED_TCP4, 1400), true), Some(None));
        assert_eq!(size(&header(3, 1400), true), None, "UFO");
        assert_eq!(size(&header(SEGMENTED_UDP, 1400)[..LENGTH - 1], true), None, "too short");
    }

    #[test]
    fn what_is_emitted_is_parsed() {
        let mut frame = [0xff; LENGTH + 1];
        let cut = Segmentation { segmented: Segmented::Udp, header_length: 42, segment_size: 1400 };
        emit(&mut frame, &Offload { checksum: Some((34, 6)), segmentation: Some(cut) });
        let received = Received { checksum_trusted: true, datagram_size: NonZeroU16::new(1400) };
        assert_eq!(parse(&frame, true), Some((received, &[0xff][..])));
    }
}
