//! Who gets whom. A match is made at every change that could make one possible, so nobody waits for a free agent.

use std::time::Duration;

use cti_base::{AgentName, CallId, TenantId, Timestamp};

use super::agent::{Agent, Task};
use crate::call::{Offer, OfferStep, Records, Waiting};
use crate::desk::AgentState;
use crate::engine::{Engine, TenantState};
use crate::limits::RECORDS_WAIT;
use crate::timer::{AgentTimer, CallTimer, Timer};

impl TenantState {
    /// The longest idle agent who may be offered this waiting call.
    pub(crate) fn agent_for(&self, now: Timestamp, waiting: &Waiting) -> Option<AgentName> {
        let ready = &self.queues.get(&waiting.queue)?.ready;
        let fits = |name: &&AgentName| self.agents.get(*name).is_some_and(|agent| may_take(now, agent, waiting));
        ready.iter().map(|(_, name)| name).find(fits).cloned()
    }
}

/// Whether this agent, who is offerable and serves the queue, may be offered this call.
fn may_take(now: Timestamp, agent: &Agent, waiting: &Waiting) -> bool {
    let skipped = waiting.skip.as_ref().is_some_and(|(name, until)| *name == agent.decl.name && *until > now);
    !skipped && waiting.paused_until <= now && agent.has_skills(&waiting.requires)
}

impl Engine {
    /// Offers a waiting call to the longest idle agent who may have it.
    pub(crate) fn match_call(&mut self, now: Timestamp, id: CallId) -> bool {
        let Some(call) = self.calls.get(&id).filter(|_| !self.closing) else { return false };
        let Some(waiting) = call.waiting().filter(|waiting| waiting.offer.is_none()) else { return false };
        let agent = self.tenants.get(&call.tenant).and_then(|state| state.agent_for(now, waiting));
        match agent {
            Some(agent) => {
                self.reserve(now, id, &agent);
                true
            }
            None => {
                let skipped_until = waiting.skip.as_ref().map(|(_, until)| *until);
                let again =
                    [Some(waiting.paused_until), skipped_until].into_iter().flatten().filter(|at| *at > now).min();
                if let Some(at) = again {
                    self.timers.set(Timer::Call(id, CallTimer::Rematch), at);
                }
                false
            }
        }
    }

    /// Offers a free agent the first caller, by priority and then by waiting time, over all queues they serve.
    pub(crate) fn match_agent(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        let Some(state) = self.tenants.get(tenant).filter(|_| !self.closing) else { return };
        let Some(agent) = state.agents.get(name).filter(|agent| agent.indexed.is_some()) else { return };
        let first_of = |queue: &cti_base::QueueName| {
            state.queues.get(queue)?.unmatched().find(|(_, id)| {
                self.calls.get(id).and_then(|call| call.waiting()).is_some_and(|waiting| may_take(now, agent, waiting))
            })
        };
        if let Some((_, id)) = agent.decl.queues.iter().filter_map(first_of).min() {
            self.reserve(now, id, name);
        }
    }

    /// After a change of the tenant's file: every waiting caller anew, first come first.
    pub(crate) fn match_all(&mut self, now: Timestamp, tenant: &TenantId) {
        let Some(state) = self.tenants.get(tenant) else { return };
        let mut all: Vec<_> = state.queues.values().flat_map(|queue| queue.unmatched()).collect();
        all.sort_unstable();
        for (_, id) in all {
            self.match_call(now, id);
        }
    }

    /// The pair belongs together from here on; the offer goes out when the records are known or have had their time.
    fn reserve(&mut self, now: Timestamp, id: CallId, name: &AgentName) {
        let offer_id = cti_base::OfferId::new(now, &mut self.rng);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        let asked = match call.records {
            Records::Asked(at) => Some(at),
            Records::Known(_) | Records::Unknown => None,
        };
        let Some(waiting) = call.waiting_mut() else { return };
        waiting.offer = Some(Offer {
            id: offer_id,
            agent: name.clone(),
            step: OfferStep::Records,
            shown: None,
            ringing_since: now,
            leg: None,
            rings: false,
            accepted: false,
            accept: None,
        });
        let (queue, place) = (waiting.queue.clone(), waiting.place);
        self.offers.insert(offer_id, id);
        let Some(state) = self.tenants.get_mut(&tenant) else { return };
        if let Some(queue) = state.queues.get_mut(&queue) {
            queue.set_matched(place, true);
        }
        let paused = state.records_pause_until > now;
        if let Some(agent) = state.agents.get_mut(name) {
            agent.task = Task::Offer(id);
        }
        self.timers.cancel(&Timer::Call(id, CallTimer::Rematch));
        self.set_agent_state(now, &tenant, name, AgentState::Offered, None);
        let wait_until = asked.map(|at| at + RECORDS_WAIT).filter(|until| !paused && *until > now);
        match wait_until {
            Some(until) => self.timers.set(Timer::Call(id, CallTimer::RecordsWait), until),
            None if asked.is_some() => self.records_late(now, id),
            None => self.send_offer(now, id),
        }
    }

    /// Puts the agent into, or takes them out of, the ready sets of their queues, as the rules say at this moment.
    pub(crate) fn reindex(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let Some(agent) = state.agents.get_mut(name) else { return };
        let wanted = agent.is_offerable(now).then_some(agent.idle_since);
        if let Some(since) = agent.indexed {
            if wanted == Some(since) {
                return;
            }
            for queue in state.queues.values_mut() {
                queue.ready.remove(&(since, name.clone()));
            }
        }
        agent.indexed = wanted;
        if let Some(since) = wanted {
            for queue in &agent.decl.queues {
                if let Some(queue) = state.queues.get_mut(queue) {
                    queue.ready.insert((since, name.clone()));
                }
            }
        } else if agent.state == AgentState::Ready
            && let Some(until) = agent.blocked_until(now)
        {
            self.timers.set(Timer::Agent(tenant.clone(), name.clone(), AgentTimer::Unblock), until);
        }
    }

    pub(crate) fn reindex_and_match(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        self.reindex(now, tenant, name);
        self.match_agent(now, tenant, name);
        self.changed();
    }
}

/// Kept for the estimate of a call that has ended: talk, hold and wrap-up.
pub(crate) const fn handled(talked: Duration, wrapup: Duration) -> Duration {
    talked.saturating_add(wrapup)
}
