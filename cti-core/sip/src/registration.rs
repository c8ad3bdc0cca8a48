//! Registrations that we keep at someone else's registrar (RFC 3261 10.2).

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::Timestamp;
use rsip::headers::Header;
use serde::{Deserialize, Serialize};

use crate::dialog::MAX_FORWARDS;
use crate::session::{ALLOW, ALLOW_EVENTS, AUTH_TRIES_MAX, answer_challenge};
use crate::stack::{Stack, Timer, User};
use crate::timer::TimerKey;
use crate::transaction::ClientKind;
use crate::wire::{Builder, Message, NameAddr, clean, escape_user, next_cseq};
use crate::{Event, Flow, RegisterRequest, RegistrationId, Transport};

/// A registration is renewed after this part of its time.
const REFRESH_PERCENT: u64 = 80;
/// After a failure it is tried again after this, doubling up to `RETRY_MAX`.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(120);

#[derive(Serialize, Deserialize)]
struct Registration {
    request: RegisterRequest,
    call_id: String,
    tag: String,
    cseq: u32,
    expires_s: u32,
    auth_tries: u8,
    #[serde(with = "crate::saved::micros")]
    retry: Duration,
    ending: bool,
    #[serde(skip)]
    timer: Option<TimerKey>,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Registrations {
    all: BTreeMap<RegistrationId, Registration>,
}

impl Registrations {
    pub fn register(&mut self, stack: &mut Stack, now: Timestamp, request: RegisterRequest) -> RegistrationId {
        let id = RegistrationId(stack.next_number());
        if self.all.len() >= stack.config.registrations_max {
            stack.emit(Event::RegisterResult { registration: id, result: Err(503) });
            return id;
        }
        let registration = Registration {
            call_id: stack.rng.hex::<16>(),
            tag: stack.rng.hex::<8>(),
            cseq: 0,
            expires_s: request.expires_s,
            auth_tries: 0,
            retry: RETRY_FIRST,
            ending: false,
            timer: None,
            request,
        };
        self.all.insert(id, registration);
        self.send(stack, now, id, None);
        id
    }

    /// Takes the registration back (Expires 0), once; its result is `RegisterResult { Ok(0) }`.
    pub fn unregister(&mut self, stack: &mut Stack, now: Timestamp, id: RegistrationId) {
        let Some(registration) = self.all.get_mut(&id).filter(|registration| !registration.ending) else { return };
        registration.ending = true;
        registration.expires_s = 0;
        registration.auth_tries = 0;
        self.send(stack, now, id, None);
    }

    pub fn forget(&mut self, stack: &mut Stack, id: RegistrationId) {
        if let Some(mut registration) = self.all.remove(&id) {
            stack.timers.cancel(&mut registration.timer);
        }
    }

    pub fn fire(&mut self, stack: &mut Stack, now: Timestamp, id: RegistrationId) {
        if let Some(registration) = self.all.get_mut(&id) {
            registration.timer = None;
            registration.auth_tries = 0;
            self.send(stack, now, id, None);
        }
    }

    /// The place of a registration's timer.
    pub fn timer_slot(&mut self, id: RegistrationId) -> Option<&mut Option<TimerKey>> {
        self.all.get_mut(&id).map(|registration| &mut registration.timer)
    }

    /// No connection of the old process is one of this. A registrar may reach us by the stream that we registered by alone, so a
    /// registration by a stream is made anew at once; where a REGISTER is under way, that one goes out again.
    pub fn restarted(&mut self, stack: &mut Stack, now: Timestamp) {
        for (id, registration) in &mut self.all {
            let flow = &mut registration.request.registrar.flow;
            flow.connection = None;
            if flow.transport != Transport::Udp && registration.timer.is_some() {
                stack.timers.cancel(&mut registration.timer);
                registration.timer = Some(stack.timers.arm(now, Timer::Registration(*id)));
            }
        }
    }

    pub fn answered(
        &mut self,
        stack: &mut Stack,
        now: Timestamp,
        id: RegistrationId,
        flow: Flow,
        code: u16,
        message: &Message,
    ) {
        let Some(registration) = self.all.get_mut(&id) else { return };
        if registration.cseq != message.cseq.number || code < 200 {
            return;
        }
        if flow.connection.is_some() && flow.transport == registration.request.registrar.flow.transport {
            registration.request.registrar.flow = flow;
        }
        match code {
            200..=299 => {
                registration.retry = RETRY_FIRST;
                let expires_s = registration.granted(message);
                self.settle(stack, now, id, expires_s);
            }
            401 | 407 => {
                let request = registration.request.clone();
                let uri = clean(&request.registrar.uri);
                let answer = answer_challenge(stack, message, "REGISTER", &uri, &request.user, &request.secret);
                match answer {
                    Some((name, answer))
                        if registration.auth_tries == 0 || answer.stale && registration.auth_tries < AUTH_TRIES_MAX =>
                    {
                        registration.auth_tries += 1;
                        self.send(stack, now, id, Some((name, answer.value)));
                    }
                    _ => self.failed(stack, now, id, code),
                }
            }
            423 => {
                let min =
                    message.first(|h| matches!(h, Header::MinExpires(_))).and_then(|text| text.trim().parse().ok());
                match min {
                    Some(min) if min > registration.expires_s && !registration.ending => {
                        registration.expires_s = min;
                        registration.auth_tries = 0;
                        self.send(stack, now, id, None);
                    }
                    _ => self.failed(stack, now, id, code),
                }
            }
            _ => self.failed(stack, now, id, code),
        }
    }

    /// A refusal, timer F, or a stream that could not be used: told, and tried again later.
    pub fn failed(&mut self, stack: &mut Stack, now: Timestamp, id: RegistrationId, code: u16) {
        let Some(registration) = self.all.get_mut(&id) else { return };
        stack.emit(Event::RegisterResult { registration: id, result: Err(code) });
        if registration.ending {
            self.all.remove(&id);
            return;
        }
        let delay = registration.retry;
        registration.retry = (delay * 2).min(RETRY_MAX);
        stack.timers.cancel(&mut registration.timer);
        registration.timer = Some(stack.timers.arm(now + delay, Timer::Registration(id)));
    }

    fn settle(&mut self, stack: &mut Stack, now: Timestamp, id: RegistrationId, expires_s: u32) {
        let Some(registration) = self.all.get_mut(&id) else { return };
        let result = if registration.ending { Ok(0) } else { Ok(expires_s) };
        stack.emit(Event::RegisterResult { registration: id, result });
        stack.timers.cancel(&mut registration.timer);
        if registration.ending {
            self.all.remove(&id);
            return;
        }
        let delay = Duration::from_millis(u64::from(expires_s.max(1)) * 10 * REFRESH_PERCENT);
        registration.timer = Some(stack.timers.arm(now + delay, Timer::Registration(id)));
    }

    fn send(&mut self, stack: &mut Stack, now: Timestamp, id: RegistrationId, authorization: Option<(&str, String)>) {
        let Some(registration) = self.all.get_mut(&id) else { return };
        stack.timers.cancel(&mut registration.timer);
        let flow = registration.request.registrar.flow;
        let flow = Flow { connection: flow.connection.filter(|_| stack.is_open(&flow)), ..flow };
        registration.cseq = next_cseq(registration.cseq);
        let client = stack.begin();
        let aor = clean(&registration.request.aor);
        let mut out = Builder::request("REGISTER", &clean(&registration.request.registrar.uri));
        out.line("Via", &stack.via(&flow, client))
            .line("Max-Forwards", MAX_FORWARDS)
            .line("From", &format!("<{aor}>;tag={}", registration.tag))
            .line("To", &format!("<{aor}>"))
            .line("Call-ID", &registration.call_id)
            .line("CSeq", &format!("{} REGISTER", registration.cseq))
            .line("Contact", &stack.contact(&flow, &registration.contact_user()))
            .number("Expires", u64::from(registration.expires_s))
            .line("Allow", ALLOW)
            .line("Allow-Events", ALLOW_EVENTS)
            .line("User-Agent", &stack.config.user_agent);
        if let Some((name, value)) = authorization {
            out.line(name, &value);
        }
        stack.start_client(now, client, ClientKind::NonInvite, flow, out.end(), User::Registration(id));
    }
}

impl Registration {
    fn contact_user(&self) -> String {
        crate::wire::Uri::parse(&self.request.aor).map_or_else(|_| escape_user(&self.request.user), |uri| uri.user())
    }

    /// The seconds that a 200 gives our contact: the one with our user part, else Expires, else what we asked for.
    fn granted(&self, message: &Message) -> u32 {
        let user = self.contact_user();
        let contacts = message.list(|h| matches!(h, Header::Contact(_)));
        let ours = contacts.iter().filter_map(|value| NameAddr::parse(value)).filter_map(|contact| {
            let same = contact.uri().is_ok_and(|uri| uri.user() == user);
            same.then(|| contact.param("expires").and_then(|text| text.trim().parse().ok())).flatten()
        });
        let header = || message.first(|h| matches!(h, Header::Expires(_))).and_then(|text| text.trim().parse().ok());
        ours.max().or_else(header).unwrap_or(self.expires_s)
    }
}
