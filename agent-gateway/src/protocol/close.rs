use serde::Serialize;
use ts_rs::TS;

/// Why the server closed the websocket: the close frame's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(repr(enum))]
#[repr(u16)]
pub enum CloseCode {
    /// The session ended or was never there: sign in.
    NotSignedIn = 4001,
    /// Too many tabs of one agent: this, the oldest, was closed. A tab that only lost control stays and is read-only.
    SignedInElsewhere = 4003,
    /// The client reads too slowly or sends too fast: resume.
    TooSlow = 4008,
    /// The client speaks another protocol: reload when idle.
    ProtocolMismatch = 4010,
    /// The server is going away (RFC 6455, 7.4.1): connect again.
    GoingAway = 1001,
}

impl CloseCode {
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The close frame's reason, at most 123 bytes (RFC 6455, 5.5).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotSignedIn => "not signed in: sign in again",
            Self::SignedInElsewhere => "too many tabs of this agent: use a newer one",
            Self::TooSlow => "too slow or too fast: connect again and resume",
            Self::ProtocolMismatch => "another protocol: this server speaks cc.v1, proto 1",
            Self::GoingAway => "the server is going away: connect again",
        }
    }
}
