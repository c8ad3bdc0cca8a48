//! An INVITE comes in: whose it is, whether it may come in, and where it goes first.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cti_base::{AgentName, CallId, E164, LegId, Pii, TenantId, Timestamp};
use cti_media::{Codec, Direction, LegMedia, MediaCommand, sdp};
use cti_sip::{InboundInvite, Party as SipParty, SessionId};

use super::{Call, CallerInvite, Leg, Records, Stage, Wish};
use crate::config::{AnswerWhen, NumberDecl, Route};
use crate::desk::{CallerRecords, Direction as CallDirection};
use crate::effect::{Effect, Measure};
use crate::engine::{Engine, Party, TenantState};
use crate::fact::{Fact, Outcome};
use crate::limits::NUMBER_LEN_MAX;
use crate::outbound;
use crate::routing::Dialled;

/// Why a call does not come in: the status, and the word it is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    code: u16,
    reason: &'static str,
}

/// A call that may come in.
struct Admitted {
    tenant: TenantId,
    /// Empty where a phone of our own calls.
    trunk: String,
    number: NumberDecl,
    from: String,
    local: sdp::Local,
    /// `None` is a late offer.
    answer: Option<(Bytes, LegMedia)>,
}

impl Engine {
    pub(crate) fn invited(&mut self, now: Timestamp, session: SessionId, invite: InboundInvite) {
        if self.invited_by_phone(now, session, &invite) {
            return;
        }
        match self.admit(now, &invite) {
            Ok(admitted) => self.start_call(now, session, admitted),
            Err(Refusal { code, reason }) => {
                self.endpoint.reject(now, session, code);
                self.measure(Measure::CallRejected { reason });
            }
        }
    }

    /// Every check before anything else happens; a port is taken last, and nothing is left behind by a refusal.
    fn admit(&mut self, now: Timestamp, invite: &InboundInvite) -> Result<Admitted, Refusal> {
        let refuse = |code, reason| Refusal { code, reason };
        let (tenant, trunk, number, from) = if let Some((tenant, number, from)) = self.dialled_within(invite) {
            (tenant, String::new(), number, from)
        } else {
            let tenants = &self.tenants;
            let tenant_of = |id: &TenantId| tenants.get(id).map(|state| &*state.tenant);
            match self.trunks.find(&invite.flow, invite.target.user.expose(), tenant_of) {
                Dialled::Stranger => {
                    let (tenant, agent) = self.agent_ringing_in(invite).ok_or(refuse(403, "unknown_source"))?;
                    let number = self.tenants[&tenant].tenant.dialled_within(invite.target.user.expose());
                    (tenant, String::new(), number.ok_or(refuse(404, "unknown_number"))?, agent.to_string())
                }
                Dialled::UnknownNumber => return Err(refuse(404, "unknown_number")),
                Dialled::Number { tenant, trunk, number } => {
                    let from = tenants.get(tenant).map(|state| caller_number(invite, state)).unwrap_or_default();
                    (tenant.clone(), trunk.to_owned(), number.clone(), from)
                }
            }
        };
        let legs = (2 * self.calls.len() + 2).max(self.legs.len() + 2);
        let has_room = legs <= self.config.legs_max.min(self.ports.capacity());
        let is_page = invite.offer.as_deref().is_some_and(sdp::is_browsers);
        let webrtc = if has_room && is_page { self.browser_half() } else { None };
        let port = if has_room && webrtc.is_none() { self.ports.take(now) } else { None };
        let has_place = port.is_some() || webrtc.is_some();
        // A description that nobody can answer is refused as such, whether or not there is room.
        let session_id = self.rng.next_u64() >> 2;
        let plain = std::net::SocketAddr::new(self.media_ip_for(&invite.flow), port.unwrap_or(ANY_PORT));
        let rtp = webrtc.as_ref().map_or(plain, |half| half.address());
        let srtp = self.srtp_key_for(invite.offer.as_deref(), None);
        let wideband =
            outbound::trunk(&self.tenants[&tenant].tenant.doc, Some(&trunk)).is_some_and(|trunk| trunk.wideband);
        let mut local = sdp::Local { rtp, session_id, version: 1, srtp, wideband, webrtc };
        let checked = read_offer(invite.offer.as_deref(), &local).and_then(|answer| {
            if self.draining {
                return Err(refuse(503, "draining"));
            }
            if !has_place {
                return Err(refuse(503, "no_media_port"));
            }
            take_trunk(&mut self.tenants, &tenant, &trunk, now)?;
            Ok(answer)
        });
        match checked {
            Ok(answer) => {
                if let Some((_, media)) = &answer {
                    local.settled(media);
                }
                Ok(Admitted { tenant, trunk, number, from, local, answer })
            }
            Err(refusal) => {
                if let Some(port) = port {
                    self.ports.put_back(port);
                }
                if refusal.reason == "no_media_port" {
                    let message = "Calls are refused: all RTP ports or legs are in use. Widen `[media] rtp_ports` or \
                                   raise the limit of open files.";
                    self.alarm(now, &tenant, "no_media_port", message.to_owned());
                }
                Err(refusal)
            }
        }
    }

    /// What a phone that registered by a websocket dialled, where it is anything within its tenant; and who it is, whatever it
    /// says.
    fn dialled_within(&self, invite: &InboundInvite) -> Option<(TenantId, NumberDecl, String)> {
        let (tenant, user) = self.endpoint.owner_of(&invite.flow)?;
        let tenant = TenantId::from(tenant);
        let number = self.tenants.get(&tenant)?.tenant.dialled_within(invite.target.user.expose())?;
        Some((tenant, number, user.to_owned()))
    }

    fn start_call(&mut self, now: Timestamp, session: SessionId, admitted: Admitted) {
        let Admitted { tenant, trunk, number, from, local, answer } = admitted;
        let Some(state) = self.tenants.get(&tenant) else { return };
        let locale = state.tenant.doc.tenant.locale.clone();
        let id = CallId::new(now, &mut self.rng);
        let leg = LegId::new(now, &mut self.rng);
        let described = local.clone();
        let (sdp_answer, media) = answer.map_or((None, None), |(sdp, media)| (Some(sdp), Some(media)));
        self.orders += 1;
        let call = Call {
            id,
            tenant: tenant.clone(),
            direction: CallDirection::Inbound,
            dial: None,
            trunk: trunk.clone(),
            from: Pii::new(from.clone()),
            to: number.did.clone(),
            started: now,
            customer: Leg {
                id: leg,
                session: Some(session),
                started: now,
                answered: None,
                local,
                media,
                awaits_answer: false,
            },
            invite: CallerInvite::Open { answer: sdp_answer, rung: false },
            answer_when: number.answer,
            stage: Stage::Answering(number.route.clone()),
            stage_since: now,
            locale,
            path: Vec::new(),
            vars: BTreeMap::new(),
            records: Records::Known(CallerRecords::default()),
            queue: None,
            queued: None,
            place: None,
            order: self.orders,
            offered: None,
            answered: None,
            agent: None,
            overflows: 0,
            ring: Duration::ZERO,
            segments: Vec::new(),
            open_segment: None,
            legs: Vec::new(),
            recording: None,
            recorded_from: None,
            talk_ms: 0,
            hold_ms: 0,
            back: None,
            limit: None,
            unreached: Vec::new(),
            plays: 0,
            playing: None,
            setup_measured: false,
            ver: 0,
            tally: super::Tally::default(),
        };
        self.calls.insert(id, call);
        self.sessions.insert(session, (id, Party::Customer));
        if trunk.is_empty() {
            self.line_taken(now, session, &tenant, &AgentName::from(from.as_str()));
        }
        self.fact(Fact::CallStarted {
            tenant: tenant.clone(),
            call: id,
            direction: CallDirection::Inbound,
            trunk: Some(trunk).filter(|trunk| !trunk.is_empty()),
            from: Pii::new(from.clone()),
            to: number.did.clone(),
        });
        if !from.is_empty() {
            if let Some(call) = self.calls.get_mut(&id) {
                call.records = Records::Asked(now);
            }
            self.effect(Effect::LookUp { tenant, call: id, number: Pii::new(from) });
        }
        self.open_leg(id, leg, &described);
        let is_late = self.calls.get(&id).is_some_and(|call| call.customer.media.is_none());
        if is_late && number.answer == AnswerWhen::Entry {
            self.answer_caller(now, id);
        } else {
            self.enter_route(now, id, &number.route);
        }
    }

    /// Sends the caller's 200, once; what they hear starts with it.
    pub(crate) fn answer_caller(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let CallerInvite::Open { answer, rung: _ } = &mut call.invite else { return };
        let answer = answer.take();
        call.invite = CallerInvite::Accepted;
        call.customer.answered = Some(now);
        let (leg, media, session) = (call.customer.id, call.customer.media.clone(), call.customer.session);
        let body = match answer {
            Some(body) => body,
            None => {
                call.customer.awaits_answer = true;
                sdp::offer(&call.customer.local, Codec::Pcma, Direction::SendRecv)
            }
        };
        self.measure_setup(id);
        if let Some(media) = media {
            self.media(id, MediaCommand::Connect { leg, media });
        }
        if let Some(session) = session {
            self.endpoint.accept(now, session, body);
        }
    }

    /// 180, once, to a caller who is not answered before an agent answers.
    pub(crate) fn ring_caller(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let CallerInvite::Open { answer: _, rung } = &mut call.invite else { return };
        if !std::mem::replace(rung, true)
            && let Some(session) = call.customer.session
        {
            self.endpoint.ring(now, session, None);
        }
    }

    /// Begins a route from a number or from an overflow.
    pub(crate) fn enter_route(&mut self, now: Timestamp, id: CallId, route: &Route) {
        match route {
            Route::Ivr(name) => self.enter_menu(now, id, name, None),
            Route::Queue(name) => self.enqueue(now, id, name, Wish::default()),
            Route::Agent(name) => self.enqueue_for(now, id, name, Wish::default()),
        }
    }

    /// The ACK for our 200, with the caller's side of a late offer.
    pub(crate) fn confirmed(&mut self, now: Timestamp, session: SessionId, answer: Option<&[u8]>) {
        let Some((id, party)) = self.sessions.get(&session).copied() else { return };
        let Some(leg) = self.leg_mut(id, session) else { return };
        if !leg.awaits_answer {
            return;
        }
        leg.awaits_answer = false;
        let Some(media) = self.settle_leg(id, session, answer) else {
            self.end_call_by_stage(now, id, "no_media");
            return;
        };
        let Some(leg) = self.leg_mut(id, session) else { return };
        let was_new = leg.media.is_none();
        leg.media = Some(media.clone());
        let leg = leg.id;
        let holds = !media.direction.sends();
        self.media(id, MediaCommand::Connect { leg, media });
        if party == Party::Agent && self.is_leads_leg(id, leg) {
            self.set_phone_hold(now, id, holds);
        }
        let route = match self.calls.get(&id).map(|call| &call.stage) {
            Some(Stage::Answering(route)) if was_new => route.clone(),
            _ => return,
        };
        self.enter_route(now, id, &route);
    }

    /// `zongji_setup_seconds`, once a call: at the caller's 200 or the agent's INVITE, whichever is first.
    pub(crate) fn measure_setup(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id)
            && !std::mem::replace(&mut call.setup_measured, true)
        {
            let since = call.started;
            self.measure(Measure::Setup { since });
        }
    }

    /// What the call's stage makes of its caller's going.
    pub(crate) fn outcome_by_stage(call: &Call) -> Outcome {
        match &call.stage {
            Stage::Answering(Route::Ivr(_)) | Stage::Menu(_) => Outcome::AbandonedIvr,
            Stage::Answering(Route::Queue(_) | Route::Agent(_)) => Outcome::AbandonedQueue,
            // Until the frame is out nobody has been offered the call.
            Stage::Waiting(waiting) if waiting.offers.iter().any(|offer| offer.shown.is_some()) => {
                Outcome::AbandonedRinging
            }
            Stage::Waiting(_) => Outcome::AbandonedQueue,
            Stage::Goodbye { outcome, .. } => *outcome,
            // Without a message.
            Stage::Voicemail(voicemail) if voicemail.wished => Outcome::AbandonedQueue,
            Stage::Voicemail(_) => Outcome::Overflowed,
            // A queue's limit sent it to an outside number: it has reached no agent.
            Stage::Talking(_) | Stage::Sent(_) if call.answered.is_none() => Outcome::Overflowed,
            Stage::Talking(_) | Stage::Sent(_) => Outcome::Answered,
        }
    }
}

/// Stands in a description that is only checked; never sent.
const ANY_PORT: u16 = 9;

fn read_offer(offer: Option<&[u8]>, local: &sdp::Local) -> Result<Option<(Bytes, LegMedia)>, Refusal> {
    let Some(offer) = offer else { return Ok(None) };
    match sdp::answer(offer, local, Direction::SendRecv) {
        Ok(answer) => Ok(Some(answer)),
        Err(sdp::SdpError::Malformed(_)) => Err(Refusal { code: 400, reason: "malformed_sdp" }),
        Err(sdp::SdpError::NoAudio | sdp::SdpError::NoCommonCodec | sdp::SdpError::NoCommonCrypto) => {
            Err(Refusal { code: 488, reason: "no_common_codec" })
        }
    }
}

/// Counts the call on its trunk, or says which of the trunk's limits is reached.
fn take_trunk(
    tenants: &mut BTreeMap<TenantId, TenantState>,
    tenant: &TenantId,
    trunk: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(state) = tenants.get_mut(tenant) else { return Ok(()) };
    let Some(decl) = state.tenant.doc.trunk.iter().find(|decl| decl.name == trunk) else { return Ok(()) };
    let used = state.trunks.entry(trunk.to_owned()).or_default();
    if let Some(reason) = used.refusal(now, decl) {
        return Err(Refusal { code: 503, reason });
    }
    used.begin(now, decl);
    Ok(())
}

/// The caller's number: what the network asserts, else From. E.164 where it can be, as it came where not.
fn caller_number(invite: &InboundInvite, state: &TenantState) -> String {
    let user = |party: &SipParty| Some(party.user.expose().clone()).filter(|user| !user.is_empty());
    let text = invite.asserted.as_ref().and_then(user).or_else(|| user(&invite.from)).unwrap_or_default();
    match E164::parse(&text, state.tenant.country) {
        Some(number) => number.as_str().to_owned(),
        None => cut(&text, NUMBER_LEN_MAX).to_owned(),
    }
}

/// The first `bytes_max` bytes of `text`, cut between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
