//! A process dies, and another takes up its state: calls, answers and registrations under way go on.

use std::time::Duration;

use bytes::Bytes;
use cti_sip::{Account, EndCause, Event, RegisterRequest, SessionId};

use crate::net::{Faults, Net, address};

const ANSWER: Bytes = Bytes::from_static(b"v=0 answer");
const TRANSPORTS: [&str; 2] = ["", ";transport=tcp"];

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A call from 0 to 1 that rings; the sessions of both.
fn ringing(net: &mut Net, transport: &str) -> (SessionId, SessionId) {
    let request = net.request(0, 1, transport);
    let caller = net.ends[0].1.invite(net.now, request);
    let events = net.take(1);
    let [Event::Invite { session: called, .. }] = events[..] else { panic!("{events:?}") };
    net.ends[1].1.ring(net.now, called, None);
    assert!(matches!(net.take(0)[..], [Event::Progress { code: 180, .. }]));
    (caller, called)
}

fn talking(net: &mut Net, transport: &str) -> (SessionId, SessionId) {
    let (caller, called) = ringing(net, transport);
    net.ends[1].1.accept(net.now, called, ANSWER);
    assert!(matches!(net.take(0)[..], [Event::Answered { .. }]));
    assert!(matches!(net.take(1)[..], [Event::Confirmed { .. }]));
    (caller, called)
}

/// Ends the call from one side, and nothing stays behind on either.
fn ends_well(net: &mut Net, ender: usize, session: SessionId) {
    let now = net.now;
    net.ends[ender].1.hangup(now, session, None);
    net.run_for(ms(5_000));
    let own = net.take(ender);
    assert!(matches!(own[..], [Event::Ended { cause: EndCause::Local, .. }]), "{own:?}");
    let other = net.take(1 - ender);
    assert!(matches!(other[..], [Event::Ended { cause: EndCause::Bye { .. }, .. }]), "{other:?}");
    nothing_left(net);
}

fn nothing_left(net: &mut Net) {
    net.run_for(Duration::from_secs(120));
    for (address, end) in &net.ends {
        assert_eq!((end.sessions(), end.transactions(), end.poll_deadline()), (0, 0, None), "{address}");
    }
}

#[test]
fn a_talking_call_goes_on_and_either_side_may_offer_anew_and_end_it() {
    for transport in TRANSPORTS {
        for (dies, ender) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut net = Net::new(2, Faults::default(), 1);
            let (caller, called) = talking(&mut net, transport);
            net.restart(dies, ms(700));
            let sessions = [caller, called];
            for (from, to) in [(0, 1), (1, 0)] {
                let now = net.now;
                net.ends[from].1.reoffer(now, sessions[from], ANSWER);
                assert!(matches!(net.take(to)[..], [Event::Reoffer { .. }]));
                net.ends[to].1.accept_reoffer(now, sessions[to], ANSWER);
                assert!(matches!(net.take(from)[..], [Event::Reanswered { result: Ok(_), .. }]));
                assert!(matches!(net.take(to)[..], [Event::Confirmed { .. }]));
            }
            ends_well(&mut net, ender, sessions[ender]);
        }
    }
}

#[test]
fn a_phone_that_rings_rings_on_and_its_200_of_the_downtime_is_acknowledged() {
    for transport in TRANSPORTS {
        for down in [ms(200), ms(40_000)] {
            let mut net = Net::new(2, Faults::default(), 2);
            let (caller, called) = ringing(&mut net, transport);
            if down < Duration::from_secs(32) {
                // The phone answers while nobody is there, and repeats its 200.
                let now = net.now;
                net.ends[1].1.accept(now, called, ANSWER);
            }
            net.restart(0, down);
            if down > Duration::from_secs(32) {
                let events = net.take(0);
                let rings_on = |event: &Event| matches!(event, Event::Progress { .. });
                assert!(events.iter().all(rings_on), "the wait for an answer lasts longer: {events:?}");
                let now = net.now;
                net.ends[1].1.accept(now, called, ANSWER);
            }
            net.run_for(ms(4_000));
            let events = net.take(0);
            assert!(matches!(events[..], [Event::Answered { .. }]), "{transport} {events:?}");
            assert!(matches!(net.take(1)[..], [Event::Confirmed { .. }]));
            ends_well(&mut net, 0, caller);
        }
    }
}

#[test]
fn a_late_200_of_a_call_that_was_cancelled_before_gets_ack_and_bye() {
    for transport in TRANSPORTS {
        let mut net = Net::new(2, Faults::default(), 3);
        let (caller, called) = ringing(&mut net, transport);
        let now = net.now;
        net.ends[0].1.hangup(now, caller, None);
        // The CANCEL is decided, and never leaves.
        while net.ends[0].1.poll_transmit().is_some() {}
        net.ends[1].1.accept(now, called, ANSWER);
        net.restart(0, ms(600));
        net.run_for(ms(6_000));
        let events = net.take(1);
        assert!(
            matches!(events[..], [Event::Confirmed { .. }, Event::Ended { cause: EndCause::Bye { .. }, .. }]),
            "{transport} {events:?}"
        );
        let events = net.take(0);
        assert!(matches!(events[..], [Event::Failed { code: 487, .. }]), "{transport} {events:?}");
        nothing_left(&mut net);
    }
}

#[test]
fn a_200_of_ours_goes_out_again_until_its_ack_comes() {
    for transport in TRANSPORTS {
        for down in [ms(100), ms(3_000), ms(40_000)] {
            let mut net = Net::new(2, Faults::default(), 4);
            let (caller, called) = ringing(&mut net, transport);
            let now = net.now;
            net.ends[1].1.accept(now, called, ANSWER);
            // The 200 leaves, and the ACK finds nobody.
            while let Some(sent) = net.ends[1].1.poll_transmit() {
                assert!(sent.bytes.starts_with(b"SIP/2.0 200"));
            }
            net.restart(1, down);
            net.run_for(ms(4_500));
            assert!(matches!(net.take(0)[..], [Event::Answered { .. }]), "{transport} {down:?}");
            let events = net.take(1);
            assert!(matches!(events[..], [Event::Confirmed { .. }]), "{transport} {down:?} {events:?}");
            ends_well(&mut net, 0, caller);
        }
    }
}

#[test]
fn what_a_stream_may_have_lost_goes_out_by_a_new_one() {
    // An INVITE that nobody has answered.
    let mut net = Net::new(2, Faults::default(), 5);
    let request = net.request(0, 1, ";transport=tcp");
    let now = net.now;
    let caller = net.ends[0].1.invite(now, request);
    let lost = net.ends[0].1.poll_transmit().expect("an INVITE");
    net.restart(0, ms(300));
    let again = net.sent("INVITE");
    assert!(again.len() == 1 && again[0].as_bytes() == lost.bytes, "the same, by the same branch");
    let events = net.take(1);
    let [Event::Invite { session: called, .. }] = events[..] else { panic!("{events:?}") };
    net.ends[1].1.accept(net.now, called, ANSWER);
    assert!(matches!(net.take(0)[..], [Event::Answered { .. }]));
    net.take(1);
    // A BYE.
    let now = net.now;
    net.ends[0].1.hangup(now, caller, None);
    assert!(net.ends[0].1.poll_transmit().is_some_and(|sent| sent.bytes.starts_with(b"BYE")));
    net.restart(0, ms(300));
    assert!(matches!(net.take(1)[..], [Event::Ended { cause: EndCause::Bye { .. }, .. }]));
    assert!(matches!(net.take(0)[..], [Event::Ended { cause: EndCause::Local, .. }]));
    nothing_left(&mut net);

    // A refusal without its ACK.
    let mut net = Net::new(2, Faults::default(), 6);
    let (_, called) = ringing(&mut net, ";transport=tcp");
    let now = net.now;
    net.ends[1].1.reject(now, called, 486);
    while net.ends[1].1.poll_transmit().is_some() {}
    net.restart(1, ms(300));
    assert!(matches!(net.take(0)[..], [Event::Failed { code: 486, .. }]));
    nothing_left(&mut net);
}

#[test]
fn a_connection_number_that_comes_again_is_not_taken_for_the_old_connection() {
    let mut net = Net::new(2, Faults::default(), 7);
    let (caller, _) = talking(&mut net, ";transport=tcp");
    net.restart(0, ms(100));
    let stranger = "192.0.2.7:5070".parse().expect("an address");
    for connection in 0..200 {
        let flow = cti_sip::Flow {
            transport: cti_sip::Transport::Tcp,
            local: address(0),
            remote: stranger,
            connection: Some(cti_sip::ConnectionId(connection)),
        };
        let packet = cti_sip::Packet { flow, bytes: Bytes::from_static(b"\r\n\r\n") };
        net.ends[0].1.handle_packet(net.now, packet);
    }
    let now = net.now;
    net.ends[0].1.hangup(now, caller, None);
    let bye = net.ends[0].1.poll_transmit().expect("a BYE");
    assert_eq!((bye.flow.connection, bye.flow.remote), (None, address(1)));
}

#[test]
fn registrations_of_both_sides_live_on() {
    for transport in TRANSPORTS {
        let mut net = Net::new(2, Faults::default(), 8);
        net.ends[1].1.set_accounts("acme", vec![Account::with_secret("acme", "1001", "zongji", "s3cret")]);
        let registrar = net.ends[0].1.target_of(&format!("sip:{}{transport}", address(1))).expect("a target");
        let request = RegisterRequest {
            registrar,
            aor: "sip:1001@acme".into(),
            user: "1001".into(),
            secret: "s3cret".into(),
            expires_s: 600,
        };
        net.ends[0].1.register(net.now, request);
        net.take(0);
        net.take(1);
        net.restart(1, ms(500));
        let contacts = net.ends[1].1.contacts_of("acme", "1001");
        assert_eq!(contacts.len(), 1);
        assert_eq!((contacts[0].flow.remote, contacts[0].flow.connection), (address(0), None));
        // The phone's own process: what it keeps by a stream, it makes anew.
        let before = net.sent("REGISTER").len();
        net.restart(0, ms(500));
        net.settle();
        let made = net.sent("REGISTER").len() - before;
        assert_eq!(made > 0, !transport.is_empty(), "{transport}: {made}");
        net.run_for(Duration::from_secs(700));
        assert_eq!(net.ends[1].1.contacts_of("acme", "1001").len(), 1, "it was renewed in time");
    }
}
