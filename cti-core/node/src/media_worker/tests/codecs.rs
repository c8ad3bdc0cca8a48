//! Legs of different codecs hear each other by tones, keys pass, and what is the same on both sides is not touched.

use cti_media::voice::{At, FRAME_BYTES_MAX, Voice};

use super::*;

/// A phone of any codec that says a tone.
struct Speaker {
    phone: Phone,
    voice: Option<Box<Voice>>,
    /// What it hears is decoded apart from what it says.
    ear: Option<Box<Voice>>,
    tone: Tone,
}

impl Speaker {
    fn new(phone: Phone, hz: f64) -> Self {
        let (voice, ear) = (Voice::new(phone.codec), Voice::new(phone.codec));
        Self { phone, voice, ear, tone: Tone::sine(hz) }
    }

    fn say(&mut self) {
        let mut frame = [0; 160];
        frame.iter_mut().zip(&mut self.tone).for_each(|(sample, tone)| *sample = tone);
        let mut packet = [0; FRAME_BYTES_MAX];
        let len = match &mut self.voice {
            Some(voice) => voice.encode(&frame, &mut packet),
            None => {
                packet.iter_mut().zip(frame).for_each(|(byte, sample)| *byte = law(self.phone.codec).encode(sample));
                160
            }
        };
        let phone = &mut self.phone;
        phone.send(false, phone.codec.payload_type(), phone.timestamp, &packet[..len]);
        phone.timestamp = phone.timestamp.wrapping_add(160 * phone.codec.ticks());
    }

    /// Everything that came, as samples, and each packet's timestamp.
    fn hear(&mut self) -> (Vec<i16>, Vec<u32>) {
        let (mut samples, mut timestamps) = (Vec::new(), Vec::new());
        while let Some((header, payload)) = self.phone.packet_within(Duration::from_millis(30)) {
            if header.payload_type != self.phone.codec.payload_type() {
                continue;
            }
            timestamps.push(header.timestamp);
            match &mut self.ear {
                Some(ear) => {
                    let at = At { ssrc: header.ssrc, sequence: header.sequence, timestamp: header.timestamp };
                    ear.decode(at, &payload, |_, said| samples.extend((0..said.len()).map(|n| said.at(n))));
                }
                None => samples.extend(payload.iter().map(|byte| law(self.phone.codec).linear()[usize::from(*byte)])),
            }
            if samples.len() > 160 * 60 {
                break;
            }
        }
        (samples, timestamps)
    }
}

/// Both talk for 800 ms; what each has heard.
fn talk(rig: &Rig, speakers: &mut [Speaker; 2]) -> [(Vec<i16>, Vec<u32>); 2] {
    let begun = Instant::now();
    for n in 0..40u32 {
        let due = begun + Duration::from_millis(20) * n;
        rig.heard(due.saturating_duration_since(Instant::now()));
        speakers.iter_mut().for_each(Speaker::say);
    }
    let [one, two] = speakers;
    [one.hear(), two.hear()]
}

#[test]
fn legs_of_any_two_codecs_hear_each_other_and_both_are_recorded() {
    let pairs = [
        [Codec::G722, Codec::Pcma],
        [Codec::Pcmu, Codec::Opus],
        [Codec::Opus, Codec::G722],
        [Codec::G722, Codec::G722],
        [Codec::Opus, Codec::Opus],
    ];
    for (number, codecs) in (0_u16..).zip(pairs) {
        let mut rig = Rig::new();
        let ([a, b], phones) = rig.bridged(15_700 + 10 * number, codecs);
        let recording = RecordingId::new(clock::now(), &mut rig.rng);
        rig.record(recording, a, b, clock::now());
        let mut hz = [500.0, 1_200.0].into_iter();
        let mut speakers = phones.map(|phone| Speaker::new(phone, hz.next().expect("two")));
        let [(first, first_at), (second, _)] = talk(&rig, &mut speakers);
        for (heard, own, other) in [(&first, 500.0, 1_200.0), (&second, 1_200.0, 500.0)] {
            let heard = heard.get(2_400..4_800).unwrap_or_default();
            assert!(tone::share(heard, other) > 0.9, "{codecs:?}: {} at {other} Hz", tone::share(heard, other));
            assert!(tone::share(heard, own) < 0.01, "{codecs:?}: nobody hears themselves");
        }
        let step = 160 * codecs[0].ticks();
        let steady = first_at.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) == step).count();
        assert!(steady + 4 >= first_at.len(), "{codecs:?}: {first_at:?}");
        rig.send(MediaCommand::RecordStop { recording });
        let sealed = rig.event(|event| matches!(event, MediaEvent::RecordingSealed { .. }));
        let MediaEvent::RecordingSealed { file, .. } = sealed else { panic!("{sealed:?}") };
        let mut wav = hound::WavReader::open(rig.root.path().join(&file.path)).expect("the file");
        let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
        for (side, hz) in [500.0, 1_200.0].into_iter().enumerate() {
            let lane: Vec<i16> = samples.iter().skip(side).step_by(2).skip(1_600).take(3_200).copied().collect();
            assert!(tone::share(&lane, hz) > 0.9, "{codecs:?}: side {side}: {}", tone::share(&lane, hz));
        }
    }
}

#[test]
fn the_same_codec_on_both_sides_passes_untouched() {
    for (number, codec) in (0_u16..).zip([Codec::G722, Codec::Opus]) {
        let mut rig = Rig::new();
        let (_, [mut one, two]) = rig.bridged(15_760 + 10 * number, [codec; 2]);
        let payload: Vec<u8> = (0..77).collect();
        one.send(false, codec.payload_type(), 4_800, &payload);
        one.send(false, codec.payload_type(), 4_800 + 160 * codec.ticks(), &payload);
        let (first, second) = (two.packet(), two.packet());
        assert_eq!((&first.1, &second.1), (&payload, &payload), "{codec:?}");
        assert_eq!(second.0.timestamp.wrapping_sub(first.0.timestamp), 160 * codec.ticks(), "{codec:?}");
    }
}

#[test]
fn prompts_are_heard_in_every_codec() {
    for (number, codec) in (0_u16..).zip([Codec::G722, Codec::Opus]) {
        let mut rig = Rig::new();
        let (leg, phone) = rig.leg(15_780 + 4 * number, codec);
        let audio = vec![Audio::Tone { hz: 700, ms: 600 }];
        rig.send(MediaCommand::Play { leg, play: PlayId(1), audio, repeat: false });
        let mut speaker = Speaker::new(phone, 0.0);
        rig.event(|event| matches!(event, MediaEvent::Played { .. }));
        let (heard, _) = speaker.hear();
        let heard = heard.get(800..4_000).unwrap_or_default();
        assert!(tone::share(heard, 700.0) > 0.9, "{codec:?}: {}", tone::share(heard, 700.0));
    }
}

#[test]
fn keys_pass_between_codecs_and_are_pressed_when_asked_for() {
    let mut rig = Rig::new();
    let ([a, b], [mut one, two]) = rig.bridged(15_800, [Codec::G722, Codec::Pcma]);
    // Those of a phone, told to the switch and pressed anew.
    one.press('7');
    assert_eq!(rig.digits(Duration::from_millis(300)), "7");
    let mut receiver = dtmf::Receiver::default();
    assert_eq!(pressed(&two, &mut receiver, 1), "7");
    // Those of the desk.
    rig.send(MediaCommand::Press { leg: b, digits: "12#".into() });
    assert_eq!(pressed(&two, &mut receiver, 3), "12#");
    let mut silent = one.media(Direction::SendRecv);
    silent.dtmf_payload_type = None;
    rig.send(MediaCommand::Connect { leg: a, media: silent });
    rig.send(MediaCommand::Press { leg: a, digits: "1".into() });
    rig.settle();
    let events = std::iter::from_fn(|| one.packet_within(Duration::from_millis(60))).take(20);
    assert_eq!(events.filter(|(header, _)| header.payload_type == 101).count(), 0, "it takes none");
}

/// The keys that a phone hears until it has heard so many.
fn pressed(phone: &Phone, receiver: &mut dtmf::Receiver, count: usize) -> String {
    let mut keys = String::new();
    let mut last: Option<u32> = None;
    while keys.len() < count {
        let (header, payload) = phone.packet();
        if header.payload_type != 101 {
            continue;
        }
        let key = receiver.receive(header.ssrc, header.timestamp, &payload);
        assert_eq!(key.is_some(), header.marker, "the marker stands at a key's first packet");
        if key.is_some() {
            let apart = last.map_or(u32::MAX, |last| header.timestamp.wrapping_sub(last));
            assert!(apart >= 8 * 140, "100 ms down and 40 ms up at least, not {apart}");
            last = Some(header.timestamp);
        }
        keys.extend(key);
    }
    keys
}
