//! One endpoint against hand-written messages: every refusal of RFC 3261 8.2 and the traps of the field.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cti_sip::{EndCause, Event, Refer, RejectReason, Replaces, SessionId};

use crate::net::{Faults, Net};

const PEER: &str = "192.0.2.7:5070";

fn peer() -> SocketAddr {
    PEER.parse().expect("an address")
}

/// A request from the peer; `extra` are whole lines.
fn request(method: &str, branch: &str, to: &str, cseq: u32, extra: &str) -> String {
    format!(
        "{method} sip:4001@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};rport;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: \"c\" <sip:138@192.0.2.7>;tag=ft\r\nTo: {to}\r\nCall-ID: call-1\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:138@{PEER}>\r\n{extra}\r\n"
    )
}

const TO: &str = "<sip:4001@10.0.0.1>";

/// The texts sent since the last call.
fn answers(net: &mut Net) -> Vec<String> {
    net.settle();
    net.outside.clear();
    std::mem::take(&mut net.log).into_iter().map(|(_, _, text)| text).collect()
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn code(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Sends an INVITE; its session and the answers so far.
fn invite(net: &mut Net, extra: &str) -> (SessionId, Vec<String>) {
    net.inject(0, peer(), &request("INVITE", "i1", TO, 1, extra));
    let events = net.take(0);
    let [Event::Invite { session, .. }] = events[..] else { panic!("{events:?}") };
    (session, answers(net))
}

/// Answers it, and gives the To with our tag.
fn answered(net: &mut Net, session: SessionId) -> String {
    let now = net.now;
    net.ends[0].1.accept(now, session, Bytes::from_static(b"v=0 ours"));
    let sent = answers(net);
    assert_eq!(code(&sent[0]), 200);
    line(&sent[0], "To").expect("a To").to_owned()
}

#[test]
fn requests_that_can_not_be_served_get_their_status_and_are_counted() {
    let check = |text: String, expect: u16, header: &str, why: Option<RejectReason>| {
        let mut net = Net::new(1, Faults::default(), 1);
        net.inject(0, peer(), &text);
        let sent = answers(&mut net);
        assert_eq!(sent.len(), 1, "{text}\n{sent:?}");
        assert_eq!(code(&sent[0]), expect, "{text}\n{}", sent[0]);
        assert!(sent[0].contains(header), "{header}\n{}", sent[0]);
        assert!(line(&sent[0], "To").is_some_and(|to| to.contains("tag=")), "{}", sent[0]);
        let events = net.take(0);
        match why {
            Some(why) => assert!(matches!(events[..], [Event::Rejected { reason }] if reason == why), "{events:?}"),
            None => assert!(events.is_empty(), "{events:?}"),
        }
        assert_eq!(net.ends[0].1.transactions(), 0);
    };
    let allow = "\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, NOTIFY, INFO, UPDATE, PRACK, REFER\r\n";
    let plain = |method: &str| request(method, "b", TO, 1, "");
    check(plain("OPTIONS"), 200, allow, None);
    check(plain("OPTIONS"), 200, "\r\nAccept: application/sdp", None);
    check(plain("OPTIONS"), 200, "\r\nSupported: timer, 100rel, replaces\r\n", None);
    check(plain("REFER"), 405, allow, Some(RejectReason::UnsupportedMethod));
    check(plain("MESSAGE"), 405, allow, Some(RejectReason::UnsupportedMethod));
    check(plain("FROBNICATE"), 501, allow, Some(RejectReason::UnsupportedMethod));
    check(plain("SUBSCRIBE"), 489, "\r\nAllow-Events: talk, hold, refer\r\n", None);
    check(plain("NOTIFY"), 481, "", Some(RejectReason::NoDialog));
    check(plain("BYE"), 481, "", Some(RejectReason::NoDialog));
    check(plain("CANCEL"), 481, "", Some(RejectReason::NoDialog));
    check(plain("INVITE").replace(": 70", ": 0"), 483, "", Some(RejectReason::TooManyHops));
    let required = request("INVITE", "b", TO, 1, "Require: 100rel\r\nRequire: timer, x\r\n");
    check(required, 420, "\r\nUnsupported: x\r\n", Some(RejectReason::UnsupportedExtension));
    check(plain("INVITE").replace("sip:4001@10.0.0.1 SIP", "im:a SIP"), 416, "", Some(RejectReason::UnsupportedScheme));
    check(plain("INVITE").replace("sip:4001@10.0.0.1 SIP", "sip:a b SIP"), 400, "", Some(RejectReason::Malformed));
    check(plain("INVITE").replace("CSeq: 1", "CSeq: x"), 400, "", Some(RejectReason::Malformed));
    check(plain("INVITE").replace("From: \"c\" ", "From: \"c "), 400, "", Some(RejectReason::Malformed));
    check(plain("INVITE").replace("SIP/2.0\r\nVia", "SIP/9.0\r\nVia"), 505, "", Some(RejectReason::Malformed));
    let foreign = request("INVITE", "b", TO, 1, "Content-Type: text/plain\r\n") + "hello";
    check(foreign, 415, "\r\nAccept: application/sdp\r\n", Some(RejectReason::Malformed));
    check(request("INFO", "b", &format!("{TO};tag=none"), 1, ""), 481, "", Some(RejectReason::NoDialog));
}

#[test]
fn answers_go_to_the_source_with_received_and_rport_filled_in() {
    let check = |via: &str, expect: &str| {
        let mut net = Net::new(1, Faults::default(), 1);
        let source: SocketAddr = "198.51.100.9:40000".parse().expect("an address");
        let text = request("OPTIONS", "b", TO, 1, "").replace(&format!("{PEER};rport;branch=z9hG4bKb"), via);
        net.inject(0, source, &text);
        assert_eq!(net.outside[0].0, source);
        assert_eq!(line(&net.log[0].2, "Via"), Some(expect));
    };
    check(
        "192.0.2.7:5070;rport;branch=z9hG4bKb",
        "SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKb;received=198.51.100.9;rport=40000",
    );
    check("198.51.100.9;branch=z9hG4bKb", "SIP/2.0/UDP 198.51.100.9;branch=z9hG4bKb");
    check(
        "host.example;branch=z9hG4bKb, SIP/2.0/TCP b",
        "SIP/2.0/UDP host.example;branch=z9hG4bKb;received=198.51.100.9, SIP/2.0/TCP b",
    );
}

#[test]
fn what_is_no_message_is_dropped_and_keep_alives_are_not_even_counted() {
    let check = |bytes: &[u8], counted: Option<RejectReason>| {
        let mut net = Net::new(1, Faults::default(), 1);
        net.inject_bytes(0, peer(), Bytes::copy_from_slice(bytes));
        assert!(answers(&mut net).is_empty());
        let events = net.take(0);
        let reasons: Vec<_> = events
            .iter()
            .map(|event| matches!(event, Event::Rejected { reason } if Some(*reason) == counted))
            .collect();
        assert_eq!(reasons, if counted.is_some() { vec![true] } else { vec![] }, "{events:?}");
    };
    check(b"\r\n\r\n", None);
    check(b"\r\n", None);
    check(&[0, 0, 0, 0], None);
    check(b"", None);
    check(b"hello", Some(RejectReason::Malformed));
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(RejectReason::Malformed));
    check(&vec![b'x'; 65_536], Some(RejectReason::TooLarge));
}

#[test]
fn a_repeated_invite_is_answered_again_and_opens_no_second_session() {
    let mut net = Net::new(1, Faults::default(), 1);
    let (session, sent) = invite(&mut net, "");
    assert_eq!(sent.iter().map(|text| code(text)).collect::<Vec<_>>(), [100]);
    net.inject(0, peer(), &request("INVITE", "i1", TO, 1, ""));
    assert_eq!(answers(&mut net).iter().map(|text| code(text)).collect::<Vec<_>>(), [100]);
    let now = net.now;
    net.ends[0].1.ring(now, session, None);
    net.inject(0, peer(), &request("INVITE", "i1", TO, 1, ""));
    assert_eq!(answers(&mut net).iter().map(|text| code(text)).collect::<Vec<_>>(), [180, 180]);
    // The same request by another way (RFC 3261 8.2.2.2).
    net.inject(0, peer(), &request("INVITE", "i2", TO, 1, ""));
    assert_eq!(answers(&mut net).iter().map(|text| code(text)).collect::<Vec<_>>(), [482]);
    assert_eq!(net.ends[0].1.sessions(), 1);
    // Ringing for long is told every minute, so that no proxy gives up.
    net.run_for(Duration::from_secs(125));
    assert_eq!(answers(&mut net).iter().map(|text| code(text)).collect::<Vec<_>>(), [180, 180]);
}

#[test]
fn a_2xx_is_repeated_until_its_ack_and_a_late_offer_is_answered_by_it() {
    let mut net = Net::new(1, Faults::default(), 1);
    let (session, _) = invite(&mut net, "");
    let to = answered(&mut net, session);
    // T1, 2 T1, 4 T1: at 0.5, 1.5 and 3.5 s.
    net.run_for(Duration::from_secs(4));
    assert_eq!(answers(&mut net).len(), 3);
    net.inject(0, peer(), &(request("ACK", "a1", &to, 1, "Content-Type: application/sdp\r\n") + "v=0 theirs"));
    let events = net.take(0);
    assert!(
        matches!(&events[..], [Event::Confirmed { answer: Some(sdp), .. }] if &sdp[..] == b"v=0 theirs"),
        "{events:?}"
    );
    net.run_for(Duration::from_secs(60));
    assert!(answers(&mut net).is_empty());
    net.inject(0, peer(), &request("BYE", "b1", &to, 2, "Reason: SIP;cause=200, Q.850;cause=16;text=\"x, y\"\r\n"));
    assert_eq!(code(&answers(&mut net)[0]), 200);
    let events = net.take(0);
    assert!(matches!(events[..], [Event::Ended { cause: EndCause::Bye { q850: Some(16) }, .. }]), "{events:?}");
}

#[test]
fn a_call_that_is_never_acknowledged_is_ended_with_bye() {
    let mut net = Net::new(1, Faults::default(), 1);
    let (session, _) = invite(&mut net, "");
    answered(&mut net, session);
    net.run_for(Duration::from_millis(31_999));
    // 0.5, 1.5, 3.5, 7.5 and then every 4 s up to 31.5 s.
    assert_eq!(answers(&mut net).len(), 10);
    net.run_for(Duration::from_millis(1));
    assert!(answers(&mut net)[0].starts_with("BYE sip:138@192.0.2.7:5070 SIP/2.0"));
    net.run_for(Duration::from_secs(64));
    let events = net.take(0);
    assert!(matches!(events[..], [Event::Ended { cause: EndCause::NoAck, .. }]), "{events:?}");
    assert_eq!((net.ends[0].1.sessions(), net.ends[0].1.transactions()), (0, 0));
}

#[test]
fn a_bye_that_overtakes_the_ack_ends_the_call_and_a_hangup_waits_for_the_ack() {
    let mut net = Net::new(1, Faults::default(), 1);
    let (session, _) = invite(&mut net, "");
    let to = answered(&mut net, session);
    net.inject(0, peer(), &request("BYE", "b1", &to, 2, ""));
    assert_eq!(code(&answers(&mut net)[0]), 200);
    assert!(matches!(net.take(0)[..], [Event::Ended { cause: EndCause::Bye { q850: None }, .. }]));
    net.inject(0, peer(), &request("ACK", "a1", &to, 1, ""));
    net.run_for(Duration::from_secs(40));
    assert!(answers(&mut net).is_empty());

    let mut net = Net::new(1, Faults::default(), 2);
    let (session, _) = invite(&mut net, "");
    let to = answered(&mut net, session);
    let now = net.now;
    net.ends[0].1.hangup(now, session, Some(17));
    assert!(answers(&mut net).is_empty(), "no BYE before the ACK");
    net.inject(0, peer(), &request("ACK", "a1", &to, 1, ""));
    let sent = answers(&mut net);
    assert!(sent[0].starts_with("BYE ") && sent[0].contains("\r\nReason: Q.850;cause=17\r\n"), "{sent:?}");
}

#[test]
fn a_cancel_ends_an_unanswered_invite_and_no_other() {
    let mut net = Net::new(1, Faults::default(), 1);
    let (session, _) = invite(&mut net, "");
    net.inject(0, peer(), &request("CANCEL", "i1", TO, 1, ""));
    assert_eq!(answers(&mut net).iter().map(|text| code(text)).collect::<Vec<_>>(), [200, 487]);
    assert!(matches!(net.take(0)[..], [Event::Cancelled { session: gone }] if gone == session));
    net.inject(0, peer(), &request("ACK", "i1", TO, 1, ""));
    net.run_for(Duration::from_secs(10));
    assert_eq!(net.ends[0].1.transactions(), 0);

    let mut net = Net::new(1, Faults::default(), 2);
    let (session, _) = invite(&mut net, "");
    let to = answered(&mut net, session);
    net.inject(0, peer(), &request("CANCEL", "i1", TO, 1, ""));
    assert_eq!(answers(&mut net).iter().map(|text| code(text)).collect::<Vec<_>>(), [200]);
    net.inject(0, peer(), &request("ACK", "a", &to, 1, ""));
    assert!(matches!(net.take(0)[..], [Event::Confirmed { .. }]));
}

#[test]
fn requests_within_the_dialog_are_answered_by_what_they_ask() {
    let mut net = Net::new(1, Faults::default(), 1);
    let (session, _) = invite(&mut net, "");
    let to = answered(&mut net, session);
    net.inject(0, peer(), &request("ACK", "a", &to, 1, ""));
    net.take(0);
    let mut cseq = 10;
    let mut check = |net: &mut Net, method: &str, extra: &str, body: &str, expect: u16, header: &str| {
        cseq += 1;
        net.inject(0, peer(), &(request(method, &format!("w{cseq}"), &to, cseq, extra) + body));
        let sent = answers(net);
        assert_eq!(code(&sent[0]), expect, "{method} {extra}\n{sent:?}");
        assert!(sent[0].contains(header), "{method} {header}\n{}", sent[0]);
        net.take(0)
    };
    let relay = "Content-Type: application/dtmf-relay\r\n";
    let events = check(&mut net, "INFO", relay, "Signal= 5\r\nDuration=160\r\n", 200, "");
    assert!(matches!(events[..], [Event::InfoDigit { digit: '5', .. }]), "{events:?}");
    let events = check(&mut net, "INFO", "Content-Type: application/dtmf\r\n", "#", 200, "");
    assert!(matches!(events[..], [Event::InfoDigit { digit: '#', .. }]), "{events:?}");
    assert!(check(&mut net, "INFO", relay, "Signal=99", 400, "").is_empty());
    assert!(check(&mut net, "INFO", "", "", 200, "").is_empty());
    assert!(check(&mut net, "INFO", "Content-Type: text/plain\r\n", "x", 415, "\r\nAccept: ").is_empty());
    let events = check(&mut net, "NOTIFY", "Event: hold\r\nSubscription-State: active\r\n", "", 200, "");
    assert!(matches!(&events[..], [Event::Notify { event, .. }] if event == "hold"), "{events:?}");
    check(&mut net, "NOTIFY", "Event: presence\r\n", "", 489, "\r\nAllow-Events: talk, hold, refer\r\n");
    check(&mut net, "SUBSCRIBE", "Event: talk\r\n", "", 489, "Allow-Events");
    check(&mut net, "OPTIONS", "", "", 200, "\r\nAllow: ");
    check(&mut net, "REFER", "", "", 400, "");
    check(&mut net, "REFER", "Refer-To: <sip:x@y;method=BYE>\r\n", "", 400, "");
    check(&mut net, "UPDATE", "", "", 200, "\r\nContact: ");
    check(&mut net, "REFER", "Refer-To: <sip:1001@y?Replaces=a%40b>\r\n", "", 400, "");
    let (call_id, to_tag, from_tag) = ("a@b".to_owned(), "7".to_owned(), "8".to_owned());
    let replaced = Replaces { call_id, to_tag, from_tag, early_only: false };
    let refer = |n: u32| format!("Refer-To: <sip:100{n}@y?Replaces=a%40b%3Bto-tag%3D7%3Bfrom-tag%3D8>\r\n");
    net.inject(0, peer(), &request("REFER", "r1", &to, 30, &refer(1)));
    let events = net.take(0);
    let asked = |refer: &Refer| refer.target.user.expose() == "1001" && refer.replaces == Some(replaced.clone());
    assert!(matches!(&events[..], [Event::Refer { refer, .. }] if asked(refer)), "{events:?}");
    net.inject(0, peer(), &request("REFER", "r2", &to, 31, &refer(2)));
    assert_eq!(code(&answers(&mut net)[0]), 491, "one at a time");
    let now = net.now;
    net.ends[0].1.answer_refer(now, session, 202);
    let sent = answers(&mut net);
    assert!(
        code(&sent[0]) == 202 && sent[1].starts_with("NOTIFY ") && sent[1].ends_with("SIP/2.0 200 OK\r\n"),
        "{sent:?}"
    );
    let sdp = "Content-Type: application/sdp\r\n";
    net.inject(0, peer(), &(request("UPDATE", "u", &to, 40, sdp) + "v=0 update"));
    assert!(matches!(&net.take(0)[..], [Event::Reoffer { sdp: Some(sdp), .. }] if &sdp[..] == b"v=0 update"));
    let now = net.now;
    net.ends[0].1.accept_reoffer(now, session, Bytes::from_static(b"v=0 yes"));
    assert!(answers(&mut net)[0].ends_with("v=0 yes"));
    net.run_for(Duration::from_secs(10));
    let sent = answers(&mut net);
    assert!(sent.iter().all(|text| text.starts_with("NOTIFY ")), "the 200 of an UPDATE waits for no ACK: {sent:?}");
    // A number that was overtaken (RFC 3261 12.2.2).
    net.inject(0, peer(), &request("INFO", "old", &to, 5, ""));
    assert_eq!(code(&answers(&mut net)[0]), 500);
    // A new target by re-INVITE, and the BYE goes there.
    let moved =
        request("INVITE", "r", &to, 50, sdp).replace("sip:138@192.0.2.7:5070", "sip:138@192.0.2.8:5080") + "v=0";
    net.inject(0, peer(), &moved);
    answers(&mut net);
    net.ends[0].1.accept_reoffer(now, session, Bytes::from_static(b"v=0"));
    net.inject(0, peer(), &request("ACK", "ra", &to, 50, ""));
    net.ends[0].1.hangup(now, session, None);
    net.settle();
    let (_, remote, bye) = net.log.iter().find(|(_, _, text)| text.starts_with("BYE")).expect("a BYE");
    assert!(bye.starts_with("BYE sip:138@192.0.2.8:5080 SIP/2.0"), "{bye}");
    assert_eq!(remote.to_string(), "192.0.2.8:5080");
}

#[test]
fn routes_are_followed_loose_and_strict() {
    let check = |record: &str, start: &str, routes: &[&str], remote: &str| {
        let mut net = Net::new(1, Faults::default(), 1);
        let (session, _) = invite(&mut net, record);
        let to = answered(&mut net, session);
        net.inject(0, peer(), &request("ACK", "a", &to, 1, ""));
        let now = net.now;
        net.ends[0].1.hangup(now, session, None);
        net.settle();
        let (_, went, bye) = net.log.iter().find(|(_, _, text)| text.starts_with("BYE")).expect("a BYE");
        assert!(bye.starts_with(start), "{bye}");
        let found: Vec<&str> = bye.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
        assert_eq!(found, routes);
        assert_eq!(went.to_string(), remote);
    };
    let (target, loose) = ("BYE sip:138@192.0.2.7:5070 SIP/2.0", "<sip:192.0.2.50;lr>");
    check(
        "Record-Route: <sip:192.0.2.50;lr>, <sip:192.0.2.51:5099;lr>\r\n",
        target,
        &[loose, "<sip:192.0.2.51:5099;lr>"],
        "192.0.2.50:5060",
    );
    check(
        "Record-Route: <sip:192.0.2.50>\r\nRecord-Route: <sip:192.0.2.51;lr>\r\n",
        "BYE sip:192.0.2.50 SIP/2.0",
        &["<sip:192.0.2.51;lr>", "<sip:138@192.0.2.7:5070>"],
        "192.0.2.50:5060",
    );
}

#[test]
fn a_2xx_of_another_fork_is_acknowledged_and_ended_and_the_own_one_acknowledged_again() {
    let mut net = Net::new(1, Faults::default(), 1);
    let mut call = net.request(0, 0, "");
    call.target = net.ends[0].1.target_of("sip:1@192.0.2.7:5070").expect("a target");
    let now = net.now;
    net.ends[0].1.invite(now, call);
    let sent = answers(&mut net).remove(0);
    let text = |name: &str| line(&sent, name).expect("the header").to_owned();
    let ok = |tag: &str| {
        format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{tag}@{PEER}>\r\n\r\n",
            text("Via"),
            text("From"),
            text("To"),
            text("Call-ID"),
            text("CSeq")
        )
    };
    net.inject(0, peer(), &ok("one"));
    assert!(matches!(net.take(0)[..], [Event::Answered { .. }]));
    assert!(answers(&mut net)[0].starts_with("ACK sip:one@"));
    net.inject(0, peer(), &ok("one"));
    assert!(answers(&mut net)[0].starts_with("ACK sip:one@"));
    net.inject(0, peer(), &ok("two"));
    let sent = answers(&mut net);
    assert!(sent[0].starts_with("ACK sip:two@") && sent[0].contains(";tag=two"), "{sent:?}");
    assert!(sent[1].starts_with("BYE sip:two@") && sent[1].contains("CSeq: 2 BYE"), "{sent:?}");
    assert!(net.take(0).is_empty());
    assert_eq!(net.ends[0].1.sessions(), 1);
}

#[test]
fn a_request_of_ours_that_comes_back_is_a_loop() {
    let mut net = Net::new(1, Faults::default(), 1);
    let mut call = net.request(0, 0, "");
    call.target = net.ends[0].1.target_of("sip:1@192.0.2.7:5070").expect("a target");
    let now = net.now;
    net.ends[0].1.invite(now, call);
    let sent = answers(&mut net).remove(0);
    let looped = sent.replacen("Via: ", "Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKproxy\r\nVia: ", 1);
    net.inject(0, peer(), &looped);
    assert_eq!(code(&answers(&mut net)[0]), 482);
    assert!(matches!(net.take(0)[..], [Event::Rejected { reason: RejectReason::Loop }]));
}
