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
