//! Hold and retrieve, by the desk or by the agent's phone; mute.

use std::time::Duration;

use cti_base::{CallId, Timestamp};
use cti_media::MediaCommand;

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

    fn update_hold(&mut self, now: Timestamp, id: CallId) {
        self.join(id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (customer, tenant) = (call.customer.id, call.tenant.clone());
        let Some(talking) = call.talking_mut() else { return };
        let (agent, name, since) = (talking.leg.id, talking.agent.clone(), talking.held_since);
        let held = match (talking.held_since, talking.desk_hold || talking.phone_hold) {
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
            (None, false) | (Some(_), true) => return,
        };
        call.segment(now, Some(if held { SegmentKind::Hold } else { SegmentKind::Talk }));
        call.stage_since = now;
        let since_ms = since.filter(|_| !held).map(Timestamp::as_millis);
        self.fact(Fact::Held { tenant, call: id, held, agent: Some(name), since_ms });
        if held {
            self.media(id, MediaCommand::part(&[customer, agent]));
            self.play_music(id);
        } else {
            self.media(id, MediaCommand::Stop { leg: customer });
            self.media(id, MediaCommand::join(customer, agent));
        }
        self.tell_desk(id, Event::CallHeld);
        self.follow_browser(now, id);
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
