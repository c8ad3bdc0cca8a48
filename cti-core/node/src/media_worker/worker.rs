use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use cti_base::{LegId, RecordingId, Rng, Timestamp};
use cti_media::leg::{Content, Dropped, FRAME_LEN, Incoming, Leg};
use cti_media::mixer::Frame;
use cti_media::rtp::{FRAME_SAMPLES, HEADER_LEN};
use cti_media::samples::Samples;
use cti_media::voice::{self, Voice};
use cti_media::{Browser, Codec, Direction, Law, LegMedia, LegStats, MediaCommand, MediaEvent, Side};
use mio::{Events, Interest, Poll, Token};
use recordings::{Recorder, RecorderError};

use super::counters::Tally;
use super::keys::Keys;
use super::news::News;
use super::play::Playing;
use super::recording::{self, Recording};
use super::room::Place;
use super::secure::Secure;
use super::socket::Sockets;
use super::watch::Watch;
use super::way::{Sent, Way};
use super::{AudioIn, Inbox, LEGS_MAX, MediaConfig, MediaCounters, Message, PromptLibrary};
use crate::browsers::Who;
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
/// How often reports, silence and recordings are looked after. What was recorded since is what a crash can lose, beside the
/// lag that late packets are given.
const SWEEP: Duration = Duration::from_millis(200);
/// Commands in a row, before packets and the clock have their turn: a restart brings those of all legs at once.
const COMMANDS_TURN_MAX: usize = 256;
/// Packets of browsers in a row.
const BROWSERS_TURN_MAX: usize = 1_024;
/// How soon news that the switch had no room for are told again.
const NEWS_AGAIN: Duration = Duration::from_millis(5);
/// A process that was killed may hold its ports for a moment: in the first time after the start, a port in use is tried again.
const START: Duration = Duration::from_secs(5);
const BIND_PATIENCE: Duration = Duration::from_secs(1);
const BIND_AGAIN: Duration = Duration::from_millis(10);
/// RTCP's interval (RFC 3550 6.2: 5 s at the least).
const REPORT: Duration = Duration::from_secs(5);

/// One thread's state. Slots are indices into `legs`, and a socket's token is made of its slot.
pub(super) struct Worker<E> {
    config: MediaConfig,
    poll: Poll,
    inbox: Inbox,
    /// Where browsers' packets for our legs come in.
    audio_in: AudioIn,
    prompts: Arc<PromptLibrary>,
    recorder: Recorder,
    news: News<E>,
    counters: Arc<MediaCounters>,
    pub(super) tally: Tally,
    rng: Rng,
    pub(super) now: Timestamp,
    /// Ports in use are tried again for legs that are opened before.
    patient_until: Timestamp,
    pub(super) legs: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_id: BTreeMap<LegId, usize>,
    unbound: Vec<Unbound>,
    bind_at: Timestamp,
    /// Slots with a playback, with keys to be pressed, with a mix, and those whose audio is decoded for one.
    playing: Vec<usize>,
    pub(super) pressing: Vec<usize>,
    pub(super) mixed: Vec<usize>,
    pub(super) sources: Vec<usize>,
    ticks: Option<Ticks>,
    recordings: BTreeMap<RecordingId, Recording>,
    /// Recordings whose end the recorder had no room for.
    stopping: Vec<RecordingId>,
    /// Sockets that had more to read than their turn.
    unread: Vec<Token>,
    /// Commands are left over from the last turn.
    commanded: bool,
    sweep_at: Timestamp,
    datagram: Box<[u8; DATAGRAM_LEN_MAX]>,
    report: Vec<u8>,
}

pub(super) struct Slot {
    id: LegId,
    way: Way,
    /// Where the peer speaks SRTP.
    secure: Option<Box<Secure>>,
    pub leg: Leg,
    pub place: Place,
    pub playing: Option<Playing>,
    /// Keys that are pressed towards the peer.
    pub keys: Option<Box<Keys>>,
    /// Where the codec has a memory.
    voice: Option<Box<Voice>>,
    muted: bool,
    record: Option<(RecordingId, Side)>,
    watch: Option<Watch>,
    report_at: Timestamp,
}

/// A leg whose ports were in use.
#[derive(Clone, Copy)]
struct Unbound {
    leg: LegId,
    slot: usize,
    rtp_port: u16,
    until: Timestamp,
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

impl<E: Fn(MediaEvent) -> Result<(), MediaEvent>> Worker<E> {
    #[expect(clippy::too_many_arguments, reason = "the parts of a worker, put together in one place")]
    pub fn new(
        config: MediaConfig,
        poll: Poll,
        (inbox, audio_in): (Inbox, AudioIn),
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
            audio_in,
            prompts,
            recorder,
            news: News::new(emit),
            counters,
            tally: Tally::default(),
            rng,
            now,
            patient_until: now + START,
            legs: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            unbound: Vec::new(),
            bind_at: now,
            playing: Vec::new(),
            pressing: Vec::new(),
            mixed: Vec::new(),
            sources: Vec::new(),
            ticks: None,
            recordings: BTreeMap::new(),
            stopping: Vec::new(),
            unread: Vec::new(),
            commanded: false,
            sweep_at: now + SWEEP,
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
            for token in std::mem::take(&mut self.unread) {
                self.read(token);
            }
            for event in &events {
                match event.token() {
                    WAKER => self.commanded = true,
                    token => self.read(token),
                }
            }
            if self.commanded && self.take_commands().is_break() {
                break;
            }
            self.run_ticks();
            if !self.unbound.is_empty() && self.now >= self.bind_at {
                self.bind_again();
            }
            self.news.tell_waiting();
            if self.now >= self.sweep_at {
                self.sweep();
            }
            self.counters.add(&mut self.tally);
        }
        self.end();
    }

    fn wait(&self) -> Option<Duration> {
        if !self.unread.is_empty() || self.commanded {
            return Some(Duration::ZERO);
        }
        let sweep = (!self.by_id.is_empty() || !self.recordings.is_empty() || !self.stopping.is_empty())
            .then_some(self.sweep_at);
        let bind = (!self.unbound.is_empty()).then_some(self.bind_at);
        let news = self.news.is_waiting().then(|| self.now + NEWS_AGAIN);
        let due = [self.ticks.map(Ticks::due_at), sweep, bind, news].into_iter().flatten().min()?;
        Some(due.since(clock::now()))
    }

    fn take_commands(&mut self) -> ControlFlow<()> {
        self.inbox.woken.store(false, Ordering::Release);
        let hears_more = self.hear_browsers();
        for _ in 0..COMMANDS_TURN_MAX {
            match self.inbox.commands.try_recv() {
                Ok(Message::Command(command)) => self.command(command),
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Ok(Message::Leave) => {
                    self.leave();
                    return ControlFlow::Break(());
                }
                Err(TryRecvError::Empty) => {
                    self.commanded = hears_more;
                    break;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// What browsers said for our legs; whether there is more than their turn.
    fn hear_browsers(&mut self) -> bool {
        for _ in 0..BROWSERS_TURN_MAX {
            let Ok((leg, packet)) = self.inbox.audio.try_recv() else { return false };
            let (Some(slot), len) = (self.by_id.get(&leg).copied(), packet.len()) else { continue };
            if let Some(space) = self.datagram.get_mut(..len) {
                space.copy_from_slice(&packet);
                self.packet(slot, len, LegMedia::BROWSER);
            }
        }
        true
    }

    fn command(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Open { leg, call: _, rtp_port } => self.open(leg, Some(rtp_port)),
            MediaCommand::OpenBrowser { leg, call: _, browser } => {
                self.open(leg, None);
                // A phone's page is known when its media are settled.
                if let Browser::Desk { tenant, agent } = browser
                    && let Some(browsers) = self.config.browsers.as_ref().filter(|_| self.by_id.contains_key(&leg))
                {
                    browsers.attach(Who { tenant, agent }, leg, self.audio_in.ear());
                }
            }
            MediaCommand::Connect { leg, media } => self.connect(leg, media),
            MediaCommand::Room { hears } => self.set_room(&hears),
            MediaCommand::Play { leg, play, audio, repeat } => {
                let playing = Playing::new(play, &audio, repeat, &self.prompts);
                self.play(leg, playing);
            }
            MediaCommand::Stop { leg } => {
                if let Some(slot) = self.slot(leg) {
                    self.stop_playing(slot);
                }
            }
            MediaCommand::Press { leg, digits } => {
                if let Some(slot) = self.slot(leg) {
                    self.press(slot, &digits);
                }
            }
            MediaCommand::Mute { leg, muted } => {
                if let Some(leg) = self.slot(leg).and_then(|slot| self.legs[slot].as_mut()) {
                    leg.muted = muted;
                }
            }
            MediaCommand::Record { recording, call, tenant, started } => {
                let begun = self.recorder.begin(recording, tenant, call, started);
                self.record(begun, Recording::new(recording, started));
            }
            MediaCommand::Resume { recording, call, tenant, started } => {
                let frame = frames_between(started, self.now);
                let begun = self.recorder.resume(recording, tenant, call, started, frame);
                self.record(begun, Recording::new(recording, self.now));
            }
            MediaCommand::Seal { recording, call, tenant, started } => {
                if let Err(error) = self.recorder.seal(recording, tenant, call, started) {
                    self.news.tell(MediaEvent::RecordingFailed { recording, reason: error.to_string() });
                }
            }
            MediaCommand::RecordFrom { recording, side, legs } => self.record_from(recording, side, &legs),
            MediaCommand::RecordStop { recording } => self.record_stop(recording),
            MediaCommand::Watch { leg, quiet_ms } => {
                let now = self.now;
                if let Some(leg) = self.slot(leg).and_then(|slot| self.legs[slot].as_mut()) {
                    leg.watch = Some(Watch::new(now, quiet_ms));
                }
            }
            MediaCommand::Close { leg } => self.close(leg),
        }
    }

    /// Without a port it is a browser's.
    fn open(&mut self, id: LegId, rtp_port: Option<u16>) {
        if self.by_id.contains_key(&id) {
            tracing::error!(leg.id = %id, "the leg is open already");
            return;
        }
        if self.by_id.len() == LEGS_MAX {
            let reason = format!("the media worker has {LEGS_MAX} legs and takes no more");
            self.news.tell(MediaEvent::OpenFailed { leg: id, reason });
            return;
        }
        let slot = self.free.pop().unwrap_or(self.legs.len());
        let way = match rtp_port.map(|port| (port, self.bind(slot, port))) {
            None => self.config.browsers.clone().map_or(Way::None, Way::Browser),
            Some((_, Ok(sockets))) => Way::Sockets(sockets),
            Some((rtp_port, Err(error))) if error.kind() == ErrorKind::AddrInUse && self.now < self.patient_until => {
                self.unbound.push(Unbound { leg: id, slot, rtp_port, until: self.now + BIND_PATIENCE });
                Way::None
            }
            Some((_, Err(error))) => {
                if slot < self.legs.len() {
                    self.free.push(slot);
                }
                self.news.tell(MediaEvent::OpenFailed { leg: id, reason: error.to_string() });
                return;
            }
        };
        // Far from the wrap of its number, where SRTP would have to guess (RFC 3711 3.3.1).
        let leg = Leg::new(self.rng.next_u32(), self.rng.next_u32() as u16 >> 1, self.rng.next_u32());
        // Reports of legs opened together do not leave together.
        let report_at = self.now + REPORT.mul_f64(0.5 + 0.5 * self.rng.unit());
        let (place, secure) = (Place::default(), None);
        let (playing, keys, voice, record, watch) = (None, None, None, None, None);
        let opened = Slot { id, way, secure, leg, place, playing, keys, voice, muted: false, record, watch, report_at };
        match self.legs.get_mut(slot) {
            Some(place) => *place = Some(opened),
            None => self.legs.push(Some(opened)),
        }
        self.by_id.insert(id, slot);
        self.counters.leg_opened();
    }

    fn bind(&self, slot: usize, rtp_port: u16) -> io::Result<Sockets> {
        let mut sockets = Sockets::bind(self.config.ip, rtp_port)?;
        let registry = self.poll.registry();
        registry.register(&mut sockets.rtp, rtp_token(slot), Interest::READABLE)?;
        registry.register(&mut sockets.rtcp, rtcp_token(slot), Interest::READABLE)?;
        Ok(sockets)
    }

    /// Tries the ports that were in use; a leg whose time is up is gone.
    fn bind_again(&mut self) {
        self.bind_at = self.now + BIND_AGAIN;
        for unbound in std::mem::take(&mut self.unbound) {
            let Unbound { leg: id, slot, rtp_port, until } = unbound;
            if self.by_id.get(&id) != Some(&slot) {
                continue;
            }
            match self.bind(slot, rtp_port) {
                Ok(sockets) => {
                    if let Some(leg) = &mut self.legs[slot] {
                        leg.way = Way::Sockets(sockets);
                    }
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse && self.now < until => self.unbound.push(unbound),
                Err(error) => {
                    self.by_id.remove(&id);
                    self.remove(slot);
                    self.news.tell(MediaEvent::OpenFailed { leg: id, reason: error.to_string() });
                }
            }
        }
    }

    fn connect(&mut self, id: LegId, media: LegMedia) {
        let now = self.now;
        let Some(slot) = self.slot(id) else { return };
        let Some(leg) = self.legs[slot].as_mut() else { return };
        Secure::follow(&mut leg.secure, media.srtp.as_deref());
        if leg.voice.as_ref().map(|voice| voice.codec()) != Some(media.codec) {
            leg.voice = Voice::new(media.codec);
        }
        if let (Way::Browser(browsers), Some(_)) = (&leg.way, &media.webrtc) {
            browsers.join(id, media.clone(), self.audio_in.ear());
        }
        leg.leg.connect(media);
        leg.place.since = now;
        // Whether it is relayed hangs on its codec.
        self.arrange(vec![slot]);
    }

    fn play(&mut self, id: LegId, playing: Playing) {
        let Some(slot) = self.slot(id) else { return };
        let Some(leg) = &mut self.legs[slot] else { return };
        if leg.playing.replace(playing).is_none() {
            if leg.keys.is_none() {
                leg.leg.begin_frames();
            }
            self.playing.push(slot);
        }
        self.start_ticks();
    }

    /// The 20 ms clock runs while somebody needs it.
    pub(super) fn start_ticks(&mut self) {
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

    fn record(&mut self, begun: Result<(), RecorderError>, recording: Recording) {
        let id = recording.id;
        match begun {
            Ok(()) => {
                self.recordings.insert(id, recording);
            }
            Err(error) => self.news.tell(MediaEvent::RecordingFailed { recording: id, reason: error.to_string() }),
        }
    }

    fn record_from(&mut self, id: RecordingId, side: Side, legs: &[LegId]) {
        let mut slots: Vec<usize> = legs.iter().filter_map(|leg| self.slot(*leg)).collect();
        slots.sort_unstable();
        let Some(recording) = self.recordings.get_mut(&id) else {
            tracing::debug!(recording.id = %id, "no such recording is under way");
            return;
        };
        if recording.legs[side as usize] == slots {
            return;
        }
        recording.lanes.feed(side, slots.len());
        let before = std::mem::replace(&mut recording.legs[side as usize], slots.clone());
        for slot in before {
            if let Some(leg) = &mut self.legs[slot]
                && leg.record == Some((id, side))
            {
                leg.record = None;
            }
        }
        for slot in slots {
            if let Some(leg) = &mut self.legs[slot]
                && let Some((other, _)) = leg.record.replace((id, side))
                && other != id
            {
                tracing::warn!(leg.id = %leg.id, recording.id = %other, "the leg leaves this recording for another");
            }
        }
    }

    fn record_stop(&mut self, id: RecordingId) {
        let Some(recording) = self.recordings.remove(&id) else {
            tracing::warn!(recording.id = %id, "no such recording is under way");
            return;
        };
        for slot in recording.legs.iter().flatten().copied() {
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
        self.news.tell(MediaEvent::Closed { leg: id, stats });
    }

    fn remove(&mut self, slot: usize) -> LegStats {
        self.leave_room(slot);
        self.stop_playing(slot);
        self.pressing.retain(|pressing| *pressing != slot);
        let Some(mut leg) = self.legs[slot].take() else { return LegStats::default() };
        if let Some((id, side)) = leg.record
            && let Some(recording) = self.recordings.get_mut(&id)
        {
            recording.legs[side as usize].retain(|fed| *fed != slot);
        }
        if leg.leg.heard_at().is_some()
            && let Some(to) = leg.leg.report(self.now, true, &mut self.report)
        {
            // A farewell that does not arrive costs nothing.
            leg.send_report(&mut self.report, to);
        }
        leg.way.close(leg.id, self.poll.registry());
        self.free.push(slot);
        self.counters.leg_closed();
        leg.leg.stats()
    }

    pub(super) fn slot(&self, id: LegId) -> Option<usize> {
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
            let Way::Sockets(sockets) = &leg.way else { return };
            let socket = if is_rtp { &sockets.rtp } else { &sockets.rtcp };
            match socket.recv_from(&mut self.datagram[..]) {
                Ok((len, from)) if is_rtp => self.packet(slot, len, from),
                Ok((mut len, from)) => {
                    let secure = self.legs.get_mut(slot).and_then(Option::as_mut).and_then(|leg| leg.secure.as_mut());
                    if let Some(secure) = secure {
                        len = secure.unprotect_rtcp(&mut self.datagram[..len]).unwrap_or(0);
                    }
                    let Some(leg) = self.legs.get_mut(slot).and_then(Option::as_mut) else { return };
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
        let mut len = len;
        if let Some(secure) = &mut leg.secure {
            let Some(plain) = secure.unprotect(&mut self.datagram[..len]) else {
                self.tally.malformed += 1;
                return;
            };
            len = plain;
        }
        let datagram = &mut self.datagram[..len];
        let (header, content) = match leg.leg.receive(self.now, from, datagram) {
            Incoming::Audio { header, codec } => {
                let record = leg.record.filter(|_| !leg.muted);
                let mut recording = record.and_then(|(id, side)| Some((self.recordings.get_mut(&id)?, side)));
                let mut source = leg.place.source.as_mut().filter(|_| !leg.muted);
                let mut watch = leg.watch.as_mut();
                if recording.is_some() || source.is_some() || watch.is_some() {
                    let (now, ssrc, payload) = (self.now, header.ssrc, &datagram[header.payload.clone()]);
                    let mut said = |timestamp: u32, said: Samples<'_>| {
                        if let Some((recording, side)) = &mut recording {
                            recording.lanes.put(now, *side, ssrc, timestamp, said);
                        }
                        if let Some(source) = &mut source {
                            source.put(ssrc, timestamp, said);
                        }
                        if let Some(watch) = &mut watch {
                            watch.hear(now, said);
                        }
                    };
                    match (codec.law(), &mut leg.voice) {
                        (Some(law), _) => said(header.timestamp, Samples::G711(law, payload)),
                        (None, Some(voice)) => {
                            let at = voice::At { ssrc, sequence: header.sequence, timestamp: header.timestamp };
                            voice.decode(at, payload, said);
                        }
                        (None, None) => {}
                    }
                }
                (header, Content::Audio(codec))
            }
            Incoming::Event { header, digit } => {
                if let Some(digit) = digit {
                    self.news.tell(MediaEvent::Digit { leg: leg.id, digit });
                }
                // Where no packets are relayed the key is pressed anew.
                if let (Some(digit), Some(other), None, false) = (digit, leg.place.other, leg.place.relay, leg.muted) {
                    self.tally.packets_in += 1;
                    let mut text = [0; 4];
                    self.press(other, digit.encode_utf8(&mut text));
                    return;
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
        if leg.muted {
            return;
        }
        let Some(peer) = leg.place.relay else { return };
        let Some(peer) = self.legs[peer].as_mut().filter(|peer| !peer.is_fed()) else { return };
        if let Some((to, packet)) = peer.leg.relay(self.now, header, content, datagram) {
            peer.send(packet, to, &mut self.tally);
        }
    }

    fn run_ticks(&mut self) {
        let Some(mut ticks) = self.ticks else { return };
        for _ in 0..CATCH_UP_MAX {
            if self.playing.is_empty() && self.mixed.is_empty() && self.pressing.is_empty() {
                self.ticks = None;
                return;
            }
            if self.now < ticks.due_at() {
                break;
            }
            self.press_on(ticks.next);
            self.tick(ticks.next);
            self.mix(ticks.next);
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
            let law = leg.leg.media().map_or(Codec::Pcma, |media| media.codec).law();
            let Some(playing) = &mut leg.playing else { break };
            if playing.fill(law.unwrap_or(Law::Pcma), &mut packet[HEADER_LEN..]) {
                if leg.keys.is_some() {
                    // They are heard instead.
                } else if law.is_some() {
                    leg.send_frame(self.now, number, &mut packet, &mut self.tally);
                } else {
                    let mut frame = [0; FRAME_SAMPLES];
                    for (sample, byte) in frame.iter_mut().zip(&packet[HEADER_LEN..]) {
                        *sample = Law::Pcma.linear()[usize::from(*byte)];
                    }
                    leg.send_linear(self.now, number, &frame, &mut packet, &mut self.tally);
                }
                index += 1;
            } else {
                let play = playing.play;
                leg.playing = None;
                self.playing.swap_remove(index);
                self.news.tell(MediaEvent::Played { leg: leg.id, play });
            }
        }
    }

    /// What is due a few times a second: reports, silence, recorded audio.
    fn sweep(&mut self) {
        self.sweep_at = self.now + SWEEP;
        for slot in 0..self.legs.len() {
            self.look_after(slot);
        }
        for recording in self.recordings.values_mut() {
            recording.flush(self.now, &self.recorder);
        }
        let recorder = &self.recorder;
        self.stopping.retain(|id| recording::stop(*id, recorder).is_err());
    }

    fn look_after(&mut self, slot: usize) {
        if let Some(leg) = self.legs[slot].as_mut()
            && leg.watch.take_if(|watch| watch.is_quiet(self.now)).is_some()
        {
            self.news.tell(MediaEvent::Quiet { leg: leg.id });
        }
        let Some(place) = self.legs[slot].as_ref().map(|leg| &leg.place).filter(|place| place.is_used()) else {
            return;
        };
        let hears_us = |listener: &usize| self.legs[*listener].as_ref().is_some_and(|leg| leg.playing.is_none());
        let is_heard = place.heard_by.iter().any(hears_us);
        let Some(leg) = &mut self.legs[slot] else { return };
        if self.now >= leg.report_at {
            leg.report_at = self.now + REPORT;
            if let Some(to) = leg.leg.report(self.now, false, &mut self.report) {
                leg.send_report(&mut self.report, to);
            }
        }
        // Whoever is on hold, or hears music, need not send.
        let talks = leg.leg.media().is_some_and(|media| media.direction == Direction::SendRecv)
            && leg.playing.is_none()
            && is_heard;
        let place = &mut leg.place;
        if !talks {
            place.since = self.now;
        }
        let heard_at = leg.leg.heard_at().map_or(place.since, |heard_at| heard_at.max(place.since));
        let silent = talks && self.now.since(heard_at) > self.config.rtp_timeout;
        if silent && !place.silence_told {
            self.news.tell(MediaEvent::Silent { leg: leg.id });
        }
        place.silence_told = silent;
    }

    /// Gives away what is recorded up to now; another process goes on with it.
    fn leave(&mut self) {
        self.now = clock::now();
        for (_, recording) in std::mem::take(&mut self.recordings) {
            recording.leave(self.now, &self.recorder);
        }
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

/// Whole frames of a recording from its start to `now`.
fn frames_between(started: Timestamp, now: Timestamp) -> u64 {
    (now.since(started).as_micros() / 125) as u64
}

fn rtp_token(slot: usize) -> Token {
    Token(2 * slot + 1)
}

fn rtcp_token(slot: usize) -> Token {
    Token(2 * slot + 2)
}

impl Slot {
    /// Whether it hears something else than whom it hears.
    pub fn is_fed(&self) -> bool {
        self.playing.is_some() || self.keys.is_some()
    }

    /// 20 ms that are encoded already.
    pub fn send_frame(&mut self, now: Timestamp, tick: u64, packet: &mut [u8], tally: &mut Tally) {
        if let Some(to) = self.leg.frame(now, tick, packet) {
            self.send(packet, to, tally);
        }
    }

    /// 20 ms for a codec with a memory; `packet` is the space for it.
    pub fn send_linear(&mut self, now: Timestamp, tick: u64, frame: &Frame, packet: &mut [u8], tally: &mut Tally) {
        let Some(voice) = &mut self.voice else { return };
        let len = voice.encode(frame, &mut packet[HEADER_LEN..]);
        if len > 0 {
            self.send_frame(now, tick, &mut packet[..HEADER_LEN + len], tally);
        }
    }

    /// Counts what became of it.
    pub fn send(&mut self, packet: &[u8], to: SocketAddr, tally: &mut Tally) {
        let packet = match &mut self.secure {
            None => Some(packet),
            Some(secure) => secure.protect(packet),
        };
        match packet.map_or(Sent::Lost, |packet| self.way.send(self.id, packet, to)) {
            Sent::Out => tally.packets_out += 1,
            Sent::Lost => tally.lost += 1,
        }
    }

    /// A report; one that does not leave is made up for by the next.
    fn send_report(&mut self, report: &mut Vec<u8>, to: SocketAddr) {
        let is_ready = self.secure.as_mut().is_none_or(|secure| secure.protect_rtcp(report).is_some());
        if is_ready {
            self.way.report(report, to);
        }
    }
}
