use std::collections::BTreeMap;

use cti_base::{AgentName, CallId, LegId, NodeName, OfferId, Pii, QueueName, RecordingId, TenantId, Timestamp};
use cti_media::{Gap, LegStats, Recorded};
use serde::{Deserialize, Serialize};

use crate::callback::Callback;
use crate::desk::{AgentState, Direction, Listen};
use crate::trace::{Destination, TraceEntry};

/// One line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FactRecord {
    /// Strictly +1 within a node's journal.
    pub seq: u64,
    pub at: Timestamp,
    pub fact: Fact,
}

/// What has happened, for good. The journal holds them all; call history in SQL is folded from them and can be made anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Fact {
    CallStarted {
        tenant: TenantId,
        call: CallId,
        direction: Direction,
        trunk: Option<String>,
        from: Pii<String>,
        to: String,
    },
    NodeEntered {
        tenant: TenantId,
        call: CallId,
        node: NodeName,
    },
    Queued {
        tenant: TenantId,
        call: CallId,
        queue: QueueName,
        priority: i32,
        /// The queue that passed the call on to this one.
        #[serde(default)]
        from: Option<QueueName>,
    },
    /// The call is out of the queue: one for every `Queued`.
    QueueLeft {
        tenant: TenantId,
        call: CallId,
        queue: QueueName,
        /// Into this queue, UTC milliseconds.
        entered_ms: u64,
        how: QueueLeave,
        /// The queue's service level and its limit of a short abandon, as they are at this moment.
        target_ms: u64,
        short_ms: u64,
    },
    Offered {
        tenant: TenantId,
        call: CallId,
        offer: OfferId,
        agent: AgentName,
    },
    OfferEnded {
        tenant: TenantId,
        call: CallId,
        offer: OfferId,
        agent: AgentName,
        how: OfferEnd,
        /// When it was `Offered`, UTC milliseconds.
        #[serde(default)]
        offered_ms: Option<u64>,
    },
    Answered {
        tenant: TenantId,
        call: CallId,
        agent: AgentName,
    },
    Held {
        tenant: TenantId,
        call: CallId,
        held: bool,
        /// Who talks.
        #[serde(default)]
        agent: Option<AgentName>,
        /// Of the end of a hold: its begin, UTC milliseconds.
        #[serde(default)]
        since_ms: Option<u64>,
    },
    /// Caller and agent are no longer joined: one for every `Answered`. What the call's own record says of talk and hold.
    TalkEnded {
        tenant: TenantId,
        call: CallId,
        agent: AgentName,
        /// The queue that it was answered from, and when it entered that queue, UTC milliseconds.
        queue: Option<QueueName>,
        entered_ms: Option<u64>,
        answered_ms: u64,
        talk_ms: u64,
        hold_ms: u64,
        /// Since when it was held, where it was held at the end.
        held_since_ms: Option<u64>,
    },
    /// The agent has handed the call on, and is no longer on it.
    Transferred {
        tenant: TenantId,
        call: CallId,
        agent: AgentName,
        to: Destination,
    },
    /// A supervisor listens to the call in this way from here on; `None`: no longer. For the audit.
    Supervised {
        tenant: TenantId,
        call: CallId,
        supervisor: AgentName,
        /// Whose call it is.
        agent: Option<AgentName>,
        listen: Option<Listen>,
    },
    RecordingStarted {
        tenant: TenantId,
        call: CallId,
        recording: RecordingId,
    },
    RecordingEnded {
        tenant: TenantId,
        call: CallId,
        recording: RecordingId,
        result: Result<Recorded, String>,
        /// Where it holds silence because the program was down, oldest first.
        #[serde(default)]
        gaps: Vec<Gap>,
    },
    /// The whole call, as history shows it; `wrapup_ms` and a sealed recording may still follow.
    CallEnded {
        record: Box<CallRecord>,
    },
    WrapupEnded {
        tenant: TenantId,
        call: CallId,
        agent: AgentName,
        wrapup_ms: u64,
        disposition: Option<String>,
        /// As in `TalkEnded`.
        #[serde(default)]
        queue: Option<QueueName>,
        #[serde(default)]
        entered_ms: Option<u64>,
    },
    /// Asked for, or in other hands than before. These three hold the callback as it stands.
    CallbackRequested {
        callback: Box<Callback>,
    },
    /// An attempt begins, goes on or came to nothing.
    CallbackAttempt {
        callback: Box<Callback>,
    },
    CallbackEnded {
        callback: Box<Callback>,
    },
    /// A caller has left a message.
    VoicemailLeft {
        voicemail: Box<VoicemailRecord>,
    },
    AgentState {
        tenant: TenantId,
        agent: AgentName,
        state: AgentState,
        reason: Option<String>,
        /// The state that is over by this.
        #[serde(default)]
        was: Option<StateSpan>,
    },
    /// A decision about the call; `place` counts them from 0.
    Traced {
        tenant: TenantId,
        call: CallId,
        place: u32,
        entry: Box<TraceEntry>,
    },
}

impl Fact {
    pub const fn tenant(&self) -> &TenantId {
        match self {
            Self::CallStarted { tenant, .. }
            | Self::NodeEntered { tenant, .. }
            | Self::Queued { tenant, .. }
            | Self::QueueLeft { tenant, .. }
            | Self::Offered { tenant, .. }
            | Self::OfferEnded { tenant, .. }
            | Self::Answered { tenant, .. }
            | Self::Held { tenant, .. }
            | Self::TalkEnded { tenant, .. }
            | Self::Transferred { tenant, .. }
            | Self::Supervised { tenant, .. }
            | Self::RecordingStarted { tenant, .. }
            | Self::RecordingEnded { tenant, .. }
            | Self::WrapupEnded { tenant, .. }
            | Self::AgentState { tenant, .. }
            | Self::Traced { tenant, .. } => tenant,
            Self::CallEnded { record } => &record.tenant,
            Self::VoicemailLeft { voicemail } => &voicemail.tenant,
            Self::CallbackRequested { callback }
            | Self::CallbackAttempt { callback }
            | Self::CallbackEnded { callback } => &callback.tenant,
        }
    }
}

/// An agent's state from when (UTC milliseconds) until the fact that says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSpan {
    pub state: AgentState,
    pub reason: Option<String>,
    pub since_ms: u64,
}

/// How a call left a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QueueLeave {
    Answered {
        agent: AgentName,
    },
    /// The caller hung up; `ringing` while an agent was being offered the call.
    Abandoned {
        ringing: bool,
    },
    /// By a limit of the queue, whose word is `why`.
    Overflowed {
        why: String,
        to: Destination,
    },
    /// By the caller's wish.
    Moved {
        to: Destination,
    },
    /// With the whole call, in another way than an abandon.
    Ended {
        outcome: Outcome,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum OfferEnd {
    Accepted,
    Rejected,
    Timeout,
    /// The caller gave up or the call went elsewhere.
    Withdrawn,
    /// The phone could not be reached or refused.
    Failed,
}

/// How a call ended: exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Answered,
    AbandonedIvr,
    AbandonedQueue,
    AbandonedRinging,
    /// Left its queue by a limit and reached no agent.
    Overflowed,
    Voicemail,
    Callback,
    Rejected,
    Failed,
    Interrupted,
    CompletedIvr,
    NoAnswer,
    Busy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum LegRole {
    Customer,
    Agent,
    /// A number that was dialled to be asked, or to have the call.
    Outside,
    Supervisor,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LegRecord {
    pub id: LegId,
    pub role: LegRole,
    pub agent: Option<AgentName>,
    pub started_ms: u64,
    pub answered_ms: Option<u64>,
    pub ended_ms: u64,
    /// The SIP status or cause it ended with.
    pub cause: String,
    pub codec: Option<cti_media::Codec>,
    pub stats: Option<LegStats>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    Ivr,
    Queue,
    Ringing,
    Talk,
    Hold,
    Wrapup,
    /// With an outside number that a queue's limit or an agent sent the caller to: dialled, then talked with.
    Outside,
    Voicemail,
}

/// A message that a caller left, as it was when they had left it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VoicemailRecord {
    /// The call in which it was left; a call has one at most.
    pub call: CallId,
    pub tenant: TenantId,
    pub queue: QueueName,
    pub recording: RecordingId,
    /// The caller's.
    pub number: Pii<String>,
    /// The one customer that matched, if exactly one did.
    pub customer_id: Option<String>,
    /// UTC milliseconds.
    pub received_ms: u64,
    /// Where in the recording it begins, and how long it is.
    pub from_ms: u64,
    pub length_ms: u64,
}

/// A stretch of a call: where it was, with whom, from when to when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SegmentRecord {
    pub kind: SegmentKind,
    pub queue: Option<QueueName>,
    pub agent: Option<AgentName>,
    pub started_ms: u64,
    pub ended_ms: u64,
}

/// A call as history holds it (contract.md, "A call"). Times are UTC milliseconds, lengths milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    pub id: CallId,
    pub tenant: TenantId,
    pub direction: Direction,
    pub outcome: Outcome,
    /// A SIP status and word, or the limit that ended it: `486 busy`, `max_wait`, `caller_hangup`, `agent_hangup`. Of an
    /// overflowed call always the limit, also where the caller did not hear goodbye to its end.
    pub cause: String,
    pub from: Pii<String>,
    pub to: String,
    pub trunk: Option<String>,
    pub ivr_path: Vec<NodeName>,
    pub queue: Option<QueueName>,
    pub agent: Option<AgentName>,
    /// The one customer that matched, if exactly one did.
    pub customer_id: Option<String>,
    pub started_ms: u64,
    pub queued_ms: Option<u64>,
    /// The first offer.
    pub offered_ms: Option<u64>,
    pub answered_ms: Option<u64>,
    pub ended_ms: u64,
    /// Queued to answered, or to the end.
    pub wait_ms: u64,
    pub ring_ms: u64,
    /// Without hold.
    pub talk_ms: u64,
    pub hold_ms: u64,
    pub legs: Vec<LegRecord>,
    pub segments: Vec<SegmentRecord>,
    pub recording: Option<RecordingId>,
    pub disposition: Option<String>,
    pub vars: BTreeMap<String, String>,
}
