//! A scripted SIP phone over the project's own endpoint: it calls, registers, rings, answers, refuses, holds and hangs up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use cti_media::webrtc::Half;
use cti_media::{Codec, Direction, LegMedia, sdp};
use cti_sip::{
    Account, DigestPolicy, EndCause, Endpoint, EndpointConfig, Event, InviteRequest, Packet, RegisterRequest, Replaces,
    SessionId, Transport,
};

/// What a phone does with a call that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Rings at once and answers after so long; hangs up after the second time, if given.
    Answer { after: Duration, talk: Option<Duration> },
    /// Rings and never answers.
    Ring,
    /// Refuses after so long.
    Refuse { code: u16, after: Duration },
    /// Sends nothing at all: the phone is not there.
    Dead,
}

/// What a phone has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Invited {
        session: SessionId,
        from: String,
    },
    Progress {
        session: SessionId,
        code: u16,
    },
    Answered {
        session: SessionId,
    },
    /// Our 200 was acknowledged.
    Confirmed {
        session: SessionId,
    },
    Failed {
        session: SessionId,
        code: u16,
    },
    Cancelled {
        session: SessionId,
    },
    Ended {
        session: SessionId,
        cause: EndCause,
    },
    AskedToTalk {
        session: SessionId,
    },
    /// Our REFER is taken.
    Referred {
        session: SessionId,
    },
    Registered(Result<u32, u16>),
    /// The answer to a hold or retrieve: which way our side may talk.
    Reanswered {
        session: SessionId,
        direction: Option<Direction>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Todo {
    Ring(SessionId),
    Answer(SessionId),
    Refuse(SessionId, u16),
    Hangup(SessionId),
}

pub struct Phone {
    pub address: SocketAddr,
    pub plan: Plan,
    pub seen: Vec<(Timestamp, Seen)>,
    /// What the other side and we agreed on, by session.
    pub media: BTreeMap<SessionId, LegMedia>,
    /// How long to talk before hanging up, for calls made by this phone.
    pub talk: Option<Duration>,
    /// Where the phone is in a page: its half of every connection. Others refuse what is a page's.
    pub page: Option<Box<Half>>,
    endpoint: Endpoint,
    offers: BTreeMap<SessionId, Bytes>,
    live: BTreeMap<SessionId, ()>,
    todo: BTreeMap<(Timestamp, u64), Todo>,
    order: u64,
    rtp_port: u16,
}

impl Phone {
    pub fn new(address: SocketAddr, seed: u64, plan: Plan) -> Self {
        let config = EndpointConfig {
            listeners: vec![(Transport::Udp, address), (Transport::Ws, address)],
            advertised: None,
            local_ip: address.ip(),
            local_ip6: None,
            digest: DigestPolicy::Md5,
            realm: "phone".into(),
            user_agent: "scripted phone".into(),
            sessions_max: 1_000,
            transactions_max: 10_000,
            registrations_max: 10,
        };
        Self {
            address,
            plan,
            seen: Vec::new(),
            media: BTreeMap::new(),
            talk: None,
            page: None,
            endpoint: Endpoint::new(config, Rng::from_number(seed)),
            offers: BTreeMap::new(),
            live: BTreeMap::new(),
            todo: BTreeMap::new(),
            order: 0,
            rtp_port: 40_000,
        }
    }

    /// This phone is a registrar too, for that account.
    pub fn keep_account(&mut self, account: Account) {
        self.endpoint.set_accounts("carrier", vec![account]);
    }

    /// Contacts registered here.
    pub fn kept(&self) -> usize {
        self.endpoint.registered()
    }

    /// Rings `uri` as `from` with the codec first; `offer` takes the place of the phone's own description.
    pub fn dial(&mut self, now: Timestamp, uri: &str, from: &str, codec: Codec, offer: Option<Bytes>) -> SessionId {
        let offer = offer.unwrap_or_else(|| sdp::offer(&self.local(1), codec, Direction::SendRecv));
        self.invite(now, uri, from, offer, Vec::new())
    }

    /// Takes the place of a dialog, named as a Replaces header does.
    pub fn dial_replacing(&mut self, now: Timestamp, uri: &str, from: &str, replaces: String) -> SessionId {
        let offer = sdp::offer(&self.local(1), Codec::Pcma, Direction::SendRecv);
        self.invite(now, uri, from, offer, vec![("Replaces".to_owned(), replaces)])
    }

    /// How this switch would be told to replace the dialog.
    pub fn replaces(&self, session: SessionId) -> String {
        let Replaces { call_id, to_tag, from_tag, .. } = self.endpoint.replaces(session).expect("a session");
        format!("{call_id};to-tag={to_tag};from-tag={from_tag}")
    }

    fn invite(
        &mut self,
        now: Timestamp,
        uri: &str,
        from: &str,
        offer: Bytes,
        headers: Vec<(String, String)>,
    ) -> SessionId {
        let target = self.endpoint.target_of(uri).expect("a SIP URI with an address");
        let session = self.endpoint.invite(
            now,
            InviteRequest { target, from_display: None, from_user: from.to_owned(), offer, headers, credentials: None },
        );
        self.live.insert(session, ());
        session
    }

    pub fn register(&mut self, now: Timestamp, registrar: &str, user: &str, secret: &str, expires_s: u32) {
        let target = self.endpoint.target_of(registrar).expect("a SIP URI with an address");
        let host = registrar.trim_start_matches("sip:");
        let request = RegisterRequest {
            registrar: target,
            aor: format!("sip:{user}@{host}"),
            user: user.to_owned(),
            secret: secret.to_owned(),
            expires_s,
        };
        self.endpoint.register(now, request);
    }

    pub fn hangup(&mut self, now: Timestamp, session: SessionId) {
        self.endpoint.hangup(now, session, None);
    }

    /// Hands the call on, as a phone's transfer button does.
    pub fn refer(&mut self, now: Timestamp, session: SessionId, uri: &str) {
        self.endpoint.refer(now, session, uri);
    }

    /// Offers anew with this direction, as a phone's hold button does.
    pub fn offer_direction(&mut self, now: Timestamp, session: SessionId, direction: Direction) {
        let local = self.local(2);
        self.endpoint.reoffer(now, session, sdp::offer(&local, Codec::Pcma, direction));
    }

    /// The sessions that are neither over nor refused.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.live.keys().copied().collect()
    }

    pub fn receive(&mut self, now: Timestamp, packet: Packet) {
        if self.plan != Plan::Dead {
            self.endpoint.handle_packet(now, packet);
        }
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.todo.first_key_value().map(|((at, _), _)| *at), self.endpoint.poll_deadline()].into_iter().flatten().min()
    }

    /// Does what is due and hands out what is to be sent.
    pub fn run(&mut self, now: Timestamp) -> Vec<cti_sip::Transmit> {
        if self.endpoint.poll_deadline().is_some_and(|at| at <= now) {
            self.endpoint.handle_deadline(now);
        }
        while let Some(entry) = self.todo.first_entry().filter(|entry| entry.key().0 <= now) {
            let todo = entry.remove();
            self.carry_out(now, todo);
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.on_event(now, event);
        }
        std::iter::from_fn(|| self.endpoint.poll_transmit()).collect()
    }

    fn carry_out(&mut self, now: Timestamp, todo: Todo) {
        match todo {
            Todo::Ring(session) => self.endpoint.ring(now, session, None),
            Todo::Answer(session) => {
                let Some(offer) = self.offers.remove(&session) else { return };
                let local = self.local(1);
                if sdp::is_browsers(&offer) && self.page.is_none() {
                    return self.carry_out(now, Todo::Refuse(session, 488));
                }
                let (body, media) = sdp::answer(&offer, &local, Direction::SendRecv).expect("the switch's offer");
                self.media.insert(session, media);
                self.endpoint.accept(now, session, body);
                if let Plan::Answer { talk: Some(talk), .. } = self.plan {
                    self.later(now + talk, Todo::Hangup(session));
                }
            }
            Todo::Refuse(session, code) => {
                self.endpoint.reject(now, session, code);
                self.live.remove(&session);
            }
            Todo::Hangup(session) => self.endpoint.hangup(now, session, None),
        }
    }

    fn on_event(&mut self, now: Timestamp, event: Event) {
        let seen = match event {
            Event::Invite { session, invite } => {
                self.live.insert(session, ());
                if let Some(offer) = invite.offer {
                    self.offers.insert(session, offer);
                }
                match self.plan {
                    Plan::Answer { after, talk: _ } => {
                        self.later(now, Todo::Ring(session));
                        self.later(now + after, Todo::Answer(session));
                    }
                    Plan::Ring => self.later(now, Todo::Ring(session)),
                    Plan::Refuse { code, after } => self.later(now + after, Todo::Refuse(session, code)),
                    Plan::Dead => {}
                }
                Seen::Invited { session, from: invite.from.user.into_inner() }
            }
            Event::Cancelled { session } => {
                self.forget(session);
                Seen::Cancelled { session }
            }
            Event::Confirmed { session, answer: _ } => Seen::Confirmed { session },
            Event::Progress { session, code, sdp: _ } => Seen::Progress { session, code },
            Event::Answered { session, sdp } => {
                let local = self.local(1);
                if let Some(Ok(media)) = sdp.map(|answer| sdp::read_answer_of(&answer, &local)) {
                    self.media.insert(session, media);
                }
                if let Some(talk) = self.talk {
                    self.later(now + talk, Todo::Hangup(session));
                }
                Seen::Answered { session }
            }
            Event::Failed { session, code, reason: _ } => {
                self.forget(session);
                Seen::Failed { session, code }
            }
            Event::Ended { session, cause } => {
                self.forget(session);
                Seen::Ended { session, cause }
            }
            Event::Notify { session, event } if event.starts_with("talk") => {
                self.later(now, Todo::Answer(session));
                Seen::AskedToTalk { session }
            }
            Event::Reanswered { session, result } => {
                let local = self.local(2);
                let media = result.ok().flatten().and_then(|body| sdp::read_answer_of(&body, &local).ok());
                self.media.extend(media.clone().map(|media| (session, media)));
                Seen::Reanswered { session, direction: media.map(|media| media.direction) }
            }
            Event::RegisterResult { registration: _, result } => Seen::Registered(result),
            Event::Reoffer { session, sdp } => {
                let local = self.local(2);
                let offer = sdp.filter(|_| self.page.is_some());
                match offer.and_then(|offer| sdp::answer(&offer, &local, Direction::SendRecv).ok()) {
                    Some((body, media)) => {
                        self.media.insert(session, media);
                        self.endpoint.accept_reoffer(now, session, body);
                    }
                    None => self.endpoint.reject_reoffer(now, session, 488),
                }
                return;
            }
            // No phone of these is asked to.
            Event::Refer { session, refer: _ } => {
                self.endpoint.answer_refer(now, session, 603);
                return;
            }
            Event::Notify { session, event } if event == "refer" => Seen::Referred { session },
            Event::Notify { .. }
            | Event::InfoDigit { .. }
            | Event::Registered { .. }
            | Event::Probed { .. }
            | Event::Unauthorized { .. }
            | Event::Rejected { .. } => return,
        };
        self.seen.push((now, seen));
    }

    fn forget(&mut self, session: SessionId) {
        self.live.remove(&session);
        self.offers.remove(&session);
        self.todo.retain(|_, todo| match todo {
            Todo::Ring(other) | Todo::Answer(other) | Todo::Refuse(other, _) | Todo::Hangup(other) => *other != session,
        });
    }

    fn later(&mut self, at: Timestamp, todo: Todo) {
        self.order += 1;
        self.todo.insert((at, self.order), todo);
    }

    fn local(&mut self, version: u64) -> sdp::Local {
        self.rtp_port = if self.rtp_port >= 60_000 { 40_000 } else { self.rtp_port + 2 };
        sdp::Local {
            rtp: SocketAddr::new(self.address.ip(), self.rtp_port),
            session_id: 1,
            version,
            srtp: None,
            wideband: false,
            webrtc: self.page.clone(),
        }
    }
}
