use crate::sdp::{Local, SdpError, answer, is_browsers, offer, read_answer, read_answer_of};
use crate::webrtc::{Edge, Half, ICE_SEED_LEN, IceCredentials};
use crate::{Codec, Direction, LegMedia};

fn local() -> Local {
    let addresses =
        vec!["192.0.2.1:20999".parse().expect("an address"), "127.0.0.1:20999".parse().expect("an address")];
    let edge = Edge { addresses, streams: true, fingerprint: "sha-256 01:AB".parse().expect("a fingerprint") };
    let half = Half::new(edge, IceCredentials::from_random([3; ICE_SEED_LEN]), 77);
    let rtp = "192.0.2.1:20999".parse().expect("an address");
    Local { rtp, session_id: 7, version: 3, srtp: None, wideband: false, webrtc: Some(Box::new(half)) }
}

/// What Chromium offers for a microphone, shortened.
const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a0\r\n\
    a=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\n\
    m=audio 50123 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 198.51.100.9\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2113937151 f9b6.local 50123 typ host generation 0\r\n\
    a=ice-ufrag:Gk1r\r\na=ice-pwd:d6TqjnK6kV2DBh0NGzs0WZyb\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 9A:bc\r\na=setup:actpass\r\na=mid:a0\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=sendrecv\r\na=msid:stream track\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
    a=rtpmap:111 opus/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
    a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6\r\na=ssrc:3570614608 msid:stream track\r\n";

fn answered(offer: &str, local: &Local) -> (String, LegMedia) {
    let (text, media) = answer(offer.as_bytes(), local, Direction::SendRecv).expect("answered");
    (String::from_utf8(text.to_vec()).expect("text"), media)
}

#[test]
fn a_browsers_offer_is_answered_with_our_half_of_the_connection() {
    assert!(is_browsers(OFFER.as_bytes()));
    let (text, media) = answered(OFFER, &local());
    for line in [
        "a=group:BUNDLE a0",
        "a=ice-lite",
        "m=audio 20999 UDP/TLS/RTP/SAVPF 0 126",
        "a=mid:a0",
        "a=rtcp-mux",
        "a=setup:passive",
        "a=fingerprint:sha-256 01:AB",
        "a=ice-ufrag:DDDDDDDD",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 20999 typ host",
        "a=candidate:2 1 udp 2130706175 127.0.0.1 20999 typ host",
        "a=candidate:3 1 tcp 1526726655 192.0.2.1 20999 typ host tcptype passive",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=ssrc:77 cname:zongji",
        "a=sendrecv",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    let settled = media.webrtc.expect("a browser's");
    assert_eq!((media.remote_rtp, media.remote_rtcp, media.codec), (Some(LegMedia::BROWSER), None, Codec::Pcmu));
    assert_eq!((media.dtmf_payload_type, media.direction), (Some(126), Direction::SendRecv));
    assert_eq!(
        (settled.ice.ufrag.as_str(), settled.ice.password.expose().as_str()),
        ("Gk1r", "d6TqjnK6kV2DBh0NGzs0WZyb")
    );
    assert_eq!((settled.ssrc, settled.mid_extension, settled.ours.begins), (Some(3_570_614_608), Some(4), false));
    assert_eq!((settled.fingerprint.to_string().as_str(), settled.ours.mid.as_str()), ("sha-256 9A:BC", "a0"));
}

#[test]
fn our_offer_and_a_browsers_answer_settle_the_same() {
    let ours = local();
    let text = offer(&ours, Codec::Pcma, Direction::SendRecv);
    let offered = String::from_utf8(text.to_vec()).expect("text");
    assert!(offered.contains("m=audio 20999 UDP/TLS/RTP/SAVPF 8 0 101\r\n") && offered.contains("a=setup:actpass\r\n"));
    let theirs = Local { webrtc: ours.webrtc.clone().map(|half| Box::new(Half { ssrc: 5, ..*half })), ..local() };
    let (reply, _) = answered(&offered, &theirs);
    let media = read_answer_of(&reply.clone().into_bytes(), &ours).expect("read");
    let settled = media.webrtc.expect("a browser's");
    assert_eq!(
        (settled.ours.begins, settled.ssrc, settled.ours.ssrc, settled.mid_extension),
        (true, Some(5), 77, Some(1))
    );
    // Neither kind of answer is one to the other kind of offer.
    assert_eq!(read_answer(reply.as_bytes()).err(), Some(SdpError::NoAudio));
    let plain =
        "v=0\r\no=- 1 1 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
    assert_eq!(read_answer_of(plain.as_bytes(), &ours).err(), Some(SdpError::NoAudio));
}

#[test]
fn who_began_the_handshake_goes_on_to_be_who_does() {
    let mut ours = local();
    let offered = OFFER.replace("a=setup:actpass", "a=setup:passive");
    let (text, media) = answered(&offered, &ours);
    assert!(text.contains("a=setup:active\r\n"));
    ours.settled(&media);
    let (text, _) = answered(OFFER, &ours);
    assert!(text.contains("a=setup:active\r\n") && text.contains("a=mid:a0\r\n"), "{text}");
}

#[test]
fn a_hold_is_a_direction_and_video_is_refused_with_its_name() {
    let held = OFFER.replace("a=sendrecv", "a=sendonly");
    let video = format!("{held}m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:a1\r\n");
    let (text, media) = answered(&video, &local());
    assert_eq!(media.direction, Direction::RecvOnly);
    assert!(
        text.contains("a=recvonly\r\n") && text.contains("m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:a1\r\n"),
        "{text}"
    );
    assert!(text.contains("a=group:BUNDLE a0\r\n"));
}

#[test]
fn an_offer_that_lacks_a_part_or_meets_none_of_ours_is_refused() {
    let refused = |offer: &str, local: &Local| answer(offer.as_bytes(), local, Direction::SendRecv).err();
    for part in [
        "a=ice-ufrag:Gk1r\r\n",
        "a=ice-pwd:d6TqjnK6kV2DBh0NGzs0WZyb\r\n",
        "a=fingerprint:sha-256 9A:bc\r\n",
        "a=rtcp-mux\r\n",
    ] {
        assert_eq!(refused(&OFFER.replace(part, ""), &local()), Some(SdpError::NoCommonCrypto), "without {part}");
    }
    assert_eq!(refused(OFFER, &Local { webrtc: None, ..local() }), Some(SdpError::NoCommonCrypto));
    // One that also offers plain sound beside what we can not speak is taken by that.
    let both =
        format!("{}m=audio 4000 RTP/AVP 8\r\nc=IN IP4 198.51.100.9\r\n", OFFER.replace("a=ice-ufrag:Gk1r\r\n", ""));
    assert!(!is_browsers(both.as_bytes()));
    let (text, media) = answered(&both, &Local { webrtc: None, ..local() });
    assert!(text.contains("m=audio 0 UDP/TLS/RTP/SAVPF") && media.webrtc.is_none(), "{text}");
}
