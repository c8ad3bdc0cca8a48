//! The state as it is written down: names in place of numbers, and nothing that follows from the rest or from the rules.

use std::collections::VecDeque;

use cti_base::{AgentName, CallId, QueueName, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::acd::Acd;
use crate::entry::{Activity, Decision, Entry};
use crate::estimate::{Forecast, Told};
use crate::lending::Window;
use crate::state::Counts;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Saved {
    pub queues: Vec<SavedQueue>,
    pub agents: Vec<SavedAgent>,
    pub waiters: Vec<SavedWaiter>,
    pub lending_due: Option<Timestamp>,
    pub pending: VecDeque<Decision>,
    pub seq: u64,
    pub offers: u64,
    pub random: u64,
    pub closed: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SavedQueue {
    pub name: QueueName,
    #[serde(default)]
    pub forecast: Forecast,
    #[serde(default)]
    pub window: Window,
    #[serde(default)]
    pub lot_floor: i64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SavedAgent {
    pub name: AgentName,
    pub activity: Activity,
    pub offerable: bool,
    pub idle_since: Timestamp,
    #[serde(default)]
    pub counts: Counts,
    #[serde(default)]
    pub offered: Vec<(QueueName, u64)>,
    #[serde(default)]
    pub draw: u64,
    #[serde(default)]
    pub lots: Vec<(QueueName, i64)>,
    #[serde(default)]
    pub occupancy_milli: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SavedWaiter {
    pub id: CallId,
    pub entry: Entry,
    pub seq: u64,
    pub offers: Vec<AgentName>,
    pub tried: Vec<(AgentName, Timestamp)>,
    pub paused_until: Option<Timestamp>,
    pub limited: bool,
    pub sticky: Option<AgentName>,
    pub steps: u32,
    pub estimate_at: Option<Timestamp>,
    #[serde(default)]
    pub told: Option<Told>,
    pub due: Option<Timestamp>,
}

impl Acd {
    pub(crate) fn save(&self) -> Saved {
        let queue_name = |ix| self.queues[ix].name.clone();
        let agent_name = |ix| self.agents[ix].name.clone();
        let queues = self.queue_ix.values().map(|ix| {
            let queue = &self.queues[*ix];
            SavedQueue {
                name: queue.name.clone(),
                forecast: queue.forecast,
                window: queue.window.clone(),
                lot_floor: queue.lot_floor,
            }
        });
        let agents = self.agent_ix.values().map(|ix| {
            let agent = &self.agents[*ix];
            SavedAgent {
                name: agent.name.clone(),
                activity: agent.activity,
                offerable: agent.offerable,
                idle_since: agent.idle_since,
                counts: agent.counts,
                offered: agent.offered.iter().map(|(queue, number)| (queue_name(*queue), *number)).collect(),
                draw: agent.draw,
                lots: agent.lots.iter().map(|(queue, lot)| (queue_name(*queue), *lot)).collect(),
                occupancy_milli: agent.occupancy_milli,
            }
        });
        let waiters = self.waiters.iter().map(|(_, waiter)| SavedWaiter {
            id: waiter.id,
            entry: waiter.entry.clone(),
            seq: waiter.place.seq(),
            offers: waiter.offers.iter().map(|agent| agent_name(*agent)).collect(),
            tried: waiter.tried.iter().map(|(agent, until)| (agent_name(*agent), *until)).collect(),
            paused_until: waiter.paused_until,
            limited: waiter.limited,
            sticky: waiter.sticky.map(agent_name),
            steps: waiter.steps,
            estimate_at: waiter.estimate_at,
            told: waiter.told,
            due: waiter.due,
        });
        let mut waiters: Vec<SavedWaiter> = waiters.collect();
        waiters.sort_unstable_by_key(|waiter| waiter.seq);
        Saved {
            queues: queues.collect(),
            agents: agents.collect(),
            waiters,
            lending_due: self.lending_due,
            pending: self.pending.clone(),
            seq: self.seq,
            offers: self.offers,
            random: self.random,
            closed: self.closed,
        }
    }
}

impl Serialize for Acd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.save().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Acd {
    /// Without rules: [`Acd::configure`] comes next, with those that it had.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Saved::deserialize(deserializer).map(|saved| Self::build(saved, std::sync::Arc::default(), false))
    }
}
