//! Somebody is asked to join a call that is talked on: an agent's phone or an outside number is rung, joins, and leaves.

use cti_base::{AgentName, CallId, LegId, OfferId, Timestamp};
use cti_media::{Codec, Direction, LegMedia, MediaCommand, sdp};
use cti_sip::{InviteRequest, SessionId};

use super::room::{Floor, Guest, Outside, Role, Step, Who};
use super::{Call, Leg, Offer, OfferStep, Shown, Stage};
use crate::acd::agent::{Desk, Task};
use crate::commands::{busy, forbidden, wrong_state};
use crate::desk::{AgentState, CallView, Event, Nack, NextState, WantedState};
use crate::effect::Effect;
use crate::engine::{Engine, OpenLeg, Party};
use crate::fact::{Fact, LegRole, OfferEnd};
use crate::limits::{GUEST_RING, OFFER_SHOWN_WAIT, PARTIES_MAX};
use crate::outbound::{self, Room};
use crate::registering;
use crate::timer::{CallTimer, Timer};
use crate::trace::{Destination, TraceEntry};

/// An outside number that may be dialled now, and as whom.
pub(crate) struct Way {
    pub outside: Outside,
    target: cti_sip::Target,
    did: String,
}

impl Engine {
    /// Whether one more may be asked to join.
    pub(super) fn room_for_guest(&self, id: CallId) -> Result<(), Nack> {
        let Some(call) = self.calls.get(&id) else { return Err(wrong_state("This call is over.")) };
        let is_party = |guest: &&Guest| matches!(guest.role, Role::Consulted | Role::Member);
        let parties = call.guests().iter().filter(is_party).count();
        // The customer and whoever has the call are two of them.
        if parties + 2 >= PARTIES_MAX {
            return Err(busy(format!("A call has at most {PARTIES_MAX} parties.")));
        }
        Ok(())
    }

    /// Rings an agent's phone to join the call. Whoever is free may be rung, ready or not: a colleague asks.
    pub(super) fn ring_guest(&mut self, now: Timestamp, id: CallId, name: &AgentName, role: Role) -> Result<(), Nack> {
        let Some(call) = self.calls.get(&id) else { return Err(wrong_state("This call is over.")) };
        let (tenant, wait_ms) = (call.tenant.clone(), call.wait_ms(now));
        let case_kind = call.talking().and_then(|talking| talking.case_kind.clone());
        let Some(agent) = self.agent(&tenant, name) else { return Err(wrong_state("There is no such agent.")) };
        if !matches!(agent.task, Task::Idle) {
            return Err(busy(format!("{} is busy.", agent.display())));
        }
        if !agent.is_reachable() || agent.removed {
            return Err(wrong_state("This agent's phone can not be rung."));
        }
        let (has_desk, was, reason) = (agent.desk == Desk::Connected, agent.state, agent.reason.clone());
        let until = now + GUEST_RING;
        let shown = Shown {
            case_kind,
            ring_until_ms: until.as_millis(),
            can_accept: !agent.answers_by_hand,
            wait_ms,
            auto_answer: matches!(role, Role::Supervisor(_)),
        };
        let offer_id = OfferId::new(now, &mut self.rng);
        let mut offer = Offer::new(now, offer_id, name.clone());
        (offer.step, offer.shown) = (OfferStep::Shown, Some(shown));
        let number = self.add_guest(id, Who::Agent(name.clone()), role, Step::Ringing(Box::new(offer)), until);
        self.offers.insert(offer_id, id);
        if let Some(agent) = self.agent_mut(&tenant, name) {
            agent.task = Task::Join(id);
            // Who was away is away again afterwards.
            let back = match was {
                AgentState::Break => Some(WantedState::Break),
                AgentState::Offline => Some(WantedState::Offline),
                AgentState::Ready | AgentState::Offered | AgentState::Talking | AgentState::Wrapup => None,
            };
            if let Some(state) = back {
                agent.next = Some(NextState { state, reason });
            }
        }
        self.set_agent_state(now, &tenant, name, AgentState::Offered, None);
        self.fact(Fact::Offered { tenant: tenant.clone(), call: id, offer: offer_id, agent: name.clone() });
        let call = self.calls.get(&id);
        let frame = call.and_then(|call| call.frame(call.offer(offer_id)?));
        if let Some(offer) = frame {
            self.effect(Effect::Offer { tenant, agent: name.clone(), offer });
        }
        if has_desk {
            self.timers.set(Timer::Call(id, CallTimer::ShownWait), now + OFFER_SHOWN_WAIT);
        } else {
            self.offer_shown(now, offer_id);
        }
        // The phone may have been refused at once.
        match self.calls.get(&id).and_then(|call| call.talking()?.guest(number)) {
            Some(_) => Ok(()),
            None => Err(wrong_state("This agent's phone can not be rung.")),
        }
    }

    /// Whether this number may be dialled now, through which trunk and as whom.
    pub(super) fn way_out(&self, now: Timestamp, id: CallId, number: &str) -> Result<Way, Nack> {
        let Some(call) = self.calls.get(&id) else { return Err(wrong_state("This call is over.")) };
        let Some(state) = self.tenants.get(&call.tenant) else { return Err(wrong_state("This call is over.")) };
        let doc = &state.tenant.doc;
        let rules = &doc.tenant.outbound;
        let Ok(number) = outbound::permit(rules, state.tenant.country, number) else {
            return Err(forbidden("This number may not be dialled."));
        };
        let named = self.queue_of(call).and_then(|queue| queue.decl.callback.trunk.clone());
        let none = || forbidden("There is no trunk to dial this number through.");
        let trunk = outbound::trunk(doc, named.as_deref()).ok_or_else(none)?;
        let (host, address) = outbound::host(trunk, &state.hosts_down, &[], now).ok_or_else(none)?;
        let target = self.endpoint.target_of(&format!("sip:{number}@{address}")).ok_or_else(none)?;
        let did = outbound::caller_id(doc, Some(&trunk.name), Some(&call.to)).ok_or_else(none)?;
        let full = || busy("As many calls as may be are dialled at this moment.".to_owned());
        let used = state.trunks.get(&trunk.name).copied().unwrap_or_default();
        let is_free = matches!(state.outbound.room(now, rules), Room::Now) && used.refusal(now, trunk).is_none();
        let has_leg = self.legs.len() < self.config.legs_max.min(self.ports.capacity());
        if self.draining || self.closing || !is_free || !has_leg {
            return Err(full());
        }
        let (trunk, host) = (trunk.name.clone(), host.to_owned());
        let outside = Outside { number: cti_base::Pii::new(number.as_str().to_owned()), trunk, host };
        Ok(Way { outside, target, did })
    }

    /// The INVITE to an outside number; counted on its trunk until `give_back`.
    pub(super) fn dial_out(&mut self, now: Timestamp, id: CallId, way: &Way) -> Result<Leg, Nack> {
        let Some(port) = self.ports.take(now) else { return Err(busy("No RTP port is free.".to_owned())) };
        let Some(call) = self.calls.get(&id) else { return Err(wrong_state("This call is over.")) };
        let tenant = call.tenant.clone();
        let codec = call.customer.media.as_ref().map_or(Codec::Pcma, |media| media.codec);
        let leg = LegId::new(now, &mut self.rng);
        let rtp = std::net::SocketAddr::new(self.media_ip_for(&way.target.flow), port);
        let local = sdp::Local {
            rtp,
            session_id: self.rng.next_u64() >> 2,
            version: 1,
            srtp: None,
            wideband: false,
            webrtc: None,
        };
        if let Some(state) = self.tenants.get_mut(&tenant) {
            state.outbound.begin(now, &state.tenant.doc.tenant.outbound);
            if let Some(decl) = outbound::trunk(&state.tenant.doc, Some(&way.outside.trunk)) {
                state.trunks.entry(way.outside.trunk.clone()).or_default().begin(now, decl);
            }
        }
        self.legs.insert(leg, OpenLeg { call: id, port: Some(port), closing: false });
        self.media(id, MediaCommand::Open { leg, call: id, rtp_port: port });
        let request = InviteRequest {
            target: way.target.clone(),
            from_display: None,
            from_user: way.did.clone(),
            offer: sdp::offer(&local, codec, Direction::SendRecv),
            headers: Vec::new(),
            credentials: self
                .tenants
                .get(&tenant)
                .and_then(|state| registering::credentials(&state.tenant.doc, &way.outside.trunk)),
        };
        let session = self.endpoint.invite(now, request);
        self.sessions.insert(session, (id, Party::Agent));
        let session = Some(session);
        Ok(Leg { id: leg, session, started: now, answered: None, local, media: None, awaits_answer: false })
    }

    /// Dials an outside number to join the call.
    pub(super) fn dial_guest(&mut self, now: Timestamp, id: CallId, number: &str, role: Role) -> Result<(), Nack> {
        let way = self.way_out(now, id, number)?;
        let leg = self.dial_out(now, id, &way)?;
        self.add_guest(id, Who::Outside(way.outside), role, Step::Dialing(Box::new(leg)), now + GUEST_RING);
        Ok(())
    }

    pub(super) fn add_guest(&mut self, id: CallId, who: Who, role: Role, step: Step, until: Timestamp) -> u32 {
        let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) else { return 0 };
        talking.guests_ever += 1;
        let number = talking.guests_ever;
        talking.guests.push(Guest { number, who, role, step, until, muted: false });
        self.set_guest_timer(id);
        number
    }

    /// Due when the first of those who are rung has been rung for long enough.
    fn set_guest_timer(&mut self, id: CallId) {
        let guests = self.calls.get(&id).map(|call| call.guests()).unwrap_or_default();
        let rung = guests.iter().filter(|guest| guest.on().is_none());
        let timer = Timer::Call(id, CallTimer::Guest);
        match rung.map(|guest| guest.until).min() {
            Some(until) => self.timers.set(timer, until),
            None => self.timers.cancel(&timer),
        }
    }

    /// Nobody could answer meanwhile.
    pub(crate) fn postpone_guests(&mut self, id: CallId, by: std::time::Duration) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match &mut call.stage {
            Stage::Talking(talking) => talking.guests.iter_mut().for_each(|guest| guest.until = guest.until + by),
            Stage::Sent(sent) => sent.until = sent.until + by,
            Stage::Answering(_) | Stage::Menu(_) | Stage::Waiting(_) | Stage::Goodbye { .. } | Stage::Voicemail(_) => {
                return;
            }
        }
        self.timers.postpone(&Timer::Call(id, CallTimer::Guest), by);
    }

    /// Those who have been rung for long enough are not any more.
    pub(crate) fn guest_timeout(&mut self, now: Timestamp, id: CallId) {
        if let Some(Stage::Sent(sent)) = self.calls.get(&id).map(|call| &call.stage) {
            if sent.until <= now {
                self.sent_over(now, id, "no_answer");
            }
            return;
        }
        let guests = self.calls.get(&id).map(|call| call.guests()).unwrap_or_default();
        let late = guests.iter().filter(|guest| guest.on().is_none() && guest.until <= now);
        let late: Vec<u32> = late.map(|guest| guest.number).collect();
        for guest in late {
            self.guest_over(now, id, guest, OfferEnd::Timeout, "no_answer");
        }
        self.set_guest_timer(id);
    }

    /// The phone of somebody who was asked answered.
    pub(crate) fn guest_answered(&mut self, now: Timestamp, id: CallId, number: u32, answer: Option<LegMedia>) {
        let Some(media) = answer else {
            self.guest_over(now, id, number, OfferEnd::Failed, "no_media");
            return;
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        let Some(talking) = call.talking_mut() else { return };
        let Some(at) = talking.guests.iter().position(|guest| guest.number == number) else { return };
        let Guest { number, who, role, step, until, muted } = talking.guests.remove(at);
        let mut offered = None;
        let leg = match step {
            Step::Ringing(offer) => {
                let Offer { id, agent, ringing_since, leg, accept, .. } = *offer;
                offered = Some((id, agent, ringing_since, accept));
                leg
            }
            Step::Dialing(leg) | Step::On(leg) => Some(*leg),
        };
        let Some(mut leg) = leg else { return };
        leg.answered = Some(now);
        leg.media = Some(media.clone());
        let leg_id = leg.id;
        let on = Guest { number, who: who.clone(), role, step: Step::On(Box::new(leg)), until, muted };
        talking.guests.insert(at, on);
        self.media(id, MediaCommand::Connect { leg: leg_id, media });
        if let Some((offer, agent, since, accept)) = offered {
            self.offers.remove(&offer);
            if let Some(command) = accept {
                self.effect(Effect::Reply { id: command, result: Ok(()) });
            }
            let (how, offered_ms) = (OfferEnd::Accepted, Some(since.as_millis()));
            self.fact(Fact::OfferEnded {
                tenant: tenant.clone(),
                call: id,
                offer,
                agent: agent.clone(),
                how,
                offered_ms,
            });
            self.desk(&tenant, &agent, Event::OfferAccepted { offer_id: offer, call_id: id });
            if let Some(agent) = self.agent_mut(&tenant, &agent) {
                agent.task = Task::Talk(id);
                agent.missed = 0;
            }
            self.set_agent_state(now, &tenant, &agent, AgentState::Talking, None);
        }
        self.set_guest_timer(id);
        if let Role::Supervisor(listen) = role {
            if let Who::Agent(supervisor) = &who {
                self.tell_supervision(id, supervisor, Some(listen));
            }
        } else if let Some(who) = destination(&who) {
            self.trace(now, id, TraceEntry::Joined { who });
        }
        self.arrange(id);
        if let Who::Agent(agent) = &who
            && let Some(view) = self.view_for(id, agent)
        {
            self.desk(&tenant, agent, Event::CallConnected(Box::new(view)));
        }
        self.tell_parties(id);
    }

    /// Somebody who was asked does not come, or leaves. The customer of a consultation that fails stays on hold until the
    /// agent retrieves them.
    pub(crate) fn guest_over(&mut self, now: Timestamp, id: CallId, number: u32, how: OfferEnd, cause: &str) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        let Some(talking) = call.talking_mut() else {
            self.calls.insert(id, call);
            return;
        };
        let Some(at) = talking.guests.iter().position(|guest| guest.number == number) else {
            self.calls.insert(id, call);
            return;
        };
        let guest = talking.guests.remove(at);
        if guest.role == Role::Consulted && std::mem::take(&mut talking.floor) == Floor::Aside {
            // A phone with two lines holds and retrieves the customer itself.
            talking.desk_hold = talking.line().is_none();
        }
        let (role, who) = (guest.role, guest.who.clone());
        let view = call.talking().map(|talking| call.left_view(now, talking, cause));
        if let Some((lead, view)) = view {
            self.close_guest(now, &mut call, guest, (lead, view), how, cause);
        }
        self.calls.insert(id, call);
        self.set_guest_timer(id);
        if let (Role::Consulted | Role::Member, Some(who)) = (role, destination(&who)) {
            self.trace(now, id, TraceEntry::NotJoined { who, cause: cause.to_owned() });
        }
        self.update_hold(now, id);
        self.arrange(id);
        self.tell_parties(id);
        self.follow_line(now, id, role);
    }

    /// Lets a guest go who is no longer among the call's: phone, port, trunk, desk, record. The call is not among the calls.
    /// `lead` has the call, `view` is what a guest's desk sees of it at the end.
    pub(super) fn close_guest(
        &mut self,
        now: Timestamp,
        call: &mut Call,
        guest: Guest,
        (lead, view): (Option<AgentName>, CallView),
        how: OfferEnd,
        cause: &str,
    ) {
        let (tenant, id) = (call.tenant.clone(), call.id);
        let Guest { who, role, step, .. } = guest;
        let (leg, offer) = match step {
            Step::Ringing(mut offer) => (offer.leg.take(), Some(offer)),
            Step::Dialing(leg) | Step::On(leg) => (Some(*leg), None),
        };
        if let Some(leg) = leg {
            let agent = match &who {
                Who::Agent(agent) => Some(agent),
                Who::Lead => lead.as_ref(),
                Who::Outside(_) => None,
            };
            let mut record = Self::leg_record(now, &leg, agent, cause);
            record.role = match role {
                Role::Supervisor(_) => LegRole::Supervisor,
                Role::Consulted | Role::Member if agent.is_none() => LegRole::Outside,
                Role::Consulted | Role::Member | Role::Line => LegRole::Agent,
            };
            Self::add_leg_record(&mut call.legs, record);
            self.end_session(now, leg.session, None);
            self.close_media(leg.id);
        }
        match who {
            Who::Outside(outside) => self.give_back(&tenant, &outside),
            Who::Lead => {}
            Who::Agent(agent) => {
                if let Some(offer) = offer {
                    self.close_joining(&tenant, id, &agent, *offer, how, cause);
                } else {
                    if matches!(role, Role::Supervisor(_)) {
                        self.supervision_fact(&tenant, id, &agent, lead, None);
                    }
                    self.desk(&tenant, &agent, Event::CallEnded(Box::new(view)));
                }
                self.settle(now, &tenant, &agent);
            }
        }
    }

    /// The end of being asked to join, but the answer.
    fn close_joining(
        &mut self,
        tenant: &cti_base::TenantId,
        id: CallId,
        agent: &AgentName,
        offer: Offer,
        how: OfferEnd,
        cause: &str,
    ) {
        self.offers.remove(&offer.id);
        if let Some(command) = offer.accept {
            let result = Err(crate::commands::not_yours("This offer is over."));
            self.effect(Effect::Reply { id: command, result });
        }
        let (offer_id, call_id, offered_ms) = (offer.id, id, Some(offer.ringing_since.as_millis()));
        self.fact(Fact::OfferEnded {
            tenant: tenant.clone(),
            call: id,
            offer: offer_id,
            agent: agent.clone(),
            how,
            offered_ms,
        });
        let event = match how {
            OfferEnd::Rejected => Event::OfferRejected { offer_id, call_id },
            OfferEnd::Timeout => Event::OfferTimeout { offer_id, call_id },
            OfferEnd::Accepted | OfferEnd::Withdrawn | OfferEnd::Failed => {
                Event::OfferWithdrawn { offer_id, call_id, reason: cause.to_owned() }
            }
        };
        self.desk(tenant, agent, event);
    }

    /// The outside number is let go.
    pub(super) fn give_back(&mut self, tenant: &cti_base::TenantId, outside: &Outside) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        if let Some(used) = state.trunks.get_mut(&outside.trunk) {
            used.calls = used.calls.saturating_sub(1);
        }
        state.outbound.end();
    }

    /// Which guest's session it was, if any; the session is over.
    pub(crate) fn guest_session_over(&mut self, now: Timestamp, id: CallId, number: u32, cause: &str) {
        let guest = self.calls.get_mut(&id).and_then(|call| call.talking_mut()?.guest_mut(number));
        if let Some(leg) = guest.and_then(|guest| guest.step.leg_mut()) {
            leg.session = None;
        }
        self.guest_over(now, id, number, OfferEnd::Failed, cause);
    }

    /// Whose session it is that an answer came for, where it is an outside number's.
    pub(crate) fn outside_guest(&self, id: CallId, session: SessionId) -> Option<u32> {
        let call = self.calls.get(&id)?;
        let number = call.guest_by_session(session)?;
        let guest = call.talking()?.guest(number)?;
        matches!(guest.step, Step::Dialing(_)).then_some(number)
    }
}

pub(super) fn destination(who: &Who) -> Option<Destination> {
    match who {
        Who::Agent(agent) => Some(Destination::Agent(agent.clone())),
        Who::Outside(outside) => Some(Destination::Number(outside.number.expose().clone())),
        Who::Lead => None,
    }
}
