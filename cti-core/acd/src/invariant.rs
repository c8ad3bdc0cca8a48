//! What must hold between any two calls. Tests ask after each.

use cti_base::Timestamp;

use crate::acd::Acd;
use crate::class::Pool;

macro_rules! ensure {
    ($what:expr, $($text:tt)*) => {
        if !$what {
            return Err(format!($($text)*));
        }
    };
}

impl Acd {
    /// The first rule that is broken at `now`, by name and case.
    pub fn check_invariants(&self, now: Timestamp) -> Result<(), String> {
        self.check_agents()?;
        self.check_waiters()?;
        self.check_classes()?;
        self.check_matches(now)
    }

    /// One agent, one offer; who is free stands among the ready, everywhere; nobody else does.
    fn check_agents(&self) -> Result<(), String> {
        for (ix, agent) in self.agents.iter() {
            let name = &agent.name;
            let offering: Vec<_> = self.waiters.iter().filter(|(_, waiter)| waiter.offers.contains(&ix)).collect();
            ensure!(offering.len() <= 1, "{name} is offered {} callers", offering.len());
            ensure!(agent.offer == offering.first().map(|(of, _)| *of), "{name} does not know their offer");
            ensure!(agent.is_ready == agent.may_be_offered(), "{name}: ready {}, {:?}", agent.is_ready, agent.activity);
            for seat in &agent.seats {
                let class = &self.classes.slab[seat.class];
                ensure!(class.ready.contains(&(seat.key, ix)) == agent.is_ready, "{name} stands wrong in a class");
                let key = self.agent_key(ix, class.key.home, &class.key.requires);
                ensure!(!agent.is_ready || key == seat.key, "{name} stands at a foreign key");
            }
        }
        for (_, queue) in self.queues.iter() {
            let of = |is: fn(&crate::state::Agent) -> bool| {
                queue.members.iter().filter(|agent| is(&self.agents[**agent])).count()
            };
            let counted = (of(|a| a.activity.is_staffed()), of(|a| a.activity.is_working()), of(|a| a.is_ready));
            let told = (queue.staffed, queue.working, queue.ready);
            ensure!(counted == told, "{}: staff {told:?}, counted {counted:?}", queue.name);
        }
        Ok(())
    }

    /// Each caller once in their line, and in their classes as long as nobody rings for them.
    fn check_waiters(&self) -> Result<(), String> {
        for (ix, waiter) in self.waiters.iter() {
            let id = waiter.id;
            let queue = &self.queues[waiter.home];
            let line = queue.line.iter().chain(&queue.direct).filter(|(_, other)| *other == ix).count();
            ensure!(line == 1, "{id} stands {line} times in {}", queue.name);
            ensure!(waiter.stands == waiter.may_stand(), "{id}: stands {}", waiter.stands);
            for class in &waiter.classes {
                let stands = self.classes.slab[*class].waiting.contains(&(waiter.place, ix));
                ensure!(stands == waiter.stands, "{id} stands wrong in a class");
            }
            let due = waiter.due.is_none_or(|at| self.due.contains(&(at, waiter.place.seq(), ix)));
            ensure!(due, "{id} is not looked at when due");
        }
        let due = self.waiters.iter().filter(|(_, waiter)| waiter.due.is_some()).count();
        ensure!(due == self.due.len(), "{} fall due, of whom {due} wait", self.due.len());
        for (_, queue) in self.queues.iter() {
            ensure!(queue.line.iter().is_sorted(), "{}: out of order", queue.name);
            let open = queue.line.iter().filter(|(_, waiter)| {
                let waiter = &self.waiters[*waiter];
                waiter.stands && waiter.sticky.is_none()
            });
            ensure!(open.count() == queue.open, "{}: {} open", queue.name, queue.open);
            let limited = queue.line.iter().chain(&queue.direct).filter(|(_, waiter)| self.waiters[*waiter].limited);
            ensure!(limited.count() == queue.limited, "{}: {} limited", queue.name, queue.limited);
        }
        Ok(())
    }

    fn check_classes(&self) -> Result<(), String> {
        for (ix, class) in self.classes.slab.iter() {
            let requires = &class.key.requires;
            let fits = self.agents.iter().filter(|(agent, of)| {
                let is_own = class.key.lent && of.queues.contains(&class.key.home);
                of.declared && !is_own && self.is_of_pool(*agent, class.key.pool) && of.has(requires)
            });
            let fits: Vec<_> = fits.collect();
            ensure!(fits.len() == class.eligible, "a class has {} for {}", class.eligible, fits.len());
            let staffed = fits.iter().filter(|(_, agent)| agent.activity.is_staffed()).count();
            ensure!(staffed == class.staffed, "a class has {} staffed for {staffed}", class.staffed);
            let seated = fits.iter().all(|(_, agent)| agent.seats.iter().filter(|seat| seat.class == ix).count() == 1);
            ensure!(seated, "an agent lacks a seat");
            if let Pool::Queue(queue) = class.key.pool {
                let listed = self.queues[queue].lent.contains(&ix);
                ensure!(listed == class.key.lent, "a class that lends is not listed");
            }
        }
        Ok(())
    }

    /// Nobody waits while somebody who may be offered them is free.
    fn check_matches(&self, now: Timestamp) -> Result<(), String> {
        ensure!(self.lenders.is_empty(), "lenders were not asked");
        // What fell due is not yet carried out.
        if self.deadline().is_some_and(|at| at <= now) {
            return Ok(());
        }
        for (ix, waiter) in self.waiters.iter().filter(|(_, waiter)| waiter.stands) {
            ensure!(!self.has_agent(now, ix), "{} waits while somebody is free", waiter.id);
        }
        Ok(())
    }
}
