//! The engine: what happened comes in, what to do goes out. The rules between calls, queues and agents are `impl Engine`
//! blocks beside the aggregate that they begin at: `call/` and `acd/`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use cti_acd::Acd;
use cti_base::{AgentName, CallId, LegId, OfferId, RecordingId, Rng, TenantId, Timestamp};
use cti_media::ports::PortPool;
use cti_media::webrtc::Edge;
use cti_media::{Gap, MediaCommand, MediaEvent};
use cti_sip::{Endpoint, EndpointConfig, Event, SessionId};
use serde::{Deserialize, Serialize};

use crate::acd::agent::{Agent, Desk};
use crate::acd::queue::Queue;
use crate::call::{Call, Ending, Scripts};
use crate::callback::Callbacks;
use crate::config::TrunkDecl;
use crate::config::{QueueDecl, Tenant};
use crate::desk;
use crate::effect::{Effect, Measure};
use crate::fact::{Fact, Outcome};
use crate::figures::Today;
use crate::health::Health;
use crate::idle::Taken;
use crate::input::Input;
use crate::limits::{ALARM_STAY, ALARMS_MAX};
use crate::live::Alarm;
use crate::outbound::{HostsDown, OutboundUse};
use crate::registering::Registering;
use crate::routing::TrunkTable;
use crate::timer::{AgentTimer, CallTimer, Timer, Timers};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineConfig {
    pub sip: EndpointConfig,
    /// What stands in our session descriptions as the address that RTP comes to.
    pub media_ip: IpAddr,
    /// Peers on this machine are told the loopback address they came from: RTP is bound to every address, none is advertised.
    pub media_loopback: bool,
    /// Even ports of this range are RTP's, the odd ones RTCP's.
    pub rtp_ports: RangeInclusive<u16>,
    /// A call keeps two legs for itself; a call beyond this gets 503.
    pub legs_max: usize,
    /// Where browsers reach this process; `None` where they can not.
    #[serde(default)]
    pub browsers: Option<Edge>,
}

/// The switch of one shard. **One [`Engine::handle`] for what happened, then [`Engine::poll_effect`] until `None`, then
/// sleep until [`Engine::poll_deadline`].**
pub struct Engine {
    pub(crate) config: EngineConfig,
    /// The one that a restored engine goes over to when it is told of the restart.
    pub(crate) next_config: Option<EngineConfig>,
    pub(crate) rng: Rng,
    pub(crate) endpoint: Endpoint,
    pub(crate) tenants: BTreeMap<TenantId, TenantState>,
    pub(crate) trunks: TrunkTable,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) scripts: Scripts,
    /// Calls that are over and wait for their legs' counts.
    pub(crate) endings: BTreeMap<CallId, Ending>,
    pub(crate) callbacks: Callbacks,
    pub(crate) sessions: BTreeMap<SessionId, (CallId, Party)>,
    /// What agents dialled on phones of their own: for so long they are offered nothing.
    pub(crate) lines: BTreeMap<SessionId, (TenantId, AgentName)>,
    pub(crate) offers: BTreeMap<OfferId, CallId>,
    /// Legs whose ports are in use, of live calls and of legs that are being closed.
    pub(crate) legs: BTreeMap<LegId, OpenLeg>,
    pub(crate) ports: PortPool,
    /// Calls with pages that an earlier process was connected with.
    pub(crate) estranged: BTreeSet<CallId>,
    /// Recordings that are not sealed yet.
    pub(crate) recordings: BTreeMap<RecordingId, OpenRecording>,
    pub(crate) timers: Timers,
    pub(crate) draining: bool,
    /// Every call is being ended: nobody is offered another.
    pub(crate) closing: bool,
    pub(crate) orders: u64,
    /// When something was last noted; at least every [`PULSE`] while there are calls.
    pub(crate) alive: Timestamp,
    /// Tenants whose ACD may have decided something, and calls that have just entered a queue. Empty between two inputs.
    pub(crate) acds_changed: Vec<TenantId>,
    pub(crate) entered: VecDeque<CallId>,
    pub(crate) acd_runs: bool,
    pub(crate) effects: VecDeque<Effect>,
    /// Counted once the messages of this input are out.
    pub(crate) measures: Vec<Measure>,
    pub(crate) alarms: BTreeMap<(TenantId, String), (Alarm, Timestamp)>,
    pub(crate) version: u64,
    /// Of the input being handled.
    pub(crate) now: Timestamp,
}

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Customer,
    Agent,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct OpenLeg {
    pub call: CallId,
    /// None of a browser's leg.
    pub port: Option<u16>,
    /// `MediaCommand::Close` is out.
    pub closing: bool,
}

/// A recording that is not sealed yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenRecording {
    pub tenant: TenantId,
    pub call: CallId,
    pub started: Timestamp,
    /// `MediaCommand::RecordStop` is out: it is being sealed.
    pub stopped: bool,
    /// Oldest first.
    pub gaps: Vec<Gap>,
}

pub(crate) struct TenantState {
    pub tenant: Arc<Tenant>,
    pub queues: BTreeMap<cti_base::QueueName, Queue>,
    pub agents: BTreeMap<AgentName, Agent>,
    pub acd: Acd,
    /// The local day that the counts are of.
    pub day: i32,
    pub today: Today,
    pub trunks: BTreeMap<String, TrunkUse>,
    pub outbound: OutboundUse,
    pub hosts_down: HostsDown,
    pub health: Health,
    /// By trunk.
    pub registering: Registering,
    /// Until then the records are not waited for: they did not answer in time.
    pub records_pause_until: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TrunkUse {
    pub calls: u32,
    /// When the next call would come if calls came evenly at `max_cps` (generic cell rate algorithm, ITU-T I.371).
    pub next_call: Timestamp,
}

impl TrunkUse {
    /// Which of the trunk's limits is reached.
    pub(crate) fn refusal(&self, now: Timestamp, decl: &TrunkDecl) -> Option<&'static str> {
        if self.calls >= decl.max_calls {
            return Some("trunk_max_calls");
        }
        let interval = decl.interval();
        (self.next_call.since(now) > SECOND.saturating_sub(interval)).then_some("trunk_max_cps")
    }

    /// Counts a call that begins now.
    pub(crate) fn begin(&mut self, now: Timestamp, decl: &TrunkDecl) {
        self.calls += 1;
        self.next_call = self.next_call.max(now) + decl.interval();
    }
}

impl TrunkDecl {
    /// Between two calls at `max_cps`.
    fn interval(&self) -> Duration {
        self.max_cps.map_or(Duration::ZERO, |cps| SECOND / cps.max(1))
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Engine {
    pub fn new(config: EngineConfig, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        let mut sip_seed = [0; 32];
        rng.fill(&mut sip_seed);
        Self {
            endpoint: Endpoint::new(config.sip.clone(), Rng::from_seed(sip_seed)),
            rng,
            tenants: BTreeMap::new(),
            trunks: TrunkTable::default(),
            calls: BTreeMap::new(),
            scripts: Scripts::default(),
            endings: BTreeMap::new(),
            callbacks: Callbacks::default(),
            sessions: BTreeMap::new(),
            lines: BTreeMap::new(),
            offers: BTreeMap::new(),
            legs: BTreeMap::new(),
            ports: PortPool::new(config.rtp_ports.clone()),
            estranged: BTreeSet::new(),
            config,
            next_config: None,
            recordings: BTreeMap::new(),
            timers: Timers::default(),
            draining: false,
            closing: false,
            orders: 0,
            alive: Timestamp::default(),
            acds_changed: Vec::new(),
            entered: VecDeque::new(),
            acd_runs: false,
            effects: VecDeque::new(),
            measures: Vec::new(),
            alarms: BTreeMap::new(),
            version: 0,
            now: Timestamp::default(),
        }
    }

    /// Takes in one thing that happened at `now`, which never goes back. Whatever else is due by then happens first.
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Taken {
        if self.is_moot(now, &input) {
            return Taken::Nothing;
        }
        self.now = now;
        if matches!(input, Input::Restarted) {
            // What was due meanwhile finds everything taken up.
            self.restarted(now);
            self.run_acd(now);
        }
        self.run_due(now);
        // What was due is on the wire before what came now.
        self.send_transmits();
        match input {
            Input::Sip(packet) => self.endpoint.handle_packet(now, packet),
            Input::SipTransportFailed(flow) => self.endpoint.transport_failed(now, flow),
            Input::SipConnectionClosed(connection) => self.endpoint.connection_closed(now, connection),
            Input::Media(event) => self.media_event(now, event),
            Input::Desk { tenant, agent, id, command } => self.desk_command(now, &tenant, &agent, id, command),
            Input::Callback { tenant, id, ask } => self.callback_asked(now, &tenant, id, ask),
            Input::DeskPresence { tenant, agent, presence } => self.desk_presence(now, &tenant, &agent, presence),
            Input::Browser { tenant, agent, up } => self.browser_changed(now, &tenant, &agent, up),
            Input::OfferShown { offer } => self.offer_shown(now, offer),
            Input::Caller { call, records } => self.caller_known(now, call, records),
            Input::Declare(tenant) => self.declare(now, tenant),
            Input::Drain => self.drain(),
            Input::Close => self.close(now),
            Input::Restarted | Input::Tick => {}
        }
        self.run_acd(now);
        self.run_sip_events(now);
        self.look_at_lines(now);
        self.send_transmits();
        self.alive = now;
        for measure in self.measures.drain(..) {
            self.effects.push_back(Effect::Measure(measure));
        }
        Taken::Changed
    }

    /// What to do, in order; `None` when all is told.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `Input::Tick` is due at the latest; `None` while nothing waits.
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        self.next_due()
    }

    /// Whether every effect has been taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.effects.is_empty() && self.measures.is_empty()
    }

    /// Goes up whenever `live` may show something else.
    pub fn live_version(&self) -> u64 {
        self.version
    }

    /// Whether no call is left, not even one whose record waits for its last counts.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.endings.is_empty()
    }

    fn send_transmits(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.effects.push_back(Effect::Send(transmit));
        }
    }

    fn run_due(&mut self, now: Timestamp) {
        if self.endpoint.poll_deadline().is_some_and(|at| at <= now) {
            self.endpoint.handle_deadline(now);
            self.run_sip_events(now);
        }
        self.run_due_acds(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Call(call, kind) => self.call_timer(now, call, kind),
                Timer::Agent(tenant, agent, kind) => self.agent_timer(now, &tenant, &agent, kind),
                Timer::Callback(id, kind) => self.callback_timer(now, id, kind),
                Timer::Probe(tenant, host) => self.probe_host(now, &tenant, host),
                Timer::Register(tenant, trunk) => self.register_trunk(now, &tenant, &trunk),
                Timer::Acd(tenant) => self.acd_deadline(now, &tenant),
            }
            self.run_acd(now);
            self.run_sip_events(now);
        }
        if self.alarm_over().is_some_and(|at| at <= now) {
            self.version += 1;
            self.alarms.retain(|_, (_, last)| *last + ALARM_STAY > now);
        }
    }

    /// When the oldest alarm is no longer shown.
    pub(crate) fn alarm_over(&self) -> Option<Timestamp> {
        self.alarms.values().map(|(_, last)| *last + ALARM_STAY).min()
    }

    fn run_sip_events(&mut self, now: Timestamp) {
        while let Some(event) = self.endpoint.poll_event() {
            self.sip_event(now, event);
            self.run_acd(now);
        }
    }

    fn sip_event(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Invite { session, invite } => self.invited(now, session, *invite),
            Event::Cancelled { session } => self.session_over(now, session, "caller_hangup", "agent_hangup"),
            Event::Confirmed { session, answer } => self.confirmed(now, session, answer.as_deref()),
            Event::Progress { session, code, sdp: _ } => self.phone_progress(now, session, code),
            Event::Answered { session, sdp } => self.phone_answered(now, session, sdp.as_deref()),
            Event::Failed { session, code, reason: _ } => self.phone_failed(now, session, code),
            Event::Reoffer { session, sdp } => self.reoffered(now, session, sdp.as_deref()),
            // Hold is made at the server: only pages are offered anything anew.
            Event::Reanswered { session, result } => self.reanswered(now, session, result.ok().flatten().as_deref()),
            Event::InfoDigit { session, digit } => self.info_digit(now, session, digit),
            // Asked of phones; this is none.
            Event::Notify { session: _, event: _ } => {}
            Event::Refer { session, refer } => self.referred(now, session, &refer),
            Event::Ended { session, cause } => self.session_ended(now, session, &cause),
            Event::Registered { tenant, user, contacts } => {
                self.registered(now, &tenant, &user, contacts);
                self.ask_estranged(now);
            }
            Event::RegisterResult { registration, result } => self.trunk_registered(now, registration, result),
            Event::Probed { probe, alive } => self.host_answered(now, probe, alive),
            Event::Unauthorized { user, source } => self.measures.push(Measure::Unauthorized { user, source }),
            Event::Rejected { reason } => self.measures.push(Measure::SipRejected { reason }),
        }
    }

    fn media_event(&mut self, now: Timestamp, event: MediaEvent) {
        match event {
            MediaEvent::OpenFailed { leg, reason } => self.leg_open_failed(now, leg, &reason),
            MediaEvent::Digit { leg, digit } => self.leg_digit(now, leg, digit),
            MediaEvent::Played { leg, play } => self.leg_played(now, leg, play),
            MediaEvent::Silent { leg } => self.leg_silent(now, leg),
            MediaEvent::Gone { leg } => self.page_gone(now, leg),
            MediaEvent::Quiet { leg } => self.leg_quiet(now, leg),
            MediaEvent::Closed { leg, stats } => self.leg_closed(now, leg, Some(stats)),
            MediaEvent::RecordingResumed { recording, gap } => self.recording_resumed(recording, gap),
            MediaEvent::RecordingSealed { recording, file } => self.recording_ended(now, recording, Ok(file)),
            MediaEvent::RecordingFailed { recording, reason } => self.recording_ended(now, recording, Err(reason)),
        }
    }

    fn call_timer(&mut self, now: Timestamp, call: CallId, kind: CallTimer) {
        match kind {
            CallTimer::Menu => self.menu_deadline(now, call),
            CallTimer::Announce => self.announce_due(now, call),
            CallTimer::Comfort => self.comfort_due(now, call),
            CallTimer::Whisper => self.join(call),
            CallTimer::RecordsWait => self.records_late(now, call),
            CallTimer::ShownWait => self.shown_late(now, call),
            CallTimer::Ring => self.ring_timeout(now, call),
            CallTimer::Dial => self.dial_timeout(now, call),
            CallTimer::Voicemail => self.voicemail_due(now, call),
            CallTimer::Goodbye => self.goodbye_over(now, call),
            CallTimer::BrowserAway => self.browser_gone(now, call),
            CallTimer::Guest => self.guest_timeout(now, call),
            CallTimer::Stats => self.emit_ending(now, call),
        }
    }

    fn agent_timer(&mut self, now: Timestamp, tenant: &TenantId, agent: &AgentName, kind: AgentTimer) {
        match kind {
            AgentTimer::Wrapup => self.wrapup_over(now, tenant, agent, None, true),
            AgentTimer::DeskGrace => self.desk_grace_over(now, tenant, agent),
            AgentTimer::BreakOver => self.no_answer_break_over(now, tenant, agent),
            AgentTimer::Unblock => self.look_at_agent(now, tenant, agent),
        }
    }

    /// Ends every call: one that was answered as such, any other as interrupted.
    fn close(&mut self, now: Timestamp) {
        if !self.draining {
            self.drain();
        }
        self.closing = true;
        let calls: Vec<(CallId, bool)> = self.calls.iter().map(|(id, call)| (*id, call.answered.is_some())).collect();
        for (id, answered) in calls {
            let outcome = if answered { Outcome::Answered } else { Outcome::Interrupted };
            self.end_call(now, id, outcome, "shutdown");
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.version += 1;
        for (id, state) in &self.tenants {
            for (name, agent) in &state.agents {
                if agent.desk == Desk::Connected {
                    let (tenant, agent, event) = (id.clone(), name.clone(), desk::Event::Drain {});
                    self.effects.push_back(Effect::Desk { tenant, agent, event });
                }
            }
        }
    }

    // What the aggregates' files tell the outside by.

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn fact(&mut self, fact: Fact) {
        self.version += 1;
        if let Some(state) = self.tenants.get_mut(fact.tenant()) {
            state.today.take(self.now, state.tenant.zone, &fact);
        }
        self.effects.push_back(Effect::Fact(fact));
    }

    pub(crate) fn media(&mut self, call: CallId, command: MediaCommand) {
        self.effects.push_back(Effect::Media { call, command });
    }

    /// To the agent's desk; an agent who never had one is told nothing.
    pub(crate) fn desk(&mut self, tenant: &TenantId, agent: &AgentName, event: desk::Event) {
        self.version += 1;
        if self.agent(tenant, agent).is_some_and(|agent| agent.desk != Desk::Never) {
            self.effects.push_back(Effect::Desk { tenant: tenant.clone(), agent: agent.clone(), event });
        }
    }

    /// Counted after the messages of this input.
    pub(crate) fn measure(&mut self, measure: Measure) {
        self.measures.push(measure);
    }

    pub(crate) fn changed(&mut self) {
        self.version += 1;
    }

    pub(crate) fn alarm(&mut self, now: Timestamp, tenant: &TenantId, code: &str, message: String) {
        self.version += 1;
        let key = (tenant.clone(), code.to_owned());
        if let Some((alarm, last)) = self.alarms.get_mut(&key) {
            (alarm.message, *last) = (message, now);
        } else if self.alarms.len() < ALARMS_MAX * self.tenants.len().max(1) {
            let alarm = Alarm { code: code.to_owned(), message, since_ms: now.as_millis() };
            self.alarms.insert(key, (alarm, now));
        }
    }

    pub(crate) fn alarms_of(&self, now: Timestamp, tenant: &TenantId) -> Vec<Alarm> {
        let of_tenant = self.alarms.iter().filter(|((id, _), _)| id == tenant);
        of_tenant.filter(|(_, (_, last))| *last + ALARM_STAY > now).map(|(_, (alarm, _))| alarm.clone()).collect()
    }

    pub(crate) fn agent(&self, tenant: &TenantId, agent: &AgentName) -> Option<&Agent> {
        self.tenants.get(tenant)?.agents.get(agent)
    }

    pub(crate) fn agent_mut(&mut self, tenant: &TenantId, agent: &AgentName) -> Option<&mut Agent> {
        self.tenants.get_mut(tenant)?.agents.get_mut(agent)
    }

    pub(crate) fn queue_decl(&self, tenant: &TenantId, queue: &str) -> Option<&QueueDecl> {
        Some(&self.tenants.get(tenant)?.queues.get(queue)?.decl)
    }

    /// The call's queue as declared.
    pub(crate) fn queue_of(&self, call: &Call) -> Option<&Queue> {
        self.tenants.get(&call.tenant)?.queues.get(call.queue.as_ref()?)
    }
}
