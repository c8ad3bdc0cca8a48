use std::net::IpAddr;

use bytes::Bytes;
use cti_base::Pii;
use serde::{Deserialize, Serialize};

use crate::Flow;

/// One INVITE session (a dialog and its INVITE usage), named by the endpoint. Never used again within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// One registration that we keep at someone else's registrar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegistrationId(pub u64);

/// One OPTIONS of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProbeId(pub u64);

/// A From, To or asserted identity, read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The display name, unquoted.
    pub display: Option<Pii<String>>,
    /// The URI's user part or a `tel:` number, unescaped; empty where there is none.
    pub user: Pii<String>,
    pub host: String,
}

/// A new INVITE that passed every check of the endpoint; `100 Trying` is already on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InboundInvite {
    pub flow: Flow,
    /// The request URI's user and host: the number dialled.
    pub target: Party,
    pub from: Party,
    pub to: Party,
    /// P-Asserted-Identity (RFC 3325), else Remote-Party-ID.
    pub asserted: Option<Party>,
    pub call_id: String,
    /// The dialog that this one is to take the place of.
    #[serde(default)]
    pub replaces: Option<Replaces>,
    /// The SDP offer; `None` is a late offer (ours goes into the 200, theirs comes with `Event::Confirmed`).
    pub offer: Option<Bytes>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// Answer with `ring`, `accept` or `reject`.
    Invite { session: SessionId, invite: Box<InboundInvite> },
    /// The caller gave up before our final answer (CANCEL; the 487 is sent). The session is over.
    Cancelled { session: SessionId },
    /// The ACK for our 2xx came; `answer` is its SDP if ours was the offer.
    Confirmed { session: SessionId, answer: Option<Bytes> },
    /// A provisional answer above 100 to our INVITE.
    Progress { session: SessionId, code: u16, sdp: Option<Bytes> },
    /// A 2xx to our INVITE; its ACK is sent (the ACK carries no SDP: our INVITEs always offer).
    Answered { session: SessionId, sdp: Option<Bytes> },
    /// Our INVITE came to nothing: a final answer of 300 or more, 408 by timer B or F, 503 if it could not be sent.
    /// After `hangup` of an unanswered INVITE it ends with this too (487). The session is over.
    Failed { session: SessionId, code: u16, reason: String },
    /// The peer offers anew within the session. Answer with `accept_reoffer` or `reject_reoffer`.
    Reoffer { session: SessionId, sdp: Option<Bytes> },
    /// The peer's answer to our `reoffer`; `Err(code)` where it refused (491 is tried again by the endpoint, RFC 3261 14.1).
    Reanswered { session: SessionId, result: Result<Option<Bytes>, u16> },
    /// A DTMF digit by INFO (`application/dtmf-relay` or `application/dtmf`).
    InfoDigit { session: SessionId, digit: char },
    /// A NOTIFY within or outside a session that asks this phone to answer or hold (`Event: talk` / `hold`), or tells how a
    /// REFER of ours went on (`Event: refer`).
    Notify { session: SessionId, event: String },
    /// The peer asks that its side of the call be connected with somebody else (RFC 3515). Answer with `answer_refer`.
    Refer { session: SessionId, refer: Box<Refer> },
    /// The session's established dialog is over.
    Ended { session: SessionId, cause: EndCause },
    /// A phone's registration came, was refreshed or went.
    Registered { tenant: String, user: String, contacts: usize },
    /// The result of `register`: seconds until it ends, or the status that refused it.
    RegisterResult { registration: RegistrationId, result: Result<u32, u16> },
    /// The result of `probe`: whether somebody is there who takes calls.
    Probed { probe: ProbeId, alive: bool },
    /// Credentials were shown and are wrong: not those of `user`, who may not even exist. A first REGISTER without any, and one
    /// whose nonce is only too old, is none of these.
    Unauthorized { user: Pii<String>, source: IpAddr },
    /// A message was refused or dropped before it became anything; to be counted.
    Rejected { reason: RejectReason },
}

/// Whom a REFER names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refer {
    pub target: Party,
    /// A dialog that the new one is to take the place of.
    pub replaces: Option<Replaces>,
}

/// A dialog as whoever receives an INVITE with it has it (RFC 3891 6.1); `Endpoint::replaced` finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaces {
    pub call_id: String,
    /// The receiver's tag, and that of its peer.
    pub to_tag: String,
    pub from_tag: String,
    /// Only while it has no final answer.
    pub early_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndCause {
    /// The peer's BYE; `q850` is the Reason header's cause (RFC 3326), where given.
    Bye { q850: Option<u8> },
    /// Our own `hangup`.
    Local,
    /// No ACK within 64*T1 of our 2xx (RFC 3261 13.3.1.4); a BYE was sent.
    NoAck,
    /// An in-dialog request got 408, 481 or no answer (RFC 3261 12.2.1.2).
    Gone,
}

/// Why a message came to nothing, as `zongji_sip_rejected_total{reason}` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    Malformed,
    TooLarge,
    UnsupportedMethod,
    UnsupportedExtension,
    UnsupportedScheme,
    TooManyHops,
    NoDialog,
    Unauthorized,
    LimitReached,
    Loop,
}

impl RejectReason {
    /// The metric's label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UnsupportedMethod => "unsupported_method",
            Self::UnsupportedExtension => "unsupported_extension",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::TooManyHops => "too_many_hops",
            Self::NoDialog => "no_dialog",
            Self::Unauthorized => "unauthorized",
            Self::LimitReached => "limit_reached",
            Self::Loop => "loop",
        }
    }
}
