//! What a call leg costs in this crate: two endpoints in one process call, ring, answer, acknowledge and end, without a network.
//! Run: `cargo build --release -p cti-sip --example leg_cost && time target/release/examples/leg_cost`; on a machine that does other
//! things too, the user time of `time` is the cost, not the wall clock printed here.

use std::net::SocketAddr;

use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use cti_sip::{DigestPolicy, Endpoint, EndpointConfig, Event, Flow, InviteRequest, Packet, Transport};

const CALLS: u64 = 50_000;
/// Simulated time between two calls: 1,000 calls/s, so that transactions of the last 32 s fill the tables as they would.
const BETWEEN_US: u64 = 1_000;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8 0 101\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n";

fn endpoint(last: u8) -> (SocketAddr, Endpoint) {
    let address = SocketAddr::from(([10, 0, 0, last], 5060));
    let config = EndpointConfig {
        listeners: vec![(Transport::Udp, address)],
        advertised: None,
        local_ip: address.ip(),
        local_ip6: None,
        digest: DigestPolicy::Md5,
        realm: "zongji".into(),
        user_agent: "Zongji".into(),
        sessions_max: 100_000,
        transactions_max: 1_000_000,
        registrations_max: 1,
    };
    (address, Endpoint::new(config, Rng::from_number(u64::from(last))))
}

/// Carries messages between the two until nothing moves; what happened at each.
fn settle(now: Timestamp, ends: &mut [(SocketAddr, Endpoint); 2], messages: &mut u64) -> [Vec<Event>; 2] {
    let mut events = [Vec::new(), Vec::new()];
    loop {
        let mut moved = false;
        for index in 0..2 {
            while let Some(transmit) = ends[index].1.poll_transmit() {
                let flow = Flow { local: transmit.flow.remote, remote: ends[index].0, ..transmit.flow };
                ends[1 - index].1.handle_packet(now, Packet { flow, bytes: transmit.bytes });
                *messages += 1;
                moved = true;
            }
            while let Some(event) = ends[index].1.poll_event() {
                events[index].push(event);
            }
        }
        if !moved {
            return events;
        }
    }
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "an example measures time")]
fn main() {
    let sdp = Bytes::from_static(SDP.as_bytes());
    let mut ends = [endpoint(1), endpoint(2)];
    let mut now = Timestamp::from_millis(1_800_000_000_000);
    let mut messages = 0;
    let mut answered = 0;
    let start = std::time::Instant::now();
    for _ in 0..CALLS {
        now = now + std::time::Duration::from_micros(BETWEEN_US);
        for (_, end) in &mut ends {
            end.handle_deadline(now);
        }
        let target = ends[0].1.target_of("sip:1001@10.0.0.2").expect("a target");
        let caller = ends[0].1.invite(
            now,
            InviteRequest {
                target,
                from_display: Some("Caller".into()),
                from_user: "13800138000".into(),
                offer: sdp.clone(),
                headers: Vec::new(),
                credentials: None,
            },
        );
        let [_, events] = settle(now, &mut ends, &mut messages);
        let Some(Event::Invite { session: called, .. }) = events.first() else { panic!("{events:?}") };
        ends[1].1.ring(now, *called, None);
        ends[1].1.accept(now, *called, sdp.clone());
        settle(now, &mut ends, &mut messages);
        ends[0].1.hangup(now, caller, None);
        let [own, _] = settle(now, &mut ends, &mut messages);
        answered += u64::from(matches!(own.last(), Some(Event::Ended { .. })));
    }
    let spent = start.elapsed();
    let legs = 2 * CALLS;
    let tables = ends[0].1.transactions() + ends[1].1.transactions();
    println!("{answered} of {CALLS} calls, {messages} messages, {tables} transactions alive at the end");
    println!(
        "{:.1} us a leg, {:.1} us a call of two legs",
        spent.as_secs_f64() * 1e6 / legs as f64,
        spent.as_secs_f64() * 1e6 / CALLS as f64
    );
}
