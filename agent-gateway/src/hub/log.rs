use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;

/// Events are kept this long ...
const KEEP_MS: u64 = 120_000;
/// ... or this many of them, whichever is more ...
const KEEP_EVENTS: usize = 1_000;
/// ... but never more than this many ...
const EVENTS_MAX: usize = 10_000;
/// ... nor more bytes than this.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The events of one desk, as the frames that were sent, for a client that comes back.
#[derive(Default)]
pub struct EventLog {
    frames: VecDeque<Logged>,
    bytes: usize,
    /// The newest event's number; 0 before the first.
    seq: u64,
}

struct Logged {
    at_ms: u64,
    frame: Utf8Bytes,
}

impl EventLog {
    /// Keeps the frame made for the next number.
    pub fn push(&mut self, now_ms: u64, make: impl FnOnce(u64) -> Utf8Bytes) -> Utf8Bytes {
        self.seq += 1;
        let frame = make(self.seq);
        self.bytes += frame.len();
        self.frames.push_back(Logged { at_ms: now_ms, frame: frame.clone() });
        while self.has_too_much(now_ms) {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.frame.len();
        }
        frame
    }

    /// Counts an event that no client can come back to.
    pub fn skip(&mut self) {
        self.seq += 1;
        self.frames.clear();
        self.bytes = 0;
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frames after event `seq`, or `None` where some are gone or `seq` is not from here: a snapshot is due.
    pub fn after(&self, seq: u64) -> Option<Vec<Utf8Bytes>> {
        let missed = usize::try_from(self.seq.checked_sub(seq)?).ok()?;
        let skip = self.frames.len().checked_sub(missed)?;
        Some(self.frames.iter().skip(skip).map(|logged| logged.frame.clone()).collect())
    }

    fn has_too_much(&self, now_ms: u64) -> bool {
        let too_many = self.frames.len() > EVENTS_MAX || self.bytes > BYTES_MAX;
        let aged = self.frames.front().is_some_and(|oldest| oldest.at_ms + KEEP_MS < now_ms);
        too_many || (self.frames.len() > KEEP_EVENTS && aged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: u64, at_ms: u64) -> EventLog {
        let mut log = EventLog::default();
        for _ in 0..count {
            log.push(at_ms, |seq| seq.to_string().into());
        }
        log
    }

    #[test]
    fn what_was_missed_is_given_again() {
        let log = filled(5, 0);
        let missed = |seq| log.after(seq).map(|frames| frames.iter().map(|f| f.to_string()).collect::<Vec<_>>());
        assert_eq!(missed(3), Some(vec!["4".into(), "5".into()]));
        assert_eq!(missed(5), Some(vec![]));
        assert_eq!(missed(0).map(|all| all.len()), Some(5));
        assert_eq!(missed(6), None, "a number that was never given");
    }

    #[test]
    fn two_minutes_or_a_thousand_events_are_kept_whichever_is_more() {
        let mut log = filled(3_000, 0);
        assert_eq!(log.frames.len(), 3_000, "all younger than two minutes");
        log.push(KEEP_MS + 1, |seq| seq.to_string().into());
        assert_eq!(log.frames.len(), KEEP_EVENTS, "the old ones beyond a thousand are gone");
        assert!(log.after(2_001).is_some() && log.after(2_000).is_none());
        assert_eq!(filled(EVENTS_MAX as u64 + 50, 0).frames.len(), EVENTS_MAX, "the hard limit");
    }

    #[test]
    fn what_was_skipped_is_never_given_as_if_nothing_were_missing() {
        let mut log = filled(2, 0);
        log.skip();
        log.push(0, |seq| seq.to_string().into());
        assert!(log.after(2).is_none() && log.after(0).is_none());
        assert_eq!(log.after(3).map(|frames| frames.len()), Some(1));
    }

    #[test]
    fn bytes_are_limited() {
        let mut log = EventLog::default();
        for _ in 0..20 {
            log.push(0, |_| "x".repeat(1024 * 1024).into());
        }
        assert!(log.bytes <= BYTES_MAX && log.frames.len() == 8);
    }
}
