//! Agents: what they do, whether they may be offered calls, what they have done today.

use std::time::Duration;

use cti_base::{AgentName, QueueName, Timestamp};

use crate::acd::Acd;
use crate::class::Pool;
use crate::entry::{Activity, Decision};
use crate::rules::Strategy;
use crate::slab::Ix;
use crate::state::Agent;
use crate::strategy;

impl Acd {
    /// What the agent does, whether they may be offered a call at this moment (only [`Activity::Ready`] counts), and since
    /// when they are without one. Who is not declared is not known.
    pub fn set_agent(
        &mut self,
        now: Timestamp,
        name: &AgentName,
        activity: Activity,
        offerable: bool,
        idle_since: Timestamp,
    ) {
        self.run_due(now);
        let Some(ix) = self.agent_ix.get(name).copied() else { return };
        let agent = &self.agents[ix];
        let was_staffed = agent.activity.is_staffed();
        let was_away = agent.is_away();
        if agent.is_ready && (agent.idle_since != idle_since || activity != Activity::Ready || !offerable) {
            self.unseat(ix);
        }
        self.change_activity(now, ix, activity);
        let agent = &mut self.agents[ix];
        agent.offerable = offerable;
        agent.idle_since = idle_since;
        if agent.offer.is_some() && !offerable && !matches!(activity, Activity::Offered | Activity::Talking) {
            self.take_back_untold(now, ix);
        }
        self.ready_if_free(now, ix);
        if self.agents[ix].is_away() && !was_away {
            self.preferred_is_away(now, ix);
        }
        if was_staffed && !activity.is_staffed() {
            self.staff_left(now, ix);
        }
        self.settle(now);
    }

    /// The agent's call and what followed it are over.
    pub fn add_handled(
        &mut self,
        now: Timestamp,
        name: &AgentName,
        queue: Option<&QueueName>,
        talk: Duration,
        wrapup: Duration,
    ) {
        self.run_due(now);
        if let Some(queue) = queue.and_then(|queue| self.queue_ix.get(queue)) {
            self.queues[*queue].forecast.add_handled(talk.saturating_add(wrapup));
        }
        let Some(ix) = self.agent_ix.get(name).copied() else { return };
        let counts = &mut self.agents[ix].counts;
        counts.calls += 1;
        counts.talk_us = counts.talk_us.saturating_add(talk.as_micros() as u64);
        counts.busy_us = counts.busy_us.saturating_add(talk.saturating_add(wrapup).as_micros() as u64);
        self.reseat(ix);
    }

    /// Local midnight: everybody's counts are nothing again.
    pub fn new_day(&mut self, now: Timestamp) {
        self.run_due(now);
        let all: Vec<Ix<Agent>> = self.agents.iter().map(|(ix, _)| ix).collect();
        for ix in all {
            let counts = &mut self.agents[ix].counts;
            let working_since = counts.working_since.map(|_| now);
            *counts = crate::state::Counts { working_since, ..Default::default() };
            self.reseat(ix);
        }
    }

    /// The change itself, with the counts that follow; who was ready must have been taken out of the sets.
    pub(crate) fn change_activity(&mut self, now: Timestamp, ix: Ix<Agent>, activity: Activity) {
        let Self { agents, queues, classes, .. } = self;
        let agent = &mut agents[ix];
        let before = std::mem::replace(&mut agent.activity, activity);
        agent.offerable = false;
        if before == activity {
            return;
        }
        if before.is_working() != activity.is_working() {
            let counts = &mut agent.counts;
            match counts.working_since.take() {
                Some(since) => counts.working_us += now.since(since).as_micros() as u64,
                None => counts.working_since = Some(now),
            }
            for queue in &agent.queues {
                let working = &mut queues[*queue].working;
                *working = if activity.is_working() { *working + 1 } else { *working - 1 };
            }
        }
        if before.is_staffed() != activity.is_staffed() {
            let change = |count: &mut usize| *count = if activity.is_staffed() { *count + 1 } else { *count - 1 };
            agent.queues.iter().for_each(|queue| change(&mut queues[*queue].staffed));
            agent.seats.iter().for_each(|seat| change(&mut classes.slab[seat.class].staffed));
        }
    }

    /// Offers the agent the first caller, or puts them among the ready; nothing where they are not free.
    pub(crate) fn ready_if_free(&mut self, now: Timestamp, ix: Ix<Agent>) {
        let agent = &self.agents[ix];
        if agent.is_ready || !agent.may_be_offered() {
            return;
        }
        self.draw_lots(now, ix);
        if !self.match_agent(now, ix) {
            self.seat(ix);
        }
    }

    /// What is drawn and measured once, on becoming ready.
    fn draw_lots(&mut self, now: Timestamp, ix: Ix<Agent>) {
        let draw = strategy::draw(&mut self.random);
        let Self { agents, queues, .. } = self;
        let agent = &mut agents[ix];
        agent.draw = draw;
        agent.occupancy_milli = agent.counts.occupancy_milli(now);
        agent.lots.clear();
        for queue in &agent.queues {
            if queues[*queue].rules.strategy == Strategy::Random {
                agent.lots.push((*queue, strategy::lot(queues[*queue].lot_floor, draw, agent.rules.weight)));
            }
        }
    }

    /// Into the ready sets.
    pub(crate) fn seat(&mut self, ix: Ix<Agent>) {
        let mut seats = std::mem::take(&mut self.agents[ix].seats);
        for seat in &mut seats {
            let class = &self.classes.slab[seat.class];
            seat.key = self.agent_key(ix, class.key.home, &class.key.requires);
            self.classes.slab[seat.class].ready.insert((seat.key, ix));
        }
        let Self { agents, queues, .. } = self;
        let agent = &mut agents[ix];
        agent.seats = seats;
        agent.is_ready = true;
        agent.queues.iter().for_each(|queue| queues[*queue].ready += 1);
    }

    /// Out of the ready sets.
    pub(crate) fn unseat(&mut self, ix: Ix<Agent>) {
        let Self { agents, queues, classes, .. } = self;
        let agent = &mut agents[ix];
        if !std::mem::replace(&mut agent.is_ready, false) {
            return;
        }
        for seat in &agent.seats {
            classes.slab[seat.class].ready.remove(&(seat.key, ix));
        }
        agent.queues.iter().for_each(|queue| queues[*queue].ready -= 1);
    }

    fn reseat(&mut self, ix: Ix<Agent>) {
        if self.agents[ix].is_ready {
            self.unseat(ix);
            self.seat(ix);
        }
    }

    /// An offer that nobody has been told of is not made to an agent who is gone.
    fn take_back_untold(&mut self, now: Timestamp, ix: Ix<Agent>) {
        let agent = &self.agents[ix];
        let Some(waiter) = agent.offer else { return };
        let (name, id) = (agent.name.clone(), self.waiters[waiter].id);
        let untold = self.pending.iter_mut().enumerate().find_map(|(at, decision)| match decision {
            Decision::Offer { id: of, agents, .. } if *of == id && agents.contains(&name) => Some((at, agents)),
            _ => None,
        });
        let Some((at, agents)) = untold else { return };
        agents.retain(|other| *other != name);
        if agents.is_empty() {
            self.pending.remove(at);
        }
        self.agents[ix].offer = None;
        self.waiters[waiter].offers.retain(|other| *other != ix);
        self.wait_again(now, waiter);
    }

    /// Callers who wanted this agent first want anybody.
    fn preferred_is_away(&mut self, now: Timestamp, ix: Ix<Agent>) {
        let mut wanting = Vec::new();
        for line in &self.agents[ix].lines {
            wanting.extend(self.classes.slab[*line].waiting.iter().copied());
        }
        wanting.retain(|(_, waiter)| self.waiters[*waiter].sticky == Some(ix));
        self.in_order(now, &mut wanting);
        for (_, waiter) in wanting {
            self.wait_again(now, waiter);
        }
    }

    /// The last of a class may have left.
    fn staff_left(&mut self, now: Timestamp, ix: Ix<Agent>) {
        let mut alone = Vec::new();
        for seat in &self.agents[ix].seats {
            let class = &self.classes.slab[seat.class];
            if class.staffed == 0 {
                alone.extend(class.waiting.iter().copied());
            }
        }
        alone.sort_unstable();
        alone.dedup();
        self.in_order(now, &mut alone);
        for (_, waiter) in alone {
            self.enforce_limits(now, waiter);
        }
    }

    pub(crate) fn is_of_pool(&self, agent: Ix<Agent>, pool: Pool) -> bool {
        match pool {
            Pool::Queue(queue) => self.agents[agent].queues.contains(&queue),
            Pool::Agent(only) => agent == only,
        }
    }
}
