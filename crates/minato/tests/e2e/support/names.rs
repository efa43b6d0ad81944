//! A resolver for the world outside, by UDP and TCP, whose records the test sets and changes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::{AnswerBuilder, PushError};
use domain::base::{Message, MessageBuilder, Name, ToName, Ttl};
use domain::rdata::{A, Aaaa, Cname, Txt};
use minato_host::sync::lock;

use crate::machine::{Machine, OUTSIDE_V4};

/// The server; it answers until the machine ends.
#[derive(Clone, Default)]
pub(crate) struct NameServer {
    records: Arc<Mutex<Vec<Record>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Record {
    name: Name<Vec<u8>>,
    ttl: u32,
    data: Data,
}

#[derive(Clone)]
enum Data {
    Address(IpAddr),
    Alias(Name<Vec<u8>>),
    /// A text of so many bytes.
    Text(usize),
}

impl NameServer {
    /// Answers outside, where the machine's resolver is, with what these records say: `NAME TTL ADDRESS`, `NAME TTL =NAME`,
    /// `NAME TTL BYTES`.
    pub(crate) fn start(machine: &Machine, records: &[&str]) -> NameServer {
        let server = NameServer::default();
        server.set(records);
        let (datagrams, streams) = (server.clone(), server.clone());
        machine.outside(move || {
            let socket = UdpSocket::bind((OUTSIDE_V4, 53)).expect("port 53");
            let listener = TcpListener::bind((OUTSIDE_V4, 53)).expect("port 53");
            thread::spawn(move || datagrams.serve_datagrams(&socket));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let server = streams.clone();
                    thread::spawn(move || drop(server.serve_stream(stream)));
                }
            });
        });
        server
    }

    /// Puts other records in the place of all.
    pub(crate) fn set(&self, records: &[&str]) {
        *lock(&self.records) = records.iter().map(|text| record(text)).collect();
    }

    /// Every question so far, as `NAME TYPE`.
    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    fn serve_datagrams(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            self.answer_datagram(socket, client, &buffer[..length]);
        }
    }

    fn answer_datagram(&self, socket: &UdpSocket, client: SocketAddr, question: &[u8]) {
        let Ok(question) = Message::from_octets(question) else { return };
        let room = question.opt().map_or(512, |opt| usize::from(opt.udp_payload_size()).max(512));
        let answer = self.answer(&question, room).unwrap_or_else(|_| {
            let mut cut = MessageBuilder::new_vec().start_error(&question, Rcode::NOERROR);
            cut.header_mut().set_tc(true);
            cut.finish()
        });
        let _ = socket.send_to(&answer, client);
    }

    fn serve_stream(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question)?;
            let Ok(question) = Message::from_octets(question) else { return Ok(()) };
            let answer = self.answer(&question, usize::from(u16::MAX)).expect("room");
            let length = u16::try_from(answer.len()).expect("16 bits");
            stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
        }
    }

    fn answer(&self, question: &Message<impl domain::dep::octseq::Octets>, room: usize) -> Result<Vec<u8>, PushError> {
        let mut builder = MessageBuilder::new_vec();
        builder.set_push_limit(room);
        let Ok(asked) = question.sole_question() else {
            return Ok(builder.start_error(question, Rcode::FORMERR).finish());
        };
        lock(&self.asked).push(format!("{} {}", asked.qname(), asked.qtype()));
        let records = lock(&self.records).clone();
        let mut names: VecDeque<Name<Vec<u8>>> = [asked.qname().to_vec()].into();
        let known = records.iter().any(|record| record.name == asked.qname());
        let mut builder = builder.start_error(question, if known { Rcode::NOERROR } else { Rcode::NXDOMAIN });
        builder.header_mut().set_ra(true);
        while let Some(name) = names.pop_front() {
            for record in records.iter().filter(|record| record.name == name) {
                names.extend(push(&mut builder, record, asked.qtype())?);
            }
        }
        Ok(builder.finish())
    }
}

/// Adds a record if it is of this type, or an alias, whose name goes on.
fn push(
    builder: &mut AnswerBuilder<Vec<u8>>,
    record: &Record,
    kind: Rtype,
) -> Result<Option<Name<Vec<u8>>>, PushError> {
    let (owner, ttl) = (&record.name, Ttl::from_secs(record.ttl));
    match &record.data {
        Data::Address(IpAddr::V4(address)) if kind == Rtype::A => {
            builder.push((owner, Class::IN, ttl, A::new(*address)))?;
        }
        Data::Address(IpAddr::V6(address)) if kind == Rtype::AAAA => {
            builder.push((owner, Class::IN, ttl, Aaaa::new(*address)))?;
        }
        Data::Text(length) if kind == Rtype::TXT => {
            let text: Txt<Vec<u8>> = Txt::build_from_slice(&vec![b'x'; *length]).expect("a text");
            builder.push((owner, Class::IN, ttl, text))?;
        }
        Data::Alias(alias) => {
            builder.push((owner, Class::IN, ttl, Cname::new(alias)))?;
            return Ok(Some(alias.clone()));
        }
        Data::Address(_) | Data::Text(_) => {}
    }
    Ok(None)
}

fn record(text: &str) -> Record {
    let [name, ttl, data] = text.split(' ').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{text}"));
    let data = match (data.strip_prefix('='), data.parse(), data.parse()) {
        (Some(alias), ..) => Data::Alias(dns_name(alias)),
        (_, Ok(address), _) => Data::Address(address),
        (_, _, Ok(length)) => Data::Text(length),
        _ => panic!("{text}"),
    };
    Record { name: dns_name(name), ttl: ttl.parse().expect("a TTL"), data }
}

fn dns_name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).expect("a name")
}
