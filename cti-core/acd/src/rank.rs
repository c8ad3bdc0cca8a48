//! Who of the waiting comes first.
//!
//! Points are kept in billionths (nano), so that thousandths of a point a second × microseconds are whole numbers. Within one
//! queue every caller gains points equally fast: their order never changes, and [`Place`] holds it. Across queues, heads are
//! held against each other at the moment of the choice.

use std::cmp::{Ordering, Reverse};

use cti_base::Timestamp;

use crate::entry::Entry;
use crate::rules::QueueRules;

const NANO: i128 = 1_000_000_000;

/// A caller's place among those of the same queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The points that the caller would have had at the epoch, in nano-points.
    points_at_epoch: Reverse<i128>,
    since: Timestamp,
    order: u64,
    /// Unlike everybody else's.
    seq: u64,
}

/// How a queue's callers gain rank with time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slope {
    age_milli_per_s: i64,
    weight: f64,
    /// In µs; the order is by deadline where it is set.
    target_us: Option<u64>,
}

impl Slope {
    pub(crate) fn of(rules: &QueueRules) -> Self {
        let target_us = rules.order.deadline.then_some(u64::from(rules.service_level.seconds) * 1_000_000);
        let age_milli_per_s = (rules.order.age_points_per_s * 1_000.0).round().clamp(0.0, 1e9) as i64;
        Self { age_milli_per_s, weight: rules.weight.clamp(1e-3, 1e6), target_us }
    }

    fn points_at(&self, now: Timestamp, place: &Place) -> i128 {
        place.points_at_epoch.0 + i128::from(self.age_milli_per_s) * i128::from(now.as_micros())
    }

    /// In thousandths of a point.
    pub(crate) fn points_milli(&self, now: Timestamp, place: &Place) -> i64 {
        let milli = self.points_at(now, place) / (NANO / 1_000);
        milli.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// How late the caller is, in µs: beyond the deadline where the queue goes by it, else the weighted wait.
    fn lateness_us(&self, now: Timestamp, place: &Place) -> i64 {
        let waited_us = now.as_micros() as i64 - place.since.as_micros() as i64;
        match self.target_us {
            Some(target_us) => waited_us - target_us as i64,
            None => (waited_us as f64 * self.weight) as i64,
        }
    }
}

impl Place {
    pub(crate) fn new(rules: &QueueRules, slope: &Slope, entry: &Entry, seq: u64) -> Self {
        let value = entry.value.as_ref().and_then(|value| rules.order.value_points.get(value)).copied().unwrap_or(0);
        let points = i128::from(rules.priority) + i128::from(entry.priority) + i128::from(value);
        let gained = i128::from(slope.age_milli_per_s) * i128::from(entry.since.as_micros());
        Self { points_at_epoch: Reverse(points * NANO - gained), since: entry.since, order: entry.order, seq }
    }

    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }
}

/// Who comes first at `now`, each by the slope of their own queue.
pub(crate) fn compare(now: Timestamp, (a_slope, a): (&Slope, &Place), (b_slope, b): (&Slope, &Place)) -> Ordering {
    let points = |slope: &Slope, place: &Place| Reverse(slope.points_at(now, place));
    let late = |slope: &Slope, place: &Place| Reverse(slope.lateness_us(now, place));
    (points(a_slope, a).cmp(&points(b_slope, b)))
        .then_with(|| late(a_slope, a).cmp(&late(b_slope, b)))
        .then_with(|| (a.since, a.order, a.seq).cmp(&(b.since, b.order, b.seq)))
}
