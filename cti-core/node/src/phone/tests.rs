//! Phones that call each other over loopback.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cti_sip::Transport;

use super::*;

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
