//! Classes: callers of one queue who ask the same agents for the same, and the agents who can give it.
//!
//! A class is made for its first caller and kept for a while after its last. Nothing is decided by which classes exist: they
//! follow from the callers, so a restart makes others and decides the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::acd::Acd;
use crate::limits::IDLE_CLASSES_MAX;
use crate::rank::Place;
use crate::slab::{Ix, Slab};
use crate::state::{Agent, Queue, Requires, Seat, Waiter};
use crate::strategy::{self, AgentKey, Candidate};

/// Whose agents are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pool {
    Queue(Ix<Queue>),
    /// One agent alone: preferred, or of a direct call.
    Agent(Ix<Agent>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassKey {
    /// The callers' own queue: its order and its strategy count.
    pub home: Ix<Queue>,
    pub pool: Pool,
    /// Only while the pool's queue can spare them.
    pub lent: bool,
    pub requires: Arc<Requires>,
}

pub(crate) struct Class {
    pub key: ClassKey,
    pub eligible: usize,
    /// Of those, the ones who are not offline.
    pub staffed: usize,
    pub ready: BTreeSet<(AgentKey, Ix<Agent>)>,
    pub waiting: BTreeSet<(Place, Ix<Waiter>)>,
    /// Callers who ask this class, waiting or ringing.
    users: usize,
    /// When the last of them left, as a number that grows.
    idle_since: u64,
}

#[derive(Default)]
pub(crate) struct Classes {
    pub slab: Slab<Class>,
    by_key: BTreeMap<ClassKey, Ix<Class>>,
    idle: BTreeMap<u64, Ix<Class>>,
    left: u64,
}

impl Acd {
    /// The class of that key, made if need be, with one more caller in it.
    pub(crate) fn join_class(&mut self, key: ClassKey) -> Ix<Class> {
        let ix = match self.classes.by_key.get(&key) {
            Some(ix) => *ix,
            None => self.make_class(key),
        };
        let class = &mut self.classes.slab[ix];
        if class.users == 0 {
            self.classes.idle.remove(&class.idle_since);
        }
        class.users += 1;
        ix
    }

    /// A caller asks the class no more.
    pub(crate) fn part_class(&mut self, ix: Ix<Class>) {
        let class = &mut self.classes.slab[ix];
        class.users -= 1;
        if class.users > 0 {
            return;
        }
        self.classes.left += 1;
        class.idle_since = self.classes.left;
        self.classes.idle.insert(class.idle_since, ix);
        if self.classes.idle.len() > IDLE_CLASSES_MAX
            && let Some((_, oldest)) = self.classes.idle.pop_first()
        {
            self.drop_class(oldest);
        }
    }

    fn make_class(&mut self, key: ClassKey) -> Ix<Class> {
        let (pool, home, lent, requires) = (key.pool, key.home, key.lent, key.requires.clone());
        let class = Class {
            key: key.clone(),
            eligible: 0,
            staffed: 0,
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            users: 0,
            idle_since: u64::MAX,
        };
        let ix = self.classes.slab.insert(class);
        self.classes.by_key.insert(key, ix);
        let members = match pool {
            Pool::Queue(queue) => std::mem::take(&mut self.queues[queue].members),
            Pool::Agent(agent) => vec![agent],
        };
        for member in &members {
            let agent = &self.agents[*member];
            // A lent agent who serves the queue anyway is asked as its own.
            let is_own = lent && agent.queues.contains(&home);
            if !agent.declared || is_own || !agent.has(&requires) {
                continue;
            }
            let seat = Seat { class: ix, key: self.agent_key(*member, home, &requires) };
            let class = &mut self.classes.slab[ix];
            class.eligible += 1;
            class.staffed += usize::from(agent.activity.is_staffed());
            if agent.is_ready {
                class.ready.insert((seat.key, *member));
            }
            let agent = &mut self.agents[*member];
            agent.seats.push(seat);
            if matches!(pool, Pool::Agent(_)) {
                agent.lines.push(ix);
            }
        }
        if let Pool::Queue(queue) = pool {
            self.queues[queue].members = members;
            if lent {
                self.queues[queue].lent.push(ix);
            }
        }
        ix
    }

    fn drop_class(&mut self, ix: Ix<Class>) {
        let Some(class) = self.classes.slab.remove(ix) else { return };
        self.classes.by_key.remove(&class.key);
        match class.key.pool {
            Pool::Queue(queue) => {
                let Self { queues, agents, .. } = self;
                for member in &queues[queue].members {
                    agents[*member].seats.retain(|seat| seat.class != ix);
                }
                queues[queue].lent.retain(|lent| *lent != ix);
            }
            Pool::Agent(agent) => {
                let agent = &mut self.agents[agent];
                agent.seats.retain(|seat| seat.class != ix);
                agent.lines.retain(|line| *line != ix);
            }
        }
    }

    /// The agent's key for callers of `home` who require this, as things stand.
    pub(crate) fn agent_key(&self, agent: Ix<Agent>, home: Ix<Queue>, requires: &Requires) -> AgentKey {
        let rules = &self.queues[home].rules;
        strategy::key(rules.strategy, &rules.weights, requires, &self.candidate(agent, home))
    }

    pub(crate) fn candidate(&self, agent: Ix<Agent>, home: Ix<Queue>) -> Candidate<'_> {
        let agent = &self.agents[agent];
        let lot = agent.lots.iter().find(|(queue, _)| *queue == home).map(|(_, lot)| *lot);
        Candidate {
            idle_since: agent.idle_since,
            name_order: agent.name_order,
            skills: &agent.rules.skills,
            rank: agent.rules.rank,
            calls: agent.counts.calls,
            talk_us: agent.counts.talk_us,
            occupancy_milli: agent.occupancy_milli,
            offered: agent.offered_by(home),
            lot: lot.unwrap_or_else(|| strategy::lot(0, agent.draw, agent.rules.weight)),
        }
    }
}
