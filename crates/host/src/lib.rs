//! The Linux side: namespaces, TAP, netlink, sock_diag, process table and host sockets.
#![allow(clippy::disallowed_methods)]
