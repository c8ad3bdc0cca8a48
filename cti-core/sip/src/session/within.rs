//! Requests within an established dialog: BYE, re-INVITE, UPDATE, INFO, NOTIFY, by either side.

use std::time::Duration;

use bytes::Bytes;
use cti_base::Timestamp;
use rsip::headers::Header;

use super::referring::refer_of;
use super::{
    ALLOW, ALLOW_EVENTS, Ending, Hangup, Incoming, MIN_SE_S, Outgoing, Phase, Session, Sessions, Wish, end_cause, timer,
};
use crate::reply;
use crate::stack::{ClientId, SessionTimer, Stack, User};
use crate::wire::{Builder, Message};
use crate::{EndCause, Event, Flow, SessionId};

/// Times that a re-INVITE that met another (491) or was challenged is tried again.
const REOFFER_TRIES_MAX: u8 = 4;

impl Sessions {
    // Ours.

    pub fn hangup(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, q850: Option<u8>) {
        let Some(session) = self.all.get_mut(&id) else { return };
        if session.hangup.is_some() {
            return;
        }
        match session.phase {
            Phase::Calling => session.cancel(stack, now, q850),
            Phase::Called => {
                let event = session.refuse_cancelled(stack, now);
                self.finish(stack, id, event);
            }
            Phase::Talking => {
                session.hangup = Some(Hangup { q850, cancel_sent: false });
                // The called side may not send BYE before the ACK of its first 2xx (RFC 3261 15).
                if !session.unacked {
                    session.refuse(stack, now, 487);
                    session.send_bye(stack, now, q850, None);
                }
            }
            Phase::Ending => {}
        }
    }

    pub fn bye_answered(
        &mut self,
        stack: &mut Stack,
        now: Timestamp,
        id: SessionId,
        code: u16,
        message: Option<&Message>,
    ) {
        let Some(session) = self.all.get_mut(&id) else { return };
        if code < 200 {
            return;
        }
        if let (401 | 407, Some(message)) = (code, message)
            && session.bye_tries == 0
        {
            session.bye_tries = 1;
            session.auth_tries = 0;
            let uri = session.dialog.target().to_owned();
            if let Some(authorization) = session.authorization(stack, "BYE", &uri, message) {
                session.send_bye(stack, now, None, Some(authorization));
                return;
            }
        }
        let event = match session.ending {
            Ending::Cause(kind) => Event::Ended { session: id, cause: end_cause(kind) },
            Ending::Cancelled => Event::Failed { session: id, code: 487, reason: crate::wire::reason(487).to_owned() },
        };
        self.finish(stack, id, event);
    }

    pub fn reoffer(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, sdp: Bytes) {
        let talking = |session: &&mut Session| session.phase == Phase::Talking;
        let Some(session) = self.all.get_mut(&id).filter(talking) else { return };
        session.queued = Some(sdp);
        session.refreshing = false;
        session.next_reoffer(stack, now);
    }

    pub(super) fn retry_reoffer(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let talking = |session: &&mut Session| session.phase == Phase::Talking;
        let Some(session) = self.all.get_mut(&id).filter(talking) else { return };
        session.slots.glare = None;
        session.next_reoffer(stack, now);
    }

    pub fn reinvite_answered(
        &mut self,
        stack: &mut Stack,
        now: Timestamp,
        (id, client): (SessionId, ClientId),
        flow: Flow,
        code: u16,
        message: Option<&Message>,
    ) {
        let Some(session) = self.all.get_mut(&id) else { return };
        if code < 200 {
            return;
        }
        let Some(outgoing) = session.outgoing.take_if(|outgoing| outgoing.client == client) else { return };
        match (code, message) {
            (200..=299, Some(message)) => {
                session.dialog.refresh_target(message);
                session.dialog.came_by(flow);
                let ack = session.ack(stack, outgoing.cseq);
                stack.set_ack(client, message.to.tag().unwrap_or("").to_owned(), ack);
                if session.phase == Phase::Talking {
                    session.describes(&outgoing.sdp);
                    session.lasts(stack, now);
                    if !std::mem::take(&mut session.refreshing) {
                        stack.emit(Event::Reanswered { session: id, result: Ok(message.sdp()) });
                    }
                    session.next_reoffer(stack, now);
                }
            }
            _ if session.phase != Phase::Talking => {}
            (491, _) if outgoing.tries < REOFFER_TRIES_MAX && session.queued.is_none() => {
                // RFC 3261 14.1: the owner of the Call-ID waits 2.1 to 4 s, the other 0 to 2 s, in steps of 10 ms.
                let steps = if session.we_called { 210 + stack.rng.below(191) } else { stack.rng.below(201) };
                session.queued = Some(outgoing.sdp);
                session.reoffer_tries = outgoing.tries + 1;
                let at = now + Duration::from_millis(10 * steps);
                session.slots.glare = timer(stack, at, id, SessionTimer::Glare);
            }
            (401 | 407, Some(message)) if outgoing.tries < REOFFER_TRIES_MAX => {
                let uri = session.dialog.target().to_owned();
                match session.authorization(stack, "INVITE", &uri, message) {
                    Some(authorization) => {
                        session.send_reinvite(stack, now, outgoing.sdp, outgoing.tries + 1, Some(authorization));
                    }
                    None => stack.emit(Event::Reanswered { session: id, result: Err(code) }),
                }
            }
            // RFC 3261 12.2.1.2: the peer has no such dialog, or is gone.
            (408 | 481, _) => {
                session.send_bye(stack, now, None, None);
                self.finish(stack, id, Event::Ended { session: id, cause: EndCause::Gone });
            }
            _ => {
                // A peer that refuses what it has already is there all the same.
                if std::mem::take(&mut session.refreshing) {
                    session.lasts(stack, now);
                } else {
                    stack.emit(Event::Reanswered { session: id, result: Err(code) });
                }
                session.next_reoffer(stack, now);
            }
        }
    }

    /// Our re-INVITE had no answer at all.
    pub fn reinvite_failed(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, code: u16) {
        let Some(session) = self.all.get_mut(&id) else { return };
        let (client, flow) = match &session.outgoing {
            Some(outgoing) => (outgoing.client, session.dialog.flow),
            None => return,
        };
        self.reinvite_answered(stack, now, (id, client), flow, code, None);
    }

    pub fn notify_talk(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) -> bool {
        let able = |session: &&mut Session| {
            session.phase == Phase::Calling
                && session.talk_allowed
                && session.hangup.is_none()
                && !session.dialog.remote_tag.is_empty()
        };
        let Some(session) = self.all.get_mut(&id).filter(able) else { return false };
        session.send_within(stack, now, rsip::Method::Notify, User::Notify(id), |stack, flow, mut out| {
            out.line("Contact", &stack.contact(flow, ""))
                .line("Event", "talk")
                .line("Subscription-State", "active")
                .line("User-Agent", &stack.config.user_agent);
            out.end()
        });
        true
    }

    /// RFC 6665: a phone that refuses the NOTIFY is not asked again.
    pub fn notify_answered(&mut self, id: SessionId, code: u16) {
        if let Some(session) = self.all.get_mut(&id)
            && code >= 300
        {
            session.talk_allowed = false;
        }
    }

    // Theirs.

    pub fn accept_reoffer(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, sdp: &Bytes) {
        if let Some(session) = self.reoffered(id) {
            session.send_answer(stack, now, sdp);
            session.next_reoffer(stack, now);
        }
    }

    pub fn reject_reoffer(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, code: u16) {
        if let Some(session) = self.reoffered(id) {
            session.refuse(stack, now, if (300..700).contains(&code) { code } else { 500 });
            session.next_reoffer(stack, now);
        }
    }

    fn reoffered(&mut self, id: SessionId) -> Option<&mut Session> {
        let open = |session: &&mut Session| {
            session.phase == Phase::Talking && session.incoming.as_ref().is_some_and(|incoming| incoming.sent.is_none())
        };
        self.all.get_mut(&id).filter(open)
    }

    /// A request within a dialog of ours, other than ACK and CANCEL.
    pub fn request_within(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, flow: Flow, request: Message) {
        let Some(session) = self.all.get_mut(&id) else { return };
        let server = stack.start_server(&request, flow, Some(id));
        let plain = |stack: &mut Stack, code: u16, complete: &dyn Fn(&mut Builder)| {
            let mut out = reply::start(stack, &request, flow, code, None);
            complete(&mut out);
            stack.respond(now, server, code, out.end());
        };
        if !session.dialog.in_order(request.cseq.number) {
            // RFC 3261 12.2.2: a number that was overtaken.
            plain(stack, 500, &|out| {
                out.number("Retry-After", stack_jitter(request.cseq.number));
            });
            return;
        }
        session.dialog.came_by(flow);
        let crate::wire::Method::Known(method) = request.cseq.method else {
            plain(stack, 501, &|out| {
                out.line("Allow", ALLOW);
            });
            return;
        };
        match method {
            rsip::Method::Bye => {
                plain(stack, 200, &|_| {});
                let q850 = super::q850_of(&request);
                self.bye(stack, now, id, q850);
            }
            rsip::Method::Invite | rsip::Method::Update => {
                let invite = method == rsip::Method::Invite;
                match session.reoffer_verdict(invite, &request) {
                    Verdict::Refuse(code) => plain(stack, code, &|out| {
                        if code == 500 {
                            out.number("Retry-After", stack_jitter(request.cseq.number));
                        }
                    }),
                    Verdict::TooShort => plain(stack, 422, &|out| {
                        out.number("Min-SE", u64::from(MIN_SE_S));
                    }),
                    Verdict::Refresh => {
                        session.dialog.refresh_target(&request);
                        session.asked_to_last(&request);
                        let contact = stack.contact(&flow, "");
                        plain(stack, 200, &|out| {
                            out.line("Contact", &contact).line("Allow", ALLOW);
                            session.lasting_lines(&request, out);
                        });
                        session.lasts(stack, now);
                    }
                    Verdict::Offer => {
                        session.dialog.refresh_target(&request);
                        session.asked_to_last(&request);
                        if invite {
                            let trying = reply::start(stack, &request, flow, 100, None).end();
                            stack.respond(now, server, 100, trying);
                        }
                        let sdp = request.sdp();
                        session.incoming = Some(Incoming { request: Box::new(request), flow, server, sent: None });
                        stack.emit(Event::Reoffer { session: id, sdp });
                    }
                }
            }
            rsip::Method::Info => match digit_of(&request) {
                Info::Digit(digit) => {
                    plain(stack, 200, &|_| {});
                    stack.emit(Event::InfoDigit { session: id, digit });
                }
                Info::Empty => plain(stack, 200, &|_| {}),
                Info::Malformed => plain(stack, 400, &|_| {}),
                Info::Unsupported => plain(stack, 415, &|out| {
                    out.line("Accept", super::ACCEPT);
                }),
            },
            rsip::Method::Notify => match event_of(&request) {
                Some(event) => {
                    plain(stack, 200, &|_| {});
                    stack.emit(Event::Notify { session: id, event });
                }
                None => plain(stack, 489, &|out| {
                    out.line("Allow-Events", ALLOW_EVENTS);
                }),
            },
            rsip::Method::Refer => match refer_of(&request) {
                _ if session.phase != Phase::Talking => plain(stack, 481, &|_| {}),
                _ if session.refer.is_some() => plain(stack, 491, &|_| {}),
                Some(refer) => {
                    session.refer = Some(Incoming { request: Box::new(request), flow, server, sent: None });
                    stack.emit(Event::Refer { session: id, refer: Box::new(refer) });
                }
                None => plain(stack, 400, &|_| {}),
            },
            rsip::Method::Subscribe => plain(stack, 489, &|out| {
                out.line("Allow-Events", ALLOW_EVENTS);
            }),
            rsip::Method::Options => plain(stack, 200, &reply::capabilities),
            rsip::Method::PRack => {
                let code = session.acknowledges(stack, &request);
                plain(stack, code, &|_| {});
                if code == 200 {
                    self.after_prack(stack, now, id);
                }
            }
            rsip::Method::Ack
            | rsip::Method::Cancel
            | rsip::Method::Register
            | rsip::Method::Message
            | rsip::Method::Publish => plain(stack, 405, &|out| {
                out.line("Allow", ALLOW);
            }),
        }
    }

    fn bye(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, q850: Option<u8>) {
        let Some(session) = self.all.get_mut(&id) else { return };
        match session.phase {
            // RFC 3261 15.1.2: the INVITE still gets its final answer.
            Phase::Called => self.cancelled(stack, now, id),
            Phase::Calling => {
                if let Some(client) = session.invite {
                    stack.remove_client(client);
                }
                self.fail(stack, id, 487, crate::wire::reason(487));
            }
            Phase::Talking => {
                session.refuse(stack, now, 487);
                self.finish(stack, id, Event::Ended { session: id, cause: EndCause::Bye { q850 } });
            }
            // Both sides ended it at once; the end is told when our own BYE is answered, or here for want of a reason to wait.
            Phase::Ending => self.bye_answered(stack, now, id, 200, None),
        }
    }
}

enum Verdict {
    Offer,
    /// An UPDATE without an offer: a new target, nothing else.
    Refresh,
    /// It asks for a session that lasts less than we take (RFC 4028 8.1).
    TooShort,
    Refuse(u16),
}

impl Session {
    fn reoffer_verdict(&self, invite: bool, request: &Message) -> Verdict {
        if self.phase == Phase::Ending {
            return Verdict::Refuse(481);
        }
        if Wish::of(request).is_some_and(|wish| wish.interval_s < MIN_SE_S) {
            return Verdict::TooShort;
        }
        if !invite && request.sdp().is_none() {
            return Verdict::Refresh;
        }
        // 14.2: an unanswered one of theirs is 500; one of ours, or a first answer that waits for its ACK, is 491.
        let waiting = self.incoming.as_ref().is_some_and(|incoming| incoming.sent.is_none());
        match self.phase {
            Phase::Talking if waiting => Verdict::Refuse(500),
            Phase::Talking if self.outgoing.is_some() || self.incoming.is_some() => Verdict::Refuse(491),
            Phase::Talking => Verdict::Offer,
            Phase::Calling | Phase::Called | Phase::Ending => Verdict::Refuse(491),
        }
    }

    /// Sends the re-INVITE that waits, once nothing else is under way.
    pub(super) fn next_reoffer(&mut self, stack: &mut Stack, now: Timestamp) {
        let free = self.phase == Phase::Talking
            && self.outgoing.is_none()
            && self.incoming.is_none()
            && self.slots.glare.is_none()
            && self.hangup.is_none();
        if !free {
            return;
        }
        if let Some(sdp) = self.queued.take() {
            let tries = std::mem::take(&mut self.reoffer_tries);
            self.send_reinvite(stack, now, sdp, tries, None);
        }
    }

    fn send_reinvite(
        &mut self,
        stack: &mut Stack,
        now: Timestamp,
        sdp: Bytes,
        tries: u8,
        authorization: Option<(&'static str, String)>,
    ) {
        let offer = sdp.clone();
        let (client, cseq) =
            self.send_within(stack, now, rsip::Method::Invite, User::Reinvite(self.id), |stack, flow, mut out| {
                out.line("Contact", &stack.contact(flow, "")).line("Allow", ALLOW).line("Allow-Events", ALLOW_EVENTS);
                out.line("User-Agent", &stack.config.user_agent);
                if let Some((name, value)) = &authorization {
                    out.line(name, value);
                }
                out.sdp(Some(&offer))
            });
        self.outgoing = Some(Outgoing { client, cseq, sdp, tries });
    }
}

/// Seconds for Retry-After of a 500 (RFC 3261 14.2: 0 to 10, by chance; the request's own number is chance enough).
fn stack_jitter(cseq: u32) -> u64 {
    u64::from(cseq % 11)
}

enum Info {
    Digit(char),
    Empty,
    Malformed,
    Unsupported,
}

fn digit_of(request: &Message) -> Info {
    if request.body.is_empty() {
        return Info::Empty;
    }
    let Ok(body) = std::str::from_utf8(&request.body) else { return Info::Malformed };
    let signal = match request.content_type().as_str() {
        "application/dtmf-relay" => body.lines().find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            name.trim().eq_ignore_ascii_case("Signal").then(|| value.trim())
        }),
        "application/dtmf" => Some(body.trim()),
        _ => return Info::Unsupported,
    };
    // Some phones send 10 and 11 for star and pound.
    let digit = match signal {
        Some("10") => Some('*'),
        Some("11") => Some('#'),
        Some(text) => text.chars().next().filter(|_| text.chars().count() == 1).map(|c| c.to_ascii_uppercase()),
        None => None,
    };
    match digit {
        Some(digit) if "0123456789*#ABCD".contains(digit) => Info::Digit(digit),
        _ => Info::Malformed,
    }
}

/// The event of a NOTIFY, where it is one of ours.
fn event_of(request: &Message) -> Option<String> {
    let value = request.first(|h| matches!(h, Header::Event(_)))?;
    let event = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    ["talk", "hold", "refer"].contains(&event.as_str()).then_some(event)
}
