//! Says why, at the moment of the choice.

use cti_base::Timestamp;

use crate::acd::Acd;
use crate::class::{Class, Pool};
use crate::entry::Activity;
use crate::limits::{WHY_LOOKED_AT_MAX, WHY_SKIPPED_MAX};
use crate::slab::Ix;
use crate::state::{Agent, Waiter};
use crate::strategy;
use crate::why::{By, Line, Reason, Skipped, Why};

impl Acd {
    /// Before the agent is taken out of the ready.
    pub(crate) fn explain(&self, now: Timestamp, ix: Ix<Waiter>, class: Ix<Class>, agent: Ix<Agent>, by: By) -> Why {
        let waiter = &self.waiters[ix];
        let class = &self.classes.slab[class];
        let home = &self.queues[class.key.home];
        let rules = &home.rules;
        let candidate = self.candidate(agent, class.key.home);
        let mut key = strategy::key(rules.strategy, &rules.weights, &class.key.requires, &candidate);
        if waiter.entry.related.contains(&self.agents[agent].name) {
            key.main = key.main.saturating_sub(strategy::relationship(rules.strategy, &rules.weights));
        }
        let line = match class.key.pool {
            Pool::Queue(queue) if queue == class.key.home => Line::Own,
            Pool::Queue(queue) if class.key.lent => Line::Lent(self.queues[queue].name.clone()),
            Pool::Queue(queue) => Line::Also(self.queues[queue].name.clone()),
            Pool::Agent(_) if waiter.direct.is_some() => Line::Direct,
            Pool::Agent(_) => Line::Sticky,
        };
        // Who became free was not seated yet.
        let ready = class.ready.len() + usize::from(!self.agents[agent].is_ready);
        Why {
            strategy: rules.strategy,
            by,
            line,
            key: strategy::explain(now, rules.strategy, &rules.weights, &key, &candidate, self.offers),
            ready: ready as u32,
            eligible: class.eligible as u32,
            skipped: self.skipped(now, waiter, class, agent),
            position: self.position_of(ix) as u32,
            waited_ms: now.since(waiter.entry.since).as_millis() as u64,
            points_milli: home.slope.points_milli(now, &waiter.place),
            steps: (0..32).filter(|step| waiter.steps & 1 << step != 0).collect(),
        }
    }

    /// Agents of the caller's queue, or the preferred one, who were not chosen for a reason of their own.
    fn skipped(&self, now: Timestamp, waiter: &Waiter, class: &Class, chosen: Ix<Agent>) -> Vec<Skipped> {
        let tried = waiter.tried.iter().rev().map(|(agent, _)| *agent);
        let members = &self.queues[class.key.home].members;
        let mut skipped: Vec<Skipped> = Vec::new();
        for agent in tried.chain(members.iter().copied()).take(WHY_LOOKED_AT_MAX) {
            if skipped.len() == WHY_SKIPPED_MAX {
                break;
            }
            let name = &self.agents[agent].name;
            if agent == chosen || skipped.iter().any(|other| other.agent == *name) {
                continue;
            }
            if let Some(reason) = self.reason_against(now, waiter, class, agent) {
                skipped.push(Skipped { agent: name.clone(), reason });
            }
        }
        skipped
    }

    fn reason_against(&self, now: Timestamp, waiter: &Waiter, class: &Class, ix: Ix<Agent>) -> Option<Reason> {
        let agent = &self.agents[ix];
        match agent.activity {
            Activity::Offline => return Some(Reason::Offline),
            Activity::Break => return Some(Reason::Break),
            Activity::Offered | Activity::Talking | Activity::Wrapup => return Some(Reason::Busy),
            Activity::Ready => {}
        }
        if waiter.has_tried(now, ix) {
            return Some(Reason::Tried);
        }
        let lacking = class.key.requires.iter().find_map(|(skill, needs)| {
            let has = agent.rules.skills.get(skill).copied().unwrap_or(0);
            (has < *needs).then(|| Reason::NoSkill { skill: skill.clone(), has, needs: *needs })
        });
        if lacking.is_some() {
            return lacking;
        }
        if !agent.is_ready {
            return Some(Reason::Blocked);
        }
        let lends = match class.key.pool {
            Pool::Queue(queue) => class.key.lent && !self.can_lend(now, queue),
            Pool::Agent(_) => false,
        };
        lends.then_some(Reason::NotLent)
    }
}
