//! The virtio-net header that a TAP puts before each frame (VIRTIO 1.2 §5.1.6, 10 bytes, native byte order).

/// Bytes of the header.
pub(crate) const LENGTH: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const SEGMENTED_NONE: u8 = 0;
const SEGMENTED_TCP4: u8 = 1;
const SEGMENTED_TCP6: u8 = 4;
const SEGMENTED_ECN: u8 = 0x80;

/// What a received frame's header says, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    /// The transport checksum need not be verified: it was, or it never left this machine.
    pub(crate) checksum_trusted: bool,
    pub(crate) rest: &'a [u8],
}

/// `None` if the frame is too short or is segmented in a way that we never offered.
pub(crate) fn parse(frame: &[u8]) -> Option<Received<'_>> {
    let (header, rest) = frame.split_first_chunk::<LENGTH>()?;
    let offered = matches!(header[1] & !SEGMENTED_ECN, SEGMENTED_NONE | SEGMENTED_TCP4 | SEGMENTED_TCP6);
    offered.then_some(Received { checksum_trusted: header[0] & (NEEDS_CHECKSUM | DATA_VALID) != 0, rest })
}

/// What the link is asked to finish on a frame that we send. Offsets count from the header's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offload {
    /// Where the transport header starts, and where in it the checksum field is.
    pub(crate) checksum: Option<(u16, u16)>,
    /// Segmentation of a TCP payload, if it is longer than one segment.
    pub(crate) segmentation: Option<Segmentation>,
}

/// How to cut a TCP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segmentation {
    pub(crate) ipv6: bool,
    /// The payload carries CWR, which only the first segment shall have (RFC 3168 §6.1.2).
    pub(crate) cwr: bool,
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
        header[1] = if cut.ipv6 { SEGMENTED_TCP6 } else { SEGMENTED_TCP4 } | if cut.cwr { SEGMENTED_ECN } else { 0 };
        header[2..4].copy_from_slice(&cut.header_length.to_ne_bytes());
        header[4..6].copy_from_slice(&cut.segment_size.to_ne_bytes());
    }
}
