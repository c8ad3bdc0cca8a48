//! Rooms of more than two: who hears whom, by tones.

use cti_media::Hears;

use super::*;

const CODECS: [Codec; 2] = [Codec::Pcma, Codec::Pcmu];
const TONES: [f64; 4] = [400.0, 700.0, 1_100.0, 1_600.0];

/// Legs with a phone each; the phone n says tone n.
struct Party {
    rig: Rig,
    legs: Vec<LegId>,
    phones: Vec<Phone>,
    tones: Vec<Tone>,
}

impl Party {
    fn new(port: u16, count: usize) -> Self {
        let mut rig = Rig::new();
        let (mut legs, mut phones) = (Vec::new(), Vec::new());
        for n in 0..count {
            let (leg, phone) = rig.leg(port + 4 * n as u16, CODECS[n % 2]);
            legs.push(leg);
            phones.push(phone);
        }
        rig.settle();
        let tones = TONES.iter().take(count).map(|hz| Tone::sine(*hz)).collect();
        Self { rig, legs, phones, tones }
    }

    /// `hears[n]`: whom the leg n hears, by number.
    fn room(&mut self, hears: &[&[usize]]) {
        let leg = |n: &usize| self.legs[*n];
        let hears = hears.iter().enumerate();
        let hears = hears.map(|(n, from)| Hears { leg: self.legs[n], from: from.iter().map(leg).collect() }).collect();
        self.rig.send(MediaCommand::Room { hears });
        self.rig.settle();
    }

    /// All talk for 600 ms; which tones each phone has heard then, by number.
    fn talk(&mut self) -> Vec<Vec<usize>> {
        for phone in &self.phones {
            while phone.packet_within(Duration::from_millis(1)).is_some() {}
        }
        let begun = Instant::now();
        let mut heard = vec![Vec::new(); self.phones.len()];
        for n in 0..30u32 {
            let due = begun + Duration::from_millis(20) * n;
            self.rig.heard(due.saturating_duration_since(Instant::now()));
            for (phone, tone) in self.phones.iter_mut().zip(&mut self.tones) {
                let frame: Vec<u8> = tone.take(160).map(|sample| law(phone.codec).encode(sample / 2)).collect();
                phone.voice(&frame);
            }
        }
        for (phone, heard) in self.phones.iter().zip(&mut heard) {
            // A mix goes on when nobody says anything.
            let packets = std::iter::from_fn(|| phone.packet_within(Duration::from_millis(30))).take(28);
            for (_, payload) in packets {
                heard.extend(payload.iter().map(|byte| law(phone.codec).linear()[usize::from(*byte)]));
            }
        }
        // The first 200 ms are of the room before, and of the beginning.
        let tones = |samples: &Vec<i16>| {
            let samples = samples.get(1_600..).unwrap_or_default();
            (0..TONES.len()).filter(|n| tone::share(samples, TONES[*n]) > 0.05).collect()
        };
        heard.iter().map(tones).collect()
    }
}

#[test]
fn four_hear_each_other_and_nobody_themselves() {
    let mut party = Party::new(15600, 4);
    party.room(&[&[1, 2, 3], &[0, 2, 3], &[0, 1, 3], &[0, 1, 2]]);
    assert_eq!(party.talk(), [vec![1, 2, 3], vec![0, 2, 3], vec![0, 1, 3], vec![0, 1, 2]]);
    // One leaves; two are left, who are relayed again.
    let gone = party.legs[3];
    party.rig.close(gone);
    party.room(&[&[1], &[0], &[]]);
    assert_eq!(party.talk(), [vec![1], vec![0], vec![], vec![]]);
}

#[test]
fn a_supervisor_listens_whispers_and_joins_in() {
    // The customer, the agent, the supervisor.
    let mut party = Party::new(15640, 3);
    party.room(&[&[1], &[0], &[]]);
    assert_eq!(party.talk(), [vec![1], vec![0], vec![]]);
    party.room(&[&[1], &[0], &[0, 1]]);
    assert_eq!(party.talk(), [vec![1], vec![0], vec![0, 1]], "monitor");
    party.room(&[&[1], &[0, 2], &[0, 1]]);
    assert_eq!(party.talk(), [vec![1], vec![0, 2], vec![0, 1]], "whisper");
    party.room(&[&[1, 2], &[0, 2], &[0, 1]]);
    assert_eq!(party.talk(), [vec![1, 2], vec![0, 2], vec![0, 1]], "barge");
    party.room(&[&[1], &[0], &[]]);
    assert_eq!(party.talk(), [vec![1], vec![0], vec![]]);
}

#[test]
fn a_muted_party_and_one_who_hears_a_prompt() {
    let mut party = Party::new(15660, 3);
    let everyone: [&[usize]; 3] = [&[1, 2], &[0, 2], &[0, 1]];
    party.room(&everyone);
    party.rig.send(MediaCommand::Mute { leg: party.legs[1], muted: true });
    let tone = vec![Audio::Tone { hz: 1_600, ms: 5_000 }];
    party.rig.send(MediaCommand::Play { leg: party.legs[2], play: PlayId(1), audio: tone, repeat: true });
    assert_eq!(party.talk(), [vec![2], vec![0, 2], vec![3]]);
    // Said again, nothing changes.
    party.room(&everyone);
    party.rig.send(MediaCommand::Stop { leg: party.legs[2] });
    party.rig.send(MediaCommand::Mute { leg: party.legs[1], muted: false });
    assert_eq!(party.talk(), [vec![1, 2], vec![0, 2], vec![0, 1]]);
}

#[test]
fn a_recordings_side_of_several_has_all_of_them() {
    let mut party = Party::new(15680, 3);
    party.room(&[&[1, 2], &[0, 2], &[0, 1]]);
    let recording = RecordingId::new(clock::now(), &mut party.rig.rng);
    let [customer, agent, other] = party.legs[..] else { panic!("three legs") };
    party.rig.record(recording, customer, agent, clock::now());
    party.rig.send(MediaCommand::RecordFrom { recording, side: Side::Agent, legs: vec![other, agent] });
    party.rig.settle();
    party.talk();
    party.rig.send(MediaCommand::RecordStop { recording });
    let file = sealed(&party.rig, recording);
    let (customer, agents) = channels(&party.rig, &file);
    let share = |side: &[i16], n: usize| tone::share(&side[1_600..4_000], TONES[n]);
    assert!(share(&customer, 0) > 0.95 && share(&customer, 1) < 0.01 && share(&customer, 2) < 0.01);
    assert!(share(&agents, 0) < 0.01 && share(&agents, 1) > 0.4 && share(&agents, 2) > 0.4);
}
