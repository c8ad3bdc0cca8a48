//! What comes in and what goes out.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{AgentName, CallId, QueueName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::why::Why;

/// A caller's wish, as they enter a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub queue: QueueName,
    /// The place in the line, for life: when they first entered any queue.
    pub since: Timestamp,
    /// When they entered this queue: what its limits and steps count from.
    pub entered: Timestamp,
    /// Who came first within a microsecond.
    pub order: u64,
    /// The script's, added to the queue's.
    pub priority: i32,
    /// The script's, beside the queue's: the higher level of both is required.
    pub requires: BTreeMap<String, u8>,
    /// The caller's value class.
    pub value: Option<String>,
    /// Queues whose agents are asked from the beginning, beside `queue`'s.
    pub also: Vec<QueueName>,
    /// The agent who is asked alone at first, for the queue's `sticky_s`.
    pub prefer: Option<AgentName>,
    /// Agents who know the caller, for [`crate::Strategy::Scored`].
    pub related: Vec<AgentName>,
    /// The only agent who may take the call, whatever queues and skills they have.
    pub direct: Option<AgentName>,
    /// Nobody is on the line: the customer is dialled when the turn comes. Such an entry is passed on by no limit, and one
    /// agent at a time is kept free for it, under [`crate::Strategy::RingAll`] too.
    #[serde(default)]
    pub callback: bool,
    /// What the limits count from where that is later than `entered`: [`crate::Acd::on_the_line`].
    #[serde(default)]
    pub limits_from: Option<Timestamp>,
    /// Overflow rules that are none for this caller, because they led nowhere: bit n is rule n.
    #[serde(default)]
    pub spent: u32,
    /// They stood in this line before, and come back to their place: it is not too long for them.
    #[serde(default)]
    pub stood: bool,
}

impl Entry {
    pub fn new(queue: QueueName, since: Timestamp, entered: Timestamp, order: u64) -> Self {
        Self {
            queue,
            since,
            entered,
            order,
            priority: 0,
            requires: BTreeMap::new(),
            value: None,
            also: Vec::new(),
            prefer: None,
            related: Vec::new(),
            direct: None,
            callback: false,
            limits_from: None,
            spent: 0,
            stood: false,
        }
    }
}

/// What became of who wanted to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// They wait; [`crate::Acd::poll`] may already hold an offer.
    Waiting,
    /// They do not wait: the queue's rule of that number passes them on (`None`: the queue is full, or who comes back has
    /// waited for long enough).
    Overflow {
        rule: Option<usize>,
        why: LimitKind,
    },
    NoSuchQueue,
    /// The agent of a direct call is not declared.
    NoSuchAgent,
}

/// How a caller leaves the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The agent has answered; other phones that ring for the caller are over.
    Answered { agent: AgentName },
    /// The caller hung up.
    Abandoned,
    /// On to somewhere else.
    Moved,
}

/// What an agent does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    #[default]
    Offline,
    Break,
    Ready,
    Offered,
    Talking,
    Wrapup,
}

impl Activity {
    /// Signed in.
    pub fn is_staffed(self) -> bool {
        self != Self::Offline
    }

    /// Signed in and not on a break.
    pub fn is_working(self) -> bool {
        !matches!(self, Self::Offline | Self::Break)
    }
}

/// What is to be done. It is carried out inside already: the agents are reserved, the caller is matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Decision {
    /// Ring these agents for the caller: one, or several of whom the first to answer wins.
    Offer { id: CallId, agents: Vec<AgentName>, queue: QueueName, why: Box<Why> },
    /// The queue passes the caller on: its rule of that number, or none of them (`max_wait_s`, the queue is gone). They are
    /// offered to nobody any more and stand there until [`crate::Acd::leave`].
    Limit { id: CallId, rule: Option<usize>, why: LimitKind },
    /// A step began or, with `over`, ended; what is required and which queues are asked from here on.
    Relaxed { id: CallId, step: usize, over: bool, requires: BTreeMap<String, u8>, queues: Vec<QueueName> },
    /// The preferred agent is no longer waited for.
    StickyOver { id: CallId, agent: AgentName, why: StickyEnd },
}

/// Why a queue passes a caller on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    After,
    Waiting,
    Estimate,
    NoStaff,
    /// `max_waiting` is reached.
    Full,
    MaxWait,
    /// The queue, or the agent of a direct call, is no longer declared.
    Gone,
}

/// Why the preferred agent is no longer waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyEnd {
    /// Offline, on a break, not declared, or without the queue or a skill that the caller needs.
    Away,
    /// The time is over.
    Time,
    /// The agent was asked and did not take the call.
    Missed,
}

/// How long a caller will probably wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub wait: Duration,
    /// 1 is next.
    pub position: usize,
    /// Position × handling time / working agents, for comparison.
    pub naive: Duration,
    pub estimator: &'static str,
}

/// Who serves a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Staff {
    pub declared: usize,
    /// Not offline.
    pub staffed: usize,
    /// Neither offline nor on a break.
    pub working: usize,
    /// May be offered a call at once.
    pub ready: usize,
}
