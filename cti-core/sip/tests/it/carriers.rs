//! What carriers ask for: session timers (RFC 4028) and reliable provisional answers (RFC 3262).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cti_sip::{EndCause, Event, SessionId};

use crate::net::{Faults, Net};

const PEER: &str = "192.0.2.7:5070";

fn peer() -> SocketAddr {
    PEER.parse().expect("an address")
}

fn request(method: &str, branch: &str, to: &str, cseq: u32, extra: &str) -> String {
    format!(
        "{method} sip:4001@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:138@192.0.2.7>;tag=ft\r\nTo: {to}\r\nCall-ID: call-1\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:138@{PEER}>\r\n{extra}\r\n"
    )
}

const TO: &str = "<sip:4001@10.0.0.1>";

/// The texts sent since the last call.
fn sent(net: &mut Net) -> Vec<String> {
    net.settle();
    net.outside.clear();
    std::mem::take(&mut net.log).into_iter().map(|(_, _, text)| text).collect()
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// An INVITE with further lines comes in.
fn invited(net: &mut Net, extra: &str) -> SessionId {
    net.inject(0, peer(), &request("INVITE", "i", TO, 1, extra));
    let events = net.take(0);
    let [Event::Invite { session, .. }] = events[..] else { panic!("{events:?}") };
    sent(net);
    session
}

/// It is answered and acknowledged; the 200.
fn talking(net: &mut Net, session: SessionId) -> String {
    let now = net.now;
    net.ends[0].1.accept(now, session, Bytes::from_static(b"v=0 ours"));
    let ok = sent(net).remove(0);
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    let to = line(&ok, "To").expect("a To").to_owned();
    net.inject(0, peer(), &request("ACK", "a", &to, 1, ""));
    assert!(matches!(net.take(0)[..], [Event::Confirmed { .. }]));
    ok
}

const TIMER: &str = "Supported: timer\r\nSession-Expires: 600\r\n";

#[test]
fn a_caller_who_asks_for_a_timer_gets_it_and_is_hung_up_on_when_no_refresh_comes() {
    let mut net = Net::new(1, Faults::default(), 1);
    let session = invited(&mut net, TIMER);
    let ok = talking(&mut net, session);
    assert_eq!(line(&ok, "Session-Expires"), Some("600;refresher=uac"));
    assert_eq!(line(&ok, "Require"), Some("timer"));
    let to = line(&ok, "To").expect("a To").to_owned();
    // Refreshed in time twice, by UPDATE and by re-INVITE.
    net.run_for(Duration::from_secs(500));
    let refresh = "Session-Expires: 600;refresher=uac\r\nSupported: timer\r\n";
    net.inject(0, peer(), &request("UPDATE", "u", &to, 2, refresh));
    let answer = sent(&mut net).remove(0);
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert_eq!(line(&answer, "Session-Expires"), Some("600;refresher=uac"));
    net.run_for(Duration::from_secs(500));
    assert!(net.take(0).is_empty() && sent(&mut net).is_empty(), "it goes on");
    net.run_for(Duration::from_secs(67));
    assert!(sent(&mut net).is_empty(), "567 s are not yet 600 less 32");
    net.run_for(Duration::from_secs(2));
    let bye = sent(&mut net).remove(0);
    assert!(bye.starts_with("BYE "), "{bye}");
    net.run_for(Duration::from_secs(40));
    assert!(matches!(net.take(0)[..], [Event::Ended { cause: EndCause::Gone, .. }]));
    assert_eq!(net.ends[0].1.sessions(), 0);
}

#[test]
fn a_session_too_short_is_refused_with_the_least_and_one_without_a_timer_has_none() {
    let mut net = Net::new(1, Faults::default(), 1);
    net.inject(0, peer(), &request("INVITE", "i", TO, 1, "Supported: timer\r\nSession-Expires: 30\r\n"));
    let refusal = sent(&mut net).remove(0);
    assert!(refusal.starts_with("SIP/2.0 422 "), "{refusal}");
    assert_eq!(line(&refusal, "Min-SE"), Some("90"));
    net.take(0);
    let session = invited(&mut net, "Supported: timer\r\n");
    assert_eq!(line(&talking(&mut net, session), "Session-Expires"), None);
    net.run_for(Duration::from_secs(7_200));
    assert!(net.take(0).is_empty() && sent(&mut net).is_empty());
}

#[test]
fn where_we_shall_refresh_we_do_by_update_or_by_the_same_offer() {
    for (allow, method) in [("Allow: INVITE, UPDATE\r\n", "UPDATE "), ("Allow: INVITE\r\n", "INVITE ")] {
        let mut net = Net::new(1, Faults::default(), 1);
        let asks = "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n";
        let session = invited(&mut net, &format!("{asks}{allow}"));
        let ok = talking(&mut net, session);
        assert_eq!(line(&ok, "Session-Expires"), Some("600;refresher=uas"));
        for _ in 0..3 {
            net.run_for(Duration::from_secs(301));
            let refresh = sent(&mut net).remove(0);
            assert!(refresh.starts_with(method), "{refresh}");
            assert_eq!(refresh.contains("v=0 ours"), method == "INVITE ", "{refresh}");
            let get = |name: &str| line(&refresh, name).expect("a line").to_owned();
            let answer = format!(
                "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:138@{PEER}>\r\n\r\n",
                get("Via"),
                get("From"),
                get("To"),
                get("Call-ID"),
                get("CSeq")
            );
            net.inject(0, peer(), &answer);
            assert!(net.take(0).is_empty(), "the switch hears nothing of it");
            sent(&mut net);
        }
        net.run_for(Duration::from_secs(301));
        sent(&mut net);
        net.run_for(Duration::from_secs(40));
        assert!(matches!(net.take(0)[..], [Event::Ended { cause: EndCause::Gone, .. }]), "{method}: nobody answers");
    }
}

#[test]
fn two_endpoints_agree_and_a_call_of_hours_goes_on_across_restarts() {
    let mut net = Net::new(2, Faults::default(), 3);
    let (now, call) = (net.now, net.request(0, 1, ""));
    net.ends[0].1.invite(now, call);
    let events = net.take(1);
    let [Event::Invite { session, .. }] = events[..] else { panic!("{events:?}") };
    net.ends[1].1.accept(now, session, Bytes::from_static(b"v=0 ours"));
    net.take(0);
    net.take(1);
    net.run_for(Duration::from_secs(3_000));
    net.restart(0, Duration::from_millis(500));
    net.restart(1, Duration::from_millis(500));
    net.run_for(Duration::from_secs(9_000));
    assert!(net.take(0).is_empty() && net.take(1).is_empty());
    assert!(net.sent("UPDATE ").len() >= 12, "{}", net.sent("UPDATE ").len());
    net.restoring = false;
    net.log.clear();
    // One of them is gone without a word.
    let gone = net.ends.remove(1);
    net.run_for(Duration::from_secs(2_000));
    assert!(matches!(net.take(0)[..], [Event::Ended { cause: EndCause::Gone, .. }]));
    drop(gone);
}

fn prack(net: &mut Net, to: &str, cseq: u32, rack: &str) -> String {
    let line = format!("RAck: {rack}\r\n");
    net.inject(0, peer(), &request("PRACK", &format!("p{cseq}"), to, cseq, &line));
    sent(net).remove(0)
}

#[test]
fn who_requires_reliable_answers_gets_them_until_a_prack_and_the_200_waits_for_a_description() {
    let mut net = Net::new(1, Faults::default(), 1);
    let session = invited(&mut net, "Require: 100rel\r\nContent-Type: application/sdp\r\n\r\nv=0");
    let now = net.now;
    net.ends[0].1.ring(now, session, Some(Bytes::from_static(b"v=0 early")));
    let early = sent(&mut net).remove(0);
    assert!(early.starts_with("SIP/2.0 183 ") && early.contains("v=0 early"), "{early}");
    assert_eq!((line(&early, "RSeq"), line(&early, "Require")), (Some("1"), Some("100rel")));
    let to = line(&early, "To").expect("a To").to_owned();
    net.run_for(Duration::from_millis(1_600));
    assert_eq!(sent(&mut net).len(), 2, "again after 0.5 and 1.5 s");
    let now = net.now;
    net.ends[0].1.accept(now, session, Bytes::from_static(b"v=0 ours"));
    assert!(sent(&mut net).is_empty(), "the 200 waits");
    assert!(prack(&mut net, &to, 2, "2 1 INVITE").starts_with("SIP/2.0 481 "));
    net.inject(0, peer(), &request("PRACK", "p3", &to, 3, "RAck: 1 1 INVITE\r\n"));
    let answers = sent(&mut net);
    assert!(answers[0].starts_with("SIP/2.0 200 ") && line(&answers[0], "CSeq") == Some("3 PRACK"), "{answers:?}");
    assert!(answers[1].contains("v=0 ours") && line(&answers[1], "CSeq") == Some("1 INVITE"), "{answers:?}");
    net.inject(0, peer(), &request("ACK", "a", &to, 1, ""));
    assert!(matches!(net.take(0)[..], [Event::Confirmed { .. }]));
    net.run_for(Duration::from_secs(100));
    assert!(sent(&mut net).is_empty());
}

#[test]
fn a_second_reliable_answer_waits_for_the_first_and_without_any_prack_the_call_ends() {
    let mut net = Net::new(1, Faults::default(), 1);
    let session = invited(&mut net, "Require: 100rel\r\n");
    let now = net.now;
    net.ends[0].1.ring(now, session, None);
    net.ends[0].1.ring(now, session, None);
    let first = sent(&mut net);
    assert_eq!((first.len(), line(&first[0], "RSeq")), (1, Some("1")));
    let to = line(&first[0], "To").expect("a To").to_owned();
    net.inject(0, peer(), &request("PRACK", "p", &to, 2, "RAck: 1 1 INVITE\r\n"));
    let next = sent(&mut net);
    assert_eq!((next.len(), line(&next[1], "RSeq")), (2, Some("2")));
    net.run_for(Duration::from_secs(40));
    assert!(sent(&mut net).iter().any(|text| text.starts_with("SIP/2.0 504 ")));
    assert!(matches!(net.take(0)[..], [Event::Ended { .. }]));
    net.run_for(Duration::from_secs(40));
    assert_eq!((net.ends[0].1.sessions(), net.ends[0].1.transactions()), (0, 0));
}

#[test]
fn a_carriers_reliable_answer_is_acknowledged_once_and_its_description_counts() {
    let mut net = Net::new(1, Faults::default(), 1);
    let mut call = net.request(0, 0, "");
    call.target = net.ends[0].1.target_of(&format!("sip:1@{PEER}")).expect("a target");
    let now = net.now;
    net.ends[0].1.invite(now, call);
    let invite = sent(&mut net).remove(0);
    assert_eq!(line(&invite, "Supported"), Some("timer, 100rel, replaces"));
    let answer = |first: &str, extra: &str| {
        let get = |name: &str| line(&invite, name).expect("a line").to_owned();
        format!(
            "SIP/2.0 {first}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=t\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:1@{PEER}>\r\n{extra}",
            get("Via"),
            get("From"),
            get("To"),
            get("Call-ID"),
            get("CSeq")
        )
    };
    let early = answer("183 Early", "Require: 100rel\r\nRSeq: 77\r\nContent-Type: application/sdp\r\n\r\nv=0 early");
    for _ in 0..2 {
        net.inject(0, peer(), &early);
    }
    let pracks = sent(&mut net);
    assert_eq!(pracks.len(), 1, "{pracks:?}");
    assert!(pracks[0].starts_with(&format!("PRACK sip:1@{PEER} ")), "{}", pracks[0]);
    assert_eq!(line(&pracks[0], "RAck"), Some("77 1 INVITE"));
    assert!(matches!(net.take(0)[..], [Event::Progress { code: 183, .. }]));
    net.inject(0, peer(), &answer("180 Ringing", "Require: 100rel\r\nRSeq: 79\r\n\r\n"));
    assert!(net.take(0).is_empty() && sent(&mut net).is_empty(), "78 is missing");
    net.inject(0, peer(), &answer("180 Ringing", "Require: 100rel\r\nRSeq: 78\r\n\r\n"));
    assert_eq!(sent(&mut net).len(), 1);
    net.take(0);
    net.inject(0, peer(), &answer("200 OK", "\r\n"));
    let events = net.take(0);
    assert!(
        matches!(&events[..], [Event::Answered { sdp: Some(sdp), .. }] if sdp == "v=0 early"),
        "what was described before: {events:?}"
    );
    assert_eq!(line(&sent(&mut net)[0], "CSeq"), Some("1 ACK"));
}
