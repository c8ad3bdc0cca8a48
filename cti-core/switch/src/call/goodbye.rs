//! The caller hears a last word and is hung up on: a limit was reached and there is nowhere to go, or they are called back.

use cti_base::{CallId, Timestamp};

use super::Stage;
use crate::engine::Engine;
use crate::fact::{Outcome, SegmentKind};
use crate::limits::GOODBYE_MAX;
use crate::timer::{CallTimer, Timer};
use crate::trace::Destination;

impl Engine {
    /// `cause` is the limit. A caller who was never answered is refused instead: there is nobody to hear a goodbye.
    pub(crate) fn say_goodbye(&mut self, now: Timestamp, id: CallId, cause: &str) {
        self.count_overflow(now, id, cause, Destination::Goodbye);
        self.end_with_prompt(now, id, Outcome::Overflowed, cause, "sorry_overflow");
    }

    /// Out of the queue; the call ends when the prompt has played.
    pub(crate) fn end_with_prompt(
        &mut self,
        now: Timestamp,
        id: CallId,
        outcome: Outcome,
        cause: &str,
        prompt: &'static str,
    ) {
        self.leave_queue(now, id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.is_accepted() {
            self.end_call(now, id, outcome, cause);
            return;
        }
        if call.open_segment.is_none_or(|(kind, _)| !matches!(kind, SegmentKind::Queue | SegmentKind::Voicemail)) {
            call.segment(now, Some(SegmentKind::Queue));
        }
        call.stage = Stage::Goodbye { cause: cause.to_owned(), outcome };
        call.stage_since = now;
        self.timers.set(Timer::Call(id, CallTimer::Goodbye), now + GOODBYE_MAX);
        self.play_prompts(id, [prompt].into_iter());
        self.changed();
    }

    pub(crate) fn goodbye_over(&mut self, now: Timestamp, id: CallId) {
        if let Some(Stage::Goodbye { cause, outcome }) = self.calls.get(&id).map(|call| &call.stage) {
            let (cause, outcome) = (cause.clone(), *outcome);
            self.end_call(now, id, outcome, &cause);
        }
    }
}
