use std::collections::BTreeMap;

use cti_base::Timestamp;

use super::{CallNumber, Line};

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The line's endpoint has a deadline.
    Line(Line),
    Answer(CallNumber),
    Press(CallNumber),
    Hangup(CallNumber),
    GiveUp(CallNumber),
}

/// At most one time for each thing due; setting it again replaces it.
#[derive(Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<(Timestamp, Due), ()>,
    by_due: BTreeMap<Due, Timestamp>,
}

impl Timers {
    pub(crate) fn set(&mut self, due: Due, at: Option<Timestamp>) {
        let before = match at {
            Some(at) => self.by_due.insert(due, at),
            None => self.by_due.remove(&due),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, due));
        }
        if let Some(at) = at {
            self.by_time.insert((at, due), ());
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_time.first_key_value().map(|((at, _), ())| *at)
    }

    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Due> {
        let ((at, due), ()) = self.by_time.first_key_value()?;
        let (at, due) = (*at, *due);
        if at > now {
            return None;
        }
        self.set(due, None);
        Some(due)
    }

    pub(crate) fn forget(&mut self, call: CallNumber) {
        for due in [Due::Answer(call), Due::Press(call), Due::Hangup(call), Due::GiveUp(call)] {
            self.set(due, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_time_counts_and_the_earliest_is_first() {
        let at = Timestamp::from_millis;
        let mut timers = Timers::default();
        timers.set(Due::Line(0), Some(at(5)));
        timers.set(Due::Answer(CallNumber(1)), Some(at(3)));
        timers.set(Due::Hangup(CallNumber(1)), Some(at(9)));
        timers.set(Due::Line(0), Some(at(7)));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.pop(at(2)), None);
        timers.forget(CallNumber(1));
        assert_eq!((timers.pop(at(10)), timers.pop(at(10))), (Some(Due::Line(0)), None));
    }
}
