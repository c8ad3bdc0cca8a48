//! What a tenant's file says of its queues and callers, as far as it is drawn.

use cti_base::Rng;

/// What a new declaration may change.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    pub ring_timeout_s: u64,
    pub wrapup_s: u64,
    pub max_wait_s: u64,
    pub max_waiting: u64,
    pub overflow_s: u64,
    pub record: bool,
    pub repair_level: u64,
    pub vip_priority: i64,
    pub vip_stands: bool,
    pub max_calls: u64,
    /// Of general, repair and vip.
    pub strategies: [&'static str; 3],
    /// When repair asks less and other queues; none beyond the longest wait.
    pub relax_s: u64,
    pub relax_for_s: u64,
    /// vip is helped out by repair.
    pub borrows: bool,
    pub no_staff: bool,
    pub waiting_max: u64,
    /// The agents' ranks the other way round.
    pub bottom_up: bool,
}

const STRATEGIES: [&str; 9] = [
    "longest_idle",
    "round_robin",
    "least_calls",
    "least_talk_time",
    "top_down",
    "random",
    "ring_all",
    "best_skill",
    "scored",
];

impl QueueSettings {
    pub fn drawn(rng: &mut Rng) -> Self {
        Self {
            ring_timeout_s: 4 + rng.below(12),
            wrapup_s: if rng.below(3) == 0 { 0 } else { 1 + rng.below(20) },
            max_wait_s: 30 + rng.below(90),
            max_waiting: 2 + rng.below(30),
            overflow_s: 10 + rng.below(40),
            record: rng.below(4) > 0,
            repair_level: 1 + rng.below(4),
            vip_priority: rng.below(3) as i64 * 5,
            vip_stands: true,
            max_calls: if rng.below(5) == 0 { 8 + rng.below(10) } else { 500 },
            strategies: [0; 3].map(|_| STRATEGIES[rng.below(9) as usize]),
            relax_s: 2 + rng.below(20),
            relax_for_s: 1 + rng.below(40),
            borrows: rng.below(2) == 0,
            no_staff: rng.below(3) == 0,
            waiting_max: 2 + rng.below(20),
            bottom_up: false,
        }
    }
}
