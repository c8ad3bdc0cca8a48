//! The story of one call, and what is known of who calls.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{AgentName, OfferId, QueueName, RecordingId, TenantId, Timestamp};
use cti_switch::CallRecord;
use cti_switch::desk::CallerRecords;

/// How long a queue that wants to know who is calling gives the records.
const RECORDS_WAIT: Duration = Duration::from_millis(30);

#[derive(Debug)]
pub struct CallStory {
    pub tenant: TenantId,
    pub from: String,
    /// The number dialled.
    pub to: String,
    pub started: Timestamp,
    pub nodes: usize,
    /// The queue it is in or was in last.
    pub queue: Option<QueueName>,
    pub queued: Option<Timestamp>,
    /// When it entered that queue.
    pub entered: Timestamp,
    /// When it stood in the queue's line: a queue that asks the records gives them a moment first.
    pub lined_up: Option<Timestamp>,
    /// The one customer that the records know, where they know of one.
    pub known: Option<Known>,
    /// As the caller came into that line: their value class, who is asked alone at first, and who is asked alone for good.
    pub value: Option<String>,
    pub prefer: Option<AgentName>,
    pub direct: Option<AgentName>,
    /// Called by us.
    pub outbound: bool,
    /// A callback's call that nobody is on the line of yet.
    pub dialing: bool,
    /// The place that it took over.
    pub place: Option<Timestamp>,
    /// Who missed it in that queue, and when, the last one last.
    pub missed: Vec<(AgentName, Timestamp)>,
    /// In a queue and not offered, by the facts.
    pub waits: bool,
    /// Whose phones ring: one, or several of `ring_all`.
    pub offers: BTreeMap<OfferId, AgentName>,
    /// Since the first of them was shown.
    pub ringing: Option<Timestamp>,
    pub offered: Option<Timestamp>,
    pub ring: Duration,
    pub answered: Option<(AgentName, Timestamp)>,
    pub held_since: Option<Timestamp>,
    pub hold: Duration,
    pub recording: Option<RecordingId>,
    pub recording_over: bool,
    /// Its caller has left a message.
    pub message: bool,
    pub record: Option<Box<CallRecord>>,
    pub wrapup_over: bool,
    /// Whom it was offered to in vain, and until when it need not be offered to them again.
    pub skipped: BTreeMap<AgentName, Timestamp>,
    /// Until when it need not be offered to anyone.
    pub paused_until: Timestamp,
}

impl CallStory {
    /// When they came into their first queue: their place among equals for life.
    pub fn since(&self) -> Timestamp {
        self.place.or(self.queued).unwrap_or(self.started)
    }

    /// The customer's number.
    pub fn customer(&self) -> &str {
        if self.outbound { &self.to } else { &self.from }
    }

    /// The value class as it is known by now.
    pub fn known_value(&self) -> Option<String> {
        self.known.as_ref()?.value.clone()
    }

    /// It stands where who asked for it stood; `only` may be offered it.
    pub fn take_place(&mut self, place: &Place, only: Option<AgentName>) {
        (self.place, self.entered, self.direct) = (Some(place.since), place.entered, only);
        self.value.clone_from(&place.value);
    }

    /// Since when it stands in its queue's line, by what the switch says of it and at the latest by what it may take: where the
    /// queue asks the records, so long after they were asked, which is when the call began.
    pub fn lines_up(&self, asks_records: bool, restarted: Timestamp) -> Timestamp {
        let latest = if asks_records {
            let had_their_time = self.started + RECORDS_WAIT;
            let while_down = had_their_time < restarted && self.lined_up.is_none_or(|at| at >= restarted);
            self.entered.max(if while_down { restarted } else { had_their_time })
        } else {
            self.entered
        };
        self.lined_up.map_or(latest, |at| at.min(latest))
    }
}

/// A place in the lines, and in the present queue.
#[derive(Clone, Debug)]
pub struct Place {
    pub since: Timestamp,
    pub entered: Timestamp,
    pub value: Option<String>,
}

/// Of a customer, what decides on order and agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub value: Option<String>,
    pub last_agent: Option<AgentName>,
    pub owner: Option<AgentName>,
}

impl Known {
    pub fn of(records: &CallerRecords) -> Option<Self> {
        let [only] = records.candidates.as_slice() else { return None };
        let name = |name: &Option<String>| name.as_deref().map(AgentName::from);
        Some(Self {
            value: only.value_class.clone(),
            last_agent: name(&only.last_agent),
            owner: only.open_cases.iter().find_map(|case| name(&case.owner)),
        })
    }
}
