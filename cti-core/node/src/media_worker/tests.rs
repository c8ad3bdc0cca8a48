//! Workers over real loopback sockets. Each test has its own ports within 15100-15999.

mod codecs;
mod restart;
mod rooms;
mod secure;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use cti_base::{LegId, RecordingId, Rng, TenantId, Timestamp};
use cti_media::rtp::{self, HEADER_LEN, Header};
use cti_media::tone::{self, Tone};
use cti_media::{Audio, Codec, Direction, Law, LegMedia, LegStats, PlayId, PromptRef, Recorded, Side, dtmf};
use recordings::{RecorderThread, StoreConfig};

use super::*;
use crate::clock;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
const PROMPT_FRAMES: usize = 25;

/// One worker with a call, and what it tells.
struct Rig {
    workers: MediaWorkers,
    events: Receiver<MediaEvent>,
    recorder: Option<(Recorder, RecorderThread)>,
    root: tempfile::TempDir,
    rng: Rng,
    call: CallId,
}

impl Rig {
    fn new() -> Self {
        let (sender, events) = channel();
        let tell = told_by(sender.clone());
        Self::telling(events, sender, tell)
    }

    /// Workers that tell what happens by `tell`; the recorder by `sender`.
    fn telling(
        events: Receiver<MediaEvent>,
        sender: Sender<MediaEvent>,
        tell: impl Fn(MediaEvent) -> Result<(), MediaEvent> + Send + Clone + 'static,
    ) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let store = StoreConfig { root: root.path().to_path_buf() };
        let (recorder, thread) = Recorder::start(store, move |event| drop(sender.send(event))).expect("a recorder");
        let ramp: Vec<i16> = (0..160 * PROMPT_FRAMES as i16).map(|n| n * 8).collect();
        let prompts = PromptLibrary::from_files([("en/ramp.wav".to_owned(), wav(&ramp))]).expect("a prompt");
        let config = MediaConfig { ip: LOOPBACK, workers: 1, rtp_timeout: Duration::from_millis(300), browsers: None };
        let workers = MediaWorkers::start(config, Arc::new(prompts), recorder.clone(), tell).expect("workers");
        let mut rng = Rng::from_number(1);
        let call = CallId::new(clock::now(), &mut rng);
        Self { workers, events, recorder: Some((recorder, thread)), root, rng, call }
    }

    fn send(&self, command: MediaCommand) {
        self.workers.send(self.call, command).expect("the worker takes commands");
    }

    /// A leg on `port` with a phone on `port` + 2, connected.
    fn leg(&mut self, port: u16, codec: Codec) -> (LegId, Phone) {
        let leg = LegId::new(clock::now(), &mut self.rng);
        let phone = Phone::new(port, codec);
        self.send(MediaCommand::Open { leg, call: self.call, rtp_port: port });
        self.send(MediaCommand::Connect { leg, media: phone.media(Direction::SendRecv) });
        (leg, phone)
    }

    fn bridged(&mut self, port: u16, codecs: [Codec; 2]) -> ([LegId; 2], [Phone; 2]) {
        let (a, phone_a) = self.leg(port, codecs[0]);
        let (b, phone_b) = self.leg(port + 4, codecs[1]);
        self.send(MediaCommand::join(a, b));
        self.settle();
        ([a, b], [phone_a, phone_b])
    }

    fn record(&self, recording: RecordingId, customer: LegId, agent: LegId, started: Timestamp) {
        let (call, tenant) = (self.call, TenantId::from("acme"));
        self.send(MediaCommand::Record { recording, call, tenant, started });
        MediaCommand::record_from(recording, vec![customer], vec![agent]).into_iter().for_each(|from| self.send(from));
    }

    /// Returns when every command so far has been carried out.
    fn settle(&mut self) {
        let nobody = LegId::new(clock::now(), &mut self.rng);
        self.send(MediaCommand::Close { leg: nobody });
        self.event(|event| matches!(event, MediaEvent::Closed { leg, .. } if *leg == nobody));
    }

    /// The next event that fits; others are dropped.
    fn event(&self, fits: impl Fn(&MediaEvent) -> bool) -> MediaEvent {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) if fits(&event) => return event,
                Ok(_) => {}
                Err(error) => panic!("no such event: {error}"),
            }
        }
    }

    fn close(&self, id: LegId) -> LegStats {
        self.send(MediaCommand::Close { leg: id });
        match self.event(|event| matches!(event, MediaEvent::Closed { leg, .. } if *leg == id)) {
            MediaEvent::Closed { stats, .. } => stats,
            other => panic!("{other:?}"),
        }
    }

    /// The events of the next `wait`.
    fn heard(&self, wait: Duration) -> Vec<MediaEvent> {
        let until = Instant::now() + wait;
        let mut heard = Vec::new();
        while let Ok(event) = self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            heard.push(event);
        }
        heard
    }

    fn digits(&self, wait: Duration) -> String {
        let digit = |event: MediaEvent| match event {
            MediaEvent::Digit { digit, .. } => Some(digit),
            _ => None,
        };
        self.heard(wait).into_iter().filter_map(digit).collect()
    }
}

/// A switch that takes all news.
fn told_by(sender: Sender<MediaEvent>) -> impl Fn(MediaEvent) -> Result<(), MediaEvent> + Send + Clone + 'static {
    move |event| {
        drop(sender.send(event));
        Ok(())
    }
}

/// A peer's end: one RTP socket and a stream of packets.
fn law(codec: Codec) -> Law {
    codec.law().expect("a law")
}

struct Phone {
    socket: UdpSocket,
    to: SocketAddr,
    codec: Codec,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

impl Phone {
    fn new(leg_port: u16, codec: Codec) -> Self {
        let socket = UdpSocket::bind((LOOPBACK, leg_port + 2)).expect("the phone's port is free");
        let to = SocketAddr::new(LOOPBACK, leg_port);
        Self { socket, to, codec, sequence: 65_530, timestamp: u32::MAX - 500, ssrc: u32::from(leg_port) }
    }

    fn media(&self, direction: Direction) -> LegMedia {
        LegMedia {
            remote_rtp: self.socket.local_addr().ok(),
            remote_rtcp: None,
            codec: self.codec,
            payload_type: self.codec.payload_type(),
            dtmf_payload_type: Some(101),
            direction,
            srtp: None,
            webrtc: None,
        }
    }

    fn send(&mut self, marker: bool, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut packet = vec![0; HEADER_LEN];
        if let Some(header) = packet.first_chunk_mut() {
            rtp::write(header, marker, payload_type, self.sequence, timestamp, self.ssrc);
        }
        packet.extend_from_slice(payload);
        self.socket.send_to(&packet, self.to).expect("loopback takes it");
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn voice(&mut self, payload: &[u8]) {
        self.send(false, self.codec.payload_type(), self.timestamp, payload);
        self.timestamp = self.timestamp.wrapping_add(payload.len() as u32);
    }

    fn press(&mut self, digit: char) {
        let timestamp = self.timestamp;
        for (marker, payload) in dtmf::Press::new(digit, 100).expect("a digit") {
            self.send(marker, 101, timestamp, &payload);
        }
        self.timestamp = self.timestamp.wrapping_add(1_600);
    }

    fn packet(&self) -> (Header, Vec<u8>) {
        self.packet_within(PATIENCE).expect("a packet comes")
    }

    fn packet_within(&self, wait: Duration) -> Option<(Header, Vec<u8>)> {
        let mut datagram = [0; 2_000];
        self.socket.set_read_timeout(Some(wait)).expect("a timeout");
        let (len, from) = self.socket.recv_from(&mut datagram).ok()?;
        assert_eq!(from, self.to, "symmetric: it comes from where we send to");
        let header = Header::parse(&datagram[..len]).expect("RTP");
        Some((header.clone(), datagram[header.payload].to_vec()))
    }
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    file.extend((samples.len() as u32 * 2).to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

fn ramp() -> Audio {
    Audio::Prompt(PromptRef("en/ramp".into()))
}

const NO_PACKET: Duration = Duration::from_millis(150);

#[test]
fn voice_is_relayed_both_ways() {
    let mut rig = Rig::new();
    let ([a, b], [mut one, mut two]) = rig.bridged(15100, [Codec::Pcma, Codec::Pcma]);
    let mut last: Option<Header> = None;
    for n in 0..20u8 {
        one.voice(&[n; 160]);
        let (header, payload) = two.packet();
        assert_eq!(payload, [n; 160]);
        assert_eq!((header.payload_type, header.marker), (8, n == 0));
        if let Some(last) = last.replace(header.clone()) {
            assert_eq!(header.ssrc, last.ssrc);
            assert_eq!(header.sequence, last.sequence.wrapping_add(1));
            assert_eq!(header.timestamp, last.timestamp.wrapping_add(160));
        }
        two.voice(&[100 + n; 160]);
        assert_eq!(one.packet().1, [100 + n; 160]);
    }
    let counters = rig.workers.counters();
    for leg in [a, b] {
        let stats = rig.close(leg);
        assert_eq!((stats.packets_in, stats.packets_out, stats.lost_in, stats.strangers), (20, 20, 0, 0));
    }
    rig.settle();
    assert_eq!((counters.packets_in(), counters.packets_out(), counters.lost()), (40, 40, 0));
}

#[test]
fn voice_is_transcoded_where_the_codecs_differ() {
    let mut rig = Rig::new();
    let (_, [mut one, mut two]) = rig.bridged(15120, [Codec::Pcma, Codec::Pcmu]);
    let all: Vec<u8> = (0..=255).collect();
    for (from, to) in [(Codec::Pcma, Codec::Pcmu), (Codec::Pcmu, Codec::Pcma)] {
        let (sender, receiver) = if from == Codec::Pcma { (&mut one, &two) } else { (&mut two, &one) };
        sender.voice(&all);
        let (header, payload) = receiver.packet();
        let expect: Vec<u8> = all.iter().map(|byte| law(to).encode(law(from).linear()[usize::from(*byte)])).collect();
        assert_eq!((header.payload_type, payload), (to.payload_type(), expect));
    }
}

#[test]
fn a_stranger_is_dropped_and_counted() {
    let mut rig = Rig::new();
    let ([a, _], [mut one, two]) = rig.bridged(15140, [Codec::Pcma, Codec::Pcma]);
    one.voice(&[1; 160]);
    assert_eq!(two.packet().1, [1; 160]);
    let stranger = UdpSocket::bind((LOOPBACK, 15150)).expect("a free port");
    let mut packet = vec![0x80, 8, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9];
    packet.extend_from_slice(&[66; 160]);
    for datagram in [&packet[..], b"GET / HTTP/1.1\r\n\r\n", &[0x80]] {
        stranger.send_to(datagram, one.to).expect("loopback takes it");
    }
    assert!(two.packet_within(NO_PACKET).is_none());
    one.voice(&[2; 160]);
    assert_eq!(two.packet().1, [2; 160]);
    let counters = rig.workers.counters();
    let stats = rig.close(a);
    assert_eq!((stats.packets_in, stats.strangers), (2, 1));
    rig.settle();
    assert_eq!((counters.strangers(), counters.malformed()), (1, 2));
}

#[test]
fn a_keypress_is_one_digit_and_goes_to_the_peer() {
    let mut rig = Rig::new();
    let ([a, b], [mut one, two]) = rig.bridged(15160, [Codec::Pcma, Codec::Pcmu]);
    rig.send(MediaCommand::Connect {
        leg: b,
        media: LegMedia { dtmf_payload_type: Some(96), ..two.media(Direction::SendRecv) },
    });
    rig.settle();
    one.press('7');
    one.press('7');
    one.press('#');
    assert_eq!(rig.digits(NO_PACKET), "77#");
    let mut receiver = dtmf::Receiver::default();
    let mut relayed = String::new();
    while let Some((header, payload)) = two.packet_within(NO_PACKET) {
        assert_eq!(header.payload_type, 96);
        relayed.extend(receiver.receive(header.ssrc, header.timestamp, &payload));
    }
    assert_eq!(relayed, "77#");
    // Without a bridge the digits come as well.
    rig.send(MediaCommand::part(&[a, b]));
    rig.settle();
    one.press('2');
    assert_eq!(rig.digits(NO_PACKET), "2");
    assert!(two.packet_within(NO_PACKET).is_none());
}

#[test]
fn a_prompt_is_played_on_an_exact_clock() {
    let mut rig = Rig::new();
    let (leg, phone) = rig.leg(15180, Codec::Pcmu);
    rig.send(MediaCommand::Play { leg, play: PlayId(3), audio: vec![ramp(), Audio::Silence(100)], repeat: false });
    let (first, _) = phone.packet();
    let begun = Instant::now();
    let frames = PROMPT_FRAMES + 5;
    let mut last = first.clone();
    for n in 1..frames {
        let (header, payload) = phone.packet();
        assert_eq!((header.sequence, header.marker), (first.sequence.wrapping_add(n as u16), false));
        assert_eq!(header.timestamp.wrapping_sub(first.timestamp) % 160, 0);
        let expect = if n < PROMPT_FRAMES { Law::Pcmu.encode(160 * 8 * n as i16) } else { Law::Pcmu.silence() };
        assert_eq!(payload[0], expect, "frame {n}");
        last = header;
    }
    let took = begun.elapsed();
    assert!(first.marker);
    let counters = rig.workers.counters();
    let spoken = 20 * (frames as u64 - 1 + counters.ticks_late());
    assert_eq!(u64::from(last.timestamp.wrapping_sub(first.timestamp)), 8 * spoken);
    // The last may be late, the first not early.
    assert!(took >= Duration::from_millis(spoken - 25), "{took:?}");
    rig.event(|event| matches!(event, MediaEvent::Played { play: PlayId(3), leg: played } if *played == leg));
    assert!(phone.packet_within(NO_PACKET).is_none());
}

#[test]
fn a_loop_goes_on_until_it_is_stopped_or_replaced() {
    let mut rig = Rig::new();
    let (leg, phone) = rig.leg(15200, Codec::Pcma);
    rig.send(MediaCommand::Play { leg, play: PlayId(1), audio: vec![ramp()], repeat: true });
    for n in 0..2 * PROMPT_FRAMES {
        let (_, payload) = phone.packet();
        assert_eq!(payload[0], Law::Pcma.encode(160 * 8 * (n % PROMPT_FRAMES) as i16), "frame {n}");
    }
    rig.send(MediaCommand::Play { leg, play: PlayId(2), audio: vec![Audio::Silence(40)], repeat: false });
    let played = rig.event(|event| matches!(event, MediaEvent::Played { .. }));
    assert!(matches!(played, MediaEvent::Played { play: PlayId(2), .. }), "{played:?}");
    rig.send(MediaCommand::Play { leg, play: PlayId(4), audio: vec![ramp()], repeat: true });
    rig.send(MediaCommand::Stop { leg });
    rig.settle();
    while phone.packet_within(Duration::from_millis(30)).is_some() {}
    assert!(phone.packet_within(NO_PACKET).is_none());
    assert!(rig.heard(Duration::ZERO).is_empty(), "a stopped playback tells nothing");
}

#[test]
fn a_bridged_leg_hears_a_prompt_instead_of_its_peer() {
    let mut rig = Rig::new();
    let ([_, b], [mut one, two]) = rig.bridged(15220, [Codec::Pcma, Codec::Pcma]);
    one.voice(&[1; 160]);
    let before = two.packet().0;
    rig.send(MediaCommand::Play { leg: b, play: PlayId(1), audio: vec![Audio::Silence(60)], repeat: false });
    rig.settle();
    one.voice(&[2; 160]);
    let mut sequence = before.sequence;
    for n in 0..3 {
        let (header, payload) = two.packet();
        sequence = sequence.wrapping_add(1);
        assert_eq!((header.marker, header.ssrc, header.sequence), (n == 0, before.ssrc, sequence));
        assert_eq!(payload, [Law::Pcma.silence(); 160]);
    }
    rig.event(|event| matches!(event, MediaEvent::Played { .. }));
    one.voice(&[3; 160]);
    let (header, payload) = two.packet();
    assert_eq!((header.marker, header.sequence), (true, sequence.wrapping_add(1)));
    assert_eq!(payload, [3; 160]);
}

#[test]
fn nobody_hears_a_muted_or_held_leg() {
    let mut rig = Rig::new();
    let ([a, b], [mut one, mut two]) = rig.bridged(15240, [Codec::Pcma, Codec::Pcma]);
    rig.send(MediaCommand::Mute { leg: a, muted: true });
    rig.settle();
    one.voice(&[1; 160]);
    assert!(two.packet_within(NO_PACKET).is_none());
    two.voice(&[2; 160]);
    assert_eq!(one.packet().1, [2; 160]);
    rig.send(MediaCommand::Mute { leg: a, muted: false });
    rig.send(MediaCommand::Connect { leg: b, media: two.media(Direction::RecvOnly) });
    rig.settle();
    one.voice(&[3; 160]);
    assert!(two.packet_within(NO_PACKET).is_none(), "it wants nothing");
    rig.send(MediaCommand::Connect { leg: b, media: two.media(Direction::SendRecv) });
    rig.settle();
    one.voice(&[4; 160]);
    assert_eq!(two.packet().1, [4; 160]);
}

#[test]
fn ports_are_free_again_when_closed_is_told() {
    let mut rig = Rig::new();
    for _ in 0..50 {
        let leg = LegId::new(clock::now(), &mut rig.rng);
        rig.send(MediaCommand::Open { leg, call: rig.call, rtp_port: 15260 });
        rig.close(leg);
        for port in [15260, 15261] {
            UdpSocket::bind((LOOPBACK, port)).expect("the port is free");
        }
    }
    assert_eq!(rig.workers.counters().legs(), 0);
}

#[test]
fn a_port_in_use_fails_the_leg() {
    let mut rig = Rig::new();
    let _taken = UdpSocket::bind((LOOPBACK, 15271)).expect("a free port");
    let leg = LegId::new(clock::now(), &mut rig.rng);
    rig.send(MediaCommand::Open { leg, call: rig.call, rtp_port: 15270 });
    match rig.event(|event| matches!(event, MediaEvent::OpenFailed { .. })) {
        MediaEvent::OpenFailed { leg: failed, reason } => {
            assert_eq!(failed, leg);
            assert!(reason.contains("127.0.0.1:15271"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // Neither port stays behind, and the slot serves the next leg.
    UdpSocket::bind((LOOPBACK, 15270)).expect("the port is free");
    rig.close(leg);
    let (leg, mut phone) = rig.leg(15272, Codec::Pcma);
    rig.settle();
    phone.press('1');
    assert!(matches!(rig.event(|_| true), MediaEvent::Digit { digit: '1', leg: from } if from == leg));
}

#[test]
fn only_a_talking_leg_is_told_silent() {
    let mut rig = Rig::new();
    let ([a, b], [mut one, _two]) = rig.bridged(15280, [Codec::Pcma, Codec::Pcma]);
    let (waiting, _phone) = rig.leg(15290, Codec::Pcma);
    let until = Instant::now() + Duration::from_millis(1_200);
    let mut silent = Vec::new();
    while Instant::now() < until {
        one.voice(&[1; 160]);
        silent.extend(rig.heard(Duration::from_millis(20)));
    }
    let silent: Vec<LegId> = silent
        .into_iter()
        .map(|event| match event {
            MediaEvent::Silent { leg } => leg,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(silent, [b], "once, and neither {a} who talks nor {waiting} who waits");
}

#[test]
fn reports_and_a_farewell_come_by_rtcp() {
    let mut rig = Rig::new();
    let ([a, _], [mut one, mut two]) = rig.bridged(15300, [Codec::Pcma, Codec::Pcma]);
    // The phone's RTCP port is its RTP port + 1.
    let rtcp = UdpSocket::bind((LOOPBACK, 15303)).expect("a free port");
    rtcp.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
    one.voice(&[1; 160]);
    two.voice(&[1; 160]);
    one.packet();
    let mut datagram = [0; 500];
    let (len, from) = rtcp.recv_from(&mut datagram).expect("a report");
    assert_eq!(from.port(), 15301);
    assert_eq!((datagram[0], datagram[1]), (0x81, 200), "a sender report with one block");
    let counters = rig.workers.counters();
    rtcp.send_to(&datagram[..len], from).expect("loopback takes it");
    rtcp.send_to(b"nonsense", from).expect("loopback takes it");
    let until = Instant::now() + Duration::from_secs(5);
    while counters.malformed() == 0 && Instant::now() < until {
        rig.settle();
    }
    rig.close(a);
    // On a slow machine another report may come before it.
    let is_farewell = |datagram: &[u8]| datagram.len() > 7 && datagram[datagram.len() - 7] == 203;
    loop {
        let len = rtcp.recv(&mut datagram).expect("a farewell (BYE)");
        if is_farewell(&datagram[..len]) {
            break;
        }
    }
    rig.settle();
    assert_eq!(counters.malformed(), 1);
}

#[test]
fn a_recording_has_each_side_on_its_channel() {
    let mut rig = Rig::new();
    let ([customer, agent], [mut caller, mut desk]) = rig.bridged(15320, [Codec::Pcma, Codec::Pcmu]);
    let recording = RecordingId::new(clock::now(), &mut rig.rng);
    rig.record(recording, customer, agent, clock::now());
    rig.settle();
    let begun = Instant::now();
    let (mut left, mut right) = (Tone::sine(440.0), Tone::sine(1_000.0));
    // The caller speaks for 1.5 s, the agent from 0.5 s to 1 s is muted; both are silent for the last 0.3 s.
    for n in 0..75u32 {
        let due = begun + Duration::from_millis(20) * n;
        rig.heard(due.saturating_duration_since(Instant::now()));
        if n == 25 || n == 50 {
            rig.send(MediaCommand::Mute { leg: agent, muted: n == 25 });
        }
        let frame =
            |tone: &mut Tone, codec: Codec| -> Vec<u8> { tone.take(160).map(|s| law(codec).encode(s)).collect() };
        caller.voice(&frame(&mut left, Codec::Pcma));
        desk.voice(&frame(&mut right, Codec::Pcmu));
    }
    rig.heard(Duration::from_millis(300));
    rig.send(MediaCommand::RecordStop { recording });
    let lasted = begun.elapsed();
    let file = sealed(&rig, recording);
    assert!(file.duration_ms.abs_diff(lasted.as_millis() as u64) <= 40, "{} of {lasted:?}", file.duration_ms);
    let (customer, agent) = channels(&rig, &file);
    let at = |side: &[i16], from_ms: usize, to_ms: usize| side[8 * from_ms..8 * to_ms].to_vec();
    assert!(tone::share(&at(&customer, 100, 1_400), 440.0) > 0.95);
    assert!(tone::share(&at(&customer, 100, 1_400), 1_000.0) < 0.01);
    assert!(tone::share(&at(&agent, 100, 400), 1_000.0) > 0.95);
    assert!(at(&agent, 600, 900).iter().all(|sample| *sample == 0), "muted");
    assert!(tone::share(&at(&agent, 1_100, 1_400), 1_000.0) > 0.95);
    assert!(tone::share(&at(&agent, 1_100, 1_400), 440.0) < 0.01);
    assert!(at(&customer, 1_600, 1_700).iter().chain(&at(&agent, 1_600, 1_700)).all(|sample| *sample == 0));
}

#[test]
fn a_recording_without_packets_is_silence_of_its_length() {
    let mut rig = Rig::new();
    let ([customer, agent], _phones) = rig.bridged(15340, [Codec::Pcma, Codec::Pcma]);
    let recording = RecordingId::new(clock::now(), &mut rig.rng);
    rig.record(recording, customer, agent, clock::now());
    rig.settle();
    let begun = Instant::now();
    rig.heard(Duration::from_millis(400));
    // The agent's leg goes, another comes, the file goes on.
    rig.close(agent);
    let (other, mut desk) = rig.leg(15350, Codec::Pcma);
    rig.send(MediaCommand::RecordFrom { recording, side: Side::Agent, legs: vec![other] });
    rig.settle();
    desk.voice(&[0xaa; 160]);
    rig.heard(Duration::from_millis(100));
    rig.send(MediaCommand::RecordStop { recording });
    let lasted = begun.elapsed();
    let file = sealed(&rig, recording);
    assert_eq!(file.channels, 2);
    assert!(file.duration_ms.abs_diff(lasted.as_millis() as u64) <= 40, "{} of {lasted:?}", file.duration_ms);
    let (customer, agent) = channels(&rig, &file);
    assert!(customer.iter().all(|sample| *sample == 0));
    assert_eq!(agent.iter().filter(|sample| **sample == Law::Pcma.linear()[0xaa]).count(), 160);
}

#[test]
fn stopping_seals_what_is_under_way() {
    let mut rig = Rig::new();
    let ([customer, agent], _phones) = rig.bridged(15360, [Codec::Pcma, Codec::Pcma]);
    let recording = RecordingId::new(clock::now(), &mut rig.rng);
    rig.record(recording, customer, agent, clock::now());
    rig.settle();
    let Rig { workers, events, mut recorder, .. } = rig;
    drop(workers);
    if let Some((recorder, thread)) = recorder.take() {
        recorder.close().expect("there is room");
        thread.join();
    }
    let told: Vec<MediaEvent> = events.iter().collect();
    assert!(
        told.iter().any(|event| matches!(event, MediaEvent::RecordingSealed { recording: id, .. } if *id == recording))
    );
    assert_eq!(told.iter().filter(|event| matches!(event, MediaEvent::Closed { .. })).count(), 2);
    UdpSocket::bind((LOOPBACK, 15360)).expect("the port is free");
}

fn sealed(rig: &Rig, id: RecordingId) -> Recorded {
    match rig.event(|event| matches!(event, MediaEvent::RecordingSealed { recording, .. } if *recording == id)) {
        MediaEvent::RecordingSealed { file, .. } => file,
        other => panic!("{other:?}"),
    }
}

/// The customer's and the agent's samples.
fn channels(rig: &Rig, file: &Recorded) -> (Vec<i16>, Vec<i16>) {
    let mut wav = hound::WavReader::open(rig.root.path().join(&file.path)).expect("a WAV file");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    samples.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip()
}

#[test]
fn a_stopped_worker_takes_no_commands() {
    let mut rig = Rig::new();
    rig.settle();
    for lane in &rig.workers.lanes {
        lane.send(Message::Stop).expect("it hears");
    }
    let until = Instant::now() + PATIENCE;
    let leg = LegId::new(clock::now(), &mut rig.rng);
    while rig.workers.send(rig.call, MediaCommand::Close { leg }) != Err(MediaError::Stopped) {
        assert!(Instant::now() < until, "the worker stops");
        rig.heard(Duration::from_millis(5));
    }
    assert!(rig.workers.counters().commands_lost() > 0);
}
