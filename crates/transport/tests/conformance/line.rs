//! One line of a script: a segment as it is written, sent and compared.

use smoltcp::wire::{TcpOption, TcpPacket};

use super::script::PEER_INITIAL;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub flags: String,
    pub from: u32,
    pub length: u32,
    pub ack: Option<u32>,
    pub window: Option<u16>,
    pub options: Vec<String>,
}

impl Line {
    pub fn parse(text: &str) -> Line {
        let (body, options) = text.split_once('<').unwrap_or((text, ""));
        let mut line = Line::default();
        let mut words = body.split_whitespace();
        line.flags = words.next().expect("flags").to_owned();
        let range = words.next().unwrap_or("0");
        let (from, to) = range.split_once(':').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("no number: {text}"));
        line.from = number(from);
        line.length = number(to).wrapping_sub(line.from) + line.flags.matches(['S', 'F']).count() as u32;
        while let Some(word) = words.next() {
            let value = number(words.next().expect("a value"));
            match word {
                "ack" => line.ack = Some(value),
                "win" => line.window = Some(value as u16),
                _ => panic!("what is {word}?"),
            }
        }
        let options = options.trim_end_matches('>').split(',');
        line.options = options.filter(|option| !option.is_empty()).map(str::to_owned).collect();
        line
    }

    pub fn of(tcp: &TcpPacket<&[u8]>, initial: u32) -> Line {
        let mut flags = String::new();
        let all = [
            (tcp.syn(), 'S'),
            (tcp.fin(), 'F'),
            (tcp.rst(), 'R'),
            (tcp.psh(), 'P'),
            (tcp.ece(), 'E'),
            (tcp.cwr(), 'W'),
            (tcp.ack(), '.'),
        ];
        flags.extend(all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name));
        let mut options = Vec::new();
        let mut rest = tcp.options();
        while !rest.is_empty() {
            let (next, option) = TcpOption::parse(rest).expect("well formed");
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(size) => options.push(format!("mss={size}")),
                TcpOption::WindowScale(shift) => options.push(format!("ws={shift}")),
                TcpOption::SackPermitted => options.push("sackOK".to_owned()),
                TcpOption::TimeStamp { tsecr, .. } => options.push(format!("ts={tsecr}")),
                TcpOption::SackRange(blocks) => {
                    let part = |(from, to): &(u32, u32)| {
                        format!("{}-{}", from.wrapping_sub(PEER_INITIAL), to.wrapping_sub(PEER_INITIAL))
                    };
                    let parts: Vec<String> = blocks.iter().flatten().map(part).collect();
                    options.push(format!("sack={}", parts.join("+")));
                }
                _ => {}
            }
            rest = next;
        }
        Line {
            flags,
            from: (tcp.seq_number().0 as u32).wrapping_sub(initial),
            length: tcp.segment_len() as u32,
            ack: tcp.ack().then(|| (tcp.ack_number().0 as u32).wrapping_sub(PEER_INITIAL)),
            window: Some(tcp.window_len()),
            options,
        }
    }

    pub fn fits(&self, expected: &Line) -> bool {
        let sack = |line: &Line| line.options.iter().find(|option| option.starts_with("sack=")).cloned();
        self.flags == expected.flags
            && self.from == expected.from
            && self.length == expected.length
            && self.ack == expected.ack
            && expected.window.is_none_or(|window| self.window == Some(window))
            && expected.options.iter().all(|option| self.options.contains(option))
            && sack(self) == sack(expected)
    }
}

/// An option as it is written; selective acknowledgements count from `initial`.
pub fn parse_option(option: &str, initial: Option<u32>) -> TcpOption<'static> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("no number in {option}"));
    match name {
        "mss" => TcpOption::MaxSegmentSize(number(value) as u16),
        "ws" => TcpOption::WindowScale(number(value) as u8),
        "sackOK" => TcpOption::SackPermitted,
        "ts" => {
            let (value, echo) = value.split_once('/').expect("value and echo");
            TcpOption::TimeStamp { tsval: number(value), tsecr: number(echo) }
        }
        "sack" => {
            let mut blocks = [None; 3];
            for (block, range) in blocks.iter_mut().zip(value.split('+')) {
                let (from, to) = range.split_once('-').expect("a range");
                let base = initial.unwrap_or(0);
                *block = Some((base.wrapping_add(number(from)), base.wrapping_add(number(to))));
            }
            TcpOption::SackRange(blocks)
        }
        "nop" => TcpOption::NoOperation,
        _ => panic!("no option {option}"),
    }
}
