//! Whom a caller asks and for what: requirements that relax with time, the preferred agent, direct calls.

use std::sync::Arc;
use std::time::Duration;

use cti_base::Timestamp;

use crate::acd::Acd;
use crate::class::{ClassKey, Pool};
use crate::entry::{Decision, StickyEnd};
use crate::limits::{ALSO_QUEUES_MAX, RELAX_STEPS_MAX};
use crate::rules::{QueueRules, RelaxStep};
use crate::slab::Ix;
use crate::state::{Agent, Queue, Requires, Waiter};

pub(crate) const fn seconds(s: u32) -> Duration {
    Duration::from_secs(s as u64)
}

/// What queue and script require together: the higher level of both.
pub(crate) fn merge(queue: &Arc<Requires>, script: &Requires) -> Arc<Requires> {
    if script.is_empty() {
        return queue.clone();
    }
    let mut merged = Requires::clone(queue);
    for (skill, level) in script {
        let least = merged.entry(skill.clone()).or_insert(*level);
        *least = (*least).max(*level);
    }
    Arc::new(merged)
}

fn steps(rules: &QueueRules) -> impl Iterator<Item = (usize, &RelaxStep)> {
    rules.relax.iter().take(RELAX_STEPS_MAX).enumerate()
}

/// The steps in force after waiting so long, a bit each.
fn steps_after(rules: &QueueRules, waited: Duration) -> u32 {
    let in_force = |step: &RelaxStep| {
        waited >= seconds(step.after_s) && step.until_s.is_none_or(|until_s| waited < seconds(until_s))
    };
    steps(rules).filter(|(_, step)| in_force(step)).map(|(number, _)| 1 << number).sum()
}

/// When the steps in force are next others.
pub(crate) fn next_step(rules: &QueueRules, entered: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let bounds = steps(rules).flat_map(|(_, step)| [Some(step.after_s), step.until_s]).flatten();
    bounds.map(|s| entered + seconds(s)).filter(|at| *at > now).min()
}

impl Acd {
    pub(crate) fn begin_steps(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        let waiter = &self.waiters[ix];
        let rules = self.queues[waiter.home].rules.clone();
        let steps = if waiter.direct.is_some() { 0 } else { steps_after(&rules, now.since(waiter.entry.entered)) };
        self.set_steps(ix, steps);
    }

    /// What is required follows from the steps. The classes are to be joined anew.
    pub(crate) fn set_steps(&mut self, ix: Ix<Waiter>, in_force: u32) {
        let waiter = &self.waiters[ix];
        let queue = &self.queues[waiter.home];
        let mut requires =
            if waiter.direct.is_some() { Arc::default() } else { merge(&queue.requires, &waiter.entry.requires) };
        for (_, step) in steps(&queue.rules).filter(|(number, _)| in_force & 1 << number != 0) {
            let requires = Arc::make_mut(&mut requires);
            for (skill, enough) in &step.requires {
                if let Some(level) = requires.get_mut(skill) {
                    *level = (*level).min(*enough);
                }
            }
            requires.retain(|skill, level| *level > 0 && !step.drop.contains(skill));
        }
        let waiter = &mut self.waiters[ix];
        (waiter.steps, waiter.requires) = (in_force, requires);
    }

    /// Begins and ends steps whose time has come; whether one did, so that the classes are others.
    pub(crate) fn check_steps(&mut self, now: Timestamp, ix: Ix<Waiter>) -> bool {
        let waiter = &self.waiters[ix];
        let (id, before, rules) = (waiter.id, waiter.steps, self.queues[waiter.home].rules.clone());
        self.begin_steps(now, ix);
        let changed = before ^ self.waiters[ix].steps;
        if changed == 0 {
            return false;
        }
        let waiter = &self.waiters[ix];
        let asked: Vec<Ix<Queue>> = self.asked_queues(ix);
        let queues: Vec<_> = asked.into_iter().map(|queue| self.queues[queue].name.clone()).collect();
        for (number, _) in steps(&rules).filter(|(number, _)| changed & 1 << number != 0) {
            let over = before & 1 << number != 0;
            let requires = Requires::clone(&waiter.requires);
            self.pending.push_back(Decision::Relaxed { id, step: number, over, requires, queues: queues.clone() });
        }
        true
    }

    /// The caller's own queue and those asked beside it, each once.
    fn asked_queues(&self, ix: Ix<Waiter>) -> Vec<Ix<Queue>> {
        let waiter = &self.waiters[ix];
        let home = &self.queues[waiter.home];
        let in_force = steps(&home.rules).filter(|(number, _)| waiter.steps & 1 << number != 0);
        let also = in_force.flat_map(|(_, step)| step.queues.iter().take(ALSO_QUEUES_MAX));
        let mut asked = vec![waiter.home];
        for name in waiter.entry.also.iter().chain(also) {
            if let Some(queue) = self.queue_ix.get(name)
                && self.queues[*queue].declared
                && !asked.contains(queue)
            {
                asked.push(*queue);
            }
        }
        asked
    }

    /// Into the classes that follow from everything, in the order of preference. The caller must not stand in any.
    pub(crate) fn join_classes(&mut self, ix: Ix<Waiter>) {
        let waiter = &self.waiters[ix];
        let (home, requires) = (waiter.home, waiter.requires.clone());
        let mut keys = Vec::with_capacity(1);
        let key = |pool, lent| ClassKey { home, pool, lent, requires: requires.clone() };
        if let Some(agent) = waiter.direct.or(waiter.sticky) {
            keys.push(key(Pool::Agent(agent), false));
        } else {
            let asked = self.asked_queues(ix);
            keys.extend(asked.iter().map(|queue| key(Pool::Queue(*queue), false)));
            let lent = self.queues[home].borrow.iter().filter(|lender| !asked.contains(lender));
            keys.extend(lent.map(|lender| key(Pool::Queue(*lender), true)));
        }
        let old = std::mem::take(&mut self.waiters[ix].classes);
        let joined = keys.into_iter().map(|key| self.join_class(key)).collect();
        self.waiters[ix].classes = joined;
        for class in old {
            self.part_class(class);
        }
    }

    /// The preferred agent first, where the queue and the agent allow it.
    pub(crate) fn begin_sticky(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        let waiter = &self.waiters[ix];
        if waiter.direct.is_some() || self.queues[waiter.home].rules.sticky_s == 0 {
            return;
        }
        let Some(name) = waiter.entry.prefer.clone() else { return };
        match self.agent_ix.get(&name).copied() {
            Some(agent) => {
                self.waiters[ix].sticky = Some(agent);
                if let Some(why) = self.sticky_end(now, ix, agent) {
                    self.end_sticky(ix, name, why);
                }
            }
            None => self.end_sticky(ix, name, StickyEnd::Away),
        }
    }

    fn end_sticky(&mut self, ix: Ix<Waiter>, agent: cti_base::AgentName, why: StickyEnd) {
        let waiter = &mut self.waiters[ix];
        waiter.sticky = None;
        // Once over it stays so, whatever is configured later.
        waiter.entry.prefer = None;
        self.pending.push_back(Decision::StickyOver { id: waiter.id, agent, why });
    }

    fn sticky_end(&self, now: Timestamp, ix: Ix<Waiter>, agent: Ix<Agent>) -> Option<StickyEnd> {
        let waiter = &self.waiters[ix];
        let of = &self.agents[agent];
        if of.is_away() || !of.queues.contains(&waiter.home) || !of.has(&waiter.requires) {
            return Some(StickyEnd::Away);
        }
        (now >= self.sticky_until(ix)).then_some(StickyEnd::Time)
    }

    pub(crate) fn sticky_until(&self, ix: Ix<Waiter>) -> Timestamp {
        let waiter = &self.waiters[ix];
        waiter.entry.entered + seconds(self.queues[waiter.home].rules.sticky_s)
    }

    /// Lets the preferred agent go where they are not to be waited for any more; the caller then stands nowhere.
    pub(crate) fn check_sticky(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        let Some(agent) = self.waiters[ix].sticky else { return };
        let Some(why) = self.sticky_end(now, ix, agent) else { return };
        self.unstand(ix);
        self.end_sticky(ix, self.agents[agent].name.clone(), why);
        self.join_classes(ix);
    }

    pub(crate) fn sticky_missed(&mut self, ix: Ix<Waiter>, agent: Ix<Agent>) {
        if self.waiters[ix].sticky == Some(agent) {
            self.end_sticky(ix, self.agents[agent].name.clone(), StickyEnd::Missed);
            self.join_classes(ix);
        }
    }
}
