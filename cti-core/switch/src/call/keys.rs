//! An agent presses keys at the desk: for the menu of whoever was called, for the one that is consulted.

use cti_base::{CallId, Timestamp};
use cti_media::{MediaCommand, dtmf};

use super::room::Floor;
use crate::commands::{bad_frame, wrong_state};
use crate::desk::Nack;
use crate::engine::Engine;
use crate::limits::KEYS_MAX;

impl Engine {
    /// By RFC 4733 where their phone takes it, else by INFO. Digits are never logged: they may be a card's.
    pub(crate) fn press_keys(&mut self, now: Timestamp, id: CallId, digits: &str) -> Result<(), Nack> {
        let is_key = |c: char| dtmf::event_of(c).is_some();
        if digits.is_empty() || digits.len() > KEYS_MAX || !digits.chars().all(is_key) {
            return Err(bad_frame(format!("Keys are 0 to 9, *, #, A to D, at most {KEYS_MAX} at once.")));
        }
        let call = self.calls.get(&id);
        let Some((call, talking)) = call.and_then(|call| Some((call, call.talking()?))) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        let leg = match talking.floor {
            Floor::Customer => Some(&call.customer),
            Floor::Aside => talking.consulted().and_then(|guest| guest.on()),
        };
        let Some(leg) = leg else { return Err(wrong_state("Who is consulted has not answered yet.")) };
        let takes_events = leg.media.as_ref().is_some_and(|media| media.dtmf_payload_type.is_some());
        let (leg, session) = (leg.id, leg.session);
        match session {
            _ if takes_events => self.media(id, MediaCommand::Press { leg, digits: digits.to_owned() }),
            Some(session) => digits.chars().for_each(|digit| self.endpoint.info_digit(now, session, digit)),
            None => return Err(wrong_state("A browser takes no keys.")),
        }
        Ok(())
    }
}
