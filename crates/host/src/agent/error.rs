//! What may fail between engine and agent, step by step.

use std::io;

use serde::{Deserialize, Serialize};

/// A step of making the fabric or a host, for [`FabricError`] and [`RequestError::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Step {
    /// Starting the agent's program.
    #[error("start the agent")]
    StartAgent,
    /// Talking to it.
    #[error("talk to the agent")]
    TalkToAgent,
    /// `unshare(CLONE_NEWUSER)`.
    #[error("create a user namespace")]
    UserNamespace,
    /// Writing `/proc/self/uid_map`, `gid_map` or `setgroups`.
    #[error("map the user and group IDs")]
    IdMap,
    /// `unshare(CLONE_NEWNET)`.
    #[error("create a network namespace")]
    NetworkNamespace,
    /// `unshare(CLONE_NEWNS)`, or making mounts in it private.
    #[error("create a mount namespace")]
    MountNamespace,
    /// Opening `/dev/net/tun`.
    #[error("open /dev/net/tun")]
    OpenTun,
    /// `TUNSETIFF` and its companions.
    #[error("create the TAP device")]
    CreateTap,
    /// Making the bridge or putting the TAP device into it.
    #[error("create the bridge")]
    Bridge,
    /// Making the veth pair.
    #[error("create the host's interface")]
    Veth,
    /// Addresses, routes, rules and neighbours of a host.
    #[error("set the host's addresses and routes")]
    Addresses,
    /// A file below `/proc/sys/net`.
    #[error("set a network sysctl")]
    Sysctl,
    /// Mounting the host's `/etc/resolv.conf`.
    #[error("mount /etc/resolv.conf")]
    ResolvConf,
    /// Making a socket inside a host.
    #[error("create a socket in the host")]
    Socket,
    /// Opening a sock_diag socket inside a host.
    #[error("watch the host's sockets")]
    SockDiag,
    /// Going from one namespace to another.
    #[error("enter a namespace")]
    EnterNamespace,
}

impl Step {
    /// Makes the error of this step out of the kernel's reason.
    pub(crate) fn failed(self) -> impl FnOnce(io::Error) -> FabricError {
        move |source| FabricError { step: self, detail: None, source }
    }
}

/// Why [`Fabric::create`](super::Fabric::create) failed.
#[derive(Debug, thiserror::Error)]
#[error("can't {step}{}: {source}", detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
pub struct FabricError {
    /// What was being done.
    pub step: Step,
    /// The file or object concerned, where there are several.
    pub detail: Option<String>,
    /// The kernel's reason.
    pub source: io::Error,
}

/// Why a request to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No host has this name.
    #[error("no host has the name {0:?}")]
    UnknownHost(String),
    /// A host of this name, or with this address, exists.
    #[error("a host named {0:?} exists already")]
    HostExists(String),
    /// A step failed; what it had made before is undone.
    #[error(transparent)]
    Failed(FabricError),
    /// The agent is gone, and every host with it.
    #[error("the agent is gone")]
    AgentGone,
}
