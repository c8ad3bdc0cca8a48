#![allow(unused_variables, clippy::unimplemented, reason = "the surface first")]
use std::net::IpAddr;
use std::net::SocketAddr;

use bytes::Bytes;
use cti_base::{Rng, Timestamp};

use crate::{ConnectionId, Event, Flow, Packet, RegistrationId, SessionId, Transmit, Transport};

/// Which digest algorithms a challenge offers (RFC 3261 22, RFC 8760).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestPolicy {
    #[default]
    Md5,
    Sha256,
    Both,
}

#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Bound addresses by transport, in order of preference.
    pub listeners: Vec<(Transport, SocketAddr)>,
    /// The address that peers reach us at, where it is not the socket's own. A wildcard listener without it takes the
    /// address given by `local_ip`.
    pub advertised: Option<IpAddr>,
    /// What stands in Via, Contact and SDP where the listener is a wildcard and nothing is advertised.
    pub local_ip: IpAddr,
    pub digest: DigestPolicy,
    pub realm: String,
    pub user_agent: String,
    /// Transactions, sessions and registrations beyond these get 503.
    pub sessions_max: usize,
    pub transactions_max: usize,
    pub registrations_max: usize,
}

/// A phone that may register: HA1 = H(user:realm:secret) in lower-case hex for both algorithms.
#[derive(Clone)]
pub struct Account {
    pub tenant: String,
    pub user: String,
    pub ha1_md5: String,
    pub ha1_sha256: String,
}

/// Where an outbound request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The request URI, e.g. `sip:1001@127.0.0.1:6001;transport=tcp`.
    pub uri: String,
    /// Where to send it: a registered phone's flow, or an address worked out from the URI.
    pub flow: Flow,
}

#[derive(Clone, Debug)]
pub struct InviteRequest {
    pub target: Target,
    /// Display name and user of From.
    pub from_display: Option<String>,
    pub from_user: String,
    pub offer: Bytes,
    /// Further header lines, e.g. `("Alert-Info", "...")`, `("X-Zongji-Call", id)`.
    pub headers: Vec<(String, String)>,
    /// Answers 401/407 challenges (a trunk or the phone program): user and secret.
    pub credentials: Option<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct RegisterRequest {
    pub registrar: Target,
    /// The address of record, `sip:1001@host`.
    pub aor: String,
    pub user: String,
    pub secret: String,
    pub expires_s: u32,
}

pub struct Endpoint {}

impl Endpoint {
    pub fn new(config: EndpointConfig, rng: Rng) -> Self {
        unimplemented!()
    }

    // Inputs.

    pub fn handle_packet(&mut self, now: Timestamp, packet: Packet) {
        unimplemented!()
    }

    /// Fires what is due at `now`.
    pub fn handle_deadline(&mut self, now: Timestamp) {
        unimplemented!()
    }

    /// A stream could not be opened or written: transactions on it fail as RFC 3261 17 says.
    pub fn transport_failed(&mut self, now: Timestamp, flow: Flow) {
        unimplemented!()
    }

    /// A stream closed: later in-dialog requests open a new one.
    pub fn connection_closed(&mut self, now: Timestamp, connection: ConnectionId) {
        unimplemented!()
    }

    /// Replaces the accounts of one tenant. Registrations of accounts that are gone end.
    pub fn set_accounts(&mut self, tenant: &str, accounts: Vec<Account>) {
        unimplemented!()
    }

    // Sessions. A method on a session that is over does nothing.

    pub fn invite(&mut self, now: Timestamp, request: InviteRequest) -> SessionId {
        unimplemented!()
    }

    /// 180 without SDP, 183 with it.
    pub fn ring(&mut self, now: Timestamp, session: SessionId, sdp: Option<Bytes>) {
        unimplemented!()
    }

    /// 200 with `sdp`, repeated until its ACK.
    pub fn accept(&mut self, now: Timestamp, session: SessionId, sdp: Bytes) {
        unimplemented!()
    }

    /// A final answer of 300 to 699. `Retry-After` is added to 503.
    pub fn reject(&mut self, now: Timestamp, session: SessionId, code: u16) {
        unimplemented!()
    }

    /// Ends the session whatever its state: CANCEL, BYE (after the ACK where it must), or 487 to an unanswered INVITE of
    /// the peer's. `Event::Ended { Local }` or `Event::Failed` follows when the peer agreed or timed out.
    pub fn hangup(&mut self, now: Timestamp, session: SessionId, q850: Option<u8>) {
        unimplemented!()
    }

    /// A re-INVITE with `sdp`. One at a time; glare is tried again after the delay of RFC 3261 14.1.
    pub fn reoffer(&mut self, now: Timestamp, session: SessionId, sdp: Bytes) {
        unimplemented!()
    }

    pub fn accept_reoffer(&mut self, now: Timestamp, session: SessionId, sdp: Bytes) {
        unimplemented!()
    }

    pub fn reject_reoffer(&mut self, now: Timestamp, session: SessionId, code: u16) {
        unimplemented!()
    }

    /// NOTIFY `Event: talk` within the session's early dialog: asks a phone that rings to answer. `Event::Failed` does not
    /// follow if it can not; returns false if the phone's Allow-Events does not have `talk` or there is no dialog yet.
    pub fn notify_talk(&mut self, now: Timestamp, session: SessionId) -> bool {
        unimplemented!()
    }

    pub fn register(&mut self, now: Timestamp, request: RegisterRequest) -> RegistrationId {
        unimplemented!()
    }

    // Queries.

    /// Where a registered phone is reached, newest contact first.
    pub fn contacts_of(&self, tenant: &str, user: &str) -> Vec<Target> {
        unimplemented!()
    }

    /// A target from a SIP URI whose host is an address: transport and port by RFC 3263 4 without DNS.
    pub fn target_of(&self, uri: &str) -> Option<Target> {
        unimplemented!()
    }

    /// The request URI's user, the flow, and whether the INVITE of this session came from a registered account.
    pub fn sessions(&self) -> usize {
        unimplemented!()
    }

    // Outputs.

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        unimplemented!()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        unimplemented!()
    }

    /// When `handle_deadline` is due next; `None` when nothing waits.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        unimplemented!()
    }
}
