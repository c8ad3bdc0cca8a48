//! New rules under load, and the indices after reading back: both are the state as it is written down, taken up under rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use cti_base::{AgentName, QueueName, Timestamp};

use crate::acd::Acd;
use crate::entry::{Activity, LimitKind};
use crate::limits::{BORROW_MAX, ESTIMATE_CHECK, OVERFLOW_RULES_MAX};
use crate::rank::{Place, Slope};
use crate::rules::{OverflowRule, Rules, Strategy};
use crate::saved::{Saved, SavedAgent, SavedQueue, SavedWaiter};
use crate::slab::Ix;
use crate::state::{Agent, Queue, Waiter};
use crate::strategy;

impl Acd {
    /// Takes effect at once, and nobody loses their place or what they have tried. Callers of a queue that is no longer
    /// declared are passed on; an agent who is no longer declared is offered nothing more. A value that was just read back
    /// first gets the rules that it had: it is then what it was.
    pub fn configure(&mut self, now: Timestamp, rules: Arc<Rules>) {
        self.run_due(now);
        let is_read_back = !self.configured;
        *self = Self::build(self.save(), rules, !is_read_back);
        self.configured = true;
        if is_read_back {
            return;
        }
        let mut all: Vec<(Place, Ix<Waiter>)> = self.waiters.iter().map(|(ix, waiter)| (waiter.place, ix)).collect();
        all.sort_unstable_by_key(|(place, _)| place.seq());
        for (_, ix) in &all {
            self.reconsider(now, *ix);
        }
        self.match_all(now, &mut all);
        let lenders = self.queues.iter().filter(|(_, queue)| !queue.lent.is_empty()).map(|(ix, _)| ix);
        self.lenders = lenders.collect();
        self.settle(now);
    }

    /// One caller under changed rules.
    fn reconsider(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        let waiter = &self.waiters[ix];
        if waiter.limited {
            return;
        }
        let agent_gone = waiter.direct.is_none() && waiter.entry.direct.is_some();
        if !self.queues[waiter.home].declared || agent_gone {
            // Who rings is taken back by whoever carries the limit out.
            self.pass_on(ix, None, LimitKind::Gone);
            return;
        }
        let rules = self.queues[waiter.home].rules.clone();
        let mut overflow = rules.overflow.iter().take(OVERFLOW_RULES_MAX);
        let estimates = overflow.any(|rule| matches!(rule, OverflowRule::EstimateS(_)));
        self.unstand(ix);
        let waiter = &mut self.waiters[ix];
        waiter.estimate_at = estimates.then(|| waiter.estimate_at.unwrap_or(now + ESTIMATE_CHECK));
        self.check_steps(now, ix);
        self.join_classes(ix);
        self.check_sticky(now, ix);
        if !self.enforce_limits(now, ix) {
            self.stand(now, ix);
        }
        self.plan_due(now, ix);
    }

    /// The state under these rules, without a decision. `forgets`: who is neither declared nor needed is dropped.
    pub(crate) fn build(saved: Saved, rules: Arc<Rules>, forgets: bool) -> Self {
        let mut acd = Self { rules, seq: saved.seq, offers: saved.offers, random: saved.random, ..Self::default() };
        let used: BTreeSet<&QueueName> = saved.waiters.iter().map(|waiter| &waiter.entry.queue).collect();
        // Agents whom a caller rings, wants or has tried.
        let tried = saved.waiters.iter().flat_map(|waiter| waiter.tried.iter().map(|(agent, _)| agent));
        let wanted = saved.waiters.iter().flat_map(|waiter| waiter.offers.iter().chain(&waiter.sticky));
        let named: BTreeSet<&AgentName> = tried.chain(wanted).collect();
        for name in acd.rules.clone().queues.keys() {
            acd.add_queue(SavedQueue::new(name.clone()));
        }
        for queue in saved.queues {
            if !forgets || acd.queue_ix.contains_key(&queue.name) || used.contains(&queue.name) {
                acd.add_queue(queue);
            }
        }
        acd.link_lenders();
        let is_needed = |agent: &SavedAgent| agent.activity != Activity::Offline || named.contains(&agent.name);
        for agent in &saved.agents {
            if !forgets || acd.rules.agents.contains_key(&agent.name) || is_needed(agent) {
                acd.add_agent(agent);
            }
        }
        for (order, name) in acd.rules.clone().agents.keys().enumerate() {
            let ix = match acd.agent_ix.get(name) {
                Some(ix) => *ix,
                None => acd.add_agent(&SavedAgent::new(name.clone())),
            };
            acd.agents[ix].name_order = order as u32;
        }
        for name in acd.rules.clone().agents.keys() {
            acd.enlist(name);
        }
        let forecasts: Vec<_> = acd.queues.iter().map(|(ix, queue)| (ix, queue.forecast)).collect();
        for waiter in saved.waiters {
            acd.add_waiter(waiter);
        }
        // Standing in line again is not the beginning of a wait.
        for (ix, forecast) in forecasts {
            acd.queues[ix].forecast = forecast;
        }
        let free: Vec<Ix<Agent>> =
            acd.agents.iter().filter(|(_, agent)| agent.may_be_offered()).map(|(ix, _)| ix).collect();
        free.into_iter().for_each(|ix| acd.seat(ix));
        acd.lending_due = saved.lending_due;
        acd.lenders.clear();
        acd.pending = saved.pending;
        acd.closed = saved.closed;
        acd
    }

    fn add_queue(&mut self, saved: SavedQueue) {
        if let Some(ix) = self.queue_ix.get(&saved.name) {
            let queue = &mut self.queues[*ix];
            (queue.forecast, queue.window, queue.lot_floor) = (saved.forecast, saved.window, saved.lot_floor);
            return;
        }
        let declared = self.rules.queues.get(&saved.name);
        let rules = Arc::new(declared.cloned().unwrap_or_default());
        let ix = self.queues.insert(Queue {
            name: saved.name.clone(),
            declared: declared.is_some(),
            requires: Arc::new(rules.requires.clone()),
            slope: Slope::of(&rules),
            rules,
            line: Default::default(),
            direct: BTreeSet::new(),
            open: 0,
            limited: 0,
            members: Vec::new(),
            staffed: 0,
            working: 0,
            ready: 0,
            borrow: Vec::new(),
            lent: Vec::new(),
            forecast: saved.forecast,
            window: saved.window,
            lot_floor: saved.lot_floor,
        });
        self.queue_ix.insert(saved.name, ix);
    }

    fn link_lenders(&mut self) {
        let Self { queues, queue_ix, .. } = self;
        for (ix, queue) in queues.iter_mut() {
            let lenders = queue.rules.borrow.iter().filter_map(|name| queue_ix.get(name).copied());
            let mut borrow: Vec<Ix<Queue>> = Vec::new();
            for lender in lenders.filter(|lender| *lender != ix) {
                if !borrow.contains(&lender) && borrow.len() < BORROW_MAX {
                    borrow.push(lender);
                }
            }
            queue.borrow = borrow;
        }
    }

    fn add_agent(&mut self, saved: &SavedAgent) -> Ix<Agent> {
        let queue_ix = |name: &QueueName| self.queue_ix.get(name).copied();
        let numbered = |(name, number): &(QueueName, u64)| Some((queue_ix(name)?, *number));
        let drawn = |(name, lot): &(QueueName, i64)| Some((queue_ix(name)?, *lot));
        let agent = Agent {
            name: saved.name.clone(),
            rules: Arc::default(),
            declared: false,
            name_order: u32::MAX,
            activity: saved.activity,
            offerable: saved.offerable,
            idle_since: saved.idle_since,
            offer: None,
            is_ready: false,
            queues: Vec::new(),
            seats: Vec::new(),
            lines: Vec::new(),
            counts: saved.counts,
            offered: saved.offered.iter().filter_map(numbered).collect(),
            draw: saved.draw,
            lots: saved.lots.iter().filter_map(drawn).collect(),
            occupancy_milli: saved.occupancy_milli,
        };
        let ix = self.agents.insert(agent);
        self.agent_ix.insert(saved.name.clone(), ix);
        ix
    }

    /// A declared agent serves their queues.
    fn enlist(&mut self, name: &AgentName) {
        let Self { agents, agent_ix, queues, queue_ix, rules, .. } = self;
        let (Some(ix), Some(declared)) = (agent_ix.get(name), rules.agents.get(name)) else { return };
        let agent = &mut agents[*ix];
        agent.declared = true;
        agent.rules = Arc::new(declared.clone());
        for queue_name in &declared.queues {
            let Some(queue_ix) = queue_ix.get(queue_name).filter(|queue_ix| !agent.queues.contains(queue_ix)) else {
                continue;
            };
            agent.queues.push(*queue_ix);
            let queue = &mut queues[*queue_ix];
            queue.members.push(*ix);
            queue.staffed += usize::from(agent.activity.is_staffed());
            queue.working += usize::from(agent.activity.is_working());
            let has_lot = agent.lots.iter().any(|(drawn, _)| drawn == queue_ix);
            if queue.rules.strategy == Strategy::Random && !has_lot {
                agent.lots.push((*queue_ix, strategy::lot(queue.lot_floor, agent.draw, declared.weight)));
            }
        }
    }

    fn add_waiter(&mut self, saved: SavedWaiter) {
        let SavedWaiter { id, entry, seq, .. } = saved;
        let Some(home) = self.queue_ix.get(&entry.queue).copied() else { return };
        let agent = |name: &AgentName| self.agent_ix.get(name).copied();
        let declared = |name: &AgentName| agent(name).filter(|ix| self.agents[*ix].declared);
        let queue = &self.queues[home];
        let waiter = Waiter {
            id,
            home,
            direct: entry.direct.as_ref().and_then(declared),
            place: Place::new(&queue.rules, &queue.slope, &entry, seq),
            offers: saved.offers.iter().filter_map(agent).collect(),
            tried: saved.tried.iter().filter_map(|(name, until)| Some((agent(name)?, *until))).collect(),
            paused_until: saved.paused_until,
            limited: saved.limited,
            sticky: saved.sticky.as_ref().and_then(agent),
            steps: saved.steps,
            estimate_at: saved.estimate_at,
            told: saved.told,
            due: saved.due,
            requires: queue.requires.clone(),
            classes: Vec::new(),
            stands: false,
            entry,
        };
        self.queues[home].limited += usize::from(waiter.limited);
        let (due, offers) = (waiter.due, waiter.offers.clone());
        let ix = self.waiters.insert(waiter);
        self.waiter_ix.insert(id, ix);
        for agent in offers {
            self.agents[agent].offer = Some(ix);
        }
        if let Some(at) = due {
            self.due.insert((at, seq, ix));
        }
        self.set_steps(ix, saved.steps);
        self.join_classes(ix);
        self.stand_in_line(ix);
        self.stand(Timestamp::default(), ix);
    }
}

impl SavedQueue {
    fn new(name: QueueName) -> Self {
        Self { name, forecast: Default::default(), window: Default::default(), lot_floor: 0 }
    }
}

impl SavedAgent {
    fn new(name: AgentName) -> Self {
        Self {
            name,
            activity: Activity::Offline,
            offerable: false,
            idle_since: Timestamp::default(),
            counts: Default::default(),
            offered: Vec::new(),
            draw: 0,
            lots: Vec::new(),
            occupancy_milli: 0,
        }
    }
}
