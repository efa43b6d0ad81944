//! Datagrams that go by one call.

use super::*;

#[test]
fn trains_are_cut_apart_and_come_as_they_are_if_that_is_wanted() {
    for address in ADDRESSES {
        let Ok(server) = udp_bind(address.parse().unwrap()) else { continue };
        let remote = rustix::net::getsockname(&server).unwrap().try_into().unwrap();
        let client = udp_connect(remote).unwrap();
        let (mut inbox, mut cutting) = (Inbox::default(), Cutting::default());
        let payload: Vec<u8> = (0..60_500_u32).map(|at| (at / 1400) as u8).collect();
        let train = Train { payload: &payload, size: 1400 };
        udp_send_train(client.as_fd(), train, &mut cutting).unwrap();
        let mut expected = vec![vec![1400]; 43];
        expected.push(vec![300]);
        assert_eq!(sizes(&mut inbox, &server), expected, "one by one");
        take_trains(server.as_fd());
        send_train_from(client.as_fd(), None, remote, train, &mut cutting).unwrap_or_else(|error| panic!("{error}"));
        udp_send_train(client.as_fd(), Train::of_one(b""), &mut cutting).unwrap();
        udp_send_train(client.as_fd(), Train { payload: b"12345", size: 2 }, &mut cutting).unwrap();
        assert_eq!(sizes(&mut inbox, &server), [expected.concat(), vec![0], vec![2, 2, 1]], "together");
        assert_eq!(cutting, Cutting::default(), "nothing was refused");
    }
}

#[test]
fn a_trains_refusal_is_told_and_it_is_sent_all_the_same() {
    let (address, socket) = into_the_void();
    let (train, mut cutting) = (Train { payload: &[7; 3000], size: 1000 }, Cutting::default());
    udp_send_train(socket.as_fd(), train, &mut cutting).unwrap();
    wait(&socket, PollFlags::IN);
    let server = udp_bind(address).unwrap();
    assert_eq!(udp_send_train(socket.as_fd(), train, &mut cutting), Err(Failure::Refused), "the first one's");
    assert_eq!(sizes(&mut Inbox::default(), &server), [[1000]; 3], "the second one");
    assert_eq!(cutting, Cutting::default());
}

/// More datagrams than any kernel cuts apart, behind the error of an earlier one.
#[test]
fn a_train_that_is_not_cut_goes_one_by_one_also_behind_an_error() {
    let (address, socket) = into_the_void();
    udp_send(socket.as_fd(), b"into the void").unwrap();
    wait(&socket, PollFlags::IN);
    let server = udp_bind(address).unwrap();
    let (train, mut cutting) = (Train { payload: &[7; 2000], size: 10 }, Cutting::default());
    assert_eq!(udp_send_train(socket.as_fd(), train, &mut cutting), Err(Failure::Refused), "the first one's");
    let mut inbox = Inbox::default();
    let mut count = 0;
    while count < 200 {
        let more = sizes(&mut inbox, &server);
        assert!(!more.is_empty(), "{count} datagrams of 200");
        count += more.len();
    }
    assert_ne!(cutting, Cutting::default());
}

/// ICMP errors that have the same numbers as a refusal to cut. Needs a raw socket, to make them.
#[test]
fn an_earlier_datagrams_error_does_not_end_cutting() {
    let raw = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::RAW,
        rustix::net::SocketFlags::CLOEXEC,
        Some(rustix::net::ipproto::ICMP),
    );
    let Ok(raw) = raw else {
        eprintln!("SKIPPED: a raw socket needs root");
        return;
    };
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let socket = udp_connect(address).unwrap();
    let own = UdpSocket::from(socket.try_clone().unwrap()).local_addr().unwrap();
    // RFC 792: destination unreachable, "protocol", about a datagram of ours: its IPv4 header and ports.
    let mut error = vec![3, 2, 0, 0, 0, 0, 0, 0];
    error.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    error.extend([own.port().to_be_bytes(), address.port().to_be_bytes(), [0, 8], [0, 0]].concat());
    let sum: u32 = error.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !(((sum & 0xffff) + (sum >> 16)) as u16);
    error[2..4].copy_from_slice(&folded.to_be_bytes());
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    rustix::net::sendto(&raw, &error, rustix::net::SendFlags::empty(), &here).unwrap();
    wait(&socket, PollFlags::ERR);
    let (train, mut cutting) = (Train { payload: &[7; 3000], size: 1000 }, Cutting::default());
    let _ = udp_send_train(socket.as_fd(), train, &mut cutting);
    assert_eq!(cutting, Cutting::default());
    assert_eq!(sizes(&mut Inbox::default(), &server.into()), [[1000]; 3]);
}
