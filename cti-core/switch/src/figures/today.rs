use std::collections::BTreeMap;

use chrono_tz::Tz;
use cti_base::{AgentName, QueueName, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AgentFigures, CallFigures, QueueFigures, Sink, StateTimes, fold};
use crate::desk::AgentState;
use crate::fact::Fact;
use crate::hours::day_of;

/// One tenant's figures since local midnight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Today {
    /// Midnight and the next one, UTC milliseconds.
    from_ms: u64,
    to_ms: u64,
    queues: BTreeMap<QueueName, QueueFigures>,
    agents: BTreeMap<AgentName, AgentToday>,
    calls: CallFigures,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentToday {
    pub figures: AgentFigures,
    /// Of the states that are over.
    pub times: StateTimes,
}

impl Today {
    /// Takes in a fact of this tenant's.
    pub fn take(&mut self, now: Timestamp, zone: Tz, fact: &Fact) {
        if now.as_millis() >= self.to_ms {
            self.begin(now, zone);
        }
        fold(now, fact, self);
    }

    /// The time zone may be another one: the day is looked at again.
    pub fn zone_changed(&mut self, now: Timestamp, zone: Tz) {
        self.begin(now, zone);
    }

    pub fn forget_queue(&mut self, queue: &QueueName) {
        self.queues.remove(queue);
    }

    pub fn forget_agent(&mut self, agent: &AgentName) {
        self.agents.remove(agent);
    }

    /// All zero where nothing has happened since midnight.
    pub fn queue(&self, now: Timestamp, queue: &QueueName) -> QueueFigures {
        self.queues.get(queue).filter(|_| self.is_on(now)).copied().unwrap_or_default()
    }

    pub fn agent(&self, now: Timestamp, agent: &AgentName) -> AgentToday {
        self.agents.get(agent).filter(|_| self.is_on(now)).cloned().unwrap_or_default()
    }

    pub fn calls(&self, now: Timestamp) -> CallFigures {
        if self.is_on(now) { self.calls } else { CallFigures::default() }
    }

    /// Midnight, UTC milliseconds; 0 before the first fact.
    pub const fn from_ms(&self) -> u64 {
        self.from_ms
    }

    const fn is_on(&self, now: Timestamp) -> bool {
        now.as_millis() < self.to_ms
    }

    fn begin(&mut self, now: Timestamp, zone: Tz) {
        let (from_ms, to_ms) = day_of(now, zone);
        if from_ms == self.from_ms {
            self.to_ms = to_ms;
        } else {
            *self = Self { from_ms, to_ms, ..Self::default() };
        }
    }
}

impl Sink for Today {
    fn queue(&mut self, _: &TenantId, queue: &QueueName, start_ms: u64, add: &QueueFigures) {
        if start_ms < self.from_ms {
            return;
        }
        match self.queues.get_mut(queue) {
            Some(figures) => figures.add(add),
            None => {
                self.queues.insert(queue.clone(), *add);
            }
        }
    }

    fn agent(&mut self, _: &TenantId, agent: &AgentName, start_ms: u64, add: &AgentFigures) {
        if start_ms >= self.from_ms {
            self.agents.entry(agent.clone()).or_default().figures.add(add);
        }
    }

    fn state(&mut self, _: &TenantId, agent: &AgentName, start_ms: u64, state: (AgentState, Option<&str>), ms: u64) {
        if start_ms >= self.from_ms {
            self.agents.entry(agent.clone()).or_default().times.add(state, ms);
        }
    }

    fn calls(&mut self, _: &TenantId, start_ms: u64, add: &CallFigures) {
        if start_ms >= self.from_ms {
            self.calls.add(add);
        }
    }
}
