//! The simulated agents: what each does, and who works.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_acd::Rules;
use cti_base::{AgentName, CallId, QueueName, Timestamp};

use crate::load::Staff;
use crate::simulation::AgentTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Desk {
    Home,
    Free,
    Rings(CallId),
    /// Wrap-up included.
    Talks {
        queue: QueueName,
        talk: Duration,
        wrapup: Duration,
    },
}

pub(crate) struct Desks {
    desks: Vec<(AgentName, Desk)>,
    by_name: BTreeMap<AgentName, usize>,
    works: Vec<bool>,
    /// What the agents' time is measured in.
    counted: (Timestamp, Timestamp),
    measured: Timestamp,
    busy: u64,
    staffed: u64,
    busy_us: u64,
    staffed_us: u64,
}

impl Desks {
    pub(crate) fn new(rules: &Rules, counted: (Timestamp, Timestamp), begin: Timestamp) -> Self {
        let desks: Vec<_> = rules.agents.keys().map(|name| (name.clone(), Desk::Home)).collect();
        Self {
            by_name: desks.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect(),
            works: vec![false; desks.len()],
            desks,
            counted,
            measured: begin,
            busy: 0,
            staffed: 0,
            busy_us: 0,
            staffed_us: 0,
        }
    }

    pub(crate) fn set(&mut self, now: Timestamp, desk: usize, state: Desk) {
        self.measure(now);
        let before = std::mem::replace(&mut self.desks[desk].1, state);
        let after = &self.desks[desk].1;
        self.busy += u64::from(after.is_busy());
        self.busy -= u64::from(before.is_busy());
        self.staffed += u64::from(*after != Desk::Home);
        self.staffed -= u64::from(before != Desk::Home);
    }

    /// Sets who works at this second of the day; gives those for whom that is a change.
    pub(crate) fn shift(&mut self, staff: &[Staff], second: u32) -> Vec<usize> {
        let mut works = vec![staff.is_empty(); self.desks.len()];
        for shift in staff.iter().filter(|shift| shift.covers(second)) {
            works.iter_mut().take(shift.count.unwrap_or(0)).for_each(|works| *works = true);
            for name in &shift.agents {
                if let Some(at) = self.find(name) {
                    works[at] = true;
                }
            }
        }
        let before = std::mem::replace(&mut self.works, works);
        (0..self.desks.len()).filter(|at| before[*at] != self.works[*at]).collect()
    }

    pub(crate) fn find(&self, name: &AgentName) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn name(&self, desk: usize) -> &AgentName {
        &self.desks[desk].0
    }

    pub(crate) fn state(&self, desk: usize) -> &Desk {
        &self.desks[desk].1
    }

    pub(crate) fn works(&self, desk: usize) -> bool {
        self.works[desk]
    }

    pub(crate) fn rings_for(&self, desk: usize, id: CallId) -> bool {
        self.desks[desk].1 == Desk::Rings(id)
    }

    /// The running stretch included.
    pub(crate) fn time(&self, now: Timestamp) -> AgentTime {
        let passed = self.passed(now);
        AgentTime {
            busy: Duration::from_micros(self.busy_us + self.busy * passed),
            staffed: Duration::from_micros(self.staffed_us + self.staffed * passed),
        }
    }

    /// Up to now, as it was.
    fn measure(&mut self, now: Timestamp) {
        let passed = self.passed(now);
        self.busy_us += self.busy * passed;
        self.staffed_us += self.staffed * passed;
        self.measured = now;
    }

    /// Microseconds of the counted time since the last change.
    fn passed(&self, now: Timestamp) -> u64 {
        let (from, to) = self.counted;
        now.min(to).since(self.measured.max(from)).as_micros() as u64
    }
}

impl Desk {
    const fn is_busy(&self) -> bool {
        matches!(self, Self::Talks { .. })
    }
}
