//! A message, read once: rsip's headers with the few that every layer needs already typed.

use bytes::Bytes;
use rsip::headers::{Header, Headers};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::headers::{CSEQ_MAX, CSeq, NameAddr, Via};
use super::uri::{Uri, UriError};
use super::{Method, limits, names, text};

#[derive(Clone, Debug)]
pub enum Start {
    Request { method: Method, uri_text: String, uri: Result<Uri, UriError> },
    Response { code: u16, reason: String },
}

/// It serialises as its bytes, and is read anew from them.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    pub start: Start,
    pub headers: Headers,
    pub body: Bytes,
    /// The topmost Via.
    pub via: Via,
    pub from: NameAddr,
    pub to: NameAddr,
    pub call_id: String,
    pub cseq: CSeq,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&Bytes::deserialize(from)?).map_err(|fault| de::Error::custom(fault.reason))
    }
}

/// A message that is none. `reply` holds what a 400 can be made of, if it was a request other than ACK with a Via.
#[derive(Debug)]
pub struct Malformed {
    pub code: u16,
    pub reason: &'static str,
    pub reply: Option<Box<(Headers, Via)>>,
}

impl Malformed {
    const fn dropped(reason: &'static str) -> Self {
        Self { code: 400, reason, reply: None }
    }
}

impl Message {
    /// Reads a whole message. A datagram's body is as long as the datagram where Content-Length is missing.
    pub fn parse(bytes: &Bytes) -> Result<Self, Malformed> {
        if bytes.len() > limits::MESSAGE_LEN_MAX {
            return Err(Malformed { code: 513, ..Malformed::dropped("Message Too Large") });
        }
        // A datagram that ends without its empty line ends with its headers.
        let (head_len, body_at) = head_of(bytes).unwrap_or((bytes.len(), bytes.len()));
        if head_len > limits::HEAD_LEN_MAX {
            return Err(Malformed { code: 513, ..Malformed::dropped("Headers Too Large") });
        }
        let mut lines = Lines { rest: &bytes[..head_len] };
        let start_line = lines.next().ok_or(Malformed::dropped("Empty Message"))?;
        let start_text = decode(start_line);
        let mut headers = Vec::with_capacity(16);
        let mut fault = None;
        for line in lines {
            if headers.len() == limits::HEADERS_MAX || line.len() > limits::HEADER_LEN_MAX {
                fault = fault.or(Some("Header Limit Exceeded"));
                break;
            }
            match header_of(line) {
                Some(header) => headers.push(header),
                None => fault = fault.or(Some("Malformed Header Line")),
            }
        }
        let headers = Headers::from(headers);
        let core = match fault {
            Some(fault) => Err(fault),
            None => Core::of(&headers),
        };
        let read = core.and_then(|core| {
            let start = start_of(&start_text)?;
            let body = core.body(&start, bytes, body_at)?;
            Ok((start, core, body))
        });
        match read {
            Ok((start, Core { via, from, to, call_id, cseq, .. }, body)) => {
                Ok(Self { bytes: bytes.clone(), start, headers, body, via, from, to, call_id, cseq })
            }
            Err(reason) => Err(malformed(reason, &start_text, &headers)),
        }
    }

    /// The first value of a header of this kind.
    pub fn first(&self, kind: fn(&Header) -> bool) -> Option<&str> {
        self.headers.iter().find(|header| kind(header)).map(names::value)
    }

    /// The first value of a header that rsip has no variant for.
    pub fn other(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|header| match header {
            Header::Other(key, value) if key.eq_ignore_ascii_case(name) => Some(value.as_str()),
            _ => None,
        })
    }

    /// Every element of a comma-separated header, over all its lines, at most `limits::LIST_MAX`.
    pub fn list(&self, kind: fn(&Header) -> bool) -> Vec<&str> {
        let lines = self.headers.iter().filter(|header| kind(header)).map(names::value);
        lines.flat_map(|value| text::split(value, b',')).take(limits::LIST_MAX).collect()
    }

    /// The media type of the body, lower case, without parameters; empty where there is none.
    pub fn content_type(&self) -> String {
        let value = self.first(|h| matches!(h, Header::ContentType(_))).unwrap_or("");
        value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
    }

    /// The SDP of the body, itself or the first `application/sdp` part of a multipart body.
    pub fn sdp(&self) -> Option<Bytes> {
        if self.body.is_empty() {
            return None;
        }
        match self.content_type().as_str() {
            "application/sdp" => Some(self.body.clone()),
            // Without a type, what looks like SDP is SDP.
            "" if self.body.starts_with(b"v=") => Some(self.body.clone()),
            kind if kind.starts_with("multipart/") => self.sdp_part(),
            _ => None,
        }
    }

    fn sdp_part(&self) -> Option<Bytes> {
        let value = self.first(|h| matches!(h, Header::ContentType(_)))?;
        let (_, params) = value.split_once(';')?;
        let boundary = format!("--{}", super::uri::param(params, "boundary")?);
        let mut at = find_bytes(&self.body, boundary.as_bytes())?;
        // Every turn moves past one boundary, so the body's length bounds the loop.
        loop {
            let part_at = at + boundary.len();
            let end = part_at + find_bytes(&self.body[part_at..], boundary.as_bytes())?;
            let part = &self.body[part_at..end];
            if let Some(head_end) = find_bytes(part, b"\r\n\r\n") {
                let head = decode(&part[..head_end]).to_ascii_lowercase();
                if head.contains("application/sdp") {
                    let body_at = part_at + head_end + 4;
                    return Some(self.body.slice(body_at..end.saturating_sub(2).max(body_at)));
                }
            }
            at = end;
        }
    }
}

/// The headers that every message must have, once each.
struct Core {
    via: Via,
    from: NameAddr,
    to: NameAddr,
    call_id: String,
    cseq: CSeq,
    content_length: Option<usize>,
}

#[derive(Default)]
struct Found {
    via: Option<Via>,
    from: Option<NameAddr>,
    to: Option<NameAddr>,
    call_id: Option<String>,
    cseq: Option<CSeq>,
    content_length: Option<usize>,
    max_forwards: bool,
}

impl Core {
    fn of(headers: &Headers) -> Result<Self, &'static str> {
        let mut found = Found::default();
        headers.iter().try_for_each(|header| found.take(header))?;
        let Found { via: Some(via), from: Some(from), to: Some(to), call_id: Some(call_id), cseq: Some(cseq), .. } =
            found
        else {
            return Err("Missing Via, From, To, Call-ID or CSeq");
        };
        Ok(Self { via, from, to, call_id, cseq, content_length: found.content_length })
    }

    fn body(&self, start: &Start, bytes: &Bytes, body_at: usize) -> Result<Bytes, &'static str> {
        if let Start::Request { method, .. } = start
            && *method != self.cseq.method
        {
            return Err("CSeq Method Mismatch");
        }
        let available = bytes.len() - body_at;
        let body_len = self.content_length.unwrap_or(available);
        if body_len > available {
            return Err("Body Shorter Than Content-Length");
        }
        if body_len > limits::BODY_LEN_MAX {
            return Err("Body Too Large");
        }
        Ok(bytes.slice(body_at..body_at + body_len))
    }
}

impl Found {
    fn take(&mut self, header: &Header) -> Result<(), &'static str> {
        let value = names::value(header);
        match header {
            Header::Via(_) if self.via.is_none() => {
                let top = text::split(value, b',').next().and_then(Via::parse);
                self.via = Some(top.ok_or("Malformed Via")?);
            }
            Header::From(_) => once(&mut self.from, NameAddr::parse(value), "Malformed Or Repeated From")?,
            Header::To(_) => once(&mut self.to, NameAddr::parse(value), "Malformed Or Repeated To")?,
            Header::CallId(_) => {
                let id = value.trim_ascii();
                let good =
                    !id.is_empty() && id.len() <= limits::TOKEN_LEN_MAX && id.bytes().all(|b| b.is_ascii_graphic());
                once(&mut self.call_id, good.then(|| id.to_owned()), "Malformed Or Repeated Call-ID")?;
            }
            Header::CSeq(_) => once(&mut self.cseq, CSeq::parse(value), "Malformed Or Repeated CSeq")?,
            Header::ContentLength(_) => {
                let length = content_length_of(value).ok_or("Malformed Content-Length")?;
                match self.content_length {
                    Some(earlier) if earlier != length => return Err("Conflicting Content-Length"),
                    _ => self.content_length = Some(length),
                }
            }
            Header::MaxForwards(_) => {
                let digits = value.trim_ascii();
                let good = digits.parse::<u32>().is_ok_and(|hops| hops <= MAX_FORWARDS_MAX);
                if self.max_forwards || !good {
                    return Err("Malformed Or Repeated Max-Forwards");
                }
                self.max_forwards = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// RFC 3261 20.22: an integer in 0..=255.
const MAX_FORWARDS_MAX: u32 = 255;

fn once<T>(slot: &mut Option<T>, value: Option<T>, fault: &'static str) -> Result<(), &'static str> {
    match (slot.is_some(), value) {
        (false, Some(value)) => {
            *slot = Some(value);
            Ok(())
        }
        _ => Err(fault),
    }
}

pub fn content_length_of(value: &str) -> Option<usize> {
    let value = value.trim_ascii();
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())).then(|| value.parse().ok()).flatten()
}

/// A 400 can be sent to any request with a Via, of which it takes over what is there, once each.
fn malformed(reason: &'static str, start_text: &str, headers: &Headers) -> Malformed {
    let is_request = !start_text.get(..4).is_some_and(|text| text.eq_ignore_ascii_case("SIP/"));
    let is_ack = start_text.starts_with("ACK ");
    let via = headers.iter().find_map(|header| match header {
        Header::Via(_) => text::split(names::value(header), b',').next().and_then(Via::parse_for_refusal),
        _ => None,
    });
    let reply = (is_request && !is_ack).then_some(via).flatten();
    let (code, reason) =
        if is_request && wrong_version(start_text) { (505, "Version Not Supported") } else { (400, reason) };
    Malformed { code, reason, reply: reply.map(|via| Box::new((once_each(headers), via))) }
}

/// Every Via, and the first of each other kind.
fn once_each(headers: &Headers) -> Headers {
    let mut kept: Vec<Header> = Vec::new();
    for header in headers.iter() {
        let same = |earlier: &Header| std::mem::discriminant(earlier) == std::mem::discriminant(header);
        if matches!(header, Header::Via(_)) || !kept.iter().any(same) {
            kept.push(header.clone());
        }
    }
    Headers::from(kept)
}

fn wrong_version(start_text: &str) -> bool {
    let version = start_text.rsplit(' ').next().unwrap_or("");
    version.strip_prefix("SIP/").is_some_and(|number| {
        number != "2.0" && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    })
}

fn start_of(text: &str) -> Result<Start, &'static str> {
    const FAULT: &str = "Malformed Start Line";
    if text.len() > limits::HEADER_LEN_MAX {
        return Err("Start Line Too Long");
    }
    if text.get(..8).is_some_and(|version| version.eq_ignore_ascii_case("SIP/2.0 ")) {
        let (code, reason) = text[8..].split_once(' ').unwrap_or((&text[8..], ""));
        let code = code.parse::<u16>().ok().filter(|code| (100..700).contains(code)).ok_or(FAULT)?;
        return Ok(Start::Response { code, reason: super::text::clean(reason) });
    }
    // One space each (RFC 3261 7.1): a URI with white space in it, or around it, is malformed.
    let (method, rest) = text.split_once(' ').ok_or(FAULT)?;
    let (uri, version) = rest.rsplit_once(' ').ok_or(FAULT)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") || uri.is_empty() {
        return Err(FAULT);
    }
    let method = Method::parse(method).ok_or(FAULT)?;
    let parsed = Uri::parse(uri);
    // A request URI may hold no headers (RFC 3261 19.1.5).
    if parsed == Err(UriError::Malformed) || parsed.as_ref().is_ok_and(|uri| !uri.headers.is_empty()) {
        return Err("Malformed Request URI");
    }
    Ok(Start::Request { method, uri_text: uri.to_owned(), uri: parsed })
}

fn header_of(line: &[u8]) -> Option<Header> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().copied().all(super::method::is_token) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    let value = line[colon + 1..].trim_ascii();
    Some(names::header(name, decode_unfolded(value)))
}

/// UTF-8, or else each byte as Latin-1: one stray byte must not cost the message.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

fn decode_unfolded(value: &[u8]) -> String {
    if !value.contains(&b'\n') {
        return decode(value);
    }
    let mut flat = Vec::with_capacity(value.len());
    for (index, piece) in value.split(|b| *b == b'\n').enumerate() {
        if index > 0 {
            flat.push(b' ');
        }
        flat.extend_from_slice(piece.trim_ascii());
    }
    decode(&flat)
}

/// Lines of the head, each with its continuation lines; ends by CR LF or a bare LF.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let mut from = 0;
        loop {
            let Some(end) = self.rest[from..].iter().position(|b| *b == b'\n').map(|at| from + at) else {
                let line = self.rest;
                self.rest = &[];
                return Some(trim_cr(line));
            };
            // White space at the start of the next line continues this one (RFC 3261 7.3.1).
            if matches!(self.rest.get(end + 1), Some(b' ' | b'\t')) {
                from = end + 1;
                continue;
            }
            let line = &self.rest[..end];
            self.rest = &self.rest[end + 1..];
            return Some(trim_cr(line));
        }
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Length of the head without its empty line, and where the body begins. Bare LF is taken for CR LF.
pub fn head_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(end) = bytes[at..].iter().position(|b| *b == b'\n').map(|offset| at + offset) {
        match &bytes[end + 1..] {
            [b'\r', b'\n', ..] => return Some((end + 1, end + 3)),
            [b'\n', ..] => return Some((end + 1, end + 2)),
            _ => at = end + 1,
        }
    }
    None
}

fn find_bytes(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    (!needle.is_empty()).then(|| haystack.windows(needle.len()).position(|window| window == needle)).flatten()
}

/// The next CSeq; wraps long before the limit of RFC 3261 8.1.1.5 could be reached by a peer's number plus ours.
pub const fn next_cseq(number: u32) -> u32 {
    if number >= CSEQ_MAX { 1 } else { number + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Builder, clean, quote};

    fn parse(text: &[u8]) -> Result<Message, Malformed> {
        Message::parse(&Bytes::copy_from_slice(text))
    }

    const INVITE: &str = "INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
        To: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n";

    fn good(text: &str) -> Message {
        parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{}: {text}", fault.reason))
    }

    #[test]
    fn a_datagram_without_content_length_keeps_its_body() {
        assert_eq!(good(&format!("{INVITE}\r\nv=0\r\n")).sdp().as_deref(), Some(&b"v=0\r\n"[..]));
        assert_eq!(good(&format!("{INVITE}l: 3\r\n\r\nv=0rest")).sdp().as_deref(), Some(&b"v=0"[..]));
        assert_eq!(parse(format!("{INVITE}l: 9\r\n\r\nv=0").as_bytes()).map(|_| ()).map_err(|f| f.code), Err(400));
    }

    #[test]
    fn a_latin_1_byte_costs_nothing_behind_it() {
        let mut text = INVITE.replace("<sip:a@b>", "J\u{1} <sip:a@b>").into_bytes();
        let at = text.iter().position(|b| *b == 1).expect("the mark is there");
        text[at] = 0xfc;
        text.extend_from_slice(b"X-Last: there\r\n\r\n");
        let message = parse(&text).expect("a message");
        assert_eq!(message.from.display.as_deref(), Some("Jü"));
        assert_eq!(message.other("x-last"), Some("there"));
    }

    #[test]
    fn bare_line_feeds_compact_names_folding_and_odd_white_space_read() {
        let text = "INVITE sip:1@h SIP/2.0\nv: SIP/2.0/UDP h;branch=z9hG4bK1\nf : \"A\"\n  <sip:a@b>\n\t;tag=1\nT:sip:1@h\n\
            I: c\ncseq:\n 1\n\tINVITE\nm: <sip:x@y>, \"B, C\" <sip:z@y>;q=0.1,\n <sip:w@y>\n\nbody";
        let message = good(text);
        assert_eq!(message.from.tag(), Some("1"));
        let contacts = message.list(|h| matches!(h, Header::Contact(_)));
        assert_eq!(contacts, ["<sip:x@y>", "\"B, C\" <sip:z@y>;q=0.1", "<sip:w@y>"]);
        assert_eq!(&message.body[..], b"body");
    }

    #[test]
    fn limits_hold() {
        let check = |text: String, expect: Option<u16>| {
            assert_eq!(parse(text.as_bytes()).err().map(|fault| fault.code), expect, "{} bytes", text.len());
        };
        let lines = |count: usize| "X: y\r\n".repeat(count);
        check(format!("{INVITE}{}\r\n", lines(limits::HEADERS_MAX - 6)), None);
        check(format!("{INVITE}{}\r\n", lines(limits::HEADERS_MAX - 5)), Some(400));
        check(format!("{INVITE}X: {}\r\n\r\n", "y".repeat(limits::HEADER_LEN_MAX - 3)), None);
        check(format!("{INVITE}X: {}\r\n\r\n", "y".repeat(limits::HEADER_LEN_MAX)), Some(400));
        check(format!("{INVITE}\r\n{}", "y".repeat(limits::MESSAGE_LEN_MAX)), Some(513));
    }

    #[test]
    fn sdp_is_found_in_a_multipart_body() {
        let text = INVITE.replace("application/sdp", "multipart/mixed;boundary=\"b1\"");
        let body = "--b1\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b1--";
        assert_eq!(good(&format!("{text}\r\n{body}")).sdp().as_deref(), Some(&b"v=0\r\n"[..]));
    }

    #[test]
    fn another_version_is_505_and_an_ack_is_never_answered() {
        let check = |from: &str, to: &str, code: u16, reply: bool| {
            let fault = parse(format!("{}\r\n", INVITE.replace(from, to)).as_bytes()).expect_err(to);
            assert_eq!((fault.code, fault.reply.is_some()), (code, reply), "{to}");
        };
        check("1@h SIP/2.0", "1@h SIP/7.0", 505, true);
        check("CSeq: 1 INVITE", "CSeq: 1 ACK", 400, true);
        check("INVITE sip:1@h", "ACK sip:1@h", 400, false);
        check("Via: SIP/2.0/UDP h", "Via: SIP/2.0/UDP", 400, false);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(display in "\\PC{0,20}", user in "\\PC{1,20}", value in "\\PC{0,40}", body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Builder::request("INVITE", "sip:1@h");
            let from = super::super::address(Some(&display), &user, "h");
            out.line("Via", "SIP/2.0/UDP h;branch=z9hG4bK1").line("From", &format!("{from};tag=1")).line("To", "<sip:1@h>")
                .line("Call-ID", "c").line("CSeq", "1 INVITE").line("X-Value", &clean(&value));
            let message = Message::parse(&out.body("application/sdp", &body)).expect("our own writing");
            prop_assert_eq!(message.from.display.clone().unwrap_or_default(), clean(&display));
            prop_assert_eq!(message.from.uri().map(|uri| uri.user()), Ok(user));
            let expect = clean(&value);
            let expect = expect.trim_matches(|c: char| c.is_ascii_whitespace());
            prop_assert_eq!(message.other("X-Value"), Some(expect));
            prop_assert_eq!(&message.body[..], &body[..]);
        }

        #[test]
        fn nothing_from_outside_starts_a_line(text in any::<String>()) {
            let quoted = quote(&text);
            prop_assert!(!clean(&text).contains(['\r', '\n']));
            prop_assert!(!quoted.contains(['\r', '\n']));
        }

        #[test]
        fn mutated_messages_never_panic(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..20)) {
            let mut text = format!("{INVITE}Contact: \"x\" <sip:a@[::1]:1;lr>;q=1\r\nl: 4\r\n\r\nv=0\r").into_bytes();
            for (at, byte, kind) in cuts {
                let at = at.index(text.len().max(1)).min(text.len().saturating_sub(1));
                match kind {
                    0 if !text.is_empty() => text[at] = byte,
                    1 => text.insert(at, byte),
                    _ if text.len() > 1 => drop(text.remove(at)),
                    _ => {}
                }
            }
            if let Ok(message) = parse(&text) {
                prop_assert!(message.headers.iter().count() <= limits::HEADERS_MAX);
                prop_assert!(message.body.len() <= text.len());
            }
        }
    }
}
