//! The caller waits in a queue: place, music, announcements, and the limits that end the wait.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{CallId, QueueName, Timestamp};
use cti_media::{Audio, PromptRef};
use ivr_scripts::announce;

use super::{Stage, Waiting, merge_requires};
use crate::acd::queue::Place;
use crate::config::{AnswerWhen, Route};
use crate::engine::Engine;
use crate::fact::{Fact, OfferEnd, SegmentKind};
use crate::hours::local_day;
use crate::limits::OVERFLOWS_MAX;
use crate::timer::{CallTimer, Timer};

impl Engine {
    /// The caller enters a queue. The place counts from the first queue of the call's life.
    pub(crate) fn enqueue(
        &mut self,
        now: Timestamp,
        id: CallId,
        name: &QueueName,
        priority: i32,
        requires: BTreeMap<String, u8>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(state) = self.tenants.get_mut(&call.tenant) else { return };
        let Some(queue) = state.queues.get_mut(name) else {
            self.say_goodbye(now, id, "queue_removed");
            return;
        };
        call.queue = Some(name.clone());
        let queued = *call.queued.get_or_insert(now);
        let total = queue.decl.priority.saturating_add(priority);
        queue.stats.add_offered(local_day(now, state.tenant.zone));
        let (tenant, answer_when, was_full) = (call.tenant.clone(), call.answer_when, queue.is_full());
        self.fact(Fact::Queued { tenant, call: id, queue: name.clone(), priority: total });
        match answer_when {
            AnswerWhen::Entry => self.answer_caller(now, id),
            AnswerWhen::Agent => self.ring_caller(now, id),
        }
        if was_full {
            self.overflow(now, id, "max_waiting", priority, requires);
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(queue) = self.tenants.get_mut(&call.tenant).and_then(|state| state.queues.get_mut(name)) else {
            return;
        };
        call.segment(now, Some(SegmentKind::Queue));
        call.stage_since = now;
        let place = Place::new(total, queued, call.order);
        call.stage = Stage::Waiting(Box::new(Waiting {
            queue: name.clone(),
            place,
            entered: now,
            script_priority: priority,
            requires: merge_requires(&queue.decl.requires, &requires),
            script_requires: requires,
            offer: None,
            skip: None,
            paused_until: Timestamp::default(),
        }));
        queue.enter(place, id);
        self.set_wait_timers(id);
        self.match_call(now, id);
        self.welcome(now, id);
    }

    /// The queue's limits as they are declared at this moment, counted from entering it.
    pub(crate) fn set_wait_timers(&mut self, id: CallId) {
        let Some(waiting) = self.calls.get(&id).and_then(|call| call.waiting()) else { return };
        let Some(call) = self.calls.get(&id) else { return };
        let Some(decl) = self.queue_decl(&call.tenant, waiting.queue.as_str()) else { return };
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let max_wait = waiting.entered + seconds(decl.max_wait_s);
        let overflow = decl.overflow.as_ref().map(|overflow| waiting.entered + seconds(overflow.after_s));
        self.timers.set(Timer::Call(id, CallTimer::MaxWait), max_wait);
        match overflow {
            Some(at) => self.timers.set(Timer::Call(id, CallTimer::Overflow), at),
            None => self.timers.cancel(&Timer::Call(id, CallTimer::Overflow)),
        }
    }

    /// One of the limits' timers came.
    pub(crate) fn limit_due(&mut self, now: Timestamp, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.offer().is_none()) {
            self.enforce_limits(now, id);
        }
    }

    /// Carries out the queue's limits that are past; whether one was. A phone that rings is not taken back for them: they
    /// are looked at again when it has not answered.
    pub(crate) fn enforce_limits(&mut self, now: Timestamp, id: CallId) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        let Some(waiting) = call.waiting() else { return false };
        let Some(decl) = self.queue_decl(&call.tenant, waiting.queue.as_str()) else { return false };
        let waited = now.since(waiting.entered);
        let is_past = |s: u32| waited >= Duration::from_secs(u64::from(s));
        if is_past(decl.max_wait_s) {
            self.say_goodbye(now, id, "max_wait");
            return true;
        }
        if decl.overflow.as_ref().is_some_and(|overflow| is_past(overflow.after_s)) {
            self.overflow_waiting(now, id);
            return true;
        }
        false
    }

    /// Passes a waiting caller on.
    pub(crate) fn overflow_waiting(&mut self, now: Timestamp, id: CallId) {
        if let Some(waiting) = self.calls.get(&id).and_then(|call| call.waiting()) {
            let (priority, requires) = (waiting.script_priority, waiting.script_requires.clone());
            self.overflow(now, id, "overflow", priority, requires);
        }
    }

    /// A limit of the call's queue passes it on to where the queue's overflow leads, or to goodbye. What the script asked
    /// for goes along to another queue.
    pub(crate) fn overflow(
        &mut self,
        now: Timestamp,
        id: CallId,
        cause: &str,
        priority: i32,
        requires: BTreeMap<String, u8>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.overflows += 1;
        let is_lost = call.overflows > OVERFLOWS_MAX;
        let Some(call) = self.calls.get(&id) else { return };
        let to = self.queue_of(call).and_then(|queue| queue.decl.overflow.as_ref()).map(|overflow| overflow.to.clone());
        let Some(to) = to else { return self.say_goodbye(now, id, cause) };
        if is_lost {
            return self.say_goodbye(now, id, "overflow_limit");
        }
        self.leave_queue(now, id);
        match to {
            Route::Queue(name) => self.enqueue(now, id, &name, priority, requires),
            Route::Ivr(name) => self.enter_menu(now, id, &name),
        }
    }

    /// Takes the call out of its queue, if it waits in one; an agent who rings is let go.
    pub(crate) fn leave_queue(&mut self, now: Timestamp, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.offer().is_some()) {
            self.withdraw_offer(now, id, OfferEnd::Withdrawn, "moved_on");
        }
        let Some(call) = self.calls.get(&id) else { return };
        if let Some(waiting) = call.waiting() {
            let (queue, place, tenant) = (waiting.queue.clone(), waiting.place, call.tenant.clone());
            if let Some(queue) = self.tenants.get_mut(&tenant).and_then(|state| state.queues.get_mut(&queue)) {
                queue.leave(place);
            }
        }
        for kind in [CallTimer::Overflow, CallTimer::MaxWait, CallTimer::Announce, CallTimer::Rematch] {
            self.timers.cancel(&Timer::Call(id, kind));
        }
    }

    /// What the caller hears on entering: welcome, and where nobody rings yet, position and wait; then music.
    fn welcome(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.is_accepted()) else { return };
        let Some(waiting) = call.waiting() else { return };
        let mut prompts = vec!["queue_welcome"];
        if waiting.offer.is_none() {
            prompts.extend(self.announcement(id));
        }
        self.play_prompts(id, prompts.into_iter());
        self.set_announce_timer(now, id);
    }

    pub(crate) fn announce_due(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.is_accepted()) else { return };
        // A caller whose agent rings needs no figure.
        if call.waiting().is_some_and(|waiting| waiting.offer.is_none()) {
            let prompts = self.announcement(id);
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
    fn announcement(&self, id: CallId) -> Vec<&'static str> {
        let Some(call) = self.calls.get(&id) else { return Vec::new() };
        let (Some(waiting), Some(queue)) = (call.waiting(), self.queue_of(call)) else { return Vec::new() };
        let Some(state) = self.tenants.get(&call.tenant) else { return Vec::new() };
        let position = queue.position(waiting.place);
        let mut prompts = Vec::new();
        if queue.decl.announce.position {
            prompts.extend(announce::position(&call.locale, u32::try_from(position).unwrap_or(u32::MAX)));
        }
        if queue.decl.announce.wait {
            let serves = |name: &&cti_base::QueueName| **name == waiting.queue;
            let agents = state.agents.values();
            let working = agents.filter(|agent| agent.is_working() && agent.decl.queues.iter().any(|q| serves(&q)));
            if let Some(wait) = queue.handling.wait(position, working.count()) {
                prompts.extend(announce::wait(&call.locale, wait));
            }
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
