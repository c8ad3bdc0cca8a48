//! An agent's browser as a phone: it is rung by the offer's frame and answered by `offer.accept`, without SIP. Its connection
//! is made at sign-in and lives on from call to call; a call's leg is tied to whichever the agent has at the moment. So a
//! reloaded page is in its call again as soon as it is connected, and the caller hears music meanwhile.

use cti_base::{AgentName, CallId, LegId, OfferId, TenantId, Timestamp};
use cti_media::{Browser, Codec, LegMedia, MediaCommand, sdp};

use super::{Call, Leg, OfferStep};
use crate::acd::agent::{Reach, Task};
use crate::desk::Event;
use crate::engine::{Engine, OpenLeg};
use crate::limits::BROWSER_AWAY_MAX;
use crate::timer::{CallTimer, Timer};

impl Leg {
    /// Whether an agent's desk is at its end.
    pub(crate) fn is_browser(&self) -> bool {
        let is_desks = |media: &LegMedia| media.remote_rtp == Some(LegMedia::BROWSER) && media.webrtc.is_none();
        self.media.as_ref().is_some_and(is_desks)
    }

    /// For this codec, the caller's: browsers speak both.
    fn of_browser(now: Timestamp, id: LegId, codec: Codec) -> Self {
        Self {
            id,
            session: None,
            started: now,
            answered: None,
            local: sdp::Local {
                rtp: LegMedia::BROWSER,
                session_id: 0,
                version: 0,
                srtp: None,
                wideband: false,
                webrtc: None,
            },
            media: Some(LegMedia::browser(codec)),
            awaits_answer: false,
        }
    }
}

impl Engine {
    /// The agent's browser is connected, or is not any more.
    pub(crate) fn browser_changed(&mut self, now: Timestamp, tenant: &TenantId, name: &AgentName, up: bool) {
        let Some(agent) = self.agent_mut(tenant, name).filter(|agent| agent.browser_up != up) else { return };
        agent.browser_up = up;
        if !agent.is_browser() {
            return;
        }
        agent.reach = Reach::Browser { up };
        agent.ver += 1;
        let (view, task) = (agent.view(), agent.call().filter(|_| matches!(agent.task, Task::Talk(_))));
        self.desk(tenant, name, Event::AgentState(view));
        self.look_at_agent(now, tenant, name);
        if let Some(call) = task {
            self.follow_browser(now, call);
        }
    }

    /// The offer's frame is the ringing.
    pub(crate) fn ring_browser(&mut self, now: Timestamp, id: CallId, offer_id: OfferId) {
        let leg_id = LegId::new(now, &mut self.rng);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let codec = call.customer.media.as_ref().map_or(Codec::Pcma, |media| media.codec);
        let tenant = call.tenant.clone();
        let Some(offer) = call.offer_mut(offer_id) else { return };
        offer.step = OfferStep::Inviting;
        offer.rings = true;
        offer.leg = Some(Leg::of_browser(now, leg_id, codec));
        let (agent, answers) = (offer.agent.clone(), offer.accepted || offer.answers_by_itself());
        self.legs.insert(leg_id, OpenLeg { call: id, port: None, closing: false });
        let browser = Browser::Desk { tenant: tenant.clone(), agent: agent.clone() };
        self.media(id, MediaCommand::OpenBrowser { leg: leg_id, call: id, browser });
        self.desk(&tenant, &agent, Event::CallRinging { offer_id, call_id: id });
        self.measure_setup(id);
        if answers {
            self.answer_in_browser(now, id, offer_id);
        }
    }

    pub(crate) fn answer_in_browser(&mut self, now: Timestamp, id: CallId, offer_id: OfferId) {
        let Some(leg) = self.calls.get_mut(&id).and_then(|call| call.offer_mut(offer_id)?.leg.as_mut()) else { return };
        if leg.answered.replace(now).is_some() {
            return;
        }
        let media = leg.media.clone();
        if let Some(guest) = self.calls.get(&id).and_then(|call| call.guest_by_offer(offer_id)) {
            self.guest_answered(now, id, guest, media);
        } else if self.calls.get(&id).is_some_and(Call::is_dialing) {
            self.agent_waits(now, id, offer_id);
        } else {
            self.connect(now, id, offer_id);
        }
    }

    /// While the browser of who has the call is away, the caller hears music and need not say anything.
    pub(crate) fn follow_browser(&mut self, now: Timestamp, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(talking) = call.talking() else { return };
        let is_away = if talking.leg.is_browser() {
            let agent = talking.agent.as_ref().and_then(|name| self.agent(&call.tenant, name));
            agent.is_some_and(|agent| !agent.browser_up)
        } else if talking.leg.is_web_phone() {
            self.is_page_away(&talking.leg)
        } else {
            return;
        };
        let timer = Timer::Call(id, CallTimer::BrowserAway);
        if !is_away {
            self.timers.cancel(&timer);
        } else if !self.timers.is_set(&timer) {
            self.timers.set(timer, now + BROWSER_AWAY_MAX);
        }
        if let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) {
            talking.browser_away = is_away;
        }
        self.arrange(id);
    }

    /// The browser did not come back: the call is over, or goes on without its agent.
    pub(crate) fn browser_gone(&mut self, now: Timestamp, id: CallId) {
        self.lead_gone(now, id, "agent_gone");
    }
}
