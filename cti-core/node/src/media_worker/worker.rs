use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use cti_base::{LegId, RecordingId, Rng, Timestamp};
use cti_media::leg::{Content, Dropped, FRAME_LEN, Incoming, Leg};
use cti_media::rtp::HEADER_LEN;
use cti_media::{Codec, Direction, LegMedia, LegStats, MediaCommand, MediaEvent, Side};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use recordings::Recorder;

use super::counters::Tally;
use super::play::Playing;
use super::recording::{self, Recording};
use super::{LEGS_MAX, MediaConfig, MediaCounters, Message, PromptLibrary, socket};
use crate::clock;

pub(super) const WAKER: Token = Token(0);
/// Longer datagrams are cut off; no RTP packet of ours comes near.
const DATAGRAM_LEN_MAX: usize = 4_096;
/// Socket events read at once.
const EVENTS_MAX: usize = 1_024;
/// Datagrams of one socket in a row, before the others have their turn.
const DRAIN_MAX: usize = 32;
/// One packet of a prompt.
const TICK: Duration = Duration::from_millis(20);
/// A clock that fell behind catches up this many steps at once; more are left out, so that no burst is heard.
const CATCH_UP_MAX: u64 = 5;
/// How often reports, silence and recordings are looked after.
const SWEEP: Duration = Duration::from_millis(250);
/// Recorded audio leaves for the disk this often.
const FLUSH: Duration = Duration::from_secs(1);
/// RTCP's interval (RFC 3550 6.2: 5 s at the least).
const REPORT: Duration = Duration::from_secs(5);

/// One thread's state. Slots are indices into `legs`, and a socket's token is made of its slot.
pub(super) struct Worker<E> {
    config: MediaConfig,
    poll: Poll,
    inbox: Receiver<Message>,
    woken: Arc<AtomicBool>,
    prompts: Arc<PromptLibrary>,
    recorder: Recorder,
    emit: E,
    counters: Arc<MediaCounters>,
    tally: Tally,
    rng: Rng,
    now: Timestamp,
    legs: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_id: BTreeMap<LegId, usize>,
    /// Slots with a playback.
    playing: Vec<usize>,
    ticks: Option<Ticks>,
    recordings: BTreeMap<RecordingId, Recording>,
    /// Recordings whose end the recorder had no room for.
    stopping: Vec<RecordingId>,
    /// Sockets that had more to read than their turn.
    unread: Vec<Token>,
    sweep_at: Timestamp,
    flush_at: Timestamp,
    datagram: Box<[u8; DATAGRAM_LEN_MAX]>,
    report: Vec<u8>,
}

struct Slot {
    id: LegId,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    leg: Leg,
    bridge: Option<Bridge>,
    playing: Option<Playing>,
    muted: bool,
    record: Option<(RecordingId, Side)>,
    report_at: Timestamp,
}

#[derive(Clone, Copy)]
struct Bridge {
    peer: usize,
    /// Since when the party should be heard: the bridge or the last settled media.
    since: Timestamp,
    silence_told: bool,
}

/// The 20 ms clock: step n is due at `started` + n * 20 ms, however late the steps before it ran.
#[derive(Clone, Copy)]
struct Ticks {
    started: Timestamp,
    next: u64,
}

impl Ticks {
    fn due_at(self) -> Timestamp {
        self.started + TICK * self.next as u32
    }
}

impl<E: Fn(MediaEvent)> Worker<E> {
    #[expect(clippy::too_many_arguments, reason = "the parts of a worker, put together in one place")]
    pub fn new(
        config: MediaConfig,
        poll: Poll,
        (inbox, woken): (Receiver<Message>, Arc<AtomicBool>),
        prompts: Arc<PromptLibrary>,
        recorder: Recorder,
        emit: E,
        counters: Arc<MediaCounters>,
        rng: Rng,
    ) -> Self {
        let now = clock::now();
        Self {
            config,
            poll,
            inbox,
            woken,
            prompts,
            recorder,
            emit,
            counters,
            tally: Tally::default(),
            rng,
            now,
            legs: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            playing: Vec::new(),
            ticks: None,
            recordings: BTreeMap::new(),
            stopping: Vec::new(),
            unread: Vec::new(),
            sweep_at: now + SWEEP,
            flush_at: now + FLUSH,
            datagram: Box::new([0; DATAGRAM_LEN_MAX]),
            report: Vec::new(),
        }
    }

    /// The loop, until it is told to stop.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "the media worker can not wait for its sockets");
                break;
            }
            self.now = clock::now();
            // The clock first: it is what can be late.
            self.run_ticks();
            let mut commanded = false;
            for token in std::mem::take(&mut self.unread) {
                self.read(token);
            }
            for event in &events {
                match event.token() {
                    WAKER => commanded = true,
                    token => self.read(token),
                }
            }
            if commanded && self.take_commands().is_break() {
                break;
            }
            self.run_ticks();
            if self.now >= self.sweep_at {
                self.sweep();
            }
            self.counters.add(&mut self.tally);
        }
        self.end();
    }

    fn wait(&self) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let sweep = (!self.by_id.is_empty() || !self.recordings.is_empty() || !self.stopping.is_empty())
            .then_some(self.sweep_at);
        let due = [self.ticks.map(Ticks::due_at), sweep].into_iter().flatten().min()?;
        Some(due.since(clock::now()))
    }

    fn take_commands(&mut self) -> ControlFlow<()> {
        self.woken.store(false, Ordering::Release);
        loop {
            match self.inbox.try_recv() {
                Ok(Message::Command(command)) => self.command(command),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
        }
    }

    fn command(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Open { leg, call: _, rtp_port } => self.open(leg, rtp_port),
            MediaCommand::Connect { leg, media } => self.connect(leg, media),
            MediaCommand::Bridge { a, b } => self.bridge(a, b),
            MediaCommand::Unbridge { a, b } => self.unbridge(a, b),
            MediaCommand::Play { leg, play, audio, repeat } => {
                let playing = Playing::new(play, &audio, repeat, &self.prompts);
                self.play(leg, playing);
            }
            MediaCommand::Stop { leg } => {
                if let Some(slot) = self.slot(leg) {
                    self.stop_playing(slot);
                }
            }
            MediaCommand::Mute { leg, muted } => {
                if let Some(leg) = self.slot(leg).and_then(|slot| self.legs[slot].as_mut()) {
                    leg.muted = muted;
                }
            }
            MediaCommand::Record { recording, call, tenant, customer, agent, started } => {
                if let Err(error) = self.recorder.begin(recording, tenant, call, started) {
                    (self.emit)(MediaEvent::RecordingFailed { recording, reason: error.to_string() });
                    return;
                }
                self.recordings.insert(recording, Recording::new(recording, self.now));
                self.record_from(recording, Side::Customer, Some(customer));
                self.record_from(recording, Side::Agent, Some(agent));
            }
            MediaCommand::RecordFrom { recording, side, leg } => self.record_from(recording, side, leg),
            MediaCommand::RecordStop { recording } => self.record_stop(recording),
            MediaCommand::Resume { recording, .. } | MediaCommand::Seal { recording, .. } => {
                let reason = "an earlier process's recordings are not taken up".to_owned();
                (self.emit)(MediaEvent::RecordingFailed { recording, reason });
            }
            MediaCommand::Close { leg } => self.close(leg),
        }
    }

    fn open(&mut self, id: LegId, rtp_port: u16) {
        if self.by_id.contains_key(&id) {
            tracing::error!(leg.id = %id, "the leg is open already");
            return;
        }
        if self.by_id.len() == LEGS_MAX {
            let reason = format!("the media worker has {LEGS_MAX} legs and takes no more");
            (self.emit)(MediaEvent::OpenFailed { leg: id, reason });
            return;
        }
        let slot = self.free.pop().unwrap_or(self.legs.len());
        let opened = socket::bind_pair(self.config.ip, rtp_port).and_then(|(mut rtp, mut rtcp)| {
            let registry = self.poll.registry();
            registry.register(&mut rtp, rtp_token(slot), Interest::READABLE)?;
            registry.register(&mut rtcp, rtcp_token(slot), Interest::READABLE)?;
            Ok((rtp, rtcp))
        });
        let (rtp, rtcp) = match opened {
            Ok(pair) => pair,
            Err(error) => {
                if slot < self.legs.len() {
                    self.free.push(slot);
                }
                (self.emit)(MediaEvent::OpenFailed { leg: id, reason: error.to_string() });
                return;
            }
        };
        let leg = Leg::new(self.rng.next_u32(), self.rng.next_u32() as u16, self.rng.next_u32());
        // Reports of legs opened together do not leave together.
        let report_at = self.now + REPORT.mul_f64(0.5 + 0.5 * self.rng.unit());
        let opened = Slot { id, rtp, rtcp, leg, bridge: None, playing: None, muted: false, record: None, report_at };
        match self.legs.get_mut(slot) {
            Some(place) => *place = Some(opened),
            None => self.legs.push(Some(opened)),
        }
        self.by_id.insert(id, slot);
        self.counters.leg_opened();
    }

    fn connect(&mut self, id: LegId, media: LegMedia) {
        let now = self.now;
        let Some(leg) = self.slot(id).and_then(|slot| self.legs[slot].as_mut()) else { return };
        leg.leg.connect(media);
        if let Some(bridge) = &mut leg.bridge {
            bridge.since = now;
        }
    }

    fn bridge(&mut self, a: LegId, b: LegId) {
        let (Some(a), Some(b)) = (self.slot(a), self.slot(b)) else { return };
        if a == b || self.bridged_to(a) == Some(b) {
            return;
        }
        self.part(a);
        self.part(b);
        for (slot, peer) in [(a, b), (b, a)] {
            if let Some(leg) = &mut self.legs[slot] {
                leg.bridge = Some(Bridge { peer, since: self.now, silence_told: false });
            }
        }
    }

    fn unbridge(&mut self, a: LegId, b: LegId) {
        if let (Some(a), Some(b)) = (self.slot(a), self.slot(b))
            && self.bridged_to(a) == Some(b)
        {
            self.part(a);
        }
    }

    /// Ends the bridge of a leg, on both sides.
    fn part(&mut self, slot: usize) {
        let Some(bridge) = self.legs[slot].as_mut().and_then(|leg| leg.bridge.take()) else { return };
        if let Some(peer) = &mut self.legs[bridge.peer] {
            peer.bridge = None;
        }
    }

    fn bridged_to(&self, slot: usize) -> Option<usize> {
        self.legs[slot].as_ref()?.bridge.map(|bridge| bridge.peer)
    }

    fn play(&mut self, id: LegId, playing: Playing) {
        let Some(slot) = self.slot(id) else { return };
        let Some(leg) = &mut self.legs[slot] else { return };
        if leg.playing.replace(playing).is_none() {
            leg.leg.begin_frames();
            self.playing.push(slot);
        }
        if self.ticks.is_none() {
            self.ticks = Some(Ticks { started: self.now, next: 0 });
        }
    }

    fn stop_playing(&mut self, slot: usize) {
        if let Some(leg) = &mut self.legs[slot]
            && leg.playing.take().is_some()
        {
            self.playing.retain(|playing| *playing != slot);
        }
    }

    fn record_from(&mut self, id: RecordingId, side: Side, leg: Option<LegId>) {
        let slot = leg.and_then(|leg| self.slot(leg));
        let Some(recording) = self.recordings.get_mut(&id) else {
            tracing::warn!(recording.id = %id, "no such recording is under way");
            return;
        };
        let before = std::mem::replace(&mut recording.legs[side as usize], slot);
        recording.lanes.detach(side);
        if let Some(leg) = before.and_then(|slot| self.legs[slot].as_mut())
            && leg.record == Some((id, side))
        {
            leg.record = None;
        }
        if let Some(leg) = slot.and_then(|slot| self.legs[slot].as_mut())
            && let Some((other, _)) = leg.record.replace((id, side))
        {
            tracing::warn!(leg.id = %leg.id, recording.id = %other, "the leg leaves this recording for another");
        }
    }

    fn record_stop(&mut self, id: RecordingId) {
        let Some(recording) = self.recordings.remove(&id) else {
            tracing::warn!(recording.id = %id, "no such recording is under way");
            return;
        };
        for slot in recording.legs.into_iter().flatten() {
            if let Some(leg) = &mut self.legs[slot]
                && leg.record.is_some_and(|(recording, _)| recording == id)
            {
                leg.record = None;
            }
        }
        self.stopping.extend(recording.finish(self.now, &self.recorder).err());
    }

    /// Closes the sockets, and only then tells: the ports are free.
    fn close(&mut self, id: LegId) {
        let stats = match self.by_id.remove(&id) {
            Some(slot) => self.remove(slot),
            None => LegStats::default(),
        };
        (self.emit)(MediaEvent::Closed { leg: id, stats });
    }

    fn remove(&mut self, slot: usize) -> LegStats {
        self.part(slot);
        self.stop_playing(slot);
        let Some(mut leg) = self.legs[slot].take() else { return LegStats::default() };
        if let Some((id, side)) = leg.record
            && let Some(recording) = self.recordings.get_mut(&id)
        {
            recording.legs[side as usize] = None;
        }
        if leg.leg.heard_at().is_some()
            && let Some(to) = leg.leg.report(self.now, true, &mut self.report)
        {
            // A farewell that does not arrive costs nothing.
            let _ = leg.rtcp.send_to(&self.report, to);
        }
        for socket in [&mut leg.rtp, &mut leg.rtcp] {
            if let Err(error) = self.poll.registry().deregister(socket) {
                tracing::warn!(%error, "a media socket can not be deregistered");
            }
        }
        self.free.push(slot);
        self.counters.leg_closed();
        leg.leg.stats()
    }

    fn slot(&self, id: LegId) -> Option<usize> {
        let slot = self.by_id.get(&id).copied();
        if slot.is_none() {
            tracing::debug!(leg.id = %id, "a command for a leg that is not open");
        }
        slot
    }

    /// Reads a socket until it is empty or others must have their turn. A token of a leg that is gone reads nothing.
    fn read(&mut self, token: Token) {
        let (slot, is_rtp) = ((token.0 - 1) / 2, token.0 % 2 == 1);
        for _ in 0..DRAIN_MAX {
            let Some(leg) = self.legs.get_mut(slot).and_then(Option::as_mut) else { return };
            let socket = if is_rtp { &leg.rtp } else { &leg.rtcp };
            match socket.recv_from(&mut self.datagram[..]) {
                Ok((len, from)) if is_rtp => self.packet(slot, len, from),
                Ok((len, from)) => {
                    if !leg.leg.receive_rtcp(self.now, from, &self.datagram[..len]) {
                        self.tally.malformed += 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The network's word on a packet sent earlier; the next read goes on.
                Err(error) => tracing::debug!(leg.id = %leg.id, %error, "a media socket reports an error"),
            }
        }
        if !self.unread.contains(&token) {
            self.unread.push(token);
        }
    }

    /// One datagram on a leg's RTP port: to the recording, the switch and the other leg.
    fn packet(&mut self, slot: usize, len: usize, from: SocketAddr) {
        let Some(leg) = self.legs.get_mut(slot).and_then(Option::as_mut) else { return };
        let datagram = &mut self.datagram[..len];
        let (header, content) = match leg.leg.receive(self.now, from, datagram) {
            Incoming::Audio { header, codec } => {
                if let Some((id, side)) = leg.record
                    && !leg.muted
                    && let Some(recording) = self.recordings.get_mut(&id)
                {
                    let payload = &datagram[header.payload.clone()];
                    recording.lanes.put(self.now, side, header.ssrc, header.timestamp, codec, payload);
                }
                (header, Content::Audio(codec))
            }
            Incoming::Event { header, digit } => {
                if let Some(digit) = digit {
                    (self.emit)(MediaEvent::Digit { leg: leg.id, digit });
                }
                (header, Content::Event)
            }
            Incoming::Dropped(why) => {
                match why {
                    Dropped::Unwanted | Dropped::Unknown => self.tally.packets_in += 1,
                    Dropped::Stranger => self.tally.strangers += 1,
                    Dropped::Malformed => self.tally.malformed += 1,
                }
                return;
            }
        };
        self.tally.packets_in += 1;
        let Some(peer) = leg.bridge.map(|bridge| bridge.peer).filter(|_| !leg.muted) else { return };
        let Some(peer) = self.legs[peer].as_mut().filter(|peer| peer.playing.is_none()) else { return };
        if let Some((to, packet)) = peer.leg.relay(self.now, header, content, datagram) {
            send(&peer.rtp, packet, to, &mut self.tally);
        }
    }

    fn run_ticks(&mut self) {
        let Some(mut ticks) = self.ticks else { return };
        for _ in 0..CATCH_UP_MAX {
            if self.playing.is_empty() {
                self.ticks = None;
                return;
            }
            if self.now < ticks.due_at() {
                break;
            }
            self.tick(ticks.next);
            ticks.next += 1;
        }
        let behind = self.now.since(ticks.due_at()).as_micros() / TICK.as_micros();
        if behind > 0 {
            self.tally.ticks_late += behind as u64;
            ticks.next += behind as u64;
        }
        self.ticks = Some(ticks);
    }

    /// One packet to each playing leg.
    fn tick(&mut self, number: u64) {
        let mut packet = [0; FRAME_LEN];
        let mut index = 0;
        while let Some(&slot) = self.playing.get(index) {
            let Some(leg) = &mut self.legs[slot] else { break };
            let codec = leg.leg.media().map_or(Codec::Pcma, |media| media.codec);
            let Some(playing) = &mut leg.playing else { break };
            if playing.fill(codec, &mut packet[HEADER_LEN..]) {
                if let Some(to) = leg.leg.frame(self.now, number, &mut packet) {
                    send(&leg.rtp, &packet, to, &mut self.tally);
                }
                index += 1;
            } else {
                let play = playing.play;
                leg.playing = None;
                self.playing.swap_remove(index);
                (self.emit)(MediaEvent::Played { leg: leg.id, play });
            }
        }
    }

    /// What is due a few times a second: reports, silence, recorded audio.
    fn sweep(&mut self) {
        self.sweep_at = self.now + SWEEP;
        for leg in self.legs.iter_mut().flatten() {
            let Some(bridge) = &mut leg.bridge else { continue };
            if self.now >= leg.report_at {
                leg.report_at = self.now + REPORT;
                if let Some(to) = leg.leg.report(self.now, false, &mut self.report) {
                    let _ = leg.rtcp.send_to(&self.report, to);
                }
            }
            let heard_at = leg.leg.heard_at().map_or(bridge.since, |heard_at| heard_at.max(bridge.since));
            let talks = leg.leg.media().is_some_and(|media| media.direction == Direction::SendRecv);
            let silent = talks && self.now.since(heard_at) > self.config.rtp_timeout;
            if silent && !bridge.silence_told {
                (self.emit)(MediaEvent::Silent { leg: leg.id });
            }
            bridge.silence_told = silent;
        }
        if self.now >= self.flush_at {
            self.flush_at = self.now + FLUSH;
            for recording in self.recordings.values_mut() {
                recording.flush(self.now, &self.recorder);
            }
        }
        let recorder = &self.recorder;
        self.stopping.retain(|id| recording::stop(*id, recorder).is_err());
    }

    /// Seals what is recorded and closes every leg.
    fn end(&mut self) {
        self.now = clock::now();
        for (_, recording) in std::mem::take(&mut self.recordings) {
            self.stopping.extend(recording.finish(self.now, &self.recorder).err());
        }
        for id in std::mem::take(&mut self.stopping) {
            if recording::stop(id, &self.recorder).is_err() {
                tracing::warn!(recording.id = %id, "the recorder had no room for the end of the recording; it seals it when it stops");
            }
        }
        let open: Vec<LegId> = self.by_id.keys().copied().collect();
        for id in open {
            self.close(id);
        }
        self.counters.add(&mut self.tally);
    }
}

fn rtp_token(slot: usize) -> Token {
    Token(2 * slot + 1)
}

fn rtcp_token(slot: usize) -> Token {
    Token(2 * slot + 2)
}

fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr, tally: &mut Tally) {
    match socket.send_to(packet, to) {
        Ok(_) => tally.packets_out += 1,
        Err(error) => {
            tally.lost += 1;
            if error.kind() != ErrorKind::WouldBlock {
                tracing::trace!(%to, %error, "a packet can not be sent");
            }
        }
    }
}
