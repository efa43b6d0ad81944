//! Servers, clients and measurements that several tests use.

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod dns;
pub(crate) mod names;
pub(crate) mod net;
pub(crate) mod peer;
pub(crate) mod schema;
pub(crate) mod servers;
pub(crate) mod watching;
pub(crate) mod web_server;
pub(crate) mod world;
