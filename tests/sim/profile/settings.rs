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
    /// Of general, repair and vip.
    pub orders: [OrderSettings; 3],
    /// None: nobody can be called back.
    pub callbacks: Option<CallbackSettings>,
}

impl QueueSettings {
    /// Whether vip's callers leave messages where its limits pass them on.
    pub fn leaves_messages(&self) -> bool {
        self.overflow_s.is_multiple_of(3)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct CallbackSettings {
    pub agent_first: bool,
    pub dial_timeout_s: u64,
    pub attempts: u64,
    pub retry_after_s: u64,
    pub max_calls: u64,
    pub max_cps: u64,
    /// Nobody answers at the trunk's first host.
    pub dead_host: bool,
}

impl CallbackSettings {
    fn drawn(rng: &mut Rng) -> Self {
        Self {
            agent_first: rng.below(3) == 0,
            dial_timeout_s: 5 + rng.below(12),
            attempts: 1 + rng.below(3),
            retry_after_s: 1 + rng.below(40),
            max_calls: [1, 2, 10, 10][rng.below(4) as usize],
            max_cps: [1, 2, 10][rng.below(3) as usize],
            dead_host: rng.below(6) == 0,
        }
    }
}

/// Who of a queue's callers comes first, and whom they are offered to first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OrderSettings {
    /// 0 is none of them: first come, first served.
    pub weight: f64,
    pub age_per_s: f64,
    pub deadline: bool,
    pub target_s: u64,
    /// Whether value classes count.
    pub values: bool,
    /// How long the agent who knows the caller is asked alone, and who that is.
    pub sticky: Option<(u64, &'static str)>,
}

impl OrderSettings {
    fn drawn(rng: &mut Rng) -> Self {
        Self {
            weight: [1.0, 1.0, 0.5, 3.0][rng.below(4) as usize],
            age_per_s: [0.0, 0.0, 0.05, 1.5][rng.below(4) as usize],
            deadline: rng.below(3) == 0,
            target_s: 1 + rng.below(40),
            values: rng.below(3) == 0,
            sticky: (rng.below(2) == 0)
                .then(|| (2 + rng.below(25), ["last_agent", "case_owner"][rng.below(2) as usize])),
        }
    }
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
            // Half of the runs go by priority and time alone.
            callbacks: (rng.below(3) > 0).then(|| CallbackSettings::drawn(rng)),
            orders: if rng.below(2) == 0 {
                [OrderSettings::default(); 3]
            } else {
                [0; 3].map(|_| OrderSettings::drawn(rng))
            },
        }
    }
}
