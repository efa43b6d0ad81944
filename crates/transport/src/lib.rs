//! A sans-IO transport layer: TCP, UDP and ICMP over IPv4 and IPv6, with a real port table.
#![forbid(unsafe_code)]
