//! Hold and retrieve, by the desk or by the agent's phone; mute.

use std::time::Duration;

use cti_base::{CallId, Timestamp};
use cti_media::MediaCommand;

use super::Floor;
use crate::commands::wrong_state;
use crate::desk::{Event, Nack};
use crate::engine::Engine;
use crate::fact::{Fact, SegmentKind};

/// How long a hold was, by the milliseconds that its begin and end are told in.
pub(crate) fn held_for(now: Timestamp, since: Timestamp) -> Duration {
    Duration::from_millis(now.as_millis().saturating_sub(since.as_millis()))
}

impl Engine {
    pub(crate) fn set_desk_hold(&mut self, now: Timestamp, id: CallId, hold: bool) -> Result<(), Nack> {
        let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        if talking.floor == Floor::Aside {
            return Err(wrong_state("The customer is on hold while somebody is consulted: swap, complete or cancel."));
        }
        if !hold && talking.phone_hold {
            talking.desk_hold = false;
            return Err(wrong_state("The phone itself holds the call: retrieve it there."));
        }
        talking.desk_hold = hold;
        self.update_hold(now, id);
        Ok(())
    }

    /// The agent's phone offered a direction in which it hears nothing, or one in which it does again.
    pub(crate) fn set_phone_hold(&mut self, now: Timestamp, id: CallId, hold: bool) {
        if let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) {
            talking.phone_hold = hold;
            self.update_hold(now, id);
        }
    }

    /// The customer is with the agent, or is not: by hold, or because the agent is with somebody else.
    pub(crate) fn update_hold(&mut self, now: Timestamp, id: CallId) {
        self.join(id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant.clone();
        let Some(talking) = call.talking_mut() else { return };
        let (name, since) = (talking.agent.clone(), talking.held_since);
        let held = match (talking.held_since, talking.is_away()) {
            (None, true) => {
                talking.held_since = Some(now);
                true
            }
            (Some(since), false) => {
                // Whole milliseconds of the clock, so that what is counted by stretches adds up to the record.
                talking.hold += held_for(now, since);
                talking.held_since = None;
                false
            }
            (None, false) | (Some(_), true) => {
                self.arrange(id);
                return;
            }
        };
        call.segment(now, Some(if held { SegmentKind::Hold } else { SegmentKind::Talk }));
        call.stage_since = now;
        let since_ms = since.filter(|_| !held).map(Timestamp::as_millis);
        self.fact(Fact::Held { tenant, call: id, held, agent: name, since_ms });
        self.arrange(id);
        self.tell_desk(id, Event::CallHeld);
    }

    pub(crate) fn set_mute(&mut self, id: CallId, muted: bool) -> Result<(), Nack> {
        let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        if talking.muted != muted {
            talking.muted = muted;
            let leg = talking.leg.id;
            self.media(id, MediaCommand::Mute { leg, muted });
            self.tell_desk(id, Event::CallMuted);
        }
        Ok(())
    }
}
