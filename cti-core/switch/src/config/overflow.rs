//! When a queue passes a caller on, and where to.

use cti_base::{AgentName, NodeName, QueueName};
use serde::{Deserialize, Deserializer, Serialize};

/// One rule of a queue's `overflow`; the first that is true is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OverflowDecl", into = "OverflowDecl")]
pub struct Overflow {
    pub when: When,
    pub to: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// After so many seconds in this queue.
    AfterS(u32),
    /// On entering, when so many wait already.
    Waiting(u32),
    /// When the estimated wait is longer than so many seconds.
    EstimateS(u32),
    /// When nobody who could take the caller is signed in.
    NoStaff,
    /// On entering, outside these hours.
    Closed(String),
    /// On entering, while the queue's or the tenant's `emergency` is on.
    Emergency,
}

/// Where a caller is passed on to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TargetDecl", into = "TargetDecl")]
pub enum Target {
    Queue(QueueName),
    /// This agent alone, in their own line.
    Agent(AgentName),
    /// The start of a script where no node is named.
    Ivr {
        name: String,
        node: Option<NodeName>,
    },
    Voicemail,
    /// An outside number.
    Number(String),
    /// 486 to who was not answered yet; goodbye to who was.
    Busy,
}

/// As the file has it: exactly one of the conditions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverflowDecl {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waiting: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    estimate_s: Option<u32>,
    #[serde(default, skip_serializing_if = "is_false")]
    no_staff: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    emergency: bool,
    to: Option<Target>,
}

/// As the file has it: exactly one of the targets; `node` goes with `ivr`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetDecl {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<QueueName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ivr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<NodeName>,
    #[serde(default, skip_serializing_if = "is_false")]
    voicemail: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    busy: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The one thing that is given; an error that names the choice where it is none or several.
fn only<T>(given: Vec<T>, choice: &str) -> Result<T, String> {
    let count = given.len();
    let mut given = given.into_iter();
    match (given.next(), count) {
        (Some(one), 1) => Ok(one),
        _ => Err(format!("give exactly one of {choice}")),
    }
}

impl TryFrom<OverflowDecl> for Overflow {
    type Error = String;

    fn try_from(decl: OverflowDecl) -> Result<Self, String> {
        let OverflowDecl { after_s, waiting, estimate_s, no_staff, closed, emergency, to } = decl;
        let given = [
            after_s.map(When::AfterS),
            waiting.map(When::Waiting),
            estimate_s.map(When::EstimateS),
            no_staff.then_some(When::NoStaff),
            closed.map(When::Closed),
            emergency.then_some(When::Emergency),
        ];
        let choice = "`after_s`, `waiting`, `estimate_s`, `no_staff = true`, `closed`, `emergency = true`";
        let when = only(given.into_iter().flatten().collect(), choice)?;
        let to = to.ok_or_else(|| "missing field `to`".to_owned())?;
        Ok(Self { when, to })
    }
}

impl From<Overflow> for OverflowDecl {
    fn from(Overflow { when, to }: Overflow) -> Self {
        let decl = Self { to: Some(to), ..Self::default() };
        match when {
            When::AfterS(after) => Self { after_s: Some(after), ..decl },
            When::Waiting(waiting) => Self { waiting: Some(waiting), ..decl },
            When::EstimateS(estimate) => Self { estimate_s: Some(estimate), ..decl },
            When::NoStaff => Self { no_staff: true, ..decl },
            When::Closed(hours) => Self { closed: Some(hours), ..decl },
            When::Emergency => Self { emergency: true, ..decl },
        }
    }
}

impl TryFrom<TargetDecl> for Target {
    type Error = String;

    fn try_from(decl: TargetDecl) -> Result<Self, String> {
        let TargetDecl { queue, agent, ivr, node, voicemail, number, busy } = decl;
        if node.is_some() && ivr.is_none() {
            return Err("`node` goes with `ivr`".to_owned());
        }
        let given = [
            queue.map(Target::Queue),
            agent.map(Target::Agent),
            ivr.map(|name| Target::Ivr { name, node }),
            voicemail.then_some(Target::Voicemail),
            number.map(Target::Number),
            busy.then_some(Target::Busy),
        ];
        let choice = "`queue`, `agent`, `ivr`, `voicemail = true`, `number`, `busy = true`";
        only(given.into_iter().flatten().collect(), choice)
    }
}

impl From<Target> for TargetDecl {
    fn from(target: Target) -> Self {
        let decl = Self::default();
        match target {
            Target::Queue(queue) => Self { queue: Some(queue), ..decl },
            Target::Agent(agent) => Self { agent: Some(agent), ..decl },
            Target::Ivr { name, node } => Self { ivr: Some(name), node, ..decl },
            Target::Voicemail => Self { voicemail: true, ..decl },
            Target::Number(number) => Self { number: Some(number), ..decl },
            Target::Busy => Self { busy: true, ..decl },
        }
    }
}

/// One table, or a list of them.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Overflow>, D::Error> {
    struct Rules;
    impl<'de> serde::de::Visitor<'de> for Rules {
        type Value = Vec<Overflow>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a rule as `{ after_s = 120, to = { queue = \"general\" } }`, or a list of rules")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Overflow::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|rule| vec![rule])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))
        }
    }
    deserializer.deserialize_any(Rules)
}
