//! Between the switch and its ACD: what agents do goes in, and what it decides is carried out.
//!
//! A decision is made at every change that could make one possible, so nobody waits for a free agent. It is carried out
//! when what made it possible is done: calls and agents are whole by then.

use std::time::Duration;

use cti_acd::{Acd, Activity, Decision, ESTIMATOR, Left};
use cti_base::{AgentName, CallId, OfferId, QueueName, TenantId, Timestamp};

use super::agent::Task;
use crate::call::{Offer, OfferStep, Records};
use crate::desk::AgentState;
use crate::effect::Measure;
use crate::engine::{Engine, TenantState};
use crate::hours::local_day;
use crate::limits::{RECORDS_WAIT, RING_ALL_MAX};
use crate::timer::{AgentTimer, CallTimer, Timer};
use crate::trace::{Choice, TraceEntry};

impl Engine {
    /// Tells the ACD what the agent does at this moment, and whether they may be offered calls.
    pub(crate) fn reindex(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        let is_dialling = self.lines.values().any(|(of, by)| of == tenant && by == name);
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let Some(agent) = state.agents.get(name) else { return };
        let offerable = agent.is_offerable(now) && !is_dialling;
        let blocked = agent.blocked_until(now).filter(|_| agent.state == AgentState::Ready);
        state.acd.set_agent(now, name, activity(agent.state), offerable, agent.idle_since);
        if let Some(until) = blocked {
            self.timers.set(Timer::Agent(tenant.clone(), name.clone(), AgentTimer::Unblock), until);
        }
        self.acd_changed(tenant);
    }

    /// The agent's standing may have changed by itself.
    pub(crate) fn look_at_agent(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        self.reindex(now, tenant, name);
        self.changed();
    }

    /// The tenant's ACD, for a change: what it decides is carried out by [`Engine::run_acd`].
    pub(crate) fn acd_mut(&mut self, tenant: &TenantId) -> Option<&mut Acd> {
        self.acd_changed(tenant);
        self.tenants.get_mut(tenant).map(|state| &mut state.acd)
    }

    pub(crate) fn acd_of(&self, tenant: &TenantId) -> Option<&Acd> {
        self.tenants.get(tenant).map(|state| &state.acd)
    }

    fn acd_changed(&mut self, tenant: &TenantId) {
        if !self.acds_changed.contains(tenant) {
            self.acds_changed.push(tenant.clone());
        }
    }

    /// Limits and steps that are past, before anybody becomes free: who is passed on stands in their new queue by then.
    pub(crate) fn run_due_acds(&mut self, now: Timestamp) {
        for tenant in self.timers.due_acds(now) {
            self.acd_deadline(now, &tenant);
            self.run_acd(now);
        }
    }

    pub(crate) fn acd_deadline(&mut self, now: Timestamp, tenant: &TenantId) {
        if let Some(acd) = self.acd_mut(tenant) {
            acd.handle_deadline(now);
        }
    }

    /// The call waits for nobody any more.
    pub(crate) fn leave_acd(&mut self, now: Timestamp, id: CallId, how: Left) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(queue) = call.waiting().map(|waiting| waiting.queue.clone()) else { return };
        let tenant = call.tenant.clone();
        let Some(acd) = self.acd_mut(&tenant) else { return };
        let before = acd.estimate_error(&queue);
        acd.leave(now, id, how);
        let after = acd.estimate_error(&queue);
        if after.calls > before.calls {
            self.measure(Measure::EstimateError {
                estimator: ESTIMATOR,
                seconds: after.sum_s - before.sum_s,
                naive_s: after.naive_sum_s - before.naive_sum_s,
            });
        }
    }

    /// The agent's call and its wrap-up are over.
    pub(crate) fn add_handled(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        agent: &AgentName,
        queue: Option<&QueueName>,
        talked: Duration,
        wrapup: Duration,
    ) {
        self.acd_changed(tenant);
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        state.look_at_day(now);
        state.acd.add_handled(now, agent, queue, talked, wrapup);
    }

    /// Carries out whatever was decided since. What is decided meanwhile is carried out too: once is enough.
    pub(crate) fn run_acd(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.acd_runs, true) {
            return;
        }
        self.carry_out_decisions(now);
        self.acd_runs = false;
    }

    fn carry_out_decisions(&mut self, now: Timestamp) {
        loop {
            if let Some(tenant) = self.acds_changed.last().cloned() {
                match self.tenants.get_mut(&tenant).and_then(|state| state.acd.poll(now)) {
                    Some(decision) => self.carry_out_decision(now, decision),
                    None => {
                        self.acds_changed.pop();
                        self.set_acd_timer(tenant);
                    }
                }
            } else if let Some(id) = self.entered.pop_front() {
                self.welcome(now, id);
            } else {
                return;
            }
        }
    }

    fn set_acd_timer(&mut self, tenant: TenantId) {
        let due = self.tenants.get(&tenant).and_then(|state| state.acd.deadline());
        let timer = Timer::Acd(tenant);
        match due {
            Some(at) if self.timers.at(&timer) == Some(at) => {}
            Some(at) => self.timers.set(timer, at),
            None => self.timers.cancel(&timer),
        }
    }

    fn carry_out_decision(&mut self, now: Timestamp, decision: Decision) {
        match decision {
            Decision::Offer { id, agents, queue, why } => self.reserve(now, id, &agents, &queue, Choice::from(*why)),
            Decision::Limit { id, rule, why } => self.limit_reached(now, id, rule, why),
            Decision::Relaxed { id, step, over, requires, queues } => {
                let step = u32::try_from(step).unwrap_or(u32::MAX).saturating_add(1);
                self.trace(now, id, TraceEntry::Relaxed { step, over, requires, queues });
            }
            Decision::StickyOver { id, agent, why } => {
                self.trace(now, id, TraceEntry::PreferenceOver { agent, why: why.into() });
            }
        }
    }

    /// They belong together from here on. Several agents: the first to answer has the call. The customer of a callback is
    /// dialled, before the agent or after.
    fn reserve(&mut self, now: Timestamp, id: CallId, agents: &[AgentName], queue: &QueueName, mut choice: Choice) {
        // A callback's call is there from its turn on.
        if !self.calls.contains_key(&id) && !self.begin_attempt(now, id, agents) {
            return;
        }
        let dials_first = self.dials_first(id);
        let mut offers = Vec::with_capacity(agents.len());
        for agent in agents.iter().take(RING_ALL_MAX) {
            let offer = OfferId::new(now, &mut self.rng);
            self.offers.insert(offer, id);
            let mut made = Offer::new(now, offer, agent.clone());
            if dials_first {
                made.step = OfferStep::Dialing;
            }
            offers.push(made);
            let (agent, queue) = (agent.clone(), queue.clone());
            self.trace(now, id, TraceEntry::Offered { offer, agent, queue, choice: choice.clone() });
            // What was weighed is the first one's, and who was passed over is told once.
            choice.weighed.clear();
            choice.skipped.clear();
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        let is_dialed = call.customer.session.is_some();
        let Some(waiting) = call.waiting_mut() else { return };
        waiting.offers = offers;
        let Some(state) = self.tenants.get_mut(&tenant) else { return };
        for agent in agents {
            if let Some(agent) = state.agents.get_mut(agent) {
                agent.task = Task::Offer(id);
            }
        }
        for agent in agents {
            self.set_agent_state(now, &tenant, agent, AgentState::Offered, None);
        }
        match (dials_first, is_dialed) {
            (false, _) => self.offer_when_known(now, id),
            (true, false) => self.dial_customer(now, id),
            (true, true) => {}
        }
    }

    /// The offers go out when the records are known or have had their time.
    pub(crate) fn offer_when_known(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let asked = match call.records {
            Records::Asked(at) => Some(at),
            Records::Known(_) | Records::Unknown => None,
        };
        let paused = self.tenants.get(&call.tenant).is_some_and(|state| state.records_pause_until > now);
        let wait_until = asked.map(|at| at + RECORDS_WAIT).filter(|until| !paused && *until > now);
        match wait_until {
            Some(until) => self.timers.set(Timer::Call(id, CallTimer::RecordsWait), until),
            None if asked.is_some() => self.records_late(now, id),
            None => self.send_offers(now, id),
        }
    }
}

impl TenantState {
    /// What is counted by days begins anew at local midnight. The day's number.
    pub(crate) fn look_at_day(&mut self, now: Timestamp) -> i32 {
        let day = local_day(now, self.tenant.zone);
        if std::mem::replace(&mut self.day, day) != day {
            self.acd.new_day(now);
        }
        day
    }
}

const fn activity(state: AgentState) -> Activity {
    match state {
        AgentState::Offline => Activity::Offline,
        AgentState::Ready => Activity::Ready,
        AgentState::Offered => Activity::Offered,
        AgentState::Talking => Activity::Talking,
        AgentState::Wrapup => Activity::Wrapup,
        AgentState::Break => Activity::Break,
    }
}
