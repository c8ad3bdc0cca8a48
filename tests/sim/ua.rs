//! Callers' carriers and agents' phones, over the project's own endpoint on the other end of the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use cti_base::{AgentName, Rng, TenantId, Timestamp};
use cti_media::{Codec, Direction, sdp};
use cti_sip::{
    DigestPolicy, Endpoint, EndpointConfig, Event, InviteRequest, RegisterRequest, SessionId, Transmit, Transport,
};

use crate::profile::OfferKind;

/// What happened at a phone that the world must act upon.
#[derive(Debug)]
pub enum Happened {
    /// A call comes in.
    Ringing {
        session: SessionId,
    },
    /// Asked to answer (`Event: talk`).
    AskedToAnswer {
        session: SessionId,
    },
    Registered,
}

/// One side's view of a dialog.
#[derive(Debug, Default)]
pub struct UaCall {
    /// The Call-ID, where the other side chose it.
    pub call_id: String,
    /// The number dialled, of a call that came in.
    pub to: String,
    offer: Option<Bytes>,
    pub answered: bool,
}

pub struct Ua {
    pub address: SocketAddr,
    /// `None` is a carrier.
    pub agent: Option<(TenantId, AgentName)>,
    pub endpoint: Endpoint,
    pub calls: BTreeMap<SessionId, UaCall>,
    /// Nothing comes in or goes out until then.
    pub deaf_until: Timestamp,
    rtp_port: u16,
}

impl Ua {
    pub fn new(address: SocketAddr, agent: Option<(TenantId, AgentName)>, rng: &mut Rng) -> Self {
        let config = EndpointConfig {
            listeners: vec![(Transport::Udp, address), (Transport::Tcp, address)],
            advertised: None,
            local_ip: address.ip(),
            local_ip6: None,
            digest: DigestPolicy::Md5,
            realm: "phone".into(),
            user_agent: "simulated phone".into(),
            sessions_max: 1_000,
            transactions_max: 10_000,
            registrations_max: 10,
        };
        let endpoint = Endpoint::new(config, Rng::from_number(rng.next_u64()));
        Self { address, agent, endpoint, calls: BTreeMap::new(), deaf_until: Timestamp::default(), rtp_port: 40_000 }
    }

    pub fn dial(&mut self, now: Timestamp, did: &str, switch: &str, from: &str, kind: OfferKind) -> SessionId {
        let target = self.endpoint.target_of(&format!("sip:{did}@{switch}")).expect("a SIP URI with an address");
        let local = self.local();
        let offer = match kind {
            OfferKind::Good => sdp::offer(&local, Codec::Pcma, Direction::SendRecv),
            OfferKind::Pcmu => sdp::offer(&local, Codec::Pcmu, Direction::SendRecv),
            OfferKind::NoCodec => no_codec(&local),
            OfferKind::Garbage => Bytes::from_static(b"this is no session description"),
        };
        let request = InviteRequest {
            target,
            from_display: None,
            from_user: from.to_owned(),
            offer,
            headers: Vec::new(),
            credentials: None,
        };
        let session = self.endpoint.invite(now, request);
        self.calls.insert(session, UaCall::default());
        session
    }

    pub fn register(&mut self, now: Timestamp, switch: &str, transport: &str, user: &str, secret: &str) {
        let registrar =
            self.endpoint.target_of(&format!("sip:{switch}{transport}")).expect("a SIP URI with an address");
        self.endpoint.register(
            now,
            RegisterRequest {
                registrar,
                aor: format!("sip:{user}@{switch}"),
                user: user.to_owned(),
                secret: secret.to_owned(),
                expires_s: 7_200,
            },
        );
    }

    /// Calls that came in and are not answered.
    pub fn ringing(&self) -> Vec<SessionId> {
        let ringing = self.calls.iter().filter(|(_, call)| !call.call_id.is_empty() && !call.answered);
        ringing.map(|(session, _)| *session).collect()
    }

    pub fn answer(&mut self, now: Timestamp, session: SessionId, broken: bool) {
        let local = self.local();
        let Some(call) = self.calls.get_mut(&session) else { return };
        let Some(offer) = call.offer.take() else { return };
        call.answered = true;
        let (body, _) = sdp::answer(&offer, &local, Direction::SendRecv).expect("the switch's offer is good");
        let body = if broken { Bytes::from_static(b"v=0\r\nnonsense") } else { body };
        self.endpoint.accept(now, session, body);
    }

    pub fn refuse(&mut self, now: Timestamp, session: SessionId, code: u16) {
        if self.calls.get(&session).is_some_and(|call| !call.answered) {
            self.endpoint.reject(now, session, code);
            self.calls.remove(&session);
        }
    }

    pub fn hold(&mut self, now: Timestamp, session: SessionId, held: bool) {
        if self.calls.contains_key(&session) {
            let direction = if held { Direction::SendOnly } else { Direction::SendRecv };
            let local = self.local();
            self.endpoint.reoffer(now, session, sdp::offer(&local, Codec::Pcma, direction));
        }
    }

    /// Handles what the endpoint has to say; what the world must act upon.
    pub fn events(&mut self, now: Timestamp) -> Vec<Happened> {
        let mut happened = Vec::new();
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Invite { session, invite } => {
                    let to = invite.target.user.expose().clone();
                    let call = UaCall { call_id: invite.call_id, to, offer: invite.offer, answered: false };
                    self.calls.insert(session, call);
                    happened.push(Happened::Ringing { session });
                }
                Event::Notify { session, event } if event.starts_with("talk") => {
                    happened.push(Happened::AskedToAnswer { session });
                }
                Event::Answered { session, sdp: _ } => {
                    if let Some(call) = self.calls.get_mut(&session) {
                        call.answered = true;
                    }
                }
                Event::Cancelled { session } | Event::Failed { session, .. } | Event::Ended { session, .. } => {
                    self.calls.remove(&session);
                }
                Event::Refer { session, refer: _ } => self.endpoint.answer_refer(now, session, 603),
                Event::Reoffer { session, sdp: _ } => self.endpoint.reject_reoffer(now, session, 488),
                Event::RegisterResult { result: Ok(_), .. } => happened.push(Happened::Registered),
                Event::RegisterResult { result: Err(_), .. }
                | Event::Notify { .. }
                | Event::Confirmed { .. }
                | Event::Progress { .. }
                | Event::Reanswered { .. }
                | Event::InfoDigit { .. }
                | Event::Registered { .. }
                | Event::Probed { .. }
                | Event::Unauthorized { .. }
                | Event::Rejected { .. } => {}
            }
        }
        happened
    }

    pub fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.endpoint.poll_transmit()).collect()
    }

    fn local(&mut self) -> sdp::Local {
        self.rtp_port = if self.rtp_port >= 60_000 { 40_000 } else { self.rtp_port + 2 };
        sdp::Local {
            rtp: SocketAddr::new(self.address.ip(), self.rtp_port),
            session_id: 1,
            version: 1,
            srtp: None,
            wideband: false,
            webrtc: None,
        }
    }
}

fn no_codec(local: &sdp::Local) -> Bytes {
    let (ip, port) = (local.rtp.ip(), local.rtp.port());
    Bytes::from(format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n"
    ))
}
