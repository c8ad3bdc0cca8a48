//! Agents are offered the call: the frame to each desk first, then the phone. How offers end is in `offer_end`.

use std::time::Duration;

use cti_base::{AgentName, CallId, LegId, OfferId, Timestamp};
use cti_media::{Codec, Direction, sdp};
use cti_sip::{InviteRequest, SessionId, Target};

use super::web_phone::is_page;
use super::{Leg, Offer, OfferStep, Records, Shown, Stage};
use crate::acd::agent::{Agent, Desk, Reach};
use crate::commands::{answer_on_phone, not_yours};
use crate::desk::{CallerRecords, Event};
use crate::effect::Effect;
use crate::engine::{Engine, Party};
use crate::fact::{Fact, OfferEnd, SegmentKind};
use crate::input::CommandId;
use crate::limits::{EXTRA_PHONES_PART, OFFER_SHOWN_WAIT, RECORDS_PAUSE};
use crate::timer::{CallTimer, Timer};

/// Carries the call's id to the phone, so that a desk beside it can tell calls apart.
const CALL_HEADER: &str = "X-Zongji-Call";

/// How phones are asked to answer by themselves: each maker listens to one of the two.
const AUTO_ANSWER: [(&str, &str); 2] =
    [("Call-Info", "<sip:zongji>;answer-after=0"), ("Alert-Info", "<http://zongji>;info=alert-autoanswer;delay=0")];

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
        if call.offers().iter().any(|offer| offer.step == OfferStep::Records) {
            self.timers.cancel(&Timer::Call(id, CallTimer::RecordsWait));
            self.send_offers(now, id);
        } else if call.waiting().is_some_and(|waiting| waiting.entering) {
            self.timers.cancel(&Timer::Call(id, CallTimer::RecordsWait));
            self.enter_acd(now, id);
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
        let shown = call.offers().iter().filter_map(|offer| Some((&offer.agent, offer.shown.as_ref()?.wait_ms)));
        let talks = call.talking().and_then(|talking| Some((talking.agent.as_ref()?, talking.wait_ms)));
        let painted = shown.chain(talks);
        let pops: Vec<_> = painted.map(|(agent, wait_ms)| (agent.clone(), Box::new(call.pop(wait_ms)))).collect();
        let tenant = call.tenant.clone();
        for (agent, pop) in pops {
            self.desk(&tenant, &agent, Event::Pop { call_id: id, pop });
        }
    }

    /// The records did not answer in time: the offer goes out without them, and the next ones do not wait for a while.
    pub(crate) fn records_late(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let is_entering = call.waiting().is_some_and(|waiting| waiting.entering);
        if !is_entering && !call.offers().iter().any(|offer| offer.step == OfferStep::Records) {
            return;
        }
        if let Some(state) = self.tenants.get_mut(&call.tenant) {
            state.records_pause_until = state.records_pause_until.max(now + RECORDS_PAUSE);
        }
        if is_entering {
            self.enter_acd(now, id);
        } else {
            self.send_offers(now, id);
        }
    }

    /// The frame goes to each agent's desk, whole; the phone follows when it is shown.
    pub(crate) fn send_offers(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.offered.get_or_insert(now);
        call.stage_since = now;
        call.segment(now, Some(SegmentKind::Ringing));
        let offers: Vec<OfferId> = call.offers().iter().map(|offer| offer.id).collect();
        for offer in offers {
            self.send_offer(now, id, offer);
        }
    }

    fn send_offer(&mut self, now: Timestamp, id: CallId, offer_id: OfferId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some((waiting, offer)) = call.waiting().zip(call.offer(offer_id)) else { return };
        let Some(decl) = self.queue_decl(&call.tenant, waiting.queue.as_str()) else { return };
        let (tenant, agent) = (call.tenant.clone(), offer.agent.clone());
        let ring_until = now + Duration::from_secs(u64::from(decl.ring_timeout_s));
        let Some(known) = self.agent(&tenant, &agent) else { return };
        let has_desk = known.desk == Desk::Connected;
        let shown = Shown {
            case_kind: decl.case.clone(),
            ring_until_ms: ring_until.as_millis(),
            can_accept: !known.answers_by_hand,
            wait_ms: call.wait_ms(now),
            auto_answer: decl.auto_answer,
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(offer) = call.offer_mut(offer_id) else { return };
        offer.shown = Some(shown);
        offer.step = OfferStep::Shown;
        offer.ringing_since = now;
        let frame = call.offer(offer_id).and_then(|offer| call.frame(offer));
        self.timers.set(Timer::Call(id, CallTimer::Ring), ring_until);
        self.fact(Fact::Offered { tenant: tenant.clone(), call: id, offer: offer_id, agent: agent.clone() });
        if let Some(offer) = frame {
            self.effect(Effect::Offer { tenant, agent, offer });
        }
        if has_desk {
            self.timers.set(Timer::Call(id, CallTimer::ShownWait), now + OFFER_SHOWN_WAIT);
        } else {
            self.invite_phone(now, id, offer_id);
        }
    }

    /// The frame was handed to the agent's socket.
    pub(crate) fn offer_shown(&mut self, now: Timestamp, shown: OfferId) {
        if let Some(id) = self.offers.get(&shown).copied() {
            self.invite_phone(now, id, shown);
        }
    }

    /// The desks' sockets had their time.
    pub(crate) fn shown_late(&mut self, now: Timestamp, id: CallId) {
        let late = |offer: &&Offer| offer.step == OfferStep::Shown;
        let offers = self.calls.get(&id).map(|call| call.offers()).unwrap_or_default();
        let offers: Vec<OfferId> = offers.iter().filter(late).map(|offer| offer.id).collect();
        for offer in offers {
            self.invite_phone(now, id, offer);
        }
    }

    /// The phone's INVITE, with our own port and the caller's codec first.
    fn invite_phone(&mut self, now: Timestamp, id: CallId, offer_id: OfferId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(offer) = call.offer(offer_id).filter(|offer| offer.step == OfferStep::Shown) else { return };
        let others = call.offers().iter().filter(|other| other.id != offer_id);
        let is_last_shown = !others.clone().any(|other| other.step == OfferStep::Shown);
        let is_extra = others.clone().any(|other| other.leg.is_some());
        let (tenant, agent) = (call.tenant.clone(), offer.agent.clone());
        if is_last_shown {
            self.timers.cancel(&Timer::Call(id, CallTimer::ShownWait));
        }
        // One that was lost meanwhile rings as well: a page that is loaded anew is there again within the ring time.
        let in_browser = self.agent(&tenant, &agent).is_some_and(|known| matches!(known.reach, Reach::Browser { .. }));
        if in_browser {
            if self.legs.len() < self.config.legs_max {
                self.ring_browser(now, id, offer_id);
            } else {
                self.offer_without_port(now, id, offer_id);
            }
            return;
        }
        self.ring_phone(now, id, offer_id, is_extra, false);
    }

    /// `plainly`: the page, if it is one, wants a telephone's sound.
    fn ring_phone(&mut self, now: Timestamp, id: CallId, offer_id: OfferId, is_extra: bool, plainly: bool) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(agent) = call.offer(offer_id).map(|offer| offer.agent.clone()) else { return };
        let tenant = call.tenant.clone();
        let Some(target) = self.agent(&tenant, &agent).and_then(|known| self.phone_of(&tenant, known)) else {
            self.offer_over(now, id, offer_id, OfferEnd::Failed, "unreachable");
            return;
        };
        // Phones beside a call's first leave other calls, and those to come, their legs.
        let legs_max = self.config.legs_max.min(self.ports.capacity());
        let has_room = if is_extra {
            self.legs.len() + self.calls.len() < legs_max / EXTRA_PHONES_PART
        } else {
            self.legs.len() < self.config.legs_max
        };
        let webrtc = if has_room && !plainly && is_page(&target.flow) { self.browser_half() } else { None };
        let port = if has_room && webrtc.is_none() { self.ports.take(now) } else { None };
        let plain = port.map(|port| std::net::SocketAddr::new(self.media_ip_for(&target.flow), port));
        let Some(rtp) = webrtc.as_ref().map(|half| half.address()).or(plain) else {
            self.offer_without_port(now, id, offer_id);
            return;
        };
        let leg_id = LegId::new(now, &mut self.rng);
        let local =
            sdp::Local { rtp, session_id: self.rng.next_u64() >> 2, version: 1, srtp: None, wideband: false, webrtc };
        let Some(call) = self.calls.get(&id) else { return };
        let codec = call.customer.media.as_ref().map_or(Codec::Pcma, |media| media.codec);
        let mut headers = vec![(CALL_HEADER.to_owned(), id.to_string())];
        if call.offer(offer_id).is_some_and(Offer::answers_by_itself) {
            headers.extend(AUTO_ANSWER.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        let request = InviteRequest {
            target,
            from_display: None,
            from_user: call.from.expose().clone(),
            offer: sdp::offer(&local, codec, Direction::SendRecv),
            headers,
            credentials: None,
        };
        self.open_leg(id, leg_id, &local);
        let session = self.endpoint.invite(now, request);
        self.sessions.insert(session, (id, Party::Agent));
        if let Some(offer) = self.calls.get_mut(&id).and_then(|call| call.offer_mut(offer_id)) {
            offer.step = OfferStep::Inviting;
            offer.leg = Some(Leg {
                id: leg_id,
                session: Some(session),
                started: now,
                answered: None,
                local,
                media: None,
                awaits_answer: false,
            });
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
            Reach::Browser { .. } | Reach::Nowhere => None,
        }
    }

    pub(crate) fn phone_progress(&mut self, now: Timestamp, session: SessionId, code: u16) {
        if let Some(id) = self.dialled(session) {
            self.customer_progress(id);
        }
        let Some((id, Party::Agent)) = self.sessions.get(&session).copied() else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        let Some(offer) = call.all_offers_mut().find(|offer| offer.session() == Some(session)) else { return };
        let (agent, offer_id) = (offer.agent.clone(), offer.id);
        let (accepted, accept) = (std::mem::take(&mut offer.accepted), offer.accept.take());
        let begins_to_ring = code == 180 && !std::mem::replace(&mut offer.rings, true);
        let by_itself = begins_to_ring && offer.answers_by_itself();
        if begins_to_ring {
            self.desk(&tenant, &agent, Event::CallRinging { offer_id, call_id: id });
        }
        if accepted || by_itself {
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
        let offer = call.and_then(|id| self.calls.get_mut(&id)).and_then(|call| call.offer_mut(shown));
        let Some(offer) = offer.filter(|offer| offer.agent == *agent) else {
            return Some(Err(not_yours("This offer is over.")));
        };
        if let Some(id) = call.filter(|_| offer.leg.as_ref().is_some_and(Leg::is_browser)) {
            self.answer_in_browser(now, id, shown);
            return Some(Ok(()));
        }
        match (offer.session(), call) {
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
        let who = self.calls.get(&id);
        let who = who.and_then(|call| Some((call.tenant.clone(), call.offer_by_session(session)?.agent.clone())));
        if let Some((tenant, agent)) = who
            && let Some(agent) = self.agent_mut(&tenant, &agent)
        {
            agent.answers_by_hand = !can;
        }
        if can { Ok(()) } else { Err(answer_on_phone()) }
    }

    pub(crate) fn phone_failed(&mut self, now: Timestamp, session: SessionId, code: u16) {
        if let Some(id) = self.dialled(session) {
            self.sessions.remove(&session);
            self.dial_failed(now, id, code);
            return;
        }
        let Some((id, Party::Agent)) = self.sessions.remove(&session) else { return };
        if let Some(guest) = self.outside_guest(id, session) {
            self.guest_session_over(now, id, guest, &code.to_string());
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Stage::Sent(sent) = &mut call.stage {
            sent.leg.session = None;
            self.sent_over(now, id, &code.to_string());
            return;
        }
        let Some(offer) = call.all_offers_mut().find(|offer| offer.session() == Some(session)) else { return };
        let offer_id = offer.id;
        // RFC 3261 21.4.26: a telephone that speaks SIP by websocket may have no other sound than telephones have.
        let refused = offer.leg.take_if(|leg| code == 488 && leg.is_web_phone());
        if let Some(leg) = &mut offer.leg {
            leg.session = None;
        }
        if let Some(leg) = refused {
            self.close_media(leg.id);
            self.ring_phone(now, id, offer_id, false, true);
            return;
        }
        self.offer_over(now, id, offer_id, OfferEnd::Failed, &code.to_string());
    }
}
