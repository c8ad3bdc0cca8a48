use proptest::prelude::*;

use super::*;

fn local() -> Local {
    Local {
        rtp: "192.0.2.1:15100".parse().expect("an address"),
        session_id: 7,
        version: 3,
        srtp: None,
        wideband: false,
        webrtc: None,
    }
}

/// An offer of the lines given, after the usual head.
fn sdp(head: &str, lines: &str) -> String {
    let text = format!("v=0\no=- 1 1 IN IP4 198.51.100.9\ns=-\n{head}\nt=0 0\n{lines}\n");
    text.lines().filter(|line| !line.is_empty()).map(|line| format!("{}\r\n", line.trim())).collect()
}

fn answered(offer: &str, direction: Direction) -> (String, LegMedia) {
    let (text, media) = answer(offer.as_bytes(), &local(), direction).expect("the offer is answered");
    (String::from_utf8(text.to_vec()).expect("an answer is text"), media)
}

const C: &str = "c=IN IP4 198.51.100.9";

#[test]
fn our_offer_reads_back() {
    let text = offer(&local(), Codec::Pcma, Direction::SendRecv);
    let text = std::str::from_utf8(&text).expect("text");
    assert_eq!(
        text,
        "v=0\r\no=- 7 3 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 15100 RTP/AVP 8 0 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
         a=ptime:20\r\na=sendrecv\r\n"
    );
    let (_, media) = answered(text, Direction::SendRecv);
    assert_eq!((media.codec, media.payload_type, media.dtmf_payload_type), (Codec::Pcma, 8, Some(101)));
    assert_eq!(media.remote_rtp, Some(local().rtp));
    assert_eq!(media.remote_rtcp, None);
}

#[test]
fn the_first_codec_of_the_offer_is_taken_with_its_numbers() {
    let check = |lines: &str, expect: (Codec, u8, Option<u8>)| {
        let (text, media) = answered(&sdp(C, lines), Direction::SendRecv);
        assert_eq!((media.codec, media.payload_type, media.dtmf_payload_type), expect, "{lines}");
        // The answer speaks with the offer's numbers.
        let again = read_answer(text.as_bytes()).expect("our answer reads");
        assert_eq!((again.codec, again.payload_type, again.dtmf_payload_type), expect, "{text}");
    };
    check("m=audio 5000 RTP/AVP 0 8", (Codec::Pcmu, 0, None));
    check("m=audio 5000 RTP/AVP 8", (Codec::Pcma, 8, None));
    check("m=audio 5000 RTP/AVP 18 4 8 0", (Codec::Pcma, 8, None));
    check(
        "m=audio 5000 RTP/AVP 96 97 100\na=rtpmap:96 opus/48000/2\na=rtpmap:97 pcma/8000/1\na=rtpmap:100 telephone-event/8000\na=fmtp:100 0-16",
        (Codec::Pcma, 97, Some(100)),
    );
    // A telephone-event at another clock rate is another format.
    check(
        "m=audio 5000 RTP/AVP 0 96 101\na=rtpmap:96 telephone-event/48000\na=rtpmap:101 TELEPHONE-EVENT/8000",
        (Codec::Pcmu, 0, Some(101)),
    );
    check("m=audio 5000 RTP/AVP 0 96\na=rtpmap:96 telephone-event/16000", (Codec::Pcmu, 0, None));
    // A static number that is mapped to something else is not PCMU.
    check("m=audio 5000 RTP/AVP 0 8\na=rtpmap:0 L16/8000", (Codec::Pcma, 8, None));
    check("m=audio 5000 RTP/AVPF 0", (Codec::Pcmu, 0, None));
    check("m=audio 5000/2 RTP/AVP 0", (Codec::Pcmu, 0, None));
    check("m=audio 5000 RTP/AVP  8  0 \na=ptime:30\na=maxptime:240", (Codec::Pcma, 8, None));
}

#[test]
fn holds_are_understood() {
    let check = |head: &str, lines: &str, ours: Direction, expect: Direction, remote: Option<&str>| {
        let (text, media) = answered(&sdp(head, lines), ours);
        assert_eq!(media.direction, expect, "{head} {lines}");
        assert_eq!(media.remote_rtp.map(|a| a.to_string()).as_deref(), remote, "{head} {lines}");
        let word = match expect {
            Direction::SendRecv => "a=sendrecv",
            Direction::SendOnly => "a=sendonly",
            Direction::RecvOnly => "a=recvonly",
            Direction::Inactive => "a=inactive",
        };
        assert!(text.lines().any(|line| line == word), "{text}");
    };
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let at = Some("198.51.100.9:5000");
    check(C, "m=audio 5000 RTP/AVP 0", SendRecv, SendRecv, at);
    check(C, "m=audio 5000 RTP/AVP 0\na=sendonly", SendRecv, RecvOnly, at);
    check(C, "m=audio 5000 RTP/AVP 0\na=recvonly", SendRecv, SendOnly, at);
    check(C, "m=audio 5000 RTP/AVP 0\na=inactive", SendRecv, Inactive, at);
    check(C, "m=audio 5000 RTP/AVP 0\na=sendonly", SendOnly, Inactive, at);
    check(C, "m=audio 5000 RTP/AVP 0", SendOnly, SendOnly, at);
    // The session's word counts for lines without their own.
    check(&format!("{C}\na=sendonly"), "m=audio 5000 RTP/AVP 0", SendRecv, RecvOnly, at);
    check(&format!("{C}\na=sendonly"), "m=audio 5000 RTP/AVP 0\na=sendrecv", SendRecv, SendRecv, at);
    // The old hold.
    check("c=IN IP4 0.0.0.0", "m=audio 5000 RTP/AVP 0", SendRecv, RecvOnly, None);
    check(C, "m=audio 5000 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=inactive", SendRecv, Inactive, None);
    check("c=IN IP6 ::", "m=audio 5000 RTP/AVP 0", SendRecv, RecvOnly, None);
    // A stream that is off.
    check(C, "m=audio 0 RTP/AVP 0", SendRecv, Inactive, None);
}

#[test]
fn addresses_come_from_the_nearest_line() {
    let check = |head: &str, lines: &str, rtp: Option<&str>, rtcp: Option<&str>| {
        let (_, media) = answered(&sdp(head, lines), Direction::SendRecv);
        assert_eq!(media.remote_rtp.map(|a| a.to_string()).as_deref(), rtp, "{head} {lines}");
        assert_eq!(media.remote_rtcp.map(|a| a.to_string()).as_deref(), rtcp, "{head} {lines}");
    };
    check(C, "m=audio 5000 RTP/AVP 0\nc=IN IP4 203.0.113.5", Some("203.0.113.5:5000"), None);
    check("", "m=audio 5000 RTP/AVP 0\nc=IN IP4 203.0.113.5", Some("203.0.113.5:5000"), None);
    check("c=IN IP6 2001:db8::7", "m=audio 5000 RTP/AVP 0", Some("[2001:db8::7]:5000"), None);
    check("c=IN IP4 phone.example.com", "m=audio 5000 RTP/AVP 0", None, None);
    check(C, "m=audio 5000 RTP/AVP 0\na=rtcp:5001", Some("198.51.100.9:5000"), None);
    check(C, "m=audio 5000 RTP/AVP 0\na=rtcp:5100", Some("198.51.100.9:5000"), Some("198.51.100.9:5100"));
    check(
        C,
        "m=audio 5000 RTP/AVP 0\na=rtcp:5100 IN IP4 203.0.113.8",
        Some("198.51.100.9:5000"),
        Some("203.0.113.8:5100"),
    );
    check(C, "m=audio 65535 RTP/AVP 0\na=rtcp:x", Some("198.51.100.9:65535"), None);
}

#[test]
fn every_line_of_the_offer_is_answered_in_its_order() {
    let lines = "m=video 6000 RTP/AVP 96\na=rtpmap:96 H264/90000\nm=audio 5000 RTP/SAVP 0\nm=audio 5002 RTP/AVP 8\nm=audio 5004 RTP/AVP 0\nm=image 7000 udptl t38";
    let (text, media) = answered(&sdp(C, lines), Direction::SendRecv);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 15100 RTP/AVP 8",
            "m=audio 0 RTP/AVP 0",
            "m=image 0 udptl t38"
        ]
    );
    assert_eq!(media.remote_rtp.map(|a| a.port()), Some(5002));
    // A line that is switched off gives way to one that is on, and is answered with port 0 where it is the only one.
    let (text, _) = answered(&sdp(C, "m=audio 0 RTP/AVP 0\nm=audio 5002 RTP/AVP 8"), Direction::SendRecv);
    assert!(text.contains("m=audio 0 RTP/AVP 0\r\n") && text.contains("m=audio 15100 RTP/AVP 8\r\n"), "{text}");
    let (text, _) = answered(&sdp(C, "m=audio 0 RTP/AVP 0"), Direction::SendRecv);
    assert!(text.contains("m=audio 0 RTP/AVP 0\r\n"), "{text}");
}

#[test]
fn what_can_not_be_taken_is_told_apart() {
    let check = |text: &str, expect: &str| {
        let error = answer(text.as_bytes(), &local(), Direction::SendRecv).expect_err(text);
        assert!(error.to_string().contains(expect), "{text}: {error}");
    };
    check(&sdp(C, "m=audio 5000 RTP/SAVP 0"), "no common way of SRTP's keys");
    check(&sdp(C, "m=audio 5000 UDP/TLS/RTP/SAVPF 0"), "no common way");
    check(&sdp(C, "m=video 5000 RTP/AVP 96"), "no audio stream");
    check(&sdp(C, ""), "no audio stream");
    check(&sdp(C, "m=audio 5000 RTP/AVP 18"), "no common codec");
    check(&sdp(C, "m=audio 5000 RTP/AVP 101\na=rtpmap:101 telephone-event/8000"), "no common codec");
    check(&sdp(C, "m=audio 5000 RTP/AVP x 300 200"), "no common codec");
    check(&sdp("", "m=audio 5000 RTP/AVP 0"), "no c= line");
    check(&sdp("c=IN IP4 224.2.1.1/127", "m=audio 5000 RTP/AVP 0"), "multicast");
    check(&sdp(C, "m=audio 70000 RTP/AVP 0"), "can not be read");
    check("hello", "can not be read");
    check("", "can not be read");
    check(&sdp(C, &"m=video 6000 RTP/AVP 96\n".repeat(33)), "media lines");
    assert_eq!(read_answer(sdp(C, "m=audio 0 RTP/AVP 0").as_bytes()), Err(SdpError::NoAudio));
}

#[test]
fn latin_1_in_a_name_does_no_harm() {
    let mut text = sdp(C, "m=audio 5000 RTP/AVP 0").into_bytes();
    let at = text.windows(3).position(|w| w == b"s=-").expect("a session name");
    text[at + 2] = 0xe9;
    assert!(answer(&text, &local(), Direction::SendRecv).is_ok());
}

#[test]
fn only_the_origin_line_does_not_count_as_a_change() {
    let first = offer(&local(), Codec::Pcma, Direction::SendRecv);
    let again = offer(&Local { version: 4, ..local() }, Codec::Pcma, Direction::SendRecv);
    let held = offer(&Local { version: 4, ..local() }, Codec::Pcma, Direction::SendOnly);
    assert!(!differs(&first, &again));
    assert!(differs(&first, &held));
}

const SECURE: &str = "m=audio 5000 RTP/SAVP 8 101\na=rtpmap:101 telephone-event/8000\na=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:x\n\
                      a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20\n\
                      a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

#[test]
fn an_offer_of_srtp_is_answered_with_our_key_and_its_first_suite_that_we_speak() {
    let offered = sdp(C, SECURE);
    assert!(wants_srtp(offered.as_bytes()) && !wants_srtp(sdp(C, "m=audio 5000 RTP/AVP 8").as_bytes()));
    assert_eq!(
        answer(offered.as_bytes(), &local(), Direction::SendRecv).err(),
        Some(SdpError::NoCommonCrypto),
        "without a key"
    );
    let ours = Master::new([7; MASTER_LEN]);
    let local = Local { srtp: Some(ours.clone()), ..local() };
    let (text, media) = answer(offered.as_bytes(), &local, Direction::SendRecv).expect("answered");
    let text = std::str::from_utf8(&text).expect("text");
    let key = BASE64.encode([7; MASTER_LEN]);
    assert!(text.contains("m=audio 15100 RTP/SAVP 8 101\r\n"), "{text}");
    assert!(text.contains(&format!("a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{key}\r\n")), "{text}");
    let theirs = BASE64.decode("d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj").expect("RFC 4568's own");
    let theirs = Master::new(theirs.try_into().expect("30 bytes"));
    assert_eq!(media.srtp, Some(Box::new(SrtpKeys { suite: Suite::Sha1_32, ours, theirs })));
    // A plain answer to it is none, and ours to a plain offer has no key.
    let (plain, media) =
        answer(sdp(C, "m=audio 5000 RTP/AVP 8").as_bytes(), &local, Direction::SendRecv).expect("answered");
    assert!(media.srtp.is_none() && !String::from_utf8_lossy(&plain).contains("crypto"));
}

#[test]
fn a_crypto_line_that_we_do_not_speak_is_no_common_way() {
    let local = Local { srtp: Some(Master::new([7; MASTER_LEN])), ..local() };
    let good = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    for line in [
        String::new(),
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short".to_owned(),
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80".to_owned(),
        format!("a=crypto:1 F8_128_HMAC_SHA1_80 inline:{good}"),
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{good}|2^20|1:4"),
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{good} UNENCRYPTED_SRTP"),
        format!("a=crypto:x AES_CM_128_HMAC_SHA1_80 inline:{good}"),
    ] {
        let offered = sdp(C, &format!("m=audio 5000 RTP/SAVP 8\n{line}"));
        let answered = answer(offered.as_bytes(), &local, Direction::SendRecv);
        assert_eq!(answered.err(), Some(SdpError::NoCommonCrypto), "{line}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = answer(&text, &local(), Direction::SendRecv);
        let _ = read_answer(&text);
    }

    #[test]
    fn no_mangled_offer_panics_and_every_answer_reads(at in 0usize..300, byte in any::<u8>(), cut in 0usize..300) {
        let lines = "m=audio 5000 RTP/AVP 97 0 101\na=rtpmap:97 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=rtcp:5100 IN IP4 1.2.3.4\na=sendonly\nm=video 6000 RTP/AVP 96";
        let mut text = sdp(C, lines).into_bytes();
        if let Some(place) = text.get_mut(at) {
            *place = byte;
        }
        let text = &text[..text.len() - cut.min(text.len())];
        if let Ok((answer, _)) = answer(text, &local(), Direction::SendRecv) {
            prop_assert!(read(&answer).is_ok());
        }
    }
}

#[test]
fn wide_band_is_taken_where_there_is_nothing_else_or_it_is_wanted() {
    const WIDE: &str = "m=audio 5000 RTP/AVP 111 9 0 8 101 102\na=rtpmap:111 opus/48000/2\n\
                        a=rtpmap:101 telephone-event/8000\na=rtpmap:102 telephone-event/48000";
    let check = |lines: &str, wideband: bool, expect: (Codec, u8, Option<u8>)| {
        let local = Local { wideband, ..local() };
        let (text, media) = answer(sdp(C, lines).as_bytes(), &local, Direction::SendRecv).expect("an answer");
        assert_eq!((media.codec, media.payload_type, media.dtmf_payload_type), expect, "{lines}");
        let again = read_answer(&text).expect("our answer is one");
        assert_eq!((again.codec, again.payload_type), (media.codec, media.payload_type));
    };
    check(WIDE, false, (Codec::Pcmu, 0, Some(101)));
    check(WIDE, true, (Codec::Opus, 111, Some(102)));
    check("m=audio 5000 RTP/AVP 9 8", true, (Codec::G722, 9, None));
    check("m=audio 5000 RTP/AVP 9", false, (Codec::G722, 9, None));
    check(
        "m=audio 5000 RTP/AVP 97 101\na=rtpmap:97 OPUS/48000/2\na=rtpmap:101 telephone-event/8000",
        false,
        (Codec::Opus, 97, Some(101)),
    );
    // No codec of ours: a clock or channels that are not its own.
    let none = "m=audio 5000 RTP/AVP 97 98\na=rtpmap:97 opus/48000\na=rtpmap:98 G722/16000";
    assert_eq!(answer(sdp(C, none).as_bytes(), &local(), Direction::SendRecv).err(), Some(SdpError::NoCommonCodec));
}

#[test]
fn an_offer_names_the_other_sides_codec_first_and_then_g711() {
    let formats = |codec: Codec| {
        let text = String::from_utf8(offer(&local(), codec, Direction::SendRecv).to_vec()).expect("text");
        text.lines().find_map(|line| line.strip_prefix("m=audio 15100 RTP/AVP ")).map(str::to_owned)
    };
    assert_eq!(formats(Codec::Pcma).as_deref(), Some("8 0 101"));
    assert_eq!(formats(Codec::Pcmu).as_deref(), Some("0 8 101"));
    assert_eq!(formats(Codec::G722).as_deref(), Some("9 8 0 101"));
    assert_eq!(formats(Codec::Opus).as_deref(), Some("111 8 0 101"));
}
