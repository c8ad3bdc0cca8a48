use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Algorithm;
use crate::probe;
use crate::registrar::Registrar;
use crate::registration::Registrations;
use crate::session::Sessions;
use crate::stack::{Stack, Timer, User};
use crate::timer::TimerKey;
use crate::wire::Uri;
use crate::{ConnectionId, Event, Flow, Packet, ProbeId, RegistrationId, Replaces, SessionId, Transmit, Transport};

/// Which digest algorithms a challenge offers (RFC 3261 22, RFC 8760).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DigestPolicy {
    #[default]
    Md5,
    Sha256,
    Both,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointConfig {
    /// Bound addresses by transport, in order of preference.
    pub listeners: Vec<(Transport, SocketAddr)>,
    /// The address that peers reach us at, where it is not the socket's own. A wildcard listener without it takes the
    /// address given by `local_ip`.
    pub advertised: Option<IpAddr>,
    /// What stands in Via, Contact and SDP where the listener is a wildcard and nothing is advertised.
    pub local_ip: IpAddr,
    /// The same towards peers of IPv6.
    pub local_ip6: Option<Ipv6Addr>,
    pub digest: DigestPolicy,
    pub realm: String,
    pub user_agent: String,
    /// Transactions, sessions and registrations beyond these get 503.
    pub sessions_max: usize,
    pub transactions_max: usize,
    pub registrations_max: usize,
}

impl EndpointConfig {
    /// Stands in a state that was read, until `Endpoint::restore` puts the true one in its place.
    pub(crate) const fn none() -> Self {
        Self {
            listeners: Vec::new(),
            advertised: None,
            local_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            local_ip6: None,
            digest: DigestPolicy::Md5,
            realm: String::new(),
            user_agent: String::new(),
            sessions_max: 0,
            transactions_max: 0,
            registrations_max: 0,
        }
    }
}

/// A phone that may register: HA1 = H(user:realm:secret) in lower-case hex for both algorithms. Make it by `with_secret`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub tenant: String,
    pub user: String,
    pub ha1_md5: String,
    pub ha1_sha256: String,
    /// The same for a digest whose user is `user@tenant`.
    pub qualified_ha1_md5: String,
    pub qualified_ha1_sha256: String,
}

impl Account {
    /// `realm` must be the endpoint's.
    pub fn with_secret(tenant: &str, user: &str, realm: &str, secret: &str) -> Self {
        let qualified = format!("{user}@{tenant}");
        Self {
            tenant: tenant.to_owned(),
            user: user.to_owned(),
            ha1_md5: Algorithm::Md5.hash(&[user, realm, secret]),
            ha1_sha256: Algorithm::Sha256.hash(&[user, realm, secret]),
            qualified_ha1_md5: Algorithm::Md5.hash(&[&qualified, realm, secret]),
            qualified_ha1_sha256: Algorithm::Sha256.hash(&[&qualified, realm, secret]),
        }
    }

    pub(crate) fn ha1(&self, algorithm: Algorithm, username: &str) -> &str {
        match (algorithm, username == self.user) {
            (Algorithm::Md5, true) => &self.ha1_md5,
            (Algorithm::Md5, false) => &self.qualified_ha1_md5,
            (Algorithm::Sha256, true) => &self.ha1_sha256,
            (Algorithm::Sha256, false) => &self.qualified_ha1_sha256,
        }
    }
}

/// Where an outbound request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The request URI, e.g. `sip:1001@127.0.0.1:6001;transport=tcp`.
    pub uri: String,
    /// Where to send it: a registered phone's flow, or an address worked out from the URI.
    pub flow: Flow,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
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

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegisterRequest {
    pub registrar: Target,
    /// The address of record, `sip:1001@host`.
    pub aor: String,
    pub user: String,
    pub secret: String,
    pub expires_s: u32,
}

/// It serialises as its state: transactions, timers, dialogs, registrations, randomness. Secrets are in it (digests). What waits in
/// `poll_transmit` and `poll_event` is not: drain both first. The format must be able to have any value as a key (MessagePack).
#[derive(Serialize)]
pub struct Endpoint {
    pub(crate) stack: Stack,
    pub(crate) sessions: Sessions,
    pub(crate) registrar: Registrar,
    pub(crate) registrations: Registrations,
}

/// An endpoint's state as it was written down, for `Endpoint::restore`.
#[derive(Deserialize)]
pub struct EndpointState {
    stack: Stack,
    sessions: Sessions,
    registrar: Registrar,
    registrations: Registrations,
}

impl Endpoint {
    pub fn new(config: EndpointConfig, rng: Rng) -> Self {
        let mut stack = Stack::new(config, rng);
        let registrar = Registrar::new(&mut stack);
        Self { stack, sessions: Sessions::new(), registrar, registrations: Registrations::default() }
    }

    /// The endpoint that the state was taken from. `config` need not be the one of then: limits, listeners, names may be others.
    pub fn restore(config: EndpointConfig, state: EndpointState) -> Self {
        let EndpointState { mut stack, mut sessions, mut registrar, registrations } = state;
        stack.restored(config);
        sessions.restored();
        registrar.restored();
        registrar.name_flows(&mut stack);
        let mut endpoint = Self { stack, sessions, registrar, registrations };
        endpoint.name_timers();
        endpoint
    }

    // Inputs.

    pub fn handle_packet(&mut self, now: Timestamp, packet: Packet) {
        self.receive(now, &packet);
    }

    /// Fires what is due at `now`.
    pub fn handle_deadline(&mut self, now: Timestamp) {
        while let Some(timer) = self.stack.timers.pop_due(now) {
            match timer {
                Timer::Client(id, letter) => {
                    if let Some(user) = self.stack.fire_client(now, id, letter) {
                        self.unanswered(now, user, TIMED_OUT);
                    }
                }
                Timer::Server(id, letter) => self.stack.fire_server(now, id, letter),
                Timer::Session(id, timer) => self.sessions.fire(&mut self.stack, now, id, timer),
                Timer::Binding(number) => self.registrar.expire(&mut self.stack, number),
                Timer::Registration(id) => self.registrations.fire(&mut self.stack, now, id),
            }
        }
    }

    /// A stream could not be opened or written: transactions on it fail as RFC 3261 17 says.
    pub fn transport_failed(&mut self, now: Timestamp, flow: Flow) {
        for user in self.stack.fail_remote(flow) {
            self.unanswered(now, user, UNREACHABLE);
        }
    }

    /// A stream closed: later in-dialog requests go by one that the peer has opened since, or open one.
    pub fn connection_closed(&mut self, _now: Timestamp, connection: ConnectionId) {
        self.stack.closed(connection);
        self.registrar.closed(&mut self.stack, connection);
    }

    /// A new process has taken up this state at `now`, and nobody was there since `last`: connections are closed, and what they may
    /// have lost goes out by new ones. Waits for an answer or an ACK last as much longer, as what came meanwhile is lost. Call it
    /// before any other input, and before what is due.
    pub fn restarted(&mut self, now: Timestamp, last: Timestamp) {
        self.stack.timers.postpone(now.since(last), Timer::is_wait);
        self.name_timers();
        self.stack.restarted();
        self.sessions.restarted();
        self.registrar.restarted(&mut self.stack);
        self.registrations.restarted(&mut self.stack, now);
    }

    /// Another config from here on: its listeners, limits and names hold for what comes next.
    pub fn configure(&mut self, config: EndpointConfig) {
        self.stack.config = config;
    }

    /// Replaces the accounts of one tenant. Registrations of accounts that are gone end.
    pub fn set_accounts(&mut self, tenant: &str, accounts: Vec<Account>) {
        self.registrar.set_accounts(&mut self.stack, tenant, accounts);
    }

    // Sessions. A method on a session that is over does nothing.

    pub fn invite(&mut self, now: Timestamp, request: InviteRequest) -> SessionId {
        self.sessions.invite(&mut self.stack, now, request)
    }

    /// 180 without SDP, 183 with it.
    pub fn ring(&mut self, now: Timestamp, session: SessionId, sdp: Option<Bytes>) {
        self.sessions.ring(&mut self.stack, now, session, sdp);
    }

    /// 200 with `sdp`, repeated until its ACK.
    pub fn accept(&mut self, now: Timestamp, session: SessionId, sdp: Bytes) {
        self.sessions.accept(&mut self.stack, now, session, &sdp);
    }

    /// A final answer of 300 to 699. `Retry-After` is added to 503.
    pub fn reject(&mut self, now: Timestamp, session: SessionId, code: u16) {
        self.sessions.reject(&mut self.stack, now, session, code);
    }

    /// Ends the session whatever its state: CANCEL, BYE (after the ACK where it must), or 487 to an unanswered INVITE of
    /// the peer's. `Event::Ended { Local }` or `Event::Failed` follows when the peer agreed or timed out.
    pub fn hangup(&mut self, now: Timestamp, session: SessionId, q850: Option<u8>) {
        self.sessions.hangup(&mut self.stack, now, session, q850);
    }

    /// A re-INVITE with `sdp`. One at a time; glare is tried again after the delay of RFC 3261 14.1.
    pub fn reoffer(&mut self, now: Timestamp, session: SessionId, sdp: Bytes) {
        self.sessions.reoffer(&mut self.stack, now, session, sdp);
    }

    pub fn accept_reoffer(&mut self, now: Timestamp, session: SessionId, sdp: Bytes) {
        self.sessions.accept_reoffer(&mut self.stack, now, session, &sdp);
    }

    pub fn reject_reoffer(&mut self, now: Timestamp, session: SessionId, code: u16) {
        self.sessions.reject_reoffer(&mut self.stack, now, session, code);
    }

    /// NOTIFY `Event: talk` within the session's early dialog: asks a phone that rings to answer. `Event::Failed` does not
    /// follow if it can not; returns false if the phone's Allow-Events does not have `talk` or there is no dialog yet.
    pub fn notify_talk(&mut self, now: Timestamp, session: SessionId) -> bool {
        self.sessions.notify_talk(&mut self.stack, now, session)
    }

    /// Answers `Event::Refer`: 202, and the NOTIFY that the call is taken over (RFC 3515 2.4.4), or a refusal of 300 to 699.
    pub fn answer_refer(&mut self, now: Timestamp, session: SessionId, code: u16) {
        self.sessions.answer_refer(&mut self.stack, now, session, code);
    }

    /// Asks the peer of an established session to connect its side with `uri` (RFC 3515).
    pub fn refer(&mut self, now: Timestamp, session: SessionId, uri: &str) {
        self.sessions.refer(&mut self.stack, now, session, uri);
    }

    /// Presses a key by INFO (`application/dtmf-relay`), for a peer that takes no telephone-event; in the order of asking.
    pub fn info_digit(&mut self, now: Timestamp, session: SessionId, digit: char) {
        self.sessions.info_digit(&mut self.stack, now, session, digit);
    }

    /// Keeps a registration: renewed at 80 % of its time, tried again after a failure, each with an `Event::RegisterResult`.
    pub fn register(&mut self, now: Timestamp, request: RegisterRequest) -> RegistrationId {
        self.registrations.register(&mut self.stack, now, request)
    }

    /// Takes a registration back; `Event::RegisterResult` with `Ok(0)` or the refusal follows, and nothing after it.
    pub fn unregister(&mut self, now: Timestamp, registration: RegistrationId) {
        self.registrations.unregister(&mut self.stack, now, registration);
    }

    /// Lets go of a registration that failed, without a word: no further attempt, no event.
    pub fn forget_registration(&mut self, registration: RegistrationId) {
        self.registrations.forget(&mut self.stack, registration);
    }

    /// Asks by OPTIONS whether a peer is there; one `Event::Probed` follows.
    pub fn probe(&mut self, now: Timestamp, target: &Target) -> ProbeId {
        probe::send(&mut self.stack, now, target)
    }

    // Queries.

    /// The session of the dialog that a peer wants replaced.
    pub fn replaced(&self, named: &Replaces) -> Option<SessionId> {
        self.sessions.replaced(named)
    }

    /// How a peer would name the dialog of this session, to have it replaced.
    pub fn replaces(&self, session: SessionId) -> Option<Replaces> {
        self.sessions.replaces(session)
    }

    /// Where a registered phone is reached, newest contact first.
    pub fn contacts_of(&self, tenant: &str, user: &str) -> Vec<Target> {
        self.registrar.contacts_of(&self.stack, tenant, user)
    }

    /// Tenant and user of the phone at the other end, where it registered by this very websocket: nobody else can write on it.
    pub fn owner_of(&self, flow: &Flow) -> Option<(&str, &str)> {
        let (tenant, user) = self.registrar.owner_of(flow.connection?)?;
        Some((tenant, user))
    }

    /// A target from a SIP URI whose host is an address: transport and port by RFC 3263 4 without DNS. `None` too where
    /// nothing listens on that transport.
    pub fn target_of(&self, uri: &str) -> Option<Target> {
        let (transport, remote) = Uri::parse(uri).ok()?.address()?;
        let flow = match transport {
            Some(transport) => self.stack.flow_to(transport, remote)?,
            None => [Transport::Udp, Transport::Tcp].into_iter().find_map(|kind| self.stack.flow_to(kind, remote))?,
        };
        Some(Target { uri: uri.to_owned(), flow })
    }

    /// Whether the session's peer can be told something without a stream being opened to it.
    pub fn is_reached(&self, session: SessionId) -> bool {
        self.sessions.is_reached(&self.stack, session)
    }

    /// Sessions that are not over.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Transactions that are not over; each ends by itself within 64*T1 of its last message.
    pub fn transactions(&self) -> usize {
        self.stack.transactions()
    }

    /// Where the phones that are registered came from.
    pub fn registered_from(&self) -> impl Iterator<Item = IpAddr> {
        self.stack.registered.values().map(|flow| flow.remote.ip())
    }

    /// Contacts registered here.
    pub fn registered(&self) -> usize {
        self.registrar.len()
    }

    // Outputs.

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.stack.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.stack.events.pop_front()
    }

    /// When `handle_deadline` is due next; `None` when nothing waits.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        self.stack.timers.next()
    }

    /// Tells the owner of every armed timer its key.
    fn name_timers(&mut self) {
        let Self { stack, sessions, registrar, registrations } = self;
        let armed: Vec<(TimerKey, Timer)> = stack.timers.armed().map(|(key, timer)| (key, *timer)).collect();
        for (key, timer) in armed {
            let slot = match timer {
                Timer::Client(id, letter) => stack.client_timer_slot(id, letter),
                Timer::Server(id, letter) => stack.server_timer_slot(id, letter),
                Timer::Session(id, timer) => sessions.timer_slot(id, timer),
                Timer::Binding(number) => registrar.timer_slot(number),
                Timer::Registration(id) => registrations.timer_slot(id),
            };
            if let Some(slot) = slot {
                *slot = Some(key);
            }
        }
    }

    fn unanswered(&mut self, now: Timestamp, user: User, code: u16) {
        let Self { stack, sessions, registrations, .. } = self;
        match user {
            User::Invite(id) => sessions.invite_failed(stack, now, id, code),
            User::Reinvite(id) => sessions.reinvite_failed(stack, now, id, code),
            User::Bye(id) => sessions.bye_answered(stack, now, id, code, None),
            User::Notify(id) => sessions.notify_answered(id, code),
            User::Refresh(id) => sessions.refreshed(stack, now, id, code, None),
            User::Registration(id) => registrations.failed(stack, now, id, code),
            User::Probe(probe) => stack.emit(Event::Probed { probe, alive: probe::is_alive(code) }),
            User::Nobody => {}
        }
    }
}

/// RFC 3261 8.1.3.1: no answer by timer B or F.
const TIMED_OUT: u16 = 408;
/// RFC 3261 8.1.3.1: the transport failed.
pub(crate) const UNREACHABLE: u16 = 503;
