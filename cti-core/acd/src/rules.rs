//! What the tenant has set: read, never changed here.

use std::collections::BTreeMap;

use cti_base::{AgentName, QueueName};
use serde::{Deserialize, Serialize};

/// A tenant's queues and agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    pub queues: BTreeMap<QueueName, QueueRules>,
    pub agents: BTreeMap<AgentName, AgentRules>,
}

/// Which of the free agents a caller is offered to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Whoever has been free longest.
    #[default]
    LongestIdle,
    /// Whoever this queue has not offered anything for longest.
    RoundRobin,
    /// The fewest calls since local midnight.
    LeastCalls,
    /// The least talk time since local midnight.
    LeastTalkTime,
    /// By the agents' rank, the lowest number first.
    TopDown,
    /// By lot, each with the agent's weight.
    Random,
    /// Several at once; the first to answer wins.
    RingAll,
    /// The highest sum of levels in the skills that the caller needs.
    BestSkill,
    /// The highest score, see [`ScoreWeights`].
    Scored,
}

/// What counts in [`Strategy::Scored`], in points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreWeights {
    /// For each level in a skill that the caller needs.
    pub skill: f64,
    /// For each minute without a call.
    pub idle: f64,
    /// For who knows the caller ([`crate::Entry::related`]).
    pub relationship: f64,
    /// For a whole day without work: × (1 − occupancy).
    pub occupancy: f64,
}

impl Default for ScoreWeights {
    fn default() -> Self {
        Self { skill: 10.0, idle: 1.0, relationship: 20.0, occupancy: 10.0 }
    }
}

/// Which of the waiting callers comes first. Points = priority + the caller's value + age × waited; more points first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrderRules {
    /// Points by the caller's value class.
    pub value_points: BTreeMap<String, i32>,
    /// Points for each second of waiting, in steps of 1/1000.
    pub age_points_per_s: f64,
    /// Among equal points of several queues: the one whose service level runs out first, in place of weight × waited.
    pub deadline: bool,
}

/// From `after_s` of waiting in the queue until `until_s`, less is required or more is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaxStep {
    pub after_s: u32,
    /// Levels that are enough now; 0 is not needed at all. A skill that is not required stays so.
    pub requires: BTreeMap<String, u8>,
    /// Skills that are not needed.
    pub drop: Vec<String>,
    /// Queues whose agents are asked as well.
    pub queues: Vec<QueueName>,
    /// When the step ends, counted like `after_s`.
    pub until_s: Option<u32>,
}

/// When a queue passes a caller on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverflowRule {
    /// After so many seconds in this queue.
    AfterS(u32),
    /// On entering, when so many are waiting.
    Waiting(u32),
    /// When the estimated wait is longer than so many seconds, on entering and later.
    EstimateS(u32),
    /// When nobody who could take the caller is signed in, on entering and later.
    NoStaff,
}

/// Answered within `seconds`: `percent` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLevel {
    pub seconds: u32,
    pub percent: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueRules {
    pub strategy: Strategy,
    pub weights: ScoreWeights,
    /// Added to each caller's own.
    pub priority: i32,
    /// Across queues, among equal points, the wait counts so many times.
    pub weight: f64,
    pub order: OrderRules,
    /// Skills and their least level.
    pub requires: BTreeMap<String, u8>,
    pub relax: Vec<RelaxStep>,
    /// The first that is true passes the caller on.
    pub overflow: Vec<OverflowRule>,
    pub max_wait_s: u32,
    pub max_waiting: u32,
    /// How long the preferred agent alone is asked; 0 is never.
    pub sticky_s: u32,
    /// How many ring at once under [`Strategy::RingAll`]; at most [`crate::limits::RING_ALL_MAX`].
    pub ring_all_max: u32,
    pub service_level: ServiceLevel,
    /// Queues whose agents may help out while nobody waits there and their service level holds.
    pub borrow: Vec<QueueName>,
}

impl Default for QueueRules {
    fn default() -> Self {
        Self {
            strategy: Strategy::LongestIdle,
            weights: ScoreWeights::default(),
            priority: 0,
            weight: 1.0,
            order: OrderRules::default(),
            requires: BTreeMap::new(),
            relax: Vec::new(),
            overflow: Vec::new(),
            max_wait_s: 3_600,
            max_waiting: 10_000,
            sticky_s: 0,
            ring_all_max: 20,
            service_level: ServiceLevel { seconds: 20, percent: 80 },
            borrow: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentRules {
    /// In the order in which they are declared.
    pub queues: Vec<QueueName>,
    pub skills: BTreeMap<String, u8>,
    /// The share under [`Strategy::Random`]; above 0.
    pub weight: f64,
    /// The place under [`Strategy::TopDown`]; among equals the longest idle.
    pub rank: u32,
}

impl Default for AgentRules {
    fn default() -> Self {
        Self { queues: Vec::new(), skills: BTreeMap::new(), weight: 1.0, rank: 0 }
    }
}
