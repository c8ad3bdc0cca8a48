//! Cuts messages from a stream.

use bytes::{Buf, Bytes, BytesMut};

use super::{limits, message};

/// One piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for `Endpoint::handle_packet`.
    Message(Bytes),
    /// The double CRLF of RFC 5626 3.5.1: answer with `wire::PONG`.
    Ping,
}

/// What a peer's keep-alive on a stream is answered with (RFC 5626 3.5.1).
pub const PONG: &[u8] = b"\r\n";

/// The stream can not be cut any further: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a message on a stream is longer than {} bytes: close the connection", limits::MESSAGE_LEN_MAX)]
    TooLarge,
    #[error("a Content-Length on a stream is no number, or there are two that differ: close the connection")]
    BadContentLength,
    #[error("a message on a stream has no Content-Length (RFC 3261 18.3): close the connection")]
    NoContentLength,
}

/// Collects a stream's bytes: `push` what was read, then `next` until it is `None`. Holds at most one message and what
/// was pushed at once.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of the head, so that bytes that trickle in are looked at once.
    searched: usize,
    /// The length of the message at the front, once its head was read.
    whole: Option<usize>,
    /// CR LF seen once between messages, half a ping.
    half_ping: bool,
}

impl Framer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether no message is begun: a stream may rest here for long.
    pub fn is_between_messages(&self) -> bool {
        self.buffer.iter().all(u8::is_ascii_whitespace)
    }

    /// The next whole message or ping; `None` asks for more bytes. After an error the stream has no further frames.
    #[expect(
        clippy::should_implement_trait,
        reason = "a fallible pull parser, not an iterator: it goes on after `None`"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let total = match self.whole {
            Some(total) => total,
            None => {
                if self.skip_line_ends() {
                    return Ok(Some(Frame::Ping));
                }
                let Some(total) = self.measure()? else { return Ok(None) };
                self.whole = Some(total);
                total
            }
        };
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.searched = 0;
        self.whole = None;
        self.half_ping = false;
        Ok(Some(Frame::Message(self.buffer.split_to(total).freeze())))
    }

    /// Drops line ends between messages; true at each second one.
    fn skip_line_ends(&mut self) -> bool {
        while self.searched == 0 && self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
            self.half_ping = !self.half_ping;
            if !self.half_ping {
                return true;
            }
        }
        false
    }

    /// The length of the message at the front; `None` while its head is not whole.
    fn measure(&mut self) -> Result<Option<usize>, FrameError> {
        if self.buffer.is_empty() || *self.buffer == *b"\r" {
            return Ok(None);
        }
        let from = self.searched.saturating_sub(HEAD_END_LEN_MAX);
        let Some((head_len, body_at)) = message::head_of(&self.buffer[from..]).map(|(h, b)| (from + h, from + b))
        else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > limits::HEAD_LEN_MAX { Err(FrameError::TooLarge) } else { Ok(None) };
        };
        let body_len = body_len_of(&self.buffer[..head_len])?;
        match body_at.checked_add(body_len).filter(|total| *total <= limits::MESSAGE_LEN_MAX) {
            Some(total) => Ok(Some(total)),
            None => Err(FrameError::TooLarge),
        }
    }
}

/// LF CR LF, less the last byte that a search may have stopped before, and one for safety.
const HEAD_END_LEN_MAX: usize = 4;

fn body_len_of(head: &[u8]) -> Result<usize, FrameError> {
    let mut found = None;
    for line in head.split(|b| *b == b'\n') {
        if line.first().is_none_or(|b| matches!(b, b' ' | b'\t')) {
            continue;
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = line[..colon].trim_ascii_end();
        if !(name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l")) {
            continue;
        }
        let value = std::str::from_utf8(&line[colon + 1..]).ok().and_then(message::content_length_of);
        match (value, found) {
            (None, _) => return Err(FrameError::BadContentLength),
            (Some(value), Some(earlier)) if value != earlier => return Err(FrameError::BadContentLength),
            (Some(value), _) => found = Some(value),
        }
    }
    found.ok_or(FrameError::NoContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";
    const SECOND: &str = "BYE sip:a SIP/2.0\r\nl : 0\r\n\r\n";

    fn frames(pieces: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
        let mut framer = Framer::new();
        let mut out = Vec::new();
        for piece in pieces {
            framer.push(piece);
            while let Some(frame) = framer.next()? {
                out.push(frame);
            }
        }
        Ok(out)
    }

    fn message(text: &str) -> Frame {
        Frame::Message(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn messages_are_cut_wherever_the_stream_is_torn() {
        let stream = format!("{FIRST}{SECOND}{FIRST}");
        let expect = vec![message(FIRST), message(SECOND), message(FIRST)];
        for size in 1..stream.len() {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            assert_eq!(frames(&pieces).as_ref(), Ok(&expect), "pieces of {size}");
        }
    }

    #[test]
    fn a_double_line_end_is_a_ping_and_a_single_one_is_nothing() {
        let check = |stream: &str, expect: Vec<Frame>| {
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            assert_eq!(frames(&pieces), Ok(expect.clone()), "{stream:?} byte by byte");
            assert_eq!(frames(&[stream.as_bytes()]), Ok(expect), "{stream:?} at once");
        };
        check("\r\n\r\n", vec![Frame::Ping]);
        check("\r\n", vec![]);
        check(&format!("\r\n{SECOND}"), vec![message(SECOND)]);
        check(&format!("\r\n\r\n{SECOND}\r\n\r\n"), vec![Frame::Ping, message(SECOND), Frame::Ping]);
    }

    #[test]
    fn a_stream_that_can_not_be_cut_is_closed() {
        let check =
            |stream: &str, expect: FrameError| assert_eq!(frames(&[stream.as_bytes()]), Err(expect), "{stream:.60}");
        check("BYE sip:a SIP/2.0\r\n\r\n", FrameError::NoContentLength);
        check("BYE sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n", FrameError::BadContentLength);
        check("BYE sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n", FrameError::BadContentLength);
        check("BYE sip:a SIP/2.0\r\nContent-Length: 99999999999999999999999\r\n\r\n", FrameError::BadContentLength);
        check("BYE sip:a SIP/2.0\r\nContent-Length: 65536\r\n\r\n", FrameError::TooLarge);
        check(&"x".repeat(limits::HEAD_LEN_MAX + 1), FrameError::TooLarge);
    }
}
