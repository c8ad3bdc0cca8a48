//! The caller waits in a queue: the place, the rules by which others are asked first, and the limits that end the wait.

use cti_acd::limits::RELATED_MAX;
use cti_acd::{Entered, Entry, Left, LimitKind};
use cti_base::{AgentName, CallId, QueueName, Timestamp};

use super::{Call, Overflowing, Place, Records, Stage, Waiting, Wish};
use crate::config::{AnswerWhen, QueueDecl, StickyBy, Target, Tenant, When};
use crate::desk::Candidate;
use crate::engine::Engine;
use crate::fact::{Outcome, SegmentKind};
use crate::limits::{OVERFLOWS_MAX, RECORDS_WAIT};
use crate::timer::{CallTimer, Timer};
use crate::trace::Destination;

/// The cause of a call that was passed on to busy.
pub(crate) const BUSY: &str = "busy";

impl Engine {
    /// The caller enters a queue. The place counts from the first queue of the call's life.
    pub(crate) fn enqueue(&mut self, now: Timestamp, id: CallId, name: &QueueName, wish: Wish) {
        self.enqueue_at(now, id, Place { queue: name.clone(), entered: now, wish, stood: false });
    }

    pub(super) fn enqueue_at(&mut self, now: Timestamp, id: CallId, place: Place) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(state) = self.tenants.get_mut(&call.tenant) else { return };
        state.look_at_day(now);
        let Some(queue) = state.queues.get_mut(&place.queue) else {
            self.say_goodbye(now, id, "queue_removed");
            return;
        };
        call.queue = Some(place.queue.clone());
        call.queued.get_or_insert(now);
        let priority = queue.decl.priority.saturating_add(place.wish.priority);
        self.count_entry(now, id, &place.queue, priority);
        self.stand_in(now, id, place);
    }

    /// Into the line of a queue that counts the caller already.
    pub(super) fn stand_in(&mut self, now: Timestamp, id: CallId, place: Place) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(state) = self.tenants.get(&call.tenant) else { return };
        let Some(queue) = state.queues.get(&place.queue) else {
            self.say_goodbye(now, id, "queue_removed");
            return;
        };
        if let Some((to, cause)) = closed_to(&queue.decl, &state.tenant, call, now) {
            self.overflow(now, id, cause, place.wish, Some(to));
            return;
        }
        call.segment(now, Some(SegmentKind::Queue));
        call.stage_since = now;
        let Place { queue, entered, wish, stood } = place;
        let (entering, offers) = (true, Vec::new());
        let waiting = Waiting { queue, entered, wish, stood, entering, comfort_next: None, comfort: None, offers };
        call.stage = Stage::Waiting(Box::new(waiting));
        match self.records_wanted_until(now, id) {
            Some(until) => {
                self.leave_acd(now, id, Left::Moved);
                self.timers.set(Timer::Call(id, CallTimer::RecordsWait), until);
            }
            None => self.enter_acd(now, id),
        }
    }

    /// How long the records, which are being asked, may still take to say whom the queue's rules prefer.
    fn records_wanted_until(&self, now: Timestamp, id: CallId) -> Option<Timestamp> {
        let call = self.calls.get(&id)?;
        let Records::Asked(at) = call.records else { return None };
        let paused = self.tenants.get(&call.tenant)?.records_pause_until > now;
        let until = at + RECORDS_WAIT;
        (!paused && until > now && self.queue_of(call)?.decl.asks_records()).then_some(until)
    }

    /// The caller waits for this agent alone, by the rules of the first queue that the agent serves.
    pub(crate) fn enqueue_for(&mut self, now: Timestamp, id: CallId, agent: &AgentName, wish: Wish) {
        let tenant = self.calls.get(&id).map(|call| call.tenant.clone());
        let queue = tenant.and_then(|tenant| self.agent(&tenant, agent)?.decl.queues.first().cloned());
        match queue {
            Some(queue) => self.enqueue(now, id, &queue, Wish { agent: Some(agent.clone()), ..wish }),
            None => self.say_goodbye(now, id, "agent_removed"),
        }
    }

    /// The caller hears that somebody is there.
    pub(super) fn take_in(&mut self, now: Timestamp, id: CallId) {
        match self.calls.get(&id).map(|call| call.answer_when) {
            Some(AnswerWhen::Entry) => self.answer_caller(now, id),
            Some(AnswerWhen::Agent) => self.ring_caller(now, id),
            None => {}
        }
    }

    /// Into the line; out of it again at once where one of the queue's limits says so.
    pub(crate) fn enter_acd(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(waiting) = call.waiting_mut() else { return };
        waiting.entering = false;
        let Some(call) = self.calls.get(&id) else { return };
        let Some(waiting) = call.waiting() else { return };
        let (tenant, queue) = (call.tenant.clone(), waiting.queue.clone());
        let mut entry = Entry::new(queue, call.place().unwrap_or(now), waiting.entered, call.order);
        entry.priority = waiting.wish.priority;
        entry.requires = waiting.wish.requires.clone();
        entry.direct = waiting.wish.agent.clone();
        entry.value = call.value_class();
        if let (Some(customer), Some(queue)) = (call.customer(), self.queue_of(call)) {
            entry.prefer = queue.decl.sticky.and_then(|sticky| preferred(customer, sticky.by));
            entry.related = related(customer);
        }
        entry.stood = waiting.stood;
        if let Some(queue) = self.queue_of(call).filter(|_| !call.unreached.is_empty()) {
            let rules = queue.decl.overflow.iter().filter(|rule| rule.when.of_acd().is_some());
            let spent = rules.enumerate().filter(|(_, rule)| call.is_spent(rule));
            entry.spent = spent.fold(0, |spent, (number, _)| spent | 1_u32.checked_shl(number as u32).unwrap_or(0));
        }
        let Some(acd) = self.acd_mut(&tenant) else { return };
        // Before the caller takes one of them.
        let staff = acd.staff(&entry.queue);
        let prefer = entry.prefer.clone();
        let entered = acd.enter(now, id, entry);
        self.trace_entry(now, id, staff, prefer);
        match entered {
            Entered::Waiting => {
                self.take_in(now, id);
                self.entered.push_back(id);
            }
            Entered::Overflow { rule, why } => self.limit_reached(now, id, rule, why),
            Entered::NoSuchQueue => self.limit_reached(now, id, None, LimitKind::Gone),
            Entered::NoSuchAgent => self.limit_reached(now, id, None, LimitKind::Gone),
        }
    }

    /// A limit of the queue is past, on entering it or later: `rule` is the ACD's number of it, where it is one of the
    /// queue's `overflow`.
    pub(crate) fn limit_reached(&mut self, now: Timestamp, id: CallId, rule: Option<usize>, why: LimitKind) {
        let Some(call) = self.calls.get(&id) else { return self.callback_limit(now, id, why) };
        let decl = self.queue_of(call).map(|queue| &queue.decl);
        let to = decl.and_then(|decl| match rule {
            Some(rule) => decl.overflow_rule(rule).map(|rule| &rule.to),
            None if why == LimitKind::Full => decl.overflow_when_full(|rule| !call.is_spent(rule)),
            None => None,
        });
        let cause = match why {
            LimitKind::After => "overflow",
            LimitKind::Waiting => "waiting",
            LimitKind::Estimate => "estimate",
            LimitKind::NoStaff => "no_staff",
            LimitKind::Full => "max_waiting",
            LimitKind::MaxWait => "max_wait",
            LimitKind::Gone if call.waiting().is_some_and(|waiting| waiting.wish.agent.is_some()) => "agent_removed",
            LimitKind::Gone => "queue_removed",
        };
        if call.is_dialing() {
            // The ground moved under a callback's call: it is dialled anew, or over.
            self.attempt_over(now, id, Outcome::Failed, cause);
            return;
        }
        let to = to.cloned();
        if self.transfer_refused(now, id, cause) {
            return;
        }
        if to != Some(Target::Busy) {
            self.take_in(now, id);
        }
        self.overflow_waiting(now, id, cause, to);
    }

    /// Passes a waiting caller on. What the script asked for goes along, but for the one agent.
    pub(crate) fn overflow_waiting(&mut self, now: Timestamp, id: CallId, cause: &str, to: Option<Target>) {
        if let Some(waiting) = self.calls.get(&id).and_then(|call| call.waiting()) {
            let wish = Wish { agent: None, ..waiting.wish.clone() };
            self.overflow(now, id, cause, wish, to);
        }
    }

    /// A limit of the call's queue passes it on, or to goodbye where it leads nowhere.
    fn overflow(&mut self, now: Timestamp, id: CallId, cause: &str, wish: Wish, to: Option<Target>) {
        let Some(to) = to else { return self.say_goodbye(now, id, cause) };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.overflows += 1;
        if call.overflows > OVERFLOWS_MAX {
            return self.say_goodbye(now, id, "overflow_limit");
        }
        if let Target::Number(number) = to {
            let Some(place) = self.place_of(id, now, wish) else { return };
            self.overflow_outside(now, id, cause, Overflowing { place, number });
            return;
        }
        self.count_overflow(now, id, cause, destination(&to));
        let is_offered = self.calls.get(&id).is_some_and(|call| call.is_offered());
        if matches!(to, Target::Queue(_) | Target::Agent(_)) && !is_offered {
            // Out of the one line by standing in the other: no agent of both is lent away meanwhile.
            self.cancel_waiting_timers(id);
        } else {
            self.leave_queue(now, id);
        }
        match to {
            Target::Queue(name) => self.enqueue(now, id, &name, wish),
            Target::Agent(name) => self.enqueue_for(now, id, &name, wish),
            Target::Ivr { name, node } => self.enter_menu(now, id, &name, node),
            Target::Busy => self.refuse_busy(now, id),
            Target::Voicemail => self.enter_voicemail(now, id, cause, false),
            // Dialled above.
            Target::Number(_) => self.say_goodbye(now, id, cause),
        }
    }

    /// Where the caller stands, or was about to: with the wish they came with.
    fn place_of(&self, id: CallId, now: Timestamp, wish: Wish) -> Option<Place> {
        let call = self.calls.get(&id)?;
        let queue = call.queue.clone()?;
        let is_waiting = self.acd_of(&call.tenant).is_some_and(|acd| acd.is_waiting(id));
        Some(match call.waiting().filter(|waiting| waiting.queue == queue) {
            Some(Waiting { entered, wish, stood, .. }) => {
                Place { queue, entered: *entered, wish: wish.clone(), stood: *stood || is_waiting }
            }
            None => Place { queue, entered: now, wish, stood: false },
        })
    }

    /// 486, as far as it can still be sent.
    fn refuse_busy(&mut self, now: Timestamp, id: CallId) {
        match self.calls.get(&id).map(Call::is_accepted) {
            Some(true) => self.say_goodbye(now, id, BUSY),
            Some(false) => self.end_call(now, id, Outcome::Busy, BUSY),
            None => {}
        }
    }

    /// Takes the call out of its queue, if it waits in one; agents who ring are let go.
    pub(crate) fn leave_queue(&mut self, now: Timestamp, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.is_offered()) {
            self.withdraw_offers(now, id, "moved_on");
        }
        self.leave_acd(now, id, Left::Moved);
        self.cancel_waiting_timers(id);
    }

    fn cancel_waiting_timers(&mut self, id: CallId) {
        for kind in [CallTimer::Announce, CallTimer::Comfort, CallTimer::RecordsWait] {
            self.timers.cancel(&Timer::Call(id, kind));
        }
    }
}

/// Who the customer's calls go to first.
fn preferred(customer: &Candidate, by: StickyBy) -> Option<AgentName> {
    let name = match by {
        StickyBy::LastAgent => customer.last_agent.as_deref(),
        StickyBy::CaseOwner => customer.open_cases.iter().find_map(|case| case.owner.as_deref()),
    };
    name.map(AgentName::from)
}

/// Agents who know the customer, the last one first; each once.
fn related(customer: &Candidate) -> Vec<AgentName> {
    let owners = customer.open_cases.iter().filter_map(|case| case.owner.as_deref());
    let mut names: Vec<AgentName> = Vec::new();
    for name in customer.last_agent.as_deref().into_iter().chain(owners).map(AgentName::from) {
        if names.len() < RELATED_MAX && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn destination(to: &Target) -> Destination {
    match to {
        Target::Queue(name) => Destination::Queue(name.clone()),
        Target::Agent(name) => Destination::Agent(name.clone()),
        Target::Ivr { name, node: _ } => Destination::Ivr(name.clone()),
        Target::Voicemail => Destination::Voicemail,
        Target::Number(number) => Destination::Number(number.clone()),
        Target::Busy => Destination::Busy,
    }
}

/// The first rule by which the queue takes nobody in at this moment: emergency, or outside the hours.
fn closed_to(decl: &QueueDecl, tenant: &Tenant, call: &Call, now: Timestamp) -> Option<(Target, &'static str)> {
    decl.overflow.iter().filter(|rule| !call.is_spent(rule)).find_map(|rule| {
        let cause = match &rule.when {
            When::Emergency => (decl.emergency || tenant.doc.tenant.emergency).then_some("emergency"),
            When::Closed(hours) => {
                let hours = tenant.hours.get(hours)?;
                (!hours.is_open(now, tenant.zone)).then_some("closed")
            }
            When::AfterS(_) | When::Waiting(_) | When::EstimateS(_) | When::NoStaff => None,
        };
        cause.map(|cause| (rule.to.clone(), cause))
    })
}
