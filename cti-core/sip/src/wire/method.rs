use std::fmt;

/// A method: one of rsip's, or an extension that rsip's closed enum can not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    Known(rsip::Method),
    Extension(Box<str>),
}

const KNOWN: [(rsip::Method, &str); 14] = [
    (rsip::Method::Invite, "INVITE"),
    (rsip::Method::Ack, "ACK"),
    (rsip::Method::Bye, "BYE"),
    (rsip::Method::Cancel, "CANCEL"),
    (rsip::Method::Register, "REGISTER"),
    (rsip::Method::Options, "OPTIONS"),
    (rsip::Method::Notify, "NOTIFY"),
    (rsip::Method::Subscribe, "SUBSCRIBE"),
    (rsip::Method::Info, "INFO"),
    (rsip::Method::Update, "UPDATE"),
    (rsip::Method::PRack, "PRACK"),
    (rsip::Method::Refer, "REFER"),
    (rsip::Method::Message, "MESSAGE"),
    (rsip::Method::Publish, "PUBLISH"),
];

impl Method {
    /// Methods are compared with regard to case (RFC 3261 7.1); `None` where the text is no token.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((method, _)) = KNOWN.iter().find(|(_, name)| *name == text) {
            return Some(Self::Known(*method));
        }
        (!text.is_empty() && text.len() <= METHOD_LEN_MAX && text.bytes().all(is_token))
            .then(|| Self::Extension(text.into()))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => name_of(*known),
            Self::Extension(text) => text,
        }
    }

    pub fn is(&self, known: rsip::Method) -> bool {
        *self == Self::Known(known)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const METHOD_LEN_MAX: usize = 64;

pub fn name_of(method: rsip::Method) -> &'static str {
    KNOWN.iter().find(|(known, _)| *known == method).map_or("", |(_, name)| name)
}

/// RFC 3261 25.1 `token`.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}
