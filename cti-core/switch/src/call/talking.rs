//! The agent's phone answered: the legs are joined, the recording starts.

use cti_acd::Left;
use cti_base::{AgentName, CallId, OfferId, RecordingId, Timestamp};
use cti_media::MediaCommand;
use cti_sip::SessionId;

use super::{Call, Heard, Offer, OfferStep, Stage, Talking, Tune, Who};
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
        let media = self.settle_leg(id, session, answer);
        if let Some(guest) = self.calls.get(&id).and_then(|call| call.guest_by_session(session)) {
            self.guest_answered(now, id, guest, media);
            self.ask_pages_of(now, id);
            return;
        }
        if matches!(self.calls.get(&id).map(|call| &call.stage), Some(Stage::Sent(_))) {
            self.sent_answered(now, id, media);
            return;
        }
        let offer = self.calls.get(&id).and_then(|call| call.offer_by_session(session)).map(|offer| offer.id);
        let Some(offer) = offer else { return };
        match media {
            Some(media) => {
                if let Some(leg) = self.leg_mut(id, session) {
                    leg.answered = Some(now);
                    leg.media = Some(media);
                }
                if self.calls.get(&id).is_some_and(Call::is_dialing) {
                    self.agent_waits(now, id, offer);
                } else {
                    self.connect(now, id, offer);
                }
                // Rung by an earlier process, it answered that one's half.
                self.ask_pages_of(now, id);
            }
            None => self.offer_over(now, id, offer, OfferEnd::Failed, "no_media"),
        }
    }

    /// Joins caller and agent, who is the one winner: every other phone stops ringing.
    pub(crate) fn connect(&mut self, now: Timestamp, id: CallId, winner: OfferId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(agent) = call.offer(winner).map(|offer| offer.agent.clone()) else { return };
        self.leave_acd(now, id, Left::Answered { agent });
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        let is_first = call.answered.is_none();
        call.answered.get_or_insert(now);
        call.back = None;
        let wait_ms = call.wait_ms(now);
        let Some(waiting) = call.waiting_mut() else { return };
        let losers: Vec<Offer> = waiting.offers.extract_if(.., |offer| offer.id != winner).collect();
        call.end_ringing(now, Some(SegmentKind::Talk));
        let Some(waiting) = call.waiting_mut() else { return };
        let Some(offer) = waiting.offers.pop() else { return };
        let (queue, entered) = (waiting.queue.clone(), waiting.entered);
        let Some(leg) = offer.leg else { return };
        self.offers.remove(&offer.id);
        let (agent, agent_leg, media) = (offer.agent.clone(), leg.id, leg.media.clone());
        let customer = call.customer.id;
        call.agent = Some(agent.clone());
        call.stage_since = now;
        call.playing = None;
        let wait = now.since(call.queued.filter(|_| is_first).unwrap_or(entered));
        let decl = self.queue_decl(&tenant, queue.as_str()).cloned();
        let wait_ms = offer.shown.map_or(wait_ms, |shown| shown.wait_ms);
        if let Some(call) = self.calls.get_mut(&id) {
            let mut talking = Talking::new(now, Some(agent.clone()), leg, Some(queue.clone()));
            talking.wait_ms = wait_ms;
            talking.case_kind = decl.as_ref().and_then(|decl| decl.case.clone());
            talking.heard.insert(customer, Heard { from: Vec::new(), tune: Tune::Other });
            call.stage = Stage::Talking(Box::new(talking));
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
            self.arrange(id);
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
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(known) = call.recording {
            // One set covers the whole call, whoever has it.
            let runs = self.recordings.get(&known).is_some_and(|open| !open.stopped);
            if let Some(talking) = call.talking_mut() {
                talking.recording = runs;
            }
            self.arrange_recording(id);
            return;
        }
        let recording = RecordingId::new(now, &mut self.rng);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        call.recording = Some(recording);
        let Some(talking) = call.talking_mut() else { return };
        talking.recording = true;
        let open = OpenRecording { tenant: tenant.clone(), call: id, started: now, stopped: false, gaps: Vec::new() };
        self.recordings.insert(recording, open);
        self.fact(Fact::RecordingStarted { tenant: tenant.clone(), call: id, recording });
        self.media(id, MediaCommand::Record { recording, call: id, tenant, started: now });
        self.arrange_recording(id);
    }

    /// Stops it once; one that is over was stopped already.
    pub(crate) fn stop_recording(&mut self, id: CallId, recording: RecordingId) {
        let open = self.recordings.get_mut(&recording);
        if open.is_some_and(|open| !std::mem::replace(&mut open.stopped, true)) {
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

    /// The call as it is, to its agent's desk, one version on; to the desks of those who have joined as well.
    pub(crate) fn tell_desk(&mut self, id: CallId, event: fn(Box<CallView>) -> Event) {
        self.changed();
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.ver += 1;
        let tenant = call.tenant.clone();
        let Some(lead) = call.talking().map(|talking| talking.agent.clone()) else { return };
        let joined = call.guests().iter().filter(|guest| guest.on().is_some());
        let joined = joined.filter_map(|guest| match &guest.who {
            Who::Agent(agent) => Some(agent.clone()),
            Who::Outside(_) | Who::Lead => None,
        });
        for agent in joined.collect::<Vec<_>>() {
            if let Some(view) = self.view_for(id, &agent) {
                self.desk(&tenant, &agent, Event::CallParties(Box::new(view)));
            }
        }
        if let Some(agent) = lead
            && let Some(view) = self.view_for(id, &agent)
        {
            self.desk(&tenant, &agent, event(Box::new(view)));
        }
    }

    /// A talking call as this agent's desk shows it.
    pub(crate) fn view_for(&self, id: CallId, agent: &AgentName) -> Option<CallView> {
        self.calls.get(&id)?.view(agent)
    }

    /// Whether the call's ring timer or any other of its waiting still runs: for the invariants.
    pub(crate) fn has_waiting_timer(&self, id: CallId) -> bool {
        self.timers.iter().any(|timer| matches!(timer, Timer::Call(call, kind) if *call == id && !of_talking(*kind)))
    }
}

const fn of_talking(kind: CallTimer) -> bool {
    matches!(
        kind,
        CallTimer::Whisper | CallTimer::BrowserAway | CallTimer::Guest | CallTimer::ShownWait | CallTimer::Stats
    )
}
