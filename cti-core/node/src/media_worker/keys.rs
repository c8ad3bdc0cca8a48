//! Keys that we press towards a leg's peer (RFC 4733): at the desk, or by the other leg where its packets can not be relayed.

use std::collections::VecDeque;

use cti_media::MediaEvent;
use cti_media::dtmf::{Event, Press};

use super::worker::Worker;

/// Keys of one leg that wait; more are dropped.
const KEYS_MAX: usize = 64;
/// How long a key is pressed, and the pause behind it: what telephone exchanges recognise for certain (ITU-T Q.24).
const PRESS_MS: u32 = 100;
const PAUSE_TICKS: u8 = 4;

/// What one leg still has to press.
#[derive(Default)]
pub(super) struct Keys {
    waiting: VecDeque<char>,
    press: Option<Press>,
    pause: u8,
}

impl<E: Fn(MediaEvent) -> Result<(), MediaEvent>> Worker<E> {
    /// Nothing where the peer takes no telephone-event.
    pub(super) fn press(&mut self, slot: usize, digits: &str) {
        let Some(leg) = &mut self.legs[slot] else { return };
        if leg.leg.media().is_none_or(|media| media.dtmf_payload_type.is_none()) {
            return;
        }
        if leg.keys.is_none() {
            if leg.playing.is_none() {
                leg.leg.begin_frames();
            }
            self.pressing.push(slot);
        }
        let keys = leg.keys.get_or_insert_default();
        let space = KEYS_MAX.saturating_sub(keys.waiting.len());
        keys.waiting.extend(digits.chars().take(space));
        self.start_ticks();
    }

    /// One packet to each leg with a key down.
    pub(super) fn press_on(&mut self, tick: u64) {
        let mut index = 0;
        while let Some(&slot) = self.pressing.get(index) {
            let Some(leg) = &mut self.legs[slot] else { break };
            let Some(keys) = &mut leg.keys else { break };
            match keys.step() {
                Step::Down(first, event) => {
                    if let Some((to, packet)) = leg.leg.press(self.now, tick, first, event) {
                        leg.send(&packet, to, &mut self.tally);
                    }
                    index += 1;
                }
                Step::Up => index += 1,
                Step::Done => {
                    leg.keys = None;
                    self.pressing.swap_remove(index);
                }
            }
        }
    }
}

enum Step {
    /// A packet; whether it is the first of its key.
    Down(bool, Event),
    Up,
    Done,
}

impl Keys {
    fn step(&mut self) -> Step {
        if self.pause > 0 {
            self.pause -= 1;
            return Step::Up;
        }
        if let Some((first, payload)) = self.press.as_mut().and_then(Iterator::next) {
            return Event::parse(&payload).map_or(Step::Up, |event| Step::Down(first, event));
        }
        if self.press.take().is_some() {
            self.pause = PAUSE_TICKS - 1;
            return Step::Up;
        }
        while let Some(key) = self.waiting.pop_front() {
            self.press = Press::new(key, PRESS_MS);
            if let Some((first, payload)) = self.press.as_mut().and_then(Iterator::next) {
                return Event::parse(&payload).map_or(Step::Up, |event| Step::Down(first, event));
            }
        }
        Step::Done
    }
}
