//! A tenant as its file declares it (contract.md, "A tenant's file"). Names mean what they mean there; `Tenant` is the
//! checked and compiled form that the switch runs on.

use std::collections::BTreeMap;
use std::sync::Arc;

use cti_base::{AgentName, Country, Pii, QueueName, TenantId};
use ivr_scripts::Script;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hours::Hours;

mod callback;
mod compile;
mod outbound;
mod overflow;
mod queue;
mod rules;
mod voicemail;

pub use callback::{CallbackDecl, DialFirst};
pub use cti_acd::{OrderRules, RelaxStep, ScoreWeights, Strategy};
pub use outbound::OutboundDecl;
pub use overflow::{Overflow, Target, When};
pub use queue::{Announce, Comfort, KeyAction, QueueDecl, ServiceLevel, Sticky, StickyBy, Whisper, WrapupMode};
pub use voicemail::VoicemailDecl;

/// The whole file. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantDoc {
    pub tenant: TenantDecl,
    #[serde(default)]
    pub trunk: Vec<TrunkDecl>,
    #[serde(default)]
    pub ivr: Vec<IvrDecl>,
    #[serde(default)]
    pub hours: Vec<HoursDecl>,
    #[serde(default)]
    pub number: Vec<NumberDecl>,
    #[serde(default)]
    pub queue: Vec<QueueDecl>,
    #[serde(default)]
    pub agent: Vec<AgentDecl>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantDecl {
    pub id: TenantId,
    pub name: String,
    #[serde(default = "default_locale")]
    pub locale: String,
    #[serde(default = "default_timezone")]
    pub timezone: String,
    #[serde(default = "default_country")]
    pub country: String,
    /// Break reasons that agents may choose.
    #[serde(default = "default_break_reasons")]
    pub break_reasons: Vec<String>,
    #[serde(default = "default_dispositions")]
    pub dispositions: Vec<String>,
    #[serde(default)]
    pub outbound: OutboundDecl,
    /// Turns the rules `emergency = true` of every queue on.
    #[serde(default)]
    pub emergency: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkDecl {
    pub name: String,
    /// `ADDR` (any source port; 5060 outbound) or `ADDR:PORT`.
    pub hosts: Vec<String>,
    #[serde(default = "default_max_calls")]
    pub max_calls: u32,
    /// New calls a second.
    #[serde(default)]
    pub max_cps: Option<u32>,
    /// Each host is asked by OPTIONS so often whether it is there, seconds; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options_s: Option<u32>,
    /// G.722 and Opus are taken where the caller puts them first; else only where there is no G.711.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wideband: bool,
    /// Where this system registers, so that the trunk's calls come to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterDecl>,
}

/// An account at a carrier's registrar; our INVITEs to the trunk answer challenges with it too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterDecl {
    /// `sip:192.0.2.1:5060`; a name (`sip:carrier.example`) where the trunk's hosts are to be asked by it, in their order.
    pub registrar: String,
    pub user: String,
    /// Relative to the tenant's file.
    pub secret_file: String,
    /// The file's line, filled in by whoever read it; never written by hand, never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Pii<String>>,
    /// How long a registration is asked for; it is renewed after four fifths of what is granted.
    #[serde(default = "default_expires_s")]
    pub expires_s: u32,
}

const fn default_expires_s() -> u32 {
    600
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IvrDecl {
    pub name: String,
    /// Relative to the tenant's file.
    pub file: String,
    /// The file's text, filled in by whoever read it; never written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursDecl {
    pub name: String,
    /// `Mon-Fri 08:00-18:00`, in the tenant's time zone.
    pub open: Vec<String>,
    /// `2026-10-01..2026-10-07` or one day.
    #[serde(default)]
    pub closed: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberDecl {
    pub did: String,
    pub trunk: String,
    pub route: Route,
    #[serde(default)]
    pub answer: AnswerWhen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerWhen {
    /// On entering a menu or a queue.
    #[default]
    Entry,
    /// When an agent answers; the caller hears the network's ringing until then.
    Agent,
}

/// Where a call goes. Exactly one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Route {
    Ivr(String),
    Queue(QueueName),
    /// This agent alone, in a line of their own: by the rules of the first queue that the agent serves.
    Agent(AgentName),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentDecl {
    pub name: AgentName,
    #[serde(default)]
    pub display: Option<String>,
    /// Relative to the tenant's file; without it the agent can not sign in to the desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    #[serde(default)]
    pub role: Role,
    /// Skill and level, 1 to 5.
    #[serde(default)]
    pub skills: BTreeMap<String, u8>,
    #[serde(default)]
    pub queues: Vec<QueueName>,
    pub phone: Phone,
    #[serde(default)]
    pub always_ready: bool,
    /// The share under the strategy `random`.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// The place under the strategy `top_down`, the lowest first; without it the place in the file, from 0.
    #[serde(default)]
    pub rank: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    #[default]
    Agent,
    Supervisor,
    Qa,
    Admin,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Phone {
    Webrtc {},
    /// Registers by digest with the secret in the file.
    Sip {
        secret_file: String,
    },
    /// Never registers; its INVITEs go to `uri`.
    Contact {
        uri: String,
    },
}

fn default_locale() -> String {
    "zh-CN".into()
}
fn default_timezone() -> String {
    "Asia/Shanghai".into()
}
fn default_country() -> String {
    "CN".into()
}
fn default_break_reasons() -> Vec<String> {
    ["rest", "meal", "training", "meeting", "other"].map(String::from).into()
}
fn default_dispositions() -> Vec<String> {
    ["resolved", "follow_up", "escalated", "no_action", "wrong_number"].map(String::from).into()
}
const fn default_max_calls() -> u32 {
    500
}
const fn default_weight() -> f64 {
    1.0
}

/// What is wrong with a tenant beyond its syntax: `path` is the place as `queue[repair].overflow.to`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ConfigError {
    pub path: String,
    pub message: String,
}

/// A tenant ready to run: every name resolved, scripts compiled. Made by [`Tenant::compile`] alone.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub doc: TenantDoc,
    pub scripts: BTreeMap<String, Arc<Script>>,
    /// HA1 (MD5, SHA-256) by agent, for phones of kind `sip`; realm `zongji`.
    pub digests: BTreeMap<AgentName, (String, String)>,
    pub hours: BTreeMap<String, Hours>,
    pub zone: chrono_tz::Tz,
    pub country: Country,
    /// By trunk and [`cti_base::did_key`]: the place in `doc.number`.
    pub(crate) dids: BTreeMap<(String, String), usize>,
}

/// What a tenant is written down as; the rest is compiled from it again.
#[derive(Serialize)]
struct DeclaredRef<'a> {
    doc: &'a TenantDoc,
    digests: &'a BTreeMap<AgentName, (String, String)>,
}

#[derive(Deserialize)]
struct Declared {
    doc: TenantDoc,
    digests: BTreeMap<AgentName, (String, String)>,
}

impl Serialize for Tenant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DeclaredRef { doc: &self.doc, digests: &self.digests }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tenant {
    /// Prompts are not looked for again: they were there when the tenant was declared.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Declared { doc, digests } = Declared::deserialize(deserializer)?;
        let id = doc.tenant.id.clone();
        Self::compile(doc, digests, None).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            D::Error::custom(format!("tenant `{id}`: {}", errors.join("; ")))
        })
    }
}
