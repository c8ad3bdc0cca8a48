use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cti_base::{AgentName, Country, QueueName, did_key};
use ivr_scripts::{Script, World};

use super::{AnswerWhen, ConfigError, Phone, RegisterDecl, Route, Tenant, TenantDoc};
use crate::hours::Hours;
use crate::limits::{OPTIONS_S, REGISTER_S, TENANT_ENTRIES_MAX};
use crate::registering;
use crate::routing::TrunkHost;

mod callbacks;
mod queues;

/// Skill levels.
const LEVELS: std::ops::RangeInclusive<u8> = 1..=5;
/// Seconds of any time in a tenant's file: a day.
const SECONDS_MAX: u32 = 86_400;
/// Weights of queues and agents.
const WEIGHT_MAX: f64 = 1_000.0;
/// The longest name or display of anything in a tenant's file, in bytes.
const NAME_LEN_MAX: usize = 128;

impl Tenant {
    /// Checks every reference of `doc` and compiles its scripts, whose `source` the caller has filled in.
    ///
    /// `digests` are the HA1 pairs of agents with a `sip` phone. `prompts` are the names known in each locale, and under
    /// `music` the music's; `None` leaves prompts unchecked. All errors in order of place; never an empty list.
    pub fn compile(
        doc: TenantDoc,
        digests: BTreeMap<AgentName, (String, String)>,
        prompts: Option<&BTreeMap<String, Vec<String>>>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut check = Check { doc: &doc, errors: Vec::new() };
        let (zone, country) = check.tenant();
        check.trunks();
        let hours = check.hours();
        let scripts = check.scripts(prompts);
        let dids = check.numbers(country);
        check.queues(prompts);
        check.agents();
        let errors = check.errors;
        match (zone, country) {
            (Some(zone), Some(country)) if errors.is_empty() => {
                Ok(Self { doc, scripts, digests, hours, zone, country, dids })
            }
            _ => Err(errors),
        }
    }
}

struct Check<'a> {
    doc: &'a TenantDoc,
    errors: Vec<ConfigError>,
}

impl Check<'_> {
    fn tenant(&mut self) -> (Option<chrono_tz::Tz>, Option<Country>) {
        let decl = &self.doc.tenant;
        self.name("tenant.id", decl.id.as_str());
        if decl.id.as_str() == "system" {
            self.fault("tenant.id", "`system` is the installation's own: choose another id");
        }
        if decl.name.is_empty() {
            self.fault("tenant.name", "is empty");
        }
        if decl.locale.is_empty() {
            self.fault("tenant.locale", "is empty: write it as `zh-CN` or `en`");
        }
        let zone = decl.timezone.parse().ok();
        if zone.is_none() {
            let text = format!("`{}` is no time zone: write it as `Asia/Shanghai`", decl.timezone);
            self.fault("tenant.timezone", text);
        }
        let country = Country::parse(&decl.country);
        if country.is_none() {
            let text = format!("`{}` is no country: write its ISO 3166-1 code, as `CN`", decl.country);
            self.fault("tenant.country", text);
        }
        for (key, fault) in decl.outbound.faults(country) {
            self.fault(format!("tenant.outbound.{key}"), fault);
        }
        (zone, country)
    }

    fn trunks(&mut self) {
        self.names("trunk", self.doc.trunk.iter().map(|trunk| trunk.name.as_str()).collect());
        let mut seen = BTreeMap::new();
        for trunk in &self.doc.trunk {
            let path = format!("trunk[{}]", trunk.name);
            if trunk.hosts.is_empty() {
                self.fault(format!("{path}.hosts"), "names no address: calls could not come in");
            }
            for host in &trunk.hosts {
                let Some(parsed) = TrunkHost::parse(host) else {
                    let text = format!("`{host}` is no address: write `192.0.2.1` or `192.0.2.1:5060`");
                    self.fault(format!("{path}.hosts"), text);
                    continue;
                };
                if let Some(other) = seen.insert(parsed, &trunk.name) {
                    self.fault(format!("{path}.hosts"), format!("`{host}` is trunk `{other}`'s already"));
                }
            }
            if trunk.max_calls == 0 {
                self.fault(format!("{path}.max_calls"), "must be at least 1");
            }
            if trunk.options_s.is_some_and(|seconds| !OPTIONS_S.contains(&seconds)) {
                let text = format!(
                    "must be {} to {} seconds; leave it out to ask no host",
                    OPTIONS_S.start(),
                    OPTIONS_S.end()
                );
                self.fault(format!("{path}.options_s"), text);
            }
            if let Some(register) = &trunk.register {
                self.register(&path, register);
            }
            if trunk.max_cps == Some(0) {
                self.fault(format!("{path}.max_cps"), "must be at least 1; leave it out for no limit");
            }
        }
    }

    fn register(&mut self, path: &str, decl: &RegisterDecl) {
        if registering::domain(&decl.registrar).is_none() {
            let text =
                format!("`{}` is no registrar: write `sip:192.0.2.1:5060` or `sip:carrier.example`", decl.registrar);
            self.fault(format!("{path}.register.registrar"), text);
        }
        if decl.user.is_empty() || decl.user.len() > NAME_LEN_MAX || decl.user.contains(|c: char| c.is_control()) {
            self.fault(format!("{path}.register.user"), "must be the account's name");
        }
        if !REGISTER_S.contains(&decl.expires_s) {
            let text = format!("must be {} to {} seconds", REGISTER_S.start(), REGISTER_S.end());
            self.fault(format!("{path}.register.expires_s"), text);
        }
    }

    fn hours(&mut self) -> BTreeMap<String, Hours> {
        self.names("hours", self.doc.hours.iter().map(|hours| hours.name.as_str()).collect());
        let mut parsed = BTreeMap::new();
        for decl in &self.doc.hours {
            match Hours::parse(&decl.open, &decl.closed) {
                Ok(hours) => {
                    parsed.insert(decl.name.clone(), hours);
                }
                Err(message) => self.fault(format!("hours[{}]", decl.name), message),
            }
        }
        parsed
    }

    fn scripts(&mut self, prompts: Option<&BTreeMap<String, Vec<String>>>) -> BTreeMap<String, Arc<Script>> {
        self.names("ivr", self.doc.ivr.iter().map(|ivr| ivr.name.as_str()).collect());
        let queues: Vec<String> = self.doc.queue.iter().map(|queue| queue.name.to_string()).collect();
        let hours: Vec<String> = self.doc.hours.iter().map(|hours| hours.name.clone()).collect();
        let world = World { queues: Some(&queues), hours: Some(&hours), prompts };
        let mut scripts = BTreeMap::new();
        for decl in &self.doc.ivr {
            let path = format!("ivr[{}]", decl.name);
            let Some(source) = &decl.source else {
                self.fault(format!("{path}.file"), format!("`{}` was not read", decl.file));
                continue;
            };
            match Script::compile(source, world) {
                Ok(script) => {
                    scripts.insert(decl.name.clone(), Arc::new(script));
                }
                Err(errors) => {
                    for error in errors {
                        self.fault(path.clone(), format!("{}:{error}", decl.file));
                    }
                }
            }
        }
        scripts
    }

    fn numbers(&mut self, country: Option<Country>) -> BTreeMap<(String, String), usize> {
        let mut dids = BTreeMap::new();
        if self.doc.number.len() > TENANT_ENTRIES_MAX {
            self.fault("number", format!("at most {TENANT_ENTRIES_MAX} entries"));
        }
        for (index, number) in self.doc.number.iter().enumerate() {
            let path = format!("number[{}]", number.did);
            if !self.doc.trunk.iter().any(|trunk| trunk.name == number.trunk) {
                self.fault(format!("{path}.trunk"), format!("there is no trunk `{}`", number.trunk));
            }
            self.route(&format!("{path}.route"), &number.route);
            if number.answer == AnswerWhen::Agent && matches!(number.route, Route::Ivr(_)) {
                let text = "`agent` needs a route to a queue: a menu has to be answered to be heard";
                self.fault(format!("{path}.answer"), text);
            }
            let key = country.map(|country| did_key(&number.did, country)).unwrap_or_default();
            if country.is_some() && key.is_empty() {
                self.fault(format!("{path}.did"), "has no digits");
            } else if country.is_some() && dids.insert((number.trunk.clone(), key), index).is_some() {
                self.fault(format!("{path}.did"), format!("is declared twice on trunk `{}`", number.trunk));
            }
        }
        dids
    }

    fn agents(&mut self) {
        self.names("agent", self.doc.agent.iter().map(|agent| agent.name.as_str()).collect());
        for agent in &self.doc.agent {
            let path = format!("agent[{}]", agent.name);
            self.levels(&format!("{path}.skills"), &agent.skills);
            self.weight(format!("{path}.weight"), agent.weight);
            let mut served = BTreeSet::new();
            for queue in &agent.queues {
                if !self.has_queue(queue) {
                    self.fault(format!("{path}.queues"), format!("there is no queue `{queue}`"));
                }
                if !served.insert(queue) {
                    self.fault(format!("{path}.queues"), format!("names `{queue}` twice"));
                }
            }
            match &agent.phone {
                Phone::Contact { uri } => {
                    if !is_contact_uri(uri) {
                        let text = format!("`{uri}` is no SIP address: write it as `sip:1001@192.0.2.1:5060`");
                        self.fault(format!("{path}.phone.uri"), text);
                    }
                }
                Phone::Webrtc {} if agent.always_ready => {
                    let text = "needs a phone of kind `sip` or `contact`: a browser is not always there";
                    self.fault(format!("{path}.always_ready"), text);
                }
                Phone::Webrtc {} | Phone::Sip { .. } => {}
            }
        }
    }

    fn route(&mut self, path: &str, route: &Route) {
        let missing = match route {
            Route::Ivr(name) => (!self.doc.ivr.iter().any(|ivr| ivr.name == *name)).then(|| format!("ivr `{name}`")),
            Route::Queue(name) => (!self.has_queue(name)).then(|| format!("queue `{name}`")),
            Route::Agent(name) => return self.direct(path, name),
        };
        if let Some(missing) = missing {
            self.fault(path, format!("there is no {missing}"));
        }
    }

    /// An agent whom callers may wait for alone.
    fn direct(&mut self, path: &str, name: &AgentName) {
        match self.doc.agent.iter().find(|agent| agent.name == *name) {
            None => self.fault(path, format!("there is no agent `{name}`")),
            Some(agent) if agent.queues.is_empty() => {
                let text = format!("agent `{name}` serves no queue: direct calls go by the rules of their first one");
                self.fault(path, text);
            }
            Some(_) => {}
        }
    }

    fn has_queue(&self, name: &QueueName) -> bool {
        self.doc.queue.iter().any(|queue| queue.name == *name)
    }

    fn weight(&mut self, path: String, weight: f64) {
        if !(weight > 0.0 && weight <= WEIGHT_MAX) {
            self.fault(path, format!("{weight} is not above 0 and at most {WEIGHT_MAX}"));
        }
    }

    fn levels(&mut self, path: &str, skills: &BTreeMap<String, u8>) {
        for (skill, level) in skills {
            if !LEVELS.contains(level) {
                self.fault(format!("{path}.{skill}"), format!("level {level} is not from 1 to 5"));
            }
        }
    }

    fn seconds(&mut self, path: String, value: u32, least: u32) {
        if !(least..=SECONDS_MAX).contains(&value) {
            self.fault(path, format!("{value} is not from {least} to {SECONDS_MAX} seconds"));
        }
    }

    fn names(&mut self, kind: &str, names: Vec<&str>) {
        if names.len() > TENANT_ENTRIES_MAX {
            self.fault(kind, format!("at most {TENANT_ENTRIES_MAX} entries"));
        }
        let mut seen = BTreeSet::new();
        for name in names {
            self.name(&format!("{kind}[{name}].name"), name);
            if !seen.insert(name) {
                self.fault(format!("{kind}[{name}].name"), "is declared twice");
            }
        }
    }

    fn name(&mut self, path: &str, name: &str) {
        if name.is_empty() || name.len() > NAME_LEN_MAX || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.fault(path, format!("must have 1 to {NAME_LEN_MAX} bytes without white space"));
        }
    }

    fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.push(ConfigError { path: path.into(), message: message.into() });
    }
}

/// Whether `uri` is `sip:[user@]ADDRESS[:port][;parameters]` with a literal address: nothing here asks DNS.
fn is_contact_uri(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("sip:") else { return false };
    let hostport = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let hostport = hostport.split([';', '?']).next().unwrap_or_default();
    let bare = hostport.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(hostport);
    let printable = uri.bytes().all(|b| b.is_ascii_graphic());
    printable && (hostport.parse::<SocketAddr>().is_ok_and(|addr| addr.port() != 0) || bare.parse::<IpAddr>().is_ok())
}
