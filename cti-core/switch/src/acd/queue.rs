use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cti_base::{AgentName, CallId, QueueName, Timestamp};

use super::estimate::Handling;
use super::stats::QueueStats;
use crate::config::QueueDecl;
use serde::{Deserialize, Serialize};

/// A caller's place: priority, then how long they have been waiting for anyone, then who came first within a microsecond.
/// The last two are the caller's for life: no queue change, refused offer or overflow takes them away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    priority: Reverse<i32>,
    since: Timestamp,
    order: u64,
}

impl Place {
    pub(crate) const fn new(priority: i32, since: Timestamp, order: u64) -> Self {
        Self { priority: Reverse(priority), since, order }
    }
}

/// One queue: who waits in it and who is ready for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// The tenant's document has it: it is written down there.
    #[serde(skip, default = "undeclared")]
    pub decl: QueueDecl,
    /// Everyone not yet answered, those who are being offered too. The calls know their places, and are asked on restoring.
    #[serde(skip)]
    waiting: BTreeMap<Place, CallId>,
    /// Those of `waiting` whom no agent is being offered.
    #[serde(skip)]
    unmatched: BTreeMap<Place, CallId>,
    /// Agents who may be offered this queue's calls, the longest idle first. `Agent::indexed` says it too.
    #[serde(skip)]
    pub ready: BTreeSet<(Timestamp, AgentName)>,
    pub stats: QueueStats,
    pub handling: Handling,
}

/// Stands in while a queue is read back.
fn undeclared() -> QueueDecl {
    QueueDecl::named(QueueName::from(""))
}

impl Queue {
    pub(crate) fn new(decl: QueueDecl) -> Self {
        Self {
            decl,
            waiting: BTreeMap::new(),
            unmatched: BTreeMap::new(),
            ready: BTreeSet::new(),
            stats: QueueStats::default(),
            handling: Handling::new(),
        }
    }

    pub(crate) fn enter(&mut self, place: Place, call: CallId) {
        self.waiting.insert(place, call);
        self.unmatched.insert(place, call);
    }

    pub(crate) fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
        self.unmatched.remove(&place);
    }

    /// An agent is being offered the call, or not any more. It keeps its place.
    pub(crate) fn set_matched(&mut self, place: Place, matched: bool) {
        if matched {
            self.unmatched.remove(&place);
        } else if let Some(call) = self.waiting.get(&place) {
            self.unmatched.insert(place, *call);
        }
    }

    pub(crate) fn unmatched(&self) -> impl Iterator<Item = (Place, CallId)> {
        self.unmatched.iter().map(|(place, call)| (*place, *call))
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = (Place, CallId)> {
        self.waiting.iter().map(|(place, call)| (*place, *call))
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.decl.max_waiting as usize
    }

    /// 1 is next.
    pub(crate) fn position(&self, place: Place) -> usize {
        self.waiting.range(..place).count() + 1
    }
}

#[cfg(test)]
mod tests {
    use cti_base::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::queue_decl;

    proptest! {
        /// Whatever comes and goes, calls are served by priority and then by how long they have waited.
        #[test]
        fn callers_are_served_in_their_order(steps in prop::collection::vec((0u8..5, -2i32..3, 0u64..4), 1..200)) {
            let mut queue = Queue::new(queue_decl("repair"));
            let mut rng = Rng::from_number(7);
            let mut model: Vec<(i32, u64, u64, CallId, bool)> = Vec::new();
            for (order, (what, priority, since)) in steps.into_iter().enumerate() {
                let order = order as u64;
                let pick = if model.is_empty() { 0 } else { order as usize % model.len() };
                match what {
                    0..=2 => {
                        let id = CallId::new(Timestamp::from_millis(order), &mut rng);
                        queue.enter(Place::new(priority, Timestamp::from_millis(since), order), id);
                        model.push((-priority, since, order, id, true));
                    }
                    3 if !model.is_empty() => {
                        let (negative, since, order, _, _) = model.remove(pick);
                        queue.leave(Place::new(-negative, Timestamp::from_millis(since), order));
                    }
                    _ if !model.is_empty() => {
                        let entry = &mut model[pick];
                        entry.4 = !entry.4;
                        let place = Place::new(-entry.0, Timestamp::from_millis(entry.1), entry.2);
                        queue.set_matched(place, !entry.4);
                    }
                    _ => {}
                }
                model.sort_unstable();
                let expect: Vec<CallId> = model.iter().map(|entry| entry.3).collect();
                prop_assert_eq!(queue.waiting().map(|(_, call)| call).collect::<Vec<_>>(), expect);
                let free: Vec<CallId> = model.iter().filter(|entry| entry.4).map(|entry| entry.3).collect();
                prop_assert_eq!(queue.unmatched().map(|(_, call)| call).collect::<Vec<_>>(), free);
                for (index, (place, _)) in queue.waiting().enumerate() {
                    prop_assert_eq!(queue.position(place), index + 1);
                }
            }
        }
    }
}
