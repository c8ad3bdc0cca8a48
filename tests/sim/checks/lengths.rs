//! How long agents are kept and rung: never longer than the tenant's file says, but for the time in which no program was there.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{CallbackId, OfferId, Timestamp};

use crate::ledger::Agent;
use crate::media::ensure;

/// What must end in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stretch {
    /// From the reservation to the frame.
    Reservation(Agent),
    /// From the frame to the offer's end.
    Ring(OfferId),
    /// Of a callback's customer.
    Dialling(CallbackId),
}

struct Began {
    at: Timestamp,
    most: Duration,
    /// [`Lengths::down`] at that moment.
    down: Duration,
}

#[derive(Default)]
pub struct Lengths {
    /// How long no program was there, all in all.
    down: Duration,
    open: BTreeMap<Stretch, Began>,
}

impl Lengths {
    pub fn was_down(&mut self, time: Duration) {
        self.down += time;
    }

    pub fn begin(&mut self, now: Timestamp, what: Stretch, most: Duration) {
        self.open.insert(what, Began { at: now, most, down: self.down });
    }

    /// Nothing where it is over already.
    pub fn end(&mut self, now: Timestamp, what: &Stretch) -> Result<(), String> {
        let Some(Began { at, most, down }) = self.open.remove(what) else { return Ok(()) };
        let (lasted, most) = (now.since(at), most + (self.down - down));
        ensure(lasted <= most, || format!("too long: {what:?} lasted {lasted:?} and may last {most:?}"))
    }
}
