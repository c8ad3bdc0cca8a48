//! What a run came to, and what several independent runs say together.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_acd::Rules;
use cti_base::QueueName;
use serde::Serialize;

use crate::simulation::{AgentTime, Ended, Outcome};
use crate::stats::{Confidence, Interval};

/// One run's counted callers of one queue, or of all.
#[derive(Clone, Debug, Default)]
struct Tally {
    answered: u64,
    abandoned: u64,
    overflowed: u64,
    in_time: u64,
    abandoned_in_time: u64,
    /// Of the answered, seconds.
    waits: Vec<f64>,
    /// How far what waiting callers were told was off, seconds: the estimator's and the naive one's, of the answered.
    told_off: f64,
    naive_off: f64,
    told: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    target: BTreeMap<QueueName, Duration>,
    queues: BTreeMap<QueueName, Tally>,
    total: Tally,
    agents: AgentTime,
}

/// What is measured. Parts are of 1; waits are of the answered, from the first queue on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Offered,
    Answered,
    Abandoned,
    Overflowed,
    /// Abandoned / offered.
    Abandonment,
    /// Answered in time / answered.
    SlOfAnswered,
    /// Answered in time / offered.
    SlOfOffered,
    /// Answered in time / (offered − abandoned in time).
    SlShortAbandonsExcluded,
    /// (Answered in time + abandoned in time) / offered.
    SlShortAbandonsIncluded,
    /// The mean wait of the answered (ASA).
    WaitMeanS,
    WaitP50S,
    WaitP90S,
    WaitP95S,
    WaitMaxS,
    /// The mean absolute error of the wait told on entering, of those who waited and were answered.
    EstimateErrorS,
    /// The same of position × handling time / agents.
    NaiveErrorS,
    /// Talk and wrap-up / time signed in; of all agents.
    Occupancy,
}

/// Means over independent runs, each within its interval; all of them together with the level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub runs: usize,
    /// That every interval here holds.
    pub level: f64,
    pub queues: BTreeMap<QueueName, BTreeMap<Figure, Interval>>,
    pub total: BTreeMap<Figure, Interval>,
}

impl Figure {
    /// In the order in which they are shown.
    pub const ALL: [Self; 17] = [
        Self::Offered,
        Self::Answered,
        Self::Abandoned,
        Self::Overflowed,
        Self::Abandonment,
        Self::SlOfAnswered,
        Self::SlOfOffered,
        Self::SlShortAbandonsExcluded,
        Self::SlShortAbandonsIncluded,
        Self::WaitMeanS,
        Self::WaitP50S,
        Self::WaitP90S,
        Self::WaitP95S,
        Self::WaitMaxS,
        Self::EstimateErrorS,
        Self::NaiveErrorS,
        Self::Occupancy,
    ];
}

impl Run {
    pub fn new(rules: &Rules) -> Self {
        let target = |(name, queue): (&QueueName, &cti_acd::QueueRules)| {
            (name.clone(), Duration::from_secs(queue.service_level.seconds.into()))
        };
        Self {
            target: rules.queues.iter().map(target).collect(),
            queues: BTreeMap::new(),
            total: Tally::default(),
            agents: AgentTime::default(),
        }
    }

    /// A caller who is done with waiting; who is not counted changes nothing.
    pub fn add(&mut self, ended: &Ended) {
        if ended.number.is_none() {
            return;
        }
        let target = self.target.get(&ended.queue).copied().unwrap_or_default();
        self.total.add(ended, target);
        self.queues.entry(ended.queue.clone()).or_default().add(ended, target);
    }

    pub fn end(&mut self, agents: AgentTime) {
        self.agents = agents;
        let Self { queues, total, .. } = self;
        queues.values_mut().chain([total]).for_each(|tally| tally.waits.sort_unstable_by(f64::total_cmp));
    }

    fn figure(&self, queue: Option<&QueueName>, figure: Figure) -> Option<f64> {
        match (queue, figure) {
            (None, Figure::Occupancy) => ratio(self.agents.busy.as_secs_f64(), self.agents.staffed.as_secs_f64()),
            (Some(_), Figure::Occupancy) => None,
            (None, figure) => self.total.figure(figure),
            (Some(queue), figure) => self.queues.get(queue).cloned().unwrap_or_default().figure(figure),
        }
    }
}

impl Tally {
    fn add(&mut self, ended: &Ended, target: Duration) {
        let in_time = u64::from(ended.wait <= target);
        match ended.outcome {
            Outcome::Answered => {
                self.answered += 1;
                self.in_time += in_time;
                self.waits.push(ended.wait.as_secs_f64());
                if let Some(told) = ended.told {
                    let off = |told: Duration| (told.as_secs_f64() - ended.wait.as_secs_f64()).abs();
                    self.told_off += off(told.wait);
                    self.naive_off += off(told.naive);
                    self.told += 1;
                }
            }
            Outcome::Abandoned => {
                self.abandoned += 1;
                self.abandoned_in_time += in_time;
            }
            Outcome::Overflowed(_) => self.overflowed += 1,
        }
    }

    /// `None` where it says nothing: nobody to divide by.
    fn figure(&self, figure: Figure) -> Option<f64> {
        let offered = self.answered + self.abandoned + self.overflowed;
        let part = |of: u64, all: u64| ratio(of as f64, all as f64);
        match figure {
            Figure::Offered => Some(offered as f64),
            Figure::Answered => Some(self.answered as f64),
            Figure::Abandoned => Some(self.abandoned as f64),
            Figure::Overflowed => Some(self.overflowed as f64),
            Figure::Abandonment => part(self.abandoned, offered),
            Figure::SlOfAnswered => part(self.in_time, self.answered),
            Figure::SlOfOffered => part(self.in_time, offered),
            Figure::SlShortAbandonsExcluded => part(self.in_time, offered - self.abandoned_in_time),
            Figure::SlShortAbandonsIncluded => part(self.in_time + self.abandoned_in_time, offered),
            Figure::WaitMeanS => ratio(self.waits.iter().sum(), self.waits.len() as f64),
            Figure::WaitP50S => self.quantile(0.5),
            Figure::WaitP90S => self.quantile(0.9),
            Figure::WaitP95S => self.quantile(0.95),
            Figure::WaitMaxS => self.waits.last().copied(),
            Figure::EstimateErrorS => ratio(self.told_off, self.told as f64),
            Figure::NaiveErrorS => ratio(self.naive_off, self.told as f64),
            Figure::Occupancy => None,
        }
    }

    /// The least wait that so many did not exceed.
    fn quantile(&self, part: f64) -> Option<f64> {
        let at = (self.waits.len() as f64 * part).ceil() as usize;
        self.waits.get(at.saturating_sub(1)).copied()
    }
}

impl Figures {
    /// Of at least two runs of the same setting with different seeds; a figure that a run does not have is left out.
    pub fn of(runs: &[Run], level: f64) -> Self {
        let names: Vec<&QueueName> = runs.first().map(|run| run.target.keys().collect()).unwrap_or_default();
        let called = |name: &&&QueueName| runs.iter().any(|run| run.queues.contains_key(**name));
        let names: Vec<&QueueName> = names.iter().filter(called).copied().collect();
        let parts = |queue: Option<&QueueName>, figure: Figure| -> Option<Vec<f64>> {
            runs.iter().map(|run| run.figure(queue, figure)).collect()
        };
        let all: Vec<_> = names.iter().map(|name| Some(*name)).chain([None]).collect();
        let claimed = all.iter().flat_map(|queue| Figure::ALL.map(|figure| parts(*queue, figure))).flatten().count();
        let confidence = Confidence::simultaneous(level, claimed);
        let table = |queue: Option<&QueueName>| -> BTreeMap<Figure, Interval> {
            let interval = |figure| Some((figure, confidence.of(&parts(queue, figure)?)?));
            Figure::ALL.into_iter().filter_map(interval).collect()
        };
        Self {
            runs: runs.len(),
            level,
            queues: names.iter().map(|name| ((*name).clone(), table(Some(name)))).collect(),
            total: table(None),
        }
    }
}

fn ratio(of: f64, all: f64) -> Option<f64> {
    (all > 0.0).then_some(of / all)
}

#[cfg(test)]
mod tests {
    use cti_base::Timestamp;

    use super::*;
    use crate::single_queue;

    fn ended(wait_s: u64, outcome: Outcome) -> Ended {
        Ended {
            number: Some(0),
            arrived: Timestamp::from_millis(0),
            queue: QueueName::from("q"),
            wait: Duration::from_secs(wait_s),
            outcome,
            handling: Duration::ZERO,
            patience: None,
            told: None,
        }
    }

    #[test]
    fn the_figures_of_a_run_are_their_formulas() {
        let mut run = Run::new(&single_queue("q", 1));
        for wait_s in [0, 0, 5, 20, 21, 60, 90, 100] {
            run.add(&ended(wait_s, Outcome::Answered));
        }
        run.add(&ended(10, Outcome::Abandoned));
        run.add(&ended(30, Outcome::Abandoned));
        run.add(&Ended { number: None, ..ended(500, Outcome::Answered) });
        run.end(AgentTime { busy: Duration::from_secs(30), staffed: Duration::from_secs(40) });
        let check = |figure: Figure, expect: f64| {
            let found = run.figure(None, figure).expect("a figure");
            assert!((found - expect).abs() < 1e-12, "{figure:?}: {found}");
        };
        check(Figure::Offered, 10.0);
        check(Figure::Answered, 8.0);
        check(Figure::Abandonment, 0.2);
        check(Figure::SlOfAnswered, 4.0 / 8.0);
        check(Figure::SlOfOffered, 4.0 / 10.0);
        check(Figure::SlShortAbandonsExcluded, 4.0 / 9.0);
        check(Figure::SlShortAbandonsIncluded, 5.0 / 10.0);
        check(Figure::WaitMeanS, 37.0);
        check(Figure::WaitP50S, 20.0);
        check(Figure::WaitP90S, 100.0);
        check(Figure::WaitMaxS, 100.0);
        check(Figure::Occupancy, 0.75);
        assert_eq!(run.figure(Some(&QueueName::from("q")), Figure::Offered), Some(10.0));
        assert_eq!(run.figure(None, Figure::EstimateErrorS), None);
    }
}
