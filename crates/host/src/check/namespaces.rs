use std::{
    env, io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use rustix::thread::UnshareFlags;

use super::{Check, sysctl};
use crate::{agent, sys};

const NAME: &str = "user namespaces";

/// The switches with which distributions forbid user namespaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Switches {
    /// `user.max_user_namespaces`.
    pub(super) max_user: Option<String>,
    /// `kernel.unprivileged_userns_clone` (Debian).
    pub(super) clone: Option<String>,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu).
    pub(super) apparmor: Option<String>,
}

impl Switches {
    pub(super) fn read() -> Self {
        Self {
            max_user: sysctl("user/max_user_namespaces"),
            clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
        }
    }
}

pub(super) fn check() -> Check {
    if agent::is_privileged() {
        return match try_unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS) {
            Ok(()) => Check::ok(NAME, "not needed: CAP_SYS_ADMIN and CAP_NET_ADMIN are at hand"),
            Err(error) => Check::fail("namespaces", format!("root can't make namespaces: {error}"), None),
        };
    }
    judge(&Switches::read(), &try_unshare(UnshareFlags::NEWUSER))
}

/// What the switches and an attempt say together. The attempt decides; the switches name the cause.
pub(super) fn judge(switches: &Switches, attempt: &io::Result<()>) -> Check {
    let Err(error) = attempt else { return Check::ok(NAME, "made one, with a network in it") };
    if switches.max_user.as_deref() == Some("0") {
        let fix = "sudo sysctl -w user.max_user_namespaces=65536";
        return Check::fail(NAME, "user.max_user_namespaces = 0", Some(fix.into()));
    }
    if switches.clone.as_deref() == Some("0") {
        let fix = "sudo sysctl -w kernel.unprivileged_userns_clone=1";
        return Check::fail(NAME, "kernel.unprivileged_userns_clone = 0", Some(fix.into()));
    }
    if switches.apparmor.as_deref() == Some("1") {
        return Check::fail(NAME, "kernel.apparmor_restrict_unprivileged_userns = 1", Some(apparmor_profile()));
    }
    match error.raw_os_error() {
        Some(libc::ENOSPC) => {
            let fix = "sudo sysctl -w user.max_user_namespaces=65536 user.max_net_namespaces=65536";
            Check::fail(NAME, "the limit of namespaces is reached, or 32 of them are nested", Some(fix.into()))
        }
        Some(libc::EPERM) => {
            let fix = "outside of a container: run as root; in a container: allow unshare(2), as with \
                       --security-opt seccomp=unconfined, or give it --cap-add SYS_ADMIN --cap-add NET_ADMIN";
            Check::fail(NAME, "unshare(CLONE_NEWUSER): not permitted, and no known switch says why", Some(fix.into()))
        }
        _ => Check::fail(NAME, format!("unshare(CLONE_NEWUSER): {error}"), None),
    }
}

/// AppArmor lets a program through that has a profile which says so: narrower than turning the switch off.
fn apparmor_profile() -> String {
    let program = env::current_exe().map_or_else(|_| "/usr/bin/minato".into(), |path| path.display().to_string());
    format!(
        "printf 'abi <abi/4.0>,\\nprofile minato {program} flags=(unconfined) {{ userns, }}\\n' \
         | sudo tee /etc/apparmor.d/minato && sudo apparmor_parser -r /etc/apparmor.d/minato"
    )
}

/// Makes namespaces in a child that ends at once. A user namespace is only proven by what needs its capabilities:
/// AppArmor lets it be made and takes them away.
fn try_unshare(flags: UnshareFlags) -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe/none");
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let attempt = move || {
        sys::unshare(flags)?;
        if flags.contains(UnshareFlags::NEWUSER) {
            sys::unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only: it neither allocates nor takes a lock.
    unsafe { child.pre_exec(attempt) };
    match child.spawn() {
        // There is no such program: the child came as far as executing it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(()),
        Err(error) => Err(error),
        Ok(mut child) => child.wait().map(drop),
    }
}
