//! What is kept of queues, agents and callers while the program runs. [`crate::saved`] is the part that is written down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cti_base::{AgentName, CallId, QueueName, Timestamp};

use crate::class::Class;
use crate::entry::{Activity, Entry};
use crate::estimate::{Forecast, Told};
use crate::lending::Window;
use crate::rank::{Place, Slope};
use crate::rules::{AgentRules, QueueRules};
use crate::slab::Ix;
use crate::strategy::AgentKey;

/// Skills and their least level.
pub(crate) type Requires = BTreeMap<String, u8>;

pub(crate) struct Queue {
    pub name: QueueName,
    pub rules: Arc<QueueRules>,
    /// Not declared any more: it stands until its callers have left.
    pub declared: bool,
    pub requires: Arc<Requires>,
    pub slope: Slope,
    /// Everybody not answered who waits for the queue, those who are being offered too.
    pub line: VecDeque<(Place, Ix<Waiter>)>,
    /// Those of direct calls, who wait for one agent.
    pub direct: BTreeSet<(Place, Ix<Waiter>)>,
    /// Those of `line` who wait for any agent of the queue and are offered to nobody.
    pub open: usize,
    /// Whom a limit passes on and who has not left yet: they may be about to stand where the same agents serve them.
    pub limited: usize,
    pub members: Vec<Ix<Agent>>,
    pub staffed: usize,
    pub working: usize,
    pub ready: usize,
    pub borrow: Vec<Ix<Queue>>,
    /// The classes in which other queues' callers wait for agents of this one, lent.
    pub lent: Vec<Ix<Class>>,
    pub forecast: Forecast,
    pub window: Window,
    /// The lot drawn last.
    pub lot_floor: i64,
}

/// An agent's standing in one class: `key` is what they are ready under.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    pub class: Ix<Class>,
    pub key: AgentKey,
}

pub(crate) struct Agent {
    pub name: AgentName,
    pub rules: Arc<AgentRules>,
    pub declared: bool,
    pub name_order: u32,
    pub activity: Activity,
    pub offerable: bool,
    pub idle_since: Timestamp,
    /// Whose phone call they are reserved for.
    pub offer: Option<Ix<Waiter>>,
    /// Stands in the ready sets of all seats.
    pub is_ready: bool,
    pub queues: Vec<Ix<Queue>>,
    pub seats: Vec<Seat>,
    /// Callers who wait for this agent alone, by wish of the queue or of their own.
    pub lines: Vec<Ix<Class>>,
    pub counts: Counts,
    /// The number of each queue's last offer to the agent.
    pub offered: Vec<(Ix<Queue>, u64)>,
    /// Drawn when becoming ready.
    pub draw: u64,
    pub lots: Vec<(Ix<Queue>, i64)>,
    pub occupancy_milli: u32,
}

/// An agent's work since local midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Counts {
    pub calls: u32,
    pub talk_us: u64,
    /// Talk and wrap-up.
    pub busy_us: u64,
    /// Signed in and not on a break, up to `working_since`.
    pub working_us: u64,
    pub working_since: Option<Timestamp>,
}

impl Counts {
    pub(crate) fn occupancy_milli(&self, now: Timestamp) -> u32 {
        let current = self.working_since.map_or(0, |since| now.since(since).as_micros() as u64);
        let working = self.working_us + current;
        if working == 0 { 0 } else { (u128::from(self.busy_us) * 1_000 / u128::from(working)).min(1_000) as u32 }
    }
}

impl Agent {
    /// Whether the sets should hold them.
    pub(crate) fn may_be_offered(&self) -> bool {
        self.declared && self.offerable && self.activity == Activity::Ready && self.offer.is_none()
    }

    /// Not there for who would like to have them: offline, on a break, not declared.
    pub(crate) fn is_away(&self) -> bool {
        !self.declared || !self.activity.is_working()
    }

    pub(crate) fn has(&self, requires: &Requires) -> bool {
        requires
            .iter()
            .all(|(skill, least)| *least == 0 || self.rules.skills.get(skill).is_some_and(|has| has >= least))
    }

    pub(crate) fn offered_by(&self, queue: Ix<Queue>) -> Option<u64> {
        self.offered.iter().find(|(ix, _)| *ix == queue).map(|(_, number)| *number)
    }
}

pub(crate) struct Waiter {
    pub id: CallId,
    pub entry: Entry,
    pub home: Ix<Queue>,
    /// The agent of a direct call.
    pub direct: Option<Ix<Agent>>,
    pub place: Place,
    /// Reserved agents.
    pub offers: Vec<Ix<Agent>>,
    /// Who missed the caller and until when they are not asked again, the last one last.
    pub tried: Vec<(Ix<Agent>, Timestamp)>,
    pub paused_until: Option<Timestamp>,
    /// Passed on by a limit; waits for who carries it out.
    pub limited: bool,
    /// The agent who is asked alone for now.
    pub sticky: Option<Ix<Agent>>,
    /// Steps in force, a bit each.
    pub steps: u32,
    /// When the estimate is next held against the rules.
    pub estimate_at: Option<Timestamp>,
    /// The wait told on entering.
    pub told: Option<Told>,
    pub due: Option<Timestamp>,
    /// What is required and who is asked, in the order of preference, lent ones last.
    pub requires: Arc<Requires>,
    pub classes: Vec<Ix<Class>>,
    /// Whether they stand in those.
    pub stands: bool,
}

impl Waiter {
    /// Whether the agent missed this caller just now and nobody was tried since; who rang together missed together.
    pub(crate) fn shuns(&self, now: Timestamp, agent: Ix<Agent>) -> bool {
        let Some((_, last)) = self.tried.last().filter(|(_, until)| *until > now) else { return false };
        self.tried.iter().any(|(tried, until)| *tried == agent && until == last)
    }

    /// Whether the agent missed this caller within the pause.
    pub(crate) fn has_tried(&self, now: Timestamp, agent: Ix<Agent>) -> bool {
        self.tried.iter().any(|(tried, until)| *tried == agent && *until > now)
    }

    /// What the queue's limits count from.
    pub(crate) fn limits_from(&self) -> Timestamp {
        self.entry.limits_from.unwrap_or(self.entry.entered)
    }

    pub(crate) fn may_stand(&self) -> bool {
        self.offers.is_empty() && !self.limited && self.paused_until.is_none()
    }
}
