//! A number that several hosts serve: all of them are named, each with what leads to it.

use super::*;

#[test]
fn every_host_that_serves_the_port_is_named() {
    let two = || World::machine().service("web", "0.0.0.0 ::", 3000).service("db", "127.0.0.1", 3000);
    let texts = [
        two().explain("3000"),
        two().beside("shop", "127.0.0.1:8080").serves_beside("0.0.0.0", 3000).explain("3000"),
        two().own_forward("127.77.0.2:3000", "web").forward("127.0.0.1:4000", "db", 3000).explain("3000"),
        World::machine().service("web", "0.0.0.0", 80).service("db", "0.0.0.0", 80).explain("80"),
        two().service("web", "127.0.0.1", 3000).held("127.0.0.1 ::1", 3000).explain("3000"),
        World::machine().beside("shop", "127.0.0.1:8080").serves_beside("0.0.0.0", 3000).explain("3000"),
        World::machine()
            .held("0.0.0.0 ::", 3000)
            .beside("shop", "127.0.0.1:8080")
            .serves_beside("0.0.0.0", 3000)
            .explain("3000"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn a_hosts_own_address_leads_to_that_host_only() {
    let at = |address: &str| World::new(Subject::Machine(vec![address.parse().unwrap()]));
    let db = |address: &str| at(address).service("db", "0.0.0.0", 3000);
    let texts = [
        db("127.77.0.2").explain("127.77.0.2:3000"),
        db("127.77.0.2").service("web", "0.0.0.0", 80).explain("127.77.0.2:3000"),
        // Somebody else has taken the port there.
        db("127.77.0.2").service("web", "0.0.0.0", 3000).held("127.77.0.2", 3000).explain("127.77.0.2:3000"),
        // The address is another user's.
        db("127.77.0.9").held("127.77.0.9", 3000).explain("127.77.0.9:3000"),
    ];
    insta::assert_snapshot!(texts.concat());
}
