use std::time::Duration;

use bytes::Bytes;
use cti_sip::{EndCause, Event, SessionId};

use crate::net::{Faults, Net};

const ANSWER: Bytes = Bytes::from_static(b"v=0 answer");

fn invited(events: &[Event]) -> SessionId {
    match events {
        [Event::Invite { session, .. }] => *session,
        other => panic!("{other:?}"),
    }
}

/// Rings and answers a call from 0 to 1; the sessions of both.
fn talking(net: &mut Net, transport: &str) -> (SessionId, SessionId) {
    let request = net.request(0, 1, transport);
    let caller = net.ends[0].1.invite(net.now, request);
    let called = invited(&net.take(1));
    net.ends[1].1.ring(net.now, called, None);
    assert!(matches!(net.take(0)[..], [Event::Progress { code: 180, sdp: None, .. }]));
    net.ends[1].1.accept(net.now, called, ANSWER);
    let events = net.take(0);
    assert!(matches!(&events[..], [Event::Answered { sdp: Some(sdp), .. }] if *sdp == ANSWER), "{events:?}");
    let events = net.take(1);
    assert!(matches!(events[..], [Event::Confirmed { answer: None, .. }]), "{events:?}");
    (caller, called)
}

fn nothing_left(net: &mut Net) {
    net.run_for(Duration::from_secs(120));
    for (address, end) in &net.ends {
        assert_eq!((end.sessions(), end.transactions(), end.poll_deadline()), (0, 0, None), "{address}");
    }
}

#[test]
fn a_call_rings_is_answered_and_ends_by_either_side_over_udp_and_tcp() {
    for transport in ["", ";transport=tcp"] {
        for ender in [0, 1] {
            let mut net = Net::new(2, Faults::default(), 1);
            let (caller, called) = talking(&mut net, transport);
            let session = [caller, called][ender];
            let now = net.now;
            net.ends[ender].1.hangup(now, session, Some(16));
            let other = net.take(1 - ender);
            assert!(matches!(other[..], [Event::Ended { cause: EndCause::Bye { q850: Some(16) }, .. }]), "{other:?}");
            let own = net.take(ender);
            assert!(matches!(own[..], [Event::Ended { cause: EndCause::Local, .. }]), "{own:?}");
            nothing_left(&mut net);
        }
    }
}

#[test]
fn an_invite_carries_who_calls_and_nobody_can_write_a_header_through_it() {
    let mut net = Net::new(2, Faults::default(), 2);
    let mut request = net.request(0, 1, "");
    request.from_display = Some("a\"\r\nX-Evil: 1".into());
    request.headers =
        vec![("X-A".into(), "1\r\nX-Evil: 2".into()), ("Via".into(), "evil".into()), ("b c".into(), "".into())];
    let now = net.now;
    net.ends[0].1.invite(now, request);
    let events = net.take(1);
    let [Event::Invite { invite, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(invite.target.user.expose(), "1001");
    assert_eq!(invite.from.user.expose(), "13800138000");
    assert_eq!(invite.from.display.as_ref().map(|d| d.expose().as_str()), Some("a\"X-Evil: 1"));
    assert_eq!(invite.offer.as_deref(), Some(&b"v=0 offer"[..]));
    let sent = net.sent("INVITE")[0];
    assert!(!sent.lines().any(|line| line.starts_with("X-Evil") || line.contains("evil")), "{sent}");
    assert!(sent.contains("\r\nX-A: 1X-Evil: 2\r\n"), "{sent}");
}

#[test]
fn contacts_over_tcp_say_so_and_requests_within_the_dialog_take_the_open_connection() {
    let mut net = Net::new(2, Faults::default(), 3);
    let (caller, _) = talking(&mut net, ";transport=tcp");
    assert!(net.sent("INVITE")[0].contains("Contact: <sip:10.0.0.1:5060;transport=tcp>"));
    assert!(net.sent("SIP/2.0 200")[0].contains("Contact: <sip:10.0.0.2:5060;transport=tcp>"));
    let now = net.now;
    net.ends[0].1.connection_closed(now, cti_sip::ConnectionId(1));
    net.ends[0].1.hangup(now, caller, None);
    let bye = net.ends[0].1.poll_transmit().expect("a BYE");
    assert_eq!(bye.flow.connection, None, "a closed connection is opened anew");
    assert_eq!(bye.flow.remote, crate::net::address(1));
}

#[test]
fn a_caller_who_gives_up_before_the_answer_cancels() {
    let mut net = Net::new(2, Faults::default(), 4);
    let request = net.request(0, 1, "");
    let caller = net.ends[0].1.invite(net.now, request);
    // No provisional answer has come: the CANCEL waits for one.
    net.ends[0].1.hangup(net.now, caller, None);
    assert!(net.ends[0].1.poll_transmit().is_some_and(|t| t.bytes.starts_with(b"INVITE")));
    assert!(net.ends[0].1.poll_transmit().is_none());
    net.run_for(Duration::from_secs(1));
    let events = net.take(1);
    assert!(matches!(events[..], [Event::Invite { .. }, Event::Cancelled { .. }]), "{events:?}");
    let events = net.take(0);
    assert!(matches!(events[..], [Event::Failed { code: 487, .. }]), "{events:?}");
    nothing_left(&mut net);
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut net = Net::new(2, Faults::default(), 5);
    let request = net.request(0, 1, "");
    let caller = net.ends[0].1.invite(net.now, request);
    let called = invited(&net.take(1));
    // The answer is on its way when the caller hangs up.
    let now = net.now;
    net.ends[1].1.accept(now, called, ANSWER);
    net.ends[0].1.hangup(now, caller, None);
    let events = net.take(1);
    assert!(
        matches!(events[..], [Event::Confirmed { .. }, Event::Ended { cause: EndCause::Bye { .. }, .. }]),
        "{events:?}"
    );
    let events = net.take(0);
    assert!(matches!(events[..], [Event::Failed { code: 487, .. }]), "{events:?}");
    nothing_left(&mut net);
}

#[test]
fn a_refusal_reaches_the_caller_and_a_503_says_when_to_come_back() {
    for code in [486, 404, 503, 603] {
        let mut net = Net::new(2, Faults::default(), 6);
        let request = net.request(0, 1, "");
        net.ends[0].1.invite(net.now, request);
        let called = invited(&net.take(1));
        let now = net.now;
        net.ends[1].1.reject(now, called, code);
        let events = net.take(0);
        assert!(matches!(events[..], [Event::Failed { code: got, .. }] if got == code), "{events:?}");
        let sent = net.sent(&format!("SIP/2.0 {code}"));
        assert_eq!(sent[0].contains("Retry-After: "), code == 503, "{}", sent[0]);
        assert_eq!(net.sent("ACK").len(), 1);
        nothing_left(&mut net);
    }
}

#[test]
fn an_invite_to_nobody_fails_by_timer_b_after_seven_sendings() {
    let mut net = Net::new(1, Faults::default(), 7);
    let mut request = net.request(0, 0, "");
    request.target = net.ends[0].1.target_of("sip:1@10.0.0.99").expect("a target");
    net.ends[0].1.invite(net.now, request);
    net.run_for(Duration::from_millis(31_999));
    assert!(net.events[0].is_empty());
    net.run_for(Duration::from_millis(1));
    assert!(matches!(net.events[0][..], [Event::Failed { code: 408, .. }]), "{:?}", net.events[0]);
    assert_eq!(net.outside.len(), 7);
    nothing_left(&mut net);
}

#[test]
fn a_stream_that_can_not_be_opened_fails_the_invite_with_503() {
    let mut net = Net::new(1, Faults::default(), 8);
    let mut request = net.request(0, 0, "");
    request.target = net.ends[0].1.target_of("sip:1@10.0.0.99;transport=tcp").expect("a target");
    let now = net.now;
    net.ends[0].1.invite(now, request);
    let sent = net.ends[0].1.poll_transmit().expect("an INVITE");
    net.ends[0].1.transport_failed(now, sent.flow);
    let events = net.take(0);
    assert!(matches!(events[..], [Event::Failed { code: 503, .. }]), "{events:?}");
    nothing_left(&mut net);
}

#[test]
fn hold_and_retrieve_go_both_ways_and_glare_is_tried_again() {
    let mut net = Net::new(2, Faults::default(), 9);
    let (caller, called) = talking(&mut net, "");
    let offer = |text: &'static str| Bytes::from_static(text.as_bytes());
    for (from, to, own, other) in [(0, 1, caller, called), (1, 0, called, caller)] {
        let now = net.now;
        net.ends[from].1.reoffer(now, own, offer("v=0 hold"));
        let events = net.take(to);
        assert!(
            matches!(&events[..], [Event::Reoffer { sdp: Some(sdp), .. }] if *sdp == offer("v=0 hold")),
            "{events:?}"
        );
        net.ends[to].1.accept_reoffer(now, other, offer("v=0 held"));
        let events = net.take(from);
        assert!(matches!(&events[..], [Event::Reanswered { result: Ok(Some(_)), .. }]), "{events:?}");
        assert!(matches!(net.take(to)[..], [Event::Confirmed { answer: None, .. }]));
    }
    // Both at once: each refuses the other's with 491, and the timers of RFC 3261 14.1 let them pass one after the other.
    let now = net.now;
    net.ends[0].1.reoffer(now, caller, offer("v=0 from 0"));
    net.ends[1].1.reoffer(now, called, offer("v=0 from 1"));
    net.settle();
    assert_eq!(net.sent("SIP/2.0 491").len(), 2);
    let (mut offers, until) = (0, now + Duration::from_secs(6));
    while net.now < until {
        net.run_for(Duration::from_millis(10));
        for (index, session) in [(0, caller), (1, called)] {
            for event in net.take(index) {
                if let Event::Reoffer { .. } = event {
                    let now = net.now;
                    net.ends[index].1.accept_reoffer(now, session, ANSWER);
                    offers += 1;
                }
            }
        }
    }
    assert_eq!(offers, 2);
    let now = net.now;
    net.ends[0].1.reoffer(now, caller, offer("v=0 no"));
    net.take(1);
    net.ends[1].1.reject_reoffer(now, called, 488);
    let events = net.take(0);
    assert!(matches!(events[..], [Event::Reanswered { result: Err(488), .. }]), "{events:?}");
    net.ends[0].1.hangup(now, caller, None);
    nothing_left(&mut net);
}

#[test]
fn a_phone_that_rings_is_asked_to_answer_by_notify_talk() {
    let mut net = Net::new(2, Faults::default(), 10);
    let request = net.request(0, 1, "");
    let caller = net.ends[0].1.invite(net.now, request);
    let now = net.now;
    assert!(!net.ends[0].1.notify_talk(now, caller), "there is no dialog yet");
    let called = invited(&net.take(1));
    net.ends[1].1.ring(now, called, None);
    net.take(0);
    assert!(net.ends[0].1.notify_talk(now, caller));
    let events = net.take(1);
    assert!(
        matches!(&events[..], [Event::Notify { session, event }] if *session == called && event == "talk"),
        "{events:?}"
    );
    net.ends[1].1.accept(now, called, ANSWER);
    assert!(matches!(net.take(0)[..], [Event::Answered { .. }]));
    net.ends[1].1.hangup(now, called, None);
    nothing_left(&mut net);
}

#[test]
fn a_session_that_is_over_takes_no_command() {
    let mut net = Net::new(2, Faults::default(), 11);
    let (caller, called) = talking(&mut net, "");
    let now = net.now;
    net.ends[0].1.hangup(now, caller, None);
    net.settle();
    let before = net.log.len();
    for (index, session) in [(0, caller), (1, called)] {
        let end = &mut net.ends[index].1;
        end.ring(now, session, None);
        end.accept(now, session, ANSWER);
        end.reject(now, session, 486);
        end.hangup(now, session, None);
        end.reoffer(now, session, ANSWER);
        end.accept_reoffer(now, session, ANSWER);
        end.reject_reoffer(now, session, 488);
        assert!(!end.notify_talk(now, session));
    }
    net.settle();
    assert_eq!(net.log.len(), before);
}
