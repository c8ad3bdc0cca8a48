//! Every limit of the ACD, by name. What is beyond a limit is cut where the doc says so.

use std::time::Duration;

/// How long the same agent is not offered the same caller again, unless another was tried.
pub const SAME_AGENT_PAUSE: Duration = Duration::from_secs(5);
/// Agents that one caller remembers having tried; the oldest is forgotten.
pub const TRIED_MAX: usize = 64;

/// Agents that ring at once for one caller.
pub const RING_ALL_MAX: usize = 20;

/// Steps by which a queue's requirements relax; further ones are not looked at.
pub const RELAX_STEPS_MAX: usize = 16;
/// Queues that a caller waits in beside their own, each of: asked at entering, and by one step.
pub const ALSO_QUEUES_MAX: usize = 16;
/// Queues that one queue borrows from.
pub const BORROW_MAX: usize = 16;
/// Overflow rules of a queue; further ones are not looked at.
pub const OVERFLOW_RULES_MAX: usize = 16;
/// Agents who know a caller, of whom one is preferred.
pub const RELATED_MAX: usize = 8;

/// Classes without anybody waiting that are kept for the next caller; the longest unused go first.
pub const IDLE_CLASSES_MAX: usize = 2_000;

/// How often the estimated wait is held against a queue's rule.
pub const ESTIMATE_CHECK: Duration = Duration::from_secs(5);

/// What a lender's service level is measured over, and from how many calls on it says anything.
pub const LENDING_WINDOW_MINUTES: u64 = 30;
pub const LENDING_CALLS_MIN: u32 = 10;

/// What an explanation names: agents passed over, and how many are looked at for them.
pub const WHY_SKIPPED_MAX: usize = 8;
pub const WHY_LOOKED_AT_MAX: usize = 32;
