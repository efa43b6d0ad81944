//! Names for browsers: `http://HOST.NET.localhost:7080/`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::explain::explain;
use crate::machine::{Account, Machine, Program, SOON, leftovers, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::browser::browse;
use crate::support::net;
use crate::support::web_server::{SERVER, web_server as web};

fn proxy(user: &Account<'_>) -> Program {
    let proxy = user.start(user.minato(&["proxy"]));
    wait_until("the proxy", SOON, || net::connect("127.0.0.1:7080").is_ok());
    proxy
}

/// What curl prints.
fn curl(user: &Account<'_>, arguments: &[&str]) -> String {
    let finished = user.finish("curl", &[&["--silent", "--show-error", "--max-time", "15"], arguments].concat());
    finished.expect_success().stdout
}

fn wait_for_page(user: &Account<'_>, url: &str, text: &str) -> String {
    wait_for(&format!("{text} at {url}"), SOON, || Some(curl(user, &[url])).filter(|page| page.contains(text)))
}

#[test]
fn names_lead_to_services() {
    Machine::run(&["curl", "python3"], |machine| {
        let user = machine.user();
        let (one, two) = (web(&user, "one", 80), web(&user, "two", 3000));
        let proxy = proxy(&user);
        wait_for_page(&user, "http://one.shop.localhost:7080/", "one GET /");
        let page = curl(&user, &["-6", "http://one.shop.localhost:7080/a?b=c"]);
        assert!(page.contains("one GET /a?b=c"), "{page}");
        for header in [
            "host: one.shop.localhost:7080",
            "x-forwarded-for: ::1",
            "x-forwarded-proto: http",
            "x-forwarded-host: one.shop.localhost:7080",
            "forwarded: for=\"[::1]\";host=\"one.shop.localhost:7080\";proto=http",
        ] {
            assert!(page.contains(header), "no {header}: {page}");
        }
        wait_for_page(&user, "http://two.shop.localhost:7080/", "two GET /");
        wait_for_page(&user, "http://3000.two.shop.localhost:7080/", "two GET /");
        let v4 = curl(&user, &["-4", "http://one.shop.localhost:7080/"]);
        assert!(v4.contains("x-forwarded-for: 127.0.0.1"), "{v4}");

        // A body of unknown length, one connection for many requests, and HTTP/2 without TLS.
        fs::write(machine.work().join("big"), vec![b'x'; 3 << 20]).expect("a file");
        let send = ["-T", "-", "-H", "Expect: 100-continue", "http://one.shop.localhost:7080/up"];
        let script =
            format!("curl --silent {} < big", send.join(" ").replace("Expect: 100-continue", "'Expect: 100-continue'"));
        let sent = user.finish("sh", &["-c", &script]).expect_success().stdout;
        assert!(sent.contains("one PUT /up") && sent.contains("3145728 bytes"), "{sent}");
        let many = ["http://one.shop.localhost:7080/[1-20]", "-w", " %{num_connects}\n"];
        let connects: u32 =
            curl(&user, &many).lines().filter_map(|line| line.strip_prefix(' ')?.parse::<u32>().ok()).sum();
        assert_eq!(connects, 1, "twenty requests on one connection");
        let second = curl(&user, &["--http2-prior-knowledge", "http://one.shop.localhost:7080/h2"]);
        assert!(second.contains("one GET /h2"), "{second}");
        proxy.stop();
        two.stop();
        one.stop();
    });
}

#[test]
fn what_is_not_there_is_explained() {
    Machine::run(&["curl", "python3"], |machine| {
        let user = machine.user();
        let web = web(&user, "web", 8000);
        let proxy = proxy(&user);
        wait_for_page(&user, "http://web.shop.localhost:7080/", "web GET /");
        let status = ["-w", " %{http_code}"];
        for (url, code, parts) in [
            ("http://nobody.shop.localhost:7080/", "404", &["no host 'nobody'", "http://web.shop.localhost:7080/"][..]),
            ("http://web.nowhere.localhost:7080/", "404", &["no network 'nowhere'", "http://web.shop.localhost:7080/"]),
            ("http://81.web.shop.localhost:7080/", "502", &["81/tcp", "8000"]),
            ("http://localhost:7080/", "200", &["http://web.shop.localhost:7080/", "8000"]),
            ("http://shop.localhost:7080/", "200", &["http://web.shop.localhost:7080/"]),
        ] {
            let page = curl(&user, &[&status[..], &[url]].concat());
            assert!(page.ends_with(&format!(" {code}")), "{url}: {page}");
            parts.iter().for_each(|part| assert!(page.contains(part), "{url}: no {part}: {page}"));
        }
        // To the networks of one user a proxy leads, and of nobody else.
        let parts = ["✗ proxy", "leads to nobody else's networks", "MINATO_PROXY_PORT=7081 minato proxy"];
        explain(&machine.root(), &["http://web.shop.localhost:7080/"], 16, &parts);
        // Somebody's own name that leads here learns nothing.
        let foreign = curl(&user, &[&status[..], &["-H", "Host: evil.example", "http://localhost:7080/"]].concat());
        assert!(foreign.ends_with(" 421") && !foreign.contains("shop"), "{foreign}");
        let html = curl(&user, &["-H", "Accept: text/html", "http://localhost:7080/"]);
        assert!(html.contains("<a href=\"http://web.shop.localhost:7080/\">"), "{html}");
        // The second one says that there is a first.
        let second = user.minato_finish(&["proxy"]).expect_success();
        assert!(second.stderr.contains(&format!("pid {}", proxy.id())), "{}", second.stderr);
        proxy.stop();
        web.stop();

        let holder = user.start({
            let mut command = user.command("python3");
            command.args(["-c", "import socket, time; s = socket.create_server(('127.0.0.1', 7080)); time.sleep(100)"]);
            command
        });
        wait_until("the port to be taken", SOON, || TcpListener::bind("127.0.0.1:7080").is_err());
        let refused = user.minato_finish(&["proxy"]).expect_code(16);
        refused.expect_stderr(&["127.0.0.1:7080", "python3", &holder.id().to_string(), "MINATO_PROXY_PORT"]);
        holder.stop();
    });
}

#[test]
fn a_connection_becomes_another_protocol() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let web = web(&user, "web", 80);
        let proxy = proxy(&user);
        let head = "GET /ws HTTP/1.1\r\nHost: web.shop.localhost:7080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut stream = wait_for("the upgrade", SOON, || {
            let mut stream = net::connect("127.0.0.1:7080").ok()?;
            stream.write_all(head.as_bytes()).ok()?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).ok()?;
                answer.extend(byte);
            }
            String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 101").then_some((stream, answer))
        });
        // The key's answer is that of RFC 6455 §1.3.
        let answer = String::from_utf8_lossy(&stream.1).into_owned();
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        // A masked text frame "Hello" (RFC 6455 §5.7), and its echo.
        stream.0.write_all(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).expect("to send");
        let mut echo = [0; 7];
        stream.0.read_exact(&mut echo).expect("the echo");
        assert_eq!(&echo, b"\x81\x05Hello");
        // `flows` names who is really connected.
        let flows = user.minato_json(&["flows", "--network", "shop"]).to_string();
        assert!(flows.contains("\"address\":\"127.0.0.1\"") && flows.contains("\"web\""), "{flows}");
        drop(stream);
        proxy.stop();
        web.stop();
    });
}

#[test]
fn a_browser_loads_pages_and_keeps_cookies_apart() {
    Machine::run(&["chromium", "python3"], |machine| {
        let user = machine.user();
        let (one, two) = (web(&user, "one", 80), web(&user, "two", 80));
        let proxy = proxy(&user);
        for host in ["one", "two"] {
            let name = format!("{host}.shop.localhost:7080");
            let answers = || net::http_get_of(&name, "127.0.0.1:7080", "/").is_some_and(|page| page.contains("200 OK"));
            wait_until("the service", SOON, answers);
            let page = browse(machine, &user, &format!("http://{name}/page")).stdout;
            assert!(page.contains(&format!("WebSocket says: {host} hello")), "{page}");
            assert!(page.contains(&format!("cookies: who={host}")), "only its own: {page}");
        }
        proxy.stop();
        two.stop();
        one.stop();
    });
}

#[test]
fn up_starts_it_and_it_ends_with_the_last_network() {
    Machine::run(&["curl", "python3"], |machine| {
        let user = machine.user();
        fs::write(machine.work().join("server.py"), SERVER).expect("a file");
        let file = "network = \"shop\"\n[host.web]\nready = 8000\n\
                    command = [\"sh\", \"-c\", \"echo $MINATO_URL_8000; exec python3 server.py 8000 web\"]\n";
        fs::write(machine.work().join("minato.toml"), file).expect("a file");
        user.minato_finish(&["up", "-d"]).expect_success();
        wait_for_page(&user, "http://web.shop.localhost:7080/", "web GET /");
        let told = "http://8000.web.shop.localhost:7080";
        wait_until("the URL", SOON, || user.minato_finish(&["logs", "web"]).stdout.contains(told));
        wait_for_page(&user, told, "web GET /");
        // Killed, it leaves nothing, and the next `up` starts another one.
        let [proxy] = machine.processes_named("minato-proxy").try_into().unwrap_or_else(|_| panic!("not one proxy"));
        proxy.kill();
        wait_until("the port to be free", SOON, || TcpListener::bind("127.0.0.1:7080").is_ok());
        let other = user.run(&["--network", "other", "--name", "web"], &["sleep", "100"]);
        user.minato_finish(&["down"]).expect_success();
        user.minato_finish(&["up", "-d"]).expect_success();
        wait_for_page(&user, "http://web.shop.localhost:7080/", "web GET /");
        user.minato_finish(&["down"]).expect_success();
        assert!(curl(&user, &["http://localhost:7080/"]).contains("http://web.other.localhost:7080/"));
        other.stop();
        leftovers::assert_none();
    });
}

/// The first user's proxy has the port for a second more, after its network.
#[test]
fn a_proxy_of_another_user_that_is_just_ending_is_waited_for() {
    Machine::run(&["curl", "python3"], |machine| {
        fs::write(machine.work().join("server.py"), SERVER).expect("a file");
        let file = "network = \"shop\"\n[host.web]\nready = 80\ncommand = \"python3 server.py 80 web\"\n";
        fs::write(machine.work().join("minato.toml"), file).expect("a file");
        // Whether the proxy was still there when all else had gone.
        let up_and_down = |account: &Account<'_>| {
            let up = account.minato_finish(&["up", "-d"]).expect_success();
            assert!(!up.stderr.contains("the proxy"), "{}", up.stderr);
            assert!(curl(account, &["http://web.shop.localhost:7080/"]).contains("web GET /"));
            account.minato_finish(&["down"]).expect_success();
            TcpListener::bind("127.0.0.1:7080").is_err()
        };
        for account in [machine.root(), machine.user()] {
            // A busy machine may take as long to go down as the proxy waits.
            let in_time = (0..5).any(|_| up_and_down(&account));
            assert!(in_time, "the proxy ends with its network: this test shows nothing");
        }
        up_and_down(&machine.root());
        // One that stays is told, and everything else works.
        wait_until("the proxy's end", SOON, || TcpListener::bind("127.0.0.1:7080").is_ok());
        let other = machine.user().run(&["--name", "web"], &["sleep", "100"]);
        Api::USER.host("web");
        let proxy = proxy(&machine.user());
        let up = machine.root().minato_finish(&["up", "-d"]).expect_success();
        assert!(up.stderr.contains("127.0.0.1:7080 is in use"), "{}", up.stderr);
        machine.root().minato_finish(&["down"]).expect_success();
        proxy.stop();
        other.stop();
    });
}

#[test]
fn what_is_no_http_is_answered_at_once_and_closed() {
    // Shorter than the time that a client has for its first request.
    const AT_ONCE: Duration = Duration::from_secs(8);
    fn answer(stream: &mut (impl Read + Write), nonsense: &[u8]) -> String {
        stream.write_all(nonsense).expect("to send");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{nonsense:?}: {error}"));
        String::from_utf8_lossy(&answer).into_owned()
    }
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web"], &["sleep", "100"]);
        Api::USER.host("web");
        let proxy = proxy(&user);
        for nonsense in
            ["nonsense\n", "SSH-2.0-x\r\n", "\0\x01\x02", "PRI * HTTP/2.0\r\n\r\nXX", "GET / HTTP/1.1\r\nx\r\n\r\n"]
        {
            let mut by_tcp = net::connect("127.0.0.1:7080").expect("the proxy");
            by_tcp.set_read_timeout(Some(AT_ONCE)).expect("a limit");
            let mut by_unix = UnixStream::connect("/run/user/1000/minato/default/api.sock").expect("the engine");
            by_unix.set_read_timeout(Some(AT_ONCE)).expect("a limit");
            for answer in [answer(&mut by_tcp, nonsense.as_bytes()), answer(&mut by_unix, nonsense.as_bytes())] {
                assert!(answer.starts_with("HTTP/1.1 400 "), "{nonsense:?}: {answer}");
            }
        }
        proxy.stop();
        run.stop();
    });
}
