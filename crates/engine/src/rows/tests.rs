use std::net::SocketAddr;

use super::*;

fn listener(address: &str, inode: u64) -> SocketInfo {
    let local: SocketAddr = address.parse().unwrap();
    SocketInfo {
        family: Family::of(local.ip()),
        transport: Transport::Tcp,
        local,
        remote: SocketAddr::new(local.ip(), 0),
        state: SocketState::Listen,
        uid: 0,
        inode,
        v6only: true,
        cookie: 0,
        interface: 0,
        receive_queue: 0,
        send_queue: 128,
        tcp: None,
    }
}

#[test]
fn sockets_of_nobody_stay_apart_and_have_a_reason_where_there_is_one() {
    let sockets = [listener("0.0.0.0:80", 1), listener("[::]:80", 2)];
    for reason in [None, Some(Unknown::Vanished)] {
        let rows = merge(&sockets, &SocketOwners::default(), reason, |_| None);
        assert_eq!(rows.len(), 2, "they may have different holders");
        assert!(rows.iter().all(|row| row.process_unknown == reason && row.processes.is_empty()));
    }
}

#[test]
fn one_program_on_both_families_is_one_row() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = std::process::id();
    let mut table = SockDiag::open().unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut sockets = bound_sockets(&mut table).unwrap();
    sockets.retain(|socket| socket.local == listener.local_addr().unwrap());
    // The same socket once more, as if it were bound to IPv6 too.
    sockets.push(SocketInfo { inode: sockets[0].inode, ..self::listener(&format!("[::1]:{port}"), 0) });
    let rows = merge(&sockets, &SocketOwners::of(&[own]), None, process::describe);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].addresses.len(), 2);
    assert_eq!(rows[0].processes[0].pid, own);
}
