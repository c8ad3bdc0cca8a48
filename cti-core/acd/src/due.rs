//! What falls due by itself: the end of pauses, steps, preference and limits. Each caller has one entry, the earliest.

use cti_base::Timestamp;

use crate::acd::Acd;
use crate::relax;
use crate::slab::Ix;
use crate::state::Waiter;

impl Acd {
    /// Everything that fell due until now, in order. Every change begins with it.
    pub(crate) fn run_due(&mut self, now: Timestamp) {
        if !self.configured {
            return;
        }
        while let Some(at) = self.deadline().filter(|at| *at <= now) {
            // In the order in which it fell due, each as of its own time; at one time all change before anybody is matched.
            let mut looked_at = Vec::new();
            while let Some((_, _, ix)) = self.due.first().copied().filter(|(due, _, _)| *due == at) {
                self.due.pop_first();
                self.waiters[ix].due = None;
                self.waiter_due(at, ix);
                looked_at.push((self.waiters[ix].place, ix));
            }
            self.lending_turn(at);
            self.match_all(at, &mut looked_at);
            for (_, ix) in looked_at {
                self.plan_due(at, ix);
            }
        }
    }

    /// One caller as of `now`, not yet matched.
    fn waiter_due(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        let waiter = &mut self.waiters[ix];
        waiter.paused_until = waiter.paused_until.filter(|until| *until > now);
        if self.check_steps(now, ix) {
            self.unstand(ix);
            self.join_classes(ix);
        }
        self.check_sticky(now, ix);
        if !self.enforce_limits(now, ix) {
            self.stand(now, ix);
        }
    }

    /// Notes when the caller is next to be looked at, after everything due until `now` was.
    pub(crate) fn plan_due(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        let waiter = &self.waiters[ix];
        let rules = &self.queues[waiter.home].rules;
        let step = waiter.direct.is_none().then(|| relax::next_step(rules, waiter.entry.entered, now)).flatten();
        let sticky = waiter.sticky.map(|_| self.sticky_until(ix));
        let tried = waiter.tried.iter().map(|(_, until)| *until).filter(|until| *until > now).min();
        let next = [waiter.paused_until, step, sticky, tried, self.next_limit(now, ix)];
        let next = next.into_iter().flatten().filter(|at| *at > now).min().filter(|_| !waiter.limited);
        let (before, seq) = (waiter.due, waiter.place.seq());
        if before == next {
            return;
        }
        if let Some(at) = before {
            self.due.remove(&(at, seq, ix));
        }
        if let Some(at) = next {
            self.due.insert((at, seq, ix));
        }
        self.waiters[ix].due = next;
    }
}
