use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Direction, Law};

const START: Timestamp = Timestamp::from_millis(1_763_000_000_000);

fn at(ms: u64) -> Timestamp {
    START + Duration::from_millis(ms)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

const PEER: &str = "198.51.100.9:5000";

fn media(codec: Codec) -> LegMedia {
    LegMedia {
        remote_rtp: Some(addr(PEER)),
        remote_rtcp: None,
        codec,
        payload_type: codec.payload_type(),
        dtmf_payload_type: Some(100),
        direction: Direction::SendRecv,
        srtp: None,
        webrtc: None,
    }
}

fn leg(codec: Codec) -> Leg {
    let mut leg = Leg::new(7, 1_000, 50_000);
    leg.connect(media(codec));
    leg
}

fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; HEADER_LEN];
    if let Some(header) = packet.first_chunk_mut() {
        rtp::write(header, false, payload_type, sequence, timestamp, 99);
    }
    packet.extend_from_slice(payload);
    packet
}

/// What a leg makes of one packet of another: marker, type, sequence, timestamp, ssrc and payload.
fn relayed(leg: &mut Leg, now: Timestamp, packet: &[u8], content: Content) -> Option<(Header, Vec<u8>)> {
    let mut datagram = packet.to_vec();
    let header = Header::parse(&datagram).expect("a header");
    let (to, sent) = leg.relay(now, header, content, &mut datagram)?;
    assert_eq!(to, addr(PEER));
    let header = Header::parse(sent).expect("a header");
    Some((header.clone(), sent[header.payload].to_vec()))
}

#[test]
fn the_peer_is_learnt_and_others_are_strangers() {
    let voice = packet(8, 1, 1, &[0xd5; 160]);
    let check = |sources: &[(&str, bool)], latched: &str| {
        let mut leg = leg(Codec::Pcma);
        for (source, heard) in sources {
            let incoming = leg.receive(START, addr(source), &voice);
            let expect = !matches!(incoming, Incoming::Dropped(Dropped::Stranger));
            assert_eq!(expect, *heard, "{source} of {sources:?}");
        }
        assert_eq!(leg.target(), Some(addr(latched)), "{sources:?}");
        assert_eq!(leg.stats().strangers, sources.iter().filter(|(_, heard)| !heard).count() as u64);
    };
    check(&[], PEER);
    check(&[(PEER, true), ("198.51.100.9:6000", false), ("203.0.113.1:5000", false), (PEER, true)], PEER);
    // Behind a NAT: the first that comes, until a better one does.
    check(&[("203.0.113.1:5000", true), ("203.0.113.2:5000", false)], "203.0.113.1:5000");
    check(&[("203.0.113.1:5000", true), ("198.51.100.9:6000", true), ("203.0.113.1:5000", false)], "198.51.100.9:6000");
    check(&[("198.51.100.9:6000", true), ("198.51.100.9:6002", false), (PEER, true)], PEER);
}

#[test]
fn a_new_address_is_learnt_anew_and_a_hold_is_not() {
    let voice = packet(8, 1, 1, &[0xd5; 160]);
    let mut leg = leg(Codec::Pcma);
    leg.receive(START, addr("203.0.113.1:5000"), &voice);
    leg.connect(LegMedia { remote_rtp: None, direction: Direction::RecvOnly, ..media(Codec::Pcma) });
    assert_eq!(leg.target(), None);
    leg.connect(media(Codec::Pcma));
    assert_eq!(leg.target(), Some(addr("203.0.113.1:5000")));
    leg.connect(LegMedia { remote_rtp: Some(addr("192.0.2.77:4000")), ..media(Codec::Pcma) });
    assert_eq!(leg.target(), Some(addr("192.0.2.77:4000")));
}

#[test]
fn datagrams_are_told_apart() {
    let check = |datagram: &[u8], expect: fn(&Incoming) -> bool| {
        let incoming = leg(Codec::Pcma).receive(START, addr(PEER), datagram);
        assert!(expect(&incoming), "{datagram:?}: {incoming:?}");
    };
    check(&packet(8, 1, 1, &[1]), |i| matches!(i, Incoming::Audio { codec: Codec::Pcma, .. }));
    check(&packet(0, 1, 1, &[1]), |i| matches!(i, Incoming::Audio { codec: Codec::Pcmu, .. }));
    check(&packet(100, 1, 1, &[5, 10, 0, 160]), |i| matches!(i, Incoming::Event { digit: Some('5'), .. }));
    check(&packet(101, 1, 1, &[11, 10, 0, 160]), |i| matches!(i, Incoming::Event { digit: Some('#'), .. }));
    // Comfort noise and an unknown codec make no peer.
    check(&packet(13, 1, 1, &[1]), |i| matches!(i, Incoming::Dropped(Dropped::Unknown)));
    check(b"hello", |i| matches!(i, Incoming::Dropped(Dropped::Malformed)));
    let mut unconnected = Leg::new(1, 1, 1);
    let incoming = unconnected.receive(START, addr(PEER), &packet(8, 1, 1, &[1]));
    assert_eq!(incoming, Incoming::Dropped(Dropped::Unwanted));
    let mut held = leg(Codec::Pcma);
    held.connect(LegMedia { direction: Direction::Inactive, ..media(Codec::Pcma) });
    assert_eq!(held.receive(START, addr(PEER), &packet(8, 1, 1, &[1])), Incoming::Dropped(Dropped::Unwanted));
}

#[test]
fn a_relayed_packet_is_the_next_of_this_stream() {
    let mut leg = leg(Codec::Pcmu);
    let (header, payload) =
        relayed(&mut leg, START, &packet(8, 40_000, 9_000, &[0xd5; 160]), Content::Audio(Codec::Pcma))
            .expect("it is sent");
    assert_eq!((header.marker, header.payload_type, header.ssrc), (true, 0, 7));
    assert_eq!((header.sequence, header.timestamp), (1_001, 50_000));
    assert_eq!(payload, [leg_silence_after_transcoding(); 160]);
    // Distances are kept: one lost, one late.
    let mut numbers = |sequence: u16, timestamp: u32, ms: u64| {
        relayed(&mut leg, at(ms), &packet(8, sequence, timestamp, &[1]), Content::Audio(Codec::Pcma))
            .map(|(header, _)| (header.marker, header.sequence, header.timestamp))
    };
    assert_eq!(numbers(40_002, 9_320, 40), Some((false, 1_003, 50_320)));
    assert_eq!(numbers(40_001, 9_160, 41), Some((false, 1_002, 50_160)));
    // From before the relay began.
    assert_eq!(numbers(39_990, 9_000, 42), None);
    // A wild jump begins anew right behind.
    assert_eq!(numbers(10, 700, 60), Some((true, 1_004, 50_480)));
    assert_eq!(leg.stats().packets_out, 4);
}

fn leg_silence_after_transcoding() -> u8 {
    Law::Pcmu.encode(Law::Pcma.linear()[0xd5])
}

#[test]
fn the_stream_goes_on_when_its_feed_changes() {
    let mut leg = leg(Codec::Pcma);
    let mut frame = [0; FRAME_LEN];
    let mut seen = Vec::new();
    for tick in 0..3 {
        leg.frame(at(20 * tick), tick, &mut frame).expect("it is sent");
        let header = Header::parse(&frame).expect("a header");
        seen.push((header.marker, header.sequence, header.timestamp));
    }
    // Two ticks were left out.
    leg.frame(at(100), 5, &mut frame).expect("it is sent");
    let header = Header::parse(&frame).expect("a header");
    seen.push((header.marker, header.sequence, header.timestamp));
    // Relay from another clock 60 ms later, a digit within, and frames again after 100 ms more.
    for (sequence, timestamp, ms, content) in
        [(500, 777, 160, Content::Audio(Codec::Pcma)), (501, 937, 180, Content::Event), (502, 937, 200, Content::Event)]
    {
        let (header, _) =
            relayed(&mut leg, at(ms), &packet(8, sequence, timestamp, &[5, 0, 0, 160]), content).expect("it is sent");
        seen.push((header.marker, header.sequence, header.timestamp));
    }
    leg.frame(at(300), 9, &mut frame).expect("it is sent");
    let header = Header::parse(&frame).expect("a header");
    seen.push((header.marker, header.sequence, header.timestamp));
    assert_eq!(
        seen,
        [
            (true, 1_001, 50_000),
            (false, 1_002, 50_160),
            (false, 1_003, 50_320),
            (false, 1_004, 50_800),
            (true, 1_005, 51_280),
            (false, 1_006, 51_440),
            (false, 1_007, 51_440),
            (true, 1_008, 52_400)
        ]
    );
}

#[test]
fn digits_go_out_by_the_peers_number_or_not_at_all() {
    let event = packet(96, 1, 1, &[5, 10, 0, 160]);
    let mut takes = leg(Codec::Pcma);
    assert_eq!(relayed(&mut takes, START, &event, Content::Event).map(|(h, _)| h.payload_type), Some(100));
    let mut takes_none = leg(Codec::Pcma);
    takes_none.connect(LegMedia { dtmf_payload_type: None, ..media(Codec::Pcma) });
    assert_eq!(relayed(&mut takes_none, START, &event, Content::Event), None);
}

#[test]
fn a_held_peer_is_sent_nothing() {
    let mut leg = leg(Codec::Pcma);
    leg.connect(LegMedia { direction: Direction::RecvOnly, ..media(Codec::Pcma) });
    assert_eq!(relayed(&mut leg, START, &packet(8, 1, 1, &[1]), Content::Audio(Codec::Pcma)), None);
    assert_eq!(leg.frame(START, 0, &mut [0; FRAME_LEN]), None);
}

#[test]
fn reports_go_to_the_next_port_and_come_from_the_peer() {
    let mut one = leg(Codec::Pcma);
    let mut two = leg(Codec::Pcma);
    one.receive(START, addr(PEER), &packet(8, 1, 1, &[1]));
    one.frame(START, 0, &mut [0; FRAME_LEN]);
    let mut out = Vec::new();
    assert_eq!(one.report(at(5_000), false, &mut out), Some(addr("198.51.100.9:5001")));
    assert_eq!(out[1], 200, "a sender report");
    assert!(two.receive_rtcp(at(5_000), addr("198.51.100.9:5001"), &out));
    assert!(!two.receive_rtcp(at(5_000), addr("203.0.113.66:5001"), &out));
    assert!(!two.receive_rtcp(at(5_000), addr("198.51.100.9:5001"), b"hello"));
    assert_eq!(Leg::new(1, 1, 1).report(START, false, &mut out), None);
}

proptest! {
    #[test]
    fn no_datagram_panics_and_numbers_never_repeat(
        steps in prop::collection::vec((any::<bool>(), 0u16..400, any::<u32>(), 0u64..50), 1..150),
    ) {
        let mut leg = leg(Codec::Pcma);
        let mut now = START;
        let mut newest = None;
        for (tick, (relay, sequence, timestamp, ms)) in steps.into_iter().enumerate() {
            now = now + Duration::from_millis(ms);
            let fresh = if relay {
                relayed(&mut leg, now, &packet(8, sequence, timestamp, &[1]), Content::Audio(Codec::Pcma)).map(|(h, _)| h)
            } else {
                let mut frame = [0; FRAME_LEN];
                leg.frame(now, tick as u64, &mut frame);
                Some(Header::parse(&frame).expect("a header"))
            };
            if let Some(header) = fresh {
                // A change of feed never steps back.
                if header.marker && let Some(newest) = newest {
                    prop_assert!((header.sequence.wrapping_sub(newest) as i16) > 0);
                }
                if newest.is_none_or(|newest| (header.sequence.wrapping_sub(newest) as i16) > 0) {
                    newest = Some(header.sequence);
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut leg = leg(Codec::Pcma);
        leg.receive(START, addr(PEER), &bytes);
        leg.receive_rtcp(START, addr(PEER), &bytes);
    }
}
