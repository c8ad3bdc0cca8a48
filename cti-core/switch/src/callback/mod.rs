//! Callbacks: who is to be called back, when, and how far that is. The switch owns them; their history in SQL is folded from
//! facts.

mod asked;
mod pending;

use cti_base::{AgentName, CallId, CallbackId, Pii, QueueName, TenantId};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

pub(crate) use pending::{Callbacks, Past, Pending, Step};

/// A callback as everyone sees it. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct Callback {
    pub id: CallbackId,
    pub tenant: TenantId,
    pub queue: QueueName,
    /// The one agent whose it is; else it is the queue's.
    pub agent: Option<AgentName>,
    /// In E.164.
    #[ts(type = "string")]
    pub number: Pii<String>,
    pub customer_id: Option<String>,
    pub contact_id: Option<String>,
    pub source: CallbackSource,
    pub state: CallbackState,
    #[ts(type = "number")]
    pub requested_ms: u64,
    /// Not dialled before.
    #[ts(type = "number")]
    pub due_ms: u64,
    /// The place in the line counts from here, as if the caller had waited since.
    #[ts(type = "number")]
    pub place_ms: u64,
    /// How often it was dialled.
    pub attempts: u32,
    /// Why the last attempt came to nothing, or how it ended.
    pub last_cause: Option<String>,
    /// The call in which it was asked for.
    pub request_call: Option<CallId>,
    /// The call that it became, or is to become.
    pub call_id: Option<CallId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum CallbackSource {
    /// The waiting caller pressed the key.
    Keypad,
    /// Somebody who runs the centre, or a program, asked for it.
    Scheduled,
    /// An agent promised it.
    Agent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum CallbackState {
    /// For its time or its turn.
    Waiting,
    /// An agent is kept free for it.
    Reserved,
    Dialing,
    /// The customer answered.
    Done,
    Failed,
    Cancelled,
}

impl CallbackState {
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What is asked of the switch; answered by `Effect::CallbackAnswer`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum CallbackAsk {
    Schedule(Box<CallbackNew>),
    /// One that nobody is being dialled for.
    Cancel(CallbackId),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallbackNew {
    /// As people write it.
    pub number: Pii<String>,
    /// At least one of queue and agent; without a queue the first that the agent serves.
    pub queue: Option<QueueName>,
    pub agent: Option<AgentName>,
    /// UTC milliseconds; at once where it is not given.
    pub due_ms: Option<u64>,
    pub customer_id: Option<String>,
    pub contact_id: Option<String>,
    pub source: CallbackSource,
}

/// Why a callback is not taken, or not cancelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CallbackRefusal {
    NoQueue,
    NoAgent,
    /// No telephone number.
    NoNumber,
    /// None that may be dialled (`[tenant] outbound`).
    NotAllowed,
    /// `due_ms` is further away than `CALLBACK_AHEAD_MAX`.
    TooLate,
    /// The tenant has `CALLBACKS_MAX`.
    TooMany,
    /// This number waits for this queue's callback already.
    Duplicate(Box<Callback>),
    NotFound,
    /// It is being dialled.
    Running(Box<Callback>),
}
