//! The agent and its hosts, in real namespaces.
#![allow(clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::{HELPER, World, command, config, in_world_of, in_world_with, in_worlds, printed, shell};
use minato_host::{
    agent::{MAX_SOCKETS, RequestError},
    enter::{Identity, Namespaces},
    process,
};

#[test]
fn a_host_is_a_machine_of_its_own() {
    in_worlds("a_host_is_a_machine_of_its_own", || {
        let world = World::new();
        let host = world.host(2);
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(shell(&host, "id -u"), own.to_string());
        assert_eq!(shell(&host, "pwd"), std::env::current_dir().unwrap().display().to_string());
        assert_eq!(shell(&host, "cat /etc/resolv.conf"), "nameserver 10.77.0.1\n# host 2");
        let addresses = shell(&host, "ip -o addr show dev eth0");
        assert!(addresses.contains("10.77.0.2/24") && addresses.contains("fd77::2/64"), "{addresses}");
        assert!(!addresses.contains("tentative"), "{addresses}");
        assert!(shell(&host, "ip -o addr show dev lo").contains("127.0.0.1/8"));
        assert!(shell(&host, "ip route").contains("default via 10.77.0.1 dev eth0"));
        assert!(shell(&host, "ip -6 route").contains("default via fd77::1 dev eth0"));
        assert!(shell(&host, "ip link show dev eth0").contains("mtu 1500"));
        let setting = |name: &str| shell(&host, &format!("cat /proc/sys/net/{name}")).replace('\t', " ");
        assert_eq!(setting("ipv4/ip_unprivileged_port_start"), "0");
        assert_eq!(setting("ipv4/ip_local_port_range"), "49152 65535");
        assert_eq!(setting("ipv4/tcp_fwmark_accept"), "1");
        assert_eq!(setting("ipv6/conf/eth0/accept_ra"), "0");
        // The machine's own file is untouched.
        assert!(!std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default().contains("# host 2"));
        assert!(process::in_network(host.network_inode).is_empty());
    });
}

#[test]
fn hosts_reach_each_other_and_ping() {
    in_worlds("hosts_reach_each_other_and_ping", || {
        let world = World::new();
        let (first, _second) = (world.host(2), world.host(3));
        shell(&first, "ping -c 1 -W 2 10.77.0.3 && ping -c 1 -W 2 fd77::3 && ping -c 1 -W 2 127.0.0.1");
    });
}

/// Where the program starts: the caller's directory, also one that has no path any more or needs the caller's mounts.
#[test]
fn the_working_directory_stays() {
    in_worlds("the_working_directory_stays", || {
        let world = World::new();
        let host = world.host(2);
        let directory = world.directory.0.join("a directory");
        std::fs::create_dir(&directory).unwrap();
        let run = |script: &str| {
            let mut command = command(&host, Identity::Own, &["sh", "-c", script]);
            printed(&command.current_dir(&directory).output().unwrap())
        };
        assert_eq!(run("pwd -P; echo hello > file; cat file"), format!("{}\nhello", directory.display()));
        // The shell that starts it has removed its own directory.
        let script = format!("cd '{}' && rm -r ../a* && exec \"$0\" enter \"$@\"", directory.display());
        let Namespaces { user, network, mount, .. } = host.namespaces.clone();
        let mut removed = std::process::Command::new("sh");
        removed.args(["-c", &script, HELPER, &user.unwrap_or_default(), &network, &mount, "sh", "-c", "ls; echo here"]);
        assert_eq!(printed(&removed.output().unwrap()), "here");
    });
}

#[test]
fn map_root_is_root_inside() {
    in_worlds("map_root_is_root_inside", || {
        let world = World::new();
        let host = world.host(2);
        let output = command(&host, Identity::MapRoot, &["sh", "-c", "id -u; cat /etc/resolv.conf"]).output().unwrap();
        assert_eq!(printed(&output), "0\nnameserver 10.77.0.1\n# host 2");
    });
}

#[test]
fn a_host_that_ends_takes_its_processes_along() {
    in_worlds("a_host_that_ends_takes_its_processes_along", || {
        let world = World::new();
        let host = world.host(2);
        let mut polite = command(&host, Identity::Own, &["sleep", "1000"]).spawn().unwrap();
        let script = "trap '' TERM; while :; do sleep 1000; done";
        let mut stubborn = command(&host, Identity::Own, &["sh", "-c", script]).spawn().unwrap();
        while process::in_network(host.network_inode).len() < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let start = Instant::now();
        world.fabric.end_processes(&host.name, Duration::from_millis(200)).unwrap();
        world.fabric.remove_host(&host.name).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert!(polite.wait().unwrap().code().is_none());
        assert!(stubborn.wait().unwrap().code().is_none());
        // Its name and address are free again; perhaps even the number of its namespace.
        assert_eq!(shell(&world.host(2), "cat /proc/net/tcp | wc -l"), "1");
    });
}

#[test]
fn names_are_unique_and_known() {
    in_worlds("names_are_unique_and_known", || {
        let world = World::new();
        world.host(2);
        let again = world.fabric.add_host(&world.host_config(2));
        assert!(matches!(again, Err(RequestError::HostExists(name)) if name == "host-2"));
        let unknown = world.fabric.remove_host("nobody");
        assert!(matches!(unknown, Err(RequestError::UnknownHost(name)) if name == "nobody"));
    });
}

#[test]
fn a_host_that_cannot_be_made_leaves_nothing() {
    in_worlds("a_host_that_cannot_be_made_leaves_nothing", || {
        let world = World::new();
        let mut config = world.host_config(2);
        config.resolv_conf = "/nonexistent/resolv.conf".into();
        let Err(RequestError::Failed(error)) = world.fabric.add_host(&config) else { panic!("must fail") };
        assert_eq!(
            error.to_string().split(':').next(),
            Some("can't mount /etc/resolv.conf (/nonexistent/resolv.conf)")
        );
        let mut config = world.host_config(2);
        config.ephemeral_range = (2, 1);
        let Err(RequestError::Failed(error)) = world.fabric.add_host(&config) else { panic!("must fail") };
        assert!(error.to_string().contains("net.ipv4.ip_local_port_range = 2 1"), "{error}");
        // The agent is where it was: the same host can be made, and works.
        let host = world.host(2);
        assert_eq!(shell(&host, "ip -o link | wc -l"), "2");
    });
}

#[test]
fn hands_over_many_sockets() {
    in_worlds("hands_over_many_sockets", || {
        use minato_host::{Family, agent::InsideSocket};
        let world = World::new();
        world.host(2);
        for kind in [InsideSocket::TransparentStream, InsideSocket::Stream, InsideSocket::Datagram] {
            for family in [Family::V4, Family::V6] {
                let sockets = world.fabric.sockets("host-2", kind, family, 1000).unwrap();
                assert_eq!(sockets.len(), MAX_SOCKETS);
            }
        }
    });
}

/// Machines without `/etc/resolv.conf`, or with a link in its place, which may lead nowhere.
#[test]
fn every_kind_of_resolv_conf_is_covered() {
    for kind in ["missing", "dangling", "symlink"] {
        let variables = [("MINATO_HOST_TEST_RESOLV_CONF", kind)];
        in_world_with("every_kind_of_resolv_conf_is_covered", &["root", "ordinary"], &variables, || {
            let kind = std::env::var("MINATO_HOST_TEST_RESOLV_CONF").unwrap();
            let outside = || std::fs::read_to_string("/etc/resolv.conf").ok();
            let before = outside();
            assert_eq!(before.is_some(), kind == "symlink");
            let world = World::new();
            let (first, second) = (world.host(2), world.host(3));
            assert_eq!(shell(&first, "cat /etc/resolv.conf"), "nameserver 10.77.0.1\n# host 2", "{kind}");
            assert_eq!(shell(&second, "cat /etc/resolv.conf"), "nameserver 10.77.0.1\n# host 3", "{kind}");
            // The rest of /etc is there.
            shell(&first, "test -s /etc/passwd && getent passwd root");
            assert_eq!(outside(), before, "{kind}");
            world.fabric.remove_host(&first.name).unwrap();
            drop(world);
            assert_eq!(outside(), before, "{kind}");
        });
    }
}

/// An engine that is out of descriptors gets a host's name without the host: the name can be had again later.
#[test]
fn a_host_that_could_not_be_received_is_not_there() {
    in_worlds("a_host_that_could_not_be_received_is_not_there", || {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let world = World::new();
        let config = world.host_config(2);
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).unwrap();
        let mut all: Vec<std::fs::File> = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            all.push(file);
        }
        all.truncate(all.len() - 2);
        let refused = world.fabric.add_host(&config).unwrap_err();
        assert!(matches!(&refused, RequestError::Failed(_)), "{refused}");
        drop(all);
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(matches!(world.fabric.remove_host(&config.name), Err(RequestError::UnknownHost(_))));
        let again = world.fabric.add_host(&config).unwrap().namespace;
        shell(&again, "ip addr");
    });
}

/// The kernel gives the number of a namespace that is gone to the next one that is made, which may be another engine's.
#[test]
fn who_ends_spares_others_that_have_the_numbers_of_its_namespaces_now() {
    in_worlds("who_ends_spares_others_that_have_the_numbers_of_its_namespaces_now", || {
        use rustix::process::{Pid, Signal, kill_process};
        let ends = World::new();
        (2..8).for_each(|number| drop(ends.host(number)));
        let agent = i32::try_from(ends.fabric.agent_pid()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(agent, Signal::KILL).unwrap();
        let mut ended = [rustix::event::PollFd::new(&ends.fabric, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut ended, None).unwrap();
        let others = [World::new(), World::new(), World::new()];
        others.iter().for_each(|world| drop(world.host(2)));
        drop(ends);
        others.iter().for_each(|world| drop(world.host(3)));
    });
}

/// The next engine waits for the lock until this one's agent has cleaned up, however the engine ended.
#[test]
fn the_agent_holds_the_lock_to_the_end() {
    in_worlds("the_agent_holds_the_lock_to_the_end", || {
        use minato_host::agent::{Directory, Fabric};
        use rustix::fs::{FlockOperation, flock};
        use std::fs::File;
        let directory = common::TemporaryDirectory::new();
        let path = directory.0.join("engine.lock");
        let lock = File::create(&path).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let mut config = config();
        config.directory = Some(Directory { path: directory.0.clone(), lock: lock.into() });
        let (fabric, _tap) = Fabric::create(&config).unwrap();
        // The engine's own descriptor closes first, as when it is killed.
        drop(config);
        let next = File::open(&path).unwrap();
        assert!(flock(&next, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(fabric);
        flock(&next, FlockOperation::NonBlockingLockExclusive).unwrap();
    });
}

/// Root inside of a user namespace, as in a container of an ordinary user: privileged as far as it goes, and only one
/// group is known.
#[test]
fn root_in_a_container_works() {
    in_world_of("root_in_a_container_works", &["ordinary"], || {
        let directory = common::TemporaryDirectory::new();
        let output = std::process::Command::new("unshare")
            .args(["-Urnm", common::HELPER, "timing"])
            .arg(&directory.0)
            .output()
            .unwrap();
        assert!(printed(&output).contains("privileged: true"));
    });
}
