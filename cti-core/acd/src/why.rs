//! Why this agent: the choice as data, bounded.

use cti_base::{AgentName, QueueName};
use serde::{Deserialize, Serialize};

use crate::rules::Strategy;

/// What was decided upon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    pub strategy: Strategy,
    /// Whether a free agent was looked for, or a caller for an agent who became free.
    pub by: By,
    /// Which line the caller stood in.
    pub line: Line,
    /// What put the first of the agents first.
    pub key: Key,
    /// Agents of that line who could have been offered the call at this moment.
    pub ready: u32,
    /// Agents who have what the line requires, free or not.
    pub eligible: u32,
    /// Agents passed over, at most [`crate::limits::WHY_SKIPPED_MAX`].
    pub skipped: Vec<Skipped>,
    /// The caller's place; 1 is next.
    pub position: u32,
    pub waited_ms: u64,
    /// Priority, value and age, in thousandths of a point.
    pub points_milli: i64,
    /// Steps of the queue's `relax` in force.
    pub steps: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The caller came, or was free again, and found the agent.
    Caller,
    /// The agent became free and found the caller first in line.
    Agent,
}

/// Through what the agent and the caller came together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The caller's queue.
    Own,
    /// Another queue that is asked as well.
    Also(QueueName),
    /// Another queue lends its agents.
    Lent(QueueName),
    /// The preferred agent's.
    Sticky,
    Direct,
}

/// What the strategy looked at, of the agent chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    IdleMs(u64),
    /// Offers of all queues since this queue's last to the agent; `None`: it has made none.
    OffersAgo(Option<u64>),
    Calls(u32),
    TalkMs(u64),
    Rank(u32),
    /// The agent's lot; the lowest is drawn.
    Lot(i64),
    SkillLevels(u32),
    /// Thousandths of a point, relationship and idle time included.
    ScoreMilli(i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub agent: AgentName,
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Rings, talks or is in wrap-up.
    Busy,
    Break,
    Offline,
    NoSkill {
        skill: String,
        has: u8,
        needs: u8,
    },
    /// Asked just before, without success.
    Tried,
    /// Ready, but unreachable or with too many failed offers.
    Blocked,
    /// The agent's queue lends nobody at this moment.
    NotLent,
}
