//! Header names, long and compact, onto rsip's headers.

use rsip::headers::{self, Header, UntypedHeader};

type Make = fn(String) -> Header;

macro_rules! table {
    ($(($name:literal, $compact:literal, $kind:ident)),* $(,)?) => {
        /// Name, compact form (0 for none), constructor.
        const TABLE: &[(&str, u8, Make)] = &[$(($name, $compact, |value| Header::$kind(headers::$kind::new(value)))),*];

        /// The value of any header, as it came.
        pub fn value(header: &Header) -> &str {
            match header {
                $(Header::$kind(inner) => inner.value(),)*
                Header::Other(_, value) => value,
            }
        }
    };
}

table![
    ("Via", b'v', Via),
    ("From", b'f', From),
    ("To", b't', To),
    ("Call-ID", b'i', CallId),
    ("CSeq", 0, CSeq),
    ("Contact", b'm', Contact),
    ("Max-Forwards", 0, MaxForwards),
    ("Content-Type", b'c', ContentType),
    ("Content-Length", b'l', ContentLength),
    ("Record-Route", 0, RecordRoute),
    ("Route", 0, Route),
    ("Require", 0, Require),
    ("Allow", 0, Allow),
    ("Supported", b'k', Supported),
    ("User-Agent", 0, UserAgent),
    ("Expires", 0, Expires),
    ("Authorization", 0, Authorization),
    ("WWW-Authenticate", 0, WwwAuthenticate),
    ("Proxy-Authorization", 0, ProxyAuthorization),
    ("Proxy-Authenticate", 0, ProxyAuthenticate),
    ("Subject", b's', Subject),
    ("Server", 0, Server),
    ("Event", b'o', Event),
    ("Subscription-State", 0, SubscriptionState),
    ("Accept", 0, Accept),
    ("Accept-Encoding", 0, AcceptEncoding),
    ("Accept-Language", 0, AcceptLanguage),
    ("Alert-Info", 0, AlertInfo),
    ("Authentication-Info", 0, AuthenticationInfo),
    ("Call-Info", 0, CallInfo),
    ("Content-Disposition", 0, ContentDisposition),
    ("Content-Encoding", b'e', ContentEncoding),
    ("Content-Language", 0, ContentLanguage),
    ("Date", 0, Date),
    ("Error-Info", 0, ErrorInfo),
    ("In-Reply-To", 0, InReplyTo),
    ("MIME-Version", 0, MimeVersion),
    ("Min-Expires", 0, MinExpires),
    ("Organization", 0, Organization),
    ("Priority", 0, Priority),
    ("Proxy-Require", 0, ProxyRequire),
    ("Reply-To", 0, ReplyTo),
    ("Retry-After", 0, RetryAfter),
    ("Timestamp", 0, Timestamp),
    ("Unsupported", 0, Unsupported),
    ("Warning", 0, Warning),
];

/// Compact names of headers that rsip has no variant for (the registry of SIP parameters).
const COMPACT_OTHER: &[(u8, &str)] = &[
    (b'u', "Allow-Events"),
    (b'r', "Refer-To"),
    (b'b', "Referred-By"),
    (b'x', "Session-Expires"),
    (b'a', "Accept-Contact"),
    (b'j', "Reject-Contact"),
    (b'd', "Request-Disposition"),
    (b'y', "Identity"),
];

/// rsip's header of a name in any case or its compact form; `Header::Other` for the rest.
pub fn header(name: &str, value: String) -> Header {
    if let [letter] = name.as_bytes() {
        let letter = letter.to_ascii_lowercase();
        if let Some((_, _, make)) = TABLE.iter().find(|(_, compact, _)| *compact == letter) {
            return make(value);
        }
        if let Some((_, long)) = COMPACT_OTHER.iter().find(|(compact, _)| *compact == letter) {
            return Header::Other((*long).to_owned(), value);
        }
    }
    match TABLE.iter().find(|(long, _, _)| long.eq_ignore_ascii_case(name)) {
        Some((_, _, make)) => make(value),
        None => Header::Other(name.to_owned(), value),
    }
}
