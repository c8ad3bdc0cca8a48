use cti_switch::desk::{self, AgentView, CallView, Nack, NackCode, OfferCreated};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use zongji_sql::drafts::Draft;

/// The frames with only `t` and `d`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "t", content = "d", rename_all = "snake_case")]
pub enum ServerControl {
    Welcome(Welcome),
    Snapshot(Box<Snapshot>),
    Ack(Ack),
    Nack(NackFrame),
    Control(Control),
    /// The server's side of the tab's `media.offer`.
    #[serde(rename = "media.answer")]
    MediaAnswer(MediaAnswer),
    /// Another tab carries the audio: this one lets its connection go.
    #[serde(rename = "media.lost")]
    MediaLost(MediaLost),
}

/// The answer to `hello`: the missed events follow where `resumed`, else one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Welcome {
    /// New at each start of the server.
    pub epoch: String,
    /// The newest event's number.
    #[ts(type = "number")]
    pub seq: u64,
    #[ts(type = "number")]
    pub server_ms: u64,
    pub resumed: bool,
    /// Whether this tab controls the desk; the others are read-only.
    pub control: bool,
    /// The server's build: another one than the page's means "update when idle".
    pub build: String,
}

/// The desk as it is after event `seq`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, TS)]
pub struct Snapshot {
    /// None for one who is no agent, or whom the switch does not know.
    pub agent: Option<AgentView>,
    /// From `call.connected` to `wrapup.ended`.
    pub calls: Vec<CallView>,
    pub offers: Vec<OfferCreated>,
    pub drafts: Vec<Draft>,
    /// The tab that owns the audio; none before its first `media.offer`, and while phones carry it.
    pub media_owner: Option<String>,
    /// The server takes no new calls.
    pub draining: bool,
    #[ts(type = "number")]
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Ack {
    pub id: String,
    /// The newest event's number when the command was done.
    #[ts(type = "number")]
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NackFrame {
    /// None where the frame had none that could be read.
    pub id: Option<String>,
    pub code: NackCode,
    pub message: String,
    pub retryable: bool,
}

impl NackFrame {
    pub fn new(id: Option<String>, nack: Nack) -> Self {
        Self { id, code: nack.code, message: nack.message, retryable: nack.retryable }
    }
}

/// The answer (RFC 3264) to a page's offer, whole: our addresses are in it and no others follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct MediaAnswer {
    pub sdp: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct MediaLost {
    /// The tab that has it.
    pub tab: String,
}

/// This tab got or lost control of the desk; it stays connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Control {
    pub control: bool,
    pub reason: ControlReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum ControlReason {
    /// A newer tab, or one that asked, has it.
    TakenElsewhere,
    /// This tab asked.
    Taken,
}

/// `seq` is strictly +1 per agent: a gap asks for a resume, a number not above the last is ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct EventFrame {
    #[ts(type = "number")]
    pub seq: u64,
    /// UTC milliseconds.
    #[ts(type = "number")]
    pub ts: u64,
    #[serde(flatten)]
    #[ts(flatten)]
    pub event: Event,
}

/// What happened: the switch's events and the gateway's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(untagged)]
#[ts(rename = "DeskEvent")]
pub enum Event {
    Switch(desk::Event),
    Gateway(GatewayEvent),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "t", content = "d")]
pub enum GatewayEvent {
    #[serde(rename = "draft.saved")]
    DraftSaved(Draft),
    /// Its case is logged.
    #[serde(rename = "draft.cleared")]
    DraftCleared { call_id: String, kind: String },
    /// The tab whose audio connection the agent's calls use.
    #[serde(rename = "media.owner")]
    MediaOwner { tab: String },
}
