use std::io;

use super::{
    Check, kernel, limits,
    namespaces::{self, Switches},
    tun,
};
use crate::agent::{FabricError, Step, is_privileged};

/// The likely cause of a failed [`crate::agent::Fabric::create`] or [`crate::agent::Fabric::add_host`], as a failed
/// check.
pub fn explain(error: &FabricError) -> Check {
    let errno = error.source.raw_os_error().unwrap_or(0);
    let again = || -> io::Result<()> { Err(io::Error::from_raw_os_error(errno)) };
    let found = match (error.step, errno) {
        (_, libc::EMFILE | libc::ENFILE) => limits::open_files(),
        (Step::UserNamespace | Step::IdMap, _) => namespaces::judge(&Switches::read(), &again()),
        // In a user namespace these need nothing but its capabilities, which AppArmor takes away.
        (
            Step::NetworkNamespace | Step::MountNamespace | Step::CreateTap | Step::Bridge,
            libc::EPERM | libc::EACCES,
        ) if !is_privileged() => namespaces::judge(&Switches::read(), &again()),
        (Step::NetworkNamespace | Step::MountNamespace, libc::ENOSPC) => {
            let fix = "sudo sysctl -w user.max_net_namespaces=65536 user.max_mnt_namespaces=65536";
            return failed(error, Some(fix));
        }
        (Step::OpenTun, _) => tun::judge(&again()),
        (Step::Bridge, libc::EOPNOTSUPP) => return failed(error, Some("sudo modprobe bridge")),
        (Step::Veth, libc::EOPNOTSUPP) => return failed(error, Some("sudo modprobe veth")),
        (Step::Addresses, libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => {
            let fix = "use a kernel with CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES";
            return failed(error, Some(fix));
        }
        (Step::Sysctl, libc::EROFS | libc::ENOENT) => kernel::sysctls(),
        _ => return failed(error, None),
    };
    // What was looked at is fine now: the error itself is all there is to tell.
    if found.fix.is_none() { failed(error, None) } else { failed_by(error, found) }
}

fn failed(error: &FabricError, fix: Option<&str>) -> Check {
    Check::fail("network", error.to_string(), fix.map(Into::into))
}

fn failed_by(error: &FabricError, found: Check) -> Check {
    Check::fail(found.name, format!("{error}; {}", found.evidence), found.fix)
}
