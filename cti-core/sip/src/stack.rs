//! What every usage stands on: the two transaction tables, the timers, and the queues out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use serde::{Deserialize, Serialize};

use crate::saved::is_default;
use crate::timer::{TimerKey, Timers};
use crate::transaction::{
    Client, ClientKind, Deadlines, Fired, Letter, Received, Repeated, Server, ServerKind, ServerState,
};
use crate::wire::{Message, Uri, Via, canonical};
use crate::{
    ConnectionId, EndpointConfig, Event, Flow, ProbeId, RegistrationId, SessionId, Target, Transmit, Transport,
};

/// A client transaction of ours; its branch carries it, so an answer finds it without a search by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerId(u64);

/// Whom a client transaction works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum User {
    Invite(SessionId),
    Reinvite(SessionId),
    Bye(SessionId),
    Notify(SessionId),
    /// UPDATE that says that the session lives.
    Refresh(SessionId),
    Registration(RegistrationId),
    Probe(ProbeId),
    /// CANCEL, PRACK, and BYE to a fork nobody waits for.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionTimer {
    /// Our 2xx goes out again.
    Repeat,
    /// No ACK came for our 2xx.
    AckWait,
    /// The provisional answer goes out again.
    Refresh,
    /// The re-INVITE that met another is tried again.
    Glare,
    /// The cancelled INVITE had no final answer.
    CancelWait,
    /// The session is to be refreshed, or theirs did not come (RFC 4028).
    Lasting,
    /// Our provisional answer that was not acknowledged goes out again (RFC 3262).
    Reliable,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Timer {
    Client(ClientId, Letter),
    Server(ServerId, Letter),
    Session(SessionId, SessionTimer),
    Binding(u64),
    Registration(RegistrationId),
}

impl Timer {
    /// Whether it ends a wait for a peer's message. The others say when we send.
    pub const fn is_wait(&self) -> bool {
        match self {
            Self::Client(_, letter) | Self::Server(_, letter) => matches!(letter, Letter::End),
            Self::Session(_, timer) => {
                matches!(timer, SessionTimer::AckWait | SessionTimer::CancelWait | SessionTimer::Lasting)
            }
            Self::Binding(_) | Self::Registration(_) => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct ClientEntry {
    fsm: Client,
    cookie: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    cancel: bool,
    pub flow: Flow,
    pub request: Bytes,
    pub user: User,
    /// The ACK of a 2xx with the tag it was for, sent again when that 2xx comes again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<(String, Transmit)>,
    #[serde(skip)]
    retransmit: Option<TimerKey>,
    #[serde(skip)]
    end: Option<TimerKey>,
}

#[derive(Serialize, Deserialize)]
pub struct ServerEntry {
    fsm: Server,
    flow: Flow,
    /// The Via's port: where a response goes when its connection is gone (RFC 3261 18.2.2).
    reply_port: Option<u16>,
    /// The last one, while it may have to go out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<Bytes>,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged: Option<String>,
    /// The session an INVITE belongs to, for CANCEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    #[serde(skip)]
    retransmit: Option<TimerKey>,
    #[serde(skip)]
    end: Option<TimerKey>,
}

/// What a request is to the server transactions.
pub enum Matched {
    /// It repeats one, and was dealt with.
    Repeated,
    /// No transaction has it.
    New,
}

#[derive(Serialize, Deserialize)]
pub struct Stack {
    #[serde(skip, default = "EndpointConfig::none")]
    pub config: EndpointConfig,
    pub rng: Rng,
    pub timers: Timers<Timer>,
    #[serde(skip)]
    pub transmits: VecDeque<Transmit>,
    #[serde(skip)]
    pub events: VecDeque<Event>,
    clients: BTreeMap<ClientId, ClientEntry>,
    /// Client transactions by where they went, for `transport_failed`.
    #[serde(skip)]
    by_remote: BTreeSet<(Transport, SocketAddr, ClientId)>,
    servers: BTreeMap<ServerId, ServerEntry>,
    #[serde(skip)]
    server_keys: BTreeMap<String, ServerId>,
    /// Requests without To tag by From tag, Call-ID and CSeq: the same again by another way is 482 (RFC 3261 8.2.2.2).
    #[serde(skip)]
    merged_keys: BTreeMap<String, ServerId>,
    open: BTreeSet<ConnectionId>,
    /// Peers that did not take a request by TCP, at most [`NO_TCP_MAX`].
    #[serde(default)]
    no_tcp: BTreeSet<SocketAddr>,
    /// By which flow a contact was registered, by its `Uri::place`: in dialogs phones leave out the user, or have another. The registrar's, and made anew from it.
    #[serde(skip)]
    pub registered: BTreeMap<String, Flow>,
    counter: u64,
    /// Seeds the tags of stateless answers.
    tag_key: u64,
}

impl Stack {
    pub fn new(config: EndpointConfig, mut rng: Rng) -> Self {
        let tag_key = rng.next_u64();
        Self {
            config,
            rng,
            timers: Timers::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            clients: BTreeMap::new(),
            by_remote: BTreeSet::new(),
            servers: BTreeMap::new(),
            server_keys: BTreeMap::new(),
            merged_keys: BTreeMap::new(),
            open: BTreeSet::new(),
            no_tcp: BTreeSet::new(),
            registered: BTreeMap::new(),
            counter: 0,
            tag_key,
        }
    }

    /// Takes its config, and makes anew what follows from the state.
    pub fn restored(&mut self, config: EndpointConfig) {
        self.config = config;
        let place = |(id, entry): (&ClientId, &ClientEntry)| (entry.flow.transport, entry.flow.remote, *id);
        self.by_remote = self.clients.iter().map(place).collect();
        self.server_keys = self.servers.iter().map(|(id, entry)| (entry.key.clone(), *id)).collect();
        let merged = |(id, entry): (&ServerId, &ServerEntry)| entry.merged.clone().map(|merged| (merged, *id));
        self.merged_keys = self.servers.iter().filter_map(merged).collect();
    }

    /// The place of a client transaction's timer.
    pub fn client_timer_slot(&mut self, id: ClientId, letter: Letter) -> Option<&mut Option<TimerKey>> {
        let ClientEntry { retransmit, end, .. } = self.clients.get_mut(&id)?;
        Some(match letter {
            Letter::Retransmit => retransmit,
            Letter::End => end,
        })
    }

    /// The place of a server transaction's timer.
    pub fn server_timer_slot(&mut self, id: ServerId, letter: Letter) -> Option<&mut Option<TimerKey>> {
        let ServerEntry { retransmit, end, .. } = self.servers.get_mut(&id)?;
        Some(match letter {
            Letter::Retransmit => retransmit,
            Letter::End => end,
        })
    }

    /// The connections of the old process are closed, and its numbers may come again for others. What a stream may have lost goes
    /// out by a new one: a request without its final answer, and a refusal of an INVITE without its ACK. The transactions of the
    /// peers are found by their branches, whatever stream these come by (RFC 3261 17.1.3, 17.2.3). Datagrams have their timers.
    pub fn restarted(&mut self) {
        self.open.clear();
        let mut again = Vec::new();
        for entry in self.clients.values_mut() {
            entry.flow.connection = None;
            if let Some((_, ack)) = &mut entry.ack {
                ack.flow.connection = None;
            }
            if entry.fsm.reliable && entry.fsm.is_waiting() {
                again.push((entry.flow, entry.request.clone()));
            }
        }
        let mut answers = Vec::new();
        for entry in self.servers.values_mut() {
            entry.flow.connection = None;
            if entry.fsm.reliable
                && entry.fsm.state == ServerState::Completed
                && let Some(response) = &entry.response
            {
                answers.push((entry.flow, entry.reply_port, response.clone()));
            }
        }
        for (flow, request) in again {
            self.send(flow, request);
        }
        for (flow, reply_port, response) in answers {
            self.send(self.reply_flow(flow, reply_port), response);
        }
    }

    pub fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.transmits.push_back(Transmit { flow, bytes });
    }

    pub fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub fn transactions(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    pub fn is_full(&self) -> bool {
        self.transactions() >= self.config.transactions_max
    }

    /// A number never used before in this run.
    pub fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    // Addresses.

    pub fn saw(&mut self, flow: Flow) {
        if let Some(connection) = flow.connection {
            self.open.insert(connection);
        }
    }

    pub fn closed(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
    }

    pub fn is_open(&self, flow: &Flow) -> bool {
        flow.connection.is_some_and(|connection| self.open.contains(&connection))
    }

    /// Where a stream is gone: the one by which the same contact registered since, from the same address.
    pub fn registered_again(&self, contact: &str, gone: &Flow) -> Option<Flow> {
        let place = Uri::parse(contact).ok()?.place();
        let same = |flow: &&Flow| flow.transport == gone.transport && flow.remote.ip() == gone.remote.ip();
        self.registered.get(&place).filter(same).filter(|flow| self.is_open(flow)).copied()
    }

    /// What stands for us in Via and Contact on a flow.
    pub fn host(&self, flow: &Flow) -> SocketAddr {
        let (local, remote) = (canonical(flow.local.ip()), canonical(flow.remote.ip()));
        let advertised = self.config.advertised.filter(|ip| ip.is_ipv4() == remote.is_ipv4());
        let ip = match advertised {
            Some(advertised) => advertised,
            None if !local.is_unspecified() => local,
            // A wildcard socket is reached by a peer on this machine at the address that it came from itself.
            None if remote.is_loopback() => remote,
            None => self.config.local_ip6.filter(|_| remote.is_ipv6()).map_or(self.config.local_ip, IpAddr::V6),
        };
        SocketAddr::new(ip, self.port(flow))
    }

    fn port(&self, flow: &Flow) -> u16 {
        match flow.transport {
            Transport::Udp => flow.local.port(),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                let same = |(transport, _): &&(Transport, SocketAddr)| *transport == flow.transport;
                let here = |(_, listener): &&(Transport, SocketAddr)| *listener == flow.local;
                let listeners = &self.config.listeners;
                let found = listeners.iter().filter(same).find(here).or_else(|| listeners.iter().find(same));
                found.map_or(flow.local.port(), |(_, listener)| listener.port())
            }
        }
    }

    /// Contact's value; the user part for a phone that registers.
    pub fn contact(&self, flow: &Flow, user: &str) -> String {
        let host = self.host(flow);
        let at = if user.is_empty() { "" } else { "@" };
        let transport = match flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        format!("<sip:{}{at}{host}{transport}>", crate::wire::escape_user(user))
    }

    /// A flow to an address by a listener of its transport and family.
    pub fn flow_to(&self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        let of = |(kind, _): &&(Transport, SocketAddr)| *kind == transport;
        let remote = SocketAddr::new(canonical(remote.ip()), remote.port());
        let family = |(_, local): &&(Transport, SocketAddr)| canonical(local.ip()).is_ipv4() == remote.is_ipv4();
        let (_, listener) = self.config.listeners.iter().filter(of).find(family)?;
        let local = match transport {
            Transport::Udp => *listener,
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => SocketAddr::new(listener.ip(), 0),
        };
        Some(Flow { transport, local, remote, connection: None })
    }

    /// The way of a request that is too long for a datagram (RFC 3261 18.1.1): TCP, where nobody said UDP, the peer is
    /// not one behind an address translator, and did not refuse it before.
    pub fn tcp_instead(&self, target: &Target) -> Option<Flow> {
        let remote = target.flow.remote;
        if target.flow.transport != Transport::Udp || self.no_tcp.contains(&remote) {
            return None;
        }
        let (transport, address) = Uri::parse(&target.uri).ok()?.address()?;
        let open = transport.is_none() && address == remote;
        open.then(|| self.flow_to(Transport::Tcp, remote)).flatten()
    }

    /// Forgets all of them where they become too many: they are asked once more then.
    pub fn takes_no_tcp(&mut self, remote: SocketAddr) {
        if self.no_tcp.len() >= NO_TCP_MAX {
            self.no_tcp.clear();
        }
        self.no_tcp.insert(remote);
    }

    // Client transactions.

    /// Names a client transaction to come. Even numbers; its CANCEL is the odd one that follows.
    pub fn begin(&mut self) -> (ClientId, u32) {
        let id = ClientId(self.next_number() * 2);
        (id, self.rng.next_u32())
    }

    /// The Via of a request on `flow`.
    pub fn via(&self, flow: &Flow, (id, cookie): (ClientId, u32)) -> String {
        let transport = match flow.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        };
        format!("SIP/2.0/{transport} {};rport;branch={BRANCH_COOKIE}{:x}.{cookie:08x}", self.host(flow), id.0)
    }

    pub fn start_client(
        &mut self,
        now: Timestamp,
        (id, cookie): (ClientId, u32),
        kind: ClientKind,
        flow: Flow,
        request: Bytes,
        user: User,
    ) {
        let (fsm, deadlines) = Client::new(kind, flow.transport != Transport::Udp);
        self.send(flow, request.clone());
        let entry = ClientEntry {
            fsm,
            cookie,
            cancel: false,
            flow,
            request,
            user,
            ack: None,
            retransmit: deadlines.retransmit.map(|d| self.timers.arm(now + d, Timer::Client(id, Letter::Retransmit))),
            end: deadlines.end.map(|d| self.timers.arm(now + d, Timer::Client(id, Letter::End))),
        };
        self.by_remote.insert((flow.transport, flow.remote, id));
        self.clients.insert(id, entry);
    }

    /// CANCEL of an INVITE (RFC 3261 9.1): the same branch, so the same number with its cancel twin.
    pub fn cancel(&mut self, now: Timestamp, invite: ClientId) {
        let twin = ClientId(invite.0 | 1);
        let Some(entry) = self.clients.get(&invite) else { return };
        let (flow, cookie) = (entry.flow, entry.cookie);
        let request = derived(&entry.request, "CANCEL", None);
        self.start_client(now, (twin, cookie), ClientKind::NonInvite, flow, request, User::Nobody);
        if let Some(entry) = self.clients.get_mut(&twin) {
            entry.cancel = true;
        }
    }

    pub fn client(&self, id: ClientId) -> Option<&ClientEntry> {
        self.clients.get(&id)
    }

    pub fn set_ack(&mut self, id: ClientId, tag: String, ack: Transmit) {
        self.transmits.push_back(ack.clone());
        if let Some(entry) = self.clients.get_mut(&id) {
            entry.ack = Some((tag, ack));
        }
    }

    pub fn remove_client(&mut self, id: ClientId) -> Option<ClientEntry> {
        let mut entry = self.clients.remove(&id)?;
        self.timers.cancel(&mut entry.retransmit);
        self.timers.cancel(&mut entry.end);
        self.by_remote.remove(&(entry.flow.transport, entry.flow.remote, id));
        Some(entry)
    }

    /// Finds a response's transaction by the branch and method of RFC 3261 17.1.3, and runs it. `Some` is for the user.
    pub fn receive(&mut self, now: Timestamp, flow: Flow, code: u16, message: &Message) -> Option<(ClientId, User)> {
        let (number, cookie) = message.via.branch().strip_prefix(BRANCH_COOKIE)?.split_once('.')?;
        let number = u64::from_str_radix(number, 16).ok()?;
        let cookie = u32::from_str_radix(cookie, 16).ok()?;
        let cancel = message.cseq.method.is(rsip::Method::Cancel);
        let id = ClientId(if cancel { number | 1 } else { number });
        let entry = self.clients.get_mut(&id).filter(|entry| entry.cookie == cookie && entry.cancel == cancel)?;
        if entry.fsm.kind == ClientKind::Invite && !message.cseq.method.is(rsip::Method::Invite) {
            return None;
        }
        if entry.flow.connection.is_none() && flow.connection.is_some() && flow.transport == entry.flow.transport {
            entry.flow.connection = flow.connection;
        }
        let Received { deliver, ack, deadlines } = entry.fsm.receive(code);
        let user = entry.user;
        if ack {
            let to = message.first(|h| matches!(h, rsip::headers::Header::To(_)));
            let transmit = Transmit { flow: entry.flow, bytes: derived(&entry.request, "ACK", to) };
            self.transmits.push_back(transmit);
        } else if deliver
            && code >= 200
            && let Some((tag, ack)) = &entry.ack
        {
            let same = message.to.tag().unwrap_or("") == tag;
            if same {
                self.transmits.push_back(ack.clone());
                return None;
            }
        }
        if let Some(deadlines) = deadlines {
            self.arm_client(now, id, deadlines);
        }
        deliver.then_some((id, user))
    }

    /// New deadlines of a client transaction. One that ends at once does so at the next `handle_deadline`, after its user was told.
    fn arm_client(&mut self, now: Timestamp, id: ClientId, deadlines: Deadlines) {
        let Some(entry) = self.clients.get_mut(&id) else { return };
        self.timers.cancel(&mut entry.retransmit);
        self.timers.cancel(&mut entry.end);
        entry.retransmit =
            deadlines.retransmit.map(|d| self.timers.arm(now + d, Timer::Client(id, Letter::Retransmit)));
        entry.end = deadlines.end.map(|d| self.timers.arm(now + d, Timer::Client(id, Letter::End)));
    }

    /// Fires a client transaction's deadline. `Some(user)` had no answer.
    pub fn fire_client(&mut self, now: Timestamp, id: ClientId, letter: Letter) -> Option<User> {
        let entry = self.clients.get_mut(&id)?;
        match entry.fsm.fire(letter) {
            Fired::SendAgain(interval) => {
                self.transmits.push_back(Transmit { flow: entry.flow, bytes: entry.request.clone() });
                entry.retransmit = Some(self.timers.arm(now + interval, Timer::Client(id, Letter::Retransmit)));
                None
            }
            Fired::TimedOut => self.remove_client(id).map(|entry| entry.user),
            Fired::Done => {
                self.remove_client(id);
                None
            }
            Fired::Nothing => None,
        }
    }

    /// Takes away the unanswered client transactions to a peer that can not be reached.
    pub fn fail_remote(&mut self, flow: Flow) -> Vec<User> {
        let range = (flow.transport, flow.remote, ClientId(0))..=(flow.transport, flow.remote, ClientId(u64::MAX));
        let ids: Vec<ClientId> = self.by_remote.range(range).map(|(_, _, id)| *id).collect();
        let waiting = |stack: &Self, id: &ClientId| stack.clients.get(id).is_some_and(|entry| entry.fsm.is_waiting());
        let ids: Vec<ClientId> = ids.into_iter().filter(|id| waiting(self, id)).collect();
        ids.into_iter().filter_map(|id| self.remove_client(id)).map(|entry| entry.user).collect()
    }

    // Server transactions.

    /// Matches a request (RFC 3261 17.2.3) and runs the transaction that it repeats or acknowledges.
    pub fn match_request(&mut self, now: Timestamp, message: &Message, flow: Flow) -> Matched {
        let ack = message.cseq.method.is(rsip::Method::Ack);
        let key = server_key(message, if ack { "INVITE" } else { message.cseq.method.as_str() }, flow);
        let Some(id) = self.server_keys.get(&key).copied() else { return Matched::New };
        let Some(entry) = self.servers.get_mut(&id) else { return Matched::New };
        if ack {
            // An ACK of a 2xx with the INVITE's branch is wrong, and is taken: it belongs to the dialog.
            if entry.fsm.state == ServerState::Accepted {
                return Matched::New;
            }
            if let Some(deadlines) = entry.fsm.acknowledge() {
                self.arm_server(now, id, deadlines);
            }
            return Matched::Repeated;
        }
        if entry.fsm.repeat() == Repeated::SendAgain
            && let Some(response) = entry.response.clone()
        {
            entry.flow = flow;
            self.send(flow, response);
        }
        Matched::Repeated
    }

    /// Whether the same request came by another way.
    pub fn is_merged(&self, message: &Message) -> bool {
        message.to.tag().is_none() && self.merged_keys.contains_key(&merged_key(message))
    }

    pub fn start_server(&mut self, message: &Message, flow: Flow, session: Option<SessionId>) -> ServerId {
        let id = ServerId(self.next_number());
        let invite = message.cseq.method.is(rsip::Method::Invite);
        let kind = if invite { ServerKind::Invite } else { ServerKind::NonInvite };
        let key = server_key(message, message.cseq.method.as_str(), flow);
        let merged = message.to.tag().is_none().then(|| merged_key(message));
        self.server_keys.insert(key.clone(), id);
        if let Some(merged) = &merged {
            self.merged_keys.insert(merged.clone(), id);
        }
        let entry = ServerEntry {
            fsm: Server::new(kind, flow.transport != Transport::Udp),
            flow,
            reply_port: message.via.port,
            response: None,
            key,
            merged,
            session,
            retransmit: None,
            end: None,
        };
        self.servers.insert(id, entry);
        id
    }

    /// The INVITE transaction that a CANCEL names.
    pub fn cancelled(&self, message: &Message, flow: Flow) -> Option<&ServerEntry> {
        let id = self.server_keys.get(&server_key(message, "INVITE", flow))?;
        self.servers.get(id)
    }

    /// Sends a response within its transaction; nothing where a final one was sent already.
    pub fn respond(&mut self, now: Timestamp, id: ServerId, code: u16, response: Bytes) {
        let Some(entry) = self.servers.get_mut(&id) else { return };
        let Some(deadlines) = entry.fsm.respond(code) else { return };
        // A 2xx to INVITE is repeated by its session (RFC 6026 7.1).
        entry.response = (entry.fsm.state != ServerState::Accepted).then(|| response.clone());
        let (flow, reply_port) = (entry.flow, entry.reply_port);
        let flow = self.reply_flow(flow, reply_port);
        self.send(flow, response);
        self.arm_server(now, id, deadlines);
    }

    /// Where a response goes: back where the request came from, or by a new connection to the Via's port where that one is gone.
    pub fn reply_flow(&self, flow: Flow, reply_port: Option<u16>) -> Flow {
        if flow.transport == Transport::Udp || self.is_open(&flow) {
            return flow;
        }
        let remote = SocketAddr::new(flow.remote.ip(), reply_port.unwrap_or(crate::wire::SIP_PORT));
        Flow { remote, connection: None, ..flow }
    }

    fn arm_server(&mut self, now: Timestamp, id: ServerId, deadlines: Deadlines) {
        let Some(entry) = self.servers.get_mut(&id) else { return };
        self.timers.cancel(&mut entry.retransmit);
        self.timers.cancel(&mut entry.end);
        if deadlines.end.is_some_and(|end| end.is_zero()) {
            self.remove_server(id);
            return;
        }
        entry.retransmit =
            deadlines.retransmit.map(|d| self.timers.arm(now + d, Timer::Server(id, Letter::Retransmit)));
        entry.end = deadlines.end.map(|d| self.timers.arm(now + d, Timer::Server(id, Letter::End)));
    }

    pub fn fire_server(&mut self, now: Timestamp, id: ServerId, letter: Letter) {
        let Some(entry) = self.servers.get_mut(&id) else { return };
        match entry.fsm.fire(letter) {
            Fired::SendAgain(interval) => {
                let (flow, response) = (entry.flow, entry.response.clone());
                entry.retransmit = Some(self.timers.arm(now + interval, Timer::Server(id, Letter::Retransmit)));
                if let Some(response) = response {
                    self.send(flow, response);
                }
            }
            // An ACK that never comes (timer H) leaves a refused call; there is nothing more to undo.
            Fired::TimedOut | Fired::Done => self.remove_server(id),
            Fired::Nothing => {}
        }
    }

    fn remove_server(&mut self, id: ServerId) {
        let Some(mut entry) = self.servers.remove(&id) else { return };
        self.timers.cancel(&mut entry.retransmit);
        self.timers.cancel(&mut entry.end);
        self.server_keys.remove(&entry.key);
        if let Some(merged) = entry.merged {
            self.merged_keys.remove(&merged);
        }
    }

    /// Whether a branch names a client transaction of ours that still runs: our own request came back.
    pub fn is_own_branch(&self, via: &Via) -> bool {
        let number = via.branch().strip_prefix(BRANCH_COOKIE).and_then(|rest| rest.split_once('.'));
        number.is_some_and(|(number, cookie)| {
            let (id, cookie) = (u64::from_str_radix(number, 16), u32::from_str_radix(cookie, 16));
            match (id, cookie) {
                (Ok(id), Ok(cookie)) => self.clients.get(&ClientId(id)).is_some_and(|entry| entry.cookie == cookie),
                _ => false,
            }
        })
    }

    /// A tag for stateless answers: the same for the same request (RFC 3261 8.2.7).
    pub fn stateless_tag(&self, message_key: &[&str]) -> String {
        // FNV-1a 64 with a secret start.
        let mut hash = self.tag_key ^ 0xcbf2_9ce4_8422_2325;
        for byte in message_key.iter().flat_map(|part| part.bytes().chain(std::iter::once(0))) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        format!("{hash:016x}")
    }
}

const NO_TCP_MAX: usize = 1_024;

/// RFC 3261 8.1.1.7.
const BRANCH_COOKIE: &str = "z9hG4bK";

fn server_key(message: &Message, method: &str, flow: Flow) -> String {
    let via = &message.via;
    let port = via.port.unwrap_or(0);
    let branch = via.branch();
    if branch.len() > BRANCH_COOKIE.len() && branch.starts_with(BRANCH_COOKIE) {
        return format!("{branch} {}:{port} {method}", via.host);
    }
    // RFC 2543: no branch to go by. The To tag is left out, as the ACK has one and the INVITE has none.
    let from = message.from.tag().unwrap_or("");
    format!("{} {from} {} {}:{port} {} {method}", message.call_id, message.cseq.number, via.host, flow.remote)
}

fn merged_key(message: &Message) -> String {
    let from = message.from.tag().unwrap_or("");
    format!("{} {from} {} {}", message.call_id, message.cseq.number, message.cseq.method)
}

/// ACK (of 300 or more) or CANCEL from our own INVITE: the same request URI, Via, Route, From, Call-ID and CSeq number.
fn derived(request: &Bytes, method: &str, to: Option<&str>) -> Bytes {
    // Our own writing: UTF-8, one line a header, long names.
    let text = String::from_utf8_lossy(request);
    let mut lines = text.split("\r\n");
    let uri = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("");
    let mut out = crate::wire::Builder::request(method, uri);
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "Via" | "Route" | "From" | "Call-ID" | "Max-Forwards" => {
                out.line(name, value);
            }
            "To" => {
                out.line(name, to.unwrap_or(value));
            }
            "CSeq" => {
                let number = value.split(' ').next().unwrap_or("");
                out.line(name, &format!("{number} {method}"));
            }
            _ => {}
        }
    }
    out.end()
}
