//! What a restart asks of the workers, and what they must not lose meanwhile.

use std::sync::Mutex;

use super::*;

impl Rig {
    /// Another process over what this one leaves behind; the call and its ids stay.
    fn restarted(mut self) -> Self {
        let next = Self::new();
        self.workers.leave();
        if let Some((recorder, thread)) = self.recorder.take() {
            recorder.leave().expect("there is room");
            thread.join();
        }
        let (sender, events) = channel();
        let told = sender.clone();
        let store = StoreConfig { root: self.root.path().to_path_buf() };
        let (recorder, thread) = Recorder::start(store, move |event| drop(told.send(event))).expect("a recorder");
        let config = MediaConfig { ip: LOOPBACK, workers: 1, rtp_timeout: Duration::from_millis(300), browsers: None };
        let tell = told_by(sender);
        let workers = MediaWorkers::start(config, Arc::default(), recorder.clone(), tell).expect("workers");
        Self { workers, events, recorder: Some((recorder, thread)), root: self.root, rng: next.rng, call: self.call }
    }

    /// Lets the phones talk, a packet each 20 ms.
    fn talk(&self, phones: [&mut Phone; 2], tones: &mut [Tone; 2], packets: u32) {
        let begun = Instant::now();
        let [caller, desk] = phones;
        for n in 0..packets {
            let due = begun + Duration::from_millis(20) * n;
            self.heard(due.saturating_duration_since(Instant::now()));
            for (phone, tone) in [&mut *caller, &mut *desk].into_iter().zip(tones.iter_mut()) {
                let frame: Vec<u8> = tone.take(160).map(|sample| law(phone.codec).encode(sample)).collect();
                phone.voice(&frame);
            }
        }
    }
}

#[test]
fn a_recording_and_its_legs_go_on_after_a_restart() {
    let mut rig = Rig::new();
    let ([customer, agent], [mut caller, mut desk]) = rig.bridged(15400, [Codec::Pcma, Codec::Pcmu]);
    let (recording, call, started) = (RecordingId::new(clock::now(), &mut rig.rng), rig.call, clock::now());
    let tenant = TenantId::from("acme");
    rig.record(recording, customer, agent, started);
    rig.settle();
    let mut tones = [Tone::sine(440.0), Tone::sine(1_000.0)];
    rig.talk([&mut caller, &mut desk], &mut tones, 50);
    let before = caller.packet().0;

    let mut rig = rig.restarted();
    rig.heard(Duration::from_millis(200));
    // The burst that a restarted switch sends: nothing is awaited in between.
    for (leg, phone, rtp_port) in [(customer, &caller, 15400), (agent, &desk, 15404)] {
        rig.send(MediaCommand::Open { leg, call, rtp_port });
        rig.send(MediaCommand::Connect { leg, media: phone.media(Direction::SendRecv) });
        rig.send(MediaCommand::Mute { leg, muted: false });
    }
    rig.send(MediaCommand::join(customer, agent));
    rig.send(MediaCommand::Resume { recording, call, tenant, started });
    MediaCommand::record_from(recording, vec![customer], vec![agent]).into_iter().for_each(|from| rig.send(from));
    let gap = match rig.event(|event| matches!(event, MediaEvent::RecordingResumed { .. })) {
        MediaEvent::RecordingResumed { recording: resumed, gap } if resumed == recording => gap,
        other => panic!("{other:?}"),
    };
    rig.settle();
    while caller.packet_within(Duration::from_millis(1)).is_some() {}
    rig.talk([&mut caller, &mut desk], &mut tones, 50);
    let after = caller.packet().0;
    assert_ne!(after.ssrc, before.ssrc, "another stream to the peer");
    rig.heard(Duration::from_millis(50));
    rig.send(MediaCommand::RecordStop { recording });
    let lasted = clock::now().since(started).as_millis() as u64;
    let file = sealed(&rig, recording);

    assert!((900..1_300).contains(&gap.from_ms), "all that was said before is kept: {gap:?}");
    assert!((200..900).contains(&(gap.to_ms - gap.from_ms)), "{gap:?}");
    assert!(file.duration_ms.abs_diff(lasted) <= 40, "{} of {lasted}", file.duration_ms);
    let (customer, agent) = channels(&rig, &file);
    let (from, to) = (gap.from_ms as usize, gap.to_ms as usize);
    for (side, hz) in [(customer, 440.0), (agent, 1_000.0)] {
        assert!(tone::share(&side[8 * 100..8 * (from - 100)], hz) > 0.95, "before the gap");
        assert!(side[8 * from..8 * to].iter().all(|sample| *sample == 0), "the gap is silence");
        assert!(tone::share(&side[8 * (to + 100)..8 * (to + 900)], hz) > 0.95, "after the gap");
    }
    let bytes = std::fs::read(rig.root.path().join(&file.path)).expect("readable");
    assert_eq!(file.bytes, bytes.len() as u64);
}

#[test]
fn a_recording_that_had_stopped_is_sealed_after_a_restart() {
    let mut rig = Rig::new();
    let ([customer, agent], [mut caller, mut desk]) = rig.bridged(15420, [Codec::Pcma, Codec::Pcma]);
    let (recording, call, started) = (RecordingId::new(clock::now(), &mut rig.rng), rig.call, clock::now());
    let tenant = TenantId::from("acme");
    rig.record(recording, customer, agent, started);
    rig.settle();
    rig.talk([&mut caller, &mut desk], &mut [Tone::sine(440.0), Tone::sine(1_000.0)], 20);
    let rig = rig.restarted();

    rig.send(MediaCommand::Seal { recording, call, tenant, started });

    assert!((380..900).contains(&sealed(&rig, recording).duration_ms));
}

#[test]
fn a_restarts_burst_of_commands_is_not_lost() {
    let mut rig = Rig::new();
    // More than a worker lets wait: every leg that can not be opened is told.
    let burst = 2 * COMMANDS_MAX;
    let call = rig.call;
    for _ in 0..burst {
        let leg = LegId::new(clock::now(), &mut rig.rng);
        rig.send(MediaCommand::Open { leg, call, rtp_port: u16::MAX });
    }
    for _ in 0..burst {
        rig.event(|event| matches!(event, MediaEvent::OpenFailed { .. }));
    }
    assert_eq!(rig.workers.counters().commands_lost(), 0);
}

#[test]
fn news_that_the_switch_has_no_room_for_are_told_later_in_order() {
    let (sender, events) = channel();
    let (told, room) = (sender.clone(), Arc::new(Mutex::new(0)));
    let left = Arc::clone(&room);
    let mut rig = Rig::telling(events, sender, move |event| {
        let mut left = left.lock().expect("a count");
        if *left == 0 {
            return Err(event);
        }
        *left -= 1;
        told_by(told.clone())(event)
    });
    let legs: Vec<LegId> = (0..500).map(|_| LegId::new(clock::now(), &mut rig.rng)).collect();
    for leg in &legs {
        rig.send(MediaCommand::Close { leg: *leg });
    }
    assert!(rig.heard(Duration::from_millis(50)).is_empty());
    let mut closed = Vec::new();
    while closed.len() < legs.len() {
        *room.lock().expect("a count") = 100;
        let MediaEvent::Closed { leg, .. } = rig.event(|_| true) else { panic!("only closed legs") };
        closed.push(leg);
    }
    assert_eq!(closed, legs);
}

#[test]
fn a_port_of_a_process_that_is_dying_is_waited_for() {
    let mut rig = Rig::new();
    let dying = UdpSocket::bind((LOOPBACK, 15441)).expect("a free port");
    let (leg, mut phone) = rig.leg(15440, Codec::Pcma);
    rig.send(MediaCommand::Play { leg, play: PlayId(1), audio: vec![ramp()], repeat: true });
    rig.settle();
    assert!(rig.heard(Duration::from_millis(200)).is_empty(), "neither open nor failed");
    drop(dying);
    phone.packet();
    phone.press('5');
    assert!(matches!(rig.event(|_| true), MediaEvent::Digit { digit: '5', .. }));
    // One that is closed meanwhile is not opened later.
    let taken = UdpSocket::bind((LOOPBACK, 15451)).expect("a free port");
    let (leg, _phone) = rig.leg(15450, Codec::Pcma);
    rig.close(leg);
    drop(taken);
    rig.heard(Duration::from_millis(50));
    UdpSocket::bind((LOOPBACK, 15451)).expect("the port is free");
}

#[test]
fn a_held_leg_is_never_silent_and_one_that_never_spoke_is() {
    let mut rig = Rig::new();
    let ([a, b], [mut one, _two]) = rig.bridged(15460, [Codec::Pcma, Codec::Pcma]);
    // The agent's peer hears music: neither side need speak.
    rig.send(MediaCommand::Play { leg: a, play: PlayId(1), audio: vec![ramp()], repeat: true });
    rig.settle();
    assert!(rig.heard(Duration::from_millis(900)).is_empty());
    rig.send(MediaCommand::Stop { leg: a });
    rig.settle();
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        one.voice(&[1; 160]);
        assert!(rig.heard(Duration::from_millis(20)).is_empty(), "the time counts from the end of the hold");
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        one.voice(&[1; 160]);
        match rig.heard(Duration::from_millis(20)).as_slice() {
            [] => {}
            [MediaEvent::Silent { leg }] if *leg == b => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("the agent's phone never sent anything, and nobody was told");
}
