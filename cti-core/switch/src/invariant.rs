//! What must hold between any two inputs (product.md, "What must hold, always"). The simulation asks after each.

use std::collections::BTreeMap;

use cti_base::Timestamp;

use crate::acd::agent::Task;
use crate::call::{Call, Floor, Role, Stage, Talking, Who};
use crate::callback::Step;
use crate::desk::{AgentState, Direction};
use crate::engine::{Engine, Party, TenantState};
use crate::limits::{PARTIES_MAX, RING_ALL_MAX, SUPERVISORS_MAX};
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
            self.check_agents(state)?;
            self.check_queues(now, state)?;
            self.check_trunks(state)?;
        }
        self.check_calls()?;
        self.callbacks.check()?;
        self.check_legs()?;
        self.check_timers()
    }

    /// One agent, one offer or call; both sides agree; who stands in a ready set may be offered calls.
    fn check_agents(&self, state: &TenantState) -> Result<(), String> {
        for (name, agent) in &state.agents {
            let expect = match &agent.task {
                Task::Idle => None,
                Task::Offer(id) => {
                    let offer = self.calls.get(id).and_then(|call| call.offer_to(name));
                    ensure!(offer.is_some(), "{name} is offered {id}, which does not know");
                    Some(AgentState::Offered)
                }
                Task::Talk(id) => {
                    let knows = self.leads(*id, name)
                        || self.calls.get(id).and_then(|call| call.guest_of(name)).is_some_and(|g| g.on().is_some());
                    ensure!(knows, "{name} talks on {id}, which does not know");
                    Some(AgentState::Talking)
                }
                Task::Join(id) => {
                    let guest = self.calls.get(id).and_then(|call| call.guest_of(name));
                    ensure!(guest.is_some_and(|g| g.on().is_none()), "{name} is to join {id}, which does not know");
                    Some(AgentState::Offered)
                }
                Task::Wrapup(_) => Some(AgentState::Wrapup),
            };
            let busy = matches!(agent.state, AgentState::Offered | AgentState::Talking | AgentState::Wrapup);
            ensure!(busy == expect.is_some(), "{name} is {:?} but {:?}", agent.state, agent.task);
            ensure!(expect.is_none_or(|expect| expect == agent.state), "{name}: {:?} in {:?}", agent.state, agent.task);
            let told = state.acd.offer_of(name);
            let knows = match &agent.task {
                Task::Offer(id) => told == Some(*id),
                Task::Idle | Task::Join(_) | Task::Talk(_) | Task::Wrapup(_) => told.is_none(),
            };
            ensure!(knows, "{name}: {:?}, but the ACD offers {told:?}", agent.task);
            ensure!(!state.acd.is_ready(name) || matches!(agent.task, Task::Idle), "{name} is busy but ready");
        }
        Ok(())
    }

    /// The ACD's own rules, no waiting call while an agent is free for it among them; who waits in it waits here, once.
    fn check_queues(&self, now: Timestamp, state: &TenantState) -> Result<(), String> {
        let id = &state.tenant.doc.tenant.id;
        state.acd.check_invariants(now).map_err(|broken| format!("{id}: {broken}"))?;
        let mut stand = 0;
        for name in state.queues.keys() {
            for id in state.acd.waiting_ids(name) {
                stand += 1;
                if self.callbacks.of_call(id).is_some_and(|pending| pending.step == Step::InLine) {
                    ensure!(!self.calls.contains_key(&id), "{id} stands in {name} without anybody and is under way");
                    continue;
                }
                let call = self.calls.get(&id).filter(|call| call.tenant == state.tenant.doc.tenant.id);
                let Some(waiting) = call.and_then(|call| call.waiting()) else {
                    return Err(format!("{id} stands in {name} but does not wait"));
                };
                ensure!(waiting.queue == *name, "{id} stands in {name} and waits in {}", waiting.queue);
                let told: Vec<_> = state.acd.offered_to(id).collect();
                let made: Vec<_> = waiting.offers.iter().map(|offer| &offer.agent).collect();
                ensure!(told == made, "{id} is offered to {made:?}, and to {told:?} by the ACD");
            }
        }
        let in_line =
            self.callbacks.iter().filter(|pending| pending.view.tenant == *id && pending.step == Step::InLine);
        let wait = self.calls.values().filter(|call| call.tenant == *id && stands_in_line(call)).count();
        let wait = wait + in_line.count();
        ensure!(stand == wait, "{wait} calls wait, {stand} stand in queues");
        Ok(())
    }

    fn check_trunks(&self, state: &TenantState) -> Result<(), String> {
        let id = &state.tenant.doc.tenant.id;
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for call in self.calls.values().filter(|call| call.tenant == *id) {
            *counts.entry(&call.trunk).or_default() += 1;
        }
        let outbound = |call: &&Call| call.tenant == *id && call.direction == Direction::Outbound;
        let mut outbound = self.calls.values().filter(outbound).count();
        for outside in self.calls.values().filter(|call| call.tenant == *id).flat_map(Call::outsiders) {
            *counts.entry(&outside.trunk).or_default() += 1;
            outbound += 1;
        }
        ensure!(state.outbound.calls as usize == outbound, "{} calls out, {outbound} known", state.outbound.calls);
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
                    let stands = state.acd.is_waiting(*id);
                    ensure!(stands != waiting.entering, "{id} waits in {}: stands there {stands}", waiting.queue);
                    ensure!(waiting.offers.len() <= RING_ALL_MAX, "{id} is offered to {} agents", waiting.offers.len());
                    for offer in &waiting.offers {
                        let agent = state.agents.get(&offer.agent);
                        let is_his =
                            agent.is_some_and(|agent| matches!(agent.task, Task::Offer(other) if other == *id));
                        ensure!(is_his, "{id} is offered to {}, who does not know", offer.agent);
                        ensure!(self.offers.get(&offer.id) == Some(id), "{id}'s offer is not found by its id");
                    }
                }
                Stage::Talking(talking) => {
                    let has_lead = talking.agent.is_some() != talking.outside.is_some();
                    ensure!(has_lead, "{id} is talked on by {:?} and {:?}", talking.agent, talking.outside);
                    if let Some(name) = &talking.agent {
                        let agent = state.agents.get(name);
                        let is_his = agent.is_some_and(|agent| matches!(agent.task, Task::Talk(other) if other == *id));
                        ensure!(is_his, "{id} is talked on by {name}, who does not know");
                    }
                    self.check_room(call, talking)?;
                    ensure!(!self.has_waiting_timer(*id), "{id} is talked on, yet a timer of its waiting runs");
                }
                Stage::Answering(_) | Stage::Menu(_) | Stage::Goodbye { .. } | Stage::Sent(_) | Stage::Voicemail(_) => {
                }
            }
            let (waits, counted) =
                (call.waiting().map(|w| &w.queue), call.tally.queue.as_ref().map(|entry| &entry.queue));
            ensure!(waits == counted, "{id} waits in {waits:?} and is counted in {counted:?}");
            ensure!(call.customer.session.is_some() || call.is_dialing(), "{id} lives without its caller");
            ensure!(!self.endings.contains_key(id), "{id} lives and is over");
        }
        let offers: usize = self.calls.values().map(|call| call.all_offers().count()).sum();
        ensure!(offers == self.offers.len(), "{} offers are known, {offers} are made", self.offers.len());
        Ok(())
    }

    /// Who was asked to join knows; at most one is consulted; nobody hears somebody who is not on the call.
    fn check_room(&self, call: &Call, talking: &Talking) -> Result<(), String> {
        let id = call.id;
        ensure!(talking.guests.len() < PARTIES_MAX + SUPERVISORS_MAX, "{id} has {} guests", talking.guests.len());
        let consulted = talking.guests.iter().filter(|guest| guest.role == Role::Consulted).count();
        ensure!(consulted <= 1, "{id} consults {consulted}");
        ensure!(consulted == 1 || talking.floor == Floor::Customer, "{id}: its agent is with nobody");
        for guest in &talking.guests {
            let Who::Agent(name) = &guest.who else { continue };
            let task = self.agent(&call.tenant, name).map(|agent| &agent.task);
            let knows = match guest.on() {
                Some(_) => matches!(task, Some(Task::Talk(other)) if *other == id),
                None => matches!(task, Some(Task::Join(other)) if *other == id),
            };
            ensure!(knows, "{name} is a guest of {id} and does not know");
        }
        let legs: Vec<_> = call.other_legs().iter().map(|leg| leg.id).chain([call.customer.id]).collect();
        for heard in talking.heard.values() {
            let gone = heard.from.iter().find(|leg| !legs.contains(leg));
            ensure!(gone.is_none(), "{id}: {gone:?} is heard and is not on it");
        }
        Ok(())
    }

    /// Sessions and legs of live calls are known, and every port in use is some leg's.
    fn check_legs(&self) -> Result<(), String> {
        let with_port = self.legs.values().filter(|leg| leg.port.is_some()).count();
        ensure!(self.ports.in_use() == with_port, "{} ports in use, {with_port} legs", self.ports.in_use());
        for (session, (id, party)) in &self.sessions {
            let Some(call) = self.calls.get(id) else { return Err(format!("{session:?} is of {id}, which is gone")) };
            let stands = match party {
                Party::Customer => call.customer.session == Some(*session),
                Party::Agent => call.other_legs().iter().any(|leg| leg.session == Some(*session)),
            };
            ensure!(stands, "{session:?} of {id} has no leg");
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
                Timer::Callback(id, _) => self.callbacks.get(*id).is_some(),
                Timer::Acd(tenant) | Timer::Probe(tenant, _) | Timer::Register(tenant, _) => {
                    self.tenants.contains_key(tenant)
                }
            };
            ensure!(lives, "{timer:?} is of nobody");
        }
        Ok(())
    }
}

/// Whether the caller waits and what the records know was not to be waited for first.
fn stands_in_line(call: &Call) -> bool {
    call.waiting().is_some_and(|waiting| !waiting.entering)
}
