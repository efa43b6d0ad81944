//! `minato run` and `exec` tell why a bind failed, and are in nobody's way.

use crate::machine::{Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::{net, servers};

/// Binds in every way that must work as ever; fails at the first that does not.
const BINDS: &str = "
import errno, os, signal, socket, threading
def bind(family, kind, address, *options):
    s = socket.socket(family, kind)
    for option in options: s.setsockopt(socket.SOL_SOCKET, option, 1)
    s.bind(address)
    return s
def fails(code, *arguments):
    try: bind(*arguments)
    except OSError as error: assert error.errno == code, error
    else: raise AssertionError(arguments)
v4, v6, tcp, udp = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
keep = [bind(v4, tcp, ('0.0.0.0', 80)), bind(v4, udp, ('127.0.0.1', 80)), bind(v6, tcp, ('::1', 81))]
assert keep[0].getsockname() == ('0.0.0.0', 80) and keep[2].getsockname()[:2] == ('::1', 81)
assert bind(v4, tcp, ('127.0.0.1', 0)).getsockname()[1] >= 49152
keep.append(bind(socket.AF_UNIX, tcp, '/run/work/binds.sock'))
keep += [bind(v4, tcp, ('0.0.0.0', 82), socket.SO_REUSEPORT) for _ in range(2)]
fails(errno.EADDRINUSE, v4, tcp, ('0.0.0.0', 82))
fails(errno.EADDRINUSE, v4, tcp, ('127.0.0.1', 80))
fails(errno.EADDRNOTAVAIL, v4, udp, ('192.0.2.1', 80))
try: keep[0].bind(('0.0.0.0', 83))
except OSError as error: assert error.errno == errno.EINVAL, error
else: raise AssertionError('bound twice')
# Closed and bound again at once, from another thread, while signals come.
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
def again():
    for _ in range(500):
        bind(v4, tcp, ('0.0.0.0', 3000)).close()
        bind(v6, udp, ('::', 3000)).close()
thread = threading.Thread(target=again)
thread.start()
for port in range(10000, 10500): keep.append(bind(v4, udp, ('0.0.0.0', port)))
thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
print('fine')
";

#[test]
fn a_bind_that_fails_names_who_holds_the_port() {
    Machine::run(&["apache2", "nginx", "python3"], |machine| {
        let apache = servers::apache(machine, 80, "A");
        let nginx = servers::nginx(machine, 80, "N");
        for (account, api) in [(machine.user(), Api::USER), (machine.root(), Api::ROOT)] {
            let web = account.run(&["--name", "web"], &apache.command);
            wait_for("apache2 to listen", SOON, || api.port("web", 80));
            let second = account.exec("web", &nginx.command).finish_within(SOON);
            assert!(!second.status.success());
            let second = second.expect_stderr(&[
                "minato: nginx (pid ",
                "can't bind 0.0.0.0:80/tcp in host \"web\": the port is in use",
                "80/tcp is held by apache2 (pid ",
                "try: a host of its own has every port free",
            ]);
            // It tries five times.
            assert_eq!(second.stderr.matches("can't bind 0.0.0.0:80").count(), 1, "{}", second.stderr);

            let python = |script: &str| account.exec("web", &["python3", "-c", script]).finish();
            let client = "import socket
c = socket.create_connection(('127.0.0.1', 80), source_address=('127.0.0.1', 5001))
socket.socket().bind(('0.0.0.0', 5001))";
            let client_and_server = [
                "python3",
                "-c",
                "import os, time, sys
if os.fork():
    time.sleep(1)
    import socket
    socket.socket().bind(('0.0.0.0', 5000))
else:
    import socket
    c = socket.create_connection(('127.0.0.1', 80), source_address=('127.0.0.1', 5000))
    time.sleep(4)",
            ];
            account.exec("web", &client_and_server).finish().expect_code(1).expect_stderr(&[
                "can't bind 0.0.0.0:5000/tcp",
                ": a connection to 127.0.0.1:80 has the port",
                "127.0.0.1:5000/tcp is held by python3 (pid ",
            ]);
            // Its own: it knows.
            let own = python(client).expect_code(1);
            assert!(!own.stderr.contains("minato: "), "{}", own.stderr);
            let address = api.host("web").address_v4.to_string();
            python("import socket; socket.socket().bind(('192.0.2.7', 80))").expect_code(1).expect_stderr(&[
                "can't bind 192.0.2.7:80/tcp",
                "no address of this host",
                &address,
            ]);
            web.stop();
            wait_until("the engine's end", SOON, || machine.engines().is_empty());
        }
    });
}

/// Binds `[::]` for both families, and for IPv6 alone, on ports that IPv4 sockets hold: another program's, and its own.
const BOTH_FAMILIES: &str = "
import socket
def bind(kind, family, address, port, only=0):
    s = socket.socket(family, kind)
    if family == socket.AF_INET6: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    s.bind((address, port))
    return s
for kind, port in [(socket.SOCK_STREAM, 3000), (socket.SOCK_DGRAM, 3001)]:
    try: bind(kind, socket.AF_INET6, '::', port)
    except OSError as error: print(error.strerror)
    bind(kind, socket.AF_INET6, '::', port, 1).close()
    own = bind(kind, socket.AF_INET, '0.0.0.0', 7)
    try: bind(kind, socket.AF_INET6, '::', 7)
    except OSError as error: print(error.strerror)
";

#[test]
fn a_socket_of_ipv4_is_named_that_is_in_the_way_of_both_families() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let holder = "import socket, time
t = socket.socket(); t.bind(('127.0.0.1', 3000)); t.listen()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 3001))
time.sleep(100)";
        let run = user.run(&["--name", "pd"], &["python3", "-c", holder]);
        wait_for("the holder", SOON, || Api::USER.port("pd", 3001));
        let finished = user.exec("pd", &["python3", "-c", BOTH_FAMILIES]).finish().expect_success();
        assert_eq!(finished.stdout, "Address already in use\n".repeat(4));
        let finished = finished.expect_stderr(&[
            "can't bind [::]:3000/tcp in host \"pd\": the port is in use",
            "127.0.0.1:3000/tcp is held by python3 (pid ",
            "can't bind [::]:3001/udp in host \"pd\": the port is in use",
            "127.0.0.1:3001/udp is held by python3 (pid ",
        ]);
        // Its own: it knows.
        assert!(!finished.stderr.contains("[::]:7"), "{}", finished.stderr);
        run.stop();
    });
}

#[test]
fn binds_have_the_result_that_they_would_have_had() {
    Machine::run(&["python3"], |machine| {
        for account in [machine.user(), machine.root()] {
            for flags in [&[][..], &["--map-root"]] {
                let _ = std::fs::remove_file("/run/work/binds.sock");
                let finished = account.run(flags, &["python3", "-c", BINDS]).finish().expect_success();
                assert_eq!(finished.stdout, "fine\n", "{}", finished.stderr);
            }
        }
    });
}

/// Binds ports below and above 1024 in every way, without root's privileges, and prints what comes of it.
const UNPRIVILEGED: &str = "
import errno, os, socket, sys
try: os.setuid(1000)
except OSError: pass
v4, v6, tcp, udp = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
for family, kind, address in [
    (v4, tcp, ('0.0.0.0', 80)), (v4, udp, ('127.0.0.1', 81)), (v6, tcp, ('::', 82)), (v6, udp, ('::1', 1023)),
    (v6, tcp, ('::ffff:127.0.0.1', 83)), (v4, tcp, ('0.0.0.0', 1024)),
    # The address is looked at before the port for IPv4, and after it for IPv6.
    (v4, tcp, ('192.0.2.1', 80)), (v4, udp, ('192.0.2.2', 80)), (v6, tcp, ('2001:db8::1', 80)),
    (v4, udp, ('224.0.0.1', 84)), (v6, tcp, ('ff02::1', 80)),
]:
    try: socket.socket(family, kind).bind(address); print(address, 'bound')
    except OSError as error: print(address, errno.errorcode[error.errno])
free = socket.socket(v4, tcp)
free.setsockopt(socket.SOL_IP, 15, 1) # IP_FREEBIND
try: free.bind(('192.0.2.3', 80)); print('free', 'bound')
except OSError as error: print('free', errno.errorcode[error.errno])
";

#[test]
fn a_port_that_needs_a_privilege_is_refused_as_by_the_kernel_and_the_setting_is_named() {
    Machine::run(&["python3", "sysctl"], |machine| {
        let setting = "net.ipv4.ip_unprivileged_port_start";
        for account in [machine.user(), machine.root()] {
            let keeper = account.run(&["--network", "net", "--name", "web"], &["sleep", "100"]);
            wait_until("the host", SOON, || {
                let list = account.minato_finish(&["--network", "net", "ps"]).stdout;
                list.contains("web")
            });
            let exec = |flags: &[&str], program: &[&str]| {
                let start = [&["--network", "net", "exec"], flags, &["web", "--"], program].concat();
                account.minato_finish(&start).expect_success()
            };
            exec(&["--net-admin"], &["sysctl", "-w", &format!("{setting}=1024")]);
            let script = ["python3", "-c", UNPRIVILEGED];
            let kernel = exec(&["--no-bind-watch"], &script);
            let privileged = kernel.stdout.matches("EACCES").count();
            assert_eq!(privileged, 8, "{}", kernel.stdout);
            assert_eq!(kernel.stdout.matches("bound").count(), 1, "{}", kernel.stdout);
            let watched = exec(&[], &script);
            assert_eq!(watched.stdout, kernel.stdout);
            let words = format!("ports below 1024 need a privilege there ({setting} = 1024)");
            let first = format!("can't bind 0.0.0.0:80/tcp in host \"web\": {words}");
            assert!(watched.stderr.contains(&first), "{}", watched.stderr);
            // Each is told what it was told by the kernel.
            assert_eq!(watched.stderr.matches(&words).count(), privileged, "{}", watched.stderr);
            for address in ["192.0.2.1:80/tcp", "192.0.2.2:80/udp"] {
                let foreign = format!("can't bind {address} in host \"web\": it is no address of this host");
                assert!(watched.stderr.contains(&foreign), "{}", watched.stderr);
            }
            assert!(!watched.stderr.contains("ff02::1"), "{}", watched.stderr);
            assert!(!watched.stderr.contains(":1024/tcp"), "{}", watched.stderr);
            // Root of a user namespace inside of the host's is none there.
            let mapped = exec(&["--map-root", "--no-bind-watch"], &script);
            assert_eq!(exec(&["--map-root"], &script).stdout, mapped.stdout);
            // Who has the privilege binds.
            if account.is_root() {
                let program = "import socket
s = socket.socket(); s.bind(('0.0.0.0', 80))";
                exec(&[], &["python3", "-c", program]);
            }
            let fix = watched.stderr.lines().rev().find_map(|line| line.trim().strip_prefix("try: ")).expect("a fix");
            account.finish("sh", &["-c", &format!("PATH=/run/bin:$PATH; {fix}")]).expect_success();
            let mended = exec(&[], &script);
            assert_eq!(mended.stdout.matches("bound").count(), 8, "{}", mended.stdout);
            assert!(!mended.stderr.contains(setting), "{}", mended.stderr);
            keeper.stop();
            wait_until("the engine's end", SOON, || machine.engines().is_empty());
        }
    });
}

#[test]
fn a_program_may_want_a_filter_of_its_own() {
    Machine::run(&["python3"], |machine| {
        // Whether the kernel asks about its binds, as the program sees it itself.
        let filters = ["grep", "Seccomp_filters", "/proc/self/status"];
        let count = |flags: &[&str]| {
            let finished = machine.user().run(flags, &filters).finish().expect_success();
            finished.stdout.split_whitespace().last().and_then(|count| count.parse::<u32>().ok()).expect("a number")
        };
        assert_eq!(count(&[]), count(&["--no-bind-watch"]) + 1);
    });
}

#[test]
fn programs_that_outlive_their_session_go_on_binding() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let keeper = user.run(&["--name", "web"], &["sleep", "100"]);
        Api::USER.host("web");
        let later = "(sleep 1; exec python3 -m http.server 3000) > /dev/null 2>&1 &";
        user.exec("web", &["sh", "-c", later]).finish().expect_success();
        wait_for("the server", SOON, || Api::USER.port("web", 3000));
        user.minato_finish(&["forward", "add", "-p", "3000:3000", "web"]).expect_success();
        wait_for("a page", SOON, || net::http_get("127.0.0.1:3000", "/"));
        keeper.stop();
    });
}
