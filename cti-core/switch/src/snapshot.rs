//! The engine's whole state as bytes, and the engine from them: MessagePack with field names, so that fields can be added
//! with a default.
//!
//! What is big is written down once: a tenant as its document, from which it is compiled again; a script that callers walk
//! in once however many they are; records with the call they are of. What follows from the rest (whose session it is, the
//! ACD's indices) is made again. **Private numbers and digests are in it.**

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cti_acd::Acd;
use cti_base::{AgentName, CallId, LegId, QueueName, RecordingId, Rng, TenantId, Timestamp};
use cti_media::ports::PortPool;
use cti_sip::{Endpoint, EndpointState, SessionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::acd::agent::{Agent, Reach};
use crate::acd::queue::Queue;
use crate::call::{Call, Ending, SavedScript, ScriptId, Scripts};
use crate::callback::Callbacks;
use crate::config::{AgentDecl, Tenant};
use crate::engine::{Engine, EngineConfig, OpenLeg, OpenRecording, Party, TenantState, TrunkUse};
use crate::figures::Today;
use crate::health::Health;
use crate::live::Alarm;
use crate::outbound::{HostsDown, OutboundUse};
use crate::registering::Registering;
use crate::routing::TrunkTable;
use crate::timer::Timers;

/// Why a snapshot gives no engine.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is none, or a tenant of it does not compile.
    #[error("the snapshot can not be read: {0}")]
    Unreadable(#[from] rmp_serde::decode::Error),
    /// It contradicts itself: what is named does not stand in it.
    #[error("the snapshot is not whole: {0}")]
    Broken(String),
}

#[derive(Serialize)]
struct StateRef<'a> {
    config: &'a EngineConfig,
    alive: Timestamp,
    rng: &'a Rng,
    endpoint: &'a Endpoint,
    tenants: Vec<TenantRef<'a>>,
    scripts: (u64, Vec<(ScriptId, SavedScript)>),
    calls: Vec<&'a Call>,
    endings: &'a BTreeMap<CallId, Ending>,
    callbacks: &'a Callbacks,
    legs: &'a BTreeMap<LegId, OpenLeg>,
    ports: &'a PortPool,
    estranged: &'a BTreeSet<CallId>,
    lines: &'a BTreeMap<SessionId, (TenantId, AgentName)>,
    recordings: &'a BTreeMap<RecordingId, OpenRecording>,
    timers: &'a Timers,
    draining: bool,
    closing: bool,
    orders: u64,
    alarms: &'a BTreeMap<(TenantId, String), (Alarm, Timestamp)>,
    version: u64,
}

#[derive(Serialize)]
struct TenantRef<'a> {
    tenant: &'a Tenant,
    queues: &'a BTreeMap<QueueName, Queue>,
    agents: &'a BTreeMap<AgentName, Agent>,
    acd: &'a Acd,
    day: i32,
    today: &'a Today,
    /// The declarations of agents who are no longer declared and finish a call.
    removed: Vec<&'a AgentDecl>,
    trunks: &'a BTreeMap<String, TrunkUse>,
    outbound: OutboundUse,
    hosts_down: &'a HostsDown,
    health: &'a Health,
    registering: &'a Registering,
    records_pause_until: Timestamp,
}

#[derive(Deserialize)]
struct State {
    config: EngineConfig,
    alive: Timestamp,
    rng: Rng,
    endpoint: EndpointState,
    tenants: Vec<SavedTenant>,
    scripts: (u64, Vec<(ScriptId, SavedScript)>),
    calls: Vec<Call>,
    endings: BTreeMap<CallId, Ending>,
    #[serde(default)]
    callbacks: Callbacks,
    legs: BTreeMap<LegId, OpenLeg>,
    ports: PortPool,
    #[serde(default)]
    estranged: BTreeSet<CallId>,
    #[serde(default)]
    lines: BTreeMap<SessionId, (TenantId, AgentName)>,
    recordings: BTreeMap<RecordingId, OpenRecording>,
    timers: Timers,
    draining: bool,
    closing: bool,
    orders: u64,
    alarms: BTreeMap<(TenantId, String), (Alarm, Timestamp)>,
    version: u64,
}

#[derive(Deserialize)]
struct SavedTenant {
    tenant: Arc<Tenant>,
    queues: BTreeMap<QueueName, Queue>,
    agents: BTreeMap<AgentName, Agent>,
    acd: Acd,
    day: i32,
    #[serde(default)]
    today: Today,
    removed: Vec<AgentDecl>,
    trunks: BTreeMap<String, TrunkUse>,
    #[serde(default)]
    outbound: OutboundUse,
    #[serde(default)]
    hosts_down: HostsDown,
    #[serde(default)]
    health: Health,
    #[serde(default)]
    registering: Registering,
    records_pause_until: Timestamp,
}

impl Engine {
    /// Everything that decides what it will do. All effects must have been taken before: they are not in it.
    pub fn snapshot(&self) -> Vec<u8> {
        debug_assert!(self.is_drained(), "effects would be lost");
        let state = StateRef {
            config: &self.config,
            alive: self.alive,
            rng: &self.rng,
            endpoint: &self.endpoint,
            tenants: self.tenants.values().map(TenantRef::new).collect(),
            scripts: self.scripts.save(&self.tenants),
            calls: self.calls.values().collect(),
            endings: &self.endings,
            callbacks: &self.callbacks,
            legs: &self.legs,
            ports: &self.ports,
            estranged: &self.estranged,
            lines: &self.lines,
            recordings: &self.recordings,
            timers: &self.timers,
            draining: self.draining,
            closing: self.closing,
            orders: self.orders,
            alarms: &self.alarms,
            version: self.version,
        };
        // Writing to memory has no error, and every type here can be written.
        rmp_serde::to_vec_named(&state).unwrap_or_default()
    }

    /// The engine that the snapshot was taken of. It goes over to `config`, the present one, with [`crate::Input::Restarted`]
    /// and not before, so that inputs handled again do what they did: addresses, limits and the range of ports may have
    /// changed; legs keep the ports they have.
    pub fn restore(config: EngineConfig, snapshot: &[u8]) -> Result<Self, RestoreError> {
        let state: State = rmp_serde::from_slice(snapshot)?;
        let endpoint = Endpoint::restore(state.config.sip.clone(), state.endpoint);
        let calls: BTreeMap<CallId, Call> = state.calls.into_iter().map(|call| (call.id, call)).collect();
        let mut tenants = BTreeMap::new();
        for saved in state.tenants {
            let restored = saved.restore(state.alive, &endpoint)?;
            tenants.insert(restored.tenant.doc.tenant.id.clone(), restored);
        }
        let scripts = Scripts::restore(state.scripts, &tenants).ok_or_else(|| broken("a script in force"))?;
        let mut engine = Self {
            config: state.config,
            next_config: Some(config),
            rng: state.rng,
            endpoint,
            trunks: TrunkTable::new(tenants.values().map(|state| &*state.tenant)),
            tenants,
            scripts,
            sessions: BTreeMap::new(),
            lines: state.lines,
            offers: BTreeMap::new(),
            calls,
            endings: state.endings,
            callbacks: state.callbacks,
            legs: state.legs,
            ports: state.ports,
            estranged: state.estranged,
            recordings: state.recordings,
            timers: state.timers,
            draining: state.draining,
            closing: state.closing,
            orders: state.orders,
            alive: state.alive,
            acds_changed: Vec::new(),
            entered: VecDeque::new(),
            acd_runs: false,
            effects: VecDeque::new(),
            measures: Vec::new(),
            alarms: state.alarms,
            version: state.version,
            now: state.alive,
        };
        engine.index_calls();
        Ok(engine)
    }

    /// SHA-256 of the snapshot: two engines of the same hash do the same from here on.
    pub fn state_hash(&self) -> [u8; 32] {
        Sha256::digest(self.snapshot()).into()
    }

    /// Whether this tenant is in force exactly so: to declare it again would change nothing.
    pub fn is_declared(&self, tenant: &Tenant) -> bool {
        let known = self.tenants.get(&tenant.doc.tenant.id);
        known.is_some_and(|known| known.tenant.doc == tenant.doc && known.tenant.digests == tenant.digests)
    }

    /// Where registered phones are.
    pub fn registered_from(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.endpoint.registered_from()
    }

    /// The tenants in force.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values().map(|state| &state.tenant)
    }

    /// Whose sessions and offers they are, by what the calls say.
    fn index_calls(&mut self) {
        for (id, call) in &self.calls {
            let agents = call.other_legs().into_iter().map(|leg| (Party::Agent, leg));
            for (party, leg) in agents.chain([(Party::Customer, &call.customer)]) {
                self.sessions.extend(leg.session.map(|session| (session, (*id, party))));
            }
            self.offers.extend(call.all_offers().map(|offer| (offer.id, *id)));
        }
    }
}

impl<'a> TenantRef<'a> {
    fn new(state: &'a TenantState) -> Self {
        Self {
            tenant: &state.tenant,
            queues: &state.queues,
            agents: &state.agents,
            acd: &state.acd,
            day: state.day,
            today: &state.today,
            removed: state.agents.values().filter(|agent| agent.removed).map(|agent| &agent.decl).collect(),
            trunks: &state.trunks,
            outbound: state.outbound,
            hosts_down: &state.hosts_down,
            health: &state.health,
            registering: &state.registering,
            records_pause_until: state.records_pause_until,
        }
    }
}

impl SavedTenant {
    fn restore(self, alive: Timestamp, endpoint: &Endpoint) -> Result<TenantState, RestoreError> {
        let Self {
            tenant,
            mut queues,
            mut agents,
            mut acd,
            day,
            today,
            removed,
            trunks,
            outbound,
            hosts_down,
            health,
            registering,
            records_pause_until,
        } = self;
        let id = &tenant.doc.tenant.id;
        let queue_decls: BTreeMap<&QueueName, _> = tenant.doc.queue.iter().map(|decl| (&decl.name, decl)).collect();
        for (name, queue) in &mut queues {
            let decl = queue_decls.get(name).ok_or_else(|| broken(&format!("queue `{name}`")))?;
            queue.decl.clone_from(decl);
        }
        let declared = tenant.doc.agent.iter().chain(&removed);
        let agent_decls: BTreeMap<&AgentName, &AgentDecl> = declared.map(|decl| (&decl.name, decl)).collect();
        for (name, agent) in &mut agents {
            let decl = agent_decls.get(name).ok_or_else(|| broken(&format!("agent `{name}`")))?;
            agent.decl.clone_from(decl);
            agent.reach = Reach::of(endpoint, id, decl, agent.browser_up);
        }
        acd.configure(alive, Arc::new(tenant.doc.acd_rules()));
        Ok(TenantState {
            tenant,
            queues,
            agents,
            acd,
            day,
            today,
            trunks,
            outbound,
            hosts_down,
            health,
            registering,
            records_pause_until,
        })
    }
}

fn broken(what: &str) -> RestoreError {
    RestoreError::Broken(format!("{what} is named and does not stand in it"))
}
