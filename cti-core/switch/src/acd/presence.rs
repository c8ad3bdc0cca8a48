//! An agent's state: what the desk asks for, what comes after a call, what presence and registration make of it.

use cti_base::{AgentName, TenantId, Timestamp};

use super::agent::{Agent, Desk, Reach, Task};
use crate::desk::{AgentState, Event, Nack, NextState, Standing, WantedState};
use crate::engine::Engine;
use crate::fact::{Fact, OfferEnd, StateSpan};
use crate::input::Presence;
use crate::limits::{DESK_GRACE, NO_ANSWER_BREAK};
use crate::timer::{AgentTimer, Timer};

/// The reason of a break that the switch gave.
pub(crate) const NO_ANSWER: &str = "no answer";
/// The reason of being offline because the desk is gone.
pub(crate) const DISCONNECTED: &str = "disconnected";
/// The reason of being offline because the phone is not registered.
pub(crate) const UNREGISTERED: &str = "unregistered";

impl Engine {
    /// Puts the agent into a state and tells everyone. The place among the idle counts from going ready; an agent whose
    /// offer came to nothing keeps the old one.
    pub(crate) fn set_agent_state(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        name: &AgentName,
        state: AgentState,
        reason: Option<String>,
    ) {
        let Some(agent) = self.agent_mut(tenant, name) else { return };
        if agent.state == state && agent.reason == reason {
            self.reindex(now, tenant, name);
            return;
        }
        if state == AgentState::Ready && agent.state != AgentState::Offered {
            agent.idle_since = now;
        }
        let was = StateSpan { state: agent.state, reason: agent.reason.take(), since_ms: agent.since.as_millis() };
        agent.state = state;
        agent.reason.clone_from(&reason);
        agent.since = now;
        agent.ver += 1;
        let view = agent.view();
        self.reindex(now, tenant, name);
        let (tenant_id, agent) = (tenant.clone(), name.clone());
        self.fact(Fact::AgentState { tenant: tenant_id, agent, state, reason, was: Some(was) });
        self.desk(tenant, name, Event::AgentState(view));
    }

    /// The desk asks for a state: at once where the agent is free, else after the call.
    pub(crate) fn want_state(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        name: &AgentName,
        wanted: WantedState,
        reason: Option<String>,
    ) -> Result<(), Nack> {
        let Some(agent) = self.agent_mut(tenant, name) else {
            return Err(crate::commands::no_agent());
        };
        if !matches!(agent.task, Task::Idle) {
            // Ready is what comes by itself.
            agent.next = (wanted != WantedState::Ready).then_some(NextState { state: wanted, reason });
            agent.ver += 1;
            let view = agent.view();
            self.desk(tenant, name, Event::AgentNextState(view));
            return Ok(());
        }
        agent.missed = 0;
        self.timers.cancel(&Timer::Agent(tenant.clone(), name.clone(), AgentTimer::BreakOver));
        self.set_agent_state(now, tenant, name, wanted_state(wanted), reason);
        Ok(())
    }

    /// The agent is free of the call or offer: on to what was chosen, to ready, or away.
    pub(crate) fn settle(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        let Some(agent) = self.agent_mut(tenant, name) else { return };
        agent.task = Task::Idle;
        if agent.removed {
            self.remove_agent(now, tenant, name);
            return;
        }
        let (state, reason) = match agent.next.take() {
            Some(next) => (wanted_state(next.state), next.reason),
            None if !agent.is_present(now) => (AgentState::Offline, Some(DISCONNECTED.to_owned())),
            None if agent.decl.always_ready && !agent.is_reachable() => {
                (AgentState::Offline, Some(UNREGISTERED.to_owned()))
            }
            None => (AgentState::Ready, None),
        };
        self.set_agent_state(now, tenant, name, state, reason);
    }

    /// The offer was taken back through no fault of the agent's.
    pub(crate) fn agent_let_go(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        self.settle(now, tenant, name);
    }

    /// The offer failed at the agent: refused, not answered or not reachable. `misses_max` unanswered ones in a row are a
    /// break.
    pub(crate) fn agent_missed(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        name: &AgentName,
        how: OfferEnd,
        misses_max: u32,
    ) {
        let Some(agent) = self.agent_mut(tenant, name) else { return };
        agent.add_failed(now);
        match how {
            OfferEnd::Timeout | OfferEnd::Failed => agent.missed += 1,
            OfferEnd::Accepted | OfferEnd::Rejected | OfferEnd::Withdrawn => {}
        }
        if agent.missed < misses_max || agent.next.is_some() || agent.removed {
            self.settle(now, tenant, name);
            return;
        }
        agent.missed = 0;
        agent.task = Task::Idle;
        if agent.decl.always_ready {
            let timer = Timer::Agent(tenant.clone(), name.clone(), AgentTimer::BreakOver);
            self.timers.set(timer, now + NO_ANSWER_BREAK);
        }
        self.set_agent_state(now, tenant, name, AgentState::Break, Some(NO_ANSWER.to_owned()));
    }

    pub(crate) fn no_answer_break_over(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        let on_it = |agent: &Agent| agent.state == AgentState::Break && agent.reason.as_deref() == Some(NO_ANSWER);
        if self.agent(tenant, name).is_some_and(on_it) {
            self.settle(now, tenant, name);
        }
    }

    pub(crate) fn desk_presence(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName, presence: Presence) {
        let Some(agent) = self.agent_mut(tenant, name) else { return };
        let grace = Timer::Agent(tenant.clone(), name.clone(), AgentTimer::DeskGrace);
        match presence {
            Presence::Connected => {
                agent.desk = Desk::Connected;
                agent.next.take_if(|next| next.reason.as_deref() == Some(DISCONNECTED));
                self.timers.cancel(&grace);
                self.tell_desk_all(tenant, name);
            }
            Presence::Disconnected => {
                if agent.desk != Desk::Connected {
                    return;
                }
                agent.desk = Desk::Gone { since: now };
                self.timers.set(grace, now + DESK_GRACE);
            }
        }
        self.look_at_agent(now, tenant, name);
    }

    /// A desk that came (back) is told how things stand, in one word: nobody sees half of it.
    fn tell_desk_all(&mut self, tenant: &TenantId, name: &AgentName) {
        let Some(agent) = self.agent(tenant, name) else { return };
        let mut standing = Standing { agent: agent.view(), offer: None, call: None, draining: self.draining };
        match &agent.task {
            Task::Idle => {}
            Task::Offer(call) | Task::Join(call) => {
                standing.offer = self.calls.get(call).and_then(|call| call.frame(call.offer_to(name)?));
            }
            Task::Talk(call) => standing.call = self.view_for(*call, name).map(Box::new),
            Task::Wrapup(wrapup) => standing.call = Some(Box::new(wrapup.view.clone())),
        }
        self.desk(tenant, name, Event::Standing(Box::new(standing)));
    }

    /// The desk did not come back. A call in progress goes on; after it the agent is offline.
    pub(crate) fn desk_grace_over(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        let Some(agent) = self.agent(tenant, name).filter(|agent| agent.desk != Desk::Connected) else { return };
        if matches!(&agent.task, Task::Wrapup(wrapup) if wrapup.until.is_none()) {
            // Nobody is there to say that it is done.
            self.wrapup_over(now, tenant, name, None, true);
        }
        let Some(agent) = self.agent_mut(tenant, name).filter(|agent| !agent.decl.always_ready) else { return };
        if matches!(agent.task, Task::Idle) {
            if agent.state != AgentState::Offline {
                self.set_agent_state(now, tenant, name, AgentState::Offline, Some(DISCONNECTED.to_owned()));
            }
        } else if agent.next.is_none() {
            agent.next = Some(NextState { state: WantedState::Offline, reason: Some(DISCONNECTED.to_owned()) });
            agent.ver += 1;
        }
        self.changed();
    }

    /// A phone's registration came, was refreshed or went.
    pub(crate) fn registered(&mut self, now: Timestamp, tenant: &str, user: &str, contacts: usize) {
        let (tenant, name) = (TenantId::from(tenant), AgentName::from(user));
        let Some(agent) = self.agent_mut(&tenant, &name).filter(|agent| agent.is_sip()) else { return };
        let was_reachable = agent.is_reachable();
        agent.reach = Reach::Registered(contacts);
        if was_reachable == agent.is_reachable() {
            return;
        }
        self.phone_changed(now, &tenant, &name);
    }

    /// The phone can be rung, or can not any more: who needs no desk follows it.
    pub(crate) fn phone_changed(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        let Some(agent) = self.agent(tenant, name) else { return };
        if agent.decl.always_ready && matches!(agent.task, Task::Idle) {
            // Whoever chose to be offline at a desk stays so.
            let by_phone = agent.reason.as_deref() == Some(UNREGISTERED) || agent.desk == Desk::Never;
            match (agent.state, agent.is_reachable()) {
                (AgentState::Offline, true) if by_phone => {
                    self.set_agent_state(now, tenant, name, AgentState::Ready, None);
                }
                (AgentState::Ready, false) => {
                    let reason = Some(UNREGISTERED.to_owned());
                    self.set_agent_state(now, tenant, name, AgentState::Offline, reason);
                }
                _ => {}
            }
        }
        self.look_at_agent(now, tenant, name);
    }

    /// An agent who is no longer declared and is free.
    pub(crate) fn remove_agent(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName) {
        self.set_agent_state(now, tenant, name, AgentState::Offline, Some("removed".to_owned()));
        self.timers.cancel_agent(tenant, name);
        if let Some(state) = self.tenants.get_mut(tenant) {
            state.agents.remove(name);
            state.today.forget_agent(name);
        }
    }
}

const fn wanted_state(wanted: WantedState) -> AgentState {
    match wanted {
        WantedState::Ready => AgentState::Ready,
        WantedState::Break => AgentState::Break,
        WantedState::Offline => AgentState::Offline,
    }
}
