//! The media workers as the switch sees them, strict about what they are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_base::{CallId, LegId, RecordingId, Rng, Timestamp};
use cti_media::{Audio, LegStats, MediaCommand, MediaEvent, Recorded};

#[derive(Debug)]
pub struct Leg {
    pub call: CallId,
    port: u16,
    bridged: Option<LegId>,
}

#[derive(Default)]
pub struct Workers {
    pub legs: BTreeMap<LegId, Leg>,
    pub recordings: BTreeMap<RecordingId, Timestamp>,
    /// The caller's leg of each call, which is its first, and whether it has been closed.
    pub customers: BTreeMap<CallId, (LegId, bool)>,
    /// Agents' legs that were ever joined to a call's caller.
    winners: BTreeMap<CallId, BTreeSet<LegId>>,
    /// Calls to whom goodbye is said: they wait for nobody.
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
        Ok(match command {
            MediaCommand::Open { leg, call: of, rtp_port } => {
                ensure(of == call, || format!("leg {leg} is opened for {of} on the worker of {call}"))?;
                ensure(rtp_port % 2 == 0, || format!("RTP port {rtp_port} is odd"))?;
                let taken = self.legs.values().any(|other| other.port == rtp_port);
                ensure(!taken, || format!("port {rtp_port} is given twice"))?;
                self.customers.entry(call).or_insert((leg, false));
                if rng.below(1_000) < bad_ports {
                    if let Some((_, closed)) = self.customers.get_mut(&call).filter(|(first, _)| *first == leg) {
                        *closed = true;
                    }
                    return Ok(vec![(ms(1), MediaEvent::OpenFailed { leg, reason: "address in use".into() })]);
                }
                let known = self.legs.insert(leg, Leg { call, port: rtp_port, bridged: None });
                ensure(known.is_none(), || format!("leg {leg} is opened twice"))?;
                Vec::new()
            }
            MediaCommand::Connect { .. } | MediaCommand::Stop { .. } | MediaCommand::Mute { .. } => Vec::new(),
            MediaCommand::Bridge { a, b } => {
                for (one, other) in [(a, b), (b, a)] {
                    let Some(leg) = self.legs.get_mut(&one) else { continue };
                    ensure(leg.call == call, || format!("leg {one} of {} is joined in {call}", leg.call))?;
                    ensure(leg.bridged.is_none(), || format!("one call, one winner: leg {one} is joined twice"))?;
                    leg.bridged = Some(other);
                }
                let winners = self.winners.entry(call).or_default();
                winners.insert(b);
                ensure(winners.len() == 1, || format!("one call, one winner: {call} has {}", winners.len()))?;
                Vec::new()
            }
            MediaCommand::Unbridge { a, b } => {
                for one in [a, b] {
                    if let Some(leg) = self.legs.get_mut(&one) {
                        ensure(leg.bridged.take().is_some(), || format!("leg {one} is parted and was not joined"))?;
                    }
                }
                Vec::new()
            }
            MediaCommand::Play { leg, play, audio, repeat } => {
                let says = |name: &str| audio.iter().any(|a| matches!(a, Audio::Prompt(p) if p.0.ends_with(name)));
                if says("sorry_overflow") {
                    self.goodbyes.insert(call);
                }
                let known = self.legs.contains_key(&leg);
                let length = ms(400) * u32::try_from(audio.len()).unwrap_or(1);
                if repeat || !known { Vec::new() } else { vec![(length, MediaEvent::Played { leg, play })] }
            }
            MediaCommand::Record { recording, call: of, tenant: _, customer, agent, started: _ } => {
                ensure(of == call, || format!("recording {recording} of {of} is started in {call}"))?;
                let both = self.legs.contains_key(&customer) && self.legs.contains_key(&agent);
                ensure(both, || format!("recording {recording} has a leg that is not open"))?;
                let known = self.recordings.insert(recording, now);
                ensure(known.is_none(), || format!("recording {recording} is started twice"))?;
                Vec::new()
            }
            MediaCommand::RecordFrom { .. } => Vec::new(),
            MediaCommand::RecordStop { recording } => {
                let Some(since) = self.recordings.remove(&recording) else {
                    return Err(format!("recording {recording} is stopped and does not run"));
                };
                let duration_ms = now.since(since).as_millis() as u64;
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
                vec![(ms(5 + rng.below(300)), event)]
            }
            MediaCommand::Resume { recording, .. } | MediaCommand::Seal { recording, .. } => {
                return Err(format!("recording {recording} is taken up though nothing was lost"));
            }
            MediaCommand::Close { leg } => {
                if let Some((_, closed)) = self.customers.get_mut(&call).filter(|(first, _)| *first == leg) {
                    *closed = true;
                }
                if self.legs.remove(&leg).is_none() {
                    // Its opening failed and the switch had not heard of it.
                    return Ok(vec![(ms(2), MediaEvent::Closed { leg, stats: LegStats::default() })]);
                }
                let stats = LegStats { packets_in: 50, packets_out: 50, ..LegStats::default() };
                // Sometimes later than the call's record waits for it.
                let after = if rng.below(20) == 0 { 150 + rng.below(200) } else { 2 + rng.below(30) };
                vec![(ms(after), MediaEvent::Closed { leg, stats })]
            }
        })
    }

    pub fn is_closed(&self, call: CallId) -> bool {
        self.customers.get(&call).is_some_and(|(_, closed)| *closed)
    }
}

pub fn ensure(good: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(text()) }
}
