//! The customer's side of a callback: our INVITE through a trunk, and what comes of it.

use std::time::Duration;

use cti_base::{CallId, OfferId, Timestamp};
use cti_media::{Audio, Codec, Direction, MediaCommand, PlayId, PromptRef, sdp};
use cti_sip::{InviteRequest, SessionId};

use super::{CallerInvite, OfferStep};
use crate::callback::CallbackState;
use crate::config::DialFirst;
use crate::effect::Effect;
use crate::engine::{Engine, Party};
use crate::fact::Outcome;
use crate::outbound;
use crate::registering;
use crate::timer::{CallTimer, Timer};

impl Engine {
    /// Sends the INVITE to the customer; an attempt, and it has so long.
    pub(crate) fn dial_customer(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(decl) = self.queue_of(call).map(|queue| queue.decl.callback.clone()) else { return };
        let until = now + Duration::from_secs(u64::from(decl.dial_timeout_s));
        let Some(dial) = &call.dial else { return };
        if let Some(pending) = self.callbacks.get_mut(dial.callback) {
            pending.view.attempts += 1;
            pending.view.state = CallbackState::Dialing;
        }
        self.timers.set(Timer::Call(id, CallTimer::Dial), until);
        self.tell_attempt(id);
        self.invite_customer(now, id);
        self.changed();
    }

    /// Through the host that was picked.
    fn invite_customer(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(dial) = &call.dial else { return };
        let address = outbound::address(&dial.host);
        let uri = address.map(|address| format!("sip:{}@{address}", call.from.expose()));
        let Some(target) = uri.and_then(|uri| self.endpoint.target_of(&uri)) else {
            self.attempt_over(now, id, Outcome::Failed, "no_trunk");
            return;
        };
        let request = InviteRequest {
            target,
            from_display: None,
            from_user: call.to.clone(),
            offer: sdp::offer(&call.customer.local, Codec::Pcma, Direction::SendRecv),
            headers: Vec::new(),
            credentials: self
                .tenants
                .get(&call.tenant)
                .and_then(|s| registering::credentials(&s.tenant.doc, &call.trunk)),
        };
        let session = self.endpoint.invite(now, request);
        self.sessions.insert(session, (id, Party::Customer));
        if let Some(call) = self.calls.get_mut(&id) {
            call.customer.session = Some(session);
            call.stage_since = now;
        }
    }

    /// A provisional answer: the trunk's host lives.
    pub(crate) fn customer_progress(&mut self, id: CallId) {
        if let Some(dial) = self.calls.get_mut(&id).and_then(|call| call.dial.as_mut()) {
            dial.progressed = true;
        }
    }

    /// The INVITE came to nothing. Where the trunk's host is to blame the next one is asked at once.
    pub(crate) fn dial_failed(&mut self, now: Timestamp, id: CallId, code: u16) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.customer.session = None;
        let (tenant, trunk) = (call.tenant.clone(), call.trunk.clone());
        let Some(dial) = &mut call.dial else { return };
        let host_is_down = !dial.progressed && matches!(code, 408 | 503);
        if host_is_down {
            dial.tried.push(dial.host.clone());
            let Some(state) = self.tenants.get_mut(&tenant) else { return };
            state.hosts_down.note(now, &dial.host);
            let decl = outbound::trunk(&state.tenant.doc, Some(&trunk));
            let next = decl.and_then(|decl| outbound::host(decl, &state.hosts_down, &dial.tried, now));
            if let Some((host, _)) = next {
                dial.host = host.to_owned();
                self.invite_customer(now, id);
                return;
            }
        }
        let outcome = match code {
            486 | 600 | 603 => Outcome::Busy,
            // RFC 3261 21.4.8 and 21.4.18: they are not there, or do not answer.
            408 | 480 | 487 if !host_is_down => Outcome::NoAnswer,
            _ => Outcome::Failed,
        };
        self.attempt_over(now, id, outcome, &code.to_string());
    }

    /// The customer's phone has rung for as long as it may.
    pub(crate) fn dial_timeout(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(dial) = &call.dial else { return };
        if !dial.progressed
            && let Some(state) = self.tenants.get_mut(&call.tenant)
        {
            state.hosts_down.note(now, &dial.host);
        }
        self.attempt_over(now, id, Outcome::NoAnswer, "no_answer");
    }

    /// The customer is on the line: the callback is done, and its call goes on like any other.
    pub(crate) fn customer_answered(&mut self, now: Timestamp, id: CallId, answer: Option<&[u8]>) {
        let Some(media) = answer.and_then(|answer| sdp::read_answer(answer).ok()) else {
            self.attempt_over(now, id, Outcome::Failed, "no_media");
            return;
        };
        self.timers.cancel(&Timer::Call(id, CallTimer::Dial));
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(dial) = call.dial.take() else { return };
        call.invite = CallerInvite::Accepted;
        call.customer.answered = Some(now);
        call.customer.media = Some(media.clone());
        call.stage_since = now;
        let (leg, tenant) = (call.customer.id, call.tenant.clone());
        let waiting_agent = call.offers().iter().find(|offer| offer.step == OfferStep::Answered).map(|offer| offer.id);
        let reserved = call.offers().iter().any(|offer| offer.step == OfferStep::Dialing);
        if let Some(state) = self.tenants.get_mut(&tenant) {
            state.hosts_down.forget(&dial.host);
        }
        self.end_callback(now, dial.callback, CallbackState::Done, "answered");
        self.media(id, MediaCommand::Connect { leg, media });
        if let Some(acd) = self.acd_mut(&tenant) {
            acd.on_the_line(now, id);
        }
        if let Some(offer) = waiting_agent {
            self.connect(now, id, offer);
            return;
        }
        self.play_prompts(id, ["connecting"].into_iter());
        if reserved {
            for offer in self.calls.get_mut(&id).map(|call| call.offers_mut()).unwrap_or_default() {
                offer.step = OfferStep::Records;
            }
            self.offer_when_known(now, id);
        }
    }

    /// Asked first, the agent has answered: they hear it ring while the customer is dialled.
    pub(crate) fn agent_waits(&mut self, now: Timestamp, id: CallId, offer: OfferId) {
        for kind in [CallTimer::Ring, CallTimer::ShownWait] {
            self.timers.cancel(&Timer::Call(id, kind));
        }
        let Some(offer) = self.calls.get_mut(&id).and_then(|call| call.offer_mut(offer)) else { return };
        offer.step = OfferStep::Answered;
        if let Some(command) = offer.accept.take() {
            self.effect(Effect::Reply { id: command, result: Ok(()) });
        }
        self.let_agent_hear(id);
        if self.calls.get(&id).is_some_and(|call| call.customer.session.is_none()) {
            self.dial_customer(now, id);
        }
    }

    /// The ringing, to the agent who waits for the customer.
    pub(crate) fn let_agent_hear(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let locale = call.locale.clone();
        call.plays += 1;
        let play = PlayId(call.plays);
        let waits = call.offers().iter().find(|offer| offer.step == OfferStep::Answered);
        let Some(leg) = waits.and_then(|offer| offer.leg.as_ref()) else { return };
        let (leg, media) = (leg.id, leg.media.clone());
        if let Some(media) = media {
            self.media(id, MediaCommand::Connect { leg, media });
        }
        let audio = vec![Audio::Prompt(PromptRef(format!("{locale}/ringback").into()))];
        self.media(id, MediaCommand::Play { leg, play, audio, repeat: true });
    }

    /// Whose INVITE it is that ended, where it is a customer's.
    pub(crate) fn dialled(&self, session: SessionId) -> Option<CallId> {
        let (id, party) = self.sessions.get(&session).copied()?;
        (party == Party::Customer && self.calls.get(&id).is_some_and(|call| call.is_dialing())).then_some(id)
    }

    /// Whether the agent is kept free until the customer has answered.
    pub(crate) fn dials_first(&self, id: CallId) -> bool {
        let dial = self.calls.get(&id).and_then(|call| call.dial.as_ref());
        dial.is_some_and(|dial| dial.first == DialFirst::Customer)
    }
}
