//! "Why here?": the decisions that brought a call where it is, in their order, as data. The API tells them in words.

use std::collections::BTreeMap;

use cti_base::{AgentName, CallId, OfferId, QueueName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::fact::{Fact, OfferEnd, Outcome};
use crate::limits::{TRACE_MAX, TRACE_REPEATED_MAX};

/// One decision about a call, or what came of one. Times are in the fact that carries it; lengths are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TraceEntry {
    /// The call entered a queue. `position` 1 is next; `waiting` counts those before it and itself.
    Entered {
        queue: QueueName,
        /// The queue that passed it on, where one did.
        #[serde(default)]
        from: Option<QueueName>,
        priority: i32,
        /// Skill and least level, the queue's and the script's together.
        requires: BTreeMap<String, u8>,
        position: u32,
        waiting: u32,
        /// Agents of the queue who are signed in, and those of them who are ready and may be offered calls.
        staffed: u32,
        ready: u32,
        #[serde(default)]
        #[ts(type = "number | null")]
        estimate_ms: Option<u64>,
        /// Which estimator said so.
        #[serde(default)]
        estimator: Option<String>,
    },
    /// The caller was told this: what was left out is `None`.
    Told {
        position: Option<u32>,
        #[ts(type = "number | null")]
        wait_ms: Option<u64>,
        #[serde(default)]
        estimator: Option<String>,
    },
    /// Only this agent for a while (the caller's last one, or the owner of the case), or for good (their own line).
    Preferred {
        agent: AgentName,
        /// `None` is for good.
        #[ts(type = "number | null")]
        for_ms: Option<u64>,
    },
    /// The preferred agent's time is over, or they went away: everybody may be offered the call.
    PreferenceOver {
        agent: AgentName,
        why: PreferenceEnd,
    },
    /// A requirement was relaxed: what is asked for from here on.
    Relaxed {
        /// 1 is the first step.
        step: u32,
        /// The step's own time is over.
        #[serde(default)]
        over: bool,
        requires: BTreeMap<String, u8>,
        /// The queues whose agents are asked, the call's own first.
        queues: Vec<QueueName>,
    },
    /// An agent was chosen. With `ring_all` several entries of one time.
    Offered {
        offer: OfferId,
        agent: AgentName,
        queue: QueueName,
        choice: Choice,
    },
    /// `cause` as in the leg's record: a status, or a word.
    OfferEnded {
        offer: OfferId,
        agent: AgentName,
        how: OfferEnd,
        cause: String,
        #[ts(type = "number")]
        rang_ms: u64,
    },
    /// A limit of the queue passed the call on. `why` is the limit's word, as a call's `cause`.
    Overflowed {
        queue: QueueName,
        why: String,
        to: Destination,
        #[ts(type = "number")]
        waited_ms: u64,
    },
    /// The caller left the queue by their own wish (a digit).
    Moved {
        queue: QueueName,
        to: Destination,
        #[ts(type = "number")]
        waited_ms: u64,
    },
    /// Since entering the first queue.
    Answered {
        agent: AgentName,
        #[ts(type = "number")]
        waited_ms: u64,
    },
    /// The agent handed the call on.
    Transferred {
        agent: AgentName,
        to: Destination,
    },
    /// Somebody who was asked is on the call.
    Joined {
        who: Destination,
    },
    /// Somebody who was asked did not come, or has left.
    NotJoined {
        who: Destination,
        cause: String,
    },
    /// Whom the call was handed to does not take it: the caller is back in this queue.
    BroughtBack {
        queue: QueueName,
        cause: String,
    },
    Ended {
        outcome: Outcome,
        cause: String,
    },
}

/// Why this agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Choice {
    /// The queue's strategy, as the tenant's file spells it.
    pub strategy: String,
    /// Through what agent and caller came together.
    #[serde(default)]
    pub line: Line,
    /// The agent was free and waiting, else became free and found the caller first in line.
    pub agent_was_free: bool,
    /// Agents who might have been offered this very call at that moment.
    pub ready: u32,
    /// Agents who have what it asks for, free or not.
    pub eligible: u32,
    /// The caller's place at that moment, 1 is next, and the wait so far.
    pub position: u32,
    #[ts(type = "number")]
    pub waited_ms: u64,
    /// Priority, value and age of the caller.
    #[serde(default)]
    pub points: f64,
    /// The relaxing steps in force, 1 is the first.
    #[serde(default)]
    pub steps: Vec<u32>,
    /// What the strategy weighed, by name: `idle_s`, `skill_levels`, `calls`, `talk_s`, `rank`, `score` ...
    #[serde(default)]
    pub weighed: BTreeMap<String, f64>,
    /// Who was passed over: a few of them.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The caller's queue.
    #[default]
    Own,
    /// Another queue that is asked as well.
    Also(QueueName),
    /// Another queue lends its agents.
    Lent(QueueName),
    /// The preferred agent's.
    Sticky,
    Direct,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct Skipped {
    pub agent: AgentName,
    #[serde(flatten)]
    pub why: SkipReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum SkipReason {
    /// With another call, or in wrap-up.
    Busy,
    Break,
    Offline,
    /// `has` 0 is not at all.
    NoSkill {
        skill: String,
        has: u8,
        needs: u8,
    },
    /// Was offered this very call shortly before.
    Tried,
    /// The phone or the desk can not be reached, or too many offers have failed in a short time.
    Blocked,
    /// Their own queue does not lend them at this moment.
    NotLent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceEnd {
    /// Offline, on a break, or not one who may have the call.
    Away,
    /// The time for it is over.
    Time,
    /// The agent was asked and did not take the call.
    Missed,
}

/// Where a queue's limit, or the caller's digit, leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    Queue(QueueName),
    Ivr(String),
    Agent(AgentName),
    Number(String),
    Voicemail,
    Callback,
    /// Refused as busy.
    Busy,
    /// Refused or hung up on, with a goodbye where the call was answered.
    Goodbye,
}

impl TraceEntry {
    /// Whether a call can bring any number of these: the rest of its trace must keep room for what came of it.
    const fn repeats(&self) -> bool {
        match self {
            Self::Told { .. }
            | Self::Offered { .. }
            | Self::OfferEnded { .. }
            | Self::Joined { .. }
            | Self::NotJoined { .. } => true,
            Self::Entered { .. }
            | Self::Preferred { .. }
            | Self::PreferenceOver { .. }
            | Self::Relaxed { .. }
            | Self::Overflowed { .. }
            | Self::Moved { .. }
            | Self::Answered { .. }
            | Self::Transferred { .. }
            | Self::BroughtBack { .. }
            | Self::Ended { .. } => false,
        }
    }
}

impl From<cti_acd::Why> for Choice {
    fn from(why: cti_acd::Why) -> Self {
        let word = serde_json::to_value(why.strategy).ok();
        let (name, value) = weighed(why.key);
        Self {
            strategy: word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default(),
            line: match why.line {
                cti_acd::Line::Own => Line::Own,
                cti_acd::Line::Also(queue) => Line::Also(queue),
                cti_acd::Line::Lent(queue) => Line::Lent(queue),
                cti_acd::Line::Sticky => Line::Sticky,
                cti_acd::Line::Direct => Line::Direct,
            },
            agent_was_free: why.by == cti_acd::By::Caller,
            ready: why.ready,
            eligible: why.eligible,
            position: why.position,
            waited_ms: why.waited_ms,
            points: why.points_milli as f64 / 1_000.0,
            steps: why.steps.iter().map(|step| u32::from(*step) + 1).collect(),
            weighed: value.map(|value| (name.to_owned(), value)).into_iter().collect(),
            skipped: why.skipped.into_iter().map(Skipped::from).collect(),
        }
    }
}

/// The key's name and value; none where the agent has none.
fn weighed(key: cti_acd::Key) -> (&'static str, Option<f64>) {
    match key {
        cti_acd::Key::IdleMs(ms) => ("idle_s", Some(ms as f64 / 1_000.0)),
        cti_acd::Key::OffersAgo(offers) => ("offers_ago", offers.map(|offers| offers as f64)),
        cti_acd::Key::Calls(calls) => ("calls", Some(f64::from(calls))),
        cti_acd::Key::TalkMs(ms) => ("talk_s", Some(ms as f64 / 1_000.0)),
        cti_acd::Key::Rank(rank) => ("rank", Some(f64::from(rank))),
        cti_acd::Key::Lot(lot) => ("lot", Some(lot as f64)),
        cti_acd::Key::SkillLevels(levels) => ("skill_levels", Some(f64::from(levels))),
        cti_acd::Key::ScoreMilli(milli) => ("score", Some(milli as f64 / 1_000.0)),
    }
}

impl From<cti_acd::Skipped> for Skipped {
    fn from(cti_acd::Skipped { agent, reason }: cti_acd::Skipped) -> Self {
        let why = match reason {
            cti_acd::Reason::Busy => SkipReason::Busy,
            cti_acd::Reason::Break => SkipReason::Break,
            cti_acd::Reason::Offline => SkipReason::Offline,
            cti_acd::Reason::NoSkill { skill, has, needs } => SkipReason::NoSkill { skill, has, needs },
            cti_acd::Reason::Tried => SkipReason::Tried,
            cti_acd::Reason::Blocked => SkipReason::Blocked,
            cti_acd::Reason::NotLent => SkipReason::NotLent,
        };
        Self { agent, why }
    }
}

impl From<cti_acd::StickyEnd> for PreferenceEnd {
    fn from(end: cti_acd::StickyEnd) -> Self {
        match end {
            cti_acd::StickyEnd::Away => Self::Away,
            cti_acd::StickyEnd::Time => Self::Time,
            cti_acd::StickyEnd::Missed => Self::Missed,
        }
    }
}

impl Engine {
    /// Notes a decision about a live call. Beyond [`TRACE_MAX`] entries of one call nothing more is noted of it, and beyond
    /// [`TRACE_REPEATED_MAX`] nothing that repeats.
    pub(crate) fn trace(&mut self, _now: Timestamp, id: CallId, entry: TraceEntry) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let place = call.tally.traced;
        if place >= if entry.repeats() { TRACE_REPEATED_MAX } else { TRACE_MAX } {
            return;
        }
        call.tally.traced += 1;
        let tenant = call.tenant.clone();
        self.fact(Fact::Traced { tenant, call: id, place, entry: Box::new(entry) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_from_its_json() {
        let choice = Choice {
            strategy: "best_skill".into(),
            line: Line::Lent("general".into()),
            agent_was_free: false,
            ready: 3,
            eligible: 1,
            position: 1,
            waited_ms: 40_000,
            points: 1.5,
            steps: vec![1],
            weighed: BTreeMap::from([("skill_levels".into(), 5.0)]),
            skipped: vec![Skipped {
                agent: "1002".into(),
                why: SkipReason::NoSkill { skill: "repair".into(), has: 1, needs: 3 },
            }],
        };
        let rng = &mut cti_base::Rng::from_number(1);
        let offer = OfferId::new(Timestamp::default(), rng);
        let entries = [
            TraceEntry::Offered { offer, agent: "1001".into(), queue: "repair".into(), choice },
            TraceEntry::Overflowed {
                queue: "repair".into(),
                why: "max_wait".into(),
                to: Destination::Queue("general".into()),
                waited_ms: 1,
            },
            TraceEntry::Overflowed {
                queue: "repair".into(),
                why: "max_wait".into(),
                to: Destination::Goodbye,
                waited_ms: 1,
            },
        ];
        for entry in entries {
            let json = serde_json::to_string(&entry).expect("JSON");
            assert_eq!(serde_json::from_str::<TraceEntry>(&json).ok(), Some(entry), "{json}");
        }
    }
}
