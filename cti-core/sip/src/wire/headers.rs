//! Our own typed headers, for the forms that rsip's refuse: addresses without `<>`, lists, odd white space.

use super::text;
use super::uri::{Uri, UriError, host_port_of, param};
use super::{Method, limits};
use crate::Party;
use cti_base::Pii;

/// From, To, Contact, Route and their like: `"display" <uri>;params` or `uri;params`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    pub display: Option<String>,
    /// The URI as it came, without `<>`.
    pub uri_text: String,
    /// Header parameters, without the first semicolon.
    pub params: String,
}

impl NameAddr {
    /// `None` where neither form can be seen.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if !text::quotes_closed(value) {
            return None;
        }
        // The bracket that opens the URI stands outside of the quoted display name.
        if let Some(open) = text::find(value, b'<') {
            let close = open + value[open..].find('>')?;
            let display = value[..open].trim();
            if !display.starts_with('"') && display.bytes().any(|b| b"<>,;:@".contains(&b)) {
                return None;
            }
            let rest = value[close + 1..].trim();
            let params = match rest.strip_prefix(';') {
                Some(params) => params,
                None if rest.is_empty() => "",
                None => return None,
            };
            let uri = value[open + 1..close].trim();
            if uri.contains(char::is_whitespace) {
                return None;
            }
            let display = (!display.is_empty()).then(|| text::unquote(display));
            return Some(Self {
                display: display.filter(|d| !d.is_empty()),
                uri_text: uri.to_owned(),
                params: params.trim().to_owned(),
            });
        }
        // Without brackets, everything behind a semicolon is the header's, never the URI's (RFC 3261 20).
        let (uri, params) = value.split_once(';').unwrap_or((value, ""));
        let uri = uri.trim();
        if uri.is_empty() || uri.contains(['"', '?', ',']) || uri.contains(char::is_whitespace) {
            return None;
        }
        Some(Self { display: None, uri_text: uri.to_owned(), params: params.trim().to_owned() })
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        param(&self.params, name)
    }

    pub fn tag(&self) -> Option<&str> {
        self.param("tag").filter(|tag| !tag.is_empty() && tag.len() <= limits::TOKEN_LEN_MAX)
    }

    pub fn uri(&self) -> Result<Uri, UriError> {
        Uri::parse(&self.uri_text)
    }

    /// The address for the switch: a URI of an unknown scheme leaves user and host empty.
    pub fn party(&self) -> Party {
        let (user, host) = self.uri().map(|uri| (uri.user(), uri.host)).unwrap_or_default();
        Party { display: self.display.clone().map(Pii::new), user: Pii::new(user), host }
    }

    /// Display name and URI without header parameters, for the From or To of a later request.
    pub fn bare(&self) -> String {
        match &self.display {
            Some(display) => format!("{} <{}>", text::quote(display), self.uri_text),
            None => format!("<{}>", self.uri_text),
        }
    }
}

/// One Via, as far as a response and a transaction need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    pub transport: String,
    pub host: String,
    pub port: Option<u16>,
    pub params: String,
    branch: String,
}

impl Via {
    pub fn parse(value: &str) -> Option<Self> {
        Self::read(value, true)
    }

    /// As much as a 400 or 505 needs to find its way back.
    pub fn parse_for_refusal(value: &str) -> Option<Self> {
        Self::read(value, false)
    }

    fn read(value: &str, strict: bool) -> Option<Self> {
        // `SIP / 2.0 / UDP host : port ; params`: white space may stand around every separator.
        let (name, rest) = value.trim().split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !name.trim().eq_ignore_ascii_case("SIP") || strict && version.trim() != "2.0" {
            return None;
        }
        let rest = rest.trim_start();
        let (transport, rest) = rest.split_once(WHITE)?;
        if transport.is_empty() || !transport.bytes().all(super::method::is_token) {
            return None;
        }
        let (sent_by, params) = match text::find(rest, b';') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        if strict && params.starts_with(';') {
            return None;
        }
        let (host, port) = host_port_of(sent_by)?;
        let params = params.trim();
        let branch = param(params, "branch").filter(|branch| branch.len() <= limits::TOKEN_LEN_MAX).unwrap_or("");
        let (branch, params) = (branch.to_owned(), params.to_owned());
        Some(Self { transport: transport.to_owned(), host, port, params, branch })
    }

    /// Empty where there is none.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// RFC 3581: whether the response wants the source's port.
    pub fn wants_rport(&self) -> bool {
        param(&self.params, "rport").is_some()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    pub number: u32,
    pub method: Method,
}

impl CSeq {
    pub fn parse(value: &str) -> Option<Self> {
        let (number, method) = value.trim_ascii().split_once(WHITE)?;
        // RFC 3261 8.1.1.5: less than 2^31.
        let number = number.parse::<u32>().ok().filter(|number| *number <= CSEQ_MAX)?;
        Some(Self { number, method: Method::parse(method.trim_ascii())? })
    }
}

pub const CSEQ_MAX: u32 = (1 << 31) - 1;

/// RFC 3261 25.1, WSP: what else is white in Unicode separates nothing.
const WHITE: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_in_every_form_the_field_writes() {
        let check = |value: &str, display: Option<&str>, uri: &str, tag: Option<&str>| {
            let address = NameAddr::parse(value).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(address.display.as_deref(), display, "{value}");
            assert_eq!(address.uri_text, uri, "{value}");
            assert_eq!(address.tag(), tag, "{value}");
        };
        check("<sip:a@b>;tag=1", None, "sip:a@b", Some("1"));
        check("sip:a@b;tag=1", None, "sip:a@b", Some("1"));
        check("sip:a@b ; x=y ; TAG = 1", None, "sip:a@b", Some("1"));
        check(
            "\"A, <B> \\\"C\\\"\" <sip:a@b;transport=tcp>;tag=x",
            Some("A, <B> \"C\""),
            "sip:a@b;transport=tcp",
            Some("x"),
        );
        check("caller<sip:caller@example.com>;tag=323", Some("caller"), "sip:caller@example.com", Some("323"));
        check("王芳 <sip:1001@h>;tag=2", Some("王芳"), "sip:1001@h", Some("2"));
        check("<tel:+4930901820>", None, "tel:+4930901820", None);
        check("\"\" <sip:a@b>", None, "sip:a@b", None);
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for value in
            ["", "\"open <sip:a@b>", "<sip:a@b", "Bell, Alexander <sip:a@b>;tag=1", "<sip:a@b> x", "a b", "< sip:a @b>"]
        {
            assert_eq!(NameAddr::parse(value), None, "{value}");
        }
    }

    #[test]
    fn vias_read_with_white_space_and_ipv6() {
        let check = |value: &str, transport: &str, host: &str, port: Option<u16>, branch: &str| {
            let via = Via::parse(value).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(
                (via.transport.as_str(), via.host.as_str(), via.port, via.branch()),
                (transport, host, port, branch)
            );
        };
        check("SIP/2.0/UDP h:5060;branch=z9hG4bKa", "UDP", "h", Some(5060), "z9hG4bKa");
        check("SIP  / 2.0 /   TCP    192.0.2.2 : 5061 ;branch= x", "TCP", "192.0.2.2", Some(5061), "x");
        check("SIP/2.0/UDP [2001:db8::1]:5060;rport;branch=b", "UDP", "2001:db8::1", Some(5060), "b");
        check("SIP/2.0/TLS-SCTP H.example.com", "TLS-SCTP", "h.example.com", None, "");
        for value in ["", "SIP/2.0/UDP", "SIP/3.0/UDP h", "SIP/2.0/UDP h:70000", "SIP/2.0/UDP [::1", "HTTP/2.0/UDP h"] {
            assert_eq!(Via::parse(value), None, "{value}");
        }
    }

    #[test]
    fn cseq_numbers_stay_below_the_limit_of_the_rfc() {
        let check =
            |value: &str, number: Option<u32>| assert_eq!(CSeq::parse(value).map(|c| c.number), number, "{value}");
        check("0009  INVITE", Some(9));
        check("2147483647 BYE", Some(CSEQ_MAX));
        check("2147483648 BYE", None);
        check("36893488147419103232 REGISTER", None);
        check("-1 BYE", None);
        check("1", None);
        check(" 1 \tBYE\t", Some(1));
        check("1\u{a0}BYE", None);
    }
}
