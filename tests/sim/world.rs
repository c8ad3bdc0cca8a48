//! One seed's world: time, the switch, and everyone around it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use cti_base::{CallId, OfferId, Rng, Timestamp};
use cti_sip::{DigestPolicy, EndpointConfig, Flow, Packet, SessionId, Transport};
use cti_switch::desk::Command;
use cti_switch::{CommandId, Effect, Engine, EngineConfig, Input};

use crate::checks::{Desk, Fairness, Reach};
use crate::figures::Figures;
use crate::ledger::{Agent, Ledger};
use crate::media::Workers;
use crate::node::Node;
use crate::profile::{Profile, QueueSettings, REALM, SWITCH, TRAFFIC, address};
use crate::streams::Streams;
use crate::ua::Ua;
use crate::wire::Wire;

mod callbacks;
mod changes;
mod closing;
mod crash;
mod doing;
mod facts;
mod happening;
mod people;
mod tamper;

pub use tamper::Tamper;

/// 2026-11-23 08:00:00 in Shanghai.
const START_MS: u64 = 1_795_392_000_000;
/// After the traffic: wrap-ups, goodbyes and the last transactions.
const CALM: Duration = Duration::from_secs(240);
const STRANGER: &str = "198.51.100.9:5060";

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub calls: usize,
    pub inputs: u64,
    /// A hash of every effect in order.
    pub digest: u64,
    pub outcomes: BTreeMap<String, usize>,
    pub offer_ends: BTreeSet<String>,
    pub callback_ends: BTreeSet<String>,
    pub crashes: usize,
}

#[derive(Debug)]
enum Due {
    /// The open group is durable.
    Commit,
    Snapshot,
    /// The program dies with the next group.
    Doom(How),
    Crash(How),
    Restart,
    ToSwitch(Packet),
    ToUa(usize, Packet),
    /// A phone finds no program to open a stream to.
    NoStream(usize, Flow),
    Input(Box<Input>),
    Dial(usize),
    GiveUp(usize),
    Digit(usize, char),
    TalkOver(CallId, WhoHangsUp),
    PhoneHold(CallId, bool),
    CallerHold(CallId, bool),
    Ring(usize, SessionId),
    Answer(usize, SessionId, bool),
    Refuse(usize, SessionId, u16),
    Hangup(usize, SessionId),
    Command(Agent, Command),
    State(usize),
    Desk(usize, bool),
    Register(usize),
    Deaf(usize),
    /// The called customer has waited long enough.
    Tires(usize, SessionId),
    Schedule,
    CancelOne,
    CancelAll,
    Redeclare,
    Garbage,
    Drain,
    Close,
    AllHangUp,
}

/// How the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With no group open, or before the open one is durable.
    Lost,
    /// The open group is durable, and not all that it wanted is done.
    Unsaid,
    /// Another binary takes over from a snapshot.
    Upgrade,
    /// For longer than calls are taken up.
    Long,
}

#[derive(Clone, Copy, Debug)]
enum WhoHangsUp {
    Caller,
    Phone,
    Both,
}

pub struct World {
    now: Timestamp,
    end: Timestamp,
    node: Node,
    doomed: Option<How>,
    crashes: usize,
    /// When the last durable input came, before those of the present process.
    last_alive: Timestamp,
    /// What a restart wants done is being done.
    arming: bool,
    profile: Profile,
    settings: Vec<QueueSettings>,
    rng: Rng,
    /// Carriers first, then the agents in the profile's order.
    uas: Vec<Ua>,
    at: BTreeMap<SocketAddr, usize>,
    due: BTreeMap<(Timestamp, u64), Due>,
    order: u64,
    /// The callers' sessions by their place in the profile, and whose caller a number is.
    dialled: BTreeMap<usize, SessionId>,
    callers: BTreeMap<String, usize>,
    commands: u64,
    unanswered: BTreeMap<CommandId, (Agent, Command)>,
    /// What was asked of callbacks and is not answered.
    asks: BTreeSet<CommandId>,
    frames: BTreeSet<OfferId>,
    /// What was known of desks before the inputs that are not durable.
    presences: Vec<(Agent, Option<Desk>)>,
    removed_queues: bool,
    ledger: Ledger,
    figures: Figures,
    workers: Workers,
    fairness: Fairness,
    wire: Wire,
    streams: Streams,
    tamper: Tamper,
    inputs: u64,
    digest: u64,
    trace: bool,
}

impl World {
    pub fn new(seed: u64, tamper: Tamper, trace: bool) -> Self {
        let mut rng = Rng::from_number(seed);
        let profile = Profile::drawn(&mut rng);
        let switch = address(SWITCH);
        let sip = EndpointConfig {
            listeners: vec![(Transport::Udp, switch), (Transport::Tcp, switch)],
            advertised: None,
            local_ip: switch.ip(),
            local_ip6: None,
            digest: DigestPolicy::Md5,
            realm: REALM.into(),
            user_agent: "Zongji".into(),
            sessions_max: 10_000,
            transactions_max: 100_000,
            registrations_max: 1_000,
        };
        let config = EngineConfig {
            sip,
            media_ip: switch.ip(),
            media_loopback: false,
            rtp_ports: 20_000..=20_399,
            legs_max: 200,
            browsers: None,
        };
        let mut engine_seed = [0; 32];
        rng.fill(&mut engine_seed);
        let mut uas: Vec<Ua> = profile.carriers.iter().map(|a| Ua::new(*a, None, &mut rng)).collect();
        for agent in &profile.agents {
            uas.push(Ua::new(agent.address, Some((agent.tenant.clone(), agent.name.clone())), &mut rng));
        }
        let at = uas.iter().enumerate().map(|(n, ua)| (ua.address, n)).collect();
        let now = Timestamp::from_millis(START_MS);
        let settings = vec![profile.queue_settings.clone(); profile.tenants.len()];
        Self {
            now,
            end: now + TRAFFIC + CALM,
            node: Node::new(config, engine_seed),
            doomed: None,
            crashes: 0,
            last_alive: now,
            arming: false,
            callers: profile.callers.iter().enumerate().map(|(n, c)| (c.number.clone(), n)).collect(),
            profile,
            settings,
            rng,
            uas,
            at,
            due: BTreeMap::new(),
            order: 0,
            dialled: BTreeMap::new(),
            commands: 0,
            unanswered: BTreeMap::new(),
            asks: BTreeSet::new(),
            frames: BTreeSet::new(),
            presences: Vec::new(),
            removed_queues: false,
            ledger: Ledger::default(),
            figures: Figures::default(),
            workers: Workers::default(),
            fairness: Fairness::default(),
            wire: Wire::default(),
            streams: Streams::default(),
            tamper,
            inputs: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            trace,
        }
    }

    pub fn run(mut self) -> Result<Outcome, String> {
        let result = self.run_all();
        let now = self.now.since(Timestamp::from_millis(START_MS));
        result.map_err(|what| format!("at {now:?}: {what}"))
    }

    fn run_all(&mut self) -> Result<Outcome, String> {
        self.set_up()?;
        while let Some(at) = self.next().filter(|at| *at <= self.end) {
            self.now = at.max(self.now);
            if !self.node.is_down() {
                self.fairness.before(self.now, &self.ledger, &self.workers)?;
            }
            self.step()?;
        }
        self.now = self.end;
        self.close()
    }

    fn set_up(&mut self) -> Result<(), String> {
        for tenant in 0..self.profile.tenants.len() {
            self.declare(tenant, None)?;
        }
        for n in 0..self.profile.agents.len() {
            let agent = self.profile.agents[n].clone();
            let reach = Reach { desk: None, phone: agent.secret.is_none() };
            self.fairness.reach.insert((agent.tenant, agent.name), reach);
            let soon = Duration::from_millis(self.rng.below(3_000));
            if agent.secret.is_some() {
                self.later(soon, Due::Register(n));
            }
            if agent.desk {
                self.later(soon, Due::Desk(n, true));
            }
            self.later(soon + Duration::from_millis(10), Due::State(n));
        }
        for (n, at) in self.profile.callers.iter().map(|c| c.at).enumerate().collect::<Vec<_>>() {
            self.later(at, Due::Dial(n));
        }
        for at in self.profile.redeclares.clone() {
            self.later(at, Due::Redeclare);
        }
        for at in self.profile.schedules.clone() {
            self.later(at, Due::Schedule);
        }
        for at in self.profile.cancels.clone() {
            self.later(at, Due::CancelOne);
        }
        for at in self.profile.garbage.clone() {
            self.later(at, Due::Garbage);
        }
        if let Some(at) = self.profile.drain_at {
            self.later(at, Due::Drain);
        }
        if let Some(at) = self.profile.close_at {
            self.later(at, Due::Close);
        }
        if self.profile.bad_phones > 0 {
            for n in 0..self.profile.agents.len() {
                let at = TRAFFIC.mul_f64(self.rng.unit());
                self.later(at, Due::Deaf(n));
            }
        }
        for (at, how) in self.profile.crashes.clone() {
            self.later(at, Due::Doom(how));
        }
        self.later(self.profile.snapshot_every, Due::Snapshot);
        self.later(TRAFFIC, Due::AllHangUp);
        Ok(())
    }

    fn next(&self) -> Option<Timestamp> {
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        let uas = self.uas.iter().filter_map(|ua| ua.endpoint.poll_deadline()).min();
        [due, uas, self.node.engine().and_then(Engine::poll_deadline)].into_iter().flatten().min()
    }

    fn step(&mut self) -> Result<(), String> {
        let now = self.now;
        if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let due = entry.remove();
            return self.happen(due);
        }
        if let Some(n) = self.uas.iter().position(|ua| ua.endpoint.poll_deadline().is_some_and(|at| at <= now)) {
            self.uas[n].endpoint.handle_deadline(now);
            self.pump(n);
            return Ok(());
        }
        self.input(Input::Tick)
    }

    // Tools.

    fn later(&mut self, after: Duration, due: Due) {
        self.order += 1;
        self.due.insert((self.now + after, self.order), due);
    }

    /// Onto the screen, where asked for.
    fn show(&self, at: Timestamp, effect: &Effect) {
        if self.trace {
            let at = at.since(Timestamp::from_millis(START_MS));
            match effect {
                Effect::Send(transmit) => println!("{at:?} > {} {}", transmit.flow.remote, first_line(&transmit.bytes)),
                Effect::Fact(fact) => println!("{at:?} ! {}", short(&serde_json::to_string(fact).unwrap_or_default())),
                other => println!("{at:?} > {}", short(&format!("{other:?}"))),
            }
        }
    }
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let find = |name: &str| text.lines().find(|l| l.starts_with(name)).unwrap_or_default().to_owned();
    format!("{} [{} {}]", text.lines().next().unwrap_or_default(), find("Call-ID"), find("CSeq"))
}

fn short(text: &str) -> String {
    text.chars().take(400).collect()
}
