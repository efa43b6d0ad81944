//! End-to-end tests: the `minato` program with real servers and clients, on a machine made for each test.
//!
//! A test's machine is a set of fresh namespaces (network, mounts, processes) with a link to an "outside" network
//! namespace that plays the rest of the world. `minato` runs in it as an ordinary user, or as root where a server
//! needs that. Every test ends with the check that nothing of it is left.
#![allow(clippy::disallowed_methods)]

mod machine;
mod support;

mod bad_input;
mod binds;
mod capture;
mod cost;
mod crash;
mod datagrams;
mod demo;
mod diagnoses;
mod direct;
mod direct_inbound;
mod dns;
mod endings;
mod examples;
mod explain;
mod flows;
mod forwards;
mod ftp;
mod harness;
mod hosts;
mod jobs;
mod json;
mod lease;
mod leaving;
mod load;
mod loopback;
mod machine_ports;
mod many_forwards;
mod many_hosts;
mod mappings;
mod names;
mod networks;
mod outbound;
mod policy;
mod proxy;
mod relays;
mod run;
mod services;
mod trust;
mod up;
mod watch;
mod ways;
mod web;
