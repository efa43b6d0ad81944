use std::{net::TcpListener, os::fd::AsRawFd};

use super::*;

#[test]
fn describes_this_process() {
    let own = describe(std::process::id()).expect("we run");
    assert_eq!(own.pid, std::process::id());
    assert_eq!(own.cwd.as_deref(), std::env::current_dir().unwrap().to_str());
    assert_eq!(own.uid, rustix::process::geteuid().as_raw());
    assert!(!own.command.is_empty());
    assert!(own.age < Duration::from_secs(600), "{:?}", own.age);
}

#[test]
fn a_process_that_is_gone_is_none() {
    assert_eq!(describe(u32::MAX), None);
}

#[test]
fn a_network_has_its_processes() {
    assert!(in_network(own_network()).contains(&std::process::id()));
    assert!(in_network(1).is_empty());
}

#[test]
fn a_socket_has_its_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    let inode = parse_link(link.to_str().unwrap(), "socket:[").unwrap();
    let own = std::process::id();
    assert_eq!(SocketOwners::of(&[own]).owner(inode), Owner::Processes(&[own]));
    assert_eq!(SocketOwners::of(&[own]).owner(0), Owner::Nobody);
}

#[test]
fn ages_at_one_moment_tell_who_came_first_however_long_it_takes_to_look() {
    let start = || std::process::Command::new("sleep").arg("100").spawn().expect("it runs");
    let pause = || std::thread::sleep(std::time::Duration::from_millis(50));
    let mut first = start();
    pause();
    let mut second = start();
    let moment = since_boot();
    let older = describe_at(moment, first.id()).expect("it runs").age;
    // As on a machine that is busy.
    pause();
    pause();
    let younger = describe_at(moment, second.id()).expect("it runs").age;
    assert!(older > younger, "{older:?} and {younger:?}");
    for child in [&mut first, &mut second] {
        child.kill().expect("ended");
        child.wait().expect("its status");
    }
}
