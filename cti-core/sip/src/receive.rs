//! What comes in: read, checked in the order of RFC 3261 8.2, and given to whom it belongs.

use cti_base::Timestamp;
use rsip::headers::Header;

use crate::probe;
use crate::reply;
use crate::session::{ALLOW, ALLOW_EVENTS, MIN_SE_S, Wish, supports};
use crate::stack::{Matched, User};
use crate::wire::{Message, Method, Start, UriError, header_value, split};
use crate::{Endpoint, Event, Flow, Packet, RejectReason};

/// Seconds after which a request that found no room may be tried again.
const RETRY_AFTER_S: u64 = 5;

impl Endpoint {
    pub(crate) fn receive(&mut self, now: Timestamp, packet: &Packet) {
        let Packet { flow, bytes } = packet;
        self.stack.saw(*flow);
        // A datagram of nothing but line ends, or of nulls, keeps an address translator awake.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        match Message::parse(bytes) {
            Err(fault) => reply::malformed(&mut self.stack, fault, *flow),
            Ok(message) => match message.start {
                Start::Response { code, .. } => self.response(now, *flow, code, &message),
                Start::Request { .. } => self.request(now, *flow, message),
            },
        }
    }

    fn response(&mut self, now: Timestamp, flow: Flow, code: u16, message: &Message) {
        let Self { stack, sessions, registrations, .. } = self;
        let Some((client, user)) = stack.receive(now, flow, code, message) else { return };
        match user {
            User::Invite(id) => sessions.invite_answered(stack, now, (id, client), flow, code, message),
            User::Reinvite(id) => sessions.reinvite_answered(stack, now, (id, client), flow, code, Some(message)),
            User::Bye(id) => sessions.bye_answered(stack, now, id, code, Some(message)),
            User::Notify(id) => sessions.notify_answered(id, code),
            User::Refresh(id) => sessions.refreshed(stack, now, id, code, Some(message)),
            User::Probe(probe) if code >= 200 => stack.emit(Event::Probed { probe, alive: probe::is_alive(code) }),
            User::Probe(_) => {}
            User::Registration(id) => registrations.answered(stack, now, id, flow, code, message),
            User::Nobody => {}
        }
    }

    fn request(&mut self, now: Timestamp, flow: Flow, message: Message) {
        if let Matched::Repeated = self.stack.match_request(now, &message, flow) {
            return;
        }
        let known = match &message.cseq.method {
            Method::Known(method) => Some(*method),
            Method::Extension(_) => None,
        };
        match known {
            Some(rsip::Method::Ack) => return self.ack(now, flow, &message),
            Some(rsip::Method::Cancel) => return self.cancel(now, flow, &message),
            _ => {}
        }
        if !self.passes(flow, &message, known) {
            return;
        }
        if message.to.tag().is_some() {
            return self.within(now, flow, message);
        }
        if self.stack.is_merged(&message) {
            return reply::refuse(&mut self.stack, &message, flow, 482, RejectReason::Loop, |_, _| {});
        }
        self.opening(now, flow, message, known);
    }

    /// The checks that hold for every request: scheme, hops, loops, extensions, method.
    fn passes(&mut self, flow: Flow, message: &Message, known: Option<rsip::Method>) -> bool {
        let stack = &mut self.stack;
        let none = |_: &_, _: &mut _| {};
        let Some(known) = known else {
            reply::refuse(stack, message, flow, 501, RejectReason::UnsupportedMethod, reply::allow);
            return false;
        };
        if let Start::Request { uri: Err(UriError::UnknownScheme), .. } = &message.start {
            reply::refuse(stack, message, flow, 416, RejectReason::UnsupportedScheme, none);
            return false;
        }
        let hops = message.first(|h| matches!(h, Header::MaxForwards(_)));
        // An OPTIONS with no hop left is for whom it reached (RFC 3261 11.2).
        if hops.is_some_and(|hops| hops.trim() == "0") && known != rsip::Method::Options {
            reply::refuse(stack, message, flow, 483, RejectReason::TooManyHops, none);
            return false;
        }
        if self.is_loop(message) {
            reply::refuse(&mut self.stack, message, flow, 482, RejectReason::Loop, none);
            return false;
        }
        let required: Vec<&str> = message.list(|h| matches!(h, Header::Require(_) | Header::ProxyRequire(_)));
        let understood =
            |tag: &&&str| ["timer", "100rel", "replaces"].iter().any(|ours| ours.eq_ignore_ascii_case(tag));
        let required: Vec<&str> = required.iter().filter(|tag| !understood(tag)).copied().collect();
        if !required.is_empty() {
            let unsupported = required.join(", ");
            reply::refuse(&mut self.stack, message, flow, 420, RejectReason::UnsupportedExtension, |_, out| {
                out.line("Unsupported", &unsupported);
            });
            return false;
        }
        true
    }

    /// A Via below the top one with a branch of ours: our own request came back.
    fn is_loop(&self, message: &Message) -> bool {
        let lines = message.headers.iter().filter_map(|header| match header {
            Header::Via(_) => Some(header_value(header)),
            _ => None,
        });
        lines
            .flat_map(|line| split(line, b','))
            .skip(1)
            .filter_map(crate::wire::Via::parse)
            .any(|via| self.stack.is_own_branch(&via))
    }

    fn ack(&mut self, now: Timestamp, flow: Flow, message: &Message) {
        if let Some(id) = self.sessions.find(message) {
            self.sessions.acknowledged(&mut self.stack, now, id, flow, message);
        }
    }

    fn cancel(&mut self, now: Timestamp, flow: Flow, message: &Message) {
        let Some(session) = self.stack.cancelled(message, flow).map(|entry| entry.session) else {
            return reply::refuse(&mut self.stack, message, flow, 481, RejectReason::NoDialog, |_, _| {});
        };
        reply::stateless(&mut self.stack, message, flow, 200, |_, _| {});
        if let Some(id) = session {
            self.sessions.cancelled(&mut self.stack, now, id);
        }
    }

    fn within(&mut self, now: Timestamp, flow: Flow, message: Message) {
        let Some(id) = self.sessions.find(&message) else {
            return reply::refuse(&mut self.stack, &message, flow, 481, RejectReason::NoDialog, |_, _| {});
        };
        if self.stack.is_full() {
            return self.no_room(flow, &message);
        }
        self.sessions.request_within(&mut self.stack, now, id, flow, message);
    }

    fn no_room(&mut self, flow: Flow, message: &Message) {
        reply::refuse(&mut self.stack, message, flow, 503, RejectReason::LimitReached, |_, out| {
            out.number("Retry-After", RETRY_AFTER_S);
        });
    }

    fn opening(&mut self, now: Timestamp, flow: Flow, message: Message, known: Option<rsip::Method>) {
        let stack = &mut self.stack;
        match known {
            Some(rsip::Method::Invite) => {
                if self.sessions.is_full(stack) {
                    return self.no_room(flow, &message);
                }
                if !message.body.is_empty() && message.sdp().is_none() {
                    return reply::refuse(stack, &message, flow, 415, RejectReason::Malformed, |_, out| {
                        out.line("Accept", "application/sdp");
                    });
                }
                let wish = Wish::of(&message).filter(|_| supports(&message, "timer"));
                if wish.is_some_and(|wish| wish.interval_s < MIN_SE_S) {
                    return reply::refuse(stack, &message, flow, 422, RejectReason::UnsupportedExtension, |_, out| {
                        out.number("Min-SE", u64::from(MIN_SE_S));
                    });
                }
                self.sessions.called(stack, now, flow, message);
            }
            Some(rsip::Method::Register) => {
                if stack.is_full() {
                    return self.no_room(flow, &message);
                }
                self.registrar.register(stack, now, flow, &message);
            }
            Some(rsip::Method::Options) => {
                reply::stateless(stack, &message, flow, 200, |_, out| reply::capabilities(out));
            }
            Some(rsip::Method::Subscribe) => reply::stateless(stack, &message, flow, 489, |_, out| {
                out.line("Allow-Events", ALLOW_EVENTS);
            }),
            // Without a subscription of ours every NOTIFY is a stranger (RFC 6665 4.1.3).
            Some(
                rsip::Method::Notify
                | rsip::Method::Bye
                | rsip::Method::Info
                | rsip::Method::Update
                | rsip::Method::PRack,
            ) => {
                reply::refuse(stack, &message, flow, 481, RejectReason::NoDialog, |_, _| {});
            }
            Some(
                rsip::Method::Ack
                | rsip::Method::Cancel
                | rsip::Method::Refer
                | rsip::Method::Message
                | rsip::Method::Publish,
            )
            | None => reply::refuse(stack, &message, flow, 405, RejectReason::UnsupportedMethod, |_, out| {
                out.line("Allow", ALLOW);
            }),
        }
    }
}
