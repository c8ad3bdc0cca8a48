use std::time::Duration;

use serde::{Deserialize, Serialize};
/// What a queue has done since local midnight.
///
/// A call counts as offered to the queue when it enters it, and then once as answered, abandoned (the caller hung up while
/// waiting or ringing) or neither (it waits, or left by a limit). Service level = answered within the threshold, counted
/// from entering the queue, / offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueStats {
    day: i32,
    pub offered: u32,
    pub answered: u32,
    pub abandoned: u32,
    within: u32,
}

impl QueueStats {
    /// The counts of `day`: all zero where nothing has happened in it yet.
    pub(crate) fn on(self, day: i32) -> Self {
        if self.day == day { self } else { Self { day, ..Self::default() } }
    }

    pub(crate) fn add_offered(&mut self, day: i32) {
        *self = self.on(day);
        self.offered += 1;
    }

    pub(crate) fn add_answered(&mut self, day: i32, wait: Duration, threshold: Duration) {
        *self = self.on(day);
        self.answered += 1;
        self.within += u32::from(wait <= threshold);
    }

    pub(crate) fn add_abandoned(&mut self, day: i32) {
        *self = self.on(day);
        self.abandoned += 1;
    }

    /// 0 to 1; `None` before the first call. A call that entered before midnight and is answered after it can not lift it above 1.
    pub(crate) fn service_level(self) -> Option<f32> {
        (self.offered > 0).then(|| (self.within as f32 / self.offered as f32).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_level_is_answered_in_time_of_offered_and_starts_anew_each_day() {
        let mut stats = QueueStats::default();
        assert_eq!(stats.service_level(), None);
        for wait_s in [5, 20, 21] {
            stats.add_offered(7);
            stats.add_answered(7, Duration::from_secs(wait_s), Duration::from_secs(20));
        }
        stats.add_offered(7);
        stats.add_abandoned(7);
        assert_eq!(stats.service_level(), Some(0.5));
        assert_eq!((stats.offered, stats.answered, stats.abandoned), (4, 3, 1));
        assert_eq!(stats.on(8).service_level(), None);
        stats.add_offered(8);
        assert_eq!((stats.offered, stats.answered), (1, 0));
    }
}
