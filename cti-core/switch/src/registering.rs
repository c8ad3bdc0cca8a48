//! Trunks that this system registers at their carrier's registrar (RFC 3261 10.2): by the first of its hosts that answers, anew
//! before the registration ends, and by the next where one is gone. The endpoint answers challenges and renews.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_base::{TenantId, Timestamp};
use cti_sip::{RegisterRequest, RegistrationId, Target};
use serde::{Deserialize, Serialize};

use crate::config::{RegisterDecl, TenantDoc, TrunkDecl};
use crate::engine::Engine;
use crate::limits::{PROBE_APART, REGISTER_AGAIN, REGISTER_AGAIN_MAX};
use crate::live::RegistrationLive;
use crate::outbound;
use crate::timer::Timer;

/// A tenant's trunks that register, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registering(BTreeMap<String, Registration>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Registration {
    /// What it was begun with: another account or host begins anew.
    of: Account,
    /// The endpoint's, while one is kept or tried.
    id: Option<RegistrationId>,
    /// The place of the present one among the addresses, and attempts in a row that failed.
    place: u32,
    failures: u32,
    registered: bool,
    code: Option<u16>,
    since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    registrar: String,
    user: String,
    secret: cti_base::Pii<String>,
    expires_s: u32,
    hosts: Vec<String>,
}

impl Account {
    fn of(trunk: &TrunkDecl, decl: &RegisterDecl) -> Self {
        Self {
            registrar: decl.registrar.clone(),
            user: decl.user.clone(),
            secret: decl.secret.clone().unwrap_or_default(),
            expires_s: decl.expires_s,
            hosts: trunk.hosts.clone(),
        }
    }

    /// The addresses to ask, in order, as SIP URIs: the registrar's own where it is one, then the trunk's hosts.
    fn addresses(&self) -> Vec<String> {
        let transport = self.registrar.split_once(';').map_or(String::new(), |(_, params)| format!(";{params}"));
        let own = outbound::address(domain(&self.registrar).unwrap_or_default()).map(|_| self.registrar.clone());
        let hosts = self.hosts.iter().filter_map(|host| Some(format!("sip:{}{transport}", outbound::address(host)?)));
        let mut all: Vec<String> = own.into_iter().collect();
        for host in hosts {
            if !all.contains(&host) {
                all.push(host);
            }
        }
        all
    }
}

/// What stands between `sip:` and the parameters of a registrar: a name or an address, and perhaps a port.
pub(crate) fn domain(registrar: &str) -> Option<&str> {
    let rest = registrar.strip_prefix("sip:")?;
    let domain = rest.split_once(';').map_or(rest, |(domain, _)| domain);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (!domain.is_empty() && domain.len() <= DOMAIN_LEN_MAX && domain.chars().all(plain)).then_some(domain)
}

/// RFC 1035 2.3.4, and a port.
const DOMAIN_LEN_MAX: usize = 261;

/// Who we are to a trunk that challenges: its account's user and secret.
pub(crate) fn credentials(doc: &TenantDoc, trunk: &str) -> Option<(String, String)> {
    let decl = outbound::trunk(doc, Some(trunk))?.register.as_ref()?;
    Some((decl.user.clone(), decl.secret.as_ref()?.expose().clone()))
}

impl Registering {
    pub(crate) fn live(&self, trunk: &str) -> Option<RegistrationLive> {
        let known = self.0.get(trunk)?;
        Some(RegistrationLive {
            registered: known.registered,
            host: known.of.addresses().into_iter().nth(known.place as usize),
            code: known.code,
            since_ms: known.since.as_millis(),
        })
    }
}

impl Engine {
    /// New and changed accounts are registered soon; those that are no longer declared are taken back.
    pub(crate) fn declare_registrations(&mut self, now: Timestamp, tenant: &TenantId) {
        let Some(state) = self.tenants.get_mut(tenant) else { return };
        let wanted: BTreeMap<String, Account> = state
            .tenant
            .doc
            .trunk
            .iter()
            .filter_map(|trunk| Some((trunk.name.clone(), Account::of(trunk, trunk.register.as_ref()?))))
            .collect();
        let is_gone = |(trunk, known): &(&String, &Registration)| wanted.get(*trunk) != Some(&known.of);
        let gone: BTreeSet<String> =
            state.registering.0.iter().filter(is_gone).map(|(trunk, _)| trunk.clone()).collect();
        for trunk in gone {
            self.timers.cancel(&Timer::Register(tenant.clone(), trunk.clone()));
            if let Some(id) = state.registering.0.remove(&trunk).and_then(|known| known.id) {
                self.endpoint.unregister(now, id);
            }
        }
        for (place, (trunk, of)) in (1_u32..).zip(wanted) {
            if !state.registering.0.contains_key(&trunk) {
                let new =
                    Registration { of, id: None, place: 0, failures: 0, registered: false, code: None, since: now };
                state.registering.0.insert(trunk.clone(), new);
                self.timers.set(Timer::Register(tenant.clone(), trunk), now + PROBE_APART * place);
            }
        }
    }

    /// Asks the address whose turn it is.
    pub(crate) fn register_trunk(&mut self, now: Timestamp, tenant: &TenantId, trunk: &str) {
        let known = self.tenants.get_mut(tenant).and_then(|state| state.registering.0.get_mut(trunk));
        let Some(known) = known else { return };
        let addresses = known.of.addresses();
        let address = addresses.get(known.place as usize).or_else(|| addresses.first());
        let domain = domain(&known.of.registrar).unwrap_or_default();
        let Some(target) = address.and_then(|address| self.endpoint.target_of(address)) else {
            // Nothing listens that could reach it; a later configuration may.
            self.timers.set(Timer::Register(tenant.clone(), trunk.to_owned()), now + REGISTER_AGAIN_MAX);
            return;
        };
        let request = RegisterRequest {
            registrar: Target { uri: format!("sip:{domain}"), flow: target.flow },
            aor: format!("sip:{}@{domain}", known.of.user),
            user: known.of.user.clone(),
            secret: known.of.secret.expose().clone(),
            expires_s: known.of.expires_s,
        };
        known.id = Some(self.endpoint.register(now, request));
    }

    pub(crate) fn trunk_registered(&mut self, now: Timestamp, id: RegistrationId, result: Result<u32, u16>) {
        let found = self.tenants.iter().find_map(|(tenant, state)| {
            let (trunk, _) = state.registering.0.iter().find(|(_, known)| known.id == Some(id))?;
            Some((tenant.clone(), trunk.clone()))
        });
        let Some((tenant, trunk)) = found else { return };
        let state = self.tenants.get_mut(&tenant);
        let Some(known) = state.and_then(|state| state.registering.0.get_mut(&trunk)) else { return };
        let is_registered = result.is_ok();
        if known.registered != is_registered || known.code != result.err() {
            (known.registered, known.since) = (is_registered, now);
        }
        known.code = result.err();
        let Err(code) = result else {
            known.failures = 0;
            self.changed();
            return;
        };
        self.endpoint.forget_registration(id);
        known.id = None;
        known.failures += 1;
        let hosts = known.of.addresses().len().max(1) as u32;
        // Who is there and refuses would refuse at another of its hosts too.
        let is_down = code == 408 || code >= 500;
        if is_down {
            known.place = (known.place + 1) % hosts;
        }
        let rounds = if is_down { known.failures / hosts } else { known.failures };
        let next = match rounds.checked_sub(1) {
            None => Duration::ZERO,
            Some(_) if is_down && !known.failures.is_multiple_of(hosts) => Duration::ZERO,
            Some(before) => REGISTER_AGAIN.saturating_mul(1 << before.min(16)).min(REGISTER_AGAIN_MAX),
        };
        self.timers.set(Timer::Register(tenant.clone(), trunk.clone()), now + next);
        let why = if code == 408 { "does not answer".to_owned() } else { format!("refuses it with {code}") };
        let message = format!("The trunk {trunk} is not registered: its registrar {why}.");
        self.alarm(now, &tenant, "trunk_not_registered", message);
        self.changed();
    }
}
