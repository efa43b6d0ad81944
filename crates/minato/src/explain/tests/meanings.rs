//! What a target means, and where else its service is.

use std::net::IpAddr;

use super::*;
use crate::explain::facts::resolved;

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn a_name_means_what_its_addresses_mean() {
    let network = Network { hosts: samples::hosts(), gateway: addresses(&["10.77.0.1"]), ..Network::default() };
    let means = |list: &[&str], from| resolved(Ok(addresses(list)), from, Some(&network));
    let machine = |list: &[&str]| Subject::Machine(addresses(list));
    let elsewhere = |list: &[&str]| Subject::Elsewhere(addresses(list));
    let own = network.hosts[0].addresses().map(|own| own.to_string()).collect::<Vec<_>>();
    let (host, v4) = (network.hosts[0].name.clone(), network.hosts[0].address_v4.into());

    assert_eq!(means(&["127.0.0.1"], None), machine(&["127.0.0.1"]));
    assert_eq!(means(&["::1", "127.0.1.1"], None), machine(&["::1", "127.0.1.1"]));
    assert_eq!(means(&["127.0.0.1", "192.0.2.7"], None), elsewhere(&["127.0.0.1", "192.0.2.7"]));
    assert_eq!(means(&["192.0.2.7"], None), elsewhere(&["192.0.2.7"]));

    assert_eq!(means(&["127.0.0.1"], Some("web")), Subject::Within("web".into(), addresses(&["127.0.0.1"])));
    assert_eq!(means(&["127.0.0.1", "192.0.2.7"], Some("web")), elsewhere(&["127.0.0.1", "192.0.2.7"]));

    for from in [None, Some("db")] {
        assert_eq!(means(&["10.77.0.1"], from), Subject::Gateway(addresses(&["10.77.0.1"])));
        assert_eq!(means(&[&own[0]], from), Subject::Host(host.clone(), Some(v4)));
        assert_eq!(means(&own.iter().map(String::as_str).collect::<Vec<_>>(), from), Subject::Host(host.clone(), None));
        assert_eq!(means(&[&own[0], "192.0.2.7"], from), elsewhere(&[&own[0], "192.0.2.7"]));
    }
}

#[test]
fn a_name_with_two_addresses_of_one_family_is_told_which_of_them_is_missing() {
    let world = World::new(Subject::Machine(addresses(&["127.0.0.1", "127.0.1.1"]))).held("127.0.0.1", 80);
    let text = world.explain("vm:80");
    assert!(text.contains("tries 127.0.1.1 first finds nothing: server 80 is at 127.0.0.1 only"), "{text}");
}

#[test]
fn each_port_that_listens_instead_is_told_once() {
    let web = || {
        let world = World::new(Subject::Host("web".into(), None)).service("web", "127.0.0.1", 80);
        world.service("web", "0.0.0.0", 90).service("web", "0.0.0.0", 80).service("web", "127.0.0.1", 70)
    };
    let text = web().explain("web:99");
    assert!(text.contains("others listen on 80, 90, 70 (loopback only)\n"), "{text}");
    assert!(text.contains("minato explain web:80\n"), "{text}");
    let text = web().from("db").explain("web:99");
    assert!(text.contains("minato explain web:80 --from db\n"), "{text}");
    let text = web().from("db").udp().explain("web:70");
    assert!(text.contains("minato explain web:70/udp --from db\n"), "{text}");
}
