//! The phone of an agent who has a call rings in: with the other line it asks somebody, and hands the customer on to them by
//! REFER with Replaces (RFC 3891), or goes back. What it comes to is a consultation like one from the desk. Whose phone has
//! dialled a call of its own is offered none for so long.

use cti_base::{AgentName, CallId, LegId, TenantId, Timestamp};
use cti_media::{Direction, LegMedia, MediaCommand, sdp};
use cti_sip::{InboundInvite, Replaces, SessionId};

use super::room::{Floor, Role, Step, Who};
use super::transfer::status_of;
use super::{Leg, cut};
use crate::acd::agent::Reach;
use crate::engine::{Engine, Party};
use crate::fact::OfferEnd;
use crate::limits::NUMBER_LEN_MAX;

/// RFC 3261 21.4: there is no such dialog; busy; not here at the moment; not acceptable.
const NO_DIALOG: u16 = 481;
const BUSY: u16 = 486;
const UNAVAILABLE: u16 = 480;
const NOT_ACCEPTABLE: u16 = 488;
const FULL: u16 = 503;

/// A leg for a phone's own INVITE, and our answer to it.
pub(super) struct Answered {
    pub leg: Leg,
    pub media: LegMedia,
    pub body: bytes::Bytes,
}

impl Engine {
    /// Whether the INVITE is one of an agent's phone that means something: it is answered then.
    pub(super) fn invited_by_phone(&mut self, now: Timestamp, session: SessionId, invite: &InboundInvite) -> bool {
        let Some((tenant, agent)) = self.agent_ringing_in(invite) else { return false };
        let result = if let Some(replaces) = &invite.replaces {
            self.take_over(now, session, invite, (&tenant, &agent), replaces)
        } else {
            let own = self.agent(&tenant, &agent).and_then(|known| known.call()).filter(|id| self.leads(*id, &agent));
            let Some(id) = own else { return false };
            self.ask_by_phone(now, id, &agent, session, invite)
        };
        if let Err(code) = result {
            self.endpoint.reject(now, session, code);
        }
        true
    }

    /// The agent whose phone this is: From names them, and it comes from where that phone is rung.
    pub(super) fn agent_ringing_in(&self, invite: &InboundInvite) -> Option<(TenantId, AgentName)> {
        let name = AgentName::from(cut(invite.from.user.expose(), NUMBER_LEN_MAX));
        let comes_from = |target: &cti_sip::Target| {
            target.flow.remote == invite.flow.remote && target.flow.transport == invite.flow.transport
        };
        let is_theirs = |tenant: &TenantId, reach: &Reach| match reach {
            Reach::Contact(target) => comes_from(target),
            Reach::Registered(_) => self.endpoint.contacts_of(tenant.as_str(), name.as_str()).iter().any(comes_from),
            Reach::Browser { .. } | Reach::Nowhere => false,
        };
        self.tenants.iter().find_map(|(tenant, state)| {
            let agent = state.agents.get(&name).filter(|agent| !agent.removed)?;
            is_theirs(tenant, &agent.reach).then(|| (tenant.clone(), name.clone()))
        })
    }

    /// The agent's phone has dialled a call of its own: until that is over, the agent is offered none.
    pub(super) fn line_taken(&mut self, now: Timestamp, session: SessionId, tenant: &TenantId, agent: &AgentName) {
        self.lines.insert(session, (tenant.clone(), agent.clone()));
        self.reindex(now, tenant, agent);
    }

    /// Whose own calls are over may be offered others again.
    pub(crate) fn look_at_lines(&mut self, now: Timestamp) {
        let (lines, sessions) = (&self.lines, &self.sessions);
        let over: Vec<SessionId> = lines.keys().filter(|line| !sessions.contains_key(line)).copied().collect();
        for line in over {
            if let Some((tenant, agent)) = self.lines.remove(&line) {
                self.reindex(now, &tenant, &agent);
                self.run_acd(now);
            }
        }
    }

    /// Somebody is consulted, by the phone's other line.
    fn ask_by_phone(
        &mut self,
        now: Timestamp,
        id: CallId,
        by: &AgentName,
        session: SessionId,
        invite: &InboundInvite,
    ) -> Result<(), u16> {
        let talking = self.calls.get(&id).and_then(|call| call.talking()).ok_or(BUSY)?;
        if talking.line().is_some() || talking.consulted().is_some() || talking.leg.session.is_none() {
            return Err(BUSY);
        }
        let to = self.named_by_phone(id, &invite.target.user).ok_or(NO_DIALOG)?;
        let answered = self.answer_phone(now, session, invite)?;
        if let Err(nack) = self.consult(now, id, by, to) {
            self.put_back(&answered.leg.local);
            return Err(status_of(&nack));
        }
        let Answered { leg, media, body } = answered;
        self.open_phone_leg(id, &leg, media);
        self.add_guest(id, Who::Lead, Role::Line, Step::On(Box::new(leg)), now);
        self.endpoint.accept(now, session, body);
        self.arrange(id);
        Ok(())
    }

    /// Our side of a call that a phone makes; its port is taken.
    pub(super) fn answer_phone(
        &mut self,
        now: Timestamp,
        session: SessionId,
        invite: &InboundInvite,
    ) -> Result<Answered, u16> {
        // A late offer would leave the leg without media until the ACK.
        let offer = invite.offer.as_deref().ok_or(NOT_ACCEPTABLE)?;
        let has_room = self.legs.len() < self.config.legs_max.min(self.ports.capacity()) && !self.draining;
        let webrtc = if has_room && sdp::is_browsers(offer) { self.browser_half() } else { None };
        let port = if has_room && webrtc.is_none() { self.ports.take(now) } else { None };
        let plain = port.map(|port| std::net::SocketAddr::new(self.media_ip_for(&invite.flow), port));
        let rtp = webrtc.as_ref().map(|half| half.address()).or(plain).ok_or(FULL)?;
        let srtp = self.srtp_key_for(Some(offer), None);
        let session_id = self.rng.next_u64() >> 2;
        let mut local = sdp::Local { rtp, session_id, version: 1, srtp, wideband: false, webrtc };
        let Ok((body, media)) = sdp::answer(offer, &local, Direction::SendRecv) else {
            self.put_back(&local);
            return Err(NOT_ACCEPTABLE);
        };
        local.settled(&media);
        let id = LegId::new(now, &mut self.rng);
        let leg = Leg {
            id,
            session: Some(session),
            started: now,
            answered: Some(now),
            local,
            media: Some(media.clone()),
            awaits_answer: false,
        };
        Ok(Answered { leg, media, body })
    }

    pub(super) fn open_phone_leg(&mut self, id: CallId, leg: &Leg, media: LegMedia) {
        let leg_id = leg.id;
        if let Some(session) = leg.session {
            self.sessions.insert(session, (id, Party::Agent));
        }
        self.open_leg(id, leg_id, &leg.local);
        self.media(id, MediaCommand::Connect { leg: leg_id, media });
    }

    /// The phone refers its one line to its other one: the customer and who is consulted talk, the agent leaves.
    pub(super) fn referred_to_line(&mut self, now: Timestamp, session: SessionId, replaces: &Replaces) {
        match self.may_join_lines(session, replaces) {
            Ok(id) => {
                self.endpoint.answer_refer(now, session, 202);
                // Checked: who is consulted has answered.
                let _ = self.complete(now, id);
            }
            Err(code) => self.endpoint.answer_refer(now, session, code),
        }
    }

    fn may_join_lines(&self, session: SessionId, replaces: &Replaces) -> Result<CallId, u16> {
        const DECLINED: u16 = 603;
        let Some((id, Party::Agent)) = self.sessions.get(&session).copied() else { return Err(DECLINED) };
        let talking = self.calls.get(&id).and_then(|call| call.talking()).ok_or(DECLINED)?;
        let lines = [talking.leg.session, talking.line().and_then(|leg| leg.session)];
        if !lines.contains(&Some(session)) {
            return Err(DECLINED);
        }
        // The dialog is named as whoever is referred to has it; where that is this switch, it is its own.
        let other = self.endpoint.replaced(replaces).ok_or(NO_DIALOG)?;
        if other == session || !lines.contains(&Some(other)) {
            return Err(NO_DIALOG);
        }
        match talking.consulted().map(|guest| guest.on().is_some()) {
            Some(true) => Ok(id),
            Some(false) | None => Err(UNAVAILABLE),
        }
    }

    /// Somebody left: with who is consulted goes the line by which they are talked with, and with the line who is consulted.
    pub(super) fn follow_line(&mut self, now: Timestamp, id: CallId, left: Role) {
        let Some(talking) = self.calls.get(&id).and_then(|call| call.talking()) else { return };
        match left {
            Role::Consulted => {
                let line = talking.guests.iter().find(|guest| guest.role == Role::Line).map(|guest| guest.number);
                if let Some(line) = line {
                    self.guest_over(now, id, line, OfferEnd::Withdrawn, "consult_over");
                }
            }
            Role::Line if talking.consulted().is_some() => {
                // There is somebody to be let go.
                let _ = self.cancel_consult(now, id);
            }
            Role::Line | Role::Member | Role::Supervisor(_) => {}
        }
    }

    /// The phone has taken this leg off hold: the agent is with whoever is on that line.
    pub(super) fn turn_to_line(&mut self, now: Timestamp, id: CallId, leg: LegId) {
        let Some(talking) = self.calls.get(&id).and_then(|call| call.talking()) else { return };
        let (Some(line), Some(_)) = (talking.line(), talking.consulted()) else { return };
        let floor = match leg {
            _ if leg == line.id => Floor::Aside,
            _ if leg == talking.leg.id => Floor::Customer,
            _ => return,
        };
        if talking.floor != floor {
            self.set_floor(now, id, floor);
        }
    }
}
