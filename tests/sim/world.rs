//! One seed's world: time, the switch, and everyone around it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use cti_base::{AgentName, CallId, OfferId, Pii, Rng, TenantId, Timestamp};
use cti_media::{MediaCommand, MediaEvent};
use cti_sip::{DigestPolicy, EndpointConfig, Flow, Packet, SessionId, Transmit, Transport};
use cti_switch::desk::{AgentState, CallerRecords, Candidate, Command};
use cti_switch::{CommandId, Effect, Engine, EngineConfig, Fact, Input};

use crate::checks::{Desk, Fairness, Reach};
use crate::desk;
use crate::figures::Figures;
use crate::ledger::{Agent, Ledger};
use crate::media::{Meant, Workers, ensure};
use crate::node::{Node, Step};
use crate::profile::{Profile, QueueSettings, REALM, SWITCH, TRAFFIC, address};
use crate::streams::Streams;
use crate::ua::Ua;
use crate::wire::{Sent, Wire};

mod changes;
mod closing;
mod crash;
mod people;
mod tamper;

pub use tamper::Tamper;

/// 2026-11-23 08:00:00 in Shanghai.
const START_MS: u64 = 1_795_392_000_000;
/// After the traffic: wrap-ups, goodbyes and the last transactions.
const CALM: Duration = Duration::from_secs(240);
/// An INVITE without an answer is sent again for so long (64*T1, RFC 3261, 17.1.1.2).
const INVITE_MAX: Duration = Duration::from_secs(32);
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

    fn happen(&mut self, due: Due) -> Result<(), String> {
        let now = self.now;
        match due {
            Due::Commit => return self.commit(None),
            Due::Snapshot => return self.snapshot(),
            Due::Doom(how) => self.doom(how),
            Due::Crash(how) => return self.crash(how),
            Due::Restart => return self.restart(),
            Due::ToSwitch(packet) => return self.input(Input::Sip(packet)),
            Due::Input(input) => return self.input(*input),
            Due::ToUa(n, packet) => {
                if self.uas[n].deaf_until <= now {
                    self.uas[n].endpoint.handle_packet(now, packet);
                    self.pump(n);
                }
            }
            Due::NoStream(n, flow) => {
                self.uas[n].endpoint.transport_failed(now, flow);
                self.pump(n);
            }
            Due::Dial(caller) => self.dial(caller),
            Due::GiveUp(caller) => {
                let number = &self.profile.callers[caller].number;
                let story = self.ledger.by_number.get(number).map(|call| &self.ledger.calls[call]);
                if story.is_none_or(|story| story.answered.is_none()) {
                    self.caller_hangs_up(caller);
                }
            }
            Due::Digit(caller, digit) => {
                let call = self.ledger.by_number.get(&self.profile.callers[caller].number);
                let leg = call.and_then(|call| self.workers.customers.get(call)).filter(|(_, closed)| !closed);
                if let Some((leg, _)) = leg {
                    return self.input(Input::Media(MediaEvent::Digit { leg: *leg, digit }));
                }
            }
            Due::TalkOver(call, who) => {
                if matches!(who, WhoHangsUp::Caller | WhoHangsUp::Both) {
                    let caller = self.callers[&self.ledger.calls[&call].from];
                    self.caller_hangs_up(caller);
                }
                if matches!(who, WhoHangsUp::Phone | WhoHangsUp::Both)
                    && let Some((n, session)) = self.phone_of(call)
                {
                    self.uas[n].endpoint.hangup(now, session, None);
                    self.pump(n);
                }
            }
            Due::PhoneHold(call, held) => {
                if let Some((n, session)) = self.phone_of(call) {
                    self.uas[n].hold(now, session, held);
                    self.pump(n);
                }
            }
            Due::CallerHold(call, held) => {
                let caller = self.callers[&self.ledger.calls[&call].from];
                if let Some(session) = self.dialled.get(&caller).copied() {
                    let n = self.profile.callers[caller].tenant;
                    self.uas[n].hold(now, session, held);
                    self.pump(n);
                }
            }
            Due::Ring(n, session) => {
                self.uas[n].endpoint.ring(now, session, None);
                self.pump(n);
            }
            Due::Answer(n, session, broken) => {
                self.uas[n].answer(now, session, broken);
                self.pump(n);
            }
            Due::Refuse(n, session, code) => {
                self.uas[n].refuse(now, session, code);
                self.pump(n);
            }
            Due::Hangup(n, session) => {
                self.uas[n].endpoint.hangup(now, session, None);
                self.pump(n);
            }
            Due::Command(agent, command) => return self.command(agent, command),
            Due::State(n) => return self.change_state(n),
            Due::Desk(n, connected) => return self.desk(n, connected),
            Due::Register(n) => {
                let agent = self.profile.agents[n].clone();
                if let Some(secret) = agent.secret.clone() {
                    let (name, ua) = (agent.name.clone(), n + self.profile.carriers.len());
                    self.uas[ua].register(now, SWITCH, agent.transport(), name.as_str(), &secret);
                    self.pump(ua);
                }
            }
            Due::Deaf(n) => {
                let ua = n + self.profile.carriers.len();
                // Shorter than 64*T1: our BYE or CANCEL reaches it in the end.
                // What a stream carries is not lost.
                if !self.profile.agents[n].tcp {
                    self.uas[ua].deaf_until = now + Duration::from_millis(self.rng.below(20_000));
                }
            }
            Due::Redeclare => return self.redeclare(),
            Due::Garbage => return self.garbage(),
            Due::Drain => return self.input(Input::Drain),
            Due::Close => return self.input(Input::Close),
            Due::AllHangUp => {
                for caller in 0..self.profile.callers.len() {
                    self.caller_hangs_up(caller);
                }
                for n in 0..self.uas.len() {
                    self.uas[n].deaf_until = Timestamp::default();
                    // None of what a phone said may have come through: it could not be cancelled, and rings until it gives up.
                    for session in self.uas[n].ringing() {
                        self.uas[n].refuse(now, session, 480);
                    }
                    self.pump(n);
                }
            }
        }
        Ok(())
    }

    // The switch.

    /// What comes while the program is down comes for nobody.
    fn input(&mut self, input: Input) -> Result<(), String> {
        if self.node.is_down() {
            return Ok(());
        }
        self.inputs += 1;
        if self.trace {
            let at = self.now.since(Timestamp::from_millis(START_MS));
            match &input {
                Input::Sip(packet) => println!("{at:?} < {} {}", packet.flow.remote, first_line(&packet.bytes)),
                Input::Tick => {}
                other => println!("{at:?} < {}", short(&format!("{other:?}"))),
            }
        }
        if let Input::Media(event) = &input {
            self.workers.reported(event);
        }
        if self.node.is_moot(self.now, &input) {
            return Ok(());
        }
        if !self.node.has_open_group() {
            self.open_group();
        }
        let hash = self.node.handle(self.now, input)?;
        self.digest = (self.digest ^ hash).wrapping_mul(0x0100_0000_01b3);
        if self.may_be_seen_and_lost() {
            self.later(Duration::ZERO, Due::Crash(How::Lost));
        }
        Ok(())
    }

    /// The open group is durable, and what it wants is done: all of it, or so many effects before the program dies.
    fn commit(&mut self, most: Option<usize>) -> Result<(), String> {
        let mut left = most.unwrap_or(usize::MAX);
        self.presences.clear();
        for Step { at, is_restart, event, effects } in self.node.commit() {
            self.arming = is_restart;
            if is_restart {
                self.begin_again(at);
            }
            if let Some(event) = &event {
                self.workers.known(event);
            }
            for effect in effects {
                self.show(at, &effect);
                if let Effect::Media { call, command } = &effect {
                    let in_menu = self.ledger.is_in_menu(call);
                    let meant = if is_restart { Meant::Again { in_menu } } else { Meant::Anew };
                    self.workers.asked(*call, command, meant)?;
                }
                match effect {
                    // The journal has it, whatever becomes of the rest.
                    Effect::Fact(fact) => self.fact(at, fact)?,
                    effect if left > 0 => {
                        left -= 1;
                        self.carry_out(effect)?;
                    }
                    _ => {}
                }
            }
            if is_restart && left > 0 {
                self.workers.check_armed()?;
            }
        }
        self.arming = false;
        self.fairness.after(self.now, &self.ledger, &self.workers);
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Send(transmit) => self.send(&transmit),
            Effect::Media { call, command } => self.media(call, command),
            Effect::LookUp { tenant, call, number } => {
                let story = &self.ledger.calls[&call];
                ensure(story.tenant == tenant && story.from == *number.expose(), || {
                    format!("{call} is looked up as another's")
                })?;
                self.look_up(call);
                Ok(())
            }
            Effect::Offer { tenant, agent, offer } => {
                if self.once(Tamper::NoFrame) {
                    return Ok(());
                }
                let story = &self.ledger.calls[&offer.call_id];
                ensure(story.tenant == tenant, || {
                    format!("one tenant never sees another: {agent} of {tenant} is shown {}", offer.call_id)
                })?;
                ensure(offer.pop.number == Pii::new(story.from.clone()), || {
                    format!("the pop of {} shows another number", offer.call_id)
                })?;
                self.frames.insert(offer.offer_id);
                if self.rng.below(20) > 0 {
                    let after = Duration::from_millis(self.rng.below(30));
                    self.later(after, Due::Input(Box::new(Input::OfferShown { offer: offer.offer_id })));
                }
                let commands = desk::on_offer(&mut self.rng, offer.offer_id);
                self.commands_later(&(tenant, agent), commands);
                Ok(())
            }
            Effect::Desk { tenant, agent, event: _ } => {
                let key = (tenant, agent);
                let known = self.uas.iter().any(|ua| ua.agent.as_ref() == Some(&key));
                ensure(known, || format!("an event for {key:?}, who is nobody"))
            }
            Effect::Reply { id, result: _ } => {
                if self.dies_no_more() && self.once(Tamper::NoReply) {
                    return Ok(());
                }
                let known = self.unanswered.remove(&id);
                ensure(known.is_some(), || format!("command {id:?} is answered twice or was never given"))
            }
            Effect::CallbackAnswer { .. } => Ok(()),
            Effect::Fact(fact) => self.fact(self.now, fact),
            Effect::Measure(_) => Ok(()),
        }
    }

    fn send(&mut self, transmit: &Transmit) -> Result<(), String> {
        let sent = self.wire.sent(&transmit.bytes)?;
        let to = self.at.get(&transmit.flow.remote).copied();
        if let Sent::Invite { call } = sent {
            let agent = to.and_then(|n| self.uas[n].agent.clone());
            let agent = agent.ok_or_else(|| format!("an INVITE to {}, where no phone is", transmit.flow.remote))?;
            let story = CallId::parse(&call).and_then(|call| self.ledger.calls.get(&call));
            let story = story.ok_or_else(|| format!("a phone rings for {call}, which is unknown"))?;
            let mut offers = story.offers.iter().filter(|(_, name)| **name == agent.1 && story.tenant == agent.0);
            // The first INVITE died with the program, and its offer ended before it was sent again: there can be no CANCEL before
            // the phone has answered (RFC 3261, 9.1).
            let is_again = story.rung.contains(&agent.1) && self.now.since(self.ledger.restarted) < INVITE_MAX;
            match offers.next() {
                Some((offer, _)) => {
                    ensure(self.frames.contains(offer), || {
                        format!("{}'s phone rings for {call} before its frame", agent.1)
                    })?;
                }
                None => {
                    ensure(is_again, || format!("one agent, one offer: {} rings for {call} without an offer", agent.1))?
                }
            }
        }
        if self.tamper == Tamper::OtherFinal && transmit.bytes.starts_with(b"SIP/2.0 200") && self.wire.messages > 500 {
            let text = String::from_utf8_lossy(&transmit.bytes).replacen("SIP/2.0 200 OK", "SIP/2.0 486 Busy Here", 1);
            if text.contains(" INVITE\r\n") {
                self.wire.sent(text.as_bytes())?;
            }
        }
        let Some(n) = to else { return Ok(()) };
        if transmit.flow.transport == Transport::Tcp {
            self.streams.check(n, transmit.flow.connection)?;
            let connection = Some(self.streams.to(n).at_phone);
            let (local, remote) = (transmit.flow.remote, address(SWITCH));
            let flow = Flow { transport: Transport::Tcp, local, remote, connection };
            self.later(self.profile.network.delay, Due::ToUa(n, Packet { flow, bytes: transmit.bytes.clone() }));
            return Ok(());
        }
        let back =
            Flow { transport: Transport::Udp, local: transmit.flow.remote, remote: address(SWITCH), connection: None };
        for after in self.profile.network.copies(&mut self.rng) {
            self.later(after, Due::ToUa(n, Packet { flow: back, bytes: transmit.bytes.clone() }));
        }
        Ok(())
    }

    fn media(&mut self, call: CallId, command: MediaCommand) -> Result<(), String> {
        let is_close = matches!(command, MediaCommand::Close { .. });
        if is_close && self.dies_no_more() && self.once(Tamper::LeftLeg) {
            return Ok(());
        }
        if self.keeps_unarmed(&command) {
            return Ok(());
        }
        if let MediaCommand::Bridge { a, .. } = &command
            && self.once(Tamper::SecondWinner)
        {
            self.workers.asked(call, &MediaCommand::Bridge { a: *a, b: *a }, Meant::Anew)?;
        }
        let bad_ports = self.profile.bad_ports;
        for (after, event) in self.workers.obey(self.now, call, command, bad_ports, &mut self.rng)? {
            self.later(after, Due::Input(Box::new(Input::Media(event))));
        }
        Ok(())
    }

    fn look_up(&mut self, call: CallId) {
        let candidate = |n: u64| Candidate {
            customer_id: format!("c{n}"),
            name: format!("Customer {n}"),
            why: "phone".into(),
            confidence: 1.0,
            value_class: None,
            risk: None,
            company: None,
            products: Vec::new(),
            open_cases: Vec::new(),
            last_contacts: Vec::new(),
            last_agent: None,
        };
        let records = match self.rng.below(12) {
            0 => return,
            1 => None,
            n => Some(Box::new(CallerRecords { candidates: (0..n % 3).map(candidate).collect(), from_memory: false })),
        };
        let after = self.profile.records_after.mul_f64(2.0 * self.rng.unit());
        self.later(after, Due::Input(Box::new(Input::Caller { call, records })));
    }

    /// A fact of the input at `now`, as the journal has it.
    fn fact(&mut self, now: Timestamp, fact: Fact) -> Result<(), String> {
        let fact = match self.tampered(now, fact)? {
            Some(fact) => fact,
            None => return Ok(()),
        };
        if let Fact::AgentState { tenant, agent, state: AgentState::Offered, .. } = &fact {
            self.fairness.reserved(now, &self.ledger, &self.workers, &(tenant.clone(), agent.clone()));
        }
        self.ledger.fact(now, &fact)?;
        self.figures.fact(now, &fact);
        match fact {
            Fact::Offered { tenant, call, agent, .. } => {
                self.fairness.offered(now, &self.ledger, call, &(tenant, agent))?;
            }
            Fact::Answered { tenant, call, agent } => self.answered(tenant, call, agent),
            Fact::NodeEntered { call, .. } => self.fairness.gone(call),
            Fact::CallEnded { record } => {
                self.fairness.gone(record.id);
                if let Some(agent) = record.agent {
                    let commands = desk::on_wrapup(&mut self.rng, record.id);
                    self.commands_later(&(record.tenant, agent), commands);
                }
            }
            Fact::RecordingEnded { recording, gaps, .. } => {
                let known = self.workers.gaps.get(&recording).cloned().unwrap_or_default();
                ensure(gaps == known, || {
                    format!("{recording} ends with the gaps {gaps:?}, by the recorder {known:?}")
                })?;
            }
            Fact::CallStarted { .. }
            | Fact::Queued { .. }
            | Fact::QueueLeft { .. }
            | Fact::TalkEnded { .. }
            | Fact::Traced { .. }
            | Fact::OfferEnded { .. }
            | Fact::Held { .. }
            | Fact::RecordingStarted { .. }
            | Fact::WrapupEnded { .. }
            | Fact::CallbackRequested { .. }
            | Fact::CallbackAttempt { .. }
            | Fact::CallbackEnded { .. }
            | Fact::AgentState { .. } => {}
        }
        Ok(())
    }

    fn answered(&mut self, tenant: TenantId, call: CallId, agent: AgentName) {
        let ms = Duration::from_millis;
        let caller = &self.profile.callers[self.callers[&self.ledger.calls[&call].from]];
        let (talk, holds) = (caller.talk, caller.holds);
        let who = match self.rng.below(20) {
            0..=10 => WhoHangsUp::Caller,
            11..=18 => WhoHangsUp::Phone,
            _ => WhoHangsUp::Both,
        };
        self.later(talk, Due::TalkOver(call, who));
        // A phone that is deaf or was hung up on in the same moment does not end it: the caller does, in the end.
        self.later(talk + ms(30_000), Due::TalkOver(call, WhoHangsUp::Caller));
        if holds {
            self.later(talk.mul_f64(0.2), Due::CallerHold(call, true));
            self.later(talk.mul_f64(0.5), Due::CallerHold(call, false));
        }
        if self.rng.below(8) == 0 {
            self.later(talk.mul_f64(0.3), Due::PhoneHold(call, true));
            self.later(talk.mul_f64(0.7), Due::PhoneHold(call, false));
        }
        if self.rng.below(30) == 0
            && let Some((leg, _)) = self.workers.customers.get(&call)
        {
            let silent = Input::Media(MediaEvent::Silent { leg: *leg });
            self.later(talk.mul_f64(0.4), Due::Input(Box::new(silent)));
        }
        let commands = desk::on_answer(&mut self.rng, call);
        self.commands_later(&(tenant, agent), commands);
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
