//! An agent asks somebody while the customer hears music: swap between the two, complete, cancel, or all together.

use cti_base::{AgentName, CallId, Timestamp};
use cti_media::MediaCommand;

use super::room::{Floor, Role};
use crate::commands::wrong_state;
use crate::desk::{Nack, To};
use crate::engine::Engine;
use crate::fact::OfferEnd;

impl Engine {
    /// The customer is put on hold and somebody else is rung. Whatever becomes of it, the customer can be retrieved.
    pub(crate) fn consult(&mut self, now: Timestamp, id: CallId, by: &AgentName, to: To) -> Result<(), Nack> {
        self.join(id);
        let Some(talking) = self.calls.get(&id).and_then(|call| call.talking()) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        if talking.consulted().is_some() {
            return Err(wrong_state("Somebody is being consulted already."));
        }
        self.room_for_guest(id)?;
        match to {
            To::Agent { agent } if agent == *by => return Err(wrong_state("This is yourself.")),
            To::Agent { agent } => self.ring_guest(now, id, &agent, Role::Consulted)?,
            To::Queue { queue } => {
                let agent = self.free_of_queue(now, id, &queue)?;
                self.ring_guest(now, id, &agent, Role::Consulted)?;
            }
            To::Number { number } => self.dial_guest(now, id, number.expose(), Role::Consulted)?,
            To::Ivr { .. } => return Err(wrong_state("A menu can not be consulted: transfer the call there.")),
        }
        self.set_floor(now, id, Floor::Aside);
        Ok(())
    }

    /// From the customer to who is consulted, or back.
    pub(crate) fn swap(&mut self, now: Timestamp, id: CallId) -> Result<(), Nack> {
        let Some(talking) = self.calls.get(&id).and_then(|call| call.talking()) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        if talking.consulted().is_none_or(|guest| guest.on().is_none()) {
            return Err(wrong_state("Nobody who is consulted has answered."));
        }
        let floor = match talking.floor {
            Floor::Customer => Floor::Aside,
            Floor::Aside => Floor::Customer,
        };
        self.set_floor(now, id, floor);
        Ok(())
    }

    pub(super) fn set_floor(&mut self, now: Timestamp, id: CallId, floor: Floor) {
        if let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) {
            talking.floor = floor;
            talking.desk_hold = false;
        }
        self.update_hold(now, id);
        self.arrange(id);
        self.tell_parties(id);
    }

    /// The agent leaves the call to who is consulted, or to the others of the conference.
    pub(crate) fn complete(&mut self, now: Timestamp, id: CallId) -> Result<(), Nack> {
        let Some(talking) = self.calls.get(&id).and_then(|call| call.talking()) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        if talking.consulted().is_some_and(|guest| guest.on().is_none()) {
            return Err(wrong_state("Who is consulted has not answered yet."));
        }
        let Some(next) = self.next_lead(id) else { return Err(wrong_state("Nobody else is on this call.")) };
        self.succeed(now, id, next, "transferred");
        Ok(())
    }

    /// Who is consulted is let go, and the agent is with the customer again.
    pub(crate) fn cancel_consult(&mut self, now: Timestamp, id: CallId) -> Result<(), Nack> {
        let consulted = self.calls.get(&id).and_then(|call| call.talking()?.consulted());
        let Some(number) = consulted.map(|guest| guest.number) else {
            return Err(wrong_state("Nobody is being consulted."));
        };
        if let Some(talking) = self.calls.get_mut(&id).and_then(|call| call.talking_mut()) {
            (talking.floor, talking.desk_hold) = (Floor::Customer, false);
        }
        self.guest_over(now, id, number, OfferEnd::Withdrawn, "cancelled");
        Ok(())
    }

    /// All together: who is consulted joins the customer and the agent.
    pub(crate) fn conference(&mut self, now: Timestamp, id: CallId) -> Result<(), Nack> {
        let talking = self.calls.get_mut(&id).and_then(|call| call.talking_mut());
        let Some(talking) = talking else { return Err(wrong_state("This call is not being talked on.")) };
        let consulted = talking.guests.iter_mut().find(|guest| guest.role == Role::Consulted);
        let Some(guest) = consulted.filter(|guest| guest.on().is_some()) else {
            return Err(wrong_state("Consult somebody first: who has answered can join."));
        };
        guest.role = Role::Member;
        self.set_floor(now, id, Floor::Customer);
        self.follow_line(now, id, Role::Consulted);
        Ok(())
    }

    /// Mutes the agent's own leg, or lets it be heard again.
    pub(crate) fn mute_own(&mut self, id: CallId, agent: &AgentName, muted: bool) -> Result<(), Nack> {
        if self.leads(id, agent) {
            return self.set_mute(id, muted);
        }
        let number = self.guest_number(id, agent);
        let guest = self.calls.get_mut(&id).and_then(|call| call.talking_mut()?.guest_mut(number?));
        let Some(guest) = guest else { return Err(wrong_state("This call is not being talked on.")) };
        let Some(leg) = guest.on().map(|leg| leg.id) else { return Err(wrong_state("This call is not answered yet.")) };
        if std::mem::replace(&mut guest.muted, muted) != muted {
            self.media(id, MediaCommand::Mute { leg, muted });
            self.tell_parties(id);
        }
        Ok(())
    }
}
