//! One caller's way, step by step, with the reasons that the ACD gave.

use std::collections::BTreeMap;

use cti_acd::{LimitKind, Why};
use cti_base::{AgentName, QueueName};
use serde::Serialize;

/// What happened to the followed caller, in order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The caller's number.
    pub number: u64,
    pub steps: Vec<Traced>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Traced {
    /// Since the midnight before the first day.
    pub at_ms: u64,
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Arrived {
        queue: QueueName,
    },
    /// What the caller would be told.
    Waits {
        position: usize,
        wait_ms: u64,
        naive_ms: u64,
        estimator: String,
    },
    Offered {
        agents: Vec<AgentName>,
        queue: QueueName,
        why: Box<Why>,
    },
    Missed {
        agent: AgentName,
    },
    Relaxed {
        step: usize,
        over: bool,
        requires: BTreeMap<String, u8>,
        queues: Vec<QueueName>,
    },
    StickyOver {
        agent: AgentName,
    },
    /// `to`: `None` is out of the queues.
    PassedOn {
        why: LimitKind,
        to: Option<QueueName>,
    },
    Answered {
        agent: AgentName,
    },
    Abandoned,
}

/// Steps of one caller that are kept; further ones are dropped.
const STEPS_MAX: usize = 1_000;

impl Trace {
    pub(crate) const fn new(number: u64) -> Self {
        Self { number, steps: Vec::new() }
    }

    pub(crate) fn push(&mut self, at_ms: u64, event: Event) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(Traced { at_ms, event });
        }
    }
}
