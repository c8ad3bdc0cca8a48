//! The caller is sent to an outside number, by an agent or by a queue's limit: they hear music while it is dialled, and come
//! back where it does not answer.

use cti_base::{CallId, QueueName, Timestamp};
use cti_media::{LegMedia, MediaCommand};
use serde::{Deserialize, Serialize};

use super::room::{Heard, Outside, Tune};
use super::{Call, Leg, Stage, Talking, Wish};
use crate::config::{Overflow, Target};
use crate::engine::Engine;
use crate::fact::{LegRole, SegmentKind};
use crate::limits::{GUEST_RING, UNREACHED_MAX};
use crate::timer::{CallTimer, Timer};
use crate::trace::{Destination, TraceEntry};

/// Handed to an outside number, which is being dialled.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub outside: Outside,
    pub leg: Leg,
    pub until: Timestamp,
    /// Of a call that a queue's limit sent there.
    #[serde(default)]
    pub overflow: Option<Overflowing>,
}

/// How a queue's limit sent it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Overflowing {
    pub place: Place,
    /// The number, as the rule has it.
    pub number: String,
}

/// Where a caller stood whom a queue's limit passes on, and stands again if that comes to nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub queue: QueueName,
    /// Into this queue: what its limits and steps count from.
    pub entered: Timestamp,
    pub wish: Wish,
    /// They stood in the line already: it is not too long for them.
    #[serde(default)]
    pub stood: bool,
}

impl Engine {
    /// Dials the number that a queue's limit names. Where that can not be, the limit is none for this caller, and they are
    /// counted as passed on only where it can.
    pub(super) fn overflow_outside(&mut self, now: Timestamp, id: CallId, cause: &str, overflow: Overflowing) {
        let number = overflow.number.as_str();
        let way = self.way_out(now, id, number);
        let dialled = way.and_then(|way| Ok((self.dial_out(now, id, &way)?, way.outside)));
        let Ok((leg, outside)) = dialled else {
            let who = Destination::Number(number.to_owned());
            self.trace(now, id, TraceEntry::NotJoined { who, cause: "not_dialled".to_owned() });
            self.note_unreached(id, number);
            self.stand_in(now, id, overflow.place);
            return;
        };
        self.count_overflow(now, id, cause, Destination::Number(number.to_owned()));
        self.take_in(now, id);
        self.leave_queue(now, id);
        if let Some(call) = self.calls.get_mut(&id) {
            call.limit = Some(cause.to_owned());
            call.stage_since = now;
            call.playing = None;
        }
        self.send_to(now, id, outside, leg, Some(overflow));
        self.changed();
    }

    pub(super) fn send_to(
        &mut self,
        now: Timestamp,
        id: CallId,
        outside: Outside,
        leg: Leg,
        overflow: Option<Overflowing>,
    ) {
        let until = now + GUEST_RING;
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.segment(now, Some(SegmentKind::Outside));
        call.stage = Stage::Sent(Box::new(Sent { outside, leg, until, overflow }));
        self.timers.set(Timer::Call(id, CallTimer::Guest), until);
        self.play_sent_music(id);
    }

    /// A caller who is not answered before somebody answers hears their own ringing.
    pub(crate) fn play_sent_music(&mut self, id: CallId) {
        if self.calls.get(&id).is_some_and(Call::is_accepted) {
            self.play_music(id);
        }
    }

    /// The number that the call was handed to answered: the customer talks with whoever it is.
    pub(crate) fn sent_answered(&mut self, now: Timestamp, id: CallId, answer: Option<LegMedia>) {
        let Some(media) = answer else {
            self.sent_over(now, id, "no_media");
            return;
        };
        self.timers.cancel(&Timer::Call(id, CallTimer::Guest));
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !matches!(call.stage, Stage::Sent(_)) {
            return;
        }
        let Stage::Sent(sent) = call.take_stage() else { return };
        let Sent { outside, mut leg, until: _, overflow: _ } = *sent;
        leg.answered = Some(now);
        leg.media = Some(media.clone());
        let leg_id = leg.id;
        let mut talking = Talking::new(now, None, leg, call.queue.clone());
        talking.outside = Some(outside.clone());
        talking.heard.insert(call.customer.id, Heard { from: Vec::new(), tune: Tune::Other });
        call.segment(now, Some(SegmentKind::Outside));
        call.stage = Stage::Talking(Box::new(talking));
        call.stage_since = now;
        call.playing = None;
        self.answer_caller(now, id);
        self.media(id, MediaCommand::Connect { leg: leg_id, media });
        self.trace(now, id, TraceEntry::Joined { who: Destination::Number(outside.number.into_inner()) });
        self.arrange(id);
        self.changed();
    }

    /// The number that the call was handed to does not answer, or refuses: the customer comes back.
    pub(crate) fn sent_over(&mut self, now: Timestamp, id: CallId, cause: &str) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !matches!(call.stage, Stage::Sent(_)) {
            return;
        }
        let Stage::Sent(mut sent) = call.take_stage() else { return };
        let overflow = sent.overflow.take();
        self.close_sent(now, id, *sent, cause);
        let Some(Overflowing { place, number }) = overflow else { return self.bring_back(now, id, cause) };
        self.note_unreached(id, &number);
        self.trace(now, id, TraceEntry::BroughtBack { queue: place.queue.clone(), cause: cause.to_owned() });
        self.enqueue_at(now, id, place);
    }

    fn close_sent(&mut self, now: Timestamp, id: CallId, sent: Sent, cause: &str) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        self.let_sent_go(now, &mut call, sent, cause);
        self.calls.insert(id, call);
    }

    /// The call is not among the calls.
    pub(super) fn let_sent_go(&mut self, now: Timestamp, call: &mut Call, sent: Sent, cause: &str) {
        self.timers.cancel(&Timer::Call(call.id, CallTimer::Guest));
        let mut record = Self::leg_record(now, &sent.leg, None, cause);
        record.role = LegRole::Outside;
        Self::add_leg_record(&mut call.legs, record);
        self.end_session(now, sent.leg.session, None);
        self.close_media(sent.leg.id);
        let tenant = call.tenant.clone();
        self.give_back(&tenant, &sent.outside);
    }

    fn note_unreached(&mut self, id: CallId, number: &str) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.unreached.len() < UNREACHED_MAX && !call.unreached.iter().any(|known| known == number) {
            call.unreached.push(number.to_owned());
        }
    }
}

impl Call {
    /// Whether the rule leads where this caller was sent already, in vain.
    pub(super) fn is_spent(&self, rule: &Overflow) -> bool {
        matches!(&rule.to, Target::Number(number) if self.unreached.contains(number))
    }
}
