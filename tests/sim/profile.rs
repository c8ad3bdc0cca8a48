//! What a seed is like: who works, who calls, how patient they are, how bad the network is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cti_base::{AgentName, Rng, TenantId};

use crate::world::How;

mod settings;
mod tenant;

pub use settings::{CallbackSettings, OrderSettings, QueueSettings};

pub const SWITCH: &str = "192.0.2.100:5060";
pub const REALM: &str = "zongji";
/// Traffic comes for so long; then everyone hangs up.
pub const TRAFFIC: Duration = Duration::from_secs(600);

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
    /// When somebody schedules a callback, or cancels one.
    pub schedules: Vec<Duration>,
    pub cancels: Vec<Duration>,
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
            schedules: times(rng, 12),
            cancels: times(rng, 4),
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
    let did = match rng.below(22) {
        0..=6 => "4001001000",
        7..=10 => "4001001001",
        11..=13 => "4001001002",
        14 | 15 => "4001001003",
        16..=18 => "4001001004",
        19 | 20 => "4001001005",
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
    // Would rather be called back.
    if rng.below(4) == 0 {
        digits.push((ms(1_000 + rng.below(30_000)), '8'));
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
