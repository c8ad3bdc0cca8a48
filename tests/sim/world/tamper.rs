//! Promises broken on purpose, to see that the checkers find it.

use cti_base::{CallId, Pii, Timestamp};
use cti_media::MediaCommand;
use cti_switch::{Effect, Fact};

use super::World;

/// A promise broken on purpose, between the switch and the world, once a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    Nothing,
    SecondOffer,
    UnservedCaller,
    IgnoredPriority,
    SecondWinner,
    NoEnd,
    TwoEnds,
    WrongSum,
    /// A call that leaves its queue is not counted.
    UncountedLeave,
    LeftLeg,
    NoFrame,
    NoReply,
    OtherFinal,
    /// Requirements relax before their time.
    RelaxedEarly,
    /// Weights, age, deadlines and value classes count for nothing.
    IgnoredOrder,
    /// The agent who knows the caller is not asked first.
    IgnoredPreference,
    /// Phones ring longer than the file says.
    RingsOn,
    /// A callback goes before who came before it.
    CallbackJumps,
    /// A customer is dialled, and an agent kept, longer than the file says.
    DialsOn,
    /// Another agent rings than the strategy says.
    WrongChoice,
    /// Who just missed the caller rings again.
    AskedAgain,
    /// What a group wanted is done, and the group is lost.
    SeenAndLost,
    /// An input is not in the journal.
    LostInput,
    /// A restored engine does not know when a caller came.
    ForgottenPlace,
    /// A leg is not opened after a restart.
    UnarmedLeg,
    /// A recording does not go on after a restart.
    UnarmedRecording,
}

impl Tamper {
    pub const ALL: [Self; 25] = [
        Self::SecondOffer,
        Self::UnservedCaller,
        Self::IgnoredPriority,
        Self::SecondWinner,
        Self::NoEnd,
        Self::TwoEnds,
        Self::WrongSum,
        Self::UncountedLeave,
        Self::LeftLeg,
        Self::NoFrame,
        Self::NoReply,
        Self::OtherFinal,
        Self::RelaxedEarly,
        Self::IgnoredOrder,
        Self::IgnoredPreference,
        Self::RingsOn,
        Self::CallbackJumps,
        Self::DialsOn,
        Self::WrongChoice,
        Self::AskedAgain,
        Self::SeenAndLost,
        Self::LostInput,
        Self::ForgottenPlace,
        Self::UnarmedLeg,
        Self::UnarmedRecording,
    ];

    /// Words of the complaint that must follow.
    pub const fn noticed_as(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::SecondOffer => "one agent, one offer",
            Self::UnservedCaller => "no call waits while an agent is free",
            Self::IgnoredPriority | Self::IgnoredOrder => "first come, first served",
            Self::SecondWinner => "one call, one winner",
            Self::NoEnd | Self::TwoEnds => "exactly one end",
            Self::WrongSum => "talk and hold",
            Self::UncountedLeave => "what became of them",
            Self::LeftLeg => "is left",
            Self::NoFrame => "before its frame",
            Self::NoReply => "never answered",
            Self::OtherFinal => "one final answer",
            Self::RelaxedEarly | Self::IgnoredPreference => "may not have",
            Self::RingsOn | Self::DialsOn => "too long",
            Self::CallbackJumps => "callbacks never jump the line",
            Self::WrongChoice => "the better choice",
            Self::AskedAgain => "not the same again",
            Self::SeenAndLost => "exactly one end",
            Self::LostInput => "the replay",
            Self::ForgottenPlace => "queued at another time",
            Self::UnarmedLeg | Self::UnarmedRecording => "is not re-armed",
        }
    }
}

impl World {
    /// Whether this is what is to be broken, and not broken yet; only once traffic has begun.
    pub(super) fn once(&mut self, tamper: Tamper) -> bool {
        if self.tamper != tamper || self.ledger.calls.len() < 20 {
            return false;
        }
        self.tamper = Tamper::Nothing;
        true
    }

    /// Whether this command is kept from the workers of a new process.
    pub(super) fn keeps_unarmed(&mut self, command: &MediaCommand) -> bool {
        match command {
            _ if !self.arming => false,
            MediaCommand::Open { .. } => self.once(Tamper::UnarmedLeg),
            MediaCommand::Resume { .. } => self.once(Tamper::UnarmedRecording),
            _ => false,
        }
    }

    /// Whether the open group is one of whose effects the world shall hear, and which is to be lost: a call began in it.
    pub(super) fn may_be_seen_and_lost(&self) -> bool {
        let begins = |effect: &Effect| matches!(effect, Effect::Fact(Fact::CallStarted { .. }));
        self.tamper == Tamper::SeenAndLost && self.node.held().iter().flat_map(|step| &step.effects).any(begins)
    }

    /// The fact as it is to be read; `None` is a fact that was taken away.
    pub(super) fn tampered(&mut self, now: Timestamp, fact: Fact) -> Result<Option<Fact>, String> {
        if self.tamper == Tamper::Nothing || self.ledger.calls.len() < 20 {
            return Ok(Some(fact));
        }
        match (self.tamper, fact) {
            (Tamper::SecondOffer, fact @ Fact::Offered { .. }) => {
                let Fact::Offered { tenant, call, offer, agent } = fact.clone() else { return Ok(Some(fact)) };
                let Some(other) =
                    self.ledger.waiting.iter().find(|c| **c != call && self.ledger.calls[*c].tenant == tenant)
                else {
                    return Ok(Some(fact));
                };
                let other = *other;
                self.ledger.fact(now, &fact)?;
                self.tamper = Tamper::Nothing;
                Ok(Some(Fact::Offered { tenant, call: other, offer, agent }))
            }
            // A caller in the queue of whom the switch knows nothing.
            (Tamper::UnservedCaller, fact @ Fact::CallStarted { .. }) => {
                let Fact::CallStarted { tenant, direction, trunk, to, .. } = fact.clone() else {
                    return Ok(Some(fact));
                };
                let call = CallId::new(now, &mut self.rng);
                let from = Pii::new("+8613999999999".to_owned());
                let queue = "general".into();
                self.ledger
                    .fact(now, &Fact::CallStarted { tenant: tenant.clone(), call, direction, trunk, from, to })?;
                self.ledger.fact(now, &Fact::Queued { tenant, call, queue, priority: 0, from: None })?;
                self.tamper = Tamper::Nothing;
                Ok(Some(fact))
            }
            (Tamper::IgnoredPriority, fact @ Fact::Queued { .. }) => {
                if let Fact::Queued { call, .. } = &fact {
                    self.fairness.tampered.insert(*call, (call.as_u128() % 9) as i32);
                }
                Ok(Some(fact))
            }
            (Tamper::AskedAgain, fact @ Fact::Offered { .. }) => {
                if let Fact::Offered { call, agent, .. } = &fact
                    && let Some(story) = self.ledger.calls.get_mut(call)
                    && let Some((_, at)) = story.missed.last().cloned()
                {
                    story.missed.push((agent.clone(), at));
                }
                Ok(Some(fact))
            }
            (Tamper::NoEnd, Fact::CallEnded { .. }) => {
                self.tamper = Tamper::Nothing;
                Ok(None)
            }
            (Tamper::TwoEnds, fact @ Fact::CallEnded { .. }) => {
                self.ledger.fact(now, &fact)?;
                Ok(Some(fact))
            }
            (Tamper::WrongSum, Fact::CallEnded { mut record }) => {
                record.talk_ms += 1_000;
                Ok(Some(Fact::CallEnded { record }))
            }
            (Tamper::UncountedLeave, Fact::QueueLeft { .. }) => {
                self.tamper = Tamper::Nothing;
                Ok(None)
            }
            (_, fact) => Ok(Some(fact)),
        }
    }
}
