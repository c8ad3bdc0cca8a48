//! The side that is called: a peer's INVITE, our answers, its CANCEL and ACK.

use bytes::Bytes;
use cti_base::{Pii, Timestamp};

use super::referring::replaces_of;
use super::reliable::{self, Reliable};
use super::{Incoming, Phase, Sent, Session, Sessions, dialog_lines, timer};
use crate::dialog::Dialog;
use crate::stack::{SessionTimer, Stack};
use crate::timer::{ACK_WAIT, PROVISIONAL_REFRESH, T1, doubled_to_t2};
use crate::wire::{Message, NameAddr, Start, Uri};
use crate::{EndCause, Event, Flow, InboundInvite, Party, SessionId};

/// Seconds after which a caller refused for want of room may try again.
const RETRY_AFTER_S: u64 = 5;

impl Sessions {
    /// A new INVITE that passed every check: 100, a dialog, and up to the switch.
    pub fn called(&mut self, stack: &mut Stack, now: Timestamp, flow: Flow, request: Message) {
        let tag = stack.rng.hex::<8>();
        let dialog = Dialog::called(&request, tag, flow);
        let id = self.insert(stack, dialog, Phase::Called);
        if let Some(session) = self.all.get_mut(&id) {
            session.asked_to_last(&request);
            session.reliable = reliable::is_required(&request).then(Reliable::default);
        }
        let server = stack.start_server(&request, flow, Some(id));
        let trying = crate::reply::start(stack, &request, flow, 100, None).end();
        stack.respond(now, server, 100, trying);
        let invite = Box::new(inbound(&request, flow));
        if let Some(session) = self.all.get_mut(&id) {
            session.incoming = Some(Incoming { request: Box::new(request), flow, server, sent: None });
        }
        stack.emit(Event::Invite { session: id, invite });
    }

    pub fn ring(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, sdp: Option<Bytes>) {
        let Some(session) = self.all.get_mut(&id).filter(|session| session.phase == Phase::Called) else { return };
        let code = if sdp.is_some() { 183 } else { 180 };
        let rseq = match &mut session.reliable {
            Some(reliable) => match reliable.next(sdp.as_ref()) {
                Some(rseq) => Some(rseq),
                None => return,
            },
            None => None,
        };
        let Some(incoming) = &session.incoming else { return };
        let mut out = session.response(stack, incoming, code);
        dialog_lines(stack, &incoming.request, &incoming.flow, &mut out);
        if let Some(rseq) = rseq {
            out.line("Require", "100rel").number("RSeq", u64::from(rseq));
        }
        let bytes = out.sdp(sdp.as_ref());
        stack.respond(now, incoming.server, code, bytes.clone());
        if rseq.is_some() {
            session.sent_reliably(stack, now, bytes.clone(), sdp.is_some());
        }
        session.ringing = Some((code, bytes));
        stack.timers.cancel(&mut session.slots.refresh);
        session.slots.refresh = timer(stack, now + PROVISIONAL_REFRESH, id, SessionTimer::Refresh);
    }

    pub(super) fn refresh_ringing(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let Some(session) = self.all.get_mut(&id).filter(|session| session.phase == Phase::Called) else { return };
        if session.reliable.is_some() {
            // Each reliable answer is another one.
            return self.ring(stack, now, id, None);
        }
        let (Some(incoming), Some((code, bytes))) = (&session.incoming, &session.ringing) else { return };
        stack.respond(now, incoming.server, *code, bytes.clone());
        session.slots.refresh = timer(stack, now + PROVISIONAL_REFRESH, id, SessionTimer::Refresh);
    }

    pub fn accept(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, sdp: &Bytes) {
        let Some(session) = self.all.get_mut(&id).filter(|session| session.phase == Phase::Called) else { return };
        stack.timers.cancel(&mut session.slots.refresh);
        session.ringing = None;
        if session.reliable.as_mut().is_some_and(|reliable| reliable.keeps_back(sdp)) {
            return;
        }
        stack.timers.cancel(&mut session.slots.reliable);
        session.phase = Phase::Talking;
        session.unacked = true;
        self.unacked += 1;
        session.send_answer(stack, now, sdp);
    }

    pub fn reject(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, code: u16) {
        let called = |session: &&mut Session| session.phase == Phase::Called;
        let Some(session) = self.all.get_mut(&id).filter(called) else { return };
        session.refuse(stack, now, if (300..700).contains(&code) { code } else { 500 });
        self.remove(stack, id);
    }

    /// The peer's CANCEL of an unanswered INVITE; the 200 to the CANCEL is sent.
    pub fn cancelled(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let Some(session) = self.all.get_mut(&id) else { return };
        match session.phase {
            Phase::Called => {
                session.refuse(stack, now, 487);
                self.finish(stack, id, Event::Cancelled { session: id });
            }
            // A re-INVITE that the switch has not answered.
            Phase::Talking if session.incoming.as_ref().is_some_and(|incoming| incoming.sent.is_none()) => {
                session.refuse(stack, now, 487);
            }
            Phase::Calling | Phase::Talking | Phase::Ending => {}
        }
    }

    /// An ACK of a 2xx of ours.
    pub fn acknowledged(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, flow: Flow, message: &Message) {
        let Some(session) = self.all.get_mut(&id) else { return };
        let matching =
            |incoming: &Incoming| incoming.request.cseq.number == message.cseq.number && incoming.sent.is_some();
        if !session.incoming.as_ref().is_some_and(matching) {
            return;
        }
        let late_offer = session.incoming.take().is_some_and(|incoming| incoming.request.sdp().is_none());
        stack.timers.cancel(&mut session.slots.repeat);
        stack.timers.cancel(&mut session.slots.ack_wait);
        session.dialog.came_by(flow);
        if std::mem::take(&mut session.unacked) {
            self.unacked -= 1;
        }
        if session.phase != Phase::Talking {
            return;
        }
        let answer = if late_offer { message.sdp() } else { None };
        stack.emit(Event::Confirmed { session: id, answer });
        match session.hangup {
            Some(hangup) => session.send_bye(stack, now, hangup.q850, None),
            None => session.next_reoffer(stack, now),
        }
    }

    pub(super) fn repeat_answer(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let Some(session) = self.all.get_mut(&id) else { return };
        let Some(Incoming { flow, request, sent: Some(sent), .. }) = &mut session.incoming else { return };
        let flow = stack.reply_flow(*flow, request.via.port);
        stack.send(flow, sent.bytes.clone());
        sent.interval = doubled_to_t2(sent.interval);
        session.slots.repeat = timer(stack, now + sent.interval, id, SessionTimer::Repeat);
    }

    /// RFC 3261 13.3.1.4: no ACK came. The dialog is confirmed, and ended with BYE.
    pub(super) fn ack_missing(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let Some(session) = self.all.get_mut(&id) else { return };
        session.incoming = None;
        if std::mem::take(&mut session.unacked) {
            self.unacked -= 1;
        }
        session.ending = match session.hangup {
            Some(_) => super::Ending::Cause(super::EndCauseKind::Local),
            None => super::Ending::Cause(super::EndCauseKind::NoAck),
        };
        session.send_bye(stack, now, session.hangup.and_then(|hangup| hangup.q850), None);
    }
}

impl Session {
    /// 2xx with SDP to the INVITE (or UPDATE) under way; to an INVITE it is repeated until its ACK, on streams too.
    pub(super) fn send_answer(&mut self, stack: &mut Stack, now: Timestamp, sdp: &Bytes) {
        let Some(mut incoming) = self.incoming.take() else { return };
        let mut out = self.response(stack, &incoming, 200);
        dialog_lines(stack, &incoming.request, &incoming.flow, &mut out);
        self.lasting_lines(&incoming.request, &mut out);
        let bytes = out.sdp(Some(sdp));
        stack.respond(now, incoming.server, 200, bytes.clone());
        self.describes(sdp);
        self.lasts(stack, now);
        if !incoming.request.cseq.method.is(rsip::Method::Invite) {
            return;
        }
        incoming.sent = Some(Sent { bytes, interval: T1 });
        self.incoming = Some(incoming);
        self.slots.repeat = timer(stack, now + T1, self.id, SessionTimer::Repeat);
        self.slots.ack_wait = timer(stack, now + ACK_WAIT, self.id, SessionTimer::AckWait);
    }

    /// A final refusal of the INVITE or UPDATE under way.
    pub(super) fn refuse(&mut self, stack: &mut Stack, now: Timestamp, code: u16) {
        let Some(incoming) = self.incoming.take_if(|incoming| incoming.sent.is_none()) else { return };
        let mut out = self.response(stack, &incoming, code);
        if code == 503 {
            out.number("Retry-After", RETRY_AFTER_S);
        }
        stack.respond(now, incoming.server, code, out.end());
    }

    /// `hangup` of an INVITE that we have not answered.
    pub(super) fn refuse_cancelled(&mut self, stack: &mut Stack, now: Timestamp) -> Event {
        self.refuse(stack, now, 487);
        Event::Ended { session: self.id, cause: EndCause::Local }
    }
}

fn inbound(request: &Message, flow: Flow) -> InboundInvite {
    let uri = match &request.start {
        Start::Request { uri: Ok(uri), .. } => Some(uri),
        Start::Request { .. } | Start::Response { .. } => None,
    };
    let party = |value: &str| NameAddr::parse(value).map(|address| address.party());
    let asserted =
        request.other("P-Asserted-Identity").and_then(|value| crate::wire::split(value, b',').find_map(party));
    InboundInvite {
        flow,
        target: uri.map(party_of).unwrap_or_default(),
        from: request.from.party(),
        to: request.to.party(),
        asserted: asserted.or_else(|| request.other("Remote-Party-ID").and_then(party)),
        call_id: request.call_id.clone(),
        replaces: request.other("Replaces").and_then(replaces_of),
        offer: request.sdp(),
    }
}

fn party_of(uri: &Uri) -> Party {
    Party { display: None, user: Pii::new(uri.user()), host: uri.host.clone() }
}
