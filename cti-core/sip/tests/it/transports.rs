//! IPv6, websockets, TLS and TCP for what is too long: what stands in messages, and which way they go.

use std::net::SocketAddr;

use bytes::Bytes;
use cti_base::Rng;
use cti_sip::{
    Account, ConnectionId, Endpoint, EndpointConfig, Event, Flow, InviteRequest, Packet, Transmit, Transport,
};

use crate::net::{START, config, read_back};

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// An endpoint that listens on everything.
fn config_of_all() -> EndpointConfig {
    let mut listeners = Vec::new();
    for (transport, port) in [
        (Transport::Udp, 5060),
        (Transport::Tcp, 5060),
        (Transport::Tls, 5061),
        (Transport::Ws, 5062),
        (Transport::Wss, 5063),
    ] {
        listeners.push((transport, at(&format!("0.0.0.0:{port}"))));
        listeners.push((transport, at(&format!("[::]:{port}"))));
    }
    EndpointConfig {
        listeners,
        local_ip: at("192.0.2.1:1").ip(),
        local_ip6: Some("2001:db8::1".parse().expect("an address")),
        ..config(at("192.0.2.1:5060"))
    }
}

fn endpoint() -> Endpoint {
    Endpoint::new(config_of_all(), Rng::from_number(7))
}

fn call(end: &Endpoint, uri: &str, extra: usize) -> InviteRequest {
    InviteRequest {
        target: end.target_of(uri).unwrap_or_else(|| panic!("no way to {uri}")),
        from_display: None,
        from_user: "1".into(),
        offer: Bytes::from_static(b"v=0 offer"),
        headers: vec![("X-Filling".into(), "x".repeat(extra))],
        credentials: None,
    }
}

fn text(transmit: &Transmit) -> String {
    String::from_utf8_lossy(&transmit.bytes).into_owned()
}

#[test]
fn via_and_contact_name_the_family_and_the_transport_of_the_way() {
    let check = |uri: &str, via: &str, contact: &str| {
        let mut end = endpoint();
        let request = call(&end, uri, 0);
        end.invite(START, request);
        let sent = text(&end.poll_transmit().expect("an INVITE"));
        assert!(sent.contains(&format!("\r\nVia: SIP/2.0/{via};rport;")), "{uri}: {sent}");
        assert!(sent.contains(&format!("\r\nContact: <sip:{contact}>\r\n")), "{uri}: {sent}");
    };
    check("sip:2@192.0.2.9", "UDP 192.0.2.1:5060", "192.0.2.1:5060");
    check("sip:2@[2001:db8::9]:5070", "UDP [2001:db8::1]:5060", "[2001:db8::1]:5060");
    check("sip:2@[2001:db8::9];transport=tcp", "TCP [2001:db8::1]:5060", "[2001:db8::1]:5060;transport=tcp");
    check("sip:2@[::1];transport=tcp", "TCP [::1]:5060", "[::1]:5060;transport=tcp");
    check("sips:2@192.0.2.9", "TLS 192.0.2.1:5061", "192.0.2.1:5061;transport=tls");
}

#[test]
fn an_advertised_address_stands_for_its_own_family_only() {
    let mut end = Endpoint::new(
        EndpointConfig { advertised: Some(at("203.0.113.5:1").ip()), ..config_of_all() },
        Rng::from_number(7),
    );
    for (uri, via) in [("sip:2@192.0.2.9", "UDP 203.0.113.5:5060"), ("sip:2@[2001:db8::9]", "UDP [2001:db8::1]:5060")] {
        let request = call(&end, uri, 0);
        end.invite(START, request);
        assert!(text(&end.poll_transmit().expect("an INVITE")).contains(via), "{uri}");
    }
}

#[test]
fn a_target_without_a_listener_of_its_family_is_none() {
    let only4 = Endpoint::new(config(at("0.0.0.0:5060")), Rng::from_number(1));
    assert!(only4.target_of("sip:2@192.0.2.9").is_some());
    assert!(only4.target_of("sip:2@[2001:db8::9]").is_none());
    assert!(only4.target_of("sips:2@192.0.2.9").is_none());
}

#[test]
fn what_is_too_long_for_a_datagram_goes_by_tcp_and_back_where_that_is_not_taken() {
    let mut end = endpoint();
    let request = call(&end, "sip:2@192.0.2.9", 1_400);
    let session = end.invite(START, request);
    let first = end.poll_transmit().expect("an INVITE");
    assert_eq!(first.flow.transport, Transport::Tcp);
    assert!(text(&first).contains("\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;"), "{}", text(&first));
    let mut end = read_back(&config_of_all(), &end);
    end.transport_failed(START, first.flow);
    let second = end.poll_transmit().expect("the INVITE again");
    assert_eq!(second.flow.transport, Transport::Udp);
    assert!(text(&second).contains("\r\nVia: SIP/2.0/UDP ") && text(&second).contains("CSeq: 2 INVITE"));
    assert!(end.poll_event().is_none(), "the call goes on");
    end.transport_failed(START, second.flow);
    assert!(matches!(end.poll_event(), Some(Event::Failed { session: failed, code: 503, .. }) if failed == session));
    // The next one does not try TCP again.
    let request = call(&end, "sip:2@192.0.2.9", 1_400);
    end.invite(START, request);
    assert_eq!(end.poll_transmit().expect("an INVITE").flow.transport, Transport::Udp);
}

#[test]
fn short_requests_and_peers_asked_for_udp_stay_with_datagrams() {
    for (uri, extra) in [("sip:2@192.0.2.9", 100), ("sip:2@192.0.2.9;transport=udp", 1_400)] {
        let mut end = endpoint();
        let request = call(&end, uri, extra);
        end.invite(START, request);
        assert_eq!(end.poll_transmit().expect("an INVITE").flow.transport, Transport::Udp, "{uri}");
    }
}

/// A phone in a browser, by hand: registers by one websocket, then by another.
struct Browser {
    end: Endpoint,
    cseq: u32,
}

const CONTACT: &str = "sip:x7k2@a1b2c3.invalid;transport=ws";

impl Browser {
    fn new() -> Self {
        let mut end = endpoint();
        end.set_accounts("acme", vec![Account::with_secret("acme", "1001", "zongji", "s3cret")]);
        Self { end, cseq: 0 }
    }

    fn flow(connection: u64) -> Flow {
        Flow {
            transport: Transport::Wss,
            local: at("0.0.0.0:5063"),
            remote: SocketAddr::new(at("198.51.100.7:1").ip(), 40_000 + connection as u16),
            connection: Some(ConnectionId(connection)),
        }
    }

    fn give(&mut self, connection: u64, message: String) -> Option<Transmit> {
        self.end.handle_packet(START, Packet { flow: Self::flow(connection), bytes: message.into() });
        self.end.poll_transmit()
    }

    fn register(&mut self, connection: u64) {
        let mut authorization = String::new();
        for expected in [401, 200] {
            self.cseq += 1;
            let request = format!(
                "REGISTER sip:acme SIP/2.0\r\nVia: SIP/2.0/WSS a1b2c3.invalid;branch=z9hG4bK{0}\r\nFrom: <sip:1001@acme>;tag=f\r\n\
                 To: <sip:1001@acme>\r\nCall-ID: reg\r\nCSeq: {0} REGISTER\r\nContact: <{CONTACT}>;expires=600\r\n{authorization}\r\n",
                self.cseq
            );
            let answer = text(&self.give(connection, request).expect("an answer"));
            assert!(answer.starts_with(&format!("SIP/2.0 {expected}")), "{answer}");
            authorization = digest_line(&answer).unwrap_or_default();
        }
        while self.end.poll_event().is_some() {}
    }

    /// The registered phone is called and answers; its session.
    fn answers(&mut self, connection: u64) -> cti_sip::SessionId {
        let target = self.end.contacts_of("acme", "1001").remove(0);
        let request = InviteRequest { target, ..call(&self.end, "sip:1@192.0.2.9", 0) };
        let session = self.end.invite(START, request);
        let sent = self.end.poll_transmit().expect("an INVITE");
        assert_eq!(sent.flow, Self::flow(connection));
        let invite = text(&sent);
        assert!(invite.contains("\r\nVia: SIP/2.0/WSS 192.0.2.1:5063;"), "{invite}");
        assert!(invite.contains("\r\nContact: <sip:192.0.2.1:5063;transport=ws>\r\n"), "{invite}");
        let line = |name: &str| invite.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        let ok = format!(
            "SIP/2.0 200 OK\r\n{}\r\n{}\r\n{};tag=t\r\n{}\r\n{}\r\nContact: <{CONTACT}>\r\n\r\n",
            line("Via"),
            line("From"),
            line("To"),
            line("Call-ID"),
            line("CSeq")
        );
        assert!(text(&self.give(connection, ok).expect("an ACK")).starts_with("ACK "));
        session
    }
}

fn digest_line(challenge: &str) -> Option<String> {
    let nonce = challenge.split("nonce=\"").nth(1)?.split('"').next()?;
    // HA1 is the hash of three parts: any text of three or more can be hashed by it.
    let md5 = |a: &str, b: &str, c: &str| Account::with_secret("t", a, b, c).ha1_md5;
    let ha1 = md5("1001", "zongji", "s3cret");
    let ha2 = md5("REGISTER", "sip", "acme");
    let response = md5(&ha1, nonce, &format!("00000001:c:auth:{ha2}"));
    Some(format!(
        "Authorization: Digest username=\"1001\", realm=\"zongji\", nonce=\"{nonce}\", uri=\"sip:acme\", qop=auth, \
         nc=00000001, cnonce=\"c\", response=\"{response}\"\r\n"
    ))
}

#[test]
fn a_browsers_phone_is_called_by_its_websocket_and_followed_to_the_next_one() {
    let mut browser = Browser::new();
    browser.register(1);
    let session = browser.answers(1);
    browser.end.connection_closed(START, ConnectionId(1));
    assert!(browser.end.contacts_of("acme", "1001").is_empty(), "what a websocket registered ends with it");
    browser.register(2);
    browser.end = read_back(&config_of_all(), &browser.end);
    browser.end.hangup(START, session, None);
    let bye = browser.end.poll_transmit().expect("a BYE");
    assert!(text(&bye).starts_with(&format!("BYE {CONTACT} SIP/2.0\r\n")), "{}", text(&bye));
    assert_eq!(bye.flow, Browser::flow(2));
}

#[test]
fn after_a_restart_a_phone_is_followed_to_the_stream_by_which_it_registered_again() {
    let mut browser = Browser::new();
    browser.register(1);
    let session = browser.answers(1);
    browser.end = read_back(&config_of_all(), &browser.end);
    browser.end.restarted(START, START);
    assert_eq!(browser.end.contacts_of("acme", "1001").len(), 1, "it may come back before its time is over");
    browser.register(5);
    browser.end.hangup(START, session, None);
    assert_eq!(browser.end.poll_transmit().expect("a BYE").flow, Browser::flow(5));
}
