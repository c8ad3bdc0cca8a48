//! A limit was reached and there is nowhere to go: the caller hears goodbye and is hung up on.

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
        self.leave_queue(now, id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.is_accepted() {
            self.end_call(now, id, Outcome::Overflowed, cause);
            return;
        }
        if call.open_segment.is_none_or(|(kind, _)| kind != SegmentKind::Queue) {
            call.segment(now, Some(SegmentKind::Queue));
        }
        call.stage = Stage::Goodbye { cause: cause.to_owned() };
        call.stage_since = now;
        self.timers.set(Timer::Call(id, CallTimer::Goodbye), now + GOODBYE_MAX);
        self.play_prompts(id, ["sorry_overflow"].into_iter());
        self.changed();
    }

    pub(crate) fn goodbye_over(&mut self, now: Timestamp, id: CallId) {
        if let Some(Stage::Goodbye { cause }) = self.calls.get(&id).map(|call| &call.stage) {
            let cause = cause.clone();
            self.end_call(now, id, Outcome::Overflowed, &cause);
        }
    }
}
