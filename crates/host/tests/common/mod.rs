//! A world for each test: a network namespace of its own, as root and as an ordinary user.
#![allow(dead_code)]

use std::{
    env,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use minato_host::{
    Family,
    agent::{Fabric, FabricConfig, HostConfig, HostNamespace, InsideSocket, Subnet},
    enter::{Enter, Identity},
    tap::Tap,
};

pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_minato-host-helper");
const INSIDE: &str = "MINATO_HOST_TEST_WORLD";

/// Runs the body of the test `name` in a fresh world, once as root and once as an ordinary user. A machine on which that
/// is impossible skips it loudly, or fails it when `CI` is set.
pub(crate) fn in_worlds(name: &str, body: fn()) {
    in_world_of(name, &["root", "ordinary"], body);
}

/// As [`in_worlds`], for some users only.
pub(crate) fn in_world_of(name: &str, users: &[&str], body: fn()) {
    in_world_with(name, users, &[], body);
}

/// As [`in_world_of`], with further environment variables, which the helper or the body understand.
pub(crate) fn in_world_with(name: &str, users: &[&str], variables: &[(&str, &str)], body: fn()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        return skip(name, "making worlds needs root (try: sudo -E cargo nextest run -p minato-host)");
    }
    if !Path::new("/dev/net/tun").exists() {
        return skip(name, "no /dev/net/tun (try: modprobe tun)");
    }
    for user in users {
        let status = Command::new(HELPER)
            .args(["world", user])
            .arg(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(INSIDE, user)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{name} as {user}: {status}");
    }
}

fn skip(name: &str, reason: &str) {
    assert!(env::var_os("CI").is_none(), "{name} can't run: {reason}");
    eprintln!("\n!!! SKIPPED {name}: {reason}\n");
}

/// A fabric and the directory of its files.
pub(crate) struct World {
    pub(crate) fabric: Fabric,
    pub(crate) tap: Tap,
    pub(crate) directory: TemporaryDirectory,
}

pub(crate) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

impl World {
    pub(crate) fn new() -> Self {
        let directory = TemporaryDirectory::new();
        let (fabric, tap) = Fabric::create(&config()).unwrap();
        assert_eq!(fabric.is_privileged(), rustix::process::geteuid().is_root());
        Self { fabric, tap, directory }
    }

    /// Adds the host `10.77.0.number`.
    pub(crate) fn host(&self, number: u8) -> HostNamespace {
        self.fabric.add_host(&self.host_config(number)).unwrap().namespace
    }

    pub(crate) fn host_config(&self, number: u8) -> HostConfig {
        let resolv_conf = self.directory.0.join(format!("resolv-{number}.conf"));
        std::fs::write(&resolv_conf, format!("nameserver {GATEWAY_V4}\n# host {number}\n")).unwrap();
        HostConfig {
            name: format!("host-{number}"),
            address_v4: Ipv4Addr::new(10, 77, 0, number),
            address_v6: Some(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into())),
            ephemeral_range: (49_152, 65_535),
            resolv_conf,
        }
    }
}

pub(crate) fn config() -> FabricConfig {
    FabricConfig {
        program: PathBuf::from(HELPER),
        arguments: vec!["agent".into()],
        subnet: Subnet { gateway_v4: GATEWAY_V4, prefix_v4: 24, gateway_v6: GATEWAY_V6, prefix_v6: 64 },
        gateway_mac: GATEWAY_MAC,
        mtu: 1500,
        directory: None,
    }
}

/// A command that runs in a host.
pub(crate) fn command(host: &HostNamespace, identity: Identity, program: &[&str]) -> Command {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).stdin(Stdio::null());
    Enter::open(&host.namespaces, identity).unwrap().apply(&mut command);
    command
}

/// Runs a shell script in a host and returns what it prints.
pub(crate) fn shell(host: &HostNamespace, script: &str) -> String {
    let output = command(host, Identity::Own, &["sh", "-c", script]).output().unwrap();
    printed(&output)
}

pub(crate) fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A listener in a host. An ordinary user can't enter it with one thread of several, but may use a socket from there.
pub(crate) fn listener(world: &World, host: &HostNamespace, address: SocketAddr) -> TcpListener {
    let kind = InsideSocket::Stream;
    let socket = world.fabric.sockets(&host.name, kind, Family::of(address.ip()), 1).unwrap().remove(0);
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 128).unwrap();
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(false).unwrap();
    listener
}

/// A directory that goes with its owner.
pub(crate) struct TemporaryDirectory(pub(crate) PathBuf);

impl TemporaryDirectory {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("minato-host-test-{}-{next}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
