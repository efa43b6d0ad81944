use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Process, Transport, Unknown};

/// Why a request failed, as `application/problem+json` (RFC 9457). A failed request has changed nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of failure it is; decides the exit code.
    pub kind: ProblemKind,
    /// HTTP status code.
    pub status: u16,
    /// What failed, in one sentence.
    pub title: String,
    /// Who holds the thing, if it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Box<Holder>>,
    /// What to do about it, one line each; the most important one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
}

/// Kinds of failure, each with one exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request itself is malformed or contradicts itself. Exit 2.
    Usage,
    /// No such host, forward or session. Exit 10.
    NotFound,
    /// The address is not one of this machine, or of another family. Exit 11.
    WrongAddress,
    /// The port is below the machine's first unprivileged one. Exit 13.
    Privileged,
    /// No free port or address is left. Exit 14.
    Exhausted,
    /// This machine can't do it. Exit 15.
    Unsupported,
    /// The name, address or port is taken. Exit 16.
    Conflict,
    /// The engine failed. Exit 1.
    Internal,
}

/// Who holds a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The address that is held.
    pub address: IpAddr,
    /// The port that is held.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// The processes that hold it; empty when that can't be told.
    pub processes: Vec<Process>,
    /// Why the processes can't be named, if so.
    pub unknown: Option<Unknown>,
    /// The minato host whose forward holds it, if one does.
    pub host: Option<String>,
}
