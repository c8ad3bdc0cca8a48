//! How long a caller will probably wait.
//!
//! The estimate is position × handling time / working agents: with n agents busy all the time, each taking one caller per
//! handling time (talk, hold and wrap-up), the queue moves one place every handling time / n. The handling time is the
//! queue's own, smoothed exponentially over its answered calls. It is a plain estimator: it does not foresee abandons,
//! breaks or other queues that share the agents.

use std::time::Duration;

use cti_base::{CallId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::acd::Acd;
use crate::entry::Estimate;
use crate::slab::Ix;
use crate::state::Waiter;

/// The handling time before the first call has ended.
const HANDLING_AT_FIRST: Duration = Duration::from_secs(180);
/// The weight of the newest call: the mean of about the last 20.
const NEWEST_WEIGHT: f64 = 0.1;
/// One call can not bend the mean further than this.
const HANDLING_MAX: Duration = Duration::from_secs(3600);
/// What is announced at least and at most.
const ESTIMATE_MIN: Duration = Duration::from_secs(10);
const ESTIMATE_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Handling {
    mean: Option<Duration>,
}

impl Handling {
    /// One call's talk, hold and wrap-up are over.
    pub(crate) fn add(&mut self, handled: Duration) {
        let handled = handled.min(HANDLING_MAX).as_secs_f64();
        let mean =
            self.mean.map_or(handled, |mean| mean.as_secs_f64() * (1.0 - NEWEST_WEIGHT) + handled * NEWEST_WEIGHT);
        self.mean = Some(Duration::from_secs_f64(mean));
    }

    /// The wait of the caller at `position` (1 is next) with `working` agents; `None` where nobody works: unknown.
    pub(crate) fn wait(self, position: usize, working: usize) -> Option<Duration> {
        if working == 0 {
            return None;
        }
        let mean = self.mean.unwrap_or(HANDLING_AT_FIRST).as_secs_f64();
        let seconds = (position as f64 * mean / working as f64).min(ESTIMATE_MAX.as_secs_f64());
        Some(Duration::from_secs_f64(seconds).max(ESTIMATE_MIN))
    }
}

impl Acd {
    /// `None` for who does not wait, and where nobody works: unknown.
    pub fn estimate(&self, now: Timestamp, id: CallId) -> Option<Estimate> {
        self.estimate_of(now, *self.waiter_ix.get(&id)?)
    }

    pub(crate) fn estimate_of(&self, _now: Timestamp, ix: Ix<Waiter>) -> Option<Estimate> {
        let waiter = &self.waiters[ix];
        let queue = &self.queues[waiter.home];
        let working = match waiter.direct {
            None => queue.working,
            Some(agent) => usize::from(self.agents[agent].activity.is_working()),
        };
        let position = self.position_of(ix);
        let wait = queue.handling.wait(position, working)?;
        Some(Estimate { wait, position, naive: wait, estimator: "position" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_wait_follows_position_handling_and_agents() {
        let mut handling = Handling::default();
        assert_eq!(handling.wait(1, 0), None);
        assert_eq!(handling.wait(1, 1), Some(s(180)));
        handling.add(s(60));
        assert_eq!(handling.wait(1, 1), Some(s(60)));
        assert_eq!(handling.wait(4, 2), Some(s(120)));
        assert_eq!(handling.wait(1, 60), Some(ESTIMATE_MIN));
        assert_eq!(handling.wait(10_000, 1), Some(ESTIMATE_MAX));
        handling.add(s(1_000_000));
        assert_eq!(handling.wait(1, 1), Some(s(414)), "one long call is taken as an hour, a tenth of it counts");
    }
}
