//! Figures of queues, agents and calls by interval, folded from facts alone.
//!
//! **[`fold`] gives what one fact adds, to whom and in which interval; whatever the order and the grouping, the sums are the
//! same.** A fact carries all that it counts for, so that nothing is remembered between facts: the switch adds them up since
//! local midnight ([`Today`]), the projector into tables, and both say the same.
//!
//! What becomes of a call counts in the interval in which it entered the queue, so that in every interval offered =
//! answered + abandoned + overflowed out + moved + ended otherwise + still waiting. An offer counts in the interval in which
//! the agent was offered it, a call's outcome in that of its start. Time in a state is divided at the intervals' bounds.

mod numbers;
#[cfg(test)]
mod tests;
mod today;

use cti_base::{AgentName, QueueName, TenantId, Timestamp};

use crate::desk::AgentState;
use crate::fact::{CallRecord, Fact, OfferEnd, Outcome, QueueLeave, StateSpan};

pub use numbers::{AgentFigures, CallFigures, Levels, QueueFigures, StateTimes};
pub use today::{AgentToday, Today};

/// Intervals begin at whole quarters of an hour of UTC. Every time zone's midnight is one of them.
pub const INTERVAL_MS: u64 = 15 * 60 * 1_000;
/// Of a longer span only its last so many milliseconds count: 31 days.
pub const SPAN_MS_MAX: u64 = 31 * 24 * 60 * 60 * 1_000;

/// Where the fold's additions go. `start_ms` is an interval's begin, UTC milliseconds.
pub trait Sink {
    fn queue(&mut self, tenant: &TenantId, queue: &QueueName, start_ms: u64, add: &QueueFigures);
    fn agent(&mut self, tenant: &TenantId, agent: &AgentName, start_ms: u64, add: &AgentFigures);
    /// So many milliseconds of one interval in a state; never of `offline`.
    fn state(
        &mut self,
        tenant: &TenantId,
        agent: &AgentName,
        start_ms: u64,
        state: (AgentState, Option<&str>),
        ms: u64,
    );
    fn calls(&mut self, tenant: &TenantId, start_ms: u64, add: &CallFigures);
}

/// The begin of the interval that a moment lies in.
pub const fn interval_of(at_ms: u64) -> u64 {
    at_ms - at_ms % INTERVAL_MS
}

/// A span of time by interval: begin of the interval, milliseconds in it.
pub fn by_interval(from_ms: u64, to_ms: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = from_ms.max(to_ms.saturating_sub(SPAN_MS_MAX));
    std::iter::from_fn(move || {
        if at >= to_ms {
            return None;
        }
        let start = interval_of(at);
        let next = (start + INTERVAL_MS).min(to_ms);
        let ms = next - at;
        at = next;
        Some((start, ms))
    })
}

/// Whether a fact adds to any figure.
pub const fn counts(fact: &Fact) -> bool {
    match fact {
        Fact::CallStarted { .. }
        | Fact::Queued { .. }
        | Fact::QueueLeft { .. }
        | Fact::Offered { .. }
        | Fact::OfferEnded { .. }
        | Fact::TalkEnded { .. }
        | Fact::CallEnded { .. } => true,
        Fact::Held { since_ms, .. } => since_ms.is_some(),
        Fact::WrapupEnded { queue, .. } => queue.is_some(),
        Fact::AgentState { was, .. } => was.is_some(),
        Fact::NodeEntered { .. }
        | Fact::Answered { .. }
        | Fact::Transferred { .. }
        | Fact::Supervised { .. }
        | Fact::VoicemailLeft { .. }
        | Fact::RecordingStarted { .. }
        | Fact::RecordingEnded { .. }
        | Fact::CallbackRequested { .. }
        | Fact::CallbackAttempt { .. }
        | Fact::CallbackEnded { .. }
        | Fact::Traced { .. } => false,
    }
}

/// What a fact of `at` adds.
pub fn fold(at: Timestamp, fact: &Fact, sink: &mut impl Sink) {
    let at_ms = at.as_millis();
    match fact {
        Fact::CallStarted { tenant, .. } => {
            sink.calls(tenant, interval_of(at_ms), &CallFigures { calls: 1, ..CallFigures::default() });
        }
        Fact::Queued { tenant, queue, from, .. } => {
            let add = QueueFigures { offered: 1, overflowed_in: u64::from(from.is_some()), ..QueueFigures::default() };
            sink.queue(tenant, queue, interval_of(at_ms), &add);
        }
        Fact::QueueLeft { tenant, call: _, queue, entered_ms, how, target_ms, short_ms } => {
            let wait_ms = at_ms.saturating_sub(*entered_ms);
            sink.queue(tenant, queue, interval_of(*entered_ms), &left(how, wait_ms, *target_ms, *short_ms));
        }
        Fact::Offered { tenant, agent, .. } => {
            sink.agent(tenant, agent, interval_of(at_ms), &AgentFigures { offers: 1, ..AgentFigures::default() });
        }
        Fact::OfferEnded { tenant, agent, how, offered_ms, .. } => {
            if let Some(offered_ms) = offered_ms {
                let add = offer_ended(*how, at_ms.saturating_sub(*offered_ms));
                sink.agent(tenant, agent, interval_of(*offered_ms), &add);
            }
        }
        Fact::Held { tenant, call: _, held: _, agent, since_ms } => {
            if let (Some(agent), Some(since_ms)) = (agent, since_ms) {
                held(tenant, agent, *since_ms, at_ms, sink);
            }
        }
        Fact::TalkEnded { tenant, agent, queue, entered_ms, talk_ms, hold_ms, held_since_ms, .. } => {
            if let Some(since_ms) = held_since_ms {
                held(tenant, agent, *since_ms, at_ms, sink);
            }
            if let (Some(queue), Some(entered_ms)) = (queue, entered_ms) {
                let (talk_ms, hold_ms) = (*talk_ms, *hold_ms);
                let add = QueueFigures { handled: 1, talk_ms, hold_ms, ..QueueFigures::default() };
                sink.queue(tenant, queue, interval_of(*entered_ms), &add);
            }
        }
        Fact::WrapupEnded { tenant, wrapup_ms, queue, entered_ms, .. } => {
            if let (Some(queue), Some(entered_ms)) = (queue, entered_ms) {
                let add = QueueFigures { wrapup_ms: *wrapup_ms, ..QueueFigures::default() };
                sink.queue(tenant, queue, interval_of(*entered_ms), &add);
            }
        }
        Fact::CallEnded { record } => {
            sink.calls(&record.tenant, interval_of(record.started_ms), &call_ended(record));
        }
        Fact::AgentState { tenant, agent, was, .. } => {
            if let Some(StateSpan { state, reason, since_ms }) = was {
                in_state(tenant, agent, (*state, reason.as_deref()), (*since_ms, at_ms), sink);
            }
        }
        Fact::NodeEntered { .. }
        | Fact::Answered { .. }
        | Fact::Transferred { .. }
        | Fact::Supervised { .. }
        | Fact::VoicemailLeft { .. }
        | Fact::RecordingStarted { .. }
        | Fact::RecordingEnded { .. }
        | Fact::CallbackRequested { .. }
        | Fact::CallbackAttempt { .. }
        | Fact::CallbackEnded { .. }
        | Fact::Traced { .. } => {}
    }
}

/// An agent's time in a state, from and to in milliseconds, which may still go on.
pub fn in_state(
    tenant: &TenantId,
    agent: &AgentName,
    state: (AgentState, Option<&str>),
    (from_ms, to_ms): (u64, u64),
    sink: &mut impl Sink,
) {
    if state.0 == AgentState::Offline {
        return;
    }
    for (start_ms, ms) in by_interval(from_ms, to_ms) {
        sink.state(tenant, agent, start_ms, state, ms);
    }
}

fn left(how: &QueueLeave, wait_ms: u64, target_ms: u64, short_ms: u64) -> QueueFigures {
    let in_time = u64::from(wait_ms <= target_ms);
    let mut add = QueueFigures { wait_max_ms: wait_ms, ..QueueFigures::default() };
    match how {
        QueueLeave::Answered { agent: _ } => {
            (add.answered, add.answered_in_time, add.wait_answered_ms) = (1, in_time, wait_ms);
        }
        QueueLeave::Abandoned { ringing } => {
            (add.abandoned_waiting, add.abandoned_ringing) = (u64::from(!*ringing), u64::from(*ringing));
            (add.abandoned_in_time, add.wait_abandoned_ms) = (in_time, wait_ms);
            add.abandoned_short = u64::from(wait_ms < short_ms);
        }
        QueueLeave::Overflowed { .. } => add.overflowed_out = 1,
        QueueLeave::Moved { to: _ } => add.moved = 1,
        QueueLeave::Ended { outcome: _ } => add.ended = 1,
    }
    add
}

fn offer_ended(how: OfferEnd, ring_ms: u64) -> AgentFigures {
    let mut add = AgentFigures { ring_ms, ..AgentFigures::default() };
    match how {
        OfferEnd::Accepted => add.answered = 1,
        OfferEnd::Rejected => add.rejected = 1,
        OfferEnd::Timeout => add.missed = 1,
        OfferEnd::Failed => add.failed = 1,
        OfferEnd::Withdrawn => add.withdrawn = 1,
    }
    add
}

fn held(tenant: &TenantId, agent: &AgentName, from_ms: u64, to_ms: u64, sink: &mut impl Sink) {
    for (start_ms, hold_ms) in by_interval(from_ms, to_ms) {
        sink.agent(tenant, agent, start_ms, &AgentFigures { hold_ms, ..AgentFigures::default() });
    }
}

fn call_ended(record: &CallRecord) -> CallFigures {
    let (talk_ms, hold_ms) = (record.talk_ms, record.hold_ms);
    let mut add = CallFigures { ended: 1, talk_ms, hold_ms, ..CallFigures::default() };
    match record.outcome {
        Outcome::Answered => add.answered = 1,
        Outcome::AbandonedIvr => add.abandoned_ivr = 1,
        Outcome::AbandonedQueue => add.abandoned_queue = 1,
        Outcome::AbandonedRinging => add.abandoned_ringing = 1,
        Outcome::Overflowed => add.overflowed = 1,
        Outcome::Voicemail => add.voicemail = 1,
        Outcome::Callback => add.callback = 1,
        Outcome::CompletedIvr => add.completed_ivr = 1,
        Outcome::Rejected | Outcome::Failed | Outcome::Interrupted | Outcome::NoAnswer | Outcome::Busy => {
            add.failed = 1
        }
    }
    add
}
