//! `minato trust`: https at the proxy's port, for curl and a browser.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::explain::explain;
use crate::machine::{Account, Finished, Machine, Program, SOON, leftovers, wait_until};
use crate::support::browser::browse;
use crate::support::net;
use crate::support::web_server::web_server;

const STATE: &str = "/run/user/1000/home/.local/state/minato/trust";
const CA: &str = "/run/user/1000/home/.local/state/minato/trust/ca.pem";
const CHROMIUM: &str = "sql:/run/user/1000/home/.pki/nssdb";
const FIREFOX: &str = "sql:/run/user/1000/home/.mozilla/firefox/abc.default";
const PAGE: &str = "https://web.shop.localhost:7080/";
/// curl's exit codes: no TLS; a certificate that it does not trust.
const NO_TLS: i32 = 35;
const UNTRUSTED: i32 = 60;
const UPDATE: &str = "/usr/sbin/update-ca-certificates";

/// A web server named `web` and a proxy.
fn serve(user: &Account<'_>) -> [Program; 2] {
    let web = web_server(user, "web", 80);
    let proxy = user.start(user.minato(&["proxy"]));
    let page = || net::http_get_of("web.shop.localhost", "127.0.0.1:7080", "/");
    wait_until("the page", SOON, || page().is_some_and(|page| page.contains("web GET /")));
    [proxy, web]
}

fn curl(user: &Account<'_>, arguments: &[&str]) -> Finished {
    user.finish("curl", &[&["--silent", "--show-error", "--max-time", "15"], arguments].concat())
}

/// What a database has under the authority's name.
fn in_database(user: &Account<'_>, database: &str) -> Option<String> {
    let shown = user.finish("certutil", &["-L", "-a", "-d", database, "-n", "minato 1000"]);
    (shown.status.success()).then_some(shown.stdout)
}

fn make_firefox_profile(user: &Account<'_>) {
    user.finish("mkdir", &["-p", FIREFOX.trim_start_matches("sql:")]).expect_success();
    user.finish("certutil", &["-N", "-d", FIREFOX, "--empty-password"]).expect_success();
}

/// Names that are none of ours, and none at all, are refused.
fn expect_own_names_only(user: &Account<'_>) {
    let foreign = ["--insecure", "--resolve", "evil.example:7080:127.0.0.1", "https://evil.example:7080/"];
    curl(user, &foreign).expect_code(NO_TLS).expect_stderr(&["unrecognized name"]);
    curl(user, &["--insecure", "https://127.0.0.1:7080/"]).expect_code(NO_TLS).expect_stderr(&["missing extension"]);
    let misdirected = ["--cacert", CA, "-w", " %{http_code}", "-H", "Host: evil.example", PAGE];
    let misdirected = curl(user, &misdirected).expect_success().stdout;
    assert!(misdirected.ends_with(" 421"), "{misdirected}");
}

#[test]
fn curl_and_databases_of_browsers() {
    Machine::run(&["curl", "python3", "certutil", "update-ca-certificates"], |machine| {
        let user = machine.user();
        make_firefox_profile(&user);
        let serving = serve(&user);
        let nothing = curl(&user, &["--insecure", PAGE]).expect_code(NO_TLS);
        nothing.expect_stderr(&["unrecognized name"]);
        explain(&user, &[PAGE], 1, &["✗ tls", "FIX  minato trust"]);
        user.minato_finish(&["trust", "--print"]).expect_code(10).expect_stderr(&["minato trust"]);

        let first = user.minato_finish(&["trust"]).expect_success().stdout;
        for part in ["made a certificate authority", CA, "✓ Chromium", "✓ Firefox", "! this machine", "sudo sh -c"]
        {
            assert!(first.contains(part), "no {part}: {first}");
        }
        let mode = |path: &str| fs::metadata(path).expect(path).permissions().mode() & 0o777;
        assert_eq!((mode(STATE), mode(&format!("{STATE}/authority.pem"))), (0o700, 0o600));
        let pem = fs::read_to_string(CA).expect("the certificate");
        assert_eq!(user.minato_finish(&["trust", "--print"]).expect_success().stdout, pem);
        let plain = |text: String| text.replace('\r', "");
        assert_eq!(
            [CHROMIUM, FIREFOX].map(|place| in_database(&user, place).map(plain)),
            [Some(pem.clone()), Some(pem.clone())]
        );

        for (version, flag) in [("2", "--http2"), ("1.1", "--http1.1")] {
            let page = curl(&user, &["--cacert", CA, flag, "-w", "over %{http_version}", PAGE]).expect_success().stdout;
            for part in ["web GET /", "x-forwarded-proto: https", "x-forwarded-port: 7080", "proto=https"] {
                assert!(page.contains(part), "no {part}: {page}");
            }
            assert!(page.ends_with(&format!("over {version}")), "{page}");
            explain(&user, &[PAGE], 0, &["✓ tls", "leads to port 80 of web"]);
        }
        expect_own_names_only(&user);
        let list = curl(&user, &["--cacert", CA, "https://localhost:7080/"]).expect_success().stdout;
        assert!(list.contains(PAGE), "links lead to where they are: {list}");

        let second = user.minato_finish(&["trust"]).expect_success().stdout;
        assert_eq!(second.matches("trusts it already").count(), 2, "{second}");
        assert_eq!(fs::read_to_string(CA).expect("the certificate"), pem);

        let removed = user.minato_finish(&["trust", "--remove"]).expect_success().stdout;
        assert_eq!(removed.matches("trusts it no more").count(), 2, "{removed}");
        assert!(!Path::new(STATE).exists());
        assert_eq!([CHROMIUM, FIREFOX].map(|place| in_database(&user, place)), [None, None]);
        curl(&user, &["--insecure", PAGE]).expect_code(NO_TLS);
        curl(&user, &["http://web.shop.localhost:7080/"]).expect_success();
        user.minato_finish(&["trust", "--remove"]).expect_success();
        // A database that can't be read may well trust it still.
        fs::write(format!("{}/cert9.db", FIREFOX.trim_start_matches("sql:")), "nonsense").expect("to damage it");
        let unknown = user.minato_finish(&["trust", "--remove"]).expect_code(1).stdout;
        assert!(unknown.contains("✗ Firefox       may trust it still: "), "{unknown}");
        serving.into_iter().for_each(|program| drop(program.stop()));
    });
}

#[test]
fn a_browser_speaks_http2_and_websocket_over_tls() {
    Machine::run(&["chromium", "python3", "certutil"], |machine| {
        let user = machine.user();
        let serving = serve(&user);
        user.minato_finish(&["trust"]).expect_success();
        let page = browse(machine, &user, &format!("{PAGE}page")).stdout;
        for part in ["WebSocket says: web hello", "protocol: h2", "secure: true"] {
            assert!(page.contains(part), "no {part}: {page}");
        }
        // It trusts this authority, not any: one that is made anew without its knowledge is none.
        fs::remove_dir_all(STATE).expect("to remove it");
        let mut trust = user.minato(&["trust"]);
        trust.env("HOME", "/run/work").env("XDG_STATE_HOME", "/run/user/1000/home/.local/state");
        user.start(trust).finish().expect_success();
        let refused = browse(machine, &user, &format!("{PAGE}page"));
        refused.expect_stderr(&["ERR_CERT_AUTHORITY_INVALID"]);
        serving.into_iter().for_each(|program| drop(program.stop()));
    });
}

#[test]
fn an_authority_that_is_over_is_made_anew() {
    Machine::run(&["curl", "python3"], |machine| {
        let user = machine.user();
        let serving = serve(&user);
        user.minato_finish(&["trust"]).expect_success();
        let file = format!("{STATE}/authority.pem");
        let over = over();
        fs::write(&file, &over).expect("to write it");
        fs::write(CA, &over[over.find("-----BEGIN CERT").expect("a certificate")..]).expect("to write it");
        curl(&user, &["--cacert", CA, PAGE]).expect_code(UNTRUSTED).expect_stderr(&["expired"]);

        let renewed = user.minato_finish(&["trust"]).expect_success().stdout;
        assert!(renewed.contains("there is a new one"), "{renewed}");
        curl(&user, &["--cacert", CA, PAGE]).expect_success();
        // Whoever could read the key may have it.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its mode");
        curl(&user, &["--cacert", CA, PAGE]).expect_code(NO_TLS);
        let renewed = user.minato_finish(&["trust"]).expect_success().stdout;
        assert!(renewed.contains("others may read its key"), "{renewed}");
        curl(&user, &["--cacert", CA, PAGE]).expect_success();
        serving.into_iter().for_each(|program| drop(program.stop()));
    });
}

/// Key and certificate of an authority whose time was last year.
fn over() -> String {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let key = KeyPair::generate().expect("a key");
    let mut own = CertificateParams::new(Vec::new()).expect("parameters");
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    own.not_before = (SystemTime::now() - 2 * YEAR).into();
    own.not_after = (SystemTime::now() - YEAR).into();
    key.serialize_pem() + &own.self_signed(&key).expect("a certificate").pem()
}

#[test]
fn root_makes_the_whole_machine_trust_it() {
    Machine::run(&["curl", "python3", "update-ca-certificates"], |machine| {
        for place in ["/usr/local/share/ca-certificates", "/etc/ssl/certs"] {
            run("mount", &["-t", "tmpfs", "tmpfs", place]);
        }
        let root = machine.root();
        let serving = serve(&root);
        let trust = |arguments: &[&str]| {
            let started = root.start(root.minato(&[&["trust"], arguments].concat()));
            started.finish_within(Duration::from_secs(90))
        };
        let expect = |said: Finished, words: &str| assert!(said.stdout.contains(words), "no {words}: {}", said.stdout);
        let failing = |then: &dyn Fn()| {
            run("mount", &["--bind", "/bin/false", UPDATE]);
            then();
            run("umount", &[UPDATE]);
        };
        failing(&|| expect(trust(&[]).expect_success(), "! this machine  does not trust it: "));
        root.minato_finish(&["trust", "--remove"]);
        let private = root.finish("sh", &["-c", "umask 077; exec /run/bin/minato trust"]);
        expect(private.expect_success(), "✓ this machine  trusts it now");
        curl(&root, &[PAGE]).expect_success();
        let installed = fs::read_dir("/usr/local/share/ca-certificates").expect("the directory").flatten();
        let installed: Vec<_> = installed.map(|entry| entry.path()).collect();
        assert_eq!(installed.len(), 1, "{installed:?}");
        // Programs of others look for it by the link of its name.
        machine.user().finish("cat", &[&installed[0].display().to_string()]).expect_success();
        expect(trust(&[]).expect_success(), "✓ this machine  trusts it already");
        let own = bare(&trust(&["--print"]).expect_success().stdout);
        let bundle = || bare(&fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").expect("the bundle"));
        assert!(bundle().contains(&own));
        failing(&|| expect(trust(&["--remove"]).expect_code(1), "✗ this machine  still trusts it: "));
        expect(trust(&["--remove"]).expect_success(), "✓ this machine  trusts it no more");
        assert!(!bundle().is_empty() && !bundle().contains(&own));
        assert_eq!(fs::read_dir("/usr/local/share/ca-certificates").expect("the directory").count(), 0);
        let certificates = fs::read_dir("/etc/ssl/certs").expect("the directory").flatten();
        let dangling: Vec<_> = certificates.map(|entry| entry.path()).filter(|path| !path.exists()).collect();
        assert!(dangling.is_empty(), "{dangling:?}");
        expect(trust(&["--remove"]).expect_success(), "✓ this machine  does not trust it");
        serving.into_iter().for_each(|program| drop(program.stop()));
        leftovers::assert_none();
    });
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().expect(program).success(), "{program} {arguments:?}");
}

/// A text without its white space: lines of certificates end as who writes them likes.
fn bare(text: &str) -> String {
    text.split_whitespace().collect()
}
