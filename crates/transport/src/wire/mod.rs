//! Between bytes and values. Formats come from `smoltcp::wire`; what is here selects the fields that this stack needs, in
//! types that can't hold nonsense.

pub(crate) mod checksum;
pub(crate) mod icmp;
pub(crate) mod ip;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod virtio;
