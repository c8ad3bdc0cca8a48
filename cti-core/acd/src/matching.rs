//! Who gets whom. A match is made at every change that could make one possible, so nobody waits for a free agent.

use cti_base::Timestamp;

use crate::acd::Acd;
use crate::class::{Class, Pool};
use crate::entry::{Activity, Decision};
use crate::limits::RING_ALL_MAX;
use crate::rank::{self, Place};
use crate::rules::Strategy;
use crate::slab::Ix;
use crate::state::{Agent, Waiter};
use crate::strategy::{self, AgentKey};
use crate::why::By;

impl Acd {
    /// Looks for an agent for a caller who may be offered. Of those not tried just now the best; else, of those tried, who
    /// missed the caller before the last one did.
    pub(crate) fn match_waiter(&mut self, now: Timestamp, ix: Ix<Waiter>) -> bool {
        let Some((class, agent)) = self.agent_for(now, ix) else { return false };
        self.reserve(now, ix, class, agent, By::Caller);
        true
    }

    /// The same for several, first come first. Lent agents come last: their own callers may be among these.
    pub(crate) fn match_all(&mut self, now: Timestamp, callers: &mut [(Place, Ix<Waiter>)]) {
        self.in_order(now, callers);
        for (_, ix) in callers {
            let Some((class, agent)) = self.agent_for(now, *ix) else { continue };
            let key = &self.classes.slab[class].key;
            match key.pool {
                Pool::Queue(lender) if key.lent => self.lenders.push(lender),
                Pool::Queue(_) | Pool::Agent(_) => self.reserve(now, *ix, class, agent, By::Caller),
            }
        }
        self.settle(now);
    }

    /// Whether somebody could be offered the caller at once.
    pub(crate) fn has_agent(&self, now: Timestamp, ix: Ix<Waiter>) -> bool {
        self.agent_for(now, ix).is_some()
    }

    fn agent_for(&self, now: Timestamp, ix: Ix<Waiter>) -> Option<(Ix<Class>, Ix<Agent>)> {
        if self.closed || !self.waiters[ix].may_stand() {
            return None;
        }
        self.fresh_agent(now, ix).or_else(|| self.tried_agent(now, ix))
    }

    fn fresh_agent(&self, now: Timestamp, ix: Ix<Waiter>) -> Option<(Ix<Class>, Ix<Agent>)> {
        let waiter = &self.waiters[ix];
        waiter.classes.iter().find_map(|class| {
            let of = &self.classes.slab[*class];
            if of.ready.is_empty() || !self.is_open(now, of) {
                return None;
            }
            let best = of.ready.iter().find(|(_, agent)| !waiter.has_tried(now, *agent))?;
            Some((*class, self.or_related(now, waiter, of, *best).1))
        })
    }

    /// Whoever knows the caller, where that outweighs the best of the others.
    fn or_related(
        &self,
        now: Timestamp,
        waiter: &Waiter,
        class: &Class,
        best: (AgentKey, Ix<Agent>),
    ) -> (AgentKey, Ix<Agent>) {
        if waiter.entry.related.is_empty() {
            return best;
        }
        let rules = &self.queues[class.key.home].rules;
        let bonus = strategy::relationship(rules.strategy, &rules.weights);
        if bonus <= 0 {
            return best;
        }
        let better =
            |(key, agent): (AgentKey, Ix<Agent>)| (AgentKey { main: key.main.saturating_sub(bonus), ..key }, agent);
        let known = waiter.entry.related.iter().filter_map(|name| {
            let agent = *self.agent_ix.get(name)?;
            let key = self.agent_key(agent, class.key.home, &class.key.requires);
            (class.ready.contains(&(key, agent)) && !waiter.has_tried(now, agent)).then(|| better((key, agent)))
        });
        let is_known = waiter.entry.related.contains(&self.agents[best.1].name);
        let best = if is_known { better(best) } else { best };
        known.chain([best]).min().unwrap_or(best)
    }

    fn tried_agent(&self, now: Timestamp, ix: Ix<Waiter>) -> Option<(Ix<Class>, Ix<Agent>)> {
        let waiter = &self.waiters[ix];
        let again = waiter.tried.iter().filter(|(agent, _)| !waiter.shuns(now, *agent) && self.agents[*agent].is_ready);
        again.map(|(agent, _)| *agent).find_map(|agent| {
            let seats = &self.agents[agent].seats;
            let has_seat = |class: Ix<Class>| seats.iter().any(|seat| seat.class == class);
            let open = |class: &&Ix<Class>| has_seat(**class) && self.is_open(now, &self.classes.slab[**class]);
            waiter.classes.iter().find(open).map(|class| (*class, agent))
        })
    }

    /// Looks for a caller for an agent who may be offered calls and stands in no ready set: the first of all lines that they
    /// serve; of those that they would be lent to, when there is none.
    pub(crate) fn match_agent(&mut self, now: Timestamp, ix: Ix<Agent>) -> bool {
        if self.closed {
            return false;
        }
        let own = self.first_waiter(now, ix, false);
        let Some((class, waiter)) = own.or_else(|| self.first_waiter(now, ix, true)) else { return false };
        self.reserve(now, waiter, class, ix, By::Agent);
        true
    }

    fn first_waiter(&self, now: Timestamp, ix: Ix<Agent>, lent: bool) -> Option<(Ix<Class>, Ix<Waiter>)> {
        let mut best: Option<(Ix<Class>, Ix<Waiter>)> = None;
        for seat in &self.agents[ix].seats {
            let class = &self.classes.slab[seat.class];
            if class.waiting.is_empty() || class.key.lent != lent || !self.is_open(now, class) {
                continue;
            }
            let head = class.waiting.iter().find(|(_, waiter)| !self.waiters[*waiter].shuns(now, ix));
            let Some((_, waiter)) = head else { continue };
            // A caller who asks several classes is taken through the one they prefer.
            let is_first = best.is_none_or(|(other_class, other)| {
                if other == *waiter {
                    let asked = &self.waiters[other].classes;
                    let place = |of| asked.iter().position(|class| *class == of);
                    return place(seat.class) < place(other_class);
                }
                self.comes_before(now, *waiter, other)
            });
            if is_first {
                best = Some((seat.class, *waiter));
            }
        }
        best
    }

    pub(crate) fn comes_before(&self, now: Timestamp, a: Ix<Waiter>, b: Ix<Waiter>) -> bool {
        let (a, b) = (&self.waiters[a], &self.waiters[b]);
        let slopes = (&self.queues[a.home].slope, &self.queues[b.home].slope);
        rank::compare(now, (slopes.0, &a.place), (slopes.1, &b.place)).is_lt()
    }

    /// The caller and the agent belong together from here on; with `ring_all` others ring too.
    fn reserve(&mut self, now: Timestamp, ix: Ix<Waiter>, class: Ix<Class>, agent: Ix<Agent>, by: By) {
        let why = Box::new(self.explain(now, ix, class, agent, by));
        if self.waiters[ix].stands {
            let queue = &mut self.queues[self.waiters[ix].home];
            queue.forecast.count_agents(now, queue.working);
        }
        self.unstand(ix);
        let of = &self.classes.slab[class];
        let (home, pool) = (of.key.home, of.key.pool);
        let rules = self.queues[home].rules.clone();
        let mut agents = vec![agent];
        let rings_all = rules.strategy == Strategy::RingAll && !self.waiters[ix].entry.callback;
        if rings_all && matches!(pool, Pool::Queue(_)) {
            let waiter = &self.waiters[ix];
            let others = of.ready.iter().map(|(_, other)| *other);
            let others = others.filter(|other| *other != agent && !waiter.shuns(now, *other));
            agents.extend(others.take((rules.ring_all_max as usize).clamp(1, RING_ALL_MAX) - 1));
        }
        if rules.strategy == Strategy::Random {
            let lot = self.candidate(agent, home).lot;
            let floor = &mut self.queues[home].lot_floor;
            *floor = (*floor).max(lot);
        }
        for agent in &agents {
            self.unseat(*agent);
            self.offers += 1;
            let number = self.offers;
            let reserved = &mut self.agents[*agent];
            reserved.offer = Some(ix);
            reserved.offered.retain(|(queue, _)| *queue != home);
            reserved.offered.push((home, number));
            self.change_activity(now, *agent, Activity::Offered);
        }
        let names = agents.iter().map(|agent| self.agents[*agent].name.clone()).collect();
        let waiter = &mut self.waiters[ix];
        waiter.offers = agents;
        let queue = self.queues[home].name.clone();
        self.pending.push_back(Decision::Offer { id: waiter.id, agents: names, queue, why });
    }

    /// Into the lines of all classes that the caller asks.
    pub(crate) fn stand(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        let Self { waiters, classes, queues, .. } = self;
        let waiter = &mut waiters[ix];
        if waiter.stands || !waiter.may_stand() {
            return;
        }
        waiter.stands = true;
        let mut asks_lenders = false;
        for class in &waiter.classes {
            let class = &mut classes.slab[*class];
            class.waiting.insert((waiter.place, ix));
            asks_lenders |= class.key.lent;
        }
        let queue = &mut queues[waiter.home];
        if queue.open == 0 {
            queue.forecast.begins_to_wait(now);
        }
        queue.open += usize::from(waiter.direct.is_none() && waiter.sticky.is_none());
        if asks_lenders {
            self.plan_lending(now);
        }
    }

    pub(crate) fn unstand(&mut self, ix: Ix<Waiter>) {
        let Self { waiters, classes, queues, lenders, .. } = self;
        let waiter = &mut waiters[ix];
        if !waiter.stands {
            return;
        }
        waiter.stands = false;
        for class in &waiter.classes {
            classes.slab[*class].waiting.remove(&(waiter.place, ix));
        }
        if waiter.direct.is_none() && waiter.sticky.is_none() {
            let queue = &mut queues[waiter.home];
            queue.open -= 1;
            if queue.open == 0 && !queue.lent.is_empty() {
                lenders.push(waiter.home);
            }
        }
    }

    /// No offer of the caller's is open any more: limits first, then whoever else is free.
    pub(crate) fn wait_again(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        if !self.waiters[ix].offers.is_empty() {
            return;
        }
        self.check_sticky(now, ix);
        if !self.enforce_limits(now, ix) && !self.match_waiter(now, ix) {
            self.stand(now, ix);
        }
        self.plan_due(now, ix);
    }
}
