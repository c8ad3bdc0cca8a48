use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a digit") as u8;
    hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn master() -> Master {
    Master(bytes("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6"))
}

fn pair(suite: Suite) -> (Srtp, Srtp) {
    let make = || Srtp::new(suite, &master()).expect("a key");
    (make(), make())
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![sequence as u8; 172];
    let header = packet.first_chunk_mut().expect("longer");
    crate::rtp::write(header, false, 8, sequence, u32::from(sequence) * 160, ssrc);
    packet
}

fn protect(srtp: &mut Srtp, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; TRAILER_LEN_MAX]].concat();
    let len = srtp.protect(&mut buffer, packet.len()).expect("room");
    buffer.truncate(len);
    buffer
}

fn unprotect(srtp: &mut Srtp, mut packet: Vec<u8>) -> Result<Vec<u8>, SrtpError> {
    let len = srtp.unprotect(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

/// RFC 3711 B.2.
#[test]
fn the_keystream_is_the_rfcs() {
    let key = <[u8; 16]>::try_from(bytes("2B7E151628AED2A6ABF7158809CF4F3C")).expect("16");
    let salt = <[u8; 14]>::try_from(bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD")).expect("14");
    let keys = Keys { key, salt, auth: Auth::new_from_slice(&[]).expect("any") };
    let mut stream = vec![0; 0xff02 * 16];
    keys.crypt(0, 0, &mut stream);
    let block = |at: usize| &stream[16 * at..16 * (at + 1)];
    assert_eq!(block(0), bytes("E03EAD0935C95E80E166B16DD92B4EB4"));
    assert_eq!(block(1), bytes("D23513162B02D0F72A43A2FE4A5F97AB"));
    assert_eq!(block(2), bytes("41E95B3BB0A2E8DD477901E4FCA894C0"));
    assert_eq!(block(0xfeff), bytes("EC8CDF7398607CB0F2D21675EA9EA1E4"));
    assert_eq!(block(0xff00), bytes("362B7C3C6773516318A077D7FC5073AE"));
    assert_eq!(block(0xff01), bytes("6A2CC3787889374FBEB4C81B17BA6C44"));
}

/// RFC 3711 B.3.
#[test]
fn the_session_keys_are_the_rfcs() {
    let master = master();
    let (key, salt) = master.0.split_first_chunk::<KEY_LEN>().expect("long enough");
    let salt = <[u8; SALT_LEN]>::try_from(salt).expect("14");
    assert_eq!(derive::<16>(key, &salt, 0).to_vec(), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive::<14>(key, &salt, 2).to_vec(), bytes("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(derive::<20>(key, &salt, 1).to_vec(), bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

#[test]
fn what_is_protected_is_read_by_the_other_side_alone() {
    for (suite, tag) in [(Suite::Sha1_80, 10), (Suite::Sha1_32, 4)] {
        let (mut out, mut into) = pair(suite);
        for sequence in 100..110 {
            let plain = packet(7, sequence);
            let sent = protect(&mut out, &plain);
            assert_eq!((sent.len(), &sent[..HEADER_LEN]), (plain.len() + tag, &plain[..HEADER_LEN]));
            assert_ne!(sent[HEADER_LEN..172], plain[HEADER_LEN..]);
            let mut forged = sent.clone();
            forged[20] ^= 1;
            assert_eq!(unprotect(&mut into, forged), Err(SrtpError::Tag));
            assert_eq!(unprotect(&mut into, sent.clone()), Ok(plain));
            assert_eq!(unprotect(&mut into, sent), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn packets_may_come_in_another_order_and_numbers_wrap() {
    let (mut out, mut into) = pair(Suite::Sha1_80);
    let numbers: Vec<u16> = (65_500..=65_535).chain(0..100).collect();
    let mut sent: Vec<Vec<u8>> = numbers.iter().map(|number| protect(&mut out, &packet(7, *number))).collect();
    sent.swap(35, 36);
    sent.swap(10, 40);
    for packet in sent.iter().take(100) {
        assert!(unprotect(&mut into, packet.clone()).is_ok());
    }
    assert_eq!(unprotect(&mut into, sent[20].clone()), Err(SrtpError::Replayed), "older than the window");
}

#[test]
fn a_source_is_heard_again_in_the_middle_of_its_life() {
    let (mut out, _) = pair(Suite::Sha1_80);
    for round in 0..3_u32 {
        for sequence in (0..=u16::MAX).step_by(20_000) {
            protect(&mut out, &packet(7, sequence));
        }
        let (_, mut fresh) = pair(Suite::Sha1_80);
        let plain = packet(7, 65_000);
        assert_eq!(unprotect(&mut fresh, protect(&mut out, &plain)), Ok(plain), "round {round}");
    }
}

#[test]
fn reports_are_protected_too() {
    let (mut out, mut into) = pair(Suite::Sha1_32);
    let plain: Vec<u8> = [&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &[9; 20]].concat();
    for _ in 0..3 {
        let mut sent = plain.clone();
        out.protect_rtcp(&mut sent).expect("long enough");
        assert_ne!(sent[8..28], plain[8..]);
        let mut forged = sent.clone();
        forged[9] ^= 1;
        assert_eq!(into.unprotect_rtcp(&mut forged), Err(SrtpError::Tag));
        let mut read = sent.clone();
        assert_eq!(into.unprotect_rtcp(&mut read), Ok(plain.len()));
        assert_eq!(read[..plain.len()], plain);
        assert_eq!(into.unprotect_rtcp(&mut sent), Err(SrtpError::Replayed));
    }
}

#[test]
fn keys_do_not_print() {
    let keys = SrtpKeys { suite: Suite::Sha1_80, ours: master(), theirs: master() };
    assert_eq!(format!("{:?}", keys.ours), "Master(hidden)");
    assert!(!format!("{keys:?}{:?}", pair(Suite::Sha1_80)).contains("225"));
    assert!(Srtp::new(Suite::Sha1_80, &Master(vec![1; 16])).is_none());
}

proptest! {
    #[test]
    fn no_bytes_panic(packet in prop::collection::vec(any::<u8>(), 0..80)) {
        let (mut out, mut into) = pair(Suite::Sha1_80);
        prop_assert!(unprotect(&mut into, packet.clone()).is_err());
        prop_assert!(into.unprotect_rtcp(&mut packet.clone()).is_err());
        let len = packet.len();
        let mut buffer = packet;
        buffer.resize(len + TRAILER_LEN_MAX, 0);
        out.protect(&mut buffer, len);
    }
}
