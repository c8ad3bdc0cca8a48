//! What the switch and an agent's desk say to each other: the payloads of the `cc.v1` websocket (docs/protocol.md).
//! Times are UTC milliseconds, ids strings.

use std::collections::BTreeMap;

use cti_base::{AgentName, CallId, NodeName, OfferId, Pii, QueueName};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Inbound,
    Outbound,
    Internal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Offline,
    Ready,
    /// Reserved, ringing or dialling.
    Offered,
    Talking,
    Wrapup,
    Break,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    Ivr,
    Queued,
    Offering,
    Dialing,
    Talking,
    Held,
    Consulting,
    Conference,
    Parked,
    Ended,
}

/// Whether an agent's phone or browser can carry a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum MediaHealth {
    Ok,
    /// No phone is registered, no desk is open.
    None,
    /// The desk is there and its browser is not connected: nothing is offered.
    Unhealthy,
}

/// The states an agent may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum WantedState {
    Ready,
    Break,
    Offline,
}

/// A desk's command. What needs no switch (drafts, subscriptions) is the gateway's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "t", content = "d")]
pub enum Command {
    #[serde(rename = "agent.set_state")]
    SetState {
        state: WantedState,
        #[serde(default)]
        reason: Option<String>,
    },
    #[serde(rename = "offer.accept")]
    Accept { offer_id: OfferId },
    #[serde(rename = "offer.reject")]
    Reject {
        offer_id: OfferId,
        #[serde(default)]
        reason: Option<String>,
    },
    #[serde(rename = "call.hangup")]
    Hangup { call_id: CallId },
    #[serde(rename = "call.hold")]
    Hold { call_id: CallId },
    #[serde(rename = "call.retrieve")]
    Retrieve { call_id: CallId },
    #[serde(rename = "call.mute")]
    Mute { call_id: CallId },
    #[serde(rename = "call.unmute")]
    Unmute { call_id: CallId },
    /// Presses keys towards whom the agent talks with.
    #[serde(rename = "call.dtmf")]
    Dtmf { call_id: CallId, digits: String },
    /// Hands the call on; its agent is in wrap-up.
    #[serde(rename = "call.transfer")]
    Transfer { call_id: CallId, to: To },
    /// Rings somebody while the customer hears music.
    #[serde(rename = "call.consult")]
    Consult { call_id: CallId, to: To },
    /// Between the customer and who is consulted.
    #[serde(rename = "call.swap")]
    Swap { call_id: CallId },
    /// Leaves the call to who is consulted, or to the others of the conference.
    #[serde(rename = "call.complete")]
    Complete { call_id: CallId },
    #[serde(rename = "call.cancel_consult")]
    CancelConsult { call_id: CallId },
    /// Who is consulted joins the customer and the agent.
    #[serde(rename = "call.conference")]
    Conference { call_id: CallId },
    /// For supervisors: begins to listen to a call, or goes over to another way. `call.hangup` ends it.
    #[serde(rename = "call.supervise")]
    Supervise { call_id: CallId, mode: Listen },
    #[serde(rename = "wrapup.extend")]
    ExtendWrapup { call_id: CallId },
    #[serde(rename = "wrapup.finish")]
    FinishWrapup {
        call_id: CallId,
        #[serde(default)]
        disposition: Option<String>,
    },
}

/// Whom a call is handed to, or who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(untagged)]
pub enum To {
    Agent {
        agent: AgentName,
    },
    Queue {
        queue: QueueName,
    },
    /// As people write it; only what the tenant's `outbound` allows is dialled.
    Number {
        #[ts(type = "string")]
        number: Pii<String>,
    },
    Ivr {
        ivr: String,
        #[serde(default)]
        node: Option<NodeName>,
    },
}

/// How a supervisor listens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Listen {
    /// Hears both, heard by none.
    Monitor,
    /// Heard by the agent alone.
    Whisper,
    /// Heard by all.
    Barge,
}

/// Somebody on a call, as a desk shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PartyView {
    pub kind: PartyKind,
    /// An agent's name, or a number.
    pub name: String,
    /// Whose call it is.
    pub lead: bool,
    pub state: PartyState,
    pub muted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    Customer,
    Agent,
    Number,
    Supervisor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PartyState {
    Ringing,
    Talking,
    /// Hears music.
    Held,
}

/// Why an agent is rung who is to join a call that is talked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Joining {
    /// Whose call it is.
    pub by: Option<AgentName>,
    /// How a supervisor is to listen; `None` for a colleague who is asked.
    pub listen: Option<Listen>,
}

/// Why a command was refused. `code` is stable, `message` is for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Nack {
    pub code: NackCode,
    pub message: String,
    pub retryable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum NackCode {
    /// The frame or its payload does not parse.
    BadFrame,
    UnknownCommand,
    /// The offer, call or draft named is not (any more) this agent's.
    NotYours,
    /// Right command, wrong moment.
    WrongState,
    /// The phone can not be made to answer: lift the handset.
    AnswerOnPhone,
    /// `expect_ver` is not the current version.
    Conflict,
    Forbidden,
    /// A named limit is reached, or the switch is too busy: try again.
    Busy,
    NotSupported,
}

/// One customer who may be calling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct Candidate {
    pub customer_id: String,
    pub name: String,
    /// What matched: `phone` (exact), `phone_suffix`.
    pub why: String,
    /// 0 to 1.
    pub confidence: f32,
    pub value_class: Option<String>,
    pub risk: Option<String>,
    pub company: Option<String>,
    pub products: Vec<PopProduct>,
    pub open_cases: Vec<PopCase>,
    pub last_contacts: Vec<PopContact>,
    /// Who talked with the customer last, of the last three calls; for the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(skip)]
    pub last_agent: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PopProduct {
    pub id: String,
    pub model: String,
    pub serial: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PopCase {
    pub id: String,
    pub kind: String,
    pub title: String,
    pub status: String,
    #[ts(type = "number")]
    pub opened_ms: u64,
    /// The agent whose case it is; for the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(skip)]
    pub owner: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PopContact {
    /// `call` or `case`.
    pub what: String,
    pub summary: String,
    pub agent: Option<String>,
    #[ts(type = "number")]
    pub at_ms: u64,
}

/// What the records know of a number. At most `CANDIDATES_MAX` candidates, best first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, TS)]
pub struct CallerRecords {
    pub candidates: Vec<Candidate>,
    /// The records could not be asked: this is what they said the last time.
    #[serde(default)]
    #[ts(skip)]
    pub from_memory: bool,
}

pub const CANDIDATES_MAX: usize = 10;

/// Everything the desk paints while it rings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct Pop {
    /// E.164 where it can be; as it came where not.
    #[ts(type = "string")]
    pub number: Pii<String>,
    pub region: Option<String>,
    pub candidates: Vec<Candidate>,
    /// False where the records could not be asked in time: the desk says so and looks again. Candidates are then what the
    /// records said of this number the last time.
    pub records_known: bool,
    pub ivr_path: Vec<NodeName>,
    #[ts(type = "number")]
    pub wait_ms: u64,
    pub vars: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct OfferCreated {
    pub offer_id: OfferId,
    pub call_id: CallId,
    pub queue: QueueName,
    /// `None` for a caller's offer.
    #[serde(default)]
    pub joining: Option<Joining>,
    /// The kind of case that this queue's calls usually become.
    pub case_kind: Option<String>,
    #[ts(type = "number")]
    pub ring_until_ms: u64,
    pub auto_answer: bool,
    /// Whether `offer.accept` can make this agent's phone answer.
    pub can_accept: bool,
    pub pop: Pop,
}

/// The agent as the desk shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct AgentView {
    pub name: AgentName,
    pub display: String,
    pub state: AgentState,
    pub reason: Option<String>,
    #[ts(type = "number")]
    pub since_ms: u64,
    /// What comes after the call or wrap-up, if the agent chose.
    pub next: Option<NextState>,
    /// Whether the agent talks by the browser: the page makes its connection as soon as it controls the desk.
    pub browser: bool,
    pub media: MediaHealth,
    pub ver: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NextState {
    pub state: WantedState,
    pub reason: Option<String>,
}

/// A call as its agent's desk shows it, from `call.connected` to the end of wrap-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct CallView {
    pub call_id: CallId,
    pub state: CallState,
    pub direction: Direction,
    pub queue: Option<QueueName>,
    pub case_kind: Option<String>,
    /// Whether it is this desk's own, and not one that was joined.
    #[serde(default = "yes")]
    pub leads: bool,
    /// How this desk's supervisor listens.
    #[serde(default)]
    pub listens: Option<Listen>,
    /// The agent is with who is consulted.
    #[serde(default)]
    pub aside: bool,
    /// Everyone on it, the customer first.
    #[serde(default)]
    pub parties: Vec<PartyView>,
    pub muted: bool,
    pub recording: bool,
    #[ts(type = "number | null")]
    pub answered_ms: Option<u64>,
    #[ts(type = "number | null")]
    pub held_since_ms: Option<u64>,
    #[ts(type = "number | null")]
    pub ended_ms: Option<u64>,
    /// When wrap-up ends by itself; `None` while talking or where it has no end.
    #[ts(type = "number | null")]
    pub wrapup_until_ms: Option<u64>,
    /// Who hung up and why, once ended.
    pub cause: Option<String>,
    pub pop: Pop,
    pub ver: u32,
}

const fn yes() -> bool {
    true
}

/// One event for one agent's desk. The gateway numbers it (`seq`) and keeps it for `resume`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "t", content = "d")]
pub enum Event {
    #[serde(rename = "agent.state")]
    AgentState(AgentView),
    #[serde(rename = "agent.next_state")]
    AgentNextState(AgentView),
    #[serde(rename = "offer.created")]
    OfferCreated(Box<OfferCreated>),
    #[serde(rename = "offer.accepted")]
    OfferAccepted { offer_id: OfferId, call_id: CallId },
    #[serde(rename = "offer.rejected")]
    OfferRejected { offer_id: OfferId, call_id: CallId },
    #[serde(rename = "offer.timeout")]
    OfferTimeout { offer_id: OfferId, call_id: CallId },
    #[serde(rename = "offer.withdrawn")]
    OfferWithdrawn { offer_id: OfferId, call_id: CallId, reason: String },
    /// The agent's phone rings (180 came).
    #[serde(rename = "call.ringing")]
    CallRinging { offer_id: OfferId, call_id: CallId },
    #[serde(rename = "call.connected")]
    CallConnected(Box<CallView>),
    #[serde(rename = "call.held")]
    CallHeld(Box<CallView>),
    #[serde(rename = "call.muted")]
    CallMuted(Box<CallView>),
    #[serde(rename = "call.recording")]
    CallRecording(Box<CallView>),
    /// Who is on the call, or who is with whom.
    #[serde(rename = "call.parties")]
    CallParties(Box<CallView>),
    #[serde(rename = "call.ended")]
    CallEnded(Box<CallView>),
    /// The records' answer came after the offer.
    #[serde(rename = "pop")]
    Pop { call_id: CallId, pop: Box<Pop> },
    #[serde(rename = "wrapup.started")]
    WrapupStarted(Box<CallView>),
    #[serde(rename = "wrapup.ended")]
    WrapupEnded { call_id: CallId, incomplete: bool },
    #[serde(rename = "system.drain")]
    Drain {},
    /// To a desk that came (back): all there is. Not a frame: the gateway makes frames of what its desk did not know.
    #[serde(skip)]
    #[ts(skip)]
    Standing(Box<Standing>),
}

/// How things stand for an agent. What is not in it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub agent: AgentView,
    pub offer: Option<Box<OfferCreated>>,
    /// The call that the agent talks on, or wraps up.
    pub call: Option<Box<CallView>>,
    pub draining: bool,
}
