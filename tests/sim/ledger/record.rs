//! A call's record against its story.

use std::time::Duration;

use cti_base::Timestamp;
use cti_switch::{CallRecord, Outcome, SegmentKind};

use super::CallStory;
use crate::media::ensure;

/// What passes a caller on from a queue.
const LIMITS: [&str; 8] =
    ["max_wait", "max_waiting", "overflow", "overflow_limit", "waiting", "estimate", "no_staff", "agent_removed"];
/// The switch counts in microseconds and records in milliseconds.
const ROUNDING_MS: u64 = 2;

/// Everything in it, for a call that ends.
pub fn check_record(
    now: Timestamp,
    restarted: Timestamp,
    story: &CallStory,
    record: &CallRecord,
) -> Result<(), String> {
    let near = |what: &str, a: u64, b: u64| {
        ensure(a.abs_diff(b) <= ROUNDING_MS, || format!("{what} is {a} ms in the record and {b} ms by the facts"))
    };
    let ms = |d: Duration| d.as_millis() as u64;
    let end = record.ended_ms;
    let tellable = end.max(restarted.as_millis());
    ensure(end <= now.as_millis() && now.as_millis() - tellable.min(now.as_millis()) <= 250, || {
        format!("told {} ms late", now.as_millis() - end)
    })?;
    ensure(record.started_ms == story.started.as_millis(), || "another start".into())?;
    ensure(record.from.expose() == &story.from, || "another caller".into())?;
    ensure(record.queue == story.queue, || format!("queue {:?}, by the facts {:?}", record.queue, story.queue))?;
    ensure(record.ivr_path.len() == story.nodes.min(200), || "another way through the menu".into())?;
    ensure(record.recording == story.recording, || "another recording".into())?;
    let agent = story.answered.as_ref().map(|(name, _)| name);
    ensure(record.agent.as_ref() == agent, || format!("agent {:?}, by the facts {agent:?}", record.agent))?;
    ensure(record.queued_ms == story.queued.map(Timestamp::as_millis), || "queued at another time".into())?;
    ensure(record.offered_ms == story.offered.map(Timestamp::as_millis), || "offered at another time".into())?;
    let answered_ms = story.answered.as_ref().map(|(_, at)| at.as_millis());
    ensure(record.answered_ms == answered_ms, || "answered at another time".into())?;
    near(
        "wait",
        record.wait_ms,
        record.queued_ms.map_or(0, |queued| answered_ms.unwrap_or(end).saturating_sub(queued)),
    )?;
    near("ring", record.ring_ms, ms(story.ring))?;
    // A hold that lasts to the end has no fact of its end.
    let open = story.held_since.map_or(0, |since| end.saturating_sub(since.as_millis()));
    near("hold", record.hold_ms, ms(story.hold) + open)?;
    near("talk and hold", record.talk_ms + record.hold_ms, answered_ms.map_or(0, |at| end.saturating_sub(at)))?;
    let fits = match record.outcome {
        Outcome::Answered => agent.is_some(),
        Outcome::AbandonedIvr => agent.is_none() && record.cause == "caller_hangup",
        Outcome::AbandonedQueue => agent.is_none() && story.queued.is_some() && record.cause == "caller_hangup",
        Outcome::AbandonedRinging => agent.is_none() && story.offered.is_some() && record.cause == "caller_hangup",
        // What the caller was on the way to is no longer declared: they hear goodbye without having been queued.
        Outcome::Overflowed => {
            let cause = record.cause.as_str();
            let is_limit = story.queued.is_some() && LIMITS.contains(&cause);
            agent.is_none() && (is_limit || ["queue_removed", "ivr_removed", "agent_removed"].contains(&cause))
        }
        Outcome::CompletedIvr => agent.is_none() && story.nodes > 0,
        Outcome::Failed => agent.is_none(),
        Outcome::Interrupted => agent.is_none() && ["shutdown", "restart"].contains(&record.cause.as_str()),
        Outcome::Callback => agent.is_none() && story.queued.is_some() && record.cause == "callback" && !story.outbound,
        Outcome::NoAnswer | Outcome::Busy => agent.is_none() && story.dialing,
        Outcome::Voicemail => agent.is_none() && story.message && LIMITS.contains(&record.cause.as_str()),
        Outcome::Rejected => false,
    };
    // Who left one after a talk was answered.
    ensure(!story.message || agent.is_some() || record.outcome == Outcome::Voicemail, || {
        "a message was left and the outcome is another".into()
    })?;
    ensure(fits, || format!("the outcome does not fit the story (cause {}): {story:?}", record.cause))?;
    check_segments(record)
}

/// The stretches follow each other without gap or overlap, and say the same as the sums.
fn check_segments(record: &CallRecord) -> Result<(), String> {
    for pair in record.segments.windows(2) {
        ensure(pair[0].ended_ms == pair[1].started_ms, || format!("segments have a gap: {:?}", record.segments))?;
    }
    for segment in &record.segments {
        ensure(segment.started_ms <= segment.ended_ms, || format!("a segment runs backwards: {segment:?}"))?;
    }
    if let (Some(first), Some(last)) = (record.segments.first(), record.segments.last()) {
        ensure(first.started_ms >= record.started_ms, || "a segment before the call".into())?;
        ensure(last.ended_ms == record.ended_ms, || "the last segment is not up to the end".into())?;
    }
    let sum = |kind: SegmentKind| -> u64 {
        record.segments.iter().filter(|s| s.kind == kind).map(|s| s.ended_ms - s.started_ms).sum()
    };
    let slack = ROUNDING_MS * (1 + record.segments.len() as u64);
    for (kind, total) in [
        (SegmentKind::Talk, record.talk_ms),
        (SegmentKind::Hold, record.hold_ms),
        (SegmentKind::Ringing, record.ring_ms),
    ] {
        let segments = sum(kind);
        ensure(segments.abs_diff(total) <= slack, || {
            format!("{kind:?} segments are {segments} ms, the record {total}")
        })?;
    }
    Ok(())
}
