//! What others ask.

use cti_base::{AgentName, CallId, QueueName};

use crate::acd::Acd;
use crate::entry::{Activity, Staff};
use crate::slab::Ix;
use crate::state::{Requires, Waiter};

impl Acd {
    /// The caller's place in their line, those who are being offered included; 1 is next.
    pub fn position(&self, id: CallId) -> Option<usize> {
        self.waiter_ix.get(&id).map(|ix| self.position_of(*ix))
    }

    /// How many wait for the queue, those who are being offered and direct calls included.
    pub fn waiting(&self, queue: &QueueName) -> usize {
        self.queue_ix.get(queue).map_or(0, |ix| self.queues[*ix].line.len() + self.queues[*ix].direct.len())
    }

    /// Who waits for the queue in their order, direct calls last.
    pub fn waiting_ids(&self, queue: &QueueName) -> impl Iterator<Item = CallId> {
        let queue = self.queue_ix.get(queue).map(|ix| &self.queues[*ix]);
        let line = queue.into_iter().flat_map(|queue| queue.line.iter().chain(&queue.direct));
        line.map(|(_, waiter)| self.waiters[*waiter].id)
    }

    /// Who serves the queue.
    pub fn staff(&self, queue: &QueueName) -> Staff {
        self.queue_ix.get(queue).map_or(Staff::default(), |ix| {
            let queue = &self.queues[*ix];
            Staff { declared: queue.members.len(), staffed: queue.staffed, working: queue.working, ready: queue.ready }
        })
    }

    pub fn is_waiting(&self, id: CallId) -> bool {
        self.waiter_ix.contains_key(&id)
    }

    /// Agents who are being offered the caller.
    pub fn offered_to(&self, id: CallId) -> impl Iterator<Item = &AgentName> {
        let waiter = self.waiter_ix.get(&id).map(|ix| &self.waiters[*ix]);
        waiter.into_iter().flat_map(|waiter| &waiter.offers).map(|agent| &self.agents[*agent].name)
    }

    /// Whom the agent is being offered.
    pub fn offer_of(&self, agent: &AgentName) -> Option<CallId> {
        let agent = &self.agents[*self.agent_ix.get(agent)?];
        agent.offer.map(|waiter| self.waiters[waiter].id)
    }

    /// What is required of who takes the caller at this moment.
    pub fn requires(&self, id: CallId) -> Option<&Requires> {
        self.waiter_ix.get(&id).map(|ix| &*self.waiters[*ix].requires)
    }

    /// What the agent does, as last told; `None` for who is not known.
    pub fn activity(&self, agent: &AgentName) -> Option<Activity> {
        self.agent_ix.get(agent).map(|ix| self.agents[*ix].activity)
    }

    /// Whether the agent stands among the ready.
    pub fn is_ready(&self, agent: &AgentName) -> bool {
        self.agent_ix.get(agent).is_some_and(|ix| self.agents[*ix].is_ready)
    }

    pub(crate) fn position_of(&self, ix: Ix<Waiter>) -> usize {
        let waiter = &self.waiters[ix];
        match waiter.direct {
            None => self.queues[waiter.home].line.partition_point(|(place, _)| *place < waiter.place) + 1,
            Some(agent) => {
                self.direct_line(agent).filter(|other| self.waiters[*other].place < waiter.place).count() + 1
            }
        }
    }
}
