//! Agents lent between queues: only while nobody waits for the lender, and its service level of the last half hour holds.

use std::collections::VecDeque;
use std::time::Duration;

use cti_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::acd::Acd;
use crate::class::{Class, Pool};
use crate::entry::Left;
use crate::limits::{LENDING_CALLS_MIN, LENDING_WINDOW_MINUTES};
use crate::rules::ServiceLevel;
use crate::slab::Ix;
use crate::state::{Queue, Waiter};

const MINUTE_US: u64 = 60_000_000;

/// A queue's calls of the last [`LENDING_WINDOW_MINUTES`], the running minute included. An abandoned call counts where it had
/// waited longer than the service level asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    minutes: VecDeque<Minute>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Minute {
    number: u64,
    in_time: u32,
    calls: u32,
}

impl Window {
    pub(crate) fn add(&mut self, now: Timestamp, in_time: bool) {
        let number = now.as_micros() / MINUTE_US;
        while self.minutes.front().is_some_and(|minute| minute.number + LENDING_WINDOW_MINUTES <= number) {
            self.minutes.pop_front();
        }
        if self.minutes.back().is_none_or(|minute| minute.number < number) {
            self.minutes.push_back(Minute { number, in_time: 0, calls: 0 });
        }
        if let Some(minute) = self.minutes.back_mut() {
            minute.in_time += u32::from(in_time);
            minute.calls += 1;
        }
    }

    /// Too few calls say nothing against it.
    pub(crate) fn holds(&self, now: Timestamp, target: ServiceLevel) -> bool {
        let number = now.as_micros() / MINUTE_US;
        let recent = self.minutes.iter().filter(|minute| minute.number + LENDING_WINDOW_MINUTES > number);
        let (in_time, calls) =
            recent.fold((0, 0), |(in_time, calls), minute| (in_time + minute.in_time, calls + minute.calls));
        calls < LENDING_CALLS_MIN || u64::from(in_time) * 100 >= u64::from(calls) * u64::from(target.percent)
    }
}

impl Acd {
    /// Whether the agents of the class may be asked at this moment.
    pub(crate) fn is_open(&self, now: Timestamp, class: &Class) -> bool {
        match class.key.pool {
            Pool::Queue(lender) if class.key.lent => self.can_lend(now, lender),
            Pool::Queue(_) | Pool::Agent(_) => true,
        }
    }

    pub(crate) fn can_lend(&self, now: Timestamp, lender: Ix<Queue>) -> bool {
        let queue = &self.queues[lender];
        queue.declared && queue.open == 0 && queue.limited == 0 && queue.window.holds(now, queue.rules.service_level)
    }

    /// Whoever waits for lent agents is looked after each minute: a bad minute may have left the window.
    pub(crate) fn plan_lending(&mut self, now: Timestamp) {
        if self.lending_due.is_none() {
            self.lending_due = Some(Timestamp::from_micros((now.as_micros() / MINUTE_US + 1) * MINUTE_US));
        }
    }

    pub(crate) fn lending_turn(&mut self, now: Timestamp) {
        if self.lending_due.is_none_or(|at| at > now) {
            return;
        }
        self.lending_due = None;
        let all: Vec<Ix<Queue>> =
            self.queues.iter().filter(|(_, queue)| !queue.lent.is_empty()).map(|(ix, _)| ix).collect();
        let waits = |lender: &Ix<Queue>| {
            self.queues[*lender].lent.iter().any(|class| !self.classes.slab[*class].waiting.is_empty())
        };
        let wanted: Vec<Ix<Queue>> = all.into_iter().filter(waits).collect();
        if !wanted.is_empty() {
            self.plan_lending(now);
        }
        self.lenders.extend(wanted);
    }

    pub(crate) fn count_left(&mut self, now: Timestamp, ix: Ix<Waiter>, how: &Left) {
        let waiter = &self.waiters[ix];
        let queue = &mut self.queues[waiter.home];
        if !queue.declared {
            return;
        }
        let target = Duration::from_secs(u64::from(queue.rules.service_level.seconds));
        let in_time = now.since(waiter.entry.entered) <= target;
        match how {
            Left::Answered { .. } => queue.window.add(now, in_time),
            Left::Abandoned if !in_time => queue.window.add(now, false),
            Left::Abandoned | Left::Moved => return,
        }
        if in_time && !queue.lent.is_empty() {
            self.lenders.push(waiter.home);
        }
    }

    /// Lenders who may have become able to lend are asked by who waits for them, first come first. Every change ends with it.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        while !self.lenders.is_empty() {
            let asked = std::mem::take(&mut self.lenders);
            let mut waiting = Vec::new();
            for lender in asked.iter().filter(|lender| self.can_lend(now, **lender)) {
                for class in &self.queues[*lender].lent {
                    let class = &self.classes.slab[*class];
                    if !class.ready.is_empty() {
                        waiting.extend(class.waiting.iter().copied());
                    }
                }
            }
            self.in_order(now, &mut waiting);
            for (_, waiter) in waiting {
                // Who is matched may have been the last to wait for a lender: then the first in line is asked again.
                if self.match_waiter(now, waiter) && !self.lenders.is_empty() {
                    self.lenders.extend(asked);
                    break;
                }
            }
        }
    }

    pub(crate) fn in_order(&self, now: Timestamp, waiters: &mut [(crate::rank::Place, Ix<Waiter>)]) {
        waiters.sort_unstable_by(|(a, a_ix), (b, b_ix)| {
            let (a_home, b_home) = (self.waiters[*a_ix].home, self.waiters[*b_ix].home);
            crate::rank::compare(now, (&self.queues[a_home].slope, a), (&self.queues[b_home].slope, b))
        });
    }
}
