//! Who hears whom on one worker. Two legs that hear each other and nobody else are relayed, where the packets of the one can be
//! the other's; whoever else hears somebody is mixed for, and only those whom they hear are decoded.

use cti_base::Timestamp;
use cti_media::leg::FRAME_LEN;
use cti_media::mixer::{Source, Sum};
use cti_media::rtp::HEADER_LEN;
use cti_media::{Codec, Hears, MediaEvent};

use super::worker::{Slot, Worker};

/// Whom one leg hears, and who hears it. Slots.
#[derive(Default)]
pub(super) struct Place {
    pub hears: Vec<usize>,
    pub heard_by: Vec<usize>,
    /// The one it hears and is heard by, each alone.
    pub other: Option<usize>,
    /// The same, where what it says is relayed to them.
    pub relay: Option<usize>,
    /// The leg hears a mix.
    pub mixed: bool,
    /// What the leg says, on its way into the mixes of others.
    pub source: Option<Box<Source>>,
    /// Since when the party should be heard: the room, the last settled media, the end of a hold.
    pub since: Timestamp,
    pub silence_told: bool,
}

impl Place {
    /// Whether the leg hears or is heard by anybody.
    pub fn is_used(&self) -> bool {
        !self.hears.is_empty() || !self.heard_by.is_empty()
    }
}

impl<E: Fn(MediaEvent) -> Result<(), MediaEvent>> Worker<E> {
    /// Each leg named hears exactly those named; nobody hears themselves.
    pub(super) fn set_room(&mut self, room: &[Hears]) {
        let mut touched: Vec<usize> = Vec::new();
        for Hears { leg, from } in room {
            let Some(slot) = self.slot(*leg) else { continue };
            let mut hears: Vec<usize> = from.iter().filter_map(|leg| self.slot(*leg)).collect();
            hears.retain(|other| *other != slot);
            hears.sort_unstable();
            hears.dedup();
            let Some(place) = self.place_mut(slot).filter(|place| place.hears != hears) else { continue };
            let before = std::mem::replace(&mut place.hears, hears.clone());
            touched.push(slot);
            for other in before {
                touched.push(other);
                if let Some(place) = self.place_mut(other) {
                    place.heard_by.retain(|listener| *listener != slot);
                }
            }
            let now = self.now;
            for other in hears {
                touched.push(other);
                if let Some(place) = self.place_mut(other) {
                    if place.heard_by.is_empty() {
                        (place.since, place.silence_told) = (now, false);
                    }
                    place.heard_by.push(slot);
                }
            }
        }
        self.arrange(touched);
    }

    /// The leg hears nobody and is heard by nobody.
    pub(super) fn leave_room(&mut self, slot: usize) {
        let Some(place) = self.place_mut(slot) else { return };
        let (hears, heard_by) = (std::mem::take(&mut place.hears), std::mem::take(&mut place.heard_by));
        for other in &hears {
            if let Some(place) = self.place_mut(*other) {
                place.heard_by.retain(|listener| *listener != slot);
            }
        }
        for other in &heard_by {
            if let Some(place) = self.place_mut(*other) {
                place.hears.retain(|heard| *heard != slot);
            }
        }
        self.arrange([vec![slot], hears, heard_by].concat());
    }

    /// Works out anew who is relayed, mixed for and decoded, of these legs and those around them.
    pub(super) fn arrange(&mut self, mut slots: Vec<usize>) {
        let around: Vec<usize> =
            slots.iter().filter_map(|slot| self.place(*slot)).flat_map(|p| p.heard_by.clone()).collect();
        slots.extend(around);
        slots.sort_unstable();
        slots.dedup();
        for slot in &slots {
            self.choose_way(*slot);
        }
        let heard: Vec<usize> =
            slots.iter().filter_map(|slot| self.place(*slot)).flat_map(|p| p.hears.clone()).collect();
        slots.extend(heard);
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            let Some(place) = self.place(slot) else { continue };
            let is_decoded = place.heard_by.iter().any(|listener| self.place(*listener).is_some_and(|p| p.mixed));
            let Some(place) = self.place_mut(slot) else { continue };
            if is_decoded && place.source.is_none() {
                place.source = Some(Box::default());
                self.sources.push(slot);
            } else if !is_decoded && place.source.take().is_some() {
                self.sources.retain(|source| *source != slot);
            }
        }
    }

    /// Relayed, mixed for, or neither.
    fn choose_way(&mut self, slot: usize) {
        let Some(place) = self.place(slot) else { return };
        let other = match place.hears.as_slice() {
            [only] if self.place(*only).is_some_and(|other| other.hears == [slot]) => Some(*only),
            _ => None,
        };
        let codec = |slot: usize| self.legs[slot].as_ref()?.leg.media().map(|media| media.codec);
        let relays =
            |other: &usize| codec(slot).zip(codec(*other)).is_none_or(|(codec, others)| codec.relays_to(others));
        let relay = other.filter(relays);
        let mixed = relay.is_none() && !place.hears.is_empty();
        let (was_relayed, was_mixed) = (place.relay, place.mixed);
        let now = self.now;
        let Some(place) = self.place_mut(slot) else { return };
        (place.other, place.relay, place.mixed) = (other, relay, mixed);
        if relay.is_some() && relay != was_relayed {
            (place.since, place.silence_told) = (now, false);
        }
        if mixed && !was_mixed {
            self.mixed.push(slot);
            if let Some(leg) = self.legs[slot].as_mut().filter(|leg| !leg.is_fed()) {
                leg.leg.begin_frames();
            }
            self.start_ticks();
        } else if was_mixed && !mixed {
            self.mixed.retain(|listener| *listener != slot);
        }
    }

    /// 20 ms of each source, and a packet to each who hears several. Whom something is played to hears that.
    pub(super) fn mix(&mut self, tick: u64) {
        for index in 0..self.sources.len() {
            let slot = self.sources[index];
            if let Some(source) = self.place_mut(slot).and_then(|place| place.source.as_mut()) {
                source.step();
            }
        }
        let mut packet = [0; FRAME_LEN];
        for index in 0..self.mixed.len() {
            let slot = self.mixed[index];
            let Some(listener) = self.legs[slot].as_ref().filter(|leg| !leg.is_fed()) else { continue };
            let mut sum = Sum::default();
            for heard in &listener.place.hears {
                if let Some(source) = self.place(*heard).and_then(|place| place.source.as_ref()) {
                    sum.add(source.frame());
                }
            }
            let Some(listener) = &mut self.legs[slot] else { continue };
            match listener.leg.media().map_or(Codec::Pcma, |media| media.codec).law() {
                Some(law) => {
                    sum.encode(law, &mut packet[HEADER_LEN..]);
                    listener.send_frame(self.now, tick, &mut packet, &mut self.tally);
                }
                None => listener.send_linear(self.now, tick, &sum.linear(), &mut packet, &mut self.tally),
            }
        }
    }

    fn place(&self, slot: usize) -> Option<&Place> {
        self.legs.get(slot)?.as_ref().map(|leg| &leg.place)
    }

    fn place_mut(&mut self, slot: usize) -> Option<&mut Place> {
        self.legs.get_mut(slot)?.as_mut().map(|leg: &mut Slot| &mut leg.place)
    }
}
