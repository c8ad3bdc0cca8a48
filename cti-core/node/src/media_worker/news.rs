use std::collections::VecDeque;

use cti_media::MediaEvent;

use super::LEGS_MAX;

/// News kept for a switch that takes none. What ends a leg, a playback or a recording comes at most once each and is kept
/// beyond this; keypresses are not.
const WAITING_MAX: usize = 4 * LEGS_MAX;

/// The way to the switch, in order. What it has no room for is told later: a port that is never reported free would never be
/// used again.
pub(super) struct News<E> {
    tell: E,
    waiting: VecDeque<MediaEvent>,
}

impl<E: Fn(MediaEvent) -> Result<(), MediaEvent>> News<E> {
    pub fn new(tell: E) -> Self {
        Self { tell, waiting: VecDeque::new() }
    }

    pub fn tell(&mut self, event: MediaEvent) {
        if !self.waiting.is_empty() {
            self.keep(event);
        } else if let Err(event) = (self.tell)(event) {
            tracing::warn!("the switch takes no news of media: they are kept");
            self.keep(event);
        }
    }

    /// Tells what waits, as far as there is room.
    pub fn tell_waiting(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(event) = (self.tell)(event) {
                self.waiting.push_front(event);
                return;
            }
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn keep(&mut self, event: MediaEvent) {
        if self.waiting.len() >= WAITING_MAX && matches!(event, MediaEvent::Digit { .. }) {
            tracing::error!(limit = WAITING_MAX, "a keypress is lost: the switch takes no news of media");
            return;
        }
        self.waiting.push_back(event);
    }
}
