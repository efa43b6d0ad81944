//! Packets of a host, for whoever captures them: the engine makes the socket and has no part in what passes through it.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use minato_inspect::Problem;

use super::hosts::agent_problem;
use super::{Control, blocking, no_such_host};

impl Control {
    /// A packet socket of a host that runs, which sees nothing yet; and what returns when the host is gone.
    pub(crate) async fn packet_socket(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<(OwnedFd, impl Future<Output = ()> + Send + use<>), Problem> {
        let mut gone = {
            let state = self.state();
            state.running(name)?;
            state.hosts.get(name).map(|host| host.gone.subscribe()).ok_or_else(|| no_such_host(name))?
        };
        let (control, owned) = (Arc::clone(self), name.to_owned());
        let socket = blocking(move || control.fabric.packet_socket(&owned).map_err(agent_problem)).await??;
        let until_gone = async move {
            // An error means that the record is gone, and so is the host.
            let _ = gone.wait_for(|gone| *gone).await;
        };
        Ok((socket, until_gone))
    }
}
