//! What both sides of a call have in common: dialogs, ports, digits, new offers of media.

use std::net::IpAddr;

use cti_base::{CallId, LegId, RecordingId, Timestamp};
use cti_media::srtp::{MASTER_LEN, Master};
use cti_media::{Codec, Direction, Gap, LegStats, MediaCommand, PlayId, Recorded, sdp};
use cti_sip::{EndCause, Flow, SessionId};

use super::{Leg, Offer, Stage};
use crate::engine::{Engine, OpenLeg, OpenRecording, Party};
use crate::fact::{Fact, LegRecord, LegRole, OfferEnd, Outcome};
use crate::limits::{GAPS_MAX, LEGS_PER_CALL_MAX};

impl Engine {
    /// Where the peer of this flow is told that RTP comes to.
    pub(crate) fn media_ip_for(&self, flow: &Flow) -> IpAddr {
        let peer = flow.remote.ip().to_canonical();
        if self.config.media_loopback && peer.is_loopback() && peer.is_ipv4() == self.config.media_ip.is_ipv4() {
            peer
        } else {
            self.config.media_ip
        }
    }

    /// The leg of a live call that this is the session of.
    pub(crate) fn leg_mut(&mut self, call: CallId, session: SessionId) -> Option<&mut Leg> {
        let call = self.calls.get_mut(&call)?;
        if call.customer.session == Some(session) {
            return Some(&mut call.customer);
        }
        call.other_leg_mut(session)
    }

    pub(crate) fn party_of(&self, leg: LegId) -> Option<(CallId, Party)> {
        let id = self.legs.get(&leg).filter(|open| !open.closing)?.call;
        let party = if self.calls.get(&id)?.customer.id == leg { Party::Customer } else { Party::Agent };
        Some((id, party))
    }

    /// A session whose dialog never came to be is over: the caller gave up, or an agent's phone did.
    pub(crate) fn session_over(&mut self, now: Timestamp, session: SessionId, caller: &str, agent: &str) {
        let Some((id, party)) = self.sessions.remove(&session) else { return };
        let offer = self.calls.get(&id).and_then(|call| call.offer_by_session(session)).map(|offer| offer.id);
        let guest = self.calls.get(&id).and_then(|call| call.guest_by_session(session));
        if let Some(leg) = self.leg_mut(id, session) {
            leg.session = None;
        }
        match (party, offer) {
            (Party::Customer, _) => self.end_call_by_stage(now, id, caller),
            (Party::Agent, Some(offer)) => self.offer_over(now, id, offer, OfferEnd::Failed, agent),
            (Party::Agent, None) => match guest {
                Some(guest) => self.guest_over(now, id, guest, OfferEnd::Failed, agent),
                None => self.agent_leg_over(now, id, agent),
            },
        }
    }

    pub(crate) fn session_ended(&mut self, now: Timestamp, session: SessionId, cause: &EndCause) {
        match cause {
            EndCause::Bye { q850: _ } => self.session_over(now, session, "caller_hangup", "agent_hangup"),
            EndCause::Local => {
                self.sessions.remove(&session);
            }
            EndCause::NoAck => self.session_over(now, session, "no_ack", "no_ack"),
            EndCause::Gone => self.session_over(now, session, "caller_gone", "agent_gone"),
        }
    }

    /// The dialog of whoever has the call, or is to have it, is over.
    fn agent_leg_over(&mut self, now: Timestamp, id: CallId, cause: &str) {
        match self.calls.get(&id).map(|call| &call.stage) {
            Some(Stage::Talking(_)) => self.lead_gone(now, id, cause),
            Some(Stage::Sent(_)) => self.sent_over(now, id, cause),
            Some(
                Stage::Answering(_) | Stage::Menu(_) | Stage::Waiting(_) | Stage::Goodbye { .. } | Stage::Voicemail(_),
            )
            | None => {}
        }
    }

    /// The call ends with what its stage makes of it: talked is answered, the rest abandoned where it was. Where the
    /// ground gave way rather than the caller (no ACK, no media), a call that was never talked on has failed.
    pub(crate) fn end_call_by_stage(&mut self, now: Timestamp, id: CallId, cause: &str) {
        let Some(call) = self.calls.get(&id) else { return };
        let by_stage = Self::outcome_by_stage(call);
        let outcome = match by_stage {
            Outcome::Answered | Outcome::Overflowed | Outcome::Callback | Outcome::Voicemail => by_stage,
            _ if cause == "caller_hangup" => by_stage,
            _ => Outcome::Failed,
        };
        self.end_call(now, id, outcome, cause);
    }

    /// Ends a dialog of ours in whatever state it is; its later events find nobody.
    pub(crate) fn end_session(&mut self, now: Timestamp, session: Option<SessionId>, q850: Option<u8>) {
        if let Some(session) = session {
            self.sessions.remove(&session);
            self.endpoint.hangup(now, session, q850);
        }
    }

    /// Frees the leg's media; its ports come back with `Closed`.
    pub(crate) fn close_media(&mut self, leg: LegId) {
        if let Some(open) = self.legs.get_mut(&leg).filter(|open| !open.closing) {
            open.closing = true;
            let call = open.call;
            self.media(call, MediaCommand::Close { leg });
        }
    }

    /// The leg's line in the call's record.
    pub(crate) fn leg_record(now: Timestamp, leg: &Leg, agent: Option<&cti_base::AgentName>, cause: &str) -> LegRecord {
        LegRecord {
            id: leg.id,
            role: if agent.is_some() { LegRole::Agent } else { LegRole::Customer },
            agent: agent.cloned(),
            started_ms: leg.started.as_millis(),
            answered_ms: leg.answered.map(Timestamp::as_millis),
            ended_ms: now.as_millis(),
            cause: cause.to_owned(),
            codec: leg.media.as_ref().map(|media| media.codec),
            stats: None,
        }
    }

    pub(crate) fn add_leg_record(legs: &mut Vec<LegRecord>, record: LegRecord) {
        if legs.len() >= LEGS_PER_CALL_MAX {
            legs.remove(0);
        }
        legs.push(record);
    }

    /// The worker freed the leg's ports, or never had them.
    pub(crate) fn leg_closed(&mut self, now: Timestamp, leg: LegId, stats: Option<LegStats>) {
        let Some(OpenLeg { call, port, closing: _ }) = self.legs.remove(&leg) else { return };
        if let Some(port) = port {
            self.ports.give_back(port, now);
        }
        if let Some(call) = self.calls.get_mut(&call) {
            if let Some(record) = call.legs.iter_mut().find(|record| record.id == leg) {
                record.stats = stats;
            }
        } else {
            self.ending_leg_closed(now, call, leg, stats);
        }
    }

    pub(crate) fn leg_open_failed(&mut self, now: Timestamp, leg: LegId, reason: &str) {
        let party = self.party_of(leg);
        let tenant = party.and_then(|(id, _)| self.calls.get(&id)).map(|call| call.tenant.clone());
        self.leg_closed(now, leg, None);
        let (Some((id, party)), Some(tenant)) = (party, tenant) else { return };
        self.alarm(now, &tenant, "media_open_failed", format!("RTP ports could not be bound: {reason}."));
        match party {
            Party::Customer => self.end_call_by_stage(now, id, "media_failed"),
            Party::Agent => {
                let is_it = |offer: &&Offer| offer.leg.as_ref().is_some_and(|known| known.id == leg);
                let call = self.calls.get(&id);
                let offer = call.and_then(|call| call.offers().iter().find(is_it)).map(|offer| offer.id);
                let guest = call.and_then(|call| call.guest_by_leg(leg));
                match (offer, guest) {
                    // Not the phone's fault: the agent has missed nothing.
                    (Some(offer), _) => self.offer_without_port(now, id, offer),
                    (None, Some(guest)) => self.guest_over(now, id, guest, OfferEnd::Failed, "media_failed"),
                    (None, None) => self.agent_leg_over(now, id, "media_failed"),
                }
            }
        }
    }

    /// Only talking legs are watched (contract.md, `rtp_timeout_s`); a worker's late word about another is nothing.
    pub(crate) fn leg_silent(&mut self, now: Timestamp, leg: LegId) {
        let Some((id, _)) = self.party_of(leg) else { return };
        if let Some(guest) = self.calls.get(&id).and_then(|call| call.guest_by_leg(leg)) {
            self.guest_over(now, id, guest, OfferEnd::Failed, "no_media");
            return;
        }
        let is_talking = self.calls.get(&id).and_then(|call| call.talking()).is_some_and(|t| t.held_since.is_none());
        if is_talking {
            self.end_call(now, id, Outcome::Answered, "no_media");
        }
    }

    pub(crate) fn leg_digit(&mut self, now: Timestamp, leg: LegId, digit: char) {
        if let Some((id, Party::Customer)) = self.party_of(leg) {
            self.caller_digit(now, id, digit);
        }
    }

    fn caller_digit(&mut self, now: Timestamp, id: CallId, digit: char) {
        match self.calls.get(&id).map(|call| &call.stage) {
            Some(Stage::Menu(_)) => self.menu_digit(now, id, digit),
            Some(Stage::Waiting(_)) => self.waiting_digit(now, id, digit),
            Some(Stage::Voicemail(_)) => self.voicemail_digit(now, id, digit),
            Some(Stage::Answering(_) | Stage::Goodbye { .. } | Stage::Talking(_) | Stage::Sent(_)) | None => {}
        }
    }

    pub(crate) fn info_digit(&mut self, now: Timestamp, session: SessionId, digit: char) {
        if let Some((id, Party::Customer)) = self.sessions.get(&session).copied() {
            self.caller_digit(now, id, digit);
        }
    }

    pub(crate) fn leg_played(&mut self, now: Timestamp, leg: LegId, play: PlayId) {
        let Some((id, party)) = self.party_of(leg) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        if party == Party::Agent {
            if call.talking().is_some_and(|talking| talking.whisper == Some(play)) {
                self.join(id);
            }
            return;
        }
        if call.playing.as_ref().is_none_or(|playing| playing.id != play) {
            return;
        }
        call.playing = None;
        match &call.stage {
            Stage::Menu(_) => self.menu_played(now, id),
            Stage::Waiting(_) => {
                if !self.say_comfort(id) {
                    self.play_music(id);
                }
            }
            Stage::Goodbye { .. } => self.goodbye_over(now, id),
            Stage::Voicemail(_) => self.voicemail_begins(now, id),
            Stage::Answering(_) | Stage::Talking(_) | Stage::Sent(_) => {}
        }
    }

    /// Our key for a leg whose peer offers SRTP: the one it has, else a new one.
    pub(crate) fn srtp_key_for(&mut self, offer: Option<&[u8]>, known: Option<Master>) -> Option<Master> {
        if !offer.is_some_and(sdp::wants_srtp) {
            return known;
        }
        known.or_else(|| {
            let mut key = [0; MASTER_LEN];
            self.rng.fill(&mut key);
            Some(Master::new(key))
        })
    }

    /// The peer offers anew: a hold, a retrieve, a moved address. `None` asks for our offer.
    pub(crate) fn reoffered(&mut self, now: Timestamp, session: SessionId, offer: Option<&[u8]>) {
        let known = self.sessions.get(&session).copied();
        let Some((id, party)) = known else {
            self.endpoint.reject_reoffer(now, session, 481);
            return;
        };
        let Some(leg) = self.leg_mut(id, session) else { return };
        let (mut local, settled) = (leg.local.clone(), leg.media.clone());
        local.version += 1;
        let Some(offer) = offer else {
            let codec = leg.media.as_ref().map_or(Codec::Pcma, |media| media.codec);
            leg.local = local;
            leg.awaits_answer = true;
            let body = sdp::offer(&leg.local, codec, Direction::SendRecv);
            self.endpoint.accept_reoffer(now, session, body);
            return;
        };
        let known = local.srtp.take();
        local.srtp = self.srtp_key_for(Some(offer), known);
        let answered = if sdp::is_browsers(offer) != local.webrtc.is_some() {
            // A leg stays what it was opened as.
            Err(sdp::SdpError::NoAudio)
        } else {
            self.answer_page(settled.as_ref(), &mut local, offer)
        };
        let (body, media) = match answered {
            Ok(answer) => answer,
            Err(error) => {
                let code = if matches!(error, sdp::SdpError::Malformed(_)) { 400 } else { 488 };
                self.endpoint.reject_reoffer(now, session, code);
                return;
            }
        };
        let Some(leg) = self.leg_mut(id, session) else { return };
        leg.local = local;
        leg.local.settled(&media);
        leg.media = Some(media.clone());
        let holds = !media.direction.sends() || media.remote_rtp.is_none();
        let leg = leg.id;
        self.media(id, MediaCommand::Connect { leg, media });
        self.endpoint.accept_reoffer(now, session, body);
        if party == Party::Agent && self.is_leads_leg(id, leg) {
            self.set_phone_hold(now, id, holds);
            self.follow_browser(now, id);
        }
        if !holds {
            self.turn_to_line(now, id, leg);
        }
    }

    /// A guest's own hold changes nothing but what their phone sends.
    pub(crate) fn is_leads_leg(&self, id: CallId, leg: LegId) -> bool {
        self.calls.get(&id).and_then(|call| call.talking()).is_some_and(|talking| talking.leg.id == leg)
    }

    /// The recorder goes on with a recording of an earlier process.
    pub(crate) fn recording_resumed(&mut self, recording: RecordingId, gap: Gap) {
        if let Some(open) = self.recordings.get_mut(&recording)
            && open.gaps.len() < GAPS_MAX
        {
            open.gaps.push(gap);
        }
    }

    pub(crate) fn recording_ended(&mut self, now: Timestamp, recording: RecordingId, result: Result<Recorded, String>) {
        let Some(open) = self.recordings.remove(&recording) else { return };
        let OpenRecording { tenant, call: id, started: _, stopped, gaps } = open;
        if !stopped {
            // It failed by itself: its worker does not know.
            self.media(id, MediaCommand::RecordStop { recording });
        }
        let failure = match &result {
            Ok(file) => file.incomplete.as_ref().map(|reason| format!("A recording ended early: {reason}.")),
            Err(reason) => Some(format!("A recording failed: {reason}.")),
        };
        if let Some(message) = failure {
            self.alarm(now, &tenant, "recording_failed", message);
            self.recording_lost(id, recording);
        }
        self.fact(Fact::RecordingEnded { tenant, call: id, recording, result, gaps });
    }
}
