//! The examples of the repository, run as their READMEs say.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::machine::{Account, Machine, SOON, wait_until};
use crate::support::browser::browse;
use crate::support::net;

/// Long enough for servers that make their files first.
const FIRST_START: Duration = Duration::from_secs(60);

/// A copy of an example that everybody may read, whose data goes to the test's directory.
fn copy(machine: &Machine, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let to = machine.work().join("examples");
    std::fs::create_dir_all(&to).expect("a directory");
    let copied = Command::new("cp").arg("-r").arg(&from).arg(&to).status().expect("cp");
    assert!(copied.success());
    let data = to.join(name).with_extension("data");
    std::fs::create_dir(&data).expect("a directory");
    std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("its permissions");
    to.join(name)
}

/// A command in an example.
fn in_example(account: &Account<'_>, directory: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = account.command(program);
    command.args(arguments).current_dir(directory).env("EXAMPLE_DATA", directory.with_extension("data"));
    command.env("PATH", "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Starts the shop, asks once, without a second try, for all that it is made of, and ends it.
fn serve_once(machine: &Machine, account: &Account<'_>, directory: &Path) {
    let minato = |arguments: &[&str]| account.start(in_example(account, directory, "minato", arguments));
    minato(&["up", "-d"]).finish_within(FIRST_START).expect_success();
    let page = net::http_get("127.0.0.1:8080", "/").expect("a page");
    assert!(page.contains("200 OK") && page.contains("<li>Sencha: 12</li>"), "{page}");
    let named = "http://web.shop.localhost:7080/";
    let page = account.finish("curl", &["--silent", "--show-error", "--fail", named]).expect_success().stdout;
    assert!(page.contains("<li>Sencha: 12</li>"), "{page}");
    let page = browse(machine, account, named).stdout;
    assert!(page.contains("<li>Sencha: 12</li>") && page.contains("visit "), "{page}");
    let inside = ["exec", "--network", "shop", "web", "--", "psql", "-h", "db", "-U", "shop", "-At", "postgres"];
    let mut inside = in_example(account, directory, "minato", &inside);
    inside.args(["-c", "SELECT price FROM products WHERE name = 'Matcha'"]).env("PGPASSWORD", "shop");
    assert_eq!(account.start(inside).finish().expect_success().stdout, "25\n", "by name inside");
    let shown = minato(&["ps", "-f", "minato.toml", "--json"]).finish().expect_success();
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let hosts = shown["hosts"].as_array().expect("hosts");
    let database = hosts.iter().find(|host| host["name"] == "db").expect("the database");
    let address = database["loopback_v4"].as_str().expect("its address on this machine");
    let mut ask = in_example(account, directory, "psql", &["-h", address, "-U", "shop", "-At", "postgres"]);
    ask.args(["-c", "SELECT count(*) FROM products"]).env("PGPASSWORD", "shop");
    assert_eq!(account.start(ask).finish().expect_success().stdout, "3\n", "under its own number outside");
    minato(&["down"]).finish_within(FIRST_START).expect_success();
}

const SHOP: &[&str] = &["nginx", "psql", "redis-server", "python3", "pg_isready", "curl", "chromium"];

/// Sets how often the shop is started; `MINATO_E2E_TURNS=20` is what is promised.
const TURNS: &str = "MINATO_E2E_TURNS";

fn serve_again_and_again(machine: &Machine, account: &Account<'_>, turns: u32) {
    let directory = copy(machine, "shop");
    let turns = std::env::var(TURNS).map_or(turns, |turns| turns.parse().expect("a number"));
    for turn in 1..=turns {
        let started = std::time::Instant::now();
        serve_once(machine, account, &directory);
        eprintln!("turn {turn} of {turns}: {:?}", started.elapsed());
    }
}

/// Three times: with a new database, and with the one that is there.
#[test]
fn the_shop_is_ready_when_it_says_so() {
    Machine::run(SHOP, |machine| serve_again_and_again(machine, &machine.user(), 3));
}

#[test]
fn the_shop_works_for_root_too() {
    Machine::run(SHOP, |machine| serve_again_and_again(machine, &machine.root(), 1));
}

#[test]
fn two_machines_one_with_three_services() {
    Machine::run(&["apache2", "postfix", "vsftpd", "curl"], |machine| {
        let root = machine.root();
        let directory = copy(machine, "machines");
        let up = root.start(in_example(&root, &directory, "minato", &["up"]));
        for words in ["web says: hello from port 80", "files say: hello from port 21", "mail is sent"] {
            wait_until(words, FIRST_START, || up.stdout().contains(words));
        }
        let inbox = directory.with_extension("data").join("machines/postfix/mail/inbox");
        let arrived = || std::fs::read_to_string(&inbox).is_ok_and(|mail| mail.contains("hello to port 25"));
        wait_until("the mail", SOON, arrived);
        let page = net::http_get("127.0.0.1:8080", "/").expect("a page");
        assert!(page.contains("hello from port 80"), "{page}");
        let file = root.finish("curl", &["--silent", "--show-error", "ftp://127.0.0.1:8021/welcome.txt"]);
        assert_eq!(file.expect_success().stdout, "hello from port 21\n");
        up.stop().expect_success();
    });
}

#[test]
fn two_worktrees_of_one_program() {
    Machine::run(&["git", "python3", "curl"], |machine| {
        let user = machine.user();
        let directory = copy(machine, "worktrees");
        let tried = user.start(in_example(&user, &directory, "sh", &["try.sh"])).finish_within(FIRST_START);
        let tried = tried.expect_success();
        let said: Vec<&str> =
            tried.stdout.lines().filter_map(|line| line.split_once(", at ")).map(|(who, _)| who).collect();
        assert_eq!(said, ["web of notes-main", "web of notes-feature-login"]);
    });
}
