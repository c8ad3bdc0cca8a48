//! What a waiting caller hears and does: music, place and wait, comfort messages, keys.

use std::time::Duration;

use cti_base::{CallId, Timestamp};
use cti_media::{Audio, PromptRef};
use ivr_scripts::announce;

use super::Call;
use crate::config::{Comfort, KeyAction};
use crate::engine::Engine;
use crate::timer::{CallTimer, Timer};
use crate::trace::{Destination, TraceEntry};

/// The cause of a call whose caller chose to leave a message.
pub(crate) const VOICEMAIL: &str = "voicemail";

impl Engine {
    /// What the caller hears on entering: welcome, and where nobody rings yet, position and wait; then music.
    pub(crate) fn welcome(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.is_accepted()) else { return };
        let Some(waiting) = call.waiting() else { return };
        if call.answered.is_some() || waiting.stood {
            // They were handed on, or come back: music, no welcome.
            self.play_music(id);
            self.set_announce_timer(now, id);
            self.set_comfort_timer(now, id);
            return;
        }
        let mut prompts = vec!["queue_welcome"];
        if waiting.offers.is_empty() {
            prompts.extend(self.announcement(now, id));
        }
        self.play_prompts(id, prompts.into_iter());
        self.set_announce_timer(now, id);
        self.set_comfort_timer(now, id);
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
    fn announcement(&mut self, now: Timestamp, id: CallId) -> Vec<&'static str> {
        let Some(call) = self.calls.get(&id) else { return Vec::new() };
        let (Some(queue), Some(acd)) = (self.queue_of(call), self.acd_of(&call.tenant)) else { return Vec::new() };
        let position = acd.position(id).filter(|_| queue.decl.announce.position);
        let position = position.map(|position| u32::try_from(position).unwrap_or(u32::MAX));
        let estimate = acd.estimate(now, id).filter(|_| queue.decl.announce.wait);
        let mut prompts = Vec::new();
        if let Some(position) = position {
            prompts.extend(announce::position(&call.locale, position));
        }
        if let Some(estimate) = estimate {
            prompts.extend(announce::wait(&call.locale, estimate.wait));
        }
        if !prompts.is_empty() {
            let wait_ms = estimate.map(|estimate| estimate.wait.as_millis() as u64);
            let estimator = estimate.map(|estimate| estimate.estimator.to_owned());
            self.trace(now, id, TraceEntry::Told { position, wait_ms, estimator });
        }
        prompts
    }

    /// The queue's music, until something else plays.
    pub(crate) fn play_music(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let music = Audio::Prompt(PromptRef(format!("music/{}", self.music_of(call)).into()));
        self.play(id, vec![music], true);
    }

    /// The name of the music that is heard on this call.
    pub(crate) fn music_of(&self, call: &Call) -> String {
        self.queue_of(call).map_or("default", |queue| queue.decl.music.as_str()).to_owned()
    }

    /// A key during the wait: the caller goes where the queue says, and keeps the place for the next queue.
    pub(crate) fn waiting_digit(&mut self, now: Timestamp, id: CallId, digit: char) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(KeyAction { callback, voicemail, ivr, node }) = self.key_of(call, digit).cloned() else { return };
        if callback {
            self.ask_for_callback(now, id);
            return;
        }
        if voicemail {
            self.count_move(now, id, Destination::Voicemail);
            self.leave_queue(now, id);
            self.enter_voicemail(now, id, VOICEMAIL, true);
            return;
        }
        let Some(ivr) = ivr else { return };
        self.count_move(now, id, Destination::Ivr(ivr.clone()));
        self.leave_queue(now, id);
        self.enter_menu(now, id, &ivr, node);
    }

    /// What the key does for this caller, who waits and is on the line.
    pub(crate) fn key_of(&self, call: &super::Call, digit: char) -> Option<&KeyAction> {
        call.waiting().filter(|_| call.is_accepted())?;
        self.queue_of(call)?.decl.keys.get(&digit)
    }

    /// A comfort message is due. It does not cut off what is being said; a caller whose agent rings needs none.
    pub(crate) fn comfort_due(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (is_offered, is_busy) = (call.is_offered(), call.playing.is_some());
        let Some(waiting) = call.waiting_mut() else { return };
        let due = waiting.comfort_next.take();
        waiting.comfort = due.filter(|_| !is_offered);
        if !is_busy {
            self.say_comfort(id);
        }
        self.set_comfort_timer(now, id);
    }

    /// The comfort message that waits to be said; whether there was one.
    pub(crate) fn say_comfort(&mut self, id: CallId) -> bool {
        let waiting = self.calls.get_mut(&id).and_then(|call| call.waiting_mut());
        let Some(number) = waiting.and_then(|waiting| waiting.comfort.take()) else { return false };
        let queue = self.calls.get(&id).filter(|call| !call.is_offered()).and_then(|call| self.queue_of(call));
        let prompts = queue.and_then(|queue| queue.decl.comfort.get(number)).map(|comfort| comfort.prompts.clone());
        let Some(prompts) = prompts else { return false };
        self.play_prompts(id, prompts.iter().map(String::as_str));
        true
    }

    fn set_comfort_timer(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Some(waiting), Some(queue)) = (call.waiting(), self.queue_of(call)) else { return };
        let (entered, waited) = (waiting.entered, now.since(waiting.entered));
        let comforts = queue.decl.comfort.iter().enumerate();
        let next = comforts.filter_map(|(number, comfort)| Some((comfort.next_after(waited)?, number))).min();
        if let Some(waiting) = self.calls.get_mut(&id).and_then(|call| call.waiting_mut()) {
            waiting.comfort_next = next.map(|(_, number)| number);
        }
        if let Some((after, _)) = next {
            self.timers.set(Timer::Call(id, CallTimer::Comfort), entered + after);
        }
    }
}

impl Comfort {
    fn times(&self) -> (Duration, Option<Duration>) {
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        (seconds(self.after_s), self.every_s.map(seconds))
    }

    /// When it is next to be said, counted from entering.
    fn next_after(&self, waited: Duration) -> Option<Duration> {
        let (after, every) = self.times();
        if waited < after {
            return Some(after);
        }
        let every = every?;
        let rounds = (waited - after).as_micros() / every.as_micros() + 1;
        Some(after + every * u32::try_from(rounds).ok()?)
    }
}
