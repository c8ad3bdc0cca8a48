#![no_main]

use cti_base::{Rng, Timestamp};
use cti_sip::{DigestPolicy, Endpoint, EndpointConfig, Event, Flow, Packet, Transport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let local = std::net::SocketAddr::from(([192, 0, 2, 1], 5060));
    let config = EndpointConfig {
        listeners: vec![(Transport::Udp, local)],
        advertised: None,
        local_ip: local.ip(),
        local_ip6: None,
        digest: DigestPolicy::Both,
        realm: "zongji".into(),
        user_agent: "fuzz".into(),
        sessions_max: 10,
        transactions_max: 100,
        registrations_max: 10,
    };
    let mut end = Endpoint::new(config, Rng::from_number(1));
    let flow = Flow { transport: Transport::Udp, local, remote: local, connection: None };
    end.handle_packet(Timestamp::from_millis(1), Packet { flow, bytes: bytes::Bytes::copy_from_slice(bytes) });
    while let Some(event) = end.poll_event() {
        if let Event::Invite { session, .. } = event {
            end.accept(Timestamp::from_millis(2), session, "v=0\r\n".into());
        }
    }
    while let Some(at) = end.poll_deadline() {
        end.handle_deadline(at);
        while end.poll_transmit().is_some() || end.poll_event().is_some() {}
    }
});
