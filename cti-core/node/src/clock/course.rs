//! How the time runs while the program does: with the monotonic clock, a little faster or slower where the wall clock differs.

use std::time::Duration;

use cti_base::Timestamp;

/// A difference below this is left alone.
const NEAR: Duration = Duration::from_millis(5);
/// How much faster or slower the time runs while calls are measured by it, in millionths: 1.8 s an hour.
const PACE_PPM: i64 = 500;
/// The same while there is no call: an hour is made up in 20.
const PACE_IDLE_PPM: i64 = 50_000;
/// A wall clock that is ahead by more than this was put right (a machine that began in 1970): its time is taken at once as
/// soon as no call is there.
const JUMP_FROM: Duration = Duration::from_secs(24 * 3_600);

/// A stretch of time at one pace.
pub struct Course {
    /// The monotonic clock at the stretch's beginning.
    since: Duration,
    at: Timestamp,
    pace_ppm: i64,
}

/// The time was set forward.
#[derive(Debug, PartialEq, Eq)]
pub struct Jump {
    pub ahead: Duration,
}

impl Course {
    pub const fn new(since: Duration, at: Timestamp) -> Self {
        Self { since, at, pace_ppm: 0 }
    }

    /// The time when the monotonic clock reads `monotonic`.
    pub fn at(&self, monotonic: Duration) -> Timestamp {
        let elapsed = i128::try_from(monotonic.saturating_sub(self.since).as_micros()).unwrap_or(0);
        let paced = elapsed + elapsed * i128::from(self.pace_ppm) / 1_000_000;
        Timestamp::from_micros(self.at.as_micros().saturating_add(u64::try_from(paced).unwrap_or(0)))
    }

    /// Looks at the wall clock and chooses the pace from here on.
    pub fn steer(&mut self, monotonic: Duration, wall: Timestamp, idle: bool) -> Option<Jump> {
        let now = self.at(monotonic);
        let (ahead, behind) = (wall.since(now), now.since(wall));
        if idle && ahead > JUMP_FROM {
            *self = Self::new(monotonic, wall);
            return Some(Jump { ahead });
        }
        let pace = if idle { PACE_IDLE_PPM } else { PACE_PPM };
        let pace_ppm = match () {
            () if ahead > NEAR => pace,
            () if behind > NEAR => -pace,
            () => 0,
        };
        *self = Self { since: monotonic, at: now, pace_ppm };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Steers once a second for `seconds`, the wall clock running beside with `offset_s`; how far the time got.
    fn run(seconds: u64, offset_s: i64, idle: bool) -> (Duration, Vec<Jump>) {
        let mut course = Course::new(s(100), START);
        let (mut last, mut jumps) = (START, Vec::new());
        for second in 0..=seconds {
            let wall = START + s(second);
            let step = s(offset_s.unsigned_abs());
            let wall = if offset_s < 0 { wall - step } else { wall + step };
            jumps.extend(course.steer(s(100 + second), wall, idle));
            let now = course.at(s(100 + second));
            assert!(now >= last, "backwards after {second} s");
            last = now;
        }
        (last.since(START), jumps)
    }

    #[test]
    fn a_wall_clock_stepped_by_an_hour_moves_the_time_slowly() {
        let check = |offset_s: i64, idle: bool, expect_ms: u64| {
            let (got, jumps) = run(1_000, offset_s, idle);
            assert!(jumps.is_empty());
            assert!((got.as_millis() as u64).abs_diff(expect_ms) <= 1, "{offset_s} {idle}: {got:?}");
        };
        check(0, false, 1_000_000);
        check(3_600, false, 1_000_500);
        check(-3_600, false, 999_500);
        check(3_600, true, 1_050_000);
        check(-3_600, true, 950_000);
        // More than a day behind: slowly, never back.
        check(-100_000, true, 950_000);
        // More than a day ahead, and calls are measured: slowly.
        check(100_000, false, 1_000_500);
    }

    #[test]
    fn a_small_difference_is_made_up_and_then_kept() {
        for idle in [false, true] {
            let (got, _) = run(3 * 3_600, 1, idle);
            let made_up = got.as_millis() as i64 - 3 * 3_600_000;
            assert!((980..=1_060).contains(&made_up), "{made_up}");
        }
    }

    #[test]
    fn a_clock_put_right_by_more_than_a_day_is_followed_at_once_without_calls() {
        let (got, jumps) = run(10, 100_000, true);
        assert_eq!(jumps, [Jump { ahead: s(100_000) }]);
        assert_eq!(got, s(100_010));
    }
}
