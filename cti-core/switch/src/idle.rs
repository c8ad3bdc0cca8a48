//! Which inputs lead to nothing, so that they need not be kept: late words of what is over, and waking up too early.

use cti_base::Timestamp;
use cti_media::MediaEvent;
use cti_sip::Packet;

use crate::call::{OfferStep, Stage};
use crate::engine::{Engine, Party};
use crate::input::Input;
use crate::limits::PULSE;

/// Whether an input did anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Perhaps: it belongs into the journal.
    Changed,
    /// The state is as it was and there is no effect: the input may be forgotten.
    Nothing,
}

impl Engine {
    /// When something falls due by itself at the latest.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let pulse = (!self.calls.is_empty()).then(|| self.alive + PULSE);
        [self.timers.next(), self.endpoint.poll_deadline(), pulse, self.alarm_over()].into_iter().flatten().min()
    }

    /// Whether [`Engine::handle`] would answer this input with [`Taken::Nothing`], for who has to note it before. It may say
    /// no of one that does nothing; never yes of one that does something.
    pub fn is_moot(&self, now: Timestamp, input: &Input) -> bool {
        if self.next_due().is_some_and(|at| at <= now) {
            return false;
        }
        match input {
            Input::Tick => true,
            Input::Sip(packet) => is_keepalive(packet),
            Input::Media(event) => self.is_late(event),
            Input::OfferShown { offer } => {
                let call = self.offers.get(offer).and_then(|id| self.calls.get(id));
                let offer = call.and_then(|call| call.offer(*offer));
                offer.is_none_or(|offer| offer.step != OfferStep::Shown)
            }
            Input::Browser { tenant, agent, up } => {
                self.agent(tenant, agent).is_none_or(|agent| agent.browser_up == *up)
            }
            Input::Caller { call, records: _ } => !self.calls.contains_key(call),
            Input::SipTransportFailed(_)
            | Input::SipConnectionClosed(_)
            | Input::Desk { .. }
            | Input::Callback { .. }
            | Input::DeskPresence { .. }
            | Input::Declare(_)
            | Input::Drain
            | Input::Close
            | Input::Restarted => false,
        }
    }

    /// News of a leg, playback or recording that nobody waits for.
    fn is_late(&self, event: &MediaEvent) -> bool {
        match event {
            MediaEvent::OpenFailed { leg, reason: _ } | MediaEvent::Closed { leg, stats: _ } => {
                !self.legs.contains_key(leg)
            }
            MediaEvent::Gone { leg } => self.party_of(*leg).is_none(),
            MediaEvent::Digit { leg, digit } => {
                let call = self.party_of(*leg).filter(|(_, party)| *party == Party::Customer);
                let call = call.and_then(|(id, _)| self.calls.get(&id));
                let takes = |call: &crate::call::Call| matches!(call.stage, Stage::Menu(_) | Stage::Voicemail(_));
                !call.is_some_and(|call| takes(call) || self.key_of(call, *digit).is_some())
            }
            MediaEvent::Played { leg, play } => {
                let call = self.party_of(*leg).and_then(|(id, _)| self.calls.get(&id));
                let is_heard = call.is_some_and(|call| {
                    let whispered = call.talking().is_some_and(|talking| talking.whisper == Some(*play));
                    whispered || call.playing.as_ref().is_some_and(|playing| playing.id == *play)
                });
                !is_heard
            }
            MediaEvent::Silent { leg } => {
                let call = self.party_of(*leg).and_then(|(id, _)| self.calls.get(&id));
                let is_guest = call.is_some_and(|call| call.guest_by_leg(*leg).is_some());
                let is_held = |talking: &crate::call::Talking| talking.held_since.is_some();
                !is_guest && call.and_then(|call| call.talking()).is_none_or(is_held)
            }
            MediaEvent::Quiet { leg } => {
                let call = self.party_of(*leg).and_then(|(id, _)| self.calls.get(&id));
                call.and_then(|call| call.voicemail()).is_none()
            }
            MediaEvent::RecordingResumed { recording, .. }
            | MediaEvent::RecordingSealed { recording, .. }
            | MediaEvent::RecordingFailed { recording, .. } => !self.recordings.contains_key(recording),
        }
    }
}

/// A datagram of nothing but line ends or nulls keeps an address translator awake.
fn is_keepalive(Packet { flow, bytes }: &Packet) -> bool {
    flow.connection.is_none() && bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
