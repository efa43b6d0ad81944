use std::collections::BTreeMap;

use super::{CompleteRow, merge};

fn row(service_name: &str, port_number: &str, transport_protocol: &str, assignment_notes: &str) -> CompleteRow {
    let [service_name, port_number, transport_protocol, assignment_notes] =
        [service_name, port_number, transport_protocol, assignment_notes].map(str::to_owned);
    CompleteRow { service_name, port_number, transport_protocol, assignment_notes, ..CompleteRow::default() }
}

fn merged(current: &[(&str, &str, &str)], rows: &[CompleteRow]) -> Vec<String> {
    let current: BTreeMap<_, _> = current
        .iter()
        .map(|(key, name, description)| ((*key).to_owned(), ((*name).to_owned(), (*description).to_owned())))
        .collect();
    merge(&current, rows).iter().map(|line| line.to_string().replace('\t', "|")).collect()
}

#[test]
fn further_names_of_an_unchanged_port_stay_in_order() {
    let rows = [row("http", "80", "tcp", ""), row("www", "80", "tcp", ""), row("www-http", "80", "tcp", "")];
    let lines = merged(&[("80/tcp", "www-http", "Web")], &rows);
    assert_eq!(lines, ["http|80|tcp|", "www|80|tcp|", "www-http|80|tcp|Web"]);
}

#[test]
fn a_new_name_replaces_the_old_one_except_where_an_rfc_keeps_both() {
    let rows = [row("newheights", "2114", "tcp", ""), row("ipp", "631", "tcp", "")];
    let lines = merged(&[("2114/tcp", "ariascribe", ""), ("631/tcp", "ipps", "")], &rows);
    assert_eq!(lines, ["ipp|631|tcp|", "ipps|631|tcp|", "ariascribe|2114|tcp|"]);
}

#[test]
fn historic_names_come_last() {
    let note = "This entry is an alias to \"cl-1\".\nThis entry is now historic, not usable for use";
    let rows = [row("cl/1", "172", "tcp", note), row("cl-1", "172", "tcp", "")];
    assert_eq!(merged(&[("172/tcp", "cl-1", "CL")], &rows), ["cl-1|172|tcp|CL", "cl/1|172|tcp||historic"]);
}

#[test]
fn a_service_that_was_there_is_told_of_a_reserved_port() {
    let lines =
        merged(&[("2/tcp", "", "Reserved"), ("4/tcp", "", "Unassigned")], &[row("compressnet", "2", "tcp", "")]);
    assert_eq!(lines, ["|2|tcp|Reserved [was compressnet]"]);
}

#[test]
fn a_range_stays_unless_a_port_of_it_has_been_given_away() {
    let rows = [row("x11", "6000-6063", "tcp", ""), row("swx", "7300-7359", "tcp", "")];
    let lines = merged(&[("7310/tcp", "other", "")], &rows);
    assert_eq!(lines, ["x11|6000-6063|tcp|", "other|7310|tcp|"]);
}

#[test]
fn protocols_that_differ_in_nothing_else_share_a_line() {
    let lines = merged(&[("22/udp", "ssh", "SSH"), ("22/tcp", "ssh", "SSH"), ("22/sctp", "ssh", "SSH over SCTP")], &[]);
    assert_eq!(lines, ["ssh|22|tcp udp|SSH", "ssh|22|sctp|SSH over SCTP"]);
}
