//! Who should have been offered whom: no caller waits while an agent who may have them is free, and nobody is passed over.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{AgentName, CallId, TenantId, Timestamp};
use cti_switch::config::Tenant;
use cti_switch::desk::AgentState;

use crate::ledger::{Agent, Ledger};
use crate::media::Workers;

/// product.md, statement 2.
const FREE_MAX: Duration = Duration::from_millis(200);
/// From the reservation to the frame: the records are waited for that long, and two groups of the journal are to be durable.
const RESERVED_MAX: Duration = Duration::from_millis(35 + 12);
/// A desk that is gone may still be offered calls for so long.
const DESK_GRACE: Duration = Duration::from_secs(25);

/// Where an agent's desk and phone are, as the world around the switch knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    pub desk: Option<Desk>,
    pub phone: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Desk {
    Connected,
    Gone(Timestamp),
}

#[derive(Default)]
pub struct Fairness {
    pub reach: BTreeMap<Agent, Reach>,
    pub tenants: BTreeMap<TenantId, std::sync::Arc<Tenant>>,
    /// Priorities that the switch was made to know nothing of.
    pub tampered: BTreeMap<CallId, i32>,
    /// Pairs that belong together and are not, and since when.
    free: BTreeMap<(CallId, Agent), Timestamp>,
    /// Who waited for an agent when the agent was reserved, and the number of that reservation.
    reserved: BTreeMap<Agent, (u64, Vec<CallId>)>,
    reservations: u64,
    /// Callers who were passed over unless they are reserved for someone themselves: until when that must show.
    passed: BTreeMap<CallId, (Timestamp, String)>,
}

impl Fairness {
    /// The program died: nobody is served until another takes up, and what was under way is begun anew.
    pub fn forget(&mut self) {
        self.free.clear();
        self.passed.clear();
    }

    /// Before anything happens at `now`: what has been true until now.
    pub fn before(&mut self, now: Timestamp, ledger: &Ledger, workers: &Workers) -> Result<(), String> {
        for ((call, (_, agent)), since) in &self.free {
            let length = now.since(*since);
            if length > FREE_MAX {
                let text =
                    format!("no call waits while an agent is free: {call} waits and {agent} is free for {length:?}");
                // The world is asked anew: time alone may have ended it.
                if self.may_have(now, ledger, workers, call, agent) {
                    return Err(text);
                }
            }
        }
        // Their end was told of first, and their legs were closed after.
        self.passed.retain(|call, _| !workers.is_closed(*call) && !workers.goodbyes.contains(call));
        let late = self.passed.iter().find(|(_, (until, _))| *until < now).map(|(call, _)| *call);
        if let Some(call) = late {
            let (_, text) = self.passed.remove(&call).expect("just found");
            return Err(text);
        }
        Ok(())
    }

    /// After each input: which pairs belong together.
    pub fn after(&mut self, now: Timestamp, ledger: &Ledger, workers: &Workers) {
        let ready: Vec<&Agent> =
            ledger.agents.iter().filter(|(_, day)| day.state == AgentState::Ready).map(|(agent, _)| agent).collect();
        if ready.is_empty() || ledger.waiting.is_empty() {
            self.free.clear();
            return;
        }
        let mut free = BTreeMap::new();
        for call in &ledger.waiting {
            for agent in &ready {
                if ledger.calls[call].tenant == agent.0 && self.may_have(now, ledger, workers, call, &agent.1) {
                    let key = (*call, (*agent).clone());
                    let since = self.free.get(&key).copied().unwrap_or(now);
                    free.insert(key, since);
                }
            }
        }
        self.free = free;
    }

    /// The agent goes from ready to offered: some caller was chosen, who is told soon.
    pub fn reserved(&mut self, now: Timestamp, ledger: &Ledger, workers: &Workers, agent: &Agent) {
        let waiting = ledger
            .waiting
            .iter()
            .filter(|call| ledger.calls[call].tenant == agent.0 && self.fits(now, ledger, workers, call, &agent.1));
        let waiting: Vec<CallId> = waiting.copied().collect();
        self.reservations += 1;
        self.reserved.insert(agent.clone(), (self.reservations, waiting));
    }

    /// The caller is told: everyone who came before them must be someone else's. Whoever is offered to an agent reserved
    /// earlier was theirs when this one was reserved, though that offer may be over again by the time this one is told.
    pub fn offered(&mut self, now: Timestamp, ledger: &Ledger, call: CallId, agent: &Agent) {
        self.passed.remove(&call);
        let rank = self.rank(ledger, call);
        let Some((reservation, waiting)) = self.reserved.remove(agent) else { return };
        for (_, others) in self.reserved.values_mut().filter(|(later, _)| *later > reservation) {
            others.retain(|other| *other != call);
        }
        for earlier in waiting {
            let waits = ledger.waiting.contains(&earlier);
            if waits && earlier != call && self.rank(ledger, earlier) < rank {
                let text = format!("first come, first served: {} is offered {call} before {earlier}", agent.1);
                self.passed.entry(earlier).or_insert((now + RESERVED_MAX, text));
            }
        }
    }

    /// The caller is over, offered, or elsewhere.
    pub fn gone(&mut self, call: CallId) {
        self.passed.remove(&call);
    }

    /// By priority, which a new declaration may have changed, and then by when they came into their first queue.
    fn rank(&self, ledger: &Ledger, call: CallId) -> (i32, Timestamp) {
        let story = &ledger.calls[&call];
        let tenant = self.tenants.get(&story.tenant);
        let queue = tenant.and_then(|t| t.doc.queue.iter().find(|q| Some(&q.name) == story.queue.as_ref()));
        let declared = queue.map_or(0, |queue| queue.priority);
        (-(declared + self.tampered.get(&call).copied().unwrap_or(0)), story.since())
    }

    fn may_have(&self, now: Timestamp, ledger: &Ledger, workers: &Workers, call: &CallId, agent: &AgentName) -> bool {
        let key = (ledger.calls[call].tenant.clone(), agent.clone());
        let Some(day) = ledger.agents.get(&key) else { return false };
        let Some(tenant) = self.tenants.get(&key.0) else { return false };
        let Some(decl) = tenant.doc.agent.iter().find(|a| a.name == *agent) else { return false };
        let reach = self.reach.get(&key).copied().unwrap_or_default();
        let at_desk = match reach.desk {
            Some(Desk::Connected) => true,
            Some(Desk::Gone(since)) => now.since(since) < DESK_GRACE,
            None => false,
        };
        day.state == AgentState::Ready
            && reach.phone
            && (decl.always_ready || at_desk)
            && !day.is_blocked(now)
            && self.fits(now, ledger, workers, call, agent)
    }

    /// Whether the agent serves the caller's queue with the skills for it, and the caller still waits.
    fn fits(&self, now: Timestamp, ledger: &Ledger, workers: &Workers, call: &CallId, agent: &AgentName) -> bool {
        let story = &ledger.calls[call];
        let (Some(tenant), Some(queue)) = (self.tenants.get(&story.tenant), &story.queue) else { return false };
        let Some(decl) = tenant.doc.agent.iter().find(|a| a.name == *agent) else { return false };
        let Some(queue) = tenant.doc.queue.iter().find(|q| q.name == *queue) else { return false };
        let skilled = queue.requires.iter().all(|(skill, least)| decl.skills.get(skill).is_some_and(|l| l >= least));
        let skipped = story.skipped.get(agent).is_some_and(|until| *until > now);
        skilled
            && !skipped
            && story.paused_until <= now
            && decl.queues.contains(&queue.name)
            && !workers.is_closed(*call)
            && !workers.goodbyes.contains(call)
    }
}
