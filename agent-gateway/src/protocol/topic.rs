use cti_base::{AgentName, CallId, QueueName};
use cti_switch::live::{AgentLive, Alarm, CallLive, QueueLive};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Queues and agents of the tenant, on request its calls; its alarms.
    Live,
}

/// Which part of `live`; an absent list is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct LiveFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub queues: Option<Vec<QueueName>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub agents: Option<Vec<AgentName>>,
    /// Whether calls are wanted too; an agent gets only their own.
    #[serde(default)]
    #[ts(as = "Option<bool>", optional)]
    pub calls: bool,
}

/// No `seq`: a later frame stands for all before it. `rev` is +1 a frame of this socket's subscription; the first is 1 and full.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct TopicFrame {
    pub topic: Topic,
    pub rev: u32,
    pub d: LiveDelta,
}

/// At most twice a second what changed, at least every two seconds the time, so that a reader knows the figures' age.
#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
pub struct LiveDelta {
    #[ts(type = "number")]
    pub at_ms: u64,
    /// Whether `queues`, `agents` and `calls` are all there are; else only those that changed.
    pub full: bool,
    pub queues: Vec<QueueLive>,
    pub agents: Vec<AgentLive>,
    pub calls: Vec<CallLive>,
    pub gone_queues: Vec<QueueName>,
    pub gone_agents: Vec<AgentName>,
    pub gone_calls: Vec<CallId>,
    /// All there are, where they changed. Supervisors and administrators get them all, QA those of recordings, agents none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub alarms: Option<Vec<Alarm>>,
}
