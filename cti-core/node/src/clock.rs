//! The one clock: microseconds since the epoch that never run backwards.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cti_base::Timestamp;

/// Where the epoch was read once, and the instant it was read at: from then on only the monotonic clock counts, so that
/// a step of the system's time neither fires nor starves a timer.
static ORIGIN: LazyLock<(Instant, Duration)> = LazyLock::new(|| {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), epoch)
});

/// The time now.
pub fn now() -> Timestamp {
    let (started, epoch) = *ORIGIN;
    Timestamp::from_micros((epoch + started.elapsed()).as_micros() as u64)
}

/// The instant at which [`now`] reads `at`; the present where that has passed.
pub fn instant_of(at: Timestamp) -> Instant {
    Instant::now() + at.since(now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_backwards_and_is_near_the_systems() {
        let mut last = now();
        for _ in 0..10_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        let system = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
        assert!(system.abs_diff(now().as_millis()) < 1_000);
    }

    #[test]
    fn an_instant_in_the_future_is_as_far_away_as_its_timestamp() {
        let at = now() + Duration::from_secs(5);
        let wait = instant_of(at).saturating_duration_since(Instant::now());
        assert!(wait > Duration::from_millis(4_900) && wait <= Duration::from_secs(5), "{wait:?}");
    }
}
