//! Flow table, forwarding rules and the coupling of a flow's two sides.
#![forbid(unsafe_code)]
