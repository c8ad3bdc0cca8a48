//! What a caller brings into a line: their value class, the agent who knows them, the one they asked for.

use std::sync::Arc;

use cti_base::{AgentName, CallId, Timestamp};
use cti_switch::config::{Route, StickyBy, Tenant};
use cti_switch::desk::AgentState;

use super::Fairness;
use super::choice::{preferred, queue_of};
use crate::ledger::Ledger;
use crate::media::ensure;

impl Fairness {
    /// The caller came into their queue's line: what the records have said by now is what counts in it.
    pub fn lined_up(&self, now: Timestamp, ledger: &mut Ledger, call: CallId) -> Result<(), String> {
        let story = &ledger.calls[&call];
        let Some(tenant) = self.tenants.get(&story.tenant) else { return Ok(()) };
        let sticky = queue_of(tenant, ledger, call).and_then(|queue| queue.sticky);
        let known = story.known.clone();
        let prefer = known.as_ref().zip(sticky).and_then(|(known, sticky)| match sticky.by {
            StickyBy::LastAgent => known.last_agent.clone(),
            StickyBy::CaseOwner => known.owner.clone(),
        });
        let is_there = |name: &AgentName| {
            let state = ledger.agents.get(&(story.tenant.clone(), name.clone())).map(|day| day.state);
            state.is_some_and(|state| !matches!(state, AgentState::Offline | AgentState::Break))
        };
        let prefer = prefer.filter(is_there);
        if let Some(story) = ledger.calls.get_mut(&call) {
            (story.value, story.prefer) = (known.and_then(|known| known.value), prefer);
        }
        // Who is not to be had at first is not waited for later.
        if preferred(tenant, now, ledger, call).is_none()
            && let Some(story) = ledger.calls.get_mut(&call)
        {
            story.prefer = None;
        }
        Ok(())
    }

    /// The caller is said to wait for this agent alone: so the number that they dialled must say.
    pub fn alone(&self, ledger: &mut Ledger, call: CallId, agent: AgentName) -> Result<(), String> {
        let Some(story) = ledger.calls.get_mut(&call) else { return Ok(()) };
        let leads = |tenant: &Arc<Tenant>| {
            let number = tenant.doc.number.iter().find(|number| number.did == story.to);
            number.is_some_and(|number| number.route == Route::Agent(agent.clone()))
        };
        let known = self.recent.get(&story.tenant).is_some_and(|(recent, _)| recent.iter().any(leads));
        ensure(known, || format!("{call} waits for {agent} alone and never asked for them"))?;
        story.direct = Some(agent);
        Ok(())
    }
}
