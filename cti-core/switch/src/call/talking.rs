//! The agent's phone answered: the legs are joined, the recording starts.

use std::time::Duration;

use cti_acd::Left;
use cti_base::{CallId, OfferId, RecordingId, Timestamp};
use cti_media::{MediaCommand, sdp};
use cti_sip::SessionId;

use super::{Call, Offer, OfferStep, Stage, Talking};
use crate::acd::agent::Task;
use crate::desk::{AgentState, CallView, Event};
use crate::effect::{Effect, Measure};
use crate::engine::{Engine, OpenRecording, Party};
use crate::fact::{Fact, OfferEnd, SegmentKind};
use crate::timer::{CallTimer, Timer};
use crate::trace::TraceEntry;

impl Engine {
    pub(crate) fn phone_answered(&mut self, now: Timestamp, session: SessionId, answer: Option<&[u8]>) {
        if let Some(id) = self.dialled(session) {
            self.customer_answered(now, id, answer);
            return;
        }
        let Some((id, Party::Agent)) = self.sessions.get(&session).copied() else {
            // A 200 that crossed our CANCEL: nobody waits for it.
            self.endpoint.hangup(now, session, None);
            return;
        };
        let offer = self.calls.get(&id).and_then(|call| call.offer_by_session(session)).map(|offer| offer.id);
        let Some(offer) = offer else { return };
        match answer.map(sdp::read_answer) {
            Some(Ok(media)) => {
                if let Some(leg) = self.leg_mut(id, session) {
                    leg.answered = Some(now);
                    leg.media = Some(media);
                }
                if self.calls.get(&id).is_some_and(Call::is_dialing) {
                    self.agent_waits(now, id, offer);
                } else {
                    self.connect(now, id, offer);
                }
            }
            Some(Err(_)) | None => self.offer_over(now, id, offer, OfferEnd::Failed, "no_media"),
        }
    }

    /// Joins caller and agent, who is the one winner: every other phone stops ringing.
    pub(crate) fn connect(&mut self, now: Timestamp, id: CallId, winner: OfferId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(agent) = call.offer(winner).map(|offer| offer.agent.clone()) else { return };
        self.leave_acd(now, id, Left::Answered { agent });
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        call.answered = Some(now);
        let wait_ms = call.wait_ms(now);
        let Some(waiting) = call.waiting_mut() else { return };
        let losers: Vec<Offer> = waiting.offers.extract_if(.., |offer| offer.id != winner).collect();
        call.end_ringing(now, Some(SegmentKind::Talk));
        let Some(waiting) = call.waiting_mut() else { return };
        let Some(offer) = waiting.offers.pop() else { return };
        let queue = waiting.queue.clone();
        let Some(leg) = offer.leg else { return };
        self.offers.remove(&offer.id);
        let (agent, agent_leg, media) = (offer.agent.clone(), leg.id, leg.media.clone());
        let customer = call.customer.id;
        call.agent = Some(agent.clone());
        call.stage_since = now;
        call.playing = None;
        let wait = now.since(call.queued.unwrap_or(now));
        let decl = self.queue_decl(&tenant, queue.as_str()).cloned();
        let wait_ms = offer.shown.map_or(wait_ms, |shown| shown.wait_ms);
        if let Some(call) = self.calls.get_mut(&id) {
            call.stage = Stage::Talking(Box::new(Talking {
                agent: agent.clone(),
                leg,
                wait_ms,
                queue: Some(queue.clone()),
                case_kind: decl.as_ref().and_then(|decl| decl.case.clone()),
                desk_hold: false,
                phone_hold: false,
                held_since: None,
                hold: Duration::ZERO,
                muted: false,
                recording: false,
                whisper: None,
            }));
        }
        self.timers.cancel_call(id);
        if let Some(agent) = self.agent_mut(&tenant, &agent) {
            agent.task = Task::Talk(id);
            agent.missed = 0;
        }
        let (how, offered_ms) = (OfferEnd::Accepted, Some(offer.ringing_since.as_millis()));
        self.fact(Fact::OfferEnded {
            tenant: tenant.clone(),
            call: id,
            offer: offer.id,
            agent: agent.clone(),
            how,
            offered_ms,
        });
        self.count_answer(id, &agent);
        let waited_ms = wait.as_millis() as u64;
        self.trace(now, id, TraceEntry::Answered { agent: agent.clone(), waited_ms });
        self.fact(Fact::Answered { tenant: tenant.clone(), call: id, agent: agent.clone() });
        self.measure(Measure::QueueWait { seconds: wait.as_secs_f64() });
        self.answer_caller(now, id);
        if let Some(media) = media {
            self.media(id, MediaCommand::Connect { leg: agent_leg, media });
        }
        if offer.step == OfferStep::Answered {
            self.media(id, MediaCommand::Stop { leg: agent_leg });
        }
        if !decl.as_ref().is_some_and(|decl| self.whisper(now, id, decl)) {
            self.media(id, MediaCommand::Stop { leg: customer });
            self.media(id, MediaCommand::join(customer, agent_leg));
        }
        if decl.is_some_and(|decl| decl.record) {
            self.start_recording(now, id);
        }
        if let Some(command) = offer.accept {
            self.effect(Effect::Reply { id: command, result: Ok(()) });
        }
        self.desk(&tenant, &agent, Event::OfferAccepted { offer_id: offer.id, call_id: id });
        self.set_agent_state(now, &tenant, &agent, AgentState::Talking, None);
        self.tell_desk(id, Event::CallConnected);
        self.withdraw_losers(now, id, &tenant, losers);
        self.follow_browser(now, id);
    }

    fn start_recording(&mut self, now: Timestamp, id: CallId) {
        let recording = RecordingId::new(now, &mut self.rng);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (tenant, customer) = (call.tenant.clone(), call.customer.id);
        call.recording = Some(recording);
        let Some(talking) = call.talking_mut() else { return };
        talking.recording = true;
        let agent = talking.leg.id;
        let open = OpenRecording { tenant: tenant.clone(), call: id, started: now, stopped: false, gaps: Vec::new() };
        self.recordings.insert(recording, open);
        self.fact(Fact::RecordingStarted { tenant: tenant.clone(), call: id, recording });
        self.media(id, MediaCommand::Record { recording, call: id, tenant, started: now });
        for from in MediaCommand::record_from(recording, vec![customer], vec![agent]) {
            self.media(id, from);
        }
    }

    /// Stops it once. One that has failed is stopped too: its worker does not know.
    pub(crate) fn stop_recording(&mut self, id: CallId, recording: RecordingId) {
        let open = self.recordings.get_mut(&recording);
        if !open.is_some_and(|open| std::mem::replace(&mut open.stopped, true)) {
            self.media(id, MediaCommand::RecordStop { recording });
        }
    }

    /// The recording of a call that is still talked on failed: its agent is told.
    pub(crate) fn recording_lost(&mut self, id: CallId, recording: RecordingId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.recording == Some(recording)) else { return };
        if let Some(talking) = call.talking_mut() {
            talking.recording = false;
            self.tell_desk(id, Event::CallRecording);
        }
    }

    /// The call as it is, to its agent's desk, one version on.
    pub(crate) fn tell_desk(&mut self, id: CallId, event: fn(Box<CallView>) -> Event) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.ver += 1;
        let tenant = call.tenant.clone();
        let Some(agent) = call.talking().map(|talking| talking.agent.clone()) else { return };
        if let Some(view) = self.call_view(id) {
            self.desk(&tenant, &agent, event(Box::new(view)));
        }
    }

    /// A talking call as its agent's desk shows it.
    pub(crate) fn call_view(&self, id: CallId) -> Option<CallView> {
        let call = self.calls.get(&id)?;
        let talking = call.talking()?;
        Some(CallView {
            call_id: id,
            state: call.state(),
            direction: call.direction,
            queue: talking.queue.clone(),
            case_kind: talking.case_kind.clone(),
            muted: talking.muted,
            recording: talking.recording,
            answered_ms: call.answered.map(Timestamp::as_millis),
            held_since_ms: talking.held_since.map(Timestamp::as_millis),
            ended_ms: None,
            wrapup_until_ms: None,
            cause: None,
            pop: call.pop(talking.wait_ms),
            ver: call.ver,
        })
    }

    /// Whether the call's ring timer or any other of its waiting still runs: for the invariants.
    pub(crate) fn has_waiting_timer(&self, id: CallId) -> bool {
        self.timers.iter().any(|timer| matches!(timer, Timer::Call(call, kind) if *call == id && !of_talking(*kind)))
    }
}

const fn of_talking(kind: CallTimer) -> bool {
    matches!(kind, CallTimer::Whisper | CallTimer::BrowserAway | CallTimer::Stats)
}
