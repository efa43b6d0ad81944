//! The little that has to be known of DNS messages (RFC 1035 §4) to relay them.

/// Length of the header.
const HEADER: usize = 12;
/// QR in the third byte: set in answers.
const RESPONSE: u8 = 0x80;

/// Whether these bytes can be a question.
pub(super) fn is_question(message: &[u8]) -> bool {
    message.len() >= HEADER && message[2] & RESPONSE == 0
}

/// Whether `message` is the answer to `question`: same ID and same question section.
pub(super) fn answers(message: &[u8], question: &[u8]) -> bool {
    if message.len() < HEADER || message[2] & RESPONSE == 0 || message[..2] != question[..2] {
        return false;
    }
    // RFC 5452 §9.1. Some servers leave the question out of an error; that is no answer about another name.
    let asked = question_section(question);
    let repeated = message[4..6] == [0, 0] || question_section(message).eq_ignore_ascii_case(asked);
    asked.is_empty() || repeated
}

/// An answer that says SERVFAIL to `question`.
pub(super) fn server_failure(question: &[u8]) -> Vec<u8> {
    let section = question_section(question);
    let mut answer = Vec::with_capacity(HEADER + section.len());
    answer.extend(&question[..2]);
    // QR, the question's opcode and RD; then RA and RCODE 2.
    answer.extend([RESPONSE | question[2] & 0x79, 0x82]);
    answer.extend([0, u8::from(!section.is_empty()), 0, 0, 0, 0, 0, 0]);
    answer.extend(section);
    answer
}

/// The first question: name, type and class; empty if there is none or it is malformed.
fn question_section(message: &[u8]) -> &[u8] {
    let body = message.get(HEADER..).unwrap_or_default();
    if message.get(4..6).is_none_or(|count| count == [0, 0]) {
        return &[];
    }
    let mut end = 0;
    loop {
        match body.get(end) {
            Some(0) => return body.get(..end + 5).unwrap_or_default(),
            // RFC 1035 §4.1.4: the two upper bits are set in a pointer, which the first name can't be.
            Some(length) if *length < 64 => end += 1 + usize::from(*length),
            Some(_) | None => return &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04port\x04test\x00\x00\x01\x00\x01";

    fn answer() -> Vec<u8> {
        let mut answer = QUESTION.to_vec();
        answer[2] |= RESPONSE;
        answer
    }

    #[test]
    fn answers_are_told_from_others() {
        assert!(answers(&answer(), QUESTION));
        assert!(!answers(QUESTION, QUESTION), "not an answer");
        assert!(!answers(&[], QUESTION));
        let mut other = answer();
        other[0] ^= 1;
        assert!(!answers(&other, QUESTION), "another ID");
        let mut other = answer();
        other[14] = b'x';
        assert!(!answers(&other, QUESTION), "another name");
        let mut shouted = answer();
        shouted[13..17].make_ascii_uppercase();
        assert!(answers(&shouted, QUESTION));
    }

    #[test]
    fn a_server_failure_repeats_the_question() {
        let failure = server_failure(QUESTION);
        assert!(answers(&failure, QUESTION));
        assert_eq!(failure[3] & 0x0f, 2);
        assert_eq!(&failure[12..], &QUESTION[12..]);
    }

    #[test]
    fn malformed_questions_are_harmless() {
        for length in 0..QUESTION.len() {
            let cut = &QUESTION[..length];
            if is_question(cut) {
                assert_eq!(server_failure(cut).len(), HEADER);
                answers(cut, cut);
            }
        }
        let mut pointer = QUESTION.to_vec();
        pointer[12] = 0xc0;
        assert_eq!(server_failure(&pointer).len(), HEADER);
    }
}
