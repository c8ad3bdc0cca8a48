//! How long a caller will probably wait, and how far off that was.
//!
//! The estimator, [`ESTIMATOR`], is queue length with abandonment: while agents serve one caller after the other at a rate
//! r and each caller ahead gives up at a rate θ, the caller with n callers ahead waits Σ 1 / (r + i·θ), i = 0 … n, in the
//! mean. Told is the median, which is off by the least in the mean: of about a third of a place less.
//! Source: Whitt, Predicting Queueing Delays, Management Science 45 (1999), 6; Ibrahim & Whitt, Real-Time Delay Estimation in
//! Overloaded Multiserver Queues with Abandonments, Management Science 55 (2009), 10 (QLm).
//!
//! Both rates are observed. r is the agents who work at this moment × how many callers of this queue one of them takes a
//! second while callers wait: ringing, missed offers and other queues that share the agents are in it. θ is what gave up a
//! second of waiting. Callers who are being offered already are ahead of nobody.

use std::time::Duration;

use cti_base::{CallId, QueueName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::acd::Acd;
use crate::entry::{Estimate, Left};
use crate::slab::Ix;
use crate::state::{Queue, Waiter};

/// What [`Estimate::estimator`] says.
pub const ESTIMATOR: &str = "queue length with abandonment";

/// The handling time before the first call has ended.
const HANDLING_AT_FIRST_S: f64 = 180.0;
/// Calls that the mean handling time is smoothed over.
const HANDLING_CALLS: f64 = 50.0;
/// One call can not bend the mean further than this.
const HANDLING_MAX_S: f64 = 3600.0;
/// Callers taken that the pace is smoothed over, and for how many the mean handling time counts before any is seen.
const PACE_CALLS: f64 = 100.0;
const PACE_PRIOR_CALLS: f64 = 10.0;
/// Callers who waited that patience is smoothed over, and for how long a wait without giving up is supposed at first.
const PATIENCE_CALLS: f64 = 200.0;
const PATIENCE_PRIOR_S: f64 = 3600.0;
/// Places that are summed one by one; beyond, the sum is an integral.
const PLACES_SUMMED: usize = 32;
/// What is told at least and at most.
const ESTIMATE_MIN_S: f64 = 1.0;
const ESTIMATE_MAX_S: f64 = 3600.0;

/// What the estimate of one queue is made of, and how it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Forecast {
    /// Mean handling time, and calls in it, up to [`HANDLING_CALLS`].
    handling_s: f64,
    handled: f64,
    /// Callers taken off a queue where callers waited, and agents' seconds in which they waited; both fade.
    taken: f64,
    agent_s: f64,
    /// Since when the agents' seconds are to be counted, while callers wait.
    counted_to: Timestamp,
    /// Callers who gave up, and seconds waited by all; both fade.
    gave_up: f64,
    waited_s: f64,
    error: EstimateError,
}

/// How far what callers were told on entering was off when they were answered. Who gave up or was passed on counts for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EstimateError {
    pub calls: u64,
    /// The sum of |told − waited|, seconds.
    pub sum_s: f64,
    /// The same, had the naive estimate been told.
    pub naive_sum_s: f64,
}

/// What a caller was told on entering.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    at: Timestamp,
    wait: Duration,
    naive: Duration,
}

impl EstimateError {
    /// The mean absolute error, seconds.
    pub fn mean_s(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.sum_s / self.calls as f64)
    }

    /// The naive estimate's.
    pub fn naive_mean_s(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.naive_sum_s / self.calls as f64)
    }
}

impl Forecast {
    /// One call's talk, hold and wrap-up are over.
    pub(crate) fn add_handled(&mut self, handled: Duration) {
        self.handled = (self.handled + 1.0).min(HANDLING_CALLS);
        self.handling_s += (handled.as_secs_f64().min(HANDLING_MAX_S) - self.handling_s) / self.handled;
    }

    /// From here on callers wait for whoever works.
    pub(crate) fn begins_to_wait(&mut self, now: Timestamp) {
        self.counted_to = now;
    }

    /// Callers waited until now, with so many agents at work.
    pub(crate) fn count_agents(&mut self, now: Timestamp, working: usize) {
        self.agent_s += working as f64 * now.since(self.counted_to).as_secs_f64();
        self.counted_to = now;
    }

    /// A caller who had waited is answered.
    fn takes(&mut self) {
        let fades = 1.0 - 1.0 / PACE_CALLS;
        (self.taken, self.agent_s) = (self.taken * fades + 1.0, self.agent_s * fades);
    }

    fn add_wait(&mut self, waited: Duration, gave_up: bool) {
        let fades = 1.0 - 1.0 / PATIENCE_CALLS;
        self.gave_up = self.gave_up * fades + f64::from(u8::from(gave_up));
        self.waited_s = self.waited_s * fades + waited.as_secs_f64();
    }

    fn add_told(&mut self, now: Timestamp, told: Told) {
        let waited = now.since(told.at);
        self.error.calls += 1;
        self.error.sum_s += told.wait.abs_diff(waited).as_secs_f64();
        self.error.naive_sum_s += told.naive.abs_diff(waited).as_secs_f64();
    }

    fn handling_s(&self) -> f64 {
        if self.handled > 0.0 { self.handling_s } else { HANDLING_AT_FIRST_S }
    }

    /// Callers that one agent takes a second while callers wait.
    fn pace_per_s(&self) -> f64 {
        (self.taken + PACE_PRIOR_CALLS) / (self.agent_s + PACE_PRIOR_CALLS * self.handling_s().max(ESTIMATE_MIN_S))
    }

    fn gives_up_per_s(&self) -> f64 {
        self.gave_up / (self.waited_s + PATIENCE_PRIOR_S)
    }

    /// The wait at the end of a line of `places`, served at `rate` a second, seconds.
    fn wait_s(&self, places: usize, rate: f64) -> f64 {
        let gives_up = self.gives_up_per_s();
        let place = |ahead: usize| 1.0 / (rate + ahead as f64 * gives_up);
        let summed: f64 = (0..places.min(PLACES_SUMMED)).map(place).sum();
        let mean = match places.saturating_sub(PLACES_SUMMED) as f64 {
            0.0 => summed,
            more if gives_up > 0.0 => {
                let from = rate + (PLACES_SUMMED as f64 - 0.5) * gives_up;
                summed + (more * gives_up / from).ln_1p() / gives_up
            }
            more => summed + more / rate,
        };
        mean * (1.0 - 1.0 / (3.0 * places.max(1) as f64))
    }
}

impl Acd {
    /// `None` for who does not wait, and where nobody works: unknown.
    pub fn estimate(&self, now: Timestamp, id: CallId) -> Option<Estimate> {
        self.estimate_of(now, *self.waiter_ix.get(&id)?)
    }

    /// How good the estimates of this queue have been so far.
    pub fn estimate_error(&self, queue: &QueueName) -> EstimateError {
        self.queue_ix.get(queue).map(|ix| self.queues[*ix].forecast.error).unwrap_or_default()
    }

    pub(crate) fn estimate_of(&self, _now: Timestamp, ix: Ix<Waiter>) -> Option<Estimate> {
        let waiter = &self.waiters[ix];
        let queue = &self.queues[waiter.home];
        let position = self.position_of(ix);
        let (working, pace, places) = match waiter.direct {
            None => (queue.working, queue.forecast.pace_per_s(), self.places_before(queue, position)),
            // One agent alone; what other lines they serve is not known here.
            Some(agent) => {
                let works = usize::from(self.agents[agent].activity.is_working());
                (works, 1.0 / queue.forecast.handling_s().max(ESTIMATE_MIN_S), position)
            }
        };
        if working == 0 {
            return None;
        }
        let told = |s: f64| Duration::from_secs_f64(s.clamp(ESTIMATE_MIN_S, ESTIMATE_MAX_S));
        Some(Estimate {
            wait: told(queue.forecast.wait_s(places, working as f64 * pace)),
            position,
            naive: told(position as f64 * queue.forecast.handling_s() / working as f64),
            estimator: ESTIMATOR,
        })
    }

    /// The caller waits: keeps what they would be told, to measure it by what comes.
    pub(crate) fn foretell(&mut self, now: Timestamp, ix: Ix<Waiter>) {
        if self.waiters[ix].stands {
            let told = self.estimate_of(now, ix).map(|Estimate { wait, naive, .. }| Told { at: now, wait, naive });
            self.waiters[ix].told = told;
        }
    }

    /// The caller leaves, and still stands in the lines if nobody was offered to them.
    pub(crate) fn learn_from_leaving(&mut self, now: Timestamp, ix: Ix<Waiter>, how: &Left) {
        let waiter = &self.waiters[ix];
        let (told, waited, stood) = (waiter.told, now.since(waiter.entry.entered), waiter.stands);
        let queue = &mut self.queues[waiter.home];
        if stood || queue.open > 0 {
            // Should the line be empty after this, the time up to here counts all the same.
            queue.forecast.count_agents(now, queue.working);
        }
        let Some(told) = told else { return };
        match how {
            Left::Answered { .. } => {
                queue.forecast.takes();
                queue.forecast.add_wait(waited, false);
                queue.forecast.add_told(now, told);
            }
            Left::Abandoned => queue.forecast.add_wait(waited, true),
            Left::Moved => queue.forecast.add_wait(waited, false),
        }
    }

    /// Places up to this position that an agent must still be found for; at least one.
    fn places_before(&self, queue: &Queue, position: usize) -> usize {
        let first = queue.line.iter().take(position).take_while(|(_, ix)| !self.waiters[*ix].offers.is_empty());
        (position - first.count()).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast() -> Forecast {
        let mut forecast = Forecast::default();
        (0..100).for_each(|_| forecast.add_handled(Duration::from_secs(100)));
        forecast
    }

    #[track_caller]
    fn near(found: f64, expect: f64) {
        assert!((found / expect - 1.0).abs() < 0.01, "{found}, not {expect}");
    }

    #[test]
    fn without_anything_seen_the_handling_time_says_it() {
        near(1.0 / Forecast::default().pace_per_s(), HANDLING_AT_FIRST_S);
        near(1.0 / forecast().pace_per_s(), 100.0);
        // Ten agents: a place every 10 s; the median of one exponential time is about two thirds of its mean.
        near(forecast().wait_s(30, 0.1), 300.0 - 10.0 / 3.0);
        near(forecast().wait_s(1, 0.1), 20.0 / 3.0);
    }

    #[test]
    fn one_long_call_is_taken_as_an_hour() {
        let mut forecast = forecast();
        forecast.add_handled(Duration::from_secs(1_000_000));
        near(forecast.handling_s(), 100.0 + 3500.0 / HANDLING_CALLS);
    }

    #[test]
    fn the_pace_follows_what_agents_take() {
        let mut forecast = forecast();
        // Two agents take a caller every 20 s: half their time is another queue's.
        for n in 1..=1_000 {
            forecast.count_agents(Timestamp::from_millis(20_000 * n), 2);
            forecast.takes();
        }
        near(1.0 / forecast.pace_per_s(), 40.0 + (100.0 - 40.0) * PACE_PRIOR_CALLS / (PACE_CALLS + PACE_PRIOR_CALLS));
    }

    #[test]
    fn callers_ahead_who_give_up_make_it_shorter() {
        let mut forecast = forecast();
        (0..10_000).for_each(|n| forecast.add_wait(Duration::from_secs(50), n % 2 == 0));
        let gives_up = forecast.gives_up_per_s();
        near(gives_up, 100.0 / (10_000.0 + PATIENCE_PRIOR_S));
        // The integral beyond the summed places is that of the sum.
        let sum: f64 = (0..400).map(|ahead| 1.0 / (0.1 + f64::from(ahead) * gives_up)).sum();
        near(forecast.wait_s(400, 0.1), sum);
        assert!(forecast.wait_s(400, 0.1) < 0.2 * Forecast::default().wait_s(400, 0.1));
    }

    #[test]
    fn the_error_is_measured_from_what_was_told() {
        let mut forecast = Forecast::default();
        let s = Duration::from_secs;
        let told = Told { at: Timestamp::from_millis(1_000), wait: s(30), naive: s(60) };
        forecast.add_told(Timestamp::from_millis(41_000), told);
        forecast.add_told(Timestamp::from_millis(21_000), told);
        assert_eq!(forecast.error.mean_s(), Some(10.0));
        assert_eq!(forecast.error.naive_mean_s(), Some(30.0));
        assert_eq!(EstimateError::default().mean_s(), None);
    }
}
