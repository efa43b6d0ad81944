//! DNS messages (RFC 1035 §4), as far as questions are told apart, relayed and answered here.

use std::net::IpAddr;

use domain::base::iana::{Class, ExtendedErrorCode, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::name::ToLabelIter;
use domain::base::opt::ExtendedError;
use domain::base::{Message, MessageBuilder, Name, Serial, StaticCompressor, ToName, Ttl};
use domain::rdata::{A, Aaaa, Ns, Ptr, Soa, Srv};

/// A name, in the case in which it was written.
pub(super) type DnsName = Name<Vec<u8>>;

/// How long our answers may be kept: not at all, as hosts come and go, and the next question costs next to nothing.
const TTL: Ttl = Ttl::ZERO;
/// RFC 1035 §2.3.4: what everybody can take in a datagram.
const DATAGRAM: usize = 512;
/// What we can take in one (DNS flag day 2020: so that nothing is fragmented).
const OWN_DATAGRAM: u16 = 1232;

/// A question that was understood.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) name: DnsName,
    pub(super) kind: Rtype,
    pub(super) class: Class,
}

/// What a message that should be a question is.
#[derive(Debug)]
pub(super) enum Read {
    /// An answer, or too short for anything. RFC 1035 §4.1.1: nobody answers an answer.
    Nothing,
    /// A question that can't be read, or more than one (RFC 9619 §4).
    Malformed,
    /// Something else than one question about a name: no question at all (RFC 7873 §5.4), or another operation.
    Other,
    Question(Question),
}

/// An answer of ours.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) rcode: Rcode,
    /// All of the name that was asked for.
    pub(super) records: Vec<Data>,
    /// Addresses that whoever asked will ask for next.
    pub(super) additional: Vec<(DnsName, IpAddr)>,
    /// The zone whose start of authority says that there is no more (RFC 2308).
    pub(super) authority: Option<(DnsName, Authority)>,
    /// Why it is not what was hoped for, for people.
    pub(super) remark: Option<String>,
}

impl Answer {
    /// One without records.
    pub(super) fn of(rcode: Rcode) -> Answer {
        Answer { rcode, records: Vec::new(), additional: Vec::new(), authority: None, remark: None }
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Address(IpAddr),
    Name(DnsName),
    Service { port: u16, target: DnsName },
    Server(DnsName),
    Start(Authority),
}

/// The start of a zone's authority.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Authority {
    pub(super) server: DnsName,
    pub(super) contact: DnsName,
    pub(super) serial: u32,
}

/// Understands what should be a question.
pub(super) fn read(message: &[u8]) -> Read {
    let Ok(message) = Message::from_octets(message) else { return Read::Nothing };
    let header = message.header();
    if header.qr() {
        return Read::Nothing;
    }
    if header.opcode() != Opcode::QUERY || message.header_counts().qdcount() == 0 {
        return Read::Other;
    }
    match message.sole_question() {
        Ok(question) => Read::Question(Question {
            name: question.qname().to_vec(),
            kind: question.qtype(),
            class: question.qclass(),
        }),
        Err(_) => Read::Malformed,
    }
}

/// The labels of a name without the root's, as they are written.
pub(super) fn labels(name: &impl ToLabelIter) -> Vec<&[u8]> {
    name.iter_labels().filter(|label| !label.is_root()).map(AsRef::as_ref).collect()
}

/// Whether `message` is the answer to `question`: same ID and same question section.
pub(super) fn answers(message: &[u8], question: &[u8]) -> bool {
    let (Ok(message), Ok(question)) = (Message::from_octets(message), Message::from_octets(question)) else {
        return false;
    };
    let (asked, repeated) = (question.header_counts().qdcount(), message.header_counts().qdcount());
    message.header().qr()
        && message.header().id() == question.header().id()
        // RFC 5452 §9.1. Some servers leave the question out of an error; that is no answer about another name.
        && (asked == 0 || repeated == 0 || message.question() == question.question())
}

/// Our own answer to a question.
pub(super) fn reply(question: &[u8], answer: &Answer) -> Vec<u8> {
    build(question, answer).unwrap_or_else(|_| failure(question, Rcode::SERVFAIL))
}

/// An answer that says only that the question failed, and how.
pub(super) fn failure(question: &[u8], rcode: Rcode) -> Vec<u8> {
    reply(question, &Answer::of(rcode))
}

/// That the name may not be asked for. It does not exist then, as far as the program is concerned: of REFUSED some resolvers
/// (musl's) take no notice, and wait for another answer until their patience ends. RFC 8914 §4.16 has a code for why.
pub(super) fn blocked(question: &[u8], reason: &str) -> Vec<u8> {
    reply(question, &Answer { remark: Some(reason.to_owned()), ..Answer::of(Rcode::NXDOMAIN) })
}

/// The longest datagram that whoever asked takes.
pub(super) fn room(question: &[u8]) -> usize {
    let opt = Message::from_octets(question).ok().and_then(|question| question.opt());
    opt.map_or(DATAGRAM, |opt| usize::from(opt.udp_payload_size()).max(DATAGRAM))
}

/// `answer` as a datagram to whoever asked `question`: if it is too long for that, without its records and marked so, and
/// then it is asked for by TCP (RFC 1035 §4.2.1, RFC 2181 §9).
pub(super) fn fit(answer: Vec<u8>, question: &[u8]) -> (Vec<u8>, Fit) {
    if answer.len() <= room(question) {
        return (answer, Fit::Whole);
    }
    (cut(&answer, question).unwrap_or_default(), Fit::Cut)
}

/// An answer without its records, but with the OPT record that whoever asked with one gets.
fn cut(long: &[u8], question: &[u8]) -> Option<Vec<u8>> {
    let long = Message::from_octets(long).ok()?;
    let builder = MessageBuilder::from_target(Target::new(Vec::new())).unwrap_or_else(|never| match never {});
    let mut builder = builder.start_error(&long, long.header().rcode());
    *builder.header_mut() = long.header();
    builder.header_mut().set_tc(true);
    let mut builder = builder.additional();
    if let Ok(question) = Message::from_octets(question) {
        extend(&question, &Answer::of(long.header().rcode()), &mut builder).ok()?;
    }
    Some(builder.finish().into_target())
}

/// Whether an answer was sent whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Whole,
    Cut,
}

/// Any target; an empty message is what cannot happen with one that grows.
type Target = StaticCompressor<Vec<u8>>;

fn build(question: &[u8], answer: &Answer) -> Result<Vec<u8>, PushError> {
    let Ok(question) = Message::from_octets(question) else { return Ok(Vec::new()) };
    // RFC 6891 §6.1.3: nothing is said to who speaks another version, but that.
    let (other_version, nothing) = (question.opt().is_some_and(|opt| opt.version() > 0), Answer::of(Rcode::NOERROR));
    let answer = if other_version { &nothing } else { answer };
    let builder = MessageBuilder::from_target(Target::new(Vec::new())).unwrap_or_else(|never| match never {});
    let mut builder = builder.start_error(&question, answer.rcode);
    let header = builder.header_mut();
    header.set_aa(answer.authority.is_some() || !answer.records.is_empty());
    header.set_ra(true);
    header.set_cd(question.header().cd());
    if let Some(asked) = question.first_question() {
        for data in &answer.records {
            push(&mut builder, asked.qname(), data)?;
        }
    }
    let mut builder = builder.authority();
    if let Some((zone, start)) = &answer.authority
        && answer.records.is_empty()
    {
        builder.push((zone, Class::IN, TTL, soa(start)))?;
    }
    let mut builder = builder.additional();
    for (name, address) in &answer.additional {
        match *address {
            IpAddr::V4(address) => builder.push((name, Class::IN, TTL, A::new(address)))?,
            IpAddr::V6(address) => builder.push((name, Class::IN, TTL, Aaaa::new(address)))?,
        }
    }
    extend(&question, answer, &mut builder)?;
    Ok(builder.finish().into_target())
}

/// RFC 6891 §6.1.1: whoever sends an OPT record gets one, in the version that there is.
fn extend(
    question: &Message<&[u8]>,
    answer: &Answer,
    builder: &mut AdditionalBuilder<Target>,
) -> Result<(), PushError> {
    let remark =
        answer.remark.as_deref().map(|text| ExtendedError::<Vec<u8>>::new_with_str(ExtendedErrorCode::BLOCKED, text));
    let Some(asked) = question.opt() else { return Ok(()) };
    builder.opt(|opt| {
        opt.set_udp_payload_size(OWN_DATAGRAM);
        opt.set_dnssec_ok(asked.dnssec_ok());
        if asked.version() > 0 {
            opt.set_rcode(OptRcode::BADVERS);
        }
        if let Some(Ok(remark)) = &remark {
            opt.push(remark)?;
        }
        Ok(())
    })
}

fn push(
    builder: &mut domain::base::message_builder::AnswerBuilder<Target>,
    owner: &impl ToName,
    data: &Data,
) -> Result<(), PushError> {
    match data {
        Data::Address(IpAddr::V4(address)) => builder.push((owner, Class::IN, TTL, A::new(*address))),
        Data::Address(IpAddr::V6(address)) => builder.push((owner, Class::IN, TTL, Aaaa::new(*address))),
        Data::Name(name) => builder.push((owner, Class::IN, TTL, Ptr::new(name))),
        Data::Service { port, target } => builder.push((owner, Class::IN, TTL, Srv::new(0, 0, *port, target))),
        Data::Server(name) => builder.push((owner, Class::IN, TTL, Ns::new(name))),
        Data::Start(start) => builder.push((owner, Class::IN, TTL, soa(start))),
    }
}

fn soa(start: &Authority) -> Soa<&DnsName> {
    let (hour, week) = (Ttl::from_hours(1), Ttl::from_days(7));
    Soa::new(&start.server, &start.contact, Serial(start.serial), hour, hour, week, TTL)
}
