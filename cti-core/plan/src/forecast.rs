//! The calls of the days to come from those of the past: the same time of the same weekday in the weeks before, each of which
//! counts less than the one after it.
//!
//! Weeks are 168 hours: where clocks change, the hours beside the change are an hour off until the weeks before are over.

use std::collections::BTreeMap;

use serde::Serialize;

const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// So much less counts a week than the one after it: half of the weight lies in the last two or three.
const FADING: f64 = 0.75;
/// Weeks that are looked at; what lies further back says nothing.
const WEEKS_MAX: usize = 12;
/// Weeks that the back-test foretells, each from those before it, and weeks that must lie before the first of them.
const TESTED_MAX: usize = 4;
const BEFORE_MIN: usize = 2;

/// What is kept of a past: more is never looked at.
const KEPT_MS: u64 = (WEEKS_MAX + TESTED_MAX) as u64 * WEEK_MS;

/// Calls by interval, without a hole, in whole intervals from the first to the last: of the last 16 weeks at most.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    interval_ms: u64,
    first_ms: u64,
    calls: Vec<f64>,
}

/// Calls that are expected in the interval that begins at `start_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    pub start_ms: u64,
    pub calls: f64,
}

/// How far off the last weeks would have been foretold: the sum of the errors of all intervals over the sum of the calls (WAPE).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BackTest {
    pub weeks: usize,
    pub error: f64,
    /// Of "as in the week before", for comparison.
    pub naive: f64,
}

impl History {
    /// `None` without any, or where the interval divides no week. What began within an interval is of it; where nothing is
    /// said there were no calls.
    pub fn new(interval_ms: u64, calls: impl IntoIterator<Item = (u64, f64)>) -> Option<Self> {
        if interval_ms == 0 || !WEEK_MS.is_multiple_of(interval_ms) {
            return None;
        }
        let mut by_start: BTreeMap<u64, f64> = BTreeMap::new();
        for (start_ms, calls) in calls {
            *by_start.entry(start_ms - start_ms % interval_ms).or_default() += calls;
        }
        let last_ms = *by_start.last_key_value()?.0;
        let kept_ms = (last_ms + interval_ms).saturating_sub(KEPT_MS);
        let first_ms = (*by_start.first_key_value()?.0).max(kept_ms);
        let starts = (first_ms..=last_ms).step_by(interval_ms as usize);
        let calls = starts.map(|start_ms| by_start.get(&start_ms).copied().unwrap_or_default()).collect();
        Some(Self { interval_ms, first_ms, calls })
    }

    /// Intervals of a week.
    fn week(&self) -> usize {
        (WEEK_MS / self.interval_ms) as usize
    }

    pub fn weeks(&self) -> usize {
        self.calls.len() / self.week()
    }

    /// When the interval after the last begins.
    pub fn end_ms(&self) -> u64 {
        self.first_ms + self.calls.len() as u64 * self.interval_ms
    }

    /// So many intervals from `from_ms` on, which is not before the end; `None` where a week is not over yet.
    pub fn forecast(&self, from_ms: u64, intervals: usize) -> Option<Vec<Expected>> {
        if self.weeks() == 0 {
            return None;
        }
        let from = (from_ms.max(self.end_ms()) - self.first_ms).div_ceil(self.interval_ms) as usize;
        let expected = |at: usize| Expected {
            start_ms: self.first_ms + at as u64 * self.interval_ms,
            calls: self.mean(at, self.calls.len()),
        };
        Some((from..from + intervals).map(expected).collect())
    }

    /// `None` where there are too few weeks to learn from and to test.
    pub fn back_test(&self) -> Option<BackTest> {
        let (week, weeks) = (self.week(), self.weeks());
        let tested = weeks.checked_sub(BEFORE_MIN)?.min(TESTED_MAX);
        let (mut error, mut naive, mut total) = (0.0, 0.0, 0.0);
        for n in 1..=tested {
            let begin = self.calls.len() - n * week;
            for at in begin..begin + week {
                let came = self.calls[at];
                total += came;
                error += (came - self.mean(at, begin)).abs();
                naive += (came - self.calls[at - week]).abs();
            }
        }
        (tested > 0 && total > 0.0).then(|| BackTest { weeks: tested, error: error / total, naive: naive / total })
    }

    /// Of this interval's time in the weeks before it, as far as they lie before `known`.
    fn mean(&self, at: usize, known: usize) -> f64 {
        let before = (1..).map(|weeks| at.checked_sub(weeks * self.week())).map_while(|at| at);
        let same = before.filter(|at| *at < known).take(WEEKS_MAX);
        let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
        for at in same {
            sum += weight * self.calls[at];
            weights += weight;
            weight *= FADING;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const WEEK: u64 = 168;

    /// Hours of so many weeks; week and hour of the week say how many calls.
    fn history(weeks: u64, calls: impl Fn(u64, u64) -> f64) -> History {
        let hours = (0..weeks * WEEK).map(|hour| (hour * HOUR_MS, calls(hour / WEEK, hour % WEEK)));
        History::new(HOUR_MS, hours).expect("a history")
    }

    fn hours(of: &[Expected]) -> Vec<f64> {
        of.iter().map(|expected| expected.calls).collect()
    }

    #[test]
    fn what_is_the_same_every_week_is_foretold_exactly() {
        let same = history(4, |_, hour| (hour % 24) as f64);
        let week = same.forecast(same.end_ms(), 168).expect("a week is over");
        assert_eq!(hours(&week), (0..168).map(|hour| f64::from(hour % 24)).collect::<Vec<_>>());
        assert_eq!(week[0].start_ms, 4 * WEEK * HOUR_MS);
        assert_eq!(same.back_test(), Some(BackTest { weeks: 2, error: 0.0, naive: 0.0 }));
    }

    #[test]
    fn later_weeks_count_more_and_noise_is_evened_out() {
        let growing = history(3, |week, _| [10.0, 20.0, 30.0][week as usize]);
        let calls = growing.forecast(0, 1).expect("weeks")[0].calls;
        let expect = (30.0 + 0.75 * 20.0 + 0.5625 * 10.0) / (1.0 + 0.75 + 0.5625);
        assert!((calls - expect).abs() < 1e-9, "{calls}");
        // Alternating weeks: as the week before is always wrong by all of it.
        let noisy = history(10, |week, _| if week % 2 == 0 { 8.0 } else { 12.0 });
        let test = noisy.back_test().expect("weeks");
        assert_eq!((test.weeks, (test.naive * 1e6).round() / 1e6), (4, 0.4));
        assert!(test.error < 0.75 * test.naive, "{test:?}");
    }

    #[test]
    fn holes_are_no_calls_and_too_little_says_nothing() {
        let holes = History::new(HOUR_MS, [(0, 5.0), (HOUR_MS / 2, 2.0), (WEEK * HOUR_MS, 1.0)]).expect("a history");
        assert_eq!((holes.weeks(), holes.back_test()), (1, None));
        assert_eq!(hours(&holes.forecast(0, 2).expect("a week"))[1], 0.0);
        // The last interval is known already: its time a week later is foretold from both.
        let later = holes.forecast(2 * WEEK * HOUR_MS, 1).expect("a week")[0].calls;
        assert!((later - (1.0 + 0.75 * 7.0) / 1.75).abs() < 1e-9, "{later}");
        assert_eq!(history(1, |_, _| 1.0).back_test(), None);
        assert!(History::new(HOUR_MS, []).is_none() && History::new(11, [(0, 1.0)]).is_none());
        let day = History::new(HOUR_MS, [(0, 1.0), (24 * HOUR_MS, 1.0)]).expect("a history");
        assert_eq!(day.forecast(0, 1), None);
        let ages = History::new(HOUR_MS, [(0, 1.0), (1_000_000 * WEEK * HOUR_MS, 1.0)]).expect("a history");
        assert_eq!((ages.weeks(), ages.calls.len() as u64), (16, 16 * WEEK));
    }
}
