//! Writes messages. Every value from outside passes `text::clean` or `text::quote` first, so none can start a line.

use std::fmt::Write as _;

use bytes::Bytes;
use rsip::headers::{Header, Headers};

use super::headers::Via;
use super::{names, text, uri};
use std::net::{IpAddr, SocketAddr};

/// A message under construction: start line, header lines, then the body.
pub struct Builder {
    text: String,
}

impl Builder {
    pub fn request(method: &str, uri: &str) -> Self {
        let mut text = String::with_capacity(MESSAGE_LEN_USUAL);
        let _ = write!(text, "{method} {uri} SIP/2.0\r\n");
        Self { text }
    }

    pub fn response(code: u16, reason: &str) -> Self {
        let mut text = String::with_capacity(MESSAGE_LEN_USUAL);
        let _ = write!(text, "SIP/2.0 {code} {reason}\r\n");
        Self { text }
    }

    /// `name: value`. A CR or LF within `value` is left out.
    pub fn line(&mut self, name: &str, value: &str) -> &mut Self {
        self.text.push_str(name);
        self.text.push_str(": ");
        if value.bytes().any(|b| b == b'\r' || b == b'\n') {
            self.text.extend(value.chars().filter(|c| !matches!(c, '\r' | '\n')));
        } else {
            self.text.push_str(value);
        }
        self.text.push_str("\r\n");
        self
    }

    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        let _ = write!(self.text, "{name}: {value}\r\n");
        self
    }

    /// What a response takes over from its request (RFC 3261 8.2.6.2): every Via, with `received` and `rport` in the top
    /// one; From, To with `to_tag` where it has none; Call-ID and CSeq.
    pub fn answering(&mut self, headers: &Headers, via: &Via, source: SocketAddr, to_tag: Option<&str>) -> &mut Self {
        let mut top = true;
        for header in headers.iter() {
            let value = names::value(header);
            match header {
                Header::Via(_) if top => {
                    top = false;
                    self.text.push_str("Via: ");
                    write_top_via(&mut self.text, via, source);
                    if let Some(at) = text::find(value, b',') {
                        self.text.push_str(&value[at..]);
                    }
                    self.text.push_str("\r\n");
                }
                Header::Via(_) => {
                    self.line("Via", value);
                }
                Header::From(_) => {
                    self.line("From", value);
                }
                Header::To(_) => match to_tag {
                    Some(tag) => {
                        let _ = write!(self.text, "To: {value};tag={tag}\r\n");
                    }
                    None => {
                        self.line("To", value);
                    }
                },
                Header::CallId(_) => {
                    self.line("Call-ID", value);
                }
                Header::CSeq(_) => {
                    self.line("CSeq", value);
                }
                _ => {}
            }
        }
        self
    }

    pub fn body(mut self, content_type: &str, body: &[u8]) -> Bytes {
        if !body.is_empty() {
            self.line("Content-Type", content_type);
        }
        let _ = write!(self.text, "Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = self.text.into_bytes();
        bytes.reserve_exact(body.len());
        bytes.extend_from_slice(body);
        bytes.into()
    }

    pub fn sdp(self, sdp: Option<&Bytes>) -> Bytes {
        self.body("application/sdp", sdp.map_or(&[], |sdp| sdp))
    }

    pub fn end(self) -> Bytes {
        self.body("", &[])
    }
}

/// A call's messages without SDP are about this long; the body is added to it.
const MESSAGE_LEN_USUAL: usize = 640;

/// RFC 3261 18.2.1 and RFC 3581 4: `received` where the host differs from the source (or rport is asked for), `rport` filled in.
fn write_top_via(out: &mut String, via: &Via, source: SocketAddr) {
    let host = HostPort { host: &via.host, port: via.port };
    let _ = write!(out, "SIP/2.0/{} {host}", via.transport);
    for item in text::split(&via.params, b';') {
        let name = item.split('=').next().unwrap_or("").trim();
        if name.eq_ignore_ascii_case("rport") || name.eq_ignore_ascii_case("received") {
            continue;
        }
        let _ = write!(out, ";{item}");
    }
    let ip = canonical(source.ip());
    if via.wants_rport() || via.host.parse::<IpAddr>() != Ok(ip) {
        let _ = write!(out, ";received={ip}");
    }
    if via.wants_rport() {
        let _ = write!(out, ";rport={}", source.port());
    }
}

/// An IPv4 peer on a socket of both families is an IPv4 peer.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// An address as a URI's host.
pub fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

struct HostPort<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl std::fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(self.host)?
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// `"display" <sip:user@host>` for a From or To of ours.
pub fn address(display: Option<&str>, user: &str, host: &str) -> String {
    let mut out = String::new();
    if let Some(display) = display.filter(|display| !display.is_empty()) {
        out.push_str(&text::quote(display));
        out.push(' ');
    }
    let at = if user.is_empty() { "" } else { "@" };
    let _ = write!(out, "<sip:{}{at}{host}>", uri::escape_user(user));
    out
}

/// The phrases of RFC 3261 21 and its successors.
pub const fn reason(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        422 => "Session Interval Too Small",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match code / 100 {
            1 => "Progress",
            2 => "Success",
            3 => "Redirected",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
