//! Phones that call each other over loopback.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cti_base::Rng;
use cti_media::sdp::{self, Local};
use cti_media::{Codec, Direction as Flowing};
use cti_sip::{Account, DigestPolicy, Endpoint, EndpointConfig, Event, Flow, InviteRequest, Packet, Transport};

use super::*;
use crate::clock;

const LONG: Duration = Duration::from_secs(10);

fn line(port: u16, transport: Transport) -> LineConfig {
    LineConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        transport,
        user: "1001".into(),
        register: None,
        answer: Answer::After(Span::exactly(Duration::ZERO)),
        script: CallScript::default(),
        incoming_max: 1_000,
    }
}

fn start(lines: Vec<LineConfig>) -> (Phone, Receiver<PhoneEvent>) {
    let (sender, events) = channel();
    let phone = Phone::start(PhoneConfig { lines }, move |event| {
        let _ = sender.send(event);
    });
    (phone.expect("the phone starts"), events)
}

fn plan(callee: &Phone, transport: Transport, script: CallScript) -> CallPlan {
    let suffix = if transport == Transport::Tcp { ";transport=tcp" } else { "" };
    CallPlan {
        line: 0,
        to: format!("sip:1001@{}{suffix}", callee.addresses()[0]),
        from: Some("13800138000".into()),
        credentials: None,
        ring_max: None,
        script,
    }
}

fn seconds(seconds: f64) -> Option<Span> {
    Some(Span::exactly(Duration::from_secs_f64(seconds)))
}

fn ended(events: &Receiver<PhoneEvent>) -> CallReport {
    loop {
        if let PhoneEvent::Ended { report, .. } = events.recv_timeout(LONG).expect("the call ends") {
            return *report;
        }
    }
}

/// How strong `hz` is in samples of 8 kHz: the amplitude of its sine (Goertzel).
fn amplitude(samples: &[i16], hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / 8_000.0;
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let phase = step * n as f64;
        re += f64::from(*sample) * phase.cos();
        im += f64::from(*sample) * phase.sin();
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

fn talks_both_ways(port: u16, transport: Transport) {
    let folder = tempfile::tempdir().expect("a folder");
    let (heard_here, heard_there) = (folder.path().join("here.wav"), folder.path().join("there.wav"));
    let mut answers = line(port, transport);
    answers.script = CallScript { sound: Sound::tone(1_000), save: Some(heard_there.clone()), ..CallScript::default() };
    let (callee, callee_events) = start(vec![answers]);
    let (caller, caller_events) = start(vec![line(port + 1, transport)]);
    let script = CallScript {
        sound: Sound::tone(440),
        digits: Some((Duration::from_millis(300), "2,#".into())),
        hangup_after: seconds(2.0),
        save: Some(heard_here.clone()),
    };

    caller.dial(plan(&callee, transport, script)).expect("dialled");
    let (here, there) = (ended(&caller_events), ended(&callee_events));

    assert_eq!((here.outcome, there.outcome), (Outcome::Answered, Outcome::Answered));
    assert_eq!((here.ended_by_peer, there.ended_by_peer), (false, true));
    assert_eq!((here.peer.as_str(), there.peer.as_str()), ("1001", "13800138000"));
    assert_eq!(there.digits, "2#");
    assert!(here.talk_ms.abs_diff(2_000) < 500, "{here:?}");
    for report in [&here, &there] {
        assert!((85..=130).contains(&report.packets_out), "50 packets a second: {report:?}");
        assert_eq!(report.packets_lost, 0, "{report:?}");
    }
    let read = |path| -> Vec<i16> {
        let wav = hound::WavReader::open(path).expect("a WAV file");
        wav.into_samples().map(|sample| sample.expect("a sample")).collect()
    };
    let (here, there) = (read(heard_here), read(heard_there));
    assert!(here.len() > 12_000 && there.len() > 12_000);
    assert!(amplitude(&here[1_600..9_600], 1_000.0) > 6_000.0 && amplitude(&here[1_600..9_600], 440.0) < 200.0);
    assert!(amplitude(&there[..1_600], 440.0) > 6_000.0 && amplitude(&there[..1_600], 1_000.0) < 200.0);
}

#[test]
fn two_phones_talk_and_press_keys_over_udp() {
    talks_both_ways(16_010, Transport::Udp);
}

#[test]
fn two_phones_talk_and_press_keys_over_tcp() {
    talks_both_ways(16_020, Transport::Tcp);
}

#[test]
fn a_refused_call_has_its_status() {
    let mut busy = line(16_030, Transport::Udp);
    busy.answer = Answer::Reject(486);
    let (callee, _) = start(vec![busy]);
    let (caller, events) = start(vec![line(16_031, Transport::Udp)]);
    caller.dial(plan(&callee, Transport::Udp, CallScript::default())).expect("dialled");
    assert_eq!(ended(&events).outcome, Outcome::Failed { code: 486 });
    assert_eq!((caller.figures().failed, callee.figures().failed), (1, 1));
}

#[test]
fn a_phone_with_one_call_is_busy() {
    let mut single = line(16_040, Transport::Udp);
    single.incoming_max = 1;
    let (callee, _) = start(vec![single]);
    let (caller, events) = start(vec![line(16_041, Transport::Udp)]);
    let script = CallScript { hangup_after: seconds(1.0), ..CallScript::default() };
    caller.dial(plan(&callee, Transport::Udp, script.clone())).expect("dialled");
    caller.dial(plan(&callee, Transport::Udp, script)).expect("dialled");
    assert_eq!(ended(&events).outcome, Outcome::Failed { code: 486 });
    assert_eq!(ended(&events).outcome, Outcome::Answered);
}

#[test]
fn a_caller_without_patience_gives_up() {
    let mut slow = line(16_050, Transport::Udp);
    slow.answer = Answer::Manual;
    let (callee, callee_events) = start(vec![slow]);
    let (caller, events) = start(vec![line(16_051, Transport::Udp)]);
    let mut plan = plan(&callee, Transport::Udp, CallScript::default());
    plan.ring_max = Some(Duration::from_millis(300));
    caller.dial(plan).expect("dialled");
    assert_eq!((ended(&events).outcome, ended(&callee_events).outcome), (Outcome::Cancelled, Outcome::Cancelled));
}

#[test]
fn a_manual_phone_answers_when_told() {
    let mut manual = line(16_060, Transport::Udp);
    manual.answer = Answer::Manual;
    let (callee, callee_events) = start(vec![manual]);
    let (caller, events) = start(vec![line(16_061, Transport::Udp)]);
    let script = CallScript { hangup_after: seconds(0.2), ..CallScript::default() };
    caller.dial(plan(&callee, Transport::Udp, script)).expect("dialled");
    let ringing = loop {
        if let PhoneEvent::Incoming { call, from, .. } = callee_events.recv_timeout(LONG).expect("it rings") {
            assert_eq!(from, "13800138000");
            break call;
        }
    };
    callee.answer(ringing).expect("told");
    let report = ended(&events);
    assert_eq!(report.outcome, Outcome::Answered);
    assert_eq!(callee.stop().active, 0);
}

#[test]
fn many_calls_at_once_all_end() {
    const CALLS: usize = 200;
    let (callee, _) = start(vec![line(16_070, Transport::Udp)]);
    let (caller, events) = start(vec![line(16_071, Transport::Udp), line(16_072, Transport::Udp)]);
    for n in 0..CALLS {
        let script = CallScript { sound: Sound::Nothing, hangup_after: seconds(0.2), ..CallScript::default() };
        let mut plan = plan(&callee, Transport::Udp, script);
        plan.line = n % 2;
        caller.dial(plan).expect("dialled");
    }
    for _ in 0..CALLS {
        assert_eq!(ended(&events).outcome, Outcome::Answered);
    }
    let figures = caller.stop();
    assert_eq!((figures.calls, figures.answered, figures.active), (200, 200, 0));
    assert!(figures.setup_ms(99.0).is_some());
}

#[test]
fn stopping_hangs_up_and_tells_every_call() {
    let (callee, callee_events) = start(vec![line(16_080, Transport::Udp)]);
    let (caller, events) = start(vec![line(16_081, Transport::Udp)]);
    caller.dial(plan(&callee, Transport::Udp, CallScript::default())).expect("dialled");
    while !matches!(events.recv_timeout(LONG), Ok(PhoneEvent::Answered { .. })) {}
    drop(caller);
    assert_eq!(ended(&events).outcome, Outcome::Answered);
    let report = ended(&callee_events);
    assert!(report.ended_by_peer, "the other side heard the BYE: {report:?}");
}

#[test]
fn a_call_to_nowhere_fails() {
    let (caller, events) = start(vec![line(16_090, Transport::Tcp)]);
    for to in ["nonsense", "sip:1@example.invalid", "sip:1@127.0.0.1:16099;transport=tcp"] {
        let plan = CallPlan {
            line: 0,
            to: to.into(),
            from: None,
            credentials: None,
            ring_max: None,
            script: CallScript::default(),
        };
        caller.dial(plan).expect("dialled");
        assert!(matches!(ended(&events).outcome, Outcome::Failed { .. }), "{to}");
    }
    assert!(matches!(
        caller.dial(CallPlan { line: 1, ..plan(&caller, Transport::Udp, CallScript::default()) }),
        Err(PhoneError::NoLine(1))
    ));
}

#[test]
fn an_address_in_use_is_an_error_that_says_so() {
    let (_first, _) = start(vec![line(16_095, Transport::Udp)]);
    let error = Phone::start(PhoneConfig { lines: vec![line(16_095, Transport::Udp)] }, |_| {}).err().expect("refused");
    assert!(error.to_string().contains("127.0.0.1:16095"), "{error}");
}

/// A bare endpoint on a UDP socket: the other side of what a phone does with a registrar and with a switch.
struct Peer {
    socket: std::net::UdpSocket,
    address: SocketAddr,
    endpoint: Endpoint,
}

impl Peer {
    fn bind(port: u16) -> Self {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", port)).expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
        let address = socket.local_addr().expect("bound");
        let config = EndpointConfig {
            listeners: vec![(Transport::Udp, address)],
            advertised: None,
            local_ip: address.ip(),
            local_ip6: None,
            digest: DigestPolicy::Both,
            realm: "zongji".into(),
            user_agent: "peer".into(),
            sessions_max: 10,
            transactions_max: 100,
            registrations_max: 10,
        };
        Self { socket, address, endpoint: Endpoint::new(config, Rng::from_number(1)) }
    }

    /// Runs until an event that `wanted` takes.
    fn until<T>(&mut self, mut wanted: impl FnMut(&mut Endpoint, Event) -> Option<T>) -> T {
        let deadline = clock::now() + LONG;
        loop {
            assert!(clock::now() < deadline, "nothing came");
            match self.endpoint.poll_event() {
                Some(event) => {
                    if let Some(found) = wanted(&mut self.endpoint, event) {
                        self.turn();
                        return found;
                    }
                }
                None => self.turn(),
            }
        }
    }

    /// Runs until told.
    fn serve(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            self.turn();
            while self.endpoint.poll_event().is_some() {}
        }
    }

    fn turn(&mut self) {
        let mut buffer = [0u8; 65_535];
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.socket.send_to(&transmit.bytes, transmit.flow.remote).expect("sent");
        }
        if let Ok((length, remote)) = self.socket.recv_from(&mut buffer) {
            let flow = Flow { transport: Transport::Udp, local: self.address, remote, connection: None };
            let bytes = bytes::Bytes::copy_from_slice(&buffer[..length]);
            self.endpoint.handle_packet(clock::now(), Packet { flow, bytes });
        }
        self.endpoint.handle_deadline(clock::now());
    }
}

#[test]
fn a_phone_registers_by_digest_and_takes_its_registration_back() {
    let mut registrar = Peer::bind(16_100);
    registrar.endpoint.set_accounts("acme", vec![Account::with_secret("acme", "1001", "zongji", "hush")]);
    let mut line = line(16_101, Transport::Udp);
    let register = Register {
        registrar: "sip:127.0.0.1:16100".into(),
        domain: "127.0.0.1:16100".into(),
        user: "1001".into(),
        secret: "hush".into(),
        expires_s: 60,
    };
    line.register = Some(register.clone());
    let (phone, events) = start(vec![line.clone()]);
    let registered = |contacts| {
        move |_: &mut Endpoint, event: Event| match event {
            Event::Registered { user, contacts: now, .. } if user == "1001" && now == contacts => Some(()),
            _ => None,
        }
    };

    registrar.until(registered(1));
    let flush = std::thread::spawn(move || {
        registrar.until(registered(0));
        registrar
    });
    assert!(matches!(events.recv_timeout(LONG), Ok(PhoneEvent::Registered { result: Ok(1..=60), .. })));
    assert_eq!(phone.stop().registered, 1);
    let mut registrar = flush.join().expect("the registration ended");

    line.register = Some(Register { secret: "wrong".into(), ..register });
    let (phone, events) = start(vec![line]);
    let over = Arc::new(AtomicBool::new(false));
    let serving = std::thread::spawn({
        let over = Arc::clone(&over);
        move || registrar.serve(&over)
    });
    let refused = events.recv_timeout(LONG);
    over.store(true, Ordering::Relaxed);
    serving.join().expect("served");
    assert!(matches!(refused, Ok(PhoneEvent::Registered { result: Err(401 | 403), .. })), "{refused:?}");
    assert_eq!(phone.figures().register_failed, 1);
}

#[test]
fn a_manual_phone_answers_the_callers_notify() {
    let mut manual = line(16_110, Transport::Udp);
    manual.answer = Answer::Manual;
    let (phone, _events) = start(vec![manual]);
    let mut switch = Peer::bind(16_111);
    let target = switch.endpoint.target_of("sip:1001@127.0.0.1:16110").expect("an address");
    let local = Local {
        rtp: SocketAddr::from(([127, 0, 0, 1], 16_112)),
        session_id: 1,
        version: 1,
        srtp: None,
        wideband: false,
        webrtc: None,
    };
    let session = switch.endpoint.invite(
        clock::now(),
        InviteRequest {
            target,
            from_display: None,
            from_user: "2000".into(),
            offer: sdp::offer(&local, Codec::Pcma, Flowing::SendRecv),
            headers: Vec::new(),
            credentials: None,
        },
    );

    switch.until(|endpoint, event| match event {
        Event::Progress { code: 180, .. } => endpoint.notify_talk(clock::now(), session).then_some(()),
        other => panic!("{other:?}"),
    });
    let answer = switch.until(|_, event| match event {
        Event::Answered { sdp, .. } => sdp,
        _ => None,
    });
    assert_eq!(sdp::read_answer(&answer).expect("an answer").codec, Codec::Pcma);
    assert_eq!(phone.figures().active, 1);
}
