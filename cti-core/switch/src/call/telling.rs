//! What a call's trace tells of its waiting.

use std::collections::BTreeMap;

use cti_acd::Staff;
use cti_base::{AgentName, CallId, Timestamp};

use crate::engine::Engine;
use crate::trace::TraceEntry;

impl Engine {
    /// The call has come into its queue, which had these agents, and is kept for `prefer` for a while.
    pub(crate) fn trace_entry(&mut self, now: Timestamp, id: CallId, staff: Staff, prefer: Option<AgentName>) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Some(waiting), Some(queue)) = (call.waiting(), self.queue_of(call)) else { return };
        let Some(acd) = self.acd_of(&call.tenant) else { return };
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let standing = acd.waiting(&waiting.queue);
        let estimate = acd.estimate(now, id);
        let alone = waiting.wish.agent.clone();
        let sticky_ms = queue.decl.sticky.map(|sticky| u64::from(sticky.s) * 1_000);
        let entry = TraceEntry::Entered {
            queue: waiting.queue.clone(),
            from: call.tally.queue.as_ref().and_then(|entry| entry.from.clone()),
            priority: queue.decl.priority.saturating_add(waiting.wish.priority),
            requires: merged(&queue.decl.requires, &waiting.wish.requires),
            position: count(acd.position(id).unwrap_or(standing)),
            waiting: count(standing),
            staffed: count(staff.staffed),
            ready: count(staff.ready),
            estimate_ms: estimate.map(|estimate| estimate.wait.as_millis() as u64),
            estimator: estimate.map(|estimate| estimate.estimator.to_owned()),
        };
        self.trace(now, id, entry);
        if let Some(agent) = alone {
            self.trace(now, id, TraceEntry::Preferred { agent, for_ms: None });
        } else if let (Some(agent), Some(for_ms)) = (prefer, sticky_ms) {
            self.trace(now, id, TraceEntry::Preferred { agent, for_ms: Some(for_ms) });
        }
    }
}

/// The greater of both levels for every skill that either asks for.
fn merged(queue: &BTreeMap<String, u8>, script: &BTreeMap<String, u8>) -> BTreeMap<String, u8> {
    let mut merged = queue.clone();
    for (skill, level) in script {
        let least = merged.entry(skill.clone()).or_insert(*level);
        *least = (*least).max(*level);
    }
    merged
}
