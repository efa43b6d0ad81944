//! Between bytes and values, in types that can't hold nonsense. The headers that every segment has (IPv4, TCP with its
//! timestamp) are read and written by hand, with one check of bounds each; all other formats come from `smoltcp::wire`.

pub(crate) mod checksum;
pub(crate) mod icmp;
pub(crate) mod ip;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod virtio;
