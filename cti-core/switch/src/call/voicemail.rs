//! The caller leaves a message for a queue: a prompt, a tone, and a recording that silence, a key, a limit or the caller's
//! hanging up ends. What was left is a fact, and work for the queue from then on.

use std::time::Duration;

use cti_base::{CallId, LegId, QueueName, RecordingId, Timestamp};
use cti_media::MediaCommand;
use serde::{Deserialize, Serialize};

use super::{Call, Stage};
use crate::config::VoicemailDecl;
use crate::engine::{Engine, OpenRecording};
use crate::fact::{Fact, Outcome, SegmentKind, VoicemailRecord};
use crate::limits::{VOICEMAIL_MIN, VOICEMAIL_PROMPT_MAX};
use crate::timer::{CallTimer, Timer};

/// The key that ends a message.
const END_KEY: char = '#';

/// A message that is being left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Voicemail {
    pub queue: QueueName,
    /// The limit that led here, or what the caller's wish is called.
    pub cause: String,
    /// By the caller's own wish.
    pub wished: bool,
    /// The message began; `None` while the prompt plays.
    pub since: Option<Timestamp>,
}

impl Voicemail {
    /// How long the message is, where there is one; `silence` at its end is none of it.
    fn length(&self, now: Timestamp, silence: Duration) -> Option<Duration> {
        let length = now.since(self.since?).saturating_sub(silence);
        (length >= VOICEMAIL_MIN).then_some(length)
    }
}

impl Call {
    pub(crate) fn voicemail(&self) -> Option<&Voicemail> {
        match &self.stage {
            Stage::Voicemail(voicemail) => Some(voicemail),
            Stage::Answering(_)
            | Stage::Menu(_)
            | Stage::Waiting(_)
            | Stage::Goodbye { .. }
            | Stage::Talking(_)
            | Stage::Sent(_) => None,
        }
    }
}

impl Engine {
    /// Out of the queue already, as far as it is counted.
    pub(super) fn enter_voicemail(&mut self, now: Timestamp, id: CallId, cause: &str, wished: bool) {
        self.answer_caller(now, id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(queue) = call.queue.clone() else { return };
        call.segment(now, Some(SegmentKind::Voicemail));
        call.stage_since = now;
        let voicemail = Voicemail { queue, cause: cause.to_owned(), wished, since: None };
        call.stage = Stage::Voicemail(Box::new(voicemail));
        self.timers.set(Timer::Call(id, CallTimer::Voicemail), now + VOICEMAIL_PROMPT_MAX);
        self.play_prompts(id, ["voicemail_prompt", "beep"].into_iter());
        self.changed();
    }

    /// The prompt and the tone have played.
    pub(super) fn voicemail_begins(&mut self, now: Timestamp, id: CallId) {
        let Some(decl) = self.calls.get(&id).and_then(|call| self.voicemail_decl(call)) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Stage::Voicemail(voicemail) = &mut call.stage else { return };
        if voicemail.since.is_some() {
            return;
        }
        voicemail.since = Some(now);
        let (leg, known) = (call.customer.id, call.recording);
        self.timers.set(Timer::Call(id, CallTimer::Voicemail), now + Duration::from_secs(u64::from(decl.max_s)));
        // Of a call that an agent has talked on already, the message stands in the one file.
        if known.is_none_or(|known| self.recordings.get(&known).is_none_or(|open| open.stopped)) {
            self.begin_recording(now, id);
        }
        self.arrange_recording(id);
        self.media(id, watch(leg, &decl));
        self.changed();
    }

    fn begin_recording(&mut self, now: Timestamp, id: CallId) {
        let recording = RecordingId::new(now, &mut self.rng);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        call.recording = Some(recording);
        call.recorded_from = None;
        let open = OpenRecording { tenant: tenant.clone(), call: id, started: now, stopped: false, gaps: Vec::new() };
        self.recordings.insert(recording, open);
        self.fact(Fact::RecordingStarted { tenant: tenant.clone(), call: id, recording });
        self.media(id, MediaCommand::Record { recording, call: id, tenant, started: now });
    }

    /// The prompt has had its time, or the message its longest.
    pub(crate) fn voicemail_due(&mut self, now: Timestamp, id: CallId) {
        match self.calls.get(&id).and_then(|call| call.voicemail()).map(|voicemail| voicemail.since) {
            Some(None) => self.voicemail_begins(now, id),
            Some(Some(_)) => self.voicemail_over(now, id, Duration::ZERO),
            None => {}
        }
    }

    /// The caller has said nothing for as long as the queue allows.
    pub(crate) fn leg_quiet(&mut self, now: Timestamp, leg: LegId) {
        let Some((id, _)) = self.party_of(leg) else { return };
        let Some(call) = self.calls.get(&id).filter(|call| call.customer.id == leg) else { return };
        if call.voicemail().is_none_or(|voicemail| voicemail.since.is_none()) {
            return;
        }
        let silence = self.voicemail_decl(call).map_or(0, |decl| decl.silence_s);
        self.voicemail_over(now, id, Duration::from_secs(u64::from(silence)));
    }

    /// A key ends the prompt or the message.
    pub(super) fn voicemail_digit(&mut self, now: Timestamp, id: CallId, digit: char) {
        if digit == END_KEY {
            self.voicemail_due(now, id);
        }
    }

    fn voicemail_over(&mut self, now: Timestamp, id: CallId, silence: Duration) {
        let has_message = self.leave_message(now, id, silence);
        let Some(call) = self.calls.get(&id) else { return };
        let Some(Voicemail { cause, wished, .. }) = call.voicemail() else { return };
        let (cause, wished) = (cause.clone(), *wished);
        if let Some(recording) = call.recording {
            self.stop_recording(id, recording);
        }
        self.timers.cancel(&Timer::Call(id, CallTimer::Voicemail));
        let (outcome, prompt) = match (has_message, wished) {
            (true, _) => (Outcome::Voicemail, "voicemail_thanks"),
            (false, true) => (Outcome::AbandonedQueue, "goodbye"),
            (false, false) => (Outcome::Overflowed, "goodbye"),
        };
        self.end_with_prompt(now, id, outcome, &cause, prompt);
    }

    /// What the caller has said is the queue's work from here on; whether they have said anything.
    pub(super) fn leave_message(&mut self, now: Timestamp, id: CallId, silence: Duration) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        let Some(voicemail) = call.voicemail() else { return false };
        let (Some(length), Some(since), Some(recording)) =
            (voicemail.length(now, silence), voicemail.since, call.recording)
        else {
            return false;
        };
        let started = self.recordings.get(&recording).map_or(since, |open| open.started);
        let record = VoicemailRecord {
            call: id,
            tenant: call.tenant.clone(),
            queue: voicemail.queue.clone(),
            recording,
            number: call.from.clone(),
            customer_id: call.customer_id(),
            received_ms: now.as_millis(),
            from_ms: since.since(started).as_millis() as u64,
            length_ms: length.as_millis() as u64,
        };
        self.fact(Fact::VoicemailLeft { voicemail: Box::new(record) });
        true
    }

    /// The workers of a new process know nothing of the leg that is listened to.
    pub(crate) fn voicemail_again(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Some(voicemail), Some(decl)) = (call.voicemail(), self.voicemail_decl(call)) else { return };
        if voicemail.since.is_some() {
            let leg = call.customer.id;
            self.media(id, watch(leg, &decl));
        }
    }

    /// Of the call's queue; the defaults where it is gone.
    fn voicemail_decl(&self, call: &Call) -> Option<VoicemailDecl> {
        call.voicemail()?;
        Some(self.queue_of(call).map(|queue| queue.decl.voicemail).unwrap_or_default())
    }
}

fn watch(leg: LegId, decl: &VoicemailDecl) -> MediaCommand {
    MediaCommand::Watch { leg, quiet_ms: decl.silence_s.saturating_mul(1_000) }
}
