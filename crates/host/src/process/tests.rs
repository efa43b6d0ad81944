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

/// A name is any bytes: this one is the file's.
#[test]
fn a_process_whose_name_is_no_utf8_is_seen() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let directory = std::env::temp_dir().join(format!("minato-name-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let program = directory.join(OsStr::from_bytes(b"\xff\xfesleep"));
    fs::copy("/bin/sleep", &program).unwrap();
    let mut child = std::process::Command::new(&program).arg("100").spawn().unwrap();
    let pid = child.id();
    let described = describe(pid).map(|process| (process.name, process.parent));
    let stat = Stat::of(pid).map(|stat| (stat.parent(), stat.is_dead()));
    rustix::process::kill_process(Pid::from_child(&child), rustix::process::Signal::STOP).unwrap();
    let start = std::time::Instant::now();
    while !is_stopped(pid) && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let stopped = is_stopped(pid);
    let group = thread_group(pid);
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let own = std::process::id();
    assert_eq!(described, Some(("\u{fffd}\u{fffd}sleep".to_owned(), own)));
    assert_eq!((stat, stopped, group), (Some((Some(own), false)), true, Some(pid)));
}
