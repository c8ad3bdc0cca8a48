//! The media workers as the switch sees them, strict about what they are asked: as they are, and as they ought to be by what the
//! journal has. After a restart the workers know nothing, and the switch must make the one the other again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_base::{CallId, LegId, RecordingId, Rng, TenantId, Timestamp};
use cti_media::{Audio, Gap, Hears, LegMedia, LegStats, MediaCommand, MediaEvent, PlayId, Recorded, Side};

#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    pub call: CallId,
    port: u16,
    media: Option<LegMedia>,
    muted: bool,
    /// Whom it hears, in order.
    hears: Vec<LegId>,
    /// What it hears, and whether over and over.
    playing: Option<(PlayId, Vec<Audio>, bool)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    call: CallId,
    tenant: TenantId,
    started: Timestamp,
    /// It runs: it is not being sealed.
    runs: bool,
    /// Whose audio each side takes.
    sides: BTreeMap<Side, Vec<LegId>>,
}

/// How a command is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    Anew,
    /// After a restart, for what is there already. A prompt of the menu may be another part of its node's.
    Again {
        in_menu: bool,
    },
}

#[derive(Default)]
pub struct Floor {
    pub legs: BTreeMap<LegId, Leg>,
    pub recordings: BTreeMap<RecordingId, Recording>,
}

impl Floor {
    fn obey(&mut self, call: CallId, command: &MediaCommand, meant: Meant) -> Result<(), String> {
        let again = meant != Meant::Anew;
        match command {
            MediaCommand::Open { leg, call: of, rtp_port } => {
                ensure(*of == call, || format!("leg {leg} is opened for {of} on the worker of {call}"))?;
                ensure(rtp_port % 2 == 0, || format!("RTP port {rtp_port} is odd"))?;
                if let Some(known) = self.legs.get(leg).filter(|_| again) {
                    return ensure(known.port == *rtp_port && known.call == call, || {
                        format!("leg {leg} is not re-armed on its port {}: {command:?}", known.port)
                    });
                }
                let taken = self.legs.values().any(|other| other.port == *rtp_port);
                ensure(!taken, || format!("port {rtp_port} is given twice"))?;
                let new = Leg { call, port: *rtp_port, media: None, muted: false, hears: Vec::new(), playing: None };
                let known = self.legs.insert(*leg, new);
                ensure(known.is_none(), || format!("leg {leg} is opened twice"))?;
            }
            MediaCommand::OpenBrowser { leg, call: of, .. } => {
                ensure(*of == call, || format!("leg {leg} is opened for {of} on the worker of {call}"))?;
                if self.legs.get(leg).is_some_and(|_| again) {
                    return Ok(());
                }
                let new = Leg { call, port: 0, media: None, muted: false, hears: Vec::new(), playing: None };
                let known = self.legs.insert(*leg, new);
                ensure(known.is_none(), || format!("leg {leg} is opened twice"))?;
            }
            MediaCommand::Connect { leg, media } => {
                let Some(known) = self.legs.get_mut(leg) else { return Ok(()) };
                ensure(!again || known.media.as_ref().is_none_or(|old| old == media), || {
                    format!("leg {leg} is not re-armed as it was: {:?}, {media:?}", known.media)
                })?;
                known.media = Some(media.clone());
            }
            MediaCommand::Press { .. } => {}
            MediaCommand::Mute { leg, muted } => {
                if let Some(leg) = self.legs.get_mut(leg) {
                    leg.muted = *muted;
                }
            }
            MediaCommand::Room { hears } => {
                for Hears { leg, from } in hears {
                    let Some(known) = self.legs.get_mut(leg) else { continue };
                    ensure(known.call == call, || format!("leg {leg} of {} is in a room of {call}", known.call))?;
                    ensure(!from.contains(leg), || format!("leg {leg} is to hear itself"))?;
                    known.hears.clone_from(from);
                    known.hears.sort();
                }
                for Hears { leg, from } in hears {
                    let foreign =
                        from.iter().find(|other| self.legs.get(other).is_some_and(|known| known.call != call));
                    ensure(foreign.is_none(), || format!("leg {leg} of {call} is to hear {foreign:?} of another"))?;
                }
            }
            MediaCommand::Play { leg, play, audio, repeat } => {
                if let Some(known) = self.legs.get_mut(leg) {
                    if let (Meant::Again { in_menu: false }, Some((_, was, over))) = (meant, &known.playing) {
                        ensure(was == audio && over == repeat, || {
                            format!("leg {leg} is not re-armed with what it heard, {was:?}: {audio:?}")
                        })?;
                    }
                    known.playing = Some((*play, audio.clone(), *repeat));
                }
            }
            MediaCommand::Stop { leg } => {
                if let Some(leg) = self.legs.get_mut(leg) {
                    leg.playing = None;
                }
            }
            MediaCommand::Record { recording, call: of, tenant, started } => {
                ensure(*of == call, || format!("recording {recording} of {of} is started in {call}"))?;
                let new = Recording::new(call, tenant, *started, true);
                let known = self.recordings.insert(*recording, new);
                ensure(known.is_none(), || format!("recording {recording} is started twice"))?;
            }
            MediaCommand::RecordFrom { recording, side, legs } => {
                let mut legs = legs.clone();
                legs.retain(|leg| self.legs.contains_key(leg));
                if let Some(known) = self.recordings.get_mut(recording) {
                    known.sides.insert(*side, legs);
                }
            }
            MediaCommand::RecordStop { recording } => {
                let stop = |known: &mut Recording| {
                    known.sides.clear();
                    std::mem::take(&mut known.runs)
                };
                let running = self.recordings.get_mut(recording).is_some_and(stop);
                ensure(running, || format!("recording {recording} is stopped and does not run"))?;
            }
            MediaCommand::Resume { recording, call, tenant, started } => {
                self.taken_up(*recording, Recording::new(*call, tenant, *started, true), again)?;
            }
            MediaCommand::Seal { recording, call, tenant, started } => {
                self.taken_up(*recording, Recording::new(*call, tenant, *started, false), again)?;
            }
            MediaCommand::Watch { .. } => {}
            MediaCommand::Close { leg } => {
                self.close(leg);
            }
        }
        Ok(())
    }

    fn close(&mut self, leg: &LegId) {
        self.legs.remove(leg);
        for other in self.legs.values_mut() {
            other.hears.retain(|heard| heard != leg);
        }
        for recording in self.recordings.values_mut() {
            recording.sides.values_mut().for_each(|legs| legs.retain(|fed| fed != leg));
        }
    }

    fn taken_up(&mut self, id: RecordingId, recording: Recording, again: bool) -> Result<(), String> {
        if again {
            let known = self.recordings.get_mut(&id);
            ensure(known.as_ref().is_some_and(|known| known.is_same(&recording)), || {
                format!("recording {id} is not re-armed as it was, {known:?}: {recording:?}")
            })?;
            return Ok(());
        }
        let is_new = self.recordings.insert(id, recording).is_none();
        ensure(again || is_new, || format!("recording {id} is taken up though nothing was lost"))
    }

    /// What a worker told has come about.
    fn heard(&mut self, event: &MediaEvent) {
        match event {
            MediaEvent::Played { leg, play } => {
                if let Some(leg) = self.legs.get_mut(leg) {
                    leg.playing.take_if(|(id, ..)| id == play);
                }
            }
            MediaEvent::OpenFailed { leg, .. } | MediaEvent::Closed { leg, .. } => self.close(leg),
            MediaEvent::RecordingSealed { recording, .. } | MediaEvent::RecordingFailed { recording, .. } => {
                self.recordings.remove(recording);
            }
            MediaEvent::Digit { .. }
            | MediaEvent::Silent { .. }
            | MediaEvent::Gone { .. }
            | MediaEvent::Quiet { .. }
            | MediaEvent::RecordingResumed { .. } => {}
        }
    }
}

#[derive(Default)]
pub struct Workers {
    /// What this process's workers hold.
    pub is: Floor,
    /// What they ought to hold, whichever process it is.
    pub ought: Floor,
    /// Legs whose ports could not be bound.
    refused: BTreeSet<LegId>,
    /// Stretches of each recording that the switch was told of as lost.
    pub gaps: BTreeMap<RecordingId, Vec<Gap>>,
    /// Legs that have been given back what they heard; what they hear next is something new.
    heard_again: BTreeSet<LegId>,
    /// When the last process died.
    died: Timestamp,
    /// The caller's leg of each call, which is its first, and whether it has been closed.
    pub customers: BTreeMap<CallId, (LegId, bool)>,
    /// Agents' legs that were ever joined to a call's caller.
    winners: BTreeMap<CallId, BTreeSet<LegId>>,
    /// Calls to whom goodbye is said, or that leave a message: they wait for nobody.
    pub goodbyes: BTreeSet<CallId>,
}

impl Workers {
    /// Does what is asked; what is to be reported, and when.
    pub fn obey(
        &mut self,
        now: Timestamp,
        call: CallId,
        command: MediaCommand,
        bad_ports: u64,
        rng: &mut Rng,
    ) -> Result<Vec<(Duration, MediaEvent)>, String> {
        let ms = Duration::from_millis;
        if let MediaCommand::Open { leg, .. } = &command
            && rng.below(1_000) < bad_ports
        {
            self.refused.insert(*leg);
            self.close_customer(call, *leg);
            return Ok(vec![(ms(1), MediaEvent::OpenFailed { leg: *leg, reason: "address in use".into() })]);
        }
        let is_known = |leg: &LegId| self.is.legs.contains_key(leg);
        let ms_since = |started: Timestamp| now.since(started).as_millis() as u64;
        let events = match &command {
            MediaCommand::Play { leg, play, audio, repeat } => {
                let length = ms(400) * u32::try_from(audio.len()).unwrap_or(1);
                let played = MediaEvent::Played { leg: *leg, play: *play };
                if *repeat || !is_known(leg) { Vec::new() } else { vec![(length, played)] }
            }
            MediaCommand::RecordStop { recording } => {
                let started = self.is.recordings.get(recording).map_or(now, |known| known.started);
                vec![sealed(*recording, ms_since(started), rng)]
            }
            MediaCommand::Seal { recording, started, .. } => vec![sealed(*recording, ms_since(*started), rng)],
            MediaCommand::Resume { recording, started, .. } => {
                let from_ms = self.died.since(*started).as_millis() as u64;
                let gap = Gap { from_ms, to_ms: ms_since(*started) };
                vec![(ms(1 + rng.below(30)), MediaEvent::RecordingResumed { recording: *recording, gap })]
            }
            // Its opening failed and the switch had not heard of it.
            MediaCommand::Close { leg } if !is_known(leg) => {
                vec![(ms(2), MediaEvent::Closed { leg: *leg, stats: LegStats::default() })]
            }
            MediaCommand::Close { leg } => {
                let stats = LegStats { packets_in: 50, packets_out: 50, ..LegStats::default() };
                // Sometimes later than the call's record waits for it.
                let after = if rng.below(20) == 0 { 150 + rng.below(200) } else { 2 + rng.below(30) };
                vec![(ms(after), MediaEvent::Closed { leg: *leg, stats })]
            }
            MediaCommand::Open { .. }
            | MediaCommand::OpenBrowser { .. }
            | MediaCommand::Connect { .. }
            | MediaCommand::Room { .. }
            | MediaCommand::Stop { .. }
            | MediaCommand::Mute { .. }
            | MediaCommand::Press { .. }
            | MediaCommand::Record { .. }
            | MediaCommand::RecordFrom { .. } => Vec::new(),
            MediaCommand::Watch { leg, quiet_ms } => {
                let after = ms(u64::from(*quiet_ms) + rng.below(30_000));
                vec![(after, MediaEvent::Quiet { leg: *leg })]
            }
        };
        self.is.obey(call, &command, Meant::Anew)?;
        Ok(events)
    }

    /// The journal has it that this was asked.
    pub fn asked(&mut self, call: CallId, command: &MediaCommand, meant: Meant) -> Result<(), String> {
        match command {
            MediaCommand::Open { leg, .. } => {
                self.customers.entry(call).or_insert((*leg, false));
            }
            MediaCommand::Close { leg } => self.close_customer(call, *leg),
            MediaCommand::Room { hears } => {
                let winners = self.winners.entry(call).or_default();
                let customer = self.customers.get(&call).map(|(leg, _)| *leg);
                let of_customer = hears.iter().filter(|hears| Some(hears.leg) == customer);
                winners.extend(of_customer.flat_map(|hears| hears.from.iter().copied()));
                ensure(winners.len() <= 1, || format!("one call, one winner: {call} has {}", winners.len()))?;
            }
            MediaCommand::Play { audio, .. } => {
                let says = |name: &str| audio.iter().any(|a| matches!(a, Audio::Prompt(p) if p.0.ends_with(name)));
                if says("sorry_overflow") || says("callback_promised") || says("voicemail_prompt") {
                    self.goodbyes.insert(call);
                }
            }
            MediaCommand::OpenBrowser { .. }
            | MediaCommand::Connect { .. }
            | MediaCommand::Stop { .. }
            | MediaCommand::Mute { .. }
            | MediaCommand::Press { .. }
            | MediaCommand::Record { .. }
            | MediaCommand::RecordFrom { .. }
            | MediaCommand::RecordStop { .. }
            | MediaCommand::Watch { .. }
            | MediaCommand::Resume { .. }
            | MediaCommand::Seal { .. } => {}
        }
        let meant = match command {
            MediaCommand::Play { leg, .. } if meant != Meant::Anew && !self.heard_again.insert(*leg) => Meant::Anew,
            _ => meant,
        };
        self.ought.obey(call, command, meant)
    }

    /// A worker's report reaches the switch.
    pub fn reported(&mut self, event: &MediaEvent) {
        self.is.heard(event);
    }

    /// The journal has it that this was reported.
    pub fn known(&mut self, event: &MediaEvent) {
        self.ought.heard(event);
        if let MediaEvent::RecordingResumed { recording, gap } = event {
            self.gaps.entry(*recording).or_default().push(*gap);
        }
    }

    /// The process is gone with all that its workers held.
    pub fn die(&mut self, now: Timestamp) {
        self.is = Floor::default();
        self.heard_again.clear();
        self.refused.clear();
        self.died = now;
    }

    /// Nobody is on the line any more: every call ends, and every recording is sealed.
    pub fn give_up(&mut self) {
        self.ought.legs.clear();
        for recording in self.ought.recordings.values_mut() {
            (recording.runs, recording.sides) = (false, BTreeMap::new());
        }
    }

    /// Whether the switch has made everything as it ought to be.
    pub fn check_armed(&self) -> Result<(), String> {
        let (is, ought) = (&self.is, &self.ought);
        for leg in ought.legs.keys().chain(is.legs.keys()).filter(|leg| !self.refused.contains(leg)) {
            let (is, ought) = (is.legs.get(leg), ought.legs.get(leg));
            ensure(is == ought, || format!("leg {leg} is not re-armed: it ought to be {ought:?} and is {is:?}"))?;
        }
        for recording in ought.recordings.keys().chain(is.recordings.keys()) {
            // A leg whose ports could not be bound feeds nothing, and its call ends.
            let of = |floor: &Floor| {
                let mut known = floor.recordings.get(recording).cloned();
                let sides = known.iter_mut().flat_map(|known| known.sides.values_mut());
                sides.for_each(|legs| legs.retain(|leg| !self.refused.contains(leg)));
                known
            };
            let (is, ought) = (of(is), of(ought));
            ensure(is == ought, || {
                format!("recording {recording} is not re-armed: it ought to be {ought:?} and is {is:?}")
            })?;
        }
        Ok(())
    }

    pub fn is_closed(&self, call: CallId) -> bool {
        self.customers.get(&call).is_some_and(|(_, closed)| *closed)
    }

    fn close_customer(&mut self, call: CallId, leg: LegId) {
        if let Some((_, closed)) = self.customers.get_mut(&call).filter(|(first, _)| *first == leg) {
            *closed = true;
        }
    }
}

fn sealed(recording: RecordingId, duration_ms: u64, rng: &mut Rng) -> (Duration, MediaEvent) {
    let event = if rng.below(50) == 0 {
        MediaEvent::RecordingFailed { recording, reason: "no space left on device".into() }
    } else {
        let file = Recorded {
            path: format!("{recording}.wav"),
            duration_ms,
            channels: 2,
            bytes: 44 + 32 * duration_ms,
            sha256: "0".repeat(64),
            incomplete: None,
        };
        MediaEvent::RecordingSealed { recording, file }
    };
    (Duration::from_millis(5 + rng.below(300)), event)
}

impl Recording {
    fn new(call: CallId, tenant: &TenantId, started: Timestamp, runs: bool) -> Self {
        Self { call, tenant: tenant.clone(), started, runs, sides: BTreeMap::new() }
    }

    /// Whether it is the same file of the same call, whatever goes into it.
    fn is_same(&self, other: &Self) -> bool {
        (self.call, &self.tenant, self.started, self.runs) == (other.call, &other.tenant, other.started, other.runs)
    }
}

pub fn ensure(good: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(text()) }
}
