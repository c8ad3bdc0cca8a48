//! The current state of a tenant, as everyone who may not ask the switch reads it: published, never queried.

use cti_base::{AgentName, CallId, QueueName};
use serde::Serialize;
use ts_rs::TS;

use crate::desk::{AgentState, CallState, Direction};

/// `GET /api/v1/live`. Times are UTC milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
pub struct Live {
    #[ts(type = "number")]
    pub at_ms: u64,
    pub queues: Vec<QueueLive>,
    pub agents: Vec<AgentLive>,
    pub calls: Vec<CallLive>,
    pub alarms: Vec<Alarm>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct QueueLive {
    pub name: QueueName,
    pub waiting: u32,
    #[ts(type = "number")]
    pub longest_wait_ms: u64,
    /// Since local midnight, as are the next three.
    pub offered: u32,
    pub answered: u32,
    pub abandoned: u32,
    /// Answered within the threshold / offered, 0 to 1; `None` before the first call: unknown is not 0.
    pub service_level: Option<f32>,
    pub agents_ready: u32,
    pub agents_staffed: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct AgentLive {
    pub name: AgentName,
    pub display: String,
    pub state: AgentState,
    pub reason: Option<String>,
    #[ts(type = "number")]
    pub since_ms: u64,
    pub call_id: Option<CallId>,
    /// `desk`, `phone` (registered or contact, no desk) or `none`.
    pub connection: String,
    /// `ok`, `none` or `unhealthy`.
    pub media: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct CallLive {
    pub id: CallId,
    pub state: CallState,
    pub direction: Direction,
    pub from: String,
    pub to: String,
    pub queue: Option<QueueName>,
    pub agent: Option<AgentName>,
    pub node: Option<String>,
    #[ts(type = "number")]
    pub started_ms: u64,
    /// In the present state.
    #[ts(type = "number")]
    pub since_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Alarm {
    pub code: String,
    pub message: String,
    #[ts(type = "number")]
    pub since_ms: u64,
}
