//! What a seed is like: who works, who calls, how patient they are, how bad the network is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cti_base::{AgentName, Rng, TenantId};
use cti_sip::Account;
use cti_switch::config::{Tenant, TenantDoc};
use serde_json::{Value, json};

use crate::world::How;

pub const SWITCH: &str = "192.0.2.100:5060";
pub const REALM: &str = "zongji";
/// Traffic comes for so long; then everyone hangs up.
pub const TRAFFIC: Duration = Duration::from_secs(600);

pub const SCRIPT: &str = r#"
[script]
name = "main"
start = "welcome"

[[node]]
name = "welcome"
kind = "play"
prompts = ["welcome"]
then = "menu"

[[node]]
name = "menu"
kind = "menu"
prompts = ["main_menu"]
timeout_s = 3
silence = { prompts = "silence", repeat = 1, then = "general" }
invalid = { prompts = "invalid", repeat = 2, then = "bye" }
[node.digits]
1 = "general"
2 = "repair"
3 = "number"
9 = "bye"

[[node]]
name = "number"
kind = "collect"
prompts = ["enter"]
into = "serial"
max_digits = 4
silence = { prompts = "silence", repeat = 1, then = "general" }
invalid = { prompts = "invalid", repeat = 1, then = "general" }
then = "vip"

[[node]]
name = "general"
kind = "queue"
queue = "general"

[[node]]
name = "repair"
kind = "queue"
queue = "repair"

[[node]]
name = "vip"
kind = "queue"
queue = "vip"

[[node]]
name = "bye"
kind = "hangup"
prompts = ["goodbye"]
"#;

#[derive(Clone, Debug)]
pub struct Network {
    pub delay: Duration,
    pub jitter: Duration,
    pub loss_per_mille: u64,
    pub double_per_mille: u64,
}

#[derive(Clone, Debug)]
pub struct AgentProfile {
    pub tenant: TenantId,
    pub name: AgentName,
    pub address: SocketAddr,
    /// Its phone speaks TCP.
    pub tcp: bool,
    /// Registers by digest with this secret.
    pub secret: Option<String>,
    pub always_ready: bool,
    pub desk: bool,
    pub skills: BTreeMap<String, u8>,
    pub queues: Vec<String>,
}

impl AgentProfile {
    /// What a URI of its phone's says of the transport.
    pub const fn transport(&self) -> &'static str {
        if self.tcp { ";transport=tcp" } else { "" }
    }
}

#[derive(Clone, Debug)]
pub struct Caller {
    /// When they ring, after the beginning.
    pub at: Duration,
    pub tenant: usize,
    pub number: String,
    pub did: &'static str,
    /// How long they wait for an agent.
    pub patience: Duration,
    /// Keys, each so long after the call began.
    pub digits: Vec<(Duration, char)>,
    pub talk: Duration,
    /// How the description that they offer is.
    pub offer: OfferKind,
    pub holds: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferKind {
    Good,
    Pcmu,
    NoCodec,
    Garbage,
}

#[derive(Clone, Debug)]
pub struct Profile {
    pub network: Network,
    pub tenants: Vec<TenantId>,
    pub carriers: Vec<SocketAddr>,
    pub agents: Vec<AgentProfile>,
    pub callers: Vec<Caller>,
    pub redeclares: Vec<Duration>,
    pub garbage: Vec<Duration>,
    pub drain_at: Option<Duration>,
    /// The program is told to end, with calls still there.
    pub close_at: Option<Duration>,
    /// Per mille of phones' answers that are not a plain answer.
    pub bad_phones: u64,
    pub bad_ports: u64,
    pub records_after: Duration,
    pub queue_settings: QueueSettings,
    /// When the program dies, and how.
    pub crashes: Vec<(Duration, How)>,
    pub snapshot_every: Duration,
    /// How long a group of the journal stays open at most.
    pub group_ms_max: u64,
}

/// What a new declaration may change.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    pub ring_timeout_s: u64,
    pub wrapup_s: u64,
    pub max_wait_s: u64,
    pub max_waiting: u64,
    pub overflow_s: u64,
    pub record: bool,
    pub repair_level: u64,
    pub vip_priority: i64,
    pub vip_stands: bool,
    pub max_calls: u64,
    /// Of general, repair and vip.
    pub strategies: [&'static str; 3],
    /// When repair asks less and other queues; none beyond the longest wait.
    pub relax_s: u64,
    pub relax_for_s: u64,
    /// vip is helped out by repair.
    pub borrows: bool,
    pub no_staff: bool,
    pub waiting_max: u64,
    /// The agents' ranks the other way round.
    pub bottom_up: bool,
}

const STRATEGIES: [&str; 9] = [
    "longest_idle",
    "round_robin",
    "least_calls",
    "least_talk_time",
    "top_down",
    "random",
    "ring_all",
    "best_skill",
    "scored",
];

impl QueueSettings {
    pub fn drawn(rng: &mut Rng) -> Self {
        Self {
            ring_timeout_s: 4 + rng.below(12),
            wrapup_s: if rng.below(3) == 0 { 0 } else { 1 + rng.below(20) },
            max_wait_s: 30 + rng.below(90),
            max_waiting: 2 + rng.below(30),
            overflow_s: 10 + rng.below(40),
            record: rng.below(4) > 0,
            repair_level: 1 + rng.below(4),
            vip_priority: rng.below(3) as i64 * 5,
            vip_stands: true,
            max_calls: if rng.below(5) == 0 { 8 + rng.below(10) } else { 500 },
            strategies: [0; 3].map(|_| STRATEGIES[rng.below(9) as usize]),
            relax_s: 2 + rng.below(20),
            relax_for_s: 1 + rng.below(40),
            borrows: rng.below(2) == 0,
            no_staff: rng.below(3) == 0,
            waiting_max: 2 + rng.below(20),
            bottom_up: false,
        }
    }
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl Profile {
    pub fn drawn(rng: &mut Rng) -> Self {
        let ms = Duration::from_millis;
        let network = match rng.below(4) {
            0 => Network { delay: ms(1), jitter: ms(0), loss_per_mille: 0, double_per_mille: 0 },
            1 => Network { delay: ms(5), jitter: ms(20), loss_per_mille: 5, double_per_mille: 10 },
            2 => Network { delay: ms(20), jitter: ms(60), loss_per_mille: 30, double_per_mille: 30 },
            _ => Network { delay: ms(80), jitter: ms(200), loss_per_mille: 80, double_per_mille: 50 },
        };
        let tenants: Vec<TenantId> =
            ["acme", "bolt"].iter().take(1 + usize::from(rng.below(3) == 0)).map(|t| TenantId::from(*t)).collect();
        let carriers = (0..tenants.len()).map(|n| address(&format!("192.0.2.{}:5070", 10 + n))).collect();
        let mut agents = Vec::new();
        for (t, tenant) in tenants.iter().enumerate() {
            for n in 0..2 + rng.below(6) {
                agents.push(agent(rng, t, tenant, n));
            }
        }
        let count = 105 + rng.below(60);
        // Bursts and lulls: the gap's mean changes on the way.
        let mut at = Duration::ZERO;
        let mut callers = Vec::new();
        let span = TRAFFIC.mul_f64(0.95);
        for n in 0..count {
            let mean = span.as_secs_f64() / count as f64;
            let pace = if n / 20 % 2 == 0 { 0.5 } else { 1.5 };
            at += Duration::from_secs_f64(mean * pace * (0.2 + 1.6 * rng.unit()));
            let caller = caller(rng, n, at.min(span), tenants.len());
            callers.push(caller);
        }
        let times = |rng: &mut Rng, most: u64| -> Vec<Duration> {
            (0..rng.below(most + 1)).map(|_| TRAFFIC.mul_f64(rng.unit())).collect()
        };
        let mut profile = Self {
            network,
            carriers,
            agents,
            callers,
            redeclares: if rng.below(2) == 0 { times(rng, 6) } else { Vec::new() },
            garbage: times(rng, 30),
            drain_at: (rng.below(10) == 0).then(|| TRAFFIC.mul_f64(0.97)),
            close_at: (rng.below(10) == 0).then(|| TRAFFIC.mul_f64(0.98)),
            bad_phones: [0, 100, 300, 600][rng.below(4) as usize],
            bad_ports: if rng.below(4) == 0 { 20 } else { 0 },
            records_after: ms([1, 5, 25, 60][rng.below(4) as usize]),
            queue_settings: QueueSettings::drawn(rng),
            tenants,
            crashes: Vec::new(),
            snapshot_every: ms(500 + rng.below(60_000)),
            group_ms_max: rng.below(7),
        };
        // One run in five has a program that lives.
        let deaths = if rng.below(5) == 0 { 0 } else { 1 + rng.below(10) };
        for _ in 0..deaths {
            let how = [How::Lost, How::Lost, How::Unsaid, How::Unsaid, How::Upgrade][rng.below(5) as usize];
            let at = TRAFFIC.mul_f64(rng.unit());
            profile.crashes.push((at, how));
            // Again while it takes up, or soon after.
            if rng.below(5) == 0 {
                profile.crashes.push((at + ms(rng.below(6_000)), how));
            }
        }
        if rng.below(20) == 0 {
            profile.crashes.push((TRAFFIC.mul_f64(0.5 * rng.unit()), How::Long));
        }
        profile
    }

    /// The tenant's file as it is at this moment; `without` is not declared.
    pub fn tenant(&self, index: usize, settings: &QueueSettings, without: Option<&AgentName>) -> Tenant {
        let id = &self.tenants[index];
        let mine = || self.agents.iter().filter(|a| a.tenant == *id && Some(&a.name) != without);
        let mut digests = BTreeMap::new();
        for agent in mine() {
            if let Some(secret) = &agent.secret {
                let account = Account::with_secret(id.as_str(), agent.name.as_str(), REALM, secret);
                digests.insert(agent.name.clone(), (account.ha1_md5, account.ha1_sha256));
            }
        }
        let agents: Vec<Value> = mine()
            .enumerate()
            .map(|(n, a)| {
                let rank = if settings.bottom_up { 100 - n } else { n };
                let queues: Vec<&String> = a.queues.iter().filter(|q| settings.vip_stands || *q != "vip").collect();
                let phone = match &a.secret {
                    Some(_) => json!({ "kind": "sip", "secret_file": "none" }),
                    None => {
                        json!({ "kind": "contact", "uri": format!("sip:{}@{}{}", a.name, a.address, a.transport()) })
                    }
                };
                json!({ "name": a.name, "queues": queues, "skills": a.skills, "phone": phone,
                        "always_ready": a.always_ready, "rank": rank, "weight": 1.0 + n as f64 })
            })
            .collect();
        let queue = |name: &str, priority: i64| {
            let mut queue = json!({
                "name": name, "priority": priority, "ring_timeout_s": settings.ring_timeout_s,
                "wrapup_s": settings.wrapup_s, "max_wait_s": settings.max_wait_s, "max_waiting": settings.max_waiting,
                "record": settings.record, "announce": { "every_s": 7 },
            });
            let overflow = |to: Value| {
                let mut rules = vec![json!({ "after_s": settings.overflow_s, "to": to })];
                if settings.no_staff {
                    rules.insert(0, json!({ "no_staff": true, "to": to }));
                    rules.push(json!({ "waiting": settings.waiting_max.min(settings.max_waiting), "to": to }));
                }
                json!(rules)
            };
            let [general, repair, vip] = settings.strategies;
            queue["strategy"] = json!(general);
            if name == "repair" {
                queue["strategy"] = json!(repair);
                queue["requires"] = json!({ "repair": settings.repair_level });
                queue["overflow"] = overflow(json!({ "queue": "general" }));
                let less = settings.repair_level / 2;
                let until_s = settings.relax_s + settings.relax_for_s;
                queue["relax"] = json!([
                    { "after_s": settings.relax_s, "requires": { "repair": less } },
                    { "after_s": settings.relax_s + 1, "queues": ["general"], "until_s": until_s + 1 },
                ]);
            }
            if name == "vip" {
                queue["strategy"] = json!(vip);
                queue["overflow"] = overflow(json!({ "ivr": "main" }));
                if settings.borrows {
                    queue["borrow"] = json!(["repair"]);
                }
            }
            queue
        };
        let mut queues = vec![queue("general", 0), queue("repair", 0)];
        let vip = if settings.vip_stands { "vip" } else { "general" };
        if settings.vip_stands {
            queues.push(queue("vip", settings.vip_priority));
        }
        let script = SCRIPT.replace("queue = \"vip\"", &format!("queue = \"{vip}\""));
        let number = |did: &str, route: Value, answer: &str| json!({ "did": did, "trunk": "carrier", "route": route, "answer": answer });
        let doc: TenantDoc = serde_json::from_value(json!({
            "tenant": { "id": id, "name": id },
            "trunk": [{ "name": "carrier", "hosts": [self.carriers[index].ip().to_string()], "max_calls": settings.max_calls }],
            "ivr": [{ "name": "main", "file": "main.toml", "source": script }],
            "number": [
                number("4001001000", json!({ "ivr": "main" }), "entry"),
                number("4001001001", json!({ "queue": "repair" }), "entry"),
                number("4001001002", json!({ "queue": "general" }), "agent"),
                number("4001001003", json!({ "queue": vip }), "entry"),
                number("4001001004", json!({ "queue": "general" }), "entry"),
            ],
            "queue": queues,
            "agent": agents,
        }))
        .expect("a tenant's file");
        match Tenant::compile(doc, digests, None) {
            Ok(tenant) => tenant,
            Err(errors) => panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }
}

fn agent(rng: &mut Rng, t: usize, tenant: &TenantId, n: u64) -> AgentProfile {
    let name = AgentName::from(format!("{}", 1001 + n));
    let secret = (rng.below(3) == 0).then(|| format!("{tenant}-{name}"));
    let desk = rng.below(2) == 0;
    let mut queues = vec!["general".to_owned()];
    if rng.below(2) == 0 {
        queues.push("repair".into());
    }
    if rng.below(3) == 0 {
        queues.push("vip".into());
    }
    AgentProfile {
        tenant: tenant.clone(),
        address: address(&format!("192.0.2.{}:{}", 20 + t, 6001 + n)),
        secret,
        tcp: rng.below(4) == 0,
        always_ready: !desk || rng.below(4) == 0,
        desk,
        skills: BTreeMap::from([("repair".to_owned(), 1 + rng.below(5) as u8)]),
        queues,
        name,
    }
}

fn caller(rng: &mut Rng, n: u64, at: Duration, tenants: usize) -> Caller {
    let ms = Duration::from_millis;
    let did = match rng.below(20) {
        0..=6 => "4001001000",
        7..=10 => "4001001001",
        11..=13 => "4001001002",
        14 | 15 => "4001001003",
        16..=18 => "4001001004",
        _ => "4009999999",
    };
    let patience = match rng.below(10) {
        // Gives up while the answer is on its way.
        0 => ms(rng.below(400)),
        1..=3 => ms(rng.below(15_000)),
        4..=6 => ms(5_000 + rng.below(40_000)),
        _ => ms(60_000 + rng.below(120_000)),
    };
    let mut digits = Vec::new();
    let mut after = ms(200 + rng.below(4_000));
    for _ in 0..rng.below(7) {
        digits.push((after, ['1', '2', '3', '9', '5', '*', '#', '7'][rng.below(8) as usize]));
        after += ms(50 + rng.below(2_500));
    }
    let offer = match rng.below(40) {
        0 => OfferKind::NoCodec,
        1 => OfferKind::Garbage,
        2..=12 => OfferKind::Pcmu,
        _ => OfferKind::Good,
    };
    let talk_ms_max = if rng.below(4) == 0 { 60_000 } else { 20_000 };
    Caller {
        at,
        tenant: rng.below(tenants as u64) as usize,
        number: format!("+86138001{n:05}"),
        did,
        patience,
        digits,
        talk: ms(300 + rng.below(talk_ms_max)),
        offer,
        holds: rng.below(8) == 0,
    }
}
