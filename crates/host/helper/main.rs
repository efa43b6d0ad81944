//! What the tests of `minato-host` need as processes of their own.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::{
    env,
    error::Error,
    fs,
    io::{self, Read},
    net::{TcpListener, UdpSocket},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Command, ExitCode},
    time::{Duration, Instant},
};

use minato_host::{
    Family, Transport,
    agent::{self, Directory, Fabric, FabricConfig, HostConfig, InsideSocket, Subnet},
    check,
    enter::{Enter, Identity, Namespaces},
    process::{Owner, SocketOwners},
    sock_diag::{Query, SockDiag, States},
    sockets,
};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    thread::{UnshareFlags, set_thread_gid, set_thread_groups, set_thread_uid, unshare_unsafe},
};

/// The user that tests as an ordinary one run as.
const ORDINARY: u32 = 65_534;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["agent"] => return agent::main(),
        ["world", user, program, ref rest @ ..] => world(user == "ordinary", program, rest),
        ["engine", directory, ref command @ ..] => engine(Path::new(directory), command),
        ["enter", user, network, mount, program, ref rest @ ..] => {
            let user = Some(user.to_owned()).filter(|user| !user.is_empty());
            enter(&Namespaces { user, network: network.into(), mount: mount.into(), time: None }, program, rest)
        }
        ["timing", directory] => timing(Path::new(directory)),
        ["table", count] => table(count),
        _ => Err(
            "usage: agent | world root|ordinary PROGRAM… | engine DIRECTORY COMMAND… | enter USER NETWORK MOUNT PROGRAM… | timing DIRECTORY | table COUNT"
                .into(),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("minato-host-helper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Executes a program in a network namespace of its own, in which `/dev/net/tun` may be opened by everybody.
fn world(ordinary: bool, program: &str, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    // SAFETY: CLONE_FILES is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("world", "/mnt", "tmpfs", MountFlags::empty(), None)?;
    let mode = env::var("MINATO_HOST_TEST_TUN").map_or(Ok(0o666), |mode| u32::from_str_radix(&mode, 8))?;
    mknodat(CWD, "/mnt/tun", FileType::CharacterDevice, Mode::from_raw_mode(mode), makedev(10, 200))?;
    fs::set_permissions("/mnt/tun", fs::Permissions::from_mode(mode))?;
    mount_bind("/mnt/tun", "/dev/net/tun")?;
    Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    // A machine's address that is not loopback, IPv4 and IPv6.
    let outside = "ip link add outside type bridge && ip link set outside up && ip addr add 192.0.2.1/24 dev outside \
                   && ip -6 addr add 2001:db8::1/64 dev outside nodad && ip route add default via 192.0.2.254";
    Command::new("sh").args(["-c", outside]).status()?;
    if let Ok(kind) = env::var("MINATO_HOST_TEST_RESOLV_CONF") {
        replace_resolv_conf(&kind)?;
    }
    if ordinary {
        set_thread_groups(&[])?;
        set_thread_gid(rustix::fs::Gid::from_raw(ORDINARY))?;
        set_thread_uid(rustix::fs::Uid::from_raw(ORDINARY))?;
    }
    Err(Command::new(program).args(arguments).exec().into())
}

/// Gives this world an `/etc` whose `resolv.conf` is missing, or a link that leads somewhere or nowhere.
fn replace_resolv_conf(kind: &str) -> Result<(), Box<dyn Error>> {
    let link = match kind {
        "missing" => "",
        "dangling" => "ln -s /run/nothing/resolv.conf /mnt/etc/resolv.conf",
        "symlink" => "echo '# elsewhere' > /mnt/elsewhere.conf && ln -s ../mnt/elsewhere.conf /mnt/etc/resolv.conf",
        _ => return Err(format!("unknown kind {kind}").into()),
    };
    let script = format!("set -e; mkdir /mnt/etc; cp -a /etc/. /mnt/etc/; rm -f /mnt/etc/resolv.conf\n{link}");
    if !Command::new("sh").args(["-c", &script]).status()?.success() {
        return Err("can't copy /etc".into());
    }
    Ok(mount_bind("/mnt/etc", "/etc")?)
}

/// An engine with one host in which `command` runs. Prints the agent's process ID, the program's, and the inode of the
/// host's network namespace; waits until its standard input ends.
fn engine(directory: &Path, command: &[&str]) -> Result<(), Box<dyn Error>> {
    let (fabric, _tap) = Fabric::create(&fabric_config(directory)?).map_err(|error| {
        let check = check::explain(&error);
        format!("{}: {}; fix: {}", check.name, check.evidence, check.fix.unwrap_or_default())
    })?;
    let host = fabric.add_host(&host_config(directory, 2)?)?.namespace;
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program);
    child.args(arguments).stdin(std::process::Stdio::null());
    Enter::open(&host.namespaces, Identity::Own)?.apply(&mut child);
    let mut child = child.spawn()?;
    println!("{} {} {}", fabric.agent_pid(), child.id(), host.network_inode);
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(fabric);
    child.wait()?;
    Ok(())
}

/// Runs a program in a host.
fn enter(namespaces: &Namespaces, program: &str, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut child = Command::new(program);
    Enter::open(namespaces, Identity::Own)?.apply(&mut child);
    let status = child.args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

/// Prints how long everything takes, medians of many, and how large the agent is.
fn timing(directory: &Path) -> Result<(), Box<dyn Error>> {
    const ROUNDS: usize = 50;
    let start = Instant::now();
    let (fabric, _tap) = Fabric::create(&fabric_config(directory)?)?;
    println!("fabric {:.2} ms, privileged: {}", milliseconds(start), fabric.is_privileged());
    let [mut add, mut program, mut remove, mut sockets] = [(); 4].map(|()| Vec::new());
    for round in 0..ROUNDS {
        let config = host_config(directory, 2 + round as u8)?;
        let start = Instant::now();
        let host = fabric.add_host(&config)?.namespace;
        add.push(milliseconds(start));
        let start = Instant::now();
        let mut child = Command::new("true");
        Enter::open(&host.namespaces, Identity::Own)?.apply(&mut child);
        child.status()?;
        program.push(milliseconds(start));
        let start = Instant::now();
        fabric.sockets(&host.name, InsideSocket::TransparentStream, Family::V4, 32)?;
        sockets.push(milliseconds(start));
        let start = Instant::now();
        fabric.end_processes(&host.name, Duration::from_millis(500))?;
        fabric.remove_host(&host.name)?;
        remove.push(milliseconds(start));
    }
    for (what, times) in [("add host", add), ("run true", program), ("32 sockets", sockets), ("remove host", remove)] {
        print_median(what, times);
    }
    let mut plain = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        Command::new("unshare").args(["-Urn", "true"]).status()?;
        plain.push(milliseconds(start));
    }
    print_median("unshare -Urn true", plain);
    for number in 0..100 {
        fabric.add_host(&host_config(directory, 100 + number)?)?;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", fabric.agent_pid()))?;
    let size = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    println!("agent with 100 hosts: {} · {}", size("VmRSS"), size("RssAnon"));
    let start = Instant::now();
    drop(fabric);
    println!("end of 100 hosts {:.2} ms", milliseconds(start));
    Ok(())
}

/// Opens many listeners, and compares reading the machine's ports and their processes with `ss -tulpnH`.
fn table(count: &str) -> Result<(), Box<dyn Error>> {
    let count: usize = count.parse()?;
    sockets::raise_file_limit()?;
    let tcp: Vec<_> = (0..count / 2).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let udp: Vec<_> = (0..count / 2).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let start = Instant::now();
        let mut diag = SockDiag::open()?;
        let mut inodes = Vec::new();
        for (transport, states) in [(Transport::Tcp, States::LISTEN), (Transport::Udp, States::UNCONNECTED)] {
            for family in [Family::V4, Family::V6] {
                diag.dump(Query::new(family, transport, states), |socket| inodes.push(socket.inode))?;
            }
        }
        let owners = SocketOwners::of_machine();
        let own = process::id();
        let known = inodes.iter().filter(|&&inode| owners.owner(inode) == Owner::Processes(&[own])).count();
        ours.push(milliseconds(start));
        if known != tcp.len() + udp.len() {
            return Err(format!("{known} of {count} found").into());
        }
        let start = Instant::now();
        Command::new("ss").arg("-tulpnH").stdout(process::Stdio::null()).status()?;
        theirs.push(milliseconds(start));
    }
    print_median("sockets and owners", ours);
    print_median("ss -tulpnH", theirs);
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn print_median(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    println!("{what}: median {:.2} ms, {:.2} to {:.2}", times[times.len() / 2], times[0], times[times.len() - 1]);
}

fn fabric_config(directory: &Path) -> Result<FabricConfig, Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("api.sock"), "")?;
    let lock = fs::File::create(directory.join("engine.lock"))?.into();
    Ok(FabricConfig {
        program: PathBuf::from("/proc/self/exe"),
        arguments: vec!["agent".into()],
        subnet: Subnet {
            gateway_v4: "10.77.0.1".parse()?,
            prefix_v4: 24,
            gateway_v6: "fd77::1".parse()?,
            prefix_v6: 64,
        },
        gateway_mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        directory: Some(Directory { path: directory.to_owned(), lock }),
    })
}

fn host_config(directory: &Path, number: u8) -> Result<HostConfig, Box<dyn Error>> {
    let resolv_conf = directory.join("resolv.conf");
    fs::write(&resolv_conf, "nameserver 10.77.0.1\n")?;
    Ok(HostConfig {
        name: format!("host-{number}"),
        address_v4: format!("10.77.0.{number}").parse()?,
        address_v6: Some(format!("fd77::{number}").parse()?),
        ephemeral_range: (49_152, 65_535),
        resolv_conf,
    })
}
