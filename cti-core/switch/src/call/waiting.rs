//! The caller waits in a queue: place, music, announcements, and the limits that end the wait.

use std::time::Duration;

use cti_acd::{Entered, Entry, Left, LimitKind};
use cti_base::{AgentName, CallId, QueueName, Timestamp};
use cti_media::{Audio, PromptRef};
use ivr_scripts::announce;

use super::{Call, Stage, Waiting, Wish};
use crate::config::{AnswerWhen, QueueDecl, Target, Tenant, When};
use crate::engine::Engine;
use crate::fact::{Fact, Outcome, SegmentKind};
use crate::limits::OVERFLOWS_MAX;
use crate::timer::{CallTimer, Timer};

/// The cause of a call that was passed on to busy.
pub(crate) const BUSY: &str = "busy";

impl Engine {
    /// The caller enters a queue. The place counts from the first queue of the call's life.
    pub(crate) fn enqueue(&mut self, now: Timestamp, id: CallId, name: &QueueName, wish: Wish) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(state) = self.tenants.get_mut(&call.tenant) else { return };
        let day = state.look_at_day(now);
        let Some(queue) = state.queues.get_mut(name) else {
            self.say_goodbye(now, id, "queue_removed");
            return;
        };
        call.queue = Some(name.clone());
        call.queued.get_or_insert(now);
        queue.stats.add_offered(day);
        let priority = queue.decl.priority.saturating_add(wish.priority);
        let passed_on = closed_to(&queue.decl, &state.tenant, now);
        let (tenant, answer_when) = (call.tenant.clone(), call.answer_when);
        self.fact(Fact::Queued { tenant, call: id, queue: name.clone(), priority });
        if let Some((to, cause)) = passed_on {
            self.overflow(now, id, cause, wish, Some(to));
            return;
        }
        match answer_when {
            AnswerWhen::Entry => self.answer_caller(now, id),
            AnswerWhen::Agent => self.ring_caller(now, id),
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.segment(now, Some(SegmentKind::Queue));
        call.stage_since = now;
        call.stage = Stage::Waiting(Box::new(Waiting { queue: name.clone(), entered: now, wish, offers: Vec::new() }));
        self.enter_acd(now, id);
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

    /// Into the line; out of it again at once where one of the queue's limits says so.
    fn enter_acd(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(waiting) = call.waiting() else { return };
        let (tenant, queue) = (call.tenant.clone(), waiting.queue.clone());
        let mut entry = Entry::new(queue, call.queued.unwrap_or(now), waiting.entered, call.order);
        entry.priority = waiting.wish.priority;
        entry.requires = waiting.wish.requires.clone();
        entry.direct = waiting.wish.agent.clone();
        let Some(acd) = self.acd_mut(&tenant) else { return };
        match acd.enter(now, id, entry) {
            Entered::Waiting => self.entered.push_back(id),
            Entered::Overflow { rule, why } => self.limit_reached(now, id, rule, why),
            Entered::NoSuchQueue => self.say_goodbye(now, id, "queue_removed"),
            Entered::NoSuchAgent => self.say_goodbye(now, id, "agent_removed"),
        }
    }

    /// A limit of the queue is past, on entering it or later: `rule` is the ACD's number of it, where it is one of the
    /// queue's `overflow`.
    pub(crate) fn limit_reached(&mut self, now: Timestamp, id: CallId, rule: Option<usize>, why: LimitKind) {
        let Some(call) = self.calls.get(&id) else { return };
        let decl = self.queue_of(call).map(|queue| &queue.decl);
        let to = decl.and_then(|decl| match rule {
            Some(rule) => decl.overflow_rule(rule).map(|rule| &rule.to),
            None if why == LimitKind::Full => decl.overflow_when_full(),
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
        let to = to.cloned();
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
        self.leave_queue(now, id);
        match to {
            Target::Queue(name) => self.enqueue(now, id, &name, wish),
            Target::Agent(name) => self.enqueue_for(now, id, &name, wish),
            Target::Ivr { name, node } => self.enter_menu(now, id, &name, node),
            Target::Busy => self.refuse_busy(now, id),
            // Refused by the tenant's file.
            Target::Voicemail | Target::Number(_) => self.say_goodbye(now, id, cause),
        }
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
        self.timers.cancel(&Timer::Call(id, CallTimer::Announce));
    }

    /// What the caller hears on entering: welcome, and where nobody rings yet, position and wait; then music.
    pub(crate) fn welcome(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.is_accepted()) else { return };
        let Some(waiting) = call.waiting() else { return };
        let mut prompts = vec!["queue_welcome"];
        if waiting.offers.is_empty() {
            prompts.extend(self.announcement(now, id));
        }
        self.play_prompts(id, prompts.into_iter());
        self.set_announce_timer(now, id);
    }

    pub(crate) fn announce_due(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.is_accepted()) else { return };
        // A caller whose agent rings needs no figure.
        if call.waiting().is_some_and(|waiting| waiting.offers.is_empty()) {
            let prompts = self.announcement(now, id);
            if !prompts.is_empty() {
                self.play_prompts(id, prompts.into_iter());
            }
        }
        self.set_announce_timer(now, id);
    }

    fn set_announce_timer(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.waiting().is_some()) else { return };
        let every_s = self.queue_of(call).map_or(0, |queue| queue.decl.announce.every_s);
        if every_s > 0 {
            self.timers.set(Timer::Call(id, CallTimer::Announce), now + Duration::from_secs(u64::from(every_s)));
        }
    }

    /// Position and estimated wait, as the queue announces them.
    fn announcement(&self, now: Timestamp, id: CallId) -> Vec<&'static str> {
        let Some(call) = self.calls.get(&id) else { return Vec::new() };
        let (Some(queue), Some(acd)) = (self.queue_of(call), self.acd_of(&call.tenant)) else { return Vec::new() };
        let mut prompts = Vec::new();
        if let Some(position) = acd.position(id).filter(|_| queue.decl.announce.position) {
            prompts.extend(announce::position(&call.locale, u32::try_from(position).unwrap_or(u32::MAX)));
        }
        if let Some(estimate) = acd.estimate(now, id).filter(|_| queue.decl.announce.wait) {
            prompts.extend(announce::wait(&call.locale, estimate.wait));
        }
        prompts
    }

    /// The queue's music, until something else plays.
    pub(crate) fn play_music(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let name = self.queue_of(call).map_or("default", |queue| queue.decl.music.as_str());
        let music = Audio::Prompt(PromptRef(format!("music/{name}").into()));
        self.play(id, vec![music], true);
    }
}

/// The first rule by which the queue takes nobody in at this moment: emergency, or outside the hours.
fn closed_to(decl: &QueueDecl, tenant: &Tenant, now: Timestamp) -> Option<(Target, &'static str)> {
    decl.overflow.iter().find_map(|rule| {
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
