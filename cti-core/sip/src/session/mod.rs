//! INVITE sessions: a dialog, its INVITE usage and what is under way within it.

mod called;
mod calling;
mod lasting;
mod referring;
mod reliable;
mod within;

pub use calling::{AUTH_TRIES_MAX, answer_challenge};
pub use lasting::{MIN_SE_S, Wish, supports};

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cti_base::Timestamp;
use serde::{Deserialize, Serialize};

use lasting::Lasting;
use reliable::Reliable;

use crate::dialog::Dialog;
use crate::saved::{is_default, micros};
use crate::stack::{ClientId, ServerId, SessionTimer, Stack, Timer, User};
use crate::timer::TimerKey;
use crate::transaction::ClientKind;
use crate::wire::{Builder, Message};
use crate::{EndCause, Event, Flow, InviteRequest, Replaces, SessionId};

/// What we understand, for Allow (RFC 3261 20.5).
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, NOTIFY, INFO, UPDATE, PRACK, REFER";
/// Extensions that we understand: session timers (RFC 4028), reliable provisional answers (RFC 3262), replaced dialogs (RFC 3891).
pub const SUPPORTED: &str = "timer, 100rel, replaces";
/// Events of NOTIFY that a phone of ours understands (RFC 6665 8.2.2).
pub const ALLOW_EVENTS: &str = "talk, hold, refer";
pub const ACCEPT: &str = "application/sdp, application/dtmf-relay, application/dtmf";

/// Answered calls whose ACK has not come. Beyond it new INVITEs get 503: callers that never acknowledge can not pile up.
pub const UNACKED_MAX: usize = 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Our INVITE has no final answer.
    Calling,
    /// Their INVITE has no final answer of ours.
    Called,
    /// A 2xx was sent or received.
    Talking,
    /// Our BYE is on its way; the session ends with its answer.
    Ending,
}

/// Why a session with a BYE on its way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Ending {
    Cause(EndCauseKind),
    /// The 2xx of a call that we had cancelled already.
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum EndCauseKind {
    Local,
    NoAck,
    /// The peer did not refresh the session.
    Gone,
}

/// An INVITE or UPDATE of the peer's that is not done.
#[derive(Serialize, Deserialize)]
struct Incoming {
    request: Box<Message>,
    flow: Flow,
    server: ServerId,
    /// Our 2xx.
    sent: Option<Sent>,
}

/// A 2xx of ours, and the interval after which it goes out again.
#[derive(Serialize, Deserialize)]
struct Sent {
    bytes: Bytes,
    #[serde(with = "micros")]
    interval: Duration,
}

/// Our own re-INVITE.
#[derive(Serialize, Deserialize)]
struct Outgoing {
    client: ClientId,
    cseq: u32,
    sdp: Bytes,
    tries: u8,
}

#[derive(Default)]
struct Slots {
    repeat: Option<TimerKey>,
    ack_wait: Option<TimerKey>,
    refresh: Option<TimerKey>,
    glare: Option<TimerKey>,
    cancel_wait: Option<TimerKey>,
    lasting: Option<TimerKey>,
    reliable: Option<TimerKey>,
}

#[derive(Serialize, Deserialize)]
pub struct Session {
    id: SessionId,
    phase: Phase,
    dialog: Dialog,
    #[serde(default, skip_serializing_if = "is_default")]
    we_called: bool,
    /// What our INVITE is made of, until its final answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Box<InviteRequest>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invite: Option<ClientId>,
    #[serde(default, skip_serializing_if = "is_default")]
    auth_tries: u8,
    /// Our INVITE was too long for a datagram and went by TCP: where it goes should the peer not take it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datagrams: Option<Flow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<(String, String)>,
    /// A provisional answer came, so CANCEL may go (RFC 3261 9.1).
    #[serde(default, skip_serializing_if = "is_default")]
    provisional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hangup: Option<Hangup>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incoming: Option<Incoming>,
    /// A REFER of the peer's that is not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refer: Option<Incoming>,
    /// The last provisional answer of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ringing: Option<(u16, Bytes)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outgoing: Option<Outgoing>,
    /// A re-INVITE that waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queued: Option<Bytes>,
    #[serde(default, skip_serializing_if = "is_default")]
    reoffer_tries: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    talk_allowed: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    unacked: bool,
    ending: Ending,
    #[serde(default, skip_serializing_if = "is_default")]
    bye_tries: u8,
    /// How long the session lasts without a word, where both sides agreed to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lasting: Option<Lasting>,
    /// What our INVITE asks for where it is not the usual, seconds.
    #[serde(default, skip_serializing_if = "is_default")]
    asks_s: Option<u32>,
    #[serde(default, skip_serializing_if = "is_default")]
    update_allowed: bool,
    /// The re-INVITE under way is a refresh and no offer of the switch.
    #[serde(default, skip_serializing_if = "is_default")]
    refreshing: bool,
    /// The caller wants PRACKs for our provisional answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reliable: Option<Reliable>,
    /// Tag and number of the peer's last provisional answer that we acknowledged, and a description that came with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<(String, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    early_sdp: Option<Bytes>,
    #[serde(skip)]
    slots: Slots,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Hangup {
    q850: Option<u8>,
    cancel_sent: bool,
}

/// Every session, by its id and by our tag.
#[derive(Serialize, Deserialize)]
pub struct Sessions {
    all: BTreeMap<SessionId, Session>,
    #[serde(skip)]
    by_tag: BTreeMap<String, SessionId>,
    #[serde(skip)]
    unacked: usize,
}

impl Sessions {
    pub const fn new() -> Self {
        Self { all: BTreeMap::new(), by_tag: BTreeMap::new(), unacked: 0 }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_full(&self, stack: &Stack) -> bool {
        self.all.len() >= stack.config.sessions_max || self.unacked >= UNACKED_MAX || stack.is_full()
    }

    /// The session of a request within a dialog: our tag, the Call-ID and the peer's tag must agree (RFC 3261 12.2.2).
    pub fn find(&self, message: &Message) -> Option<SessionId> {
        let id = *self.by_tag.get(message.to.tag()?)?;
        let dialog = &self.all.get(&id)?.dialog;
        let same = dialog.call_id == message.call_id
            && (dialog.remote_tag == message.from.tag().unwrap_or("") || dialog.remote_tag.is_empty());
        same.then_some(id)
    }

    /// The session of a dialog that a peer names.
    pub fn replaced(&self, named: &Replaces) -> Option<SessionId> {
        let id = *self.by_tag.get(&named.to_tag)?;
        let dialog = &self.all.get(&id)?.dialog;
        (dialog.call_id == named.call_id && dialog.remote_tag == named.from_tag).then_some(id)
    }

    /// The peer has our tag as the remote one.
    pub fn replaces(&self, id: SessionId) -> Option<Replaces> {
        let dialog = &self.all.get(&id)?.dialog;
        let (to_tag, from_tag) = (dialog.remote_tag.clone(), dialog.local_tag.clone());
        Some(Replaces { call_id: dialog.call_id.clone(), to_tag, from_tag, early_only: false })
    }

    pub fn fire(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId, timer: SessionTimer) {
        match timer {
            SessionTimer::Repeat => self.repeat_answer(stack, now, id),
            SessionTimer::AckWait => self.ack_missing(stack, now, id),
            SessionTimer::Refresh => self.refresh_ringing(stack, now, id),
            SessionTimer::Glare => self.retry_reoffer(stack, now, id),
            SessionTimer::CancelWait => self.give_up(stack, id),
            SessionTimer::Lasting => self.lasting_fired(stack, now, id),
            SessionTimer::Reliable => self.repeat_reliable(stack, now, id),
        }
    }

    /// Makes anew what follows from the state.
    pub fn restored(&mut self) {
        self.by_tag = self.all.values().map(|session| (session.dialog.local_tag.clone(), session.id)).collect();
        self.unacked = self.all.values().filter(|session| session.unacked).count();
    }

    /// The place of a session's timer.
    pub fn timer_slot(&mut self, id: SessionId, timer: SessionTimer) -> Option<&mut Option<TimerKey>> {
        let slots = &mut self.all.get_mut(&id)?.slots;
        Some(match timer {
            SessionTimer::Repeat => &mut slots.repeat,
            SessionTimer::AckWait => &mut slots.ack_wait,
            SessionTimer::Refresh => &mut slots.refresh,
            SessionTimer::Glare => &mut slots.glare,
            SessionTimer::CancelWait => &mut slots.cancel_wait,
            SessionTimer::Lasting => &mut slots.lasting,
            SessionTimer::Reliable => &mut slots.reliable,
        })
    }

    pub fn is_reached(&self, stack: &Stack, id: SessionId) -> bool {
        self.all.get(&id).is_some_and(|session| session.phase == Phase::Talking && session.dialog.is_reached(stack))
    }

    /// No connection of the old process is one of this.
    pub fn restarted(&mut self) {
        for session in self.all.values_mut() {
            session.dialog.flow.connection = None;
            if let Some(request) = &mut session.request {
                request.target.flow.connection = None;
            }
            if let Some(incoming) = &mut session.incoming {
                incoming.flow.connection = None;
            }
        }
    }

    fn insert(&mut self, stack: &mut Stack, dialog: Dialog, phase: Phase) -> SessionId {
        let id = SessionId(stack.next_number());
        self.by_tag.insert(dialog.local_tag.clone(), id);
        let session = Session {
            id,
            phase,
            dialog,
            we_called: phase == Phase::Calling,
            request: None,
            invite: None,
            auth_tries: 0,
            datagrams: None,
            credentials: None,
            provisional: false,
            hangup: None,
            incoming: None,
            refer: None,
            ringing: None,
            outgoing: None,
            queued: None,
            reoffer_tries: 0,
            talk_allowed: false,
            unacked: false,
            ending: Ending::Cause(EndCauseKind::Local),
            bye_tries: 0,
            lasting: None,
            asks_s: None,
            update_allowed: false,
            refreshing: false,
            reliable: None,
            heard: None,
            early_sdp: None,
            slots: Slots::default(),
        };
        self.all.insert(id, session);
        id
    }

    /// Forgets a session, with its timers. Transactions still under way end by themselves.
    fn remove(&mut self, stack: &mut Stack, id: SessionId) -> Option<Session> {
        let mut session = self.all.remove(&id)?;
        self.by_tag.remove(&session.dialog.local_tag);
        let Slots { repeat, ack_wait, refresh, glare, cancel_wait, lasting, reliable } = &mut session.slots;
        for slot in [repeat, ack_wait, refresh, glare, cancel_wait, lasting, reliable] {
            stack.timers.cancel(slot);
        }
        // A re-INVITE without its final answer has no timer of its own, and the dialog it was for is over.
        if let Some(outgoing) = &session.outgoing {
            stack.remove_client(outgoing.client);
        }
        if session.unacked {
            self.unacked -= 1;
        }
        Some(session)
    }

    fn finish(&mut self, stack: &mut Stack, id: SessionId, event: Event) {
        if self.remove(stack, id).is_some() {
            stack.emit(event);
        }
    }

    fn fail(&mut self, stack: &mut Stack, id: SessionId, code: u16, reason: &str) {
        self.finish(stack, id, Event::Failed { session: id, code, reason: reason.to_owned() });
    }
}

impl Session {
    /// Sends a request within the dialog; `complete` adds its own lines and body.
    fn send_within(
        &mut self,
        stack: &mut Stack,
        now: Timestamp,
        method: rsip::Method,
        user: User,
        complete: impl FnOnce(&Stack, &Flow, Builder) -> Bytes,
    ) -> (ClientId, u32) {
        let client = stack.begin();
        let cseq = self.dialog.bump();
        let (out, flow) = self.dialog.request(stack, crate::wire::name_of(method), cseq, client);
        let bytes = complete(stack, &flow, out);
        let kind = if method == rsip::Method::Invite { ClientKind::Invite } else { ClientKind::NonInvite };
        stack.start_client(now, client, kind, flow, bytes, user);
        (client.0, cseq)
    }

    fn send_bye(&mut self, stack: &mut Stack, now: Timestamp, q850: Option<u8>, authorization: Option<(&str, String)>) {
        self.phase = Phase::Ending;
        let Slots { repeat, ack_wait, refresh: _, glare, cancel_wait, lasting, reliable: _ } = &mut self.slots;
        for slot in [repeat, ack_wait, glare, cancel_wait, lasting] {
            stack.timers.cancel(slot);
        }
        self.send_within(stack, now, rsip::Method::Bye, User::Bye(self.id), |stack, _, mut out| {
            if let Some(cause) = q850 {
                out.line("Reason", &format!("Q.850;cause={cause}"));
            }
            if let Some((name, value)) = authorization {
                out.line(name, &value);
            }
            out.line("User-Agent", &stack.config.user_agent);
            out.end()
        });
    }

    fn response(&self, stack: &Stack, incoming: &Incoming, code: u16) -> Builder {
        let tag = incoming.request.to.tag().is_none().then_some(self.dialog.local_tag.as_str());
        crate::reply::start(stack, &incoming.request, incoming.flow, code, tag)
    }
}

/// Lines that every answer which opens or refreshes a dialog carries.
fn dialog_lines(stack: &Stack, request: &Message, flow: &Flow, out: &mut Builder) {
    for header in request.headers.iter() {
        if let rsip::headers::Header::RecordRoute(_) = header {
            out.line("Record-Route", crate::wire::header_value(header));
        }
    }
    out.line("Contact", &stack.contact(flow, "")).line("Allow", ALLOW).line("Allow-Events", ALLOW_EVENTS);
    out.line("Supported", SUPPORTED);
}

/// The `cause` of a Reason header with protocol Q.850 (RFC 3326).
fn q850_of(message: &Message) -> Option<u8> {
    let value = message.other("Reason")?;
    let item = crate::wire::split(value, b',')
        .find(|item| item.split(';').next().is_some_and(|protocol| protocol.trim().eq_ignore_ascii_case("Q.850")))?;
    crate::wire::param(item, "cause")?.parse().ok()
}

const fn end_cause(kind: EndCauseKind) -> EndCause {
    match kind {
        EndCauseKind::Local => EndCause::Local,
        EndCauseKind::NoAck => EndCause::NoAck,
        EndCauseKind::Gone => EndCause::Gone,
    }
}

fn timer(stack: &mut Stack, at: Timestamp, id: SessionId, what: SessionTimer) -> Option<TimerKey> {
    Some(stack.timers.arm(at, Timer::Session(id, what)))
}
