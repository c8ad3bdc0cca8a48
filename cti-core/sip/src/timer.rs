//! Deadlines in one ordered queue, and the intervals of RFC 3261 table 4 by name.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::Timestamp;
use serde::{Deserialize, Serialize};

/// Round-trip estimate (RFC 3261 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of non-INVITE requests and INVITE responses.
pub const T2: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64*T1.
pub const T1_64: Duration = Duration::from_secs(32);

/// INVITE request retransmission, doubling; unreliable transports only.
pub const TIMER_A: Duration = T1;
/// INVITE transaction timeout.
pub const TIMER_B: Duration = T1_64;
/// Wait for retransmissions of the final answer to an INVITE; zero on reliable transports.
pub const TIMER_D: Duration = T1_64;
/// Non-INVITE request retransmission, doubling up to T2; unreliable transports only.
pub const TIMER_E: Duration = T1;
/// Non-INVITE transaction timeout.
pub const TIMER_F: Duration = T1_64;
/// Retransmission of an INVITE's final answer, doubling up to T2; unreliable transports only.
pub const TIMER_G: Duration = T1;
/// Wait for the ACK of a final answer of 300 to 699.
pub const TIMER_H: Duration = T1_64;
/// Wait for retransmissions of that ACK; zero on reliable transports.
pub const TIMER_I: Duration = T4;
/// Wait for retransmissions of a non-INVITE request; zero on reliable transports.
pub const TIMER_J: Duration = T1_64;
/// Wait for retransmissions of a non-INVITE answer; zero on reliable transports.
pub const TIMER_K: Duration = T4;
/// RFC 6026 8.7: wait for retransmissions of an INVITE that got a 2xx.
pub const TIMER_L: Duration = T1_64;
/// RFC 6026 8.4: wait for retransmissions of a 2xx, and for 2xx of other forks.
pub const TIMER_M: Duration = T1_64;
/// RFC 3261 13.3.1.4: wait for the ACK of our 2xx.
pub const ACK_WAIT: Duration = T1_64;
/// RFC 3261 9.1: after CANCEL, an INVITE without a final answer is given up.
pub const CANCEL_WAIT: Duration = T1_64;
/// RFC 3261 13.3.1.1: a provisional answer is repeated this often, so that no proxy gives up.
pub const PROVISIONAL_REFRESH: Duration = Duration::from_secs(60);

/// The next interval of a doubling timer that stops at `T2`.
pub fn doubled_to_t2(interval: Duration) -> Duration {
    (interval * 2).min(T2)
}

/// A queue of deadlines with cancellation, each O(log n). Its owners' limits bound it: a transaction holds two at most.
#[derive(Debug, Serialize, Deserialize)]
pub struct Timers<T> {
    queue: BTreeMap<(Timestamp, u64), T>,
    counter: u64,
}

/// Names one armed deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey(Timestamp, u64);

impl<T> Timers<T> {
    pub const fn new() -> Self {
        Self { queue: BTreeMap::new(), counter: 0 }
    }

    pub fn arm(&mut self, at: Timestamp, what: T) -> TimerKey {
        self.counter += 1;
        self.queue.insert((at, self.counter), what);
        TimerKey(at, self.counter)
    }

    /// Cancels what `slot` names, if it is armed, and empties it.
    pub fn cancel(&mut self, slot: &mut Option<TimerKey>) {
        if let Some(TimerKey(at, number)) = slot.take() {
            self.queue.remove(&(at, number));
        }
    }

    /// The earliest deadline that is due at `now`.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<T> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// Moves the deadlines that `which` chooses. Their keys are others then.
    pub fn postpone(&mut self, by: Duration, which: impl Fn(&T) -> bool) {
        let moved = |((at, number), what): ((Timestamp, u64), T)| {
            let at = if which(&what) { at + by } else { at };
            ((at, number), what)
        };
        self.queue = std::mem::take(&mut self.queue).into_iter().map(moved).collect();
    }

    /// Every armed deadline with its key, the earliest first.
    pub fn armed(&self) -> impl Iterator<Item = (TimerKey, &T)> {
        self.queue.iter().map(|((at, number), what)| (TimerKey(*at, *number), what))
    }

    pub fn next(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }
}
