use std::io;

use super::{
    kernel::judge_version,
    limits::judge_open_files,
    namespaces::{Switches, judge},
    *,
};
use crate::agent::{FabricError, Step};

fn errno(number: i32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(number))
}

#[test]
fn looks_at_this_machine() {
    let checks = all();
    for check in &checks {
        assert!(!check.evidence.is_empty(), "{check:?}");
        assert_eq!(check.fix.is_none(), check.state == CheckState::Ok, "{check:?}");
    }
    assert_eq!(checks[0].name, "kernel");
    assert_eq!(checks[0].state, CheckState::Ok, "{:?}", checks[0]);
}

#[test]
fn the_switch_that_forbids_user_namespaces_is_named() {
    let debian = Switches { clone: Some("0".into()), max_user: Some("1000".into()), ..Switches::default() };
    let check = judge(&debian, &errno(libc::EPERM));
    assert_eq!(check.evidence, "kernel.unprivileged_userns_clone = 0");
    assert_eq!(check.fix.as_deref(), Some("sudo sysctl -w kernel.unprivileged_userns_clone=1"));

    let none = Switches { max_user: Some("0".into()), ..Switches::default() };
    assert_eq!(judge(&none, &errno(libc::ENOSPC)).evidence, "user.max_user_namespaces = 0");

    let ubuntu = Switches { apparmor: Some("1".into()), ..Switches::default() };
    let check = judge(&ubuntu, &errno(libc::EACCES));
    assert_eq!(check.state, CheckState::Fail);
    assert!(check.fix.unwrap().contains("/etc/apparmor.d/minato"));

    // The attempt decides: a profile may let this very program through.
    assert_eq!(judge(&ubuntu, &Ok(())).state, CheckState::Ok);
    assert!(judge(&Switches::default(), &errno(libc::EPERM)).fix.unwrap().contains("container"));
}

#[test]
fn the_tun_device_is_judged_by_its_error() {
    assert!(tun::judge(&errno(libc::ENOENT)).fix.unwrap().starts_with("sudo modprobe tun"));
    assert!(tun::judge(&errno(libc::EACCES)).fix.unwrap().starts_with("sudo chmod 0666 /dev/net/tun"));
    assert_eq!(tun::judge(&Ok(())).state, CheckState::Ok);
    assert!(tun::judge(&errno(libc::ENOTTY)).fix.unwrap().contains("mknod"));
}

#[test]
fn kernel_versions_are_compared_by_number() {
    let state = |release| judge_version(release).state;
    assert_eq!(state("4.19.0-26-amd64"), CheckState::Fail);
    assert_eq!(state("5.10.0"), CheckState::Warn);
    assert_eq!(state("6.8.0-45-generic"), CheckState::Ok);
    assert_eq!(state("6.18.44-fc-v657"), CheckState::Ok);
    assert_eq!(state("10.0-rc1"), CheckState::Ok);
}

#[test]
fn a_low_limit_of_open_files_is_a_warning() {
    assert_eq!(judge_open_files(Some(1024)).state, CheckState::Warn);
    assert_eq!(judge_open_files(Some(20_000)).state, CheckState::Ok);
    assert_eq!(judge_open_files(None).state, CheckState::Ok);
}

#[test]
fn an_error_of_the_fabric_is_explained() {
    let failed = |step, number| {
        let source = io::Error::from_raw_os_error(number);
        explain(&FabricError { step, detail: None, source })
    };
    let check = failed(Step::OpenTun, libc::EACCES);
    assert_eq!((check.name, check.state), ("TUN device", CheckState::Fail));
    assert!(check.evidence.starts_with("can't open /dev/net/tun: Permission denied"), "{}", check.evidence);
    assert!(check.fix.unwrap().contains("chmod"));
    assert_eq!(failed(Step::Bridge, libc::EOPNOTSUPP).fix.as_deref(), Some("sudo modprobe bridge"));
    let check = failed(Step::StartAgent, libc::ENOENT);
    assert_eq!((check.name, check.fix), ("network", None));
}
