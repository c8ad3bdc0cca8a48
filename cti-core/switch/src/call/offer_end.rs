//! Every way in which an offer ends but the answer.
//!
//! A call that rings several agents goes on ringing until the last of its offers is over; only then others are looked for.

use cti_acd::Left;
use cti_base::{AgentName, CallId, OfferId, TenantId, Timestamp};

use super::Offer;
use crate::commands::not_yours;
use crate::desk::Event;
use crate::effect::Effect;
use crate::engine::Engine;
use crate::fact::{Fact, OfferEnd, SegmentKind};
use crate::limits::NO_PORT_RETRY;
use crate::timer::{CallTimer, Timer};
use crate::trace::TraceEntry;

impl Engine {
    /// The phones have rung for as long as the queue lets them.
    pub(crate) fn ring_timeout(&mut self, now: Timestamp, id: CallId) {
        let missed = self.end_offers(now, id, OfferEnd::Timeout, "no_answer");
        self.offers_missed(now, id, &missed, OfferEnd::Timeout);
    }

    /// The offer came to nothing: where it was the last, the call is offered elsewhere. The agent has missed it.
    pub(crate) fn offer_over(&mut self, now: Timestamp, id: CallId, offer: OfferId, how: OfferEnd, cause: &str) {
        if let Some(guest) = self.calls.get(&id).and_then(|call| call.guest_by_offer(offer)) {
            self.guest_over(now, id, guest, how, cause);
            return;
        }
        let Some(agent) = self.end_offer(now, id, offer, how, cause) else { return };
        self.offers_missed(now, id, &[agent], how);
    }

    fn offers_missed(&mut self, now: Timestamp, id: CallId, agents: &[AgentName], how: OfferEnd) {
        let Some(call) = self.calls.get(&id) else { return };
        let tenant = call.tenant.clone();
        let misses_max = self.queue_of(call).map_or(1, |queue| queue.decl.misses_max);
        // The caller first: among the free agents those who missed come last for this call.
        self.tell_offers_ended(now, &tenant, id, agents, true);
        // Whom the call was handed to alone does not take it.
        if self.calls.get(&id).is_some_and(|call| !call.is_offered()) {
            self.transfer_refused(now, id, "transfer_refused");
        }
        // A limit that passes the caller on to another queue does so before these agents look for a caller there.
        self.run_acd(now);
        for agent in agents {
            self.agent_missed(now, &tenant, agent, how, misses_max);
        }
    }

    /// No port for the agent's leg: nobody's fault; where nobody else rings the call is tried again shortly.
    pub(crate) fn offer_without_port(&mut self, now: Timestamp, id: CallId, offer: OfferId) {
        let Some(tenant) = self.calls.get(&id).map(|call| call.tenant.clone()) else { return };
        self.alarm(now, &tenant, "no_media_port", "An agent could not be rung: no RTP port was free.".to_owned());
        if let Some(guest) = self.calls.get(&id).and_then(|call| call.guest_by_offer(offer)) {
            self.guest_over(now, id, guest, OfferEnd::Withdrawn, "no_media_port");
            return;
        }
        let Some(agent) = self.end_offer(now, id, offer, OfferEnd::Withdrawn, "no_media_port") else { return };
        let rings_still = self.calls.get(&id).is_some_and(|call| call.is_offered());
        if let Some(acd) = self.acd_mut(&tenant).filter(|_| !rings_still) {
            acd.pause(now, id, now + NO_PORT_RETRY);
        }
        self.tell_offers_ended(now, &tenant, id, std::slice::from_ref(&agent), false);
        self.agent_let_go(now, &tenant, &agent);
    }

    /// The caller gave up or goes elsewhere: the agents have missed nothing and keep their places among the idle.
    pub(crate) fn withdraw_offers(&mut self, now: Timestamp, id: CallId, cause: &str) {
        // Out of the queue before the agents are free again, or the same would be matched anew.
        self.leave_acd(now, id, Left::Moved);
        let agents = self.end_offers(now, id, OfferEnd::Withdrawn, cause);
        let Some(tenant) = self.calls.get(&id).map(|call| call.tenant.clone()) else { return };
        for agent in agents {
            self.agent_let_go(now, &tenant, &agent);
        }
    }

    /// Another agent has answered. The call is theirs already.
    pub(crate) fn withdraw_losers(&mut self, now: Timestamp, id: CallId, tenant: &TenantId, losers: Vec<Offer>) {
        const CAUSE: &str = "answered_elsewhere";
        let agents: Vec<AgentName> = losers.iter().map(|offer| offer.agent.clone()).collect();
        for offer in losers {
            self.close_offer(now, id, tenant, offer, OfferEnd::Withdrawn, CAUSE);
        }
        for agent in agents {
            self.agent_let_go(now, tenant, &agent);
        }
    }

    /// The agent is no longer there to be offered anything; the call keeps waiting and is matched by whoever called this.
    pub(crate) fn take_offer_back(&mut self, now: Timestamp, id: CallId, agent: &AgentName, cause: &str) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(offer) = call.offer_to(agent).map(|offer| offer.id) else { return };
        let tenant = call.tenant.clone();
        self.end_offer(now, id, offer, OfferEnd::Withdrawn, cause);
        self.tell_offers_ended(now, &tenant, id, std::slice::from_ref(agent), false);
        self.agent_let_go(now, &tenant, agent);
    }

    /// `missed`: not the same agents again, unless others were tried or some time has passed.
    fn tell_offers_ended(&mut self, now: Timestamp, tenant: &TenantId, id: CallId, agents: &[AgentName], missed: bool) {
        let Some(acd) = self.acd_mut(tenant) else { return };
        for agent in agents {
            acd.offer_ended(now, id, agent, missed);
        }
        self.rest_in_line(now, id);
    }

    /// All offers of the call; returns the agents.
    fn end_offers(&mut self, now: Timestamp, id: CallId, how: OfferEnd, cause: &str) -> Vec<AgentName> {
        let offers = self.calls.get(&id).map(|call| call.offers()).unwrap_or_default();
        let offers: Vec<OfferId> = offers.iter().map(|offer| offer.id).collect();
        offers.into_iter().filter_map(|offer| self.end_offer(now, id, offer, how, cause)).collect()
    }

    /// Takes one offer from the call, and with the last one ends the call's ringing; returns the agent.
    fn end_offer(
        &mut self,
        now: Timestamp,
        id: CallId,
        offer: OfferId,
        how: OfferEnd,
        cause: &str,
    ) -> Option<AgentName> {
        let call = self.calls.get_mut(&id)?;
        let tenant = call.tenant.clone();
        let at = call.offers().iter().position(|known| known.id == offer)?;
        let is_last = call.offers().len() == 1;
        let was_shown = call.offers().iter().any(|offer| offer.shown.is_some());
        if is_last && was_shown {
            call.end_ringing(now, Some(SegmentKind::Queue));
        }
        let waiting = call.waiting_mut()?;
        let offer = waiting.offers.remove(at);
        let agent = offer.agent.clone();
        if is_last {
            for kind in [CallTimer::RecordsWait, CallTimer::ShownWait, CallTimer::Ring] {
                self.timers.cancel(&Timer::Call(id, kind));
            }
            call.stage_since = now;
        }
        self.close_offer(now, id, &tenant, offer, how, cause);
        Some(agent)
    }

    /// What every end of an offer but the answer has in common: the phone, the port, the desk, the record.
    fn close_offer(&mut self, now: Timestamp, id: CallId, tenant: &TenantId, offer: Offer, how: OfferEnd, cause: &str) {
        self.offers.remove(&offer.id);
        if let (Some(leg), Some(call)) = (&offer.leg, self.calls.get_mut(&id)) {
            Self::add_leg_record(&mut call.legs, Self::leg_record(now, leg, Some(&offer.agent), cause));
        }
        if let Some(leg) = offer.leg {
            self.end_session(now, leg.session, None);
            self.close_media(leg.id);
        }
        if let Some(command) = offer.accept {
            self.effect(Effect::Reply { id: command, result: Err(not_yours("This offer is over.")) });
        }
        if offer.shown.is_some() {
            let (offer_id, agent, since) = (offer.id, offer.agent, offer.ringing_since);
            let entry = TraceEntry::OfferEnded {
                offer: offer_id,
                agent: agent.clone(),
                how,
                cause: cause.to_owned(),
                rang_ms: now.since(since).as_millis() as u64,
            };
            self.trace(now, id, entry);
            self.fact(Fact::OfferEnded {
                tenant: tenant.clone(),
                call: id,
                offer: offer_id,
                agent: agent.clone(),
                how,
                offered_ms: Some(since.as_millis()),
            });
            let event = match how {
                OfferEnd::Rejected => Event::OfferRejected { offer_id, call_id: id },
                OfferEnd::Timeout => Event::OfferTimeout { offer_id, call_id: id },
                OfferEnd::Accepted | OfferEnd::Withdrawn | OfferEnd::Failed => {
                    Event::OfferWithdrawn { offer_id, call_id: id, reason: cause.to_owned() }
                }
            };
            self.desk(tenant, &agent, event);
        }
    }
}
