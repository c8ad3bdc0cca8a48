//! The numbers themselves, how they add up, and what is worked out from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::desk::AgentState;

/// A struct of counts: those that add up, and those of which the greatest counts.
macro_rules! figures {
    (
        $(#[$doc:meta])* $name:ident {
            $($(#[$sum_doc:meta])* $sum:ident,)*
            ; greatest: $($(#[$max_doc:meta])* $max:ident,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$sum_doc])* pub $sum: u64,)*
            $($(#[$max_doc])* pub $max: u64,)*
        }

        impl $name {
            /// As the fields are called, in order.
            pub const NAMES: &[&str] = &[$(stringify!($sum),)* $(stringify!($max),)*];

            pub fn add(&mut self, other: &Self) {
                $(self.$sum += other.$sum;)*
                $(self.$max = self.$max.max(other.$max);)*
            }

            /// In the order of [`Self::NAMES`].
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$sum,)* $(self.$max,)*]
            }

            /// What is missing is 0.
            pub fn from_values(values: &[u64]) -> Self {
                let mut values = values.iter().copied();
                Self {
                    $($sum: values.next().unwrap_or(0),)*
                    $($max: values.next().unwrap_or(0),)*
                }
            }
        }

        impl Serialize for $name {
            /// The values alone: snapshots hold one for each agent.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.values().serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Vec::<u64>::deserialize(deserializer).map(|values| Self::from_values(&values))
            }
        }
    };
}

figures! {
    /// A queue's, of the calls that entered it in an interval. Lengths are milliseconds.
    QueueFigures {
        /// Entered it, by whatever way.
        offered,
        /// Of these passed on to it by another queue's limit.
        overflowed_in,
        answered,
        /// The caller hung up while nobody was being offered the call, and while somebody was.
        abandoned_waiting,
        abandoned_ringing,
        /// Of both, sooner than the queue's `short_abandon_s`.
        abandoned_short,
        /// Passed on by a limit, or said goodbye to.
        overflowed_out,
        /// Left by the caller's own wish.
        moved,
        /// Ended in another way while waiting: the line failed, the program ended, a voicemail, a callback.
        ended,
        /// Within the service level's seconds from entering.
        answered_in_time,
        abandoned_in_time,
        /// From entering to the answer, and to hanging up, all together.
        wait_answered_ms,
        wait_abandoned_ms,
        /// Talks that are over, and their time; hold is not in talk.
        handled,
        talk_ms,
        hold_ms,
        wrapup_ms,
        ; greatest:
        /// The longest stay, however it ended.
        wait_max_ms,
    }
}

figures! {
    /// An agent's, of the offers made to them in an interval; hold is that interval's own. Lengths are milliseconds.
    AgentFigures {
        offers,
        answered,
        rejected,
        /// Not answered in time.
        missed,
        /// The phone could not be reached or refused.
        failed,
        /// The caller gave up, or another was quicker.
        withdrawn,
        ring_ms,
        /// Part of the time in state `talking`.
        hold_ms,
        ; greatest:
    }
}

figures! {
    /// A tenant's, of the calls that began in an interval.
    CallFigures {
        calls,
        /// Those that are over: the sum of the outcomes below.
        ended,
        answered,
        abandoned_ivr,
        abandoned_queue,
        abandoned_ringing,
        overflowed,
        voicemail,
        callback,
        completed_ivr,
        /// Every other outcome: rejected, failed, interrupted, no answer, busy.
        failed,
        talk_ms,
        hold_ms,
        ; greatest:
    }
}

/// Service level by its four usual formulas, 0 to 1. `None` where there is nothing to divide by: unknown is not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ts_rs::TS)]
pub struct Levels {
    /// Answered in time / answered.
    pub of_answered: Option<f32>,
    /// Answered in time / offered.
    pub of_offered: Option<f32>,
    /// Answered in time / (offered − abandoned in time).
    pub abandons_excluded: Option<f32>,
    /// (Answered in time + abandoned in time) / offered.
    pub abandons_included: Option<f32>,
}

impl QueueFigures {
    pub const fn abandoned(&self) -> u64 {
        self.abandoned_waiting + self.abandoned_ringing
    }

    /// Of those offered: the ones who are no longer in the queue.
    pub const fn left(&self) -> u64 {
        self.answered + self.abandoned() + self.overflowed_out + self.moved + self.ended
    }

    /// Still in the queue.
    pub const fn waiting(&self) -> u64 {
        self.offered.saturating_sub(self.left())
    }

    pub fn levels(&self) -> Levels {
        Levels {
            of_answered: ratio(self.answered_in_time, self.answered),
            of_offered: ratio(self.answered_in_time, self.offered),
            abandons_excluded: ratio(self.answered_in_time, self.offered.saturating_sub(self.abandoned_in_time)),
            abandons_included: ratio(self.answered_in_time + self.abandoned_in_time, self.offered),
        }
    }

    /// Average speed of answer: entering to the answer.
    pub fn asa_ms(&self) -> Option<u64> {
        self.wait_answered_ms.checked_div(self.answered)
    }

    /// Average handling time: talk, hold and wrap-up of the talks that are over.
    pub fn aht_ms(&self) -> Option<u64> {
        (self.talk_ms + self.hold_ms + self.wrapup_ms).checked_div(self.handled)
    }
}

/// An agent's time by state and reason, in milliseconds; `offline` is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateTimes(BTreeMap<(AgentState, Option<String>), u64>);

impl StateTimes {
    pub fn add(&mut self, (state, reason): (AgentState, Option<&str>), ms: u64) {
        *self.0.entry((state, reason.map(str::to_owned))).or_default() += ms;
    }

    pub fn add_all(&mut self, other: &Self) {
        for ((state, reason), ms) in &other.0 {
            self.add((*state, reason.as_deref()), *ms);
        }
    }

    pub fn of(&self, state: AgentState) -> u64 {
        self.0.iter().filter(|((of, _), _)| *of == state).map(|(_, ms)| ms).sum()
    }

    /// By reason; a break without one is `""`.
    pub fn breaks(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for ((_, reason), ms) in self.0.iter().filter(|((state, _), _)| *state == AgentState::Break) {
            *all.entry(reason.clone().unwrap_or_default()).or_default() += ms;
        }
        all
    }

    /// Signed in: every state together.
    pub fn staffed(&self) -> u64 {
        self.0.values().sum()
    }

    /// Talk, hold and wrap-up of the time that was neither break nor offline, 0 to 1.
    pub fn occupancy(&self) -> Option<f32> {
        let busy = self.of(AgentState::Talking) + self.of(AgentState::Wrapup);
        ratio(busy, self.staffed() - self.of(AgentState::Break))
    }

    pub fn iter(&self) -> impl Iterator<Item = (AgentState, Option<&str>, u64)> {
        self.0.iter().map(|((state, reason), ms)| (*state, reason.as_deref(), *ms))
    }
}

fn ratio(part: u64, whole: u64) -> Option<f32> {
    (whole > 0).then(|| (part as f64 / whole as f64) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_formulas_of_the_service_level() {
        let figures = QueueFigures {
            offered: 10,
            answered: 6,
            answered_in_time: 4,
            abandoned_waiting: 2,
            abandoned_ringing: 1,
            abandoned_in_time: 2,
            overflowed_out: 1,
            wait_answered_ms: 60_000,
            handled: 2,
            talk_ms: 100,
            hold_ms: 20,
            wrapup_ms: 40,
            ..QueueFigures::default()
        };
        let levels = Levels {
            of_answered: Some(4.0 / 6.0),
            of_offered: Some(0.4),
            abandons_excluded: Some(0.5),
            abandons_included: Some(0.6),
        };
        assert_eq!(figures.levels(), levels);
        assert_eq!((figures.waiting(), figures.asa_ms(), figures.aht_ms()), (0, Some(10_000), Some(80)));
        assert_eq!(QueueFigures::default().levels(), Levels::default(), "unknown is not 0");
    }

    #[test]
    fn figures_read_back_and_an_older_snapshot_has_zeros() {
        let figures = AgentFigures { offers: 3, answered: 2, hold_ms: 9, ..AgentFigures::default() };
        let bytes = rmp_serde::to_vec_named(&figures).expect("bytes");
        assert_eq!(rmp_serde::from_slice::<AgentFigures>(&bytes).expect("figures"), figures);
        assert_eq!(AgentFigures::from_values(&[3]), AgentFigures { offers: 3, ..AgentFigures::default() });
    }
}
