//! Who may have whom by a tenant's file, and who comes first by the queue's strategy.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_acd::Strategy;
use cti_base::{AgentName, CallId, Timestamp};
use cti_switch::config::{QueueDecl, Tenant};

use crate::ledger::Ledger;

/// How an agent comes to a caller: asked in the caller's own queue (0) or in another one, or lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Asked(usize),
    Lent,
}

pub fn queue_of<'a>(tenant: &'a Tenant, ledger: &Ledger, call: CallId) -> Option<&'a QueueDecl> {
    let name = ledger.calls[&call].queue.as_ref()?;
    tenant.doc.queue.iter().find(|queue| queue.name == *name)
}

/// Whether the records decide on whom is asked first, or on the caller's place.
pub fn asks_records(queue: &QueueDecl) -> bool {
    let asks_related = queue.strategy == Strategy::Scored && queue.weights.relationship > 0.0;
    queue.sticky.is_some() || asks_related || !queue.order.value_points.is_empty()
}

/// What is required for the caller at that moment.
fn requires(queue: &QueueDecl, at: Timestamp, ledger: &Ledger, call: CallId) -> BTreeMap<String, u8> {
    let mut requires = queue.requires.clone();
    for step in steps(queue, at, ledger, call) {
        for (skill, level) in &mut requires {
            *level = step.requires.get(skill).map_or(*level, |enough| (*level).min(*enough));
        }
        requires.retain(|skill, level| *level > 0 && !step.drop.contains(skill));
    }
    requires
}

fn steps<'a>(queue: &'a QueueDecl, at: Timestamp, ledger: &Ledger, call: CallId) -> Vec<&'a cti_acd::RelaxStep> {
    let waited_us = at.since(ledger.calls[&call].entered).as_micros();
    let us = |s: u32| u128::from(s) * 1_000_000;
    let in_force = |step: &&cti_acd::RelaxStep| {
        waited_us >= us(step.after_s) && step.until_s.is_none_or(|until_s| waited_us < us(until_s))
    };
    queue.relax.iter().filter(in_force).collect()
}

/// When the steps of the caller's queue begin for them.
pub fn step_begins(tenant: &Tenant, ledger: &Ledger, call: CallId) -> Vec<Timestamp> {
    let entered = ledger.calls[&call].entered;
    let relax = queue_of(tenant, ledger, call).map_or(&[][..], |queue| &queue.relax);
    relax.iter().map(|step| entered + Duration::from_secs(u64::from(step.after_s))).collect()
}

pub fn way(tenant: &Tenant, at: Timestamp, ledger: &Ledger, call: CallId, agent: &AgentName) -> Option<Way> {
    let queue = queue_of(tenant, ledger, call)?;
    let decl = tenant.doc.agent.iter().find(|a| a.name == *agent)?;
    if let Some(only) = &ledger.calls[&call].direct {
        return (only == agent).then_some(Way::Asked(0));
    }
    if preferred(tenant, at, ledger, call).is_some_and(|first| first != agent) {
        return None;
    }
    let required = requires(queue, at, ledger, call);
    let skilled = required.iter().all(|(skill, least)| decl.skills.get(skill).is_some_and(|level| level >= least));
    let mut asked = vec![&queue.name];
    asked.extend(steps(queue, at, ledger, call).iter().flat_map(|step| &step.queues));
    let own = asked.iter().position(|name| decl.queues.contains(name)).map(Way::Asked);
    let lent = queue.borrow.iter().any(|lender| decl.queues.contains(lender)).then_some(Way::Lent);
    own.or(lent).filter(|_| skilled)
}

/// Who is asked alone for now: the agent who knows the caller, while they are there and may have them.
pub fn preferred<'a>(tenant: &Tenant, at: Timestamp, ledger: &'a Ledger, call: CallId) -> Option<&'a AgentName> {
    let story = &ledger.calls[&call];
    let first = story.prefer.as_ref()?;
    let queue = queue_of(tenant, ledger, call)?;
    let until = story.entered + Duration::from_secs(u64::from(queue.sticky?.s));
    let decl = tenant.doc.agent.iter().find(|a| a.name == *first && a.queues.contains(&queue.name))?;
    let has = |(skill, least): (&String, &u8)| decl.skills.get(skill).is_some_and(|level| level >= least);
    (at < until && requires(queue, at, ledger, call).iter().all(has)).then_some(first)
}

/// The agent's standing for the caller, the lowest first; `None` where the file does not say.
pub fn standing(
    tenant: &Tenant,
    at: Timestamp,
    ledger: &Ledger,
    call: CallId,
    agent: &AgentName,
) -> Option<(usize, i64)> {
    let queue = queue_of(tenant, ledger, call)?;
    let Some(Way::Asked(nearness)) = way(tenant, at, ledger, call, agent) else { return None };
    let (place, decl) = tenant.doc.agent.iter().enumerate().find(|(_, a)| a.name == *agent)?;
    let key = match queue.strategy {
        Strategy::TopDown => i64::from(decl.rank.unwrap_or(place as u32)),
        Strategy::BestSkill => {
            let levels = requires(queue, at, ledger, call).into_keys().filter_map(|skill| decl.skills.get(&skill));
            -levels.map(|level| i64::from(*level)).sum::<i64>()
        }
        _ => 0,
    };
    Some((nearness, key))
}
