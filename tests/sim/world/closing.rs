//! The end: nothing may be left, and the sums must agree.

use std::collections::BTreeMap;

use cti_switch::desk::AgentState;

use super::{Outcome, World};
use crate::media::ensure;

impl World {
    pub(super) fn close(&mut self) -> Result<Outcome, String> {
        self.ledger.close()?;
        ensure(self.unanswered.is_empty(), || format!("commands that were never answered: {:?}", self.unanswered))?;
        ensure(self.asks.is_empty(), || format!("asks for callbacks that were never answered: {:?}", self.asks))?;
        self.fairness.callbacks.close()?;
        let Some(engine) = self.node.engine() else { return Err("the program is down in the end".into()) };
        let left = &self.workers.is.legs;
        ensure(left.is_empty(), || format!("a leg is left at the workers: {left:?}"))?;
        let left = &self.workers.is.recordings;
        ensure(left.is_empty(), || format!("a recording is left at the workers: {left:?}"))?;
        let held = engine.held();
        ensure(held.is_nothing(), || format!("something is left in the switch: {held:?}"))?;
        for ua in &self.uas {
            let sessions = ua.endpoint.sessions();
            ensure(sessions == 0, || format!("a dialog is left at {}: {sessions}, {:?}", ua.address, ua.calls))?;
        }
        self.check_live()?;
        self.figures.check()?;
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for story in self.ledger.calls.values() {
            if let Some(record) = &story.record {
                *outcomes.entry(format!("{:?}", record.outcome)).or_default() += 1;
            }
        }
        let calls = self.profile.callers.len();
        let offer_ends = self.ledger.offer_ends.clone();
        let callback_ends = self.fairness.callbacks.ends().map(|state| format!("{state:?}")).collect();
        let (inputs, digest, crashes) = (self.inputs, self.digest, self.crashes);
        Ok(Outcome { calls, inputs, digest, outcomes, offer_ends, callback_ends, crashes })
    }

    /// The live figures against the facts': the reports add up.
    pub(super) fn check_live(&self) -> Result<(), String> {
        for (tenant, live) in self.node.engine().map(|engine| engine.live(self.now)).into_iter().flatten() {
            ensure(live.calls.is_empty(), || format!("{} calls are left in live", live.calls.len()))?;
            for queue in &live.queues {
                ensure(queue.waiting == 0, || format!("{} are left waiting in {}", queue.waiting, queue.name))?;
                let counted =
                    self.ledger.queues.get(&(tenant.clone(), queue.name.clone())).copied().unwrap_or_default();
                let shown = (queue.offered, queue.answered, queue.abandoned);
                let is_whole = !(self.removed_queues && queue.name.as_str() == "vip");
                ensure(!is_whole || counted == shown, || {
                    format!("offered, answered, abandoned of {}: live {shown:?}, by the facts {counted:?}", queue.name)
                })?;
            }
            for agent in &live.agents {
                let day = self.ledger.agents.get(&(tenant.clone(), agent.name.clone()));
                let state = day.map_or(AgentState::Offline, |day| day.state);
                ensure(agent.state == state, || {
                    format!("{}: live {:?}, by the facts {state:?}", agent.name, agent.state)
                })?;
                ensure(agent.call_id.is_none(), || format!("{} is left with {:?}", agent.name, agent.call_id))?;
            }
        }
        Ok(())
    }
}
