//! The transport on simulated networks.

mod changing_links;
mod detection;
mod fairness;
mod latency;
mod lifecycle;
mod links;
mod path_mtu;
mod random_links;
mod scenario;
mod spikes;
mod throughput;
mod transfers;
