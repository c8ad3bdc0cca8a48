//! The current state of a tenant, as everyone who may not ask the switch reads it: published, never queried.

use std::collections::BTreeMap;

use cti_base::{AgentName, CallId, NodeName, QueueName, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::acd::agent::Agent;
use crate::call::{Call, Stage};
use crate::callback::{Pending, Step};
use crate::config::TrunkDecl;
use crate::desk::{AgentState, CallState, Direction, MediaHealth};
use crate::engine::{Engine, TenantState};
use crate::figures::Levels;

/// `GET /api/v1/live`. Times are UTC milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, TS)]
pub struct Live {
    #[ts(type = "number")]
    pub at_ms: u64,
    pub queues: Vec<QueueLive>,
    pub agents: Vec<AgentLive>,
    pub calls: Vec<CallLive>,
    pub alarms: Vec<Alarm>,
    pub trunks: Vec<TrunkLive>,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct TrunkLive {
    pub name: String,
    /// Calls on it.
    pub calls: u32,
    /// `None` where it does not register.
    pub registration: Option<RegistrationLive>,
}

/// Where a trunk is registered, or what came of the last attempt.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct RegistrationLive {
    pub registered: bool,
    /// The address that was asked last.
    pub host: Option<String>,
    /// The status that refused it last; 408 for no answer.
    pub code: Option<u16>,
    /// In this state.
    #[ts(type = "number")]
    pub since_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct QueueLive {
    pub name: QueueName,
    pub waiting: u32,
    #[ts(type = "number")]
    pub longest_wait_ms: u64,
    /// Calls that entered the queue since local midnight, and below what became of them.
    pub offered: u32,
    pub answered: u32,
    /// The caller hung up while waiting or ringing.
    pub abandoned: u32,
    /// Of these while an agent was being rung, and of all the short ones.
    pub abandoned_ringing: u32,
    pub abandoned_short: u32,
    pub overflowed_in: u32,
    pub overflowed_out: u32,
    /// Answered within the threshold / offered, 0 to 1; `None` before the first call: unknown is not 0.
    pub service_level: Option<f32>,
    pub service_levels: Levels,
    /// Average speed of answer, average handling time, longest wait that is over.
    #[ts(type = "number | null")]
    pub asa_ms: Option<u64>,
    #[ts(type = "number | null")]
    pub aht_ms: Option<u64>,
    #[ts(type = "number")]
    pub wait_max_ms: u64,
    /// Agents who may be offered this queue's calls at this moment.
    pub agents_ready: u32,
    /// Agents of this queue who are signed in, on a break too.
    pub agents_staffed: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct AgentLive {
    pub name: AgentName,
    pub display: String,
    pub state: AgentState,
    pub reason: Option<String>,
    #[ts(type = "number")]
    pub since_ms: u64,
    pub call_id: Option<CallId>,
    /// `desk`, `phone` (registered or contact, no desk) or `none`.
    pub connection: String,
    pub media: MediaHealth,
    /// Whether the agent talks by the browser.
    pub browser: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct CallLive {
    pub id: CallId,
    pub state: CallState,
    pub direction: Direction,
    pub from: String,
    pub to: String,
    pub queue: Option<QueueName>,
    pub agent: Option<AgentName>,
    pub node: Option<String>,
    #[ts(type = "number")]
    pub started_ms: u64,
    /// In the present state.
    #[ts(type = "number")]
    pub since_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, TS)]
pub struct Alarm {
    pub code: String,
    pub message: String,
    #[ts(type = "number")]
    pub since_ms: u64,
}

impl QueueLive {
    /// A queue in which nothing has happened, for those who look at a few of its figures.
    pub fn named(name: QueueName) -> Self {
        Self {
            name,
            waiting: 0,
            longest_wait_ms: 0,
            offered: 0,
            answered: 0,
            abandoned: 0,
            abandoned_ringing: 0,
            abandoned_short: 0,
            overflowed_in: 0,
            overflowed_out: 0,
            service_level: None,
            service_levels: Levels::default(),
            asa_ms: None,
            aht_ms: None,
            wait_max_ms: 0,
            agents_ready: 0,
            agents_staffed: 0,
        }
    }
}

impl Engine {
    /// Every tenant as it is at `now`. It costs as much as there are queues, agents and calls: ask only when
    /// [`Engine::live_version`] went up, and not for every input.
    pub fn live(&self, now: Timestamp) -> BTreeMap<TenantId, Live> {
        let mut all: BTreeMap<TenantId, Live> =
            self.tenants.iter().map(|(id, state)| (id.clone(), self.tenant_live(now, id, state))).collect();
        for call in self.calls.values() {
            if let Some(live) = all.get_mut(&call.tenant) {
                live.calls.push(call_live(call));
            }
        }
        for pending in self.callbacks.iter().filter(|pending| pending.step == Step::InLine) {
            if let Some(live) = all.get_mut(&pending.view.tenant) {
                live.calls.push(callback_live(pending));
            }
        }
        all
    }

    fn tenant_live(&self, now: Timestamp, id: &TenantId, state: &TenantState) -> Live {
        let queue_live = |name: &QueueName| {
            let today = state.today.queue(now, name);
            let levels = today.levels();
            // By time of entering, not by place: priority may put a younger caller first.
            let since = state.acd.waiting_ids(name).filter_map(|id| self.calls.get(&id)?.queued).min();
            let staff = state.acd.staff(name);
            QueueLive {
                name: name.clone(),
                waiting: count(state.acd.waiting(name)),
                longest_wait_ms: since.map_or(0, |since| now.since(since).as_millis() as u64),
                offered: many(today.offered),
                answered: many(today.answered),
                abandoned: many(today.abandoned()),
                abandoned_ringing: many(today.abandoned_ringing),
                abandoned_short: many(today.abandoned_short),
                overflowed_in: many(today.overflowed_in),
                overflowed_out: many(today.overflowed_out),
                service_level: levels.of_offered,
                service_levels: levels,
                asa_ms: today.asa_ms(),
                aht_ms: today.aht_ms(),
                wait_max_ms: today.wait_max_ms,
                agents_ready: count(staff.ready),
                agents_staffed: count(staff.staffed),
            }
        };
        Live {
            at_ms: now.as_millis(),
            queues: state.queues.keys().map(queue_live).collect(),
            agents: state.agents.values().map(agent_live).collect(),
            calls: Vec::new(),
            alarms: self.alarms_of(now, id),
            trunks: state.tenant.doc.trunk.iter().map(|decl| trunk_live(state, decl)).collect(),
        }
    }
}

fn trunk_live(state: &TenantState, decl: &TrunkDecl) -> TrunkLive {
    TrunkLive {
        name: decl.name.clone(),
        calls: state.trunks.get(&decl.name).map_or(0, |used| used.calls),
        registration: state.registering.live(&decl.name),
    }
}

fn agent_live(agent: &Agent) -> AgentLive {
    AgentLive {
        name: agent.decl.name.clone(),
        display: agent.display(),
        state: agent.state,
        reason: agent.reason.clone(),
        since_ms: agent.since.as_millis(),
        call_id: agent.call(),
        connection: agent.connection().to_owned(),
        media: agent.media(),
        browser: agent.is_browser(),
    }
}

fn call_live(call: &Call) -> CallLive {
    let has_it = || call.talking().and_then(|talking| talking.agent.clone());
    let agent = call.ringing_agent().cloned().or_else(has_it);
    let in_menu = matches!(call.stage, Stage::Menu(_));
    let (from, to) = call.ends();
    CallLive {
        id: call.id,
        state: call.state(),
        direction: call.direction,
        from,
        to,
        queue: call.queue.clone(),
        agent,
        node: if in_menu { call.path.last().map(NodeName::to_string) } else { None },
        started_ms: call.started.as_millis(),
        since_ms: call.stage_since.as_millis(),
    }
}

fn many(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A callback in the line: nobody is on it.
fn callback_live(pending: &Pending) -> CallLive {
    CallLive {
        id: pending.call,
        state: CallState::Queued,
        direction: Direction::Outbound,
        from: pending.did.clone().unwrap_or_default(),
        to: pending.view.number.expose().clone(),
        queue: Some(pending.view.queue.clone()),
        agent: None,
        node: None,
        started_ms: pending.started.unwrap_or(pending.since).as_millis(),
        since_ms: pending.past.waiting_since.as_millis(),
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
