//! Phones in a web page: SIP over websocket (RFC 7118), sound as a browser has it. Their legs have no port, and are reached by
//! what their descriptions say: what a desk's browser is told by its websocket goes by offer and answer here.
//!
//! A browser's connection is with one process. A page whose server was started anew registers again by itself; then it is
//! offered the new process's half, and its sound goes on where the call is.

use cti_base::{CallId, LegId, Timestamp};
use cti_media::webrtc::{Half, ICE_SEED_LEN, IceCredentials};
use cti_media::{Browser, Codec, Direction, LegMedia, MediaCommand, sdp};
use cti_sip::{Flow, SessionId, Transport};

use super::{Call, Leg};
use crate::engine::{Engine, EngineConfig, OpenLeg, Party};

impl Leg {
    /// Whether a phone in a page is at its end.
    pub(crate) const fn is_web_phone(&self) -> bool {
        self.local.webrtc.is_some()
    }

    /// Whether its connection was settled with an earlier process, which took its end of it along.
    fn is_estranged(&self, config: &EngineConfig) -> bool {
        let settled = self.media.as_ref().and_then(|media| media.webrtc.as_ref());
        settled.is_some_and(|settled| Some(&settled.ours.edge) != config.browsers.as_ref())
    }

    /// Whether it has not been offered our present half.
    fn is_unasked(&self, config: &EngineConfig) -> bool {
        self.local.webrtc.as_ref().is_some_and(|half| Some(&half.edge) != config.browsers.as_ref())
    }
}

impl Call {
    /// Everyone's, the customer's first.
    pub(crate) fn legs_on(&self) -> impl Iterator<Item = &Leg> {
        [&self.customer].into_iter().chain(self.other_legs())
    }
}

/// Whether this is how a page is reached: nobody else speaks SIP by websocket.
pub(crate) fn is_page(flow: &Flow) -> bool {
    matches!(flow.transport, Transport::Ws | Transport::Wss)
}

impl Engine {
    /// Our half of a new connection; `None` where browsers are not listened to.
    pub(crate) fn browser_half(&mut self) -> Option<Box<Half>> {
        let edge = self.config.browsers.clone()?;
        let ice = self.ice_credentials();
        Some(Box::new(Half::new(edge, ice, self.rng.next_u64() as u32)))
    }

    fn ice_credentials(&mut self) -> IceCredentials {
        let mut seed = [0; ICE_SEED_LEN];
        self.rng.fill(&mut seed);
        IceCredentials::from_random(seed)
    }

    /// A leg as its description has it: with a port, or a page's.
    pub(crate) fn open_leg(&mut self, call: CallId, leg: LegId, local: &sdp::Local) {
        let port = local.webrtc.is_none().then(|| local.rtp.port());
        self.legs.insert(leg, OpenLeg { call, port, closing: false });
        let command = match port {
            Some(rtp_port) => MediaCommand::Open { leg, call, rtp_port },
            None => MediaCommand::OpenBrowser { leg, call, browser: Browser::Phone },
        };
        self.media(call, command);
    }

    /// A leg that was described is not opened after all.
    pub(crate) fn put_back(&mut self, local: &sdp::Local) {
        if local.webrtc.is_none() {
            self.ports.put_back(local.rtp.port());
        }
    }

    /// The peer's answer to what we offered on this leg.
    pub(crate) fn settle_leg(&mut self, id: CallId, session: SessionId, answer: Option<&[u8]>) -> Option<LegMedia> {
        let leg = self.leg_mut(id, session)?;
        let media = sdp::read_answer_of(answer?, &leg.local).ok()?;
        leg.local.settled(&media);
        Some(media)
    }

    /// Our answer to a page's new offer: our present half, and new names for ICE where the page has new ones (RFC 8839 4.4.1.1).
    pub(crate) fn answer_page(
        &mut self,
        known: Option<&LegMedia>,
        local: &mut sdp::Local,
        offer: &[u8],
    ) -> Result<(bytes::Bytes, LegMedia), sdp::SdpError> {
        let edge = self.config.browsers.clone();
        if let Some((half, edge)) = local.webrtc.as_mut().zip(edge) {
            half.edge = edge;
        }
        let (body, media) = sdp::answer(offer, local, Direction::SendRecv)?;
        let theirs = |media: &LegMedia| media.webrtc.as_ref().map(|settled| settled.ice.clone());
        if known.and_then(theirs) == theirs(&media) {
            return Ok((body, media));
        }
        let ice = self.ice_credentials();
        if let Some(half) = &mut local.webrtc {
            half.ice = ice;
        }
        sdp::answer(offer, local, Direction::SendRecv)
    }

    /// After a restart: whose pages have to be offered anew as soon as they are back.
    pub(crate) fn note_estranged(&mut self) {
        let config = &self.config;
        let has_any = |call: &Call| call.legs_on().any(|leg| leg.is_unasked(config));
        self.estranged = self.calls.values().filter(|call| has_any(call)).map(|call| call.id).collect();
    }

    /// Somebody registered: pages that are reached again are offered our half of a new connection.
    pub(crate) fn ask_estranged(&mut self, now: Timestamp) {
        for id in self.estranged.clone() {
            self.ask_pages_of(now, id);
        }
    }

    /// The same for one call. It is forgotten when none of its pages is to be asked any more.
    pub(crate) fn ask_pages_of(&mut self, now: Timestamp, id: CallId) {
        if !self.estranged.contains(&id) {
            return;
        }
        let (config, endpoint) = (&self.config, &self.endpoint);
        let legs =
            self.calls.get(&id).map(|call| call.legs_on().filter(|leg| leg.is_unasked(config)).collect::<Vec<_>>());
        let Some(legs) = legs.filter(|legs| !legs.is_empty()) else {
            self.estranged.remove(&id);
            return;
        };
        let settled = legs.into_iter().filter(|leg| leg.media.is_some()).filter_map(|leg| leg.session);
        let reached: Vec<SessionId> = settled.filter(|session| endpoint.is_reached(*session)).collect();
        for session in reached {
            self.offer_page_anew(now, id, session);
        }
    }

    fn offer_page_anew(&mut self, now: Timestamp, id: CallId, session: SessionId) {
        let Some(fresh) = self.browser_half() else { return };
        let Some(leg) = self.leg_mut(id, session) else { return };
        let Some(half) = &mut leg.local.webrtc else { return };
        (half.edge, half.ice, half.ssrc) = (fresh.edge, fresh.ice, fresh.ssrc);
        leg.local.version += 1;
        leg.local.rtp = half.address();
        let (codec, direction) =
            leg.media.as_ref().map_or((Codec::Pcma, Direction::SendRecv), |media| (media.codec, media.direction));
        let offer = sdp::offer(&leg.local, codec, direction);
        self.endpoint.reoffer(now, session, offer);
    }

    /// The page's answer to our new half; a page that gives none has nothing to talk by.
    pub(crate) fn reanswered(&mut self, now: Timestamp, session: SessionId, answer: Option<&[u8]>) {
        let Some((id, party)) = self.sessions.get(&session).copied() else { return };
        if !self.leg_mut(id, session).is_some_and(|leg| leg.is_web_phone()) {
            return;
        }
        let Some(media) = self.settle_leg(id, session, answer) else {
            self.endpoint.hangup(now, session, None);
            self.session_over(now, session, "no_media", "no_media");
            return;
        };
        let Some(leg) = self.leg_mut(id, session) else { return };
        leg.media = Some(media.clone());
        let (leg, holds) = (leg.id, !media.direction.sends());
        self.media(id, MediaCommand::Connect { leg, media });
        if party == Party::Agent && self.is_leads_leg(id, leg) {
            self.set_phone_hold(now, id, holds);
        }
        self.follow_browser(now, id);
    }

    /// The page at this leg's end is gone, and says nothing more by SIP either.
    pub(crate) fn page_gone(&mut self, now: Timestamp, leg: LegId) {
        let Some((id, _)) = self.party_of(leg) else { return };
        let gone = self.calls.get(&id).and_then(|call| call.legs_on().find(|known| known.id == leg)?.session);
        if let Some(session) = gone {
            self.endpoint.hangup(now, session, None);
            self.session_over(now, session, "caller_gone", "agent_gone");
        }
    }

    /// Whether the page at the end of who has the call has not come back to this process.
    pub(crate) fn is_page_away(&self, leg: &Leg) -> bool {
        leg.is_estranged(&self.config)
    }
}
