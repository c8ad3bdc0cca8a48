//! A leg whose peer speaks SRTP, bridged to one that does not.

use cti_media::srtp::{MASTER_LEN, Master, Srtp, SrtpKeys, Suite, TRAILER_LEN_MAX};

use super::*;

/// A phone's side of SRTP.
struct Coded {
    phone: Phone,
    out: Srtp,
    into: Srtp,
}

impl Coded {
    fn new(phone: Phone, keys: &SrtpKeys) -> Self {
        let key = |master| Srtp::new(keys.suite, master).expect("a key");
        Self { phone, out: key(&keys.theirs), into: key(&keys.ours) }
    }

    fn voice(&mut self, byte: u8) {
        let mut packet = vec![byte; HEADER_LEN + 160 + TRAILER_LEN_MAX];
        let header = packet.first_chunk_mut().expect("longer");
        rtp::write(header, false, 8, self.phone.sequence, self.phone.timestamp, self.phone.ssrc);
        let len = self.out.protect(&mut packet, HEADER_LEN + 160).expect("room");
        self.phone.socket.send_to(&packet[..len], self.phone.to).expect("loopback takes it");
        self.phone.sequence = self.phone.sequence.wrapping_add(1);
        self.phone.timestamp = self.phone.timestamp.wrapping_add(160);
    }

    /// SSRC and payload of what comes.
    fn hears(&mut self) -> (u32, Vec<u8>) {
        let mut datagram = [0; 2_000];
        self.phone.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let len = self.phone.socket.recv(&mut datagram).expect("a packet comes");
        assert_ne!(datagram[HEADER_LEN..HEADER_LEN + 8], [3; 8], "it is not in the clear");
        let len = self.into.unprotect(&mut datagram[..len]).expect("it is ours");
        let header = Header::parse(&datagram[..len]).expect("RTP");
        (header.ssrc, datagram[header.payload].to_vec())
    }
}

fn keys() -> SrtpKeys {
    let master = |byte| Master::new([byte; MASTER_LEN]);
    SrtpKeys { suite: Suite::Sha1_80, ours: master(1), theirs: master(2) }
}

/// Bridged legs: the first speaks SRTP by these keys.
fn secured(rig: &mut Rig, port: u16) -> ([LegId; 2], Coded, Phone) {
    let ([a, b], [one, two]) = rig.bridged(port, [Codec::Pcma, Codec::Pcma]);
    connect(rig, a, &one);
    ([a, b], Coded::new(one, &keys()), two)
}

fn connect(rig: &mut Rig, leg: LegId, phone: &Phone) {
    let media = LegMedia { srtp: Some(Box::new(keys())), ..phone.media(Direction::SendRecv) };
    rig.send(MediaCommand::Connect { leg, media });
    rig.settle();
}

#[test]
fn what_is_encrypted_on_one_side_is_plain_on_the_other() {
    let mut rig = Rig::new();
    let ([a, _], mut one, mut two) = secured(&mut rig, 15500);
    for n in 0..5 {
        one.voice(n);
        assert_eq!(two.packet().1, [n; 160]);
        two.voice(&[3; 160]);
        assert_eq!(one.hears().1, [3; 160]);
        // Settled anew with the same keys, as by a hold: no packet index comes again.
        connect(&mut rig, a, &one.phone);
    }
    // In the clear, or by another key, is nobody's.
    one.phone.voice(&[9; 160]);
    one.out = Srtp::new(Suite::Sha1_80, &Master::new([5; MASTER_LEN])).expect("a key");
    one.voice(9);
    assert!(two.packet_within(NO_PACKET).is_none());
    assert_eq!(rig.close(a).packets_in, 5);
}

#[test]
fn after_a_restart_the_stream_is_another_and_the_peers_goes_on() {
    let mut rig = Rig::new();
    let (_, mut one, two) = secured(&mut rig, 15520);
    // The peer is in its second round of numbers when the program dies.
    for _ in 0..3 {
        one.phone.sequence = one.phone.sequence.wrapping_add(30_000);
        one.voice(1);
    }
    assert_eq!(two.packet().1, [1; 160]);
    let mut before = two;
    before.voice(&[3; 160]);
    let (ssrc, _) = one.hears();
    drop(rig);
    let mut rig = Rig::new();
    let [a, b] = [1, 2].map(|_| LegId::new(clock::now(), &mut rig.rng));
    for (leg, port) in [(a, 15520), (b, 15524)] {
        rig.send(MediaCommand::Open { leg, call: rig.call, rtp_port: port });
    }
    rig.send(MediaCommand::Connect { leg: b, media: before.media(Direction::SendRecv) });
    rig.send(MediaCommand::join(a, b));
    connect(&mut rig, a, &one.phone);
    one.voice(4);
    let heard = std::iter::from_fn(|| before.packet_within(PATIENCE)).any(|(_, payload)| payload == [4; 160]);
    assert!(heard, "the peer's stream goes on in its round");
    before.voice(&[3; 160]);
    let (again, payload) = one.hears();
    assert_eq!(payload, [3; 160]);
    assert_ne!(again, ssrc, "a fresh source: no index of the same key comes again");
}
