//! The phone's thread: sockets, timers, the 20 ms tick.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use cti_sip::{
    DigestPolicy, Endpoint, EndpointConfig, Flow, Packet, RegisterRequest, RegistrationId, SessionId, Target, Transmit,
    Transport,
};
use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use super::audio::Audio;
use super::streams::Streams;
use super::timers::{Due, Timers};
use super::{
    CALLS_MAX, CallNumber, CallScript, Command, Direction, Figures, LINES_MAX, Line, LineConfig, PhoneConfig,
    PhoneError, PhoneEvent, Register, STOP_WAIT,
};
use crate::clock;

const WAKER: Token = Token(0);
const EVENTS_MAX: usize = 1_024;
const TICK: Duration = Duration::from_millis(20);
/// Ticks made up for when the thread was late; more are left out.
const LATE_TICKS_MAX: usize = 5;
/// The kernel's buffer of a line's socket: a burst of some hundred messages.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;
const DATAGRAM_LEN_MAX: usize = 65_535;
/// Errors read from a line's socket before the others have their turn.
const SOCKET_ERRORS_MAX: usize = 64;

pub(crate) type Listener = Box<dyn FnMut(PhoneEvent) + Send>;

pub(crate) struct Worker {
    poll: Poll,
    waker: Arc<Waker>,
    inbox: Receiver<Command>,
    events: Listener,
    figures: Arc<Mutex<Figures>>,
    pub(crate) numbers: Arc<AtomicU64>,
    pub(crate) lines: Vec<LineState>,
    streams: Streams,
    pub(crate) calls: BTreeMap<CallNumber, Call>,
    pub(crate) by_session: BTreeMap<(Line, SessionId), CallNumber>,
    pub(crate) timers: Timers,
    pub(crate) rng: Rng,
    /// Calls whose audio flows; the tick runs while there are any.
    pub(crate) audible: usize,
    pub(crate) tick_at: Option<Timestamp>,
    pub(crate) stop_at: Option<Timestamp>,
    /// Files written for `save`.
    pub(crate) saved: u64,
}

pub(crate) struct LineState {
    pub(crate) config: LineConfig,
    pub(crate) address: SocketAddr,
    /// What stands in SDP.
    pub(crate) media_ip: IpAddr,
    pub(crate) endpoint: Endpoint,
    socket: LineSocket,
    pub(crate) incoming: usize,
    pub(crate) registration: Option<RegistrationId>,
    /// Whether it was accepted at least once.
    pub(crate) registered: bool,
}

enum LineSocket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

pub(crate) struct Call {
    pub(crate) line: Line,
    pub(crate) session: SessionId,
    pub(crate) direction: Direction,
    pub(crate) peer: String,
    pub(crate) phase: Phase,
    pub(crate) script: CallScript,
    pub(crate) audio: Audio,
    pub(crate) connected: bool,
    /// Of the descriptions we sent.
    pub(crate) sdp_version: u64,
    /// The caller's offer, until it is answered.
    pub(crate) offer: Option<Bytes>,
    pub(crate) began: Timestamp,
    pub(crate) answered: Option<Timestamp>,
    pub(crate) digits: String,
    pub(crate) ended_here: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Dialling,
    Ringing,
    Up,
    /// We hung up and wait for the other side's agreement.
    Ending,
}

impl Worker {
    pub(crate) fn new(
        config: PhoneConfig,
        inbox: Receiver<Command>,
        figures: Arc<Mutex<Figures>>,
        numbers: Arc<AtomicU64>,
        events: Listener,
    ) -> Result<Self, PhoneError> {
        let poll = Poll::new().map_err(PhoneError::Start)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(PhoneError::Start)?);
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(|error| PhoneError::Start(io::Error::other(error.to_string())))?;
        let mut rng = Rng::from_seed(seed);
        let mut lines = Vec::with_capacity(config.lines.len().min(LINES_MAX));
        for (index, line) in config.lines.into_iter().enumerate() {
            let address = line.listen;
            let mut state = open_line(line, &mut rng).map_err(|source| PhoneError::Listen { address, source })?;
            let token = Token(1 + index);
            let watched = match &mut state.socket {
                LineSocket::Udp(socket) => poll.registry().register(socket, token, Interest::READABLE),
                LineSocket::Tcp(socket) => poll.registry().register(socket, token, Interest::READABLE),
            };
            watched.map_err(PhoneError::Start)?;
            lines.push(state);
        }
        Ok(Self {
            poll,
            waker,
            inbox,
            events,
            figures,
            numbers,
            lines,
            streams: Streams::default(),
            calls: BTreeMap::new(),
            by_session: BTreeMap::new(),
            timers: Timers::default(),
            rng,
            audible: 0,
            tick_at: None,
            stop_at: None,
            saved: 0,
        })
    }

    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.lines.iter().map(|line| line.address).collect()
    }

    pub(crate) fn run(mut self) {
        let now = clock::now();
        for line in 0..self.lines.len() {
            self.register(now, line);
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_over() {
            if let Err(error) = self.poll.poll(&mut events, self.wait(clock::now()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the phone can not wait for its sockets");
                break;
            }
            for event in &events {
                match event.token() {
                    WAKER => self.obey(),
                    Token(token) if token <= self.lines.len() => self.line_ready(token - 1),
                    token => self.stream_ready(token),
                }
            }
            self.pass_time(clock::now());
        }
        self.abandon_calls();
    }

    /// Nothing is left to do after a stop, or its time is up.
    fn is_over(&self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let quiet = self.calls.is_empty() && self.lines.iter().all(|line| line.registration.is_none());
        quiet || clock::now() >= stop_at
    }

    fn wait(&self, now: Timestamp) -> Option<Duration> {
        [self.timers.next(), self.tick_at, self.stop_at].into_iter().flatten().min().map(|at| at.since(now))
    }

    fn obey(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            let now = clock::now();
            match command {
                Command::Dial(call, plan) => self.dial(now, call, *plan),
                Command::Answer(call) => self.answer(now, call),
                Command::Hangup(call) => self.hang_up(now, call),
                Command::Press(call, digits) => {
                    if let Some(call) = self.calls.get_mut(&call) {
                        call.audio.press(&digits);
                    }
                }
                Command::Stop => self.stop(now),
            }
        }
    }

    fn stop(&mut self, now: Timestamp) {
        self.stop_at = Some(now + STOP_WAIT);
        for call in self.calls.keys().copied().collect::<Vec<_>>() {
            self.hang_up(now, call);
        }
        for line in 0..self.lines.len() {
            if let Some(registration) = self.lines[line].registration {
                self.lines[line].endpoint.unregister(now, registration);
                self.settle(now, line);
            }
        }
    }

    fn pass_time(&mut self, now: Timestamp) {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Line(line) => {
                    self.lines[line].endpoint.handle_deadline(now);
                    self.settle(now, line);
                }
                Due::Answer(call) => self.answer(now, call),
                Due::Hangup(call) | Due::GiveUp(call) => self.hang_up(now, call),
                Due::Press(call) => {
                    if let Some(call) = self.calls.get_mut(&call)
                        && let Some((_, digits)) = &call.script.digits
                    {
                        call.audio.press(digits);
                    }
                }
            }
        }
        self.tick(now);
    }

    /// The audio of every call, once for each 20 ms that passed.
    fn tick(&mut self, now: Timestamp) {
        if self.audible == 0 {
            self.tick_at = None;
            return;
        }
        let mut at = self.tick_at.unwrap_or(now);
        let mut digits = Vec::new();
        for _ in 0..LATE_TICKS_MAX {
            if at > now {
                break;
            }
            at = at + TICK;
            for (number, call) in &mut self.calls {
                if call.connected {
                    call.audio.tick(|digit| digits.push((*number, digit)));
                }
            }
        }
        self.tick_at = Some(if at > now { at } else { now + TICK });
        for (call, digit) in digits {
            self.heard_digit(call, digit);
        }
    }

    fn line_ready(&mut self, line: Line) {
        let now = clock::now();
        let mut buffer = [0u8; DATAGRAM_LEN_MAX];
        let mut errors = 0;
        while errors < SOCKET_ERRORS_MAX {
            let state = &mut self.lines[line];
            let local = state.address;
            match &state.socket {
                LineSocket::Udp(socket) => match socket.recv_from(&mut buffer) {
                    Ok((length, remote)) => {
                        let flow = Flow { transport: Transport::Udp, local, remote, connection: None };
                        let bytes = Bytes::copy_from_slice(&buffer[..length]);
                        state.endpoint.handle_packet(now, Packet { flow, bytes });
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP error of an earlier datagram, or an interruption: the next read tells.
                    Err(_) => errors += 1,
                },
                LineSocket::Tcp(listener) => match listener.accept() {
                    Ok((tcp, remote)) => self.streams.accept(self.poll.registry(), line, local, tcp, remote),
                    Err(_) => break,
                },
            }
            self.settle(now, line);
        }
    }

    fn stream_ready(&mut self, token: Token) {
        let now = clock::now();
        let Some(line) = self.streams.line_of(token) else { return };
        loop {
            let progress = self.streams.ready(token);
            let endpoint = &mut self.lines[line].endpoint;
            for packet in progress.packets {
                endpoint.handle_packet(now, packet);
            }
            if let Some(closed) = progress.closed {
                if closed.unsent {
                    endpoint.transport_failed(now, closed.flow);
                }
                endpoint.connection_closed(now, closed.connection);
            }
            self.settle(now, line);
            if !progress.again {
                return;
            }
        }
    }

    /// Sends what a line's endpoint wants sent, hears what it has to tell, and sets its next deadline.
    pub(crate) fn settle(&mut self, now: Timestamp, line: Line) {
        loop {
            while let Some(transmit) = self.lines[line].endpoint.poll_transmit() {
                self.transmit(now, line, &transmit);
            }
            match self.lines[line].endpoint.poll_event() {
                Some(event) => self.on_event(now, line, event),
                None => break,
            }
        }
        self.timers.set(Due::Line(line), self.lines[line].endpoint.poll_deadline());
    }

    fn transmit(&mut self, now: Timestamp, line: Line, transmit: &Transmit) {
        let Transmit { flow, bytes } = transmit;
        let state = &mut self.lines[line];
        let sent = match &state.socket {
            LineSocket::Udp(socket) => match socket.send_to(bytes, flow.remote) {
                // A full buffer is a lost datagram: it is sent again by its transaction.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                sent => sent.map(drop),
            },
            LineSocket::Tcp(_) => self.streams.send(self.poll.registry(), line, *flow, bytes),
        };
        if let Err(error) = sent {
            tracing::debug!(remote = %flow.remote, %error, "the phone could not send");
            if flow.transport != Transport::Udp {
                state.endpoint.transport_failed(now, *flow);
            }
        }
    }

    fn register(&mut self, now: Timestamp, line: Line) {
        let state = &mut self.lines[line];
        let Some(Register { registrar, domain, user, secret, expires_s }) = state.config.register.clone() else {
            return;
        };
        let target = state.endpoint.target_of(&registrar);
        let Some(Target { uri, flow }) = target else {
            self.count(|figures| figures.register_failed += 1);
            return self.emit(PhoneEvent::Registered { line, result: Err(400) });
        };
        let request = RegisterRequest {
            registrar: Target { uri, flow },
            aor: format!("sip:{user}@{domain}"),
            user,
            secret,
            expires_s,
        };
        state.registration = Some(state.endpoint.register(now, request));
        self.settle(now, line);
    }

    pub(crate) fn emit(&mut self, event: PhoneEvent) {
        (self.events)(event);
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn open_line(config: LineConfig, rng: &mut Rng) -> io::Result<LineState> {
    let (socket, address) = match config.transport {
        Transport::Udp => {
            let socket = Socket::new(Domain::for_address(config.listen), Type::DGRAM, Some(Protocol::UDP))?;
            // A smaller buffer than wished for is no error.
            let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
            socket.set_nonblocking(true)?;
            socket.bind(&config.listen.into())?;
            let socket = UdpSocket::from_std(socket.into());
            let address = socket.local_addr()?;
            (LineSocket::Udp(socket), address)
        }
        Transport::Tcp => {
            let listener = TcpListener::bind(config.listen)?;
            let address = listener.local_addr()?;
            (LineSocket::Tcp(listener), address)
        }
        Transport::Tls | Transport::Ws | Transport::Wss => {
            return Err(io::Error::other("a phone's transport is udp or tcp"));
        }
    };
    let media_ip = if address.ip().is_unspecified() { outward_ip() } else { address.ip() };
    let mut seed = [0u8; 32];
    rng.fill(&mut seed);
    let endpoint = Endpoint::new(
        EndpointConfig {
            listeners: vec![(config.transport, address)],
            advertised: None,
            local_ip: media_ip,
            local_ip6: None,
            digest: DigestPolicy::Both,
            realm: "zongji".into(),
            user_agent: concat!("zongji-phone/", env!("CARGO_PKG_VERSION")).into(),
            sessions_max: CALLS_MAX,
            transactions_max: 8 * CALLS_MAX,
            registrations_max: 1,
        },
        Rng::from_seed(seed),
    );
    Ok(LineState { config, address, media_ip, endpoint, socket, incoming: 0, registration: None, registered: false })
}

/// The address this machine has towards the world: the one a datagram would leave from (nothing is sent).
fn outward_ip() -> IpAddr {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let Ok(probe) = StdUdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return loopback };
    // An address of the documentation (RFC 5737).
    let reached = probe.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| probe.local_addr());
    reached.map_or(loopback, |address| address.ip())
}
