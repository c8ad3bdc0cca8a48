//! Erlang A: callers who wait, and give up.

use std::time::Duration;

use crate::erlang_b;

/// States above `agents` are left out when the rest of their sum is below this part of it.
const TAIL: f64 = 1e-15;
/// Steps of the integral over the wait, even (Simpson's rule).
const STEPS: u32 = 2_000;

/// M/M/c+M: as Erlang C, but every caller has an exponential patience. Stable at any load.
/// Source: Garnett, Mandelbaum & Reiman, Designing a Call Center with Impatient Customers, M&SOM 4 (2002), 3; Mandelbaum &
/// Zeltyn, Service Engineering in Action: The Palm/Erlang-A Queue (2007), 4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErlangA {
    agents: u32,
    per_s: f64,
    handling_s: f64,
    patience_s: f64,
    /// Sums over the states with every agent busy, in units of the probability that nobody waits beside them.
    busy: f64,
    waiting: f64,
    /// The sum over all states with an agent free, in the same unit.
    free: f64,
}

impl ErlangA {
    /// `per_s`: arrivals a second. `None` for nobody to serve, or a mean that is zero.
    pub fn new(agents: u32, per_s: f64, handling: Duration, patience: Duration) -> Option<Self> {
        let (handling_s, patience_s) = (handling.as_secs_f64(), patience.as_secs_f64());
        if agents == 0 || per_s <= 0.0 || handling_s <= 0.0 || patience_s <= 0.0 {
            return None;
        }
        let (mut busy, mut waiting) = (1.0, 0.0);
        let (mut state, mut place) = (1.0, 0.0);
        let all_busy_per_s = f64::from(agents) / handling_s;
        loop {
            place += 1.0;
            let ratio = per_s / (all_busy_per_s + place / patience_s);
            state *= ratio;
            busy += state;
            waiting += place * state;
            if ratio < 1.0 && (place + 1.0) * state / (1.0 - ratio) < TAIL * busy {
                break;
            }
        }
        let free = 1.0 / erlang_b(agents, per_s * handling_s) - 1.0;
        Some(Self { agents, per_s, handling_s, patience_s, busy, waiting, free })
    }

    /// The part of the callers who find every agent busy.
    pub fn waiting_probability(&self) -> f64 {
        self.busy / (self.busy + self.free)
    }

    /// The part of the callers who give up.
    pub fn abandonment(&self) -> f64 {
        self.queue_length() / (self.per_s * self.patience_s)
    }

    /// Callers waiting, in the mean over time.
    pub fn queue_length(&self) -> f64 {
        self.waiting / (self.busy + self.free)
    }

    /// Of all callers, those who gave up too, seconds.
    pub fn mean_wait_s(&self) -> f64 {
        self.queue_length() / self.per_s
    }

    /// The part of an agent's time that is talk and wrap-up.
    pub fn occupancy(&self) -> f64 {
        self.per_s * self.handling_s * (1.0 - self.abandonment()) / f64::from(self.agents)
    }

    /// The part of all callers answered within `seconds`: those who wait at most so long and have the patience for it.
    /// The wait offered has the density of Mandelbaum & Zeltyn 2007, (4.3); the integral is by Simpson's rule.
    pub fn answered_within(&self, seconds: f64) -> f64 {
        let rate = f64::from(self.agents) / self.handling_s;
        // At the start of the wait the density is that of finding the agents busy and nobody waiting, times their rate.
        let nobody_before = rate / (self.busy + self.free);
        let density = |wait: f64| {
            let gone = self.patience_s * (1.0 - (-wait / self.patience_s).exp());
            nobody_before * (self.per_s * gone - rate * wait - wait / self.patience_s).exp()
        };
        let step = seconds / f64::from(STEPS);
        let sum: f64 = (0..=STEPS)
            .map(|n| {
                let weight = if n == 0 || n == STEPS { 1.0 } else { f64::from(2 + 2 * (n % 2)) };
                weight * density(step * f64::from(n))
            })
            .sum();
        1.0 - self.waiting_probability() + sum * step / 3.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErlangC;

    /// Garnett, Mandelbaum & Reiman 2002, table 1: 48 calls a minute of one minute, 50 agents, patience two minutes: 3.1 % give
    /// up and the mean wait falls from 20.8 s (endless patience) to 3.7 s; the agents are busy 93 % instead of 96 %.
    #[test]
    fn the_papers_example_comes_out() {
        let minute = Duration::from_secs(60);
        let queue = ErlangA::new(50, 48.0 / 60.0, minute, 2 * minute).expect("agents");
        assert!((queue.abandonment() - 0.031).abs() < 0.0005, "{}", queue.abandonment());
        assert!((queue.mean_wait_s() - 3.7).abs() < 0.05, "{}", queue.mean_wait_s());
        assert!((queue.occupancy() - 0.93).abs() < 0.005);
        let patient = ErlangC::new(50, 48.0 / 60.0, minute).expect("stable");
        assert!((patient.mean_wait_s() - 20.8).abs() < 0.05, "{}", patient.mean_wait_s());
        assert!((patient.occupancy() - 0.96).abs() < 0.005);
    }

    /// Patience as long as the handling: whoever waits leaves as fast as whoever talks, and the number of callers is Poisson.
    #[test]
    fn with_patience_like_handling_the_callers_are_poisson() {
        for (agents, load) in [(1u32, 0.7f64), (5, 6.0), (20, 18.0)] {
            let queue = ErlangA::new(agents, load, Duration::from_secs(1), Duration::from_secs(1)).expect("agents");
            let (mut term, mut below) = ((-load).exp(), 0.0);
            for n in 0..agents {
                below += term;
                term *= load / f64::from(n + 1);
            }
            assert!((queue.waiting_probability() - (1.0 - below)).abs() < 1e-12, "{agents} agents, {load} E");
        }
    }

    #[test]
    fn with_endless_patience_it_is_erlang_c() {
        let (handling, patience) = (Duration::from_secs(180), Duration::from_secs(1_000_000_000));
        let a = ErlangA::new(14, 100.0 / 1800.0, handling, patience).expect("agents");
        let c = ErlangC::new(14, 100.0 / 1800.0, handling).expect("stable");
        assert!((a.waiting_probability() - c.waiting_probability()).abs() < 1e-6);
        assert!((a.mean_wait_s() - c.mean_wait_s()).abs() < 1e-3);
        assert!((a.answered_within(20.0) - c.service_level(20.0)).abs() < 1e-6);
        assert!(a.abandonment() < 1e-6);
    }

    /// Whoever does not give up is answered sooner or later.
    #[test]
    fn answered_and_abandoned_are_all() {
        for (agents, per_s) in [(10, 0.04), (10, 0.06), (10, 0.5), (300, 1.5)] {
            let queue = ErlangA::new(agents, per_s, Duration::from_secs(200), Duration::from_secs(90)).expect("agents");
            let answered = queue.answered_within(2_000.0);
            assert!((answered + queue.abandonment() - 1.0).abs() < 1e-6, "{agents}, {per_s}: {answered}");
        }
    }

    #[test]
    fn heavy_overload_is_the_fluids() {
        let queue = ErlangA::new(100, 2.0, Duration::from_secs(100), Duration::from_secs(60)).expect("agents");
        assert!((queue.abandonment() - 0.5).abs() < 1e-3);
    }

    #[test]
    fn nobody_to_serve_has_no_answer() {
        assert_eq!(ErlangA::new(0, 1.0, Duration::from_secs(1), Duration::from_secs(1)), None);
        assert_eq!(ErlangA::new(1, 1.0, Duration::from_secs(1), Duration::ZERO), None);
    }
}
