//! What a message is, without reading it whole: for whoever has to turn many away at little cost.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{Builder, Message, Start, reason};

/// A message at first sight. It may be no message at all: that is found out by who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// An INVITE that would begin a call.
    Call,
    /// Another request that belongs to no dialog, REGISTER and OPTIONS above all.
    Opening,
    /// A response, an ACK, a CANCEL, or a request within a dialog.
    Within,
    /// Line ends and nulls that keep an address translator awake.
    Blank,
}

/// Looks at the start line and at To.
pub fn glance(bytes: &[u8]) -> Glance {
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Glance::Blank;
    }
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    if method == b"SIP/2.0"
        || method == b"ACK"
        || method == b"CANCEL"
        || header(bytes, b"to", b"t").is_some_and(has_tag)
    {
        return Glance::Within;
    }
    if method == b"INVITE" { Glance::Call } else { Glance::Opening }
}

/// The user whose credentials a REGISTER shows, as the registrar would read it; `None` for any other message.
pub fn claimed_user(bytes: &[u8]) -> Option<String> {
    if !bytes.starts_with(b"REGISTER ") {
        return None;
    }
    let value = std::str::from_utf8(header(bytes, b"authorization", b"authorization")?).ok()?;
    crate::digest::Credentials::parse(value).map(|credentials| credentials.username)
}

/// Whether this is our own 200 to a REGISTER.
pub fn is_registered(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SIP/2.0 200 ")
        && header(bytes, b"cseq", b"cseq").is_some_and(|value| value.trim_ascii().ends_with(b" REGISTER"))
}

/// A 503 with `Retry-After` for an INVITE that nobody has room to read further, outside of any transaction (RFC 3261 8.2.7).
/// `None` where the message could not be answered.
pub fn no_room(bytes: &Bytes, source: SocketAddr, retry_after_s: u64) -> Option<Bytes> {
    let message = Message::parse(bytes).ok()?;
    if !message.cseq.method.is(rsip::Method::Invite) || !matches!(message.start, Start::Request { .. }) {
        return None;
    }
    let tag = message.to.tag().is_none().then_some("busy");
    let mut out = Builder::response(503, reason(503));
    out.answering(&message.headers, &message.via, source, tag).number("Retry-After", retry_after_s);
    Some(out.end())
}

/// The first value of a header, names in lower case.
fn header<'a>(bytes: &'a [u8], name: &[u8], compact: &[u8]) -> Option<&'a [u8]> {
    bytes.split(|byte| *byte == b'\n').skip(1).take_while(|line| !line.trim_ascii().is_empty()).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let found = line[..colon].trim_ascii();
        (found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact)).then_some(&line[colon + 1..])
    })
}

/// Whether a parameter `tag` stands in it. One within the display name or the URI would be taken for it: such a message is
/// only counted otherwise.
fn has_tag(value: &[u8]) -> bool {
    value.split(|byte| *byte == b';').skip(1).any(|item| {
        let item = item.trim_ascii();
        let rest = item.get(3..).unwrap_or_default().trim_ascii_start();
        item.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"tag")) && rest.starts_with(b"=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIA: &str = "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKi";

    #[test]
    fn a_message_is_told_by_its_method_and_the_tag_of_to() {
        let check = |text: &str, expect: Glance| assert_eq!(glance(text.as_bytes()), expect, "{text}");
        check("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\nFrom: <sip:c@d>;tag=1\r\n\r\n", Glance::Call);
        check("INVITE sip:a@b SIP/2.0\r\nt : <sip:a@b> ; Tag = x\r\n\r\n", Glance::Within);
        check("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b;tagged=1>\r\n\r\nTo: <sip:a@b>;tag=1", Glance::Call);
        check("BYE sip:a@b SIP/2.0\r\nTO:<sip:a@b>;tag=1\r\n\r\n", Glance::Within);
        check("REGISTER sip:b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", Glance::Opening);
        check("ACK sip:b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", Glance::Within);
        check("CANCEL sip:b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n", Glance::Within);
        check("SIP/2.0 200 OK\r\n\r\n", Glance::Within);
        check("\r\n\r\n", Glance::Blank);
        check("\0\0\0\0", Glance::Blank);
        check("nonsense", Glance::Opening);
    }

    #[test]
    fn the_claimed_user_is_the_digests() {
        let digest = "Digest username=\"10\\\"01\", realm=\"zongji\", nonce=\"n\", uri=\"sip:b\", response=\"r\"";
        let text = format!("REGISTER sip:b SIP/2.0\r\nTo: <sip:a@b>\r\nAuthorization: {digest}\r\n\r\n");
        assert_eq!(claimed_user(text.as_bytes()).as_deref(), Some("10\"01"));
        assert_eq!(claimed_user(text.replace("REGISTER", "OPTIONS").as_bytes()), None);
        assert_eq!(claimed_user(b"REGISTER sip:b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n"), None);
    }

    #[test]
    fn an_invite_without_room_gets_503_and_nothing_else_is_answered() {
        let text = |method: &str| {
            let rest = "From: <sip:c@d>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: i";
            Bytes::from(format!("{method} sip:a@b SIP/2.0\r\n{VIA};rport\r\n{rest}\r\nCSeq: 1 {method}\r\n\r\n"))
        };
        let source = "198.51.100.1:5071".parse().expect("an address");
        let answer = no_room(&text("INVITE"), source, 5).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("SIP/2.0 503 ") && answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
        assert!(answer.contains("rport=5071") && answer.contains("received=198.51.100.1"), "{answer}");
        assert_eq!(no_room(&text("OPTIONS"), source, 5), None);
        assert_eq!(no_room(&Bytes::from_static(b"INVITE sip:a@b SIP/2.0\r\n\r\n"), source, 5), None);
    }

    #[test]
    fn our_own_200_to_a_register_is_known() {
        assert!(is_registered(b"SIP/2.0 200 OK\r\nVia: x\r\nCSeq: 2 REGISTER\r\n\r\n"));
        assert!(!is_registered(b"SIP/2.0 200 OK\r\nVia: x\r\nCSeq: 2 INVITE\r\n\r\n"));
        assert!(!is_registered(b"SIP/2.0 401 Unauthorized\r\nCSeq: 2 REGISTER\r\n\r\n"));
    }
}
