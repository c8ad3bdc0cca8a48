use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use cti_base::CallId;

use super::{IN_TIME, LOOKUP_TIME_MAX, memory};

/// Questions that have no answer yet, and until when they have time.
#[derive(Default)]
pub struct Waiting {
    questions: BTreeMap<CallId, Question>,
    deadlines: BTreeSet<(Instant, CallId)>,
}

struct Question {
    asked: Instant,
    deadline: Instant,
    /// What is told at the first deadline.
    remembered: Option<memory::Key>,
    told: bool,
}

/// What is told without an answer.
#[derive(Debug, PartialEq)]
pub enum Due {
    FromMemory { call: CallId, key: memory::Key },
    Unknown { call: CallId },
}

/// What became of a question before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    Waiting,
    /// Something was told from memory; what the records say still counts.
    Told,
    /// Its time was over.
    Over,
}

impl Was {
    pub fn is_told(self) -> bool {
        self == Self::Told
    }

    pub fn is_over(self) -> bool {
        self == Self::Over
    }
}

impl Waiting {
    /// `remembered`: something can be told of this number without the records.
    pub fn add(&mut self, now: Instant, call: CallId, remembered: Option<memory::Key>) {
        self.remove(call);
        let deadline = now + if remembered.is_some() { IN_TIME } else { LOOKUP_TIME_MAX };
        self.questions.insert(call, Question { asked: now, deadline, remembered, told: false });
        self.deadlines.insert((deadline, call));
    }

    pub fn remove(&mut self, call: CallId) -> Was {
        let Some(question) = self.questions.remove(&call) else { return Was::Over };
        self.deadlines.remove(&(question.deadline, call));
        if question.told { Was::Told } else { Was::Waiting }
    }

    pub fn wake(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Those whose deadline has come. Each is told from memory once, and given up in the end.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some((_, call)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_first();
            let Some(question) = self.questions.get_mut(&call) else { continue };
            if let Some(key) = question.remembered.take() {
                question.told = true;
                question.deadline = question.asked + LOOKUP_TIME_MAX;
                self.deadlines.insert((question.deadline, call));
                due.push(Due::FromMemory { call, key });
            } else {
                let told = question.told;
                self.questions.remove(&call);
                if !told {
                    due.push(Due::Unknown { call });
                }
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cti_base::{Pii, Rng, Timestamp};
    use std::time::Duration;

    fn call(n: u64) -> CallId {
        CallId::new(Timestamp::from_millis(1), &mut Rng::from_number(n))
    }

    #[test]
    fn a_question_is_told_from_memory_once_and_given_up_in_the_end() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let key: memory::Key = ("acme".into(), Pii::new("1".into()));
        waiting.add(start, call(1), Some(key.clone()));
        waiting.add(start, call(2), None);
        assert_eq!(waiting.wake(), Some(start + IN_TIME));
        assert_eq!(waiting.due(start + IN_TIME - Duration::from_millis(1)), []);
        assert_eq!(waiting.due(start + IN_TIME), [Due::FromMemory { call: call(1), key }]);
        assert_eq!(waiting.due(start + IN_TIME), []);
        assert_eq!(waiting.due(start + LOOKUP_TIME_MAX), [Due::Unknown { call: call(2) }]);
        assert_eq!((waiting.wake(), waiting.remove(call(1)), waiting.remove(call(2))), (None, Was::Over, Was::Over));
    }

    #[test]
    fn an_answer_ends_the_waiting() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.add(start, call(1), Some(("acme".into(), Pii::new("1".into()))));
        waiting.add(start, call(2), None);
        assert_eq!(waiting.due(start + IN_TIME).len(), 1);
        assert_eq!((waiting.remove(call(1)), waiting.remove(call(2))), (Was::Told, Was::Waiting));
        assert_eq!((waiting.wake(), waiting.due(start + LOOKUP_TIME_MAX)), (None, vec![]));
    }
}
