//! The time after a call: its countdown, its extensions, its end.

use std::time::Duration;

use cti_base::{AgentName, CallId, QueueName, TenantId, Timestamp};

use super::agent::{Desk, Task, Wrapup};
use crate::commands::{bad_frame, no_agent, not_yours, wrong_state};
use crate::config::WrapupMode;
use crate::desk::{AgentState, CallView, Event, Nack};
use crate::engine::Engine;
use crate::limits::{WRAPUP_EXTENSION_MIN, WRAPUP_EXTENSIONS_MAX};
use crate::timer::{AgentTimer, Timer};

impl Engine {
    /// The agent's call is over: wrap-up as long as the queue gives, or none. `talked` is with hold.
    pub(crate) fn start_wrapup(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        name: &AgentName,
        queue: Option<QueueName>,
        mut view: CallView,
        talked: Duration,
    ) {
        let decl = queue.as_ref().and_then(|queue| self.queue_decl(tenant, queue.as_str()));
        let (mode, length_s) = decl.map_or((WrapupMode::None, 0), |decl| (decl.wrapup, decl.wrapup_s));
        // Who has no desk can not say that they are done.
        let has_desk = self.agent(tenant, name).is_some_and(|agent| agent.desk == Desk::Connected);
        let until = match mode {
            WrapupMode::UntilDone if has_desk => None,
            WrapupMode::UntilDone | WrapupMode::Fixed => Some(now + Duration::from_secs(u64::from(length_s))),
            WrapupMode::None => Some(now),
        };
        if until == Some(now) {
            self.add_handled(now, tenant, name, queue.as_ref(), talked, Duration::ZERO);
            self.wrapup_fact(tenant, view.call_id, name, Duration::ZERO, None);
            self.settle(now, tenant, name);
            return;
        }
        view.wrapup_until_ms = until.map(Timestamp::as_millis);
        view.ver += 1;
        let Some(agent) = self.agent_mut(tenant, name) else { return };
        let wrapup = Wrapup { view: view.clone(), queue, started: now, until, extensions: 0, talked };
        agent.task = Task::Wrapup(Box::new(wrapup));
        if let Some(until) = until {
            self.timers.set(Timer::Agent(tenant.clone(), name.clone(), AgentTimer::Wrapup), until);
        }
        self.set_agent_state(now, tenant, name, AgentState::Wrapup, None);
        self.desk(tenant, name, Event::WrapupStarted(Box::new(view)));
    }

    pub(crate) fn extend_wrapup(&mut self, tenant: &TenantId, name: &AgentName, call: CallId) -> Result<(), Nack> {
        let Some(Task::Wrapup(wrapup)) = self.agent(tenant, name).map(|agent| &agent.task) else {
            return Err(wrong_state("There is no wrap-up to extend."));
        };
        if wrapup.view.call_id != call {
            return Err(not_yours("This call's wrap-up is over."));
        }
        let Some(until) = wrapup.until else {
            return Err(wrong_state("This wrap-up lasts until you finish it."));
        };
        if wrapup.extensions >= WRAPUP_EXTENSIONS_MAX {
            return Err(wrong_state("The wrap-up was extended as often as may be: finish it."));
        }
        let decl = wrapup.queue.as_ref().and_then(|queue| self.queue_decl(tenant, queue.as_str()));
        let more = Duration::from_secs(decl.map_or(0, |decl| u64::from(decl.wrapup_s))).max(WRAPUP_EXTENSION_MIN);
        let Some(agent) = self.agent_mut(tenant, name) else { return Err(no_agent()) };
        let Task::Wrapup(wrapup) = &mut agent.task else { return Ok(()) };
        wrapup.extensions += 1;
        let until = until + more;
        wrapup.until = Some(until);
        wrapup.view.wrapup_until_ms = Some(until.as_millis());
        wrapup.view.ver += 1;
        let view = wrapup.view.clone();
        self.timers.set(Timer::Agent(tenant.clone(), name.clone(), AgentTimer::Wrapup), until);
        self.desk(tenant, name, Event::WrapupStarted(Box::new(view)));
        Ok(())
    }

    pub(crate) fn finish_wrapup(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        name: &AgentName,
        call: CallId,
        disposition: Option<String>,
    ) -> Result<(), Nack> {
        let Some(Task::Wrapup(wrapup)) = self.agent(tenant, name).map(|agent| &agent.task) else {
            return Err(wrong_state("There is no wrap-up to finish."));
        };
        if wrapup.view.call_id != call {
            return Err(not_yours("This call's wrap-up is over."));
        }
        if let (Some(chosen), Some(state)) = (&disposition, self.tenants.get(tenant)) {
            let known = &state.tenant.doc.tenant.dispositions;
            if !known.contains(chosen) {
                return Err(bad_frame(format!(
                    "There is no disposition `{chosen}`: choose one of {}.",
                    known.join(", ")
                )));
            }
        }
        self.wrapup_over(now, tenant, name, disposition, false);
        Ok(())
    }

    /// Finished by the agent, or by its countdown: then it is incomplete.
    pub(crate) fn wrapup_over(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        name: &AgentName,
        disposition: Option<String>,
        incomplete: bool,
    ) {
        let Some(agent) = self.agent_mut(tenant, name) else { return };
        let Task::Wrapup(wrapup) = std::mem::replace(&mut agent.task, Task::Idle) else { return };
        self.timers.cancel(&Timer::Agent(tenant.clone(), name.clone(), AgentTimer::Wrapup));
        let (call_id, length) = (wrapup.view.call_id, now.since(wrapup.started));
        self.add_handled(now, tenant, name, wrapup.queue.as_ref(), wrapup.talked, length);
        self.wrapup_fact(tenant, call_id, name, length, disposition);
        self.desk(tenant, name, Event::WrapupEnded { call_id, incomplete });
        self.settle(now, tenant, name);
    }
}
