//! The side that calls: INVITE, its answers, CANCEL.

use bytes::Bytes;
use cti_base::Timestamp;
use rsip::headers::Header;

use super::lasting::SESSION_S;
use super::{ALLOW, ALLOW_EVENTS, Ending, Hangup, Phase, SUPPORTED, Session, Sessions, timer};
use crate::dialog::Dialog;
use crate::endpoint::UNREACHABLE;
use crate::stack::{ClientId, SessionTimer, Stack, User};
use crate::timer::CANCEL_WAIT;
use crate::transaction::ClientKind;
use crate::wire::{Message, address, clean, is_token};
use crate::{Event, Flow, InviteRequest, SessionId, Transmit, digest};

/// RFC 3261 18.1.1: a request longer than this goes by TCP where the path's MTU is not known, bytes.
pub const DATAGRAM_LEN_MAX: usize = 1_300;
/// Challenges answered for one request: the first, and one more where only the nonce was stale.
pub const AUTH_TRIES_MAX: u8 = 2;

/// Headers that the caller of `invite` can not set: the endpoint's own.
const OWN_HEADERS: [&str; 18] = [
    "via",
    "from",
    "to",
    "call-id",
    "cseq",
    "contact",
    "max-forwards",
    "content-length",
    "content-type",
    "route",
    "record-route",
    "v",
    "f",
    "t",
    "i",
    "m",
    "l",
    "c",
];

impl Sessions {
    pub fn invite(&mut self, stack: &mut Stack, now: Timestamp, request: InviteRequest) -> SessionId {
        let flow = request.target.flow;
        let host = stack.host(&flow);
        let host = crate::wire::host_text(host.ip());
        let call_id = stack.rng.hex::<16>();
        let tag = stack.rng.hex::<8>();
        let local = address(request.from_display.as_deref(), &request.from_user, &host);
        let uri = clean(&request.target.uri);
        let dialog = Dialog::calling(call_id, tag, local, format!("<{uri}>"), &uri, flow);
        let full = self.is_full(stack);
        let id = self.insert(stack, dialog, Phase::Calling);
        if full {
            self.fail(stack, id, 503, "Limit Reached");
            return id;
        }
        if let Some(session) = self.all.get_mut(&id) {
            session.credentials = request.credentials.clone();
            session.request = Some(Box::new(request));
            session.send_invite(stack, now, None);
        }
        id
    }

    pub fn invite_answered(
        &mut self,
        stack: &mut Stack,
        now: Timestamp,
        (id, client): (SessionId, ClientId),
        flow: Flow,
        code: u16,
        message: &Message,
    ) {
        let Some(session) = self.all.get_mut(&id).filter(|session| session.invite == Some(client)) else {
            if (200..300).contains(&code) {
                end_fork(stack, now, client, flow, message);
            }
            return;
        };
        match (session.phase, code) {
            (Phase::Calling, 100..=199) => session.provisional(stack, now, flow, code, message),
            (Phase::Calling, 200..=299) => session.answered(stack, now, client, flow, message),
            (Phase::Calling, _) => self.refused(stack, now, id, code, message),
            (Phase::Talking | Phase::Ending, 200..=299) => end_fork(stack, now, client, flow, message),
            (Phase::Called | Phase::Talking | Phase::Ending, _) => {}
        }
    }

    fn refused(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, code: u16, message: &Message) {
        let Some(session) = self.all.get_mut(&id) else { return };
        if matches!(code, 401 | 407) && session.hangup.is_none() {
            let uri = session.request.as_ref().map(|request| clean(&request.target.uri)).unwrap_or_default();
            if let Some(authorization) = session.authorization(stack, "INVITE", &uri, message) {
                session.dialog.bump();
                session.provisional = false;
                session.send_invite(stack, now, Some(authorization));
                return;
            }
        }
        // RFC 4028 7.3: the peer wants no sign of life so often.
        if code == 422 && session.hangup.is_none() {
            let min_se = message.other("Min-SE").and_then(|text| text.split(';').next()?.trim().parse::<u32>().ok());
            if let Some(min_se) = min_se.filter(|min_se| *min_se > session.asks_s.unwrap_or(SESSION_S)) {
                session.asks_s = Some(min_se);
                session.dialog.bump();
                session.provisional = false;
                session.send_invite(stack, now, None);
                return;
            }
        }
        let reason = match &message.start {
            crate::wire::Start::Response { reason, .. } => reason.clone(),
            crate::wire::Start::Request { .. } => String::new(),
        };
        self.fail(stack, id, code, &reason);
    }

    /// Timer B, or a stream that could not be used.
    pub fn invite_failed(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, code: u16) {
        let calling = |session: &&mut Session| session.phase == Phase::Calling;
        let Some(session) = self.all.get_mut(&id).filter(calling) else { return };
        // RFC 3261 18.1.1: a peer that takes no TCP gets it as a datagram after all.
        if code == UNREACHABLE
            && session.hangup.is_none()
            && let Some(flow) = session.datagrams.take()
        {
            stack.takes_no_tcp(flow.remote);
            session.dialog.flow = flow;
            session.dialog.bump();
            session.send_invite(stack, now, None);
            return;
        }
        let code = if session.hangup.is_some() { 487 } else { code };
        self.fail(stack, id, code, crate::wire::reason(code));
    }

    /// RFC 3261 9.1: no final answer within 64*T1 of CANCEL.
    pub(super) fn give_up(&mut self, stack: &mut Stack, id: SessionId) {
        let Some(client) = self.all.get(&id).and_then(|session| session.invite) else { return };
        stack.remove_client(client);
        self.fail(stack, id, 487, crate::wire::reason(487));
    }
}

impl Session {
    fn send_invite(&mut self, stack: &mut Stack, now: Timestamp, authorization: Option<(&'static str, String)>) {
        let Some(request) = self.request.as_ref() else { return };
        let client = stack.begin();
        let flow = request.target.flow;
        let flow = Flow { connection: flow.connection.filter(|_| stack.is_open(&flow)), ..flow };
        let mut bytes = self.invite_text(stack, flow, client, request, &authorization);
        let mut by = flow;
        if bytes.len() > DATAGRAM_LEN_MAX
            && let Some(tcp) = stack.tcp_instead(&request.target)
        {
            bytes = self.invite_text(stack, tcp, client, request, &authorization);
            self.datagrams = Some(flow);
            self.dialog.flow = tcp;
            by = tcp;
        }
        self.invite = Some(client.0);
        stack.start_client(now, client, ClientKind::Invite, by, bytes, User::Invite(self.id));
    }

    fn invite_text(
        &self,
        stack: &Stack,
        flow: Flow,
        client: (ClientId, u32),
        request: &InviteRequest,
        authorization: &Option<(&'static str, String)>,
    ) -> Bytes {
        let mut out = self.dialog.request_by(stack, flow, "INVITE", self.dialog.local_cseq, client);
        out.line("Contact", &stack.contact(&flow, "")).line("Allow", ALLOW).line("Allow-Events", ALLOW_EVENTS);
        out.line("Supported", SUPPORTED).number("Session-Expires", u64::from(self.asks_s.unwrap_or(SESSION_S)));
        out.line("User-Agent", &stack.config.user_agent);
        if let Some((name, value)) = authorization {
            out.line(name, value);
        }
        for (name, value) in &request.headers {
            let own = OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
            if !own && !name.is_empty() && name.bytes().all(is_token) {
                out.line(name, &clean(value));
            }
        }
        out.sdp(Some(&request.offer))
    }

    /// The header that answers a challenge, while there are credentials and tries left.
    pub(super) fn authorization(
        &mut self,
        stack: &mut Stack,
        method: &str,
        uri: &str,
        message: &Message,
    ) -> Option<(&'static str, String)> {
        let (user, secret) = self.credentials.as_ref()?;
        let (name, answer) = answer_challenge(stack, message, method, uri, user, secret)?;
        if self.auth_tries >= AUTH_TRIES_MAX || (self.auth_tries > 0 && !answer.stale) {
            return None;
        }
        self.auth_tries += 1;
        Some((name, answer.value))
    }

    fn provisional(&mut self, stack: &mut Stack, now: Timestamp, flow: Flow, code: u16, message: &Message) {
        self.provisional = true;
        if let Some(hangup) = self.hangup {
            self.send_cancel(stack, now, hangup);
            return;
        }
        if code == 100 {
            return;
        }
        if message.to.tag().is_some() {
            self.dialog.answered(message, flow);
        }
        if !self.acknowledge(stack, now, message) {
            return;
        }
        if let Some(events) = message.other("Allow-Events") {
            self.talk_allowed = crate::wire::split(events, b',').any(|event| event.eq_ignore_ascii_case("talk"));
        }
        stack.emit(Event::Progress { session: self.id, code, sdp: message.sdp() });
    }

    fn answered(&mut self, stack: &mut Stack, now: Timestamp, client: ClientId, flow: Flow, message: &Message) {
        self.dialog.answered(message, flow);
        let request = self.request.take();
        self.agreed_to_last(message, request.as_ref().map(|request| &request.offer));
        self.lasts(stack, now);
        // RFC 3262 5: what was described in a reliable provisional answer need not be again.
        let early_sdp = self.early_sdp.take();
        self.auth_tries = 0;
        self.phase = Phase::Talking;
        let ack = self.ack(stack, message.cseq.number);
        stack.set_ack(client, self.dialog.remote_tag.clone(), ack);
        match self.hangup {
            // The 2xx crossed our CANCEL: the call exists, and is ended at once.
            Some(hangup) => {
                self.ending = Ending::Cancelled;
                self.send_bye(stack, now, hangup.q850, None);
            }
            None => stack.emit(Event::Answered { session: self.id, sdp: message.sdp().or(early_sdp) }),
        }
    }

    /// The ACK of a 2xx: a request of its own within the dialog, with the INVITE's number (RFC 3261 13.2.2.4).
    pub(super) fn ack(&self, stack: &mut Stack, cseq: u32) -> Transmit {
        ack_of(stack, &self.dialog, cseq)
    }

    pub(super) fn cancel(&mut self, stack: &mut Stack, now: Timestamp, q850: Option<u8>) {
        let hangup = Hangup { q850, cancel_sent: false };
        self.hangup = Some(hangup);
        // Before any provisional answer a CANCEL may overtake its INVITE; it waits for one (RFC 3261 9.1).
        if self.provisional {
            self.send_cancel(stack, now, hangup);
        }
    }

    fn send_cancel(&mut self, stack: &mut Stack, now: Timestamp, hangup: Hangup) {
        let Some(client) = self.invite.filter(|_| !hangup.cancel_sent) else { return };
        stack.cancel(now, client);
        self.hangup = Some(Hangup { cancel_sent: true, ..hangup });
        self.slots.cancel_wait = timer(stack, now + CANCEL_WAIT, self.id, SessionTimer::CancelWait);
    }
}

fn ack_of(stack: &mut Stack, dialog: &Dialog, cseq: u32) -> Transmit {
    let client = stack.begin();
    let (out, flow) = dialog.request(stack, "ACK", cseq, client);
    Transmit { flow, bytes: out.end() }
}

/// A 2xx of a fork that lost, or of a call that is over: acknowledged and ended (RFC 3261 13.2.2.4).
fn end_fork(stack: &mut Stack, now: Timestamp, client: ClientId, flow: Flow, message: &Message) {
    let Some((entry_flow, sent)) = stack.client(client).map(|entry| (entry.flow, entry.request.clone())) else {
        return;
    };
    let Ok(invite) = Message::parse(&sent) else { return };
    let crate::wire::Start::Request { uri_text, .. } = &invite.start else { return };
    let tag = invite.from.tag().unwrap_or("").to_owned();
    let (local, remote) = (invite.from.bare(), invite.to.bare());
    let mut dialog = Dialog::calling(invite.call_id.clone(), tag, local, remote, uri_text, entry_flow);
    dialog.answered(message, flow);
    dialog.local_cseq = invite.cseq.number;
    let ack = ack_of(stack, &dialog, invite.cseq.number);
    stack.transmits.push_back(ack);
    let bye = stack.begin();
    let cseq = dialog.bump();
    let (out, flow) = dialog.request(stack, "BYE", cseq, bye);
    stack.start_client(now, bye, ClientKind::NonInvite, flow, out.end(), User::Nobody);
}

/// Answers the challenges of a 401 or 407.
pub fn answer_challenge(
    stack: &mut Stack,
    message: &Message,
    method: &str,
    uri: &str,
    user: &str,
    secret: &str,
) -> Option<(&'static str, digest::Answer)> {
    let proxy = matches!(message.start, crate::wire::Start::Response { code: 407, .. });
    let values: Vec<&str> = message
        .headers
        .iter()
        .filter(|header| match header {
            Header::WwwAuthenticate(_) => !proxy,
            Header::ProxyAuthenticate(_) => proxy,
            _ => false,
        })
        .map(crate::wire::header_value)
        .collect();
    let answer = digest::answer(&values, method, uri, (user, secret), &mut stack.rng)?;
    Some((if proxy { "Proxy-Authorization" } else { "Authorization" }, answer))
}
