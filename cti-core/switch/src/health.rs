//! Whether a trunk's hosts are there: OPTIONS now and then, so that a call does not have to find it out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_base::{TenantId, Timestamp};
use cti_sip::ProbeId;
use serde::{Deserialize, Serialize};

use crate::config::TenantDoc;
use crate::engine::Engine;
use crate::limits::{PROBE_AGAIN, PROBE_APART, TRUNK_HOST_DOWN};
use crate::outbound;
use crate::timer::Timer;

/// What is known of a tenant's hosts that are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health(BTreeMap<String, Host>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Host {
    /// The OPTIONS that has no answer yet.
    asked: Option<ProbeId>,
    /// Since it last answered.
    failures: u32,
}

/// Every host that shall be asked, and how often.
fn wanted(doc: &TenantDoc) -> BTreeMap<String, Duration> {
    let each = |trunk: &crate::config::TrunkDecl| {
        let every = trunk.options_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
        trunk.hosts.iter().filter_map(move |host| Some((host.clone(), every?))).collect::<Vec<_>>()
    };
    doc.trunk.iter().flat_map(each).collect()
}

impl Engine {
    /// New hosts are asked soon, and those that are no longer declared never again.
    pub(crate) fn declare_hosts(&mut self, now: Timestamp, tenant: &TenantId) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let wanted: BTreeSet<String> = wanted(&state.tenant.doc).into_keys().collect();
        let known: BTreeSet<String> = state.health.0.keys().cloned().collect();
        for gone in known.difference(&wanted) {
            state.health.0.remove(gone);
            self.timers.cancel(&Timer::Probe(tenant.clone(), gone.clone()));
        }
        for (place, new) in (1u32..).zip(wanted.difference(&known)) {
            state.health.0.insert(new.clone(), Host::default());
            self.timers.set(Timer::Probe(tenant.clone(), new.clone()), now + PROBE_APART * place);
        }
    }

    pub(crate) fn probe_host(&mut self, now: Timestamp, tenant: &TenantId, host: String) {
        let Some(known) = self.tenants.get_mut(tenant).and_then(|state| state.health.0.get_mut(&host)) else { return };
        let target = outbound::address(&host).and_then(|address| self.endpoint.target_of(&format!("sip:{address}")));
        match target {
            Some(target) => known.asked = Some(self.endpoint.probe(now, &target)),
            // Nothing listens that could reach it; a later configuration may.
            None => self.timers.set(Timer::Probe(tenant.clone(), host), now + TRUNK_HOST_DOWN),
        }
    }

    pub(crate) fn host_answered(&mut self, now: Timestamp, probe: ProbeId, alive: bool) {
        let asked =
            |health: &Health| health.0.iter().find(|(_, host)| host.asked == Some(probe)).map(|(host, _)| host.clone());
        let found = self.tenants.iter().find_map(|(id, state)| Some((id.clone(), asked(&state.health)?)));
        let Some((tenant, host)) = found else { return };
        let Some(state) = self.tenants.get_mut(&tenant) else { return };
        let every = wanted(&state.tenant.doc).get(&host).copied().unwrap_or(TRUNK_HOST_DOWN);
        let Some(known) = state.health.0.get_mut(&host) else { return };
        known.asked = None;
        let next = if alive {
            known.failures = 0;
            state.hosts_down.forget(&host);
            every
        } else {
            let next = PROBE_AGAIN.saturating_mul(1 << known.failures.min(16)).min(every.max(PROBE_AGAIN));
            known.failures += 1;
            // Until it answers: the next OPTIONS may itself go unanswered for 32 s.
            state.hosts_down.note_until(now, &host, now + next + TRUNK_HOST_DOWN * 2);
            next
        };
        let (failures, address) = (known.failures, host.clone());
        self.timers.set(Timer::Probe(tenant.clone(), host), now + next);
        if failures > 0 {
            let message = format!("The trunk's host {address} does not answer OPTIONS: calls go out by the others.");
            self.alarm(now, &tenant, "trunk_host_down", message);
        }
        self.changed();
    }
}
