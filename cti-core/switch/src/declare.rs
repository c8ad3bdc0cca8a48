//! A tenant is declared, anew or changed: all of it applies at once, and nobody loses a call or a place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cti_acd::Acd;
use cti_base::{AgentName, CallId, QueueName, TenantId, Timestamp};
use cti_sip::Account;

use crate::acd::agent::{Agent, Desk, Reach, Task};
use crate::acd::queue::Queue;
use crate::config::{Phone, Target, Tenant};
use crate::desk::AgentState;
use crate::engine::{Engine, TenantState};
use crate::fact::{OfferEnd, Outcome};
use crate::figures::Today;
use crate::health::Health;
use crate::outbound::{HostsDown, OutboundUse};
use crate::registering::Registering;
use crate::routing::TrunkTable;

impl Engine {
    pub(crate) fn declare(&mut self, now: Timestamp, tenant: Arc<Tenant>) {
        let id = tenant.doc.tenant.id.clone();
        let accounts = self.accounts(&tenant);
        self.endpoint.set_accounts(id.as_str(), accounts);
        let seed = if self.tenants.contains_key(&id) { 0 } else { self.rng.next_u64() };
        let state = self.tenants.entry(id.clone()).or_insert_with(|| TenantState {
            tenant: tenant.clone(),
            queues: BTreeMap::new(),
            agents: BTreeMap::new(),
            acd: Acd::with_seed(seed),
            day: 0,
            today: Today::default(),
            trunks: BTreeMap::new(),
            outbound: OutboundUse::default(),
            hosts_down: HostsDown::default(),
            health: Health::default(),
            registering: Registering::default(),
            records_pause_until: Timestamp::default(),
        });
        state.tenant = tenant.clone();
        state.today.zone_changed(now, tenant.zone);
        let gone = self.declare_queues(&id, &tenant);
        // Before the agents: who becomes ready by the declaration is offered the first caller by the new rules.
        if let Some(acd) = self.acd_mut(&id) {
            acd.configure(now, Arc::new(tenant.doc.acd_rules()));
        }
        self.declare_agents(now, &id, &tenant);
        self.trunks = TrunkTable::new(self.tenants.values().map(|state| &*state.tenant));
        for queue in gone {
            self.empty_queue(now, &id, &queue);
        }
        self.declare_callbacks(now, &id);
        self.declare_hosts(now, &id);
        self.declare_registrations(now, &id);
        let agents: Vec<AgentName> =
            self.tenants.get(&id).map(|s| s.agents.keys().cloned().collect()).unwrap_or_default();
        for agent in &agents {
            self.reindex(now, &id, agent);
        }
        self.changed();
    }

    /// New and changed queues; returns those that are no longer declared, which still stand.
    fn declare_queues(&mut self, id: &TenantId, tenant: &Tenant) -> Vec<QueueName> {
        let Some(state) = self.tenants.get_mut(id) else { return Vec::new() };
        for decl in &tenant.doc.queue {
            match state.queues.get_mut(&decl.name) {
                Some(queue) => queue.decl = decl.clone(),
                None => {
                    state.queues.insert(decl.name.clone(), Queue::new(decl.clone()));
                }
            }
        }
        let is_gone = |name: &&QueueName| !tenant.doc.queue.iter().any(|decl| decl.name == **name);
        state.queues.keys().filter(is_gone).cloned().collect()
    }

    fn declare_agents(&mut self, now: Timestamp, id: &TenantId, tenant: &Tenant) {
        let declared: BTreeSet<&AgentName> = tenant.doc.agent.iter().map(|decl| &decl.name).collect();
        let Some(state) = self.tenants.get(id) else { return };
        let gone: Vec<AgentName> = state.agents.keys().filter(|name| !declared.contains(name)).cloned().collect();
        for name in gone {
            self.dismiss(now, id, &name);
        }
        for decl in &tenant.doc.agent {
            let Some(state) = self.tenants.get_mut(id) else { return };
            let known = state.agents.get_mut(&decl.name);
            let browser_up = known.as_ref().is_some_and(|agent| agent.browser_up);
            let reach = Reach::of(&self.endpoint, id, decl, browser_up);
            match known {
                Some(agent) => {
                    if agent.decl.phone != decl.phone {
                        agent.answers_by_hand = false;
                    }
                    agent.decl = decl.clone();
                    agent.reach = reach;
                    agent.removed = false;
                }
                None => {
                    state.agents.insert(decl.name.clone(), Agent::new(now, decl.clone(), reach));
                }
            }
            self.follow_always_ready(now, id, &decl.name);
        }
    }

    /// Who needs no desk is ready when the phone can be rung; who needs one again, and has none, is not.
    fn follow_always_ready(&mut self, now: Timestamp, id: &TenantId, name: &AgentName) {
        let Some(agent) = self.agent(id, name) else { return };
        let is_idle = matches!(agent.task, Task::Idle);
        if agent.decl.always_ready {
            self.phone_changed(now, id, name);
        } else if is_idle && agent.state != AgentState::Offline && matches!(agent.desk, Desk::Never) {
            self.set_agent_state(now, id, name, AgentState::Offline, None);
        }
    }

    /// An agent is no longer declared: a ringing phone is let go, a talk and its wrap-up are finished first.
    fn dismiss(&mut self, now: Timestamp, id: &TenantId, name: &AgentName) {
        let Some(agent) = self.agent_mut(id, name) else { return };
        agent.removed = true;
        match &agent.task {
            Task::Idle => self.remove_agent(now, id, name),
            Task::Offer(call) => {
                let call = *call;
                self.take_offer_back(now, call, name, "agent_removed");
            }
            Task::Join(call) => {
                let call = *call;
                if let Some(guest) = self.guest_number(call, name) {
                    self.guest_over(now, call, guest, OfferEnd::Withdrawn, "agent_removed");
                }
            }
            Task::Talk(_) | Task::Wrapup(_) => {}
        }
    }

    /// The callers of a queue that is no longer declared go where its overflow led, or hear goodbye.
    fn empty_queue(&mut self, now: Timestamp, id: &TenantId, name: &QueueName) {
        let Some(state) = self.tenants.get(id) else { return };
        let Some(queue) = state.queues.get(name) else { return };
        let calls: Vec<CallId> = state.acd.waiting_ids(name).collect();
        let doc = &state.tenant.doc;
        let stands = |to: &&Target| match to {
            Target::Ivr { name: ivr, node: _ } => state.tenant.scripts.contains_key(ivr),
            Target::Queue(to) => to != name && doc.queue.iter().any(|decl| decl.name == *to),
            Target::Agent(to) => doc.agent.iter().any(|decl| decl.name == *to && !decl.queues.is_empty()),
            Target::Busy | Target::Number(_) | Target::Voicemail => true,
        };
        let to = queue.decl.overflow_when_full(|_| true).filter(stands).cloned();
        for call in calls {
            if self.calls.get(&call).is_some_and(|call| call.is_dialing()) {
                // Nobody is on the line to go anywhere.
                self.attempt_over(now, call, Outcome::Failed, "queue_removed");
                continue;
            }
            match &to {
                Some(to) => self.overflow_waiting(now, call, "overflow", Some(to.clone())),
                None => self.say_goodbye(now, call, "queue_removed"),
            }
        }
        if let Some(state) = self.tenants.get_mut(id) {
            state.queues.remove(name);
            state.today.forget_queue(name);
        }
    }

    /// The records keep a phone's digest for its plain name alone. The one for `name@tenant` must match nothing, so it is
    /// drawn at random: an empty one could be answered by anybody.
    fn accounts(&mut self, tenant: &Tenant) -> Vec<Account> {
        let phones = tenant.doc.agent.iter().filter(|agent| matches!(agent.phone, Phone::Sip { .. }));
        let mut accounts = Vec::new();
        for agent in phones {
            let Some((ha1_md5, ha1_sha256)) = tenant.digests.get(&agent.name).cloned() else { continue };
            accounts.push(Account {
                tenant: tenant.doc.tenant.id.to_string(),
                user: agent.name.to_string(),
                ha1_md5,
                ha1_sha256,
                qualified_ha1_md5: self.rng.hex::<16>(),
                qualified_ha1_sha256: self.rng.hex::<32>(),
            });
        }
        accounts
    }
}
