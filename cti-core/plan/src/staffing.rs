//! How many agents it takes, by Erlang C or, where callers have a patience, Erlang A.

use std::time::Duration;

use serde::Serialize;

use crate::{ErlangA, ErlangC};

/// No centre is larger; where more would be needed there is no answer.
pub const AGENTS_MAX: u32 = 100_000;

/// Callers as the formulas see them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    pub per_hour: f64,
    /// Talk, hold and wrap-up, in the mean.
    pub handling: Duration,
    /// In the mean; `None`: nobody gives up.
    pub patience: Option<Duration>,
}

/// What so many agents give the callers. Parts are of all callers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Staffing {
    pub agents: u32,
    /// Answered in time.
    pub service_level: f64,
    pub waiting_probability: f64,
    /// Of all callers, those who gave up too.
    pub mean_wait_s: f64,
    pub abandonment: f64,
    pub occupancy: f64,
}

impl Demand {
    /// `None` where so few can not keep up with callers who never give up, or there is nobody to serve.
    pub fn with(&self, agents: u32, within: Duration) -> Option<Staffing> {
        let (per_s, within_s) = (self.per_hour / 3600.0, within.as_secs_f64());
        match self.patience {
            Some(patience) => ErlangA::new(agents, per_s, self.handling, patience).map(|queue| Staffing {
                agents,
                service_level: queue.answered_within(within_s),
                waiting_probability: queue.waiting_probability(),
                mean_wait_s: queue.mean_wait_s(),
                abandonment: queue.abandonment(),
                occupancy: queue.occupancy(),
            }),
            None => ErlangC::new(agents, per_s, self.handling).map(|queue| Staffing {
                agents,
                service_level: queue.service_level(within_s),
                waiting_probability: queue.waiting_probability(),
                mean_wait_s: queue.mean_wait_s(),
                abandonment: 0.0,
                occupancy: queue.occupancy(),
            }),
        }
    }

    /// The fewest agents who answer this part of all callers in time.
    pub fn staffing(&self, within: Duration, part: f64) -> Option<Staffing> {
        let reaches = |agents: u32| self.with(agents, within).is_some_and(|staffing| staffing.service_level >= part);
        // More agents never answer fewer in time.
        let mut enough = 1;
        while !reaches(enough) {
            if enough >= AGENTS_MAX {
                return None;
            }
            enough = (enough * 2).min(AGENTS_MAX);
        }
        let mut too_few = enough / 2;
        while enough - too_few > 1 {
            let middle = too_few.midpoint(enough);
            if reaches(middle) { enough = middle } else { too_few = middle }
        }
        self.with(enough, within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    /// The example of every Erlang calculator: 100 calls in half an hour of three minutes, 80 % in 20 s: 14 agents.
    #[test]
    fn the_common_example_takes_fourteen_agents() {
        let demand = Demand { per_hour: 200.0, handling: Duration::from_secs(180), patience: None };
        let staffing = demand.staffing(WITHIN, 0.8).expect("agents");
        assert_eq!(staffing.agents, 14);
        assert!((staffing.service_level - 0.888).abs() < 0.001);
        assert!(demand.with(13, WITHIN).expect("stable").service_level < 0.8);
    }

    #[test]
    fn callers_who_give_up_take_fewer_agents() {
        let patient = Demand { per_hour: 2_000.0, handling: Duration::from_secs(180), patience: None };
        let impatient = Demand { patience: Some(Duration::from_secs(120)), ..patient };
        let agents = |demand: Demand| demand.staffing(WITHIN, 0.8).expect("agents").agents;
        assert!(agents(impatient) < agents(patient));
        let fewest = agents(impatient);
        let level = |agents| impatient.with(agents, WITHIN).expect("agents").service_level;
        assert!(level(fewest) >= 0.8 && level(fewest - 1) < 0.8);
    }

    #[test]
    fn what_no_centre_reaches_has_no_answer() {
        let demand = Demand { per_hour: 1e9, handling: Duration::from_secs(600), patience: None };
        assert_eq!(demand.staffing(WITHIN, 0.8), None);
        let demand = Demand { per_hour: 10.0, handling: Duration::from_secs(600), patience: None };
        assert_eq!(demand.staffing(WITHIN, 1.1), None);
    }
}
