//! What must hold between any two inputs (product.md, "What must hold, always"). The simulation asks after each.

use std::collections::{BTreeMap, BTreeSet};

use cti_base::{CallId, Timestamp};

use crate::acd::agent::Task;
use crate::call::Stage;
use crate::desk::AgentState;
use crate::engine::{Engine, Party, TenantState};
use crate::timer::Timer;

macro_rules! ensure {
    ($what:expr, $($text:tt)*) => {
        if !$what {
            return Err(format!($($text)*));
        }
    };
}

/// What the switch holds for calls. Nothing when no call is left and the last transactions are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub calls: usize,
    /// Records that wait for their legs' counts.
    pub endings: usize,
    pub offers: usize,
    pub sessions: usize,
    pub legs: usize,
    pub ports: usize,
    pub recordings: usize,
    pub sip_sessions: usize,
    pub sip_transactions: usize,
}

impl Held {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Engine {
    pub fn held(&self) -> Held {
        Held {
            calls: self.calls.len(),
            endings: self.endings.len(),
            offers: self.offers.len(),
            sessions: self.sessions.len(),
            legs: self.legs.len(),
            ports: self.ports.in_use(),
            recordings: self.recordings.len(),
            sip_sessions: self.endpoint.sessions(),
            sip_transactions: self.endpoint.transactions(),
        }
    }

    /// The first rule that is broken at `now`, by name and case.
    pub fn check_invariants(&self, now: Timestamp) -> Result<(), String> {
        for state in self.tenants.values() {
            self.check_agents(now, state)?;
            self.check_queues(now, state)?;
            self.check_trunks(state)?;
        }
        self.check_calls()?;
        self.check_legs()?;
        self.check_timers()
    }

    /// One agent, one offer or call; both sides agree; who stands in a ready set may be offered calls.
    fn check_agents(&self, now: Timestamp, state: &TenantState) -> Result<(), String> {
        for (name, agent) in &state.agents {
            let expect = match &agent.task {
                Task::Idle => None,
                Task::Offer(id) => {
                    let offer = self.calls.get(id).and_then(|call| call.offer());
                    ensure!(offer.is_some_and(|o| o.agent == *name), "{name} is offered {id}, which does not know");
                    Some(AgentState::Offered)
                }
                Task::Talk(id) => {
                    let talking = self.calls.get(id).and_then(|call| call.talking());
                    ensure!(talking.is_some_and(|t| t.agent == *name), "{name} talks on {id}, which does not know");
                    Some(AgentState::Talking)
                }
                Task::Wrapup(_) => Some(AgentState::Wrapup),
            };
            let busy = matches!(agent.state, AgentState::Offered | AgentState::Talking | AgentState::Wrapup);
            ensure!(busy == expect.is_some(), "{name} is {:?} but {:?}", agent.state, agent.task);
            ensure!(expect.is_none_or(|expect| expect == agent.state), "{name}: {:?} in {:?}", agent.state, agent.task);
            ensure!(
                agent.indexed == agent.is_offerable(now).then_some(agent.idle_since)
                    || agent.state == AgentState::Ready,
                "{name}: ready set {:?}, state {:?}",
                agent.indexed,
                agent.state
            );
        }
        Ok(())
    }

    /// No waiting call while an agent is free for it; each waiting call is in its queue, at its place, once.
    fn check_queues(&self, now: Timestamp, state: &TenantState) -> Result<(), String> {
        for (name, queue) in &state.queues {
            for (place, id) in queue.waiting() {
                let waiting = self.calls.get(&id).and_then(|call| call.waiting());
                let Some(waiting) = waiting else { return Err(format!("{id} stands in {name} but does not wait")) };
                ensure!(waiting.queue == *name && waiting.place == place, "{id} stands in {name} at a foreign place");
            }
            let free: BTreeSet<CallId> = queue.unmatched().map(|(_, id)| id).collect();
            for (_, id) in queue.waiting() {
                let offered = self.calls.get(&id).is_some_and(|call| call.offer().is_some());
                ensure!(offered != free.contains(&id), "{id} in {name}: offered {offered}, yet the set differs");
            }
            for (since, agent) in &queue.ready {
                let agent = state.agents.get(agent).ok_or_else(|| format!("{agent} is ready in {name} but is gone"))?;
                ensure!(agent.indexed == Some(*since), "{} stands in {name} at a foreign place", agent.decl.name);
                ensure!(agent.decl.queues.contains(name), "{} does not serve {name}", agent.decl.name);
                ensure!(matches!(agent.task, Task::Idle), "{} is busy but ready in {name}", agent.decl.name);
            }
            for (_, id) in queue.unmatched() {
                let Some(waiting) = self.calls.get(&id).and_then(|call| call.waiting()) else { continue };
                let free = state.agent_for(now, waiting);
                // A pause that ends in this very moment has its timer due.
                let pausing = waiting.skip.as_ref().is_some_and(|(name, _)| free.as_ref() == Some(name));
                ensure!(free.is_none() || pausing, "{id} waits in {name} while {free:?} is free");
            }
        }
        Ok(())
    }

    fn check_trunks(&self, state: &TenantState) -> Result<(), String> {
        let id = &state.tenant.doc.tenant.id;
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for call in self.calls.values().filter(|call| call.tenant == *id) {
            *counts.entry(&call.trunk).or_default() += 1;
        }
        for (trunk, used) in &state.trunks {
            let calls = counts.get(trunk.as_str()).copied().unwrap_or_default();
            ensure!(used.calls == calls, "trunk {trunk} counts {} calls and has {calls}", used.calls);
        }
        Ok(())
    }

    fn check_calls(&self) -> Result<(), String> {
        for (id, call) in &self.calls {
            let Some(state) = self.tenants.get(&call.tenant) else { return Err(format!("{id} has no tenant")) };
            match &call.stage {
                Stage::Waiting(waiting) => {
                    let stands = state.queues.get(&waiting.queue).is_some_and(|queue| {
                        queue.waiting().any(|(place, other)| place == waiting.place && other == *id)
                    });
                    ensure!(stands, "{id} waits in {} but does not stand there", waiting.queue);
                    if let Some(offer) = &waiting.offer {
                        let agent = state.agents.get(&offer.agent);
                        let is_his =
                            agent.is_some_and(|agent| matches!(agent.task, Task::Offer(other) if other == *id));
                        ensure!(is_his, "{id} is offered to {}, who does not know", offer.agent);
                        ensure!(self.offers.get(&offer.id) == Some(id), "{id}'s offer is not found by its id");
                    }
                }
                Stage::Talking(talking) => {
                    let agent = state.agents.get(&talking.agent);
                    let is_his = agent.is_some_and(|agent| matches!(agent.task, Task::Talk(other) if other == *id));
                    ensure!(is_his, "{id} is talked on by {}, who does not know", talking.agent);
                    ensure!(!self.has_waiting_timer(*id), "{id} is talked on, yet a timer of its waiting runs");
                }
                Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } => {}
            }
            ensure!(call.customer.session.is_some(), "{id} lives without its caller");
            ensure!(!self.endings.contains_key(id), "{id} lives and is over");
        }
        let offers = self.calls.values().filter(|call| call.offer().is_some()).count();
        ensure!(offers == self.offers.len(), "{} offers are known, {offers} are made", self.offers.len());
        Ok(())
    }

    /// Sessions and legs of live calls are known, and every port in use is some leg's.
    fn check_legs(&self) -> Result<(), String> {
        ensure!(
            self.ports.in_use() == self.legs.len(),
            "{} ports in use, {} legs",
            self.ports.in_use(),
            self.legs.len()
        );
        for (session, (id, party)) in &self.sessions {
            let Some(call) = self.calls.get(id) else { return Err(format!("{session:?} is of {id}, which is gone")) };
            let leg = match (party, &call.stage) {
                (Party::Customer, _) => Some(&call.customer),
                (Party::Agent, Stage::Waiting(waiting)) => waiting.offer.as_ref().and_then(|offer| offer.leg.as_ref()),
                (Party::Agent, Stage::Talking(talking)) => Some(&talking.leg),
                (Party::Agent, Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. }) => None,
            };
            ensure!(leg.is_some_and(|leg| leg.session == Some(*session)), "{session:?} of {id} has no leg");
        }
        for (leg, open) in &self.legs {
            ensure!(open.closing || self.calls.contains_key(&open.call), "leg {leg} is open after its call");
        }
        Ok(())
    }

    fn check_timers(&self) -> Result<(), String> {
        let (due, keys) = self.timers.len();
        ensure!(due == keys, "{due} timers due, {keys} known");
        for timer in self.timers.iter() {
            let lives = match timer {
                Timer::Call(id, _) => self.calls.contains_key(id) || self.endings.contains_key(id),
                Timer::Agent(tenant, agent, _) => self.agent(tenant, agent).is_some(),
            };
            ensure!(lives, "{timer:?} is of nobody");
        }
        Ok(())
    }
}
