//! Named limits hold, and what is refused by them leaves nothing behind.

use std::time::Duration;

use bytes::Bytes;
use cti_base::Rng;
use cti_sip::{Endpoint, Event, Flow, Packet, RejectReason, Transport};

use crate::net::{START, address, config};

fn invite(number: usize) -> Bytes {
    let text = format!(
        "INVITE sip:1@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@b>;tag={number}\r\nTo: <sip:1@10.0.0.1>\r\nCall-ID: c{number}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@192.0.2.7:5070>\r\nContent-Length: 0\r\n\r\n"
    );
    Bytes::from(text)
}

fn packet(bytes: Bytes) -> Packet {
    let remote = "192.0.2.7:5070".parse().expect("an address");
    Packet { flow: Flow { transport: Transport::Udp, local: address(0), remote, connection: None }, bytes }
}

#[test]
fn sessions_beyond_the_limit_get_503_and_cost_nothing() {
    let mut end = Endpoint::new(config(address(0)), Rng::from_number(1));
    for number in 0..1_100 {
        end.handle_packet(START, packet(invite(number)));
    }
    assert_eq!(end.sessions(), 1_000);
    let (mut invites, mut refused) = (0, 0);
    while let Some(event) = end.poll_event() {
        match event {
            Event::Invite { .. } => invites += 1,
            Event::Rejected { reason: RejectReason::LimitReached } => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((invites, refused), (1_000, 100));
    let mut sent = std::iter::from_fn(|| end.poll_transmit()).filter(|t| t.bytes.starts_with(b"SIP/2.0 503"));
    assert!(sent.next().is_some_and(|t| String::from_utf8_lossy(&t.bytes).contains("Retry-After: ")));
    assert_eq!(sent.count(), 99);
}

#[test]
fn calls_that_nobody_acknowledges_all_end_and_others_go_on_meanwhile() {
    let mut limits = config(address(0));
    limits.sessions_max = 100_000;
    limits.transactions_max = 100_000;
    let mut end = Endpoint::new(limits, Rng::from_number(1));
    let mut accepted = 0;
    for number in 0..15_000 {
        end.handle_packet(START, packet(invite(number)));
        while let Some(event) = end.poll_event() {
            if let Event::Invite { session, .. } = event {
                end.accept(START, session, Bytes::from_static(b"v=0"));
                accepted += 1;
            }
        }
        while end.poll_transmit().is_some() {}
    }
    assert_eq!(accepted, 8_192, "calls beyond the cap on un-acknowledged ones are refused");
    let mut now = START;
    while let Some(deadline) = end.poll_deadline() {
        now = deadline;
        end.handle_deadline(now);
        while end.poll_transmit().is_some() {}
    }
    let ended = std::iter::from_fn(|| end.poll_event()).filter(|event| matches!(event, Event::Ended { .. })).count();
    assert_eq!(ended, accepted);
    assert_eq!((end.sessions(), end.transactions()), (0, 0));
    assert!(now.since(START) <= Duration::from_secs(65), "{:?}", now.since(START));
}
