use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cti_base::{AgentName, CallId, QueueName, Timestamp};

use crate::class::Classes;
use crate::entry::{Activity, Decision, Entered, Entry, Left};
use crate::limits::{RELATED_MAX, SAME_AGENT_PAUSE, TRIED_MAX};
use crate::rank::Place;
use crate::rules::Rules;
use crate::slab::{Ix, Slab};
use crate::state::{Agent, Queue, Waiter};

/// One tenant's ACD.
#[derive(Default)]
pub struct Acd {
    pub(crate) rules: Arc<Rules>,
    /// Whether the rules are there: not yet, just after reading back.
    pub(crate) configured: bool,
    pub(crate) queues: Slab<Queue>,
    pub(crate) queue_ix: BTreeMap<QueueName, Ix<Queue>>,
    pub(crate) agents: Slab<Agent>,
    pub(crate) agent_ix: BTreeMap<AgentName, Ix<Agent>>,
    pub(crate) waiters: Slab<Waiter>,
    pub(crate) waiter_ix: BTreeMap<CallId, Ix<Waiter>>,
    pub(crate) classes: Classes,
    pub(crate) due: BTreeSet<(Timestamp, u64, Ix<Waiter>)>,
    /// When lenders are asked anew, while anybody waits for lent agents.
    pub(crate) lending_due: Option<Timestamp>,
    /// Lenders who may have become able to lend.
    pub(crate) lenders: Vec<Ix<Queue>>,
    pub(crate) pending: VecDeque<Decision>,
    /// Callers so far, and offers.
    pub(crate) seq: u64,
    pub(crate) offers: u64,
    /// Of [`crate::Strategy::Random`].
    pub(crate) random: u64,
    pub(crate) closed: bool,
}

impl Acd {
    pub fn new() -> Self {
        Self::default()
    }

    /// With draws of its own.
    pub fn with_seed(seed: u64) -> Self {
        Self { random: seed, ..Self::default() }
    }

    /// A caller enters a queue. Who waits already moves there.
    pub fn enter(&mut self, now: Timestamp, id: CallId, entry: Entry) -> Entered {
        self.run_due(now);
        // Nobody is lent away between the one line and the other.
        self.part(now, id, &Left::Moved);
        let entered = self.stand_anew(now, id, entry);
        self.settle(now);
        entered
    }

    fn stand_anew(&mut self, now: Timestamp, id: CallId, mut entry: Entry) -> Entered {
        let home = self.queue_ix.get(&entry.queue).copied().filter(|ix| self.queues[*ix].declared);
        let Some(home) = home else { return Entered::NoSuchQueue };
        let direct = match &entry.direct {
            Some(name) => match self.agent_ix.get(name).copied().filter(|ix| self.agents[*ix].declared) {
                Some(ix) => Some(ix),
                None => return Entered::NoSuchAgent,
            },
            None => None,
        };
        entry.related.truncate(RELATED_MAX);
        entry.also.truncate(crate::limits::ALSO_QUEUES_MAX);
        self.seq += 1;
        let queue = &self.queues[home];
        let place = Place::new(&queue.rules, &queue.slope, &entry, self.seq);
        let ix = self.waiters.insert(Waiter {
            id,
            entry,
            home,
            direct,
            place,
            offers: Vec::new(),
            tried: Vec::new(),
            paused_until: None,
            limited: false,
            sticky: None,
            steps: 0,
            estimate_at: None,
            told: None,
            due: None,
            requires: queue.requires.clone(),
            classes: Vec::new(),
            stands: false,
        });
        self.waiter_ix.insert(id, ix);
        self.begin_steps(now, ix);
        self.begin_sticky(now, ix);
        self.join_classes(ix);
        if let Some((rule, why)) = self.limit_on_entry(now, ix) {
            self.forget(ix);
            return Entered::Overflow { rule, why };
        }
        self.stand_in_line(ix);
        if !self.match_waiter(now, ix) {
            self.stand(now, ix);
        }
        self.foretell(now, ix);
        self.plan_due(now, ix);
        Entered::Waiting
    }

    /// The caller leaves; who was ringing for them is free of the offer, but not ready before [`Acd::set_agent`] says so.
    pub fn leave(&mut self, now: Timestamp, id: CallId, how: Left) {
        self.run_due(now);
        self.part(now, id, &how);
        self.settle(now);
    }

    /// Out of the line.
    fn part(&mut self, now: Timestamp, id: CallId, how: &Left) {
        let Some(ix) = self.waiter_ix.get(&id).copied() else { return };
        // Agents who were not told of their offer are ready as if it had not been.
        let is_untold = |decision: &Decision| matches!(decision, Decision::Offer { id: of, .. } if *of == id);
        let untold = self.pending.iter().any(is_untold);
        self.pending.retain(|decision| match decision {
            Decision::Offer { id: of, .. } | Decision::Limit { id: of, .. } => *of != id,
            Decision::Relaxed { .. } | Decision::StickyOver { .. } => true,
        });
        let released = std::mem::take(&mut self.waiters[ix].offers);
        for agent in &released {
            self.agents[*agent].offer = None;
        }
        if let Left::Answered { agent } = how
            && let Some(agent) = self.agent_ix.get(agent).copied()
        {
            self.change_activity(now, agent, Activity::Talking);
        }
        self.count_left(now, ix, how);
        self.learn_from_leaving(now, ix, how);
        self.leave_line(ix);
        self.forget(ix);
        for agent in released {
            if untold {
                self.change_activity(now, agent, Activity::Ready);
                self.agents[agent].offerable = true;
            }
            self.ready_if_free(now, agent);
        }
    }

    /// Nobody is offered the caller before.
    pub fn pause(&mut self, now: Timestamp, id: CallId, until: Timestamp) {
        self.run_due(now);
        let Some(ix) = self.waiter_ix.get(&id).copied() else { return };
        if until <= now {
            return;
        }
        self.unstand(ix);
        self.waiters[ix].paused_until = Some(until);
        self.plan_due(now, ix);
        self.settle(now);
    }

    /// The customer of a callback has answered: from here on they wait like any other caller, and the limits count.
    pub fn on_the_line(&mut self, now: Timestamp, id: CallId) {
        self.run_due(now);
        let Some(ix) = self.waiter_ix.get(&id).copied() else { return };
        let entry = &mut self.waiters[ix].entry;
        if std::mem::take(&mut entry.callback) {
            entry.limits_from = Some(now);
            self.plan_due(now, ix);
        }
    }

    /// The agent is not offered the caller any more; the caller waits again when nobody else is. The agent is ready again
    /// when [`Acd::set_agent`] says so.
    pub fn offer_ended(&mut self, now: Timestamp, id: CallId, agent: &AgentName, missed: bool) {
        self.run_due(now);
        let (Some(ix), Some(agent)) = (self.waiter_ix.get(&id).copied(), self.agent_ix.get(agent).copied()) else {
            return;
        };
        if !self.waiters[ix].offers.contains(&agent) {
            return;
        }
        self.agents[agent].offer = None;
        let waiter = &mut self.waiters[ix];
        waiter.offers.retain(|other| *other != agent);
        if missed {
            waiter.tried.retain(|(tried, until)| *tried != agent && *until > now);
            if waiter.tried.len() == TRIED_MAX {
                waiter.tried.remove(0);
            }
            waiter.tried.push((agent, now + SAME_AGENT_PAUSE));
            self.sticky_missed(ix, agent);
        }
        self.wait_again(now, ix);
        // The agent may have been free for others all the while: they were told ready while reserved.
        self.ready_if_free(now, agent);
        self.settle(now);
    }

    /// What is to be done next. Drain it after every change.
    pub fn poll(&mut self, _now: Timestamp) -> Option<Decision> {
        self.pending.pop_front()
    }

    /// No offers from here on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// When something falls due by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        let waiter = self.due.first().map(|(at, _, _)| *at);
        [waiter, self.lending_due].into_iter().flatten().min()
    }

    pub fn handle_deadline(&mut self, now: Timestamp) {
        self.run_due(now);
    }

    /// Out of every index but the line.
    fn forget(&mut self, ix: Ix<Waiter>) {
        self.unstand(ix);
        let waiter = &mut self.waiters[ix];
        let (classes, due, seq, id) = (std::mem::take(&mut waiter.classes), waiter.due, waiter.place.seq(), waiter.id);
        if waiter.limited {
            let home = waiter.home;
            let queue = &mut self.queues[home];
            queue.limited -= 1;
            if queue.limited == 0 && !queue.lent.is_empty() {
                self.lenders.push(home);
            }
        }
        for class in classes {
            self.part_class(class);
        }
        if let Some(at) = due {
            self.due.remove(&(at, seq, ix));
        }
        self.waiter_ix.remove(&id);
        self.waiters.remove(ix);
    }

    pub(crate) fn stand_in_line(&mut self, ix: Ix<Waiter>) {
        let waiter = &self.waiters[ix];
        let (place, queue) = (waiter.place, &mut self.queues[waiter.home]);
        if waiter.entry.direct.is_some() {
            queue.direct.insert((place, ix));
        } else {
            let at = queue.line.partition_point(|(other, _)| *other < place);
            queue.line.insert(at, (place, ix));
        }
    }

    fn leave_line(&mut self, ix: Ix<Waiter>) {
        let waiter = &self.waiters[ix];
        let (place, queue) = (waiter.place, &mut self.queues[waiter.home]);
        if waiter.entry.direct.is_some() {
            queue.direct.remove(&(place, ix));
        } else {
            let at = queue.line.partition_point(|(other, _)| *other < place);
            if queue.line.get(at).is_some_and(|(_, other)| *other == ix) {
                queue.line.remove(at);
            }
        }
    }
}
