//! The limits of a wait: when a queue passes a caller on.

use cti_base::Timestamp;

use crate::acd::Acd;
use crate::class::Pool;
use crate::entry::{Decision, Entry, LimitKind};
use crate::limits::{ESTIMATE_CHECK, OVERFLOW_RULES_MAX};
use crate::relax::seconds;
use crate::rules::{OverflowRule, QueueRules};
use crate::slab::Ix;
use crate::state::Waiter;

/// Those that are rules for the caller.
fn rules_of(rules: &QueueRules, entry: &Entry) -> impl Iterator<Item = (usize, OverflowRule)> {
    let spent = entry.spent;
    let all = rules.overflow.iter().take(OVERFLOW_RULES_MAX).copied().enumerate();
    all.filter(move |(number, _)| spent & 1 << number == 0)
}

impl Acd {
    /// The limit that turns a caller away at the door.
    pub(crate) fn limit_on_entry(&mut self, now: Timestamp, ix: Ix<Waiter>) -> Option<(Option<usize>, LimitKind)> {
        let waiter = &self.waiters[ix];
        if waiter.entry.callback {
            return None;
        }
        let rules = self.queues[waiter.home].rules.clone();
        let waiting = self.line_length(ix);
        let (waited, stood) = (now.since(waiter.entry.entered), waiter.entry.stood);
        let found = rules_of(&rules, &waiter.entry).find_map(|(number, rule)| {
            let kind = match rule {
                OverflowRule::AfterS(s) => (waited >= seconds(s)).then_some(LimitKind::After),
                OverflowRule::Waiting(many) => (!stood && waiting >= many as usize).then_some(LimitKind::Waiting),
                OverflowRule::EstimateS(s) => self.is_estimated_over(now, ix, s).then_some(LimitKind::Estimate),
                OverflowRule::NoStaff => (!self.is_staffed(ix)).then_some(LimitKind::NoStaff),
            };
            kind.map(|kind| (Some(number), kind))
        });
        let estimates =
            rules_of(&rules, &self.waiters[ix].entry).any(|(_, rule)| matches!(rule, OverflowRule::EstimateS(_)));
        if found.is_none() && estimates {
            self.waiters[ix].estimate_at = Some(now + ESTIMATE_CHECK);
        }
        let is_full = !stood && waiting >= rules.max_waiting as usize;
        let is_late = waited >= seconds(rules.max_wait_s);
        let full = is_full.then_some((None, LimitKind::Full));
        found.or(full).or_else(|| is_late.then_some((None, LimitKind::MaxWait)))
    }

    /// Lets the queue pass the caller on where a limit is past and nobody rings for them; whether they wait for that.
    pub(crate) fn enforce_limits(&mut self, now: Timestamp, ix: Ix<Waiter>) -> bool {
        let waiter = &self.waiters[ix];
        if waiter.limited {
            return true;
        }
        if !waiter.offers.is_empty() {
            return false;
        }
        let Some((rule, why)) = self.limit_while_waiting(now, ix) else { return false };
        self.pass_on(ix, rule, why);
        true
    }

    pub(crate) fn pass_on(&mut self, ix: Ix<Waiter>, rule: Option<usize>, why: LimitKind) {
        self.unstand(ix);
        let waiter = &mut self.waiters[ix];
        waiter.limited = true;
        self.queues[waiter.home].limited += 1;
        if let Some(at) = waiter.due.take() {
            self.due.remove(&(at, waiter.place.seq(), ix));
        }
        self.pending.push_back(Decision::Limit { id: waiter.id, rule, why });
    }

    fn limit_while_waiting(&mut self, now: Timestamp, ix: Ix<Waiter>) -> Option<(Option<usize>, LimitKind)> {
        let waiter = &self.waiters[ix];
        let queue = &self.queues[waiter.home];
        let (rules, entered) = (queue.rules.clone(), waiter.limits_from());
        let agent_gone = waiter.direct.is_some_and(|agent| !self.agents[agent].declared);
        if !queue.declared || agent_gone {
            return Some((None, LimitKind::Gone));
        }
        if waiter.entry.callback {
            return None;
        }
        let looks_at_estimate = waiter.estimate_at.is_some_and(|at| at <= now);
        if looks_at_estimate {
            self.waiters[ix].estimate_at = Some(now + ESTIMATE_CHECK);
        }
        let found = rules_of(&rules, &self.waiters[ix].entry).find_map(|(number, rule)| {
            let kind = match rule {
                OverflowRule::AfterS(s) => (now >= entered + seconds(s)).then_some(LimitKind::After),
                OverflowRule::Waiting(_) => None,
                OverflowRule::EstimateS(s) => {
                    (looks_at_estimate && self.is_estimated_over(now, ix, s)).then_some(LimitKind::Estimate)
                }
                OverflowRule::NoStaff => (!self.is_staffed(ix)).then_some(LimitKind::NoStaff),
            };
            kind.map(|kind| (Some(number), kind))
        });
        found.or_else(|| (now >= entered + seconds(rules.max_wait_s)).then_some((None, LimitKind::MaxWait)))
    }

    /// When a limit may next be past.
    pub(crate) fn next_limit(&self, now: Timestamp, ix: Ix<Waiter>) -> Option<Timestamp> {
        let waiter = &self.waiters[ix];
        if waiter.entry.callback {
            return None;
        }
        let rules = &self.queues[waiter.home].rules;
        let after = rules_of(rules, &waiter.entry).filter_map(|(_, rule)| match rule {
            OverflowRule::AfterS(s) => Some(s),
            OverflowRule::Waiting(_) | OverflowRule::EstimateS(_) | OverflowRule::NoStaff => None,
        });
        let timed = after.chain([rules.max_wait_s]).map(|s| waiter.limits_from() + seconds(s));
        timed.chain(waiter.estimate_at).filter(|at| *at > now).min()
    }

    fn is_estimated_over(&self, now: Timestamp, ix: Ix<Waiter>, s: u32) -> bool {
        !self.has_agent(now, ix) && self.estimate_of(now, ix).is_some_and(|estimate| estimate.wait > seconds(s))
    }

    /// Whether somebody who could take the caller, not counting lent agents, is signed in.
    fn is_staffed(&self, ix: Ix<Waiter>) -> bool {
        let classes = self.waiters[ix].classes.iter().map(|class| &self.classes.slab[*class]);
        classes.into_iter().any(|class| !class.key.lent && class.staffed > 0)
    }

    /// How many wait in the caller's line, without the caller: the queue's, or that of the agent of a direct call.
    fn line_length(&self, ix: Ix<Waiter>) -> usize {
        let waiter = &self.waiters[ix];
        match waiter.direct {
            None => self.queues[waiter.home].line.len(),
            Some(agent) => self.direct_line(agent).filter(|other| *other != ix).count(),
        }
    }

    /// Everybody who waits for this agent by a direct call, in no order.
    pub(crate) fn direct_line(&self, agent: Ix<crate::state::Agent>) -> impl Iterator<Item = Ix<Waiter>> {
        let lines = self.agents[agent]
            .lines
            .iter()
            .filter(move |line| self.classes.slab[**line].key.pool == Pool::Agent(agent));
        let homes = lines.map(|line| self.classes.slab[*line].key.home);
        let mut homes: Vec<_> = homes.collect();
        homes.sort_unstable();
        homes.dedup();
        let direct = homes.into_iter().flat_map(|home| self.queues[home].direct.iter().map(|(_, waiter)| *waiter));
        direct.filter(move |waiter| self.waiters[*waiter].direct == Some(agent))
    }
}
