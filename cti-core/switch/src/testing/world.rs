//! The switch with everything around it simulated: phones over real SIP bytes, media workers, records and desks. Time moves
//! by hand; the same seed is the same run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cti_base::{AgentName, CallId, LegId, RecordingId, Rng, TenantId, Timestamp};
use cti_media::webrtc::Edge;
use cti_media::{Gap, Hears, LegStats, MediaCommand, MediaEvent, PlayId, Recorded, Side};
use cti_sip::{ConnectionId, DigestPolicy, EndpointConfig, Flow, Packet, Transmit, Transport};

use super::phone::{Phone, Plan};
use crate::config::Tenant;
use crate::desk::{CallerRecords, Command, Event, Nack, OfferCreated};
use crate::fact::{CallRecord, Fact};
use crate::limits::TAKE_UP_MAX;
use crate::live::Live;
use crate::{
    Callback, CallbackAsk, CallbackRefusal, CommandId, Effect, Engine, EngineConfig, Input, Measure, Presence, Taken,
};

/// Where the switch listens.
pub const SWITCH: &str = "192.0.2.100:5060";

/// How the world around the switch behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One way, between any two.
    pub latency: Duration,
    /// Of a thousand datagrams so many are lost.
    pub loss_per_mille: u64,
    /// How long the records take to answer; `None`: never.
    pub records_after: Option<Duration>,
    pub records: CallerRecords,
    /// How long a desk's socket takes to be handed a frame; `None`: never.
    pub shown_after: Option<Duration>,
    /// How long each prompt plays.
    pub prompt: Duration,
    /// How long a worker takes to close a leg; `None`: never.
    pub closed_after: Option<Duration>,
    /// Ports that can not be bound.
    pub bad_ports: BTreeSet<u16>,
    /// How long a recording takes to be sealed, and whether it fails.
    pub sealed_after: Duration,
    pub recording_fails: bool,
    pub legs_max: usize,
    pub rtp_ports: std::ops::RangeInclusive<u16>,
    /// The engine is written down and read back before every so many inputs; 0: never.
    pub snapshot_every: u64,
    /// Before so many of a thousand steps the program dies, for a while.
    pub crash_per_mille: u64,
    /// The state's hash is looked at around each input that is said to do nothing.
    pub prove_nothing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            loss_per_mille: 0,
            records_after: Some(Duration::from_millis(3)),
            records: CallerRecords::default(),
            shown_after: Some(Duration::from_millis(1)),
            prompt: Duration::from_secs(1),
            closed_after: Some(Duration::from_millis(5)),
            bad_ports: BTreeSet::new(),
            sealed_after: Duration::from_millis(20),
            recording_fails: false,
            legs_max: 2_000,
            rtp_ports: 20_000..=29_999,
            snapshot_every: 0,
            crash_per_mille: 0,
            prove_nothing: false,
        }
    }
}

/// A leg as the simulated worker has it.
#[derive(Clone, Debug, Default)]
pub struct WorkerLeg {
    pub port: u16,
    pub connected: bool,
    pub hears: Vec<LegId>,
    pub playing: Option<(PlayId, Vec<String>, bool)>,
    pub muted: bool,
}

#[derive(Clone, Debug)]
enum Due {
    ToSwitch(Packet),
    ToPhone(SocketAddr, Packet),
    Input(Box<Input>),
}

/// Told of each input after it was handled, with the facts that came of it.
pub type Tap = Box<dyn FnMut(&Engine, Timestamp, &Input, &[(Timestamp, Fact)])>;

pub struct World {
    pub now: Timestamp,
    pub engine: Engine,
    pub settings: Settings,
    pub phones: BTreeMap<SocketAddr, Phone>,
    pub legs: BTreeMap<LegId, WorkerLeg>,
    pub recordings: BTreeMap<RecordingId, (CallId, Timestamp)>,
    /// Legs whose silence is to be told, after so many milliseconds.
    pub watched: BTreeMap<LegId, u32>,
    /// What goes into each side of a recording.
    pub sides: BTreeMap<(RecordingId, Side), Vec<LegId>>,
    /// Files that a crash left unsealed, and when it was.
    pub orphans: BTreeMap<RecordingId, Timestamp>,
    pub facts: Vec<(Timestamp, Fact)>,
    pub desk: Vec<(Timestamp, AgentName, Event)>,
    pub offers: Vec<(Timestamp, AgentName, Box<OfferCreated>)>,
    pub replies: BTreeMap<CommandId, Result<(), Nack>>,
    pub callback_answers: BTreeMap<CommandId, Result<Callback, CallbackRefusal>>,
    pub measures: Vec<Measure>,
    pub media: Vec<(Timestamp, MediaCommand)>,
    /// The newest message that the switch sent to each address.
    pub sent: BTreeMap<SocketAddr, bytes::Bytes>,
    /// Checks the engine's invariants after each input.
    pub checked: bool,
    pub tap: Option<Tap>,
    /// Another one is in force after the next crash.
    pub config: EngineConfig,
    inputs: u64,
    /// Inputs that did nothing.
    pub forgotten: u64,
    pub crashes: u64,
    due: BTreeMap<(Timestamp, u64), Due>,
    order: u64,
    commands: u64,
    rng: Rng,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> Self {
        let address: SocketAddr = SWITCH.parse().expect("an address");
        let sip = EndpointConfig {
            listeners: vec![(Transport::Udp, address), (Transport::Ws, address)],
            advertised: None,
            local_ip: address.ip(),
            local_ip6: None,
            digest: DigestPolicy::Md5,
            realm: "zongji".into(),
            user_agent: "Zongji".into(),
            sessions_max: 100_000,
            transactions_max: 100_000,
            registrations_max: 10_000,
        };
        let config = EngineConfig {
            sip,
            media_ip: address.ip(),
            media_loopback: false,
            rtp_ports: settings.rtp_ports.clone(),
            legs_max: settings.legs_max,
            browsers: Some(edge("sha-256 01:23")),
        };
        let mut rng = Rng::from_number(seed);
        let mut engine_seed = [0; 32];
        rng.fill(&mut engine_seed);
        Self {
            now: Timestamp::from_millis(START_MS),
            engine: Engine::new(config.clone(), engine_seed),
            config,
            inputs: 0,
            forgotten: 0,
            crashes: 0,
            settings,
            phones: BTreeMap::new(),
            legs: BTreeMap::new(),
            recordings: BTreeMap::new(),
            watched: BTreeMap::new(),
            sides: BTreeMap::new(),
            orphans: BTreeMap::new(),
            facts: Vec::new(),
            desk: Vec::new(),
            offers: Vec::new(),
            replies: BTreeMap::new(),
            callback_answers: BTreeMap::new(),
            measures: Vec::new(),
            media: Vec::new(),
            sent: BTreeMap::new(),
            checked: true,
            tap: None,
            due: BTreeMap::new(),
            order: 0,
            commands: 0,
            rng,
        }
    }

    pub fn declare(&mut self, tenant: Tenant) {
        self.input(Input::Declare(Arc::new(tenant)));
    }

    /// A phone at `address`, such as `192.0.2.1:6001`.
    pub fn add_phone(&mut self, address: &str, plan: Plan) -> SocketAddr {
        let address = address.parse().expect("an address");
        let seed = self.rng.next_u64();
        self.phones.insert(address, Phone::new(address, seed, plan));
        address
    }

    pub fn phone(&mut self, address: SocketAddr) -> &mut Phone {
        self.phones.get_mut(&address).expect("a phone at this address")
    }

    /// Lets the phone do something now and sends what comes of it.
    pub fn with_phone<T>(&mut self, address: SocketAddr, act: impl FnOnce(&mut Phone, Timestamp) -> T) -> T {
        let now = self.now;
        let result = act(self.phone(address), now);
        self.run_phone(address);
        result
    }

    pub fn desk_connects(&mut self, tenant: &str, agent: &str) {
        let (tenant, agent) = (TenantId::from(tenant), AgentName::from(agent));
        self.input(Input::DeskPresence { tenant, agent, presence: Presence::Connected });
    }

    pub fn desk_leaves(&mut self, tenant: &str, agent: &str) {
        let (tenant, agent) = (TenantId::from(tenant), AgentName::from(agent));
        self.input(Input::DeskPresence { tenant, agent, presence: Presence::Disconnected });
    }

    /// One command of a desk. The answer, once there is one, is in `replies`.
    pub fn command(&mut self, tenant: &str, agent: &str, command: Command) -> CommandId {
        self.commands += 1;
        let id = CommandId(self.commands);
        let (tenant, agent) = (TenantId::from(tenant), AgentName::from(agent));
        self.input(Input::Desk { tenant, agent, id, command });
        id
    }

    /// What a program asks about callbacks, and the answer.
    pub fn ask_callback(&mut self, tenant: &str, ask: CallbackAsk) -> Result<Callback, CallbackRefusal> {
        self.commands += 1;
        let id = CommandId(self.commands);
        self.input(Input::Callback { tenant: TenantId::from(tenant), id, ask });
        self.callback_answers.get(&id).cloned().expect("an answer at once")
    }

    pub fn live(&self, tenant: &str) -> Live {
        self.engine.live(self.now).remove(&TenantId::from(tenant)).expect("a declared tenant")
    }

    /// The records of all calls that have ended, in order.
    pub fn records(&self) -> Vec<&CallRecord> {
        self.facts
            .iter()
            .filter_map(|(_, fact)| match fact {
                Fact::CallEnded { record } => Some(&**record),
                _ => None,
            })
            .collect()
    }

    /// Raw bytes to the switch as one datagram from `from`, now.
    pub fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let local = SWITCH.parse().expect("an address");
        let flow = Flow { transport: Transport::Udp, local, remote: from, connection: None };
        self.input(Input::Sip(Packet { flow, bytes: bytes::Bytes::copy_from_slice(bytes) }));
    }

    pub fn run_for(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(at) = self.next_event().filter(|at| *at <= end) {
            self.step(at);
        }
        self.now = self.now.max(end);
    }

    /// Runs until `done` or for `most`; whether it was done.
    pub fn run_until(&mut self, most: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + most;
        loop {
            if done(self) {
                return true;
            }
            let Some(at) = self.next_event().filter(|at| *at <= end) else {
                self.now = self.now.max(end);
                return done(self);
            };
            self.step(at);
        }
    }

    /// The program dies and is not there for so long: media legs, sockets and what was sent meanwhile are lost. Then a new
    /// one takes up its state.
    pub fn crash(&mut self, down: Duration) {
        self.crashes += 1;
        let snapshot = self.engine.snapshot();
        self.legs.clear();
        self.orphans.extend(std::mem::take(&mut self.recordings).into_keys().map(|recording| (recording, self.now)));
        let end = self.now + down;
        // The shell's own answers die with it; what is on its way to it finds nobody.
        self.due.retain(|_, due| matches!(due, Due::ToPhone(..)));
        while let Some(at) = self.next_outside().filter(|at| *at < end) {
            self.now = at.max(self.now);
            self.step_outside();
            self.due.retain(|_, due| matches!(due, Due::ToPhone(..)));
        }
        self.now = end;
        self.engine = Engine::restore(self.config.clone(), &snapshot).expect("its own snapshot");
        self.input(Input::Restarted);
    }

    pub fn input(&mut self, input: Input) {
        self.inputs += 1;
        if self.settings.snapshot_every > 0 && self.inputs.is_multiple_of(self.settings.snapshot_every) {
            self.read_back();
        }
        let told = self.tap.is_some().then(|| (input.clone(), self.facts.len()));
        let before = self.settings.prove_nothing.then(|| self.engine.state_hash());
        let taken = self.engine.handle(self.now, input);
        if taken == Taken::Nothing {
            self.forgotten += 1;
            assert!(self.engine.is_drained(), "an effect of nothing");
            assert!(before.is_none_or(|before| before == self.engine.state_hash()), "nothing changed the state");
        }
        while let Some(effect) = self.engine.poll_effect() {
            self.carry_out(effect);
        }
        if let (Some(tap), Some((input, facts))) = (&mut self.tap, told) {
            tap(&self.engine, self.now, &input, &self.facts[facts..]);
        }
        if self.checked
            && let Err(broken) = self.engine.check_invariants(self.now)
        {
            panic!("at {}: {broken}", self.now);
        }
    }

    /// The engine goes through its own snapshot.
    fn read_back(&mut self) {
        let snapshot = self.engine.snapshot();
        let restored = Engine::restore(self.config.clone(), &snapshot).expect("its own snapshot");
        assert!(restored.snapshot() == snapshot, "the same state is written down the same");
        assert_eq!(restored.poll_deadline(), self.engine.poll_deadline());
        self.engine = restored;
    }

    fn next_event(&self) -> Option<Timestamp> {
        [self.next_outside(), self.engine.poll_deadline()].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    /// When something is next due outside the switch.
    fn next_outside(&self) -> Option<Timestamp> {
        let phones = self.phones.values().filter_map(Phone::next_deadline).min();
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        [phones, due].into_iter().flatten().min()
    }

    fn step(&mut self, at: Timestamp) {
        self.now = at;
        if self.settings.crash_per_mille > 0 && self.rng.below(1000) < self.settings.crash_per_mille {
            let down_ms = match self.rng.below(20) {
                0 => TAKE_UP_MAX.as_millis() as u64 + 1_000,
                1..=3 => self.rng.below(60_000),
                _ => self.rng.below(1_500),
            };
            self.crash(Duration::from_millis(down_ms));
            return;
        }
        if !self.step_outside() {
            self.input(Input::Tick);
        }
    }

    /// One thing that is due outside the switch; whether there was one.
    fn step_outside(&mut self) -> bool {
        let at = self.now;
        if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= at) {
            match entry.remove() {
                Due::ToSwitch(packet) => self.input(Input::Sip(packet)),
                Due::Input(input) => self.input(*input),
                Due::ToPhone(address, packet) => {
                    if let Some(phone) = self.phones.get_mut(&address) {
                        phone.receive(at, packet);
                    }
                    self.run_phone(address);
                }
            }
            return true;
        }
        let due_phone = self.phones.iter().find(|(_, phone)| phone.next_deadline().is_some_and(|due| due <= at));
        let due_phone = due_phone.map(|(address, _)| *address);
        if let Some(address) = due_phone {
            self.run_phone(address);
        }
        due_phone.is_some()
    }

    fn run_phone(&mut self, address: SocketAddr) {
        let now = self.now;
        let Some(phone) = self.phones.get_mut(&address) else { return };
        let out = phone.run(now);
        for Transmit { flow, bytes } in out {
            // A phone has one websocket, and keeps it.
            let connection = (flow.transport == Transport::Ws).then(|| ConnectionId(u64::from(address.port())));
            let back = Flow { transport: flow.transport, local: flow.remote, remote: address, connection };
            self.post(Due::ToSwitch(Packet { flow: back, bytes }));
        }
    }

    /// One datagram on its way, unless it is lost.
    fn post(&mut self, datagram: Due) {
        let latency = self.settings.latency;
        if self.rng.below(1000) >= self.settings.loss_per_mille {
            self.later(latency, datagram);
        }
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.order += 1;
        self.due.insert((self.now + after, self.order), due);
    }

    fn later_input(&mut self, after: Duration, input: Input) {
        self.later(after, Due::Input(Box::new(input)));
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(Transmit { flow, bytes }) => {
                self.sent.insert(flow.remote, bytes.clone());
                let back = Flow { transport: flow.transport, local: flow.remote, remote: flow.local, connection: None };
                self.post(Due::ToPhone(flow.remote, Packet { flow: back, bytes }));
            }
            Effect::Media { call: _, command } => {
                self.media.push((self.now, command.clone()));
                self.work(command);
            }
            Effect::LookUp { tenant: _, call, number: _ } => {
                if let Some(after) = self.settings.records_after {
                    let records = Some(Box::new(self.settings.records.clone()));
                    self.later_input(after, Input::Caller { call, records });
                }
            }
            Effect::Offer { tenant: _, agent, offer } => {
                if let Some(after) = self.settings.shown_after {
                    self.later_input(after, Input::OfferShown { offer: offer.offer_id });
                }
                self.offers.push((self.now, agent, offer));
            }
            Effect::Desk { tenant: _, agent, event } => self.desk.push((self.now, agent, event)),
            Effect::Reply { id, result } => {
                assert!(self.replies.insert(id, result).is_none(), "command {id:?} was answered twice");
            }
            Effect::CallbackAnswer { id, result } => {
                assert!(self.callback_answers.insert(id, *result).is_none(), "{id:?} was answered twice");
            }
            Effect::Fact(fact) => self.facts.push((self.now, fact)),
            Effect::Measure(measure) => self.measures.push(measure),
        }
    }

    /// The media worker's part; panics where the switch asks for what can not be.
    fn work(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Open { leg, call: _, rtp_port } => {
                assert!(rtp_port % 2 == 0 && self.settings.rtp_ports.contains(&rtp_port), "port {rtp_port}");
                assert!(self.legs.values().all(|other| other.port != rtp_port), "port {rtp_port} is in use");
                if self.settings.bad_ports.contains(&rtp_port) {
                    let reason = "address in use".to_owned();
                    let event = MediaEvent::OpenFailed { leg, reason };
                    self.later_input(Duration::from_millis(1), Input::Media(event));
                    return;
                }
                let fresh = self.legs.insert(leg, WorkerLeg { port: rtp_port, ..WorkerLeg::default() });
                assert!(fresh.is_none(), "leg {leg} is opened twice");
            }
            MediaCommand::OpenBrowser { leg, .. } => {
                let fresh = self.legs.insert(leg, WorkerLeg::default());
                assert!(fresh.is_none(), "leg {leg} is opened twice");
            }
            MediaCommand::Connect { leg, media: _ } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.connected = true;
                }
            }
            MediaCommand::Room { hears } => {
                for Hears { leg, from } in hears {
                    assert!(from.iter().all(|other| *other != leg), "leg {leg} is to hear itself");
                    if let Some(leg) = self.legs.get_mut(&leg) {
                        leg.hears = from;
                    }
                }
            }
            MediaCommand::Play { leg, play, audio, repeat } => {
                let names = audio.iter().map(|part| format!("{part:?}")).collect();
                let length = self.settings.prompt * audio.len() as u32;
                if let Some(known) = self.legs.get_mut(&leg) {
                    known.playing = Some((play, names, repeat));
                    if !repeat {
                        self.later_input(length, Input::Media(MediaEvent::Played { leg, play }));
                    }
                }
            }
            MediaCommand::Stop { leg } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.playing = None;
                }
            }
            // What was asked is in `media`.
            MediaCommand::Press { leg: _, digits: _ } => {}
            MediaCommand::Mute { leg, muted } => {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.muted = muted;
                }
            }
            MediaCommand::Record { recording, call, tenant: _, started: _ } => {
                self.recordings.insert(recording, (call, self.now));
            }
            MediaCommand::RecordFrom { recording, side, legs } => {
                let is_open = |leg: &LegId| self.legs.contains_key(leg) || !self.settings.bad_ports.is_empty();
                assert!(legs.iter().all(is_open), "recording of no leg");
                self.sides.insert((recording, side), legs);
            }
            MediaCommand::RecordStop { recording } => {
                let (_, since) = self.recordings.remove(&recording).expect("a recording that runs");
                self.seal(recording, since, self.now);
            }
            MediaCommand::Resume { recording, call, tenant: _, started } => {
                let crashed = self.orphans.remove(&recording).expect("a recording that was cut off");
                self.recordings.insert(recording, (call, started));
                let ms = |at: Timestamp| at.since(started).as_millis() as u64;
                let gap = Gap { from_ms: ms(crashed), to_ms: ms(self.now) };
                let event = MediaEvent::RecordingResumed { recording, gap };
                self.later_input(self.settings.sealed_after, Input::Media(event));
            }
            MediaCommand::Seal { recording, call: _, tenant: _, started } => {
                let end = self.orphans.remove(&recording).unwrap_or(self.now);
                self.seal(recording, started, end);
            }
            MediaCommand::Watch { leg, quiet_ms } => {
                self.watched.insert(leg, quiet_ms);
            }
            MediaCommand::Close { leg } => {
                let known = self.legs.remove(&leg);
                for other in self.legs.values_mut() {
                    other.hears.retain(|heard| *heard != leg);
                }
                if let (Some(after), Some(_)) = (self.settings.closed_after, known) {
                    let stats = LegStats { packets_in: 1, packets_out: 1, ..LegStats::default() };
                    self.later_input(after, Input::Media(MediaEvent::Closed { leg, stats }));
                }
            }
        }
    }

    fn seal(&mut self, recording: RecordingId, since: Timestamp, end: Timestamp) {
        let event = if self.settings.recording_fails {
            MediaEvent::RecordingFailed { recording, reason: "no space left".into() }
        } else {
            let duration_ms = end.since(since).as_millis() as u64;
            let file = Recorded {
                path: format!("{recording}.wav"),
                duration_ms,
                channels: 2,
                bytes: 44 + 32 * duration_ms,
                sha256: "0".repeat(64),
                incomplete: None,
            };
            MediaEvent::RecordingSealed { recording, file }
        };
        self.later_input(self.settings.sealed_after, Input::Media(event));
    }
}

/// 2026-11-23 08:00:00 in Shanghai, a Monday.
pub const START_MS: u64 = 1_795_392_000_000;

/// Where browsers reach the switch, by a certificate of this fingerprint.
pub fn edge(fingerprint: &str) -> Edge {
    let fingerprint = fingerprint.parse().expect("a fingerprint");
    Edge { addresses: vec!["192.0.2.1:20999".parse().expect("an address")], streams: true, fingerprint }
}
