//! An agent is offered the call: the frame to the desk first, then the phone; and every way in which that comes to nothing.

use cti_base::{AgentName, CallId, LegId, OfferId, Timestamp};
use cti_media::{Codec, Direction, MediaCommand, sdp};
use cti_sip::{InviteRequest, SessionId, Target};

use super::{Leg, OfferStep, Records, Shown};
use crate::acd::agent::{Agent, Desk, Reach};
use crate::commands::{answer_on_phone, not_yours};
use crate::desk::{CallerRecords, Event};
use crate::effect::Effect;
use crate::engine::{Engine, OpenLeg, Party};
use crate::fact::{Fact, OfferEnd, SegmentKind};
use crate::input::CommandId;
use crate::limits::{NO_PORT_RETRY, OFFER_SHOWN_WAIT, RECORDS_PAUSE, SAME_AGENT_PAUSE};
use crate::timer::{CallTimer, Timer};

/// Carries the call's id to the phone, so that a desk beside it can tell calls apart.
const CALL_HEADER: &str = "X-Zongji-Call";

impl Engine {
    /// What the records know of a caller came.
    pub(crate) fn caller_known(&mut self, now: Timestamp, id: CallId, records: Option<Box<CallerRecords>>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(state) = self.tenants.get_mut(&call.tenant) else { return };
        match records {
            Some(mut records) => {
                records.candidates.truncate(crate::desk::CANDIDATES_MAX);
                call.records = Records::Known(*records);
                state.records_pause_until = Timestamp::default();
            }
            None => {
                if matches!(call.records, Records::Asked(_)) {
                    call.records = Records::Unknown;
                }
                state.records_pause_until = now + RECORDS_PAUSE;
            }
        }
        if call.offer().is_some_and(|offer| offer.step == OfferStep::Records) {
            self.timers.cancel(&Timer::Call(id, CallTimer::RecordsWait));
            self.send_offer(now, id);
        } else {
            self.send_late_pop(id);
        }
    }

    /// The desk painted its pop without the records: here they are.
    fn send_late_pop(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        if !matches!(call.records, Records::Known(_)) {
            return;
        }
        let shown = call.offer().and_then(|offer| Some((&offer.agent, offer.shown.as_ref()?.wait_ms)));
        let painted = shown.or_else(|| call.talking().map(|talking| (&talking.agent, talking.wait_ms)));
        let Some((agent, wait_ms)) = painted else { return };
        let (tenant, agent, pop) = (call.tenant.clone(), agent.clone(), Box::new(call.pop(wait_ms)));
        self.desk(&tenant, &agent, Event::Pop { call_id: id, pop });
    }

    /// The records did not answer in time: the offer goes out without them, and the next ones do not wait for a while.
    pub(crate) fn records_late(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.offer().is_none_or(|offer| offer.step != OfferStep::Records) {
            return;
        }
        if let Some(state) = self.tenants.get_mut(&call.tenant) {
            state.records_pause_until = state.records_pause_until.max(now + RECORDS_PAUSE);
        }
        self.send_offer(now, id);
    }

    /// The frame goes to the agent's desk, whole; the phone follows when it is shown.
    pub(crate) fn send_offer(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some((waiting, offer)) = call.waiting().and_then(|w| Some((w, w.offer.as_ref()?))) else { return };
        let Some(decl) = self.queue_decl(&call.tenant, waiting.queue.as_str()) else { return };
        let (tenant, agent, offer_id) = (call.tenant.clone(), offer.agent.clone(), offer.id);
        let ring_until = now + std::time::Duration::from_secs(u64::from(decl.ring_timeout_s));
        let Some(known) = self.agent(&tenant, &agent) else { return };
        let has_desk = known.desk == Desk::Connected;
        let shown = Shown {
            case_kind: decl.case.clone(),
            ring_until_ms: ring_until.as_millis(),
            can_accept: !known.answers_by_hand,
            wait_ms: call.wait_ms(now),
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.offered.get_or_insert(now);
        call.stage_since = now;
        call.segment(now, Some(SegmentKind::Ringing));
        if let Some(offer) = call.offer_mut() {
            offer.shown = Some(shown);
            offer.step = OfferStep::Shown;
            offer.ringing_since = now;
        }
        let frame = call.frame();
        self.timers.set(Timer::Call(id, CallTimer::Ring), ring_until);
        self.fact(Fact::Offered { tenant: tenant.clone(), call: id, offer: offer_id, agent: agent.clone() });
        if let Some(offer) = frame {
            self.effect(Effect::Offer { tenant, agent, offer });
        }
        if has_desk {
            self.timers.set(Timer::Call(id, CallTimer::ShownWait), now + OFFER_SHOWN_WAIT);
        } else {
            self.invite_phone(now, id);
        }
    }

    /// The frame was handed to the agent's socket.
    pub(crate) fn offer_shown(&mut self, now: Timestamp, shown: OfferId) {
        if let Some(id) = self.offers.get(&shown).copied() {
            self.invite_phone(now, id);
        }
    }

    /// The phone's INVITE, with our own port and the caller's codec first.
    pub(crate) fn invite_phone(&mut self, now: Timestamp, id: CallId) {
        self.timers.cancel(&Timer::Call(id, CallTimer::ShownWait));
        let Some(call) = self.calls.get(&id) else { return };
        let Some(offer) = call.offer().filter(|offer| offer.step == OfferStep::Shown) else { return };
        let (tenant, agent) = (call.tenant.clone(), offer.agent.clone());
        let Some(target) = self.agent(&tenant, &agent).and_then(|known| self.phone_of(&tenant, known)) else {
            self.offer_over(now, id, OfferEnd::Failed, "unreachable");
            return;
        };
        let has_room = self.legs.len() < self.config.legs_max;
        let Some(port) = (if has_room { self.ports.take(now) } else { None }) else {
            self.offer_without_port(now, id);
            return;
        };
        let leg = LegId::new(now, &mut self.rng);
        let rtp = std::net::SocketAddr::new(self.media_ip_for(&target.flow), port);
        let local = sdp::Local { rtp, session_id: self.rng.next_u64() >> 2, version: 1 };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let codec = call.customer.media.as_ref().map_or(Codec::Pcma, |media| media.codec);
        let request = InviteRequest {
            target,
            from_display: None,
            from_user: call.from.expose().clone(),
            offer: sdp::offer(&local, codec, Direction::SendRecv),
            headers: vec![(CALL_HEADER.to_owned(), id.to_string())],
            credentials: None,
        };
        let Some(offer) = call.offer_mut() else { return };
        offer.step = OfferStep::Inviting;
        offer.leg = Some(Leg {
            id: leg,
            session: None,
            started: now,
            answered: None,
            local,
            media: None,
            awaits_answer: false,
        });
        self.legs.insert(leg, OpenLeg { call: id, port, closing: false });
        self.media(id, MediaCommand::Open { leg, call: id, rtp_port: port });
        let session = self.endpoint.invite(now, request);
        self.sessions.insert(session, (id, Party::Agent));
        if let Some(leg) = self.leg_mut(id, Party::Agent) {
            leg.session = Some(session);
        }
        self.measure_setup(id);
    }

    /// Where the agent's phone is rung at this moment.
    fn phone_of(&self, tenant: &cti_base::TenantId, agent: &Agent) -> Option<Target> {
        match &agent.reach {
            Reach::Contact(target) => Some(target.clone()),
            Reach::Registered(_) => {
                self.endpoint.contacts_of(tenant.as_str(), agent.decl.name.as_str()).into_iter().next()
            }
            Reach::Nowhere => None,
        }
    }

    pub(crate) fn phone_progress(&mut self, now: Timestamp, session: SessionId, code: u16) {
        let Some((id, Party::Agent)) = self.sessions.get(&session).copied() else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        let Some(offer) = call.offer_mut() else { return };
        let (agent, offer_id) = (offer.agent.clone(), offer.id);
        let (accepted, accept) = (std::mem::take(&mut offer.accepted), offer.accept.take());
        if code == 180 && !std::mem::replace(&mut offer.rings, true) {
            self.desk(&tenant, &agent, Event::CallRinging { offer_id, call_id: id });
        }
        if accepted {
            let result = self.make_phone_answer(now, id, session);
            if let Some(command) = accept {
                self.effect(Effect::Reply { id: command, result });
            }
        }
    }

    /// The desk accepts: the phone is asked to answer, at once or as soon as it rings.
    pub(crate) fn accept_offer(
        &mut self,
        now: Timestamp,
        agent: &AgentName,
        shown: OfferId,
        call: Option<CallId>,
        command: CommandId,
    ) -> Option<Result<(), crate::desk::Nack>> {
        let offer = call.and_then(|id| self.calls.get_mut(&id)).and_then(|call| call.offer_mut());
        let Some(offer) = offer.filter(|offer| offer.id == shown && offer.agent == *agent) else {
            return Some(Err(not_yours("This offer is over.")));
        };
        let session = offer.leg.as_ref().and_then(|leg| leg.session);
        match (session, call) {
            (Some(session), Some(id)) if offer.rings => Some(self.make_phone_answer(now, id, session)),
            _ => {
                // A second accept before the phone rings takes the first one's place.
                offer.accepted = true;
                let earlier = offer.accept.replace(command);
                if let Some(id) = earlier {
                    self.effect(Effect::Reply { id, result: Ok(()) });
                }
                None
            }
        }
    }

    fn make_phone_answer(&mut self, now: Timestamp, id: CallId, session: SessionId) -> Result<(), crate::desk::Nack> {
        let can = self.endpoint.notify_talk(now, session);
        let who = self.calls.get(&id).and_then(|call| Some((call.tenant.clone(), call.offer()?.agent.clone())));
        if let Some((tenant, agent)) = who
            && let Some(agent) = self.agent_mut(&tenant, &agent)
        {
            agent.answers_by_hand = !can;
        }
        if can { Ok(()) } else { Err(answer_on_phone()) }
    }

    pub(crate) fn phone_failed(&mut self, now: Timestamp, session: SessionId, code: u16) {
        let Some((id, Party::Agent)) = self.sessions.remove(&session) else { return };
        if let Some(leg) = self.leg_mut(id, Party::Agent) {
            leg.session = None;
        }
        self.offer_over(now, id, OfferEnd::Failed, &code.to_string());
    }

    pub(crate) fn ring_timeout(&mut self, now: Timestamp, id: CallId) {
        self.offer_over(now, id, OfferEnd::Timeout, "no_answer");
    }

    /// The offer came to nothing: the call is offered elsewhere, the agent has missed it.
    pub(crate) fn offer_over(&mut self, now: Timestamp, id: CallId, how: OfferEnd, cause: &str) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(offer) = call.offer() else { return };
        let (tenant, agent) = (call.tenant.clone(), offer.agent.clone());
        self.end_offer(now, id, how, cause);
        if let Some(waiting) = self.calls.get_mut(&id).and_then(|call| call.waiting_mut()) {
            waiting.skip = Some((agent.clone(), now + SAME_AGENT_PAUSE));
        }
        // The caller first: among the free agents the one who missed comes last for this call.
        if !self.enforce_limits(now, id) {
            self.match_call(now, id);
        }
        self.agent_missed(now, &tenant, &agent, how);
    }

    /// No port for the agent's leg: nobody's fault; the call is tried again shortly.
    pub(crate) fn offer_without_port(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(offer) = call.offer() else { return };
        let (tenant, agent) = (call.tenant.clone(), offer.agent.clone());
        self.alarm(now, &tenant, "no_media_port", "An agent could not be rung: no RTP port was free.".to_owned());
        self.end_offer(now, id, OfferEnd::Withdrawn, "no_media_port");
        if let Some(waiting) = self.calls.get_mut(&id).and_then(|call| call.waiting_mut()) {
            waiting.paused_until = now + NO_PORT_RETRY;
        }
        if !self.enforce_limits(now, id) {
            self.timers.set(Timer::Call(id, CallTimer::Rematch), now + NO_PORT_RETRY);
        }
        self.agent_let_go(now, &tenant, &agent);
    }

    /// The caller gave up or goes elsewhere: the agent has missed nothing and keeps the place among the idle.
    pub(crate) fn withdraw_offer(&mut self, now: Timestamp, id: CallId, how: OfferEnd, cause: &str) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(offer) = call.offer() else { return };
        let (tenant, agent) = (call.tenant.clone(), offer.agent.clone());
        self.end_offer(now, id, how, cause);
        // Out of the queue before the agent is free again, or the same two would be matched anew.
        if let Some(waiting) = self.calls.get(&id).and_then(|call| call.waiting()) {
            let (queue, place) = (waiting.queue.clone(), waiting.place);
            if let Some(queue) = self.tenants.get_mut(&tenant).and_then(|state| state.queues.get_mut(&queue)) {
                queue.leave(place);
            }
        }
        self.agent_let_go(now, &tenant, &agent);
    }

    /// The agent is no longer there to be offered anything; the call keeps waiting and is matched by whoever called this.
    pub(crate) fn take_offer_back(&mut self, now: Timestamp, id: CallId, cause: &str) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(offer) = call.offer() else { return };
        let (tenant, agent) = (call.tenant.clone(), offer.agent.clone());
        self.end_offer(now, id, OfferEnd::Withdrawn, cause);
        self.agent_let_go(now, &tenant, &agent);
    }

    /// What every end of an offer but the answer has in common: the phone, the port, the desk, the record.
    fn end_offer(&mut self, now: Timestamp, id: CallId, how: OfferEnd, cause: &str) {
        if self.calls.get(&id).is_none_or(|call| call.offer().is_none()) {
            return;
        }
        for kind in [CallTimer::RecordsWait, CallTimer::ShownWait, CallTimer::Ring] {
            self.timers.cancel(&Timer::Call(id, kind));
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.offer().is_some_and(|offer| offer.shown.is_some()) {
            call.segment(now, Some(SegmentKind::Queue));
        }
        let tenant = call.tenant.clone();
        let Some(waiting) = call.waiting_mut() else { return };
        let Some(offer) = waiting.offer.take() else { return };
        let (queue, place) = (waiting.queue.clone(), waiting.place);
        self.offers.remove(&offer.id);
        call.stage_since = now;
        let was_offered = offer.shown.is_some();
        if was_offered {
            call.ring += now.since(offer.ringing_since);
        }
        if let Some(leg) = &offer.leg {
            Self::add_leg_record(&mut call.legs, Self::leg_record(now, leg, Some(&offer.agent), cause));
        }
        if let Some(queue) = self.tenants.get_mut(&tenant).and_then(|state| state.queues.get_mut(&queue)) {
            queue.set_matched(place, false);
        }
        if let Some(leg) = offer.leg {
            self.end_session(now, leg.session, None);
            self.close_media(leg.id);
        }
        if let Some(command) = offer.accept {
            self.effect(Effect::Reply { id: command, result: Err(not_yours("This offer is over.")) });
        }
        if was_offered {
            let (offer_id, agent) = (offer.id, offer.agent);
            self.fact(Fact::OfferEnded {
                tenant: tenant.clone(),
                call: id,
                offer: offer_id,
                agent: agent.clone(),
                how,
            });
            let event = match how {
                OfferEnd::Rejected => Event::OfferRejected { offer_id, call_id: id },
                OfferEnd::Timeout => Event::OfferTimeout { offer_id, call_id: id },
                OfferEnd::Accepted | OfferEnd::Withdrawn | OfferEnd::Failed => {
                    Event::OfferWithdrawn { offer_id, call_id: id, reason: cause.to_owned() }
                }
            };
            self.desk(&tenant, &agent, event);
        }
    }
}
