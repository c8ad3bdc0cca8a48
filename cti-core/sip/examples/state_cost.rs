//! What an endpoint's state costs to write down and to read back, for one side of calls that just began (their transactions still
//! there) and of calls that talk.
//! Run: `cargo run --release -p cti-sip --example state_cost`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use cti_sip::{DigestPolicy, Endpoint, EndpointConfig, EndpointState, Event, Flow, InviteRequest, Packet, Transport};

const CALLS: usize = 5_000;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8 0 101\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n";

fn config(address: SocketAddr) -> EndpointConfig {
    EndpointConfig {
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
    }
}

/// Carries messages between the two until nothing moves; the sessions that came to the called side are answered.
fn settle(now: Timestamp, ends: &mut [(SocketAddr, Endpoint); 2]) {
    let mut moved = true;
    while std::mem::take(&mut moved) {
        for index in 0..2 {
            while let Some(transmit) = ends[index].1.poll_transmit() {
                let flow = Flow { local: transmit.flow.remote, remote: ends[index].0, ..transmit.flow };
                ends[1 - index].1.handle_packet(now, Packet { flow, bytes: transmit.bytes });
                moved = true;
            }
            while let Some(event) = ends[index].1.poll_event() {
                if let Event::Invite { session, .. } = event {
                    ends[index].1.ring(now, session, None);
                    ends[index].1.accept(now, session, Bytes::from_static(SDP.as_bytes()));
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "an example measures time")]
fn measure(what: &str, (address, end): &(SocketAddr, Endpoint)) {
    let clock = std::time::Instant::now();
    let bytes = rmp_serde::to_vec_named(end).expect("an endpoint is written down");
    let written = clock.elapsed();
    let clock = std::time::Instant::now();
    let state: EndpointState = rmp_serde::from_slice(&bytes).expect("what was written reads");
    let restored = Endpoint::restore(config(*address), state);
    let read = clock.elapsed();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / CALLS as f64;
    println!(
        "{what}: {} sessions, {} transactions: {} bytes, {:.2} us to write, {:.2} us to read, for each session",
        restored.sessions(),
        restored.transactions(),
        bytes.len() / CALLS,
        each(written),
        each(read),
    );
}

fn main() {
    let addresses = [1, 2].map(|last| SocketAddr::from(([10, 0, 0, last], 5060)));
    let mut ends = addresses.map(|address| (address, Endpoint::new(config(address), Rng::from_number(1))));
    let mut now = Timestamp::from_millis(1_800_000_000_000);
    for _ in 0..CALLS {
        now = now + Duration::from_millis(1);
        let target = ends[0].1.target_of("sip:1001@10.0.0.2").expect("a target");
        let request = InviteRequest {
            target,
            from_display: Some("Caller".into()),
            from_user: "13800138000".into(),
            offer: Bytes::from_static(SDP.as_bytes()),
            headers: Vec::new(),
            credentials: None,
        };
        ends[0].1.invite(now, request);
        settle(now, &mut ends);
    }
    measure("calling, just answered", &ends[0]);
    measure("called, just answered", &ends[1]);
    now = now + Duration::from_secs(60);
    for (_, end) in &mut ends {
        end.handle_deadline(now);
    }
    measure("calling, talking", &ends[0]);
    measure("called, talking", &ends[1]);
}
