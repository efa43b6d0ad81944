//! What the machine forbids is named, with its fix, by the failing operation itself.
#![allow(clippy::disallowed_methods)]

mod common;

use std::process::Command;

use common::{HELPER, TemporaryDirectory, World, config, in_world_of, in_world_with, in_worlds};
use minato_host::{
    agent::{Fabric, Step},
    check::{self, CheckState},
};

#[test]
fn a_machine_that_can_passes_the_trial() {
    in_worlds("a_machine_that_can_passes_the_trial", || {
        let directory = TemporaryDirectory::new();
        let world = World::new();
        let host = world.host_config(2);
        let check = check::trial(&config(), &host);
        assert_eq!(check.state, CheckState::Ok, "{check:?}");
        assert!(check.evidence.contains(" ms"), "{check:?}");
        assert!(check::all().iter().all(|check| check.state != CheckState::Fail), "{:?}", check::all());
        drop(directory);
    });
}

#[test]
fn a_closed_tun_device_is_named() {
    let variables = [("MINATO_HOST_TEST_TUN", "0600")];
    in_world_with("a_closed_tun_device_is_named", &["ordinary"], &variables, || {
        let error = Fabric::create(&config()).unwrap_err();
        assert_eq!(error.step, Step::OpenTun);
        let check = check::explain(&error);
        assert_eq!((check.name, check.state), ("TUN device", CheckState::Fail));
        assert!(check.evidence.contains("mode 0600"), "{check:?}");
        assert!(check.fix.unwrap().contains("chmod 0666 /dev/net/tun"));
        assert_eq!(check::all().iter().find(|check| check.name == "TUN device").unwrap().state, CheckState::Fail);
    });
}

/// The switch is one of the user namespace that it is set in: the machine's own stays as it is.
#[test]
fn forbidden_user_namespaces_are_named() {
    in_world_of("forbidden_user_namespaces_are_named", &["ordinary"], || {
        let directory = TemporaryDirectory::new();
        let script = format!(
            "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all {HELPER} engine {} true",
            directory.0.display()
        );
        let output = Command::new("unshare").args(["-Ur", "sh", "-c", &script]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("can't create a user namespace"), "{errors}");
        assert!(errors.contains("user.max_user_namespaces = 0"), "{errors}");
        assert!(errors.contains("fix: sudo sysctl -w user.max_user_namespaces"), "{errors}");
    });
}

#[test]
fn an_agent_that_is_none_is_an_error() {
    in_world_of("an_agent_that_is_none_is_an_error", &["ordinary"], || {
        for (program, step) in [("/nonexistent", Step::StartAgent), ("true", Step::TalkToAgent)] {
            let mut config = config();
            config.program = program.into();
            assert_eq!(Fabric::create(&config).unwrap_err().step, step);
        }
    });
}
