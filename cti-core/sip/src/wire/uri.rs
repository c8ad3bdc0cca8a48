//! SIP, SIPS and tel URIs, read leniently: what rsip's URI refuses must still get its proper answer.

use std::net::{IpAddr, SocketAddr};

use crate::Transport;

/// A URI's parts. User and password stay escaped as they came; `user()` unescapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    pub scheme: Scheme,
    pub user: Option<String>,
    /// Without brackets for IPv6, lower case. Empty for `tel:`.
    pub host: String,
    pub port: Option<u16>,
    /// `;name=value...` without its first semicolon.
    pub params: String,
    /// `name=value&...` after the question mark.
    pub headers: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// A scheme that is not sip, sips or tel: 416 in a request URI (RFC 3261 21.4.14).
    UnknownScheme,
    Malformed,
}

pub const SIP_PORT: u16 = 5060;
pub const SIPS_PORT: u16 = 5061;

impl Uri {
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Malformed)?;
        let scheme = match scheme {
            s if s.eq_ignore_ascii_case("sip") => Scheme::Sip,
            s if s.eq_ignore_ascii_case("sips") => Scheme::Sips,
            s if s.eq_ignore_ascii_case("tel") => Scheme::Tel,
            s if s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) && !s.is_empty() => {
                return Err(UriError::UnknownScheme);
            }
            _ => return Err(UriError::Malformed),
        };
        if rest.bytes().any(|b| b <= b' ' || b == b'<' || b == b'>' || b == 0x7f) {
            return Err(UriError::Malformed);
        }
        if scheme == Scheme::Tel {
            let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
            if number.is_empty() {
                return Err(UriError::Malformed);
            }
            return Ok(Self {
                scheme,
                user: Some(number.to_owned()),
                host: String::new(),
                port: None,
                params: params.to_owned(),
                headers: String::new(),
            });
        }
        // A user part may hold `;` and `?` (RFC 3261 25.1 user-unreserved), a host never: the last `@` divides them.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (rest, headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (host_port, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = host_port_of(host_port).ok_or(UriError::Malformed)?;
        // A password is dropped; a user part that is empty but for it is none.
        let user = user.map(|user| user.split_once(':').map_or(user, |(name, _)| name).to_owned());
        Ok(Self { scheme, user, host, port, params: params.to_owned(), headers: headers.to_owned() })
    }

    /// The user part, unescaped; empty where there is none.
    pub fn user(&self) -> String {
        self.user.as_deref().map(unescape).unwrap_or_default()
    }

    /// A parameter's value; `Some("")` for one without.
    pub fn param(&self, name: &str) -> Option<&str> {
        param(&self.params, name)
    }

    /// Where a request to this URI goes, if its host (or `maddr`) is an address: RFC 3263 4 without DNS.
    pub fn address(&self) -> Option<(Option<Transport>, SocketAddr)> {
        let transport = match self.param("transport") {
            None => (self.scheme == Scheme::Sips).then_some(Transport::Tls),
            Some(t) if t.eq_ignore_ascii_case("udp") => Some(Transport::Udp),
            Some(t) if t.eq_ignore_ascii_case("tcp") => {
                Some(if self.scheme == Scheme::Sips { Transport::Tls } else { Transport::Tcp })
            }
            Some(t) if t.eq_ignore_ascii_case("tls") => Some(Transport::Tls),
            Some(t) if t.eq_ignore_ascii_case("ws") => Some(Transport::Ws),
            Some(_) => return None,
        };
        let host = self.param("maddr").unwrap_or(&self.host);
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?;
        let default = if transport == Some(Transport::Tls) { SIPS_PORT } else { SIP_PORT };
        Some((transport, SocketAddr::new(ip, self.port.unwrap_or(default))))
    }

    /// What decides whether two contacts are one: user, host, port and transport (a short form of RFC 3261 19.1.4).
    pub fn key(&self) -> String {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        let transport = self.param("transport").unwrap_or("").to_ascii_lowercase();
        format!("{}@{}:{port};{transport}", self.user(), self.host)
    }
}

impl Uri {
    /// Where a contact is, whoever is there: host, port and transport.
    pub fn place(&self) -> String {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        format!("{}:{port};{}", self.host, self.param("transport").unwrap_or("").to_ascii_lowercase())
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, with white space around the colon (RFC 3261 25.1 COLON in Via).
pub fn host_port_of(text: &str) -> Option<(String, Option<u16>)> {
    let text = text.trim();
    let colons_mended;
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        colons_mended = without_third_colon(host);
        let host = colons_mended.as_deref().unwrap_or(host);
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let rest = rest.trim();
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return None,
        }
    } else {
        match text.split_once(':') {
            // An IPv6 address without brackets, as some phones write it: no port can be told from it.
            Some((_, rest)) if rest.contains(':') => (text.parse::<std::net::Ipv6Addr>().ok().map(|_| text)?, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let host = host.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if host.is_empty() || host.len() > HOST_LEN_MAX || !host.bytes().all(plain) {
        return None;
    }
    let port = match port.map(str::trim) {
        Some(port) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse::<u16>().ok()?),
        Some(_) => return None,
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

const HOST_LEN_MAX: usize = 255;

/// RFC 5118 4.10: the grammar of RFC 3261 let a third colon stand before an embedded IPv4 address, which must be tolerated.
fn without_third_colon(host: &str) -> Option<String> {
    let (head, tail) = host.split_once(":::")?;
    tail.parse::<std::net::Ipv4Addr>().ok()?;
    Some(format!("{head}::{tail}"))
}

/// A `;`-separated parameter's value, unquoted at its ends; `Some("")` for one without.
pub fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    super::text::split(params, b';').find_map(|item| {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| super::text::unquoted_ends(value.trim()))
    })
}

/// `%41` to `A`. An escape that is none, or that is not UTF-8, stays as it stands.
pub fn unescape(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Escapes what may not stand in a URI's user part.
pub fn escape_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_read_leniently_and_say_where_they_go() {
        let check = |text: &str, user: &str, address: Option<(Option<Transport>, &str)>| {
            let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(uri.user(), user, "{text}");
            let expect = address.map(|(transport, address)| (transport, address.parse().expect("an address")));
            assert_eq!(uri.address(), expect, "{text}");
        };
        check("sip:1001@127.0.0.1", "1001", Some((None, "127.0.0.1:5060")));
        check("SIP:1001:pass@127.0.0.1:6001;transport=TCP", "1001", Some((Some(Transport::Tcp), "127.0.0.1:6001")));
        check("sips:a@192.0.2.1", "a", Some((Some(Transport::Tls), "192.0.2.1:5061")));
        check("sip:a@[2001:db8::1]:5062", "a", Some((None, "[2001:db8::1]:5062")));
        check("sip:a@example.com;maddr=192.0.2.9", "a", Some((None, "192.0.2.9:5060")));
        check("sip:%E7%8E%8B@example.com", "王", None);
        check("sip:user;par=u%40example.net@example.com", "user;par=u@example.net", None);
        check("tel:+86-10-6278", "+86-10-6278", None);
        check("sip:a@h;transport=sctp", "a", None);
        check("sip:null-%00-null@example.com", "null-\0-null", None);
        check("sip:a%zz%4@example.com", "a%zz%4", None);
    }

    #[test]
    fn what_is_no_uri_is_told_from_an_unknown_scheme() {
        let check = |text: &str, expect: UriError| assert_eq!(Uri::parse(text), Err(expect), "{text}");
        check("http://a", UriError::UnknownScheme);
        check("soap.beep://192.0.2.103:3002", UriError::UnknownScheme);
        for text in ["", "a", "<sip:a@b>", "sip:a b@c", "sip:", "sip:a@", "sip:a@b:port", "sip:a@b:99999", "tel:"] {
            check(text, UriError::Malformed);
        }
    }

    #[test]
    fn escaped_users_read_back() {
        for user in ["1001", "王芳", "a b", "a@b:c%\"<>", "+86#"] {
            assert_eq!(unescape(&escape_user(user)), user);
        }
    }
}
