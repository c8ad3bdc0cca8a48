//! A browser made of str0m's other half, over real sockets on loopback: what it says reaches the leg, and the other way.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use cti_base::{Rng, Timestamp};
use cti_media::rtp::{self, Header};
use cti_media::sdp;
use cti_media::webrtc::{Half, ICE_SEED_LEN, IceCredentials};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::*;

const WITHIN: Duration = Duration::from_secs(10);

fn who() -> Who {
    Who { tenant: "acme".into(), agent: "1001".into() }
}

fn leg(number: u64) -> LegId {
    LegId::new(Timestamp::from_millis(1_000), &mut Rng::from_number(number))
}

struct Rig {
    browsers: Browsers,
    thread: BrowsersThread,
    events: Receiver<BrowserEvent>,
    heard: Receiver<(LegId, Vec<u8>)>,
    ear: Sender<(LegId, Vec<u8>)>,
}

impl Rig {
    fn new() -> Self {
        let (told, events) = channel();
        let listen = [Listen { bind: "127.0.0.1:0".parse().expect("an address"), told: None }];
        let (browsers, thread) = Browsers::start(&listen, move |event| {
            let _ = told.send(event);
        })
        .expect("it starts");
        let (ear, heard) = channel();
        Self { browsers, thread, events, heard, ear }
    }

    fn offer(&self, sdp: String) -> Result<String, OfferError> {
        let (told, answer) = channel();
        self.browsers.offer(
            who(),
            sdp,
            Box::new(move |answered| {
                let _ = told.send(answered);
            }),
        );
        answer.recv_timeout(WITHIN).expect("an answer")
    }

    fn attach(&self, leg: LegId) {
        self.browsers.attach(who(), leg, self.ear());
    }

    fn ear(&self) -> Ear {
        let ear = self.ear.clone();
        Arc::new(move |leg, packet| ear.send((leg, packet)).is_ok())
    }

    /// A phone in a page, whose offer was answered as the switch does.
    fn phone(&self, leg: LegId) -> Page {
        let mut page = Page::new();
        let (answer, media) = self.settle(&page.offer, 1);
        self.browsers.join(leg, media, self.ear());
        page.take(&answer);
        page.run_until(|page| page.connected);
        page
    }

    /// The switch's part, with names for ICE of this number.
    fn settle(&self, offer: &str, number: u8) -> (String, LegMedia) {
        let half = Half::new(self.thread.edge.clone(), IceCredentials::from_random([number; ICE_SEED_LEN]), 99);
        let rtp = half.address();
        let local =
            sdp::Local { rtp, session_id: 1, version: 1, srtp: None, wideband: false, webrtc: Some(Box::new(half)) };
        let (answer, media) = sdp::answer(offer.as_bytes(), &local, cti_media::Direction::SendRecv).expect("answered");
        (String::from_utf8(answer.to_vec()).expect("text"), media)
    }

    /// A page that is connected.
    fn page(&self) -> Page {
        let mut page = Page::new();
        let answer = self.offer(page.offer.clone()).expect("an answer");
        page.take(&answer);
        page.run_until(|page| page.connected);
        page
    }
}

/// What a browser does.
struct Page {
    rtc: Rtc,
    socket: UdpSocket,
    offer: String,
    pending: Option<str0m::change::SdpPendingOffer>,
    mid: Mid,
    connected: bool,
    closed: bool,
    /// SSRC, number and payload of what it heard.
    heard: Vec<(u32, u16, Vec<u8>)>,
}

impl Page {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
        let config = RtcConfig::new().set_rtp_mode(true).clear_codecs().enable_pcma(true, false);
        let mut rtc = config.enable_pcmu(true, false).build(Instant::now());
        let here = Candidate::host(socket.local_addr().expect("bound"), Protocol::Udp).expect("a candidate");
        rtc.add_local_candidate(here);
        let mut changes = rtc.sdp_api();
        let mid = changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = changes.apply().expect("an offer");
        let (offer, pending) = (offer.to_sdp_string(), Some(pending));
        Self { rtc, socket, offer, pending, mid, connected: false, closed: false, heard: Vec::new() }
    }

    fn take(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        let pending = self.pending.take().expect("taken once");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("taken");
    }

    fn say(&mut self, number: u64, payload: &[u8]) {
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(self.mid, None).expect("a stream");
        stream.write_rtp(RtpWrite::new(8.into(), number.into(), number as u32 * 160, Instant::now(), payload));
        for _ in 0..10 {
            self.turn();
        }
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let until = Instant::now() + WITHIN;
        while !done(self) {
            assert!(Instant::now() < until, "it does not come to be");
            self.turn();
        }
    }

    fn turn(&mut self) {
        loop {
            match self.rtc.poll_output().expect("it lives") {
                Output::Timeout(_) => break,
                Output::Transmit(transmit) => {
                    self.socket.send_to(&transmit.contents, transmit.destination).expect("sent");
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::Closed) => self.closed = true,
                Output::Event(Event::RtpPacket(packet)) => {
                    let header = &packet.header;
                    self.heard.push((*header.ssrc, header.sequence_number, packet.payload.to_vec()));
                }
                Output::Event(_) => {}
            }
        }
        let mut datagram = [0; 2_000];
        let (now, here) = (Instant::now(), self.socket.local_addr().expect("bound"));
        let input = match self.socket.recv_from(&mut datagram) {
            Ok((len, from)) => {
                let receive = Receive::new(Protocol::Udp, from, here, &datagram[..len]).expect("a packet");
                Input::Receive(now, receive)
            }
            Err(_) => Input::Timeout(now),
        };
        self.rtc.handle_input(input).expect("taken");
    }
}

/// RTP of 20 ms of this byte.
fn packet(ssrc: u32, number: u16, payload_type: u8, byte: u8) -> Vec<u8> {
    let mut packet = vec![byte; 172];
    let header = packet.first_chunk_mut().expect("longer");
    rtp::write(header, false, payload_type, number, u32::from(number) * 160, ssrc);
    packet
}

#[test]
fn what_a_browser_says_reaches_the_leg_and_the_other_way() {
    let rig = Rig::new();
    rig.attach(leg(1));
    let mut page = rig.page();
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Up(who())));
    page.say(7, &[0xd5; 160]);
    let (to, heard) = rig.heard.recv_timeout(WITHIN).expect("heard");
    let header = Header::parse(&heard).expect("RTP");
    assert_eq!((to, header.payload_type, header.sequence, header.timestamp), (leg(1), 8, 7, 7 * 160));
    assert_eq!(&heard[header.payload], [0xd5; 160]);
    for number in 0..5 {
        assert!(rig.browsers.packet(leg(1), &packet(9, number, 0, number as u8)));
    }
    page.run_until(|page| page.heard.len() == 5);
    let payloads: Vec<u8> = page.heard.iter().map(|(_, _, payload)| payload[0]).collect();
    assert_eq!(payloads, [0, 1, 2, 3, 4]);
}

#[test]
fn a_phone_in_a_page_talks_as_its_descriptions_settled_it_and_its_end_is_told() {
    let rig = Rig::new();
    let mut page = rig.phone(leg(1));
    page.say(7, &[0xd5; 160]);
    let (to, heard) = rig.heard.recv_timeout(WITHIN).expect("heard");
    let header = Header::parse(&heard).expect("RTP");
    assert_eq!((to, header.payload_type, header.sequence), (leg(1), 8, 7));
    for number in 0..5 {
        assert!(rig.browsers.packet(leg(1), &packet(9, number, 0, number as u8)));
    }
    page.run_until(|page| page.heard.len() == 5);
    assert!(page.heard.iter().all(|(ssrc, _, _)| *ssrc == 99), "by the stream that was told");
    // What is settled again, as a hold is, changes nothing.
    let (_, media) = rig.settle(&page.offer, 1);
    rig.browsers.join(leg(1), media, rig.ear());
    rig.browsers.packet(leg(1), &packet(9, 5, 0, 5));
    page.run_until(|page| page.heard.len() == 6);
    assert!(rig.events.try_recv().is_err(), "no desk comes or goes");
    page.rtc.close().expect("closed");
    page.turn();
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Gone(leg(1))));
}

#[test]
fn a_leg_that_is_over_lets_its_page_go_and_another_page_takes_a_legs_place() {
    let rig = Rig::new();
    let mut before = rig.phone(leg(1));
    let mut page = rig.phone(leg(1));
    before.run_until(|page| page.closed);
    page.say(1, &[0x11; 160]);
    assert_eq!(rig.heard.recv_timeout(WITHIN).expect("heard").0, leg(1));
    rig.browsers.detach(leg(1));
    page.run_until(|page| page.closed);
    assert!(rig.events.try_recv().is_err(), "it was let go");
}

#[test]
fn one_stream_leaves_however_many_calls_feed_it() {
    let rig = Rig::new();
    let mut page = rig.page();
    for (call, ssrc) in [(1, 11), (2, 22)] {
        rig.attach(leg(call));
        for number in [60_000, 60_001] {
            rig.browsers.packet(leg(call), &packet(ssrc, number, 8, 1));
        }
        page.run_until(|page| page.heard.len() == 2 * call as usize);
    }
    // Of an earlier call: it is not heard.
    rig.browsers.packet(leg(1), &packet(11, 60_002, 8, 1));
    rig.browsers.detach(leg(2));
    rig.browsers.packet(leg(2), &packet(22, 60_002, 8, 1));
    let first = page.heard[0].clone();
    for _ in 0..20 {
        page.turn();
    }
    let numbers: Vec<(u32, u16)> = page.heard.iter().map(|(ssrc, number, _)| (*ssrc, *number)).collect();
    let expect: Vec<(u32, u16)> = (0..4).map(|more| (first.0, first.1 + more)).collect();
    assert_eq!(numbers, expect);
}

#[test]
fn a_page_loaded_anew_takes_the_place_of_the_one_before_and_the_call_goes_on_with_it() {
    let rig = Rig::new();
    rig.attach(leg(1));
    let mut before = rig.page();
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Up(who())));
    let began = Instant::now();
    let mut page = rig.page();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Down(who())));
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Up(who())));
    before.run_until(|page| page.closed);
    page.say(1, &[0x11; 160]);
    assert_eq!(rig.heard.recv_timeout(WITHIN).expect("heard").0, leg(1));
    rig.browsers.packet(leg(1), &packet(9, 1, 8, 3));
    page.run_until(|page| !page.heard.is_empty());
}

#[test]
fn a_page_that_falls_silent_in_a_call_is_away_until_it_is_heard() {
    let rig = Rig::new();
    let mut page = rig.page();
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Up(who())));
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(2_500) {
        page.turn();
    }
    assert!(rig.events.try_recv().is_err(), "nobody need say anything without a call");
    rig.attach(leg(1));
    let quiet = Instant::now();
    while rig.events.try_recv() != Ok(BrowserEvent::Down(who())) {
        assert!(quiet.elapsed() < WITHIN, "it is not missed");
        page.turn();
    }
    assert!(quiet.elapsed() > Duration::from_millis(1_900), "{:?}", quiet.elapsed());
    page.say(1, &[0xd5; 160]);
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Up(who())));
}

#[test]
fn a_page_that_closes_and_a_server_that_ends_are_told() {
    let rig = Rig::new();
    let mut page = rig.page();
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Up(who())));
    page.rtc.close().expect("closed");
    page.turn();
    assert_eq!(rig.events.recv_timeout(WITHIN), Ok(BrowserEvent::Down(who())));
    let mut page = rig.page();
    drop(rig.thread);
    page.run_until(|page| page.closed);
}

#[test]
fn what_is_no_offer_is_refused_with_words() {
    let rig = Rig::new();
    for text in ["", "v=0", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", "nonsense\r\n"] {
        let refused = rig.offer(text.to_owned());
        assert!(matches!(&refused, Err(OfferError::Refused(reason)) if !reason.is_empty()), "{text:?}: {refused:?}");
    }
    let long = "x".repeat(OFFER_BYTES_MAX + 1);
    assert!(matches!(rig.offer(long), Err(OfferError::Refused(_))));
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = SocketAddr::from(([127, 0, 0, 1], rig.thread.port));
    for datagram in [&[0u8; 40][..], &[22, 254, 253, 0], &[0x80; 20], b""] {
        stranger.send_to(datagram, port).expect("sent");
    }
    rig.page();
}

#[test]
fn a_stream_of_a_stranger_is_cut_and_one_that_says_nothing_is_left_for_a_while() {
    let rig = Rig::new();
    assert!(rig.thread.edge.streams);
    let connect = || TcpStream::connect(rig.thread.edge.addresses[0]).expect("connected");
    let ends = |mut stream: &TcpStream, within: Duration| {
        stream.set_read_timeout(Some(within)).expect("a timeout");
        let read = stream.read(&mut [0; 8]).map_err(|error| error.kind());
        matches!(read, Ok(0) | Err(ErrorKind::ConnectionReset))
    };
    let (mut stranger, silent) = (connect(), connect());
    stranger.write_all(&[0, 3, 1, 2, 3]).expect("sent");
    assert!(ends(&stranger, WITHIN));
    assert!(!ends(&silent, Duration::from_millis(300)));
    // Browsers are served all the same.
    rig.page();
}
