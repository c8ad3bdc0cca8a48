//! Provisional answers that are acknowledged (RFC 3262): ours to callers who require it, and theirs to our INVITEs.

use std::time::Duration;

use bytes::Bytes;
use cti_base::Timestamp;
use rsip::headers::Header;
use serde::{Deserialize, Serialize};

use super::{Phase, Session, Sessions, timer};
use crate::saved::{is_default, micros};
use crate::stack::{SessionTimer, Stack, User};
use crate::timer::{T1, T1_64};
use crate::wire::Message;
use crate::{EndCause, Event, SessionId};

/// A provisional answer of ours that waits for its PRACK, and those that were acknowledged before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reliable {
    /// The last number used; 0 before the first.
    rseq: u32,
    /// The answer that goes out again until it is acknowledged: its bytes, the interval, and how long it went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<Sent>,
    /// RFC 3262 3: a 2xx waits for the PRACK of a provisional answer with a description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accept: Option<Bytes>,
    /// Another provisional answer waits for the PRACK of the one before.
    #[serde(default, skip_serializing_if = "is_default")]
    ring: Option<Ring>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ring {
    sdp: Option<Bytes>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sent {
    bytes: Bytes,
    described: bool,
    #[serde(with = "micros")]
    interval: Duration,
    #[serde(with = "micros")]
    waited: Duration,
}

/// RFC 3262 7.1: the first number is below 2^31; each session has its own, so any will do.
const RSEQ_FIRST: u32 = 1;

/// Whether the INVITE requires reliable provisional answers.
pub fn is_required(request: &Message) -> bool {
    request.list(|h| matches!(h, Header::Require(_))).iter().any(|tag| tag.eq_ignore_ascii_case("100rel"))
}

impl Reliable {
    /// The number of the next answer; `None` while one waits.
    pub fn next(&mut self, sdp: Option<&Bytes>) -> Option<u32> {
        if self.sent.is_some() {
            self.ring = Some(Ring { sdp: sdp.cloned() });
            return None;
        }
        self.rseq = if self.rseq == 0 { RSEQ_FIRST } else { self.rseq + 1 };
        Some(self.rseq)
    }

    /// Keeps a 2xx back while a description is not acknowledged; true where it does.
    pub fn keeps_back(&mut self, sdp: &Bytes) -> bool {
        let waits = self.sent.as_ref().is_some_and(|sent| sent.described);
        if waits {
            self.accept = Some(sdp.clone());
        }
        waits
    }
}

impl Session {
    /// A reliable answer has gone out.
    pub(super) fn sent_reliably(&mut self, stack: &mut Stack, now: Timestamp, bytes: Bytes, described: bool) {
        if let Some(reliable) = &mut self.reliable {
            reliable.sent = Some(Sent { bytes, described, interval: T1, waited: Duration::ZERO });
            self.slots.reliable = timer(stack, now + T1, self.id, SessionTimer::Reliable);
        }
    }

    /// A PRACK of theirs (RFC 3262 3): the status that it gets.
    pub(super) fn acknowledges(&mut self, stack: &mut Stack, request: &Message) -> u16 {
        let Some(incoming) = &self.incoming else { return 481 };
        let cseq = incoming.request.cseq.number;
        let Some(reliable) = self.reliable.as_mut().filter(|reliable| reliable.sent.is_some()) else { return 481 };
        let mut parts = request.other("RAck").unwrap_or("").split_whitespace();
        let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
        let same = number() == Some(reliable.rseq) && number() == Some(cseq) && parts.next() == Some("INVITE");
        if !same {
            return 481;
        }
        reliable.sent = None;
        stack.timers.cancel(&mut self.slots.reliable);
        200
    }

    /// A provisional answer of theirs that wants a PRACK. False where it was seen before.
    pub(super) fn acknowledge(&mut self, stack: &mut Stack, now: Timestamp, message: &Message) -> bool {
        let rseq = message.other("RSeq").and_then(|text| text.trim().parse::<u32>().ok());
        let Some(rseq) = rseq.filter(|_| is_required(message) && message.to.tag().is_some()) else { return true };
        let tag = message.to.tag().unwrap_or("").to_owned();
        // RFC 3262 4: one that comes again is not acknowledged again (the PRACK has its own timer), one out of order not at all.
        if self.heard.as_ref().is_some_and(|(heard, last)| *heard == tag && rseq != last.wrapping_add(1)) {
            return false;
        }
        self.heard = Some((tag, rseq));
        if let Some(sdp) = message.sdp() {
            self.early_sdp = Some(sdp);
        }
        let cseq = message.cseq.number;
        self.send_within(stack, now, rsip::Method::PRack, User::Nobody, |_, _, mut out| {
            out.line("RAck", &format!("{rseq} {cseq} INVITE"));
            out.end()
        });
        true
    }
}

impl Sessions {
    /// No PRACK yet.
    pub(super) fn repeat_reliable(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let called = |session: &&mut Session| session.phase == Phase::Called;
        let Some(session) = self.all.get_mut(&id).filter(called) else { return };
        let (Some(reliable), Some(incoming)) = (&mut session.reliable, &session.incoming) else { return };
        let Some(sent) = &mut reliable.sent else { return };
        sent.waited += sent.interval;
        // RFC 3262 3: after 64*T1 the INVITE is refused.
        if sent.waited >= T1_64 {
            session.refuse(stack, now, 504);
            self.finish(stack, id, Event::Ended { session: id, cause: EndCause::NoAck });
            return;
        }
        sent.interval = (sent.interval * 2).min(T1_64 - sent.waited);
        let (flow, reply_port) = (incoming.flow, incoming.request.via.port);
        let flow = stack.reply_flow(flow, reply_port);
        stack.send(flow, sent.bytes.clone());
        session.slots.reliable = timer(stack, now + sent.interval, id, SessionTimer::Reliable);
    }

    /// What waited for a PRACK goes on.
    pub(super) fn after_prack(&mut self, stack: &mut Stack, now: Timestamp, id: SessionId) {
        let Some(reliable) = self.all.get_mut(&id).and_then(|session| session.reliable.as_mut()) else { return };
        match (reliable.accept.take(), reliable.ring.take()) {
            (Some(sdp), _) => self.accept(stack, now, id, &sdp),
            (None, Some(Ring { sdp })) => self.ring(stack, now, id, sdp),
            (None, None) => {}
        }
    }
}
