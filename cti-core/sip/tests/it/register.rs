use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cti_sip::{Account, ConnectionId, DigestPolicy, Endpoint, Event, Flow, Packet, RegisterRequest, Transport};

use crate::net::{Faults, Net, START, address, config};

fn accounts(tenant: &str, users: &[&str]) -> Vec<Account> {
    users.iter().map(|user| Account::with_secret(tenant, user, "zongji", "s3cret")).collect()
}

fn request(net: &Net, aor: &str, user: &str, secret: &str, expires_s: u32, transport: &str) -> RegisterRequest {
    let registrar = net.ends[0].1.target_of(&format!("sip:{}{transport}", address(1))).expect("a target");
    RegisterRequest { registrar, aor: aor.into(), user: user.into(), secret: secret.into(), expires_s }
}

fn registrar(policy: DigestPolicy) -> Net {
    let mut net = Net::new(2, Faults::default(), 1);
    let mut config = config(address(1));
    config.digest = policy;
    net.replace(1, config, 9);
    net.ends[1].1.set_accounts("acme", accounts("acme", &["1001", "1002"]));
    net.ends[1].1.set_accounts("beta", accounts("beta", &["1002"]));
    net
}

#[test]
fn a_phone_registers_is_reached_renews_itself_and_goes() {
    for (policy, transport) in
        [(DigestPolicy::Md5, ""), (DigestPolicy::Sha256, ";transport=tcp"), (DigestPolicy::Both, "")]
    {
        let mut net = registrar(policy);
        let wanted = request(&net, "sip:1001@acme", "1001", "s3cret", 600, transport);
        let id = net.ends[0].1.register(net.now, wanted);
        let events = net.take(0);
        assert!(matches!(events[..], [Event::RegisterResult { result: Ok(600), .. }]), "{policy:?} {events:?}");
        let events = net.take(1);
        assert!(
            matches!(&events[..], [Event::Registered { tenant, user, contacts: 1 }] if tenant == "acme" && user == "1001"),
            "{events:?}"
        );
        assert_eq!(net.sent("SIP/2.0 401").len(), 1);
        let contacts = net.ends[1].1.contacts_of("acme", "1001");
        assert_eq!(contacts[0].uri, format!("sip:1001@10.0.0.1:5060{transport}"));
        assert_eq!(contacts[0].flow.remote, address(0));
        // At 80 % of its time it is renewed, with a new challenge as the nonce is old.
        net.run_for(Duration::from_secs(479));
        assert_eq!(net.sent("REGISTER").len(), 2);
        net.run_for(Duration::from_secs(2));
        assert_eq!(net.sent("REGISTER").len(), 4);
        net.run_for(Duration::from_secs(300));
        assert_eq!(net.ends[1].1.contacts_of("acme", "1001").len(), 1);
        net.take(0);
        net.take(1);
        let now = net.now;
        net.ends[0].1.unregister(now, id);
        assert!(matches!(net.take(0)[..], [Event::RegisterResult { result: Ok(0), .. }]));
        assert!(matches!(net.take(1)[..], [Event::Registered { contacts: 0, .. }]));
        assert!(net.ends[1].1.contacts_of("acme", "1001").is_empty());
        net.run_for(Duration::from_secs(40));
        assert_eq!((net.ends[0].1.transactions(), net.ends[1].1.transactions()), (0, 0));
        assert_eq!(net.ends[0].1.poll_deadline(), None);
    }
}

#[test]
fn tenants_are_told_apart_and_strangers_learn_nothing() {
    let check = |aor: &str, user: &str, secret: &str, expect: Result<&str, u16>| {
        let mut net = registrar(DigestPolicy::Md5);
        let wanted = request(&net, aor, user, secret, 600, "");
        net.ends[0].1.register(net.now, wanted);
        let result = match &net.take(0)[..] {
            [Event::RegisterResult { result, .. }] => *result,
            other => panic!("{aor} {user}: {other:?}"),
        };
        let tenant = net.take(1).into_iter().find_map(|event| match event {
            Event::Registered { tenant, .. } => Some(tenant),
            _ => None,
        });
        match expect {
            Ok(expect) => assert_eq!((result, tenant.as_deref()), (Ok(600), Some(expect)), "{aor} {user}"),
            Err(code) => assert_eq!((result, tenant), (Err(code), None), "{aor} {user}"),
        }
        let refusals = net.sent("SIP/2.0 401").into_iter().map(|text| text.len()).collect::<Vec<_>>();
        assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]) || expect.is_ok(), "{refusals:?}");
    };
    check("sip:1001@10.0.0.2", "1001", "s3cret", Ok("acme"));
    check("sip:1002@beta", "1002", "s3cret", Ok("beta"));
    check("sip:1002@10.0.0.2", "1002@acme", "s3cret", Ok("acme"));
    check("sip:1002@10.0.0.2", "1002@beta", "s3cret", Ok("beta"));
    // Two tenants have a 1002.
    check("sip:1002@10.0.0.2", "1002", "s3cret", Err(401));
    check("sip:1001@10.0.0.2", "1001", "wrong", Err(401));
    check("sip:9999@acme", "9999", "s3cret", Err(401));
    check("sip:1001@acme", "1002", "s3cret", Err(401));
    check("sip:1002@acme", "1002@beta", "s3cret", Ok("beta"));
}

#[test]
fn an_account_that_goes_takes_its_registration_along_and_time_takes_the_rest() {
    let mut net = registrar(DigestPolicy::Md5);
    let wanted = request(&net, "sip:1001@acme", "1001", "s3cret", 600, "");
    net.ends[0].1.register(net.now, wanted);
    net.take(1);
    net.ends[1].1.set_accounts("acme", accounts("acme", &["1002"]));
    let events = net.take(1);
    assert!(matches!(&events[..], [Event::Registered { user, contacts: 0, .. }] if user == "1001"), "{events:?}");
    assert_eq!((net.ends[1].1.registered(), net.ends[1].1.contacts_of("acme", "1001").len()), (0, 0));

    let mut net = registrar(DigestPolicy::Md5);
    let wanted = request(&net, "sip:1001@acme", "1001", "s3cret", 600, "");
    net.ends[0].1.register(net.now, wanted);
    net.take(1);
    // The phone is switched off.
    net.replace(0, config(address(0)), 3);
    net.run_for(Duration::from_secs(599));
    assert!(net.take(1).is_empty());
    net.run_for(Duration::from_secs(2));
    assert!(matches!(net.take(1)[..], [Event::Registered { contacts: 0, .. }]));
    assert_eq!(net.ends[1].1.registered(), 0);
}

/// Hand-written REGISTERs of account 1001 at one registrar.
struct Phone {
    end: Endpoint,
    cseq: u32,
    flow: Flow,
}

impl Phone {
    fn new(transport: Transport) -> Self {
        let mut end = Endpoint::new(config(address(1)), cti_base::Rng::from_number(1));
        end.set_accounts("acme", accounts("acme", &["1001"]));
        let remote: SocketAddr = "192.0.2.7:33333".parse().expect("an address");
        let connection = (transport == Transport::Tcp).then_some(ConnectionId(5));
        Self { end, cseq: 0, flow: Flow { transport, local: address(1), remote, connection } }
    }

    fn send(&mut self, lines: &str, authorization: &str) -> String {
        self.cseq += 1;
        let text = format!(
            "REGISTER sip:acme SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9:5060;rport;branch=z9hG4bK{0}\r\nMax-Forwards: 70\r\n\
             From: <sip:1001@acme>;tag=f\r\nTo: <sip:1001@acme>\r\nCall-ID: reg\r\nCSeq: {0} REGISTER\r\n{authorization}{lines}\
             Content-Length: 0\r\n\r\n",
            self.cseq
        );
        self.end.handle_packet(START, Packet { flow: self.flow, bytes: Bytes::from(text) });
        let sent = self.end.poll_transmit().expect("an answer");
        assert_eq!(sent.flow, self.flow);
        String::from_utf8_lossy(&sent.bytes).into_owned()
    }

    /// The answer to a REGISTER with a good digest.
    fn register(&mut self, lines: &str) -> String {
        let challenge = self.send(lines, "");
        assert!(challenge.starts_with("SIP/2.0 401"), "{challenge}");
        let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
        let account = Account::with_secret("acme", "1001", "zongji", "s3cret");
        let md5 = |text: String| md5_hex(&text);
        let ha2 = md5("REGISTER:sip:acme".into());
        let response = md5(format!("{}:{nonce}:00000001:c:auth:{ha2}", account.ha1_md5));
        let line = format!(
            "Authorization: Digest username=\"1001\", realm=\"zongji\", nonce=\"{nonce}\", uri=\"sip:acme\", qop=auth, nc=00000001, \
             cnonce=\"c\", response=\"{response}\"\r\n"
        );
        self.send(lines, &line)
    }

    fn contacts(&self) -> Vec<String> {
        self.end.contacts_of("acme", "1001").into_iter().map(|target| target.uri).collect()
    }
}

/// HA1 of an account is the hash of three parts; with a trick of none it hashes any text.
fn md5_hex(text: &str) -> String {
    let mut parts = text.splitn(3, ':');
    let (a, b, c) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    match (b, c) {
        (Some(b), Some(c)) => Account::with_secret("t", a, b, c).ha1_md5,
        _ => panic!("a text of at least three parts: {text}"),
    }
}

#[test]
fn contacts_come_go_and_are_listed_with_their_times() {
    let mut phone = Phone::new(Transport::Udp);
    let answer =
        phone.register("Contact: <sip:a@10.9.9.9>;expires=100, \"x\" <sip:b@10.9.9.9:6000>\r\nExpires: 7200\r\n");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(answer.contains("Contact: <sip:a@10.9.9.9>;expires=100\r\n"), "{answer}");
    assert!(answer.contains("Contact: <sip:b@10.9.9.9:6000>;expires=3600\r\n"), "{answer}");
    assert_eq!(phone.contacts(), ["sip:b@10.9.9.9:6000", "sip:a@10.9.9.9"]);
    assert_eq!(
        phone.end.contacts_of("acme", "1001")[0].flow,
        phone.flow,
        "the flow it came by, not the private address"
    );
    phone.register("Contact: <sip:a@10.9.9.9>\r\nExpires: 60\r\n");
    assert_eq!(phone.contacts(), ["sip:a@10.9.9.9", "sip:b@10.9.9.9:6000"]);
    phone.register("Contact: <sip:a@10.9.9.9>;expires=0\r\n");
    assert_eq!(phone.contacts(), ["sip:b@10.9.9.9:6000"]);
    let query = phone.register("");
    assert!(query.contains("Contact: <sip:b@10.9.9.9:6000>"), "{query}");
    assert!(phone.register("Contact: *\r\nExpires: 10\r\n").starts_with("SIP/2.0 400"));
    assert!(phone.register("Contact: *\r\nExpires: 0\r\n").starts_with("SIP/2.0 200"));
    assert_eq!(phone.contacts().len(), 0);
    let brief = phone.register("Contact: <sip:a@10.9.9.9>;expires=59\r\n");
    assert!(brief.starts_with("SIP/2.0 423") && brief.contains("\r\nMin-Expires: 60\r\n"), "{brief}");
    for number in 0..20 {
        phone.register(&format!("Contact: <sip:p{number}@10.9.9.9>\r\n"));
    }
    assert_eq!(phone.contacts().len(), 8);
    assert_eq!(phone.contacts()[0], "sip:p19@10.9.9.9");
}

#[test]
fn a_phone_on_a_stream_is_reached_by_it_while_it_is_open() {
    let mut phone = Phone::new(Transport::Tcp);
    phone.register("Contact: <sip:a@192.0.2.7:6060;transport=tcp>\r\n");
    assert_eq!(phone.end.contacts_of("acme", "1001")[0].flow.connection, Some(ConnectionId(5)));
    phone.end.connection_closed(START, ConnectionId(5));
    let flow = phone.end.contacts_of("acme", "1001")[0].flow;
    assert_eq!((flow.connection, flow.remote), (None, "192.0.2.7:6060".parse().expect("an address")));
}

#[test]
fn a_trunk_that_challenges_the_invite_gets_its_answer_once() {
    let mut net = Net::new(1, Faults::default(), 1);
    let mut call = net.request(0, 0, "");
    call.target = net.ends[0].1.target_of("sip:1@192.0.2.7:5070").expect("a target");
    call.credentials = Some(("trunk".into(), "pw".into()));
    let now = net.now;
    net.ends[0].1.invite(now, call);
    net.settle();
    let challenge = |net: &Net| {
        let sent = net.sent("INVITE").last().expect("an INVITE").to_string();
        let line = |name: &str| sent.lines().find(|line| line.starts_with(name)).unwrap_or("").to_owned();
        format!(
            "SIP/2.0 407 Proxy Authentication Required\r\n{}\r\n{}\r\n{};tag=x\r\n{}\r\n{}\r\n\
             Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512\r\n\
             Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int,auth\", algorithm=MD5, opaque=\"o\"\r\n\r\n",
            line("Via"),
            line("From"),
            line("To"),
            line("Call-ID"),
            line("CSeq")
        )
    };
    let peer = "192.0.2.7:5070".parse().expect("an address");
    let text = challenge(&net);
    net.inject(0, peer, &text);
    let sent = net.sent("INVITE");
    assert_eq!(sent.len(), 2);
    assert!(
        sent[1].contains("CSeq: 2 INVITE") && sent[1].contains("Proxy-Authorization: Digest username=\"trunk\""),
        "{}",
        sent[1]
    );
    assert!(sent[1].contains("opaque=\"o\"") && sent[1].contains("nc=00000001"), "{}", sent[1]);
    let text = challenge(&net);
    net.inject(0, peer, &text);
    assert!(matches!(net.take(0)[..], [Event::Failed { code: 407, .. }]));
    assert_eq!(net.sent("ACK").len(), 2);
}
