//! A queue as the tenant's file declares it.

use std::collections::BTreeMap;

use cti_acd::{OrderRules, RelaxStep, ScoreWeights, Strategy};
use cti_base::{NodeName, QueueName};
use serde::{Deserialize, Serialize};

use super::callback::CallbackDecl;
use super::overflow::{Overflow, one_or_many};
use super::voicemail::VoicemailDecl;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueDecl {
    pub name: QueueName,
    #[serde(default)]
    pub display: Option<String>,
    #[serde(default)]
    pub strategy: Strategy,
    /// What counts under the strategy `scored`.
    #[serde(default)]
    pub weights: ScoreWeights,
    #[serde(default)]
    pub service_level: ServiceLevel,
    #[serde(default = "default_ring_timeout_s")]
    pub ring_timeout_s: u32,
    /// Unanswered offers in a row that send an agent to a break.
    #[serde(default = "default_misses_max")]
    pub misses_max: u32,
    #[serde(default)]
    pub wrapup: WrapupMode,
    #[serde(default = "default_wrapup_s")]
    pub wrapup_s: u32,
    #[serde(default = "default_max_wait_s")]
    pub max_wait_s: u32,
    #[serde(default = "default_max_waiting")]
    pub max_waiting: u32,
    /// Skills and least level, 1 to 5.
    #[serde(default)]
    pub requires: BTreeMap<String, u8>,
    /// What is required less, or asked more, the longer a caller waits.
    #[serde(default)]
    pub relax: Vec<RelaxStep>,
    #[serde(default = "default_music")]
    pub music: String,
    #[serde(default)]
    pub record: bool,
    /// The kind of case its calls usually become.
    #[serde(default)]
    pub case: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub overflow: Vec<Overflow>,
    /// Turns the rules `emergency = true` on.
    #[serde(default)]
    pub emergency: bool,
    #[serde(default)]
    pub announce: Announce,
    /// What else a waiting caller hears, and when.
    #[serde(default)]
    pub comfort: Vec<Comfort>,
    /// What a key does during the wait.
    #[serde(default)]
    pub keys: BTreeMap<char, KeyAction>,
    /// Higher is served first.
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub order: OrderRules,
    /// Across queues: a wait in this one counts so many times.
    #[serde(default = "default_weight")]
    pub weight: f64,
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// Queues whose agents help out while nobody waits there and their service level holds.
    #[serde(default)]
    pub borrow: Vec<QueueName>,
    /// The agent's phone is asked to answer by itself, and the agent hears a tone first.
    #[serde(default)]
    pub auto_answer: bool,
    #[serde(default)]
    pub whisper: Whisper,
    /// A caller who hangs up within this time of entering is counted as a short abandon too.
    #[serde(default = "default_short_abandon_s")]
    pub short_abandon_s: u32,
    /// How its callers are called back.
    #[serde(default)]
    pub callback: CallbackDecl,
    /// How its callers leave messages.
    #[serde(default)]
    pub voicemail: VoicemailDecl,
}

/// Answered within `seconds`: `percent` of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceLevel {
    pub seconds: u32,
    pub percent: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrapupMode {
    /// `wrapup_s`, or less where the agent finishes before.
    #[default]
    Fixed,
    /// Until the agent finishes; `wrapup_s` does not count.
    UntilDone,
    None,
}

/// What a waiting caller is told, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Announce {
    pub position: bool,
    pub wait: bool,
    /// 0 is never.
    pub every_s: u32,
}

/// Prompts for a waiting caller, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comfort {
    pub after_s: u32,
    #[serde(default)]
    pub every_s: Option<u32>,
    /// Names without locale.
    pub prompts: Vec<String>,
}

/// What a key does during the wait. Exactly one of them; `node` goes with `ivr`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyAction {
    /// The caller hangs up and is called back, in their place.
    pub callback: bool,
    pub voicemail: bool,
    /// Back to a menu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ivr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
}

/// Who is asked alone at first, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    pub s: u32,
    #[serde(default)]
    pub by: StickyBy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StickyBy {
    /// Who talked with the customer last.
    #[default]
    LastAgent,
    /// Who owns the customer's newest open case.
    CaseOwner,
}

/// What the agent hears before the caller is joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Whisper {
    /// Names without locale, such as the queue's name spoken.
    pub prompts: Vec<String>,
    /// How long the caller has waited.
    pub wait: bool,
}

impl Whisper {
    pub fn is_silent(&self) -> bool {
        self.prompts.is_empty() && !self.wait
    }
}

const fn default_ring_timeout_s() -> u32 {
    15
}
const fn default_misses_max() -> u32 {
    2
}
const fn default_wrapup_s() -> u32 {
    30
}
const fn default_short_abandon_s() -> u32 {
    5
}
const fn default_max_wait_s() -> u32 {
    600
}
const fn default_max_waiting() -> u32 {
    200
}
fn default_music() -> String {
    "default".into()
}
const fn default_weight() -> f64 {
    1.0
}

impl QueueDecl {
    /// A queue with every default.
    pub fn named(name: QueueName) -> Self {
        Self {
            name,
            display: None,
            strategy: Strategy::default(),
            weights: ScoreWeights::default(),
            service_level: ServiceLevel::default(),
            ring_timeout_s: default_ring_timeout_s(),
            misses_max: default_misses_max(),
            wrapup: WrapupMode::default(),
            wrapup_s: default_wrapup_s(),
            max_wait_s: default_max_wait_s(),
            max_waiting: default_max_waiting(),
            requires: BTreeMap::new(),
            relax: Vec::new(),
            music: default_music(),
            record: false,
            case: None,
            overflow: Vec::new(),
            emergency: false,
            announce: Announce::default(),
            comfort: Vec::new(),
            keys: BTreeMap::new(),
            priority: 0,
            order: OrderRules::default(),
            weight: default_weight(),
            sticky: None,
            borrow: Vec::new(),
            auto_answer: false,
            whisper: Whisper::default(),
            short_abandon_s: default_short_abandon_s(),
            callback: CallbackDecl::default(),
            voicemail: VoicemailDecl::default(),
        }
    }
}

impl Default for ServiceLevel {
    fn default() -> Self {
        Self { seconds: 20, percent: 80 }
    }
}

impl Default for Announce {
    fn default() -> Self {
        Self { position: true, wait: true, every_s: 30 }
    }
}
