//! Who of the waiting comes first, reckoned from the tenant's file: points by priority, value and age; then how late each is;
//! then who came first.

use cti_base::{CallId, Timestamp};
use cti_switch::config::Tenant;

use super::choice::queue_of;
use crate::ledger::Ledger;

/// A caller's claim at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    /// Billionths of a point: thousandths of a point a second × microseconds are whole ones.
    points_nano: i128,
    late_us: i64,
    since: Timestamp,
}

/// Weighted waits are cut to whole microseconds.
const CUT_US: i64 = 1;

impl Rank {
    /// Whether this one must be served first. Who came within one microsecond may be served in any order.
    pub fn is_before(&self, other: &Self) -> bool {
        if self.points_nano != other.points_nano {
            return self.points_nano > other.points_nano;
        }
        if self.late_us.abs_diff(other.late_us) > CUT_US.unsigned_abs() {
            return self.late_us > other.late_us;
        }
        self.since < other.since
    }
}

/// `extra` points are the checker's own.
pub fn rank(tenant: &Tenant, at: Timestamp, ledger: &Ledger, call: CallId, extra: i32) -> Rank {
    let story = &ledger.calls[&call];
    let since = story.since();
    let waited_us = at.as_micros() as i64 - since.as_micros() as i64;
    let Some(queue) = queue_of(tenant, ledger, call) else { return Rank { points_nano: 0, late_us: waited_us, since } };
    let value = story.value.as_ref().and_then(|value| queue.order.value_points.get(value)).copied().unwrap_or(0);
    let points = i128::from(queue.priority) + i128::from(value) + i128::from(extra);
    let age_milli_per_s = (queue.order.age_points_per_s * 1_000.0).round() as i128;
    let late_us = if queue.order.deadline {
        waited_us - i64::from(queue.service_level.seconds) * 1_000_000
    } else {
        (waited_us as f64 * queue.weight) as i64
    };
    Rank { points_nano: points * 1_000_000_000 + age_milli_per_s * i128::from(waited_us), late_us, since }
}
